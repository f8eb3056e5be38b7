//! Reading a dump, line by line.

use std::io::BufRead;

use super::Style;
use super::header::Header;
use crate::format::lines::{Line, Lines};
use crate::format::{Bad, Reader, Record, Step, excerpt};

/// The bucket of a database without a name, as LMDB's main database is.
const MAIN: &str = "main";

const DATA_END: &[u8] = b"DATA=END";

pub struct PortableReader {
    lines: Lines,
    /// The bucket that takes the one database of this dump, whatever its name.
    bucket: Option<String>,
    header: Header,
    at: At,
    /// How many databases have begun.
    count: u64,
}

/// What comes next.
#[derive(Clone, Copy)]
enum At {
    /// Another database, or the end.
    Version,
    Header,
    Data,
}

impl PortableReader {
    pub fn new(input: Box<dyn BufRead>, bucket: Option<&str>) -> PortableReader {
        let bucket = bucket.map(str::to_owned);
        PortableReader { lines: Lines::new(input), bucket, header: Header::default(), at: At::Version, count: 0 }
    }

    /// Passes over the line that begins a database. Answers whether there was one.
    fn version(&mut self) -> Result<bool, Bad> {
        let Some(line) = self.lines.next()? else { return Ok(false) };
        if line.text != b"VERSION=3" {
            let shown = excerpt(line.text);
            let why = format!("{shown}: not VERSION=3, with which a database begins; check the input, and --format");
            return Err(self.lines.bad(why));
        }
        if self.count > 0 && self.bucket.is_some() {
            let why = "a second database for the one BUCKET; leave BUCKET out and each goes to a bucket of its name";
            return Err(self.lines.bad(why));
        }
        self.count += 1;
        self.header = self.header.following();
        self.at = At::Header;
        Ok(true)
    }

    /// Takes headers up to the end, or up to one that is unknown.
    fn header(&mut self, record: &mut Record) -> Result<Step, Bad> {
        loop {
            let Some(line) = self.lines.next()? else { return Err(self.cut_short()) };
            record.line = line.number;
            if line.text == b"HEADER=END" {
                break;
            }
            let is_known = self.header.take(&line).map_err(|why| Bad { line: record.line, why })?;
            if !is_known {
                return Ok(Step::Ignored(format!("unknown header {} is ignored", excerpt(line.text))));
            }
        }
        record.bucket = match &self.bucket {
            Some(bucket) => bucket.clone(),
            None => self.header.bucket()?.unwrap_or_else(|| MAIN.to_owned()),
        };
        self.at = At::Data;
        Ok(Step::Bucket)
    }

    /// Takes an entry. Answers whether there was one before the end of the data.
    fn data(&mut self, record: &mut Record) -> Result<bool, Bad> {
        let style = self.header.style;
        let Some(line) = self.lines.next()? else { return Err(self.cut_short()) };
        record.line = line.number;
        if line.text == DATA_END {
            self.at = At::Version;
            return Ok(false);
        }
        data(&line, style, &mut record.key).map_err(|why| self.lines.bad(why))?;

        let Some(line) = self.lines.next()? else { return Err(self.cut_short()) };
        if line.text == DATA_END {
            return Err(self.lines.bad("a key without a value before DATA=END; make the dump anew"));
        }
        data(&line, style, &mut record.value).map_err(|why| self.lines.bad(why))?;
        Ok(true)
    }

    fn cut_short(&self) -> Bad {
        self.lines.bad("the dump ends after this line without DATA=END; it was cut short, so make it anew")
    }
}

impl Reader for PortableReader {
    fn next(&mut self, record: &mut Record) -> Result<Step, Bad> {
        loop {
            match self.at {
                At::Version => {
                    if !self.version()? {
                        return Ok(Step::End);
                    }
                }
                At::Header => return self.header(record),
                At::Data => {
                    if self.data(record)? {
                        return Ok(Step::Entry);
                    }
                }
            }
        }
    }

    fn page_size(&self) -> Option<u32> {
        self.header.page_size
    }
}

/// Puts what a data line stands for into `bytes`.
fn data(line: &Line<'_>, style: Style, bytes: &mut Vec<u8>) -> Result<(), String> {
    let Some(text) = line.text.strip_prefix(b" ") else {
        let shown = excerpt(line.text);
        return Err(format!("{shown}: neither data, which has a space in front, nor DATA=END; make the dump anew"));
    };
    if !line.is_ended {
        return Err("the dump ends within this line; it was cut short, so make it anew".to_owned());
    }
    text.clone_into(bytes);
    style.decode(bytes)
}
