//! The announcement of batches in hand.
//!
//! Owns: its layout. Uses: nothing. Used by: `lists`.

/// Threads that carry a batch between two lists: `{version: 24, forks: 16, carrying: 24}`.
///
/// While a thread holds more buffers than the one its caller asked for, they
/// are in no list. The announcement lets an allocation that found every list
/// empty tell "all taken" from "some on their way". A child of a fork does not have the
/// threads that carried in its parent: carriers of another count of forks are none.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Moving(u64);

impl Moving {
    const FORKS: u32 = 24;
    const VERSION: u32 = 40;

    /// Added when a carry begins: a new version, one more carrier.
    pub const BEGIN: u64 = (1 << Self::VERSION) + 1;
    /// Subtracted when a carry ends: one carrier fewer, the version stays.
    pub const END: u64 = 1;

    /// The announcement whose word is `word`.
    #[inline]
    pub fn from_word(word: u64) -> Self {
        Self(word)
    }

    /// The word to store.
    pub fn word(self) -> u64 {
        self.0
    }

    /// How many carries ever began, modulo 2²⁴.
    #[inline]
    pub fn version(self) -> u32 {
        (self.0 >> Self::VERSION) as u32
    }

    /// Whether it is that of a process that comes from so many `forks`.
    #[inline]
    pub fn is_of(self, forks: u32) -> bool {
        (self.0 >> Self::FORKS) as u16 == forks as u16
    }

    /// How many carries are under way in such a process.
    #[inline]
    pub fn carrying(self, forks: u32) -> u32 {
        if self.is_of(forks) {
            self.0 as u32 & ((1 << Self::FORKS) - 1)
        } else {
            0
        }
    }

    /// Nobody carries anything in a process that comes from so many `forks`.
    #[must_use]
    pub fn inherited(self, forks: u32) -> Self {
        let version = self.0 >> Self::VERSION << Self::VERSION;
        Self(version | u64::from(forks as u16) << Self::FORKS)
    }
}
