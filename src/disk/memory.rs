//! A store in memory: a database with no file. The same map code reads it, over anonymous memory.

use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::map::Region;
use super::store::Store;

pub(crate) struct MemoryStore {
    inner: Mutex<Inner>,
}

struct Inner {
    region: Region,
    len: u64,
}

impl MemoryStore {
    /// A store that holds `bytes`.
    pub(crate) fn new(bytes: &[u8]) -> io::Result<MemoryStore> {
        let region = Region::anonymous(bytes.len() as u64)?;
        region.write(bytes, 0);
        Ok(MemoryStore { inner: Mutex::new(Inner { region, len: bytes.len() as u64 }) })
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        // Nothing panics while it is held; and if it did, the bytes are as good as before.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
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
}

impl Store for MemoryStore {
    fn len(&self) -> io::Result<u64> {
        Ok(self.inner().len)
    }

    fn read_at(&self, bytes: &mut [u8], at: u64) -> io::Result<()> {
        let inner = self.inner();
        inner.check(bytes.len(), at)?;
        inner.region.read(bytes, at);
        Ok(())
    }

    fn write_at(&self, bytes: &[u8], at: u64) -> io::Result<()> {
        let inner = self.inner();
        inner.check(bytes.len(), at)?;
        inner.region.write(bytes, at);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut inner = self.inner();
        inner.reserve(len)?;
        inner.len = len;
        Ok(())
    }

    fn region(&self, len: u64) -> io::Result<Region> {
        let mut inner = self.inner();
        inner.reserve(len)?;
        Ok(inner.region.clone())
    }

    fn boot_id(&self) -> Option<[u8; 16]> {
        None
    }
}
