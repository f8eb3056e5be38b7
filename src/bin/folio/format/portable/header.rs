//! The header of a database in a dump: what its lines say, and what folio cannot hold.

use super::Style;
use crate::format::lines::Line;
use crate::format::{Bad, bucket_name, excerpt};

#[derive(Debug, Default)]
pub struct Header {
    pub style: Style,
    pub page_size: Option<u32>,
    name: Option<Vec<u8>>,
    /// The line of the name.
    name_line: u64,
    names: Names,
}

/// How a tool writes the name of a database. It shows by what else is in the header.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Names {
    /// Berkeley DB: with the escapes of the print format.
    #[default]
    Escaped,
    /// LMDB and libmdbx, which alone write the size of the map: as they are.
    Plain,
}

impl Header {
    /// An empty header for the next database of the same dump: libmdbx writes the size of the map only once.
    pub fn following(&self) -> Header {
        Header { names: self.names, ..Header::default() }
    }

    /// Takes a line `NAME=VALUE`. Answers whether it is known.
    pub fn take(&mut self, line: &Line<'_>) -> Result<bool, String> {
        let shown = || excerpt(line.text);
        let Some(at) = line.text.iter().position(|&byte| byte == b'=') else {
            return Err(format!("{} is no header; there is NAME=VALUE, and HEADER=END after the last one", shown()));
        };
        match (&line.text[..at], &line.text[at + 1..]) {
            (b"format", b"bytevalue") => self.style = Style::Bytevalue,
            (b"format", b"print") => self.style = Style::Print,
            (b"format", _) => return Err(format!("{}: unknown; there are bytevalue and print", shown())),
            (b"database" | b"subdatabase", name) => {
                self.name = Some(name.to_vec()).filter(|name| !name.is_empty());
                self.name_line = line.number;
            }
            (b"type", b"btree" | b"hash") => {}
            (b"type", _) | (b"keys", b"0") => {
                return Err(format!("{}: no keys; only databases of type btree or hash can be loaded", shown()));
            }
            (b"duplicates" | b"dupsort" | b"dupfixed" | b"dupfix" | b"integerdup" | b"reversedup", value) => {
                if value != b"0" {
                    return Err(format!(
                        "{}: folio holds one value a key; delete this line to keep the last value of each key",
                        shown()
                    ));
                }
            }
            (b"reversekey" | b"integerkey", value) => {
                if value != b"0" {
                    return Err(format!(
                        "{}: folio orders keys by their bytes; delete this line to have them in that order",
                        shown()
                    ));
                }
            }
            (b"db_pagesize", size) => self.page_size = str::from_utf8(size).ok().and_then(|digits| digits.parse().ok()),
            (b"mapsize" | b"mapaddr" | b"maxreaders" | b"geometry", _) => self.names = Names::Plain,
            (
                b"keys" | b"db_lorder" | b"bt_minkey" | b"chksum" | b"recnum" | b"compressed" | b"h_ffactor"
                | b"h_nelem" | b"txnid",
                _,
            ) => {}
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// The database's name as that of a bucket; none for a main database.
    pub fn bucket(&self) -> Result<Option<String>, Bad> {
        let Some(name) = &self.name else { return Ok(None) };
        let mut name = name.clone();
        let decoded = match self.names {
            Names::Plain => Ok(()),
            Names::Escaped => Style::Print.decode(&mut name),
        };
        decoded.and_then(|()| bucket_name(name)).map(Some).map_err(|why| Bad { line: self.name_line, why })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: &str) -> Line<'_> {
        Line { number: 7, text: text.as_bytes(), is_ended: true }
    }

    fn header(lines: &[&str]) -> Header {
        let mut header = Header::default();
        for text in lines {
            assert_eq!(header.take(&line(text)), Ok(true), "{text}");
        }
        header
    }

    #[test]
    fn names_are_escaped_by_berkeley_db_alone() {
        let name = |lines: &[&str]| header(lines).bucket().unwrap();
        assert_eq!(name(&[]), None);
        assert_eq!(name(&["database="]), None);
        assert_eq!(name(&[r"database=a\\b\c3\a9", "db_pagesize=4096"]).as_deref(), Some("a\\b\u{e9}"));
        assert_eq!(name(&[r"database=a\\b", "mapsize=1048576"]).as_deref(), Some(r"a\\b"));
        let bad = header(&[r"database=\ff"]).bucket().unwrap_err();
        assert!(bad.line == 7 && bad.why.contains("not UTF-8"), "{bad:?}");

        let mut second = header(&["mapsize=1048576", r"database=x"]).following();
        second.take(&line(r"database=\y")).unwrap();
        assert_eq!(second.bucket().unwrap().as_deref(), Some(r"\y"));
    }

    #[test]
    fn what_folio_cannot_hold_is_refused() {
        let take = |text: &str| Header::default().take(&line(text));
        for bad in ["duplicates=1", "dupsort=1", "dupfix=1", "integerkey=1", "reversekey=1", "type=recno", "keys=0"] {
            assert!(take(bad).unwrap_err().starts_with(bad), "{bad}");
        }
        assert!(take("format=xml").is_err());
        assert!(take("HEADER").is_err());
        assert_eq!(take("duplicates=0"), Ok(true));
        assert_eq!(take("sequence=7"), Ok(false));
    }
}
