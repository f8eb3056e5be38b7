//! The memory test: one write transaction far larger than the memory that it may use.
//!
//! Keys come in random order and are made up as they are needed, so that what the process holds is the engine's. The
//! clock and the sampler run from the begin of the transaction to the end of its commit; the check comes after.

use std::path::Path;
use std::time::Instant;

use serde::Serialize;

use crate::data::{DataSet, Digest};
use crate::engine::{Direction, Engine, Reader, Result, Visit, Writer};
use crate::memory::{self, Sampler};
use crate::report::shown;
use crate::worker::Unit;
use crate::workload::{files_len, settings, settle};

pub struct BigLoad<'a> {
    pub dir: &'a Path,
    pub set: &'static DataSet,
    pub seed: u64,
    pub data_len: u64,
    pub dirty_limit: usize,
}

#[derive(Serialize)]
pub struct Outcome {
    title: String,
    about: String,
    data_set: &'static str,
    entries: usize,
    data_len: u64,
    dirty_limit: usize,
    seconds: f64,
    peak_anonymous: u64,
    file_len: u64,
}

impl Visit for BigLoad<'_> {
    type Output = Outcome;

    fn visit<E: Engine>(self) -> Result<Outcome> {
        let set = self.set;
        let entries = usize::try_from(self.data_len / set.entry_len() as u64)?;
        let settings = settings(set.entry_len(), entries, Some(self.dirty_limit));
        let engine = E::open(self.dir, &settings)?;
        settle(self.dir)?;

        let (mut key, mut value) = (vec![0; set.key_len], vec![0; set.value_len]);
        let before = memory::anonymous()?;
        let sampler = Sampler::start();
        let start = Instant::now();
        engine.write(|writer| {
            for index in 0..entries {
                set.key_into(self.seed, index as u64, &mut key);
                set.value_into(&key, 0, &mut value);
                writer.put(&key, &value)?;
            }
            Ok(())
        })?;
        let seconds = start.elapsed().as_secs_f64();
        let peak_anonymous = sampler.stop()?.saturating_sub(before);

        let mut truth = Digest::default();
        for index in 0..entries {
            set.key_into(self.seed, index as u64, &mut key);
            set.value_into(&key, 0, &mut value);
            truth.add(&key, &value);
        }
        let mut digest = Digest::default();
        engine.read(|reader| reader.scan(Direction::Forward, |key, value| digest.add(key, value)))?;
        if digest != truth {
            return Err(format!("{}: the database has other entries than were put", E::TITLE).into());
        }
        Ok(Outcome {
            title: E::TITLE.to_owned(),
            about: E::about(&settings),
            data_set: set.name,
            entries,
            data_len: self.data_len,
            dirty_limit: self.dirty_limit,
            seconds,
            peak_anonymous,
            file_len: files_len(self.dir)?,
        })
    }
}

impl Outcome {
    pub fn markdown(&self) -> String {
        let bytes = |value: u64| shown(value as f64, Unit::Bytes);
        format!(
            "- **{}**: {}\n\n\
             | one transaction of {} entries of {} bytes, random keys | {} |\n|---|--:|\n\
             | keys and values | {} |\n| dirty limit asked for | {} |\n| time, commit included | {:.1} s |\n\
             | load | {} |\n| peak anonymous memory | {} |\n| file size | {} |\n",
            self.title,
            self.about,
            self.entries,
            self.data_set.replace('+', " + "),
            self.title,
            bytes(self.data_len),
            bytes(self.dirty_limit as u64),
            self.seconds,
            shown(self.entries as f64 / self.seconds, Unit::Entries),
            bytes(self.peak_anonymous),
            bytes(self.file_len),
        )
    }
}
