//! The workloads that write to a loaded database, and what they leave of its file.

use std::time::{Duration, Instant};

use super::{BATCH_PUTS, Bench, Effort, KEPT, checks, files_len, median, settle};
use crate::data::{Change, Data, Run};
use crate::engine::{Direction, Durability, Engine, Result, Writer};
use crate::floors;
use crate::worker::{Figure, Unit};

/// Transactions in which entries are overwritten or deleted.
const BULKS: usize = 10;
/// Commits of one put that are thought of at a time, so that the caches hold little else when they are made.
const SINGLES: usize = 1_000;

/// Entries that one transaction of overwrites has: all of them together are a fifth of the data, or not much.
fn overwrites_each(data: &Data) -> usize {
    (data.entries() / 5 / BULKS).clamp(1, 50_000)
}

fn deletes_each(data: &Data) -> usize {
    (data.entries() / 2 / BULKS).max(1)
}

/// The most changes that are thought of at a time.
pub fn largest_plan(data: &Data, effort: &Effort) -> usize {
    match data.set.run {
        Run::Large => data.entries(),
        _ => [SINGLES, BATCH_PUTS, effort.beside, overwrites_each(data), deletes_each(data)]
            .into_iter()
            .fold(0, usize::max),
    }
}

/// Transactions to be made.
struct Commits {
    durability: Durability,
    change: Change,
    /// Changes in a transaction.
    each: usize,
    /// Transactions that are thought of at a time.
    ahead: usize,
    count: usize,
    /// Time after which no more are begun, looked at after each plan.
    most: Duration,
}

impl<E: Engine> Bench<E> {
    /// Makes commits, compares all entries before and after, and returns what each has taken.
    fn commits(&mut self, commits: &Commits, random: &mut fastrand::Rng) -> Result<Vec<Duration>> {
        if self.loaded.is_none() || self.changes.has_deleted() {
            self.load_kept(self.sorted)?;
        }
        let loaded = self.loaded.as_mut().ok_or("no database is loaded")?;
        // Before the check, so that what an engine opens anew for it is warm when the clock starts.
        loaded.engine.set_durability(commits.durability)?;
        checks::entries(&loaded.engine, Direction::Forward, &self.changes.digest)?;
        (loaded.fresh, loaded.checked) = (false, false);
        settle(&self.dir)?;

        let mut times = Vec::with_capacity(commits.count);
        let mut total = Duration::ZERO;
        while times.len() < commits.count && total < commits.most {
            let ahead = commits.ahead.min(commits.count - times.len());
            self.changes.plan(&self.data, commits.change, ahead * commits.each, random, &mut self.plan);
            let mut left = self.plan.iter();
            for _ in 0..ahead {
                let start = Instant::now();
                loaded.engine.write(|writer| {
                    left.by_ref().take(commits.each).try_for_each(|(key, value)| match commits.change {
                        Change::Delete => writer.delete(key),
                        _ => writer.put(key, value),
                    })
                })?;
                let elapsed = start.elapsed();
                total += elapsed;
                times.push(elapsed);
            }
        }

        loaded.engine.set_durability(Durability::Durable)?;
        loaded.engine.tidy()?;
        checks::entries(&loaded.engine, Direction::Forward, &self.changes.digest)?;
        let deleted = commits.change == Change::Delete;
        checks::changes(&loaded.engine, &self.data, &self.changes, &self.plan, deleted)?;
        Ok(times)
    }

    pub(super) fn single_commits(&mut self, durability: Durability, random: &mut fastrand::Rng) -> Result<Vec<Figure>> {
        let (name, count) = match durability {
            Durability::Durable => ("durable", self.effort.commits),
            Durability::Relaxed => ("relaxed", self.effort.relaxed_commits),
        };
        let (change, most) = (Change::Put, self.effort.most / 4);
        let commits = Commits { durability, change, each: 1, ahead: SINGLES.min(count / 5), count, most };
        let times = self.commits(&commits, random)?;
        let rate = rate(&times, 1);
        let mut times: Vec<_> = times.iter().map(|time| time.as_secs_f64() * 1e6).collect();
        let mut figures = vec![
            Figure::new(format!("commits of one put, {name}"), Unit::Commits, rate),
            Figure::new(format!("commits of one put, {name}, median"), Unit::Microseconds, median(&mut times)),
        ];
        if durability == Durability::Durable {
            let pace = floors::sync_now(&self.dir)?;
            figures.push(Figure::new("the disk right after: 4 KiB + fdatasync, median", Unit::Microseconds, pace));
        }
        Ok(figures)
    }

    pub(super) fn batches(&mut self, random: &mut fastrand::Rng) -> Result<Vec<Figure>> {
        let (durability, change) = (Durability::Durable, Change::Put);
        let (count, most) = (self.effort.batches, self.effort.most);
        let commits = Commits { durability, change, each: BATCH_PUTS, ahead: 1, count, most };
        let rate = rate(&self.commits(&commits, random)?, BATCH_PUTS);
        Ok(vec![Figure::new(format!("commits of {BATCH_PUTS} random puts, durable"), Unit::Entries, rate)])
    }

    pub(super) fn overwrite(&mut self, random: &mut fastrand::Rng) -> Result<Vec<Figure>> {
        let each = overwrites_each(&self.data);
        let (durability, change, most) = (Durability::Durable, Change::Overwrite, self.effort.most);
        let commits = Commits { durability, change, each, ahead: 1, count: BULKS, most };
        let rate = rate(&self.commits(&commits, random)?, each);
        Ok(vec![Figure::new(format!("overwrite at random, {each} a durable transaction"), Unit::Entries, rate)])
    }

    /// Deletes half of what was loaded. No time limit: the size of the file is asked for when all are gone.
    pub(super) fn delete_half(&mut self, random: &mut fastrand::Rng) -> Result<Vec<Figure>> {
        let each = deletes_each(&self.data);
        let (durability, change, most) = (Durability::Durable, Change::Delete, Duration::MAX);
        let commits = Commits { durability, change, each, ahead: 1, count: BULKS, most };
        let rate = rate(&self.commits(&commits, random)?, each);
        settle(&self.dir)?;
        let len = files_len(&self.dir.join(KEPT))?;
        Ok(vec![
            Figure::new(format!("delete a random half in {BULKS} durable transactions"), Unit::Entries, rate),
            Figure::new("file size after all of this, half deleted", Unit::Bytes, len as f64),
        ])
    }
}

fn rate(times: &[Duration], each: usize) -> f64 {
    (times.len() * each) as f64 / times.iter().sum::<Duration>().as_secs_f64()
}
