//! What a granule of the arena belongs to.
//!
//! Owns: its layout. Uses: `Index`. Used by: `arena`.

use super::Index;

/// The chunk that a granule belongs to:
/// `{count: 13, claimed: 1, …, class: 8, first: 32}`. All zero: it is free.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Chunk(u64);

impl Chunk {
    /// A granule that nobody has.
    pub const FREE: Self = Self(0);
    /// A granule that somebody has, and no buffer.
    pub const CLAIMED: Self = Self(1 << 50);

    const COUNT_SHIFT: u32 = 51;
    const CLASS_SHIFT: u32 = 32;

    /// A chunk of `count` buffers, up to `Index::PER_CHUNK`, the first of which is
    /// `first`. Its class is numbered `class`, counted from 1.
    pub fn new(class: u8, first: Index, count: usize) -> Self {
        debug_assert!(first.position() == 0 && count <= Index::PER_CHUNK as usize);
        let class = u64::from(class) << Self::CLASS_SHIFT;
        let count = (count as u64) << Self::COUNT_SHIFT;
        Self(Self::CLAIMED.0 | class | count | u64::from(first.raw()))
    }

    /// The chunk whose word is `word`.
    #[inline]
    pub fn from_word(word: u64) -> Self {
        Self(word)
    }

    /// The word.
    #[inline]
    pub const fn word(self) -> u64 {
        self.0
    }

    /// The number of its class, counted from 1; 0 if it has no buffers.
    #[inline(always)]
    pub fn class(self) -> u8 {
        (self.0 >> Self::CLASS_SHIFT) as u8
    }

    /// How many buffers it has.
    #[inline(always)]
    pub fn count(self) -> usize {
        (self.0 >> Self::COUNT_SHIFT) as usize
    }

    /// The granule at which it begins.
    #[inline]
    pub fn block(self) -> usize {
        self.0 as usize >> Index::POSITION_BITS & Index::MAX_BLOCK as usize
    }

    /// Its buffer at `position`, which is below `count`: so it has some.
    #[inline(always)]
    pub fn nth(self, position: usize) -> Option<Index> {
        Index::from_raw(self.0 as u32 | position as u32)
    }

    /// As `nth`.
    ///
    /// # Safety
    ///
    /// `position` is below `count`.
    #[inline(always)]
    pub unsafe fn nth_unchecked(self, position: usize) -> Index {
        debug_assert!(position < self.count());
        // SAFETY: the chunk has buffers, so its first one is one, and not 0.
        unsafe { Index::from_raw_unchecked(self.0 as u32 | position as u32) }
    }
}
