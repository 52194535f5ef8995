//! The packed words of the free lists, as types.
//!
//! Owns: the bit layouts of list heads, of batches, of the announcement of a
//! batch in hand, and of a raw allocation's state. Uses: nothing. Used by:
//! `record`, `batch`, `depot`, `cache`, `lists`, `pool`.

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

    /// This head one change later, empty and closed.
    #[inline]
    #[must_use]
    pub fn closed(self) -> Self {
        Self(self.with_top(None).0 | Self::CLOSED)
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
}

impl fmt::Debug for Batch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} left in array {}", self.count(), self.id())
    }
}

/// A word that holds a batch: `{tag: 32, closed: 1, batch: 31}`. The head of a
/// depot, or the batch that a processor's cache was filled with. Tag and flag as
/// in `Head`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Pile(u64);

impl Pile {
    const CLOSED: u64 = 1 << 31;
    const BATCH: u64 = Self::CLOSED - 1;
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

    /// True once it takes no more batches.
    #[inline]
    pub fn is_closed(self) -> bool {
        self.0 & Self::CLOSED != 0
    }

    /// This word one change later, with `batch`.
    #[inline]
    #[must_use]
    pub fn with(self, batch: Batch) -> Self {
        let one = fault!(NoTag, 0, Self::ONE_TAG);
        Self((self.0 & !Self::BATCH).wrapping_add(one) | u64::from(batch.raw()))
    }

    /// This word one change later, empty and closed.
    #[inline]
    #[must_use]
    pub fn closed(self) -> Self {
        Self(self.with(Batch::NONE).0 | Self::CLOSED)
    }
}

impl fmt::Debug for Pile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pile")
            .field("tag", &self.tag())
            .field("closed", &self.is_closed())
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
            prop_assert!(head.closed().is_closed());
            prop_assert_eq!(head.closed().top(), None);
            prop_assert_eq!(head.closed().tag(), next_tag);
        }

        #[test]
        fn a_batch_gives_back_its_array_and_count(id in 0..=Batch::MAX_ID, count in 0u32..31) {
            let batch = Batch::new(id, count);
            prop_assert_eq!((batch.id(), batch.count()), (id, count));
            prop_assert_eq!(Batch::from_raw(batch.raw()), batch);
            prop_assert_eq!(batch.less_one().count(), count.saturating_sub(1));
            prop_assert_eq!(batch.is_none(), count == 0);
        }

        #[test]
        fn every_change_of_a_pile_is_a_new_tag_and_keeps_the_flag(
            word: u64, id in 0..=Batch::MAX_ID, count in 0u32..31,
        ) {
            let (pile, batch) = (Pile::from_word(word), Batch::new(id, count));
            let next_tag = pile.tag().wrapping_add(1);
            prop_assert_eq!(pile.with(batch).tag(), next_tag);
            prop_assert_eq!(pile.with(batch).batch(), batch);
            prop_assert_eq!(pile.with(batch).is_closed(), pile.is_closed());
            prop_assert!(pile.closed().is_closed());
            prop_assert!(pile.closed().batch().is_none());
            prop_assert_eq!(pile.closed().tag(), next_tag);
        }

        #[test]
        fn every_change_of_a_stack_is_a_new_tag(word: u64, id: u32) {
            let stack = Stack::from_word(word);
            prop_assert_eq!(stack.with_top(id).top(), id);
            prop_assert_eq!(stack.with_top(id).word() >> 32, (word >> 32).wrapping_add(1) & 0xffff_ffff);
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
