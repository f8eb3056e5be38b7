//! The arena of dirty pages: those that a write transaction has changed and not yet written.
//!
//! A dirty page has no page number. It is known by its index here, and gets a number when it is written, so that churn inside a
//! transaction costs no space in the file. Pages lie in chunks of 2 MiB, from the second on in large pages of memory if
//! the system has them: a transaction that is spread over hundreds of megabytes spends much of its time on misses of the TLB.

use crate::disk::map::Memory;
use crate::page::{self, PageNo};

const CHUNK_LEN: usize = 2 << 20;

pub(crate) struct DirtyPages {
    page_len: usize,
    chunks: Vec<Memory>,
    /// Whether a page is dirty, by index; as many as were ever used.
    in_use: Vec<bool>,
    unused: Vec<usize>,
}

impl DirtyPages {
    pub(crate) fn new(page_len: usize) -> DirtyPages {
        DirtyPages { page_len, chunks: Vec::new(), in_use: Vec::new(), unused: Vec::new() }
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
            return (index, false);
        }
        let index = self.in_use.len();
        self.in_use.push(true);
        let (chunk, _) = self.place(index);
        let is_new = chunk == self.chunks.len();
        if is_new {
            self.chunks.push(Memory::zeroed(CHUNK_LEN, chunk > 0));
        }
        // The first chunk outlives transactions, and its pages are as the last one left them.
        (index, chunk > 0 || is_new)
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

    /// The page, if there is one in use: an index that was read from a forged file may be any.
    #[inline]
    pub(crate) fn get(&self, index: usize) -> Option<&[u8]> {
        if !*self.in_use.get(index)? {
            return None;
        }
        let (chunk, at) = self.place(index);
        self.chunks.get(chunk)?.get(at..at + self.page_len)
    }

    pub(crate) fn page(&self, index: usize) -> &[u8] {
        self.get(index).expect("a dirty page in use")
    }

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

    /// Lets go of all pages.
    pub(crate) fn clear(&mut self) {
        self.unused.clear();
        self.in_use.fill(false);
        self.unused.extend((0..self.in_use.len()).rev());
    }

    /// Lets go of all pages and of the memory that they took, but for a little.
    pub(crate) fn reset(&mut self) {
        self.chunks.truncate(1);
        self.in_use.clear();
        self.unused.clear();
        let page_count = CHUNK_LEN / self.page_len;
        self.chunks.shrink_to(1);
        self.in_use.shrink_to(page_count);
        self.unused.shrink_to(page_count);
    }
}
