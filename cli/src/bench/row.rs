//! One line of a report: a rival in a group.
//!
//! Owns what a rival's visits come to, and their gathering over the rounds. `bench` makes rows of one round, `run`
//! gathers them, every report prints them.

use hdrhistogram::Histogram;

use super::clock;
use super::exhausted::DryShape;
use super::figure::{Clock, Figure, Figures, Values};
use super::pattern::Pattern;
use super::plan::Group;
use super::sides::Sides;
use super::standing::Standing;
use super::window::Wrongs;
use crate::rival::{Absence, Name};
use crate::units;

/// The share of the processor time that was theirs below which the workers of a round were disturbed.
const DISTURBED: f64 = 0.8;

/// A rival in one group: of one round as `bench` makes it, of all once they are gathered.
#[derive(Debug, Clone)]
pub struct Row {
    pub rival: Name,
    pub pattern: Pattern,
    /// The shape of `exhausted`; no other pattern has one.
    pub shape: Option<DryShape>,
    /// The sides of `pipeline`; no other pattern has them.
    pub sides: Option<Sides>,
    pub threads: usize,
    pub size: usize,
    pub alignment: usize,
    /// In each pool.
    pub buffers: usize,
    /// By which it is compared.
    pub clock: Clock,
    /// By rounds.
    pub figures: Figures,
    /// Times of single takes, over all rounds; of a pool that runs dry those from asking to having.
    pub latencies: Histogram<u64>,
    /// Operations in the timed windows of all rounds.
    pub ops: u64,
    pub wrongs: Wrongs,
    pub lost: usize,
    /// Why it has no figures, or none any more.
    pub absence: Option<Absence>,
    /// What it stood on, each kind once; nothing for rivals whose memory is their own.
    pub standing: Vec<Standing>,
}

impl Row {
    /// One round in which nothing went wrong.
    pub fn new(rival: Name, group: &Group, values: Values) -> Row {
        Row {
            figures: Figures::one(values),
            ..Row::empty(rival, group)
        }
    }

    /// No round yet.
    pub fn empty(rival: Name, group: &Group) -> Row {
        Row {
            rival,
            pattern: group.pattern,
            shape: group.dry,
            sides: group.sides,
            threads: group.threads,
            size: group.shape.size,
            alignment: group.shape.alignment,
            buffers: group.shape.buffers,
            clock: Clock::of(group.pattern, group.threads, clock::processors()),
            figures: Figures::default(),
            latencies: clock::latencies(),
            ops: 0,
            wrongs: Wrongs::default(),
            lost: 0,
            absence: None,
            standing: Vec::new(),
        }
    }

    /// The same with the times of its takes, which are figures of its round as well.
    pub fn with_latencies(mut self, latencies: Histogram<u64>) -> Row {
        self.latencies = latencies;
        let places = [
            (Figure::P50, self.latency(0.5)),
            (Figure::P99, self.latency(0.99)),
            (Figure::P999, self.latency(0.999)),
            (Figure::P9999, self.latency(0.9999)),
            (Figure::Max, self.slowest()),
        ];
        if let Some(values) = self.figures.last_mut() {
            let known = places.into_iter();
            values.extend(known.filter_map(|(figure, ns)| Some((figure, ns? as f64))));
        }
        self
    }

    /// Adds a figure of the last round.
    pub fn add(&mut self, figure: Figure, value: f64) {
        if let Some(values) = self.figures.last_mut() {
            values.insert(figure, value);
        }
    }

    /// Adds what went wrong.
    pub fn blame(&mut self, wrongs: Wrongs, lost: usize) {
        self.wrongs.add(wrongs);
        // In one process missing buffers stay missing; in another all are there at first.
        self.lost = self.lost.max(lost);
    }

    /// Adds another round.
    pub fn gather(&mut self, round: Row) {
        self.figures
            .push(round.figures.last().cloned().unwrap_or_default());
        // Same bounds, so the addition cannot fail.
        let _ = self.latencies.add(&round.latencies);
        self.ops += round.ops;
        self.blame(round.wrongs, round.lost);
        if round.absence.is_some() {
            self.absence = round.absence;
        }
        for standing in round.standing {
            if !self.standing.contains(&standing) {
                self.standing.push(standing);
            }
        }
    }

    /// Adds a round in which it took no part.
    pub fn miss(&mut self) {
        self.figures.push(Values::new());
    }

    /// The median of the rounds.
    pub fn median(&self, figure: Figure) -> Option<f64> {
        self.figures.median(figure)
    }

    /// Nanoseconds that this share of the takes did not exceed; `None` without any.
    pub fn latency(&self, quantile: f64) -> Option<u64> {
        (!self.latencies.is_empty()).then(|| self.latencies.value_at_quantile(quantile))
    }

    /// Nanoseconds of the slowest take.
    pub fn slowest(&self) -> Option<u64> {
        (!self.latencies.is_empty()).then(|| self.latencies.max())
    }

    /// Operations a second.
    pub fn throughput(&self) -> Option<f64> {
        self.figures.median(Figure::NsPerOp).map(|ns| 1e9 / ns)
    }

    /// Whether it has the columns of most patterns, not some of its own.
    pub fn is_usual(&self) -> bool {
        !matches!(self.pattern, Pattern::Exhausted | Pattern::Engine)
    }

    /// What tells it from other rows of its pattern, besides numbers: the shape of `exhausted`, the sides of `pipeline`.
    pub fn form(&self) -> Option<String> {
        let sides = || self.sides.map(|sides| sides.to_string());
        self.shape.map(|shape| shape.to_string()).or_else(sides)
    }

    /// Whether both are of one group, whose rivals were visited together.
    pub fn is_beside(&self, other: &Row) -> bool {
        let group = |row: &Row| (row.pattern, row.shape, row.sides, row.threads, row.size);
        group(self) == group(other)
    }

    /// Its pattern, and the shape, the sides or the number of threads.
    pub fn title(&self) -> String {
        if let Some(form) = self.form() {
            return format!("{} {form}", self.pattern);
        }
        let plural = if self.threads == 1 { "" } else { "s" };
        format!("{}, {} thread{plural}", self.pattern, self.threads)
    }

    /// Which buffers it does not have, in words.
    pub fn refusal(&self) -> Option<String> {
        let Some(Absence::Refuses(reason)) = &self.absence else {
            return None;
        };
        let size = units::bytes(self.size);
        Some(format!("refuses {size} at {}: {reason}", self.alignment))
    }

    /// What went wrong, in words.
    pub fn fault(&self) -> Option<String> {
        let Wrongs {
            refused,
            doubled,
            misaligned,
            rejected,
            stalled,
        } = self.wrongs;
        let mut parts = Vec::new();
        if let Some(Absence::Failed(what)) = &self.absence {
            parts.push(what.clone());
        }
        if refused > 0 && !self.is_usual() {
            parts.push(format!("let {refused} waits end without a buffer"));
        } else if refused > 0 {
            parts.push(format!(
                "refused {refused} times although a buffer was free"
            ));
        }
        if self.lost > 0 {
            let plural = if self.lost == 1 { "" } else { "s" };
            parts.push(format!("lost {} buffer{plural}", self.lost));
        }
        if doubled > 0 {
            parts.push(format!(
                "gave one buffer to two holders, seen {doubled} times"
            ));
        }
        if misaligned > 0 {
            parts.push(format!(
                "gave buffers that are not aligned to {}, seen {misaligned} times",
                self.alignment
            ));
        }
        if rejected > 0 {
            parts.push(format!("rejected {rejected} of its own buffers"));
        }
        if stalled {
            parts.push("stopped making progress and was taken out of the group".to_owned());
        }
        (!parts.is_empty()).then(|| parts.join(", "))
    }

    /// Whether something else had the processors that its workers could have used: in more than half of the rounds they
    /// had less than [`DISTURBED`] of them. A round of several threads that slept more often than once each is not
    /// judged, for they may have waited for each other; and nothing is of a pattern in which they wait by design.
    pub fn is_noisy(&self) -> bool {
        let shares = self.figures.of(Figure::CpuShare);
        let judged = shares.zip(self.figures.of(Figure::Sleeps));
        let disturbed = judged.filter(|(share, sleeps)| {
            let waits = self.threads > 1 && sleeps.is_some_and(|times| times > self.threads as f64);
            !waits && share.is_some_and(|share| share < DISTURBED)
        });
        self.is_usual() && 2 * disturbed.count() > self.figures.rounds()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rival::Shape;

    fn group(pattern: Pattern, threads: usize) -> Group {
        Group {
            pattern,
            threads,
            shape: Shape {
                size: 4096,
                alignment: 512,
                buffers: 64,
            },
            depth: 8,
            area: 0,
            rivals: vec![Name::Hugepool],
            dry: None,
            sides: None,
            notes: Vec::new(),
        }
    }

    fn row(pattern: Pattern, threads: usize, rounds: &[(f64, f64)]) -> Row {
        let group = group(pattern, threads);
        let mut row = Row::empty(Name::Hugepool, &group);
        for (share, sleeps) in rounds {
            let values = Values::from([(Figure::CpuShare, *share), (Figure::Sleeps, *sleeps)]);
            row.gather(Row::new(Name::Hugepool, &group, values));
        }
        row
    }

    #[test]
    fn a_row_is_noisy_if_most_rounds_lacked_processors_for_no_reason_of_their_own() {
        let noisy =
            |pattern, threads, rounds: &[(f64, f64)]| row(pattern, threads, rounds).is_noisy();
        let (whole, half) = ((0.98, 0.0), (0.5, 0.0));
        assert!(!noisy(Pattern::Same, 1, &[whole, whole, half]));
        assert!(noisy(Pattern::Same, 1, &[whole, half, half]));
        assert!(
            !noisy(Pattern::Same, 1, &[whole, half]),
            "no more than half of them"
        );
        assert!(!noisy(Pattern::Same, 1, &[]), "nothing was measured");
        // Two threads that sleep for a lock of the rival's own.
        assert!(!noisy(Pattern::Threads, 2, &[(0.5, 3.0); 3]));
        assert!(
            noisy(Pattern::Threads, 2, &[(0.5, 2.0); 3]),
            "each slept once"
        );
        // One thread has nobody to wait for.
        assert!(noisy(Pattern::Same, 1, &[(0.5, 9.0); 3]));
        // These wait by design.
        assert!(!noisy(Pattern::Engine, 8, &[half; 3]));
        assert!(!noisy(Pattern::Exhausted, 64, &[half; 3]));
    }

    #[test]
    fn rounds_are_gathered_in_their_places() {
        let group = group(Pattern::Same, 1);
        let round = |ns: f64, takes: u64| {
            let mut latencies = clock::latencies();
            latencies.saturating_record(takes);
            Row {
                ops: takes,
                ..Row::new(
                    Name::Hugepool,
                    &group,
                    Values::from([(Figure::NsPerOp, ns)]),
                )
                .with_latencies(latencies)
            }
        };
        let mut row = Row::empty(Name::Hugepool, &group);
        row.gather(round(4.0, 10));
        row.miss();
        row.gather(round(6.0, 30));
        let values: Vec<Option<f64>> = row.figures.of(Figure::NsPerOp).collect();
        assert_eq!(values, [Some(4.0), None, Some(6.0)]);
        let slowest: Vec<Option<f64>> = row.figures.of(Figure::Max).collect();
        assert_eq!(slowest, [Some(10.0), None, Some(30.0)]);
        assert_eq!(
            (row.ops, row.latencies.len(), row.slowest()),
            (40, 2, Some(30))
        );
        assert_eq!(row.median(Figure::NsPerOp), Some(5.0));
    }
}
