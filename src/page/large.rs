//! Large values: how a leaf refers to a run of pages that holds nothing but the value.

use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::{PageNo, TxnId};

pub(crate) const LARGE_REF_LEN: usize = 28;

/// What a leaf holds in place of a large value.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, Clone, Copy, PartialEq, Eq, Debug)]
#[repr(C)]
pub(crate) struct LargeRef {
    page: U64,
    len: U64,
    born: U64,
    checksum: U32,
}

const _: () = assert!(size_of::<LargeRef>() == LARGE_REF_LEN);

impl LargeRef {
    pub(crate) fn new(page: PageNo, len: u64, born: TxnId, checksum: u32) -> LargeRef {
        LargeRef {
            page: U64::new(page.get()),
            len: U64::new(len),
            born: U64::new(born.get()),
            checksum: U32::new(checksum),
        }
    }

    /// The first page of the run.
    pub(crate) fn page(&self) -> PageNo {
        PageNo::new(self.page.get())
    }

    pub(crate) fn len(&self) -> u64 {
        self.len.get()
    }

    pub(crate) fn born(&self) -> TxnId {
        TxnId::new(self.born.get())
    }

    pub(crate) fn checksum(&self) -> u32 {
        self.checksum.get()
    }

    /// How many pages the run has.
    pub(crate) fn page_count(&self, page_len: usize) -> u64 {
        self.len().div_ceil(page_len as u64)
    }
}
