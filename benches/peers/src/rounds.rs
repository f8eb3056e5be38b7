//! The parent's side of the pipe: starts a process for each engine and drives them round by round.
//!
//! Within a round the engines take turns, workload by workload, so that whatever else the machine does falls on all of
//! them alike; in every second round in the reverse order, so that none always comes after the same one. Only one process
//! works at a time; the others wait on their pipes. Where the databases of all engines do not
//! fit into memory side by side, each engine can run by itself instead.

use std::env;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::engine::{self, Result};
use crate::worker::{Figure, Hello, Reply, Request, Unit};
use crate::workload::{Effort, Workload, median};
use crate::{WorkerArgs, floors};

/// The name under which a worker measures the floors instead of an engine.
pub const FLOORS: &str = "floors";

pub struct Plan {
    pub engines: Vec<String>,
    pub workloads: Vec<&'static Workload>,
    pub rounds: u64,
    /// Whether the floors are measured too.
    pub has_floors: bool,
    /// Whether an engine runs all its rounds before the next one starts, instead of taking turns.
    pub is_apart: bool,
}

/// What came out, row by row.
#[derive(Serialize)]
pub struct Outcome {
    pub engines: Vec<About>,
    pub rows: Vec<Row>,
    pub floors: Vec<Row>,
}

#[derive(Serialize)]
pub struct About {
    pub name: String,
    pub title: String,
    pub about: String,
}

#[derive(Serialize)]
pub struct Row {
    pub name: String,
    pub unit: Unit,
    pub more_is_better: bool,
    /// One for each engine, in the order of the engines, empty where it lacks the workload; a floor has one.
    pub series: Vec<Series>,
}

/// The values of the rounds.
#[derive(Default, Serialize)]
pub struct Series {
    pub median: f64,
    pub rounds: Vec<f64>,
}

/// A worker process and its pipe. Closing the pipe ends it.
struct Process {
    name: String,
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Process {
    fn start(args: &WorkerArgs) -> Result<(Process, Hello)> {
        let mut child = Command::new(env::current_exe()?)
            .arg("worker")
            .args(args.to_args())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let input = child.stdin.take();
        let output = BufReader::new(child.stdout.take().ok_or("the worker has no output")?);
        let mut process = Process { name: args.engine.clone(), child, input, output };
        let hello = process.hear()?;
        Ok((process, hello))
    }

    fn hear<T: DeserializeOwned>(&mut self) -> Result<T> {
        let mut line = String::new();
        if self.output.read_line(&mut line)? == 0 {
            return Err(format!("the worker of {} has ended early; its message is above", self.name).into());
        }
        Ok(serde_json::from_str(&line)?)
    }

    fn ask(&mut self, run: &str, round: u64) -> Result<Vec<Figure>> {
        let input = self.input.as_mut().ok_or("the pipe is closed")?;
        let mut line = serde_json::to_string(&Request { run: run.to_owned(), round })?;
        line.push('\n');
        input.write_all(line.as_bytes())?;
        match self.hear()? {
            Reply::Done(figures) => Ok(figures),
            Reply::Failed(error) => Err(format!("{}, {run}: {error}", self.name).into()),
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.input = None;
        // Whether it ended well no longer matters: all its answers are in.
        let _ = self.child.wait();
    }
}

/// Rows in the order in which their first figures came.
struct Rows {
    engines: usize,
    rows: Vec<Row>,
}

impl Rows {
    fn add(&mut self, engine: usize, figure: Figure) {
        let Figure { name, unit, value } = figure;
        let place = self.rows.iter().position(|row| row.name == name && row.unit == unit);
        let place = place.unwrap_or_else(|| {
            let series = (0..self.engines).map(|_| Series::default()).collect();
            self.rows.push(Row { name, unit, more_is_better: unit.more_is_better(), series });
            self.rows.len() - 1
        });
        self.rows[place].series[engine].rounds.push(value);
    }

    fn finish(mut self) -> Vec<Row> {
        for series in self.rows.iter_mut().flat_map(|row| &mut row.series) {
            if !series.rounds.is_empty() {
                series.median = median(&mut series.rounds.clone());
            }
        }
        self.rows
    }
}

/// Runs all of it. `args` makes the arguments of the worker of a name; its directory exists.
pub fn run(plan: &Plan, dir: &Path, args: impl Fn(&str, &Path) -> WorkerArgs) -> Result<Outcome> {
    let mut run = Run {
        plan,
        dir,
        args: &args,
        engines: Vec::new(),
        rows: Rows { engines: plan.engines.len(), rows: Vec::new() },
        floors: Rows { engines: 1, rows: Vec::new() },
    };
    let together = if plan.is_apart { 1 } else { plan.engines.len() };
    for (at, engines) in plan.engines.chunks(together).enumerate() {
        run.together(engines, plan.has_floors && at == 0)?;
    }
    Ok(Outcome { engines: run.engines, rows: run.rows.finish(), floors: run.floors.finish() })
}

/// What has been found out so far.
struct Run<'a, F> {
    plan: &'a Plan,
    dir: &'a Path,
    args: &'a F,
    engines: Vec<About>,
    rows: Rows,
    floors: Rows,
}

impl<F: Fn(&str, &Path) -> WorkerArgs> Run<'_, F> {
    fn start(&self, name: &str) -> Result<(Process, Hello)> {
        let dir = self.dir.join(name);
        std::fs::create_dir(&dir)?;
        Process::start(&(self.args)(name, &dir))
    }

    /// Runs these engines in turns, and deletes their files.
    fn together(&mut self, engines: &[String], has_floors: bool) -> Result<()> {
        let first = self.engines.len();
        // One after the other, so that the start of one is not held up by that of another.
        let mut floors = if has_floors { Some(self.start(FLOORS)?.0) } else { None };
        let mut workers = Vec::new();
        for name in engines {
            let (worker, hello) = self.start(name)?;
            workers.push(worker);
            self.engines.push(About { name: name.clone(), title: hello.title, about: hello.about });
        }
        for round in 0..self.plan.rounds {
            if let Some(worker) = &mut floors {
                for name in floors::NAMES {
                    for figure in worker.ask(name, round)? {
                        progress(self.plan, round, FLOORS, &figure);
                        self.floors.add(0, figure);
                    }
                }
            }
            for workload in self.plan.workloads.iter().filter(|workload| round == 0 || !workload.is_steady) {
                for turn in 0..workers.len() {
                    let at = if round % 2 == 0 { turn } else { workers.len() - 1 - turn };
                    let worker = &mut workers[at];
                    for figure in worker.ask(workload.name, round)? {
                        progress(self.plan, round, &worker.name, &figure);
                        self.rows.add(first + at, figure);
                    }
                }
            }
        }
        drop((floors, workers));
        std::fs::remove_dir_all(self.dir)?;
        Ok(std::fs::create_dir(self.dir)?)
    }
}

fn progress(plan: &Plan, round: u64, engine: &str, figure: &Figure) {
    let shown = crate::report::shown(figure.value, figure.unit);
    eprintln!("round {}/{}  {engine:11}  {}: {shown}", round + 1, plan.rounds, figure.name);
}

/// Fails on a name that is not an engine's, before any process is started.
pub fn known(engines: &[String]) -> Result<()> {
    for name in engines {
        if !engine::NAMES.contains(&name.as_str()) {
            return Err(format!("no engine is called {name}; there are: {}", engine::NAMES.join(", ")).into());
        }
    }
    Ok(())
}

impl WorkerArgs {
    pub fn effort(&self) -> Effort {
        Effort::new(self.quick)
    }
}
