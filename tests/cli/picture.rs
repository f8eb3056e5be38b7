//! `map` and `tree`: that the pictures are well-formed and show what `stat` counts, whatever names and keys are in them;
//! and what happens to the files that they are written to.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::symlink;

use folio::{Database, Durability, Options};
use roxmltree::{Document, Node};

use crate::tool::{DATABASE, Tool};

const KINDS: [&str; 8] = ["meta", "space_log", "branch", "leaf", "large", "pending", "free", "unknown"];

/// As XML that a strict reader takes.
fn parse(svg: &str) -> Document<'_> {
    let document = Document::parse(svg).unwrap();
    assert!(document.root_element().has_tag_name(("http://www.w3.org/2000/svg", "svg")));
    document
}

fn classes<'a>(node: Node<'a, '_>) -> Vec<&'a str> {
    node.attribute("class").unwrap_or_default().split(' ').collect()
}

/// The groups of a class.
fn groups<'a, 'input>(document: &'a Document<'input>, class: &str) -> Vec<Node<'a, 'input>> {
    let groups = document.descendants().filter(|node| node.has_tag_name("g") && classes(*node).contains(&class));
    groups.collect()
}

/// The rectangles below a node that stand for pages: their classes and how many pages each is.
fn cells<'a>(node: Node<'a, '_>) -> Vec<(Vec<&'a str>, u64)> {
    let pages = |node: Node<'a, '_>| node.attribute("data-pages").map(|pages| pages.parse().unwrap());
    let cells = node.descendants().filter(|node| node.has_tag_name("rect"));
    cells.filter_map(|node| Some((classes(node), pages(node)?))).collect()
}

/// All text of a picture that is shown.
fn texts(document: &Document<'_>) -> String {
    let texts = document.descendants().filter(|node| node.has_tag_name("text"));
    texts.filter_map(|node| node.text()).collect::<Vec<_>>().join("\n")
}

fn map(tool: &Tool, options: &[&str]) -> String {
    assert_eq!(tool.run([&["map", DATABASE, "--out", "map.svg"], options].concat()).succeeded(), "");
    fs::read_to_string(tool.path("map.svg")).unwrap()
}

fn tree(tool: &Tool, buckets: &[&str]) -> String {
    tool.run([&["tree", DATABASE], buckets, &["--out", "tree.svg"]].concat()).succeeded();
    fs::read_to_string(tool.path("tree.svg")).unwrap()
}

/// The pages of each kind are those of `stat`. Returns how many pages a cell has at most.
#[track_caller]
fn assert_map_agrees(tool: &Tool, svg: &str) -> u64 {
    let document = parse(svg);
    let mut drawn: BTreeMap<&str, u64> = KINDS.iter().map(|kind| (*kind, 0)).collect();
    let [field] = groups(&document, "cells")[..] else { panic!("one field of cells") };
    let cells = cells(field);
    for (classes, pages) in &cells {
        *drawn.get_mut(classes[0]).unwrap() += pages;
    }
    let stat = tool.json();
    for (kind, pages) in &drawn {
        assert_eq!(stat["kinds"][kind], *pages, "{kind}");
    }
    assert_eq!(stat["page_count"], drawn.values().sum::<u64>());
    cells.iter().map(|(_, pages)| *pages).max().unwrap()
}

/// The pages of each level are those of `stat`, bucket by bucket.
#[track_caller]
fn assert_tree_agrees(tool: &Tool, svg: &str) {
    let document = parse(svg);
    let stat = tool.json();
    let buckets = stat["buckets"].as_array().unwrap();
    let trees = groups(&document, "tree");
    assert_eq!(trees.len(), buckets.len());
    for (tree, bucket) in trees.into_iter().zip(buckets) {
        let levels: Vec<_> = tree.children().filter(|node| classes(*node).contains(&"level")).collect();
        assert_eq!(bucket["depth"], levels.len());
        let (mut leaves, mut branches) = (0, 0);
        for level in levels {
            let pages: u64 = cells(level).iter().map(|(_, pages)| pages).sum();
            assert_eq!(level.attribute("data-pages"), Some(&*format!("{pages}")));
            if level.attribute("data-level") == Some("0") { leaves += pages } else { branches += pages }
        }
        assert_eq!((&bucket["leaf_pages"], &bucket["branch_pages"]), (&leaves.into(), &branches.into()));
    }
}

/// Two buckets of all kinds of pages, and free space.
fn with_all_kinds() -> Tool {
    let tool = Tool::new();
    let database = Options::new().durability(Durability::Relaxed).open(tool.path(DATABASE)).unwrap();
    for round in 0..3 {
        let load = |txn: &mut folio::WriteTxn| {
            for n in 0..3000 {
                txn.bucket_mut("entries")?.put(format!("key {n:06}"), format!("value {n} of round {round}"))?;
            }
            txn.bucket_mut("large")?.put("large", vec![round; 100_000 * (3 - usize::from(round))])
        };
        database.exec(load).unwrap();
    }
    // So much free space, in so many pieces, that the log of it outgrows the meta.
    for n in 0..600 {
        database.exec(|txn| txn.bucket_mut("entries")?.put(format!("key {:06}", n * 7919 % 3000), "again")).unwrap();
    }
    drop(database);
    tool
}

#[test]
fn a_map_shows_what_stat_counts() {
    let tool = with_all_kinds();
    let svg = map(&tool, &[]);
    assert_eq!(assert_map_agrees(&tool, &svg), 1, "a cell for each page");
    let stat = tool.json();
    for kind in ["meta", "space_log", "branch", "leaf", "large", "free"] {
        assert_ne!(stat["kinds"][kind], 0, "{kind}");
    }
    let (document, figures) = (parse(&svg), stat["file_len"].as_u64().unwrap());
    assert_eq!(figures, fs::metadata(tool.path(DATABASE)).unwrap().len());
    for part in [DATABASE, "transaction 604", "space log", "A cell is a page."] {
        assert!(texts(&document).contains(part), "{part}");
    }
}

#[test]
fn a_map_of_many_pages_shows_their_mix() {
    let tool = with_all_kinds();
    let database = Database::open(tool.path(DATABASE)).unwrap();
    let value = vec![7; 70 << 20];
    database.exec(|txn| txn.bucket_mut("large")?.put("larger", &value)).unwrap();
    drop(database);
    let svg = map(&tool, &[]);
    assert_eq!(assert_map_agrees(&tool, &svg), 2, "16,384 cells are not enough");
    assert!(texts(&parse(&svg)).contains("A cell is 2 pages"));
}

#[test]
fn a_map_brings_out_a_bucket() {
    let tool = with_all_kinds();
    let svg = map(&tool, &["--bucket", "entries"]);
    assert_map_agrees(&tool, &svg);
    let document = parse(&svg);
    let cells = cells(groups(&document, "cells")[0]);
    let bright =
        |kind: &str| cells.iter().filter(|(classes, _)| classes[0] == kind && !classes.contains(&"dim")).count();
    let stat = tool.json();
    let entries = &stat["buckets"][0];
    assert_eq!(entries["leaf_pages"], bright("leaf"));
    assert_eq!(entries["branch_pages"], bright("branch"));
    assert_eq!((bright("large"), bright("meta"), bright("free")), (0, 0, 0));
    assert!(texts(&document).contains("Bright: bucket entries"));
    tool.run(["map", DATABASE, "--out", "map.svg", "--bucket", "entry"]).failed(1, &["no bucket entry", "entries"]);
}

#[test]
fn a_tree_shows_its_levels() {
    let tool = with_all_kinds();
    let svg = tree(&tool, &[]);
    assert_tree_agrees(&tool, &svg);
    let said = texts(&parse(&svg));
    for part in ["entries", "large", "root", "leaves", "children", "3,000 entries on 2 levels"] {
        assert!(said.contains(part), "{part} in {said}");
    }
    assert_eq!(groups(&parse(&tree(&tool, &["large"])), "tree").len(), 1);
    tool.run(["tree", DATABASE, "-o", "o.svg"]).succeeded();
    tool.run(["tree", DATABASE, "--output", "output.svg"]).succeeded();
    assert_eq!(fs::read(tool.path("o.svg")).unwrap(), fs::read(tool.path("output.svg")).unwrap());
    tool.run(["tree", DATABASE, "larger", "--out", "tree.svg"]).failed(1, &["no bucket larger", "entries, large"]);
}

#[test]
fn a_small_tree_names_its_separators() {
    let tool = Tool::new();
    let lines: String = (0..60).map(|n| format!("{n:02} of the keys\t{}\n", "v".repeat(80))).collect();
    tool.run_with(["load", DATABASE, "small"], lines.as_bytes()).succeeded();
    let svg = tree(&tool, &[]);
    assert_tree_agrees(&tool, &svg);
    let database = Options::new().read_only(true).open(tool.path(DATABASE)).unwrap();
    let txn = database.begin_read().unwrap();
    let root = txn.bucket("small").unwrap().unwrap().pages().next().unwrap().unwrap();
    assert_eq!(root.children.len(), 2, "three pages");
    let separator = String::from_utf8(root.children[1].separator.clone()).unwrap();
    let document = parse(&svg);
    assert!(texts(&document).lines().any(|line| line == separator), "{separator}");
    assert!(texts(&document).contains(&format!("page {}: 2 children", root.page)));
}

#[test]
fn a_large_tree_is_drawn_in_columns() {
    let tool = Tool::new();
    let lines: String = (0..40_000).map(|n| format!("{n:08}\t{}\n", "v".repeat(60))).collect();
    tool.run_with(["load", DATABASE, "large"], lines.as_bytes()).succeeded();
    let svg = tree(&tool, &[]);
    assert_tree_agrees(&tool, &svg);
    let document = parse(&svg);
    let leaves = groups(&document, "level").pop().unwrap();
    assert_eq!((leaves.attribute("data-level"), cells(leaves).len()), (Some("0"), 400));
    assert!(svg.len() < 200_000, "{} bytes", svg.len());
}

#[test]
fn databases_of_nothing_are_drawn() {
    let tool = Tool::new();
    drop(Database::open(tool.path(DATABASE)).unwrap());
    assert_map_agrees(&tool, &map(&tool, &[]));
    let svg = tree(&tool, &[]);
    assert!(texts(&parse(&svg)).contains("no buckets"));
    tool.run_with(["load", DATABASE, "hollow"], b"").succeeded();
    let svg = tree(&tool, &[]);
    assert_tree_agrees(&tool, &svg);
    assert!(texts(&parse(&svg)).contains("a tree of no pages"));
}

#[test]
fn hostile_names_and_keys_are_only_text() {
    let hostile = [
        "<script>alert(1)</script>",
        "\"' /><g a='&amp;&#0;'",
        "]]>\u{1}\u{1b}[31m\u{7f}\u{ffff}\u{fffe}\t\n",
        "a  b\u{202e}c",
    ];
    let tool = Tool::new();
    let database = Database::open(tool.path(DATABASE)).unwrap();
    database
        .exec(|txn| {
            for name in hostile {
                let mut bucket = txn.bucket_mut(name)?;
                for n in 0..400 {
                    bucket.put(format!("{}{n:03}{name}", hostile[n / 100]), "v".repeat(30))?;
                }
                bucket.put(b"\xff\xfe\x00<", "not UTF-8")?;
            }
            Ok(())
        })
        .unwrap();
    drop(database);
    for name in hostile {
        let svg = map(&tool, &["--bucket", name]);
        assert_map_agrees(&tool, &svg);
        assert!(parse(&svg).descendants().all(|node| !node.has_tag_name("script")));
    }
    let svg = tree(&tool, &[]);
    assert_tree_agrees(&tool, &svg);
    let document = parse(&svg);
    assert!(document.descendants().all(|node| !node.has_tag_name("script")));
    for shown in [hostile[0], hostile[1], r"]]>\x01\x1b[31m\x7f", "a  b"] {
        assert!(texts(&document).contains(shown), "{shown}");
    }
}

#[test]
fn a_damaged_page_is_red_and_the_end_says_so() {
    let tool = with_all_kinds();
    tool.damage("value 1500 of round 2");
    tool.run(["map", DATABASE, "--out", "map.svg"]).failed(1, &[DATABASE, "1 pages", "map.svg", "run folio check"]);
    let svg = fs::read_to_string(tool.path("map.svg")).unwrap();
    let document = parse(&svg);
    let red = cells(groups(&document, "cells")[0]).into_iter().filter(|(classes, _)| classes[0] == "unknown");
    assert_eq!(red.map(|(_, pages)| pages).sum::<u64>(), 1);

    let parts = [DATABASE, "bucket entries: page ", "checksum mismatch", "tree.svg has what can be read"];
    tool.run(["tree", DATABASE, "--out", "tree.svg"]).failed(1, &parts);
    let svg = fs::read_to_string(tool.path("tree.svg")).unwrap();
    let document = parse(&svg);
    let red = cells(document.root_element()).into_iter().filter(|(classes, _)| classes[0] == "unknown");
    assert_eq!(red.count(), 1);
    tool.run(["stat", DATABASE]).failed(2, &[DATABASE, "checksum mismatch", "run a check"]);
}

/// Bits flipped anywhere: a picture, or an error of one line.
#[test]
fn damage_anywhere_is_no_worse_than_an_error() {
    let seed = std::env::var("FOLIO_SEED").map_or_else(|_| fastrand::u64(..), |seed| seed.parse().unwrap());
    println!("FOLIO_SEED={seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let tool = with_all_kinds();
    let sound = fs::read(tool.path(DATABASE)).unwrap();
    for _ in 0..25 {
        let mut bytes = sound.clone();
        for _ in 0..random.usize(1..20) {
            // The first pages hold what all others hang on.
            let end = if random.bool() { 16 * 4096 } else { bytes.len() };
            bytes[random.usize(..end)] ^= 1 << random.u8(..8);
        }
        if random.u8(..5) == 0 {
            bytes.truncate(random.usize(..bytes.len()));
        }
        fs::write(tool.path(DATABASE), bytes).unwrap();
        for args in
            [&["map", DATABASE, "--out", "p.svg"][..], &["tree", DATABASE, "--out", "p.svg"], &["stat", DATABASE]]
        {
            let run = tool.run(args);
            assert!((0..=2).contains(&run.code), "{run:?}");
            if run.code == 0 {
                run.succeeded();
            } else {
                let code = run.code;
                run.failed(code, &[DATABASE]);
            }
        }
        if tool.path("p.svg").exists() {
            parse(&fs::read_to_string(tool.path("p.svg")).unwrap());
        }
    }
}

#[test]
fn what_is_no_database_is_not_drawn() {
    let tool = Tool::new();
    tool.write("notes.txt", "some text\n".repeat(10_000));
    for command in ["map", "tree"] {
        tool.run([command, "notes.txt", "--out", "p.svg"]).failed(2, &["notes.txt: ", "not a folio database"]);
        tool.run([command, DATABASE, "--out", "p.svg"]).failed(2, &[DATABASE, "no such file"]);
        tool.run([command, DATABASE]).failed(2, &["--out <SVG>", "--help"]);
    }
    assert_eq!(tool.files(), ["notes.txt"]);
}

#[test]
fn an_output_that_cannot_be_is_an_error() {
    let tool = Tool::with_fruit();
    let before = fs::read(tool.path(DATABASE)).unwrap();
    symlink(DATABASE, tool.path("link.svg")).unwrap();
    fs::create_dir(tool.path("dir.svg")).unwrap();
    fs::copy(tool.path(DATABASE), tool.path("other.folio")).unwrap();
    for command in ["map", "tree"] {
        tool.run([command, DATABASE, "--out", "other.folio"])
            .failed(2, &["other.folio: is a database", "another path"]);
        for out in ["missing/p.svg", "dir.svg", "/proc/p.svg"] {
            tool.run([command, DATABASE, "--out", out]).failed(2, &[out, "cannot be written", "choose another path"]);
        }
        for out in [DATABASE, "link.svg"] {
            tool.run([command, DATABASE, "--out", out]).failed(2, &[out, "the database itself", "choose another path"]);
        }
        let svg = tool.run([command, DATABASE, "--out", "/dev/stdout"]).succeeded();
        assert!(svg.starts_with("<svg"), "{svg}");
    }
    assert_eq!(fs::read(tool.path(DATABASE)).unwrap(), before);
    assert_eq!(fs::read(tool.path("other.folio")).unwrap(), before);
    assert_eq!(tool.files(), ["dir.svg", "link.svg", "other.folio", DATABASE]);
}

#[test]
fn an_output_is_replaced_at_once() {
    let tool = Tool::with_fruit();
    tool.write("p.svg", "an earlier picture");
    let mut earlier = File::open(tool.path("p.svg")).unwrap();
    symlink("p.svg", tool.path("link.svg")).unwrap();
    tool.run(["tree", DATABASE, "friut", "--out", "p.svg"]).failed(1, &["no bucket friut"]);
    assert_eq!(fs::read(tool.path("p.svg")).unwrap(), b"an earlier picture");

    tool.run(["tree", DATABASE, "--out", "link.svg"]).succeeded();
    parse(&fs::read_to_string(tool.path("p.svg")).unwrap());
    assert!(fs::symlink_metadata(tool.path("link.svg")).unwrap().is_symlink());
    // Who has the earlier one open still has all of it: the new one took its name, not its place.
    let mut text = String::new();
    earlier.read_to_string(&mut text).unwrap();
    assert_eq!(text, "an earlier picture");
    assert_eq!(tool.files(), ["link.svg", "p.svg", DATABASE]);
}
