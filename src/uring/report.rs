//! What of a pool's memory is registered with a ring, and why the rest is not.
//!
//! Owns: [`Report`], [`WhyUnregistered`]. Uses: `error`. Used by: `registry`, callers.

use crate::error::{Bytes, OsError};
use std::fmt;

/// Why some of a pool's memory is not registered. It is used all the same, by plain reads and
/// writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum WhyUnregistered {
    /// The kernel gives no table whose entries can be filled later (Linux before 5.19), or not
    /// to this ring.
    NoTable {
        /// What it said.
        error: OsError,
    },
    /// The kernel has no memory for it, also when it was asked again: mostly because of the
    /// limit of locked memory (`ulimit -l`), which all rings and processes of the user share.
    Memory {
        /// What it said.
        error: OsError,
        /// `RLIMIT_MEMLOCK` of this process in bytes; `None` if there is none, or it cannot be
        /// read.
        limit: Option<u64>,
    },
    /// Every entry of the ring's table is taken.
    Entries {
        /// How many it has.
        limit: u16,
    },
    /// The kernel refused a piece for another reason.
    Refused {
        /// What it said.
        error: OsError,
        /// How long the piece was, in bytes.
        bytes: usize,
    },
}

impl fmt::Display for WhyUnregistered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::NoTable { error } => {
                write!(f, "no table of buffers (Linux 5.19 has them): {error}")
            }
            Self::Memory {
                error,
                limit: Some(limit),
            } => {
                let limit = Bytes::exact(usize::try_from(limit).unwrap_or(usize::MAX));
                write!(f, "{error}; this user's rings may lock {limit} (ulimit -l)")
            }
            Self::Memory { error, limit: None } => write!(f, "{error}"),
            Self::Entries { limit } => write!(f, "all {limit} entries of the table are taken"),
            Self::Refused { error, bytes } => {
                write!(f, "a piece of {}: {error}", Bytes::exact(bytes))
            }
        }
    }
}

impl std::error::Error for WhyUnregistered {}

/// What of a pool's memory is registered with a ring.
///
/// As text it is a message for a log: `1 GiB registered in 2 entries, 512 MiB not: …`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Report {
    /// Bytes that are.
    pub registered: usize,
    /// Bytes that are not. Their buffers are read and written all the same.
    pub unregistered: usize,
    /// Entries of the table that are taken.
    pub entries: usize,
    /// Why not all is, if not all is: the first reason there was.
    pub why: Option<WhyUnregistered>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let entries = self.entries;
        let [registered, unregistered] = Bytes::together([self.registered, self.unregistered]);
        let plural = if entries == 1 { "y" } else { "ies" };
        write!(f, "{registered} registered in {entries} entr{plural}")?;
        if self.unregistered > 0 {
            write!(f, ", {unregistered} not")?;
        }
        match self.why {
            Some(why) => write!(f, ": {why}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_says_how_much_and_why() {
        let error = OsError {
            call: "io_uring_register",
            number: libc::ENOMEM,
        };
        let all = Report {
            registered: 1 << 30,
            unregistered: 0,
            entries: 1,
            why: None,
        };
        assert_eq!(all.to_string(), "1 GiB registered in 1 entry");
        let limit = Some(8 << 20);
        let part = Report {
            registered: 8 << 20,
            unregistered: 24 << 20,
            entries: 2,
            why: Some(WhyUnregistered::Memory { error, limit }),
        };
        assert_eq!(
            part.to_string(),
            "8 MiB registered in 2 entries, 24 MiB not: io_uring_register: Cannot allocate \
             memory (os error 12); this user's rings may lock 8 MiB (ulimit -l)"
        );
    }
}
