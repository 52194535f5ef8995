//! A buffer's name between processes.
//!
//! Owns: the layout of both kinds of handles. Uses: `record`, `word`. Used by: `pool`, the
//! client.
//!
//! ```text
//!   Handle64              generation: 44 │ slot: 20
//!   Handle, short form    generation: 31 - b │ slot: b │ 0
//!   Handle, long form     generation: 11 │ slot: 20    │ 1
//! ```
//!
//! A pool fixes b when it is built, by how many buffers it is built with, and has the
//! short form for the slots below 2^b and the long form for the others: so each slot has
//! one form. Of the generation a handle has as many bits, the low ones, as there is room
//! for.

use crate::record::State;
use crate::sync::fault;
use crate::word::Lease;
use std::fmt;

/// The slot of a pool's first buffer: no handle is 0.
pub(crate) const FIRST_SLOT: u32 = 1;

/// How a pool splits its 32-bit handles: the short form has so many bits of slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Split(u32);

impl Split {
    const FEWEST: u32 = 3;
    const MOST: u32 = Lease::SLOT_BITS;
    /// Bits of generation in the long form.
    const LONG_GENERATION: u32 = 31 - Lease::SLOT_BITS;

    /// For a pool that is built with `count` buffers.
    pub fn of(count: usize) -> Self {
        // The fewest bits that the last slot fits into.
        let bits = usize::BITS - count.leading_zeros();
        Self(bits.clamp(Self::FEWEST, Self::MOST))
    }

    /// What another process sent; `None` if it is none.
    pub fn from_bits(bits: u64) -> Option<Self> {
        let bits = u32::try_from(bits).ok()?;
        (Self::FEWEST..=Self::MOST)
            .contains(&bits)
            .then_some(Self(bits))
    }

    /// How many bits of slot the short form has.
    pub fn bits(self) -> u32 {
        self.0
    }

    fn is_short(self, slot: u32) -> bool {
        slot >> self.0 == 0
    }

    /// How many generations the handles of `slot` tell apart.
    pub fn generations(self, slot: u32) -> u64 {
        match self.is_short(slot) {
            true => 1 << (31 - self.0),
            false => 1 << Self::LONG_GENERATION,
        }
    }
}

/// A number that names a buffer that is out.
pub trait Naming: Copy + PartialEq {
    /// The number of `lease`, which is of a slot, in a pool that splits as `split` says.
    fn of(lease: Lease, split: Split) -> Self;

    /// The slot that it is of; `None` if no pool that splits so makes such a number.
    fn slot(self, split: Split) -> Option<u32>;

    /// The number of the buffer which has `state`. `None` if it is not out.
    fn made_of(state: &State, split: Split) -> Option<Self> {
        // The lease first: if the buffer goes to somebody else in between, this is a number
        // that is stale already, and not one that somebody will have.
        let (lease, size) = fault!(
            PairReversed,
            {
                let size = state.bytes();
                (state.lease(), size)
            },
            {
                let lease = state.lease();
                (lease, state.bytes())
            }
        );
        // Without a slot it was not a buffer yet when the lease was read.
        let slotted = fault!(SlotlessNamed, true, lease.slot() != 0);
        (size != 0 && slotted).then(|| Self::of(lease, split))
    }

    /// How many bytes its buffer is out with, which has `state`. `None` if the number is
    /// stale, or another buffer's.
    fn size(self, state: &State, split: Split) -> Option<u32> {
        // The size first: if it is a later owner's, so is the lease.
        let (size, lease) = fault!(
            PairReversed,
            {
                let lease = state.lease();
                (state.bytes(), lease)
            },
            {
                let size = state.bytes();
                (size, state.lease())
            }
        );
        (size != 0 && Self::of(lease, split) == self).then_some(size)
    }
}

/// A buffer that is out, by a number of 32 bits. Never 0.
///
/// It names the buffer until that is freed, and is refused from then on, until the buffer
/// has come back as often as [`Pool::handle_reuses`](crate::Pool::handle_reuses) says: the
/// next owner of the buffer has that handle again. The fewer buffers the pool is built with
/// the more often: 2<sup>28</sup> times for up to 7, 2<sup>24</sup> for up to 127,
/// 2<sup>31 - b</sup> for up to 2<sup>b</sup> - 1. A buffer that
/// [`request`](crate::Pool::request) adds beyond those comes back 2048 times. A
/// [`Handle64`] has no such bound in practice.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Handle(u32);

impl Handle {
    /// The handle that was given as a number. Whether it names anything is found out
    /// when it is used.
    #[must_use]
    pub fn from_raw(raw: u32) -> Self {
        Self(raw)
    }

    /// The number.
    #[must_use]
    pub fn raw(self) -> u32 {
        self.0
    }
}

impl Naming for Handle {
    #[inline]
    fn of(lease: Lease, split: Split) -> Self {
        let (slot, generation) = (lease.slot(), lease.generation() as u32);
        // What has no room is shifted out.
        Self(match split.is_short(slot) {
            true => (generation << split.0 | slot) << 1,
            false => (generation << Lease::SLOT_BITS | slot) << 1 | 1,
        })
    }

    #[inline]
    fn slot(self, split: Split) -> Option<u32> {
        let is_short = self.0 & 1 == 0;
        let bits = if is_short { split.0 } else { Lease::SLOT_BITS };
        let slot = self.0 >> 1 & ((1 << bits) - 1);
        (split.is_short(slot) == is_short).then_some(slot)
    }
}

/// A buffer that is out, by a number of 64 bits: `{generation: 44, slot: 20}`. Never 0.
///
/// For programs with a channel of their own. As a [`Handle`], and refused until the buffer
/// has come back 2<sup>44</sup> times.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Handle64(u64);

impl Handle64 {
    /// The handle that was given as a number. Whether it names anything is found out
    /// when it is used.
    #[must_use]
    pub fn from_raw(raw: u64) -> Self {
        Self(raw)
    }

    /// The number.
    #[must_use]
    pub fn raw(self) -> u64 {
        self.0
    }
}

impl Naming for Handle64 {
    #[inline]
    fn of(lease: Lease, _split: Split) -> Self {
        Self(lease.word())
    }

    #[inline]
    fn slot(self, _split: Split) -> Option<u32> {
        Some(Lease::from_word(self.0).slot())
    }
}

impl fmt::Display for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#010x}", self.0)
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Handle64 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#018x}", self.0)
    }
}

impl fmt::Debug for Handle64 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(all(test, not(hugepool_loom)))]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_short_form_has_the_fewest_bits_that_the_slots_fit_into() {
        for (count, bits) in [
            (0, 3),
            (1, 3),
            (7, 3),
            (8, 4),
            (127, 7),
            (128, 8),
            ((1 << 20) - 1, 20),
            (1 << 20, 20),
            (usize::MAX, 20),
        ] {
            let split = Split::of(count);
            assert_eq!(split.bits(), bits, "{count}");
            assert_eq!(Split::from_bits(bits.into()), Some(split));
        }
        for bits in [0, 2, 21, 1 << 32 | 3] {
            assert_eq!(Split::from_bits(bits), None);
        }
    }

    fn splits() -> impl Strategy<Value = Split> {
        (3u64..=20).prop_map(|bits| Split::from_bits(bits).unwrap())
    }

    /// Slots of each form, and at the border.
    fn slots() -> impl Strategy<Value = u32> {
        prop_oneof![
            1u32..16,
            (3u32..20, 0u32..3).prop_map(|(b, more)| (1 << b) - 1 + more),
            1..Lease::SLOTS
        ]
    }

    fn generations() -> impl Strategy<Value = u64> {
        prop_oneof![
            0u64..4,
            any::<u64>(),
            (0u32..44, 0u64..3).prop_map(|(b, more)| (1 << b) - 1 + more)
        ]
        .prop_map(|generation| generation & ((1 << 44) - 1))
    }

    proptest! {
        #[test]
        fn a_handle_gives_back_its_slot_and_is_never_0(
            split in splits(), slot in slots(), generation in generations(),
        ) {
            let lease = Lease::new(slot, generation);
            let (short, long) = (Handle::of(lease, split), Handle64::of(lease, split));
            prop_assert_eq!((short.slot(split), long.slot(split)), (Some(slot), Some(slot)));
            prop_assert!(short.raw() != 0 && long.raw() != 0);
            prop_assert_eq!(Lease::from_word(long.raw()), lease);
        }

        #[test]
        fn two_leases_have_one_handle_if_slot_and_generation_are_the_same_and_not_else(
            split in splits(), slots in (slots(), slots()), generation in generations(),
            more in prop_oneof![
                any::<u64>(),
                (0u32..44, -1i64..=1).prop_map(|(b, more)| (1u64 << b).wrapping_add_signed(more)),
            ],
        ) {
            let other = generation.wrapping_add(more) & ((1 << 44) - 1);
            for slots in [slots, (slots.0, slots.0)] {
                let (one, two) = (Lease::new(slots.0, generation), Lease::new(slots.1, other));
                let generations = split.generations(slots.0);
                let same = slots.0 == slots.1 && generation % generations == other % generations;
                prop_assert_eq!(Handle::of(one, split) == Handle::of(two, split), same);
                prop_assert_eq!(Handle64::of(one, split) == Handle64::of(two, split), one == two);
            }
        }

        #[test]
        fn a_number_is_the_handle_of_one_lease_or_of_none(split in splits(), raw: u32) {
            let handle = Handle::from_raw(raw);
            let Some(slot) = handle.slot(split) else { return Ok(()) };
            let generation = match raw & 1 {
                0 => raw >> (1 + split.bits()),
                _ => raw >> 21,
            };
            prop_assert!(u64::from(generation) < split.generations(slot));
            prop_assert_eq!(Handle::of(Lease::new(slot, generation.into()), split), handle);
        }
    }

    /// What the docs of `Handle` say, and `Pool::handle_reuses`.
    #[test]
    fn a_stale_handle_names_its_buffer_again_at_the_bound_and_not_before() {
        for (count, slot, generations) in [(7, 7, 1 << 28), (100, 1, 1 << 24), (100, 128, 2048)] {
            let split = Split::of(count);
            assert_eq!(split.generations(slot), generations);
            let state = State::default();
            let begin = |generation: u64| {
                let lease = Lease::new(slot, generation).word();
                state.lease.store(lease, crate::sync::Ordering::Relaxed);
            };
            begin(5);
            state.go_out(7);
            let handle = Handle::made_of(&state, split).unwrap();
            let handle64 = Handle64::made_of(&state, split).unwrap();
            state.come_back();
            assert_eq!(handle.size(&state, split), None);
            // The last of those that it is not.
            begin(5 + generations - 1);
            state.go_out(8);
            assert_eq!(handle.size(&state, split), None);
            state.come_back();
            state.go_out(9);
            assert_eq!(handle.size(&state, split), Some(9));
            assert_eq!(Handle::made_of(&state, split), Some(handle));
            assert_eq!(handle64.size(&state, split), None);
            // It begins again as well.
            begin((1 << 44) - 1);
            state.come_back();
            assert_eq!(state.lease(), Lease::new(slot, 0));
        }
    }

    #[test]
    fn what_has_no_slot_has_no_handle() {
        let state = State::default();
        state.go_out(7);
        assert_eq!(Handle::made_of(&state, Split::of(1)), None);
        assert_eq!(Handle64::made_of(&state, Split::of(1)), None);
    }
}
