//! JSON lines: {"key":"...","value":"..."}, with "bucket" first where the lines name their buckets.
//!
//! A JSON string holds text alone, so a key or value that is not UTF-8 stands in hexadecimal under "key_hex" or
//! "value_hex". With `--hex` every key and value is hexadecimal, under its plain name.

use std::io::{self, BufRead, Write};
use std::str;

use serde_json::{Map, Value};

use super::lines::Lines;
use super::{Bad, Reader, Record, Step, Writer};
use crate::text::Form;

const KEY: [&str; 2] = ["key", "key_hex"];
const VALUE: [&str; 2] = ["value", "value_hex"];

pub struct JsonReader {
    lines: Lines,
    form: Form,
    names_bucket: bool,
}

impl JsonReader {
    pub fn new(input: Box<dyn BufRead>, form: Form, names_bucket: bool) -> JsonReader {
        JsonReader { lines: Lines::new(input), form, names_bucket }
    }
}

impl Reader for JsonReader {
    fn next(&mut self, record: &mut Record) -> Result<Step, Bad> {
        let Some(line) = self.lines.next()? else { return Ok(Step::End) };
        record.line = line.number;
        parse(line.text, self.form, self.names_bucket, record).map_err(|why| Bad { line: record.line, why })?;
        Ok(Step::Entry)
    }
}

fn parse(line: &[u8], form: Form, names_bucket: bool, record: &mut Record) -> Result<(), String> {
    let wanted = if names_bucket {
        r#"write {"bucket":"...","key":"...","value":"..."}, or give BUCKET for lines without it"#
    } else {
        r#"write {"key":"...","value":"..."}, both strings and nothing else"#
    };
    let parsed = serde_json::from_slice(line).map_err(|error| format!("not JSON: {}; {wanted}", reason(&error)))?;
    let Value::Object(mut object) = parsed else {
        return Err(format!("not a JSON object; {wanted}"));
    };
    if names_bucket {
        let Some(Value::String(bucket)) = object.remove("bucket") else {
            return Err(format!("no bucket; {wanted}"));
        };
        record.bucket = bucket;
    }
    match (field(&mut object, KEY, form)?, field(&mut object, VALUE, form)?) {
        (Some(key), Some(value)) if object.is_empty() => {
            record.key = key;
            record.value = value;
            Ok(())
        }
        _ => Err(format!("not a key and a value; {wanted}")),
    }
}

/// What serde_json says, with the column alone: it takes every line for the first.
fn reason(error: &serde_json::Error) -> String {
    let said = error.to_string();
    let what = said.split(" at line ").next().unwrap_or(&said);
    format!("{what} at column {}", error.column())
}

/// The bytes under exactly one of the two names.
fn field(object: &mut Map<String, Value>, names: [&str; 2], form: Form) -> Result<Option<Vec<u8>>, String> {
    let [plain, hex] = names.map(|name| object.remove(name));
    match (plain, hex) {
        (Some(Value::String(text)), None) => match form {
            // JSON has escapes of its own.
            Form::Text => Ok(Some(text.into_bytes())),
            Form::Hex => form.decode(text.as_bytes()).map(Some),
        },
        (None, Some(Value::String(text))) => Form::Hex.decode(text.as_bytes()).map(Some),
        _ => Ok(None),
    }
}

pub struct JsonWriter<W> {
    out: W,
    form: Form,
    names_bucket: bool,
}

impl<W: Write> JsonWriter<W> {
    pub fn new(out: W, form: Form, names_bucket: bool) -> JsonWriter<W> {
        JsonWriter { out, form, names_bucket }
    }

    fn field(&mut self, [plain, hex]: [&str; 2], bytes: &[u8]) -> io::Result<()> {
        let name = match (self.form, str::from_utf8(bytes)) {
            (Form::Text, Ok(text)) => {
                write!(self.out, "\"{plain}\":")?;
                return Ok(serde_json::to_writer(&mut self.out, text)?);
            }
            (Form::Text, Err(_)) => hex,
            (Form::Hex, _) => plain,
        };
        write!(self.out, "\"{name}\":\"")?;
        Form::Hex.encode(bytes, &mut self.out)?;
        self.out.write_all(b"\"")
    }
}

impl<W: Write> Writer for JsonWriter<W> {
    fn entry(&mut self, bucket: &str, key: &[u8], value: &[u8]) -> io::Result<()> {
        self.out.write_all(b"{")?;
        if self.names_bucket {
            self.out.write_all(b"\"bucket\":")?;
            serde_json::to_writer(&mut self.out, bucket)?;
            self.out.write_all(b",")?;
        }
        self.field(KEY, key)?;
        self.out.write_all(b",")?;
        self.field(VALUE, value)?;
        self.out.write_all(b"}\n")
    }

    fn finish(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(line: &str, form: Form) -> Result<(Vec<u8>, Vec<u8>), String> {
        let mut record = Record::default();
        parse(line.as_bytes(), form, false, &mut record).map(|()| (record.key, record.value))
    }

    #[test]
    fn a_line_is_exactly_key_and_value() {
        let entry = |key: &[u8], value: &[u8]| (key.to_vec(), value.to_vec());
        assert_eq!(pair(r#"{"key":"a\tb","value":"\\n"}"#, Form::Text).unwrap(), entry(b"a\tb", b"\\n"));
        assert_eq!(pair(r#"{"key":"00","value":"FF"}"#, Form::Hex).unwrap(), entry(b"\0", b"\xff"));
        assert_eq!(pair(r#"{"key_hex":"00ff","value":"v"}"#, Form::Text).unwrap(), entry(b"\0\xff", b"v"));
        for bad in [
            "",
            "[]",
            "{",
            r#"{"key":"a"}"#,
            r#"{"key":1,"value":"b"}"#,
            r#"{"key":"a","value":"b","x":"c"}"#,
            r#"{"bucket":"b","key":"a","value":"b"}"#,
            r#"{"key":"a","key_hex":"61","value":"b"}"#,
            r#"{"key_hex":"6","value":"b"}"#,
        ] {
            assert!(pair(bad, Form::Text).is_err(), "{bad}");
        }
        assert!(
            pair("{\"key\":\"a", Form::Text)
                .unwrap_err()
                .starts_with("not JSON: EOF while parsing a string at column 9;")
        );
    }

    #[test]
    fn a_line_may_name_its_bucket() {
        let mut record = Record::default();
        parse(br#"{"bucket":"b","key":"k","value":"v"}"#, Form::Text, true, &mut record).unwrap();
        assert_eq!((record.bucket.as_str(), &record.key[..], &record.value[..]), ("b", &b"k"[..], &b"v"[..]));
        let without = parse(br#"{"key":"k","value":"v"}"#, Form::Text, true, &mut record);
        assert!(without.unwrap_err().starts_with("no bucket; write {\"bucket\""));
    }

    #[test]
    fn bytes_that_are_not_utf8_are_written_in_hexadecimal() {
        let written = |form| {
            let mut out = Vec::new();
            JsonWriter::new(&mut out, form, true).entry("b\"", b"k\xff", "\n\u{e9}".as_bytes()).unwrap();
            String::from_utf8(out).unwrap()
        };
        assert_eq!(written(Form::Text), "{\"bucket\":\"b\\\"\",\"key_hex\":\"6bff\",\"value\":\"\\n\u{e9}\"}\n");
        assert_eq!(written(Form::Hex), "{\"bucket\":\"b\\\"\",\"key\":\"6bff\",\"value\":\"0ac3a9\"}\n");
    }
}
