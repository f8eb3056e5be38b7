//! `folio scan`: the entries of a bucket, or of a part of it, in order.

use std::io::Write;
use std::ops::Bound;
use std::path::PathBuf;

use folio::Entry;

use crate::failure::Failure;
use crate::open::{self, Reading};
use crate::text::Form;

/// Print entries in key order, one a line: key TAB value, as load takes them
#[derive(clap::Args)]
#[command(after_help = "\
Examples: folio scan demo.folio names --prefix 'GREEK SMALL' --limit 10
          folio scan demo.folio code_points --from 000370 --to 000400 --reverse
          folio scan old.folio users | folio load new.folio users")]
pub struct Args {
    /// The database
    pub file: PathBuf,
    /// The bucket
    bucket: String,
    /// Start at this key
    #[arg(long, value_name = "KEY", allow_hyphen_values = true)]
    from: Option<String>,
    /// Stop before this key
    #[arg(long, value_name = "KEY", allow_hyphen_values = true)]
    to: Option<String>,
    /// Only keys that start with this
    #[arg(long, value_name = "PREFIX", allow_hyphen_values = true)]
    prefix: Option<String>,
    /// From the last key to the first
    #[arg(long)]
    reverse: bool,
    /// Print at most this many entries
    #[arg(long, value_name = "COUNT")]
    limit: Option<usize>,
    /// Print the keys alone
    #[arg(long)]
    keys_only: bool,
    /// Take keys and print entries in hexadecimal
    #[arg(long)]
    hex: bool,
    #[command(flatten)]
    reading: Reading,
}

pub fn run(args: &Args, out: &mut impl Write) -> Result<(), Failure> {
    let form = Form::new(args.hex);
    let bounds = bounds(args, form)?;
    let database = args.reading.open(&args.file)?;
    let txn = database.begin_read()?;
    let entries = open::bucket(&txn, &args.bucket)?.range(bounds);
    let limit = args.limit.unwrap_or(usize::MAX);
    if args.reverse {
        print(entries.rev().take(limit), args.keys_only, form, out)
    } else {
        print(entries.take(limit), args.keys_only, form, out)
    }
}

fn print<'txn>(
    entries: impl Iterator<Item = folio::Result<Entry<'txn>>>,
    keys_only: bool,
    form: Form,
    out: &mut impl Write,
) -> Result<(), Failure> {
    for entry in entries {
        let (key, value) = entry?;
        form.encode(key, out)?;
        if !keys_only {
            out.write_all(b"\t")?;
            form.encode(value, out)?;
        }
        out.write_all(b"\n")?;
    }
    Ok(())
}

type Bounds = (Bound<Vec<u8>>, Bound<Vec<u8>>);

/// The range in which `--from`, `--to` and `--prefix` all hold.
fn bounds(args: &Args, form: Form) -> Result<Bounds, Failure> {
    let key = |name, text: &Option<String>| text.as_ref().map(|text| form.argument(name, text)).transpose();
    let from = key("--from", &args.from)?;
    let to = key("--to", &args.to)?;
    let prefix = key("--prefix", &args.prefix)?;
    let prefix_end = prefix.as_deref().and_then(prefix_end);

    let lower = from.max(prefix);
    let upper = match (to, prefix_end) {
        (Some(to), Some(end)) => Some(to.min(end)),
        (to, end) => to.or(end),
    };
    Ok((lower.map_or(Bound::Unbounded, Bound::Included), upper.map_or(Bound::Unbounded, Bound::Excluded)))
}

/// The least key greater than every key that starts with `prefix`; none when there is no such key.
fn prefix_end(prefix: &[u8]) -> Option<Vec<u8>> {
    let last = prefix.iter().rposition(|&byte| byte < 0xff)?;
    let mut end = prefix[..=last].to_vec();
    end[last] += 1;
    Some(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_ends_before_its_successor() {
        assert_eq!(prefix_end(b"ab").as_deref(), Some(&b"ac"[..]));
        assert_eq!(prefix_end(b"a\xff\xff").as_deref(), Some(&b"b"[..]));
        assert_eq!(prefix_end(b"\xff"), None);
        assert_eq!(prefix_end(b""), None);
    }
}
