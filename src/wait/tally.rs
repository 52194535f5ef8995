//! How waits went: what a dashboard polls.
//!
//! Owns: the counts, in rows that waiters share out among them. Uses: `sync`, `table`.
//! Used by: the line, and `pool`, which says how a wait ended.

use crate::sync::{AtomicU64, Ordering};
use crate::table::{Table, Zeroed};
use std::io;

/// How a wait ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// With a buffer.
    Served,
    /// Its time was up.
    TimedOut,
    /// Every wait of the pool was ended.
    Aborted,
    /// It alone was ended, or its future dropped.
    Cancelled,
    /// No class could serve it any more.
    Failed,
}

/// Powers of two that waits are sorted by: the last one takes all that are longer.
pub const BINS: usize = 40;
const ROWS: usize = if cfg!(hugepool_loom) { 1 } else { 8 };

/// One row. Relaxed throughout: statistics.
#[derive(Default)]
#[repr(C, align(128))]
struct Row {
    begun: AtomicU64,
    ended: [AtomicU64; 5],
    nanoseconds: AtomicU64,
    longest: AtomicU64,
    bins: Bins,
}

struct Bins([AtomicU64; BINS]);

impl Default for Bins {
    fn default() -> Self {
        Self(std::array::from_fn(|_| AtomicU64::new(0)))
    }
}

// SAFETY: integer atomics alone; all zero is nothing counted.
unsafe impl Zeroed for Row {}

/// What was counted since the pool was built.
#[derive(Clone, Copy, Debug)]
pub struct Tally {
    /// Waits that stood in line.
    pub begun: u64,
    /// How many ended so, in the order of `Outcome`.
    pub ended: [u64; 5],
    /// Nanoseconds that the ended ones took together.
    pub nanoseconds: u64,
    /// Nanoseconds that the longest of them took.
    pub longest: u64,
    /// How many took less than 2, 4, 8, … nanoseconds, and no less than half of that.
    pub bins: [u64; BINS],
}

/// The counts.
pub struct Tallies(Table<Row>);

impl Tallies {
    /// Nothing counted. Fails as `mmap` does.
    pub fn new() -> io::Result<Self> {
        Table::new(ROWS).map(Self)
    }

    fn row(&self, place: u32) -> &Row {
        self.0.get(place as usize % ROWS)
    }

    /// Somebody stands at `place`.
    pub fn note_begun(&self, place: u32) {
        // Models are spared what nothing depends on.
        if !cfg!(hugepool_loom) {
            self.row(place).begun.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Whoever stood at `place` has left, after so many nanoseconds.
    pub fn note_ended(&self, place: u32, outcome: Outcome, nanoseconds: u64) {
        let row = self.row(place);
        let at = match outcome {
            Outcome::Served => 0,
            Outcome::TimedOut => 1,
            Outcome::Aborted => 2,
            Outcome::Cancelled => 3,
            Outcome::Failed => 4,
        };
        row.ended[at].fetch_add(1, Ordering::Relaxed);
        row.nanoseconds.fetch_add(nanoseconds, Ordering::Relaxed);
        if nanoseconds > row.longest.load(Ordering::Relaxed) {
            row.longest.fetch_max(nanoseconds, Ordering::Relaxed);
        }
        let bin = (nanoseconds.max(1).ilog2() as usize).min(BINS - 1);
        row.bins.0[bin].fetch_add(1, Ordering::Relaxed);
    }

    /// All rows together.
    pub fn read(&self) -> Tally {
        let mut all = Tally {
            begun: 0,
            ended: [0; 5],
            nanoseconds: 0,
            longest: 0,
            bins: [0; BINS],
        };
        for at in 0..ROWS {
            let row = self.0.get(at);
            all.begun += row.begun.load(Ordering::Relaxed);
            all.nanoseconds += row.nanoseconds.load(Ordering::Relaxed);
            all.longest = all.longest.max(row.longest.load(Ordering::Relaxed));
            for (sum, count) in all.ended.iter_mut().zip(&row.ended) {
                *sum += count.load(Ordering::Relaxed);
            }
            for (sum, count) in all.bins.iter_mut().zip(&row.bins.0) {
                *sum += count.load(Ordering::Relaxed);
            }
        }
        all
    }

    /// Forgets the longest wait so far.
    pub fn reset_longest(&self) {
        for at in 0..ROWS {
            self.0.get(at).longest.store(0, Ordering::Relaxed);
        }
    }

    /// Bytes of memory the counts occupy, read from the kernel.
    pub fn resident(&self) -> io::Result<usize> {
        self.0.resident(ROWS)
    }
}
