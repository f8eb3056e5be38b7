//! One line of input as a key and a value: tab-separated text or JSON lines. `load` reads with it.

use std::path::Path;

use serde_json::Value;

use crate::text::Form;

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// key TAB value, with the escapes that scan prints
    Tsv,
    /// {"key":"...","value":"..."}
    Jsonl,
}

impl Format {
    /// The format that the extension of `path` promises.
    pub fn of(path: &Path) -> Format {
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("jsonl" | "ndjson") => Format::Jsonl,
            _ => Format::Tsv,
        }
    }

    /// The key and the value on `line`, which comes without its line end; or what is wrong with it.
    pub fn parse(self, line: &[u8], form: Form) -> Result<(Vec<u8>, Vec<u8>), String> {
        match self {
            Format::Tsv => parse_tsv(line, form),
            Format::Jsonl => parse_json(line, form),
        }
    }
}

fn parse_tsv(line: &[u8], form: Form) -> Result<(Vec<u8>, Vec<u8>), String> {
    let mut fields = line.split(|&byte| byte == b'\t');
    let (Some(key), Some(value), None) = (fields.next(), fields.next(), fields.next()) else {
        let tabs = line.iter().filter(|&&byte| byte == b'\t').count();
        return Err(format!(r"{tabs} tabs; write key TAB value, and \t for a tab inside them"));
    };
    Ok((form.decode(key)?, form.decode(value)?))
}

fn parse_json(line: &[u8], form: Form) -> Result<(Vec<u8>, Vec<u8>), String> {
    const WANTED: &str = r#"write {"key":"...","value":"..."}, both strings and nothing else"#;
    let parsed = serde_json::from_slice(line).map_err(|error| format!("not JSON: {error}; {WANTED}"))?;
    let Value::Object(mut object) = parsed else {
        return Err(format!("not a JSON object; {WANTED}"));
    };
    match (object.remove("key"), object.remove("value")) {
        (Some(Value::String(key)), Some(Value::String(value))) if object.is_empty() => {
            Ok((json_bytes(key, form)?, json_bytes(value, form)?))
        }
        _ => Err(format!("not a key and a value; {WANTED}")),
    }
}

/// JSON has escapes of its own, so only hexadecimal is left to decode.
fn json_bytes(text: String, form: Form) -> Result<Vec<u8>, String> {
    match form {
        Form::Text => Ok(text.into_bytes()),
        Form::Hex => form.decode(text.as_bytes()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(key: &[u8], value: &[u8]) -> (Vec<u8>, Vec<u8>) {
        (key.to_vec(), value.to_vec())
    }

    #[test]
    fn tsv_splits_at_its_one_tab() {
        let parse = |line: &[u8]| Format::Tsv.parse(line, Form::Text);
        assert_eq!(parse(b"a\tb").unwrap(), pair(b"a", b"b"));
        assert_eq!(parse(b"\t").unwrap(), pair(b"", b""));
        assert_eq!(parse(br"a\tb	\x00").unwrap(), pair(b"a\tb", b"\0"));
        assert_eq!(parse(b"\xff\tb").unwrap(), pair(b"\xff", b"b"));
        assert!(parse(b"").unwrap_err().starts_with("0 tabs"));
        assert!(parse(b"a\tb\tc").unwrap_err().starts_with("2 tabs"));
        assert!(parse(br"a\	b").is_err());
    }

    #[test]
    fn json_takes_exactly_key_and_value() {
        let parse = |line: &str| Format::Jsonl.parse(line.as_bytes(), Form::Text);
        assert_eq!(parse(r#"{"key":"a\tb","value":"\\n"}"#).unwrap(), pair(b"a\tb", b"\\n"));
        for bad in ["", "[]", r#"{"key":"a"}"#, r#"{"key":1,"value":"b"}"#, r#"{"key":"a","value":"b","x":"c"}"#, "{"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
        let hex = Format::Jsonl.parse(br#"{"key":"00","value":"FF"}"#, Form::Hex);
        assert_eq!(hex.unwrap(), pair(b"\0", b"\xff"));
    }

    #[test]
    fn the_extension_names_the_format() {
        assert_eq!(Format::of(Path::new("a.jsonl")), Format::Jsonl);
        assert_eq!(Format::of(Path::new("a.ndjson")), Format::Jsonl);
        assert_eq!(Format::of(Path::new("a.tsv")), Format::Tsv);
        assert_eq!(Format::of(Path::new("-")), Format::Tsv);
    }
}
