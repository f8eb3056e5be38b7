//! Which meta slot to trust at open. Recovery reads a few pages and writes nothing, so that a second crash finds what the
//! first one left.

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
    /// The other slot holds a later meta, which was not trusted.
    pub(crate) is_other_refused: bool,
    /// The other slot has the same commit, so that one survives the loss of either.
    pub(crate) is_sealed: bool,
    /// The newest transaction that is known to be on the disk, and not in the page cache alone; 0 for none.
    pub(crate) durable: TxnId,
    pub(crate) file_len: u64,
}

/// Reads both slots and picks the newest that can be trusted.
pub(crate) fn recover(store: &dyn Store) -> Result<Recovered> {
    let file_len = store.len().map_err(Error::io("reading the length of the database"))?;
    let mut slots = read_slots(store, file_len)?;
    // Of two that say the same, the one that asks for no proof.
    slots.sort_by_key(|(slot, meta)| (std::cmp::Reverse(meta.txn()), meta.trust() != Trust::Synced, *slot));
    let mut is_other_refused = false;
    let is_sealed = slots.len() == 2 && slots.iter().all(|(_, meta)| meta.txn() == slots[0].1.txn());
    // When a slot is written the other one holds the last durable commit (I4).
    let durable = slots.get(1).map_or(TxnId::default(), |(_, older)| older.txn());
    for (slot, meta) in slots {
        if is_trusted(store, &meta, file_len)? {
            return Ok(Recovered { meta, slot, is_other_refused, is_sealed, durable, file_len });
        }
        is_other_refused = true;
    }
    Err(Error::Corrupt { page: 0, what: "no meta slot can be trusted, or the file was cut short" })
}

/// The slots that pass their checksums.
fn read_slots(store: &dyn Store, file_len: u64) -> Result<Vec<(usize, Box<Meta>)>> {
    let mut slots = Vec::new();
    let mut other_version = None;
    let mut is_folio = false;
    let mut visit = |slot, read: Slot| match read {
        Slot::Good(meta) => slots.push((slot, meta)),
        Slot::Version(found) => other_version = Some(found),
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
        (false, _) => Ok(slots),
        (true, Some(found)) => Err(Error::Version { found, supported: VERSION }),
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

/// Whether everything that a meta refers to can be relied on to be in the store.
fn is_trusted(store: &dyn Store, meta: &Meta, file_len: u64) -> Result<bool> {
    let fields = meta.fields();
    let fits = fields.page_count >= BESIDE_END
        && fields.page_count < PAGE_COUNT_MAX
        && fields.page_count * fields.page_len as u64 <= file_len;
    let is_txn = (1..=TXN_MAX).contains(&fields.txn.get());
    if !fits || !is_txn || !is_root_sound(store, meta)? {
        return Ok(false);
    }
    match meta.trust() {
        Trust::Synced => Ok(true),
        Trust::Boot(boot_id) => Ok(store.boot_id() == Some(boot_id)),
        Trust::Digest(expected) => Ok(digest(store, meta)? == Some(expected)),
    }
}

/// The root of the catalog must be the page that the meta means, written no later than the meta.
fn is_root_sound(store: &dyn Store, meta: &Meta) -> Result<bool> {
    let fields = meta.fields();
    let Ok(tree) = Tree::from_record(&fields.catalog, 0) else { return Ok(false) };
    if tree.depth == 0 {
        return Ok(true);
    }
    if is_slot(tree.root.get()) || tree.root.get() >= fields.page_count {
        return Ok(false);
    }
    let page = read_page(store, tree.root.get(), fields.page_len)?;
    Ok(page::verify(&page, tree.root).is_ok() && page::header(&page).born.get() <= fields.txn.get())
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
pub(crate) fn digest_pages(store: &dyn Store, meta: &Meta, expected: u32) -> Result<Vec<(u64, Vec<u8>)>> {
    let page_len = meta.fields().page_len;
    let (mut pages, mut parts) = (Vec::new(), Vec::new());
    for no in written(meta).unwrap_or_default() {
        let page = read_page(store, no, page_len)?;
        parts.extend(page::digest_part(&page));
        pages.push((no * page_len as u64, page));
    }
    if crc32c::crc32c(&parts) != expected {
        return Err(Error::Corrupt { page: 0, what: "the pages of the last commit differ from its digest" });
    }
    Ok(pages)
}
