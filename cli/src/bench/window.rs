//! One measurement: a rival, a pattern, a number of workers and a length of time.
//!
//! Owns the window's start and stop, and the visit that strings warm-up, timed and latency windows together. The
//! workers, of which the loops in `pattern` and `pipeline` are made, use the window; `bench` sees rivals only as
//! [`Contestant`]s, one virtual call a visit.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, OnceLock};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use super::crew::{Crew, Job};
use super::figure::{Figure, Values};
use super::pattern;
use super::plan::Group;
use super::row::Row;
use super::worker::{Probe, Tally, Timed, Untimed};
use super::{clock, pipeline};
use crate::rival::{Name, Rival};

/// How long the windows of a visit last.
#[derive(Debug, Clone, Copy)]
pub struct Lengths {
    warm_up: Duration,
    timed: Duration,
    latency: Duration,
    /// Percent of extra work in the timed window.
    handicap: u32,
}

impl Lengths {
    /// Stretched where there are many more threads than processors, so that each runs for some slices.
    pub fn new(window: Duration, threads: usize) -> Lengths {
        let factor = (threads / (8 * clock::processors())).clamp(1, 16) as u32;
        let timed = window * factor;
        Lengths {
            warm_up: (timed / 8).max(Duration::from_millis(1)),
            timed,
            latency: (timed / 3).max(Duration::from_millis(1)),
            handicap: 0,
        }
    }

    /// The same with another warm-up, if one is given. It is not stretched; 0 is none.
    pub fn warmed_up(self, warm_up: Option<Duration>) -> Lengths {
        Lengths {
            warm_up: warm_up.unwrap_or(self.warm_up),
            ..self
        }
    }

    /// The same with extra work for so many percent of the processor time of the timed window.
    pub fn handicapped(self, percent: u32) -> Lengths {
        Lengths {
            handicap: percent,
            ..self
        }
    }
}

/// A rival that a group can visit.
pub trait Contestant {
    /// Runs the three windows and counts what came home.
    fn visit(&self, crew: &Crew, group: &Group, lengths: Lengths) -> Visit;
}

/// What a visit found.
#[derive(Debug)]
pub struct Visit {
    /// Wall time of the timed window over its operations, if it completed any.
    pub ns_per_op: Option<f64>,
    /// Processor time of all workers over the operations.
    pub cpu_ns_per_op: Option<f64>,
    /// The same over the wall time of as many processors as they could use at once.
    pub cpu_share: Option<f64>,
    /// Times that they gave the processor up by themselves in the timed window.
    pub sleeps: u64,
    /// Operations of the timed window.
    pub ops: u64,
    /// Times of single takes.
    pub latencies: Histogram<u64>,
    /// What went wrong in any of the windows.
    pub wrongs: Wrongs,
    /// Buffers missing after everything was given back.
    pub lost: usize,
    /// Workers that did the handicap's extra work in the timed window.
    #[cfg_attr(
        not(test),
        expect(dead_code, reason = "tests alone ask whether all did")
    )]
    pub payers: usize,
}

impl Visit {
    /// The row of one round.
    pub fn row(self, rival: Name, group: &Group) -> Row {
        let mut values = Values::new();
        let known = [
            (Figure::NsPerOp, self.ns_per_op),
            (Figure::CpuNsPerOp, self.cpu_ns_per_op),
            (Figure::CpuShare, self.cpu_share),
            (Figure::Sleeps, self.ns_per_op.map(|_| self.sleeps as f64)),
        ];
        values.extend(
            known
                .into_iter()
                .filter_map(|(figure, value)| Some((figure, value?))),
        );
        Row {
            ops: self.ops,
            wrongs: self.wrongs,
            lost: self.lost,
            ..Row::new(rival, group, values).with_latencies(self.latencies)
        }
    }
}

/// What can go wrong with a rival, counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wrongs {
    /// Allocations refused although a buffer was free.
    pub refused: u64,
    /// Buffers whose stamp another holder had overwritten.
    pub doubled: u64,
    /// Buffers that were not aligned, among those of which the taking was timed.
    pub misaligned: u64,
    /// Buffers the rival would not take back.
    pub rejected: u64,
    /// Whether a refused worker ran out of patience.
    pub stalled: bool,
}

impl Wrongs {
    pub fn add(&mut self, other: Wrongs) {
        self.refused += other.refused;
        self.doubled += other.doubled;
        self.misaligned += other.misaligned;
        self.rejected += other.rejected;
        self.stalled |= other.stalled;
    }
}

/// A rival in the shape `bench` can hold many of.
pub struct Entry<R>(Arc<R>);

impl<R: Rival> Entry<R> {
    pub fn new(rival: R) -> Entry<R> {
        Entry(Arc::new(rival))
    }

    fn window<P: Probe>(
        &self,
        crew: &Crew,
        group: &Group,
        length: Duration,
        handicap: u32,
    ) -> (Vec<Tally>, usize) {
        let workers = group.threads;
        let window = Arc::new(Window::new(group, length, handicap));
        let job: Job<Tally> = match group.sides {
            Some(sides) => pipeline::job::<R, P>(Arc::clone(&self.0), Arc::clone(&window), sides),
            None => pattern::job::<R, P>(Arc::clone(&self.0), Arc::clone(&window), group),
        };
        let tallies = crew.run(workers, job);
        // The workers have reported: nobody adds any more.
        (tallies, window.payers.load(Ordering::Relaxed))
    }

    /// How many buffers are missing. The first worker counts: a thread on another processor would have to take what lies
    /// in that of the worker, and the next window would begin with that.
    fn count(&self, crew: &Crew) -> usize {
        let rival = Arc::clone(&self.0);
        let job: Job<usize> = Arc::new(move |_| {
            let missing = rival.missing();
            rival.settle();
            missing
        });
        crew.run(1, job).into_iter().sum()
    }
}

impl<R: Rival> Contestant for Entry<R> {
    fn visit(&self, crew: &Crew, group: &Group, lengths: Lengths) -> Visit {
        let mut wrongs = Wrongs::default();
        let mut ops = 0;
        let mut cpu_ns = 0;
        let mut sleeps = 0;
        let mut wall_ns = 0;
        let mut payers = 0;
        let mut latencies = clock::latencies();

        if !lengths.warm_up.is_zero() {
            for tally in self.window::<Untimed>(crew, group, lengths.warm_up, 0).0 {
                wrongs.add(tally.wrongs);
            }
        }
        if !wrongs.stalled {
            let (tallies, paying) =
                self.window::<Untimed>(crew, group, lengths.timed, lengths.handicap);
            payers = paying;
            let begin = tallies.iter().map(|tally| tally.clocked.begin).min();
            let end = tallies.iter().map(|tally| tally.clocked.end).max();
            if let (Some(begin), Some(end)) = (begin, end) {
                wall_ns = clock::nanoseconds(end - begin);
            }
            for tally in tallies {
                ops += tally.clocked.ops;
                cpu_ns += tally.clocked.cpu_ns;
                sleeps += tally.clocked.sleeps;
                wrongs.add(tally.wrongs);
            }
        }
        if !wrongs.stalled {
            for tally in self.window::<Timed>(crew, group, lengths.latency, 0).0 {
                wrongs.add(tally.wrongs);
                if let Some(own) = &tally.latencies {
                    // Same bounds, so the addition cannot fail.
                    let _ = latencies.add(own);
                }
            }
        }
        let per_op = |ns: u64| (ops > 0).then(|| ns as f64 / ops as f64);
        let at_once = group.threads.min(clock::processors()) as u64;
        let lost = self.count(crew);
        Visit {
            ns_per_op: per_op(wall_ns),
            cpu_ns_per_op: per_op(cpu_ns),
            cpu_share: (wall_ns > 0).then(|| cpu_ns as f64 / (at_once * wall_ns) as f64),
            sleeps,
            ops,
            latencies,
            wrongs,
            lost,
            payers,
        }
    }
}

/// The start and the end that the workers of one measurement share.
///
/// The workers watch the clock themselves: with many more of them than processors, a conductor that had to be
/// scheduled among them would come far too late.
pub struct Window {
    start: Barrier,
    length: Duration,
    /// Percent of extra work.
    handicap: u32,
    /// How many workers did some.
    payers: AtomicUsize,
    /// Of every buffer, in bytes.
    alignment: usize,
    /// When the first worker passed the barrier, and the window's length later.
    deadline: OnceLock<Instant>,
    /// A stalled rival ends the window at once.
    cut: AtomicBool,
}

impl Window {
    fn new(group: &Group, length: Duration, handicap: u32) -> Window {
        Window {
            start: Barrier::new(group.threads),
            length,
            handicap,
            payers: AtomicUsize::new(0),
            alignment: group.shape.alignment,
            deadline: OnceLock::new(),
            cut: AtomicBool::new(false),
        }
    }

    /// Waits for the other workers: when the calling one began.
    pub fn begin(&self) -> Instant {
        self.start.wait();
        let begin = Instant::now();
        self.deadline.get_or_init(|| begin + self.length);
        begin
    }

    /// Percent of extra work that its workers do.
    pub fn handicap(&self) -> u32 {
        self.handicap
    }

    /// Where its workers count those of them that did extra work.
    pub fn payers(&self) -> &AtomicUsize {
        &self.payers
    }

    /// What its buffers are to be aligned to, in bytes.
    pub fn alignment(&self) -> usize {
        self.alignment
    }

    /// Closes early.
    pub fn cut(&self) {
        self.cut.store(true, Ordering::Relaxed);
    }

    /// Whether workers should go on at `now`. Before the start they may.
    pub fn is_open(&self, now: Instant) -> bool {
        // The flag only says when to stop; results come back through the crew's channel.
        !self.cut.load(Ordering::Relaxed) && self.deadline.get().is_none_or(|end| now < *end)
    }
}
