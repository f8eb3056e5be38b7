//! What the tests that look at raw bytes share: little-endian fields, and a CRC32C that is not the library's.
#![allow(dead_code)] // Each test file uses a part.

/// CRC32C (Castagnoli) of all parts, one behind the other.
pub fn crc32c(parts: &[&[u8]]) -> u32 {
    const TABLE: [u32; 256] = {
        let mut table = [0; 256];
        let mut i = 0;
        while i < 256 {
            let (mut crc, mut bit) = (i as u32, 0);
            while bit < 8 {
                crc = if crc & 1 == 1 { crc >> 1 ^ 0x82f6_3b78 } else { crc >> 1 };
                bit += 1;
            }
            table[i] = crc;
            i += 1;
        }
        table
    };
    let mut crc = !0;
    for part in parts {
        for &byte in *part {
            crc = TABLE[((crc ^ u32::from(byte)) & 0xff) as usize] ^ crc >> 8;
        }
    }
    !crc
}

/// Where the two meta slots are.
pub fn slots(page_size: usize) -> [usize; 2] {
    [0, 8 * page_size]
}

pub fn u16_at(bytes: &[u8], at: usize) -> usize {
    usize::from(u16::from_le_bytes(bytes[at..at + 2].try_into().unwrap()))
}

pub fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap())
}

pub fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap())
}

/// Overwrites bytes.
pub fn set(bytes: &mut [u8], at: usize, new: impl AsRef<[u8]>) {
    bytes[at..at + new.as_ref().len()].copy_from_slice(new.as_ref());
}

/// Gives a leaf, a branch or a page of the space log the checksum that it should have.
pub fn seal_page(page: &mut [u8]) {
    let checksum = crc32c(&[&page[4..]]);
    set(page, 0, checksum.to_le_bytes());
}

/// Makes a meta slot say that what it refers to was synced, and nothing else that would prove it.
pub fn say_synced(slot: &mut [u8]) {
    slot[96] = 1;
    slot[100..120].fill(0);
    seal_meta(slot);
}

/// Gives a meta slot the checksum that it should have.
pub fn seal_meta(slot: &mut [u8]) {
    let checksum = crc32c(&[&slot[..12], &slot[16..4096]]);
    set(slot, 12, checksum.to_le_bytes());
}
