//! `folio restore`: puts a backup in the place of a database, after a check.

use std::io::Write;
use std::path::PathBuf;

use crate::failure::Failure;
use crate::interrupt::Interrupt;
use crate::table::grouped;
use crate::{backup, check};

/// Check a backup and copy it into place
#[derive(clap::Args)]
#[command(after_help = "\
The backup is copied as it is, page by page. A database that is replaced must not be open anywhere; its owner and
permissions stay.

Examples: folio restore copy.folio demo.folio
          folio restore copy.folio demo.folio --force")]
pub struct Args {
    /// The backup
    pub backup: PathBuf,
    /// Where the database is to be
    target: PathBuf,
    /// Replace the file that is there
    #[arg(long)]
    force: bool,
}

pub fn run(args: &Args, out: &mut impl Write) -> Result<(), Failure> {
    let (database, report) = check::read_all(&args.backup).map_err(Failure::into_finding)?;
    check::verdict(&report)?;
    // Until now there was nothing to take back.
    let interrupt = Interrupt::caught()?;
    let txn = database.begin_read()?;
    let copy = txn.backup().exact(true).replace(args.force);
    let copied = backup::watched(copy, &interrupt, |copy| copy.to_path(&args.target));
    let len = copied.map_err(|error| backup::failed(error, &args.target))?;
    let (target, id) = (args.target.display(), txn.id());
    writeln!(out, "{target}: {} bytes, transaction {id}", grouped(len))?;
    Ok(())
}
