//! `folio restore`: puts a backup in the place of a database, after a check.

use std::io::{self, Write};
use std::path::PathBuf;
use std::thread::sleep;
use std::time::{Duration, Instant};

use folio::Error;

use crate::failure::Failure;
use crate::interrupt::Interrupt;
use crate::open::{self, Wait};
use crate::table::grouped;
use crate::{backup, check};

/// How often one who waits for the target tries again.
const POLL: Duration = Duration::from_millis(20);

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
    #[command(flatten)]
    wait: Wait,
}

pub fn run(args: &Args, out: &mut impl Write) -> Result<(), Failure> {
    let database = open::reading(&args.backup, args.wait).map_err(Failure::into_finding)?;
    let report = check::read_all(&database).map_err(Failure::into_finding)?;
    check::verdict(&report)?;
    // Until now there was nothing to take back.
    let interrupt = Interrupt::caught()?;
    let txn = database.begin_read()?;
    let start = Instant::now();
    let copied = loop {
        let copy = txn.backup().exact(true).replace(args.force);
        let copied = backup::watched(copy, &interrupt, |copy| copy.to_path(&args.target));
        let is_over = start.elapsed() >= args.wait.timeout();
        match copied {
            // The target is open elsewhere.
            Err(Error::Io { source, .. }) if source.kind() == io::ErrorKind::WouldBlock && !is_over => {
                if interrupt.flow().is_break() {
                    return Err(Failure::Interrupted);
                }
                sleep(POLL);
            }
            done => break done,
        }
    };
    let len = copied.map_err(|error| backup::failed(error, &args.target))?;
    let (target, id) = (args.target.display(), txn.id());
    writeln!(out, "{target}: {} bytes, transaction {id}", grouped(len))?;
    Ok(())
}
