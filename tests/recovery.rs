//! What recovery must not believe: a commit that a failed sync may have dropped, and one that an earlier recovery refused.

mod common;

use common::{seal_meta, set, slots, u64_at};
use folio::disk::{Failure, MemoryStore};
use folio::{Durability, Error, Options, PassedOverReason};

/// A sync fails and drops what it should have written, and the kernel then believes its cache to be clean. The database is opened anew,
/// commits go on, and the power fails: what was durable or acknowledged before must be there.
fn run(relaxed_before: usize) -> Vec<String> {
    let mut bad = Vec::new();
    for fail_at in 1..30 {
        let disk = MemoryStore::new();
        disk.set_boot_id([7; 16]);
        let put = |db: &folio::Database, k: &str, how| -> folio::Result<()> {
            let mut t = db.begin_write()?;
            t.bucket_mut("b")?.put(k, vec![b'x'; 500])?;
            t.bucket_mut("c")?.put(k, vec![b'y'; 500])?;
            t.commit_with(how)?;
            Ok(())
        };
        {
            let db = Options::new().open_store(&disk).unwrap();
            for i in 0..20 {
                put(&db, &format!("d{i:02}"), Durability::Durable).unwrap();
            }
            disk.record();
            for i in 0..relaxed_before {
                put(&db, &format!("r{i}"), Durability::Relaxed).unwrap();
            }
            disk.fail(fail_at, Failure::SyncDrops);
            if put(&db, "t", Durability::Durable).is_ok() {
                continue;
            }
        }
        let Ok(db) = Options::new().open_store(&disk) else { continue };
        let first = disk.operation_count();
        let mut acknowledged = Vec::new();
        for i in 0..4 {
            if put(&db, &format!("n{i}"), Durability::Durable).is_ok() {
                acknowledged.push((disk.operation_count(), format!("n{i}")));
            }
        }
        for cut in first..=disk.operation_count() {
            for keep in [false, true] {
                let image = disk.crash(cut, |_| keep);
                let after = MemoryStore::with_image(&image);
                let what = match Options::new().open_store(&after) {
                    Err(e) => Some(format!("does not open: {e}")),
                    Ok(db) => {
                        let report = db.check().unwrap();
                        let has = |k: &str| {
                            db.view(
                                |t| Ok(t.bucket("b")?.unwrap().contains(k)? && t.bucket("c")?.unwrap().contains(k)?),
                            )
                        };
                        let lost: Vec<_> = (0..20)
                            .map(|i| format!("d{i:02}"))
                            .chain(acknowledged.iter().filter(|(at, _)| *at <= cut).map(|(_, k)| k.clone()))
                            .filter(|k| !matches!(has(k), Ok(true)))
                            .collect();
                        if !report.is_ok() {
                            Some(format!("check: {}", report.problems[0]))
                        } else if !lost.is_empty() {
                            Some(format!("lost {lost:?}"))
                        } else {
                            None
                        }
                    }
                };
                if let Some(what) = what {
                    bad.push(format!(
                        "relaxed {relaxed_before} fail {fail_at} cut {} keep {keep}: {what}",
                        cut - first
                    ));
                }
            }
        }
    }
    bad
}

#[test]
fn after_a_digest_commit() {
    let bad = run(0);
    assert!(bad.is_empty(), "{} cases, e.g. {}", bad.len(), bad[bad.len() / 2]);
}
#[test]
fn after_relaxed_commits() {
    let bad = run(3);
    assert!(bad.is_empty(), "{} cases, e.g. {}", bad.len(), bad[bad.len() / 2]);
}

type State = Vec<(String, String)>;
fn state(db: &folio::Database) -> State {
    db.view(|t| {
        let mut all = Vec::new();
        for b in t.buckets()? {
            for e in t.bucket(&b)?.unwrap().iter() {
                let (k, v) = e?;
                all.push((format!("{b}/{}", String::from_utf8_lossy(k)), String::from_utf8_lossy(v).into_owned()));
            }
        }
        Ok(all)
    })
    .unwrap()
}
/// A crash tears a commit, and the open goes back to the one before. The next transaction has the same id and the same page numbers;
/// a second crash that leaves just the pages that the torn one lacked must not bring it back.
#[test]
fn a_commit_that_recovery_refused_stays_refused() {
    let disk = MemoryStore::new();
    let db = Options::new().open_store(&disk).unwrap();
    for v in ["p", "q"] {
        db.exec(|t| {
            t.bucket_mut("x")?.put("a", v)?;
            t.bucket_mut("y")?.put("b", v)
        })
        .unwrap();
    }
    disk.record();
    let d = state(&db);
    db.exec(|t| {
        t.bucket_mut("x")?.put("a", "1")?;
        t.bucket_mut("y")?.put("b", "2")
    })
    .unwrap();
    let cut = disk.operation_count() - 1; // just before its sync
    let pages: std::collections::BTreeSet<u64> =
        disk.unsynced(cut).iter().filter_map(|u| u.sector).map(|s| s / 8).collect();
    let pages: Vec<u64> = pages.into_iter().collect();
    for mask1 in 0..1u32 << pages.len() {
        let keep = |u: folio::disk::Unsynced, mask: u32, pages: &[u64]| {
            u.sector.is_none_or(|s| pages.iter().position(|p| *p == s / 8).is_some_and(|i| mask >> i & 1 == 1))
        };
        let image = disk.crash(cut, |u| keep(u, mask1, &pages));
        let disk2 = MemoryStore::with_image(&image);
        let db2 = Options::new().open_store(&disk2).unwrap();
        if state(&db2) != d {
            continue;
        }
        disk2.record();
        db2.exec(|t| {
            t.bucket_mut("x")?.put("a", "3")?;
            t.bucket_mut("y")?.put("b", "2")
        })
        .unwrap();
        let after = state(&db2);
        for cut2 in 0..disk2.operation_count() {
            let un = disk2.unsynced(cut2);
            let pages2: std::collections::BTreeSet<u64> = un.iter().filter_map(|u| u.sector).map(|s| s / 8).collect();
            let pages2: Vec<u64> = pages2.into_iter().collect();
            for mask2 in 0..1u32 << pages2.len() {
                let image = disk2.crash(cut2, |u| keep(u, mask2, &pages2));
                let db3 = Options::new().open_store(&MemoryStore::with_image(&image)).unwrap();
                let now = state(&db3);
                assert!(
                    now == d || now == after,
                    "pages {pages:?} kept {mask1:b}, then {pages2:?} kept {mask2:b}: {now:?}\nnot {d:?}\nnor {after:?}"
                );
            }
        }
    }
}

/// After a clean close a damaged page of the last commit is damage, not a commit that a power cut tore: nothing goes back to the one
/// before, however the last one was made.
#[test]
fn after_a_close_there_is_no_way_back() {
    for (durability, len) in [(Durability::Durable, 10), (Durability::Relaxed, 10), (Durability::Durable, 4 << 20)] {
        let disk = MemoryStore::new();
        let db = Options::new().durability(durability).open_store(&disk).unwrap();
        for n in 0..3 {
            db.exec(|txn| txn.bucket_mut("a")?.put("k", vec![n; len])).unwrap();
        }
        drop(db);
        let mut image = disk.image();
        let [one, two] = slots(4096).map(|at| (u64_at(&image, at + 40), u64_at(&image, at + 56) as usize));
        assert_eq!(one, two, "transaction and root of the catalog");
        image[one.1 * 4096 + 40] ^= 1;
        let result = Options::new().open_store(&MemoryStore::with_image(&image));
        assert!(matches!(result, Err(Error::Corrupt { .. })), "{durability:?}, {len} bytes: {result:?}");
    }
}

/// A commit that was acknowledged is found again when the power goes the moment after, however much it wrote and freed: a digest is for
/// few pages, which the record in the meta names.
#[test]
fn what_was_acknowledged_stands_however_large_it_was() {
    let survives = |db: &folio::Database, disk: &MemoryStore, what: &str| {
        let image = disk.crash(disk.operation_count(), |_| false);
        let after = Options::new().open_store(&MemoryStore::with_image(&image)).unwrap();
        let ids = [db, &after].map(|db| db.begin_read().unwrap().id());
        assert_eq!(ids[0], ids[1], "{what}");
    };
    let disk = MemoryStore::new();
    let db = Options::new().open_store(&disk).unwrap();
    disk.record();
    for count in 245..260 {
        db.exec(|txn| txn.bucket_mut("large")?.put("k", vec![1; count * 4096])).unwrap();
        survives(&db, &disk, &format!("{count} pages and some"));
    }
    db.exec(|txn| {
        let mut pages = txn.bucket_mut("pages")?;
        (0..2000u32).try_for_each(|n| pages.put(n.to_be_bytes(), [2; 4096]))
    })
    .unwrap();
    for count in [490, 495, 500] {
        // Each its own extent, and few pages written.
        db.exec(|txn| {
            let mut pages = txn.bucket_mut("pages")?;
            let keys: Vec<Vec<u8>> =
                pages.iter().map(|entry| entry.map(|(key, _)| key.to_vec())).collect::<folio::Result<_>>()?;
            keys.iter().step_by(2).take(count).try_for_each(|key| pages.delete(key).map(|_| ()))
        })
        .unwrap();
        survives(&db, &disk, &format!("{count} extents freed and some"));
    }
}

/// What is found at open may be in the page cache alone: its process died, or its sync failed and dropped it, and not even the slot could
/// be voided. It is on the disk before anything builds upon it. So a power cut leaves what was durable, what was found, or what came after.
#[test]
fn what_was_found_is_durable_before_what_comes_after() {
    let put = |db: &folio::Database, n: u32, how| -> folio::Result<()> {
        let mut txn = db.begin_write()?;
        (0..8).try_for_each(|k| txn.bucket_mut("b")?.put(format!("{k:02} {}", n % 7), format!("{n:0400}")))?;
        txn.bucket_mut("c")?.put("newest", n.to_string())?;
        txn.commit_with(how).map(|_| ())
    };
    // After a sync that dropped relaxed commits there is nothing to be done: they are too many pages to write again.
    for (how, failure) in [
        (Durability::Relaxed, Failure::Io),
        (Durability::Durable, Failure::Io),
        (Durability::Durable, Failure::SyncDrops),
    ] {
        for call in 1.. {
            let disk = MemoryStore::new();
            disk.set_boot_id([7; 16]);
            let db = Options::new().open_store(&disk).unwrap();
            (0..4).for_each(|n| put(&db, n, Durability::Durable).unwrap());
            disk.record();
            let mut states = vec![state(&db)];
            if how == Durability::Relaxed {
                (10..12).for_each(|n| put(&db, n, how).unwrap());
            }
            let before = disk.call_count();
            disk.fail(call, failure);
            disk.fail(call + 1, Failure::Io);
            let _may_fail = put(&db, 13, how);
            drop(db);
            match disk.call_count() - before {
                calls if calls < call => {
                    assert!(call > 4, "a commit and a close have more calls");
                    break;
                }
                // The second failure is left over. It is not for the open.
                calls if calls == call => continue,
                _ => {}
            }

            let db = Options::new().open_store(&disk).unwrap();
            states.push(state(&db));
            let mut acknowledged = vec![0, disk.operation_count()];
            for n in 14..16 {
                if put(&db, n, Durability::Durable).is_ok() {
                    states.push(state(&db));
                    acknowledged.push(disk.operation_count());
                }
            }
            // What was found is durable with the first commit after it.
            acknowledged[1] = acknowledged[2];
            let mut rng = fastrand::Rng::with_seed(call);
            for cut in acknowledged[0]..=disk.operation_count() {
                let least = acknowledged.iter().rposition(|at| *at <= cut).unwrap();
                for odds in [0, 5, 10] {
                    // A few operations survive whole, or sectors do.
                    let kept: u64 = rng.u64(..);
                    let is_whole = rng.bool();
                    let image = disk.crash(cut, |part| match is_whole {
                        true => odds > 0 && kept >> (part.operation % 64) & 1 == 1,
                        false => rng.u32(..10) < odds,
                    });
                    let what = format!("{how:?}, {failure:?} at call {call}, cut {cut}");
                    let db = Options::new().open_store(&MemoryStore::with_image(&image)).unwrap();
                    assert!(db.check().unwrap().is_ok(), "{what}: {:?}", db.check().unwrap().problems);
                    let found = states.iter().rposition(|state_then| *state_then == state(&db));
                    assert!(found.is_some_and(|found| found >= least), "{what}: {found:?}, not {least} or later");
                }
            }
        }
    }
}

/// Either slot is enough, whatever the page size: slot B is found though slot A, which says where it is, cannot be read.
#[test]
fn one_slot_is_enough_at_each_page_size() {
    for page_size in [4096u32, 8192, 16384, 32768, 65536] {
        let disk = MemoryStore::new();
        let db = Options::new().page_size(page_size).open_store(&disk).unwrap();
        db.exec(|txn| txn.bucket_mut("a")?.put("k", "v")).unwrap();
        let expected = state(&db);
        drop(db);
        for slot in slots(page_size as usize) {
            for at in [0, 13, 17, 4000] {
                let mut image = disk.image();
                image[slot + at] ^= 1;
                let db = Options::new().open_store(&MemoryStore::with_image(&image)).unwrap();
                assert_eq!(state(&db), expected, "byte {at} of the slot at {slot}");
            }
        }
    }
}

/// A value may hold the image of a meta slot, and lie where slot B would be at another page size. When slot A is torn, slot B is still the
/// one of this database.
#[test]
fn a_value_is_not_a_meta_slot() {
    for page_size in [8192u32, 16384, 32768, 65536] {
        let other = MemoryStore::new();
        drop(Options::new().page_size(page_size).open_store(&other).unwrap());
        let mut meta = other.image()[..4096].to_vec();
        set(&mut meta, 40, (1u64 << 40).to_le_bytes());
        seal_meta(&mut meta);

        let disk = MemoryStore::new();
        let db = Options::new().open_store(&disk).unwrap();
        db.exec(|txn| txn.bucket_mut("a")?.put("k", meta.repeat(300))).unwrap();
        let expected = state(&db);
        drop(db);
        let mut image = disk.image();
        assert_eq!(image[8 * page_size as usize..][..4096], meta, "the value lies where slot B would be");
        image[100] ^= 1;
        let db = Options::new().open_store(&MemoryStore::with_image(&image)).unwrap();
        assert!(state(&db) == expected, "a page size of {page_size} was believed");
    }
}

/// Opens an image on a machine that was started anew.
fn open(image: &[u8]) -> folio::Result<folio::Database> {
    let disk = MemoryStore::with_image(image);
    disk.set_boot_id([99; 16]);
    Options::new().open_store(&disk)
}

/// The slots of the newest and of the other meta.
fn newest_slot(image: &[u8]) -> (usize, usize) {
    let [a, b] = slots(4096);
    if u64_at(image, a + 40) > u64_at(image, b + 40) { (a, b) } else { (b, a) }
}

/// A file that is shorter than its last commit was cut, unless that commit itself was to make it longer: then the power may have failed before
/// the new length was on the disk. Either is told.
#[test]
fn a_file_that_was_cut_below_its_last_commit() {
    let disk = MemoryStore::new();
    let db = Options::new().open_store(&disk).unwrap();
    let put = |len: usize| db.exec(|txn| txn.bucket_mut("a")?.put("k", vec![len as u8; len])).unwrap();
    let (mut cut, mut grown) = (0, 0);
    for n in 0..60 {
        let file_len = disk.image().len();
        put(40_000 + n * 4000);
        let image = disk.image();
        let (newest, other) = newest_slot(&image);
        let [end, end_before] = [newest, other].map(|slot| u64_at(&image, slot + 48) as usize * 4096);
        if end <= end_before {
            continue;
        }
        let result = open(&image[..end - 1]);
        if end > file_len {
            grown += 1;
            let passed_over = result.unwrap().stats().unwrap().passed_over.unwrap();
            assert_eq!(passed_over.newer.get(), passed_over.opened.get() + 1);
            assert_eq!(passed_over.reason, PassedOverReason::Incomplete);
        } else {
            cut += 1;
            let slot = newest as u64 / 4096;
            assert!(matches!(result, Err(Error::Corrupt { page, .. }) if page == slot), "{result:?}");
        }
        assert!(open(&image[..end]).unwrap().stats().unwrap().passed_over.is_none());
    }
    assert!(cut > 0 && grown > 0, "{cut} were cut, {grown} were to grow the file");
}

/// What recovery has proven and made durable says synced, so that damage after that is damage and no commit cut short.
#[test]
fn a_commit_that_was_found_is_synced_before_the_next() {
    let disk = MemoryStore::new();
    let db = Options::new().open_store(&disk).unwrap();
    for v in ["p", "q", "r"] {
        db.exec(|txn| txn.bucket_mut("a")?.put("k", v)).unwrap();
    }
    let killed = disk.image();
    let trust_of = |image: &[u8]| image[newest_slot(image).0 + 96];
    assert_eq!(trust_of(&killed), 2, "a digest");
    let disk = MemoryStore::with_image(&killed);
    let db = Options::new().open_store(&disk).unwrap();
    drop(db.begin_write().unwrap());
    let mut image = disk.image();
    assert_eq!(trust_of(&image), 1, "synced");
    let root = u64_at(&image, newest_slot(&image).0 + 56);
    image[root as usize * 4096 + 40] ^= 1;
    let result = open(&image);
    assert!(matches!(result, Err(Error::Corrupt { page, .. }) if page == root), "{result:?}");
    // Before that it looks like a commit cut short, which is told.
    let mut image = killed;
    let root = u64_at(&image, newest_slot(&image).0 + 56);
    image[root as usize * 4096 + 40] ^= 1;
    let passed_over = open(&image).unwrap().stats().unwrap().passed_over.unwrap();
    assert_eq!((passed_over.newer.get(), passed_over.opened.get()), (4, 3));
    assert_eq!(passed_over.reason, PassedOverReason::Incomplete);
    assert!(
        passed_over.to_string().starts_with("transaction 3 was opened, not the newer transaction 4: not all of it")
    );
}

/// A relaxed commit that a power cut has taken is told, too.
#[test]
fn a_relaxed_commit_of_another_boot_is_passed_over() {
    let disk = MemoryStore::new();
    disk.set_boot_id([1; 16]);
    let db = Options::new().open_store(&disk).unwrap();
    db.exec(|txn| txn.bucket_mut("a")?.put("k", "durable")).unwrap();
    let mut txn = db.begin_write().unwrap();
    txn.bucket_mut("a").unwrap().put("k", "relaxed").unwrap();
    txn.commit_with(Durability::Relaxed).unwrap();
    let after = open(&disk.image()).unwrap();
    let passed_over = after.stats().unwrap().passed_over.unwrap();
    assert_eq!((passed_over.newer.get(), passed_over.opened.get()), (3, 2));
    assert_eq!(passed_over.reason, PassedOverReason::Relaxed);
    assert_eq!(state(&after), [("a/k".to_string(), "durable".to_string())]);
}

/// Since there is a newer meta, whole or not, the commit before it was durable: damage to one of its pages is an error where that page is
/// read, and does not keep the rest from being read.
#[test]
fn the_commit_before_needs_no_proof() {
    let disk = MemoryStore::new();
    let db = Options::new().open_store(&disk).unwrap();
    for v in ["p", "q", "r"] {
        db.exec(|txn| ["a", "b"].iter().try_for_each(|name| txn.bucket_mut(name)?.put("k", v))).unwrap();
    }
    let (root_of_a, id) =
        db.view(|txn| Ok((txn.bucket("a")?.unwrap().pages().next().unwrap()?.page, txn.id()))).unwrap();
    let before = disk.image();
    db.exec(|txn| txn.bucket_mut("b")?.put("k", "s")).unwrap();
    let mut image = disk.image();
    let root = u64_at(&image, newest_slot(&image).0 + 56) as usize;
    image[root * 4096 + 40] ^= 1;
    assert_eq!(image[root_of_a as usize * 4096..][..4096], before[root_of_a as usize * 4096..][..4096]);
    image[root_of_a as usize * 4096 + 40] ^= 1;
    let db = open(&image).unwrap();
    let txn = db.begin_read().unwrap();
    assert_eq!(txn.id(), id);
    let get = |name| txn.bucket(name)?.unwrap().get("k").map(|value| value.map(<[u8]>::to_vec));
    assert!(matches!(get("a"), Err(Error::Corrupt { page, .. }) if page == root_of_a));
    assert_eq!(get("b").unwrap(), Some(b"r".to_vec()));
}

/// A slot of another format version whose checksum is right is the work of another release: nobody opens the older state beside it. One with
/// a wrong checksum is a damaged slot.
#[test]
fn a_slot_of_another_version_beside_a_good_one() {
    let disk = MemoryStore::new();
    let db = Options::new().open_store(&disk).unwrap();
    for v in ["p", "q", "r"] {
        db.exec(|txn| txn.bucket_mut("a")?.put("k", v)).unwrap();
    }
    for slot in slots(4096) {
        let mut image = disk.image();
        image[slot + 8] = 9;
        assert!(open(&image).is_ok());
        seal_meta(&mut image[slot..slot + 4096]);
        let result = open(&image);
        assert!(matches!(result, Err(Error::Version { found: 9, supported: 1 })), "{result:?}");
    }
}
