//! What the rounds of a rival in an engine come to.
//!
//! Owns the gathering of the visits, their medians, and what a row has more than those of the other patterns. Uses
//! the visits and `row`; the measuring fills it, and the reports print it.

use super::window::Visit;
use crate::bench::clock;
use crate::bench::plan::Group;
use crate::bench::rounds::Tallied;
use crate::bench::row::{Row, median};
use crate::bench::window::Wrongs;
use crate::rival::Name;
use crate::units::GIB;

/// What a row of an engine has more than others: medians of the rounds, `None` without any round.
#[derive(Debug)]
pub struct Flow {
    pub gib_per_s: Option<f64>,
    /// Processor time of all workers.
    pub cpu_s_per_gib: Option<f64>,
    pub faults_per_gib: Option<f64>,
    /// Times that a worker gave the processor up, to wait.
    pub sleeps_per_gib: Option<f64>,
    /// Membarriers of the rival, if it counts them.
    pub barriers_per_gib: Option<f64>,
}

/// A rival's visits so far.
#[derive(Debug, Default)]
pub struct Tallies {
    blocks_per_s: Vec<f64>,
    cpu_ns: Vec<f64>,
    faults: Vec<f64>,
    sleeps: Vec<f64>,
    barriers: Vec<f64>,
    blocks: u64,
    wrongs: Wrongs,
    lost: usize,
}

impl Tallied for Tallies {
    fn stalled(&self) -> bool {
        self.wrongs.stalled
    }
}

impl Tallies {
    /// Adds one visit.
    pub fn add(&mut self, visit: Visit) {
        self.blocks_per_s.extend(visit.blocks_per_s);
        if let Some(used) = visit.used {
            self.cpu_ns.push(used.cpu_ns);
            self.faults.push(used.faults);
            self.sleeps.push(used.sleeps);
        }
        self.barriers.extend(visit.barriers);
        self.blocks += visit.blocks;
        self.wrongs.add(visit.wrongs);
        // Missing buffers stay missing, so the last count tells all.
        self.lost = self.lost.max(visit.lost);
    }

    /// Sums up.
    pub fn row(self, rival: Name, group: &Group) -> Row {
        let per_gib = GIB as f64 / group.shape.size as f64;
        let each_gib = |values| median(values).map(|each_block| each_block * per_gib);
        let blocks_per_s = median(self.blocks_per_s);
        let cpu_ns_per_op = median(self.cpu_ns);
        Row {
            rival,
            pattern: group.pattern,
            threads: group.threads,
            size: group.shape.size,
            alignment: group.shape.alignment,
            ns_per_op: blocks_per_s.map(|blocks| 1e9 / blocks),
            cpu_ns_per_op,
            // Who waits for the queue does not wait for a buffer: waits of takes compare nothing.
            latencies: clock::latencies(),
            ops: self.blocks,
            wrongs: self.wrongs,
            lost: self.lost,
            dry: None,
            flow: Some(Flow {
                gib_per_s: blocks_per_s.map(|blocks| blocks / per_gib),
                cpu_s_per_gib: cpu_ns_per_op.map(|ns| ns * per_gib / 1e9),
                faults_per_gib: each_gib(self.faults),
                sleeps_per_gib: each_gib(self.sleeps),
                barriers_per_gib: each_gib(self.barriers),
            }),
        }
    }
}
