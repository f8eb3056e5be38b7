//! P8: reading allocates nothing, and a write transaction keeps to its budget however much goes through it. Measured by an
//! allocator that counts what each thread does.
#![allow(unsafe_code)] // There is no other way to be an allocator. It only counts, and passes on to the system's.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::Mutex;

use folio::disk::MemoryStore;
use folio::{Database, Options, Result};

struct Counting;

thread_local! {
    static COUNT: Cell<u64> = const { Cell::new(0) };
    static LIVE: Cell<isize> = const { Cell::new(0) };
    static PEAK: Cell<isize> = const { Cell::new(0) };
}

fn note(change: isize) {
    let live = LIVE.get() + change;
    LIVE.set(live);
    PEAK.set(PEAK.get().max(live));
    if change > 0 {
        COUNT.set(COUNT.get() + 1);
    }
}

// SAFETY: every call goes to the system's allocator with the arguments that came; counting touches no memory of theirs, and
// the counters, constant and without a destructor, allocate nothing themselves.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        note(layout.size() as isize);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        note(layout.size() as isize);
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, len: usize) -> *mut u8 {
        note(len as isize);
        note(-(layout.size() as isize));
        // SAFETY: as above.
        unsafe { System.realloc(memory, layout, len) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        note(-(layout.size() as isize));
        // SAFETY: as above.
        unsafe { System.dealloc(memory, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// How many allocations `f` makes on this thread.
fn allocations<T>(f: impl FnOnce() -> T) -> u64 {
    let before = COUNT.get();
    let _result = std::hint::black_box(f());
    COUNT.get() - before
}

/// The most that this thread has allocated at once while `f` ran, and what of it is left, in bytes.
fn peak<T>(f: impl FnOnce() -> T) -> (T, isize, isize) {
    let before = LIVE.get();
    PEAK.set(before);
    let result = f();
    (result, PEAK.get() - before, LIVE.get() - before)
}

/// Anonymous memory of the whole process, in bytes.
#[cfg(target_os = "linux")]
fn anonymous_len() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() << 10
}

/// One test at a time: the memory of the process is everybody's.
static TURN: Mutex<()> = Mutex::new(());

const COUNT_OF_KEYS: u32 = 20_000;

fn key(n: u32) -> [u8; 24] {
    let mut key = [b'k'; 24];
    key[10..14].copy_from_slice(&n.to_be_bytes());
    key
}

#[test]
fn reading_allocates_nothing_for_an_entry() -> Result<()> {
    let _turn = TURN.lock();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.folio");
    let db = Database::open(&path)?;
    db.exec(|txn| {
        let mut a = txn.bucket_mut("a")?;
        (0..COUNT_OF_KEYS).try_for_each(|n| a.put(key(n), n.to_le_bytes()))?;
        (0..10).try_for_each(|n| txn.bucket_mut("large")?.put(key(n), vec![n as u8; 50_000]))
    })?;
    drop(db);
    // Opened anew, so that every page is verified on the way.
    let db = Database::open(&path)?;
    drop(db.begin_read()?);
    assert_eq!(allocations(|| drop((db.begin_read(), db.begin_read()))), 0, "begin_read");

    let txn = db.begin_read()?;
    let (mut seen, keys) = (0, [7, 19_999, 33, 20_001, 5000].map(key));
    let mut values = [None; 5];
    let count = allocations(|| -> Result<()> {
        let (a, large) = (txn.bucket("a")?.unwrap(), txn.bucket("large")?.unwrap());
        assert!(txn.bucket("none")?.is_none());
        for n in 0..COUNT_OF_KEYS {
            assert_eq!(a.get(key(n))?, Some(&n.to_le_bytes()[..]));
        }
        for entry in a.iter() {
            seen += usize::from(entry?.1.len() == 4);
        }
        for entry in a.range(key(100)..key(10_000)).rev() {
            seen += usize::from(entry?.1.len() == 4);
        }
        for entry in large.iter() {
            assert_eq!(entry?.1.len(), 50_000);
        }
        for _ in 0..100 {
            a.get_many_into(&keys, &mut values)?;
        }
        assert_eq!(values.map(|value| value.is_some()), [true, true, true, false, true]);
        let mut cursor = a.cursor();
        for n in (0..COUNT_OF_KEYS).step_by(97) {
            assert!(cursor.seek(key(n))?.is_some() && cursor.seek_for_prev(key(n))?.is_some());
            assert!(cursor.next()?.is_some() && cursor.prev()?.is_some());
            assert_eq!(a.nth(n.into())?.map(|(key, _)| key), Some(&key(n)[..]));
            assert_eq!((a.rank(key(n))?, a.contains(key(n))?), (n.into(), true));
        }
        assert!(a.first()?.is_some() && a.last()?.is_some() && cursor.first()?.is_some() && cursor.last()?.is_some());
        assert_eq!(a.count_range(key(5)..=key(9))?, 5);
        Ok(())
    });
    // The one is for all the large values in 256 MiB of the file: that they were verified has to be remembered.
    assert_eq!((count, seen), (1, 20_000 + 9_900));
    // Where a prefix ends has to be written down, once.
    assert!(allocations(|| txn.bucket("a").unwrap().unwrap().prefix("kk").count()) <= 1);
    Ok(())
}

/// T30: a load of sixteen times the budget in one transaction, in random order, takes memory for the budget and not for the load.
#[test]
fn t30_a_transaction_keeps_to_its_budget() -> Result<()> {
    let _turn = TURN.lock();
    let budget = 1 << 20;
    let count = 16 * budget as u32 / 1000;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.folio");
    let db = Options::new().dirty_limit(budget).open(&path)?;
    let mut rng = fastrand::Rng::with_seed(1);
    let mut order: Vec<u32> = (0..count).collect();
    rng.shuffle(&mut order);
    let value = [5; 980];
    let allowed = 2 * budget as isize + (2 << 20);
    for commits in [false, true] {
        #[cfg(target_os = "linux")]
        let before = anonymous_len();
        let mut txn = db.begin_write()?;
        let (result, most, _) = peak(|| {
            let mut a = txn.bucket_mut("a")?;
            order.iter().try_for_each(|&n| a.put(n.to_be_bytes(), value))
        });
        result?;
        assert!(most < allowed, "{most} bytes at most, for a budget of {budget}");
        #[cfg(target_os = "linux")]
        {
            let more = anonymous_len().saturating_sub(before);
            assert!(more < 2 * allowed as usize, "the process has grown by {more} bytes");
        }
        assert_eq!(txn.bucket("a")?.unwrap().len(), u64::from(count));
        let (result, most, left) = peak(|| match commits {
            true => txn.commit().map(|_| ()),
            false => {
                txn.abort();
                Ok(())
            }
        });
        result?;
        assert!(most < allowed && left < 2 << 20, "{most} bytes at most, {left} left over");
    }
    let txn = db.begin_read()?;
    let a = txn.bucket("a")?.unwrap();
    assert_eq!(a.len(), u64::from(count));
    assert!(a.iter().enumerate().all(|(n, entry)| entry.unwrap() == (&(n as u32).to_be_bytes()[..], &value[..])));
    let report = db.check()?;
    assert!(report.is_ok(), "{:#?}", report.problems);
    Ok(())
}

/// A large value goes to the file as it is, and comes back as it lies there.
/// However often a transaction goes one step back or on within a savepoint: what it keeps is what the savepoint sees.
#[test]
fn savepoints_that_are_gone_leave_nothing_behind() -> Result<()> {
    let _turn = TURN.lock();
    let db = Database::in_memory()?;
    let mut txn = db.begin_write()?;
    (0..100).try_for_each(|n| txn.bucket_mut("a")?.put(key(n), [1; 100]))?;
    let outer = txn.savepoint()?;
    let mut run = |count: u32| {
        (0..count).try_for_each(|n| match n % 3 {
            0 => txn.nested(|_| Err::<(), _>(folio::Error::other("no"))).or(Ok(())),
            _ => txn.nested(|txn| txn.bucket_mut("a")?.put(key(n % 100), n.to_be_bytes())),
        })
    };
    run(1000)?;
    let (done, _, left) = peak(|| run(30_000));
    done?;
    assert!(left.abs() < 16 << 10, "{left} bytes left");
    txn.rollback_to(&outer)?;
    txn.commit()?;
    assert!(db.check()?.is_ok());
    Ok(())
}

/// Nor does it matter to a savepoint how many buckets are open.
#[test]
fn a_savepoint_takes_no_room_for_buckets_that_do_not_change() -> Result<()> {
    let _turn = TURN.lock();
    let mut counts = Vec::new();
    for open in [1, 1000] {
        let db = Database::in_memory()?;
        let mut txn = db.begin_write()?;
        let name = |n: u32| format!("bucket {:06}", n % open);
        (0..open).try_for_each(|n| txn.bucket_mut(&name(n))?.put("k", "v"))?;
        let (savepoint, most, _) = peak(|| txn.savepoint());
        assert!(most < 1 << 10, "{most} bytes with {open} buckets open");
        txn.release(savepoint?)?;
        let mut nested = |n: u32| txn.nested(|txn| txn.bucket_mut(&name(n))?.put(key(n), "v"));
        (0..20).try_for_each(&mut nested)?;
        counts.push(allocations(|| (0..200).for_each(|n| nested(n).unwrap())) / 200);
        // Within an outer savepoint, what each bucket was there stays, once.
        let outer = txn.savepoint()?;
        let mut nested = |n: u32| txn.nested(|txn| txn.bucket_mut(&name(n % 10))?.put(key(n % 100), "v"));
        (0..200).try_for_each(&mut nested)?;
        let (done, _, left) = peak(|| (0..2000).try_for_each(&mut nested));
        done?;
        assert!(left < 64 << 10, "{left} bytes left");
        let mut gone = |n: u32| {
            txn.nested(|txn| {
                txn.bucket_mut("comes and goes")?.put(key(n), "v")?;
                txn.rename_bucket("comes and goes", "goes")?;
                txn.drop_bucket("goes").map(|_| ())
            })
        };
        (0..20).try_for_each(&mut gone)?;
        let (done, _, left) = peak(|| (0..2000).try_for_each(&mut gone));
        done?;
        assert!(left < 64 << 10, "{left} bytes left");
        txn.rollback_to(&outer)?;
        txn.commit()?;
        assert!(db.check()?.is_ok());
        assert_eq!(db.begin_read()?.buckets()?.len(), open as usize);
    }
    assert!(counts[0].abs_diff(counts[1]) <= 2, "{counts:?} allocations for a nested put");
    Ok(())
}

/// In a process that only reads as well: who asks again is told what was found the first time.
#[test]
fn the_free_space_is_counted_once() -> Result<()> {
    let _turn = TURN.lock();
    let disk = MemoryStore::new();
    let db = Options::new().open_store(&disk)?;
    db.exec(|txn| (0..5000).try_for_each(|n| txn.bucket_mut("a")?.put(key(n), [1; 1900])))?;
    db.exec(|txn| (0..5000).filter(|n| n % 6 < 3).try_for_each(|n| txn.bucket_mut("a")?.delete(key(n)).map(|_| ())))?;
    drop(db);
    let mut told = Vec::new();
    for read_only in [true, false] {
        let db = Options::new().read_only(read_only).open_store(&disk)?;
        db.snapshots()?;
        let first = allocations(|| db.stats().unwrap());
        let later = allocations(|| (0..10).for_each(|_| drop((db.stats().unwrap(), db.snapshots().unwrap()))));
        assert!(first > 100 && later < 10 * 20, "{first} allocations, and then {later} for ten times");
        let figures = |db: &Database| db.stats().map(|stats| (stats.free_pages, stats.used_pages, stats.pending_pages));
        told.push(figures(&db)?);
        if !read_only {
            drop(db.begin_write()?);
            told.push(figures(&db)?);
        }
    }
    assert!(told[0].0 > 500 && told.iter().all(|figures| *figures == told[0]), "{told:?}");
    Ok(())
}

/// What an optimistic transaction notes of its reads is where it has read, not how often.
#[test]
fn reading_the_same_again_takes_no_more_memory() -> Result<()> {
    let _turn = TURN.lock();
    let db = Database::in_memory()?;
    db.exec(|txn| (0..1000).try_for_each(|n| txn.bucket_mut("a")?.put(key(n), "")))?;
    let txn = db.begin_optimistic()?;
    let a = txn.bucket("a")?.expect("just made");
    let read = |n: u32| -> Result<()> {
        let (first, last) = (a.first()?, a.last()?);
        assert!(first.is_some() && last.is_some() && a.contains(key(n % 10))?);
        let neighbours = a.range(key(n % 50)..).take(2).count() + a.prefix(key(n % 50)).count();
        assert_eq!((neighbours, a.range(..key(0)).next().is_none()), (3, true));
        Ok(())
    };
    (0..1000).try_for_each(read)?;
    let (done, _, left) = peak(|| (0..20_000).try_for_each(read));
    done?;
    assert!(left < 4 << 10, "{left} bytes left");
    Ok(())
}

#[test]
fn a_large_value_is_not_copied() -> Result<()> {
    let _turn = TURN.lock();
    let dir = tempfile::tempdir().unwrap();
    let db = Database::open(dir.path().join("a.folio"))?;
    db.exec(|txn| txn.bucket_mut("a")?.put("first", "so that everything is set up"))?;
    let value = vec![3; 20 << 20];
    let (result, most, _) = peak(|| db.exec(|txn| txn.bucket_mut("a")?.put("large", &value)));
    result?;
    assert!(most < 1 << 20, "{most} bytes for a value of 20 MiB");
    let txn = db.begin_read()?;
    let (read, most, _) = peak(|| txn.bucket("a").unwrap().unwrap().get("large").unwrap().unwrap());
    assert!(read == value);
    assert_eq!(most, 0);
    Ok(())
}

/// However many buckets it goes through: those that it no longer needs at hand are closed.
#[test]
fn many_buckets_in_one_transaction() -> Result<()> {
    let _turn = TURN.lock();
    let budget = 64 * 4096;
    let db = Options::new().dirty_limit(budget).open_in_memory()?;
    let name = |n: u32| format!("{n:0200}");
    let count = 20_000;
    let mut txn = db.begin_write()?;
    let (done, put, _) = peak(|| (0..count).try_for_each(|n| txn.bucket_mut(&name(n))?.put("k", "v")));
    done?;
    let (done, commit, _) = peak(|| txn.commit());
    done?;
    let mut txn = db.begin_write()?;
    let (done, dropped, _) = peak(|| (0..count).step_by(2).try_for_each(|n| txn.drop_bucket(&name(n)).map(|_| ())));
    done?;
    let (done, second, _) = peak(|| txn.commit());
    done?;
    let mut txn = db.begin_write()?;
    let written = db.stats()?.bytes_written;
    let (done, open, _) = peak(|| (0..count).step_by(2).try_for_each(|n| txn.bucket_mut(&name(n + 1)).map(|_| ())));
    done?;
    assert_eq!(db.stats()?.bytes_written, written, "none of them has changed");
    drop(txn);
    let peaks = [put, commit, dropped, second, open];
    // 2 MiB are for the pages on their way to the file.
    assert!(peaks.iter().all(|&peak| peak < (2 << 20) + 8 * budget as isize), "{peaks:?}");
    assert!(db.check()?.is_ok());
    assert_eq!(db.begin_read()?.buckets()?.len(), count as usize / 2);
    Ok(())
}

/// Separators that share a long prefix are not copied, all of them, to see whether branches can be packed.
#[test]
fn a_commit_of_few_puts_takes_little_memory() -> Result<()> {
    let _turn = TURN.lock();
    let db = Options::new().page_size(16384).open_in_memory()?;
    let key = |n: u32| [vec![b'p'; 4000], n.to_be_bytes().to_vec()].concat();
    db.exec(|txn| {
        let mut a = txn.bucket_mut("a")?;
        (0..COUNT_OF_KEYS).try_for_each(|n| a.put(key(n), ""))
    })?;
    let mut txn = db.begin_write()?;
    let mut a = txn.bucket_mut("a")?;
    (0..COUNT_OF_KEYS).step_by(500).try_for_each(|n| a.put(key(n), "x"))?;
    let (done, most, _) = peak(|| txn.commit());
    done?;
    assert!(most < 4 << 20, "{most} bytes at most");
    Ok(())
}

/// However much an optimistic transaction has read and others have changed meanwhile: with the writer's seat it is compared only with what was
/// committed since it was last compared without. Here its closure runs in this thread, which leads the batch, and the
/// allocations tell. Nor is what it has noted freed here.
#[test]
fn little_is_compared_with_the_writers_seat() -> Result<()> {
    let _turn = TURN.lock();
    let db = Database::in_memory()?;
    let name = |n: u32| format!("bucket {n}");
    let is_even = |n: &u32| n.is_multiple_of(2);
    db.exec(|txn| {
        (0..COUNT_OF_KEYS).try_for_each(|n| txn.bucket_mut("a")?.put(key(n), [1; 8]))?;
        (0..3000).try_for_each(|n| txn.bucket_mut(&name(n)).map(drop))
    })?;
    for wait in [50, 500, 5000] {
        let mut txn = db.begin_optimistic()?;
        assert_eq!(txn.buckets()?.len(), 3001);
        let a = txn.bucket("a")?.expect("it is there");
        (0..COUNT_OF_KEYS).filter(is_even).try_for_each(|n| a.get(key(n)).map(drop))?;
        txn.bucket_mut(&name(5))?.put("k", "v")?;
        db.exec(|txn| {
            (0..COUNT_OF_KEYS)
                .filter(|n| !is_even(n))
                .try_for_each(|n| txn.bucket_mut("a")?.put(key(n), [wait as u8; 8]))?;
            (1000..2000).try_for_each(|n| txn.bucket_mut(&name(n))?.put("k", [wait as u8]))
        })?;
        let (begun, has_begun) = std::sync::mpsc::channel();
        let committer = std::thread::spawn(move || {
            has_begun.recv().unwrap();
            txn.commit()
        });
        let mut leader = Ok(None);
        let lead = || {
            leader = db.batch(move |txn| {
                begun.send(()).unwrap();
                std::thread::sleep(std::time::Duration::from_millis(wait));
                txn.bucket_mut("a")?.put(key(1), "led")?;
                Ok(Some(txn.id()))
            })
        };
        let (count, _, left) = peak(|| allocations(lead));
        // Both in one batch, if the other one was in time.
        if leader? == Some(committer.join().unwrap()?) {
            assert!(count < 1000, "{count} allocations");
            assert!(left > -(64 << 10), "what was noted of reads was freed here: {left} bytes");
            return Ok(());
        }
    }
    panic!("the transaction never came in time to be part of a batch");
}

/// To delete many entries takes an effort for each page, not for each entry.
#[test]
fn to_retain_half_of_the_entries_allocates_little() -> Result<()> {
    let _turn = TURN.lock();
    let db = Database::in_memory()?;
    db.exec(|txn| (0..COUNT_OF_KEYS).try_for_each(|n| txn.bucket_mut("a")?.put(key(n), [1; 40])))?;
    let leaves = db.begin_read()?.bucket("a")?.expect("just made").stats()?.leaf_pages;
    let mut txn = db.begin_write()?;
    let mut a = txn.bucket_mut("a")?;
    let mut deleted = 0;
    let count = allocations(|| deleted = a.retain(|key, _| key[13] % 2 == 0).unwrap());
    assert_eq!(deleted, u64::from(COUNT_OF_KEYS) / 2);
    assert!(count < 4 * leaves && 4 * leaves < deleted, "{count} allocations for {leaves} leaves");
    Ok(())
}

/// A backup of whatever size takes room for what is on its way, and one page for each level of a tree.
#[test]
fn a_backup_is_streamed() -> Result<()> {
    let _turn = TURN.lock();
    let db = Database::in_memory()?;
    db.exec(|txn| {
        let mut a = txn.bucket_mut("a")?;
        (0..COUNT_OF_KEYS).try_for_each(|n| a.put(key(n), [7; 600]))?;
        (0..10).try_for_each(|n| txn.bucket_mut("large")?.put(key(n), vec![n as u8; 3_000_000]))
    })?;
    let txn = db.begin_read()?;
    for is_exact in [false, true] {
        let (len, most, left) = peak(|| txn.backup().exact(is_exact).to_writer(std::io::sink()));
        assert!(len? > 40_000_000);
        assert!(most < 4 << 20 && left == 0, "{most} bytes at most, {left} left over");
    }
    Ok(())
}
