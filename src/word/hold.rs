//! Whether a buffer is out, in a pool that tracks who takes its buffers.
//!
//! Owns: its layout. Uses: nothing. Used by: `track`.

use std::fmt;

/// Whether a buffer is out, and how: `{taken: 32, raw: 1, size: 31}`.
///
/// `taken` counts how often the buffer was taken, so that no two owners have the same
/// word (unless the buffer was taken 2³² times between them).
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Hold(u64);

impl Hold {
    const RAW: u64 = 1 << 31;
    const TAKEN: u32 = 32;

    /// What `word` says. All-zero memory is a buffer that was never out.
    #[inline]
    pub fn from_word(word: u64) -> Self {
        Self(word)
    }

    /// The word to store.
    #[inline]
    pub fn word(self) -> u64 {
        self.0
    }

    /// How many bytes the buffer was taken for; 0: it is home.
    #[inline]
    pub fn size(self) -> usize {
        (self.0 & (Self::RAW - 1)) as usize
    }

    /// Whether it is out as a raw pointer.
    #[inline]
    pub fn is_raw(self) -> bool {
        self.0 & Self::RAW != 0
    }

    /// The next owner takes it, for `size` bytes: 1 B to 1 GiB.
    #[must_use]
    #[inline]
    pub fn taken(self, size: usize, raw: bool) -> Self {
        let taken = (self.0 >> Self::TAKEN).wrapping_add(1) << Self::TAKEN;
        Self(taken | size as u64 & (Self::RAW - 1)).with_raw(raw)
    }

    /// Its owner gives it back.
    #[must_use]
    #[inline]
    pub fn given(self) -> Self {
        Self(self.0 >> Self::TAKEN << Self::TAKEN)
    }

    /// Its owner has it as a raw pointer from now on, or no longer.
    #[must_use]
    #[inline]
    pub fn with_raw(self, raw: bool) -> Self {
        Self(self.0 & !Self::RAW | (u64::from(raw) * Self::RAW))
    }
}

impl fmt::Debug for Hold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hold")
            .field("taken", &(self.0 >> Self::TAKEN))
            .field("size", &self.size())
            .field("is_raw", &self.is_raw())
            .finish()
    }
}
