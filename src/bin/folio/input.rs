//! Where `load` reads from: a file or stdin, with a progress bar, and the format that it seems to have.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Cursor, Read};
use std::path::Path;

use indicatif::ProgressBar;

use crate::failure::Failure;
use crate::format::Format;
use crate::progress;

const BUFFER_LEN: usize = 1 << 20;

/// What of an unknown input is looked at: more than the first line of a dump has.
const PEEK_LEN: u64 = 64;

pub struct Input {
    pub text: Box<dyn BufRead>,
    /// What errors call it.
    pub name: String,
    pub bar: ProgressBar,
}

impl Input {
    /// Opens the file `path`; `-` is stdin.
    pub fn open(path: &Path) -> Result<Input, Failure> {
        if path == Path::new("-") {
            return Ok(Input::new(io::stdin().lock(), "stdin".to_owned(), progress::bytes(None)));
        }
        let name = path.display().to_string();
        let file = File::open(path).map_err(|error| Failure::Outside(format!("{name}: {error}; check the path")))?;
        // A pipe or a device has no length to count up to.
        let len = file.metadata().ok().filter(|metadata| metadata.is_file()).map(|metadata| metadata.len());
        Ok(Input::new(file, name, progress::bytes(len)))
    }

    fn new(text: impl Read + 'static, name: String, bar: ProgressBar) -> Input {
        let text = Box::new(BufReader::with_capacity(BUFFER_LEN, bar.wrap_read(text)));
        Input { text, name, bar }
    }

    /// The format that the extension of `path` promises, or else the first line.
    pub fn format(&mut self, path: &Path) -> Result<Format, Failure> {
        if let Some(format) = Format::of_path(path) {
            return Ok(format);
        }
        let mut start = Vec::new();
        (&mut self.text)
            .take(PEEK_LEN)
            .read_until(b'\n', &mut start)
            .map_err(|error| Failure::Outside(format!("{}: {error}; check the path", self.name)))?;
        let format = Format::of_first_line(&start);
        // What was looked at comes first again.
        let rest = std::mem::replace(&mut self.text, Box::new(io::empty()));
        self.text = Box::new(Cursor::new(start).chain(rest));
        Ok(format)
    }
}
