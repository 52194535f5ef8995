//! What a user asks of the benchmark.
//!
//! Owns the request. The options make it, `plan` draws the groups that it comes to, the measuring goes by it, and the
//! report writes it down.

use std::fmt;
use std::time::Duration;

use super::cpus::List;
use super::exhausted::DryShape;
use super::pattern::Pattern;
use super::sides::Sides;
use crate::rival::Name;
use crate::rival::pages::Kinds;

/// What the user asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    pub patterns: Vec<Pattern>,
    /// The shapes of `exhausted`.
    pub shapes: Vec<DryShape>,
    /// Bytes of a buffer; empty: each pattern's own. `exhausted` runs with the first.
    pub sizes: Vec<usize>,
    /// Bytes, a power of two.
    pub alignment: usize,
    /// Empty: each pattern's own.
    pub threads: Vec<usize>,
    /// Empty: as the threads say, or the pattern's own.
    pub pipelines: Vec<Sides>,
    pub rounds: u32,
    pub rivals: Vec<Name>,
    pub seed: u64,
    /// Length of a timed window.
    pub window: Duration,
    /// Bytes of buffers in one group at most.
    pub memory: usize,
    /// Kinds of pages of this pool and of the mapping behind other rivals; `None`: what the machine grants.
    pub pages: Option<Kinds>,
    /// Of a visit; `None`: each pattern's own part of the window.
    pub warm_up: Option<Duration>,
    /// The processors that workers are pinned to, in turn.
    pub cpus: Option<List>,
    /// Nodes whose processors these are; not both are given.
    pub nodes: Option<List>,
    /// Extra work of one rival, in trials of the benchmark itself.
    pub handicap: Option<Handicap>,
}

/// Work that a rival does besides, for so many percent of the processor time that its operations take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Handicap {
    pub rival: Name,
    pub percent: u32,
}

impl Handicap {
    /// Reads `RIVAL:PERCENT`.
    pub fn parse(text: &str) -> Result<Handicap, String> {
        const MOST: u32 = 1000;
        let (rival, percent) = text
            .split_once(':')
            .ok_or_else(|| format!("`{text}` is no handicap: write RIVAL:PERCENT"))?;
        let percent = percent.parse().ok().filter(|percent| *percent <= MOST);
        Ok(Handicap {
            rival: Name::parse(rival)?,
            percent: percent.ok_or_else(|| format!("`{text}`: percent are 0 to {MOST}"))?,
        })
    }
}

impl fmt::Display for Handicap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.rival, self.percent)
    }
}

impl Request {
    /// The percent of extra work of this rival.
    pub fn handicap_of(&self, rival: Name) -> u32 {
        let own = self.handicap.filter(|handicap| handicap.rival == rival);
        own.map_or(0, |handicap| handicap.percent)
    }
}
