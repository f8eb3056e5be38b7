//! The buckets that a write transaction has at hand: their trees as they are, while the catalog may have them as they were.
//!
//! An open bucket takes some hundred bytes, and what all of them take counts towards the limit of the dirty pages. So there is no
//! limit to their number, but they are closed again when they take half of that: those that the catalog has as they are, by
//! forgetting them; if that does not make much room, all of them, once their pages are in the file and their roots in the catalog.

use std::collections::HashMap;
use std::ops::{Index, IndexMut};
use std::sync::Arc;

use crate::tree::Tree;
use crate::tree::put::Finger;

/// A bucket that the transaction has opened for writing.
pub(crate) struct OpenBucket {
    pub(super) name: Arc<str>,
    pub(crate) tree: Tree,
    /// The tree as the catalog has it.
    pub(super) recorded: Tree,
    pub(crate) finger: Finger,
    /// The newest savepoint when one last kept what the name meant; 0 if none did.
    pub(super) kept_by: u64,
}

impl OpenBucket {
    pub(super) fn is_changed(&self) -> bool {
        self.tree != self.recorded
    }
}

#[derive(Default)]
pub(super) struct OpenBuckets {
    list: Vec<OpenBucket>,
    /// Where in the list a name is.
    places: HashMap<Arc<str>, usize>,
    /// Of all names together.
    name_len: usize,
}

/// What the counts of an `Arc<str>` take.
const COUNTS_LEN: usize = 2 * size_of::<usize>();

impl OpenBuckets {
    #[inline]
    pub(super) fn place(&self, name: &str) -> Option<usize> {
        self.places.get(name).copied()
    }

    /// Adds a bucket of a name that is not there, and returns its place.
    pub(super) fn add(&mut self, bucket: OpenBucket) -> usize {
        let place = self.list.len();
        self.name_len += bucket.name.len();
        let before = self.places.insert(Arc::clone(&bucket.name), place);
        assert!(before.is_none(), "a name is open once");
        self.list.push(bucket);
        place
    }

    /// Takes a bucket out. Another may have its place then.
    pub(super) fn remove(&mut self, name: &str) -> Option<OpenBucket> {
        let place = self.places.remove(name)?;
        let bucket = self.list.swap_remove(place);
        self.name_len -= bucket.name.len();
        if let Some(moved) = self.list.get(place) {
            self.places.insert(Arc::clone(&moved.name), place);
        }
        Some(bucket)
    }

    /// Forgets the buckets that the catalog has as they are.
    pub(super) fn close_unchanged(&mut self) {
        let list = std::mem::take(self).list;
        list.into_iter().filter(OpenBucket::is_changed).for_each(|bucket| _ = self.add(bucket));
    }

    pub(super) fn len(&self) -> usize {
        self.list.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &OpenBucket> {
        self.list.iter()
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut OpenBucket> {
        self.list.iter_mut()
    }

    /// The places of the buckets that the catalog does not have as they are.
    pub(super) fn changed(&self) -> Vec<usize> {
        (0..self.list.len()).filter(|&place| self.list[place].is_changed()).collect()
    }

    /// How many bytes of memory they take, about.
    pub(super) fn memory_len(&self) -> usize {
        let place_len = size_of::<(Arc<str>, usize)>();
        let names_len = self.name_len + self.list.len() * COUNTS_LEN;
        self.list.capacity() * size_of::<OpenBucket>() + self.places.capacity() * place_len + names_len
    }
}

impl Index<usize> for OpenBuckets {
    type Output = OpenBucket;

    #[inline]
    fn index(&self, place: usize) -> &OpenBucket {
        &self.list[place]
    }
}

impl IndexMut<usize> for OpenBuckets {
    #[inline]
    fn index_mut(&mut self, place: usize) -> &mut OpenBucket {
        &mut self.list[place]
    }
}
