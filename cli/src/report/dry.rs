//! The rows of a pool that runs dry.
//!
//! Owns their columns and the ratios of this pool to the best of its rivals. Uses the rows of `bench`; the table at
//! the terminal and the page show both.

use crate::bench::{CallsPerTake, Row};
use crate::rival::Name;
use crate::units;

/// The columns, the rival first.
pub const COLUMNS: [&str; 13] = [
    "rival",
    "takes/s",
    "cpu us",
    "beyond us",
    "longest ms",
    "p99.9 us",
    "least share",
    "sleeps",
    "wakes",
    "barriers",
    "takes",
    "refused",
    "lost",
];

/// What they mean.
pub const EXPLAINED: &str = "takes/s: those that ended within the window; cpu us: processor time of all workers for \
     each take, the work of the shape included; beyond us: without what the row no-pool takes; longest ms: wait from \
     asking to having, median of the rounds' longest; p99.9 us: of the waits of all rounds; least share: the takes of \
     the worker that had the fewest, over the mean of those that take; sleeps, wakes, barriers: system calls of the \
     pool for each take; refused: waits that ended with nothing; lost: missing at the end. One size, the first. \
     hugepool waits by Class::allocate_timeout, hugepool-tasks by Class::allocate_async. no-pool and no-pool-tasks: \
     the shape's work without a pool, by as many workers as there are buffers; in a pipeline by as many producers as \
     there are consumers, who wait for the queue. tokio's clock counts milliseconds, so a task sleeps for 1 to 2 ms";

/// The cells of a row; `missing` stands where nothing was measured.
pub fn cells(row: &Row, missing: &str) -> [String; COLUMNS.len()] {
    let dry = row.dry.as_ref();
    let number = |value: Option<f64>| value.map_or_else(|| missing.to_owned(), units::digits);
    let ratio = |value: Option<f64>| {
        value.map_or_else(|| missing.to_owned(), |value| format!("{value:.2}"))
    };
    let in_units = |ns: Option<f64>, unit: f64| number(ns.map(|ns| ns / unit));
    let calls = |pick: fn(CallsPerTake) -> f64| ratio(dry.and_then(|dry| dry.calls).map(pick));
    [
        row.rival.to_string(),
        dry.and_then(|dry| dry.takes_per_s)
            .map_or_else(|| missing.to_owned(), |rate| format!("{rate:.0}")),
        in_units(row.cpu_ns_per_op, 1e3),
        in_units(dry.and_then(|dry| dry.beyond_ns), 1e3),
        in_units(dry.and_then(|dry| dry.longest_ns), 1e6),
        in_units(row.latency(0.999).map(|ns| ns as f64), 1e3),
        ratio(dry.and_then(|dry| dry.least_share)),
        calls(|calls| calls.sleeps),
        calls(|calls| calls.wakes),
        calls(|calls| calls.barriers),
        row.ops.to_string(),
        row.wrongs.refused.to_string(),
        row.lost.to_string(),
    ]
}

/// This pool against the best of its rivals in one shape: a sentence for threads, and one for tasks.
pub fn ratios(rows: &[&Row]) -> Vec<String> {
    [
        (Name::Hugepool, Name::MutexCondvar),
        (Name::HugepoolTasks, Name::Semaphore),
    ]
    .into_iter()
    .filter_map(|(own, patient)| against(rows, own, patient))
    .collect()
}

/// `patient` is the rival whose longest wait is compared.
fn against(rows: &[&Row], own: Name, patient: Name) -> Option<String> {
    let own = rows.iter().find(|row| row.rival == own)?;
    let rivals = || {
        rows.iter().filter(|row| {
            !row.rival.is_hugepool()
                && !row.rival.is_without_a_pool()
                && row.rival.is_for_tasks() == own.rival.is_for_tasks()
        })
    };
    let takes = |row: &Row| row.dry.as_ref()?.takes_per_s;
    let beyond = |row: &Row| row.dry.as_ref()?.beyond_ns;
    let longest = |row: &Row| row.dry.as_ref()?.longest_ns;

    let mut parts = Vec::new();
    let fastest = rivals()
        .filter_map(|row| Some((row.rival, takes(row)?)))
        .max_by(|a, b| a.1.total_cmp(&b.1));
    if let Some((part, (rival, _))) = ratio(takes(own), fastest) {
        parts.push(format!("takes a second {part} of {rival}'s"));
    }
    let cheapest = rivals()
        .filter_map(|row| Some((row.rival, beyond(row)?)))
        .min_by(|a, b| a.1.total_cmp(&b.1));
    let least = rivals()
        .filter_map(|row| Some((row.rival, row.cpu_ns_per_op?)))
        .min_by(|a, b| a.1.total_cmp(&b.1));
    if let Some((part, (rival, _))) = ratio(beyond(own), cheapest) {
        parts.push(format!(
            "processor time beyond the work {part} of {rival}'s"
        ));
    } else if let Some((part, (rival, _))) = ratio(own.cpu_ns_per_op, least) {
        parts.push(format!(
            "processor time with the work {part} of {rival}'s, which has none beyond it"
        ));
    }
    let patient = rivals()
        .filter(|row| row.rival == patient)
        .find_map(|row| Some((row.rival, longest(row)?)));
    if let Some((part, (rival, _))) = ratio(longest(own), patient) {
        parts.push(format!("longest wait {part} of {rival}'s"));
    }
    if let Some(share) = own.dry.as_ref().and_then(|dry| dry.least_share) {
        parts.push(format!("least share {share:.2}"));
    }
    (!parts.is_empty()).then(|| format!("{}: {}", own.rival, parts.join(", ")))
}

/// How much of the rival's value the own value is. Where the rival has nothing above 0 there is no ratio.
fn ratio(own: Option<f64>, rival: Option<(Name, f64)>) -> Option<(String, (Name, f64))> {
    let (own, rival) = own.zip(rival)?;
    (rival.1 > 0.0).then(|| (format!("{:.2}", own / rival.1), rival))
}
