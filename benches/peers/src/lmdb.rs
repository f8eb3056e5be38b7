//! LMDB, through heed, with the settings that its documentation recommends.
//!
//! The entries live in the unnamed database, which spares LMDB the lookup of a name. Read transactions are free of
//! thread-local storage (`MDB_NOTLS`), as folio's are; `lmdb-tls` is the other way, where a thread keeps its reader
//! slot and beginning is cheaper, but a transaction belongs to its thread and there is one a thread. heed adds no
//! work to a get or a step of a scan; a range that starts at a key costs it one small allocation for that key.

use std::ops::Bound;
use std::path::Path;

use heed::types::Bytes;
use heed::{
    CommitOrAbort, Database, Env, EnvFlags, EnvOpenOptions, FlagSetMode, PutFlags, RoTxn, RwTxn, TlsUsage, WithTls,
    WithoutTls, lmdb_version,
};

use crate::engine::{Direction, Durability, Engine, Error, Reader, Result, Settings, Writer, version_of, walk};

type Entries = Database<'static, Bytes, Bytes>;

pub struct Lmdb<T: Slots> {
    env: Env<T>,
    entries: Entries,
}

pub struct LmdbReader<'txn> {
    txn: &'txn RoTxn<'txn>,
    entries: Entries,
}

pub struct LmdbWriter<'txn> {
    txn: RwTxn<'txn>,
    entries: Entries,
}

/// Where a reader slot belongs: to the transaction or to the thread.
pub trait Slots: TlsUsage + Sized + 'static {
    const TITLE: &'static str;
    const ABOUT: &'static str;
    fn options() -> EnvOpenOptions<Self>;
    /// The transaction as the kind that heed reads through, whichever kind it is.
    fn plain<'a, 'txn>(txn: &'a RoTxn<'txn, Self>) -> &'a RoTxn<'txn>;
}

impl Slots for WithoutTls {
    const TITLE: &'static str = "LMDB";
    const ABOUT: &'static str = "MDB_NOTLS (a read transaction may change threads)";
    fn options() -> EnvOpenOptions<Self> {
        EnvOpenOptions::new().read_txn_without_tls()
    }
    fn plain<'a, 'txn>(txn: &'a RoTxn<'txn, Self>) -> &'a RoTxn<'txn> {
        txn
    }
}

impl Slots for WithTls {
    const TITLE: &'static str = "LMDB (TLS)";
    const ABOUT: &'static str = "a reader slot a thread (a read transaction belongs to its thread)";
    fn options() -> EnvOpenOptions<Self> {
        EnvOpenOptions::new().read_txn_with_tls()
    }
    fn plain<'a, 'txn>(txn: &'a RoTxn<'txn, Self>) -> &'a RoTxn<'txn> {
        txn
    }
}

/// `MDB_NORDAHEAD` is documented to help when the database is larger than memory, and only then.
fn larger_than_memory(data_len: u64) -> bool {
    let system = rustix::system::sysinfo();
    data_len.saturating_mul(3) / 2 > system.totalram as u64 * u64::from(system.mem_unit)
}

/// Room for four times the data: pages are seldom full, and a write transaction needs the old pages beside the new.
fn map_len(data_len: u64) -> Result<usize, std::num::TryFromIntError> {
    usize::try_from((data_len * 4 + (1 << 30)).next_multiple_of(1 << 20))
}

const RELAXED: EnvFlags = EnvFlags::NO_SYNC.union(EnvFlags::NO_META_SYNC);

impl<T: Slots> Engine for Lmdb<T> {
    const TITLE: &'static str = T::TITLE;

    type Reader<'txn> = LmdbReader<'txn>;
    type Writer<'txn> = LmdbWriter<'txn>;

    fn about(settings: &Settings) -> String {
        let version = lmdb_version();
        let readahead = match larger_than_memory(settings.data_len) {
            true => "MDB_NORDAHEAD, since the data is larger than memory",
            false => "readahead on, since the data fits in memory",
        };
        let dirty_limit = match settings.dirty_limit {
            Some(_) => ", no option for a dirty limit (it spills at 512 MiB of dirty pages)",
            None => "",
        };
        format!(
            "{}.{}.{} through heed {}, the unnamed database, {}, {readahead}{dirty_limit}. \
             Durable: the default flags, two syncs a commit. Relaxed: MDB_NOSYNC and MDB_NOMETASYNC, which never sync \
             and after a power cut may leave a damaged file.",
            version.major,
            version.minor,
            version.patch,
            version_of("heed"),
            T::ABOUT,
        )
    }

    fn open(dir: &Path, settings: &Settings) -> Result<Self> {
        let mut options = T::options();
        options.map_size(map_len(settings.data_len)?);
        // SAFETY: the directory is this process's own, it opens it once at a time, and nothing else writes there. The
        // flag changes only what the kernel reads ahead.
        let env = unsafe {
            if larger_than_memory(settings.data_len) {
                options.flags(EnvFlags::NO_READ_AHEAD);
            }
            options.open(dir)?
        };
        // The unnamed database is always there, so that opening it writes nothing.
        let entries = env
            .open_databases_and_commit(env.read_txn()?, |opener, txn| -> Result<_, Error> {
                Ok(CommitOrAbort::<_, ()>::Commit(opener.open_database::<Bytes, Bytes>(T::plain(txn), None)?))
            })?
            .unwrap_commit()
            .ok_or("the unnamed database is not there")?;
        Ok(Lmdb { env, entries })
    }

    fn set_durability(&mut self, durability: Durability) -> Result<()> {
        let mode = match durability {
            Durability::Durable => FlagSetMode::Disable,
            Durability::Relaxed => FlagSetMode::Enable,
        };
        // SAFETY: `&mut self`: no other thread sets flags now, and no transaction is open. What a power cut would do
        // to the file does not matter here.
        unsafe { self.env.set_flags(RELAXED, mode)? };
        if durability == Durability::Durable {
            self.env.force_sync()?;
        }
        Ok(())
    }

    fn read<R>(&self, work: impl FnOnce(&Self::Reader<'_>) -> Result<R>) -> Result<R> {
        let txn = self.env.read_txn()?;
        work(&LmdbReader { txn: T::plain(&txn), entries: self.entries })
    }

    fn write<R>(&self, work: impl FnOnce(&mut Self::Writer<'_>) -> Result<R>) -> Result<R> {
        let mut writer = LmdbWriter { txn: self.env.write_txn()?, entries: self.entries };
        let done = work(&mut writer)?;
        writer.txn.commit()?;
        Ok(done)
    }
}

impl Reader for LmdbReader<'_> {
    fn get<T>(&self, key: &[u8], taste: impl FnOnce(&[u8]) -> T) -> Result<Option<T>> {
        Ok(self.entries.get(self.txn, key)?.map(taste))
    }

    fn scan(&self, direction: Direction, each: impl FnMut(&[u8], &[u8])) -> Result<()> {
        match direction {
            Direction::Forward => walk(self.entries.iter(self.txn)?, each),
            Direction::Reverse => walk(self.entries.rev_iter(self.txn)?, each),
        }
    }

    fn range(&self, from: &[u8], count: usize, each: impl FnMut(&[u8], &[u8])) -> Result<()> {
        let bounds = (Bound::Included(from), Bound::Unbounded);
        walk(self.entries.range(self.txn, &bounds)?.take(count), each)
    }
}

impl Writer for LmdbWriter<'_> {
    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        Ok(self.entries.put(&mut self.txn, key, value)?)
    }

    fn append(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        Ok(self.entries.put_with_flags(&mut self.txn, PutFlags::APPEND, key, value)?)
    }

    fn delete(&mut self, key: &[u8]) -> Result<()> {
        self.entries.delete(&mut self.txn, key)?;
        Ok(())
    }
}
