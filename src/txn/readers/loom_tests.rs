//! The protocol under the model checker loom: two readers and a writer, in every order of their steps up to a number of
//! preemptions.
//!
//! Each snapshot has one page, and the writer uses it again as soon as the snapshot is neither current nor pinned (I1). So a pin
//! that it misses shows as a page that is not what it was. A reader leaves a mark in a page that it has read. If the
//! writer may come to use the page again without seeing the mark, then the read and the write race.

use loom::thread;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use super::*;

/// Runs `f` in every order and says in how many.
fn explore(preemptions: usize, f: impl Fn() + Send + Sync + 'static) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound.get_or_insert(preemptions);
    model.max_branches = 10_000;
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    let start = std::time::Instant::now();
    model.check(move || {
        counted.fetch_add(1, Ordering::Relaxed);
        f();
    });
    println!("{} orders in {:.1?}", count.load(Ordering::Relaxed), start.elapsed());
}

/// The page of one snapshot.
#[derive(Default)]
struct Page {
    /// The snapshot, or 0.
    txn: AtomicU64,
    marks: AtomicU64,
    /// The marks, known to all at once.
    marks_made: std::sync::atomic::AtomicU64,
}

struct World {
    readers: Readers,
    pages: [Page; 5],
}

impl World {
    fn new() -> Arc<World> {
        let world = World { readers: Readers::new(&snapshot(1)), pages: Default::default() };
        world.pages[1].txn.store(1, Ordering::Relaxed);
        Arc::new(world)
    }

    fn pin(&self, shard: usize) -> (PinIndex, u64) {
        let (pin, seen) = self.readers.pin(shard);
        let expected = snapshot(seen.txn.get());
        assert_eq!((seen.catalog, seen.page_count, seen.map), (expected.catalog, expected.page_count, expected.map));
        (pin, seen.txn.get())
    }

    /// Reads the page of a snapshot that is pinned.
    fn read(&self, txn: u64) {
        let page = &self.pages[txn as usize];
        assert_eq!(page.txn.load(Ordering::Relaxed), txn, "a page was used again under a reader");
        page.marks.fetch_add(1, Ordering::Relaxed);
        page.marks_made.fetch_add(1, Ordering::Relaxed);
    }

    /// Commits snapshots up to `last`.
    fn write(&self, last: u64) -> Seen {
        let mut seen = Seen::default();
        self.write_on(2, last, &mut seen);
        seen
    }

    /// Goes on with some more.
    fn write_on(&self, first: u64, last: u64, seen: &mut Seen) {
        let mut pending = Vec::new();
        for txn in first..=last {
            self.pages[txn as usize].txn.store(txn, Ordering::Relaxed);
            self.readers.publish(&snapshot(txn));
            pending.push(txn - 1);
            let pins = self.readers.pins(seen);
            pending.retain(|&old| pins.contains(&TxnId::new(old)) || !self.reuse(old));
        }
    }

    fn reuse(&self, txn: u64) -> bool {
        let page = &self.pages[txn as usize];
        let made = page.marks_made.load(Ordering::Relaxed);
        assert_eq!(page.marks.load(Ordering::Relaxed), made, "a page is used again while a reader reads it");
        page.txn.store(0, Ordering::Relaxed);
        true
    }

    /// When all are gone: no entry is lost, and none was claimed where the writer does not look.
    fn assert_free(&self) {
        assert!(self.readers.sharers().is_empty());
        let chunks = self.readers.shards.iter().flat_map(|shard| &shard.chunks).filter_map(OnceLock::get);
        let mut entries = chunks.flat_map(|chunk| &chunk.entries);
        assert!(entries.all(|entry| entry.txn.load(Ordering::SeqCst) == FREE));
        self.assert_marks();
    }

    /// When nobody is about: a block that is marked as full is full.
    fn assert_marks(&self) {
        for chunk in self.readers.shards.iter().flat_map(|shard| &shard.chunks).filter_map(OnceLock::get) {
            for (n, mark) in chunk.marks.iter().enumerate() {
                let is_full = chunk.block(n).iter().all(|entry| entry.txn.load(Ordering::SeqCst) != FREE);
                assert!(is_full || mark.load(Ordering::SeqCst) & FULL == 0, "a free entry that nobody finds");
            }
        }
    }

    /// When all are gone, and no two of them were in one block at once: the writer has seen it.
    fn assert_seen(&self, mut seen: Seen) {
        assert_eq!(self.readers.pins(&mut seen), vec![], "a pin that the writer takes for held");
    }
}

/// Begins a read transaction and ends it.
fn read_once(world: &World, shard: usize) -> u64 {
    let (pin, txn) = world.pin(shard);
    world.read(txn);
    world.readers.unpin(pin);
    txn
}

/// Two readers, in these shards, beside a writer.
fn two_readers(shards: [usize; 2], preemptions: usize, last: u64) {
    explore(preemptions, move || {
        let world = World::new();
        let readers = shards.map(|shard| {
            let world = Arc::clone(&world);
            thread::spawn(move || read_once(&world, shard))
        });
        let seen = world.write(last);
        for reader in readers {
            assert!((1..=last).contains(&reader.join().unwrap()));
        }
        world.assert_free();
        world.assert_seen(seen);
    });
}

#[test]
fn readers_of_two_shards() {
    two_readers([0, 1], 3, 3);
}

/// The second entry of a shard takes a second chunk.
#[test]
fn readers_of_one_shard_which_grows() {
    two_readers([0, 0], 2, 3);
}

/// One reader finds the chunk that another one has just made: the writer looks there, too.
#[test]
fn readers_of_a_chunk_that_is_new() {
    explore(2, || {
        let world = World::new();
        let held = world.pin(0);
        // Theirs are other snapshots.
        let mut seen = world.write(2);
        let readers = [0, 0].map(|shard| {
            let world = Arc::clone(&world);
            thread::spawn(move || world.pin(shard))
        });
        world.write_on(3, 3, &mut seen);
        let pinned = readers.map(|reader| reader.join().unwrap());
        for (pin, txn) in pinned.into_iter().chain([held]) {
            world.read(txn);
            world.readers.unpin(pin);
        }
        world.assert_free();
    });
}

/// Both slots are filled anew under a reader that comes back.
#[test]
fn a_reader_goes_forward() {
    explore(3, || {
        let world = World::new();
        let reader = {
            let world = Arc::clone(&world);
            thread::spawn(move || (read_once(&world, 0), read_once(&world, 0)))
        };
        let seen = world.write(4);
        let (first, second) = reader.join().unwrap();
        assert!(first <= second);
        assert_eq!(read_once(&world, 0), 4);
        world.assert_free();
        world.assert_seen(seen);
    });
}

/// The last one to go frees the entry, whoever it is, and no other does.
#[test]
fn clones_share_an_entry() {
    explore(4, || {
        let world = World::new();
        let (pin, txn) = world.pin(0);
        let clones = [0, 1].map(|_| {
            world.readers.share(pin);
            let world = Arc::clone(&world);
            thread::spawn(move || {
                world.read(txn);
                world.readers.unpin(pin);
            })
        });
        world.readers.unpin(pin);
        world.write(3);
        clones.into_iter().for_each(|clone| clone.join().unwrap());
        world.assert_free();
    });
}

/// A clone is cloned again and outlives its original, beside another reader who is after the same entry.
#[test]
fn a_clone_of_a_clone_holds_the_entry() {
    explore(3, || {
        let world = World::new();
        let (pin, txn) = world.pin(0);
        world.readers.share(pin);
        let clone = {
            let world = Arc::clone(&world);
            thread::spawn(move || {
                world.readers.share(pin);
                world.readers.unpin(pin);
                world.read(txn);
                assert!(world.readers.sharers().contains_key(&TxnId::new(txn)));
                world.readers.unpin(pin);
            })
        };
        let other = {
            let world = Arc::clone(&world);
            thread::spawn(move || read_once(&world, 0))
        };
        world.readers.unpin(pin);
        world.write(2);
        clone.join().unwrap();
        other.join().unwrap();
        world.assert_free();
    });
}

/// One who lets go and comes back meets another, in a shard that has to grow.
#[test]
fn no_entry_is_claimed_twice() {
    explore(3, || {
        let world = World::new();
        let claims = [false, true].map(|comes_back| {
            let world = Arc::clone(&world);
            thread::spawn(move || {
                if comes_back {
                    read_once(&world, 0);
                }
                world.pin(0).0
            })
        });
        let mut pins: Vec<PinIndex> = claims.into_iter().map(|claim| claim.join().unwrap()).collect();
        pins.push(world.pin(0).0);
        pins.sort_by_key(|pin| pin.entry);
        assert!(pins.windows(2).all(|pair| pair[0].entry < pair[1].entry), "{pins:?}");
        assert_eq!(world.readers.sharers().values().sum::<u64>(), 3);
        pins.into_iter().for_each(|pin| world.readers.unpin(pin));
        world.assert_free();
    });
}

/// A block that has changed again while the writer looks at it is looked at again: a reader comes back to an entry that the writer knows
/// as free, beside another that stays.
#[test]
fn a_block_that_changes_is_looked_at_again() {
    explore(4, || {
        let world = World::new();
        let held = [0, 0].map(|shard| world.pin(shard));
        let reader = {
            let world = Arc::clone(&world);
            // The third entry shares its block with the second.
            thread::spawn(move || read_once(&world, 0))
        };
        let mut seen = world.write(3);
        assert!((1..=3).contains(&reader.join().unwrap()));
        assert_eq!(world.readers.pins(&mut seen), [TxnId::new(1)]);
        held.into_iter().for_each(|(pin, txn)| {
            world.read(txn);
            world.readers.unpin(pin);
        });
        world.assert_seen(seen);
        world.assert_free();
    });
}

/// One lets go while two others, whom the list leads nowhere, look through the blocks: the entry is not lost, and not claimed twice.
#[test]
fn an_entry_that_the_list_has_lost_is_found() {
    explore(2, || {
        let world = World::new();
        let mut held = [0, 0, 0].map(|shard| world.pin(shard).0).to_vec();
        assert_eq!(world.readers.shards[0].free.load(Ordering::Relaxed), END);
        let gone = held.remove(1);
        let others = [0, 0].map(|shard| {
            let world = Arc::clone(&world);
            thread::spawn(move || world.pin(shard).0)
        });
        world.readers.unpin(gone);
        held.extend(others.into_iter().map(|other| other.join().unwrap()));
        world.assert_marks();
        held.sort_by_key(|pin| pin.entry);
        assert!(held.windows(2).all(|pair| pair[0].entry < pair[1].entry), "{held:?}");
        assert_eq!(world.readers.sharers().values().sum::<u64>(), 4);
        held.into_iter().for_each(|pin| world.readers.unpin(pin));
        world.assert_free();
    });
}
