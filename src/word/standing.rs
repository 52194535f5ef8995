//! Where a waiter stands.
//!
//! Owns: the layout of its word. Uses: `index`. Used by: `wait`.

use super::Index;

/// What the word of a place in the line says. Three bits tell which; the rest is
/// {ticket: 52, class: 8, task: 1} or {index: 32, class: 8}.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Standing {
    /// Nobody stands there.
    Vacant,
    /// Somebody waits, and nobody has woken him: a thread, or a task that is polled.
    Waiting {
        /// Smaller came earlier; no two are the same.
        ticket: u64,
        /// Whether it is a task.
        task: bool,
    },
    /// Somebody waits and has been woken, because of a free buffer of a class.
    Called {
        /// As above.
        ticket: u64,
        /// As above.
        task: bool,
        /// The number of that class.
        class: u8,
    },
    /// Who waited has this buffer.
    Given {
        /// The number of the buffer's class.
        class: u8,
        /// The buffer.
        index: Index,
    },
    /// Who waited is to give up.
    Aborted,
}

impl Standing {
    const WAITING: u64 = 1;
    const GIVEN: u64 = 2;
    const ABORTED: u64 = 3;
    const CALLED: u64 = 4;
    const KIND: u64 = 7;
    const TASK: u64 = 8;
    const CLASS: u32 = 4;
    const TICKET: u32 = 12;

    /// The largest ticket there can be.
    pub const MAX_TICKET: u64 = u64::MAX >> Self::TICKET;

    /// What `word` says. All-zero memory is a vacant place.
    pub fn from_word(word: u64) -> Self {
        let (ticket, task) = (word >> Self::TICKET, word & Self::TASK != 0);
        let class = (word >> Self::CLASS) as u8;
        match word & Self::KIND {
            Self::WAITING => Self::Waiting { ticket, task },
            Self::CALLED => Self::Called {
                ticket,
                task,
                class,
            },
            Self::GIVEN => Index::from_raw((word >> 32) as u32)
                .map_or(Self::Vacant, |index| Self::Given { class, index }),
            Self::ABORTED => Self::Aborted,
            _ => Self::Vacant,
        }
    }

    /// Whether somebody waits who has not been called.
    pub fn sleeps(self) -> bool {
        matches!(self, Self::Waiting { .. })
    }

    /// The word to store.
    pub fn word(self) -> u64 {
        let of = |ticket, task| (ticket << Self::TICKET) | (u64::from(task) * Self::TASK);
        match self {
            Self::Vacant => 0,
            Self::Waiting { ticket, task } => of(ticket, task) | Self::WAITING,
            Self::Called {
                ticket,
                task,
                class,
            } => of(ticket, task) | u64::from(class) << Self::CLASS | Self::CALLED,
            Self::Given { class, index } => {
                u64::from(index.raw()) << 32 | u64::from(class) << Self::CLASS | Self::GIVEN
            }
            Self::Aborted => Self::ABORTED,
        }
    }
}
