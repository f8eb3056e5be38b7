//! What an engine must offer to take part, and the list of those that do.
//!
//! The trait is as wide as the workloads need and no wider. Values are handed to a closure instead of being returned,
//! so that an engine that lends memory and one that copies are driven by the same code. Everything is generic, never
//! `dyn`: each engine gets a compiled loop of its own, and no call of the harness stands between it and the clock.
//!
//! To add an engine: write one file that implements [`Engine`], and add one line to `engines!` below.

use std::path::Path;

use heed::{WithTls, WithoutTls};

use crate::btree_store::BtreeStore;
use crate::canopy::Canopy;
use crate::fjall::Fjall;
use crate::folio::Folio;
use crate::lmdb::Lmdb;
use crate::mdbx::Mdbx;
use crate::redb::Redb;
use crate::sanakirja::Sanakirja;
use crate::sqlite::Sqlite;

pub type Error = Box<dyn std::error::Error + Send + Sync>;
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// How many keys one [`Reader::read_batch`] looks up.
pub const BATCH: usize = 32;

/// When a commit returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// After the disk has confirmed it.
    Durable,
    /// Once the operating system has it, or what else the engine offers that is nearest to it; the newest commits may be
    /// lost in a power cut.
    Relaxed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    Forward,
    Reverse,
}

/// What an engine is told before it opens.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Bytes of keys and values that it will be given, for engines that must size themselves in advance.
    pub data_len: u64,
    /// Bytes of memory for one write transaction, where the engine can be told; `None` is its default.
    pub dirty_limit: Option<usize>,
}

/// A database of one engine, open. Files go into a directory that nothing else uses.
pub trait Engine: Sized + Sync + 'static {
    /// The name in the report.
    const TITLE: &'static str;

    /// Workloads that it cannot do; the report says "n/a" there, and `about` says why.
    const LACKS: &'static [&'static str] = &[];

    /// The longest value that it stores; data sets with longer ones are "n/a" too.
    const VALUE_MAX: usize = usize::MAX;

    type Reader<'txn>: Reader;
    type Writer<'txn>: Writer;

    /// Version and settings, for the head of the report: what a reader must know to judge the figures.
    fn about(settings: &Settings) -> String;

    /// Opens the database in `dir`, which exists, and creates it when `dir` is empty. Commits are durable. To drop the
    /// engine closes the database.
    fn open(dir: &Path, settings: &Settings) -> Result<Self>;

    /// How commits from now on behave. A change back to durable also syncs what relaxed commits have left.
    fn set_durability(&mut self, durability: Durability) -> Result<()>;

    /// Does what the engine puts off until later: a checkpoint, a compaction. Called off the clock, before files are
    /// measured, before reads and after writes, so that it does not go on while another engine is on the clock.
    fn tidy(&self) -> Result<()> {
        Ok(())
    }

    /// One read transaction around `work`. Its snapshot is certain once it has read something.
    fn read<T>(&self, work: impl FnOnce(&Self::Reader<'_>) -> Result<T>) -> Result<T>;

    /// One write transaction around `work`, committed when `work` succeeds.
    fn write<T>(&self, work: impl FnOnce(&mut Self::Writer<'_>) -> Result<T>) -> Result<T>;
}

/// A read transaction.
pub trait Reader {
    /// Looks `key` up and hands its value to `taste`.
    fn get<T>(&self, key: &[u8], taste: impl FnOnce(&[u8]) -> T) -> Result<Option<T>>;

    /// Looks up [`BATCH`] keys and hands each value found, in the order of the keys, to `taste`.
    ///
    /// Engines without such a call do as many single gets.
    fn read_batch(&self, keys: &[&[u8]; BATCH], mut taste: impl FnMut(&[u8])) -> Result<()> {
        for key in keys {
            self.get(key, &mut taste)?;
        }
        Ok(())
    }

    /// Hands all entries to `each` in order of key, or in the reverse order.
    fn scan(&self, direction: Direction, each: impl FnMut(&[u8], &[u8])) -> Result<()>;

    /// Hands entries to `each` in order of key, at most `count` of them, the first being the first whose key is not
    /// below `from`.
    fn range(&self, from: &[u8], count: usize, each: impl FnMut(&[u8], &[u8])) -> Result<()>;
}

/// A write transaction.
pub trait Writer {
    /// Stores an entry, replacing what was there.
    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<()>;

    /// Stores an entry whose key is above every key so far. Engines without such a call put it.
    fn append(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        self.put(key, value)
    }

    /// Deletes an entry that is there.
    fn delete(&mut self, key: &[u8]) -> Result<()>;
}

/// Bytes for the cache of an engine that has one: all of the data fits, and what surrounds it.
pub fn cache_len(settings: &Settings) -> u64 {
    (settings.data_len * 2).max(1 << 30)
}

/// Hands what an iterator lends to `each`, for engines whose iterators are of this kind.
pub fn walk<'txn, E: Into<Error>>(
    entries: impl Iterator<Item = Result<(&'txn [u8], &'txn [u8]), E>>,
    mut each: impl FnMut(&[u8], &[u8]),
) -> Result<()> {
    for entry in entries {
        let (key, value) = entry.map_err(Into::into)?;
        each(key, value);
    }
    Ok(())
}

/// The version of a crate that this program was built with.
pub fn version_of(name: &str) -> &'static str {
    let lock = include_str!("../Cargo.lock");
    let mut lines = lock.lines().skip_while(|line| line.strip_prefix("name = ") != Some(&format!("{name:?}")));
    let version = lines.nth(1).and_then(|line| line.strip_prefix("version = "));
    version.map_or("unknown", |version| version.trim_matches('"'))
}

/// Something to be done with an engine that is chosen by name: a closure generic over the engine.
pub trait Visit {
    type Output;
    fn visit<E: Engine>(self) -> Result<Self::Output>;
}

macro_rules! engines {
    ($($name:literal => $engine:ty),+ $(,)?) => {
        /// The names that `--engines` knows.
        pub const NAMES: &[&str] = &[$($name),+];

        /// Calls `visit` with the engine of that name.
        pub fn with_engine<V: Visit>(name: &str, visit: V) -> Result<V::Output> {
            match name {
                $($name => visit.visit::<$engine>(),)+
                _ => Err(format!("no engine is called {name}; there are: {}", NAMES.join(", ")).into()),
            }
        }
    };
}

/// Those that run only when they are asked for: a second way to use an engine, and one whose loads take longer than the
/// rest of a run.
pub const ON_REQUEST: &[&str] = &["lmdb-tls", "btree-store"];

engines! {
    "lmdb" => Lmdb<WithoutTls>,
    "lmdb-tls" => Lmdb<WithTls>,
    "folio" => Folio,
    "libmdbx" => Mdbx,
    "redb" => Redb,
    "canopydb" => Canopy,
    "sanakirja" => Sanakirja,
    "btree-store" => BtreeStore,
    "sqlite" => Sqlite,
    "fjall" => Fjall,
}
