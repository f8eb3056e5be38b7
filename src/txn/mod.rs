//! Transactions: snapshots that readers pin, one writer that makes the next one, and the commit between.
//!
//! Invariants:
//! - I1: a page that a pinned snapshot, the last durable commit or the current snapshot can reach is never written, but once with
//!   the bytes that it has ([`Store::rewrite`], before the first write after an open).
//! - I2: a published snapshot is whole: its pages are in the store and its map covers them before `publish`.
//! - I3: ids of published snapshots follow each other without a gap.
//! - I4: the meta slot of the last durable commit is never overwritten.
//! - I5: maps are only added; one that a reader uses stays until the database is closed.
//! - I6: after a failed sync or meta write nothing is written any more, except that a slot is voided whose pages the failed sync
//!   may have lost: they are in the page cache and not on the disk, and the next sync would not say so.
//! - I7: the store is never cut below a pinned snapshot or the last durable commit.

pub(crate) mod batch;
pub(crate) mod commit;
pub(crate) mod dirty;
pub(crate) mod durable;
pub(crate) mod extents;
mod free_pages;
mod handoff;
pub(crate) mod labels;
mod numbering;
mod open_buckets;
mod page_set;
mod pending;
mod pieces;
pub(crate) mod read;
pub(crate) mod readers;
pub(crate) mod recover;
pub(crate) mod savepoint;
pub(crate) mod seat;
mod shrink;
pub(crate) mod space;
mod sync;
pub(crate) mod write;
mod written;
mod zone;

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::{Duration, Instant};

use batch::Batches;
use dirty::DirtyPages;
use durable::Durable;
use labels::Labels;
use pending::HeldPages;
use pieces::Pieces;
use readers::{Readers, Seen};
use recover::PassedOver;
use seat::{Lent, Seat, WaitFor, WriterLock};
use space::Space;

use crate::disk::SECTOR_LEN;
use crate::disk::map::{self, ForkGuard, Map, Memory};
use crate::disk::store::Store;
use crate::error::{Error, Result};
use crate::options::{DIRTY_PAGES_MIN, Options, Verify};
use crate::page::large::LargeRef;
use crate::page::meta::{META_LEN, Meta, MetaFields, Trust};
use crate::page::space_log::{self, Extent, PAGE_COUNT_MAX};
use crate::page::{BESIDE_END, PageNo, SLOT_PAGES, TxnId};
use crate::tree::{Pages, Tree};

/// A committed state: which pages there are and where the catalog is, and the map to read them through.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Snapshot {
    pub(crate) txn: TxnId,
    pub(crate) catalog: Tree,
    pub(crate) page_count: u64,
    pub(crate) map: usize,
}

/// What all handles of an open database share.
pub(crate) struct Shared {
    pub(crate) options: Settings,
    pub(crate) database_id: [u8; 16],
    pub(crate) store: Box<dyn Store>,
    maps: Maps,
    pub(crate) readers: Readers,
    pub(crate) labels: Labels,
    pub(crate) durable: Durable,
    writer: WriterLock,
    pub(crate) batches: Batches,
    failed: AtomicBool,
    pub(crate) counters: Counters,
    /// As of the last commit.
    figures: Mutex<Figures>,
    fork_guard: ForkGuard,
    /// The snapshot that was found at open: whatever was born later was born here.
    opened: TxnId,
    /// The newer commit that was found at open, too, and not taken.
    pub(crate) passed_over: Option<PassedOver>,
    /// Dropped last, when the store has let go of the file: it ends the entry in the registry.
    registration: OnceLock<Registration>,
}

/// The options that matter after opening.
#[derive(Clone, Copy)]
pub(crate) struct Settings {
    pub(crate) page_len: usize,
    pub(crate) sync_bytes: u64,
    pub(crate) sync_interval: Option<Duration>,
    pub(crate) dirty_limit: usize,
    /// The most dirty pages within `dirty_limit`.
    pub(crate) dirty_page_max: usize,
    pub(crate) max_size: u64,
    /// The most pages that the file may have within `max_size`.
    pub(crate) page_count_max: u64,
    pub(crate) read_only: bool,
    pub(crate) verify: Verify,
}

/// What the writer knows of its space and its snapshots, for others to look at while it is busy.
#[derive(Clone)]
pub(crate) struct Figures {
    pub(crate) txn: TxnId,
    pub(crate) durable: TxnId,
    /// Its meta, which tells of its free space.
    pub(crate) meta: Arc<Meta>,
    /// `None` until somebody has counted them, or the first write has loaded the free space.
    pub(crate) free_pages: Option<u64>,
    pub(crate) pinned: BTreeMap<TxnId, PinFigures>,
}

/// What there is to know of a pinned snapshot.
#[derive(Clone, Copy)]
pub(crate) struct PinFigures {
    /// When it was committed, or found at open.
    pub(crate) committed: Option<Instant>,
    pub(crate) held: HeldPages,
}

/// What has happened since open.
#[derive(Default)]
pub(crate) struct Counters {
    pub(crate) commits: AtomicU64,
    pub(crate) syncs: AtomicU64,
    pub(crate) bytes_written: AtomicU64,
}

/// The least address space that a map takes, so that small databases grow without a remap. Unit tests are to see remaps.
const RESERVE_MIN: u64 = if cfg!(test) { 1 << 20 } else { 1 << 30 };

impl Shared {
    /// Opens what is in the store.
    pub(crate) fn open(store: Box<dyn Store>, options: &Options) -> Result<Shared> {
        let recovered = recover::recover(&*store, options.previous_snapshot)?;
        let fields = recovered.meta.fields();
        let dirty_limit = options.dirty_limit.max(DIRTY_PAGES_MIN * fields.page_len);
        let settings = Settings {
            page_len: fields.page_len,
            sync_bytes: options.sync_bytes,
            sync_interval: options.sync_interval,
            dirty_limit,
            dirty_page_max: dirty_limit / fields.page_len,
            max_size: options.max_size,
            page_count_max: (options.max_size / fields.page_len as u64).min(PAGE_COUNT_MAX - 1),
            read_only: options.read_only,
            verify: options.verify,
        };
        let snapshot = Snapshot {
            txn: fields.txn,
            catalog: Tree::from_record(&fields.catalog, 0)?,
            page_count: fields.page_count,
            map: 0,
        };
        let (recovered_durable, passed_over) = (recovered.durable, recovered.passed_over);
        let writer = Writer::new(recovered);
        let shared = Shared {
            options: settings,
            database_id: fields.database_id,
            maps: Maps::default(),
            readers: Readers::new(&snapshot),
            labels: Labels::default(),
            durable: Durable::new(recovered_durable),
            failed: AtomicBool::new(false),
            counters: Counters::default(),
            figures: Mutex::new(writer.first_figures()),
            opened: fields.txn,
            passed_over,
            fork_guard: ForkGuard::new().map_err(Error::io("preparing for a fork"))?,
            store,
            writer: WriterLock::new(writer),
            batches: Batches::default(),
            registration: OnceLock::new(),
        };
        shared.map_to(shared.file_len()?)?;
        Ok(shared)
    }

    /// Ties an entry in the registry to the life of this.
    pub(crate) fn register(&self, registration: Registration) {
        self.registration.get_or_init(|| registration);
    }

    pub(crate) fn file_len(&self) -> Result<u64> {
        self.store.len().map_err(Error::io("reading the length of the database"))
    }

    /// Refuses use in a forked child, which shares file and lock with its parent but not the table of pins.
    #[inline]
    pub(crate) fn check_process(&self) -> Result<()> {
        if self.fork_guard.is_intact() { Ok(()) } else { Err(Error::Forked) }
    }

    /// The same for those who are about to write, to whom a system call is nothing: what it tells is certain.
    pub(crate) fn check_writing_process(&self) -> Result<()> {
        if self.fork_guard.is_own_process() { Ok(()) } else { Err(Error::Forked) }
    }

    /// The newest map and its index.
    pub(crate) fn newest_map(&self) -> (usize, &Map) {
        let index = self.maps.newest.load(Ordering::Acquire);
        (index, self.map(index))
    }

    #[inline]
    pub(crate) fn map(&self, index: usize) -> &Map {
        self.maps.maps[index].get().expect("a published map")
    }

    /// Makes the newest map cover a store of `len` bytes, by a new one if need be.
    fn map_to(&self, len: u64) -> Result<()> {
        let page_len = self.options.page_len as u64;
        let count = self.maps.count.load(Ordering::Relaxed);
        if count > 0 {
            let (_, map) = self.newest_map();
            if map.capacity() * page_len >= len {
                map.set_limit(len / page_len);
                return Ok(());
            }
        }
        let reserve = len.saturating_mul(2).max(RESERVE_MIN).next_multiple_of(page_len);
        // With less room to grow where there is less, down to none.
        let smaller = (1..8).map(|n| (reserve >> n).max(len).next_multiple_of(page_len));
        let region = smaller.fold(self.store.region(reserve), |region, len| region.or_else(|_| self.store.region(len)));
        let map = region.and_then(|region| {
            Map::new(region, self.options.page_len, len / page_len, self.options.verify, self.opened)
        });
        let map = map.map_err(Error::io("mapping the database"))?;
        if count > 0 {
            map.inherit(self.newest_map().1);
        }
        // Each map is twice the one before, so they do not run out.
        let full = || Error::io("mapping the database")(std::io::ErrorKind::OutOfMemory.into());
        self.maps.maps.get(count).ok_or_else(full)?.get_or_init(|| map);
        self.maps.newest.store(count, Ordering::Release);
        self.maps.count.store(count + 1, Ordering::Relaxed);
        Ok(())
    }

    /// Lowers every map's limit: the store is about to be cut.
    fn unmap_from(&self, page_count: u64) {
        for map in self.maps.maps.iter().map_while(OnceLock::get) {
            map.set_limit(page_count);
        }
    }

    /// Syncs. If that fails, voids the slot whose pages were to become durable by it (I6).
    fn sync_store(&self, slot_at_risk: Option<usize>) -> Result<()> {
        self.counters.syncs.fetch_add(1, Ordering::Relaxed);
        self.store.sync().map_err(|source| {
            let error = self.fail("syncing the database", source);
            match slot_at_risk.map(|slot| self.void_slot(slot)) {
                // The error to report is the first one.
                None | Some(Ok(()) | Err(_)) => error,
            }
        })
    }

    /// Overwrites the first sector of a meta slot with zeros. No more than that: it comes to the disk whole or not at all, while zeros for
    /// the others might be just what a torn meta lacks. And whatever comes to lie there later, without its first sector it is none.
    fn void_slot(&self, slot: usize) -> Result<()> {
        let at = SLOT_PAGES[slot] * self.options.page_len as u64;
        self.write_store(&[0; SECTOR_LEN], at).map_err(|source| self.fail("voiding a meta slot", source))
    }

    fn write_store(&self, bytes: &[u8], at: u64) -> std::io::Result<()> {
        self.counters.bytes_written.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        self.store.write_at(bytes, at)
    }

    /// Writes a meta into a slot.
    fn write_meta(&self, meta: &Meta, slot: usize) -> Result<()> {
        use zerocopy::IntoBytes;
        let at = SLOT_PAGES[slot] * self.options.page_len as u64;
        self.write_store(meta.as_bytes(), at).map_err(|source| self.fail("writing a meta slot", source))
    }

    /// I6: what the disk holds is unknown from here on.
    fn fail(&self, doing: &'static str, source: std::io::Error) -> Error {
        self.failed.store(true, Ordering::Release);
        Error::Io { doing, source }
    }

    /// Takes the writer's seat; `None` if it is taken and nobody is to be waited for.
    pub(crate) fn lock_writer(&self, wait_for: WaitFor) -> Result<Option<Seat<'_>>> {
        self.check_writing_process()?;
        if self.options.read_only {
            return Err(Error::ReadOnly);
        }
        let Some(seat) = self.writer.lock(wait_for)? else { return Ok(None) };
        if self.failed.load(Ordering::Acquire) { Err(Error::Failed) } else { Ok(Some(seat)) }
    }

    /// A closure that has the write transaction runs on this thread's stack for as long as what this returns lives.
    pub(crate) fn lend_writer(&self) -> Lent<'_> {
        self.writer.lend()
    }

    pub(crate) fn unlock_writer(&self, writer: Box<Writer>) {
        self.writer.unlock(writer);
    }

    /// The snapshots that hold pages back, ascending: those of readers, the last durable one, the current one.
    fn pins(&self, writer: &mut Writer) -> Vec<TxnId> {
        let mut pins = self.readers.pins(&mut writer.seen);
        for pin in [writer.durable, writer.meta.txn()] {
            if let Err(at) = pins.binary_search(&pin) {
                pins.insert(at, pin);
            }
        }
        pins
    }

    fn figures_mut(&self) -> MutexGuard<'_, Figures> {
        // Nothing panics while it is held.
        self.figures.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Figures as of the last commit.
    pub(crate) fn figures(&self) -> Figures {
        self.figures_mut().clone()
    }

    /// The meta of the last commit.
    pub(crate) fn meta(&self) -> Arc<Meta> {
        Arc::clone(&self.figures_mut().meta)
    }

    /// How many pages are free in the snapshot of `txn`, for one who had to count them.
    pub(crate) fn set_free_pages(&self, txn: TxnId, count: u64) {
        let mut figures = self.figures_mut();
        if figures.txn == txn {
            figures.free_pages.get_or_insert(count);
        }
    }

    /// The pages that are pending in the snapshot of `txn`: `None` if that is no longer the current one. While a write transaction
    /// runs, they are not to be known, and there are none.
    pub(crate) fn pending(&self, txn: TxnId) -> Option<Vec<Extent>> {
        let Ok(Some(seat)) = self.writer.lock(WaitFor::Nobody) else { return Some(Vec::new()) };
        let is_current = seat.meta.txn() == txn;
        is_current.then(|| seat.space.as_ref().map_or_else(Vec::new, |space| space.pending.extents().collect()))
    }

    /// Runs `f` while no transaction writes; `None` if one does.
    pub(crate) fn while_nobody_writes<T>(&self, f: impl FnOnce() -> T) -> Option<T> {
        let _seat = self.writer.lock(WaitFor::Nobody).ok().flatten()?;
        Some(f())
    }

    /// Makes everything committed durable.
    pub(crate) fn sync(&self, wait_for: WaitFor) -> Result<()> {
        let Some(mut writer) = self.lock_writer(wait_for)? else { return Ok(()) };
        writer.prepare(self)?;
        writer.make_durable(self)
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        // A relaxed commit becomes durable at close. A caller who must know whether that worked calls `sync` before: there is
        // no one left to tell.
        if !self.options.read_only && self.fork_guard.is_own_process() && !self.failed.load(Ordering::Acquire) {
            let _unheard = self.close();
        }
    }
}

impl Shared {
    fn close(&self) -> Result<()> {
        match self.writer.lock(WaitFor::Nobody)? {
            Some(mut writer) if writer.space.is_some() => {
                writer.make_durable(self)?;
                writer.seal(self)
            }
            _ => Ok(()),
        }
    }
}

/// Every map that there was, the newest last (I5).
struct Maps {
    maps: [OnceLock<Map>; 64],
    newest: AtomicUsize,
    count: AtomicUsize,
}

impl Default for Maps {
    fn default() -> Maps {
        Maps { maps: [const { OnceLock::new() }; 64], newest: AtomicUsize::new(0), count: AtomicUsize::new(0) }
    }
}

/// What only the writer touches.
pub(crate) struct Writer {
    /// The meta of the current snapshot, and the slot that it lies in.
    pub(crate) meta: Box<Meta>,
    slot: usize,
    /// The last durable commit: its slot is left alone (I4).
    pub(crate) durable: TxnId,
    durable_slot: usize,
    /// The file was found like this, and may live in the page cache alone.
    is_recovered: bool,
    /// The other slot holds no commit that came before this one: what lies there was refused, or is damaged.
    is_other_void: bool,
    /// The other slot has the same commit.
    is_sealed: bool,
    /// Loaded by the first write.
    pub(crate) space: Option<Space>,
    dirty: DirtyPages,
    pub(crate) file_len: u64,
    /// The least length that the store has on the disk.
    synced_len: u64,
    /// Up to this page the store was written at least once, as far as is known.
    ready_end: u64,
    /// Bytes written since the last sync.
    unsynced_len: u64,
    /// When the current snapshot last became durable.
    synced_at: Instant,
    /// When snapshots that may still be pinned were committed, and their page counts.
    history: BTreeMap<TxnId, Committed>,
    /// The pins that it knows of.
    seen: Seen,
    /// Where pages in a row are put together to be written, once there were some.
    staging: Option<Memory>,
    pieces: Pieces,
}

#[derive(Clone, Copy)]
struct Committed {
    at: Instant,
    page_count: u64,
}

impl Writer {
    fn new(recovered: recover::Recovered) -> Box<Writer> {
        let fields = recovered.meta.fields();
        let committed = Committed { at: Instant::now(), page_count: fields.page_count };
        Box::new(Writer {
            slot: recovered.slot,
            durable: fields.txn,
            durable_slot: recovered.slot,
            is_recovered: true,
            is_other_void: recovered.is_other_void,
            is_sealed: recovered.is_sealed,
            space: None,
            dirty: DirtyPages::new(fields.page_len),
            file_len: recovered.file_len,
            synced_len: 0,
            ready_end: fields.page_count,
            unsynced_len: 0,
            synced_at: committed.at,
            history: BTreeMap::from([(fields.txn, committed)]),
            seen: Seen::default(),
            staging: None,
            pieces: Pieces::default(),
            meta: recovered.meta,
        })
    }

    /// Makes ready for the first write: what was found in the file is made durable before anything of it is reused, and the
    /// free space is loaded.
    pub(crate) fn prepare(&mut self, shared: &Shared) -> Result<()> {
        if self.is_recovered {
            self.adopt(shared)?;
            self.is_recovered = false;
        }
        if self.space.is_none() {
            self.space = Some(self.load_space(shared)?);
            self.report(shared);
        }
        Ok(())
    }

    /// Makes what recovery found durable, in earnest: after a failed sync the page cache may hold what the disk does not, and believe
    /// it clean. So what is not known to have been synced is written again, the same bytes to the same places.
    fn adopt(&mut self, shared: &Shared) -> Result<()> {
        if self.is_other_void {
            // A transaction with the same id and often the same page numbers comes next. Nothing of it must complete the one that was refused.
            shared.void_slot(1 - self.slot)?;
        }
        let slot_at_risk = match self.meta.trust() {
            Trust::Synced => None,
            Trust::Digest(digest) => {
                for (at, page) in recover::digest_pages(&*shared.store, &self.meta, self.slot, digest)? {
                    shared.store.rewrite(&page, at).map_err(|source| shared.fail("writing pages", source))?;
                    shared.counters.bytes_written.fetch_add(page.len() as u64, Ordering::Relaxed);
                }
                // If this sync fails, the digest tells.
                None
            }
            // Too many pages to write again. If this sync fails, the last durable commit is in the other slot.
            Trust::Boot(_) => Some(self.slot),
        };
        if self.meta.trust() != Trust::Synced {
            shared.sync_store(slot_at_risk)?;
            self.meta.set_trust(Trust::Synced);
        }
        shared.write_meta(&self.meta, self.slot)?;
        shared.sync_store(None)?;
        self.synced_len = self.file_len;
        shared.durable.reach(self.meta.txn());
        Ok(())
    }

    /// Leaves the figures where others can see them. Of the pinned snapshots, only what has changed is said anew.
    fn report(&mut self, shared: &Shared) {
        let Some(space) = &mut self.space else { return };
        let mut changed = space.pending.take_changed();
        changed.insert(self.meta.txn());
        let mut known = shared.figures_mut();
        let mut pinned = std::mem::take(&mut known.pinned);
        for txn in changed {
            let held = space.pending.held_by(txn);
            match self.history.get(&txn) {
                None if held == HeldPages::default() => pinned.remove(&txn),
                committed => pinned.insert(txn, PinFigures { committed: committed.map(|it| it.at), held }),
            };
        }
        let free_pages = Some(space.free_page_count());
        *known = self.figures(free_pages, pinned);
    }

    fn figures(&self, free_pages: Option<u64>, pinned: BTreeMap<TxnId, PinFigures>) -> Figures {
        Figures {
            txn: self.meta.txn(),
            durable: self.durable,
            meta: Arc::new((*self.meta).clone()),
            free_pages,
            pinned,
        }
    }

    /// What is known before the free space is loaded.
    fn first_figures(&self) -> Figures {
        let found = |committed: &Committed| PinFigures { committed: Some(committed.at), held: HeldPages::default() };
        self.figures(None, self.history.iter().map(|(&txn, committed)| (txn, found(committed))).collect())
    }

    /// Frees what waited for snapshots that are no longer pinned.
    fn reclaim(&mut self, shared: &Shared) {
        let pins = shared.pins(self);
        if let Some(space) = &mut self.space {
            for gone in space.reclaim(&pins) {
                self.history.remove(&gone);
            }
        }
    }

    /// Reads the free space out of the file.
    pub(crate) fn load_space(&self, shared: &Shared) -> Result<Space> {
        let (_, map) = shared.newest_map();
        Space::load(&self.meta, PageSource { map, page_count: self.meta.fields().page_count, dirty: None })
    }

    /// Whether the last durable commit, which relaxed ones have left behind, holds back more than there is room for below `max_size`.
    fn is_short_of_room(&self, shared: &Shared) -> bool {
        let Some(space) = &self.space else { return false };
        let fields = self.meta.fields();
        let room = shared.options.page_count_max.saturating_sub(fields.page_count) + space.usable_page_count();
        self.durable != fields.txn && space.pending.held_by(self.durable).own > room
    }

    /// Makes the current snapshot the last durable one, if it is not.
    fn make_durable(&mut self, shared: &Shared) -> Result<()> {
        if self.durable == self.meta.txn() {
            return Ok(());
        }
        shared.sync_store(Some(self.slot))?;
        self.meta.set_trust(Trust::Synced);
        shared.write_meta(&self.meta, self.slot)?;
        shared.sync_store(None)?;
        self.is_durable(shared);
        self.cut_store(shared);
        Ok(())
    }

    /// Cuts free space off the end of the store, if it is more than a step and nothing pinned reaches there (I7).
    fn cut_store(&mut self, shared: &Shared) {
        let page_len = shared.options.page_len as u64;
        let page_count = self.meta.fields().page_count;
        let needed = page_count * page_len;
        if self.file_len - needed <= write::cut_step(needed)
            || self.durable != self.meta.txn()
            || self.history.values().any(|committed| committed.page_count > page_count)
        {
            return;
        }
        shared.unmap_from(page_count);
        // What is durable is so whether or not the file gets shorter; if not now, then after a later commit.
        if shared.store.set_len(needed).is_ok() {
            self.file_len = needed;
            self.synced_len = self.synced_len.min(needed);
            self.ready_end = page_count;
        } else {
            shared.unmap_from(self.file_len / page_len);
        }
    }

    /// Leaves in the other slot a copy of the last meta that says synced. Until then a damaged page of the last commit looks like
    /// a commit that a power cut tore, and the next open would go back to the one before; from then on it is damage.
    fn seal(&mut self, shared: &Shared) -> Result<()> {
        if self.is_sealed {
            return Ok(());
        }
        self.meta.set_trust(Trust::Synced);
        shared.write_meta(&self.meta, 1 - self.durable_slot)?;
        self.is_sealed = true;
        shared.sync_store(None)
    }

    /// The current snapshot has become durable: its slot is the one to keep, and the one before may be let go.
    fn is_durable(&mut self, shared: &Shared) {
        self.keep_slot(shared);
        self.reclaim(shared);
        self.report(shared);
    }

    /// The current snapshot has become the last durable commit.
    fn keep_slot(&mut self, shared: &Shared) {
        self.durable = self.meta.txn();
        self.durable_slot = self.slot;
        self.unsynced_len = 0;
        self.synced_len = self.file_len;
        self.synced_at = Instant::now();
        shared.durable.reach(self.durable);
    }

    /// Whether the options would have the current snapshot made durable, if it is not.
    fn is_sync_due(&self, options: &Settings) -> bool {
        let is_late = |interval| self.synced_at.elapsed() >= interval;
        self.unsynced_len >= options.sync_bytes || options.sync_interval.is_some_and(is_late)
    }
}

/// Where transactions read: a map up to a page count, and the dirty pages of a write transaction.
#[derive(Clone, Copy)]
pub(crate) struct PageSource<'a> {
    pub(crate) map: &'a Map,
    pub(crate) page_count: u64,
    pub(crate) dirty: Option<&'a DirtyPages>,
}

impl<'a> Pages<'a> for PageSource<'a> {
    #[inline]
    fn page(self, no: PageNo) -> Result<&'a [u8]> {
        if no.get() < self.page_count {
            return self.map.page(no);
        }
        self.dirty_page(no)
    }

    fn large(self, large: &LargeRef) -> Result<&'a [u8]> {
        let page_len = self.map.page_len();
        let end = large.page().get().checked_add(large.page_count(page_len));
        if end.is_none_or(|end| end > self.page_count) {
            return Err(Error::Corrupt { page: large.page().get(), what: "a large value past the end" });
        }
        self.map.large(large)
    }

    fn raw(self, extent: Extent) -> Result<&'a [u8]> {
        self.map.raw(extent)
    }

    #[inline(always)]
    fn prefetch<const LINES: usize>(self, no: PageNo, at: usize) {
        match no.as_dirty() {
            None => self.map.prefetch::<LINES>(no, at),
            Some(index) => {
                if let Some(page) = self.dirty.and_then(|dirty| dirty.get(index)) {
                    map::prefetch::<LINES>(page, at);
                }
            }
        }
    }
}

impl<'a> PageSource<'a> {
    /// The page, for one who reads it again and again; `None` if each time is to verify it, or if it is no good.
    #[inline]
    pub(crate) fn keep(self, no: PageNo) -> Option<&'a [u8]> {
        (no.get() < self.page_count && !self.map.verifies_always()).then(|| self.map.page(no).ok())?
    }

    #[cold]
    fn dirty_page(self, no: PageNo) -> Result<&'a [u8]> {
        let page = no.as_dirty().and_then(|index| self.dirty?.get(index));
        page.ok_or(Error::Corrupt { page: no.get(), what: "a page number past the end" })
    }
}

/// Which databases this process has open, so that a second open of a file finds the first, whatever name it uses.
type Registry = Mutex<HashMap<FileId, Weak<Shared>>>;

/// Device and inode: what a file is, whatever it is called.
pub(crate) type FileId = (u64, u64);

pub(crate) fn registry() -> MutexGuard<'static, HashMap<FileId, Weak<Shared>>> {
    static REGISTRY: OnceLock<Registry> = OnceLock::new();
    REGISTRY.get_or_init(Registry::default).lock().unwrap_or_else(PoisonError::into_inner)
}

/// Ends a database's entry in the registry when it is dropped.
pub(crate) struct Registration(pub(crate) FileId);

impl Drop for Registration {
    fn drop(&mut self) {
        registry().remove(&self.0);
    }
}

/// The bytes of a new, empty database.
pub(crate) fn empty_database(page_len: usize) -> Vec<u8> {
    let fields = MetaFields {
        page_len,
        database_id: random_id(),
        txn: TxnId::new(1),
        page_count: BESIDE_END,
        catalog: Tree::EMPTY.to_record(),
        log_head: PageNo::NONE,
        log_count: 0,
        was_as_long: false,
    };
    first_pages(&packed_meta(fields))
}

/// The meta of a file in which nothing is free but the pages beside the slots.
pub(crate) fn packed_meta(fields: MetaFields) -> Box<Meta> {
    let beside = SLOT_PAGES.map(|slot| Extent::new(slot + 1, BESIDE_END / 2 - 1));
    let mut space = Vec::new();
    space_log::push_record(&mut space, fields.txn, &[], &beside);
    Meta::new(fields, Trust::Synced, &space)
}

/// The pages that a file begins with, up to those that lie beside no slot: the meta in both slots, and zeros.
pub(crate) fn first_pages(meta: &Meta) -> Vec<u8> {
    use zerocopy::IntoBytes;
    let page_len = meta.fields().page_len;
    let mut bytes = vec![0; BESIDE_END as usize * page_len];
    for slot in SLOT_PAGES {
        bytes[slot as usize * page_len..][..META_LEN].copy_from_slice(meta.as_bytes());
    }
    bytes
}

/// Sixteen random bytes, from the keys that the standard library takes from the system for its hash maps.
pub(crate) fn random_id() -> [u8; 16] {
    use std::hash::{BuildHasher, RandomState};
    let half = || RandomState::new().hash_one(Instant::now()).to_le_bytes();
    [half(), half()].concat().try_into().expect("two halves of eight bytes")
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::{Shared, WaitFor, empty_database};
    use crate::disk::MemoryStore;
    use crate::{Database, Options, ReadTxn};

    const LAST: u64 = 400;

    /// Commit `n` adds key `n`, of some pages, and writes the key "newest" again.
    fn commit(db: &Database, n: u64) {
        db.exec(|txn| {
            let mut a = txn.bucket_mut("a")?;
            a.put(n.to_be_bytes(), n.to_be_bytes().repeat(1000 + n as usize * 10))?;
            a.put("newest", n.to_be_bytes().repeat(20))
        })
        .unwrap();
    }

    fn assert_as_committed(txn: &ReadTxn) {
        // The empty database is snapshot 1.
        let last = txn.id().get() - 1;
        let a = txn.bucket("a").unwrap().unwrap();
        assert_eq!(a.len(), last + 1);
        assert_eq!(a.get("newest").unwrap(), Some(&last.to_be_bytes().repeat(20)[..]));
        for n in (1..=last).rev().step_by(7) {
            assert_eq!(a.get(n.to_be_bytes()).unwrap(), Some(&n.to_be_bytes().repeat(1000 + n as usize * 10)[..]));
        }
    }

    /// I5: snapshots of every map that there was are read beside a writer that goes on to the next.
    #[test]
    fn maps_change_under_readers() {
        let dir = tempfile::tempdir().unwrap();
        for db in [Database::in_memory(), Options::new().open(dir.path().join("a.folio"))] {
            let db = db.unwrap();
            commit(&db, 1);
            let held = Mutex::new(vec![db.begin_read().unwrap()]);
            std::thread::scope(|scope| {
                for _ in 0..3 {
                    scope.spawn(|| {
                        loop {
                            let newest = db.begin_read().unwrap();
                            assert_as_committed(&newest);
                            let held: Vec<ReadTxn> = held.lock().unwrap().clone();
                            held.iter().for_each(assert_as_committed);
                            if newest.id().get() > LAST {
                                break;
                            }
                        }
                    });
                }
                for n in 2..=LAST {
                    commit(&db, n);
                    let txn = db.begin_read().unwrap();
                    let mut held = held.lock().unwrap();
                    if held.last().is_none_or(|last| last.snapshot.map < txn.snapshot.map) {
                        held.push(txn);
                    }
                }
            });
            assert!(held.lock().unwrap().len() > 2, "the file outgrows a map more than once");
            assert!(db.check().unwrap().is_ok());
        }
    }

    /// The first transaction has the seat and is not ready yet when someone asks: what is known is told at once.
    #[test]
    fn figures_wait_for_no_transaction() {
        let disk = MemoryStore::new().open().unwrap();
        disk.create(&empty_database(4096)).unwrap();
        let shared = Shared::open(Box::new(disk), &Options::new()).unwrap();
        let mut seat = shared.lock_writer(WaitFor::Anybody).unwrap().unwrap();
        let txn = seat.meta.txn();
        let known = || (shared.figures().txn, shared.meta().txn(), shared.figures().free_pages);
        assert_eq!(known(), (txn, txn, None));
        seat.prepare(&shared).unwrap();
        let (.., free_pages) = known();
        assert!(free_pages.is_some_and(|count| count > 0));
        // Who has counted them in the meantime comes too late, or has counted those of another snapshot.
        shared.set_free_pages(txn, 1);
        assert_eq!(known(), (txn, txn, free_pages));
    }
}
