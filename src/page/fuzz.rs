//! The harness of the fuzz target `page`: any bytes as a page. No view panics, whatever it is shown; and the edits of a page
//! that passed verification do what they do to a sorted list, and leave it verifiable.
//!
//! The input: a byte that chooses the page size, a byte with the length of the script, two bytes with the length of the front part,
//! then the script, the front part, and the rest, which goes to the end of the page, where the records are.

use super::branch::{self, Branch};
use super::leaf::{self, Leaf, Value};
use super::meta::{META_LEN, Meta, Slot};
use super::space_log::{self, LogPage};
use super::{BRANCH, LEAF, PAGE_LEN_MIN, PageNo, deviations, header, init, inline_max, key_max, verify_structure};

/// Runs one input.
pub(crate) fn run(input: &[u8]) {
    let Some((&[size, script_len, low, high], rest)) = input.split_first_chunk::<4>() else { return };
    let page_len = PAGE_LEN_MIN << (size % 5);
    let (script, rest) = rest.split_at(usize::from(script_len).min(rest.len()));
    let (front, back) = rest.split_at(usize::from(u16::from_le_bytes([low, high])).min(rest.len()));
    let mut page = vec![0; page_len];
    let (front, back) = (&front[..front.len().min(page_len)], &back[..back.len().min(page_len)]);
    page[..front.len()].copy_from_slice(front);
    page[page_len - back.len()..].copy_from_slice(back);

    read(&page, script);
    read_meta(&page);
    if verify_structure(&page).is_err() {
        return;
    }
    let mut script = Script(script);
    match header(&page).kind {
        LEAF => edit_leaf(&mut page, &mut script),
        BRANCH => edit_branch(&mut page, &mut script),
        _ => assert!(LogPage::view(&page).is_ok_and(|log| space_log::records(log.words).is_some())),
    }
}

/// Everything that reads a page; `key` is a key to look for.
fn read(page: &[u8], key: &[u8]) {
    let is_sound = verify_structure(page).is_ok();
    if is_sound {
        deviations(page, |_| {});
    }
    let keys = [key, &[], &[0xff; 40]];
    if let Ok(leaf) = Leaf::view(page) {
        for i in 0..=leaf.len() {
            let entry = leaf.entry(i);
            assert!(entry.is_ok() == (i < leaf.len()) || !is_sound);
            if let (Ok((key, value)), true) = (entry, is_sound) {
                assert_eq!((leaf.get(key).unwrap(), leaf.search(key).unwrap()), (Some(value), Ok(i)));
            }
            let _seen = (leaf.key(i).is_ok(), leaf.value(i).is_ok());
        }
        for key in keys {
            let _seen = (leaf.get(key).is_ok(), leaf.search(key).is_ok(), leaf.near(key));
            let place = leaf.search_to_change(key);
            assert!(!is_sound || place.unwrap() == leaf.search(key).unwrap());
        }
        let _seen = (leaf::live_len(page), leaf::has_large(page));
    }
    let level = usize::from(header(page).level);
    if let Ok(branch) = Branch::view(page, level) {
        assert!(Branch::view(page, level + 1).is_err());
        for i in 0..=branch.len() {
            let separator = branch.separator(i);
            assert!(separator.is_ok() == (i < branch.len()) || !is_sound);
            if let (Ok(separator), true, true) = (separator, is_sound, i > 0) {
                assert_eq!(branch.child_for(&separator).unwrap(), i);
            }
            let _seen = (branch.child(i).is_ok(), branch.entry_count(i).is_ok());
        }
        for key in keys {
            assert!(branch.child_for(key).is_ok_and(|i| i < branch.len()) || !is_sound);
            let _seen = branch.child_for(key).and_then(|i| branch.child(i)).is_ok();
        }
        let _seen = (branch.entries_in(0..branch.len()).is_ok(), branch::live_len(page));
    }
    if let Ok(log) = LogPage::view(page) {
        let records = space_log::records(log.words).unwrap_or_default();
        let _seen: u64 = records.iter().flat_map(|record| record.taken().chain(record.freed())).map(|e| e.count).sum();
    }
}

/// The page's beginning as a meta slot, with the checksum that it should have.
fn read_meta(page: &[u8]) {
    let mut bytes = [0; META_LEN];
    bytes.copy_from_slice(&page[..META_LEN]);
    let checksum = crc32c::crc32c_append(crc32c::crc32c(&bytes[..12]), &bytes[16..]);
    bytes[12..16].copy_from_slice(&checksum.to_le_bytes());
    if let Slot::Good(meta) = Meta::read(&bytes) {
        let fields = meta.fields();
        let _seen = (fields.page_count, meta.trust(), meta.stray_bytes());
        let _seen = space_log::records(meta.space_words()).map(|records| records.len());
    }
}

/// What to do, byte by byte; zeros when it has come to its end.
struct Script<'a>(&'a [u8]);

impl Script<'_> {
    fn byte(&mut self) -> u8 {
        self.0.split_off_first().copied().unwrap_or(0)
    }

    fn is_over(&self) -> bool {
        self.0.is_empty()
    }

    /// Some bytes: short ones of the script, or a long one of the same byte.
    fn bytes(&mut self, len_max: usize) -> Vec<u8> {
        let len = usize::from(self.byte());
        match len {
            0..200 => {
                let len = len.min(self.0.len()).min(len_max) % 24;
                self.0.split_off(..len).unwrap_or_default().to_vec()
            }
            _ => vec![self.byte(); (len - 199) * len_max / 56],
        }
    }
}

fn new_page(page_len: usize, kind: u8, level: usize) -> Vec<u8> {
    let mut page = vec![0; page_len];
    init(&mut page, kind, level as u8);
    page
}

type LeafModel = Vec<(Vec<u8>, Vec<u8>)>;

/// Entries with their values as they are stored: a reference to a large value is known by its length.
fn leaf_content(page: &[u8]) -> LeafModel {
    let Ok(leaf) = Leaf::view(page) else { return Vec::new() };
    let entries = (0..leaf.len()).map(|i| leaf.entry(i).expect("a verified leaf"));
    let stored = |value| match value {
        Value::Inline(bytes) => <[u8]>::to_vec(bytes),
        Value::Large(large) => zerocopy::IntoBytes::as_bytes(&large).to_vec(),
    };
    entries.map(|(key, value)| (key.to_vec(), stored(value))).collect()
}

fn edit_leaf(page: &mut [u8], script: &mut Script<'_>) {
    let page_len = page.len();
    let mut model = leaf_content(page);
    while !script.is_over() && !model.is_empty() {
        let what = script.byte();
        let key = match what % 3 {
            0 => model[usize::from(script.byte()) % model.len()].0.clone(),
            _ => script.bytes(key_max(page_len)),
        };
        if key.len() > key_max(page_len) {
            // A forged page may hold longer keys than anyone can ask for.
            continue;
        }
        let value = script.bytes(inline_max(page_len).saturating_sub(leaf::inline_entry_len(&key, 0)));
        let place = Leaf::view(page).expect("not empty").search(&key).expect("a verified leaf");
        assert_eq!(place, model.binary_search_by(|(other, _)| other.cmp(&key)));
        match (place, what / 3 % 4) {
            (Ok(i), 0) => {
                leaf::remove(page, i);
                model.remove(i);
            }
            (Ok(i), 1) => {
                let end = (i + 1 + usize::from(what / 64)).min(model.len());
                if end - i < model.len() {
                    leaf::remove_range(page, i..end);
                    model.drain(i..end);
                }
            }
            (Ok(i), 2) => {
                model[i].1.fill(what);
                assert!(leaf::replace(page, i, Value::Inline(&model[i].1)), "as long as the one before");
            }
            (Ok(i), _) => {
                if leaf::replace(page, i, Value::Inline(&value)) {
                    model[i].1 = value;
                }
            }
            (Err(i), at_edge) => {
                let inline = Value::Inline(&value);
                let mut before = page.to_vec();
                if leaf::insert(page, i, &key, inline) {
                    model.insert(i, (key, value));
                } else {
                    assert_eq!(leaf_content(page), model, "a refused insert changes no entry");
                    before.copy_from_slice(page);
                    let mut right = new_page(page_len, LEAF, 0);
                    let at_edge = at_edge == 0 && i == model.len();
                    let Some(cut) = leaf::choose_cut(page, i, &key, &inline, at_edge) else {
                        halve(page, &mut model);
                        continue;
                    };
                    leaf::split(&mut before, &mut right, &cut, i, &key, inline);
                    model.insert(i, (key, value));
                    let (left_part, right_part) = (leaf_content(&before), leaf_content(&right));
                    assert!(left_part.last().is_none_or(|(key, _)| *key < cut.separator));
                    assert!(cut.separator <= right_part[0].0);
                    assert_eq!([left_part.clone(), right_part].concat(), model);
                    verify_structure(&right).expect("the right half");
                    page.copy_from_slice(&before);
                    model = left_part;
                }
            }
        }
        assert_eq!(leaf_content(page), model);
        if !model.is_empty() {
            verify_structure(page).expect("an edited leaf");
        }
    }
}

/// Halves a leaf and goes on with the left half.
fn halve(page: &mut [u8], model: &mut LeafModel) {
    let mut right = new_page(page.len(), LEAF, 0);
    let separator = leaf::halve(page, &mut right);
    let right_part = model.split_off(leaf_content(page).len());
    assert!(model.last().is_some_and(|(key, _)| *key < separator) && separator <= right_part[0].0);
    assert_eq!((leaf_content(page), leaf_content(&right)), (model.clone(), right_part));
    verify_structure(page).expect("the left half");
    verify_structure(&right).expect("the right half");
}

type BranchModel = Vec<(Vec<u8>, u64, u64)>;

fn branch_content(page: &[u8]) -> BranchModel {
    let branch = Branch::view(page, usize::from(header(page).level)).expect("a verified branch");
    let part = |i| {
        let (key, no) = (branch.separator(i).expect("verified"), branch.child(i).expect("verified"));
        (key, no.get(), branch.entry_count(i).expect("verified"))
    };
    (0..branch.len()).map(part).collect()
}

fn edit_branch(page: &mut [u8], script: &mut Script<'_>) {
    let (page_len, level) = (page.len(), usize::from(header(page).level));
    let mut model = branch_content(page);
    while !script.is_over() && !model.is_empty() {
        let what = script.byte();
        let key = script.bytes(key_max(page_len));
        let slot = Branch::view(page, level).expect("not empty").child_for(&key).expect("a verified branch");
        assert_eq!(slot, model[1..].iter().take_while(|(separator, ..)| *separator <= key).count());
        let no = u64::from(what) + 2;
        match what % 4 {
            0 if model.len() > 1 => {
                branch::remove(page, slot);
                model.remove(slot);
                model[0].0.clear();
            }
            1 => {
                branch::set_child(page, slot, PageNo::new(no));
                branch::set_entry_count(page, slot, no * 3);
                (model[slot].1, model[slot].2) = (no, no * 3);
            }
            _ if key.is_empty() || model[slot].0 == key => {}
            at_edge => {
                let new = (key, no, u64::from(what));
                let mut left = page.to_vec();
                if branch::insert(page, slot + 1, &new.0, PageNo::new(new.1), new.2) {
                    model.insert(slot + 1, new);
                } else {
                    assert!(left == page, "a refused insert changes nothing");
                    let mut right = new_page(page_len, BRANCH, level);
                    let at_edge = at_edge == 3 && slot + 1 == model.len();
                    let separator =
                        branch::split(&mut left, &mut right, slot + 1, &new.0, PageNo::new(new.1), new.2, at_edge);
                    model.insert(slot + 1, new);
                    verify_structure(&right).expect("the right half");
                    let (left_part, mut right_part) = (branch_content(&left), branch_content(&right));
                    right_part[0].0.clone_from(&separator);
                    assert_eq!([left_part.clone(), right_part].concat(), model);
                    assert!(branch::merged_len(&left, &separator, &right) > page_len);
                    page.copy_from_slice(&left);
                    model = left_part;
                }
            }
        }
        verify_structure(page).expect("an edited branch");
        assert_eq!(branch_content(page), model);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The inputs that fuzzing found worth keeping.
    #[test]
    fn the_corpus() {
        let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz/corpus/page");
        let mut count = 0;
        for file in std::fs::read_dir(directory).expect("the corpus is in the repository") {
            run(&std::fs::read(file.unwrap().path()).unwrap());
            count += 1;
        }
        assert!(count >= 8, "{count} inputs");
    }
}
