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
