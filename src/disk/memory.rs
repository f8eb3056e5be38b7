//! A store in memory: a database with no file, and the instrument that breaks one on purpose.
//!
//! The same map code reads it, over anonymous memory. It can keep a log of what was written, synced and resized, from which
//! [`MemoryStore::crash`] makes what a disk might hold after a power cut; and it can be told to fail a call.

use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::map::Region;
use super::store::Store;

/// What a disk writes whole or not at all, in bytes.
pub const SECTOR_LEN: usize = 512;

/// A disk in memory, for databases that need no file and for tests that need a disk that fails.
///
/// It is a handle: clones share the same bytes. A database opens it with [`crate::Options::open_store`], one at a time.
///
/// ```
/// use folio::{Options, disk::MemoryStore};
///
/// # fn main() -> folio::Result<()> {
/// let disk = MemoryStore::new();
/// let db = Options::new().open_store(&disk)?;
/// disk.record();
/// db.exec(|txn| txn.bucket_mut("a")?.put("k", "v"))?;
///
/// // The power goes after every operation, and takes everything with it that was not synced.
/// for cut in 0..=disk.operation_count() {
///     let after = MemoryStore::with_image(&disk.crash(cut, |_| false));
///     let db = Options::new().open_store(&after)?;
///     assert!(db.check()?.is_ok());
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct MemoryStore {
    inner: Arc<Mutex<Inner>>,
}

/// A part of an operation that a power cut may take or leave: one sector of a write, or a change of length.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub struct Unsynced {
    /// The number of the operation.
    pub operation: usize,
    /// The sector, counted from the start of the store; `None` for a change of length, and for the creation of a database.
    pub sector: Option<u64>,
}

/// How a call fails.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Failure {
    /// An I/O error; nothing was done.
    Io,
    /// The disk is full; nothing was done.
    Full,
    /// An I/O error after half of the bytes were written. Like `Io` for other calls.
    Short,
    /// An I/O error, and what was not synced before never will be, as Linux does when a write-back fails. Like `Io` for calls
    /// other than a sync.
    SyncDrops,
    /// A read succeeds, and the bit of this number is wrong in what it yields: counted from its first byte's lowest bit on, and
    /// round again past the end. The store itself stays as it is. Other calls succeed as ever.
    BitFlip(u64),
}

/// Address space that a store takes at least. Unit tests are to see it outgrown.
const ROOM: u64 = if cfg!(test) { 1 << 20 } else { 1 << 30 };

enum Operation {
    /// All of a new database at once, as a file appears that was written under another name.
    Create(Vec<u8>),
    Write {
        at: u64,
        bytes: Vec<u8>,
        is_dropped: bool,
    },
    SetLen(u64),
    Sync,
}

struct Inner {
    region: Region,
    len: u64,
    is_open: bool,
    boot_id: Option<[u8; 16]>,
    log: Option<Log>,
    calls: u64,
    failures: Vec<(u64, Failure)>,
}

struct Log {
    operations: Vec<Operation>,
    /// The bytes when recording began.
    base: Vec<u8>,
    /// Those bytes with the first `durable_at` operations done, all of them synced: where the last crash began.
    durable: Vec<u8>,
    durable_at: usize,
}

impl MemoryStore {
    /// An empty disk. The first database to open it creates itself.
    pub fn new() -> MemoryStore {
        MemoryStore::with_image(&[])
    }

    /// A disk that holds these bytes.
    ///
    /// # Panics
    ///
    /// If there is no memory for them.
    pub fn with_image(bytes: &[u8]) -> MemoryStore {
        // Address space to grow into without a copy; and zeros at the end, which are most of a small database, take no memory.
        let region = Region::anonymous((bytes.len() as u64).max(ROOM)).expect("memory for a store");
        let used = bytes.chunks(SECTOR_LEN).rposition(|sector| *sector != [0; SECTOR_LEN][..sector.len()]);
        region.write(&bytes[..used.map_or(0, |last| bytes.len().min((last + 1) * SECTOR_LEN))], 0);
        let inner = Inner {
            region,
            len: bytes.len() as u64,
            is_open: false,
            boot_id: None,
            log: None,
            calls: 0,
            failures: Vec::new(),
        };
        MemoryStore { inner: Arc::new(Mutex::new(inner)) }
    }

    /// Sets the boot id. Relaxed commits are found again after [`MemoryStore::crash`] only on a disk with the boot id that they
    /// were made under: that is a process that died on a machine that did not.
    pub fn set_boot_id(&self, boot_id: [u8; 16]) {
        self.inner().boot_id = Some(boot_id);
    }

    /// All bytes as they are now.
    pub fn image(&self) -> Vec<u8> {
        self.inner().image()
    }

    /// Starts the log anew. What was written before counts as synced.
    pub fn record(&self) {
        let mut inner = self.inner();
        let base = inner.image();
        inner.log = Some(Log { operations: Vec::new(), durable: base.clone(), base, durable_at: 0 });
    }

    /// How many operations were logged since [`MemoryStore::record`].
    pub fn operation_count(&self) -> usize {
        self.inner().log.as_ref().map_or(0, |log| log.operations.len())
    }

    /// The operations after the last sync before operation `cut`: which parts a power cut then could take or leave.
    pub fn unsynced(&self, cut: usize) -> Vec<Unsynced> {
        let mut parts = Vec::new();
        self.crash(cut, |part| {
            parts.push(part);
            true
        });
        parts
    }

    /// What the disk may hold after a power cut that comes when `cut` operations of the log are done: everything that was synced,
    /// and of the rest those parts for which `survives` answers true. It is asked in the order of the log.
    ///
    /// # Panics
    ///
    /// If [`MemoryStore::record`] was not called, or `cut` is greater than [`MemoryStore::operation_count`].
    pub fn crash(&self, cut: usize, mut survives: impl FnMut(Unsynced) -> bool) -> Vec<u8> {
        let mut inner = self.inner();
        let log = inner.log.as_mut().expect("record was called");
        let synced = log.operations[..cut].iter().rposition(|operation| matches!(operation, Operation::Sync));
        let synced = synced.map_or(0, |at| at + 1);
        log.bring_durable_to(synced);
        let mut image = log.durable.clone();
        for (number, operation) in log.operations.iter().enumerate().take(cut).skip(synced) {
            operation.apply(&mut image, |sector| survives(Unsynced { operation: number, sector }));
        }
        image
    }

    /// Makes call number `call`, counted from 1 from now on, fail: writes, syncs, changes of length and reads count. What is read
    /// through the map is no call.
    pub fn fail(&self, call: u64, failure: Failure) {
        let mut inner = self.inner();
        let at = inner.calls + call;
        inner.failures.push((at, failure));
    }

    /// How many calls there were.
    pub fn call_count(&self) -> u64 {
        self.inner().calls
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        // Nothing that matters panics while it is held; and if it did, the bytes are as good as before.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the disk for a database; `None` if another one has it.
    pub(crate) fn open(&self) -> Option<MemoryDisk> {
        let mut inner = self.inner();
        if inner.is_open {
            return None;
        }
        inner.is_open = true;
        Some(MemoryDisk { store: self.clone() })
    }
}

impl Default for MemoryStore {
    fn default() -> MemoryStore {
        MemoryStore::new()
    }
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryStore").field("len", &self.inner().len).finish_non_exhaustive()
    }
}

impl Operation {
    /// Applies the parts that survive.
    fn apply(&self, image: &mut Vec<u8>, mut survives: impl FnMut(Option<u64>) -> bool) {
        match self {
            Operation::Sync => {}
            Operation::Create(bytes) => {
                if survives(None) {
                    image.clone_from(bytes);
                }
            }
            Operation::SetLen(len) => {
                if survives(None) {
                    image.resize(*len as usize, 0);
                }
            }
            Operation::Write { is_dropped: true, .. } => {}
            Operation::Write { at, bytes, .. } => {
                let (mut at, mut rest) = (*at as usize, &bytes[..]);
                while !rest.is_empty() {
                    let (part, more) = rest.split_at(rest.len().min(SECTOR_LEN - at % SECTOR_LEN));
                    // Where the growth before it was lost, there is nothing to write to.
                    if survives(Some((at / SECTOR_LEN) as u64)) && at + part.len() <= image.len() {
                        image[at..at + part.len()].copy_from_slice(part);
                    }
                    (at, rest) = (at + part.len(), more);
                }
            }
        }
    }
}

impl Log {
    fn bring_durable_to(&mut self, synced: usize) {
        if self.durable_at > synced {
            self.durable = self.base.clone();
            self.durable_at = 0;
        }
        for operation in &self.operations[self.durable_at..synced] {
            operation.apply(&mut self.durable, |_| true);
        }
        self.durable_at = synced;
    }
}

impl Inner {
    fn image(&self) -> Vec<u8> {
        let mut bytes = vec![0; self.len as usize];
        self.region.read(&mut bytes, 0);
        bytes
    }

    /// Moves to a larger region. Regions handed out before keep what they show, which no pinned snapshot sees change.
    fn reserve(&mut self, len: u64) -> io::Result<()> {
        if len > self.region.len() {
            let region = Region::anonymous(len)?;
            self.region.copy_to(&region, self.len);
            self.region = region;
        }
        Ok(())
    }

    fn check(&self, len: usize, at: u64) -> io::Result<()> {
        match at.checked_add(len as u64) {
            Some(end) if end <= self.len => Ok(()),
            _ => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }

    /// Counts a call, and answers with its failure if it is to fail.
    fn call(&mut self) -> Option<Failure> {
        self.calls += 1;
        let at = self.failures.iter().position(|&(call, _)| call == self.calls)?;
        Some(self.failures.swap_remove(at).1)
    }

    /// The same for calls that are no reads: no bit of theirs can flip.
    fn change(&mut self) -> Option<Failure> {
        self.call().filter(|failure| !matches!(failure, Failure::BitFlip(_)))
    }

    fn log(&mut self, operation: impl FnOnce() -> Operation) {
        if let Some(log) = &mut self.log {
            log.operations.push(operation());
        }
    }

    fn write(&mut self, bytes: &[u8], at: u64) {
        self.region.write(bytes, at);
        self.log(|| Operation::Write { at, bytes: bytes.to_vec(), is_dropped: false });
    }

    /// What was not synced is never going to be.
    fn drop_unsynced(&mut self) {
        let Some(log) = &mut self.log else { return };
        for operation in log.operations.iter_mut().rev() {
            match operation {
                Operation::Write { is_dropped, .. } => *is_dropped = true,
                Operation::Create(_) | Operation::SetLen(_) => {}
                Operation::Sync => break,
            }
        }
    }
}

impl Failure {
    fn error(self) -> io::Error {
        match self {
            Failure::Full => io::ErrorKind::StorageFull.into(),
            _ => io::Error::other("a failure that was asked for"),
        }
    }
}

/// A [`MemoryStore`] in the hands of a database.
pub(crate) struct MemoryDisk {
    store: MemoryStore,
}

impl MemoryDisk {
    /// Puts a new database on an empty disk: durable when this returns, and until then there or not, but never in part.
    pub(crate) fn create(&self, bytes: &[u8]) -> io::Result<()> {
        let mut inner = self.store.inner();
        if let Some(failure) = inner.change() {
            return Err(failure.error());
        }
        inner.reserve(bytes.len() as u64)?;
        inner.region.write(bytes, 0);
        inner.len = bytes.len() as u64;
        inner.log(|| Operation::Create(bytes.to_vec()));
        inner.log(|| Operation::Sync);
        Ok(())
    }
}

impl Drop for MemoryDisk {
    fn drop(&mut self) {
        self.store.inner().is_open = false;
    }
}

impl Store for MemoryDisk {
    fn len(&self) -> io::Result<u64> {
        Ok(self.store.inner().len)
    }

    fn read_at(&self, bytes: &mut [u8], at: u64) -> io::Result<()> {
        let mut inner = self.store.inner();
        inner.check(bytes.len(), at)?;
        let failure = inner.call();
        if let Some(failure) = failure
            && !matches!(failure, Failure::BitFlip(_))
        {
            return Err(failure.error());
        }
        inner.region.read(bytes, at);
        if let Some(Failure::BitFlip(bit)) = failure
            && !bytes.is_empty()
        {
            let bit = bit % (bytes.len() as u64 * 8);
            bytes[(bit / 8) as usize] ^= 1 << (bit % 8);
        }
        Ok(())
    }

    fn write_at(&self, bytes: &[u8], at: u64) -> io::Result<()> {
        let mut inner = self.store.inner();
        inner.check(bytes.len(), at)?;
        if let Some(failure) = inner.change() {
            if failure == Failure::Short {
                inner.write(&bytes[..bytes.len() / 2], at);
            }
            return Err(failure.error());
        }
        inner.write(bytes, at);
        Ok(())
    }

    fn begin_sync(&self, _at: u64, _len: u64) {}

    fn sync(&self) -> io::Result<()> {
        let mut inner = self.store.inner();
        if let Some(failure) = inner.change() {
            if failure == Failure::SyncDrops {
                inner.drop_unsynced();
            }
            return Err(failure.error());
        }
        inner.log(|| Operation::Sync);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut inner = self.store.inner();
        if let Some(failure) = inner.change() {
            return Err(failure.error());
        }
        inner.reserve(len)?;
        if len < inner.len {
            // What was cut off is gone: it must not come back when the store grows again.
            let gone = vec![0; (inner.len - len) as usize];
            inner.region.write(&gone, len);
        }
        inner.len = len;
        inner.log(|| Operation::SetLen(len));
        Ok(())
    }

    /// The log gets the bytes once more; in memory they stay as they are, since readers may be looking at them.
    fn rewrite(&self, bytes: &[u8], at: u64) -> io::Result<()> {
        let mut inner = self.store.inner();
        inner.check(bytes.len(), at)?;
        if let Some(failure) = inner.change() {
            return Err(failure.error());
        }
        inner.log(|| Operation::Write { at, bytes: bytes.to_vec(), is_dropped: false });
        Ok(())
    }

    fn ready(&self, at: u64, len: u64) -> io::Result<()> {
        let mut inner = self.store.inner();
        inner.check(len as usize, at)?;
        if let Some(failure) = inner.change() {
            return Err(failure.error());
        }
        let mut old = vec![0; len as usize];
        inner.region.read(&mut old, at);
        // Zeros over zeros are not worth a power cut at each sector.
        if old.iter().any(|&byte| byte != 0) {
            old.fill(0);
            inner.write(&old, at);
        }
        Ok(())
    }

    fn region(&self, len: u64) -> io::Result<Region> {
        let mut inner = self.store.inner();
        inner.reserve(len)?;
        Ok(inner.region.clone())
    }

    fn boot_id(&self) -> Option<[u8; 16]> {
        self.store.inner().boot_id
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crash_keeps_what_was_synced_and_what_survives() {
        let store = MemoryStore::with_image(&[0; 2048]);
        let disk = store.open().unwrap();
        assert!(store.open().is_none());
        store.record();
        disk.write_at(&[1; 1024], 256).unwrap();
        disk.sync().unwrap();
        disk.set_len(4096).unwrap();
        disk.write_at(&[2; 1024], 2048).unwrap();
        assert_eq!(store.operation_count(), 4);

        assert_eq!(store.crash(0, |_| true), vec![0; 2048]);
        assert_eq!(
            store.crash(1, |part| part.sector == Some(1))[256..1280],
            [[0; 256], [1; 256], [1; 256], [0; 256]].concat()
        );
        let synced = store.crash(4, |_| false);
        assert_eq!((synced.len(), &synced[256..1280]), (2048, &[1; 1024][..]));
        assert_eq!(store.crash(4, |part| part.sector.is_some()).len(), 2048);
        let torn = store.crash(4, |part| part.sector != Some(4));
        assert_eq!(torn[2048..], [[0; 512].as_slice(), &[2; 512], &[0; 1024]].concat());
        assert_eq!(store.unsynced(4).len(), 3);
        drop(disk);
        assert!(store.open().is_some());
    }

    #[test]
    fn what_was_cut_off_does_not_come_back() {
        let store = MemoryStore::with_image(&[1; 4096]);
        let disk = store.open().unwrap();
        disk.set_len(1000).unwrap();
        disk.set_len(4096).unwrap();
        assert_eq!(store.image(), [vec![1; 1000], vec![0; 3096]].concat());
    }

    #[test]
    fn calls_fail_as_asked() {
        let store = MemoryStore::with_image(&[0; 4096]);
        let disk = store.open().unwrap();
        store.record();
        store.fail(2, Failure::Short);
        store.fail(4, Failure::SyncDrops);
        disk.write_at(&[1; 512], 0).unwrap();
        assert!(disk.write_at(&[2; 1024], 1024).is_err());
        assert_eq!(store.image()[1024..2048], [[2; 512], [0; 512]].concat());
        disk.write_at(&[3; 512], 3072).unwrap();
        assert!(disk.sync().is_err());
        disk.sync().unwrap();
        let after = store.crash(store.operation_count(), |_| true);
        assert_eq!(after, vec![0; 4096], "dropped for good");
    }

    #[test]
    fn a_bit_flips_in_one_read_and_nowhere_else() {
        let store = MemoryStore::with_image(&[0; 4096]);
        let disk = store.open().unwrap();
        for call in 1..=4 {
            store.fail(call, Failure::BitFlip(8 * 512 + 10));
        }
        disk.write_at(&[1; 512], 0).unwrap();
        disk.sync().unwrap();
        disk.set_len(8192).unwrap();
        let mut bytes = [0; 512];
        disk.read_at(&mut bytes, 0).unwrap();
        assert_eq!(bytes[..3], [1, 1 ^ 4, 1]);
        disk.read_at(&mut bytes, 0).unwrap();
        assert_eq!(bytes, [1; 512]);
        assert_eq!(store.image()[..1024], [[1; 512], [0; 512]].concat());
    }
}
