//! In what pieces pages go to the file. `write` cuts its runs of pages accordingly.
//!
//! What is written at once, Linux keeps as one large folio of its cache where the file system can. Readers gain by that: a lookup in
//! folios of 2 MiB, mapped by one entry of the page table each, takes a tenth less time than in small ones, and a first scan faults
//! 512 times less often. Writers of single pages lose: ext4 goes through every block of the folio at each write and again at the
//! sync, so that 4 KiB take 20 to 60 us in a folio of 2 MiB, and 3 us in one of 16 KiB. Hence:
//!
//! - what fills 2 MiB is written as one piece, the rest in pieces of at most 16 KiB;
//! - before the first small piece goes into 2 MiB, the system is asked to split the folio there, which takes some 150 us. What is
//!   only read after a bulk load stays in large folios.

use crate::disk::map::Map;

/// The length of the largest folios, and of the buffer where pages are gathered.
pub(super) const LARGE_LEN: usize = 2 << 20;

/// The most that a small write writes, if a page is not larger.
pub(super) const SMALL_LEN: usize = 16 << 10;

/// What was written in which pieces. Forgotten with the process; then all that is lost is two system calls for each 2 MiB.
#[derive(Default)]
pub(crate) struct Pieces {
    /// Whether the last piece that came there was a small one, for each 2 MiB of the file: then there is no folio of 2 MiB any more.
    is_small: Vec<bool>,
}

impl Pieces {
    /// How many of `in_a_row` pages from page `first` on go into one piece.
    pub(super) fn page_count(first: u64, in_a_row: usize, page_len: usize) -> usize {
        let large = LARGE_LEN / page_len;
        if in_a_row >= large && first.is_multiple_of(large as u64) {
            return large;
        }
        let small = (SMALL_LEN / page_len).max(1);
        if in_a_row <= small { in_a_row } else { small - first as usize % small }
    }

    /// `len` bytes are about to be written at `at`.
    pub(super) fn prepare(&mut self, map: &Map, at: u64, len: usize) {
        let units = at as usize / LARGE_LEN..(at as usize + len).div_ceil(LARGE_LEN);
        if self.is_small.len() < units.end {
            self.is_small.resize(units.end, false);
        }
        let is_small = len <= SMALL_LEN.max(map.page_len());
        for unit in units {
            let was_small = std::mem::replace(&mut self.is_small[unit], is_small);
            if is_small && !was_small {
                map.split_folio(at.max((unit * LARGE_LEN) as u64));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_whole_folios_or_small() {
        for page_len in [4096, 16384, 65536] {
            let (large, small) = (LARGE_LEN / page_len, (SMALL_LEN / page_len).max(1));
            for (first, count) in
                [(0, 1), (3, 5), (3, 4), (large - 1, 3 * large), (7, 2 * large), (large, large), (1, large)]
            {
                let (mut at, mut counts) = (first, Vec::new());
                while at < first + count {
                    let piece = Pieces::page_count(at as u64, first + count - at, page_len);
                    let is_last = at + piece == first + count;
                    let is_aligned = at / small == (at + piece - 1) / small;
                    assert!(piece == large && at % large == 0 || piece <= small && (is_aligned || is_last));
                    counts.push(piece);
                    at += piece;
                }
                assert_eq!(at, first + count);
                let whole = ((first + count) / large).saturating_sub(first.div_ceil(large));
                assert_eq!(counts.iter().filter(|&&piece| piece == large).count(), whole);
            }
        }
    }
}
