//! What the tool says about itself: `--help`, usage errors, colours, `completions` and `man`.

use std::fs;

use crate::tool::{DATABASE, Run, Tool};

/// The commands that `folio --help` lists.
fn commands(tool: &Tool) -> Vec<String> {
    let help = tool.run(["--help"]).succeeded();
    let (_, listed) = help.split_once("Commands:\n").unwrap();
    let lines = listed.lines().take_while(|line| !line.is_empty());
    let names = lines.filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    let names: Vec<String> = names.filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect();
    names.into_iter().filter(|name| name != "help").collect()
}

#[test]
fn help_has_examples_and_exit_codes_for_every_command() {
    let tool = Tool::new();
    let commands = commands(&tool);
    assert!(commands.len() >= 10 && commands.contains(&"man".to_owned()), "{commands:?}");
    for command in &commands {
        let help = tool.run([command, "--help"]).succeeded();
        assert!(help.contains("Example") && help.contains(&format!("folio {command} ")), "{help}");
        assert!(help.contains("Exit codes: 0 done; 1 "), "{help}");
        assert_eq!(tool.run(["help", command]).succeeded(), help);
    }
    assert!(tool.run(["--help"]).succeeded().contains("Exit codes: 0 done; 1 "));
    let version = tool.run(["--version"]).succeeded();
    assert_eq!(version, format!("folio {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn a_usage_error_is_one_line_that_says_where_to_look() {
    let tool = Tool::new();
    tool.run(["delte", DATABASE]).failed(2, &["--help"]);
    tool.run(["get", DATABASE]).failed(2, &["<BUCKET> <KEY>", "--help"]);
    tool.run(["scan", DATABASE, "b", "--limti", "1"]).failed(2, &["'--limti'", "'--limit'", "--help"]);
    tool.run(["scan", DATABASE, "b", "--limit", "x\ny"]).failed(2, &["x y", "--limit", "--help"]);
    tool.run(["load", DATABASE, "b", "--format", "xml"]).failed(2, &["'xml'", "tsv", "--help"]);
}

#[test]
fn colours_are_for_terminals_and_not_under_no_color() {
    let tool = Tool::new();
    let help = |variables: &[(&str, &str)]| {
        let mut command = tool.command(["scan", "--help"]);
        command.env_remove("NO_COLOR").env_remove("CLICOLOR_FORCE").envs(variables.iter().copied());
        Run::from(command.output().unwrap()).succeeded()
    };
    assert!(!help(&[]).contains('\x1b'), "stdout is a pipe here");
    assert!(help(&[("CLICOLOR_FORCE", "1")]).contains('\x1b'));
    assert!(!help(&[("CLICOLOR_FORCE", "1"), ("NO_COLOR", "1")]).contains('\x1b'));
}

#[test]
fn completions_name_every_command() {
    let tool = Tool::new();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = tool.run(["completions", shell]).succeeded();
        for command in commands(&tool) {
            assert!(script.contains(&command), "{shell}: {command}");
        }
    }
    tool.run(["completions", "cmd"]).failed(2, &["'cmd'", "bash"]);
}

#[test]
fn every_command_has_a_man_page() {
    let tool = Tool::new();
    tool.run(["man", "--out", "share/man1"]).succeeded();
    let page = |name: &str| fs::read_to_string(tool.path("share/man1").join(name)).unwrap();
    for command in commands(&tool) {
        let page = page(&format!("folio-{command}.1"));
        for section in ["NAME", "SYNOPSIS", "DESCRIPTION", "EXAMPLES", "\"EXIT STATUS\"", "ENVIRONMENT"] {
            assert!(page.contains(&format!(".SH {section}\n")), "{command}: {section} in {page}");
        }
        assert!(page.contains(&format!("\nfolio {command} ")), "{page}");
    }
    assert!(page("folio.1").contains("folio\\-scan(1)"));

    // Again, over those that are there.
    tool.run(["man", "--out", "share/man1"]).succeeded();
    tool.write("file", "in the way");
    tool.run(["man", "--out", "file"]).failed(2, &["file: ", "choose another --out"]);
}
