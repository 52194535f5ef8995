//! The announcement of batches in hand.
//!
//! Owns: its layout. Uses: nothing. Used by: `lists`.

/// Threads that carry a batch between two lists: `{version: 32, carrying: 32}`.
///
/// While a thread holds more buffers than the one its caller asked for, they
/// are in no list. The announcement lets an allocation that found every list
/// empty tell "all taken" from "some on their way".
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Moving(u64);

impl Moving {
    /// Added when a carry begins: a new version, one more carrier.
    pub const BEGIN: u64 = (1 << 32) + 1;
    /// Subtracted when a carry ends: one carrier fewer, the version stays.
    pub const END: u64 = 1;

    /// The announcement whose word is `word`.
    #[inline]
    pub fn from_word(word: u64) -> Self {
        Self(word)
    }

    /// How many carries ever began, modulo 2³².
    #[inline]
    pub fn version(self) -> u32 {
        (self.0 >> 32) as u32
    }

    /// How many carries are under way.
    #[inline]
    pub fn carrying(self) -> u32 {
        self.0 as u32
    }
}
