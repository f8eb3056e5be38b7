//! libmdbx, a descendant of LMDB, through the bindings of signet-libmdbx, which come ready-made.
//!
//! The entries live in the unnamed database. The bindings never tie a reader slot to a thread (`MDBX_NOTLS`), as
//! folio's transactions are not. Transactions are of the kind that belongs to one thread, which its documentation calls
//! the faster one.
//!
//! It is opened anew when commits are to become relaxed or durable: one that was opened durable writes its meta page
//! through a descriptor that syncs, whatever its flags are told later.

use std::borrow::Cow;
use std::ops::Range;
use std::path::{Path, PathBuf};

use signet_libmdbx::sys::EnvironmentKind;
use signet_libmdbx::tx::aliases::{RoCursorUnsync, RoTxUnsync, RwTxUnsync};
use signet_libmdbx::{Database, Environment, Geometry, Mode, ReadResult, SyncMode, WriteFlags, ffi};

use crate::engine::{Direction, Durability, Engine, Reader, Result, Settings, Writer, version_of};

/// By how much the file grows and shrinks.
const STEP: isize = 4 << 20;

pub struct Mdbx {
    dir: PathBuf,
    sync_mode: SyncMode,
    /// There is always one, except after an attempt to open it anew that has failed.
    open: Option<Open>,
}

struct Open {
    env: Environment,
    entries: Database,
}

impl Open {
    fn new(dir: &Path, sync_mode: SyncMode, geometry: Option<Geometry<Range<usize>>>) -> Result<Open> {
        let mut builder = Environment::builder();
        builder.set_kind(EnvironmentKind::Default).set_flags(Mode::ReadWrite { sync_mode }.into());
        if let Some(geometry) = geometry {
            builder.set_geometry(geometry);
        }
        let env = builder.open(dir)?;
        let entries = env.begin_ro_unsync()?.open_db(None)?;
        Ok(Open { env, entries })
    }
}

impl Mdbx {
    fn opened(&self) -> Result<&Open> {
        Ok(self.open.as_ref().ok_or("the database could not be opened anew")?)
    }
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
             Durable: MDBX_SYNC_DURABLE, two syncs a commit. Relaxed: opened anew with MDBX_UTTERLY_NOSYNC, which \
             never syncs and after a power cut may leave a damaged file (MDBX_SAFE_NOSYNC syncs whenever it needs a \
             free page).",
            version.major,
            version.minor,
            version.patch,
            version_of("signet-libmdbx"),
            STEP >> 20,
        )
    }

    fn open(dir: &Path, settings: &Settings) -> Result<Self> {
        // The file remembers its geometry; to give it once more would cost each open a commit.
        let geometry = match dir.join("mdbx.dat").exists() {
            true => None,
            false => Some(Geometry {
                size: Some(0..usize::try_from((settings.data_len * 8 + (1 << 30)).next_multiple_of(1 << 20))?),
                growth_step: Some(STEP),
                shrink_threshold: Some(2 * STEP),
                page_size: None,
            }),
        };
        let sync_mode = SyncMode::Durable;
        Ok(Mdbx { dir: dir.to_owned(), sync_mode, open: Some(Open::new(dir, sync_mode, geometry)?) })
    }

    fn set_durability(&mut self, durability: Durability) -> Result<()> {
        let sync_mode = match durability {
            Durability::Durable => SyncMode::Durable,
            Durability::Relaxed => SyncMode::UtterlyNoSync,
        };
        self.opened()?.env.sync(true)?;
        if sync_mode != self.sync_mode {
            // A process may have it open only once.
            self.open = None;
            self.open = Some(Open::new(&self.dir, sync_mode, None)?);
            self.sync_mode = sync_mode;
        }
        Ok(())
    }

    fn read<T>(&self, work: impl FnOnce(&Self::Reader<'_>) -> Result<T>) -> Result<T> {
        let Open { env, entries } = self.opened()?;
        work(&MdbxReader { txn: env.begin_ro_unsync()?, entries: *entries })
    }

    fn write<T>(&self, work: impl FnOnce(&mut Self::Writer<'_>) -> Result<T>) -> Result<T> {
        let Open { env, entries } = self.opened()?;
        let mut writer = MdbxWriter { txn: env.begin_rw_unsync()?, entries: *entries };
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
