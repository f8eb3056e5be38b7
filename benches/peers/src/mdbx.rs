//! libmdbx, a descendant of LMDB, through the bindings of signet-libmdbx, which come ready-made.
//!
//! The entries live in the unnamed database. The bindings never tie a reader slot to a thread (`MDBX_NOTLS`), as
//! folio's transactions are not. Transactions are of the kind that belongs to one thread, which its documentation calls
//! the faster one.

use std::borrow::Cow;
use std::path::Path;

use signet_libmdbx::sys::EnvironmentKind;
use signet_libmdbx::tx::aliases::{RoCursorUnsync, RoTxUnsync, RwTxUnsync};
use signet_libmdbx::{Database, Environment, Geometry, MdbxError, ReadResult, WriteFlags, ffi};

use crate::engine::{Direction, Durability, Engine, Reader, Result, Settings, Writer, version_of};

/// By how much the file grows and shrinks.
const STEP: isize = 4 << 20;

pub struct Mdbx {
    env: Environment,
    entries: Database,
}

pub struct MdbxReader {
    txn: RoTxUnsync,
    entries: Database,
}

pub struct MdbxWriter {
    txn: RwTxUnsync,
    entries: Database,
}

impl Engine for Mdbx {
    const TITLE: &'static str = "libmdbx";

    type Reader<'txn> = MdbxReader;
    type Writer<'txn> = MdbxWriter;

    fn about(_: &Settings) -> String {
        // SAFETY: a constant of the library.
        let version = unsafe { ffi::mdbx_version };
        format!(
            "{}.{}.{} through signet-libmdbx {}, the unnamed database, MDBX_NOTLS, the file grows by {} MiB. \
             Durable: MDBX_SYNC_DURABLE, two syncs a commit. Relaxed: MDBX_UTTERLY_NOSYNC, which never syncs and \
             after a power cut may leave a damaged file (MDBX_SAFE_NOSYNC syncs whenever it needs a free page).",
            version.major,
            version.minor,
            version.patch,
            version_of("signet-libmdbx"),
            STEP >> 20,
        )
    }

    fn open(dir: &Path, settings: &Settings) -> Result<Self> {
        let mut builder = Environment::builder();
        builder.set_kind(EnvironmentKind::Default);
        // The file remembers its geometry; to give it once more would cost each open a commit.
        if !dir.join("mdbx.dat").exists() {
            let size = usize::try_from((settings.data_len * 8 + (1 << 30)).next_multiple_of(1 << 20))?;
            builder.set_geometry(Geometry {
                size: Some(0..size),
                growth_step: Some(STEP),
                shrink_threshold: Some(2 * STEP),
                page_size: None,
            });
        }
        let env = builder.open(dir)?;
        let entries = env.begin_ro_unsync()?.open_db(None)?;
        Ok(Mdbx { env, entries })
    }

    fn set_durability(&mut self, durability: Durability) -> Result<()> {
        let is_relaxed = durability == Durability::Relaxed;
        let code = self.env.with_raw_env_ptr(|env| {
            // SAFETY: the environment is open, and `&mut self`: no other thread sets flags now.
            unsafe { ffi::mdbx_env_set_flags(env, ffi::MDBX_UTTERLY_NOSYNC, is_relaxed) }
        });
        if code != ffi::MDBX_SUCCESS {
            return Err(MdbxError::from_err_code(code).into());
        }
        if !is_relaxed {
            self.env.sync(true)?;
        }
        Ok(())
    }

    fn read<T>(&self, work: impl FnOnce(&Self::Reader<'_>) -> Result<T>) -> Result<T> {
        work(&MdbxReader { txn: self.env.begin_ro_unsync()?, entries: self.entries })
    }

    fn write<T>(&self, work: impl FnOnce(&mut Self::Writer<'_>) -> Result<T>) -> Result<T> {
        let mut writer = MdbxWriter { txn: self.env.begin_rw_unsync()?, entries: self.entries };
        let done = work(&mut writer)?;
        writer.txn.commit()?;
        Ok(done)
    }
}

type Bytes<'txn> = Cow<'txn, [u8]>;
type Entry<'txn> = Option<(Bytes<'txn>, Bytes<'txn>)>;

/// Hands `first` to `each`, and then what `next` moves to, at most `count` entries.
fn walk<'txn>(
    cursor: &mut RoCursorUnsync<'txn>,
    count: usize,
    first: impl FnOnce(&mut RoCursorUnsync<'txn>) -> ReadResult<Entry<'txn>>,
    next: impl Fn(&mut RoCursorUnsync<'txn>) -> ReadResult<Entry<'txn>>,
    mut each: impl FnMut(&[u8], &[u8]),
) -> Result<()> {
    let mut entry = first(cursor)?;
    for left in (0..count).rev() {
        let Some((key, value)) = &entry else { break };
        each(key, value);
        if left > 0 {
            entry = next(cursor)?;
        }
    }
    Ok(())
}

impl Reader for MdbxReader {
    fn get<T>(&self, key: &[u8], taste: impl FnOnce(&[u8]) -> T) -> Result<Option<T>> {
        Ok(self.txn.get::<Bytes<'_>>(self.entries.dbi(), key)?.map(|value| taste(&value)))
    }

    fn scan(&self, direction: Direction, each: impl FnMut(&[u8], &[u8])) -> Result<()> {
        let mut cursor = self.txn.cursor(self.entries)?;
        match direction {
            Direction::Forward => walk(&mut cursor, usize::MAX, |cursor| cursor.first(), |cursor| cursor.next(), each),
            Direction::Reverse => walk(&mut cursor, usize::MAX, |cursor| cursor.last(), |cursor| cursor.prev(), each),
        }
    }

    fn range(&self, from: &[u8], count: usize, each: impl FnMut(&[u8], &[u8])) -> Result<()> {
        let mut cursor = self.txn.cursor(self.entries)?;
        walk(&mut cursor, count, |cursor| cursor.set_range(from), |cursor| cursor.next(), each)
    }
}

impl Writer for MdbxWriter {
    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        Ok(self.txn.put(self.entries, key, value, WriteFlags::UPSERT)?)
    }

    fn append(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        Ok(self.txn.append(self.entries, key, value)?)
    }

    fn delete(&mut self, key: &[u8]) -> Result<()> {
        self.txn.del(self.entries, key, None)?;
        Ok(())
    }
}
