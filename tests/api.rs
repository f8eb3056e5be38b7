//! Every method of the public face, with exact answers; limits and errors of keys, values, names and options.

use std::cell::Cell;
use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use folio::disk::MemoryStore;
use folio::{
    Bucket, Cursor, Database, Durability, Entry, Error, KeyRange, OptimisticBucketMut, Options, Range, ReadTxn, Result,
    Stats, WriteTxn,
};

/// Page sizes and the longest key of each, as the crate documentation says.
const KEY_MAX: [(u32, usize); 5] = [(4096, 1984), (8192, 4032), (16384, 8128), (32768, 16320), (65536, 32704)];

fn temp() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

fn assert_sound(db: &Database) {
    let report = db.check().unwrap();
    assert!(report.is_ok(), "{:#?}", report.problems);
}

fn key(n: usize) -> String {
    format!("k{n:02}")
}

/// A database whose bucket "a" holds k00, k02 to k98, over several pages. The value is the key's number, 400 times.
fn even() -> Database {
    let db = Database::in_memory().unwrap();
    let fill = |txn: &mut WriteTxn| {
        let mut a = txn.bucket_mut("a")?;
        (0..100).step_by(2).try_for_each(|n| a.put(key(n), [n as u8; 400]))
    };
    db.exec(fill).unwrap();
    db
}

/// The numbers of entries of [`even`].
fn numbers<'txn>(entries: impl Iterator<Item = Result<Entry<'txn>>>) -> Vec<usize> {
    entries.map(|entry| number(entry.unwrap())).collect()
}

/// The number of an entry of [`even`], whose value must say the same as its key.
fn number((key, value): Entry<'_>) -> usize {
    let n: usize = std::str::from_utf8(&key[1..]).unwrap().parse().unwrap();
    assert_eq!(value, [n as u8; 400]);
    n
}

fn evens(from: usize, to: usize) -> Vec<usize> {
    (from..to).filter(|n| n % 2 == 0).collect()
}

#[test]
fn what_is_committed_is_there_after_a_reopen() -> Result<()> {
    let dir = temp();
    let path = dir.path().join("a.folio");
    for page_size in [4096, 8192, 16384, 32768, 65536] {
        let path = path.with_extension(page_size.to_string());
        let db = Options::new().page_size(page_size).open(&path)?;
        for round in 0..50u32 {
            db.exec(|txn| {
                let mut a = txn.bucket_mut("a")?;
                for n in 0..40u32 {
                    a.put((n * 50 + round).to_be_bytes(), round.to_be_bytes())?;
                }
                a.put(format!("large {round}"), vec![round as u8; 70_000])?;
                if round > 3 {
                    assert!(a.delete(format!("large {}", round - 3))?);
                }
                txn.bucket_mut("b")?.put("round", round.to_string())
            })?;
            assert_sound(&db);
        }
        drop(db);
        let db = Database::open(&path)?;
        assert_sound(&db);
        let txn = db.begin_read()?;
        let a = txn.bucket("a")?.unwrap();
        assert_eq!(a.len(), 2004);
        for n in 0..2000u32 {
            assert_eq!(a.get(n.to_be_bytes())?, Some(&(n % 50).to_be_bytes()[..]));
        }
        assert_eq!(a.get("large 49")?.map(<[u8]>::len), Some(70_000));
        assert_eq!(txn.bucket("b")?.unwrap().get("round")?, Some(&b"49"[..]));
        assert_eq!(txn.buckets()?, ["a", "b"]);
    }
    Ok(())
}

#[test]
fn relaxed_commits_survive_a_close() -> Result<()> {
    let dir = temp();
    let path = dir.path().join("a.folio");
    let db = Options::new().durability(Durability::Relaxed).open(&path)?;
    for n in 0..300u32 {
        db.exec(|txn| txn.bucket_mut("a")?.put(n.to_be_bytes(), [7; 500]))?;
    }
    assert_sound(&db);
    drop(db);
    let db = Database::open(&path)?;
    assert_eq!(db.begin_read()?.bucket("a")?.unwrap().len(), 300);
    assert_sound(&db);
    db.exec(|txn| txn.bucket_mut("a")?.put("more", ""))?;
    assert_sound(&db);
    Ok(())
}

#[test]
fn an_aborted_transaction_leaves_nothing() -> Result<()> {
    let db = Database::in_memory()?;
    db.exec(|txn| txn.bucket_mut("a")?.put("k", "v"))?;
    let result: Result<()> = db.exec(|txn| {
        txn.bucket_mut("b")?.put("k", vec![1; 100_000])?;
        txn.bucket_mut("a")?.delete("k")?;
        Err(Error::other("no"))
    });
    assert!(matches!(result, Err(Error::Other(_))));
    let mut txn = db.begin_write()?;
    txn.bucket_mut("c")?.put("k", vec![1; 100_000])?;
    txn.abort();
    let txn = db.begin_read()?;
    assert_eq!(txn.buckets()?, ["a"]);
    assert_eq!(txn.bucket("a")?.unwrap().get("k")?, Some(&b"v"[..]));
    assert_eq!(txn.id().get(), 2);
    drop(txn);
    assert_sound(&db);
    Ok(())
}

#[test]
fn a_bucket_is_read_by_every_method() -> Result<()> {
    let db = even();
    let txn = db.begin_read()?;
    let a = txn.bucket("a")?.unwrap();
    assert!(txn.bucket("b")?.is_none());
    assert_eq!((a.len(), a.is_empty()), (50, false));
    assert_eq!(a.get("k10")?, Some(&[10; 400][..]));
    assert_eq!(
        (a.get("k11")?, a.get("")?, a.get("k1")?, a.get("k100")?, a.get([0xff; 3000])?),
        (None, None, None, None, None)
    );
    assert!(a.contains("k10")? && !a.contains("k11")?);
    let many = a.get_many(&["k98", "k11", "k00", "k98"])?;
    assert_eq!(many, [Some(&[98; 400][..]), None, Some(&[0; 400][..]), Some(&[98; 400][..])]);
    // What was in the answers before does not stay there.
    let mut values = [Some(&b"old"[..]); 100];
    let keys: Vec<String> = (0..100).map(key).collect();
    a.get_many_into(&keys, &mut values)?;
    for (n, value) in values.into_iter().enumerate() {
        assert_eq!(value, (n % 2 == 0).then_some(&[n as u8; 400][..]));
    }
    assert!(catch_unwind(AssertUnwindSafe(|| a.get_many_into(&keys, &mut [None; 99]))).is_err());
    assert_eq!(a.first()?.map(number), Some(0));
    assert_eq!(a.last()?.map(number), Some(98));
    assert_eq!(numbers(a.iter()), evens(0, 100));
    assert_eq!(numbers(a.into_iter().rev()), evens(0, 100).into_iter().rev().collect::<Vec<_>>());
    for n in 0..50 {
        assert_eq!(a.nth(n)?.map(number), Some(n as usize * 2));
        assert_eq!(a.rank(key(n as usize * 2))?, n);
        assert_eq!(a.rank(key(n as usize * 2 + 1))?, n + 1);
    }
    assert!(a.nth(50)?.is_none() && a.nth(u64::MAX)?.is_none());
    assert_eq!((a.rank("")?, a.rank("z")?), (0, 50));
    let stats = a.stats()?;
    assert_eq!((stats.entries, stats.depth, stats.branch_pages, stats.large_pages), (50, 2, 1, 0));
    assert_eq!((stats.key_bytes, stats.value_bytes), (150, 20_000));
    assert!(stats.leaf_pages >= 6 && stats.used_bytes > 20_150 && stats.fill > 0.5 && stats.fill <= 1.0, "{stats:?}");
    assert_eq!(format!("{a:?}"), "Bucket { len: 50, .. }");
    Ok(())
}

#[test]
fn an_empty_bucket_answers_nothing() -> Result<()> {
    let db = Database::in_memory()?;
    db.exec(|txn| txn.bucket_mut("a").map(|_| ()))?;
    let txn = db.begin_read()?;
    let a = txn.bucket("a")?.unwrap();
    assert_eq!((a.len(), a.is_empty(), a.get("")?, a.rank("k")?, a.count_range(..)?), (0, true, None, 0, 0));
    assert!(a.first()?.is_none() && a.last()?.is_none() && a.nth(0)?.is_none());
    assert!(a.iter().next().is_none() && a.iter().next_back().is_none() && a.prefix("").next().is_none());
    assert_eq!(a.get_many(&["a", "b"])?, [None, None]);
    let stats = a.stats()?;
    assert_eq!((stats.depth, stats.leaf_pages, stats.fill), (0, 0, 0.0));
    let mut cursor = a.cursor();
    assert!(cursor.first()?.is_none() && cursor.last()?.is_none() && cursor.next()?.is_none());
    assert!(cursor.prev()?.is_none() && cursor.seek("")?.is_none() && cursor.seek_for_prev("z")?.is_none());
    Ok(())
}

#[test]
fn a_bucket_is_changed_by_every_method() -> Result<()> {
    let db = even();
    let mut txn = db.begin_write()?;
    let mut a = txn.bucket_mut("a")?;
    a.put("k10", "new")?;
    assert_eq!((a.get("k10")?, a.len()), (Some(&b"new"[..]), 50));
    assert!(a.insert("k11", "eleven")? && !a.insert("k11", "other")?);
    assert_eq!((a.get("k11")?, a.len()), (Some(&b"eleven"[..]), 51));
    assert_eq!(a.replace("k11", "twice")?, Some(b"eleven".to_vec()));
    assert_eq!(a.replace("k13", "first")?, None);
    assert!(a.delete("k11")? && !a.delete("k11")? && a.delete("k13")? && !a.delete([0xff; 5000])?);
    a.put("k10", [10; 400])?;

    // Everything that reads does so here too, and sees what is not committed.
    a.append("k99", [99; 400])?;
    for late in ["k99", "k98", ""] {
        assert!(matches!(a.append(late, "v"), Err(Error::KeyOrder)), "{late}");
    }
    assert_eq!((a.len(), a.last()?.map(number), a.first()?.map(number)), (51, Some(99), Some(0)));
    assert!(a.contains("k99")? && !a.is_empty());
    assert_eq!(a.get_many(&["k99", "k97"])?, [Some(&[99; 400][..]), None]);
    let mut value = [None];
    a.get_many_into(&["k99"], &mut value)?;
    assert_eq!(value, [Some(&[99; 400][..])]);
    assert_eq!((a.nth(50)?.map(number), a.rank("k99")?, a.count_range("k96"..)?), (Some(99), 50, 3));
    assert_eq!(numbers(a.range("k96"..)), [96, 98, 99]);
    assert_eq!(numbers(a.prefix("k9").rev()), [99, 98, 96, 94, 92, 90]);
    assert_eq!(numbers(a.iter()).len(), 51);
    assert_eq!(a.cursor().seek_for_prev("k97")?.map(number), Some(96));
    assert_eq!((a.stats()?.entries, a.as_bucket().len()), (51, 51));
    assert_eq!(format!("{a:?}"), "BucketMut { len: 51, .. }");

    a.reserve("r", 300, |bytes| {
        assert_eq!(bytes, [0; 300]);
        bytes.copy_from_slice(&[1; 300]);
    })?;
    assert_eq!(a.get("r")?, Some(&[1; 300][..]));
    a.reserve("r", 20_000, |bytes| {
        assert_eq!(bytes, [0; 20_000]);
        bytes[19_999] = 2;
    })?;
    assert_eq!(a.get("r")?.map(|value| (value.len(), value[19_998], value[19_999])), Some((20_000, 0, 2)));
    a.reserve("r", 0, |bytes| assert!(bytes.is_empty()))?;
    assert_eq!(a.pop_last()?, Some((b"r".to_vec(), Vec::new())));
    assert_eq!(a.pop_last()?, Some((b"k99".to_vec(), vec![99; 400])));
    assert_eq!(a.pop_first()?, Some((b"k00".to_vec(), vec![0; 400])));
    assert_eq!((a.delete_range("k02".."k09")?, a.delete_range("k05".."k09")?), (4, 0));
    assert_eq!(numbers(a.iter()), evens(10, 100));
    assert_eq!(a.retain(|key, value| key[1] != b'5' && value[0] % 4 == 0)?, 25);
    assert_eq!(numbers(a.iter()), evens(10, 100).into_iter().filter(|n| n % 4 == 0 && n / 10 != 5).collect::<Vec<_>>());
    assert_eq!(a.retain(|_, _| true)?, 0);
    assert_eq!(a.delete_range(..)?, 20);
    assert_eq!((a.pop_first()?, a.pop_last()?, a.is_empty()), (None, None, true));
    a.append("", "the empty key may be appended to nothing")?;
    a.clear()?;
    assert_eq!((a.len(), a.iter().count()), (0, 0));
    txn.commit()?;
    assert_sound(&db);
    assert_eq!(db.begin_read()?.bucket("a")?.unwrap().len(), 0);
    Ok(())
}

#[test]
fn an_entry_is_looked_at_and_then_decided() -> Result<()> {
    let db = Database::in_memory()?;
    let mut txn = db.begin_write()?;
    let mut a = txn.bucket_mut("a")?;
    let entry = a.entry("k")?;
    assert!(!entry.is_occupied() && entry.get()?.is_none());
    entry.and_modify(|_| -> &[u8] { panic!("there is nothing to modify") })?.or_insert("1")?;
    let entry = a.entry(b"k".to_vec())?;
    assert!(entry.is_occupied());
    assert_eq!(entry.get()?, Some(&b"1"[..]));
    entry.and_modify(|old| [old, b"2"].concat())?.or_insert("not this")?;
    a.entry("k")?.or_insert_with(|| -> &[u8] { panic!("it is there") })?;
    a.entry("l")?.or_insert_with(|| "3")?;
    assert_eq!(a.get_many(&["k", "l"])?, [Some(&b"12"[..]), Some(&b"3"[..])]);
    assert!(a.entry("k")?.delete()? && !a.entry("k")?.delete()?);
    assert!(matches!(a.entry([0; 1985])?.or_insert(""), Err(Error::KeyTooLong { len: 1985, max: 1984 })));
    assert_eq!(a.len(), 1);
    Ok(())
}

#[test]
fn a_cursor_seeks_and_turns_round() -> Result<()> {
    let db = even();
    let txn = db.begin_read()?;
    let mut cursor = txn.bucket("a")?.unwrap().cursor();
    assert!(cursor.current()?.is_none());
    assert_eq!(cursor.next()?.map(number), Some(0));
    assert_eq!(cursor.current()?.map(number), Some(0));
    assert!(cursor.prev()?.is_none() && cursor.current()?.is_none() && cursor.prev()?.is_none());
    assert_eq!(cursor.next()?.map(number), Some(0));
    assert_eq!(cursor.last()?.map(number), Some(98));
    assert!(cursor.next()?.is_none() && cursor.current()?.is_none() && cursor.next()?.is_none());
    assert_eq!(cursor.prev()?.map(number), Some(98));
    assert_eq!(cursor.first()?.map(number), Some(0));

    for n in 0..100_usize {
        let above = n.next_multiple_of(2);
        assert_eq!(cursor.seek(key(n))?.map(number), (above < 100).then_some(above));
        assert_eq!(cursor.prev()?.map(number), above.checked_sub(2));
        assert_eq!(cursor.seek_for_prev(key(n))?.map(number), Some(n / 2 * 2));
        assert_eq!(cursor.next()?.map(number), (n / 2 * 2 + 2 < 100).then_some(n / 2 * 2 + 2));
    }
    assert_eq!(cursor.seek("")?.map(number), Some(0));
    assert!(cursor.seek_for_prev("a")?.is_none());
    assert_eq!(cursor.next()?.map(number), Some(0));
    assert_eq!(cursor.seek_for_prev("z")?.map(number), Some(98));
    assert!(cursor.seek("z")?.is_none());
    assert_eq!(cursor.prev()?.map(number), Some(98));

    // A long walk at random; a clone goes its own way. The position runs from 0, before the first, to 51, behind the last.
    let mut rng = fastrand::Rng::with_seed(1);
    let mut at = 50i64;
    let expected = |at: i64| (1..=50).contains(&at).then(|| (at as usize - 1) * 2);
    for _ in 0..5000 {
        let mut elsewhere = cursor.clone();
        for _ in 0..rng.usize(..12) {
            elsewhere.next()?;
        }
        let forward = rng.bool();
        for _ in 0..rng.usize(..12) {
            at = (at + if forward { 1 } else { -1 }).clamp(0, 51);
            let entry = if forward { cursor.next()? } else { cursor.prev()? };
            assert_eq!(entry.map(number), expected(at));
        }
        assert_eq!(cursor.current()?.map(number), expected(at));
    }
    assert!(format!("{cursor:?}").starts_with("Cursor"));
    Ok(())
}

/// T10: all kinds of bounds, owned and borrowed keys, both directions; a start behind the end is empty.
#[test]
fn t10_every_kind_of_range_both_ways() -> Result<()> {
    let db = even();
    let txn = db.begin_read()?;
    let a = txn.bucket("a")?.unwrap();
    let same = |range: Range<'_>, back: Range<'_>, count: u64, from, to| {
        let mut expected = evens(from, to);
        assert_eq!(numbers(range), expected);
        assert_eq!(count, expected.len() as u64);
        expected.reverse();
        assert_eq!(numbers(back.rev()), expected);
    };
    macro_rules! check {
        ($range:expr, $from:expr, $to:expr) => {
            same(a.range($range), a.range($range), a.count_range($range)?, $from, $to)
        };
    }
    check!(.., 0, 100);
    for from in [0, 1, 2, 31, 32, 98, 99] {
        check!(key(from).., from, 100);
        check!(..key(from), 0, from);
        check!(..=key(from), 0, from + 1);
        check!(..&key(from), 0, from);
        for to in [0, 1, 2, 31, 32, 98, 99] {
            let (start, end) = (key(from), key(to));
            check!(&start..&end, from, to);
            check!(start.clone()..end.clone(), from, to);
            check!(start.as_bytes()..=end.as_bytes(), from, to + 1);
            check!((Bound::Excluded(&start), Bound::Unbounded), from + 1, 100);
            check!((Bound::Excluded(&start), Bound::Excluded(&end)), from + 1, to);
            check!((Bound::Excluded(&start), Bound::Included(&end)), from + 1, to + 1);
            check!((Bound::Included(&start), Bound::Excluded(&end)), from, to);
            check!((Bound::Unbounded, Bound::Included(&end)), 0, to + 1);
        }
    }
    check!("".., 0, 100);
    check!(.."", 0, 0);
    check!("z".."a", 0, 0);
    check!("z".., 0, 0);
    check!(vec![0xff; 4000].., 0, 0);

    // What is empty to read is empty to delete.
    drop(txn);
    let mut txn = db.begin_write()?;
    let mut a = txn.bucket_mut("a")?;
    assert_eq!(a.delete_range("k50".."k40")?, 0);
    assert_eq!(a.delete_range((Bound::Excluded("k50"), Bound::Excluded("k50")))?, 0);
    assert_eq!(a.delete_range((Bound::Excluded("k50"), Bound::Included("k50")))?, 0);
    assert_eq!((a.delete_range("k50"..="k50")?, a.len()), (1, 49));
    Ok(())
}

#[test]
fn a_range_is_taken_from_both_ends_in_any_order() -> Result<()> {
    let mut rng = fastrand::Rng::with_seed(2);
    let db = Database::in_memory()?;
    let mut txn = db.begin_write()?;
    let mut model = BTreeMap::new();
    let mut a = txn.bucket_mut("a")?;
    for _ in 0..600 {
        let key = rng.u16(..5000).to_be_bytes();
        let value = vec![rng.u8(..); rng.usize(..120)];
        a.put(key, &value)?;
        model.insert(key, value);
    }
    let a = a.as_bucket();
    for _ in 0..400 {
        let mut bound = || match (rng.u32(..5), rng.u16(..5000).to_be_bytes()) {
            (0, _) => Bound::Unbounded,
            (1 | 2, key) => Bound::Included(key),
            (_, key) => Bound::Excluded(key),
        };
        let bounds = (bound(), bound());
        let after = |key: &[u8; 2]| match bounds.0 {
            Bound::Unbounded => true,
            Bound::Included(start) => *key >= start,
            Bound::Excluded(start) => *key > start,
        };
        let before = |key: &[u8; 2]| match bounds.1 {
            Bound::Unbounded => true,
            Bound::Included(end) => *key <= end,
            Bound::Excluded(end) => *key < end,
        };
        let mut expected: VecDeque<_> = model.iter().filter(|(key, _)| after(key) && before(key)).collect();
        assert_eq!(a.count_range(bounds)?, expected.len() as u64);
        let mut range = a.range(bounds);
        let odds = rng.u32(..5);
        loop {
            let (found, true_entry) = match rng.u32(..4) < odds {
                true => (range.next(), expected.pop_front()),
                false => (range.next_back(), expected.pop_back()),
            };
            let found = found.transpose()?;
            assert_eq!(found, true_entry.map(|(key, value)| (&key[..], &value[..])), "{bounds:?}");
            if found.is_none() {
                break;
            }
        }
        assert!(range.next().is_none() && range.next_back().is_none() && range.next().is_none());
    }
    Ok(())
}

#[test]
fn a_prefix_ends_where_it_should() -> Result<()> {
    let db = Database::in_memory()?;
    let mut txn = db.begin_write()?;
    let mut a = txn.bucket_mut("a")?;
    let keys: [&[u8]; 8] = [b"", b"a", b"a\xff", b"a\xff\xff", b"a\xff\xffz", b"b", b"\xff", b"\xff\xff"];
    for key in keys {
        a.put(key, key)?;
    }
    for prefix in [&b""[..], b"a", b"a\xff", b"a\xff\xff", b"b", b"c", b"\xff", b"\xff\xff", b"\xff\xff\xff"] {
        let expected: Vec<&[u8]> = keys.into_iter().filter(|key| key.starts_with(prefix)).collect();
        let found: Result<Vec<&[u8]>> = a.prefix(prefix).map(|entry| entry.map(|(key, _)| key)).collect();
        assert_eq!(found?, expected, "{prefix:?}");
        assert_eq!(a.prefix(prefix).rev().count(), expected.len());
    }
    Ok(())
}

/// T9: after an error an iterator yields nothing more, from either end, and never skips the damage.
#[test]
fn t09_iterators_stop_at_the_first_error() -> Result<()> {
    let disk = MemoryStore::new();
    let db = Options::new().open_store(&disk)?;
    db.exec(|txn| {
        let mut a = txn.bucket_mut("a")?;
        (0..2000).try_for_each(|n| a.put(format!("key {n:04}"), [1; 60]))
    })?;
    // One more commit, or else the damage would look like a commit that the power cut short.
    db.exec(|txn| txn.bucket_mut("b")?.put("k", "v"))?;
    drop(db);
    let mut image = disk.image();
    let at = image.windows(8).position(|bytes| bytes == b"key 1000").unwrap();
    assert_eq!(image[at / 4096 * 4096 + 4], 1, "a leaf");
    image[at] ^= 1;
    let db = Options::new().open_store(&MemoryStore::with_image(&image))?;
    let txn = db.begin_read()?;
    let a = txn.bucket("a")?.unwrap();
    let is_the_page = |error: &Error| matches!(error, Error::Corrupt { page, .. } if *page == at as u64 / 4096);
    let walk = |forward: bool| {
        let mut range = a.iter();
        let mut step = || if forward { range.next() } else { range.next_back() };
        let mut seen = 0;
        let error = loop {
            match step().expect("an error comes before the end") {
                Ok(_) => seen += 1,
                Err(error) => break error,
            }
        };
        assert!(is_the_page(&error), "{error}");
        for _ in 0..3 {
            assert!(range.next().is_none() && range.next_back().is_none());
        }
        seen
    };
    let (before, after) = (walk(true), walk(false));
    assert!((900..=1000).contains(&before) && (900..1000).contains(&after), "{before} {after}");
    // An error in positioning comes once too.
    let mut range = a.range("key 1000"..);
    assert!(is_the_page(&range.next().unwrap().unwrap_err()));
    assert!(range.next().is_none() && range.next_back().is_none());
    let mut range = a.range("key 0000".."key 1000");
    assert!(is_the_page(&range.next().unwrap().unwrap_err()), "its start is sound, and yet nothing is yielded");
    assert!(range.next().is_none() && range.next_back().is_none());
    let mut range = a.range(.."key 1000");
    assert!(is_the_page(&range.next_back().unwrap().unwrap_err()));
    assert!(range.next().is_none() && range.next_back().is_none());
    assert!(a.get("key 1000").is_err_and(|error| is_the_page(&error)));
    assert!(a.get_many(&["key 0001", "key 1000"]).is_err_and(|error| is_the_page(&error)));
    assert!(a.nth(1000).is_err_and(|error| is_the_page(&error)));
    assert_eq!(a.get("key 0001")?, Some(&[1; 60][..]));
    Ok(())
}

#[test]
fn keys_up_to_the_limit_of_each_page_size() -> Result<()> {
    for (page_size, max) in KEY_MAX {
        let db = Options::new().page_size(page_size).open_in_memory()?;
        let mut txn = db.begin_write()?;
        let mut a = txn.bucket_mut("a")?;
        a.put("", "the empty key is a key")?;
        let long = vec![9; max + 1];
        let refused = |result: Result<()>| match result {
            Err(Error::KeyTooLong { len, max: said }) => assert_eq!((len, said), (max + 1, max)),
            other => panic!("{other:?}"),
        };
        refused(a.put(&long, ""));
        refused(a.insert(&long, "").map(|_| ()));
        refused(a.replace(&long, "").map(|_| ()));
        refused(a.append(&long, ""));
        refused(a.reserve(&long, 5, |_| panic!("nothing to fill")));
        assert!(a.get(&long)?.is_none() && !a.delete(&long)?);
        assert_eq!(a.rank(&long)?, 1);
        // Keys that differ at the end need separators as long as they are; those that differ at the start, short ones.
        for n in 0..20u8 {
            for at in [0, max / 2, max - 1] {
                let mut key = vec![7; max];
                key[at] = 100 + n;
                a.put(&key, [n; 10])?;
            }
        }
        assert_eq!(a.len(), 61);
        txn.commit()?;
        assert_sound(&db);
        let txn = db.begin_read()?;
        let a = txn.bucket("a")?.unwrap();
        assert_eq!(a.get("")?, Some(&b"the empty key is a key"[..]));
        assert_eq!(a.first()?.map(|(key, _)| key.len()), Some(0));
        for n in 0..20u8 {
            let mut key = vec![7; max];
            key[max - 1] = 100 + n;
            assert_eq!(a.get(&key)?, Some(&[n; 10][..]));
        }
        assert!(a.iter().map(|entry| entry.unwrap().0).is_sorted());
    }
    Ok(())
}

fn pattern(seed: usize, len: usize) -> Vec<u8> {
    (0..len).map(|i| (i * 7 + seed + i / 251) as u8).collect()
}

#[test]
fn values_of_every_length_at_each_page_size() -> Result<()> {
    for (page_size, _) in KEY_MAX {
        let page = page_size as usize;
        let mut lens = vec![0, 1, 255, 256, page - 1, page, page + 1, 2 * page, 5 * page - 1, 3 << 20];
        lens.extend((page / 2 - 60..page / 2 + 4).step_by(3));
        let db = Options::new().page_size(page_size).open_in_memory()?;
        let mut txn = db.begin_write()?;
        let mut a = txn.bucket_mut("a")?;
        for (i, &len) in lens.iter().enumerate() {
            a.put(format!("{i:03}"), pattern(i, len))?;
        }
        let check = |a: Bucket<'_>, shift: usize| {
            for i in 0..lens.len() {
                let len = lens[(i + shift) % lens.len()];
                let value = a.get(format!("{i:03}")).unwrap().unwrap();
                assert!(value == pattern(i, len), "{len} bytes");
                if len >= page {
                    assert_eq!(value.as_ptr().addr() % 4096, 0, "a large value begins on a page");
                }
            }
        };
        check(a.as_bucket(), 0);
        txn.commit()?;
        check(db.begin_read()?.bucket("a")?.unwrap(), 0);
        // Each value takes the length of another: large ones shrink, small ones grow.
        let mut txn = db.begin_write()?;
        let mut a = txn.bucket_mut("a")?;
        for i in 0..lens.len() {
            a.put(format!("{i:03}"), pattern(i, lens[(i + 5) % lens.len()]))?;
        }
        txn.commit()?;
        check(db.begin_read()?.bucket("a")?.unwrap(), 5);
        assert_sound(&db);
    }
    Ok(())
}

#[test]
fn a_value_of_exactly_a_page_takes_one_page() -> Result<()> {
    for (page_size, _) in KEY_MAX {
        let db = Options::new().page_size(page_size).open_in_memory()?;
        db.exec(|txn| txn.bucket_mut("a")?.put("k", vec![3; page_size as usize]))?;
        let txn = db.begin_read()?;
        let stats = txn.bucket("a")?.unwrap().stats()?;
        assert_eq!((stats.large_pages, stats.leaf_pages, stats.value_bytes), (1, 1, u64::from(page_size)));
        // Meta slots, the value, the bucket's leaf, the catalog's leaf.
        assert_eq!((db.stats()?.meta_pages, db.stats()?.used_pages), (2, 3));
    }
    Ok(())
}

/// T11: many more than 65,535 entries, as small as entries are, on the largest pages.
#[test]
fn t11_a_hundred_thousand_tiny_entries() -> Result<()> {
    let db = Options::new().page_size(65536).open_in_memory()?;
    let mut txn = db.begin_write()?;
    let mut a = txn.bucket_mut("a")?;
    for n in 0..100_000u32 {
        a.append(&n.to_be_bytes()[1..], "")?;
    }
    for n in (0..100_000u32).step_by(997) {
        assert_eq!((a.rank(&n.to_be_bytes()[1..])?, a.nth(n.into())?.unwrap().0), (n.into(), &n.to_be_bytes()[1..]));
    }
    let stats = a.stats()?;
    assert!(stats.leaf_pages < 100_000 * 13 / 65_536 + 3, "{stats:?}");
    txn.commit()?;
    assert_sound(&db);
    Ok(())
}

#[test]
fn names_of_buckets() -> Result<()> {
    let db = Database::in_memory()?;
    let mut txn = db.begin_write()?;
    let (longest, too_long) = ("n".repeat(255), "n".repeat(256));
    assert!(matches!(txn.bucket_mut(""), Err(Error::BucketName { len: 0, max: 255 })));
    assert!(matches!(txn.bucket_mut(&too_long), Err(Error::BucketName { len: 256, max: 255 })));
    assert!(txn.bucket("")?.is_none() && txn.bucket(&too_long)?.is_none());
    txn.bucket_mut(&longest)?.put("k", "longest")?;
    txn.bucket_mut("ßucket")?.put("k", "utf-8")?;
    txn.bucket_mut("a")?.put("k", "a")?;
    assert_eq!(txn.buckets()?, ["a", &longest, "ßucket"]);

    assert!(matches!(txn.rename_bucket("a", ""), Err(Error::BucketName { len: 0, .. })));
    assert!(matches!(txn.rename_bucket("a", &too_long), Err(Error::BucketName { len: 256, .. })));
    match txn.rename_bucket("a", "ßucket") {
        Err(Error::BucketExists { name }) => assert_eq!(name, "ßucket"),
        other => panic!("{other:?}"),
    }
    assert!(!txn.rename_bucket("none", "b")? && txn.rename_bucket("a", "a")? && txn.rename_bucket("a", "b")?);
    assert!(txn.bucket("a")?.is_none());
    assert_eq!(txn.bucket("b")?.unwrap().get("k")?, Some(&b"a"[..]));
    txn.commit()?;

    // The same of buckets that the transaction has not opened, and what was renamed can be dropped and made anew.
    let mut txn = db.begin_write()?;
    assert!(txn.rename_bucket("b", "c")? && txn.drop_bucket(&longest)? && !txn.drop_bucket(&longest)?);
    txn.bucket_mut("c")?.put("l", "more")?;
    assert!(txn.drop_bucket("c")?);
    assert!(txn.bucket("c")?.is_none());
    assert_eq!(txn.bucket_mut("c")?.len(), 0);
    txn.bucket_mut("c")?.put("k", "new")?;
    assert_eq!(txn.buckets()?, ["c", "ßucket"]);
    txn.commit()?;
    let txn = db.begin_read()?;
    assert_eq!(txn.buckets()?, ["c", "ßucket"]);
    let c = txn.bucket("c")?.unwrap();
    assert_eq!((c.len(), c.get("k")?), (1, Some(&b"new"[..])));
    assert_sound(&db);
    Ok(())
}

#[test]
fn hundreds_of_buckets() -> Result<()> {
    let db = Database::in_memory()?;
    let names: Vec<String> = (0..500).map(|n| format!("bucket {n:03} {}", "x".repeat(n % 200))).collect();
    db.exec(|txn| names.iter().try_for_each(|name| txn.bucket_mut(name)?.put(name, "v")))?;
    let txn = db.begin_read()?;
    assert_eq!(txn.buckets()?, names);
    assert!(names.iter().all(|name| txn.bucket(name).unwrap().unwrap().contains(name).unwrap()));
    db.exec(|txn| names.iter().step_by(2).try_for_each(|name| txn.drop_bucket(name).map(|was| assert!(was))))?;
    assert_eq!(db.begin_read()?.buckets()?.len(), 250);
    assert_eq!(txn.buckets()?.len(), 500);
    assert_sound(&db);
    Ok(())
}

#[test]
fn options_that_cannot_be() {
    for found in [0, 1, 512, 2048, 4095, 4097, 12288, 131_072, u32::MAX] {
        match Options::new().page_size(found).open_in_memory() {
            Err(Error::PageSize { found: said }) => assert_eq!(said, u64::from(found)),
            other => panic!("{found}: {other:?}"),
        }
    }
    let option = |options: Options| match options.open_in_memory() {
        Err(Error::InvalidOption { option, .. }) => option,
        other => panic!("{other:?}"),
    };
    assert_eq!(option(Options::new().dirty_limit(64 * 4096 - 1)), "dirty_limit");
    assert_eq!(option(Options::new().page_size(65536).dirty_limit(64 * 4096)), "dirty_limit");
    assert_eq!(option(Options::new().max_size(64 * 4096 - 1)), "max_size");
    assert!(Options::new().dirty_limit(64 * 4096).max_size(64 * 4096).open_in_memory().is_ok());
    let missing = Options::new().create(false).open_store(&MemoryStore::new());
    assert!(matches!(missing, Err(Error::NotADatabase)), "{missing:?}");
}

#[test]
fn a_write_transaction_sees_itself_and_is_alone() -> Result<()> {
    let db = even();
    let before = db.begin_read()?;
    let mut txn = db.begin_write()?;
    assert_eq!((before.id().get(), txn.id().get()), (2, 3));
    assert!(db.try_begin_write()?.is_none());
    txn.bucket_mut("a")?.put("k01", "v")?;
    txn.bucket_mut("b")?;
    assert_eq!(txn.bucket("a")?.unwrap().len(), 51);
    assert_eq!((txn.buckets()?, before.buckets()?), (vec!["a".to_string(), "b".to_string()], vec!["a".to_string()]));
    assert_eq!(db.begin_read()?.bucket("a")?.unwrap().len(), 50);
    assert_eq!(txn.commit()?.get(), 3);
    assert_eq!((before.bucket("a")?.unwrap().len(), db.begin_read()?.bucket("a")?.unwrap().len()), (50, 51));

    // What changed nothing is no commit.
    let txn = db.try_begin_write()?.unwrap();
    assert_eq!((txn.id().get(), txn.commit()?.get()), (4, 3));
    let mut txn = db.begin_write()?;
    assert!(!txn.bucket_mut("a")?.delete("not there")? && !txn.bucket_mut("a")?.insert("k01", "other")?);
    assert_eq!((txn.commit()?.get(), db.stats()?.commits), (3, 2));
    Ok(())
}

#[test]
fn view_and_exec_pass_on_what_the_closure_answers() -> Result<()> {
    let db = even();
    assert_eq!(db.view(|txn| Ok(txn.bucket("a")?.unwrap().len()))?, 50);
    assert_eq!(db.exec(|txn| txn.bucket_mut("a")?.delete_range("k90"..))?, 5);
    #[derive(Debug)]
    struct Own;
    impl std::fmt::Display for Own {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("an error of our own")
        }
    }
    impl std::error::Error for Own {}
    let failed = db.view(|_| Err::<(), _>(Error::other(Own))).unwrap_err();
    assert_eq!(failed.to_string(), "an error of our own");
    assert!(matches!(failed, Error::Other(inner) if inner.is::<Own>()));
    let failed: Result<()> = db.exec(|txn| {
        txn.bucket_mut("a")?.clear()?;
        Err(Error::KeyOrder)
    });
    assert!(matches!(failed, Err(Error::KeyOrder)));
    assert_eq!(db.view(|txn| Ok(txn.bucket("a")?.unwrap().len()))?, 45);
    assert_sound(&db);
    Ok(())
}

/// T7: a panic inside a write transaction aborts it; not a page is lost, and the next writer gets its turn.
#[test]
fn t07_a_panic_in_exec_aborts_and_nothing_leaks() -> Result<()> {
    let dir = temp();
    let db = Options::new().dirty_limit(64 * 4096).open(dir.path().join("a.folio"))?;
    db.exec(|txn| {
        let mut a = txn.bucket_mut("a")?;
        (0..3000u32).try_for_each(|n| a.put(n.to_be_bytes(), [1; 100]))
    })?;
    let before = db.stats()?;
    for round in 0..10u32 {
        let result = catch_unwind(AssertUnwindSafe(|| {
            db.exec(|txn| -> Result<()> {
                let mut a = txn.bucket_mut("a")?;
                for n in (round..3000).step_by(2) {
                    a.put(n.to_be_bytes(), [2; 110])?;
                }
                a.put("large", vec![2; 50_000])?;
                a.delete_range(100u32.to_be_bytes()..200u32.to_be_bytes())?;
                match round % 2 {
                    0 => std::panic::resume_unwind(Box::new("a panic of the test's own")),
                    // Half way through a value that is reserved.
                    _ => a.reserve("inline", 50, |_| std::panic::resume_unwind(Box::new("in the middle"))),
                }
            })
        }));
        assert!(result.is_err());
        assert_sound(&db);
        let stats = db.stats()?;
        let parts = |stats: &Stats| (stats.page_count, stats.used_pages, stats.free_pages, stats.pending_pages);
        assert_eq!((stats.txn_id, parts(&stats)), (before.txn_id, parts(&before)));
    }
    let txn = db.begin_read()?;
    let a = txn.bucket("a")?.unwrap();
    assert_eq!(a.len(), 3000);
    assert!(a.iter().all(|entry| entry.unwrap().1 == [1; 100]));
    db.exec(|txn| txn.bucket_mut("a")?.put("k", "v"))?;
    assert_sound(&db);
    Ok(())
}

/// Panics when it is asked for its bytes for the `n`-th time.
struct Panics(Cell<u32>);

impl Panics {
    fn at(n: u32) -> Panics {
        Panics(Cell::new(n))
    }
}

impl AsRef<[u8]> for Panics {
    fn as_ref(&self) -> &[u8] {
        self.0.set(self.0.get() - 1);
        if self.0.get() == 0 { on_purpose() } else { b"k50" }
    }
}

impl KeyRange for Panics {
    fn bounds(&self) -> (Bound<&[u8]>, Bound<&[u8]>) {
        on_purpose()
    }
}

/// A panic that nobody is told of.
fn on_purpose() -> ! {
    std::panic::resume_unwind(Box::new("on purpose"))
}

type Use = fn(&mut WriteTxn, n: u32) -> Result<()>;

/// Every method of a bucket that runs code of its caller's: what it is given panics, at the `n`-th time that it is asked.
const USES: [Use; 45] = [
    |txn, n| txn.bucket_mut("a")?.get(Panics::at(n)).map(|_| ()),
    |txn, n| txn.bucket_mut("a")?.contains(Panics::at(n)).map(|_| ()),
    |txn, n| txn.bucket_mut("a")?.get_many(&[Panics::at(n)]).map(|_| ()),
    |txn, n| txn.bucket_mut("a")?.get_many_into(&[Panics::at(n)], &mut [None]),
    |txn, n| txn.bucket_mut("a")?.range(Panics::at(n)).next().map_or(Ok(()), |entry| entry.map(|_| ())),
    |txn, n| txn.bucket_mut("a")?.range(Panics::at(n)..).next().map_or(Ok(()), |entry| entry.map(|_| ())),
    |txn, n| txn.bucket_mut("a")?.prefix(Panics::at(n)).next().map_or(Ok(()), |entry| entry.map(|_| ())),
    |txn, n| txn.bucket_mut("a")?.cursor().seek(Panics::at(n)).map(|_| ()),
    |txn, n| txn.bucket_mut("a")?.cursor().seek_for_prev(Panics::at(n)).map(|_| ()),
    |txn, n| txn.bucket_mut("a")?.rank(Panics::at(n)).map(|_| ()),
    |txn, n| txn.bucket_mut("a")?.count_range(Panics::at(n)).map(|_| ()),
    |txn, n| txn.bucket_mut("a")?.count_range(..=Panics::at(n)).map(|_| ()),
    |txn, n| txn.bucket_mut("a")?.put(Panics::at(n), "new"),
    |txn, n| txn.bucket_mut("a")?.put("k51", Panics::at(n)),
    |txn, n| txn.bucket_mut("a")?.put("z", Panics::at(n)),
    |txn, n| txn.bucket_mut("a")?.insert(Panics::at(n), "new").map(|_| ()),
    |txn, n| txn.bucket_mut("a")?.insert("k51", Panics::at(n)).map(|_| ()),
    |txn, n| txn.bucket_mut("a")?.replace(Panics::at(n), "new").map(|_| ()),
    |txn, n| txn.bucket_mut("a")?.replace("k52", Panics::at(n)).map(|_| ()),
    |txn, n| txn.bucket_mut("a")?.append(Panics::at(n), "new"),
    |txn, n| txn.bucket_mut("a")?.append("z", Panics::at(n)),
    |txn, n| txn.bucket_mut("a")?.delete(Panics::at(n)).map(|_| ()),
    |txn, n| txn.bucket_mut("a")?.delete_range(Panics::at(n)).map(|_| ()),
    |txn, n| txn.bucket_mut("a")?.delete_range(..Panics::at(n)).map(|_| ()),
    |txn, n| txn.bucket_mut("a")?.delete_range(Panics::at(n)..=Panics::at(9)).map(|_| ()),
    |txn, n| txn.bucket_mut("a")?.delete_range((Bound::Excluded(Panics::at(n)), Bound::Unbounded)).map(|_| ()),
    |txn, _| txn.bucket_mut("a")?.retain(|_, _| on_purpose()).map(|_| ()),
    |txn, n| txn.bucket_mut("a")?.reserve(Panics::at(n), 5, |_| ()),
    |txn, _| txn.bucket_mut("a")?.reserve("k52", 4, half),
    |txn, _| txn.bucket_mut("a")?.reserve("k52", 400, half),
    |txn, _| txn.bucket_mut("a")?.reserve("k52", 9000, half),
    |txn, _| txn.bucket_mut("a")?.reserve("k51", 4, half),
    |txn, _| txn.bucket_mut("a")?.reserve("k51", 9000, half),
    |txn, _| txn.bucket_mut("a")?.reserve("z", 4, half),
    |txn, n| txn.bucket_mut("a")?.entry(Panics::at(n))?.get().map(|_| ()),
    |txn, n| txn.bucket_mut("a")?.entry(Panics::at(n))?.or_insert("new"),
    |txn, n| txn.bucket_mut("a")?.entry("k51")?.or_insert(Panics::at(n)),
    |txn, _| txn.bucket_mut("a")?.entry("k51")?.or_insert_with(|| -> &str { on_purpose() }),
    |txn, n| txn.bucket_mut("a")?.entry("k51")?.or_insert_with(|| Panics::at(n)),
    |txn, n| txn.bucket_mut("a")?.entry(Panics::at(n))?.and_modify(<[u8]>::to_vec).map(|_| ()),
    |txn, _| txn.bucket_mut("a")?.entry("k52")?.and_modify(|_| -> &str { on_purpose() }).map(|_| ()),
    |txn, n| txn.bucket_mut("a")?.entry("k52")?.and_modify(|_| Panics::at(n)).map(|_| ()),
    |txn, n| txn.bucket_mut("a")?.entry(Panics::at(n))?.delete().map(|_| ()),
    |txn, _| txn.nested(|txn| txn.bucket_mut("a")?.clear().and_then(|()| on_purpose())),
    |txn, _| {
        // In the middle of a nested transaction that goes on.
        txn.nested(|txn| {
            let mut a = txn.bucket_mut("a")?;
            let caught = catch_unwind(AssertUnwindSafe(|| a.delete(Panics::at(1))));
            assert!(caught.is_err());
            a.put("k52", "for a moment")?;
            Err(Error::other("taken back"))
        })
    },
];

/// Fills a value by half.
fn half(bytes: &mut [u8]) {
    let middle = bytes.len() / 2;
    bytes[..middle].fill(0xee);
    on_purpose()
}

/// A panic in what a method was given, a key, a range or a closure, changes nothing and leaves the transaction as good as it was.
#[test]
fn a_panic_in_what_a_method_is_given_changes_nothing() -> Result<()> {
    // In leaves of either kind, and of both in one.
    for lens in [[4, 4], [400, 400], [4, 400]] {
        let value = |n: usize| vec![n as u8; lens[n / 50]];
        let db = Options::new().dirty_limit(64 * 4096).open_in_memory()?;
        let mut txn = db.begin_write()?;
        let mut a = txn.bucket_mut("a")?;
        (0..100).filter(|&n| n != 51).try_for_each(|n| a.put(key(n), value(n)))?;
        let mut panics = 0;
        for (i, given) in USES.into_iter().enumerate() {
            for n in 1..4 {
                let savepoint = txn.savepoint()?;
                let caught = catch_unwind(AssertUnwindSafe(|| given(&mut txn, n)));
                match caught {
                    Err(_) => panics += 1,
                    // It was not asked as often as that, and has done what it does.
                    Ok(_) => txn.rollback_to(&savepoint)?,
                }
                txn.release(savepoint)?;
                let mut entries = txn.bucket("a")?.unwrap().iter();
                for m in (0..100).filter(|&m| m != 51) {
                    let (found, bytes) = entries.next().unwrap()?;
                    assert_eq!((found, bytes), (key(m).as_bytes(), &value(m)[..]), "use {i}, time {n}");
                }
                assert!(entries.next().is_none(), "use {i}, time {n}");
                txn.bucket_mut("b")?.put("still whole", n.to_be_bytes())?;
            }
        }
        assert!(panics > USES.len(), "{panics}");
        txn.commit()?;
        assert_sound(&db);
    }
    Ok(())
}

/// The same of an optimistic transaction, and of the closures that have a whole transaction.
#[test]
fn a_panic_in_what_an_optimistic_transaction_is_given_changes_nothing() -> Result<()> {
    let db = even();
    let mut txn = db.begin_optimistic()?;
    let mut a = txn.bucket_mut("a")?;
    type Use = fn(&mut OptimisticBucketMut<'_>, u32) -> Result<()>;
    let uses: [Use; 7] = [
        |a, n| a.get(Panics::at(n)).map(|_| ()),
        |a, n| a.put(Panics::at(n), "new"),
        |a, n| a.put("k51", Panics::at(n)),
        |a, n| a.insert(Panics::at(n), "new").map(|_| ()),
        |a, n| a.insert("k51", Panics::at(n)).map(|_| ()),
        |a, n| a.delete(Panics::at(n)).map(|_| ()),
        |a, n| a.delete_range(Panics::at(n)..).map(|_| ()),
    ];
    for given in uses {
        assert!(catch_unwind(AssertUnwindSafe(|| given(&mut a, 1))).is_err());
    }
    assert_eq!(numbers(a.as_bucket()?.iter()), evens(0, 100));
    a.put("k52", [52; 400])?;
    txn.commit()?;
    assert!(catch_unwind(AssertUnwindSafe(|| db.exec(|_| -> Result<()> { on_purpose() }))).is_err());
    assert!(catch_unwind(AssertUnwindSafe(|| db.batch(|_| -> Result<()> { on_purpose() }))).is_err());
    let caught = catch_unwind(AssertUnwindSafe(|| db.exec_optimistic(1, |_| -> Result<()> { on_purpose() })));
    assert!(caught.is_err());
    assert_eq!(numbers(db.begin_read()?.bucket("a")?.unwrap().iter()), evens(0, 100));
    db.batch(|txn| txn.bucket_mut("a")?.put("k50", [50; 400]))?;
    assert_sound(&db);
    Ok(())
}

#[test]
fn what_may_cross_threads() {
    fn send_and_sync<T: Send + Sync>() {}
    send_and_sync::<Database>();
    send_and_sync::<ReadTxn>();
    send_and_sync::<WriteTxn>();
    send_and_sync::<Bucket<'_>>();
    send_and_sync::<Cursor<'_>>();
    send_and_sync::<Range<'_>>();
    send_and_sync::<Error>();
    send_and_sync::<Options>();
    send_and_sync::<MemoryStore>();
    fn outlives_everything<T: Clone + 'static>() {}
    outlives_everything::<Database>();
    outlives_everything::<ReadTxn>();
}

#[test]
fn many_threads_read_through_one_write_transaction() -> Result<()> {
    let db = Options::new().dirty_limit(64 * 4096).open_in_memory()?;
    db.exec(|txn| {
        let mut a = txn.bucket_mut("a")?;
        (0..2000u32).try_for_each(|n| a.put(n.to_be_bytes(), n.to_le_bytes()))
    })?;
    let mut txn = db.begin_write()?;
    let mut a = txn.bucket_mut("a")?;
    for n in (0..2000u32).step_by(3) {
        a.put(n.to_be_bytes(), (n + 1).to_le_bytes())?;
    }
    a.put("large", vec![5; 100_000])?;
    let txn = &txn;
    std::thread::scope(|scope| {
        for thread in 0..4 {
            scope.spawn(move || {
                let a = txn.bucket("a").unwrap().unwrap();
                for n in (thread..2000u32).step_by(2) {
                    let expected = if n % 3 == 0 { n + 1 } else { n };
                    assert_eq!(a.get(n.to_be_bytes()).unwrap(), Some(&expected.to_le_bytes()[..]));
                }
                assert_eq!(a.get("large").unwrap(), Some(&[5; 100_000][..]));
                assert_eq!(a.iter().count(), 2001);
            });
        }
    });
    Ok(())
}

#[test]
fn figures_add_up() -> Result<()> {
    let dir = temp();
    let path = dir.path().join("a.folio");
    let db = Database::open(&path)?;
    let fresh = db.stats()?;
    assert_eq!((fresh.page_size, fresh.page_count, fresh.meta_pages, fresh.used_pages), (4096, 16, 2, 0));
    assert_eq!((fresh.file_len, fresh.txn_id.get(), fresh.durable_id.get(), fresh.commits), (65536, 1, 1, 0));
    assert_eq!((fresh.pinned_snapshots, fresh.oldest_pinned, fresh.oldest_age), (0, None, None));

    db.exec(|txn| txn.bucket_mut("a")?.put("k", vec![1; 10_000]))?;
    let reader = db.begin_read()?;
    let again = reader.clone();
    std::thread::sleep(Duration::from_millis(20));
    db.exec(|txn| txn.bucket_mut("a")?.put("k", vec![2; 10_000]))?;
    let stats = db.stats()?;
    // Three pages of value, a leaf, and the leaf of the catalog: now, and once more for the reader.
    assert_eq!((stats.used_pages, stats.pending_pages, stats.page_count), (5, 5, 22));
    assert_eq!((stats.pinned_snapshots, stats.oldest_pinned, stats.held_bytes), (2, Some(reader.id()), 5 * 4096));
    assert!(stats.oldest_age.unwrap() >= Duration::from_millis(20));
    assert_eq!((stats.commits, stats.txn_id.get(), stats.durable_id.get()), (2, 3, 3));
    assert!(stats.syncs >= 2 && stats.bytes_written >= 2 * 5 * 4096 && stats.bytes_written < 1_000_000, "{stats:?}");
    assert_eq!(stats.file_len, path.metadata().unwrap().len());
    drop(reader);
    assert_eq!((db.stats()?.pinned_snapshots, db.stats()?.held_bytes), (1, 5 * 4096));
    drop(again);
    db.exec(|txn| txn.bucket_mut("a")?.put("k", vec![3; 10_000]))?;
    let stats = db.stats()?;
    assert_eq!((stats.used_pages, stats.pinned_snapshots, stats.held_bytes, stats.page_count), (5, 0, 0, 22));

    // A relaxed commit is not durable until a sync, its own or that of the next durable commit.
    let mut txn = db.begin_write()?;
    txn.bucket_mut("a")?.put("k", "relaxed")?;
    txn.commit_with(Durability::Relaxed)?;
    let stats = db.stats()?;
    assert_eq!((stats.txn_id.get(), stats.durable_id.get()), (5, 4));
    db.sync()?;
    assert_eq!(db.stats()?.durable_id.get(), 5);
    let syncs = db.stats()?.syncs;
    db.sync()?;
    assert_eq!(db.stats()?.syncs, syncs, "there was nothing to sync");

    let report = db.check()?;
    assert_eq!((report.pages, report.buckets, report.entries, report.is_ok()), (stats.page_count, 1, 1, true));
    let mut calls = Vec::new();
    db.check_with(|seen, pages| calls.push((seen, pages)))?;
    assert_eq!(calls.last(), Some(&(stats.page_count, stats.page_count)));
    Ok(())
}

#[test]
fn relaxed_commits_sync_by_themselves_in_time() -> Result<()> {
    let db = Options::new().durability(Durability::Relaxed).sync_bytes(1 << 20).open_in_memory()?;
    let mut most = 0;
    for n in 0..200u32 {
        db.exec(|txn| txn.bucket_mut("a")?.put(n.to_be_bytes(), vec![1; 20_000]))?;
        let stats = db.stats()?;
        most = most.max(stats.txn_id.get() - stats.durable_id.get());
    }
    // A commit writes five pages of value and a few more.
    assert!((20..60).contains(&most), "{most} commits at stake");

    // What a durable commit wrote is synced, and does not count.
    let mut txn = db.begin_write()?;
    txn.bucket_mut("a")?.put("large", vec![1; 3 << 20])?;
    txn.commit_with(Durability::Durable)?;
    db.exec(|txn| txn.bucket_mut("a")?.put("small", "v"))?;
    let stats = db.stats()?;
    assert_eq!(stats.txn_id.get(), stats.durable_id.get() + 1);

    // The age of a snapshot is known, durable or not.
    let reader = db.begin_read()?;
    db.exec(|txn| txn.bucket_mut("a")?.put("small", "w"))?;
    let stats = db.stats()?;
    assert_eq!((stats.oldest_pinned, stats.oldest_age.is_some()), (Some(reader.id()), true));
    Ok(())
}

#[test]
fn errors_say_what_to_do() {
    let cases: [(Error, &[&str]); 8] = [
        (Error::KeyTooLong { len: 5000, max: 1984 }, &["5000", "1984"]),
        (Error::PageSize { found: 12 }, &["12", "4096", "65536"]),
        (Error::Version { found: 7, supported: 1 }, &["7", "1"]),
        (Error::Full { limit: 123 }, &["123", "max_size"]),
        (Error::Corrupt { page: 77, what: "it is bad" }, &["77", "it is bad"]),
        (Error::BucketExists { name: "users".into() }, &["users"]),
        (Error::Locked, &["another process"]),
        (Error::NotADatabase, &["not a folio database"]),
    ];
    for (error, parts) in cases {
        let text = error.to_string();
        assert!(parts.iter().all(|part| text.contains(part)), "{text}");
    }
    use std::error::Error as _;
    let io = Options::new().create(false).open("/no/such/directory/a.folio").unwrap_err();
    assert!(matches!(&io, Error::Io { source, .. } if source.kind() == std::io::ErrorKind::NotFound), "{io:?}");
    assert!(io.source().is_some());
}

/// A closure of `retain` that panics leaves a whole transaction: what it wanted to keep is there, and so is what it has not seen; of the
/// others some are gone.
#[test]
fn a_retain_that_panics_leaves_the_transaction_whole() {
    for (value_len, dirty_limit) in [(8, 1 << 20), (100, 1 << 20), (300, 64 * 4096), (6000, 64 * 4096)] {
        let db = Options::new().dirty_limit(dirty_limit).open_in_memory().unwrap();
        let keys: Vec<[u8; 4]> = (0..2000u32).map(u32::to_be_bytes).collect();
        let keeps = |key: &[u8]| key[3].is_multiple_of(5);
        db.exec(|txn| keys.iter().try_for_each(|key| txn.bucket_mut("a")?.put(key, vec![1; value_len]))).unwrap();
        for stop in [0, 1, 700, 1999] {
            let mut txn = db.begin_write().unwrap();
            let savepoint = txn.savepoint().unwrap();
            let mut seen = 0;
            let panicked = catch_unwind(AssertUnwindSafe(|| {
                txn.bucket_mut("a").unwrap().retain(|key, _| {
                    assert!(seen < stop, "enough");
                    seen += 1;
                    keeps(key)
                })
            }));
            assert!(panicked.is_err() && seen == stop);
            let a = txn.bucket_mut("a").unwrap();
            let left: Vec<Vec<u8>> = a.iter().map(|entry| entry.unwrap().0.to_vec()).collect();
            assert_eq!(a.len(), left.len() as u64);
            let mut rest = left.iter();
            let is_there =
                |key: &[u8; 4]| rest.as_slice().first().is_some_and(|next| next == key) && rest.next().is_some();
            let there: Vec<bool> = keys.iter().map(is_there).collect();
            assert!(keys.iter().zip(there).enumerate().all(|(n, (key, is_there))| is_there || n < stop && !keeps(key)));
            if stop == 700 {
                txn.rollback_to(&savepoint).unwrap();
                assert_eq!(txn.bucket("a").unwrap().unwrap().len(), 2000);
            }
            let mut a = txn.bucket_mut("a").unwrap();
            a.retain(|key, _| keeps(key)).unwrap();
            assert!(a.iter().map(|entry| entry.unwrap().0).eq(keys.iter().filter(|key| keeps(&key[..]))));
            a.put("new", "after the panic").unwrap();
            txn.commit().unwrap();
            assert_sound(&db);
            db.exec(|txn| {
                let mut a = txn.bucket_mut("a")?;
                a.delete("new")?;
                keys.iter().try_for_each(|key| a.put(key, vec![1; value_len]))
            })
            .unwrap();
        }
    }
}
