//! `folio check`: reads every page and says what is wrong, one problem a line.

use std::io::Write;
use std::path::PathBuf;

use folio::CheckReport;

use crate::failure::Failure;
use crate::table::grouped;
use crate::{open, progress};

/// Read every page and check that all of it holds together
#[derive(clap::Args)]
#[command(after_help = "Example: folio check demo.folio")]
pub struct Args {
    /// The database
    pub file: PathBuf,
}

pub fn run(args: &Args, out: &mut impl Write) -> Result<(), Failure> {
    print(&read_all(args).map_err(Failure::into_finding)?, out)
}

/// Prints what a check found; that there is something is a failure.
pub fn print(report: &CheckReport, out: &mut impl Write) -> Result<(), Failure> {
    for problem in &report.problems {
        writeln!(out, "{problem}")?;
    }
    let more = report.problem_count - report.problems.len() as u64;
    if more > 0 {
        writeln!(out, "and {} more", grouped(more))?;
    }
    if !report.is_ok() {
        let count = grouped(report.problem_count);
        return Err(Failure::Unsound(format!("{count} problems; restore the file from a backup")));
    }
    writeln!(out, "{}", summary(report))?;
    Ok(())
}

fn read_all(args: &Args) -> Result<CheckReport, Failure> {
    let database = open::reading(&args.file)?;
    let bar = progress::pages();
    let report = database.check_with(|done, total| {
        bar.set_length(total);
        bar.set_position(done);
    });
    bar.finish_and_clear();
    Ok(report?)
}

/// What a check that found nothing has looked at.
pub fn summary(report: &CheckReport) -> String {
    let CheckReport { pages, buckets, entries, .. } = report;
    format!("ok: {} pages, {buckets} buckets, {} entries", grouped(*pages), grouped(*entries))
}
