//! The workloads: what is timed, on what data, and how the answers are checked.
//!
//! Nothing is timed on faith. Before a workload that reads, the database is scanned in both directions against the
//! truth and a sample of each kind of question is answered; after the clock stops, the sum of what the timed loop
//! itself has read is compared with what it should have read. Before and after a workload that writes, all entries are
//! compared. Reads always see a freshly loaded database: where writes came between, it is loaded anew, off the clock.
//!
//! Every engine gets the same keys in the same order: they follow from the seed, the workload and the round. Keys to
//! look up lie ready in a row in memory, so that fetching them costs next to nothing beside the lookup. A loop that
//! runs for a time looks at the clock once a block.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::data::{Changes, Data, Digest, MISSING, Puts, head, words};
use crate::engine::{BATCH, Direction, Durability, Engine, Reader, Result, Settings, Writer};
use crate::memory::{self, Sampler};
use crate::worker::{Figure, Unit, Worker};

/// The workloads, in the order in which a round runs them.
pub const NAMES: &[&str] = &[
    "load-random",
    "load-sorted",
    "get-hit",
    "get-miss",
    "get-batch",
    "get-begin",
    "scan-forward",
    "scan-reverse",
    "scan-heads",
    "range",
    "commit-durable",
    "commit-relaxed",
    "batch-durable",
];

/// Lookups between two looks at the clock.
const BLOCK: usize = 1024;
/// Keys that lie ready to be looked up, at most.
const STREAM_MAX: usize = 1 << 20;
/// Entries in a range.
const RANGE: usize = 100;
/// Puts in a durable batch.
const BATCH_PUTS: usize = 1000;
/// Answers compared before each workload, of each kind.
const SAMPLE: usize = 1000;

/// How long things are measured.
#[derive(Clone, Copy)]
pub struct Effort {
    /// Time that a loop runs for at least.
    pub least: Duration,
    pub commits: usize,
    pub relaxed_commits: usize,
    pub batches: usize,
    /// Writes of the floor `write-sync`.
    pub syncs: usize,
}

impl Effort {
    pub fn new(quick: bool) -> Effort {
        if quick {
            let least = Duration::from_millis(200);
            Effort { least, commits: 500, relaxed_commits: 5_000, batches: 20, syncs: 200 }
        } else {
            let least = Duration::from_millis(700);
            Effort { least, commits: 2_000, relaxed_commits: 20_000, batches: 100, syncs: 1_000 }
        }
    }
}

/// The middle of `values`, which it sorts; the mean of the two where there are two.
pub fn median(values: &mut [f64]) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() % 2 {
        0 => (values[middle - 1] + values[middle]) / 2.0,
        _ => values[middle],
    }
}

/// One engine with its data, through all rounds.
pub struct Bench<E> {
    dir: PathBuf,
    effort: Effort,
    settings: Settings,
    data: Data,
    changes: Changes,
    puts: Puts,
    /// Keys to look up, end to end.
    stream: Vec<u8>,
    /// Anonymous memory that is the harness's own.
    before: u64,
    loaded: Option<Loaded<E>>,
}

struct Loaded<E> {
    engine: E,
    /// Nothing was written since the load.
    fresh: bool,
    /// Everything in it was compared with the truth, in both directions.
    checked: bool,
}

struct Load<E> {
    engine: E,
    elapsed: Duration,
    anonymous: u64,
}

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

    fn per_second(&self, things: usize) -> f64 {
        things as f64 / self.elapsed.as_secs_f64()
    }
}

pub fn settings(entry_len: usize, entries: usize, dirty_limit: Option<usize>) -> Settings {
    Settings { data_len: (entry_len * entries) as u64, dirty_limit }
}

impl<E: Engine> Bench<E> {
    pub fn new(dir: &Path, effort: Effort, data: Data) -> Result<Bench<E>> {
        let settings = settings(data.set.entry_len(), data.entries(), None);
        let changes = Changes::new(&data);
        let most = effort.commits.max(effort.relaxed_commits).max(effort.batches * BATCH_PUTS);
        let puts = Puts::new(data.set, most);
        // Whole blocks, so that the clock is read as often for a small data set as for a large one.
        let keys = (data.entries().min(STREAM_MAX) / BLOCK).max(1) * BLOCK;
        let stream = vec![1; keys * data.set.key_len];
        Ok(Bench {
            dir: dir.to_owned(),
            effort,
            settings,
            data,
            changes,
            puts,
            stream,
            before: memory::anonymous()?,
            loaded: None,
        })
    }

    /// Loads a new database in a directory of its own and commits it durably.
    ///
    /// The clock runs from the begin of the transaction to the end of its commit; the values are made inside. No other
    /// database is open meanwhile, since what it holds would be counted as this one's memory.
    fn load(&mut self, name: &str, sorted: bool) -> Result<Load<E>> {
        self.loaded = None;
        memory::trim();
        let dir = self.dir.join(name);
        if dir.exists() {
            fs::remove_dir_all(&dir)?;
        }
        fs::create_dir(&dir)?;
        let engine = E::open(&dir, &self.settings)?;
        settle(&dir)?;

        let set = self.data.set;
        let keys = if sorted { &self.data.sorted } else { &self.data.keys };
        let mut value = vec![0; set.value_len];
        let sampler = Sampler::start();
        let start = Instant::now();
        engine.write(|writer| {
            for key in keys.chunks_exact(set.key_len) {
                set.value_into(key, 0, &mut value);
                if sorted { writer.append(key, &value)? } else { writer.put(key, &value)? }
            }
            Ok(())
        })?;
        let elapsed = start.elapsed();
        let anonymous = sampler.stop()?.saturating_sub(self.before);
        Ok(Load { engine, elapsed, anonymous })
    }

    fn load_random(&mut self) -> Result<Vec<Figure>> {
        let load = self.load("random", false)?;
        self.changes.reset(&self.data);
        check_entries(&load.engine, &self.data.digest)?;
        let figures = load_figures(&self.dir.join("random"), &load, self.data.entries(), "random order")?;
        self.loaded = Some(Loaded { engine: load.engine, fresh: true, checked: false });
        Ok(figures)
    }

    fn load_sorted(&mut self) -> Result<Vec<Figure>> {
        let fresh = self.loaded.as_ref().map(|loaded| loaded.fresh);
        let load = self.load("sorted", true)?;
        check_entries(&load.engine, &self.data.digest)?;
        let dir = self.dir.join("sorted");
        let figures = load_figures(&dir, &load, self.data.entries(), "sorted")?;
        drop(load);
        fs::remove_dir_all(dir)?;
        if let Some(fresh) = fresh {
            let engine = E::open(&self.dir.join("random"), &self.settings)?;
            self.loaded = Some(Loaded { engine, fresh, checked: false });
        }
        Ok(figures)
    }

    /// Makes sure that there is a loaded database that nothing has been written to, that it answers rightly, and that
    /// its pages are in memory.
    fn prepare_read(&mut self, random: &mut fastrand::Rng) -> Result<()> {
        if !self.loaded.as_ref().is_some_and(|loaded| loaded.fresh) {
            self.load_random()?;
        }
        let loaded = self.loaded.as_mut().ok_or("no database is loaded")?;
        if !loaded.checked {
            check_entries(&loaded.engine, &self.data.digest)?;
            check_reverse(&loaded.engine, &self.data.digest)?;
            loaded.checked = true;
        }
        check_answers(&loaded.engine, &self.data, random)
    }

    fn engine(&self) -> Result<&E> {
        Ok(&self.loaded.as_ref().ok_or("no database is loaded")?.engine)
    }

    fn stream_of_hits(&mut self, random: &mut fastrand::Rng) {
        let len = self.data.set.key_len;
        for key in self.stream.chunks_exact_mut(len) {
            let index = random.usize(..self.data.entries());
            key.copy_from_slice(&self.data.keys[index * len..][..len]);
        }
    }

    fn stream_of_misses(&mut self, random: &mut fastrand::Rng) {
        for key in self.stream.chunks_exact_mut(self.data.set.key_len) {
            self.data.set.key_into(self.data.seed, MISSING + random.u64(..MISSING), key);
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
    fn lookups(&self, least: Duration, mut block: impl FnMut(&[u8], &mut Lookups) -> Result<()>) -> Result<Lookups> {
        let len = self.data.set.key_len;
        let mut seen = Lookups::default();
        let start = Instant::now();
        for keys in self.stream.chunks_exact(BLOCK * len).cycle() {
            block(keys, &mut seen)?;
            seen.ops += BLOCK;
            seen.elapsed = start.elapsed();
            if seen.elapsed >= least {
                break;
            }
        }
        Ok(seen)
    }

    /// Compares what the loop saw with what is stored, for a stream of keys that are all there.
    fn check_hits(&self, seen: &Lookups) -> Result<()> {
        let heads = self.over_stream(seen.ops, |key| self.data.set.value_head(key, 0));
        if seen.found != seen.ops as u64 || seen.heads != heads {
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

    fn get_hit(&mut self, random: &mut fastrand::Rng) -> Result<Vec<Figure>> {
        self.stream_of_hits(random);
        let len = self.data.set.key_len;
        let seen = self.timed(|engine, least| {
            engine.read(|reader| {
                self.lookups(least, |keys, seen| {
                    for key in keys.chunks_exact(len) {
                        reader.get(key, |value| seen.see(value))?;
                    }
                    Ok(())
                })
            })
        })?;
        self.check_hits(&seen)?;
        Ok(vec![Figure::new("random get, hit", Unit::Ops, seen.per_second(seen.ops))])
    }

    fn get_miss(&mut self, random: &mut fastrand::Rng) -> Result<Vec<Figure>> {
        self.stream_of_misses(random);
        let len = self.data.set.key_len;
        let seen = self.timed(|engine, least| {
            engine.read(|reader| {
                self.lookups(least, |keys, seen| {
                    for key in keys.chunks_exact(len) {
                        reader.get(key, |value| seen.see(value))?;
                    }
                    Ok(())
                })
            })
        })?;
        if seen.found != 0 {
            return Err("the timed gets found keys that were never stored".into());
        }
        Ok(vec![Figure::new("random get, miss", Unit::Ops, seen.per_second(seen.ops))])
    }

    fn get_batch(&mut self, random: &mut fastrand::Rng) -> Result<Vec<Figure>> {
        self.stream_of_hits(random);
        let len = self.data.set.key_len;
        let seen = self.timed(|engine, least| {
            engine.read(|reader| {
                self.lookups(least, |keys, seen| {
                    for keys in keys.chunks_exact(BATCH * len) {
                        let keys = std::array::from_fn(|at| &keys[at * len..][..len]);
                        reader.read_batch(&keys, |value| seen.see(value))?;
                    }
                    Ok(())
                })
            })
        })?;
        self.check_hits(&seen)?;
        let name = format!("random get in batches of {BATCH}");
        Ok(vec![Figure::new(name, Unit::Ops, seen.per_second(seen.ops))])
    }

    fn get_begin(&mut self, random: &mut fastrand::Rng) -> Result<Vec<Figure>> {
        self.stream_of_hits(random);
        let len = self.data.set.key_len;
        let seen = self.timed(|engine, least| {
            self.lookups(least, |keys, seen| {
                for key in keys.chunks_exact(len) {
                    engine.read(|reader| reader.get(key, |value| seen.see(value)))?;
                }
                Ok(())
            })
        })?;
        self.check_hits(&seen)?;
        Ok(vec![Figure::new("begin_read + get + drop", Unit::Ops, seen.per_second(seen.ops))])
    }

    fn range(&mut self, random: &mut fastrand::Rng) -> Result<Vec<Figure>> {
        self.stream_of_misses(random);
        let len = self.data.set.key_len;
        let seen = self.timed(|engine, least| {
            engine.read(|reader| {
                self.lookups(least, |keys, seen| {
                    for key in keys.chunks_exact(len) {
                        reader.range(key, RANGE, |key, value| {
                            seen.see(value);
                            seen.heads = seen.heads.wrapping_add(head(key));
                        })?;
                    }
                    Ok(())
                })
            })
        })?;
        let found = self.over_stream(seen.ops, |from| self.data.range(from, RANGE).0);
        let heads = self.over_stream(seen.ops, |from| self.data.range(from, RANGE).1);
        if (seen.found, seen.heads) != (found, heads) {
            return Err("the timed ranges returned wrong entries".into());
        }
        let name = format!("range of {RANGE} from a random start");
        Ok(vec![Figure::new(name, Unit::Ranges, seen.per_second(seen.ops))])
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
    fn scan_words(&self, direction: Direction, name: &str) -> Result<Vec<Figure>> {
        let taste = |key: &[u8], value: &[u8]| words(key).wrapping_add(words(value));
        let (entries, elapsed) = self.scan(direction, taste, self.data.digest.words)?;
        let rate = entries as f64 / elapsed.as_secs_f64();
        let bytes = rate * self.data.set.entry_len() as f64;
        Ok(vec![
            Figure::new(format!("full scan, {name}, every byte read"), Unit::Entries, rate),
            Figure::new(format!("full scan, {name}, every byte read"), Unit::Gigabytes, bytes / 1e9),
        ])
    }

    /// A scan that reads eight bytes of each key and value: what the walk itself costs.
    fn scan_heads(&self) -> Result<Vec<Figure>> {
        let taste = |key: &[u8], value: &[u8]| head(key).wrapping_add(head(value));
        let (entries, elapsed) = self.scan(Direction::Forward, taste, self.data.digest.heads)?;
        let rate = entries as f64 / elapsed.as_secs_f64();
        Ok(vec![Figure::new("full scan, forward, first bytes read", Unit::Entries, rate)])
    }

    /// Makes `commits` commits of `each` puts and compares all entries before and after.
    fn commits(
        &mut self,
        durability: Durability,
        commits: usize,
        each: usize,
        random: &mut fastrand::Rng,
    ) -> Result<Vec<Duration>> {
        if self.loaded.is_none() {
            self.load_random()?;
        }
        let loaded = self.loaded.as_mut().ok_or("no database is loaded")?;
        check_entries(&loaded.engine, &self.changes.digest)?;
        loaded.fresh = false;
        loaded.checked = false;
        self.changes.plan(&self.data, commits * each, random, &mut self.puts);
        loaded.engine.set_durability(durability)?;
        settle(&self.dir)?;

        let mut times = Vec::with_capacity(commits);
        let mut left = self.puts.iter();
        for _ in 0..commits {
            let start = Instant::now();
            loaded.engine.write(|writer| {
                for (key, value) in left.by_ref().take(each) {
                    writer.put(key, value)?;
                }
                Ok(())
            })?;
            times.push(start.elapsed());
        }

        loaded.engine.set_durability(Durability::Durable)?;
        check_entries(&loaded.engine, &self.changes.digest)?;
        check_puts(&loaded.engine, &self.data, &self.changes, &self.puts)?;
        Ok(times)
    }

    fn single_commits(&mut self, durability: Durability, random: &mut fastrand::Rng) -> Result<Vec<Figure>> {
        let (name, commits) = match durability {
            Durability::Durable => ("durable", self.effort.commits),
            Durability::Relaxed => ("relaxed", self.effort.relaxed_commits),
        };
        let times = self.commits(durability, commits, 1, random)?;
        let total: Duration = times.iter().sum();
        let mut times: Vec<_> = times.iter().map(|time| time.as_secs_f64() * 1e6).collect();
        Ok(vec![
            Figure::new(format!("commits of one put, {name}"), Unit::Commits, commits as f64 / total.as_secs_f64()),
            Figure::new(format!("commits of one put, {name}, median"), Unit::Microseconds, median(&mut times)),
        ])
    }

    fn batches(&mut self, random: &mut fastrand::Rng) -> Result<Vec<Figure>> {
        let batches = self.effort.batches;
        let times = self.commits(Durability::Durable, batches, BATCH_PUTS, random)?;
        let total: Duration = times.iter().sum();
        let rate = (batches * BATCH_PUTS) as f64 / total.as_secs_f64();
        Ok(vec![Figure::new(format!("commits of {BATCH_PUTS} random puts, durable"), Unit::Entries, rate)])
    }
}

impl<E: Engine> Worker for Bench<E> {
    fn run(&mut self, workload: &str, round: u64) -> Result<Vec<Figure>> {
        let place = NAMES.iter().position(|&name| name == workload);
        let place = place.ok_or_else(|| format!("no workload is called {workload}"))?;
        let mut random = fastrand::Rng::with_seed(self.data.seed ^ (round << 8 | place as u64));
        let random = &mut random;
        match workload {
            "load-random" => return self.load_random(),
            "load-sorted" => return self.load_sorted(),
            "commit-durable" => return self.single_commits(Durability::Durable, random),
            "commit-relaxed" => return self.single_commits(Durability::Relaxed, random),
            "batch-durable" => return self.batches(random),
            _ => {}
        }
        self.prepare_read(random)?;
        match workload {
            "get-hit" => self.get_hit(random),
            "get-miss" => self.get_miss(random),
            "get-batch" => self.get_batch(random),
            "get-begin" => self.get_begin(random),
            "scan-forward" => self.scan_words(Direction::Forward, "forward"),
            "scan-reverse" => self.scan_words(Direction::Reverse, "reverse"),
            "scan-heads" => self.scan_heads(),
            "range" => self.range(random),
            _ => Err(format!("the workload {workload} does nothing").into()),
        }
    }
}

fn load_figures<E>(dir: &Path, load: &Load<E>, entries: usize, name: &str) -> Result<Vec<Figure>> {
    let rate = entries as f64 / load.elapsed.as_secs_f64();
    Ok(vec![
        Figure::new(format!("load, {name}, one transaction"), Unit::Entries, rate),
        Figure::new(format!("load, {name}: file size"), Unit::Bytes, files_len(dir)? as f64),
        Figure::new(format!("load, {name}: peak anonymous memory"), Unit::Bytes, load.anonymous as f64),
    ])
}

/// Bytes of all files of a database.
pub fn files_len(dir: &Path) -> Result<u64> {
    let mut len = 0;
    for file in fs::read_dir(dir)? {
        let file = file?;
        len += if file.file_type()?.is_dir() { files_len(&file.path())? } else { file.metadata()?.len() };
    }
    Ok(len)
}

/// Has everything written so far on this disk, by whichever process, reach it, so that it is not paid for on the clock.
pub fn settle(dir: &Path) -> Result<()> {
    Ok(rustix::fs::syncfs(File::open(dir)?)?)
}

/// Every entry, in ascending order and nothing else.
fn check_entries<E: Engine>(engine: &E, truth: &Digest) -> Result<()> {
    check_scan(engine, Direction::Forward, truth)
}

fn check_reverse<E: Engine>(engine: &E, truth: &Digest) -> Result<()> {
    check_scan(engine, Direction::Reverse, truth)
}

fn check_scan<E: Engine>(engine: &E, direction: Direction, truth: &Digest) -> Result<()> {
    let mut digest = Digest::default();
    let mut last: Option<Vec<u8>> = None;
    let mut ordered = true;
    engine.read(|reader| {
        reader.scan(direction, |key, value| {
            digest.add(key, value);
            match &mut last {
                Some(last) => {
                    ordered &= match direction {
                        Direction::Forward => last.as_slice() < key,
                        Direction::Reverse => last.as_slice() > key,
                    };
                    last.clear();
                    last.extend_from_slice(key);
                }
                None => last = Some(key.to_vec()),
            }
        })
    })?;
    if !ordered {
        return Err(format!("{}: a scan ({direction:?}) is out of order", E::TITLE).into());
    }
    if digest != *truth {
        return Err(format!("{}: a scan ({direction:?}) has wrong entries: {digest:?}, not {truth:?}", E::TITLE).into());
    }
    Ok(())
}

/// A sample of each kind of question that the workloads ask, on a freshly loaded database.
fn check_answers<E: Engine>(engine: &E, data: &Data, random: &mut fastrand::Rng) -> Result<()> {
    let (set, len) = (data.set, data.set.key_len);
    let wrong = |what: &str| format!("{}: {what} gave a wrong answer", E::TITLE);
    let mut missing = vec![0; len];
    engine.read(|reader| {
        for _ in 0..SAMPLE {
            let key = data.key_at(random.usize(..data.entries()));
            if reader.get(key, <[u8]>::to_vec)? != Some(set.value(key, 0)) {
                return Err(wrong("a get of a stored key").into());
            }
            set.key_into(data.seed, MISSING + random.u64(..MISSING), &mut missing);
            if reader.get(&missing, |_| ())?.is_some() {
                return Err(wrong("a get of a key that was never stored").into());
            }
        }
        for _ in 0..SAMPLE / BATCH {
            let keys: [_; BATCH] = std::array::from_fn(|_| data.key_at(random.usize(..data.entries())));
            let mut values = Vec::new();
            reader.read_batch(&keys, |value| values.push(value.to_vec()))?;
            if !values.into_iter().eq(keys.iter().map(|key| set.value(key, 0))) {
                return Err(wrong("a batch of gets").into());
            }
        }
        for _ in 0..SAMPLE / 10 {
            set.key_into(data.seed, MISSING + random.u64(..MISSING), &mut missing);
            let mut found = Vec::new();
            reader.range(&missing, RANGE, |key, value| found.push((key.to_vec(), value.to_vec())))?;
            let start = data.rank(&missing);
            let places = start..data.entries().min(start + RANGE);
            let truth = places.map(|place| data.key_at(place)).map(|key| (key.to_vec(), set.value(key, 0)));
            if !found.into_iter().eq(truth) {
                return Err(wrong("a range").into());
            }
        }
        Ok(())
    })
}

/// A sample of the keys that were put.
fn check_puts<E: Engine>(engine: &E, data: &Data, changes: &Changes, puts: &Puts) -> Result<()> {
    engine.read(|reader| {
        for (index, key) in puts.keys().step_by(puts.len().div_ceil(SAMPLE)) {
            if reader.get(key, <[u8]>::to_vec)? != Some(changes.value(data, index, key)) {
                return Err(format!("{}: a get of a key just put gave a wrong answer", E::TITLE).into());
            }
        }
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::collections::BTreeMap;

    use super::*;
    use crate::data::DataSet;
    use crate::engine::{NAMES as ENGINES, Visit, with_engine};

    /// Engines that tell one lie each: the checks must catch it.
    struct Model<const LIE: u8> {
        entries: RefCell<BTreeMap<Vec<u8>, Vec<u8>>>,
    }

    const NONE: u8 = 0;
    const WRONG_VALUE: u8 = 1;
    const FINDS_MISSING: u8 = 2;
    const BATCH_OUT_OF_ORDER: u8 = 3;
    const SCAN_ENDS_EARLY: u8 = 4;
    const REVERSE_RUNS_FORWARD: u8 = 5;
    const RANGE_STARTS_LATE: u8 = 6;
    const LOSES_OVERWRITES: u8 = 7;
    const LOSES_APPENDS: u8 = 8;

    impl<const LIE: u8> Engine for Model<LIE> {
        const TITLE: &'static str = "model";
        type Reader<'txn> = Self;
        type Writer<'txn> = Self;

        fn about(_: &Settings) -> String {
            String::new()
        }

        fn open(_: &Path, _: &Settings) -> Result<Self> {
            Ok(Model { entries: RefCell::default() })
        }

        fn set_durability(&mut self, _: Durability) -> Result<()> {
            Ok(())
        }

        fn read<T>(&self, work: impl FnOnce(&Self) -> Result<T>) -> Result<T> {
            work(self)
        }

        fn write<T>(&self, work: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
            let mut model = Model { entries: self.entries.take().into() };
            let done = work(&mut model)?;
            self.entries.replace(model.entries.take());
            Ok(done)
        }
    }

    impl<const LIE: u8> Reader for Model<LIE> {
        fn get<T>(&self, key: &[u8], taste: impl FnOnce(&[u8]) -> T) -> Result<Option<T>> {
            let entries = self.entries.borrow();
            let value = entries.get(key).map(Vec::as_slice);
            Ok(match LIE {
                FINDS_MISSING => value.or(Some(b"anything")),
                // Right but for one key in some hundred, in its last byte.
                WRONG_VALUE if key[0] == 7 => value.map(|value| &value[..value.len() - 1]),
                _ => value,
            }
            .map(taste))
        }

        fn read_batch(&self, keys: &[&[u8]; BATCH], mut taste: impl FnMut(&[u8])) -> Result<()> {
            let mut keys = *keys;
            if LIE == BATCH_OUT_OF_ORDER {
                keys.reverse();
            }
            keys.iter().try_for_each(|key| self.get(key, &mut taste).map(drop))
        }

        fn scan(&self, direction: Direction, mut each: impl FnMut(&[u8], &[u8])) -> Result<()> {
            let entries = self.entries.borrow();
            let count = entries.len() - usize::from(LIE == SCAN_ENDS_EARLY);
            match direction {
                Direction::Reverse if LIE != REVERSE_RUNS_FORWARD => {
                    entries.iter().rev().take(count).for_each(|(key, value)| each(key, value));
                }
                _ => entries.iter().take(count).for_each(|(key, value)| each(key, value)),
            }
            Ok(())
        }

        fn range(&self, from: &[u8], count: usize, mut each: impl FnMut(&[u8], &[u8])) -> Result<()> {
            let late = usize::from(LIE == RANGE_STARTS_LATE);
            let entries = self.entries.borrow();
            let range = entries.range(from.to_vec()..);
            range.skip(late).take(count).for_each(|(key, value)| each(key, value));
            Ok(())
        }
    }

    impl<const LIE: u8> Writer for Model<LIE> {
        fn put(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
            let entries = self.entries.get_mut();
            if LIE != LOSES_OVERWRITES || !entries.contains_key(key) {
                entries.insert(key.to_vec(), value.to_vec());
            }
            Ok(())
        }

        fn append(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
            if LIE == LOSES_APPENDS { Ok(()) } else { self.put(key, value) }
        }
    }

    /// Runs all workloads for two rounds, each for an instant; the name of the first that fails.
    struct Rounds;

    impl Visit for Rounds {
        type Output = Option<&'static str>;

        fn visit<E: Engine>(self) -> Result<Option<&'static str>> {
            let least = Duration::from_millis(1);
            let effort = Effort { least, commits: 20, relaxed_commits: 20, batches: 2, syncs: 1 };
            let dir = tempfile::tempdir()?;
            let mut bench = Bench::<E>::new(dir.path(), effort, Data::new(DataSet::named("24+150")?, 1, 3000))?;
            for round in 0..2 {
                // The model keeps nothing in its files, so a sorted load would lose it what was loaded.
                for name in NAMES.iter().filter(|&&name| E::TITLE != "model" || name != "load-sorted") {
                    if let Err(error) = bench.run(name, round) {
                        println!("{}, {name}: {error}", E::TITLE);
                        return Ok(Some(name));
                    }
                }
            }
            Ok(bench.run("load-sorted", 2).is_err().then_some("load-sorted"))
        }
    }

    #[test]
    fn every_engine_passes() {
        for engine in ENGINES {
            assert_eq!(with_engine(engine, Rounds).unwrap(), None, "{engine}");
        }
    }

    #[test]
    fn every_lie_is_caught() {
        assert_eq!(Rounds.visit::<Model<WRONG_VALUE>>().unwrap(), Some("get-hit"));
        assert_eq!(Rounds.visit::<Model<FINDS_MISSING>>().unwrap(), Some("get-hit"));
        assert_eq!(Rounds.visit::<Model<BATCH_OUT_OF_ORDER>>().unwrap(), Some("get-hit"));
        assert_eq!(Rounds.visit::<Model<SCAN_ENDS_EARLY>>().unwrap(), Some("load-random"));
        assert_eq!(Rounds.visit::<Model<REVERSE_RUNS_FORWARD>>().unwrap(), Some("get-hit"));
        assert_eq!(Rounds.visit::<Model<RANGE_STARTS_LATE>>().unwrap(), Some("get-hit"));
        assert_eq!(Rounds.visit::<Model<LOSES_OVERWRITES>>().unwrap(), Some("commit-durable"));
        assert_eq!(Rounds.visit::<Model<LOSES_APPENDS>>().unwrap(), Some("load-sorted"));
        assert_eq!(Rounds.visit::<Model<NONE>>().unwrap(), None);
    }

    #[test]
    fn median_is_the_middle() {
        assert_eq!(median(&mut [3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&mut [4.0, 1.0, 2.0, 3.0]), 2.5);
        assert_eq!(median(&mut [5.0]), 5.0);
    }
}
