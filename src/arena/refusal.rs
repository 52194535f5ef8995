//! Why memory was not had, and what a caller is told of it.
//!
//! Owns: the question whether there is as much, and the errors with their numbers. Uses:
//! `sys`, `error`. Used by: `ladder`, `placement`, `pool`.

use crate::error::{BuildError, OsError};
use crate::sys::limits;
use crate::sys::memory::{self, Shortage};
use crate::sys::node;
use crate::sys::quota::Limit;
use std::io;

/// What a caller is told if `error`, with which memory of `bytes` was refused, means that it
/// would be too large a file.
pub fn file_too_large(bytes: usize, error: &io::Error) -> Option<BuildError> {
    let limit = limits::file_size().ok()?.soft?;
    let limit = usize::try_from(limit).ok()?;
    (error.raw_os_error() == Some(libc::EFBIG)).then_some(BuildError::FileSize {
        needed: bytes,
        limit,
    })
}

/// Why a rung did not back the segment.
pub enum Failure {
    /// The next rung may.
    NotGranted {
        /// Bytes that were on such pages.
        granted: usize,
        reason: Option<Reason>,
    },
    /// No rung would.
    Final(BuildError),
}

impl Failure {
    /// What the system said.
    pub fn system(error: OsError) -> Self {
        Self::NotGranted {
            granted: 0,
            reason: Some(Reason::System(error)),
        }
    }

    /// A control group allows no more.
    pub fn group(limit: Limit) -> Self {
        Self::NotGranted {
            granted: 0,
            reason: Some(Reason::Group(limit)),
        }
    }

    /// The node that the memory must come from has no more than that.
    pub fn node(node: u32, available: usize) -> Self {
        Self::NotGranted {
            granted: 0,
            reason: Some(Reason::Node(node, available)),
        }
    }
}

/// Who refused pages.
pub enum Reason {
    /// The system, which said that.
    System(OsError),
    /// A control group, whose limit that is.
    Group(Limit),
    /// A node that the memory must come from, which has so many bytes of it.
    Node(u32, usize),
}

impl Reason {
    /// What the system said, if it was the system.
    pub fn system(self) -> Option<OsError> {
        match self {
            Self::System(error) => Some(error),
            Self::Group(_) | Self::Node(..) => None,
        }
    }

    /// What a caller is told if nothing but `needed` bytes on such pages will do; `None` if that
    /// is for the system to say.
    pub fn last(&self, needed: usize) -> Option<BuildError> {
        match *self {
            Self::System(_) => None,
            Self::Group(ref limit) => Some(beyond(limit, needed)),
            Self::Node(node, available) => Some(BuildError::NodeMemory {
                node,
                needed,
                available,
            }),
        }
    }
}

fn number(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

/// What a caller is told if a control group does not allow `needed` bytes.
fn beyond(limit: &Limit, needed: usize) -> BuildError {
    BuildError::GroupLimit {
        file: limit.file,
        needed,
        limit: number(limit.limit),
        available: number(limit.left()),
    }
}

/// Whether `rest` of the `needed` bytes can be faulted in, on `node` if they must be there, and
/// `tables` besides, wherever.
pub fn check(needed: usize, rest: usize, tables: usize, node: Option<u32>) -> Result<(), Failure> {
    let left = |node| Some((node, number(node::available(node)?)));
    if let Some((node, left)) = node.and_then(left)
        && left < rest
    {
        return Err(Failure::Final(BuildError::NodeMemory {
            node,
            needed,
            available: (needed - rest).saturating_add(left),
        }));
    }
    memory::check(rest.saturating_add(tables)).map_err(|shortage| {
        let left = number(shortage.available()).saturating_sub(tables);
        // With what is there already.
        let available = (needed - rest).saturating_add(left);
        Failure::Final(match shortage {
            Shortage::System(_) => BuildError::OutOfMemory {
                needed,
                available: Some(available),
            },
            Shortage::Group(limit) => BuildError::GroupLimit {
                file: limit.file,
                needed,
                limit: number(limit.limit),
                available,
            },
        })
    })
}

/// What a caller is told if the system refused memory. One that promises no more than it has
/// says how much that is.
pub fn out_of_memory(needed: usize) -> BuildError {
    let available = memory::is_strict().then(memory::left_to_promise).flatten();
    BuildError::OutOfMemory {
        needed,
        available: available.filter(|available| *available < needed),
    }
}
