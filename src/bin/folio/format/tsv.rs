//! Tab-separated text: key TAB value, or bucket TAB key TAB value where the lines name their buckets. Quotes are bytes as any
//! other.

use std::io::{self, BufRead, Write};

use super::lines::Lines;
use super::{Bad, Reader, Record, Step, Writer, bucket_name};
use crate::text::Form;

pub struct TsvReader {
    lines: Lines,
    form: Form,
    names_bucket: bool,
}

impl TsvReader {
    pub fn new(input: Box<dyn BufRead>, form: Form, names_bucket: bool) -> TsvReader {
        TsvReader { lines: Lines::new(input), form, names_bucket }
    }
}

impl Reader for TsvReader {
    fn next(&mut self, record: &mut Record) -> Result<Step, Bad> {
        let Some(line) = self.lines.next()? else { return Ok(Step::End) };
        record.line = line.number;
        parse(line.text, self.form, self.names_bucket, record).map_err(|why| Bad { line: record.line, why })?;
        Ok(Step::Entry)
    }
}

fn parse(line: &[u8], form: Form, names_bucket: bool, record: &mut Record) -> Result<(), String> {
    let mut fields = line.split(|&byte| byte == b'\t');
    // No more than is needed to tell: a line may be long, and all tabs.
    let fields = [(); 4].map(|()| fields.next());
    let (key, value) = match (names_bucket, fields) {
        (true, [Some(bucket), Some(key), Some(value), None]) => {
            record.bucket = bucket_name(Form::Text.decoded(bucket)?)?;
            (key, value)
        }
        (false, [Some(key), Some(value), None, _]) => (key, value),
        _ => {
            let tabs = line.iter().filter(|&&byte| byte == b'\t').count();
            return Err(match names_bucket {
                true => {
                    format!("{tabs} tabs; write bucket TAB key TAB value, or give BUCKET for lines of key TAB value")
                }
                false => format!(r"{tabs} tabs; write key TAB value, and \t for a tab inside them"),
            });
        }
    };
    key.clone_into(&mut record.key);
    value.clone_into(&mut record.value);
    form.decode(&mut record.key)?;
    form.decode(&mut record.value)
}

pub struct TsvWriter<W> {
    out: W,
    form: Form,
    names_bucket: bool,
}

impl<W: Write> TsvWriter<W> {
    pub fn new(out: W, form: Form, names_bucket: bool) -> TsvWriter<W> {
        TsvWriter { out, form, names_bucket }
    }
}

impl<W: Write> Writer for TsvWriter<W> {
    fn entry(&mut self, bucket: &str, key: &[u8], value: &[u8]) -> io::Result<()> {
        if self.names_bucket {
            Form::Text.encode(bucket.as_bytes(), &mut self.out)?;
            self.out.write_all(b"\t")?;
        }
        self.form.encode(key, &mut self.out)?;
        self.out.write_all(b"\t")?;
        self.form.encode(value, &mut self.out)?;
        self.out.write_all(b"\n")
    }

    fn finish(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(line: &[u8]) -> Result<(Vec<u8>, Vec<u8>), String> {
        let mut record = Record::default();
        parse(line, Form::Text, false, &mut record).map(|()| (record.key, record.value))
    }

    #[test]
    fn a_line_splits_at_its_one_tab() {
        let entry = |key: &[u8], value: &[u8]| (key.to_vec(), value.to_vec());
        assert_eq!(pair(b"a\tb").unwrap(), entry(b"a", b"b"));
        assert_eq!(pair(b"\t").unwrap(), entry(b"", b""));
        assert_eq!(pair(b"a\\tb\t\\x00").unwrap(), entry(b"a\tb", b"\0"));
        assert_eq!(pair(b"\xff\tb").unwrap(), entry(b"\xff", b"b"));
        assert!(pair(b"").unwrap_err().starts_with("0 tabs"));
        assert!(pair(b"a\tb\tc").unwrap_err().starts_with("2 tabs"));
        assert!(pair(br"a\	b").is_err());
    }

    #[test]
    fn a_line_that_names_its_bucket_has_three_fields() {
        let mut record = Record::default();
        parse(b"a\\tb\t00\tff", Form::Hex, true, &mut record).unwrap();
        assert_eq!((record.bucket.as_str(), &record.key[..], &record.value[..]), ("a\tb", &b"\0"[..], &b"\xff"[..]));
        assert!(parse(b"a\tb", Form::Text, true, &mut record).unwrap_err().starts_with("1 tabs"));
        assert!(parse(b"\\xff\ta\tb", Form::Text, true, &mut record).unwrap_err().contains("not UTF-8"));
    }
}
