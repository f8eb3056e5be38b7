//! `folio stat`: the figures of a database and of each of its buckets, for people or as JSON.

use std::io::Write;
use std::path::PathBuf;

use folio::{BucketStats, PageKind, ReadTxn, Stats, TxnId};
use serde_json::{Value, json};

use crate::failure::Failure;
use crate::kinds::{self, Counts, KINDS};
use crate::open::{self, Reading};
use crate::progress;
use crate::table::{self, grouped};
use crate::text::Form;

/// Print the figures of the whole file and of each bucket
#[derive(clap::Args)]
#[command(after_help = "\
Overhead is what pages in use hold beside keys and values: headers, slots, separators, room that nothing uses.
Fill is the part of branch and leaf pages that is in use.

Examples: folio stat demo.folio
          folio stat demo.folio --json")]
pub struct Args {
    /// The database
    pub file: PathBuf,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    reading: Reading,
}

pub fn run(args: &Args, out: &mut impl Write) -> Result<(), Failure> {
    let database = args.reading.open(&args.file)?;
    let stats = database.stats()?;
    let txn = database.begin_read()?;
    let spinner = progress::spinner();
    let buckets = buckets(&txn)?;
    let kinds = kinds::count(&database.page_map()?);
    spinner.finish_and_clear();
    let whole = Whole { stats, kinds, buckets };
    if args.json { whole.print_json(out) } else { whole.print_tables(out) }
}

/// Every bucket with its figures.
pub fn buckets(txn: &ReadTxn) -> Result<Vec<(String, BucketStats)>, Failure> {
    let mut buckets = Vec::new();
    for name in txn.buckets()? {
        let stats = open::bucket(txn, &name)?.stats()?;
        buckets.push((name, stats));
    }
    Ok(buckets)
}

/// All there is to print.
pub struct Whole {
    pub stats: Stats,
    pub kinds: Counts,
    pub buckets: Vec<(String, BucketStats)>,
}

impl Whole {
    /// Prints it for people.
    pub fn print_tables(&self, out: &mut impl Write) -> Result<(), Failure> {
        let stats = &self.stats;
        let pages = format!("{} of {} bytes", grouped(stats.page_count), stats.page_size);
        let bytes = format!(
            "{} keys, {} values, {} overhead, {} free, {} pending, {} room to grow",
            grouped(self.key_bytes()),
            grouped(self.value_bytes()),
            grouped(self.overhead_bytes()),
            grouped(stats.free_pages * u64::from(stats.page_size)),
            grouped(stats.pending_pages * u64::from(stats.page_size)),
            grouped(stats.file_len.saturating_sub(stats.page_count * u64::from(stats.page_size))),
        );
        let passed_over = stats.passed_over.map_or(String::new(), |it| format!("; {} was passed over", it.newer));
        let transaction = format!("{}, durable {}{passed_over}", stats.txn_id, stats.durable_id);
        let pairs = [
            ("file", format!("{} bytes", grouped(stats.file_len))),
            ("pages", pages),
            ("kinds", self.kinds_shown()),
            ("bytes", bytes),
            ("transaction", transaction),
            ("pinned", pinned(stats)),
        ];
        table::pairs(out, &pairs)?;
        if self.buckets.is_empty() {
            writeln!(out, "no buckets")?;
            return Ok(());
        }
        writeln!(out)?;
        let heading =
            ["bucket", "entries", "depth", "branch", "leaf", "large", "key bytes", "value bytes", "overhead", "fill"];
        let mut rows = vec![heading.map(str::to_owned).to_vec()];
        rows.extend(self.buckets.iter().map(|(name, bucket)| row(name, bucket, stats.page_size)));
        table::columns(out, &rows)?;
        Ok(())
    }

    /// Every kind, but the unknown only where there is something unknown.
    fn kinds_shown(&self) -> String {
        let kinds = KINDS.into_iter().zip(self.kinds);
        let shown = kinds.filter(|&(kind, pages)| kind != PageKind::Unknown || pages > 0);
        shown.map(|(kind, pages)| format!("{} {kind}", grouped(pages))).collect::<Vec<_>>().join(", ")
    }

    fn key_bytes(&self) -> u64 {
        self.buckets.iter().fold(0, |sum, (_, bucket)| sum.saturating_add(bucket.key_bytes))
    }

    fn value_bytes(&self) -> u64 {
        self.buckets.iter().fold(0, |sum, (_, bucket)| sum.saturating_add(bucket.value_bytes))
    }

    /// What the pages in use hold beside keys and values.
    fn overhead_bytes(&self) -> u64 {
        let pages = self.stats.meta_pages + self.stats.used_pages;
        let entries = self.key_bytes().saturating_add(self.value_bytes());
        (pages * u64::from(self.stats.page_size)).saturating_sub(entries)
    }

    fn print_json(&self, out: &mut impl Write) -> Result<(), Failure> {
        let stats = &self.stats;
        let kinds = KINDS.into_iter().zip(self.kinds).map(|(kind, pages)| (kinds::key(kind), json!(pages)));
        let buckets: Vec<_> =
            self.buckets.iter().map(|(name, bucket)| bucket_json(name, bucket, stats.page_size)).collect();
        let whole = json!({
            "file_len": stats.file_len,
            "page_size": stats.page_size,
            "page_count": stats.page_count,
            "meta_pages": stats.meta_pages,
            "used_pages": stats.used_pages,
            "free_pages": stats.free_pages,
            "pending_pages": stats.pending_pages,
            "kinds": Value::Object(kinds.collect()),
            "key_bytes": self.key_bytes(),
            "value_bytes": self.value_bytes(),
            "overhead_bytes": self.overhead_bytes(),
            "txn_id": stats.txn_id.get(),
            "durable_id": stats.durable_id.get(),
            "passed_over": stats.passed_over.map(|it| it.newer.get()),
            "pinned_snapshots": stats.pinned_snapshots,
            "oldest_pinned": stats.oldest_pinned.map(TxnId::get),
            "buckets": buckets,
        });
        writeln!(out, "{whole:#}")?;
        Ok(())
    }
}

fn pinned(stats: &Stats) -> String {
    match stats.oldest_pinned {
        Some(oldest) => format!("{} snapshots, the oldest {oldest}", grouped(stats.pinned_snapshots)),
        None => "no snapshot".to_owned(),
    }
}

/// What the pages of a bucket hold beside keys and values: headers, slots, separators, and room that nothing uses.
fn overhead_bytes(bucket: &BucketStats, page_size: u32) -> u64 {
    let pages = bucket.branch_pages.saturating_add(bucket.leaf_pages).saturating_add(bucket.large_pages);
    let entries = bucket.key_bytes.saturating_add(bucket.value_bytes);
    pages.saturating_mul(page_size.into()).saturating_sub(entries)
}

fn row(name: &str, bucket: &BucketStats, page_size: u32) -> Vec<String> {
    vec![
        Form::Text.show(name.as_bytes()),
        grouped(bucket.entries),
        bucket.depth.to_string(),
        grouped(bucket.branch_pages),
        grouped(bucket.leaf_pages),
        grouped(bucket.large_pages),
        grouped(bucket.key_bytes),
        grouped(bucket.value_bytes),
        grouped(overhead_bytes(bucket, page_size)),
        format!("{:.0} %", bucket.fill * 100.0),
    ]
}

fn bucket_json(name: &str, bucket: &BucketStats, page_size: u32) -> Value {
    json!({
        "name": name,
        "entries": bucket.entries,
        "depth": bucket.depth,
        "branch_pages": bucket.branch_pages,
        "leaf_pages": bucket.leaf_pages,
        "large_pages": bucket.large_pages,
        "key_bytes": bucket.key_bytes,
        "value_bytes": bucket.value_bytes,
        "overhead_bytes": overhead_bytes(bucket, page_size),
        "used_bytes": bucket.used_bytes,
        "fill": bucket.fill,
    })
}
