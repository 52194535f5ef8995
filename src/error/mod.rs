//! What can go wrong, with the numbers that explain it.
//!
//! Owns: the error types of the public face. Uses: `sys::errno`. Used by: every
//! module that can fail for a caller's sake. To print them needs no heap.

mod build;
mod bytes;
mod io;
mod place;

pub use build::BuildError;
pub use bytes::Bytes;
pub(crate) use io::into_io;
pub use place::WhyNotPlaced;

use crate::sys::errno;
use std::fmt;
use std::time::Duration;

/// An operating system's refusal: which call, and its error number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OsError {
    /// The system call, or the file that could not be read.
    pub call: &'static str,
    /// The error number, `errno(3)`; 0 if there was none.
    pub number: i32,
}

impl OsError {
    pub(crate) fn new(call: &'static str, error: &std::io::Error) -> Self {
        Self {
            call,
            number: error.raw_os_error().unwrap_or(0),
        }
    }
}

impl fmt::Display for OsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.call)?;
        match errno::text(self.number) {
            Some(text) => write!(f, "{text} (os error {})", self.number),
            None => write!(f, "os error {}", self.number),
        }
    }
}

impl std::error::Error for OsError {}

/// Why an allocation was refused. Nothing was taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum AllocError {
    /// Zero bytes were asked for.
    ZeroSize,
    /// An alignment is zero or no power of two.
    BadAlignment {
        /// What was asked for.
        alignment: usize,
    },
    /// No class of the pool could ever serve the request: it is too large, or
    /// its alignment too strict.
    NoClass {
        /// Bytes asked for.
        size: usize,
        /// Alignment asked for, in bytes.
        alignment: usize,
        /// The largest size at that alignment, in bytes; 0 if there is no class
        /// of that alignment.
        largest: usize,
    },
    /// More buffers at once than the request's classes have, even if all were
    /// free.
    NeverEnough {
        /// Buffers asked for.
        count: usize,
        /// Buffers there are.
        capacity: usize,
    },
    /// Every buffer that may serve the request is taken, or spoken for by those
    /// who wait.
    Exhausted {
        /// Bytes asked for.
        size: usize,
        /// Alignment asked for, in bytes.
        alignment: usize,
        /// Size in bytes of the request's own class.
        class_size: usize,
        /// Alignment in bytes of that class.
        class_alignment: usize,
        /// Buffers of that class in use shortly after the refusal.
        in_use: usize,
        /// Buffers of that class.
        capacity: usize,
        /// The largest class that the request might have climbed to, in bytes.
        climb_limit: usize,
        /// False: at one moment within the call no buffer that fits was free.
        /// True: some thread was carrying buffers from one free list to another
        /// and did not get to put them down for 5 ms; what it carried may have
        /// fitted. A caller that tries again will find it. (Or the kernel refused
        /// the `membarrier` that it takes to reach another processor's cache.)
        carried: bool,
    },
    /// No buffer that fits, or too few for a request for several, came home in time.
    TimedOut {
        /// The size asked for, in bytes.
        size: usize,
        /// The alignment asked for, in bytes.
        alignment: usize,
        /// How long the request was ready to wait.
        limit: Duration,
    },
    /// [`Pool::abort`](crate::Pool::abort) ended the wait.
    Aborted,
    /// [`CancelToken::cancel`](crate::CancelToken::cancel) ended the wait.
    Cancelled,
    /// The [`CancelToken`](crate::CancelToken) is that of another pool.
    ForeignToken,
    /// The stream has as many buffers as it may, or no claim to so many more.
    AtMaximum {
        /// Buffers asked for.
        count: usize,
        /// Buffers of the class that the stream may have at once.
        maximum: usize,
    },
    /// The stream has no share of a class that could serve the request.
    NoShare {
        /// Bytes asked for.
        size: usize,
        /// Alignment asked for, in bytes.
        alignment: usize,
        /// Size in bytes of the largest class of that alignment that it has a share of; 0
        /// if there is none.
        largest: usize,
    },
    /// There is no place left in the line.
    TooManyWaiters {
        /// How many it has: 65536, or fewer if the system has no memory for more.
        limit: usize,
    },
}

impl AllocError {
    /// True if the request was refused for lack of a free buffer, at once or
    /// after a wait, so that it may succeed later.
    #[must_use]
    pub fn is_exhausted(&self) -> bool {
        matches!(
            self,
            Self::Exhausted { .. } | Self::TimedOut { .. } | Self::AtMaximum { .. }
        )
    }
}

impl fmt::Display for AllocError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::ZeroSize => write!(f, "a buffer of size 0: the smallest is 1 B"),
            Self::BadAlignment { alignment } => {
                write!(f, "alignment {alignment} is no power of two")
            }
            Self::NoClass {
                size,
                alignment,
                largest: 0,
            } => write!(
                f,
                "{} at alignment {alignment}: the pool has no class of that alignment",
                Bytes::exact(size)
            ),
            Self::NoClass {
                size,
                alignment,
                largest,
            } => {
                let [size, largest] = Bytes::together([size, largest]);
                write!(
                    f,
                    "{size} at alignment {alignment}: the largest class of that alignment is \
                     {largest}"
                )
            }
            Self::NeverEnough { count, capacity } => write!(
                f,
                "{count} buffers at once: there are {capacity} that could serve, all told"
            ),
            Self::Exhausted {
                size,
                alignment,
                class_size,
                class_alignment,
                in_use,
                capacity,
                climb_limit,
                carried,
            } => {
                let [size, class_size, climb_limit] =
                    Bytes::together([size, class_size, climb_limit]);
                let or = if carried { " or on their way" } else { "" };
                write!(
                    f,
                    "{size} at alignment {alignment}: class {class_size}/{class_alignment}: \
                     {in_use} of {capacity} in use{or}, climb limit {climb_limit}"
                )
            }
            Self::TimedOut {
                size,
                alignment,
                limit,
            } => write!(
                f,
                "{} at alignment {alignment}: no buffer came back within {limit:?}",
                Bytes::exact(size)
            ),
            Self::AtMaximum { count, maximum } => write!(
                f,
                "{count} more for a stream that may have {maximum} of these, and has them, or \
                 too many of them"
            ),
            Self::NoShare {
                size,
                alignment,
                largest,
            } => {
                let [size, largest] = Bytes::together([size, largest]);
                write!(
                    f,
                    "{size} at alignment {alignment}: the largest class of that alignment that \
                     the stream has a share of is {largest}"
                )
            }
            Self::Aborted => write!(f, "the pool was told to end every wait"),
            Self::Cancelled => write!(f, "the wait was cancelled by its token"),
            Self::ForeignToken => write!(f, "the token is that of another pool"),
            Self::TooManyWaiters { limit } => {
                write!(f, "the line has {limit} places, and all are taken")
            }
        }
    }
}

impl std::error::Error for AllocError {}

/// Why a raw pointer was not taken back. Nothing was changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum FreeError {
    /// The address is in none of the pool's segments.
    Foreign {
        /// The address.
        address: usize,
    },
    /// The address is in a segment of the pool but is not the data start of a
    /// buffer.
    Interior {
        /// The address.
        address: usize,
        /// The data start of the buffer in whose cell it lies.
        start: usize,
    },
    /// The buffer is not out as a raw pointer: it is free already, or a
    /// [`Buffer`](crate::Buffer) owns it.
    NotAllocated {
        /// The address.
        address: usize,
    },
    /// The size is not the one that the allocation asked for.
    WrongSize {
        /// The address.
        address: usize,
        /// The size given, in bytes.
        given: usize,
        /// The size the allocation asked for, in bytes.
        allocated: usize,
    },
}

impl fmt::Display for FreeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Foreign { address } => {
                write!(f, "{address:#x} is in no segment of this pool")
            }
            Self::Interior { address, start } => write!(
                f,
                "{address:#x} is not the start of a buffer; the nearest one starts at {start:#x}"
            ),
            Self::NotAllocated { address } => write!(
                f,
                "{address:#x} is not out as a raw pointer: it is free, or a Buffer owns it"
            ),
            Self::WrongSize {
                address,
                given,
                allocated,
            } => {
                let [allocated, given] = Bytes::together([allocated, given]);
                write!(
                    f,
                    "{address:#x} was allocated with {allocated}, not {given}"
                )
            }
        }
    }
}

impl std::error::Error for FreeError {}

/// A copy into or out of a buffer, or a length for it, that would go beyond its end. Nothing
/// was copied or changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct RangeError {
    /// Where it would have begun, in bytes.
    pub offset: usize,
    /// How many bytes it would have had.
    pub length: usize,
    /// How many bytes there are.
    pub limit: usize,
}

impl fmt::Display for RangeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            offset,
            length,
            limit,
        } = *self;
        write!(f, "{length} B from byte {offset} on: there are {limit} B")
    }
}

impl std::error::Error for RangeError {}
