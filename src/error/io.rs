//! This library's errors as those of `std::io`.
//!
//! Owns: which kind each is. Uses: its parent. Used by: callers, whose functions give
//! `io::Result`; `share`, `pool` and `vdi`, for their own errors.
//!
//! What a wait may cure is `WouldBlock`, and a wait that was in vain `TimedOut`. A wait that
//! somebody ended is `Other`, and never `Interrupted`: `read_exact`, `write_all` and `copy` of
//! `std::io` begin anew after that, and a pool that was aborted would say the same for ever.
//! What the system refused has the kind of its number.

use super::{AllocError, BuildError, FreeError, OsError, RangeError};
use std::io::{Error, ErrorKind};

/// Makes the errors of a type, whose `io_kind` says which kind each is, errors of `std::io`.
macro_rules! into_io {
    ($error:ty $(, $of:ident: $bound:path)?) => {
        /// Of the kind that fits, with the error inside
        /// ([`get_ref`](std::io::Error::get_ref)). Allocates.
        impl$(<$of: $bound>)? From<$error> for std::io::Error {
            fn from(error: $error) -> Self {
                Self::new(error.io_kind(), error)
            }
        }
    };
}
pub(crate) use into_io;

into_io!(AllocError);
into_io!(BuildError);
into_io!(FreeError);
into_io!(OsError);
into_io!(RangeError);

impl OsError {
    pub(crate) fn io_kind(&self) -> ErrorKind {
        match self.number {
            0 => ErrorKind::Other,
            number => Error::from_raw_os_error(number).kind(),
        }
    }
}

impl AllocError {
    pub(crate) fn io_kind(&self) -> ErrorKind {
        match self {
            Self::ZeroSize
            | Self::BadAlignment { .. }
            | Self::NoClass { .. }
            | Self::NeverEnough { .. }
            | Self::NoShare { .. }
            | Self::ForeignToken => ErrorKind::InvalidInput,
            Self::Exhausted { .. } | Self::AtMaximum { .. } => ErrorKind::WouldBlock,
            Self::TimedOut { .. } => ErrorKind::TimedOut,
            Self::TooManyWaiters { .. } => ErrorKind::ResourceBusy,
            Self::Aborted | Self::Cancelled => ErrorKind::Other,
        }
    }
}

impl BuildError {
    /// What the system said, if that is what there is to say.
    pub(super) fn reason(&self) -> Option<&OsError> {
        match self {
            Self::PagesNotGranted { reason, .. } | Self::NoPages { reason, .. } => reason.as_ref(),
            Self::Lock { reason, .. } | Self::Node { reason, .. } | Self::System(reason) => {
                Some(reason)
            }
            _ => None,
        }
    }

    pub(crate) fn io_kind(&self) -> ErrorKind {
        match self {
            Self::ZeroSize
            | Self::ZeroCount { .. }
            | Self::SizeTooLarge { .. }
            | Self::BadAlignment { .. }
            | Self::AlignmentTooLarge { .. }
            | Self::PrefixTooLarge { .. }
            | Self::Overflow { .. }
            | Self::RequireNeedsPrefault { .. }
            | Self::SharedForWriting
            | Self::WipeSharedForWriting
            | Self::NoNodes
            | Self::NodeTooLarge { .. }
            // Every kind of page is forbidden.
            | Self::NoPages { reason: None, .. } => ErrorKind::InvalidInput,
            Self::AddressSpace { .. } | Self::TooManyClasses { .. } | Self::TooManySlots { .. } => {
                ErrorKind::QuotaExceeded
            }
            Self::FileSize { .. } => ErrorKind::FileTooLarge,
            Self::Forked => ErrorKind::Unsupported,
            Self::OutOfMemory { .. }
            | Self::GroupLimit { .. }
            | Self::NodeMemory { .. }
            | Self::PagesNotGranted { reason: None, .. } => ErrorKind::OutOfMemory,
            Self::PagesNotGranted {
                reason: Some(reason),
                ..
            }
            | Self::NoPages {
                reason: Some(reason),
                ..
            }
            | Self::Lock { reason, .. }
            | Self::Node { reason, .. }
            | Self::System(reason) => reason.io_kind(),
        }
    }
}

impl FreeError {
    pub(crate) fn io_kind(&self) -> ErrorKind {
        ErrorKind::InvalidInput
    }
}

impl RangeError {
    pub(crate) fn io_kind(&self) -> ErrorKind {
        ErrorKind::InvalidInput
    }
}
