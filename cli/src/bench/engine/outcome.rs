//! What a rival's visit in an engine comes to.
//!
//! Owns the figures that a row has more than those of the other patterns. Uses the visits and `row`; the measuring makes
//! rows with it.

use super::window::Visit;
use crate::bench::figure::{Figure, Values};
use crate::bench::plan::Group;
use crate::bench::row::Row;
use crate::rival::Name;
use crate::units::GIB;

/// The row of one round.
pub fn row(rival: Name, group: &Group, visit: &Visit) -> Row {
    let per_gib = GIB as f64 / group.shape.size as f64;
    let mut values = Values::new();
    if let Some(blocks) = visit.blocks_per_s.filter(|blocks| *blocks > 0.0) {
        values.insert(Figure::NsPerOp, 1e9 / blocks);
        values.insert(Figure::GibPerS, blocks / per_gib);
    }
    if let Some(used) = visit.used {
        values.insert(Figure::CpuNsPerOp, used.cpu_ns);
        values.insert(Figure::CpuSPerGib, used.cpu_ns * per_gib / 1e9);
        values.insert(Figure::FaultsPerGib, used.faults * per_gib);
        values.insert(Figure::SleepsPerGib, used.sleeps * per_gib);
    }
    if let Some(barriers) = visit.barriers {
        values.insert(Figure::BarriersPerGib, barriers * per_gib);
    }
    Row {
        ops: visit.blocks,
        wrongs: visit.wrongs,
        lost: visit.lost,
        // Who waits for the queue does not wait for a buffer: waits of takes compare nothing, so there are none.
        ..Row::new(rival, group, values)
    }
}
