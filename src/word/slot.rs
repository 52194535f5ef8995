//! The two words of a restartable slot: how many buffers are in it, and who may
//! change that.
//!
//! Owns: their layouts, which the assembly of `rseq` knows too. Uses: nothing.
//! Used by: `rseq`, `cache`.

use core::fmt;

/// How many buffers a slot holds: `{changes: 56, count: 8}`.
///
/// `changes` grows by one with every change, whoever makes it, so a word that
/// did not change proves that the slot did not.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct Level(u64);

impl Level {
    /// Added to the word by every change, beside what the count changes by.
    pub const CHANGE: u64 = 1 << 8;

    /// The level whose word is `word`. All-zero memory is an empty slot.
    #[inline]
    pub fn from_word(word: u64) -> Self {
        Self(word)
    }

    /// The word to store.
    #[inline]
    pub fn word(self) -> u64 {
        self.0
    }

    /// How many buffers there are.
    #[inline]
    pub fn count(self) -> u32 {
        self.0 as u32 & 0xff
    }

    /// How often the slot has changed, modulo 2⁵⁶ (in models 2⁴⁰, see
    /// `rseq`).
    #[inline]
    pub fn changes(self) -> u64 {
        let word = self.0;
        (if cfg!(hugepool_loom) {
            word << 16 >> 16
        } else {
            word
        }) >> 8
    }

    /// One change later, with `some` buffers more. There is room for them. (The
    /// assembly does this; models call it.)
    #[cfg_attr(not(hugepool_loom), allow(dead_code))]
    #[inline]
    #[must_use]
    pub fn raised(self, some: u32) -> Self {
        Self(self.0.wrapping_add(Self::CHANGE + u64::from(some)))
    }

    /// One change later, with `some` buffers fewer. There are so many.
    #[inline]
    #[must_use]
    pub fn lowered(self, some: u32) -> Self {
        Self(self.0.wrapping_add(Self::CHANGE - u64::from(some)))
    }
}

impl fmt::Debug for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} after {} changes", self.count(), self.changes())
    }
}

/// Who may change a slot: `{thieves: 16, 0: 24, capacity: 8, open: 8, room: 8}`.
///
/// Without thieves the slot is open to its processor: pushes go in while fewer
/// than `room` buffers are there, and pops come out. While there are thieves
/// `room` and `open` are zero, which diverts both, and the level is the thieves'
/// to change. All-zero memory is a slot without room.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct Gate(u64);

impl Gate {
    const OPEN: u64 = 0xff << 8;
    const CAPACITY: u32 = 16;
    const ONE_THIEF: u64 = 1 << 48;
    const MOST_THIEVES: u32 = 0xffff;

    /// The gate whose word is `word`.
    #[inline]
    pub fn from_word(word: u64) -> Self {
        Self(word)
    }

    /// The word to store.
    #[inline]
    pub fn word(self) -> u64 {
        self.0
    }

    /// How many buffers may be in the slot for a push to go in.
    #[inline]
    pub fn room(self) -> u8 {
        self.0 as u8
    }

    /// Whether pops come out.
    #[inline]
    pub fn is_open(self) -> bool {
        self.0 & Self::OPEN != 0
    }

    /// What `room` is while there are no thieves.
    #[inline]
    pub fn capacity(self) -> u8 {
        (self.0 >> Self::CAPACITY) as u8
    }

    /// How many threads are at the slot from outside.
    #[inline]
    pub fn thieves(self) -> u32 {
        (self.0 >> 48) as u32
    }

    /// With one thief more, and shut; `None` if there are as many as can be.
    #[must_use]
    pub fn entered(self) -> Option<Self> {
        let more = self.thieves() < Self::MOST_THIEVES;
        more.then(|| Self(self.0 + Self::ONE_THIEF).settled())
    }

    /// With one thief fewer, and open if that was the last one.
    #[must_use]
    pub fn left(self) -> Self {
        Self(self.0.saturating_sub(Self::ONE_THIEF)).settled()
    }

    /// Open, whoever else is at it: what a broken twin does.
    #[cfg(hugepool_loom)]
    pub fn with_no_thieves(self) -> Self {
        Self(self.0 & (Self::ONE_THIEF - 1)).settled()
    }

    /// With another capacity.
    #[must_use]
    pub fn with_capacity(self, capacity: u8) -> Self {
        let others = self.0 & !(0xff << Self::CAPACITY);
        Self(others | u64::from(capacity) << Self::CAPACITY).settled()
    }

    /// With `room` and `open` as the thieves say.
    fn settled(self) -> Self {
        let rest = self.0 & !0xffff;
        if self.thieves() > 0 {
            Self(rest)
        } else {
            Self(rest | Self::OPEN | u64::from(self.capacity()))
        }
    }
}

impl fmt::Debug for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gate")
            .field("room", &self.room())
            .field("open", &self.is_open())
            .field("capacity", &self.capacity())
            .field("thieves", &self.thieves())
            .finish()
    }
}

/// Which processors' slots of a class are in use: `{version: 32, cpus: 32}`.
///
/// Those below `cpus`; none while the class is shut. The version grows with
/// every change, so that opening can tell that somebody shut it anew. All-zero
/// memory is a class that is shut.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Limit(u64);

impl Limit {
    /// The limit whose word is `word`.
    #[inline]
    pub fn from_word(word: u64) -> Self {
        Self(word)
    }

    /// The word to store.
    #[inline]
    pub fn word(self) -> u64 {
        self.0
    }

    /// Processors whose slots are in use.
    #[inline]
    pub fn cpus(self) -> u32 {
        self.0 as u32
    }

    /// One change later, with `cpus` processors.
    #[must_use]
    pub fn with_cpus(self, cpus: u32) -> Self {
        Self((self.0 & !u64::from(u32::MAX)).wrapping_add(1 << 32) | u64::from(cpus))
    }
}
