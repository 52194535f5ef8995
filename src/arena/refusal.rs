//! Why memory was not had, and what a caller is told of it.
//!
//! Owns: the question whether there is as much, and the errors with their numbers. Uses:
//! `sys`, `error`. Used by: `ladder`, `placement`, `pool`.

use crate::error::{BuildError, OsError};
use crate::sys::limits;
use crate::sys::memory::{self, Shortage};
use crate::sys::node;
use crate::sys::numa::Nodes;
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

    /// The nodes that the memory must come from have no more than that.
    pub fn nodes(nodes: &Nodes, available: usize) -> Self {
        Self::NotGranted {
            granted: 0,
            reason: Some(Reason::nodes(nodes, available)),
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
    /// Several nodes, which have so many bytes of it together.
    Nodes(usize),
}

impl Reason {
    /// These have no more than `available` bytes.
    fn nodes(nodes: &Nodes, available: usize) -> Self {
        let mut each = nodes.iter();
        match (each.next(), each.next()) {
            (Some(node), None) => Self::Node(node, available),
            _ => Self::Nodes(available),
        }
    }

    /// What the system said, if it was the system.
    pub fn system(self) -> Option<OsError> {
        match self {
            Self::System(error) => Some(error),
            Self::Group(_) | Self::Node(..) | Self::Nodes(_) => None,
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
            Self::Nodes(available) => Some(BuildError::OutOfMemory {
                needed,
                available: Some(available),
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

/// Bytes that `nodes` have together, each as `of` says; `None` if it does not say so of one.
pub fn together(nodes: &Nodes, of: impl Fn(u32) -> Option<usize>) -> Option<usize> {
    let mut each = nodes.iter().map(of);
    each.try_fold(0_usize, |sum, bytes| Some(sum.saturating_add(bytes?)))
}

/// Whether `rest` of the `needed` bytes can be faulted in, on `nodes` if they must be there, and
/// `tables` besides, wherever.
pub fn check(
    needed: usize,
    rest: usize,
    tables: usize,
    nodes: Option<&Nodes>,
) -> Result<(), Failure> {
    let left = |nodes| together(nodes, |node| Some(number(node::available(node)?)));
    if let Some(nodes) = nodes
        && let Some(left) = left(nodes)
        && left < rest
    {
        let available = (needed - rest).saturating_add(left);
        let error = Reason::nodes(nodes, available).last(needed);
        error.map_or(Ok(()), |error| Err(Failure::Final(error)))?;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_some_nodes_lack_is_said_of_the_one_or_of_all_together() {
        let has = |node| [Some(10), Some(30), None].get(node as usize).copied()?;
        assert_eq!(together(&Nodes::new(&[0, 1]), has), Some(40));
        assert_eq!(together(&Nodes::new(&[1, 2]), has), None);
        let (needed, available) = (50, 40);
        assert_eq!(
            Reason::nodes(&Nodes::new(&[1]), available).last(needed),
            Some(BuildError::NodeMemory {
                node: 1,
                needed,
                available,
            })
        );
        assert_eq!(
            Reason::nodes(&Nodes::new(&[0, 1]), available).last(needed),
            Some(BuildError::OutOfMemory {
                needed,
                available: Some(available),
            })
        );
    }
}
