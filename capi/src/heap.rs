//! The heap, and what there is when it is out.
//!
//! Owns: the allocator of this library, and the leases of its calls. Uses: `error`,
//! `slots`, `thread`, the system's allocator. Used by: the calls that allocate.
//!
//! Code in Rust that asks for memory and gets none ends the process. So a call that may ask
//! for any takes a lease first: one block from the system, as large as all that the call
//! could ask for. If there is none the call is refused, and nothing has been done. Whatever
//! the system refuses after that is taken from the block, one allocation behind another.
//!
//! ```text
//!            take                    end              the last allocation is freed
//!   vacant ───────▶ of a call ──────────▶ ends ─────────────────────────────────▶ vacant
//!                       └─────────────────────────────────────▲
//!                         end, and no allocation is in it
//! ```
//!
//! A call that is done gives its block back, at once if nothing was taken from it, which is
//! so unless the heap was out; otherwise with the last allocation in it that is freed. What
//! the library's own threads ask for, which no call waits for, and what is asked for where a
//! call cannot be refused (to release something), comes from memory that is part of the
//! library (`slots`).
//!
//! No call of the data path comes here at all.

use crate::error::Failure;
use crate::{slots, thread};
use std::alloc::{GlobalAlloc, Layout, System};
use std::ptr::{from_ref, null, null_mut};
use std::sync::atomic::{AtomicUsize, Ordering};

/// The heap of this library: the system's, and the blocks.
struct Heap;

#[global_allocator]
static HEAP: Heap = Heap;

/// Calls that may have a lease at a time.
const LEASES: usize = 1024;
static BLOCKS: [Block; LEASES] = [const { Block::vacant() }; LEASES];

/// Allocations in blocks. While there is none, nobody has to look whether what is freed is
/// in one. Relaxed: whoever has an allocation in a block has it from the thread that counted
/// it, or from one that has it from that thread, and sees that it was counted.
static IN_BLOCKS: AtomicUsize = AtomicUsize::new(0);

/// Memory that is handed out from its beginning to its end, and anew once all is back.
struct Block {
    /// Its first byte; 0: vacant; 1: it is being taken, or given back. Acquire and Release:
    /// the length goes with it.
    start: AtomicUsize,
    /// Bytes. Acquire and Release: see `taken`.
    len: AtomicUsize,
    /// How often it was taken, raised before `start` and `len` are written. Two reads of this
    /// with those of both between say whether they belong together: who reads one of a later
    /// block (Acquire) reads more here after it.
    taken: AtomicUsize,
    /// `{used: 40, held: 24}`: bytes that were handed out, and how many allocations and calls
    /// have a part in it. Acquire and Release: what the last of them did to the memory comes
    /// before what is done with it next.
    word: AtomicUsize,
}

const HELD_BITS: u32 = 24;
const ONE_HELD: usize = 1;
const HELD: usize = (1 << HELD_BITS) - 1;
const ONE_BYTE: usize = 1 << HELD_BITS;
/// The largest block, in bytes.
const MOST: usize = 1 << (usize::BITS - HELD_BITS - 1);

impl Block {
    const fn vacant() -> Self {
        Self {
            start: AtomicUsize::new(0),
            len: AtomicUsize::new(0),
            taken: AtomicUsize::new(0),
            word: AtomicUsize::new(0),
        }
    }

    /// Hands out memory for `layout`; null if there is too little left.
    fn alloc(&self, layout: Layout) -> *mut u8 {
        let (start, len) = (
            self.start.load(Ordering::Acquire),
            self.len.load(Ordering::Relaxed),
        );
        let place = |word: usize| {
            let free = (word >> HELD_BITS) + start;
            let at = free.checked_next_multiple_of(layout.align())?;
            let end = at.checked_add(layout.size())?;
            (end <= start + len && word & HELD < HELD).then_some((at, end))
        };
        let next = |word| {
            let (_, end) = place(word)?;
            Some((end - start) * ONE_BYTE + (word & HELD) + ONE_HELD)
        };
        match (self.word).fetch_update(Ordering::AcqRel, Ordering::Acquire, next) {
            Ok(was) => {
                IN_BLOCKS.fetch_add(1, Ordering::Relaxed);
                place(was).map_or(null_mut(), |(at, _)| {
                    std::ptr::with_exposed_provenance_mut(at)
                })
            }
            Err(_) => null_mut(),
        }
    }

    /// Gives up a part in it: the call's, or that of the allocation of `len` bytes at `start`.
    /// Nobody touches the block after the last.
    fn give(&self, part: Option<(usize, usize)>) {
        let start = self.start.load(Ordering::Relaxed);
        let next = |word: usize| {
            let (used, held) = (word >> HELD_BITS, (word & HELD) - ONE_HELD);
            let used = match part {
                // Nobody has anything in it but, at most, the call: all of it is free again.
                _ if held <= 1 => 0,
                // It was the last that was handed out.
                Some((at, len)) if at + len == start + used => at - start,
                _ => used,
            };
            Some(used * ONE_BYTE + held)
        };
        let was = (self.word).fetch_update(Ordering::AcqRel, Ordering::Acquire, next);
        if was.is_ok_and(|was| was & HELD == ONE_HELD) {
            self.start.store(1, Ordering::Relaxed);
            // SAFETY: `take` has it from there, and nobody has a part in it.
            unsafe { libc::free(std::ptr::with_exposed_provenance_mut(start)) };
            self.start.store(0, Ordering::Release);
        }
    }

    /// Whether `address` lies in it. (Not if it is another's meanwhile.)
    fn has(&self, address: usize) -> bool {
        // Acquire: see `taken`.
        let taken = self.taken.load(Ordering::Acquire);
        let start = self.start.load(Ordering::Acquire);
        let len = self.len.load(Ordering::Acquire);
        let is_in = start > 1 && address >= start && address - start < len;
        is_in && self.taken.load(Ordering::Relaxed) == taken
    }

    /// The block that `start` lies in. `None`: it is the system's.
    fn of(start: *mut u8) -> Option<&'static Self> {
        if IN_BLOCKS.load(Ordering::Relaxed) == 0 {
            return None;
        }
        BLOCKS.iter().find(|block| block.has(start.addr()))
    }
}

/// What is there for a call that the system refused memory for `layout`: null if that is
/// nothing.
#[cold]
fn from_a_block(layout: Layout) -> *mut u8 {
    let lease = thread::own().lease.get().cast::<Block>();
    if !lease.is_null() {
        // SAFETY: it is one of `BLOCKS`, and this thread's call has a part in it.
        let start = unsafe { &*lease }.alloc(layout);
        if !start.is_null() {
            return start;
        }
    }
    slots::take(layout)
}

// SAFETY: what is not the system's comes from a block that nobody else has a part of, of the
// size and alignment that is asked for.
unsafe impl GlobalAlloc for Heap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise.
        let start = unsafe { System.alloc(layout) };
        if start.is_null() {
            return from_a_block(layout);
        }
        start
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise.
        let start = unsafe { System.alloc_zeroed(layout) };
        if start.is_null() {
            let start = from_a_block(layout);
            if !start.is_null() {
                // SAFETY: it is of that size.
                unsafe { start.write_bytes(0, layout.size()) };
            }
            return start;
        }
        start
    }

    unsafe fn dealloc(&self, start: *mut u8, layout: Layout) {
        if slots::give(start) {
            return;
        }
        match Block::of(start) {
            Some(block) => {
                IN_BLOCKS.fetch_sub(1, Ordering::Relaxed);
                block.give(Some((start.addr(), layout.size())));
            }
            // SAFETY: the caller's promise; it is the system's.
            None => unsafe { System.dealloc(start, layout) },
        }
    }

    unsafe fn realloc(&self, start: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        if !slots::has(start) && Block::of(start).is_none() {
            // SAFETY: the caller's promise; it is the system's.
            let moved = unsafe { System.realloc(start, layout, size) };
            if !moved.is_null() {
                return moved;
            }
        }
        // SAFETY: the caller's promise: the size, rounded up, does not overflow.
        let new = unsafe { Layout::from_size_align_unchecked(size, layout.align()) };
        // SAFETY: as above; the size is not 0.
        let moved = unsafe { self.alloc(new) };
        if !moved.is_null() {
            // SAFETY: both are at least so large, and do not overlap.
            unsafe { moved.copy_from_nonoverlapping(start, size.min(layout.size())) };
            // SAFETY: the caller's promise; nobody has it after this.
            unsafe { self.dealloc(start, layout) };
        }
        moved
    }
}

/// What a call that allocates has for that. It ends with the call, which is its thread's
/// only one.
pub struct Lease(&'static Block);

impl Lease {
    /// One of `bytes`.
    pub fn take(bytes: usize) -> Result<Self, Failure> {
        let refused = Failure::Heap { needed: bytes };
        if bytes >= MOST {
            return Err(refused);
        }
        let vacant = |block: &&Block| {
            (block.start)
                .compare_exchange(0, 1, Ordering::Acquire, Ordering::Relaxed)
                .is_ok()
        };
        let limit = LEASES;
        let block = BLOCKS.iter().find(vacant).ok_or(Failure::Calls { limit })?;
        // SAFETY: takes a number.
        let start = unsafe { libc::malloc(bytes) };
        if start.is_null() {
            block.start.store(0, Ordering::Release);
            return Err(refused);
        }
        // Relaxed, before the Release stores: see `taken`.
        block.taken.fetch_add(1, Ordering::Relaxed);
        block.len.store(bytes, Ordering::Release);
        block.word.store(ONE_HELD, Ordering::Relaxed);
        (block.start).store(start.expose_provenance(), Ordering::Release);
        thread::own().lease.set(from_ref(block).cast());
        Ok(Self(block))
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        thread::own().lease.set(null());
        self.0.give(None);
    }
}

/// Makes `call`, which asks for `bytes` of heap at most.
pub fn leased<R>(bytes: usize, call: impl FnOnce() -> Result<R, Failure>) -> Result<R, Failure> {
    let _lease = Lease::take(bytes)?;
    call()
}

/// Makes `call`, which cannot be refused, and asks for little: if there is no lease to be
/// had, from what is part of the library.
pub fn unrefused<R>(call: impl FnOnce() -> R) -> R {
    let _lease = Lease::take(SMALL);
    call()
}

/// Enough for a call that makes one object, or reads the pool's directory.
pub(crate) const SMALL: usize = 16 << 10;
