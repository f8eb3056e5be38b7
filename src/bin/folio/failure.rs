//! How a command ends when it does not succeed: the exit code and the one line on stderr.
//!
//! Every command returns a [`Failure`]; `main` reports it.

use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use folio::Error;

pub enum Failure {
    /// The bucket or key that was asked for is not in the database.
    NotFound(String),
    /// The database does not hold what it should.
    Unsound(String),
    /// The library refused.
    Database(Error),
    /// Something outside the database is wrong: an argument, the input, a path.
    Outside(String),
    /// A line of a script did not succeed, so those behind it were not run.
    Line { number: u64, failure: Box<Failure> },
    /// Ctrl-C, after what had been begun was taken back.
    Interrupted,
    /// Whoever read our output has gone (`folio scan | head`): the end, but no error.
    ClosedPipe,
}

impl Failure {
    pub fn exit_code(&self) -> ExitCode {
        match self {
            Failure::ClosedPipe => ExitCode::SUCCESS,
            Failure::Interrupted => ExitCode::from(130),
            Failure::NotFound(_) | Failure::Unsound(_) => ExitCode::from(1),
            Failure::Database(_) | Failure::Outside(_) => ExitCode::from(2),
            Failure::Line { failure, .. } => failure.exit_code(),
        }
    }

    /// Prints the line, with the database `file` in front of what concerns it.
    pub fn report(&self, file: &Path) {
        match self {
            Failure::ClosedPipe => {}
            Failure::NotFound(_) | Failure::Unsound(_) | Failure::Database(_) => {
                tell(&format!("{}: {}", file.display(), self.message()));
            }
            Failure::Outside(_) | Failure::Line { .. } | Failure::Interrupted => tell(&self.message()),
        }
    }

    /// Prints the line where it is known which database is meant.
    pub fn report_here(&self) {
        tell(&self.message());
    }

    /// The line without the database in front.
    pub fn message(&self) -> String {
        match self {
            Failure::NotFound(what) | Failure::Unsound(what) | Failure::Outside(what) => what.clone(),
            Failure::Database(Error::Locked) => {
                "locked by another process; close it there, or wait for that with --wait".to_owned()
            }
            Failure::Database(error @ Error::Io { source, .. }) => format!("{error}{}", advice(source)),
            Failure::Database(error) => error.to_string(),
            Failure::Line { number, failure } => format!("line {number}: {}", failure.message()),
            Failure::Interrupted => "interrupted; no file has changed".to_owned(),
            Failure::ClosedPipe => "the reader of the output is gone".to_owned(),
        }
    }

    /// For the commands that judge a file: damage that the library met on the way is their finding, not an error.
    pub fn into_finding(self) -> Failure {
        match self {
            Failure::Database(error @ Error::Corrupt { .. }) => Failure::Unsound(error.to_string()),
            other => other,
        }
    }
}

/// Prints a line on stderr: of a failure, or of something that is no reason to fail.
pub fn tell(line: &str) {
    // A path or an argument may hold line ends; and there is nobody left to tell when stderr itself is closed.
    let line = line.replace(char::is_control, " ");
    let _ = writeln!(io::stderr(), "folio: {line}");
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        match error {
            Error::Cancelled => Failure::Interrupted,
            error => Failure::Database(error),
        }
    }
}

/// An error of writing the output: the only I/O that commands do themselves with `?`.
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Failure {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Failure::ClosedPipe,
            _ => Failure::Outside(format!("cannot write the output: {error}")),
        }
    }
}

/// What to do about what the system refused, behind a semicolon, where that can be said.
fn advice(refused: &io::Error) -> &'static str {
    match refused.kind() {
        io::ErrorKind::NotFound => "; check the path",
        io::ErrorKind::PermissionDenied => "; check the permissions of the file and of its directory",
        io::ErrorKind::IsADirectory => "; give the path of a file",
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => "; make room on the disk",
        _ => "",
    }
}
