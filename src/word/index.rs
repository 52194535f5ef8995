//! The number of a buffer.
//!
//! Owns: the layout of an index. Uses: nothing. Used by: every list.

use core::fmt;
use core::num::NonZeroU32;

/// The number of a buffer: `{block: 20, position: 12}`. The block is the number
/// of the 2 MiB granule, counted from 1, at which the buffer's chunk begins;
/// see `class::geometry`. Zero is no buffer.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct Index(NonZeroU32);

impl Index {
    /// How many low bits of an index number a buffer within its chunk.
    pub const POSITION_BITS: u32 = 12;
    /// Buffers in a full chunk.
    pub const PER_CHUNK: u32 = 1 << Self::POSITION_BITS;
    /// The largest block number.
    pub const MAX_BLOCK: u32 = (1 << (32 - Self::POSITION_BITS)) - 1;

    /// The buffer at `position` of the chunk that begins at granule `block`;
    /// `None` if that would be the number zero.
    #[inline]
    pub fn new(block: u32, position: u32) -> Option<Self> {
        debug_assert!(block <= Self::MAX_BLOCK && position < Self::PER_CHUNK);
        Self::from_raw(block << Self::POSITION_BITS | position)
    }

    /// The buffer numbered `raw`; `None` for zero, the end of every list.
    #[inline]
    pub fn from_raw(raw: u32) -> Option<Self> {
        NonZeroU32::new(raw).map(Self)
    }

    /// The buffer numbered `raw`.
    ///
    /// # Safety
    ///
    /// It is not zero.
    #[inline(always)]
    pub unsafe fn from_raw_unchecked(raw: u32) -> Self {
        // SAFETY: the caller says so.
        Self(unsafe { NonZeroU32::new_unchecked(raw) })
    }

    /// The number itself.
    #[inline]
    pub fn raw(self) -> u32 {
        self.0.get()
    }

    /// The granule at which the buffer's chunk begins.
    #[inline]
    pub fn block(self) -> u32 {
        self.raw() >> Self::POSITION_BITS
    }

    /// The buffer's number within its chunk.
    #[inline]
    pub fn position(self) -> u32 {
        self.raw() & (Self::PER_CHUNK - 1)
    }
}

impl fmt::Debug for Index {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}.{}", self.block(), self.position())
    }
}

/// The raw form of an optional index, as list links store it.
#[inline]
pub fn link(index: Option<Index>) -> u32 {
    index.map_or(0, Index::raw)
}
