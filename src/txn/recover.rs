//! Which meta slot to trust at open. Recovery reads a few pages and writes nothing, so that a second crash finds what the
//! first one left.

use std::fmt;

use crate::disk::store::Store;
use crate::error::{Error, Result};
use crate::page::meta::{DIGEST_PAGES_MAX, META_LEN, Meta, Slot, Trust, VERSION};
use crate::page::space_log::{self, Extent, PAGE_COUNT_MAX};
use crate::page::{self, BESIDE_END, PAGE_LEN_MAX, PAGE_LEN_MIN, SLOT_PAGES, TxnId, is_slot};
use crate::tree::Tree;

/// No transaction has a higher id: a file that says so was forged, and leaves no room for the next.
const TXN_MAX: u64 = u64::MAX / 2;

/// What was found.
pub(crate) struct Recovered {
    pub(crate) meta: Box<Meta>,
    pub(crate) slot: usize,
    /// The other slot holds no commit that came before this one, or the same: what lies there was refused, or is damaged.
    pub(crate) is_other_void: bool,
    /// The other slot has the same commit, so that one survives the loss of either.
    pub(crate) is_sealed: bool,
    /// The newest transaction that is known to be on the disk, and not in the page cache alone; 0 for none.
    pub(crate) durable: TxnId,
    pub(crate) file_len: u64,
    pub(crate) passed_over: Option<PassedOver>,
}

/// A newer commit that an open has found and not taken. See [`Database::passed_over`](crate::Database::passed_over).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct PassedOver {
    /// The commit that was not taken.
    pub newer: TxnId,
    /// The commit before it, which was.
    pub opened: TxnId,
    /// Why.
    pub reason: PassedOverReason,
}

/// Why an open has not taken the newest commit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum PassedOverReason {
    /// Not all of it is in the file: a power cut came in the middle of the commit, or a page that it wrote was damaged since, which
    /// looks the same.
    Incomplete,
    /// It was relaxed, and the machine was started anew before it was synced.
    Relaxed,
    /// [`Options::previous_snapshot`](crate::Options::previous_snapshot) asked for the commit before.
    Asked,
}

impl fmt::Display for PassedOver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let PassedOver { newer, opened, reason } = self;
        write!(f, "transaction {opened} was opened, not the newer transaction {newer}: ")?;
        f.write_str(match reason {
            PassedOverReason::Incomplete => {
                "not all of it is in the file, after a power cut in its commit or damage since"
            }
            PassedOverReason::Relaxed => "it was relaxed, and not synced before the machine was started anew",
            PassedOverReason::Asked => "the previous snapshot was asked for",
        })
    }
}

/// A slot that passes its checksum.
struct Candidate {
    slot: usize,
    meta: Box<Meta>,
}

/// Reads both slots and picks the newest that can be trusted; the one before it, if that is `previous`.
pub(crate) fn recover(store: &dyn Store, previous: bool) -> Result<Recovered> {
    let file_len = store.len().map_err(Error::io("reading the length of the database"))?;
    let mut slots = read_slots(store, file_len)?;
    // Of two that say the same, the one that asks for no proof.
    slots.sort_by_key(|it| (std::cmp::Reverse(it.meta.txn()), it.meta.trust() != Trust::Synced, it.slot));
    let mut slots = slots.into_iter();
    let (newest, other) = (slots.next().expect("one at least"), slots.next());
    let is_sealed = other.as_ref().is_some_and(|other| other.meta.txn() == newest.meta.txn());
    // When a slot is written the other one holds the last durable commit (I4).
    let durable = other.as_ref().map_or(TxnId::default(), |other| other.meta.txn());
    let reason = match previous {
        true => Some(PassedOverReason::Asked),
        false => newest.doubt(store, file_len)?,
    };
    let Some(reason) = reason else {
        let (Candidate { slot, meta }, is_other_void) = (newest, other.is_none());
        return Ok(Recovered { meta, slot, is_other_void, is_sealed, durable, file_len, passed_over: None });
    };
    let newer = newest.meta.txn();
    let Some(older) = other.filter(|_| !is_sealed) else {
        return Err(match reason {
            PassedOverReason::Asked => Error::InvalidOption {
                option: "previous_snapshot",
                why: "the file has no commit before the newest one",
            },
            _ => newest.corrupt("the last commit is not all there, and the file has none before it"),
        });
    };
    // Since the newer one was written, this one was durable.
    older.expect_sound(store, file_len)?;
    let passed_over = Some(PassedOver { newer, opened: durable, reason });
    let Candidate { slot, meta } = older;
    Ok(Recovered { meta, slot, is_other_void: true, is_sealed: false, durable, file_len, passed_over })
}

/// The slots that pass their checksums: one at least.
fn read_slots(store: &dyn Store, file_len: u64) -> Result<Vec<Candidate>> {
    let mut slots = Vec::new();
    let mut other_version = None;
    let mut is_folio = false;
    let mut visit = |slot, read: Slot| match read {
        Slot::Good(meta) => slots.push(Candidate { slot, meta }),
        Slot::Version { found, is_whole } => other_version = other_version.max(Some((is_whole, found))),
        Slot::Damaged => is_folio = true,
        Slot::Foreign => {}
    };
    let first = read_slot(store, SLOT_PAGES[0], file_len)?;
    // Slot A says where slot B is; if it cannot, B is the first that says that it is itself. What lies before it, beside slot A, is pages
    // with a header; what lies behind it may be a value, which can look like anything.
    let known = match &first {
        Slot::Good(meta) => Some(meta.fields().page_len),
        _ => None,
    };
    visit(0, first);
    let mut at = known.unwrap_or(PAGE_LEN_MIN);
    while at <= known.unwrap_or(PAGE_LEN_MAX) {
        let second = read_slot(store, SLOT_PAGES[1] * at as u64, file_len)?;
        let is_elsewhere = matches!(&second, Slot::Good(meta) if meta.fields().page_len != at);
        if !is_elsewhere && !matches!(second, Slot::Foreign) {
            visit(1, second);
            break;
        }
        at *= 2;
    }
    match (slots.is_empty(), other_version) {
        // Beside a good slot of this version, too: a later release has written the newer state.
        (_, Some((true, found))) | (true, Some((false, found))) => Err(Error::Version { found, supported: VERSION }),
        (false, _) => Ok(slots),
        (true, None) if is_folio => Err(Error::Corrupt { page: 0, what: "both meta slots are damaged" }),
        (true, None) => Err(Error::NotADatabase),
    }
}

fn read_slot(store: &dyn Store, at: u64, file_len: u64) -> Result<Slot> {
    if at + META_LEN as u64 > file_len {
        return Ok(Slot::Foreign);
    }
    let mut bytes = [0; META_LEN];
    store.read_at(&mut bytes, at).map_err(Error::io("reading a meta slot"))?;
    Ok(Meta::read(&bytes))
}

impl Candidate {
    /// Damage that shows in the meta.
    fn corrupt(&self, what: &'static str) -> Error {
        Error::Corrupt { page: SLOT_PAGES[self.slot], what }
    }

    /// Why the meta, which is the newest, may refer to what never came to be on the disk. `None` if it is known to be whole; an error if it
    /// was whole once and no longer is.
    fn doubt(&self, store: &dyn Store, file_len: u64) -> Result<Option<PassedOverReason>> {
        let meta = &self.meta;
        let is_long_enough = self.len()? <= file_len;
        let reason = match meta.trust() {
            Trust::Synced => None,
            Trust::Boot(boot_id) if store.boot_id() != Some(boot_id) => Some(PassedOverReason::Relaxed),
            Trust::Boot(_) => (self.expect_sound(store, file_len).is_err()).then_some(PassedOverReason::Incomplete),
            // Only growth that the commit itself was to sync can be lost with it.
            Trust::Digest(_) if !is_long_enough && meta.fields().was_as_long => None,
            Trust::Digest(expected) => {
                (!is_long_enough || digest(store, meta)? != Some(expected)).then_some(PassedOverReason::Incomplete)
            }
        };
        if reason.is_none() {
            self.expect_sound(store, file_len)?;
        }
        Ok(reason)
    }

    /// The length that the file has at least, in bytes, if the commit is whole.
    fn len(&self) -> Result<u64> {
        let fields = self.meta.fields();
        if !(1..=TXN_MAX).contains(&fields.txn.get()) {
            return Err(self.corrupt("a meta with a transaction id that cannot be"));
        }
        if !(BESIDE_END..PAGE_COUNT_MAX).contains(&fields.page_count) {
            return Err(self.corrupt("a meta with a page count that cannot be"));
        }
        Ok(fields.page_count * fields.page_len as u64)
    }

    /// The file is as long as the meta says, and the root of the catalog is the page that it means, written no later than the meta.
    fn expect_sound(&self, store: &dyn Store, file_len: u64) -> Result<()> {
        let fields = self.meta.fields();
        if self.len()? > file_len {
            return Err(self.corrupt("the file was cut short: its last commit reaches beyond its end"));
        }
        let tree = Tree::from_record(&fields.catalog, SLOT_PAGES[self.slot])?;
        if tree.depth == 0 {
            return Ok(());
        }
        if is_slot(tree.root.get()) || tree.root.get() >= fields.page_count {
            return Err(self.corrupt("a meta whose catalog lies outside the file"));
        }
        let page = read_page(store, tree.root.get(), fields.page_len)?;
        page::verify(&page, tree.root)?;
        match page::header(&page).born.get() <= fields.txn.get() {
            true => Ok(()),
            false => Err(Error::Corrupt { page: tree.root.get(), what: "written after the meta that refers to it" }),
        }
    }
}

fn read_page(store: &dyn Store, no: u64, page_len: usize) -> Result<Vec<u8>> {
    let mut page = vec![0; page_len];
    store.read_at(&mut page, no * page_len as u64).map_err(Error::io("reading a page"))?;
    Ok(page)
}

/// The digest over the pages that the meta's transaction wrote, as they are now. `None` if the record does not name them.
fn digest(store: &dyn Store, meta: &Meta) -> Result<Option<u32>> {
    let Some(written) = written(meta) else { return Ok(None) };
    let mut parts = Vec::new();
    for no in written {
        parts.extend(page::digest_part(&read_page(store, no, meta.fields().page_len)?));
    }
    Ok(Some(crc32c::crc32c(&parts)))
}

/// The numbers of the pages that the meta's transaction wrote, if its record names them and they are not too many.
fn written(meta: &Meta) -> Option<Vec<u64>> {
    let fields = meta.fields();
    let records = space_log::records(meta.space_words())?;
    let record = records.last().filter(|record| record.txn == fields.txn)?;
    let written: Vec<Extent> = record.taken().filter(|extent| extent.end() <= fields.page_count).collect();
    let count: u64 = written.iter().map(|extent| extent.count).sum();
    let is_sound = count <= DIGEST_PAGES_MAX as u64 && !written.iter().any(Extent::has_slot);
    is_sound.then(|| written.into_iter().flat_map(Extent::pages).collect())
}

/// The pages that the transaction of a meta with this digest wrote, and where they lie. They are going to be written again, so what
/// was read must be what the digest was made of: once more, for a read that was right at open may be wrong now.
pub(crate) fn digest_pages(store: &dyn Store, meta: &Meta, slot: usize, expected: u32) -> Result<Vec<(u64, Vec<u8>)>> {
    let page_len = meta.fields().page_len;
    let (mut pages, mut parts) = (Vec::new(), Vec::new());
    for no in written(meta).unwrap_or_default() {
        let page = read_page(store, no, page_len)?;
        parts.extend(page::digest_part(&page));
        pages.push((no * page_len as u64, page));
    }
    if crc32c::crc32c(&parts) != expected {
        let what = "the pages of the last commit differ from its digest";
        return Err(Error::Corrupt { page: SLOT_PAGES[slot], what });
    }
    Ok(pages)
}
