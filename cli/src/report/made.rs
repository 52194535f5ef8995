//! Rows made by hand, for the tests of the reports.
//!
//! Owns their making. Uses the rows of `bench`.

use std::collections::BTreeMap;

use super::Setting;
use super::origin::{MachineFacts, Options, Origin};
use crate::bench::{DryShape, Figure, Group, Pattern, Row, latencies};
use crate::rival::{Name, Shape};

/// A group of one thread.
pub fn group(pattern: Pattern, size: usize) -> Group {
    let dry = (pattern == Pattern::Exhausted).then_some(DryShape::ALL[0]);
    Group {
        pattern,
        threads: 1,
        shape: Shape {
            size,
            alignment: 512,
            buffers: 64,
        },
        depth: 8,
        area: 0,
        rivals: Vec::new(),
        dry,
        sides: None,
        notes: Vec::new(),
    }
}

/// A row with one figure, by rounds.
pub fn row(rival: Name, group: &Group, figure: Figure, rounds: &[Option<f64>]) -> Row {
    with(
        rival,
        group,
        rounds.iter().map(|it| it.map(|it| (figure, it))),
    )
}

/// A row with the same time of an operation in each of seven rounds.
pub fn steady(rival: Name, group: &Group, ns: f64) -> Row {
    row(rival, group, Figure::NsPerOp, &[Some(ns); 7])
}

/// The same; something else had the processors.
pub fn noisy(rival: Name, group: &Group, ns: f64) -> Row {
    let round = [
        (Figure::NsPerOp, ns),
        (Figure::CpuShare, 0.1),
        (Figure::Sleeps, 0.0),
    ];
    with(rival, group, [round; 7])
}

/// A row that lost buffers, however fast it was.
pub fn lossy(rival: Name, group: &Group, ns: f64, lost: usize) -> Row {
    Row {
        lost,
        ..steady(rival, group, ns)
    }
}

/// The same row with single takes of so many nanoseconds.
pub fn with_takes(mut row: Row, takes: &[u64]) -> Row {
    row.latencies = latencies();
    for ns in takes {
        row.latencies.saturating_record(*ns);
    }
    row
}

fn with<R: IntoIterator<Item = (Figure, f64)>>(
    rival: Name,
    group: &Group,
    rounds: impl IntoIterator<Item = R>,
) -> Row {
    let mut row = Row::empty(rival, group);
    for round in rounds {
        row.gather(Row::new(rival, group, BTreeMap::from_iter(round)));
    }
    row
}

/// Where rows of seven rounds come from.
pub fn setting() -> Setting {
    Setting {
        facts: vec![("method", "by hand & <with> \"care\"".to_owned())],
        skipped: vec!["same, threads 1, 64 MiB: it needs <too> much".to_owned()],
        origin: Origin {
            date: "2026-11-30T12:34:56Z".to_owned(),
            machine: MachineFacts {
                cpu_model: Some("A & B".to_owned()),
                kernel: None,
                online_cpus: Some(2),
                allowed_cpus: 1,
                nodes: 1,
                memory_bytes: Some(4 << 30),
                transparent: None,
            },
            versions: [("hugepool", "1.2.3"), ("glibc", "glibc 2.36")]
                .map(|(name, version)| (name.to_owned(), version.to_owned()))
                .into(),
            options: Options {
                patterns: Vec::new(),
                shapes: Vec::new(),
                sizes: Vec::new(),
                alignment: 4096,
                threads: Vec::new(),
                pipelines: Vec::new(),
                rounds: 7,
                rivals: Vec::new(),
                millis: 1,
                memory: 1 << 30,
                pages: Vec::new(),
                warm_up_millis: None,
                cpus: None,
                nodes: None,
                handicap: None,
            },
            seed: 1,
        },
    }
}
