//! P2, one hostile file each: forged with the right checksums, in ways that chance does not find. An answer or
//! `Error::Corrupt`, never a panic, never a hang, never a file that cannot be opened again.

mod common;

use std::sync::mpsc;
use std::time::Duration;

use common::{crc32c, say_synced, seal_meta, seal_page, set, slots, u16_at, u64_at};
use folio::disk::MemoryStore;
use folio::{Database, Error, Options, Verify};

const PAGE: usize = 4096;

/// An image with both metas trusted, of a database that `fill` made.
fn image(fill: impl Fn(&Database)) -> Vec<u8> {
    let disk = MemoryStore::new();
    let db = Options::new().open_store(&disk).unwrap();
    fill(&db);
    drop(db);
    let mut image = disk.image();
    for at in slots(PAGE) {
        say_synced(&mut image[at..at + 4096]);
    }
    image
}

fn newest(image: &[u8]) -> usize {
    slots(PAGE).into_iter().max_by_key(|&at| u64_at(image, at + 40)).unwrap()
}

/// Changes both meta slots and makes their checksums right again.
fn forge_metas(image: &mut [u8], forge: impl Fn(&mut [u8])) {
    for at in slots(PAGE) {
        let slot = &mut image[at..at + 4096];
        forge(slot);
        seal_meta(slot);
    }
}

/// The offset of the record of `key` in a leaf, and of its slot or head.
fn find(image: &[u8], key: &[u8]) -> (usize, usize) {
    let count = u64_at(image, newest(image) + 48) as usize;
    for no in (1..count).filter(|no| *no != 8) {
        let page = &image[no * PAGE..][..PAGE];
        if page[4] != 1 {
            continue;
        }
        for i in 0..u16_at(page, 6) {
            if is_uniform(page) {
                let at = PAGE - (i + 1) * record_len(page);
                if page[at..at + u16_at(page, 24)] == *key {
                    return (no * PAGE + at, no * PAGE + 32 + i * 4);
                }
                continue;
            }
            let slot = 32 + i * 8;
            let (at, len) = (u16_at(page, slot + 4), u16_at(page, slot + 6));
            if page.get(at + 2..at + 2 + len) == Some(key) {
                return (no * PAGE + at, no * PAGE + slot);
            }
        }
    }
    panic!("no such key");
}

fn is_uniform(leaf: &[u8]) -> bool {
    u16_at(leaf, 30) & 2 != 0
}

/// The length of the records of a uniform leaf.
fn record_len(leaf: &[u8]) -> usize {
    u16_at(leaf, 24) + u16_at(leaf, 26)
}

fn reseal(image: &mut [u8], at: usize) {
    let page = at / PAGE * PAGE;
    seal_page(&mut image[page..page + PAGE]);
}

fn open(image: &[u8]) -> Database {
    Options::new().open_store(&MemoryStore::with_image(image)).unwrap()
}

/// Runs `f` on a thread of its own and panics if it does not end in time.
fn in_time<T: Send + 'static>(f: impl FnOnce() -> T + Send + 'static) -> T {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || sender.send(f()));
    receiver.recv_timeout(Duration::from_secs(5)).expect("it comes to an end without a panic")
}

/// Makes pages from `first` on branches of levels 1 to `count`, each of which has the one below a hundred times over, and the first of
/// them the page `below`. Answers the last one.
fn forge_branches(image: &mut [u8], first: usize, mut below: u64, count: usize) -> u64 {
    for (no, level) in (first..).zip(1..=count) {
        let page = &mut image[no * PAGE..][..PAGE];
        page.fill(0);
        let count = 100u16;
        set(page, 4, [2, level as u8]);
        set(page, 6, count.to_le_bytes());
        set(page, 8, (no as u64).to_le_bytes());
        set(page, 16, 2u64.to_le_bytes());
        let mut at = PAGE;
        for i in 0..usize::from(count) {
            let suffix = if i == 0 { vec![] } else { vec![i as u8] };
            at -= 8 + suffix.len();
            set(page, 32 + i * 4, [0, 0, 0, suffix.first().copied().unwrap_or(0)]);
            set(page, 32 + usize::from(count) * 4 + i * 8, below.to_le_bytes());
            set(page, 32 + usize::from(count) * 12 + i * 4, (at as u16).to_le_bytes());
            set(page, 32 + usize::from(count) * 12 + i * 4 + 2, (suffix.len() as u16).to_le_bytes());
            set(page, at, 100u64.to_le_bytes());
            set(page, at + 8, suffix);
        }
        set(page, 24, ((PAGE - at) as u16).to_le_bytes());
        seal_page(page);
        below = no as u64;
    }
    below
}

/// Puts the first two entries of a leaf into each other's place.
fn swap_first_entries(image: &mut [u8], leaf: u64) {
    let page = &mut image[leaf as usize * PAGE..][..PAGE];
    if is_uniform(page) {
        let record_len = record_len(page);
        page[32..40].rotate_left(4);
        page[PAGE - 2 * record_len..].rotate_left(record_len);
    } else {
        page[32..48].rotate_left(8);
    }
    seal_page(page);
}

/// A catalog whose branches have one child many times over: 10^20 names, in eleven pages.
fn bomb() -> Vec<u8> {
    let depth = 11;
    let mut image = image(|db| {
        db.exec(|txn| {
            (0..100).try_for_each(|n| txn.bucket_mut(&format!("bucket {n}")).map(|_| ()))?;
            txn.bucket_mut("big")?.put("k", vec![1; PAGE * 14])
        })
        .unwrap();
    });
    let slot = newest(&image);
    let root = u64_at(&image, slot + 56);
    // The catalog is a single leaf or a branch over leaves: take one leaf, and the pages of the large value for branches.
    let leaf = match image[root as usize * PAGE + 4] {
        1 => root,
        _ => {
            let branch = &image[root as usize * PAGE..][..PAGE];
            u64_at(branch, 32 + u16_at(branch, 28).next_multiple_of(8) + u16_at(branch, 6) * 4)
        }
    };
    let (record, _) = find(&image, b"k");
    let first = u64_at(&image, record + 3) as usize;
    let below = forge_branches(&mut image, first + 1, leaf, depth - 1);
    forge_metas(&mut image, |slot| {
        set(slot, 56, below.to_le_bytes());
        set(slot, 64, u64::MAX.to_le_bytes());
        slot[72] = depth as u8;
    });
    image
}

/// `ReadTxn::buckets` collects every name of a catalog that has no end.
#[test]
fn buckets_of_a_catalog_that_shares_its_children() {
    let names = in_time(|| open(&bomb()).begin_read().unwrap().buckets());
    assert!(matches!(names, Err(Error::Corrupt { .. })), "{:?}", names.map(|names| names.len()));
}

#[test]
fn check_of_a_catalog_that_shares_its_children() {
    let report = in_time(|| open(&bomb()).check().unwrap());
    assert!(!report.is_ok());
}

/// A leaf that comes again and again, and whose last key is less than its first.
#[test]
fn scans_of_a_leaf_without_order() {
    scan_without_order(b"v");
    scan_without_order(&[b'v'; 40]);
}

fn scan_without_order(value: &[u8]) {
    let mut image = image(|db| {
        db.exec(|txn| {
            txn.bucket_mut("a")?.put("k of a", value)?;
            txn.bucket_mut("disorder")?.put("l 1", value)?;
            txn.bucket_mut("disorder")?.put("l 2", value)?;
            txn.bucket_mut("pages")?.put("large", vec![1; PAGE * 12])
        })
        .unwrap();
    });
    let disorder = (find(&image, b"l 1").0 / PAGE) as u64;
    let first = u64_at(&image, find(&image, b"large").0 + 7) as usize;
    swap_first_entries(&mut image, disorder);
    let root = forge_branches(&mut image, first, disorder, 11);
    let (record, _) = find(&image, b"a");
    set(&mut image, record + 3, root.to_le_bytes());
    set(&mut image, record + 11, u64::MAX.to_le_bytes());
    image[record + 19] = 12;
    reseal(&mut image, record);
    for verify in [Verify::Once, Verify::Never] {
        let image = image.clone();
        let last = in_time(move || {
            let db = Options::new().verify(verify).open_store(&MemoryStore::with_image(&image)).unwrap();
            let txn = db.begin_read().unwrap();
            let bucket = txn.bucket("a").unwrap().unwrap();
            let last = |entry: Option<folio::Result<folio::Entry<'_>>>| entry.map(|entry| entry.map(drop));
            [last(bucket.iter().last()), last(bucket.iter().rev().last())]
        });
        for last in last {
            assert!(matches!(last, Some(Err(Error::Corrupt { .. }))), "{verify:?}: {last:?}");
        }
    }
}

/// Two trees that share their children with themselves, and maybe with each other: pages that are passed over unseen do not tell.
#[test]
fn diff_of_trees_that_share_their_children() {
    let whole = image(|db| {
        db.exec(|txn| {
            txn.bucket_mut("a")?.put("k of a", "v")?;
            txn.bucket_mut("b")?.put("k of b", "v")?;
            txn.bucket_mut("disorder")?.put("l 1", "v")?;
            txn.bucket_mut("disorder")?.put("l 2", "v")?;
            txn.bucket_mut("pages")?.put("large", vec![1; PAGE * 24])
        })
        .unwrap();
    });
    let page_of = |key: &[u8]| (find(&whole, key).0 / PAGE) as u64;
    let (a, b, disorder) = (page_of(b"k of a"), page_of(b"k of b"), page_of(b"l 1"));
    let first = u64_at(&whole, find(&whole, b"large").0 + 7) as usize;
    // What lies below both, the first key behind the last where nothing is verified, and branches above.
    let cases =
        [(a, b, 11, 11), (a, a, 11, 11), (a, first as u64 + 3, 11, 7), (disorder, disorder, 11, 11), (a, a, 11, 1)];
    for (n, (below_a, below_b, count_a, count_b)) in cases.into_iter().enumerate() {
        for verify in [Verify::Once, Verify::Never] {
            let mut image = whole.clone();
            swap_first_entries(&mut image, disorder);
            let root_a = forge_branches(&mut image, first, below_a, count_a);
            let root_b = forge_branches(&mut image, first + 12, below_b, count_b);
            if n == 2 {
                // The upper ones of b stand on the lower ones of a.
                for (no, level) in (first + 12..).zip(5..5 + count_b) {
                    image[no * PAGE + 5] = level as u8;
                    reseal(&mut image, no * PAGE);
                }
            }
            let depth_b = if n == 2 { 4 + count_b } else { count_b } + 1;
            for (key, root, depth) in [(b"a", root_a, count_a + 1), (b"b", root_b, depth_b)] {
                let (record, _) = find(&image, key);
                set(&mut image, record + 3, root.to_le_bytes());
                set(&mut image, record + 11, u64::MAX.to_le_bytes());
                image[record + 19] = depth as u8;
                reseal(&mut image, record);
            }
            let last = in_time(move || {
                let db = Options::new().verify(verify).open_store(&MemoryStore::with_image(&image)).unwrap();
                let old = db.begin_read().unwrap();
                db.exec(|txn| {
                    txn.rename_bucket("a", "c")?;
                    txn.rename_bucket("b", "a")
                })
                .unwrap();
                let new = db.begin_read().unwrap();
                [(&old, &new), (&new, &old)].map(|(old, new)| {
                    // Into the bucket of that name, and if there is a first difference, on to the end.
                    let bucket = old.diff(new).unwrap().next().unwrap();
                    bucket.and_then(|bucket| bucket.map(|change| change.map(drop)).last().transpose())
                })
            });
            for last in last {
                assert!(matches!(last, Err(Error::Corrupt { .. })), "case {n}, {verify:?}: {last:?}");
            }
        }
    }
}

#[test]
fn a_backup_of_a_catalog_that_shares_its_children() {
    for is_exact in [false, true] {
        let made =
            in_time(move || open(&bomb()).begin_read().unwrap().backup().exact(is_exact).to_writer(std::io::sink()));
        assert!(matches!(made, Err(Error::Corrupt { .. })), "{made:?}");
    }
}

/// `TxnId::next` overflows.
#[test]
fn the_last_transaction_id() {
    let mut image = image(|db| db.exec(|txn| txn.bucket_mut("a")?.put("k", "v")).unwrap());
    forge_metas(&mut image, |slot| set(slot, 40, u64::MAX.to_le_bytes()));
    let result = in_time(move || {
        let options = Options::new();
        let db = options.open_store(&MemoryStore::with_image(&image))?;
        db.exec(|txn| txn.bucket_mut("a")?.put("k", "w"))?;
        db.view(|txn| Ok(txn.bucket("a")?.unwrap().get("k")?.map(<[u8]>::to_vec)))
    });
    assert!(matches!(&result, Err(Error::Corrupt { .. })) || result.unwrap() == Some(b"w".to_vec()));
}

/// `Space::sweep` adds to the lap that a log page claims.
#[test]
fn the_last_lap_of_the_space_log() {
    let mut image = image(|db| {
        db.exec(|txn| {
            let mut a = txn.bucket_mut("a")?;
            (0..3000).try_for_each(|n| a.put(format!("{n:04}"), [1; 100]))
        })
        .unwrap();
        for n in 0..400 {
            db.exec(|txn| txn.bucket_mut("a")?.put(format!("{:04}", n * 997 % 3000), [2; 100])).unwrap();
        }
    });
    let slot = newest(&image);
    let (head, count) = (u64_at(&image, slot + 80) as usize, u64_at(&image, slot + 88));
    assert!(count > 0);
    set(&mut image, head * PAGE + 40, u64::MAX.to_le_bytes());
    reseal(&mut image, head * PAGE);
    in_time(move || {
        let db = open(&image);
        for n in 0..400 {
            if db.exec(|txn| txn.bucket_mut("a")?.put(format!("{:04}", n * 997 % 3000), [3; 100])).is_err() {
                break;
            }
        }
        db.check().unwrap();
    });
}

/// A large value that claims to lie in page 0: deleting it makes the meta slots free space, which a later commit overwrites.
#[test]
fn a_large_value_in_the_meta_slots() {
    for page in [0u64, 8] {
        let mut image = image(|db| {
            db.exec(|txn| {
                txn.bucket_mut("a")?.put("large", vec![1; 5000])?;
                txn.bucket_mut("a")?.put("small", "v")
            })
            .unwrap();
        });
        let (record, _) = find(&image, b"large");
        set(&mut image, record + 7, page.to_le_bytes());
        set(&mut image, record + 15, 4096u64.to_le_bytes());
        reseal(&mut image, record);
        let disk = MemoryStore::with_image(&image);
        let db = Options::new().open_store(&disk).unwrap();
        let result = db.exec(|txn| txn.bucket_mut("a")?.delete("large"));
        if result.is_ok() {
            for n in 0..20 {
                let _refused = db.exec(|txn| txn.bucket_mut("a")?.put("small", n.to_string()));
            }
        }
        drop(db);
        let again = Options::new().open_store(&MemoryStore::with_image(&disk.image()));
        let again = again.unwrap_or_else(|error| panic!("page {page}: the file is lost: {error}"));
        assert!(again.begin_write().is_ok(), "page {page}: the file cannot be written any more");
        assert!(matches!(result, Err(Error::Corrupt { .. })), "page {page}: {result:?}");
    }
}

/// Two records of a leaf that overlap: editing one breaks the other, and the edits take a dirty leaf for well formed.
#[test]
fn records_that_overlap() {
    let mut image = image(|db| {
        db.exec(|txn| {
            let mut a = txn.bucket_mut("a")?;
            a.put("aaaa", "0123456789")?;
            a.put("bbbb", vec![0; 100])?;
            a.put("cccc", "v")
        })
        .unwrap();
    });
    // The record of "aaaa" moves into the value of "bbbb"; where it was is dead.
    let (a, slot) = find(&image, b"aaaa");
    let (b, _) = find(&image, b"bbbb");
    let inside = b + 2 + 4 + 20;
    image.copy_within(a..a + 16, inside);
    set(&mut image, slot + 4, ((inside % PAGE) as u16).to_le_bytes());
    reseal(&mut image, a);
    let result = in_time(move || {
        let db = open(&image);
        db.exec(|txn| {
            let mut bucket = txn.bucket_mut("a")?;
            bucket.put("bbbb", vec![0xff; 100])?;
            (0..100).try_for_each(|n| bucket.put(format!("d{n}"), [4; 50]))
        })
    });
    println!("{result:?}");
}

/// A tree whose root is tagged as a dirty page of whoever writes.
#[test]
fn a_root_that_is_tagged_as_dirty() {
    let mut image = image(|db| {
        db.exec(|txn| {
            txn.bucket_mut("evil")?.put("k", "v")?;
            txn.bucket_mut("good")?.put("k", "v")
        })
        .unwrap();
    });
    let (record, _) = find(&image, b"evil");
    set(&mut image, record + 6, (1u64 << 63).to_le_bytes());
    reseal(&mut image, record);
    let result = in_time(move || {
        let db = open(&image);
        db.exec(|txn| {
            txn.bucket_mut("good")?.put("l", "w")?;
            txn.bucket_mut("evil")?.put("l", "w")
        })
    });
    assert!(matches!(result, Err(Error::Corrupt { .. })), "{result:?}");
}

/// The same of a child, where nothing is verified.
#[test]
fn a_child_that_is_tagged_as_dirty() {
    let mut image = image(|db| {
        db.exec(|txn| {
            let mut a = txn.bucket_mut("evil")?;
            (0..400).try_for_each(|n| a.put(format!("{n:03}"), [1; 100]))?;
            txn.bucket_mut("good")?.put("k", "v")
        })
        .unwrap();
    });
    let (record, _) = find(&image, b"evil");
    let root = u64_at(&image, record + 6) as usize;
    let branch = &image[root * PAGE..][..PAGE];
    let children = 32 + u16_at(branch, 28).next_multiple_of(8) + u16_at(branch, 6) * 4;
    for i in 1..4 {
        set(&mut image, root * PAGE + children + i * 8, (1u64 << 63).to_le_bytes());
    }
    reseal(&mut image, root * PAGE);
    in_time(move || {
        for verify in [Verify::Once, Verify::Always, Verify::Never] {
            let db = Options::new().verify(verify).open_store(&MemoryStore::with_image(&image)).unwrap();
            let result = db.exec(|txn| {
                txn.bucket_mut("good")?.put("l", "w")?;
                txn.bucket_mut("evil")?.delete_range("000".."399")
            });
            assert!(matches!(result, Err(Error::Corrupt { .. })), "{verify:?}: {result:?}");
        }
    });
}

/// Two references to one run of pages, of which one is right: the other is believed once the first was verified.
#[test]
fn a_large_value_is_not_verified_by_another_one() {
    let mut image = image(|db| {
        db.exec(|txn| {
            txn.bucket_mut("a")?.put("large 1", vec![1; 5000])?;
            txn.bucket_mut("a")?.put("large 2", vec![2; 5000])
        })
        .unwrap();
    });
    // A leaf that was not written, say: its "large 2" still lies where "large 1" lies now.
    let ((one, _), (two, _)) = (find(&image, b"large 1"), find(&image, b"large 2"));
    let page = u64_at(&image, one + 9);
    set(&mut image, two + 9, page.to_le_bytes());
    reseal(&mut image, two);
    let db = open(&image);
    let txn = db.begin_read().unwrap();
    let a = txn.bucket("a").unwrap().unwrap();
    assert_eq!(a.get("large 1").unwrap(), Some(&[1; 5000][..]));
    assert!(matches!(a.get("large 2"), Err(Error::Corrupt { .. })), "a value that was never stored under this key");
}

/// A leaf that is full, and whose second record is out of bounds, as verification would notice.
fn bad_leaf(no: usize) -> Vec<u8> {
    let mut leaf = vec![0; PAGE];
    set(&mut leaf, 4, [1, 0, 2, 0]);
    set(&mut leaf, 8, (no as u64).to_le_bytes());
    set(&mut leaf, 24, ((PAGE - 48) as u16).to_le_bytes());
    set(&mut leaf, 32, [0, 0, 0, b'a']);
    set(&mut leaf, 36, 4086u16.to_le_bytes());
    set(&mut leaf, 38, 1u16.to_le_bytes());
    set(&mut leaf, 40, [0, 0, 0, b'z']);
    set(&mut leaf, 44, 4091u16.to_le_bytes());
    set(&mut leaf, 46, 500u16.to_le_bytes());
    set(&mut leaf, 4086, b"\0\0a");
    leaf
}

/// A page that was verified, of a tree that two buckets share, is freed by one of them, and a value comes to lie there: for the other it is
/// no page any more.
#[test]
fn a_value_where_a_page_was() {
    let mut image = image(|db| {
        db.exec(|txn| {
            txn.bucket_mut("one")?.put("k", "v")?;
            // The roots of these fill the places beside the meta slots, where no value comes to lie.
            (0..20).try_for_each(|n| txn.bucket_mut(&format!("other {n}"))?.put("k", "v"))?;
            txn.bucket_mut("two")?.put("k", "v")
        })
        .unwrap();
    });
    let ((one, _), (two, _)) = (find(&image, b"one"), find(&image, b"two"));
    let leaf = u64_at(&image, one + 5) as usize;
    assert!(leaf >= 16);
    image.copy_within(one + 5..one + 5 + 32, two + 5);
    reseal(&mut image, two);
    in_time(move || {
        let disk = MemoryStore::with_image(&image);
        let db = Options::new().open_store(&disk).unwrap();
        let get = |key| db.view(|txn| Ok(txn.bucket("two")?.unwrap().get(key)?.map(<[u8]>::to_vec)));
        assert_eq!(get("k").unwrap(), Some(b"v".to_vec()));
        assert!(db.exec(|txn| txn.drop_bucket("one")).unwrap());
        let is_there = || disk.image()[leaf * PAGE..][..PAGE] == bad_leaf(leaf);
        for n in 0..20u32 {
            let _is_refused = db.exec(|txn| txn.bucket_mut("values")?.put(n.to_be_bytes(), bad_leaf(leaf)));
        }
        assert!(is_there(), "page {leaf} holds a value");
        assert!(matches!(get("k"), Err(Error::Corrupt { .. })));
        let result = db.exec(|txn| txn.bucket_mut("two")?.put("c", "w"));
        assert!(matches!(result, Err(Error::Corrupt { .. })), "{result:?}");
    });
}

/// Two keys refer to one large value, which was verified; one of them is deleted, and its pages are taken by a tree, or by a longer
/// value: the other key must not find those.
#[test]
fn a_large_value_that_another_key_let_go_of() {
    let mut image = image(|db| {
        db.exec(|txn| {
            let mut a = txn.bucket_mut("a")?;
            a.put("before", vec![0; PAGE])?;
            a.put("large 1", vec![1; 5000])?;
            a.put("large 2", vec![2; 5000])
        })
        .unwrap();
    });
    let ((one, _), (two, _)) = (find(&image, b"large 1"), find(&image, b"large 2"));
    image.copy_within(one + 9..one + 9 + 28, two + 9);
    reseal(&mut image, two);
    type Change = fn(&mut folio::BucketMut<'_>) -> folio::Result<()>;
    let changes: [Change; 2] =
        [|b| (0..100).try_for_each(|n| b.put(format!("{n}"), [3; 700])), |b| b.put("k", vec![3; 3 * PAGE])];
    for change in changes {
        let db = open(&image);
        let get = || db.view(|txn| Ok(txn.bucket("a")?.unwrap().get("large 2")?.map(<[u8]>::to_vec)));
        assert_eq!(get().unwrap(), Some(vec![1; 5000]));
        db.exec(|txn| {
            let mut a = txn.bucket_mut("a")?;
            a.delete("before")?;
            a.delete("large 1").map(|_| ())
        })
        .unwrap();
        assert_eq!(get().unwrap(), Some(vec![1; 5000]), "nothing lies there yet");
        db.exec(|txn| change(&mut txn.bucket_mut("b")?)).unwrap();
        assert!(matches!(get(), Err(Error::Corrupt { .. })), "{:?}", get());
    }
}

/// A value may hold the image of a page. Once it was read as a value, it is believed as a page, and was never verified as one.
#[test]
fn a_value_is_not_a_page() {
    let mut image = image(|db| {
        db.exec(|txn| {
            txn.bucket_mut("values")?.put("large", vec![0; PAGE])?;
            txn.bucket_mut("evil")?.put("k", "v")
        })
        .unwrap();
    });
    let (large, _) = find(&image, b"large");
    let no = u64_at(&image, large + 7) as usize;
    let leaf = bad_leaf(no);
    image[no * PAGE..][..PAGE].copy_from_slice(&leaf);
    set(&mut image, large + 7 + 24, crc32c(&[&leaf]).to_le_bytes());
    reseal(&mut image, large);
    let (evil, _) = find(&image, b"evil");
    set(&mut image, evil + 6, (no as u64).to_le_bytes());
    set(&mut image, evil + 14, 2u64.to_le_bytes());
    reseal(&mut image, evil);
    in_time(move || {
        let db = open(&image);
        let txn = db.begin_read().unwrap();
        assert_eq!(txn.bucket("values").unwrap().unwrap().get("large").unwrap().map(<[u8]>::len), Some(PAGE));
        let result = db.exec(|txn| txn.bucket_mut("evil")?.put("c", "w"));
        assert!(matches!(result, Err(Error::Corrupt { .. })), "{result:?}");
    });
}

/// Entry counts that overflow their sum.
#[test]
fn entry_counts_beyond_all_measure() {
    let mut image = image(|db| {
        db.exec(|txn| {
            let mut a = txn.bucket_mut("a")?;
            (0..400).try_for_each(|n| a.put(format!("{n:03}"), [1; 100]))
        })
        .unwrap();
    });
    let (record, _) = find(&image, b"a");
    let root = u64_at(&image, record + 3) as usize * PAGE;
    set(&mut image, record + 11, u64::MAX.to_le_bytes());
    reseal(&mut image, record);
    let places = 32 + u16_at(&image, root + 28).next_multiple_of(8) + u16_at(&image, root + 6) * 12;
    for i in 0..u16_at(&image, root + 6) {
        let at = u16_at(&image, root + places + i * 4);
        set(&mut image, root + at, u64::MAX.to_le_bytes());
    }
    reseal(&mut image, root);
    in_time(move || {
        let db = open(&image);
        db.check().unwrap();
        let txn = db.begin_read().unwrap();
        let a = txn.bucket("a").unwrap().unwrap();
        println!("{:?} {:?} {:?} {:?}", a.len(), a.rank("399"), a.nth(u64::MAX - 1), a.count_range("100".."300"));
        println!("{:?}", a.stats());
        for n in 0..400 {
            let _any = db.exec(|txn| txn.bucket_mut("a")?.put(format!("{n:03}x"), [1; 100]));
            let _any = db.exec(|txn| txn.bucket_mut("a")?.delete(format!("{:03}", n * 7 % 400)));
        }
        let _any = db.exec(|txn| txn.bucket_mut("a")?.delete_range("100".."300"));
        let _any = db.exec(|txn| txn.bucket_mut("a")?.clear());
        db.check().unwrap();
    });
}

/// The same in all branches of the lowest level, when a commit packs neighbours among them.
#[test]
fn entry_counts_beyond_all_measure_in_branches_that_are_packed() {
    let mut image = image(|db| {
        // One by one and at random: so branches stay two thirds full.
        for n in 0..8000u32 {
            db.exec(|txn| txn.bucket_mut("a")?.put((n * 4801 % 8000).to_be_bytes(), [1; 250])).unwrap();
        }
    });
    let lowest = |page: &[u8]| page[4] == 2 && page[5] == 1;
    let branches: Vec<usize> = (1..image.len() / PAGE).filter(|no| lowest(&image[no * PAGE..])).collect();
    assert!(branches.len() > 2, "{} branches", branches.len());
    for no in branches {
        let page = &mut image[no * PAGE..][..PAGE];
        let (count, prefix) = (u16_at(page, 6), u16_at(page, 28).next_multiple_of(8));
        for i in 0..count {
            let at = u16_at(page, 32 + prefix + count * 12 + i * 4);
            set(page, at, u64::MAX.to_le_bytes());
        }
        seal_page(page);
    }
    in_time(move || {
        let db = open(&image);
        let _any = db.exec(|txn| {
            let mut a = txn.bucket_mut("a")?;
            (0..8000u32).step_by(50).try_for_each(|n| a.put(n.to_be_bytes(), "x"))
        });
        db.check().unwrap();
    });
}

/// Sound pages in the wrong place: two children of a branch change places. A put there must not be lost, nor a page be edited as if
/// its neighbours were in order.
#[test]
fn sound_pages_in_the_wrong_place() {
    let key = |n: u32| format!("{n:05}");
    let whole = image(|db| {
        db.exec(|txn| {
            let mut a = txn.bucket_mut("a")?;
            (0..8000).try_for_each(|n| a.put(key(n * 10), [1; 100]))
        })
        .unwrap();
    });
    let count = u64_at(&whole, newest(&whole) + 48) as usize;
    let branches: Vec<usize> = (1..count).filter(|no| whole[no * PAGE + 4] == 2).collect();
    assert!(branches.iter().any(|no| whole[no * PAGE + 5] == 2), "three levels");
    for seed in 0..40 {
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut image = whole.clone();
        for _ in 0..rng.usize(1..4) {
            let page = branches[rng.usize(..branches.len())] * PAGE;
            let count = u16_at(&image, page + 6);
            let children = page + 32 + u16_at(&image, page + 28).next_multiple_of(8) + count * 4;
            let (one, two) = (children + rng.usize(..count) * 8, children + rng.usize(..count) * 8);
            let (first, second) = (u64_at(&image, one), u64_at(&image, two));
            set(&mut image, one, second.to_le_bytes());
            set(&mut image, two, first.to_le_bytes());
            reseal(&mut image, page);
        }
        let verify = if seed % 2 == 0 { Verify::Once } else { Verify::Never };
        in_time(move || {
            let db = Options::new().verify(verify).open_store(&MemoryStore::with_image(&image)).unwrap();
            for _ in 0..300 {
                let from = rng.u32(..80000);
                let near: Vec<String> = (0..rng.u32(1..60)).map(|n| key(from + n)).collect();
                let is_put = rng.bool();
                let result = db.exec(|txn| {
                    let mut a = txn.bucket_mut("a")?;
                    for key in &near {
                        if is_put {
                            a.put(key, [2; 100])?;
                        } else {
                            a.delete(key)?;
                        }
                    }
                    if rng.u32(..20) == 0 {
                        a.delete_range(key(from)..key(from + rng.u32(..5000)))?;
                        return Ok(false);
                    }
                    Ok(true)
                });
                match result {
                    Ok(true) => db
                        .view(|txn| {
                            let a = txn.bucket("a")?.unwrap();
                            for key in &near {
                                let found = a.get(key)?;
                                assert_eq!(found, is_put.then_some(&[2; 100][..]), "seed {seed}, {key}");
                            }
                            Ok(())
                        })
                        .unwrap(),
                    Ok(false) | Err(Error::Corrupt { .. }) => {}
                    Err(error) => panic!("seed {seed}: {error}"),
                }
            }
        });
    }
}

/// More dead bytes than the heap has, where nothing is verified.
#[test]
fn dead_bytes_beyond_the_heap_unverified() {
    let mut image = image(|db| {
        db.exec(|txn| {
            let mut a = txn.bucket_mut("a")?;
            (0..100).try_for_each(|n| a.put(format!("{n:03}"), [1; 100]))
        })
        .unwrap();
    });
    let slot = newest(&image);
    let catalog = u64_at(&image, slot + 56);
    for no in (1..u64_at(&image, slot + 48)).filter(|&no| no != catalog && no != 8).map(|no| no as usize) {
        set(&mut image, no * PAGE + 26, u16::MAX.to_le_bytes());
        reseal(&mut image, no * PAGE);
    }
    let db = Options::new().verify(Verify::Never).open_store(&MemoryStore::with_image(&image)).unwrap();
    let _any = db.view(|txn| txn.bucket("a")?.unwrap().stats());
    let result = db.exec(|txn| txn.bucket_mut("a")?.delete("050"));
    assert!(matches!(result, Err(Error::Corrupt { .. })), "{result:?}");
}

/// The newest leaf that holds `key`.
fn leaf_of(image: &[u8], key: &[u8]) -> usize {
    let count = u64_at(image, newest(image) + 48) as usize;
    let mut best = None;
    for no in (1..count).filter(|no| *no != 8) {
        let page = &image[no * PAGE..][..PAGE];
        if page[4] != 1 {
            continue;
        }
        for i in 0..u16_at(page, 6) {
            let slot = 32 + i * 8;
            let (at, len) = (u16_at(page, slot + 4), u16_at(page, slot + 6));
            if page.get(at + 2..at + 2 + len) == Some(key) {
                let born = u64_at(page, 16);
                if best.is_none_or(|(b, _)| born > b) {
                    best = Some((born, no));
                }
            }
        }
    }
    best.expect("a leaf").1
}

/// Commits that take pages and let go of pages. Of a forged file they may be refused.
fn churn(db: &Database, from: u32, count: u32) {
    for n in from..from + count {
        done_or_corrupt(db.exec(|txn| txn.bucket_mut("b")?.put(format!("{n}"), vec![n as u8; 700])));
    }
}

fn done_or_corrupt(result: folio::Result<()>) {
    assert!(matches!(result, Ok(()) | Err(Error::Corrupt { .. })), "{result:?}");
}

/// A file in which "key of a", whose value is ones, claims to be born by a transaction yet to come: whoever verifies refuses to read it;
/// who does not keeps what it has read, whatever is written meanwhile.
fn a_birth_yet_to_come(image: &[u8]) {
    for verify in [Verify::Once, Verify::Always, Verify::Never] {
        // Let go of before that transaction, by it, and after.
        for commits_before in 0..4 {
            let db = Options::new().verify(verify).open_store(&MemoryStore::with_image(image)).unwrap();
            let reader = db.begin_read().unwrap();
            let bucket = reader.bucket("a").unwrap().unwrap();
            let found = bucket.get("key of a");
            if verify != Verify::Never {
                assert!(matches!(found, Err(Error::Corrupt { .. })), "{found:?}");
                continue;
            }
            let value = found.unwrap().unwrap();
            churn(&db, 100, commits_before);
            done_or_corrupt(db.exec(|txn| txn.bucket_mut("a")?.put("key of a", vec![2; 500])));
            churn(&db, 200, 30);
            assert!(value.iter().all(|byte| *byte == 1), "the slice that a reader holds has changed");
        }
    }
}

/// P3, I1, M2: the birth of a leaf.
#[test]
fn a_forged_birth_frees_no_page_under_a_reader() {
    let mut image = image(|db| {
        db.exec(|txn| txn.bucket_mut("a")?.put("key of a", vec![1; 500])).unwrap();
        churn(db, 0, 3);
    });
    let txn = u64_at(&image, newest(&image) + 40);
    let leaf = leaf_of(&image, b"key of a");
    set(&mut image, leaf * PAGE + 16, (txn + 2).to_le_bytes());
    reseal(&mut image, leaf * PAGE);
    a_birth_yet_to_come(&image);
}

/// The same of a large value, by its reference.
#[test]
fn a_forged_birth_of_a_large_value_frees_nothing_under_a_reader() {
    let mut image = image(|db| {
        db.exec(|txn| txn.bucket_mut("a")?.put("key of a", vec![1; 8192])).unwrap();
        churn(db, 0, 3);
    });
    let txn = u64_at(&image, newest(&image) + 40);
    let leaf = leaf_of(&image, b"key of a");
    let at = u16_at(&image[leaf * PAGE..], 32 + 4);
    // Behind the value's length, the key, and first page and length of the value.
    set(&mut image, leaf * PAGE + at + 2 + 8 + 16, (txn + 2).to_le_bytes());
    reseal(&mut image, leaf * PAGE);
    a_birth_yet_to_come(&image);
}

/// With nothing verified: a leaf out of order, in which the end of a range is found before its start.
#[test]
fn a_range_in_a_leaf_out_of_order() {
    let disk = MemoryStore::new();
    let db = Options::new().open_store(&disk).unwrap();
    db.exec(|txn| {
        let mut a = txn.bucket_mut("bucket")?;
        ["a", "mmmmA", "mmmmB", "z"].iter().try_for_each(|k| a.put(k, "v"))
    })
    .unwrap();
    drop(db);
    let mut image = disk.image();
    let count = u64_at(&image, 8 * PAGE + 48) as usize;
    let leaf = (1..count)
        .filter(|no| *no != 8)
        .find(|no| image[no * PAGE + 4] == 1 && u16_at(&image, no * PAGE + 6) == 4)
        .unwrap();
    let page = &mut image[leaf * PAGE..(leaf + 1) * PAGE];
    // "z", "mmmmA", "mmmmB", "a"
    let (first, last): ([u8; 8], [u8; 8]) = (page[32..40].try_into().unwrap(), page[56..64].try_into().unwrap());
    set(page, 32, last);
    set(page, 56, first);
    seal_page(page);
    for at in slots(PAGE) {
        say_synced(&mut image[at..at + 4096]);
    }
    let db = Options::new().verify(Verify::Never).open_store(&MemoryStore::with_image(&image)).unwrap();
    let r = db.exec(|txn| txn.bucket_mut("bucket")?.delete_range("mmmmZ".."n"));
    assert!(matches!(r, Ok(_) | Err(Error::Corrupt { .. })), "{r:?}");
}

/// Two buckets of one tree: whoever lets go of a page twice finds that out, in one transaction or in two.
#[test]
fn a_tree_of_two_buckets() {
    let mut image = image(|db| {
        db.exec(|txn| {
            let mut one = txn.bucket_mut("one")?;
            (0..300).try_for_each(|n| one.put(format!("{n:04}"), [1; 200]))?;
            txn.bucket_mut("two")?.put("k", "v")
        })
        .unwrap();
    });
    let ((one, _), (two, _)) = (find(&image, b"one"), find(&image, b"two"));
    image.copy_within(one + 5..one + 5 + 32, two + 5);
    reseal(&mut image, two);
    for verify in [Verify::Once, Verify::Always, Verify::Never] {
        let open = || Options::new().verify(verify).open_store(&MemoryStore::with_image(&image)).unwrap();
        let db = open();
        let result = db.exec(|txn| txn.drop_bucket("one").and_then(|_| txn.drop_bucket("two")));
        assert!(matches!(result, Err(Error::Corrupt { .. })), "{verify:?}: {result:?}");
        let result = db.exec(|txn| {
            txn.bucket_mut("one")?.put("0100", "new")?;
            txn.bucket_mut("two")?.put("0100", "new")
        });
        assert!(matches!(result, Err(Error::Corrupt { .. })), "{verify:?}: {result:?}");

        let db = open();
        assert!(db.exec(|txn| txn.drop_bucket("one")).unwrap());
        let result = db.exec(|txn| txn.drop_bucket("two"));
        assert!(matches!(result, Err(Error::Corrupt { .. })), "{verify:?}: {result:?}");
        db.stats().unwrap();
    }
}

/// A space record that calls every page free but `spared`, those in use among them.
fn free_but(image: &[u8], spared: u64) -> Vec<u8> {
    let mut image = image.to_vec();
    let count = u64_at(&image, newest(&image) + 48);
    let extent = |from: u64, to: u64| (from << 24 | (to - from)).to_le_bytes();
    let freed = [extent(1, 8), extent(9, spared.max(9)), extent((spared + 1).max(9), count)];
    forge_metas(&mut image, |slot| {
        let txn = u64_at(slot, 40).to_le_bytes();
        let words = [txn, 3u64.to_le_bytes()].into_iter().chain(freed);
        words.enumerate().for_each(|(i, word)| set(slot, 128 + i * 8, word));
        set(slot, 120, 5u64.to_le_bytes());
    });
    image
}

/// A transaction that lets go of a page that is free already finds that out. Where it lets go of none, it may write over one in use,
/// which is what the contract of `open` leaves out; but nothing panics.
#[test]
fn pages_both_in_use_and_free() {
    let image = image(|db| {
        db.exec(|txn| {
            let mut a = txn.bucket_mut("a")?;
            (0..1000).try_for_each(|n| a.put(format!("{n:04}"), [1; 200]))?;
            a.put("large", vec![2; 20_000])
        })
        .unwrap();
    });
    let (catalog, count) = (u64_at(&image, newest(&image) + 56), u64_at(&image, newest(&image) + 48));
    assert!(catalog > 8, "the root of the catalog is beside slot B");
    type Change = fn(&mut folio::WriteTxn) -> folio::Result<()>;
    let changes: [Change; 5] = [
        |txn| txn.drop_bucket("a").map(|_| ()),
        |txn| txn.bucket_mut("a")?.delete_range("0100".."0900").map(|_| ()),
        |txn| txn.bucket_mut("a")?.delete("large").map(|_| ()),
        |txn| txn.bucket_mut("a")?.put("0500", [3; 300]),
        |txn| txn.bucket_mut("b")?.put("k", vec![4; 9000]),
    ];
    for verify in [Verify::Once, Verify::Always, Verify::Never] {
        for (spared, is_refused) in [(8, true), (catalog, false)] {
            for first in 0..changes.len() {
                let disk = MemoryStore::with_image(&free_but(&image, spared));
                let db = Options::new().verify(verify).open_store(&disk).unwrap();
                for n in first..first + 2 * changes.len() {
                    let result = db.exec(changes[n % changes.len()]);
                    let stats = db.stats().unwrap();
                    if is_refused {
                        assert!(matches!(result, Err(Error::Corrupt { .. })), "change {n}, {verify:?}: {result:?}");
                        assert_eq!((stats.page_count, stats.free_pages), (count, count - 2));
                    } else {
                        done_or_corrupt(result);
                        assert!(stats.free_pages + stats.pending_pages < stats.page_count);
                    }
                }
            }
        }
    }
}

/// Makes the page of a leaf hold one entry: a key of so many bytes, all of them the same, with an empty value.
fn forge_leaf(page: &mut [u8], byte: u8, key_len: usize) {
    let (at, record_len) = (PAGE - 2 - key_len, 2 + key_len);
    page[32..].fill(0);
    set(page, 6, 1u16.to_le_bytes());
    set(page, 24, (record_len as u16).to_le_bytes());
    set(page, 26, [0; 6]);
    set(page, 32, [byte; 4]);
    set(page, 36, (at as u16).to_le_bytes());
    set(page, 38, (key_len as u16).to_le_bytes());
    page[at + 2..].fill(byte);
    seal_page(page);
}

/// Keys longer than any: of two that share their beginning, what separates them would fit no branch.
#[test]
fn keys_too_long_to_be_told_apart_are_not_built_into_a_tree() {
    let mut image = image(|db| {
        let key = |n: u8| [vec![n; 1900], vec![n]].concat();
        db.exec(|txn| (b'a'..=b'd').try_for_each(|n| txn.bucket_mut("forged")?.append(key(n), [0; 100]))).unwrap();
    });
    let leaves = [b'a', b'd'].map(|n| find(&image, &[n; 1901]).0 / PAGE);
    assert_ne!(leaves[0], leaves[1]);
    let count = u64_at(&image, newest(&image) + 48) as usize;
    let branch = (1..count).find(|&no| no != 8 && image[no * PAGE + 4] == 2).unwrap();
    for (leaf, key_len) in leaves.into_iter().zip([4045, 4050]) {
        forge_leaf(&mut image[leaf * PAGE..][..PAGE], b'd', key_len);
    }
    let page = &mut image[branch * PAGE..][..PAGE];
    assert_eq!(u16_at(page, 6), 2);
    let places = 32 + u16_at(page, 28).next_multiple_of(8) + 2 * 12;
    for i in 0..2 {
        let record = u16_at(page, places + i * 4);
        set(page, record, 1u64.to_le_bytes());
    }
    seal_page(page);
    let (record, _) = find(&image, b"forged");
    set(&mut image, record + 2 + 6 + 8, 2u64.to_le_bytes());
    reseal(&mut image, record);

    let db = open(&image);
    let txn = db.begin_read().unwrap();
    assert_eq!(txn.bucket("forged").unwrap().unwrap().iter().filter(|entry| entry.is_ok()).count(), 2);
    let made = txn.backup().to_writer(std::io::sink());
    assert!(matches!(made, Err(Error::Corrupt { .. })), "{made:?}");
    txn.backup().exact(true).to_writer(std::io::sink()).unwrap();
}

/// Uniform leaves that say of their entries what cannot be.
#[test]
fn uniform_leaves_of_impossible_shapes() {
    let image = image(|db| {
        db.exec(|txn| (0..100u32).try_for_each(|n| txn.bucket_mut("a")?.put(n.to_be_bytes(), [1; 8]))).unwrap();
    });
    let leaf = find(&image, &50u32.to_be_bytes()).0 / PAGE;
    assert!(is_uniform(&image[leaf * PAGE..]));
    let changes: [(&str, usize, u16); 9] = [
        ("no entries", 6, 0),
        ("more entries than there is room for", 6, 4000),
        ("all the entries that can be told", 6, u16::MAX),
        ("keys of no length", 24, 0),
        ("keys longer than the page", 24, u16::MAX),
        ("values longer than the page", 26, u16::MAX),
        ("longer values than any uniform leaf has", 26, 29),
        ("a prefix longer than the keys", 28, 5),
        ("large values", 30, 3),
    ];
    for (what, at, value) in changes {
        for verify in [Verify::Once, Verify::Always, Verify::Never] {
            let mut image = image.clone();
            set(&mut image, leaf * PAGE + at, value.to_le_bytes());
            reseal(&mut image, leaf * PAGE);
            let db = Options::new().verify(verify).open_store(&MemoryStore::with_image(&image)).unwrap();
            let txn = db.begin_read().unwrap();
            let a = txn.bucket("a").unwrap().unwrap();
            let keys: Vec<[u8; 4]> = (0..200u32).map(u32::to_be_bytes).collect();
            let results = [
                keys.iter().try_for_each(|key| a.get(key).map(drop)),
                a.get_many(&keys).map(drop),
                a.iter().try_for_each(|entry| entry.map(drop)),
                a.iter().rev().try_for_each(|entry| entry.map(drop)),
                a.range([0, 0, 0, 7]..[0, 0, 0, 70]).try_for_each(|entry| entry.map(drop)),
                a.nth(99).map(drop),
                a.rank([0, 0, 0, 50]).map(drop),
            ];
            for result in results {
                // Where nothing is verified, what is not there may not be missed.
                let is_noticed = matches!(result, Err(Error::Corrupt { .. }));
                assert!(is_noticed || (verify == Verify::Never && result.is_ok()), "{what}, {verify:?}: {result:?}");
            }
            let report = db.check().unwrap();
            assert_eq!(report.problem_count, 1, "{what}: {report:?}");
            if verify != Verify::Never {
                let refused = db.exec(|txn| txn.bucket_mut("a")?.put([0, 0, 0, 50], [2; 8]));
                assert!(matches!(refused, Err(Error::Corrupt { .. })), "{what}: {refused:?}");
            }
        }
    }
}

/// With nothing verified: an entry that a walk comes to and a search does not find is not deleted again and again.
#[test]
fn keys_that_are_seen_and_not_found() {
    for value in [&[1; 8][..], &[1; 40]] {
        let mut image = image(|db| {
            db.exec(|txn| (0..40u32).try_for_each(|n| txn.bucket_mut("a")?.put(n.to_be_bytes(), value))).unwrap();
        });
        let leaf = find(&image, &0u32.to_be_bytes()).0 / PAGE;
        swap_first_entries(&mut image, leaf as u64);
        let open = move || {
            let options = Options::new().verify(Verify::Never);
            options.open_store(&MemoryStore::with_image(&image)).unwrap()
        };
        let db = open();
        let retained = in_time(move || db.exec(|txn| txn.bucket_mut("a")?.retain(|key, _| key != 0u32.to_be_bytes())));
        assert!(matches!(retained, Err(Error::Corrupt { .. })), "{retained:?}");
        let db = open();
        let popped = in_time(move || {
            db.exec(|txn| {
                let mut a = txn.bucket_mut("a")?;
                while a.pop_first()?.is_some() {}
                Ok(())
            })
        });
        assert!(matches!(popped, Err(Error::Corrupt { .. })), "{popped:?}");
    }
}

/// A file that shrinks takes pages along that nobody has looked at. What is of another kind than its place asks for, or of a birth yet
/// to come, stays there.
#[test]
fn a_page_of_another_kind_at_the_end_of_a_file_that_shrinks() {
    const ENTRIES: u32 = 2000;
    let all = |db: &Database, fill: u8, picked: fn(u32) -> bool| {
        db.exec(|txn| {
            let mut b = txn.bucket_mut("b")?;
            (0..ENTRIES).filter(|&key| picked(key)).try_for_each(|key| b.put(key.to_be_bytes(), [fill; 900]))
        })
    };
    let image = image(|db| {
        let mut held = Vec::new();
        for fill in 0..5 {
            held.push(db.begin_read().unwrap());
            all(db, fill, |_| true).unwrap();
        }
    });
    let kind = |no: usize| (image[no * PAGE + 4], image[no * PAGE + 5]);
    let last = leaf_of(&image, &(ENTRIES / 2 + 14).to_be_bytes());
    let branch = (0..image.len() / PAGE).rfind(|&no| kind(no) == (2, 1)).expect("there is one");
    assert_ne!(kind(last), kind(branch));
    for what in 0..4 {
        let mut forged = image.clone();
        let mut number = forged[last * PAGE + 8..last * PAGE + 24].to_vec();
        if what == 3 {
            number[8..].copy_from_slice(&1000u64.to_le_bytes());
        } else if what == 0 {
            forged.copy_within(branch * PAGE..(branch + 1) * PAGE, last * PAGE);
        } else {
            forged[last * PAGE..(last + 1) * PAGE].fill(0);
            forged[last * PAGE + 4] = 3;
            forged[last * PAGE + 5] = what - 1;
        }
        set(&mut forged[last * PAGE..], 8, &number);
        reseal(&mut forged, last * PAGE);
        for verify in [Verify::Once, Verify::Always, Verify::Never] {
            let store = MemoryStore::with_image(&forged);
            let db = Options::new().verify(verify).open_store(&store).unwrap();
            let mut done = 0;
            for fill in 10..50 {
                let result = all(&db, fill, |key| key % 16 < 2);
                done += u32::from(result.is_ok());
                done_or_corrupt(result);
            }
            assert_eq!(done, 40, "{what} {verify:?}: no commit needs that page");
            assert!(!db.check().unwrap().is_ok(), "{what} {verify:?}");
        }
    }
}

/// What is wrong with a page of the catalog is told of that page: not of the root, nor of the number that the page itself gives, which may
/// be anything.
#[test]
fn what_is_wrong_with_the_catalog_is_told_of_the_page_where_it_is() {
    let image = image(|db| {
        db.exec(|txn| (0..300).try_for_each(|n| txn.bucket_mut(&format!("bucket {n:03}")).map(drop))).unwrap();
    });
    let root = u64_at(&image, newest(&image) + 56);
    let (record, slot) = find(&image, b"bucket 299");
    let leaf = (record / PAGE) as u64;
    assert_ne!(root, leaf);
    let is_of = |page: u64, result: folio::Result<()>, what: &str| {
        assert!(
            matches!(result, Err(Error::Corrupt { page: found, .. }) if found == page),
            "{what}: {page}, {result:?}"
        );
    };
    let ask = |image: &[u8], verify: Verify, page: u64, what: &str| {
        let db = Options::new().verify(verify).open_store(&MemoryStore::with_image(image)).unwrap();
        let txn = db.begin_read().unwrap();
        is_of(page, txn.bucket("bucket 299").map(drop), what);
        is_of(page, txn.buckets().map(drop), what);
        is_of(page, txn.backup().to_writer(std::io::sink()).map(drop), what);
        is_of(page, txn.backup().exact(true).to_writer(std::io::sink()).map(drop), what);
        let mut write = db.begin_write().unwrap();
        is_of(page, write.bucket_mut("bucket 299").map(drop), what);
        is_of(page, write.buckets().map(drop), what);
        drop(write);
        let problems = db.check().unwrap().problems;
        assert!(problems.len() == 1 && problems[0].page == Some(page), "{what}: {problems:?}");
    };

    for verify in [Verify::Once, Verify::Always, Verify::Never] {
        // A record that describes no tree, and a name that is no text.
        let mut forged = image.clone();
        forged[record + 2 + 10 + 16] = 40;
        reseal(&mut forged, record);
        ask(&forged, verify, leaf, "depth");
        let mut forged = image.clone();
        forged[record + 2 + 9] = 0xff;
        let prefix_len = u16_at(&forged, leaf as usize * PAGE + 28);
        let mut head = [0; 4];
        head[..10 - prefix_len].copy_from_slice(&forged[record + 2 + prefix_len..record + 2 + 10]);
        head.reverse();
        set(&mut forged, slot, head);
        reseal(&mut forged, record);
        let db = Options::new().verify(verify).open_store(&MemoryStore::with_image(&forged)).unwrap();
        is_of(leaf, db.begin_read().unwrap().buckets().map(drop), "name");
        assert_eq!(db.check().unwrap().problems[0].page, Some(leaf));

        // Zeros, and another page's number.
        for zeroed in [true, false] {
            let mut forged = image.clone();
            let page = &mut forged[leaf as usize * PAGE..][..PAGE];
            if zeroed {
                page.fill(0);
            } else {
                set(page, 8, 5u64.to_le_bytes());
                set(page, 6, [0; 2]);
                seal_page(page);
            }
            ask(&forged, verify, leaf, if zeroed { "zeros" } else { "number" });
        }
    }
}

/// A file that rots while it is open: the root of its catalog is told by its number, whatever it has become.
#[test]
fn a_root_of_the_catalog_that_rots_is_told_by_its_number() {
    use std::os::unix::fs::FileExt;

    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.folio");
    let made = Database::open(&path).unwrap();
    made.exec(|txn| txn.bucket_mut("a")?.put("k", "v")).unwrap();
    drop(made);
    let image = std::fs::read(&path).unwrap();
    let root = u64_at(&image, newest(&image) + 56);
    for verify in [Verify::Once, Verify::Always, Verify::Never] {
        std::fs::write(&path, &image).unwrap();
        let db = Options::new().verify(verify).open(&path).unwrap();
        let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
        file.write_all_at(&[0; PAGE], root * PAGE as u64).unwrap();
        let txn = db.begin_read().unwrap();
        let found = txn.bucket("a").map(drop);
        assert!(matches!(found, Err(Error::Corrupt { page, .. }) if page == root), "{verify:?}, {root}: {found:?}");
        let problems = db.check().unwrap().problems;
        assert_eq!(problems.iter().map(|problem| problem.page).collect::<Vec<_>>(), [Some(root)], "{verify:?}");
    }
}
