//! The records that the demo stores: UnicodeData.txt, embedded, as the entries of two buckets.
//!
//! A line is a code point in hexadecimal and 14 more fields between semicolons, the name first; see Unicode Standard
//! Annex #44 for the rest.

const UNICODE_DATA: &str = include_str!("../../../../tests/data/UnicodeData.txt");

/// Code point to the rest of its line; and name to code point.
pub const BUCKETS: [&str; 2] = ["code_points", "names"];

pub struct Record {
    pub key: String,
    pub value: String,
}

/// Both buckets' records, each sorted by key.
pub struct Source {
    code_points: Vec<Record>,
    names: Vec<Record>,
}

impl Source {
    pub fn parse() -> Source {
        let mut code_points = Vec::new();
        let mut names = Vec::new();
        for line in UNICODE_DATA.lines() {
            let (number, rest) = line.split_once(';').expect("the embedded file is well-formed");
            let (name, _) = rest.split_once(';').expect("the embedded file is well-formed");
            // Six digits sort as numbers do.
            let code_point = format!("{number:0>6}");
            names.push(Record { key: unique_name(name, &code_point), value: code_point.clone() });
            code_points.push(Record { key: code_point, value: rest.to_owned() });
        }
        code_points.sort_by(|a, b| a.key.cmp(&b.key));
        names.sort_by(|a, b| a.key.cmp(&b.key));
        Source { code_points, names }
    }

    /// The buckets by name, in the order of [`BUCKETS`].
    pub fn buckets(&self) -> [(&'static str, &[Record]); 2] {
        let [code_points, names] = BUCKETS;
        [(code_points, &self.code_points), (names, &self.names)]
    }
}

/// Names in angle brackets are labels that many code points may share; the code point makes them differ.
fn unique_name(name: &str, code_point: &str) -> String {
    if name.starts_with('<') { format!("{name} {code_point}") } else { name.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_record_has_a_key_of_its_own() {
        for (name, records) in Source::parse().buckets() {
            assert_eq!(records.len(), 34_924, "{name}");
            assert!(records.is_sorted_by(|a, b| a.key < b.key), "{name}");
        }
    }

    #[test]
    fn records_are_what_the_file_says() {
        let source = Source::parse();
        let value = |records: &[Record], key: &str| {
            records.iter().find(|record| record.key == key).map(|record| record.value.clone())
        };
        assert_eq!(value(&source.names, "GREEK SMALL LETTER PI").as_deref(), Some("0003C0"));
        assert_eq!(value(&source.names, "<control> 00000A").as_deref(), Some("00000A"));
        let pi = value(&source.code_points, "0003C0").unwrap();
        assert!(pi.starts_with("GREEK SMALL LETTER PI;Ll;0;L;"), "{pi}");
    }
}
