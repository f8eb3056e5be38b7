//! `folio demo`: real data through everything the library promises, with the figures of this machine.
//!
//! The Unicode Character Database goes in, in one transaction; every record is read back and compared with the
//! source; durable commits run beside a snapshot that must not notice; then the file is opened anew, compared again,
//! checked and measured. Any difference ends the demo with exit code 1.

mod measure;
mod source;
mod verify;

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use folio::{BucketStats, CheckReport, Database};

use self::measure::Rate;
use self::source::Source;
use crate::failure::Failure;
use crate::open::{self, Wait};
use crate::table::{self, grouped};
use crate::{check, stat};

/// The bucket that takes the measured commits.
const COMMITS: &str = "commits";
const COMMIT_COUNT: u64 = 200;

/// Build a database from the Unicode character data, verify it and measure it: a tour in a second or two
#[derive(clap::Args)]
#[command(after_help = "\
Examples: folio demo
          folio demo --out /tmp/demo.folio && folio stat /tmp/demo.folio")]
pub struct Args {
    /// Where to leave the database; an earlier demo there is replaced, any other file is refused
    #[arg(long, value_name = "FILE", default_value = "demo.folio")]
    pub out: PathBuf,
    #[command(flatten)]
    wait: Wait,
}

/// What there is to tell at the end.
struct Findings {
    buckets: Vec<(String, BucketStats)>,
    file_len: u64,
    load: Duration,
    gets: Rate,
    scans: Rate,
    compared_scans: u64,
    commit: Duration,
    check: CheckReport,
}

pub fn run(args: &Args, out: &mut impl Write) -> Result<(), Failure> {
    make_room(&args.out, args.wait)?;
    let findings = demonstrate(&args.out, args.wait).map_err(Failure::into_finding)?;
    tell(&args.out, &findings, out)
}

/// Removes an earlier demo, and refuses to touch anything else.
fn make_room(file: &Path, wait: Wait) -> Result<(), Failure> {
    // `symlink_metadata`, because a dangling link is in the way as well.
    if fs::symlink_metadata(file).is_err() {
        return Ok(());
    }
    let shown = file.display();
    if !is_demo(file, wait)? {
        return Err(Failure::Outside(format!(
            "{shown}: there, and not an earlier demo; choose another path with --out"
        )));
    }
    fs::remove_file(file).map_err(|error| {
        Failure::Outside(format!("{shown}: cannot be replaced: {error}; choose another path with --out"))
    })
}

fn is_demo(file: &Path, wait: Wait) -> Result<bool, Failure> {
    let database = match open::reading(file, wait) {
        Err(Failure::Database(folio::Error::NotADatabase)) => return Ok(false),
        opened => opened?,
    };
    let there = database.begin_read()?.buckets()?;
    Ok(source::BUCKETS.iter().all(|name| there.iter().any(|there| there == name)))
}

fn demonstrate(file: &Path, wait: Wait) -> Result<Findings, Failure> {
    let source = Source::parse();
    let database = open::writing_or_new(file, wait)?;
    let start = Instant::now();
    load(&database, &source)?;
    let load = start.elapsed();

    let before = database.begin_read()?;
    verify::source(&before, &source)?;
    let mut commits = measure::durable_commits(&database, COMMITS, COMMIT_COUNT)?;
    commits.sort();
    verify::buckets(&before, &source::BUCKETS)?;
    verify::source(&before, &source)?;
    drop(before);
    drop(database);

    let database = open::reading(file, wait)?;
    let txn = database.begin_read()?;
    let compared_scans = verify::source(&txn, &source)?;
    verify::len(&open::bucket(&txn, COMMITS)?, COMMITS, COMMIT_COUNT)?;
    let check = database.check()?;
    if let Some(problem) = check.problems.first() {
        return Err(Failure::Unsound(format!("check: {problem}")));
    }
    Ok(Findings {
        buckets: stat::buckets(&txn)?,
        file_len: database.stats()?.file_len,
        load,
        gets: measure::random_gets(&txn, &source)?,
        scans: measure::full_scans(&txn, &source)?,
        compared_scans,
        commit: commits[commits.len() / 2],
        check,
    })
}

fn load(database: &Database, source: &Source) -> folio::Result<()> {
    database.exec(|txn| {
        for (name, records) in source.buckets() {
            let mut bucket = txn.bucket_mut(name)?;
            for record in records {
                bucket.put(&record.key, &record.value)?;
            }
        }
        Ok(())
    })
}

fn tell(file: &Path, findings: &Findings, out: &mut impl Write) -> Result<(), Failure> {
    let file = file.display();
    writeln!(out, "Unicode Character Database 15.0.0 in {file}: every record read back and equal to the source\n")?;

    let mut rows = vec![["bucket", "entries", "depth", "fill"].map(str::to_owned).to_vec()];
    rows.extend(findings.buckets.iter().map(|(name, stats)| {
        let fill = format!("{:.0} %", stats.fill * 100.0);
        vec![name.clone(), grouped(stats.entries), stats.depth.to_string(), fill]
    }));
    table::columns(out, &rows)?;
    writeln!(out)?;

    let Findings { load, gets, scans, compared_scans, commit, check, .. } = findings;
    let pairs = [
        ("file", format!("{} bytes", grouped(findings.file_len))),
        ("load", format!("{:.1} ms in one transaction", load.as_secs_f64() * 1e3)),
        ("random get", format!("{:.2} million/s", gets.per_second() / 1e6)),
        (
            "scan",
            format!("{:.1} million entries/s, {:.2} GB/s", scans.per_second() / 1e6, scans.bytes_per_second() / 1e9),
        ),
        ("durable commit", format!("{:.0} us, median of {COMMIT_COUNT}", commit.as_secs_f64() * 1e6)),
        ("snapshot", format!("unchanged while {COMMIT_COUNT} commits ran beside it")),
        ("scan counts", format!("{compared_scans} ranges and prefixes equal to the source")),
        ("check", check::summary(check)),
    ];
    table::pairs(out, &pairs)?;

    writeln!(out, "\nLook at it: folio scan {file} names --prefix GREEK")?;
    writeln!(out, "Not installed? cargo run --release --features cli -- scan {file} names --prefix GREEK")?;
    Ok(())
}
