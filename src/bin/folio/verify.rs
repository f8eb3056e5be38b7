//! `folio verify`: whether a backup is good, in one line; and whether it holds what another database holds.

use std::io::Write;
use std::path::{Path, PathBuf};

use folio::{Bucket, ReadTxn};

use crate::check;
use crate::failure::Failure;
use crate::open::{self, Wait};
use crate::text::Form;

/// Read a backup whole and say whether it is good
#[derive(clap::Args)]
#[command(after_help = "\
As folio check, which lists everything that is wrong, but with a verdict of one line.

Examples: folio verify copy.folio
          folio verify copy.folio --against demo.folio")]
pub struct Args {
    /// The backup
    pub file: PathBuf,
    /// Demand the same entries as in this database
    #[arg(long, value_name = "SOURCE")]
    against: Option<PathBuf>,
    #[command(flatten)]
    wait: Wait,
}

pub fn run(args: &Args, out: &mut impl Write) -> Result<(), Failure> {
    let database = open::reading(&args.file, args.wait).map_err(Failure::into_finding)?;
    let report = check::read_all(&database).map_err(Failure::into_finding)?;
    check::verdict(&report)?;
    let txn = database.begin_read()?;
    if let Some(source) = &args.against {
        compare(&txn, source, args.wait)?;
    }
    writeln!(out, "{}, transaction {}", check::summary(&report), txn.id())?;
    Ok(())
}

fn compare(txn: &ReadTxn, path: &Path, wait: Wait) -> Result<(), Failure> {
    let shown = path.display();
    // Errors of the other database are its own, and not the backup's.
    let theirs = |failure| match failure {
        failure @ Failure::Database(_) => Failure::Outside(format!("{shown}: {}", failure.message())),
        other => other,
    };
    let database = open::reading(path, wait).map_err(theirs)?;
    let source = database.begin_read().map_err(Failure::from).map_err(theirs)?;
    match difference(txn, &source, theirs)? {
        None => Ok(()),
        Some(what) => Err(Failure::Unsound(format!(
            "differs from {shown}: {what}; it is of transaction {}, the other of {}",
            txn.id(),
            source.id()
        ))),
    }
}

/// The first thing that is not the same in both.
fn difference(
    copy: &ReadTxn,
    source: &ReadTxn,
    theirs: impl Fn(Failure) -> Failure,
) -> Result<Option<String>, Failure> {
    let names = copy.buckets()?;
    let others = source.buckets().map_err(|error| theirs(error.into()))?;
    let show = |name: &String| Form::Text.show(name.as_bytes());
    if let Some(name) = others.iter().find(|name| names.binary_search(name).is_err()) {
        return Ok(Some(format!("bucket {} is missing", show(name))));
    }
    if let Some(name) = names.iter().find(|name| others.binary_search(name).is_err()) {
        return Ok(Some(format!("bucket {} is only here", show(name))));
    }
    for name in &names {
        let (one, other) = (open::bucket(copy, name)?, open::bucket(source, name).map_err(&theirs)?);
        if let Some(key) = differing_key(one, other, &theirs)? {
            return Ok(Some(format!("bucket {}, key {}", show(name), Form::Text.show(key))));
        }
    }
    Ok(None)
}

/// The first key that is in one alone, or with another value.
fn differing_key<'a>(
    one: Bucket<'a>,
    other: Bucket<'a>,
    theirs: impl Fn(Failure) -> Failure,
) -> Result<Option<&'a [u8]>, Failure> {
    let (mut ones, mut others) = (one.iter(), other.iter());
    loop {
        let next = others.next().transpose().map_err(|error| theirs(error.into()))?;
        match (ones.next().transpose()?, next) {
            (None, None) => return Ok(None),
            (Some(entry), Some(also)) if entry == also => {}
            (Some((key, _)), Some((other, _))) => return Ok(Some(key.min(other))),
            (Some((key, _)), None) | (None, Some((key, _))) => return Ok(Some(key)),
        }
    }
}
