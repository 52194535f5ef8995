//! Size classes: which buffers there are, and where each one lies.
//!
//! Owns: the geometry of a class (pure arithmetic) and the table that takes a
//! request to its class. Uses: `sync`, `table`, `word`. Used by: `rseq`,
//! `cache`, `lists`,
//! `arena`, `pool`.

mod geometry;
mod ladder;
mod line;
mod lookup;

pub use geometry::{GRANULE, Geometry, MAX_ALIGNMENT, MAX_SIZE, Reciprocal};
pub use ladder::{Ladder, Rung};
pub use line::{Line, OfStream};
pub use lookup::Classes;
#[cfg(not(hugepool_loom))]
pub use lookup::Finder;

/// How many classes a pool can have over its life.
pub const MAX_CLASSES: usize = if cfg!(hugepool_loom) { 2 } else { 128 };

/// The number of a class, below [`MAX_CLASSES`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ClassId(u8);

impl ClassId {
    /// The first class of a pool.
    pub const FIRST: Self = Self(0);

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

    /// The number counted from 1, where 0 is no class.
    #[inline]
    pub fn entry(self) -> u8 {
        self.0 + 1
    }
}
