//! The commands of the shell: what there is, what a line says, and the help. `session` runs them.

use super::value::{self, Mode};
use super::words::{self, Word};

#[derive(Debug, PartialEq, Eq)]
pub enum Command {
    Set { key: Vec<u8>, value: Vec<u8> },
    Get(Vec<u8>),
    Delete(Vec<u8>),
    Scan { from: Option<Vec<u8>>, to: Option<Vec<u8>> },
    Prefix(Vec<u8>),
    Count,
    Use(String),
    Buckets,
    Drop(Option<String>),
    Begin,
    Commit,
    Rollback,
    Savepoint(String),
    RollbackTo(String),
    Stats,
    Dump,
    Page(u64),
    Check,
    Mode(Mode),
    Timer(bool),
    Help,
    Exit,
}

/// How each command is written, and what it does.
const USAGE: [(&str, &str); 22] = [
    ("set K V", "store V under K; also put"),
    ("get K", "the value of K"),
    ("delete K", "delete K and its value"),
    ("scan [FROM [TO]]", "the entries from FROM on, and before TO"),
    ("prefix P", "the entries whose keys begin with P"),
    ("count", "how many entries the bucket has"),
    ("use BUCKET", "work in another bucket; set creates it"),
    ("buckets", "the names of all buckets"),
    ("drop [BUCKET]", "drop a bucket, or the one in use, and all in it"),
    ("begin", "begin a transaction; without one each change commits on its own"),
    ("commit", "make what was changed since begin durable, all at once"),
    ("savepoint N", "mark a state of the transaction by a name"),
    ("rollback", "take back what was changed since begin"),
    ("rollback to N", "take back what was changed since savepoint N"),
    (".stats", "figures of the file and of each bucket"),
    (".dump", "the tree of the bucket: pages, levels, separators"),
    (".page N", "what page N is used for, and what it holds"),
    (".check", "read every page of what is committed and check it"),
    (".mode text|hex|json", "how keys and values are shown"),
    (".timer on|off", "say how long each command takes, on stderr"),
    (".help", "this text"),
    (".exit", "end; so do .quit and Ctrl-D"),
];

const HELP_VALUES: &str = r#"
Keys and values:
  Alice  "two words"  'as it is'   text, stored as these bytes and nothing else
  i:42                             a signed 64-bit integer
  f:3.14                           a 64-bit float
  null                             nothing
  x:0aff                           bytes, in hexadecimal

Escapes in text, but not between ': \t \n \r \" \' \\ \xHH \u{HHHH}. What is quoted is text, even
"i:42". Integers and floats order by their value as keys, behind all text. What is shown in the modes text
and hex can be typed again, and is stored as the same bytes: bytes that are neither text nor typed are
shown as x:, whoever stored them. (nil) stands for what is missing. In mode json each entry is an object,
what is missing is null, and what JSON has nothing for is {"hex":"0aff"} or {"float":"inf"}.

The prompt shows the bucket, and a * while a transaction is open. Ctrl-C clears the line, or ends what
takes long: scan, prefix, .check, .dump, .page. In a script a line that begins with # is passed over."#;

/// The text of `.help`.
pub fn help() -> String {
    let mut lines: Vec<String> = USAGE.iter().map(|(form, what)| format!("{form:<20} {what}")).collect();
    lines.push(HELP_VALUES.to_owned());
    lines.join("\n")
}

/// The first words of all commands, each once.
pub fn names() -> impl Iterator<Item = &'static str> {
    USAGE.iter().map(|(form, _)| name(form)).filter({
        let mut last = "";
        move |&name| std::mem::replace(&mut last, name) != name
    })
}

fn name(form: &'static str) -> &'static str {
    form.split(' ').next().unwrap_or(form)
}

/// The command on a line: `None` if it is empty or a comment.
pub fn parse(line: &[u8]) -> Result<Option<Command>, String> {
    if line.trim_ascii_start().starts_with(b"#") {
        return Ok(None);
    }
    match &words::split(line)?[..] {
        [] => Ok(None),
        [name, arguments @ ..] => command(&String::from_utf8_lossy(&name.bytes), arguments).map(Some),
    }
}

fn command(name: &str, arguments: &[Word]) -> Result<Command, String> {
    let command = match (name, arguments) {
        ("set" | "put", [key, value]) => Command::Set { key: value::parse(key)?, value: value::parse(value)? },
        ("get", [key]) => Command::Get(value::parse(key)?),
        ("delete", [key]) => Command::Delete(value::parse(key)?),
        ("scan", []) => Command::Scan { from: None, to: None },
        ("scan", [from]) => Command::Scan { from: Some(value::parse(from)?), to: None },
        ("scan", [from, to]) => Command::Scan { from: Some(value::parse(from)?), to: Some(value::parse(to)?) },
        ("prefix", [prefix]) => Command::Prefix(value::parse(prefix)?),
        ("count", []) => Command::Count,
        ("use", [bucket]) => Command::Use(text(bucket)?),
        ("buckets", []) => Command::Buckets,
        ("drop", []) => Command::Drop(None),
        ("drop", [bucket]) => Command::Drop(Some(text(bucket)?)),
        ("begin", []) => Command::Begin,
        ("commit", []) => Command::Commit,
        ("rollback", []) => Command::Rollback,
        ("rollback", [to, savepoint]) if to.bytes == b"to" => Command::RollbackTo(text(savepoint)?),
        ("savepoint", [savepoint]) => Command::Savepoint(text(savepoint)?),
        (".stats", []) => Command::Stats,
        (".dump", []) => Command::Dump,
        (".page", [page]) => Command::Page(number(page)?),
        (".check", []) => Command::Check,
        (".mode", [mode]) => Command::Mode(match &mode.bytes[..] {
            b"text" => Mode::Text,
            b"hex" => Mode::Hex,
            b"json" => Mode::Json,
            _ => return Err(usage(name)),
        }),
        (".timer", [state]) => Command::Timer(match &state.bytes[..] {
            b"on" => true,
            b"off" => false,
            _ => return Err(usage(name)),
        }),
        (".help", []) => Command::Help,
        (".exit" | ".quit", []) => Command::Exit,
        _ => return Err(usage(name)),
    };
    Ok(command)
}

/// The name of a bucket or of a savepoint.
fn text(word: &Word) -> Result<String, String> {
    let name = String::from_utf8(value::parse(word)?);
    name.map_err(|error| format!("{}: a name is text; quote it", value::typed(error.as_bytes())))
}

fn number(word: &Word) -> Result<u64, String> {
    let number = str::from_utf8(&word.bytes).ok().and_then(|digits| digits.parse().ok());
    number.ok_or_else(|| format!("{}: a page number has digits and nothing else", value::typed(&word.bytes)))
}

/// How a command is written, for one who wrote it otherwise.
fn usage(wrong: &str) -> String {
    let wrong = match wrong {
        "put" => "set",
        "quit" => "exit",
        ".quit" => ".exit",
        wrong => wrong,
    };
    let forms: Vec<&str> = USAGE.iter().map(|(form, _)| *form).filter(|form| name(form) == wrong).collect();
    match forms[..] {
        [] if names().any(|name| name.strip_prefix('.') == Some(wrong)) => format!("write .{wrong}; see .help"),
        [] => format!("no command {}; see .help", value::typed(wrong.as_bytes())),
        _ => format!("write {}; see .help", forms.join(" or ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_become_commands() {
        let command = |line: &str| parse(line.as_bytes()).unwrap();
        assert_eq!(command(""), None);
        assert_eq!(command("  # set a b"), None);
        let set = Command::Set { key: b"a b".to_vec(), value: b"\x0a\xff".to_vec() };
        assert_eq!(command(r#" set "a b" x:0aff "#), Some(set));
        assert_eq!(command("scan a"), Some(Command::Scan { from: Some(b"a".to_vec()), to: None }));
        assert_eq!(command("rollback to 'x y'"), Some(Command::RollbackTo("x y".to_owned())));
        assert_eq!(command("drop"), Some(Command::Drop(None)));
        assert_eq!(command(".page 12"), Some(Command::Page(12)));
        assert_eq!(command(".timer off"), Some(Command::Timer(false)));
    }

    #[test]
    fn a_wrong_line_says_what_is_right() {
        for (line, part) in [
            ("fly", "no command fly; see .help"),
            ("put k", "write set K V; see .help"),
            ("quit", "write .exit; see .help"),
            ("exit", "write .exit; see .help"),
            ("set a", "write set K V; see .help"),
            ("get a b", "write get K;"),
            ("rollback x", "write rollback or rollback to N;"),
            (".mode xml", "write .mode text|hex|json;"),
            (".page x", "page number"),
            ("use i:1", "a name is text"),
            ("use null", "a name is text"),
            ("set 'a", "does not end"),
        ] {
            let why = parse(line.as_bytes()).unwrap_err();
            assert!(why.contains(part), "{line}: {why}");
        }
    }

    #[test]
    fn every_command_is_in_the_help() {
        let names: Vec<&str> = names().collect();
        assert_eq!(names.len(), USAGE.len() - 1, "rollback is there twice");
        for name in names {
            assert!(!usage(name).starts_with("no command"));
            assert!(help().contains(name));
        }
    }
}
