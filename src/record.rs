//! What the pool keeps per buffer, out of band and by index.
//!
//! Owns: the record of a buffer and the flat table of all records. Uses:
//! `sync`, `table`, `word`. Used by: `depot` and `cache` (the links), `pool`
//! (the raw state).
//!
//! A record is 32 bytes at the position of its buffer's index. Nothing is ever
//! stored in a buffer itself, and nothing here is a pointer, so the table could
//! live in shared memory unchanged.

use crate::sync::{AtomicU32, AtomicU64, Ordering};
use crate::table::{Table, Zeroed};
use crate::word::{Index, link};

/// The record of one buffer.
///
/// The four links belong to whoever holds the buffer: the thread that took it,
/// or, while it is in a list, nobody, and then they do not change. They are
/// written with `Relaxed` by their holder before the compare-and-swap
/// (`Release`) that puts the buffer into a list, and read with `Relaxed` after
/// the `Acquire` load of that list's head. A thread whose head has meanwhile
/// changed may read a link that is being rewritten; its compare-and-swap then
/// fails on the tag, and what it read is dropped.
#[repr(C, align(32))]
#[derive(Default)]
pub struct Record {
    /// In a list or batch: the buffer below this one, 0 at the end.
    pub next: AtomicU32,
    /// In a list or batch: how many buffers there are from this one to the end.
    pub depth: AtomicU32,
    /// In a depot: the first buffer of the batch below, 0 at the bottom. Every
    /// member of a batch carries it, so each can become the batch's first.
    pub next_batch: AtomicU32,
    /// In a depot: how many buffers there are in the batches below.
    pub below: AtomicU32,
    /// The `RawState`. Written by the thread that takes or returns the buffer
    /// as a raw pointer, read by whoever checks one; see `pool::raw`.
    pub state: AtomicU64,
    reserved: AtomicU64,
}

// SAFETY: a record is made of integer atomics alone, for which all-zero bytes
// are a value: no links, never handed out raw.
unsafe impl Zeroed for Record {}

impl Record {
    /// The buffer below this one in its list or batch.
    #[inline]
    pub fn next(&self) -> Option<Index> {
        // Relaxed: see the type; the caller's head load is the Acquire.
        Index::from_raw(self.next.load(Ordering::Relaxed))
    }

    /// Links this record, which the caller holds, into a chain.
    #[inline]
    pub fn set(&self, next: Option<Index>, depth: u32) {
        // Relaxed: see the type; the push that follows is the Release.
        self.next.store(link(next), Ordering::Relaxed);
        self.depth.store(depth, Ordering::Relaxed);
    }

    /// How many buffers there are from this one to the end of its list or batch.
    #[inline]
    pub fn depth(&self) -> u32 {
        // Relaxed: as in `next`.
        self.depth.load(Ordering::Relaxed)
    }
}

/// The records of every buffer the pool could ever have, by index.
pub type Records = Table<Record>;

/// A chain of buffers that one thread holds: `first`, then along `next`.
///
/// Invariant: it has `len` members, the depth of the k-th is `len - k`, and the
/// last one's `next` is empty, so that a chain can become the whole content of
/// an empty list by one compare-and-swap.
#[derive(Debug)]
#[must_use = "a chain that is dropped is lost to the pool"]
pub struct Chain {
    /// The first buffer.
    pub first: Index,
    /// How many buffers there are, at least 1.
    pub len: u32,
}

impl Chain {
    /// Chains `indices`, which the caller holds, in their order. `None` if
    /// there are none.
    pub fn of(records: &Records, indices: &[Index]) -> Option<Self> {
        let first = *indices.first()?;
        let len = indices.len() as u32;
        for (k, &index) in indices.iter().enumerate() {
            let next = indices.get(k + 1).copied();
            records.get(index.raw() as usize).set(next, len - k as u32);
        }
        Some(Self { first, len })
    }

    /// The first buffer by itself, and the rest as a chain of its own.
    pub fn split_first(self, records: &Records) -> (Index, Option<Chain>) {
        let rest = records
            .get(self.first.raw() as usize)
            .next()
            .map(|first| Chain {
                first,
                len: self.len - 1,
            });
        (self.first, rest)
    }

    /// Calls `visit` with every buffer of the chain. The next link is read
    /// before the call, so `visit` may relink what it is given.
    pub fn for_each(self, records: &Records, mut visit: impl FnMut(Index)) {
        let mut at = Some(self.first);
        for _ in 0..self.len {
            let Some(index) = at else { break };
            at = records.get(index.raw() as usize).next();
            visit(index);
        }
    }
}
