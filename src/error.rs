//! The one error type. Each variant carries what the caller needs; its message says what to do next.

use std::{error, fmt, io};

/// A result whose error is [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Everything that can go wrong.
///
/// A key or a bucket that is missing is not an error: it is `None` or `false`.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// The file is not a folio database, or it is too short to be one. It was left untouched.
    NotADatabase,
    /// The file was written by a release with another format version.
    Version {
        /// The version that the file says.
        found: u32,
        /// The version that this release reads and writes.
        supported: u32,
    },
    /// A page size that is not 4, 8, 16, 32 or 64 KiB.
    PageSize {
        /// The page size that was given, in bytes.
        found: u64,
    },
    /// Another process has the file open for writing (or, for a writer, open at all).
    Locked,
    /// There are no file locks where the file is, so nothing keeps other processes away from it: [`crate::Options::no_lock`].
    LockUnsupported {
        /// What the system said.
        source: io::Error,
    },
    /// An option that cannot be honoured.
    InvalidOption {
        /// The name of the option.
        option: &'static str,
        /// Why it cannot be honoured.
        why: &'static str,
    },
    /// A key longer than a page of this size can index.
    KeyTooLong {
        /// The length of the key, in bytes.
        len: usize,
        /// The longest key that this database takes, in bytes.
        max: usize,
    },
    /// A value longer than the format can describe.
    ValueTooLong {
        /// The length of the value, in bytes.
        len: u64,
        /// The longest value, in bytes.
        max: u64,
    },
    /// A bucket name that is empty or too long.
    BucketName {
        /// The length of the name, in bytes.
        len: usize,
        /// The longest name, in bytes.
        max: usize,
    },
    /// A bucket of this name exists already.
    BucketExists {
        /// The name.
        name: String,
    },
    /// `append` was given a key that is not greater than the last key.
    KeyOrder,
    /// The database was opened read-only.
    ReadOnly,
    /// The database has reached `Options::max_size`. A few deletes a transaction still have room.
    Full {
        /// The limit, in bytes.
        limit: u64,
    },
    /// The file is damaged: a page fails its checksum or makes no sense.
    Corrupt {
        /// The number of the page.
        page: u64,
        /// What is wrong with it.
        what: &'static str,
    },
    /// The operating system refused.
    Io {
        /// What was being done.
        doing: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// An earlier write or sync of a commit failed, so what the disk holds is unknown: no more writing.
    Failed,
    /// An earlier error left this write transaction incomplete: it can go back to a savepoint from before, or be dropped.
    Broken,
    /// Another transaction has committed a change of what an optimistic one relies on. It may be run again.
    Conflict {
        /// The bucket.
        bucket: String,
        /// The key; `None` if the transaction relies on whether the bucket is there, and that has changed.
        key: Option<Vec<u8>>,
    },
    /// A savepoint that is released, or that the transaction has gone back past, or of another transaction.
    NoSavepoint,
    /// A transaction id that nothing has been committed under yet.
    NotCommitted {
        /// The id.
        id: u64,
        /// The newest transaction that is committed.
        newest: u64,
    },
    /// The write transaction that is running is this thread's own, which was to wait for its end.
    ///
    /// That is certain in the closure of an `exec`, a `batch` or a `nested`. A transaction from `begin_write` may have been sent to another
    /// thread, which shows once that one has called a method of it that takes `&mut self`, or has dropped it. So where this thread has begun the
    /// transaction or used it last, or where the thread that did so has ended, the call first waits a second for that. A transaction that is
    /// this thread's, though it was used last by another thread that lives, is waited for for ever: use it here first.
    WriteTxnOpen,
    /// The database was opened, or the transaction begun, before a `fork`, and is used in the child.
    Forked,
    /// Two snapshots of different databases, where two of one are needed.
    OtherDatabase,
    /// A backup ended because its progress function asked for that. What had been written under a path is gone again.
    Cancelled,
    /// An error of the caller's own, carried through [`crate::Database::exec`] or [`crate::Database::view`].
    Other(Box<dyn error::Error + Send + Sync>),
}

impl Error {
    /// Wraps an error of the caller's own, so that a closure can return it through `exec` or `view`.
    pub fn other(error: impl Into<Box<dyn error::Error + Send + Sync>>) -> Error {
        Error::Other(error.into())
    }

    /// The same error once more, for another of those whom it concerns.
    pub(crate) fn duplicate(&self) -> Error {
        let again = |source: &io::Error| match source.raw_os_error() {
            Some(code) => io::Error::from_raw_os_error(code),
            None => io::Error::new(source.kind(), source.to_string()),
        };
        match *self {
            Error::NotADatabase => Error::NotADatabase,
            Error::Version { found, supported } => Error::Version { found, supported },
            Error::PageSize { found } => Error::PageSize { found },
            Error::Locked => Error::Locked,
            Error::LockUnsupported { ref source } => Error::LockUnsupported { source: again(source) },
            Error::InvalidOption { option, why } => Error::InvalidOption { option, why },
            Error::KeyTooLong { len, max } => Error::KeyTooLong { len, max },
            Error::ValueTooLong { len, max } => Error::ValueTooLong { len, max },
            Error::BucketName { len, max } => Error::BucketName { len, max },
            Error::BucketExists { ref name } => Error::BucketExists { name: name.clone() },
            Error::KeyOrder => Error::KeyOrder,
            Error::ReadOnly => Error::ReadOnly,
            Error::Full { limit } => Error::Full { limit },
            Error::Corrupt { page, what } => Error::Corrupt { page, what },
            Error::Io { doing, ref source } => Error::Io { doing, source: again(source) },
            Error::Failed => Error::Failed,
            Error::Broken => Error::Broken,
            Error::Conflict { ref bucket, ref key } => Error::Conflict { bucket: bucket.clone(), key: key.clone() },
            Error::NoSavepoint => Error::NoSavepoint,
            Error::OtherDatabase => Error::OtherDatabase,
            Error::NotCommitted { id, newest } => Error::NotCommitted { id, newest },
            Error::WriteTxnOpen => Error::WriteTxnOpen,
            Error::Forked => Error::Forked,
            Error::Cancelled => Error::Cancelled,
            Error::Other(ref error) => Error::other(error.to_string()),
        }
    }

    /// For `map_err`: an I/O error with what was being done.
    pub(crate) fn io(doing: &'static str) -> impl FnOnce(io::Error) -> Error {
        move |source| Error::Io { doing, source }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::NotADatabase => write!(f, "not a folio database, or cut short; check the path"),
            Error::Version { found, supported } => write!(
                f,
                "format version {found} found, but this release reads version {supported}; use the release that wrote the file"
            ),
            Error::PageSize { found } => {
                write!(f, "page size {found} is not allowed; use 4096, 8192, 16384, 32768 or 65536")
            }
            Error::Locked => {
                write!(f, "the database is locked by another process; close it there or set a lock timeout")
            }
            Error::LockUnsupported { source } => write!(
                f,
                "files cannot be locked here ({source}); if no other process has this one open, open it with Options::no_lock"
            ),
            Error::InvalidOption { option, why } => write!(f, "option {option}: {why}"),
            Error::KeyTooLong { len, max } => {
                write!(
                    f,
                    "key of {len} bytes is too long; the limit is {max}, and higher in a database of larger pages"
                )
            }
            Error::ValueTooLong { len, max } => write!(f, "value of {len} bytes is too long; the limit is {max}"),
            Error::BucketName { len, max } => {
                write!(f, "bucket name of {len} bytes; a name has 1 to {max} bytes")
            }
            Error::BucketExists { name } => write!(f, "bucket {name:?} exists already; choose another name"),
            Error::KeyOrder => write!(f, "append needs a key greater than the last one; use put"),
            Error::ReadOnly => write!(f, "the database is open read-only; open it for writing"),
            Error::Full { limit } => {
                write!(
                    f,
                    "the database has reached its limit of {limit} bytes; delete ranges, or a little at a time, or raise max_size"
                )
            }
            Error::Corrupt { page, what } => {
                write!(f, "page {page} is corrupt: {what}; run a check and restore from a backup")
            }
            Error::Io { doing, source } => write!(f, "{doing}: {source}"),
            Error::Failed => {
                write!(f, "an earlier commit failed on its way to the disk; open the database anew to write again")
            }
            Error::Broken => write!(
                f,
                "an earlier error left this write transaction incomplete; go back to a savepoint from before it, or drop it"
            ),
            Error::Conflict { bucket, key: None } => {
                write!(f, "conflict: another transaction has created or dropped bucket {bucket:?}; run this one again")
            }
            Error::Conflict { bucket, key: Some(key) } => write!(
                f,
                "conflict: another transaction has changed key \"{}\" of bucket {bucket:?}; run this one again",
                key.escape_ascii()
            ),
            Error::NoSavepoint => write!(
                f,
                "the savepoint is gone: released, rolled back past, or of another transaction; take a new one"
            ),
            Error::NotCommitted { id, newest } => write!(
                f,
                "transaction {id} is not committed, the newest is {newest}; wait for an id that a commit has answered"
            ),
            Error::WriteTxnOpen => {
                write!(
                    f,
                    "this thread seems to have the write transaction that is open; commit or drop it before you wait"
                )
            }
            Error::Forked => write!(f, "the database was opened before a fork; open it anew in the child"),
            Error::OtherDatabase => {
                write!(f, "the two snapshots are of different databases; take both from the same one")
            }
            Error::Cancelled => write!(f, "cancelled half way; start again to have it whole"),
            Error::Other(error) => write!(f, "{error}"),
        }
    }
}

impl error::Error for Error {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        match self {
            Error::Io { source, .. } | Error::LockUnsupported { source } => Some(source),
            Error::Other(error) => error.source(),
            _ => None,
        }
    }
}
