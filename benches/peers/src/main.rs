//! Peers: folio and other embedded stores side by side, on the same data, doing the same work.
//!
//!     cargo run --release                      everything: half an hour, 10 GB of disk
//!     cargo run --release -- --quick           fewer entries and rounds: a minute and a half
//!     cargo run --release -- --engines lmdb,folio --data-set 24+150 --only get,range
//!     cargo run --release -- --engines lmdb,folio --data-set 24+150 --entries 50000000 --only get-hit --apart --sorted
//!     cargo run --release -- big-load --engine folio --gib 4 --dirty-limit-mib 64
//!     cargo run --release -- bloat             how far files grow while snapshots are held
//!     cargo run --release -- diff --entries 10000000
//!     cargo run --release -- group-commit      threads that share commits, and threads that do not
//!
//! Each engine runs in a process of its own that lives through all rounds. The parent (`rounds.rs`) tells them over
//! pipes which workload to run, one engine at a time, in turns; takes the medians; and prints a Markdown table or JSON
//! (`report.rs`). Floors of the machine are measured in the same rounds (`floors.rs`). The workloads and how their
//! answers are checked stand in `workload/`, the data in `data.rs`, and what an engine must offer in `engine.rs`.
//! Linux only: memory is read from `/proc`.

mod big_load;
mod bloat;
mod btree_store;
mod canopy;
mod data;
mod diff;
mod engine;
mod fjall;
mod floors;
mod folio;
mod group_commit;
mod lmdb;
mod mdbx;
mod memory;
mod redb;
mod report;
mod rounds;
mod sanakirja;
mod sqlite;
mod worker;
mod workload;

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::builder::PossibleValuesParser;
use clap::{Args, Parser, Subcommand};
use tempfile::TempDir;

use crate::big_load::BigLoad;
use crate::data::{Data, DataSet};
use crate::diff::Diff;
use crate::engine::{Engine, Result, Visit, with_engine};
use crate::floors::Floors;
use crate::group_commit::GroupCommit;
use crate::report::{Head, Report, Table};
use crate::rounds::{FLOORS, Plan};
use crate::worker::{Hello, serve};
use crate::workload::{Bench, settings};

/// The engines by name.
fn engines() -> PossibleValuesParser {
    PossibleValuesParser::new(engine::NAMES)
}

/// The data sets by name, and all of them.
fn data_sets() -> PossibleValuesParser {
    PossibleValuesParser::new(data::names().chain(["all"]))
}

/// Run folio and its peers side by side
#[derive(Parser)]
#[command(args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    run: RunArgs,
}

#[derive(Subcommand)]
enum Command {
    /// Load much in one transaction with little memory, and report the peak
    BigLoad(BigLoadArgs),
    /// Overwrite everything while snapshots are held, and report how far the files grow
    Bloat(BloatArgs),
    /// Diff two snapshots of a large bucket of folio in which little has changed
    Diff(DiffArgs),
    /// Put entries from many threads, with commits of their own and with shared ones
    GroupCommit(GroupCommitArgs),
    /// One engine, driven over a pipe by the parent
    #[command(hide = true)]
    Worker(WorkerArgs),
}

#[derive(Args)]
struct RunArgs {
    /// Engines to run, with commas between them; the ratios are against the first [default: all but lmdb-tls and
    /// btree-store]
    #[arg(long, value_delimiter = ',', value_parser = engines())]
    engines: Vec<String>,
    /// Data sets, with commas between them
    #[arg(long, value_delimiter = ',', default_value = "all", value_parser = data_sets())]
    data_set: Vec<String>,
    /// Entries to load; a fifth of them where values have 1,000 bytes, 64 where they have 1 MiB [default: 1000000, quick: 100000]
    #[arg(long)]
    entries: Option<usize>,
    /// Rounds to take the median of [default: 3, quick: 1]
    #[arg(long)]
    rounds: Option<u64>,
    /// Fewer entries, one round and shorter loops: a minute and a half, and much less exact
    #[arg(long)]
    quick: bool,
    /// Run all rounds of an engine before the next one, for data that does not fit into memory once for each engine
    #[arg(long)]
    apart: bool,
    /// Read and change data that was loaded in order of key, which does not take hours where there is much of it
    #[arg(long)]
    sorted: bool,
    /// Only the workloads whose names contain one of these, with commas between them, on each of the data sets; a part
    /// that fits none lists them all
    #[arg(long, value_delimiter = ',', value_name = "SUBSTRING")]
    only: Vec<String>,
    /// From which the keys, their order and the choices of each round follow
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Where the database files go, in a directory that is deleted at the end, unless the run is interrupted [default: beside this program]
    #[arg(long)]
    dir: Option<PathBuf>,
    /// Print JSON with the value of each round instead of a table
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
struct BigLoadArgs {
    /// The engine to run
    #[arg(long, default_value = "folio", value_parser = engines())]
    engine: String,
    /// GiB of keys and values
    #[arg(long, default_value_t = 4.0)]
    gib: f64,
    /// Memory that the transaction may use, where the engine can be told
    #[arg(long, default_value_t = 64)]
    dirty_limit_mib: usize,
    /// The shape of keys and values
    #[arg(long, default_value = "16+1000", value_parser = PossibleValuesParser::new(data::names()))]
    data_set: String,
    /// From which the keys, their order and the choices of each round follow
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Where the database files go, in a directory that is deleted at the end, unless the run is interrupted [default: beside this program]
    #[arg(long)]
    dir: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
struct BloatArgs {
    /// Engines to run, with commas between them
    #[arg(long, value_delimiter = ',', default_value = "lmdb,folio", value_parser = engines())]
    engines: Vec<String>,
    /// The shape of keys and values
    #[arg(long, default_value = "24+150", value_parser = PossibleValuesParser::new(data::names()))]
    data_set: String,
    /// Entries to load; a multiple of 10
    #[arg(long, default_value_t = 100_000)]
    entries: usize,
    /// From which the keys, their order and the choices of each round follow
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Where the database files go, in a directory that is deleted at the end, unless the run is interrupted [default: beside this program]
    #[arg(long)]
    dir: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
struct DiffArgs {
    /// Entries in the bucket
    #[arg(long, default_value_t = 10_000_000)]
    entries: usize,
    /// Entries that are changed
    #[arg(long, default_value_t = 100)]
    changes: usize,
    /// Diffs that are timed, beside the first
    #[arg(long, default_value_t = 1000)]
    repetitions: usize,
    /// The shape of keys and values
    #[arg(long, default_value = "24+150", value_parser = PossibleValuesParser::new(data::names()))]
    data_set: String,
    /// From which the keys, their order and the choices of each round follow
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Where the database file goes, in a directory that is deleted at the end, unless the run is interrupted [default: beside this program]
    #[arg(long)]
    dir: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
struct GroupCommitArgs {
    /// Numbers of threads, with commas between them
    #[arg(long, value_delimiter = ',', default_value = "1,2,8,32")]
    threads: Vec<usize>,
    /// Entries to load before
    #[arg(long, default_value_t = 1_000_000)]
    entries: usize,
    /// Rounds to take the median of
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// How long each round takes, for each of the two ways
    #[arg(long, default_value_t = 1.0)]
    seconds: f64,
    /// The shape of keys and values
    #[arg(long, default_value = "24+150", value_parser = PossibleValuesParser::new(data::names()))]
    data_set: String,
    /// From which the keys, their order and the choices of each round follow
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Where the database file goes, in a directory that is deleted at the end, unless the run is interrupted [default: beside this program]
    #[arg(long)]
    dir: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
pub struct WorkerArgs {
    #[arg(long)]
    pub engine: String,
    #[arg(long)]
    pub data_set: String,
    #[arg(long)]
    pub entries: usize,
    #[arg(long)]
    pub seed: u64,
    #[arg(long)]
    pub dir: PathBuf,
    #[arg(long)]
    pub quick: bool,
    #[arg(long)]
    pub sorted: bool,
}

impl WorkerArgs {
    /// The command line that parses to these.
    fn to_args(&self) -> Vec<OsString> {
        let (entries, seed) = (self.entries.to_string(), self.seed.to_string());
        let mut args: Vec<OsString> = ["--engine", &self.engine, "--data-set", &self.data_set]
            .into_iter()
            .chain(["--entries", &entries, "--seed", &seed, "--dir"])
            .map(OsString::from)
            .collect();
        args.push(self.dir.clone().into());
        if self.quick {
            args.push("--quick".into());
        }
        if self.sorted {
            args.push("--sorted".into());
        }
        args
    }
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let done = match cli.command {
        None => run(&cli.run),
        Some(Command::BigLoad(args)) => big_load(&args),
        Some(Command::Bloat(args)) => bloat(&args),
        Some(Command::Diff(args)) => diff(&args),
        Some(Command::GroupCommit(args)) => group_commit(&args),
        Some(Command::Worker(args)) => work(&args),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("peers: {error}");
            ExitCode::FAILURE
        }
    }
}

/// A directory for the database files that goes away at the end: in `asked`, or beside this program, which is on the
/// disk of the target directory, where the usual place for temporary files may be in memory.
fn directory(asked: Option<&Path>) -> Result<TempDir> {
    let program = env::current_exe()?;
    let parent = asked.or(program.parent()).ok_or("this program lies nowhere; give --dir")?;
    let dir = tempfile::Builder::new().prefix("peers-").tempdir_in(parent)?;
    eprintln!("database files: {}", dir.path().display());
    if report::in_memory(dir.path())? {
        eprintln!("WARNING: this is memory, not a disk: durable commits mean nothing here; give --dir");
    }
    Ok(dir)
}

fn run(args: &RunArgs) -> Result<()> {
    let engines = match args.engines.as_slice() {
        [] => {
            let names = engine::NAMES.iter().copied().filter(|name| !engine::ON_REQUEST.contains(name));
            names.map(str::to_owned).collect()
        }
        engines => engines.to_vec(),
    };
    rounds::known(&engines)?;
    let asked = args.entries.unwrap_or(if args.quick { 100_000 } else { 1_000_000 });
    let rounds = args.rounds.unwrap_or(if args.quick { 1 } else { 3 });
    if asked == 0 || rounds == 0 {
        return Err("give at least one entry and one round".into());
    }
    let sets = DataSet::all_named(&args.data_set)?.into_iter().map(|set| (set, workload::chosen(set.run, &args.only)));
    let sets: Vec<_> = sets.filter(|(_, workloads)| !workloads.is_empty()).collect();
    if sets.is_empty() {
        let names: Vec<_> = workload::names().collect();
        return Err(format!("no workload fits; there are: {}", names.join(", ")).into());
    }

    let dir = directory(args.dir.as_deref())?;
    let head = Head::new(rounds, args.seed, dir.path())?;
    let mut report = Report { head, engines: Vec::new(), data_sets: Vec::new(), floors: Vec::new() };
    for (set, workloads) in sets {
        let entries = set.entries(asked);
        let first = report.engines.is_empty();
        let plan = Plan { engines: engines.clone(), workloads, rounds, has_floors: first, is_apart: args.apart };
        eprintln!("{entries} entries of {}", set.name);
        let dir = dir.path().join(set.name);
        std::fs::create_dir(&dir)?;
        let outcome = rounds::run(&plan, &dir, |engine, dir| WorkerArgs {
            engine: engine.to_owned(),
            data_set: set.name.to_owned(),
            entries,
            seed: args.seed,
            dir: dir.to_owned(),
            quick: args.quick,
            sorted: args.sorted,
        })?;
        if first {
            (report.engines, report.floors) = (outcome.engines, outcome.floors);
        }
        report.data_sets.push(Table { data_set: set.name, about: set.about, entries, rows: outcome.rows });
    }
    if args.json {
        println!("{}", report.json()?);
    } else {
        print!("{}", report.markdown());
    }
    Ok(dir.close()?)
}

fn big_load(args: &BigLoadArgs) -> Result<()> {
    let dir = directory(args.dir.as_deref())?;
    let outcome = with_engine(
        &args.engine,
        BigLoad {
            dir: dir.path(),
            set: DataSet::named(&args.data_set)?,
            seed: args.seed,
            data_len: (args.gib * (1u64 << 30) as f64) as u64,
            dirty_limit: args.dirty_limit_mib << 20,
        },
    )?;
    if args.json {
        println!("{}", serde_json::to_string_pretty(&outcome)?);
    } else {
        print!("{}", outcome.markdown());
    }
    Ok(dir.close()?)
}

fn bloat(args: &BloatArgs) -> Result<()> {
    let dir = directory(args.dir.as_deref())?;
    let outcome = bloat::run(&args.engines, DataSet::named(&args.data_set)?, args.entries, args.seed, dir.path())?;
    if args.json {
        println!("{}", serde_json::to_string_pretty(&outcome)?);
    } else {
        print!("{}", outcome.markdown());
    }
    dir.close()?;
    outcome.check()
}

fn diff(args: &DiffArgs) -> Result<()> {
    let dir = directory(args.dir.as_deref())?;
    let outcome = Diff {
        dir: dir.path(),
        set: DataSet::named(&args.data_set)?,
        seed: args.seed,
        entries: args.entries,
        changes: args.changes,
        repetitions: args.repetitions,
    }
    .run()?;
    if args.json {
        println!("{}", serde_json::to_string_pretty(&outcome)?);
    } else {
        print!("{}", outcome.markdown());
    }
    Ok(dir.close()?)
}

fn group_commit(args: &GroupCommitArgs) -> Result<()> {
    let dir = directory(args.dir.as_deref())?;
    let outcome = GroupCommit {
        dir: dir.path(),
        set: DataSet::named(&args.data_set)?,
        seed: args.seed,
        entries: args.entries,
        threads: args.threads.clone(),
        rounds: args.rounds,
        seconds: args.seconds,
    }
    .run()?;
    if args.json {
        println!("{}", serde_json::to_string_pretty(&outcome)?);
    } else {
        print!("{}", outcome.markdown());
    }
    Ok(dir.close()?)
}

fn work(args: &WorkerArgs) -> Result<()> {
    if args.engine == FLOORS {
        let hello = Hello { title: FLOORS.to_owned(), about: String::new() };
        return serve(&hello, &mut Floors::new(&args.dir, &args.effort(), args.seed)?);
    }
    with_engine(&args.engine, Work(args))
}

/// The work of one engine's process.
struct Work<'a>(&'a WorkerArgs);

impl Visit for Work<'_> {
    type Output = ();

    fn visit<E: Engine>(self) -> Result<()> {
        let args = self.0;
        let set = DataSet::named(&args.data_set)?;
        let about = E::about(&settings(set.entry_len(), args.entries, None));
        let data = Data::new(set, args.seed, args.entries);
        let mut bench = Bench::<E>::new(&args.dir, args.effort(), data, args.sorted)?;
        serve(&Hello { title: E::TITLE.to_owned(), about }, &mut bench)
    }
}
