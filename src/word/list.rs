//! The words that free lists are made of: heads, batches, spare arrays.
//!
//! Owns: their layouts, and the rule that every change is a new tag. Uses:
//! `index`. Used by: `chain`, `batch`, `depot`, `cache`.

use super::index::{Index, link};
use crate::sync::fault;
use core::fmt;

/// The head of a free list: `{tag: 31, shut: 1, index: 32}`.
///
/// The tag grows by one with every change of the word, whoever makes it and
/// whatever it does, so a compare-and-swap that succeeds proves that the list
/// did not change since its expected value was read (unless the thread slept
/// through exactly a multiple of 2³¹ changes). `shut` diverts every push: the
/// pool is being torn down, or somebody waits for a buffer.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Head(u64);

impl Head {
    const SHUT: u64 = 1 << 32;
    const ONE_TAG: u64 = 1 << 33;

    /// The head whose word is `word`. All-zero memory is an open, empty list.
    #[inline]
    pub fn from_word(word: u64) -> Self {
        Self(word)
    }

    /// The word to store.
    #[inline]
    pub fn word(self) -> u64 {
        self.0
    }

    /// The buffer on top; `None` proves that the list was empty when the word
    /// was read.
    #[inline]
    pub fn top(self) -> Option<Index> {
        Index::from_raw(self.0 as u32)
    }

    /// How often the word has changed, modulo 2³¹.
    #[inline]
    pub fn tag(self) -> u32 {
        (self.0 >> 33) as u32
    }

    /// True while the list takes no buffers.
    #[inline]
    pub fn is_shut(self) -> bool {
        self.0 & Self::SHUT != 0
    }

    /// This head one change later, with `top` on top.
    #[inline]
    #[must_use]
    pub fn with_top(self, top: Option<Index>) -> Self {
        let one = fault!(NoTag, 0, Self::ONE_TAG);
        Self((self.0 & !u64::from(u32::MAX)).wrapping_add(one) | u64::from(link(top)))
    }

    /// This head one change later, with the same buffers, shut or not.
    #[must_use]
    pub fn with_shut(self, shut: bool) -> Self {
        let flag = if shut { Self::SHUT } else { 0 };
        Self(self.with_top(self.top()).0 & !Self::SHUT | flag)
    }
}

impl fmt::Debug for Head {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Head")
            .field("tag", &self.tag())
            .field("shut", &self.is_shut())
            .field("top", &self.top())
            .finish()
    }
}

/// A batch as a word names it: `{count: 5, id: 26}`, the array and how many
/// buffers are left in it. Zero is no batch.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Batch(u32);

impl Batch {
    /// No batch.
    pub const NONE: Self = Self(0);
    const ID_BITS: u32 = 26;
    /// The largest number of an array.
    pub const MAX_ID: u32 = (1 << Self::ID_BITS) - 1;
    const ONE: u32 = 1 << Self::ID_BITS;

    /// `count` buffers, at most 31, in array `id`.
    #[inline]
    pub fn new(id: u32, count: u32) -> Self {
        debug_assert!(id <= Self::MAX_ID && count < 32);
        Self(count << Self::ID_BITS | id)
    }

    /// The batch that was stored as `raw`.
    #[inline]
    pub fn from_raw(raw: u32) -> Self {
        Self(raw)
    }

    /// The 31 bits to store.
    #[inline]
    pub fn raw(self) -> u32 {
        self.0
    }

    /// The array.
    #[inline]
    pub fn id(self) -> u32 {
        self.0 & Self::MAX_ID
    }

    /// Buffers left.
    #[inline]
    pub fn count(self) -> u32 {
        self.0 >> Self::ID_BITS
    }

    /// True if there is no batch, or nothing left in it.
    #[inline]
    pub fn is_none(self) -> bool {
        self.count() == 0
    }

    /// The same array with one buffer fewer, if there was one.
    #[inline]
    #[must_use]
    pub fn less_one(self) -> Self {
        Self(if self.count() > 0 {
            self.0 - Self::ONE
        } else {
            0
        })
    }

    /// The same array with `some` buffers fewer, if there are so many.
    #[inline]
    #[must_use]
    pub fn less(self, some: u32) -> Self {
        Self::new(self.id(), self.count().saturating_sub(some))
    }
}

impl fmt::Debug for Batch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} left in array {}", self.count(), self.id())
    }
}

/// A word that holds a batch: `{tag: 32, shut: 1, batch: 31}`. The head of a
/// depot, or the batch that a processor's cache was filled with. Tag and flag as
/// in `Head`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Pile(u64);

impl Pile {
    const SHUT: u64 = 1 << 31;
    const BATCH: u64 = Self::SHUT - 1;
    const ONE_TAG: u64 = 1 << 32;

    /// The pile whose word is `word`. All-zero memory is open and empty.
    #[inline]
    pub fn from_word(word: u64) -> Self {
        Self(word)
    }

    /// The word to store.
    #[inline]
    pub fn word(self) -> u64 {
        self.0
    }

    /// The batch; none proves that there was none when the word was read.
    #[inline]
    pub fn batch(self) -> Batch {
        Batch((self.0 & Self::BATCH) as u32)
    }

    /// How often the word has changed, modulo 2³².
    #[inline]
    pub fn tag(self) -> u32 {
        (self.0 >> 32) as u32
    }

    /// True while it takes no batches.
    #[inline]
    pub fn is_shut(self) -> bool {
        self.0 & Self::SHUT != 0
    }

    /// This word one change later, with `batch`.
    #[inline]
    #[must_use]
    pub fn with(self, batch: Batch) -> Self {
        let one = fault!(NoTag, 0, Self::ONE_TAG);
        Self((self.0 & !Self::BATCH).wrapping_add(one) | u64::from(batch.raw()))
    }

    /// This word one change later, with the same batch, shut or not.
    #[must_use]
    pub fn with_shut(self, shut: bool) -> Self {
        let flag = if shut { Self::SHUT } else { 0 };
        Self(self.with(self.batch()).0 & !Self::SHUT | flag)
    }
}

impl fmt::Debug for Pile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pile")
            .field("tag", &self.tag())
            .field("shut", &self.is_shut())
            .field("batch", &self.batch())
            .finish()
    }
}

/// The head of the list of spare arrays: `{tag: 32, id: 32}`, tag as in `Head`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stack(u64);

impl Stack {
    /// The head whose word is `word`. All-zero memory is an empty list.
    #[inline]
    pub fn from_word(word: u64) -> Self {
        Self(word)
    }

    /// The word to store.
    #[inline]
    pub fn word(self) -> u64 {
        self.0
    }

    /// The array on top, 0 if there is none.
    #[inline]
    pub fn top(self) -> u32 {
        self.0 as u32
    }

    /// This head one change later, with `id` on top.
    #[inline]
    #[must_use]
    pub fn with_top(self, id: u32) -> Self {
        let one = fault!(NoTag, 0, 1 << 32);
        Self((self.0 & !u64::from(u32::MAX)).wrapping_add(one) | u64::from(id))
    }
}
