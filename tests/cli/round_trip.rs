//! What `dump` writes, `load` takes back: arbitrary bytes in every format. `FOLIO_SEED=n` replays a run.

use std::collections::BTreeMap;
use std::fmt::Write;

use crate::tool::{DATABASE, Tool};

type Buckets = BTreeMap<&'static str, BTreeMap<Vec<u8>, Vec<u8>>>;

/// Bytes that formats give a meaning to come more often than others.
fn bytes(rng: &mut fastrand::Rng, len_max: usize) -> Vec<u8> {
    const SPECIAL: &[u8] = b"\0\t\n\r \"',\\5cx{}\x7f\x80\xc3\xa9\xef\xbb\xbf\xff";
    let len = rng.usize(..=len_max);
    (0..len).map(|_| if rng.bool() { *rng.choice(SPECIAL).unwrap() } else { rng.u8(..) }).collect()
}

fn buckets(rng: &mut fastrand::Rng) -> Buckets {
    let mut buckets = Buckets::new();
    for name in ["plain", "n\u{e9}e \\5c, \"x\"\t"] {
        let bucket = buckets.entry(name).or_default();
        bucket.insert(Vec::new(), Vec::new());
        bucket.insert((0..=255).collect(), (0..=255).rev().collect());
        bucket.insert(b"text".to_vec(), "\u{e9}\u{732b}\u{85} and text".into());
        for _ in 0..200 {
            bucket.insert(bytes(rng, 40), bytes(rng, 300));
        }
        // Longer than a page, and than some buffers.
        bucket.insert(bytes(rng, 1_000), bytes(rng, 100_000));
    }
    buckets
}

/// The entries as `dump` should write them, header lines aside.
fn data(buckets: &Buckets) -> String {
    let hex = |out: &mut String, bytes: &[u8]| bytes.iter().for_each(|byte| write!(out, "{byte:02x}").unwrap());
    let mut text = String::new();
    for (name, bucket) in buckets {
        writeln!(text, "database={name}").unwrap();
        for bytes in bucket.iter().flat_map(|(key, value)| [key, value]) {
            text.push(' ');
            hex(&mut text, bytes);
            text.push('\n');
        }
    }
    text
}

/// A dump without what is the same in each.
fn without_headers(dump: &str) -> String {
    let is_data = |line: &&str| line.starts_with([' ', 'd']) && !line.starts_with("db_");
    dump.split_inclusive('\n').filter(is_data).collect()
}

#[test]
fn every_byte_survives_every_format() {
    let replayed = std::env::var("FOLIO_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = replayed.unwrap_or_else(|| fastrand::u64(..));
    println!("replay with FOLIO_SEED={seed}");
    let buckets = buckets(&mut fastrand::Rng::with_seed(seed));

    let tool = Tool::new();
    let mut text = data(&buckets).replace("database=", "DATA=END\nVERSION=3\nmapsize=1\ndatabase=");
    text = text.strip_prefix("DATA=END\n").unwrap().to_owned() + "DATA=END\n";
    for name in buckets.keys() {
        text = text.replace(&format!("database={name}\n"), &format!("database={name}\nHEADER=END\n"));
    }
    tool.run_with(["load", DATABASE], text.as_bytes()).succeeded();
    assert_eq!(without_headers(&tool.run(["dump", DATABASE]).succeeded()), data(&buckets));

    let formats: [&[&str]; 8] = [
        &["--format", "dump"],
        &["--format", "dump", "--print"],
        &["--format", "tsv"],
        &["--format", "tsv", "--hex"],
        &["--format", "csv"],
        &["--format", "csv", "--hex"],
        &["--format", "jsonl"],
        &["--format", "jsonl", "--hex"],
    ];
    for (number, format) in formats.into_iter().enumerate() {
        let load_format: Vec<&str> = format.iter().filter(|&&option| option != "--print").copied().collect();
        let copy = format!("copy{number}.folio");
        tool.run([&["dump", DATABASE, "-o", "all"], format].concat()).succeeded();
        tool.run([&["load", &copy, "-i", "all"], &load_format[..]].concat()).succeeded();
        assert_eq!(without_headers(&tool.run(["dump", &copy]).succeeded()), data(&buckets), "{format:?}");

        // One bucket alone, under another name.
        for name in buckets.keys() {
            let dumped = tool.command([&["dump", DATABASE, name], format].concat()).output().unwrap();
            assert!(dumped.status.success(), "{dumped:?}");
            tool.run_with([&["load", &copy, "one", "-"], &load_format[..]].concat(), &dumped.stdout).succeeded();
            let [one, original] =
                [[&copy, "one"], [DATABASE, name]].map(|[file, bucket]| tool.run(["dump", file, bucket]).succeeded());
            assert_eq!(
                without_headers(&one).split_once('\n').unwrap().1,
                without_headers(&original).split_once('\n').unwrap().1,
                "{format:?}"
            );
            std::fs::remove_file(tool.path(&copy)).unwrap();
        }
    }
}

#[test]
fn what_the_edges_of_an_input_might_lose_survives_without_an_option() {
    let edges = ["22", "222261", "0a", "0d", "61220d0a", "0d0a0d0a", "00", "2c", "5c6e", "20"];
    let lines: String = edges.iter().map(|edge| format!("{edge}\t{edge}\n")).collect();
    // Each of these comes first in what is dumped.
    for first in ["", "efbbbf", "fffe"] {
        let tool = Tool::new();
        let lines = if first.is_empty() { lines.clone() } else { format!("{first}\t{first}\n") };
        tool.run_with(["load", DATABASE, "b", "--hex"], lines.as_bytes()).succeeded();
        let original = tool.run(["scan", DATABASE, "b", "--hex"]).succeeded();
        for format in ["dump", "tsv", "csv", "jsonl"] {
            // Bytes, because CSV may be no text.
            let dumped = tool.command(["dump", DATABASE, "b", "--format", format]).output().unwrap();
            assert!(dumped.status.success());
            tool.run_with(["load", format, "b", "--format", format], &dumped.stdout).succeeded();
            assert_eq!(tool.run(["scan", format, "b", "--hex"]).succeeded(), original, "{format}");
        }
    }
}
