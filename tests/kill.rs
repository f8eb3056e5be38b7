//! P1, P4: a real process on a real file, killed in the midst of its commits. What it acknowledged is there, relaxed commits
//! included, since the system outlives the process; what it had begun is there whole or not at all. The next process goes on with the
//! same file, so that recovery is followed by recovery.
//!
//! `FOLIO_KILLS=200 cargo test --release --test kill -- --nocapture` goes deeper. `FOLIO_SEED=n` repeats the histories of a
//! run; when the blow falls is up to the machine.

#[path = "common/steps.rs"]
mod steps;

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use folio::{Database, Durability, Options};
use steps::{Model, Step, assert_sound, compare};

/// Long for whatever a test waits for.
const PATIENCE: Duration = Duration::from_secs(60);

const ROLE: &str = "FOLIO_KILL_ROLE";
const PATH: &str = "FOLIO_KILL_PATH";
const SEED: &str = "FOLIO_KILL_SEED";

const SIGKILL: i32 = 9;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().expect("a number"))
}

/// Another process, which runs `another_process` in a role until it is killed.
struct Victim {
    child: Child,
    said: Receiver<String>,
}

impl Victim {
    fn start(role: &str, path: &Path, seed: u64) -> Victim {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "another_process", "--nocapture"]);
        command.env(ROLE, role).env(PATH, path).env(SEED, seed.to_string());
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let (sender, said) = channel();
        // Ends with the pipe.
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                // Lines of the test harness are none of ours.
                if let Some((_, what)) = line.split_once("says: ") {
                    let _nobody_listens = sender.send(what.to_string());
                }
            }
        });
        Victim { child, said }
    }

    /// What it says next.
    fn says(&self) -> String {
        self.said.recv_timeout(PATIENCE).expect("the other process is alive")
    }

    /// Kills it. Answers what it had said and nobody had heard.
    fn kill(mut self) -> Vec<String> {
        self.child.kill().unwrap();
        let status = self.child.wait().unwrap();
        assert_eq!(status.signal(), Some(SIGKILL), "it ended by itself: {status}");
        let unheard = std::iter::from_fn(|| self.said.recv_timeout(PATIENCE).ok());
        unheard.collect()
    }
}

impl Drop for Victim {
    fn drop(&mut self) {
        // Both have nothing to do after `kill`.
        let _gone_already = self.child.kill();
        let _status = self.child.wait();
    }
}

/// A directory that stays where it is if the test fails.
struct Temp(Option<tempfile::TempDir>);

impl Temp {
    fn new() -> Temp {
        Temp(Some(tempfile::tempdir().unwrap()))
    }

    fn path(&self) -> &Path {
        self.0.as_ref().expect("present until the drop").path()
    }
}

impl Drop for Temp {
    fn drop(&mut self) {
        if let (true, Some(dir)) = (std::thread::panicking(), self.0.take()) {
            println!("see {}", dir.keep().display());
        }
    }
}

/// Not a test of its own: what other tests run as another process, in the role that the environment names.
#[test]
fn another_process() {
    let Ok(role) = std::env::var(ROLE) else { return };
    let path = PathBuf::from(std::env::var_os(PATH).unwrap());
    match role.as_str() {
        "commit" => commit_for_ever(&path, number(SEED).unwrap()),
        "create" => create_for_ever(&path),
        other => panic!("no such role: {other}"),
    }
}

/// Commits step after step, and says what it does. Panics when nobody listens any more.
fn commit_for_ever(path: &Path, seed: u64) {
    // The steps have a generator of their own, since the parent draws the same ones from it.
    let (mut steps, mut rng) = (fastrand::Rng::with_seed(seed), fastrand::Rng::with_seed(!seed));
    // A commit that waits for the disk is mostly killed while it waits; one that does not, while it writes.
    let is_relaxed = rng.bool();
    let options = Options::new().dirty_limit(64 * 4096).sync_bytes(rng.u64(..3_000_000));
    println!("says: opening");
    let mut db = options.open(path).unwrap();
    println!("says: open");
    let mut reader = None;
    loop {
        match rng.u32(..30) {
            0 => {
                println!("says: reopening");
                reader = None;
                drop(db);
                db = options.open(path).unwrap();
                println!("says: open");
            }
            1..4 => {
                println!("says: syncing");
                match rng.bool() {
                    true => db.sync().unwrap(),
                    false => db.wait_durable(db.begin_read().unwrap().id()).unwrap(),
                }
                assert_eq!(db.durable_id(), db.begin_read().unwrap().id());
                println!("says: synced");
            }
            4..7 => reader = Some(db.begin_read().unwrap()),
            7..10 => reader = None,
            _ => {}
        }
        let step = Step::random(&mut steps);
        let mut txn = db.begin_write().unwrap();
        let id = txn.id().get();
        println!("says: begun {id}");
        step.write(&mut txn).unwrap();
        if step.is_aborted {
            drop(txn);
            println!("says: aborted {id}");
            continue;
        }
        println!("says: committing {id}");
        let durability = if is_relaxed { Durability::Relaxed } else { step.durability };
        assert_eq!(txn.commit_with(durability).unwrap().get(), id);
        println!("says: {} {id}", if durability == Durability::Durable { "durable" } else { "relaxed" });
        if let Some(reader) = &reader {
            assert!(reader.id().get() <= id);
        }
    }
}

/// What a killed process had said, as far as it matters.
#[derive(Default)]
struct Account {
    /// How many commits it acknowledged.
    acknowledged: usize,
    /// The last transactions that it began, committed, and committed for certain; 0 for none.
    committing: u64,
    committed: u64,
    durable: u64,
    last: String,
}

impl Account {
    fn hear(&mut self, line: String) {
        let mut words = line.split(' ');
        let what = words.next().unwrap();
        let id = words.next().map(|id| id.parse().unwrap());
        match (what, id) {
            ("committing", Some(id)) => self.committing = id,
            ("durable" | "relaxed", Some(id)) => {
                self.acknowledged += 1;
                self.committed = id;
                if what == "durable" {
                    self.durable = id;
                }
            }
            ("synced", None) => self.durable = self.committed,
            ("begun" | "aborted", Some(_)) | ("open" | "opening" | "reopening" | "syncing", None) => {}
            _ => panic!("said {line:?}"),
        }
        self.last = line;
    }
}

/// The states that a history passes through: `.0[n]` is the one after `n` commits.
fn states(seed: u64, base: Model, count: usize) -> Vec<Model> {
    let mut steps = fastrand::Rng::with_seed(seed);
    let mut states = vec![base];
    while states.len() <= count {
        let step = Step::random(&mut steps);
        if !step.is_aborted {
            let mut next = states.last().unwrap().clone();
            step.follow(&mut next);
            states.push(next);
        }
    }
    states
}

/// Starts a process on the file, kills it some time after `count` acknowledged commits, and hears what it said.
fn kill_one(path: &Path, seed: u64, count: usize, delay: Duration) -> Account {
    let victim = Victim::start("commit", path, seed);
    let mut account = Account::default();
    while account.acknowledged < count || account.last.is_empty() {
        account.hear(victim.says());
    }
    std::thread::sleep(delay);
    victim.kill().into_iter().for_each(|line| account.hear(line));
    account
}

/// Opens the file that a killed process left, demands that it holds one of the states that it may, and answers that one.
fn recover(path: &Path, account: &Account, seed: u64, base: Model, base_id: u64) -> (Model, u64) {
    let begun = account.committing.max(base_id);
    let mut states = states(seed, base, (begun - base_id) as usize);
    let has_boot_id = Path::new("/proc/sys/kernel/random/boot_id").exists();
    let kept = if has_boot_id { account.committed } else { account.durable }.max(base_id);
    let db = Database::open(path).unwrap();
    let txn = db.begin_read().unwrap();
    let found = txn.id().get();
    assert!((kept..=begun).contains(&found), "found commit {found}, of {kept}..={begun}; last said: {}", account.last);
    let state = states.swap_remove((found - base_id) as usize);
    compare(&txn, &state);
    drop(txn);
    assert_sound(&db);
    (state, found)
}

/// Three more commits, and another open.
fn go_on(path: &Path, rng: &mut fastrand::Rng, model: &mut Model) -> u64 {
    let db = Database::open(path).unwrap();
    for _ in 0..3 {
        let step = Step::random(rng);
        let mut txn = db.begin_write().unwrap();
        step.write(&mut txn).unwrap();
        txn.commit_with(step.durability).unwrap();
        step.follow(model);
        compare(&db.begin_read().unwrap(), model);
    }
    drop(db);
    let db = Database::open(path).unwrap();
    let txn = db.begin_read().unwrap();
    compare(&txn, model);
    assert_sound(&db);
    txn.id().get()
}

#[test]
fn a_process_killed_at_any_moment_loses_nothing() {
    let seed = number("FOLIO_SEED").unwrap_or_else(|| fastrand::u64(..));
    println!("replay with FOLIO_SEED={seed}");
    let kills = number("FOLIO_KILLS").unwrap_or(10);
    let mut rng = fastrand::Rng::with_seed(seed);
    let dir = Temp::new();
    let path = dir.path().join("a.folio");
    let (mut base, mut base_id) = (Model::new(), 1);
    // How many were killed while they changed something, while they committed; how many of those commits are there.
    let (mut changing, mut committing, mut completed, mut commits) = (0, 0, 0, 0);
    for kill in 0..kills {
        let history = rng.u64(..);
        let count = if rng.u32(..6) == 0 { 0 } else { rng.usize(..60) };
        let account = kill_one(&path, history, count, Duration::from_micros(rng.u64(..3000)));
        println!("kill {kill}: {} commits on commit {base_id}, then {:?}", account.acknowledged, account.last);
        // For whoever has to find out why this fails.
        if path.exists() {
            fs::copy(&path, dir.path().join("found.folio")).unwrap();
        }
        let (mut state, found) = recover(&path, &account, history, base, base_id);
        commits += account.acknowledged;
        changing += u64::from(account.last.starts_with("begun"));
        committing += u64::from(account.last.starts_with("committing"));
        completed += u64::from(account.last.starts_with("committing") && found == account.committing);
        base_id = go_on(&path, &mut rng, &mut state);
        base = state;
    }
    println!(
        "{kills} kills, {commits} commits acknowledged; {changing} kills hit a transaction that made its changes, {committing} one that \
         committed, of which {completed} were complete"
    );
}

/// Creates one database after the other. Every third path is an empty file before.
fn create_for_ever(dir: &Path) {
    for n in 0u32.. {
        let path = dir.join(format!("{n}.folio"));
        if n % 3 == 2 {
            fs::write(&path, "").unwrap();
        }
        println!("says: creating {n}");
        let db = Options::new().page_size(4096 << (n % 5)).open(&path).unwrap();
        println!("says: created {n}");
        if n % 2 == 1 {
            db.exec(|txn| txn.bucket_mut("a")?.put("n", n.to_be_bytes())).unwrap();
            println!("says: committed {n}");
        }
    }
}

/// T4: what a process that dies leaves under the name of a database is a database, or what was there before.
#[test]
fn a_process_killed_creating_leaves_nothing_or_a_database() {
    let seed = number("FOLIO_SEED").unwrap_or_else(|| fastrand::u64(..));
    println!("replay with FOLIO_SEED={seed}");
    let kills = number("FOLIO_KILLS").unwrap_or(10);
    let mut rng = fastrand::Rng::with_seed(seed);
    let (mut creating, mut whole, mut nothing, mut left) = (0, 0, 0, 0);
    for _ in 0..kills {
        let dir = Temp::new();
        let victim = Victim::start("create", dir.path(), 0);
        let mut said = vec![victim.says()];
        let count = rng.usize(..20);
        while said.len() < count {
            said.push(victim.says());
        }
        std::thread::sleep(Duration::from_micros(rng.u64(..2000)));
        said.extend(victim.kill());
        let last = said.last().unwrap();
        creating += u64::from(last.starts_with("creating"));
        let has_said = |what: &str, n: u32| said.contains(&format!("{what} {n}"));
        for n in 0.. {
            let path = dir.path().join(format!("{n}.folio"));
            if !path.exists() || path.metadata().unwrap().len() == 0 {
                assert!(!has_said("created", n), "{n} is missing; last said: {last}");
                nothing += u64::from(has_said("creating", n));
                // It was the last one.
                assert!(!has_said("creating", n + 1), "{n} is missing; last said: {last}");
                break;
            }
            let db = Options::new().create(false).open(&path).unwrap();
            assert_sound(&db);
            assert_eq!(db.stats().unwrap().page_size, 4096 << (n % 5));
            let txn = db.begin_read().unwrap();
            match txn.bucket("a").unwrap() {
                None => assert!(!has_said("committed", n), "{n} is empty; last said: {last}"),
                Some(a) => assert_eq!(a.get("n").unwrap(), Some(&n.to_be_bytes()[..])),
            }
            drop(txn);
            db.exec(|txn| txn.bucket_mut("b")?.put("k", "v")).unwrap();
            assert_sound(&db);
            whole += 1;
        }
        let is_database = |name: &Path| name.extension().is_some_and(|extension| extension == "folio");
        let others = fs::read_dir(dir.path()).unwrap().filter(|entry| !is_database(&entry.as_ref().unwrap().path()));
        let others = others.count() as u64;
        assert!(others <= 1, "{others} other files");
        left += others;
        // What was left behind is in nobody's way.
        let next = dir.path().join("next.folio");
        assert_sound(&Database::open(&next).unwrap());
    }
    println!(
        "{kills} kills, {creating} in a creation; {whole} databases, {nothing} missing, {left} temporary files left"
    );
}
