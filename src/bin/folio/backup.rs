//! `folio backup`: a copy of a database, to a file or to stdout. Also what all commands that copy say when it fails.

use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};

use folio::{Backup, Error};

use crate::failure::Failure;
use crate::interrupt::Interrupt;
use crate::open::Reading;
use crate::progress;
use crate::table::grouped;

/// Copy a database to a new file, packed, checked and synced
#[derive(clap::Args)]
#[command(after_help = "\
The copy is written beside its place and gets its name when it is whole; until then nothing is there. It has
the permissions of any new file, not those of the database; a file that is replaced keeps its own.
Other readers may have the database open meanwhile, but no writer: a program that writes makes its own
backups, while it writes, with ReadTxn::backup of the library.

Examples: folio backup demo.folio copy.folio
          folio backup demo.folio - | gzip > copy.folio.gz")]
pub struct Args {
    /// The database
    pub source: PathBuf,
    /// The new file; - is stdout
    target: PathBuf,
    /// Copy page by page, free space included, instead of packing
    #[arg(long)]
    exact: bool,
    /// Replace the file that is there
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    reading: Reading,
}

pub fn run(args: &Args, out: &mut impl Write) -> Result<(), Failure> {
    let is_stream = args.target == Path::new("-");
    if is_stream && io::stdout().is_terminal() {
        return Err(Failure::Outside("a backup is not for a terminal; redirect stdout to a file or a pipe".to_owned()));
    }
    let database = args.reading.open(&args.source).map_err(|failure| locked(failure, &args.source))?;
    // Until now there was nothing to take back.
    let interrupt = Interrupt::caught()?;
    let txn = database.begin_read()?;
    let backup = txn.backup().exact(args.exact).replace(args.force);
    if is_stream {
        watched(backup, &interrupt, |backup| backup.to_writer(out))
            .map_err(|error| failed(error, Path::new("stdout")))?;
        return Ok(());
    }
    let len = watched(backup, &interrupt, |backup| backup.to_path(&args.target))
        .map_err(|error| failed(error, &args.target))?;
    let (target, id) = (args.target.display(), txn.id());
    writeln!(out, "{target}: {} bytes, transaction {id}", grouped(len))?;
    Ok(())
}

/// Makes a backup with a progress bar, until Ctrl-C.
pub fn watched<'txn, T>(backup: Backup<'txn>, interrupt: &Interrupt, make: impl FnOnce(Backup<'txn>) -> T) -> T {
    let bar = progress::bytes(Some(0));
    let (drawn, interrupt) = (bar.clone(), interrupt.clone());
    let made = make(backup.progress(move |done, total| {
        drawn.set_length(total);
        drawn.set_position(done);
        interrupt.flow()
    }));
    bar.finish_and_clear();
    made
}

/// What to say of a copy that was not made. Damage is the source's, and what the system refused mostly the target's.
pub fn failed(error: Error, target: &Path) -> Failure {
    let target = target.display();
    match error {
        Error::Io { source, .. } if source.kind() == io::ErrorKind::AlreadyExists => Failure::Outside(format!(
            "{target}: there is a file already; choose another path, or replace it with --force"
        )),
        error @ Error::Io { .. } => Failure::Outside(format!("{target}: {error}")),
        error => error.into(),
    }
}

fn locked(failure: Failure, source: &Path) -> Failure {
    match failure {
        Failure::Database(Error::Locked) => Failure::Outside(format!(
            "{}: another process has it open for writing; make the backup in that process (ReadTxn::backup), or close \
             the database there, for which --wait waits",
            source.display()
        )),
        other => other,
    }
}
