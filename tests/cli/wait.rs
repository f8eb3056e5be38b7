//! `--wait`: what a command does while another process has the database open.

use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use folio::Database;

use crate::tool::{DATABASE, Run, Tool};

/// Every command that opens a database, with what else it needs.
const COMMANDS: [&[&str]; 16] = [
    &["put", DATABASE, "fruit", "fig", "purple"],
    &["get", DATABASE, "fruit", "fig"],
    &["delete", DATABASE, "fruit", "fig"],
    &["load", DATABASE, "fruit", "empty.tsv"],
    &["dump", DATABASE],
    &["scan", DATABASE, "fruit"],
    &["stat", DATABASE],
    &["check", DATABASE],
    &["shell", DATABASE],
    &["shell", DATABASE, "--read-only"],
    &["verify", DATABASE],
    &["backup", DATABASE, "copy.folio"],
    &["restore", "copy.folio", DATABASE, "--force"],
    &["compact", DATABASE],
    &["map", DATABASE, "--out", "map.svg"],
    &["tree", DATABASE, "--out", "tree.svg"],
];

#[test]
fn every_command_waits_as_long_as_it_is_told() {
    let tool = Tool::with_fruit();
    tool.write("empty.tsv", "");
    tool.run(["backup", DATABASE, "copy.folio"]).succeeded();
    let held = Database::open(tool.path(DATABASE)).unwrap();
    for command in COMMANDS {
        tool.run(command).failed(2, &[DATABASE, "another process"]);
        let start = Instant::now();
        tool.run([command, &["--wait", "0.05"]].concat()).failed(2, &[DATABASE, "another process"]);
        assert!(start.elapsed() >= Duration::from_millis(50), "{command:?}");
    }
    tool.run(["get", DATABASE, "fruit", "fig"]).failed(2, &["--wait"]);
    tool.run(["bench", DATABASE, "--seconds", "0.01", "--wait", "0.05"]).failed(2, &["another process"]);
    tool.run(["demo", "--out", DATABASE, "--wait=0.05"]).failed(2, &["another process"]);
    drop(held);
    tool.run(["delete", DATABASE, "fruit", "apple", "--wait", "0"]).succeeded();
}

#[test]
fn a_command_goes_on_when_the_database_is_closed() {
    let tool = Tool::with_fruit();
    tool.write("empty.tsv", "");
    for (command, wait) in COMMANDS.into_iter().zip(["--wait", "--wait=600"].into_iter().cycle()) {
        let held = Database::open(tool.path(DATABASE)).unwrap();
        let mut child = tool.command([command, &[wait]].concat()).spawn().unwrap();
        drop(child.stdin.take());
        thread::sleep(Duration::from_millis(50));
        assert!(child.try_wait().unwrap().is_none(), "{command:?}");
        drop(held);
        let run = Run::from(child.wait_with_output().unwrap());
        assert_eq!((run.code, run.err.as_str()), (0, ""), "{command:?}");
    }
}

#[test]
fn ctrl_c_ends_the_wait() {
    let tool = Tool::with_fruit();
    tool.run(["backup", DATABASE, "copy.folio"]).succeeded();
    let _held = Database::open(tool.path(DATABASE)).unwrap();
    for command in [
        &["put", DATABASE, "fruit", "fig", "purple"][..],
        &["backup", DATABASE, "other.folio"],
        &["restore", "copy.folio", DATABASE, "--force"],
        &["compact", DATABASE],
    ] {
        let mut child = tool.command([command, &["--wait"]].concat()).spawn().unwrap();
        thread::sleep(Duration::from_millis(100));
        assert!(child.try_wait().unwrap().is_none(), "{command:?}");
        let killed = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
        assert!(killed.success());
        assert!(!child.wait().unwrap().success(), "{command:?}");
    }
}

#[test]
fn a_wait_that_is_no_time_is_refused() {
    let tool = Tool::with_fruit();
    for wait in ["--wait=soon", "--wait=-1", "--wait=nan", "--wait=inf", "--wait=1e300"] {
        tool.run(["get", DATABASE, "fruit", "apple", wait]).failed(2, &["a number of seconds"]);
    }
    tool.run(["get", "--wait", DATABASE, "fruit", "apple"]).failed(2, &["a number of seconds", "last"]);
}
