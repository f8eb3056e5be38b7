//! `folio get`, `put` and `delete`: one entry.

use std::io::Write;
use std::path::PathBuf;

use crate::failure::Failure;
use crate::open::{self, Reading, Wait};
use crate::text::Form;

/// Print the value of a key
#[derive(clap::Args)]
#[command(after_help = "Example: folio get demo.folio names 'GREEK SMALL LETTER PI'")]
pub struct GetArgs {
    /// The database
    pub file: PathBuf,
    /// The bucket
    bucket: String,
    /// The key
    #[arg(allow_negative_numbers = true)]
    key: String,
    /// Take the key and print the value in hexadecimal
    #[arg(long)]
    hex: bool,
    #[command(flatten)]
    reading: Reading,
}

/// Store a value under a key, in place of an earlier one; file and bucket are created when missing
#[derive(clap::Args)]
#[command(after_help = "\
Examples: folio put library.folio users id:100 Alice
          folio put library.folio flags --hex 0001 ff")]
pub struct PutArgs {
    /// The database
    pub file: PathBuf,
    /// The bucket
    bucket: String,
    /// The key
    #[arg(allow_negative_numbers = true)]
    key: String,
    /// The value
    #[arg(allow_negative_numbers = true)]
    value: String,
    /// Take key and value in hexadecimal
    #[arg(long)]
    hex: bool,
    #[command(flatten)]
    wait: Wait,
}

/// Delete a key and its value
#[derive(clap::Args)]
#[command(after_help = "Example: folio delete library.folio users id:100")]
pub struct DeleteArgs {
    /// The database
    pub file: PathBuf,
    /// The bucket
    bucket: String,
    /// The key
    #[arg(allow_negative_numbers = true)]
    key: String,
    /// Take the key in hexadecimal
    #[arg(long)]
    hex: bool,
    #[command(flatten)]
    wait: Wait,
}

pub fn get(args: &GetArgs, out: &mut impl Write) -> Result<(), Failure> {
    let form = Form::new(args.hex);
    let key = form.argument("KEY", &args.key)?;
    let database = args.reading.open(&args.file)?;
    let txn = database.begin_read()?;
    let value = open::bucket(&txn, &args.bucket)?.get(&key)?.ok_or_else(|| no_key(&args.bucket, &args.key))?;
    form.encode(value, out)?;
    writeln!(out)?;
    Ok(())
}

pub fn put(args: &PutArgs) -> Result<(), Failure> {
    let form = Form::new(args.hex);
    let key = form.argument("KEY", &args.key)?;
    let value = form.argument("VALUE", &args.value)?;
    let (database, created) = open::writing_or_created(&args.file, &args.wait.options())?;
    let mut txn = database.begin_write()?;
    txn.bucket_mut(&args.bucket)?.put(&key, &value)?;
    txn.commit()?;
    created.keep();
    Ok(())
}

pub fn delete(args: &DeleteArgs) -> Result<(), Failure> {
    let key = Form::new(args.hex).argument("KEY", &args.key)?;
    let database = open::writing(&args.file, args.wait)?;
    let mut txn = database.begin_write()?;
    // Asked first, because `bucket_mut` would create it.
    if txn.bucket(&args.bucket)?.is_none() {
        return Err(open::no_bucket(&args.bucket, &txn.buckets()?));
    }
    if !txn.bucket_mut(&args.bucket)?.delete(&key)? {
        return Err(no_key(&args.bucket, &args.key));
    }
    txn.commit()?;
    Ok(())
}

fn no_key(bucket: &str, key: &str) -> Failure {
    Failure::NotFound(format!("no key {key} in bucket {bucket}; folio scan --keys-only lists the keys"))
}
