//! What can go wrong between processes.
//!
//! Owns: the error. Uses: nothing. Used by: callers, the other files of `share`.

use super::handle::{Handle, Handle64};
use crate::error::{OsError, RangeError, into_io};
use std::fmt;
use std::io::{self, ErrorKind};

/// Why something could not be shared, or a handle was refused. Nothing has changed then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ShareError {
    /// The pool was not built to be shared.
    NotShared,
    /// The set has no buffers: it is not configured yet.
    NotConfigured,
    /// What has the name is a pool, and no set.
    NoSet,
    /// The set was aborted.
    Aborted,
    /// The set, or the pool, was closed.
    Closed,
    /// The server was killed, or ended without closing what it had published.
    ServerDied,
    /// The set, or the pool, is that of the process of which this one is a child.
    Forked,
    /// Somebody has published something by that name.
    NameTaken,
    /// Nobody has published anything by that name.
    NotPublished,
    /// The client has opened nothing.
    NotOpen,
    /// The client has opened something already.
    AlreadyOpen,
    /// The server says that this process may not.
    Refused,
    /// The server hung up: too many clients asked at once, or it ended.
    HungUp,
    /// The server did not answer in time.
    TimedOut {
        /// How long it had, in milliseconds.
        limit: u64,
    },
    /// A segment, or a name, is another pool's than the segments that are there.
    OtherPool {
        /// Whose it is; 0 for a set that has no pool (any more).
        given: u64,
        /// Whose it must be.
        needed: u64,
    },
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
    /// As `BadHandle`.
    BadHandle64 {
        /// The handle.
        handle: Handle64,
    },
    /// A copy would go beyond the buffer's end. Nothing was copied.
    Range(RangeError),
    /// The pool is shared for reading only.
    ReadOnly,
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
    /// There are buffers with the same slots already, of this segment or of a later one.
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
    /// The size of the memory behind a descriptor is not sealed, or, where it is only to be
    /// read, its writing: whoever has it could take it from under this process.
    NotSealed,
    /// A segment came with another number of descriptors than three.
    Descriptors {
        /// How many there were.
        given: usize,
    },
    /// A server has more segments than a client can map.
    TooManySegments {
        /// How many it can.
        limit: usize,
    },
    /// A name is empty.
    NoName,
    /// Who is at the other end may not be.
    Peer {
        /// Its user.
        user: u32,
        /// Its group.
        group: u32,
    },
    /// Who is at the other end would be allowed, but by a user or a group that stands for all
    /// those which this user namespace does not have: it may be anybody.
    Unmapped {
        /// Its user, as it appears here.
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
            Self::NotConfigured => write!(f, "the set has no buffers: it is not configured yet"),
            Self::NoSet => write!(f, "what has the name is a pool, and no set"),
            Self::Aborted => write!(f, "the set was aborted"),
            Self::Closed => write!(f, "the set, or the pool, was closed"),
            Self::ServerDied => write!(f, "the server ended without closing what it published"),
            Self::Forked => write!(
                f,
                "not in this child of a fork: the buffers are its parent's"
            ),
            Self::NameTaken => write!(f, "somebody has published something by that name"),
            Self::NotPublished => write!(f, "nobody has published anything by that name"),
            Self::NotOpen => write!(f, "the client has opened nothing"),
            Self::AlreadyOpen => write!(f, "the client has opened something already"),
            Self::Refused => write!(f, "the server says that this process may not"),
            Self::HungUp => write!(f, "the server hung up"),
            Self::TimedOut { limit } => {
                write!(f, "the server did not answer within {limit} ms")
            }
            Self::OtherPool { given: 0, needed } => write!(
                f,
                "the name is no longer that of pool {needed:#018x}, whose segments are here"
            ),
            Self::OtherPool { given, needed } => write!(
                f,
                "a segment of pool {given:#018x}: there are those of {needed:#018x} already"
            ),
            Self::NoBuffer { address } => {
                write!(f, "no buffer that is out starts at {address:#x}")
            }
            Self::BadHandle { handle } => {
                write!(f, "handle {handle} names no buffer that is out")
            }
            Self::BadHandle64 { handle } => {
                write!(f, "handle {handle} names no buffer that is out")
            }
            Self::Range(range) => write!(f, "{range}"),
            Self::ReadOnly => write!(f, "the pool is shared for reading only"),
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
                "{count} slots from {first} on: these or later ones are there already"
            ),
            Self::Size { given, needed } => write!(
                f,
                "a descriptor of {given} B of memory: the layout says {needed} B"
            ),
            Self::NotSealed => write!(f, "a descriptor of memory that is not sealed"),
            Self::Descriptors { given } => {
                write!(f, "a segment with {given} descriptors: it must have 3")
            }
            Self::TooManySegments { limit } => {
                write!(f, "a server with more segments than {limit}")
            }
            Self::NoName => write!(f, "the name is empty"),
            Self::Peer { user, group } => {
                write!(
                    f,
                    "user {user} of group {group} may not be at the other end"
                )
            }
            Self::Unmapped { user, group } => write!(
                f,
                "user {user} of group {group} may be anybody: this user namespace does not \
                 have all users"
            ),
            Self::System(reason) => write!(f, "{reason}"),
        }
    }
}

impl std::error::Error for ShareError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Range(error) => Some(error),
            Self::System(reason) => Some(reason),
            _ => None,
        }
    }
}

impl ShareError {
    pub(crate) fn io_kind(&self) -> ErrorKind {
        match self {
            Self::NotShared | Self::Forked => ErrorKind::Unsupported,
            Self::NotConfigured => ErrorKind::ResourceBusy,
            Self::NotPublished => ErrorKind::NotFound,
            Self::NameTaken => ErrorKind::AddrInUse,
            Self::NotOpen | Self::Closed => ErrorKind::NotConnected,
            Self::AlreadyOpen => ErrorKind::AlreadyExists,
            Self::Aborted => ErrorKind::ConnectionAborted,
            Self::ServerDied | Self::HungUp => ErrorKind::ConnectionReset,
            Self::TimedOut { .. } => ErrorKind::TimedOut,
            Self::Refused | Self::ReadOnly | Self::Peer { .. } | Self::Unmapped { .. } => {
                ErrorKind::PermissionDenied
            }
            Self::TooManySegments { .. } => ErrorKind::QuotaExceeded,
            Self::NoSet
            | Self::NoName
            | Self::NoBuffer { .. }
            | Self::BadHandle { .. }
            | Self::BadHandle64 { .. }
            | Self::Range(_) => ErrorKind::InvalidInput,
            Self::OtherPool { .. }
            | Self::Truncated { .. }
            | Self::Version { .. }
            | Self::Forged { .. }
            | Self::Slots { .. }
            | Self::Size { .. }
            | Self::NotSealed
            | Self::Descriptors { .. } => ErrorKind::InvalidData,
            Self::System(reason) => reason.io_kind(),
        }
    }
}

into_io!(ShareError);
