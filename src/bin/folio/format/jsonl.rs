//! JSON lines: {"key":"...","value":"..."}, with "bucket" first where the lines name their buckets.
//!
//! A JSON string holds text alone, so a key or value that is not UTF-8 stands in hexadecimal under "key_hex" or
//! "value_hex". With `--hex` every key and value is hexadecimal, under its plain name.

use std::collections::BTreeMap;
use std::io::{self, BufRead, Write};
use std::{mem, str};

use serde_json::value::RawValue;

use super::lines::Lines;
use super::{Bad, Reader, Record, Step, Writer, bucket_name};
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
    let mut object: Object<'_> = serde_json::from_slice(line).map_err(|error| match error.is_data() {
        true => format!("not a JSON object; {wanted}"),
        false => format!("not JSON: {}; {wanted}", reason(&error)),
    })?;
    if names_bucket {
        let bucket = object.remove("bucket").and_then(string).ok_or_else(|| format!("no bucket; {wanted}"))?;
        let mut name = mem::take(&mut record.bucket).into_bytes();
        unescape(bucket, &mut name)?;
        record.bucket = bucket_name(name)?;
    }
    let has_key = field(&mut object, KEY, form, &mut record.key)?;
    let has_value = field(&mut object, VALUE, form, &mut record.value)?;
    if has_key && has_value && object.is_empty() { Ok(()) } else { Err(format!("not a key and a value; {wanted}")) }
}

/// The values of an object as they are written. The parser decodes none, because for that it holds a string twice.
type Object<'a> = BTreeMap<String, &'a RawValue>;

/// What serde_json says, with the column alone: it takes every line for the first.
fn reason(error: &serde_json::Error) -> String {
    let said = error.to_string();
    let what = said.split(" at line ").next().unwrap_or(&said);
    format!("{what} at column {}", error.column())
}

/// Finds the bytes under exactly one of the two names. Returns whether they are there.
fn field(object: &mut Object<'_>, names: [&str; 2], form: Form, bytes: &mut Vec<u8>) -> Result<bool, String> {
    let [plain, hex] = names.map(|name| object.remove(name));
    let (value, form) = match (plain, hex) {
        (Some(value), None) => (value, form),
        (None, Some(value)) => (value, Form::Hex),
        _ => return Ok(false),
    };
    let Some(text) = string(value) else { return Ok(false) };
    unescape(text, bytes)?;
    match form {
        // JSON has escapes of its own.
        Form::Text => Ok(true),
        Form::Hex => form.decode(bytes).map(|()| true),
    }
}

/// What is between the quotes, if the value is a string.
fn string(value: &RawValue) -> Option<&str> {
    value.get().strip_prefix('"')?.strip_suffix('"')
}

/// Puts what a string stands for into `bytes`. The parser has let every escape pass that has the right digits or letter.
fn unescape(text: &str, bytes: &mut Vec<u8>) -> Result<(), String> {
    bytes.clear();
    // It is never longer; and to grow in steps would take twice the memory.
    bytes.reserve(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        bytes.extend_from_slice(&rest.as_bytes()[..at]);
        let (plain, len) = match rest.as_bytes()[at + 1] {
            b'b' => ('\u{8}', 2),
            b'f' => ('\u{c}', 2),
            b'n' => ('\n', 2),
            b'r' => ('\r', 2),
            b't' => ('\t', 2),
            b'u' => unicode(&rest[at..])?,
            same => (char::from(same), 2),
        };
        bytes.extend_from_slice(plain.encode_utf8(&mut [0; 4]).as_bytes());
        rest = &rest[at + len..];
    }
    bytes.extend_from_slice(rest.as_bytes());
    Ok(())
}

/// The character of the escape \uHHHH, or of two of them, that the text begins with, and how long they are.
fn unicode(text: &str) -> Result<(char, usize), String> {
    const LEN: usize = r"\uHHHH".len();
    let unit = |escape: &str| u16::from_str_radix(escape.strip_prefix(r"\u")?.get(..4)?, 16).ok();
    let units = [text, &text[LEN..]].into_iter().map_while(unit);
    let character = char::decode_utf16(units).next().and_then(Result::ok);
    let character =
        character.ok_or_else(|| format!("{} is half a character; write the other half behind it", &text[..LEN]))?;
    Ok((character, LEN * character.len_utf16()))
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
    fn every_escape_is_decoded_as_by_the_library() {
        let decoded = |text: &str| {
            let line = format!("{{\"\\u006bey\":{text} ,\"value\": \"\"}}");
            pair(&line, Form::Text).map(|(key, _)| key)
        };
        for text in [
            r#""""#,
            r#""plain é""#,
            r#""\"\\\/\b\f\n\r\t""#,
            r#""\\n\\\\u0041""#,
            r#""a\u0000\u001f\u00e9\u732bb""#,
            r#""\ud83d\udc31\uDBFF\uDFFF!\u0041\u0042""#,
            r#""\ud7ff\ue000\uffff""#,
        ] {
            assert_eq!(decoded(text).unwrap(), serde_json::from_str::<String>(text).unwrap().into_bytes(), "{text}");
        }
        for bad in [r#""\ud83d""#, r#""\udc31\ud83d""#, r#""\ud83d\u0041""#, r#""\ud83dx""#] {
            assert!(serde_json::from_str::<String>(bad).is_err());
            assert!(decoded(bad).unwrap_err().contains("is half a character"), "{bad}");
        }
        for bad in [r#""\q""#, r#""\u00""#, r#""\u+041""#, "\"\t\"", "\"", "'a'"] {
            assert!(serde_json::from_str::<String>(bad).is_err());
            assert!(decoded(bad).unwrap_err().starts_with("not JSON: "), "{bad}");
        }
        assert_eq!(pair(r#"{"key":"\u0036b","value":""}"#, Form::Hex).unwrap().0, b"k");
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
