//! A line of the shell as words, with quotes and escapes. `command` takes them from there.
//!
//! Words are apart by white space. Between `"` and outside of quotes the escapes of [`ESCAPES`] count; between `'` every byte
//! stands for itself. A word that has a quote or an escape in it is text, whatever it looks like.

use crate::text::hex_byte;

/// The escapes there are.
pub const ESCAPES: &str = r#"\t \n \r \" \' \\ \xHH \u{HHHH}"#;

#[derive(Default, Debug, PartialEq, Eq)]
pub struct Word {
    pub bytes: Vec<u8>,
    /// A part of it was quoted or escaped.
    pub is_quoted: bool,
}

/// The words of a line, or why it has none.
pub fn split(line: &[u8]) -> Result<Vec<Word>, String> {
    let mut words = Vec::new();
    let mut rest = line.trim_ascii_start();
    while !rest.is_empty() {
        let (word, after) = first(rest)?;
        words.push(word);
        rest = after.trim_ascii_start();
    }
    Ok(words)
}

fn first(mut rest: &[u8]) -> Result<(Word, &[u8]), String> {
    let mut word = Word::default();
    while let Some((&byte, after)) = rest.split_first() {
        word.is_quoted |= matches!(byte, b'"' | b'\'' | b'\\');
        rest = match byte {
            b'"' => double_quoted(after, &mut word.bytes)?,
            b'\'' => single_quoted(after, &mut word.bytes)?,
            b'\\' => escape(rest, &mut word.bytes)?,
            byte if byte.is_ascii_whitespace() => break,
            byte => {
                word.bytes.push(byte);
                after
            }
        };
    }
    Ok((word, rest))
}

/// Reads up to the closing quote, and answers what is behind it.
fn double_quoted<'a>(mut rest: &'a [u8], bytes: &mut Vec<u8>) -> Result<&'a [u8], String> {
    while let Some((&byte, after)) = rest.split_first() {
        rest = match byte {
            b'"' => return Ok(after),
            b'\\' => escape(rest, bytes)?,
            byte => {
                bytes.push(byte);
                after
            }
        };
    }
    Err(r#"a quote that does not end; close it with ""#.to_owned())
}

fn single_quoted<'a>(rest: &'a [u8], bytes: &mut Vec<u8>) -> Result<&'a [u8], String> {
    let end = rest.iter().position(|&byte| byte == b'\'').ok_or("a quote that does not end; close it with '")?;
    bytes.extend_from_slice(&rest[..end]);
    Ok(&rest[end + 1..])
}

/// Reads the escape that `rest` begins with, and answers what is behind it.
fn escape<'a>(rest: &'a [u8], bytes: &mut Vec<u8>) -> Result<&'a [u8], String> {
    let (byte, len) = match rest[1..] {
        [b't', ..] => (b'\t', 2),
        [b'n', ..] => (b'\n', 2),
        [b'r', ..] => (b'\r', 2),
        [same @ (b'"' | b'\'' | b'\\'), ..] => (same, 2),
        [b'x', high, low, ..] => (hex_byte(high, low).ok_or_else(|| unknown(rest))?, 4),
        [b'u', b'{', ..] => return unicode(rest, bytes),
        _ => return Err(unknown(rest)),
    };
    bytes.push(byte);
    Ok(&rest[len..])
}

/// `\u{HHHH}`, a character by its number.
fn unicode<'a>(rest: &'a [u8], bytes: &mut Vec<u8>) -> Result<&'a [u8], String> {
    const BEFORE: usize = r"\u{".len();
    let end = rest.iter().position(|&byte| byte == b'}').ok_or_else(|| unknown(rest))?;
    let digits = str::from_utf8(&rest[BEFORE..end]).ok();
    let digits = digits.filter(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()));
    let number = digits.and_then(|digits| u32::from_str_radix(digits, 16).ok());
    let character = number.and_then(char::from_u32).ok_or_else(|| unknown(rest))?;
    bytes.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
    Ok(&rest[end + 1..])
}

fn unknown(rest: &[u8]) -> String {
    const SHOWN_MAX: usize = 10;
    let end = rest.iter().position(u8::is_ascii_whitespace).unwrap_or(rest.len()).min(SHOWN_MAX);
    format!("unknown escape {}; there are {ESCAPES}", String::from_utf8_lossy(&rest[..end]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(line: &str) -> Vec<(String, bool)> {
        let words = split(line.as_bytes()).unwrap();
        words.into_iter().map(|word| (String::from_utf8(word.bytes).unwrap(), word.is_quoted)).collect()
    }

    #[test]
    fn words_are_apart_by_white_space() {
        assert_eq!(plain(""), []);
        assert_eq!(plain(" \t\r\n"), []);
        assert_eq!(plain(" set  a\tb\r\n"), ["set", "a", "b"].map(|word| (word.to_owned(), false)));
    }

    #[test]
    fn quotes_keep_words_together() {
        let quoted = |word: &str| [(word.to_owned(), true)];
        assert_eq!(plain(r#""two words""#), quoted("two words"));
        assert_eq!(plain(r#"'two "words" \n'"#), quoted(r#"two "words" \n"#));
        assert_eq!(plain(r#"a"b c"'d e'f"#), quoted("ab cd ef"));
        assert_eq!(plain(r#""""#), quoted(""));
        assert_eq!(plain(r#"a\tb"#), quoted("a\tb"));
        assert_eq!(plain(r#""\t\n\r\"\'\\\x41\u{732b}""#), quoted("\t\n\r\"'\\A猫"));
        assert_eq!(split(br"\xff").unwrap()[0].bytes, b"\xff");
    }

    #[test]
    fn what_does_not_end_or_is_unknown_is_said() {
        for bad in [r#"""#, r#""a"#, r#""a\""#, "'a", r"\", r"\q", r"\x1", r"\xg0", r"\u{", r"\u{d800}", r"\u{+41}"] {
            let why = split(bad.as_bytes()).unwrap_err();
            assert!(why.contains("does not end") || why.contains("unknown escape \\"), "{bad}: {why}");
        }
    }
}
