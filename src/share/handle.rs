//! A buffer's name between processes.
//!
//! Owns: its layout. Uses: `record`. Used by: `pool`, the client.

use crate::record::State;
use crate::sync::{Ordering, fault};
use std::fmt;

/// The slot of a pool's first buffer: no handle is 0.
pub(crate) const FIRST_SLOT: u32 = 1;

/// A buffer that is out, by a number: `{generation: 12, slot: 20}`. Never 0.
///
/// It names the buffer until that is freed. A stale one is refused, unless it is kept
/// while its buffer is allocated and freed 4096 times, or a multiple of that.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Handle(u32);

impl Handle {
    const SLOT_BITS: u32 = 20;
    /// Slots are below this.
    pub(crate) const SLOTS: u32 = 1 << Self::SLOT_BITS;

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

    pub(super) fn slot(self) -> u32 {
        self.0 & (Self::SLOTS - 1)
    }

    /// The handle of the buffer in `slot`, which has `state`. `None` if it is not out.
    #[doc(hidden)]
    pub fn of(slot: u32, state: &State) -> Option<Self> {
        // Acquire: see `State`. The generation first: if the buffer goes to somebody else
        // in between, this is a handle that is stale already, and not one that somebody
        // will have.
        let (generation, size) = fault!(
            PairReversed,
            {
                let size = state.bytes();
                (state.generation.load(Ordering::Acquire), size)
            },
            {
                let generation = state.generation.load(Ordering::Acquire);
                (generation, state.bytes())
            }
        );
        (size != 0).then_some(Self(generation << Self::SLOT_BITS | slot))
    }

    /// How many bytes its buffer is out with, which has `state`. `None` if the handle is
    /// stale.
    pub fn size(self, state: &State) -> Option<u32> {
        // Acquire: see `State`. The size first: if it is a later owner's, so is the
        // generation.
        let (size, generation) = fault!(
            PairReversed,
            {
                let generation = state.generation.load(Ordering::Acquire);
                (state.bytes(), generation)
            },
            {
                let size = state.bytes();
                (size, state.generation.load(Ordering::Acquire))
            }
        );
        let same = generation << Self::SLOT_BITS == self.0 & !(Self::SLOTS - 1);
        (same && size != 0).then_some(size)
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
