//! P3 with real threads: readers see whole snapshots that stay as they are, while a writer commits, grows the file, reuses
//! pages and cuts the file; transactions and handles cross threads; writers queue.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Barrier, Mutex, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use folio::{Database, Durability, Options, ReadTxn, Result, WriteTxn};

fn assert_sound(db: &Database) {
    let report = db.check().unwrap();
    assert!(report.is_ok(), "{:#?}", report.problems);
}

/// Commit number `version` of a history whose states can be told apart: key `n` has the version of the last commit that touched
/// it, and the bucket "sum" how many keys there are, what their versions come to, and the version.
fn next_version(txn: &mut WriteTxn, rng: &mut fastrand::Rng, version: u64) -> Result<()> {
    let sum = txn.bucket_mut("sum")?;
    let number = |key: &str| sum.get(key).unwrap().map_or(0, |bytes| u64::from_le_bytes(bytes.try_into().unwrap()));
    let (mut count, mut versions) = (number("count"), number("versions"));
    let mut data = txn.bucket_mut("data")?;
    for _ in 0..rng.usize(1..60) {
        let key = rng.u32(..2000).to_be_bytes();
        let old = data.get(key)?.map(|value| u64::from_le_bytes(value[..8].try_into().unwrap()));
        if let Some(old) = old {
            count -= 1;
            versions -= old;
        }
        if rng.u32(..4) == 0 {
            assert_eq!(data.delete(key)?, old.is_some());
            continue;
        }
        // The whole value says its version, so that a page that is reused under a reader is noticed.
        let len = if rng.u32(..50) == 0 { rng.usize(..60_000) } else { rng.usize(..100) };
        data.put(key, version.to_le_bytes().repeat(1 + len / 8))?;
        count += 1;
        versions += version;
    }
    let mut sum = txn.bucket_mut("sum")?;
    sum.put("count", count.to_le_bytes())?;
    sum.put("versions", versions.to_le_bytes())?;
    sum.put("version", version.to_le_bytes())
}

/// P3: a read begins and goes on while a write transaction is under way, a commit goes through while reads are, and figures and checks
/// wait for neither. All in one thread: whoever waited would wait for ever.
#[test]
fn nobody_waits() -> Result<()> {
    let db = Database::in_memory()?;
    db.exec(|txn| txn.bucket_mut("a")?.put("k", "old"))?;
    let reader = db.begin_read()?;
    let mut txn = db.begin_write()?;
    // The file grows beside the reader.
    txn.bucket_mut("a")?.put("large", vec![1; 8 << 20])?;
    txn.bucket_mut("a")?.put("k", "new")?;
    let later = db.begin_read()?;
    assert!(db.try_begin_write()?.is_none());
    assert!(db.check()?.is_ok() && db.stats()?.txn_id == later.id());
    txn.commit()?;
    let value = |txn: &ReadTxn| txn.bucket("a").unwrap().unwrap().get("k").unwrap().unwrap().to_vec();
    assert_eq!(
        (value(&reader), value(&later), value(&db.begin_read()?)),
        (b"old".into(), b"old".into(), b"new".into())
    );
    Ok(())
}

/// Checks a snapshot against its own sums and answers with its version.
fn verify(txn: &ReadTxn) -> u64 {
    let Some(sum) = txn.bucket("sum").unwrap() else { return 0 };
    let number = |key: &str| u64::from_le_bytes(sum.get(key).unwrap().unwrap().try_into().unwrap());
    let (mut count, mut versions) = (0, 0);
    let data = txn.bucket("data").unwrap().unwrap();
    for entry in data.iter() {
        let (_, value) = entry.unwrap();
        let version = u64::from_le_bytes(value[..8].try_into().unwrap());
        assert!(value.chunks_exact(8).all(|part| part == version.to_le_bytes()), "a value of two versions");
        count += 1;
        versions += version;
    }
    assert_eq!((count, versions), (number("count"), number("versions")));
    assert_eq!(data.len(), count);
    assert_eq!(txn.id().get(), number("version") + 1);
    number("version")
}

/// T1, T26: the readers hold snapshots over many commits and look at them again and again.
#[test]
fn readers_see_whole_snapshots_while_a_writer_commits() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options::new().dirty_limit(64 * 4096).durability(Durability::Relaxed).sync_bytes(1 << 20);
    let db = options.open(dir.path().join("a.folio")).unwrap();
    let done = AtomicBool::new(false);
    let seen = AtomicU64::new(0);
    thread::scope(|scope| {
        for reader in 0..5 {
            let (db, done, seen) = (&db, &done, &seen);
            scope.spawn(move || {
                let mut rng = fastrand::Rng::with_seed(reader);
                let mut held: Vec<(ReadTxn, u64)> = Vec::new();
                let mut newest = 0;
                while !done.load(Ordering::Relaxed) {
                    let txn = db.begin_read().unwrap();
                    let version = verify(&txn);
                    assert!(version >= newest, "snapshots go forward");
                    newest = version;
                    held.push((txn, version));
                    let (txn, version) = &held[rng.usize(..held.len())];
                    assert_eq!(verify(txn), *version);
                    if held.len() > 4 {
                        held.swap_remove(rng.usize(..held.len()));
                    }
                    seen.fetch_add(1, Ordering::Relaxed);
                }
                held.iter().for_each(|(txn, version)| assert_eq!(verify(txn), *version));
            });
        }
        let mut rng = fastrand::Rng::with_seed(100);
        let start = Instant::now();
        let mut version = 0;
        while version < 300 || start.elapsed() < Duration::from_secs(2) {
            if rng.u32(..10) == 0 {
                // An aborted attempt in between.
                let mut txn = db.begin_write().unwrap();
                next_version(&mut txn, &mut rng, u64::MAX >> 20).unwrap();
                continue;
            }
            version += 1;
            let mut txn = db.begin_write().unwrap();
            next_version(&mut txn, &mut rng, version).unwrap();
            txn.commit().unwrap();
            if version % 100 == 0 {
                assert_sound(&db);
            }
        }
        done.store(true, Ordering::Relaxed);
    });
    assert!(seen.load(Ordering::Relaxed) > 20);
    assert_eq!(verify(&db.begin_read().unwrap()), db.stats().unwrap().txn_id.get() - 1);
    assert_eq!(db.stats().unwrap().pinned_snapshots, 0);
    assert_sound(&db);
}

/// What a bucket should hold: for each key the commit that wrote its value last, and how often the value says so.
type Truth = BTreeMap<u32, (u64, usize)>;

fn assert_equals(txn: &ReadTxn, truth: &Truth, rng: &mut fastrand::Rng) {
    let a = txn.bucket("a").unwrap().unwrap();
    assert_eq!(a.len(), truth.len() as u64);
    let is_as = |value: &[u8], &(version, count): &(u64, usize)| {
        value.len() == count * 8 && value.chunks_exact(8).all(|part| part == version.to_le_bytes())
    };
    let mut entries = a.iter();
    for (key, expected) in truth {
        let (found, value) = entries.next().unwrap().unwrap();
        assert!(found == key.to_be_bytes() && is_as(value, expected), "key {key} of snapshot {}", txn.id());
    }
    assert!(entries.next().is_none());
    for key in (0..20).map(|_| rng.u32(..1000)) {
        let value = a.get(key.to_be_bytes()).unwrap();
        assert!(value.is_some() == truth.contains_key(&key) && value.is_none_or(|value| is_as(value, &truth[&key])));
    }
}

/// P3: each reader compares every entry of every snapshot that it takes, and again of those that it holds, with a truth that was
/// written down before the commit. The data grows and shrinks all the time, so that pages are reused and the file is cut.
fn readers_against_the_truth(db: &Database, reader_count: u64, commits: u64) {
    // By transaction id.
    let truths: Mutex<BTreeMap<u64, Arc<Truth>>> = Mutex::new(BTreeMap::new());
    let (done, rounds) = (AtomicBool::new(false), AtomicU64::new(0));
    let commit = |version: u64, truth: &mut Truth, rng: &mut fastrand::Rng| {
        let mut txn = db.begin_write().unwrap();
        let mut a = txn.bucket_mut("a").unwrap();
        let shrinks = version % 40 > 25;
        for _ in 0..rng.usize(1..80) {
            let key = rng.u32(..1000);
            if shrinks || rng.u32(..5) == 0 {
                assert_eq!(a.delete(key.to_be_bytes()).unwrap(), truth.remove(&key).is_some());
            } else {
                let count = if rng.u32(..30) == 0 { rng.usize(..8000) } else { rng.usize(..40) };
                a.put(key.to_be_bytes(), version.to_le_bytes().repeat(count)).unwrap();
                truth.insert(key, (version, count));
            }
        }
        if shrinks && version % 40 == 39 {
            a.clear().unwrap();
            truth.clear();
        }
        a.put(1000u32.to_be_bytes(), version.to_le_bytes()).unwrap();
        truth.insert(1000, (version, 1));
        // The empty database has id 1, the first commit 2.
        truths.lock().unwrap().insert(version + 1, Arc::new(truth.clone()));
        assert_eq!(txn.commit().unwrap().get(), version + 1);
    };
    let (mut truth, mut rng) = (Truth::new(), fastrand::Rng::with_seed(reader_count));
    commit(1, &mut truth, &mut rng);
    thread::scope(|scope| {
        for reader in 0..reader_count {
            let (truths, done, rounds) = (&truths, &done, &rounds);
            scope.spawn(move || {
                let mut rng = fastrand::Rng::with_seed(1000 + reader);
                let mut held: Vec<(ReadTxn, Arc<Truth>)> = Vec::new();
                let mut last = 0;
                while !done.load(Ordering::Relaxed) {
                    let txn = db.begin_read().unwrap();
                    let truth = Arc::clone(&truths.lock().unwrap()[&txn.id().get()]);
                    assert_equals(&txn, &truth, &mut rng);
                    assert!(txn.id().get() >= last, "snapshots go forward");
                    last = txn.id().get();
                    held.push((txn, truth));
                    let (txn, truth) = &held[rng.usize(..held.len())];
                    assert_equals(&txn.clone(), truth, &mut rng);
                    if held.len() > 1 + reader as usize {
                        held.swap_remove(rng.usize(..held.len()));
                    }
                    rounds.fetch_add(1, Ordering::Relaxed);
                }
                held.iter().for_each(|(txn, truth)| assert_equals(txn, truth, &mut rng));
            });
        }
        let mut version = 1;
        while version < commits || rounds.load(Ordering::Relaxed) < 20 * reader_count {
            version += 1;
            commit(version, &mut truth, &mut rng);
        }
        done.store(true, Ordering::Relaxed);
    });
    assert_eq!(db.stats().unwrap().pinned_snapshots, 0);
    assert_sound(db);
}

#[test]
fn two_to_eight_readers_against_the_truth() {
    let dir = tempfile::tempdir().unwrap();
    for reader_count in [2, 4, 8] {
        readers_against_the_truth(&Database::in_memory().unwrap(), reader_count, 400);
        let options = Options::new().durability(Durability::Relaxed).sync_bytes(1 << 20).dirty_limit(64 * 4096);
        let path = dir.path().join(format!("{reader_count}.folio"));
        readers_against_the_truth(&options.open(path).unwrap(), reader_count, 400);
    }
}

/// The file grows far past the first map and is cut again, under readers that hold snapshots of all sizes.
#[test]
fn growth_and_cuts_while_reading() {
    let db = Database::in_memory().unwrap();
    let done = AtomicBool::new(false);
    let value = |round: u64| round.to_le_bytes().repeat(400_000);
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                let mut held = Vec::new();
                while !done.load(Ordering::Relaxed) {
                    held.push(db.begin_read().unwrap());
                    for txn in &held {
                        let Some(a) = txn.bucket("a").unwrap() else { continue };
                        for entry in a.iter() {
                            let (key, value) = entry.unwrap();
                            assert!(value.len() == 3_200_000);
                            let parts = [0, 1_600_000, 3_199_992].map(|at| &value[at..at + 8]);
                            assert!(parts.into_iter().all(|part| part == key));
                        }
                    }
                    if held.len() == 6 {
                        held.clear();
                    }
                }
            });
        }
        for round in 0..30u64 {
            db.exec(|txn| txn.bucket_mut("a")?.put(round.to_le_bytes(), value(round))).unwrap();
            if round % 10 == 9 {
                for _ in 0..3 {
                    db.exec(|txn| txn.bucket_mut("a")?.clear()).unwrap();
                    db.exec(|txn| txn.bucket_mut("b")?.put("k", "v")).unwrap();
                }
            }
        }
        done.store(true, Ordering::Relaxed);
    });
    assert_sound(&db);
    for n in 0..3u8 {
        db.exec(|txn| txn.bucket_mut("b")?.put("k", [n])).unwrap();
    }
    assert!(db.stats().unwrap().file_len < 8_000_000, "cut when nobody holds it any more");
    assert_sound(&db);
}

#[test]
fn a_read_transaction_goes_from_thread_to_thread() {
    let db = Database::in_memory().unwrap();
    let mut rng = fastrand::Rng::with_seed(1);
    for version in 1..=20 {
        db.exec(|txn| next_version(txn, &mut rng, version)).unwrap();
    }
    let (sender, receiver) = mpsc::channel::<ReadTxn>();
    let txn = db.begin_read().unwrap();
    // Clones are made and dropped on other threads than their originals.
    let clones: Vec<ReadTxn> =
        (0..50).map(|_| thread::scope(|scope| scope.spawn(|| txn.clone()).join().unwrap())).collect();
    drop(txn);
    assert_eq!(db.stats().unwrap().pinned_snapshots, 50);
    let walker = thread::spawn(move || receiver.into_iter().map(|txn| verify(&txn)).collect::<Vec<_>>());
    for (n, clone) in clones.into_iter().enumerate() {
        db.exec(|txn| next_version(txn, &mut rng, 21 + n as u64)).unwrap();
        sender.send(clone).unwrap();
    }
    drop(sender);
    assert_eq!(walker.join().unwrap(), [20; 50]);
    assert_eq!((db.stats().unwrap().pinned_snapshots, db.stats().unwrap().oldest_pinned), (0, None));
    // Nothing is held back any more.
    for version in 71..=72 {
        db.exec(|txn| next_version(txn, &mut rng, version)).unwrap();
    }
    assert_eq!(db.stats().unwrap().held_bytes, 0);
    assert_sound(&db);
}

/// Writers are served in the order in which they came: none starves, however greedy the others are.
#[test]
fn writers_queue_fairly() {
    let db = Options::new().durability(Durability::Relaxed).open_in_memory().unwrap();
    let order = Arc::new(std::sync::Mutex::new(Vec::new()));
    let first = db.begin_write().unwrap();
    let mut waiting = Vec::new();
    for n in 0..6 {
        let (db, order) = (db.clone(), Arc::clone(&order));
        waiting.push(thread::spawn(move || {
            let txn = db.begin_write().unwrap();
            order.lock().unwrap().push(n);
            drop(txn);
        }));
        // Each is in the queue before the next one comes.
        thread::sleep(Duration::from_millis(150));
    }
    assert!(db.try_begin_write().unwrap().is_none());
    drop(first);
    waiting.into_iter().for_each(|thread| thread.join().unwrap());
    assert_eq!(*order.lock().unwrap(), [0, 1, 2, 3, 4, 5]);

    // Who waits sees each of the others served once before it, and not more.
    let (threads, commits) = (6, 60);
    let barrier = Barrier::new(threads);
    let (turns, overtaken) = (AtomicU64::new(0), AtomicU64::new(0));
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                barrier.wait();
                for _ in 0..commits {
                    let before = turns.load(Ordering::SeqCst);
                    let mut txn = db.begin_write().unwrap();
                    let waited = turns.fetch_add(1, Ordering::SeqCst) - before;
                    overtaken.fetch_add(u64::from(waited > threads as u64), Ordering::SeqCst);
                    let mut a = txn.bucket_mut("a").unwrap();
                    let old = a.get("count").unwrap();
                    let old = old.map_or(0, |bytes| u64::from_le_bytes(bytes.try_into().unwrap()));
                    a.put("count", (old + 1).to_le_bytes()).unwrap();
                    txn.commit().unwrap();
                }
            });
        }
    });
    let total = threads as u64 * commits;
    let count = db.view(|txn| Ok(txn.bucket("a")?.unwrap().get("count")?.map(<[u8]>::to_vec))).unwrap();
    assert_eq!(count, Some(total.to_le_bytes().to_vec()));
    // A thread may lose the processor on its way into the queue, now and then.
    let overtaken = overtaken.load(Ordering::SeqCst);
    assert!(overtaken < total / 10, "{overtaken} of {total} turns came late");
}

#[test]
fn handles_are_dropped_while_readers_live() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.folio");
    let db = Database::open(&path).unwrap();
    let mut rng = fastrand::Rng::with_seed(3);
    for version in 1..=30 {
        db.exec(|txn| next_version(txn, &mut rng, version)).unwrap();
    }
    let txns: Vec<ReadTxn> = (0..4).map(|_| db.begin_read().unwrap()).collect();
    drop(db);
    let readers = txns.into_iter().map(|txn| thread::spawn(move || (0..10).map(|_| verify(&txn)).max()));
    let readers: Vec<_> = readers.collect();
    // Opened anew, this is the same database, and it keeps off what the old readers see.
    let db = Database::open(&path).unwrap();
    for version in 31..=60 {
        db.exec(|txn| next_version(txn, &mut rng, version)).unwrap();
    }
    readers.into_iter().for_each(|reader| assert_eq!(reader.join().unwrap(), Some(30)));
    assert_sound(&db);
}

/// A core lives as long as any transaction of it, and a reopen finds it and its pins.
#[test]
fn a_reopen_respects_the_pins_of_an_old_reader() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.folio");
    let mut rng = fastrand::Rng::with_seed(4);
    let db = Database::open(&path).unwrap();
    db.exec(|txn| next_version(txn, &mut rng, 1)).unwrap();
    let old = db.begin_read().unwrap();
    drop(db);
    for version in 2..=100 {
        let db = Database::open(&path).unwrap();
        db.exec(|txn| next_version(txn, &mut rng, version)).unwrap();
        let stats = db.stats().unwrap();
        assert_eq!((stats.oldest_pinned, stats.commits), (Some(old.id()), version), "the same core all the time");
        assert!(stats.held_bytes > 0);
    }
    assert_eq!(verify(&old), 1);
    drop(old);
    let db = Database::open(&path).unwrap();
    assert_eq!(db.stats().unwrap().commits, 0, "a new core");
    assert_eq!(verify(&db.begin_read().unwrap()), 100);
    assert_sound(&db);
}

/// Thousands of readers at once: there is no table of fixed length that they could fill.
#[test]
fn there_is_no_limit_of_readers() {
    let db = Database::in_memory().unwrap();
    db.exec(|txn| txn.bucket_mut("a")?.put("k", "v")).unwrap();
    let mut held: Vec<ReadTxn> = thread::scope(|scope| {
        let begin = || (0..5000).map(|_| db.begin_read().unwrap()).collect::<Vec<_>>();
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(begin)).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    db.exec(|txn| txn.bucket_mut("a")?.put("k", "w")).unwrap();
    assert_eq!(db.stats().unwrap().pinned_snapshots, 20_000);
    assert!(held.iter().all(|txn| txn.bucket("a").unwrap().unwrap().get("k").unwrap() == Some(&b"v"[..])));
    held.truncate(1);
    assert_eq!(db.stats().unwrap().pinned_snapshots, 1);
}
