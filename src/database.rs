//! The public face: open, begin, and what there is to know about a database as a whole.

use std::fmt;
use std::fs::File;
use std::io;
use std::ops::ControlFlow;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use crate::audit::{self, CheckReport};
use crate::disk::MemoryStore;
use crate::disk::file::{self, FileStore};
use crate::disk::store::Store;
use crate::error::{Error, Result};
use crate::inspect::PageMap;
use crate::optimistic::{Isolation, OptimisticTxn};
use crate::options::{Advice, Durability, Options};
use crate::page::meta::Meta;
use crate::page::{SLOT_PAGES, TxnId};
use crate::txn::batch;
use crate::txn::read::ReadTxn;
use crate::txn::readers::{self, SHARD_COUNT};
use crate::txn::recover::{PassedOver, PassedOverReason};
use crate::txn::seat::WaitFor;
use crate::txn::space::Space;
use crate::txn::write::WriteTxn;
use crate::txn::{Figures, Registration, Shared, empty_database, registry};

/// An open database. Cloning it gives another handle to the same one; it can be shared between threads.
///
/// It is closed when the last handle and the last transaction are gone.
#[derive(Clone)]
pub struct Database {
    handles: Arc<[Arc<Handle>; SHARD_COUNT]>,
    read_only: bool,
    durability: Durability,
}

/// How often one who waits for another process tries again.
const LOCK_POLL: Duration = Duration::from_millis(5);

/// How often one who waits for another thread to close the database tries again.
const CLOSE_POLL: Duration = Duration::from_millis(1);

/// A reference to the database of which each group of threads has its own, so that readers on different cores do not
/// contend for one reference count.
#[repr(align(128))]
pub(crate) struct Handle {
    pub(crate) shared: Arc<Shared>,
}

impl Database {
    /// Opens the database at `path`, or creates it, with the default [`Options`].
    ///
    /// This is a safe function, although it maps a file: the crate documentation says on what that rests.
    ///
    /// # Errors
    ///
    /// As [`Options::open`].
    pub fn open(path: impl AsRef<Path>) -> Result<Database> {
        Options::new().open(path)
    }

    /// Opens a new, empty database in memory.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] if there is no memory to map.
    pub fn in_memory() -> Result<Database> {
        Options::new().open_in_memory()
    }

    fn new(shared: Arc<Shared>, options: &Options) -> Database {
        let handles = std::array::from_fn(|_| Arc::new(Handle { shared: Arc::clone(&shared) }));
        Database { handles: Arc::new(handles), read_only: options.read_only, durability: options.durability }
    }

    pub(crate) fn open_with(path: &Path, options: &Options) -> Result<Database> {
        let start = Instant::now();
        loop {
            match Database::try_open(path, options) {
                Err(Error::Locked) if start.elapsed() < options.lock_timeout => {
                    std::thread::sleep(LOCK_POLL.min(options.lock_timeout));
                }
                done => return done,
            }
        }
    }

    /// Opens the file, unless it is locked. All of it under the registry's lock, so that of several threads that open the same
    /// file the first does and the others find it open.
    fn try_open(path: &Path, options: &Options) -> Result<Database> {
        loop {
            if let Some(database) = Database::try_open_once(path, options)? {
                return Ok(database);
            }
            std::thread::sleep(CLOSE_POLL);
        }
    }

    /// `None` while another thread is closing the file, for which it needs the registry.
    fn try_open_once(path: &Path, options: &Options) -> Result<Option<Database>> {
        let mut registry = registry();
        if !options.read_only {
            file::remove_leftovers(&file::resolve(path)?);
        }
        let file = open_or_create(path, options)?;
        let metadata = file.metadata().map_err(Error::io("opening the database"))?;
        let id = (metadata.dev(), metadata.ino());
        match registry.get(&id).map(Weak::upgrade) {
            Some(Some(shared)) => {
                // Before `shared` can be dropped: if it is the last one by then, it needs the registry.
                drop(registry);
                if shared.options.read_only && !options.read_only {
                    let why = "this process has the database open read-only; close it there first";
                    return Err(Error::InvalidOption { option: "read_only", why });
                }
                options.check_agreement(&shared.options)?;
                if options.previous_snapshot && shared.passed_over.is_none_or(|it| it.reason != PassedOverReason::Asked)
                {
                    let why = "this process has the newest snapshot open; close it there first";
                    return Err(Error::InvalidOption { option: "previous_snapshot", why });
                }
                Ok(Some(Database::new(shared, options)))
            }
            Some(None) => Ok(None),
            None => {
                if options.lock {
                    file::lock(&file, options.read_only)?;
                }
                let store = FileStore::new(file, advice(options.advice), options.prefault);
                let shared = Arc::new(Shared::open(Box::new(store), options)?);
                registry.insert(id, Arc::downgrade(&shared));
                shared.register(Registration(id));
                Ok(Some(Database::new(shared, options)))
            }
        }
    }

    pub(crate) fn open_memory(store: &MemoryStore, options: &Options) -> Result<Database> {
        let disk = store.open().ok_or(Error::Locked)?;
        let failed = |doing| Error::io(doing);
        if disk.len().map_err(failed("opening the database"))? == 0 && options.create && !options.read_only {
            let bytes = empty_database(options.page_size as usize);
            disk.create(&bytes).map_err(failed("creating the database"))?;
        }
        Ok(Database::new(Arc::new(Shared::open(Box::new(disk), options)?), options))
    }

    fn shared(&self) -> &Arc<Shared> {
        &self.handles[0].shared
    }

    /// Begins a read transaction on the newest snapshot. Never waits.
    ///
    /// # Errors
    ///
    /// [`Error::Forked`] in a child that was forked after the database was opened.
    #[inline]
    pub fn begin_read(&self) -> Result<ReadTxn> {
        let shard = readers::shard();
        ReadTxn::begin(&self.handles[shard], shard)
    }

    /// Begins a read transaction that [`Database::snapshots`] shows under a label: who it is, for those who look for what makes
    /// the file grow. The clones of it share the label. Takes a lock for a moment, as its end does.
    ///
    /// ```
    /// # let db = folio::Database::in_memory()?;
    /// let export = db.begin_read_labelled("nightly export")?;
    /// let held = &db.snapshots()?[0];
    /// assert_eq!((held.id, held.readers, &held.labels[0].label[..]), (export.id(), 1, "nightly export"));
    /// # Ok::<(), folio::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`Database::begin_read`].
    pub fn begin_read_labelled(&self, label: &str) -> Result<ReadTxn> {
        Ok(self.begin_read()?.labelled(label))
    }

    /// Begins a write transaction. Waits for the one that is running, behind others who wait already.
    ///
    /// A thread that begins a second one while it holds the first waits for itself, for ever; see
    /// [`Database::try_begin_write`]. A transaction may be sent to another thread and go on there.
    ///
    /// # Errors
    ///
    /// [`Error::ReadOnly`], [`Error::Failed`] after a failed sync, [`Error::Forked`] in a forked child; and at the first
    /// write after opening [`Error::Io`] or [`Error::Corrupt`] if the free space cannot be read.
    pub fn begin_write(&self) -> Result<WriteTxn> {
        self.check_writable()?;
        Ok(WriteTxn::begin(self.shared(), WaitFor::Anybody, self.durability)?.expect("waiting ends with a transaction"))
    }

    /// Begins a write transaction if none is running: `None` if one is.
    ///
    /// # Errors
    ///
    /// As [`Database::begin_write`].
    pub fn try_begin_write(&self) -> Result<Option<WriteTxn>> {
        self.check_writable()?;
        WriteTxn::begin(self.shared(), WaitFor::Nobody, self.durability)
    }

    fn check_writable(&self) -> Result<()> {
        if self.read_only { Err(Error::ReadOnly) } else { self.shared().check_process() }
    }

    /// Runs `f` in a read transaction.
    ///
    /// # Errors
    ///
    /// What `f` answers, and what [`Database::begin_read`] does.
    pub fn view<T>(&self, f: impl FnOnce(&ReadTxn) -> Result<T>) -> Result<T> {
        f(&self.begin_read()?)
    }

    /// Runs `f` in a write transaction: commits if it answers `Ok`, aborts if it answers `Err` or panics.
    ///
    /// An error of your own goes through as [`Error::Other`]:
    ///
    /// ```
    /// # let db = folio::Database::in_memory()?;
    /// let result = db.exec(|txn| {
    ///     let count: u32 = "many".parse().map_err(folio::Error::other)?;
    ///     txn.bucket_mut("counts")?.put("users", count.to_be_bytes())
    /// });
    /// assert!(matches!(result, Err(folio::Error::Other(_))));
    /// # Ok::<(), folio::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// What `f` answers, and what [`Database::begin_write`] and [`WriteTxn::commit`] do.
    pub fn exec<T>(&self, f: impl FnOnce(&mut WriteTxn) -> Result<T>) -> Result<T> {
        let mut txn = self.begin_write()?;
        let lent = self.shared().lend_writer();
        let result = f(&mut txn)?;
        drop(lent);
        txn.commit()?;
        Ok(result)
    }

    /// Runs `f` in a write transaction that other threads may share, and returns when it is committed: those that call this at the
    /// same time share one commit, and so one sync. For many threads that each write a little.
    ///
    /// One of the threads runs the closures of all, so they own what they need. Each sees what the ones before it in the same
    /// commit did. One that answers `Err` or panics takes back what it did itself, and nothing else, and it is its own caller that
    /// hears of it. Alone, it is a [`Database::exec`]. Where handles of different durability share a commit, it is durable.
    /// A closure must not begin another write transaction: it would wait for itself.
    ///
    /// ```
    /// # let db = folio::Database::in_memory()?;
    /// std::thread::scope(|scope| {
    ///     for thread in 0..8u8 {
    ///         let db = &db;
    ///         scope.spawn(move || db.batch(move |txn| txn.bucket_mut("hits")?.put([thread], "1")));
    ///     }
    /// });
    /// assert_eq!(db.begin_read()?.bucket("hits")?.expect("just made").len(), 8);
    /// # Ok::<(), folio::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// What `f` answers, once what it has seen is committed. What [`Database::begin_write`] does; and if the commit fails, what
    /// [`WriteTxn::commit`] answers, to all that took part. [`Error::WriteTxnOpen`] in a thread that has a
    /// write transaction open, as far as that can be known, and in a closure of another batch.
    pub fn batch<T: Send + 'static>(&self, f: impl FnOnce(&mut WriteTxn) -> Result<T> + Send + 'static) -> Result<T> {
        self.batch_with_id(f).map(|(done, _)| done)
    }

    pub(crate) fn batch_with_id<T: Send + 'static>(
        &self,
        f: impl FnOnce(&mut WriteTxn) -> Result<T> + Send + 'static,
    ) -> Result<(T, TxnId)> {
        self.check_writable()?;
        batch::batch(self.shared(), self.durability, f)
    }

    /// Begins a transaction that works on a snapshot, waits for no other, and is checked for conflicts when it commits. Serializable.
    ///
    /// ```
    /// # let db = folio::Database::in_memory()?;
    /// # db.exec(|txn| txn.bucket_mut("seats")?.put("12A", "free"))?;
    /// let (mut ann, mut bob) = (db.begin_optimistic()?, db.begin_optimistic()?);
    /// for (txn, name) in [(&mut ann, "Ann"), (&mut bob, "Bob")] {
    ///     let mut seats = txn.bucket_mut("seats")?;
    ///     assert_eq!(seats.get("12A")?, Some(&b"free"[..]));
    ///     seats.put("12A", name)?;
    /// }
    /// ann.commit()?; // the first one wins
    /// assert!(matches!(bob.commit(), Err(folio::Error::Conflict { .. })));
    /// # Ok::<(), folio::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::ReadOnly`], and those of [`Database::begin_read`].
    pub fn begin_optimistic(&self) -> Result<OptimisticTxn> {
        self.begin_optimistic_with(Isolation::Serializable)
    }

    /// As [`Database::begin_optimistic`], with another isolation.
    ///
    /// # Errors
    ///
    /// As [`Database::begin_optimistic`].
    pub fn begin_optimistic_with(&self, isolation: Isolation) -> Result<OptimisticTxn> {
        self.check_writable()?;
        OptimisticTxn::begin(self, isolation)
    }

    /// Runs `f` in an optimistic transaction and commits it. After a conflict it is run again on a newer snapshot, up to `retries` times.
    /// Where many threads change one key all the time, as a counter, each of them may lose often: [`Database::batch`] serves those
    /// in turn.
    ///
    /// ```
    /// # let db = folio::Database::in_memory()?;
    /// std::thread::scope(|scope| {
    ///     for _ in 0..4 {
    ///         scope.spawn(|| {
    ///             db.exec_optimistic(1000, |txn| {
    ///                 let mut counts = txn.bucket_mut("counts")?;
    ///                 let count = counts.get("visits")?.map_or(0, |bytes| bytes[0]);
    ///                 counts.put("visits", [count + 1])
    ///             })
    ///         });
    ///     }
    /// });
    /// assert_eq!(db.begin_read()?.bucket("counts")?.expect("just made").get("visits")?, Some(&[4][..]));
    /// # Ok::<(), folio::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// What `f` answers; [`Error::Conflict`] after the last retry; those of [`Database::begin_optimistic`] and
    /// [`OptimisticTxn::commit`].
    pub fn exec_optimistic<T>(
        &self,
        mut retries: usize,
        mut f: impl FnMut(&mut OptimisticTxn) -> Result<T>,
    ) -> Result<T> {
        loop {
            let mut txn = self.begin_optimistic()?;
            let done = f(&mut txn)?;
            match txn.commit() {
                Ok(_) => return Ok(done),
                Err(Error::Conflict { .. }) if retries > 0 => retries -= 1,
                Err(error) => return Err(error),
            }
        }
    }

    /// Makes every commit durable that was relaxed. Waits for a running write transaction, for ever if it is this thread's. For a
    /// single commit, [`Database::wait_durable`] may have less to do.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] if the sync fails: then the database takes no more writes until it is opened anew. Those of
    /// [`Database::begin_write`].
    pub fn sync(&self) -> Result<()> {
        self.check_writable()?;
        self.shared().sync(WaitFor::Anybody)
    }

    /// The newest transaction that is durable for certain: it and all before it survive a power cut. Takes no lock and waits for nobody.
    ///
    /// What an open has found may be in the page cache alone, if whoever had the file before was killed. Then this is an older
    /// transaction, or 0 where none is known, until the first write transaction, [`Database::sync`] or [`Database::wait_durable`].
    pub fn durable_id(&self) -> TxnId {
        self.shared().durable.id()
    }

    /// The newer commit that the open found and did not take, and why, until the database is closed. After a power cut in the middle of a
    /// commit, or after one that lost relaxed commits, that is as it should be; else it is damage. [`Database::check`] tells, too.
    ///
    /// ```
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let path = dir.path().join("library.folio");
    /// let db = folio::Database::open(&path)?;
    /// if let Some(passed_over) = db.passed_over() {
    ///     eprintln!("{passed_over}"); // transaction 41 was opened, not the newer transaction 42: ...
    /// }
    /// # Ok::<(), folio::Error>(())
    /// ```
    pub fn passed_over(&self) -> Option<PassedOver> {
        self.shared().passed_over
    }

    /// Returns once the transaction `id` is durable, and with it all before it.
    ///
    /// If it is not, and no other thread is at it, this one syncs: everything that is committed by then. Threads that wait at the same
    /// time share one sync. It waits for a running write transaction, but not for one that this thread has, as far as that can be known.
    ///
    /// ```
    /// # use folio::{Durability, Options};
    /// let db = Options::new().durability(Durability::Relaxed).open_in_memory()?;
    /// let id = db.exec(|txn| {
    ///     txn.bucket_mut("orders")?.put("1", "paid")?;
    ///     Ok(txn.id())
    /// })?;
    /// assert!(db.durable_id() < id);
    /// db.wait_durable(id)?; // before the receipt goes out
    /// assert!(db.durable_id() >= id);
    /// # Ok::<(), folio::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::NotCommitted`] if there is no such transaction yet: an id that [`WriteTxn::id`] foretold and that has come to nothing so
    /// far. [`Error::WriteTxnOpen`] if `id` is committed and not durable, and the write transaction that is running is this
    /// thread's. [`Error::Io`] if the sync fails, and
    /// [`Error::Failed`] if it failed in another thread: then what is not durable may never be. Those of [`Database::sync`].
    pub fn wait_durable(&self, id: TxnId) -> Result<()> {
        if self.durable_id() < id {
            self.check_writable()?;
        }
        self.shared().wait_durable(id)
    }

    /// Figures about the database: its file, its pages by state, its pinned snapshots. Does not wait for a running write
    /// transaction, and shows the state before it.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] or [`Error::Corrupt`] if the free space cannot be read, which the first call does if nothing was written yet;
    /// [`Error::Forked`].
    pub fn stats(&self) -> Result<Stats> {
        let shared = self.shared();
        shared.check_process()?;
        let (figures, free_pages) = self.figures()?;
        let sharers = shared.readers.sharers();
        let oldest_pinned = sharers.keys().next().copied();
        let committed = |txn| figures.pinned.get(&txn)?.committed;
        let page_count = figures.meta.fields().page_count;
        let meta_pages = SLOT_PAGES.len() as u64;
        let pending_pages = figures.pinned.values().map(|pin| pin.held.all).sum();
        // What the newest or the last durable snapshot holds back, no reader does.
        let is_readers = |txn: TxnId| txn != figures.txn && txn != figures.durable;
        let readers = figures.pinned.iter().filter(|(txn, _)| is_readers(**txn));
        let held_pages: u64 = readers.map(|(_, pin)| pin.held.all).sum();
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Ok(Stats {
            page_size: shared.options.page_len as u32,
            file_len: shared.file_len()?,
            page_count,
            meta_pages,
            used_pages: page_count - meta_pages - free_pages - pending_pages,
            free_pages,
            pending_pages,
            txn_id: figures.txn,
            durable_id: self.durable_id(),
            passed_over: shared.passed_over,
            pinned_snapshots: sharers.values().sum(),
            oldest_pinned,
            oldest_age: oldest_pinned.and_then(committed).map(|at| at.elapsed()),
            held_bytes: held_pages * shared.options.page_len as u64,
            commits: count(&shared.counters.commits),
            syncs: count(&shared.counters.syncs),
            bytes_written: count(&shared.counters.bytes_written),
        })
    }

    /// The snapshots that read transactions, and optimistic ones, hold, the oldest first: how old each is, how many hold it and under
    /// which labels, and what would become free without them. Does not wait for a running write transaction.
    ///
    /// # Errors
    ///
    /// [`Error::Forked`].
    pub fn snapshots(&self) -> Result<Vec<PinnedSnapshot>> {
        let shared = self.shared();
        shared.check_process()?;
        // Before the readers: of those pinned then, it knows all that are pinned now.
        let figures = shared.figures();
        let mut labels = shared.labels.list().into_iter().peekable();
        let mut snapshots = Vec::new();
        for (id, readers) in shared.readers.sharers() {
            let figure = figures.pinned.get(&id);
            if figure.is_none() && id < figures.txn {
                // A reader that has not found the current snapshot yet.
                continue;
            }
            while labels.next_if(|(txn, _)| *txn < id).is_some() {}
            let labels = std::iter::from_fn(|| labels.next_if(|(txn, _)| *txn == id));
            let labels =
                labels.map(|(_, begun)| ReaderLabel { label: begun.label.to_string(), age: begun.at.elapsed() });
            let is_held_anyway = id == figures.durable || id >= figures.txn;
            let own_pages = figure.filter(|_| !is_held_anyway).map_or(0, |pin| pin.held.own);
            snapshots.push(PinnedSnapshot {
                id,
                // One that the figures do not know yet has just been committed.
                age: figure.and_then(|pin| pin.committed).map_or(Duration::ZERO, |at| at.elapsed()),
                readers,
                held_bytes: own_pages * shared.options.page_len as u64,
                labels: labels.collect(),
            });
        }
        Ok(snapshots)
    }

    /// Checks the whole file: every page's checksum and structure, the order of all keys, every count, and that each page is
    /// exactly one of meta, reachable, free or pending; and what readers pass over: the limits of names, keys and values, unknown flags,
    /// and that the bytes that nothing uses are zero. Readers and writers go on meanwhile, and what they change is not looked at.
    /// Each [`Problem`](crate::Problem) says where it is, and whether it is damage or the data is whole. What follows from a page that
    /// cannot be read is no problem of its own.
    ///
    /// # Errors
    ///
    /// [`Error::Forked`]. What is wrong with the file is in the report.
    pub fn check(&self) -> Result<CheckReport> {
        self.check_with(|_, _| {})
    }

    /// As [`Database::check`], and calls `progress` now and then, and at the end, with the number of pages seen and the number there are.
    ///
    /// # Errors
    ///
    /// As [`Database::check`].
    pub fn check_with(&self, mut progress: impl FnMut(u64, u64)) -> Result<CheckReport> {
        let report = self.check_until(|seen, of| {
            progress(seen, of);
            ControlFlow::Continue(())
        })?;
        Ok(report.expect("nothing puts an end to it"))
    }

    /// As [`Database::check_with`], until `progress` answers that it is enough: then there is no report.
    ///
    /// # Errors
    ///
    /// As [`Database::check`].
    pub fn check_until(&self, progress: impl FnMut(u64, u64) -> ControlFlow<()>) -> Result<Option<CheckReport>> {
        let (txn, meta) = self.newest()?;
        Ok(audit::audit(&txn, &meta, progress))
    }

    /// What every page of the file is used for, by a walk over all trees and the free space. Large values are not read. The
    /// map takes memory for each branch and leaf: some sixtieth of what they take. Does not wait for a running write transaction, and
    /// shows the state before it.
    ///
    /// A page that is damaged, and what only it refers to, is [`PageKind::Unknown`](crate::PageKind::Unknown);
    /// [`Database::check`] says what is wrong.
    ///
    /// # Errors
    ///
    /// [`Error::Forked`].
    pub fn page_map(&self) -> Result<PageMap> {
        let map = self.page_map_until(|_, _| ControlFlow::Continue(()))?;
        Ok(map.expect("nothing puts an end to it"))
    }

    /// As [`Database::page_map`], and calls `progress` as [`Database::check_until`] does: until it answers that it is enough.
    ///
    /// # Errors
    ///
    /// As [`Database::page_map`].
    pub fn page_map_until(&self, progress: impl FnMut(u64, u64) -> ControlFlow<()>) -> Result<Option<PageMap>> {
        loop {
            let (txn, meta) = self.newest()?;
            if let Some(pending) = self.shared().pending(txn.id()) {
                return Ok(audit::page_map(&txn, &meta, &pending, progress));
            }
        }
    }

    /// Figures as of the last commit, and how many pages are free. Until the first write has loaded the free space, the first one who
    /// asks counts them, on a snapshot.
    fn figures(&self) -> Result<(Figures, u64)> {
        loop {
            let figures = self.shared().figures();
            if let Some(free_pages) = figures.free_pages {
                return Ok((figures, free_pages));
            }
            let (txn, meta) = self.newest()?;
            self.shared().set_free_pages(txn.id(), Space::count_free(&meta, txn.source())?);
        }
    }

    /// The newest snapshot and its meta.
    fn newest(&self) -> Result<(ReadTxn, Arc<Meta>)> {
        loop {
            let (txn, meta) = (self.begin_read()?, self.shared().meta());
            // Once more, where a commit came between the two.
            if txn.id() == meta.txn() {
                return Ok((txn, meta));
            }
            std::thread::yield_now();
        }
    }
}

impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Database").field("read_only", &self.read_only).finish_non_exhaustive()
    }
}

fn advice(advice: Advice) -> Option<memmap2::Advice> {
    match advice {
        Advice::Normal => None,
        Advice::Random => Some(memmap2::Advice::Random),
        Advice::Sequential => Some(memmap2::Advice::Sequential),
    }
}

/// Opens the file of a database, made first if it is missing or empty and the options allow it.
fn open_or_create(path: &Path, options: &Options) -> Result<File> {
    let may_create = options.create && !options.read_only;
    loop {
        let found = match file::open(path, options.read_only)? {
            None if !may_create => {
                return Err(Error::io("opening the database")(io::Error::from_raw_os_error(libc::ENOENT)));
            }
            Some(file) if !may_create || !file::is_vacant(&file).map_err(Error::io("opening the database"))? => {
                return Ok(file);
            }
            found => found,
        };
        let bytes = empty_database(options.page_size as usize);
        let made = match found {
            Some(vacant) => file::fill(path, vacant, &bytes, options.lock)?,
            None => file::create(&file::resolve(path)?, &bytes, options.lock)?,
        };
        // If another process makes it first, its file is opened instead.
        if let Some(file) = made {
            return Ok(file);
        }
    }
}

/// Figures about a database. See [`Database::stats`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Stats {
    /// The page size in bytes.
    pub page_size: u32,
    /// The length of the file in bytes, with the room to grow at its end.
    pub file_len: u64,
    /// The number of pages below the end of the newest snapshot.
    pub page_count: u64,
    /// Pages that hold the meta slots: two.
    pub meta_pages: u64,
    /// Pages that the newest snapshot reaches, and those of the space log.
    pub used_pages: u64,
    /// Pages that can be reused now.
    pub free_pages: u64,
    /// Pages that are freed, but held back by a pinned snapshot or the last durable commit.
    pub pending_pages: u64,
    /// The newest snapshot.
    pub txn_id: TxnId,
    /// The newest snapshot that is durable for certain. See [`Database::durable_id`].
    pub durable_id: TxnId,
    /// The newer commit that the open found and did not take. See [`Database::passed_over`].
    pub passed_over: Option<PassedOver>,
    /// The number of read transactions that are open, also where several have pinned one snapshot. [`Database::snapshots`] tells who
    /// they are.
    pub pinned_snapshots: u64,
    /// The oldest snapshot that a read transaction pins.
    pub oldest_pinned: Option<TxnId>,
    /// How long ago that snapshot was committed, or found at open.
    pub oldest_age: Option<Duration>,
    /// Bytes of freed pages that older read transactions hold back, each alone or several together: those whose newest pinned snapshot
    /// is neither the newest nor the last durable one. [`Database::snapshots`] says what each of them holds back alone.
    pub held_bytes: u64,
    /// Commits since open.
    pub commits: u64,
    /// Syncs since open.
    pub syncs: u64,
    /// Bytes written since open.
    pub bytes_written: u64,
}

/// A snapshot that read transactions hold. See [`Database::snapshots`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct PinnedSnapshot {
    /// The transaction that committed it.
    pub id: TxnId,
    /// How long ago it was committed, or found at open.
    pub age: Duration,
    /// How many read transactions hold it, clones included.
    pub readers: u64,
    /// Bytes of freed pages that no other snapshot sees: what would become free if the readers of just this one went. A page
    /// that several snapshots see counts for none of them, until all but one are gone. Nothing counts for the newest snapshot and the
    /// last durable one, which keep their pages with or without readers. As of the last commit; the next write transaction frees
    /// what readers have let go of.
    pub held_bytes: u64,
    /// The labels of those of its read transactions that have one, in the order in which they began.
    pub labels: Vec<ReaderLabel>,
}

/// The label of a read transaction. See [`Database::begin_read_labelled`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ReaderLabel {
    /// What the transaction was called when it began.
    pub label: String,
    /// How long ago it began.
    pub age: Duration,
}
