//! The formats in which entries leave a database and come back, one module each.
//!
//! `load` pulls from a [`Reader`] and `dump` pushes into a [`Writer`]. What a writer writes, the reader of the same
//! format reads back exactly, whatever the bytes. Neither holds more than one entry, and a reader the text of it beside it.

mod csv;
mod jsonl;
mod lines;
mod portable;
mod tsv;

use std::io::{self, BufRead};
use std::path::Path;

use crate::table::counted;
use crate::text::Form;

pub use self::csv::{CsvReader, CsvWriter};
pub use self::jsonl::{JsonReader, JsonWriter};
pub use self::portable::{PortableReader, PortableWriter, Style, check_name};
pub use self::tsv::{TsvReader, TsvWriter};

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// The text of mdb_dump, mdbx_dump and db_dump, which mdb_load reads
    Dump,
    /// key TAB value, with the escapes that scan prints
    Tsv,
    /// Under a first line key,value; fields hold bytes as they are, between quotes where needed
    Csv,
    /// {"key":"...","value":"..."}; bytes that are not UTF-8 as "key_hex" or "value_hex"
    Jsonl,
}

impl Format {
    /// The format that the extension of `path` promises.
    pub fn of_path(path: &Path) -> Option<Format> {
        match path.extension()?.to_str()? {
            "dump" => Some(Format::Dump),
            "tsv" => Some(Format::Tsv),
            "csv" => Some(Format::Csv),
            "jsonl" | "ndjson" => Some(Format::Jsonl),
            _ => None,
        }
    }

    /// The format of a text with this first line, or with this beginning of one.
    pub fn of_first_line(line: &[u8]) -> Format {
        let version = lines::without_end(line).strip_prefix(b"VERSION=");
        match version {
            Some(digits) if !digits.is_empty() && digits.iter().all(u8::is_ascii_digit) => Format::Dump,
            _ => Format::Tsv,
        }
    }

    /// So many of what a reader of this format counts.
    pub fn counted(self, count: u64) -> String {
        match self {
            Format::Tsv | Format::Jsonl => counted(count, "line", "lines"),
            Format::Dump | Format::Csv => counted(count, "entry", "entries"),
        }
    }

    /// Reads `input`: into `bucket` all of it, or what it says itself. Only CSV can be without escapes.
    pub fn reader(
        self,
        input: Box<dyn BufRead>,
        bucket: Option<&str>,
        form: Form,
        has_escapes: bool,
    ) -> Box<dyn Reader> {
        let names_bucket = bucket.is_none();
        match self {
            Format::Dump => Box::new(PortableReader::new(input, bucket)),
            Format::Tsv => Box::new(TsvReader::new(input, form, names_bucket)),
            Format::Csv => Box::new(CsvReader::new(input, form, has_escapes, names_bucket)),
            Format::Jsonl => Box::new(JsonReader::new(input, form, names_bucket)),
        }
    }
}

/// An entry of an input, and where it goes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// The line that it starts on.
    pub line: u64,
    /// A reader whose input does not name buckets leaves it as it is.
    pub bucket: String,
    pub key: Vec<u8>,
    pub value: Vec<u8>,
}

/// What a reader has come upon.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// A bucket begins: its name is in the record.
    Bucket,
    /// An entry: it is in the record.
    Entry,
    /// Something without meaning here, which was passed over.
    Ignored(String),
    End,
}

/// What is wrong with an input, and on which line.
#[derive(Debug)]
pub struct Bad {
    pub line: u64,
    pub why: String,
}

pub trait Reader {
    /// Goes on to the next step; after an error there is none.
    fn next(&mut self, record: &mut Record) -> Result<Step, Bad>;

    /// The page size of the database that the input came out of, if it has said so by now.
    fn page_size(&self) -> Option<u32> {
        None
    }
}

pub trait Writer {
    /// Before the entries of a bucket.
    fn begin(&mut self, _bucket: &str) -> io::Result<()> {
        Ok(())
    }

    /// An entry of the bucket that was begun.
    fn entry(&mut self, bucket: &str, key: &[u8], value: &[u8]) -> io::Result<()>;

    /// After the entries of a bucket.
    fn end(&mut self) -> io::Result<()> {
        Ok(())
    }

    /// After the last bucket: hands on what it still holds.
    fn finish(&mut self) -> io::Result<()>;
}

/// A bucket's name out of a field of an input.
fn bucket_name(bytes: Vec<u8>) -> Result<String, String> {
    String::from_utf8(bytes).map_err(|error| {
        let shown = Form::Text.show(error.as_bytes());
        format!("the name of bucket {shown} is not UTF-8; give BUCKET, the name that it shall have")
    })
}

/// As much of a line as a message can take.
fn excerpt(text: &[u8]) -> String {
    const LEN_MAX: usize = 40;
    let end = if text.len() > LEN_MAX { "..." } else { "" };
    Form::Text.show(&text[..text.len().min(LEN_MAX)]) + end
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_extension_names_the_format() {
        let of = |path| Format::of_path(Path::new(path));
        assert_eq!(of("a.jsonl"), Some(Format::Jsonl));
        assert_eq!(of("a.ndjson"), Some(Format::Jsonl));
        assert_eq!(of("a.tsv"), Some(Format::Tsv));
        assert_eq!(of("a.csv"), Some(Format::Csv));
        assert_eq!(of("a.dump"), Some(Format::Dump));
        assert_eq!(of("a.txt"), None);
        assert_eq!(of("-"), None);
    }

    #[test]
    fn a_dump_is_known_by_its_first_line() {
        assert_eq!(Format::of_first_line(b"VERSION=3\n"), Format::Dump);
        assert_eq!(Format::of_first_line(b"VERSION=12\r\n"), Format::Dump);
        for other in [&b"VERSION=\n"[..], b"VERSION=3\tvalue\n", b"version=3\n", b"a\tb\n", b""] {
            assert_eq!(Format::of_first_line(other), Format::Tsv);
        }
    }
}
