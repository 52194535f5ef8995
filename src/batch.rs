//! Batches: small arrays of buffer indices that move between a processor's
//! cache and the depot as one.
//!
//! Owns: the arrays, the list of those that are not in use, and handfuls: what a
//! thread holds between two of them. Uses: `sync`, `sys`, `table`, `word`. Used by:
//! `depot` and `cache`, which pass batches on; `lists`, which fills and empties
//! them.
//!
//! ```text
//!   spare ──take──▶ in a thread's hands ──push──▶ in a depot ──pop──▶ in hands
//!     ▲                      │  ▲                   │                   │
//!     │                      │  └───────────────────┼───────────────────┤
//!     └────────put───────────┴──── last entry taken ┘     refill        ▼
//!     ▲                                                      in a CPU's cache
//!     └────────────────── last entry taken ─────────────────────────────┘
//! ```
//!
//! A batch fills two cache lines. That is what one processor has to fetch to
//! take over thirty buffers that another one freed; a list linked through the
//! buffers' records would make it fetch one line for each. So the records of
//! free buffers stay with the processor that frees them.
//!
//! There are enough for every buffer to be in a batch as large as its class
//! moves, and some over (`needed`). If batches with few left in them pile up so
//! that none is spare, buffers stay where they are (`lists`): that costs speed,
//! never a buffer.

use crate::sync::{AtomicU32, AtomicU64, Ordering};
use crate::sys::address::soon_written;
use crate::table::{Table, Zeroed};
use crate::word::{Batch, Index, Stack};
use crossbeam_utils::CachePadded;
use std::io;

/// The most buffers a batch can hold: what is left of two cache lines.
pub const MAX_BATCH: usize = if cfg!(hugepool_loom) { 2 } else { 30 };

/// Buffers in one thread's hands on their way between two lists.
#[derive(Debug)]
#[must_use = "buffers that are dropped here are lost to the pool"]
pub struct Handful {
    buffers: [Index; MAX_BATCH],
    len: usize,
}

impl Handful {
    /// No buffers; `any` fills the space of those that are not there.
    pub fn empty(any: Index) -> Self {
        Self {
            buffers: [any; MAX_BATCH],
            len: 0,
        }
    }

    /// One buffer.
    pub fn of(index: Index) -> Self {
        Self {
            buffers: [index; MAX_BATCH],
            len: 1,
        }
    }

    /// Adds a buffer if there is room.
    pub fn add(&mut self, index: Index) -> bool {
        let room = self.len < MAX_BATCH;
        if room {
            self.buffers[self.len] = index;
            self.len += 1;
        }
        room
    }

    /// The buffers.
    pub fn as_slice(&self) -> &[Index] {
        &self.buffers[..self.len]
    }
}

/// One array.
///
/// Whoever holds the batch (see the module) writes it with `Relaxed`; the
/// compare-and-swap that passes it on is a Release, and whoever may read it has
/// done an Acquire load of the word that names it. A thread whose word has
/// meanwhile changed may read an array that is being rewritten; its
/// compare-and-swap then fails on the tag, and what it read is dropped.
#[repr(C, align(128))]
#[derive(Default)]
struct Array {
    /// In a depot: the batch below, as a `Batch`. Spare: the number of the next
    /// spare one, 0 at the end.
    next: AtomicU32,
    /// In a depot: how many buffers there are in the batches below.
    below: AtomicU32,
    /// The buffers.
    entries: [AtomicU32; MAX_BATCH],
}

// SAFETY: integer atomics alone; all-zero bytes are an array without buffers.
unsafe impl Zeroed for Array {}

/// The batches of a pool.
pub struct Batches {
    arrays: Table<Array>,
    /// The spare ones: a `Stack` of array numbers. `put` releases, `take`
    /// acquires: who takes an array over comes after who gave it up.
    spare: CachePadded<AtomicU64>,
    /// Arrays that were ever made spare. They are numbered from 1.
    made: AtomicU64,
    /// Arrays that are meant to be; raised by `grow` before it makes them.
    meant: AtomicU64,
}

impl Batches {
    /// None yet; there can be one for every eight `buffers`. `open` and `grow` make some.
    /// Fails as `mmap` does.
    pub fn new(buffers: usize) -> io::Result<Self> {
        let most = (buffers / 8).clamp(4, Batch::MAX_ID as usize);
        Ok(Self {
            arrays: Table::closed(most + 1)?,
            spare: CachePadded::new(AtomicU64::new(0)),
            made: AtomicU64::new(0),
            meant: AtomicU64::new(0),
        })
    }

    /// How many batches a class of `buffers` needs that moves `batch` at once
    /// between `cpus` caches and its depot.
    pub fn needed(buffers: usize, batch: usize, cpus: usize) -> usize {
        buffers.div_ceil(batch.max(1)) + buffers / 16 + cpus + 2
    }

    /// Has memory ready for `count` batches, or as many as there can be. Fails, with
    /// nothing changed, if the system has none.
    pub fn open(&self, count: usize) -> io::Result<()> {
        self.arrays.open_to(count.saturating_add(1))
    }

    /// Makes batches until there are `count`, or as many as there is memory ready for.
    pub fn grow(&self, count: usize) {
        let most = (self.arrays.ready() as u64).saturating_sub(1);
        let target = (count as u64).min(most);
        // Relaxed: it says who makes how many, and together that is `meant`.
        let before = self.meant.fetch_max(target, Ordering::Relaxed);
        for _ in before..target {
            // Threads that make some at once take numbers from here, each once. Whoever gets
            // one beyond its own target comes after some by a thread that found it ready, for
            // those with lower targets make fewer. AcqRel: so it finds it ready, too. The
            // array is published by `put`.
            let id = self.made.fetch_add(1, Ordering::AcqRel) + 1;
            self.put(id as u32);
        }
    }

    fn array(&self, id: u32) -> &Array {
        self.arrays.get(id as usize)
    }

    /// Says that the caller is about to take or put a spare array.
    #[inline]
    pub fn soon(&self) {
        soon_written(&self.spare);
    }

    /// A spare array, now the caller's. Lock-free. `None` proves that there was
    /// none at one moment within the call.
    pub fn take(&self) -> Option<u32> {
        // Acquire: see `spare`.
        let mut head = Stack::from_word(self.spare.load(Ordering::Acquire));
        loop {
            let id = head.top();
            if id == 0 {
                return None;
            }
            // Relaxed: covered by the head's Acquire.
            let next = self.array(id).next.load(Ordering::Relaxed);
            match self.spare.compare_exchange_weak(
                head.word(),
                head.with_top(next).word(),
                // Relaxed on success: acquired by the load, whose value the tag
                // proves to be current.
                Ordering::Relaxed,
                Ordering::Acquire,
            ) {
                Ok(_) => return Some(id),
                Err(now) => head = Stack::from_word(now),
            }
        }
    }

    /// Makes the caller's array `id` a spare one. Lock-free.
    pub fn put(&self, id: u32) {
        // Relaxed: only the number matters, the Release is below.
        let mut head = Stack::from_word(self.spare.load(Ordering::Relaxed));
        loop {
            self.array(id).next.store(head.top(), Ordering::Relaxed);
            match self.spare.compare_exchange_weak(
                head.word(),
                head.with_top(id).word(),
                Ordering::Release,
                Ordering::Relaxed,
            ) {
                Ok(_) => return,
                Err(now) => head = Stack::from_word(now),
            }
        }
    }

    /// Fills the caller's array `id`; the last of `indices` will be the first to
    /// come out. Takes at most `MAX_BATCH` of them, and gives the batch.
    pub fn fill(&self, id: u32, indices: &[Index]) -> Batch {
        let array = self.array(id);
        for (entry, index) in array.entries.iter().zip(indices) {
            // Relaxed: see `Array`.
            entry.store(index.raw(), Ordering::Relaxed);
        }
        Batch::new(id, indices.len().min(MAX_BATCH) as u32)
    }

    /// The entries of the caller's array `id`, in the order in which `fill` fills them. They are
    /// read and written as `Array` says.
    #[inline]
    pub fn entries(&self, id: u32) -> &[AtomicU32; MAX_BATCH] {
        &self.array(id).entries
    }

    /// The buffer that comes out of `batch` next. `None` if the word was stale.
    #[inline]
    pub fn last(&self, batch: Batch) -> Option<Index> {
        let at = batch.count().checked_sub(1)? as usize;
        let entry = self.array(batch.id()).entries.get(at)?;
        // Relaxed: see `Array`.
        Index::from_raw(entry.load(Ordering::Relaxed))
    }

    /// Takes every buffer out of `batch`, which the caller holds, and makes the
    /// array a spare one.
    pub fn empty(&self, batch: Batch, mut visit: impl FnMut(Index)) {
        let mut rest = batch;
        while let Some(index) = self.last(rest) {
            rest = rest.less_one();
            visit(index);
        }
        self.put(batch.id());
    }

    /// In a depot: the batch below `batch`.
    #[inline]
    pub fn next(&self, batch: Batch) -> Batch {
        // Relaxed: see `Array`.
        Batch::from_raw(self.array(batch.id()).next.load(Ordering::Relaxed))
    }

    /// In a depot: how many buffers there are from `batch` to the bottom.
    pub fn depth(&self, batch: Batch) -> u32 {
        if batch.is_none() {
            return 0;
        }
        // Relaxed: see `Array`. Wrapping, because a stale pair of numbers may
        // not add up.
        let below = self.array(batch.id()).below.load(Ordering::Relaxed);
        below.wrapping_add(batch.count())
    }

    /// Links `batch`, which the caller holds, above `next`.
    pub fn link(&self, batch: Batch, next: Batch) {
        let below = self.depth(next);
        let array = self.array(batch.id());
        // Relaxed: see `Array`.
        array.next.store(next.raw(), Ordering::Relaxed);
        array.below.store(below, Ordering::Relaxed);
    }

    /// Bytes of memory the batches occupy, read from the kernel.
    pub fn resident(&self) -> io::Result<usize> {
        // Relaxed: statistics.
        let made = self.made.load(Ordering::Relaxed) as usize;
        self.arrays.resident(made + 1)
    }
}

#[cfg(all(test, not(hugepool_loom)))]
mod tests {
    use super::*;

    /// Two threads that grow a pool at once: who wants fewer makes some of the other's.
    #[test]
    fn all_that_were_meant_are_made_by_whoever_makes_them() {
        for round in 0..2000 {
            let batches = Batches::new(1600).unwrap();
            batches.open(200).unwrap();
            std::thread::scope(|scope| {
                scope.spawn(|| batches.grow(100));
                scope.spawn(|| batches.grow(200));
            });
            let made = std::iter::from_fn(|| batches.take()).count();
            assert_eq!(made, 200, "in round {round}");
        }
    }
}
