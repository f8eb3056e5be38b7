//! Bytes as text, and back: the one form of keys and values in arguments, TSV and what is printed for people.
//!
//! What is printed is also what is taken, so the output of `scan` is an input of `load`. Text is UTF-8 with the
//! escapes `\t \n \r \\ \xHH`; control characters and bytes that are not UTF-8 are printed as `\xHH`, so no value
//! can disturb a terminal or the line structure, and so are byte order marks, which would be lost at the beginning of a
//! file. With `--hex`, it is hexadecimal without escapes.

use std::io::{self, Write};

use crate::failure::Failure;

/// What Windows programs begin a file of UTF-8 with.
pub const BYTE_ORDER_MARK: char = '\u{feff}';

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Form {
    Text,
    Hex,
}

impl Form {
    pub fn new(hex: bool) -> Form {
        if hex { Form::Hex } else { Form::Text }
    }

    /// The bytes that an argument stands for; `name` is how the help calls it.
    pub fn argument(self, name: &str, text: &str) -> Result<Vec<u8>, Failure> {
        self.decoded(text.as_bytes()).map_err(|why| Failure::Outside(format!("{name}: {why}")))
    }

    /// The bytes that `text` stands for, or why it stands for none.
    pub fn decoded(self, text: &[u8]) -> Result<Vec<u8>, String> {
        let mut bytes = text.to_vec();
        self.decode(&mut bytes)?;
        Ok(bytes)
    }

    /// Puts the bytes that `text` stands for in its place, which takes no memory. After an error it is spoilt.
    pub fn decode(self, text: &mut Vec<u8>) -> Result<(), String> {
        match self {
            Form::Text => replace_escapes(text, escaped),
            Form::Hex => decode_hex(text),
        }
    }

    pub fn encode(self, bytes: &[u8], out: &mut impl Write) -> io::Result<()> {
        match self {
            Form::Text => escape(bytes, out),
            Form::Hex => encode_hex(bytes, out),
        }
    }

    /// `bytes` for a message or a table.
    pub fn show(self, bytes: &[u8]) -> String {
        let mut out = Vec::new();
        self.encode(bytes, &mut out).expect("a Vec takes every write");
        String::from_utf8(out).expect("both forms are UTF-8")
    }
}

fn escape(bytes: &[u8], out: &mut impl Write) -> io::Result<()> {
    for chunk in bytes.utf8_chunks() {
        let mut text = chunk.valid();
        // Whole runs of plain text go out at once: escapes are rare and scans are long.
        while let Some(at) = text.find(|c: char| c == '\\' || c == BYTE_ORDER_MARK || c.is_control()) {
            let (plain, rest) = text.split_at(at);
            let special = rest.chars().next().expect("find stopped at a character");
            out.write_all(plain.as_bytes())?;
            escape_char(special, out)?;
            text = &rest[special.len_utf8()..];
        }
        out.write_all(text.as_bytes())?;
        escape_bytes(chunk.invalid(), out)?;
    }
    Ok(())
}

fn escape_char(special: char, out: &mut impl Write) -> io::Result<()> {
    match special {
        '\t' => out.write_all(b"\\t"),
        '\n' => out.write_all(b"\\n"),
        '\r' => out.write_all(b"\\r"),
        '\\' => out.write_all(b"\\\\"),
        unseen => escape_bytes(unseen.encode_utf8(&mut [0; 4]).as_bytes(), out),
    }
}

fn escape_bytes(bytes: &[u8], out: &mut impl Write) -> io::Result<()> {
    bytes.iter().try_for_each(|byte| write!(out, "\\x{byte:02x}"))
}

/// The byte of the escape that `text` begins with, and how long that is.
fn escaped(text: &[u8]) -> Result<(u8, usize), String> {
    match text[1..] {
        [b't', ..] => Ok((b'\t', 2)),
        [b'n', ..] => Ok((b'\n', 2)),
        [b'r', ..] => Ok((b'\r', 2)),
        [b'\\', ..] => Ok((b'\\', 2)),
        [b'x', high, low, ..] => Ok((hex_byte(high, low).ok_or_else(|| bad_escape(text))?, 4)),
        _ => Err(bad_escape(text)),
    }
}

/// Puts bytes in the place of escapes, which begin with a backslash. For the text from one on, `escaped` says which byte and how long.
pub fn replace_escapes(
    text: &mut Vec<u8>,
    escaped: impl Fn(&[u8]) -> Result<(u8, usize), String>,
) -> Result<(), String> {
    let mut written = text.iter().position(|&byte| byte == b'\\').unwrap_or(text.len());
    let mut read = written;
    while read < text.len() {
        let (byte, len) = match text[read] {
            b'\\' => escaped(&text[read..])?,
            plain => (plain, 1),
        };
        text[written] = byte;
        written += 1;
        read += len;
    }
    text.truncate(written);
    Ok(())
}

fn bad_escape(text: &[u8]) -> String {
    let len = if text.starts_with(b"\\x") { 4 } else { 2 };
    let shown = String::from_utf8_lossy(&text[..len.min(text.len())]);
    format!(r"unknown escape {shown}; there are \t \n \r \xHH, and \\ for a backslash")
}

fn encode_hex(bytes: &[u8], out: &mut impl Write) -> io::Result<()> {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    // Through a buffer: a dump is little else than this.
    let mut text = [0; 1024];
    for chunk in bytes.chunks(text.len() / 2) {
        for (pair, byte) in text.as_chunks_mut::<2>().0.iter_mut().zip(chunk) {
            *pair = [byte >> 4, byte & 15].map(|digit| DIGITS[usize::from(digit)]);
        }
        out.write_all(&text[..2 * chunk.len()])?;
    }
    Ok(())
}

fn decode_hex(text: &mut Vec<u8>) -> Result<(), String> {
    if !text.len().is_multiple_of(2) {
        return Err(format!("{} hexadecimal digits are not whole bytes; write two digits a byte", text.len()));
    }
    let len = text.len() / 2;
    for at in 0..len {
        let (high, low) = (text[2 * at], text[2 * at + 1]);
        text[at] = hex_byte(high, low).ok_or_else(|| {
            let shown = String::from_utf8_lossy(&[high, low]).into_owned();
            format!("{shown} is not hexadecimal; write two digits (0-9, a-f) a byte")
        })?;
    }
    text.truncate(len);
    Ok(())
}

/// The byte of two hexadecimal digits.
pub fn hex_byte(high: u8, low: u8) -> Option<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    Some((digit(high)? * 16 + digit(low)?) as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_survives_both_forms() {
        let all: Vec<u8> = (0..=255).collect();
        for form in [Form::Text, Form::Hex] {
            let shown = form.show(&all);
            assert!(!shown.contains(char::is_control));
            assert_eq!(form.decoded(shown.as_bytes()).unwrap(), all);
        }
    }

    #[test]
    fn long_values_survive_hexadecimal() {
        for len in [511, 512, 513, 2000] {
            let bytes: Vec<u8> = (0..len).map(|at| (at % 251) as u8).collect();
            let shown = Form::Hex.show(&bytes);
            assert_eq!(shown.len(), 2 * bytes.len());
            assert_eq!(Form::Hex.decoded(shown.as_bytes()).unwrap(), bytes);
        }
    }

    #[test]
    fn text_is_printed_as_it_is_where_it_can_be() {
        assert_eq!(Form::Text.show("naïve 猫".as_bytes()), "naïve 猫");
        assert_eq!(Form::Text.show(b"a\tb\nc\rd\\e\0"), r"a\tb\nc\rd\\e\x00");
        assert_eq!(Form::Text.show(b"\xffa\xe7\x8c"), r"\xffa\xe7\x8c");
        assert_eq!(Form::Text.show("\u{85}".as_bytes()), r"\xc2\x85");
        assert_eq!(Form::Text.show("\u{feff}a".as_bytes()), r"\xef\xbb\xbfa");
        assert_eq!(Form::Hex.show(b"\x00\xab"), "00ab");
        assert_eq!(Form::Text.show(b""), "");
    }

    #[test]
    fn bad_escapes_are_named() {
        for bad in [r"a\q", r"\", r"\x", r"\x1", r"\xg0", r"\x+1"] {
            let why = Form::Text.decoded(bad.as_bytes()).unwrap_err();
            assert!(why.starts_with("unknown escape \\"), "{bad}: {why}");
        }
    }

    #[test]
    fn hex_takes_both_cases_and_whole_bytes_only() {
        assert_eq!(Form::Hex.decoded(b"00fFAb").unwrap(), [0x00, 0xff, 0xab]);
        assert!(Form::Hex.decoded(b"abc").unwrap_err().contains("whole bytes"));
        assert!(Form::Hex.decoded(b"zz").unwrap_err().contains("not hexadecimal"));
        assert!(Form::Hex.decoded(b"+1").is_err());
    }
}
