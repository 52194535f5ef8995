//! What a rival's visit in a shape comes to.
//!
//! Owns the figures that a row has more than those of the other patterns. Uses the visits and `row`; the measuring makes
//! rows with it.

use super::window::Visit;
use crate::bench::figure::{Figure, Values};
use crate::bench::plan::Group;
use crate::bench::row::Row;
use crate::rival::Name;

/// The row of one round; [`compare`] fills in what needs another row.
pub fn row(rival: Name, group: &Group, visit: Visit) -> Row {
    let mut values = Values::from([(Figure::TakesPerS, visit.takes_per_s)]);
    if visit.takes_per_s > 0.0 {
        values.insert(Figure::NsPerOp, 1e9 / visit.takes_per_s);
    }
    if !visit.waits.is_empty() {
        values.insert(Figure::LongestWait, visit.waits.max() as f64);
    }
    if let Some(ns) = visit.cpu_ns_per_take {
        values.insert(Figure::CpuNsPerOp, ns);
    }
    if let Some(share) = visit.least_share {
        values.insert(Figure::LeastShare, share);
    }
    if let Some(calls) = visit.calls.filter(|_| visit.all > 0) {
        let each = |total: u64| total as f64 / visit.all as f64;
        values.insert(Figure::SleepsPerTake, each(calls.sleeps));
        values.insert(Figure::WakesPerTake, each(calls.wakes));
        values.insert(Figure::BarriersPerTake, each(calls.barriers));
    }
    Row {
        ops: visit.takes,
        wrongs: visit.wrongs,
        lost: visit.lost,
        ..Row::new(rival, group, values).with_latencies(visit.waits)
    }
}

/// Takes the work of the shape itself off the processor time of each rival.
pub fn compare(rows: &mut [Row]) {
    let cpu = |row: &Row| row.figures.last()?.get(&Figure::CpuNsPerOp).copied();
    let work = |baseline: Name| cpu(rows.iter().find(|row| row.rival == baseline)?);
    let (of_threads, of_tasks) = (work(Name::NoPool), work(Name::NoPoolTasks));
    for row in rows {
        let work = if row.rival.is_for_tasks() {
            of_tasks
        } else {
            of_threads
        };
        if row.rival.is_without_a_pool() {
            continue;
        }
        let beyond = cpu(row).zip(work).map(|(all, work)| all - work);
        if let Some((values, beyond)) = row.figures.last_mut().zip(beyond) {
            values.insert(Figure::BeyondWork, beyond);
        }
    }
}
