//! What changed from one result to another, and how sure that is.
//!
//! Owns the comparison. Uses what was read and `statistics`; `compare` prints what comes of it.
//!
//! # The figures
//!
//! Rows are matched by pattern, shape, threads, size, alignment and rival. What is compared is the time of an operation:
//! by the processor's clock where that is the row's own (there are more threads than processors) and where the workers do
//! not sleep, that is, no more than once each in the median of the rounds. If they do not sleep, wall time is processor
//! time on a machine that does nothing else; and on another one the wall time tells of others. Where they sleep, for a
//! lock of the rival's own, or by design in `exhausted` and `engine`, it is the wall time.
//!
//! # The machine as a whole
//!
//! Two runs of one program differ as a whole: the machine has another clock rate, or another guest beside it, for minutes.
//! What moves all rivals of a group alike tells nothing of one of them. So in each round the *others* are taken for a
//! measure: each of them is so much slower or faster in that round than it is in the median of all rounds of both files, and
//! the median of that over the others is taken off the row's own value. The others are the rivals of the same group that
//! both files have, the row's own and those of this pool left out (a change of the pool moves all of the pool's rows, and
//! must not hide in its measure). Where there are none, the values stay as they are. How far the measure itself moved is
//! printed beside.
//!
//! # The interval
//!
//! Each round is a process of its own, and the rounds of a group are spread over the run; so what a process is given for
//! its life and what the machine does for some seconds is between the rounds, and not between the runs. The interval is
//! `statistics::of_shift` (Hodges and Lehmann, Mann and Whitney), of the logarithms: it takes nothing for granted of the
//! distribution but that it has the same form in both runs.
//!
//! One run is compared with another in many rows at once. For no more than one comparison in twenty to find a difference
//! anywhere where there is none, each of m rows has an interval of the confidence 1 − 0.05 / m (Bonferroni).
//!
//! What is left is what lasts as long as a whole run and concerns some rivals only: another program that takes the
//! memory's bandwidth hurts those that fill cold buffers. No number of rounds shows it. So each interval is widened by
//! [`RUN_TO_RUN`] on both sides. It is what `docs/compare.py` needed on a machine that had others to serve: of 190 pairs of
//! runs of one build 50 had a difference somewhere without it, and 12 with it.

use super::read::{Key, Record, ResultFile};
use crate::bench::{Clock, Figure};
use crate::statistics::{CONFIDENCE, Interval, TooFew, median, of_shift};

/// By what part the figures of one build may differ from run to run, beyond what its rounds show.
pub const RUN_TO_RUN: f64 = 0.03;

/// What came of a comparison.
#[derive(Debug)]
pub struct Outcome {
    /// In the order of the first file.
    pub rows: Vec<Change>,
    pub only_before: Vec<Key>,
    pub only_after: Vec<Key>,
    /// Matched rows that at least one of the files has no times for.
    pub unmeasured: Vec<Key>,
    /// Of each single interval.
    pub confidence: f64,
}

/// One row in both files.
#[derive(Debug)]
pub struct Change {
    pub key: Key,
    /// By which the row was compared.
    pub clock: Clock,
    /// The times, medians of the rounds, before and after.
    pub times: [f64; 2],
    pub rounds: [usize; 2],
    /// The time after over the time before, against the others.
    pub ratio: f64,
    pub interval: Result<Interval, TooFew>,
    /// The others' time after over their time before; `None` without others.
    pub others: Option<f64>,
    pub noisy: bool,
}

/// What is to be said of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Beyond the limit, with certainty.
    TooSlow,
    Slower,
    Faster,
    NoDifference,
    TooFewRounds,
}

impl Verdict {
    /// As it is printed.
    pub fn as_str(self) -> &'static str {
        match self {
            Verdict::TooSlow => "SLOWER than the limit",
            Verdict::Slower => "slower",
            Verdict::Faster => "faster",
            Verdict::NoDifference => "no difference",
            Verdict::TooFewRounds => "too few rounds",
        }
    }
}

impl Change {
    /// What is to be said of it, if a rival may be slower by so many percent.
    pub fn verdict(&self, limit: f64) -> Verdict {
        match self.interval {
            Err(TooFew { .. }) => Verdict::TooFewRounds,
            Ok(interval) if interval.low > 1.0 + limit / 100.0 => Verdict::TooSlow,
            Ok(interval) if interval.low > 1.0 => Verdict::Slower,
            Ok(interval) if interval.high < 1.0 => Verdict::Faster,
            Ok(_) => Verdict::NoDifference,
        }
    }
}

/// Compares.
pub fn compare(before: &ResultFile, after: &ResultFile) -> Outcome {
    let mut pairs = Vec::new();
    let mut only_before = Vec::new();
    for first in &before.rows {
        match after.rows.iter().find(|record| record.key == first.key) {
            Some(second) => pairs.push(Pair::new(first, second)),
            None => only_before.push(first.key.clone()),
        }
    }
    let is_new = |record: &&Record| !before.rows.iter().any(|first| first.key == record.key);
    let only_after = after.rows.iter().filter(is_new);
    let (measured, unmeasured): (Vec<&Pair<'_>>, Vec<&Pair<'_>>) =
        pairs.iter().partition(|pair| pair.is_measured());
    let confidence = 1.0 - (1.0 - CONFIDENCE) / measured.len().max(1) as f64;
    Outcome {
        rows: measured
            .iter()
            .map(|pair| change(pair, &measured, confidence))
            .collect(),
        only_before,
        only_after: only_after.map(|record| record.key.clone()).collect(),
        unmeasured: unmeasured.iter().map(|pair| pair.key.clone()).collect(),
        confidence,
    }
}

/// One row's times in both files.
struct Pair<'r> {
    key: &'r Key,
    clock: Clock,
    noisy: bool,
    files: [Times<'r>; 2],
}

/// A row's times by rounds, for both clocks.
struct Times<'r> {
    wall: &'r [Option<f64>],
    cpu: &'r [Option<f64>],
}

impl Times<'_> {
    /// Logarithms of the times of a clock.
    fn logarithms(&self, clock: Clock) -> Vec<Option<f64>> {
        let times = match clock {
            Clock::Wall => self.wall,
            Clock::Cpu => self.cpu,
        };
        times.iter().map(|time| time.map(f64::ln)).collect()
    }
}

impl<'r> Pair<'r> {
    fn new(before: &'r Record, after: &'r Record) -> Pair<'r> {
        let times = |record: &'r Record| Times {
            wall: record.rounds_of(Clock::Wall.figure().as_str()),
            cpu: record.rounds_of(Clock::Cpu.figure().as_str()),
        };
        let is_cpu = |record: &Record| record.clock == Clock::Cpu.as_str();
        let is_awake = |record: &Record| {
            let sleeps = record.rounds_of(Figure::Sleeps.as_str());
            let usual = median(sleeps.iter().flatten().copied());
            usual.is_some_and(|times| times <= record.key.threads as f64)
        };
        let files = [before, after];
        Pair {
            key: &before.key,
            clock: if files.into_iter().any(is_cpu) || files.into_iter().all(is_awake) {
                Clock::Cpu
            } else {
                Clock::Wall
            },
            noisy: before.noisy || after.noisy,
            files: files.map(times),
        }
    }

    /// By a clock, before and after.
    fn logarithms(&self, clock: Clock) -> [Vec<Option<f64>>; 2] {
        [0, 1].map(|file| self.files[file].logarithms(clock))
    }

    fn is_measured(&self) -> bool {
        let has_some = |times: &Vec<Option<f64>>| times.iter().any(Option::is_some);
        self.logarithms(self.clock).iter().all(has_some)
    }

    fn is_measure_for(&self, other: &Pair<'_>) -> bool {
        self.key.rival != other.key.rival
            && self.key.is_beside(other.key)
            && !self.key.rival.starts_with("hugepool")
    }
}

fn change(pair: &Pair<'_>, all: &[&Pair<'_>], confidence: f64) -> Change {
    let own = pair.logarithms(pair.clock);
    let others = all.iter().filter(|other| other.is_measure_for(pair));
    let measure = Measure::new(others.map(|other| other.logarithms(pair.clock)).collect());
    let against = [0, 1].map(|file| -> Vec<f64> {
        let rounds = own[file].iter().enumerate();
        rounds
            .filter_map(|(round, time)| Some((*time)? - measure.of(file, round)?))
            .collect()
    });
    let middle = |file: usize| median(own[file].iter().flatten().copied()).unwrap_or(f64::NAN);
    let interval = of_shift(&against[0], &against[1], confidence).map(|shift| widened(shift.exp()));
    let shift = |from: Option<f64>, to: Option<f64>| Some((to? - from?).exp());
    let middle_of = |file: usize| median(against[file].iter().copied());
    Change {
        key: pair.key.clone(),
        clock: pair.clock,
        times: [middle(0).exp(), middle(1).exp()],
        rounds: [against[0].len(), against[1].len()],
        ratio: match interval {
            Ok(interval) => interval.middle,
            Err(_) => shift(middle_of(0), middle_of(1)).unwrap_or(f64::NAN),
        },
        interval,
        others: shift(measure.middle(0), measure.middle(1)),
        noisy: pair.noisy,
    }
}

/// With what two runs may differ by.
fn widened(interval: Interval) -> Interval {
    Interval {
        low: interval.low / (1.0 + RUN_TO_RUN),
        high: interval.high * (1.0 + RUN_TO_RUN),
        ..interval
    }
}

/// What the others say of each round.
struct Measure {
    /// By files and rounds: how much slower the others were than usual, in logarithms. `None` without others.
    files: Option<[Vec<Option<f64>>; 2]>,
}

impl Measure {
    /// Of the others' logarithms, before and after.
    fn new(others: Vec<[Vec<Option<f64>>; 2]>) -> Measure {
        let usual =
            |files: &[Vec<Option<f64>>; 2]| median(files.iter().flatten().flatten().copied());
        let others: Vec<([Vec<Option<f64>>; 2], f64)> = others
            .into_iter()
            .filter_map(|files| usual(&files).map(|usual| (files, usual)))
            .collect();
        if others.is_empty() {
            return Measure { files: None };
        }
        let of = |file: usize, round: usize| {
            median(others.iter().filter_map(|(files, usual)| {
                let time = *files[file].get(round)?;
                Some(time? - usual)
            }))
        };
        let rounds = |file: usize| others.iter().map(|(files, _)| files[file].len()).max();
        let files = [0, 1].map(|file| {
            (0..rounds(file).unwrap_or(0))
                .map(|round| of(file, round))
                .collect()
        });
        Measure { files: Some(files) }
    }

    /// What is to be taken off a value of that round; `None` if nothing is known of that round.
    fn of(&self, file: usize, round: usize) -> Option<f64> {
        match &self.files {
            Some(files) => files[file].get(round).copied().flatten(),
            None => Some(0.0),
        }
    }

    /// How much slower they were in that file.
    fn middle(&self, file: usize) -> Option<f64> {
        median(self.files.as_ref()?[file].iter().flatten().copied())
    }
}
