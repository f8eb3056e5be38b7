//! Any bytes as a history: operations on several buckets against `BTreeMap`, with snapshots, savepoints, aborts, spills, reopens and
//! crashes in the stream.

use std::collections::BTreeMap;
use std::ops::Bound;

use folio::disk::MemoryStore;
use folio::{Bucket, Database, Durability, Options, ReadTxn, Savepoint, WriteTxn};

use crate::input::Input;

type Model = BTreeMap<String, BTreeMap<Vec<u8>, Vec<u8>>>;

const NAMES: [&str; 3] = ["a", "bb", "a longer name"];

/// A commit since recording began: the operations of the disk that it may have needed, and what it left.
struct Commit {
    began: usize,
    state: Model,
}

struct Run<'a> {
    input: Input<'a>,
    options: Options,
    disk: MemoryStore,
    db: Option<Database>,
    /// The state at the beginning of the record, and after each commit since.
    base: Model,
    commits: Vec<Commit>,
    /// From operation `.0` on, state number `.1` is durable; number 0 is the base.
    durable: Vec<(usize, usize)>,
    snapshots: Vec<(ReadTxn, Model)>,
}

/// Runs one input.
pub fn run(input: &[u8]) {
    let mut input = Input(input);
    let page_size = 4096 << (input.byte() % 2);
    let mut options = Options::new().page_size(page_size).dirty_limit(64 * page_size as usize);
    options = options.sync_bytes(u64::from(input.byte()) << 12);
    let disk = MemoryStore::new();
    let db = options.open_store(&disk).expect("a new database");
    let mut run = Run {
        input,
        options,
        disk,
        db: Some(db),
        base: Model::new(),
        commits: Vec::new(),
        durable: Vec::new(),
        snapshots: Vec::new(),
    };
    run.record();
    while !run.input.is_over() {
        match run.input.byte() % 32 {
            0 => run.crash(),
            1 => run.reopen(),
            2 => run.snapshots.truncate(run.snapshots.len().saturating_sub(1)),
            3..6 if run.snapshots.len() < 8 => {
                let txn = run.db().begin_read().expect("a snapshot");
                let model = run.state().clone();
                run.snapshots.push((txn, model));
            }
            6 => {
                run.db().sync().expect("a sync");
                run.is_durable();
            }
            _ => run.transaction(),
        }
        // One of them, whole; all of them each time would be most of the work.
        let which = usize::from(run.input.0.len() as u8) % run.snapshots.len().max(1);
        run.snapshots.iter().skip(which).take(1).for_each(|(txn, model)| compare(txn, model));
    }
    run.snapshots.iter().for_each(|(txn, model)| compare(txn, model));
    assert_sound(run.db());
    run.crash();
}

fn compare(txn: &ReadTxn, model: &Model) {
    assert_eq!(txn.buckets().expect("names"), model.keys().cloned().collect::<Vec<_>>());
    for (name, truth) in model {
        compare_bucket(&txn.bucket(name).expect("a catalog").expect("a bucket"), truth);
    }
}

fn compare_bucket(bucket: &Bucket<'_>, truth: &BTreeMap<Vec<u8>, Vec<u8>>) {
    assert_eq!(bucket.len(), truth.len() as u64);
    assert!(bucket.iter().map(|entry| entry.expect("an entry")).eq(truth.iter().map(|(k, v)| (&k[..], &v[..]))));
    assert!(bucket.iter().rev().map(|entry| entry.expect("an entry").0).eq(truth.keys().rev()));
}

fn assert_sound(db: &Database) {
    let report = db.check().expect("a check");
    assert!(report.is_ok(), "{:#?}", report.problems);
}

impl Run<'_> {
    fn db(&self) -> &Database {
        self.db.as_ref().expect("open")
    }

    fn state(&self) -> &Model {
        self.commits.last().map_or(&self.base, |commit| &commit.state)
    }

    /// The state now is the base of what may come.
    fn record(&mut self) {
        self.base = self.state().clone();
        self.commits.clear();
        self.disk.record();
        self.durable = vec![(0, 0)];
    }

    fn is_durable(&mut self) {
        self.durable.push((self.disk.operation_count(), self.commits.len()));
    }

    fn reopen(&mut self) {
        self.snapshots.clear();
        self.db = None;
        self.db = Some(self.options.open_store(&self.disk).expect("what was closed opens"));
        self.record();
    }

    /// Cuts the power at some operation since the record began; some of what was not synced survives.
    fn crash(&mut self) {
        self.snapshots.clear();
        let cut = usize::from(self.input.number()) % (self.disk.operation_count() + 1);
        let mode = self.input.byte();
        let mut bits = u64::from(self.input.number()) << 16 | u64::from(self.input.number()) | 1;
        let image = self.disk.crash(cut, |_| {
            // A shift register, so that a few bytes of input decide about many sectors.
            bits ^= bits << 13;
            bits ^= bits >> 7;
            bits ^= bits << 17;
            match mode % 4 {
                0 => true,
                1 => false,
                2 => bits & 1 == 0,
                _ => bits & 15 != 0,
            }
        });
        self.db = None;
        self.disk = MemoryStore::with_image(&image);
        let db = self.options.open_store(&self.disk).expect("what a crash left opens");
        assert_sound(&db);
        let durable = self.durable.iter().rfind(|(from, _)| *from <= cut).expect("the base").1;
        let begun = self.commits.iter().filter(|commit| commit.began <= cut).count();
        let txn = db.begin_read().expect("a snapshot");
        let states: Vec<&Model> = [&self.base].into_iter().chain(self.commits.iter().map(|c| &c.state)).collect();
        let found = content(&txn);
        let which = states[durable..=begun].iter().position(|state| **state == found);
        assert!(which.is_some(), "cut at {cut}: none of the states {durable} to {begun}");
        drop(txn);
        self.base = found;
        self.commits.clear();
        self.db = Some(db);
        self.record();
    }

    fn transaction(&mut self) {
        let began = self.disk.operation_count();
        let mut model = self.state().clone();
        let mut txn = self.db().begin_write().expect("the writer");
        let mut savepoints = Vec::new();
        for _ in 0..=self.input.byte() % 16 {
            operation(&mut self.input, &mut txn, &mut model, &mut savepoints);
        }
        let durability = match self.input.byte() % 8 {
            0 => return txn.abort(),
            1..4 => Durability::Relaxed,
            _ => Durability::Durable,
        };
        txn.commit_with(durability).expect("a commit");
        self.commits.push(Commit { began, state: model });
        let stats = self.db().stats().expect("figures");
        if stats.durable_id == stats.txn_id {
            self.is_durable();
        }
        if self.commits.len() == 40 {
            // Long records make slow crashes.
            self.reopen();
        }
    }
}

fn content(txn: &ReadTxn) -> Model {
    let bucket = |name: String| {
        let bucket = txn.bucket(&name).expect("a catalog").expect("a bucket");
        let entries = bucket.iter().map(|entry| entry.expect("an entry")).map(|(k, v)| (k.to_vec(), v.to_vec()));
        let entries = entries.collect();
        (name, entries)
    };
    txn.buckets().expect("names").into_iter().map(bucket).collect()
}

fn key(input: &mut Input<'_>) -> Vec<u8> {
    match input.byte() % 8 {
        0 => vec![input.byte() % 4; usize::from(input.number()) % 1985],
        1..4 => format!("common/prefix/{:03}", input.number() % 500).into_bytes(),
        _ => (input.number() % 1000).to_be_bytes().to_vec(),
    }
}

fn value(input: &mut Input<'_>) -> Vec<u8> {
    let len = match input.byte() % 16 {
        0 => usize::from(input.number()) % 12_000,
        1..3 => usize::from(input.number()) % 2000,
        _ => usize::from(input.byte()),
    };
    vec![input.byte(); len]
}

/// A savepoint is taken, gone back to, or released; those after it are gone then.
fn savepoint(what: u8, txn: &mut WriteTxn, model: &mut Model, savepoints: &mut Vec<(Savepoint, Model)>) {
    let middle = savepoints.len() / 2;
    match what {
        248..251 if !savepoints.is_empty() => {
            savepoints.truncate(middle + 1);
            let (savepoint, then) = &savepoints[middle];
            txn.rollback_to(savepoint).expect("a way back");
            model.clone_from(then);
            return;
        }
        251..254 if !savepoints.is_empty() => {
            let (savepoint, _) = savepoints.drain(middle..).next().expect("there is one");
            return txn.release(savepoint).expect("it is there");
        }
        _ => {}
    }
    savepoints.push((txn.savepoint().expect("a savepoint"), model.clone()));
}

fn operation(input: &mut Input<'_>, txn: &mut WriteTxn, model: &mut Model, savepoints: &mut Vec<(Savepoint, Model)>) {
    let name = NAMES[usize::from(input.byte()) % NAMES.len()];
    let what = input.byte();
    if what == 0 {
        assert_eq!(txn.drop_bucket(name).expect("a drop"), model.remove(name).is_some());
        return;
    }
    if what >= 244 {
        return savepoint(what, txn, model, savepoints);
    }
    let (from, value) = (key(input), value(input));
    let mut bucket = txn.bucket_mut(name).expect("a bucket");
    let truth = model.entry(name.to_string()).or_default();
    match what {
        1 => {
            bucket.clear().expect("a clear");
            truth.clear();
        }
        2..16 => {
            let to = key(input);
            let range = (Bound::Included(from.clone()), Bound::Excluded(to.clone()));
            let gone: Vec<Vec<u8>> = match from < to {
                true => truth.range(range.clone()).map(|(key, _)| key.clone()).collect(),
                false => Vec::new(),
            };
            assert_eq!(bucket.count_range(range.clone()).expect("a count"), gone.len() as u64);
            assert_eq!(bucket.delete_range(range).expect("a cut"), gone.len() as u64);
            gone.iter().for_each(|key| drop(truth.remove(key)));
        }
        16..32 => {
            // A row of entries, so that a few bytes of input grow a tree.
            let value = &value[..value.len().min(150)];
            for n in 0..input.byte() {
                let key = [&from[..from.len().min(200)], &[n]].concat();
                bucket.put(&key, value).expect("a put");
                truth.insert(key, value.to_vec());
            }
        }
        32..96 => assert_eq!(bucket.delete(&from).expect("a delete"), truth.remove(&from).is_some()),
        96..104 => assert_eq!(bucket.pop_first().expect("a pop"), truth.pop_first()),
        104..112 => assert_eq!(bucket.pop_last().expect("a pop"), truth.pop_last()),
        112..128 => {
            let is_new = !truth.contains_key(&from);
            assert_eq!(bucket.insert(&from, &value).expect("an insert"), is_new);
            truth.entry(from).or_insert(value);
        }
        128..136 => {
            assert_eq!(bucket.replace(&from, &value).expect("a replace"), truth.insert(from, value));
        }
        136..144 => compare_bucket(&bucket.as_bucket(), truth),
        144..152 => {
            let rank = truth.range::<[u8], _>((Bound::Unbounded, Bound::Excluded(&from[..]))).count();
            assert_eq!(bucket.rank(&from).expect("a rank"), rank as u64);
            assert_eq!(bucket.get(&from).expect("a get"), truth.get(&from).map(Vec::as_slice));
        }
        _ => {
            bucket.put(&from, &value).expect("a put");
            truth.insert(from, value);
        }
    }
    assert_eq!(bucket.len(), truth.len() as u64);
}
