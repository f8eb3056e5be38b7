//! A pin must not wander while the writer looks for pins: a snapshot that is cloned and dropped over and over stays as it is.

use folio::Options;
use std::sync::atomic::{AtomicBool, Ordering};

#[test]
fn a_snapshot_that_is_cloned_and_dropped_stays_pinned() {
    let db = Options::new().open_in_memory().unwrap();
    db.exec(|t| t.bucket_mut("b")?.put("k", "v0")).unwrap();
    let stop = AtomicBool::new(false);
    std::thread::scope(|s| {
        let (db, stop) = (&db, &stop);
        let reader = s.spawn(move || {
            let low = db.begin_read().unwrap();
            // Makes the table long; it is empty again afterwards. (Without it the window is smaller, not gone.)
            let crowd: Vec<_> = (0..500).map(|_| db.begin_read().unwrap()).collect();
            let mut high = db.begin_read().unwrap();
            drop(crowd);
            drop(low);
            let read = |t: &folio::ReadTxn| t.bucket("b").unwrap().unwrap().get("k").unwrap().unwrap().to_vec();
            let expected = read(&high);
            let id = high.id();
            let start = std::time::Instant::now();
            for n in 0..u64::MAX {
                let low = high.clone();
                drop(high);
                high = low.clone();
                drop(low);
                if n % 64 == 0 {
                    assert_eq!(high.id(), id);
                    let value = read(&high);
                    if value != expected {
                        stop.store(true, Ordering::Relaxed);
                        return Some((
                            n,
                            id,
                            String::from_utf8_lossy(&expected).into_owned(),
                            String::from_utf8_lossy(&value).into_owned(),
                        ));
                    }
                }
                if n % 64 == 0 && start.elapsed().as_secs() >= 15 {
                    break;
                }
            }
            stop.store(true, Ordering::Relaxed);
            None
        });
        let mut n = 0;
        while !stop.load(Ordering::Relaxed) {
            n += 1;
            db.exec(|t| t.bucket_mut("b")?.put("k", format!("v{n}"))).unwrap();
        }
        let changed = reader.join().unwrap();
        assert!(changed.is_none(), "a held snapshot changed after {n} commits: {changed:?}");
    });
}
