//! The format, from its description alone: a second reader, written after the text in `src/page/FORMAT.md` and nothing else,
//! finds in raw bytes what the library finds; and the library opens a file that was written by hand.

mod common;

use std::collections::{BTreeMap, BTreeSet};

use common::{crc32c, seal_meta, seal_page, set, u16_at, u32_at, u64_at};
use folio::disk::MemoryStore;
use folio::{Database, Durability, Options};

type Entries = Vec<(Vec<u8>, Vec<u8>)>;

/// A database as raw bytes.
struct Raw<'a> {
    bytes: &'a [u8],
    page_size: usize,
    boot_id: [u8; 16],
    /// The meta slot that counts.
    meta: &'a [u8],
    /// Every page that something was found in.
    used: BTreeSet<u64>,
    uniform_leaves: usize,
}

impl<'a> Raw<'a> {
    fn open(bytes: &'a [u8], boot_id: [u8; 16]) -> Raw<'a> {
        let mut raw = Raw { bytes, page_size: 0, boot_id, meta: &[], used: BTreeSet::from([0, 8]), uniform_leaves: 0 };
        let first = raw.slot(0);
        let sizes = first.map_or(vec![4096, 8192, 16384, 32768, 65536], |slot| vec![u32_at(slot, 16) as usize]);
        let second =
            sizes.into_iter().find_map(|size| raw.slot(8 * size).filter(|slot| u32_at(slot, 16) as usize == size));
        let mut slots: Vec<_> = first.into_iter().chain(second).collect();
        slots.sort_by_key(|slot| (u64_at(slot, 40), slot[96] == 1));
        let newest = slots.pop().expect("a good slot");
        raw.meta = if raw.is_doubtful(newest) { slots.pop().expect("a slot to go back to") } else { newest };
        raw.page_size = u32_at(raw.meta, 16) as usize;
        assert!(u64_at(raw.meta, 48) * raw.page_size as u64 <= bytes.len() as u64);
        raw
    }

    /// A meta slot, if it is good.
    fn slot(&self, at: usize) -> Option<&'a [u8]> {
        let slot = self.bytes.get(at..at + 4096)?;
        let is_good = slot.starts_with(b"folio\r\n\0")
            && u32_at(slot, 8) == 1
            && u32_at(slot, 12) == crc32c(&[&slot[..12], &slot[16..]]);
        is_good.then_some(slot)
    }

    /// Whether the commit of the newest slot may not be whole.
    fn is_doubtful(&self, slot: &[u8]) -> bool {
        let page_size = u32_at(slot, 16) as usize;
        match slot[96] {
            1 => false,
            2 if u64_at(slot, 48) as usize * page_size > self.bytes.len() => u32_at(slot, 20) & 1 == 0,
            2 => {
                let (txn, taken, _) = records(words(slot, 128, u64_at(slot, 120) as usize)).pop().unwrap();
                assert_eq!(txn, u64_at(slot, 40));
                let mut parts = Vec::new();
                for no in taken.into_iter().filter(|&no| no < u64_at(slot, 48)) {
                    let page = &self.bytes[no as usize * page_size..][..page_size];
                    parts.extend([&page[..4], &crc32c(&[&page[4..]]).to_le_bytes()].concat());
                }
                u32_at(slot, 100) != crc32c(&[&parts])
            }
            3 => slot[104..120] != self.boot_id,
            trust => panic!("trust {trust}"),
        }
    }

    fn page_count(&self) -> u64 {
        u64_at(self.meta, 48)
    }

    /// A page with a header, sound and of the right kind.
    fn page(&mut self, no: u64, kind: u8, level: u8) -> &'a [u8] {
        assert!(no < self.page_count() && self.used.insert(no), "page {no} is outside, or used twice");
        let page = &self.bytes[no as usize * self.page_size..][..self.page_size];
        assert_eq!(u32_at(page, 0), crc32c(&[&page[4..]]), "checksum of page {no}");
        assert_eq!((page[4], page[5], u64_at(page, 8)), (kind, level, no));
        assert!((1..=u64_at(self.meta, 40)).contains(&u64_at(page, 16)), "born of page {no}");
        page
    }

    /// The entries of the tree that a record of 24 bytes describes.
    fn tree(&mut self, record: &[u8]) -> Entries {
        let (root, count, depth) = (u64_at(record, 0), u64_at(record, 8), record[16]);
        assert_eq!(record[17..24], [0; 7]);
        assert_eq!((root == 0, count == 0), (depth == 0, depth == 0));
        let entries = if depth == 0 { Vec::new() } else { self.subtree(root, depth - 1) };
        assert_eq!(entries.len() as u64, count);
        assert!(entries.is_sorted_by(|a, b| a.0 < b.0), "keys in order, none twice");
        entries
    }

    fn subtree(&mut self, no: u64, level: u8) -> Entries {
        let page = self.page(no, if level == 0 { 1 } else { 2 }, level);
        if level == 0 && u16_at(page, 30) & 2 != 0 {
            self.uniform_leaves += 1;
            return uniform_leaf(page);
        }
        let (count, heap_len, dead) = (u16_at(page, 6), u16_at(page, 24), u16_at(page, 26));
        let (prefix_len, mut entries, mut used) = (u16_at(page, 28), Vec::new(), 0);
        let heads = if level == 0 { 32 } else { 32 + prefix_len.next_multiple_of(8) };
        let slots_end = heads + count * if level == 0 { 8 } else { 16 };
        assert!(count > 0 && slots_end + heap_len <= self.page_size);
        assert!(page[slots_end..self.page_size - heap_len].iter().all(|&byte| byte == 0), "the gap is zero");
        let mut has_large = false;
        for i in 0..count {
            if level == 0 {
                let slot = &page[heads + i * 8..][..8];
                let (at, key_len, value_len) = (u16_at(slot, 4), u16_at(slot, 6), u16_at(page, u16_at(slot, 4)));
                let (key, rest) = page[at + 2..].split_at(key_len);
                let stored = &rest[..value_len & 0x7fff];
                assert_eq!(u32_at(slot, 0), head(&key[prefix_len..]));
                used += 2 + key_len + stored.len();
                has_large |= value_len > 0x7fff;
                let value = if value_len > 0x7fff { self.large(stored) } else { stored.to_vec() };
                entries.push((key.to_vec(), value));
                continue;
            }
            let place = heads + count * 12 + i * 4;
            let (at, suffix_len) = (u16_at(page, place), u16_at(page, place + 2));
            let suffix = &page[at + 8..][..suffix_len];
            assert_eq!(u32_at(page, heads + i * 4), head(suffix));
            let separator = [&page[32..32 + prefix_len], suffix].concat();
            let below = self.subtree(u64_at(page, heads + count * 4 + i * 8), level - 1);
            assert_eq!(u64_at(page, at), below.len() as u64);
            match i {
                0 => assert_eq!(suffix_len, 0),
                _ => assert!(entries.last().unwrap().0 < separator && separator <= below[0].0),
            }
            used += 8 + suffix_len;
            entries.extend(below);
        }
        assert_eq!(used + dead, heap_len);
        assert!(!has_large || u16_at(page, 30) & 1 == 1);
        let prefix = &entries[0].0[..if level == 0 { prefix_len } else { 0 }];
        assert!(entries.iter().all(|(key, _)| key.starts_with(prefix)));
        entries
    }

    fn large(&mut self, reference: &[u8]) -> Vec<u8> {
        assert_eq!(reference.len(), 28);
        let (first, len) = (u64_at(reference, 0), u64_at(reference, 8) as usize);
        let pages = len.div_ceil(self.page_size);
        let (value, tail) = self.bytes[first as usize * self.page_size..][..pages * self.page_size].split_at(len);
        assert!((first..first + pages as u64).all(|no| no < self.page_count() && self.used.insert(no)));
        assert!(tail.iter().all(|&byte| byte == 0));
        assert_eq!(u32_at(reference, 24), crc32c(&[value]));
        assert!((1..=u64_at(self.meta, 40)).contains(&u64_at(reference, 16)));
        value.to_vec()
    }

    fn buckets(&mut self) -> BTreeMap<String, Entries> {
        let catalog = self.tree(&self.meta[56..80]);
        let bucket = |(name, record): (Vec<u8>, Vec<u8>)| {
            assert_eq!((record.len(), &record[24..]), (32, &[0; 8][..]));
            (String::from_utf8(name).unwrap(), self.tree(&record[..24]))
        };
        catalog.into_iter().map(bucket).collect()
    }

    /// The free pages: the space log, oldest page first, and then the records in the meta.
    fn free(&mut self) -> BTreeSet<u64> {
        let (mut no, mut log) = (u64_at(self.meta, 80), Vec::new());
        for _ in 0..u64_at(self.meta, 88) {
            let page = self.page(no, 3, 0);
            log.push(words(page, 64, u16_at(page, 6)));
            no = u64_at(page, 32);
        }
        let inline = words(self.meta, 128, u64_at(self.meta, 120) as usize);
        let mut free = BTreeSet::new();
        for (_, taken, freed) in log.into_iter().rev().chain([inline]).flat_map(records) {
            free.retain(|no| !taken.contains(no));
            free.extend(freed);
        }
        free
    }
}

fn head(rest: &[u8]) -> u32 {
    u32::from_be_bytes(std::array::from_fn(|i| rest.get(i).copied().unwrap_or(0)))
}

fn uniform_leaf(page: &[u8]) -> Entries {
    let (count, key_len, value_len, prefix_len) =
        (u16_at(page, 6), u16_at(page, 24), u16_at(page, 26), u16_at(page, 28));
    assert_eq!(u16_at(page, 30), 2, "no value is large");
    let record_len = key_len + value_len;
    let records = page.len() - count * record_len;
    assert!(count > 0 && key_len > 0 && record_len <= 32);
    assert!(page[32 + count * 4..records].iter().all(|&byte| byte == 0), "the gap is zero");
    let entry = |i| {
        let (key, value) = page[page.len() - (i + 1) * record_len..][..record_len].split_at(key_len);
        assert_eq!(u32_at(page, 32 + i * 4), head(&key[prefix_len..]));
        (key.to_vec(), value.to_vec())
    };
    let entries: Entries = (0..count).map(entry).collect();
    assert!(entries.iter().all(|(key, _)| key[..prefix_len] == entries[0].0[..prefix_len]));
    entries
}

fn words(bytes: &[u8], at: usize, count: usize) -> Vec<u64> {
    (0..count).map(|i| u64_at(bytes, at + i * 8)).collect()
}

/// Space records: transaction, pages taken, pages freed.
fn records(words: Vec<u64>) -> Vec<(u64, Vec<u64>, Vec<u64>)> {
    let pages = |words: &[u64]| {
        words.iter().flat_map(|word| word >> 24..(word >> 24) + (word & 0xff_ffff)).collect::<Vec<u64>>()
    };
    let (mut rest, mut records) = (&words[..], Vec::new());
    while let [txn, counts, more @ ..] = rest {
        let (taken, more) = more.split_at((counts >> 32) as usize);
        let (freed, more) = more.split_at((counts & 0xffff_ffff) as usize);
        records.push((*txn, pages(taken), pages(freed)));
        rest = more;
    }
    assert!(rest.is_empty());
    records
}

/// What the library says of the same bytes.
fn by_library(db: &Database) -> BTreeMap<String, Entries> {
    let txn = db.begin_read().unwrap();
    let entries = |name: &String| {
        let bucket = txn.bucket(name).unwrap().unwrap();
        bucket.iter().map(|entry| entry.map(|(key, value)| (key.to_vec(), value.to_vec())).unwrap()).collect()
    };
    txn.buckets().unwrap().into_iter().map(|name| (name.clone(), entries(&name))).collect()
}

/// Reads an image with both readers, which must agree on everything. Answers what kind of trust the meta had, and how many uniform leaves
/// there were.
fn agree(disk: &MemoryStore, boot_id: [u8; 16]) -> (u8, usize) {
    let image = disk.image();
    let mut raw = Raw::open(&image, boot_id);
    let (buckets, free) = (raw.buckets(), raw.free());
    assert!(raw.used.is_disjoint(&free));
    let all: BTreeSet<u64> = raw.used.union(&free).copied().collect();
    assert!(all.into_iter().eq(0..raw.page_count()), "every page is used or free");

    let copy = MemoryStore::with_image(&image);
    copy.set_boot_id(boot_id);
    let db = Options::new().open_store(&copy).unwrap();
    assert_eq!(db.begin_read().unwrap().id().get(), u64_at(raw.meta, 40));
    let stats = db.stats().unwrap();
    assert_eq!((stats.free_pages, stats.page_count), (free.len() as u64, raw.page_count()));
    assert!(by_library(&db) == buckets, "the readers disagree");
    (raw.meta[96], raw.uniform_leaves)
}

#[test]
fn a_second_reader_finds_the_same_in_random_databases() {
    let mut trusts = BTreeSet::new();
    let (mut log_pages, mut uniform_leaves) = (0, 0);
    for (seed, page_size) in [4096, 4096, 8192, 16384, 32768, 65536].into_iter().enumerate() {
        let mut rng = fastrand::Rng::with_seed(seed as u64);
        let disk = MemoryStore::new();
        let boot_id = [seed as u8 + 1; 16];
        disk.set_boot_id(boot_id);
        let options = Options::new().page_size(page_size).dirty_limit(64 * page_size as usize);
        let db = options.open_store(&disk).unwrap();
        agree(&disk, boot_id);
        for round in 0..120 {
            let mut txn = db.begin_write().unwrap();
            for _ in 0..if round % 40 == 1 { 1500 } else { rng.usize(1..30) } {
                let name = ["a", "b", "a longer name", "ü", "ids"][rng.usize(..5)];
                if rng.u32(..800) == 0 {
                    txn.drop_bucket(name).unwrap();
                    continue;
                }
                let mut bucket = txn.bucket_mut(name).unwrap();
                let key = match rng.u32(..8) {
                    // Entries of one shape, and now and then another one.
                    _ if name == "ids" && rng.u32(..200) > 0 => {
                        let id = rng.u32(..60_000).to_be_bytes();
                        match rng.u32(..10) {
                            0..3 => drop(bucket.delete(id).unwrap()),
                            _ => bucket.put(id, [rng.u8(..); 8]).unwrap(),
                        }
                        continue;
                    }
                    0 => vec![rng.u8(..3); rng.usize(..1985)],
                    1..4 => rng.u16(..3000).to_be_bytes().to_vec(),
                    _ => format!("a common prefix/{:05}", rng.u32(..3000)).into_bytes(),
                };
                let len = match rng.u32(..40) {
                    0 => rng.usize(..3 * page_size as usize),
                    1..4 => rng.usize(..3000),
                    _ => rng.usize(..200),
                };
                match rng.u32(..10) {
                    0..3 => drop(bucket.delete(&key).unwrap()),
                    _ => bucket.put(&key, vec![rng.u8(..); len]).unwrap(),
                }
            }
            match rng.u32(..4) {
                0 => txn.commit_with(Durability::Relaxed).unwrap(),
                _ => txn.commit().unwrap(),
            };
            if round % 20 == 19 {
                let (trust, uniform) = agree(&disk, boot_id);
                trusts.insert(trust);
                uniform_leaves += uniform;
                log_pages += u64_at(Raw::open(&disk.image(), boot_id).meta, 88);
            }
        }
        drop(db);
        trusts.insert(agree(&disk, boot_id).0);
    }
    assert_eq!(trusts, BTreeSet::from([1, 2, 3]), "every kind of trust was met");
    assert!(log_pages > 0, "pages of the space log were met");
    assert!(uniform_leaves > 10, "{uniform_leaves} uniform leaves were met");
}

#[test]
fn a_tiny_database_byte_for_byte() {
    let disk = MemoryStore::new();
    let db = Options::new().open_store(&disk).unwrap();
    let fill = |txn: &mut folio::WriteTxn| {
        let mut fruit = txn.bucket_mut("fruit")?;
        fruit.put("pear", "green")?;
        fruit.put("peach", vec![b'p'; 5000])
    };
    db.exec(fill).unwrap();
    let image = disk.image();

    // The commit went to the second slot; the first still has the empty database.
    let meta = &image[8 * 4096..9 * 4096];
    assert_eq!(meta[..8], *b"folio\r\n\0");
    assert_eq!((u32_at(meta, 8), u32_at(meta, 16), u32_at(meta, 20)), (1, 4096, 0));
    assert_eq!((u64_at(meta, 40), u64_at(&image, 40)), (2, 1));
    assert_eq!(meta[24..40], image[24..40], "the database id");
    // The large value lies behind all that is there; the bucket's leaf, and the catalog's, lie behind the slot.
    assert_eq!(u64_at(meta, 48), 18);
    assert_eq!((u64_at(meta, 56), u64_at(meta, 64), meta[72], &meta[73..80]), (9, 1, 1, &[0; 7][..]));
    assert_eq!((u64_at(meta, 80), u64_at(meta, 88)), (0, 0), "no space log");
    assert_eq!(meta[96], 2, "a digest");
    assert_eq!(
        words(meta, 120, 5),
        [8, 1, 2, 1 << 24 | 7, 9 << 24 | 7],
        "at first the pages behind the slots are free"
    );
    assert_eq!(words(meta, 160, 4), [2, 2 << 32, 9 << 24 | 2, 16 << 24 | 2], "taken: two pages, and two");
    assert!(meta[192..].iter().all(|&byte| byte == 0));

    assert!(image[16 * 4096..16 * 4096 + 5000] == [b'p'; 5000]);
    assert!(image[16 * 4096 + 5000..18 * 4096].iter().all(|&byte| byte == 0));

    let leaf = &image[10 * 4096..11 * 4096];
    let peach = [&16u64.to_le_bytes()[..], &5000u64.to_le_bytes(), &2u64.to_le_bytes()].concat();
    let peach =
        [&(28u16 | 0x8000).to_le_bytes()[..], b"peach", &peach, &crc32c(&[&[b'p'; 5000]]).to_le_bytes()].concat();
    let pear = [&5u16.to_le_bytes()[..], b"pear", b"green"].concat();
    let heap_at = 4096 - pear.len() - peach.len();
    let heap_len = (4096 - heap_at) as u16;
    assert_eq!(leaf[4..8], [1, 0, 2, 0], "a leaf, level 0, two slots");
    assert_eq!((u64_at(leaf, 8), u64_at(leaf, 16)), (10, 2));
    assert_eq!(leaf[24..32], [&heap_len.to_le_bytes()[..], &[0, 0, 3, 0, 1, 0]].concat(), "prefix pea, large values");
    let slot = |head: &[u8; 4], at: usize, key_len: u8| {
        [&u32::from_be_bytes(*head).to_le_bytes()[..], &(at as u16).to_le_bytes(), &[key_len, 0]].concat()
    };
    assert_eq!(leaf[32..40], slot(b"ch\0\0", heap_at, 5));
    assert_eq!(leaf[40..48], slot(b"r\0\0\0", 4096 - pear.len(), 4));
    assert!(leaf[48..heap_at].iter().all(|&byte| byte == 0));
    assert_eq!(leaf[heap_at..], [peach, pear].concat());

    let catalog = &image[9 * 4096..10 * 4096];
    let record = [&10u64.to_le_bytes()[..], &2u64.to_le_bytes(), &[1], &[0; 7], &[0; 8]].concat();
    assert_eq!(catalog[4096 - 39..], [&[32, 0][..], b"fruit", &record].concat());
    assert_eq!(catalog[32..40], slot(b"\0\0\0\0", 4096 - 39, 5), "one key is all prefix");
    assert_eq!(u16_at(catalog, 28), 5);
    agree(&disk, [0; 16]);
}

/// Writes pages by hand, after the text. Offsets count from the page `base`, so that a file need not begin at its beginning.
struct Hand {
    bytes: Vec<u8>,
    page_size: usize,
    base: u64,
}

impl Hand {
    fn page(&mut self, no: u64) -> &mut [u8] {
        &mut self.bytes[(no - self.base) as usize * self.page_size..][..self.page_size]
    }

    fn header(&mut self, no: u64, kind: u8, level: u8, count: usize, heap_len: usize, prefix_len: usize) {
        let page = self.page(no);
        set(page, 4, [kind, level]);
        set(page, 6, (count as u16).to_le_bytes());
        set(page, 8, no.to_le_bytes());
        set(page, 16, 5u64.to_le_bytes());
        set(page, 24, (heap_len as u16).to_le_bytes());
        set(page, 28, (prefix_len as u16).to_le_bytes());
        seal_page(page);
    }

    /// A leaf of keys, lengths of values with their top bit, and values.
    fn leaf(&mut self, no: u64, entries: &[(&[u8], u16, &[u8])], prefix_len: usize) {
        let mut at = self.page_size;
        let page = self.page(no);
        let mut flags = 0;
        for (i, (key, value_len, value)) in entries.iter().enumerate() {
            let record = [&value_len.to_le_bytes()[..], key, value].concat();
            at -= record.len();
            set(page, at, record);
            let rest = [&key[prefix_len..], &[0; 4]].concat();
            let head = u32::from_be_bytes(rest[..4].try_into().unwrap());
            set(page, 32 + i * 8, head.to_le_bytes());
            set(page, 36 + i * 8, (at as u16).to_le_bytes());
            set(page, 38 + i * 8, (key.len() as u16).to_le_bytes());
            flags |= value_len >> 15;
        }
        set(page, 30, flags.to_le_bytes());
        let heap_len = self.page_size - at;
        self.header(no, 1, 0, entries.len(), heap_len, prefix_len);
    }

    /// A slot of transaction 5, durable.
    fn meta(&self, page_count: u64, catalog: &[u8], space: &[u64]) -> Vec<u8> {
        let mut meta = vec![0; 4096];
        set(&mut meta, 0, b"folio\r\n\0");
        set(&mut meta, 8, 1u32.to_le_bytes());
        set(&mut meta, 16, (self.page_size as u32).to_le_bytes());
        set(&mut meta, 40, 5u64.to_le_bytes());
        set(&mut meta, 48, page_count.to_le_bytes());
        set(&mut meta, 56, catalog);
        meta[96] = 1;
        set(&mut meta, 120, (space.len() as u64).to_le_bytes());
        for (i, word) in space.iter().enumerate() {
            set(&mut meta, 128 + i * 8, word.to_le_bytes());
        }
        seal_meta(&mut meta);
        meta
    }
}

fn tree_record(root: u64, count: u64, depth: u8) -> Vec<u8> {
    [&root.to_le_bytes()[..], &count.to_le_bytes(), &[depth], &[0; 7]].concat()
}

fn bucket_record(root: u64, count: u64, depth: u8) -> Vec<u8> {
    [tree_record(root, count, depth), vec![0; 8]].concat()
}

/// A file written by hand. If this fails, files that users have do not open any more.
#[test]
fn a_file_written_by_hand_opens() {
    for page_size in [4096usize, 65536] {
        // Pages 2, 3 and 16 are leaves, 17 is the branch above them, 18 the catalog, 19 a uniform leaf; the others are free.
        let mut hand = Hand { bytes: vec![0; 20 * page_size], page_size, base: 0 };
        hand.leaf(2, &[(b"", 5, b"empty"), (b"\0", 0, b""), (b"a", 1, b"1")], 0);
        hand.leaf(3, &[(b"user:100", 5, b"Alice"), (b"user:101", 3, b"Bob")], 7);
        hand.leaf(16, &[(b"user:2", 5, b"Carol"), (b"vser", 4, b"Dave")], 0);
        // Separators "user:1" and "user:2", sharing "user:".
        let branch = hand.page(17);
        set(branch, 32, b"user:");
        for (i, suffix) in [&b""[..], b"1", b"2"].into_iter().enumerate() {
            let at = page_size - (i + 1) * 9;
            set(branch, 40 + i * 4, [0, 0, 0, suffix.first().copied().unwrap_or(0)]);
            set(branch, 52 + i * 8, [2u64, 3, 16][i].to_le_bytes());
            set(branch, 76 + i * 4, (at as u16).to_le_bytes());
            set(branch, 78 + i * 4, (suffix.len() as u16).to_le_bytes());
            set(branch, at, [3u64, 2, 2][i].to_le_bytes());
            set(branch, at + 8, suffix);
        }
        // The first record has no suffix: nine bytes were set aside for it, of which one is dead.
        set(branch, 26, 1u16.to_le_bytes());
        hand.header(17, 2, 1, 3, 27, 5);
        let records = [bucket_record(0, 0, 0), bucket_record(19, 3, 1), bucket_record(17, 7, 2)];
        let names = [&b"empty"[..], b"numbers", b"people"].into_iter().zip(&records);
        hand.leaf(18, &names.map(|(name, record)| (name, 32, &record[..])).collect::<Vec<_>>(), 0);
        let numbers = hand.page(19);
        set(numbers, 26, 3u16.to_le_bytes());
        set(numbers, 30, 2u16.to_le_bytes());
        for (i, digit) in [b'1', b'2', b'7'].into_iter().enumerate() {
            set(numbers, 32 + i * 4, [0, 0, 0, digit]);
            set(numbers, page_size - (i + 1) * 5, [b'n', digit, b'v', b'a', digit]);
        }
        hand.header(19, 1, 0, 3, 2, 1);
        let free = [1 << 24 | 1, 4 << 24 | 4, 9 << 24 | 7];
        let meta = hand.meta(20, &tree_record(18, 3, 1), &[[5, 3].as_slice(), &free].concat());
        for slot in [0, 8] {
            set(hand.page(slot), 0, &meta);
        }

        let disk = MemoryStore::with_image(&hand.bytes);
        let db = Options::new().create(false).open_store(&disk).unwrap();
        let report = db.check().unwrap();
        assert!(report.is_ok(), "{:#?}", report.problems);
        let txn = db.begin_read().unwrap();
        assert_eq!(
            (txn.id().get(), txn.buckets().unwrap()),
            (5, ["empty", "numbers", "people"].map(String::from).to_vec())
        );
        let numbers = txn.bucket("numbers").unwrap().unwrap();
        let pairs: Vec<_> = numbers.iter().flatten().collect();
        assert_eq!(pairs, [(&b"n1"[..], &b"va1"[..]), (b"n2", b"va2"), (b"n7", b"va7")]);
        assert_eq!((numbers.get("n7").unwrap(), numbers.get("n3").unwrap()), (Some(&b"va7"[..]), None));
        assert_eq!(txn.bucket("empty").unwrap().unwrap().len(), 0);
        let people = txn.bucket("people").unwrap().unwrap();
        let pairs: Vec<_> = people.iter().flatten().collect();
        assert_eq!(pairs[0], (&b""[..], &b"empty"[..]));
        assert_eq!(pairs[6], (&b"vser"[..], &b"Dave"[..]));
        for (n, (key, value)) in pairs.into_iter().enumerate() {
            assert_eq!((people.get(key).unwrap(), people.rank(key).unwrap()), (Some(value), n as u64));
        }
        assert_eq!(people.get("user:1").unwrap(), None);
        assert_eq!(db.stats().unwrap().free_pages, 12);
        db.exec(|txn| {
            txn.bucket_mut("numbers")?.put("n3", "va3")?;
            txn.bucket_mut("people")?.put("user:102", "Eve")
        })
        .unwrap();
        assert!(db.check().unwrap().is_ok());
        assert_eq!(db.view(|txn| Ok(txn.bucket("people")?.unwrap().len())).unwrap(), 8);
        assert_eq!(people.len(), 7);
    }
}

/// A file that an early build of the library left behind after some forty commits, of entries of all sorts.
#[test]
fn a_file_of_an_early_build_opens_and_is_as_the_format_has_it() {
    let image = include_bytes!("data/version-1.folio");
    let disk = MemoryStore::with_image(image);
    agree(&disk, [0; 16]);
    let db = Options::new().create(false).open_store(&disk).unwrap();
    let report = db.check().unwrap();
    assert!(report.is_ok(), "{:#?}", report.problems);
    assert_eq!((report.pages, report.buckets, report.entries), (44, 5, 93));
    let txn = db.begin_read().unwrap();
    let mut all = Vec::new();
    for name in txn.buckets().unwrap() {
        for entry in txn.bucket(&name).unwrap().unwrap().iter() {
            let (key, value) = entry.unwrap();
            all.extend([name.as_bytes(), key, value].concat());
        }
    }
    assert_eq!((txn.id().get(), crc32c(&[&all])), (44, 0x60d0_420f));
    drop(txn);
    for n in 0..20 {
        db.exec(|txn| {
            txn.bucket_mut("gone")?.put(format!("{n}"), vec![1; n * 300])?;
            txn.bucket_mut("words")?.pop_first().map(drop)
        })
        .unwrap();
    }
    let report = db.check().unwrap();
    assert!(report.is_ok(), "{:#?}", report.problems);
}

/// T11: pages past 4 TiB and values past 2 GiB, in a file that is almost all hole.
#[test]
#[cfg(target_pointer_width = "64")]
fn t11_values_of_a_tebibyte_in_a_file_of_five() {
    use std::os::unix::fs::FileExt;

    let (page_size, value_pages) = (65_536, 1u64 << 24);
    let page_count = 5 * value_pages;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.folio");
    let file = std::fs::File::create(&path).unwrap();
    if let Err(error) = file.set_len(page_count * 65_536) {
        println!("skipped: no file of 5 TiB here: {error}");
        return;
    }
    // Four values of 1 TiB, one that takes the rest but for a hundred pages, of which 98 are free.
    let mut hand = Hand { bytes: vec![0; 2 * page_size], page_size, base: page_count - 2 };
    let large = |n: u64| {
        let (first, last) = (16 + n * value_pages, page_count - 100);
        let len = value_pages.min(last - first) * 65_536;
        [first.to_le_bytes(), len.to_le_bytes(), 5u64.to_le_bytes(), [0; 8]].concat()[..28].to_vec()
    };
    let entries: Vec<(Vec<u8>, Vec<u8>)> = (0..5).map(|n| (vec![b'0' + n as u8], large(n))).collect();
    let entries: Vec<(&[u8], u16, &[u8])> = entries.iter().map(|(key, large)| (&key[..], 0x801c, &large[..])).collect();
    hand.leaf(page_count - 2, &entries, 0);
    hand.leaf(page_count - 1, &[(b"a", 32, &bucket_record(page_count - 2, 5, 1))], 1);
    let meta = hand.meta(
        page_count,
        &tree_record(page_count - 1, 1, 1),
        &[5, 3, 1 << 24 | 7, 9 << 24 | 7, (page_count - 100) << 24 | 98],
    );
    file.write_all_at(&hand.bytes, (page_count - 2) * 65_536).unwrap();
    file.write_all_at(&meta, 0).unwrap();
    file.write_all_at(&meta, 8 * 65_536).unwrap();
    file.write_all_at(b"here", (16 + 4 * value_pages) * 65_536 - 4).unwrap();

    // Its checksums are not asked for: that would take hours.
    let options = Options::new().verify(folio::Verify::Never).create(false);
    let db = options.open(&path).unwrap();
    let txn = db.begin_read().unwrap();
    let value = txn.bucket("a").unwrap().unwrap().get("3").unwrap().unwrap();
    assert_eq!((value.len(), &value[(1 << 40) - 4..], value[1 << 32]), (1 << 40, &b"here"[..], 0));
    let stats = db.stats().unwrap();
    assert_eq!((stats.page_count, stats.free_pages, stats.file_len), (page_count, 112, page_count * 65_536));
    drop(txn);
    // Written past 4 TiB; and a tebibyte is let go of, which is one page more than a word of a space record tells.
    db.exec(|txn| {
        assert!(txn.bucket_mut("a")?.delete("0")?);
        txn.bucket_mut("a")?.put("5", vec![7; 200_000])
    })
    .unwrap();
    let stats = db.stats().unwrap();
    assert_eq!((stats.free_pages + stats.pending_pages, stats.page_count), (value_pages + 112 - 4, page_count));
    drop(db);
    let db = options.open(&path).unwrap();
    assert_eq!(db.stats().unwrap().free_pages, value_pages + 112 - 4);
    let txn = db.begin_read().unwrap();
    let a = txn.bucket("a").unwrap().unwrap();
    assert_eq!((a.len(), a.get("0").unwrap(), a.get("5").unwrap()), (5, None, Some(&[7; 200_000][..])));
    assert_eq!(a.get("1").unwrap().map(<[u8]>::len), Some(1 << 40));
    assert!(a.get("5").unwrap().unwrap().as_ptr().addr() - a.get("1").unwrap().unwrap().as_ptr().addr() > 3 << 40);
}
