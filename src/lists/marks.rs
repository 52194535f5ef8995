//! How many buffers of a class are out: now, and at most.
//!
//! Owns: the high-water mark, and when it moves. Uses: the lists. Used by: whoever takes
//! a buffer out of a list that all processors share; growth and trimming; `counters`.
//!
//! ```text
//!   capacity ─┬─ absent: on their way into a pool that grows, or in the hands of a trim
//!             ├─ free, in the lists that all processors share: depot, aside, loose
//!             └─ out ─┬─ free, in processors' caches
//!                     └─ in use: callers hold them
//! ```
//!
//! The mark is the most that were ever *out*. To note what is in use would need a count on
//! the hot path; a buffer that goes out does so past it. So the mark is never below the
//! most that callers held, and above it by no more than the caches held. While a class is
//! shared its caches are empty, and the mark is exact.
//!
//! Whoever takes a buffer out of such a list knows how many it left in that one. As long
//! as these alone are more than were ever left in all of them, there is nothing to note:
//! two loads of a line that seldom changes. Otherwise it looks at all the lists, and once
//! more, until two looks agree: then nothing changed between them. Other threads may go on
//! taking and giving all the while: after `LOOKS` looks it takes the one that missed the
//! fewest buffers, for a thread that is stopped within a look may miss a list's worth, and a
//! mark that is too high stays so. So a mark may miss a peak that was over while somebody
//! looked, and may count buffers that another thread was moving from list to list.

use super::FreeLists;
use crate::cache::CpuCaches;
use crate::class::ClassId;
use crate::sync::{Ordering, fence};

/// Looks at the lists at most.
const LOOKS: u32 = 4;

/// The buffers of a class.
#[derive(Clone, Copy, Debug, Default)]
pub struct Level {
    /// All of them.
    pub capacity: u64,
    /// Callers hold these.
    pub in_use: u64,
    /// Free ones in processors' caches.
    pub cached: u64,
    /// All free ones.
    pub free: u64,
}

/// The lists that all processors share, as one look found them.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Census {
    capacity: u64,
    absent: u64,
    free: u64,
    /// The sum of what counts the changes of each list.
    changes: u64,
}

impl Census {
    fn out(&self) -> u64 {
        self.capacity.saturating_sub(self.absent + self.free)
    }
}

impl<C: CpuCaches> FreeLists<C> {
    fn count_once(&self, class: ClassId) -> Census {
        let totals = self.totals(class);
        // Acquire: who sees a capacity that has grown sees the absent, and who sees some
        // present sees them in the lists.
        let capacity = totals.capacity.load(Ordering::Acquire);
        let absent = totals.absent.load(Ordering::Acquire);
        let batches = &self.tables.batches;
        let (depot, stocked) = self.depot(class).seen(batches);
        let (aside, put_aside) = self.aside(class).seen(batches);
        let (tags, loose) = self
            .loose(class)
            .seen(&self.tables.records, self.loose_lists);
        Census {
            capacity,
            absent,
            free: u64::from(stocked) + u64::from(put_aside) + u64::from(loose),
            changes: tags.wrapping_add(depot.into()).wrapping_add(aside.into()),
        }
    }

    /// As the lists were at one moment; or, if they never stood still, as that of `LOOKS`
    /// looks found them that missed the fewest buffers.
    fn census(&self, class: ClassId) -> Census {
        let mut last = self.count_once(class);
        let mut least = last;
        for _ in 1..LOOKS {
            let again = self.count_once(class);
            if again == last {
                return again;
            }
            if again.out() < least.out() {
                least = again;
            }
            last = again;
        }
        least
    }

    /// Notes that a request left `left` buffers in the list that it took one from.
    #[inline]
    pub(super) fn note_left(&self, class: ClassId, left: u32) {
        // Models are spared what nothing depends on.
        if cfg!(hugepool_loom) {
            return;
        }
        let totals = self.totals(class);
        // Relaxed: statistics.
        let capacity = totals.capacity.load(Ordering::Relaxed);
        let most = totals.high_water.load(Ordering::Relaxed);
        if most.saturating_add(left.into()) < capacity {
            self.raise_mark(class);
        }
    }

    #[cold]
    #[inline(never)]
    fn raise_mark(&self, class: ClassId) {
        let (out, mark) = (self.census(class).out(), &self.totals(class).high_water);
        if out > mark.load(Ordering::Relaxed) {
            mark.fetch_max(out, Ordering::Relaxed);
        }
    }

    /// Lets the mark begin again with what is out now. A take at the same moment may count
    /// as one before.
    pub fn reset_mark(&self, class: ClassId) {
        self.totals(class).high_water.store(0, Ordering::Relaxed);
        // SeqCst: a take that still found the old mark is in the lists that we look at,
        // wherever its compare-and-swap is one.
        fence(Ordering::SeqCst);
        self.raise_mark(class);
    }

    /// `count` buffers are about to come to `class`, or are taken out of its lists for a
    /// while, in no caller's hands.
    pub(super) fn note_absent(&self, class: ClassId, count: usize) {
        if !cfg!(hugepool_loom) {
            let absent = &self.totals(class).absent;
            // Relaxed: published by what follows (`count_once`).
            absent.fetch_add(count as u64, Ordering::Relaxed);
        }
    }

    /// So many of these are in the lists now, or gone.
    pub(super) fn note_present(&self, class: ClassId, count: usize) {
        if !cfg!(hugepool_loom) {
            let absent = &self.totals(class).absent;
            // Release: see `count_once`.
            absent.fetch_sub(count as u64, Ordering::Release);
        }
    }

    /// Where the buffers of `class` are: exact while no other thread allocates or frees,
    /// an estimate otherwise. Some loads for each processor.
    pub fn level(&self, class: ClassId) -> Level {
        let census = self.census(class);
        let visited = self.tables.visited.iter();
        let lengths = visited.map(|cpu| self.caches.len(&self.tables, cpu, class));
        let cached = lengths.sum::<u64>().min(census.out());
        Level {
            capacity: census.capacity,
            in_use: census.out() - cached,
            cached,
            free: (census.free + cached).min(census.capacity),
        }
    }
}
