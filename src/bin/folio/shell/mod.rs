//! `folio shell`: commands line by line, typed or from a script.
//!
//! `words` splits a line, `value` gives its words types, `command` makes a command of them, `session` runs it. Here is where the
//! lines come from: at a terminal with `prompt`, where an error is said and the next line comes; else from stdin, without a
//! prompt, where an error ends the script.

mod command;
mod pages;
mod prompt;
mod session;
mod value;
mod words;

use std::cell::RefCell;
use std::io::{self, BufRead, IsTerminal, Write};
use std::path::PathBuf;
use std::rc::Rc;

use folio::Database;
use rustyline::error::ReadlineError;

use crate::failure::Failure;
use crate::input;
use crate::open::{self, Wait};
use crate::table::counted;
use prompt::Prompt;
use session::Session;

/// The bucket that is in use until another one is chosen.
const FIRST_BUCKET: &str = "main";

/// Work with a database command by command, from the terminal or a script
#[derive(clap::Args)]
#[command(after_help = "\
The commands are explained by .help. A missing file is created. A script ends at its first error, and a
transaction that it left open is rolled back.

Examples: folio shell library.folio
          folio library.folio
          echo 'scan a b' | folio shell library.folio --bucket users
          folio shell library.folio < changes.txt")]
pub struct Args {
    /// The database
    pub file: PathBuf,
    /// The bucket to begin with
    #[arg(short, long, value_name = "NAME", default_value = FIRST_BUCKET)]
    bucket: String,
    /// Open the database for reading: several processes can, as long as none writes
    #[arg(short, long)]
    read_only: bool,
    #[command(flatten)]
    wait: Wait,
    /// The file was given without a command, so that it may be a command misspelt: it is not created.
    #[arg(skip)]
    is_bare: bool,
}

impl Args {
    /// What `folio FILE` stands for.
    pub fn of_file(file: PathBuf) -> Args {
        Args { file, bucket: FIRST_BUCKET.to_owned(), read_only: false, wait: Wait::default(), is_bare: true }
    }

    fn open(&self) -> Result<Database, Failure> {
        if self.is_bare && !self.file.exists() {
            return Err(Failure::Outside(format!(
                "{0}: neither a command nor a file; see folio --help, or create a database with folio shell {0}",
                self.file.display()
            )));
        }
        match self.read_only {
            true => open::reading(&self.file, self.wait),
            false => open::writing_or_new(&self.file, self.wait),
        }
    }
}

/// What comes after a command.
pub enum Next {
    Line,
    End,
}

pub fn run(args: &Args, out: &mut impl Write) -> Result<(), Failure> {
    let session = Session::new(args.open()?, args.bucket.clone());
    if io::stdin().is_terminal() && io::stdout().is_terminal() {
        interactive(args, Rc::new(RefCell::new(session)), out)
    } else {
        script(session, io::stdin().lock(), out)
    }
}

fn interactive(args: &Args, session: Rc<RefCell<Session>>, out: &mut impl Write) -> Result<(), Failure> {
    let terminal = |error| Failure::Outside(format!("cannot use the terminal: {error}"));
    session.borrow().interrupt.catch().map_err(|error| terminal(error.into()))?;
    let mut prompt = Prompt::new(Rc::clone(&session)).map_err(terminal)?;
    let count = session.borrow().buckets()?.len();
    let buckets = counted(count as u64, "bucket", "buckets");
    writeln!(out, "{}: {buckets}; .help explains the commands, .exit ends", args.file.display())?;
    out.flush()?;
    loop {
        let text = session.borrow().prompt();
        let line = match prompt.line(&text) {
            Ok(line) => line,
            Err(ReadlineError::Interrupted) => continue,
            Err(ReadlineError::Eof) => break,
            Err(error) => return Err(terminal(error)),
        };
        let mut session = session.borrow_mut();
        session.interrupt.clear();
        match session.run(line.as_bytes(), out) {
            Ok(Next::Line) => {}
            Ok(Next::End) => break,
            Err(Failure::ClosedPipe) => return Err(Failure::ClosedPipe),
            Err(failure) => failure.report_here(),
        }
    }
    session.borrow_mut().end()
}

fn script(mut session: Session, input: impl BufRead, out: &mut impl Write) -> Result<(), Failure> {
    let unreadable = |error| Failure::Outside(format!("cannot read the script: {error}"));
    let mut input = input::unmarked(input).map_err(unreadable)?;
    let mut line = Vec::new();
    for number in 1.. {
        line.clear();
        if input.read_until(b'\n', &mut line).map_err(unreadable)? == 0 {
            break;
        }
        match session.run(&line, out) {
            Ok(Next::Line) => {}
            Ok(Next::End) => break,
            Err(Failure::ClosedPipe) => return Err(Failure::ClosedPipe),
            Err(failure) => return Err(Failure::Line { number, failure: Box::new(failure) }),
        }
    }
    session.end()
}
