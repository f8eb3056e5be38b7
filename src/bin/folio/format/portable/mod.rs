//! The portable text that Berkeley DB's db_dump, LMDB's mdb_dump and libmdbx's mdbx_dump write and their load tools
//! read: one database after the other.
//!
//!     VERSION=3
//!     format=print          or bytevalue: two hexadecimal digits a byte
//!     database=NAME         missing for the one main database of an environment
//!     type=btree
//!     HEADER=END
//!      key                  each line of data has one space in front
//!      value
//!     DATA=END
//!
//! In the print format the bytes 0x20 to 0x7e stand for themselves, except the backslash, and every other byte is
//! `\HH`. A backslash is read as `\\` and as `\5c`, and written as `\5c`: mdb_load before LMDB 0.9.25 takes `\\` after
//! another escape for a wrong byte.

mod header;
mod read;
mod write;

use std::io::{self, Write};

use crate::text::{Form, hex_byte, replace_escapes};

pub use self::read::PortableReader;
pub use self::write::{PortableWriter, check_name};

/// How the data lines hold bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Style {
    #[default]
    Bytevalue,
    Print,
}

impl Style {
    fn name(self) -> &'static str {
        match self {
            Style::Bytevalue => "bytevalue",
            Style::Print => "print",
        }
    }

    fn encode(self, bytes: &[u8], out: &mut impl Write) -> io::Result<()> {
        match self {
            Style::Bytevalue => Form::Hex.encode(bytes, out),
            Style::Print => print(bytes, out),
        }
    }

    /// Puts the bytes that `text` stands for in its place.
    fn decode(self, text: &mut Vec<u8>) -> Result<(), String> {
        match self {
            Style::Bytevalue => Form::Hex.decode(text),
            Style::Print => replace_escapes(text, printed),
        }
    }
}

fn is_plain(byte: u8) -> bool {
    matches!(byte, b' '..=b'~') && byte != b'\\'
}

fn print(bytes: &[u8], out: &mut impl Write) -> io::Result<()> {
    let mut rest = bytes;
    while let Some(at) = rest.iter().position(|&byte| !is_plain(byte)) {
        out.write_all(&rest[..at])?;
        write!(out, "\\{:02x}", rest[at])?;
        rest = &rest[at + 1..];
    }
    out.write_all(rest)
}

/// The byte of the escape that `text` begins with, and how long that is.
fn printed(text: &[u8]) -> Result<(u8, usize), String> {
    match text[1..] {
        [b'\\', ..] => Ok((b'\\', 2)),
        [high, low, ..] => Ok((hex_byte(high, low).ok_or_else(|| bad_escape(text))?, 3)),
        _ => Err(bad_escape(text)),
    }
}

fn bad_escape(text: &[u8]) -> String {
    let shown = String::from_utf8_lossy(&text[..text.len().min(3)]);
    format!(
        r"unknown escape {shown}; there are \\ and \HH. If it came from mdb_dump -p before LMDB 0.9.25, which does not escape backslashes, dump anew without -p"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(style: Style, text: &[u8]) -> Result<Vec<u8>, String> {
        let mut bytes = text.to_vec();
        style.decode(&mut bytes).map(|()| bytes)
    }

    #[test]
    fn every_byte_survives_both_styles() {
        let all: Vec<u8> = (0..=255).collect();
        for style in [Style::Bytevalue, Style::Print] {
            let mut text = Vec::new();
            style.encode(&all, &mut text).unwrap();
            assert!(text.iter().all(|byte| matches!(byte, b' '..=b'~')));
            assert_eq!(decoded(style, &text).unwrap(), all);
        }
    }

    #[test]
    fn print_escapes_are_those_of_the_other_tools() {
        let mut text = Vec::new();
        Style::Print.encode("a b~\\\u{e9}\n".as_bytes(), &mut text).unwrap();
        assert_eq!(text, br"a b~\5c\c3\a9\0a");
        assert_eq!(decoded(Style::Print, br"\\5c\5C\\\\x").unwrap(), br"\5c\\\x");
        assert_eq!(decoded(Style::Print, b"\xe9\t").unwrap(), b"\xe9\t");
        for bad in [&br"\"[..], br"\5", br"\n1", br"a\\\", br"\+1"] {
            assert!(decoded(Style::Print, bad).unwrap_err().starts_with("unknown escape \\"));
        }
    }
}
