//! P2: no content of the file, however damaged or hostile, makes the library panic, hang, or take memory without bound. What
//! was damaged at random is answered rightly or with an error; a forger, who knows the checksums, may get wrong answers.
//!
//! `FOLIO_SEEDS=100 cargo test --release --test corrupt` goes deeper; `FOLIO_SEED=n` replays one seed of each test.

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use common::{say_synced, seal_meta, seal_page, set, slots, u16_at, u64_at};
use folio::disk::MemoryStore;
use folio::{Bucket, Database, Durability, Entry, Error, Options, Result, Verify, WriteTxn};

type Model = BTreeMap<String, BTreeMap<Vec<u8>, Vec<u8>>>;

/// A key and a value.
type Pair = (Vec<u8>, Vec<u8>);

/// A database worth damaging: several buckets and levels, large values, free pages, a space log.
struct Sample {
    options: Options,
    page_size: usize,
    image: Vec<u8>,
    /// The same some commits before.
    older: Vec<u8>,
    /// What each commit left, by transaction id.
    states: BTreeMap<u64, Model>,
    /// Every entry that ever was.
    stored: BTreeSet<Pair>,
}

const NAMES: [&str; 4] = ["large", "long keys", "many", "new"];

impl Sample {
    fn new(seed: u64, page_size: u32) -> Sample {
        let mut rng = fastrand::Rng::with_seed(seed);
        let options = Options::new().page_size(page_size);
        let disk = MemoryStore::new();
        let db = options.open_store(&disk).unwrap();
        let (mut model, mut states) = (Model::new(), BTreeMap::from([(1, Model::new())]));
        let (mut older, mut stored) = (Vec::new(), BTreeSet::new());
        let commits = 130;
        for round in 0..commits {
            let mut txn = db.begin_write().unwrap();
            let count = if round == 0 { 500 } else { rng.usize(1..10) };
            for _ in 0..count {
                let (name, key, len) = match rng.u32(..10) {
                    0 => ("large", format!("large {}", rng.u32(..6)), rng.usize(..page_size as usize * 3)),
                    1..4 => {
                        let letter = ["a", "b", "c"][rng.usize(..3)];
                        ("long keys", format!("{}{:02}", letter.repeat(690), rng.u32(..100)), rng.usize(..20))
                    }
                    _ => ("many", format!("a shared prefix/{:03}", rng.u32(..400)), rng.usize(..150)),
                };
                let mut bucket = txn.bucket_mut(name).unwrap();
                let truth = model.entry(name.to_string()).or_default();
                if round > 0 && rng.u32(..3) == 0 {
                    bucket.delete(&key).unwrap();
                    truth.remove(key.as_bytes());
                    continue;
                }
                let value: Vec<u8> = (0..len).map(|i| (i + round * 13) as u8).collect();
                bucket.put(&key, &value).unwrap();
                stored.insert((key.clone().into_bytes(), value.clone()));
                truth.insert(key.into_bytes(), value);
            }
            let durability = if round % 9 == 5 { Durability::Relaxed } else { Durability::Durable };
            states.insert(txn.commit_with(durability).unwrap().get(), model.clone());
            if round == commits - 12 {
                older = disk.image();
            }
        }
        drop(db);
        let image = disk.image();
        let log_count = slots(page_size as usize).map(|at| u64_at(&image, at + 88));
        assert!(log_count[0].max(log_count[1]) > 0, "it has a space log");
        Sample { options, page_size: page_size as usize, image, older, states, stored }
    }

    /// The number of pages in use, without the room to grow.
    fn page_count(&self) -> usize {
        slots(self.page_size).map(|at| u64_at(&self.image, at + 48)).into_iter().max().unwrap() as usize
    }

    /// Pages with a header that the newest snapshot can reach, the space log's among them.
    fn reachable(&self) -> Vec<usize> {
        let slot = slots(self.page_size).into_iter().max_by_key(|&at| u64_at(&self.image, at + 40)).unwrap();
        let mut found = Vec::new();
        let mut log = u64_at(&self.image, slot + 80) as usize;
        for _ in 0..u64_at(&self.image, slot + 88) {
            found.push(log);
            log = u64_at(&self.image, log * self.page_size + 32) as usize;
        }
        let mut trees = vec![u64_at(&self.image, slot + 56) as usize];
        let catalog = trees[0];
        while let Some(no) = trees.pop() {
            let page = &self.image[no * self.page_size..][..self.page_size];
            found.push(no);
            let parts = Parts::of(page);
            for i in 0..parts.count {
                match page[4] {
                    2 => trees.push(u64_at(page, parts.children + i * 8) as usize),
                    _ if no == catalog => {
                        let record = u16_at(page, parts.heads + i * 8 + 4) + 2 + u16_at(page, parts.heads + i * 8 + 6);
                        trees.extend(Some(u64_at(page, record) as usize).filter(|&root| root > 0));
                    }
                    _ => {}
                }
            }
        }
        assert!(found.len() > 5, "{found:?}");
        found
    }
}

/// Where the parts of a leaf (`heads` are its slots) or a branch lie.
struct Parts {
    count: usize,
    heads: usize,
    children: usize,
    places: usize,
}

impl Parts {
    fn of(page: &[u8]) -> Parts {
        // Within the page, even if it was forged before.
        let count = u16_at(page, 6).min(page.len() / 32);
        let prefix_len = if page[4] == 2 { u16_at(page, 28).min(page.len() / 4) } else { 0 };
        let heads = 32 + prefix_len.next_multiple_of(8);
        Parts { count, heads, children: heads + count * 4, places: heads + count * 12 }
    }
}

/// One damaged image, put through everything that the library can do.
struct Trial<'a> {
    sample: &'a Sample,
    rng: fastrand::Rng,
    /// Whether checksums were forged, so that answers may be wrong, and walks without an end.
    is_forged: bool,
    /// Whether pages are whole pages of an older state, which nothing tells from those that should be there.
    is_spliced: bool,
    written: BTreeSet<Pair>,
    errors: usize,
}

impl Trial<'_> {
    fn new(sample: &Sample, seed: u64) -> Trial<'_> {
        let rng = fastrand::Rng::with_seed(seed);
        Trial { sample, rng, is_forged: false, is_spliced: false, written: BTreeSet::new(), errors: 0 }
    }

    /// How many entries a walk looks at.
    fn limit(&self) -> usize {
        if self.is_forged { 700 } else { usize::MAX }
    }

    /// An answer: what it should be, or an error that says that the file is damaged.
    fn take<T>(&mut self, result: Result<T>) -> Option<T> {
        match result {
            Ok(answer) => Some(answer),
            Err(Error::Corrupt { .. } | Error::Broken) => {
                self.errors += 1;
                None
            }
            Err(Error::KeyOrder | Error::BucketExists { .. }) => None,
            Err(Error::Full { .. }) if self.is_forged => None,
            Err(error) => panic!("{error:?}"),
        }
    }

    fn is_stored(&self, key: &[u8], value: &[u8]) {
        let entry = (key.to_vec(), value.to_vec());
        // A leaf of the catalog looks like any other.
        let known = self.is_forged
            || self.sample.stored.contains(&entry)
            || self.written.contains(&entry)
            || self.is_spliced && value.len() == 32 && std::str::from_utf8(key).is_ok_and(|key| NAMES.contains(&key));
        assert!(known, "a value of {} bytes that was not stored under {:?}", value.len(), String::from_utf8_lossy(key));
    }

    fn entry(&mut self, result: Result<Option<Entry<'_>>>) {
        if let Some(Some((key, value))) = self.take(result) {
            self.is_stored(key, value);
        }
    }

    /// Opens the image, reads, writes, and opens again what that came to. False if it was refused.
    fn run(&mut self, image: &[u8], verify: Verify) -> bool {
        let disk = MemoryStore::with_image(image);
        let options = self.sample.options.clone().verify(verify).create(false);
        let db = match options.open_store(&disk) {
            Ok(db) => db,
            Err(Error::Corrupt { .. } | Error::NotADatabase | Error::Version { .. }) => return false,
            Err(error) => panic!("{error:?}"),
        };
        let before = self.errors;
        let content = self.read(&db);
        let report = db.check().unwrap();
        let stats = db.stats();
        self.take(stats);
        let is_whole = self.errors == before || report.is_ok();
        if is_whole && !self.is_forged && !self.is_spliced && verify != Verify::Never {
            let id = db.begin_read().unwrap().id().get();
            assert!(self.sample.states[&id] == content, "state {id}, which is whole, is not what was committed");
        }
        if self.rng.u32(..4) == 0 {
            self.back_up(&db, &content, is_whole && !self.is_spliced);
        }
        for _ in 0..2 {
            self.write(&db);
            self.read(&db);
        }
        db.check().unwrap();
        self.take(db.sync());
        drop(db);
        let again = MemoryStore::with_image(&disk.image());
        if let Ok(db) = options.open_store(&again) {
            self.read(&db);
            db.check().unwrap();
        }
        true
    }

    /// Makes both kinds of copies. One of a state that could be read whole holds what was read.
    fn back_up(&mut self, db: &Database, content: &Model, is_whole: bool) {
        for is_exact in [false, true] {
            let mut copy = Vec::new();
            let made = db.begin_read().unwrap().backup().exact(is_exact).to_writer(&mut copy);
            if self.take(made).is_none() {
                continue;
            }
            let copy = self.sample.options.open_store(&MemoryStore::with_image(&copy)).unwrap();
            let report = copy.check().unwrap();
            // Where pages do not fit each other, an exact copy has them as they are; a compact one is built anew.
            let may_be_odd = is_exact && (self.is_forged || self.is_spliced);
            assert!(!report.is_damaged() || may_be_odd, "{:#?}", report.problems);
            if is_whole && !self.is_forged {
                assert!(self.read(&copy) == *content);
            }
        }
    }

    /// Reads everything in every way.
    fn read(&mut self, db: &Database) -> Model {
        let txn = db.begin_read().unwrap();
        let mut content = Model::new();
        let names = self.take(txn.buckets()).unwrap_or_default();
        for name in NAMES {
            let Some(Some(bucket)) = self.take(txn.bucket(name)) else { continue };
            content.insert(name.to_string(), self.walk(bucket));
            self.probe(bucket, name);
        }
        let known = |name: &String| NAMES.contains(&&name[..]) || self.is_forged;
        assert!(names.iter().all(known), "{names:?}");
        content
    }

    fn walk(&mut self, bucket: Bucket<'_>) -> BTreeMap<Vec<u8>, Vec<u8>> {
        let mut content = BTreeMap::new();
        for entry in bucket.iter().take(self.limit()) {
            if let Some((key, value)) = self.take(entry) {
                self.is_stored(key, value);
                content.insert(key.to_vec(), value.to_vec());
            }
        }
        for entry in bucket.iter().rev().take(self.limit()) {
            self.entry(entry.map(Some));
        }
        let mut both = bucket.iter();
        for step in 0..self.limit() {
            let Some(entry) = (if step % 3 == 0 { both.next_back() } else { both.next() }) else { break };
            self.entry(entry.map(Some));
        }
        content
    }

    fn probe(&mut self, bucket: Bucket<'_>, name: &str) {
        let keys: Vec<&[u8]> = match self.sample.states.values().next_back().unwrap().get(name) {
            Some(entries) => entries.keys().map(|key| &key[..]).collect(),
            None => Vec::new(),
        };
        let mut picked: Vec<&[u8]> = (0..40.min(keys.len())).map(|_| keys[self.rng.usize(..keys.len())]).collect();
        picked.extend([&b""[..], b"a shared prefix/", b"zzz"]);
        for key in &picked {
            if let Some(Some(value)) = self.take(bucket.get(key)) {
                self.is_stored(key, value);
            }
        }
        if let Some(values) = self.take(bucket.get_many(&picked)) {
            for (key, value) in picked.iter().zip(values) {
                value.into_iter().for_each(|value| self.is_stored(key, value));
            }
        }
        let mut cursor = bucket.cursor();
        for (i, key) in picked.iter().enumerate() {
            let result = if i % 2 == 0 { cursor.seek(key) } else { cursor.seek_for_prev(key) };
            self.entry(result);
            for _ in 0..3 {
                let result = if i % 3 == 0 { cursor.next() } else { cursor.prev() };
                self.entry(result);
            }
            self.take(bucket.rank(key));
            self.take(bucket.count_range(*key..));
            for entry in bucket.prefix(key).take(3) {
                self.entry(entry.map(Some));
            }
        }
        for result in [cursor.first(), cursor.last(), bucket.first(), bucket.last()] {
            self.entry(result);
        }
        for n in [0, 1, bucket.len() / 2, bucket.len().saturating_sub(1), bucket.len(), u64::MAX] {
            self.entry(bucket.nth(n));
        }
        self.take(bucket.stats());
    }

    fn write(&mut self, db: &Database) {
        let Some(mut txn) = self.take(db.begin_write()) else { return };
        let latest = self.sample.states.values().next_back().unwrap();
        let mut written = Vec::new();
        for step in 0..self.rng.usize(1..25) {
            let name = NAMES[self.rng.usize(..NAMES.len())];
            let keys: Vec<&Vec<u8>> = latest.get(name).into_iter().flat_map(BTreeMap::keys).collect();
            let key = match keys.is_empty() || self.rng.u32(..4) == 0 {
                true => format!("{}{step}", "a shared prefix/".repeat(self.rng.usize(..100))).into_bytes(),
                false => keys[self.rng.usize(..keys.len())].clone(),
            };
            let len = if self.rng.u32(..6) == 0 { self.rng.usize(..9000) } else { self.rng.usize(..300) };
            let value = vec![self.rng.u8(..); len];
            let what = self.rng.u32(..100);
            let end = self.rng.u8(b'a'..=b'y');
            if let Some(put) = change(&mut txn, name, key, value, what, end).map(|result| self.take(result)) {
                written.extend(put.flatten());
            }
            if what == 98 {
                let names = txn.buckets();
                self.take(names);
            }
        }
        let committed = match self.rng.u32(..3) {
            0 => txn.commit_with(Durability::Relaxed),
            _ => txn.commit(),
        };
        if self.take(committed).is_some() {
            self.written.extend(written);
        }
    }
}

/// One change of a kind that `what` tells. Answers with what it put.
fn change(
    txn: &mut WriteTxn,
    name: &str,
    key: Vec<u8>,
    value: Vec<u8>,
    what: u32,
    end: u8,
) -> Option<Result<Option<Pair>>> {
    let mut bucket = match what {
        0 => return Some(txn.drop_bucket(name).map(|_| None)),
        1 => return Some(txn.rename_bucket(name, "new").map(|_| None)),
        _ => match txn.bucket_mut(name) {
            Ok(bucket) => bucket,
            Err(error) => return Some(Err(error)),
        },
    };
    Some(match what {
        2 => bucket.clear().map(|()| None),
        3..8 => bucket.delete_range(&key[..]..&[end][..]).map(|_| None),
        8..12 => bucket.pop_first().map(|_| None),
        12..16 => bucket.pop_last().map(|_| None),
        16..45 => bucket.delete(&key).map(|_| None),
        45..50 => bucket.append(&key, &value).map(|()| Some((key, value))),
        50..55 => bucket.reserve(&key, value.len(), |bytes| bytes.copy_from_slice(&value)).map(|()| Some((key, value))),
        _ => bucket.put(&key, &value).map(|()| Some((key, value))),
    })
}

/// Runs trials on another thread, and stops the whole process if one of them does not come to an end or takes too much
/// memory: nothing else stops a thread that hangs.
fn watched(trials: impl FnOnce(&dyn Fn(String)) + Send) {
    let now = Mutex::new((String::new(), Instant::now()));
    let begin = |what: String| *now.lock().unwrap() = (what, Instant::now());
    std::thread::scope(|scope| {
        let worker = scope.spawn(|| trials(&begin));
        while !worker.is_finished() {
            std::thread::sleep(Duration::from_millis(5));
            let Ok(now) = now.lock() else { continue };
            let trouble = match (now.1.elapsed().as_secs() > 30, memory_len() > 2 << 30) {
                (true, _) => "hangs",
                (_, true) => "takes more than 2 GiB",
                _ => continue,
            };
            // Past the capturing of output, which dies with the process.
            let _told = std::io::stderr().write_all(format!("\n{} {trouble}\n", now.0).as_bytes());
            std::process::abort();
        }
        if let Err(panic) = worker.join() {
            std::panic::resume_unwind(panic);
        }
    });
}

/// Memory that this process has written to, in bytes; 0 where the system does not tell.
fn memory_len() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
    line.map_or(0, |line| line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() << 10)
}

/// One trial, with what it was if it panics.
fn trial(what: &str, begin: &dyn Fn(String), run: impl FnOnce() -> bool) -> bool {
    begin(what.to_string());
    match catch_unwind(AssertUnwindSafe(run)) {
        Ok(opened) => opened,
        Err(panic) => {
            println!("in {what}");
            std::panic::resume_unwind(panic)
        }
    }
}

/// The seeds to run with, and how many trials for each.
fn seeds(quick: u64) -> std::ops::Range<u64> {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse().expect("a number"));
    match number("FOLIO_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("FOLIO_SEEDS").unwrap_or(quick),
    }
}

const PAGE_SIZES: [u32; 4] = [4096, 4096, 16384, 65536];

fn page_size(seed: u64) -> u32 {
    PAGE_SIZES[seed as usize % PAGE_SIZES.len()]
}

/// Damage at random: bits, sectors, whole pages.
fn damage(rng: &mut fastrand::Rng, image: &mut [u8], used: usize, page_size: usize) {
    let pages = used / page_size;
    let mut page = || rng.usize(..pages) * page_size;
    let (a, b) = (page(), page());
    match rng.u32(..8) {
        0 | 1 => (0..rng.usize(1..9)).for_each(|_| image[rng.usize(..used)] ^= 1 << rng.u32(..8)),
        // A bit in the part of a page that is sure to be in use.
        2 => image[a + rng.usize(..64)] ^= 1 << rng.u32(..8),
        3 => image[a..a + page_size].fill(0),
        4 => image[a..a + page_size].fill_with(|| rng.u8(..)),
        5 => {
            let at = rng.usize(..used / 512) * 512;
            image[at..at + 512].fill(if rng.bool() { 0 } else { 0xff });
        }
        6 => image.copy_within(a..a + page_size, b),
        _ => {
            let copy = image[a..a + page_size].to_vec();
            image.copy_within(b..b + page_size, a);
            set(image, b, copy);
        }
    }
}

#[test]
fn damage_at_random_is_found_or_does_no_harm() {
    watched(|begin| {
        for seed in seeds(4) {
            let sample = Sample::new(seed, page_size(seed));
            let (mut opened, mut errors) = (0, 0);
            for n in 0..60 {
                let mut rng = fastrand::Rng::with_seed(seed << 32 | n);
                let mut image = sample.image.clone();
                let used = sample.page_count() * sample.page_size;
                (0..rng.usize(1..4)).for_each(|_| damage(&mut rng, &mut image, used, sample.page_size));
                let verify = if n % 20 == 0 { Verify::Always } else { Verify::Once };
                let mut run = Trial::new(&sample, n);
                opened += usize::from(trial(&format!("seed {seed}, damage {n}"), begin, || run.run(&image, verify)));
                errors += usize::from(run.errors > 0);
            }
            assert!(opened >= 30 && errors >= 10, "{opened} opened, {errors} with errors");
        }
    });
}

#[test]
fn a_file_cut_anywhere_is_refused_or_whole() {
    watched(|begin| {
        for seed in seeds(3) {
            let sample = Sample::new(seed, page_size(seed));
            let used = sample.page_count();
            for pages in 0..=used + 1 {
                for len in [pages * sample.page_size, pages * sample.page_size + 1000] {
                    let image = &sample.image[..len.min(sample.image.len())];
                    let mut run = Trial::new(&sample, 0);
                    let what = format!("seed {seed}, {len} bytes");
                    // What is shorter than the newest state may still hold the one before.
                    if trial(&what, begin, || run.run(image, Verify::Once)) {
                        assert_eq!(run.errors, 0, "{what}");
                    } else {
                        assert!(len < used * sample.page_size, "{what}");
                    }
                }
            }
        }
    });
}

/// Lost writes: pages, or slots, that were never overwritten. Their checksums are right, and so are their numbers.
#[test]
fn pages_of_an_older_state_yield_nothing_that_never_was() {
    watched(|begin| {
        for seed in seeds(3) {
            let sample = Sample::new(seed, page_size(seed));
            let older_pages = sample.older.len().min(sample.image.len()) / sample.page_size;
            for n in 0..50 {
                let mut rng = fastrand::Rng::with_seed(seed << 32 | n);
                let mut image = sample.image.clone();
                for _ in 0..rng.usize(1..20) {
                    let slot = slots(sample.page_size)[rng.usize(..2)];
                    let at = if n % 5 == 0 { slot } else { rng.usize(1..older_pages) * sample.page_size };
                    image[at..at + sample.page_size].copy_from_slice(&sample.older[at..at + sample.page_size]);
                }
                let mut run = Trial::new(&sample, n);
                run.is_spliced = true;
                trial(&format!("seed {seed}, splice {n}"), begin, || run.run(&image, Verify::Once));
            }
        }
    });
}

/// T2: a meta counts only if the root that it names is there: sound, of its own number, and written no later. One that says that it was synced
/// was whole once, so there is damage, and no commit goes missing in silence: only who asks for the one before gets it.
#[test]
fn t02_a_meta_without_its_root_is_not_trusted() {
    for seed in 0..2 {
        let sample = Sample::new(seed, page_size(seed));
        let disk = MemoryStore::with_image(&sample.image);
        let db = sample.options.open_store(&disk).unwrap();
        db.exec(|txn| txn.bucket_mut("many")?.put("k", "v")).unwrap();
        // Not closed: the two slots hold the two last commits.
        let mut image = disk.image();
        trust(&mut image, sample.page_size);
        let [a, b] = slots(sample.page_size).map(|at| (u64_at(&image, at + 40), u64_at(&image, at + 56)));
        let ((newest, root), (older, _)) = (a.max(b), a.min(b));
        let at = root as usize * sample.page_size;
        let page = at..at + sample.page_size;
        let open = |image: &[u8], options: Options| options.open_store(&MemoryStore::with_image(image));
        let id = |image: &[u8], options: Options| {
            let db = open(image, options).unwrap();
            let (txn, report) = (db.begin_read().unwrap(), db.check().unwrap());
            assert!(report.is_ok(), "{:#?}", report.problems);
            assert_eq!(txn.bucket("many").unwrap().unwrap().contains("k").unwrap(), txn.id().get() == newest);
            let passed_over = db.stats().unwrap().passed_over;
            assert_eq!(passed_over.is_some(), txn.id().get() == older);
            assert!(passed_over.is_none_or(|it| (it.newer.get(), it.opened) == (newest, txn.id())));
            txn.id().get()
        };
        let previous = || sample.options.clone().previous_snapshot(true);
        assert_eq!((id(&image, sample.options.clone()), older), (newest, newest - 1));
        assert_eq!(id(&image, previous()), older);
        let damaged = |damage: &dyn Fn(&mut [u8])| {
            let mut image = image.clone();
            damage(&mut image[page.clone()]);
            let result = open(&image, sample.options.clone());
            assert!(matches!(result, Err(Error::Corrupt { page, .. }) if page == root), "{result:?}");
            assert_eq!(id(&image, previous()), older);
        };
        damaged(&|root| root.fill(0));
        damaged(&|root| root[40] ^= 1);
        damaged(&|root| {
            set(root, 8, 2u64.to_le_bytes());
            seal_page(root);
        });
        damaged(&|root| {
            set(root, 16, (newest + 1).to_le_bytes());
            seal_page(root);
        });
        // Closed, both slots name the same root; then, as with neither root, there is nothing to go back to.
        drop(db);
        let mut image = disk.image();
        let result = open(&image, previous());
        assert!(matches!(result, Err(Error::InvalidOption { option: "previous_snapshot", .. })), "{result:?}");
        trust(&mut image, sample.page_size);
        for at in slots(sample.page_size) {
            let root = u64_at(&image, at + 56) as usize;
            image[root * sample.page_size..][..sample.page_size].fill(0);
        }
        let result = open(&image, sample.options.clone());
        assert!(matches!(result, Err(Error::Corrupt { .. })), "{result:?}");
    }
}

/// A number that somebody might not have thought of.
fn absurd(rng: &mut fastrand::Rng, likely: u64) -> u64 {
    let choices = [0, 1, 2, 3, 7, likely / 2, likely - 1, likely, likely + 1, likely * 2, 1 << 15, 1 << 16, 1 << 24];
    let more = [1 << 31, 1 << 32, (1 << 40) - 1, 1 << 40, 1 << 62, 1 << 63, u64::MAX - 1, u64::MAX];
    match rng.u32(..4) {
        0 => rng.u64(..=likely * 2),
        1 | 2 => choices[rng.usize(..choices.len())],
        _ => more[rng.usize(..more.len())],
    }
}

/// Changes a field of a page with a header and makes its checksum right again.
fn forge_page(rng: &mut fastrand::Rng, image: &mut [u8], no: usize, all: &[usize], page_size: usize) {
    let pages = image.len() / page_size;
    let page = &mut image[no * page_size..][..page_size];
    let parts = Parts::of(page);
    let slot = rng.usize(..parts.count.max(1));
    let other = all[rng.usize(..all.len())] as u64;
    let number = absurd(rng, page_size as u64);
    let wide = absurd(rng, pages as u64);
    let half = (number as u16).to_le_bytes();
    match (rng.u32(..16), page[4]) {
        (0, _) => page[4] = rng.u8(..5),
        (1, _) => page[5] = [0, 1, 2, 3, 31, 32, 255][rng.usize(..7)],
        (2, _) => set(page, 6, half),
        (3, _) => set(page, 16, wide.to_le_bytes()),
        (4, _) => set(page, 24 + rng.usize(..4) * 2, half),
        // Fields in step with each other, so that sums still come out even.
        (5, _) => {
            let (heap, dead) = (u16_at(page, 24) as u16, u16_at(page, 26) as u16);
            let more = number as u16 % 64;
            set(page, 24, heap.wrapping_add(more).to_le_bytes());
            set(page, 26, dead.wrapping_add(more).to_le_bytes());
        }
        (6..12, 1) => {
            let slot = 32 + slot * 8;
            let record = u16_at(page, slot + 4).min(page_size - 2);
            let after_key = record + 2 + u16_at(page, slot + 6);
            let is_large = u16_at(page, record) > 0x7fff;
            match rng.u32(..7) {
                0 => set(page, slot, (wide as u32).to_le_bytes()),
                1 => set(page, slot + 4, half),
                2 => set(page, slot + 6, half),
                3 => set(page, record, half),
                4 if is_large && after_key + 28 <= page_size => set(page, after_key, other.to_le_bytes()),
                5 if is_large && after_key + 28 <= page_size => set(page, after_key + 8, wide.to_le_bytes()),
                // In the catalog these are root, entry count and depth of a bucket.
                _ if after_key + 17 <= page_size => match rng.u32(..4) {
                    0 => set(page, after_key, if rng.bool() { other } else { wide }.to_le_bytes()),
                    1 => set(page, after_key + 8, wide.to_le_bytes()),
                    2 => page[after_key + 16] = [0, 1, 2, 3, 4, 32, 33, 255][rng.usize(..8)],
                    _ => page[record + 2] ^= 1 << rng.u32(..8),
                },
                _ => {}
            }
        }
        (6..12, 2) => match rng.u32(..6) {
            0 => set(page, parts.heads + slot * 4, (wide as u32).to_le_bytes()),
            1 => set(page, parts.children + slot * 8, wide.to_le_bytes()),
            2 => set(page, parts.children + slot * 8, other.to_le_bytes()),
            3 => {
                // A child that is shared, or all that are the same.
                let child = u64_at(page, parts.children);
                let from = if rng.bool() { parts.count - 1 } else { 0 };
                (from..parts.count).for_each(|i| set(page, parts.children + i * 8, child.to_le_bytes()));
            }
            4 => set(page, parts.places + slot * 4 + rng.usize(..2) * 2, half),
            _ => {
                let record = u16_at(page, parts.places + slot * 4).min(page_size - 8);
                set(page, record, wide.to_le_bytes());
            }
        },
        (6..12, 3) => {
            let word = 64 + slot * 8;
            match rng.u32(..4) {
                0 => set(page, 32, if rng.bool() { other } else { wide }.to_le_bytes()),
                1 => set(page, 48 + rng.usize(..2) * 8, wide.to_le_bytes()),
                2 => set(page, word, wide.to_le_bytes()),
                _ => set(page, word, (rng.u64(..pages as u64 + 3) << 24 | rng.u64(..4)).to_le_bytes()),
            }
        }
        _ => page[rng.usize(16..page_size)] ^= 1 << rng.u32(..8),
    }
    seal_page(page);
}

/// Makes both slots trusted whatever happened to the pages that they name.
fn trust(image: &mut [u8], page_size: usize) {
    for at in slots(page_size) {
        say_synced(&mut image[at..at + 4096]);
    }
}

/// Changes a field of the newer meta slot, or of both, and makes the checksum right again.
fn forge_meta(rng: &mut fastrand::Rng, image: &mut [u8], all: &[usize], page_size: usize) {
    let pages = (image.len() / page_size) as u64;
    let newest = slots(page_size).into_iter().max_by_key(|&at| u64_at(image, at + 40)).unwrap();
    let (wide, other) = (absurd(rng, pages), all[rng.usize(..all.len())] as u64);
    let field = rng.u32(..9);
    let word = rng.usize(..60);
    let depth = [0, 1, 2, 3, 5, 31, 32, 33, 255][rng.usize(..9)];
    let forged = if rng.bool() { slots(page_size).to_vec() } else { vec![newest] };
    for at in forged {
        let slot = &mut image[at..at + 4096];
        match field {
            0 => set(slot, 48, wide.to_le_bytes()),
            1 => set(slot, 56, other.to_le_bytes()),
            2 => set(slot, 56, wide.to_le_bytes()),
            3 => set(slot, 64, wide.to_le_bytes()),
            4 => set(slot, 72, [depth]),
            5 => set(slot, 80, other.to_le_bytes()),
            6 => set(slot, 88, wide.to_le_bytes()),
            7 => set(slot, 120, wide.to_le_bytes()),
            _ => set(slot, 128 + word * 8, wide.to_le_bytes()),
        }
        seal_meta(slot);
    }
}

#[test]
fn forged_pages_do_no_worse_than_wrong_answers() {
    watched(|begin| {
        for seed in seeds(6) {
            let sample = Sample::new(seed, page_size(seed));
            let all = sample.reachable();
            let mut errors = 0;
            for n in 0..60 {
                let mut rng = fastrand::Rng::with_seed(seed << 32 | n);
                let mut image = sample.image.clone();
                trust(&mut image, sample.page_size);
                for _ in 0..rng.usize(1..5) {
                    let no = all[rng.usize(..all.len())];
                    forge_page(&mut rng, &mut image, no, &all, sample.page_size);
                }
                let mut run = Trial::new(&sample, n);
                run.is_forged = true;
                trial(&format!("seed {seed}, forgery {n}"), begin, || run.run(&image, Verify::Once));
                errors += usize::from(run.errors > 0);
            }
            assert!(errors >= 15, "{errors} with errors");
        }
    });
}

#[test]
fn forged_meta_slots_do_no_worse_than_wrong_answers() {
    watched(|begin| {
        for seed in seeds(4) {
            let sample = Sample::new(seed, page_size(seed));
            let all = sample.reachable();
            let (mut opened, mut errors) = (0, 0);
            for n in 0..60 {
                let mut rng = fastrand::Rng::with_seed(seed << 32 | n);
                let mut image = sample.image.clone();
                trust(&mut image, sample.page_size);
                (0..rng.usize(1..3)).for_each(|_| forge_meta(&mut rng, &mut image, &all, sample.page_size));
                let mut run = Trial::new(&sample, n);
                run.is_forged = true;
                let what = format!("seed {seed}, meta {n}");
                opened += usize::from(trial(&what, begin, || run.run(&image, Verify::Once)));
                errors += usize::from(run.errors > 0);
            }
            assert!(opened >= 10 && errors >= 5, "{opened} opened, {errors} with errors");
        }
    });
}
