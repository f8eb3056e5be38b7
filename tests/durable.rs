//! Relaxed commits that somebody waits for: what was said to be durable survives a power cut, waiting threads share a sync, and nobody
//! waits for itself.

use std::sync::{Barrier, Mutex, mpsc};
use std::thread;
use std::time::Duration;

use folio::disk::{Failure, MemoryStore};
use folio::{Database, Durability, Error, Options, Result, TxnId};

fn relaxed() -> Options {
    Options::new().durability(Durability::Relaxed)
}

fn put(db: &Database, key: impl AsRef<[u8]>) -> Result<TxnId> {
    let mut txn = db.begin_write()?;
    txn.bucket_mut("a")?.put(key, [1; 100])?;
    txn.commit()
}

fn has(db: &Database, key: impl AsRef<[u8]>) -> bool {
    db.view(|txn| txn.bucket("a")?.map_or(Ok(false), |a| a.contains(key))).unwrap()
}

/// The disk after a power cut that took all that it could, `cut` operations after recording began.
fn power_cut(disk: &MemoryStore, cut: usize) -> MemoryStore {
    let after = MemoryStore::with_image(&disk.crash(cut, |_| false));
    after.set_boot_id([2; 16]);
    after
}

/// What another process finds when this one is killed, now.
fn kill(disk: &MemoryStore) -> MemoryStore {
    let after = MemoryStore::with_image(&disk.image());
    after.set_boot_id([1; 16]);
    after
}

#[test]
fn a_commit_is_durable_once_somebody_has_waited_for_it() -> Result<()> {
    let db = relaxed().open_in_memory()?;
    let ids = [put(&db, "1")?, put(&db, "2")?, put(&db, "3")?];
    assert_eq!(db.durable_id().get(), 1);
    db.wait_durable(db.durable_id())?;
    assert_eq!(db.stats()?.syncs, 1, "the one before the first write");
    db.wait_durable(ids[0])?;
    assert_eq!((db.durable_id(), db.stats()?.durable_id), (ids[2], ids[2]), "all that was committed by then");
    let syncs = db.stats()?.syncs;
    ids.iter().try_for_each(|&id| db.wait_durable(id))?;
    assert_eq!(db.stats()?.syncs, syncs, "there was nothing to sync");

    // The id comes out of a closure, too.
    let id = db.exec(|txn| {
        txn.bucket_mut("a")?.put("4", "")?;
        Ok(txn.id())
    })?;
    assert!(db.durable_id() < id);
    db.wait_durable(id)?;
    let id = db.batch(|txn| {
        txn.bucket_mut("a")?.put("5", "")?;
        Ok(txn.id())
    })?;
    db.wait_durable(id)?;
    assert_eq!(db.durable_id(), id);
    Ok(())
}

#[test]
fn what_is_not_committed_is_not_waited_for() -> Result<()> {
    let db = relaxed().open_in_memory()?;
    put(&db, "1")?;
    let mut txn = db.begin_write()?;
    txn.bucket_mut("a")?.put("2", "")?;
    let id = txn.id();
    txn.abort();
    for _ in 0..2 {
        match db.wait_durable(id) {
            Err(Error::NotCommitted { id: asked, newest }) => assert_eq!((asked, newest), (id.get(), 2)),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(put(&db, "2")?, id);
    db.wait_durable(id)?;

    let disk = MemoryStore::new();
    drop(relaxed().open_store(&disk)?);
    let reader = Options::new().read_only(true).open_store(&disk)?;
    assert_eq!(reader.durable_id().get(), 1, "as it was closed");
    reader.wait_durable(reader.durable_id())?;
    assert!(matches!(reader.wait_durable(id), Err(Error::ReadOnly)));
    Ok(())
}

/// A thread that holds a write transaction and waits would wait for itself; another one waits for it.
#[test]
fn nobody_waits_for_itself() -> Result<()> {
    let db = relaxed().open_in_memory()?;
    let id = put(&db, "1")?;
    let txn = db.begin_write()?;
    assert!(matches!(db.wait_durable(id), Err(Error::WriteTxnOpen)));
    assert_eq!(db.durable_id().get(), 1, "to look takes no waiting");
    db.wait_durable(db.durable_id())?;
    thread::scope(|scope| {
        let (sender, receiver) = mpsc::channel();
        let db = &db;
        scope.spawn(move || sender.send(db.wait_durable(id)).unwrap());
        assert!(receiver.recv_timeout(Duration::from_millis(50)).is_err());
        // Somebody leads already, and waits for this very thread.
        assert!(matches!(db.wait_durable(id), Err(Error::WriteTxnOpen)));
        drop(txn);
        receiver.recv().unwrap().unwrap();
    });
    assert_eq!(db.durable_id(), id);

    let id = put(&db, "2")?;
    let waited = db.exec(|_| Ok(db.wait_durable(id).is_err()))?;
    let inner = db.clone();
    let waited_in_batch = db.batch(move |_| Ok(inner.wait_durable(id).is_err()))?;
    assert!(waited && waited_in_batch);
    db.wait_durable(id)
}

#[test]
fn the_interval_decides_which_relaxed_commit_syncs() -> Result<()> {
    for (interval, is_each) in [(Some(Duration::ZERO), true), (Some(Duration::MAX), false), (None, false)] {
        let options = interval.map_or(relaxed(), |interval| relaxed().sync_interval(interval));
        let db = options.open_in_memory()?;
        for n in 0..10u8 {
            let id = put(&db, [n])?;
            assert_eq!(db.durable_id() == id, is_each, "{interval:?}");
        }
        assert_eq!(db.stats()?.syncs, if is_each { 1 + 2 * 10 } else { 1 }, "{interval:?}");
        db.exec(|_| Ok(()))?;
        assert_eq!(db.durable_id().get() == 11, is_each, "nothing was committed");
    }
    // The interval counts from the last sync, whoever made it.
    let db = relaxed().sync_interval(Duration::from_secs(3600)).open_in_memory()?;
    put(&db, "1")?;
    db.sync()?;
    let durable = db.durable_id();
    put(&db, "2")?;
    assert_eq!(db.durable_id(), durable);
    Ok(())
}

#[test]
fn the_interval_is_that_of_the_first_open() -> Result<()> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.folio");
    let db = Options::new().sync_interval(Duration::from_secs(1)).open(&path)?;
    assert!(Options::new().open(&path).is_ok());
    assert!(Options::new().sync_interval(Duration::from_secs(1)).open(&path).is_ok());
    let other = Options::new().sync_interval(Duration::from_secs(2)).open(&path);
    assert!(matches!(other, Err(Error::InvalidOption { option: "sync_interval", .. })));
    drop(db);
    Ok(())
}

/// Eight threads commit and wait, round after round. Few syncs serve them all, and a power cut at any operation takes nothing that one of
/// them was told to be durable; a process that is killed loses nothing at all.
#[test]
fn threads_that_wait_share_a_sync() -> Result<()> {
    const THREADS: u8 = 8;
    const ROUNDS: u8 = 12;
    let disk = MemoryStore::new();
    disk.set_boot_id([1; 16]);
    let db = relaxed().open_store(&disk)?;
    put(&db, "before")?;
    db.sync()?;
    disk.record();
    let (syncs, commits) = (db.stats()?.syncs, db.stats()?.commits);
    // Which keys were durable for certain after how many operations.
    let told = Mutex::new(Vec::new());
    let barrier = Barrier::new(THREADS.into());
    thread::scope(|scope| {
        for thread in 0..THREADS {
            let (db, disk, told, barrier) = (&db, &disk, &told, &barrier);
            scope.spawn(move || {
                for round in 0..ROUNDS {
                    let key = [thread, round];
                    let id = put(db, key).unwrap();
                    // In every other round they wait all at once; else whenever they come to it.
                    if round % 2 == 0 {
                        barrier.wait();
                    }
                    db.wait_durable(id).unwrap();
                    assert!(db.durable_id() >= id);
                    told.lock().unwrap().push((disk.operation_count(), key));
                    if round % 2 == 0 {
                        barrier.wait();
                    }
                }
            });
        }
    });
    let told = told.into_inner().unwrap();
    let commits = db.stats()?.commits - commits;
    let syncs = db.stats()?.syncs - syncs;
    assert_eq!(commits, u64::from(THREADS) * u64::from(ROUNDS));
    // A round in step takes two syncs, one for the pages and one for the meta; one out of step two for each thread at most.
    let rounds = u64::from(ROUNDS) / 2;
    println!("{commits} commits, {syncs} syncs");
    assert!(syncs <= rounds * 2 + rounds * u64::from(THREADS) * 2, "{syncs} syncs");

    for cut in 0..=disk.operation_count() {
        let db = relaxed().open_store(&power_cut(&disk, cut))?;
        let durable = told.iter().filter(|(at, _)| *at <= cut);
        durable.for_each(|(at, key)| assert!(has(&db, key), "cut {cut}: {key:?}, durable at {at}"));
    }
    let last = put(&db, "last")?;
    let after = kill(&disk);
    assert!(has(&relaxed().open_store(&after)?, "last"));
    assert!(!has(&relaxed().open_store(&power_cut(&disk, disk.operation_count()))?, "last"));
    assert!(db.durable_id() < last);
    Ok(())
}

/// Threads that wait at once share one sync, to the last: a round of eight takes two.
#[test]
fn a_round_of_waiting_takes_two_syncs() -> Result<()> {
    let db = relaxed().open_in_memory()?;
    for round in 0..50u8 {
        let ids: Vec<TxnId> = (0..8u8).map(|n| put(&db, [round, n])).collect::<Result<_>>()?;
        let syncs = db.stats()?.syncs;
        thread::scope(|scope| {
            let db = &db;
            ids.iter().for_each(|&id| drop(scope.spawn(move || db.wait_durable(id).unwrap())));
        });
        assert_eq!(db.stats()?.syncs - syncs, 2);
    }
    Ok(())
}

/// A sync that fails is told to everyone who waits: nobody hears of a commit that it is durable when it is not.
#[test]
fn a_failed_sync_is_told_to_all_who_wait() -> Result<()> {
    for call in 1..=3 {
        let disk = MemoryStore::new();
        disk.set_boot_id([1; 16]);
        let db = relaxed().open_store(&disk)?;
        let durable = put(&db, "durable")?;
        db.wait_durable(durable)?;
        disk.record();
        let ids: Vec<TxnId> = (0..8u8).map(|n| put(&db, [n])).collect::<Result<_>>()?;
        // The sync of the pages, the write of the meta, the sync of that.
        disk.fail(call, Failure::SyncDrops);
        let mut errors: Vec<Error> = thread::scope(|scope| {
            let db = &db;
            let waiting: Vec<_> = ids.iter().map(|&id| scope.spawn(move || db.wait_durable(id).unwrap_err())).collect();
            waiting.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        errors.retain(|error| !matches!(error, Error::Failed));
        assert!(matches!(&errors[..], [Error::Io { .. }]), "call {call}: one has tried: {errors:?}");
        assert_eq!(db.durable_id(), durable);
        db.wait_durable(durable)?;
        assert!(matches!(db.wait_durable(ids[0]), Err(Error::Failed)));
        assert!(matches!(db.begin_write(), Err(Error::Failed)));
        assert!(has(&db, [7]), "readers see it all the same");
        let db = relaxed().open_store(&power_cut(&disk, disk.operation_count()))?;
        assert!(has(&db, "durable"));
    }
    Ok(())
}

/// What a killed process leaves is in the page cache: durable is what it had made so, until somebody waits for the rest.
#[test]
fn what_is_found_is_durable_when_somebody_has_waited_for_it() -> Result<()> {
    for durability in [Durability::Relaxed, Durability::Durable] {
        let disk = MemoryStore::new();
        disk.set_boot_id([1; 16]);
        let db = Options::new().durability(durability).open_store(&disk)?;
        let ids = [put(&db, "1")?, put(&db, "2")?];
        let known = db.durable_id();
        let disk = kill(&disk);
        disk.record();
        let db = relaxed().open_store(&disk)?;
        assert!(has(&db, "2") && db.durable_id() < ids[1] && db.durable_id() <= known);
        assert_eq!(disk.operation_count(), 0, "opening writes nothing");
        db.wait_durable(ids[1])?;
        assert_eq!(db.durable_id(), ids[1]);
        assert!(has(&relaxed().open_store(&power_cut(&disk, disk.operation_count()))?, "2"));
    }
    Ok(())
}
