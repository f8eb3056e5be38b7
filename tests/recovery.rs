//! What recovery must not believe: a commit that a failed sync may have dropped, and one that an earlier recovery refused.

mod common;

use common::{slots, u64_at};
use folio::disk::{Failure, MemoryStore};
use folio::{Durability, Error, Options};

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
