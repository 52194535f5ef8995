//! Reads and writes of a pool's buffers by io_uring, the pool's memory registered with the
//! kernel. Needs the feature `io-uring`.
//!
//! - [`Ring`] owns a ring and the buffers of what is under way: safe, for one thread.
//! - [`Service`] is a thread with a ring, and [`Handle`] gives futures for any executor.
//! - [`Registry`] says which buffer is in which entry of a ring's table, for those who drive a
//!   ring themselves.
//!
//! What is registered, limits, growth, children of a fork: [`io_uring`](crate::guide::io_uring);
//! the example `uring_copy` copies a file. What `O_DIRECT` needs of a file: [`direct`](crate::direct).
//!
//! Owns: all that knows of io_uring, but for its system calls. Uses: the crate `io-uring`,
//! `pool`, `buffer`, `sys`. Used by: callers. It is not on the way of a buffer out and home: it
//! enters the kernel, and the service has a lock.

mod error;
mod flights;
mod operation;
mod pieces;
mod queue;
mod registry;
mod report;
mod ring;
mod service;
mod transfer;
mod worker;

pub use error::{Rejected, RingError, WhyRejected};
pub use operation::Completion;
pub use registry::Registry;
pub use report::{Report, WhyUnregistered};
pub use ring::Ring;
pub use service::{Handle, Service};
pub use transfer::Transfer;

/// How many rings ([`Ring`], [`Service`]) a process can have at once.
pub const MAX_RINGS: usize = crate::sys::inherited::SEATS;
