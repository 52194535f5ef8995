//! The shared free list of one class: a stack of batches.
//!
//! Owns: the head word of the stack. Uses: `sync`, `word`, `record`. Used by:
//! `cache`, which refills processors' caches from it and flushes them into it.
//!
//! ```text
//!            head {tag, closed, index}
//!              │
//!   batch ──▶ a ─next─▶ b ─next─▶ c         every member of a batch carries
//!              │next_batch                   next_batch and below, so taking
//!              ▼                             `a` alone leaves `b` as first
//!   batch ──▶ d ─next─▶ e
//!              │next_batch
//!              ▼
//!             none
//! ```
//!
//! A buffer in the stack is held by nobody; whoever moves the head past it
//! holds it. Three moves, each one compare-and-swap on `head`: `push` puts a
//! batch on top, `pop_batch` takes the top batch, `pop_one` takes the top
//! buffer and leaves the rest of its batch. None can be half done, so a thread
//! that stops anywhere stops nobody else.
//!
//! Links of buffers in the stack do not change until the head has moved past
//! them, and then the tag has changed too. So a compare-and-swap that succeeds
//! proves that every link its caller followed was current.

use crate::record::{Chain, Records};
use crate::sync::{AtomicU64, Ordering, fault};
use crate::table::Zeroed;
use crate::word::{Head, Index, link};

/// The stack of batches of one class.
#[derive(Default)]
pub struct Depot {
    /// A `Head`. Written by compare-and-swap alone. `push` releases what its
    /// thread wrote to the batch (links and buffer contents); every reader
    /// acquires. Pops are read-modify-writes too, so they continue the release
    /// sequence of every earlier push: a batch that surfaces later is as
    /// visible as one on top.
    head: AtomicU64,
}

// SAFETY: one integer atomic; all-zero bytes are an open, empty stack.
unsafe impl Zeroed for Depot {}

/// The depot takes no more buffers; the chain is still the caller's.
#[derive(Debug)]
pub struct Closed(pub Chain);

impl Depot {
    fn load(&self) -> Head {
        // Acquire: pairs with the Release in `push`, so that the links of the
        // batch on top are read as its pusher left them.
        let order = fault!(DepotPopRelaxed, Ordering::Relaxed, Ordering::Acquire);
        Head::from_word(self.head.load(order))
    }

    /// Replaces `old` by `new`; on failure gives the head that stood there
    /// instead, from which the caller starts over, tag included.
    fn swap(&self, old: Head, new: Head, success: Ordering) -> Result<(), Head> {
        // Failure is Acquire for the same reason as `load`.
        let failure = fault!(DepotPopRelaxed, Ordering::Relaxed, Ordering::Acquire);
        self.head
            .compare_exchange_weak(old.word(), new.word(), success, failure)
            .map(drop)
            .map_err(Head::from_word)
    }

    /// Buffers in the stack under `head`, which must be its current head.
    fn count(head: Head, records: &Records) -> u32 {
        head.top().map_or(0, |top| {
            let record = records.get(top.raw() as usize);
            // Relaxed: links are covered by the head's Acquire. Wrapping,
            // because a stale pair of links may not add up.
            let below = record.below.load(Ordering::Relaxed);
            below.wrapping_add(record.depth())
        })
    }

    /// Puts `chain` on top as one batch. Lock-free. Once the compare-and-swap
    /// has succeeded nothing of the pool is touched.
    pub fn push(&self, records: &Records, chain: Chain) -> Result<(), Closed> {
        let mut head = self.load();
        loop {
            if fault!(IgnoreClosed, false, head.is_closed()) {
                return Err(Closed(chain));
            }
            let below = Self::count(head, records);
            let next_batch = link(head.top());
            let mut at = Some(chain.first);
            while let Some(index) = at {
                let record = records.get(index.raw() as usize);
                // Relaxed: released by the swap below.
                record.next_batch.store(next_batch, Ordering::Relaxed);
                record.below.store(below, Ordering::Relaxed);
                at = record.next();
            }
            // Release: whoever acquires this head sees the links above and
            // everything this thread did with the buffers.
            let order = fault!(DepotPushRelaxed, Ordering::Relaxed, Ordering::Release);
            match self.swap(head, head.with_top(Some(chain.first)), order) {
                Ok(()) => return Ok(()),
                Err(now) => head = now,
            }
        }
    }

    /// Takes the top batch. Lock-free. `Err` proves that the stack was empty
    /// when the returned head was read, and nothing about any later moment.
    pub fn pop_batch(&self, records: &Records) -> Result<Chain, Head> {
        let mut head = self.load();
        loop {
            let first = head.top().ok_or(head)?;
            let record = records.get(first.raw() as usize);
            let len = record.depth();
            // Relaxed: covered by the head's Acquire.
            let rest = Index::from_raw(record.next_batch.load(Ordering::Relaxed));
            // Release: the taker announced the carry before this (see
            // `cache::Slot::begin_move`); whoever sees the batch gone must see
            // the announcement. The Acquire side was done by `load`.
            match self.swap(head, head.with_top(rest), Ordering::Release) {
                Ok(()) => return Ok(Chain { first, len }),
                Err(now) => head = now,
            }
        }
    }

    /// Takes the top buffer and leaves the rest of its batch where it is, so
    /// that no more than the one buffer is ever in the caller's hands.
    /// Lock-free. `Err` as for `pop_batch`.
    pub fn pop_one(&self, records: &Records) -> Result<Index, Head> {
        let mut head = self.load();
        loop {
            let first = head.top().ok_or(head)?;
            let record = records.get(first.raw() as usize);
            let rest = record.next().or_else(|| {
                // Relaxed: covered by the head's Acquire.
                Index::from_raw(record.next_batch.load(Ordering::Relaxed))
            });
            // Relaxed on success: `load` acquired this very value (the tag says
            // so), and nothing of this thread needs to be released.
            match self.swap(head, head.with_top(rest), Ordering::Relaxed) {
                Ok(()) => return Ok(first),
                Err(now) => head = now,
            }
        }
    }

    /// Takes every batch at once, giving each to `visit`. Lock-free.
    pub fn grab(&self, records: &Records, visit: impl FnMut(Chain)) {
        let mut head = self.load();
        // Release: as in `pop_batch`.
        while let Err(now) = self.swap(head, head.grabbed(), Ordering::Release) {
            head = now;
        }
        Self::walk(head, records, visit);
    }

    /// Empties the stack and takes nothing from now on. Gives how many buffers
    /// were home. A push whose compare-and-swap came before ours is counted; one
    /// that comes after finds the flag and keeps its buffers.
    pub fn close(&self, records: &Records) -> u64 {
        let mut head = self.load();
        // AcqRel: acquires what the last pusher released, since the memory may
        // be unmapped next; releases the counter that late buffers go to.
        while let Err(now) = self.swap(head, head.closed(), Ordering::AcqRel) {
            head = now;
        }
        let mut home = 0;
        Self::walk(head, records, |chain| home += u64::from(chain.len));
        home
    }

    fn walk(head: Head, records: &Records, mut visit: impl FnMut(Chain)) {
        let mut at = head.top();
        while let Some(first) = at {
            let record = records.get(first.raw() as usize);
            // Relaxed: the caller holds the batch.
            at = Index::from_raw(record.next_batch.load(Ordering::Relaxed));
            let len = record.depth();
            visit(Chain { first, len });
        }
    }

    /// How many buffers the stack holds: exact for one moment within the call.
    /// Lock-free.
    pub fn len(&self, records: &Records) -> u64 {
        let mut head = self.load();
        loop {
            let count = Self::count(head, records);
            // The links were current if the head is still the same.
            let now = self.load();
            if now == head {
                return u64::from(count);
            }
            head = now;
        }
    }
}
