//! `folio bench`: what gets, scans and commits take on this machine, as percentiles and a histogram.
//!
//! A database that is given is only read: it is opened read-only, and the commits go to a temporary database beside it, on
//! the same disk. Everything runs in one thread, one operation after the other.

mod histogram;
mod temporary;
mod workload;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use folio::{Database, ReadTxn};

use self::histogram::{Latencies, Style, duration};
use self::workload::{Probe, SCAN_LEN, Scanned};
use crate::failure::Failure;
use crate::open::{self, Wait};
use crate::table::grouped;
use crate::text::Form;

/// How many entries the temporary database has that takes the commits beside a FILE.
const BESIDE_ENTRIES: u64 = 10_000;

/// Measure gets, scans and commits on this machine
#[derive(clap::Args)]
#[command(after_help = "\
FILE is only read; the commits are measured in a temporary database beside it, which is gone afterwards.
With --entries, all of it is measured in a temporary database.

Examples: folio bench demo.folio
          folio bench demo.folio --bucket names --seconds 10
          folio bench --entries 1000000 --dir /mnt/disk")]
pub struct Args {
    /// The database to read from
    #[arg(required_unless_present = "entries", conflicts_with = "entries")]
    file: Option<PathBuf>,
    /// Measure in a temporary database with this many entries, of 24-byte keys
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u64).range(1..))]
    entries: Option<u64>,
    /// Read from this bucket of FILE alone
    #[arg(long, value_name = "NAME", requires = "file")]
    bucket: Option<String>,
    /// The length of the values that are written, in bytes
    #[arg(long, value_name = "BYTES", default_value_t = 150)]
    value_len: usize,
    /// Where the temporary database lives meanwhile [default: beside FILE, else the current directory]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// How long gets, scans and commits are measured, each
    #[arg(long, default_value = "2", value_parser = seconds)]
    seconds: Duration,
    #[command(flatten)]
    wait: Wait,
}

impl Args {
    /// What errors are about.
    pub fn file(&self) -> &Path {
        self.file.as_deref().unwrap_or(self.dir())
    }

    fn dir(&self) -> &Path {
        let beside = || self.file.as_deref().and_then(Path::parent).filter(|parent| !parent.as_os_str().is_empty());
        self.dir.as_deref().or_else(beside).unwrap_or(Path::new("."))
    }
}

fn seconds(text: &str) -> Result<Duration, String> {
    let parsed = text.parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    parsed.filter(|time| !time.is_zero()).ok_or_else(|| "write a number of seconds above 0, such as 0.5".to_owned())
}

pub fn run(args: &Args, out: &mut impl Write) -> Result<(), Failure> {
    print_setting(out)?;
    match (&args.file, args.entries) {
        (Some(file), _) => existing(args, file, out),
        (None, entries) => new(args, entries.unwrap_or_default(), out),
    }
}

fn print_setting(out: &mut impl Write) -> Result<(), Failure> {
    let build = if cfg!(debug_assertions) { "a debug build, so slower than it could be" } else { "a release build" };
    let version = env!("CARGO_PKG_VERSION");
    writeln!(out, "folio {version}, {build}; one thread; times include the clock's own, about {}", duration(clock()))?;
    Ok(())
}

/// What it takes to look at the clock: the median of many.
fn clock() -> u64 {
    let mut latencies = Latencies::default();
    for _ in 0..1000 {
        latencies.record(Instant::now().elapsed());
    }
    latencies.percentile(50.0)
}

/// Reads from `file`, commits beside it.
fn existing(args: &Args, file: &Path, out: &mut impl Write) -> Result<(), Failure> {
    let database = open::reading(file, args.wait)?;
    let txn = database.begin_read()?;
    let page_size = database.stats()?.page_size;
    // Made first: where it cannot be made, nobody has to wait to be told.
    let beside = temporary::filled(args.dir(), page_size, BESIDE_ENTRIES, args.value_len)?;
    writeln!(out, "reads: {}, pages of {page_size} bytes", file.display())?;
    reads(&txn, args, out)?;
    let commits = format!("a temporary database in {} with {} entries", args.dir().display(), grouped(BESIDE_ENTRIES));
    self::commits(&beside, args, &commits, out)
}

/// Everything in a temporary database of `entries` entries.
fn new(args: &Args, entries: u64, out: &mut impl Write) -> Result<(), Failure> {
    let start = Instant::now();
    let database = temporary::filled(args.dir(), temporary::PAGE_SIZE, entries, args.value_len)?;
    let took = start.elapsed();
    let (entries_shown, dir) = (grouped(entries), args.dir().display());
    let (key_len, value_len) = (temporary::KEY_LEN, args.value_len);
    writeln!(
        out,
        "database: temporary, in {dir}; {entries_shown} entries of {key_len} + {value_len} bytes, random keys"
    )?;
    let rate = grouped((entries as f64 / took.as_secs_f64()) as u64);
    writeln!(out, "load: {:.2} s sorted and in one transaction, {rate} entries/s", took.as_secs_f64())?;
    reads(&database.begin_read()?, args, out)?;
    commits(&database, args, "the same database", out)
}

fn reads(txn: &ReadTxn, args: &Args, out: &mut impl Write) -> Result<(), Failure> {
    let names = match &args.bucket {
        Some(name) => vec![name.clone()],
        None => txn.buckets()?,
    };
    let probes = workload::probes(txn, &names)?;
    if probes.is_empty() {
        let what = "no entries to read; load some with folio load, or measure with --entries 1000000";
        return Err(Failure::NotFound(what.to_owned()));
    }
    gets(&probes, &names, args.seconds, out)?;
    scans(&probes, args.seconds, out)
}

fn gets(probes: &[Probe<'_>], names: &[String], time: Duration, out: &mut impl Write) -> Result<(), Failure> {
    let gets = workload::gets(probes, time)?;
    let from = match names {
        [name] => format!("bucket {}", Form::Text.show(name.as_bytes())),
        names => format!("{} buckets", grouped(names.len() as u64)),
    };
    let keys = grouped(probes.len() as u64);
    writeln!(out, "\nget: a value by its key, {keys} random keys of {from}, all read before")?;
    writeln!(out, "{} gets/s", grouped(gets.per_second() as u64))?;
    gets.print(Style::of_stdout(), out)?;
    Ok(())
}

fn scans(probes: &[Probe<'_>], time: Duration, out: &mut impl Write) -> Result<(), Failure> {
    let Scanned { latencies, entries, bytes } = workload::scans(probes, time)?;
    writeln!(out, "\nscan: up to {SCAN_LEN} entries from a random key on, every byte read")?;
    let seconds = latencies.total().as_secs_f64();
    let (entries, bytes) = (entries as f64 / seconds, bytes as f64 / seconds);
    let scans = grouped(latencies.per_second() as u64);
    writeln!(out, "{scans} scans/s, {} entries/s, {:.2} GB/s", grouped(entries as u64), bytes / 1e9)?;
    latencies.print(Style::of_stdout(), out)?;
    Ok(())
}

fn commits(database: &Database, args: &Args, place: &str, out: &mut impl Write) -> Result<(), Failure> {
    let commits = workload::commits(database, args.value_len, args.seconds)?;
    let (key_len, value_len) = (temporary::KEY_LEN, args.value_len);
    writeln!(out, "\ncommit: one put of {key_len} + {value_len} bytes, durable, in {place}")?;
    writeln!(out, "{} commits/s", grouped(commits.per_second() as u64))?;
    commits.print(Style::of_stdout(), out)?;
    Ok(())
}
