//! Compares a snapshot with the source that it was loaded from: every entry, in every way to reach it.

use folio::{Bucket, Entry, ReadTxn};

use super::source::{Record, Source};
use crate::failure::Failure;
use crate::open;

/// Parts of the buckets that are scanned and counted: from (inclusive), to (exclusive).
const RANGES: [(&str, &str); 6] = [
    ("000000", "000080"),
    ("000370", "000400"),
    ("004E00", "00FFFF"),
    ("GREEK", "LATIN"),
    ("LATIN SMALL LETTER A", "LATIN SMALL LETTER Z"),
    ("Z", "A"),
];

const PREFIXES: [&str; 6] = ["", "0001", "GREEK", "LATIN SMALL LETTER", "<control>", "NO SUCH NAME"];

/// The snapshot holds exactly the source's records. Returns how many partial scans were compared.
pub fn source(txn: &ReadTxn, source: &Source) -> Result<u64, Failure> {
    let mut scans = 0;
    for (name, records) in source.buckets() {
        let bucket = open::bucket(txn, name)?;
        len(&bucket, name, records.len() as u64)?;
        entries(&bucket, name, records)?;
        scans += ranges(&bucket, name, records)? + prefixes(&bucket, name, records)?;
    }
    Ok(scans)
}

/// The snapshot has these buckets and no others.
pub fn buckets(txn: &ReadTxn, expected: &[&str]) -> Result<(), Failure> {
    let found = txn.buckets()?;
    if found != expected {
        return Err(Failure::Unsound(format!("buckets {found:?} found, {expected:?} expected")));
    }
    Ok(())
}

pub fn len(bucket: &Bucket<'_>, name: &str, expected: u64) -> Result<(), Failure> {
    same_count(name, "len", bucket.len(), expected)
}

/// Every record by its key, and all of them in order, forwards and backwards.
fn entries(bucket: &Bucket<'_>, name: &str, records: &[Record]) -> Result<(), Failure> {
    for record in records {
        same_entry(name, record, bucket.get(&record.key)?.map(|value| (record.key.as_bytes(), value)))?;
    }
    let mut forwards = bucket.iter();
    for record in records {
        same_entry(name, record, forwards.next().transpose()?)?;
    }
    let mut backwards = bucket.iter();
    for record in records.iter().rev() {
        same_entry(name, record, backwards.next_back().transpose()?)?;
    }
    if forwards.next().or(backwards.next_back()).is_some() {
        return Err(Failure::Unsound(format!("bucket {name} goes on after its last entry")));
    }
    Ok(())
}

fn same_entry(name: &str, record: &Record, found: Option<Entry<'_>>) -> Result<(), Failure> {
    if found == Some((record.key.as_bytes(), record.value.as_bytes())) {
        return Ok(());
    }
    let key = &record.key;
    Err(Failure::Unsound(format!("bucket {name}, key {key}: the entry differs from the source or is missing")))
}

fn ranges(bucket: &Bucket<'_>, name: &str, records: &[Record]) -> Result<u64, Failure> {
    for (from, to) in RANGES {
        let expected = records.iter().filter(|record| (from..to).contains(&record.key.as_str())).count() as u64;
        let what = format!("range {from}..{to}");
        same_count(name, &what, count(bucket.range(from..to))?, expected)?;
        same_count(name, &what, count(bucket.range(from..to).rev())?, expected)?;
        same_count(name, &what, bucket.count_range(from..to)?, expected)?;
    }
    Ok(RANGES.len() as u64)
}

fn prefixes(bucket: &Bucket<'_>, name: &str, records: &[Record]) -> Result<u64, Failure> {
    for prefix in PREFIXES {
        let expected = records.iter().filter(|record| record.key.starts_with(prefix)).count() as u64;
        let what = format!("prefix {prefix}");
        same_count(name, &what, count(bucket.prefix(prefix))?, expected)?;
        same_count(name, &what, count(bucket.prefix(prefix).rev())?, expected)?;
    }
    Ok(PREFIXES.len() as u64)
}

fn count<'txn>(mut entries: impl Iterator<Item = folio::Result<Entry<'txn>>>) -> folio::Result<u64> {
    entries.try_fold(0, |count, entry| entry.map(|_| count + 1))
}

fn same_count(name: &str, what: &str, found: u64, expected: u64) -> Result<(), Failure> {
    if found != expected {
        return Err(Failure::Unsound(format!("bucket {name}, {what}: {found} entries found, {expected} expected")));
    }
    Ok(())
}
