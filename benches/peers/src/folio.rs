//! folio, with its defaults but for `sync_bytes`: 4 KiB pages, checksums verified once a page, durable commits.
//!
//! The bucket is looked up by name in each transaction, since that is what a program does; in the workload of one get a
//! transaction that lookup is inside the clock.

use std::path::Path;

use crate::engine::{BATCH, Direction, Durability, Engine, Reader, Result, Settings, Writer, version_of, walk};

const BUCKET: &str = "entries";

pub struct Folio {
    db: folio::Database,
    durability: folio::Durability,
}

pub struct FolioReader<'txn> {
    bucket: folio::Bucket<'txn>,
}

pub struct FolioWriter<'txn> {
    bucket: folio::BucketMut<'txn>,
}

impl Engine for Folio {
    const TITLE: &'static str = "folio";

    type Reader<'txn> = FolioReader<'txn>;
    type Writer<'txn> = FolioWriter<'txn>;

    fn about(settings: &Settings) -> String {
        let dirty_limit = match settings.dirty_limit {
            Some(limit) => format!("dirty_limit {} MiB", limit >> 20),
            None => "dirty_limit at its default".to_owned(),
        };
        format!(
            "{}, this tree: checksums on (Verify::Once), one named bucket, {dirty_limit}. \
             Durable: Durability::Durable. Relaxed: Durability::Relaxed with sync_bytes out of reach, so that it never \
             syncs by itself, as LMDB with MDB_NOSYNC does not; a crash of the machine falls back to the last durable \
             commit.",
            version_of("folio")
        )
    }

    fn open(dir: &Path, settings: &Settings) -> Result<Self> {
        let mut options = folio::Options::new().sync_bytes(u64::MAX);
        if let Some(limit) = settings.dirty_limit {
            options = options.dirty_limit(limit);
        }
        let db = options.open(dir.join("entries.folio"))?;
        // The bucket exists from the start, so that a transaction of the workloads never has to create it.
        if !db.view(|txn| Ok(txn.bucket(BUCKET)?.is_some()))? {
            db.exec(|txn| txn.bucket_mut(BUCKET).map(drop))?;
        }
        Ok(Folio { db, durability: folio::Durability::Durable })
    }

    fn set_durability(&mut self, durability: Durability) -> Result<()> {
        self.durability = match durability {
            Durability::Durable => {
                self.db.sync()?;
                folio::Durability::Durable
            }
            Durability::Relaxed => folio::Durability::Relaxed,
        };
        Ok(())
    }

    fn read<T>(&self, work: impl FnOnce(&Self::Reader<'_>) -> Result<T>) -> Result<T> {
        let txn = self.db.begin_read()?;
        let bucket = txn.bucket(BUCKET)?.ok_or("the bucket is gone")?;
        work(&FolioReader { bucket })
    }

    fn write<T>(&self, work: impl FnOnce(&mut Self::Writer<'_>) -> Result<T>) -> Result<T> {
        let mut txn = self.db.begin_write()?;
        let done = work(&mut FolioWriter { bucket: txn.bucket_mut(BUCKET)? })?;
        txn.commit_with(self.durability)?;
        Ok(done)
    }
}

impl Reader for FolioReader<'_> {
    fn get<T>(&self, key: &[u8], taste: impl FnOnce(&[u8]) -> T) -> Result<Option<T>> {
        Ok(self.bucket.get(key)?.map(taste))
    }

    fn read_batch(&self, keys: &[&[u8]; BATCH], mut taste: impl FnMut(&[u8])) -> Result<()> {
        let mut values = [None; BATCH];
        self.bucket.get_many_into(keys, &mut values)?;
        for value in values.into_iter().flatten() {
            taste(value);
        }
        Ok(())
    }

    fn scan(&self, direction: Direction, each: impl FnMut(&[u8], &[u8])) -> Result<()> {
        match direction {
            Direction::Forward => walk(self.bucket.iter(), each),
            Direction::Reverse => walk(self.bucket.iter().rev(), each),
        }
    }

    fn range(&self, from: &[u8], count: usize, each: impl FnMut(&[u8], &[u8])) -> Result<()> {
        walk(self.bucket.range(from..).take(count), each)
    }
}

impl Writer for FolioWriter<'_> {
    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        Ok(self.bucket.put(key, value)?)
    }

    fn append(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        Ok(self.bucket.append(key, value)?)
    }

    fn delete(&mut self, key: &[u8]) -> Result<()> {
        self.bucket.delete(key)?;
        Ok(())
    }
}
