//! Why there is no ring, and why a ring does not take an operation.
//!
//! Owns: the errors of `uring`. Uses: `error`. Used by: `ring`, `service`, callers.

use crate::buffer::{Buffer, Memory, Plain};
use crate::error::{OsError, RangeError};
use std::fmt;
use std::io;

/// Why there is no ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RingError {
    /// A ring of no operations, or of more than the kernel has room for.
    Depth {
        /// How many were asked for.
        depth: u32,
        /// How many there can be at once.
        limit: u32,
    },
    /// This process has as many rings as can be kept from its children.
    TooManyRings {
        /// How many that is.
        limit: usize,
    },
    /// The kernel refuses: `ENOSYS` where it has no io_uring, or one without these operations
    /// (before Linux 5.6), `EPERM` where it is not allowed (`kernel.io_uring_disabled`, a filter
    /// of system calls, as in many containers).
    Os(OsError),
}

impl fmt::Display for RingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Depth { depth, limit } => {
                write!(f, "a ring of {depth} operations: there can be 1 to {limit}")
            }
            Self::TooManyRings { limit } => {
                write!(
                    f,
                    "this process has {limit} rings, which is as many as it may"
                )
            }
            Self::Os(error) => write!(f, "{error}"),
        }
    }
}

impl std::error::Error for RingError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Os(error) => Some(error),
            _ => None,
        }
    }
}

impl From<RingError> for io::Error {
    fn from(error: RingError) -> Self {
        let kind = match error {
            RingError::Depth { .. } => io::ErrorKind::InvalidInput,
            RingError::TooManyRings { .. } => io::ErrorKind::QuotaExceeded,
            RingError::Os(OsError { number, .. }) => io::Error::from_raw_os_error(number).kind(),
        };
        Self::new(kind, error)
    }
}

/// Why an operation is not begun. Nothing was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum WhyRejected {
    /// The ring has as many operations as it can: take a completion first.
    Full {
        /// How many that is.
        depth: u32,
    },
    /// The bytes are not all in the buffer.
    Range(RangeError),
    /// A file has no byte there.
    Offset {
        /// What was asked for.
        offset: u64,
        /// The largest there is.
        limit: u64,
    },
    /// This process is a child of the one that the ring belongs to.
    Forked,
    /// The service has ended.
    Ended,
}

impl fmt::Display for WhyRejected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full { depth } => write!(f, "the ring has {depth} operations, and no room"),
            Self::Range(error) => write!(f, "{error}"),
            Self::Offset { offset, limit } => {
                write!(
                    f,
                    "byte {offset} of a file: the last there can be is {limit}"
                )
            }
            Self::Forked => write!(f, "the ring belongs to a process that this is a child of"),
            Self::Ended => write!(f, "the service has ended"),
        }
    }
}

impl std::error::Error for WhyRejected {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Range(error) => Some(error),
            _ => None,
        }
    }
}

impl From<WhyRejected> for io::Error {
    fn from(why: WhyRejected) -> Self {
        let kind = match why {
            WhyRejected::Full { .. } => io::ErrorKind::WouldBlock,
            WhyRejected::Range(_) | WhyRejected::Offset { .. } => io::ErrorKind::InvalidInput,
            WhyRejected::Forked => io::ErrorKind::Unsupported,
            WhyRejected::Ended => io::ErrorKind::BrokenPipe,
        };
        Self::new(kind, why)
    }
}

/// An operation that a ring did not take: why, and all that was to be its.
#[non_exhaustive]
pub struct Rejected<F, M: Memory = Plain> {
    /// Why.
    pub why: WhyRejected,
    /// The file.
    pub file: F,
    /// The buffer, as it was.
    pub buffer: Buffer<M>,
    /// The caller's name for the operation.
    pub token: u64,
}

impl<F, M: Memory> fmt::Debug for Rejected<F, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rejected")
            .field("why", &self.why)
            .field("buffer", &self.buffer)
            .field("token", &self.token)
            .finish_non_exhaustive()
    }
}

impl<F, M: Memory> fmt::Display for Rejected<F, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.why.fmt(f)
    }
}

impl<F, M: Memory> std::error::Error for Rejected<F, M> {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.why)
    }
}
