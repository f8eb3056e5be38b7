//! What each operation costs, for keys of several shapes: to be run before and after a change.
//!
//! `cargo bench --bench operations`; a name behind it picks some, as in `-- scan` or `-- "8 + 8"`. The data fit in memory, and but for the
//! commits nothing waits for a disk. Answers are checked off the clock. `instructions` counts what most of these execute, which does not
//! depend on what else the machine does.

mod common;
#[path = "common/shapes.rs"]
mod shapes;

use std::hint::black_box;

use common::{BUCKET, Entry};
use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, Throughput};
use folio::{Bucket, Database, Durability, Options};
use shapes::Shape;

const COUNT: usize = 100_000;

/// How many keys a batch has.
const BATCH_LEN: usize = 32;

fn main() {
    let mut criterion = common::criterion();
    for shape in [shapes::records(COUNT), shapes::integers(COUNT), shapes::paths(COUNT)] {
        let db = Database::in_memory().expect("memory");
        common::load(&db, &shape.entries).expect("room for the entries");
        common::assert_holds(&db, &shape.entries);
        let mut group = criterion.benchmark_group(format!("operations, {}", shape.name));
        gets(&mut group, &db, &shape);
        walks(&mut group, &db, &shape);
        changes(&mut group, &db, &shape);
        group.finish();
    }
    commits(&mut criterion);
    criterion.final_summary();
}

fn gets(group: &mut BenchmarkGroup<'_, WallTime>, db: &Database, shape: &Shape) {
    let txn = db.begin_read().expect("a snapshot");
    let bucket = txn.bucket(BUCKET).expect("a catalog").expect("the bucket");
    let mut hits = shape.entries.iter().cycle();
    let mut misses = shape.missing.iter().cycle();
    let mut get = |bucket: Bucket<'_>| {
        let (key, value) = hits.next().expect("a cycle");
        assert_eq!(bucket.get(key).expect("sound pages").map(<[u8]>::len), Some(value.len()));
    };

    group.throughput(Throughput::Elements(1));
    group.bench_function("get, hit", |bencher| bencher.iter(|| get(bucket)));
    group.bench_function("get, miss", |bencher| {
        bencher.iter(|| assert!(bucket.get(misses.next().expect("a cycle")).expect("sound pages").is_none()));
    });
    group.bench_function("begin_read", |bencher| bencher.iter(|| db.begin_read().expect("a snapshot")));
    group.bench_function("begin_read, bucket, get", |bencher| {
        bencher.iter(|| {
            let txn = db.begin_read().expect("a snapshot");
            get(txn.bucket(BUCKET).expect("a catalog").expect("the bucket"));
        });
    });

    let mut batches = shape.entries.chunks_exact(BATCH_LEN).cycle();
    group.throughput(Throughput::Elements(BATCH_LEN as u64));
    group.bench_function("get_many of 32", |bencher| {
        let mut values = [None; BATCH_LEN];
        bencher.iter(|| {
            let batch = batches.next().expect("a cycle");
            let keys: [&[u8]; BATCH_LEN] = std::array::from_fn(|i| &batch[i].0[..]);
            bucket.get_many_into(&keys, &mut values).expect("sound pages");
            assert!(black_box(&values).iter().all(Option::is_some));
        });
    });
}

fn walks(group: &mut BenchmarkGroup<'_, WallTime>, db: &Database, shape: &Shape) {
    let txn = db.begin_read().expect("a snapshot");
    let bucket = txn.bucket(BUCKET).expect("a catalog").expect("the bucket");
    let mut starts = shape.missing.iter().cycle();

    for len in [10, 100] {
        group.throughput(Throughput::Elements(len as u64));
        group.bench_function(format!("range of {len}"), |bencher| {
            bencher.iter(|| sum(bucket.range(&starts.next().expect("a cycle")[..]..).take(len)));
        });
    }
    group.throughput(Throughput::Elements(COUNT as u64));
    let all = sum(bucket.iter());
    group.bench_function("scan", |bencher| bencher.iter(|| assert_eq!(sum(bucket.iter()), all)));
    group.bench_function("scan in reverse", |bencher| bencher.iter(|| assert_eq!(sum(bucket.iter().rev()), all)));
}

/// A byte of each key and each value.
fn sum<'txn>(entries: impl Iterator<Item = folio::Result<(&'txn [u8], &'txn [u8])>>) -> u64 {
    entries.map(|entry| entry.expect("sound pages")).map(|(key, value)| u64::from(key[0]) + u64::from(value[0])).sum()
}

/// Changes within a transaction, which is not committed.
fn changes(group: &mut BenchmarkGroup<'_, WallTime>, db: &Database, shape: &Shape) {
    group.throughput(Throughput::Elements(1));
    let mut txn = db.begin_write().expect("nobody writes");
    let mut bucket = txn.bucket_mut(BUCKET).expect("the bucket");
    let mut entries = shape.entries.iter().cycle();
    group.bench_function("put, over another value", |bencher| {
        bencher.iter(|| {
            let (key, value) = entries.next().expect("a cycle");
            bucket.put(key, value).expect("memory");
        });
    });
    group.bench_function("delete and put", |bencher| {
        bencher.iter(|| {
            let (key, value) = entries.next().expect("a cycle");
            assert!(bucket.delete(key).expect("sound pages"));
            bucket.put(key, value).expect("memory");
        });
    });
    assert_eq!(bucket.len(), COUNT as u64);
}

/// One put to a commit, in memory and in a file.
fn commits(criterion: &mut Criterion) {
    let Shape { mut entries, .. } = shapes::records(COUNT);
    let dir = tempfile::tempdir().expect("a directory");
    let on_disk = |name, durability| Options::new().durability(durability).open(dir.path().join(name)).expect("a file");
    let mut group = criterion.benchmark_group("operations, a commit of one put");
    group.throughput(Throughput::Elements(1));
    for (name, db) in [
        ("in memory", Database::in_memory().expect("memory")),
        ("relaxed", on_disk("relaxed.folio", Durability::Relaxed)),
        ("durable", on_disk("durable.folio", Durability::Durable)),
    ] {
        common::load(&db, &entries).expect("room for the entries");
        let mut rng = fastrand::Rng::with_seed(1);
        group.bench_function(name, |bencher| bencher.iter(|| commit(&db, &mut entries, &mut rng)));
        common::assert_holds(&db, &entries);
        // What is written here is what the next database begins with.
    }
    group.finish();
}

fn commit(db: &Database, entries: &mut [Entry], rng: &mut fastrand::Rng) {
    let (key, value) = &mut entries[rng.usize(..COUNT)];
    value.fill(rng.u8(..));
    db.exec(|txn| txn.bucket_mut(BUCKET)?.put(&*key, &*value)).expect("a commit");
}
