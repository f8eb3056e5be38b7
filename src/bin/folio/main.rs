//! The command-line tool: `folio <command> FILE ...`; with no command but a file, the shell.
//!
//! This file holds the list of commands, the dispatch and the exit codes; each command is a module of its own, with
//! its arguments and its `run`. Results go to stdout, errors and progress to stderr, an error as one line.
//!
//! Exit codes: 0 done; 1 the key or bucket is not there, or a check found something; 2 wrong usage or another error; 130
//! interrupted.

#![forbid(unsafe_code)]

mod backup;
mod bench;
mod check;
mod compact;
mod demo;
mod dump;
mod entry;
mod failure;
mod format;
mod help;
mod input;
mod interrupt;
mod kinds;
mod load;
mod open;
mod output;
mod picture;
mod progress;
mod restore;
mod scan;
mod shell;
mod stat;
mod table;
mod text;
mod verify;

use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::failure::Failure;

#[derive(Parser)]
#[command(
    name = "folio",
    version,
    about = "Look into, load, check and save folio databases",
    arg_required_else_help = true,
    args_conflicts_with_subcommands = true,
    override_usage = "folio <COMMAND>\n       folio <FILE>",
    after_help = "\
Keys and values are text, with the escapes \\t \\n \\r \\\\ \\xHH for every other byte; --hex takes and
prints hexadecimal. A key or value that starts with a dash goes after --.

Example: folio demo && folio scan demo.folio names --prefix GREEK --limit 5"
)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    /// A database to open in the shell; a file that is named like a command needs ./ before it
    file: Option<PathBuf>,
}

#[derive(Subcommand)]
enum Command {
    Demo(demo::Args),
    Load(load::Args),
    Dump(dump::Args),
    Get(entry::GetArgs),
    Put(entry::PutArgs),
    Delete(entry::DeleteArgs),
    Scan(scan::Args),
    Stat(stat::Args),
    Check(check::Args),
    Shell(shell::Args),
    Backup(backup::Args),
    Restore(restore::Args),
    Verify(verify::Args),
    Compact(compact::Args),
    Map(picture::map::Args),
    Tree(picture::tree::Args),
    Bench(bench::Args),
    Completions(help::CompletionsArgs),
    Man(help::ManArgs),
}

impl Command {
    /// The database that the command works on: named in front of its errors.
    fn file(&self) -> &Path {
        match self {
            Command::Demo(args) => &args.out,
            Command::Load(args) => &args.file,
            Command::Dump(args) => &args.file,
            Command::Get(args) => &args.file,
            Command::Put(args) => &args.file,
            Command::Delete(args) => &args.file,
            Command::Scan(args) => &args.file,
            Command::Stat(args) => &args.file,
            Command::Check(args) => &args.file,
            Command::Shell(args) => &args.file,
            Command::Backup(args) => &args.source,
            Command::Restore(args) => &args.backup,
            Command::Verify(args) => &args.file,
            Command::Compact(args) => &args.file,
            Command::Map(args) => &args.file,
            Command::Tree(args) => &args.file,
            Command::Bench(args) => args.file(),
            Command::Completions(_) => Path::new("stdout"),
            Command::Man(args) => &args.out,
        }
    }

    fn run(&self, out: &mut impl Write) -> Result<(), Failure> {
        match self {
            Command::Demo(args) => demo::run(args, out),
            Command::Load(args) => load::run(args, out),
            Command::Dump(args) => dump::run(args, out),
            Command::Get(args) => entry::get(args, out),
            Command::Put(args) => entry::put(args),
            Command::Delete(args) => entry::delete(args),
            Command::Scan(args) => scan::run(args, out),
            Command::Stat(args) => stat::run(args, out),
            Command::Check(args) => check::run(args, out),
            Command::Shell(args) => shell::run(args, out),
            Command::Backup(args) => backup::run(args, out),
            Command::Restore(args) => restore::run(args, out),
            Command::Verify(args) => verify::run(args, out),
            Command::Compact(args) => compact::run(args, out),
            Command::Map(args) => picture::map::run(args),
            Command::Tree(args) => picture::tree::run(args),
            Command::Bench(args) => bench::run(args, out),
            Command::Completions(args) => help::completions(args, out),
            Command::Man(args) => help::man(args, out),
        }
    }
}

fn main() -> ExitCode {
    let cli = help::parse();
    let command = match (cli.command, cli.file) {
        (Some(command), _) => command,
        (None, Some(file)) => Command::Shell(shell::Args::of_file(file)),
        (None, None) => unreachable!("without arguments there is the help"),
    };
    let mut out = BufWriter::new(io::stdout().lock());
    let outcome = command.run(&mut out);
    // What was found before an error is worth printing too.
    let flushed = out.flush().map_err(Failure::from);
    match outcome.and(flushed) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            failure.report(command.file());
            failure.exit_code()
        }
    }
}
