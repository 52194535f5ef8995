//! Where a result comes from.
//!
//! Owns what a result file says of the machine, the program and the request, in the form in which it is written and read.
//! The report writes it; `compare` reads it, and says what differs.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hugepool::Machine;
use serde::{Deserialize, Serialize};

use crate::bench::{self, List, Request};
use crate::units::{self, present};

/// The version of the form of result files. A program reads files of its own version only.
pub const FORMAT: u64 = 1;

/// Where and how a run was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// When it began, in UTC: `2026-11-30T12:34:56Z`.
    pub date: String,
    pub machine: MachineFacts,
    /// Of the pool and the rivals, as built: by the names of the rivals.
    pub versions: BTreeMap<String, String>,
    pub options: Options,
    /// Of the order in which the rivals were visited.
    pub seed: u64,
}

/// The machine, as far as figures depend on it. What could not be read is `null`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MachineFacts {
    #[serde(deserialize_with = "present")]
    pub cpu_model: Option<String>,
    #[serde(deserialize_with = "present")]
    pub kernel: Option<String>,
    #[serde(deserialize_with = "present")]
    pub online_cpus: Option<u64>,
    /// Those that the program could use at once.
    pub allowed_cpus: u64,
    /// NUMA nodes.
    pub nodes: u64,
    #[serde(deserialize_with = "present")]
    pub memory_bytes: Option<u64>,
    /// The policy for transparent huge pages.
    #[serde(deserialize_with = "present")]
    pub transparent: Option<String>,
}

/// What was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Options {
    pub patterns: Vec<String>,
    pub shapes: Vec<String>,
    /// Empty: each pattern's own.
    pub sizes: Vec<u64>,
    pub alignment: u64,
    /// Empty: each pattern's own.
    pub threads: Vec<u64>,
    /// Empty: as the threads say, or the pattern's own.
    pub pipelines: Vec<String>,
    pub rounds: u64,
    pub rivals: Vec<String>,
    pub millis: u64,
    pub memory: u64,
    /// Kinds of pages that memory might be on, best first; empty: what the machine grants.
    pub pages: Vec<String>,
    /// Of the warm-up; `null`: each pattern's own part of the window.
    #[serde(deserialize_with = "present")]
    pub warm_up_millis: Option<u64>,
    /// The processors that workers were pinned to, in turn, as they were asked for.
    #[serde(deserialize_with = "present")]
    pub cpus: Option<String>,
    /// The nodes whose processors these were.
    #[serde(deserialize_with = "present")]
    pub nodes: Option<String>,
    /// A rival that was made slower for a trial.
    #[serde(deserialize_with = "present")]
    pub handicap: Option<String>,
}

impl Origin {
    /// Of a run that begins now.
    pub fn new(request: &Request, machine: &Machine) -> Origin {
        let own = ("hugepool".to_owned(), env!("RIVAL_HUGEPOOL").to_owned());
        let rivals = request.rivals.iter();
        let built = rivals.filter_map(|name| Some((name.to_string(), name.version()?)));
        Origin {
            date: date(SystemTime::now()),
            machine: MachineFacts {
                cpu_model: machine.cpu_model.clone(),
                kernel: machine.kernel.clone(),
                online_cpus: machine.online_cpus.map(|cpus| cpus as u64),
                allowed_cpus: bench::processors() as u64,
                nodes: machine.nodes.len().max(1) as u64,
                memory_bytes: machine.memory_total,
                transparent: machine.transparent.enabled.clone(),
            },
            versions: std::iter::once(own).chain(built).collect(),
            options: Options {
                patterns: texts(&request.patterns),
                shapes: texts(&request.shapes),
                sizes: counts(&request.sizes),
                alignment: request.alignment as u64,
                threads: counts(&request.threads),
                pipelines: texts(&request.pipelines),
                rounds: request.rounds.into(),
                rivals: texts(&request.rivals),
                millis: millis(request.window),
                memory: request.memory as u64,
                pages: (request.pages.as_ref())
                    .map_or_else(Vec::new, |pages| texts(&pages.names())),
                warm_up_millis: request.warm_up.map(millis),
                cpus: request.cpus.as_ref().map(List::to_string),
                nodes: request.nodes.as_ref().map(List::to_string),
                handicap: request.handicap.map(|handicap| handicap.to_string()),
            },
            seed: request.seed,
        }
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

fn texts<T: ToString>(values: &[T]) -> Vec<String> {
    values.iter().map(T::to_string).collect()
}

fn counts(values: &[usize]) -> Vec<u64> {
    values.iter().map(|value| *value as u64).collect()
}

/// `2026-11-30T12:34:56Z`.
fn date(time: SystemTime) -> String {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    let seconds = i64::try_from(since.as_secs()).unwrap_or(i64::MAX);
    units::date(seconds).replace(' ', "T") + "Z"
}
