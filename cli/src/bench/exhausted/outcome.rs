//! What the rounds of a rival in a shape come to.
//!
//! Owns the gathering of the visits, their medians, and what a row has more than those of the other patterns. Uses
//! the visits and `row`; the measuring fills it, and the reports print it.

use hdrhistogram::Histogram;

use super::shape::DryShape;
use super::window::Visit;
use crate::bench::clock;
use crate::bench::pattern::Pattern;
use crate::bench::plan::Group;
use crate::bench::rounds::Tallied;
use crate::bench::row::{Row, median};
use crate::bench::window::Wrongs;
use crate::rival::{Name, SystemCalls};

/// What a row of a pool that runs dry has more than others.
#[derive(Debug)]
pub struct Dry {
    pub shape: DryShape,
    /// Takes a second, median of the rounds; `None` without any round.
    pub takes_per_s: Option<f64>,
    /// Processor time of a take beyond that of the row without a pool; `None` if that row was not asked for.
    pub beyond_ns: Option<f64>,
    /// The longest wait of a round, in nanoseconds, median of the rounds.
    pub longest_ns: Option<f64>,
    /// The takes of the worker that had the fewest, over the mean of all that take; median of the rounds.
    pub least_share: Option<f64>,
    /// System calls of the rival for each take, over all rounds.
    pub calls: Option<CallsPerTake>,
}

/// System calls of a rival for each take.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CallsPerTake {
    pub sleeps: f64,
    pub wakes: f64,
    pub barriers: f64,
}

/// A rival's visits so far.
#[derive(Debug)]
pub struct Tallies {
    takes_per_s: Vec<f64>,
    cpu_ns_per_take: Vec<f64>,
    longest_ns: Vec<f64>,
    least_share: Vec<f64>,
    takes: u64,
    waits: Histogram<u64>,
    /// Of the visits that counted calls: those calls, and their takes.
    calls: Option<(SystemCalls, u64)>,
    wrongs: Wrongs,
    lost: usize,
}

impl Default for Tallies {
    fn default() -> Tallies {
        Tallies {
            takes_per_s: Vec::new(),
            cpu_ns_per_take: Vec::new(),
            longest_ns: Vec::new(),
            least_share: Vec::new(),
            takes: 0,
            waits: clock::latencies(),
            calls: None,
            wrongs: Wrongs::default(),
            lost: 0,
        }
    }
}

impl Tallied for Tallies {
    fn stalled(&self) -> bool {
        self.wrongs.stalled
    }
}

impl Tallies {
    /// Adds one visit.
    pub fn add(&mut self, visit: Visit) {
        self.takes_per_s.push(visit.takes_per_s);
        self.cpu_ns_per_take.extend(visit.cpu_ns_per_take);
        self.least_share.extend(visit.least_share);
        if !visit.waits.is_empty() {
            self.longest_ns.push(visit.waits.max() as f64);
        }
        self.takes += visit.takes;
        if let Some(calls) = visit.calls {
            let (sum, takes) = self.calls.get_or_insert_default();
            sum.add(calls);
            *takes += visit.all;
        }
        // Same bounds, so the addition cannot fail.
        let _ = self.waits.add(&visit.waits);
        self.blame(visit.wrongs, visit.lost);
    }

    /// Adds what went wrong in a visit that is not measured.
    pub fn blame(&mut self, wrongs: Wrongs, lost: usize) {
        self.wrongs.add(wrongs);
        // Missing buffers stay missing, so the last count tells all.
        self.lost = self.lost.max(lost);
    }

    /// Sums up; [`compare`] fills in what needs another row.
    pub fn row(self, rival: Name, group: &Group, shape: DryShape) -> Row {
        let calls = self.calls.filter(|(_, takes)| *takes > 0);
        let takes_per_s = median(self.takes_per_s);
        Row {
            rival,
            pattern: Pattern::Exhausted,
            threads: shape.workers(),
            size: group.shape.size,
            alignment: group.shape.alignment,
            ns_per_op: takes_per_s
                .filter(|takes| *takes > 0.0)
                .map(|takes| 1e9 / takes),
            cpu_ns_per_op: median(self.cpu_ns_per_take),
            latencies: self.waits,
            ops: self.takes,
            wrongs: self.wrongs,
            lost: self.lost,
            flow: None,
            dry: Some(Dry {
                shape,
                takes_per_s,
                beyond_ns: None,
                longest_ns: median(self.longest_ns),
                least_share: median(self.least_share),
                calls: calls.map(|(sum, takes)| {
                    let each = |total: u64| total as f64 / takes as f64;
                    CallsPerTake {
                        sleeps: each(sum.sleeps),
                        wakes: each(sum.wakes),
                        barriers: each(sum.barriers),
                    }
                }),
            }),
        }
    }
}

/// Takes the work of the shape itself off the processor time of each rival.
pub fn compare(rows: &mut [Row]) {
    let work = |baseline: Name| {
        let row = rows.iter().find(|row| row.rival == baseline)?;
        row.cpu_ns_per_op
    };
    let (of_threads, of_tasks) = (work(Name::NoPool), work(Name::NoPoolTasks));
    for row in rows {
        let work = if row.rival.is_for_tasks() {
            of_tasks
        } else {
            of_threads
        };
        let beyond = row.cpu_ns_per_op.zip(work).map(|(all, work)| all - work);
        if let Some(dry) = &mut row.dry
            && !row.rival.is_without_a_pool()
        {
            dry.beyond_ns = beyond;
        }
    }
}
