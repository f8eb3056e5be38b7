//! `folio check`: reads every page and says what is wrong, one problem a line.

use std::io::Write;
use std::path::PathBuf;

use folio::{CheckReport, Database, ProblemKind};

use crate::failure::Failure;
use crate::open::Reading;
use crate::progress;
use crate::table::{counted, grouped};

/// Read every page and check that all of it holds together
#[derive(clap::Args)]
#[command(after_help = "\
What is found is damage or, behind that word, a deviation: then the file is not as its format has it, but all that is
stored can be read. The exit code is 1 for either.

Example: folio check demo.folio")]
pub struct Args {
    /// The database
    pub file: PathBuf,
    #[command(flatten)]
    reading: Reading,
}

pub fn run(args: &Args, out: &mut impl Write) -> Result<(), Failure> {
    let report = args.reading.open(&args.file).and_then(|database| read_all(&database));
    print(&report.map_err(Failure::into_finding)?, out)
}

/// Prints what a check found; that there is something is a failure.
pub fn print(report: &CheckReport, out: &mut impl Write) -> Result<(), Failure> {
    for interrupted in &report.interrupted {
        writeln!(out, "{interrupted}")?;
    }
    for problem in &report.problems {
        writeln!(out, "{problem}")?;
    }
    let more = report.problem_count - report.problems.len() as u64;
    if more > 0 {
        writeln!(out, "and {} more", grouped(more))?;
    }
    if report.is_damaged() {
        let count = counted(report.problem_count, "problem", "problems");
        return Err(Failure::Unsound(format!("{count}; restore the file from a backup")));
    }
    if !report.is_ok() {
        let what = "all that is stored can be read; folio compact mends most of that";
        return Err(Failure::Unsound(format!("{}; {what}", deviations(report))));
    }
    writeln!(out, "{}", summary(report))?;
    Ok(())
}

/// Checks a database, with a progress bar.
pub fn read_all(database: &Database) -> Result<CheckReport, Failure> {
    let bar = progress::pages();
    let report = database.check_with(|done, total| {
        bar.set_length(total);
        bar.set_position(done);
    });
    bar.finish_and_clear();
    Ok(report?)
}

/// In one line: a failure that tells the first damage, if there is any.
pub fn verdict(report: &CheckReport) -> Result<(), Failure> {
    match report.problems.iter().find(|problem| problem.kind == ProblemKind::Damage) {
        None => Ok(()),
        Some(problem) => Err(Failure::Unsound(format!(
            "damaged: {problem}; {} in all, which folio check lists; use another backup",
            counted(report.problem_count, "problem", "problems")
        ))),
    }
}

/// What a check that found no damage has looked at.
pub fn summary(report: &CheckReport) -> String {
    let pages = counted(report.pages, "page", "pages");
    let buckets = counted(report.buckets, "bucket", "buckets");
    let entries = counted(report.entries, "entry", "entries");
    let found =
        if report.is_ok() { String::new() } else { format!(", {}, which folio check lists", deviations(report)) };
    format!("ok: {pages}, {buckets}, {entries}{found}")
}

/// Of a report without damage.
fn deviations(report: &CheckReport) -> String {
    counted(report.problem_count, "deviation from the format", "deviations from the format")
}
