//! A progress bar on stderr, only where somebody watches: a terminal. The commands that take long draw it.

use std::io::{self, IsTerminal};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

/// Counts bytes up to `total`, or without an end when that is unknown.
pub fn bytes(total: Option<u64>) -> ProgressBar {
    match total {
        Some(total) => bar(total, "{bar:40} {bytes}/{total_bytes} {bytes_per_sec} eta {eta}"),
        None => bar(0, "{spinner} {bytes} {bytes_per_sec}"),
    }
}

/// Counts entries up to `total`.
pub fn entries(total: u64) -> ProgressBar {
    bar(total, "{bar:40} {human_pos}/{human_len} entries eta {eta}")
}

/// Counts pages up to a total that the caller sets as it learns it.
pub fn pages() -> ProgressBar {
    bar(0, "{bar:40} {pos}/{len} pages")
}

/// Shows that something goes on, for who knows how long.
pub fn spinner() -> ProgressBar {
    let spinner = bar(0, "{spinner} reading pages, {elapsed}");
    if !spinner.is_hidden() {
        spinner.enable_steady_tick(Duration::from_millis(100));
    }
    spinner
}

fn bar(total: u64, template: &str) -> ProgressBar {
    if !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template(template).expect("the templates above are well-formed");
    ProgressBar::new(total).with_style(style)
}
