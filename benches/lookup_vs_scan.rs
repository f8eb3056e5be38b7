//! What a lookup costs beside a linear scan that finds the same entry, at several sizes: how much the tree saves, and from how many
//! entries on.
//!
//! `cargo bench --bench lookup_vs_scan`. Keys are looked up at random, and each of them is there. That all ways find the same value is
//! asserted off the clock.

mod common;

use std::hint::black_box;

use common::{BUCKET, Entry};
use criterion::{BenchmarkId, Throughput};
use folio::{Bucket, Database};

const SIZES: [usize; 4] = [100, 1_000, 10_000, 100_000];

/// How many keys a batch has.
const BATCH_LEN: usize = 16;

fn main() {
    let mut criterion = common::criterion();
    for size in SIZES {
        let entries = common::entries(size);
        let db = Database::in_memory().expect("memory");
        common::load(&db, &entries).expect("room for the entries");
        common::assert_holds(&db, &entries);
        let txn = db.begin_read().expect("a snapshot");
        let bucket = txn.bucket(BUCKET).expect("a catalog").expect("the bucket");
        assert_same(bucket, &entries);

        let mut rng = fastrand::Rng::with_seed(2);
        let mut group = criterion.benchmark_group("lookup_vs_scan");
        group.throughput(Throughput::Elements(1));
        group.bench_function(BenchmarkId::new("get", size), |bencher| {
            bencher.iter(|| black_box(get(bucket, &entries[rng.usize(..size)].0)));
        });
        group.bench_function(BenchmarkId::new("scan of the bucket", size), |bencher| {
            bencher.iter(|| black_box(scan(bucket, &entries[rng.usize(..size)].0)));
        });
        group.bench_function(BenchmarkId::new("scan of a Vec", size), |bencher| {
            bencher.iter(|| black_box(scan_vec(&entries, &entries[rng.usize(..size)].0)));
        });
        group.throughput(Throughput::Elements(BATCH_LEN as u64));
        group.bench_function(BenchmarkId::new("get_many of 16", size), |bencher| {
            let mut values = [None; BATCH_LEN];
            bencher.iter(|| {
                let keys: [&[u8]; BATCH_LEN] = std::array::from_fn(|_| &entries[rng.usize(..size)].0[..]);
                bucket.get_many_into(&keys, &mut values).expect("sound pages");
                black_box(&values);
            });
        });
        group.finish();
    }
    criterion.final_summary();
}

fn get<'txn>(bucket: Bucket<'txn>, key: &[u8]) -> Option<&'txn [u8]> {
    bucket.get(key).expect("sound pages")
}

fn scan<'txn>(bucket: Bucket<'txn>, wanted: &[u8]) -> Option<&'txn [u8]> {
    let mut found = bucket.iter().map(|entry| entry.expect("sound pages")).filter(|(key, _)| *key == wanted);
    found.next().map(|(_, value)| value)
}

fn scan_vec<'a>(entries: &'a [Entry], wanted: &[u8]) -> Option<&'a [u8]> {
    entries.iter().find(|(key, _)| key == wanted).map(|(_, value)| &value[..])
}

/// All ways find the same; of large data a sample is looked at.
fn assert_same(bucket: Bucket<'_>, entries: &[Entry]) {
    for (key, value) in entries.iter().step_by(entries.len().div_ceil(100)) {
        let found = [get(bucket, key), scan(bucket, key), scan_vec(entries, key)];
        assert_eq!(found, [Some(&value[..]); 3]);
        assert_eq!(bucket.get_many(&[key, key]).expect("sound pages"), [Some(&value[..]); 2]);
    }
}
