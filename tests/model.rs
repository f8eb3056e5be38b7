//! Random operations on several buckets against `BTreeMap`, with snapshots held at random that keep their own copy of the
//! truth, aborts, panics, spills and reopens. After every commit the whole file is checked.
//!
//! `FOLIO_SEEDS=1000 cargo test --release --test model` runs longer; `FOLIO_SEED=n` replays one.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::panic::{AssertUnwindSafe, catch_unwind};

use folio::{Bucket, Database, Durability, Options, ReadTxn, Result, WriteTxn};

type Model = BTreeMap<String, BTreeMap<Vec<u8>, Vec<u8>>>;

const NAMES: [&str; 4] = ["alpha", "beta", "gamma", "a name that is somewhat longer than the others"];

struct Run {
    rng: fastrand::Rng,
    page_size: u32,
    options: Options,
    path: std::path::PathBuf,
    _dir: tempfile::TempDir,
    db: Option<Database>,
    model: Model,
    snapshots: Vec<(ReadTxn, Model)>,
}

impl Run {
    fn new(seed: u64, page_size: u32) -> Run {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("model.folio");
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut options = Options::new().page_size(page_size);
        if rng.bool() {
            options = options.dirty_limit(64 * page_size as usize);
        }
        if rng.bool() {
            options = options.durability(Durability::Relaxed).sync_bytes(rng.u64(..4 << 20));
        }
        let db = Some(options.open(&path).unwrap());
        Run { rng, page_size, options, path, _dir: dir, db, model: Model::new(), snapshots: Vec::new() }
    }

    fn db(&self) -> &Database {
        self.db.as_ref().unwrap()
    }

    fn key(&mut self) -> Vec<u8> {
        match self.rng.u32(..12) {
            0 => vec![self.rng.u8(..3); self.rng.usize(..1985)],
            1..6 => format!("common/prefix/{:04}", self.rng.u32(..2000)).into_bytes(),
            _ => self.rng.u32(..2000).to_be_bytes().to_vec(),
        }
    }

    fn value(&mut self) -> Vec<u8> {
        let len = match self.rng.u32(..30) {
            0 => self.rng.usize(..self.page_size as usize * 5),
            1 => self.page_size as usize,
            2..5 => self.rng.usize(..3000),
            _ => self.rng.usize(..200),
        };
        vec![self.rng.u8(..); len]
    }

    fn bounds(&mut self) -> (Bound<Vec<u8>>, Bound<Vec<u8>>) {
        let mut bound = || match self.rng.u32(..5) {
            0 => Bound::Unbounded,
            1 | 2 => Bound::Included(self.key()),
            _ => Bound::Excluded(self.key()),
        };
        (bound(), bound())
    }

    /// One operation on a transaction and its model.
    fn operation(&mut self, txn: &mut WriteTxn, model: &mut Model) -> Result<()> {
        let name = NAMES[self.rng.usize(..NAMES.len())];
        let what = self.rng.u32(..1000);
        if what < 3 {
            assert_eq!(txn.drop_bucket(name)?, model.remove(name).is_some());
            return Ok(());
        }
        if what < 6 {
            let to = NAMES[self.rng.usize(..NAMES.len())];
            if name != to && model.contains_key(to) && model.contains_key(name) {
                assert!(txn.rename_bucket(name, to).is_err());
                return Ok(());
            }
            assert_eq!(txn.rename_bucket(name, to)?, model.contains_key(name));
            if let Some(content) = model.remove(name) {
                model.insert(to.to_string(), content);
            }
            return Ok(());
        }
        let (key, value) = (self.key(), self.value());
        let mut bucket = txn.bucket_mut(name)?;
        let truth = model.entry(name.to_string()).or_default();
        match what {
            0..400 => {
                bucket.put(&key, &value)?;
                truth.insert(key, value);
            }
            400..450 => {
                let was = truth.contains_key(&key);
                assert_eq!(bucket.insert(&key, &value)?, !was);
                truth.entry(key).or_insert(value);
            }
            450..480 => assert_eq!(bucket.replace(&key, &value)?, truth.insert(key, value)),
            480..520 => {
                let fill = self.rng.u8(..);
                bucket.reserve(&key, value.len(), |bytes| {
                    assert!(bytes.iter().all(|&byte| byte == 0));
                    bytes.fill(fill);
                })?;
                truth.insert(key, vec![fill; value.len()]);
            }
            520..530 => {
                let is_last = truth.last_key_value().is_none_or(|(last, _)| *last < key);
                assert_eq!(bucket.append(&key, &value).is_ok(), is_last);
                if is_last {
                    truth.insert(key, value);
                }
            }
            530..900 => assert_eq!(bucket.delete(&key)?, truth.remove(&key).is_some()),
            900..920 => assert_eq!(bucket.pop_first()?, truth.pop_first()),
            920..940 => assert_eq!(bucket.pop_last()?, truth.pop_last()),
            940..950 => {
                let bit = self.rng.u8(..8);
                let keep = |value: &[u8]| value.first().is_none_or(|byte| byte >> bit & 1 == 0);
                let before = truth.len();
                truth.retain(|_, value| keep(value));
                assert_eq!(bucket.retain(|_, value| keep(value))?, (before - truth.len()) as u64);
            }
            950..953 => {
                bucket.clear()?;
                truth.clear();
            }
            953..970 => {
                let bounds = self.bounds();
                let gone = keys_in(truth, &bounds);
                assert_eq!(bucket.count_range(bounds.clone())?, gone.len() as u64);
                assert_eq!(bucket.delete_range(bounds)?, gone.len() as u64);
                gone.iter().for_each(|key| drop(truth.remove(key)));
            }
            _ => compare(&bucket.as_bucket(), truth),
        }
        assert_eq!(bucket.len(), truth.len() as u64);
        Ok(())
    }

    fn transaction(&mut self) {
        let db = self.db().clone();
        let mut model = self.model.clone();
        let mut txn = db.begin_write().unwrap();
        let count = if self.rng.u32(..20) == 0 { 3000 } else { self.rng.usize(..60) };
        let end = self.rng.u32(..10);
        let panics_at = if end == 0 { self.rng.usize(..count + 1) } else { usize::MAX };
        let result = catch_unwind(AssertUnwindSafe(|| {
            for n in 0..count {
                if n == panics_at {
                    std::panic::resume_unwind(Box::new("a panic of the test's own"));
                }
                self.operation(&mut txn, &mut model).unwrap();
            }
            for (name, truth) in &model {
                compare(&txn.bucket(name).unwrap().unwrap(), truth);
            }
            if end > 1 {
                txn.commit().unwrap();
                self.model = model;
            }
        }));
        if let Err(panic) = result
            && panics_at > count
        {
            std::panic::resume_unwind(panic);
        }
    }

    fn step(&mut self) {
        match self.rng.u32(..20) {
            0 => {
                self.snapshots.clear();
                self.db = None;
                self.db = Some(self.options.open(&self.path).unwrap());
            }
            1 => self.db().sync().unwrap(),
            2..6 if self.snapshots.len() < 8 => {
                let txn = self.db().begin_read().unwrap();
                self.snapshots.push((if self.rng.bool() { txn.clone() } else { txn }, self.model.clone()));
            }
            6..9 if !self.snapshots.is_empty() => {
                let gone = self.rng.usize(..self.snapshots.len());
                self.snapshots.swap_remove(gone);
            }
            _ => self.transaction(),
        }
        for (txn, model) in &self.snapshots {
            compare_all(txn, model);
        }
        compare_all(&self.db().begin_read().unwrap(), &self.model);
        let report = self.db().check().unwrap();
        assert!(report.is_ok(), "{:#?}", report.problems);
        let stats = self.db().stats().unwrap();
        assert_eq!(report.entries, self.model.values().map(|bucket| bucket.len() as u64).sum::<u64>());
        let parts = stats.meta_pages + stats.used_pages + stats.free_pages + stats.pending_pages;
        assert_eq!(parts, stats.page_count);
        assert!(stats.file_len >= stats.page_count * u64::from(stats.page_size));
    }
}

fn keys_in(truth: &BTreeMap<Vec<u8>, Vec<u8>>, (start, end): &(Bound<Vec<u8>>, Bound<Vec<u8>>)) -> Vec<Vec<u8>> {
    let after_start = |key: &Vec<u8>| match start {
        Bound::Unbounded => true,
        Bound::Included(start) => key >= start,
        Bound::Excluded(start) => key > start,
    };
    let before_end = |key: &Vec<u8>| match end {
        Bound::Unbounded => true,
        Bound::Included(end) => key <= end,
        Bound::Excluded(end) => key < end,
    };
    truth.keys().filter(|key| after_start(key) && before_end(key)).cloned().collect()
}

fn compare(bucket: &Bucket<'_>, truth: &BTreeMap<Vec<u8>, Vec<u8>>) {
    assert_eq!(bucket.len(), truth.len() as u64);
    let mut expected = truth.iter();
    for entry in bucket.iter() {
        let (key, value) = entry.unwrap();
        let (true_key, true_value) = expected.next().expect("no more entries than there should be");
        assert!(key == true_key && value == true_value, "{key:?}");
    }
    assert!(expected.next().is_none());
}

fn compare_all(txn: &ReadTxn, model: &Model) {
    assert_eq!(txn.buckets().unwrap(), model.keys().cloned().collect::<Vec<_>>());
    for (name, truth) in model {
        compare(&txn.bucket(name).unwrap().unwrap(), truth);
    }
}

fn seeds(quick: u64) -> std::ops::Range<u64> {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse().expect("a number"));
    match number("FOLIO_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("FOLIO_SEEDS").unwrap_or(quick),
    }
}

fn run(page_size: u32, quick: u64, steps: usize) {
    for seed in seeds(quick) {
        println!("page size {page_size}: replay with FOLIO_SEED={seed}");
        let mut run = Run::new(seed, page_size);
        for _ in 0..steps {
            run.step();
        }
    }
}

#[test]
fn model_4k() {
    run(4096, 6, 150);
}

#[test]
fn model_8k() {
    run(8192, 2, 150);
}

#[test]
fn model_16k() {
    run(16384, 2, 100);
}

#[test]
fn model_32k() {
    run(32768, 1, 100);
}

#[test]
fn model_64k() {
    run(65536, 1, 100);
}
