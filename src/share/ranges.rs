//! Numbers that are given out in rows, and come back.
//!
//! Owns: which are free. Uses: `snapshot`. Used by: `slots`.
//!
//! The list of free ranges is replaced as a whole, by one compare-and-swap (Acquire and
//! Release): what was written for numbers before they were given back is seen by whoever
//! gets them next.

use crate::snapshot::Snapshot;
use std::convert::Infallible;
use std::ops::Range;

/// Numbers that are given out in rows.
pub struct Ranges {
    /// Ascending; none is empty, and none begins where another ends.
    free: Snapshot<Vec<Range<u32>>>,
}

impl Ranges {
    /// All of `numbers`, free.
    pub fn new(numbers: Range<u32>) -> Self {
        Self {
            free: Snapshot::new(vec![numbers]),
        }
    }

    /// Takes `count` in a row, the lowest there are. `None`: there is no such row.
    /// Lock-free.
    pub fn take(&self, count: u32) -> Option<Range<u32>> {
        let taken = self.free.replace(|free| {
            let fits = |range: &Range<u32>| range.end - range.start >= count;
            let at = free.iter().position(fits).ok_or(())?;
            let mut next = free.clone();
            let start = next[at].start;
            next[at].start += count;
            if next[at].is_empty() {
                next.remove(at);
            }
            Ok::<_, ()>((next, start..start + count))
        });
        self.free.reclaim();
        taken.ok()
    }

    /// Gives back what was taken, once. Lock-free.
    pub fn give_back(&self, range: &Range<u32>) {
        let Ok(()) = self.free.replace(|free| {
            let mut next = free.clone();
            let at = next.partition_point(|other| other.start < range.start);
            next.insert(at, range.clone());
            next.dedup_by(|right, left| {
                let touch = left.end == right.start;
                if touch {
                    left.end = right.end;
                }
                touch
            });
            Ok::<_, Infallible>((next, ()))
        });
        self.free.reclaim();
    }
}

#[cfg(all(test, not(hugepool_loom)))]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ALL: Range<u32> = 1..100;

    proptest! {
        /// Rows are taken and given back in any order.
        #[test]
        fn no_two_have_a_number_and_all_come_back(
            steps in prop::collection::vec((any::<bool>(), 1u32..40), 0..60),
        ) {
            let ranges = Ranges::new(ALL);
            let mut held: Vec<Range<u32>> = Vec::new();
            for (give, number) in steps {
                if give && !held.is_empty() {
                    ranges.give_back(&held.swap_remove(number as usize % held.len()));
                    continue;
                }
                let Some(taken) = ranges.take(number) else {
                    // There is no such row.
                    held.sort_by_key(|range| range.start);
                    let ends = std::iter::once(ALL.start).chain(held.iter().map(|r| r.end));
                    let starts = held.iter().map(|r| r.start).chain([ALL.end]);
                    let gaps = ends.zip(starts).map(|(end, start)| start - end);
                    prop_assert!(gaps.max() < Some(number));
                    continue;
                };
                prop_assert_eq!(taken.len(), number as usize);
                prop_assert!(ALL.start <= taken.start && taken.end <= ALL.end);
                let overlaps = |other: &Range<u32>| other.start < taken.end && taken.start < other.end;
                prop_assert!(!held.iter().any(overlaps));
                held.push(taken);
            }
            held.iter().for_each(|range| ranges.give_back(range));
            prop_assert_eq!(ranges.free.read(Vec::clone), [ALL]);
        }
    }
}
