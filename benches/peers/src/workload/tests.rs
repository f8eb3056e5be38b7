//! Every engine passes; engines that lie do not.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use super::*;
use crate::data::DataSet;
use crate::engine::{BATCH, NAMES as ENGINES, Reader, Visit, with_engine};

type Entries = Arc<BTreeMap<Vec<u8>, Vec<u8>>>;

/// Engines that tell one lie each: the checks must catch it.
struct Model<const LIE: u8> {
    entries: RwLock<Entries>,
}

/// A transaction of either kind.
struct Txn<const LIE: u8> {
    entries: Entries,
}

const NONE: u8 = 0;
const WRONG_VALUE: u8 = 1;
const FINDS_MISSING: u8 = 2;
const BATCH_OUT_OF_ORDER: u8 = 3;
const SCAN_ENDS_EARLY: u8 = 4;
const REVERSE_RUNS_FORWARD: u8 = 5;
const RANGE_STARTS_LATE: u8 = 6;
const LOSES_OVERWRITES: u8 = 7;
const LOSES_APPENDS: u8 = 8;
const LOSES_DELETES: u8 = 9;

impl<const LIE: u8> Engine for Model<LIE> {
    const TITLE: &'static str = "model";
    /// It keeps nothing in its files.
    const LACKS: &'static [&'static str] = &["open"];
    type Reader<'txn> = Txn<LIE>;
    type Writer<'txn> = Txn<LIE>;

    fn about(_: &Settings) -> String {
        String::new()
    }

    fn open(_: &Path, _: &Settings) -> Result<Self> {
        Ok(Model { entries: RwLock::default() })
    }

    fn set_durability(&mut self, _: Durability) -> Result<()> {
        Ok(())
    }

    fn read<T>(&self, work: impl FnOnce(&Txn<LIE>) -> Result<T>) -> Result<T> {
        // The lock is let go of before the work begins.
        let entries = self.entries.read().unwrap_or_else(PoisonError::into_inner).clone();
        work(&Txn { entries })
    }

    fn write<T>(&self, work: impl FnOnce(&mut Txn<LIE>) -> Result<T>) -> Result<T> {
        let mut txn = Txn { entries: self.entries.read().unwrap_or_else(PoisonError::into_inner).clone() };
        let done = work(&mut txn)?;
        *self.entries.write().unwrap_or_else(PoisonError::into_inner) = txn.entries;
        Ok(done)
    }
}

impl<const LIE: u8> Reader for Txn<LIE> {
    fn get<T>(&self, key: &[u8], taste: impl FnOnce(&[u8]) -> T) -> Result<Option<T>> {
        let value = self.entries.get(key).map(Vec::as_slice);
        Ok(match LIE {
            FINDS_MISSING => value.or(Some(b"anything")),
            // Right but for one key in some hundred, in its last byte.
            WRONG_VALUE if key[0] == 7 => value.map(|value| &value[..value.len() - 1]),
            _ => value,
        }
        .map(taste))
    }

    fn read_batch(&self, keys: &[&[u8]; BATCH], mut taste: impl FnMut(&[u8])) -> Result<()> {
        let mut keys = *keys;
        if LIE == BATCH_OUT_OF_ORDER {
            keys.reverse();
        }
        keys.iter().try_for_each(|key| self.get(key, &mut taste).map(drop))
    }

    fn scan(&self, direction: Direction, mut each: impl FnMut(&[u8], &[u8])) -> Result<()> {
        let entries = &self.entries;
        let count = entries.len() - usize::from(LIE == SCAN_ENDS_EARLY);
        match direction {
            Direction::Reverse if LIE != REVERSE_RUNS_FORWARD => {
                entries.iter().rev().take(count).for_each(|(key, value)| each(key, value));
            }
            _ => entries.iter().take(count).for_each(|(key, value)| each(key, value)),
        }
        Ok(())
    }

    fn range(&self, from: &[u8], count: usize, mut each: impl FnMut(&[u8], &[u8])) -> Result<()> {
        let late = usize::from(LIE == RANGE_STARTS_LATE);
        let range = self.entries.range(from.to_vec()..);
        range.skip(late).take(count).for_each(|(key, value)| each(key, value));
        Ok(())
    }
}

impl<const LIE: u8> Writer for Txn<LIE> {
    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        if LIE != LOSES_OVERWRITES || !self.entries.contains_key(key) {
            Arc::make_mut(&mut self.entries).insert(key.to_vec(), value.to_vec());
        }
        Ok(())
    }

    fn append(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        if LIE == LOSES_APPENDS { Ok(()) } else { self.put(key, value) }
    }

    fn delete(&mut self, key: &[u8]) -> Result<()> {
        if LIE != LOSES_DELETES {
            Arc::make_mut(&mut self.entries).remove(key);
        }
        Ok(())
    }
}

/// Runs all workloads for two rounds, each for an instant; the name of the first that fails.
struct Rounds {
    data_set: &'static str,
    entries: usize,
    sorted: bool,
}

/// What most tests run on.
const MAIN: Rounds = Rounds { data_set: "24+150", entries: 3000, sorted: false };

impl Visit for Rounds {
    type Output = Option<&'static str>;

    fn visit<E: Engine>(self) -> Result<Option<&'static str>> {
        let least = Duration::from_millis(1);
        let effort =
            Effort { least, most: Duration::MAX, commits: 20, relaxed_commits: 20, batches: 2, beside: 50, syncs: 1 };
        let dir = tempfile::tempdir()?;
        let set = DataSet::named(self.data_set)?;
        let mut bench = Bench::<E>::new(dir.path(), effort, Data::new(set, 1, self.entries), self.sorted)?;
        for round in 0..2 {
            for workload in chosen(set.run, &[]) {
                if let Err(error) = bench.run(workload.name, round) {
                    println!("{}, {}: {error}", E::TITLE, workload.name);
                    return Ok(Some(workload.name));
                }
            }
        }
        Ok(None)
    }
}

#[test]
fn every_engine_passes() {
    for engine in ENGINES {
        assert_eq!(with_engine(engine, MAIN).unwrap(), None, "{engine}");
        for data_set in ["8+8-dense", "8+8-random", "text+60", "16+1000"] {
            assert_eq!(
                with_engine(engine, Rounds { data_set, entries: 1000, sorted: false }).unwrap(),
                None,
                "{engine}, {data_set}"
            );
        }
        assert_eq!(
            with_engine(engine, Rounds { data_set: "1MiB", entries: 3, sorted: false }).unwrap(),
            None,
            "{engine}"
        );
        assert_eq!(with_engine(engine, Rounds { sorted: true, ..MAIN }).unwrap(), None, "{engine}, sorted");
    }
}

#[test]
fn every_lie_is_caught() {
    assert_eq!(MAIN.visit::<Model<WRONG_VALUE>>().unwrap(), Some("get-hit"));
    assert_eq!(MAIN.visit::<Model<FINDS_MISSING>>().unwrap(), Some("get-hit"));
    assert_eq!(MAIN.visit::<Model<BATCH_OUT_OF_ORDER>>().unwrap(), Some("get-hit"));
    assert_eq!(MAIN.visit::<Model<SCAN_ENDS_EARLY>>().unwrap(), Some("load-sorted"));
    assert_eq!(MAIN.visit::<Model<REVERSE_RUNS_FORWARD>>().unwrap(), Some("get-hit"));
    assert_eq!(MAIN.visit::<Model<RANGE_STARTS_LATE>>().unwrap(), Some("get-hit"));
    assert_eq!(MAIN.visit::<Model<LOSES_OVERWRITES>>().unwrap(), Some("commit-durable"));
    assert_eq!(MAIN.visit::<Model<LOSES_APPENDS>>().unwrap(), Some("load-sorted"));
    assert_eq!(MAIN.visit::<Model<LOSES_DELETES>>().unwrap(), Some("delete-half"));
    assert_eq!(MAIN.visit::<Model<NONE>>().unwrap(), None);
}

#[test]
fn median_is_the_middle() {
    assert_eq!(median(&mut [3.0, 1.0, 2.0]), 2.0);
    assert_eq!(median(&mut [4.0, 1.0, 2.0, 3.0]), 2.5);
    assert_eq!(median(&mut [5.0]), 5.0);
}
