//! The worker's side of the pipe: a process that does one workload at a time, when it is told to.
//!
//! Each line is one JSON value. The worker first says [`Hello`], then answers each [`Request`] with one [`Reply`], and
//! ends when its input does. Nothing but replies goes to its standard output.

use std::io::{self, BufRead, Write};

use serde::{Deserialize, Serialize};

use crate::engine::Result;

#[derive(Serialize, Deserialize)]
pub struct Hello {
    pub title: String,
    pub about: String,
}

#[derive(Serialize, Deserialize)]
pub struct Request {
    pub run: String,
    /// Counts from 0; the work of a round is the same for each engine, and another in the next round.
    pub round: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Reply {
    Done(Vec<Figure>),
    Failed(String),
}

/// One number that a workload has found out.
#[derive(Clone, Serialize, Deserialize)]
pub struct Figure {
    /// The row of the report.
    pub name: String,
    pub unit: Unit,
    pub value: f64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Unit {
    #[serde(rename = "ops/s")]
    Ops,
    #[serde(rename = "entries/s")]
    Entries,
    #[serde(rename = "commits/s")]
    Commits,
    #[serde(rename = "ranges/s")]
    Ranges,
    #[serde(rename = "GB/s")]
    Gigabytes,
    #[serde(rename = "bytes")]
    Bytes,
    #[serde(rename = "us")]
    Microseconds,
    #[serde(rename = "ns")]
    Nanoseconds,
    #[serde(rename = "%")]
    Percent,
    #[serde(rename = "x")]
    Times,
}

impl Unit {
    pub fn more_is_better(self) -> bool {
        !matches!(self, Unit::Bytes | Unit::Microseconds | Unit::Nanoseconds)
    }
}

impl Figure {
    pub fn new(name: impl Into<String>, unit: Unit, value: f64) -> Figure {
        Figure { name: name.into(), unit, value }
    }
}

/// What a worker process does.
pub trait Worker {
    fn run(&mut self, workload: &str, round: u64) -> Result<Vec<Figure>>;
}

/// Answers requests until the parent closes the pipe.
pub fn serve(hello: &Hello, worker: &mut impl Worker) -> Result<()> {
    let mut output = io::stdout().lock();
    say(&mut output, hello)?;
    for line in io::stdin().lock().lines() {
        let request: Request = serde_json::from_str(&line?)?;
        let reply = match worker.run(&request.run, request.round) {
            Ok(figures) => Reply::Done(figures),
            Err(error) => Reply::Failed(error.to_string()),
        };
        say(&mut output, &reply)?;
    }
    Ok(())
}

fn say(output: &mut impl Write, message: &impl Serialize) -> Result<()> {
    serde_json::to_writer(&mut *output, message)?;
    output.write_all(b"\n")?;
    Ok(output.flush()?)
}
