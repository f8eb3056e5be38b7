//! The data: keys and values that follow from a seed, and what the answers must therefore be.
//!
//! A key follows from the seed and its index, a value from its key and its version, so that the truth about any answer
//! can be computed again and never has to be stored. Versions count how often a key has been overwritten. No two
//! indices give the same key, so an index that was never stored gives a key that is not there.
//!
//! To add a data set: one line in [`DATA_SETS`].

use crate::engine::Result;

/// The shape of the entries.
#[derive(Debug, PartialEq, Eq)]
pub struct DataSet {
    pub name: &'static str,
    /// At least 8, which is what makes keys unique.
    pub key_len: usize,
    pub value_len: usize,
}

pub const DATA_SETS: &[DataSet] = &[
    DataSet { name: "24+150", key_len: 24, value_len: 150 },
    DataSet { name: "24+1000", key_len: 24, value_len: 1000 },
];

/// Indices from here on are never stored: their keys are the ones to miss.
pub const MISSING: u64 = 1 << 40;

const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

/// One-to-one, and good enough that its results look random (the finalizer of splitmix64).
fn mix(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

fn fill(bytes: &mut [u8], mut word: impl FnMut(u64) -> u64) {
    let mut chunks = bytes.chunks_exact_mut(8);
    let mut at = 0;
    for chunk in &mut chunks {
        chunk.copy_from_slice(&word(at).to_le_bytes());
        at += 1;
    }
    let rest = chunks.into_remainder();
    if !rest.is_empty() {
        let last = word(at).to_le_bytes();
        rest.copy_from_slice(&last[..rest.len()]);
    }
}

/// The first eight bytes as a number; what a workload reads of an entry to have used it.
#[inline]
pub fn head(bytes: &[u8]) -> u64 {
    match bytes.first_chunk() {
        Some(first) => u64::from_le_bytes(*first),
        None => short(bytes),
    }
}

/// The sum of all bytes, eight at a time; the last eight overlap where the length is not a multiple of eight.
#[inline]
pub fn words(bytes: &[u8]) -> u64 {
    let Some(last) = bytes.last_chunk() else { return short(bytes) };
    let (chunks, rest) = bytes.as_chunks::<8>();
    let sum = chunks.iter().fold(0u64, |sum, word| sum.wrapping_add(u64::from_le_bytes(*word)));
    if rest.is_empty() { sum } else { sum.wrapping_add(u64::from_le_bytes(*last)) }
}

fn short(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |sum, &byte| sum << 8 | u64::from(byte))
}

impl DataSet {
    pub fn named(name: &str) -> Result<&'static DataSet> {
        DATA_SETS.iter().find(|set| set.name == name).ok_or_else(|| {
            let names: Vec<_> = DATA_SETS.iter().map(|set| set.name).collect();
            format!("no data set is called {name}; there are: {}", names.join(", ")).into()
        })
    }

    pub fn entry_len(&self) -> usize {
        self.key_len + self.value_len
    }

    /// Writes the key of `index`. The first word is one-to-one in the index.
    pub fn key_into(&self, seed: u64, index: u64, key: &mut [u8]) {
        let first = mix(mix(seed).wrapping_add(index));
        fill(key, |at| if at == 0 { first } else { mix(first ^ at.wrapping_mul(GOLDEN)) });
    }

    /// Writes the value of `key` in its `version`; into a shorter slice, the start of it.
    ///
    /// The words do not depend on each other, so that making a value costs little beside storing it.
    pub fn value_into(&self, key: &[u8], version: u32, value: &mut [u8]) {
        let tail = key.last_chunk().map_or(0, |last| u64::from_le_bytes(*last));
        let start = mix(head(key) ^ tail.rotate_left(32) ^ u64::from(version).wrapping_mul(GOLDEN));
        fill(value, |at| {
            let word = start.wrapping_add(at.wrapping_mul(GOLDEN));
            (word ^ (word >> 32)).wrapping_mul(0x94d0_49bb_1331_11eb)
        });
    }

    pub fn value(&self, key: &[u8], version: u32) -> Vec<u8> {
        let mut value = vec![0; self.value_len];
        self.value_into(key, version, &mut value);
        value
    }

    /// [`head`] of the value, without the rest of it.
    pub fn value_head(&self, key: &[u8], version: u32) -> u64 {
        let mut start = [0; 8];
        let start = &mut start[..self.value_len.min(8)];
        self.value_into(key, version, start);
        head(start)
    }
}

/// What a full scan must have seen. The sums do not depend on the order of the entries, so they can be kept up to date
/// while entries change; the order is checked for itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Digest {
    pub entries: u64,
    /// Sum of a hash over key and value.
    pub hash: u64,
    /// Sum of [`words`] of key and value.
    pub words: u64,
    /// Sum of [`head`] of key and value.
    pub heads: u64,
}

impl Digest {
    pub fn add(&mut self, key: &[u8], value: &[u8]) {
        self.entries += 1;
        self.hash = self.hash.wrapping_add(hash(key, value));
        self.words = self.words.wrapping_add(words(key)).wrapping_add(words(value));
        self.heads = self.heads.wrapping_add(head(key)).wrapping_add(head(value));
    }

    pub fn remove(&mut self, key: &[u8], value: &[u8]) {
        self.entries -= 1;
        self.hash = self.hash.wrapping_sub(hash(key, value));
        self.words = self.words.wrapping_sub(words(key)).wrapping_sub(words(value));
        self.heads = self.heads.wrapping_sub(head(key)).wrapping_sub(head(value));
    }
}

/// Depends on every byte, on its place, and on which key goes with which value.
fn hash(key: &[u8], value: &[u8]) -> u64 {
    let mut hash = key.len() as u64;
    for part in [key, value] {
        for chunk in part.chunks(8) {
            hash = (hash ^ head(chunk)).wrapping_mul(GOLDEN).rotate_left(29);
        }
    }
    mix(hash)
}

/// The entries of a freshly loaded database.
pub struct Data {
    pub set: &'static DataSet,
    pub seed: u64,
    /// The keys in the order of their indices, which is random, end to end.
    pub keys: Vec<u8>,
    /// The same keys in their own order.
    pub sorted: Vec<u8>,
    pub digest: Digest,
    /// Place i holds the sum of the [`head`]s of the first i entries in order of key.
    heads_below: Vec<u64>,
}

impl Data {
    pub fn new(set: &'static DataSet, seed: u64, entries: usize) -> Data {
        let mut keys = vec![0; entries * set.key_len];
        for (index, key) in keys.chunks_exact_mut(set.key_len).enumerate() {
            set.key_into(seed, index as u64, key);
        }
        let mut order: Vec<&[u8]> = keys.chunks_exact(set.key_len).collect();
        order.sort_unstable();
        let sorted = order.concat();

        let mut digest = Digest::default();
        let mut heads_below = Vec::with_capacity(entries + 1);
        heads_below.push(0);
        let mut value = vec![0; set.value_len];
        for key in sorted.chunks_exact(set.key_len) {
            set.value_into(key, 0, &mut value);
            digest.add(key, &value);
            heads_below.push(digest.heads);
        }
        Data { set, seed, keys, sorted, digest, heads_below }
    }

    pub fn entries(&self) -> usize {
        self.heads_below.len() - 1
    }

    /// The key at a place in the order of keys.
    pub fn key_at(&self, place: usize) -> &[u8] {
        &self.sorted[place * self.set.key_len..][..self.set.key_len]
    }

    /// How many keys are below `key`.
    pub fn rank(&self, key: &[u8]) -> usize {
        let (mut low, mut high) = (0, self.entries());
        while low < high {
            let middle = low.midpoint(high);
            if self.key_at(middle) < key { low = middle + 1 } else { high = middle }
        }
        low
    }

    /// How many entries a range of at most `count` from `from` on has, and the sum of their [`head`]s.
    pub fn range(&self, from: &[u8], count: usize) -> (u64, u64) {
        let start = self.rank(from);
        let end = self.entries().min(start + count);
        ((end - start) as u64, self.heads_below[end].wrapping_sub(self.heads_below[start]))
    }
}

/// What has become of the entries since the load.
pub struct Changes {
    /// The version of each key by its index; inserted keys follow the loaded ones.
    versions: Vec<u32>,
    pub digest: Digest,
}

/// Puts that are ready to be made, so that no time goes into making them up. The memory is taken once, for the largest
/// plan, so that none of it is mistaken for the engine's.
pub struct Puts {
    set: &'static DataSet,
    indices: Vec<u64>,
    keys: Vec<u8>,
    values: Vec<u8>,
}

impl Changes {
    pub fn new(data: &Data) -> Changes {
        let versions = Vec::with_capacity(data.entries() * 2);
        let mut changes = Changes { versions, digest: Digest::default() };
        changes.reset(data);
        changes
    }

    /// Back to the freshly loaded state.
    pub fn reset(&mut self, data: &Data) {
        self.versions.clear();
        self.versions.resize(data.entries(), 0);
        self.digest = data.digest;
    }

    /// Thinks of `count` puts, each with even odds an overwrite of a random key or an insert of a new one, and counts
    /// them as made.
    pub fn plan(&mut self, data: &Data, count: usize, random: &mut fastrand::Rng, puts: &mut Puts) {
        let set = data.set;
        puts.indices.clear();
        puts.keys.resize(count * set.key_len, 0);
        puts.values.resize(count * set.value_len, 0);
        let keys = puts.keys.chunks_exact_mut(set.key_len);
        let values = puts.values.chunks_exact_mut(set.value_len);
        for (key, value) in keys.zip(values) {
            let overwrite = random.bool();
            let index = if overwrite { random.usize(..self.versions.len()) } else { self.versions.len() };
            set.key_into(data.seed, index as u64, key);
            if overwrite {
                set.value_into(key, self.versions[index], value);
                self.digest.remove(key, value);
                self.versions[index] += 1;
            } else {
                self.versions.push(0);
            }
            set.value_into(key, self.versions[index], value);
            self.digest.add(key, value);
            puts.indices.push(index as u64);
        }
    }

    /// The value that `index` must have now.
    pub fn value(&self, data: &Data, index: u64, key: &[u8]) -> Vec<u8> {
        data.set.value(key, self.versions[index as usize])
    }
}

impl Puts {
    /// Room for plans of up to `count` puts.
    pub fn new(set: &'static DataSet, count: usize) -> Puts {
        // Ones, not zeros: zeroed memory is only promised by the kernel until it is written to.
        let (keys, values) = (vec![1; count * set.key_len], vec![1; count * set.value_len]);
        Puts { set, indices: vec![1; count], keys, values }
    }

    pub fn len(&self) -> usize {
        self.indices.len()
    }

    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.keys.chunks_exact(self.set.key_len).zip(self.values.chunks_exact(self.set.value_len))
    }

    /// The indices and keys that were put.
    pub fn keys(&self) -> impl Iterator<Item = (u64, &[u8])> {
        self.indices.iter().copied().zip(self.keys.chunks_exact(self.set.key_len))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data() -> Data {
        Data::new(&DATA_SETS[0], 7, 1000)
    }

    #[test]
    fn the_start_of_a_value_is_the_value_of_a_shorter_slice() {
        let set = &DATA_SETS[0];
        let value = set.value(b"some key of any length", 3);
        let mut start = [0; 13];
        set.value_into(b"some key of any length", 3, &mut start);
        assert_eq!(start, value[..13]);
        assert_eq!(set.value_head(b"some key of any length", 3), head(&value));
    }

    #[test]
    fn words_read_every_byte() {
        for len in 0..40 {
            let mut bytes = vec![0u8; len];
            for at in 0..len {
                bytes[at] = 1;
                assert_ne!(words(&bytes), 0, "byte {at} of {len}");
                bytes[at] = 0;
            }
        }
    }

    #[test]
    fn range_agrees_with_the_sorted_keys() {
        let data = data();
        assert_eq!(data.range(data.key_at(0), 5000).0, 1000);
        assert_eq!(data.range(&[0xff; 24], 10), (0, 0));
        let mut above = data.key_at(500).to_vec();
        above.push(0);
        assert_eq!(data.rank(&above), 501);
        let expected: u64 = (501..511)
            .map(|place| data.key_at(place))
            .fold(0, |sum, key| sum.wrapping_add(head(key)).wrapping_add(data.set.value_head(key, 0)));
        assert_eq!(data.range(&above, 10), (10, expected));
    }

    #[test]
    fn a_digest_follows_the_puts() {
        let data = data();
        let mut changes = Changes::new(&data);
        let mut puts = Puts::new(data.set, 500);
        changes.plan(&data, 500, &mut fastrand::Rng::with_seed(1), &mut puts);
        let mut model: std::collections::BTreeMap<_, _> =
            data.keys.chunks_exact(data.set.key_len).map(|key| (key.to_vec(), data.set.value(key, 0))).collect();
        model.extend(puts.iter().map(|(key, value)| (key.to_vec(), value.to_vec())));
        let mut digest = Digest::default();
        for (key, value) in &model {
            digest.add(key, value);
        }
        assert_eq!(digest, changes.digest);
        for (index, key) in puts.keys() {
            assert_eq!(model[key], changes.value(&data, index, key));
        }
    }
}
