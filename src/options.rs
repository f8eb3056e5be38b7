//! How a database is opened.

use std::path::Path;
use std::time::Duration;

use crate::database::Database;
use crate::disk::MemoryStore;
use crate::error::{Error, Result};
use crate::txn::Settings;

/// The fewest dirty pages that a write transaction needs room for.
pub(crate) const DIRTY_PAGES_MIN: usize = 64;

/// When a commit counts as done.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub enum Durability {
    /// When it is on the disk: it survives a power cut.
    #[default]
    Durable,
    /// When the operating system has it: it survives the death of the process (on Linux; elsewhere it is lost with a process
    /// that is killed), and a power cut may take it back, together with later ones. What was durable before is never harmed.
    Relaxed,
}

impl Durability {
    /// The one of the two that waits for more.
    pub(crate) fn stricter(self, other: Durability) -> Durability {
        if self == Durability::Durable { self } else { other }
    }
}

/// When the checksum and the structure of a page are checked.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub enum Verify {
    /// The first time that this process reads the page.
    #[default]
    Once,
    /// Each time. Finds damage that happens while the file is open; reads are several times slower.
    Always,
    /// Never. Offsets are still checked on every access: a damaged page gives wrong answers or an error, nothing worse.
    Never,
}

/// How the operating system should expect the file to be read.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub enum Advice {
    /// The system's own read-ahead.
    #[default]
    Normal,
    /// Little or no read-ahead: best for random reads of a file larger than memory.
    Random,
    /// Much read-ahead: best for scans.
    Sequential,
}

/// Options for opening a database. Build them in a chain and end it with [`Options::open`].
///
/// ```
/// # fn main() -> folio::Result<()> {
/// # let dir = tempfile::tempdir().unwrap();
/// # let path = dir.path().join("library.folio");
/// let db = folio::Options::new().page_size(16384).dirty_limit(64 << 20).open(path)?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Options {
    pub(crate) page_size: u32,
    pub(crate) durability: Durability,
    pub(crate) sync_bytes: u64,
    pub(crate) sync_interval: Option<Duration>,
    pub(crate) dirty_limit: usize,
    pub(crate) max_size: u64,
    pub(crate) read_only: bool,
    pub(crate) verify: Verify,
    pub(crate) create: bool,
    pub(crate) advice: Advice,
    pub(crate) prefault: bool,
    pub(crate) lock: bool,
    pub(crate) lock_timeout: Duration,
    pub(crate) previous_snapshot: bool,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            page_size: 4096,
            durability: Durability::Durable,
            sync_bytes: 64 << 20,
            sync_interval: None,
            dirty_limit: 256 << 20,
            max_size: u64::MAX,
            read_only: false,
            verify: Verify::Once,
            create: true,
            advice: Advice::Normal,
            prefault: false,
            lock: true,
            lock_timeout: Duration::ZERO,
            previous_snapshot: false,
        }
    }
}

impl Options {
    /// The defaults.
    pub fn new() -> Options {
        Options::default()
    }

    /// The page size of a new database in bytes: 4096 (the default), 8192, 16384, 32768 or 65536. An existing database keeps
    /// the size that it was created with.
    pub fn page_size(mut self, page_size: u32) -> Options {
        self.page_size = page_size;
        self
    }

    /// What [`crate::WriteTxn::commit`] waits for. Default: [`Durability::Durable`].
    pub fn durability(mut self, durability: Durability) -> Options {
        self.durability = durability;
        self
    }

    /// A relaxed commit that brings the bytes written since the last sync to this number syncs. Default: 64 MiB.
    pub fn sync_bytes(mut self, sync_bytes: u64) -> Options {
        self.sync_bytes = sync_bytes;
        self
    }

    /// A relaxed commit that comes at least this long after the last sync syncs. [`Duration::ZERO`]: every one. Default: only
    /// [`Options::sync_bytes`] counts. There is no background thread: after the last commit of all, [`Database::sync`] syncs, or the
    /// close.
    pub fn sync_interval(mut self, sync_interval: Duration) -> Options {
        self.sync_interval = Some(sync_interval);
        self
    }

    /// How many bytes of changed pages a write transaction keeps in memory before it packs them and, if that is not enough, writes
    /// them to free places in the file. Pages that sorted input has filled are written earlier. The buckets that it has open count, too:
    /// some hundred bytes for each, up to half of the limit. Default: 256 MiB. At least 64 pages.
    pub fn dirty_limit(mut self, dirty_limit: usize) -> Options {
        self.dirty_limit = dirty_limit;
        self
    }

    /// The size in bytes that the file does not grow beyond; one that is larger already is not cut. A transaction that needs more gets
    /// [`Error::Full`]. Some tens of pages are kept back for deletes, which take a page for each one that they change until
    /// they are committed: so delete from a full database in ranges, or in small transactions. Default: no limit. At least 64 pages.
    pub fn max_size(mut self, max_size: u64) -> Options {
        self.max_size = max_size;
        self
    }

    /// Opens without writing anything: no change of content, length or times. Several processes may have a database open
    /// read-only, as long as none has it open for writing. Default: false.
    pub fn read_only(mut self, read_only: bool) -> Options {
        self.read_only = read_only;
        self
    }

    /// When pages are checked. Default: [`Verify::Once`].
    pub fn verify(mut self, verify: Verify) -> Options {
        self.verify = verify;
        self
    }

    /// Whether a missing file is created. Default: true.
    pub fn create(mut self, create: bool) -> Options {
        self.create = create;
        self
    }

    /// What to tell the operating system about reading. Default: [`Advice::Normal`].
    pub fn advice(mut self, advice: Advice) -> Options {
        self.advice = advice;
        self
    }

    /// Whether to start reading the whole file into memory at open. Default: false.
    pub fn prefault(mut self, prefault: bool) -> Options {
        self.prefault = prefault;
        self
    }

    /// Opens without the lock that keeps other processes away from the file: for file systems that have none, as some network and FUSE file
    /// systems, where opening is [`Error::LockUnsupported`] otherwise. LMDB calls it `MDB_NOLOCK`. Threads of one process need no lock:
    /// they share one database as ever.
    ///
    /// # Safety
    ///
    /// For as long as the database is open to write no other process may have it open, and for as long as it is open to read only no other
    /// process may have it open to write. If one has, borrowed slices change while they are held, commits get lost, and the file gets
    /// damaged. The crate documentation says why that matters.
    #[allow(unsafe_code)] // It does nothing unsafe; what it asks of the caller is all there is to it.
    pub unsafe fn no_lock(mut self) -> Options {
        self.lock = false;
        self
    }

    /// How long to wait for another process to close the database before [`Error::Locked`]. Default: not at all.
    pub fn lock_timeout(mut self, lock_timeout: Duration) -> Options {
        self.lock_timeout = lock_timeout;
        self
    }

    /// Opens the commit before the newest one, where the newest is damaged: to save what can be saved. As `MDB_PREVSNAPSHOT` does in LMDB.
    /// Default: false.
    ///
    /// The file has the commit before until the next one takes its place; a database that was closed has none. Pages of it may have
    /// been reused by a commit that a crash cut short: to read one of those is [`Error::Corrupt`]. The first write after such an open makes the
    /// newest commit unreadable for good, so best open read-only and make a [backup](crate::ReadTxn::backup).
    pub fn previous_snapshot(mut self, previous_snapshot: bool) -> Options {
        self.previous_snapshot = previous_snapshot;
        self
    }

    /// Opens the database at `path`.
    ///
    /// If this process has the file open already, under whatever name, the same database comes back. Durability and `read_only`
    /// are those of each handle; of the others those count that it was first opened with.
    ///
    /// # Errors
    ///
    /// [`Error::NotADatabase`], [`Error::Version`], [`Error::Corrupt`]: the file is something else, too new, or damaged
    /// beyond recovery; it is left untouched. [`Error::Locked`]: another process has it. [`Error::LockUnsupported`]: there are no locks where it is. [`Error::PageSize`],
    /// [`Error::InvalidOption`]: an option that cannot be, or that this process has opened the database without. [`Error::Io`]: the system refused.
    pub fn open(&self, path: impl AsRef<Path>) -> Result<Database> {
        self.check()?;
        Database::open_with(path.as_ref(), self)
    }

    /// Opens a new, empty database that lives in memory and is gone with its last handle.
    ///
    /// # Errors
    ///
    /// As [`Options::open`], where they apply.
    pub fn open_in_memory(&self) -> Result<Database> {
        self.open_store(&MemoryStore::new())
    }

    /// Opens the database on a disk in memory, or creates it there if the disk is empty.
    ///
    /// # Errors
    ///
    /// As [`Options::open`]; [`Error::Locked`] if another database has the disk.
    pub fn open_store(&self, store: &MemoryStore) -> Result<Database> {
        self.check()?;
        Database::open_memory(store, self)
    }

    /// Whether a database that is open with `others` is what these ask for. Defaults ask for nothing.
    pub(crate) fn check_agreement(&self, others: &Settings) -> Result<()> {
        let defaults = Options::new();
        let dirty_limit = self.dirty_limit.max(DIRTY_PAGES_MIN * others.page_len);
        let agrees = [
            ("max_size", [defaults.max_size, others.max_size].contains(&self.max_size)),
            ("sync_interval", [defaults.sync_interval, others.sync_interval].contains(&self.sync_interval)),
            ("sync_bytes", [defaults.sync_bytes, others.sync_bytes].contains(&self.sync_bytes)),
            ("dirty_limit", self.dirty_limit == defaults.dirty_limit || dirty_limit == others.dirty_limit),
            ("verify", [defaults.verify, others.verify].contains(&self.verify)),
        ];
        let why =
            "this process has the database open with another value; leave the option out, or close the database first";
        match agrees.into_iter().find(|(_, agrees)| !agrees) {
            Some((option, _)) => Err(Error::InvalidOption { option, why }),
            None => Ok(()),
        }
    }

    fn check(&self) -> Result<()> {
        let page_len = crate::page::meta::check_page_len(u64::from(self.page_size))?;
        let invalid = |option, why| Err(Error::InvalidOption { option, why });
        if self.dirty_limit < DIRTY_PAGES_MIN * page_len {
            return invalid("dirty_limit", "give it room for 64 pages at least: 256 KiB at pages of 4 KiB");
        }
        if self.max_size < 64 * page_len as u64 {
            return invalid("max_size", "give it room for 64 pages at least: 256 KiB at pages of 4 KiB");
        }
        Ok(())
    }
}
