//! `Options::max_size`: a database at its limit can be read, emptied and written over, with whatever durability, and what it refuses
//! changes nothing.

use folio::{Database, Durability, Error, Options, Result};

fn assert_sound(db: &Database) {
    let report = db.check().unwrap();
    assert!(report.is_ok(), "{:#?}", report.problems);
}

/// A full database: dropping one of two buckets that grew side by side must be possible.
#[test]
fn a_bucket_can_be_dropped_from_a_full_database() -> Result<()> {
    let db = Options::new().max_size(256 << 20).durability(Durability::Relaxed).open_in_memory()?;
    'fill: for n in 0..u64::MAX {
        for name in ["a", "b"] {
            let r = db.exec(|txn| {
                // one leaf's worth of a sorted load
                let mut b = txn.bucket_mut(name)?;
                (0..2u64).try_for_each(|i| b.append((n * 2 + i).to_be_bytes(), vec![n as u8; 1900]))
            });
            match r {
                Ok(()) => {}
                Err(Error::Full { .. }) => break 'fill,
                Err(e) => return Err(e),
            }
        }
    }
    db.sync()?;
    assert_sound(&db);
    assert!(db.exec(|txn| txn.drop_bucket("a"))?);
    assert_sound(&db);
    Ok(())
}

/// Relaxed commits at the limit: what they hold back, only the last durable commit needs.
#[test]
fn relaxed_deletes_in_a_full_database() -> Result<()> {
    let db = Options::new().max_size(4 << 20).durability(Durability::Relaxed).open_in_memory()?;
    let mut n = 0u64;
    loop {
        match db.exec(|txn| txn.bucket_mut("a")?.append(n.to_be_bytes(), vec![1; 900])) {
            Ok(()) => n += 1,
            Err(Error::Full { .. }) => break,
            Err(e) => return Err(e),
        }
    }
    for k in (0..n).step_by(5) {
        let r = db.exec(|txn| txn.bucket_mut("a")?.delete(k.to_be_bytes()));
        assert!(r.is_ok(), "delete of {k} of {n}: {r:?} {:?}", db.stats()?);
    }
    Ok(())
}

/// `Full` before anything was changed must leave the transaction good, as it does for a small value.
#[test]
fn a_large_value_that_finds_no_run_leaves_the_transaction_good() -> Result<()> {
    let db = Options::new().max_size(2 << 20).open_in_memory()?;
    // Two leaves' worth in turn, then every other one goes: free pages, none beside another.
    let mut n = 0u64;
    loop {
        match db.exec(|txn| txn.bucket_mut("a")?.append(n.to_be_bytes(), vec![1; 5000])) {
            Ok(()) => n += 1,
            Err(Error::Full { .. }) => break,
            Err(e) => return Err(e),
        }
    }
    for k in (0..n).step_by(2) {
        db.exec(|txn| txn.bucket_mut("a")?.delete(k.to_be_bytes()))?;
    }
    db.exec(|txn| txn.bucket_mut("b")?.put("x", "y"))?;
    let stats = db.stats()?;
    let mut txn = db.begin_write()?;
    txn.bucket_mut("b")?.put("kept", "v")?;
    let r = txn.bucket_mut("b")?.put("large", vec![1; 200_000]);
    assert!(matches!(r, Err(Error::Full { .. })), "{r:?}");
    let r = txn.bucket_mut("b")?.put("small", "v");
    assert!(r.is_ok(), "{r:?} with {} pages free", stats.free_pages);
    txn.commit()?;
    assert_sound(&db);
    Ok(())
}

/// A large transaction whose puts were all taken is refused at the commit.
#[test]
fn puts_that_were_taken_are_committed() -> Result<()> {
    let db = Options::new().max_size(64 << 20).open_in_memory()?;
    // Two buckets whose leaves lie in turn.
    let mut n = 0u64;
    while n < 4000 {
        for name in ["a", "b"] {
            db.exec(|txn| txn.bucket_mut(name)?.append(n.to_be_bytes(), vec![1; 1900]))?;
        }
        n += 1;
    }
    // Rewrites "a" until a put says that it is full.
    let mut txn = db.begin_write()?;
    let mut done = 0;
    for k in 0..n {
        match txn.bucket_mut("a")?.put(k.to_be_bytes(), vec![2; 1900]) {
            Ok(()) => done += 1,
            Err(Error::Full { .. }) => break,
            Err(e) => return Err(e),
        }
    }
    loop {
        match txn.bucket_mut("c")?.put((done as u64).to_be_bytes(), vec![2; 1900]) {
            Ok(()) => done += 1,
            Err(Error::Full { .. }) => break,
            Err(e) => return Err(e),
        }
    }
    let r = txn.commit();
    assert!(r.is_ok(), "{r:?}");
    assert_sound(&db);
    Ok(())
}

/// A relaxed database that only overwrites what it holds, three fifths of its limit, must not end.
#[test]
fn relaxed_overwrites_go_on_for_ever() -> Result<()> {
    let db = Options::new().max_size(8 << 20).durability(Durability::Relaxed).open_in_memory()?;
    let n = 5000u64;
    db.exec(|txn| (0..n).try_for_each(|k| txn.bucket_mut("a")?.append(k.to_be_bytes(), vec![1; 900])))?;
    db.sync()?;
    let mut rng = fastrand::Rng::with_seed(1);
    for round in 0..20_000 {
        let r = db.exec(|txn| txn.bucket_mut("a")?.put(rng.u64(..n).to_be_bytes(), vec![2; 900]));
        if r.is_err() {
            let stats = db.stats()?;
            let again = db.exec(|txn| txn.bucket_mut("a")?.put(0u64.to_be_bytes(), vec![2; 900]));
            db.sync()?;
            let after = db.exec(|txn| txn.bucket_mut("a")?.put(0u64.to_be_bytes(), vec![2; 900]));
            panic!("overwrite {round}: {r:?}, again {again:?}, after a sync {after:?}; {stats:?}");
        }
    }
    Ok(())
}

/// A value that is refused is refused before anything changes: whatever it takes of a page more than it has, and whatever of the room a
/// spill takes first.
#[test]
fn a_large_value_is_refused_in_time() -> Result<()> {
    const PAGE: usize = 4096;
    let limit = 2000 * PAGE;
    let options = || Options::new().max_size(limit as u64).dirty_limit(64 * PAGE);
    let fill = |db: &Database, pages: usize| -> Result<u64> {
        for n in 0u64.. {
            match db.exec(|txn| txn.bucket_mut("a")?.put(n.to_be_bytes(), vec![1; pages * PAGE])) {
                Ok(()) => {}
                Err(Error::Full { .. }) => return Ok(n),
                Err(error) => return Err(error),
            }
        }
        unreachable!()
    };
    let mut refused = 0;
    for len in (1..40).map(|n| n * PAGE + 1).chain((200..320).map(|n| n * PAGE)) {
        let db = options().open_in_memory()?;
        let count = fill(&db, 10)?;
        let gone: Vec<u64> = if len < 100 * PAGE { (0..count).step_by(2).collect() } else { (20..50).collect() };
        gone.iter().try_for_each(|n| db.exec(|txn| txn.bucket_mut("a")?.delete(n.to_be_bytes())).map(|_| ()))?;
        db.exec(|txn| txn.bucket_mut("b")?.put("k", "v"))?;
        let mut txn = db.begin_write()?;
        for n in 0..if len < 100 * PAGE { 1 } else { 187u32 } {
            txn.bucket_mut("c")?.put(n.to_be_bytes(), vec![2; 1300])?;
        }
        let result = txn.bucket_mut("b")?.put("large", vec![3; len]);
        assert!(matches!(result, Ok(()) | Err(Error::Full { .. })), "{result:?}");
        refused += u32::from(result.is_err());
        // One that was taken may have been the last.
        let next = txn.bucket_mut("b")?.put("k2", "y");
        assert!(next.is_ok() || result.is_ok() && matches!(next, Err(Error::Full { .. })), "{next:?} after {result:?}");
        txn.commit()?;
        assert_sound(&db);
    }
    assert!(refused > 10, "{refused} refused");
    Ok(())
}

/// Values of one page fill what is free up to the limit, the room that is set aside for branches too.
#[test]
fn values_of_one_page_find_all_the_room_there_is() -> Result<()> {
    let db = Options::new().max_size(24 << 20).open_in_memory()?;
    let mut rng = fastrand::Rng::with_seed(3);
    let entries = 80_000u64;
    db.exec(|txn| {
        let mut b = txn.bucket_mut("a")?;
        (0..entries).try_for_each(|n| b.append(n.to_be_bytes(), [1; 170]))
    })?;
    for _ in 0..60 {
        db.exec(|txn| {
            let mut b = txn.bucket_mut("a")?;
            (0..200).try_for_each(|_| b.put(rng.u64(..entries).to_be_bytes(), [2; 170]))
        })?;
    }
    let mut n = 0u64;
    let mut is_full = false;
    while !is_full {
        let mut txn = db.begin_write()?;
        for _ in 0..rng.u32(1..40) {
            n += 1;
            match txn.bucket_mut("b")?.put(n.to_be_bytes(), vec![3; 3000]) {
                Ok(()) => {}
                Err(Error::Full { .. }) => {
                    is_full = true;
                    break;
                }
                Err(error) => return Err(error),
            }
        }
        // A refusal leaves the transaction good.
        txn.bucket_mut("b")?.delete(1u64.to_be_bytes())?;
        txn.commit()?;
    }
    let stats = db.stats()?;
    assert!(stats.free_pages < 100, "{stats:?}");
    assert_sound(&db);
    Ok(())
}
