//! redb, with a cache that holds all of the data.
//!
//! The table is opened in each transaction, since redb ties it to one.

use std::path::Path;

use redb::{Builder, Database, ReadOnlyTable, ReadableDatabase, ReadableTable, Table, TableDefinition, TableError};

use crate::engine::{Direction, Durability, Engine, Reader, Result, Settings, Writer, cache_len, version_of};

const ENTRIES: TableDefinition<'static, &[u8], &[u8]> = TableDefinition::new("entries");

pub struct Redb {
    db: Database,
    durability: redb::Durability,
}

pub struct RedbReader {
    table: ReadOnlyTable<&'static [u8], &'static [u8]>,
}

pub struct RedbWriter<'txn> {
    table: Table<'txn, &'static [u8], &'static [u8]>,
}

impl Engine for Redb {
    const TITLE: &'static str = "redb";

    type Reader<'txn> = RedbReader;
    type Writer<'txn> = RedbWriter<'txn>;

    fn about(settings: &Settings) -> String {
        format!(
            "{}, a cache of {} MiB, one table. Durable: Durability::Immediate, which syncs once a commit. \
             Relaxed: Durability::None, which writes nothing until a durable commit and frees no pages: the commits go \
             with the process.",
            version_of("redb"),
            cache_len(settings) >> 20
        )
    }

    fn open(dir: &Path, settings: &Settings) -> Result<Self> {
        let mut builder = Builder::new();
        builder.set_cache_size(usize::try_from(cache_len(settings))?);
        let redb = Redb { db: builder.create(dir.join("entries.redb"))?, durability: redb::Durability::Immediate };
        match redb.db.begin_read()?.open_table(ENTRIES) {
            Ok(_) => {}
            Err(TableError::TableDoesNotExist(_)) => redb.write(|_| Ok(()))?,
            Err(error) => return Err(error.into()),
        }
        Ok(redb)
    }

    fn set_durability(&mut self, durability: Durability) -> Result<()> {
        match durability {
            Durability::Durable => {
                self.durability = redb::Durability::Immediate;
                self.write(|_| Ok(()))
            }
            Durability::Relaxed => {
                self.durability = redb::Durability::None;
                Ok(())
            }
        }
    }

    fn read<T>(&self, work: impl FnOnce(&Self::Reader<'_>) -> Result<T>) -> Result<T> {
        let txn = self.db.begin_read()?;
        work(&RedbReader { table: txn.open_table(ENTRIES)? })
    }

    fn write<T>(&self, work: impl FnOnce(&mut Self::Writer<'_>) -> Result<T>) -> Result<T> {
        let mut txn = self.db.begin_write()?;
        txn.set_durability(self.durability)?;
        let done = work(&mut RedbWriter { table: txn.open_table(ENTRIES)? })?;
        txn.commit()?;
        Ok(done)
    }
}

type Entry<'txn> = (redb::AccessGuard<'txn, &'static [u8]>, redb::AccessGuard<'txn, &'static [u8]>);

fn walk<'txn>(
    entries: impl Iterator<Item = Result<Entry<'txn>, redb::StorageError>>,
    mut each: impl FnMut(&[u8], &[u8]),
) -> Result<()> {
    for entry in entries {
        let (key, value) = entry?;
        each(key.value(), value.value());
    }
    Ok(())
}

impl Reader for RedbReader {
    fn get<T>(&self, key: &[u8], taste: impl FnOnce(&[u8]) -> T) -> Result<Option<T>> {
        Ok(self.table.get(key)?.map(|value| taste(value.value())))
    }

    fn scan(&self, direction: Direction, each: impl FnMut(&[u8], &[u8])) -> Result<()> {
        match direction {
            Direction::Forward => walk(self.table.iter()?, each),
            Direction::Reverse => walk(self.table.iter()?.rev(), each),
        }
    }

    fn range(&self, from: &[u8], count: usize, each: impl FnMut(&[u8], &[u8])) -> Result<()> {
        walk(self.table.range(from..)?.take(count), each)
    }
}

impl Writer for RedbWriter<'_> {
    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        self.table.insert(key, value)?;
        Ok(())
    }

    fn delete(&mut self, key: &[u8]) -> Result<()> {
        self.table.remove(key)?;
        Ok(())
    }
}
