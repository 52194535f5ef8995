//! Size classes: which buffers there are, and where each one lies.
//!
//! Owns: the geometry of a class (pure arithmetic) and the table that takes a
//! request to its class. Uses: `sync`, `table`, `word`. Used by: `lists`,
//! `arena`, `pool`.

mod geometry;
mod ladder;
mod lookup;

pub use geometry::{GRANULE, Geometry, MAX_ALIGNMENT, MAX_SIZE};
pub use ladder::Ladder;
pub use lookup::Classes;

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
    pub cache_capacity: u32,
    /// How many buffers move between a cache and the depot at once.
    pub batch: u32,
}

impl ClassRef {
    /// Fills arrays; no list belongs to it.
    pub const NONE: Self = Self {
        id: ClassId(0),
        cache_capacity: 0,
        batch: 0,
    };

    /// Bytes that one processor's cache of one class may hold, beyond
    /// [`Self::MIN_CACHE`] buffers.
    const CACHE_BYTES: usize = 4 << 20;
    /// Buffers that one processor's cache may hold however large they are.
    const MIN_CACHE: usize = 2;
    /// Buffers that one processor's cache may hold however small they are.
    const MAX_CACHE: usize = if cfg!(hugepool_loom) { 4 } else { 64 };

    /// Class `id` with buffers `stride` bytes apart.
    pub fn new(id: ClassId, stride: usize) -> Self {
        Self::with_cache(id, Self::cache_for(stride))
    }

    /// Class `id` with caches of `capacity` buffers.
    #[inline]
    pub fn with_cache(id: ClassId, capacity: u32) -> Self {
        Self {
            id,
            cache_capacity: capacity,
            batch: capacity / 2,
        }
    }

    /// How many buffers of `stride` bytes one processor's cache may hold.
    pub fn cache_for(stride: usize) -> u32 {
        (Self::CACHE_BYTES / stride.max(1)).clamp(Self::MIN_CACHE, Self::MAX_CACHE) as u32
    }
}
