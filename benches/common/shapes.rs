//! Shapes of data: a search costs something else where keys are short, long, or begin alike.

use super::common::{self, Entry};

/// Entries of one kind.
pub struct Shape {
    pub name: &'static str,
    /// In random order; their keys differ.
    pub entries: Vec<Entry>,
    /// Keys that are not there, like those that are.
    pub missing: Vec<Vec<u8>>,
}

impl Shape {
    /// Half of the entries are there, and the keys of the others are missing.
    fn new(name: &'static str, mut entries: Vec<Entry>) -> Shape {
        entries.sort();
        entries.dedup_by(|one, two| one.0 == two.0);
        fastrand::Rng::with_seed(1).shuffle(&mut entries);
        let missing = entries.split_off(entries.len() / 2).into_iter().map(|(key, _)| key).collect();
        Shape { name, entries, missing }
    }
}

/// Keys of 24 and values of 150 random bytes: hashes and what they stand for.
pub fn records(count: usize) -> Shape {
    Shape::new("24 + 150", common::entries(count * 2))
}

/// Keys and values of 8 bytes: integers, which sort as they count.
pub fn integers(count: usize) -> Shape {
    let mut rng = fastrand::Rng::with_seed(2);
    let mut integer = || rng.u64(..).to_be_bytes().to_vec();
    Shape::new("8 + 8", (0..count * 2).map(|_| (integer(), integer())).collect())
}

/// Keys that share long beginnings, and values of 60 bytes: paths.
pub fn paths(count: usize) -> Shape {
    let mut rng = fastrand::Rng::with_seed(3);
    let mut path = || {
        let [host, section, page] = [40, 60, u32::MAX].map(|end| rng.u32(..end));
        format!("https://www.example-{host:02}.org/library/section-{section:02}/articles/{page:08x}").into_bytes()
    };
    Shape::new("paths + 60", (0..count * 2).map(|_| (path(), vec![7; 60])).collect())
}
