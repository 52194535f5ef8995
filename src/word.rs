//! The packed words of the free lists, as types.
//!
//! Owns: the bit layouts of a list head, of the announcement of a batch in
//! hand, and of a raw allocation's state. Uses: nothing. Used by: `record`,
//! `depot`, `cache`, `pool`.

use core::fmt;
use core::num::NonZeroU32;

use crate::sync::fault;

/// The number of a buffer: `{block: 20, position: 12}`. The block is the number
/// of the 2 MiB granule, counted from 1, at which the buffer's chunk begins;
/// see `class::geometry`. Zero is no buffer.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
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

/// The head of a free list: `{tag: 31, closed: 1, index: 32}`.
///
/// The tag grows by one with every change of the word, whoever makes it and
/// whatever it does, so a compare-and-swap that succeeds proves that the list
/// did not change since its expected value was read (unless the thread slept
/// through exactly a multiple of 2³¹ changes). `closed` diverts every push: the
/// pool is being torn down.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Head(u64);

impl Head {
    const CLOSED: u64 = 1 << 32;
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

    /// True once the list takes no more buffers.
    #[inline]
    pub fn is_closed(self) -> bool {
        self.0 & Self::CLOSED != 0
    }

    /// This head one change later, with `top` on top.
    #[inline]
    #[must_use]
    pub fn with_top(self, top: Option<Index>) -> Self {
        let one = fault!(NoTag, 0, Self::ONE_TAG);
        Self((self.0 & !u64::from(u32::MAX)).wrapping_add(one) | u64::from(link(top)))
    }

    /// This head one change later, emptied by a grab of the whole list.
    #[inline]
    #[must_use]
    pub fn grabbed(self) -> Self {
        let one = fault!(NoTagOnGrab, 0, Self::ONE_TAG);
        Self((self.0 & !u64::from(u32::MAX)).wrapping_add(one))
    }

    /// This head one change later, empty and closed.
    #[inline]
    #[must_use]
    pub fn closed(self) -> Self {
        Self(self.grabbed().0 | Self::CLOSED)
    }
}

impl fmt::Debug for Head {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Head")
            .field("tag", &self.tag())
            .field("closed", &self.is_closed())
            .field("top", &self.top())
            .finish()
    }
}

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

#[cfg(all(test, not(hugepool_loom)))]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn an_index_gives_back_its_block_and_position(
            block in 1..=Index::MAX_BLOCK,
            position in 0..Index::PER_CHUNK,
        ) {
            let index = Index::new(block, position).unwrap();
            prop_assert_eq!((index.block(), index.position()), (block, position));
            prop_assert_eq!(Index::from_raw(index.raw()), Some(index));
        }

        #[test]
        fn every_change_of_a_head_is_a_new_tag_and_keeps_the_flag(word: u64, top: u32) {
            let head = Head::from_word(word);
            let next_tag = head.tag().wrapping_add(1) & (u32::MAX >> 1);
            let topped = head.with_top(Index::from_raw(top));
            prop_assert_eq!(topped.tag(), next_tag);
            prop_assert_eq!(topped.top(), Index::from_raw(top));
            prop_assert_eq!(topped.is_closed(), head.is_closed());
            prop_assert_eq!(head.grabbed().tag(), next_tag);
            prop_assert_eq!(head.grabbed().top(), None);
            prop_assert!(head.closed().is_closed());
            prop_assert_eq!(head.closed().top(), None);
            prop_assert_eq!(head.closed().tag(), next_tag);
        }

        #[test]
        fn a_raw_state_round_trips(word: u64, size in 1u32..) {
            let state = RawState::from_word(word);
            let taken = state.taken(size);
            prop_assert_eq!(taken.size(), size);
            prop_assert_eq!(taken.generation(), state.generation().wrapping_add(1));
            prop_assert_eq!(taken.returned().size(), 0);
            prop_assert_eq!(taken.returned().generation(), taken.generation());
        }

        #[test]
        fn an_announcement_counts_carriers_and_versions(begun in 0u64..1000, ended in 0u64..1000) {
            let ended = ended.min(begun);
            let moving = Moving::from_word(begun * Moving::BEGIN - ended * Moving::END);
            prop_assert_eq!(u64::from(moving.version()), begun);
            prop_assert_eq!(u64::from(moving.carrying()), begun - ended);
        }
    }
}
