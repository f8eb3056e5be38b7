//! The answers against the truth, off the clock.

use crate::data::{Changes, Data, Digest, MISSING, Plan};
use crate::engine::{BATCH, Direction, Engine, Reader, Result};

/// Answers compared before each workload, of each kind.
const SAMPLE: usize = 1000;
/// The longest range that a workload asks for.
const RANGE: usize = 100;

/// Every entry, in order and nothing else.
pub fn entries<E: Engine>(engine: &E, direction: Direction, truth: &Digest) -> Result<()> {
    engine.read(|reader| snapshot(E::TITLE, reader, direction, truth))
}

/// Every entry that a read transaction sees.
pub fn snapshot(title: &str, reader: &impl Reader, direction: Direction, truth: &Digest) -> Result<()> {
    let mut digest = Digest::default();
    let mut last: Option<Vec<u8>> = None;
    let mut ordered = true;
    reader.scan(direction, |key, value| {
        digest.add(key, value);
        match &mut last {
            Some(last) => {
                ordered &= match direction {
                    Direction::Forward => last.as_slice() < key,
                    Direction::Reverse => last.as_slice() > key,
                };
                last.clear();
                last.extend_from_slice(key);
            }
            None => last = Some(key.to_vec()),
        }
    })?;
    if !ordered {
        return Err(format!("{title}: a scan ({direction:?}) is out of order").into());
    }
    if digest != *truth {
        return Err(format!("{title}: a scan ({direction:?}) has wrong entries: {digest:?}, not {truth:?}").into());
    }
    Ok(())
}

/// A sample of each kind of question that the workloads ask, on a freshly loaded database.
pub fn answers<E: Engine>(engine: &E, data: &Data, random: &mut fastrand::Rng) -> Result<()> {
    let set = data.set;
    let wrong = |what: &str| format!("{}: {what} gave a wrong answer", E::TITLE);
    let mut missing = vec![0; set.key_len];
    engine.read(|reader| {
        for _ in 0..SAMPLE {
            let key = data.key_at(random.usize(..data.entries()));
            if reader.get(key, <[u8]>::to_vec)? != Some(set.value(key, 0)) {
                return Err(wrong("a get of a stored key").into());
            }
            data.key_into(MISSING + random.u64(..MISSING), &mut missing);
            if reader.get(&missing, |_| ())?.is_some() {
                return Err(wrong("a get of a key that was never stored").into());
            }
        }
        for _ in 0..SAMPLE / BATCH {
            let keys: [_; BATCH] = std::array::from_fn(|_| data.key_at(random.usize(..data.entries())));
            let mut values = Vec::new();
            reader.read_batch(&keys, |value| values.push(value.to_vec()))?;
            if !values.into_iter().eq(keys.iter().map(|key| set.value(key, 0))) {
                return Err(wrong("a batch of gets").into());
            }
        }
        if E::LACKS.contains(&"range-100") {
            return Ok(());
        }
        for _ in 0..SAMPLE / 10 {
            data.key_into(MISSING + random.u64(..MISSING), &mut missing);
            let mut found = Vec::new();
            reader.range(&missing, RANGE, |key, value| found.push((key.to_vec(), value.to_vec())))?;
            let start = data.rank(&missing);
            let places = start..data.entries().min(start + RANGE);
            let truth = places.map(|place| data.key_at(place)).map(|key| (key.to_vec(), set.value(key, 0)));
            if !found.into_iter().eq(truth) {
                return Err(wrong("a range").into());
            }
        }
        Ok(())
    })
}

/// A sample of the keys that were put, or of those that were deleted.
pub fn changes<E: Engine>(engine: &E, data: &Data, changes: &Changes, plan: &Plan, deleted: bool) -> Result<()> {
    engine.read(|reader| {
        for (index, key) in plan.keys().step_by(plan.len().div_ceil(SAMPLE)) {
            let truth = (!deleted).then(|| changes.value(data, index, key));
            if reader.get(key, <[u8]>::to_vec)? != truth {
                return Err(format!("{}: a get of a key just changed gave a wrong answer", E::TITLE).into());
            }
        }
        Ok(())
    })
}
