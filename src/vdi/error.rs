//! What a call of a set can fail with, and the code for it.
//!
//! Owns: the error and the codes. Uses: `state`, the pool's errors. Used by: callers.

use super::stage::Refusal;
use super::state::{Call, State};
use crate::error::{AllocError, BuildError, FreeError, OsError, into_io};
use crate::share::ShareError;
use std::fmt;
use std::io::ErrorKind;

/// `NOERROR`: the call was carried out.
pub const NOERROR: u32 = 0;

/// Declares the codes of the interface, each `0x80770000` and a number.
macro_rules! codes {
    ($( $(#[doc = $doc:literal])* $name:ident = $number:literal; )+) => {
        $( $(#[doc = $doc])* pub const $name: u32 = 0x8077_0000 + $number; )+
    };
}

codes! {
    /// The set is not open.
    VD_E_NOTOPEN = 2;
    /// Time is up.
    VD_E_TIMEOUT = 3;
    /// The set was aborted.
    VD_E_ABORT = 4;
    /// The caller may not.
    VD_E_SECURITY = 5;
    /// An argument is wrong.
    VD_E_INVALID = 6;
    /// There is no such instance.
    VD_E_INSTANCE_NAME = 7;
    /// The client's configuration asks for what is not there.
    VD_E_NOTSUPPORTED = 9;
    /// There is no memory, or no buffer free: asking for less, or later, may help. Nothing
    /// else has this code.
    VD_E_MEMORY = 10;
    /// Something failed that should not.
    VD_E_UNEXPECTED = 11;
    /// The set is in the wrong state for the call.
    VD_E_PROTOCOL = 12;
    /// It is open, or all of them are.
    VD_E_OPEN = 13;
    /// It is closed.
    VD_E_CLOSE = 14;
    /// It is busy.
    VD_E_BUSY = 15;
}

/// Why a call of a [`Set`](super::Set) failed. Nothing has changed then, except that
/// after an EndConfiguration nothing is declared any more, and that a Close has ended the
/// set all the same if it found devices open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// The set is in the wrong state for the call.
    Protocol {
        /// The call.
        call: Call,
        /// The state.
        state: State,
    },
    /// The set is that of another process, of which this one is a child.
    Forked {
        /// The call.
        call: Call,
    },
    /// The set was aborted.
    Aborted {
        /// The call.
        call: Call,
    },
    /// Every device that was opened is closed.
    DeviceClosed {
        /// The call.
        call: Call,
    },
    /// Devices were open when the set was closed, which is closed all the same.
    DevicesOpen {
        /// The call.
        call: Call,
        /// How many.
        open: u8,
    },
    /// A block size is no power of two, or out of range.
    BlockSize {
        /// What was given, in bytes.
        given: u32,
        /// The smallest, in bytes.
        least: u32,
        /// The largest, in bytes.
        most: u32,
    },
    /// The set's alignment is no power of two, smaller than the block size, or too
    /// strict.
    Alignment {
        /// What was given, in bytes.
        given: u32,
        /// The least strict: the block size, in bytes.
        least: u32,
        /// The strictest, in bytes.
        most: u32,
    },
    /// A transfer size is zero, or no multiple of what it must be.
    TransferSize {
        /// What was given, in bytes.
        given: u32,
        /// What it must be a multiple of, in bytes.
        unit: u32,
    },
    /// The server offers features that are not published.
    Features {
        /// The bits that mean nothing.
        unknown: u32,
    },
    /// The client wants too many devices, or none.
    DeviceCount {
        /// What was given.
        given: u32,
        /// The most.
        most: u32,
    },
    /// The client wants features that are not published.
    WishedFeatures {
        /// The bits that mean nothing.
        unknown: u32,
    },
    /// The client wants an alignment that is no power of two, or too strict.
    WishedAlignment {
        /// What was given, in bytes.
        given: u32,
        /// The strictest, in bytes.
        most: u32,
    },
    /// The client wants too large a prefix zone.
    PrefixZone(BuildError),
    /// All devices of the set were opened.
    Devices {
        /// How many it has.
        limit: u8,
    },
    /// A buffer with its prefix zone has more bytes than 32 bits can say.
    TooLarge {
        /// What was given, in bytes.
        size: u32,
        /// The prefix zone, in bytes.
        prefix: u32,
    },
    /// The buffers could not be mapped.
    Build(BuildError),
    /// No buffer could be allocated.
    Alloc(AllocError),
    /// A pointer could not be taken back.
    Free(FreeError),
}

impl Error {
    pub(super) fn refused(call: Call, refusal: Refusal) -> Self {
        match refusal {
            Refusal::Protocol(state) => Self::Protocol { call, state },
            Refusal::Aborted => Self::Aborted { call },
            Refusal::Shut => Self::DeviceClosed { call },
            Refusal::Devices(limit) => Self::Devices { limit },
            Refusal::Open(open) => Self::DevicesOpen { call, open },
        }
    }

    /// The code that the interface has for it.
    #[must_use]
    pub fn code(&self) -> u32 {
        match self {
            Self::Protocol { .. } | Self::DevicesOpen { .. } => VD_E_PROTOCOL,
            Self::Forked { .. } => VD_E_NOTOPEN,
            Self::Aborted { .. } => VD_E_ABORT,
            Self::DeviceClosed { .. } => VD_E_CLOSE,
            Self::BlockSize { .. }
            | Self::Alignment { .. }
            | Self::TransferSize { .. }
            | Self::Features { .. }
            | Self::TooLarge { .. }
            | Self::Free(_) => VD_E_INVALID,
            Self::DeviceCount { .. }
            | Self::WishedFeatures { .. }
            | Self::WishedAlignment { .. }
            | Self::PrefixZone(_) => VD_E_NOTSUPPORTED,
            Self::Devices { .. } => VD_E_OPEN,
            Self::Build(error) => build_code(error),
            Self::Alloc(error) => match error {
                AllocError::Aborted | AllocError::Cancelled => VD_E_ABORT,
                AllocError::Exhausted { .. } | AllocError::AtMaximum { .. } => VD_E_MEMORY,
                AllocError::TimedOut { .. } => VD_E_TIMEOUT,
                AllocError::TooManyWaiters { .. } => VD_E_BUSY,
                AllocError::ZeroSize
                | AllocError::BadAlignment { .. }
                | AllocError::NoClass { .. }
                | AllocError::NeverEnough { .. }
                | AllocError::NoShare { .. }
                | AllocError::ForeignToken => VD_E_INVALID,
            },
        }
    }
}

/// The code for buffers that could not be mapped. `VD_E_MEMORY` is for what a server that
/// asks for fewer or smaller buffers may get; whoever lacks rights or descriptors, or has
/// described what cannot be, would ask in vain.
fn build_code(error: &BuildError) -> u32 {
    match error {
        BuildError::ZeroSize
        | BuildError::ZeroCount { .. }
        | BuildError::SizeTooLarge { .. }
        | BuildError::BadAlignment { .. }
        | BuildError::AlignmentTooLarge { .. }
        | BuildError::PrefixTooLarge { .. }
        | BuildError::RequireNeedsPrefault { .. }
        | BuildError::SharedForWriting
        | BuildError::WipeSharedForWriting
        | BuildError::NoNodes
        | BuildError::NodeTooLarge { .. }
        // Fewer kinds of buffers would do; fewer buffers would not.
        | BuildError::TooManyClasses { .. }
        // Every kind of page is forbidden, or needs what the system does not offer.
        | BuildError::NoPages { reason: None, .. } => VD_E_INVALID,
        BuildError::Forked => VD_E_NOTOPEN,
        BuildError::Overflow { .. }
        | BuildError::AddressSpace { .. }
        | BuildError::TooManySlots { .. }
        | BuildError::FileSize { .. }
        | BuildError::GroupLimit { .. }
        | BuildError::NodeMemory { .. }
        | BuildError::OutOfMemory { .. } => VD_E_MEMORY,
        BuildError::PagesNotGranted {
            reason: None,
            granted,
            ..
        } => match granted {
            // Not one could be had.
            0 => VD_E_UNEXPECTED,
            _ => VD_E_MEMORY,
        },
        // There is no such node.
        BuildError::Node { reason, .. } if reason.number == libc::EINVAL => VD_E_INVALID,
        BuildError::PagesNotGranted {
            reason: Some(reason),
            ..
        }
        | BuildError::NoPages {
            reason: Some(reason),
            ..
        }
        | BuildError::Lock { reason, .. }
        | BuildError::Node { reason, .. }
        | BuildError::System(reason) => system_code(*reason),
    }
}

/// The code for what the system refused.
fn system_code(reason: OsError) -> u32 {
    match reason.number {
        // Memory, huge pages or memory locked; space or size of a file in memory.
        libc::ENOMEM | libc::EAGAIN | libc::ENOSPC | libc::EDQUOT | libc::EFBIG => VD_E_MEMORY,
        libc::EPERM | libc::EACCES => VD_E_SECURITY,
        _ => VD_E_UNEXPECTED,
    }
}

impl ShareError {
    /// The code that the virtual device interface has for it.
    #[must_use]
    pub fn code(&self) -> u32 {
        match self {
            Self::NotShared
            | Self::NotConfigured
            | Self::NoSet
            | Self::NotPublished
            | Self::NotOpen
            | Self::AlreadyOpen => VD_E_PROTOCOL,
            Self::Aborted | Self::ServerDied => VD_E_ABORT,
            Self::Closed => VD_E_CLOSE,
            Self::Forked => VD_E_NOTOPEN,
            Self::Peer { .. } | Self::Unmapped { .. } | Self::Refused | Self::ReadOnly => {
                VD_E_SECURITY
            }
            Self::NameTaken => VD_E_OPEN,
            Self::HungUp => VD_E_BUSY,
            Self::TimedOut { .. } => VD_E_TIMEOUT,
            // A client cannot ask for less.
            Self::System(reason) => match system_code(*reason) {
                VD_E_SECURITY => VD_E_SECURITY,
                _ => VD_E_UNEXPECTED,
            },
            Self::NoBuffer { .. }
            | Self::TooManySegments { .. }
            | Self::BadHandle { .. }
            | Self::BadHandle64 { .. }
            | Self::Range(_)
            | Self::Truncated { .. }
            | Self::Version { .. }
            | Self::Forged { .. }
            | Self::Slots { .. }
            | Self::OtherPool { .. }
            | Self::Size { .. }
            | Self::NotSealed
            | Self::Descriptors { .. }
            | Self::NoName => VD_E_INVALID,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Protocol { call, state } => write!(f, "{call} in the state \"{state}\""),
            Self::Forked { call } => {
                write!(f, "{call}: the set is not open in this child of a fork")
            }
            Self::Aborted { call } => write!(f, "{call}: the set was aborted"),
            Self::DeviceClosed { call } => {
                write!(f, "{call}: every device that was opened is closed")
            }
            Self::DevicesOpen { call, open } => write!(
                f,
                "{call}: {open} devices were open; the set is closed all the same"
            ),
            Self::BlockSize { given, least, most } => write!(
                f,
                "block size {given} B: must be a power of two, {least} B to {most} B"
            ),
            Self::Alignment { given, least, most } => write!(
                f,
                "alignment {given} B: must be a power of two, {least} B to {most} B"
            ),
            Self::TransferSize { given, unit } => write!(
                f,
                "transfer size {given} B: must be a multiple of {unit} B, and not 0"
            ),
            Self::Features { unknown } => {
                write!(
                    f,
                    "features offered that nobody has published: {unknown:#x}"
                )
            }
            Self::DeviceCount { given, most } => {
                write!(f, "{given} devices: must be 1 to {most}")
            }
            Self::WishedFeatures { unknown } => {
                write!(f, "features wanted that nobody has published: {unknown:#x}")
            }
            Self::WishedAlignment { given, most } => write!(
                f,
                "alignment {given} B wanted: must be a power of two, {most} B at most"
            ),
            Self::Devices { limit } => {
                write!(f, "OpenDevice: all {limit} devices have been opened")
            }
            Self::TooLarge { size, prefix } => write!(
                f,
                "a buffer of {size} B with a prefix zone of {prefix} B has more than {} B",
                u32::MAX
            ),
            Self::PrefixZone(error) | Self::Build(error) => error.fmt(f),
            Self::Alloc(error) => error.fmt(f),
            Self::Free(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::PrefixZone(error) | Self::Build(error) => Some(error),
            Self::Alloc(error) => Some(error),
            Self::Free(error) => Some(error),
            _ => None,
        }
    }
}

impl Error {
    fn io_kind(&self) -> ErrorKind {
        match self {
            Self::Protocol { .. }
            | Self::BlockSize { .. }
            | Self::Alignment { .. }
            | Self::TransferSize { .. }
            | Self::Features { .. }
            | Self::TooLarge { .. } => ErrorKind::InvalidInput,
            // What the client wishes is not there.
            Self::DeviceCount { .. }
            | Self::WishedFeatures { .. }
            | Self::WishedAlignment { .. }
            | Self::PrefixZone(_)
            | Self::Forked { .. } => ErrorKind::Unsupported,
            Self::DeviceClosed { .. } => ErrorKind::NotConnected,
            Self::DevicesOpen { .. } => ErrorKind::ResourceBusy,
            Self::Devices { .. } => ErrorKind::QuotaExceeded,
            // As a wait that it ends.
            Self::Aborted { .. } => ErrorKind::Other,
            Self::Build(error) => error.io_kind(),
            Self::Alloc(error) => error.io_kind(),
            Self::Free(error) => error.io_kind(),
        }
    }
}

into_io!(Error);
