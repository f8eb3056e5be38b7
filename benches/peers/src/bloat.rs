//! What snapshots cost that are held while everything is overwritten: how much the file grows, and what a commit takes
//! beside many of them.
//!
//! Every entry is overwritten 20 times in 200 commits, in order of key, so that each commit rewrites its part of the
//! pages and no more. An engine that keeps all that was freed since the oldest snapshot grows by the size of the data in
//! each of the 20 passes; one that keeps what its snapshots can see, by that size for each snapshot. When it is over,
//! every snapshot is read and compared with what it must hold.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use std::{fs, iter};

use serde::Serialize;

use crate::data::{Data, DataSet, Digest};
use crate::engine::{Direction, Engine, Reader, Result, Settings, Visit, Writer, with_engine};
use crate::report::shown;
use crate::worker::Unit;
use crate::workload::files_len;

const PASSES: usize = 20;
const COMMITS_A_PASS: usize = 10;
const COMMITS: usize = PASSES * COMMITS_A_PASS;

/// How many snapshots are held in one run after the other. Each divides the commits.
const HELD: [usize; 3] = [0, 1, 8];

/// Beside how many snapshots commits are timed.
const PINS: [usize; 4] = [0, 100, 1_000, 10_000];

/// How many commits are timed.
const TIMED: usize = 500;

#[derive(Serialize)]
pub struct Outcome {
    data_set: &'static str,
    entries: usize,
    engines: Vec<Growth>,
    commits: Vec<Beside>,
}

/// An engine's files before and after, by how many snapshots were held.
#[derive(Serialize)]
struct Growth {
    title: &'static str,
    about: String,
    runs: Vec<Run>,
}

#[derive(Serialize)]
struct Run {
    snapshots: usize,
    before: u64,
    after: u64,
}

impl Run {
    fn times(&self) -> f64 {
        self.after as f64 / self.before as f64
    }
}

/// What a relaxed commit of one put takes in folio beside so many snapshots, each of a commit of its own, and what it takes
/// when they go, the newest first, one before each commit.
#[derive(Serialize)]
struct Beside {
    pins: usize,
    held_us: f64,
    going_us: Option<f64>,
}

pub fn run(engines: &[String], set: &'static DataSet, entries: usize, seed: u64, dir: &Path) -> Result<Outcome> {
    if !entries.is_multiple_of(COMMITS_A_PASS) || entries == 0 {
        return Err(format!("the number of entries must be a multiple of {COMMITS_A_PASS}").into());
    }
    let data = Data::new(set, seed, entries);
    let grown = engines.iter().map(|engine| with_engine(engine, Bloat { dir: dir.join(engine), data: &data }));
    let engines = grown.collect::<Result<_>>()?;
    let commits = PINS.iter().map(|&pins| beside(pins, &data, &dir.join(format!("{pins}.folio"))));
    Ok(Outcome { data_set: set.name, entries, engines, commits: commits.collect::<Result<_>>()? })
}

struct Bloat<'a> {
    dir: PathBuf,
    data: &'a Data,
}

impl Visit for Bloat<'_> {
    type Output = Growth;

    fn visit<E: Engine>(self) -> Result<Growth> {
        if E::LACKS.contains(&"pinned") {
            return Err(format!("{} cannot write while snapshots are held", E::TITLE).into());
        }
        let data_len = (self.data.set.entry_len() * self.data.entries() * (PASSES + 2)) as u64;
        let settings = Settings { data_len, dirty_limit: None };
        let mut runs = Vec::new();
        for snapshots in HELD {
            let dir = self.dir.join(snapshots.to_string());
            fs::create_dir_all(&dir)?;
            let engine = E::open(&dir, &settings)?;
            let overwriting = Overwriting { engine: &engine, data: self.data };
            overwriting.load()?;
            let before = files_len(&dir)?;
            overwriting.go_on(0, COMMITS.checked_div(snapshots).unwrap_or(0))?;
            runs.push(Run { snapshots, before, after: files_len(&dir)? });
            overwriting.check_end()?;
            drop(engine);
            fs::remove_dir_all(&dir)?;
        }
        Ok(Growth { title: E::TITLE, about: E::about(&settings), runs })
    }
}

struct Overwriting<'a, E> {
    engine: &'a E,
    data: &'a Data,
}

impl<E: Engine> Overwriting<'_, E> {
    fn load(&self) -> Result<()> {
        self.put_all(0..self.data.entries(), 0)
    }

    /// Makes the commits from `commit` on, under a new snapshot for every `leg` of them; under none if that is 0.
    fn go_on(&self, commit: usize, leg: usize) -> Result<()> {
        if commit == COMMITS {
            return Ok(());
        }
        if leg == 0 {
            return (commit..COMMITS).try_for_each(|commit| self.overwrite(commit));
        }
        self.engine.read(|snapshot| {
            snapshot.get(self.data.key_at(0), |_| ())?;
            let next = commit + leg;
            (commit..next).try_for_each(|commit| self.overwrite(commit))?;
            self.go_on(next, leg)?;
            check(snapshot, &self.digest(commit))
        })
    }

    fn overwrite(&self, commit: usize) -> Result<()> {
        let count = self.data.entries() / COMMITS_A_PASS;
        let first = commit % COMMITS_A_PASS * count;
        self.put_all(first..first + count, (commit / COMMITS_A_PASS + 1) as u32)
    }

    /// Puts the entries at these places in the order of keys, in one transaction.
    fn put_all(&self, places: std::ops::Range<usize>, version: u32) -> Result<()> {
        let mut value = vec![0; self.data.set.value_len];
        self.engine.write(|writer| {
            places.into_iter().try_for_each(|place| {
                let key = self.data.key_at(place);
                self.data.set.value_into(key, version, &mut value);
                writer.put(key, &value)
            })
        })
    }

    /// What the database holds after so many commits.
    fn digest(&self, commits: usize) -> Digest {
        let (pass, part) = (commits / COMMITS_A_PASS, commits % COMMITS_A_PASS);
        let ahead = part * (self.data.entries() / COMMITS_A_PASS);
        let mut value = vec![0; self.data.set.value_len];
        let mut digest = Digest::default();
        for place in 0..self.data.entries() {
            let key = self.data.key_at(place);
            self.data.set.value_into(key, (pass + usize::from(place < ahead)) as u32, &mut value);
            digest.add(key, &value);
        }
        digest
    }

    fn check_end(&self) -> Result<()> {
        self.engine.read(|reader| check(reader, &self.digest(COMMITS)))
    }
}

fn check(reader: &impl Reader, truth: &Digest) -> Result<()> {
    let mut digest = Digest::default();
    reader.scan(Direction::Forward, |key, value| digest.add(key, value))?;
    if digest == *truth { Ok(()) } else { Err("a snapshot holds other entries than it should".into()) }
}

fn beside(pins: usize, data: &Data, path: &Path) -> Result<Beside> {
    let options = folio::Options::new().durability(folio::Durability::Relaxed).sync_bytes(u64::MAX);
    let db = options.open(path)?;
    let mut random = fastrand::Rng::with_seed(data.seed);
    let mut value = vec![0; data.set.value_len];
    let mut commit = || -> Result<Duration> {
        let key = data.key_at(random.usize(..data.entries()));
        data.set.value_into(key, random.u32(..), &mut value);
        let start = Instant::now();
        db.exec(|txn| txn.bucket_mut("entries")?.put(key, &value))?;
        Ok(start.elapsed())
    };
    db.exec(|txn| {
        let mut bucket = txn.bucket_mut("entries")?;
        (0..data.entries()).try_for_each(|place| bucket.append(data.key_at(place), [0; 100]))
    })?;
    let mut held = Vec::with_capacity(pins);
    for _ in 0..pins {
        commit()?;
        held.push(db.begin_read()?);
    }
    let held_us = median(iter::repeat_with(&mut commit).take(TIMED))?.expect("some commits");
    let going_us = median(iter::from_fn(|| held.pop().map(|_gone| commit())).take(TIMED))?;
    drop(held);
    drop(db);
    fs::remove_file(path)?;
    Ok(Beside { pins, held_us, going_us })
}

fn median(times: impl Iterator<Item = Result<Duration>>) -> Result<Option<f64>> {
    let mut times = times.collect::<Result<Vec<_>>>()?;
    times.sort_unstable();
    Ok(times.get(times.len() / 2).map(|time| time.as_secs_f64() * 1e6))
}

impl Outcome {
    pub fn markdown(&self) -> String {
        let mut text = String::new();
        for engine in &self.engines {
            text += &format!("- **{}**: {}\n", engine.title, engine.about);
        }
        let shape = self.data_set.replace('+', " + ");
        text += &format!(
            "\nEach of {} entries of {shape} bytes is overwritten {PASSES} times, in {COMMITS} durable commits.\n\n\
             | snapshots held |",
            self.entries
        );
        for engine in &self.engines {
            text += &format!(" {}: file before | after | times |", engine.title);
        }
        text += &format!("\n|--:|{}\n", "--:|--:|--:|".repeat(self.engines.len()));
        let bytes = |len: u64| shown(len as f64, Unit::Bytes);
        for (at, snapshots) in HELD.iter().enumerate() {
            text += &format!("| {snapshots} |");
            for run in self.engines.iter().map(|engine| &engine.runs[at]) {
                text += &format!(" {} | {} | {:.1} |", bytes(run.before), bytes(run.after), run.times());
            }
            text += "\n";
        }
        text += "\n| folio: snapshots held, each of another commit | relaxed commit of one put, median | one of them goes before each |\n";
        text += "|--:|--:|--:|\n";
        for row in &self.commits {
            let going = row.going_us.map_or("-".to_owned(), |time| shown(time, Unit::Microseconds));
            text += &format!("| {} | {} | {going} |\n", row.pins, shown(row.held_us, Unit::Microseconds));
        }
        text
    }

    /// Whether folio's file grew by no more than its snapshots explain.
    pub fn check(&self) -> Result<()> {
        for run in self.engines.iter().filter(|engine| engine.title == "folio").flat_map(|engine| &engine.runs) {
            let limit = if run.snapshots == 1 { 2.5 } else { 2.0 + run.snapshots as f64 };
            if run.times() >= limit {
                let (snapshots, times) = (run.snapshots, run.times());
                return Err(format!(
                    "folio: {snapshots} snapshots held, and the file grew {times:.2} times, not below {limit}"
                )
                .into());
            }
        }
        Ok(())
    }
}
