//! `bench`: that it measures what it says, and leaves everything as it was.

use std::fs;

use crate::tool::{DATABASE, Run, Tool};

/// Short, because nobody looks at the figures.
const QUICK: [&str; 2] = ["--seconds", "0.02"];

fn bench(tool: &Tool, args: &[&str]) -> Run {
    tool.run([&["bench"], args, &QUICK].concat())
}

/// The part of the output that is about `what`.
fn part<'a>(said: &'a str, what: &str) -> &'a str {
    let mut parts = said.split("\n\n");
    parts.find(|part| part.starts_with(&format!("{what}: "))).unwrap_or_else(|| panic!("no {what} in {said}"))
}

fn assert_measured(said: &str) {
    for (what, rate) in [("get", " gets/s"), ("scan", " scans/s, "), ("commit", " commits/s")] {
        let part = part(said, what);
        for figure in [rate, "p50 ", "  p90 ", "  p99 ", "  p99.9 ", "  max "] {
            assert!(part.contains(figure), "no {figure:?} in {part}");
        }
        assert!(part.lines().any(|line| line.contains("<= ") && line.contains('#')), "no bars in {part}");
    }
    assert!(said.is_ascii(), "plain where no terminal is: {said}");
}

#[test]
fn a_file_is_measured_and_stays_as_it_is() {
    let tool = Tool::with_fruit();
    tool.run(["put", DATABASE, "nuts", "hazel", "brown"]).succeeded();
    let before = fs::read(tool.path(DATABASE)).unwrap();
    let modified = fs::metadata(tool.path(DATABASE)).unwrap().modified().unwrap();
    let said = bench(&tool, &[DATABASE]).succeeded();
    assert_measured(&said);
    assert!(part(&said, "get").contains(" keys of 2 buckets"), "{said}");
    assert!(part(&said, "commit").contains("in a temporary database in . with 10,000 entries"), "{said}");

    let said = bench(&tool, &[DATABASE, "--bucket", "nuts", "--value-len", "7"]).succeeded();
    assert!(part(&said, "get").contains(" 1 random keys of bucket nuts"), "{said}");
    assert!(part(&said, "commit").contains("24 + 7 bytes"), "{said}");

    assert_eq!(fs::read(tool.path(DATABASE)).unwrap(), before);
    assert_eq!(fs::metadata(tool.path(DATABASE)).unwrap().modified().unwrap(), modified);
    assert_eq!(tool.files(), [DATABASE], "nothing stays behind");
}

#[test]
fn bars_are_coloured_where_colours_are_wanted() {
    let tool = Tool::with_fruit();
    let said = |variables: &[(&str, &str)]| {
        let mut command = tool.command([&["bench", DATABASE], &QUICK[..]].concat());
        command.env_remove("NO_COLOR").env_remove("CLICOLOR_FORCE").envs(variables.iter().copied());
        Run::from(command.output().unwrap()).succeeded()
    };
    let coloured = said(&[("CLICOLOR_FORCE", "1")]);
    assert!(coloured.contains("\x1b[36m█") && !coloured.contains('#'), "{coloured}");
    assert!(said(&[("CLICOLOR_FORCE", "1"), ("NO_COLOR", "1")]).is_ascii());
}

#[test]
fn a_temporary_database_is_measured_and_goes() {
    let tool = Tool::new();
    fs::create_dir(tool.path("place")).unwrap();
    let said = bench(&tool, &["--entries", "2000", "--dir", "place"]).succeeded();
    assert_measured(&said);
    assert!(said.contains("in place; 2,000 entries of 24 + 150 bytes"), "{said}");
    assert!(part(&said, "get").contains(" 2,000 random keys of bucket bench"), "{said}");
    assert_eq!(tool.files(), ["place"]);
    assert_eq!(fs::read_dir(tool.path("place")).unwrap().count(), 0);
}

#[test]
fn what_cannot_be_measured_is_an_error() {
    let tool = Tool::with_fruit();
    bench(&tool, &[DATABASE, "--bucket", "friut"]).failed(1, &[DATABASE, "no bucket friut", "fruit"]);
    bench(&tool, &["missing.folio"]).failed(2, &["missing.folio", "no such file"]);
    tool.write("notes.txt", "some text");
    bench(&tool, &["notes.txt"]).failed(2, &["notes.txt", "not a folio database"]);
    bench(&tool, &[DATABASE, "--dir", "missing"]).failed(2, &["missing: ", "--dir"]);
    bench(&tool, &["--entries", "10", "--dir", "notes.txt"]).failed(2, &["notes.txt: ", "--dir"]);
    bench(&tool, &["--entries", "0"]).failed(2, &["--entries"]);
    bench(&tool, &[DATABASE, "--entries", "1"]).failed(2, &["--entries"]);
    bench(&tool, &[]).failed(2, &["<FILE>", "--help"]);
    tool.run(["bench", DATABASE, "--seconds", "0"]).failed(2, &["--seconds"]);

    tool.run(["delete", DATABASE, "fruit", "apple"]).succeeded();
    for key in ["banana", "blueberry", "cherry"] {
        tool.run(["delete", DATABASE, "fruit", key]).succeeded();
    }
    bench(&tool, &[DATABASE]).failed(1, &[DATABASE, "no entries", "--entries"]);
}

#[test]
fn a_damaged_page_ends_it() {
    let tool = Tool::with_fruit();
    tool.damage("blueberry");
    bench(&tool, &[DATABASE]).failed(2, &[DATABASE, "is corrupt: checksum mismatch", "run a check"]);
}
