//! How many threads of this process may be asking servers.
//!
//! Owns: a place for each. Uses: `sys`. Used by: `ask`.
//!
//! ```text
//!   free ──▶ taken ──▶ number of the thread ──▶ free: no thread has that number any more
//!     ▲────────┘ it was not started
//! ```
//!
//! A thread has its place until the kernel has closed what it had open, which a hostile
//! server may keep it from. So such threads are so many at most, whoever asks.

use crate::sync::{AtomicU32, Ordering};
use crate::sys::clock;
use crate::sys::files;
use crate::sys::socket::Deadline;
use std::time::Duration;

const FREE: u32 = 0;
const TAKEN: u32 = u32::MAX;
/// How long it is until who waits looks again.
const PAUSE: Duration = Duration::from_millis(1);

/// A row of places. Relaxed throughout: a place says nothing about other memory.
pub(super) struct Places<const N: usize>([AtomicU32; N]);

/// Those of this process.
pub(super) static PLACES: Places<32> = Places::new();

impl<const N: usize> Places<N> {
    pub(super) const fn new() -> Self {
        Self([const { AtomicU32::new(FREE) }; N])
    }

    /// A place. Waits for one; `None`: there was none until `deadline`.
    pub(super) fn take(&'static self, deadline: Deadline) -> Option<Place> {
        loop {
            for place in &self.0 {
                let now = place.load(Ordering::Relaxed);
                let free = now == FREE || now != TAKEN && !files::is_thread(now as i32);
                let (order, failed) = (Ordering::Relaxed, Ordering::Relaxed);
                if free && place.compare_exchange(now, TAKEN, order, failed).is_ok() {
                    return Some(Place(place));
                }
            }
            if deadline.left().is_zero() {
                return None;
            }
            // Not the standard library's sleep, which signals can keep from its end.
            clock::nap(deadline.left().min(PAUSE).subsec_nanos());
        }
    }
}

/// A place that was taken.
pub(super) struct Place(&'static AtomicU32);

impl Place {
    /// It is the calling thread's, until that has ended.
    pub(super) fn occupy(self) {
        let number = files::thread_number() as u32;
        self.0.store(number, Ordering::Relaxed);
        std::mem::forget(self);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.store(FREE, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;

    #[test]
    fn a_place_is_free_again_when_its_thread_has_ended() {
        static TWO: Places<2> = Places::new();
        let now = || Deadline::within(Duration::ZERO);
        let later = || Deadline::within(Duration::from_secs(600));
        let unused = TWO.take(now()).unwrap();
        let used = TWO.take(now()).unwrap();
        assert!(TWO.take(now()).is_none());
        let (ready, end) = (thread::current(), std::sync::atomic::AtomicBool::new(false));
        let end = &end;
        thread::scope(|scope| {
            let holder = scope.spawn(move || {
                used.occupy();
                ready.unpark();
                while !end.load(std::sync::atomic::Ordering::Acquire) {
                    thread::park();
                }
            });
            thread::park_timeout(Duration::from_millis(10));
            assert!(TWO.take(now()).is_none(), "it lives");
            end.store(true, std::sync::atomic::Ordering::Release);
            holder.thread().unpark();
            assert!(TWO.take(later()).is_some(), "it has ended");
        });
        drop(unused);
        assert!(TWO.take(now()).is_some());
    }
}
