//! What is measured of a rival once a round.
//!
//! Owns the list of figures, their names in files, and the rounds' values of a row. Uses `statistics` to sum them up.
//! The rows have them; `round` carries them from process to process, the reports print and write them.

use std::collections::BTreeMap;

use super::pattern::Pattern;
use crate::statistics::Spread;

/// A figure; in the order of a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Figure {
    /// Wall time over the operations of all threads.
    NsPerOp,
    /// Processor time of all threads over their operations.
    CpuNsPerOp,
    /// Nanoseconds that half of the takes did not exceed.
    P50,
    P99,
    P999,
    P9999,
    /// Of the slowest take.
    Max,
    /// Of a pool that runs dry: takes a second.
    TakesPerS,
    /// Processor time of a take beyond that of the rival without a pool, in the same round.
    BeyondWork,
    /// The longest wait, in nanoseconds.
    LongestWait,
    /// The takes of the worker that had the fewest, over the mean of all that take.
    LeastShare,
    /// System calls of the rival for each take.
    SleepsPerTake,
    WakesPerTake,
    BarriersPerTake,
    /// Of an engine.
    GibPerS,
    /// Processor time of all workers.
    CpuSPerGib,
    FaultsPerGib,
    /// Times that a worker gave the processor up, to wait.
    SleepsPerGib,
    /// Membarriers of the rival.
    BarriersPerGib,
    /// Processor time of all threads over the wall time of as many processors as they could use at once.
    CpuShare,
    /// Times that a thread gave the processor up by itself, of all threads.
    Sleeps,
    /// Resident memory that the process has more since before the rival was made, when all was given back.
    MemoryBytes,
    /// Of a pool of this library, what its bookkeeping occupies at the end of the group.
    BookkeepingBytes,
}

impl Figure {
    /// All of them, in the order of a report.
    pub const ALL: [Figure; 23] = [
        Figure::NsPerOp,
        Figure::CpuNsPerOp,
        Figure::P50,
        Figure::P99,
        Figure::P999,
        Figure::P9999,
        Figure::Max,
        Figure::TakesPerS,
        Figure::BeyondWork,
        Figure::LongestWait,
        Figure::LeastShare,
        Figure::SleepsPerTake,
        Figure::WakesPerTake,
        Figure::BarriersPerTake,
        Figure::GibPerS,
        Figure::CpuSPerGib,
        Figure::FaultsPerGib,
        Figure::SleepsPerGib,
        Figure::BarriersPerGib,
        Figure::CpuShare,
        Figure::Sleeps,
        Figure::MemoryBytes,
        Figure::BookkeepingBytes,
    ];

    /// The name in files.
    pub fn as_str(self) -> &'static str {
        match self {
            Figure::NsPerOp => "ns_per_op",
            Figure::CpuNsPerOp => "cpu_ns_per_op",
            Figure::P50 => "p50_ns",
            Figure::P99 => "p99_ns",
            Figure::P999 => "p999_ns",
            Figure::P9999 => "p9999_ns",
            Figure::Max => "max_ns",
            Figure::TakesPerS => "takes_per_s",
            Figure::BeyondWork => "beyond_work_ns",
            Figure::LongestWait => "longest_wait_ns",
            Figure::LeastShare => "least_share",
            Figure::SleepsPerTake => "sleeps_per_take",
            Figure::WakesPerTake => "wakes_per_take",
            Figure::BarriersPerTake => "barriers_per_take",
            Figure::GibPerS => "gib_per_s",
            Figure::CpuSPerGib => "cpu_s_per_gib",
            Figure::FaultsPerGib => "faults_per_gib",
            Figure::SleepsPerGib => "sleeps_per_gib",
            Figure::BarriersPerGib => "barriers_per_gib",
            Figure::CpuShare => "cpu_share",
            Figure::Sleeps => "sleeps",
            Figure::MemoryBytes => "memory_bytes",
            Figure::BookkeepingBytes => "bookkeeping_bytes",
        }
    }

    /// Finds it by its name in files.
    pub fn parse(name: &str) -> Option<Figure> {
        Figure::ALL
            .into_iter()
            .find(|figure| figure.as_str() == name)
    }
}

/// Which time a row is compared by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Clock {
    Wall,
    Cpu,
}

impl Clock {
    /// With more threads than processors the wall time tells how the scheduler shares these out, to other programs, too;
    /// the processor time is the rival's own. Not so in `exhausted` and `engine`: there workers wait by design, and how
    /// fast buffers or blocks get through is the point.
    pub fn of(pattern: Pattern, threads: usize, cpus: usize) -> Clock {
        match pattern {
            Pattern::Exhausted | Pattern::Engine => Clock::Wall,
            _ if threads > cpus => Clock::Cpu,
            _ => Clock::Wall,
        }
    }

    /// What it measures of an operation.
    pub fn figure(self) -> Figure {
        match self {
            Clock::Wall => Figure::NsPerOp,
            Clock::Cpu => Figure::CpuNsPerOp,
        }
    }

    /// As it is printed.
    pub fn as_str(self) -> &'static str {
        match self {
            Clock::Wall => "wall",
            Clock::Cpu => "cpu",
        }
    }
}

/// The values of one round.
pub type Values = BTreeMap<Figure, f64>;

/// The figures of one row, by rounds.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Figures {
    rounds: Vec<Values>,
}

impl Figures {
    /// Of one round.
    pub fn one(values: Values) -> Figures {
        Figures {
            rounds: vec![values],
        }
    }

    /// Adds a round, in which not every figure needs to have a value.
    pub fn push(&mut self, round: Values) {
        self.rounds.push(round);
    }

    /// How many rounds there were.
    pub fn rounds(&self) -> usize {
        self.rounds.len()
    }

    /// The last round's values.
    pub fn last(&self) -> Option<&Values> {
        self.rounds.last()
    }

    /// The last round's values, to change.
    pub fn last_mut(&mut self) -> Option<&mut Values> {
        self.rounds.last_mut()
    }

    /// What each round had.
    pub fn of(&self, figure: Figure) -> impl Iterator<Item = Option<f64>> {
        self.rounds
            .iter()
            .map(move |round| round.get(&figure).copied())
    }

    /// The rounds that had it, summed up.
    pub fn spread(&self, figure: Figure) -> Option<Spread> {
        Spread::of(self.of(figure).flatten())
    }

    /// The median of the rounds.
    pub fn median(&self, figure: Figure) -> Option<f64> {
        self.spread(figure).map(|spread| spread.median)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_read_back() {
        for figure in Figure::ALL {
            assert_eq!(Figure::parse(figure.as_str()), Some(figure));
        }
        assert_eq!(Figure::parse("ns_per_hour"), None);
    }

    #[test]
    fn a_round_without_a_value_keeps_its_place() {
        let mut figures = Figures::default();
        figures.push(Values::from([(Figure::P50, 3.0)]));
        figures.push(Values::new());
        figures.push(Values::from([(Figure::P50, 5.0)]));
        let values: Vec<Option<f64>> = figures.of(Figure::P50).collect();
        assert_eq!(values, [Some(3.0), None, Some(5.0)]);
        assert_eq!(figures.median(Figure::P50), Some(4.0));
        assert_eq!(figures.median(Figure::P99), None);
    }

    #[test]
    fn processor_time_counts_where_threads_outnumber_processors_and_do_not_wait_by_design() {
        assert_eq!(Clock::of(Pattern::Threads, 2, 2), Clock::Wall);
        assert_eq!(Clock::of(Pattern::Threads, 3, 2), Clock::Cpu);
        assert_eq!(Clock::of(Pattern::Pipeline, 2, 1), Clock::Cpu);
        assert_eq!(Clock::of(Pattern::Exhausted, 64, 2), Clock::Wall);
        assert_eq!(Clock::of(Pattern::Engine, 8, 2), Clock::Wall);
    }
}
