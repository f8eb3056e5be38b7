//! The arena of dirty pages: those that a write transaction has changed and not yet written.
//!
//! A dirty page has no page number. It is known by its index here, and gets a number when it is written, so that churn inside a
//! transaction costs no space in the file. Pages lie in chunks of 2 MiB, each page in one page of memory: a buffer of its own for each
//! would lie in two, and a transaction that is spread over hundreds of megabytes spends much of its time on misses of the TLB. To ask
//! for large pages of memory made puts at random a fifth faster still, and everything else slower on a virtual machine that
//! has given its large pages back to its host.
//!
//! Pages that a savepoint sees are frozen: they keep their bytes, and what is to change is a copy. Each page knows the savepoint after
//! which it came about, its epoch.
//!
//! The chunks of a transaction are kept for the next one, since to get memory anew costs about as much as to fill it. Each
//! transaction that needs less halves what is kept.

use crate::disk::map::Memory;
use crate::page::{self, PageNo};

const CHUNK_LEN: usize = 2 << 20;

pub(crate) struct DirtyPages {
    page_len: usize,
    chunks: Vec<Memory>,
    /// Whether a page is dirty, by index; as many as were ever used.
    in_use: Vec<bool>,
    unused: Vec<usize>,
    /// The newest savepoint when a page came about, by index; 0 if there was none.
    epochs: Vec<u64>,
    /// The newest savepoint.
    epoch: u64,
    /// The pages that came about while there were savepoints, each once for the newest of that time.
    claimed: Vec<usize>,
    /// Pages from this index on were never used by any transaction, and are zero.
    zero_from: usize,
}

impl DirtyPages {
    pub(crate) fn new(page_len: usize) -> DirtyPages {
        let (chunks, in_use, unused, zero_from) = (Vec::new(), Vec::new(), Vec::new(), 0);
        let (epochs, epoch, claimed) = (Vec::new(), 0, Vec::new());
        DirtyPages { page_len, chunks, in_use, unused, epochs, epoch, claimed, zero_from }
    }

    /// How many pages are dirty.
    pub(crate) fn len(&self) -> usize {
        self.in_use.len() - self.unused.len()
    }

    /// The chunk of a page and where in it the page begins.
    #[inline]
    fn place(&self, index: usize) -> (usize, usize) {
        let at = index * self.page_len;
        (at / CHUNK_LEN, at % CHUNK_LEN)
    }

    /// An index for one more dirty page, and whether its bytes are still zero.
    fn claim(&mut self) -> (usize, bool) {
        if let Some(index) = self.unused.pop() {
            self.in_use[index] = true;
            let before = std::mem::replace(&mut self.epochs[index], self.epoch);
            // A page that came about since the newest savepoint once before is listed already.
            if before < self.epoch {
                self.claimed.push(index);
            }
            return (index, false);
        }
        let index = self.in_use.len();
        self.in_use.push(true);
        self.epochs.push(self.epoch);
        if self.epoch > 0 {
            self.claimed.push(index);
        }
        let (chunk, _) = self.place(index);
        if chunk == self.chunks.len() {
            // A transaction that has filled one chunk is likely to fill another.
            self.chunks.push(Memory::zeroed(CHUNK_LEN, chunk > 0));
        }
        let is_zero = index >= self.zero_from;
        self.zero_from = self.zero_from.max(index + 1);
        (index, is_zero)
    }

    /// A zeroed page of the given kind.
    pub(crate) fn alloc(&mut self, kind: u8, level: usize) -> PageNo {
        let (index, is_zero) = self.claim();
        let page = self.page_mut(index);
        if !is_zero {
            page.fill(0);
        }
        page::init(page, kind, level as u8);
        PageNo::dirty(index)
    }

    /// A copy of a clean page.
    pub(crate) fn copy(&mut self, page: &[u8]) -> PageNo {
        let (index, _) = self.claim();
        self.page_mut(index).copy_from_slice(page);
        PageNo::dirty(index)
    }

    /// A copy of a dirty page.
    pub(crate) fn duplicate(&mut self, index: usize) -> PageNo {
        let (copy, _) = self.claim();
        let (page, frozen) = self.pair_mut(copy, index);
        page.copy_from_slice(frozen);
        PageNo::dirty(copy)
    }

    /// The page, if there is one in use: an index that was read from a forged file may be any.
    #[inline]
    pub(crate) fn get(&self, index: usize) -> Option<&[u8]> {
        if !*self.in_use.get(index)? {
            return None;
        }
        let (chunk, at) = self.place(index);
        self.chunks.get(chunk)?.get(at..at + self.page_len)
    }

    /// The page, if it is in use and not frozen.
    #[inline]
    pub(crate) fn changeable(&self, index: usize) -> Option<&[u8]> {
        if self.is_changeable(index) { self.get(index) } else { None }
    }

    #[inline]
    pub(crate) fn is_changeable(&self, index: usize) -> bool {
        self.in_use.get(index) == Some(&true) && !self.is_frozen(index)
    }

    pub(crate) fn page(&self, index: usize) -> &[u8] {
        self.get(index).expect("a dirty page in use")
    }

    #[inline]
    pub(crate) fn page_mut(&mut self, index: usize) -> &mut [u8] {
        assert!(self.in_use[index], "a dirty page in use");
        let (chunk, at) = self.place(index);
        &mut self.chunks[chunk][at..at + self.page_len]
    }

    pub(crate) fn pair_mut(&mut self, a: usize, b: usize) -> (&mut [u8], &mut [u8]) {
        assert!(self.in_use[a] && self.in_use[b], "dirty pages in use");
        let ((a_chunk, a_at), (b_chunk, b_at)) = (self.place(a), self.place(b));
        let (a_range, b_range) = (a_at..a_at + self.page_len, b_at..b_at + self.page_len);
        if a_chunk == b_chunk {
            let [a, b] = self.chunks[a_chunk].get_disjoint_mut([a_range, b_range]).expect("two different pages");
            return (a, b);
        }
        let [a, b] = self.chunks.get_disjoint_mut([a_chunk, b_chunk]).expect("two different chunks");
        (&mut a[a_range], &mut b[b_range])
    }

    /// Lets go of a page.
    pub(crate) fn free(&mut self, index: usize) {
        assert!(std::mem::take(&mut self.in_use[index]), "a dirty page in use");
        self.unused.push(index);
    }

    /// Freezes the pages that came about before savepoint `epoch`, which is the newest now; 0 if there is none.
    pub(crate) fn freeze(&mut self, epoch: u64) {
        self.epoch = epoch;
        if epoch == 0 {
            self.claimed.clear();
        }
    }

    #[inline]
    pub(crate) fn is_frozen(&self, index: usize) -> bool {
        self.epochs[index] < self.epoch
    }

    /// After which savepoint a page came about.
    pub(crate) fn epoch(&self, index: usize) -> u64 {
        self.epochs[index]
    }

    pub(crate) fn claimed_len(&self) -> usize {
        self.claimed.len()
    }

    /// No savepoint tells apart any more the pages that came about since there were `claimed_len` of them. Those that did for several
    /// that are gone are listed for each: when that is most of the list, only once from now on.
    pub(crate) fn forget_doubles(&mut self, claimed_len: usize) {
        if self.claimed.len() - claimed_len > 2 * self.in_use.len() {
            let mut since = self.claimed.split_off(claimed_len);
            since.sort_unstable();
            since.dedup();
            self.claimed.append(&mut since);
        }
    }

    /// Lets go of the pages that came about since there were `claimed_len` of them.
    pub(crate) fn undo(&mut self, claimed_len: usize) {
        for index in self.claimed.split_off(claimed_len) {
            self.epochs[index] = 0;
            if self.in_use[index] {
                self.free(index);
            }
        }
    }

    /// Lets go of all pages.
    pub(crate) fn clear(&mut self) {
        self.epochs.fill(0);
        self.claimed.clear();
        self.unused.clear();
        self.in_use.fill(false);
        self.unused.extend((0..self.in_use.len()).rev());
    }

    /// Lets go of all pages, at the end of a transaction.
    pub(crate) fn reset(&mut self) {
        let page_count = CHUNK_LEN / self.page_len;
        let used = self.in_use.len().div_ceil(page_count);
        self.chunks.truncate(used.max(self.chunks.len() / 2).max(1));
        self.chunks.shrink_to(1);
        self.zero_from = self.zero_from.min(self.chunks.len() * page_count);
        self.in_use.clear();
        self.unused.clear();
        self.epochs.clear();
        self.freeze(0);
        self.in_use.shrink_to(page_count);
        self.epochs.shrink_to(page_count);
        self.unused.shrink_to(page_count);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn new_pages_are_zero_and_memory_is_given_back_by_halves() {
        let mut dirty = DirtyPages::new(65536);
        for round in 0..20usize {
            let count = if round == 3 { 1000 } else { 10 + round };
            for n in 0..count {
                let no = dirty.alloc(page::LEAF, 0);
                let index = no.as_dirty().unwrap();
                let page = dirty.page_mut(index);
                assert!(page[8..].iter().all(|&byte| byte == 0), "round {round}, page {n}");
                page.fill(0xaa);
                if n % 3 == 0 {
                    dirty.free(index);
                }
            }
            let before = dirty.chunks.len();
            dirty.reset();
            assert_eq!((dirty.len(), dirty.get(0)), (0, None));
            assert!(round == 3 || dirty.chunks.len() <= before.div_ceil(2).max(1));
        }
        assert_eq!(dirty.chunks.len(), 1);
    }
}
