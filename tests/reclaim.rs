//! Where the pages go: what is freed is used again, what is pinned is not, limits hold, a spill leaves no trace, the file
//! gives back what it does not need, and the same operations make the same bytes.

use std::collections::BTreeMap;

use folio::disk::{Failure, MemoryStore};
use folio::{Bucket, Database, Durability, Error, Options, ReadTxn, Result, Stats, WriteTxn};

/// The entries of a bucket.
type Content = Vec<(Vec<u8>, Vec<u8>)>;

fn assert_sound(db: &Database) {
    let report = db.check().unwrap();
    assert!(report.is_ok(), "{:#?}", report.problems);
}

fn parts(stats: &Stats) -> (u64, u64, u64, u64) {
    (stats.page_count, stats.used_pages, stats.free_pages, stats.pending_pages)
}

/// The limit of `max_size` is an error that leaves the database readable, and room enough to delete.
#[test]
fn a_full_database_can_be_read_and_emptied_and_filled_again() -> Result<()> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.folio");
    let limit = 1 << 20;
    for value_len in [100, 1500, 10_000] {
        let db = Options::new().max_size(limit).open(path.with_extension(value_len.to_string()))?;
        let fill = || -> Result<u64> {
            for n in 0.. {
                let result = db.exec(|txn| {
                    let mut a = txn.bucket_mut("a")?;
                    (0..20u64).try_for_each(|i| a.put((n * 20 + i).to_be_bytes(), vec![n as u8; value_len]))
                });
                match result {
                    Ok(()) => assert!(n < 1000),
                    Err(Error::Full { limit: said }) => {
                        assert_eq!(said, limit);
                        return Ok(n * 20);
                    }
                    Err(error) => return Err(error),
                }
            }
            unreachable!()
        };
        for _ in 0..3 {
            let count = fill()?;
            let used = count * (value_len as u64 + 10);
            assert!(used > limit / 2 && db.stats()?.file_len <= limit, "{used} bytes in {} entries", count);
            assert_eq!(path.with_extension(value_len.to_string()).metadata().unwrap().len(), db.stats()?.file_len);
            assert_sound(&db);
            let txn = db.begin_read()?;
            let a = txn.bucket("a")?.unwrap();
            assert_eq!(a.len(), count);
            assert!(a.iter().all(|entry| entry.is_ok_and(|(_, value)| value.len() == value_len)));
            drop(txn);
            assert!(matches!(db.exec(|txn| txn.bucket_mut("a")?.put("k", vec![0; 700_000])), Err(Error::Full { .. })));
            // One by one, each in a commit of its own, which needs pages of its own.
            for n in 0..count.min(100) {
                assert!(db.exec(|txn| txn.bucket_mut("a")?.delete(n.to_be_bytes()))?);
            }
            assert_eq!(db.exec(|txn| txn.bucket_mut("a")?.delete_range(..))?, count - count.min(100));
            assert_sound(&db);
        }
    }
    Ok(())
}

#[test]
fn what_fits_is_committed_though_the_rest_was_refused() -> Result<()> {
    let db = Options::new().max_size(1 << 20).open_in_memory()?;
    let mut txn = db.begin_write()?;
    let mut a = txn.bucket_mut("a")?;
    let mut count = 0u64;
    while a.put(count.to_be_bytes(), [1; 500]).is_ok() {
        count += 1;
    }
    assert!(matches!(a.put("k", [1; 500]), Err(Error::Full { .. })));
    assert!((1000..2200).contains(&count) && a.len() == count, "{count}");
    txn.commit()?;
    assert_eq!(db.view(|txn| Ok(txn.bucket("a")?.unwrap().len()))?, count);
    assert_sound(&db);
    Ok(())
}

/// While a reader holds everything back, deleting needs more room than there is. It waits for the reader, unharmed.
#[test]
fn a_full_database_with_a_reader() -> Result<()> {
    let db = Options::new().max_size(1 << 20).open_in_memory()?;
    let fill = |txn: &mut WriteTxn| {
        let mut a = txn.bucket_mut("a")?;
        (0..1400u64).try_for_each(|n| a.put(n.to_be_bytes(), [1; 500]))
    };
    db.exec(fill)?;
    let reader = db.begin_read()?;
    // One entry of each leaf, so that every leaf has to be there twice.
    let mut delete = (0..1400u64).step_by(7).map(|n| db.exec(|txn| txn.bucket_mut("a")?.delete(n.to_be_bytes())));
    let error = delete.find_map(Result::err).expect("a file of two hundred leaves and as many again is too long");
    assert!(matches!(error, Error::Full { .. }), "{error}");
    assert_eq!(reader.bucket("a")?.unwrap().len(), 1400);
    assert_sound(&db);
    drop(reader);
    db.exec(|txn| txn.bucket_mut("a")?.clear())?;
    assert_eq!(db.view(|txn| Ok(txn.bucket("a")?.unwrap().len()))?, 0);
    assert_sound(&db);
    db.exec(fill)
}

#[test]
fn writing_over_and_over_takes_no_more_room() -> Result<()> {
    for durability in [Durability::Durable, Durability::Relaxed] {
        let db = Options::new().durability(durability).open_in_memory()?;
        let mut after = Vec::new();
        for round in 0..600u32 {
            db.exec(|txn| {
                let mut a = txn.bucket_mut("a")?;
                (0..10u32).try_for_each(|n| a.put((n * 10 + round % 10).to_be_bytes(), vec![round as u8; 300]))?;
                a.put("large", vec![round as u8; 9000])
            })?;
            if round % 200 == 199 {
                after.push(db.stats()?.page_count);
            }
        }
        // Twelve leaves and three pages of value; the snapshots before and the space log come on top, not each commit.
        assert!(after[2] <= after[0] + 8 && after[2] < 80, "{durability:?}: {after:?}");
        assert_sound(&db);
    }
    Ok(())
}

fn content(bucket: &Bucket<'_>) -> Vec<(Vec<u8>, Vec<u8>)> {
    bucket.iter().map(|entry| entry.map(|(key, value)| (key.to_vec(), value.to_vec())).unwrap()).collect()
}

/// T26: snapshots held over thousands of commits that overwrite all that they see.
#[test]
fn t26_a_snapshot_stays_as_it_is_for_thousands_of_commits() -> Result<()> {
    let dir = tempfile::tempdir().unwrap();
    let db = Options::new().durability(Durability::Relaxed).open(dir.path().join("a.folio"))?;
    let mut rng = fastrand::Rng::with_seed(1);
    let mut held: Vec<(ReadTxn, Content)> = Vec::new();
    let mut model = BTreeMap::new();
    for round in 0..2500u32 {
        db.exec(|txn| {
            let mut a = txn.bucket_mut("a")?;
            for _ in 0..3 {
                let key = rng.u32(..150).to_be_bytes().to_vec();
                let len = if rng.u32(..20) == 0 { 6000 } else { rng.usize(..300) };
                let value = vec![round as u8; len];
                a.put(&key, &value)?;
                model.insert(key, value);
            }
            Ok(())
        })?;
        if round % 500 == 20 {
            held.push((db.begin_read()?, model.clone().into_iter().collect()));
        }
    }
    for (txn, expected) in &held {
        assert!(content(&txn.bucket("a")?.unwrap()) == *expected);
    }
    assert_eq!(db.stats()?.pinned_snapshots, 5);
    assert_sound(&db);
    Ok(())
}

/// T19: a reader that is never closed holds back the pages that it can see, and not all that was freed since; `stats` says
/// who holds back how much.
#[test]
fn t19_a_forgotten_reader_holds_back_no_more_than_it_sees() -> Result<()> {
    let db = Database::in_memory()?;
    let write = |round: u32| {
        db.exec(|txn| {
            let mut a = txn.bucket_mut("a")?;
            (0..400u32).try_for_each(|n| a.put(n.to_be_bytes(), [round as u8; 400]))
        })
    };
    write(0)?;
    let size = db.stats()?.used_pages;
    let forgotten = db.begin_read()?;
    let mut page_counts = Vec::new();
    for round in 1..=60 {
        write(round)?;
        let stats = db.stats()?;
        assert_eq!((stats.oldest_pinned, stats.pinned_snapshots), (Some(forgotten.id()), 1));
        // All that it sees has been overwritten, so all of it is held back, by it alone.
        assert_eq!(stats.held_bytes, size * 4096);
        page_counts.push(stats.page_count);
    }
    assert!(page_counts[59] <= page_counts[3] + 4 && page_counts[59] < size * 5, "{size}: {page_counts:?}");
    assert!(forgotten.bucket("a")?.unwrap().iter().all(|entry| entry.unwrap().1 == [0; 400]));
    let newer = db.begin_read()?;
    write(61)?;
    assert_eq!((db.stats()?.oldest_pinned, db.stats()?.pinned_snapshots), (Some(forgotten.id()), 2));
    assert!(db.stats()?.held_bytes >= 2 * (size - 2) * 4096);
    drop(forgotten);
    write(62)?;
    assert_eq!(db.stats()?.oldest_pinned, Some(newer.id()));
    drop(newer);
    write(63)?;
    assert_eq!((db.stats()?.held_bytes, db.stats()?.oldest_pinned), (0, None));
    assert_sound(&db);
    Ok(())
}

/// T24: when most of the data is deleted the file shrinks, and its pages are not left almost empty.
#[test]
fn t24_the_file_shrinks_when_most_is_deleted() -> Result<()> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.folio");
    let db = Database::open(&path)?;
    let mut rng = fastrand::Rng::with_seed(1);
    let mut keys: Vec<u32> = (0..12_000).collect();
    rng.shuffle(&mut keys);
    db.exec(|txn| txn.bucket_mut("keep")?.put("k", "v"))?;
    db.exec(|txn| keys.iter().try_for_each(|key| txn.bucket_mut("a")?.put(key.to_be_bytes(), [1; 500])))?;
    let full = db.stats()?.file_len;
    assert!(full > 6_000_000);
    let (gone, kept) = keys.split_at(keys.len() * 9 / 10);
    for part in gone.chunks(1000) {
        db.exec(|txn| part.iter().try_for_each(|key| txn.bucket_mut("a")?.delete(key.to_be_bytes()).map(|_| ())))?;
    }
    let txn = db.begin_read()?;
    let stats = txn.bucket("a")?.unwrap().stats()?;
    assert_eq!(stats.entries as usize, kept.len());
    assert!(stats.fill > 0.33, "{stats:?}");
    assert!(stats.leaf_pages < 2 * 1200 * 512 / 4096, "{stats:?}");
    drop(txn);
    db.exec(|txn| txn.bucket_mut("a")?.clear())?;
    for n in 0..4 {
        db.exec(|txn| txn.bucket_mut("keep")?.put("k", n.to_string()))?;
    }
    let file_len = path.metadata().unwrap().len();
    assert_eq!(file_len, db.stats()?.file_len);
    assert!(file_len < full / 3, "{full} bytes became {file_len}");
    assert_eq!(db.view(|txn| Ok(txn.bucket("keep")?.unwrap().len()))?, 1);
    assert_sound(&db);
    drop(db);
    assert_sound(&Database::open(&path)?);
    Ok(())
}

/// T21: with very many free extents a small commit stays small.
#[test]
fn t21_a_small_commit_writes_little_though_the_free_space_is_in_shreds() -> Result<()> {
    // Values of a page each, of which every other one is deleted: as many extents of one page.
    let extents: u32 = std::env::var("FOLIO_EXTENTS").map_or(40_000, |text| text.parse().expect("a number"));
    let disk = MemoryStore::new();
    let db = Options::new().dirty_limit(1 << 30).open_store(&disk)?;
    let value = vec![1; 4096];
    db.exec(|txn| {
        let mut a = txn.bucket_mut("a")?;
        (0..2 * extents).try_for_each(|n| a.append(n.to_be_bytes(), &value))
    })?;
    db.exec(|txn| {
        let mut a = txn.bucket_mut("a")?;
        (0..2 * extents).step_by(2).try_for_each(|n| a.delete(n.to_be_bytes()).map(|_| ()))
    })?;
    db.exec(|txn| txn.bucket_mut("b")?.put("k", "v"))?;
    assert!(db.stats()?.free_pages >= u64::from(extents));
    let mut most = 0;
    let start = db.stats()?.bytes_written;
    for n in 0..300u32 {
        let before = db.stats()?.bytes_written;
        db.exec(|txn| txn.bucket_mut("b")?.put(n.to_be_bytes(), [1; 100]))?;
        most = most.max(db.stats()?.bytes_written - before);
    }
    let all = db.stats()?.bytes_written - start;
    println!("{extents} extents: at most {most} bytes a commit, {} on average", all / 300);
    assert!(most < 65_536, "{most} bytes in one commit");
    assert!(all / 300 < 20_000, "{} bytes a commit", all / 300);
    Ok(())
}

/// Runs a history that leaves no kind of operation out, with `noise` in the memory that the library allocates from.
fn history(noise: u8) -> Vec<u8> {
    let disk = MemoryStore::new();
    disk.set_boot_id([1; 16]);
    let db = Options::new().dirty_limit(64 * 4096).open_store(&disk).unwrap();
    let mut rng = fastrand::Rng::with_seed(5);
    for round in 0..60 {
        // Memory that is given back with something in it.
        drop((0..64).map(|_| vec![noise; 4096]).collect::<Vec<_>>());
        let mut txn = db.begin_write().unwrap();
        for _ in 0..if round == 30 { 2000 } else { rng.usize(1..40) } {
            let mut a = txn.bucket_mut(["a", "b"][rng.usize(..2)]).unwrap();
            let key = rng.u16(..4000).to_be_bytes();
            match rng.u32(..20) {
                0..6 => drop(a.delete(key).unwrap()),
                6 => a.put(key, vec![1; rng.usize(..20_000)]).unwrap(),
                7 => a.reserve(key, rng.usize(..1000), |bytes| bytes[..].fill(7)).unwrap(),
                8 => drop(a.delete_range(key..(rng.u16(..4000).to_be_bytes())).unwrap()),
                _ => a.put(key, vec![2; rng.usize(..400)]).unwrap(),
            }
        }
        match rng.u32(..8) {
            0 => txn.abort(),
            1 => drop(txn.commit_with(Durability::Relaxed).unwrap()),
            2 => {
                txn.drop_bucket("b").unwrap();
                txn.commit().unwrap();
            }
            _ => drop(txn.commit().unwrap()),
        }
    }
    drop(db);
    disk.image()
}

/// T15: no byte in the file comes from anywhere but the operations, save the database's random id.
#[test]
fn t15_the_same_operations_make_the_same_bytes() {
    let [mut one, mut two] = [history(0x55), history(0xaa)];
    for slot in [0, 8 * 4096] {
        assert_ne!(one[slot + 24..slot + 40], two[slot + 24..slot + 40], "ids are random");
        for image in [&mut one, &mut two] {
            image[slot + 24..slot + 40].fill(0);
            image[slot + 12..slot + 16].fill(0);
        }
    }
    let differs = one.iter().zip(&two).position(|(a, b)| a != b);
    assert_eq!((differs, one.len()), (None, two.len()));
}

/// A transaction larger than its budget writes pages before it commits. Until then, and if it never does, nobody sees them.
#[test]
fn a_spill_that_is_dropped_leaves_everything_as_before() -> Result<()> {
    for page_size in [4096u32, 8192] {
        let disk = MemoryStore::new();
        let db = Options::new().page_size(page_size).dirty_limit(64 * page_size as usize).open_store(&disk)?;
        let per_round = 64 * page_size / 500;
        let put = |txn: &mut WriteTxn, seed: u8, rounds: u32| {
            let mut a = txn.bucket_mut("a")?;
            (0..per_round * rounds).try_for_each(|n| a.put((n * 7919 % 100_003).to_be_bytes(), vec![seed; 480]))
        };
        db.exec(|txn| put(txn, 1, 1))?;
        db.exec(|txn| txn.bucket_mut("b")?.put("k", "v"))?;
        let before = db.stats()?;
        let expected = content(&db.begin_read()?.bucket("a")?.unwrap());
        for round in 0..3 {
            let mut txn = db.begin_write()?;
            let calls = disk.call_count();
            put(&mut txn, 2, 4)?;
            assert!(disk.call_count() > calls + 2, "it has spilled");
            let a = txn.bucket("a")?.unwrap();
            assert_eq!(a.len(), u64::from(per_round * 4));
            assert!(a.iter().all(|entry| entry.unwrap().1 == [2; 480]));
            // Spilled pages are changed, freed and left again.
            let mut a = txn.bucket_mut("a")?;
            a.delete_range(0u32.to_be_bytes()..30_000u32.to_be_bytes())?;
            assert!(content(&db.begin_read()?.bucket("a")?.unwrap()) == expected);
            if round == 1 {
                txn.drop_bucket("a")?;
            }
            drop(txn);
            let after = db.stats()?;
            assert_eq!((parts(&after), after.txn_id), (parts(&before), before.txn_id));
            assert!(content(&db.begin_read()?.bucket("a")?.unwrap()) == expected);
            assert_sound(&db);
        }
        // The same once more, to stay.
        db.exec(|txn| put(txn, 3, 4))?;
        assert_sound(&db);
        assert_eq!(db.begin_read()?.bucket("a")?.unwrap().len(), u64::from(per_round * 4));
    }
    Ok(())
}

/// What sorted input has filled is written before the commit, two megabytes at a time. Until then, and if it never comes, nobody sees it.
#[test]
fn a_sorted_load_is_written_early_and_leaves_nothing_if_it_is_dropped() -> Result<()> {
    for page_size in [4096u32, 65536] {
        let disk = MemoryStore::new();
        let db = Options::new().page_size(page_size).open_store(&disk)?;
        db.exec(|txn| (0..50u32).try_for_each(|n| txn.bucket_mut("a")?.append(n.to_be_bytes(), [1; 1000])))?;
        db.exec(|txn| txn.bucket_mut("b")?.put("k", "v"))?;
        let before = db.stats()?;
        let expected = content(&db.begin_read()?.bucket("a")?.unwrap());
        for round in 0..4 {
            let mut txn = db.begin_write()?;
            let calls = disk.call_count();
            let mut a = txn.bucket_mut("a")?;
            (50..6000u32).try_for_each(|n| a.append(n.to_be_bytes(), [2; 1000]))?;
            assert!(disk.call_count() >= calls + 2, "nothing is written");
            // Written pages are read, changed and freed.
            assert_eq!((a.len(), a.nth(3000)?), (6000, Some((&3000u32.to_be_bytes()[..], &[2; 1000][..]))));
            assert!(a.iter().skip(50).all(|entry| entry.unwrap().1 == [2; 1000]));
            (0..6000u32).step_by(100).try_for_each(|n| a.put(n.to_be_bytes(), [3; 1000]))?;
            assert_eq!(a.delete_range(1000u32.to_be_bytes()..2000u32.to_be_bytes())?, 1000);
            assert!(content(&db.begin_read()?.bucket("a")?.unwrap()) == expected);
            if round == 1 {
                txn.drop_bucket("a")?;
            }
            if round < 3 {
                drop(txn);
                let after = db.stats()?;
                assert_eq!((parts(&after), after.txn_id), (parts(&before), before.txn_id));
                assert!(content(&db.begin_read()?.bucket("a")?.unwrap()) == expected);
            } else {
                txn.commit()?;
                let (snapshot, mut entries) = (db.begin_read()?, 0);
                for entry in snapshot.bucket("a")?.unwrap().iter() {
                    let (key, value) = entry?;
                    let n = u32::from_be_bytes(key.try_into().expect("four bytes"));
                    let expected = match n {
                        _ if n.is_multiple_of(100) => 3,
                        0..50 => 1,
                        _ => 2,
                    };
                    assert!(!(1000..2000).contains(&n) && value == [expected; 1000], "{n}");
                    entries += 1;
                }
                assert_eq!(entries, 5000);
            }
            assert_sound(&db);
        }
    }
    Ok(())
}

/// What sorted input filled under a savepoint, and was spilled, is not written again when the savepoint goes.
#[test]
fn a_sorted_load_under_a_savepoint_takes_its_room_once() -> Result<()> {
    let disk = MemoryStore::new();
    let db = Options::new().dirty_limit(64 * 4096).open_store(&disk)?;
    let mut txn = db.begin_write()?;
    let savepoint = txn.savepoint()?;
    (0..20_000u32).try_for_each(|n| txn.bucket_mut("a")?.put(n.to_be_bytes(), [1; 1000]))?;
    let before = disk.image().len();
    txn.release(savepoint)?;
    (20_000..20_100u32).try_for_each(|n| txn.bucket_mut("a")?.put(n.to_be_bytes(), [1; 1000]))?;
    let after = disk.image().len();
    assert!(after < before + (2 << 20), "{before} and {after} bytes");
    txn.commit()?;
    assert_sound(&db);
    Ok(())
}

/// Input that is a little out of order leaves pages behind that are not full. They wait for the commit, which packs them.
#[test]
fn nearly_sorted_input_is_packed_too() -> Result<()> {
    for jitter in [1, 4, 300] {
        let db = Database::in_memory()?;
        let mut rng = fastrand::Rng::with_seed(jitter);
        db.exec(|txn| {
            let mut bucket = txn.bucket_mut("b")?;
            (0..100_000).try_for_each(|n| bucket.put(((n + rng.u64(..jitter)) << 32 | n).to_be_bytes(), [1; 100]))
        })?;
        let fill = db.view(|txn| txn.bucket("b")?.expect("made above").stats())?.fill;
        assert!(fill > 0.87, "{jitter}: {fill}");
        assert_sound(&db);
    }
    Ok(())
}

/// Sorted input at the end of a bucket, while what was there before changes at random: only what is filled is written early.
#[test]
fn what_changes_again_and_again_is_not_written_early() -> Result<()> {
    let db = Options::new().open_store(&MemoryStore::new())?;
    db.exec(|txn| (0..8000u32).try_for_each(|n| txn.bucket_mut("a")?.append(n.to_be_bytes(), [1; 1000])))?;
    let before = db.stats()?;
    let mut rng = fastrand::Rng::with_seed(7);
    db.exec(|txn| {
        let mut a = txn.bucket_mut("a")?;
        for n in 8000..24_000u32 {
            a.put(n.to_be_bytes(), [2; 1000])?;
            a.put(rng.u32(..8000).to_be_bytes(), [3; 1000])?;
        }
        Ok(())
    })?;
    assert_sound(&db);
    let after = db.stats()?;
    let written = (after.bytes_written - before.bytes_written) / 4096;
    assert!(written < after.used_pages + after.used_pages / 20, "{written} pages written, {after:?}");
    Ok(())
}

/// P4 while the database stays open: what a transaction took, and what it dropped off the end of the file, is free again when it comes to
/// nothing. That shows in the figures of the next commit.
#[test]
fn what_came_to_nothing_gives_back_what_it_took() -> Result<()> {
    let put = |db: &Database, len: usize| db.exec(|txn| txn.bucket_mut("a")?.put("k", vec![1; len]));
    let run = |disturb: &dyn Fn(&Database, &MemoryStore) -> Result<()>| -> Result<(u64, u64, u64, u64)> {
        let disk = MemoryStore::new();
        let db = Options::new().open_store(&disk)?;
        put(&db, 400_000)?;
        put(&db, 10)?;
        // A hundred pages are free, at the end of the file.
        disturb(&db, &disk)?;
        put(&db, 20)?;
        assert_sound(&db);
        Ok(parts(&db.stats()?))
    };
    let undisturbed = run(&|_, _| Ok(()))?;
    let after_aborts = run(&|db, _| {
        for len in [200_000, 350_000, 900_000] {
            db.begin_write()?.bucket_mut("b")?.put("k", vec![2; len])?;
        }
        Ok(())
    })?;
    let after_failures = run(&|db, disk| {
        for _ in 0..3 {
            disk.fail(1, Failure::Io);
            assert!(matches!(put(db, 30), Err(Error::Io { .. })));
        }
        Ok(())
    })?;
    assert_eq!((after_aborts, after_failures), (undisturbed, undisturbed));
    Ok(())
}
