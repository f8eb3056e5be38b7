//! The temporary database of a bench: filled with random entries, and gone with its last handle.

use std::path::Path;

use fastrand::Rng;
use folio::{Database, Durability, Error, Options};
use tempfile::Builder;

use crate::failure::Failure;
use crate::progress;

pub const BUCKET: &str = "bench";
pub const KEY_LEN: usize = 24;
pub const PAGE_SIZE: u32 = 4096;

/// Runs compare: they all get the same keys and values.
const SEED: u64 = 1;

pub type Key = [u8; KEY_LEN];

pub fn random_key(random: &mut Rng) -> Key {
    std::array::from_fn(|_| random.alphanumeric() as u8)
}

pub fn random_value(random: &mut Rng, len: usize) -> Vec<u8> {
    (0..len).map(|_| random.alphanumeric() as u8).collect()
}

/// A database in `dir` with `entries` entries, put in order of their keys.
pub fn filled(dir: &Path, page_size: u32, entries: u64, value_len: usize) -> Result<Database, Failure> {
    let database = empty(dir, page_size)?;
    fill(&database, entries, value_len).map_err(|error| failed(dir, error))?;
    Ok(database)
}

fn empty(dir: &Path, page_size: u32) -> Result<Database, Failure> {
    let cannot = |error: &dyn std::fmt::Display| {
        let dir = dir.display();
        Failure::Outside(format!("{dir}: cannot hold a temporary database: {error}; choose another place with --dir"))
    };
    let place = Builder::new().prefix(".folio-bench-").tempdir_in(dir).map_err(|error| cannot(&error))?;
    let file = place.path().join("bench.folio");
    let database = Options::new().page_size(page_size).open(file).map_err(|error| cannot(&error))?;
    // The open file lives on without its name, so that nothing stays behind however the bench ends.
    place.close().map_err(|error| cannot(&error))?;
    Ok(database)
}

fn fill(database: &Database, entries: u64, value_len: usize) -> folio::Result<()> {
    let mut random = Rng::with_seed(SEED);
    let mut keys: Vec<Key> = (0..entries).map(|_| random_key(&mut random)).collect();
    keys.sort_unstable();
    let bar = progress::entries(entries);
    let mut txn = database.begin_write()?;
    let mut bucket = txn.bucket_mut(BUCKET)?;
    for key in keys {
        bucket.put(key, random_value(&mut random, value_len))?;
        bar.inc(1);
    }
    txn.commit_with(Durability::Durable)?;
    bar.finish_and_clear();
    Ok(())
}

/// An error of the temporary database, which is not about the file that the user gave.
pub fn failed(dir: &Path, error: Error) -> Failure {
    Failure::Outside(format!("temporary database in {}: {error}; choose another place with --dir", dir.display()))
}
