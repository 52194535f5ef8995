//! Per-CPU caches of free buffers.
//!
//! Owns: the contract that every kind of per-CPU cache keeps, and the kinds.
//! Uses: `sync`, `sys::cpu`, `table`, `record`, `batch`. Used by: `lists`, which
//! refills them from the depots, flushes them into the depots, and steals from
//! them.
//!
//! One slot a processor and class. A slot is touched almost only by threads
//! that run on its processor; stealing, counting and closing come from others.

pub mod portable;

use crate::batch::{Batches, MAX_BATCH};
use crate::class::ClassId;
use crate::record::Records;
use crate::word::{Batch, Index};
use std::io;

/// The tables that lists are made of: what is kept per buffer, and the batches.
pub struct Tables {
    /// What is kept per buffer.
    pub records: Records,
    /// The batches.
    pub batches: Batches,
}

impl Tables {
    /// Tables for buffers whose index is below `indices`, at most `buffers` of
    /// them. Fails as `mmap` does.
    pub fn new(indices: usize, buffers: usize) -> io::Result<Self> {
        Ok(Self {
            records: Records::new(indices)?,
            batches: Batches::new(buffers)?,
        })
    }
}

/// Proof that a slot was empty at one moment within the call. Two proofs of one
/// slot are equal if and only if nothing was put into or taken from the slot
/// between them, and they never decrease (modulo the width of a tag), so sums of
/// them can be compared.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Empty(pub u64);

/// Why a slot did not take a buffer. The buffer is still the caller's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refused {
    /// It held as many as it may at one moment within the call.
    Full,
    /// The pool is being torn down; this does not change any more.
    Closed,
}

/// Buffers in one thread's hands on their way from a slot to the depot.
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

/// What a kind of per-CPU cache does for the free lists.
///
/// No call blocks or enters the kernel for the sake of another thread. Each
/// takes effect at one instant or not at all: a thread that stops forever
/// between any two instructions of one of these calls holds at most what the
/// call would have returned, and stops no other thread. What a thread wrote to
/// a buffer before it put the buffer in is visible to whoever takes it out.
pub trait CpuCaches: Sync {
    /// Processors that have slots.
    fn cpus(&self) -> usize;

    /// A word that names this kind in statistics.
    fn name(&self) -> &'static str;

    /// The processor the caller ran on at one moment within the call, below
    /// [`cpus`](Self::cpus).
    fn current(&self) -> usize;

    /// Takes a buffer from this processor's slot. `None` proves that the slot
    /// was empty at one moment, and nothing of any other slot.
    fn pop(&self, tables: &Tables, class: ClassId) -> Option<Index>;

    /// Puts a buffer into this processor's slot unless `capacity` were put there
    /// already. When it succeeds, that was the last touch of the pool.
    fn push(
        &self,
        tables: &Tables,
        class: ClassId,
        index: Index,
        capacity: u32,
    ) -> Result<(), Refused>;

    /// Puts `batch`, which the caller holds, into this processor's slot if there
    /// is room for it; otherwise gives it back. The caller holds a handle of the
    /// pool, so the slot is open.
    fn refill(&self, tables: &Tables, class: ClassId, batch: Batch) -> Result<(), Batch>;

    /// Takes up to `count` of the buffers that were put into the slot of
    /// processor `cpu`, at once. `None` means that there were none.
    fn flush(&self, tables: &Tables, cpu: usize, class: ClassId, count: u32) -> Option<Handful>;

    /// Takes what is left of the batch that the slot of processor `cpu` was
    /// filled with, at once.
    fn unfill(&self, tables: &Tables, cpu: usize, class: ClassId) -> Option<Batch>;

    /// Takes one buffer from the slot of processor `cpu`, whichever processor
    /// the caller runs on. `Err` proves that the slot was empty at one moment.
    fn steal(&self, tables: &Tables, cpu: usize, class: ClassId) -> Result<Index, Empty>;

    /// Empties the slot of processor `cpu` for good and gives how many buffers
    /// were home. Every push before it is counted; every push after it is
    /// refused. Nobody holds a handle of the pool any more.
    fn close(&self, tables: &Tables, cpu: usize, class: ClassId) -> u64;

    /// How many buffers the slot of processor `cpu` holds: exact while nobody
    /// changes it, an estimate otherwise.
    fn len(&self, tables: &Tables, cpu: usize, class: ClassId) -> u64;

    /// Touches the slots of `class`, so that no later call faults a page.
    fn populate(&self, class: ClassId);

    /// Bytes of memory the slots occupy, read from the kernel.
    fn resident(&self) -> io::Result<usize>;
}
