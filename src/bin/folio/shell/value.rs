//! Typed keys and values: how the shell stores them, and how it shows any bytes so that they can be typed again.
//!
//! A database holds bytes and no types. The shell gives some bytes a meaning:
//!
//! | typed | stored |
//! |---|---|
//! | text: `Alice`, `"two words"`, `'i:42'` | its bytes, and nothing else |
//! | `x:0aff` | these bytes |
//! | `null` | FF 01 |
//! | `i:42` | FF 02, then the number plus 2^63 as 8 bytes, the high one first |
//! | `f:3.14` | FF 03, then the bits as 8 bytes, the high one first: all inverted if negative, else the first one |
//!
//! No text has a byte FF in it, so a typed value is never taken for text, nor text for a typed value; and another program finds
//! `Alice` where `set k Alice` was typed. Keys of one type order as their values do; text comes before null, integers and floats.
//!
//! What is shown, in the modes text and hex, stores the same bytes when it is typed. Three rules see to that: every decoding here
//! has one encoding, and it is the bytes that were decoded; what a word without quotes would not be read as is quoted; and what
//! is neither typed nor fit to be seen is shown as `x:`. So `x:416c696365`, which is as much `Alice` as text is, is shown as
//! `Alice`. And bytes of another program that happen to be FF 02 and eight more are shown as an integer, which types the same bytes.

use serde_json::json;

use super::words::Word;
use crate::text::Form;

const TAG: u8 = 0xff;
const NULL: u8 = 1;
const INTEGER: u8 = 2;
const FLOAT: u8 = 3;

const SIGN: u64 = 1 << 63;

/// How keys and values are shown.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    Text,
    Hex,
    Json,
}

/// What some bytes mean to the shell.
#[derive(Debug, PartialEq)]
enum Value<'a> {
    Null,
    Integer(i64),
    Float(f64),
    Text(&'a str),
    Bytes(&'a [u8]),
}

/// The bytes that a word stands for, or why it stands for none.
pub fn parse(word: &Word) -> Result<Vec<u8>, String> {
    if word.is_quoted {
        return Ok(word.bytes.clone());
    }
    let number = |digits: &[u8]| str::from_utf8(digits).unwrap_or_default().to_owned();
    match &word.bytes[..] {
        b"null" => Ok(vec![TAG, NULL]),
        [b'i', b':', digits @ ..] => match number(digits).parse() {
            Ok(integer) => Ok(encode_integer(integer)),
            Err(_) => Err(not_typed(word, &format!("an integer from {} to {}", i64::MIN, i64::MAX))),
        },
        [b'f', b':', digits @ ..] => match number(digits).parse() {
            Ok(float) => Ok(encode_float(if f64::is_nan(float) { f64::NAN } else { float })),
            Err(_) => Err(not_typed(word, "a number such as 3.14, 1e-9, inf or NaN")),
        },
        [b'x', b':', digits @ ..] => match Form::Hex.decoded(digits) {
            Ok(bytes) => Ok(bytes),
            Err(_) => Err(not_typed(word, "two hexadecimal digits a byte")),
        },
        text => Ok(text.to_vec()),
    }
}

fn not_typed(word: &Word, wanted: &str) -> String {
    let shown = Form::Text.show(&word.bytes);
    let prefix = &shown[..2];
    format!("{shown}: after {prefix} comes {wanted}; to store it as text, quote it")
}

fn encode_integer(integer: i64) -> Vec<u8> {
    encode(INTEGER, integer as u64 ^ SIGN)
}

fn encode_float(float: f64) -> Vec<u8> {
    let bits = float.to_bits();
    encode(FLOAT, if bits & SIGN == 0 { bits ^ SIGN } else { !bits })
}

fn encode(kind: u8, ordered: u64) -> Vec<u8> {
    [&[TAG, kind][..], &ordered.to_be_bytes()].concat()
}

fn decode(bytes: &[u8]) -> Value<'_> {
    match *bytes {
        [TAG, NULL] => return Value::Null,
        [TAG, kind, ref ordered @ ..] => {
            if let Ok(ordered) = <[u8; 8]>::try_from(ordered)
                && let Some(number) = decode_number(kind, u64::from_be_bytes(ordered))
            {
                return number;
            }
        }
        _ => {}
    }
    match str::from_utf8(bytes) {
        Ok(text) if !text.contains(is_unfit) => Value::Text(text),
        _ => Value::Bytes(bytes),
    }
}

fn decode_number(kind: u8, ordered: u64) -> Option<Value<'static>> {
    match kind {
        INTEGER => Some(Value::Integer((ordered ^ SIGN) as i64)),
        FLOAT => {
            let float = f64::from_bits(if ordered & SIGN != 0 { ordered ^ SIGN } else { !ordered });
            // There are many that are no number, and only one of them is what NaN is read as.
            let is_shown = !float.is_nan() || float.to_bits() == f64::NAN.to_bits();
            is_shown.then_some(Value::Float(float))
        }
        _ => None,
    }
}

/// Characters that make bytes look like anything but text.
fn is_unfit(character: char) -> bool {
    character.is_control() && !matches!(character, '\t' | '\n' | '\r')
}

/// `bytes` as the mode shows them.
pub fn show(bytes: &[u8], mode: Mode) -> String {
    match mode {
        Mode::Text => typed(bytes),
        Mode::Hex => hex(bytes),
        Mode::Json => json(bytes).to_string(),
    }
}

/// `bytes` as they can be typed.
pub fn typed(bytes: &[u8]) -> String {
    match decode(bytes) {
        Value::Null => "null".to_owned(),
        Value::Integer(integer) => format!("i:{integer}"),
        Value::Float(float) => format!("f:{float:?}"),
        Value::Text(text) => quoted_if_need_be(text),
        Value::Bytes(bytes) => hex(bytes),
    }
}

fn hex(bytes: &[u8]) -> String {
    format!("x:{}", Form::Hex.show(bytes))
}

/// Text of a mark that the shell prints, such as `(nil)`, is quoted too.
fn quoted_if_need_be(text: &str) -> String {
    // An apostrophe needs no escape between double quotes; all else that does, or cannot be seen, has one in Rust as here.
    let escaped = text.split('\'').map(|part| part.escape_debug().to_string()).collect::<Vec<_>>().join("'");
    let is_taken = text == "null" || ["i:", "f:", "x:", "("].iter().any(|prefix| text.starts_with(prefix));
    let is_word = !text.is_empty() && escaped == text && !text.contains([' ', '\'']);
    if is_word && !is_taken { escaped } else { format!("\"{escaped}\"") }
}

/// `bytes` as JSON: null, a number, a string; an object around what JSON has nothing for.
pub fn json(bytes: &[u8]) -> serde_json::Value {
    match decode(bytes) {
        Value::Null => serde_json::Value::Null,
        Value::Integer(integer) => json!(integer),
        Value::Float(float) if float.is_finite() => json!(float),
        Value::Float(float) => json!({ "float": format!("{float:?}") }),
        Value::Text(text) => json!(text),
        Value::Bytes(bytes) => json!({ "hex": Form::Hex.show(bytes) }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shell::words;

    /// What a line of one word stores.
    fn stored(line: &str) -> Vec<u8> {
        let words = words::split(line.as_bytes()).unwrap();
        let [word] = &words[..] else { panic!("{line:?} is not one word") };
        parse(word).unwrap()
    }

    #[track_caller]
    fn comes_back(bytes: &[u8]) {
        for mode in [Mode::Text, Mode::Hex] {
            let shown = show(bytes, mode);
            assert!(!shown.contains(char::is_control), "{shown:?}");
            assert_eq!(stored(&shown), bytes, "{shown}");
        }
        let json = show(bytes, Mode::Json);
        assert!(!json.contains('\n'), "{json}");
        serde_json::from_str::<serde_json::Value>(&json).unwrap();
    }

    #[test]
    fn random_bytes_come_back() {
        let seed = std::env::var("FOLIO_SEED").map_or_else(|_| fastrand::u64(..), |seed| seed.parse().unwrap());
        println!("FOLIO_SEED={seed}");
        let mut rng = fastrand::Rng::with_seed(seed);
        // Bytes that are likely to be taken for something else.
        let tempting =
            ["i:", "f:", "x:", "null", "(nil)", "\"", "'", "\\", " ", "\t", "\u{202e}", "\u{301}", "é", "42"];
        for _ in 0..20_000 {
            let mut bytes = Vec::new();
            for _ in 0..rng.usize(..6) {
                match rng.u8(..5) {
                    0 => bytes.extend_from_slice(rng.choice(tempting).unwrap().as_bytes()),
                    1 => bytes.extend_from_slice(rng.char(..).encode_utf8(&mut [0; 4]).as_bytes()),
                    2 => bytes.push(rng.u8(..)),
                    3 => bytes.extend_from_slice(&[TAG, rng.u8(..5)]),
                    _ => bytes.extend_from_slice(&rng.u64(..).to_be_bytes()),
                }
            }
            comes_back(&bytes);
        }
        for _ in 0..20_000 {
            comes_back(&encode(rng.u8(..5), rng.u64(..) >> rng.u8(..64)));
        }
    }

    #[test]
    fn what_was_typed_is_shown_as_it_was_typed() {
        for line in [
            "Alice",
            "naïve",
            "猫",
            "id:100",
            "-1",
            "3.14",
            "a/b",
            "null",
            "i:0",
            "i:-9223372036854775808",
            "i:9223372036854775807",
            "f:3.14",
            "f:-0.0",
            "f:1e300",
            "f:inf",
            "f:-inf",
            "f:NaN",
            "x:0aff",
            "x:00",
            r#""two words""#,
            r#""i:42""#,
            r#""null""#,
            r#""(nil)""#,
            r#""""#,
            r#""it's""#,
            r#""a\tb\n\r\\\"""#,
            r#""\u{202e}abc""#,
            r#""\u{a0}""#,
        ] {
            assert_eq!(typed(&stored(line)), line);
        }
    }

    #[test]
    fn plain_text_is_plain_bytes() {
        assert_eq!(stored("Alice"), b"Alice");
        assert_eq!(stored("'i:42'"), b"i:42");
        assert_eq!(stored("x:416c696365"), b"Alice");
        assert_eq!(typed(b"Alice"), "Alice");
        assert_eq!(typed(b"i:42"), r#""i:42""#);
    }

    #[test]
    fn bytes_of_others_are_shown_safely() {
        assert_eq!(typed(&42u64.to_be_bytes()), "x:000000000000002a");
        assert_eq!(typed(b"\x1b[31m"), "x:1b5b33316d");
        assert_eq!(typed(b"\xff"), "x:ff");
        assert_eq!(typed(&stored("f:-nan")), "f:NaN");
        // Not a NaN that can be typed.
        assert_eq!(typed(&encode_float(f64::from_bits(f64::NAN.to_bits() + 1))), "x:ff03fff8000000000001");
    }

    #[test]
    fn keys_order_as_their_values_do() {
        let ordered = [
            "a",
            "zzz",
            "null",
            "i:-9223372036854775808",
            "i:-256",
            "i:-1",
            "i:0",
            "i:9",
            "i:10",
            "i:255",
            "i:256",
            "i:9223372036854775807",
            "f:-inf",
            "f:-1e300",
            "f:-1.5",
            "f:-0.0",
            "f:0.0",
            "f:1e-300",
            "f:2",
            "f:10",
            "f:inf",
        ];
        let keys: Vec<Vec<u8>> = ordered.iter().map(|line| stored(line)).collect();
        assert!(keys.is_sorted_by(|a, b| a < b), "{keys:?}");
    }

    #[test]
    fn what_a_prefix_does_not_take_is_an_error_that_names_it() {
        for bad in ["i:", "i:4x", "i:9223372036854775808", "i:1.5", "f:", "f:x", "x:0", "x:zz"] {
            let words = words::split(bad.as_bytes()).unwrap();
            let why = parse(&words[0]).unwrap_err();
            assert!(why.starts_with(bad) && why.contains("quote it"), "{why}");
        }
    }

    #[test]
    fn json_has_the_types() {
        let json = |line: &str| show(&stored(line), Mode::Json);
        assert_eq!(json("null"), "null");
        assert_eq!(json("i:9223372036854775807"), "9223372036854775807");
        assert_eq!(json("f:2"), "2.0");
        assert_eq!(json("f:-inf"), r#"{"float":"-inf"}"#);
        assert_eq!(json(r#""a\n\"""#), r#""a\n\"""#);
        assert_eq!(json("x:00ff"), r#"{"hex":"00ff"}"#);
    }
}
