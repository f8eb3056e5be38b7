//! A store in a file: positioned writes, `fdatasync`, an advisory lock on the open file.
//!
//! The lock belongs to the open file description (`flock`), so that closing another descriptor of the same file does not
//! drop it, as it would with POSIX record locks. The process that took it releases it by hand, since a process that is being
//! started elsewhere may hold a copy of the descriptor for a moment; a forked child that closes its copy leaves the lock alone.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _, fchown};
use std::path::{Path, PathBuf};

use fs2::FileExt as _;
use memmap2::Advice;

use super::map::{self, Region};
use super::store::Store;
use crate::error::{Error, Result};

/// From this length on a write is on its way to the disk at once.
const BULK_LEN: usize = 1 << 20;

/// How many bytes are readied at once.
const READY_LEN: u64 = 16 << 10;

pub(crate) struct FileStore {
    file: File,
    boot_id: Option<[u8; 16]>,
    process: u32,
    advice: Option<Advice>,
    prefault: bool,
}

impl FileStore {
    pub(crate) fn new(file: File, advice: Option<Advice>, prefault: bool) -> FileStore {
        FileStore { file, boot_id: boot_id(), process: std::process::id(), advice, prefault }
    }
}

impl Drop for FileStore {
    fn drop(&mut self) {
        if self.process == std::process::id() {
            // Closing releases it too, if this fails.
            let _released = fs2::FileExt::unlock(&self.file);
        }
    }
}

/// Opens an existing file. `None` if there is none.
pub(crate) fn open(path: &Path, read_only: bool) -> Result<Option<File>> {
    match open_regular(path, read_only) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::io("opening the database")(error)),
    }
}

/// Opens what is a file, and nothing else that has a name.
pub(crate) fn open_regular(path: &Path, read_only: bool) -> io::Result<File> {
    // Looked at before it is opened, since to open a device may do something; and opened without waiting, since it may have
    // become a pipe meanwhile.
    expect_regular(&fs::metadata(path)?)?;
    let file = OpenOptions::new().read(true).write(!read_only).custom_flags(libc::O_NONBLOCK).open(path)?;
    expect_regular(&file.metadata()?)?;
    Ok(file)
}

fn expect_regular(metadata: &Metadata) -> io::Result<()> {
    match (metadata.is_file(), metadata.is_dir()) {
        (true, _) => Ok(()),
        (_, true) => Err(io::Error::from_raw_os_error(libc::EISDIR)),
        _ => Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file")),
    }
}

/// Where a file comes to be that is made under `path`: at the end of a symbolic link that leads nowhere yet, or to an empty file.
pub(crate) fn resolve(path: &Path) -> Result<PathBuf> {
    let mut path = path.to_path_buf();
    for _ in 0..LINKS_MAX {
        let Ok(target) = fs::read_link(&path) else { return Ok(path) };
        path = path.parent().map(|parent| parent.join(&target)).unwrap_or(target);
    }
    Err(Error::io("opening the database")(io::Error::from_raw_os_error(libc::ELOOP)))
}

/// As many links as Linux follows.
const LINKS_MAX: usize = 40;

/// Takes the lock, shared for readers, exclusive for a writer, or answers that it is taken.
pub(crate) fn lock(file: &File, read_only: bool) -> Result<()> {
    let locked = if read_only { fs2::FileExt::try_lock_shared(file) } else { file.try_lock_exclusive() };
    locked.map_err(|error| match error.raw_os_error() == fs2::lock_contended_error().raw_os_error() {
        true => Error::Locked,
        false => Error::io("locking the database")(error),
    })
}

/// Makes a new file appear under `path` with `bytes` in it, whole and durable or not at all. The file comes back open
/// and locked. `None` if something has come to be there meanwhile. An empty file counts as nothing, so that a path made by a
/// temporary-file library can be opened; `empty` is such a file, if there is one.
pub(crate) fn create(path: &Path, bytes: &[u8], empty: Option<&File>) -> Result<Option<File>> {
    let failed = |doing| Error::io(doing);
    if let Some(empty) = empty {
        // Whoever replaces an empty file holds its lock, so that no one replaces what another has put in its place.
        lock(empty, false)?;
        if !is_still_empty(path, empty).map_err(failed("creating the database"))? {
            return Ok(None);
        }
    }
    let new = NewFile::create(path, empty).map_err(failed("creating the database"))?;
    lock(&new.file, false)?;
    new.file.write_all_at(bytes, 0).map_err(failed("writing a new database"))?;
    new.file.sync_all().map_err(failed("syncing a new database"))?;
    new.appear(empty.is_some()).map_err(failed("naming a new database"))
}

/// A file that is being made beside the place where it is to appear. It is gone if it is dropped before it has.
pub(crate) struct NewFile {
    pub(crate) file: File,
    temporary: Temporary,
    path: PathBuf,
}

impl NewFile {
    /// Makes it, empty. It has the owner and the permissions of `replaced`, the file whose place it takes, if there is one.
    pub(crate) fn create(path: &Path, replaced: Option<&File>) -> io::Result<NewFile> {
        let (temporary, file) = temporary(path)?;
        let new = NewFile { file, temporary, path: path.to_path_buf() };
        match replaced {
            Some(replaced) => keep_access(replaced, &new.file).map(|()| new),
            None => Ok(new),
        }
    }

    /// What it is called until it appears.
    pub(crate) fn temporary_path(&self) -> &Path {
        &self.temporary.0
    }

    /// Makes the file `len` bytes long, with blocks on the disk where the file system can.
    pub(crate) fn reserve(&self, len: u64) -> io::Result<()> {
        match map::allocate(&self.file, 0, len) {
            Err(error) if error.kind() == io::ErrorKind::Unsupported => self.file.set_len(len),
            done => done,
        }
    }

    /// Gives it its name, durably, and answers with the file. `None` if something is there that is not to be replaced.
    pub(crate) fn appear(self, replace: bool) -> io::Result<Option<File>> {
        if !appear(&self.temporary.0, &self.path, replace)? {
            return Ok(None);
        }
        sync_directory(&self.path)?;
        Ok(Some(self.file))
    }
}

/// A name that goes with its file when it is dropped, unless the file has another name by then.
struct Temporary(PathBuf);

impl Drop for Temporary {
    fn drop(&mut self) {
        // Not there any more after the file has appeared. Where there is an error, it is already on its way to the caller.
        let _gone = fs::remove_file(&self.0);
    }
}

/// Gives the file that takes the place of another its owner and its permissions.
fn keep_access(replaced: &File, file: &File) -> io::Result<()> {
    let (wanted, had) = (replaced.metadata()?, file.metadata()?);
    if (wanted.uid(), wanted.gid()) != (had.uid(), had.gid()) {
        fchown(file, Some(wanted.uid()), Some(wanted.gid()))?;
    }
    file.set_permissions(wanted.permissions())
}

fn is_still_empty(path: &Path, empty: &File) -> io::Result<bool> {
    let (here, there) = (empty.metadata()?, fs::metadata(path)?);
    Ok((here.dev(), here.ino(), here.len()) == (there.dev(), there.ino(), 0))
}

/// Gives a file its final name. False if that is taken, unless it is to be replaced.
fn appear(temporary: &Path, path: &Path, replace: bool) -> io::Result<bool> {
    if replace {
        fs::rename(temporary, path)?;
        return Ok(true);
    }
    match fs::hard_link(temporary, path) {
        Ok(()) => {
            fs::remove_file(temporary)?;
            Ok(true)
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        // A file system without hard links.
        Err(_) if !path.exists() => {
            fs::rename(temporary, path)?;
            Ok(true)
        }
        Err(error) => Err(error),
    }
}

/// A new file beside `path`, under a name that nothing has.
fn temporary(path: &Path) -> io::Result<(Temporary, File)> {
    use std::hash::{BuildHasher, RandomState};
    loop {
        let mut name = path.file_name().unwrap_or_default().to_os_string();
        name.push(format!(".new-{:016x}", RandomState::new().hash_one(std::process::id())));
        let temporary = path.with_file_name(name);
        match OpenOptions::new().read(true).write(true).create_new(true).open(&temporary) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            opened => return opened.map(|file| (Temporary(temporary), file)),
        }
    }
}

fn sync_directory(path: &Path) -> io::Result<()> {
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    File::open(parent)?.sync_all()
}

impl Store for FileStore {
    fn len(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn read_at(&self, bytes: &mut [u8], at: u64) -> io::Result<()> {
        self.file.read_exact_at(bytes, at)
    }

    fn write_at(&self, bytes: &[u8], at: u64) -> io::Result<()> {
        self.file.write_all_at(bytes, at)?;
        if bytes.len() >= BULK_LEN {
            // The disk works while the next piece is made ready; else it would stand idle until the sync.
            map::begin_writing(&self.file, at, bytes.len() as u64);
        }
        Ok(())
    }

    fn begin_sync(&self, at: u64, len: u64) {
        map::begin_writing(&self.file, at, len);
    }

    fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let before = self.len()?;
        if len <= before {
            return self.file.set_len(len);
        }
        // Blocks are allocated now, so that a full disk is an error here and not a signal at a read.
        match map::allocate(&self.file, before, len) {
            Err(error) if error.kind() == io::ErrorKind::Unsupported => self.file.set_len(len),
            // What was allocated until the disk was full goes back.
            Err(error) => self.file.set_len(before).and(Err(error)),
            Ok(()) => Ok(()),
        }
    }

    fn rewrite(&self, bytes: &[u8], at: u64) -> io::Result<()> {
        self.write_at(bytes, at)
    }

    /// Allocated blocks that were never written are marked so, and the first sync after a write waits for the file system's journal
    /// to say otherwise: twice as long as for a block that is written over. Zeros written ahead pay for many at once.
    fn ready(&self, at: u64, len: u64) -> io::Result<()> {
        // In pieces, so that the cache does not keep it in folios that are large: single pages are to be written there.
        let end = at + len;
        let mut at = at;
        while at < end {
            let piece = (READY_LEN - at % READY_LEN).min(end - at);
            self.file.write_all_at(&[0; READY_LEN as usize][..piece as usize], at)?;
            at += piece;
        }
        Ok(())
    }

    fn region(&self, len: u64) -> io::Result<Region> {
        Region::file(&self.file, len, self.advice, self.prefault)
    }

    fn boot_id(&self) -> Option<[u8; 16]> {
        self.boot_id
    }
}

/// The kernel's boot id. Where there is none, a relaxed commit is lost with the process, never half kept.
fn boot_id() -> Option<[u8; 16]> {
    let text = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    let digits: String = text.chars().filter(char::is_ascii_hexdigit).collect();
    Some(u128::from_str_radix(&digits, 16).ok()?.to_be_bytes())
}
