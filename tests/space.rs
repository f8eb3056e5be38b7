//! Free space: the log that remembers it stays true and small, whatever is freed, through reopening after every few commits.

use folio::disk::{Failure, MemoryStore};
use folio::{Database, Durability, Options, PageKind, Result, Verify};

fn assert_sound(db: &Database) {
    let report = db.check().unwrap();
    assert!(report.is_ok(), "{:#?}", report.problems);
}

/// A database with thousands of free extents, none beside another.
fn fragmented(disk: &MemoryStore, extents: u32) -> Result<Database> {
    let db = Options::new().open_store(disk)?;
    // Four entries a page, in groups of eight: a group that goes leaves a page or two free between pages in use.
    db.exec(|txn| {
        let mut b = txn.bucket_mut("b")?;
        (0..extents * 16).try_for_each(|n| b.append(n.to_be_bytes(), [1; 950]))
    })?;
    db.exec(|txn| {
        let mut b = txn.bucket_mut("b")?;
        (0..extents).try_for_each(|n| b.delete_range((n * 16).to_be_bytes()..(n * 16 + 8).to_be_bytes()).map(|_| ()))
    })?;
    // Its pages were pinned as the last durable commit's; now they are free.
    db.exec(|txn| txn.bucket_mut("c")?.put("k", "v"))?;
    Ok(db)
}

#[test]
fn t21_a_small_commit_writes_little_with_many_free_extents() -> Result<()> {
    let disk = MemoryStore::new();
    let mut db = fragmented(&disk, 4000)?;
    let mut largest = 0;
    let mut rng = fastrand::Rng::with_seed(1);
    for n in 0..1500u32 {
        let before = db.stats()?.bytes_written;
        db.exec(|txn| {
            let key = (rng.u32(..4000) * 16 + 8).to_be_bytes();
            txn.bucket_mut("b")?.put(key, [n as u8; 950])
        })?;
        largest = largest.max(db.stats()?.bytes_written - before);
        if n % 60 == 0 {
            assert_sound(&db);
            let free = db.stats()?.free_pages + db.stats()?.pending_pages;
            drop(db);
            db = Options::new().open_store(&disk)?;
            assert_eq!(db.stats()?.free_pages, free, "nothing is pinned after a reopen");
            assert_sound(&db);
        }
    }
    assert_sound(&db);
    assert!(largest <= 64 << 10, "{largest} bytes for one put");
    let stats = db.stats()?;
    assert!(stats.free_pages > 4000, "{stats:?}");
    Ok(())
}

#[test]
fn the_file_shrinks_and_grows_again_without_a_page_lost_or_found_twice() -> Result<()> {
    let disk = MemoryStore::new();
    let mut db = Options::new().open_store(&disk)?;
    let mut rng = fastrand::Rng::with_seed(2);
    let (mut longest, mut shortest) = (0, u64::MAX);
    for round in 0..120u32 {
        db.exec(|txn| {
            let mut b = txn.bucket_mut("b")?;
            match round % 6 {
                0 => (0..1500u32).try_for_each(|n| b.put((n * 7 + round).to_be_bytes(), vec![1; rng.usize(..1200)])),
                1 => b.put("large", vec![2; rng.usize(..3_000_000)]),
                2 => b.retain(|key, _| key[key.len() - 1] % 2 == 0).map(|_| ()),
                3 => b.delete("large").map(|_| ()),
                4 => b.clear(),
                _ => b.put("k", "v"),
            }
        })?;
        assert_sound(&db);
        let len = db.stats()?.file_len;
        (longest, shortest) = (longest.max(len), shortest.min(len));
        if rng.u32(..5) == 0 {
            drop(db);
            db = Options::new().open_store(&disk)?;
            assert_sound(&db);
        }
    }
    assert!(longest > shortest + (1 << 20), "{shortest} to {longest} bytes");
    Ok(())
}

/// What is left after much was deleted at random lies all over the file. Large commits move it to the front, for little more than they
/// write anyway.
#[test]
fn large_commits_take_the_end_of_a_file_along_and_it_shrinks() -> Result<()> {
    let disk = MemoryStore::new();
    let db = Options::new().open_store(&disk)?;
    let mut rng = fastrand::Rng::with_seed(4);
    let mut left: Vec<u32> = (0..40_000).collect();
    rng.shuffle(&mut left);
    for fill in 0..3 {
        db.exec(|txn| {
            let mut b = txn.bucket_mut("b")?;
            left.iter().try_for_each(|key| b.put(key.to_be_bytes(), [fill; 150]))
        })?;
    }
    let before = db.stats()?;
    let mut written = 0;
    while left.len() > 10_000 {
        let pages = db.stats()?.used_pages;
        let (gone, start) = (left.split_off(left.len() - 3000), db.stats()?.bytes_written);
        db.exec(|txn| {
            let mut b = txn.bucket_mut("b")?;
            gone.iter().try_for_each(|key| b.delete(key.to_be_bytes()).map(|_| ()))
        })?;
        written += db.stats()?.bytes_written - start;
        assert!(written > 0 && db.stats()?.bytes_written - start < (pages + pages / 4) * 4096);
        assert_sound(&db);
    }
    let after = db.stats()?;
    println!("{} and {} bytes, {written} written", before.file_len, after.file_len);
    assert!(after.file_len < before.file_len * 2 / 5, "{} and {} bytes", before.file_len, after.file_len);
    let txn = db.begin_read()?;
    let b = txn.bucket("b")?.expect("it is there");
    left.sort_unstable();
    let there: Vec<u32> =
        b.iter().map(|entry| Ok(u32::from_be_bytes(entry?.0.try_into().unwrap()))).collect::<Result<_>>()?;
    assert_eq!(there, left);
    Ok(())
}

/// Whether a large value that did not stay was taken back or deleted, the file has about as many pages as without it, and not as many as it took.
#[test]
fn a_large_value_that_comes_and_goes_within_a_transaction_leaves_no_room_behind() -> Result<()> {
    let page_count = |passing: fn(&mut folio::WriteTxn) -> Result<()>| {
        let mut rng = fastrand::Rng::with_seed(1);
        let db = Options::new().durability(Durability::Relaxed).open_store(&MemoryStore::new())?;
        let mut put = |txn: &mut folio::WriteTxn, count: u32| {
            let mut bucket = txn.bucket_mut("b")?;
            (0..count).try_for_each(|_| bucket.put(rng.u64(..).to_be_bytes(), [1; 150]))
        };
        db.exec(|txn| put(txn, 100_000))?;
        for round in 0..10 {
            db.exec(|txn| {
                if round == 0 {
                    passing(txn)?;
                }
                put(txn, 300)
            })?;
        }
        assert_sound(&db);
        Ok::<_, folio::Error>(db.stats()?.page_count)
    };
    let without = page_count(|_| Ok(()))?;
    let taken_back = page_count(|txn| {
        let large = txn.nested(|txn| {
            txn.bucket_mut("large")?.put("x", vec![1; 60 << 20])?;
            Err::<(), _>(folio::Error::other("no"))
        });
        assert!(large.is_err());
        Ok(())
    })?;
    let deleted = page_count(|txn| {
        let mut bucket = txn.bucket_mut("large")?;
        bucket.put("x", vec![1; 60 << 20])?;
        assert!(bucket.delete("x")?);
        Ok(())
    })?;
    // The bytes written for it bring the next sync forward, and with that other pages come free.
    let most = without + without / 2;
    assert!(taken_back <= most && deleted <= most, "{without}, {taken_back}, {deleted}");
    Ok(())
}

/// A damaged page at the end of the file stays where it is: a copy would have a checksum of its own, and look sound.
#[test]
fn a_damaged_page_is_not_moved_and_so_not_made_to_look_sound() -> Result<()> {
    let disk = MemoryStore::new();
    let put = |db: &Database, keys: &[u32], fill: u8| {
        db.exec(|txn| {
            let mut b = txn.bucket_mut("b")?;
            keys.iter().try_for_each(|key| b.put(key.to_be_bytes(), [fill; 900]))
        })
    };
    let all: Vec<u32> = (0..2000).collect();
    let db = Options::new().open_store(&disk)?;
    let mut readers = Vec::new();
    for fill in 0..5 {
        readers.push(db.begin_read()?);
        put(&db, &all, fill)?;
    }
    drop(readers);
    let last = db.page_map()?.runs().iter().rev().find(|run| run.kind == PageKind::Leaf).map(|run| run.first).unwrap();
    let entries = db.begin_read()?.page_info(last)?.expect("it is in the file").entries;
    let damaged = u32::from_be_bytes(entries[0].key.clone().try_into().unwrap());
    drop(db);
    let mut image = disk.image();
    image[last as usize * 4096 + 3000] ^= 1;

    // Far from that page, so that no commit needs it.
    let others: Vec<u32> = all.into_iter().filter(|key| key.abs_diff(damaged) > 50 && key % 16 < 4).collect();
    for verify in [Verify::Never, Verify::Once, Verify::Always] {
        let db = Options::new().verify(verify).open_store(&MemoryStore::with_image(&image))?;
        for fill in 10..50 {
            put(&db, &others, fill)?;
        }
        let txn = db.begin_read()?;
        let info = txn.page_info(last)?.expect("the file does not end before it");
        assert!(info.kind != PageKind::Leaf || info.entries == entries, "{verify:?}");
        let problems = db.check()?.problems;
        assert!(problems.iter().any(|problem| format!("{problem:?}").contains(&last.to_string())), "{problems:?}");
        let map = db.page_map()?;
        let leaves = map.runs().iter().filter(|run| run.kind == PageKind::Leaf).map(|run| run.first);
        assert!(leaves.max().expect("some") < last / 2, "{verify:?}: all others have moved");
    }
    Ok(())
}

#[test]
fn relaxed_commits_and_syncs_cut_the_file_too() -> Result<()> {
    let disk = MemoryStore::new();
    let db = Options::new().durability(Durability::Relaxed).open_store(&disk)?;
    db.exec(|txn| txn.bucket_mut("b")?.put("large", vec![1; 20 << 20]))?;
    db.sync()?;
    assert!(db.stats()?.file_len > 20 << 20);
    db.exec(|txn| txn.bucket_mut("b")?.clear())?;
    db.sync()?;
    db.exec(|txn| txn.bucket_mut("b")?.put("k", "v"))?;
    db.sync()?;
    let stats = db.stats()?;
    assert!(stats.file_len < 4 << 20, "{stats:?}");
    assert_sound(&db);
    Ok(())
}

#[test]
fn t19_a_reader_holds_back_what_it_sees_and_no_more() -> Result<()> {
    let db = Database::in_memory()?;
    let put_all = |fill: u8| {
        db.exec(|txn| {
            let mut b = txn.bucket_mut("b")?;
            (0..2000u32).try_for_each(|n| b.put(n.to_be_bytes(), [fill; 200]))
        })
    };
    put_all(0)?;
    let before = db.stats()?;
    let reader = db.begin_read()?;
    for fill in 1..60 {
        put_all(fill)?;
    }
    let held = db.stats()?;
    assert_eq!((held.pinned_snapshots, held.oldest_pinned), (1, Some(reader.id())));
    assert!(held.held_bytes >= before.used_pages * 4096 / 2 && held.held_bytes <= before.file_len);
    assert!(held.page_count < before.page_count * 4, "{} pages grew to {}", before.page_count, held.page_count);
    let b = reader.bucket("b")?.unwrap();
    assert!(b.iter().all(|entry| entry.unwrap().1 == [0; 200]));
    drop(reader);
    put_all(60)?;
    assert_eq!(db.stats()?.held_bytes, 0);
    assert_sound(&db);
    Ok(())
}

/// T19, in numbers: everything is overwritten again and again under one snapshot, and under eight that were taken along the way.
#[test]
fn t19_the_file_grows_by_what_its_snapshots_see() -> Result<()> {
    for (snapshots, limit) in [(1, 2.5), (8, 10.0)] {
        let db = Database::in_memory()?;
        let put = |keys: std::ops::Range<u32>, fill: u8| {
            db.exec(|txn| {
                let mut b = txn.bucket_mut("b")?;
                keys.into_iter().try_for_each(|n| b.put(n.to_be_bytes(), [fill; 150]))
            })
        };
        put(0..10_000, 0)?;
        let before = db.stats()?.page_count;
        let mut held = Vec::new();
        for commit in 0..200u32 {
            if commit % (200 / snapshots) == 0 {
                held.push((db.begin_read()?, commit));
            }
            let first = commit % 10 * 1000;
            put(first..first + 1000, (commit / 10 + 1) as u8)?;
        }
        let after = db.stats()?.page_count;
        println!("{snapshots} snapshots: {before} pages became {after}");
        assert!((after as f64) < before as f64 * limit, "{snapshots} snapshots: {before} pages became {after}");
        // Each sees other pages, all overwritten by now, but for those that the next one sees, too.
        let held_bytes: Vec<u64> = db.snapshots()?.iter().map(|snapshot| snapshot.held_bytes).collect();
        assert!(held_bytes.iter().all(|&bytes| bytes >= before * 4096 * 9 / 10), "{held_bytes:?}");
        for (reader, commit) in &held {
            let fill = |n: u32| (commit / 10 + u32::from(n < commit % 10 * 1000)) as u8;
            let b = reader.bucket("b")?.unwrap();
            assert!(b.iter().zip(0..).all(|(entry, n)| entry.unwrap().1 == [fill(n); 150]));
        }
        drop(held);
        put(0..1, 0)?;
        assert_eq!(db.stats()?.held_bytes, 0);
        assert_sound(&db);
    }
    Ok(())
}

/// A cut that fails leaves the file longer, and nothing else: the pages behind it can be taken and read.
#[test]
fn a_cut_that_fails_does_no_harm() -> Result<()> {
    let mut failed_cuts = 0;
    for call in 1.. {
        let disk = MemoryStore::new();
        let db = Options::new().open_store(&disk)?;
        let put = |len: usize| db.exec(|txn| txn.bucket_mut("a")?.put("k", vec![7; len]));
        put(8 << 20)?;
        put(1)?;
        let (file_len, before) = (db.stats()?.file_len, disk.call_count());
        disk.fail(call, Failure::Io);
        let done = put(2);
        if disk.call_count() - before < call {
            break;
        }
        if done.is_ok() && db.stats()?.file_len == file_len {
            failed_cuts += 1;
            put(8 << 20)?;
            assert_eq!(db.begin_read()?.bucket("a")?.unwrap().get("k")?.map(<[u8]>::len), Some(8 << 20));
            assert_sound(&db);
        }
    }
    assert!(failed_cuts > 0);
    Ok(())
}

/// What a commit frees is in so many places that its record never fits into the meta, and so no earlier ones are there either: the log
/// is still gone over, and neither grows for ever nor forgets a page.
#[test]
fn large_commits_one_after_the_other_keep_the_log_true_and_short() -> Result<()> {
    let disk = MemoryStore::new();
    let mut db = Options::new().open_store(&disk)?;
    db.exec(|txn| {
        let mut b = txn.bucket_mut("b")?;
        (0..20_000u32).try_for_each(|n| b.append(n.to_be_bytes(), [1; 950]))
    })?;
    let mut rng = fastrand::Rng::with_seed(3);
    let mut used = Vec::new();
    for n in 0..40u8 {
        db.exec(|txn| {
            let mut b = txn.bucket_mut("b")?;
            (0..800).try_for_each(|_| b.put(rng.u32(..20_000).to_be_bytes(), [n; 950]))
        })?;
        assert_sound(&db);
        let stats = db.stats()?;
        used.push(stats.used_pages);
        if n % 8 == 7 {
            drop(db);
            db = Options::new().open_store(&disk)?;
            assert_eq!(db.stats()?.free_pages, stats.free_pages + stats.pending_pages, "after commit {n}");
        }
    }
    // The entries are as many as ever, so what grows is the log.
    let (least, most) = (used.iter().min().unwrap(), used.iter().max().unwrap());
    assert!(most - least < 60, "{used:?}");
    Ok(())
}

/// Branches come to lie close together, so that a commit writes them in few places; so they do after a reopen.
#[test]
fn scattered_puts_write_their_branches_in_one_part_of_the_file() -> Result<()> {
    let disk = MemoryStore::new();
    let mut db = Options::new().open_store(&disk)?;
    let mut rng = fastrand::Rng::with_seed(3);
    let entries = 150_000u64;
    db.exec(|txn| {
        let mut b = txn.bucket_mut("b")?;
        (0..entries).try_for_each(|n| b.append(n.to_be_bytes(), [1; 170]))
    })?;
    // How many branches are outside the part of the file, a thirtieth of it, that has most of them.
    let outside = |db: &Database| -> Result<usize> {
        let map = db.page_map()?;
        let branches = map.runs().iter().filter(|run| run.kind == PageKind::Branch);
        let branches: Vec<u64> = branches.flat_map(|run| run.first..run.first + run.count).collect();
        let within =
            |&first: &u64| branches.iter().filter(|&no| (first..first + map.page_count() / 30).contains(no)).count();
        assert!(branches.len() > 30, "{}", branches.len());
        Ok(branches.len() - branches.iter().map(within).max().expect("some"))
    };
    let loaded = outside(&db)?;
    for round in 0..3 {
        for _ in 0..60 {
            db.exec(|txn| {
                let mut b = txn.bucket_mut("b")?;
                (0..32).try_for_each(|_| b.put(rng.u64(..entries).to_be_bytes(), [2; 170]))
            })?;
        }
        let now = outside(&db)?;
        println!("{loaded} outside when loaded, {now} in round {round}");
        assert!(loaded > 20 && now < 8, "{loaded} outside when loaded, {now} in round {round}");
        assert_sound(&db);
        drop(db);
        db = Options::new().open_store(&disk)?;
    }
    Ok(())
}

/// A transaction whose dirty pages come to their limit packs them first: what fits then is written once, and into full pages.
#[test]
fn a_random_load_at_the_limit_is_packed_before_it_spills() -> Result<()> {
    const ENTRIES: usize = 8_000;
    let mut keys: Vec<u32> = (0..ENTRIES as u32).collect();
    fastrand::Rng::with_seed(1).shuffle(&mut keys);
    let load = |dirty_limit: usize| -> Result<(u64, u64)> {
        let db = Options::new().dirty_limit(dirty_limit).open_in_memory()?;
        db.exec(|txn| {
            let mut b = txn.bucket_mut("b")?;
            keys.iter().try_for_each(|key| b.put(key.to_be_bytes(), [1; 400]))
        })?;
        assert_sound(&db);
        let stats = db.stats()?;
        Ok((stats.bytes_written, stats.page_count))
    };
    let (written, pages) = load(usize::MAX)?;
    // A little less than what it takes unpacked.
    let (packed, full) = load(ENTRIES * 600)?;
    assert!(
        packed < written / 20 * 21 && full < pages / 20 * 21,
        "{packed} and {written} bytes, {full} and {pages} pages"
    );
    let (spilled, loose) = load(ENTRIES * 100)?;
    assert!(spilled > 2 * written && loose < pages * 3 / 2, "{spilled} and {written} bytes, {loose} and {pages} pages");
    Ok(())
}

/// To go from bucket to bucket writes no more than to fill one after the other, however many there are; in a budget that holds neither
/// their pages nor all that is to be known of open buckets, no more than a page for each change.
#[test]
fn many_buckets_in_turn_write_what_they_hold() -> Result<()> {
    const BUCKETS: u64 = 1500;
    const ROUNDS: u64 = 8;
    let fill = |dirty_limit: usize, in_turn: bool| -> Result<u64> {
        let db = Options::new().dirty_limit(dirty_limit).open_in_memory()?;
        db.exec(|txn| {
            (0..BUCKETS * ROUNDS).try_for_each(|n| {
                let bucket = if in_turn { n % BUCKETS } else { n / ROUNDS };
                txn.bucket_mut(&format!("tenant {bucket:04}"))?.put(n.to_be_bytes(), [7; 24])
            })
        })?;
        assert_sound(&db);
        let txn = db.begin_read()?;
        assert_eq!(txn.buckets()?.len() as u64, BUCKETS);
        assert!((0..BUCKETS).all(|n| txn.bucket(&format!("tenant {n:04}")).unwrap().unwrap().len() == ROUNDS));
        Ok(db.stats()?.bytes_written)
    };
    let (in_turn, in_order) = (fill(64 << 20, true)?, fill(64 << 20, false)?);
    assert!(in_turn < in_order / 20 * 21, "{in_turn} bytes in turn, {in_order} in order");
    let tight = fill(64 * 4096, true)?;
    assert!(tight < BUCKETS * ROUNDS * 4096 * 3 / 2, "{tight} bytes in the smallest budget");
    Ok(())
}
