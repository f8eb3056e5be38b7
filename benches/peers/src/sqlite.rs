//! SQLite, through rusqlite, as a table from key to value.
//!
//! A connection belongs to one thread at a time: they lie in a pool, and a transaction takes one out. Statements are
//! prepared once a connection.

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use rusqlite::{CachedStatement, Connection, Row, Rows};

use crate::engine::{Direction, Durability, Engine, Reader, Result, Settings, Writer, cache_len, version_of};

const GET: &str = "SELECT value FROM entries WHERE key = ?1";
const FORWARD: &str = "SELECT key, value FROM entries ORDER BY key";
const REVERSE: &str = "SELECT key, value FROM entries ORDER BY key DESC";
const RANGE: &str = "SELECT key, value FROM entries WHERE key >= ?1 ORDER BY key LIMIT ?2";
const PUT: &str = "INSERT INTO entries VALUES (?1, ?2) ON CONFLICT (key) DO UPDATE SET value = excluded.value";
const DELETE: &str = "DELETE FROM entries WHERE key = ?1";

pub struct Sqlite {
    path: PathBuf,
    cache_len: u64,
    durability: Durability,
    pool: Mutex<Vec<Connection>>,
}

pub struct SqliteReader<'txn> {
    connection: &'txn Connection,
    get: RefCell<CachedStatement<'txn>>,
    range: RefCell<CachedStatement<'txn>>,
}

pub struct SqliteWriter<'txn> {
    put: CachedStatement<'txn>,
    delete: CachedStatement<'txn>,
}

impl Sqlite {
    fn connect(&self) -> Result<Connection> {
        let connection = Connection::open(&self.path)?;
        let synchronous = match self.durability {
            Durability::Durable => "FULL",
            Durability::Relaxed => "NORMAL",
        };
        connection.execute_batch(&format!(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = {synchronous}; PRAGMA cache_size = -{};
             PRAGMA mmap_size = {}; PRAGMA busy_timeout = 60000;",
            self.cache_len / 1024,
            self.cache_len * 4,
        ))?;
        Ok(connection)
    }

    fn with_connection<T>(&self, work: impl FnOnce(&Connection) -> Result<T>) -> Result<T> {
        let pooled = self.pool.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let connection = pooled.map_or_else(|| self.connect(), Ok)?;
        let done = work(&connection);
        self.pool.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
        done
    }

    /// A transaction around `work`, rolled back when it fails.
    fn transaction<T>(&self, begin: &str, work: impl FnOnce(&Connection) -> Result<T>) -> Result<T> {
        self.with_connection(|connection| {
            connection.prepare_cached(begin)?.execute([])?;
            let done = work(connection);
            connection.prepare_cached(if done.is_ok() { "COMMIT" } else { "ROLLBACK" })?.execute([])?;
            done
        })
    }
}

impl Engine for Sqlite {
    const TITLE: &'static str = "SQLite";

    type Reader<'txn> = SqliteReader<'txn>;
    type Writer<'txn> = SqliteWriter<'txn>;

    fn about(settings: &Settings) -> String {
        format!(
            "{} through rusqlite {}, a table WITHOUT ROWID, statements prepared once, journal_mode = WAL, mmap_size \
             beyond the data, cache_size {} MiB. Durable: synchronous = FULL, one sync of the log a commit. Relaxed: \
             synchronous = NORMAL, which syncs at checkpoints.",
            rusqlite::version(),
            version_of("rusqlite"),
            cache_len(settings) >> 20
        )
    }

    fn open(dir: &Path, settings: &Settings) -> Result<Self> {
        let sqlite = Sqlite {
            path: dir.join("entries.sqlite"),
            cache_len: cache_len(settings),
            durability: Durability::Durable,
            pool: Mutex::default(),
        };
        let table = "CREATE TABLE IF NOT EXISTS entries (key BLOB PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID";
        sqlite.with_connection(|connection| Ok(connection.execute_batch(table)?))?;
        Ok(sqlite)
    }

    fn set_durability(&mut self, durability: Durability) -> Result<()> {
        self.durability = durability;
        // Connections of the old kind are closed, the last of them with a checkpoint.
        self.pool = Mutex::default();
        Ok(())
    }

    fn tidy(&self) -> Result<()> {
        self.with_connection(|connection| {
            Ok(connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?)
        })
    }

    fn read<T>(&self, work: impl FnOnce(&Self::Reader<'_>) -> Result<T>) -> Result<T> {
        self.transaction("BEGIN", |connection| {
            let get = RefCell::new(connection.prepare_cached(GET)?);
            let range = RefCell::new(connection.prepare_cached(RANGE)?);
            work(&SqliteReader { connection, get, range })
        })
    }

    fn write<T>(&self, work: impl FnOnce(&mut Self::Writer<'_>) -> Result<T>) -> Result<T> {
        self.transaction("BEGIN IMMEDIATE", |connection| {
            let (put, delete) = (connection.prepare_cached(PUT)?, connection.prepare_cached(DELETE)?);
            work(&mut SqliteWriter { put, delete })
        })
    }
}

fn blob<'row>(row: &'row Row<'_>, column: usize) -> Result<&'row [u8]> {
    Ok(row.get_ref(column)?.as_blob()?)
}

fn walk(mut rows: Rows<'_>, mut each: impl FnMut(&[u8], &[u8])) -> Result<()> {
    while let Some(row) = rows.next()? {
        each(blob(row, 0)?, blob(row, 1)?);
    }
    Ok(())
}

impl Reader for SqliteReader<'_> {
    fn get<T>(&self, key: &[u8], taste: impl FnOnce(&[u8]) -> T) -> Result<Option<T>> {
        let mut get = self.get.borrow_mut();
        let mut rows = get.query([key])?;
        rows.next()?.map(|row| Ok(taste(blob(row, 0)?))).transpose()
    }

    fn scan(&self, direction: Direction, each: impl FnMut(&[u8], &[u8])) -> Result<()> {
        let mut scan = self.connection.prepare_cached(match direction {
            Direction::Forward => FORWARD,
            Direction::Reverse => REVERSE,
        })?;
        walk(scan.query([])?, each)
    }

    fn range(&self, from: &[u8], count: usize, each: impl FnMut(&[u8], &[u8])) -> Result<()> {
        walk(self.range.borrow_mut().query((from, count as i64))?, each)
    }
}

impl Writer for SqliteWriter<'_> {
    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        self.put.execute([key, value])?;
        Ok(())
    }

    fn delete(&mut self, key: &[u8]) -> Result<()> {
        self.delete.execute([key])?;
        Ok(())
    }
}
