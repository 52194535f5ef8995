//! The rows of an engine.
//!
//! Owns their columns and the comparisons of this pool with its rivals. Uses the rows of `bench`; the table at the
//! terminal and the page show both.

use super::ratio::{self, Ratio};
use crate::bench::{Figure, Row};
use crate::rival::Name;
use crate::units;

/// The columns, the rival first.
pub const COLUMNS: [&str; 11] = [
    "rival",
    "GiB/s",
    "of hugepool's",
    "cpu s/GiB",
    "of hugepool's",
    "faults/GiB",
    "sleeps/GiB",
    "barriers/GiB",
    "blocks",
    "refused",
    "lost",
];

/// What the rounds of a column are, and its unit.
pub const FIGURES: [Option<(Figure, f64)>; COLUMNS.len()] = [
    None,
    Some((Figure::GibPerS, 1.0)),
    None,
    Some((Figure::CpuSPerGib, 1.0)),
    None,
    Some((Figure::FaultsPerGib, 1.0)),
    Some((Figure::SleepsPerGib, 1.0)),
    Some((Figure::BarriersPerGib, 1.0)),
    None,
    None,
    None,
];

/// What they mean.
pub const EXPLAINED: &str = "GiB/s: blocks written within the window; cpu s/GiB: processor time of all workers, \
     reading and writing; of hugepool's: the value before it over that of the row hugepool, in the median of the rounds' ratios; faults/GiB: page faults of \
     the workers; sleeps/GiB: times that a worker gave the processor up to wait; barriers/GiB: membarriers of the \
     pool; refused: waits that ended with nothing; lost: missing at the end. All have the same number of blocks under \
     way at most: so many buffers have hugepool, which waits by Class::allocate_timeout, and channel, a bounded channel \
     of buffers that are mapped beforehand; all others are bounded by the queue from readers to writers. glibc, mmap \
     and the other allocators make each block's buffer anew and free it after the block; array: an array of buffers \
     mapped beforehand, the first free one is taken; hugepool-ample: a pool of twice as many buffers, where nobody \
     waits. glibc maps each block anew that is larger than every mapping that the process has freed \
     before (128 KiB at least): faults/GiB tells";

/// The cells of a row; `missing` stands where nothing was measured. `pool` is the row of hugepool.
pub fn cells(row: &Row, pool: Option<&Row>, missing: &str) -> [String; COLUMNS.len()] {
    let or_missing = |cell: Option<String>| cell.unwrap_or_else(|| missing.to_owned());
    let number = |figure| or_missing(row.median(figure).map(units::digits));
    let ratio = |figure| {
        let ratio = pool.and_then(|pool| Ratio::of(row, pool, figure));
        or_missing(ratio.map(|ratio| format!("{:.2}", ratio.value)))
    };
    let cpu = row.median(Figure::CpuSPerGib);
    [
        row.rival.to_string(),
        number(Figure::GibPerS),
        ratio(Figure::GibPerS),
        or_missing(cpu.map(|seconds| format!("{seconds:.3}"))),
        ratio(Figure::CpuSPerGib),
        number(Figure::FaultsPerGib),
        number(Figure::SleepsPerGib),
        number(Figure::BarriersPerGib),
        row.ops.to_string(),
        row.wrongs.refused.to_string(),
        row.lost.to_string(),
    ]
}

/// The row that the others are compared with.
pub fn reference<'r>(rows: &[&'r Row]) -> Option<&'r Row> {
    rows.iter().copied().find(|row| row.rival == Name::Hugepool)
}

/// This pool against its rivals in one group: a sentence for the rate, one for the processor time, and one for what
/// waiting costs. And who takes no part.
pub fn ratios(rows: &[&Row]) -> Vec<String> {
    let mut sentences: Vec<String> = ratio::refusals(rows).collect();
    let Some(pool) = reference(rows) else {
        return sentences;
    };
    let ratio = |name: Name, figure: Figure| {
        let rival = rows.iter().find(|row| row.rival == name)?;
        Some(Ratio::of(pool, rival, figure)?.in_words())
    };
    let against = |figure: Figure| -> Vec<String> {
        [Name::Glibc, Name::Mmap, Name::Channel, Name::Array]
            .into_iter()
            .filter_map(|name| Some(format!("{} of {name}'s", ratio(name, figure)?)))
            .collect()
    };
    for (what, figure) in [
        ("rate", Figure::GibPerS),
        ("processor time", Figure::CpuSPerGib),
    ] {
        let parts = against(figure);
        if !parts.is_empty() {
            sentences.push(format!("hugepool: {what} {}", parts.join(", ")));
        }
    }
    if let Some(part) = ratio(Name::HugepoolAmple, Figure::CpuSPerGib) {
        sentences.push(format!(
            "hugepool: waiting for buffers takes {part} of the processor time of {}",
            Name::HugepoolAmple
        ));
    }
    sentences
}
