//! Savepoints: whatever happens after one, going back to it brings back what was there, and no page is lost or kept (P4).
//!
//! `FOLIO_SEEDS=1000 cargo test --release --test savepoints` goes deeper; `FOLIO_SEED=n` replays one history.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use folio::disk::{Failure, MemoryStore};
use folio::{Database, Error, Options, Savepoint, WriteTxn};

type Model = BTreeMap<String, BTreeMap<Vec<u8>, Vec<u8>>>;

fn few_names() -> Vec<String> {
    ["a", "bb", "ccc", "renamed"].map(str::to_string).to_vec()
}

/// More than the smallest budget lets be open at once.
fn many_names() -> Vec<String> {
    (0..250).map(|n| format!("{n:0$}", 3 + n % 100)).collect()
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().expect("a number"))
}

fn seeds(quick: u64) -> std::ops::Range<u64> {
    match number("FOLIO_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("FOLIO_SEEDS").unwrap_or(quick),
    }
}

fn assert_sound(db: &Database) {
    let report = db.check().unwrap();
    assert!(report.is_ok(), "{:#?}", report.problems);
}

/// The transaction sees just what the model has.
fn compare(txn: &WriteTxn, model: &Model) {
    assert_eq!(txn.buckets().unwrap(), model.keys().cloned().collect::<Vec<_>>());
    for (name, truth) in model {
        let bucket = txn.bucket(name).unwrap().unwrap();
        assert_eq!(bucket.len(), truth.len() as u64, "{name}");
        let mut entries = bucket.iter();
        for (key, value) in truth {
            assert!(entries.next().unwrap().unwrap() == (key, value));
        }
        assert!(entries.next().is_none());
    }
}

fn value(rng: &mut fastrand::Rng) -> Vec<u8> {
    let len = match rng.u32(..20) {
        0 => rng.usize(..30_000),
        1..4 => rng.usize(..2500),
        _ => rng.usize(..150),
    };
    vec![rng.u8(..); len]
}

fn key(rng: &mut fastrand::Rng) -> Vec<u8> {
    format!("key/{:04}", rng.u32(..1500)).into_bytes()
}

/// One change of a bucket or of the set of them.
fn change(rng: &mut fastrand::Rng, names: &[String], txn: &mut WriteTxn, model: &mut Model) -> folio::Result<()> {
    let name = &names[rng.usize(..names.len())];
    match rng.u32(..60) {
        0 => {
            assert_eq!(txn.drop_bucket(name)?, model.remove(name).is_some());
        }
        1 => {
            let to = &names[rng.usize(..names.len())];
            match txn.rename_bucket(name, to) {
                Ok(was_there) => {
                    assert_eq!(was_there, model.contains_key(name));
                    if let Some(bucket) = model.remove(name) {
                        model.insert(to.to_string(), bucket);
                    }
                }
                Err(Error::BucketExists { .. }) => assert!(model.contains_key(to)),
                Err(error) => return Err(error),
            }
        }
        2 => {
            txn.bucket_mut(name)?.clear()?;
            model.insert(name.to_string(), BTreeMap::new());
        }
        3..5 => {
            let (from, to) = (key(rng), key(rng));
            txn.bucket_mut(name)?.delete_range(&from..&to)?;
            model.entry(name.to_string()).or_default().retain(|k, _| !(*k >= from && *k < to));
        }
        5..20 => {
            let key = key(rng);
            let was_there = model.entry(name.to_string()).or_default().remove(&key).is_some();
            assert_eq!(txn.bucket_mut(name)?.delete(&key)?, was_there);
        }
        20..23 => {
            txn.bucket_mut(name)?;
            model.entry(name.to_string()).or_default();
        }
        _ => {
            let (key, value) = (key(rng), value(rng));
            txn.bucket_mut(name)?.put(&key, &value)?;
            model.entry(name.to_string()).or_default().insert(key, value);
        }
    }
    Ok(())
}

/// A transaction with savepoints at random: taken, gone back to, released. Answers the state that it leaves.
fn transaction(rng: &mut fastrand::Rng, names: &[String], txn: &mut WriteTxn, mut model: Model) -> Model {
    let mut stack: Vec<(Savepoint, Model)> = Vec::new();
    let length = rng.usize(1..60);
    for _ in 0..length {
        match rng.u32(..10) {
            0..3 => stack.push((txn.savepoint().unwrap(), model.clone())),
            3 if !stack.is_empty() => {
                stack.truncate(rng.usize(..stack.len()) + 1);
                let (savepoint, then) = stack.last().unwrap();
                txn.rollback_to(savepoint).unwrap();
                model.clone_from(then);
                compare(txn, &model);
            }
            4 if !stack.is_empty() => {
                let mut gone = stack.split_off(rng.usize(..stack.len())).into_iter();
                txn.release(gone.next().unwrap().0).unwrap();
                for (later, _) in gone {
                    assert!(matches!(txn.rollback_to(&later), Err(Error::NoSavepoint)));
                }
            }
            _ => {
                for _ in 0..rng.usize(..40) {
                    change(rng, names, txn, &mut model).unwrap();
                }
            }
        }
    }
    compare(txn, &model);
    model
}

#[test]
fn random_nesting_agrees_with_a_model() {
    for seed in seeds(60) {
        println!("replay with FOLIO_SEED={seed}");
        let mut rng = fastrand::Rng::with_seed(seed);
        // The smallest budget, so that savepoints are spilled; or one that is never reached.
        let dirty_pages = *rng.choice(&[64, 100, 65536]).unwrap();
        let page_size = *rng.choice(&[4096, 4096, 8192]).unwrap();
        let options = Options::new().page_size(page_size).dirty_limit(dirty_pages * page_size as usize);
        let names = if rng.u32(..3) == 0 { many_names() } else { few_names() };
        let disk = MemoryStore::new();
        let mut db = options.open_store(&disk).unwrap();
        let mut model = Model::new();
        for _ in 0..8 {
            let mut txn = db.begin_write().unwrap();
            let after = transaction(&mut rng, &names, &mut txn, model.clone());
            if rng.u32(..5) == 0 {
                drop(txn);
            } else {
                txn.commit().unwrap();
                model = after;
            }
            assert_sound(&db);
            if rng.u32(..3) == 0 {
                drop(db);
                db = options.open_store(&disk).unwrap();
                assert_sound(&db);
            }
            compare(&db.begin_write().unwrap(), &model);
        }
    }
}

/// A call of the store fails in the middle of a change, which breaks off half way; going back mends that. Where what failed was the
/// writing of dirty pages, it says that there is no way back.
#[test]
fn what_an_error_left_half_way_is_whole_again() {
    let (mut mended, mut lost) = (0, 0);
    let names = few_names();
    for seed in seeds(25) {
        println!("replay with FOLIO_SEED={seed}");
        let mut rng = fastrand::Rng::with_seed(seed);
        let disk = MemoryStore::new();
        let db = Options::new().dirty_limit(64 * 4096).open_store(&disk).unwrap();
        let mut model = Model::new();
        for _ in 0..8 {
            let mut txn = db.begin_write().unwrap();
            let mut within = model.clone();
            for _ in 0..rng.usize(..60) {
                change(&mut rng, &names, &mut txn, &mut within).unwrap();
            }
            let savepoint = txn.savepoint().unwrap();
            disk.fail(rng.u64(1..10), *rng.choice(&[Failure::Io, Failure::Full, Failure::Short]).unwrap());
            let mut later = within.clone();
            // Small values alone are written by spills alone.
            let is_small = rng.bool();
            let mut next = |n: u32| match is_small {
                true => txn.bucket_mut("small")?.put((n * 7919).to_le_bytes(), [1; 100]),
                false => change(&mut rng, &names, &mut txn, &mut later),
            };
            if (0..5000).find_map(|n| next(n).err()).is_some() {
                assert!(matches!(txn.savepoint(), Err(Error::Broken)));
            }
            match txn.rollback_to(&savepoint) {
                Ok(()) => mended += 1,
                Err(Error::Broken) => {
                    lost += 1;
                    assert!(matches!(txn.commit(), Err(Error::Broken)));
                    assert_sound(&db);
                    compare(&db.begin_write().unwrap(), &model);
                    continue;
                }
                Err(error) => panic!("{error}"),
            }
            compare(&txn, &within);
            for _ in 0..10 {
                change(&mut rng, &names, &mut txn, &mut within).unwrap();
            }
            txn.commit().unwrap();
            model = within;
            assert_sound(&db);
            compare(&db.begin_write().unwrap(), &model);
        }
    }
    assert!(mended > 0 && (lost > 0 || number("FOLIO_SEED").is_some()), "{mended} mended, {lost} lost");
}

/// The disk is full when dirty pages are to be spilled: none of them was touched, so there is a way back. It is full for one call more
/// each time, until there is no other way left to have the room.
#[test]
fn a_full_disk_goes_back_and_on() {
    let fill = |txn: &mut WriteTxn| -> folio::Result<()> {
        let mut bucket = txn.bucket_mut("a")?;
        (0..5_000u32).try_for_each(|n| bucket.put((n * 7919).to_le_bytes(), [7; 100]))
    };
    let is_refused = |calls: u64| {
        let disk = MemoryStore::new();
        let db = Options::new().dirty_limit(64 * 4096).open_store(&disk).unwrap();
        let mut txn = db.begin_write().unwrap();
        txn.bucket_mut("a").unwrap().put("kept", "1").unwrap();
        (1..=calls).for_each(|call| disk.fail(call, Failure::Full));
        let filled = txn.nested(fill);
        if let Err(error) = &filled {
            assert!(matches!(error, Error::Io { .. }), "{error}");
            assert_eq!(txn.bucket("a").unwrap().unwrap().len(), 1);
            txn.nested(fill).unwrap();
        }
        txn.commit().unwrap();
        assert_sound(&db);
        assert_eq!(db.begin_read().unwrap().bucket("a").unwrap().unwrap().len(), 5_001);
        filled.is_err()
    };
    assert!((1..10).any(is_refused));
}

/// Where the disk has no room for a large value, no pages stay behind that are free and yet not in the file: the rows of sorted input would
/// be the first to lie there.
#[test]
fn what_a_full_disk_had_no_room_for_is_not_free_later() {
    for failures in 0..=2 {
        let store = MemoryStore::new();
        let db = Options::new().dirty_limit(256 << 10).open_store(&store).unwrap();
        db.exec(|txn| txn.bucket_mut("rows")?.put("", "first")).unwrap();
        let mut txn = db.begin_write().unwrap();
        (1..=failures).for_each(|call| store.fail(call, Failure::Full));
        let large = txn.nested(|txn| txn.bucket_mut("large")?.put("x", vec![1; 8 << 20]));
        assert_eq!(large.is_err(), failures == 2, "growing is tried twice");

        let mut rows = txn.bucket_mut("rows").unwrap();
        for n in 0..20_000_u64 {
            rows.put(n.to_be_bytes(), [7; 100]).unwrap();
            if n % 500 == 0 {
                for seen in [0, n / 2, n] {
                    assert_eq!(rows.get(seen.to_be_bytes()).unwrap(), Some(&[7; 100][..]));
                }
            }
        }
        txn.commit().unwrap();
        assert_sound(&db);
        assert_eq!(db.view(|txn| Ok(txn.bucket("rows")?.unwrap().len())).unwrap(), 20_001);
    }
}

#[test]
fn a_full_database_goes_back_and_on() {
    let db = Options::new().max_size(200 * 4096).open_in_memory().unwrap();
    let mut txn = db.begin_write().unwrap();
    txn.bucket_mut("a").unwrap().put("kept", "1").unwrap();
    let savepoint = txn.savepoint().unwrap();
    let fill = |txn: &mut WriteTxn| -> folio::Result<()> {
        let mut bucket = txn.bucket_mut("a")?;
        (0..10_000u32).try_for_each(|n| bucket.put(n.to_be_bytes(), [7; 3000]))
    };
    for _ in 0..3 {
        assert!(matches!(fill(&mut txn), Err(Error::Full { .. })));
        txn.rollback_to(&savepoint).unwrap();
        assert_eq!(txn.bucket("a").unwrap().unwrap().len(), 1);
    }
    assert!(matches!(txn.nested(fill), Err(Error::Full { .. })));
    txn.bucket_mut("a").unwrap().put("too", "2").unwrap();
    txn.commit().unwrap();
    assert_sound(&db);
    assert_eq!(db.begin_read().unwrap().bucket("a").unwrap().unwrap().len(), 2);
}

#[test]
fn nested_takes_back_errors_and_panics_and_nothing_else() {
    let db = Database::in_memory().unwrap();
    db.exec(|txn| {
        txn.nested(|txn| txn.bucket_mut("a")?.put("1", "kept"))?;
        let failed = txn.nested(|txn| {
            txn.bucket_mut("a")?.put("2", "lost")?;
            txn.nested(|txn| txn.bucket_mut("b")?.put("3", "lost with it"))?;
            Err::<(), _>(Error::other("no"))
        });
        assert!(matches!(failed, Err(Error::Other(_))));
        let panicked = catch_unwind(AssertUnwindSafe(|| {
            txn.nested(|txn| -> folio::Result<()> {
                txn.bucket_mut("a")?.put("1", "lost")?;
                panic!("on purpose")
            })
        }));
        assert!(panicked.is_err());
        // One that lets go of what it stands on is told so.
        let outer = txn.savepoint()?;
        let gone = txn.nested(|txn| {
            txn.rollback_to(&outer)?;
            txn.bucket_mut("a")?.put("5", "lost, though it cannot be told from what is kept")
        });
        assert!(matches!(gone, Err(Error::NoSavepoint)));
        assert!(matches!(txn.bucket_mut("a")?.put("6", "lost"), Err(Error::Broken)));
        txn.rollback_to(&outer)?;
        txn.bucket_mut("a")?.put("4", "kept")
    })
    .unwrap();
    let txn = db.begin_read().unwrap();
    assert_eq!(txn.buckets().unwrap(), ["a"]);
    let entries = txn.bucket("a").unwrap().unwrap();
    let keys: Vec<_> = entries.iter().map(|entry| entry.unwrap()).collect();
    assert_eq!(keys, [(&b"1"[..], &b"kept"[..]), (b"4", b"kept")]);
}

#[test]
fn a_savepoint_of_another_transaction_is_refused() {
    let db = Database::in_memory().unwrap();
    let mut txn = db.begin_write().unwrap();
    let old = txn.savepoint().unwrap();
    drop(txn);
    let mut txn = db.begin_write().unwrap();
    let here = txn.savepoint().unwrap();
    assert!(matches!(txn.rollback_to(&old), Err(Error::NoSavepoint)));
    assert!(matches!(txn.release(old), Err(Error::NoSavepoint)));
    txn.rollback_to(&here).unwrap();
    txn.release(here).unwrap();
}

/// What a savepoint costs depends on what changes after it, not on what the transaction did before.
#[test]
fn a_savepoint_costs_what_changes_after_it() {
    let disk = MemoryStore::new();
    let db = Options::new().dirty_limit(64 * 4096).open_store(&disk).unwrap();
    let mut txn = db.begin_write().unwrap();
    (0..100_000u32).for_each(|n| txn.bucket_mut("a").unwrap().put(n.to_be_bytes(), [1; 100]).unwrap());
    let calls = disk.call_count();
    for n in 0..1000u32 {
        let savepoint = txn.savepoint().unwrap();
        txn.bucket_mut("a").unwrap().put((n * 97).to_be_bytes(), [2; 100]).unwrap();
        if n % 2 == 0 {
            txn.rollback_to(&savepoint).unwrap();
        }
        txn.release(savepoint).unwrap();
    }
    // Five hundred leaves, in a budget of 64 pages.
    assert!(disk.call_count() - calls < 500, "{} calls", disk.call_count() - calls);
    txn.commit().unwrap();
    assert_sound(&db);
    let txn = db.begin_read().unwrap();
    let bucket = txn.bucket("a").unwrap().unwrap();
    let changed = (0..100_000u32).filter(|n| bucket.get(n.to_be_bytes()).unwrap().unwrap()[0] == 2).count();
    assert_eq!(changed, 500);
}

/// A thousand deep, with pages that every level sees in another state.
#[test]
fn savepoints_nest_deeply() {
    let db = Options::new().dirty_limit(64 * 4096).open_in_memory().unwrap();
    let mut txn = db.begin_write().unwrap();
    let mut stack = Vec::new();
    for n in 0..1000u32 {
        txn.bucket_mut("a").unwrap().put("n", n.to_be_bytes()).unwrap();
        txn.bucket_mut("a").unwrap().put(n.to_be_bytes(), vec![n as u8; 500 + n as usize * 7]).unwrap();
        stack.push(txn.savepoint().unwrap());
    }
    for n in (0..1000u32).rev() {
        let savepoint = stack.pop().unwrap();
        if n % 3 == 0 {
            txn.release(savepoint).unwrap();
            continue;
        }
        txn.rollback_to(&savepoint).unwrap();
        let bucket = txn.bucket("a").unwrap().unwrap();
        assert_eq!(bucket.len(), u64::from(n) + 2);
        assert_eq!(bucket.get("n").unwrap(), Some(&n.to_be_bytes()[..]));
        assert_eq!(bucket.get(n.to_be_bytes()).unwrap().unwrap().len(), 500 + n as usize * 7);
        txn.release(savepoint).unwrap();
    }
    txn.commit().unwrap();
    assert_sound(&db);
}

/// More buckets than a transaction keeps open: those that it closed come back, too.
#[test]
fn thousands_of_buckets_come_back() {
    let db = Options::new().dirty_limit(64 * 4096).open_in_memory().unwrap();
    let mut txn = db.begin_write().unwrap();
    let fill = |txn: &mut WriteTxn, range: std::ops::Range<u32>, value: &str| {
        range.for_each(|n| txn.bucket_mut(&format!("bucket {n:04}")).unwrap().put("key", value).unwrap());
    };
    fill(&mut txn, 0..800, "old");
    let savepoint = txn.savepoint().unwrap();
    fill(&mut txn, 400..2500, "new");
    let later = txn.savepoint().unwrap();
    fill(&mut txn, 0..2500, "newer");
    for (savepoint, count, middle) in [(&later, 2500, "new"), (&savepoint, 800, "old")] {
        txn.rollback_to(savepoint).unwrap();
        assert_eq!(txn.buckets().unwrap().len(), count);
        for (n, value) in [(0, "old"), (399, "old"), (400, middle), (799, middle)] {
            let bucket = txn.bucket(&format!("bucket {n:04}")).unwrap().unwrap();
            assert_eq!(bucket.get("key").unwrap(), Some(value.as_bytes()));
        }
    }
    txn.commit().unwrap();
    assert_sound(&db);
    assert_eq!(db.begin_read().unwrap().buckets().unwrap().len(), 800);
}
