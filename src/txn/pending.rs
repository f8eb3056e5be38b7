//! Pending pages: freed, but held back by pinned snapshots. `space` asks which of them are free.
//!
//! A page born at B and freed at F is visible to the snapshots s with B <= s < F (S2). It waits under the newest pinned one among
//! them, sorted by B. New pins are always newer than F. So when a snapshot goes, its pages born after the pinned one before it are
//! free, and the others wait under that one; no page need be looked at for it but those that become free. Where two lots of pages
//! meet, the smaller moves into the larger. So a page moves O(log pages) times in all, at O(log pages) each, however many
//! snapshots are pinned and in whatever order they go.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound::{Excluded, Included, Unbounded};

use crate::page::TxnId;
use crate::page::space_log::Extent;

/// Pages that a transaction let go of, and when they were written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Freed {
    pub(crate) extent: Extent,
    pub(crate) born: TxnId,
}

#[derive(Default)]
pub(crate) struct Pending {
    /// The pinned snapshots, ascending, as they were told last.
    pins: Vec<TxnId>,
    held: BTreeMap<TxnId, Held>,
    /// The snapshots of which there is something new since somebody asked.
    changed: BTreeSet<TxnId>,
}

/// What waits under a pinned snapshot.
#[derive(Default)]
struct Held {
    by_birth: BTreeMap<TxnId, Vec<Extent>>,
    pages: HeldPages,
    /// Pages born after this are counted as the snapshot's own: it is the pinned one before, or none.
    own_after: TxnId,
}

/// How many pages wait under a pinned snapshot.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct HeldPages {
    /// It is the newest that sees them.
    pub(crate) all: u64,
    /// It is the only one that sees them.
    pub(crate) own: u64,
}

impl Held {
    fn new(own_after: TxnId) -> Held {
        Held { own_after, ..Held::default() }
    }

    fn add(&mut self, freed: Freed) {
        self.by_birth.entry(freed.born).or_default().push(freed.extent);
        self.pages.all += freed.extent.count;
        if freed.born > self.own_after {
            self.pages.own += freed.extent.count;
        }
    }

    /// Pages that were born no later than this snapshot are its to hold.
    fn absorb(&mut self, mut other: BTreeMap<TxnId, Vec<Extent>>, page_count: u64) {
        self.pages.all += page_count;
        self.pages.own += count_pages(other.range((Excluded(self.own_after), Unbounded)));
        if self.by_birth.len() < other.len() {
            std::mem::swap(&mut self.by_birth, &mut other);
        }
        for (born, mut extents) in other {
            let there = self.by_birth.entry(born).or_default();
            if there.len() < extents.len() {
                std::mem::swap(there, &mut extents);
            }
            there.append(&mut extents);
        }
    }

    /// The pinned snapshot before this one is now `before`. It is never a newer one than it was: what shows there for a moment is a
    /// reader that has not found the current snapshot yet.
    fn widen(&mut self, before: TxnId) {
        if before < self.own_after {
            self.pages.own += count_pages(self.by_birth.range((Excluded(before), Included(self.own_after))));
            self.own_after = before;
        }
    }
}

fn count_pages<'a>(by_birth: impl Iterator<Item = (&'a TxnId, &'a Vec<Extent>)>) -> u64 {
    by_birth.flat_map(|(_, extents)| extents).map(|extent| extent.count).sum()
}

impl Pending {
    /// All pages that wait.
    pub(crate) fn extents(&self) -> impl Iterator<Item = Extent> {
        self.held.values().flat_map(|held| held.by_birth.values().flatten().copied())
    }

    /// These snapshots are pinned now, in ascending order. Answers which of those before are not, and which pages are free for it.
    pub(crate) fn follow(&mut self, pins: &[TxnId]) -> (Vec<TxnId>, Vec<Extent>) {
        let gone = missing(&self.pins, pins);
        self.pins.clear();
        self.pins.extend_from_slice(pins);
        let mut free = Vec::new();
        for &pin in &gone {
            self.release(pin, &mut free);
            self.widen_after(pin);
        }
        self.changed.extend(&gone);
        (gone, free)
    }

    /// A snapshot is no longer pinned.
    fn release(&mut self, pin: TxnId, free: &mut Vec<Extent>) {
        let Some(mut held) = self.held.remove(&pin) else { return };
        let before = self.pinned_before(pin);
        let own = held.by_birth.split_off(&before.map_or(TxnId::default(), TxnId::next));
        let own_count = count_pages(own.iter());
        free.extend(own.into_values().flatten());
        if let (Some(before), false) = (before, held.by_birth.is_empty()) {
            self.held_under(before).absorb(held.by_birth, held.pages.all - own_count);
        }
    }

    /// The pinned snapshot after one that went alone sees more than it did.
    fn widen_after(&mut self, gone: TxnId) {
        let before = self.pinned_before(gone).unwrap_or_default();
        let after = self.pins.partition_point(|&pin| pin < gone);
        if let Some(&after) = self.pins.get(after)
            && let Some(held) = self.held.get_mut(&after)
        {
            held.widen(before);
            self.changed.insert(after);
        }
    }

    /// The newest pinned snapshot that is older.
    fn pinned_before(&self, txn: TxnId) -> Option<TxnId> {
        let before = self.pins.partition_point(|&pin| pin < txn);
        before.checked_sub(1).map(|at| self.pins[at])
    }

    fn held_under(&mut self, pin: TxnId) -> &mut Held {
        let own_after = self.pinned_before(pin).unwrap_or_default();
        self.changed.insert(pin);
        self.held.entry(pin).or_insert_with(|| Held::new(own_after))
    }

    /// The transaction that made the current snapshot has freed pages. Answers those of them that nobody sees.
    pub(crate) fn add(&mut self, txn: TxnId, mut freed: Vec<Freed>) -> Vec<Freed> {
        assert!(self.pins.last() == Some(&txn), "the pins are those of now");
        let Some(pin) = self.pinned_before(txn) else { return freed };
        let unseen = freed.extract_if(.., |freed| freed.born > pin).collect();
        if !freed.is_empty() {
            let held = self.held_under(pin);
            freed.into_iter().for_each(|freed| held.add(freed));
        }
        unseen
    }

    pub(crate) fn held_by(&self, pin: TxnId) -> HeldPages {
        self.held.get(&pin).map_or(HeldPages::default(), |held| held.pages)
    }

    /// The snapshots that were pinned or let go, or hold back more or less, since this was called last.
    pub(crate) fn take_changed(&mut self) -> BTreeSet<TxnId> {
        std::mem::take(&mut self.changed)
    }
}

/// What is in `before` and not in `now`; both ascend.
fn missing(before: &[TxnId], now: &[TxnId]) -> Vec<TxnId> {
    let (mut missing, mut at) = (Vec::new(), 0);
    for &pin in before {
        while now.get(at).is_some_and(|&next| next < pin) {
            at += 1;
        }
        if now.get(at) != Some(&pin) {
            missing.push(pin);
        }
    }
    missing
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A page that was freed and is not free, as the rule has it.
    #[derive(Clone, Copy)]
    struct Waiting {
        page: u64,
        born: TxnId,
        freed: TxnId,
    }

    impl Waiting {
        fn is_seen(&self, pin: TxnId) -> bool {
            self.born <= pin && pin < self.freed
        }
    }

    /// Random commits among random pins, against the rule applied to each page and each pin.
    #[test]
    fn agrees_with_the_rule_for_each_page() {
        let seed =
            std::env::var("FOLIO_SEED").map_or_else(|_| fastrand::u64(..), |text| text.parse().expect("a number"));
        println!("replay with FOLIO_SEED={seed}");
        let mut rng = fastrand::Rng::with_seed(seed);
        for _ in 0..60 {
            let mut pending = Pending::default();
            let (mut readers, mut waiting) = (BTreeSet::new(), Vec::<Waiting>::new());
            let mut live: Vec<(u64, TxnId)> = Vec::new();
            let mut page = 0;
            for txn in (1..200).map(TxnId::new) {
                let freed: Vec<(u64, TxnId)> =
                    (0..rng.usize(..8).min(live.len())).map(|_| live.swap_remove(rng.usize(..live.len()))).collect();
                for _ in 0..rng.u64(..8) {
                    page += 1;
                    live.push((page, txn));
                }
                readers.retain(|_| rng.u32(..15) > 0);
                let mut pins: Vec<TxnId> = readers.iter().copied().chain([txn]).collect();
                let (_, mut free) = pending.follow(&pins);
                let extent = |&(page, born)| Freed { extent: Extent::new(page, 1), born };
                free.extend(pending.add(txn, freed.iter().map(extent).collect()).iter().map(|freed| freed.extent));
                waiting.extend(freed.into_iter().map(|(page, born)| Waiting { page, born, freed: txn }));
                let is_free = |waiting: &Waiting| !pins.iter().any(|&pin| waiting.is_seen(pin));
                let mut expected: Vec<u64> =
                    waiting.iter().filter(|waiting| is_free(waiting)).map(|waiting| waiting.page).collect();
                expected.sort_unstable();
                free.sort_unstable();
                assert_eq!(free.iter().map(|extent| extent.first).collect::<Vec<_>>(), expected);
                waiting.retain(|waiting| !is_free(waiting));
                while let Some(pin) = pins.pop() {
                    let count =
                        |f: &dyn Fn(&Waiting) -> bool| waiting.iter().filter(|waiting| f(waiting)).count() as u64;
                    let is_newer_blind =
                        |waiting: &Waiting| !readers.range((Excluded(pin), Unbounded)).any(|&pin| waiting.is_seen(pin));
                    let is_older_blind = |waiting: &Waiting| !pins.iter().any(|&pin| waiting.is_seen(pin));
                    let all = count(&|waiting| waiting.is_seen(pin) && is_newer_blind(waiting));
                    let own =
                        count(&|waiting| waiting.is_seen(pin) && is_newer_blind(waiting) && is_older_blind(waiting));
                    assert_eq!(pending.held_by(pin), HeldPages { all, own }, "snapshot {pin} at {txn}");
                }
                if rng.u32(..3) == 0 {
                    readers.insert(txn);
                }
            }
        }
    }

    /// Ten thousand snapshots see a million extents each, and go from the newest on: the order in which all that waits would move
    /// from one to the next.
    #[test]
    fn a_million_extents_under_ten_thousand_pins_move_little() {
        let (pins, extents) = (10_000, 1_000_000);
        let mut pending = Pending::default();
        let mut readers: Vec<TxnId> = (1..=pins).map(TxnId::new).collect();
        let newest = TxnId::new(pins + 1);
        pending.follow(&[readers.as_slice(), &[newest]].concat());
        let freed = (0..extents).map(|n| Freed { extent: Extent::new(n * 2, 1), born: TxnId::new(1 + n % 100) });
        assert!(pending.add(newest, freed.collect()).is_empty());
        let start = std::time::Instant::now();
        let mut free = 0;
        while !readers.is_empty() {
            readers.truncate(readers.len() - 10);
            free += pending.follow(&[readers.as_slice(), &[newest]].concat()).1.len() as u64;
        }
        assert_eq!(free, extents);
        let elapsed = start.elapsed();
        println!("{pins} pins let go of in {elapsed:.1?}");
        assert!(elapsed.as_secs() < 20, "{elapsed:?}");
    }
}
