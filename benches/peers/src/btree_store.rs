//! btree-store, with a cache that holds all of the data.
//!
//! It lends nothing: a get and each step of a scan copy the value. Its iterators start at an end of the bucket and nowhere
//! else.

use std::path::Path;

use btree_store::{BTree, Error as StoreError, OpenOptions, ReadOnlyTxn, Txn};

use crate::engine::{Direction, Durability, Engine, Reader, Result, Settings, Writer, cache_len, version_of};

const BUCKET: &str = "entries";

pub struct BtreeStore {
    db: BTree,
}

pub struct BtreeStoreReader<'txn> {
    txn: &'txn ReadOnlyTxn<'txn>,
}

pub struct BtreeStoreWriter<'txn> {
    txn: &'txn mut dyn Edit,
}

/// A write transaction, whatever its lifetime.
trait Edit {
    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), StoreError>;
    fn delete(&mut self, key: &[u8]) -> Result<bool, StoreError>;
}

impl Edit for Txn<'_> {
    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        Txn::put(self, key, value)
    }

    fn delete(&mut self, key: &[u8]) -> Result<bool, StoreError> {
        self.del(key)
    }
}

impl Engine for BtreeStore {
    const TITLE: &'static str = "btree-store";
    /// It knows no relaxed commits, no seek to a key, and no write inside the closure of a read transaction.
    const LACKS: &'static [&'static str] = &["commit-relaxed", "range-10", "range-100", "pinned"];

    type Reader<'txn> = BtreeStoreReader<'txn>;
    type Writer<'txn> = BtreeStoreWriter<'txn>;

    fn about(settings: &Settings) -> String {
        format!(
            "{}, a cache of {} MiB, one bucket without prefix encoding. Durable: SyncMode::Adaptive. Relaxed: it has no \
             such mode. No iterator starts at a key, and nothing is written while a closure reads.",
            version_of("btree-store"),
            cache_len(settings) >> 20
        )
    }

    fn open(dir: &Path, settings: &Settings) -> Result<Self> {
        let mut options = OpenOptions::new();
        options.cache_capacity = usize::try_from(cache_len(settings))? / btree_store::PAGE_SIZE;
        let db = options.open(dir.join("entries.btree"))?;
        if db.buckets()?.is_empty() {
            db.new_bucket(BUCKET, false)?;
        }
        Ok(BtreeStore { db })
    }

    fn set_durability(&mut self, durability: Durability) -> Result<()> {
        match durability {
            Durability::Durable => Ok(()),
            Durability::Relaxed => Err("btree-store has no relaxed commits".into()),
        }
    }

    fn read<T>(&self, work: impl FnOnce(&Self::Reader<'_>) -> Result<T>) -> Result<T> {
        self.db.view(BUCKET, |txn| Ok(work(&BtreeStoreReader { txn })))?
    }

    fn write<T>(&self, work: impl FnOnce(&mut Self::Writer<'_>) -> Result<T>) -> Result<T> {
        let mut failed = None;
        let done = self.db.exec(BUCKET, |txn| {
            // Its own error only rolls back; the one to report is this one.
            work(&mut BtreeStoreWriter { txn }).map_err(|error| {
                failed = Some(error);
                StoreError::KeyNotFound
            })
        });
        failed.map_or(done.map_err(Into::into), Err)
    }
}

impl Reader for BtreeStoreReader<'_> {
    fn get<T>(&self, key: &[u8], taste: impl FnOnce(&[u8]) -> T) -> Result<Option<T>> {
        match self.txn.get(key) {
            Ok(value) => Ok(Some(taste(&value))),
            Err(StoreError::KeyNotFound) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn scan(&self, direction: Direction, mut each: impl FnMut(&[u8], &[u8])) -> Result<()> {
        let mut entries = self.txn.iter();
        let (mut key, mut value) = (Vec::new(), Vec::new());
        while match direction {
            Direction::Forward => entries.next_ref(&mut key, &mut value),
            Direction::Reverse => entries.prev_ref(&mut key, &mut value),
        } {
            each(&key, &value);
        }
        Ok(())
    }

    fn range(&self, _: &[u8], _: usize, _: impl FnMut(&[u8], &[u8])) -> Result<()> {
        Err("btree-store has no iterator that starts at a key".into())
    }
}

impl Writer for BtreeStoreWriter<'_> {
    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        Ok(self.txn.put(key, value)?)
    }

    fn delete(&mut self, key: &[u8]) -> Result<()> {
        self.txn.delete(key)?;
        Ok(())
    }
}
