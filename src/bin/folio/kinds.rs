//! The pages of a whole file by kind: how many there are of each. `stat` and `map` show them.

use folio::{PageKind, PageMap};

/// All kinds, in the order in which they are shown.
pub const KINDS: [PageKind; 8] = [
    PageKind::Meta,
    PageKind::SpaceLog,
    PageKind::Branch,
    PageKind::Leaf,
    PageKind::Large,
    PageKind::Pending,
    PageKind::Free,
    PageKind::Unknown,
];

/// A number of pages for each of [`KINDS`].
pub type Counts = [u64; KINDS.len()];

/// The place of a kind in [`KINDS`]. A kind that this tool does not know counts as unknown.
pub fn index(kind: PageKind) -> usize {
    KINDS.iter().position(|&known| known == kind).unwrap_or(KINDS.len() - 1)
}

/// The name of a kind in JSON and in pictures.
pub fn key(kind: PageKind) -> String {
    kind.to_string().replace(' ', "_")
}

pub fn count(map: &PageMap) -> Counts {
    let mut counts = [0; KINDS.len()];
    for run in map.runs() {
        counts[index(run.kind)] += run.count;
    }
    counts
}
