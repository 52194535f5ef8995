//! Why memory was not placed on a NUMA node.
//!
//! Owns: that word, and how it is told by the number of an error. Uses: libc for the numbers.
//! Used by: `build`, `arena`, `machine`, callers.

use std::fmt;

/// What refuses to have memory come from a NUMA node: `mbind(2)` did.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum WhyNotPlaced {
    /// There is no such node, or it has no memory, or the process may not have any from it
    /// (its `cpuset`).
    NoSuchNode,
    /// The kernel was built without NUMA.
    NoNuma,
    /// A filter of system calls (seccomp) that the process or its container runs under.
    Filter,
    /// Something else, which the error's number says.
    Other,
}

impl WhyNotPlaced {
    /// What `mbind` meant by `number`, on a kernel that `knows` nodes or does not.
    ///
    /// It gives `EPERM` for no policy that is set here, and `ENOSYS` where there is no such
    /// call (mbind(2), syscalls(2)).
    #[cfg_attr(hugepool_loom, allow(dead_code))]
    pub(crate) fn of(number: i32, knows: bool) -> Self {
        match number {
            libc::EINVAL => Self::NoSuchNode,
            libc::ENOSYS if !knows => Self::NoNuma,
            libc::EPERM | libc::EACCES | libc::ENOSYS => Self::Filter,
            _ => Self::Other,
        }
    }
}

impl fmt::Display for WhyNotPlaced {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoSuchNode => {
                "there is no such node, or it has no memory, or the cpuset leaves it out"
            }
            Self::NoNuma => "the kernel was built without NUMA",
            Self::Filter => "a filter of system calls (seccomp) refuses mbind",
            Self::Other => "the system refuses it",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_refuses_is_told_by_the_number_and_by_what_the_kernel_knows() {
        for (number, knows, why) in [
            (libc::EINVAL, true, WhyNotPlaced::NoSuchNode),
            (libc::EPERM, true, WhyNotPlaced::Filter),
            (libc::EPERM, false, WhyNotPlaced::Filter),
            (libc::ENOSYS, true, WhyNotPlaced::Filter),
            (libc::ENOSYS, false, WhyNotPlaced::NoNuma),
            (libc::ENOMEM, true, WhyNotPlaced::Other),
        ] {
            assert_eq!(WhyNotPlaced::of(number, knows), why, "{number}");
        }
    }
}
