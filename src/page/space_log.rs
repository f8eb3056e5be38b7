//! Space records and the log pages that hold the older ones. `txn::space` decides what to write; this is how.

use std::ops::Range;

use zerocopy::little_endian::{U16, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::{HEADER_LEN, PageNo, SLOT_PAGES, SPACE_LOG, TxnId, corrupt, header, header_mut, init, nonzero_in};
use crate::error::Result;

/// A run of pages.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub(crate) struct Extent {
    pub(crate) first: u64,
    pub(crate) count: u64,
}

impl Extent {
    pub(crate) fn new(first: u64, count: u64) -> Extent {
        Extent { first, count }
    }

    /// The first page past the run.
    pub(crate) fn end(&self) -> u64 {
        self.first + self.count
    }

    /// The numbers of the pages.
    pub(crate) fn pages(self) -> Range<u64> {
        self.first..self.end()
    }

    /// Whether a meta slot is among the pages.
    pub(crate) fn has_slot(&self) -> bool {
        SLOT_PAGES.iter().any(|slot| (self.first..self.end()).contains(slot))
    }

    /// The run in pieces that one word describes.
    pub(crate) fn pieces(&self) -> impl Iterator<Item = Extent> + use<> {
        let end = self.end();
        let starts = (self.first..end).step_by(COUNT_MAX as usize);
        starts.map(move |first| Extent::new(first, COUNT_MAX.min(end - first)))
    }
}

/// Bits of a word that hold the page count of an extent.
const COUNT_BITS: u32 = 24;

/// The longest extent that one word describes; longer ones take several.
const COUNT_MAX: u64 = (1 << COUNT_BITS) - 1;

/// No file has more pages: 4 PiB at 4 KiB a page.
pub(crate) const PAGE_COUNT_MAX: u64 = 1 << (64 - COUNT_BITS);

/// How many words a record of these extents takes.
pub(crate) fn record_words(taken: &[Extent], freed: &[Extent]) -> usize {
    let words = |extents: &[Extent]| extents.iter().map(|e| e.count.div_ceil(COUNT_MAX) as usize).sum::<usize>();
    2 + words(taken) + words(freed)
}

/// Appends a record to `words`.
pub(crate) fn push_record(words: &mut Vec<U64>, txn: TxnId, taken: &[Extent], freed: &[Extent]) {
    words.push(U64::new(txn.get()));
    let counts_at = words.len();
    words.push(U64::ZERO);
    let mut push_extents = |extents: &[Extent]| {
        let before = words.len();
        for piece in extents.iter().flat_map(Extent::pieces) {
            words.push(U64::new(piece.first << COUNT_BITS | piece.count));
        }
        (words.len() - before) as u64
    };
    let taken_count = push_extents(taken);
    let freed_count = push_extents(freed);
    words[counts_at] = U64::new(taken_count << 32 | freed_count);
}

/// A space record: what `txn` took and freed.
#[derive(Clone, Copy)]
pub(crate) struct Record<'a> {
    pub(crate) txn: TxnId,
    taken: &'a [U64],
    freed: &'a [U64],
}

impl<'a> Record<'a> {
    pub(crate) fn taken(&self) -> impl Iterator<Item = Extent> + 'a {
        extents(self.taken)
    }

    pub(crate) fn freed(&self) -> impl Iterator<Item = Extent> + 'a {
        extents(self.freed)
    }
}

fn extents(words: &[U64]) -> impl Iterator<Item = Extent> {
    words.iter().map(|word| Extent::new(word.get() >> COUNT_BITS, word.get() & COUNT_MAX))
}

/// Splits `words` into records. `None` if they do not come out even.
pub(crate) fn records(mut words: &[U64]) -> Option<Vec<Record<'_>>> {
    let mut records = Vec::new();
    while let [txn, counts, rest @ ..] = words {
        let (taken, rest) = rest.split_at_checked((counts.get() >> 32) as usize)?;
        let (freed, rest) = rest.split_at_checked((counts.get() & 0xffff_ffff) as usize)?;
        records.push(Record { txn: TxnId::new(txn.get()), taken, freed });
        words = rest;
    }
    words.is_empty().then_some(records)
}

/// What a log page holds between its header and its words.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, Clone, Copy)]
#[repr(C)]
struct LogHeader {
    previous: U64,
    lap: U64,
    sweep_from: U64,
    sweep_to: U64,
}

const LOG_HEADER_LEN: usize = 32;
const _: () = assert!(size_of::<LogHeader>() == LOG_HEADER_LEN);

/// The part of the free set that a log page restates: pages `from..to`, in the given lap around the file.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Sweep {
    pub(crate) lap: u64,
    pub(crate) from: u64,
    pub(crate) to: u64,
}

/// How many words a log page takes.
pub(crate) fn words_max(page_len: usize) -> usize {
    (page_len - HEADER_LEN - LOG_HEADER_LEN) / 8
}

/// Fills a zeroed buffer with a log page.
pub(crate) fn build(page: &mut [u8], previous: PageNo, sweep: Sweep, words: &[U64]) {
    init(page, SPACE_LOG, 0);
    header_mut(page).slot_count = U16::new(words.len() as u16);
    let log = LogHeader {
        previous: U64::new(previous.get()),
        lap: U64::new(sweep.lap),
        sweep_from: U64::new(sweep.from),
        sweep_to: U64::new(sweep.to),
    };
    let at = HEADER_LEN + LOG_HEADER_LEN;
    page[HEADER_LEN..at].copy_from_slice(log.as_bytes());
    page[at..at + words.len() * 8].copy_from_slice(words.as_bytes());
}

/// Bytes behind the header that are in use, in a page that nobody verified.
pub(crate) fn live_len(page: &[u8]) -> usize {
    LOG_HEADER_LEN + usize::from(header(page).slot_count.get()) * 8
}

/// A log page to be read.
pub(crate) struct LogPage<'a> {
    pub(crate) previous: PageNo,
    pub(crate) born: TxnId,
    pub(crate) sweep: Sweep,
    pub(crate) words: &'a [U64],
}

impl<'a> LogPage<'a> {
    pub(crate) fn view(page: &'a [u8]) -> Result<LogPage<'a>> {
        let header = header(page);
        let body = LogHeader::ref_from_prefix(&page[HEADER_LEN..]).ok();
        let words = body.and_then(|(_, rest)| {
            let bytes = rest.get(..usize::from(header.slot_count.get()) * 8)?;
            <[U64]>::ref_from_bytes(bytes).ok()
        });
        let (Some((log, _)), Some(words), SPACE_LOG) = (body, words, header.kind) else {
            return Err(corrupt(page, "a space log page was expected"));
        };
        Ok(LogPage {
            previous: PageNo::new(log.previous.get()),
            born: TxnId::new(header.born.get()),
            sweep: Sweep { lap: log.lap.get(), from: log.sweep_from.get(), to: log.sweep_to.get() },
            words,
        })
    }
}

pub(super) fn verify(page: &[u8]) -> Result<(), &'static str> {
    let log = LogPage::view(page).map_err(|_| "words run past the page")?;
    records(log.words).map(|_| ()).ok_or("space records run past the page")
}

/// The first byte behind the words of a sound page that is not zero.
pub(super) fn stray_byte(page: &[u8]) -> Option<usize> {
    nonzero_in(page, HEADER_LEN + live_len(page)..page.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_read_back() {
        let taken = [Extent::new(2, 3), Extent::new(70, 1)];
        let freed = [Extent::new(9, COUNT_MAX * 2 + 5)];
        let mut words = Vec::new();
        push_record(&mut words, TxnId::new(7), &taken, &freed);
        assert_eq!(words.len(), record_words(&taken, &freed));
        push_record(&mut words, TxnId::new(8), &[], &[Extent::new(1, 1)]);
        let read = records(&words).unwrap();
        assert_eq!(read[0].txn, TxnId::new(7));
        assert_eq!(read[0].taken().collect::<Vec<_>>(), taken);
        assert_eq!(read[0].freed().map(|extent| extent.count).sum::<u64>(), freed[0].count);
        assert_eq!(read[0].freed().last().unwrap().end(), freed[0].end());
        assert_eq!(read[1].freed().collect::<Vec<_>>(), [Extent::new(1, 1)]);
        assert!(records(&words[..words.len() - 1]).is_none());
    }

    #[test]
    fn a_log_page_reads_back() {
        let mut page = vec![0; 4096];
        let mut words = Vec::new();
        push_record(&mut words, TxnId::new(7), &[], &[Extent::new(5, 2)]);
        let sweep = Sweep { lap: 3, from: 2, to: 90 };
        build(&mut page, PageNo::new(11), sweep, &words);
        verify(&page).unwrap();
        let log = LogPage::view(&page).unwrap();
        assert_eq!((log.previous, log.sweep, log.words.len()), (PageNo::new(11), sweep, 3));
        header_mut(&mut page).slot_count = U16::new(2);
        assert!(verify(&page).is_err());
    }
}
