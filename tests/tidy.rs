//! Rules about the source that matter enough to be tests: the layers point down, unsafe code stays in its file and is argued
//! for, and every trap that caught others has a test.
//!
//! | trap | tests |
//! |---|---|
//! | T1 | `a_pinned_snapshot_is_whole_and_seen_by_the_writer`, `readers_see_whole_snapshots_while_a_writer_commits` |
//! | T2 | `t02_a_meta_without_its_root_is_not_trusted`, `a_power_cut_anywhere_leaves_a_whole_state` |
//! | T3 | `t27_a_truncated_file_is_refused`, `a_file_cut_anywhere_is_refused_or_whole` |
//! | T4 | `t04_a_process_that_dies_creating_leaves_nothing_or_a_database`, `a_process_killed_creating_leaves_nothing_or_a_database`, `t04_a_process_killed_at_any_call_of_a_creation`, `a_database_that_was_cut_short_in_an_empty_file` |
//! | T5 | `a_power_cut_anywhere_leaves_a_whole_state`, which cuts a second time |
//! | T6 | `t06_any_sync_fails_and_drops_what_was_not_synced`, `t06_after_a_failed_sync_the_writer_refuses` |
//! | T7 | `t07_a_panic_in_exec_aborts_and_nothing_leaks` |
//! | T8 | cannot be compiled: the `compile_fail` examples of `BucketMut` in src/bucket.rs |
//! | T9 | `t09_iterators_stop_at_the_first_error` |
//! | T10 | `t10_every_kind_of_range_both_ways` |
//! | T11 | `t11_a_hundred_thousand_tiny_entries`, `t11_values_of_a_tebibyte_in_a_file_of_five` |
//! | T12 | `forged_pages_do_no_worse_than_wrong_answers`, `buckets_of_a_catalog_that_shares_its_children` |
//! | T13 | `random_operations_agree_with_a_btree_map_at_every_page_size`, `keys_up_to_the_limit_of_each_page_size` |
//! | T14 | `t14_the_disk_is_full_at_any_call`, `t14_a_full_disk_is_an_error_and_no_more`, `a_database_on_a_full_disk_can_delete` |
//! | T15 | `t15_the_same_operations_make_the_same_bytes` |
//! | T16 | `t16_the_lock_outlives_other_descriptors` |
//! | T17 | `t17_one_core_for_a_file_of_many_names` |
//! | T18 | `t18_a_child_process_changes_nothing_for_its_parent`, `what_is_from_before_a_fork_is_refused_in_the_child`, `nothing_is_written_after_a_fork_of_which_nobody_tells` |
//! | T19 | `t19_a_forgotten_reader_holds_back_no_more_than_it_sees` |
//! | T20 | `t20_a_run_is_found_quickly_among_a_million_fragments` |
//! | T21 | `t21_a_small_commit_writes_little_though_the_free_space_is_in_shreds` |
//! | T22 | `model_4k`, which checks who owns each page after every step |
//! | T23 | `t23_opening_takes_constant_time` |
//! | T24 | `t24_the_file_shrinks_when_most_is_deleted`, `t24_random_deletes_leave_pages_reasonably_full` |
//! | T25 | `model_4k`, `figures_add_up` |
//! | T26 | `t26_a_snapshot_stays_as_it_is_for_thousands_of_commits`, `readers_see_whole_snapshots_while_a_writer_commits` |
//! | T27 | `t27_a_truncated_file_is_refused`, `growth_and_cuts_while_reading` |
//! | T28 | `t28_read_only_changes_nothing` |
//! | T29 | `t29_another_format_version_is_refused` |
//! | T30 | `t30_a_transaction_keeps_to_its_budget` |

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// All Rust files below a directory of the package, by their paths from there.
fn sources(directory: &str) -> BTreeMap<String, String> {
    fn collect(at: &Path, root: &Path, found: &mut BTreeMap<String, String>) {
        for entry in fs::read_dir(at).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                collect(&path, root, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_string();
                found.insert(name, fs::read_to_string(&path).unwrap());
            }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = BTreeMap::new();
    collect(&root.join(directory), root, &mut found);
    assert!(found.len() > 5);
    found
}

/// The lines of a file without their comments.
fn code(text: &str) -> impl Iterator<Item = &str> {
    text.lines().map(|line| line.split("//").next().unwrap())
}

/// The words of a line.
fn words(line: &str) -> impl Iterator<Item = &str> {
    line.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|word| !word.is_empty())
}

/// Which modules of the crate a file names, as `crate::module` or in `use crate::{module, ...}`.
fn modules_named(text: &str) -> Vec<String> {
    let code = code(text).collect::<Vec<_>>().join(" ");
    let mut named = Vec::new();
    for after in code.split("crate::").skip(1) {
        match after.strip_prefix('{') {
            None => named.extend(words(after).next().map(str::to_string)),
            Some(group) => {
                // The first word of each part of the group, whatever is nested in it.
                let (mut depth, mut is_first) = (0, true);
                for part in group.split_inclusive(['{', '}', ',']) {
                    if depth == 0 && is_first {
                        named.extend(words(part).next().map(str::to_string));
                    }
                    match part.chars().last() {
                        Some('{') => depth += 1,
                        Some('}') if depth == 0 => break,
                        Some('}') => depth -= 1,
                        _ => {}
                    }
                    is_first = depth == 0;
                }
            }
        }
    }
    named
}

#[test]
fn modules_are_found_however_they_are_named() {
    let text = "use crate::page::{self, leaf}; // crate::tree\nuse crate::{error::{Error, Result}, disk, txn::x};\nlet a = crate::bucket::find();";
    assert_eq!(modules_named(text), ["page", "error", "disk", "txn", "bucket"]);
}

#[test]
fn the_layers_point_down() {
    let rules: [(&str, &[&str]); 5] = [
        ("src/page/", &["tree", "txn", "disk", "database", "bucket"]),
        ("src/tree/", &["disk", "txn", "database", "bucket"]),
        ("src/disk/", &["tree", "txn", "database", "bucket"]),
        ("src/error.rs", &["page", "tree", "disk", "txn", "database", "bucket"]),
        ("src/txn/extents.rs", &["tree", "disk", "database", "bucket"]),
    ];
    let sources = sources("src");
    for (layer, above) in rules {
        let mut files = sources.iter().filter(|(name, _)| name.starts_with(layer)).peekable();
        assert!(files.peek().is_some(), "{layer} has moved");
        for (name, text) in files {
            for module in modules_named(text) {
                assert!(!above.contains(&&module[..]), "{name} knows crate::{module}, which lies above it");
            }
        }
    }
}

#[test]
fn unsafe_code_stays_in_one_file_and_is_argued_for() {
    let has_unsafe = |text: &String| code(text).any(|line| words(line).any(|word| word == "unsafe"));
    let with = |directory: &str| -> Vec<String> {
        sources(directory).into_iter().filter(|(_, text)| has_unsafe(text)).map(|(name, _)| name).collect()
    };
    assert_eq!(with("src"), ["src/disk/map.rs", "src/options.rs"]);
    let options = &sources("src")["src/options.rs"];
    let of_options: Vec<&str> = code(options).filter(|line| words(line).any(|word| word == "unsafe")).collect();
    assert_eq!(
        of_options,
        ["    pub unsafe fn no_lock(mut self) -> Options {"],
        "asks something of the caller, and does nothing"
    );
    // Among the tests a counting allocator and what stands in for the C library cannot do without. This file only speaks of it.
    let allowed = ["tests/alloc.rs", "tests/system.rs", "tests/tidy.rs"];
    let tests = with("tests");
    assert!(tests.iter().all(|name| allowed.contains(&&name[..])), "{tests:?}");
    let map = &sources("src")["src/disk/map.rs"];
    let lines: Vec<&str> = map.lines().collect();
    let mut blocks = 0;
    for (n, line) in code(map).enumerate().filter(|(_, line)| words(line).any(|word| word == "unsafe")) {
        blocks += 1;
        let above = &lines[n.saturating_sub(6)..n];
        assert!(above.iter().any(|line| line.contains("// SAFETY: ")), "src/disk/map.rs:{}: {line}", n + 1);
    }
    assert!((3..20).contains(&blocks), "{blocks} unsafe blocks");
}

#[test]
fn every_file_says_what_it_is_and_nothing_is_left_to_do() {
    for (name, text) in sources("src").into_iter().chain(sources("tests")) {
        assert!(text.starts_with("//! "), "{name} has no module documentation");
        if name != "tests/tidy.rs" {
            assert!(!text.contains("TODO") && !text.contains("FIXME"), "{name}");
        }
    }
}

#[test]
fn every_trap_has_a_test() {
    let (src, tests) = (sources("src"), sources("tests"));
    let table = tests["tests/tidy.rs"].lines().filter_map(|line| line.strip_prefix("//! | T"));
    let mut next = 1;
    for row in table {
        let (number, cells) = row.split_once(" | ").unwrap();
        assert_eq!(number, next.to_string());
        next += 1;
        let names: Vec<&str> = cells.split('`').skip(1).step_by(2).collect();
        assert!(!names.is_empty(), "T{number} has neither test nor reason");
        if cells.starts_with("cannot be compiled") {
            assert!(src["src/bucket.rs"].matches("```compile_fail").count() >= 2);
            continue;
        }
        for test in names.into_iter().filter(|name| name.contains('_') || name.contains("model")) {
            let definition = format!("fn {test}()");
            let is_test = |text: &String| match text.split_once(&definition) {
                Some((before, _)) => before.trim_end().lines().rev().take(3).any(|line| line.trim() == "#[test]"),
                None => false,
            };
            assert!(src.values().chain(tests.values()).any(is_test), "T{number}: there is no test {test}");
        }
    }
    assert_eq!(next, 31, "thirty traps");
}
