//! CSV under a first line that names the columns: key and value, and bucket where the lines name their buckets.
//!
//! Fields are quoted as RFC 4180 has it, and hold bytes as they are: between quotes there is room for every one of them.
//! What the RFC does not allow is read as most programs read it: a quote in a field that does not begin with one stands for
//! itself, and what follows a closing quote belongs to the field.

use std::io::{self, BufRead, Write};
use std::mem;

use super::{Bad, Reader, Record, Step, Writer, bucket_name, excerpt};
use crate::text::Form;

pub struct CsvReader {
    rows: Rows,
    /// The form of names of buckets, and that of keys and values. Without one they are taken as they are.
    names: Option<Form>,
    entries: Option<Form>,
    names_bucket: bool,
    /// Known once the first line has been read.
    columns: Option<Columns>,
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
    /// Takes the escapes of [`Form::Text`] for what they stand for only with `has_escapes`.
    pub fn new(input: Box<dyn BufRead>, form: Form, has_escapes: bool, names_bucket: bool) -> CsvReader {
        let names = has_escapes.then_some(Form::Text);
        let entries = if form == Form::Hex { Some(Form::Hex) } else { names };
        CsvReader { rows: Rows::new(input), names, entries, names_bucket, columns: None }
    }

    /// Takes the fields out of the row that was read last.
    fn take(&mut self, columns: Columns, record: &mut Record) -> Result<(), String> {
        let Row { fields, count, .. } = &mut self.rows.row;
        if *count != columns.count {
            return Err(format!(
                "{count} fields under {} columns; put a field that holds a comma or a line end between quotes",
                columns.count
            ));
        }
        let decode = |form: Option<Form>, bytes: &mut Vec<u8>| form.map_or(Ok(()), |form| form.decode(bytes));
        if let Some(bucket) = columns.bucket {
            decode(self.names, &mut fields[bucket])?;
            record.bucket = bucket_name(mem::take(&mut fields[bucket]))?;
        }
        mem::swap(&mut record.key, &mut fields[columns.key]);
        mem::swap(&mut record.value, &mut fields[columns.value]);
        decode(self.entries, &mut record.key)?;
        decode(self.entries, &mut record.value)
    }
}

impl Reader for CsvReader {
    fn next(&mut self, record: &mut Record) -> Result<Step, Bad> {
        let columns = match self.columns {
            Some(columns) => columns,
            None => {
                if !self.rows.next()? {
                    return Ok(Step::End);
                }
                let Row { line, count, ref fields, .. } = self.rows.row;
                let columns = columns(&fields[..count.min(FIELDS_MAX)], count, self.names_bucket);
                *self.columns.insert(columns.map_err(|why| Bad { line, why })?)
            }
        };
        if !self.rows.next()? {
            return Ok(Step::End);
        }
        record.line = self.rows.row.line;
        self.take(columns, record).map_err(|why| Bad { line: record.line, why })?;
        Ok(Step::Entry)
    }
}

/// Finds the columns in the first row; their order is free.
fn columns(row: &[Vec<u8>], count: usize, names_bucket: bool) -> Result<Columns, String> {
    let place = |name: &[u8]| row.iter().position(|field| field == name);
    let bucket = place(b"bucket");
    match (place(b"key"), place(b"value")) {
        (Some(key), Some(value)) if names_bucket == bucket.is_some() && count == 2 + usize::from(names_bucket) => {
            Ok(Columns { bucket, key, value, count })
        }
        _ => {
            let wanted = if names_bucket {
                "bucket,key,value, or give BUCKET for the columns key,value"
            } else {
                "key,value, or leave BUCKET out for the columns bucket,key,value"
            };
            Err(format!("the columns are {}; make the first line {wanted}", excerpt(&row.join(&b','))))
        }
    }
}

/// The most fields that are told apart: one more than a row may have.
const FIELDS_MAX: usize = 4;

/// The rows of a text, one after the other. They end at \n or \r\n, but not between quotes.
struct Rows {
    input: Box<dyn BufRead>,
    row: Row,
}

/// A row as it is read, in whatever pieces it comes.
#[derive(Default)]
struct Row {
    /// The line on which it begins.
    line: u64,
    /// How many lines have ended.
    ended_lines: u64,
    /// How many fields there are so far.
    count: usize,
    /// The fields. The last of them has in it all that come after, with their commas.
    fields: [Vec<u8>; FIELDS_MAX],
    after: After,
}

/// What the next byte comes after.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum After {
    /// A comma, or nothing: a field begins.
    #[default]
    Comma,
    /// A part of a field that is not between quotes.
    Plain,
    /// A quote that was opened on this line, and a part of what is between the quotes.
    Opened(u64),
    /// A quote that closes the field, unless another one follows: then both are one quote in the field, opened on this line.
    Closed(u64),
    /// The end of the row.
    End,
}

impl Rows {
    fn new(input: Box<dyn BufRead>) -> Rows {
        Rows { input, row: Row::default() }
    }

    /// Reads the next row. Returns whether there was one.
    fn next(&mut self) -> Result<bool, Bad> {
        self.row.begin();
        loop {
            let bytes = match self.input.fill_buf() {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                read => read.map_err(|error| Bad { line: self.row.ended_lines + 1, why: error.to_string() })?,
            };
            if bytes.is_empty() {
                return self.row.end();
            }
            let taken = self.row.take(bytes);
            self.input.consume(taken);
            if self.row.after == After::End {
                return Ok(true);
            }
        }
    }
}

impl Row {
    /// Begins a row on the line that comes next.
    fn begin(&mut self) {
        self.line = self.ended_lines + 1;
        self.count = 1;
        self.fields.iter_mut().for_each(Vec::clear);
        self.after = After::Comma;
    }

    /// The field that is being read, or with which it ends.
    fn field(&mut self) -> &mut Vec<u8> {
        &mut self.fields[self.count.min(FIELDS_MAX) - 1]
    }

    /// Takes what comes next, up to the end of the row at most. Returns how many bytes that are.
    fn take(&mut self, bytes: &[u8]) -> usize {
        let mut at = 0;
        while at < bytes.len() && self.after != After::End {
            let rest = &bytes[at..];
            // What means nothing where it stands is taken all at once.
            let mut taken = 1;
            match (self.after, rest[0]) {
                (After::Opened(line), b'"') => self.after = After::Closed(line),
                (After::Opened(_), _) => {
                    taken = rest.iter().position(|&byte| byte == b'"').unwrap_or(rest.len());
                    self.ended_lines += rest[..taken].iter().filter(|&&byte| byte == b'\n').count() as u64;
                    self.field().extend_from_slice(&rest[..taken]);
                }
                (After::Closed(line), b'"') => {
                    self.field().push(b'"');
                    self.after = After::Opened(line);
                }
                (After::Comma, b'"') => self.after = After::Opened(self.ended_lines + 1),
                (_, b'\n') => {
                    self.ended_lines += 1;
                    self.end_line();
                }
                (_, b',') => {
                    if self.count >= FIELDS_MAX {
                        self.field().push(b',');
                    }
                    self.count += 1;
                    self.after = After::Comma;
                }
                _ => {
                    taken = rest.iter().position(|byte| b",\n".contains(byte)).unwrap_or(rest.len());
                    self.field().extend_from_slice(&rest[..taken]);
                    self.after = After::Plain;
                }
            }
            at += taken;
        }
        at
    }

    /// Ends the row, unless there was nothing on its line: then it begins on the next one.
    fn end_line(&mut self) {
        let after = self.after;
        let field = self.field();
        // A \r that stands between quotes belongs to the field.
        if after == After::Plain && field.ends_with(b"\r") {
            field.pop();
        }
        let is_nothing = field.is_empty() && self.count == 1 && !matches!(after, After::Closed(_));
        if is_nothing { self.begin() } else { self.after = After::End }
    }

    /// The text ends here. Returns whether that is the end of a row.
    fn end(&mut self) -> Result<bool, Bad> {
        if let After::Opened(line) = self.after {
            let why = "the field that begins here with a quote is never closed; a quote inside it is doubled";
            return Err(Bad { line, why: why.to_owned() });
        }
        self.end_line();
        Ok(self.after == After::End)
    }
}

pub struct CsvWriter<W> {
    out: W,
    form: Form,
    names_bucket: bool,
}

impl<W: Write> CsvWriter<W> {
    /// Writes the first line, too.
    pub fn new(mut out: W, form: Form, names_bucket: bool) -> io::Result<CsvWriter<W>> {
        out.write_all(if names_bucket { b"bucket,key,value\n" } else { b"key,value\n" })?;
        Ok(CsvWriter { out, form, names_bucket })
    }

    /// Writes a name, key or value as it is, between quotes where it needs them.
    fn plain(&mut self, bytes: &[u8]) -> io::Result<()> {
        if !bytes.iter().any(|byte| b",\"\r\n".contains(byte)) {
            return self.out.write_all(bytes);
        }
        self.out.write_all(b"\"")?;
        for part in bytes.split_inclusive(|&byte| byte == b'"') {
            self.out.write_all(part)?;
            if part.ends_with(b"\"") {
                self.out.write_all(b"\"")?;
            }
        }
        self.out.write_all(b"\"")
    }

    fn field(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self.form {
            Form::Text => self.plain(bytes),
            Form::Hex => Form::Hex.encode(bytes, &mut self.out),
        }
    }
}

impl<W: Write> Writer for CsvWriter<W> {
    fn entry(&mut self, bucket: &str, key: &[u8], value: &[u8]) -> io::Result<()> {
        if self.names_bucket {
            self.plain(bucket.as_bytes())?;
            self.out.write_all(b",")?;
        }
        self.field(key)?;
        self.out.write_all(b",")?;
        self.field(value)?;
        self.out.write_all(b"\n")
    }

    fn finish(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufReader, Cursor};

    use super::*;

    fn reader(text: &[u8], names_bucket: bool) -> CsvReader {
        CsvReader::new(Box::new(Cursor::new(text.to_vec())), Form::Text, false, names_bucket)
    }

    fn all(mut reader: CsvReader) -> Result<Vec<Record>, Bad> {
        let (mut record, mut found) = (Record::default(), Vec::new());
        while reader.next(&mut record)? == Step::Entry {
            found.push(record.clone());
        }
        Ok(found)
    }

    fn read(text: &str, names_bucket: bool) -> Result<Vec<Record>, Bad> {
        all(reader(text.as_bytes(), names_bucket))
    }

    fn entry(line: u64, bucket: &str, key: &str, value: &str) -> Record {
        Record { line, bucket: bucket.to_owned(), key: key.into(), value: value.into() }
    }

    /// The rows of a text that comes in pieces of `piece_len` bytes; and where they end in a quote that is not closed, its line.
    fn rows(text: &str, piece_len: usize) -> (Vec<Vec<Vec<u8>>>, Option<u64>) {
        let input = BufReader::with_capacity(piece_len, Cursor::new(text.as_bytes().to_vec()));
        let (mut rows, mut found) = (Rows::new(Box::new(input)), Vec::new());
        loop {
            match rows.next() {
                Ok(true) => found.push(rows.row.fields[..rows.row.count.min(FIELDS_MAX)].to_vec()),
                Ok(false) => return (found, None),
                Err(bad) => return (found, Some(bad.line)),
            }
        }
    }

    #[test]
    fn fields_may_be_quoted() {
        let found = read("key,value\r\na,\"b,\"\"c\"\"\"\n\"x\ny\",\\t\nlast,", false).unwrap();
        assert_eq!(found, [entry(2, "", "a", "b,\"c\""), entry(3, "", "x\ny", "\\t"), entry(5, "", "last", "")]);
        let found = read("key,value\r\n\na,\"b\"\r\n\"\r\",\n\n\"\",\"c\r\"\n", false).unwrap();
        assert_eq!(found, [entry(3, "", "a", "b"), entry(4, "", "\r", ""), entry(6, "", "", "c\r")]);
    }

    #[test]
    fn a_quote_inside_a_field_stands_for_itself() {
        let found = read("key,value\n5\" pipe,\"Toys \"R\" Us\"\n \"a\",b\"\"\n", false).unwrap();
        assert_eq!(found, [entry(2, "", "5\" pipe", "Toys R\" Us\""), entry(3, "", " \"a\"", "b\"\"")]);
    }

    /// What the library makes of a text, for which the end of the text closes a quote.
    fn rows_of_library(text: &str) -> Vec<Vec<Vec<u8>>> {
        let mut library = ::csv::ReaderBuilder::new();
        library.has_headers(false).flexible(true).terminator(::csv::Terminator::Any(b'\n'));
        let rows = library.from_reader(text.as_bytes()).into_byte_records();
        let fields = |row: ::csv::ByteRecord| row.iter().map(<[u8]>::to_vec).collect::<Vec<_>>();
        let mut rows: Vec<_> = rows.map(|row| fields(row.unwrap())).collect();
        for row in rows.iter_mut().filter(|row| row.len() > FIELDS_MAX) {
            let last = row.split_off(FIELDS_MAX - 1).join(&b',');
            row.push(last);
        }
        rows
    }

    #[test]
    fn every_short_text_is_read_as_the_library_reads_it_in_whatever_pieces() {
        const LEN_MAX: u32 = 6;
        for len in 0..=LEN_MAX {
            for number in 0..5_u32.pow(len) {
                let letter = |place| char::from(b"a,\"\n\r"[(number / 5_u32.pow(place) % 5) as usize]);
                let text: String = (0..len).map(letter).collect();
                let (found, unclosed) = rows(&text, 64);
                assert_eq!(rows(&text, 1), (found, unclosed), "{text:?}");
                let closed = if unclosed.is_some() { text.clone() + "\"" } else { text.clone() };
                let (found, still_unclosed) = rows(&closed, 64);
                assert_eq!(still_unclosed, None, "{text:?}");
                // The library takes a \r for a part of the field.
                if !text.contains('\r') {
                    assert_eq!(found, rows_of_library(&text), "{text:?}");
                }
            }
        }
    }

    #[test]
    fn a_quote_that_is_never_closed_is_named_by_its_line() {
        for (text, line) in [("a,b\n\"c", 2), ("a\n\n\"b\nc\",d,\"e\nf\n", 4), ("\"a\nb\"\"\n", 1), ("a,\"", 1)] {
            assert_eq!(rows(text, 3).1, Some(line), "{text:?}");
        }
        assert_eq!(rows("a,b\"\n\"\"", 3).1, None);
    }

    #[test]
    fn columns_come_in_any_order_but_complete() {
        let found = read("value,bucket,key\nv,b,k\n", true).unwrap();
        assert_eq!(found, [entry(2, "b", "k", "v")]);
        assert_eq!(read("", true).unwrap(), []);
        for (text, names_bucket) in [
            ("a,b\n", false),
            ("key,value,other\n", false),
            ("key,value,a,b,c,d\n", false),
            ("bucket,key,value\n", false),
            ("key,key\n", false),
            ("key,value\n", true),
        ] {
            let bad = read(text, names_bucket).unwrap_err();
            let shown = format!("the columns are {};", text.trim_end());
            assert!(bad.line == 1 && bad.why.starts_with(&shown), "{bad:?}");
        }
    }

    #[test]
    fn a_row_of_another_length_is_bad() {
        for (row, count) in [("a,b,c", 3), ("a", 1), ("\"\"", 1), ("a,b,c,d,\"e\nf\",", 6)] {
            let bad = read(&format!("key,value\na,b\n\n{row}\n"), false).unwrap_err();
            assert!(bad.line == 4 && bad.why.starts_with(&format!("{count} fields under 2 columns")), "{bad:?}");
        }
        let input = Box::new(Cursor::new(b"key,value\na,\\q\n".to_vec()));
        let bad = all(CsvReader::new(input, Form::Text, true, false)).unwrap_err();
        assert!(bad.line == 2 && bad.why.starts_with("unknown escape"), "{bad:?}");
    }

    #[test]
    fn every_byte_is_written_so_that_it_is_read_again() {
        let every: Vec<u8> = (0..=255).collect();
        let mut out = Vec::new();
        let mut writer = CsvWriter::new(&mut out, Form::Text, true).unwrap();
        writer.entry("a,\"b\"", b"plain\\ text", &every).unwrap();
        writer.entry("", b"", b"\r").unwrap();
        assert!(out.starts_with(b"bucket,key,value\n\"a,\"\"b\"\"\",plain\\ text,\"\0"));
        let found = all(reader(&out, true)).unwrap();
        let first = Record { value: every, ..entry(2, "a,\"b\"", "plain\\ text", "") };
        assert_eq!(found, [first, entry(4, "", "", "\r")]);
    }
}
