//! A system that refuses, interrupts, kills, or takes no notice: directories that cannot be synced or read, file systems without locks,
//! signals in the midst of a call, kernels that do not know an advice, children made by `fork`.
//!
//! Functions of the C library that this file defines take the place of the real ones in this test binary. They do as those do unless a
//! test tells them otherwise: its own thread, or, by the environment, another process.
#![cfg(target_os = "linux")]
#![allow(unsafe_code)] // To stand in for the C library, to fork, and to become another user, there is no other way.

use std::cell::Cell;
use std::ffi::CString;
use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use folio::{Database, Durability, Error, Options, ReadTxn, Result};
use libc::{c_char, c_int, c_void, off_t, size_t, ssize_t};

thread_local! {
    /// What `fsync` of a directory says.
    static DIRECTORY_SYNC: Cell<c_int> = const { Cell::new(0) };
    /// What `flock` says, and how often.
    static LOCK: Cell<(c_int, u32)> = const { Cell::new((0, 0)) };
    /// How many bytes `posix_fallocate` gets through before a signal comes, and how often it was called.
    static SIGNAL_EVERY: Cell<off_t> = const { Cell::new(off_t::MAX) };
    static ALLOCATIONS: Cell<u32> = const { Cell::new(0) };
    /// At which of the calls that change files the process is killed: 1 for the next.
    static DEATH: Cell<u32> = const { Cell::new(u32::MAX) };
}

fn fail(code: c_int) -> c_int {
    // SAFETY: the address of this thread's own `errno`.
    unsafe { *libc::__errno_location() = code };
    -1
}

/// Whether this call is the one at which the process is to be killed.
fn is_last() -> bool {
    DEATH.set(DEATH.get().saturating_sub(1));
    DEATH.get() == 0
}

fn die() -> ! {
    // SAFETY: the end of the process.
    unsafe { libc::kill(libc::getpid(), libc::SIGKILL) };
    unreachable!("killed");
}

fn step() {
    if is_last() {
        die();
    }
}

/// # Safety
///
/// As the real one.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fsync(fd: c_int) -> c_int {
    step();
    // SAFETY: zeros are a `stat`, which the call fills in.
    let is_directory = unsafe {
        let mut stat: libc::stat = std::mem::zeroed();
        libc::fstat(fd, &mut stat) == 0 && stat.st_mode & libc::S_IFMT == libc::S_IFDIR
    };
    match DIRECTORY_SYNC.get() {
        code if is_directory && code != 0 => fail(code),
        // SAFETY: as the caller says.
        _ => unsafe { libc::syscall(libc::SYS_fsync, fd) as c_int },
    }
}

/// # Safety
///
/// As the real one.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn flock(fd: c_int, operation: c_int) -> c_int {
    step();
    let (code, times) = LOCK.get();
    if times > 0 {
        LOCK.set((code, times - 1));
        return fail(code);
    }
    // SAFETY: as the caller says.
    unsafe { libc::syscall(libc::SYS_flock, fd, operation) as c_int }
}

/// # Safety
///
/// As the real one.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn posix_fallocate(fd: c_int, at: off_t, len: off_t) -> c_int {
    step();
    ALLOCATIONS.set(ALLOCATIONS.get() + 1);
    if len > SIGNAL_EVERY.get() {
        // What had been allocated is given back.
        return libc::EINTR;
    }
    // SAFETY: as the caller says, and `errno` is this thread's own.
    unsafe { if libc::fallocate(fd, 0, at, len) == 0 { 0 } else { *libc::__errno_location() } }
}

/// Killed half way, it has written a half.
///
/// # Safety
///
/// As the real one.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pwrite64(fd: c_int, bytes: *const c_void, len: size_t, at: off_t) -> ssize_t {
    let is_last = is_last();
    let len = if is_last { len / 2 } else { len };
    // SAFETY: as the caller says.
    let done = unsafe { libc::syscall(libc::SYS_pwrite64, fd, bytes, len, at) as ssize_t };
    if is_last { die() } else { done }
}

/// # Safety
///
/// As the real one.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ftruncate64(fd: c_int, len: off_t) -> c_int {
    step();
    // SAFETY: as the caller says.
    unsafe { libc::syscall(libc::SYS_ftruncate, fd, len) as c_int }
}

/// # Safety
///
/// As the real one.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn linkat(from: c_int, old: *const c_char, to: c_int, new: *const c_char, flags: c_int) -> c_int {
    step();
    // SAFETY: as the caller says.
    unsafe { libc::syscall(libc::SYS_linkat, from, old, to, new, flags) as c_int }
}

/// # Safety
///
/// As the real one.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn unlink(path: *const c_char) -> c_int {
    step();
    // SAFETY: as the caller says.
    unsafe { libc::syscall(libc::SYS_unlinkat, libc::AT_FDCWD, path, 0) as c_int }
}

/// # Safety
///
/// As the real one.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rename(old: *const c_char, new: *const c_char) -> c_int {
    step();
    // SAFETY: as the caller says.
    unsafe { libc::syscall(libc::SYS_renameat2, libc::AT_FDCWD, old, libc::AT_FDCWD, new, 0) as c_int }
}

/// # Safety
///
/// As the real one.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn madvise(start: *mut c_void, len: size_t, advice: c_int) -> c_int {
    if advice == libc::MADV_WIPEONFORK {
        match std::env::var(WIPE).as_deref() {
            Ok("refused") => return fail(libc::EINVAL),
            Ok("passed over") => return 0,
            _ => {}
        }
    }
    // SAFETY: as the caller says.
    unsafe { libc::syscall(libc::SYS_madvise, start, len, advice) as c_int }
}

const WIPE: &str = "FOLIO_SYSTEM_WIPE";
const ROLE: &str = "FOLIO_SYSTEM_ROLE";
const PATH: &str = "FOLIO_SYSTEM_PATH";
const LIFE: &str = "FOLIO_SYSTEM_LIFE";

/// Runs `another_process` in a role, as a process of its own.
fn run(role: &str, path: &Path, variables: &[(&str, &str)]) -> Output {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "another_process", "--nocapture"]).env(ROLE, role).env(PATH, path);
    command.envs(variables.iter().copied()).stdin(Stdio::null()).output().unwrap()
}

fn assert_success(output: &Output) {
    let said = [&output.stdout[..], &output.stderr].concat();
    assert!(output.status.success(), "{}: {}", output.status, String::from_utf8_lossy(&said));
}

/// Not a test of its own: what other tests run as another process, in the role that the environment names.
#[test]
fn another_process() {
    let Ok(role) = std::env::var(ROLE) else { return };
    let path = PathBuf::from(std::env::var_os(PATH).unwrap());
    match role.as_str() {
        "fork" => use_after_fork(&path),
        "fork unnoticed" => write_after_unnoticed_fork(&path),
        "closed directory" => open_in_closed_directory(&path),
        "mount" => open_mounted(&path),
        "create" => live_for_a_while(|| drop(Database::open(&path).unwrap())),
        "back up" => {
            let db = Database::in_memory().unwrap();
            let txn = db.begin_read().unwrap();
            live_for_a_while(|| assert!(txn.backup().replace(true).to_path(&path).is_ok()));
        }
        other => panic!("no such role: {other}"),
    }
}

/// Runs `f` in a forked child, where it must not panic.
fn in_child(fork: impl FnOnce() -> libc::pid_t, f: impl FnOnce()) {
    match fork() {
        0 => {
            let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(f));
            // SAFETY: the end of the child.
            unsafe { libc::_exit(i32::from(done.is_err())) }
        }
        child => {
            let mut status = 0;
            // SAFETY: a valid pointer.
            assert_eq!(unsafe { libc::waitpid(child, &mut status, 0) }, child);
            assert_eq!(status, 0, "in the child");
        }
    }
}

fn fork() -> libc::pid_t {
    // SAFETY: the child does no more than what this file has it do, and ends by `_exit`.
    unsafe { libc::fork() }
}

/// As `fork`, past the C library.
fn unnoticed_fork() -> libc::pid_t {
    // SAFETY: as for `fork`.
    unsafe { libc::syscall(libc::SYS_clone, libc::SIGCHLD, 0, 0, 0, 0) as libc::pid_t }
}

#[track_caller]
fn assert_forked<T>(result: Result<T>) {
    assert!(matches!(result, Err(Error::Forked)), "{:?}", result.err());
}

fn assert_refuses_to_read(db: &Database, before: &ReadTxn) {
    assert_forked(db.begin_read());
    assert_forked(before.bucket("a"));
    assert_forked(before.clone().bucket("a"));
    assert_forked(before.buckets());
    assert_forked(before.diff(before));
    assert_forked(before.page_info(2));
    assert_forked(before.backup().to_writer(std::io::sink()));
    assert_forked(db.check());
}

fn assert_refuses_to_write(db: &Database) {
    assert_forked(db.begin_write());
    assert_forked(db.try_begin_write());
    assert_forked(db.exec(|_| Ok(())));
    assert_forked(db.batch(|_| Ok(())));
    assert_forked(db.sync());
}

/// What was opened or begun before a fork is refused in the child, and the child may open what is its own, and fork again.
fn use_after_fork(path: &Path) {
    let db = Options::new().durability(Durability::Relaxed).open(path.join("a.folio")).unwrap();
    let memory = Database::in_memory().unwrap();
    for db in [&db, &memory] {
        db.exec(|txn| txn.bucket_mut("a")?.put("k", "v")).unwrap();
    }
    let before = db.begin_read().unwrap();
    let mut optimistic = db.begin_optimistic().unwrap();
    let mut writing = db.begin_write().unwrap();
    writing.bucket_mut("a").unwrap().put("k", "w").unwrap();
    in_child(fork, || {
        assert_refuses_to_read(&db, &before);
        assert_refuses_to_write(&db);
        assert_forked(db.begin_optimistic());
        assert_forked(memory.begin_read());
        assert_forked(optimistic.bucket("a"));
        assert_forked(optimistic.bucket_mut("a").and_then(|a| a.get("k").map(|_| ())));
        assert_forked(writing.bucket("a"));
        assert_forked(writing.buckets());
        assert_forked(writing.bucket_mut("a"));
        let own = Database::open(path.join("child.folio")).unwrap();
        own.exec(|txn| txn.bucket_mut("a")?.put("k", "v")).unwrap();
        in_child(fork, || {
            assert_forked(own.begin_read());
            assert_forked(db.begin_read());
        });
        assert_forked(db.begin_read());
        assert!(own.begin_read().is_ok() && own.check().unwrap().is_ok());
    });
    in_child(fork, || {
        assert_forked(writing.commit());
        drop((before, optimistic, db));
    });
}

/// Where nothing tells of a fork, what was begun before it is not refused to read, but nothing is written.
fn write_after_unnoticed_fork(path: &Path) {
    let db = Options::new().durability(Durability::Relaxed).open(path.join("a.folio")).unwrap();
    db.exec(|txn| txn.bucket_mut("a")?.put("k", "v")).unwrap();
    in_child(unnoticed_fork, || assert_refuses_to_write(&db));
    let mut writing = db.begin_write().unwrap();
    in_child(unnoticed_fork, || assert_forked(writing.bucket_mut("a").and_then(|mut a| a.put("large", [1; 10_000]))));
    in_child(unnoticed_fork, || assert_forked(writing.commit()));
}

/// Whatever the kernel makes of the advice to clear memory in a child.
#[test]
fn what_is_from_before_a_fork_is_refused_in_the_child() {
    for wipe in ["heeded", "refused", "passed over"] {
        let dir = tempfile::tempdir().unwrap();
        assert_success(&run("fork", dir.path(), &[(WIPE, wipe)]));
        let path = dir.path().join("a.folio");
        let db = Options::new().create(false).open(path).unwrap();
        assert_eq!(db.begin_read().unwrap().bucket("a").unwrap().unwrap().get("k").unwrap(), Some(&b"v"[..]));
        assert!(db.check().unwrap().is_ok());
    }
}

/// By the process id, which is asked where something is about to be written.
#[test]
fn nothing_is_written_after_a_fork_of_which_nobody_tells() {
    for wipe in ["heeded", "refused", "passed over"] {
        let dir = tempfile::tempdir().unwrap();
        assert_success(&run("fork unnoticed", dir.path(), &[(WIPE, wipe)]));
        let db = Options::new().create(false).open(dir.path().join("a.folio")).unwrap();
        assert_eq!(db.begin_read().unwrap().bucket("a").unwrap().unwrap().len(), 1);
        assert!(db.check().unwrap().is_ok());
    }
}

/// Runs `f`, with as many calls to live as the environment says.
fn live_for_a_while(f: impl FnOnce()) {
    DEATH.set(std::env::var(LIFE).unwrap().parse().unwrap());
    f();
    DEATH.set(u32::MAX);
}

/// The names in a directory, in order.
fn names(dir: &Path) -> Vec<String> {
    let names = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.collect();
    names.sort();
    names
}

/// Kills a process in a role at each of its calls in turn, and has `judge` look at what it leaves. Answers how many calls there are.
fn kill_at_each_call(role: &str, path: impl Fn() -> PathBuf, judge: impl Fn(&Path)) -> usize {
    for life in 1..100 {
        let path = path();
        let output = run(role, &path, &[(LIFE, &life.to_string())]);
        judge(&path);
        if output.status.signal() != Some(libc::SIGKILL) {
            assert_success(&output);
            return life - 1;
        }
    }
    panic!("{role} makes too many calls");
}

/// T4: at whatever call a process dies that makes a database, the next one finds nothing or a good one, and tidies up.
#[test]
fn t04_a_process_killed_at_any_call_of_a_creation() {
    let dir = tempfile::tempdir().unwrap();
    for is_there in [false, true] {
        let path = || {
            let path = dir.path().join("a.folio");
            match is_there {
                true => drop(File::create(&path).unwrap()),
                false => fs::remove_file(&path).unwrap_or_default(),
            }
            path
        };
        let calls = kill_at_each_call("create", path, |path| {
            let is_empty = |path: &Path| path.metadata().map_or(true, |metadata| metadata.len() == 0);
            if !is_there && !is_empty(path) {
                // What has appeared is whole.
                Options::new().read_only(true).open(path).unwrap();
            }
            let db = Database::open(path).unwrap();
            assert!(db.begin_read().unwrap().buckets().unwrap().is_empty() && db.check().unwrap().is_ok());
            db.exec(|txn| txn.bucket_mut("a")?.put("k", "v")).unwrap();
            drop(db);
            let db = Options::new().create(false).open(path).unwrap();
            assert!(db.begin_read().unwrap().bucket("a").unwrap().is_some() && db.check().unwrap().is_ok());
            assert_eq!(names(dir.path()), ["a.folio"]);
        });
        assert!(calls >= 5, "{calls} calls");
    }
}

/// At whatever call a process dies that makes a backup, what was there is there, or the backup, and the next one tidies up.
#[test]
fn a_process_killed_at_any_call_of_a_backup() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("copy.folio");
    for is_there in [false, true] {
        let make_path = || {
            fs::remove_file(&path).unwrap_or_default();
            if is_there {
                Database::open(&path).unwrap().exec(|txn| txn.bucket_mut("before")?.put("k", "v")).unwrap();
            }
            path.clone()
        };
        let calls = kill_at_each_call("back up", make_path, |path| {
            match Options::new().read_only(true).open(path) {
                Ok(db) => assert!(db.begin_read().unwrap().buckets().unwrap().len() <= usize::from(is_there)),
                Err(error) => assert!(!is_there && !path.exists(), "{error}"),
            }
            let db = Database::in_memory().unwrap();
            db.begin_read().unwrap().backup().replace(true).to_path(path).unwrap();
            assert_eq!(names(dir.path()), ["copy.folio"]);
        });
        assert!(calls >= 5, "{calls} calls");
    }
}

/// Where directories cannot be synced, there is nothing to sync; a sync that fails is an error.
#[test]
fn directories_that_cannot_be_synced() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: String| dir.path().join(name);
    for code in [libc::EINVAL, libc::ENOSYS, libc::EOPNOTSUPP, libc::EBADF] {
        DIRECTORY_SYNC.set(code);
        let db = Database::open(path(format!("{code}.folio"))).unwrap();
        for replace in [false, true] {
            let backup = db.begin_read().unwrap().backup().replace(replace).to_path(path(format!("{code}.copy")));
            assert!(backup.is_ok(), "{backup:?}");
        }
    }
    DIRECTORY_SYNC.set(libc::EIO);
    for result in [Database::open(path("new.folio".into())).map(drop), {
        let db = Database::in_memory().unwrap();
        db.begin_read().unwrap().backup().to_path(path("new.copy".into())).map(drop)
    }] {
        assert!(
            matches!(&result, Err(Error::Io { source, .. }) if source.raw_os_error() == Some(libc::EIO)),
            "{result:?}"
        );
    }
}

/// A lock that a signal interrupts is asked for again.
#[test]
fn a_lock_that_is_interrupted() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.folio");
    for options in [Options::new(), Options::new(), Options::new().read_only(true)] {
        LOCK.set((libc::EINTR, 3));
        let opened = options.open(&path);
        assert!(opened.is_ok() && LOCK.get().1 == 0, "{opened:?}");
    }
}

/// Options that open without the lock.
fn unlocked(options: Options) -> Options {
    // SAFETY: no other process knows of the files of this test.
    unsafe { options.no_lock() }
}

/// Where there are no locks, opening says so and leaves nothing, and an option does without.
#[test]
fn a_file_system_without_locks() {
    let codes = [libc::ENOLCK, libc::ENOSYS, libc::EOPNOTSUPP, libc::EINVAL];
    for code in codes {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.folio");
        LOCK.set((code, u32::MAX));
        let is_unsupported = |options: Options| match options.open(&path) {
            Err(Error::LockUnsupported { source }) => source.raw_os_error() == Some(code),
            other => panic!("{other:?}"),
        };
        assert!(is_unsupported(Options::new()) && names(dir.path()).is_empty());
        fs::write(&path, "").unwrap();
        assert!(is_unsupported(Options::new()) && path.metadata().unwrap().len() == 0);
        let db = unlocked(Options::new()).open(&path).unwrap();
        db.exec(|txn| txn.bucket_mut("a")?.put("k", "v")).unwrap();
        // Not looked for where another handle is open.
        assert!(Database::open(&path).is_ok());
        let copy = dir.path().join("copy.folio");
        for replace in [false, true] {
            db.begin_read().unwrap().backup().replace(replace).to_path(&copy).unwrap();
        }
        drop(db);
        for options in [Options::new(), Options::new().read_only(true)] {
            assert!(is_unsupported(options.clone()));
            let db = unlocked(options).open(&path).unwrap();
            assert!(db.begin_read().unwrap().bucket("a").unwrap().is_some());
        }
        let created = unlocked(Options::new()).open(dir.path().join("b.folio")).unwrap();
        created.exec(|txn| txn.bucket_mut("a")?.put("k", "v")).unwrap();
        assert_eq!(names(dir.path()), ["a.folio", "b.folio", "copy.folio"]);
    }
    let message = Error::LockUnsupported { source: std::io::Error::from_raw_os_error(libc::ENOLCK) }.to_string();
    assert!(message.contains("Options::no_lock"), "{message}");
}

/// A file grows though a signal comes before as much is allocated as is needed, and what was allocated is given back each time.
#[test]
fn growth_between_signals() {
    let dir = tempfile::tempdir().unwrap();
    let db = Options::new().durability(Durability::Relaxed).open(dir.path().join("a.folio")).unwrap();
    let value = vec![7; 20 << 20];
    SIGNAL_EVERY.set(3 << 20);
    db.exec(|txn| txn.bucket_mut("a")?.put("large", &value)).unwrap();
    let calls = ALLOCATIONS.take();
    assert!((2..40).contains(&calls), "{calls} calls");
    SIGNAL_EVERY.set(off_t::MAX);
    assert_eq!(db.begin_read().unwrap().bucket("a").unwrap().unwrap().get("large").unwrap(), Some(&value[..]));
    // Undisturbed it is one call.
    db.exec(|txn| txn.bucket_mut("a")?.put("larger", vec![7; 40 << 20])).unwrap();
    assert_eq!(ALLOCATIONS.take(), 1);
}

/// An id that is nobody's.
const STRANGER: u32 = 51_234;

/// Makes this process one of a user who may not do everything.
fn become_stranger() {
    // SAFETY: the calls touch no memory.
    unsafe {
        if libc::geteuid() == 0 {
            assert_eq!(libc::setgroups(0, std::ptr::null()), 0);
            assert_eq!((libc::setgid(STRANGER), libc::setuid(STRANGER)), (0, 0));
        }
    }
}

/// A directory that `become_stranger` can get at.
fn public_dir() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    fs::set_permissions(dir.path(), PermissionsExt::from_mode(0o755)).unwrap();
    dir
}

fn give_to_stranger(path: &Path, mode: u32) {
    // Of use to root alone; others are strangers already.
    let _not_root = chown(path, Some(STRANGER), Some(STRANGER));
    fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
}

/// A directory in which files may be made, but which cannot be listed or synced; and an empty file in one where none may be made.
#[test]
fn directories_that_may_not_be_read_or_written() {
    let dir = public_dir();
    let [dropbox, closed] = ["dropbox", "closed"].map(|name| dir.path().join(name));
    fs::create_dir(&dropbox).unwrap();
    fs::create_dir(&closed).unwrap();
    fs::write(closed.join("a.folio"), "").unwrap();
    give_to_stranger(&closed.join("a.folio"), 0o600);
    fs::set_permissions(&closed, PermissionsExt::from_mode(0o555)).unwrap();
    give_to_stranger(&dropbox, 0o300);
    let output = run("closed directory", dir.path(), &[]);
    for directory in [&dropbox, &closed] {
        fs::set_permissions(directory, PermissionsExt::from_mode(0o755)).unwrap();
    }
    assert_success(&output);
    assert_eq!(names(&dropbox), ["a.folio", "copy.folio"]);
    assert_eq!(names(&closed), ["a.folio"]);
}

fn open_in_closed_directory(path: &Path) {
    become_stranger();
    for directory in ["dropbox", "closed"] {
        for name in ["first", "second"] {
            let db = Database::open(path.join(directory).join("a.folio")).unwrap();
            db.exec(|txn| txn.bucket_mut(name)?.put("k", "v")).unwrap();
            assert!(db.check().unwrap().is_ok());
        }
    }
    let db = Database::in_memory().unwrap();
    db.begin_read().unwrap().backup().to_path(path.join("dropbox/copy.folio")).unwrap();
}

/// A single file that is mounted, as container engines do it, cannot be replaced by a rename.
#[test]
fn an_empty_file_that_is_mounted() {
    let dir = tempfile::tempdir().unwrap();
    let output = run("mount", dir.path(), &[]);
    assert_success(&output);
    if String::from_utf8_lossy(&output.stdout).contains("skipped") {
        println!("skipped: this user may not mount");
        return;
    }
    let db = Options::new().create(false).open(dir.path().join("outside.folio")).unwrap();
    assert!(db.begin_read().unwrap().bucket("a").unwrap().is_some() && db.check().unwrap().is_ok());
}

fn open_mounted(path: &Path) {
    let [outside, inside] = ["outside.folio", "inside.folio"].map(|name| path.join(name));
    fs::write(&outside, "").unwrap();
    fs::write(&inside, "").unwrap();
    let name = |path: &Path| CString::new(path.as_os_str().as_bytes()).unwrap();
    let (from, to, none, root) = (name(&outside), name(&inside), std::ptr::null(), c"/".as_ptr());
    // SAFETY: the strings live until the calls are done.
    let is_mounted = unsafe {
        libc::unshare(libc::CLONE_NEWNS) == 0
            && libc::mount(none, root, none, libc::MS_REC | libc::MS_PRIVATE, none.cast()) == 0
            && libc::mount(from.as_ptr(), to.as_ptr(), none, libc::MS_BIND, none.cast()) == 0
    };
    if !is_mounted {
        println!("skipped");
        return;
    }
    for _ in 0..2 {
        Database::open(&inside).unwrap().exec(|txn| txn.bucket_mut("a")?.put("k", "v")).unwrap();
    }
    assert_eq!(outside.metadata().unwrap().ino(), inside.metadata().unwrap().ino());
}
