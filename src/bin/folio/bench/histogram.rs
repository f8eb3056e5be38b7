//! Latencies: percentiles, and a picture of them made of characters.

use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use hdrhistogram::Histogram;

use crate::table::grouped;

/// Rows of the picture; what took longer than `TAIL` per cent of all has a row of its own behind them.
const ROWS: u32 = 12;
const TAIL: f64 = 99.9;

/// The longest bar, in characters.
const BAR_LEN: u64 = 40;

const PERCENTILES: [(&str, f64); 5] = [("p50", 50.0), ("p90", 90.0), ("p99", 99.0), ("p99.9", 99.9), ("max", 100.0)];

/// An hour, in nanoseconds: what takes longer counts as this.
const LONGEST: u64 = 3_600_000_000_000;

/// How long each of many operations took.
pub struct Latencies {
    nanoseconds: Histogram<u64>,
    total: Duration,
}

impl Default for Latencies {
    fn default() -> Latencies {
        let nanoseconds = Histogram::new_with_max(LONGEST, 3).expect("bounds and figures that are allowed");
        Latencies { nanoseconds, total: Duration::ZERO }
    }
}

/// How a picture is drawn.
#[derive(Clone, Copy)]
pub enum Style {
    /// Nothing but ASCII: for files and pipes.
    Plain,
    /// With block characters.
    Blocks,
    /// With block characters in colour.
    Colour,
}

impl Style {
    /// The style that suits whoever reads stdout: colours are for terminals, and not under NO_COLOR.
    pub fn of_stdout() -> Style {
        let stdout = io::stdout();
        match anstream::AutoStream::choice(&stdout) {
            anstream::ColorChoice::Never if stdout.is_terminal() => Style::Blocks,
            anstream::ColorChoice::Never => Style::Plain,
            _ => Style::Colour,
        }
    }
}

impl Latencies {
    pub fn record(&mut self, took: Duration) {
        self.nanoseconds.saturating_record(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX));
        self.total += took;
    }

    pub fn is_empty(&self) -> bool {
        self.nanoseconds.is_empty()
    }

    /// The time of all operations together.
    pub fn total(&self) -> Duration {
        self.total
    }

    pub fn per_second(&self) -> f64 {
        self.nanoseconds.len() as f64 / self.total.as_secs_f64()
    }

    /// In nanoseconds.
    pub fn percentile(&self, percentile: f64) -> u64 {
        self.nanoseconds.value_at_percentile(percentile)
    }

    /// Prints the percentiles and the picture.
    pub fn print(&self, style: Style, out: &mut impl Write) -> io::Result<()> {
        let figures = PERCENTILES.map(|(name, at)| format!("{name} {}", duration(self.percentile(at))));
        writeln!(out, "{}", figures.join("  "))?;
        let rows = self.rows();
        let most = rows.iter().map(|row| row.count).max().unwrap_or(0).max(1);
        for Row { label, count } in rows {
            let (bar, count) = (bar(count, most, style), grouped(count));
            match style {
                Style::Colour => writeln!(out, "{label:>11}  \x1b[36m{bar}\x1b[0m {count}")?,
                Style::Plain | Style::Blocks => writeln!(out, "{label:>11}  {bar} {count}")?,
            }
        }
        Ok(())
    }

    /// Each row reaches as many times farther than the one before, because latencies lie that far apart.
    fn rows(&self) -> Vec<Row> {
        let (least, tail, most) = (self.nanoseconds.min(), self.percentile(TAIL), self.nanoseconds.max());
        let factor = (tail as f64 / least.max(1) as f64).powf(1.0 / f64::from(ROWS));
        let mut rows = Vec::new();
        let mut from = 0;
        for row in 1..=ROWS {
            // The last one ends where the tail begins, whatever rounding made of the factor.
            let end = if row == ROWS { tail } else { (least as f64 * factor.powi(row as i32)) as u64 };
            let end = self.nanoseconds.highest_equivalent(end);
            if end < from {
                continue;
            }
            rows.push(Row { label: format!("<= {}", duration(end)), count: self.nanoseconds.count_between(from, end) });
            from = end + 1;
        }
        if from <= most {
            let label = format!("> {}", duration(from - 1));
            rows.push(Row { label, count: self.nanoseconds.count_between(from, u64::MAX) });
        }
        rows
    }
}

struct Row {
    label: String,
    count: u64,
}

/// A bar for `count`, where `most` has the longest. Whatever is there can be seen.
fn bar(count: u64, most: u64, style: Style) -> String {
    const EIGHTHS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];
    let scaled = |steps: u64| ((u128::from(count) * u128::from(steps)).div_ceil(u128::from(most))) as usize;
    match style {
        Style::Plain => "#".repeat(scaled(BAR_LEN)),
        Style::Blocks | Style::Colour => {
            let eighths = scaled(BAR_LEN * 8);
            "█".repeat(eighths / 8) + EIGHTHS[eighths % 8]
        }
    }
}

/// Nanoseconds in the unit that suits them, with three figures.
pub fn duration(nanoseconds: u64) -> String {
    let (value, unit) = match nanoseconds {
        0..1_000 => return format!("{nanoseconds} ns"),
        1_000..1_000_000 => (nanoseconds as f64 / 1e3, "us"),
        1_000_000..1_000_000_000 => (nanoseconds as f64 / 1e6, "ms"),
        _ => (nanoseconds as f64 / 1e9, "s"),
    };
    let decimals = if value < 10.0 { 2 } else { usize::from(value < 100.0) };
    format!("{value:.decimals$} {unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn latencies(nanoseconds: impl IntoIterator<Item = u64>) -> Latencies {
        let mut latencies = Latencies::default();
        nanoseconds.into_iter().for_each(|took| latencies.record(Duration::from_nanos(took)));
        latencies
    }

    #[test]
    fn every_operation_is_in_one_row() {
        let spread: Vec<u64> = (0..10_000).map(|n| 50 + n * n % 7_919 * 13).collect();
        for times in [vec![0], vec![7], vec![5, 5, 5], vec![1, 1_000_000_000], spread] {
            let rows = latencies(times.iter().copied()).rows();
            assert_eq!(rows.iter().map(|row| row.count).sum::<u64>(), times.len() as u64, "{times:?}");
            assert!(rows.len() <= ROWS as usize + 1);
        }
    }

    #[test]
    fn percentiles_are_those_of_the_times() {
        let latencies = latencies(1..=1000);
        assert_eq!(latencies.percentile(50.0), 500);
        assert_eq!(latencies.percentile(99.0), 990);
        assert_eq!(latencies.percentile(100.0), 1000);
        assert_eq!(latencies.total(), Duration::from_nanos(500_500));
    }

    #[test]
    fn a_bar_is_as_long_as_its_count() {
        assert_eq!(bar(0, 10, Style::Blocks), "");
        assert_eq!(bar(1, 1_000_000, Style::Blocks), "▏");
        assert_eq!(bar(1, 1_000_000, Style::Plain), "#");
        assert_eq!(bar(10, 10, Style::Plain).len(), BAR_LEN as usize);
        assert_eq!(bar(10, 10, Style::Colour), "█".repeat(BAR_LEN as usize));
        assert_eq!(bar(3, 16, Style::Blocks), "███████▌");
    }

    #[test]
    fn durations_have_three_figures() {
        assert_eq!(duration(0), "0 ns");
        assert_eq!(duration(999), "999 ns");
        assert_eq!(duration(1_234), "1.23 us");
        assert_eq!(duration(45_678), "45.7 us");
        assert_eq!(duration(456_789_000), "457 ms");
        assert_eq!(duration(2_000_000_000), "2.00 s");
    }
}
