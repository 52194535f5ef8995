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
    /// Somebody waits and has been woken, because of a free buffer of a class, or of his
    /// stream.
    Called {
        /// As above.
        ticket: u64,
        /// As above.
        task: bool,
        /// The number of that class, or `STREAM`.
        class: u8,
    },
    /// Somebody waits and has been woken: his stream's claim to a buffer of the pool is
    /// his.
    Entitled {
        /// As above.
        ticket: u64,
        /// As above.
        task: bool,
    },
    /// Who waited has this buffer.
    Given {
        /// The number of the buffer's class.
        class: u8,
        /// The buffer.
        index: Index,
    },
    /// Who waited has this buffer, one of his stream's own.
    Own {
        /// As above.
        class: u8,
        /// As above.
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
    const ENTITLED: u64 = 5;
    const OWN: u64 = 6;
    const KIND: u64 = 7;
    const TASK: u64 = 8;
    const CLASS: u32 = 4;
    const TICKET: u32 = 12;

    /// In the place of a class's number: who waits was called by his own stream.
    pub const STREAM: u8 = u8::MAX;

    /// The largest ticket there can be.
    pub const MAX_TICKET: u64 = u64::MAX >> Self::TICKET;

    /// What `word` says. All-zero memory is a vacant place.
    pub fn from_word(word: u64) -> Self {
        let (ticket, task) = (word >> Self::TICKET, word & Self::TASK != 0);
        let class = (word >> Self::CLASS) as u8;
        let index = Index::from_raw((word >> 32) as u32);
        match word & Self::KIND {
            Self::WAITING => Self::Waiting { ticket, task },
            Self::CALLED => Self::Called {
                ticket,
                task,
                class,
            },
            Self::GIVEN => index.map_or(Self::Vacant, |index| Self::Given { class, index }),
            Self::OWN => index.map_or(Self::Vacant, |index| Self::Own { class, index }),
            Self::ENTITLED => Self::Entitled { ticket, task },
            Self::ABORTED => Self::Aborted,
            _ => Self::Vacant,
        }
    }

    /// The ticket of who waits, called or not.
    pub fn ticket(self) -> Option<u64> {
        match self {
            Self::Waiting { ticket, .. }
            | Self::Called { ticket, .. }
            | Self::Entitled { ticket, .. } => Some(ticket),
            _ => None,
        }
    }

    /// Whether somebody waits who has not been called.
    pub fn sleeps(self) -> bool {
        matches!(self, Self::Waiting { .. })
    }

    /// The word to store.
    pub fn word(self) -> u64 {
        let of = |ticket, task| (ticket << Self::TICKET) | (u64::from(task) * Self::TASK);
        let with = |class: u8, index: Index| {
            u64::from(index.raw()) << 32 | u64::from(class) << Self::CLASS
        };
        match self {
            Self::Vacant => 0,
            Self::Waiting { ticket, task } => of(ticket, task) | Self::WAITING,
            Self::Called {
                ticket,
                task,
                class,
            } => of(ticket, task) | u64::from(class) << Self::CLASS | Self::CALLED,
            Self::Entitled { ticket, task } => of(ticket, task) | Self::ENTITLED,
            Self::Given { class, index } => with(class, index) | Self::GIVEN,
            Self::Own { class, index } => with(class, index) | Self::OWN,
            Self::Aborted => Self::ABORTED,
        }
    }
}
