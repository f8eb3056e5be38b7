//! Where `load` reads from: a file or stdin, with a progress bar, and the format that it seems to have. What all text that is
//! read may begin with is taken off here.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Chain, Cursor, Read};
use std::path::Path;

use indicatif::ProgressBar;

use crate::failure::Failure;
use crate::format::Format;
use crate::progress;
use crate::text::BYTE_ORDER_MARK;

const BUFFER_LEN: usize = 1 << 20;

/// What of an unknown input is looked at: more than the first line of a dump has.
const PEEK_LEN: u64 = 64;

pub struct Input {
    pub text: Box<dyn BufRead>,
    /// What errors call it.
    pub name: String,
    pub bar: ProgressBar,
    /// The format that the first line promises.
    format: Format,
}

impl Input {
    /// Opens the file `path`; `-` is stdin.
    pub fn open(path: &Path) -> Result<Input, Failure> {
        if path == Path::new("-") {
            return Input::new(io::stdin().lock(), "stdin".to_owned(), progress::bytes(None));
        }
        let name = path.display().to_string();
        let file = File::open(path).map_err(|error| refused(&name, &error))?;
        // A pipe or a device has no length to count up to.
        let len = file.metadata().ok().filter(|metadata| metadata.is_file()).map(|metadata| metadata.len());
        Input::new(file, name, progress::bytes(len))
    }

    fn new(text: impl Read + 'static, name: String, bar: ProgressBar) -> Result<Input, Failure> {
        let text = BufReader::with_capacity(BUFFER_LEN, bar.wrap_read(text));
        let text = unmarked(text).map_err(|error| refused(&name, &error))?;
        let format = Format::of_first_line(text.get_ref().0.get_ref());
        Ok(Input { text: Box::new(text), name, bar, format })
    }

    /// The format that the extension of `path` promises, or else the first line.
    pub fn format(&self, path: &Path) -> Format {
        Format::of_path(path).unwrap_or(self.format)
    }
}

fn refused(name: &str, error: &io::Error) -> Failure {
    let advice = if error.kind() == io::ErrorKind::InvalidData { "" } else { "; check the path" };
    Failure::Outside(format!("{name}: {error}{advice}"))
}

/// A text whose first line, or the beginning of it, has been looked at.
pub type Unmarked<T> = Chain<Cursor<Vec<u8>>, T>;

/// The text without a byte order mark, which Windows programs write, and which means nothing in UTF-8.
///
/// # Errors
///
/// If the mark is that of UTF-16, or if the text cannot be read.
pub fn unmarked<T: BufRead>(mut text: T) -> io::Result<Unmarked<T>> {
    let mut start = Vec::new();
    (&mut text).take(PEEK_LEN).read_until(b'\n', &mut start)?;
    if start.starts_with(b"\xff\xfe") || start.starts_with(b"\xfe\xff") {
        let why = "begins with the mark of UTF-16; make it UTF-8, as with iconv -f utf-16 -t utf-8";
        return Err(io::Error::new(io::ErrorKind::InvalidData, why));
    }
    let mut mark = [0; 4];
    let mark = BYTE_ORDER_MARK.encode_utf8(&mut mark).as_bytes();
    if start.starts_with(mark) {
        start.drain(..mark.len());
    }
    Ok(Cursor::new(start).chain(text))
}
