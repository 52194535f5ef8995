//! Codes, and what is said about them.
//!
//! Owns: why a call failed. Uses: the library's errors. Used by: every call; `thread`, which
//! keeps the last failure.

use ::pool::share::ShareError;
use ::pool::vdi::{self, Error};
use ::pool::{AllocError, BuildError, FreeError, OsError, StreamError};
use std::fmt::{self, Display};

/// The call was carried out.
pub const HP_NOERROR: u32 = 0;
/// Not an error: a wait goes on.
pub const HP_PENDING: u32 = 1;
/// A token ended the wait. (The code that Windows has for what its user cancelled.)
pub const HP_E_CANCELLED: u32 = 0x8007_04c7;
/// The set is not open in this process.
pub const HP_VD_E_NOTOPEN: u32 = 0x8077_0002;
/// Time is up.
pub const HP_VD_E_TIMEOUT: u32 = 0x8077_0003;
/// The set, or the pool, was aborted.
pub const HP_VD_E_ABORT: u32 = 0x8077_0004;
/// The caller may not.
pub const HP_VD_E_SECURITY: u32 = 0x8077_0005;
/// An argument is wrong.
pub const HP_VD_E_INVALID: u32 = 0x8077_0006;
/// There is no such instance.
pub const HP_VD_E_INSTANCE_NAME: u32 = 0x8077_0007;
/// The client's configuration asks for what is not there.
pub const HP_VD_E_NOTSUPPORTED: u32 = 0x8077_0009;
/// There is no memory, or no buffer free: asking for less, or later, may help. (Who lacks
/// rights is told HP_VD_E_SECURITY, who lacks descriptors HP_VD_E_UNEXPECTED.)
pub const HP_VD_E_MEMORY: u32 = 0x8077_000a;
/// Something failed that should not.
pub const HP_VD_E_UNEXPECTED: u32 = 0x8077_000b;
/// The set is in the wrong state for the call.
pub const HP_VD_E_PROTOCOL: u32 = 0x8077_000c;
/// It is open, or all have been opened.
pub const HP_VD_E_OPEN: u32 = 0x8077_000d;
/// It is closed.
pub const HP_VD_E_CLOSE: u32 = 0x8077_000e;
/// Too many wait; or buffers are out.
pub const HP_VD_E_BUSY: u32 = 0x8077_000f;
/// What was to be freed lies in no memory of the pool. (This and the next three, of
/// hp_pool_free and the like, are the library's own: numbers with the bit by which Microsoft
/// leaves codes to others.)
pub const HP_E_FOREIGN: u32 = 0xa077_0001;
/// It lies in the pool's memory, but no buffer starts there.
pub const HP_E_INTERIOR: u32 = 0xa077_0002;
/// It is a buffer that nobody has: it is free already, or was not taken yet.
pub const HP_E_NOT_ALLOCATED: u32 = 0xa077_0003;
/// It is a buffer that was taken for another size.
pub const HP_E_WRONG_SIZE: u32 = 0xa077_0004;

const _: () = {
    assert!(HP_NOERROR == vdi::NOERROR);
    assert!(HP_VD_E_NOTOPEN == vdi::VD_E_NOTOPEN);
    assert!(HP_VD_E_TIMEOUT == vdi::VD_E_TIMEOUT);
    assert!(HP_VD_E_ABORT == vdi::VD_E_ABORT);
    assert!(HP_VD_E_SECURITY == vdi::VD_E_SECURITY);
    assert!(HP_VD_E_INVALID == vdi::VD_E_INVALID);
    assert!(HP_VD_E_INSTANCE_NAME == vdi::VD_E_INSTANCE_NAME);
    assert!(HP_VD_E_NOTSUPPORTED == vdi::VD_E_NOTSUPPORTED);
    assert!(HP_VD_E_MEMORY == vdi::VD_E_MEMORY);
    assert!(HP_VD_E_UNEXPECTED == vdi::VD_E_UNEXPECTED);
    assert!(HP_VD_E_PROTOCOL == vdi::VD_E_PROTOCOL);
    assert!(HP_VD_E_OPEN == vdi::VD_E_OPEN);
    assert!(HP_VD_E_CLOSE == vdi::VD_E_CLOSE);
    assert!(HP_VD_E_BUSY == vdi::VD_E_BUSY);
};

/// Why a call failed: numbers, and names that are part of the library. So it is kept and
/// copied without the heap.
#[derive(Clone, Copy)]
pub enum Failure {
    /// A pointer is null or not aligned.
    Pointer(&'static str),
    /// The pool refused.
    Alloc(AllocError),
    /// The pool could not be built, or grow.
    Build(BuildError),
    /// The pool did not take a buffer back.
    Free(FreeError),
    /// The stream was not made.
    Stream(StreamError),
    /// The set refused.
    Set(Error),
    /// Something between processes failed.
    Share(ShareError),
    /// This is a child of a fork that does not have the buffers.
    Forked,
    /// A string is not UTF-8.
    Text(&'static str),
    /// A number stands for nothing.
    Number {
        name: &'static str,
        given: u32,
        /// Those below this stand for something.
        limit: u32,
    },
    /// A structure of the caller's is too small to be one.
    Small {
        name: &'static str,
        given: usize,
        /// Bytes at least.
        least: usize,
    },
    /// A descriptor is none.
    Descriptor { name: &'static str, given: i32 },
    /// A wait has ended.
    Over,
    /// Another thread polls the wait.
    Polled,
    /// Buffers are out, or set aside.
    Out {
        /// How many.
        buffers: u64,
    },
    /// The system refused.
    System(OsError),
    /// There is no heap for the call.
    Heap {
        /// Bytes that it may need.
        needed: usize,
    },
    /// Too many calls that need the heap are under way.
    Calls {
        /// How many that is.
        limit: usize,
    },
}

impl Failure {
    /// The code that C has for it.
    pub fn code(&self) -> u32 {
        match self {
            Self::Pointer(_) => HP_VD_E_INVALID,
            Self::Alloc(AllocError::Aborted) => HP_VD_E_ABORT,
            Self::Alloc(AllocError::Cancelled) => HP_E_CANCELLED,
            Self::Alloc(error) => Error::Alloc(*error).code(),
            Self::Build(error) => Error::Build(*error).code(),
            Self::Free(error) => match error {
                FreeError::Foreign { .. } => HP_E_FOREIGN,
                FreeError::Interior { .. } => HP_E_INTERIOR,
                FreeError::NotAllocated { .. } => HP_E_NOT_ALLOCATED,
                FreeError::WrongSize { .. } => HP_E_WRONG_SIZE,
                _ => HP_VD_E_INVALID,
            },
            Self::Stream(error) => match error {
                StreamError::Overcommitted { .. } | StreamError::InUse { .. } => HP_VD_E_MEMORY,
                StreamError::TooManyShares { .. } => HP_VD_E_BUSY,
                _ => HP_VD_E_INVALID,
            },
            Self::Set(error) => error.code(),
            Self::Text(_) | Self::Number { .. } | Self::Small { .. } | Self::Descriptor { .. } => {
                HP_VD_E_INVALID
            }
            Self::Share(error) => error.code(),
            Self::Forked => HP_VD_E_NOTOPEN,
            Self::Over => HP_VD_E_PROTOCOL,
            Self::Polled | Self::Out { .. } | Self::Calls { .. } => HP_VD_E_BUSY,
            Self::Heap { .. } => HP_VD_E_MEMORY,
            Self::System(_) => HP_VD_E_UNEXPECTED,
        }
    }

    /// The code that says most: where that of the interface stands for several of the
    /// library's own, the library's.
    pub fn reason(&self) -> u32 {
        match self {
            Self::Set(Error::Free(error)) => Self::Free(*error).code(),
            _ => self.code(),
        }
    }
}

impl Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pointer(name) => write!(f, "{name} is null or not aligned"),
            Self::Alloc(error) => error.fmt(f),
            Self::Build(error) => error.fmt(f),
            Self::Free(error) => error.fmt(f),
            Self::Stream(error) => error.fmt(f),
            Self::Set(error) => error.fmt(f),
            Self::Share(error) => error.fmt(f),
            Self::Forked => ShareError::Forked.fmt(f),
            Self::Text(name) => write!(f, "{name} is not UTF-8"),
            Self::Number { name, given, limit } => {
                write!(f, "{name} {given}: must be below {limit}")
            }
            Self::Small { name, given, least } => {
                write!(f, "{name}->size is {given}: at least {least}")
            }
            Self::Descriptor { name, given } => write!(f, "{name}: {given} is no descriptor"),
            Self::Over => write!(f, "the wait has ended"),
            Self::Polled => write!(f, "another thread polls the wait"),
            Self::Out { buffers } => {
                write!(f, "{buffers} buffers are out, or set aside for a stream")
            }
            Self::System(error) => error.fmt(f),
            Self::Heap { needed } => write!(
                f,
                "the call may need {needed} B of heap, which the system refused"
            ),
            Self::Calls { limit } => {
                write!(f, "{limit} calls that need the heap are under way already")
            }
        }
    }
}
