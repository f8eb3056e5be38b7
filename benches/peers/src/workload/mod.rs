//! The workloads: what is timed, on what data, and how the answers are checked.
//!
//! Nothing is timed on faith. Before a workload that reads, the database is scanned in both directions against the
//! truth and a sample of each kind of question is answered; after the clock stops, the sum of what the timed loop
//! itself has read is compared with what it should have read. Before and after a workload that writes, all entries are
//! compared (`checks.rs`). Reads (`reads.rs`) always see a freshly loaded database: where writes (`writes.rs`) came
//! between, it is loaded anew, off the clock.
//!
//! Every engine gets the same keys in the same order: they follow from the seed, the workload and the round. Keys to
//! look up lie ready in a row in memory, so that fetching them costs next to nothing beside the lookup. A loop that
//! runs for a time looks at the clock once a block.

mod checks;
mod large;
mod pinned;
mod reads;
#[cfg(test)]
mod tests;
mod writes;

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::data::{Changes, Data, Plan, Run};
use crate::engine::{Direction, Durability, Engine, Result, Settings, Writer};
use crate::memory::{self, Sampler};
use crate::worker::{Figure, Unit, Worker};

/// A workload, by the name that `--only` knows.
pub struct Workload {
    pub name: &'static str,
    /// Whether it is run on data sets that only differ in the shape of their entries.
    on_shapes: bool,
    /// Its figures follow from the seed and nothing else, so that one round is enough.
    pub is_steady: bool,
}

const fn workload(name: &'static str) -> Workload {
    Workload { name, on_shapes: false, is_steady: false }
}

const fn on_shapes(name: &'static str) -> Workload {
    Workload { name, on_shapes: true, is_steady: false }
}

/// In the order in which a round runs them: loads, reads, writes.
pub const WORKLOADS: &[Workload] = &[
    on_shapes("load-sorted"),
    on_shapes("load-random"),
    workload("open"),
    on_shapes("get-hit"),
    workload("get-miss"),
    workload("get-zipf"),
    on_shapes("get-many"),
    workload("get-begin"),
    workload("get-threads"),
    workload("range-10"),
    workload("range-100"),
    on_shapes("scan-forward"),
    workload("scan-reverse"),
    workload("scan-heads"),
    workload("get-beside-writer"),
    workload("commit-durable"),
    workload("commit-relaxed"),
    workload("batch-durable"),
    workload("overwrite"),
    workload("delete-half"),
    Workload { name: "pinned", on_shapes: false, is_steady: true },
    workload("memory"),
];

/// What is run on a data set of large values instead.
const LARGE: &[Workload] = &[workload("large-write"), workload("large-read")];

/// The workloads to run on a data set; when `only` is not empty, those whose names contain one of its parts, whether the
/// data set is meant for them or not.
pub fn chosen(run: Run, only: &[String]) -> Vec<&'static Workload> {
    let (all, is_shape) = match run {
        Run::Everything => (WORKLOADS, false),
        Run::Shape | Run::ShapeOfFew => (WORKLOADS, true),
        Run::Large => (LARGE, false),
    };
    let is_wanted = |workload: &Workload| match only {
        [] => workload.on_shapes || !is_shape,
        only => only.iter().any(|part| workload.name.contains(part.as_str())),
    };
    all.iter().filter(|workload| is_wanted(workload)).collect()
}

/// The names of all of them.
pub fn names() -> impl Iterator<Item = &'static str> {
    WORKLOADS.iter().chain(LARGE).map(|workload| workload.name)
}

/// Lookups between two looks at the clock.
const BLOCK: usize = 1024;
/// Keys that lie ready to be looked up, at most.
const STREAM_MAX: usize = 1 << 20;
/// The directory of the database that workloads read and change.
const KEPT: &str = "kept";
/// Puts in a durable batch.
const BATCH_PUTS: usize = 1000;

/// How long things are measured.
#[derive(Clone, Copy)]
pub struct Effort {
    /// Time that a loop runs for at least.
    pub least: Duration,
    /// Time after which commits are no longer repeated.
    pub most: Duration,
    pub commits: usize,
    pub relaxed_commits: usize,
    pub batches: usize,
    /// Commits beside a reader, at most.
    pub beside: usize,
    /// Writes of the floor `write-sync`.
    pub syncs: usize,
}

impl Effort {
    pub fn new(quick: bool) -> Effort {
        if quick {
            let (least, most) = (Duration::from_millis(80), Duration::from_millis(500));
            Effort { least, most, commits: 300, relaxed_commits: 5_000, batches: 10, beside: 5_000, syncs: 200 }
        } else {
            let (least, most) = (Duration::from_millis(500), Duration::from_secs(4));
            Effort { least, most, commits: 2_000, relaxed_commits: 20_000, batches: 100, beside: 20_000, syncs: 1_000 }
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
    plan: Plan,
    /// Keys to look up, end to end.
    stream: Vec<u8>,
    /// Anonymous memory that is the harness's own.
    before: u64,
    /// The most anonymous memory that was seen in this round, and the most while only reads ran.
    peak: u64,
    reading_peak: Option<u64>,
    /// Whether what other workloads read and change is loaded in order of key, unless `load-random` has just loaded it.
    sorted: bool,
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

pub fn settings(entry_len: usize, entries: usize, dirty_limit: Option<usize>) -> Settings {
    Settings { data_len: (entry_len * entries) as u64, dirty_limit }
}

impl<E: Engine> Bench<E> {
    pub fn new(dir: &Path, effort: Effort, data: Data, sorted: bool) -> Result<Bench<E>> {
        let settings = settings(data.set.entry_len(), data.entries(), None);
        let changes = Changes::new(&data);
        let plan = Plan::new(data.set, writes::largest_plan(&data, &effort));
        // Whole blocks, so that the clock is read as often for a small data set as for a large one.
        let keys = (data.entries().min(STREAM_MAX) / BLOCK).max(1) * BLOCK;
        let stream = vec![1; keys * data.set.key_len];
        Ok(Bench {
            dir: dir.to_owned(),
            effort,
            settings,
            data,
            changes,
            plan,
            stream,
            before: memory::anonymous()?,
            peak: 0,
            reading_peak: None,
            sorted,
            loaded: None,
        })
    }

    /// An empty directory of that name, on a disk that has nothing left to write.
    fn empty_dir(&self, name: &str) -> Result<PathBuf> {
        let dir = self.dir.join(name);
        if dir.exists() {
            fs::remove_dir_all(&dir)?;
        }
        fs::create_dir(&dir)?;
        Ok(dir)
    }

    /// Loads a new database in a directory of its own and commits it durably.
    ///
    /// The clock runs from the begin of the transaction to the end of its commit; keys and values are made inside. No
    /// other database is open meanwhile, since what it holds would be counted as this one's memory.
    fn load(&mut self, name: &str, sorted: bool) -> Result<Load<E>> {
        self.loaded = None;
        memory::trim();
        let dir = self.empty_dir(name)?;
        let engine = E::open(&dir, &self.settings)?;
        settle(&dir)?;

        let data = &self.data;
        let (mut key, mut value) = (vec![0; data.set.key_len], vec![0; data.set.value_len]);
        let sampler = Sampler::start();
        let start = Instant::now();
        engine.write(|writer| {
            for at in 0..data.entries() {
                if sorted {
                    data.set.value_into(data.key_at(at), 0, &mut value);
                    writer.append(data.key_at(at), &value)?;
                } else {
                    data.key_into(data.arrival(at), &mut key);
                    data.set.value_into(&key, 0, &mut value);
                    writer.put(&key, &value)?;
                }
            }
            Ok(())
        })?;
        let elapsed = start.elapsed();
        let anonymous = sampler.stop()?.saturating_sub(self.before);
        self.peak = self.peak.max(anonymous);
        engine.tidy()?;
        Ok(Load { engine, elapsed, anonymous })
    }

    /// Loads the database that the other workloads read and change.
    fn load_kept(&mut self, sorted: bool) -> Result<Vec<Figure>> {
        let load = self.load(KEPT, sorted)?;
        self.changes.reset(&self.data);
        checks::entries(&load.engine, Direction::Forward, &self.data.digest)?;
        let name = if sorted { "sorted" } else { "random order" };
        let figures = load_figures(&self.dir.join(KEPT), &load, self.data.entries(), name)?;
        self.loaded = Some(Loaded { engine: load.engine, fresh: true, checked: false });
        Ok(figures)
    }

    fn load_sorted(&mut self) -> Result<Vec<Figure>> {
        if self.sorted {
            return self.load_kept(true);
        }
        let load = self.load("sorted", true)?;
        checks::entries(&load.engine, Direction::Forward, &self.data.digest)?;
        let dir = self.dir.join("sorted");
        let figures = load_figures(&dir, &load, self.data.entries(), "sorted")?;
        drop(load);
        fs::remove_dir_all(dir)?;
        Ok(figures)
    }

    /// Makes sure that there is a loaded database that nothing has been written to, that it answers rightly, and that
    /// its pages are in memory.
    fn prepare_read(&mut self, random: &mut fastrand::Rng) -> Result<()> {
        if !self.loaded.as_ref().is_some_and(|loaded| loaded.fresh) {
            self.load_kept(self.sorted)?;
        }
        let loaded = self.loaded.as_mut().ok_or("no database is loaded")?;
        if !loaded.checked {
            checks::entries(&loaded.engine, Direction::Forward, &self.data.digest)?;
            checks::entries(&loaded.engine, Direction::Reverse, &self.data.digest)?;
            loaded.checked = true;
        }
        checks::answers(&loaded.engine, &self.data, random)
    }

    fn engine(&self) -> Result<&E> {
        Ok(&self.loaded.as_ref().ok_or("no database is loaded")?.engine)
    }

    fn read(&mut self, workload: &str, random: &mut fastrand::Rng) -> Result<Vec<Figure>> {
        self.prepare_read(random)?;
        let sampler = Sampler::start();
        let figures = match workload {
            "open" => self.open(random),
            "get-hit" => self.get_hit(random),
            "get-miss" => self.get_miss(random),
            "get-zipf" => self.get_zipf(random),
            "get-many" => self.get_many(random),
            "get-begin" => self.get_begin(random),
            "get-threads" => self.get_threads(random),
            "range-10" => self.range(10, random),
            "range-100" => self.range(100, random),
            "scan-forward" => self.scan_words(Direction::Forward, "forward"),
            "scan-reverse" => self.scan_words(Direction::Reverse, "reverse"),
            "scan-heads" => self.scan_heads(),
            _ => Err(format!("the workload {workload} does nothing").into()),
        }?;
        // What the load has left behind counts until the file was closed and opened again; what the allocator keeps of it is no one's.
        let anonymous = sampler.stop()?.saturating_sub(self.before);
        match &mut self.reading_peak {
            Some(peak) => *peak = anonymous.max(*peak),
            None if workload == "open" => {
                memory::trim();
                self.reading_peak = Some(0);
            }
            None => {}
        }
        Ok(figures)
    }

    fn write(&mut self, workload: &str, random: &mut fastrand::Rng) -> Result<Vec<Figure>> {
        let sampler = Sampler::start();
        let figures = match workload {
            "get-beside-writer" => self.get_beside_writer(random),
            "commit-durable" => self.single_commits(Durability::Durable, random),
            "commit-relaxed" => self.single_commits(Durability::Relaxed, random),
            "batch-durable" => self.batches(random),
            "overwrite" => self.overwrite(random),
            "delete-half" => self.delete_half(random),
            "pinned" => self.pinned(random),
            "large-write" => self.large_write(),
            _ => self.large_read(),
        };
        self.peak = self.peak.max(sampler.stop()?.saturating_sub(self.before));
        figures
    }

    /// What the other workloads of the round have held in memory.
    fn memory(&mut self) -> Vec<Figure> {
        let reading = self.reading_peak.take();
        let peak = std::mem::take(&mut self.peak).max(reading.unwrap_or(0));
        let mut figures = vec![Figure::new("anonymous memory, peak of all", Unit::Bytes, peak as f64)];
        if let Some(reading) = reading {
            figures.push(Figure::new("anonymous memory, peak of reads", Unit::Bytes, reading as f64));
        }
        figures
    }
}

impl<E: Engine> Worker for Bench<E> {
    fn run(&mut self, workload: &str, round: u64) -> Result<Vec<Figure>> {
        let place = names().position(|name| name == workload);
        let place = place.ok_or_else(|| format!("no workload is called {workload}"))?;
        if E::LACKS.contains(&workload) || self.data.set.value_len > E::VALUE_MAX {
            return Ok(Vec::new());
        }
        let mut random = fastrand::Rng::with_seed(self.data.seed ^ (round << 8 | place as u64));
        match workload {
            "load-random" => self.load_kept(false),
            "load-sorted" => self.load_sorted(),
            "memory" => Ok(self.memory()),
            "get-beside-writer" | "commit-durable" | "commit-relaxed" | "batch-durable" | "overwrite"
            | "delete-half" | "pinned" | "large-write" | "large-read" => self.write(workload, &mut random),
            _ => self.read(workload, &mut random),
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

/// Bytes of all files of a database, holes not counted.
pub fn files_len(dir: &Path) -> Result<u64> {
    let mut len = 0;
    for file in fs::read_dir(dir)? {
        let file = file?;
        let metadata = file.metadata()?;
        len += match metadata.is_dir() {
            true => files_len(&file.path())?,
            false => metadata.len().min(metadata.blocks() * 512),
        };
    }
    Ok(len)
}

/// Has everything written so far on this disk, by whichever process, reach it, so that it is not paid for on the clock.
pub fn settle(dir: &Path) -> Result<()> {
    Ok(rustix::fs::syncfs(File::open(dir)?)?)
}
