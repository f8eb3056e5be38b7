//! T14, P7: a real disk that is full. The error is reported as what it is, the state before is whole, readers go on, and so
//! does the writer: it can delete, and commit again once there is room.
//!
//! Each test makes file systems of a few MiB and mounts them, for which it must be root on Linux. Where that cannot be, it says so and
//! passes. `FOLIO_SEED=n` repeats the random test.

#![cfg(target_os = "linux")]

#[path = "common/steps.rs"]
mod steps;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use folio::{Database, Durability, Error, Options, Result};
use steps::{Model, Step, assert_sound, compare};

/// A file system of its own, mounted while this lives.
struct Disk {
    dir: tempfile::TempDir,
    kind: &'static str,
}

/// The kinds of file systems: with a journal and small blocks, with blocks of a page and no journal, without the means to
/// allocate ahead, in memory.
const KINDS: [&str; 4] = ["ext4", "ext4 of 4 KiB", "ext2", "tmpfs"];

const DISK_LEN: u64 = 12 << 20;

fn run(command: &mut Command) -> std::result::Result<(), String> {
    let output = command.stdin(Stdio::null()).output().map_err(|error| format!("{command:?}: {error}"))?;
    match output.status.success() {
        true => Ok(()),
        false => Err(format!("{command:?}: {}", String::from_utf8_lossy(&output.stderr).trim())),
    }
}

impl Disk {
    /// `None`, and says why, if it cannot be had here.
    fn new(kind: &'static str) -> Option<Disk> {
        // Nothing here is about power cuts: memory is quicker.
        let dir = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
        let (image, mount) = (dir.path().join("image"), dir.path().join("mount"));
        fs::create_dir(&mount).unwrap();
        File::create(&image).unwrap().set_len(DISK_LEN).unwrap();
        let make = |name: &str, options: &[&str]| {
            run(Command::new(name).args(["-q", "-F", "-m", "0"]).args(options).arg(&image))?;
            run(Command::new("mount").args(["-o", "loop"]).arg(&image).arg(&mount))
        };
        let made = match kind {
            "ext4" => make("mkfs.ext4", &[]),
            "ext4 of 4 KiB" => make("mkfs.ext4", &["-b", "4096", "-O", "^has_journal"]),
            "ext2" => make("mkfs.ext2", &[]),
            _ => {
                let size = format!("size={DISK_LEN}");
                run(Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(&mount))
            }
        };
        match made {
            Ok(()) => Some(Disk { dir, kind }),
            Err(why) => {
                println!("{kind} is skipped: {why}");
                None
            }
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join("mount").join(name)
    }

    /// Fills it with a file of ballast, except for about `left` bytes.
    fn fill(&self, left: u64) {
        let mut ballast = File::options().create(true).append(true).open(self.path("ballast")).unwrap();
        let mut block = &[0xaa; 64 << 10][..];
        while !block.is_empty() {
            match ballast.write(block) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::StorageFull => block = &block[..block.len() / 2],
                Err(error) => panic!("{error}"),
            }
        }
        let len = ballast.metadata().unwrap().len();
        ballast.set_len(len.saturating_sub(left)).unwrap();
        ballast.sync_all().unwrap();
    }

    /// Removes a file, and returns when its room is there for others: a process that another test is starting may have a copy of a
    /// descriptor of it for a moment.
    fn remove(&self, name: &str) {
        let before = fs2::available_space(self.path(".")).unwrap();
        fs::remove_file(self.path(name)).unwrap();
        let begun = Instant::now();
        while fs2::available_space(self.path(".")).unwrap() <= before {
            assert!(begun.elapsed().as_secs() < 60, "the room of {name} is not there again");
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// Takes the ballast away.
    fn empty(&self) {
        match fs::remove_file(self.path("ballast")) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => panic!("{error}"),
            _ => {}
        }
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let mount = self.dir.path().join("mount");
        if run(Command::new("umount").arg(&mount)).is_err() {
            // Somebody still has a file open: it goes when they let go of it.
            if let Err(why) = run(Command::new("umount").arg("-l").arg(&mount)) {
                println!("{} stays mounted: {why}", self.kind);
            }
        }
    }
}

/// Which errors there were, by what was being done.
#[derive(Default, Debug)]
struct Errors(BTreeMap<String, usize>);

impl Errors {
    /// Demands that an error says that the disk is full.
    fn expect_full(&mut self, error: &Error) {
        match error {
            Error::Io { doing, source } if source.kind() == io::ErrorKind::StorageFull => {
                *self.0.entry(doing.to_string()).or_default() += 1;
            }
            _ => panic!("{error:?}"),
        }
    }
}

/// A database, and what it must hold.
struct Both {
    path: PathBuf,
    options: Options,
    db: Option<Database>,
    model: Model,
    errors: Errors,
}

impl Both {
    fn open(path: &Path, options: Options) -> Both {
        let db = Some(options.open(path).unwrap());
        Both { path: path.to_path_buf(), options, db, model: Model::new(), errors: Errors::default() }
    }

    fn db(&self) -> &Database {
        self.db.as_ref().unwrap()
    }

    /// Runs a step. Answers whether the disk had room for it; if not, nothing has changed.
    fn step(&mut self, step: &Step) -> bool {
        let before = self.db().begin_read().unwrap();
        let result = (|| {
            let mut txn = self.db().begin_write()?;
            step.write(&mut txn)?;
            if step.is_aborted { Ok(None) } else { txn.commit_with(step.durability).map(Some) }
        })();
        match &result {
            Ok(Some(_)) => step.follow(&mut self.model),
            Ok(None) => {}
            Err(error) => {
                self.errors.expect_full(error);
                compare(&before, &self.model);
                assert_eq!(self.db().begin_read().unwrap().id(), before.id());
                drop(before);
                self.check();
            }
        }
        result.is_ok()
    }

    fn check(&self) {
        compare(&self.db().begin_read().unwrap(), &self.model);
        assert_sound(self.db());
    }

    fn reopen(&mut self) {
        self.db = None;
        self.db = Some(self.options.open(&self.path).unwrap());
        self.check();
    }
}

/// A commit that puts some entries into the bucket `a`.
fn put(keys: std::ops::Range<u64>, value_len: usize) -> Step {
    Step::put_all("a", keys.map(|n| (n.to_be_bytes().to_vec(), vec![n as u8; value_len])))
}

#[test]
fn commits_until_the_disk_is_full_and_on_again() {
    for kind in KINDS {
        let Some(disk) = Disk::new(kind) else { continue };
        // Small commits; ones that spill; large values; each with other room left on the disk.
        for (round, (count, value_len)) in
            [(9, 300), (3, 3000), (40, 100), (700, 700), (1, 70_000), (1, 1 << 20)].into_iter().enumerate()
        {
            disk.fill((2 << 20) + round as u64 * 70_000);
            let mut both = Both::open(&disk.path("a.folio"), Options::new().dirty_limit(64 * 4096));
            let mut n = 0;
            while both.step(&put(n..n + count, value_len)) {
                n += count;
            }
            // Once more, and other sizes.
            both.step(&put(n..n + count, value_len));
            both.step(&put(n..n + 1, 10));
            both.step(&put(n..n + 2000, 1000));
            both.step(&put(n..n + 1, 3 << 20));
            both.reopen();
            // There is room to delete one by one, and all.
            for n in 0..n.min(50) {
                let step = Step::delete_range("a", n.to_be_bytes().to_vec(), (n + 1).to_be_bytes().to_vec());
                assert!(both.step(&step), "{kind}, round {round}: no room to delete entry {n}");
            }
            assert!(
                both.step(&Step::delete_range("a", vec![0], vec![255])),
                "{kind}, round {round}: no room to delete"
            );
            both.check();
            for k in 0..3 {
                assert!(both.step(&put(k..k + 1, 100)), "{kind}, round {round}: no room after everything is deleted");
            }
            both.reopen();
            // With the ballast gone, it takes what it refused.
            disk.empty();
            assert!(both.step(&put(0..2000, 1000)) && both.step(&put(7000..7001, 3 << 20)));
            both.reopen();
            println!("{kind}: {n} entries of {value_len} bytes; {:?}", both.errors.0);
            drop(both);
            disk.remove("a.folio");
        }
    }
}

/// What fills a disk by small commits can be deleted by small commits, each of which needs new pages before it frees any.
#[test]
fn a_database_on_a_full_disk_can_delete() {
    for kind in KINDS {
        let Some(disk) = Disk::new(kind) else { continue };
        for (round, value_len) in [300, 40, 1500, 800, 3000, 9000].into_iter().enumerate() {
            let mut both = Both::open(&disk.path("a.folio"), Options::new());
            let mut rng = fastrand::Rng::with_seed(round as u64);
            disk.fill(800_000 + round as u64 * 5000);
            // Many at first, then one by one, at random places, so that what is free is scattered.
            let mut keys = Vec::new();
            for count in [100, 1] {
                loop {
                    let new: Vec<u64> = (0..count).map(|_| rng.u64(..)).collect();
                    let entries = new.iter().map(|key| (key.to_be_bytes().to_vec(), vec![1; value_len]));
                    if !both.step(&Step::put_all("a", entries)) {
                        break;
                    }
                    keys.extend(new);
                }
            }
            if round % 2 == 1 {
                both.reopen();
            }
            rng.shuffle(&mut keys);
            for (n, key) in keys.iter().take(200).enumerate() {
                let step = Step::delete_range("a", key.to_be_bytes().to_vec(), (key + 1).to_be_bytes().to_vec());
                assert!(both.step(&step), "{kind}, {value_len} bytes, {n} of {}: no room to delete", keys.len());
            }
            both.check();
            assert!(both.step(&Step::delete_range("a", vec![0], vec![255])));
            assert!(both.step(&put(0..20, value_len)));
            both.reopen();
            println!("{kind}: {} entries of {value_len} bytes; {:?}", keys.len(), both.errors.0);
            drop(both);
            disk.remove("a.folio");
        }
    }
}

#[test]
fn random_steps_while_the_room_on_the_disk_changes() {
    let seed = std::env::var("FOLIO_SEED").ok().map_or(7, |text| text.parse().expect("a number"));
    println!("replay with FOLIO_SEED={seed}");
    for kind in KINDS {
        let Some(disk) = Disk::new(kind) else { continue };
        let mut rng = fastrand::Rng::with_seed(seed);
        let (mut done, mut errors) = (0, BTreeMap::new());
        for _ in 0..5 {
            let options = Options::new().dirty_limit(64 * 4096).sync_bytes(rng.u64(..500_000));
            let mut both = Both::open(&disk.path("a.folio"), options);
            for room in [1_500_000, 300_000, 20_000] {
                disk.fill(rng.u64(..room));
                for _ in 0..20 {
                    done += u32::from(both.step(&Step::random(&mut rng)));
                }
                if rng.bool() {
                    both.reopen();
                }
            }
            disk.empty();
            for _ in 0..5 {
                assert!(both.step(&Step::random(&mut rng)));
            }
            both.reopen();
            both.errors.0.into_iter().for_each(|(doing, count)| *errors.entry(doing).or_default() += count);
            drop(both.db);
            disk.remove("a.folio");
        }
        println!("{kind}: {done} of 300 steps; {errors:?}");
        assert!(errors.values().sum::<usize>() > 5);
    }
}

/// A database that does not fit is not made: there is an error, and no file.
#[test]
fn creating_a_database_on_a_full_disk() -> Result<()> {
    for kind in KINDS {
        let Some(disk) = Disk::new(kind) else { continue };
        let (mut made, mut refused) = (0, Errors::default());
        for left in (0..200_000).step_by(14_000) {
            disk.fill(left);
            let path = disk.path("a.folio");
            match Database::open(&path) {
                Ok(db) => {
                    made += 1;
                    let result = db.exec(|txn| txn.bucket_mut("a")?.put("k", "v"));
                    let is_there = result.is_ok();
                    let _counted = result.inspect_err(|error| refused.expect_full(error));
                    assert_sound(&db);
                    drop(db);
                    let db = Options::new().create(false).open(&path)?;
                    assert_eq!(db.begin_read()?.bucket("a")?.is_some(), is_there);
                    drop(db);
                    fs::remove_file(&path).unwrap();
                }
                Err(error) => refused.expect_full(&error),
            }
            let mut names = fs::read_dir(path.parent().unwrap()).unwrap().map(|entry| entry.unwrap().file_name());
            assert!(names.all(|name| name == "ballast" || name == "lost+found"));
        }
        println!("{kind}: {made} databases; {:?}", refused.0);
    }
    Ok(())
}

/// What did not fit leaves the disk to others.
#[test]
fn growth_that_fails_takes_no_room() {
    for kind in KINDS {
        let Some(disk) = Disk::new(kind) else { continue };
        let mut both = Both::open(&disk.path("a.folio"), Options::new());
        assert!(both.step(&put(0..100, 300)));
        let len = both.path.metadata().unwrap().len();
        disk.fill(2 << 20);
        assert!(!both.step(&put(100..101, 5 << 20)));
        assert_eq!(both.path.metadata().unwrap().len(), len, "{kind}");
        fs::write(disk.path("another"), vec![1; 3 << 19]).unwrap();
        both.reopen();
    }
}

/// A relaxed commit that was acknowledged has its place on the disk: the sync after it does not fail.
#[test]
fn relaxed_commits_can_be_synced_on_a_full_disk() -> Result<()> {
    for kind in KINDS {
        let Some(disk) = Disk::new(kind) else { continue };
        let path = disk.path("a.folio");
        let options = Options::new().durability(Durability::Relaxed);
        let mut both = Both::open(&path, options);
        disk.fill(1_500_000);
        let mut n = 0;
        while both.step(&put(n..n + 5, 400).relaxed()) {
            n += 5;
        }
        disk.fill(0);
        both.db().sync()?;
        assert_eq!(both.db().stats()?.durable_id, both.db().stats()?.txn_id);
        both.reopen();
        println!("{kind}: {n} entries; {:?}", both.errors.0);
    }
    Ok(())
}
