//! Why a pool's caches are not on restartable sequences.
//!
//! Owns: the reasons, and their words. Uses: nothing. Used by: `cache`, `stats`, `machine`, and
//! callers.

use std::fmt;

/// Why caches are portable, though restartable ones are faster:
/// [`Stats::why_portable`](crate::Stats::why_portable). Displays as a few words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum WhyPortable {
    /// The builder was told so: `Builder::portable_caches`.
    Chosen,
    /// The library has no sequences for this processor.
    NoSequences,
    /// `membarrier(2)` is refused: by the kernel, which is older than Linux 5.10, or a filter.
    NoBarrier,
    /// `rseq(2)` is refused, or somebody else has registered the thread in a way of his own.
    NotRegistered,
    /// The kernel takes all the calls and restarts no sequence.
    NotRestarted,
    /// Whether it restarts any was not tried, since no thread could be started for it. The
    /// next pool that is built tries again.
    NoThread,
    /// Whether it restarts any was tried for a second, in which the two threads did not run
    /// at the same time for long enough. The next pool that is built tries again.
    NoTime,
}

impl fmt::Display for WhyPortable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Chosen => "the builder chose them",
            Self::NoSequences => "no restartable sequences for this processor",
            Self::NoBarrier => "membarrier(2) is refused",
            Self::NotRegistered => "rseq(2) is refused",
            Self::NotRestarted => "the kernel restarts no sequence, although it says so",
            Self::NoThread => "restartable sequences were not tried: no thread could be started",
            Self::NoTime => "restartable sequences were not tried: too little processor time",
        })
    }
}
