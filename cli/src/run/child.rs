//! The process that measures one round.
//!
//! Owns its start, what it does, and its end. `run` starts one after the other; each gets the request as its arguments,
//! and prints a line for each group.

use std::io::{self, BufRead, BufReader, Write};
use std::process::{Child, ChildStdout, Command, ExitCode, Stdio};

use super::wire::Line;
use crate::args::Round;
use crate::bench::{self, Crew, Group, List, Measured, Random, Request};
use crate::failure::Failure;

/// What the process does: measures every group once, with workers on these processors if there are any.
pub fn run(request: &Request, round: &Round, cpus: Option<List>) -> Result<ExitCode, Failure> {
    let plan = bench::draw_within(request, request.memory)?;
    let crew = Crew::hire(plan.workers(), cpus).map_err(|error| {
        Failure::run(format!("cannot start {} threads: {error}", plan.workers()))
    })?;
    bench::prepare(&crew, plan.workers());
    let mut random = Random::of_round(request.seed, round.number);
    for (index, mut group) in plan.groups.into_iter().enumerate() {
        group
            .rivals
            .retain(|rival| !round.stalled.contains(&(index, *rival)));
        let measured = bench::measure(request, &group, &crew, &mut random, || ())?;
        let line = serde_json::to_string(&Line::new(measured))
            .map_err(|error| Failure::run(format!("{group}: {error}")))?;
        let mut out = io::stdout().lock();
        writeln!(out, "{line}")?;
        out.flush()?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Such a process, as the one that started it sees it.
pub struct Process {
    number: u32,
    child: Child,
    lines: io::Lines<BufReader<ChildStdout>>,
}

impl Process {
    /// Starts it: the same program as this one, also if the file was replaced meanwhile.
    pub fn start(request: &Request, memory: usize, round: &Round) -> Result<Process, Failure> {
        let failed = |error: &dyn std::fmt::Display| {
            Failure::run(format!(
                "cannot start the process of round {}: {error}",
                round.number + 1
            ))
        };
        let mut child = Command::new("/proc/self/exe")
            .args(round.args(request, memory))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| failed(&error))?;
        let out = child.stdout.take().ok_or_else(|| failed(&"no output"))?;
        Ok(Process {
            number: round.number,
            child,
            lines: BufReader::new(out).lines(),
        })
    }

    /// Waits for what it measures of the next group.
    pub fn next(&mut self, group: &Group) -> Result<Measured, Failure> {
        let line = match self.lines.next() {
            Some(Ok(line)) => line,
            Some(Err(error)) => return Err(self.failed(group, &error.to_string())),
            None => {
                let end = match self.child.wait() {
                    Ok(status) => status.to_string(),
                    Err(error) => error.to_string(),
                };
                return Err(self.failed(group, &format!("its process ended, {end}")));
            }
        };
        Line::read(&line, group).map_err(|error| self.failed(group, &error))
    }

    /// Waits for its end.
    pub fn end(mut self, group: &Group) -> Result<(), Failure> {
        match self.child.wait() {
            Ok(status) if status.success() => Ok(()),
            Ok(status) => Err(self.failed(group, &format!("its process ended, {status}"))),
            Err(error) => Err(self.failed(group, &error.to_string())),
        }
    }

    fn failed(&self, group: &Group, why: &str) -> Failure {
        Failure::run(format!("round {}, {group}: {why}", self.number + 1))
    }
}

impl Drop for Process {
    /// Nobody reads any more: it goes, too.
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
