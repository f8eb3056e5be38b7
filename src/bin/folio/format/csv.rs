//! CSV under a first line that names the columns: key and value, and bucket where the lines name their buckets.
//!
//! The fields are quoted as RFC 4180 has it, and inside them are the escapes of the tool, because CSV alone cannot
//! hold every byte and programs disagree about line ends in fields.

use std::cell::Cell;
use std::io::{self, BufRead, Read, Write};
use std::rc::Rc;

use csv::ByteRecord;

use super::{Bad, Reader, Record, Step, Writer, bucket_name, excerpt};
use crate::text::Form;

pub struct CsvReader {
    rows: csv::Reader<Counted>,
    /// What `rows` has read.
    seen: Rc<Cell<Seen>>,
    row: ByteRecord,
    form: Form,
    names_bucket: bool,
    /// Known once the first line has been read.
    columns: Option<Columns>,
}

/// An input that is counted as it is read.
struct Counted {
    input: Box<dyn BufRead>,
    seen: Rc<Cell<Seen>>,
}

#[derive(Clone, Copy, Default)]
struct Seen {
    bytes: u64,
    quotes: u64,
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let len = self.input.read(buffer)?;
        let Seen { bytes, quotes } = self.seen.get();
        let new = buffer[..len].iter().filter(|&&byte| byte == b'"').count();
        self.seen.set(Seen { bytes: bytes + len as u64, quotes: quotes + new as u64 });
        Ok(len)
    }
}

/// Where the fields stand in a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Columns {
    bucket: Option<usize>,
    key: usize,
    value: usize,
    count: usize,
}

impl CsvReader {
    pub fn new(input: Box<dyn BufRead>, form: Form, names_bucket: bool) -> CsvReader {
        // Lines end at \n alone, or the numbers of lines that end with \r\n would be one behind.
        let terminator = csv::Terminator::Any(b'\n');
        let seen = Rc::default();
        let counted = Counted { input, seen: Rc::clone(&seen) };
        let rows =
            csv::ReaderBuilder::new().has_headers(false).flexible(true).terminator(terminator).from_reader(counted);
        CsvReader { rows, seen, row: ByteRecord::new(), form, names_bucket, columns: None }
    }

    /// Reads a row and answers with the number of its first line; none at the end.
    fn next_row(&mut self) -> Result<Option<u64>, Bad> {
        let before = self.rows.position().line();
        if !self.rows.read_byte_record(&mut self.row).map_err(|error| Bad { line: before, why: error.to_string() })? {
            return Ok(None);
        }
        strip_line_end(&mut self.row);
        // Empty lines before the row are passed over, but the row itself may have several.
        let inside = self.row.as_slice().iter().filter(|&&byte| byte == b'\n').count() as u64;
        let line = before.max(self.rows.position().line().saturating_sub(inside + 1));
        // To the library the end of the input closes a quote, and the row has swallowed all that came behind it.
        let Seen { bytes, quotes } = self.seen.get();
        if self.rows.position().byte() == bytes && quotes % 2 == 1 {
            return Err(Bad {
                line,
                why: "a quote that is never closed; a quote inside a field is doubled".to_owned(),
            });
        }
        Ok(Some(line))
    }

    fn parse(&self, columns: Columns, record: &mut Record) -> Result<(), String> {
        if self.row.len() != columns.count {
            return Err(format!(
                "{} fields under {} columns; put a field that holds a comma or a quote between quotes",
                self.row.len(),
                columns.count
            ));
        }
        if let Some(bucket) = columns.bucket {
            record.bucket = bucket_name(Form::Text.decode(&self.row[bucket])?)?;
        }
        record.key = self.form.decode(&self.row[columns.key])?;
        record.value = self.form.decode(&self.row[columns.value])?;
        Ok(())
    }
}

impl Reader for CsvReader {
    fn next(&mut self, record: &mut Record) -> Result<Step, Bad> {
        let columns = match self.columns {
            Some(columns) => columns,
            None => {
                let Some(line) = self.next_row()? else { return Ok(Step::End) };
                let columns = columns(&self.row, self.names_bucket).map_err(|why| Bad { line, why })?;
                *self.columns.insert(columns)
            }
        };
        let Some(line) = self.next_row()? else { return Ok(Step::End) };
        record.line = line;
        self.parse(columns, record).map_err(|why| Bad { line, why })?;
        Ok(Step::Entry)
    }
}

/// Takes away the \r of a line that ends with \r\n.
fn strip_line_end(row: &mut ByteRecord) {
    let Some(last) = row.len().checked_sub(1) else { return };
    if let Some(field) = row[last].strip_suffix(b"\r") {
        let field = field.to_vec();
        row.truncate(last);
        row.push_field(&field);
    }
}

/// Finds the columns in the first row; their order is free.
fn columns(row: &ByteRecord, names_bucket: bool) -> Result<Columns, String> {
    let place = |name: &[u8]| row.iter().position(|field| field == name);
    let bucket = place(b"bucket");
    match (place(b"key"), place(b"value")) {
        (Some(key), Some(value)) if names_bucket == bucket.is_some() && row.len() == 2 + usize::from(names_bucket) => {
            Ok(Columns { bucket, key, value, count: row.len() })
        }
        _ => {
            let named: Vec<&[u8]> = row.iter().collect();
            let wanted = if names_bucket {
                "bucket,key,value, or give BUCKET for the columns key,value"
            } else {
                "key,value, or leave BUCKET out for the columns bucket,key,value"
            };
            Err(format!("the columns are {}; make the first line {wanted}", excerpt(&named.join(&b','))))
        }
    }
}

pub struct CsvWriter<W: Write> {
    rows: csv::Writer<W>,
    form: Form,
    names_bucket: bool,
    field: Vec<u8>,
}

impl<W: Write> CsvWriter<W> {
    /// Writes the first line, too.
    pub fn new(out: W, form: Form, names_bucket: bool) -> io::Result<CsvWriter<W>> {
        let mut rows = csv::Writer::from_writer(out);
        let columns = ["bucket", "key", "value"];
        rows.write_record(if names_bucket { &columns[..] } else { &columns[1..] }).map_err(io_error)?;
        Ok(CsvWriter { rows, form, names_bucket, field: Vec::new() })
    }

    fn field(&mut self, bytes: &[u8], form: Form) -> io::Result<()> {
        self.field.clear();
        form.encode(bytes, &mut self.field)?;
        self.rows.write_field(&self.field).map_err(io_error)
    }
}

impl<W: Write> Writer for CsvWriter<W> {
    fn entry(&mut self, bucket: &str, key: &[u8], value: &[u8]) -> io::Result<()> {
        if self.names_bucket {
            self.field(bucket.as_bytes(), Form::Text)?;
        }
        self.field(key, self.form)?;
        self.field(value, self.form)?;
        self.rows.write_record(None::<&[u8]>).map_err(io_error)
    }

    fn finish(&mut self) -> io::Result<()> {
        self.rows.flush()
    }
}

/// What the output said: its kind tells a closed pipe from an error.
fn io_error(error: csv::Error) -> io::Error {
    match error.into_kind() {
        csv::ErrorKind::Io(error) => error,
        other => io::Error::other(format!("{other:?}")),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    fn read(text: &str, names_bucket: bool) -> Result<Vec<Record>, Bad> {
        let input = Box::new(Cursor::new(text.as_bytes().to_vec()));
        let mut reader = CsvReader::new(input, Form::Text, names_bucket);
        let (mut record, mut found) = (Record::default(), Vec::new());
        while reader.next(&mut record)? == Step::Entry {
            found.push(record.clone());
        }
        Ok(found)
    }

    fn entry(line: u64, bucket: &str, key: &str, value: &str) -> Record {
        Record { line, bucket: bucket.to_owned(), key: key.into(), value: value.into() }
    }

    #[test]
    fn fields_may_be_quoted_and_escaped() {
        let found = read("key,value\r\na,\"b,\"\"c\"\"\"\n\"x\ny\",\\t\nlast,", false).unwrap();
        assert_eq!(found, [entry(2, "", "a", "b,\"c\""), entry(3, "", "x\ny", "\t"), entry(5, "", "last", "")]);
        let found = read("key,value\r\n\na,\"b\"\r\n\"\r\",\n", false).unwrap();
        assert_eq!(found, [entry(3, "", "a", "b"), entry(4, "", "\r", "")]);
    }

    #[test]
    fn columns_come_in_any_order_but_complete() {
        let found = read("value,bucket,key\nv,b,k\n", true).unwrap();
        assert_eq!(found, [entry(2, "b", "k", "v")]);
        assert_eq!(read("", true).unwrap(), []);
        for (text, names_bucket) in [
            ("a,b\n", false),
            ("key,value,other\n", false),
            ("bucket,key,value\n", false),
            ("key,key\n", false),
            ("key,value\n", true),
        ] {
            let bad = read(text, names_bucket).unwrap_err();
            assert!(bad.line == 1 && bad.why.starts_with("the columns are "), "{bad:?}");
        }
    }

    #[test]
    fn a_row_of_another_length_is_bad() {
        let bad = read("key,value\na,b\na,b,c\n", false).unwrap_err();
        assert!(bad.line == 3 && bad.why.starts_with("3 fields under 2 columns"), "{bad:?}");
        let bad = read("key,value\na,\\q\n", false).unwrap_err();
        assert!(bad.line == 2 && bad.why.starts_with("unknown escape"), "{bad:?}");
    }
}
