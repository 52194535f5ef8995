//! Where a task leaves word how it is to be woken.
//!
//! Owns: the waker, in place. Uses: `sync`. Used by: the line, a cell a place.
//!
//! ```text
//!   state       who has the waker's two words
//!   ─────────   ──────────────────────────────────────────────
//!   idle        nobody: they hold a waker, or none
//!   registering the task, which writes them
//!   taking      a thread that wakes, which reads and clears them
//!   both        the task; when it has written it wakes itself
//! ```
//!
//! `take` sets the bit `taking`, whatever there is; if the cell was idle it moves
//! the waker out and clears the bit. `register` sets `registering` if the cell is
//! idle, writes the waker, and goes back to idle; if `taking` was set meanwhile it
//! takes its waker out again and wakes it. If the cell is being taken from when
//! `register` comes, the task is simply woken: it looks again.
//!
//! So a task that registers and then looks at its place misses nothing. If a
//! thread moved the place on and then found no waker, its change of the state came
//! before that of the task, which acquired it: the task sees the place moved on.
//! If it came after, the thread found the waker, or the task finds the bit.
//!
//! No call allocates, and a waker is run, or dropped, when it is out of the cell,
//! so it may do what it likes, this place included. (A thread that stops for ever
//! in the middle of taking makes the place's later tasks poll without a rest.)

use crate::sync::{AtomicPtr, AtomicU64, Ordering, fault, shield};
use std::mem::ManuallyDrop;
use std::ptr::null_mut;
use std::task::{RawWakerVTable, Waker};

const IDLE: u64 = 0;
const REGISTERING: u64 = 1;
const TAKING: u64 = 2;

/// A waker, or none.
pub struct WakerCell {
    /// See the module. AcqRel on every change: whoever gets hold of the two words
    /// acquires what the last one who had them released.
    state: AtomicU64,
    /// A waker in two words; no waker if `vtable` is null. Relaxed: read and
    /// written by whoever the state says alone.
    data: AtomicPtr<()>,
    vtable: AtomicPtr<RawWakerVTable>,
}

impl Default for WakerCell {
    fn default() -> Self {
        Self {
            state: AtomicU64::new(IDLE),
            data: AtomicPtr::new(null_mut()),
            vtable: AtomicPtr::new(null_mut()),
        }
    }
}

/// The ordering of every change of the state.
fn order() -> Ordering {
    fault!(RegisterRelaxed, Ordering::Relaxed, Ordering::AcqRel)
}

impl WakerCell {
    /// Moves the waker out. The state says that the caller has the words.
    fn empty(&self) -> Option<Waker> {
        let vtable = self.vtable.load(Ordering::Relaxed);
        self.vtable.store(null_mut(), Ordering::Relaxed);
        let data = self.data.load(Ordering::Relaxed);
        // SAFETY: not null, it came from a waker's `&'static` table, and `fill` put it
        // there together with the data, which are used once: the table is null now.
        (!vtable.is_null()).then(|| unsafe { Waker::new(data, &*vtable) })
    }

    /// Puts `waker` in, and gives the one that was there. As above.
    fn fill(&self, waker: Waker) -> Option<Waker> {
        let before = self.empty();
        let waker = ManuallyDrop::new(waker);
        self.data.store(waker.data().cast_mut(), Ordering::Relaxed);
        let vtable = std::ptr::from_ref(waker.vtable());
        self.vtable.store(vtable.cast_mut(), Ordering::Relaxed);
        before
    }

    /// From now on `waker` is the one to wake. Called by the place's owner alone,
    /// who looks at its place afterwards.
    #[cfg_attr(
        not(any(feature = "async", hugepool_loom)),
        allow(dead_code, reason = "only tasks register")
    )]
    pub fn register(&self, waker: &Waker) {
        // Somebody else's code, which may panic: nothing is in hand yet.
        let waker = waker.clone();
        let begun = (self.state).compare_exchange(IDLE, REGISTERING, order(), Ordering::Relaxed);
        if begun.is_err() {
            // Somebody takes the last one out: it may or may not have been for us.
            shield(move || waker.wake());
            return;
        }
        let before = self.fill(waker);
        let ended = (self.state).compare_exchange(REGISTERING, IDLE, order(), Ordering::Relaxed);
        let woken = if ended.is_err() {
            // Who came meanwhile leaves the waking to us.
            let woken = self.empty();
            self.state.swap(IDLE, order());
            woken
        } else {
            None
        };
        shield(move || drop(before));
        if let Some(woken) = woken {
            shield(move || woken.wake());
        }
    }

    /// Takes the waker out, to run or to drop it. `None`: there is none, or whoever
    /// has the cell just now runs it.
    #[must_use]
    pub fn take(&self) -> Option<Waker> {
        if self.state.fetch_or(TAKING, order()) != IDLE {
            return None;
        }
        let waker = self.empty();
        self.state.fetch_and(!TAKING, order());
        waker
    }
}
