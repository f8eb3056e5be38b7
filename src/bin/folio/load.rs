//! `folio load`: many entries from a file or stdin, all in one transaction, or none.

use std::collections::BTreeSet;
use std::io::{self, IsTerminal, Write};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use folio::{Durability, Error, Options, WriteTxn};

use crate::failure::{Failure, tell};
use crate::format::{Bad, Format, Reader, Record, Step};
use crate::input::Input;
use crate::open::{self, Wait};
use crate::table::counted;
use crate::text::Form;

/// From the least to the largest, each twice the one before.
const PAGE_SIZES: RangeInclusive<u32> = 4096..=65536;

/// Load entries from a file or stdin: all of them in one transaction, or none
#[derive(clap::Args)]
#[command(after_help = "\
The formats; without --format the extension .dump, .tsv, .csv, .jsonl or .ndjson names one, else a first line
VERSION=... is a dump and any other is tsv:
  dump   The text of mdb_dump, mdbx_dump and db_dump. Each database goes to the bucket of its name, one without
         a name to the bucket main. Dump an LMDB environment of named databases with mdb_dump -a.
  tsv    A line is key TAB value with the escapes \\t \\n \\r \\\\ \\xHH; quotes mean nothing.
  csv    The first line is key,value; columns may be in any order. Fields are quoted as in RFC 4180 and taken as
         they are, backslashes and all. A quote in a field that does not begin with one stands for itself.
  jsonl  A line is {\"key\":\"...\",\"value\":\"...\"}; bytes that are not UTF-8 go under key_hex or value_hex.
With BUCKET everything goes there. Without it every line names its bucket in front: bucket TAB key TAB value, the
column bucket, the field \"bucket\".

In every format lines end with LF or CRLF, the last one with or without; empty lines and a byte order mark of
UTF-8 at the beginning are passed over. In memory is the longest line, or row, twice at most.

Of two entries with the same key the later one counts. Input sorted by key loads fastest. A new database gets the
page size that a dump names, if folio has it.

Examples: folio load words.folio words words.tsv
          sort -u words.tsv | folio load words.folio words
          folio load words.folio words words.jsonl --relaxed
          mdb_dump -a environment | folio load new.folio
          folio load new.folio --input all.csv --partial")]
pub struct Args {
    /// The database; created when missing
    pub file: PathBuf,
    /// The bucket; created when missing [default: the input names buckets]
    bucket: Option<String>,
    /// The file to load; - is stdin [default: -]
    #[arg(conflicts_with = "from")]
    input: Option<PathBuf>,
    /// The file to load, where no BUCKET is given
    #[arg(short = 'i', long = "input", value_name = "INPUT")]
    from: Option<PathBuf>,
    /// The format of the input [default: see below]
    #[arg(long, value_enum)]
    format: Option<Format>,
    /// Keys and values are in hexadecimal
    #[arg(long)]
    hex: bool,
    /// In csv, take the escapes \t \n \r \\ \xHH for what they stand for; earlier versions of dump wrote them
    #[arg(long)]
    escapes: bool,
    /// Keep what comes before a malformed line; the exit code is still 2
    #[arg(long)]
    partial: bool,
    #[command(flatten)]
    wait: Wait,
    /// The page size of a new database, 4096 to 65536: larger pages take longer keys [default: a dump's, else 4096]
    #[arg(long, value_name = "BYTES")]
    page_size: Option<u32>,
    /// Let the commit not wait for the disk: a power cut right after it may lose the load, but damages nothing
    #[arg(long)]
    relaxed: bool,
}

pub fn run(args: &Args, out: &mut impl Write) -> Result<(), Failure> {
    if io::stdin().is_terminal() {
        refuse_mistaken_bucket(args)?;
    }
    let path = args.from.as_deref().or(args.input.as_deref()).unwrap_or(Path::new("-"));
    // Before the database, so that a mistyped input leaves no new database behind.
    let input = Input::open(path)?;
    let format = args.format.unwrap_or_else(|| input.format(path));
    if format == Format::Dump && args.hex {
        return Err(Failure::Outside("--hex: a dump says itself how it is written; leave --hex out".to_owned()));
    }
    if format != Format::Csv && args.escapes {
        return Err(Failure::Outside("--escapes: is for --format csv; leave it out".to_owned()));
    }
    let mut reader = format.reader(input.text, args.bucket.as_deref(), Form::new(args.hex), args.escapes);

    let mut record = Record { bucket: args.bucket.clone().unwrap_or_default(), ..Record::default() };
    // Before the database, too: what comes first says how large its pages are to be.
    let mut first = reader.next(&mut record);
    while let Ok(Step::Ignored(what)) = first {
        tell_ignored(&input.name, record.line, &what);
        first = reader.next(&mut record);
    }
    let (database, created) = open::writing_or_created(&args.file, &options(args, &*reader))?;
    let mut loader = Loader::new(database.begin_write()?, input.name);
    if let Some(bucket) = &args.bucket {
        loader.begin(bucket)?;
    }
    let outcome = loader.take_all(first, record, &mut *reader);
    input.bar.finish_and_clear();
    match outcome {
        Ok(()) => {
            if loader.loaded == 0 {
                refuse_mistaken_bucket(args)?;
            }
            let said = loader.summary(format)?;
            loader.commit(args)?;
            created.keep();
            writeln!(out, "{said}")?;
            Ok(())
        }
        Err(Stop::Bad(bad)) if args.partial && loader.loaded > 0 => {
            let were = if loader.loaded == 1 { "was" } else { "were" };
            let kept = format!("the {} before it {were} loaded", format.counted(loader.loaded));
            let failure = loader.failed(&bad, &kept);
            loader.commit(args)?;
            created.keep();
            Err(failure)
        }
        Err(Stop::Bad(bad)) => Err(loader.failed(&bad, "nothing was loaded")),
        Err(Stop::Database(error)) => Err(error.into()),
    }
}

/// How to open the database; a new one has the page size that was asked for, or that of the input.
fn options(args: &Args, reader: &dyn Reader) -> Options {
    let is_ours = |size: &u32| PAGE_SIZES.contains(size) && size.is_power_of_two();
    let page_size = args.page_size.or(reader.page_size().filter(is_ours));
    match page_size {
        Some(size) => args.wait.options().page_size(size),
        None => args.wait.options(),
    }
}

fn tell_ignored(input: &str, line: u64, what: &str) {
    tell(&format!("{input}: line {line}: {what}"));
}

/// `folio load FILE INPUT` takes INPUT for a bucket, and would wait for lines from the keyboard, or load those of an empty stdin.
fn refuse_mistaken_bucket(args: &Args) -> Result<(), Failure> {
    match (&args.bucket, &args.input, &args.from) {
        (Some(bucket), None, None) if Path::new(bucket).is_file() => Err(Failure::Outside(format!(
            "BUCKET: {bucket} is a file; give a bucket before it, or load it with --input"
        ))),
        _ => Ok(()),
    }
}

/// Why a load ends early.
enum Stop {
    /// The input is wrong; the transaction holds what came before.
    Bad(Bad),
    /// The transaction cannot go on.
    Database(Error),
}

impl From<Bad> for Stop {
    fn from(bad: Bad) -> Stop {
        Stop::Bad(bad)
    }
}

/// Puts what a reader brings into the buckets of one transaction.
struct Loader {
    txn: WriteTxn,
    /// What errors call the input.
    input: String,
    /// All buckets that it has brought something for.
    buckets: BTreeSet<String>,
    current: String,
    /// Whether all keys of the current bucket have come in order, after those that were there.
    is_ascending: bool,
    loaded: u64,
}

impl Loader {
    fn new(txn: WriteTxn, input: String) -> Loader {
        Loader { txn, input, buckets: BTreeSet::new(), current: String::new(), is_ascending: true, loaded: 0 }
    }

    /// Takes the first step, which `record` goes with, and all that follow.
    fn take_all(&mut self, first: Result<Step, Bad>, mut record: Record, reader: &mut dyn Reader) -> Result<(), Stop> {
        let mut next = first?;
        loop {
            let done = match next {
                Step::Bucket => self.begin(&record.bucket),
                Step::Entry => self.put(&record),
                Step::Ignored(what) => {
                    tell_ignored(&self.input, record.line, &what);
                    Ok(())
                }
                Step::End => return Ok(()),
            };
            done.map_err(|error| match error {
                Error::KeyTooLong { .. } | Error::ValueTooLong { .. } | Error::BucketName { .. } => {
                    Stop::Bad(Bad { line: record.line, why: error.to_string() })
                }
                error => Stop::Database(error),
            })?;
            next = reader.next(&mut record)?;
        }
    }

    /// Makes `bucket` the current one, and creates it when it is missing.
    fn begin(&mut self, bucket: &str) -> folio::Result<()> {
        self.txn.bucket_mut(bucket)?;
        self.buckets.insert(bucket.to_owned());
        bucket.clone_into(&mut self.current);
        self.is_ascending = true;
        Ok(())
    }

    fn put(&mut self, record: &Record) -> folio::Result<()> {
        if record.bucket != self.current {
            self.begin(&record.bucket)?;
        }
        let mut bucket = self.txn.bucket_mut(&self.current)?;
        if self.is_ascending {
            match bucket.append(&record.key, &record.value) {
                Err(Error::KeyOrder) => self.is_ascending = false,
                done => {
                    self.loaded += u64::from(done.is_ok());
                    return done;
                }
            }
        }
        bucket.put(&record.key, &record.value)?;
        self.loaded += 1;
        Ok(())
    }

    /// What was done, for the user.
    fn summary(&self, format: Format) -> folio::Result<String> {
        let loaded = format!("{} loaded", format.counted(self.loaded));
        let mut buckets = self.buckets.iter();
        match (buckets.next(), buckets.next()) {
            (Some(name), None) => {
                let there = self.txn.bucket(name)?.map_or(0, |bucket| bucket.len());
                let there = counted(there, "entry", "entries");
                Ok(format!("{loaded}; bucket {} has {there}", Form::Text.show(name.as_bytes())))
            }
            _ => Ok(format!("{loaded} into {}", counted(self.buckets.len() as u64, "bucket", "buckets"))),
        }
    }

    fn failed(&self, bad: &Bad, consequence: &str) -> Failure {
        Failure::Outside(format!("{}: line {}: {}; {consequence}", self.input, bad.line, bad.why))
    }

    fn commit(self, args: &Args) -> folio::Result<()> {
        let durability = if args.relaxed { Durability::Relaxed } else { Durability::Durable };
        self.txn.commit_with(durability).map(|_| ())
    }
}
