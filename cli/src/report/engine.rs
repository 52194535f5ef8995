//! The rows of an engine.
//!
//! Owns their columns and the comparisons of this pool with its rivals. Uses the rows of `bench`; the table at the
//! terminal and the page show both.

use crate::bench::{Flow, Row};
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

/// What they mean.
pub const EXPLAINED: &str = "GiB/s: blocks written within the window; cpu s/GiB: processor time of all workers, \
     reading and writing; of hugepool's: the value before it over that of the row hugepool; faults/GiB: page faults of \
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
    let of = |row: &Row, pick: Pick| row.flow.as_ref().and_then(pick);
    let number = |pick| of(row, pick).map_or_else(|| missing.to_owned(), units::digits);
    let ratio = |pick| {
        let pool = pool.and_then(|pool| of(pool, pick));
        part(of(row, pick), pool).unwrap_or_else(|| missing.to_owned())
    };
    let cpu = of(row, cpu).map_or_else(|| missing.to_owned(), |seconds| format!("{seconds:.3}"));
    [
        row.rival.to_string(),
        number(rate),
        ratio(rate),
        cpu,
        ratio(self::cpu),
        number(|flow| flow.faults_per_gib),
        number(|flow| flow.sleeps_per_gib),
        number(|flow| flow.barriers_per_gib),
        row.ops.to_string(),
        row.wrongs.refused.to_string(),
        row.lost.to_string(),
    ]
}

/// One of an engine's figures.
pub type Pick = fn(&Flow) -> Option<f64>;

fn rate(flow: &Flow) -> Option<f64> {
    flow.gib_per_s
}

fn cpu(flow: &Flow) -> Option<f64> {
    flow.cpu_s_per_gib
}

/// The row that the others are compared with.
pub fn reference<'r>(rows: &[&'r Row]) -> Option<&'r Row> {
    rows.iter().copied().find(|row| row.rival == Name::Hugepool)
}

/// This pool against its rivals in one group: a sentence for the rate, one for the processor time, and one for what
/// waiting costs.
pub fn ratios(rows: &[&Row]) -> Vec<String> {
    let Some(pool) = reference(rows) else {
        return Vec::new();
    };
    let ratio = |name: Name, pick: Pick| {
        let rival = rows.iter().find(|row| row.rival == name)?;
        part(
            pool.flow.as_ref().and_then(pick),
            rival.flow.as_ref().and_then(pick),
        )
    };
    let against = |pick: Pick| -> Vec<String> {
        [Name::Glibc, Name::Mmap, Name::Channel, Name::Array]
            .into_iter()
            .filter_map(|name| Some(format!("{} of {name}'s", ratio(name, pick)?)))
            .collect()
    };
    let mut sentences = Vec::new();
    for (what, pick) in [("rate", rate as Pick), ("processor time", cpu as Pick)] {
        let parts = against(pick);
        if !parts.is_empty() {
            sentences.push(format!("hugepool: {what} {}", parts.join(", ")));
        }
    }
    if let Some(part) = ratio(Name::HugepoolAmple, cpu) {
        sentences.push(format!(
            "hugepool: waiting for buffers takes {part} of the processor time of {}",
            Name::HugepoolAmple
        ));
    }
    sentences
}

/// How much of the rival's value the own value is. Where the rival has nothing above 0 there is no ratio.
fn part(own: Option<f64>, rival: Option<f64>) -> Option<String> {
    let (own, rival) = own.zip(rival)?;
    (rival > 0.0).then(|| format!("{:.2}", own / rival))
}
