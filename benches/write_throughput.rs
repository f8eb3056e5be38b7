//! How fast entries are written: many in one transaction, in random and in sorted order, at several sizes; and one to a commit, among
//! as many entries, durable and relaxed.
//!
//! `cargo bench --bench write_throughput`. Every load goes into a new file, and is read back off the clock.

mod common;

use std::time::{Duration, Instant};

use common::{BUCKET, Entry, VALUE_LEN};
use criterion::{BenchmarkId, Criterion, SamplingMode, Throughput};
use folio::{Database, Durability, Options};

const SIZES: [usize; 3] = [1_000, 10_000, 100_000];

fn main() {
    let mut criterion = common::criterion();
    loads(&mut criterion);
    commits(&mut criterion);
    criterion.final_summary();
}

/// All entries in one durable transaction.
fn loads(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("write_throughput");
    group.sampling_mode(SamplingMode::Flat);
    for size in SIZES {
        let random = common::entries(size);
        let mut sorted = random.clone();
        sorted.sort();
        group.throughput(Throughput::Elements(size as u64));
        for (order, entries) in [("random", &random), ("sorted", &sorted)] {
            group.bench_function(BenchmarkId::new(order, size), |bencher| {
                bencher.iter_custom(|times| (0..times).map(|_| load(entries)).sum());
            });
        }
    }
    group.finish();
}

fn load(entries: &[Entry]) -> Duration {
    let dir = tempfile::tempdir().expect("a directory");
    let db = Database::open(dir.path().join("load.folio")).expect("a new database");
    let start = Instant::now();
    common::load(&db, entries).expect("room for the entries");
    let took = start.elapsed();
    common::assert_holds(&db, entries);
    took
}

/// One entry to a commit. The value of a random key is replaced, so that the number of entries stays.
fn commits(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("commit_throughput");
    group.throughput(Throughput::Elements(1));
    for size in SIZES {
        let entries = common::entries(size);
        for (name, durability) in [("durable", Durability::Durable), ("relaxed", Durability::Relaxed)] {
            let dir = tempfile::tempdir().expect("a directory");
            let options = Options::new().durability(durability);
            let db = options.open(dir.path().join("commits.folio")).expect("a new database");
            common::load(&db, &entries).expect("room for the entries");
            let mut written = entries.clone();
            let mut rng = fastrand::Rng::with_seed(1);
            group.bench_function(BenchmarkId::new(name, size), |bencher| {
                bencher.iter(|| {
                    let (key, value) = &mut written[rng.usize(..size)];
                    value.clear();
                    value.resize(VALUE_LEN, rng.u8(..));
                    db.exec(|txn| txn.bucket_mut(BUCKET)?.put(&*key, &*value)).expect("a commit");
                });
            });
            common::assert_holds(&db, &written);
        }
    }
    group.finish();
}
