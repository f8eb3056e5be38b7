//! Any bytes as a file: opened, walked, written, checked. What it says may be wrong; what the library does about it may not: no panic, no
//! end that never comes, no memory without bound.

use folio::disk::MemoryStore;
use folio::{Database, Error, Options, Result, Verify, WriteTxn};

use crate::input::Input;

const PAGE: usize = 4096;
const SLOTS: [usize; 2] = [0, 8];

/// No walk over a file of some dozen pages is longer.
const WALK_MAX: usize = 1 << 20;

/// Runs one input. Its last byte chooses how much is verified.
pub fn run(bytes: &[u8]) {
    let verify = match bytes.last().copied().unwrap_or(0) % 4 {
        0 => Verify::Never,
        1 => Verify::Always,
        _ => Verify::Once,
    };
    let disk = MemoryStore::with_image(bytes);
    let options = Options::new().create(false).verify(verify).dirty_limit(1 << 18).max_size(64 << 20);
    let Ok(db) = options.open_store(&disk) else { return };
    let is_sound = db.check().is_ok_and(|report| !report.is_damaged());
    expect_known(read(&db));
    for step in 0..8 {
        expect_known(write(&db, step));
        expect_known(read(&db));
    }
    if is_sound {
        // What was found sound stays so; with `Verify::Never`, too, since the check looks at everything.
        let report = db.check().expect("a check");
        assert!(!report.is_damaged(), "{:#?}", report.problems);
    }
    drop(db);
    if let Ok(db) = options.open_store(&disk) {
        expect_known(read(&db));
    }
}

/// Of a file that says anything, any error may come but those that speak of the caller or of the system.
fn expect_known<T>(result: Result<T>) {
    match result {
        Ok(_) | Err(Error::Corrupt { .. } | Error::Full { .. } | Error::Broken | Error::KeyOrder) => {}
        Err(error) => panic!("an error of another kind: {error:?}"),
    }
}

fn read(db: &Database) -> Result<()> {
    let txn = db.begin_read()?;
    let _figures = db.stats().map(|stats| stats.used_pages);
    for name in txn.buckets()? {
        let Some(bucket) = txn.bucket(&name)? else { continue };
        let mut keys = Vec::new();
        for (n, entry) in bucket.iter().enumerate() {
            assert!(n < WALK_MAX, "a walk without an end");
            let Ok((key, value)) = entry else { break };
            let _touched = value.iter().fold(0u8, |sum, byte| sum.wrapping_add(*byte));
            if keys.len() < 20 {
                keys.push(key);
            }
        }
        let walked = bucket.iter().rev().take(WALK_MAX).take_while(|entry| entry.is_ok()).count();
        assert!(walked < WALK_MAX, "a walk without an end");
        for key in keys.iter().copied().chain([&b""[..], b"k", &[0xff; 30]]) {
            let _any = (bucket.get(key).is_ok(), bucket.rank(key).is_ok(), bucket.nth(bucket.len() / 2).is_ok());
            let _any = (bucket.range(key..).next().is_some(), bucket.range(..=key).next_back().is_some());
        }
        let _any =
            (bucket.get_many(&keys).is_ok(), bucket.stats().is_ok(), bucket.first().is_ok(), bucket.last().is_ok());
    }
    Ok(())
}

fn write(db: &Database, step: u8) -> Result<()> {
    let names = db.begin_read()?.buckets()?;
    let name = names.get(usize::from(step / 2)).map_or("new", String::as_str);
    db.exec(|txn: &mut WriteTxn| {
        let mut bucket = txn.bucket_mut(name)?;
        let some: Vec<Vec<u8>> = bucket.iter().step_by(5).take(10).flatten().map(|(key, _)| key.to_vec()).collect();
        match step {
            0 | 3 => some.iter().enumerate().try_for_each(|(n, key)| bucket.put(key, vec![step; n * 300]))?,
            1 | 4 => some.iter().try_for_each(|key| bucket.delete(key).map(|_| ()))?,
            2 => (0..100u8).try_for_each(|n| bucket.put([n, step, n], vec![n; 150]))?,
            5 => {
                if let [first, .., last] = &some[..] {
                    bucket.delete_range(first..last)?;
                }
            }
            6 => drop(txn.drop_bucket(name)?),
            _ => bucket.put("large", vec![step; 20_000])?,
        }
        Ok(())
    })
}

/// Makes checksums and page numbers right, and the slots trusted, so that what else is wrong gets past them. Cuts off what is no whole
/// page.
pub fn mend(bytes: &mut [u8]) {
    for (no, page) in bytes.chunks_exact_mut(PAGE).enumerate() {
        if SLOTS.contains(&no) {
            page[..8].copy_from_slice(b"folio\r\n\0");
            page[8..12].copy_from_slice(&1u32.to_le_bytes());
            page[16..20].copy_from_slice(&(PAGE as u32).to_le_bytes());
            page[96] = 1;
            page[100..120].fill(0);
            let checksum = crc32c::crc32c_append(crc32c::crc32c(&page[..12]), &page[16..]);
            page[12..16].copy_from_slice(&checksum.to_le_bytes());
        } else if (1..=3).contains(&page[4]) {
            page[8..16].copy_from_slice(&(no as u64).to_le_bytes());
            let checksum = crc32c::crc32c(&page[4..]);
            page[..4].copy_from_slice(&checksum.to_le_bytes());
        }
    }
}

/// Changes one thing that means something, as `choices` say: a field of a slot or a header, a slot of a page, a part of a record.
pub fn forge(bytes: &mut [u8], choices: &[u8]) {
    let mut input = Input(choices);
    let pages = bytes.len() / PAGE;
    if pages < 16 {
        return;
    }
    let with_header: Vec<usize> = (0..pages).filter(|no| !SLOTS.contains(no) && bytes[no * PAGE + 4] != 0).collect();
    let wide = match input.byte() % 6 {
        0 => 0,
        1 => u64::MAX,
        2 => 1 << 63,
        3 => pages as u64 + u64::from(input.byte() % 3),
        4 => u64::from(input.number()),
        // A page that is there: a child that is shared, a cycle.
        _ => with_header.get(usize::from(input.byte()) % with_header.len().max(1)).copied().unwrap_or(0) as u64,
    };
    let narrow = [wide as u8, (wide >> 8) as u8];
    let Some(&no) = with_header.get(usize::from(input.byte()) % (with_header.len() + 1)) else {
        let at = SLOTS[usize::from(input.byte()) % 2] * PAGE;
        let field = [40, 48, 56, 64, 72, 80, 88, 120, 128, 136, 144, 152][usize::from(input.byte()) % 12];
        return bytes[at + field..at + field + 8].copy_from_slice(&wide.to_le_bytes());
    };
    let page = &mut bytes[no * PAGE..][..PAGE];
    let count = usize::from(u16::from_le_bytes([page[6], page[7]])).min(PAGE / 32);
    let prefix_len = usize::from(u16::from_le_bytes([page[28], page[29]])).min(PAGE / 4);
    let i = usize::from(input.byte()) % count.max(1);
    let arrays = 32 + if page[4] == 2 { prefix_len.next_multiple_of(8) } else { 0 };
    let (slot, child, place) = (arrays + i * 8, arrays + count * 4 + i * 8, arrays + count * 12 + i * 4);
    let record = |page: &[u8], at: usize| usize::from(u16::from_le_bytes([page[at], page[at + 1]])).min(PAGE - 40);
    match (page[4], input.byte() % 12) {
        (_, 0) => page[4] = narrow[0] % 4,
        (_, 1) => page[5] = narrow[0],
        (_, 2) => page[6..8].copy_from_slice(&narrow),
        (_, 3) => page[24..26].copy_from_slice(&narrow),
        (_, 4) => page[26 + usize::from(input.byte() % 3) * 2] = narrow[0],
        (_, 5) => page[16..24].copy_from_slice(&wide.to_le_bytes()),
        (2, 6 | 7) => page[child..child + 8].copy_from_slice(&wide.to_le_bytes()),
        (2, 8) => page[place..place + 2].copy_from_slice(&narrow),
        (2, 9) => page[place + 2] = narrow[0],
        (2, 10) => {
            let at = record(page, place);
            page[at..at + 8].copy_from_slice(&wide.to_le_bytes());
        }
        (2, _) => page[arrays + i * 4 + usize::from(input.byte() % 4)] = narrow[0],
        (_, 6) => page[slot + 4..slot + 6].copy_from_slice(&narrow),
        (_, 7) => page[slot + 6] = narrow[0],
        (_, 8) => {
            let at = record(page, slot + 4);
            page[at + usize::from(input.byte() % 2)] = narrow[0];
        }
        (_, 9 | 10) => {
            // In the value: a tree record of the catalog, a reference to a large value.
            let at = (record(page, slot + 4) + 2 + usize::from(page[slot + 6]) + usize::from(input.byte() % 4) * 8)
                .min(PAGE - 8);
            page[at..at + 8].copy_from_slice(&wide.to_le_bytes());
        }
        _ => {
            let at = 32 + usize::from(input.number()) % (PAGE - 32);
            page[at] = narrow[0];
        }
    }
}
