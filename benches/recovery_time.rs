//! How long it takes until a database is of use again after its process was killed in the midst of a write transaction, at several sizes;
//! and after a close, to compare. There is no recovery run, so the size should not matter; the first write reads the list of free space.
//!
//! `cargo bench --bench recovery_time`. A kill takes the process and leaves the file as the system has it. So the file is copied while the
//! database is open: some commits are relaxed and not synced, and a transaction has spilled what it will never commit. What is found
//! after the open is compared with what was committed, off the clock.

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use common::{BUCKET, Entry};
use criterion::{BenchmarkId, Criterion, SamplingMode};
use folio::{Database, Durability, Options, Result};

const SIZES: [usize; 3] = [1_000, 10_000, 100_000];

fn main() {
    let mut criterion = common::criterion();
    for size in SIZES {
        let dir = tempfile::tempdir().expect("a directory");
        let entries = common::entries(size);
        let (killed, closed) = (dir.path().join("killed.folio"), dir.path().join("closed.folio"));
        make(&dir.path().join("live.folio"), &killed, &closed, &entries).expect("room for the entries");
        for (name, path) in [("killed", &killed), ("closed", &closed)] {
            bench(&mut criterion, name, path, &entries);
        }
    }
    criterion.final_summary();
}

/// Makes a database at `live`; and of its file two copies, as a kill in the midst of a transaction leaves it, and as a close does.
fn make(live: &Path, killed: &Path, closed: &Path, entries: &[Entry]) -> Result<()> {
    let copy = |to| fs::copy(live, to).map_err(folio::Error::other);
    let db = Options::new().dirty_limit(1 << 20).open(live)?;
    let (durable, relaxed) = entries.split_at(entries.len() / 2);
    common::load(&db, durable)?;
    for chunk in relaxed.chunks(relaxed.len().div_ceil(10)) {
        let mut txn = db.begin_write()?;
        let mut bucket = txn.bucket_mut(BUCKET)?;
        chunk.iter().try_for_each(|(key, value)| bucket.put(key, value))?;
        txn.commit_with(Durability::Relaxed)?;
    }
    // Every entry changes, so that of a large database more than the dirty limit is in the file, and nothing refers to it.
    let mut txn = db.begin_write()?;
    let mut bucket = txn.bucket_mut(BUCKET)?;
    entries.iter().try_for_each(|(key, _)| bucket.put(key, "never committed"))?;
    copy(killed)?;
    drop(txn);
    drop(db);
    copy(closed)?;
    Ok(())
}

fn bench(criterion: &mut Criterion, name: &str, path: &Path, entries: &[Entry]) {
    let size = entries.len();
    let bytes = fs::read(path).expect("the file");
    {
        let found = Options::new().read_only(true).open(path).expect("what the kill left");
        common::assert_holds(&found, entries);
    }
    let (key, value) = &entries[size / 2];

    let mut group = criterion.benchmark_group("recovery_time");
    // An open and a read write nothing, so they can be repeated on the same file.
    group.bench_function(BenchmarkId::new(format!("{name}, open"), size), |bencher| {
        bencher.iter_custom(|times| (0..times).map(|_| open(path)).sum());
    });
    group.bench_function(BenchmarkId::new(format!("{name}, open and read"), size), |bencher| {
        bencher.iter_custom(|times| (0..times).map(|_| read(path, key, value)).sum());
    });
    assert!(fs::read(path).expect("the file") == bytes, "an open and a read have changed the file");
    // Each write has a copy of its own, which takes longer than the write, so there are few.
    group.sampling_mode(SamplingMode::Flat).measurement_time(Duration::from_millis(100));
    group.warm_up_time(Duration::from_millis(50));
    group.bench_function(BenchmarkId::new(format!("{name}, open and write"), size), |bencher| {
        bencher.iter_custom(|times| (0..times).map(|_| write(path, entries)).sum());
    });
    group.finish();
}

/// Closed before the next one begins: a second open of an open file would find it open.
fn open(path: &Path) -> Duration {
    let start = Instant::now();
    let db = Database::open(path).expect("a database");
    let took = start.elapsed();
    drop(db);
    took
}

fn read(path: &Path, key: &[u8], value: &[u8]) -> Duration {
    let start = Instant::now();
    let db = Database::open(path).expect("a database");
    let txn = db.begin_read().expect("a snapshot");
    let bucket = txn.bucket(BUCKET).expect("a catalog").expect("the bucket");
    let found = bucket.get(key).expect("a sound page");
    let took = start.elapsed();
    assert_eq!(found, Some(value));
    took
}

fn write(path: &Path, entries: &[Entry]) -> Duration {
    let copy = copy_beside(path);
    let start = Instant::now();
    let db = Database::open(&copy).expect("a database");
    db.exec(|txn| txn.bucket_mut(BUCKET)?.put("first", "write")).expect("a commit");
    let took = start.elapsed();
    let txn = db.begin_read().expect("a snapshot");
    let bucket = txn.bucket(BUCKET).expect("a catalog").expect("the bucket");
    assert_eq!(bucket.len(), entries.len() as u64 + 1);
    took
}

fn copy_beside(path: &Path) -> PathBuf {
    let copy = path.with_extension("copy");
    fs::copy(path, &copy).expect("room for a copy");
    // The copy is on the disk before the clock runs, so that no sync has to wait for it.
    fs::File::open(&copy).and_then(|file| file.sync_all()).expect("a sync");
    copy
}
