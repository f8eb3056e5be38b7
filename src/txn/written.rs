//! What a write transaction has written to the file, and the digest over it, by which the next open tells whether all of it is there.

use super::Shared;
use super::extents::ExtentSet;
use crate::error::{Error, Result};
use crate::page::meta::DIGEST_PAGES_MAX;
use crate::page::space_log::Extent;

/// The page numbers and the parts of the digest are kept for twice as many pages as there can be in one: some are written and let go of.
const PARTS_MAX: usize = 2 * DIGEST_PAGES_MAX;

#[derive(Default)]
pub(super) struct Written {
    /// Numbers of the pages, and what stands for them in a digest.
    parts: Vec<(u64, [u8; 8])>,
    /// Bytes.
    len: u64,
    has_no_digest: bool,
}

impl Written {
    /// Bytes written so far.
    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// Writes whole pages to an extent. `part` is what stands for each in a digest.
    pub(super) fn write(
        &mut self,
        shared: &Shared,
        extent: Extent,
        bytes: &[u8],
        part: fn(&[u8]) -> [u8; 8],
    ) -> Result<()> {
        let page_len = shared.options.page_len;
        shared.write_store(bytes, extent.first * page_len as u64).map_err(Error::io("writing pages"))?;
        self.len += bytes.len() as u64;
        if self.parts.len() + extent.count as usize > PARTS_MAX {
            self.give_up_digest();
        }
        if !self.has_no_digest {
            self.parts.extend(extent.pages().zip(bytes.chunks_exact(page_len).map(part)));
        }
        Ok(())
    }

    /// There are too many pages for a digest.
    pub(super) fn give_up_digest(&mut self) {
        self.parts = Vec::new();
        self.has_no_digest = true;
    }

    /// The digest over the pages that the transaction took and still uses; `None` if they are too many.
    pub(super) fn digest(&mut self, taken: &ExtentSet) -> Option<u32> {
        if self.has_no_digest || taken.page_count() > DIGEST_PAGES_MAX as u64 {
            return None;
        }
        // Stable: of a page that was written more than once, the last part counts.
        self.parts.sort_by_key(|&(no, _)| no);
        let mut parts = Vec::new();
        for no in taken.iter().flat_map(Extent::pages) {
            let past = self.parts.partition_point(|&(written, _)| written <= no);
            let (_, part) = self.parts[..past].last().filter(|&&(written, _)| written == no)?;
            parts.extend(part);
        }
        Some(crc32c::crc32c(&parts))
    }
}
