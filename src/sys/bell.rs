//! Sleeping until somebody rings: `futex(2)`.
//!
//! Owns: the futex calls. Uses: libc, `sync`. Used by: `wait`.

#[cfg(hugepool_loom)]
pub use crate::sync::Bell;

#[cfg(not(hugepool_loom))]
pub use native::Bell;

#[cfg(not(hugepool_loom))]
mod native {
    use crate::sync::{AtomicU32, Ordering};
    use std::ptr::null;
    use std::time::Instant;

    /// A counter of rings that a thread can sleep on.
    #[derive(Default)]
    pub struct Bell {
        /// Grown by `ring` with Release, read with Acquire: who finds that it
        /// has rung finds what was done before.
        rings: AtomicU32,
    }

    impl Bell {
        /// How often it has rung, modulo 2³².
        pub fn rings(&self) -> u32 {
            self.rings.load(Ordering::Acquire)
        }

        /// Rings: whoever sleeps, or goes to sleep with an older count, wakes.
        pub fn ring(&self) {
            self.rings.fetch_add(1, Ordering::Release);
            // SAFETY: the kernel looks at no more than the word's address.
            unsafe {
                libc::syscall(
                    libc::SYS_futex,
                    self.rings.as_ptr(),
                    libc::FUTEX_WAKE | libc::FUTEX_PRIVATE_FLAG,
                    i32::MAX,
                );
            }
        }

        /// Sleeps until it has rung since `seen`, or `deadline` has passed; or
        /// for no reason.
        pub fn sleep(&self, seen: u32, deadline: Option<Instant>) {
            let mut timeout = libc::timespec {
                tv_sec: 0,
                tv_nsec: 0,
            };
            let mut limit = null();
            if let Some(deadline) = deadline {
                let left = deadline.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    return;
                }
                timeout.tv_sec = left.as_secs().try_into().unwrap_or(libc::time_t::MAX);
                timeout.tv_nsec = left.subsec_nanos().into();
                limit = &raw const timeout;
            }
            // SAFETY: the word and the time limit live as long as the call. Its
            // failures are: rung already, interrupted, timed out.
            unsafe {
                libc::syscall(
                    libc::SYS_futex,
                    self.rings.as_ptr(),
                    libc::FUTEX_WAIT | libc::FUTEX_PRIVATE_FLAG,
                    seen,
                    limit,
                );
            }
        }
    }
}
