//! `load`: inputs that name their buckets, how their format is found, and what becomes of malformed ones.

use std::io::Write;
use std::time::Duration;

use crate::tool::{DATABASE, Run, Tool};

const DUMP: &str = "VERSION=3\nformat=print\ndatabase=a\ntype=btree\nHEADER=END\n k\n v\n l\n \\5c\\\\\\0a\nDATA=END\n\
                    VERSION=3\nformat=bytevalue\ndatabase=b\ntype=hash\nHEADER=END\n 6b\n FF\nDATA=END\n";

fn scan(tool: &Tool, bucket: &str) -> String {
    tool.run(["scan", DATABASE, bucket]).succeeded()
}

/// Runs the tool with an input that comes in two pieces, one some time after the other.
fn in_pieces(tool: &Tool, args: &[&str], [start, rest]: [&str; 2]) -> Run {
    let mut child = tool.command(args).spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    input.write_all(start.as_bytes()).unwrap();
    std::thread::sleep(Duration::from_millis(50));
    input.write_all(rest.as_bytes()).unwrap();
    drop(input);
    Run::from(child.wait_with_output().unwrap())
}

#[test]
fn a_dump_names_its_buckets() {
    for text in [DUMP.to_owned(), DUMP.replace('\n', "\r\n"), DUMP.trim_end().to_owned()] {
        let tool = Tool::new();
        let said = tool.run_with(["load", DATABASE], text.as_bytes()).succeeded();
        assert_eq!(said, "3 entries loaded into 2 buckets\n");
        assert_eq!(scan(&tool, "a"), "k\tv\nl\t\\\\\\\\\\n\n");
        assert_eq!(scan(&tool, "b"), "k\t\\xff\n");
    }
}

#[test]
fn the_main_database_goes_to_main_or_to_the_bucket_that_is_given() {
    let tool = Tool::new();
    tool.write("main.txt", "VERSION=3\ntype=btree\nmapsize=1\nHEADER=END\n 6b\n 76\nDATA=END\n");
    let said = tool.run(["load", DATABASE, "--input", "main.txt"]).succeeded();
    assert_eq!(said, "1 entry loaded; bucket main has 1 entry\n");
    tool.run(["load", DATABASE, "other", "main.txt"]).succeeded();

    tool.write("a.txt", "VERSION=3\ndatabase=a\nHEADER=END\n 6b\n 76\nDATA=END\n");
    tool.run(["load", DATABASE, "renamed", "a.txt"]).succeeded();
    assert_eq!(tool.buckets(), ["main", "other", "renamed"]);

    tool.write("two.txt", DUMP);
    tool.run(["load", DATABASE, "both", "two.txt"]).failed(2, &["two.txt: line 11: ", "leave BUCKET out"]);
    assert_eq!(tool.buckets(), ["main", "other", "renamed"]);
}

#[test]
fn lines_may_name_their_buckets() {
    for (name, text) in [
        ("all.tsv", "b\tk\t1\na\\n\tk\t2\nb\tj\t3\n"),
        ("all.csv", "bucket,key,value\nb,k,1\n\"a\n\",\"k\",2\nb,j,3\n"),
        (
            "all.ndjson",
            "{\"bucket\":\"b\",\"key\":\"k\",\"value\":\"1\"}\n{\"key_hex\":\"6b\",\"bucket\":\"a\\n\",\"value\":\"2\"}\n\
             {\"bucket\":\"b\",\"key\":\"j\",\"value\":\"3\"}\n",
        ),
    ] {
        let tool = Tool::new();
        tool.write(name, text);
        let said = tool.run(["load", DATABASE, "-i", name]).succeeded();
        assert!(said.starts_with("3 ") && said.ends_with(" loaded into 2 buckets\n"), "{said}");
        assert_eq!((scan(&tool, "b").as_str(), scan(&tool, "a\n").as_str()), ("j\t3\nk\t1\n", "k\t2\n"));
    }
}

#[test]
fn the_format_is_the_option_the_extension_or_the_first_line() {
    let tool = Tool::new();
    tool.write("dump.txt", DUMP);
    tool.write("rows.csv", "value,key\n\"1\",k\n");
    tool.run(["load", DATABASE, "-i", "dump.txt"]).succeeded();
    tool.run(["load", DATABASE, "csv", "rows.csv"]).succeeded();
    assert_eq!(scan(&tool, "csv"), "k\t1\n");
    tool.run_with(["load", DATABASE, "csv", "-", "--format", "csv"], b"key,value\nk,2\n").succeeded();
    assert_eq!(scan(&tool, "csv"), "k\t2\n");

    // The option outweighs the rest, and an extension the first line.
    tool.run(["load", DATABASE, "-i", "dump.txt", "--format", "tsv"]).failed(2, &["line 1: 0 tabs"]);
    tool.write("dump.tsv", DUMP);
    tool.run(["load", DATABASE, "-i", "dump.tsv"]).failed(2, &["line 1: 0 tabs"]);
    tool.run_with(["load", DATABASE, "csv"], b"VERSION=3\tx\n").succeeded();
    assert_eq!(scan(&tool, "csv"), "VERSION=3\tx\nk\t2\n");
}

#[test]
fn unknown_headers_are_told_and_passed_over() {
    let tool = Tool::new();
    let text = "VERSION=3\nmapsize=1048576\nmaxreaders=1\nsequence=7\ndatabase=a\nduplicates=0\nHEADER=END\nDATA=END\n";
    let run = tool.run_with(["load", DATABASE], text.as_bytes());
    assert_eq!(run.out, "0 entries loaded; bucket a has 0 entries\n");
    run.failed(0, &["stdin: line 4: unknown header sequence=7 is ignored"]);
    assert_eq!(tool.buckets(), ["a"]);
}

/// `DUMP` with one thing wrong, the line to be named, and a part of what is to be said.
fn malformed_dumps() -> Vec<(String, u64, &'static str)> {
    let replaced = |from, to, line, why| (DUMP.replacen(from, to, 1), line, why);
    let cut = |at: &str, line, why| (DUMP[..DUMP.find(at).unwrap()].to_owned(), line, why);
    let header = |header| replaced("type=btree", header, 4, header);
    vec![
        replaced("VERSION=3", "VERSION=2", 1, "VERSION=2: not VERSION=3"),
        replaced("VERSION=3", "a\tb", 1, "not VERSION=3"),
        replaced("format=print", "format=xml", 2, "format=xml"),
        replaced("database=a", "database", 3, "NAME=VALUE"),
        replaced("database=a", "database=\\ff", 3, "not UTF-8"),
        header("type=recno"),
        header("keys=0"),
        header("duplicates=1"),
        header("dupsort=1"),
        header("integerkey=1"),
        header("reversekey=1"),
        replaced(" k\n", "k\n", 6, "space in front"),
        replaced(" v\n", " \\v\n", 7, "unknown escape \\v"),
        replaced(" \\5c\\\\\\0a\n", "", 9, "a key without a value"),
        replaced("DATA=END\n", "", 10, "space in front"),
        replaced("6b", "6", 16, "whole bytes"),
        replaced("FF", "FG", 17, "not hexadecimal"),
        replaced("VERSION=3\nformat=bytevalue", "\nformat=bytevalue", 12, "not VERSION=3"),
        cut("type=hash", 13, "cut short"),
        cut(" 6b", 15, "cut short"),
        cut(" FF", 16, "cut short"),
        cut("F\nDATA", 17, "cut short"),
        cut("\nDATA=END\nV", 9, "cut short"),
    ]
}

#[test]
fn a_new_database_has_the_page_size_of_the_dump_or_the_one_asked_for() {
    let tool = Tool::new();
    let page_size = |file: &str| {
        let said = tool.run(["stat", file]).succeeded();
        said.lines().find_map(|line| line.strip_prefix("pages")?.rsplit_once(" of ")).map(|(_, size)| size.to_owned())
    };
    let key = "k".repeat(5000);
    let lines = format!("{key}\tv\n");
    tool.run_with(["load", "small", "b"], lines.as_bytes()).failed(2, &["line 1: key of 5000 bytes", "nothing"]);
    tool.run_with(["load", "large", "b", "--page-size", "16384"], lines.as_bytes()).succeeded();
    assert_eq!(page_size("large").as_deref(), Some("16384 bytes"));

    let dump = tool.run(["dump", "large"]).succeeded();
    tool.run_with(["load", "again"], dump.as_bytes()).succeeded();
    assert_eq!(page_size("again").as_deref(), Some("16384 bytes"));
    assert_eq!(tool.run(["get", "again", "b", &key]).succeeded(), "v\n");
    let unknown_first = dump.replace("format=", "color=red\nformat=");
    let run = tool.run_with(["load", "colored"], unknown_first.as_bytes());
    assert!(run.err.ends_with("line 2: unknown header color=red is ignored\n"), "{run:?}");
    assert_eq!(page_size("colored").as_deref(), Some("16384 bytes"));

    // An existing one keeps its own, and one that folio does not have is passed over.
    tool.run_with(["load", "large", "c"], DUMP.split_inclusive("DATA=END\n").next().unwrap().as_bytes()).succeeded();
    assert_eq!(page_size("large").as_deref(), Some("16384 bytes"));
    for other in ["512", "4097", "131072", "many"] {
        let text = DUMP.replace("type=btree", &format!("type=btree\ndb_pagesize={other}"));
        tool.run_with(["load", other], text.as_bytes()).succeeded();
        assert_eq!(page_size(other).as_deref(), Some("4096 bytes"));
    }
    tool.run_with(["load", "odd", "b", "--page-size", "5000"], b"a\tb\n").failed(2, &["5000"]);
}

#[test]
fn a_load_that_fails_leaves_no_database_and_every_link() {
    let tool = Tool::new();
    std::os::unix::fs::symlink("target.folio", tool.path("link")).unwrap();
    tool.run_with(["load", "link", "b"], b"no tab\n").failed(2, &["nothing was loaded"]);
    assert_eq!(tool.files(), ["link"]);
    tool.run_with(["load", "link", "b"], b"k\tv\n").succeeded();
    assert_eq!(tool.run(["get", "target.folio", "b", "k"]).succeeded(), "v\n");
}

#[test]
fn a_malformed_dump_loads_nothing() {
    let tool = Tool::with_fruit();
    for (text, line, why) in malformed_dumps() {
        tool.write("bad.dump", &text);
        let line = format!("bad.dump: line {line}: ");
        tool.run(["load", DATABASE, "-i", "bad.dump"]).failed(2, &[&line, why, "nothing was loaded"]);
        assert_eq!(tool.buckets(), ["fruit"], "{text}");
    }
}

#[test]
fn partial_keeps_what_is_before_the_malformed_line() {
    let whole = |tool: &Tool, bucket| tool.run(["scan", DATABASE, bucket]).out;
    for (text, line, _) in malformed_dumps() {
        let tool = Tool::new();
        tool.write("bad.dump", &text);
        tool.run(["load", DATABASE, "-i", "bad.dump", "--partial"]).failed(2, &["bad.dump: line ", " loaded"]);
        let (k, l) = ("k\tv\n", "l\t\\\\\\\\\\n\n");
        let expected = match line {
            ..=7 => String::new(),
            8..=9 => k.to_owned(),
            _ => format!("{k}{l}"),
        };
        assert_eq!(whole(&tool, "a"), expected, "{text}");
        assert_eq!(whole(&tool, "b"), "", "{text}");
    }

    for text in ["VERSION=4\n", "VERSION=3\nformat=print\n", "no tab\n"] {
        let tool = Tool::new();
        tool.run_with(["load", DATABASE, "--partial"], text.as_bytes()).failed(2, &["nothing was loaded"]);
        assert!(tool.files().is_empty(), "{text}");
    }

    let tool = Tool::with_fruit();
    let lines = "apple\tgreen\nfig\tblue\nno tab\nkiwi\tbrown\n";
    let parts = ["stdin: line 3: 0 tabs", "the 2 lines before it were loaded"];
    tool.run_with(["load", DATABASE, "fruit", "--partial"], lines.as_bytes()).failed(2, &parts);
    assert_eq!(scan(&tool, "fruit").lines().count(), 5);
    assert_eq!(tool.run(["get", DATABASE, "fruit", "apple"]).succeeded(), "green\n");
    let long = format!("a\tb\n{}\tv\n", "k".repeat(100_000));
    tool.run_with(["load", DATABASE, "new", "--partial"], long.as_bytes()).failed(2, &["line 2: ", "100000"]);
    assert_eq!(scan(&tool, "new"), "a\tb\n");
    let unnamed = "{\"bucket\":\"x\",\"key\":\"a\",\"value\":\"b\"}\n{\"bucket\":\"\",\"key\":\"a\",\"value\":\"b\"}\n";
    tool.write("unnamed.jsonl", unnamed);
    tool.run(["load", DATABASE, "-i", "unnamed.jsonl", "--partial"]).failed(2, &["line 2: bucket name of 0 bytes"]);
    assert_eq!(scan(&tool, "x"), "a\tb\n");
}

#[test]
fn lines_that_do_not_fit_the_bucket_argument_are_malformed() {
    let tool = Tool::with_fruit();
    for (name, text, line, why) in [
        ("two.tsv", "a\tb\n", 1, "1 tabs; write bucket TAB key TAB value"),
        ("two.csv", "key,value\na,b\n", 1, "the columns are key,value"),
        ("two.jsonl", "{\"key\":\"a\",\"value\":\"b\"}\n", 1, "no bucket"),
        ("bytes.tsv", "\\xff\ta\tb\n", 1, "not UTF-8"),
    ] {
        tool.write(name, text);
        tool.run(["load", DATABASE, "-i", name]).failed(2, &[&format!("{name}: line {line}: "), why]);
    }
    for (name, text, line, why) in [
        ("three.tsv", "a\tb\tc\n", 1, "2 tabs"),
        ("three.csv", "bucket,key,value\na,b,c\n", 1, "leave BUCKET out"),
        ("ragged.csv", "key,value\na,b\nc\n", 3, "1 fields under 2 columns"),
        ("three.jsonl", "{\"bucket\":\"x\",\"key\":\"a\",\"value\":\"b\"}\n", 1, "nothing else"),
        ("dump.csv", DUMP, 1, "the columns are VERSION=3"),
        ("text.dump", "key,value\n", 1, "key,value: not VERSION=3"),
    ] {
        tool.write(name, text);
        tool.run(["load", DATABASE, "new", name]).failed(2, &[&format!("{name}: line {line}: "), why]);
    }
    assert_eq!(tool.buckets(), ["fruit"]);
}

#[test]
fn order_of_keys_does_not_matter() {
    let tool = Tool::new();
    let ascending: Vec<String> = (0..2_000).map(|number| format!("{number:06}\t{number}\n")).collect();
    let mut mixed = ascending.clone();
    fastrand::Rng::with_seed(1).shuffle(&mut mixed);
    let half: String = ascending.iter().step_by(2).map(String::as_str).collect();
    tool.run_with(["load", DATABASE, "sorted"], ascending.concat().as_bytes()).succeeded();
    tool.run_with(["load", DATABASE, "mixed"], mixed.concat().as_bytes()).succeeded();
    // Sorted, but among what is there.
    tool.run_with(["load", DATABASE, "gaps"], half.as_bytes()).succeeded();
    tool.run_with(["load", DATABASE, "gaps"], ascending.concat().as_bytes()).succeeded();
    for bucket in ["sorted", "mixed", "gaps"] {
        assert_eq!(scan(&tool, bucket), ascending.concat(), "{bucket}");
    }
    tool.run(["check", DATABASE]).succeeded();
}

#[test]
fn wrong_usage_is_told() {
    let tool = Tool::with_fruit();
    tool.write("dump.txt", DUMP);
    tool.run(["load", DATABASE, "-i", "dump.txt", "--hex"]).failed(2, &["--hex", "leave --hex out"]);
    assert_eq!(tool.run(["load", DATABASE, "a", "dump.txt", "--input", "dump.txt"]).code, 2);
    tool.run(["load", DATABASE, "-i", "missing"]).failed(2, &["missing", "check the path"]);
    tool.run(["load", DATABASE, "-i", "."]).failed(2, &[".: ", "irectory"]);
    tool.run(["load", "dump.txt", "-i", "dump.txt"]).failed(2, &["dump.txt: not a folio database"]);
    assert_eq!(tool.buckets(), ["fruit"]);
}

#[test]
fn an_input_in_pieces_is_recognized() {
    let tool = Tool::new();
    in_pieces(&tool, &["load", DATABASE], [&DUMP[..4], &DUMP[4..]]).succeeded();
    assert_eq!(tool.buckets(), ["a", "b"]);
}

#[test]
fn a_command_that_fails_leaves_no_new_database() {
    let tool = Tool::new();
    tool.run_with(["load", "new.folio", "b"], b"bad\n").failed(2, &["line 1", "nothing was loaded"]);
    assert!(!tool.path("new.folio").exists());
    tool.run(["put", "new.folio", "", "k", "v"]).failed(2, &["bucket name"]);
    assert!(!tool.path("new.folio").exists());
    tool.run_with(["load", "new.folio", "b", "--partial"], b"a\t1\nbad\n").failed(2, &["line 2"]);
    assert_eq!(tool.run(["get", "new.folio", "b", "a"]).succeeded(), "1\n");
    // What was there stays.
    tool.run_with(["load", "new.folio", "b"], b"bad\n").failed(2, &["line 1"]);
    assert_eq!(tool.run(["get", "new.folio", "b", "a"]).succeeded(), "1\n");
}

#[test]
fn a_quote_that_is_never_closed_is_an_error() {
    let tool = Tool::new();
    for (input, line) in [
        ("key,value\na,\"1\nb,2\n", "line 2"),
        ("key,value\na,1\nb,\"2", "line 3"),
        ("key,value\na,\"1\"\"\nb,2\n", "line 2"),
        ("key,\"value\na,1\n", "line 1"),
        ("key,value\na,1\n\nb\",\"2\n\nc\"\"\n", "line 4"),
        ("key,value\n\"a\nb\",\"2\n", "line 3"),
    ] {
        tool.run_with(["load", DATABASE, "b", "--format", "csv"], input.as_bytes()).failed(2, &[line, "quote"]);
    }
    let closed = "key,value\na,\"1\n2\"\nb,\"say \"\"yes\"\"\"\n";
    tool.run_with(["load", DATABASE, "b", "--format", "csv"], closed.as_bytes()).succeeded();
    assert_eq!(tool.run(["scan", DATABASE, "b"]).succeeded(), "a\t1\\n2\nb\tsay \"yes\"\n");
}

#[test]
fn a_file_in_the_place_of_the_bucket_is_noticed() {
    let tool = Tool::new();
    tool.write("words.tsv", "a\t1\n");
    tool.run(["load", "new.folio", "words.tsv"]).failed(2, &["words.tsv is a file", "--input"]);
    assert!(!tool.path("new.folio").exists());
    tool.run(["load", "new.folio", "words", "words.tsv"]).succeeded();
}

#[test]
fn a_quote_inside_a_csv_field_stands_for_itself_in_whatever_pieces_it_comes() {
    let rows = ["key,value\n5\" pipe,x\nb,y\n", "7\" pipe,\"Toys \"\"R\"\" Us\"\nc,\"a\" b\"\n"];
    let expected = "5\" pipe\tx\n7\" pipe\tToys \"R\" Us\nb\ty\nc\ta b\"\n";
    let tool = Tool::new();
    tool.write("rows.csv", rows.concat());
    tool.run(["load", DATABASE, "file", "rows.csv"]).succeeded();
    assert_eq!(scan(&tool, "file"), expected);
    for cut in [0, rows[0].len(), rows[0].len() + 14] {
        let text = rows.concat();
        let (start, rest) = text.split_at(cut);
        in_pieces(&tool, &["load", DATABASE, "pieces", "--format", "csv"], [start, rest]).succeeded();
        assert_eq!(scan(&tool, "pieces"), expected);
    }
}

#[test]
fn csv_is_taken_as_it_is_and_escapes_where_they_are_asked_for() {
    let tool = Tool::new();
    tool.write("paths.csv", "key,value\nhome,C:\\new\\temp.txt\ndata,\"C:\\data, \\x41\\\\\"\n");
    tool.run(["load", DATABASE, "plain", "paths.csv"]).succeeded();
    assert_eq!(scan(&tool, "plain"), "data\tC:\\\\data, \\\\x41\\\\\\\\\nhome\tC:\\\\new\\\\temp.txt\n");

    let text = "bucket,key,value\na\\\\,k\\x00,\"\\\\\\t,\\xff\"\n";
    tool.write("escapes.csv", text);
    tool.run(["load", DATABASE, "--escapes", "-i", "escapes.csv"]).succeeded();
    assert_eq!(scan(&tool, "a\\"), "k\\x00\t\\\\\\t,\\xff\n");
    tool.run_with(["load", DATABASE, "--escapes", "--hex", "--format", "csv"], b"bucket,key,value\na\\\\,6c,ff\n")
        .succeeded();
    assert_eq!(scan(&tool, "a\\"), "k\\x00\t\\\\\\t,\\xff\nl\t\\xff\n");
    tool.run(["load", DATABASE, "new", "--escapes", "paths.csv"]).failed(2, &["paths.csv: line 3: ", "\\d"]);
    for format in ["tsv", "jsonl", "dump"] {
        tool.run(["load", DATABASE, "new", "--escapes", "--format", format]).failed(2, &["--escapes: "]);
    }
}

/// The same two entries in every format, and what `--format` calls it.
const TEXTS: [(&str, &str); 4] = [
    ("tsv", "apple\t1\nbanana\t2\n"),
    ("csv", "key,value\napple,1\nbanana,2\n"),
    ("jsonl", "{\"key\":\"apple\",\"value\":\"1\"}\n{\"key\":\"banana\",\"value\":\"2\"}\n"),
    ("dump", "VERSION=3\nformat=print\nHEADER=END\n apple\n 1\n banana\n 2\nDATA=END\n"),
];

#[test]
fn a_byte_order_mark_is_passed_over_in_every_format() {
    for (format, text) in TEXTS {
        let tool = Tool::new();
        let name = format!("in.{format}");
        tool.write(&name, format!("\u{feff}{text}"));
        tool.run(["load", DATABASE, "file", &name]).succeeded();
        assert_eq!(scan(&tool, "file"), "apple\t1\nbanana\t2\n", "{format}");
        let text = format!("\u{feff}{text}");
        tool.run_with(["load", DATABASE, "pipe", "--format", format], text.as_bytes()).succeeded();
        assert_eq!(scan(&tool, "pipe"), "apple\t1\nbanana\t2\n", "{format}");
    }

    // The format is known behind it; and there is one at the beginning alone.
    let tool = Tool::new();
    tool.run_with(["load", DATABASE], format!("\u{feff}{}", TEXTS[3].1).as_bytes()).succeeded();
    assert_eq!(tool.buckets(), ["main"]);
    tool.run_with(["load", DATABASE, "b"], "\u{feff}\u{feff}a\t1\n\u{feff}b\t2\n\\xef\\xbb\\xbfc\t3\n".as_bytes())
        .succeeded();
    assert_eq!(scan(&tool, "b"), "\\xef\\xbb\\xbfa\t1\n\\xef\\xbb\\xbfb\t2\n\\xef\\xbb\\xbfc\t3\n");
    tool.run_with(["load", DATABASE, "empty"], "\u{feff}".as_bytes()).succeeded();
    assert_eq!(scan(&tool, "empty"), "");

    for mark in ["\u{ff}\u{fe}", "\u{fe}\u{ff}"] {
        let utf16: Vec<u8> = (mark.to_owned() + "a\0\t\0b\0\n\0").chars().map(|byte| byte as u8).collect();
        tool.run_with(["load", DATABASE, "new"], &utf16).failed(2, &["stdin: ", "UTF-16"]);
    }
}

#[test]
fn empty_lines_are_passed_over_in_every_format() {
    for (format, text) in TEXTS {
        for end in ["\n", "\r\n"] {
            let lines: Vec<&str> = text.lines().collect();
            let spaced = lines.join(&end.repeat(2)) + end;
            let tool = Tool::new();
            for text in [text.to_owned() + end, end.repeat(3) + &spaced, spaced.clone() + &end.repeat(3)] {
                tool.run_with(["load", DATABASE, "b", "--format", format], text.as_bytes()).succeeded();
                assert_eq!(scan(&tool, "b"), "apple\t1\nbanana\t2\n", "{text:?}");
                tool.run(["delete", DATABASE, "b", "apple"]).succeeded();
            }
            // They count, and a line with a space is not empty.
            let bad = format!("{end}{spaced}{end} {end}");
            let line = format!("stdin: line {}: ", 2 * lines.len() + 2);
            tool.run_with(["load", DATABASE, "new", "--format", format], bad.as_bytes()).failed(2, &[&line]);
        }
    }
}

#[test]
fn lines_end_in_two_ways_or_not_at_all_and_hold_every_other_byte() {
    for (format, text) in TEXTS {
        let text = text.replace("1", "1\0\x01\"\u{e9}").replace("\"1\0\x01\"", "\"1\\u0000\\u0001\\\"");
        let text = if format == "dump" { text.replace("\0\x01\"\u{e9}", "\\00\\01\"\\c3\\a9") } else { text };
        let crlf = text.replace('\n', "\r\n");
        for text in [&text, &crlf, text.trim_end(), crlf.trim_end(), &(text.trim_end().to_owned() + "\r")] {
            let tool = Tool::new();
            tool.run_with(["load", DATABASE, "b", "--format", format], text.as_bytes()).succeeded();
            assert_eq!(scan(&tool, "b"), "apple\t1\\x00\\x01\"\u{e9}\nbanana\t2\n", "{text:?}");
        }
    }

    let tool = Tool::new();
    for (format, text, scanned) in [
        // A \r that does not end a line is a byte as any other.
        ("tsv", "\"a\"\t\"b\nc\rd\t\re\r\r\n", "\"a\"\t\"b\nc\\rd\t\\re\\r\n"),
        (
            "csv",
            "key,value\nc\rd,\re\r\r\n\"a\r\",\"b\r\"\n\"d\r\n\",\"b\r\"\r\n",
            "a\\r\tb\\r\nc\\rd\t\\re\\r\nd\\r\\n\tb\\r\n",
        ),
        ("csv", "key,value", ""),
        ("csv", "\"value\",\"key\"\r\n", ""),
        ("csv", "key,value\n,\n\"\",\"\"", "\t\n"),
    ] {
        tool.run_with(["load", DATABASE, "b", "--format", format], text.as_bytes()).succeeded();
        assert_eq!(scan(&tool, "b"), scanned, "{text:?}");
        std::fs::remove_file(tool.path(DATABASE)).unwrap();
    }
    for (text, line) in [
        ("key,value\n\"a\nb\r\n\",1\nc\n", 5),
        ("key,value\r\n\r\na,\"\r\n\r\n\"\r\nc\r\n", 6),
        ("\"key\",\"value\"\n\"\"\n", 2),
        ("\n\n\"a\nb\",key\n", 3),
    ] {
        let named = format!("line {line}: ");
        tool.run_with(["load", DATABASE, "b", "--format", "csv"], text.as_bytes()).failed(2, &[&named]);
    }
}

/// The most memory that the tool has had while it loads two long lines after each other, in bytes.
#[cfg(target_os = "linux")]
fn peak(tool: &Tool, options: &[&str], lines: [&str; 3]) -> u64 {
    let mut child = tool.command([&["load", "long.folio", "b"], options].concat()).spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    for line in lines {
        input.write_all(line.as_bytes()).unwrap();
    }
    // Much of the last line has been read by now, and so the first two have been put.
    let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
    drop(input);
    Run::from(child.wait_with_output().unwrap()).succeeded();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    peak.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
}

#[cfg(target_os = "linux")]
#[test]
fn a_long_line_takes_twice_its_length_in_memory() {
    /// What a process takes anyway.
    const REST: u64 = 14 << 20;
    const LEN: usize = 12 << 20;
    let tool = Tool::in_memory();
    let [long, half, short] = [LEN, LEN / 2, 2 << 20].map(|len| "6".repeat(len));
    let cases: [(&[&str], [String; 3]); 7] = [
        (&["--format", "tsv"], [format!("a\t\\n{long}\n"), format!("b\t{long}\n"), format!("c\t{short}\n")]),
        (&["--hex"], [format!("aa\t{half}{half}\n"), format!("bb\t{long}\n"), format!("cc\t{short}\n")]),
        (
            &["--format", "csv"],
            [format!("key,value\na,{long}\n"), format!("b,\"{long}\"\n"), format!("c,\"{short}\"\n")],
        ),
        (
            &["--format", "csv", "--escapes"],
            [format!("key,value\na,\\n{long}\n"), format!("b,\"\\n{long}\"\n"), format!("c,\"{short}\"\n")],
        ),
        (
            &["--format", "jsonl"],
            ["a", "b", "c"].map(|key| {
                let value = if key == "c" { &short } else { &long };
                format!("{{\"key\":\"{key}\",\"value\":\"\\n{value}\"}}\n")
            }),
        ),
        (
            &["--format", "jsonl", "--hex"],
            ["aa", "bb", "cc"].map(|key| {
                let value = if key == "cc" { &short } else { &long };
                format!("{{\"key\":\"{key}\",\"value\":\"{value}\"}}\n")
            }),
        ),
        (
            &["--format", "dump"],
            [
                format!("VERSION=3\nformat=print\nHEADER=END\n a\n \\0a{long}\n"),
                format!(" b\n {long}\n"),
                format!(" c\n {short}\nDATA=END\n"),
            ],
        ),
    ];
    for (options, lines) in &cases {
        let peak = peak(&tool, options, [&lines[0], &lines[1], &lines[2]]);
        assert!(peak < 2 * LEN as u64 + REST, "{options:?}: {} MiB", peak >> 20);
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_line_of_nothing_but_separators_takes_no_more() {
    const LEN: usize = 4 << 20;
    let tool = Tool::new();
    let tabs = "\t".repeat(LEN) + "\n";
    tool.run_with(["load", DATABASE, "b"], tabs.as_bytes()).failed(2, &["line 1: 4194304 tabs"]);
    let commas = "key,value\n".to_owned() + &",".repeat(LEN);
    tool.run_with(["load", DATABASE, "b", "--format", "csv"], commas.as_bytes()).failed(2, &["line 2: 4194305 fields"]);
}
