//! A system that refuses or takes no notice: kernels that do not know an advice, children made by `fork`.
//!
//! Functions of the C library that this file defines take the place of the real ones in this test binary.
#![cfg(target_os = "linux")]
#![allow(unsafe_code)] // To stand in for the C library, to fork, and to become another user, there is no other way.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use folio::{Database, Durability, Error, Options, ReadTxn, Result};
use libc::{c_int, c_void, size_t};

fn fail(code: c_int) -> c_int {
    // SAFETY: the address of this thread's own `errno`.
    unsafe { *libc::__errno_location() = code };
    -1
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

/// Runs `another_process` in a role, as a process of its own, which must succeed.
fn run(role: &str, path: &Path, wipe: &str) {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "another_process", "--nocapture"]).env(ROLE, role).env(PATH, path).env(WIPE, wipe);
    let output = command.stdin(Stdio::null()).output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    assert!(output.status.success(), "{role}, {wipe}: {}", String::from_utf8_lossy(&said));
}

/// Not a test of its own: what other tests run as another process, in the role that the environment names.
#[test]
fn another_process() {
    let Ok(role) = std::env::var(ROLE) else { return };
    let path = PathBuf::from(std::env::var_os(PATH).unwrap());
    match role.as_str() {
        "fork" => use_after_fork(&path),
        "fork unnoticed" => write_after_unnoticed_fork(&path),
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
        run("fork", dir.path(), wipe);
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
        run("fork unnoticed", dir.path(), wipe);
        let db = Options::new().create(false).open(dir.path().join("a.folio")).unwrap();
        assert_eq!(db.begin_read().unwrap().bucket("a").unwrap().unwrap().len(), 1);
        assert!(db.check().unwrap().is_ok());
    }
}
