//! The state of a buffer as a raw allocation.
//!
//! Owns: its layout. Uses: nothing. Used by: `record`, `pool`.

use core::fmt;

/// What is known of one buffer as a raw allocation: `{generation: 32, size:
/// 32}`.
///
/// A size of zero: the buffer is free, or a `Buffer` owns it. Anything else: it
/// is out as a raw pointer, asked for with that many bytes. The generation
/// grows with every raw allocation.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct RawState(u64);

impl RawState {
    /// The state whose word is `word`. All-zero memory: never handed out raw.
    #[inline]
    pub fn from_word(word: u64) -> Self {
        Self(word)
    }

    /// The word to store.
    #[inline]
    pub fn word(self) -> u64 {
        self.0
    }

    /// The bytes the raw allocation asked for, 0 if the buffer is not out raw.
    #[inline]
    pub fn size(self) -> u32 {
        self.0 as u32
    }

    /// How often the buffer was handed out raw, modulo 2³².
    #[inline]
    pub fn generation(self) -> u32 {
        (self.0 >> 32) as u32
    }

    /// Handed out raw for `size` bytes: the next generation.
    #[inline]
    #[must_use]
    pub fn taken(self, size: u32) -> Self {
        Self((self.0 & !u64::from(u32::MAX)).wrapping_add(1 << 32) | u64::from(size))
    }

    /// No longer out raw; the generation stays.
    #[inline]
    #[must_use]
    pub fn returned(self) -> Self {
        Self(self.0 & !u64::from(u32::MAX))
    }
}

impl fmt::Debug for RawState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RawState")
            .field("generation", &self.generation())
            .field("size", &self.size())
            .finish()
    }
}
