//! `folio dump`: whole buckets as text, out of one snapshot, in a format that other programs read.

use std::io::{self, BufWriter, IsTerminal, Write};
use std::path::{Path, PathBuf};

use folio::{Bucket, Database, ReadTxn};
use indicatif::ProgressBar;

use crate::failure::Failure;
use crate::format::{self, CsvWriter, Format, JsonWriter, PortableWriter, Style, TsvWriter, Writer};
use crate::open::{self, Reading};
use crate::output::{BUFFER_LEN, Output};
use crate::progress;
use crate::text::Form;

/// Write buckets as text that load, mdb_load and other programs read
#[derive(clap::Args)]
#[command(after_help = "\
All buckets come out of one snapshot. The formats; without --format the extension of the --output file names one:
  dump   The text of mdb_dump, for mdb_load, mdbx_load and folio load; db_load wants no LMDB headers (see below).
  tsv    key TAB value with the escapes \\t \\n \\r \\\\ \\xHH.
  csv    Under a first line key,value; fields are quoted where RFC 4180 wants it and hold bytes as they are, whatever
         they are. For programs that want text, and for a terminal, take another format or --hex.
  jsonl  {\"key\":\"...\",\"value\":\"...\"}; bytes that are not UTF-8 go under key_hex or value_hex.
With the same --format and --hex, load takes back every byte as it was.
With exactly one BUCKET tsv, csv and jsonl hold keys and values alone; else the bucket stands in front of each.
An empty bucket is kept by the format dump alone. mdb_load stops at an empty key, and at one of more than 511 bytes.

Examples: folio dump library.folio -o library.dump && folio load copy.folio --input library.dump
          folio dump library.folio users --format csv
          folio dump library.folio | mdb_load environment
          folio dump library.folio users --no-name | mdb_load -s people environment
          folio dump library.folio | grep -av -e ^mapsize= -e ^maxreaders= | db_load library.db")]
pub struct Args {
    /// The database
    pub file: PathBuf,
    /// The buckets [default: all]
    #[arg(value_name = "BUCKET")]
    buckets: Vec<String>,
    /// The format to write [default: by the extension of --output, else dump]
    #[arg(long, value_enum)]
    format: Option<Format>,
    /// In a dump, write printable characters as they are (format=print instead of bytevalue)
    #[arg(long)]
    print: bool,
    /// In a dump of one BUCKET, leave its name out: it is the main database of an LMDB environment
    #[arg(long)]
    no_name: bool,
    /// In a dump, the size that mdb_load makes an environment [default: four times the file, at least 16 MiB]
    #[arg(long, value_name = "BYTES")]
    mapsize: Option<u64>,
    /// In tsv, csv and jsonl, write keys and values in hexadecimal
    #[arg(long)]
    hex: bool,
    /// Write this file instead of stdout (-); it is there only when it is whole
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    #[command(flatten)]
    reading: Reading,
}

impl Args {
    fn format(&self) -> Format {
        let promised = self.output.as_deref().and_then(Format::of_path);
        self.format.or(promised).unwrap_or(Format::Dump)
    }

    /// The file to write, unless it is stdout.
    fn output(&self) -> Option<&Path> {
        self.output.as_deref().filter(|path| *path != Path::new("-"))
    }

    /// Refuses options that say nothing in this format.
    fn check(&self) -> Result<(), Failure> {
        let is_dump = self.format() == Format::Dump;
        let refused = [
            ("--print", self.print && !is_dump, "is for --format dump; leave it out"),
            ("--no-name", self.no_name && !is_dump, "is for --format dump; leave it out"),
            ("--mapsize", self.mapsize.is_some() && !is_dump, "is for --format dump; leave it out"),
            ("--no-name", self.no_name && self.buckets.len() != 1, "is for one bucket; give exactly one BUCKET"),
            ("--hex", self.hex && is_dump, "a dump is hexadecimal unless --print is given; leave --hex out"),
        ];
        match refused.iter().find(|(_, is_refused, _)| *is_refused) {
            Some((option, _, why)) => Err(Failure::Outside(format!("{option}: {why}"))),
            None => Ok(()),
        }
    }
}

pub fn run(args: &Args, out: &mut impl Write) -> Result<(), Failure> {
    args.check()?;
    let database = args.reading.open(&args.file)?;
    let txn = database.begin_read()?;
    let buckets = selected(&txn, args)?;
    match args.output() {
        None => {
            let mut out = BufWriter::with_capacity(BUFFER_LEN, out);
            dump(&database, &buckets, args, &mut out)?;
            out.flush()?;
        }
        Some(path) => {
            let mut out = Output::create(path, &args.file)?;
            dump(&database, &buckets, args, &mut out)?;
            out.finish()?;
        }
    }
    Ok(())
}

/// The buckets to dump, all of them there and with names that the format can hold.
fn selected<'txn>(txn: &'txn ReadTxn, args: &Args) -> Result<Vec<(String, Bucket<'txn>)>, Failure> {
    let names = if args.buckets.is_empty() { txn.buckets()? } else { args.buckets.clone() };
    let mut selected = Vec::new();
    for name in names {
        let bucket = open::bucket(txn, &name)?;
        if args.format() == Format::Dump && !args.no_name {
            format::check_name(&name)?;
        }
        selected.push((name, bucket));
    }
    Ok(selected)
}

fn dump(
    database: &Database,
    buckets: &[(String, Bucket<'_>)],
    args: &Args,
    out: &mut impl Write,
) -> Result<(), Failure> {
    let mut writer = writer(database, args, out)?;
    let bar = bar(args, buckets.iter().map(|(_, bucket)| bucket.len()).sum());
    for (name, bucket) in buckets {
        writer.begin(name)?;
        for entry in bucket.iter() {
            let (key, value) = entry?;
            writer.entry(name, key, value)?;
            bar.inc(1);
        }
        writer.end()?;
    }
    writer.finish()?;
    bar.finish_and_clear();
    Ok(())
}

fn writer<'out>(
    database: &Database,
    args: &Args,
    out: &'out mut impl Write,
) -> Result<Box<dyn Writer + 'out>, Failure> {
    let form = Form::new(args.hex);
    let names_bucket = args.buckets.len() != 1;
    Ok(match args.format() {
        Format::Dump => {
            let style = if args.print { Style::Print } else { Style::Bytevalue };
            let stats = database.stats()?;
            let map_size = args.mapsize.unwrap_or_else(|| map_size(stats.file_len));
            Box::new(PortableWriter::new(out, style, map_size, stats.page_size, !args.no_name))
        }
        Format::Tsv => Box::new(TsvWriter::new(out, form, names_bucket)),
        Format::Csv => Box::new(CsvWriter::new(out, form, names_bucket)?),
        Format::Jsonl => Box::new(JsonWriter::new(out, form, names_bucket)),
    })
}

/// Room for the same entries in LMDB, whose pages may be half full and whose map takes no memory before it is used.
fn map_size(file_len: u64) -> u64 {
    const LEAST: u64 = 16 << 20;
    const STEP: u64 = 1 << 20;
    file_len.saturating_mul(4).div_ceil(STEP).saturating_mul(STEP).max(LEAST)
}

fn bar(args: &Args, total: u64) -> ProgressBar {
    // Between lines on the same terminal, a bar would only disturb.
    if args.output().is_none() && io::stdout().is_terminal() { ProgressBar::hidden() } else { progress::entries(total) }
}
