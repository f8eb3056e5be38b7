//! What the shell is in the middle of: a database, a bucket, perhaps a transaction. It runs one command after the other.

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::ops::Bound;
use std::time::Instant;

use folio::{Bucket, Database, Entry, Range, ReadTxn, Savepoint, WriteTxn};

use super::command::{self, Command};
use super::value::{self, Mode};
use super::{Next, pages};
use crate::failure::Failure;
use crate::interrupt::Interrupt;
use crate::table::grouped;
use crate::{check, kinds, stat};

pub struct Session {
    database: Database,
    bucket: String,
    open: Option<Open>,
    mode: Mode,
    has_timer: bool,
    pub interrupt: Interrupt,
}

/// A transaction between `begin` and its end.
struct Open {
    txn: WriteTxn,
    /// The newest last. A name that is given twice means the newer one.
    savepoints: Vec<(String, Savepoint)>,
}

/// What a command reads: the open transaction as it is, or the newest snapshot.
enum View<'a> {
    Read(ReadTxn),
    Write(&'a WriteTxn),
}

impl View<'_> {
    fn bucket(&self, name: &str) -> folio::Result<Option<Bucket<'_>>> {
        match self {
            View::Read(txn) => txn.bucket(name),
            View::Write(txn) => txn.bucket(name),
        }
    }

    fn buckets(&self) -> folio::Result<Vec<String>> {
        match self {
            View::Read(txn) => txn.buckets(),
            View::Write(txn) => txn.buckets(),
        }
    }
}

impl Session {
    pub fn new(database: Database, bucket: String) -> Session {
        Session { database, bucket, open: None, mode: Mode::Text, has_timer: false, interrupt: Interrupt::default() }
    }

    /// Runs what is on a line, and prints what comes of it.
    pub fn run(&mut self, line: &[u8], out: &mut impl Write) -> Result<Next, Failure> {
        let Some(command) = command::parse(line).map_err(Failure::Outside)? else { return Ok(Next::Line) };
        let (start, had_timer) = (Instant::now(), self.has_timer);
        let result = self.execute(command, out);
        // What was found before an error is worth seeing, and comes before it.
        out.flush()?;
        if had_timer && self.has_timer {
            // There is nobody left to tell when stderr is closed.
            let _ = writeln!(io::stderr(), "({:.6} s)", start.elapsed().as_secs_f64());
        }
        result
    }

    /// What stands before a line that is typed.
    pub fn prompt(&self) -> String {
        let star = if self.open.is_some() { "*" } else { "" };
        format!("{}{star}> ", value::typed(self.bucket.as_bytes()))
    }

    /// The end of all lines. An open transaction is rolled back, which is an error: its changes are lost.
    pub fn end(&mut self) -> Result<(), Failure> {
        match self.open.take() {
            None => Ok(()),
            Some(_) => {
                let why = "the input ended in a transaction, which is rolled back; end it with commit or rollback";
                Err(Failure::Outside(why.to_owned()))
            }
        }
    }

    pub fn buckets(&self) -> folio::Result<Vec<String>> {
        self.view()?.buckets()
    }

    /// The names of the savepoints there are, each once.
    pub fn savepoints(&self) -> Vec<String> {
        let names = self.open.iter().flat_map(|open| open.savepoints.iter().map(|(name, _)| name.clone()));
        names.collect::<BTreeSet<String>>().into_iter().collect()
    }

    fn execute(&mut self, command: Command, out: &mut impl Write) -> Result<Next, Failure> {
        match command {
            Command::Set { key, value } => self.set(&key, &value)?,
            Command::Get(key) => self.get(&key, out)?,
            Command::Delete(key) => self.delete(&key, out)?,
            Command::Scan { from, to } => self.scan(from, to, out)?,
            Command::Prefix(prefix) => self.prefix(&prefix, out)?,
            Command::Count => self.count(out)?,
            Command::Use(bucket) => self.bucket = bucket,
            Command::Buckets => self.print_buckets(out)?,
            Command::Drop(bucket) => self.drop_bucket(bucket, out)?,
            Command::Begin => self.begin()?,
            Command::Commit => self.commit()?,
            Command::Rollback => drop(self.take_open()?),
            Command::Savepoint(name) => self.savepoint(name)?,
            Command::RollbackTo(name) => self.rollback_to(&name)?,
            Command::Stats => self.stats(out)?,
            Command::Dump => self.dump(out)?,
            Command::Page(page) => pages::page(&self.database, page, self.mode, &self.interrupt, out)?,
            Command::Check => self.check(out)?,
            Command::Mode(mode) => self.mode = mode,
            Command::Timer(is_on) => self.has_timer = is_on,
            Command::Help => writeln!(out, "{}", command::help())?,
            Command::Exit => return Ok(Next::End),
        }
        Ok(Next::Line)
    }

    fn view(&self) -> folio::Result<View<'_>> {
        Ok(match &self.open {
            Some(open) => View::Write(&open.txn),
            None => View::Read(self.database.begin_read()?),
        })
    }

    /// Changes something: in the open transaction, or in one of its own.
    fn change<T>(&mut self, change: impl FnOnce(&mut WriteTxn) -> folio::Result<T>) -> Result<T, Failure> {
        Ok(match &mut self.open {
            Some(open) => change(&mut open.txn)?,
            None => self.database.exec(change)?,
        })
    }

    fn set(&mut self, key: &[u8], value: &[u8]) -> Result<(), Failure> {
        let bucket = self.bucket.clone();
        self.change(|txn| txn.bucket_mut(&bucket)?.put(key, value))
    }

    fn get(&self, key: &[u8], out: &mut impl Write) -> Result<(), Failure> {
        let view = self.view()?;
        let value = match view.bucket(&self.bucket)? {
            Some(bucket) => bucket.get(key)?,
            None => None,
        };
        match value {
            Some(value) if self.mode == Mode::Json => self.print_entry((key, value), out),
            Some(value) => Ok(writeln!(out, "{}", value::show(value, self.mode))?),
            None => self.print_nil(out),
        }
    }

    fn delete(&mut self, key: &[u8], out: &mut impl Write) -> Result<(), Failure> {
        // Asked first, because `bucket_mut` would create the bucket; and what changes nothing needs no commit.
        let is_there = match self.view()?.bucket(&self.bucket)? {
            Some(bucket) => bucket.contains(key)?,
            None => false,
        };
        if !is_there {
            return self.print_nil(out);
        }
        let bucket = self.bucket.clone();
        self.change(|txn| txn.bucket_mut(&bucket)?.delete(key)).map(|_| ())
    }

    fn scan(&self, from: Option<Vec<u8>>, to: Option<Vec<u8>>, out: &mut impl Write) -> Result<(), Failure> {
        let from = from.map_or(Bound::Unbounded, Bound::Included);
        let to = to.map_or(Bound::Unbounded, Bound::Excluded);
        let view = self.view()?;
        self.print_entries(view.bucket(&self.bucket)?.map(|bucket| bucket.range((from, to))), out)
    }

    fn prefix(&self, prefix: &[u8], out: &mut impl Write) -> Result<(), Failure> {
        let view = self.view()?;
        self.print_entries(view.bucket(&self.bucket)?.map(|bucket| bucket.prefix(prefix)), out)
    }

    /// Prints entries and how many there are. A bucket that is missing has none.
    fn print_entries(&self, entries: Option<Range<'_>>, out: &mut impl Write) -> Result<(), Failure> {
        let mut count: u64 = 0;
        for entry in entries.into_iter().flatten() {
            self.interrupt.check(|| results(count))?;
            self.print_entry(entry?, out)?;
            count += 1;
        }
        if self.mode != Mode::Json {
            writeln!(out, "({})", results(count))?;
        }
        Ok(())
    }

    fn print_entry(&self, (key, value): Entry<'_>, out: &mut impl Write) -> Result<(), Failure> {
        match self.mode {
            Mode::Json => {
                writeln!(out, "{}", serde_json::json!({ "key": value::json(key), "value": value::json(value) }))?;
            }
            mode => writeln!(out, "{}\t{}", value::show(key, mode), value::show(value, mode))?,
        }
        Ok(())
    }

    fn print_nil(&self, out: &mut impl Write) -> Result<(), Failure> {
        writeln!(out, "{}", if self.mode == Mode::Json { "null" } else { "(nil)" })?;
        Ok(())
    }

    fn count(&self, out: &mut impl Write) -> Result<(), Failure> {
        let view = self.view()?;
        writeln!(out, "{}", view.bucket(&self.bucket)?.map_or(0, |bucket| bucket.len()))?;
        Ok(())
    }

    fn print_buckets(&self, out: &mut impl Write) -> Result<(), Failure> {
        for name in self.buckets()? {
            // Not as hex: a name is text, and is typed as such.
            let mode = if self.mode == Mode::Json { Mode::Json } else { Mode::Text };
            writeln!(out, "{}", value::show(name.as_bytes(), mode))?;
        }
        Ok(())
    }

    fn drop_bucket(&mut self, bucket: Option<String>, out: &mut impl Write) -> Result<(), Failure> {
        let bucket = bucket.unwrap_or_else(|| self.bucket.clone());
        if self.view()?.bucket(&bucket)?.is_none() {
            return self.print_nil(out);
        }
        self.change(|txn| txn.drop_bucket(&bucket)).map(|_| ())
    }

    fn begin(&mut self) -> Result<(), Failure> {
        if self.open.is_some() {
            let why = "a transaction is open already; end it with commit or rollback, or mark a state with savepoint N";
            return Err(Failure::Outside(why.to_owned()));
        }
        self.open = Some(Open { txn: self.database.begin_write()?, savepoints: Vec::new() });
        Ok(())
    }

    fn commit(&mut self) -> Result<(), Failure> {
        self.take_open()?.txn.commit()?;
        Ok(())
    }

    fn take_open(&mut self) -> Result<Open, Failure> {
        self.open.take().ok_or_else(no_transaction)
    }

    fn savepoint(&mut self, name: String) -> Result<(), Failure> {
        let open = self.open.as_mut().ok_or_else(no_transaction)?;
        let savepoint = open.txn.savepoint()?;
        open.savepoints.push((name, savepoint));
        Ok(())
    }

    fn rollback_to(&mut self, name: &str) -> Result<(), Failure> {
        let open = self.open.as_mut().ok_or_else(no_transaction)?;
        let Some(at) = open.savepoints.iter().rposition(|(known, _)| known == name) else {
            let why = format!("no savepoint {}; mark one with savepoint N", value::typed(name.as_bytes()));
            return Err(Failure::NotFound(why));
        };
        open.txn.rollback_to(&open.savepoints[at].1)?;
        open.savepoints.truncate(at + 1);
        Ok(())
    }

    fn stats(&self, out: &mut impl Write) -> Result<(), Failure> {
        let stats = self.database.stats()?;
        let view = self.view()?;
        let mut buckets = Vec::new();
        for name in view.buckets()? {
            if let Some(bucket) = view.bucket(&name)? {
                buckets.push((name, bucket.stats()?));
            }
        }
        let Some(map) = self.database.page_map_until(|_, _| self.interrupt.flow())? else {
            return Err(Interrupt::failure("a part of the file"));
        };
        stat::Whole { stats, kinds: kinds::count(&map), buckets }.print_tables(out)
    }

    fn dump(&self, out: &mut impl Write) -> Result<(), Failure> {
        let page_size = self.database.stats()?.page_size;
        let view = self.view()?;
        match view.bucket(&self.bucket)? {
            Some(bucket) => pages::dump(&bucket, page_size, self.mode, &self.interrupt, out),
            None => self.print_nil(out),
        }
    }

    fn check(&self, out: &mut impl Write) -> Result<(), Failure> {
        let mut seen = (0, 0);
        let report = self.database.check_until(|pages, of| {
            seen = (pages, of);
            self.interrupt.flow()
        })?;
        match report {
            Some(report) => check::print(&report, out),
            None => Err(Interrupt::failure(&format!("{} of {} pages", grouped(seen.0), grouped(seen.1)))),
        }
    }
}

fn results(count: u64) -> String {
    format!("{count} result{}", if count == 1 { "" } else { "s" })
}

fn no_transaction() -> Failure {
    Failure::Outside("no transaction is open; begin one".to_owned())
}
