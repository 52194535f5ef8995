//! How many requests were refused, and why.
//!
//! Owns: the counts, a row a processor. Uses: `sync`, `error`. Used by:
//! `catalog` and `pool`, which refuse; `counters`.
//!
//! A request is counted once, where its caller is told: one that looked in vain and then
//! ran out of time is one that timed out. All of it is off the hot path, for a request
//! that is served comes by none of this.

use super::FreeLists;
use super::ledger::count;
use crate::cache::CpuCaches;
use crate::class::ClassId;
use crate::error::AllocError;
use crate::sync::{AtomicU64, Ordering};

/// Kinds of refusals. Models are spared what nothing depends on.
pub const KINDS: usize = if cfg!(hugepool_loom) { 0 } else { 10 };

/// The counts of one processor. Relaxed throughout: statistics.
#[derive(Default)]
pub(super) struct Row([AtomicU64; KINDS]);

/// Where `error` is counted.
fn kind(error: &AllocError) -> usize {
    match error {
        AllocError::Exhausted { carried: false, .. } => 0,
        AllocError::Exhausted { carried: true, .. } => 1,
        AllocError::TimedOut { .. } => 2,
        AllocError::Aborted => 3,
        AllocError::Cancelled => 4,
        AllocError::NoClass { .. } | AllocError::NoShare { .. } => 5,
        AllocError::NeverEnough { .. } => 6,
        AllocError::TooManyWaiters { .. } => 7,
        AllocError::ZeroSize | AllocError::BadAlignment { .. } | AllocError::ForeignToken => 8,
        AllocError::AtMaximum { .. } => 9,
    }
}

impl<C: CpuCaches> FreeLists<C> {
    /// A caller is told `error`.
    #[cold]
    #[inline(never)]
    pub fn note_refusal(&self, error: &AllocError) {
        let row = &self.processors.get(self.here()).refusals;
        if let Some(count) = row.0.get(kind(error)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// A request for `class` waited, and its time was up: it is refused for lack of a
    /// buffer, as one that does not wait.
    #[cold]
    pub fn note_timed_out(&self, class: ClassId) {
        count(&self.own_ledger(class).failures);
    }

    /// How many were told what, in the order of `kind`.
    pub fn refusals(&self) -> [u64; KINDS] {
        let mut sums = [0; KINDS];
        for cpu in self.tables.visited.iter() {
            for (sum, count) in sums.iter_mut().zip(&self.processors.get(cpu).refusals.0) {
                *sum += count.load(Ordering::Relaxed);
            }
        }
        sums
    }
}
