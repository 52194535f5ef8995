//! Per-CPU caches of free buffers.
//!
//! Owns: the contract that every kind of per-CPU cache keeps, and the kinds.
//! Uses: `sync`, `sys::cpu`, `table`, `record`. Used by: `lists`, which refills
//! them from the depots, flushes them into the depots, and steals from them.
//!
//! One slot a processor and class. A slot is touched almost only by threads
//! that run on its processor; stealing, counting and closing come from others.

pub mod portable;

use crate::class::ClassId;
use crate::record::{Chain, Records};
use crate::word::Index;

/// Proof that a slot was empty at one moment within the call. Two proofs of one
/// slot are equal if and only if nothing was put into or taken from the slot
/// between them, and they never decrease, so sums of them can be compared.
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
    fn pop(&self, records: &Records, class: ClassId) -> Option<Index>;

    /// Puts a buffer into this processor's slot unless it already holds
    /// `capacity`. When it succeeds, that was the last touch of the pool.
    fn push(
        &self,
        records: &Records,
        class: ClassId,
        index: Index,
        capacity: u32,
    ) -> Result<(), Refused>;

    /// Makes `chain` the content of this processor's slot if that is empty and
    /// open; otherwise gives it back.
    fn refill(&self, records: &Records, class: ClassId, chain: Chain) -> Result<(), Chain>;

    /// Takes up to `count` buffers from this processor's slot at once.
    fn flush(&self, records: &Records, class: ClassId, count: u32) -> Option<Chain>;

    /// Takes one buffer from the slot of processor `cpu`, whichever processor
    /// the caller runs on. `Err` proves that the slot was empty at one moment.
    fn steal(&self, records: &Records, cpu: usize, class: ClassId) -> Result<Index, Empty>;

    /// Takes everything in the slot of processor `cpu` at once.
    fn drain(&self, records: &Records, cpu: usize, class: ClassId) -> Option<Chain>;

    /// Empties the slot of processor `cpu` for good and gives how many buffers
    /// were home. Every push before it is counted; every push after it is
    /// refused.
    fn close(&self, records: &Records, cpu: usize, class: ClassId) -> u64;

    /// How many buffers the slot of processor `cpu` held at one moment.
    fn len(&self, records: &Records, cpu: usize, class: ClassId) -> u64;

    /// Touches the slots of `class`, so that no later call faults a page.
    fn populate(&self, class: ClassId);
}
