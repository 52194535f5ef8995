//! Why a stream was not made.
//!
//! Owns: the error. Uses: `error`. Used by: `stream`, callers.

use crate::error::{AllocError, Bytes, into_io};
use crate::lists::MAX_NAME;
use std::fmt;
use std::io::ErrorKind;

/// Why a stream was not made: [`StreamBuilder::build`](super::StreamBuilder::build).
/// Nothing was taken or changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum StreamError {
    /// The name is empty.
    NoName,
    /// The name is longer than a name can be.
    NameTooLong {
        /// Its length in bytes.
        bytes: usize,
        /// The longest, in bytes.
        limit: usize,
    },
    /// It was given neither a minimum nor a maximum of any class.
    NoShare,
    /// The pool has no class for one of its shares: the reason.
    Class(AllocError),
    /// Two minima, or two maxima, of one class.
    Twice {
        /// Size of the class in bytes.
        size: usize,
        /// Alignment of the class in bytes.
        alignment: usize,
    },
    /// It may have no buffer of a class: the maximum is 0, or fewer bytes than one buffer
    /// has.
    ZeroMaximum {
        /// Size of the class in bytes.
        size: usize,
        /// Alignment of the class in bytes.
        alignment: usize,
    },
    /// More buffers are guaranteed than it may have.
    MinimumAboveMaximum {
        /// Size of the class in bytes.
        size: usize,
        /// Buffers of the class that are guaranteed.
        minimum: usize,
        /// Buffers that it may have.
        maximum: usize,
    },
    /// The minima of all streams are more than there is.
    Overcommitted {
        /// Size of the class in bytes.
        size: usize,
        /// Buffers of the class that were asked for.
        minimum: usize,
        /// Buffers that are guaranteed to other streams.
        promised: usize,
        /// Buffers of the class.
        capacity: usize,
    },
    /// The minimum could be kept, but somebody has too many of the buffers just now.
    InUse {
        /// Size of the class in bytes.
        size: usize,
        /// Buffers of the class that were asked for.
        minimum: usize,
        /// Buffers that are free, or were a moment ago.
        free: usize,
    },
    /// There are too many streams.
    TooManyShares {
        /// How many shares of classes all streams of a pool can have: 4096, or fewer if the
        /// system has no memory for more.
        limit: usize,
    },
}

impl fmt::Display for StreamError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::NoName => write!(f, "a stream without a name: it has 1 to {MAX_NAME} bytes"),
            Self::NameTooLong { bytes, limit } => {
                write!(
                    f,
                    "a stream's name of {bytes} bytes: the longest has {limit}"
                )
            }
            Self::NoShare => write!(f, "a stream with neither a minimum nor a maximum"),
            Self::Class(error) => write!(f, "a stream's share: {error}"),
            Self::Twice { size, alignment } => write!(
                f,
                "two minima, or two maxima, of class {}/{alignment}",
                Bytes::exact(size)
            ),
            Self::ZeroMaximum { size, alignment } => write!(
                f,
                "a maximum of 0 buffers of class {}/{alignment}: the fewest is 1",
                Bytes::exact(size)
            ),
            Self::MinimumAboveMaximum {
                size,
                minimum,
                maximum,
            } => write!(
                f,
                "class {}: a minimum of {minimum} buffers, and a maximum of {maximum}",
                Bytes::exact(size)
            ),
            Self::Overcommitted {
                size,
                minimum,
                promised,
                capacity,
            } => write!(
                f,
                "class {}: a minimum of {minimum} buffers: {promised} of {capacity} are \
                 guaranteed to other streams",
                Bytes::exact(size)
            ),
            Self::InUse {
                size,
                minimum,
                free,
            } => write!(
                f,
                "class {}: a minimum of {minimum} buffers: {free} are free, the others in use",
                Bytes::exact(size)
            ),
            Self::TooManyShares { limit } => {
                write!(f, "the streams of a pool have {limit} shares at most")
            }
        }
    }
}

impl std::error::Error for StreamError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Class(error) => Some(error),
            _ => None,
        }
    }
}

impl StreamError {
    fn io_kind(&self) -> ErrorKind {
        match self {
            Self::NoName
            | Self::NameTooLong { .. }
            | Self::NoShare
            | Self::Twice { .. }
            | Self::ZeroMaximum { .. }
            | Self::MinimumAboveMaximum { .. } => ErrorKind::InvalidInput,
            Self::Class(error) => error.io_kind(),
            Self::Overcommitted { .. } | Self::TooManyShares { .. } => ErrorKind::QuotaExceeded,
            Self::InUse { .. } => ErrorKind::ResourceBusy,
        }
    }
}

into_io!(StreamError);
