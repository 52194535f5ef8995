//! What the pool keeps per buffer, out of band and by index.
//!
//! Owns: the record of a buffer, its state as a raw pointer, and the flat tables of
//! both. Uses: `sync`, `table`, `word`. Used by: `cache` (the links), `pool` (the
//! states).
//!
//! A record is 32 bytes at the position of its buffer's index, a state a cache line:
//! threads that hold neighbours as raw pointers would get in each other's way. States
//! cost memory only where there are raw pointers. Nothing is ever stored in a buffer
//! itself, and nothing here is a pointer, so the tables could live in shared memory
//! unchanged.

use crate::sync::{AtomicU32, AtomicU64, Ordering, fault};
use crate::table::{Table, Zeroed};
use crate::word::{Index, Lease, link};

/// The record of one buffer.
///
/// The links belong to whoever holds the buffer: the thread that took it, or,
/// while it is in a list, nobody, and then they do not change. They are written
/// with `Relaxed` by their holder before the compare-and-swap (`Release`) that
/// puts the buffer into a list, and read with `Relaxed` after the `Acquire` load
/// of that list's head. A thread whose head has meanwhile changed may read a
/// link that is being rewritten; its compare-and-swap then fails on the tag, and
/// what it read is dropped.
#[repr(C, align(32))]
#[derive(Default)]
pub struct Record {
    /// In a list: the buffer below this one, 0 at the end.
    next: AtomicU32,
    /// In a list: how many buffers there are from this one to the end.
    depth: AtomicU32,
    /// While it is kept for somebody who collects buffers of several classes: the number
    /// of its own. As the links.
    class: AtomicU32,
}

// SAFETY: a record is made of integer atomics alone, for which all-zero bytes
// are a value: no links.
unsafe impl Zeroed for Record {}

impl Record {
    /// The buffer below this one in its list.
    #[inline]
    pub fn next(&self) -> Option<Index> {
        // Relaxed: see the type; the caller's head load is the Acquire.
        Index::from_raw(self.next.load(Ordering::Relaxed))
    }

    /// How many buffers there are from this one to the end of its list.
    #[inline]
    pub fn depth(&self) -> u32 {
        // Relaxed: as in `next`.
        self.depth.load(Ordering::Relaxed)
    }

    /// Links this record, which the caller holds, above `next`.
    #[inline]
    pub fn set(&self, next: Option<Index>, depth: u32) {
        // Relaxed: see the type; the push that follows is the Release.
        self.next.store(link(next), Ordering::Relaxed);
        self.depth.store(depth, Ordering::Relaxed);
    }

    /// Notes the number of the class that this buffer, which the caller holds, is of.
    pub fn note_class(&self, class: u8) {
        // Relaxed: as the links.
        self.class.store(class.into(), Ordering::Relaxed);
    }

    /// What was noted.
    pub fn class(&self) -> u8 {
        self.class.load(Ordering::Relaxed) as u8
    }
}

/// The records of every buffer the pool could ever have, by index. Those of buffers that it
/// has, or had, are open.
pub type Records = Table<Record>;

/// What is known of a buffer as a raw pointer.
#[repr(C, align(64))]
#[derive(Default)]
pub struct State {
    /// Bytes that a raw allocation asked for, 0 if the buffer is free or a
    /// `Buffer` owns it. Written by the thread that takes or returns the buffer
    /// as a raw pointer, read by whoever checks one; see `pool::raw`.
    ///
    /// Release, and so is `lease`: another process that reads the size of a later
    /// owner, with Acquire, reads that owner's lease after it.
    pub size: AtomicU32,
    /// As `size`, of a buffer that counts against a stream, whose `size` is 0: so it comes
    /// back another way.
    pub size_of_stream: AtomicU32,
    /// A `Lease`: the buffer's slot, if other processes can name it, and how often it came
    /// back as a raw pointer. Given its slot before anybody has the buffer; then written by
    /// the thread that returns it, after `size` went to 0: who reads a lease, with Acquire,
    /// does not read the size of an earlier owner after it.
    pub lease: AtomicU64,
    /// Which stream that is. Relaxed: written and read by whoever has the buffer.
    pub stream: AtomicU32,
    /// Where in the arena the buffer starts, in bytes, if `size` is not 0. (Not its address,
    /// which is nobody's business who maps the states.) Written by the thread that takes the
    /// buffer, before `size`. Relaxed, for `size` publishes it: read after that by whoever
    /// checks a pointer, see `pool::raw`.
    start: AtomicU64,
}

// SAFETY: integer atomics alone; all-zero bytes are a buffer that was never out.
unsafe impl Zeroed for State {}

impl State {
    /// Says that the buffer, which the caller holds, starts `offset` bytes behind the start of
    /// the arena: before it goes out, each time. (Once for all would touch the states of buffers
    /// that are never out as raw pointers. Those of streams are found another way.)
    #[inline(always)]
    pub fn starts_at(&self, offset: usize) {
        self.start.store(offset as u64, Ordering::Relaxed);
    }

    /// Whether the buffer is out with `size` bytes, counts against no stream, and starts at
    /// `offset`.
    #[inline(always)]
    pub fn is_out_at(&self, offset: usize, size: usize) -> bool {
        // Acquire: who reads the size that an owner wrote reads where his buffer starts, or a
        // later owner's, and not an earlier one's. (A pointer that is freed again may lead to a
        // buffer of another segment that somebody takes just now, with the same size.) 0 says
        // that it is not out, and is no size.
        let order = fault!(SizeRelaxed, Ordering::Relaxed, Ordering::Acquire);
        let bytes = self.size.load(order) as usize;
        let start = self.start.load(Ordering::Relaxed);
        start == offset as u64 && bytes == size && size != 0
    }

    /// The buffer goes out for `size` bytes. The caller holds it.
    #[inline(always)]
    pub fn go_out(&self, size: u32) {
        // Release: see the type.
        self.size.store(size, Ordering::Release);
    }

    /// The buffer, which counts against `stream`, goes out for `size` bytes. The caller
    /// holds it.
    pub fn go_out_of(&self, stream: u32, size: u32) {
        self.stream.store(stream, Ordering::Relaxed);
        // Release: see the type.
        self.size_of_stream.store(size, Ordering::Release);
    }

    /// How many bytes the buffer is out with, as a raw pointer; 0 if it is not.
    pub fn bytes(&self) -> u32 {
        // Acquire: see the type. One of them is 0, unless the buffer came back and went
        // out again in between.
        match self.size.load(Ordering::Acquire) {
            0 => self.size_of_stream.load(Ordering::Acquire),
            size => size,
        }
    }

    /// The buffer, which counts against a stream and which the caller holds, comes back.
    pub fn come_back_of(&self) {
        // Release: see the type.
        self.size_of_stream.store(0, Ordering::Release);
        self.come_back();
    }

    /// The buffer, which the caller holds, comes back.
    #[inline(always)]
    pub fn come_back(&self) {
        // Release: see the type.
        self.size.store(0, Ordering::Release);
        // Relaxed: the caller alone writes it.
        let lease = self.lease.load(Ordering::Relaxed);
        (self.lease).store(lease.wrapping_add(Lease::NEXT), Ordering::Release);
    }

    /// The lease of whoever has the buffer, or has it next.
    pub fn lease(&self) -> Lease {
        // Acquire: see the type.
        Lease::from_word(self.lease.load(Ordering::Acquire))
    }
}

/// The states of every buffer the pool could ever have, by index. As with the records.
pub type States = Table<State>;
