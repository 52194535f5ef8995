//! What can go wrong between processes.
//!
//! Owns: the error. Uses: nothing. Used by: callers, the other files of `share`.

use super::handle::Handle;
use crate::error::OsError;
use std::fmt;
use std::io;

/// Why something could not be shared, or a handle was refused. Nothing has changed then.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ShareError {
    /// The pool was not built to be shared.
    NotShared,
    /// No buffer that is out starts at an address.
    NoBuffer {
        /// The address.
        address: usize,
    },
    /// A handle names no buffer that is out: it is stale, or forged.
    BadHandle {
        /// The handle.
        handle: Handle,
    },
    /// A layout has the wrong number of bytes.
    Truncated {
        /// How many it has.
        given: usize,
        /// How many it must have.
        needed: usize,
    },
    /// A layout is none, or of another version.
    Version {
        /// What it begins with.
        given: u64,
        /// What it must begin with.
        needed: u64,
    },
    /// A layout contradicts itself.
    Forged {
        /// What is wrong with it.
        what: &'static str,
    },
    /// There are other buffers with the same slots already.
    Slots {
        /// The first slot.
        first: u32,
        /// How many slots.
        count: u32,
    },
    /// The memory behind a descriptor is of another size than the layout says.
    Size {
        /// Bytes behind the descriptor.
        given: usize,
        /// Bytes that the layout says.
        needed: usize,
    },
    /// The size of the memory behind a descriptor is not sealed: whoever has it could
    /// take it from under this process.
    NotSealed,
    /// A segment came with another number of descriptors than two.
    Descriptors {
        /// How many there were.
        given: usize,
    },
    /// A name is empty or too long.
    Name {
        /// How many bytes it has.
        given: usize,
        /// How many it can have.
        limit: usize,
    },
    /// Who is at the other end may not be.
    Peer {
        /// Its user.
        user: u32,
        /// Its group.
        group: u32,
    },
    /// The system refused something.
    System(OsError),
}

impl ShareError {
    pub(crate) fn dup(error: io::Error) -> Self {
        Self::System(OsError::new("dup", &error))
    }

    pub(super) fn system(call: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |error| Self::System(OsError::new(call, &error))
    }
}

impl fmt::Display for ShareError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotShared => write!(f, "the pool was not built to be shared"),
            Self::NoBuffer { address } => {
                write!(f, "no buffer that is out starts at {address:#x}")
            }
            Self::BadHandle { handle } => {
                write!(f, "handle {handle} names no buffer that is out")
            }
            Self::Truncated { given, needed } => {
                write!(f, "a layout of {given} B: it must have {needed} B")
            }
            Self::Version { given, needed } => write!(
                f,
                "a layout that begins with {given:#x}: it must begin with {needed:#x}"
            ),
            Self::Forged { what } => write!(f, "a layout that contradicts itself: {what}"),
            Self::Slots { first, count } => write!(
                f,
                "{count} slots from {first} on: there are others of them already"
            ),
            Self::Size { given, needed } => write!(
                f,
                "a descriptor of {given} B of memory: the layout says {needed} B"
            ),
            Self::NotSealed => write!(f, "a descriptor of memory whose size is not sealed"),
            Self::Descriptors { given } => {
                write!(f, "a segment with {given} descriptors: it must have 2")
            }
            Self::Name { given, limit } => {
                write!(f, "a name of {given} B: it must have 1 B to {limit} B")
            }
            Self::Peer { user, group } => {
                write!(
                    f,
                    "user {user} of group {group} may not be at the other end"
                )
            }
            Self::System(reason) => write!(f, "{reason}"),
        }
    }
}

impl std::error::Error for ShareError {}
