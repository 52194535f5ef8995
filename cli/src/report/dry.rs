//! The rows of a pool that runs dry.
//!
//! Owns their columns and the ratios of this pool to the best of its rivals. Uses the rows of `bench`; the table at
//! the terminal and the page show both.

use super::ratio::{self, Ratio};
use crate::bench::{Figure, Row};
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

/// What the rounds of a column are, and its unit.
pub const FIGURES: [Option<(Figure, f64)>; COLUMNS.len()] = [
    None,
    Some((Figure::TakesPerS, 1.0)),
    Some((Figure::CpuNsPerOp, 1e3)),
    Some((Figure::BeyondWork, 1e3)),
    Some((Figure::LongestWait, 1e6)),
    Some((Figure::P999, 1e3)),
    Some((Figure::LeastShare, 1.0)),
    Some((Figure::SleepsPerTake, 1.0)),
    Some((Figure::WakesPerTake, 1.0)),
    Some((Figure::BarriersPerTake, 1.0)),
    None,
    None,
    None,
];

/// What they mean.
pub const EXPLAINED: &str = "takes/s: those that ended within the window; cpu us: processor time of all workers for \
     each take, the work of the shape included; beyond us: without what the row no-pool takes; longest ms: wait from \
     asking to having, median of the rounds' longest; p99.9 us: of the waits of all rounds; least share: the takes of \
     the worker that had the fewest, over the mean of those that take; sleeps, wakes, barriers: system calls of the \
     pool for each take; refused: waits that ended with nothing; lost: missing at the end. One size, the first. \
     hugepool waits by Class::allocate_timeout, as hugepool-portable does, hugepool-tasks by Class::allocate_async. no-pool and no-pool-tasks: \
     the shape's work without a pool, by as many workers as there are buffers; in a pipeline by as many producers as \
     there are consumers, who wait for the queue. tokio's clock counts milliseconds, so a task sleeps for 1 to 2 ms";

/// The cells of a row; `missing` stands where nothing was measured.
pub fn cells(row: &Row, missing: &str) -> [String; COLUMNS.len()] {
    let show = |figure, form: &dyn Fn(f64) -> String| {
        let value = row.median(figure);
        value.map_or_else(|| missing.to_owned(), form)
    };
    let in_units = |figure, unit: f64| show(figure, &|ns| units::digits(ns / unit));
    let part = |figure| show(figure, &|part| format!("{part:.2}"));
    let p999 = row.latency(0.999).map(|ns| units::digits(ns as f64 / 1e3));
    [
        row.rival.to_string(),
        show(Figure::TakesPerS, &|rate| format!("{rate:.0}")),
        in_units(Figure::CpuNsPerOp, 1e3),
        in_units(Figure::BeyondWork, 1e3),
        in_units(Figure::LongestWait, 1e6),
        p999.unwrap_or_else(|| missing.to_owned()),
        part(Figure::LeastShare),
        part(Figure::SleepsPerTake),
        part(Figure::WakesPerTake),
        part(Figure::BarriersPerTake),
        row.ops.to_string(),
        row.wrongs.refused.to_string(),
        row.lost.to_string(),
    ]
}

/// This pool against the best of its rivals in one shape: a sentence for threads, and one for tasks. And who takes no
/// part.
pub fn ratios(rows: &[&Row]) -> Vec<String> {
    [
        (Name::Hugepool, Name::MutexCondvar),
        (Name::HugepoolTasks, Name::Semaphore),
    ]
    .into_iter()
    .filter_map(|(own, patient)| against(rows, own, patient))
    .chain(ratio::refusals(rows))
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
    let best = |figure: Figure, sign: f64| -> Option<&Row> {
        let measured = rivals().filter_map(|row| Some((*row, sign * row.median(figure)?)));
        let best = measured.max_by(|a, b| a.1.total_cmp(&b.1));
        best.map(|(row, _)| row)
    };
    const MOST: f64 = 1.0;
    const LEAST: f64 = -1.0;
    let mut parts = Vec::new();
    let mut say = |figure, rival: Option<&Row>, what: &str, more: &str| {
        let ratio = rival.and_then(|rival| Some((rival, Ratio::of(own, rival, figure)?)));
        parts.extend(ratio.map(|(rival, ratio)| {
            format!("{what} {} of {}'s{more}", ratio.in_words(), rival.rival)
        }));
    };
    say(
        Figure::TakesPerS,
        best(Figure::TakesPerS, MOST),
        "takes a second",
        "",
    );
    // Where the cheapest has nothing beyond the work there is no ratio of that.
    let beyond = best(Figure::BeyondWork, LEAST);
    let has_some = |row: &&Row| row.median(Figure::BeyondWork).is_some_and(|ns| ns > 0.0);
    if beyond.is_none_or(|row| !has_some(&row)) {
        say(
            Figure::CpuNsPerOp,
            best(Figure::CpuNsPerOp, LEAST),
            "processor time with the work",
            ", which has none beyond it",
        );
    } else {
        say(
            Figure::BeyondWork,
            beyond,
            "processor time beyond the work",
            "",
        );
    }
    let patient = rivals().find(|row| row.rival == patient).copied();
    say(Figure::LongestWait, patient, "longest wait", "");
    if let Some(share) = own.median(Figure::LeastShare) {
        parts.push(format!("least share {share:.2}"));
    }
    (!parts.is_empty()).then(|| format!("{}: {}", own.rival, parts.join(", ")))
}
