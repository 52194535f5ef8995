//! Reading what `bench --json` wrote.
//!
//! Owns the reading of a file and its checks: whatever is in it, it is a result or an error that names the file and what
//! is wrong. Uses the form that the report writes. `compare` reads two.
//!
//! Names of rivals, patterns and figures are not looked up: a file of a program that has others is read as well. Fields
//! that are not known here are passed over.

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use serde::Deserialize;

use crate::bench::Standing;
use crate::failure::Failure;
use crate::report::origin::{FORMAT, Origin};
use crate::units::{self, MIB, present};

/// A file with more bytes than that is none.
const LARGEST: u64 = 256 * MIB as u64;
/// More nanoseconds than that no operation takes: it is eleven days.
const LONGEST: f64 = 1e15;
/// `bench` has some hundred rows, and each is looked up in the other file.
const MOST_ROWS: usize = 10_000;
/// `bench` does no more rounds.
const MOST_ROUNDS: usize = 1000;

/// What is read of a result.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct ResultFile {
    #[serde(flatten)]
    pub origin: Origin,
    /// The kinds of the pools' caches.
    pub caches: Vec<String>,
    pub rows: Vec<Record>,
}

/// One row of it.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Record {
    #[serde(flatten)]
    pub key: Key,
    pub buffers: u64,
    pub clock: String,
    pub noisy: bool,
    pub standing: Vec<Standing>,
    /// By the names of the figures.
    pub rounds: BTreeMap<String, Vec<Option<f64>>>,
}

/// What makes two rows of two files the same.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Deserialize)]
pub struct Key {
    pub pattern: String,
    /// Of `exhausted` and of `pipeline`.
    #[serde(deserialize_with = "present")]
    pub shape: Option<String>,
    pub threads: u64,
    pub size: u64,
    pub alignment: u64,
    pub rival: String,
}

impl Key {
    /// Whether both are of one group, whose rivals were visited together.
    pub fn is_beside(&self, other: &Key) -> bool {
        let group = |key: &Key| (key.threads, key.size, key.alignment);
        group(self) == group(other) && self.pattern == other.pattern && self.shape == other.shape
    }

    /// The group in words.
    pub fn group(&self) -> String {
        let what = match &self.shape {
            Some(shape) => format!("{} {shape}", self.pattern),
            None => format!("{}, threads: {}", self.pattern, self.threads),
        };
        let size = units::bytes64(self.size);
        format!("{what}, {size} at {}", self.alignment)
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {}", self.group(), self.rival)
    }
}

impl Record {
    /// The rounds of a figure; none if it has no such figure.
    pub fn rounds_of(&self, figure: &str) -> &[Option<f64>] {
        self.rounds.get(figure).map_or(&[], Vec::as_slice)
    }
}

/// Reads a file. The error names it and says what is wrong.
pub fn read(path: &Path) -> Result<ResultFile, Failure> {
    let wrong = |what: &dyn fmt::Display| Failure::input(format!("{}: {what}", path.display()));
    let file = File::open(path).map_err(|error| wrong(&format!("cannot be read: {error}")))?;
    let mut bytes = Vec::new();
    file.take(LARGEST + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| wrong(&format!("cannot be read: {error}")))?;
    if bytes.len() as u64 > LARGEST {
        return Err(wrong(&format!(
            "it has more than {}, and is no result of `hugepool bench --json`",
            units::bytes64(LARGEST)
        )));
    }
    parse(&bytes).map_err(|what| wrong(&what))
}

/// Reads the contents of a file. The error says what is wrong with it.
pub fn parse(bytes: &[u8]) -> Result<ResultFile, String> {
    /// What a file of any version has.
    #[derive(Deserialize)]
    struct Versioned {
        format: Option<serde_json::Value>,
    }
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return Err("it is empty".to_owned());
    }
    let versioned: Versioned = serde_json::from_slice(bytes).map_err(|error| not_read(&error))?;
    let format = versioned.format.ok_or(
        "it has no field `format`: it is no result of `hugepool bench --json`, or one of a program before version 1 of the form",
    )?;
    if format.as_u64() != Some(FORMAT) {
        return Err(format!(
            "it is of version {format} of the form, and this program reads version {FORMAT}"
        ));
    }
    let result: ResultFile = serde_json::from_slice(bytes).map_err(|error| not_read(&error))?;
    check(&result)?;
    Ok(result)
}

fn not_read(error: &serde_json::Error) -> String {
    if error.is_eof() {
        format!("it is cut off: {error}")
    } else if error.is_data() {
        format!("it is JSON, but no result: {error}")
    } else {
        format!("it is not JSON: {error}")
    }
}

/// What the form alone does not say.
fn check(result: &ResultFile) -> Result<(), String> {
    if result.rows.len() > MOST_ROWS {
        return Err(format!(
            "it has {} rows, and may have {MOST_ROWS}",
            result.rows.len()
        ));
    }
    let mut seen = HashSet::new();
    for record in &result.rows {
        let key = &record.key;
        if !seen.insert(key) {
            return Err(format!("it has two rows of {key}"));
        }
        for (name, value) in [
            ("threads", key.threads),
            ("size", key.size),
            ("alignment", key.alignment),
        ] {
            if value == 0 {
                return Err(format!("{key}: `{name}` is 0"));
            }
        }
        if !["wall", "cpu"].contains(&record.clock.as_str()) {
            return Err(format!(
                "{key}: `clock` is `{}`, and must be `wall` or `cpu`",
                record.clock
            ));
        }
        let mut length = None;
        for (figure, rounds) in &record.rounds {
            check_rounds(figure, rounds).map_err(|what| format!("{key}: {what}"))?;
            if *length.get_or_insert(rounds.len()) != rounds.len() {
                return Err(format!(
                    "{key}: `{figure}` has {} rounds, and another figure has not",
                    rounds.len()
                ));
            }
        }
    }
    Ok(())
}

fn check_rounds(figure: &str, rounds: &[Option<f64>]) -> Result<(), String> {
    if rounds.len() > MOST_ROUNDS {
        return Err(format!(
            "`{figure}` has {} rounds, and may have {MOST_ROUNDS}",
            rounds.len()
        ));
    }
    let is_time = ["ns_per_op", "cpu_ns_per_op"].contains(&figure);
    let is_right = |value: f64| {
        if is_time {
            value > 0.0 && value <= LONGEST
        } else {
            value.is_finite()
        }
    };
    match rounds.iter().flatten().find(|value| !is_right(**value)) {
        Some(value) if is_time => Err(format!(
            "`{figure}` is {value:?} in one round, which is no time of an operation in ns: more than 0, {LONGEST:?} at most"
        )),
        Some(value) => Err(format!("`{figure}` is {value:?} in one round")),
        None => Ok(()),
    }
}
