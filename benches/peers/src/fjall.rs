//! fjall, a log-structured tree, with a cache that holds all of the data and its filters at their defaults.
//!
//! A write transaction is a batch: it is atomic, and nothing is read inside it.

use std::path::Path;
use std::thread;
use std::time::Duration;

use fjall::{Database, Guard, Keyspace, KeyspaceCreateOptions, OwnedWriteBatch, PersistMode, Readable, Snapshot};

use crate::engine::{Direction, Durability, Engine, Reader, Result, Settings, Writer, cache_len, version_of};

pub struct Fjall {
    db: Database,
    entries: Keyspace,
    durability: PersistMode,
}

pub struct FjallReader<'txn> {
    snapshot: Snapshot,
    entries: &'txn Keyspace,
}

pub struct FjallWriter<'txn> {
    batch: OwnedWriteBatch,
    entries: &'txn Keyspace,
}

impl Engine for Fjall {
    const TITLE: &'static str = "fjall";

    type Reader<'txn> = FjallReader<'txn>;
    type Writer<'txn> = FjallWriter<'txn>;

    fn about(settings: &Settings) -> String {
        format!(
            "{}, a log-structured tree with threads that compact it, a cache of {} MiB, Bloom filters, no compression, \
             one keyspace, a batch a transaction. Durable: PersistMode::SyncData, one sync of the journal a commit. \
             Relaxed: PersistMode::Buffer, the journal is \
             written and not synced.",
            version_of("fjall"),
            cache_len(settings) >> 20
        )
    }

    fn open(dir: &Path, settings: &Settings) -> Result<Self> {
        let db = Database::builder(dir).cache_size(cache_len(settings)).open()?;
        let entries = db.keyspace("entries", KeyspaceCreateOptions::default)?;
        Ok(Fjall { db, entries, durability: PersistMode::SyncData })
    }

    fn set_durability(&mut self, durability: Durability) -> Result<()> {
        self.durability = match durability {
            Durability::Durable => {
                self.db.persist(PersistMode::SyncAll)?;
                PersistMode::SyncData
            }
            // Without a mode the journal would stay in this process, and go with it when it is killed.
            Durability::Relaxed => PersistMode::Buffer,
        };
        Ok(())
    }

    fn tidy(&self) -> Result<()> {
        self.entries.rotate_memtable_and_wait()?;
        while self.db.outstanding_flushes() > 0 || self.db.active_compactions() > 0 {
            thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }

    fn read<T>(&self, work: impl FnOnce(&Self::Reader<'_>) -> Result<T>) -> Result<T> {
        work(&FjallReader { snapshot: self.db.snapshot(), entries: &self.entries })
    }

    fn write<T>(&self, work: impl FnOnce(&mut Self::Writer<'_>) -> Result<T>) -> Result<T> {
        let batch = self.db.batch().durability(Some(self.durability));
        let mut writer = FjallWriter { batch, entries: &self.entries };
        let done = work(&mut writer)?;
        writer.batch.commit()?;
        Ok(done)
    }
}

fn walk(entries: impl Iterator<Item = Guard>, mut each: impl FnMut(&[u8], &[u8])) -> Result<()> {
    for entry in entries {
        let (key, value) = entry.into_inner()?;
        each(&key, &value);
    }
    Ok(())
}

impl Reader for FjallReader<'_> {
    fn get<T>(&self, key: &[u8], taste: impl FnOnce(&[u8]) -> T) -> Result<Option<T>> {
        Ok(self.snapshot.get(self.entries, key)?.map(|value| taste(&value)))
    }

    fn scan(&self, direction: Direction, each: impl FnMut(&[u8], &[u8])) -> Result<()> {
        match direction {
            Direction::Forward => walk(self.snapshot.iter(self.entries), each),
            Direction::Reverse => walk(self.snapshot.iter(self.entries).rev(), each),
        }
    }

    fn range(&self, from: &[u8], count: usize, each: impl FnMut(&[u8], &[u8])) -> Result<()> {
        walk(self.snapshot.range(self.entries, from..).take(count), each)
    }
}

impl Writer for FjallWriter<'_> {
    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        self.batch.insert(self.entries, key, value);
        Ok(())
    }

    fn delete(&mut self, key: &[u8]) -> Result<()> {
        self.batch.remove(self.entries, key);
        Ok(())
    }
}
