//! `folio stat`: the figures of a database and of each of its buckets, for people or as JSON.

use std::io::Write;
use std::path::PathBuf;

use folio::{BucketStats, ReadTxn, Stats};
use serde_json::json;

use crate::failure::Failure;
use crate::open;
use crate::table::{self, grouped};
use crate::text::Form;

/// Print the figures of the whole file and of each bucket
#[derive(clap::Args)]
#[command(after_help = "\
Examples: folio stat demo.folio
          folio stat demo.folio --json")]
pub struct Args {
    /// The database
    pub file: PathBuf,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

pub fn run(args: &Args, out: &mut impl Write) -> Result<(), Failure> {
    let database = open::reading(&args.file)?;
    let stats = database.stats()?;
    let txn = database.begin_read()?;
    let buckets = buckets(&txn)?;
    if args.json { print_json(&stats, &buckets, out) } else { print_tables(&stats, &buckets, out) }
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

fn print_tables(stats: &Stats, buckets: &[(String, BucketStats)], out: &mut impl Write) -> Result<(), Failure> {
    let pages = format!(
        "{} of {} bytes: {} meta, {} used, {} free, {} pending",
        grouped(stats.page_count),
        stats.page_size,
        stats.meta_pages,
        grouped(stats.used_pages),
        grouped(stats.free_pages),
        grouped(stats.pending_pages),
    );
    let transaction = format!("{}, durable {}", stats.txn_id, stats.durable_id);
    table::pairs(
        out,
        &[("file", format!("{} bytes", grouped(stats.file_len))), ("pages", pages), ("transaction", transaction)],
    )?;
    if buckets.is_empty() {
        writeln!(out, "no buckets")?;
        return Ok(());
    }
    writeln!(out)?;
    let heading = ["bucket", "entries", "depth", "branch", "leaf", "large", "key bytes", "value bytes", "fill"];
    let mut rows = vec![heading.map(str::to_owned).to_vec()];
    rows.extend(buckets.iter().map(|(name, bucket)| row(name, bucket)));
    table::columns(out, &rows)?;
    Ok(())
}

fn row(name: &str, bucket: &BucketStats) -> Vec<String> {
    vec![
        Form::Text.show(name.as_bytes()),
        grouped(bucket.entries),
        bucket.depth.to_string(),
        grouped(bucket.branch_pages),
        grouped(bucket.leaf_pages),
        grouped(bucket.large_pages),
        grouped(bucket.key_bytes),
        grouped(bucket.value_bytes),
        format!("{:.0} %", bucket.fill * 100.0),
    ]
}

fn print_json(stats: &Stats, buckets: &[(String, BucketStats)], out: &mut impl Write) -> Result<(), Failure> {
    let buckets: Vec<_> = buckets.iter().map(|(name, bucket)| bucket_json(name, bucket)).collect();
    let whole = json!({
        "file_len": stats.file_len,
        "page_size": stats.page_size,
        "page_count": stats.page_count,
        "meta_pages": stats.meta_pages,
        "used_pages": stats.used_pages,
        "free_pages": stats.free_pages,
        "pending_pages": stats.pending_pages,
        "txn_id": stats.txn_id.get(),
        "durable_id": stats.durable_id.get(),
        "buckets": buckets,
    });
    writeln!(out, "{whole:#}")?;
    Ok(())
}

fn bucket_json(name: &str, bucket: &BucketStats) -> serde_json::Value {
    json!({
        "name": name,
        "entries": bucket.entries,
        "depth": bucket.depth,
        "branch_pages": bucket.branch_pages,
        "leaf_pages": bucket.leaf_pages,
        "large_pages": bucket.large_pages,
        "key_bytes": bucket.key_bytes,
        "value_bytes": bucket.value_bytes,
        "used_bytes": bucket.used_bytes,
        "fill": bucket.fill,
    })
}
