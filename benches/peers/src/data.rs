//! The data: keys and values that follow from a seed, and what the answers must therefore be.
//!
//! A key follows from the seed and its index, a value from its key and its version, so that the truth about any answer
//! can be computed again and never has to be stored. Versions count how often a key has been overwritten. No two
//! indices give the same key, so an index that was never stored gives a key that is not there.
//!
//! To add a data set: one line in [`DATA_SETS`].

use std::fmt;

use crate::engine::Result;

/// The shape of the entries.
#[derive(Debug, PartialEq, Eq)]
pub struct DataSet {
    pub name: &'static str,
    pub about: &'static str,
    keys: Keys,
    /// At least 8, which is what makes keys unique.
    pub key_len: usize,
    pub value_len: usize,
    pub run: Run,
}

/// What a key is made of.
#[derive(Debug, PartialEq, Eq)]
enum Keys {
    /// Bytes that look random.
    Random,
    /// The index itself, as a big-endian integer of eight bytes: 0, 1, 2, ...
    Dense,
    /// An address on the web: one of 32 hosts, one of 16 sections, and 16 digits.
    Text,
}

/// What is run on a data set unless workloads are asked for by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Run {
    /// All workloads.
    Everything,
    /// Loads, gets and scans.
    Shape,
    /// The same, with a fifth of the entries.
    ShapeOfFew,
    /// Values that are written in one transaction and read, 64 of them.
    Large,
}

pub const DATA_SETS: &[DataSet] = &[
    DataSet {
        name: "24+150",
        about: "random keys of 24 bytes, values of 150",
        keys: Keys::Random,
        key_len: 24,
        value_len: 150,
        run: Run::Everything,
    },
    DataSet {
        name: "8+8-dense",
        about: "big-endian integers without gaps, values of 8 bytes",
        keys: Keys::Dense,
        key_len: 8,
        value_len: 8,
        run: Run::Shape,
    },
    DataSet {
        name: "8+8-random",
        about: "random keys of 8 bytes, values of 8",
        keys: Keys::Random,
        key_len: 8,
        value_len: 8,
        run: Run::Shape,
    },
    DataSet {
        name: "text+60",
        about: "addresses on the web of 48 bytes with long shared prefixes, values of 60",
        keys: Keys::Text,
        key_len: 48,
        value_len: 60,
        run: Run::Shape,
    },
    DataSet {
        name: "16+1000",
        about: "random keys of 16 bytes, values of 1,000",
        keys: Keys::Random,
        key_len: 16,
        value_len: 1000,
        run: Run::ShapeOfFew,
    },
    DataSet {
        name: "1MiB",
        about: "random keys of 24 bytes, values of 1 MiB",
        keys: Keys::Random,
        key_len: 24,
        value_len: 1 << 20,
        run: Run::Large,
    },
];

/// Entries of the data set of large values, however many there are of others.
const LARGE_ENTRIES: usize = 64;

/// The words of a text key, of the same length each.
const HOSTS: &[u8; 32 * 4] = b"\
    bankbikebirdboatbookcampcapecavechatcitycodecovedatadockdocsdune\
    facefarmfilmfoodfordgamegatehomelakemailmapsnewspeakreefroadshop";
const SECTIONS: &[u8; 16 * 8] = b"\
    archivesarticlescommentscontactsdownloadepisodesjournalsinvoices\
    packagesmessagespreviewsproductsprofilesprojectsreleasessettings";

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

/// Writes an address whose digits are `number`; its host and section follow from the number too.
fn text(number: u64, key: &mut [u8]) {
    let bits = mix(number) as usize;
    key.copy_from_slice(b"https://host.example/sections/id0123456789abcdef");
    key[8..12].copy_from_slice(&HOSTS[bits % 32 * 4..][..4]);
    key[21..29].copy_from_slice(&SECTIONS[bits / 32 % 16 * 8..][..8]);
    for (digit, shift) in key[32..].iter_mut().zip((0..64).step_by(4).rev()) {
        *digit = b"0123456789abcdef"[(number >> shift & 15) as usize];
    }
}

fn short(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |sum, &byte| sum << 8 | u64::from(byte))
}

/// The names of all of them.
pub fn names() -> impl Iterator<Item = &'static str> {
    DATA_SETS.iter().map(|set| set.name)
}

impl DataSet {
    pub fn named(name: &str) -> Result<&'static DataSet> {
        DATA_SETS.iter().find(|set| set.name == name).ok_or_else(|| {
            let names: Vec<_> = names().collect();
            format!("no data set is called {name}; there are: {}", names.join(", ")).into()
        })
    }

    /// Those that the names mean, a comma between them; `all` means each of them.
    pub fn all_named(names: &[String]) -> Result<Vec<&'static DataSet>> {
        if names.iter().any(|name| name == "all") {
            return Ok(DATA_SETS.iter().collect());
        }
        names.iter().map(|name| DataSet::named(name)).collect()
    }

    pub fn entry_len(&self) -> usize {
        self.key_len + self.value_len
    }

    /// How many entries to load where a run asks for `entries`.
    pub fn entries(&self, entries: usize) -> usize {
        match self.run {
            Run::Everything | Run::Shape => entries,
            Run::ShapeOfFew => entries.div_ceil(5),
            Run::Large => LARGE_ENTRIES,
        }
    }

    /// Writes the key of `index`. What makes it is one-to-one in the index.
    pub fn key_into(&self, seed: u64, index: u64, key: &mut [u8]) {
        let first = mix(mix(seed).wrapping_add(index));
        match self.keys {
            Keys::Random => fill(key, |at| if at == 0 { first } else { mix(first ^ at.wrapping_mul(GOLDEN)) }),
            Keys::Dense => key.copy_from_slice(&index.to_be_bytes()),
            Keys::Text => text(first, key),
        }
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
    /// The keys in their own order, end to end.
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
        Data { set, seed, sorted, digest, heads_below }
    }

    /// Which index comes at this place when the entries are loaded in random order.
    pub fn arrival(&self, at: usize) -> u64 {
        match self.set.keys {
            Keys::Random | Keys::Text => at as u64,
            Keys::Dense => shuffled(at as u64, self.entries() as u64),
        }
    }

    /// Writes the key of an index.
    pub fn key_into(&self, index: u64, key: &mut [u8]) {
        self.set.key_into(self.seed, index, key);
    }

    /// Writes the key of a random entry.
    pub fn random_key_into(&self, random: &mut fastrand::Rng, key: &mut [u8]) {
        self.key_into(random.u64(..self.entries() as u64), key);
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

/// A permutation of the numbers below `count` that looks random: one of the next power of two, taken again and again
/// until it leads back below `count`.
fn shuffled(number: u64, count: u64) -> u64 {
    let mask = count.next_power_of_two() - 1;
    let half = (mask.count_ones() / 2).max(1);
    let mut number = number;
    loop {
        for factor in [GOLDEN, 0xbf58_476d_1ce4_e5b9, 0x94d0_49bb_1331_11eb] {
            number ^= number >> half;
            number = number.wrapping_mul(factor | 1) & mask;
        }
        number ^= number >> half;
        if number < count {
            return number;
        }
    }
}

/// What a planned write does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// With even odds an overwrite of a random entry or an insert of a new one.
    Put,
    Overwrite,
    Insert,
    /// Of each entry at most once.
    Delete,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Change::Put => "put",
            Change::Overwrite => "overwrite",
            Change::Insert => "insert",
            Change::Delete => "delete",
        })
    }
}

/// What has become of the entries since the load.
pub struct Changes {
    /// The version of each key by its index; inserted keys follow the loaded ones.
    versions: Vec<u32>,
    /// Indices in the order in which they are deleted, and how many of them are.
    doomed: Vec<u32>,
    deleted: usize,
    pub digest: Digest,
}

/// Writes that are ready to be made, so that no time goes into making them up. The memory is taken once, for the largest
/// plan, so that none of it is mistaken for the engine's.
pub struct Plan {
    set: &'static DataSet,
    indices: Vec<u64>,
    keys: Vec<u8>,
    values: Vec<u8>,
}

impl Changes {
    pub fn new(data: &Data) -> Changes {
        let versions = Vec::with_capacity(data.entries() * 2);
        // Ones, not zeros: zeroed memory is only promised by the kernel until it is written to.
        let doomed = vec![1; data.entries()];
        let mut changes = Changes { versions, doomed, deleted: 0, digest: Digest::default() };
        changes.reset(data);
        changes
    }

    /// Back to the freshly loaded state.
    pub fn reset(&mut self, data: &Data) {
        self.versions.clear();
        self.versions.resize(data.entries(), 0);
        self.deleted = 0;
        self.digest = data.digest;
    }

    /// Whether entries were deleted: others can no longer be overwritten.
    pub fn has_deleted(&self) -> bool {
        self.deleted > 0
    }

    /// Thinks of `count` changes and counts them as made.
    pub fn plan(&mut self, data: &Data, change: Change, count: usize, random: &mut fastrand::Rng, plan: &mut Plan) {
        let set = data.set;
        if change == Change::Delete && self.deleted == 0 {
            (0..).zip(&mut self.doomed).for_each(|(index, doomed)| *doomed = index);
            random.shuffle(&mut self.doomed);
        }
        plan.indices.clear();
        plan.keys.resize(count * set.key_len, 0);
        plan.values.resize(count * set.value_len, 0);
        let keys = plan.keys.chunks_exact_mut(set.key_len);
        let values = plan.values.chunks_exact_mut(set.value_len);
        for (key, value) in keys.zip(values) {
            let index = match change {
                Change::Delete => self.doomed[self.deleted] as usize,
                Change::Put if random.bool() => random.usize(..self.versions.len()),
                Change::Overwrite => random.usize(..self.versions.len()),
                Change::Put | Change::Insert => self.versions.len(),
            };
            data.key_into(index as u64, key);
            if let Some(version) = self.versions.get_mut(index) {
                set.value_into(key, *version, value);
                self.digest.remove(key, value);
                *version += 1;
            } else {
                self.versions.push(0);
            }
            if change == Change::Delete {
                self.deleted += 1;
            } else {
                set.value_into(key, self.versions[index], value);
                self.digest.add(key, value);
            }
            plan.indices.push(index as u64);
        }
    }

    /// The value that `index` must have now, were it not deleted.
    pub fn value(&self, data: &Data, index: u64, key: &[u8]) -> Vec<u8> {
        data.set.value(key, self.versions[index as usize])
    }
}

impl Plan {
    /// Room for plans of up to `count` changes.
    pub fn new(set: &'static DataSet, count: usize) -> Plan {
        let (keys, values) = (vec![1; count * set.key_len], vec![1; count * set.value_len]);
        Plan { set, indices: vec![1; count], keys, values }
    }

    /// All entries as they are loaded, in place of changes.
    pub fn load(&mut self, data: &Data) {
        self.indices.clear();
        self.indices.extend(0..data.entries() as u64);
        self.keys.resize(data.entries() * self.set.key_len, 0);
        self.values.resize(data.entries() * self.set.value_len, 0);
        let values = self.values.chunks_exact_mut(self.set.value_len);
        for ((&index, key), value) in self.indices.iter().zip(self.keys.chunks_exact_mut(self.set.key_len)).zip(values)
        {
            data.key_into(index, key);
            self.set.value_into(key, 0, value);
        }
    }

    pub fn len(&self) -> usize {
        self.indices.len()
    }

    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.keys.chunks_exact(self.set.key_len).zip(self.values.chunks_exact(self.set.value_len))
    }

    /// The indices and keys that are changed.
    pub fn keys(&self) -> impl Iterator<Item = (u64, &[u8])> {
        self.indices.iter().copied().zip(self.keys.chunks_exact(self.set.key_len))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

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
        let mut plan = Plan::new(data.set, 500);
        let mut random = fastrand::Rng::with_seed(1);
        let mut model: BTreeMap<_, _> =
            data.sorted.chunks_exact(data.set.key_len).map(|key| (key.to_vec(), data.set.value(key, 0))).collect();
        for change in [Change::Put, Change::Overwrite, Change::Insert] {
            changes.plan(&data, change, 500, &mut random, &mut plan);
            model.extend(plan.iter().map(|(key, value)| (key.to_vec(), value.to_vec())));
            assert_eq!(digest(&model), changes.digest, "{change}");
            for (index, key) in plan.keys() {
                assert_eq!(model[key], changes.value(&data, index, key), "{change}");
            }
        }
        for _ in 0..2 {
            changes.plan(&data, Change::Delete, 300, &mut random, &mut plan);
            plan.keys().for_each(|(_, key)| assert!(model.remove(key).is_some()));
            assert_eq!(digest(&model), changes.digest);
        }
    }

    fn digest(model: &BTreeMap<Vec<u8>, Vec<u8>>) -> Digest {
        let mut digest = Digest::default();
        model.iter().for_each(|(key, value)| digest.add(key, value));
        digest
    }

    #[test]
    fn every_data_set_has_keys_that_differ() {
        for set in DATA_SETS {
            let data = Data::new(set, 7, 1000.min(set.entries(5000)));
            let mut arrivals: Vec<_> = (0..data.entries()).map(|at| data.arrival(at)).collect();
            arrivals.sort_unstable();
            assert!(arrivals.into_iter().eq(0..data.entries() as u64), "{}", set.name);
            for place in 1..data.entries() {
                assert!(data.key_at(place - 1) < data.key_at(place), "{}", set.name);
            }
        }
    }

    #[test]
    fn text_keys_are_text() {
        let set = DataSet::named("text+60").unwrap();
        let mut key = vec![0; set.key_len];
        for index in 0..1000 {
            set.key_into(7, index, &mut key);
            assert!(key.is_ascii() && key.starts_with(b"https://"), "{}", key.escape_ascii());
            assert_eq!(&key[12..21], b".example/", "{}", key.escape_ascii());
        }
    }
}
