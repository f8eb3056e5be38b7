//! Group commit: threads that each put one entry a transaction, durably, with a commit of its own and with a shared one.
//!
//! The two ways take turns, round by round, on one database that is loaded before. Either the keys are random ones of those that are
//! there, so that each put changes a leaf and a branch of its own, or each is greater than all before, as events come, so that many
//! puts change one leaf. What was acknowledged must be there: each thread reads it back before its next put, on the clock of both
//! ways, and no two rounds put the same values.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use ::folio::Database;
use serde::Serialize;

use crate::data::{Data, DataSet};
use crate::engine::Result;
use crate::report::shown;
use crate::worker::Unit;
use crate::workload::{median, settle};

const BUCKET: &str = "entries";

pub struct GroupCommit<'a> {
    pub dir: &'a Path,
    pub set: &'static DataSet,
    pub seed: u64,
    pub entries: usize,
    pub threads: Vec<usize>,
    pub rounds: usize,
    pub seconds: f64,
}

#[derive(Serialize)]
pub struct Outcome {
    data_set: &'static str,
    entries: usize,
    rounds: usize,
    figures: Vec<Figures>,
}

/// Medians of the rounds.
#[derive(Serialize)]
struct Figures {
    keys: &'static str,
    threads: usize,
    exec_per_second: f64,
    batch_per_second: f64,
    puts_per_sync: f64,
    /// The median of the rounds' ratios.
    ratio: f64,
}

/// Which key comes next.
#[derive(Clone, Copy)]
enum Keys<'a> {
    Random,
    /// Counted.
    Ascending(&'a AtomicU64),
}

/// How a put is committed.
#[derive(Clone, Copy)]
enum Way {
    Exec,
    Batch,
}

/// What the threads of a round do.
struct Task<'a> {
    db: &'a Database,
    data: &'a Data,
    keys: Keys<'a>,
    way: Way,
    /// Of the values, so that what an earlier round has left is not taken for this one's.
    version: u32,
    is_over: AtomicBool,
    puts: AtomicU64,
}

impl<'a> Task<'a> {
    fn new(db: &'a Database, data: &'a Data, keys: Keys<'a>, way: Way, version: u32) -> Task<'a> {
        Task { db, data, keys, way, version, is_over: AtomicBool::new(false), puts: AtomicU64::new(0) }
    }
}

/// What a round came to.
struct Round {
    per_second: f64,
    puts_per_sync: f64,
}

impl GroupCommit<'_> {
    pub fn run(self) -> Result<Outcome> {
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
        let mut figures = Vec::new();
        let (counter, mut version) = (AtomicU64::new(0), 0);
        let kinds = [("random", Keys::Random), ("ascending", Keys::Ascending(&counter))];
        for ((name, keys), &threads) in kinds.iter().flat_map(|kind| self.threads.iter().map(move |n| (kind, n))) {
            let (mut exec, mut batch) = (Vec::new(), Vec::new());
            for _ in 0..self.rounds {
                for (way, rounds) in [(Way::Exec, &mut exec), (Way::Batch, &mut batch)] {
                    version += 1;
                    rounds.push(self.round(threads, Task::new(&db, &data, *keys, way, version))?);
                }
            }
            let per_second =
                |rounds: &[Round]| median(&mut rounds.iter().map(|round| round.per_second).collect::<Vec<_>>());
            let mut ratios: Vec<f64> =
                exec.iter().zip(&batch).map(|(exec, batch)| batch.per_second / exec.per_second).collect();
            figures.push(Figures {
                keys: name,
                threads,
                exec_per_second: per_second(&exec),
                batch_per_second: per_second(&batch),
                puts_per_sync: median(&mut batch.iter().map(|round| round.puts_per_sync).collect::<Vec<_>>()),
                ratio: median(&mut ratios),
            });
        }
        Ok(Outcome { data_set: self.set.name, entries: self.entries, rounds: self.rounds, figures })
    }

    fn round(&self, threads: usize, task: Task<'_>) -> Result<Round> {
        let db = task.db;
        let syncs = db.stats()?.syncs;
        let start = Instant::now();
        thread::scope(|scope| {
            let task = &task;
            let workers: Vec<_> = (0..threads).map(|thread| scope.spawn(move || self.work(task, thread))).collect();
            thread::sleep(Duration::from_secs_f64(self.seconds));
            task.is_over.store(true, Ordering::Relaxed);
            workers.into_iter().try_for_each(|worker| worker.join().expect("a worker does not panic"))
        })?;
        let seconds = start.elapsed().as_secs_f64();
        let (puts, syncs) = (task.puts.into_inner() as f64, (db.stats()?.syncs - syncs) as f64);
        Ok(Round { per_second: puts / seconds, puts_per_sync: puts / syncs })
    }

    fn work(&self, task: &Task<'_>, thread: usize) -> folio::Result<()> {
        let Task { db, data, keys, way, version, is_over, puts } = task;
        let mut random = fastrand::Rng::with_seed(self.seed + thread as u64);
        let mut value = vec![0; self.set.value_len];
        while !is_over.load(Ordering::Relaxed) {
            let key = match keys {
                Keys::Random => data.key_at(random.usize(..self.entries)).to_vec(),
                Keys::Ascending(counter) => {
                    // Behind all that were loaded.
                    let mut key = vec![u8::MAX; self.set.key_len];
                    key.extend(counter.fetch_add(1, Ordering::Relaxed).to_be_bytes());
                    key
                }
            };
            self.set.value_into(&key[..self.set.key_len], *version, &mut value);
            match way {
                Way::Exec => db.exec(|txn| txn.bucket_mut(BUCKET)?.put(&key, &value))?,
                Way::Batch => {
                    let (key, value) = (key.clone(), value.clone());
                    db.batch(move |txn| txn.bucket_mut(BUCKET)?.put(key, value))?;
                }
            }
            if db.begin_read()?.bucket(BUCKET)?.expect("loaded").get(&key)? != Some(&value[..]) {
                return Err(folio::Error::other("what was acknowledged is not there"));
            }
            puts.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }
}

impl Outcome {
    pub fn markdown(&self) -> String {
        let mut out = format!(
            "folio, {} entries of {}; each thread puts one entry a durable transaction; medians of {} rounds\n\n",
            self.entries, self.data_set, self.rounds
        );
        out += "| keys | threads | exec | batch | batch / exec | puts a sync |\n|---|--:|--:|--:|--:|--:|\n";
        for figures in &self.figures {
            let rate = |per_second| shown(per_second, Unit::Entries);
            out += &format!(
                "| {} | {} | {} | {} | {:.2} | {:.1} |\n",
                figures.keys,
                figures.threads,
                rate(figures.exec_per_second),
                rate(figures.batch_per_second),
                figures.ratio,
                figures.puts_per_sync
            );
        }
        out
    }
}
