//! Copies of a snapshot, made while readers and writers go on: the pin of the read transaction keeps it whole meanwhile.
//!
//! There are two kinds. `compact` builds every tree anew, packed and in file order; `exact` copies the pages to where they are. Both
//! know all that the meta says before they write the first byte, so both stream to whatever takes bytes, and a file is one such thing:
//! it is written under a temporary name, synced, checked, and then named.

mod compact;
mod exact;

use std::fmt;
use std::fs::File;
use std::io::{self, Write};
use std::ops::ControlFlow;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::audit::ProblemKind;
use crate::bucket::{self, NOT_UTF8};
use crate::disk::file::{self, NewFile};
use crate::error::{Error, Result};
use crate::options::Options;
use crate::page::large::LargeRef;
use crate::page::leaf::{Leaf, Value};
use crate::tree::Tree;
use crate::txn::read::ReadTxn;
use crate::txn::registry;

/// How many bytes are written at a time, and go by between two calls of the progress function.
const STEP_LEN: usize = 1 << 20;

/// How many pages go by between two calls of the progress function while the backup is planned.
const STEP_PAGES: u64 = 1024;

impl ReadTxn {
    /// A copy of this snapshot, to be made: of all that was committed when the transaction began, and nothing of what is since.
    ///
    /// ```
    /// # fn main() -> folio::Result<()> {
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let path = dir.path().join("copy.folio");
    /// # let db = folio::Database::in_memory()?;
    /// # db.exec(|txn| txn.bucket_mut("users")?.put("id:100", "Alice"))?;
    /// db.begin_read()?.backup().to_path(&path)?;
    ///
    /// let copy = folio::Database::open(&path)?;
    /// assert_eq!(copy.begin_read()?.bucket("users")?.unwrap().get("id:100")?, Some(&b"Alice"[..]));
    /// # Ok(())
    /// # }
    /// ```
    pub fn backup(&self) -> Backup<'_> {
        Backup { txn: self, is_exact: false, replace: false, progress: None }
    }
}

/// A copy of a snapshot, to be made. Build it in a chain that begins with [`ReadTxn::backup`] and ends with
/// [`Backup::to_path`] or [`Backup::to_writer`].
///
/// Readers and writers go on while it is made; the read transaction holds back the pages that its snapshot can see until it is
/// dropped. Memory is bounded: some MiB, whatever the size of the database, and for an exact copy what describes its free space.
/// Every page and every large value is verified on the way, whatever [`Options::verify`] says: damage is an error and not
/// copied.
///
/// | | compact, the default | [exact](Backup::exact) |
/// |---|---|---|
/// | pages | packed full, in the order in which a scan reads them | where they are |
/// | free space | none, but for up to 14 pages beside the meta slots | where it is, zeroed |
/// | transaction id | the snapshot's | the snapshot's |
/// | database id | a new one | the same |
///
/// The copy is a database like any other: it can be opened beside its source, also in the same process, and written to.
pub struct Backup<'txn> {
    txn: &'txn ReadTxn,
    is_exact: bool,
    replace: bool,
    progress: Option<Box<ProgressFn<'txn>>>,
}

type ProgressFn<'a> = dyn FnMut(u64, u64) -> ControlFlow<()> + 'a;

impl<'txn> Backup<'txn> {
    /// Whether to copy page by page to the same page numbers, instead of building packed trees. Default: false.
    pub fn exact(mut self, is_exact: bool) -> Backup<'txn> {
        self.is_exact = is_exact;
        self
    }

    /// Whether [`Backup::to_path`] may replace a file. Its owner and its permissions stay. Default: false.
    pub fn replace(mut self, replace: bool) -> Backup<'txn> {
        self.replace = replace;
        self
    }

    /// Calls `progress` now and then with the number of bytes written and the number there will be. Before the first byte, while
    /// the trees are measured, it is called with 0 and the size of the source; and while a finished file is checked, with equal numbers.
    /// When it answers [`ControlFlow::Break`] the backup ends with [`Error::Cancelled`].
    ///
    /// ```
    /// # use std::ops::ControlFlow;
    /// # let db = folio::Database::in_memory()?;
    /// let txn = db.begin_read()?;
    /// let mut copy = Vec::new();
    /// let backup = txn.backup().progress(|done, total| {
    ///     println!("{done} of {total} bytes");
    ///     ControlFlow::Continue(())
    /// });
    /// assert_eq!(backup.to_writer(&mut copy)?, copy.len() as u64);
    /// # Ok::<(), folio::Error>(())
    /// ```
    pub fn progress(mut self, progress: impl FnMut(u64, u64) -> ControlFlow<()> + 'txn) -> Backup<'txn> {
        self.progress = Some(Box::new(progress));
        self
    }

    /// Makes the copy a file, whole and durable or not at all, and answers its length in bytes: it is written beside `path` under a
    /// temporary name, with the permissions of any new file, synced, checked, and then gets its name. After an error the
    /// temporary file is gone. If the process dies it is left, under the name of `path` (or the beginning of that) with `.new-` and some
    /// digits, until the next backup to that path, or the next time that a database there is opened to write.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] if there is a file already that is not [to be replaced](Backup::replace) (an empty one does not count), or one
    /// that is open, such as the source itself under whatever name; or if the system refuses. [`Error::Corrupt`] if the source is
    /// damaged. [`Error::Cancelled`]. [`Error::Forked`].
    pub fn to_path(self, path: impl AsRef<Path>) -> Result<u64> {
        let target = Target::find(path.as_ref(), self.replace)?;
        let new = NewFile::create(&target.path, target.replaced.as_ref());
        let new = new.map_err(Error::io("creating the backup"))?;
        let mut progress = Progress(self.progress);
        let reserve = |len| new.reserve(len).map_err(Error::io("making room for the backup"));
        let len = write(self.txn, self.is_exact, &mut progress, &mut &new.file, reserve)?;
        new.file.sync_all().map_err(Error::io("syncing the backup"))?;
        check(new.temporary_path(), len, &mut progress)?;
        match new.appear(target.replaced.is_some()).map_err(Error::io("naming the backup"))? {
            Some(file) => {
                file::unlock(&file);
                Ok(len)
            }
            None => Err(refused(io::ErrorKind::AlreadyExists, THERE)),
        }
    }

    /// Writes the copy from its first byte to its last, and answers their number. What has been written before an error is no
    /// database.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] if the writer refuses; [`Error::Corrupt`] if the source is damaged; [`Error::Cancelled`]; [`Error::Forked`].
    pub fn to_writer(self, mut writer: impl Write) -> Result<u64> {
        write(self.txn, self.is_exact, &mut Progress(self.progress), &mut writer, |_| Ok(()))
    }
}

impl fmt::Debug for Backup<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Backup { is_exact, replace, .. } = self;
        f.debug_struct("Backup").field("is_exact", is_exact).field("replace", replace).finish_non_exhaustive()
    }
}

fn write(
    txn: &ReadTxn,
    is_exact: bool,
    progress: &mut Progress<'_>,
    writer: &mut dyn Write,
    reserve: impl FnOnce(u64) -> Result<()>,
) -> Result<u64> {
    txn.shared().check_process()?;
    let page_len = txn.shared().options.page_len as u64;
    let mut output = Output { writer, progress, buffer: Vec::new(), done: 0, total: txn.page_count() * page_len };
    output.tell()?;
    if is_exact {
        let plan = exact::Plan::make(txn, &mut output)?;
        reserve(output.total)?;
        plan.write(txn, &mut output)?;
    } else {
        let plan = compact::Plan::make(txn, &mut output)?;
        output.total = plan.page_count * page_len;
        reserve(output.total)?;
        plan.write(txn, &mut output)?;
    }
    output.finish()
}

/// Opens the finished file, and demands that a check of it finds no damage. Where the source deviates from the format, so may the copy.
fn check(path: &Path, len: u64, progress: &mut Progress<'_>) -> Result<()> {
    // Its maker has the lock.
    let copy = Options { lock: false, ..Options::new().read_only(true) }.open(path)?;
    let report = copy.check_until(|_, _| progress.call(len, len))?.ok_or(Error::Cancelled)?;
    match report.problems.iter().find(|problem| problem.kind == ProblemKind::Damage) {
        None => Ok(()),
        Some(problem) => {
            let what = "the finished backup does not pass a check";
            Err(Error::Corrupt { page: problem.page.unwrap_or(0), what })
        }
    }
}

/// Where a backup is to appear.
struct Target {
    path: PathBuf,
    /// The file that it is to replace. Its lock is held, so that nobody opens it meanwhile.
    replaced: Option<File>,
}

impl Drop for Target {
    fn drop(&mut self) {
        self.replaced.iter().for_each(file::unlock);
    }
}

const THERE: &str = "there is a file already; choose another path, or replace it";

impl Target {
    fn find(path: &Path, replace: bool) -> Result<Target> {
        let path = file::resolve(path)?;
        file::remove_leftovers(&path);
        let there = match file::open_regular(&path, true) {
            Ok(there) => there,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Target { path, replaced: None }),
            Err(error) => return Err(Error::io("looking at the place of the backup")(error)),
        };
        let metadata = there.metadata().map_err(Error::io("looking at the place of the backup"))?;
        if registry().contains_key(&(metadata.dev(), metadata.ino())) {
            return Err(refused(io::ErrorKind::InvalidInput, "this process has the file open; choose another path"));
        }
        let is_vacant = file::is_vacant(&there).map_err(Error::io("looking at the place of the backup"))?;
        if !is_vacant && !replace {
            return Err(refused(io::ErrorKind::AlreadyExists, THERE));
        }
        match file::lock(&there, false) {
            // Without locks nobody can have it.
            Ok(()) | Err(Error::LockUnsupported { .. }) => Ok(Target { path, replaced: Some(there) }),
            Err(Error::Locked) => Err(refused(
                io::ErrorKind::WouldBlock,
                "another process has the file open; close it there and try again",
            )),
            Err(error) => Err(error),
        }
    }
}

fn refused(kind: io::ErrorKind, why: &'static str) -> Error {
    Error::io("creating the backup")(io::Error::new(kind, why))
}

/// The caller's progress function, if there is one.
struct Progress<'a>(Option<Box<ProgressFn<'a>>>);

impl Progress<'_> {
    fn call(&mut self, done: u64, total: u64) -> ControlFlow<()> {
        self.0.as_mut().map_or(ControlFlow::Continue(()), |progress| progress(done, total))
    }
}

/// Where the bytes of a backup go.
struct Output<'a, 'p> {
    writer: &'a mut dyn Write,
    progress: &'a mut Progress<'p>,
    /// Bytes on their way to the writer.
    buffer: Vec<u8>,
    /// Bytes that the writer has, and those that it will have.
    done: u64,
    total: u64,
}

impl Output<'_, '_> {
    /// Calls the progress function. An error if it asks for an end.
    fn tell(&mut self) -> Result<()> {
        match self.progress.call(self.done, self.total) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(()) => Err(Error::Cancelled),
        }
    }

    fn write(&mut self, mut bytes: &[u8]) -> Result<()> {
        while !bytes.is_empty() {
            let (now, later) = bytes.split_at(bytes.len().min(STEP_LEN - self.buffer.len()));
            if now.len() == STEP_LEN {
                self.pass_on(now)?;
            } else {
                self.buffer.extend_from_slice(now);
                if self.buffer.len() == STEP_LEN {
                    self.flush()?;
                }
            }
            bytes = later;
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        let mut buffer = std::mem::take(&mut self.buffer);
        self.pass_on(&buffer)?;
        buffer.clear();
        self.buffer = buffer;
        Ok(())
    }

    fn pass_on(&mut self, bytes: &[u8]) -> Result<()> {
        self.writer.write_all(bytes).map_err(Error::io("writing the backup"))?;
        self.done += bytes.len() as u64;
        self.tell()
    }

    /// Hands over what is left, and answers how many bytes there were.
    fn finish(mut self) -> Result<u64> {
        if !self.buffer.is_empty() {
            self.flush()?;
        }
        self.writer.flush().map_err(Error::io("writing the backup"))?;
        assert!(self.done == self.total, "a backup is as long as planned");
        Ok(self.done)
    }
}

/// The buckets that the records in a leaf of the catalog describe.
fn buckets<'a>(leaf: &Leaf<'a>) -> impl Iterator<Item = Result<(&'a [u8], Tree)>> {
    let leaf = *leaf;
    (0..leaf.len()).map(move |i| {
        let (name, record) = match leaf.entry(i)? {
            (name, Value::Inline(record)) => (name, record),
            (name, Value::Large(_)) => (name, &[][..]),
        };
        match std::str::from_utf8(name) {
            Ok(_) => Ok((name, bucket::to_tree(record).map_err(|what| leaf.corrupt(what))?)),
            Err(_) => Err(leaf.corrupt(NOT_UTF8)),
        }
    })
}

/// Whether a large value is what was stored, whatever the options say of verifying.
fn verify_large(large: &LargeRef, value: &[u8]) -> Result<()> {
    match crc32c::crc32c(value) == large.checksum() {
        true => Ok(()),
        false => Err(Error::Corrupt { page: large.page().get(), what: "a large value fails its checksum" }),
    }
}
