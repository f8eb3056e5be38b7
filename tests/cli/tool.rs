//! The binary under test in a directory of its own, and what a run of it left behind. Every module here runs it so.

use std::ffi::OsStr;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

pub const DATABASE: &str = "test.folio";

/// A temporary directory in which the tool runs.
pub struct Tool {
    dir: TempDir,
}

/// What a run of the tool left behind.
#[derive(Debug)]
pub struct Run {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Tool {
    pub fn new() -> Tool {
        Tool { dir: tempfile::tempdir().unwrap() }
    }

    /// In memory where the system has a place for that: mdb_load syncs thousands of times.
    pub fn in_memory() -> Tool {
        let memory = Path::new("/dev/shm");
        let dir = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
        Tool { dir: dir.unwrap() }
    }

    /// With a bucket `fruit` of four entries.
    pub fn with_fruit() -> Tool {
        let tool = Tool::new();
        let lines = "apple\tred\nbanana\tyellow\nblueberry\tblue\ncherry\tdark\\tred\n";
        tool.run_with(["load", DATABASE, "fruit"], lines.as_bytes()).succeeded();
        tool
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn write(&self, name: &str, contents: impl AsRef<[u8]>) {
        fs::write(self.path(name), contents).unwrap();
    }

    /// The names of all files there.
    pub fn files(&self) -> Vec<String> {
        let entries = fs::read_dir(self.dir.path()).unwrap();
        let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    /// Flips a bit of the database wherever these bytes are.
    pub fn damage(&self, text: &str) {
        let mut bytes = fs::read(self.path(DATABASE)).unwrap();
        let places: Vec<usize> = (0..bytes.len()).filter(|&at| bytes[at..].starts_with(text.as_bytes())).collect();
        assert!(!places.is_empty(), "{text} is in the file as it is");
        for at in places {
            bytes[at] ^= 1;
        }
        fs::write(self.path(DATABASE), bytes).unwrap();
    }

    pub fn command(&self, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_folio"));
        command.args(args).current_dir(self.dir.path());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    pub fn run(&self, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Run {
        self.run_with(args, b"")
    }

    pub fn run_with(&self, args: impl IntoIterator<Item = impl AsRef<OsStr>>, input: &[u8]) -> Run {
        let mut child = self.command(args).spawn().unwrap();
        let written = child.stdin.take().unwrap().write_all(input);
        let run = Run::from(child.wait_with_output().unwrap());
        // The tool may end before it has read all of its input, but only with an error.
        assert!(written.is_ok() || run.code != 0, "{written:?} {run:?}");
        run
    }

    /// The names of the buckets that `stat` shows.
    pub fn buckets(&self) -> Vec<String> {
        let stat = self.json();
        let buckets = stat["buckets"].as_array().unwrap();
        buckets.iter().map(|bucket| bucket["name"].as_str().unwrap().to_owned()).collect()
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.run(["stat", DATABASE, "--json"]).succeeded()).unwrap()
    }
}

impl From<Output> for Run {
    fn from(output: Output) -> Run {
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Run { code: output.status.code().unwrap(), out: text(output.stdout), err: text(output.stderr) }
    }
}

impl Run {
    /// Exit code 0 and nothing on stderr. Returns what was printed.
    #[track_caller]
    pub fn succeeded(self) -> String {
        assert_eq!((self.code, self.err.as_str()), (0, ""), "{self:?}");
        self.out
    }

    /// This exit code and one line on stderr, which has each of `parts`.
    #[track_caller]
    pub fn failed(self, code: i32, parts: &[&str]) {
        assert_eq!(self.code, code, "{self:?}");
        assert!(self.err.starts_with("folio: ") && self.err.ends_with('\n'), "{self:?}");
        assert_eq!(self.err.lines().count(), 1, "{self:?}");
        for part in parts {
            assert!(self.err.contains(part), "no {part:?} in {:?}", self.err);
        }
    }
}
