//! The NUMA nodes that a pool's buffers come from.
//!
//! Owns: what a caller may ask for, its checks, and what is said if it is refused. Uses:
//! `sys::numa`, `sys::node`, `error`. Used by: `ladder`, `pool`.
//!
//! The kernel takes a set of nodes of which some do not exist, and uses the others. So each
//! node of a set is tried by itself first.

use crate::error::{BuildError, OsError, WhyNotPlaced};
use crate::sys::node;
use crate::sys::numa::{self, MAX_NODES, Nodes, Policy};
use std::io;
use std::ptr::NonNull;

/// Where buffers come from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Placement {
    /// Where the thread that touches them first would have its own: nobody asked for more.
    #[default]
    Own,
    /// This node alone.
    Bind(u32),
    /// This node as long as it has some.
    Prefer(u32),
    /// These nodes in turn.
    Interleave(Nodes),
}

impl Placement {
    /// These nodes in turn.
    pub fn over(nodes: &[u32]) -> Self {
        Self::Interleave(Nodes::new(nodes))
    }

    /// Whether there can be such nodes.
    pub fn check(&self) -> Result<(), BuildError> {
        let limit = MAX_NODES - 1;
        let beyond = match self {
            Self::Own => None,
            Self::Bind(node) | Self::Prefer(node) => Some(*node).filter(|node| *node > limit),
            Self::Interleave(nodes) => nodes.beyond(),
        };
        match (beyond, self) {
            (Some(node), _) => Err(BuildError::NodeTooLarge { node, limit }),
            (None, Self::Interleave(nodes)) if nodes.iter().next().is_none() => {
                Err(BuildError::NoNodes)
            }
            (None, _) => Ok(()),
        }
    }

    /// The nodes without which there is no memory; `None` if it may come from any that has some.
    pub(super) fn only(&self) -> Option<Nodes> {
        match self {
            Self::Bind(node) => Some(Nodes::new(&[*node])),
            Self::Own => numa::confined(false),
            Self::Prefer(_) | Self::Interleave(_) => numa::confined(true),
        }
    }

    /// Over how many nodes pages are spread in turn.
    pub(super) fn turns(&self) -> usize {
        match self {
            Self::Interleave(nodes) => nodes.iter().count().max(1),
            Self::Own | Self::Bind(_) | Self::Prefer(_) => 1,
        }
    }

    /// Has the pages of a fresh range come from there.
    pub(super) fn place(&self, start: NonNull<u8>, bytes: usize) -> Result<(), BuildError> {
        let place =
            |policy, node| numa::place(start, bytes, policy).map_err(|error| refusal(node, &error));
        match self {
            Self::Own => Ok(()),
            Self::Bind(node) => place(Policy::Bind(*node), *node),
            Self::Prefer(node) => place(Policy::Prefer(*node), *node),
            Self::Interleave(nodes) => {
                for node in nodes.iter() {
                    numa::try_bind(start, bytes, node).map_err(|error| refusal(node, &error))?;
                }
                let first = nodes.iter().next().ok_or(BuildError::NoNodes)?;
                place(Policy::Interleave(*nodes), first)
            }
        }
    }
}

/// What a caller is told if memory is not to come from `node`, as the system said.
fn refusal(node: u32, error: &io::Error) -> BuildError {
    BuildError::Node {
        node,
        why: WhyNotPlaced::of(error.raw_os_error().unwrap_or(0), node::known()),
        reason: OsError::new("mbind", error),
    }
}
