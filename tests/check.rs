//! `Database::check`: each kind of damage and of deviation, planted in a sound file, is found, and nothing else is; the report says
//! which page, which bucket and the way there. And a check beside a writer and readers finds nothing.

mod common;

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use common::{say_synced, seal_meta, seal_page, set, slots, u16_at, u64_at};
use folio::disk::MemoryStore;
use folio::{CheckReport, Database, Interrupted, Options, PageKind, ProblemKind, Verify};

const PAGE: usize = 4096;
const DEEP_LEN: u64 = 40_000;
const SCRAPS: u64 = 1400;
const BUCKETS: u64 = 124;
const ENTRIES: u64 = DEEP_LEN + SCRAPS / 2 + 126;

/// A file that can be damaged: a bucket of three levels, one of large values, many small ones, so that the catalog has two
/// levels, free pages and a space log of several pages.
#[derive(Clone)]
struct Image(Vec<u8>);

impl Image {
    fn new() -> Image {
        static SOUND: OnceLock<Image> = OnceLock::new();
        SOUND.get_or_init(|| Image::build(DEEP_LEN, SCRAPS)).clone()
    }

    /// The same with fewer entries.
    fn modest() -> Image {
        static SOUND: OnceLock<Image> = OnceLock::new();
        SOUND.get_or_init(|| Image::build(DEEP_LEN / 6, SCRAPS)).clone()
    }

    fn build(deep_len: u64, scraps: u64) -> Image {
        let disk = MemoryStore::new();
        let db = Options::new().open_store(&disk).unwrap();
        db.exec(|txn| {
            (0..120).try_for_each(|n| txn.bucket_mut(&format!("bucket {n:03}"))?.put("k", "v"))?;
            (0..4).try_for_each(|n| txn.bucket_mut("large")?.put(format!("value {n}"), vec![n; PAGE * 3]))?;
            txn.bucket_mut("large")?.put("value 4", vec![4; 3000])?;
            txn.bucket_mut("small")?.put("k", "v")?;
            (0..scraps).try_for_each(|n| txn.bucket_mut("scraps")?.put(n.to_string(), [5; PAGE]))?;
            let mut deep = txn.bucket_mut("deep")?;
            (0..deep_len).try_for_each(|n| deep.append(format!("{n:06}"), [1; 100]))
        })
        .unwrap();
        // The free space is in shreds, so that the space log has something to say.
        db.exec(|txn| txn.bucket_mut("scraps")?.retain(|key, _| key[key.len() - 1] % 2 == 0)).unwrap();
        for n in 0..150 {
            db.exec(|txn| txn.bucket_mut("deep")?.put(format!("{:06}", n * 7919 % deep_len), [2; 100])).unwrap();
        }
        drop(db);
        let mut image = Image(disk.image());
        image.forge_metas(|_| {});
        assert!(u64_at(image.meta(), 88) > 1, "it has a space log");
        image
    }

    /// A small file.
    fn of(fill: impl Fn(&Database)) -> Image {
        let disk = MemoryStore::new();
        let db = Options::new().open_store(&disk).unwrap();
        fill(&db);
        drop(db);
        let mut image = Image(disk.image());
        image.forge_metas(|_| {});
        image
    }

    fn newest(&self) -> usize {
        slots(PAGE).into_iter().max_by_key(|&at| u64_at(&self.0, at + 40)).unwrap()
    }

    fn meta(&self) -> &[u8] {
        &self.0[self.newest()..][..4096]
    }

    /// The page of the slot that is opened.
    fn meta_page(&self) -> u64 {
        // Of two with the same transaction that say synced the first one.
        let slots = slots(PAGE);
        let ids = slots.map(|at| u64_at(&self.0, at + 40));
        (slots[usize::from(ids[1] > ids[0])] / PAGE) as u64
    }

    /// Changes both meta slots, which then say that they were synced.
    fn forge_metas(&mut self, forge: impl Fn(&mut [u8])) {
        for at in slots(PAGE) {
            let slot = &mut self.0[at..at + 4096];
            say_synced(slot);
            forge(slot);
            seal_meta(slot);
        }
    }

    fn page(&self, no: u64) -> &[u8] {
        &self.0[no as usize * PAGE..][..PAGE]
    }

    /// Changes a page and makes its checksum right again.
    fn forge(&mut self, no: u64, forge: impl FnOnce(&mut [u8])) {
        let page = &mut self.0[no as usize * PAGE..][..PAGE];
        forge(page);
        seal_page(page);
    }

    fn flip(&mut self, no: u64) {
        self.0[no as usize * PAGE + 200] ^= 1;
    }

    fn child(&self, branch: u64, i: usize) -> u64 {
        let page = self.page(branch);
        u64_at(page, children_at(page) + i * 8)
    }

    /// The way from `root` down, by the numbers of the children.
    fn path(&self, root: u64, children: &[usize]) -> Vec<u64> {
        let mut path = vec![root];
        for &i in children {
            path.push(self.child(path[path.len() - 1], i));
        }
        path
    }

    fn catalog(&self) -> u64 {
        u64_at(self.meta(), 56)
    }

    /// The way through the catalog to the record of a bucket, and where in its page the record lies.
    fn record(&self, bucket: &str) -> (Vec<u64>, usize) {
        let root = self.catalog();
        let leaves = match self.page(root)[4] {
            1 => vec![vec![root]],
            _ => (0..u16_at(self.page(root), 6)).map(|i| self.path(root, &[i])).collect(),
        };
        let mut found =
            leaves.into_iter().filter_map(|path| Some((path.clone(), self.value_at(*path.last()?, bucket)?)));
        found.next().unwrap()
    }

    /// Where in a leaf the value of `key` lies.
    fn value_at(&self, leaf: u64, key: &str) -> Option<usize> {
        let page = self.page(leaf);
        (0..u16_at(page, 6)).find_map(|i| {
            let at = key_at(page, i);
            (key_of(page, i) == key.as_bytes()).then_some(at + key.len())
        })
    }

    fn root(&self, bucket: &str) -> u64 {
        let (path, at) = self.record(bucket);
        u64_at(self.page(*path.last().unwrap()), at)
    }

    /// The way to the leaf `j` of the branch `i` of the deep bucket.
    fn deep(&self, i: usize, j: usize) -> Vec<u64> {
        self.path(self.root("deep"), &[i, j])
    }

    /// The way to the last leaf of the deep bucket, which is not full.
    fn deep_end(&self) -> Vec<u64> {
        let root = self.root("deep");
        let last = |no| u16_at(self.page(no), 6) - 1;
        let branch = self.child(root, last(root));
        self.path(root, &[last(root), last(branch)])
    }

    /// The root of the bucket of large values, and where it refers to value `n`.
    fn large(&self, n: usize) -> (u64, usize) {
        let root = self.root("large");
        (root, self.value_at(root, &format!("value {n}")).unwrap())
    }

    /// Appends a space record to the meta: this page was taken, or freed.
    fn record_space(&mut self, page: u64, is_freed: bool) {
        self.forge_metas(|slot| {
            let len = u64_at(slot, 120);
            let count = if is_freed { 1 } else { 1 << 32 };
            let txn = u64_at(slot, 40);
            for (i, word) in [txn, count, page << 24 | 1].into_iter().enumerate() {
                set(slot, 128 + (len as usize + i) * 8, word.to_le_bytes());
            }
            set(slot, 120, (len + 3).to_le_bytes());
        });
    }

    /// A page that the last commit freed.
    fn free_page(&self) -> u64 {
        let meta = self.meta();
        let (mut at, mut freed) = (0, None);
        while at < u64_at(meta, 120) as usize {
            let counts = u64_at(meta, 128 + (at + 1) * 8);
            let (taken, count) = ((counts >> 32) as usize, (counts & 0xffff_ffff) as usize);
            if count > 0 {
                freed = Some(u64_at(meta, 128 + (at + 2 + taken) * 8) >> 24);
            }
            at += 2 + taken + count;
        }
        freed.unwrap()
    }

    /// The report must say exactly this, all of it damage, whatever is verified otherwise.
    fn expect(&self, expected: &[Expected<'_>]) -> CheckReport {
        self.expect_of(ProblemKind::Damage, expected)
    }

    /// The same of what deviates; and everything can be read, and be deleted.
    fn expect_deviations(&self, expected: &[Expected<'_>]) -> CheckReport {
        let report = self.expect_of(ProblemKind::Deviation, expected);
        assert!(report.problems.iter().all(|problem| problem.to_string().starts_with("deviation: ")));
        let db = Options::new().open_store(&MemoryStore::with_image(&self.0)).unwrap();
        let txn = db.begin_read().unwrap();
        let names = txn.buckets().unwrap();
        let buckets = names.iter().map(|name| txn.bucket(name).unwrap().unwrap());
        let entries: usize = buckets.map(|bucket| bucket.iter().map(Result::unwrap).count()).sum();
        assert_eq!((names.len() as u64, entries as u64), (report.buckets, report.entries));
        assert!(db.page_map().unwrap().runs().iter().all(|run| run.kind != PageKind::Unknown));
        db.exec(|txn| names.iter().try_for_each(|name| txn.drop_bucket(name).map(drop))).unwrap();
        let after = db.check().unwrap();
        assert!(!after.is_damaged(), "{:#?}", after.problems);
        report
    }

    fn expect_of(&self, kind: ProblemKind, expected: &[Expected<'_>]) -> CheckReport {
        let reports = [Verify::Once, Verify::Always, Verify::Never].map(|verify| {
            let disk = MemoryStore::with_image(&self.0);
            let db = Options::new().verify(verify).open_store(&disk).unwrap();
            let (mut last, mut total) = (0, 0);
            let report = db
                .check_with(|seen, pages| {
                    assert!(last <= seen && seen <= pages, "{last}, {seen} of {pages}");
                    (last, total) = (seen, pages);
                })
                .unwrap();
            assert_eq!((last, total), (report.pages, report.pages), "progress comes to its end");
            report
        });
        for report in &reports {
            let found: Vec<Expected<'_>> = report
                .problems
                .iter()
                .map(|problem| (problem.page, problem.bucket.as_deref(), &problem.path[..], &problem.what[..]))
                .collect();
            assert_eq!(found, expected);
            assert!(report.problems.iter().all(|problem| problem.kind == kind));
            let count = expected.len() as u64;
            let damage_count = if kind == ProblemKind::Damage { count } else { 0 };
            assert_eq!((report.problem_count, report.damage_count), (count, damage_count));
            assert_eq!((report.is_ok(), report.is_damaged()), (count == 0, damage_count > 0));
        }
        let [report, ..] = reports;
        report
    }
}

/// Page, bucket, path, and what is wrong.
type Expected<'a> = (Option<u64>, Option<&'a str>, &'a [u64], &'a str);

/// The problem of the page that a path leads to.
fn at<'a>(bucket: &'a str, path: &'a [u64], what: &'a str) -> Expected<'a> {
    (path.last().copied(), Some(bucket), path, what)
}

/// The same in the catalog.
fn in_catalog<'a>(path: &'a [u64], what: &'a str) -> Expected<'a> {
    (path.last().copied(), None, path, what)
}

/// The problem of a page that is in no tree.
fn outside_trees(page: u64, what: &str) -> Expected<'_> {
    (Some(page), None, &[], what)
}

fn children_at(branch: &[u8]) -> usize {
    32 + u16_at(branch, 28).next_multiple_of(8) + u16_at(branch, 6) * 4
}

/// Where the record of child `i` of a branch lies, and how long its suffix is.
fn child_record(branch: &[u8], i: usize) -> (usize, usize) {
    let place = children_at(branch) + u16_at(branch, 6) * 8 + i * 4;
    (u16_at(branch, place), u16_at(branch, place + 2))
}

fn key_at(leaf: &[u8], i: usize) -> usize {
    u16_at(leaf, 32 + i * 8 + 4) + 2
}

fn key_of(leaf: &[u8], i: usize) -> &[u8] {
    &leaf[key_at(leaf, i)..][..u16_at(leaf, 32 + i * 8 + 6)]
}

fn head_of(rest: &[u8]) -> [u8; 4] {
    let mut head = [0; 4];
    head[..rest.len().min(4)].copy_from_slice(&rest[..rest.len().min(4)]);
    head.reverse();
    head
}

/// The bytes between the slots and the records of a leaf or a branch.
fn gap(page: &[u8]) -> std::ops::Range<usize> {
    let count = u16_at(page, 6);
    match (page[4], u16_at(page, 30) & 2) {
        (1, 0) => 32 + count * 8..PAGE - u16_at(page, 24),
        (1, _) => 32 + count * 4..PAGE - count * (u16_at(page, 24) + u16_at(page, 26)),
        _ => children_at(page) + count * 12..PAGE - u16_at(page, 24),
    }
}

/// Makes a page a leaf with slots of a single entry.
fn write_leaf(page: &mut [u8], key: &[u8], value_len: u16, value: &[u8]) {
    let record = [&value_len.to_le_bytes()[..], key, value].concat();
    let at = PAGE - record.len();
    page[24..].fill(0);
    set(page, 24, (record.len() as u16).to_le_bytes());
    set(page, 32, head_of(key));
    set(page, 36, (at as u16).to_le_bytes());
    set(page, 38, (key.len() as u16).to_le_bytes());
    set(page, at, record);
}

/// Changes the byte of key `i` that follows the prefix of the leaf, and the head with it.
fn rekey(leaf: &mut [u8], i: usize, byte: u8) {
    let (prefix_len, key) = (u16_at(leaf, 28), key_at(leaf, i));
    leaf[key + prefix_len] = byte;
    let head = head_of(&key_of(leaf, i)[prefix_len..]);
    set(leaf, 32 + i * 8, head);
}

#[test]
fn a_sound_file_has_no_problems() {
    let report = Image::new().expect(&[]);
    assert_eq!((report.buckets, report.entries), (BUCKETS, ENTRIES));
}

#[test]
fn a_bad_checksum() {
    let mut image = Image::new();
    let path = image.deep(2, 5);
    image.flip(path[2]);
    let report = image.expect(&[at("deep", &path, "checksum mismatch")]);
    let line =
        format!("bucket \"deep\": page {} (root {} > {} > {}): checksum mismatch", path[2], path[0], path[1], path[2]);
    assert_eq!(report.problems[0].to_string(), line);

    // A branch: what lies below it is neither counted nor called lost.
    let mut image = Image::new();
    let path = image.path(image.root("deep"), &[3]);
    image.flip(path[1]);
    image.expect(&[at("deep", &path, "checksum mismatch")]);

    let mut image = Image::new();
    let root = image.root("small");
    image.flip(root);
    let report = image.expect(&[at("small", &[root], "checksum mismatch")]);
    assert_eq!(report.problems[0].to_string(), format!("bucket \"small\": page {root} (root): checksum mismatch"));
}

#[test]
fn a_page_with_the_number_of_another() {
    let mut image = Image::new();
    let (from, to) = (image.deep(0, 3), image.deep(1, 4));
    let page = image.page(from[2]).to_vec();
    image.forge(to[2], |bytes| bytes.copy_from_slice(&page));
    image.expect(&[at("deep", &to, "the page carries another page's number")]);
}

/// A page of a later transaction in the place of an earlier one, as a power cut may leave it in a state that no meta should refer
/// to any more.
#[test]
fn a_page_younger_than_what_refers_to_it() {
    let mut image = Image::new();
    let path = image.deep(2, 5);
    let born = u64_at(image.page(path[1]), 16);
    image.forge(path[2], |leaf| set(leaf, 16, (born + 1).to_le_bytes()));
    let what = format!("born in transaction {}, after what refers to it, in {born}", born + 1);
    image.expect(&[at("deep", &path, &what)]);
}

#[test]
fn wrong_order_within_a_page() {
    let mut image = Image::new();
    let path = image.deep(1, 7);
    image.forge(path[2], |leaf| leaf[32 + 3 * 8..32 + 5 * 8].rotate_left(8));
    image.expect(&[at("deep", &path, "keys out of order")]);

    let mut image = Image::new();
    let path = image.path(image.root("deep"), &[1]);
    image.forge(path[1], |branch| {
        let (heads, count) = (32 + u16_at(branch, 28).next_multiple_of(8), u16_at(branch, 6));
        let places = heads + count * 12;
        branch[heads + 3 * 4..heads + 5 * 4].rotate_left(4);
        branch[places + 3 * 4..places + 5 * 4].rotate_left(4);
    });
    image.expect(&[at("deep", &path, "separators out of order")]);
}

#[test]
fn wrong_order_between_pages() {
    let mut image = Image::new();
    let path = image.deep(1, 7);
    image.forge(path[2], |leaf| rekey(leaf, 0, b'!'));
    image.expect(&[at("deep", &path, "the first key is less than the separator before the page")]);

    let mut image = Image::new();
    let path = image.deep(1, 7);
    image.forge(path[2], |leaf| rekey(leaf, u16_at(leaf, 6) - 1, b'~'));
    image.expect(&[at("deep", &path, "the last key is not less than the separator behind the page")]);

    // A separator that is greater than those of the branch above: the leaf behind it is out of order too.
    let mut image = Image::new();
    let branch = image.path(image.root("deep"), &[1]);
    let last = u16_at(image.page(branch[1]), 6) - 1;
    image.forge(branch[1], |branch| {
        let (at, len) = child_record(branch, last);
        branch[at + 8] = b'~';
        let head = head_of(&branch[at + 8..at + 8 + len]);
        set(branch, 32 + u16_at(branch, 28).next_multiple_of(8) + last * 4, head);
    });
    image.expect(&[
        at("deep", &branch, &format!("separator {} is not between its neighbours", last + 1)),
        at("deep", &image.deep(1, last), "the first key is less than the separator before the page"),
    ]);
}

#[test]
fn wrong_entry_counts() {
    // A branch's, for a leaf and for a branch.
    for children in [&[1][..], &[]] {
        let mut image = Image::new();
        let path = image.path(image.root("deep"), children);
        let (no, child) = (path[path.len() - 1], image.child(path[path.len() - 1], 2));
        let (record, _) = child_record(image.page(no), 2);
        let count = u64_at(image.page(no), record);
        image.forge(no, |branch| set(branch, record, (count + 1).to_le_bytes()));
        let what = format!("child 2, page {child}, has {count} entries, {} are claimed", count + 1);
        image.expect(&[at("deep", &path, &what)]);
    }

    // A bucket's.
    let mut image = Image::new();
    let (path, record) = image.record("deep");
    image.forge(path[1], |leaf| set(leaf, record + 8, (DEEP_LEN - 1).to_le_bytes()));
    let what = format!("the tree has {DEEP_LEN} entries, {} are claimed", DEEP_LEN - 1);
    image.expect(&[at("deep", &[image.root("deep")], &what)]);

    // The catalog's.
    let mut image = Image::new();
    image.forge_metas(|slot| set(slot, 64, (BUCKETS + 1).to_le_bytes()));
    let what = format!("the tree has {BUCKETS} entries, {} are claimed", BUCKETS + 1);
    image.expect(&[in_catalog(&[image.catalog()], &what)]);
}

#[test]
fn a_wrong_depth() {
    for (depth, belongs) in [(1, "a leaf"), (2, "a branch of level 1"), (4, "a branch of level 3")] {
        let mut image = Image::new();
        let (path, record) = image.record("deep");
        image.forge(path[1], |leaf| leaf[record + 16] = depth);
        let what = format!("a branch of level 2 where {belongs} belongs");
        image.expect(&[at("deep", &[image.root("deep")], &what)]);
    }

    // A child of another level than the others.
    let mut image = Image::new();
    let (root, leaf) = (image.root("deep"), image.root("small"));
    image.forge(root, |branch| set(branch, children_at(branch) + 8, leaf.to_le_bytes()));
    image.expect(&[
        at("deep", &[root, leaf], "a leaf where a branch of level 1 belongs"),
        at("small", &[leaf], "reached twice"),
    ]);
}

#[test]
fn a_page_reached_twice() {
    let mut image = Image::new();
    let path = image.deep(1, 4);
    image.forge(path[1], |branch| set(branch, children_at(branch) + 5 * 8, path[2].to_le_bytes()));
    image.expect(&[at("deep", &path, "reached twice")]);

    // By two buckets.
    let mut image = Image::new();
    let (path, record) = image.record("small");
    let root = image.root("bucket 007");
    image.forge(path[1], |leaf| set(leaf, record, root.to_le_bytes()));
    image.expect(&[at("small", &[root], "reached twice")]);
}

#[test]
fn a_page_number_that_cannot_be() {
    let count = u64_at(Image::new().meta(), 48);
    for (no, what) in [(count, "outside the file"), (1 << 50, "outside the file"), (8, "a meta slot")] {
        let mut image = Image::new();
        let mut path = image.deep(1, 4);
        image.forge(path[1], |branch| set(branch, children_at(branch) + 4 * 8, no.to_le_bytes()));
        path[2] = no;
        image.expect(&[at("deep", &path, what)]);
    }
}

#[test]
fn a_page_both_reachable_and_free() {
    let mut image = Image::new();
    let path = image.deep(1, 4);
    image.record_space(path[2], true);
    image.expect(&[at("deep", &path, "both reachable and free")]);
}

#[test]
fn a_page_lost() {
    let mut image = Image::new();
    let free = image.free_page();
    image.record_space(free, false);
    image.expect(&[outside_trees(free, "lost: neither reachable nor free")]);

    // A large value that became shorter leaves the rest of its pages behind.
    let mut image = Image::new();
    let (leaf, reference) = image.large(2);
    let first = u64_at(image.page(leaf), reference);
    let checksum = common::crc32c(&[image.page(first)]);
    image.forge(leaf, |leaf| {
        set(leaf, reference + 8, (PAGE as u64).to_le_bytes());
        set(leaf, reference + 24, checksum.to_le_bytes());
    });
    let report = image.expect(&[outside_trees(first + 1, "lost: neither reachable nor free, 2 pages in a row")]);
    let line = format!("page {}: lost: neither reachable nor free, 2 pages in a row", first + 1);
    assert_eq!(report.problems[0].to_string(), line);
}

#[test]
fn a_bad_large_value() {
    let mut image = Image::new();
    let (leaf, reference) = image.large(1);
    let first = u64_at(image.page(leaf), reference);
    image.flip(first + 2);
    image.expect(&[at("large", &[leaf, first], "a large value fails its checksum")]);

    // Past the end, or longer than any file.
    let count = u64_at(image.meta(), 48);
    for (page, len) in [(count - 1, PAGE as u64 * 3), (1 << 60, PAGE as u64), (first, u64::MAX)] {
        let mut image = Image::new();
        image.forge(leaf, |leaf| {
            set(leaf, reference, page.to_le_bytes());
            set(leaf, reference + 8, len.to_le_bytes());
        });
        let what = format!("a large value of {len} bytes: outside the file");
        image.expect(&[at("large", &[leaf, page], &what)]);
    }

    // In the pages of another one.
    let mut image = Image::new();
    let other = u64_at(image.page(leaf), image.large(0).1);
    image.forge(leaf, |leaf| set(leaf, reference, (other + 1).to_le_bytes()));
    image.expect(&[at("large", &[leaf, other + 1], "a large value of 12288 bytes: reached twice")]);
}

#[test]
fn an_inconsistent_space_log() {
    let sound = Image::new();
    let (head, count) = (u64_at(sound.meta(), 80), u64_at(sound.meta(), 88));
    let of_log = |n: u64, what: &str| format!("page {n} of the {count} of the space log: {what}");

    let mut image = sound.clone();
    image.flip(head);
    image.expect(&[outside_trees(head, &of_log(1, "checksum mismatch"))]);

    // A record with more extents than there are words.
    let mut image = sound.clone();
    image.forge(head, |log| set(log, 64 + 8, [0xff; 4]));
    image.expect(&[outside_trees(head, &of_log(1, "space records run past the page"))]);
    let mut image = sound.clone();
    image.forge_metas(|slot| set(slot, 128 + 8, [0xff; 4]));
    let what = "the space log cannot be read: the space records in the meta do not come out even";
    image.expect(&[(None, None, &[], what)]);

    // A chain that leads elsewhere: to a page of a tree, to itself, out of the file.
    let (leaf, end) = (sound.deep(0, 0)[2], u64_at(sound.meta(), 48));
    for (no, what) in [
        (leaf, "a space log page was expected"),
        (head, "reached, and a page of the space log"),
        (end, "a page number past the end"),
    ] {
        let mut image = sound.clone();
        image.forge(head, |log| set(log, 32, no.to_le_bytes()));
        image.expect(&[outside_trees(no, &of_log(2, what))]);
    }

    // Pages of the log that are free, or a bucket's.
    let mut image = sound.clone();
    image.record_space(head, true);
    image.expect(&[outside_trees(head, "a page of the space log, and free")]);
    let mut image = sound.clone();
    let path = image.deep(1, 4);
    image.forge(path[1], |branch| set(branch, children_at(branch) + 4 * 8, head.to_le_bytes()));
    image.expect(&[at("deep", &[path[0], path[1], head], "reached, and a page of the space log")]);

    // A free page outside the file.
    let mut image = sound.clone();
    image.record_space(end + 5, true);
    image.expect(&[(None, None, &[], "the space log cannot be read: a free page outside the file")]);
}

/// The buckets that a damaged catalog still knows are checked all the same.
#[test]
fn a_damaged_catalog() {
    let mut image = Image::new();
    let (first, _) = image.record("bucket 000");
    let (last, _) = image.record("small");
    assert_ne!(first, last);
    let known = u16_at(image.page(last[1]), 6) as u64;
    let small = image.root("small");
    image.flip(small);
    image.flip(first[1]);
    let report = image.expect(&[in_catalog(&first, "checksum mismatch"), at("small", &[small], "checksum mismatch")]);
    assert!(known > 0 && report.buckets < BUCKETS && report.buckets >= known);
    let line = format!("catalog: page {} (root {} > {}): checksum mismatch", first[1], first[0], first[1]);
    assert_eq!(report.problems[0].to_string(), line);

    // A record that describes no tree.
    let mut image = Image::new();
    let (path, record) = image.record("small");
    image.forge(path[1], |leaf| leaf[record + 16] = 40);
    image.expect(&[at("small", &path, "its record in the catalog: a tree record that makes no sense")]);

    // A name that is no text.
    let mut image = Image::new();
    let (path, record) = image.record("small");
    image.forge(path[1], |leaf| {
        leaf[record - 1] = 0xff;
        rekey(leaf, u16_at(leaf, 6) - 1, b's');
    });
    image.expect(&[in_catalog(&path, "a bucket name that is not UTF-8")]);
}

/// A report has an end, however much is wrong.
#[test]
fn a_report_counts_more_problems_than_it_keeps() {
    let mut image = Image::new();
    let root = image.root("deep");
    let mut leaves = 0;
    for i in 0..u16_at(image.page(root), 6) {
        let branch = image.child(root, i);
        for j in 0..u16_at(image.page(branch), 6) {
            image.flip(image.child(branch, j));
            leaves += 1;
        }
    }
    let report = Options::new().open_store(&MemoryStore::with_image(&image.0)).unwrap().check().unwrap();
    assert!(leaves > 1000 && !report.is_ok());
    assert_eq!((report.problems.len(), report.problem_count), (1000, leaves));
}

/// What a byte that is not zero where nothing is used is called.
fn stray(at: usize) -> String {
    format!("byte {at} is not zero, though nothing uses it")
}

#[test]
fn stray_bytes_in_a_gap() {
    let sound = Image::modest();
    // A leaf with slots, one that is uniform, a branch.
    let (leaf, uniform, branch) = (sound.deep_end(), vec![sound.root("small")], sound.path(sound.root("deep"), &[1]));
    for (bucket, path) in [("deep", leaf), ("small", uniform), ("deep", branch)] {
        let no = path[path.len() - 1];
        let gap = gap(sound.page(no));
        assert!(gap.len() > 10);
        for byte in [gap.start, gap.start + gap.len() / 2, gap.end - 1] {
            let mut image = sound.clone();
            image.forge(no, |page| page[byte] = 1);
            image.expect_deviations(&[at(bucket, &path, &stray(byte))]);
        }
    }

    // The words behind those of a page of the space log.
    let (head, count) = (u64_at(sound.meta(), 80), u64_at(sound.meta(), 88));
    let end = 64 + u16_at(sound.page(head), 6) * 8;
    for byte in [end, PAGE - 1] {
        let mut image = sound.clone();
        image.forge(head, |log| log[byte] = 1);
        image.expect_deviations(&[outside_trees(
            head,
            &format!("page 1 of the {count} of the space log: {}", stray(byte)),
        )]);
    }
}

#[test]
fn stray_bytes_in_dead_records() {
    let sound = Image::modest();
    for path in [sound.deep_end(), sound.path(sound.root("deep"), &[1])] {
        let no = path[path.len() - 1];
        let heap_at = PAGE - u16_at(sound.page(no), 24);
        for is_zero in [true, false] {
            let mut image = sound.clone();
            image.forge(no, |page| {
                // Eight bytes more that no record uses.
                let (heap_len, dead_len) = (u16_at(page, 24) + 8, u16_at(page, 26) + 8);
                set(page, 24, (heap_len as u16).to_le_bytes());
                set(page, 26, (dead_len as u16).to_le_bytes());
                page[heap_at - 3] = u8::from(!is_zero);
            });
            let what = stray(heap_at - 3);
            let expected = [at("deep", &path, &what)];
            image.expect_deviations(if is_zero { &[] } else { &expected });
        }
    }

    // The end of a value that has become shorter.
    let mut image = sound.clone();
    let path = image.deep(1, 7);
    let end = key_at(image.page(path[2]), 3) + 6 + 100;
    image.forge(path[2], |leaf| {
        let dead_len = u16_at(leaf, 26) + 4;
        set(leaf, 26, (dead_len as u16).to_le_bytes());
        set(leaf, key_at(leaf, 3) - 2, 96u16.to_le_bytes());
        leaf[end - 4..end].copy_from_slice(&[0, 0, 5, 6]);
    });
    image.expect_deviations(&[at("deep", &path, &stray(end - 2))]);
}

#[test]
fn a_stray_byte_behind_the_prefix_of_a_branch() {
    let mut image = Image::modest();
    let path = image.path(image.root("deep"), &[1]);
    let end = 32 + u16_at(image.page(path[1]), 28);
    assert!(!end.is_multiple_of(8));
    image.forge(path[1], |branch| branch[end] = 1);
    image.expect_deviations(&[at("deep", &path, &stray(end))]);
}

#[test]
fn unknown_flags_and_fields_of_a_header() {
    let sound = Image::modest();
    let what = "unknown flags in the header";
    let (leaf, branch) = (sound.deep(1, 7), sound.path(sound.root("deep"), &[1]));
    for (path, flag) in [(&leaf, 4u16), (&leaf, 1 << 15), (&branch, 1), (&branch, 2), (&branch, 1 << 15)] {
        let mut image = sound.clone();
        image.forge(path[path.len() - 1], |page| set(page, 30, flag.to_le_bytes()));
        image.expect_deviations(&[at("deep", path, what)]);
    }
    // A leaf may say that it refers to large values, and do without.
    let mut image = sound.clone();
    image.forge(leaf[2], |leaf| set(leaf, 30, 1u16.to_le_bytes()));
    image.expect_deviations(&[]);

    let (head, count) = (u64_at(sound.meta(), 80), u64_at(sound.meta(), 88));
    let of_log = |what| format!("page 1 of the {count} of the space log: {what}");
    let field = "a field of the header that is not zero, though nothing uses it";
    for (byte, what) in [(5, field), (24, field), (26, field), (28, field), (30, what), (31, what)] {
        let mut image = sound.clone();
        image.forge(head, |log| log[byte] = 1);
        image.expect_deviations(&[outside_trees(head, &of_log(what))]);
    }
}

#[test]
fn stray_bytes_behind_a_large_value() {
    for (byte, is_stray) in [(2999, false), (3000, true), (PAGE - 1, true)] {
        let mut image = Image::modest();
        let (leaf, reference) = image.large(4);
        let first = u64_at(image.page(leaf), reference);
        image.0[first as usize * PAGE + byte] ^= 1;
        let path = [leaf, first];
        if is_stray {
            let what = format!("byte {byte} from the start of a large value of 3000 bytes is not zero");
            image.expect_deviations(&[at("large", &path, &what)]);
        } else {
            image.expect(&[at("large", &path, "a large value fails its checksum")]);
        }
    }
}

/// Where the second meta slot is looked for, if the first one is torn.
#[test]
fn a_large_value_beside_a_meta_slot() {
    let sound = Image::modest();
    let db = Options::new().open_store(&MemoryStore::with_image(&sound.0)).unwrap();
    let map = db.page_map().unwrap();
    let is_free = |no: &u64| map.find(*no).is_some_and(|run| run.kind == PageKind::Free);
    let beside: Vec<u64> = (1..16).filter(is_free).collect();
    assert!(!beside.is_empty());
    for no in beside {
        let mut image = sound.clone();
        let (leaf, reference) = image.large(4);
        let first = u64_at(image.page(leaf), reference);
        image.0.copy_within(first as usize * PAGE..(first as usize + 1) * PAGE, no as usize * PAGE);
        image.forge(leaf, |leaf| set(leaf, reference, no.to_le_bytes()));
        image.record_space(no, false);
        image.record_space(first, true);
        image.expect_deviations(&[at("large", &[leaf, no], "a large value beside a meta slot")]);
    }
}

#[test]
fn a_large_value_younger_than_its_leaf() {
    let sound = Image::modest();
    let (leaf, reference) = sound.large(2);
    let (first, txn) = (u64_at(sound.page(leaf), reference), u64_at(sound.meta(), 40));
    let above = u64_at(sound.page(leaf), 16);
    assert!(above < txn);
    for (born, kind) in
        [(above + 1, ProblemKind::Deviation), (txn, ProblemKind::Deviation), (txn + 1, ProblemKind::Damage)]
    {
        let mut image = sound.clone();
        image.forge(leaf, |leaf| set(leaf, reference + 16, born.to_le_bytes()));
        let what = format!("a large value born in transaction {born}, after what refers to it, in {above}");
        let (path, expected) = ([leaf, first], &what[..]);
        match kind {
            ProblemKind::Damage => image.expect(&[at("large", &path, expected)]),
            _ => image.expect_deviations(&[at("large", &path, expected)]),
        };
    }
}

/// A page of the space log of a transaction that came later says what was free then.
#[test]
fn a_page_of_the_space_log_younger_than_what_refers_to_it() {
    let mut image = Image::modest();
    let (head, count) = (u64_at(image.meta(), 80), u64_at(image.meta(), 88));
    let (older, above) = (u64_at(image.page(head), 32), u64_at(image.page(head), 16));
    let born = above + 1;
    image.forge(older, |log| set(log, 16, born.to_le_bytes()));
    let what = format!(
        "page 2 of the {count} of the space log: born in transaction {born}, after what refers to it, in {above}"
    );
    image.expect(&[outside_trees(older, &what)]);
}

/// One bucket of one entry, in a leaf.
fn small_image() -> Image {
    Image::of(|db| db.exec(|txn| txn.bucket_mut("b")?.put("k", "v")).unwrap())
}

#[test]
fn names_that_no_bucket_can_have() {
    for len in [0, 1, 255, 256, 1000] {
        let name = "n".repeat(len);
        let mut image = small_image();
        let catalog = image.catalog();
        let record = image.record("b").1;
        let record = image.page(catalog)[record..][..32].to_vec();
        image.forge(catalog, |leaf| write_leaf(leaf, name.as_bytes(), 32, &record));
        let what = format!("a bucket name of {len} bytes; it has 1 to 255");
        let (path, is_known) = ([catalog], (1..=255).contains(&len));
        let expected = [at(&name, &path, &what)];
        let report = image.expect_deviations(if is_known { &[] } else { &expected });
        assert_eq!((report.buckets, report.entries), (1, 1));
    }
}

#[test]
fn bytes_that_a_bucket_record_does_not_use() {
    let zeros = "its record in the catalog: bytes that are not zero, though nothing uses them";
    let flags = "its record in the catalog: unknown flags";
    for (byte, what) in [(17, zeros), (23, zeros), (24, flags), (27, flags), (28, zeros), (31, zeros)] {
        let mut image = Image::modest();
        let (path, record) = image.record("small");
        image.forge(path[1], |leaf| leaf[record + byte] = 1);
        image.expect_deviations(&[at("small", &path, what)]);
    }
}

/// At 4 KiB a key has 1,984 bytes at most, and an entry up to 2,032 of them with its slot is in the leaf.
#[test]
fn keys_and_values_beyond_the_limits() {
    let longest = [b'k'; 1984];
    let long = [b'k'; 1985];
    let cases: [(&[u8], usize, Option<String>); 6] = [
        (&longest, 38, None),
        (&longest, 39, Some("a value of 39 bytes in a leaf, where it should be a large one".into())),
        (&long, 0, Some("a key of 1985 bytes; the limit is 1984".into())),
        (&long, 1000, Some("a key of 1985 bytes; the limit is 1984".into())),
        (b"k", 2021, None),
        (b"k", 2022, Some("a value of 2022 bytes in a leaf, where it should be a large one".into())),
    ];
    for (key, len, what) in cases {
        let mut image = small_image();
        let root = image.root("b");
        image.forge(root, |leaf| write_leaf(leaf, key, len as u16, &vec![1; len]));
        let path = [root];
        let expected: Vec<Expected<'_>> = what.iter().map(|what| at("b", &path, what)).collect();
        image.expect_deviations(&expected);
    }

    // The other way round: a large value of an entry that fits. One without bytes has no pages.
    for (len, is_large) in [(2022, true), (2021, false), (1, false), (0, false)] {
        let mut image = Image::of(|db| db.exec(|txn| txn.bucket_mut("b")?.put("k", [1; 3000])).unwrap());
        let root = image.root("b");
        let reference = image.value_at(root, "k").unwrap();
        let first = u64_at(image.page(root), reference);
        image.0[first as usize * PAGE + len..][..3000 - len].fill(0);
        let checksum = common::crc32c(&[&image.page(first)[..len]]);
        image.forge(root, |leaf| {
            set(leaf, reference + 8, (len as u64).to_le_bytes());
            set(leaf, reference + 24, checksum.to_le_bytes());
        });
        if len == 0 {
            image.record_space(first, true);
        }
        let (path, what) = ([root], format!("a large value of {len} bytes, which should be in the leaf"));
        let expected = [at("b", &path, &what)];
        image.expect_deviations(if is_large { &[] } else { &expected });
    }

    // Separators are parts of keys.
    for (len, is_known) in [(1984, true), (1985, false)] {
        let mut image = Image::of(|db| {
            db.exec(|txn| (0..2).try_for_each(|n| txn.bucket_mut("b")?.put([b'a' + n; 1000], [1; 1000]))).unwrap();
            db.exec(|txn| txn.bucket_mut("b")?.put([b'c'; 1000], [1; 1000])).unwrap();
        });
        let root = image.root("b");
        let branch = image.page(root).to_vec();
        assert_eq!((branch[4], u16_at(&branch, 6)), (2, 2));
        let separator = [&branch[32..32 + u16_at(&branch, 28)][..1], &vec![0; len - 1]].concat();
        image.forge(root, |page| {
            let counts = [0, 1].map(|i| u64_at(page, child_record(page, i).0));
            let children = [0, 1].map(|i| u64_at(page, children_at(page) + i * 8));
            page[32..].fill(0);
            set(page, 24, ((16 + len) as u16).to_le_bytes());
            set(page, 26, [0; 4]);
            set(page, 36, head_of(&separator));
            for i in 0..2 {
                let at = PAGE - 8 - i * (8 + len);
                set(page, 40 + i * 8, children[i].to_le_bytes());
                set(page, 56 + i * 4, (at as u16).to_le_bytes());
                set(page, at, counts[i].to_le_bytes());
            }
            set(page, 62, (len as u16).to_le_bytes());
            set(page, PAGE - 8 - len, &separator);
        });
        let (path, what) = ([root], format!("separator 1 has {len} bytes, more than any key"));
        let expected = [at("b", &path, &what)];
        image.expect_deviations(if is_known { &[] } else { &expected });
    }
}

#[test]
fn what_a_meta_does_not_use() {
    let sound = Image::modest();
    let page = sound.meta_page();
    let zeros = "bytes that are not zero, though nothing uses them";
    let digest = "a digest that is not zero, though nothing uses it";
    let boot = "a boot id that is not zero, though nothing uses it";
    let words = "words behind the space records that are not zero";
    let end = 128 + u64_at(sound.meta(), 120) as usize * 8;
    let cases = [
        (21, "unknown flags in the meta"),
        (23, "unknown flags in the meta"),
        (73, zeros),
        (79, zeros),
        (97, zeros),
        (99, zeros),
        (100, digest),
        (104, boot),
        (119, boot),
        (end, words),
        (4095, words),
    ];
    for (byte, what) in cases {
        let mut image = sound.clone();
        image.forge_metas(|slot| slot[byte] = 1);
        image.expect_deviations(&[outside_trees(page, what)]);
    }
    let mut image = small_image();
    image.forge_metas(|slot| set(slot, 80, 3u64.to_le_bytes()));
    image.expect_deviations(&[outside_trees(image.meta_page(), "the number of a log page, where there is none")]);
}

/// A slot that holds no commit is told, in a closed file and in one that is not, and does not make the file unsound.
#[test]
fn a_meta_slot_that_holds_no_commit() {
    let fails = "a meta slot that fails its checksum; the other one does not";
    let holds_none = "a meta slot that holds no commit; the other one does";
    type Spoil = fn(&mut [u8]);
    let spoil: [(&str, Spoil); 4] = [
        (fails, |slot| slot[4000] ^= 1),
        (fails, |slot| slot[8] = 9),
        (holds_none, |slot| slot.fill(0)),
        (holds_none, |slot| slot[..512].fill(0)),
    ];
    let disk = MemoryStore::new();
    let db = Options::new().open_store(&disk).unwrap();
    ["v", "w"].iter().for_each(|v| db.exec(|txn| txn.bucket_mut("b")?.put("k", v)).unwrap());
    let open = disk.image();
    drop(db);
    for (image, is_closed) in [(open, false), (disk.image(), true)] {
        for slot in
            slots(PAGE).into_iter().filter(|&slot| is_closed || slot / PAGE != Image(image.clone()).newest() / PAGE)
        {
            for (what, spoil) in spoil {
                let mut image = image.clone();
                spoil(&mut image[slot..slot + 4096]);
                let disk = MemoryStore::with_image(&image);
                let db = Options::new().open_store(&disk).unwrap();
                let report = db.check().unwrap();
                assert!(report.is_ok(), "{:#?}", report.problems);
                assert_eq!(report.interrupted, [Interrupted::Slot { page: (slot / PAGE) as u64, what }]);
                assert_eq!(report.interrupted[0].to_string(), format!("interrupted: page {}: {what}", slot / PAGE));
                // The next commit takes its place.
                db.exec(|txn| txn.bucket_mut("b")?.put("k", "x")).unwrap();
                assert!(db.check().unwrap().interrupted.is_empty());
            }
        }
    }
}

/// A newer commit that the open has passed over is told, until another takes its place.
#[test]
fn a_commit_that_was_passed_over() {
    let disk = MemoryStore::new();
    let db = Options::new().open_store(&disk).unwrap();
    ["u", "v", "w"].iter().for_each(|v| db.exec(|txn| txn.bucket_mut("b")?.put("k", v)).unwrap());
    let mut image = Image(disk.image());
    let root = image.catalog();
    image.flip(root);
    let db = Options::new().open_store(&MemoryStore::with_image(&image.0)).unwrap();
    let report = db.check().unwrap();
    assert!(report.is_ok() && report.interrupted.len() == 1);
    assert_eq!(
        report.interrupted[0].to_string(),
        "interrupted: transaction 3 was opened, not the newer transaction 4: not all of it is in the file, after a power cut in its commit or damage since"
    );
    db.exec(|txn| txn.bucket_mut("b")?.put("k", "x")).unwrap();
    assert!(db.check().unwrap().interrupted.is_empty());
    assert!(db.stats().unwrap().passed_over.is_some());
}

/// A meta has 4,096 bytes, whatever the page size.
#[test]
fn stray_bytes_behind_a_meta() {
    for page_size in [8192, 65536] {
        let disk = MemoryStore::new();
        let db = Options::new().page_size(page_size as u32).open_store(&disk).unwrap();
        db.exec(|txn| txn.bucket_mut("b")?.put("k", "v")).unwrap();
        drop(db);
        for (no, byte) in [(0, 4096), (0, page_size - 1), (8, 4096 + 77)] {
            let mut image = Image(disk.image());
            image.0[no as usize * page_size + byte] = 1;
            image.expect_deviations(&[outside_trees(no, &stray(byte))]);
        }
    }
}

/// However much deviates, damage has its place in the report.
#[test]
fn a_report_keeps_problems_of_each_kind() {
    let mut image = Image::new();
    let root = image.root("deep");
    let mut count = 0;
    for i in 0..u16_at(image.page(root), 6) {
        for j in 0..u16_at(image.page(image.child(root, i)), 6) {
            let leaf = image.child(image.child(root, i), j);
            let at = gap(image.page(leaf)).start;
            image.forge(leaf, |leaf| leaf[at] = 1);
            count += 1;
        }
    }
    let small = image.root("small");
    image.flip(small);
    let report = Options::new().open_store(&MemoryStore::with_image(&image.0)).unwrap().check().unwrap();
    assert!(count > 1000 && report.is_damaged());
    assert_eq!((report.problem_count, report.damage_count, report.problems.len()), (count + 1, 1, 1001));
    assert_eq!(report.problems[1000].page, Some(small));
}

/// Beside a writer that commits, spills, grows and shrinks the file, and readers.
#[test]
fn a_check_of_a_live_database_finds_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let db = Options::new().dirty_limit(64 * PAGE).open(dir.path().join("live.folio")).unwrap();
    db.exec(|txn| (0..5000).try_for_each(|n| txn.bucket_mut("a")?.put(format!("{n:05}"), [1; 200]))).unwrap();
    let is_done = AtomicBool::new(false);
    let (checks, commits) = std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let mut rng = fastrand::Rng::with_seed(1);
            let mut commits = 0;
            while !is_done.load(Ordering::Relaxed) {
                db.exec(|txn| {
                    let count = if rng.u32(..10) == 0 { 2000 } else { rng.u32(..50) };
                    for _ in 0..count {
                        let key = format!("{:05}", rng.u32(..8000));
                        let mut bucket = txn.bucket_mut(["a", "b"][rng.usize(..2)])?;
                        match rng.u32(..3) {
                            0 => bucket.put(&key, vec![2; rng.usize(..300)])?,
                            1 if rng.u32(..20) == 0 => bucket.put(&key, vec![3; rng.usize(..50_000)])?,
                            _ => drop(bucket.delete(&key)?),
                        }
                    }
                    if rng.u32(..30) == 0 { txn.drop_bucket("b").map(drop) } else { Ok(()) }
                })
                .unwrap();
                commits += 1;
            }
            commits
        });
        for _ in 0..2 {
            scope.spawn(|| {
                while !is_done.load(Ordering::Relaxed) {
                    let txn = db.begin_read().unwrap();
                    let a = txn.bucket("a").unwrap().unwrap();
                    assert_eq!(a.iter().map(Result::unwrap).count() as u64, a.len());
                }
            });
        }
        let start = std::time::Instant::now();
        let mut checks = 0;
        while checks < 20 || start.elapsed().as_secs() < 2 {
            let (mut last, mut calls) = (0, 0);
            let report = db
                .check_with(|seen, pages| {
                    assert!(last <= seen && seen <= pages, "{last}, {seen} of {pages}");
                    (last, calls) = (seen, calls + 1);
                })
                .unwrap();
            assert!(report.is_ok(), "{:#?}", report.problems);
            assert!(last == report.pages && calls > 0 && report.entries > 0);
            checks += 1;
        }
        is_done.store(true, Ordering::Relaxed);
        (checks, writer.join().unwrap())
    });
    println!("{checks} checks beside {commits} commits");
    assert!(commits > 0);
}
