//! `dump`: what it writes in each format, and where.

use std::fs::{self, File};
use std::io::Read;
use std::process::Stdio;

use crate::tool::{DATABASE, Run, Tool};

/// Two buckets, one with a name to escape, and an empty one.
fn tool() -> Tool {
    let tool = Tool::new();
    tool.run(["put", DATABASE, "a", "k\\x00", "v\\\\\u{e9}"]).succeeded();
    tool.run(["put", DATABASE, "b\\", "1,2", "\"x\"\\n"]).succeeded();
    tool.run_with(["load", DATABASE, "empty"], b"").succeeded();
    tool
}

fn dump(tool: &Tool, options: &[&str]) -> String {
    tool.run([&["dump", DATABASE], options].concat()).succeeded()
}

fn header(format: &str, name: &str) -> String {
    format!(
        "VERSION=3\nformat={format}\n{name}type=btree\nmapsize=16777216\nmaxreaders=126\ndb_pagesize=4096\nHEADER=END\n"
    )
}

#[test]
fn a_dump_is_what_mdb_dump_would_write() {
    let tool = tool();
    let [a, b, empty] = ["database=a\n", "database=b\\\n", "database=empty\n"].map(|name| header("bytevalue", name));
    let expected = format!("{a} 6b00\n 765cc3a9\nDATA=END\n{b} 312c32\n 2278220a\nDATA=END\n{empty}DATA=END\n");
    assert_eq!(dump(&tool, &[]), expected);
    assert_eq!(dump(&tool, &["a", "b\\", "empty", "--format", "dump"]), expected);

    let print = format!("{} k\\00\n v\\5c\\c3\\a9\nDATA=END\n", header("print", "database=a\n"));
    assert_eq!(dump(&tool, &["a", "--print"]), print);
    assert_eq!(dump(&tool, &["a", "--print", "--no-name"]), print.replace("database=a\n", ""));
    assert!(dump(&tool, &["--mapsize", "1048576"]).contains("\nmapsize=1048576\n"));
}

#[test]
fn other_formats_name_the_bucket_unless_there_is_one() {
    let tool = tool();
    assert_eq!(dump(&tool, &["--format", "tsv"]), "a\tk\\x00\tv\\\\\u{e9}\nb\\\\\t1,2\t\"x\"\\n\n");
    assert_eq!(dump(&tool, &["--format", "tsv", "--hex"]), "a\t6b00\t765cc3a9\nb\\\\\t312c32\t2278220a\n");
    assert_eq!(dump(&tool, &["--format", "tsv", "a"]), "k\\x00\tv\\\\\u{e9}\n");
    assert_eq!(dump(&tool, &["--format", "csv"]), "bucket,key,value\na,k\0,v\\\u{e9}\nb\\,\"1,2\",\"\"\"x\"\"\n\"\n");
    assert_eq!(dump(&tool, &["--format", "csv", "b\\", "--hex"]), "key,value\n312c32,2278220a\n");
    assert_eq!(
        dump(&tool, &["--format", "jsonl"]),
        "{\"bucket\":\"a\",\"key\":\"k\\u0000\",\"value\":\"v\\\\\u{e9}\"}\n\
         {\"bucket\":\"b\\\\\",\"key\":\"1,2\",\"value\":\"\\\"x\\\"\\n\"}\n"
    );
    tool.run(["put", DATABASE, "c", "--hex", "ff", "61"]).succeeded();
    assert_eq!(dump(&tool, &["--format", "jsonl", "c"]), "{\"key_hex\":\"ff\",\"value\":\"a\"}\n");
    assert_eq!(dump(&tool, &["--format", "jsonl", "c", "--hex"]), "{\"key\":\"ff\",\"value\":\"61\"}\n");
}

#[test]
fn the_output_file_is_replaced_whole_and_names_the_format() {
    let tool = tool();
    tool.write("all.csv", "earlier");
    for (name, start) in [("all.csv", "bucket,"), ("all.jsonl", "{"), ("all.tsv", "a\t"), ("all", "VERSION=3\n")] {
        assert_eq!(dump(&tool, &["--output", name]), "");
        let written = fs::read_to_string(tool.path(name)).unwrap();
        assert!(written.starts_with(start) && written.ends_with('\n'), "{name}: {written}");
    }
    assert_eq!(dump(&tool, &["-o", "all.csv", "--format", "tsv"]), "");
    assert_eq!(fs::read_to_string(tool.path("all.csv")).unwrap(), dump(&tool, &["--format", "tsv"]));

    assert_eq!(dump(&tool, &["-o", "-"]), dump(&tool, &[]));

    // A dump that fails leaves the earlier file, and nothing beside it.
    let before = tool.files();
    tool.run(["dump", DATABASE, "missing", "-o", "all.csv"]).failed(1, &["no bucket missing"]);
    tool.run(["dump", DATABASE, "-o", "no/such/all"]).failed(2, &["no/such/all", "choose another path"]);
    tool.run(["dump", DATABASE, "-o", DATABASE]).failed(2, &[DATABASE, "the database itself"]);
    assert_eq!(tool.files(), before);
    assert_eq!(fs::read_to_string(tool.path("all.csv")).unwrap(), dump(&tool, &["--format", "tsv"]));
    assert_eq!(tool.buckets(), ["a", "b\\", "empty"]);
}

#[cfg(unix)]
#[test]
fn the_output_file_gets_the_mode_of_any_new_file() {
    use std::os::unix::fs::PermissionsExt;
    let tool = tool();
    dump(&tool, &["-o", "all"]);
    tool.write("other", "");
    let mode = |name| fs::metadata(tool.path(name)).unwrap().permissions().mode();
    assert_eq!(mode("all"), mode("other"));
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_an_error() {
    let tool = tool();
    tool.run(["dump", DATABASE, "-o", "/dev/full"]).failed(2, &["cannot write the output", "No space left"]);
    for format in ["dump", "tsv", "csv", "jsonl"] {
        let full = File::options().write(true).open("/dev/full").unwrap();
        let output = tool.command(["dump", DATABASE, "--format", format]).stdout(full).output().unwrap();
        Run::from(output).failed(2, &["cannot write the output", "No space left"]);
    }
}

#[test]
fn a_closed_pipe_is_a_quiet_end() {
    let tool = Tool::new();
    // Much more than a pipe and the buffers hold, so that the tool is still writing when its reader goes.
    let lines: String = (0..50_000).map(|number| format!("{number:08}\tsome value\n")).collect();
    tool.run_with(["load", DATABASE, "b"], lines.as_bytes()).succeeded();
    for format in ["dump", "tsv", "csv", "jsonl"] {
        let mut child = tool.command(["dump", DATABASE, "--format", format]).stdin(Stdio::null()).spawn().unwrap();
        child.stdout.take().unwrap().read_exact(&mut [0; 9]).unwrap();
        let run = Run::from(child.wait_with_output().unwrap());
        assert_eq!((run.code, run.err.as_str()), (0, ""), "{format}");
    }
}

#[test]
fn what_cannot_be_dumped_is_refused() {
    let tool = tool();
    tool.run(["dump", DATABASE, "a", "frist"]).failed(1, &[DATABASE, "no bucket frist", "there are: a, "]);
    tool.run(["dump", "missing.folio"]).failed(2, &["missing.folio", "no such file"]);
    tool.write("notes.txt", "some text\n".repeat(10_000));
    tool.run(["dump", "notes.txt"]).failed(2, &["notes.txt", "not a folio database"]);

    tool.run(["put", DATABASE, "two\nlines", "k", "v"]).succeeded();
    let run = tool.run(["dump", DATABASE]);
    assert_eq!(run.out, "");
    run.failed(2, &["two\\nlines", "--format tsv"]);
    assert_eq!(dump(&tool, &["two\nlines", "--format", "tsv"]), "k\tv\n");
    assert!(dump(&tool, &["two\nlines", "--no-name"]).ends_with(" 6b\n 76\nDATA=END\n"));
}

#[test]
fn options_that_say_nothing_are_wrong_usage() {
    let tool = tool();
    for options in [
        &["--print", "--format", "tsv"][..],
        &["--mapsize", "1000000", "--format", "csv"],
        &["--no-name", "--format", "jsonl", "a"],
        &["--no-name"],
        &["--no-name", "a", "empty"],
        &["--hex"],
    ] {
        tool.run([&["dump", DATABASE], options].concat()).failed(2, &[options[0], ": "]);
    }
    assert_eq!(tool.run(["dump", DATABASE, "--format", "xml"]).code, 2);
}

#[test]
fn damage_ends_a_dump_and_leaves_no_file() {
    let tool = Tool::new();
    let lines: String = (0..5_000).map(|number| format!("{number:08}\tsome value\n")).collect();
    tool.run_with(["load", DATABASE, "b"], lines.as_bytes()).succeeded();
    let mut bytes = fs::read(tool.path(DATABASE)).unwrap();
    let at = (0..bytes.len()).find(|&at| bytes[at..].starts_with(b"00004000")).unwrap();
    bytes[at] ^= 1;
    tool.write(DATABASE, bytes);
    let before = tool.files();
    tool.run(["dump", DATABASE, "-o", "all"]).failed(2, &[DATABASE, "corrupt"]);
    assert_eq!(tool.files(), before);
    let run = tool.run(["dump", DATABASE]);
    assert!(!run.out.ends_with("DATA=END\n"), "what is incomplete does not look complete");
    run.failed(2, &["corrupt"]);
}

#[test]
fn the_help_has_examples() {
    let help = Tool::new().run(["dump", "--help"]).succeeded();
    assert!(help.contains("Examples: folio dump ") && help.contains("mdb_load"), "{help}");
}
