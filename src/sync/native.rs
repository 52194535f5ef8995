//! The processor's own atomics, or, where they count, those of `counted`. See the parent module.
#![allow(clippy::disallowed_types)]

#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
pub use atomics::AtomicIsize;
pub use atomics::{
    AtomicI64, AtomicPtr, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence,
};
pub use core::hint::spin_loop;
pub use std::sync::Arc;
pub use std::thread::yield_now;
use std::time::{Duration, Instant};

#[cfg(hugepool_counted)]
use super::counted as atomics;
#[cfg(not(hugepool_counted))]
use core::sync::atomic as atomics;

/// Runs somebody else's code, which may panic: that ends `foreign` (the panic hook
/// has reported it), and not what the caller is in the middle of.
pub fn shield(foreign: impl FnOnce()) {
    let unwound = std::panic::catch_unwind(std::panic::AssertUnwindSafe(foreign));
    // What it panicked with is leaked: to drop it is somebody else's code again.
    std::mem::forget(unwound);
}

/// How long a thread that found nothing waits for another that carries buffers
/// between two lists: it yields until 5 ms have passed, which is a few time
/// slices of the scheduler.
pub struct Patience {
    limit: Duration,
    since: Option<Instant>,
}

impl Patience {
    /// All of it.
    pub fn new() -> Self {
        Self {
            limit: Duration::from_millis(5),
            since: None,
        }
    }

    /// None at all.
    pub fn none() -> Self {
        Self {
            limit: Duration::ZERO,
            since: None,
        }
    }

    /// Lets other threads run; false, at once, when patience has run out.
    pub fn wait(&mut self) -> bool {
        if self.limit.is_zero() {
            return false;
        }
        let now = Instant::now();
        let since = *self.since.get_or_insert(now);
        if now.duration_since(since) >= self.limit {
            return false;
        }
        yield_now();
        true
    }
}
