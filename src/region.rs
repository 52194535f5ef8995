//! What the segments of a pool are called by those who register them.
//!
//! Owns: the names, and which buffer lies where in which. Uses: `sync`, `table`. Used by:
//! `catalog`, which gives the names, `arena`, `pool`.

use crate::sync::{AtomicU32, AtomicU64, Ordering};
use crate::table::Zeroed;
use std::fmt;

/// The name of a [`Region`](crate::Region) in its pool.
///
/// The index is a small number, from 0 on, that no other region has as long as this one is
/// in the pool: it can index a table of one's own. A later region may have it again once this
/// one was trimmed; the generation tells these apart, and no other region of the pool ever has
/// it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RegionId {
    index: u32,
    generation: u64,
}

impl RegionId {
    /// The name of a segment that comes as `generation` to those which have the indices
    /// `taken`: the lowest that is left.
    pub(crate) fn free(taken: impl Iterator<Item = Self>, generation: u64) -> Self {
        let mut taken: Vec<u32> = taken.map(|id| id.index).collect();
        taken.sort_unstable();
        let index = (0..).zip(&taken).take_while(|&(at, &index)| at == index);
        Self {
            index: index.count() as u32,
            generation,
        }
    }

    /// The lowest number that no other region had when it came.
    #[must_use]
    pub fn index(self) -> u32 {
        self.index
    }

    /// A number of its own, greater than that of any region that came before.
    #[must_use]
    pub fn generation(self) -> u64 {
        self.generation
    }
}

impl fmt::Display for RegionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.index, self.generation)
    }
}

/// Where a byte lies: in which region, and how many bytes from its start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Location {
    /// The region.
    pub region: RegionId,
    /// Bytes from [`Region::start`](crate::Region::start).
    pub offset: usize,
}

/// To which segment a chunk of buffers belongs. Written before any of the buffers is in a
/// free list (Release), so whoever has one of them reads what was written: `Relaxed` is
/// enough. It does not change before the segment's memory has gone. (Whoever looks without a
/// buffer may find the generation of one segment and the index of a later one: the name of none
/// that he can hold.)
#[derive(Default)]
#[repr(C, align(16))]
pub struct Membership {
    generation: AtomicU64,
    index: AtomicU32,
    /// The segment's first granule.
    first: AtomicU32,
}

// SAFETY: integer atomics alone.
unsafe impl Zeroed for Membership {}

impl Membership {
    /// Says that the chunk belongs to segment `id`, which begins at granule `first`.
    pub fn set(&self, id: RegionId, first: usize) {
        self.generation.store(id.generation, Ordering::Relaxed);
        self.index.store(id.index, Ordering::Relaxed);
        // There are fewer than 2^20 granules.
        self.first.store(first as u32, Ordering::Relaxed);
    }

    /// The segment, and the granule at which it begins.
    pub fn get(&self) -> (RegionId, usize) {
        let id = RegionId {
            index: self.index.load(Ordering::Relaxed),
            generation: self.generation.load(Ordering::Relaxed),
        };
        (id, self.first.load(Ordering::Relaxed) as usize)
    }
}

#[cfg(all(test, not(hugepool_loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_new_region_has_the_lowest_index_that_none_has() {
        let with = |taken: &[u32]| {
            let taken = taken.iter().map(|&index| RegionId {
                index,
                generation: 1,
            });
            RegionId::free(taken, 7)
        };
        for (taken, index) in [(&[][..], 0), (&[0, 1], 2), (&[2, 0], 1), (&[1, 2], 0)] {
            let id = with(taken);
            assert_eq!((id.index(), id.generation()), (index, 7), "{taken:?}");
        }
    }
}
