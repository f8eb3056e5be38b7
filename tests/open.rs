//! Opening from several threads, beside other processes and their locks.
use folio::{Database, Error, Options};
use std::sync::Barrier;
use std::time::Duration;

/// Several threads of one process open a path at which there is nothing yet.
#[test]
fn threads_that_create_the_same_database_all_get_it() {
    for round in 0..50 {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.folio");
        let barrier = Barrier::new(4);
        let results: Vec<_> = std::thread::scope(|scope| {
            let open = || {
                barrier.wait();
                Database::open(&path)
            };
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(open)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        for result in results {
            result.unwrap_or_else(|error| panic!("round {round}: {error}"));
        }
    }
}

/// Two threads wait for another owner; whichever gets the file, the other gets the same database.
#[test]
fn two_threads_that_wait_for_the_lock_both_get_the_database() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.folio");
    drop(Database::open(&path).unwrap());
    // Another process, as far as `flock` can tell: a descriptor of its own.
    let other = std::fs::File::open(&path).unwrap();
    other.lock().unwrap();
    let wait = || Options::new().lock_timeout(Duration::from_secs(3)).open(&path);
    let (a, b) = std::thread::scope(|scope| {
        let (a, b) = (scope.spawn(wait), scope.spawn(wait));
        std::thread::sleep(Duration::from_millis(100));
        other.unlock().unwrap();
        (a.join().unwrap(), b.join().unwrap())
    });
    let (_a, _b) = (a.unwrap(), b.unwrap());
}

/// A database that is closed can be opened again, whatever other threads start meanwhile.
#[test]
fn starting_a_process_elsewhere_does_not_keep_the_lock() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.folio");
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                std::process::Command::new("true").status().unwrap();
            }
        });
        let mut locked = 0;
        for _ in 0..3000 {
            if let Err(error) = Database::open(&path) {
                assert!(matches!(error, Error::Locked));
                locked += 1;
            }
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        assert_eq!(locked, 0);
    });
}

#[test]
fn reserve_of_a_length_that_cannot_be_is_an_error() {
    let db = Database::in_memory().unwrap();
    let mut txn = db.begin_write().unwrap();
    let result = txn.bucket_mut("a").unwrap().reserve("k", usize::MAX, |_| ());
    assert!(matches!(result, Err(Error::ValueTooLong { .. })), "{result:?}");
}

/// The first makes the file, the others get the same database.
#[test]
fn a_missing_file_opened_by_two_threads() {
    let dir = tempfile::tempdir().unwrap();
    let mut failed = Vec::new();
    for n in 0..100 {
        let path = dir.path().join(format!("m{n}"));
        let barrier = Barrier::new(3);
        std::thread::scope(|s| {
            let hs: Vec<_> = (0..3)
                .map(|_| {
                    s.spawn(|| {
                        barrier.wait();
                        Options::new().open(&path).inspect(|_| std::thread::sleep(Duration::from_millis(3)))
                    })
                })
                .collect();
            for h in hs {
                if let Err(e) = h.join().unwrap() {
                    failed.push(format!("{n}: {e}"));
                }
            }
        });
    }
    assert!(failed.is_empty(), "{} of 300 opens failed, e.g. {}", failed.len(), failed[0]);
}
/// What one of them puts in the place of the empty file, no other replaces.
#[test]
fn an_empty_file_opened_by_several_threads() {
    let dir = tempfile::tempdir().unwrap();
    let mut lost = Vec::new();
    for n in 0..100 {
        let path = dir.path().join(format!("e{n}"));
        std::fs::write(&path, b"").unwrap();
        let barrier = Barrier::new(4);
        let mut acknowledged = Vec::new();
        std::thread::scope(|s| {
            let (path, barrier) = (&path, &barrier);
            let hs: Vec<_> = (0..4)
                .map(|i| {
                    s.spawn(move || {
                        barrier.wait();
                        let db = Options::new().open(path).ok()?;
                        db.exec(|t| t.bucket_mut("b")?.put(format!("k{i}"), "v")).ok()?;
                        Some(format!("k{i}"))
                    })
                })
                .collect();
            for h in hs {
                acknowledged.extend(h.join().unwrap());
            }
        });
        let db = Options::new().open(&path).unwrap();
        for k in acknowledged {
            let there = db
                .view(|t| {
                    Ok(match t.bucket("b")? {
                        Some(b) => b.contains(&k)?,
                        None => false,
                    })
                })
                .unwrap();
            if !there {
                lost.push(format!("{n}:{k}"));
            }
        }
    }
    assert!(lost.is_empty(), "acknowledged durable commits gone: {lost:?}");
}
