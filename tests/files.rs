//! Opening: files that are no database, files that belong to someone else, one file under several names, read-only.
//!
//! Where a test needs another process, it runs this test binary again: see `another_process`.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, chown, symlink};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use folio::disk::MemoryStore;
use folio::{Advice, Database, Durability, Error, Options, Result, Verify};

/// A directory of its own, and the turn of the test that has it: a process that is just being started holds a copy of every
/// lock that its parent has, so no test may start one while another expects a lock to be gone.
struct Temp {
    dir: tempfile::TempDir,
    _turn: MutexGuard<'static, ()>,
}

impl Temp {
    fn path(&self) -> &Path {
        self.dir.path()
    }
}

fn temp() -> Temp {
    static TURN: Mutex<()> = Mutex::new(());
    let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    Temp { dir: tempfile::tempdir().unwrap(), _turn: turn }
}

fn assert_sound(db: &Database) {
    let report = db.check().unwrap();
    assert!(report.is_ok(), "{:#?}", report.problems);
}

/// A database of a few dozen pages, closed.
fn filled(path: &Path) {
    let db = Database::open(path).unwrap();
    for round in 0..5u32 {
        db.exec(|txn| {
            let mut a = txn.bucket_mut("a")?;
            (0..200u32).try_for_each(|n| a.put((n * 5 + round).to_be_bytes(), [7; 100]))
        })
        .unwrap();
    }
}

fn is_filled(db: &Database) {
    assert_eq!(db.begin_read().unwrap().bucket("a").unwrap().unwrap().iter().flatten().count(), 1000);
}

/// Another process, which runs `another_process` in a role.
struct Other {
    child: Child,
    input: Option<ChildStdin>,
    lines: std::io::Lines<BufReader<ChildStdout>>,
}

const ROLE: &str = "FOLIO_TEST_ROLE";
const PATH: &str = "FOLIO_TEST_PATH";

impl Other {
    fn start(role: &str, path: &Path) -> Other {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "another_process", "--nocapture"]).env(ROLE, role).env(PATH, path);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Other { input: child.stdin.take(), child, lines }
    }

    /// What the other process says next; lines of the test harness begin otherwise.
    fn says(&mut self) -> String {
        loop {
            let line = self.lines.next().expect("the other process is alive").unwrap();
            if let Some((_, said)) = line.split_once("says: ") {
                return said.to_string();
            }
        }
    }

    /// Tells it to go on, and waits until it is gone.
    fn let_go(mut self) {
        drop(self.input.take());
        assert!(self.child.wait().unwrap().success());
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        let _gone_already = self.child.kill();
        let _status = self.child.wait();
    }
}

/// Not a test of its own: what other tests run as another process, in the role that the environment names.
#[test]
fn another_process() {
    let Ok(role) = std::env::var(ROLE) else { return };
    let path = std::path::PathBuf::from(std::env::var_os(PATH).unwrap());
    let say = |what: &str| println!("says: {what}");
    let wait = || io::stdin().read_line(&mut String::new()).unwrap();
    let open = |options: Options| match options.create(false).open(&path) {
        Ok(db) => {
            say("open");
            wait();
            drop(db);
        }
        Err(Error::Locked) => say("locked"),
        Err(error) => say(&error.to_string()),
    };
    match role.as_str() {
        "open" => open(Options::new()),
        "open read-only" => open(Options::new().read_only(true)),
        "create many" => {
            for n in 0.. {
                Database::open(path.join(format!("{n}.folio"))).unwrap();
                say("another");
            }
        }
        "commit many" => {
            let db = Options::new().durability(Durability::Relaxed).open(&path).unwrap();
            for n in 1..u32::MAX {
                db.exec(|txn| txn.bucket_mut("a")?.put(n.to_be_bytes(), [1; 100])).unwrap();
                say(&n.to_string());
            }
        }
        other => panic!("no such role: {other}"),
    }
}

/// What a failed open must not change: bytes, length, modification time, and which files there are.
fn state(path: &Path) -> (Vec<u8>, u64, SystemTime, Vec<std::ffi::OsString>) {
    let metadata = path.metadata().unwrap();
    let names = fs::read_dir(path.parent().unwrap()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    (fs::read(path).unwrap(), metadata.len(), metadata.modified().unwrap(), names)
}

/// Opens a file in every way, which must fail, and leave it untouched.
fn refused(path: &Path, is_expected: impl Fn(&Error) -> bool) {
    let long_ago = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
    File::options().write(true).open(path).unwrap().set_modified(long_ago).unwrap();
    let before = state(path);
    let create = before.1 > 0;
    for options in [Options::new().create(create), Options::new().create(false), Options::new().read_only(true)] {
        match options.open(path) {
            Ok(_) => panic!("{} bytes were opened", before.1),
            Err(error) => assert!(is_expected(&error), "{} bytes: {error}", before.1),
        }
        assert!(state(path) == before, "{} bytes were changed", before.1);
    }
}

#[test]
fn the_page_size_is_that_of_creation() -> Result<()> {
    let dir = temp();
    let path = dir.path().join("a.folio");
    let db = Options::new().page_size(16384).open(&path)?;
    db.exec(|txn| txn.bucket_mut("a")?.put(vec![1; 8128], "v"))?;
    drop(db);
    let db = Options::new().page_size(4096).open(&path)?;
    assert_eq!(db.stats()?.page_size, 16384);
    assert_eq!(db.begin_read()?.bucket("a")?.unwrap().get(vec![1; 8128])?, Some(&b"v"[..]));
    Ok(())
}

#[test]
fn hints_change_nothing() -> Result<()> {
    let dir = temp();
    let path = dir.path().join("a.folio");
    filled(&path);
    for advice in [Advice::Normal, Advice::Random, Advice::Sequential] {
        for verify in [Verify::Once, Verify::Always, Verify::Never] {
            let db = Options::new().advice(advice).prefault(verify == Verify::Once).verify(verify).open(&path)?;
            is_filled(&db);
            assert_sound(&db);
        }
    }
    Ok(())
}

#[test]
fn a_missing_file_is_made_only_if_it_may_be() -> Result<()> {
    let dir = temp();
    let path = dir.path().join("a.folio");
    for options in [Options::new().create(false), Options::new().read_only(true)] {
        let error = options.open(&path).unwrap_err();
        assert!(matches!(&error, Error::Io { source, .. } if source.kind() == io::ErrorKind::NotFound), "{error}");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }
    drop(Database::open(&path)?);
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "no temporary file is left");
    // An empty file counts as none: what a library for temporary files makes can be opened.
    let empty = tempfile::NamedTempFile::new_in(dir.path()).unwrap();
    let db = Database::open(empty.path())?;
    db.exec(|txn| txn.bucket_mut("a")?.put("k", "v"))?;
    drop(db);
    assert_eq!(Options::new().create(false).open(empty.path())?.begin_read()?.buckets()?, ["a"]);
    Ok(())
}

#[test]
fn what_is_no_database_is_left_untouched() {
    let dir = temp();
    let path = dir.path().join("a.folio");
    let mut rng = fastrand::Rng::with_seed(1);
    let noise: Vec<u8> = (0..100_000).map(|_| rng.u8(..)).collect();
    let almost = [b"folio\r\n\0", &noise[..4000]].concat();
    let text = "not a database, ".repeat(2000).into_bytes();
    for bytes in [&[][..], b"x", &noise[..4095], &noise[..4096], &noise, &text, &vec![0; 8192], &almost] {
        fs::write(&path, bytes).unwrap();
        refused(&path, |error| matches!(error, Error::NotADatabase));
    }
}

#[test]
fn what_is_no_regular_file_is_left_untouched() {
    let dir = temp();
    let pipe = dir.path().join("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let is_pipe = |path: &Path| path.symlink_metadata().unwrap().file_type().is_fifo();
    for options in [Options::new(), Options::new().create(false), Options::new().read_only(true)] {
        for path in [&pipe, dir.path()] {
            let error = options.open(path).unwrap_err();
            assert!(matches!(error, Error::Io { .. }), "{error}");
        }
        assert!(is_pipe(&pipe));
    }
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
}

/// A database is made where a link leads, be it nowhere yet or to an empty file, and the link stays.
#[test]
fn a_link_leads_to_the_new_database() -> Result<()> {
    let dir = temp();
    let at = |name: &str| dir.path().join(name);
    fs::create_dir(at("sub")).unwrap();
    fs::write(at("sub/empty"), "").unwrap();
    symlink("sub/new", at("first")).unwrap();
    symlink(at("first"), at("to new")).unwrap();
    symlink("sub/empty", at("to empty")).unwrap();
    for (link, target) in [("to new", "sub/new"), ("to empty", "sub/empty")] {
        Database::open(at(link))?.exec(|txn| txn.bucket_mut("a")?.put("k", "v"))?;
        assert!(at(link).is_symlink(), "{link}");
        assert_eq!(Options::new().create(false).open(at(target))?.begin_read()?.buckets()?, ["a"]);
    }
    symlink("loop", at("loop")).unwrap();
    assert!(matches!(Database::open(at("loop")), Err(Error::Io { .. })));
    symlink("no directory/a", at("nowhere")).unwrap();
    assert!(matches!(Database::open(at("nowhere")), Err(Error::Io { .. })));
    Ok(())
}

#[test]
fn an_empty_file_becomes_a_database_where_it_is() -> Result<()> {
    let dir = temp();
    let path = dir.path().join("a.folio");
    fs::write(&path, "").unwrap();
    fs::hard_link(&path, dir.path().join("hard.folio")).unwrap();
    let inode = path.metadata().unwrap().ino();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    // Only root may give a file away.
    let owner = if chown(&path, Some(1234), Some(2345)).is_ok() { (1234, 2345) } else { owner_of(&path) };
    drop(Database::open(&path)?);
    assert_eq!((path.metadata().unwrap().mode() & 0o777, owner_of(&path)), (0o600, owner));
    assert_eq!(path.metadata().unwrap().ino(), inode);
    assert!(Options::new().create(false).open(dir.path().join("hard.folio")).is_ok());
    Ok(())
}

fn owner_of(path: &Path) -> (u32, u32) {
    let metadata = path.metadata().unwrap();
    (metadata.uid(), metadata.gid())
}

/// T29: a format version that is not ours is named, whichever slots carry it and whatever else they hold.
#[test]
fn t29_another_format_version_is_refused() {
    let dir = temp();
    let path = dir.path().join("a.folio");
    filled(&path);
    let good = fs::read(&path).unwrap();
    for version in [0u32, 2, 9, u32::MAX] {
        let mut bytes = good.clone();
        for slot in [0, 8 * 4096] {
            bytes[slot + 8..slot + 12].copy_from_slice(&version.to_le_bytes());
        }
        fs::write(&path, &bytes).unwrap();
        refused(&path, |error| matches!(error, Error::Version { found, supported: 1 } if *found == version));
        // With the second slot in shreds it is still said.
        bytes[8 * 4096..9 * 4096].fill(0x55);
        fs::write(&path, &bytes).unwrap();
        refused(&path, |error| matches!(error, Error::Version { found, .. } if *found == version));
    }
}

#[test]
fn two_damaged_meta_slots_are_corruption() {
    let dir = temp();
    let path = dir.path().join("a.folio");
    filled(&path);
    let good = fs::read(&path).unwrap();
    for at in [12, 16, 41, 50, 60, 96, 130, 4095] {
        let mut bytes = good.clone();
        bytes[at] ^= 0x20;
        bytes[8 * 4096 + at] ^= 0x20;
        fs::write(&path, &bytes).unwrap();
        refused(&path, |error| matches!(error, Error::Corrupt { page: 0, .. }));
    }
    // One of the two is enough.
    for slot in [0, 8 * 4096] {
        let mut bytes = good.clone();
        bytes[slot..slot + 4096].fill(0);
        fs::write(&path, &bytes).unwrap();
        let db = Database::open(&path).unwrap();
        assert!((800..=1000).contains(&db.begin_read().unwrap().bucket("a").unwrap().unwrap().len()));
        assert_sound(&db);
    }
}

/// T3, T27: a file that was cut short is an error at open, at whatever page it was cut.
#[test]
fn t27_a_truncated_file_is_refused() {
    let dir = temp();
    let path = dir.path().join("a.folio");
    filled(&path);
    let good = fs::read(&path).unwrap();
    let page_count = u64::from_le_bytes(good[48..56].try_into().unwrap()).max(20);
    for pages in 1..20.min(page_count as usize) {
        fs::write(&path, &good[..pages * 4096]).unwrap();
        refused(&path, |error| matches!(error, Error::Corrupt { .. }));
        fs::write(&path, &good[..pages * 4096 - 1]).unwrap();
        refused(&path, |error| match error {
            Error::NotADatabase => pages == 1,
            error => matches!(error, Error::Corrupt { .. }),
        });
    }
}

#[test]
fn paths_that_cannot_be_opened() {
    let dir = temp();
    let kind = |path: &Path, options: Options| match options.open(path) {
        Err(Error::Io { source, .. }) => source.kind(),
        other => panic!("{other:?}"),
    };
    for options in [Options::new(), Options::new().create(false), Options::new().read_only(true)] {
        assert_eq!(kind(dir.path(), options.clone()), io::ErrorKind::IsADirectory);
        assert_eq!(kind(&dir.path().join("none/a.folio"), options.clone()), io::ErrorKind::NotFound);
        let file = dir.path().join("file");
        fs::write(&file, "x").unwrap();
        assert_eq!(kind(&file.join("a.folio"), options), io::ErrorKind::NotADirectory);
    }
    let path = dir.path().join("a.folio");
    filled(&path);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o000)).unwrap();
    if File::open(&path).is_ok() {
        println!("skipped: this user may open everything");
        return;
    }
    for options in [Options::new(), Options::new().read_only(true)] {
        assert_eq!(kind(&path, options), io::ErrorKind::PermissionDenied);
    }
    fs::set_permissions(&path, fs::Permissions::from_mode(0o444)).unwrap();
    assert_eq!(kind(&path, Options::new()), io::ErrorKind::PermissionDenied);
}

/// T28: a read-only open leaves bytes, length and modification time alone, and works on a file that cannot be written.
#[test]
fn t28_read_only_changes_nothing() -> Result<()> {
    let dir = temp();
    let path = dir.path().join("a.folio");
    filled(&path);
    // As a process leaves it that dies with a relaxed commit, which a writer would first make durable.
    let live = Database::open(&path)?;
    let mut txn = live.begin_write()?;
    txn.bucket_mut("b")?.put("relaxed", "v")?;
    txn.commit_with(Durability::Relaxed)?;
    let copy = dir.path().join("copy.folio");
    fs::copy(&path, &copy).unwrap();

    let long_ago = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
    File::options().write(true).open(&copy).unwrap().set_modified(long_ago).unwrap();
    fs::set_permissions(&copy, fs::Permissions::from_mode(0o444)).unwrap();
    let before = state(&copy);
    let db = Options::new().read_only(true).open(&copy)?;
    is_filled(&db);
    assert_eq!(db.begin_read()?.bucket("b")?.unwrap().get("relaxed")?, Some(&b"v"[..]));
    assert_sound(&db);
    assert_eq!(db.stats()?.bytes_written, 0);
    assert!(matches!(db.begin_write(), Err(Error::ReadOnly)) && matches!(db.try_begin_write(), Err(Error::ReadOnly)));
    assert!(matches!(db.sync(), Err(Error::ReadOnly)) && matches!(db.exec(|_| Ok(())), Err(Error::ReadOnly)));
    // Read-only first rules out writing later, in this process too.
    assert!(matches!(Database::open(&copy), Err(Error::InvalidOption { option: "read_only", .. })));
    drop(db);
    assert!(state(&copy) == before);
    Ok(())
}

#[test]
fn a_read_only_handle_beside_a_writing_one() -> Result<()> {
    let dir = temp();
    let path = dir.path().join("a.folio");
    let db = Database::open(&path)?;
    let reader = Options::new().read_only(true).open(&path)?;
    db.exec(|txn| txn.bucket_mut("a")?.put("k", "v"))?;
    assert_eq!(reader.begin_read()?.bucket("a")?.unwrap().get("k")?, Some(&b"v"[..]));
    assert!(matches!(reader.begin_write(), Err(Error::ReadOnly)));
    drop(db);
    // The core lives on with the handle, and was opened for writing.
    Database::open(&path)?.exec(|txn| txn.bucket_mut("a")?.put("l", "w"))?;
    assert_eq!(reader.begin_read()?.bucket("a")?.unwrap().len(), 2);
    Ok(())
}

/// T17: device and inode are what a file is. The same core comes back through a symlink, a hard link, after a rename.
#[test]
fn t17_one_core_for_a_file_of_many_names() -> Result<()> {
    let dir = temp();
    let at = |name: &str| dir.path().join(name);
    fs::create_dir(at("sub")).unwrap();
    let first = Database::open(at("a.folio"))?;
    first.exec(|txn| txn.bucket_mut("a")?.put("n", "0"))?;
    symlink(at("a.folio"), at("symlink.folio")).unwrap();
    fs::hard_link(at("a.folio"), at("hard.folio")).unwrap();
    let mut others = vec![Database::open(at("symlink.folio"))?, Database::open(at("hard.folio"))?];
    others.push(Database::open(at("sub/../a.folio"))?);
    fs::rename(at("a.folio"), at("renamed.folio")).unwrap();
    others.push(Database::open(at("renamed.folio"))?);
    for (n, other) in others.iter().enumerate() {
        let running = other.begin_write()?;
        assert!(first.try_begin_write()?.is_none(), "one writer for both");
        drop(running);
        first.exec(|txn| txn.bucket_mut("a")?.put("n", n.to_string()))?;
        let seen = other.begin_read()?;
        assert_eq!(seen.bucket("a")?.unwrap().get("n")?, Some(n.to_string().as_bytes()));
        assert_eq!(seen.id(), first.begin_read()?.id());
    }
    // The old name is free for another database.
    let other = Database::open(at("a.folio"))?;
    assert!(other.begin_read()?.buckets()?.is_empty());
    other.exec(|txn| txn.bucket_mut("other")?.put("k", "v"))?;
    assert_eq!(first.begin_read()?.buckets()?, ["a"]);
    drop(first);
    others.iter().for_each(assert_sound);
    Ok(())
}

/// What a second open in this process asks for counts for its own handle, or is refused; it is never passed over.
#[test]
fn a_second_open_gets_what_it_asks_for_or_an_error() -> Result<()> {
    let dir = temp();
    let path = dir.path().join("a.folio");
    let relaxed = Options::new().durability(Durability::Relaxed).max_size(1 << 30).open(&path)?;
    let durable = Options::new().max_size(1 << 30).open(&path)?;
    let same = Database::open(&path)?;
    relaxed.exec(|txn| txn.bucket_mut("a")?.put("k", "1"))?;
    assert!(same.stats()?.durable_id < same.stats()?.txn_id);
    durable.exec(|txn| txn.bucket_mut("a")?.put("k", "2"))?;
    assert_eq!(same.stats()?.durable_id, same.stats()?.txn_id);
    let new = Options::new;
    for (option, options) in [
        ("max_size", new().max_size(1 << 20)),
        ("sync_bytes", new().sync_bytes(1)),
        ("dirty_limit", new().dirty_limit(1 << 20)),
        ("verify", new().verify(Verify::Never)),
    ] {
        let error = options.open(&path).unwrap_err();
        assert!(matches!(error, Error::InvalidOption { option: named, .. } if named == option), "{error}");
    }
    Ok(())
}

#[test]
fn the_file_is_closed_with_the_last_handle_or_transaction() -> Result<()> {
    let dir = temp();
    let path = dir.path().join("a.folio");
    filled(&path);
    let db = Database::open(&path)?;
    let txn = db.clone().begin_read()?;
    drop(db);
    assert_eq!(Other::start("open", &path).says(), "locked");
    assert_eq!(txn.bucket("a")?.unwrap().len(), 1000);
    drop(txn);
    let mut other = Other::start("open", &path);
    assert_eq!(other.says(), "open");
    other.let_go();
    Ok(())
}

#[test]
fn another_process_is_locked_out_at_once() -> Result<()> {
    let dir = temp();
    let path = dir.path().join("a.folio");
    filled(&path);
    let mut writer = Other::start("open", &path);
    assert_eq!(writer.says(), "open");
    for options in [Options::new(), Options::new().read_only(true)] {
        let start = Instant::now();
        assert!(matches!(options.open(&path), Err(Error::Locked)));
        assert!(start.elapsed() < Duration::from_secs(1));
        let start = Instant::now();
        assert!(matches!(options.lock_timeout(Duration::from_millis(120)).open(&path), Err(Error::Locked)));
        assert!(start.elapsed() >= Duration::from_millis(120));
    }
    // A waiter gets it when the other lets go.
    let (start, waited) = (Instant::now(), Duration::from_millis(200));
    let waiter = std::thread::spawn({
        let path = path.clone();
        move || Options::new().lock_timeout(Duration::from_secs(60)).open(path).map(|db| (db, start.elapsed()))
    });
    std::thread::sleep(waited);
    writer.let_go();
    let (db, elapsed) = waiter.join().unwrap()?;
    assert!(elapsed >= waited, "{elapsed:?}");
    is_filled(&db);
    drop(db);

    // Those who only read share; a writer waits for them all.
    let mut readers = [Other::start("open read-only", &path), Other::start("open read-only", &path)];
    assert!(readers.iter_mut().all(|reader| reader.says() == "open"));
    is_filled(&Options::new().read_only(true).open(&path)?);
    assert!(matches!(Database::open(&path), Err(Error::Locked)));
    readers.into_iter().for_each(Other::let_go);
    is_filled(&Database::open(&path)?);
    Ok(())
}

/// T16: the lock belongs to the open file, so other descriptors of it may come and go.
#[test]
fn t16_the_lock_outlives_other_descriptors() -> Result<()> {
    let dir = temp();
    let path = dir.path().join("a.folio");
    filled(&path);
    let db = Database::open(&path)?;
    drop(File::open(&path).unwrap());
    drop(File::options().read(true).write(true).open(&path).unwrap());
    assert!(!fs::read(&path).unwrap().is_empty());
    drop(Database::open(&path)?);
    drop(Options::new().read_only(true).open(&path)?);
    for role in ["open", "open read-only"] {
        assert_eq!(Other::start(role, &path).says(), "locked");
    }
    db.exec(|txn| txn.bucket_mut("a")?.put("k", "v"))?;
    drop(db);
    assert_eq!(Other::start("open", &path).says(), "open");
    Ok(())
}

/// T18: a child process that starts and ends while a transaction runs leaves the parent's lock and state alone, and inherits no
/// descriptor that would keep the lock when the parent lets go.
#[test]
fn t18_a_child_process_changes_nothing_for_its_parent() -> Result<()> {
    let dir = temp();
    let path = dir.path().join("a.folio");
    filled(&path);
    let db = Database::open(&path)?;
    let mut txn = db.begin_write()?;
    txn.bucket_mut("a")?.put("k", "v")?;
    let elsewhere = dir.path().join("b.folio");
    filled(&elsewhere);
    let mut child = Other::start("open", &elsewhere);
    assert_eq!(child.says(), "open");
    assert_eq!(Other::start("open", &path).says(), "locked");
    txn.commit()?;
    assert_eq!(db.begin_read()?.bucket("a")?.unwrap().len(), 1001);
    drop(db);
    assert_eq!(Other::start("open", &path).says(), "open", "while a child of ours lives");
    child.let_go();
    Ok(())
}

/// T4: whenever the process dies that makes a database, there is none or a good one.
#[test]
fn t04_a_process_that_dies_creating_leaves_nothing_or_a_database() {
    for round in 0..8u32 {
        let dir = temp();
        let mut other = Other::start("create many", dir.path());
        (0..=round).for_each(|_| assert_eq!(other.says(), "another"));
        std::thread::sleep(Duration::from_micros(u64::from(round) * 170));
        drop(other);
        let (mut whole, mut left) = (0, 0);
        for entry in fs::read_dir(dir.path()).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|extension| extension == "folio") {
                let db = Options::new().create(false).open(&path).unwrap();
                assert_sound(&db);
                db.exec(|txn| txn.bucket_mut("a")?.put("k", "v")).unwrap();
                whole += 1;
            } else {
                left += 1;
            }
        }
        assert!(whole > round && left <= 1, "{whole} databases, {left} other files");
        // What was left behind is in nobody's way, and goes.
        assert!(Database::open(dir.path().join(format!("{whole}.folio"))).is_ok());
        let names = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().path());
        assert_eq!(names.filter(|name| name.extension().is_none_or(|extension| extension != "folio")).count(), 0);
    }
}

/// A name may be as long as the file system takes it.
#[test]
fn long_names() -> Result<()> {
    let dir = temp();
    for name in [234, 235, 254, 255].map(|len| "a".repeat(len)).into_iter().chain(["\u{e4}".repeat(127)]) {
        let path = dir.path().join(&name);
        let db = Database::open(&path)?;
        db.exec(|txn| txn.bucket_mut("a")?.put("k", "v"))?;
        db.begin_read()?.backup().to_path(dir.path().join(format!("{}.b", &name[2..])))?;
        drop(db);
        assert!(Options::new().create(false).open(&path)?.begin_read()?.bucket("a")?.is_some());
    }
    Ok(())
}

/// A relaxed commit survives the death of the process. Linux only: elsewhere there may be no boot id to trust it by.
#[test]
#[cfg(target_os = "linux")]
fn relaxed_commits_survive_a_killed_process() -> Result<()> {
    let dir = temp();
    let path = dir.path().join("a.folio");
    let mut acknowledged = 0;
    for round in 1..4 {
        let mut other = Other::start("commit many", &path);
        for _ in 0..round * 50 {
            acknowledged = acknowledged.max(other.says().parse::<u32>().unwrap());
        }
        drop(other);
        let db = Database::open(&path)?;
        let len = db.begin_read()?.bucket("a")?.unwrap().len();
        assert!(len >= u64::from(acknowledged), "{len} of {acknowledged}");
        assert_sound(&db);
        // Found in the page cache: durable for certain only when it was synced.
        assert!(db.stats()?.durable_id < db.stats()?.txn_id);
        db.sync()?;
        assert_eq!(db.stats()?.durable_id, db.stats()?.txn_id);
    }
    Ok(())
}

/// T23: opening reads the same few pages of a database of 1 MiB and of 200 MiB, closed or not.
#[test]
fn t23_opening_takes_constant_time() -> Result<()> {
    let mut calls = Vec::new();
    for size in [1 << 20, 200 << 20] {
        let disk = MemoryStore::new();
        let db = Options::new().open_store(&disk)?;
        for part in 0..10usize {
            db.exec(|txn| {
                let mut a = txn.bucket_mut("a")?;
                a.put(format!("large {part}"), vec![part as u8; size / 10])?;
                (0..size / 50_000).try_for_each(|n| a.put(format!("{n} {part}"), [1; 200]))
            })?;
        }
        db.exec(|txn| txn.bucket_mut("a")?.put("last", "v"))?;
        let killed = MemoryStore::with_image(&disk.image());
        drop(db);
        for disk in [&disk, &killed] {
            let before = disk.call_count();
            let db = Options::new().open_store(disk)?;
            let txn = db.begin_read()?;
            assert_eq!(txn.bucket("a")?.unwrap().get("last")?, Some(&b"v"[..]));
            assert!(db.stats()?.file_len >= size as u64);
            calls.push(disk.call_count() - before);
        }
    }
    println!("calls to the store: {calls:?}");
    assert!(calls.iter().all(|&count| count == calls[0]) || calls.iter().all(|&count| count <= 12), "{calls:?}");
    Ok(())
}

/// A parent that goes away does not leave its children waiting: standard input ends.
#[test]
fn the_other_process_ends_with_its_input() {
    let dir = temp();
    let path = dir.path().join("a.folio");
    filled(&path);
    let mut other = Other::start("open", &path);
    assert_eq!(other.says(), "open");
    other.input.as_mut().unwrap().write_all(b"go on\n").unwrap();
    assert!(other.child.wait().unwrap().success());
}

/// One thread closes a database, which takes a while since there is much to sync; another opens the file meanwhile, and waits.
#[test]
fn opening_while_another_thread_closes() {
    let dir = temp();
    let path = dir.path().join("a.folio");
    let noise: Vec<u8> = std::iter::repeat_with(|| fastrand::u8(..)).take(20 << 20).collect();
    for _ in 0..3 {
        let db = Options::new().durability(Durability::Relaxed).sync_bytes(u64::MAX).open(&path).unwrap();
        db.exec(|txn| txn.bucket_mut("a")?.put("k", &noise)).unwrap();
        let closing = thread::spawn(move || drop(db));
        thread::sleep(Duration::from_millis(2));
        let db = thread::Builder::new().stack_size(256 << 10);
        let path = path.clone();
        let opened = db.spawn(move || Database::open(path).map(|db| db.begin_read().unwrap().id())).unwrap();
        opened.join().unwrap().unwrap();
        closing.join().unwrap();
    }
}

/// A file may be longer than its pages; one that is so long that its bookkeeping finds no room is refused.
#[test]
#[cfg(target_pointer_width = "64")]
fn a_long_sparse_file_opens_or_is_refused() {
    let dir = temp();
    let path = dir.path().join("a.folio");
    drop(Database::open(&path).unwrap());
    for tib in [1u64, 8, 15] {
        if File::options().write(true).open(&path).unwrap().set_len(tib << 40).is_err() {
            println!("skipped: no file of {tib} TiB here");
            return;
        }
        match Options::new().read_only(true).open(&path) {
            Ok(db) => assert_sound(&db),
            Err(error) => assert!(matches!(error, Error::Io { .. }), "{tib} TiB: {error}"),
        }
    }
}
