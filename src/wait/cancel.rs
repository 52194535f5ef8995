//! Waits that somebody may end while the others go on.
//!
//! Owns: whether they are to end, and the marks on their places. Uses: the line. Used
//! by: `pool`.
//!
//! ```text
//!   who waits                           who cancels
//!   ---------                           -----------
//!   stands in line                      says that it is cancelled
//!   marks its place                     full fence
//!   full fence                          looks through the line for the mark,
//!   reads how often the bell rang         and rings
//!   looks whether it is cancelled
//!   sleeps, until the bell has rung since
//! ```
//!
//! # No cancellation is slept through
//!
//! One of the two fences comes first.
//!
//! - If that of who cancels comes first, then whoever waits finds, after its own, that
//!   it is cancelled, and does not sleep.
//! - If that of who waits comes first, then whoever cancels finds the place occupied,
//!   somebody standing there, and the mark, unless the wait is over by then; and rings.
//!   If it rings before the waiter reads how often the bell rang, then the waiter
//!   acquires with that count what was released before, and finds that it is cancelled.
//!   If it rings after that, then the count has changed, and the waiter does not sleep,
//!   or wakes.
//!
//! Ringing moves no place on. So a buffer that is handed over at the same time is the
//! waiter's, as it is if time is up: `leave` finds it. A waiter that was called and now
//! leaves says so, as always, and whoever else waits is called in its stead.
//!
//! A mark is a number of 32 bits, and two may be the same. Whoever is woken for the mark
//! of somebody else looks in vain.

#[cfg(not(hugepool_loom))]
use super::Place;
use super::{Line, Seat};
use crate::sync::{AtomicU32, Ordering, fault, fence};
use crate::word::Standing;

// A place has room for the mark.
#[cfg(not(hugepool_loom))]
const _: () = assert!(size_of::<Place>() == 64);

/// Whether some waits are to end. It is not moved while any of them goes on.
#[derive(Default)]
pub struct Cancel {
    /// 1 once they are to end. Never taken back. Written by whoever cancels, with
    /// Release, and read by those who wait, with Acquire: they find what was done before.
    cancelled: AtomicU32,
}

impl Cancel {
    /// Whether they are to end.
    pub fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Acquire) != 0
    }

    /// What its waits have on their places.
    fn mark(&self) -> u32 {
        // Others have other addresses.
        let number = std::ptr::from_ref(self).addr() / align_of::<Self>();
        (number as u32).max(1)
    }
}

impl Line {
    /// From now on the wait at `seat` is one of those that `cancel` ends. The caller
    /// looks whether it is cancelled afterwards, and again before it sleeps.
    pub fn mark(&self, seat: &Seat, cancel: &Cancel) {
        // Release costs nothing before the fence.
        (self.place(seat.id).mark).store(cancel.mark(), Ordering::Release);
        // SeqCst: see the module for the two cases.
        fault!(NoMarkFence, (), fence(Ordering::SeqCst));
    }

    /// Ends the waits that `cancel` is the mark of, and every one to come. Lock-free.
    pub fn cancel(&self, cancel: &Cancel) {
        cancel.cancelled.store(1, Ordering::Release);
        // SeqCst: see the module for the two cases.
        fault!(NoCancelFence, (), fence(Ordering::SeqCst));
        for (id, standing) in self.standing(0) {
            // Relaxed: the standing was acquired, or the fence came later than the
            // waiter's.
            let mark = self.place(id).mark.load(Ordering::Relaxed);
            if mark == cancel.mark()
                && let Standing::Waiting { task, .. }
                | Standing::Called { task, .. }
                | Standing::Entitled { task, .. } = standing
            {
                drop(self.wake(id, task));
            }
        }
    }
}
