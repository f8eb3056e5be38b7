//! `backup`, `restore`, `verify` and `compact`: what they make, what they refuse, and what they leave behind.

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use folio::{Database, Options};

use crate::tool::{DATABASE, Run, Tool};

const COPY: &str = "copy.folio";

/// With some MiB in two buckets, of which a part was deleted again.
fn with_much() -> Tool {
    let tool = Tool::new();
    let db = Database::open(tool.path(DATABASE)).unwrap();
    let key = |n: u32| n.to_be_bytes();
    db.exec(|txn| (0..100_000).try_for_each(|n| txn.bucket_mut("small")?.append(key(n), [n as u8; 80]))).unwrap();
    db.exec(|txn| (0..100).try_for_each(|n| txn.bucket_mut("large")?.append(key(n), vec![n as u8; 50_000]))).unwrap();
    db.exec(|txn| txn.bucket_mut("small")?.delete_range(key(20_000)..key(60_000)).map(drop)).unwrap();
    tool
}

/// The names of the files that a tool has around it.
fn files(tool: &Tool) -> Vec<String> {
    let entries = fs::read_dir(tool.path(".")).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Flips a bit of each place in the file where a key stands.
fn damage(tool: &Tool, name: &str, key: &[u8]) {
    let mut bytes = fs::read(tool.path(name)).unwrap();
    let places: Vec<usize> = (0..bytes.len()).filter(|&at| bytes[at..].starts_with(key)).collect();
    assert!(!places.is_empty());
    places.into_iter().for_each(|at| bytes[at] ^= 1);
    fs::write(tool.path(name), bytes).unwrap();
}

#[test]
fn a_backup_is_made_verified_and_restored() {
    for exact in [false, true] {
        let tool = with_much();
        let before = fs::read(tool.path(DATABASE)).unwrap();
        let options: &[&str] = if exact { &["--exact"] } else { &[] };
        let said = tool.run([&["backup", DATABASE, COPY], options].concat()).succeeded();
        assert!(said.starts_with("copy.folio: ") && said.ends_with(" bytes, transaction 4\n"), "{said}");
        assert!(fs::read(tool.path(DATABASE)).unwrap() == before);
        let said = tool.run(["verify", COPY, "--against", DATABASE]).succeeded();
        assert!(said.starts_with("ok: ") && said.ends_with("2 buckets, 60,100 entries, transaction 4\n"), "{said}");

        let said = tool.run(["restore", COPY, "again.folio"]).succeeded();
        assert!(said.starts_with("again.folio: "), "{said}");
        tool.run(["check", "again.folio"]).succeeded();
        assert_eq!(tool.run(["put", "again.folio", "small", "k", "v"]).succeeded(), "");
        let scan = |file| tool.run(["scan", file, "large"]).succeeded();
        assert_eq!(scan("again.folio"), scan(DATABASE));
        assert_eq!(files(&tool), ["again.folio", COPY, DATABASE]);
    }
}

#[test]
fn what_is_there_is_replaced_only_by_force() {
    let tool = Tool::with_fruit();
    tool.write(COPY, "something else");
    fs::set_permissions(tool.path(COPY), PermissionsExt::from_mode(0o640)).unwrap();
    tool.run(["backup", DATABASE, COPY]).failed(2, &[COPY, "there is a file already", "--force"]);
    tool.run(["restore", DATABASE, COPY]).failed(2, &[COPY, "there is a file already", "--force"]);
    assert_eq!(fs::read(tool.path(COPY)).unwrap(), b"something else");
    for command in ["backup", "restore"] {
        tool.run([command, DATABASE, COPY, "--force"]).succeeded();
        tool.run(["verify", COPY, "--against", DATABASE]).succeeded();
        assert_eq!(tool.path(COPY).metadata().unwrap().mode() & 0o777, 0o640);
    }
    tool.run(["backup", DATABASE, ".", "--force"]).failed(2, &["Is a directory"]);
    tool.run(["backup", DATABASE, "none/copy.folio"]).failed(2, &["none/copy.folio", "No such file"]);
}

#[test]
fn a_database_is_not_replaced_by_its_own_backup() {
    let tool = Tool::with_fruit();
    let before = fs::read(tool.path(DATABASE)).unwrap();
    fs::hard_link(tool.path(DATABASE), tool.path("hard.folio")).unwrap();
    symlink(DATABASE, tool.path("soft.folio")).unwrap();
    for target in [DATABASE, "hard.folio", "soft.folio", "./test.folio"] {
        for command in ["backup", "restore"] {
            tool.run([command, DATABASE, target, "--force"]).failed(2, &[target, "has the file open", "another path"]);
        }
    }
    assert_eq!(fs::read(tool.path(DATABASE)).unwrap(), before);
    assert_eq!(files(&tool), ["hard.folio", "soft.folio", DATABASE]);
}

#[test]
fn sources_that_are_none_leave_nothing_behind() {
    let tool = Tool::with_fruit();
    tool.write("notes.txt", "some text\n".repeat(10_000));
    tool.write("damaged.folio", fs::read(tool.path(DATABASE)).unwrap());
    damage(&tool, "damaged.folio", b"blueberry");
    for command in ["backup", "restore"] {
        tool.run([command, "notes.txt", COPY]).failed(2, &["notes.txt: not a folio database"]);
        tool.run([command, "none.folio", COPY]).failed(2, &["none.folio", "no such file"]);
    }
    tool.run(["backup", "damaged.folio", COPY]).failed(2, &["damaged.folio: page ", "checksum mismatch"]);
    tool.run(["backup", "damaged.folio", COPY, "--exact"]).failed(2, &["damaged.folio: page ", "checksum mismatch"]);
    tool.run(["restore", "damaged.folio", COPY]).failed(1, &["damaged.folio: damaged: bucket \"fruit\": page "]);
    tool.run(["verify", "damaged.folio"]).failed(1, &["checksum mismatch", "1 problem in all", "folio check"]);
    tool.run(["compact", "damaged.folio"]).failed(2, &["damaged.folio: page ", "checksum mismatch"]);
    tool.run(["compact", "notes.txt"]).failed(2, &["notes.txt: not a folio database"]);
    tool.run(["compact", "none.folio"]).failed(2, &["none.folio", "no such file"]);
    assert_eq!(files(&tool), ["damaged.folio", "notes.txt", DATABASE]);
}

#[test]
fn verify_tells_the_first_difference() {
    let tool = Tool::with_fruit();
    tool.run(["backup", DATABASE, COPY]).succeeded();
    let verify = || tool.run(["verify", COPY, "--against", DATABASE]);
    tool.run(["put", DATABASE, "fruit", "banana", "green"]).succeeded();
    verify().failed(1, &[COPY, "differs from test.folio: bucket fruit, key banana", "transaction 2, the other of 3"]);
    tool.run(["put", DATABASE, "fruit", "banana", "yellow"]).succeeded();
    verify().succeeded();
    tool.run(["put", DATABASE, "fruit", "date", "brown"]).succeeded();
    verify().failed(1, &["bucket fruit, key date"]);
    tool.run(["delete", DATABASE, "fruit", "date"]).succeeded();
    tool.run(["delete", DATABASE, "fruit", "apple"]).succeeded();
    verify().failed(1, &["bucket fruit, key apple"]);
    tool.run(["put", DATABASE, "nuts", "hazel", "brown"]).succeeded();
    verify().failed(1, &["bucket nuts is missing"]);
    tool.run(["verify", DATABASE, "--against", COPY]).failed(1, &["bucket nuts is only here"]);
    tool.run(["verify", COPY, "--against", "none.folio"]).failed(2, &["none.folio", "no such file"]);
    tool.write("notes.txt", "some text\n".repeat(10_000));
    tool.run(["verify", COPY, "--against", "notes.txt"]).failed(2, &["notes.txt: not a folio database"]);
}

#[test]
fn a_writer_keeps_others_out_and_a_reader_does_not() {
    let tool = Tool::with_fruit();
    let writer = Database::open(tool.path(DATABASE)).unwrap();
    let parts = [DATABASE, "another process has it open for writing", "ReadTxn::backup"];
    tool.run(["backup", DATABASE, COPY]).failed(2, &parts);
    tool.run(["compact", DATABASE]).failed(2, &[DATABASE, "locked by another process"]);
    drop(writer);
    let reader = Options::new().read_only(true).open(tool.path(DATABASE)).unwrap();
    tool.run(["backup", DATABASE, COPY]).succeeded();
    tool.run(["compact", DATABASE]).failed(2, &[DATABASE, "locked by another process"]);
    tool.run(["restore", COPY, DATABASE, "--force"]).failed(2, &[DATABASE, "another process has the file open"]);
    drop(reader);
    tool.run(["restore", COPY, DATABASE, "--force"]).succeeded();
    assert_eq!(files(&tool), [COPY, DATABASE]);
}

#[test]
fn stdout_takes_a_backup() {
    let tool = with_much();
    for options in [&[][..], &["--exact"]] {
        let output = tool.command([&["backup", DATABASE, "-"], options].concat()).output().unwrap();
        assert!(output.status.success() && output.stderr.is_empty());
        tool.write(COPY, output.stdout);
        tool.run(["verify", COPY, "--against", DATABASE]).succeeded();
    }
    // A reader that goes before the end has no backup, and is told so.
    let mut child = tool.command(["backup", DATABASE, "-"]).spawn().unwrap();
    child.stdout.take().unwrap().read_exact(&mut [0; 10]).unwrap();
    Run::from(child.wait_with_output().unwrap()).failed(2, &["stdout: writing the backup", "pipe"]);

    if let Ok(full) = File::options().write(true).open("/dev/full") {
        let output = tool.command(["backup", DATABASE, "-"]).stdout(full).output().unwrap();
        Run::from(output).failed(2, &["stdout: writing the backup", "No space left"]);
    }
}

#[test]
fn a_full_disk_is_said_and_left_clean() {
    let tool = with_much();
    let mount = tool.path("mount");
    fs::create_dir(&mount).unwrap();
    let run = |command: &mut Command| command.stderr(Stdio::null()).status().is_ok_and(|status| status.success());
    if !run(Command::new("mount").args(["-t", "tmpfs", "-o", "size=4m", "tmpfs"]).arg(&mount)) {
        return println!("skipped: no file system can be mounted here");
    }
    let runs = [&[][..], &["--exact"]].map(|options| {
        let run = tool.run([&["backup", DATABASE, "mount/copy.folio"], options].concat());
        (run, fs::read_dir(&mount).unwrap().count())
    });
    // More than fits, into a new database, and into one that has something already.
    let lines: Vec<u8> = (0..80_000).flat_map(|n| format!("key {n}\tvalue {n:0100}\n").into_bytes()).collect();
    let new = (tool.run_with(["load", "mount/new.folio", "b"], &lines), fs::read_dir(&mount).unwrap().count());
    tool.run(["put", "mount/old.folio", "b", "kept", "1"]).succeeded();
    let old = tool.run_with(["load", "mount/old.folio", "b"], &lines);
    let kept = [&["scan", "mount/old.folio", "b"][..], &["verify", "mount/old.folio"]].map(|args| tool.run(args));
    let put = tool.run(["put", "mount/old.folio", "b", "more", "2"]);
    assert!(run(Command::new("umount").arg(&mount)));
    for (run, left) in runs {
        run.failed(2, &["mount/copy.folio: making room for the backup", "No space left"]);
        assert_eq!(left, 0);
    }
    new.0.failed(2, &["mount/new.folio", "No space left"]);
    assert_eq!(new.1, 0);
    old.failed(2, &["mount/old.folio", "No space left"]);
    let [scanned, verified] = kept;
    assert_eq!(scanned.succeeded(), "kept\t1\n");
    verified.succeeded();
    put.succeeded();
}

/// Interrupted in the midst of it, or a moment too late: there is nothing, or all of it.
#[test]
fn ctrl_c_takes_everything_back() {
    let tool = with_much();
    for (signal, args) in [
        ("-INT", &["backup", DATABASE, COPY][..]),
        ("-TERM", &["backup", DATABASE, COPY, "--exact"]),
        ("-INT", &["restore", DATABASE, COPY]),
        ("-INT", &["compact", DATABASE]),
    ] {
        let before = files(&tool);
        let is_interrupted = (0..50).any(|_| {
            let mut child = tool.command(args).spawn().unwrap();
            let start = Instant::now();
            while files(&tool) == before && start.elapsed() < Duration::from_secs(60) {
                std::thread::yield_now();
            }
            let mut kill = Command::new("kill");
            kill.args([signal, &child.id().to_string()]).stderr(Stdio::null());
            let is_there = child.try_wait().unwrap().is_none();
            assert!(!is_there || kill.status().is_ok());
            let run = Run::from(child.wait_with_output().unwrap());
            if run.code == 0 {
                run.succeeded();
                tool.run(["verify", args[args.len().min(3) - 1]]).succeeded();
                let _made = fs::remove_file(tool.path(COPY));
                return false;
            }
            run.failed(130, &["interrupted; no file has changed"]);
            assert_eq!(files(&tool), before);
            true
        });
        assert!(is_interrupted, "{args:?} was never interrupted");
    }
}

/// Killed in the midst of it, a compaction leaves the database as it was, and files that the next one removes.
#[test]
fn compact_tidies_up_after_one_that_was_killed() {
    let tool = with_much();
    let before = files(&tool);
    let has_left = (0..50).any(|_| {
        let mut child = tool.command(["compact", DATABASE]).stdout(Stdio::null()).spawn().unwrap();
        while files(&tool).len() < before.len() + 2 && child.try_wait().unwrap().is_none() {
            std::thread::yield_now();
        }
        // One that is done cannot be killed any more.
        let _done = child.kill();
        child.wait().unwrap();
        files(&tool) != before
    });
    assert!(has_left, "none was killed half way");
    tool.run(["compact", DATABASE]).succeeded();
    assert_eq!(files(&tool), before);
    tool.run(["check", DATABASE]).succeeded();
}

#[test]
fn compact_gives_the_space_back() {
    let tool = with_much();
    let path = tool.path(DATABASE);
    tool.run(["backup", DATABASE, COPY, "--exact"]).succeeded();
    fs::set_permissions(&path, PermissionsExt::from_mode(0o640)).unwrap();
    let before = path.metadata().unwrap();
    let said = tool.run(["compact", DATABASE]).succeeded();
    let after = path.metadata().unwrap();
    assert!(after.len() < before.len() * 3 / 4, "{said}");
    assert_eq!(said.replace(',', ""), format!("{} bytes before {} after\n", before.len(), after.len()));
    assert_eq!((after.mode(), after.uid(), after.gid()), (before.mode(), before.uid(), before.gid()));
    tool.run(["verify", DATABASE, "--against", COPY]).succeeded();
    let stat = tool.json();
    assert_eq!((stat["free_pages"].as_u64(), stat["txn_id"].as_u64()), (Some(14), Some(4)));

    // Through a link, which stays one; a second name is refused.
    symlink(DATABASE, tool.path("soft.folio")).unwrap();
    tool.run(["compact", "soft.folio"]).succeeded();
    assert!(tool.path("soft.folio").symlink_metadata().unwrap().is_symlink());
    fs::hard_link(&path, tool.path("hard.folio")).unwrap();
    tool.run(["compact", DATABASE]).failed(2, &["hard links"]);
    assert_eq!(tool.run(["put", DATABASE, "small", "k", "v"]).succeeded(), "");
    tool.run(["check", DATABASE]).succeeded();
    assert_eq!(files(&tool), [COPY, "hard.folio", "soft.folio", DATABASE]);
}
