//! Kinds of pages, and which of them a pool may use.
//!
//! Owns: the names. Uses: nothing. Used by: `arena`, `error`, the builder.

use std::fmt;

/// A kind of page that can back a segment, best first: the rungs of the page
/// ladder.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash)]
pub enum Pages {
    /// 1 GiB pages from the hugetlb pool.
    Huge1G,
    /// 2 MiB pages from the hugetlb pool.
    Huge2M,
    /// Base pages that the kernel merges into 2 MiB ones where it can, if the administrator's
    /// switch lets it (`enabled`, of a shared pool's memory `shmem_enabled`, in
    /// `/sys/kernel/mm/transparent_hugepage`).
    Transparent,
    /// Base pages that the kernel is told to collapse into 2 MiB ones (`MADV_COLLAPSE`, Linux
    /// 6.1), where the switches merge nothing, too; `deny` alone refuses it, of shared memory.
    /// What they become are transparent huge pages. So if nothing is said of this kind, it is
    /// not used where [`Transparent`](Self::Transparent) is [`Rung::Never`]. It takes memory
    /// that is there: a pool that is not [prefaulted](crate::Builder::prefault) has none of
    /// these.
    Collapsed,
    /// Base pages (4 KiB on x86-64).
    Base,
}

impl Pages {
    /// Every kind, best first.
    pub const ALL: [Pages; 5] = [
        Pages::Huge1G,
        Pages::Huge2M,
        Pages::Transparent,
        Pages::Collapsed,
        Pages::Base,
    ];
}

impl fmt::Display for Pages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Pages::Huge1G => "1 GiB huge",
            Pages::Huge2M => "2 MiB huge",
            Pages::Transparent => "transparent huge",
            Pages::Collapsed => "collapsed huge",
            Pages::Base => "base",
        })
    }
}

/// Whether a pool may use a kind of page.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Rung {
    /// Nothing below this kind will do: if it is not granted, building fails.
    Require,
    /// Use it if it is granted, otherwise try the next kind.
    Prefer,
    /// Do not try it.
    Never,
}
