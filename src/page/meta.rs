//! The meta slots: the one place that is overwritten, and where everything starts.

use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::{PAGE_LEN_MAX, PAGE_LEN_MIN, PageNo, TreeRecord, TxnId};
use crate::error::{Error, Result};

/// The length of a meta, whatever the page size.
pub(crate) const META_LEN: usize = 4096;

pub(crate) const MAGIC: [u8; 8] = *b"folio\r\n\0";
pub(crate) const VERSION: u32 = 1;

/// How many words of space records a meta holds.
pub(crate) const SPACE_WORDS_MAX: usize = 496;

/// A digest is trusted only for transactions that wrote no more pages than this, so that checking it is quick.
pub(crate) const DIGEST_PAGES_MAX: usize = 256;

/// Flag: the file had as many pages as the meta says, on the disk, before the meta was written.
const WAS_AS_LONG: u32 = 1;

const SYNCED: u8 = 1;
const DIGEST: u8 = 2;
const BOOT: u8 = 3;

/// How a meta may be trusted. See the format text.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Trust {
    Synced,
    Digest(u32),
    Boot([u8; 16]),
}

/// A meta slot as it lies in the file.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, Clone)]
#[repr(C)]
pub(crate) struct Meta {
    magic: [u8; 8],
    version: U32,
    checksum: U32,
    page_len: U32,
    flags: U32,
    pub(crate) database_id: [u8; 16],
    txn: U64,
    page_count: U64,
    pub(crate) catalog: TreeRecord,
    log_head: U64,
    log_count: U64,
    trust: u8,
    zero: [u8; 3],
    digest: U32,
    boot_id: [u8; 16],
    space_len: U64,
    space: [U64; SPACE_WORDS_MAX],
}

const _: () = assert!(size_of::<Meta>() == META_LEN);

/// What a meta says of its transaction, beside trust and space records.
#[derive(Clone, Copy)]
pub(crate) struct MetaFields {
    pub(crate) page_len: usize,
    pub(crate) database_id: [u8; 16],
    pub(crate) txn: TxnId,
    pub(crate) page_count: u64,
    pub(crate) catalog: TreeRecord,
    pub(crate) log_head: PageNo,
    pub(crate) log_count: u64,
    /// The file had all those pages, on the disk, before this commit was written.
    pub(crate) was_as_long: bool,
}

/// What reading a slot came to.
pub(crate) enum Slot {
    Good(Box<Meta>),
    /// A folio database of another format version, whole or not.
    Version {
        found: u32,
        is_whole: bool,
    },
    /// The magic is there, the rest is damaged.
    Damaged,
    Foreign,
}

impl Meta {
    pub(crate) fn new(fields: MetaFields, trust: Trust, words: &[U64]) -> Box<Meta> {
        let mut meta = Meta::new_box_zeroed().expect("memory for a meta");
        meta.magic = MAGIC;
        meta.version = U32::new(VERSION);
        meta.page_len = U32::new(fields.page_len as u32);
        meta.flags = U32::new(if fields.was_as_long { WAS_AS_LONG } else { 0 });
        meta.database_id = fields.database_id;
        meta.txn = U64::new(fields.txn.get());
        meta.page_count = U64::new(fields.page_count);
        meta.catalog = fields.catalog;
        meta.log_head = U64::new(fields.log_head.get());
        meta.log_count = U64::new(fields.log_count);
        meta.space_len = U64::new(words.len() as u64);
        meta.space[..words.len()].copy_from_slice(words);
        meta.set_trust(trust);
        meta
    }

    /// Sets the trust, and the checksum with it.
    pub(crate) fn set_trust(&mut self, trust: Trust) {
        let (kind, digest, boot_id) = match trust {
            Trust::Synced => (SYNCED, 0, [0; 16]),
            Trust::Digest(digest) => (DIGEST, digest, [0; 16]),
            Trust::Boot(boot_id) => (BOOT, 0, boot_id),
        };
        self.trust = kind;
        self.digest = U32::new(digest);
        self.boot_id = boot_id;
        self.checksum = U32::new(self.computed_checksum());
    }

    fn computed_checksum(&self) -> u32 {
        let bytes = self.as_bytes();
        crc32c::crc32c_append(crc32c::crc32c(&bytes[..12]), &bytes[16..])
    }

    /// Reads a slot.
    pub(crate) fn read(bytes: &[u8; META_LEN]) -> Slot {
        let meta = Meta::read_from_bytes(bytes).expect("a meta has the length of a slot");
        if meta.magic != MAGIC {
            return Slot::Foreign;
        }
        let is_whole = meta.checksum.get() == meta.computed_checksum();
        if meta.version.get() != VERSION {
            return Slot::Version { found: meta.version.get(), is_whole };
        }
        let page_len = meta.page_len.get() as usize;
        let sound = is_whole
            && page_len.is_power_of_two()
            && (PAGE_LEN_MIN..=PAGE_LEN_MAX).contains(&page_len)
            && meta.space_len.get() <= SPACE_WORDS_MAX as u64
            && (SYNCED..=BOOT).contains(&meta.trust);
        if sound { Slot::Good(Box::new(meta)) } else { Slot::Damaged }
    }

    pub(crate) fn fields(&self) -> MetaFields {
        MetaFields {
            page_len: self.page_len.get() as usize,
            database_id: self.database_id,
            txn: self.txn(),
            page_count: self.page_count.get(),
            catalog: self.catalog,
            log_head: PageNo::new(self.log_head.get()),
            log_count: self.log_count.get(),
            was_as_long: self.flags.get() & WAS_AS_LONG != 0,
        }
    }

    pub(crate) fn txn(&self) -> TxnId {
        TxnId::new(self.txn.get())
    }

    pub(crate) fn trust(&self) -> Trust {
        match self.trust {
            SYNCED => Trust::Synced,
            DIGEST => Trust::Digest(self.digest.get()),
            _ => Trust::Boot(self.boot_id),
        }
    }

    /// The words of the space records.
    pub(crate) fn space_words(&self) -> &[U64] {
        &self.space[..self.space_len.get() as usize]
    }

    /// What in it is not as the format has it, though readers pass over it.
    pub(crate) fn stray_bytes(&self) -> Option<&'static str> {
        let (_, behind) = self.space.split_at(self.space_words().len());
        let checks = [
            (self.flags.get() & !WAS_AS_LONG != 0, "unknown flags in the meta"),
            (
                self.log_count == U64::ZERO && self.log_head != U64::ZERO,
                "the number of a log page, where there is none",
            ),
            (self.trust != DIGEST && self.digest != U32::ZERO, "a digest that is not zero, though nothing uses it"),
            (self.trust != BOOT && self.boot_id != [0; 16], "a boot id that is not zero, though nothing uses it"),
            (behind.iter().any(|&word| word != U64::ZERO), "words behind the space records that are not zero"),
            (!self.catalog.is_clean() || self.zero != [0; 3], "bytes that are not zero, though nothing uses them"),
        ];
        checks.into_iter().find_map(|(is_stray, what)| is_stray.then_some(what))
    }

    /// The error for space records in the meta that make no sense.
    pub(crate) fn bad_space(&self) -> Error {
        Error::Corrupt { page: 0, what: "the space records in the meta do not come out even" }
    }
}

/// The page size must be one of the five.
pub(crate) fn check_page_len(page_len: u64) -> Result<usize> {
    match page_len {
        4096 | 8192 | 16384 | 32768 | 65536 => Ok(page_len as usize),
        _ => Err(Error::PageSize { found: page_len }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_meta_reads_back_and_a_flipped_bit_is_found() {
        let fields = MetaFields {
            page_len: 8192,
            database_id: [7; 16],
            txn: TxnId::new(42),
            page_count: 99,
            catalog: TreeRecord { root: U64::new(5), entry_count: U64::new(3), depth: 1, zero: [0; 7] },
            log_head: PageNo::new(11),
            log_count: 1,
            was_as_long: true,
        };
        let meta = Meta::new(fields, Trust::Digest(0xfeed), &[U64::new(9)]);
        let mut bytes: [u8; META_LEN] = meta.as_bytes().try_into().unwrap();
        let Slot::Good(read) = Meta::read(&bytes) else { panic!("a sound meta") };
        assert_eq!((read.txn(), read.trust(), read.fields().page_count), (TxnId::new(42), Trust::Digest(0xfeed), 99));
        for trust in [Trust::Synced, Trust::Digest(0xfeed), Trust::Boot([7; 16])] {
            assert_eq!(Meta::new(fields, trust, &[U64::new(9)]).stray_bytes(), None);
        }
        for at in [0, 8, 13, 40, 100, 4095] {
            bytes[at] ^= 4;
            assert!(!matches!(Meta::read(&bytes), Slot::Good(_)), "byte {at}");
            bytes[at] ^= 4;
        }
    }
}
