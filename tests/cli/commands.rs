//! `demo`, `load`, `get`, `put`, `delete`, `scan`, `stat` and `check`.

use std::fs;
use std::io::Read;

use folio::Options;
use folio::disk::MemoryStore;

use crate::tool::{DATABASE, Run, Tool};

#[test]
fn put_get_delete() {
    let tool = Tool::new();
    assert_eq!(tool.run(["put", DATABASE, "users", "id:100", "Alice"]).succeeded(), "");
    assert_eq!(tool.run(["get", DATABASE, "users", "id:100"]).succeeded(), "Alice\n");
    tool.run(["put", DATABASE, "users", "id:100", "Bob"]).succeeded();
    assert_eq!(tool.run(["get", DATABASE, "users", "id:100"]).succeeded(), "Bob\n");
    assert_eq!(tool.run(["delete", DATABASE, "users", "id:100"]).succeeded(), "");
    tool.run(["get", DATABASE, "users", "id:100"]).failed(1, &[DATABASE, "no key id:100", "users"]);
    tool.run(["delete", DATABASE, "users", "id:100"]).failed(1, &["no key id:100"]);
}

#[test]
fn arguments_take_escapes_dashes_and_the_empty_key() {
    let tool = Tool::new();
    tool.run(["put", DATABASE, "b", r"a\tb\\\x00", r"\xff\n"]).succeeded();
    assert_eq!(tool.run(["get", DATABASE, "b", r"a\tb\\\x00"]).succeeded(), "\\xff\\n\n");
    assert_eq!(tool.run(["get", DATABASE, "b", r"a\tb\\\x00", "--hex"]).code, 2);
    assert_eq!(tool.run(["get", DATABASE, "b", "6109625c00", "--hex"]).succeeded(), "ff0a\n");
    tool.run(["put", DATABASE, "b", "", "of the empty key"]).succeeded();
    assert_eq!(tool.run(["get", DATABASE, "b", ""]).succeeded(), "of the empty key\n");
    tool.run(["put", DATABASE, "b", "-1", "-2.5"]).succeeded();
    assert_eq!(tool.run(["get", DATABASE, "b", "-1"]).succeeded(), "-2.5\n");
    tool.run(["put", DATABASE, "b", "--", "--key", "--value"]).succeeded();
    assert_eq!(tool.run(["get", DATABASE, "b", "--", "--key"]).succeeded(), "--value\n");
    tool.run(["put", DATABASE, "b", r"\q", "v"]).failed(2, &["KEY", r"\q"]);
    tool.run(["put", DATABASE, "b", "k", r"\x0"]).failed(2, &["VALUE", r"\x0"]);
}

#[test]
fn hex_goes_in_and_comes_out() {
    let tool = Tool::new();
    tool.run(["put", DATABASE, "b", "--hex", "00FF", "c0ffee"]).succeeded();
    assert_eq!(tool.run(["get", DATABASE, "b", "--hex", "00ff"]).succeeded(), "c0ffee\n");
    assert_eq!(tool.run(["scan", DATABASE, "b", "--hex", "--prefix", "00"]).succeeded(), "00ff\tc0ffee\n");
    assert_eq!(tool.run(["scan", DATABASE, "b"]).succeeded(), "\\x00\\xff\t\\xc0\\xff\\xee\n");
    tool.run(["put", DATABASE, "b", "--hex", "0", "00"]).failed(2, &["KEY", "whole bytes"]);
    tool.run(["put", DATABASE, "b", "--hex", "00", "0g"]).failed(2, &["VALUE", "0g", "not hexadecimal"]);
    tool.run(["delete", DATABASE, "b", "--hex", "00ff"]).succeeded();
    assert_eq!(tool.run(["scan", DATABASE, "b"]).succeeded(), "");
}

#[test]
fn scan_takes_the_part_that_is_asked_for() {
    let tool = Tool::with_fruit();
    let keys = |options: &[&str]| {
        let args = [&["scan", DATABASE, "fruit", "--keys-only"], options].concat();
        tool.run(args).succeeded().split_terminator('\n').collect::<Vec<_>>().join(" ")
    };
    assert_eq!(keys(&[]), "apple banana blueberry cherry");
    assert_eq!(keys(&["--reverse"]), "cherry blueberry banana apple");
    assert_eq!(keys(&["--from", "banana"]), "banana blueberry cherry");
    assert_eq!(keys(&["--to", "banana"]), "apple");
    assert_eq!(keys(&["--from", "b", "--to", "c"]), "banana blueberry");
    assert_eq!(keys(&["--from", "c", "--to", "b"]), "");
    assert_eq!(keys(&["--prefix", "b"]), "banana blueberry");
    assert_eq!(keys(&["--prefix", ""]), "apple banana blueberry cherry");
    assert_eq!(keys(&["--prefix", "x"]), "");
    assert_eq!(keys(&["--prefix", "b", "--from", "bb"]), "blueberry");
    assert_eq!(keys(&["--prefix", "b", "--from", "a", "--to", "bb"]), "banana");
    assert_eq!(keys(&["--prefix", "b", "--reverse", "--limit", "1"]), "blueberry");
    assert_eq!(keys(&["--limit", "2"]), "apple banana");
    assert_eq!(keys(&["--limit", "0"]), "");
    let whole = tool.run(["scan", DATABASE, "fruit", "--from", "bl"]).succeeded();
    assert_eq!(whole, "blueberry\tblue\ncherry\tdark\\tred\n");
}

#[test]
fn what_scan_prints_load_takes_back() {
    let tool = Tool::new();
    let every_byte: String = (0..=255).map(|byte| format!("{byte:02x}")).collect();
    let line = format!("{every_byte}\t{every_byte}\n\t\n");
    tool.run_with(["load", DATABASE, "a", "--hex"], line.as_bytes()).succeeded();
    let text = tool.run(["scan", DATABASE, "a"]).succeeded();
    tool.run_with(["load", DATABASE, "b"], text.as_bytes()).succeeded();
    let hex = tool.run(["scan", DATABASE, "b", "--hex"]).succeeded();
    assert_eq!(hex, format!("\t\n{every_byte}\t{every_byte}\n"));
}

#[test]
fn load_from_files_in_both_formats() {
    let tool = Tool::new();
    tool.write("words.tsv", "b\t2\r\na\t1\nb\t3");
    let said = tool.run(["load", DATABASE, "tsv", "words.tsv"]).succeeded();
    assert_eq!(said, "3 lines loaded; bucket tsv has 2 entries\n");
    assert_eq!(tool.run(["scan", DATABASE, "tsv"]).succeeded(), "a\t1\nb\t3\n");

    tool.write("words.jsonl", "{\"key\":\"a\\tb\",\"value\":\"é\"}\n{\"value\":\"\\\\n\",\"key\":\"c\"}\n");
    tool.run(["load", DATABASE, "json", "words.jsonl"]).succeeded();
    assert_eq!(tool.run(["scan", DATABASE, "json"]).succeeded(), "a\\tb\té\nc\t\\\\n\n");

    tool.write("words.txt", "{\"key\":\"00\",\"value\":\"ff\"}\n");
    tool.run(["load", DATABASE, "hex", "words.txt", "--format", "jsonl", "--hex", "--relaxed"]).succeeded();
    assert_eq!(tool.run(["scan", DATABASE, "hex", "--hex"]).succeeded(), "00\tff\n");

    tool.write("empty.tsv", "");
    tool.run(["load", DATABASE, "empty", "empty.tsv"]).succeeded();
    assert_eq!(tool.run(["scan", DATABASE, "empty"]).succeeded(), "");
    assert_eq!(tool.buckets(), ["empty", "hex", "json", "tsv"]);
}

#[test]
fn load_from_stdin() {
    let tool = Tool::new();
    tool.run_with(["load", DATABASE, "b"], b"a\t1\n").succeeded();
    tool.run_with(["load", DATABASE, "b", "-"], b"b\t2\n").succeeded();
    tool.run_with(["load", DATABASE, "b", "--format", "jsonl"], b"{\"key\":\"c\",\"value\":\"3\"}\n").succeeded();
    assert_eq!(tool.run(["scan", DATABASE, "b"]).succeeded(), "a\t1\nb\t2\nc\t3\n");
}

#[test]
fn a_malformed_line_is_named_and_nothing_is_loaded() {
    let tool = Tool::with_fruit();
    let good = "k\tv\n".repeat(2);
    for (bad, why) in [("no tab", "0 tabs"), ("a\tb\tc", "2 tabs"), (" ", "0 tabs"), ("a\\z\tb", r"\z")] {
        tool.write("bad.tsv", format!("{good}{bad}\n{good}"));
        tool.run(["load", DATABASE, "new", "bad.tsv"]).failed(2, &["bad.tsv: line 3: ", why, "nothing was loaded"]);
    }
    for bad in ["{", "[]", "{\"key\":\"a\"}", "{\"key\":\"a\",\"value\":1}", "{\"key\":\"a\",\"value\":\"b\",\"c\":0}"]
    {
        tool.write("bad.jsonl", format!("{{\"key\":\"a\",\"value\":\"b\"}}\n{bad}\n"));
        tool.run(["load", DATABASE, "new", "bad.jsonl"]).failed(2, &["bad.jsonl: line 2: ", "write {\"key\""]);
    }
    tool.run_with(["load", DATABASE, "new", "--hex"], b"00\t00\n0x\t00\n").failed(2, &["stdin: line 2: "]);
    let long = format!("{good}{}\tv\n", "k".repeat(100_000));
    tool.run_with(["load", DATABASE, "new"], long.as_bytes()).failed(2, &["stdin: line 3: ", "100000"]);

    assert_eq!(tool.buckets(), ["fruit"]);
    assert_eq!(tool.run(["scan", DATABASE, "fruit"]).succeeded().lines().count(), 4);
}

#[test]
fn a_missing_input_leaves_no_database_behind() {
    let tool = Tool::new();
    tool.run(["load", DATABASE, "b", "missing.tsv"]).failed(2, &["missing.tsv", "check the path"]);
    assert!(!tool.path(DATABASE).exists());
}

#[test]
fn a_missing_bucket_is_not_found() {
    let tool = Tool::with_fruit();
    tool.run(["put", DATABASE, "nuts", "hazel", "brown"]).succeeded();
    let parts = [DATABASE, "no bucket friut", "fruit, nuts"];
    tool.run(["get", DATABASE, "friut", "apple"]).failed(1, &parts);
    tool.run(["scan", DATABASE, "friut"]).failed(1, &parts);
    tool.run(["delete", DATABASE, "friut", "apple"]).failed(1, &parts);
    assert_eq!(tool.buckets(), ["fruit", "nuts"]);
}

#[test]
fn a_missing_file_is_an_error_and_is_not_created() {
    let tool = Tool::new();
    for args in [&["get", DATABASE, "b", "k"][..], &["scan", DATABASE, "b"], &["delete", DATABASE, "b", "k"]] {
        tool.run(args).failed(2, &[DATABASE, "no such file", "folio put"]);
    }
    tool.run(["stat", DATABASE]).failed(2, &["no such file"]);
    tool.run(["check", DATABASE]).failed(2, &["no such file"]);
    assert!(!tool.path(DATABASE).exists());
}

#[test]
fn a_file_that_is_no_database_is_refused_and_left_alone() {
    let tool = Tool::new();
    for contents in [&b"short"[..], &b"some text\n".repeat(10_000)] {
        tool.write("notes.txt", contents);
        for args in [
            &["get", "notes.txt", "b", "k"][..],
            &["put", "notes.txt", "b", "k", "v"],
            &["delete", "notes.txt", "b", "k"],
            &["load", "notes.txt", "b"],
            &["scan", "notes.txt", "b"],
            &["stat", "notes.txt"],
            &["check", "notes.txt"],
            &["demo", "--out", "notes.txt"],
        ] {
            tool.run(args).failed(2, &["notes.txt: "]);
        }
        assert_eq!(fs::read(tool.path("notes.txt")).unwrap(), contents);
    }
    tool.run(["stat", "."]).failed(2, &["."]);
}

#[test]
fn wrong_usage_is_exit_code_2() {
    let tool = Tool::with_fruit();
    for args in [&[][..], &["fly"], &["get", DATABASE], &["scan", DATABASE, "fruit", "--limit", "many"]] {
        let run = tool.run(args);
        assert_eq!(run.code, 2, "{run:?}");
        assert!(run.err.contains("Usage: folio") || run.err.contains("--help"), "{run:?}");
    }
    tool.run(["put", DATABASE, "", "k", "v"]).failed(2, &["bucket name"]);
}

#[test]
fn stat_shows_the_file_and_each_bucket() {
    let tool = Tool::with_fruit();
    let said = tool.run(["stat", DATABASE]).succeeded();
    assert!(said.contains("4096 bytes"), "{said}");
    for part in ["2 meta, 0 space log, 0 branch, 2 leaf, 0 large, 0 pending", " overhead", "pinned       no snapshot"] {
        assert!(said.contains(part), "{part} in {said}");
    }
    assert!(said.lines().any(|line| line.starts_with("fruit ") && line.contains(" 4 ")), "{said}");

    let stat = tool.json();
    assert_eq!(stat["page_size"], 4096);
    assert_eq!(stat["file_len"], fs::metadata(tool.path(DATABASE)).unwrap().len());
    let fruit = &stat["buckets"][0];
    assert_eq!(fruit["name"], "fruit");
    assert_eq!(fruit["entries"], 4);
    assert_eq!(fruit["key_bytes"], "applebananablueberrycherry".len());
    assert_eq!(fruit["value_bytes"], "redyellowbluedark_red".len());
    let (keys, values) = ("applebananablueberrycherry".len(), "redyellowbluedark_red".len());
    assert_eq!(fruit["overhead_bytes"], 4096 - keys - values);

    // Every page is of one kind, and every byte of the file is accounted for.
    let figure = |name: &str| stat[name].as_u64().unwrap();
    let kind = |name: &str| stat["kinds"][name].as_u64().unwrap();
    let used = kind("space_log") + kind("branch") + kind("leaf") + kind("large");
    assert_eq!((kind("meta"), kind("leaf"), kind("unknown")), (2, 2, 0), "the catalog has a leaf too");
    assert_eq!((figure("used_pages"), figure("free_pages")), (used, kind("free")));
    assert_eq!(
        stat["kinds"].as_object().unwrap().values().map(|n| n.as_u64().unwrap()).sum::<u64>(),
        figure("page_count")
    );
    let bytes = figure("key_bytes") + figure("value_bytes") + figure("overhead_bytes");
    assert_eq!(bytes, (used + 2) * 4096);
    assert_eq!((figure("key_bytes"), figure("value_bytes")), (keys as u64, values as u64));
    assert_eq!((&stat["pinned_snapshots"], &stat["oldest_pinned"]), (&0.into(), &serde_json::Value::Null));
}

#[test]
fn check_passes_on_a_sound_file_and_finds_damage() {
    let tool = Tool::with_fruit();
    let said = tool.run(["check", DATABASE]).succeeded();
    assert!(said.starts_with("ok: ") && said.ends_with("1 bucket, 4 entries\n"), "{said}");

    tool.damage("blueberry");
    let run = tool.run(["check", DATABASE]);
    assert!(run.out.starts_with("bucket \"fruit\": page "), "{run:?}");
    assert!(run.out.ends_with(" (root): checksum mismatch\n") && run.out.lines().count() == 1, "{run:?}");
    run.failed(1, &[DATABASE, "1 problem;"]);
}

#[test]
fn a_deviation_from_the_format_is_found_and_can_be_mended() {
    let tool = Tool::with_fruit();
    tool.run(["put", DATABASE, "fruit", "melon", &"m".repeat(5000)]).succeeded();
    let mut bytes = fs::read(tool.path(DATABASE)).unwrap();
    let value = bytes.windows(5000).position(|window| window.iter().all(|&byte| byte == b'm')).unwrap();
    bytes[value + 5000] = 1;
    tool.write(DATABASE, bytes);
    let run = tool.run(["check", DATABASE]);
    assert!(run.out.starts_with("deviation: bucket \"fruit\": page ") && run.out.lines().count() == 1, "{run:?}");
    run.failed(1, &[DATABASE, "1 deviation from the format; all that is stored can be read", "folio compact"]);

    // Whoever asks whether the data is there is told that it is.
    let said = tool.run(["verify", DATABASE]).succeeded();
    assert!(
        said.starts_with("ok: ") && said.contains("1 deviation from the format, which folio check lists"),
        "{said}"
    );
    tool.run(["restore", DATABASE, "copy.folio"]).succeeded();
    tool.run(["verify", "copy.folio", "--against", DATABASE]).succeeded();
    tool.run(["backup", DATABASE, "packed.folio"]).succeeded();
    tool.run(["check", "packed.folio"]).succeeded();
    tool.run(["compact", DATABASE]).succeeded();
    tool.run(["check", DATABASE]).succeeded();
}

#[test]
fn readers_do_not_write() {
    let tool = Tool::with_fruit();
    let before = fs::read(tool.path(DATABASE)).unwrap();
    let modified = fs::metadata(tool.path(DATABASE)).unwrap().modified().unwrap();
    tool.run(["get", DATABASE, "fruit", "apple"]).succeeded();
    tool.run(["scan", DATABASE, "fruit"]).succeeded();
    tool.run(["stat", DATABASE]).succeeded();
    tool.run(["check", DATABASE]).succeeded();
    assert_eq!(fs::read(tool.path(DATABASE)).unwrap(), before);
    assert_eq!(fs::metadata(tool.path(DATABASE)).unwrap().modified().unwrap(), modified);
}

#[test]
fn a_closed_pipe_is_a_quiet_end() {
    let tool = Tool::new();
    // Much more than a pipe holds, so that the tool is still writing when its reader goes.
    let lines: String = (0..50_000).map(|number| format!("{number:08}\tsome value\n")).collect();
    tool.run_with(["load", DATABASE, "b"], lines.as_bytes()).succeeded();

    let mut child = tool.command(["scan", DATABASE, "b"]).spawn().unwrap();
    let mut first = [0; 9];
    child.stdout.take().unwrap().read_exact(&mut first).unwrap();
    assert_eq!(&first, b"00000000\t");
    let run = Run::from(child.wait_with_output().unwrap());
    assert_eq!((run.code, run.err.as_str()), (0, ""));
}

#[test]
fn demo_verifies_itself_and_leaves_its_database() {
    let tool = Tool::new();
    let said = tool.run(["demo"]).succeeded();
    for part in ["34,924", "million/s", "GB/s", "durable commit", "ok: ", "folio scan demo.folio names --prefix GREEK"]
    {
        assert!(said.contains(part), "no {part:?} in {said}");
    }
    assert_eq!(tool.run(["get", "demo.folio", "names", "GREEK SMALL LETTER PI"]).succeeded(), "0003C0\n");
    let control = tool.run(["scan", "demo.folio", "names", "--prefix", "<control>", "--keys-only"]).succeeded();
    assert_eq!(control.lines().count(), 65);
    tool.run(["check", "demo.folio"]).succeeded();

    // Again, in place of the earlier one.
    tool.run(["demo", "--out", "demo.folio"]).succeeded();
}

#[test]
fn demo_refuses_to_replace_another_database() {
    let tool = Tool::with_fruit();
    tool.run(["demo", "--out", DATABASE]).failed(2, &[DATABASE, "not an earlier demo", "--out"]);
    assert_eq!(tool.buckets(), ["fruit"]);
}

/// A file that was not closed, and whose newest commit is damaged at the root: no command shows the one before without being asked, and one
/// that is asked says so.
#[test]
fn a_damaged_commit_and_the_one_before() {
    let tool = Tool::new();
    let disk = MemoryStore::new();
    let db = Options::new().open_store(&disk).unwrap();
    ["v", "w"].iter().for_each(|v| db.exec(|txn| txn.bucket_mut("b")?.put("k", v)).unwrap());
    let image = disk.image();
    let u64_at = |at: usize| u64::from_le_bytes(image[at..at + 8].try_into().unwrap());
    let slot = if u64_at(40) > u64_at(8 * 4096 + 40) { 0 } else { 8 * 4096 };
    let root = u64_at(slot + 56) as usize;

    // By its digest it might be a commit that a power cut has interrupted: it is passed over, and every command tells.
    let mut damaged = image.clone();
    damaged[root * 4096 + 100] ^= 1;
    tool.write(DATABASE, &damaged);
    let note = "transaction 2 was opened, not the newer transaction 3";
    let run = tool.run(["get", DATABASE, "b", "k"]);
    assert_eq!((run.code, &run.out[..]), (0, "v\n"));
    assert!(run.err.contains(note) && run.err.contains(DATABASE), "{}", run.err);
    let run = tool.run(["check", DATABASE]);
    assert!(run.code == 0 && run.out.contains(&format!("interrupted: {note}")) && run.out.contains("ok: "), "{run:?}");
    assert!(tool.run(["stat", DATABASE]).out.contains("; 3 was passed over"));
    assert!(tool.run(["stat", DATABASE, "--json"]).out.contains("\"passed_over\": 3"));

    // One that was synced was whole.
    tool.write(DATABASE, &image);
    tool.run(["put", DATABASE, "b", "k", "x"]).succeeded();
    tool.run(["get", DATABASE, "b", "k", "--previous"]).failed(2, &["previous_snapshot", "no commit before"]);
    set_synced(&mut damaged[slot..slot + 4096]);
    tool.write(DATABASE, &damaged);
    let page = format!("page {root} is corrupt");
    tool.run(["get", DATABASE, "b", "k"]).failed(2, &[&page]);
    tool.run(["check", DATABASE]).failed(1, &[&page]);
    let run = tool.run(["get", DATABASE, "b", "k", "--previous"]);
    assert_eq!((run.code, &run.out[..]), (0, "v\n"));
    assert!(run.err.contains(note), "{}", run.err);
    assert_eq!(tool.run(["backup", DATABASE, "saved.folio", "--previous"]).code, 0);
    assert_eq!(tool.run(["get", "saved.folio", "b", "k"]).succeeded(), "v\n");
}

/// Makes a meta slot say that it was synced.
fn set_synced(slot: &mut [u8]) {
    slot[96] = 1;
    slot[100..104].fill(0);
    let checksum = crc32c::crc32c_append(crc32c::crc32c(&slot[..12]), &slot[16..]);
    slot[12..16].copy_from_slice(&checksum.to_le_bytes());
}
