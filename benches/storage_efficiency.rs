//! How much of the file is data: raw bytes of keys and values against bytes of the file, for several shapes of data and ways to write
//! them.
//!
//! `cargo bench --bench storage_efficiency` prints a line for each, and lets criterion time how fast the raw bytes are written, since
//! packing costs time. The file is measured as it is after the commit, its room to grow included; what is in use is told beside it. What
//! was written is read back off the clock.

mod common;

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use common::{BUCKET, Entry};
use criterion::{Criterion, SamplingMode, Throughput};
use folio::{Database, Result};

/// How many commits take what is not written in one.
const COMMITS: usize = 20;

/// A shape of data, and how it is written.
struct Case {
    name: &'static str,
    entries: Vec<Entry>,
    write: fn(&Database, &[Entry]) -> Result<()>,
    /// The least part of the pages in use that is to be raw data; less is a regression.
    least: f64,
}

fn cases() -> Vec<Case> {
    let random = common::entries(50_000);
    let mut sorted = random.clone();
    sorted.sort();
    // Each of their commits waits for the disk.
    let fewer = common::entries(20_000);
    let counters = (0..200_000u64).map(|n| (n.to_be_bytes().to_vec(), (n * 7).to_be_bytes().to_vec())).collect();
    let blobs = (0..1_000u32).map(|n| (n.to_be_bytes().to_vec(), vec![n as u8; 12_000])).collect();
    vec![
        Case { name: "24 + 150 random", entries: random, write: common::load, least: 0.55 },
        Case { name: "24 + 150 sorted", entries: sorted, write: common::load, least: 0.85 },
        Case { name: "24 + 150 in 20 commits", entries: fewer.clone(), write: in_commits, least: 0.55 },
        Case { name: "24 + 150 after churn", entries: fewer, write: with_churn, least: 0.45 },
        Case { name: "8 + 8 sorted", entries: counters, write: common::load, least: 0.55 },
        Case { name: "4 + 12,000 sorted", entries: blobs, write: common::load, least: 0.85 },
    ]
}

fn main() {
    let mut criterion = common::criterion();
    for case in cases() {
        bench(&mut criterion, &case);
    }
    criterion.final_summary();
}

fn bench(criterion: &mut Criterion, case: &Case) {
    let raw = case.entries.iter().map(|(key, value)| key.len() + value.len()).sum::<usize>() as u64;
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("size.folio");
    write(&path, case);
    let (file, used) = measure(&path);
    let part = |of: u64| raw as f64 / of as f64;
    println!(
        "storage_efficiency/{}: {raw} bytes raw, {file} in the file ({:.2}), {used} in use ({:.2})",
        case.name,
        part(file),
        part(used)
    );
    assert!(part(used) >= case.least, "{}: {:.3} of the pages in use is data", case.name, part(used));

    let mut group = criterion.benchmark_group("storage_efficiency");
    group.sampling_mode(SamplingMode::Flat).throughput(Throughput::Bytes(raw));
    group.bench_function(case.name, |bencher| {
        bencher.iter_custom(|times| {
            let times = (0..times).map(|_| {
                fs::remove_file(&path).expect("the file of the run before");
                write(&path, case)
            });
            times.sum()
        });
    });
    group.finish();
}

/// Writes a new database, and answers how long that took.
fn write(path: &Path, case: &Case) -> Duration {
    let db = Database::open(path).expect("a new database");
    let start = Instant::now();
    (case.write)(&db, &case.entries).expect("room for the entries");
    let took = start.elapsed();
    common::assert_holds(&db, &case.entries);
    took
}

/// The bytes of the file, and of the pages in use.
fn measure(path: &Path) -> (u64, u64) {
    let db = Database::open(path).expect("the database");
    let stats = db.stats().expect("figures");
    let len = path.metadata().expect("the file").len();
    assert_eq!(stats.file_len, len);
    (len, (stats.meta_pages + stats.used_pages) * u64::from(stats.page_size))
}

/// As a program does that saves now and then.
fn in_commits(db: &Database, entries: &[Entry]) -> Result<()> {
    entries.chunks(entries.len().div_ceil(COMMITS)).try_for_each(|chunk| common::load(db, chunk))
}

/// Twice as many entries come, every other one goes, and those that stay are written once more.
fn with_churn(db: &Database, entries: &[Entry]) -> Result<()> {
    let passing = |(key, value): &Entry| ([key, &b"+"[..]].concat(), value.clone());
    let all: Vec<Entry> = entries.iter().flat_map(|entry| [entry.clone(), passing(entry)]).collect();
    in_commits(db, &all)?;
    for chunk in entries.chunks(entries.len().div_ceil(COMMITS)) {
        db.exec(|txn| {
            let mut bucket = txn.bucket_mut(BUCKET)?;
            chunk.iter().map(passing).try_for_each(|(key, _)| bucket.delete(key).map(drop))
        })?;
    }
    in_commits(db, entries)
}
