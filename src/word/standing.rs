//! Where a waiter stands.
//!
//! Owns: the layout of its word. Uses: `index`. Used by: `wait`.

use super::Index;

/// What the word of a place in the line says. Two bits tell which; the rest is
/// {ticket: 61, task: 1} or {index: 32, class: 8}.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Standing {
    /// Nobody stands there.
    Vacant,
    /// Somebody waits: a thread, or a task that is polled.
    Waiting {
        /// Smaller came earlier; no two are the same.
        ticket: u64,
        /// Whether it is a task.
        task: bool,
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

    /// What `word` says. All-zero memory is a vacant place.
    pub fn from_word(word: u64) -> Self {
        match word & 3 {
            Self::WAITING => Self::Waiting {
                ticket: word >> 3,
                task: word & 4 != 0,
            },
            Self::GIVEN => {
                Index::from_raw((word >> 32) as u32).map_or(Self::Vacant, |index| Self::Given {
                    class: (word >> 8) as u8,
                    index,
                })
            }
            Self::ABORTED => Self::Aborted,
            _ => Self::Vacant,
        }
    }

    /// The word to store.
    pub fn word(self) -> u64 {
        match self {
            Self::Vacant => 0,
            Self::Waiting { ticket, task } => ticket << 3 | u64::from(task) << 2 | Self::WAITING,
            Self::Given { class, index } => {
                u64::from(index.raw()) << 32 | u64::from(class) << 8 | Self::GIVEN
            }
            Self::Aborted => Self::ABORTED,
        }
    }
}
