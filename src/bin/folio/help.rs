//! Help beyond what clap prints by itself: exit codes with every command, usage errors as one line, shell completions
//! and man pages. `main` parses its arguments here.

use std::env;
use std::ffi::OsStr;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process;

use clap::error::ErrorKind;
use clap::{Command, CommandFactory, FromArgMatches};
use clap_complete::Shell;
use clap_mangen::Man;
use roff::{Roff, roman};

use crate::Cli;
use crate::failure::Failure;
use crate::output;

const EXIT_CODES: [(&str, &str); 4] = [
    ("0", "done"),
    ("1", "the key or bucket is not there, or a check found something"),
    ("2", "wrong usage or another error"),
    ("130", "interrupted"),
];

const ENVIRONMENT: &str = "If it is set and not empty, nothing is coloured. Colours appear on a terminal only.";

/// Print a script that completes commands and options in a shell
#[derive(clap::Args)]
#[command(after_help = "\
Examples: folio completions bash > ~/.local/share/bash-completion/completions/folio
          folio completions zsh > ~/.zfunc/_folio
          folio completions fish > ~/.config/fish/completions/folio.fish")]
pub struct CompletionsArgs {
    /// The shell
    shell: Shell,
}

/// Write the man pages, one for each command
#[derive(clap::Args)]
#[command(after_help = "\
Example: folio man --out ~/.local/share/man/man1 && man folio-scan")]
pub struct ManArgs {
    /// The directory that they go to; created when missing
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
}

/// The arguments of this process. Does not return when they are wrong, or ask for help.
pub fn parse() -> Cli {
    let parsed = with_exit_codes(Cli::command()).try_get_matches();
    let parsed = parsed.and_then(|matches| Cli::from_arg_matches(&matches));
    parsed.unwrap_or_else(|error| {
        if !error.use_stderr() || error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
            error.exit()
        }
        let said = env::args_os().nth(1).and_then(|first| not_a_command(&first)).unwrap_or_else(|| one_line(&error));
        Failure::Outside(said).report(Path::new(""));
        process::exit(2)
    })
}

/// What is wrong with `folio WORD ...` if WORD is no command. It was taken for the file of the shell, which stands alone, so the
/// error is about what comes behind it.
fn not_a_command(first: &OsStr) -> Option<String> {
    let (word, mut cli) = (Path::new(first), Cli::command());
    cli.build();
    if first.as_encoded_bytes().starts_with(b"-") || cli.find_subcommand(first).is_some() {
        return None;
    }
    let shown = word.display();
    Some(if word.exists() {
        format!("{shown}: a file alone opens the shell; a command comes before it: folio <COMMAND> {shown}; see --help")
    } else {
        format!("{shown}: neither a command nor a file; see folio --help")
    })
}

/// What is wrong and what may have been meant, without the usage.
fn one_line(error: &clap::Error) -> String {
    let text = error.render().to_string();
    let said = text.lines().map(str::trim).take_while(|line| !line.starts_with("Usage: "));
    let said = said.filter(|line| !line.is_empty() && !line.starts_with("For more information"));
    let line = said.map(|line| line.replacen("tip: ", "- ", 1)).collect::<Vec<_>>().join(" ");
    format!("{}; see --help", line.trim_start_matches("error: "))
}

/// The command line with the exit codes in the help of every command.
fn with_exit_codes(command: Command) -> Command {
    let codes = EXIT_CODES.map(|(code, meaning)| format!("{code} {meaning}")).join("; ");
    let add = |command: Command| {
        let help = command.get_after_help().map(|help| format!("{help}\n\n")).unwrap_or_default();
        command.after_help(format!("{help}Exit codes: {codes}."))
    };
    add(command).mut_subcommands(add)
}

pub fn completions(args: &CompletionsArgs, out: &mut impl Write) -> Result<(), Failure> {
    // Into memory first, because the generator panics when its output fails.
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "folio", &mut script);
    out.write_all(&script)?;
    Ok(())
}

pub fn man(args: &ManArgs, out: &mut impl Write) -> Result<(), Failure> {
    let dir = args.out.display();
    fs::create_dir_all(&args.out).map_err(|error| Failure::Outside(format!("{dir}: {error}; choose another --out")))?;
    let mut folio = Cli::command().disable_help_subcommand(true);
    folio.build();
    let commands: Vec<&Command> = std::iter::once(&folio).chain(folio.get_subcommands()).collect();
    for &command in &commands {
        let page = Man::new(command.clone()).manual("folio").source(format!("folio {}", env!("CARGO_PKG_VERSION")));
        let path = args.out.join(page.get_filename());
        output::replace(&path, Path::new(""), |file| render(&page, command, file))?;
    }
    writeln!(out, "{} pages in {dir}; man {dir}/folio.1 shows the first", commands.len())?;
    Ok(())
}

/// A page with sections of its own for what the help has at its end.
fn render(page: &Man, command: &Command, out: &mut impl Write) -> std::io::Result<()> {
    page.render_title(out)?;
    page.render_name_section(out)?;
    page.render_synopsis_section(out)?;
    page.render_description_section(out)?;
    let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    let (notes, examples) = help.split_once("Example").unwrap_or((&help, ""));
    notes_of(notes).to_writer(out)?;
    page.render_options_section(out)?;
    if command.has_subcommands() {
        page.render_subcommands_section(out)?;
    }
    sections(command, examples).to_writer(out)
}

/// Paragraphs; but lines that are indented, as in lists, stay lines.
fn notes_of(notes: &str) -> Roff {
    let mut roff = Roff::new();
    for paragraph in notes.split("\n\n").filter(|paragraph| !paragraph.is_empty()) {
        roff.control("PP", []);
        let mut was_indented = false;
        for line in paragraph.lines() {
            let is_indented = line.starts_with(' ');
            if is_indented || was_indented {
                roff.control("br", []);
            }
            roff.text([roman(line)]);
            was_indented = is_indented;
        }
    }
    roff
}

fn sections(command: &Command, examples: &str) -> Roff {
    let mut roff = Roff::new();
    roff.control("SH", ["EXAMPLES"]).control("nf", []);
    for line in examples.trim_start_matches(['s', ':']).lines() {
        roff.text([roman(line.trim())]);
    }
    roff.control("fi", []).control("SH", ["EXIT STATUS"]);
    for (code, meaning) in EXIT_CODES {
        roff.control("TP", []).text([roman(code)]).text([roman(meaning)]);
    }
    roff.control("SH", ["ENVIRONMENT"]).control("TP", []).text([roman("NO_COLOR")]).text([roman(ENVIRONMENT)]);
    if !command.has_subcommands() {
        roff.control("SH", ["SEE ALSO"]).text([roman("folio(1)")]);
    }
    roff
}
