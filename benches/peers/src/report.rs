//! The report: a Markdown table or JSON, with what is needed to judge the figures.

use std::fs;
use std::path::Path;

use serde::Serialize;

use crate::engine::Result;
use crate::rounds::{Outcome, Row};
use crate::worker::Unit;

/// The circumstances of a run.
#[derive(Serialize)]
pub struct Head {
    pub data_set: String,
    pub entries: usize,
    pub rounds: u64,
    pub seed: u64,
    pub machine: Machine,
}

#[derive(Serialize)]
pub struct Machine {
    pub processor: String,
    pub cores: usize,
    pub memory: u64,
    pub kernel: String,
    pub file_system: String,
}

impl Machine {
    /// This machine, and the file system that holds `dir`.
    pub fn of(dir: &Path) -> Result<Machine> {
        let system = rustix::system::sysinfo();
        let kernel = rustix::system::uname();
        let processors = fs::read_to_string("/proc/cpuinfo")?;
        let model = processors.lines().find_map(|line| line.strip_prefix("model name"));
        Ok(Machine {
            processor: model.map_or("unknown processor", |model| model.trim_start_matches([' ', '\t', ':'])).to_owned(),
            cores: std::thread::available_parallelism()?.get(),
            memory: system.totalram as u64 * u64::from(system.mem_unit),
            kernel: format!("{} {}", kernel.sysname().to_string_lossy(), kernel.release().to_string_lossy()),
            file_system: file_system(dir)?,
        })
    }
}

const TMPFS: i128 = 0x0102_1994;

fn file_system(dir: &Path) -> Result<String> {
    let kind = i128::from(rustix::fs::statfs(dir)?.f_type);
    Ok(match kind {
        TMPFS => "tmpfs (in memory: a sync costs nothing here)".to_owned(),
        0xef53 => "ext4".to_owned(),
        0x5846_5342 => "xfs".to_owned(),
        0x9123_683e => "btrfs".to_owned(),
        0x2fc1_2fc1 => "zfs".to_owned(),
        0x794c_7630 => "overlayfs".to_owned(),
        _ => format!("type {kind:#x}"),
    })
}

/// Whether files in `dir` live in memory, where durable commits cost nothing and mean nothing.
pub fn in_memory(dir: &Path) -> Result<bool> {
    Ok(i128::from(rustix::fs::statfs(dir)?.f_type) == TMPFS)
}

pub fn json(head: &Head, outcome: &Outcome) -> Result<String> {
    #[derive(Serialize)]
    struct Report<'a> {
        #[serde(flatten)]
        head: &'a Head,
        #[serde(flatten)]
        outcome: &'a Outcome,
        /// By row: how many times better than the first engine each of the others is.
        ratios: Vec<Vec<Option<f64>>>,
    }
    let ratios = outcome.rows.iter().map(|row| (1..row.series.len()).map(|at| ratio(row, at)).collect());
    Ok(serde_json::to_string_pretty(&Report { head, outcome, ratios: ratios.collect() })?)
}

pub fn markdown(head: &Head, outcome: &Outcome) -> String {
    let titles: Vec<_> = outcome.engines.iter().map(|engine| engine.title.as_str()).collect();
    let mut text = format!(
        "{} entries of {} bytes, warm; medians of {} rounds. {}, {} cores, {} of memory, {}, {}.\n\n",
        head.entries,
        head.data_set.replace('+', " + "),
        head.rounds,
        head.machine.processor,
        head.machine.cores,
        shown(head.machine.memory as f64, Unit::Bytes),
        head.machine.kernel,
        head.machine.file_system,
    );
    for engine in &outcome.engines {
        text += &format!("- **{}**: {}\n", engine.title, engine.about);
    }
    text +=
        "\nDurable: the commit returns when the disk has confirmed it. Relaxed: when the operating system has it.\n";
    text += "In a ratio larger is better for the engine named first, whatever the unit.\n\n";

    text += "| workload |";
    for title in &titles {
        text += &format!(" {title} |");
    }
    for title in titles.iter().skip(1) {
        text += &format!(" {title} / {} |", titles[0]);
    }
    text += "\n|---|";
    text += &"--:|".repeat(titles.len() * 2 - 1);
    text += "\n";
    for row in &outcome.rows {
        text += &format!("| {} |", row.name);
        for series in &row.series {
            text += &format!(" {} |", shown(series.median, row.unit));
        }
        for at in 1..row.series.len() {
            match ratio(row, at) {
                Some(ratio) => text += &format!(" {ratio:.2} |"),
                None => text += " - |",
            }
        }
        text += "\n";
    }

    text += "\n| floor | this machine |\n|---|--:|\n";
    for row in &outcome.floors {
        text += &format!("| {} | {} |\n", row.name, shown(row.series[0].median, row.unit));
    }
    text
}

/// How many times better than the first engine the one at `at` is, where that can be said.
fn ratio(row: &Row, at: usize) -> Option<f64> {
    let (first, other) = (row.series[0].median, row.series[at].median);
    let ratio = if row.more_is_better { other / first } else { first / other };
    (first > 0.0 && other > 0.0).then_some(ratio)
}

/// A value in its unit, short.
pub fn shown(value: f64, unit: Unit) -> String {
    let per_second = |what: &str| match value {
        1e6.. => format!("{:.2} M {what}/s", value / 1e6),
        1e3.. => format!("{:.1} k {what}/s", value / 1e3),
        _ => format!("{value:.0} {what}/s"),
    };
    match unit {
        Unit::Ops => per_second("ops"),
        Unit::Entries => per_second("entries"),
        Unit::Commits => per_second("commits"),
        Unit::Ranges => per_second("ranges"),
        Unit::Gigabytes => format!("{value:.2} GB/s"),
        Unit::Bytes => format!("{:.1} MiB", value / 1024.0 / 1024.0),
        Unit::Microseconds => format!("{value:.1} us"),
        Unit::Nanoseconds => format!("{value:.1} ns"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rounds::Series;

    fn row(unit: Unit, first: f64, other: f64) -> Row {
        let series = [first, other].map(|median| Series { median, rounds: vec![median] });
        Row { name: String::new(), unit, more_is_better: unit.more_is_better(), series: series.into() }
    }

    #[test]
    fn a_larger_ratio_is_better_whatever_the_unit() {
        assert_eq!(ratio(&row(Unit::Ops, 1.0, 3.0), 1), Some(3.0));
        assert_eq!(ratio(&row(Unit::Bytes, 3.0, 1.0), 1), Some(3.0));
        assert_eq!(ratio(&row(Unit::Bytes, 3.0, 0.0), 1), None);
    }

    #[test]
    fn values_are_short() {
        assert_eq!(shown(2_345_678.0, Unit::Ops), "2.35 M ops/s");
        assert_eq!(shown(2_345.0, Unit::Commits), "2.3 k commits/s");
        assert_eq!(shown(3.0 * 1024.0 * 1024.0, Unit::Bytes), "3.0 MiB");
    }
}
