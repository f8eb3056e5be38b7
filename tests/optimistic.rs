//! Optimistic transactions: whatever runs at the same time, the outcome is that of one after the other, and who loses leaves no trace.
//!
//! `FOLIO_SEEDS=1000 cargo test --release --test optimistic` goes deeper; `FOLIO_SEED=n` replays one history.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Barrier, Mutex};
use std::thread;

use folio::disk::MemoryStore;
use folio::{Database, Error, Isolation, OptimisticTxn, Options};

type Model = BTreeMap<Vec<u8>, Vec<u8>>;

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

fn with(entries: &[(&str, &str)]) -> Database {
    let db = Database::in_memory().unwrap();
    db.exec(|txn| {
        let mut bucket = txn.bucket_mut("a")?;
        entries.iter().try_for_each(|(key, value)| bucket.put(key, value))
    })
    .unwrap();
    db
}

fn put(txn: &mut OptimisticTxn, key: &str, value: &str) {
    txn.bucket_mut("a").unwrap().put(key, value).unwrap();
}

/// The bucket and the key that a commit failed for.
#[track_caller]
fn conflict(txn: OptimisticTxn) -> (String, Option<Vec<u8>>) {
    match txn.commit() {
        Err(Error::Conflict { bucket, key }) => (bucket, key),
        other => panic!("{other:?}"),
    }
}

fn on(bucket: &str, key: &str) -> (String, Option<Vec<u8>>) {
    (bucket.to_string(), Some(key.as_bytes().to_vec()))
}

#[test]
fn it_sees_its_own_writes_over_its_snapshot() {
    for seed in seeds(40) {
        println!("replay with FOLIO_SEED={seed}");
        let mut rng = fastrand::Rng::with_seed(seed);
        let key = |rng: &mut fastrand::Rng| format!("{:03}", rng.u32(..300)).into_bytes();
        let db = Database::in_memory().unwrap();
        let mut model = Model::new();
        db.exec(|txn| {
            let mut bucket = txn.bucket_mut("a")?;
            for _ in 0..rng.u32(..300) {
                let (key, value) = (key(&mut rng), vec![rng.u8(..); rng.usize(..40)]);
                bucket.put(&key, &value)?;
                model.insert(key, value);
            }
            Ok(())
        })
        .unwrap();
        let mut txn = db.begin_optimistic().unwrap();
        // What comes later is not seen, and is no conflict in another bucket.
        db.exec(|txn| txn.bucket_mut("b")?.put("later", "")).unwrap();
        assert!(txn.bucket("c").unwrap().is_none());
        let mut bucket = txn.bucket_mut("a").unwrap();
        for _ in 0..rng.u32(1..400) {
            let at = key(&mut rng);
            match rng.u32(..40) {
                0 => {
                    let end = key(&mut rng);
                    let count = model.len();
                    model.retain(|key, _| !(*key >= at && *key < end));
                    assert_eq!(bucket.delete_range(&at..&end).unwrap(), (count - model.len()) as u64);
                }
                1..10 => assert_eq!(bucket.delete(&at).unwrap(), model.remove(&at).is_some()),
                10..14 => {
                    assert_eq!(bucket.insert(&at, "inserted").unwrap(), !model.contains_key(&at));
                    model.entry(at).or_insert(b"inserted".to_vec());
                }
                14..25 => {
                    let value = vec![rng.u8(..); rng.usize(..5000)];
                    bucket.put(&at, &value).unwrap();
                    model.insert(at, value);
                }
                25..32 => assert_eq!(bucket.get(&at).unwrap(), model.get(&at).map(|value| &value[..])),
                _ => walk(&mut rng, &bucket.as_bucket().unwrap(), &model, at),
            }
        }
        txn.commit().unwrap();
        let txn = db.begin_read().unwrap();
        let entries: Vec<_> = txn.bucket("a").unwrap().unwrap().iter().map(|entry| entry.unwrap()).collect();
        assert!(entries.into_iter().eq(model.iter().map(|(key, value)| (&key[..], &value[..]))));
        assert_sound(&db);
    }
}

/// Walks a random range from both ends at random and compares.
fn walk(rng: &mut fastrand::Rng, bucket: &folio::OptimisticBucket<'_>, model: &Model, at: Vec<u8>) {
    let end = format!("{:03}", rng.u32(..300)).into_bytes();
    let bounds = [
        (Bound::Unbounded, Bound::Unbounded),
        (Bound::Included(at.clone()), Bound::Unbounded),
        (Bound::Unbounded, Bound::Included(at.clone())),
        (Bound::Excluded(at.clone()), Bound::Excluded(end.clone())),
        (Bound::Included(at.clone()), Bound::Excluded(end)),
    ];
    let bounds = rng.choice(&bounds).unwrap().clone();
    let inside = |key: &Vec<u8>| match (&bounds.0, &bounds.1) {
        (Bound::Included(start), _) if key < start => false,
        (Bound::Excluded(start), _) if key <= start => false,
        (_, Bound::Included(end)) if key > end => false,
        (_, Bound::Excluded(end)) if key >= end => false,
        _ => true,
    };
    let mut truth: std::collections::VecDeque<_> = model.iter().filter(|(key, _)| inside(key)).collect();
    let mut range = bucket.range(bounds.clone());
    loop {
        let (found, expected) = match rng.bool() {
            true => (range.next(), truth.pop_front()),
            false => (range.next_back(), truth.pop_back()),
        };
        let found = found.map(|entry| entry.unwrap());
        assert_eq!(found, expected.map(|(key, value)| (&key[..], &value[..])));
        if found.is_none() || rng.u32(..200) == 0 {
            return;
        }
    }
}

#[test]
fn the_first_to_commit_wins() {
    let db = with(&[("x", "0"), ("y", "0")]);
    let (mut one, mut two) = (db.begin_optimistic().unwrap(), db.begin_optimistic().unwrap());
    put(&mut one, "x", "1");
    put(&mut two, "x", "2");
    put(&mut two, "z", "2");
    one.commit().unwrap();
    assert_eq!(conflict(two), on("a", "x"));
    let txn = db.begin_read().unwrap();
    let bucket = txn.bucket("a").unwrap().unwrap();
    assert_eq!((bucket.get("x").unwrap(), bucket.get("z").unwrap()), (Some(&b"1"[..]), None));
    assert_sound(&db);
}

#[test]
fn disjoint_keys_do_not_conflict() {
    let db = with(&[("x", "0"), ("y", "0")]);
    let (mut one, mut two) = (db.begin_optimistic().unwrap(), db.begin_optimistic().unwrap());
    for (txn, key) in [(&mut one, "x"), (&mut two, "y")] {
        assert_eq!(txn.bucket("a").unwrap().unwrap().get(key).unwrap(), Some(&b"0"[..]));
        put(txn, key, "1");
    }
    one.commit().unwrap();
    two.commit().unwrap();
}

/// A commit looks for conflicts before it waits for the writer's seat: one that has lost says so while another one still writes.
#[test]
fn a_conflict_with_what_is_committed_does_not_wait_for_the_writer() {
    let db = with(&[("x", "0"), ("y", "0")]);
    type Read = fn(&mut OptimisticTxn);
    let reads: [Read; 4] = [
        |txn| put(txn, "x", "1"),
        |txn| assert!(bucket(txn).contains("x").unwrap()),
        |txn| assert_eq!(range(txn, "a"..).count(), 2),
        |txn| assert_eq!(txn.buckets().unwrap().len(), 1),
    ];
    for read in reads {
        let mut txn = db.begin_optimistic().unwrap();
        read(&mut txn);
        put(&mut txn, "z", "");
        db.exec(|txn| {
            txn.bucket_mut("new")?;
            txn.bucket_mut("a")?.put("x", "2")
        })
        .unwrap();
        let writer = db.begin_write().unwrap();
        let (sender, receiver) = std::sync::mpsc::channel();
        thread::spawn(move || sender.send(txn.commit()));
        let outcome = receiver.recv_timeout(std::time::Duration::from_secs(10));
        assert!(matches!(outcome, Ok(Err(Error::Conflict { .. }))), "{outcome:?}");
        drop(writer);
        db.exec(|txn| {
            txn.drop_bucket("new")?;
            txn.bucket_mut("a")?.put("x", "0")
        })
        .unwrap();
    }
    assert_sound(&db);
}

/// Two doctors, both on call, each of whom leaves if the other one stays.
fn both_leave(isolation: Isolation) -> [Result<folio::TxnId, Error>; 2] {
    let db = with(&[("ann", "on call"), ("bob", "on call")]);
    let begin = || db.begin_optimistic_with(isolation).unwrap();
    let (mut ann, mut bob) = (begin(), begin());
    for (txn, name, other) in [(&mut ann, "ann", "bob"), (&mut bob, "bob", "ann")] {
        assert_eq!(txn.bucket("a").unwrap().unwrap().get(other).unwrap(), Some(&b"on call"[..]));
        put(txn, name, "off");
    }
    [ann.commit(), bob.commit()]
}

#[test]
fn write_skew_is_prevented_and_under_snapshot_isolation_is_not() {
    let [ann, bob] = both_leave(Isolation::Serializable);
    assert!(ann.is_ok() && matches!(bob, Err(Error::Conflict { key: Some(key), .. }) if key == b"ann"));
    assert!(both_leave(Isolation::Snapshot).iter().all(Result::is_ok));
}

#[test]
fn a_phantom_in_a_range_that_was_walked_is_caught() {
    let db = with(&[("b", "1"), ("d", "1"), ("f", "1"), ("h", "1")]);
    // How a transaction reads, and which new keys it must notice, and need not.
    type Read = fn(&OptimisticTxn);
    let reads: [(&str, Read, &str, &str); 6] = [
        ("all of a range", |txn| assert_eq!(range(txn, "c".."g").count(), 2), "ceg", "ah"),
        ("the first", |txn| assert_eq!(key(range(txn, "c"..).next()), b"d"), "c", "aegi"),
        ("the last", |txn| assert_eq!(key(range(txn, "a".."g").next_back()), b"f"), "ff", "aceg"),
        (
            "both ends",
            |txn| {
                let mut range = range(txn, "a"..);
                assert_eq!((key(range.next()), key(range.next_back())), (b"b".to_vec(), b"h".to_vec()));
            },
            "ai",
            "cdefg",
        ),
        ("a key that is missing", |txn| assert!(bucket(txn).get("e").unwrap().is_none()), "e", "df"),
        ("whether it is empty", |txn| assert!(!bucket(txn).is_empty().unwrap()), "a", "c"),
    ];
    for (what, read, caught, free) in reads {
        for (new, is_caught) in caught.chars().map(|c| (c, true)).chain(free.chars().map(|c| (c, false))) {
            // A value that was there is changed; one that was not is added.
            let new = if what == "the last" && new == 'f' { "f".to_string() } else { new.to_string() };
            let mut txn = db.begin_optimistic().unwrap();
            read(&txn);
            txn.bucket_mut("out").unwrap().put("seen", "").unwrap();
            let before = db.begin_read().unwrap().bucket("a").unwrap().unwrap().get(&new).unwrap().map(<[u8]>::to_vec);
            if what == "all of a range" && new == "g" {
                continue; // The end is not in the range.
            }
            db.exec(|txn| txn.bucket_mut("a")?.put(&new, "2")).unwrap();
            match txn.commit() {
                Err(Error::Conflict { bucket, key }) => {
                    assert!(is_caught, "{what}: {new}");
                    assert_eq!((bucket, key), on("a", &new));
                }
                done => assert!(done.is_ok() && !is_caught, "{what}: {new}"),
            }
            db.exec(|txn| match before {
                Some(value) => txn.bucket_mut("a")?.put(&new, value),
                None => txn.bucket_mut("a")?.delete(&new).map(drop),
            })
            .unwrap();
        }
    }
}

fn bucket(txn: &OptimisticTxn) -> folio::OptimisticBucket<'_> {
    txn.bucket("a").unwrap().unwrap()
}

fn range(txn: &OptimisticTxn, range: impl folio::KeyRange) -> folio::OptimisticRange<'_> {
    bucket(txn).range(range)
}

fn key(entry: Option<folio::Result<folio::Entry<'_>>>) -> Vec<u8> {
    entry.unwrap().unwrap().0.to_vec()
}

/// An iterator that is never dropped has read all of its range, as far as anybody knows.
#[test]
fn a_forgotten_iterator_counts_in_full() {
    let db = with(&[("b", "1"), ("d", "1")]);
    let mut txn = db.begin_optimistic().unwrap();
    let mut walk = range(&txn, ..);
    assert_eq!(key(walk.next()), b"b");
    std::mem::forget(walk);
    put(&mut txn, "z", "");
    db.exec(|txn| txn.bucket_mut("a")?.put("c", "")).unwrap();
    assert_eq!(conflict(txn), on("a", "c"));
}

#[test]
fn buckets_that_come_and_go_conflict_with_who_looked() {
    let db = with(&[("x", "1")]);
    let begin = || {
        let mut txn = db.begin_optimistic().unwrap();
        put(&mut txn, "out", "");
        txn
    };
    let txn = begin();
    assert!(txn.bucket("new").unwrap().is_none());
    let names = begin();
    assert_eq!(names.buckets().unwrap(), ["a"]);
    let blind = begin();
    db.exec(|txn| txn.bucket_mut("new").map(drop)).unwrap();
    assert_eq!(conflict(txn), ("new".to_string(), None));
    assert_eq!(conflict(names), ("new".to_string(), None));
    blind.commit().unwrap();

    // Who puts makes the bucket if it is gone; who has read it is told.
    let mut put_only = db.begin_optimistic().unwrap();
    put_only.bucket_mut("new").unwrap().put("k", "v").unwrap();
    let reader = begin();
    assert!(reader.bucket("new").unwrap().is_some());
    db.exec(|txn| txn.drop_bucket("new").map(drop)).unwrap();
    assert_eq!(conflict(reader), ("new".to_string(), None));
    put_only.commit().unwrap();
    assert_eq!(db.begin_read().unwrap().buckets().unwrap(), ["a", "new"]);
    assert_sound(&db);
}

#[test]
fn what_only_reads_never_conflicts_and_what_is_dropped_leaves_no_trace() {
    let db = with(&[("x", "1")]);
    let txn = db.begin_optimistic().unwrap();
    assert!(bucket(&txn).contains("x").unwrap());
    let mut dropped = db.begin_optimistic().unwrap();
    put(&mut dropped, "x", "3");
    drop(dropped);
    db.exec(|txn| txn.bucket_mut("a")?.put("x", "2")).unwrap();
    assert_eq!(txn.commit().unwrap().get() + 1, db.begin_read().unwrap().id().get());
    let before = db.stats().unwrap();
    assert_eq!(before.pinned_snapshots, 0);
    let error = db.exec_optimistic(3, |txn| {
        put(txn, "x", "4");
        Err::<(), _>(Error::other("no"))
    });
    assert!(matches!(error, Err(Error::Other(_))));
    let mut read_only = with(&[]).begin_optimistic().unwrap();
    assert!(matches!(read_only.bucket_mut(""), Err(Error::BucketName { .. })));
    let mut bucket = read_only.bucket_mut("a").unwrap();
    assert!(matches!(bucket.put(vec![0; 5000], ""), Err(Error::KeyTooLong { .. })));
    assert_eq!(db.stats().unwrap().commits, before.commits);
}

/// A conflict means that another one has committed, and the next try sees it: of `n` that commit once each, none needs more than `n` tries.
#[test]
fn a_conflict_is_with_a_commit_that_the_next_try_sees() {
    const THREADS: usize = 6;
    let db = with(&[]);
    for _ in 0..100 {
        let barrier = Barrier::new(THREADS);
        thread::scope(|scope| {
            for _ in 0..THREADS {
                scope.spawn(|| {
                    barrier.wait();
                    db.exec_optimistic(THREADS - 1, |txn| {
                        let mut bucket = txn.bucket_mut("a")?;
                        let count = bucket.get("n")?.map_or(0, |bytes| u64::from_be_bytes(bytes.try_into().unwrap()));
                        bucket.put("n", (count + 1).to_be_bytes())
                    })
                    .unwrap();
                });
            }
        });
    }
    let count = 100 * THREADS as u64;
    assert_eq!(bucket(&db.begin_optimistic().unwrap()).get("n").unwrap(), Some(&count.to_be_bytes()[..]));
}

#[test]
fn counters_incremented_by_eight_threads_lose_nothing() {
    let db = with(&[]);
    let conflicts = AtomicU32::new(0);
    thread::scope(|scope| {
        for thread in 0..8u32 {
            let (db, conflicts) = (&db, &conflicts);
            scope.spawn(move || {
                for n in 0..100 {
                    let mut tries = 0;
                    db.exec_optimistic(usize::MAX, |txn| {
                        tries += 1;
                        let mut bucket = txn.bucket_mut("a")?;
                        for key in ["all", if (thread + n) % 2 == 0 { "even" } else { "odd" }] {
                            let count =
                                bucket.get(key)?.map_or(0, |bytes| u32::from_be_bytes(bytes.try_into().unwrap()));
                            thread::yield_now();
                            bucket.put(key, (count + 1).to_be_bytes())?;
                        }
                        Ok(())
                    })
                    .unwrap();
                    conflicts.fetch_add(tries - 1, Ordering::Relaxed);
                }
            });
        }
    });
    let txn = db.begin_read().unwrap();
    let bucket = txn.bucket("a").unwrap().unwrap();
    let count = |key| u32::from_be_bytes(bucket.get(key).unwrap().unwrap().try_into().unwrap());
    assert_eq!((count("all"), count("even"), count("odd")), (800, 400, 400));
    assert_sound(&db);
}

#[test]
fn threads_on_disjoint_keys_never_conflict() {
    let db = with(&[]);
    thread::scope(|scope| {
        for thread in 0..8u32 {
            let db = &db;
            scope.spawn(move || {
                for n in 0..100u32 {
                    db.exec_optimistic(0, |txn| {
                        let mut bucket = txn.bucket_mut("a")?;
                        let prefix = thread.to_be_bytes();
                        let seen = bucket.as_bucket()?.prefix(prefix).count();
                        assert_eq!(seen as u32, n);
                        bucket.put([prefix, n.to_be_bytes()].concat(), "")
                    })
                    .unwrap();
                }
            });
        }
    });
    assert_eq!(db.begin_read().unwrap().bucket("a").unwrap().unwrap().len(), 800);
    assert_sound(&db);
}

type Entries = Vec<(u8, u64)>;

/// What a transaction of a history has read and written. Keys are single bytes, values are unique.
#[derive(Debug, Default)]
struct Seen {
    /// The transaction that it committed as, or its snapshot if it only read.
    id: u64,
    keys: Vec<(u8, Option<u64>)>,
    /// From, to, and what was between.
    ranges: Vec<(u8, u8, Entries)>,
    writes: BTreeMap<u8, Option<u64>>,
}

impl Seen {
    /// Whether the transaction could have run on this state.
    fn fits(&self, state: &BTreeMap<u8, u64>) -> bool {
        self.keys.iter().all(|(key, value)| state.get(key).copied() == *value)
            && self.ranges.iter().all(|(from, to, between)| {
                state.range(*from..*to).map(|(key, value)| (*key, *value)).eq(between.iter().copied())
            })
    }

    fn apply(&self, state: &mut BTreeMap<u8, u64>) {
        for (&key, &value) in &self.writes {
            match value {
                Some(value) => state.insert(key, value),
                None => state.remove(&key),
            };
        }
    }
}

/// Whether the transactions, which committed together, can have run one after the other in some order; leaves the state after them.
fn some_order(group: &mut Vec<&Seen>, state: &mut BTreeMap<u8, u64>) -> bool {
    if group.is_empty() {
        return true;
    }
    for i in 0..group.len() {
        if group[i].fits(state) {
            let next = group.remove(i);
            let mut after = state.clone();
            next.apply(&mut after);
            if some_order(group, &mut after) {
                *state = after;
                return true;
            }
            group.insert(i, next);
        }
    }
    false
}

/// Threads run random transactions; from what each has seen, a checker that knows nothing of the library finds a serial order, in
/// which the order of the commits is kept.
#[test]
fn every_history_has_a_serial_order() {
    for seed in seeds(6) {
        println!("replay with FOLIO_SEED={seed}, as far as threads can be replayed");
        let disk = MemoryStore::new();
        let db = Options::new().open_store(&disk).unwrap();
        db.exec(|txn| txn.bucket_mut("a").map(drop)).unwrap();
        let (history, unique, conflicts) = (Mutex::new(Vec::new()), AtomicU32::new(1), AtomicU32::new(0));
        thread::scope(|scope| {
            for thread in 0..6u64 {
                let (db, history, unique, conflicts) = (&db, &history, &unique, &conflicts);
                scope.spawn(move || {
                    let mut rng = fastrand::Rng::with_seed(seed * 100 + thread);
                    for _ in 0..80 {
                        let mut txn = db.begin_optimistic().unwrap();
                        let seen = random_transaction(&mut rng, &mut txn, unique);
                        match txn.commit() {
                            Ok(id) => history.lock().unwrap().push(Seen { id: id.get(), ..seen }),
                            Err(Error::Conflict { .. }) => {
                                conflicts.fetch_add(1, Ordering::Relaxed);
                            }
                            Err(error) => panic!("{error}"),
                        }
                    }
                });
            }
        });
        let history = history.into_inner().unwrap();
        assert!(history.len() > 30 && conflicts.into_inner() > 0);
        let ids: BTreeSet<u64> = history.iter().map(|seen| seen.id).collect();
        let mut state = BTreeMap::new();
        for id in ids {
            let of_id = || history.iter().filter(|seen| seen.id == id);
            let mut group: Vec<&Seen> = of_id().filter(|seen| !seen.writes.is_empty()).collect();
            assert!(some_order(&mut group, &mut state), "no order for {:#?} after {state:?}", group);
            // What only reads has its place at its snapshot.
            for seen in of_id().filter(|seen| seen.writes.is_empty()) {
                assert!(seen.fits(&state), "{seen:?} after {state:?}");
            }
        }
        assert_sound(&db);
    }
}

fn random_transaction(rng: &mut fastrand::Rng, txn: &mut OptimisticTxn, unique: &AtomicU32) -> Seen {
    let mut seen = Seen::default();
    let decode = |bytes: &[u8]| u64::from_be_bytes(bytes[..8].try_into().unwrap());
    for _ in 0..rng.u32(1..4) {
        if rng.bool() {
            let key = rng.u8(..40);
            let value = bucket(txn).get([key]).unwrap().map(decode);
            seen.keys.push((key, value));
        } else {
            let from = rng.u8(..40);
            let to = rng.u8(from..41);
            let between = range(txn, [from]..[to]).map(|entry| entry.map(|(key, value)| (key[0], decode(value))));
            seen.ranges.push((from, to, between.collect::<folio::Result<_>>().unwrap()));
        }
        thread::yield_now();
    }
    if rng.u32(..4) > 0 {
        for _ in 0..rng.u32(1..3) {
            let key = rng.u8(..40);
            let mut bucket = txn.bucket_mut("a").unwrap();
            if rng.u32(..3) == 0 {
                // Whether it was there is read, too.
                let before = bucket.get([key]).unwrap().map(decode);
                if !seen.writes.contains_key(&key) {
                    seen.keys.push((key, before));
                }
                bucket.delete([key]).unwrap();
                seen.writes.insert(key, None);
            } else {
                let value = u64::from(unique.fetch_add(1, Ordering::Relaxed));
                // Some are large.
                bucket.put([key], value.to_be_bytes().repeat(rng.usize(1..400))).unwrap();
                seen.writes.insert(key, Some(value));
            }
        }
    }
    seen
}

/// P1: a commit that was acknowledged is there after a power cut at any later operation, and each is there whole or not at all.
#[test]
fn what_was_acknowledged_survives_a_power_cut() {
    let disk = MemoryStore::new();
    disk.record();
    let db = Options::new().open_store(&disk).unwrap();
    let acknowledged = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for thread in 0..4u8 {
            let (db, disk, acknowledged) = (&db, &disk, &acknowledged);
            scope.spawn(move || {
                for n in 0..20u8 {
                    db.exec_optimistic(usize::MAX, |txn| {
                        let mut bucket = txn.bucket_mut("a")?;
                        let count =
                            bucket.get("count")?.map_or(0, |bytes| u32::from_be_bytes(bytes.try_into().unwrap()));
                        bucket.put("count", (count + 1).to_be_bytes())?;
                        bucket.put([thread, n], vec![n; 2000])
                    })
                    .unwrap();
                    acknowledged.lock().unwrap().push((disk.operation_count(), [thread, n]));
                }
            });
        }
    });
    let acknowledged = acknowledged.into_inner().unwrap();
    let mut rng = fastrand::Rng::with_seed(1);
    for cut in 0..=disk.operation_count() {
        let odds = rng.u32(..4);
        let image = disk.crash(cut, |_| rng.u32(..3) < odds);
        let db = Options::new().open_store(&MemoryStore::with_image(&image)).unwrap();
        let txn = db.begin_read().unwrap();
        let Some(bucket) = txn.bucket("a").unwrap() else {
            assert!(acknowledged.iter().all(|(at, _)| *at > cut));
            continue;
        };
        assert!(acknowledged.iter().filter(|(at, _)| *at <= cut).all(|(_, key)| bucket.contains(key).unwrap()));
        let count = u32::from_be_bytes(bucket.get("count").unwrap().unwrap().try_into().unwrap());
        assert_eq!(bucket.len(), u64::from(count) + 1, "cut {cut}");
        assert_sound(&db);
    }
}

/// Something that a transaction does, as often as one likes.
#[derive(Clone, Debug)]
enum Step {
    Names,
    Exists(&'static str),
    Get(&'static str, Vec<u8>),
    /// Some steps of a walk, from the front or from the back.
    Walk(&'static str, (Bound<Vec<u8>>, Bound<Vec<u8>>), Vec<bool>),
    Prefix(&'static str, Vec<u8>, Vec<bool>),
    Put(&'static str, Vec<u8>, Vec<u8>),
    Insert(&'static str, Vec<u8>, Vec<u8>),
    Delete(&'static str, Vec<u8>),
    DeleteRange(&'static str, Vec<u8>, Vec<u8>),
}

/// Short keys at the edges of what keys can be, so that bounds and keys meet.
fn edge_key(rng: &mut fastrand::Rng) -> Vec<u8> {
    (0..rng.usize(..4)).map(|_| *rng.choice(&[0, 1, 0x7f, 0xfe, 0xff, 0xff]).unwrap()).collect()
}

fn any_value(rng: &mut fastrand::Rng) -> Vec<u8> {
    vec![rng.u8(..3); *rng.choice(&[0, 1, 1, 90, 1500, 9000]).unwrap()]
}

fn any_step(rng: &mut fastrand::Rng) -> Step {
    let name = *rng.choice(&["a", "b", "c"]).unwrap();
    let bound = |rng: &mut fastrand::Rng| match rng.u32(..4) {
        0 => Bound::Unbounded,
        1 => Bound::Excluded(edge_key(rng)),
        _ => Bound::Included(edge_key(rng)),
    };
    let steps =
        |rng: &mut fastrand::Rng| (0..*rng.choice(&[0, 1, 1, 2, 4, 300]).unwrap()).map(|_| rng.bool()).collect();
    match rng.u32(..20) {
        0 => Step::Names,
        1 => Step::Exists(name),
        2..6 => Step::Get(name, edge_key(rng)),
        6..11 => Step::Walk(name, (bound(rng), bound(rng)), steps(rng)),
        11..13 => Step::Prefix(name, edge_key(rng), steps(rng)),
        13..16 => Step::Put(name, edge_key(rng), any_value(rng)),
        16 => Step::Insert(name, edge_key(rng), any_value(rng)),
        17..19 => Step::Delete(name, edge_key(rng)),
        _ => Step::DeleteRange(name, edge_key(rng), edge_key(rng)),
    }
}

type Walked = Option<Vec<Option<(Vec<u8>, Vec<u8>)>>>;

fn walk_by(range: Option<folio::OptimisticRange<'_>>, steps: &[bool]) -> Walked {
    let mut range = range?;
    let take = |is_back: &bool| if *is_back { range.next_back() } else { range.next() };
    Some(
        steps
            .iter()
            .map(take)
            .map(|entry| entry.map(|entry| entry.unwrap()).map(|(k, v)| (k.to_vec(), v.to_vec())))
            .collect(),
    )
}

/// Runs a step. Answers what it tells of the database, and the entries that it writes.
fn run_step(txn: &mut OptimisticTxn, step: &Step) -> (String, Vec<(&'static str, Vec<u8>)>) {
    let mut written = Vec::new();
    let told = match step {
        Step::Names => format!("{:?}", txn.buckets().unwrap()),
        Step::Exists(name) => format!("{:?}", txn.bucket(name).unwrap().is_some()),
        Step::Get(name, key) => {
            format!("{:?}", txn.bucket(name).unwrap().map(|bucket| bucket.get(key).unwrap().map(<[u8]>::to_vec)))
        }
        Step::Walk(name, bounds, steps) => {
            format!("{:?}", walk_by(txn.bucket(name).unwrap().map(|bucket| bucket.range(bounds.clone())), steps))
        }
        Step::Prefix(name, prefix, steps) => {
            format!("{:?}", walk_by(txn.bucket(name).unwrap().map(|bucket| bucket.prefix(prefix)), steps))
        }
        Step::Put(name, key, value) => {
            txn.bucket_mut(name).unwrap().put(key, value).unwrap();
            written.push((*name, key.clone()));
            String::new()
        }
        Step::Insert(name, key, value) => {
            let mut bucket = txn.bucket_mut(name).unwrap();
            // What is there counts as read.
            let there = bucket.get(key).unwrap().map(<[u8]>::to_vec);
            assert_eq!(bucket.insert(key, value).unwrap(), there.is_none());
            written.extend(there.is_none().then(|| (*name, key.clone())));
            format!("{there:?}")
        }
        Step::Delete(name, key) => {
            let was_there = txn.bucket_mut(name).unwrap().delete(key).unwrap();
            written.extend(was_there.then(|| (*name, key.clone())));
            format!("{was_there}")
        }
        Step::DeleteRange(name, from, to) => {
            let mut bucket = txn.bucket_mut(name).unwrap();
            let range = from.as_slice()..to.as_slice();
            let keys = bucket.as_bucket().unwrap().range(range.clone()).map(|entry| entry.unwrap().0.to_vec());
            written.extend(keys.map(|key| (*name, key)));
            // Their values count as read, too.
            let values: Vec<_> =
                bucket.as_bucket().unwrap().range(range.clone()).map(|entry| entry.unwrap().1.to_vec()).collect();
            bucket.delete_range(range).unwrap();
            format!("{values:?}")
        }
    };
    (told, written)
}

/// What others do meanwhile.
fn meddle(rng: &mut fastrand::Rng, txn: &mut folio::WriteTxn) -> folio::Result<()> {
    for _ in 0..rng.u32(..4) {
        let name = *rng.choice(&["a", "b", "c"]).unwrap();
        match rng.u32(..20) {
            0 => drop(txn.drop_bucket(name)?),
            1 => {
                // Made anew, with the same entries.
                let entries: Vec<_> = match txn.bucket(name)? {
                    Some(bucket) => bucket
                        .iter()
                        .map(|entry| entry.map(|(k, v)| (k.to_vec(), v.to_vec())))
                        .collect::<Result<_, _>>()?,
                    None => continue,
                };
                txn.drop_bucket(name)?;
                let mut bucket = txn.bucket_mut(name)?;
                entries.iter().try_for_each(|(key, value)| bucket.put(key, value))?;
            }
            2 => {
                // More than the budget, and away again.
                let mut bucket = txn.bucket_mut(name)?;
                let key = |n: u32| [&[0xff; 3][..], &n.to_be_bytes()].concat();
                (0..400).try_for_each(|n| bucket.put(key(n), [1; 1500]))?;
                bucket.delete_range(key(0)..)?;
            }
            3 => drop(txn.bucket_mut(name)?.delete_range(edge_key(rng)..edge_key(rng))?),
            4..8 => drop(txn.bucket_mut(name)?.delete(edge_key(rng))?),
            _ => txn.bucket_mut(name)?.put(edge_key(rng), any_value(rng))?,
        }
    }
    Ok(())
}

/// A commit succeeds exactly if every step, run again on the state that the others have left, tells the same, and no entry is another
/// that was written. The others commit before, or in the same batch. A second database is where all run one after the other.
#[test]
fn a_conflict_is_what_running_again_would_tell() {
    let (mut committed, mut lost) = (0, 0);
    for seed in seeds(25) {
        println!("replay with FOLIO_SEED={seed}");
        let mut rng = fastrand::Rng::with_seed(seed);
        let open = || Options::new().dirty_limit(64 * 4096).open_in_memory().unwrap();
        let (db, serial) = (open(), open());
        for _ in 0..20 {
            // Both databases see the same others.
            let (mut others, mut same) = (rng.clone(), rng.clone());
            rng = rng.fork();
            db.exec(|txn| (0..4).try_for_each(|_| meddle(&mut others, txn))).unwrap();
            serial.exec(|txn| (0..4).try_for_each(|_| meddle(&mut same, txn))).unwrap();
            let snapshot = db.begin_read().unwrap();
            let mut txn = db.begin_optimistic().unwrap();
            let mut steps: Vec<Step> = (0..rng.usize(1..9)).map(|_| any_step(&mut rng)).collect();
            steps.push(Step::Put("out", vec![], vec![rng.u8(..)]));
            // Later it would see what it makes itself, and still count as a look at all names.
            steps.sort_by_key(|step| !matches!(step, Step::Names));
            let told: Vec<_> = steps.iter().map(|step| run_step(&mut txn, step)).collect();
            let outcome = beside(&db, txn, rng.u32(..8) == 0, others);

            serial.exec(|txn| meddle(&mut same, txn)).unwrap();
            let now = serial.begin_read().unwrap();
            let mut again = serial.begin_optimistic().unwrap();
            let value = |txn: &folio::ReadTxn, (name, key): &(&str, Vec<u8>)| {
                txn.bucket(name).unwrap().and_then(|bucket| bucket.get(key).unwrap().map(<[u8]>::to_vec))
            };
            let is_same =
                told.iter().flat_map(|(_, written)| written).all(|at| value(&snapshot, at) == value(&now, at))
                    && steps.iter().zip(&told).all(|(step, (told, _))| run_step(&mut again, step).0 == *told);
            match outcome {
                Ok(_) => again.commit().map(|_| committed += 1).unwrap(),
                Err(Error::Conflict { .. }) => lost += 1,
                Err(error) => panic!("{error}"),
            }
            assert_eq!(outcome.is_ok(), is_same, "{steps:?}: {told:?}: {outcome:?}");
            assert_same(&db, &serial);
            assert_sound(&db);
        }
    }
    println!("{committed} committed, {lost} lost");
}

/// Commits beside a transaction that meddles: behind it, or in the same batch.
fn beside(db: &Database, txn: OptimisticTxn, is_together: bool, mut rng: fastrand::Rng) -> folio::Result<folio::TxnId> {
    if !is_together {
        db.exec(|txn| meddle(&mut rng, txn)).unwrap();
        return txn.commit();
    }
    thread::scope(|scope| {
        let (begun, has_begun) = std::sync::mpsc::channel();
        let other = scope.spawn(move || {
            db.batch(move |txn| {
                begun.send(()).unwrap();
                thread::sleep(std::time::Duration::from_millis(3));
                meddle(&mut rng, txn)
            })
        });
        has_begun.recv().unwrap();
        let outcome = txn.commit();
        other.join().unwrap().unwrap();
        outcome
    })
}

fn assert_same(db: &Database, other: &Database) {
    let (one, two) = (db.begin_read().unwrap(), other.begin_read().unwrap());
    assert_eq!(one.buckets().unwrap(), two.buckets().unwrap());
    for name in one.buckets().unwrap() {
        let (one, two) = (one.bucket(&name).unwrap().unwrap(), two.bucket(&name).unwrap().unwrap());
        assert!(one.iter().map(|entry| entry.unwrap()).eq(two.iter().map(|entry| entry.unwrap())), "{name}");
    }
}
