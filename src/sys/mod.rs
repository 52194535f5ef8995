//! Every call into the operating system, one small file a subject.
//!
//! Owns: `libc`. Uses: nothing of the library. Used by: `table`, `cache`,
//! `arena`, `pool`, `machine`. Each file turns a group of system calls into
//! functions that return `io::Result` or `Option`, and says which manual page
//! their contract comes from.

pub mod address;
#[cfg(not(hugepool_loom))]
pub mod backed;
pub mod bell;
pub mod clock;
pub mod cpu;
#[cfg(not(hugepool_loom))]
pub mod direct;
pub mod errno;
#[cfg(all(feature = "io-uring", not(hugepool_loom)))]
pub mod eventfd;
#[cfg(not(hugepool_loom))]
pub mod fork;
/// A model does not fork.
#[cfg(hugepool_loom)]
pub mod fork {
    /// Never.
    pub fn forks() -> u32 {
        0
    }
}
#[cfg(not(hugepool_loom))]
pub mod files;
#[cfg(not(hugepool_loom))]
pub mod groups;
#[cfg(all(feature = "io-uring", not(hugepool_loom)))]
pub mod inherited;
#[cfg(not(hugepool_loom))]
pub mod limits;
#[cfg(not(hugepool_loom))]
mod list;
#[cfg(not(hugepool_loom))]
pub mod loaded;
#[cfg(not(hugepool_loom))]
pub mod map;
#[cfg(not(hugepool_loom))]
pub mod membarrier;
#[cfg(not(hugepool_loom))]
pub mod memfd;
#[cfg(not(hugepool_loom))]
pub mod memory;
#[cfg(not(hugepool_loom))]
pub mod node;
#[cfg(not(hugepool_loom))]
pub mod numa;
#[cfg(not(hugepool_loom))]
pub mod own;
#[cfg(not(hugepool_loom))]
mod pagemap;
#[cfg(not(hugepool_loom))]
pub mod peer;
#[cfg(not(hugepool_loom))]
pub mod quota;
#[cfg(not(hugepool_loom))]
pub mod random;
#[cfg(not(hugepool_loom))]
pub mod robust;
#[cfg(not(hugepool_loom))]
pub mod rseq;
#[cfg(not(hugepool_loom))]
pub mod signal;
#[cfg(not(hugepool_loom))]
mod smaps;
#[cfg(not(hugepool_loom))]
pub mod socket;
#[cfg(not(hugepool_loom))]
pub mod transparent;
#[cfg(all(feature = "io-uring", not(hugepool_loom)))]
pub mod uring;
