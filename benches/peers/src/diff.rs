//! The diff of two snapshots: few changes in a large bucket, which must not cost more because it is large.
//!
//! Three kinds of change, each measured against the state before it: entries all over the bucket, overwritten in one commit; entries in
//! a row, in one commit; and entries all over the bucket with a commit for each. The first diff finds its pages cold in the caches and
//! unverified, and its answer is compared with the truth, change by change. Those that are timed after it are warm.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Instant;

use ::folio::{Change, Database, Durability, ReadTxn};
use serde::Serialize;

use crate::data::{Data, DataSet, head};
use crate::engine::Result;
use crate::report::shown;
use crate::worker::Unit;
use crate::workload::settle;

const BUCKET: &str = "entries";

pub struct Diff<'a> {
    pub dir: &'a Path,
    pub set: &'static DataSet,
    pub seed: u64,
    pub entries: usize,
    pub changes: usize,
    pub repetitions: usize,
}

#[derive(Serialize)]
pub struct Outcome {
    data_set: &'static str,
    entries: usize,
    changes: usize,
    repetitions: usize,
    figures: Vec<Figures>,
}

/// Times in microseconds.
#[derive(Serialize)]
struct Figures {
    name: &'static str,
    first: f64,
    best: f64,
    median: f64,
}

impl Diff<'_> {
    pub fn run(self) -> Result<Outcome> {
        if self.changes == 0 || self.changes > self.entries || self.repetitions == 0 {
            return Err("give at least one change and one repetition, and no more changes than entries".into());
        }
        let data = Data::new(self.set, self.seed, self.entries);
        let db = Database::open(self.dir.join("entries.folio"))?;
        db.exec(|txn| {
            let mut bucket = txn.bucket_mut(BUCKET)?;
            let mut value = vec![0; self.set.value_len];
            (0..self.entries).try_for_each(|place| {
                self.set.value_into(data.key_at(place), 0, &mut value);
                bucket.append(data.key_at(place), &value)
            })
        })?;
        settle(self.dir)?;

        let mut random = fastrand::Rng::with_seed(self.seed);
        let mut scattered = || random.choose_multiple(0..self.entries, self.changes);
        let row = self.entries / 2..self.entries / 2 + self.changes;
        let plans = [
            ("scattered, one commit", scattered(), self.changes),
            ("in a row, one commit", row.map(|place| place % self.entries).collect(), self.changes),
            ("scattered, a commit each", scattered(), 1),
        ];
        let mut versions = BTreeMap::new();
        let mut figures = Vec::new();
        for (name, places, commit_len) in plans {
            let old = db.begin_read()?;
            let mut truth = BTreeMap::new();
            for places in places.chunks(commit_len) {
                let mut txn = db.begin_write()?;
                let mut bucket = txn.bucket_mut(BUCKET)?;
                for &place in places {
                    let version = versions.entry(place).or_insert(0);
                    let key = data.key_at(place);
                    let (before, after) = (self.set.value(key, *version), self.set.value(key, *version + 1));
                    *version += 1;
                    bucket.put(key, &after)?;
                    truth.insert(key, (before, after));
                }
                txn.commit_with(Durability::Relaxed)?;
            }
            let new = db.begin_read()?;
            figures.push(self.measure(name, &old, &new, &truth)?);
        }
        let Diff { set, entries, changes, repetitions, .. } = self;
        Ok(Outcome { data_set: set.name, entries, changes, repetitions, figures })
    }

    fn measure(&self, name: &'static str, old: &ReadTxn, new: &ReadTxn, truth: &Truth<'_>) -> Result<Figures> {
        let start = Instant::now();
        let sum = taste(old, new)?;
        let first = start.elapsed().as_secs_f64() * 1e6;
        check(old, new, truth)?;
        let mut times = Vec::with_capacity(self.repetitions);
        for _ in 0..self.repetitions {
            let start = Instant::now();
            let again = taste(old, new)?;
            times.push(start.elapsed().as_secs_f64() * 1e6);
            if again != sum {
                return Err(format!("{name}: two diffs of the same snapshots are not the same").into());
            }
        }
        times.sort_by(f64::total_cmp);
        Ok(Figures { name, first, best: times[0], median: times[times.len() / 2] })
    }
}

/// What has changed: the values of each key before and after.
type Truth<'a> = BTreeMap<&'a [u8], (Vec<u8>, Vec<u8>)>;

/// The work that is timed: a diff, of which the key and both values are looked at.
fn taste(old: &ReadTxn, new: &ReadTxn) -> Result<u64> {
    let mut sum = 0u64;
    for bucket in old.diff(new)? {
        for change in bucket? {
            let parts = match change? {
                Change::Added { key, value } | Change::Removed { key, value } => [key, value, value],
                Change::Changed { key, old, new } => [key, old, new],
            };
            sum = parts.into_iter().fold(sum, |sum, part| sum.wrapping_add(head(part)));
        }
    }
    Ok(sum)
}

fn check(old: &ReadTxn, new: &ReadTxn, truth: &Truth<'_>) -> Result<()> {
    let mut expected = truth.iter();
    for bucket in old.diff(new)? {
        for change in bucket? {
            let is_true = match (change?, expected.next()) {
                (Change::Changed { key, old, new }, Some((expected, values))) => {
                    key == *expected && old == values.0 && new == values.1
                }
                _ => false,
            };
            if !is_true {
                return Err("the diff tells of another change than was made".into());
            }
        }
    }
    if expected.next().is_some() { Err("the diff does not tell of every change".into()) } else { Ok(()) }
}

impl Outcome {
    pub fn markdown(&self) -> String {
        let time = |value| shown(value, Unit::Microseconds);
        let head = format!(
            "| diff: {} of {} entries of {} bytes changed | first | best of {} | median |\n|---|--:|--:|--:|\n",
            self.changes,
            self.entries,
            self.data_set.replace('+', " + "),
            self.repetitions,
        );
        let rows = self.figures.iter().map(|figures| {
            let Figures { name, first, best, median } = figures;
            format!("| {name} | {} | {} | {} |\n", time(*first), time(*best), time(*median))
        });
        rows.fold(head, |table, row| table + &row)
    }
}
