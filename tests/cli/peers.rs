//! `dump` and `load` against the tools that share their format: LMDB's mdb_dump and mdb_load, Berkeley DB's db_dump
//! and db_load. Where they are not installed, a test says so and is skipped.

use std::fs::{self, File};
use std::io::Write as _;
use std::process::Command;

use crate::tool::{DATABASE, Tool};

/// What the LMDB environments have room for, in bytes.
const MAP_SIZE: &str = "268435456";

/// Whether all of `peers` are installed; says so when they are not.
fn are_installed(peers: &[&str]) -> bool {
    let missing = peers.iter().find(|peer| Command::new(peer).arg("-V").output().is_err());
    if let Some(missing) = missing {
        // Past the test runner, which shows nothing of a test that passes.
        let mut stderr = std::io::stderr().lock();
        writeln!(stderr, "skipped: {missing} is not installed").unwrap();
    }
    missing.is_none()
}

/// Runs another tool beside the database, with the file `input` as stdin and the file `output` as stdout.
#[track_caller]
fn peer(tool: &Tool, command: &[&str], input: &str, output: &str) {
    let mut peer = Command::new(command[0]);
    peer.args(&command[1..]).current_dir(tool.path(""));
    peer.stdin(File::open(tool.path(input)).unwrap()).stdout(File::create(tool.path(output)).unwrap());
    let ended = peer.output().unwrap();
    assert!(ended.status.success(), "{command:?}: {}", String::from_utf8_lossy(&ended.stderr));
}

fn mdb_load(tool: &Tool, environment: &str, input: &str) {
    fs::create_dir_all(tool.path(environment)).unwrap();
    peer(tool, &["mdb_load", environment], input, "said");
}

/// Whether this mdb_dump escapes backslashes, which LMDB does since 0.9.25. Without that no tool can read them back.
fn escapes_backslashes(tool: &Tool) -> bool {
    tool.write("probe.txt", format!("VERSION=3\nmapsize={MAP_SIZE}\nHEADER=END\n 6b\n 5c\nDATA=END\n"));
    mdb_load(tool, "probe", "probe.txt");
    peer(tool, &["mdb_dump", "-p", "probe"], "probe.txt", "probed.txt");
    fs::read_to_string(tool.path("probed.txt")).unwrap().contains("\n \\\\\n")
}

/// 100,000 entries of arbitrary bytes in named databases, as mdb_load takes them. Keys start with their number: it
/// keeps them apart, and mdb_load is many times as fast when they are in order.
fn environment(seed: u64, allowed: impl Fn(u8) -> bool) -> Vec<u8> {
    let mut rng = fastrand::Rng::with_seed(seed);
    let mut text = Vec::new();
    for (name, count) in [("blocks", 89_999_u32), ("empty", 0), ("n\u{e9}e and one", 1), ("state", 10_000)] {
        write!(text, "VERSION=3\nformat=bytevalue\ndatabase={name}\ntype=btree\nmapsize={MAP_SIZE}\n").unwrap();
        text.extend(b"HEADER=END\n");
        for number in 0..count {
            // Some values span pages.
            let value_max = if number % 1_000 == 0 { 20_000 } else { 60 };
            for (fixed, random_max) in [(format!("{number:05}").as_bytes(), 30), (&[], value_max)] {
                let random = (0..rng.usize(..=random_max)).map(|_| rng.u8(..)).filter(|&byte| allowed(byte));
                line(&mut text, fixed, random);
            }
        }
        text.extend(b"DATA=END\n");
    }
    text
}

fn line(text: &mut Vec<u8>, fixed: &[u8], random: impl Iterator<Item = u8>) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    text.push(b' ');
    for byte in fixed.iter().copied().chain(random) {
        text.extend([byte >> 4, byte & 15].map(|digit| DIGITS[usize::from(digit)]));
    }
    text.push(b'\n');
}

#[track_caller]
fn assert_same(tool: &Tool, one: &str, other: &str) {
    let [one, other] = [one, other].map(|name| fs::read(tool.path(name)).unwrap());
    if one != other {
        let lines = one.split(|&byte| byte == b'\n').zip(other.split(|&byte| byte == b'\n'));
        let first = lines.enumerate().find(|(_, (one, other))| one != other);
        panic!("{} and {} bytes; first differing line: {first:?}", one.len(), other.len());
    }
}

/// LMDB to folio to LMDB.
fn there_and_back(tool: &Tool, original: &[u8], mdb_options: &[&str], folio_options: &[&str]) {
    tool.write("original.txt", original);
    mdb_load(tool, "one", "original.txt");
    peer(tool, &[&["mdb_dump"], mdb_options, &["one"]].concat(), "original.txt", "one.txt");
    tool.run(["load", DATABASE, "-i", "one.txt"]).succeeded();
    tool.run([&["dump", DATABASE, "-o", "back.txt", "--mapsize", MAP_SIZE], folio_options].concat()).succeeded();
    mdb_load(tool, "two", "back.txt");
    peer(tool, &[&["mdb_dump"], mdb_options, &["two"]].concat(), "original.txt", "two.txt");
    assert_same(tool, "one.txt", "two.txt");
}

fn seed() -> u64 {
    let replayed = std::env::var("FOLIO_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = replayed.unwrap_or_else(|| fastrand::u64(..));
    println!("replay with FOLIO_SEED={seed}");
    seed
}

#[test]
fn lmdb_gets_back_every_byte_of_100_000_entries() {
    if !are_installed(&["mdb_dump", "mdb_load"]) {
        return;
    }
    let tool = Tool::in_memory();
    there_and_back(&tool, &environment(seed(), |_| true), &["-a"], &[]);
    assert_eq!(tool.buckets(), ["blocks", "empty", "n\u{e9}e and one", "state"]);
    tool.run(["check", DATABASE]).succeeded();
}

#[test]
fn lmdb_gets_back_every_byte_in_the_print_format() {
    if !are_installed(&["mdb_dump", "mdb_load"]) {
        return;
    }
    let tool = Tool::in_memory();
    let is_escaped = escapes_backslashes(&tool);
    let original = environment(seed(), |byte| byte != b'\\' || is_escaped);
    there_and_back(&tool, &original, &["-a", "-p"], &["--print"]);
}

#[test]
fn lmdb_gets_back_its_main_database() {
    if !are_installed(&["mdb_dump", "mdb_load"]) {
        return;
    }
    let original = format!("VERSION=3\nmapsize={MAP_SIZE}\nHEADER=END\n 00ff\n 5c\n 6b\n \nDATA=END\n");
    let tool = Tool::in_memory();
    there_and_back(&tool, original.as_bytes(), &[], &["main", "--no-name"]);
    assert_eq!(tool.buckets(), ["main"]);
}

#[test]
fn mdb_load_reads_backslashes_of_the_print_format() {
    if !are_installed(&["mdb_dump", "mdb_load"]) {
        return;
    }
    let tool = Tool::in_memory();
    tool.run(["put", DATABASE, "b", "--hex", "6b", "ff61625c5c785c"]).succeeded();
    tool.run(["dump", DATABASE, "-o", "print.txt", "--print", "--mapsize", MAP_SIZE]).succeeded();
    mdb_load(&tool, "one", "print.txt");
    peer(&tool, &["mdb_dump", "-a", "one"], "print.txt", "one.txt");
    tool.run(["dump", DATABASE, "-o", "bytes.txt", "--mapsize", MAP_SIZE]).succeeded();
    assert_same(&tool, "one.txt", "bytes.txt");
}

#[test]
fn a_default_mapsize_is_enough_for_lmdb() {
    if !are_installed(&["mdb_dump", "mdb_load"]) {
        return;
    }
    let tool = Tool::in_memory();
    // What takes LMDB the most room for its bytes: values of whole pages, and two entries a page.
    for (bucket, value_len) in [("pages", 4_096), ("halves", 1_700)] {
        let line = |number| format!("{number:05}\t{}\n", "v".repeat(value_len));
        let lines: String = (0..5_000).map(line).collect();
        tool.run_with(["load", DATABASE, bucket], lines.as_bytes()).succeeded();
    }
    tool.run(["dump", DATABASE, "-o", "all.txt"]).succeeded();
    mdb_load(&tool, "one", "all.txt");
}

#[test]
fn duplicates_of_lmdb_are_refused() {
    if !are_installed(&["mdb_dump", "mdb_load"]) {
        return;
    }
    let tool = Tool::in_memory();
    let header = format!("VERSION=3\ndatabase=d\nmapsize={MAP_SIZE}\nduplicates=1\ndupsort=1\nHEADER=END\n");
    tool.write("original.txt", format!("{header} 6b\n 61\n 6b\n 62\nDATA=END\n"));
    mdb_load(&tool, "one", "original.txt");
    peer(&tool, &["mdb_dump", "-a", "one"], "original.txt", "one.txt");
    tool.run(["load", DATABASE, "-i", "one.txt"]).failed(2, &["duplicates=1", "one value a key", "nothing was loaded"]);
}

#[test]
fn berkeley_db_gets_back_names_and_values() {
    if !are_installed(&["db_dump", "db_load"]) {
        return;
    }
    let tool = Tool::in_memory();
    // Its names have escapes, as its data has.
    let section = |name: &str, kind: &str| {
        format!(
            "VERSION=3\nformat=print\ndatabase={name}\ntype={kind}\nHEADER=END\n k\\\\\\00\n \\ff\\\\x\n l\n \nDATA=END\n"
        )
    };
    tool.write("original.txt", section("n\\c3\\a9e", "btree") + &section("hash", "hash"));
    peer(&tool, &["db_load", "one.db"], "original.txt", "said");
    for options in [&[][..], &["-p"]] {
        peer(&tool, &[&["db_dump"], options, &["one.db"]].concat(), "original.txt", "one.txt");
        tool.run(["load", DATABASE, "-i", "one.txt"]).succeeded();
        assert_eq!(tool.buckets(), ["hash", "n\u{e9}e"]);
        for bucket in ["hash", "n\u{e9}e"] {
            let scanned = tool.run(["scan", DATABASE, bucket]).succeeded();
            assert_eq!(scanned, "k\\\\\\x00\t\\xff\\\\x\nl\t\n");
        }
    }

    // Back, without the headers that only LMDB knows.
    let is_known = |line: &&str| !line.starts_with("mapsize=") && !line.starts_with("maxreaders=");
    for options in [&[][..], &["--print"]] {
        let dumped = tool.run([&["dump", DATABASE, "n\u{e9}e"], options].concat()).succeeded();
        let name = format!("two{}.db", options.len());
        tool.write("back.txt", dumped.split_inclusive('\n').filter(is_known).collect::<String>());
        peer(&tool, &["db_load", &name], "back.txt", "said");
        peer(&tool, &["db_dump", "-p", &name], "back.txt", "two.txt");
        let two = fs::read_to_string(tool.path("two.txt")).unwrap();
        assert!(two.contains("\ndatabase=n\\c3\\a9e\n"), "{two}");
        assert!(two.contains("HEADER=END\n k\\\\\\00\n \\ff\\\\x\n l\n \nDATA=END\n"), "{two}");
    }
}
