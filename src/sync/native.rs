//! The processor's own atomics. See the parent module.
#![allow(clippy::disallowed_types)]

pub use core::hint::spin_loop;
pub use core::sync::atomic::{
    AtomicI64, AtomicU8, AtomicU16, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence,
};
pub use std::sync::Arc;
pub use std::thread::yield_now;
