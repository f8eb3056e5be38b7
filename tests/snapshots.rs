//! Who holds which snapshot, under which label, and what would become free if it went.

use std::thread;
use std::time::Duration;

use folio::{Database, Durability, Options, PinnedSnapshot, ReadTxn, Result};

fn labels(snapshot: &PinnedSnapshot) -> Vec<&str> {
    snapshot.labels.iter().map(|label| &label.label[..]).collect()
}

/// The snapshots that are held, with the number of readers of each.
fn readers(db: &Database) -> Vec<(u64, u64)> {
    db.snapshots().unwrap().iter().map(|snapshot| (snapshot.id.get(), snapshot.readers)).collect()
}

/// The snapshots that are held, with what each holds back alone, in pages.
fn held(db: &Database) -> Vec<(u64, u64)> {
    let pages = |snapshot: &PinnedSnapshot| {
        assert_eq!(snapshot.held_bytes % 4096, 0);
        (snapshot.id.get(), snapshot.held_bytes / 4096)
    };
    db.snapshots().unwrap().iter().map(pages).collect()
}

/// Commits a value of so many pages under each key.
fn put(db: &Database, values: &[(&str, usize)]) {
    let put = |txn: &mut folio::WriteTxn| {
        let mut a = txn.bucket_mut("a")?;
        values.iter().try_for_each(|(key, pages)| a.put(key, vec![1; pages * 4096]))
    };
    db.exec(put).unwrap();
}

#[test]
fn labels_come_and_go_with_their_transactions() -> Result<()> {
    let db = Database::in_memory()?;
    assert!(db.snapshots()?.is_empty());
    let plain = db.begin_read()?;
    let export = db.begin_read_labelled("nightly export")?;
    let second = db.begin_read_labelled("nightly export")?;
    put(&db, &[("k", 1)]);
    thread::sleep(Duration::from_millis(20));
    let backup = db.begin_read_labelled("backup")?;

    let snapshots = db.snapshots()?;
    assert_eq!(readers(&db), [(1, 3), (2, 1)]);
    assert_eq!(snapshots.iter().map(labels).collect::<Vec<_>>(), [vec!["nightly export"; 2], vec!["backup"]]);
    assert_eq!(snapshots.iter().map(|snapshot| snapshot.id).collect::<Vec<_>>(), [plain.id(), backup.id()]);
    // The export is as old as its snapshot, or nearly; the backup has just begun on one that is not new.
    let [old, new] = &snapshots[..] else { unreachable!() };
    assert!(old.labels[0].age >= Duration::from_millis(20) && old.age >= old.labels[0].age);
    assert!(new.age >= Duration::from_millis(20) && new.labels[0].age < new.age);

    // Clones share the label: it stays until the last of them goes, in whatever thread that is.
    let clone = export.clone();
    assert_eq!(readers(&db), [(1, 4), (2, 1)]);
    assert_eq!(labels(&db.snapshots()?[0]), ["nightly export"; 2]);
    drop(export);
    assert_eq!(labels(&db.snapshots()?[0]), ["nightly export"; 2]);
    thread::spawn(move || drop(clone)).join().unwrap();
    assert_eq!((readers(&db), labels(&db.snapshots()?[0])), (vec![(1, 2), (2, 1)], vec!["nightly export"]));
    drop(second);
    assert_eq!((readers(&db), labels(&db.snapshots()?[0])), (vec![(1, 1), (2, 1)], vec![]));
    drop(plain);
    assert_eq!(readers(&db), [(2, 1)]);
    drop(backup);
    assert!(db.snapshots()?.is_empty());

    // A label may be empty, and outlive every handle.
    let last = db.begin_read_labelled("")?;
    assert_eq!(labels(&db.snapshots()?[0]), [""]);
    drop(db);
    assert_eq!(last.bucket("a")?.unwrap().len(), 1);
    Ok(())
}

#[test]
fn what_a_snapshot_holds_alone_moves_when_another_goes() -> Result<()> {
    let run = |oldest_first: bool| -> Result<()> {
        let db = Database::in_memory()?;
        put(&db, &[("a", 20), ("b", 300), ("c", 4000)]);
        let first = db.begin_read()?;
        put(&db, &[("a", 20)]);
        let second = db.begin_read_labelled("the second")?;
        // Each commit also writes a leaf, and the leaf of the catalog.
        assert_eq!(held(&db), [(first.id().get(), 22), (second.id().get(), 0)]);
        put(&db, &[("a", 20), ("b", 300)]);
        put(&db, &[("a", 20)]);
        // The first two values "a" are seen by one each, the first "b" by both.
        assert_eq!(held(&db), [(first.id().get(), 22), (second.id().get(), 22)]);
        let all = db.stats()?.held_bytes / 4096;
        assert_eq!(all, 344);
        let (gone, stays) = if oldest_first { (first, second) } else { (second, first) };
        let id = stays.id().get();
        drop(gone);
        assert_eq!(held(&db), [(id, 22)], "as of the last commit");
        put(&db, &[("d", 1)]);
        assert_eq!((held(&db), db.stats()?.held_bytes), (vec![(id, 322)], 322 * 4096));
        drop(stays);
        put(&db, &[("d", 1)]);
        assert_eq!((held(&db), db.stats()?.held_bytes), (vec![], 0));
        assert!(db.check()?.is_ok());
        Ok(())
    };
    run(true)?;
    run(false)
}

/// The last durable commit keeps its pages, whoever reads them; so does the newest snapshot.
#[test]
fn nothing_counts_for_a_snapshot_that_is_held_anyway() -> Result<()> {
    let db = Options::new().durability(Durability::Relaxed).open_in_memory()?;
    put(&db, &[("a", 50)]);
    db.sync()?;
    let durable = db.begin_read()?;
    put(&db, &[("a", 50)]);
    let relaxed = db.begin_read()?;
    put(&db, &[("a", 50)]);
    let newest = db.begin_read()?;
    assert_eq!(held(&db), [(2, 0), (3, 52), (4, 0)]);
    db.sync()?;
    assert_eq!(held(&db), [(2, 52), (3, 52), (4, 0)]);
    drop((durable, relaxed, newest));
    Ok(())
}

/// Random snapshots come and go in random order; whoever goes frees what it said that it would.
#[test]
fn what_goes_frees_what_it_said() -> Result<()> {
    let seed = std::env::var("FOLIO_SEED").map_or_else(|_| fastrand::u64(..), |text| text.parse().expect("a number"));
    println!("replay with FOLIO_SEED={seed}");
    let mut rng = fastrand::Rng::with_seed(seed);
    let db = Database::in_memory()?;
    let mut readers: Vec<ReadTxn> = Vec::new();
    let mut freed = 0;
    for _ in 0..400 {
        let key = rng.u8(..20).to_string();
        put(&db, &[(&key, rng.usize(1..20))]);
        if rng.bool() {
            readers.push(db.begin_read()?);
        }
        if readers.len() > 6 {
            // What the commit after this one lets go of, no reader sees.
            put(&db, &[("last", 1)]);
            let gone = readers.swap_remove(rng.usize(..readers.len()));
            let expected = db.snapshots()?.iter().find(|snapshot| snapshot.id == gone.id()).unwrap().held_bytes;
            let (held_before, before) = (db.stats()?.held_bytes, held(&db));
            let id = gone.id();
            drop(gone);
            put(&db, &[("last", 1)]);
            // The commit may let go of a page or two of the space log, which count as seen.
            let less = held_before - db.stats()?.held_bytes;
            assert!(less <= expected && expected <= less + 2 * 4096, "{less} of snapshot {id} of {before:?}");
            freed += expected;
        }
    }
    assert!(freed > 0);
    assert!(db.check()?.is_ok());
    Ok(())
}
