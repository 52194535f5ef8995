//! The processor's own atomics. See the parent module.
#![allow(clippy::disallowed_types)]

pub use core::hint::spin_loop;
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
pub use core::sync::atomic::AtomicIsize;
pub use core::sync::atomic::{
    AtomicI64, AtomicPtr, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence,
};
pub use std::sync::Arc;
pub use std::thread::yield_now;
use std::time::{Duration, Instant};

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

/// Has the processor fetch the cache line of `place`, for writing, while the program goes on.
/// (What is loaded first, and changed then, is otherwise fetched twice if another processor
/// wrote it last: to be read, and to be had alone.)
#[inline(always)]
pub fn soon_written<T>(place: &T) {
    let address = std::ptr::from_ref(place);
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a hint, which changes nothing; what has no such instruction passes over it.
    unsafe {
        std::arch::asm!(
            "prefetchw [{0}]",
            in(reg) address,
            options(readonly, nostack, preserves_flags)
        );
    }
    #[cfg(target_arch = "aarch64")]
    // SAFETY: a hint, which changes nothing.
    unsafe {
        std::arch::asm!(
            "prfm pstl1keep, [{0}]",
            in(reg) address,
            options(readonly, nostack, preserves_flags)
        );
    }
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    let _ = address;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_is_fetched_for_writing_is_as_it_was() {
        let places = [1, 2];
        soon_written(&places[1]);
        assert_eq!(places, [1, 2]);
    }
}
