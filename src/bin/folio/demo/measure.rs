//! The demo's stopwatch: whole rounds over all records until enough time has passed to believe the mean.

use std::hint::black_box;
use std::time::{Duration, Instant};

use folio::{Database, ReadTxn};

use super::source::Source;
use crate::failure::Failure;
use crate::open;

/// How long a rate is measured, at least.
const TIME_MIN: Duration = Duration::from_millis(300);

pub struct Rate {
    count: u64,
    bytes: u64,
    elapsed: Duration,
}

impl Rate {
    pub fn per_second(&self) -> f64 {
        self.count as f64 / self.elapsed.as_secs_f64()
    }

    /// Bytes of keys and values.
    pub fn bytes_per_second(&self) -> f64 {
        self.bytes as f64 / self.elapsed.as_secs_f64()
    }
}

/// Gets of every key of both buckets, in random order.
pub fn random_gets(txn: &ReadTxn, source: &Source) -> Result<Rate, Failure> {
    let mut keys = Vec::new();
    for (name, records) in source.buckets() {
        let bucket = open::bucket(txn, name)?;
        keys.extend(records.iter().map(|record| (bucket, record.key.as_str())));
    }
    shuffle(&mut keys);
    // Copied in the order of use: the tree is what is measured, not the scattered keys of the source.
    let keys: Vec<_> = keys.into_iter().map(|(bucket, key)| (bucket, key.to_owned())).collect();
    rounds(|rate| {
        for (bucket, key) in &keys {
            let value = bucket.get(key)?.unwrap_or_default();
            rate.count += 1;
            rate.bytes += black_box(value).len() as u64;
        }
        Ok(())
    })
}

/// Scans over both buckets from end to end that read every byte of every entry.
pub fn full_scans(txn: &ReadTxn, source: &Source) -> Result<Rate, Failure> {
    let mut buckets = Vec::new();
    for (name, _) in source.buckets() {
        buckets.push(open::bucket(txn, name)?);
    }
    rounds(|rate| {
        for bucket in &buckets {
            for entry in bucket.iter() {
                let (key, value) = entry?;
                rate.count += 1;
                rate.bytes += (key.len() + value.len()) as u64;
                black_box(sum(key).wrapping_add(sum(value)));
            }
        }
        Ok(())
    })
}

fn sum(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0, |sum, &byte| sum.wrapping_add(byte))
}

fn rounds(mut round: impl FnMut(&mut Rate) -> folio::Result<()>) -> Result<Rate, Failure> {
    let mut rate = Rate { count: 0, bytes: 0, elapsed: Duration::ZERO };
    let start = Instant::now();
    while rate.elapsed < TIME_MIN {
        round(&mut rate)?;
        rate.elapsed = start.elapsed();
    }
    Ok(rate)
}

/// The time of each of `count` durable commits of one put.
pub fn durable_commits(database: &Database, bucket: &str, count: u64) -> folio::Result<Vec<Duration>> {
    let one = |number: u64| {
        let (key, value) = (format!("{number:06}"), format!("commit {number}"));
        let start = Instant::now();
        database.exec(|txn| txn.bucket_mut(bucket)?.put(key, value))?;
        Ok(start.elapsed())
    };
    (0..count).map(one).collect()
}

/// Fisher and Yates's shuffle with Marsaglia's xorshift: the same order on every run, so that runs compare.
fn shuffle<T>(items: &mut [T]) {
    let mut state: u64 = 0x9e37_79b9_7f4a_7c15;
    for last in (1..items.len()).rev() {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        items.swap(last, (state % (last as u64 + 1)) as usize);
    }
}
