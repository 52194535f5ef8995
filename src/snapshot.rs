//! An immutable value that readers pin and writers replace.
//!
//! Owns: the current value, and those that were replaced until nobody can read
//! them. Uses: `sync`, crossbeam-epoch. Used by: `pool`, for the directory of
//! segments and classes; only cold calls come here.
//!
//! A writer makes the next value from the current one and publishes it by one
//! compare-and-swap; if another writer was faster it starts over from that
//! one's. The replaced value is retired: it is dropped once every reader that
//! was pinned when it was replaced has gone. Each snapshot has a collector of
//! its own, for two reasons: a thread that stays pinned elsewhere in the
//! process cannot hold our memory back, and dropping the snapshot drops
//! whatever is still retired, so nothing outlives the arena that it points to.

use crate::sync::{Ordering, fault};
use crossbeam_epoch::{Atomic, Collector, Owned, unprotected};
use std::panic::{RefUnwindSafe, UnwindSafe};

/// A value that is replaced as a whole.
pub struct Snapshot<T> {
    /// The current value, never null. Published with Release by `replace`, read
    /// with Acquire: a reader sees the value that its pointer names.
    current: Atomic<T>,
    collector: Collector,
}

// It is replaced by one compare-and-swap, so after a panic (in `next`, say) it is the one
// value or the other, whole.
impl<T: RefUnwindSafe> UnwindSafe for Snapshot<T> {}
impl<T: RefUnwindSafe> RefUnwindSafe for Snapshot<T> {}

impl<T: Send + Sync> Snapshot<T> {
    /// A snapshot of `value`.
    pub fn new(value: T) -> Self {
        Self {
            current: Atomic::new(value),
            collector: Collector::new(),
        }
    }

    /// Calls `read` with the current value, which stays whole until `read`
    /// returns. Lock-free.
    pub fn read<R>(&self, read: impl FnOnce(&T) -> R) -> R {
        let handle = self.collector.register();
        let guard = handle.pin();
        let current = self.current.load(Ordering::Acquire, &guard);
        // SAFETY: `current` is never null, and while `guard` is pinned no value
        // that was current after the pin is dropped.
        read(unsafe { current.deref() })
    }

    /// Replaces the value by what `next` makes of it, or leaves it if `next`
    /// fails. `next` is called again if another writer came first. Lock-free.
    /// Gives what `next` gave beside the value that was published.
    pub fn replace<R, E>(&self, mut next: impl FnMut(&T) -> Result<(T, R), E>) -> Result<R, E> {
        let handle = self.collector.register();
        let guard = handle.pin();
        loop {
            let current = self.current.load(Ordering::Acquire, &guard);
            // SAFETY: as in `read`.
            let (value, result) = next(unsafe { current.deref() })?;
            // AcqRel: releases the new value; acquires the old one, which is
            // dropped by whoever reclaims it. Failure is Relaxed: the value is
            // loaded anew.
            if self
                .current
                .compare_exchange(
                    current,
                    Owned::new(value),
                    Ordering::AcqRel,
                    Ordering::Relaxed,
                    &guard,
                )
                .is_ok()
            {
                fault!(
                    NoRetire,
                    // SAFETY: none; this is the fault that the model must find.
                    unsafe { drop(current.into_owned()) },
                    // SAFETY: `current` was just unlinked, by this thread alone,
                    // so no reader that pins from now on can reach it, and it
                    // is retired once.
                    unsafe { guard.defer_destroy(current) }
                );
                guard.flush();
                return Ok(result);
            }
        }
    }

    /// Drops the retired values that nobody can read any more. Lock-free; does
    /// nothing about values that a reader still pins.
    pub fn reclaim(&self) {
        // An epoch advances only while every pinned thread has seen the last
        // one, and garbage is two advances old before it is dropped.
        for _ in 0..4 {
            self.collector.register().pin().flush();
        }
    }
}

impl<T> Drop for Snapshot<T> {
    fn drop(&mut self) {
        // SAFETY: `&mut self`: no reader and no writer is left, and the current
        // value is not retired. The collector, dropped next, drops the retired
        // ones: no handle of it outlives the calls above.
        unsafe {
            let current = self.current.load(Ordering::Relaxed, unprotected());
            drop(current.into_owned());
        }
    }
}
