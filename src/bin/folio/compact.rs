//! `folio compact`: a packed copy takes the place of the file.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, fchown};
use std::path::{Path, PathBuf};

use tempfile::TempPath;

use crate::backup;
use crate::failure::Failure;
use crate::interrupt::Interrupt;
use crate::open::{self, Wait};
use crate::table::grouped;

/// Rewrite a database without free space, in the order of its keys
#[derive(clap::Args)]
#[command(after_help = "\
The packed copy is written beside the file, checked, and takes its place with its owner and permissions; until
then the file is as it was. It needs room for both, and nobody else may have the file open. What is left of a
compaction that is killed, under a name that begins with .folio-compact-, the next one removes.

Example: folio compact demo.folio")]
pub struct Args {
    /// The database
    pub file: PathBuf,
    #[command(flatten)]
    wait: Wait,
}

pub fn run(args: &Args, out: &mut impl Write) -> Result<(), Failure> {
    // Open for writing, which nobody else can be until the copy is in place.
    let database = open::writing(&args.file, args.wait)?;
    // Until now there was nothing to take back.
    let interrupt = Interrupt::caught()?;
    let refused = |error: io::Error| Failure::Outside(format!("{}: cannot be replaced: {error}", args.file.display()));
    let path = fs::canonicalize(&args.file).map_err(refused)?;
    let before = path.metadata().map_err(refused)?;
    if before.nlink() > 1 {
        let why = "it has other names (hard links), which would keep the file as it is; remove them first";
        return Err(Failure::Outside(format!("{}: {why}", args.file.display())));
    }
    let directory = path.parent().expect("a file is in a directory");
    // An empty file, whose owner and permissions the copy keeps.
    let place = empty_like(&before, directory).map_err(refused)?;
    let txn = database.begin_read()?;
    let copied = backup::watched(txn.backup(), &interrupt, |copy| copy.to_path(&place));
    let after = copied.map_err(|error| backup::failed(error, &args.file))?;
    place.persist(&path).map_err(|error| refused(error.error))?;
    sync(directory).map_err(refused)?;
    writeln!(out, "{} bytes before, {} after", grouped(before.len()), grouped(after))?;
    Ok(())
}

/// The name says whose copy it is: whoever has that database open for writing is the only one who compacts it, so what is there by that
/// name is of one who was killed.
fn empty_like(other: &Metadata, directory: &Path) -> io::Result<TempPath> {
    let path = directory.join(format!(".folio-compact-{}", other.ino()));
    match fs::remove_file(&path) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
    let place = TempPath::try_from_path(path)?;
    let own = file.metadata()?;
    if (own.uid(), own.gid()) != (other.uid(), other.gid()) {
        fchown(&file, Some(other.uid()), Some(other.gid()))?;
    }
    file.set_permissions(other.permissions())?;
    Ok(place)
}

/// Syncs a directory, where that can be done; the library does the same where it makes a file.
fn sync(directory: &Path) -> io::Result<()> {
    let synced = File::open(directory).and_then(|directory| directory.sync_all());
    synced.or_else(|error| match (error.kind(), error.raw_os_error()) {
        (ErrorKind::Unsupported | ErrorKind::PermissionDenied, _) | (_, Some(libc::EINVAL | libc::EBADF)) => Ok(()),
        _ => Err(error),
    })
}
