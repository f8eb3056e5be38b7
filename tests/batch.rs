//! Group commit: threads that write at the same time share a commit, and nothing else.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::Duration;

use folio::disk::{Failure, MemoryStore};
use folio::{Database, Durability, Error, Options, WriteTxn};

fn assert_sound(db: &Database) {
    let report = db.check().unwrap();
    assert!(report.is_ok(), "{:#?}", report.problems);
}

fn put(txn: &mut WriteTxn, key: impl AsRef<[u8]>) -> folio::Result<()> {
    txn.bucket_mut("a")?.put(key, "value")
}

fn has(db: &Database, key: impl AsRef<[u8]>) -> bool {
    db.begin_read().unwrap().bucket("a").unwrap().is_some_and(|bucket| bucket.contains(key).unwrap())
}

type Member = Box<dyn FnOnce(&mut WriteTxn) -> folio::Result<()> + Send>;

/// Runs each of `members` in a thread, in such a way that all but the first wait for their turn when the first one's closure ends, and
/// so share its commit. Answers what each of them heard.
fn together(db: &Database, members: Vec<Member>) -> Vec<thread::Result<folio::Result<()>>> {
    thread::scope(|scope| {
        let (begun, has_begun) = mpsc::channel();
        let (go, may_go) = mpsc::channel();
        let first = scope.spawn(move || {
            db.batch(move |_| {
                begun.send(()).unwrap();
                may_go.recv().unwrap();
                Ok(())
            })
        });
        has_begun.recv().unwrap();
        let members: Vec<_> = members.into_iter().map(|member| scope.spawn(move || db.batch(member))).collect();
        // Nothing tells that a thread waits; should one be late, it is in the next batch.
        thread::sleep(Duration::from_millis(50));
        go.send(()).unwrap();
        let _first = first.join().unwrap();
        members.into_iter().map(|member| member.join()).collect()
    })
}

#[test]
fn many_threads_lose_nothing_and_share_commits() {
    let dir = tempfile::tempdir().unwrap();
    let db = Database::open(dir.path().join("a.folio")).unwrap();
    thread::scope(|scope| {
        for thread in 0..16u32 {
            let db = &db;
            scope.spawn(move || {
                for n in 0..30u32 {
                    db.batch(move |txn| put(txn, [thread.to_be_bytes(), n.to_be_bytes()].concat())).unwrap();
                    assert!(
                        has(db, [thread.to_be_bytes(), n.to_be_bytes()].concat()),
                        "it is committed when batch returns"
                    );
                }
            });
        }
    });
    assert_eq!(db.begin_read().unwrap().bucket("a").unwrap().unwrap().len(), 16 * 30);
    assert!(db.stats().unwrap().commits < 16 * 30);
    assert_sound(&db);
}

#[test]
fn one_that_fails_or_panics_takes_back_itself_alone() {
    let db = Database::in_memory().unwrap();
    let outcomes = Arc::new(Mutex::new(Vec::new()));
    let heard = together(
        &db,
        (0..9u32)
            .map(|n| {
                let outcomes = Arc::clone(&outcomes);
                let member = move |txn: &mut WriteTxn| {
                    put(txn, n.to_be_bytes())?;
                    txn.bucket_mut("turns")?.put(n.to_be_bytes(), "")?;
                    outcomes.lock().unwrap().push(n);
                    match n % 3 {
                        0 => Ok(()),
                        1 => Err(Error::other("on purpose")),
                        _ => panic!("on purpose"),
                    }
                };
                Box::new(member) as Member
            })
            .collect(),
    );
    assert_eq!(outcomes.lock().unwrap().len(), 9);
    assert_eq!(heard.iter().filter(|heard| matches!(heard, Ok(Ok(())))).count(), 3);
    (0..9u32).for_each(|n| assert_eq!(has(&db, n.to_be_bytes()), n % 3 == 0, "{n}"));
    assert_eq!(db.begin_read().unwrap().bucket("turns").unwrap().unwrap().len(), 3);
    assert_eq!(db.stats().unwrap().commits, 1, "one commit for all");
    assert_sound(&db);
}

#[test]
fn each_hears_its_own_error() {
    let db = Database::in_memory().unwrap();
    assert_eq!(db.batch(|txn| put(txn, "1").map(|()| 7)).unwrap(), 7);
    let error = db.batch(|_| Err::<(), _>(Error::other("mine"))).unwrap_err();
    assert_eq!(error.to_string(), "mine");
    let panic = catch_unwind(AssertUnwindSafe(|| db.batch(|_| -> folio::Result<()> { panic!("mine, too") })));
    assert_eq!(panic.unwrap_err().downcast_ref(), Some(&"mine, too"));
    let before = db.stats().unwrap().commits;
    db.batch(|txn| txn.bucket_mut("a").map(drop)).unwrap();
    assert_eq!(db.stats().unwrap().commits, before, "nothing changed");
    assert!(has(&db, "1"));
}

#[test]
fn a_failed_sync_is_told_to_every_member() {
    let disk = MemoryStore::new();
    let db = Options::new().open_store(&disk).unwrap();
    db.exec(|txn| put(txn, "before")).unwrap();
    let told = AtomicU32::new(0);
    thread::scope(|scope| {
        let (begun, has_begun) = mpsc::channel();
        let (go, may_go) = mpsc::channel::<()>();
        let member = |result: folio::Result<()>| {
            if matches!(result, Err(Error::Io { .. } | Error::Failed)) {
                told.fetch_add(1, Ordering::Relaxed);
            }
        };
        let (db, disk) = (&db, &disk);
        scope.spawn(move || {
            let disk = disk.clone();
            member(db.batch(move |txn| {
                begun.send(()).unwrap();
                may_go.recv().unwrap();
                // Whichever call it is: nothing is acknowledged after it.
                disk.fail(2, Failure::SyncDrops);
                put(txn, "first")
            }));
        });
        has_begun.recv().unwrap();
        for n in 0..5u8 {
            scope.spawn(move || member(db.batch(move |txn| put(txn, [n]))));
        }
        // What these would fail for has come to nothing.
        for _ in 0..2 {
            scope.spawn(move || member(db.batch(|_| Err(Error::other("the first was here before")))));
        }
        thread::sleep(Duration::from_millis(50));
        go.send(()).unwrap();
    });
    assert_eq!(told.into_inner(), 8);
    assert!(matches!(db.batch(|txn| put(txn, "later")), Err(Error::Failed | Error::Io { .. })));
    drop(db);
    let db = Options::new().open_store(&disk).unwrap();
    assert!(has(&db, "before"));
    assert_sound(&db);
}

/// Uses the database when it is dropped.
struct Owned(Database);

impl Drop for Owned {
    fn drop(&mut self) {
        let _outcome = self.0.batch(|txn| put(txn, "last"));
    }
}

/// Closures that nobody can run are dropped, and with them what they own.
#[test]
fn what_a_closure_owns_may_do_anything_when_it_goes() {
    let mut failed = 0;
    for call in 1..=4 {
        let disk = MemoryStore::new();
        let db = Options::new().open_store(&disk).unwrap();
        let mut txn = db.begin_write().unwrap();
        put(&mut txn, "1").unwrap();
        let (told, is_told) = mpsc::channel();
        for n in 0..3u8 {
            let (db, told) = (db.clone(), told.clone());
            thread::spawn(move || {
                let owned = Owned(db.clone());
                let outcome = db.batch(move |txn| {
                    let _owned = owned;
                    put(txn, [n])
                });
                told.send(outcome).unwrap();
            });
        }
        thread::sleep(Duration::from_millis(50));
        disk.fail(call, Failure::SyncDrops);
        let _outcome = txn.commit();
        for _ in 0..3 {
            let outcome = is_told.recv_timeout(Duration::from_secs(20)).expect("it is told");
            failed += u32::from(matches!(outcome, Err(Error::Failed)));
        }
    }
    assert!(failed >= 3, "{failed}");
}

/// A write fails while dirty pages are spilled, and the transaction with it. The one whose closure it was hears of the write.
#[test]
fn who_breaks_a_batch_hears_why() {
    let mut told_why = 0;
    for call in 1..=8 {
        let disk = MemoryStore::new();
        let db = Options::new().dirty_limit(64 * 4096).open_store(&disk).unwrap();
        let fill = move |txn: &mut WriteTxn| {
            disk.fail(call, Failure::Io);
            let mut bucket = txn.bucket_mut("b")?;
            (0..10_000u32).try_for_each(|n| bucket.put((n * 7919).to_le_bytes(), [7; 100]))
        };
        let mut members: Vec<Member> = vec![Box::new(fill)];
        members.extend((0..3u8).map(|n| Box::new(move |txn: &mut WriteTxn| put(txn, [n])) as Member));
        let heard = together(&db, members);
        told_why += u32::from(matches!(heard[0], Ok(Err(Error::Io { .. }))));
        assert!(!matches!(heard[0], Ok(Err(Error::Broken))), "call {call}");
        assert_sound(&db);
    }
    assert!(told_why > 0);
}

/// It would wait for itself.
#[test]
fn a_batch_within_a_transaction_is_an_error() {
    let db = Database::in_memory().unwrap();
    let inner = db.clone();
    let nested = db.batch(move |_| inner.batch(|txn| put(txn, "1")));
    assert!(matches!(nested, Err(Error::WriteTxnOpen)));
    db.exec(|_| {
        assert!(matches!(db.batch(|txn| put(txn, "1")), Err(Error::WriteTxnOpen)));
        Ok(())
    })
    .unwrap();
    db.batch(|txn| put(txn, "1")).unwrap();
}

/// A way to wait for the writer's seat.
type Wait = fn(&Database) -> folio::Result<()>;

const WAITS: [Wait; 3] = [
    |db| db.batch(|txn| put(txn, "1")),
    |db| db.wait_durable(db.begin_read()?.id()),
    |db| {
        let mut txn = db.begin_optimistic()?;
        txn.bucket_mut("a")?.put("2", "value")?;
        txn.commit().map(|_| ())
    },
];

/// A database with a commit that is not durable.
fn relaxed() -> Database {
    let db = Options::new().durability(Durability::Relaxed).open_in_memory().unwrap();
    db.exec(|txn| put(txn, "0")).unwrap();
    db
}

/// Whoever has sent a transaction to another thread waits for it as for any other, whether it was used there or not yet; for one that was,
/// however long it takes.
#[test]
fn who_has_handed_a_transaction_over_waits_for_it() {
    thread::scope(|scope| {
        for wait in WAITS {
            for (is_used, held) in [(false, 200), (true, 200), (true, 1500)] {
                scope.spawn(move || {
                    let db = relaxed();
                    let mut txn = db.begin_write().unwrap();
                    txn.bucket_mut("a").unwrap();
                    let (begun, has_begun) = mpsc::channel();
                    let other = thread::spawn(move || {
                        if is_used {
                            txn.bucket_mut("a").unwrap();
                        }
                        begun.send(()).unwrap();
                        thread::sleep(Duration::from_millis(held));
                        drop(txn);
                    });
                    has_begun.recv().unwrap();
                    wait(&db).unwrap();
                    other.join().unwrap();
                });
            }
        }
    });
}

/// Nobody waits for a transaction that it has itself: where it has begun it, has used it, or has it from a thread that has ended.
#[test]
fn who_has_taken_a_transaction_over_does_not_wait_for_itself() {
    let begun_here = |db: &Database| (db.begin_write().unwrap(), None);
    let begun_by_one_that_has_ended = |db: &Database| {
        let db = db.clone();
        (thread::spawn(move || db.begin_write().unwrap()).join().unwrap(), None)
    };
    let begun_by_one_that_lives = |db: &Database| {
        let (db, (done, is_done), (sender, receiver)) = (db.clone(), mpsc::channel::<()>(), mpsc::channel());
        thread::spawn(move || {
            sender.send(db.begin_write().unwrap()).unwrap();
            _ = is_done.recv();
        });
        let mut txn = receiver.recv().unwrap();
        txn.bucket_mut("a").unwrap();
        (txn, Some(done))
    };
    type Begin<'a> = &'a (dyn Fn(&Database) -> (WriteTxn, Option<mpsc::Sender<()>>) + Sync);
    let begins: [Begin<'_>; 3] = [&begun_here, &begun_by_one_that_has_ended, &begun_by_one_that_lives];
    thread::scope(|scope| {
        for wait in WAITS {
            for begin in begins {
                scope.spawn(move || {
                    let db = relaxed();
                    let (mut txn, _alive) = begin(&db);
                    let refused = wait(&db);
                    assert!(matches!(refused, Err(Error::WriteTxnOpen)), "{refused:?}");
                    put(&mut txn, "still whole").unwrap();
                    txn.commit().unwrap();
                    wait(&db).unwrap();
                    assert!(has(&db, "still whole"));
                    assert_sound(&db);
                });
            }
        }
    });
}

/// One of those who meet for a batch has the transaction for which all of them wait: it hears of that, leading or not, and the others are
/// served when it has let go.
#[test]
fn one_that_waits_for_itself_sends_nobody_else_away() {
    thread::scope(|scope| {
        for leads in [false, true] {
            scope.spawn(move || {
                let db = Database::in_memory().unwrap();
                let txn = db.begin_write().unwrap();
                thread::scope(|scope| {
                    let others = (0..3u8).map(|n| {
                        let db = &db;
                        scope.spawn(move || {
                            if leads {
                                thread::sleep(Duration::from_millis(100));
                            }
                            db.batch(move |txn| put(txn, [n]))
                        })
                    });
                    let others: Vec<_> = others.collect();
                    if !leads {
                        thread::sleep(Duration::from_millis(100));
                    }
                    assert!(matches!(db.batch(|txn| put(txn, "own")), Err(Error::WriteTxnOpen)));
                    assert!(others.iter().all(|other| !other.is_finished()));
                    drop(txn);
                    others.into_iter().for_each(|other| other.join().unwrap().unwrap());
                });
                assert!((0..3u8).all(|n| has(&db, [n])) && !has(&db, "own"));
                db.batch(|txn| put(txn, "own")).unwrap();
                assert_sound(&db);
            });
        }
    });
}

/// Those that fail may come again at once; the others do not wait for them for ever.
#[test]
fn failing_threads_hold_nobody_up() {
    let db = Database::in_memory().unwrap();
    let is_done = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                while !is_done.load(Ordering::Relaxed) {
                    db.batch(|_| Err::<(), _>(Error::other("again"))).unwrap_err();
                }
            });
        }
        for n in 0..20u8 {
            db.batch(move |txn| put(txn, [n])).unwrap();
        }
        is_done.store(true, Ordering::Relaxed);
    });
    assert_eq!(db.begin_read().unwrap().bucket("a").unwrap().unwrap().len(), 20);
}

/// Each inserts the same key. Who comes too late returns when the key is there for all to see.
#[test]
fn who_fails_for_what_another_did_finds_it_committed() {
    let db = Database::in_memory().unwrap();
    thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| {
                for n in 0..300u32 {
                    let inserted = db.batch(move |txn| match txn.bucket_mut("a")?.insert(n.to_be_bytes(), "")? {
                        true => Ok(()),
                        false => Err(Error::other("taken")),
                    });
                    assert!(has(&db, n.to_be_bytes()), "{n}: {inserted:?}");
                }
            });
        }
    });
}

/// A closure leaves another transaction behind: of another database, or a new one of the same, without what members have put.
#[test]
fn nobody_commits_in_a_transaction_that_was_swapped_in() {
    for same in [false, true] {
        let (db, other) = (Database::in_memory().unwrap(), Database::in_memory().unwrap());
        let (db_too, other_too) = (db.clone(), other.clone());
        let swap = move |txn: &mut WriteTxn| {
            let mut theirs = other_too.begin_write()?;
            std::mem::swap(txn, &mut theirs);
            drop(theirs);
            if same {
                *txn = db_too.begin_write()?;
            }
            Ok(())
        };
        let mut members: Vec<Member> = vec![];
        members.extend((0..4u8).map(|n| Box::new(move |txn: &mut WriteTxn| put(txn, [n])) as Member));
        members.insert(2, Box::new(swap));
        let heard = together(&db, members);
        assert!(matches!(heard[2], Ok(Err(_))), "{:?}", heard[2]);
        for (n, heard) in [(0u8, &heard[0]), (1, &heard[1]), (2, &heard[3]), (3, &heard[4])] {
            let is_told = matches!(heard, Ok(Ok(())));
            assert_eq!(is_told, has(&db, [n]), "{n}: {heard:?}");
            assert!(is_told || matches!(heard, Ok(Err(Error::Broken))), "{n}: {heard:?}");
        }
        assert_eq!(other.begin_read().unwrap().buckets().unwrap().len(), 0);
        assert_sound(&db);
        assert_sound(&other);
    }
}

#[test]
fn beside_other_writers() {
    let db = Database::in_memory().unwrap();
    thread::scope(|scope| {
        for thread in 0..6u32 {
            let db = &db;
            scope.spawn(move || {
                for n in 0..200u32 {
                    let add = |txn: &mut WriteTxn| {
                        let mut bucket = txn.bucket_mut("counts")?;
                        let count =
                            bucket.get("total")?.map_or(0, |bytes| u32::from_be_bytes(bytes.try_into().unwrap()));
                        bucket.put("total", (count + 1).to_be_bytes())
                    };
                    match (thread + n) % 3 {
                        0 => db.exec(add).unwrap(),
                        _ => db.batch(add).unwrap(),
                    }
                }
            });
        }
    });
    let txn = db.begin_read().unwrap();
    assert_eq!(txn.bucket("counts").unwrap().unwrap().get("total").unwrap(), Some(&1200u32.to_be_bytes()[..]));
    assert_sound(&db);
}

/// P1 for every member: what was acknowledged is there after a power cut at any later operation, whatever of the rest survives.
#[test]
fn what_was_acknowledged_survives_a_power_cut() {
    let disk = MemoryStore::new();
    disk.record();
    let db = Options::new().open_store(&disk).unwrap();
    let acknowledged = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for thread in 0..8u32 {
            let (db, disk, acknowledged) = (&db, &disk, &acknowledged);
            scope.spawn(move || {
                for n in 0..12u32 {
                    let key = [thread.to_be_bytes(), n.to_be_bytes()].concat();
                    let of_member = key.clone();
                    db.batch(move |txn| {
                        put(txn, &of_member)?;
                        txn.bucket_mut("twin")?.put(&of_member, vec![1; 3000])
                    })
                    .unwrap();
                    acknowledged.lock().unwrap().push((disk.operation_count(), key));
                }
            });
        }
    });
    let acknowledged = acknowledged.into_inner().unwrap();
    let mut rng = fastrand::Rng::with_seed(1);
    for cut in 0..=disk.operation_count() {
        let odds = rng.u32(..4);
        let image = disk.crash(cut, |_| rng.u32(..3) < odds);
        let disk = MemoryStore::with_image(&image);
        let db = Options::new().open_store(&disk).unwrap();
        for (_, key) in acknowledged.iter().filter(|(at, _)| *at <= cut) {
            assert!(has(&db, key), "cut {cut}");
        }
        let txn = db.begin_read().unwrap();
        let len = |name| txn.bucket(name).unwrap().map_or(0, |bucket| bucket.len());
        assert_eq!(len("a"), len("twin"), "cut {cut}: both or none");
        assert_sound(&db);
    }
}
