//! Large values: all of them written in one durable transaction to a new database, and read.

use std::time::Instant;

use super::{Bench, Loaded, checks, settle};
use crate::data::words;
use crate::engine::{Direction, Engine, Reader, Result, Writer};
use crate::worker::{Figure, Unit};

impl<E: Engine> Bench<E> {
    pub(super) fn large_write(&mut self) -> Result<Vec<Figure>> {
        self.loaded = None;
        let dir = self.empty_dir("large")?;
        let engine = E::open(&dir, &self.settings)?;
        self.changes.reset(&self.data);
        self.plan.load(&self.data);
        settle(&dir)?;

        let start = Instant::now();
        engine.write(|writer| self.plan.iter().try_for_each(|(key, value)| writer.put(key, value)))?;
        let elapsed = start.elapsed();

        engine.tidy()?;
        checks::entries(&engine, Direction::Forward, &self.data.digest)?;
        self.loaded = Some(Loaded { engine, fresh: true, checked: false });
        let entries = self.data.entries();
        let bytes = (entries * self.data.set.value_len) as f64;
        let name = format!("{entries} values of 1 MiB in one durable transaction");
        Ok(vec![Figure::new(name, Unit::Gigabytes, bytes / elapsed.as_secs_f64() / 1e9)])
    }

    /// Gets one value after the other and reads every byte of it.
    pub(super) fn large_read(&mut self) -> Result<Vec<Figure>> {
        if self.loaded.is_none() {
            self.large_write()?;
        }
        let data = &self.data;
        let expected = (0..data.entries()).fold(0u64, |sum, place| sum.wrapping_add(words(data.key_at(place))));
        let expected = data.digest.words.wrapping_sub(expected);
        let (laps, elapsed) = self.engine()?.read(|reader| {
            let mut laps = 0;
            let mut start = Instant::now();
            loop {
                let (mut found, mut sum) = (0, 0u64);
                for place in 0..data.entries() {
                    reader.get(data.key_at(place), |value| {
                        found += 1;
                        sum = sum.wrapping_add(words(value));
                    })?;
                }
                if (found, sum) != (data.entries(), expected) {
                    return Err("the timed gets returned wrong values".into());
                }
                // The first lap only warms.
                match laps {
                    0 => start = Instant::now(),
                    _ if start.elapsed() >= self.effort.least => return Ok((laps, start.elapsed())),
                    _ => {}
                }
                laps += 1;
            }
        })?;
        let bytes = (laps * data.entries() * data.set.value_len) as f64;
        Ok(vec![Figure::new("get of 1 MiB, every byte read", Unit::Gigabytes, bytes / elapsed.as_secs_f64() / 1e9)])
    }
}
