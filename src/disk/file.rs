//! A store in a file: positioned writes, `fdatasync`, an advisory lock on the open file.
//!
//! The lock belongs to the open file description (`flock`), so that closing another descriptor of the same file does not
//! drop it, as it would with POSIX record locks. The process that took it releases it by hand, since a process that is being
//! started elsewhere may hold a copy of the descriptor for a moment; a forked child that closes its copy leaves the lock alone.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _, fchown};
use std::path::{Path, PathBuf};

use fs2::FileExt as _;
use memmap2::Advice;

use super::map::{self, Region};
use super::store::Store;
use crate::error::{Error, Result};
use crate::page::{BESIDE_END, PAGE_LEN_MAX, PAGE_LEN_MIN};

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
            unlock(&self.file);
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

/// Where a file comes to be that is made under `path`: at the end of a symbolic link that leads nowhere yet.
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

/// Takes the lock, shared for readers, exclusive for a writer, or answers that it is taken, or that there are none.
pub(crate) fn lock(file: &File, read_only: bool) -> Result<()> {
    loop {
        let locked = if read_only { fs2::FileExt::try_lock_shared(file) } else { file.try_lock_exclusive() };
        let Err(error) = locked else { return Ok(()) };
        match error.raw_os_error() {
            Some(libc::EINTR) => {}
            Some(libc::EWOULDBLOCK) => return Err(Error::Locked),
            // The arguments are right, so whoever says that they are not has no locks.
            Some(libc::ENOLCK | libc::EINVAL) => return Err(Error::LockUnsupported { source: error }),
            _ if error.kind() == io::ErrorKind::Unsupported => return Err(Error::LockUnsupported { source: error }),
            _ => return Err(Error::io("locking the database")(error)),
        }
    }
}

/// Releases the lock. Closing does that, too, but for as long as a process that is being started has a copy of the descriptor.
pub(crate) fn unlock(file: &File) {
    // Where there are no locks, or it fails, closing is all there is.
    let _released = fs2::FileExt::unlock(file);
}

/// Makes a new file appear under `path` with `bytes` in it, whole and durable or not at all. The file comes back open, and locked if
/// that is asked for. `None` if something has come to be there meanwhile.
pub(crate) fn create(path: &Path, bytes: &[u8], takes_lock: bool) -> Result<Option<File>> {
    let new = NewFile::create(path, None).map_err(Error::io("creating the database"))?;
    if takes_lock {
        // It is locked already, where files can be.
        lock(&new.file, false)?;
    }
    new.file.write_all_at(bytes, 0).map_err(Error::io("writing a new database"))?;
    new.file.sync_all().map_err(Error::io("syncing a new database"))?;
    new.appear(false).map_err(Error::io("naming a new database"))
}

/// Makes a [vacant](is_vacant) file into one with `bytes` in it, where it is: it may be mounted, or its directory not be writable. The
/// file comes back, locked if that is asked for. `None` if it is vacant no more, or no longer to be found under `path`.
///
/// First the file gets a length that says that it is unfinished, in one step, and reads as zeros. So whenever this is cut short, the
/// file is vacant still, or some sectors of `bytes` are there. In those of an empty database nothing is not zero but the first sector of
/// each meta slot, and each of the two makes a whole database.
pub(crate) fn fill(path: &Path, file: File, bytes: &[u8], takes_lock: bool) -> Result<Option<File>> {
    if takes_lock {
        lock(&file, false)?;
    }
    let is_there = || Ok(is_at(path, &file)? && is_vacant(&file)?);
    if !is_there().map_err(Error::io("creating the database"))? {
        return Ok(None);
    }
    let filled = file.set_len(unfinished_len(bytes.len() as u64)).and_then(|()| {
        file.write_all_at(bytes, 0)?;
        file.sync_all()?;
        file.set_len(bytes.len() as u64)
    });
    match filled.or_else(|error| file.set_len(0).and(Err(error))) {
        Ok(()) => Ok(Some(file)),
        Err(error) => Err(Error::io("writing a new database")(error)),
    }
}

/// Whether a file is there to be made into a database: empty, as a library for temporary files makes it, or as [`fill`] leaves it that
/// was cut short, with a length that no other file of zeros has.
pub(crate) fn is_vacant(file: &File) -> io::Result<bool> {
    let len = file.metadata()?.len();
    let mut page_lens = (PAGE_LEN_MIN..=PAGE_LEN_MAX).filter(|len| len.is_power_of_two());
    if !page_lens.any(|page_len| len == unfinished_len(BESIDE_END * page_len as u64)) {
        return Ok(len == 0);
    }
    let mut bytes = vec![0; len as usize];
    file.read_exact_at(&mut bytes, 0)?;
    Ok(bytes.iter().all(|&byte| byte == 0))
}

/// The length of a file that is to have `len` bytes, until they are written: an odd one, which is not come by by chance.
fn unfinished_len(len: u64) -> u64 {
    len + 0xf01
}

/// Whether a name leads to this very file.
fn is_at(path: &Path, file: &File) -> io::Result<bool> {
    let there = match fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        there => there?,
    };
    let here = file.metadata()?;
    Ok((here.dev(), here.ino()) == (there.dev(), there.ino()))
}

/// A file that is being made beside the place where it is to appear. It is gone if it is dropped before it has.
///
/// Its temporary name is one that whoever opens the place next knows, so that what a process that died has left there is removed. Who is
/// alive tells the lock, which the maker holds, where files can be locked. One rule sees to it that nobody's file is removed but
/// one's own or a dead one's: to remove a temporary name takes the lock of the file and a look, under the lock, whether the name leads to it.
/// So a maker whose file was taken for dead before it was locked finds that out, and makes another.
pub(crate) struct NewFile {
    // The name goes before the file is closed, which ends the lock.
    temporary: Temporary,
    pub(crate) file: File,
    path: PathBuf,
}

impl NewFile {
    /// Makes it, empty. It has the owner and the permissions of `replaced`, the file whose place it takes, if there is one.
    pub(crate) fn create(path: &Path, replaced: Option<&File>) -> io::Result<NewFile> {
        let (temporary, file) = temporary(path)?;
        let new = NewFile { temporary, file, path: path.to_path_buf() };
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

/// A new file beside `path`, under the first temporary name that nothing has.
fn temporary(path: &Path) -> io::Result<(Temporary, File)> {
    let mut number = 0;
    loop {
        let name = temporary_path(path, number);
        match OpenOptions::new().read(true).write(true).create_new(true).open(&name) {
            Ok(file) if is_claimed(&name, &file)? => return Ok((Temporary(name), file)),
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => number += 1,
        }
    }
}

/// Whether a file that was just made is its maker's own, and not taken for a dead one's meanwhile.
fn is_claimed(name: &Path, file: &File) -> io::Result<bool> {
    match lock(file, false) {
        Ok(()) => is_at(name, file),
        Err(Error::Locked) => Ok(false),
        // Without locks nothing is taken for dead.
        Err(_) => Ok(true),
    }
}

/// How many temporary names are looked at, at least. There are more only where more processes make the same file at once, or where
/// nobody can tell that they are dead.
const LEFTOVERS: u64 = 4;

/// Removes what processes that died have left of files that were to appear under `path`. What cannot be removed is in nobody's way. To be
/// called before the file at `path` is locked, of which one of them may be another name.
pub(crate) fn remove_leftovers(path: &Path) {
    let mut number = 0;
    while remove_leftover(&temporary_path(path, number)).is_ok() || number < LEFTOVERS {
        number += 1;
    }
}

/// An error if there is no such file, or if it cannot be removed.
fn remove_leftover(name: &Path) -> io::Result<()> {
    expect_regular(&fs::symlink_metadata(name)?)?;
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK).open(name)?;
    match lock(&file, false) {
        Ok(()) if is_at(name, &file)? => fs::remove_file(name),
        _ => Ok(()),
    }
}

/// The temporary names of a file that is to appear under `path`. They begin as its own name does, so that it is seen whose they are, and
/// are no longer than any file system takes; the checksum tells apart what begins alike.
fn temporary_path(path: &Path, number: u64) -> PathBuf {
    let name = path.file_name().unwrap_or_default();
    let checksum = crc32c::crc32c(name.as_bytes());
    let mut beginning = name.to_string_lossy().into_owned();
    while beginning.len() > 64 {
        beginning.pop();
    }
    path.with_file_name(format!("{beginning}.new-{checksum:08x}-{number}"))
}

/// Syncs the directory of a file, so that its name is durable, where that is to be had: some network, FUSE and foreign file systems
/// have nothing to do there and say that it cannot be done, and a directory that may be written and not read cannot be opened.
fn sync_directory(path: &Path) -> io::Result<()> {
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    match File::open(parent).and_then(|directory| directory.sync_all()) {
        Err(error) if is_beyond_sync(&error) => Ok(()),
        done => done,
    }
}

fn is_beyond_sync(error: &io::Error) -> bool {
    let is_refused = matches!(error.kind(), io::ErrorKind::Unsupported | io::ErrorKind::PermissionDenied);
    is_refused || matches!(error.raw_os_error(), Some(libc::EINVAL | libc::EBADF))
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

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::thread;

    use super::*;
    use crate::{Database, Options};

    /// eCryptfs takes the fewest bytes for a name.
    const SHORTEST_NAME_MAX: usize = 143;

    #[test]
    fn temporary_names_are_short_and_each_databases_own() {
        let names =
            ["a", &"a".repeat(143), &"a".repeat(254), &"a".repeat(255), &"\u{e4}".repeat(127), &"\u{1d11e}".repeat(63)];
        let mut seen = Vec::new();
        for name in names {
            for number in [0, 1, u64::MAX] {
                let path = temporary_path(&Path::new("dir").join(name), number);
                assert_eq!(path.parent(), Some(Path::new("dir")));
                let temporary = path.file_name().unwrap().to_str().unwrap().to_string();
                assert!(temporary.len() <= SHORTEST_NAME_MAX && temporary.contains(".new-"), "{temporary}");
                assert!(!seen.contains(&temporary) && !names.contains(&&temporary[..]), "{temporary}");
                seen.push(temporary);
            }
        }
    }

    /// The bytes of a new database.
    fn empty_database(page_len: u32) -> Vec<u8> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.folio");
        drop(Options::new().page_size(page_len).open(&path).unwrap());
        fs::read(&path).unwrap()
    }

    fn temporaries(path: &Path) -> Vec<PathBuf> {
        (0..6).map(|number| temporary_path(path, number)).collect()
    }

    /// What is dead goes, wherever among the names it is; what is alive, no file, or somebody else's stays.
    #[test]
    fn leftovers_are_removed_if_they_are_dead() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.folio");
        let names = temporaries(&path);
        let live = NewFile::create(&path, None).unwrap();
        assert_eq!(live.temporary_path(), names[0]);
        fs::write(&names[1], "dead").unwrap();
        fs::create_dir(&names[2]).unwrap();
        symlink("elsewhere", &names[3]).unwrap();
        fs::write(&names[4], "dead, behind others").unwrap();
        let others = [dir.path().join("elsewhere"), temporary_path(&dir.path().join("b.folio"), 0)];
        others.iter().for_each(|other| fs::write(other, "").unwrap());
        drop(Database::open(&path).unwrap());
        let are_there: Vec<bool> = names.iter().map(|name| name.symlink_metadata().is_ok()).collect();
        assert_eq!(are_there, [true, false, true, true, false, false]);
        assert!(others.iter().all(|other| other.exists()));
        drop(live);
        assert!(!names[0].exists());
    }

    /// A file that is being made is its maker's until it appears or is given up, whoever looks for dead ones at whatever moment.
    #[test]
    fn a_live_file_is_never_taken_for_a_leftover() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.folio");
        thread::scope(|scope| {
            let makers: Vec<_> = (0..3)
                .map(|_| {
                    scope.spawn(|| {
                        for _ in 0..500 {
                            let new = NewFile::create(&path, None).unwrap();
                            assert!(is_at(new.temporary_path(), &new.file).unwrap());
                            thread::yield_now();
                            assert!(is_at(new.temporary_path(), &new.file).unwrap());
                        }
                    })
                })
                .collect();
            while !makers.iter().all(|maker| maker.is_finished()) {
                remove_leftovers(&path);
            }
        });
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    /// T4, P1: whatever sectors a power cut has left of a database that was being made in an empty file.
    #[test]
    fn a_database_that_was_cut_short_in_an_empty_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.folio");
        for page_len in [4096, 8192, 16384, 32768, 65536] {
            let bytes = empty_database(page_len);
            let sectors: Vec<&[u8]> = bytes.chunks(512).collect();
            let telling: Vec<usize> = (0..sectors.len()).filter(|&at| sectors[at] != [0; 512]).collect();
            for survivors in 0..1 << telling.len() {
                let mut image = vec![0; unfinished_len(bytes.len() as u64) as usize];
                for (_, &at) in telling.iter().enumerate().filter(|(n, _)| survivors >> n & 1 == 1) {
                    image[at * 512..][..512].copy_from_slice(sectors[at]);
                }
                fs::write(&path, &image).unwrap();
                // Not to be made anew, and so left as it is, unless it is whole.
                let is_whole = Options::new().create(false).read_only(true).open(&path).is_ok();
                assert_eq!((is_whole, fs::read(&path).unwrap() == image), (survivors > 0, true));
                let options = Options::new().page_size(page_len);
                for bucket in ["first", "second"] {
                    let db = options.open(&path).unwrap();
                    db.exec(|txn| txn.bucket_mut(bucket)?.put("k", "v")).unwrap();
                    assert_eq!(db.stats().unwrap().page_size, page_len);
                    assert!(db.check().unwrap().is_ok());
                }
                assert_eq!(options.open(&path).unwrap().begin_read().unwrap().buckets().unwrap(), ["first", "second"]);
            }
        }
        // Zeros of any other length are somebody's file.
        for len in [1, 4096, 65536, unfinished_len(65536) - 1, unfinished_len(65536) + 1] {
            fs::write(&path, vec![0; len as usize]).unwrap();
            assert!(matches!(Database::open(&path), Err(Error::NotADatabase)), "{len} bytes");
        }
    }

    #[test]
    fn a_file_that_cannot_be_filled_is_empty_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.folio");
        fs::write(&path, "").unwrap();
        // A descriptor that can only be read.
        let file = File::open(&path).unwrap();
        assert!(matches!(fill(&path, file, &empty_database(4096), true), Err(Error::Io { .. })));
        assert_eq!(path.metadata().unwrap().len(), 0);
        // One that has another name by now, and one that is not vacant any more.
        let file = open_regular(&path, false).unwrap();
        fs::rename(&path, dir.path().join("b.folio")).unwrap();
        assert!(matches!(fill(&path, file, &empty_database(4096), true), Ok(None)));
        fs::write(&path, "x").unwrap();
        assert!(matches!(fill(&path, open_regular(&path, false).unwrap(), &empty_database(4096), true), Ok(None)));
        assert_eq!(fs::read(&path).unwrap(), b"x");
    }
}
