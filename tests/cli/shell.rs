//! `shell` with scripts: what it does, prints and refuses. `terminal` has the rest.

use std::fmt::Write as _;
use std::io::Read;
use std::process::Stdio;

use crate::tool::{DATABASE, Run, Tool};

impl Tool {
    fn shell(&self, script: &str) -> Run {
        self.run_with(["shell", DATABASE], script.as_bytes())
    }
}

#[test]
fn entries_and_buckets() {
    let tool = Tool::new();
    let script = "\
        # A comment, and an empty line\n\n\
        get a\n set a 1\nset b 2\r\nset c 3\nget a\nscan\nscan b\nscan a c\nprefix c\nprefix x\ncount\n\
        delete b\ndelete b\nscan\nbuckets\nuse other\ncount\nscan\nset k v\nbuckets\ndrop\nget k\ndrop\nbuckets\ndrop main\nbuckets";
    let expected = "\
        (nil)\n1\na\t1\nb\t2\nc\t3\n(3 results)\nb\t2\nc\t3\n(2 results)\na\t1\nb\t2\n(2 results)\nc\t3\n(1 result)\n\
        (0 results)\n3\n(nil)\na\t1\nc\t3\n(2 results)\nmain\n0\n(0 results)\nmain\nother\n(nil)\n(nil)\nmain\n";
    assert_eq!(tool.shell(script).succeeded(), expected);
}

#[test]
fn a_script_may_begin_with_a_byte_order_mark() {
    let tool = Tool::new();
    assert_eq!(tool.shell("\u{feff}set a 1\r\nget a\r\n").succeeded(), "1\n");
    assert_eq!(tool.shell("\u{feff}").succeeded(), "");
    let utf16: Vec<u8> = b"\xff\xfeg\0e\0t\0".to_vec();
    tool.run_with(["shell", DATABASE], &utf16).failed(2, &["script", "UTF-16"]);
}

#[test]
fn what_was_typed_is_shown_and_others_see_plain_text() {
    let tool = Tool::new();
    let values = ["Alice", "i:-42", "f:3.14", "null", "x:0aff", r#""two words""#, r#""i:42""#, r#""""#];
    let mut script = String::new();
    for (n, value) in values.iter().enumerate() {
        writeln!(script, "set k{n} {value}\nget k{n}").unwrap();
    }
    assert_eq!(tool.shell(&script).succeeded(), values.join("\n") + "\n");
    let others = tool.run(["scan", DATABASE, "main", "--hex"]).succeeded();
    let stored: Vec<&str> = others.lines().map(|line| line.split_once('\t').unwrap().1).collect();
    let (integer, float) = ("ff027fffffffffffffd6", "ff03c0091eb851eb851f");
    assert_eq!(stored, ["416c696365", integer, float, "ff01", "0aff", "74776f20776f726473", "693a3432", ""]);
}

#[test]
fn integers_and_floats_order_as_keys() {
    let tool = Tool::new();
    let ordered = ["text", "null", "i:-9223372036854775808", "i:-1", "i:0", "i:9", "i:10", "f:-1.5", "f:2.0", "f:10.0"];
    let script: String = ordered.iter().rev().map(|key| format!("set {key} v\n")).collect();
    tool.shell(&script).succeeded();
    let scanned = tool.shell("scan").succeeded();
    let keys: Vec<&str> = scanned.lines().filter_map(|line| line.split_once('\t')).map(|(key, _)| key).collect();
    assert_eq!(keys, ordered);
    assert_eq!(tool.shell("scan i:-1 i:10").succeeded(), "i:-1\tv\ni:0\tv\ni:9\tv\n(3 results)\n");
}

#[test]
fn what_scan_shows_can_be_typed_whoever_stored_it() {
    let seed = std::env::var("FOLIO_SEED").map_or_else(|_| fastrand::u64(..), |seed| seed.parse().unwrap());
    println!("FOLIO_SEED={seed}");
    let mut rng = fastrand::Rng::with_seed(seed);
    let tempting = ["i:1", "f:", "x:", "null", "(nil)", "\"", "'", "\\", " ", "\t\n", "\u{202e}", "#", "é", "\u{ff}"];
    let mut bytes = || {
        let mut bytes = Vec::new();
        for _ in 0..rng.usize(..5) {
            match rng.bool() {
                true => bytes.extend_from_slice(rng.choice(tempting).unwrap().as_bytes()),
                false => bytes.extend((0..rng.usize(..12)).map(|_| if rng.bool() { rng.u8(..) } else { 0xff })),
            }
        }
        bytes.iter().fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"))
    };
    let lines: String = (0..1000).map(|_| format!("{}\t{}\n", bytes(), bytes())).collect();
    let tool = Tool::new();
    tool.run_with(["load", DATABASE, "main", "--hex"], lines.as_bytes()).succeeded();
    let before = tool.run(["scan", DATABASE, "main", "--hex"]).succeeded();
    for mode in ["text", "hex"] {
        let shown = tool.shell(&format!(".mode {mode}\nscan")).succeeded();
        let entries = shown.lines().filter(|line| line.contains('\t'));
        let script: String = entries.map(|line| format!("set {line}\n")).collect();
        tool.shell(&format!("use {mode}\nbegin\n{script}commit\n")).succeeded();
        assert_eq!(tool.run(["scan", DATABASE, mode, "--hex"]).succeeded(), before);
    }
}

#[test]
fn modes() {
    let tool = Tool::new();
    let script = "\
        set a i:1\nset b \"x y\"\nset c x:00ff\nset d null\n.mode hex\nget b\nscan a b\n.mode json\nscan\nget a\nget z\ncount\n\
        buckets\n.mode text\nget b";
    let expected = "\
        x:782079\nx:61\tx:ff028000000000000001\n(1 result)\n\
        {\"key\":\"a\",\"value\":1}\n{\"key\":\"b\",\"value\":\"x y\"}\n{\"key\":\"c\",\"value\":{\"hex\":\"00ff\"}}\n\
        {\"key\":\"d\",\"value\":null}\n{\"key\":\"a\",\"value\":1}\nnull\n4\n\"main\"\n\"x y\"\n";
    assert_eq!(tool.shell(script).succeeded(), expected);
}

#[test]
fn transactions_and_savepoints() {
    let tool = Tool::new();
    let script = "\
        begin\nset a 1\nget a\nrollback\nget a\n\
        begin\nset a 1\nsavepoint one\nset a 2\nuse b\nset x y\nsavepoint two\nset a 3\nrollback to one\n\
        get x\nuse main\nget a\nset a 4\nrollback to one\nget a\nset b 5\ndrop other\ncommit\nscan";
    let expected = "1\n(nil)\n(nil)\n1\n1\n(nil)\na\t1\nb\t5\n(2 results)\n";
    assert_eq!(tool.shell(script).succeeded(), expected);
    assert_eq!(tool.run(["scan", DATABASE, "main"]).succeeded(), "a\t1\nb\t5\n");
    tool.shell("begin\nsavepoint a\nrollback to b\n").failed(1, &["line 3: no savepoint b"]);
    tool.shell("begin\nsavepoint a\nsavepoint b\nrollback to a\nrollback to b").failed(1, &["line 5: no savepoint b"]);
    tool.shell("savepoint a").failed(2, &["line 1: no transaction is open"]);
    tool.shell("commit").failed(2, &["line 1: no transaction is open"]);
    tool.shell("begin\nbegin").failed(2, &["line 2: a transaction is open already"]);
}

#[test]
fn a_script_ends_at_its_first_error() {
    let tool = Tool::new();
    let long = format!("set {} v", "k".repeat(10_000));
    for (bad, part) in [
        ("fly", "no command fly"),
        ("get", "write get K"),
        ("set 'a b", "a quote that does not end"),
        ("set a i:x", "i:x: after i: comes an integer"),
        ("set a \\q", "unknown escape \\q"),
        ("use x:ff", "a name is text"),
        (".page 99999999", "no page 99999999"),
        (&long, "key of 10000 bytes is too long"),
    ] {
        let run = tool.shell(&format!("set a 1\nget a\n{bad}\nset a 2\n"));
        assert_eq!(run.out, "1\n");
        let code = if bad.starts_with(".page") { 1 } else { 2 };
        run.failed(code, &["folio: line 3: ", part]);
        assert_eq!(tool.shell("get a").succeeded(), "1\n");
    }
}

#[test]
fn a_transaction_that_is_left_open_is_rolled_back() {
    let tool = Tool::new();
    for end in ["", ".exit\nset a 3\n"] {
        tool.shell("set a 1").succeeded();
        tool.shell(&format!("begin\nset a 2\n{end}"))
            .failed(2, &["folio: the input ended in a transaction", "rolled back"]);
        assert_eq!(tool.shell("get a").succeeded(), "1\n");
    }
    tool.shell("begin\nset a 2\nfly").failed(2, &["line 3: no command fly"]);
    assert_eq!(tool.shell(".exit\nfly").succeeded(), "");
    assert_eq!(tool.shell("get a").succeeded(), "1\n");
}

#[test]
fn the_tree_and_its_pages_can_be_seen() {
    let tool = Tool::new();
    let entries: String = (0..500).map(|n| format!("set k{n:03} \"{}\"\n", "v".repeat(50))).collect();
    tool.shell(&format!(
        "begin\n{entries}use big\nset large {}\nuse names\nset i:1 a\nset i:2 b\ncommit",
        "v".repeat(9000)
    ))
    .succeeded();

    // Behind all of these, so that none is cut off with the end of the file.
    tool.shell("use tail\nset k v").succeeded();

    let dump = tool.shell(".dump").succeeded();
    let lines: Vec<&str> = dump.lines().collect();
    assert!(
        lines[0].starts_with("branch ") && lines[0].contains(": level 1, ") && lines[0].contains("500 entries below"),
        "{dump}"
    );
    assert!(lines[1].starts_with("  leaf ") && !lines[1].contains(" from "), "{dump}");
    assert!(lines[1].contains("bytes in use") && lines[1].contains(", k000 to k0"), "{dump}");
    assert!(lines[2].starts_with("  leaf ") && lines[2].contains(" from k0"), "{dump}");
    assert_eq!(lines.last().unwrap(), &format!("({} pages)", lines.len() - 1));

    let number = |line: &str| line.trim_start().split([' ', ':']).nth(1).unwrap().to_owned();
    let (root, leaf) = (number(lines[0]), number(lines[1]));
    let page = tool.shell(&format!(".page {root}")).succeeded();
    assert!(page.starts_with(&format!("page {root}: branch of bucket main\nlevel 1, ")), "{page}");
    assert!(page.contains(&format!("\nchild {leaf}: ")) && page.contains(" from k0"), "{page}");
    let page = tool.shell(&format!(".page {leaf}")).succeeded();
    assert!(page.contains(": leaf of bucket main\n") && page.contains("\nk000: 50 bytes\n"), "{page}");
    assert!(tool.shell(".page 0").succeeded().starts_with("page 0: meta\n"));

    let dump = tool.shell("use big\n.dump").succeeded();
    let page = tool.shell(&format!(".page {}", number(&dump))).succeeded();
    let (_, first) = page.trim_end().split_once("large: 9,000 bytes from page ").unwrap();
    let first: u64 = first.strip_suffix(" on").unwrap().parse().unwrap();
    let page = tool.shell(&format!(".page {}", first + 2)).succeeded();
    assert!(
        page.contains(&format!("large value of bucket big, 9,000 bytes in pages {first} to {}", first + 2)),
        "{page}"
    );
    assert!(tool.shell("use names\n.dump").succeeded().contains(", i:1 to i:2\n"));

    // Inside a transaction pages have no numbers yet; and what nobody uses is free.
    let said = tool.shell(&format!("begin\nset k000 w\n.dump\nrollback\ndrop main\n.dump\n.page {leaf}")).succeeded();
    assert!(said.contains("dirty branch ") && said.contains("\n  dirty leaf ") && said.contains("\n(nil)\n"), "{said}");
    assert!(said.contains(&format!("page {leaf}: free")), "{said}");
}

#[test]
fn figures_checks_and_times() {
    let tool = Tool::new();
    let said = tool.shell("set a 1\n.check\n.stats").succeeded();
    assert!(said.starts_with("ok: ") && said.contains("1 bucket, 1 entry\n"), "{said}");
    assert!(said.lines().any(|line| line.starts_with("main ")), "{said}");

    // In a transaction they show what is committed, and wait for nobody.
    let said = tool.shell("begin\nset b 2\n.check\n.stats\n.page 0\nrollback").succeeded();
    assert!(said.contains("1 bucket, 1 entry\n") && said.contains("\npage 0: meta\n"), "{said}");

    let run = tool.shell(".timer on\nget a\n.timer off\nget a");
    assert_eq!((run.code, run.out.as_str()), (0, "1\n1\n"));
    assert_eq!(run.err.lines().count(), 1, "{run:?}");
    assert!(run.err.starts_with("(0.") && run.err.ends_with(" s)\n"), "{run:?}");

    let help = tool.shell(".help").succeeded();
    for part in ["set K V", "rollback to N", "i:42", "x:0aff", "Ctrl-C"] {
        assert!(help.contains(part), "{help}");
    }
}

#[test]
fn damage_ends_a_script_and_is_a_finding_of_check() {
    let tool = Tool::new();
    tool.shell("set needle 1").succeeded();
    let mut bytes = std::fs::read(tool.path(DATABASE)).unwrap();
    let at = bytes.windows(6).position(|window| window == b"needle").unwrap();
    bytes[at] ^= 1;
    std::fs::write(tool.path(DATABASE), bytes).unwrap();
    tool.shell("buckets\nget needle").failed(2, &["line 2: page ", "checksum mismatch"]);
    tool.shell("# here\n.check").failed(1, &["line 2: 1 problem;"]);
    let page = at / 4096;
    let said = tool.shell(&format!(".page {page}\n.dump")).succeeded();
    assert!(said.starts_with(&format!("page {page}: unknown\nchecksum mismatch;")), "{said}");
    assert!(said.contains(&format!("\npage {page} is corrupt: checksum mismatch")), "{said}");
}

#[test]
fn a_file_alone_is_the_shell_on_it() {
    let tool = Tool::new();
    tool.shell("set a 1").succeeded();
    assert_eq!(tool.run_with([DATABASE], b"get a").succeeded(), "1\n");
    tool.run([DATABASE, "b"]).failed(2, &["a command comes before it: folio <COMMAND> test.folio", "see --help"]);
    for arguments in [&["scn", DATABASE, "b"][..], &["scn", "--limit", "3"]] {
        tool.run(arguments).failed(2, &["scn: neither a command nor a file; see folio --help"]);
    }
    tool.run(["misspelt"]).failed(2, &["misspelt: neither a command nor a file", "--help", "folio shell misspelt"]);
    assert!(!tool.path("misspelt").exists());
    std::fs::rename(tool.path(DATABASE), tool.path("scan")).unwrap();
    assert_eq!(tool.run_with(["./scan"], b"get a").succeeded(), "1\n");
    tool.run(["scan"]).failed(2, &["see --help"]);
}

#[test]
fn options_choose_the_bucket_and_reading() {
    let tool = Tool::with_fruit();
    assert_eq!(tool.run_with(["shell", DATABASE, "--bucket", "fruit"], b"get apple\ncount").succeeded(), "red\n4\n");
    let run = tool.run_with(["shell", DATABASE, "--read-only", "-b", "fruit"], b"count\nset a b");
    run.failed(2, &["line 2: the database is open read-only"]);
    tool.run_with(["shell", "missing.folio", "--read-only"], b"").failed(2, &["no such file"]);
    tool.write("notes.txt", "some text\n".repeat(10_000));
    tool.run_with(["shell", "notes.txt"], b"set a b").failed(2, &["notes.txt: "]);
}

#[test]
fn a_closed_pipe_is_a_quiet_end() {
    let tool = Tool::new();
    let lines: String = (0..50_000).map(|number| format!("{number:08}\tsome value\n")).collect();
    tool.run_with(["load", DATABASE, "main"], lines.as_bytes()).succeeded();
    tool.write("script", "scan\nscan\n");
    let script = std::fs::File::open(tool.path("script")).unwrap();
    let mut child = tool.command(["shell", DATABASE]).stdin(Stdio::from(script)).spawn().unwrap();
    let mut first = [0; 9];
    child.stdout.take().unwrap().read_exact(&mut first).unwrap();
    assert_eq!(&first, b"00000000\t");
    let run = Run::from(child.wait_with_output().unwrap());
    assert_eq!((run.code, run.err.as_str()), (0, ""));
}
