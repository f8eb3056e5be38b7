//! What the library says of pages: one by its number, those of a bucket's tree, all of a file; and that damage is no panic.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use folio::disk::MemoryStore;
use folio::{Bucket, Database, Options, PageInfo, PageKind, PageMap, Result};

mod common;

const PAGE_LEN: usize = 4096;

fn open(disk: &MemoryStore) -> Database {
    Options::new().open_store(disk).unwrap()
}

/// Three levels in one bucket, a large value in another, an empty one, and free space.
fn filled(disk: &MemoryStore) -> Database {
    let db = open(disk);
    db.exec(|txn| {
        let mut many = txn.bucket_mut("many")?;
        for n in 0..3000 {
            many.put(format!("{n:0>300}"), [7; 100])?;
        }
        let mut large = txn.bucket_mut("large")?;
        large.put("a", vec![1; 10_000])?;
        large.put("b", "inline")?;
        txn.bucket_mut("empty")?;
        txn.bucket_mut("gone")?.put("k", vec![2; 100_000])
    })
    .unwrap();
    db.exec(|txn| txn.drop_bucket("gone")).unwrap();
    db
}

fn count(map: &PageMap, kind: PageKind) -> u64 {
    map.runs().iter().filter(|run| run.kind == kind).map(|run| run.count).sum()
}

fn assert_whole(map: &PageMap, page_count: u64) {
    let mut next = 0;
    for run in map.runs() {
        assert!(run.first == next && run.count > 0, "{run:?}");
        assert_eq!(map.find(run.first), Some(run));
        next = run.first + run.count;
        assert_eq!(map.find(next - 1), Some(run));
    }
    assert_eq!((next, map.page_count()), (page_count, page_count));
    assert_eq!(map.find(page_count), None);
}

#[test]
fn the_map_agrees_with_the_figures() {
    let disk = MemoryStore::new();
    let db = filled(&disk);
    let (map, stats) = (db.page_map().unwrap(), db.stats().unwrap());
    assert_whole(&map, stats.page_count);
    assert_eq!((map.txn_id(), map.page_size()), (stats.txn_id, stats.page_size));
    assert_eq!(count(&map, PageKind::Unknown), 0);
    assert_eq!(count(&map, PageKind::Meta), stats.meta_pages);
    assert_eq!(count(&map, PageKind::Free), stats.free_pages);
    assert_eq!(count(&map, PageKind::Pending), stats.pending_pages);
    assert_eq!(
        stats.used_pages,
        [PageKind::Branch, PageKind::Leaf, PageKind::Large, PageKind::SpaceLog]
            .map(|kind| count(&map, kind))
            .iter()
            .sum::<u64>()
    );

    let txn = db.begin_read().unwrap();
    for name in ["many", "large", "empty"] {
        let stats = txn.bucket(name).unwrap().unwrap().stats().unwrap();
        let own = |kind| move |run: &&folio::PageRun| run.kind == kind && run.bucket.as_deref() == Some(name);
        let pages = |kind| map.runs().iter().filter(own(kind)).map(|run| run.count).sum::<u64>();
        assert_eq!(pages(PageKind::Branch), stats.branch_pages);
        assert_eq!(pages(PageKind::Leaf), stats.leaf_pages);
        assert_eq!(pages(PageKind::Large), stats.large_pages);
        let tree = map.runs().iter().filter(|run| run.kind != PageKind::Large && run.bucket.as_deref() == Some(name));
        assert_eq!(tree.map(|run| run.used_bytes).sum::<u64>(), stats.used_bytes);
        let entries = map.runs().iter().filter(own(PageKind::Leaf)).map(|run| run.entry_count).sum::<u64>();
        assert_eq!(entries, stats.entries);
    }
    let catalog = map.runs().iter().find(|run| run.kind == PageKind::Leaf && run.bucket.is_none()).unwrap();
    assert_eq!((catalog.count, catalog.entry_count), (1, 3));
}

#[test]
fn pending_pages_are_told_from_free_ones_unless_a_writer_runs() {
    let disk = MemoryStore::new();
    let db = filled(&disk);
    let reader = db.begin_read().unwrap();
    db.exec(|txn| txn.drop_bucket("many")).unwrap();
    let (map, stats) = (db.page_map().unwrap(), db.stats().unwrap());
    assert!(stats.pending_pages > 200, "the reader holds them");
    assert_eq!(count(&map, PageKind::Pending), stats.pending_pages);
    assert_eq!(count(&map, PageKind::Free), stats.free_pages);
    assert_whole(&map, stats.page_count);

    let writer = db.begin_write().unwrap();
    let map = db.page_map().unwrap();
    assert_eq!(count(&map, PageKind::Pending), 0);
    assert_eq!(count(&map, PageKind::Free), stats.free_pages + stats.pending_pages);
    drop((reader, writer));
}

/// The pages of a tree by their numbers, after checking that they hang together.
fn walked(bucket: &Bucket<'_>) -> BTreeMap<u64, PageInfo> {
    let pages: Vec<PageInfo> = bucket.pages().collect::<Result<_>>().unwrap();
    let mut keys = bucket.iter().map(|entry| entry.unwrap());
    // What is expected next: level, entries below, and the separator that the keys begin at.
    let mut next = Vec::new();
    for page in &pages {
        let level = u32::from(page.kind == PageKind::Branch) * page.level;
        assert_eq!(page.level, level);
        if let Some((no, expected, entry_count)) = next.pop() {
            let below: u64 = page.children.iter().map(|child| child.entry_count).sum();
            assert_eq!((page.page, page.is_dirty), no);
            assert_eq!((page.level, below + page.entries.len() as u64), (expected, entry_count));
        }
        assert!((33..=PAGE_LEN as u64).contains(&page.used_bytes));
        assert_eq!(page.entry_count as usize, page.children.len() + page.entries.len());
        for child in page.children.iter().rev() {
            next.push(((child.page, child.is_dirty), page.level - 1, child.entry_count));
        }
        assert!(page.children.is_sorted_by(|a, b| a.separator < b.separator));
        for entry in &page.entries {
            let (key, value) = keys.next().unwrap();
            assert_eq!((key, value.len() as u64), (&entry.key[..], entry.value_len));
        }
    }
    assert!(next.is_empty() && keys.next().is_none());
    pages.into_iter().map(|page| (page.page, page)).collect()
}

#[test]
fn a_tree_is_walked_from_the_root_down() {
    let disk = MemoryStore::new();
    let db = filled(&disk);
    let map = db.page_map().unwrap();
    let txn = db.begin_read().unwrap();
    let many = txn.bucket("many").unwrap().unwrap();
    assert!(many.stats().unwrap().depth >= 3);
    for (no, page) in walked(&many) {
        // The same as by its number, and as the map has it.
        assert_eq!(txn.page_info(no).unwrap().as_ref(), Some(&page));
        let run = map.find(no).unwrap();
        assert_eq!(
            (run.kind, run.level, run.born, run.used_bytes),
            (page.kind, page.level, Some(page.born), page.used_bytes)
        );
    }
    assert!(txn.bucket("empty").unwrap().unwrap().pages().next().is_none());

    let large = walked(&txn.bucket("large").unwrap().unwrap());
    let entries = &large.values().next().unwrap().entries;
    let run = map.find(entries[0].large_page.unwrap()).unwrap();
    assert_eq!((run.kind, run.count, run.used_bytes), (PageKind::Large, 3, 10_000));
    assert_eq!((&entries[0].key[..], entries[1].large_page), (&b"a"[..], None));
    assert_eq!(txn.page_info(run.first).unwrap().unwrap().kind, PageKind::Unknown);
}

#[test]
fn dirty_pages_are_walked_too() {
    let disk = MemoryStore::new();
    let db = filled(&disk);
    let mut txn = db.begin_write().unwrap();
    let mut many = txn.bucket_mut("many").unwrap();
    for n in 0..500 {
        many.put(format!("new {n:0>300}"), "v").unwrap();
    }
    let many = txn.bucket("many").unwrap().unwrap();
    let pages: Vec<PageInfo> = many.pages().collect::<Result<_>>().unwrap();
    assert!(pages[0].is_dirty && pages[0].kind == PageKind::Branch && pages[0].born.get() == 0);
    assert!(pages.iter().any(|page| page.is_dirty) && pages.iter().any(|page| !page.is_dirty));
    let entries: usize = pages.iter().map(|page| page.entries.len()).sum();
    assert_eq!(entries as u64, many.len());
}

#[test]
fn every_page_has_an_answer_and_none_past_the_end() {
    let disk = MemoryStore::new();
    let db = filled(&disk);
    let txn = db.begin_read().unwrap();
    let page_count = db.stats().unwrap().page_count;
    for (no, kind) in [(0, PageKind::Meta), (8, PageKind::Meta)] {
        let page = txn.page_info(no).unwrap().unwrap();
        assert_eq!((page.kind, page.page), (kind, no));
        assert!(page.born <= txn.id());
    }
    (0..page_count).for_each(|no| assert!(txn.page_info(no).unwrap().is_some()));
    for no in [page_count, page_count + 1000, u64::MAX / 2, u64::MAX] {
        assert_eq!(txn.page_info(no).unwrap(), None);
    }
}

#[test]
fn a_check_and_a_map_end_when_they_are_told_to() {
    let db = Database::in_memory().unwrap();
    // In many pages, so that it is told of on the way, and not only at the end.
    let values = ["a", "b"].map(|key| (key, vec![1; 5_000_000]));
    db.exec(|txn| values.iter().try_for_each(|(key, value)| txn.bucket_mut("large")?.put(key, value))).unwrap();
    let mut seen = Vec::new();
    let report = db.check_until(|pages, _| {
        seen.push(pages);
        ControlFlow::Break(())
    });
    assert!(report.unwrap().is_none());
    assert!(seen.len() == 1 && seen[0] < 2000, "{seen:?}");
    assert!(db.page_map_until(|_, _| ControlFlow::Break(())).unwrap().is_none());
    assert!(db.check_until(|_, _| ControlFlow::Continue(())).unwrap().unwrap().is_ok());
}

/// P2: bytes changed at random, with and without checksums that agree.
#[test]
fn damage_is_no_panic_and_no_endless_walk() {
    let seed = std::env::var("FOLIO_SEED").map_or_else(|_| fastrand::u64(..), |seed| seed.parse().unwrap());
    println!("FOLIO_SEED={seed}");
    let mut rng = fastrand::Rng::with_seed(seed);
    let disk = MemoryStore::new();
    drop(filled(&disk));
    let sound = disk.image();
    for round in 0..100 {
        let mut bytes = sound.clone();
        for _ in 0..rng.usize(1..20) {
            let page = rng.usize(1..bytes.len() / PAGE_LEN);
            let at = page * PAGE_LEN + if rng.bool() { rng.usize(4..64) } else { rng.usize(4..PAGE_LEN) };
            bytes[at] = rng.u8(..);
            if round % 2 == 0 && page != 8 {
                common::seal_page(&mut bytes[page * PAGE_LEN..][..PAGE_LEN]);
            }
        }
        let Ok(db) = Options::new().open_store(&MemoryStore::with_image(&bytes)) else { continue };
        let page_count = db.stats().map_or(0, |stats| stats.page_count);
        let map = db.page_map().unwrap();
        if page_count > 0 {
            assert_whole(&map, page_count);
        }
        let txn = db.begin_read().unwrap();
        (0..page_count).for_each(|no| assert!(txn.page_info(no).unwrap().is_some()));
        for name in txn.buckets().unwrap_or_default() {
            let Ok(Some(bucket)) = txn.bucket(&name) else { continue };
            let good = bucket.pages().filter(Result::is_ok).count();
            assert!(good as u64 <= page_count);
        }
    }
}
