//! The shared free buffers of one class: a stack of batches.
//!
//! Owns: the head word of the stack. Uses: `sync`, `sys`, `word`, `batch`. Used by:
//! `lists`, which refills processors' caches from it and flushes them into it.
//!
//! ```text
//!   head {tag, shut, count, batch} ──▶ [a b c d . .]   count = 3: c is next,
//!                                            │ next       d was taken before
//!                                            ▼
//!                                        [e f g h i j]
//!                                            │ next
//!                                            ▼
//!                                          none
//! ```
//!
//! A buffer in the stack is held by nobody; whoever moves the head past it holds
//! it. How many buffers of the top batch are left is in the head itself, so each
//! of the three moves is one compare-and-swap: `push` puts a batch on top,
//! `pop_batch` takes what is left of the top batch, `pop_one` takes its last
//! buffer. None can be half done, so a thread that stops anywhere stops nobody.
//!
//! An array in the stack does not change until the head has moved past it, and
//! then the tag has changed too. So a compare-and-swap that succeeds proves that
//! everything its caller read from the array was current. A batch in the stack
//! holds at least one buffer.

use crate::batch::Batches;
use crate::sync::{AtomicU64, Ordering, fault, touch};
use crate::sys::address::soon_written;
use crate::table::Zeroed;
use crate::word::{Batch, Index, Pile};

/// The stack of batches of one class.
#[derive(Default)]
pub struct Depot {
    /// A `Pile`. Written by compare-and-swap alone. `push` releases what its
    /// thread wrote to the array and the buffers; every reader acquires. Pops
    /// are read-modify-writes too, so they continue the release sequence of
    /// every earlier push: a batch that surfaces later is as visible as one on
    /// top.
    head: AtomicU64,
}

// SAFETY: one integer atomic; all-zero bytes are an open, empty stack.
unsafe impl Zeroed for Depot {}

/// The depot is shut: the class is shared, or the pool is being torn down. The batch is
/// still the caller's.
#[derive(Debug)]
pub struct Shut(pub Batch);

impl Depot {
    fn load(&self) -> Pile {
        // Acquire: pairs with the Release in `push`, so that the array on top is
        // read as its pusher left it.
        let order = fault!(DepotPopRelaxed, Ordering::Relaxed, Ordering::Acquire);
        Pile::from_word(self.head.load(order))
    }

    /// Replaces `old` by `new`; on failure gives the head that stood there
    /// instead, from which the caller starts over, tag included.
    fn swap(&self, old: Pile, new: Pile, success: Ordering) -> Result<(), Pile> {
        // Failure is Acquire for the same reason as `load`.
        let failure = fault!(DepotPopRelaxed, Ordering::Relaxed, Ordering::Acquire);
        self.head
            .compare_exchange_weak(old.word(), new.word(), success, failure)
            .map(drop)
            .map_err(Pile::from_word)
    }

    /// Says that the caller is about to push.
    #[inline]
    pub fn soon(&self) {
        soon_written(&self.head);
    }

    /// Puts `batch`, which the caller holds and which is not empty, on top unless
    /// the depot is shut. Lock-free. Once the compare-and-swap has succeeded
    /// nothing of the pool is touched.
    pub fn push(&self, batches: &Batches, batch: Batch) -> Result<(), Shut> {
        debug_assert!(!batch.is_none(), "it would hide what is below");
        let mut head = self.load();
        loop {
            if fault!(IgnoreShut, false, head.is_shut()) {
                return Err(Shut(batch));
            }
            batches.link(batch, head.batch());
            // Release: whoever acquires this head sees the array and everything
            // this thread did with the buffers.
            let order = fault!(DepotPushRelaxed, Ordering::Relaxed, Ordering::Release);
            match self.swap(head, head.with(batch), order) {
                Ok(()) => return Ok(()),
                Err(now) => head = now,
            }
        }
    }

    /// Takes what is left of the top batch, and says how many buffers that left
    /// in the stack. Lock-free. `Err` proves that the stack was empty when the
    /// returned head was read, and nothing about any later moment.
    pub fn pop_batch(&self, batches: &Batches) -> Result<(Batch, u32), Pile> {
        let mut head = self.load();
        loop {
            let batch = head.batch();
            if batch.is_none() {
                return Err(head);
            }
            let rest = batches.next(batch);
            let left = batches.depth(batch).wrapping_sub(batch.count());
            // Release: the taker announced the carry before this (see
            // `lists::Carry`); whoever sees the batch gone must see the
            // announcement. The Acquire side was done by `load`.
            match self.swap(head, head.with(rest), Ordering::Release) {
                Ok(()) => return Ok((batch, left)),
                Err(now) => head = now,
            }
        }
    }

    /// Takes one buffer and leaves the rest of its batch where it is, so that no
    /// more than that buffer is ever in the caller's hands. Lock-free. Result as
    /// for `pop_batch`.
    pub fn pop_one(&self, batches: &Batches) -> Result<(Index, u32), Pile> {
        let mut head = self.load();
        loop {
            let batch = head.batch();
            if batch.is_none() {
                return Err(head);
            }
            let rest = if batch.count() > 1 {
                batch.less_one()
            } else {
                batches.next(batch)
            };
            let last = batches.last(batch);
            let left = batches.depth(batch).wrapping_sub(1);
            // Release: whoever sees the buffer gone sees what this thread gave
            // or announced before (`lists`). The Acquire side was done by
            // `load`, whose value the tag proves to be current.
            let order = fault!(TakeRelaxed, Ordering::Relaxed, Ordering::Release);
            match (self.swap(head, head.with(rest), order), last) {
                (Ok(()), Some(index)) => {
                    if batch.count() == 1 {
                        batches.put(batch.id());
                    }
                    return Ok((index, left));
                }
                // Not reached: a batch in the stack holds a buffer for each it
                // counts.
                (Ok(()), None) => head = self.load(),
                (Err(now), _) => head = now,
            }
        }
    }

    /// Diverts every push from now on, and gives how many buffers were there: a
    /// push that came before is counted, one that comes after is refused.
    /// Changes the word even if it was shut: see `unshut`.
    pub fn shut(&self, batches: &Batches) -> u64 {
        let mut head = self.load();
        // AcqRel: acquires what the last pusher released, since the memory may
        // be unmapped next; releases what a refused push will look for.
        let order = fault!(ShutRelaxed, Ordering::Relaxed, Ordering::AcqRel);
        while fault!(ShutOnce, !head.is_shut(), true)
            && let Err(now) = self.swap(head, head.with_shut(true), order)
        {
            head = now;
        }
        u64::from(batches.depth(head.batch()))
    }

    /// Lets pushes in again if `idle` still holds after the word was read. A
    /// thread that makes `idle` false and then calls `shut` is not undone by
    /// this: either `idle` sees that, or the word has changed.
    pub fn unshut(&self, idle: impl Fn() -> bool) {
        let mut head = self.load();
        while head.is_shut() && idle() {
            // Release: as every change.
            match self.swap(head, head.with_shut(false), Ordering::Release) {
                Ok(()) => return,
                Err(now) => head = now,
            }
        }
    }

    /// What counts the changes of the stack, and how many buffers it holds.
    pub fn seen(&self, batches: &Batches) -> (u32, u32) {
        let head = self.load();
        (head.tag(), batches.depth(head.batch()))
    }

    /// Touches the head, so that no later call faults a page.
    pub fn populate(&self) {
        touch(&self.head);
    }

    /// Whether there is none; a hint.
    pub fn is_empty(&self) -> bool {
        self.load().batch().is_none()
    }

    /// How many buffers the stack holds: exact while nobody changes it, an
    /// estimate otherwise (the count below the top batch may be read while the
    /// array is being rewritten).
    pub fn len(&self, batches: &Batches) -> u64 {
        u64::from(batches.depth(self.load().batch()))
    }
}
