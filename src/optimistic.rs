//! Optimistic transactions: read and write on a snapshot without the writer's seat, and take it only to commit.
//!
//! What is written gathers in memory, in order, over the snapshot; reads see both. What is read is noted: keys, ranges as far as they
//! were walked, and which buckets were there. The commit compares the snapshot with the newest state, and if none of that is another
//! now, the transaction is as good as one that began only then: it is applied. Else it is a conflict, and nothing has happened. So
//! the first to commit wins.
//!
//! To compare is cheap, since copy-on-write leaves what nobody changed in its page: the walk of [`crate::tree::diff`] passes over
//! every page that both states have, and looks at entries where they differ. It costs what others have changed, or what the transaction
//! relies on, whichever is less. The snapshot is pinned all the while, so a page number that both have is the same page.
//!
//! The snapshot is compared with the newest one first, while others may write, and that one with a newer one if it has been overtaken, a
//! few times at most. What is left for the time with the writer's seat is what came since: nothing, if nobody else has committed. If
//! nothing that counts is another from the first state to the second, nor from the second to the third, it is none from the first to the
//! third. Commits go through [`crate::txn::batch`]: those that come together share a sync, and each is compared with what the ones before
//! it have done.
//!
//! The technique is that of Kung and Robinson, "On Optimistic Methods for Concurrency Control" (1981), with backward validation
//! by value.

use std::cell::RefCell;
use std::collections::btree_map::Range as WriteRange;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::iter::FusedIterator;
use std::ops::Bound;
use std::sync::Arc;

use crate::bucket::{self, Bucket, Entry, NOT_UTF8, Range, check_key, check_name, check_value_len};
use crate::database::Database;
use crate::error::{Error, Result};
use crate::page::TxnId;
use crate::page::leaf::Value;
use crate::tree::diff::{DiffAt, Place, Places};
use crate::tree::range::{KeyRange, is_empty, prefix_end};
use crate::tree::{Pages, Tree};
use crate::txn::PageSource;
use crate::txn::read::ReadTxn;
use crate::txn::write::WriteTxn;

/// How often a commit compares with the newest snapshot before it takes the writer's seat. Each time there is only what was committed
/// during the time before, which is soon nothing unless commits come faster than they can be compared with.
const CATCH_UP_MAX: usize = 4;

/// What an optimistic transaction is safe from.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub enum Isolation {
    /// The transactions are as if they had run one after the other: it is a conflict if something that was read or written is another
    /// now. An entry that was changed and changed back is not.
    #[default]
    Serializable,
    /// It is a conflict only if an entry that was written has changed. Fewer conflicts; but two transactions that each read what the
    /// other one writes may both commit (write skew).
    Snapshot,
}

/// A transaction that works on a snapshot and is checked for conflicts when it commits: [`Database::begin_optimistic`].
///
/// Any number of them may run at once, beside readers and writers; none waits for another but to commit. What it writes is kept
/// in memory until then. Dropping it without a commit leaves no trace.
pub struct OptimisticTxn {
    db: Database,
    snapshot: ReadTxn,
    isolation: Isolation,
    /// By bucket and key: the new value, or `None` for an entry to delete.
    writes: BTreeMap<String, Writes>,
    reads: RefCell<Reads>,
}

type Writes = BTreeMap<Vec<u8>, Option<Vec<u8>>>;

/// What a transaction knows of its snapshot.
#[derive(Default)]
struct Reads {
    /// All names.
    names: bool,
    buckets: BTreeMap<String, BucketReads>,
    /// Ranges that are being walked, or were when their iterators were forgotten.
    walking: BTreeMap<u64, (String, Bounds)>,
    /// How many walks have begun.
    walk_count: u64,
}

/// What it knows of a bucket.
#[derive(Default)]
struct BucketReads {
    /// Whether it is there.
    presence: bool,
    keys: BTreeSet<Vec<u8>>,
    ranges: Ranges,
}

impl Reads {
    fn bucket(&mut self, name: &str) -> &mut BucketReads {
        if !self.buckets.contains_key(name) {
            self.buckets.insert(name.to_string(), BucketReads::default());
        }
        self.buckets.get_mut(name).expect("it was put there")
    }

    /// A walk begins. Until it ends, all of the range counts.
    fn begin_walk(&mut self, name: &str, bounds: &Bounds) -> u64 {
        self.walk_count += 1;
        self.walking.insert(self.walk_count, (name.to_string(), bounds.clone()));
        self.walk_count
    }

    /// A walk is over, which has seen these parts of its range.
    fn end_walk(&mut self, walk: u64, parts: impl Iterator<Item = Bounds>) {
        let Some((name, _)) = self.walking.remove(&walk) else { return };
        let ranges = &mut self.bucket(&name).ranges;
        parts.for_each(|part| ranges.insert(part));
    }

    /// Those that are being walked end as if they had been walked to their ends.
    fn end_walks(&mut self) {
        while let Some((&walk, (_, bounds))) = self.walking.first_key_value() {
            let bounds = bounds.clone();
            self.end_walk(walk, [bounds].into_iter());
        }
    }
}

type Bounds = (Bound<Vec<u8>>, Bound<Vec<u8>>);

/// Ranges of keys, of which those that meet are one.
#[derive(Default)]
struct Ranges {
    /// By where they start; `None` is the end of all keys.
    ends: BTreeMap<Cut, Option<Cut>>,
}

/// A place between two keys: in front of a key or behind it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Cut {
    key: Vec<u8>,
    is_behind: bool,
}

impl Ranges {
    fn insert(&mut self, (start, end): Bounds) {
        let cut = |key, is_behind| Cut { key, is_behind };
        let mut start = match start {
            Bound::Included(key) => cut(key, false),
            Bound::Excluded(key) => cut(key, true),
            Bound::Unbounded => cut(Vec::new(), false),
        };
        let mut end = match end {
            Bound::Included(key) => Some(cut(key, true)),
            Bound::Excluded(key) => Some(cut(key, false)),
            Bound::Unbounded => None,
        };
        if end.as_ref().is_some_and(|end| *end <= start) {
            return;
        }
        let reaches = |end: &Option<Cut>, start: &Cut| end.as_ref().is_none_or(|end| end >= start);
        if let Some((before, its_end)) = self.ends.range(..=&start).next_back()
            && reaches(its_end, &start)
        {
            start = before.clone();
        }
        while let Some((next, _)) = self.ends.range(&start..).next()
            && reaches(&end, next)
        {
            let next = next.clone();
            let its_end = self.ends.remove(&next).flatten();
            end = end.zip(its_end).map(|(end, its_end)| end.max(its_end));
        }
        self.ends.insert(start, end);
    }
}

impl Places for Ranges {
    fn next<'a>(&'a self, from: Place<'a>) -> Option<Place<'a>> {
        let cut = Cut { key: from.0.to_vec(), is_behind: from.1 };
        let is_inside =
            self.ends.range(..=&cut).next_back().is_some_and(|(_, end)| end.as_ref().is_none_or(|end| *end > cut));
        if is_inside {
            return Some(from);
        }
        self.ends.range(cut..).next().map(|(start, _)| (&start.key[..], start.is_behind))
    }
}

/// The entries of a bucket that a transaction relies on.
struct Relied<'a> {
    reads: Option<&'a BucketReads>,
    writes: Option<&'a Writes>,
}

impl Places for Relied<'_> {
    fn next<'a>(&'a self, from: Place<'a>) -> Option<Place<'a>> {
        let start = if from.1 { Bound::Excluded(from.0) } else { Bound::Included(from.0) };
        let bounds = (start, Bound::Unbounded);
        let read = self.reads.and_then(|reads| reads.keys.range::<[u8], _>(bounds).next());
        let written = self.writes.and_then(|writes| writes.range::<[u8], _>(bounds).next());
        let keys = [read, written.map(|(key, _)| key)].into_iter().flatten().map(|key| (&key[..], false));
        let walked = self.reads.and_then(|reads| reads.ranges.next(from));
        keys.chain(walked).min()
    }
}

/// The names of the buckets that a transaction relies on in some way.
struct ReliedNames<'a> {
    /// All of them, and of others that they are not there.
    all: bool,
    reads: &'a BTreeMap<String, BucketReads>,
    writes: &'a BTreeMap<String, Writes>,
}

impl Places for ReliedNames<'_> {
    fn next<'a>(&'a self, from: Place<'a>) -> Option<Place<'a>> {
        if self.all {
            return Some(from);
        }
        fn first<'a, V>(names: &'a BTreeMap<String, V>, from: Place<'_>) -> Option<&'a [u8]> {
            // What is not UTF-8 is no name of a bucket, and what is reported as damage.
            let name = std::str::from_utf8(from.0).ok()?;
            let start = if from.1 { Bound::Excluded(name) } else { Bound::Included(name) };
            names.range::<str, _>((start, Bound::Unbounded)).next().map(|(name, _)| name.as_bytes())
        }
        let names = [first(self.reads, from), first(self.writes, from)];
        names.into_iter().flatten().min().map(|name| (name, false))
    }
}

/// What a transaction has read and written.
struct Footprint {
    reads: Reads,
    writes: BTreeMap<String, Writes>,
}

impl Footprint {
    /// Compares the snapshot with the newest one, and that with a newer one, up to the one that is returned, in which everything that the
    /// transaction relies on is as it was. Others may write meanwhile; so that they cannot keep it here, the rest is left for later.
    fn catch_up(&self, db: &Database, snapshot: ReadTxn) -> Result<ReadTxn> {
        let mut seen = snapshot;
        for _ in 0..CATCH_UP_MAX {
            let newest = db.begin_read()?;
            if newest.id() == seen.id() {
                break;
            }
            self.validate(&State::from(&seen), &State::from(&newest))?;
            seen = newest;
        }
        Ok(seen)
    }

    /// Whether everything that the transaction relies on is in `new` as it was in `old`.
    fn validate(&self, old: &State<'_>, new: &State<'_>) -> Result<()> {
        let Footprint { reads, writes } = self;
        let conflict = |bucket: &str, key| Error::Conflict { bucket: bucket.to_string(), key };
        // The trees of buckets that have changed.
        let mut trees = BTreeMap::new();
        let names = ReliedNames { all: reads.names, reads: &reads.buckets, writes };
        for difference in DiffAt::new((old.source, old.catalog), (new.source, new.catalog), &names) {
            let difference = difference?;
            let corrupt = |state: &State<'_>, what| bucket::corrupt(state.source, state.catalog, difference.key, what);
            let name = std::str::from_utf8(difference.key).map_err(|_| corrupt(new, NOT_UTF8))?;
            let presence = reads.names || reads.buckets.get(name).is_some_and(|reads| reads.presence);
            if presence && difference.old.is_some() != difference.new.is_some() {
                return Err(conflict(name, None));
            }
            let tree = |state: &State<'_>, record: Option<Value<'_>>| match record {
                Some(record) => bucket::to_tree(state.source.lend(record)?).map_err(|what| corrupt(state, what)),
                None => Ok(Tree::EMPTY),
            };
            trees.insert(name, (tree(old, difference.old)?, tree(new, difference.new)?));
        }
        let relied_on = |name: &str| reads.buckets.contains_key(name) || writes.contains_key(name);
        for &(name, tree) in new.unrecorded.iter().filter(|(name, _)| relied_on(name)) {
            let before = match trees.get(name) {
                Some(&(before, _)) => before,
                None => bucket::find(old.source, old.catalog, name)?.unwrap_or(Tree::EMPTY),
            };
            trees.insert(name, (before, tree));
        }
        for (name, (before, after)) in trees {
            let places = Relied { reads: reads.buckets.get(name), writes: writes.get(name) };
            if let Some(difference) = DiffAt::new((old.source, before), (new.source, after), &places).next() {
                return Err(conflict(name, Some(difference?.key.to_vec())));
            }
        }
        Ok(())
    }

    fn apply(&self, txn: &mut WriteTxn) -> Result<()> {
        for (name, writes) in &self.writes {
            let mut bucket = txn.bucket_mut(name)?;
            for (key, value) in writes {
                match value {
                    Some(value) => bucket.put(key, value)?,
                    None => bucket.delete(key).map(|_| ())?,
                }
            }
        }
        Ok(())
    }
}

/// A state to compare with: a snapshot, or what a write transaction has made of one.
struct State<'a> {
    source: PageSource<'a>,
    catalog: Tree,
    /// Trees of buckets that are not what the catalog says.
    unrecorded: Vec<(&'a str, Tree)>,
}

impl<'a> From<&'a ReadTxn> for State<'a> {
    fn from(txn: &'a ReadTxn) -> State<'a> {
        State { source: txn.source(), catalog: txn.catalog(), unrecorded: Vec::new() }
    }
}

impl<'a> From<&'a WriteTxn> for State<'a> {
    fn from(txn: &'a WriteTxn) -> State<'a> {
        State { source: txn.view(), catalog: txn.catalog(), unrecorded: txn.unrecorded().collect() }
    }
}

fn lend((start, end): &Bounds) -> (Bound<&[u8]>, Bound<&[u8]>) {
    (start.as_ref().map(|key| &key[..]), end.as_ref().map(|key| &key[..]))
}

impl OptimisticTxn {
    pub(crate) fn begin(db: &Database, isolation: Isolation) -> Result<OptimisticTxn> {
        let (db, snapshot) = (db.clone(), db.begin_read()?);
        Ok(OptimisticTxn { db, snapshot, isolation, writes: BTreeMap::new(), reads: RefCell::default() })
    }

    /// The snapshot that it works on.
    pub fn snapshot_id(&self) -> TxnId {
        self.snapshot.id()
    }

    /// The bucket of this name, to read.
    ///
    /// # Errors
    ///
    /// [`Error::Corrupt`] if the catalog is damaged.
    pub fn bucket(&self, name: &str) -> Result<Option<OptimisticBucket<'_>>> {
        let (below, writes) = (self.snapshot.bucket(name)?, self.writes.get(name));
        if writes.is_none() {
            self.note(|reads| reads.bucket(name).presence = true);
        }
        if below.is_none() && writes.is_none() {
            return Ok(None);
        }
        Ok(Some(OptimisticBucket { txn: self, name: name.to_string(), below, writes }))
    }

    /// The bucket of this name, to read and write. The commit creates it if it is missing then.
    ///
    /// # Errors
    ///
    /// [`Error::BucketName`] if the name is empty or longer than 255 bytes.
    pub fn bucket_mut(&mut self, name: &str) -> Result<OptimisticBucketMut<'_>> {
        check_name(name)?;
        self.writes.entry(name.to_string()).or_default();
        Ok(OptimisticBucketMut { txn: self, name: name.to_string() })
    }

    /// The names of all buckets, in order.
    ///
    /// # Errors
    ///
    /// [`Error::Corrupt`] if the catalog is damaged.
    pub fn buckets(&self) -> Result<Vec<String>> {
        self.note(|reads| reads.names = true);
        let names: BTreeSet<String> = self.snapshot.buckets()?.into_iter().chain(self.writes.keys().cloned()).collect();
        Ok(names.into_iter().collect())
    }

    /// Makes the changes durable, as [`crate::Options::durability`] says, and visible; together with others that commit at this time.
    /// Answers the transaction that has them, or the snapshot's if there are none: what only reads needs no check. Looks for conflicts first
    /// and then waits for other writers, who may write meanwhile.
    ///
    /// # Errors
    ///
    /// [`Error::Conflict`]: another transaction has changed what this one relies on; nothing has happened, and it may be run again.
    /// Those of [`Database::batch`].
    pub fn commit(self) -> Result<TxnId> {
        if self.writes.is_empty() {
            return Ok(self.snapshot.id());
        }
        let OptimisticTxn { db, snapshot, writes, reads, .. } = self;
        let mut reads = reads.into_inner();
        reads.end_walks();
        let footprint = Arc::new(Footprint { reads, writes });
        let seen = footprint.catch_up(&db, snapshot)?;
        // Shared, since to drop it may take long, and the seat is not to be held meanwhile.
        let shared = Arc::clone(&footprint);
        let (_, id) = db.batch_with_id(move |txn| {
            shared.validate(&State::from(&seen), &State::from(&*txn))?;
            shared.apply(txn)
        })?;
        Ok(id)
    }

    fn note(&self, read: impl FnOnce(&mut Reads)) {
        if self.isolation == Isolation::Serializable {
            read(&mut self.reads.borrow_mut());
        }
    }
}

impl fmt::Debug for OptimisticTxn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OptimisticTxn").field("snapshot_id", &self.snapshot_id()).finish_non_exhaustive()
    }
}

/// A bucket as an optimistic transaction sees it: the snapshot's entries, and its own.
///
/// # Errors
///
/// As [`Bucket`].
#[derive(Clone)]
pub struct OptimisticBucket<'txn> {
    txn: &'txn OptimisticTxn,
    name: String,
    below: Option<Bucket<'txn>>,
    writes: Option<&'txn Writes>,
}

impl<'txn> OptimisticBucket<'txn> {
    /// The value of a key.
    pub fn get(&self, key: impl AsRef<[u8]>) -> Result<Option<&'txn [u8]>> {
        let key = key.as_ref();
        if let Some(value) = self.writes.and_then(|writes| writes.get(key)) {
            return Ok(value.as_deref());
        }
        self.txn.note(|reads| {
            let keys = &mut reads.bucket(&self.name).keys;
            if !keys.contains(key) {
                keys.insert(key.to_vec());
            }
        });
        match &self.below {
            Some(bucket) => bucket.get(key),
            None => Ok(None),
        }
    }

    /// Whether a key is there.
    pub fn contains(&self, key: impl AsRef<[u8]>) -> Result<bool> {
        Ok(self.get(key)?.is_some())
    }

    /// The first entry.
    pub fn first(&self) -> Result<Option<Entry<'txn>>> {
        self.iter().next().transpose()
    }

    /// The last entry.
    pub fn last(&self) -> Result<Option<Entry<'txn>>> {
        self.iter().next_back().transpose()
    }

    /// Whether there is no entry.
    pub fn is_empty(&self) -> Result<bool> {
        Ok(self.first()?.is_none())
    }

    /// All entries in key order, from both ends.
    pub fn iter(&self) -> OptimisticRange<'txn> {
        self.range(..)
    }

    /// The entries in a range of keys, in key order, from both ends. As far as it is walked, and no further, the range counts as read.
    pub fn range(&self, range: impl KeyRange) -> OptimisticRange<'txn> {
        let (start, end) = range.bounds();
        self.between((start.map(<[u8]>::to_vec), end.map(<[u8]>::to_vec)))
    }

    /// The entries whose keys begin with `prefix`, in key order, from both ends.
    pub fn prefix(&self, prefix: impl AsRef<[u8]>) -> OptimisticRange<'txn> {
        let prefix = prefix.as_ref();
        let end = prefix_end(prefix).map_or(Bound::Unbounded, Bound::Excluded);
        self.between((Bound::Included(prefix.to_vec()), end))
    }

    fn between(&self, bounds: Bounds) -> OptimisticRange<'txn> {
        let slices = lend(&bounds);
        // `BTreeMap::range` panics at what is an empty range here.
        let is_empty = is_empty(slices);
        let below = self.below.filter(|_| !is_empty).map(|bucket| bucket.range(slices));
        let writes = self.writes.filter(|_| !is_empty).map(|writes| writes.range::<[u8], _>(slices));
        let mut walk = None;
        self.txn.note(|reads| walk = Some(reads.begin_walk(&self.name, &bounds)));
        let walked = Walked { txn: self.txn, walk, bounds, front: None, back: None, is_whole: false };
        OptimisticRange { below: Ends::new(below), writes: Ends::new(writes), walked, is_done: false }
    }
}

impl fmt::Debug for OptimisticBucket<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OptimisticBucket").field("name", &self.name).finish_non_exhaustive()
    }
}

/// A bucket that an optimistic transaction writes to.
///
/// # Errors
///
/// As [`Bucket`]; [`Error::KeyTooLong`], [`Error::ValueTooLong`].
pub struct OptimisticBucketMut<'txn> {
    txn: &'txn mut OptimisticTxn,
    name: String,
}

impl OptimisticBucketMut<'_> {
    /// The bucket as it is now, to read.
    ///
    /// # Errors
    ///
    /// [`Error::Corrupt`] if the catalog is damaged.
    pub fn as_bucket(&self) -> Result<OptimisticBucket<'_>> {
        Ok(self.txn.bucket(&self.name)?.expect("it is written to"))
    }

    /// See [`OptimisticBucket::get`].
    pub fn get(&self, key: impl AsRef<[u8]>) -> Result<Option<&[u8]>> {
        self.as_bucket()?.get(key)
    }

    /// See [`OptimisticBucket::contains`].
    pub fn contains(&self, key: impl AsRef<[u8]>) -> Result<bool> {
        self.as_bucket()?.contains(key)
    }

    /// Puts an entry; the value of a key that is there is replaced.
    pub fn put(&mut self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Result<()> {
        let (key, value) = (key.as_ref(), value.as_ref());
        check_key(self.txn.snapshot.page_len(), key)?;
        check_value_len(value.len())?;
        self.write(key, Some(value.to_vec()));
        Ok(())
    }

    /// Puts an entry unless the key is there. Answers whether it was put.
    pub fn insert(&mut self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Result<bool> {
        let is_new = !self.contains(&key)?;
        if is_new {
            self.put(key, value)?;
        }
        Ok(is_new)
    }

    /// Deletes an entry. Answers whether it was there.
    pub fn delete(&mut self, key: impl AsRef<[u8]>) -> Result<bool> {
        let key = key.as_ref();
        let was_there = self.contains(key)?;
        if was_there {
            self.write(key, None);
        }
        Ok(was_there)
    }

    /// Deletes the entries in a range, which is read for that, and answers how many there were.
    pub fn delete_range(&mut self, range: impl KeyRange) -> Result<u64> {
        let keys = self.as_bucket()?.range(range).map(|entry| entry.map(|(key, _)| key.to_vec()));
        let keys = keys.collect::<Result<Vec<_>>>()?;
        keys.iter().for_each(|key| self.write(key, None));
        Ok(keys.len() as u64)
    }

    fn write(&mut self, key: &[u8], value: Option<Vec<u8>>) {
        let writes = self.txn.writes.get_mut(&self.name).expect("made when the bucket was opened");
        writes.insert(key.to_vec(), value);
    }
}

impl fmt::Debug for OptimisticBucketMut<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OptimisticBucketMut").field("name", &self.name).finish_non_exhaustive()
    }
}

/// An iterator over what an optimistic transaction sees of a range, from both ends.
///
/// An item is an error if a page is corrupt; after an error nothing more comes.
pub struct OptimisticRange<'txn> {
    below: Ends<Range<'txn>>,
    writes: Ends<WriteRange<'txn, Vec<u8>, Option<Vec<u8>>>>,
    walked: Walked<'txn>,
    is_done: bool,
}

/// How far a range was walked. What lies between the two ends was not seen, and others may change it.
struct Walked<'txn> {
    txn: &'txn OptimisticTxn,
    /// As which it is noted, if reads are.
    walk: Option<u64>,
    bounds: Bounds,
    front: Option<&'txn [u8]>,
    back: Option<&'txn [u8]>,
    is_whole: bool,
}

impl Drop for Walked<'_> {
    fn drop(&mut self) {
        let Some(walk) = self.walk else { return };
        let included = |key: &[u8]| Bound::Included(key.to_vec());
        let (start, end) = std::mem::replace(&mut self.bounds, (Bound::Unbounded, Bound::Unbounded));
        let mut reads = self.txn.reads.borrow_mut();
        if self.is_whole {
            return reads.end_walk(walk, [(start, end)].into_iter());
        }
        let front = self.front.map(|key| (start, included(key)));
        let back = self.back.map(|key| (included(key), end));
        reads.end_walk(walk, front.into_iter().chain(back));
    }
}

/// Which of the two comes next, or whether both have it.
enum Next {
    Below,
    Writes,
    Both,
}

impl<'txn> OptimisticRange<'txn> {
    /// The next entry from the front, or from the back.
    fn step(&mut self, is_back: bool) -> Option<Result<Entry<'txn>>> {
        while !self.is_done {
            let next = match (self.below.peek(is_back), self.writes.peek(is_back)) {
                (None, None) => break,
                (Some(Err(_)), _) | (Some(_), None) => Next::Below,
                (None, Some(_)) => Next::Writes,
                (Some(Ok((below, _))), Some((key, _))) => match (*below).cmp(&key[..]) {
                    std::cmp::Ordering::Equal => Next::Both,
                    std::cmp::Ordering::Less if !is_back => Next::Below,
                    std::cmp::Ordering::Greater if is_back => Next::Below,
                    _ => Next::Writes,
                },
            };
            let below = if matches!(next, Next::Below | Next::Both) { self.below.take(is_back) } else { None };
            let entry = match (next, below) {
                (Next::Below, Some(Err(error))) => {
                    self.finish();
                    return Some(Err(error));
                }
                (Next::Below, Some(Ok(entry))) => Some(entry),
                _ => match self.writes.take(is_back) {
                    Some((key, Some(value))) => Some((&key[..], &value[..])),
                    _ => None,
                },
            };
            let Some((key, value)) = entry else { continue };
            let end = if is_back { &mut self.walked.back } else { &mut self.walked.front };
            *end = Some(key);
            return Some(Ok((key, value)));
        }
        self.finish();
        None
    }

    /// There is nothing more, which is as much as to have read all of it.
    fn finish(&mut self) {
        self.is_done = true;
        self.walked.is_whole = true;
    }
}

impl<'txn> Iterator for OptimisticRange<'txn> {
    type Item = Result<Entry<'txn>>;

    fn next(&mut self) -> Option<Result<Entry<'txn>>> {
        self.step(false)
    }
}

impl DoubleEndedIterator for OptimisticRange<'_> {
    fn next_back(&mut self) -> Option<Self::Item> {
        self.step(true)
    }
}

impl FusedIterator for OptimisticRange<'_> {}

impl fmt::Debug for OptimisticRange<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OptimisticRange").finish_non_exhaustive()
    }
}

/// An iterator of which both ends can be looked at.
struct Ends<I: Iterator> {
    iter: Option<I>,
    front: Option<I::Item>,
    back: Option<I::Item>,
}

impl<I: DoubleEndedIterator> Ends<I> {
    fn new(iter: Option<I>) -> Ends<I> {
        Ends { iter, front: None, back: None }
    }

    fn take(&mut self, is_back: bool) -> Option<I::Item> {
        let Ends { iter, front, back } = self;
        match is_back {
            false => front.take().or_else(|| iter.as_mut()?.next()).or_else(|| back.take()),
            true => back.take().or_else(|| iter.as_mut()?.next_back()).or_else(|| front.take()),
        }
    }

    fn peek(&mut self, is_back: bool) -> Option<&I::Item> {
        let item = self.take(is_back);
        let end = if is_back { &mut self.back } else { &mut self.front };
        *end = item;
        end.as_ref()
    }
}
