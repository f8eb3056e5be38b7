//! The line editor of the interactive shell: completion, and a history that outlives it.

use std::cell::RefCell;
use std::path::PathBuf;
use std::rc::Rc;
use std::{fs, io};

use rustyline::completion::Completer;
use rustyline::config::{BellStyle, CompletionType, Config};
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::history::FileHistory;
use rustyline::validate::Validator;
use rustyline::{Context, Editor, Helper};

use super::session::Session;
use super::{command, value};

const HISTORY_MAX: usize = 1000;

pub struct Prompt {
    editor: Editor<Completion, FileHistory>,
    history: Option<PathBuf>,
}

impl Prompt {
    pub fn new(session: Rc<RefCell<Session>>) -> rustyline::Result<Prompt> {
        let config = Config::builder()
            .auto_add_history(true)
            .history_ignore_space(true)
            .max_history_size(HISTORY_MAX)?
            .completion_type(CompletionType::List)
            .bell_style(BellStyle::None)
            // What is pasted is run line by line, as if typed.
            .bracketed_paste(false)
            .build();
        let mut editor = Editor::with_config(config)?;
        editor.set_helper(Some(Completion { session }));
        let history = history_file();
        if let Some(file) = &history {
            // The first time there is none; one that cannot be read is as good as none.
            let _ = editor.load_history(file);
        }
        Ok(Prompt { editor, history })
    }

    pub fn line(&mut self, prompt: &str) -> rustyline::Result<String> {
        self.editor.readline(prompt)
    }
}

impl Drop for Prompt {
    /// Keeps the history, where that can be: a shell that was of use but for this is not worth an error.
    fn drop(&mut self) {
        if let Some(file) = &self.history
            && make_parent(file).is_ok()
        {
            let _ = self.editor.append_history(file);
        }
    }
}

/// Where the lines of earlier shells are: by the XDG rules `$XDG_STATE_HOME/folio/history`.
fn history_file() -> Option<PathBuf> {
    let state = dirs::state_dir().or_else(dirs::data_local_dir)?;
    Some(state.join("folio").join("history"))
}

fn make_parent(file: &std::path::Path) -> io::Result<()> {
    file.parent().map_or(Ok(()), fs::create_dir_all)
}

/// Completes commands, and what they take: names of buckets and of savepoints, words that are one of a few.
pub struct Completion {
    session: Rc<RefCell<Session>>,
}

impl Completion {
    /// What may follow `before`, the words of the line so far.
    fn candidates(&self, before: &[&str]) -> Vec<String> {
        let session = self.session.borrow();
        let names = |names: Vec<String>| names.iter().map(|name| value::typed(name.as_bytes())).collect();
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        match before {
            [] => command::names().map(str::to_owned).collect(),
            // A damaged catalog has no names to offer.
            ["use" | "drop"] => names(session.buckets().unwrap_or_default()),
            ["rollback", "to"] => names(session.savepoints()),
            ["rollback"] => words(&["to"]),
            [".mode"] => words(&["text", "hex", "json"]),
            [".timer"] => words(&["on", "off"]),
            _ => Vec::new(),
        }
    }
}

impl Completer for Completion {
    type Candidate = String;

    fn complete(&self, line: &str, at: usize, _: &Context<'_>) -> rustyline::Result<(usize, Vec<String>)> {
        let (start, before) = last_word(&line[..at]);
        let mut candidates = self.candidates(&before);
        candidates.retain(|candidate| candidate.starts_with(&line[start..at]));
        Ok((start, candidates))
    }
}

/// Where the word begins that is being typed, and the words before it. A quote keeps white space in a word.
fn last_word(line: &str) -> (usize, Vec<&str>) {
    let mut words = Vec::new();
    let mut start = 0;
    let mut quote = None;
    for (at, character) in line.char_indices() {
        match quote {
            Some(open) if character == open => quote = None,
            Some(_) => {}
            None if matches!(character, '"' | '\'') => quote = Some(character),
            None if character.is_whitespace() => {
                words.push(&line[start..at]);
                start = at + character.len_utf8();
            }
            None => {}
        }
    }
    words.retain(|word| !word.is_empty());
    (start, words)
}

impl Helper for Completion {}
impl Highlighter for Completion {}
impl Validator for Completion {}
impl Hinter for Completion {
    type Hint = String;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_word_that_is_being_typed_is_found() {
        assert_eq!(last_word(""), (0, vec![]));
        assert_eq!(last_word("us"), (0, vec![]));
        assert_eq!(last_word("  us"), (2, vec![]));
        assert_eq!(last_word("use "), (4, vec!["use"]));
        assert_eq!(last_word("use  fr"), (5, vec!["use"]));
        assert_eq!(last_word(r#"use "two wo"#), (4, vec!["use"]));
        assert_eq!(last_word("rollback to a"), (12, vec!["rollback", "to"]));
    }
}
