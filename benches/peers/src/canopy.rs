//! canopydb, with its write-ahead log and a page cache that holds all of the data.
//!
//! The tree is looked up in each transaction, since canopydb ties it to one.

use std::path::Path;

use canopydb::{Bytes, Database, DbOptions, EnvOptions, Tree};

use crate::engine::{Direction, Durability, Engine, Reader, Result, Settings, Writer, cache_len, version_of};

const TREE: &[u8] = b"entries";

pub struct Canopy {
    db: Database,
    is_durable: bool,
}

pub struct CanopyReader<'txn> {
    tree: Tree<'txn>,
}

pub struct CanopyWriter<'txn> {
    tree: Tree<'txn>,
}

impl Engine for Canopy {
    const TITLE: &'static str = "canopydb";

    type Reader<'txn> = CanopyReader<'txn>;
    type Writer<'txn> = CanopyWriter<'txn>;

    fn about(settings: &Settings) -> String {
        format!(
            "{}, a write-ahead log with a thread that checkpoints it, a page cache of {} MiB, one tree, a checkpoint \
             when it is closed. Durable: commit_with(true), one sync of the log. Relaxed: commit_with(false), the log \
             is written and not synced.",
            version_of("canopydb"),
            cache_len(settings) >> 20
        )
    }

    fn open(dir: &Path, settings: &Settings) -> Result<Self> {
        let mut env = EnvOptions::new(dir);
        env.page_cache_size = usize::try_from(cache_len(settings))?;
        let mut options = DbOptions::new();
        options.checkpoint_db_on_drop = true;
        let canopy = Canopy { db: Database::with_options(env, options)?, is_durable: true };
        if canopy.db.begin_read()?.get_tree(TREE)?.is_none() {
            let txn = canopy.db.begin_write()?;
            txn.get_or_create_tree(TREE)?;
            txn.commit_with(true)?;
        }
        Ok(canopy)
    }

    fn set_durability(&mut self, durability: Durability) -> Result<()> {
        self.is_durable = durability == Durability::Durable;
        if self.is_durable {
            self.db.sync()?;
        }
        Ok(())
    }

    fn tidy(&self) -> Result<()> {
        Ok(self.db.checkpoint()?)
    }

    fn read<T>(&self, work: impl FnOnce(&Self::Reader<'_>) -> Result<T>) -> Result<T> {
        let txn = self.db.begin_read()?;
        work(&CanopyReader { tree: txn.get_tree(TREE)?.ok_or("the tree is gone")? })
    }

    fn write<T>(&self, work: impl FnOnce(&mut Self::Writer<'_>) -> Result<T>) -> Result<T> {
        let txn = self.db.begin_write()?;
        let done = work(&mut CanopyWriter { tree: txn.get_tree(TREE)?.ok_or("the tree is gone")? })?;
        txn.commit_with(self.is_durable)?;
        Ok(done)
    }
}

fn walk(
    entries: impl Iterator<Item = Result<(Bytes, Bytes), canopydb::Error>>,
    mut each: impl FnMut(&[u8], &[u8]),
) -> Result<()> {
    for entry in entries {
        let (key, value) = entry?;
        each(&key, &value);
    }
    Ok(())
}

impl Reader for CanopyReader<'_> {
    fn get<T>(&self, key: &[u8], taste: impl FnOnce(&[u8]) -> T) -> Result<Option<T>> {
        Ok(self.tree.get(key)?.map(|value| taste(&value)))
    }

    fn scan(&self, direction: Direction, each: impl FnMut(&[u8], &[u8])) -> Result<()> {
        match direction {
            Direction::Forward => walk(self.tree.iter()?, each),
            Direction::Reverse => walk(self.tree.iter()?.rev(), each),
        }
    }

    fn range(&self, from: &[u8], count: usize, each: impl FnMut(&[u8], &[u8])) -> Result<()> {
        walk(self.tree.range(from..)?.take(count), each)
    }
}

impl Writer for CanopyWriter<'_> {
    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        Ok(self.tree.insert(key, value)?)
    }

    fn delete(&mut self, key: &[u8]) -> Result<()> {
        self.tree.delete(key)?;
        Ok(())
    }
}
