//! One line of a report: a rival in a group.
//!
//! Owns the gathering of a rival's visits and the median over them. `bench` fills it, every report prints it.

use hdrhistogram::Histogram;

use super::clock;
use super::engine::Flow;
use super::exhausted::Dry;
use super::pattern::Pattern;
use super::plan::Group;
use super::rounds::Tallied;
use super::window::{Visit, Wrongs};
use crate::rival::Name;

/// A rival's visits so far.
#[derive(Debug)]
pub struct Tallies {
    ns_per_op: Vec<f64>,
    cpu_ns_per_op: Vec<f64>,
    ops: u64,
    latencies: Histogram<u64>,
    wrongs: Wrongs,
    lost: usize,
}

impl Default for Tallies {
    fn default() -> Tallies {
        Tallies {
            ns_per_op: Vec::new(),
            cpu_ns_per_op: Vec::new(),
            ops: 0,
            latencies: clock::latencies(),
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
        self.ns_per_op.extend(visit.ns_per_op);
        self.cpu_ns_per_op.extend(visit.cpu_ns_per_op);
        self.ops += visit.ops;
        // Same bounds, so the addition cannot fail.
        let _ = self.latencies.add(&visit.latencies);
        self.wrongs.add(visit.wrongs);
        // Missing buffers stay missing, so the last count tells all.
        self.lost = self.lost.max(visit.lost);
    }
}

/// The outcome of one rival in one group.
#[derive(Debug)]
pub struct Row {
    pub rival: Name,
    pub pattern: Pattern,
    pub threads: usize,
    pub size: usize,
    pub alignment: usize,
    /// Wall time over the operations of all threads, median of the rounds; `None` if no round completed any.
    pub ns_per_op: Option<f64>,
    /// Processor time of all threads over their operations, median of the rounds.
    pub cpu_ns_per_op: Option<f64>,
    /// Times of single takes, over all rounds.
    pub latencies: Histogram<u64>,
    /// Operations in the timed windows of all rounds.
    pub ops: u64,
    pub wrongs: Wrongs,
    pub lost: usize,
    /// What only a pool that runs dry has.
    pub dry: Option<Dry>,
    /// What only an engine has.
    pub flow: Option<Flow>,
}

impl Row {
    /// Sums up.
    pub fn new(rival: Name, group: &Group, tallies: Tallies) -> Row {
        Row {
            rival,
            pattern: group.pattern,
            threads: group.threads,
            size: group.shape.size,
            alignment: group.shape.alignment,
            ns_per_op: median(tallies.ns_per_op),
            cpu_ns_per_op: median(tallies.cpu_ns_per_op),
            latencies: tallies.latencies,
            ops: tallies.ops,
            wrongs: tallies.wrongs,
            lost: tallies.lost,
            dry: None,
            flow: None,
        }
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
        self.ns_per_op.map(|ns| 1e9 / ns)
    }

    /// Whether it has the columns of most patterns, not some of its own.
    pub fn is_usual(&self) -> bool {
        self.dry.is_none() && self.flow.is_none()
    }

    /// Its pattern, and the shape or the number of threads.
    pub fn title(&self) -> String {
        if let Some(dry) = &self.dry {
            return format!("{} {}", self.pattern, dry.shape);
        }
        let plural = if self.threads == 1 { "" } else { "s" };
        format!("{}, {} thread{plural}", self.pattern, self.threads)
    }

    /// What went wrong, in words.
    pub fn fault(&self) -> Option<String> {
        let Wrongs {
            refused,
            doubled,
            rejected,
            stalled,
        } = self.wrongs;
        let mut parts = Vec::new();
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
        if rejected > 0 {
            parts.push(format!("rejected {rejected} of its own buffers"));
        }
        if stalled {
            parts.push("stopped making progress and was taken out of the group".to_owned());
        }
        (!parts.is_empty()).then(|| parts.join(", "))
    }
}

/// The middle value, or the mean of the middle two.
pub fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let upper = *values.get(values.len() / 2)?;
    if values.len().is_multiple_of(2) {
        let lower = values[values.len() / 2 - 1];
        Some(f64::midpoint(lower, upper))
    } else {
        Some(upper)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_whatever_the_order() {
        assert_eq!(median(vec![]), None);
        assert_eq!(median(vec![7.0]), Some(7.0));
        assert_eq!(median(vec![9.0, 1.0, 5.0]), Some(5.0));
        assert_eq!(median(vec![4.0, 1.0, 9.0, 2.0]), Some(3.0));
    }
}
