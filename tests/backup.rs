//! Backups: what comes out is the snapshot, entry by entry, in a sound database that goes on; what goes wrong on the way leaves
//! nothing behind and is said.
//!
//! `FOLIO_SEED=n` repeats the random test.

#[path = "common/mod.rs"]
mod common;
#[path = "common/steps.rs"]
mod steps;

use std::cell::Cell;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Write};
use std::ops::ControlFlow;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};

use folio::disk::MemoryStore;
use folio::{Database, Durability, Error, Options, ReadTxn, Result, Verify};
use steps::{Model, Step, assert_sound, compare};

const PAGE_SIZES: [u32; 5] = [4096, 8192, 16384, 32768, 65536];

fn seed() -> u64 {
    let seed = std::env::var("FOLIO_SEED").map_or_else(|_| fastrand::u64(..), |text| text.parse().expect("a number"));
    println!("replay with FOLIO_SEED={seed}");
    seed
}

/// Runs a step in a transaction of its own, unless it is aborted.
fn run(db: &Database, step: &Step, model: &mut Model) {
    let mut txn = db.begin_write().unwrap();
    step.write(&mut txn).unwrap();
    if !step.is_aborted {
        txn.commit_with(step.durability).unwrap();
        step.follow(model);
    }
}

fn key(n: u32) -> [u8; 8] {
    u64::from(n).to_be_bytes()
}

/// A database with `count` entries in one bucket and some large values in another.
fn fill(db: &Database, count: u32) {
    db.exec(|txn| {
        let mut small = txn.bucket_mut("small")?;
        (0..count).try_for_each(|n| small.append(key(n), [n as u8; 100]))?;
        let mut large = txn.bucket_mut("large")?;
        (0..count / 1000).try_for_each(|n| large.append(key(n), vec![n as u8; 30_000]))
    })
    .unwrap();
}

/// Demands that two snapshots hold the same.
fn assert_same(one: &ReadTxn, other: &ReadTxn) {
    assert_eq!(one.id(), other.id());
    let names = one.buckets().unwrap();
    assert_eq!(names, other.buckets().unwrap());
    for name in names {
        let (one, other) = (one.bucket(&name).unwrap().unwrap(), other.bucket(&name).unwrap().unwrap());
        assert_eq!(one.len(), other.len());
        assert!(one.iter().zip(other.iter()).all(|(one, other)| one.unwrap() == other.unwrap()), "{name}");
    }
}

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn database_id(path: &Path) -> Vec<u8> {
    fs::read(path).unwrap()[24..40].to_vec()
}

#[track_caller]
fn assert_io(result: Result<u64>, kind: io::ErrorKind, part: &str) {
    match result {
        Err(Error::Io { source, .. }) if source.kind() == kind && source.to_string().contains(part) => {}
        other => panic!("{other:?}"),
    }
}

/// The copy is opened, compared, written to, closed, and opened again.
fn assert_lives(path: &Path, original: &ReadTxn, model: &Model, rng: &mut fastrand::Rng) {
    let mut model = model.clone();
    let db = Options::new().create(false).dirty_limit(64 * 65536).open(path).unwrap();
    assert_eq!(db.begin_read().unwrap().id(), original.id());
    compare(&db.begin_read().unwrap(), &model);
    assert_sound(&db);
    for _ in 0..5 {
        run(&db, &Step::random(rng), &mut model);
        compare(&db.begin_read().unwrap(), &model);
    }
    assert_sound(&db);
    drop(db);
    let db = Options::new().create(false).open(path).unwrap();
    compare(&db.begin_read().unwrap(), &model);
    assert_sound(&db);
}

#[test]
fn random_databases_are_copied_at_every_page_size() {
    let mut rng = fastrand::Rng::with_seed(seed());
    let dir = tempfile::tempdir().unwrap();
    for (round, page_size) in PAGE_SIZES.into_iter().enumerate() {
        let path = dir.path().join(format!("{round}.folio"));
        let mut db = Options::new().page_size(page_size).open(&path).unwrap();
        let mut model = Model::new();
        // The last commits may be relaxed, so that they are nowhere but in the page cache.
        for n in 0..rng.u32(1..40) {
            run(&db, &Step::random(&mut rng), &mut model);
            if n % 15 == 14 {
                drop(db);
                db = Database::open(&path).unwrap();
            }
        }
        let (txn, then) = (db.begin_read().unwrap(), model.clone());
        // What comes after the snapshot is none of the copy's.
        for _ in 0..rng.u32(..10) {
            run(&db, &Step::random(&mut rng), &mut model);
        }
        for is_exact in [false, true] {
            let copy = dir.path().join(format!("{round} {is_exact}.folio"));
            let len = txn.backup().exact(is_exact).to_path(&copy).unwrap();
            assert_eq!(len, copy.metadata().unwrap().len());
            assert_eq!(database_id(&copy) == database_id(&path), is_exact);
            let mut streamed = Vec::new();
            assert_eq!(txn.backup().exact(is_exact).to_writer(&mut streamed).unwrap(), len);
            if is_exact {
                assert!(streamed == fs::read(&copy).unwrap());
            }
            let copy_of_stream = dir.path().join(format!("{round} {is_exact} streamed.folio"));
            fs::write(&copy_of_stream, streamed).unwrap();
            assert_lives(&copy, &txn, &then, &mut rng);
            assert_lives(&copy_of_stream, &txn, &then, &mut rng);
        }
        compare(&txn, &then);
        assert_sound(&db);
    }
}

#[test]
fn a_snapshot_is_copied_while_a_writer_goes_on() {
    let seed = seed();
    let dir = tempfile::tempdir().unwrap();
    let db = Options::new().open(dir.path().join("a.folio")).unwrap();
    let (done, mut rng) = (AtomicBool::new(false), fastrand::Rng::with_seed(seed));
    let mut model = Model::new();
    for _ in 0..30 {
        run(&db, &Step::random(&mut rng), &mut model);
    }
    std::thread::scope(|scope| {
        let (writers, done) = (db.clone(), &done);
        let mut theirs = model.clone();
        scope.spawn(move || {
            let mut rng = fastrand::Rng::with_seed(!seed);
            while !done.load(Ordering::Relaxed) {
                run(&writers, &Step::random(&mut rng), &mut theirs);
            }
        });
        for round in 0..12 {
            let txn = db.begin_read().unwrap();
            let copy = dir.path().join(format!("{round}.folio"));
            // The writer gets ahead at every step.
            let backup = txn.backup().exact(round % 2 == 0).progress(|_, _| {
                let before = db.begin_read().unwrap().id();
                while db.begin_read().unwrap().id() == before {
                    std::thread::yield_now();
                }
                ControlFlow::Continue(())
            });
            backup.to_path(&copy).unwrap();
            assert!(db.begin_read().unwrap().id() > txn.id());
            let copy = Options::new().read_only(true).open(&copy).unwrap();
            assert_same(&txn, &copy.begin_read().unwrap());
            assert_sound(&copy);
        }
        done.store(true, Ordering::Relaxed);
    });
    assert_sound(&db);
}

/// Sorted puts are what packs a database best; a compact copy of whatever order is as small, and a scan of it goes forward.
#[test]
fn a_compact_copy_is_packed_and_in_file_order() {
    let dir = tempfile::tempdir().unwrap();
    let count = 60_000;
    let sorted = Options::new().open(dir.path().join("sorted.folio")).unwrap();
    fill(&sorted, count);
    let shuffled = Options::new().open(dir.path().join("shuffled.folio")).unwrap();
    let mut order: Vec<u32> = (0..count).collect();
    fastrand::Rng::with_seed(1).shuffle(&mut order);
    for some in order.chunks(5000) {
        shuffled
            .exec(|txn| {
                some.iter().try_for_each(|&n| txn.bucket_mut("small")?.put(key(n), [n as u8; 100]))?;
                some.iter().filter(|&&n| n < count / 1000).try_for_each(|&n| {
                    let value = vec![n as u8; 30_000];
                    txn.bucket_mut("large")?.put(key(n), value)
                })
            })
            .unwrap();
    }
    let copy = dir.path().join("copy.folio");
    let len = shuffled.begin_read().unwrap().backup().to_path(&copy).unwrap();
    let stats = sorted.stats().unwrap();
    // The pages beside the slots are free in the copy, and hold roots in the other.
    let sorted_len = (stats.page_count - stats.free_pages + 16) * u64::from(stats.page_size);
    assert!(len <= sorted_len, "{len} bytes, {sorted_len} by sorted puts");
    assert!(shuffled.stats().unwrap().page_count * 4096 > len * 5 / 4);

    let copy = Database::open(&copy).unwrap();
    let stats = copy.stats().unwrap();
    assert_eq!((stats.free_pages, stats.pending_pages, stats.file_len), (14, 0, len));
    let txn = copy.begin_read().unwrap();
    let small = txn.bucket("small").unwrap().unwrap();
    assert_eq!(small.len(), u64::from(count));
    assert!(small.stats().unwrap().fill > 0.97, "{:?}", small.stats());
    for (name, value_len) in [("small", 100), ("large", 30_000)] {
        let bucket = txn.bucket(name).unwrap().unwrap();
        let places = bucket.iter().map(|entry| entry.unwrap().1.as_ptr().addr() / 4096).collect::<Vec<_>>();
        assert!(places.is_sorted(), "{name}");
        assert!(bucket.iter().all(|entry| entry.unwrap().1.len() == value_len));
    }
}

/// More free extents than a meta has room for: the exact copy has a space log, which later commits go on with.
#[test]
fn an_exact_copy_has_its_free_space_in_shreds() {
    let dir = tempfile::tempdir().unwrap();
    let db = Options::new().open(dir.path().join("a.folio")).unwrap();
    let count = 6000;
    let value = vec![7; 4096];
    db.exec(|txn| (0..count).try_for_each(|n| txn.bucket_mut("a")?.append(key(n), &value))).unwrap();
    db.exec(|txn| (0..count).step_by(2).try_for_each(|n| txn.bucket_mut("a")?.delete(key(n)).map(drop))).unwrap();
    let txn = db.begin_read().unwrap();
    let path = dir.path().join("copy.folio");
    let len = txn.backup().exact(true).to_path(&path).unwrap();
    assert_eq!(len, db.stats().unwrap().page_count * 4096);

    let copy = Database::open(&path).unwrap();
    let (free, theirs) = (copy.stats().unwrap().free_pages, db.stats().unwrap());
    assert!(free.abs_diff(theirs.free_pages + theirs.pending_pages) < 40, "{free} pages are free, there {theirs:?}");
    assert_same(&txn, &copy.begin_read().unwrap());
    let mut rng = fastrand::Rng::with_seed(3);
    let mut expected = count / 2;
    for _ in 0..200 {
        let n = rng.u32(count..);
        expected += u32::from(copy.exec(|txn| txn.bucket_mut("a")?.insert(key(n), &value)).unwrap());
    }
    assert_sound(&copy);
    drop(copy);
    let copy = Database::open(&path).unwrap();
    assert_sound(&copy);
    assert_eq!(copy.begin_read().unwrap().bucket("a").unwrap().unwrap().len(), u64::from(expected));
    assert!(copy.stats().unwrap().page_count <= theirs.page_count, "the free pages are used");
}

#[test]
fn every_kind_of_source() {
    let dir = tempfile::tempdir().unwrap();
    let store = MemoryStore::new();
    let path = dir.path().join("a.folio");
    type Open = fn(&MemoryStore, &Path) -> Database;
    let sources: [(&str, Open); 5] = [
        ("in memory", |store, _| Options::new().open_store(store).unwrap()),
        ("file", |_, path| Database::open(path).unwrap()),
        ("read-only", |_, path| Options::new().read_only(true).open(path).unwrap()),
        ("never verified", |_, path| Options::new().verify(Verify::Never).open(path).unwrap()),
        ("always verified", |_, path| Options::new().verify(Verify::Always).open(path).unwrap()),
    ];
    for (n, (what, open)) in sources.into_iter().enumerate() {
        let db = open(&store, &path);
        if n < 2 {
            fill(&db, 3000);
        }
        let txn = db.begin_read().unwrap();
        for is_exact in [false, true] {
            let copy = dir.path().join(format!("{what} {is_exact}.folio"));
            txn.backup().exact(is_exact).to_path(&copy).unwrap();
            let copy = Database::open(&copy).unwrap();
            assert_same(&txn, &copy.begin_read().unwrap());
            assert_sound(&copy);
        }
    }
    // An empty one, too.
    for is_exact in [false, true] {
        let mut bytes = Vec::new();
        let db = Database::in_memory().unwrap();
        assert_eq!(db.begin_read().unwrap().backup().exact(is_exact).to_writer(&mut bytes).unwrap(), 16 * 4096);
        fs::write(&path, &bytes).unwrap();
        assert_sound(&Database::open(&path).unwrap());
    }
}

#[test]
fn a_relaxed_commit_is_durable_in_its_copy() {
    let store = MemoryStore::new();
    let db = Options::new().open_store(&store).unwrap();
    fill(&db, 1000);
    let mut txn = db.begin_write().unwrap();
    txn.bucket_mut("new").unwrap().put("k", "v").unwrap();
    txn.commit_with(Durability::Relaxed).unwrap();
    for is_exact in [false, true] {
        let mut bytes = Vec::new();
        db.begin_read().unwrap().backup().exact(is_exact).to_writer(&mut bytes).unwrap();
        // Both slots say synced.
        for slot in common::slots(4096) {
            assert_eq!((bytes[slot + 96], &bytes[slot..slot + 4096]), (1, &bytes[..4096]));
        }
    }
}

#[test]
fn cancelled_at_any_step_it_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let db = Database::in_memory().unwrap();
    fill(&db, 30_000);
    let txn = db.begin_read().unwrap();
    let path = dir.path().join("copy.folio");
    for is_exact in [false, true] {
        let mut steps = 0;
        loop {
            let (calls, last) = (Cell::new(0), Cell::new((0, 0)));
            let backup = txn.backup().exact(is_exact).progress(|done, total| {
                assert!(done <= total && (done >= last.get().0), "{done} of {total} after {last:?}");
                last.set((done, total));
                calls.set(calls.get() + 1);
                if calls.get() > steps { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            });
            match backup.to_path(&path) {
                Err(Error::Cancelled) => assert_eq!(names(dir.path()), [""; 0]),
                Err(error) => panic!("{error}"),
                Ok(len) => {
                    assert_eq!(last.get(), (len, len));
                    break;
                }
            }
            assert_eq!(calls.get(), steps + 1, "the first refusal is the end");
            steps += 1;
        }
        assert!(steps > 8, "{steps} steps");
        fs::remove_file(&path).unwrap();
    }
}

/// Takes a few bytes at a time, up to a limit.
struct Narrow {
    taken: Vec<u8>,
    limit: usize,
    rng: fastrand::Rng,
}

impl Write for Narrow {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.rng.u32(..10) == 0 {
            return Err(io::ErrorKind::Interrupted.into());
        }
        let len = bytes.len().min(self.rng.usize(1..100_000)).min(self.limit - self.taken.len());
        if len == 0 {
            return Err(io::Error::from_raw_os_error(28));
        }
        self.taken.extend_from_slice(&bytes[..len]);
        Ok(len)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn an_error_of_the_writer_is_reported() {
    let db = Database::in_memory().unwrap();
    fill(&db, 20_000);
    let txn = db.begin_read().unwrap();
    for is_exact in [false, true] {
        let backup = || txn.backup().exact(is_exact);
        let mut whole = Narrow { taken: Vec::new(), limit: usize::MAX, rng: fastrand::Rng::with_seed(1) };
        let len = backup().to_writer(&mut whole).unwrap();
        assert_eq!(len, whole.taken.len() as u64);
        for limit in [0, 1, 4096, 1 << 20, whole.taken.len() - 1] {
            let mut writer = Narrow { taken: Vec::new(), limit, rng: fastrand::Rng::with_seed(limit as u64) };
            assert_io(backup().to_writer(&mut writer), io::ErrorKind::StorageFull, "");
            assert_eq!(writer.taken.len(), limit);
            // But for the random database id of a compact copy, which lies in the slots.
            let behind = limit.min(16 * 4096);
            assert!(writer.taken[behind..] == whole.taken[behind..limit]);
        }
        if let Ok(full) = File::options().write(true).open("/dev/full") {
            assert_io(backup().to_writer(full), io::ErrorKind::StorageFull, "");
        }
        assert_io(backup().to_path("/dev/full"), io::ErrorKind::InvalidInput, "not a regular file");
    }
}

#[test]
fn a_file_that_is_there_is_replaced_when_that_is_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("copy.folio");
    let db = Database::in_memory().unwrap();
    fill(&db, 100);
    let txn = db.begin_read().unwrap();
    fs::write(&path, "something else").unwrap();
    assert_io(txn.backup().to_path(&path), io::ErrorKind::AlreadyExists, "another path");
    assert_eq!(fs::read(&path).unwrap(), b"something else");

    // With the permissions of the file that was there, through a link, which stays one.
    fs::set_permissions(&path, PermissionsExt::from_mode(0o640)).unwrap();
    let link = dir.path().join("link.folio");
    symlink("copy.folio", &link).unwrap();
    txn.backup().replace(true).to_path(&link).unwrap();
    assert!(link.symlink_metadata().unwrap().is_symlink());
    assert_eq!(path.metadata().unwrap().mode() & 0o777, 0o640);
    assert_same(&txn, &Database::open(&path).unwrap().begin_read().unwrap());

    // An empty file counts as nothing.
    let empty = tempfile::NamedTempFile::new_in(dir.path()).unwrap();
    txn.backup().to_path(empty.path()).unwrap();
    assert_eq!(empty.path().metadata().unwrap().mode() & 0o777, 0o600);
    assert_same(&txn, &Database::open(empty.path()).unwrap().begin_read().unwrap());

    // And a link that leads nowhere is followed to there.
    let dangling = dir.path().join("dangling.folio");
    symlink("new.folio", &dangling).unwrap();
    txn.backup().to_path(&dangling).unwrap();
    assert_same(&txn, &Database::open(dir.path().join("new.folio")).unwrap().begin_read().unwrap());

    assert_io(txn.backup().replace(true).to_path(dir.path()), io::ErrorKind::IsADirectory, "");
    assert_io(txn.backup().to_path(dir.path().join("none/copy.folio")), io::ErrorKind::NotFound, "");
}

#[test]
fn an_open_file_is_never_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let [path, hard, soft, other] = ["a", "hard", "soft", "other"].map(|name| dir.path().join(name));
    let db = Database::open(&path).unwrap();
    fill(&db, 100);
    fs::hard_link(&path, &hard).unwrap();
    symlink("a", &soft).unwrap();
    let open = Database::open(&other).unwrap();
    let txn = db.begin_read().unwrap();
    for taken in [&path, &hard, &soft, &other] {
        let inode = taken.metadata().unwrap().ino();
        for replace in [false, true] {
            assert_io(txn.backup().replace(replace).to_path(taken), io::ErrorKind::InvalidInput, "has the file open");
        }
        assert_eq!(taken.metadata().unwrap().ino(), inode);
    }
    drop(open);
    txn.backup().replace(true).to_path(&other).unwrap();
    // Open in another process, whose lock is on another descriptor.
    let held = File::open(&other).unwrap();
    held.lock_shared().unwrap();
    assert_io(txn.backup().replace(true).to_path(&other), io::ErrorKind::WouldBlock, "another process");
    assert_eq!(names(dir.path()), ["a", "hard", "other", "soft"]);
    assert_sound(&db);
}

/// Damage anywhere that the snapshot reaches is an error, whatever the options say of verifying; elsewhere it is none.
#[test]
fn damage_is_not_copied() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.folio");
    let db = Database::open(&path).unwrap();
    fill(&db, 3000);
    db.exec(|txn| txn.bucket_mut("small")?.delete_range(key(500)..key(800)).map(drop)).unwrap();
    let page_count = db.stats().unwrap().page_count;
    drop(db);
    let sound = fs::read(&path).unwrap();
    let copy = dir.path().join("copy.folio");
    let (mut refused, mut copied) = (0, 0);
    for page in (1..page_count as usize).filter(|&page| page != 8) {
        let mut bytes = sound.clone();
        bytes[page * 4096 + 1000] ^= 1;
        fs::write(&path, &bytes).unwrap();
        let verify = [Verify::Once, Verify::Always, Verify::Never][page % 3];
        let Ok(db) = Options::new().read_only(true).verify(verify).open(&path) else {
            refused += 1;
            continue;
        };
        let is_sound = db.check().unwrap().is_ok();
        for is_exact in [false, true] {
            let result = db.begin_read().unwrap().backup().exact(is_exact).replace(true).to_path(&copy);
            // The copy has a space log of its own.
            let is_log = !is_sound && sound[page * 4096 + 4] == 3;
            match result {
                Ok(_) => assert!(is_sound || is_log, "page {page}"),
                Err(Error::Corrupt { .. }) => assert!(!is_sound, "page {page}"),
                Err(error) => panic!("{error}"),
            }
            copied += u32::from(is_sound);
        }
        refused += u32::from(!is_sound);
    }
    assert!(copied > 10 && refused > 80, "{copied} copied, {refused} refused");
    assert_eq!(names(dir.path()), ["a.folio", "copy.folio"]);
}

const CHILD: &str = "FOLIO_BACKUP_DIR";

/// Not a test of its own: what the next test runs as another process, one backup after the other until it is killed.
#[test]
fn another_process() {
    let Some(dir) = std::env::var_os(CHILD).map(PathBuf::from) else { return };
    let db = Database::in_memory().unwrap();
    fill(&db, 20_000);
    for n in 0u32.. {
        println!("says: {n}");
        let copy = dir.join(format!("{n}.folio"));
        db.begin_read().unwrap().backup().exact(n % 2 == 0).to_path(copy).unwrap();
    }
}

#[test]
fn a_process_killed_half_way_leaves_nothing_under_the_name() {
    let mut rng = fastrand::Rng::with_seed(seed());
    let mut left = 0;
    for _ in 0..8 {
        let dir = tempfile::tempdir().unwrap();
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "another_process", "--nocapture"]).env(CHILD, dir.path());
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        // It says so before it begins.
        let mut begun = lines.filter(|line| line.contains("says: "));
        begun.nth(rng.usize(..3)).expect("it is alive");
        std::thread::sleep(std::time::Duration::from_micros(rng.u64(..30_000)));
        child.kill().unwrap();
        child.wait().unwrap();
        for name in names(dir.path()) {
            if name.ends_with(".folio") {
                let db = Options::new().read_only(true).open(dir.path().join(&name)).unwrap();
                assert_sound(&db);
                assert_eq!(db.begin_read().unwrap().bucket("small").unwrap().unwrap().len(), 20_000);
            } else {
                assert!(name.contains(".folio.new-"), "{name}");
                left += 1;
            }
        }
    }
    println!("{left} temporary files left");
}
