//! The operations of a bench, each timed on its own.

use std::hint::black_box;
use std::time::{Duration, Instant};

use fastrand::Rng;
use folio::{Bucket, Database, ReadTxn};

use super::histogram::Latencies;
use super::temporary::{BUCKET, random_key, random_value};
use crate::failure::Failure;
use crate::open;

/// A scan reads this many entries, or those that are left.
pub const SCAN_LEN: usize = 100;

/// Not more keys than this are looked up, so that they fit in memory whatever the size of the database.
const PROBES_MAX: u64 = 100_000;

const SEED: u64 = 2;

/// A key that is there.
pub struct Probe<'txn> {
    bucket: Bucket<'txn>,
    key: Vec<u8>,
}

/// What scans took and read.
pub struct Scanned {
    pub latencies: Latencies,
    pub entries: u64,
    pub bytes: u64,
}

/// Random keys of these buckets, each bucket by its share of the entries.
pub fn probes<'txn>(txn: &'txn ReadTxn, names: &[String]) -> Result<Vec<Probe<'txn>>, Failure> {
    let buckets = names.iter().map(|name| open::bucket(txn, name)).collect::<Result<Vec<_>, _>>()?;
    let total = buckets.iter().fold(0, |sum: u64, bucket| sum.saturating_add(bucket.len()));
    let mut random = Rng::with_seed(SEED);
    let mut probes = Vec::new();
    for _ in 0..total.min(PROBES_MAX) {
        let mut n = random.u64(..total);
        for &bucket in &buckets {
            if n < bucket.len() {
                let (key, _) = bucket.nth(n)?.ok_or_else(|| unsound("a bucket has fewer entries than it says"))?;
                probes.push(Probe { bucket, key: key.to_vec() });
                break;
            }
            n -= bucket.len();
        }
    }
    Ok(probes)
}

pub fn gets(probes: &[Probe<'_>], time: Duration) -> Result<Latencies, Failure> {
    repeat(probes, time, |probe| {
        let value = probe.bucket.get(&probe.key)?;
        black_box(value).ok_or_else(|| unsound("a key that was there is not found"))?;
        Ok(())
    })
}

pub fn scans(probes: &[Probe<'_>], time: Duration) -> Result<Scanned, Failure> {
    let (mut entries, mut bytes) = (0, 0);
    let latencies = repeat(probes, time, |probe| {
        for entry in probe.bucket.range(&probe.key[..]..).take(SCAN_LEN) {
            let (key, value) = entry?;
            entries += 1;
            bytes += (key.len() + value.len()) as u64;
            black_box(sum(key).wrapping_add(sum(value)));
        }
        Ok(())
    })?;
    Ok(Scanned { latencies, entries, bytes })
}

fn sum(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0, |sum, &byte| sum.wrapping_add(byte))
}

/// Durable commits of one put of a new key.
pub fn commits(database: &Database, value_len: usize, time: Duration) -> folio::Result<Latencies> {
    let mut random = Rng::with_seed(SEED);
    let value = random_value(&mut random, value_len);
    let mut latencies = Latencies::default();
    let start = Instant::now();
    while latencies.is_empty() || start.elapsed() < time {
        let key = random_key(&mut random);
        let begun = Instant::now();
        database.exec(|txn| txn.bucket_mut(BUCKET)?.put(key, &value))?;
        latencies.record(begun.elapsed());
    }
    Ok(latencies)
}

/// Does `one` with one probe after the other, round and round, until the time is over.
fn repeat<'a, 'txn>(
    probes: &'a [Probe<'txn>],
    time: Duration,
    mut one: impl FnMut(&'a Probe<'txn>) -> Result<(), Failure>,
) -> Result<Latencies, Failure> {
    let mut latencies = Latencies::default();
    let start = Instant::now();
    for probe in probes.iter().cycle() {
        let begun = Instant::now();
        one(probe)?;
        let end = Instant::now();
        latencies.record(end - begun);
        if end - start >= time {
            break;
        }
    }
    Ok(latencies)
}

fn unsound(what: &str) -> Failure {
    Failure::Unsound(format!("{what}; run folio check"))
}
