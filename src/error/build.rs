//! Why a pool could not be built, or could not grow.
//!
//! Owns: that error. Uses: its parent's numbers and texts. Used by: `pool`, `arena`, callers.

use super::{Bytes, OsError, WhyNotPlaced};
use crate::pages::Pages;
use std::fmt;

/// Why a pool was not built or did not grow. Nothing was mapped or changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum BuildError {
    /// A class of size zero was asked for.
    ZeroSize,
    /// A class of zero buffers was asked for.
    ZeroCount {
        /// The class's size in bytes.
        size: usize,
        /// The class's alignment in bytes.
        alignment: usize,
    },
    /// A class is larger than a class can be.
    SizeTooLarge {
        /// What was asked for, in bytes.
        size: usize,
        /// The largest class, in bytes.
        limit: usize,
    },
    /// An alignment is zero or no power of two.
    BadAlignment {
        /// What was asked for.
        alignment: usize,
    },
    /// An alignment is stricter than one can be.
    AlignmentTooLarge {
        /// What was asked for, in bytes.
        alignment: usize,
        /// The strictest alignment, in bytes.
        limit: usize,
    },
    /// A prefix zone is larger than one can be.
    PrefixTooLarge {
        /// What was asked for, in bytes.
        prefix: usize,
        /// The largest prefix zone, in bytes.
        limit: usize,
    },
    /// The sizes add up to more bytes than a number can hold.
    Overflow {
        /// Size in bytes of the class at which it happened.
        size: usize,
        /// That class's count.
        count: usize,
    },
    /// The pool may not grow that far: more address space than it reserved
    /// ([`address_space`](crate::Builder::address_space) says how much), or than a pool can
    /// have. What was trimmed and is still held by a [`Region`](crate::Region) has its
    /// addresses, too.
    AddressSpace {
        /// Bytes of address space that are needed in one piece.
        needed: usize,
        /// Bytes in all that the pool has, or can have.
        limit: usize,
    },
    /// Memory that is shared is a file to the system, and would be larger than a file may be
    /// (`RLIMIT_FSIZE`). Each segment is one.
    FileSize {
        /// Bytes that it would have.
        needed: usize,
        /// Bytes that it may have.
        limit: usize,
    },
    /// More classes than a pool can have.
    TooManyClasses {
        /// How many it can have.
        limit: usize,
    },
    /// The pool is shared, and that of another process, of which this one is a child.
    Forked,
    /// More buffers than handles of a pool that is shared can name.
    TooManySlots {
        /// How many that is. Those that are added by one call are numbered in a row, and
        /// there may be no such row although there are fewer.
        limit: usize,
    },
    /// More memory than there is.
    OutOfMemory {
        /// Bytes that were needed.
        needed: usize,
        /// Bytes that were available, if the system says.
        available: Option<usize>,
    },
    /// More memory, or more on huge pages, than a control group of the process allows.
    GroupLimit {
        /// The group's file with the limit, such as `memory.max`.
        file: &'static str,
        /// Bytes that were needed.
        needed: usize,
        /// The limit in bytes.
        limit: usize,
        /// Bytes that it left.
        available: usize,
    },
    /// A page size that was required was not granted.
    PagesNotGranted {
        /// What was required.
        required: Pages,
        /// Bytes that should have been on such pages.
        bytes: usize,
        /// Bytes that were.
        granted: usize,
        /// What the system said, if it said anything.
        reason: Option<OsError>,
    },
    /// Other processes may write the pool's buffers
    /// ([`Access::Write`](crate::share::Access::Write)), and a [`Pool`](crate::Pool) is one
    /// whose buffers nobody else writes:
    /// [`build_volatile`](crate::Builder::build_volatile) builds one of the other kind.
    SharedForWriting,
    /// Buffers are to be zeroed when they come home ([`wipe`](crate::Builder::wipe)), and other
    /// processes may write them ([`Access::Write`](crate::share::Access::Write)): also then, so
    /// that the next owner would not read zeroes.
    WipeSharedForWriting,
    /// Every page size was forbidden, or none of the allowed ones was granted.
    NoPages {
        /// Bytes that were to be backed.
        bytes: usize,
        /// What the system said of the last allowed one, if it said anything.
        reason: Option<OsError>,
    },
    /// Transparent or collapsed huge pages were required together with `prefault(false)`:
    /// whether they are granted shows only when memory is faulted in.
    RequireNeedsPrefault {
        /// Which.
        required: Pages,
    },
    /// Memory could not be locked.
    Lock {
        /// Bytes to be locked.
        bytes: usize,
        /// The process's limit in bytes (`RLIMIT_MEMLOCK`), if it has one.
        limit: Option<usize>,
        /// What the system said.
        reason: OsError,
    },
    /// No NUMA nodes were named to interleave memory over.
    NoNodes,
    /// A NUMA node has a number that none can have.
    NodeTooLarge {
        /// What was asked for.
        node: u32,
        /// The largest number.
        limit: u32,
    },
    /// More memory than there is on the NUMA node that it is bound to, of the kind of pages that
    /// will do.
    NodeMemory {
        /// The node.
        node: u32,
        /// Bytes that were needed.
        needed: usize,
        /// Bytes that it has.
        available: usize,
    },
    /// Memory cannot come from a NUMA node.
    Node {
        /// The node; of several that were named, the first that was refused.
        node: u32,
        /// What refuses it, as far as that can be told.
        why: WhyNotPlaced,
        /// What the system said.
        reason: OsError,
    },
    /// Another refusal by the system.
    System(OsError),
}

impl BuildError {
    /// That `error` was met when the bookkeeping of new buffers was to have `needed` bytes.
    pub(crate) fn no_memory_for(needed: usize) -> impl FnOnce(std::io::Error) -> Self {
        move |error| match error.kind() {
            std::io::ErrorKind::OutOfMemory => Self::OutOfMemory {
                needed,
                available: None,
            },
            _ => Self::System(OsError::new("mprotect", &error)),
        }
    }
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::ZeroSize => write!(f, "a class of size 0: the smallest is 1 B"),
            Self::ZeroCount { size, alignment } => write!(
                f,
                "class {}/{alignment}: 0 buffers asked for, the fewest is 1",
                Bytes::exact(size)
            ),
            Self::SizeTooLarge { size, limit } => {
                let [size, limit] = Bytes::together([size, limit]);
                write!(f, "a class of {}: the largest is {}", size, limit)
            }
            Self::BadAlignment { alignment } => {
                write!(f, "alignment {alignment} is no power of two")
            }
            Self::AlignmentTooLarge { alignment, limit } => {
                let [alignment, limit] = Bytes::together([alignment, limit]);
                write!(f, "alignment {}: the strictest is {}", alignment, limit)
            }
            Self::PrefixTooLarge { prefix, limit } => {
                let [prefix, limit] = Bytes::together([prefix, limit]);
                write!(f, "a prefix zone of {}: the largest is {}", prefix, limit)
            }
            Self::Overflow { size, count } => write!(
                f,
                "{count} buffers of {}: with what was reserved before, more bytes than {} can count",
                Bytes::exact(size),
                usize::BITS
            ),
            Self::AddressSpace { needed, limit } => {
                let [needed, limit] = Bytes::together([needed, limit]);
                write!(
                    f,
                    "{} of address space needed in one piece, of {} that the pool reserved in all \
                     (address_space sets that, up to 1 TiB)",
                    needed, limit
                )
            }
            Self::FileSize { needed, limit } => {
                let [needed, limit] = Bytes::together([needed, limit]);
                write!(
                    f,
                    "{} of shared memory in one piece, the limit (RLIMIT_FSIZE) is {}",
                    needed, limit
                )
            }
            Self::TooManyClasses { limit } => write!(f, "more than {limit} classes"),
            Self::Forked => write!(f, "the pool is that of the parent of this process"),
            Self::TooManySlots { limit } => {
                write!(f, "more than {limit} buffers in a pool that is shared")
            }
            Self::OutOfMemory { needed, available } => {
                let Some(available) = available else {
                    let needed = Bytes::exact(needed);
                    return write!(f, "{needed} of memory needed, which the system refused");
                };
                let [needed, available] = Bytes::together([needed, available]);
                write!(f, "{needed} of memory needed, {available} available")
            }
            Self::GroupLimit {
                file,
                needed,
                limit,
                available,
            } => {
                let [needed, available, limit] = Bytes::together([needed, available, limit]);
                write!(
                    f,
                    "{} of memory needed, {} left of the {} that the control group allows ({file})",
                    needed, available, limit
                )
            }
            Self::PagesNotGranted {
                required,
                bytes,
                granted,
                reason,
            } => {
                let [bytes, granted] = Bytes::together([bytes, granted]);
                write!(
                    f,
                    "{required} pages required for {bytes}, granted for {granted}"
                )?;
                reason.map_or(Ok(()), |reason| write!(f, " ({reason})"))
            }
            Self::SharedForWriting => write!(
                f,
                "other processes may write the buffers (Access::Write): build_volatile builds \
                 such a pool"
            ),
            Self::WipeSharedForWriting => write!(
                f,
                "buffers that are to be zeroed when they come home (wipe), and that other \
                 processes may write then (Access::Write)"
            ),
            Self::NoPages { bytes, reason } => {
                write!(
                    f,
                    "no allowed page size was granted for {}; smaller ones are set to never",
                    Bytes::exact(bytes)
                )?;
                reason.map_or(Ok(()), |reason| write!(f, " ({reason})"))
            }
            Self::RequireNeedsPrefault { required } => write!(
                f,
                "{required} pages are required but prefault is off: whether they are \
                 granted shows only when memory is faulted in"
            ),
            Self::Lock {
                bytes,
                limit,
                reason,
            } => {
                let Some(limit) = limit else {
                    let bytes = Bytes::exact(bytes);
                    return write!(f, "{bytes} could not be locked ({reason})");
                };
                let [bytes, limit] = Bytes::together([bytes, limit]);
                write!(
                    f,
                    "{bytes} could not be locked, the limit (RLIMIT_MEMLOCK) is {limit} ({reason})"
                )
            }
            Self::NoNodes => write!(f, "memory interleaved over 0 NUMA nodes: the fewest is 1"),
            Self::NodeTooLarge { node, limit } => {
                write!(f, "NUMA node {node}: the largest number is {limit}")
            }
            Self::NodeMemory {
                node,
                needed,
                available,
            } => {
                let [needed, available] = Bytes::together([needed, available]);
                write!(
                    f,
                    "{} of memory needed on NUMA node {node}, {} available there",
                    needed, available
                )
            }
            Self::Node { node, why, reason } => write!(
                f,
                "memory cannot come from NUMA node {node}: {why} ({reason})"
            ),
            Self::System(reason) => write!(f, "{reason}"),
        }
    }
}

impl std::error::Error for BuildError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(self.reason()?)
    }
}
