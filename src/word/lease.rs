//! Whose a buffer is that is out: of which slot, and the how manieth.
//!
//! Owns: its layout. Uses: nothing. Used by: `record`, for the states that other processes
//! read, `share`, for handles.

use core::fmt;

/// One owner's time with a buffer: `{generation: 44, slot: 20}`. The generation counts how
/// often the slot came back. 0: the buffer has no slot, and was never out.
///
/// One word, so that whoever reads it has both of one time: no two owners, of whichever
/// buffers, have the same (before the generation begins again).
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Lease(u64);

impl Lease {
    /// How many bits are slot.
    pub const SLOT_BITS: u32 = 20;
    /// Slots are below this.
    pub const SLOTS: u32 = 1 << Self::SLOT_BITS;
    /// What is added to the word when the buffer comes back. What it carries out of the
    /// word is lost.
    pub const NEXT: u64 = 1 << Self::SLOT_BITS;

    /// The lease of `slot` when it has come back `generation` times.
    pub fn new(slot: u32, generation: u64) -> Self {
        debug_assert!(slot < Self::SLOTS);
        Self(generation << Self::SLOT_BITS | u64::from(slot))
    }

    /// The lease whose word is `word`.
    #[inline]
    pub fn from_word(word: u64) -> Self {
        Self(word)
    }

    /// The word.
    #[inline]
    pub fn word(self) -> u64 {
        self.0
    }

    /// The slot; 0 if the buffer has none.
    #[inline]
    pub fn slot(self) -> u32 {
        self.0 as u32 & (Self::SLOTS - 1)
    }

    /// How often the slot came back.
    #[inline]
    pub fn generation(self) -> u64 {
        self.0 >> Self::SLOT_BITS
    }
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}.{}", self.slot(), self.generation())
    }
}
