//! Steps of a random history. A step comes out of the generator alone and asks no database, so that two processes with the
//! same seed know the same states.
#![allow(dead_code)] // Each test file uses a part.

use std::collections::BTreeMap;

use folio::{Database, Durability, ReadTxn, Result, WriteTxn};

/// What a database holds, by bucket and key.
pub type Model = BTreeMap<String, BTreeMap<Vec<u8>, Vec<u8>>>;

const NAMES: [&str; 3] = ["a", "bb", "ccc"];

enum Change {
    Put(Vec<u8>, Vec<u8>),
    Delete(Vec<u8>),
    DeleteRange(Vec<u8>, Vec<u8>),
    DropBucket,
}

/// One write transaction.
pub struct Step {
    changes: Vec<(&'static str, Change)>,
    pub durability: Durability,
    pub is_aborted: bool,
}

impl Step {
    /// The next step. One with many changes spills, if the limit of dirty pages is low.
    pub fn random(rng: &mut fastrand::Rng) -> Step {
        let count = match rng.u32(..20) {
            0 => 350,
            1..5 => 40,
            _ => 4,
        };
        let mut changes: Vec<_> = (0..rng.usize(1..count)).map(|_| change(rng)).collect();
        // So that each step makes a new snapshot, and no two of them are the same.
        changes.push(("clock", Change::Put(b"now".to_vec(), rng.u64(..).to_be_bytes().to_vec())));
        let durability = if rng.u32(..3) == 0 { Durability::Relaxed } else { Durability::Durable };
        Step { changes, durability, is_aborted: rng.u32(..12) == 0 }
    }

    /// A durable step that puts entries into a bucket.
    pub fn put_all(name: &'static str, entries: impl Iterator<Item = (Vec<u8>, Vec<u8>)>) -> Step {
        let changes = entries.map(|(key, value)| (name, Change::Put(key, value))).collect();
        Step { changes, durability: Durability::Durable, is_aborted: false }
    }

    /// A durable step that deletes the entries from one key to before another.
    pub fn delete_range(name: &'static str, from: Vec<u8>, to: Vec<u8>) -> Step {
        let changes = vec![(name, Change::DeleteRange(from, to))];
        Step { changes, durability: Durability::Durable, is_aborted: false }
    }

    /// The same step, relaxed.
    pub fn relaxed(self) -> Step {
        Step { durability: Durability::Relaxed, ..self }
    }

    /// Makes the changes in a transaction.
    pub fn write(&self, txn: &mut WriteTxn) -> Result<()> {
        for (name, change) in &self.changes {
            match change {
                Change::Put(key, value) => txn.bucket_mut(name)?.put(key, value)?,
                Change::Delete(key) => drop(txn.bucket_mut(name)?.delete(key)?),
                Change::DeleteRange(from, to) => drop(txn.bucket_mut(name)?.delete_range(from..to)?),
                Change::DropBucket => drop(txn.drop_bucket(name)?),
            }
        }
        Ok(())
    }

    /// Makes them in a model.
    pub fn follow(&self, model: &mut Model) {
        for (name, change) in &self.changes {
            if let Change::DropBucket = change {
                model.remove(*name);
                continue;
            }
            let bucket = model.entry(name.to_string()).or_default();
            match change {
                Change::Put(key, value) => drop(bucket.insert(key.clone(), value.clone())),
                Change::Delete(key) => drop(bucket.remove(key)),
                Change::DeleteRange(from, to) => bucket.retain(|key, _| !(from <= key && key < to)),
                Change::DropBucket => {}
            }
        }
    }
}

fn change(rng: &mut fastrand::Rng) -> (&'static str, Change) {
    let name = NAMES[rng.usize(..NAMES.len())];
    let change = match rng.u32(..200) {
        0 => Change::DropBucket,
        1..4 => Change::DeleteRange(key(rng), key(rng)),
        4..50 => Change::Delete(key(rng)),
        _ => Change::Put(key(rng), value(rng)),
    };
    (name, change)
}

fn key(rng: &mut fastrand::Rng) -> Vec<u8> {
    format!("key/{:03}", rng.u32(..400)).into_bytes()
}

fn value(rng: &mut fastrand::Rng) -> Vec<u8> {
    let len = match rng.u32(..150) {
        0 => rng.usize(..300_000),
        1..6 => rng.usize(..20_000),
        6..25 => rng.usize(..2500),
        _ => rng.usize(..120),
    };
    vec![rng.u8(..); len]
}

/// Demands that a snapshot and a model are the same.
pub fn compare(txn: &ReadTxn, model: &Model) {
    assert_eq!(txn.buckets().unwrap(), model.keys().cloned().collect::<Vec<_>>());
    for (name, truth) in model {
        let bucket = txn.bucket(name).unwrap().unwrap();
        assert_eq!(bucket.len(), truth.len() as u64);
        for (entry, (key, value)) in bucket.iter().zip(truth) {
            assert!(entry.unwrap() == (key, value), "{name}: {key:?}");
        }
    }
}

/// Demands that a check of the whole file finds nothing.
pub fn assert_sound(db: &Database) {
    let report = db.check().unwrap();
    assert!(report.is_ok(), "{:#?}", report.problems);
}
