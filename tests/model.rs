//! Histories of operations on several buckets against `BTreeMap`: with snapshots that are held across commits and keep their own
//! copy of the truth, aborts, panics, spills and reopens. After every commit the whole file is checked, and all snapshots.
//!
//! A history is a list of [`Operation`]s. quickcheck makes short ones at random, in memory, and cuts one that fails down to
//! what it takes to fail. `model_4k` to `model_64k` run long ones in a file, the same each time.
//!
//! `FOLIO_SEEDS=1000 cargo test --release --test model` runs longer; `FOLIO_SEED=n` replays one.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use folio::disk::MemoryStore;
use folio::{Bucket, Database, Durability, Options, ReadTxn, WriteTxn};
use quickcheck::{Arbitrary, Gen, QuickCheck};

const PAGE_SIZES: [u32; 5] = [4096, 8192, 16384, 32768, 65536];

const NAMES: [&str; 4] = ["alpha", "beta", "gamma", "a name that is somewhat longer than the others"];

/// A snapshot is always held, and never more than this.
const SNAPSHOTS_MAX: usize = 8;

type Bucketful = BTreeMap<Vec<u8>, Value>;
type Model = BTreeMap<&'static str, Bucketful>;

/// A key, by what it is made of.
#[derive(Clone, Copy, Debug)]
enum Key {
    /// That many times the same byte.
    Run(u8, u16),
    Text(u16),
    Number(u16),
}

impl Key {
    fn random(rng: &mut fastrand::Rng) -> Key {
        match rng.u32(..12) {
            0 => Key::Run(rng.u8(..3), rng.u16(..1985)),
            1..6 => Key::Text(rng.u16(..2000)),
            _ => Key::Number(rng.u16(..2000)),
        }
    }

    fn bytes(self) -> Vec<u8> {
        match self {
            Key::Run(byte, len) => vec![byte; len.into()],
            Key::Text(n) => format!("common/prefix/{n:04}").into_bytes(),
            Key::Number(n) => u32::from(n).to_be_bytes().to_vec(),
        }
    }

    /// The key after this one of its kind.
    fn step(self, by: u16) -> Key {
        match self {
            Key::Run(byte, len) => Key::Run(byte, (len + by) % 1985),
            Key::Text(n) => Key::Text((n + by) % 2000),
            Key::Number(n) => Key::Number((n + by) % 2000),
        }
    }

    fn smaller(self) -> Vec<Key> {
        let lesser = |n: u16| [0, n / 2, n.saturating_sub(1)].into_iter().filter(move |less| *less < n);
        match self {
            Key::Run(byte, len) => lesser(len).map(|len| Key::Run(byte, len)).chain([Key::Number(len % 100)]).collect(),
            Key::Text(n) => lesser(n).map(Key::Text).chain([Key::Number(n)]).collect(),
            Key::Number(n) => lesser(n).map(Key::Number).collect(),
        }
    }
}

/// A value: so many times the same byte.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Value {
    byte: u8,
    len: u32,
}

impl Value {
    fn random(rng: &mut fastrand::Rng) -> Value {
        let len = match rng.u32(..30) {
            0 => rng.u32(..5 * 4096),
            1 => PAGE_SIZES[rng.usize(..5)] * rng.u32(1..4),
            2..5 => rng.u32(..3000),
            5..15 => 8 * rng.u32(..3),
            _ => rng.u32(..200),
        };
        Value { byte: rng.u8(..), len }
    }

    fn bytes(self) -> Vec<u8> {
        vec![self.byte; self.len as usize]
    }

    fn is(self, bytes: &[u8]) -> bool {
        let row = [self.byte; 256];
        bytes.len() == self.len as usize && bytes.chunks(256).all(|chunk| *chunk == row[..chunk.len()])
    }

    fn smaller(self) -> Vec<Value> {
        let lesser = [0, self.len / 2, self.len.saturating_sub(1)].into_iter().filter(|len| *len < self.len);
        lesser.map(|len| Value { len, ..self }).collect()
    }
}

type Range = (Bound<Key>, Bound<Key>);

fn random_range(rng: &mut fastrand::Rng) -> Range {
    let mut bound = || match rng.u32(..5) {
        0 => Bound::Unbounded,
        1 | 2 => Bound::Included(Key::random(rng)),
        _ => Bound::Excluded(Key::random(rng)),
    };
    (bound(), bound())
}

/// A change of one bucket.
#[derive(Clone, Copy, Debug)]
enum Change {
    Put(Key, Value),
    /// So many keys in a row: what makes trees deep and transactions spill.
    PutRow(Key, u16, Value),
    DeleteRow(Key, u16),
    Insert(Key, Value),
    Replace(Key, Value),
    Reserve(Key, Value),
    Append(Key, Value),
    Delete(Key),
    PopFirst,
    PopLast,
    /// Keeps the values whose first byte has this bit clear.
    Retain(u8),
    Clear,
    DeleteRange(Range),
    Compare,
}

/// A step of a history. What changes something begins a write transaction, if none is running.
#[derive(Clone, Copy, Debug)]
enum Operation {
    Change(usize, Change),
    DropBucket(usize),
    RenameBucket(usize, usize),
    Commit,
    CommitRelaxed,
    Abort,
    /// A panic in the write transaction.
    Panic,
    Sync,
    Pin,
    Unpin(usize),
    Reopen,
}

impl Operation {
    fn random(rng: &mut fastrand::Rng) -> Operation {
        let bucket = rng.usize(..NAMES.len());
        let change = |change| Operation::Change(bucket, change);
        let (key, value) = (Key::random(rng), Value::random(rng));
        match rng.u32(..1000) {
            0..3 => Operation::DropBucket(bucket),
            3..6 => Operation::RenameBucket(bucket, rng.usize(..NAMES.len())),
            6..36 => Operation::Commit,
            36..46 => Operation::CommitRelaxed,
            46..49 => Operation::Abort,
            49..52 => Operation::Panic,
            52..55 => Operation::Sync,
            55..67 => Operation::Pin,
            67..77 => Operation::Unpin(rng.usize(..SNAPSHOTS_MAX)),
            77..79 => Operation::Reopen,
            79..110 => change(Change::PutRow(key, rng.u16(..300), value.smaller().pop().unwrap_or(value))),
            110..130 => change(Change::DeleteRow(key, rng.u16(..300))),
            130..450 => change(Change::Put(key, value)),
            450..500 => change(Change::Insert(key, value)),
            500..530 => change(Change::Replace(key, value)),
            530..570 => change(Change::Reserve(key, value)),
            570..580 => change(Change::Append(key, value)),
            580..900 => change(Change::Delete(key)),
            900..920 => change(Change::PopFirst),
            920..940 => change(Change::PopLast),
            940..948 => change(Change::Retain(rng.u8(..8))),
            948..950 => change(Change::Clear),
            950..970 => change(Change::DeleteRange(random_range(rng))),
            _ => change(Change::Compare),
        }
    }
}

impl Change {
    fn smaller(self) -> Vec<Change> {
        fn entry(key: Key, value: Value, make: fn(Key, Value) -> Change) -> Vec<Change> {
            let keys = key.smaller().into_iter().map(move |key| make(key, value));
            keys.chain(value.smaller().into_iter().map(move |value| make(key, value))).collect()
        }
        let plain = |key, value| vec![Change::Put(key, value)];
        let fewer = |count: u16| [count / 2, count.saturating_sub(1)].into_iter().filter(move |less| *less < count);
        match self {
            Change::Put(key, value) => entry(key, value, Change::Put),
            Change::Insert(key, value) | Change::Replace(key, value) | Change::Reserve(key, value) => plain(key, value),
            Change::Append(key, value) => [plain(key, value), entry(key, value, Change::Append)].concat(),
            Change::PutRow(key, 1, value) => plain(key, value),
            Change::PutRow(key, count, value) => {
                let rows = fewer(count).map(|count| Change::PutRow(key, count, value));
                let values = value.smaller().into_iter().map(|value| Change::PutRow(key, count, value));
                rows.chain(values)
                    .chain(key.smaller().into_iter().map(|key| Change::PutRow(key, count, value)))
                    .collect()
            }
            Change::DeleteRow(key, 1) => vec![Change::Delete(key)],
            Change::DeleteRow(key, count) => {
                let rows = fewer(count).map(|count| Change::DeleteRow(key, count));
                rows.chain(key.smaller().into_iter().map(|key| Change::DeleteRow(key, count))).collect()
            }
            Change::Delete(key) => key.smaller().into_iter().map(Change::Delete).collect(),
            Change::Retain(_) | Change::DeleteRange(_) => vec![Change::Clear],
            Change::PopFirst | Change::PopLast | Change::Clear | Change::Compare => Vec::new(),
        }
    }
}

impl Arbitrary for Operation {
    fn arbitrary(g: &mut Gen) -> Operation {
        Operation::random(&mut fastrand::Rng::with_seed(u64::arbitrary(g)))
    }

    fn shrink(&self) -> Box<dyn Iterator<Item = Operation>> {
        let smaller = match *self {
            Operation::Change(bucket, change) => {
                let first = (bucket > 0).then_some(Operation::Change(0, change));
                let changes = change.smaller().into_iter().map(|change| Operation::Change(bucket, change));
                first.into_iter().chain(changes).collect()
            }
            Operation::CommitRelaxed => vec![Operation::Commit],
            Operation::Panic => vec![Operation::Abort],
            Operation::Unpin(n) if n > 0 => vec![Operation::Unpin(0)],
            _ => Vec::new(),
        };
        Box::new(smaller.into_iter())
    }
}

/// How a database is set up.
#[derive(Clone, Copy, Debug)]
struct Setup {
    page_size: u32,
    spills: bool,
    sync_bytes: Option<u64>,
}

impl Setup {
    fn random(page_size: u32, rng: &mut fastrand::Rng) -> Setup {
        Setup { page_size, spills: rng.bool(), sync_bytes: rng.bool().then(|| rng.u64(..4 << 20)) }
    }

    fn options(self) -> Options {
        let options = Options::new().page_size(self.page_size);
        let options = if self.spills { options.dirty_limit(64 * self.page_size as usize) } else { options };
        match self.sync_bytes {
            Some(sync_bytes) => options.durability(Durability::Relaxed).sync_bytes(sync_bytes),
            None => options,
        }
    }
}

impl Arbitrary for Setup {
    fn arbitrary(g: &mut Gen) -> Setup {
        let page_size = *g.choose(&PAGE_SIZES).expect("five");
        Setup::random(page_size, &mut fastrand::Rng::with_seed(u64::arbitrary(g)))
    }

    fn shrink(&self) -> Box<dyn Iterator<Item = Setup>> {
        let simple = Setup { page_size: self.page_size, spills: false, sync_bytes: None };
        let is_simple = !self.spills && self.sync_bytes.is_none();
        Box::new((!is_simple).then_some(simple).into_iter())
    }
}

/// A history as it runs.
struct Run<'a> {
    page_size: u32,
    open: &'a dyn Fn() -> Database,
    db: Option<Database>,
    /// The truth as of the last commit.
    model: Model,
    /// The write transaction that is running, and the truth in it.
    running: Option<(WriteTxn, Model)>,
    snapshots: Vec<(ReadTxn, Model)>,
    commits: u64,
}

impl<'a> Run<'a> {
    fn new(page_size: u32, open: &'a dyn Fn() -> Database) -> Run<'a> {
        let mut run =
            Run { page_size, open, db: None, model: Model::new(), running: None, snapshots: Vec::new(), commits: 0 };
        run.reopen();
        run
    }

    fn db(&self) -> &Database {
        self.db.as_ref().expect("open but while it is reopened")
    }

    fn reopen(&mut self) {
        self.running = None;
        self.snapshots.clear();
        self.db = None;
        self.db = Some((self.open)());
        self.pin();
        self.check();
    }

    fn pin(&mut self) {
        if self.snapshots.len() < SNAPSHOTS_MAX {
            let txn = self.db().begin_read().unwrap();
            // Of two that share a pin, one is dropped.
            self.snapshots.push((txn.clone(), self.model.clone()));
        }
    }

    fn step(&mut self, operation: Operation) {
        match operation {
            Operation::Change(bucket, change) => {
                let (txn, model) = self.running();
                apply(txn, model, NAMES[bucket], change);
            }
            Operation::DropBucket(bucket) => {
                let (txn, model) = self.running();
                assert_eq!(txn.drop_bucket(NAMES[bucket]).unwrap(), model.remove(NAMES[bucket]).is_some());
            }
            Operation::RenameBucket(from, to) => {
                let (txn, model) = self.running();
                rename(txn, model, NAMES[from], NAMES[to]);
            }
            Operation::Commit => self.commit(None),
            Operation::CommitRelaxed => self.commit(Some(Durability::Relaxed)),
            Operation::Abort => self.running = None,
            Operation::Panic => {
                let running = self.running.take();
                let panicked = catch_unwind(AssertUnwindSafe(move || {
                    let _dropped_by_the_panic = running;
                    resume_unwind(Box::new("a panic of the test's own"));
                }));
                assert!(panicked.is_err());
            }
            // It waits for the writer.
            Operation::Sync if self.running.is_some() => {}
            Operation::Sync => self.db().sync().unwrap(),
            Operation::Pin => self.pin(),
            Operation::Unpin(n) => {
                if self.snapshots.len() > 1 {
                    self.snapshots.swap_remove(n % self.snapshots.len());
                }
            }
            Operation::Reopen => self.reopen(),
        }
    }

    fn running(&mut self) -> (&mut WriteTxn, &mut Model) {
        if self.running.is_none() {
            self.running = Some((self.db().begin_write().unwrap(), self.model.clone()));
        }
        let (txn, model) = self.running.as_mut().expect("begun");
        (txn, model)
    }

    fn commit(&mut self, durability: Option<Durability>) {
        let Some((txn, model)) = self.running.take() else { return };
        for (name, truth) in &model {
            compare(&txn.bucket(name).unwrap().unwrap(), truth);
        }
        match durability {
            Some(durability) => txn.commit_with(durability).unwrap(),
            None => txn.commit().unwrap(),
        };
        self.model = model;
        self.commits += 1;
        self.check();
    }

    /// P3: no snapshot has changed. P4: each page has one owner. And all figures are those of a walk over everything.
    fn check(&self) {
        for (txn, model) in &self.snapshots {
            compare_all(txn, model);
        }
        let txn = self.db().begin_read().unwrap();
        compare_all(&txn, &self.model);
        let report = self.db().check().unwrap();
        assert!(report.is_ok(), "{:#?}", report.problems);
        let stats = self.db().stats().unwrap();
        assert_eq!(report.entries, self.model.values().map(|bucket| bucket.len() as u64).sum::<u64>());
        assert_eq!((report.buckets, report.pages), (self.model.len() as u64, stats.page_count));
        let parts = stats.meta_pages + stats.used_pages + stats.free_pages + stats.pending_pages;
        assert_eq!(parts, stats.page_count);
        assert!(stats.file_len >= stats.page_count * u64::from(stats.page_size));
        assert_eq!(stats.pinned_snapshots, self.snapshots.len() as u64 + 1);
        let tree_pages: u64 = self.model.iter().map(|(name, truth)| self.measure(&txn, name, truth)).sum();
        assert!(tree_pages <= stats.used_pages);
    }

    /// Compares a bucket's figures with the truth. Answers the number of its pages.
    fn measure(&self, txn: &ReadTxn, name: &str, truth: &Bucketful) -> u64 {
        let stats = txn.bucket(name).unwrap().unwrap().stats().unwrap();
        let page_len = u64::from(self.page_size);
        // An entry that takes more than half a page, with its slot and lengths, has its value in pages of its own.
        let is_large =
            |(key, value): &(&Vec<u8>, &Value)| 8 + 2 + key.len() as u64 + u64::from(value.len) > (page_len - 32) / 2;
        let large_pages: u64 =
            truth.iter().filter(is_large).map(|(_, value)| u64::from(value.len).div_ceil(page_len)).sum();
        assert_eq!(stats.entries, truth.len() as u64);
        assert_eq!(stats.key_bytes, truth.keys().map(|key| key.len() as u64).sum::<u64>());
        assert_eq!(stats.value_bytes, truth.values().map(|value| u64::from(value.len)).sum::<u64>());
        assert_eq!(stats.large_pages, large_pages);
        assert_eq!((stats.depth == 0, stats.leaf_pages == 0), (truth.is_empty(), truth.is_empty()));
        assert_eq!(stats.depth > 1, stats.branch_pages > 0);
        assert!(stats.used_bytes <= (stats.leaf_pages + stats.branch_pages) * page_len);
        stats.branch_pages + stats.leaf_pages + stats.large_pages
    }
}

fn rename(txn: &mut WriteTxn, model: &mut Model, from: &'static str, to: &'static str) {
    if from != to && model.contains_key(to) && model.contains_key(from) {
        assert!(txn.rename_bucket(from, to).is_err());
        return;
    }
    assert_eq!(txn.rename_bucket(from, to).unwrap(), model.contains_key(from));
    if let Some(content) = model.remove(from) {
        model.insert(to, content);
    }
}

fn apply(txn: &mut WriteTxn, model: &mut Model, name: &'static str, change: Change) {
    let mut bucket = txn.bucket_mut(name).unwrap();
    let truth = model.entry(name).or_default();
    match change {
        Change::Put(key, value) => {
            bucket.put(key.bytes(), value.bytes()).unwrap();
            truth.insert(key.bytes(), value);
        }
        Change::PutRow(key, count, value) => {
            for key in (0..count).map(|n| key.step(n)) {
                bucket.put(key.bytes(), value.bytes()).unwrap();
                truth.insert(key.bytes(), value);
            }
        }
        Change::DeleteRow(key, count) => {
            for key in (0..count).map(|n| key.step(n).bytes()) {
                assert_eq!(bucket.delete(&key).unwrap(), truth.remove(&key).is_some());
            }
        }
        Change::Insert(key, value) => {
            let is_new = !truth.contains_key(&key.bytes());
            assert_eq!(bucket.insert(key.bytes(), value.bytes()).unwrap(), is_new);
            truth.entry(key.bytes()).or_insert(value);
        }
        Change::Replace(key, value) => {
            let old = bucket.replace(key.bytes(), value.bytes()).unwrap();
            assert_eq!(old, truth.insert(key.bytes(), value).map(Value::bytes));
        }
        Change::Reserve(key, value) => {
            let fill = |bytes: &mut [u8]| {
                assert!(bytes.iter().all(|&byte| byte == 0));
                bytes.fill(value.byte);
            };
            bucket.reserve(key.bytes(), value.len as usize, fill).unwrap();
            truth.insert(key.bytes(), value);
        }
        Change::Append(key, value) => {
            let is_last = truth.last_key_value().is_none_or(|(last, _)| *last < key.bytes());
            assert_eq!(bucket.append(key.bytes(), value.bytes()).is_ok(), is_last);
            if is_last {
                truth.insert(key.bytes(), value);
            }
        }
        Change::Delete(key) => {
            assert_eq!(bucket.delete(key.bytes()).unwrap(), truth.remove(&key.bytes()).is_some());
        }
        Change::PopFirst => {
            let first = truth.pop_first().map(|(key, value)| (key, value.bytes()));
            assert_eq!(bucket.pop_first().unwrap(), first);
        }
        Change::PopLast => {
            let last = truth.pop_last().map(|(key, value)| (key, value.bytes()));
            assert_eq!(bucket.pop_last().unwrap(), last);
        }
        Change::Retain(bit) => {
            let before = truth.len();
            truth.retain(|_, value| value.len == 0 || value.byte >> bit & 1 == 0);
            let keep = |value: &[u8]| value.first().is_none_or(|byte| byte >> bit & 1 == 0);
            assert_eq!(bucket.retain(|_, value| keep(value)).unwrap(), (before - truth.len()) as u64);
        }
        Change::Clear => {
            bucket.clear().unwrap();
            truth.clear();
        }
        Change::DeleteRange((start, end)) => {
            let bounds = (start.map(Key::bytes), end.map(Key::bytes));
            let gone = keys_in(truth, &bounds);
            assert_eq!(bucket.count_range(bounds.clone()).unwrap(), gone.len() as u64);
            assert_eq!(bucket.delete_range(bounds).unwrap(), gone.len() as u64);
            truth.retain(|key, _| gone.binary_search(key).is_err());
        }
        Change::Compare => compare(&bucket.as_bucket(), truth),
    }
    assert_eq!(bucket.len(), truth.len() as u64);
}

fn keys_in(truth: &Bucketful, (start, end): &(Bound<Vec<u8>>, Bound<Vec<u8>>)) -> Vec<Vec<u8>> {
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

fn compare(bucket: &Bucket<'_>, truth: &Bucketful) {
    assert_eq!(bucket.len(), truth.len() as u64);
    let mut expected = truth.iter();
    for entry in bucket.iter() {
        let (key, value) = entry.unwrap();
        let (true_key, true_value) = expected.next().expect("no more entries than there should be");
        assert!(key == true_key && true_value.is(value), "{key:?}");
    }
    assert!(expected.next().is_none());
}

fn compare_all(txn: &ReadTxn, model: &Model) {
    assert!(txn.buckets().unwrap().iter().eq(model.keys()));
    for (name, truth) in model {
        compare(&txn.bucket(name).unwrap().unwrap(), truth);
    }
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().expect("a number"))
}

fn seeds(quick: u64) -> std::ops::Range<u64> {
    match number("FOLIO_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("FOLIO_SEEDS").unwrap_or(quick),
    }
}

/// A long history in a file.
fn run(page_size: u32, quick: u64, commits: u64) {
    for seed in seeds(quick) {
        println!("page size {page_size}: replay with FOLIO_SEED={seed}");
        let mut rng = fastrand::Rng::with_seed(seed);
        let dir = tempfile::tempdir().unwrap();
        let options = Setup::random(page_size, &mut rng).options();
        let open = || options.open(dir.path().join("model.folio")).unwrap();
        let mut run = Run::new(page_size, &open);
        while run.commits < commits {
            run.step(Operation::random(&mut rng));
        }
    }
}

#[test]
fn model_4k() {
    run(4096, 4, 100);
}

#[test]
fn model_8k() {
    run(8192, 2, 100);
}

#[test]
fn model_16k() {
    run(16384, 2, 70);
}

#[test]
fn model_32k() {
    run(32768, 1, 70);
}

#[test]
fn model_64k() {
    run(65536, 1, 70);
}

/// Short histories on a disk in memory, at all page sizes. One that fails is shown as short as it still fails.
#[test]
fn short_histories_agree_with_a_model() {
    fn property(setup: Setup, operations: Vec<Operation>) -> bool {
        let disk = MemoryStore::new();
        let options = setup.options();
        let open = || options.open_store(&disk).unwrap();
        let mut run = Run::new(setup.page_size, &open);
        operations.into_iter().for_each(|operation| run.step(operation));
        run.commit(None);
        true
    }
    for seed in seeds(15) {
        println!("replay with FOLIO_SEED={seed}");
        let g = Gen::from_size_and_seed(200, seed);
        QuickCheck::new().rng(g).tests(20).quickcheck(property as fn(Setup, Vec<Operation>) -> bool);
    }
}
