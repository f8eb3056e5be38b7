//! Opening a database for a command, and finding a bucket in it, with errors that say what to do next.

use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{fs, io};

use folio::{Bucket, Database, Error, Options, ReadTxn};

use crate::failure::{Failure, tell};
use crate::text::Form;

/// How many names of buckets an error lists at most.
const NAMED_MAX: usize = 8;

/// How long to wait for other processes: an option of every command that opens a database.
#[derive(clap::Args, Clone, Copy, Default)]
pub struct Wait {
    /// While another process has the database open, wait: SECONDS at most, or until it is closed
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    wait: Option<Option<Duration>>,
}

impl Wait {
    /// How long at most.
    pub fn timeout(self) -> Duration {
        self.wait.map_or(Duration::ZERO, |seconds| seconds.unwrap_or(Duration::MAX))
    }

    /// Options with which an opening waits.
    pub fn options(self) -> Options {
        Options::new().lock_timeout(self.timeout())
    }
}

fn seconds(text: &str) -> Result<Duration, String> {
    let parsed = text.parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    parsed.ok_or_else(|| "write a number of seconds such as 0.5, or --wait alone as the last argument".to_owned())
}

/// How the commands open a database that show what is in it.
#[derive(clap::Args, Clone, Copy)]
pub struct Reading {
    #[command(flatten)]
    wait: Wait,
    /// Open the commit before the newest one, to save what can be saved where the newest is damaged
    #[arg(long)]
    previous: bool,
}

impl Reading {
    pub fn open(self, file: &Path) -> Result<Database, Failure> {
        existing(file, self.wait.options().read_only(true).previous_snapshot(self.previous))
    }
}

/// Opens `file` for reading: it is neither created nor written.
pub fn reading(file: &Path, wait: Wait) -> Result<Database, Failure> {
    existing(file, wait.options().read_only(true))
}

/// Opens `file` for writing; it must be there.
pub fn writing(file: &Path, wait: Wait) -> Result<Database, Failure> {
    existing(file, wait.options().create(false))
}

/// Opens `file` for writing, and creates it when it is missing.
pub fn writing_or_new(file: &Path, wait: Wait) -> Result<Database, Failure> {
    Ok(opened(file, wait.options().open(file)?))
}

/// As [`writing_or_new`], with options for a new one, and answers with what takes a new file away again, should nothing come of the command.
pub fn writing_or_created(file: &Path, options: &Options) -> Result<(Database, Created), Failure> {
    let is_new = fs::metadata(file).is_err();
    let database = opened(file, options.open(file)?);
    // Through a link that led nowhere, it is what the link names that was made.
    let made = is_new.then(|| (fs::canonicalize(file).unwrap_or_else(|_| file.to_owned()), database.clone()));
    Ok((database, Created { made }))
}

/// A database that was made for a command. Without [`Created::keep`] the file goes when this does.
pub struct Created {
    made: Option<(PathBuf, Database)>,
}

impl Created {
    pub fn keep(mut self) {
        self.made = None;
    }
}

impl Drop for Created {
    fn drop(&mut self) {
        let Some((file, database)) = self.made.take() else { return };
        // Another process may have made it, and filled it, just before this one opened it.
        let is_empty = database.begin_read().and_then(|txn| txn.buckets()).is_ok_and(|names| names.is_empty());
        if is_empty {
            // The command has failed, and says why: an empty database that stays is no second failure.
            let _stays = fs::remove_file(file);
        }
    }
}

fn existing(file: &Path, options: Options) -> Result<Database, Failure> {
    let database = options.open(file).map_err(|error| match error {
        Error::Io { source, .. } if source.kind() == io::ErrorKind::NotFound => Failure::Outside(format!(
            "{}: no such file; check the path, or create it with folio put or folio load",
            file.display()
        )),
        error => Failure::Database(error),
    })?;
    Ok(opened(file, database))
}

/// Says so if the newest commit was passed over.
fn opened(file: &Path, database: Database) -> Database {
    if let Some(passed_over) = database.passed_over() {
        tell(&format!("{}: {passed_over}", file.display()));
    }
    database
}

/// The bucket `name`, or a failure that says which buckets there are.
pub fn bucket<'txn>(txn: &'txn ReadTxn, name: &str) -> Result<Bucket<'txn>, Failure> {
    match txn.bucket(name)? {
        Some(bucket) => Ok(bucket),
        None => Err(no_bucket(name, &txn.buckets()?)),
    }
}

pub fn no_bucket(name: &str, there: &[String]) -> Failure {
    let shown = |name: &str| Form::Text.show(name.as_bytes());
    let known = match there {
        [] => "there is none yet: create one with folio put or folio load".to_owned(),
        names => {
            let listed: Vec<String> = names.iter().take(NAMED_MAX).map(|name| shown(name)).collect();
            let more = if names.len() > NAMED_MAX { ", ..." } else { "" };
            format!("there are: {}{more}", listed.join(", "))
        }
    };
    Failure::NotFound(format!("no bucket {}; {known}", shown(name)))
}
