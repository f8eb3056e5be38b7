//! Writing a dump as mdb_dump does, so that mdb_load takes it.

use std::io::{self, Write};

use super::Style;
use crate::failure::Failure;
use crate::text::Form;

/// How many readers LMDB allows unless it is told otherwise; a dump carries the number along.
const MAX_READERS: u32 = 126;

pub struct PortableWriter<W> {
    out: W,
    style: Style,
    /// The header mapsize: how large an environment mdb_load makes room for, in bytes.
    map_size: u64,
    page_size: u32,
    is_named: bool,
}

/// Refuses the bucket names that a header cannot hold.
pub fn check_name(bucket: &str) -> Result<(), Failure> {
    if !bucket.contains(['\n', '\r', '\0']) {
        return Ok(());
    }
    let shown = Form::Text.show(bucket.as_bytes());
    Err(Failure::Outside(format!("bucket {shown}: a dump cannot hold this name; use --format tsv, csv or jsonl")))
}

impl<W: Write> PortableWriter<W> {
    /// Unless it `is_named`, the bucket is written as the main database of an environment.
    pub fn new(out: W, style: Style, map_size: u64, page_size: u32, is_named: bool) -> PortableWriter<W> {
        PortableWriter { out, style, map_size, page_size, is_named }
    }

    fn line(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.out.write_all(b" ")?;
        self.style.encode(bytes, &mut self.out)?;
        self.out.write_all(b"\n")
    }
}

impl<W: Write> crate::format::Writer for PortableWriter<W> {
    fn begin(&mut self, bucket: &str) -> io::Result<()> {
        writeln!(self.out, "VERSION=3\nformat={}", self.style.name())?;
        if self.is_named {
            writeln!(self.out, "database={bucket}")?;
        }
        writeln!(self.out, "type=btree\nmapsize={}\nmaxreaders={MAX_READERS}", self.map_size)?;
        writeln!(self.out, "db_pagesize={}\nHEADER=END", self.page_size)
    }

    fn entry(&mut self, _bucket: &str, key: &[u8], value: &[u8]) -> io::Result<()> {
        self.line(key)?;
        self.line(value)
    }

    fn end(&mut self) -> io::Result<()> {
        self.out.write_all(b"DATA=END\n")
    }

    fn finish(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}
