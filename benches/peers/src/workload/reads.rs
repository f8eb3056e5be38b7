//! The workloads that read.

use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rand::SeedableRng;
use rand::rngs::SmallRng;
use rand_distr::{Distribution, Zipf};

use super::{BLOCK, Bench, KEPT, Loaded, checks, median, settle};
use crate::data::{Change, MISSING, head, words};
use crate::engine::{BATCH, Direction, Engine, Reader, Result, Writer};
use crate::memory;
use crate::worker::{Figure, Unit};

/// The exponent of the skewed lookups.
const ZIPF: f64 = 0.99;
/// Threads that look up at the same time.
const THREADS: usize = 2;
/// How often a paced writer commits, a pace that most engines can keep.
const PACE: Duration = Duration::from_millis(1);
/// Times that the file is opened, at most, and time after which it no longer is.
const OPENS: usize = 20;
const OPENS_MOST: Duration = Duration::from_secs(1);

/// What a timed loop of lookups has done and seen.
#[derive(Default)]
struct Lookups {
    ops: usize,
    found: u64,
    /// Sum of the heads of what was found.
    heads: u64,
    elapsed: Duration,
}

impl Lookups {
    fn see(&mut self, value: &[u8]) {
        self.found += 1;
        self.heads = self.heads.wrapping_add(head(value));
    }

    fn per_second(&self) -> f64 {
        self.ops as f64 / self.elapsed.as_secs_f64()
    }
}

impl<E: Engine> Bench<E> {
    /// Closes the file and opens it again, with one get each time, and leaves it open.
    pub(super) fn open(&mut self, random: &mut fastrand::Rng) -> Result<Vec<Figure>> {
        let dir = self.dir.join(KEPT);
        let mut key = vec![0; self.data.set.key_len];
        let mut times = Vec::with_capacity(OPENS);
        let begin = Instant::now();
        while times.len() < OPENS && begin.elapsed() < OPENS_MOST {
            self.data.random_key_into(random, &mut key);
            // It is closed before it is opened anew.
            self.loaded = None;
            settle(&dir)?;
            let start = Instant::now();
            let engine = E::open(&dir, &self.settings)?;
            let found = engine.read(|reader| reader.get(&key, head))?;
            times.push(start.elapsed().as_secs_f64() * 1e6);
            if found != Some(self.data.set.value_head(&key, 0)) {
                return Err("the first get after an open returned a wrong value".into());
            }
            self.loaded = Some(Loaded { engine, fresh: true, checked: false });
        }
        memory::trim();
        Ok(vec![Figure::new("open + first get, cleanly closed", Unit::Microseconds, median(&mut times))])
    }

    fn stream_of_hits(&mut self, random: &mut fastrand::Rng) {
        for key in self.stream.chunks_exact_mut(self.data.set.key_len) {
            self.data.random_key_into(random, key);
        }
    }

    fn stream_of_misses(&mut self, random: &mut fastrand::Rng) {
        for key in self.stream.chunks_exact_mut(self.data.set.key_len) {
            self.data.key_into(MISSING + random.u64(..MISSING), key);
        }
    }

    /// Runs a timed loop twice: briefly, to warm what the other engines have pushed out of the processor's caches, and
    /// then for the record.
    fn timed(&self, lookups: impl Fn(&E, Duration) -> Result<Lookups>) -> Result<Lookups> {
        let engine = self.engine()?;
        lookups(engine, self.effort.least / 5)?;
        lookups(engine, self.effort.least)
    }

    /// Goes round the keys of the stream for a time, a block at a time.
    fn lookups(
        &self,
        first_block: usize,
        least: Duration,
        mut block: impl FnMut(&[u8], &mut Lookups) -> Result<()>,
    ) -> Result<Lookups> {
        let block_len = BLOCK * self.data.set.key_len;
        let mut seen = Lookups::default();
        let start = Instant::now();
        for keys in self.stream.chunks_exact(block_len).cycle().skip(first_block) {
            block(keys, &mut seen)?;
            seen.ops += BLOCK;
            seen.elapsed = start.elapsed();
            if seen.elapsed >= least {
                break;
            }
        }
        Ok(seen)
    }

    /// A get of each key of the stream in its turn, all in one transaction.
    fn gets(&self, engine: &E, first_block: usize, least: Duration) -> Result<Lookups> {
        engine.read(|reader| {
            self.lookups(first_block, least, |keys, seen| {
                for key in keys.chunks_exact(self.data.set.key_len) {
                    reader.get(key, |value| seen.see(value))?;
                }
                Ok(())
            })
        })
    }

    /// Compares what the loop saw with what is stored, for a stream of keys that are all there.
    fn check_hits(&self, first_block: usize, seen: &Lookups) -> Result<()> {
        let first = first_block * BLOCK;
        let heads = |ops| self.over_stream(ops, |key| self.data.set.value_head(key, 0));
        if seen.found != seen.ops as u64 || seen.heads != heads(first + seen.ops).wrapping_sub(heads(first)) {
            return Err("the timed gets returned wrong values".into());
        }
        Ok(())
    }

    /// The sum of `each` over the first `ops` keys of the stream, which has no end.
    fn over_stream(&self, ops: usize, mut each: impl FnMut(&[u8]) -> u64) -> u64 {
        let len = self.data.set.key_len;
        let count = self.stream.len() / len;
        let rest = ops % count;
        let (mut lap, mut part) = (0u64, 0u64);
        for (at, key) in self.stream.chunks_exact(len).enumerate() {
            if at == rest {
                part = lap;
            }
            lap = lap.wrapping_add(each(key));
        }
        lap.wrapping_mul((ops / count) as u64).wrapping_add(part)
    }

    /// Times gets of the keys that lie in the stream, which are all there.
    fn time_hits(&self, name: &str) -> Result<Vec<Figure>> {
        let seen = self.timed(|engine, least| self.gets(engine, 0, least))?;
        self.check_hits(0, &seen)?;
        Ok(vec![Figure::new(name, Unit::Ops, seen.per_second())])
    }

    pub(super) fn get_hit(&mut self, random: &mut fastrand::Rng) -> Result<Vec<Figure>> {
        self.stream_of_hits(random);
        self.time_hits("random get, hit")
    }

    pub(super) fn get_zipf(&mut self, random: &mut fastrand::Rng) -> Result<Vec<Figure>> {
        let mut small = SmallRng::seed_from_u64(random.u64(..));
        let zipf = Zipf::new(self.data.entries() as f64, ZIPF)?;
        for key in self.stream.chunks_exact_mut(self.data.set.key_len) {
            let rank = zipf.sample(&mut small) as usize;
            self.data.key_into(self.data.arrival(rank - 1), key);
        }
        self.time_hits(&format!("get, zipf {ZIPF}"))
    }

    pub(super) fn get_miss(&mut self, random: &mut fastrand::Rng) -> Result<Vec<Figure>> {
        self.stream_of_misses(random);
        let seen = self.timed(|engine, least| self.gets(engine, 0, least))?;
        if seen.found != 0 {
            return Err("the timed gets found keys that were never stored".into());
        }
        Ok(vec![Figure::new("random get, miss", Unit::Ops, seen.per_second())])
    }

    pub(super) fn get_many(&mut self, random: &mut fastrand::Rng) -> Result<Vec<Figure>> {
        self.stream_of_hits(random);
        let len = self.data.set.key_len;
        let seen = self.timed(|engine, least| {
            engine.read(|reader| {
                self.lookups(0, least, |keys, seen| {
                    for keys in keys.chunks_exact(BATCH * len) {
                        let keys = std::array::from_fn(|at| &keys[at * len..][..len]);
                        reader.read_batch(&keys, |value| seen.see(value))?;
                    }
                    Ok(())
                })
            })
        })?;
        self.check_hits(0, &seen)?;
        Ok(vec![Figure::new(format!("get_many, {BATCH} at a time"), Unit::Ops, seen.per_second())])
    }

    pub(super) fn get_begin(&mut self, random: &mut fastrand::Rng) -> Result<Vec<Figure>> {
        self.stream_of_hits(random);
        let len = self.data.set.key_len;
        let seen = self.timed(|engine, least| {
            self.lookups(0, least, |keys, seen| {
                for key in keys.chunks_exact(len) {
                    engine.read(|reader| reader.get(key, |value| seen.see(value)))?;
                }
                Ok(())
            })
        })?;
        self.check_hits(0, &seen)?;
        Ok(vec![Figure::new("begin_read + get + drop", Unit::Ops, seen.per_second())])
    }

    /// Gets by one thread, and then by two at the same time, each with a transaction of its own.
    pub(super) fn get_threads(&mut self, random: &mut fastrand::Rng) -> Result<Vec<Figure>> {
        self.stream_of_hits(random);
        let before = self.timed(|engine, least| self.gets(engine, 0, least))?;
        self.check_hits(0, &before)?;

        let engine = self.engine()?;
        let apart = self.stream.len() / self.data.set.key_len / BLOCK / THREADS;
        let barrier = Barrier::new(THREADS);
        let work = |thread: usize| {
            barrier.wait();
            self.gets(engine, thread * apart, self.effort.least)
        };
        let together = thread::scope(|scope| {
            let threads = [0, 1].map(|thread| scope.spawn(move || work(thread)));
            let seen = threads.map(|thread| thread.join().expect("a reader does not panic"));
            seen.into_iter().collect::<Result<Vec<_>>>()
        })?;
        for (thread, seen) in together.iter().enumerate() {
            self.check_hits(thread * apart, seen)?;
        }
        // Once more alone: a machine that others share changes its pace meanwhile.
        let after = self.timed(|engine, least| self.gets(engine, 0, least))?;
        self.check_hits(0, &after)?;
        let alone = (before.per_second() + after.per_second()) / 2.0;
        let rate: f64 = together.iter().map(Lookups::per_second).sum();
        Ok(vec![
            Figure::new("random get, two threads together", Unit::Ops, rate),
            Figure::new("random get, two threads, times one", Unit::Times, rate / alone),
        ])
    }

    /// Gets with a transaction a block, so that they follow the commits of a writer.
    fn gets_anew(&self, engine: &E, least: Duration) -> Result<Lookups> {
        self.lookups(0, least, |keys, seen| {
            engine.read(|reader| {
                for key in keys.chunks_exact(self.data.set.key_len) {
                    reader.get(key, |value| seen.see(value))?;
                }
                Ok(())
            })
        })
    }

    /// Gets alone, and beside a thread that commits one insert after the other, durably: as fast as it can, and then at a pace that is
    /// the same for all engines.
    pub(super) fn get_beside_writer(&mut self, random: &mut fastrand::Rng) -> Result<Vec<Figure>> {
        self.prepare_read(random)?;
        self.stream_of_hits(random);
        let before = self.timed(|engine, least| self.gets_anew(engine, least))?;
        self.check_hits(0, &before)?;

        self.changes.plan(&self.data, Change::Insert, self.effort.beside, random, &mut self.plan);
        let loaded = self.loaded.as_mut().ok_or("no database is loaded")?;
        (loaded.fresh, loaded.checked) = (false, false);
        let engine = self.engine()?;
        let mut inserts = self.plan.iter();
        let (free, free_commits) = self.beside(engine, &mut inserts, None)?;
        let (paced, paced_commits) = self.beside(engine, &mut inserts, Some(PACE))?;
        // Once more alone: a machine that others share changes its pace meanwhile.
        let after = self.timed(|engine, least| self.gets_anew(engine, least))?;
        for seen in [&free, &paced, &after] {
            self.check_hits(0, seen)?;
        }
        // The rest of what counts as made.
        engine.write(|writer| inserts.try_for_each(|(key, value)| writer.put(key, value)))?;
        engine.tidy()?;
        checks::entries(engine, Direction::Forward, &self.changes.digest)?;

        let alone = (before.per_second() + after.per_second()) / 2.0;
        let share = |seen: &Lookups| 100.0 * seen.per_second() / alone;
        let mut figures = vec![
            Figure::new("gets while a writer commits", Unit::Ops, free.per_second()),
            Figure::new("gets while a writer commits, of the rate alone", Unit::Percent, share(&free)),
            Figure::new("durable commits beside the gets", Unit::Commits, free_commits),
        ];
        // An engine that cannot keep the pace has no such figure.
        if paced_commits > 0.9 / PACE.as_secs_f64() {
            let name = format!("gets beside {:.0} commits a second", 1.0 / PACE.as_secs_f64());
            let of_alone = format!("{name}, of the rate alone");
            figures.push(Figure::new(name, Unit::Ops, paced.per_second()));
            figures.push(Figure::new(of_alone, Unit::Percent, share(&paced)));
        }
        Ok(figures)
    }

    /// Gets in this thread and inserts in another, until the time is over: what was seen, and how many commits there were a second. With
    /// a pace, one begins that often, or as soon as the one before is done.
    fn beside<'a>(
        &self,
        engine: &E,
        inserts: &mut (impl Iterator<Item = (&'a [u8], &'a [u8])> + Send),
        pace: Option<Duration>,
    ) -> Result<(Lookups, f64)> {
        let is_over = AtomicBool::new(false);
        thread::scope(|scope| {
            let is_over = &is_over;
            let writer = scope.spawn(move || -> Result<u32> {
                let start = Instant::now();
                let mut commits = 0;
                while !is_over.load(Ordering::Relaxed) {
                    let Some((key, value)) = inserts.next() else { break };
                    engine.write(|writer| writer.put(key, value))?;
                    commits += 1;
                    if let Some(pace) = pace {
                        thread::sleep((pace * commits).saturating_sub(start.elapsed()));
                    }
                }
                Ok(commits)
            });
            let seen = self.gets_anew(engine, self.effort.least);
            is_over.store(true, Ordering::Relaxed);
            let commits = writer.join().expect("the writer does not panic")?;
            let seen = seen?;
            let rate = f64::from(commits) / seen.elapsed.as_secs_f64();
            Ok((seen, rate))
        })
    }

    pub(super) fn range(&mut self, count: usize, random: &mut fastrand::Rng) -> Result<Vec<Figure>> {
        self.stream_of_misses(random);
        let len = self.data.set.key_len;
        let seen = self.timed(|engine, least| {
            engine.read(|reader| {
                self.lookups(0, least, |keys, seen| {
                    for key in keys.chunks_exact(len) {
                        reader.range(key, count, |key, value| {
                            seen.see(value);
                            seen.heads = seen.heads.wrapping_add(head(key));
                        })?;
                    }
                    Ok(())
                })
            })
        })?;
        let found = self.over_stream(seen.ops, |from| self.data.range(from, count).0);
        let heads = self.over_stream(seen.ops, |from| self.data.range(from, count).1);
        if (seen.found, seen.heads) != (found, heads) {
            return Err("the timed ranges returned wrong entries".into());
        }
        let name = format!("range of {count} from a random start");
        Ok(vec![Figure::new(name, Unit::Ranges, seen.per_second())])
    }

    /// Scans again and again for a time; `taste` says what is read of an entry, `expected` what a scan must sum up to.
    fn scan(
        &self,
        direction: Direction,
        taste: impl Fn(&[u8], &[u8]) -> u64,
        expected: u64,
    ) -> Result<(usize, Duration)> {
        let entries = self.data.entries();
        self.engine()?.read(|reader| {
            let mut scans = 0;
            let mut start = Instant::now();
            loop {
                let (mut found, mut sum) = (0, 0u64);
                reader.scan(direction, |key, value| {
                    found += 1;
                    sum = sum.wrapping_add(taste(key, value));
                })?;
                if (found, sum) != (entries, expected) {
                    return Err("the timed scan returned wrong entries".into());
                }
                // The first scan only warms.
                match scans {
                    0 => start = Instant::now(),
                    _ if start.elapsed() >= self.effort.least => {
                        return Ok((scans * entries, start.elapsed()));
                    }
                    _ => {}
                }
                scans += 1;
            }
        })
    }

    /// A scan that reads every byte.
    pub(super) fn scan_words(&self, direction: Direction, name: &str) -> Result<Vec<Figure>> {
        let taste = |key: &[u8], value: &[u8]| words(key).wrapping_add(words(value));
        let (entries, elapsed) = self.scan(direction, taste, self.data.digest.words)?;
        let rate = entries as f64 / elapsed.as_secs_f64();
        let bytes = rate * self.data.set.entry_len() as f64;
        Ok(vec![
            Figure::new(format!("full scan, {name}, every byte read"), Unit::Entries, rate),
            Figure::new(format!("full scan, {name}, every byte read, in bytes"), Unit::Gigabytes, bytes / 1e9),
        ])
    }

    /// A scan that reads eight bytes of each key and value: what the walk itself costs.
    pub(super) fn scan_heads(&self) -> Result<Vec<Figure>> {
        let taste = |key: &[u8], value: &[u8]| head(key).wrapping_add(head(value));
        let (entries, elapsed) = self.scan(Direction::Forward, taste, self.data.digest.heads)?;
        let rate = entries as f64 / elapsed.as_secs_f64();
        Ok(vec![Figure::new("full scan, forward, first bytes read", Unit::Entries, rate)])
    }
}
