//! The report: a Markdown table or JSON, with what is needed to judge the figures.

use std::env;
use std::fs;
use std::path::Path;

use serde::Serialize;

use crate::engine::Result;
use crate::rounds::{About, Row};
use crate::worker::Unit;

/// The engine that the others are the peers of.
const OURS: &str = "folio";

/// All that a run has found out.
#[derive(Serialize)]
pub struct Report {
    #[serde(flatten)]
    pub head: Head,
    pub engines: Vec<About>,
    pub data_sets: Vec<Table>,
    pub floors: Vec<Row>,
}

/// The figures of one data set.
#[derive(Serialize)]
pub struct Table {
    pub data_set: &'static str,
    pub about: &'static str,
    pub entries: usize,
    pub rows: Vec<Row>,
}

/// The circumstances of a run.
#[derive(Serialize)]
pub struct Head {
    pub date: String,
    pub command: String,
    pub rounds: u64,
    pub seed: u64,
    pub machine: Machine,
}

impl Head {
    /// Now, here, and with this command line, for files in `dir`.
    pub fn new(rounds: u64, seed: u64, dir: &Path) -> Result<Head> {
        let args: Vec<_> = env::args().skip(1).collect();
        Ok(Head {
            date: jiff::Zoned::now().date().to_string(),
            command: format!("cargo run --release -- {}", args.join(" ")).trim_end_matches(['-', ' ']).to_owned(),
            rounds,
            seed,
            machine: Machine::of(dir)?,
        })
    }
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

impl Report {
    /// The report with the value of each round, and by row how many times better than the first engine each one is.
    pub fn json(&self) -> Result<String> {
        let mut report = serde_json::to_value(self)?;
        for (at, table) in self.data_sets.iter().enumerate() {
            for (row_at, row) in table.rows.iter().enumerate() {
                let ratios: Vec<_> = (0..row.series.len()).map(|engine| ratio(row, engine)).collect();
                report["data_sets"][at]["rows"][row_at]["ratios"] = serde_json::to_value(ratios)?;
            }
        }
        Ok(serde_json::to_string_pretty(&report)?)
    }

    pub fn markdown(&self) -> String {
        let Head { date, command, rounds, machine, .. } = &self.head;
        let plural = if *rounds == 1 { "" } else { "s" };
        let mut text = format!(
            "`{command}` on {date}. {}, {} cores, {:.0} GiB of memory, {}, {}. Medians of {rounds} round{plural}, everything warm.\n\n",
            machine.processor,
            machine.cores,
            machine.memory as f64 / (1u64 << 30) as f64,
            machine.kernel,
            machine.file_system,
        );
        for engine in &self.engines {
            text += &format!("- **{}**: {}\n", engine.title, engine.about);
        }
        text += "\nDurable: the commit returns when the disk has confirmed it. Relaxed: when the operating \
            system has it, unless the engine's line says otherwise. get_many: engines without such a call do as many single \
            gets.\n";
        if let [first, _, ..] = self.engines.as_slice() {
            text += &format!(
                "In brackets: how many times better than {}, whatever the unit; larger is better. n/a: it cannot.\n",
                first.title
            );
        }
        if self.spread_of().is_some() {
            text += "In each round: the least and the most of that.\n";
        }
        for table in &self.data_sets {
            text += &self.table(table);
        }
        if !self.floors.is_empty() {
            text += "\n| floor | this machine |\n|---|--:|\n";
        }
        for row in &self.floors {
            text += &format!("| {} | {} |\n", row.name, shown(row.series[0].median, row.unit));
        }
        text
    }

    fn ours(&self) -> Option<usize> {
        self.engines.iter().position(|engine| engine.name == OURS)
    }

    /// Our engine, if rounds tell how its ratios vary.
    fn spread_of(&self) -> Option<usize> {
        self.ours().filter(|&ours| ours > 0 && self.head.rounds > 1)
    }

    fn table(&self, table: &Table) -> String {
        let ours = self.ours();
        let has_best = ours.is_some() && self.engines.len() > 2;
        let spread_of = self.spread_of();
        let mut text = format!("\n{} entries of {}: {}\n\n| workload |", table.entries, table.data_set, table.about);
        for engine in &self.engines {
            text += &format!(" {} |", engine.title);
        }
        if has_best {
            text += " best peer | folio / best peer |";
        }
        if spread_of.is_some() {
            text += " folio in each round |";
        }
        text += "\n|---|";
        text += &"--:|".repeat(self.engines.len() + 2 * usize::from(has_best) + usize::from(spread_of.is_some()));
        text += "\n";
        for row in &table.rows {
            text += &format!("| {} |", row.name);
            for (at, series) in row.series.iter().enumerate() {
                text += &match ratio(row, at) {
                    _ if series.rounds.is_empty() => " n/a |".to_owned(),
                    Some(ratio) if at > 0 => format!(" {} ({ratio:.2}) |", shown(series.median, row.unit)),
                    _ => format!(" {} |", shown(series.median, row.unit)),
                };
            }
            if let Some(ours) = ours.filter(|_| has_best) {
                text += &self.best(row, ours);
            }
            if let Some(ours) = spread_of {
                text += &spread(row, ours);
            }
            text += "\n";
        }
        text
    }

    /// The best engine of a row beside ours, how it compares with the first engine, and how ours compares with it.
    fn best(&self, row: &Row, ours: usize) -> String {
        let ratios = (0..row.series.len()).filter(|&at| at != ours).filter_map(|at| Some((at, ratio(row, at)?)));
        match ratios.max_by(|(_, one), (_, other)| one.total_cmp(other)) {
            Some((best, of_best)) => {
                let of_ours = ratio(row, ours).map_or("-".to_owned(), |of_ours| format!("{:.2}", of_ours / of_best));
                format!(" {} ({of_best:.2}) | {of_ours} |", self.engines[best].title)
            }
            None => " - | - |".to_owned(),
        }
    }
}

/// How many times better than the first engine the one at `at` is, where that can be said.
fn ratio(row: &Row, at: usize) -> Option<f64> {
    ratio_of(row.series[0].median, row.series[at].median, row.more_is_better)
}

fn ratio_of(first: f64, other: f64, more_is_better: bool) -> Option<f64> {
    let ratio = if more_is_better { other / first } else { first / other };
    (first > 0.0 && other > 0.0).then_some(ratio)
}

/// The least and the most of that in one round: how far the machine is to be trusted.
fn spread(row: &Row, at: usize) -> String {
    let rounds = row.series[0].rounds.iter().zip(&row.series[at].rounds);
    let ratios = rounds.filter_map(|(&first, &other)| ratio_of(first, other, row.more_is_better));
    let (least, most) = ratios.fold((f64::MAX, 0.0_f64), |(least, most), ratio| (least.min(ratio), most.max(ratio)));
    if most > 0.0 { format!(" {least:.2} to {most:.2} |") } else { " - |".to_owned() }
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
        Unit::Percent => format!("{value:.0} %"),
        Unit::Times => format!("{value:.2} x"),
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
