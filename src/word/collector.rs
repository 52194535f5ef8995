//! Who collects several buffers.
//!
//! Owns: the layout of the word. Uses: `standing`, for what a ticket is. Used by: `wait`.

use super::Standing;
use core::fmt;

/// Somebody who stands in line and collects: `{forks: 8, ticket: 39, place: 16, some: 1}`,
/// the place, and so many bits of the ticket that two waits at one place do not have the
/// same. Zero is nobody.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Collector(u64);

impl Collector {
    const PLACE: u32 = 1;
    const TICKET: u32 = 17;
    const FORKS: u32 = 56;
    const TICKET_MASK: u64 = (1 << (Self::FORKS - Self::TICKET)) - 1;
    /// Where a ticket says how many forks its process comes from.
    const TICKET_FORKS: u32 = Standing::MAX_TICKET.count_ones() - 8;

    /// The wait of `ticket` at `place`.
    pub fn new(place: u32, ticket: u64) -> Self {
        debug_assert!(place < 1 << 16 && ticket <= Standing::MAX_TICKET);
        Self(
            1 | u64::from(place) << Self::PLACE
                | (ticket & Self::TICKET_MASK) << Self::TICKET
                | ticket >> Self::TICKET_FORKS << Self::FORKS,
        )
    }

    /// Who `word` names; `None`: nobody.
    #[inline]
    pub fn from_word(word: u64) -> Option<Self> {
        (word != 0).then_some(Self(word))
    }

    /// The word to store.
    #[inline]
    pub fn word(self) -> u64 {
        self.0
    }

    /// Where he stands.
    pub fn place(self) -> u32 {
        u32::from((self.0 >> Self::PLACE) as u16)
    }

    /// Whether his wait is that of `ticket`.
    pub fn is_of(self, ticket: u64) -> bool {
        Self::new(self.place(), ticket) == self
    }

    /// Whether he belongs to a process whose tickets are like `ticket`, and not to one that
    /// it is a child of.
    pub fn is_kin_of(self, ticket: u64) -> bool {
        self.0 >> Self::FORKS == ticket >> Self::TICKET_FORKS
    }
}

impl fmt::Debug for Collector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Collector")
            .field("place", &self.place())
            .field("ticket", &(self.0 >> Self::TICKET & Self::TICKET_MASK))
            .field("forks", &(self.0 >> Self::FORKS))
            .finish()
    }
}
