//! sanakirja, which writes through a map of its file.
//!
//! Its trees are multimaps whose keys and values lie in the pages, branches included: a put first deletes what was there,
//! and a page must hold several entries.

use std::path::Path;

use sanakirja::btree::{self, UDb};
use sanakirja::{Commit, Env, MutTxn, RootDb, Txn};

use crate::engine::{Direction, Durability, Engine, Reader, Result, Settings, Writer, version_of, walk};

/// Where the tree stands among the roots of the file.
const ROOT: usize = 0;
/// Versions of the file that live side by side: the one being written and the one being read.
const VERSIONS: usize = 2;

type Tree = UDb<[u8], [u8]>;

pub struct Sanakirja {
    env: Env,
}

pub struct SanakirjaReader<'txn> {
    txn: Txn<&'txn Env>,
    tree: Tree,
}

pub struct SanakirjaWriter<'txn> {
    txn: MutTxn<&'txn Env, ()>,
    tree: Tree,
}

impl Engine for Sanakirja {
    const TITLE: &'static str = "sanakirja";
    /// It knows no relaxed commits, and a writer waits for readers of the version before the last. Beside a writer its lock has panicked,
    /// "RwLock reader count overflow", and the writer then waited for ever.
    const LACKS: &'static [&'static str] = &["commit-relaxed", "pinned", "get-beside-writer"];
    const VALUE_MAX: usize = 500;

    type Reader<'txn> = SanakirjaReader<'txn>;
    type Writer<'txn> = SanakirjaWriter<'txn>;

    fn about(_: &Settings) -> String {
        format!(
            "{}, {VERSIONS} versions, a map beyond the data, one tree of slices, values of at most {} bytes; a put first \
             deletes what was there, since its trees are multimaps. Durable: a \
             commit syncs the map, and then its root page. Relaxed: it has no such mode. A writer waits for readers of \
             older versions, so that none can be pinned. Nothing is read beside its writer: \
             its lock does not bear it.",
            version_of("sanakirja"),
            Self::VALUE_MAX
        )
    }

    fn open(dir: &Path, settings: &Settings) -> Result<Self> {
        let path = dir.join("entries.sanakirja");
        let is_new = !path.exists();
        let env = Env::new(path, settings.data_len * 8 + (64 << 20), VERSIONS)?;
        if is_new {
            let mut txn = Env::mut_txn_begin(&env)?;
            // SAFETY: the tree is new, and nothing else writes to the file.
            let tree: Tree = unsafe { btree::create_db_(&mut txn)? };
            txn.set_root(ROOT, tree.db.into());
            txn.commit()?;
        }
        Ok(Sanakirja { env })
    }

    fn set_durability(&mut self, durability: Durability) -> Result<()> {
        match durability {
            Durability::Durable => Ok(()),
            Durability::Relaxed => Err("sanakirja has no relaxed commits".into()),
        }
    }

    fn read<T>(&self, work: impl FnOnce(&Self::Reader<'_>) -> Result<T>) -> Result<T> {
        let txn = Env::txn_begin(&self.env)?;
        let tree = txn.root_db(ROOT).ok_or("the tree is gone")?;
        work(&SanakirjaReader { txn, tree })
    }

    fn write<T>(&self, work: impl FnOnce(&mut Self::Writer<'_>) -> Result<T>) -> Result<T> {
        let txn = Env::mut_txn_begin(&self.env)?;
        let tree = txn.root_db(ROOT).ok_or("the tree is gone")?;
        let mut writer = SanakirjaWriter { txn, tree };
        let done = work(&mut writer)?;
        writer.txn.set_root(ROOT, writer.tree.db.into());
        writer.txn.commit()?;
        Ok(done)
    }
}

impl Reader for SanakirjaReader<'_> {
    fn get<T>(&self, key: &[u8], taste: impl FnOnce(&[u8]) -> T) -> Result<Option<T>> {
        // What is found is the first entry whose key is not below this one.
        let found = btree::get(&self.txn, &self.tree, key, None)?;
        Ok(found.filter(|(found, _)| *found == key).map(|(_, value)| taste(value)))
    }

    fn scan(&self, direction: Direction, each: impl FnMut(&[u8], &[u8])) -> Result<()> {
        match direction {
            Direction::Forward => walk(btree::iter(&self.txn, &self.tree, None)?, each),
            Direction::Reverse => walk(btree::rev_iter(&self.txn, &self.tree, None)?, each),
        }
    }

    fn range(&self, from: &[u8], count: usize, each: impl FnMut(&[u8], &[u8])) -> Result<()> {
        walk(btree::iter(&self.txn, &self.tree, Some((from, None)))?.take(count), each)
    }
}

impl Writer for SanakirjaWriter<'_> {
    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        btree::del(&mut self.txn, &mut self.tree, key, None)?;
        self.append(key, value)
    }

    fn append(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        btree::put(&mut self.txn, &mut self.tree, key, value)?;
        Ok(())
    }

    fn delete(&mut self, key: &[u8]) -> Result<()> {
        btree::del(&mut self.txn, &mut self.tree, key, None)?;
        Ok(())
    }
}
