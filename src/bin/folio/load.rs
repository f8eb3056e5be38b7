//! `folio load`: many entries from a file or stdin, all in one transaction, or none.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};

use folio::{BucketMut, Durability, Error};
use indicatif::ProgressBar;

use crate::failure::Failure;
use crate::record::Format;
use crate::text::Form;
use crate::{open, progress};

/// Load entries from a file or stdin: all of them in one transaction, or none
#[derive(clap::Args)]
#[command(after_help = "\
A line is key TAB value with the escapes \\t \\n \\r \\\\ \\xHH, or as JSON {\"key\":\"...\",\"value\":\"...\"}.
Of two lines with the same key the later one counts. Input sorted by key loads fastest.

Examples: folio load words.folio words words.tsv
          sort -u words.tsv | folio load words.folio words
          folio load words.folio words words.jsonl --relaxed")]
pub struct Args {
    /// The database; created when missing
    pub file: PathBuf,
    /// The bucket; created when missing
    bucket: String,
    /// The lines to load; - is stdin
    #[arg(default_value = "-")]
    input: PathBuf,
    /// The format of the lines [default: jsonl for .jsonl and .ndjson, else tsv]
    #[arg(long, value_enum)]
    format: Option<Format>,
    /// Keys and values are in hexadecimal
    #[arg(long)]
    hex: bool,
    /// Let the commit not wait for the disk: a power cut right after it may lose the load, but damages nothing
    #[arg(long)]
    relaxed: bool,
}

pub fn run(args: &Args, out: &mut impl Write) -> Result<(), Failure> {
    // Before the database, so that a mistyped input leaves no new database behind.
    let mut input = Input::open(&args.input)?;
    let format = args.format.unwrap_or_else(|| Format::of(&args.input));
    let durability = if args.relaxed { Durability::Relaxed } else { Durability::Durable };

    let database = open::writing_or_new(&args.file)?;
    let mut txn = database.begin_write()?;
    let mut bucket = txn.bucket_mut(&args.bucket)?;
    let loaded = input.load_into(&mut bucket, format, Form::new(args.hex))?;
    let there = bucket.len();
    txn.commit_with(durability)?;
    writeln!(out, "{loaded} lines loaded; bucket {} has {there} entries", args.bucket)?;
    Ok(())
}

/// Where the lines come from, and how errors and progress speak of it.
struct Input {
    lines: Box<dyn BufRead>,
    name: String,
    bar: ProgressBar,
}

impl Input {
    fn open(path: &Path) -> Result<Input, Failure> {
        if path == Path::new("-") {
            let lines = Box::new(io::stdin().lock());
            return Ok(Input { lines, name: "stdin".to_owned(), bar: progress::bytes(None) });
        }
        let name = path.display().to_string();
        let file = File::open(path).map_err(|error| Failure::Outside(format!("{name}: {error}; check the path")))?;
        // A pipe or a device has no length to count up to.
        let len = file.metadata().ok().filter(|metadata| metadata.is_file()).map(|metadata| metadata.len());
        Ok(Input { lines: Box::new(BufReader::with_capacity(1 << 20, file)), name, bar: progress::bytes(len) })
    }

    /// Puts every line into `bucket` and returns their number.
    fn load_into(&mut self, bucket: &mut BucketMut<'_>, format: Format, form: Form) -> Result<u64, Failure> {
        let mut line = Vec::new();
        let mut loaded = 0;
        loop {
            line.clear();
            let read = self.lines.read_until(b'\n', &mut line).map_err(|error| self.failed(loaded + 1, error))?;
            if read == 0 {
                self.bar.finish_and_clear();
                return Ok(loaded);
            }
            let (key, value) =
                format.parse(without_line_end(&line), form).map_err(|why| self.failed(loaded + 1, why))?;
            bucket.put(&key, &value).map_err(|error| match error {
                Error::KeyTooLong { .. } | Error::ValueTooLong { .. } => self.failed(loaded + 1, error),
                error => Failure::Database(error),
            })?;
            self.bar.inc(read as u64);
            loaded += 1;
        }
    }

    fn failed(&self, line: u64, why: impl std::fmt::Display) -> Failure {
        Failure::Outside(format!("{}: line {line}: {why}; nothing was loaded", self.name))
    }
}

fn without_line_end(line: &[u8]) -> &[u8] {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    line.strip_suffix(b"\r").unwrap_or(line)
}
