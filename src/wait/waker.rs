//! Where a task leaves word how it is to be woken.
//!
//! Owns: the waker. Uses: `sync`. Used by: the line, a cell a place.
//!
//! ```text
//!            register                      ring
//!   nobody ────────────▶ a boxed waker ────────────▶ nobody
//!                          │      ▲                  (the ringing thread has it)
//!                          └──────┘ register
//! ```
//!
//! Each arrow is one swap of the pointer, and whoever swaps a waker out owns it:
//! it is run, or dropped, when it is in nobody's reach any more, so it may do
//! what it likes, this place included. A task that registers and then looks at
//! its place misses nothing: a thread that moved the place on and then found no
//! waker swapped before the task did, and the task's swap acquired that.

use crate::sync::{AtomicPtr, Ordering, fault, shield};
use std::ptr::null_mut;
use std::task::Waker;

/// A waker, or none.
#[derive(Default)]
pub struct WakerCell {
    /// A leaked box, or null. Swapped alone, with AcqRel: see the module.
    waker: AtomicPtr<Waker>,
}

impl WakerCell {
    fn swap(&self, waker: *mut Waker) -> Option<Box<Waker>> {
        let order = fault!(RegisterRelaxed, Ordering::Relaxed, Ordering::AcqRel);
        let before = self.waker.swap(waker, order);
        // SAFETY: not null, it came from `register`'s box, and the swap made it
        // the caller's alone.
        (!before.is_null()).then(|| unsafe { Box::from_raw(before) })
    }

    /// From now on `waker` is the one to wake. The caller looks at its place
    /// afterwards.
    #[cfg_attr(
        not(any(feature = "event-listener", hugepool_loom)),
        allow(dead_code, reason = "only tasks register")
    )]
    pub fn register(&self, waker: &Waker) {
        let boxed = match self.swap(null_mut()) {
            Some(mut boxed) => {
                Waker::clone_from(&mut boxed, waker);
                boxed
            }
            None => Box::new(waker.clone()),
        };
        let other = self.swap(Box::into_raw(boxed));
        debug_assert!(other.is_none(), "two tasks at one place");
    }

    /// Takes the waker out, and wakes who it belongs to. One that panics has the
    /// panic reported and ends no more than itself: the caller is in the middle
    /// of giving something back.
    pub fn ring(&self) {
        if let Some(waker) = self.swap(null_mut()) {
            shield(move || waker.wake());
        }
    }

    /// Takes the waker out.
    #[must_use]
    pub fn clear(&self) -> Option<Box<Waker>> {
        self.swap(null_mut())
    }
}
