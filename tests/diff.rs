//! `ReadTxn::diff` against `BTreeMap`: random histories at every page size, with several buckets, large values, buckets that are dropped
//! and renamed, and snapshots that lie many commits apart, in both directions; and its promises one by one.
//!
//! `FOLIO_SEEDS=100 cargo test --release --test diff` runs longer; `FOLIO_SEED=n` replays one.

use std::collections::{BTreeMap, BTreeSet};

use folio::disk::MemoryStore;
use folio::{BucketChange, Change, Database, Durability, Error, Options, ReadTxn};

type Bucketful = BTreeMap<Vec<u8>, Vec<u8>>;
type Model = BTreeMap<String, Bucketful>;

/// A change of an entry: its key, and the values before and after.
type Entry = (Vec<u8>, Option<Vec<u8>>, Option<Vec<u8>>);
type Bucket = (String, BucketChange, Vec<Entry>);

fn own(change: Change<'_>) -> Entry {
    let (key, old, new) = match change {
        Change::Added { key, value } => (key, None, Some(value)),
        Change::Removed { key, value } => (key, Some(value), None),
        Change::Changed { key, old, new } => (key, Some(old), Some(new)),
    };
    assert_eq!(key, change.key());
    (key.to_vec(), old.map(<[u8]>::to_vec), new.map(<[u8]>::to_vec))
}

fn found(old: &ReadTxn, new: &ReadTxn) -> Vec<Bucket> {
    let buckets = old.diff(new).unwrap().map(|bucket| {
        let bucket = bucket.unwrap();
        let (name, kind) = (bucket.name().to_string(), bucket.kind());
        (name, kind, bucket.map(|change| own(change.unwrap())).collect())
    });
    buckets.collect()
}

fn expected(old: &Model, new: &Model) -> Vec<Bucket> {
    let names: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    let none = Bucketful::new();
    let mut buckets = Vec::new();
    for name in names {
        let kind = match (old.contains_key(name), new.contains_key(name)) {
            (true, true) => BucketChange::Kept,
            (true, false) => BucketChange::Dropped,
            _ => BucketChange::Created,
        };
        let (old, new) = (old.get(name).unwrap_or(&none), new.get(name).unwrap_or(&none));
        let keys: BTreeSet<&Vec<u8>> = old.keys().chain(new.keys()).collect();
        let entries = keys.into_iter().map(|key| (key.clone(), old.get(key).cloned(), new.get(key).cloned()));
        let entries: Vec<Entry> = entries.filter(|(_, old, new)| old != new).collect();
        if kind != BucketChange::Kept || !entries.is_empty() {
            buckets.push((name.clone(), kind, entries));
        }
    }
    buckets
}

const NAMES: [&str; 5] = ["alpha", "beta", "beta 2", "gamma", "delta"];

fn random_key(rng: &mut fastrand::Rng) -> Vec<u8> {
    match rng.u32(..20) {
        0 => vec![rng.u8(..3); rng.usize(..1985)],
        1..10 => format!("common/prefix/{:04}", rng.u32(..2000)).into_bytes(),
        _ => rng.u32(..2000).to_be_bytes().to_vec(),
    }
}

fn random_value(rng: &mut fastrand::Rng, page_size: u32) -> Vec<u8> {
    let len = match rng.u32(..40) {
        0 => page_size as usize * rng.usize(1..4),
        1 => rng.usize(..page_size as usize * 3),
        _ => rng.usize(..150),
    };
    // Of few kinds, so that a value often comes back.
    vec![rng.u8(..2); len]
}

/// One commit: changes of one bucket or several, sometimes of a whole bucket.
fn commit(db: &Database, model: &mut Model, rng: &mut fastrand::Rng, page_size: u32) {
    let mut txn = db.begin_write().unwrap();
    for _ in 0..rng.u32(1..4) {
        let name = NAMES[rng.usize(..NAMES.len())];
        match rng.u32(..40) {
            0 => {
                assert_eq!(txn.drop_bucket(name).unwrap(), model.remove(name).is_some());
                continue;
            }
            1 | 2 => {
                let to = NAMES[rng.usize(..NAMES.len())];
                if !model.contains_key(to) && txn.rename_bucket(name, to).unwrap() {
                    let bucketful = model.remove(name).unwrap();
                    model.insert(to.to_string(), bucketful);
                }
                continue;
            }
            _ => {}
        }
        let mut bucket = txn.bucket_mut(name).unwrap();
        let bucketful = model.entry(name.to_string()).or_default();
        match rng.u32(..60) {
            0 => {
                bucket.clear().unwrap();
                bucketful.clear();
            }
            1..4 => {
                let (from, to) = (random_key(rng), random_key(rng));
                bucket.delete_range(from.clone()..to.clone()).unwrap();
                bucketful.retain(|key, _| *key < from || *key >= to);
            }
            _ => {}
        }
        for _ in 0..[0, 1, 5, 50, 400][rng.usize(..5)] {
            let key = random_key(rng);
            match rng.u32(..10) {
                0..3 => {
                    assert_eq!(bucket.delete(&key).unwrap(), bucketful.remove(&key).is_some());
                }
                3 => {
                    // The same again.
                    if let Some((key, value)) = bucketful.range(key..).next() {
                        bucket.put(key, value).unwrap();
                    }
                }
                _ => {
                    let value = random_value(rng, page_size);
                    bucket.put(&key, &value).unwrap();
                    bucketful.insert(key, value);
                }
            }
        }
    }
    txn.commit_with(if rng.bool() { Durability::Relaxed } else { Durability::Durable }).unwrap();
}

fn history(seed: u64, page_size: u32) {
    println!("page size {page_size}, seed {seed}");
    let mut rng = fastrand::Rng::with_seed(seed);
    let mut options = Options::new();
    options = options.page_size(page_size);
    if rng.bool() {
        // Transactions that spill.
        options = options.dirty_limit(64 * page_size as usize);
    }
    let db = options.open_in_memory().unwrap();
    let mut model = Model::new();
    let mut snapshots = vec![(db.begin_read().unwrap(), model.clone())];
    for _ in 0..60 {
        commit(&db, &mut model, &mut rng, page_size);
        if rng.u32(..4) == 0 {
            // The first one stays: it lies ever more commits behind.
            if snapshots.len() > 6 {
                snapshots.remove(rng.usize(1..snapshots.len()));
            }
            snapshots.push((db.begin_read().unwrap(), model.clone()));
            let (newest, newest_model) = snapshots.last().unwrap();
            for (txn, model) in &snapshots {
                assert_eq!(found(txn, newest), expected(model, newest_model));
                assert_eq!(found(newest, txn), expected(newest_model, model));
            }
        }
    }
}

#[test]
fn random_histories_agree_with_a_model_at_every_page_size() {
    let number = |name| std::env::var(name).ok().map(|value: String| value.parse::<u64>().expect("a number"));
    for page_size in [4096, 8192, 16384, 32768, 65536] {
        match number("FOLIO_SEED") {
            Some(seed) => history(seed, page_size),
            None => {
                let quick = if page_size == 4096 { 3 } else { 1 };
                (0..number("FOLIO_SEEDS").unwrap_or(quick)).for_each(|seed| history(seed, page_size));
            }
        }
    }
}

fn put(db: &Database, bucket: &str, key: &str, value: impl AsRef<[u8]>) {
    db.exec(|txn| txn.bucket_mut(bucket)?.put(key, value)).unwrap();
}

#[test]
fn two_snapshots_of_one_commit_do_not_differ() {
    let db = Database::in_memory().unwrap();
    let empty = db.begin_read().unwrap();
    assert!(empty.diff(&empty).unwrap().next().is_none());
    put(&db, "a", "k", "v");
    let (one, two) = (db.begin_read().unwrap(), db.begin_read().unwrap());
    assert!(one.diff(&two).unwrap().next().is_none());
    assert!(one.diff(&one.clone()).unwrap().next().is_none());
    assert_eq!(
        found(&empty, &one),
        [("a".into(), BucketChange::Created, vec![(b"k".into(), None, Some(b"v".into()))])]
    );
}

#[test]
fn empty_buckets_that_come_and_go_are_told() {
    let db = Database::in_memory().unwrap();
    let none = db.begin_read().unwrap();
    db.exec(|txn| txn.bucket_mut("empty").map(drop)).unwrap();
    let one = db.begin_read().unwrap();
    db.exec(|txn| txn.rename_bucket("empty", "still empty")).unwrap();
    let renamed = db.begin_read().unwrap();
    let (created, dropped) = (BucketChange::Created, BucketChange::Dropped);
    assert_eq!(found(&none, &one), [("empty".into(), created, vec![])]);
    assert_eq!(found(&one, &none), [("empty".into(), dropped, vec![])]);
    assert_eq!(found(&one, &renamed), [("empty".into(), dropped, vec![]), ("still empty".into(), created, vec![])]);
}

#[test]
fn what_was_written_again_as_it_was_is_no_change() {
    let db = Database::in_memory().unwrap();
    let entries = [("small", vec![1; 10]), ("large", vec![2; 5000]), ("huge", vec![3; 1 << 20])];
    let write = || entries.iter().for_each(|(key, value)| put(&db, "a", key, value));
    write();
    let old = db.begin_read().unwrap();
    write();
    db.exec(|txn| {
        txn.bucket_mut("a")?.put("passing", "by")?;
        txn.drop_bucket("a").map(drop)
    })
    .unwrap();
    write();
    let new = db.begin_read().unwrap();
    assert!(old.diff(&new).unwrap().next().is_none());
    // Of the same length, and large: the bytes tell.
    put(&db, "a", "large", vec![4; 5000]);
    let changed = db.begin_read().unwrap();
    let change = (b"large".to_vec(), Some(vec![2; 5000]), Some(vec![4; 5000]));
    assert_eq!(found(&new, &changed), [("a".into(), BucketChange::Kept, vec![change])]);
}

#[test]
fn keys_and_values_are_lent_out_of_the_map() {
    let db = Database::in_memory().unwrap();
    for value in [[1; 9000], [2; 9000]] {
        put(&db, "a", "inline", &value[..100]);
        put(&db, "a", "large", value);
    }
    let old = db.begin_read().unwrap();
    put(&db, "a", "inline", "other");
    put(&db, "a", "large", [3; 9000]);
    let new = db.begin_read().unwrap();
    let get = |txn: &ReadTxn, key: &[u8]| txn.bucket("a").unwrap().unwrap().get(key).unwrap().unwrap().as_ptr();
    // Changes outlive the iterators that they come from.
    let changes: Vec<Change<'_>> = old.diff(&new).unwrap().flat_map(Result::unwrap).map(Result::unwrap).collect();
    assert_eq!(changes.len(), 2);
    for change in changes {
        let Change::Changed { key, old: before, new: after } = change else { panic!("{change:?}") };
        assert_eq!((before.as_ptr(), after.as_ptr()), (get(&old, key), get(&new, key)));
    }
}

#[test]
fn snapshots_of_different_databases_are_refused() {
    let (one, two) = (Database::in_memory().unwrap(), Database::in_memory().unwrap());
    let (one, two) = (one.begin_read().unwrap(), two.begin_read().unwrap());
    assert!(matches!(one.diff(&two), Err(Error::OtherDatabase)));
    // Two handles of one file are one database.
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.folio");
    let (one, two) = (Database::open(&path).unwrap(), Database::open(&path).unwrap());
    let old = one.begin_read().unwrap();
    put(&two, "a", "k", "v");
    assert_eq!(found(&old, &two.begin_read().unwrap()).len(), 1);
}

/// The two snapshots are held; what they share stays as it is while the writer goes on, and the file outgrows its map.
#[test]
fn a_diff_stays_as_it_is_while_the_writer_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let db = Database::open(dir.path().join("a.folio")).unwrap();
    let row = |from: u32, value: u8| {
        db.exec(|txn| {
            let mut a = txn.bucket_mut("a")?;
            (from..from + 3000).try_for_each(|n| a.put(n.to_be_bytes(), [value; 100]))
        })
        .unwrap();
    };
    row(0, 1);
    let old = db.begin_read().unwrap();
    row(2990, 2);
    let new = db.begin_read().unwrap();
    let before = found(&old, &new);
    assert_eq!(before[0].2.len(), 3000);
    let mut diff = old.diff(&new).unwrap();
    let bucket = diff.next().unwrap().unwrap();
    for n in 0..20 {
        row(n * 300, 3 + n as u8);
    }
    assert_eq!(bucket.map(|change| own(change.unwrap())).collect::<Vec<_>>(), before[0].2);
    assert_eq!(found(&old, &new), before);
}

/// Bucket "a" becomes "c", and "b" becomes "a": the trees under "a" then have no page in common.
fn swap(db: &Database) -> folio::Result<()> {
    db.exec(|txn| {
        txn.rename_bucket("a", "c")?;
        txn.rename_bucket("b", "a").map(drop)
    })
}

/// What a diff tells before it ends, and whether it ends with an error.
fn told(old: &ReadTxn, new: &ReadTxn) -> (Vec<Bucket>, bool) {
    let mut buckets = Vec::new();
    let mut diff = old.diff(new).unwrap();
    while let Some(bucket) = diff.next() {
        let Ok(mut bucket) = bucket else {
            assert!(diff.next().is_none() && diff.next().is_none());
            return (buckets, true);
        };
        let mut entries = Vec::new();
        let (name, kind) = (bucket.name().to_string(), bucket.kind());
        while let Some(change) = bucket.next() {
            let Ok(change) = change else {
                assert!(bucket.next().is_none() && bucket.next().is_none());
                buckets.push((name, kind, entries));
                return (buckets, true);
            };
            entries.push(own(change));
        }
        buckets.push((name, kind, entries));
    }
    (buckets, false)
}

/// Every page in turn is damaged: the changes that are told are true, and an error ends them.
#[test]
fn a_damaged_page_is_an_error_and_ends_the_diff() {
    let disk = MemoryStore::new();
    let db = Options::new().open_store(&disk).unwrap();
    for (bucket, byte) in [("a", 1), ("b", 2)] {
        db.exec(|txn| {
            let mut bucket = txn.bucket_mut(bucket)?;
            bucket.put("large", [byte; 6000])?;
            (0..600u32).try_for_each(|n| bucket.put(n.to_be_bytes(), [byte; 60]))
        })
        .unwrap();
    }
    let used = db.stats().unwrap().used_pages;
    drop(db);
    let image = disk.image();
    let mut truth = None;
    let mut errors = 0;
    for no in [0].into_iter().chain(1..image.len() / 4096) {
        let mut image = image.clone();
        // The first time nothing is damaged.
        if no > 0 {
            image[no * 4096 + 1000] ^= 0x10;
        }
        let swapped = Options::new().open_store(&MemoryStore::with_image(&image)).and_then(|db| {
            let old = db.begin_read()?;
            swap(&db).map(|()| (db, old))
        });
        let (db, old) = match swapped {
            Ok(swapped) => swapped,
            Err(error) => {
                assert!(matches!(error, Error::Corrupt { .. }), "page {no}: {error}");
                errors += 1;
                continue;
            }
        };
        let new = db.begin_read().unwrap();
        let (found, is_error) = told(&old, &new);
        let truth = truth.get_or_insert_with(|| found.clone());
        errors += u64::from(is_error);
        for (n, (found, truth)) in found.iter().zip(&*truth).enumerate() {
            assert_eq!((&found.0, found.1), (&truth.0, truth.1), "page {no}, bucket {n}");
            assert!(truth.2.starts_with(&found.2), "page {no}, bucket {n}");
        }
        assert!(is_error || found == *truth, "page {no}");
    }
    let truth = truth.unwrap();
    assert_eq!(truth.iter().map(|bucket| bucket.2.len()).collect::<Vec<_>>(), [601, 601, 601]);
    assert_eq!(errors, used, "pages that matter");
}
