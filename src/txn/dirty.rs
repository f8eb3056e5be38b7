//! The arena of dirty pages: those that a write transaction has changed and not yet written.
//!
//! A dirty page has no page number. It is known by its index here, and gets a number when it is written, so that churn inside a
//! transaction costs no space in the file. Buffers are kept for reuse.

use crate::page::{self, PageNo};

pub(crate) type Buffer = Box<[u8]>;

/// How many buffers outlive a transaction.
const SPARE_MAX: usize = 256;

pub(crate) struct DirtyPages {
    page_len: usize,
    pages: Vec<Option<Buffer>>,
    unused: Vec<usize>,
    spare: Vec<Buffer>,
}

impl DirtyPages {
    pub(crate) fn new(page_len: usize) -> DirtyPages {
        DirtyPages { page_len, pages: Vec::new(), unused: Vec::new(), spare: Vec::new() }
    }

    /// How many pages are dirty.
    pub(crate) fn len(&self) -> usize {
        self.pages.len() - self.unused.len()
    }

    /// All of them, by index.
    pub(crate) fn as_slice(&self) -> &[Option<Buffer>] {
        &self.pages
    }

    fn insert(&mut self, buffer: Buffer) -> PageNo {
        let index = match self.unused.pop() {
            Some(index) => {
                self.pages[index] = Some(buffer);
                index
            }
            None => {
                self.pages.push(Some(buffer));
                self.pages.len() - 1
            }
        };
        PageNo::dirty(index)
    }

    /// A zeroed page of the given kind.
    pub(crate) fn alloc(&mut self, kind: u8, level: usize) -> PageNo {
        let mut buffer = match self.spare.pop() {
            Some(mut buffer) => {
                buffer.fill(0);
                buffer
            }
            None => vec![0; self.page_len].into_boxed_slice(),
        };
        page::init(&mut buffer, kind, level as u8);
        self.insert(buffer)
    }

    /// A copy of a clean page.
    pub(crate) fn copy(&mut self, page: &[u8]) -> PageNo {
        let buffer = match self.spare.pop() {
            Some(mut buffer) => {
                buffer.copy_from_slice(page);
                buffer
            }
            None => page.into(),
        };
        self.insert(buffer)
    }

    pub(crate) fn page(&self, index: usize) -> &[u8] {
        self.pages[index].as_deref().expect("a dirty page in use")
    }

    pub(crate) fn page_mut(&mut self, index: usize) -> &mut [u8] {
        self.pages[index].as_deref_mut().expect("a dirty page in use")
    }

    pub(crate) fn pair_mut(&mut self, a: usize, b: usize) -> (&mut [u8], &mut [u8]) {
        let [a, b] = self.pages.get_disjoint_mut([a, b]).expect("two different pages");
        (a.as_deref_mut().expect("a dirty page in use"), b.as_deref_mut().expect("a dirty page in use"))
    }

    /// Takes a page out for a while; `put_back` returns it.
    pub(crate) fn take(&mut self, index: usize) -> Buffer {
        self.pages[index].take().expect("a dirty page in use")
    }

    pub(crate) fn put_back(&mut self, index: usize, buffer: Buffer) {
        self.pages[index] = Some(buffer);
    }

    /// Lets go of a page.
    pub(crate) fn free(&mut self, index: usize) {
        let buffer = self.take(index);
        self.spare.push(buffer);
        self.unused.push(index);
    }

    /// Lets go of all pages.
    pub(crate) fn clear(&mut self) {
        self.spare.extend(self.pages.drain(..).flatten());
        self.unused.clear();
    }

    /// Lets go of all pages and of the memory that they took, but for a little.
    pub(crate) fn reset(&mut self) {
        self.clear();
        self.spare.truncate(SPARE_MAX);
        self.spare.shrink_to(SPARE_MAX);
        self.pages.shrink_to(SPARE_MAX);
        self.unused.shrink_to(SPARE_MAX);
    }
}
