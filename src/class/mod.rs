//! Size classes: which buffers there are, and where each one lies.
//!
//! Owns: the geometry of a class (pure arithmetic) and the table that takes a
//! request to its class. Uses: `sync`, `table`, `word`, `batch`. Used by: `lists`,
//! `arena`, `pool`.

mod geometry;
mod ladder;
mod lookup;

pub use geometry::{GRANULE, Geometry, MAX_ALIGNMENT, MAX_SIZE};
pub use ladder::Ladder;
pub use lookup::Classes;

use crate::batch::MAX_BATCH;

/// How many classes a pool can have over its life.
pub const MAX_CLASSES: usize = if cfg!(hugepool_loom) { 2 } else { 128 };

/// The number of a class, below [`MAX_CLASSES`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ClassId(u8);

impl ClassId {
    /// The class numbered `at`; `None` if there can be no such class.
    #[inline]
    pub fn new(at: usize) -> Option<Self> {
        (at < MAX_CLASSES).then_some(Self(at as u8))
    }

    /// The number.
    #[inline]
    pub fn index(self) -> usize {
        usize::from(self.0)
    }
}

/// A class as the free lists need it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClassRef {
    /// Which class.
    pub id: ClassId,
    /// How many buffers one processor's cache may hold.
    pub cache_capacity: u8,
    /// How many buffers move between a cache and the depot at once.
    pub batch: u8,
}

impl ClassRef {
    /// Fills arrays; no list belongs to it.
    pub const NONE: Self = Self {
        id: ClassId(0),
        cache_capacity: 0,
        batch: 0,
    };

    /// Buffers that one processor's cache may hold however few there are.
    const MIN_CACHE: usize = 2;
    /// Buffers that one processor's cache may hold however many there are.
    const MAX_CACHE: usize = 2 * MAX_BATCH;

    /// Class `id` with caches of `capacity` buffers.
    #[inline]
    pub fn with_cache(id: ClassId, capacity: u8) -> Self {
        Self {
            id,
            cache_capacity: capacity,
            batch: capacity / 2,
        }
    }

    /// How many of `buffers` in all one of `cpus` caches may hold: half its fair
    /// share, so that most of them can be found without stealing.
    pub fn cache_for(buffers: usize, cpus: usize) -> u8 {
        (buffers / (2 * cpus.max(1))).clamp(Self::MIN_CACHE, Self::MAX_CACHE) as u8
    }
}
