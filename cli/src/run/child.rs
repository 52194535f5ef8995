//! The process that does a part of a run: it measures a round, or tries a rival.
//!
//! Owns its start, what it does, and its end. `run` starts one after the other; each gets the request as its arguments,
//! and says in the words of `wire` what it does. Before the code of a rival runs it says which: so if that ends the
//! process, it is known whose doing it was.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
use std::os::fd::AsFd;
use std::process::{Child, ChildStdout, Command, ExitCode, Stdio};

use super::wire::{Line, Word};
use crate::args::{Part, Round};
use crate::bench::{self, Crew, Group, List, Measured, Random, Request};
use crate::failure::Failure;
use crate::rival::Name;
use crate::rival::loaded::Loaded;

/// What the process does, with workers on these processors if there are any.
pub fn run(request: &Request, part: &Part, cpus: Option<List>) -> Result<ExitCode, Failure> {
    let mut voice = Voice::new()?;
    let outcome = match part {
        Part::Round(round) => measure(request, round, cpus, &mut voice),
        Part::Trial(rival) => try_out(request, *rival, &mut voice),
    };
    match outcome {
        Ok(()) => Ok(ExitCode::SUCCESS),
        Err(failure) => {
            let message = failure.message().unwrap_or_default().to_owned();
            voice.say(&Word::Failure(message))?;
            Ok(failure.code())
        }
    }
}

/// Measures every group once.
fn measure(
    request: &Request,
    round: &Round,
    cpus: Option<List>,
    voice: &mut Voice,
) -> Result<(), Failure> {
    let plan = bench::draw_within(request, request.memory)?;
    let crew = Crew::hire(plan.workers(), cpus).map_err(|error| {
        Failure::run(format!("cannot start {} threads: {error}", plan.workers()))
    })?;
    bench::prepare(&crew, plan.workers());
    let mut random = Random::of_round(request.seed, round.number);
    for (index, mut group) in plan.groups.into_iter().enumerate() {
        group.rivals.retain(|rival| {
            !round.failed.contains(rival) && !round.stalled.contains(&(index, *rival))
        });
        // Whoever reads no more will be missed at the group's end.
        let mut at = |rival: Name| {
            let _ = voice.say(&Word::At(rival.to_string()));
        };
        let measured = bench::measure(request, &group, &crew, &mut random, &mut at)?;
        voice.say(&Word::Group(Line::new(measured)))?;
    }
    Ok(())
}

/// Loads the rival, and has it make, give and take back the buffers of every group. Only whether it lives matters here:
/// what is wrong with its buffers will be said in each group.
fn try_out(request: &Request, rival: Name, voice: &mut Voice) -> Result<(), Failure> {
    let Name::Loaded(object) = rival else {
        return Err(Failure::input(format!("{rival} is not one to be loaded")));
    };
    let functions = match object.load() {
        Ok(functions) => functions,
        Err(what) => return voice.say(&Word::Unfit(what)),
    };
    let version = functions.version();
    let plan = bench::draw_within(request, request.memory)?;
    let groups = plan.groups.iter();
    let groups = groups.filter(|group| group.rivals.contains(&rival));
    let asked: HashSet<_> = groups.map(|group| (group.shape, group.threads)).collect();
    for (shape, threads) in asked {
        drop(Loaded::new(object, shape, threads));
    }
    voice.say(&Word::Tried(version))
}

/// The way to the process that reads.
struct Voice(File);

impl Voice {
    /// Keeps the standard output for the words alone: what a rival prints goes to where errors go.
    fn new() -> Result<Voice, Failure> {
        let out = io::stdout().as_fd().try_clone_to_owned()?;
        rustix::stdio::dup2_stdout(io::stderr()).map_err(io::Error::from)?;
        Ok(Voice(File::from(out)))
    }

    fn say(&mut self, word: &Word) -> Result<(), Failure> {
        let mut line = serde_json::to_string(word)
            .map_err(|error| Failure::run(format!("a word has no form: {error}")))?;
        line.push('\n');
        Ok(self.0.write_all(line.as_bytes())?)
    }
}

/// Why nothing more comes from a process.
pub enum End {
    /// The rival ended it: how.
    Rival(Name, String),
    /// Nothing is to be had from this run.
    Failure(Failure),
}

/// Such a process, as the one that started it sees it.
pub struct Process {
    /// What it does, for a message.
    what: String,
    child: Child,
    lines: io::Lines<BufReader<ChildStdout>>,
}

impl Process {
    /// Starts it: the same program as this one, also if the file was replaced meanwhile.
    pub fn start(request: &Request, memory: usize, part: &Part) -> Result<Process, Failure> {
        let what = match part {
            Part::Round(round) => format!("round {}", round.number + 1),
            Part::Trial(rival) => format!("the trial of {rival}"),
        };
        let failed = |error: &dyn std::fmt::Display| {
            Failure::run(format!("cannot start the process of {what}: {error}"))
        };
        let mut child = Command::new("/proc/self/exe")
            .args(part.args(request, memory))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| failed(&error))?;
        let out = child.stdout.take().ok_or_else(|| failed(&"no output"))?;
        Ok(Process {
            what,
            child,
            lines: BufReader::new(out).lines(),
        })
    }

    /// Waits for what it measures of the next group.
    pub fn next(&mut self, group: &Group) -> Result<Measured, End> {
        let mut rival = None;
        loop {
            match self.hear() {
                Ok(Some(Word::At(name))) => {
                    let mut rivals = group.rivals.iter().copied();
                    rival = rivals.find(|rival| rival.as_str() == name);
                }
                Ok(Some(Word::Group(line))) => {
                    let measured = line.read(group);
                    return measured.map_err(|error| self.failed(group, &error));
                }
                Ok(Some(Word::Failure(what))) => return Err(self.failed(group, &what)),
                Ok(Some(Word::Tried(_) | Word::Unfit(_))) => {
                    return Err(self.failed(group, &"it was not asked for that"));
                }
                Ok(None) => {
                    let end = self.end();
                    return Err(match rival {
                        Some(rival) => End::Rival(
                            rival,
                            format!("the process of {} ended in it, {end}; {group}", self.what),
                        ),
                        None => self.failed(group, &format!("its process ended, {end}")),
                    });
                }
                Err(error) => return Err(self.failed(group, &error)),
            }
        }
    }

    /// Waits for what comes of a trial: the version that the rival says it is of. The error is why it cannot be visited,
    /// and whether that is so of any file that is not a rival's.
    pub fn trial(mut self, rival: Name) -> Result<Option<String>, Unfit> {
        let failed = |what: &dyn std::fmt::Display| Unfit {
            reason: format!("the trial of {rival} ended: {what}"),
            is_input: false,
        };
        match self.hear() {
            Ok(Some(Word::Tried(version))) => match self.child.wait() {
                Ok(status) if status.success() => Ok(version),
                Ok(status) => Err(Unfit {
                    reason: format!("the process that tried it did not end well: {status}"),
                    is_input: false,
                }),
                Err(error) => Err(failed(&error)),
            },
            Ok(Some(Word::Unfit(reason))) => Err(Unfit {
                reason,
                is_input: true,
            }),
            Ok(Some(Word::Failure(what))) => Err(failed(&what)),
            Ok(Some(Word::At(_) | Word::Group(_))) => Err(failed(&"it did something else")),
            Ok(None) => {
                let end = self.end();
                Err(Unfit {
                    reason: format!(
                        "the process that loaded it and asked it for buffers ended, {end}"
                    ),
                    is_input: false,
                })
            }
            Err(error) => Err(failed(&error)),
        }
    }

    /// Waits for its end: how it ended, if not as it should.
    pub fn finish(mut self) -> Option<String> {
        match self.child.wait() {
            Ok(status) if status.success() => None,
            Ok(status) => Some(status.to_string()),
            Err(error) => Some(error.to_string()),
        }
    }

    fn hear(&mut self) -> Result<Option<Word>, String> {
        let Some(line) = self.lines.next() else {
            return Ok(None);
        };
        let line = line.map_err(|error| error.to_string())?;
        let word = serde_json::from_str(&line).map_err(|error| error.to_string())?;
        Ok(Some(word))
    }

    fn end(&mut self) -> String {
        match self.child.wait() {
            Ok(status) => status.to_string(),
            Err(error) => error.to_string(),
        }
    }

    fn failed(&self, group: &Group, why: &dyn std::fmt::Display) -> End {
        End::Failure(Failure::run(format!("{}, {group}: {why}", self.what)))
    }
}

/// Why a rival cannot be visited.
#[derive(Debug)]
pub struct Unfit {
    pub reason: String,
    /// Its file is wrong, and it was not called.
    pub is_input: bool,
}

impl Drop for Process {
    /// Nobody reads any more: it goes, too.
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
