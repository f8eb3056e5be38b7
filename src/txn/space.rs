//! Free space: which pages may be taken now, which are freed but pinned, and how the file remembers.
//!
//! - S1: `recorded` is what a reader of the file takes for free: it is `free` and everything pending, as of the last commit.
//! - S2: a page born at B and freed at F is visible to the snapshots s with B <= s < F. It is free once no pinned snapshot
//!   lies in between. The last durable commit and the current snapshot count as pinned.
//! - S3: a page is in at most one of `free`, `beside`, `zone`, pending, and what the running transaction took.

use std::collections::VecDeque;

use zerocopy::little_endian::U64;

use super::extents::ExtentSet;
use super::free_pages::FreePages;
use super::page_set::PageSet;
use super::pending::{Freed, Pending};
use super::zone::Zone;
use crate::error::{Error, Result};
use crate::page::meta::{Meta, SPACE_WORDS_MAX};
use crate::page::space_log::{self, Extent, LogPage, Sweep};
use crate::page::{self, BESIDE_END, PageNo, SLOT_PAGES, TxnId};
use crate::tree::Pages;

/// A page of the space log.
#[derive(Clone, Copy)]
struct LogPageInfo {
    no: PageNo,
    born: TxnId,
    sweep: Sweep,
}

pub(crate) struct Space {
    /// Pages to be taken, but for those beside the meta slots and those of the zone.
    pub(crate) free: FreePages,
    /// Free pages beside the meta slots.
    beside: ExtentSet,
    zone: Zone,
    pub(crate) pending: Pending,
    recorded: PageSet,
    /// The records in the meta.
    inline: Vec<U64>,
    /// The pages of the log, oldest first.
    log: VecDeque<LogPageInfo>,
}

fn no_memory() -> Error {
    Error::io("reading the free space")(std::io::ErrorKind::OutOfMemory.into())
}

/// What a commit writes of its free space.
pub(crate) struct Record {
    pub(crate) inline: Vec<U64>,
    /// Words for new log pages, oldest first, with the pages' numbers.
    pub(crate) pages: Vec<(PageNo, Vec<U64>)>,
    pub(crate) sweep: Sweep,
    /// Whether the transaction's own record is inline, as the digest needs it.
    pub(crate) is_inline: bool,
    taken: Vec<Extent>,
    freed: Vec<Extent>,
    log: VecDeque<LogPageInfo>,
}

impl Record {
    /// The newest log page and the number of them.
    pub(crate) fn log_head(&self) -> (PageNo, u64) {
        (self.log.back().map_or(PageNo::NONE, |page| page.no), self.log.len() as u64)
    }

    /// The log page before the first new one.
    pub(crate) fn log_before(&self) -> PageNo {
        let before = self.log.len() - self.pages.len();
        before.checked_sub(1).map_or(PageNo::NONE, |i| self.log[i].no)
    }
}

/// What planning a record asks of the transaction: pages for the log.
pub(crate) trait LogSpace {
    fn space(&self) -> &Space;

    fn page_count(&self) -> u64;

    /// Takes pages, wherever they are.
    fn take(&mut self, count: u64) -> Result<Vec<Extent>>;

    /// Lets go of a log page.
    fn release(&mut self, freed: Freed) -> Result<()>;

    /// Drops the free pages at the end of the file, and answers with what the transaction took and freed: extents in
    /// order, the dropped ones among those taken.
    fn settle(&mut self) -> (Vec<Extent>, Vec<Extent>);
}

impl Space {
    /// How many pages are free where nothing older is pinned.
    pub(crate) fn count_free<'p>(meta: &Meta, pages: impl Pages<'p>) -> Result<u64> {
        Ok(Space::replay(meta, pages)?.0.page_count())
    }

    /// Replays log and meta: the pages that are not in use, and those of the log, oldest first.
    fn replay<'p>(meta: &Meta, pages: impl Pages<'p>) -> Result<(ExtentSet, VecDeque<LogPageInfo>)> {
        let fields = meta.fields();
        let mut log = VecDeque::new();
        let mut chain = Vec::new();
        let mut seen = ExtentSet::default();
        let mut no = fields.log_head;
        if fields.log_count > fields.page_count {
            return Err(Error::Corrupt { page: 0, what: "the space log has more pages than the file" });
        }
        for _ in 0..fields.log_count {
            let page = LogPage::view(pages.page(no)?)?;
            let extent = Extent::new(no.get(), 1);
            if seen.overlaps(extent) {
                return Err(Error::Corrupt { page: no.get(), what: "a space log that comes back to itself" });
            }
            seen.insert(extent);
            log.push_front(LogPageInfo { no, born: page.born, sweep: page.sweep });
            no = page.previous;
            chain.push(page.words);
        }
        let mut recorded = ExtentSet::default();
        let inline = meta.space_words();
        for words in chain.into_iter().rev().chain([inline]) {
            for record in space_log::records(words).ok_or_else(|| meta.bad_space())? {
                record.taken().for_each(|extent| recorded.remove(extent));
                record.freed().for_each(|extent| recorded.insert(extent));
            }
        }
        let sound = !SLOT_PAGES.iter().any(|&slot| recorded.overlaps(Extent::new(slot, 1)))
            && recorded.iter().next_back().is_none_or(|last| last.end() <= fields.page_count);
        if !sound {
            return Err(Error::Corrupt { page: 0, what: "a free page outside the file" });
        }
        Ok((recorded, log))
    }

    /// What the file says. Everything that is not in use is free: at open nothing older is pinned.
    pub(crate) fn load<'p>(meta: &Meta, pages: impl Pages<'p>) -> Result<Space> {
        let (recorded, log) = Space::replay(meta, pages)?;
        let page_count = meta.fields().page_count;
        let mut space = Space {
            free: FreePages::with_capacity(page_count).ok_or_else(no_memory)?,
            beside: ExtentSet::default(),
            zone: Zone::default(),
            pending: Pending::default(),
            inline: meta.space_words().to_vec(),
            log,
            recorded: PageSet::with_capacity(page_count).ok_or_else(no_memory)?,
        };
        for extent in recorded.iter() {
            space.give(extent);
            space.recorded.insert(extent);
        }
        Ok(space)
    }

    /// Pages are free from now on.
    pub(crate) fn give(&mut self, extent: Extent) {
        let zone = self.zone.bounds();
        let mut rest = extent;
        let mut up_to = |page: u64| {
            let cut = page.clamp(rest.first, rest.end());
            let before = Extent::new(rest.first, cut - rest.first);
            rest = Extent::new(cut, rest.end() - cut);
            before
        };
        self.beside.insert(up_to(BESIDE_END));
        self.free.insert(up_to(zone.first));
        self.zone.give(up_to(zone.end()));
        self.free.insert(rest);
    }

    /// Takes `count` pages for branches out of the zone, or none.
    pub(crate) fn take_zone(&mut self, count: u64) -> Vec<Extent> {
        self.zone.take(count)
    }

    /// How long the zone is.
    pub(crate) fn zone_len(&self) -> u64 {
        self.zone.bounds().count
    }

    /// Makes these pages the zone, in place of the one before, with those of them that are free.
    pub(crate) fn set_zone(&mut self, bounds: Extent) {
        self.dissolve_zone();
        self.zone = Zone::new(bounds);
        self.free.take_in(bounds).into_iter().for_each(|extent| self.zone.give(extent));
    }

    /// Has no zone any more. Answers whether that made pages free to be taken for anything.
    pub(crate) fn dissolve_zone(&mut self) -> bool {
        let zone = std::mem::take(&mut self.zone);
        zone.free().iter().for_each(|extent| self.free.insert(extent));
        zone.free().page_count() > 0
    }

    /// The file ends at page `end`, and what lies behind it was never in it.
    pub(crate) fn cut(&mut self, end: u64, count: u64) {
        self.give_up_zone_behind(end);
        self.free.remove(Extent::new(end, count));
    }

    /// Gives up a zone that reaches beyond page `end`.
    pub(crate) fn give_up_zone_behind(&mut self, end: u64) {
        if self.zone.bounds().end() > end {
            self.dissolve_zone();
        }
    }

    /// Gives up a zone that reaches beyond page `end`, and counts the free pages before that.
    pub(crate) fn free_before(&mut self, end: u64) -> u64 {
        self.give_up_zone_behind(end);
        let before = self.free.iter_from(0).take_while(|extent| extent.first < end);
        before.map(|extent| extent.end().min(end) - extent.first).sum()
    }

    /// The free pages from page `from` on.
    pub(crate) fn free_from(&self, from: u64) -> impl Iterator<Item = Extent> {
        self.free.iter_from(from).chain(self.zone.free().iter_from(from))
    }

    /// Takes up to `count` pages beside a meta slot, those nearest to it.
    pub(crate) fn take_beside(&mut self, slot: usize, count: usize) -> Vec<u64> {
        let near = SLOT_PAGES[slot]..SLOT_PAGES[slot] + BESIDE_END / 2;
        let pages = self.beside.iter().flat_map(Extent::pages);
        let taken: Vec<u64> = pages.filter(|no| near.contains(no)).take(count).collect();
        taken.iter().for_each(|&no| self.beside.remove(Extent::new(no, 1)));
        taken
    }

    /// Takes up to `count` pages beside either meta slot, when there are no others.
    pub(crate) fn take_any_beside(&mut self, count: u64) -> Option<Extent> {
        self.beside.take_first(count)
    }

    pub(crate) fn free_page_count(&self) -> u64 {
        self.usable_page_count() + self.beside.page_count()
    }

    /// The free pages that a transaction can take, wherever they are.
    pub(crate) fn usable_page_count(&self) -> u64 {
        self.free.page_count() + self.zone.free().page_count()
    }

    /// Everything that the file says is free.
    pub(crate) fn recorded(&self) -> &PageSet {
        &self.recorded
    }

    pub(crate) fn log_pages(&self) -> impl Iterator<Item = Extent> {
        self.log.iter().map(|page| Extent::new(page.no.get(), 1))
    }

    /// Frees what waited for snapshots that are no longer pinned, and answers which those are. `pins` ascend.
    pub(crate) fn reclaim(&mut self, pins: &[TxnId]) -> Vec<TxnId> {
        let (gone, free) = self.pending.follow(pins);
        free.into_iter().for_each(|extent| self.give(extent));
        gone
    }

    /// Plans what the commit of `txn` writes: its record goes into the meta if it fits, and the records before it move to
    /// new log pages when it does not. What is recorded changes only with [`Space::apply`].
    pub(crate) fn plan(txn_space: &mut impl LogSpace, txn: TxnId, page_len: usize) -> Result<Record> {
        let mut sweep = Sweep::default();
        let mut packer = Packer::new(page_len);
        let mut pages = Vec::new();

        // What the record takes at most, if no log page is written. Dropping the end of the file adds an extent.
        let (mut taken, mut freed) = txn_space.settle();
        let space = txn_space.space();
        let mut log = space.log.clone();
        let mut inline = space.inline.clone();
        let mut words = space_log::record_words(&taken, &freed) + 2;
        let mut is_inline = inline.len() + words <= SPACE_WORDS_MAX;
        if !is_inline {
            let page_count = txn_space.page_count();
            sweep = txn_space.space().sweep(words, page_count, &mut packer, txn);
            inline.clear();
            while log.front().is_some_and(|oldest| sweep_has_passed(sweep, oldest.sweep, page_count)) {
                let oldest = log.pop_front().expect("there is a front");
                txn_space.release(Freed { extent: Extent::new(oldest.no.get(), 1), born: oldest.born })?;
                words += 1;
            }
            words += packer.page_count();
            is_inline = words <= SPACE_WORDS_MAX;
            let own_pages = if is_inline { 0 } else { packer.pages_for(words) };
            let count = (packer.page_count() + own_pages) as u64;
            let numbers = txn_space.take(count)?.into_iter().flat_map(Extent::pages);
            pages = numbers.map(|no| (PageNo::new(no), Vec::new())).collect();
            (taken, freed) = txn_space.settle();
        }
        if is_inline {
            space_log::push_record(&mut inline, txn, &taken, &freed);
        } else {
            packer.push(txn, &taken, &freed);
        }
        assert!(inline.len() <= SPACE_WORDS_MAX && packer.page_count() <= pages.len(), "room for the record");
        for ((_, words), packed) in pages.iter_mut().zip(packer.pages) {
            *words = packed;
        }
        log.extend(pages.iter().map(|&(no, _)| LogPageInfo { no, born: txn, sweep }));
        Ok(Record { inline, pages, sweep, is_inline, taken, freed, log })
    }

    /// Packs the inline records, and restates as much of the free set as they and the `words` of the next record take, or all of it if
    /// that is not more. A restatement of all makes every record before it needless. It restates something even if there are no
    /// inline records, as after a commit whose own did not fit: else the log would only grow.
    fn sweep(&self, words: usize, page_count: u64, packer: &mut Packer, txn: TxnId) -> Sweep {
        let inline = &self.inline;
        let quota = inline.len() + words;
        let last = self.log.back().map(|page| page.sweep).unwrap_or_default();
        let range = |from, to: u64| [Extent::new(from, to.saturating_sub(from))];
        if self.recorded.extent_count() <= quota {
            let free: Vec<Extent> = self.recorded.iter().collect();
            packer.push(txn, &range(0, page_count), &free);
            return Sweep { lap: last.lap.wrapping_add(2), from: 0, to: page_count };
        }
        for record in space_log::records(inline).into_iter().flatten() {
            let taken: Vec<Extent> = record.taken().collect();
            let freed: Vec<Extent> = record.freed().collect();
            packer.push(record.txn, &taken, &freed);
        }
        let (lap, from) = if last.to >= page_count { (last.lap.wrapping_add(1), 0) } else { (last.lap, last.to) };
        let free: Vec<Extent> = self.recorded.iter_from(from).take(quota).collect();
        let is_rest = free.len() < quota;
        let to = if is_rest { page_count } else { free.last().map_or(page_count, Extent::end) };
        packer.push(txn, &range(from, to), &free);
        Sweep { lap, from, to }
    }

    /// The commit of `txn` is in place: what it took is taken, what it freed is pending, or free.
    pub(crate) fn apply(&mut self, txn: TxnId, record: Record, freed: Vec<Freed>) {
        record.taken.iter().for_each(|extent| self.recorded.remove(*extent));
        record.freed.iter().for_each(|extent| self.recorded.insert(*extent));
        self.inline = record.inline;
        self.log = record.log;
        for Freed { extent, .. } in self.pending.add(txn, freed) {
            self.give(extent);
        }
    }
}

/// Whether a sweep that has come to the end of `now` has restated everything that stood in a page with the sweep `then`.
fn sweep_has_passed(now: Sweep, then: Sweep, page_count: u64) -> bool {
    let reached = if now.to >= page_count { (now.lap.wrapping_add(1), 0) } else { (now.lap, now.to) };
    reached >= (then.lap.wrapping_add(1), then.to)
}

/// The free space of a file in one statement: what its meta and its log say if the one knows nothing older.
pub(crate) struct Statement {
    pub(crate) inline: Vec<U64>,
    /// The log pages, oldest first, as they lie in the file.
    pub(crate) pages: Vec<(PageNo, Vec<u8>)>,
}

impl Statement {
    /// States that in a file of `page_count` pages, as of `txn`, exactly `free` is free; log pages are taken out of it.
    pub(crate) fn new(mut free: ExtentSet, txn: TxnId, page_count: u64, page_len: usize) -> Statement {
        let extents: Vec<Extent> = free.iter().collect();
        let mut inline = Vec::new();
        if space_log::record_words(&[], &extents) <= SPACE_WORDS_MAX {
            space_log::push_record(&mut inline, txn, &[], &extents);
            return Statement { inline, pages: Vec::new() };
        }
        let pack = |free: &ExtentSet| {
            let mut packer = Packer::new(page_len);
            packer.push(txn, &[Extent::new(0, page_count)], &free.iter().collect::<Vec<_>>());
            packer.pages
        };
        // To take from the front makes extents fewer, so the pages that all of them need are enough.
        let mut numbers = Vec::new();
        let count = pack(&free).len();
        while numbers.len() < count {
            let taken = free.take_first((count - numbers.len()) as u64).expect("a free page for each extent");
            numbers.extend((taken.first..taken.end()).map(PageNo::new));
        }
        let sweep = Sweep { lap: 0, from: 0, to: page_count };
        let words = pack(&free).into_iter().chain(std::iter::repeat(Vec::new()));
        let mut previous = PageNo::NONE;
        let pages = numbers.into_iter().zip(words).map(|(no, words)| {
            let mut page = vec![0; page_len];
            space_log::build(&mut page, previous, sweep, &words);
            page::seal(&mut page, no, txn);
            previous = no;
            (no, page)
        });
        Statement { inline, pages: pages.collect() }
    }
}

/// Packs records into the words of log pages; a long one is cut into several.
struct Packer {
    words_max: usize,
    pages: Vec<Vec<U64>>,
}

impl Packer {
    fn new(page_len: usize) -> Packer {
        Packer { words_max: space_log::words_max(page_len), pages: Vec::new() }
    }

    fn page_count(&self) -> usize {
        self.pages.len()
    }

    /// How many more pages a record of this many words can take, which grows by a word for each of them.
    fn pages_for(&self, words: usize) -> usize {
        (words + words / 32) / (self.words_max - 8) + 3
    }

    fn push(&mut self, txn: TxnId, taken: &[Extent], freed: &[Extent]) {
        let pieces = |extents: &[Extent]| extents.iter().flat_map(Extent::pieces).collect::<Vec<_>>();
        let (taken, freed) = (pieces(taken), pieces(freed));
        let (mut taken, mut freed) = (&taken[..], &freed[..]);
        while !taken.is_empty() || !freed.is_empty() {
            // The head of a record takes two words.
            if self.pages.last().is_none_or(|page| page.len() + 3 > self.words_max) {
                self.pages.push(Vec::with_capacity(self.words_max));
            }
            let page = self.pages.last_mut().expect("one was just made");
            let room = self.words_max - page.len() - 2;
            let (some_taken, more_taken) = taken.split_at(taken.len().min(room));
            let (some_freed, more_freed) = freed.split_at(freed.len().min(room - some_taken.len()));
            space_log::push_record(page, txn, some_taken, some_freed);
            (taken, freed) = (more_taken, more_freed);
        }
    }
}
