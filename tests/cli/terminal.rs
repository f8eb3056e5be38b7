//! `shell` at a terminal: prompt, completion, history, Ctrl-C and Ctrl-D, over a pseudo-terminal.

use std::fs;
use std::process::Command;

use rexpect::process::WaitStatus;
use rexpect::session::{PtySession, spawn_command};

use crate::tool::{DATABASE, Tool};

/// Much more than any answer takes on a machine that is busy, in milliseconds.
const TIMEOUT: u64 = 20_000;

const CTRL_U: &str = "\u{15}";

impl Tool {
    fn terminal(&self) -> PtySession {
        let mut command = Command::new(env!("CARGO_BIN_EXE_folio"));
        command.args(["shell", DATABASE]).current_dir(self.path("."));
        command.env("TERM", "xterm").env("XDG_STATE_HOME", self.path("state"));
        spawn_command(command, Some(TIMEOUT)).unwrap()
    }
}

/// Types without the end of a line.
fn keys(session: &mut PtySession, keys: &str) {
    session.send(keys).unwrap();
    session.flush().unwrap();
}

/// Types a line and waits for what it says.
fn line(session: &mut PtySession, line: &str, answer: &str) {
    session.send_line(line).unwrap();
    session.exp_string(answer).unwrap();
}

fn ends_with(session: &mut PtySession, code: i32) {
    session.exp_eof().unwrap();
    let status = session.process().wait().unwrap();
    assert!(matches!(status, WaitStatus::Exited(_, exited) if exited == code), "{status:?}");
}

#[test]
fn the_prompt_shows_bucket_and_transaction_and_errors_do_not_end_it() {
    let tool = Tool::new();
    let mut session = tool.terminal();
    session.exp_string("0 buckets; .help explains").unwrap();
    session.exp_string("main> ").unwrap();
    line(&mut session, "set k 'two words'", "main> ");
    line(&mut session, "fly", "folio: no command fly; see .help");
    line(&mut session, "get k", "\"two words\"\r\n");
    line(&mut session, "begin", "main*> ");
    line(&mut session, "use 'my bucket'", "\"my bucket\"*> ");
    line(&mut session, "set a b", "\"my bucket\"*> ");
    line(&mut session, "commit", "\"my bucket\"> ");
    line(&mut session, ".exit", "\r\n");
    ends_with(&mut session, 0);
    assert_eq!(tool.buckets(), ["main", "my bucket"]);
}

#[test]
fn tab_completes_commands_and_buckets() {
    let tool = Tool::with_fruit();
    let mut session = tool.terminal();
    session.exp_string("main> ").unwrap();
    keys(&mut session, "buc\t");
    line(&mut session, "", "fruit\r\n");
    session.exp_string("main> ").unwrap();
    keys(&mut session, "use fr\t");
    line(&mut session, "", "fruit> ");
    keys(&mut session, ".mo\t he\t");
    line(&mut session, "", "fruit> ");
    line(&mut session, "get apple", "x:726564");
    session.send_control('d').unwrap();
    ends_with(&mut session, 0);
}

#[test]
fn ctrl_c_clears_the_line_and_ctrl_d_ends() {
    let tool = Tool::new();
    let mut session = tool.terminal();
    session.exp_string("main> ").unwrap();
    keys(&mut session, "set a wrong");
    session.exp_string("wrong").unwrap();
    session.send_control('c').unwrap();
    session.exp_string("main> ").unwrap();
    line(&mut session, "get a", "(nil)");
    session.exp_string("main> ").unwrap();
    line(&mut session, "begin", "main*> ");
    line(&mut session, "set a 1", "main*> ");
    session.send_control('d').unwrap();
    session.exp_string("folio: the input ended in a transaction, which is rolled back").unwrap();
    ends_with(&mut session, 2);
    assert_eq!(tool.run_with(["shell", DATABASE], b"get a").succeeded(), "(nil)\n");
}

#[test]
fn ctrl_c_ends_a_scan_and_not_the_shell() {
    let tool = Tool::new();
    // So much that the end is far when the first of it is seen.
    let value = "v".repeat(100);
    let lines: String = (0..200_000).map(|number| format!("{number:08}\t{value}\n")).collect();
    tool.run_with(["load", DATABASE, "main"], lines.as_bytes()).succeeded();
    let mut session = tool.terminal();
    session.exp_string("main> ").unwrap();
    line(&mut session, "scan", "00000010\t");
    session.send_control('c').unwrap();
    session.exp_string("folio: interrupted after ").unwrap();
    session.exp_string("main> ").unwrap();
    line(&mut session, "count", "200000\r\n");
    session.exp_string("main> ").unwrap();
    session.send_control('d').unwrap();
    ends_with(&mut session, 0);
}

#[test]
fn lines_are_kept_for_the_next_time() {
    let tool = Tool::new();
    let mut session = tool.terminal();
    session.exp_string("main> ").unwrap();
    line(&mut session, "set a first", "main> ");
    session.send_control('d').unwrap();
    ends_with(&mut session, 0);
    assert!(fs::read_to_string(tool.path("state/folio/history")).unwrap().contains("set a first"));

    // The line before, by the arrow up.
    let mut session = tool.terminal();
    session.exp_string("main> ").unwrap();
    keys(&mut session, "\u{1b}[A");
    session.exp_string("set a first").unwrap();
    keys(&mut session, CTRL_U);
    line(&mut session, ".exit", "\r\n");
    ends_with(&mut session, 0);
}

#[test]
fn without_a_place_for_the_history_there_is_none() {
    let tool = Tool::new();
    tool.write("state", "a file, where a directory is needed");
    let mut session = tool.terminal();
    session.exp_string("main> ").unwrap();
    line(&mut session, "set a 1", "main> ");
    session.send_control('d').unwrap();
    ends_with(&mut session, 0);
}
