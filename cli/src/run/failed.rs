//! The rivals that were put out of the run.
//!
//! Owns the list, what is said of each when it happens, what their rows say in the end, and the exit code that comes of
//! it. Uses the rows of `bench`; `run` adds to it.

use std::io::{self, Write};
use std::process::ExitCode;

use crate::bench::{Measured, Plan, Row};
use crate::failure::Failure;
use crate::rival::{Absence, Name, names};

/// Who was put out, and why.
#[derive(Debug, Default)]
pub struct Failed {
    rivals: Vec<(Name, String)>,
    /// One of them was no rival at all.
    is_input: bool,
    /// A process did not end well after all was measured.
    ended: bool,
}

impl Failed {
    /// Puts a rival out, and says so. `is_input`: what the user gave is none.
    pub fn add(&mut self, rival: Name, why: String, is_input: bool) {
        say(&format!(
            "FAILED: {rival}: {why}; the others go on without it"
        ));
        self.is_input |= is_input;
        self.rivals.push((rival, why));
    }

    /// A round's process did not end well, although all was measured.
    pub fn end(&mut self, round: u32, how: &str) {
        say(&format!(
            "FAILED: the process of round {} did not end well after all was measured: {how}",
            round + 1
        ));
        self.ended = true;
    }

    /// Who is out.
    pub fn names(&self) -> Vec<Name> {
        self.rivals.iter().map(|(rival, _)| *rival).collect()
    }

    /// It is an error if all are out.
    pub fn must_leave(&self, all: &[Name]) -> Result<(), Failure> {
        let out = self.names();
        if all.iter().any(|rival| !out.contains(rival)) {
            return Ok(());
        }
        let message = format!("no rival is left: {} failed", names(out));
        Err(if self.is_input {
            Failure::input(message)
        } else {
            Failure::run(message)
        })
    }

    /// Has their rows say why, in every group that they would have been in.
    pub fn mark(&self, plan: &Plan, gathered: &mut [Measured], rounds: u32) {
        for (group, measured) in plan.groups.iter().zip(gathered) {
            for (rival, why) in &self.rivals {
                if !group.rivals.contains(rival) {
                    continue;
                }
                let place = measured.rows.iter().position(|row| row.rival == *rival);
                let place = place.unwrap_or_else(|| {
                    let mut row = Row::empty(*rival, group);
                    (0..rounds).for_each(|_| row.miss());
                    measured.rows.push(row);
                    measured.rows.len() - 1
                });
                measured.rows[place].absence = Some(Absence::Failed(why.clone()));
            }
            measured.sort(group);
        }
    }

    /// What to exit with; `None` if nobody is out.
    pub fn code(&self) -> Option<ExitCode> {
        if self.is_input {
            Some(ExitCode::from(2))
        } else if self.ended || !self.rivals.is_empty() {
            Some(ExitCode::FAILURE)
        } else {
            None
        }
    }
}

/// On stderr. Where that is closed, the exit code has to say it alone.
fn say(what: &str) {
    let _ = writeln!(io::stderr(), "{what}");
}
