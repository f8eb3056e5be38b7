//! P1, P4, P6: random histories on a simulated disk, whose power is cut at every operation. Whatever subset of the unsynced
//! sectors survives, the next open finds a state that may be found, whole; the check finds every page in its place; and life goes on,
//! through a second cut if need be.
//!
//! `FOLIO_CRASH_HISTORIES=1000 cargo test --release --test crash -- --nocapture` goes deeper; `FOLIO_SEED=n` replays one.

use std::collections::{BTreeMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};

use folio::disk::{MemoryStore, SECTOR_LEN, Unsynced};
use folio::{Database, Durability, Options, ReadTxn, TxnId, WriteTxn};

type Model = BTreeMap<String, BTreeMap<Vec<u8>, Vec<u8>>>;

/// How many numbers of keys there are.
const KEYS: u32 = 1200;

const BOOT: [u8; 16] = [7; 16];

/// A commit of the history: when it began, when it was acknowledged, and which state was durable for certain then.
struct Commit {
    began: usize,
    acknowledged: usize,
}

/// The changes of one transaction, made to the model as well.
type Change = fn(&mut fastrand::Rng, &mut WriteTxn, &mut Model) -> folio::Result<()>;

fn short_keys(n: u32) -> String {
    format!("key/{:03}", n % 400)
}

/// Keys that differ late from those next to them and early from others. So separators are long, and a small tree has many branches.
fn long_keys(n: u32) -> String {
    format!("{:03}/{}/{n:04}", n / 8, "x".repeat(700))
}

struct History {
    rng: fastrand::Rng,
    options: Options,
    change: Change,
    disk: MemoryStore,
    /// The state after each commit; the first is the one that recording began with. Its transaction has id `first_id`.
    states: Vec<Model>,
    commits: Vec<Commit>,
    first_id: u64,
    /// From operation `.0` on, state `.1` is durable.
    durable: Vec<(usize, usize)>,
    /// A transaction that somebody is going to wait for.
    waited_for: Option<TxnId>,
    /// The state that a process, opening the file that a killed one left at the cut, knows to be durable.
    known_durable: usize,
}

fn value(rng: &mut fastrand::Rng) -> Vec<u8> {
    let len = match rng.u32(..25) {
        0 => rng.usize(..20_000),
        1..4 => rng.usize(..2500),
        _ => rng.usize(..120),
    };
    vec![rng.u8(..); len]
}

/// Some changes of a few entries, in a small tree.
fn change_some(rng: &mut fastrand::Rng, txn: &mut WriteTxn, model: &mut Model) -> folio::Result<()> {
    change(rng, short_keys, txn, model)
}

/// The same in a tree with many branches.
fn change_long(rng: &mut fastrand::Rng, txn: &mut WriteTxn, model: &mut Model) -> folio::Result<()> {
    change(rng, long_keys, txn, model)
}

fn change(
    rng: &mut fastrand::Rng,
    keys: fn(u32) -> String,
    txn: &mut WriteTxn,
    model: &mut Model,
) -> folio::Result<()> {
    let names = ["a", "bb", "ccc"];
    let count = match rng.u32(..15) {
        0 => 300,
        1..4 => 40,
        _ => 3,
    };
    for _ in 0..rng.usize(1..count) {
        let name = names[rng.usize(..names.len())];
        if rng.u32(..200) == 0 {
            txn.drop_bucket(name)?;
            model.remove(name);
            continue;
        }
        let mut bucket = txn.bucket_mut(name)?;
        let truth = model.entry(name.to_string()).or_default();
        let key = keys(rng.u32(..KEYS)).into_bytes();
        match rng.u32(..50) {
            0 => {
                let end = keys(rng.u32(..KEYS)).into_bytes();
                bucket.delete_range(&key..&end)?;
                truth.retain(|k, _| !(*k >= key && *k < end));
            }
            1..15 => {
                bucket.delete(&key)?;
                truth.remove(&key);
            }
            _ => {
                let value = value(rng);
                bucket.put(&key, &value)?;
                truth.insert(key, value);
            }
        }
    }
    Ok(())
}

/// Appends entries in order, which are written before the commit where they fill enough pages, to two buckets in turns; then changes some
/// of all, written or not, and now and then deletes the older half.
fn append_runs(rng: &mut fastrand::Rng, txn: &mut WriteTxn, model: &mut Model) -> folio::Result<()> {
    let start = rng.u32(..) & !0xffff;
    let names = ["a", "bb"];
    for n in 0..rng.u32(1..250) {
        let name = names[usize::from(n % 7 == 0)];
        let (key, value) = (format!("{start:010}/{n:05}").into_bytes(), vec![rng.u8(..); rng.usize(1200..1900)]);
        txn.bucket_mut(name)?.put(&key, &value)?;
        model.entry(name.to_string()).or_default().insert(key, value);
    }
    for (name, truth) in model.iter_mut() {
        let mut bucket = txn.bucket_mut(name)?;
        for key in truth.keys().cloned().collect::<Vec<_>>() {
            match rng.u32(..40) {
                0 => {
                    bucket.delete(&key)?;
                    truth.remove(&key);
                }
                1 => {
                    let value = vec![rng.u8(..); rng.usize(..1900)];
                    bucket.put(&key, &value)?;
                    truth.insert(key, value);
                }
                _ => {}
            }
        }
        if let Some(middle) = truth.keys().nth(truth.len() / 2).filter(|_| rng.u32(..3) == 0).cloned() {
            bucket.delete_range(..&middle)?;
            *truth = truth.split_off(&middle);
        }
    }
    Ok(())
}

/// Deletes or overwrites about a third of all entries, so that the file becomes shorter if it has room.
fn thin_out(rng: &mut fastrand::Rng, txn: &mut WriteTxn, model: &mut Model) -> folio::Result<()> {
    for (name, truth) in model.iter_mut() {
        let mut bucket = txn.bucket_mut(name)?;
        for key in truth.keys().cloned().collect::<Vec<_>>() {
            match rng.u32(..9) {
                0 | 1 => {
                    bucket.delete(&key)?;
                    truth.remove(&key);
                }
                2 => {
                    let value = vec![rng.u8(..); 900];
                    bucket.put(&key, &value)?;
                    truth.insert(key, value);
                }
                _ => {}
            }
        }
    }
    Ok(())
}

fn compare(txn: &ReadTxn, model: &Model) {
    assert_eq!(txn.buckets().unwrap(), model.keys().cloned().collect::<Vec<_>>());
    for (name, truth) in model {
        let bucket = txn.bucket(name).unwrap().unwrap();
        assert_eq!(bucket.len(), truth.len() as u64);
        for (entry, (key, value)) in bucket.iter().zip(truth) {
            assert!(entry.unwrap() == (key, value));
        }
    }
}

fn assert_sound(db: &Database) {
    let report = db.check().unwrap();
    assert!(report.is_ok(), "{:#?}", report.problems);
}

/// Three more commits on a recovered database, whose `model` is the truth; then it is closed, opened again and checked.
fn go_on(
    rng: &mut fastrand::Rng,
    options: &Options,
    change: Change,
    disk: &MemoryStore,
    db: Database,
    mut model: Model,
) {
    for _ in 0..3 {
        db.exec(|txn| change(rng, txn, &mut model)).unwrap();
    }
    assert_sound(&db);
    drop(db);
    let db = options.open_store(disk).unwrap();
    compare(&db.begin_read().unwrap(), &model);
    assert_sound(&db);
}

impl History {
    /// Kills the process and cuts the power at every `step`-th operation: without what was not synced, and with some of it.
    fn crash_some(&mut self, step: usize) {
        for cut in (0..=self.now()).step_by(step) {
            self.kill(cut);
            self.crash(cut, |_| false);
            let mut rng = self.rng.fork();
            let odds = rng.u32(1..10);
            self.crash(cut, |_| rng.u32(..10) < odds);
        }
    }

    fn run(
        seed: u64,
        change: Change,
        base: &MemoryStore,
        boot_id: [u8; 16],
        states: Vec<Model>,
        length: usize,
    ) -> History {
        let mut rng = fastrand::Rng::with_seed(seed);
        let page_size = *rng.choice(&[4096, 4096, 4096, 8192]).unwrap();
        let options = Options::new().page_size(page_size).dirty_limit(64 * 8192).sync_bytes(rng.u64(..300_000));
        base.set_boot_id(boot_id);
        // From here on, so that creation and recovery are cut as well.
        base.record();
        let db = options.open_store(base).unwrap();
        let first_id = db.begin_read().unwrap().id().get();
        let mut history = History {
            rng,
            options,
            change,
            disk: base.clone(),
            states,
            commits: Vec::new(),
            first_id,
            durable: vec![(0, 0)],
            waited_for: None,
            known_durable: 0,
        };
        let mut reader = None;
        for _ in 0..length {
            history.step(&db);
            if history.rng.u32(..4) == 0 {
                reader = Some(db.begin_read().unwrap());
            }
            if history.rng.u32(..4) == 0 {
                reader = None;
            }
        }
        drop(reader);
        history
    }

    fn now(&self) -> usize {
        self.disk.operation_count()
    }

    fn step(&mut self, db: &Database) {
        if self.rng.u32(..12) == 0 {
            db.sync().unwrap();
            self.durable.push((self.now(), self.states.len() - 1));
            return;
        }
        let mut model = self.states.last().unwrap().clone();
        let mut txn = db.begin_write().unwrap();
        let began = self.now();
        (self.change)(&mut self.rng, &mut txn, &mut model).unwrap();
        if self.rng.u32(..4) == 0 {
            let (savepoint, then) = (txn.savepoint().unwrap(), model.clone());
            (self.change)(&mut self.rng, &mut txn, &mut model).unwrap();
            if self.rng.bool() {
                txn.rollback_to(&savepoint).unwrap();
                model = then;
            }
        }
        if self.rng.u32(..10) == 0 {
            return;
        }
        let relaxed = self.rng.u32(..3) == 0;
        let before = self.first_id + self.states.len() as u64 - 1;
        let id = match relaxed {
            true => txn.commit_with(Durability::Relaxed).unwrap(),
            false => txn.commit().unwrap(),
        };
        if id.get() > before {
            self.states.push(model);
            self.commits.push(Commit { began, acknowledged: self.now() });
        }
        if !relaxed {
            self.durable.push((self.now(), self.states.len() - 1));
        }
        self.wait(db);
    }

    /// Sometimes waits for a commit, not always the last. What the database says to be durable must be so.
    fn wait(&mut self, db: &Database) {
        let newest = db.begin_read().unwrap().id();
        if self.rng.u32(..6) == 0 {
            self.waited_for = Some(newest);
        }
        if let Some(id) = self.waited_for.filter(|_| self.rng.u32(..3) == 0) {
            db.wait_durable(id).unwrap();
            self.waited_for = None;
            self.durable.push((self.now(), (id.get() - self.first_id) as usize));
        }
        // Before the first write of all it may be an older one than was found.
        if let Some(state) = db.durable_id().get().checked_sub(self.first_id) {
            self.durable.push((self.now(), state as usize));
        }
    }

    /// The states that may be found after a cut: from the last that was durable to the last that had begun.
    fn allowed(&self, cut: usize) -> std::ops::RangeInclusive<usize> {
        let lower = self.durable.iter().filter(|(at, _)| *at <= cut).map(|(_, state)| *state).max().unwrap();
        let upper = self.commits.iter().take_while(|commit| commit.began < cut).count();
        lower..=upper
    }

    /// Opens an image and demands that it holds an allowed state.
    fn open(&self, image: &[u8], boot_id: [u8; 16], cut: usize, lower: usize) -> (MemoryStore, Database, usize) {
        let disk = MemoryStore::with_image(image);
        disk.set_boot_id(boot_id);
        let db = self.options.open_store(&disk).unwrap_or_else(|error| panic!("cut {cut}: {error}"));
        let txn = db.begin_read().unwrap();
        let state = (txn.id().get() - self.first_id) as usize;
        let allowed = self.allowed(cut);
        assert!(allowed.contains(&state) && state >= lower, "cut {cut}: state {state}, allowed {allowed:?}, {lower}");
        compare(&txn, &self.states[state]);
        drop(txn);
        assert_sound(&db);
        (disk, db, state)
    }

    /// One crash: open, check, three more commits, reopen, check; sometimes those commits run into a second cut.
    fn crash(&mut self, cut: usize, survives: impl FnMut(Unsynced) -> bool) {
        let image = self.disk.crash(cut, survives);
        let (disk, db, state) = self.open(&image, [9; 16], cut, self.known_durable);
        let model = self.states[state].clone();
        if self.rng.u32(..8) > 0 {
            return go_on(&mut self.rng, &self.options, self.change, &disk, db, model);
        }
        drop(db);
        let mut next = History::run(self.rng.u64(..), self.change, &disk, [9; 16], vec![model], 3);
        let second = next.rng.usize(..next.now() + 1);
        let odds = next.rng.u32(..4);
        let mut rng = next.rng.fork();
        let image = disk.crash(second, |_| rng.u32(..3) < odds);
        let (disk, db, state) = next.open(&image, [8; 16], second, 0);
        go_on(&mut next.rng, &next.options, next.change, &disk, db, next.states[state].clone());
    }

    /// The process dies, the machine does not: nothing is lost that was acknowledged.
    fn kill(&mut self, cut: usize) {
        let image = self.disk.crash(cut, |_| true);
        let acknowledged = self.commits.iter().filter(|commit| commit.acknowledged <= cut).count();
        let (_, db, _) = self.open(&image, BOOT, cut, acknowledged);
        // Opening writes nothing. So if the machine dies next, the disk is as if it had died at once.
        self.known_durable = db.durable_id().get().saturating_sub(self.first_id) as usize;
    }

    /// Every cut, with every kind of subset: all, none, and some of those that tear; if `is_deep`, every prefix of the operations, too, each
    /// of them lost, and each alone. Answers how many states that were.
    fn crash_everywhere(&mut self, is_deep: bool) -> usize {
        let mut states = 0;
        for cut in 0..=self.now() {
            self.kill(cut);
            let parts = self.disk.unsynced(cut);
            self.crash(cut, |_| true);
            self.crash(cut, |_| false);
            states += 3;
            if is_deep {
                let mut operations: Vec<usize> = parts.iter().map(|part| part.operation).collect();
                operations.dedup();
                for &one in &operations {
                    self.crash(cut, |part| part.operation < one);
                    self.crash(cut, |part| part.operation != one);
                    self.crash(cut, |part| part.operation == one);
                }
                states += 3 * operations.len();
            }
            for _ in 0..parts.len().min(4) {
                let picked = parts[self.rng.usize(..parts.len())];
                self.crash(cut, |part| part != picked);
                self.crash(cut, |part| part == picked);
                let prefix = self.rng.usize(..parts.len());
                let mut seen = 0;
                self.crash(cut, |_| {
                    seen += 1;
                    seen <= prefix
                });
                let mut rng = self.rng.fork();
                let odds = rng.u32(1..10);
                self.crash(cut, |_| rng.u32(..10) < odds);
                // Whole operations in any order, as a disk with large sectors may have it.
                let kept: u64 = rng.u64(..);
                self.crash(cut, |part| kept >> (part.operation % 64) & 1 == 1);
                states += 5;
            }
        }
        states
    }
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse::<u64>().expect("a number"))
}

#[test]
fn a_power_cut_anywhere_leaves_a_whole_state() {
    let seeds = match number("FOLIO_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("FOLIO_CRASH_HISTORIES").unwrap_or(12),
    };
    let mut states = 0;
    for seed in seeds {
        println!("replay with FOLIO_SEED={seed}; {states} states so far");
        let base = MemoryStore::new();
        let change = if seed % 4 == 3 { change_long } else { change_some };
        let mut history = History::run(seed, change, &base, BOOT, vec![Model::new()], 25);
        states += history.crash_everywhere(number("FOLIO_CRASH_HISTORIES").is_some());
    }
    println!("{states} states");
}

#[test]
fn a_power_cut_during_sorted_loads_leaves_a_whole_state() {
    let (seeds, step) = match (number("FOLIO_SEED"), number("FOLIO_CRASH_HISTORIES")) {
        (Some(seed), _) => (seed..seed + 1, 1),
        (None, Some(count)) => (0..count.div_ceil(10), 1),
        (None, None) => (0..2, 3),
    };
    for seed in seeds {
        println!("replay with FOLIO_SEED={seed}");
        let mut history = History::run(seed, append_runs, &MemoryStore::new(), BOOT, vec![Model::new()], 10);
        history.crash_some(step);
    }
}

/// A file that is mostly free, from which large commits cut the end.
fn with_room(disk: &MemoryStore, model: &Model) -> folio::Result<u64> {
    let db = Options::new().open_store(disk)?;
    let mut readers = Vec::new();
    for _ in 0..5 {
        db.exec(|txn| {
            model.iter().try_for_each(|(name, truth)| {
                let mut bucket = txn.bucket_mut(name)?;
                truth.iter().try_for_each(|(key, value)| bucket.put(key, value))
            })
        })?;
        readers.push(db.begin_read()?);
    }
    Ok(db.stats()?.file_len)
}

#[test]
fn a_power_cut_while_the_file_shrinks_leaves_a_whole_state() {
    let seeds = match number("FOLIO_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("FOLIO_CRASH_HISTORIES").map_or(2, |count| count.div_ceil(10)),
    };
    // Each state takes 20 ms, since the disk is large: so fewer histories than of the others, and fewer cuts.
    let step = if number("FOLIO_CRASH_HISTORIES").is_some() { 1 } else { 3 };
    for seed in seeds {
        println!("replay with FOLIO_SEED={seed}");
        let truth = (0..1000).map(|n| (short_keys(n).into_bytes(), vec![0; 900]));
        let truth: BTreeMap<_, _> =
            truth.chain((0..1000).map(|n| (n.to_string().into_bytes(), vec![0; 900]))).collect();
        let model = Model::from([("a".to_string(), truth)]);
        let disk = MemoryStore::new();
        let before = with_room(&disk, &model).unwrap();
        let mut history = History::run(seed, thin_out, &disk, BOOT, vec![model], 12);
        let after = disk.image().len() as u64;
        println!("{before} and {after} bytes, {} operations", history.now());
        assert!(after < before / 2);
        history.crash_some(step);
    }
}

/// How the transactions of a history of torn attempts are committed.
#[derive(Clone, Copy, Debug)]
enum Way {
    /// A few pages, and so with a digest; on a long history with a page of the space log.
    Small,
    /// More pages than a digest is for: they are synced before the meta.
    Large,
    /// Relaxed, and then made durable.
    Relaxed,
}

/// A commit of more pages has no digest.
const DIGEST_PAGES: usize = 256;

/// Attempts at commits, each of which a power cut tears: the next has the same id, and often the same page numbers, and its sectors are just
/// those that the one before lacks. What an open has not shown must not come back, in whole or in part.
struct Tears {
    rng: fastrand::Rng,
    options: Options,
    /// The images that were followed already.
    seen: HashSet<u64>,
    states: usize,
    /// All subsets of so many units are tried; of more, as many.
    exhaustive: u32,
    /// Of so many images after the second cut, one is followed to a third.
    third: u32,
}

impl Tears {
    /// A history of `length` commits, and then `ways.len()` attempts, each cut at each operation.
    fn run(&mut self, length: usize, ways: &[Way]) {
        let disk = MemoryStore::new();
        let db = self.options.open_store(&disk).unwrap();
        for n in 0..length {
            let buckets = ["w", "x", "y", "z"];
            db.exec(|txn| buckets.iter().try_for_each(|name| txn.bucket_mut(name)?.put("a", [n as u8; 700]))).unwrap();
        }
        let model = everything(&db);
        drop(db);
        self.seen.clear();
        self.attempt(&disk.image(), &model, ways);
    }

    /// Makes the next attempt on a disk that an open has shown to be in the state `before`, and cuts it at each operation.
    fn attempt(&mut self, image: &[u8], before: &Model, ways: &[Way]) {
        let [way, later @ ..] = ways else { return };
        let disk = self.disk(image, later.len());
        let db = self.options.open_store(&disk).unwrap();
        assert!(everything(&db) == *before);
        disk.record();
        let tag = later.len() as u8;
        let mut txn = db.begin_write().unwrap();
        ["x", "y"].iter().try_for_each(|name| txn.bucket_mut(name)?.put("a", [tag; 40])).unwrap();
        match way {
            Way::Small => drop(txn.commit().unwrap()),
            Way::Large => {
                txn.bucket_mut("large").unwrap().put("a", vec![tag; (DIGEST_PAGES + 10 * later.len()) * 4096]).unwrap();
                txn.commit().unwrap();
            }
            Way::Relaxed => {
                txn.commit_with(Durability::Relaxed).unwrap();
                db.sync().unwrap();
            }
        }
        let after = everything(&db);
        for cut in 0..=disk.operation_count() {
            self.cut(&disk, cut, [before, &after], later);
        }
    }

    /// Tears what was not synced in every way, or in many.
    fn cut(&mut self, disk: &MemoryStore, cut: usize, allowed: [&Model; 2], later: &[Way]) {
        let (none, all) = (disk.crash(cut, |_| false), disk.crash(cut, |_| true));
        let bytes = |image: &[u8], sector: u64| {
            let at = sector as usize * SECTOR_LEN;
            image.get(at..at + SECTOR_LEN).map(<[u8]>::to_vec)
        };
        let changes = |part: &Unsynced| part.sector.is_none_or(|sector| bytes(&none, sector) != bytes(&all, sector));
        // Each sector of a meta slot may come or not, and each other operation, or a part of it.
        let unit = |part: &Unsynced| (part.operation, part.sector.filter(|sector| [0, 8].contains(&(sector / 8))));
        let mut units: Vec<_> = disk.unsynced(cut).iter().filter(|part| changes(part)).map(unit).collect();
        units.sort_unstable();
        units.dedup();
        let is_all = units.len() as u32 <= self.exhaustive;
        for n in 0..1u64 << (units.len() as u32).min(self.exhaustive) {
            let kept: u64 = if is_all { n } else { self.rng.u64(..) };
            let torn: u64 = self.rng.u64(..) & self.rng.u64(..);
            let image = disk.crash(cut, |part| {
                let unit = unit(&part);
                let is_kept = units.binary_search(&unit).is_ok_and(|at| kept >> (at % 64) & 1 == 1);
                // Of pages that do not come, a part may.
                is_kept || unit.1.is_none() && part.sector.is_some_and(|sector| torn >> (sector % 64) & 1 == 1)
            });
            self.after(&image, allowed, later);
        }
    }

    /// A disk after a cut holds one of the two states, whole, and no other; and so it is after the next cut.
    fn after(&mut self, image: &[u8], allowed: [&Model; 2], later: &[Way]) {
        self.states += 1;
        let disk = self.disk(image, later.len() + 100);
        let db = self.options.open_store(&disk).unwrap();
        let shown = everything(&db);
        assert!(allowed.contains(&&shown), "a state that no open has shown since, or a mixture");
        assert_sound(&db);
        drop(db);
        let mut hasher = DefaultHasher::new();
        image.hash(&mut hasher);
        let is_followed = later.len() > 1 || self.rng.u32(..self.third) == 0;
        if is_followed && self.seen.insert(hasher.finish()) {
            self.attempt(image, &shown, later);
        }
    }

    /// A disk of a machine that was started anew.
    fn disk(&self, image: &[u8], boot: usize) -> MemoryStore {
        let disk = MemoryStore::with_image(image);
        disk.set_boot_id([boot as u8; 16]);
        disk
    }
}

fn everything(db: &Database) -> Model {
    let txn = db.begin_read().unwrap();
    let entries = |name: &String| {
        let bucket = txn.bucket(name).unwrap().unwrap();
        bucket.iter().map(|entry| entry.map(|(key, value)| (key.to_vec(), value.to_vec())).unwrap()).collect()
    };
    txn.buckets().unwrap().iter().map(|name| (name.clone(), entries(name))).collect()
}

#[test]
fn tears_that_complement_each_other_bring_nothing_back() {
    let is_deep = number("FOLIO_CRASH_HISTORIES").is_some();
    let seed = number("FOLIO_SEED").unwrap_or(1);
    println!("replay with FOLIO_SEED={seed}");
    let mut tears = Tears {
        rng: fastrand::Rng::with_seed(seed),
        options: Options::new().max_size(64 * 4096),
        seen: HashSet::new(),
        states: 0,
        exhaustive: if is_deep { 8 } else { 5 },
        third: if is_deep { 20 } else { 100 },
    };
    // With each commit the records in the meta grow by four words: those of the 11th reach into its second sector, those of the 27th into
    // the third, and with the 122nd they go to a page of the space log.
    let lengths: Vec<usize> =
        if is_deep { (0..140).collect() } else { [9..13, 26..29, 120..124].into_iter().flatten().collect() };
    for length in lengths {
        tears.run(length, &[Way::Small, Way::Small, Way::Relaxed]);
        tears.run(length, &[Way::Relaxed, Way::Small, Way::Small]);
        tears.run(length, &[Way::Small, Way::Relaxed, Way::Small]);
    }
    println!("{} states of small commits", tears.states);
    tears.options = Options::new().max_size(4 << 20);
    tears.exhaustive = if is_deep { 5 } else { 3 };
    for length in if is_deep { 0..40 } else { 9..12 } {
        tears.run(length, &[Way::Large, Way::Large]);
        tears.run(length, &[Way::Large, Way::Small]);
        tears.run(length, &[Way::Small, Way::Large]);
    }
    println!("{} states in all", tears.states);
}
