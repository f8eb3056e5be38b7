//! Which snapshots are pinned, and how a reader pins the current one without a lock.
//!
//! The protocol. The writer publishes a snapshot by filling the slot that the current one does not use, and then storing
//! its id in `current`. A reader loads `current`, writes that id into an entry of the table, and loads `current` again: if it
//! is the same, the snapshot is pinned; else the entry takes the newer id and the reader looks again. All four accesses are
//! sequentially consistent, so of a reader that writes its entry and a writer that moves on, at least one sees the other:
//! either the writer finds the entry when it looks for pins, or the reader finds that it came too late.
//!
//! A reader goes round again only when a commit came between, so it never waits for a writer that stands still. The fields of a
//! slot are written while a reader may be looking only if `current` has moved on since the reader loaded it, and the
//! acquiring loads of the fields make sure that the reader then sees that.
//!
//! The writer looks through the table entry by entry, so a pin must not wander: a clone of a read transaction shares its entry and
//! counts itself there, and the entry is free when the last of them is gone.
//!
//! The table has a shard for each of several groups of threads, so that readers on different cores share no cache line.
//!
//! `loom_tests` has a model checker go through all this; `sync` says what that takes.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::atomic::AtomicUsize;

use super::Snapshot;
use super::sync::{AtomicU32, AtomicU64, OnceLock, Ordering};
use crate::page::{PageNo, TxnId};
use crate::tree::Tree;

/// How many groups the threads are dealt into.
pub(crate) const SHARD_COUNT: usize = if cfg!(all(test, loom)) { 2 } else { 16 };

/// The shard of the calling thread.
#[inline]
pub(crate) fn shard() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local!(static SHARD: Cell<usize> = const { Cell::new(usize::MAX) });
    SHARD.with(|shard| {
        if shard.get() == usize::MAX {
            shard.set(NEXT.fetch_add(1, Ordering::Relaxed) % SHARD_COUNT);
        }
        shard.get()
    })
}

/// A place in the table of pins.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PinIndex {
    shard: u32,
    entry: u32,
}

/// Shard and entry.
pub(crate) type Place = (u32, u32);

/// Set in the shard of a pin that has a label. Here it takes no room in a read transaction, and beginning one no time.
const LABELLED: u32 = 1 << 31;

impl PinIndex {
    #[inline]
    pub(crate) fn is_labelled(self) -> bool {
        self.shard & LABELLED != 0
    }

    pub(crate) fn labelled(self) -> PinIndex {
        PinIndex { shard: self.shard | LABELLED, ..self }
    }

    /// As the table knows it.
    pub(crate) fn without_label(self) -> PinIndex {
        PinIndex { shard: self.shard & !LABELLED, ..self }
    }

    pub(crate) fn place(self) -> Place {
        (self.without_label().shard, self.entry)
    }
}

/// The current snapshot and the table of pins.
pub(crate) struct Readers {
    current: AtomicU64,
    slots: [Slot; 2],
    shards: [Shard; SHARD_COUNT],
}

/// A snapshot in pieces that can be stored and loaded without a lock.
#[derive(Default)]
struct Slot {
    root: AtomicU64,
    depth: AtomicU64,
    entry_count: AtomicU64,
    page_count: AtomicU64,
    map: AtomicU64,
}

impl Slot {
    fn store(&self, snapshot: &Snapshot) {
        self.root.store(snapshot.catalog.root.get(), Ordering::Release);
        self.depth.store(snapshot.catalog.depth as u64, Ordering::Release);
        self.entry_count.store(snapshot.catalog.entry_count, Ordering::Release);
        self.page_count.store(snapshot.page_count, Ordering::Release);
        self.map.store(snapshot.map as u64, Ordering::Release);
    }

    #[inline]
    fn load(&self, txn: u64) -> Snapshot {
        Snapshot {
            txn: TxnId::new(txn),
            catalog: Tree {
                root: PageNo::new(self.root.load(Ordering::Acquire)),
                depth: self.depth.load(Ordering::Acquire) as usize,
                entry_count: self.entry_count.load(Ordering::Acquire),
            },
            page_count: self.page_count.load(Ordering::Acquire),
            map: self.map.load(Ordering::Acquire) as usize,
        }
    }
}

/// Entries of the table in chunks that double. A shard never shrinks and never moves.
#[repr(align(128))]
#[derive(Default)]
struct Shard {
    /// Where a free entry is likely. Who reads it knows the chunks up to the entry before, and so makes no chunk without knowing
    /// those before it: the writer, who looks through the chunks in order, finds no gap.
    hint: AtomicU32,
    /// Entries from here on were never claimed.
    used: AtomicU32,
    chunks: [OnceLock<Box<[Entry]>>; CHUNK_COUNT],
}

/// A pin.
struct Entry {
    /// The pinned snapshot, or `FREE`.
    txn: AtomicU64,
    /// How many transactions share the pin. Means nothing while the entry is free. Wide enough for all clones that can ever be
    /// made and forgotten: were it to wrap, a pin would be freed under those who hold it.
    sharers: AtomicU64,
}

// As little as can be under loom, which has to try all of it.
const CHUNK_COUNT: usize = if cfg!(all(test, loom)) { 3 } else { 26 };
const FIRST_CHUNK_LEN: u32 = if cfg!(all(test, loom)) { 1 } else { 8 };

/// An entry that pins nothing. Transaction ids start at 1.
const FREE: u64 = 0;

impl Shard {
    /// Chunk and place of an entry.
    #[inline]
    fn locate(entry: u32) -> (usize, usize) {
        let chunk = (entry / FIRST_CHUNK_LEN + 1).ilog2();
        (chunk as usize, (entry - FIRST_CHUNK_LEN * ((1 << chunk) - 1)) as usize)
    }

    #[inline]
    fn entry(&self, entry: u32) -> Option<&Entry> {
        let (chunk, at) = Shard::locate(entry);
        self.chunks.get(chunk)?.get()?.get(at)
    }

    #[inline]
    fn try_claim(&self, entry: u32, txn: u64) -> Option<bool> {
        let place = self.entry(entry)?;
        if entry >= self.used.load(Ordering::SeqCst) {
            // Before the entry is written, so that who looks for pins looks this far.
            self.used.fetch_max(entry + 1, Ordering::SeqCst);
        }
        Some(
            place.txn.load(Ordering::Relaxed) == FREE
                && place.txn.compare_exchange(FREE, txn, Ordering::SeqCst, Ordering::Relaxed).is_ok(),
        )
    }

    /// Finds a free entry and writes `txn` into it.
    #[inline]
    fn claim(&self, txn: u64) -> u32 {
        let hint = self.hint.load(Ordering::Acquire);
        if self.try_claim(hint, txn) == Some(true) {
            self.hint.store(hint + 1, Ordering::Release);
            return hint;
        }
        self.claim_slowly(hint, txn)
    }

    #[cold]
    fn claim_slowly(&self, hint: u32, txn: u64) -> u32 {
        let mut entry = hint;
        loop {
            match self.try_claim(entry, txn) {
                Some(true) => break,
                Some(false) => entry += 1,
                None => match (0..entry).find(|&before| self.try_claim(before, txn) == Some(true)) {
                    Some(before) => {
                        entry = before;
                        break;
                    }
                    None => self.grow(entry),
                },
            }
        }
        self.hint.store(entry + 1, Ordering::Release);
        entry
    }

    /// Makes the chunk of an entry.
    fn grow(&self, entry: u32) {
        let (chunk, _) = Shard::locate(entry);
        let chunk = self.chunks.get(chunk).expect("fewer than 500 million readers in a shard");
        chunk.get_or_init(|| {
            let len = if entry == 0 { FIRST_CHUNK_LEN } else { entry + FIRST_CHUNK_LEN };
            (0..len).map(|_| Entry { txn: AtomicU64::new(FREE), sharers: AtomicU64::new(0) }).collect()
        });
    }

    fn entries(&self) -> impl Iterator<Item = &Entry> {
        let used = self.used.load(Ordering::SeqCst) as usize;
        self.chunks.iter().map_while(OnceLock::get).flat_map(|chunk| chunk.iter()).take(used)
    }

    fn pins(&self) -> impl Iterator<Item = u64> {
        self.entries().map(|entry| entry.txn.load(Ordering::SeqCst)).filter(|&txn| txn != FREE)
    }
}

impl Readers {
    pub(crate) fn new(snapshot: &Snapshot) -> Readers {
        let readers = Readers { current: AtomicU64::new(0), slots: Default::default(), shards: Default::default() };
        for shard in &readers.shards {
            shard.grow(0);
        }
        readers.publish(snapshot);
        readers
    }

    /// Makes a snapshot the current one. The writer's alone; ids must follow each other.
    pub(crate) fn publish(&self, snapshot: &Snapshot) {
        let txn = snapshot.txn.get();
        self.slots[(txn % 2) as usize].store(snapshot);
        self.current.store(txn, Ordering::SeqCst);
    }

    /// The id of the current snapshot.
    pub(crate) fn current(&self) -> TxnId {
        TxnId::new(self.current.load(Ordering::SeqCst))
    }

    /// Pins the current snapshot.
    #[inline]
    pub(crate) fn pin(&self, shard: usize) -> (PinIndex, Snapshot) {
        let mut txn = self.current.load(Ordering::SeqCst);
        let shard_of_thread = &self.shards[shard];
        let index = PinIndex { shard: shard as u32, entry: shard_of_thread.claim(txn) };
        let entry = shard_of_thread.entry(index.entry).expect("it was claimed");
        entry.sharers.store(1, Ordering::Relaxed);
        loop {
            let snapshot = self.slots[(txn % 2) as usize].load(txn);
            let now = self.current.load(Ordering::SeqCst);
            if now == txn {
                return (index, snapshot);
            }
            txn = now;
            entry.txn.store(txn, Ordering::SeqCst);
        }
    }

    /// One more transaction shares a pin.
    pub(crate) fn share(&self, index: PinIndex) {
        let entry = self.shards[index.shard as usize].entry(index.entry).expect("it was claimed");
        entry.sharers.fetch_add(1, Ordering::Relaxed);
    }

    /// A transaction lets go of its pin.
    #[inline]
    pub(crate) fn unpin(&self, index: PinIndex) {
        let shard = &self.shards[index.shard as usize];
        let entry = shard.entry(index.entry).expect("it was claimed");
        // Who finds itself alone is so for good: only a sharer can add another.
        let is_last = entry.sharers.load(Ordering::Acquire) == 1 || entry.sharers.fetch_sub(1, Ordering::AcqRel) == 1;
        if is_last {
            entry.txn.store(FREE, Ordering::Release);
            shard.hint.store(index.entry, Ordering::Release);
        }
    }

    /// The pinned snapshots, and how many read transactions hold each of them. A reader that is just looking for the current
    /// snapshot may show at an older one.
    pub(crate) fn sharers(&self) -> BTreeMap<TxnId, u64> {
        let mut sharers = BTreeMap::new();
        for entry in self.shards.iter().flat_map(Shard::entries) {
            let txn = entry.txn.load(Ordering::SeqCst);
            if txn != FREE {
                // Not counted yet is one.
                *sharers.entry(TxnId::new(txn)).or_default() += entry.sharers.load(Ordering::Relaxed).max(1);
            }
        }
        sharers
    }

    /// The pinned snapshots, ascending, each as often as it is pinned (by transactions that do not share the pin).
    pub(crate) fn pins(&self) -> Vec<TxnId> {
        let mut pins = Vec::new();
        self.shards.iter().flat_map(Shard::pins).for_each(|pin| pins.push(TxnId::new(pin)));
        // Those who came after each other stand behind each other: this sort makes use of it.
        pins.sort();
        pins
    }
}

#[cfg(all(test, loom))]
mod loom_tests;

/// A snapshot whose every field tells its id.
#[cfg(test)]
fn snapshot(txn: u64) -> Snapshot {
    let catalog = Tree { root: PageNo::new(txn * 3), depth: txn as usize % 30, entry_count: txn * 7 };
    Snapshot { txn: TxnId::new(txn), catalog, page_count: txn * 5, map: txn as usize % 40 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_of_chunks_do_not_overlap() {
        let mut seen = std::collections::BTreeSet::new();
        for entry in 0..5000 {
            assert!(seen.insert(Shard::locate(entry)));
        }
        let shard = Shard::default();
        shard.grow(0);
        for expected in 0..5000 {
            assert_eq!(shard.claim(9), expected);
        }
        assert_eq!(shard.pins().count(), 5000);
    }

    #[test]
    fn a_released_entry_is_used_again() {
        let readers = Readers::new(&snapshot(1));
        let pins: Vec<_> = (0..100).map(|_| readers.pin(3).0).collect();
        readers.publish(&snapshot(2));
        pins[40..60].iter().for_each(|pin| readers.unpin(*pin));
        let again: Vec<_> = (0..20).map(|_| readers.pin(3).0).collect();
        assert!(again.iter().all(|pin| pin.entry < 120), "{again:?}");
        let pinned = readers.pins();
        assert_eq!(pinned.iter().filter(|txn| txn.get() == 1).count(), 80);
        assert_eq!(pinned.iter().filter(|txn| txn.get() == 2).count(), 20);
    }

    #[test]
    fn a_pinned_snapshot_is_whole_and_seen_by_the_writer() {
        let readers = Readers::new(&snapshot(1));
        std::thread::scope(|scope| {
            for shard in 0..3 {
                let readers = &readers;
                scope.spawn(move || {
                    let mut last = 0;
                    while last < 20_000 {
                        let (pin, seen) = readers.pin(shard);
                        let expected = snapshot(seen.txn.get());
                        assert_eq!(seen.catalog, expected.catalog);
                        assert_eq!((seen.page_count, seen.map), (expected.page_count, expected.map));
                        assert!(readers.pins().contains(&seen.txn));
                        assert!(seen.txn.get() >= last);
                        last = seen.txn.get();
                        readers.unpin(pin);
                    }
                });
            }
            for txn in 2..=20_000 {
                readers.publish(&snapshot(txn));
            }
        });
        assert!(readers.pins().is_empty());
    }
}
