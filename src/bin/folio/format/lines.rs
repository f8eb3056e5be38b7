//! An input line by line, with the number of each. The readers of all formats but CSV stand on it.
//!
//! Lines with nothing in them mean nothing in any format, and are passed over.

use std::io::BufRead;

use super::Bad;

pub struct Lines {
    input: Box<dyn BufRead>,
    line: Vec<u8>,
    /// How many lines have been read.
    number: u64,
}

pub struct Line<'a> {
    pub number: u64,
    /// Without its line end.
    pub text: &'a [u8],
    /// Whether it has a line end: the last line of an input that was cut short has none.
    pub is_ended: bool,
}

impl Lines {
    pub fn new(input: Box<dyn BufRead>) -> Lines {
        Lines { input, line: Vec::new(), number: 0 }
    }

    pub fn next(&mut self) -> Result<Option<Line<'_>>, Bad> {
        loop {
            self.line.clear();
            let read = self.input.read_until(b'\n', &mut self.line);
            if read.map_err(|error| Bad { line: self.number + 1, why: error.to_string() })? == 0 {
                return Ok(None);
            }
            self.number += 1;
            if !without_end(&self.line).is_empty() {
                break;
            }
        }
        let is_ended = self.line.ends_with(b"\n");
        Ok(Some(Line { number: self.number, text: without_end(&self.line), is_ended }))
    }

    /// Something wrong with the line that was read last.
    pub fn bad(&self, why: impl Into<String>) -> Bad {
        Bad { line: self.number, why: why.into() }
    }
}

pub fn without_end(line: &[u8]) -> &[u8] {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    line.strip_suffix(b"\r").unwrap_or(line)
}
