//! P7: a history in which the n-th call of the store fails, for n = 1, 2, ... until nothing fails any more, with every kind
//! of failure. The error is reported, what was committed stays readable, what was durable stays durable, no page is lost.

use std::collections::BTreeMap;

use folio::disk::{Failure, MemoryStore};
use folio::{Database, Durability, Error, Options, ReadTxn, Result, WriteTxn};

type Model = BTreeMap<String, BTreeMap<Vec<u8>, Vec<u8>>>;

const BOOT: [u8; 16] = [7; 16];

fn options() -> Options {
    Options::new().dirty_limit(64 * 4096).sync_bytes(150_000)
}

/// A write transaction and the model that follows it.
struct Both<'a> {
    txn: &'a mut WriteTxn,
    model: &'a mut Model,
}

impl Both<'_> {
    fn put(&mut self, bucket: &str, key: impl AsRef<[u8]>, value: Vec<u8>) -> Result<()> {
        self.txn.bucket_mut(bucket)?.put(&key, &value)?;
        self.model.entry(bucket.to_string()).or_default().insert(key.as_ref().to_vec(), value);
        Ok(())
    }

    fn delete(&mut self, bucket: &str, key: impl AsRef<[u8]>) -> Result<()> {
        self.txn.bucket_mut(bucket)?.delete(&key)?;
        self.model.entry(bucket.to_string()).or_default().remove(key.as_ref());
        Ok(())
    }

    fn drop_bucket(&mut self, bucket: &str) -> Result<()> {
        self.txn.drop_bucket(bucket)?;
        self.model.remove(bucket);
        Ok(())
    }
}

enum Step {
    Commit(Durability, fn(&mut Both<'_>) -> Result<()>),
    Sync,
    /// Waits until the newest snapshot is durable.
    Wait,
    /// Pins the newest snapshot, or lets go of the one that is pinned.
    Pin,
    Unpin,
}

use Durability::{Durable, Relaxed};
use Step::{Commit, Pin, Sync, Unpin, Wait};

const HISTORY: [Step; 20] = [
    Commit(Durable, |both| (0..60).try_for_each(|n| both.put("a", format!("{n:03}"), vec![1; 100]))),
    Commit(Durable, |both| (0..4).try_for_each(|n| both.put("large", format!("{n}"), vec![n; 9000 * n as usize]))),
    Pin,
    // Spills: more than 64 pages, of which some are changed again afterwards.
    Commit(Durable, |both| {
        (0..220u32).try_for_each(|n| both.put("spilled", (n * 7919 % 220).to_be_bytes(), vec![2; 1500]))?;
        (0..60u32).try_for_each(|n| both.put("spilled", (n * 3).to_be_bytes(), vec![3; 10]))
    }),
    // In order: full leaves are written as soon as there are 32 of them, and some are changed again afterwards.
    Commit(Durable, |both| {
        (0..200u32).try_for_each(|n| both.put("sorted", n.to_be_bytes(), vec![13; 1500]))?;
        (0..200u32).step_by(9).try_for_each(|n| both.put("sorted", n.to_be_bytes(), vec![14; 10]))
    }),
    Commit(Durable, |both| (0..60).step_by(2).try_for_each(|n| both.delete("a", format!("{n:03}")))),
    Commit(Relaxed, |both| both.put("a", "relaxed", vec![4; 200])),
    Commit(Relaxed, |both| {
        both.delete("large", "2")?;
        both.put("large", "3", vec![5; 30_000])
    }),
    Sync,
    // Grows the file by more than a step.
    Commit(Durable, |both| both.put("huge", "k", vec![6; 1_300_000])),
    Unpin,
    Commit(Durable, |both| {
        both.drop_bucket("spilled")?;
        both.drop_bucket("sorted")?;
        both.drop_bucket("huge")
    }),
    // Shrinks it again, once nothing durable needs its end.
    Commit(Durable, |both| both.put("b", "k", vec![10; 10])),
    Commit(Relaxed, |both| both.put("a", "relaxed", vec![7; 20_000])),
    Commit(Durable, |both| both.put("a", "and durable", vec![8; 20])),
    // A relaxed commit that syncs by itself: more than `sync_bytes`.
    Commit(Relaxed, |both| both.put("large", "synced", vec![9; 200_000])),
    Commit(Durable, |both| both.put("b", "k", vec![11; 10])),
    Commit(Relaxed, |both| both.put("a", "waited for", vec![12; 300])),
    Wait,
    Commit(Durable, |_| Ok(())),
];

fn compare(txn: &ReadTxn, model: &Model) {
    assert_eq!(txn.buckets().unwrap(), model.keys().cloned().collect::<Vec<_>>());
    for (name, truth) in model {
        let bucket = txn.bucket(name).unwrap().unwrap();
        assert_eq!(bucket.len(), truth.len() as u64);
        for (entry, (key, value)) in bucket.iter().zip(truth) {
            assert!(entry.unwrap() == (key, value), "{name}: {key:?}");
        }
    }
}

fn assert_sound(db: &Database) {
    let report = db.check().unwrap();
    assert!(report.is_ok(), "{:#?}", report.problems);
}

/// A run of the history, in which one call fails.
struct Run {
    disk: MemoryStore,
    /// What each transaction id stands for. The last may be in flight.
    states: BTreeMap<u64, Model>,
    /// The newest snapshot that was acknowledged, and the newest that was acknowledged as durable.
    committed: u64,
    durable: u64,
    pinned: Option<(ReadTxn, Model)>,
    /// What went wrong, as far as it was told, and whether the writer gave up.
    errors: usize,
    has_failed: bool,
    rng: fastrand::Rng,
}

impl Run {
    /// Runs the history with call `n` failing. Answers whether there was such a call.
    fn history(n: u64, failure: Failure) -> (bool, Run) {
        let disk = MemoryStore::new();
        disk.set_boot_id(BOOT);
        disk.record();
        disk.fail(n, failure);
        let states = BTreeMap::from([(1, Model::new())]);
        let rng = fastrand::Rng::with_seed(n);
        let mut run = Run { disk, states, committed: 1, durable: 1, pinned: None, errors: 0, has_failed: false, rng };
        match options().open_store(&run.disk) {
            Ok(db) => HISTORY.iter().for_each(|step| run.step(&db, step)),
            Err(error) => {
                // Nothing was acknowledged, so nothing is lost but the disk in memory itself.
                assert!(matches!(error, Error::Io { .. }), "{error}");
                run.errors = 1;
                return (true, run);
            }
        }
        run.reopen(2);
        (run.disk.call_count() >= n, run)
    }

    fn step(&mut self, db: &Database, step: &Step) {
        match step {
            Pin => self.pinned = Some((db.begin_read().unwrap(), self.states[&self.committed].clone())),
            Unpin => self.pinned = None,
            Sync => match db.sync() {
                Ok(()) => self.durable = self.committed,
                Err(error) => self.error(db, &error),
            },
            Wait => match db.wait_durable(db.begin_read().unwrap().id()) {
                Ok(()) => self.durable = self.committed,
                Err(error) => self.error(db, &error),
            },
            Commit(durability, change) => {
                let mut model = self.states[&self.committed].clone();
                match self.commit(db, *durability, *change, &mut model) {
                    Ok(id) => {
                        self.states.insert(id, model);
                        self.committed = id;
                        if *durability == Durable {
                            self.durable = id;
                        }
                    }
                    Err(error) => self.error(db, &error),
                }
            }
        }
    }

    fn commit(
        &mut self,
        db: &Database,
        durability: Durability,
        change: fn(&mut Both<'_>) -> Result<()>,
        model: &mut Model,
    ) -> Result<u64> {
        let mut txn = db.begin_write()?;
        change(&mut Both { txn: &mut txn, model })?;
        // From here on it is in flight.
        self.states.insert(txn.id().get(), model.clone());
        Ok(txn.commit_with(durability)?.get())
    }

    /// An error was told. Whatever it was, nothing else may have happened.
    fn error(&mut self, db: &Database, error: &Error) {
        if self.has_failed {
            assert!(matches!(error, Error::Failed), "{error}");
            return;
        }
        assert!(matches!(error, Error::Io { .. }), "{error}");
        self.errors += 1;
        assert_eq!(self.errors, 1, "one call fails: {error}");
        self.has_failed = match db.begin_write() {
            Ok(_) => false,
            Err(Error::Failed) => true,
            Err(error) => panic!("{error}"),
        };
        assert!(!self.has_failed || matches!(db.sync(), Err(Error::Failed)));
        let txn = db.begin_read().unwrap();
        // What is said to be durable must be there after a power cut.
        assert!(db.durable_id().get() >= self.durable);
        self.durable = db.durable_id().get();
        db.wait_durable(db.durable_id()).unwrap();
        if self.has_failed && db.durable_id() < txn.id() {
            assert!(matches!(db.wait_durable(txn.id()), Err(Error::Failed)));
        }
        let id = txn.id().get();
        // A commit that was visible when its sync failed stays so for this process, which writes no more.
        assert!(id == self.committed || self.has_failed && id == self.committed + 1);
        compare(&txn, &self.states[&id]);
        if let Some((pinned, model)) = &self.pinned {
            compare(pinned, model);
        }
        assert_sound(db);
        if !self.has_failed {
            self.states.retain(|&id, _| id <= self.committed);
        }
        self.reopen(4);
    }

    /// What other processes find now: after the death of this one, and after a power cut. Looks at the first `count` cases.
    fn reopen(&mut self, count: usize) {
        let now = self.disk.operation_count();
        let newest = *self.states.keys().next_back().unwrap();
        let mut rng = self.rng.fork();
        let dead = if self.has_failed { self.durable } else { self.committed };
        for case in 0..count {
            let (image, boot_id, oldest) = match case {
                0 => (self.disk.image(), BOOT, dead),
                1 => (self.disk.crash(now, |_| rng.bool()), [8; 16], self.durable),
                case => (self.disk.crash(now, |_| case == 2), [8; 16], self.durable),
            };
            let disk = MemoryStore::with_image(&image);
            disk.set_boot_id(boot_id);
            let db = options().open_store(&disk).unwrap();
            let txn = db.begin_read().unwrap();
            let id = txn.id().get();
            assert!((oldest..=newest).contains(&id), "{id} is not in {oldest}..={newest}");
            compare(&txn, &self.states[&id]);
            db.exec(|txn| txn.bucket_mut("after")?.put("k", vec![1; 10_000])).unwrap();
            assert_sound(&db);
        }
    }
}

/// T6, T14 among them: the sync of a commit fails, or the disk is full, at every step of every operation.
fn fail_everywhere(failure: Failure) {
    let (mut told, mut failed) = (0, 0);
    for n in 1.. {
        println!("call {n} fails: {failure:?}");
        let (was_hit, run) = Run::history(n, failure);
        told += run.errors;
        failed += usize::from(run.has_failed);
        if !was_hit {
            assert_eq!(run.errors, 0);
            assert!(run.disk.image().len() < 1_300_000, "the file shrank");
            println!("{} calls, {told} errors told, of which {failed} stopped the writer", n - 1);
            // A failed attempt to grow by a whole step, to ready the room behind, or to cut the file, is no error: the next best thing
            // is done.
            assert!(n > 50 && told as u64 > n - 12 && failed > 15 && failed < told);
            return;
        }
    }
}

#[test]
fn any_call_fails_with_an_io_error() {
    fail_everywhere(Failure::Io);
}

#[test]
fn t14_the_disk_is_full_at_any_call() {
    fail_everywhere(Failure::Full);
}

#[test]
fn any_write_is_cut_short() {
    fail_everywhere(Failure::Short);
}

#[test]
fn t06_any_sync_fails_and_drops_what_was_not_synced() {
    fail_everywhere(Failure::SyncDrops);
}

/// T6: after a failed sync the writer is out of order for good, the readers are not, and the next open is in order.
#[test]
fn t06_after_a_failed_sync_the_writer_refuses() -> Result<()> {
    let disk = MemoryStore::new();
    let db = Options::new().open_store(&disk)?;
    db.exec(|txn| txn.bucket_mut("a")?.put("k", "1"))?;
    let before = disk.call_count();
    db.exec(|txn| txn.bucket_mut("a")?.put("k", "2"))?;
    let calls = disk.call_count() - before;
    assert_eq!(calls, 3, "pages, meta, one sync");
    // The last call of a commit is its sync.
    disk.fail(calls, Failure::SyncDrops);
    let reader = db.begin_read()?;
    let result = db.exec(|txn| txn.bucket_mut("a")?.put("k", "3"));
    assert!(matches!(result, Err(Error::Io { .. })), "{result:?}");
    for _ in 0..3 {
        assert!(matches!(db.begin_write(), Err(Error::Failed)));
        assert!(matches!(db.try_begin_write(), Err(Error::Failed)));
        assert!(matches!(db.sync(), Err(Error::Failed)));
        assert_eq!(db.view(|txn| Ok(txn.bucket("a")?.unwrap().get("k")?.map(<[u8]>::to_vec)))?, Some(b"2".to_vec()));
    }
    assert_eq!(reader.bucket("a")?.unwrap().get("k")?, Some(&b"2"[..]));
    assert_sound(&db);
    assert_eq!(db.stats()?.commits, 2);
    let writes = disk.call_count();
    drop((db, reader));
    assert_eq!(disk.call_count(), writes, "closing writes nothing onto unknown ground");
    let db = Options::new().open_store(&disk)?;
    db.exec(|txn| txn.bucket_mut("a")?.put("k", "4"))?;
    assert_sound(&db);
    Ok(())
}

/// T14: a disk with no room to grow is an error at the write; with room again, the same database takes it.
#[test]
fn t14_a_full_disk_is_an_error_and_no_more() -> Result<()> {
    let disk = MemoryStore::new();
    let db = Options::new().open_store(&disk)?;
    db.exec(|txn| txn.bucket_mut("a")?.put("k", "v"))?;
    // Both attempts to grow: by a step, and by what is needed.
    disk.fail(1, Failure::Full);
    disk.fail(2, Failure::Full);
    let result = db.exec(|txn| txn.bucket_mut("a")?.put("large", vec![1; 3 << 20]));
    match result {
        Err(Error::Io { source, .. }) => assert_eq!(source.kind(), std::io::ErrorKind::StorageFull),
        other => panic!("{other:?}"),
    }
    assert_eq!(db.view(|txn| Ok(txn.bucket("a")?.unwrap().len()))?, 1);
    assert_sound(&db);
    db.exec(|txn| txn.bucket_mut("a")?.put("large", vec![1; 3 << 20]))?;
    assert_sound(&db);

    // A transaction that went wrong half way is good for nothing but to be dropped.
    let mut txn = db.begin_write()?;
    disk.fail(1, Failure::Io);
    disk.fail(2, Failure::Io);
    assert!(txn.bucket_mut("a")?.put("large 2", vec![2; 9 << 20]).is_err());
    assert!(matches!(txn.bucket_mut("a")?.put("k", "w"), Err(Error::Broken)));
    assert!(matches!(txn.bucket_mut("a")?.delete("k"), Err(Error::Broken)));
    assert!(matches!(txn.drop_bucket("a"), Err(Error::Broken)));
    assert!(matches!(txn.commit(), Err(Error::Broken)));
    assert_eq!(db.view(|txn| Ok(txn.bucket("a")?.unwrap().len()))?, 2);
    assert_sound(&db);
    Ok(())
}

/// Failures while reading: opening meets an error and can be tried again.
#[test]
fn a_failed_read_at_open_can_be_tried_again() -> Result<()> {
    let disk = MemoryStore::new();
    Options::new().open_store(&disk)?.exec(|txn| txn.bucket_mut("a")?.put("k", "v"))?;
    let before = disk.image();
    for n in 1.. {
        let calls = disk.call_count();
        disk.fail(n, Failure::Io);
        match Options::new().create(false).open_store(&disk) {
            Ok(db) => {
                assert!(n > 2 && disk.call_count() - calls < n, "{n}");
                assert_eq!(db.view(|txn| Ok(txn.bucket("a")?.unwrap().len()))?, 1);
                return Ok(());
            }
            Err(error) => assert!(matches!(error, Error::Io { .. }), "{error}"),
        }
        assert!(disk.image() == before);
    }
    Ok(())
}

/// A file, and what the snapshots that its two meta slots refer to hold.
struct Found {
    image: Vec<u8>,
    states: BTreeMap<u64, Model>,
}

impl Found {
    /// Three durable commits and these, then a file as `leave` leaves it.
    fn new(last: &[Durability], leave: impl FnOnce(Database)) -> Found {
        let disk = MemoryStore::new();
        disk.set_boot_id(BOOT);
        let db = options().open_store(&disk).unwrap();
        let (mut model, mut states, mut durable) = (Model::new(), BTreeMap::new(), 0);
        for (round, durability) in [Durable; 3].iter().chain(last).enumerate() {
            let mut txn = db.begin_write().unwrap();
            let both = &mut Both { txn: &mut txn, model: &mut model };
            // A few leaves are new in each round, and the pages of the round before last are written again.
            (0..60).for_each(|n| both.put("a", format!("{:03}", n * 5), vec![round as u8; 100]).unwrap());
            both.put("large", format!("{round}"), vec![round as u8; 9000]).unwrap();
            let id = txn.commit_with(*durability).unwrap().get();
            // A durable commit leaves the other slot to the one before, a relaxed one to the last that was durable.
            let other = if *durability == Durable { id - 1 } else { durable };
            states.insert(id, model.clone());
            states.retain(|&state, _| state == id || state == other || state == durable);
            durable = if *durability == Durable { id } else { durable };
        }
        let held = disk.clone();
        leave(db);
        Found { image: held.image(), states }
    }

    fn newest(&self) -> u64 {
        *self.states.keys().next_back().unwrap()
    }

    fn disk(&self) -> MemoryStore {
        let disk = MemoryStore::with_image(&self.image);
        disk.set_boot_id(BOOT);
        disk
    }

    /// The state that is open, which must be one of those that the slots refer to, to the last byte.
    fn state(&self, db: &Database) -> u64 {
        let txn = db.begin_read().unwrap();
        compare(&txn, &self.states[&txn.id().get()]);
        assert_sound(db);
        txn.id().get()
    }

    /// Flips bits in each read in turn, of an open and of the first write after it. Answers in how many cases the newest state was
    /// found, in how many the one before, and in how many an error was told.
    fn flip_each_read(&self) -> [usize; 3] {
        let mut rng = fastrand::Rng::with_seed(self.newest());
        let (mut newest, mut older, mut errors) = (0, 0, 0);
        for n in 1.. {
            let mut was_read = false;
            // A bit of each field of a meta or of a page's header, or nearly, and others.
            let bits: Vec<u64> = (0..24).map(|n| if n < 16 { n * 64 + rng.u64(..64) } else { rng.u64(..) }).collect();
            for bit in bits {
                let disk = self.disk();
                disk.fail(n, Failure::BitFlip(bit));
                let mut written = None;
                match Options::new().create(false).open_store(&disk) {
                    Ok(db) => {
                        let at_open = disk.call_count();
                        let id = self.state(&db);
                        // Nothing was written, and closing what was only read writes nothing.
                        assert!(disk.image() == self.image, "call {n}, bit {bit}");
                        if id == self.newest() {
                            newest += 1
                        } else {
                            older += 1
                        }
                        was_read |= at_open >= n;
                        let mut model = self.states[&id].clone();
                        let result = db.begin_write().and_then(|mut txn| {
                            was_read |= disk.call_count() >= n;
                            Both { txn: &mut txn, model: &mut model }.put("a", "after", vec![1; 10])?;
                            txn.commit()
                        });
                        match result {
                            Ok(_) => written = Some(model),
                            Err(error) => {
                                assert!(matches!(error, Error::Io { .. } | Error::Corrupt { .. }), "{error}");
                                errors += 1;
                            }
                        }
                    }
                    Err(error) => {
                        let is_told =
                            matches!(error, Error::Corrupt { .. } | Error::NotADatabase | Error::Version { .. });
                        assert!(is_told, "{error}");
                        assert!(disk.image() == self.image, "call {n}, bit {bit}");
                        was_read = true;
                        errors += 1;
                    }
                }
                // The bit was wrong in what was read, and is right in the file: whoever comes next finds what was written, or
                // what was there before.
                let db = Options::new().create(false).open_store(&disk).unwrap();
                match written {
                    Some(model) => {
                        compare(&db.begin_read().unwrap(), &model);
                        assert_sound(&db);
                    }
                    None => drop(self.state(&db)),
                }
            }
            if !was_read {
                return [newest, older, errors];
            }
        }
        unreachable!("some call is the last")
    }
}

/// A flipped bit in what is read at open is as good as damage: a meta slot or a page of its digest does not count then, and the state
/// that the other slot refers to is found, whole, if there is another one. In the root of a commit that was synced it is an error. No wrong
/// value comes of it, and no change of the file until a write transaction begins.
#[test]
fn any_read_at_open_has_a_flipped_bit() {
    // After a clean close both slots say the same: nothing is lost, and nothing older is found.
    let closed = Found::new(&[Durable], drop);
    let [newest, older, errors] = closed.flip_each_read();
    println!("closed: {newest} newest, {older} older, {errors} errors");
    assert!(newest > errors && older == 0);

    // A process that died leaves two states, of which each is whole.
    for last in [&[Durable][..], &[Durable, Relaxed], &[Relaxed, Relaxed], &[Relaxed, Durable]] {
        let killed = Found::new(last, std::mem::forget);
        let [newest, older, errors] = killed.flip_each_read();
        println!("{last:?}: {newest} newest, {older} older, {errors} errors");
        assert!(newest > 0 && older > 0);
    }
}

/// As before, of a process that died while it wrote, at any point: then the state before the newest is whole no longer, as its
/// pages are being written anew. What is left of it reads right, or as an error.
#[test]
fn a_flipped_bit_at_open_after_a_commit_that_was_cut_short() {
    let disk = MemoryStore::new();
    let db = options().open_store(&disk).unwrap();
    let (mut model, mut states) = (Model::new(), BTreeMap::new());
    for round in 0..8u8 {
        let mut txn = db.begin_write().unwrap();
        let both = &mut Both { txn: &mut txn, model: &mut model };
        // Most pages anew, more than are kept in memory.
        for n in 0..600u32 {
            let key = (n * 7919 % 600 + u32::from(round) * 100).to_be_bytes();
            both.put("a", key, vec![round; 600]).unwrap();
        }
        states.insert(txn.commit().unwrap().get(), model.clone());
        if round == 3 {
            disk.record();
        }
    }
    let (mut right, mut cut_short) = (0, 0);
    for cut in 1..=disk.operation_count() {
        let image = disk.crash(cut, |_| true);
        for n in 1..=3 {
            let disk = MemoryStore::with_image(&image);
            disk.fail(n, Failure::BitFlip(40 * 8));
            let Ok(db) = Options::new().create(false).open_store(&disk) else { continue };
            let txn = db.begin_read().unwrap();
            let truth = &states[&txn.id().get()]["a"];
            let is_right = bucket_is_right(&txn, truth);
            assert!(is_right, "cut {cut}, call {n}: a value that was never there in this state, and no error");
            let is_sound = db.check().unwrap().is_ok();
            if is_sound { right += 1 } else { cut_short += 1 }
        }
    }
    println!("{right} whole, {cut_short} cut short");
    assert!(right > 0 && cut_short > 0);
}

/// Whether what can be read of the bucket "a" is what was stored.
fn bucket_is_right(txn: &ReadTxn, truth: &BTreeMap<Vec<u8>, Vec<u8>>) -> bool {
    let Ok(Some(bucket)) = txn.bucket("a") else { return true };
    truth.iter().all(|(key, value)| bucket.get(key).map_or(true, |found| found == Some(&value[..])))
        && bucket.iter().map_while(Result::ok).zip(truth).all(|(entry, truth)| entry == (truth.0, truth.1))
}
