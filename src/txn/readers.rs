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
//! # What the writer looks at
//!
//! Entries lie in blocks, and a block has a mark that says whether it has changed since the writer looked. The writer clears the mark,
//! looks through the block, and remembers which snapshots are pinned there ([`Seen`]); a block without a mark it passes over. So a look
//! costs what has changed, however many readers there are, or once were.
//!
//! A pin is seen. The reader writes its entry, then loads the mark and sets it if it is clear, then loads `current` again; the writer
//! stores `current`, then loads the mark and clears it, then loads the entries. All of these are sequentially consistent, so they
//! happen in one order. If the reader finds `current` as it was, all that it did comes before the writer's store. When it loads the mark it
//! finds it set, or sets it; so whoever clears it does so later, and looks at the entry later still: it finds the pin.
//!
//! That a pin is gone is seen, too. The last to let go stores the entry and then the mark, both releasing. If the writer clears the mark
//! after that store, it sees the entry free; else the mark is set when it looks next. (Where two let go in one block, and the machine shows
//! the stores of different processors in different orders, which x86-64, Arm and RISC-V do not, the writer may take one for pinned until
//! the block changes again. It errs on the safe side.)
//!
//! # How an entry is found
//!
//! Free entries form a list, of which each knows the next. It is kept by plain loads and stores, and so is a guess: where several threads are
//! about it at once it may lead to an entry that is taken, or lose some. Whether an entry is free says the entry alone. Who finds
//! the list at its end, or wrong, looks through the blocks. There a second mark says that a block is full: it is set before the last look
//! for a free entry, and whoever lets go of one clears it after, so that none is lost to both.
//!
//! The entries lie in chunks that double. A chunk is counted (sequentially consistent) before an entry of it is claimed: a reader
//! knows it from the count, or from the list, into which only those lead that know it from the count. So of a chunk that has a pin to be
//! seen the writer finds the count.
//!
//! A pin must not wander: a clone of a read transaction shares its entry and counts itself there, and the entry is free when the last
//! of them is gone.
//!
//! The table has a shard for each of several groups of threads, so that readers on different cores share no cache line.
//!
//! `loom_tests` has a model checker go through all this; `sync` says what that takes.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::atomic::AtomicUsize;

use super::Snapshot;
use super::sync::{AtomicFlags, AtomicU32, AtomicU64, OnceLock, Ordering};
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

/// A part of the table. It never shrinks, and no entry moves.
#[repr(align(128))]
#[derive(Default)]
struct Shard {
    /// The first entry of the list of free ones.
    free: AtomicU32,
    /// How many chunks there are.
    chunk_count: AtomicU32,
    chunks: [OnceLock<Chunk>; CHUNK_COUNT],
}

struct Chunk {
    entries: Box<[Entry]>,
    /// One for each block.
    marks: Box<[AtomicFlags]>,
}

/// A pin.
struct Entry {
    /// The pinned snapshot, or `FREE`.
    txn: AtomicU64,
    /// How many transactions share the pin. Wide enough for all clones that can ever be made and forgotten: were it to wrap, a pin would be
    /// freed under those who hold it. While the entry is free: the next free one, and `LINK`.
    sharers: AtomicU64,
}

/// An entry, and the mark of its block.
#[derive(Clone, Copy)]
struct Marked<'a> {
    entry: &'a Entry,
    mark: &'a AtomicFlags,
}

// As little as can be under loom, which has to try all of it.
const CHUNK_COUNT: usize = if cfg!(all(test, loom)) { 3 } else { 24 };
const FIRST_CHUNK_LEN: u32 = if cfg!(all(test, loom)) { 1 } else { 8 };
const BLOCK_LEN: usize = if cfg!(all(test, loom)) { 2 } else { 512 };

/// An entry that pins nothing. Transaction ids start at 1.
const FREE: u64 = 0;

/// In `sharers`: what it says is where the list goes on.
const LINK: u64 = 1 << 63;

/// The number of an entry says its chunk and its place there, which takes so many bits.
const AT_BITS: u32 = 26;
const _: () =
    assert!((FIRST_CHUNK_LEN as u64) << (CHUNK_COUNT - 1) <= 1 << AT_BITS && CHUNK_COUNT < 1 << (32 - AT_BITS));

/// The end of the list: the number of no entry.
const END: u32 = u32::MAX;

/// Marks of a block: it has changed since the writer looked; nothing was free there, and no one has let go since.
const CHANGED: u32 = 1;
const FULL: u32 = 2;

impl Entry {
    #[inline]
    fn claim(&self, txn: u64) -> bool {
        self.txn.load(Ordering::Relaxed) == FREE
            && self.txn.compare_exchange(FREE, txn, Ordering::SeqCst, Ordering::Relaxed).is_ok()
    }
}

impl Marked<'_> {
    /// The entry has another snapshot. Common is that the writer has not looked since another one had.
    #[inline]
    fn note_pin(self) {
        if self.mark.load(Ordering::SeqCst) & CHANGED == 0 {
            self.mark.fetch_or(CHANGED, Ordering::SeqCst);
        }
    }
}

impl Chunk {
    fn new(number: u32) -> Chunk {
        let len = FIRST_CHUNK_LEN << number;
        let next = |at| if at + 1 < len { (number << AT_BITS) + at + 1 } else { END };
        let entry = |at| Entry { txn: AtomicU64::new(FREE), sharers: AtomicU64::new(LINK | u64::from(next(at))) };
        let marks = (0..(len as usize).div_ceil(BLOCK_LEN)).map(|_| AtomicFlags::new(0));
        Chunk { entries: (0..len).map(entry).collect(), marks: marks.collect() }
    }

    fn block(&self, n: usize) -> &[Entry] {
        let start = n * BLOCK_LEN;
        &self.entries[start..self.entries.len().min(start + BLOCK_LEN)]
    }

    /// Claims an entry in block `n` and returns its place in the chunk.
    fn claim(&self, n: usize, txn: u64) -> Option<usize> {
        let mark = &self.marks[n];
        if mark.load(Ordering::Relaxed) & FULL != 0 {
            return None;
        }
        let search = || Some(n * BLOCK_LEN + self.block(n).iter().position(|entry| entry.claim(txn))?);
        search().or_else(|| {
            mark.fetch_or(FULL, Ordering::AcqRel);
            let found = search()?;
            mark.fetch_and(!FULL, Ordering::AcqRel);
            Some(found)
        })
    }

    /// The snapshots that are pinned in block `n`, ascending.
    fn pins(&self, n: usize) -> Vec<u64> {
        let mut pins = Vec::new();
        for entry in self.block(n) {
            let txn = entry.txn.load(Ordering::SeqCst);
            if txn != FREE && pins.last() != Some(&txn) {
                pins.push(txn);
            }
        }
        pins.sort_unstable();
        pins.dedup();
        pins
    }
}

impl Shard {
    #[inline]
    fn entry(&self, number: u32) -> Option<Marked<'_>> {
        let (chunk, at) = (number >> AT_BITS, (number & ((1 << AT_BITS) - 1)) as usize);
        let chunk = self.chunks.get(chunk as usize)?.get()?;
        Some(Marked { entry: chunk.entries.get(at)?, mark: chunk.marks.get(at / BLOCK_LEN)? })
    }

    /// Finds a free entry and writes `txn` into it.
    #[inline]
    fn claim(&self, txn: u64) -> (u32, Marked<'_>) {
        let number = self.free.load(Ordering::Acquire);
        let (number, marked) = match self.entry(number) {
            Some(marked) if marked.entry.claim(txn) => (number, marked),
            _ => self.claim_slowly(txn),
        };
        self.free.store(marked.entry.sharers.load(Ordering::Relaxed) as u32, Ordering::Release);
        marked.entry.sharers.store(1, Ordering::Relaxed);
        (number, marked)
    }

    #[cold]
    fn claim_slowly(&self, txn: u64) -> (u32, Marked<'_>) {
        loop {
            let count = self.chunk_count.load(Ordering::Acquire);
            for (number, chunk) in (0..).zip(self.chunks(count)) {
                if let Some(at) = (0..chunk.marks.len()).find_map(|n| chunk.claim(n, txn)) {
                    let marked = Marked { entry: &chunk.entries[at], mark: &chunk.marks[at / BLOCK_LEN] };
                    return (number << AT_BITS | at as u32, marked);
                }
            }
            self.grow(count);
        }
    }

    /// Makes a chunk, and counts it.
    fn grow(&self, number: u32) {
        let chunk = self.chunks.get(number as usize).expect("fewer than 130 million readers in a shard");
        chunk.get_or_init(|| Chunk::new(number));
        self.chunk_count.fetch_max(number + 1, Ordering::SeqCst);
    }

    fn chunks(&self, count: u32) -> impl Iterator<Item = &Chunk> {
        self.chunks[..count as usize].iter().map(|chunk| chunk.get().expect("it is counted"))
    }

    fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.chunks(self.chunk_count.load(Ordering::SeqCst)).flat_map(|chunk| chunk.entries.iter())
    }
}

/// What the writer knows of the table since it last looked.
#[derive(Default)]
pub(crate) struct Seen {
    /// By shard, chunk and block: the snapshots that are pinned there, ascending.
    blocks: [Vec<Vec<Vec<u64>>>; SHARD_COUNT],
    /// In how many blocks each is pinned.
    pins: BTreeMap<u64, usize>,
}

impl Seen {
    /// A block pins other snapshots than were `known`.
    fn note(pins: &mut BTreeMap<u64, usize>, known: &mut Vec<u64>, now: Vec<u64>) {
        now.iter().for_each(|&txn| *pins.entry(txn).or_default() += 1);
        for txn in std::mem::replace(known, now) {
            let count = pins.get_mut(&txn).expect("it was counted");
            *count -= 1;
            if *count == 0 {
                pins.remove(&txn);
            }
        }
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
        let (entry, marked) = self.shards[shard].claim(txn);
        loop {
            marked.note_pin();
            let snapshot = self.slots[(txn % 2) as usize].load(txn);
            let now = self.current.load(Ordering::SeqCst);
            if now == txn {
                return (PinIndex { shard: shard as u32, entry }, snapshot);
            }
            txn = now;
            marked.entry.txn.store(txn, Ordering::SeqCst);
        }
    }

    /// One more transaction shares a pin.
    pub(crate) fn share(&self, index: PinIndex) {
        let marked = self.shards[index.shard as usize].entry(index.entry).expect("it was claimed");
        marked.entry.sharers.fetch_add(1, Ordering::Relaxed);
    }

    /// A transaction lets go of its pin.
    #[inline]
    pub(crate) fn unpin(&self, index: PinIndex) {
        let shard = &self.shards[index.shard as usize];
        let Marked { entry, mark } = shard.entry(index.entry).expect("it was claimed");
        // Who finds itself alone is so for good: only a sharer can add another.
        let is_last = entry.sharers.load(Ordering::Acquire) == 1 || entry.sharers.fetch_sub(1, Ordering::AcqRel) == 1;
        if is_last {
            let next = shard.free.load(Ordering::Acquire);
            entry.sharers.store(LINK | u64::from(next), Ordering::Relaxed);
            entry.txn.store(FREE, Ordering::Release);
            mark.store(CHANGED, Ordering::Release);
            shard.free.store(index.entry, Ordering::Release);
        }
    }

    /// The pinned snapshots, and how many read transactions hold each of them. A reader that is just looking for the current
    /// snapshot may show at an older one.
    pub(crate) fn sharers(&self) -> BTreeMap<TxnId, u64> {
        let mut sharers = BTreeMap::new();
        for entry in self.shards.iter().flat_map(Shard::entries) {
            let txn = entry.txn.load(Ordering::SeqCst);
            if txn != FREE {
                // One that is not counted yet still has its link.
                let count = entry.sharers.load(Ordering::Relaxed);
                *sharers.entry(TxnId::new(txn)).or_default() += if count & LINK == 0 { count } else { 1 };
            }
        }
        sharers
    }

    /// The pinned snapshots, ascending. The writer's alone, which keeps what it has seen.
    pub(crate) fn pins(&self, seen: &mut Seen) -> Vec<TxnId> {
        let Seen { blocks, pins } = seen;
        for (shard, known) in self.shards.iter().zip(blocks) {
            for (number, chunk) in shard.chunks(shard.chunk_count.load(Ordering::SeqCst)).enumerate() {
                if number == known.len() {
                    known.push(vec![Vec::new(); chunk.marks.len()]);
                }
                for (n, mark) in chunk.marks.iter().enumerate() {
                    if mark.load(Ordering::SeqCst) & CHANGED != 0 {
                        mark.fetch_and(!CHANGED, Ordering::SeqCst);
                        Seen::note(pins, &mut known[number][n], chunk.pins(n));
                    }
                }
            }
        }
        pins.keys().map(|&txn| TxnId::new(txn)).collect()
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
    fn each_pin_has_an_entry_of_its_own() {
        let shard = Shard::default();
        let numbers: std::collections::BTreeSet<_> = (0..5000).map(|_| shard.claim(9).0).collect();
        assert_eq!(numbers.len(), 5000);
        assert!(numbers.iter().all(|&number| shard.entry(number).is_some()));
        assert_eq!(shard.entries().filter(|entry| entry.txn.load(Ordering::Relaxed) == 9).count(), 5000);
        assert!(shard.entry(END).is_none());
    }

    #[test]
    fn a_released_entry_is_used_again() {
        let readers = Readers::new(&snapshot(1));
        let pins: Vec<_> = (0..100).map(|_| readers.pin(3).0).collect();
        readers.publish(&snapshot(2));
        pins[40..60].iter().for_each(|pin| readers.unpin(*pin));
        let again: Vec<_> = (0..20).map(|_| readers.pin(3).0).collect();
        assert!(again.iter().rev().map(|pin| pin.entry).eq(pins[40..60].iter().map(|pin| pin.entry)), "{again:?}");
        let sharers: Vec<_> = readers.sharers().into_iter().map(|(txn, count)| (txn.get(), count)).collect();
        assert_eq!(sharers, [(1, 80), (2, 20)]);
    }

    fn marks(readers: &Readers, mark: u32) -> usize {
        let chunks = readers.shards.iter().flat_map(|shard| shard.chunks(shard.chunk_count.load(Ordering::SeqCst)));
        chunks.flat_map(|chunk| &chunk.marks).filter(|marks| marks.load(Ordering::SeqCst) & mark != 0).count()
    }

    /// However many readers there are or were, the writer looks through the blocks of those that have come and gone since.
    #[test]
    fn a_look_costs_what_has_changed() {
        let readers = Readers::new(&snapshot(1));
        let mut seen = Seen::default();
        let held: Vec<_> = (0..100_000).map(|n| readers.pin(n % 2).0).collect();
        assert!(marks(&readers, CHANGED) > 100_000 / BLOCK_LEN);
        for txn in 2..100 {
            readers.publish(&snapshot(txn));
            assert_eq!(readers.pins(&mut seen), [TxnId::new(1)]);
            assert_eq!(marks(&readers, CHANGED), 0);
            let (pin, _) = readers.pin(0);
            assert_eq!(marks(&readers, CHANGED), 1);
            assert_eq!(readers.pins(&mut seen), [1, txn].map(TxnId::new));
            readers.unpin(pin);
            assert_eq!(marks(&readers, CHANGED), 1);
        }
        held.into_iter().for_each(|pin| readers.unpin(pin));
        assert_eq!((readers.pins(&mut seen), marks(&readers, CHANGED)), (vec![], 0));
        readers.unpin(readers.pin(0).0);
        assert_eq!(marks(&readers, CHANGED), 1);
    }

    /// Whichever pin is let go of, and however many there are, the next one finds an entry at the first look.
    #[test]
    fn a_free_entry_is_found_at_the_first_look() {
        let readers = Readers::new(&snapshot(1));
        let shard = &readers.shards[0];
        let mut rng = fastrand::Rng::with_seed(1);
        let mut held: Vec<_> = (0..3000).map(|_| readers.pin(0).0).collect();
        let entry_count = shard.entries().count();
        for _ in 0..1000 {
            for _ in 0..rng.usize(1..4) {
                readers.unpin(held.swap_remove(rng.usize(..held.len())));
            }
            while held.len() < 3000 {
                let next = shard.free.load(Ordering::Relaxed);
                held.push(readers.pin(0).0);
                assert_eq!(held[held.len() - 1].entry, next);
            }
        }
        assert_eq!(shard.entries().count(), entry_count);
    }

    /// Where the list has lost entries they are found by a look at the marks of blocks and at the entries of one.
    #[test]
    fn an_entry_that_the_list_has_lost_is_found() {
        let readers = Readers::new(&snapshot(1));
        let shard = &readers.shards[0];
        let mut held: Vec<_> = (0..FIRST_CHUNK_LEN * 255).map(|_| readers.pin(0).0).collect();
        let count = shard.chunk_count.load(Ordering::Relaxed);
        let mut rng = fastrand::Rng::with_seed(2);
        for round in 0..100 {
            let mut gone: Vec<_> = (0..5).map(|_| held.swap_remove(rng.usize(..held.len()))).collect();
            gone.iter().for_each(|&pin| readers.unpin(pin));
            // At its end, or at an entry that is taken.
            shard.free.store(if round % 2 == 0 { END } else { held[0].entry }, Ordering::Relaxed);
            let mut found: Vec<_> = (0..5).map(|_| readers.pin(0).0).collect();
            held.extend(&found);
            gone.sort_by_key(|pin| pin.entry);
            found.sort_by_key(|pin| pin.entry);
            assert!(gone.iter().map(|pin| pin.entry).eq(found.iter().map(|pin| pin.entry)));
            // Those that were looked through in vain are passed over from now on.
            assert!(round == 0 || marks(&readers, FULL) > 0);
        }
        assert_eq!(shard.chunk_count.load(Ordering::Relaxed), count, "no room is made while there is some");
    }

    #[test]
    fn a_pinned_snapshot_is_whole_and_seen_by_the_writer() {
        let readers = Readers::new(&snapshot(1));
        let pinned = [const { std::sync::atomic::AtomicU64::new(0) }; 4];
        std::thread::scope(|scope| {
            for (n, shard) in [0, 1, 2, 2].into_iter().enumerate() {
                let (readers, pinned) = (&readers, &pinned[n]);
                scope.spawn(move || {
                    let mut last = 0;
                    while last < 20_000 {
                        let (pin, seen) = readers.pin(shard);
                        let expected = snapshot(seen.txn.get());
                        assert_eq!(seen.catalog, expected.catalog);
                        assert_eq!((seen.page_count, seen.map), (expected.page_count, expected.map));
                        pinned.store(seen.txn.get(), Ordering::SeqCst);
                        assert!(seen.txn.get() >= last);
                        last = seen.txn.get();
                        pinned.store(0, Ordering::SeqCst);
                        readers.unpin(pin);
                    }
                });
            }
            let mut seen = Seen::default();
            for txn in 2..=20_000 {
                readers.publish(&snapshot(txn));
                let before: Vec<_> = pinned.iter().map(|pinned| pinned.load(Ordering::SeqCst)).collect();
                let pins = readers.pins(&mut seen);
                for (before, pinned) in before.into_iter().zip(&pinned) {
                    // One that was held all the while: no one comes back to a snapshot that is not the current one.
                    let is_held = (1..txn).contains(&before) && pinned.load(Ordering::SeqCst) == before;
                    assert!(!is_held || pins.contains(&TxnId::new(before)));
                }
            }
        });
        assert!(readers.sharers().is_empty() && readers.pins(&mut Seen::default()).is_empty());
    }
}
