//! How far a file grows while a reader holds a snapshot and others overwrite: a quarter of the entries are loaded anew,
//! and 50 durable transactions overwrite 2,000 of them each.

use std::fs;

use super::{Bench, checks, files_len, settle};
use crate::data::Digest;
use crate::engine::{Direction, Engine, Reader, Result, Writer};
use crate::worker::{Figure, Unit};

const TRANSACTIONS: u32 = 50;
const OVERWRITES: usize = 2_000;

impl<E: Engine> Bench<E> {
    pub(super) fn pinned(&mut self, random: &mut fastrand::Rng) -> Result<Vec<Figure>> {
        // What it holds is not to be counted as this one's.
        self.loaded = None;
        let dir = self.empty_dir("pinned")?;
        let entries = self.data.entries().div_ceil(4);
        let overwrites = OVERWRITES.min(entries / 10).max(1);
        let engine = E::open(&dir, &self.settings)?;
        let (data, set) = (&self.data, self.data.set);
        let (mut key, mut value) = (vec![0; set.key_len], vec![0; set.value_len]);
        let mut put = |writer: &mut E::Writer<'_>, index: usize, version: u32| {
            data.key_into(index as u64, &mut key);
            set.value_into(&key, version, &mut value);
            writer.put(&key, &value)
        };
        engine.write(|writer| (0..entries).try_for_each(|index| put(writer, index, 0)))?;
        let (mut versions, mut first) = (vec![0; entries], vec![0; set.key_len]);
        let loaded = self.digest_of(&versions);

        let len = engine.read(|pinned| {
            data.key_into(0, &mut first);
            pinned.get(&first, |_| ())?;
            for version in 1..=TRANSACTIONS {
                engine.write(|writer| {
                    (0..overwrites).try_for_each(|_| {
                        let index = random.usize(..entries);
                        versions[index] = version;
                        put(writer, index, version)
                    })
                })?;
            }
            checks::snapshot(E::TITLE, pinned, Direction::Forward, &loaded)?;
            settle(&dir)?;
            files_len(&dir)
        })?;
        checks::entries(&engine, Direction::Forward, &self.digest_of(&versions))?;
        drop(engine);
        fs::remove_dir_all(&dir)?;
        let name = format!("file size of {entries} entries after {overwrites} overwrites x {TRANSACTIONS}, one reader");
        Ok(vec![Figure::new(name, Unit::Bytes, len as f64)])
    }

    /// What a database holds whose entries have these versions, by index.
    fn digest_of(&self, versions: &[u32]) -> Digest {
        let set = self.data.set;
        let (mut key, mut value) = (vec![0; set.key_len], vec![0; set.value_len]);
        let mut digest = Digest::default();
        for (index, &version) in versions.iter().enumerate() {
            self.data.key_into(index as u64, &mut key);
            set.value_into(&key, version, &mut value);
            digest.add(&key, &value);
        }
        digest
    }
}
