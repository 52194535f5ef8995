//! A buffer that its owner holds by value.
//!
//! Owns: the taking and giving back of one buffer in safe Rust. Uses: `pool`'s
//! shared part. Used by: callers.

use crate::catalog::Taken;
use crate::class::{Classes, Line, OfStream};
use crate::lists::Given;
use crate::pool::Shared;
use crate::rseq;
use crate::word::Index;
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;

/// An aligned buffer of a [`Pool`](crate::Pool), given back when dropped.
///
/// It dereferences to `[u8]` of the size that was asked for. Its contents are
/// what its last owner left there (zero at first). It may move between threads,
/// be dropped on any of them, and outlive every handle of its pool: the memory
/// stays until the last buffer is home.
///
/// Dropping never blocks, enters the kernel or allocates, except that
///
/// - the last buffer of a pool whose handles are gone unmaps the pool;
/// - one that somebody waits for wakes that one: a thread by `futex(2)`, which is
///   fine in a signal handler, a task by its waker, which may do anything (a panic
///   in it is reported and ends there). If all handles go meanwhile, this drop is
///   the one that closes the pool;
/// - a thread registers itself at its first use of a pool where the C library does
///   not (glibc does from 2.35 on).
///
/// What was written with non-temporal stores must be fenced (`sfence`) before the
/// buffer is dropped, as before any hand-over to another thread.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let pool = hugepool::Pool::builder().reserve(4096, 4096, 4).prefault(false).build()?;
/// let mut buffer = pool.allocate(1000, 4096)?;
/// assert_eq!(buffer.len(), 1000);
/// assert!(buffer.as_ptr().addr() % 4096 == 0);
/// buffer.fill(7);
/// std::thread::spawn(move || assert_eq!(buffer[999], 7)).join().unwrap();
/// # Ok(()) }
/// ```
pub struct Buffer {
    data: NonNull<u8>,
    /// Its class. Part of the pool.
    line: NonNull<Line>,
    index: Index,
    len: u32,
}

// SAFETY: the buffer's bytes belong to this value alone, and what `line` points
// to is made for use from any thread.
unsafe impl Send for Buffer {}
// SAFETY: `&Buffer` gives `&[u8]` and numbers only.
unsafe impl Sync for Buffer {}

impl Buffer {
    /// The owner of a buffer that was taken for `len` bytes.
    #[inline(always)]
    pub(crate) fn new(taken: Taken<'_>, len: usize) -> Self {
        Self {
            data: taken.data(),
            line: NonNull::from(taken.line),
            index: taken.index,
            // Classes are at most 1 GiB.
            len: len as u32,
        }
    }

    #[inline(always)]
    fn line(&self) -> &Line {
        // SAFETY: the pool lives at least until this buffer is home.
        unsafe { self.line.as_ref() }
    }

    /// Gives up ownership without giving the buffer back. Its pool has `classes`.
    pub(crate) fn forget(self, classes: &Classes) -> Taken<'_> {
        let buffer = std::mem::ManuallyDrop::new(self);
        Taken {
            line: classes.line(buffer.line().id()),
            index: buffer.index,
        }
    }

    /// The stream that it counts against.
    pub(crate) fn stream(&self) -> Option<OfStream> {
        self.line().stream()
    }

    /// The pool it belongs to.
    pub(crate) fn shared(&self) -> NonNull<Shared> {
        let owner = self.line().owner().cast();
        // SAFETY: the owner was set before the class was defined.
        unsafe { NonNull::new_unchecked(owner) }
    }

    /// Bytes that the buffer's class can hold, at least `len()`.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.line().size()
    }

    /// The prefix zone: the bytes right before the data, as many as the
    /// [`Builder`](crate::Builder::prefix_zone) was asked to keep.
    #[must_use]
    pub fn prefix(&self) -> &[u8] {
        let (start, len) = self.prefix_zone();
        // SAFETY: the zone lies in the buffer's own cell, is mapped, and is
        // borrowed as long as `self`.
        unsafe { std::slice::from_raw_parts(start.as_ptr(), len) }
    }

    /// The prefix zone, writable.
    #[must_use]
    pub fn prefix_mut(&mut self) -> &mut [u8] {
        let (start, len) = self.prefix_zone();
        // SAFETY: as above, and `self` is borrowed mutably.
        unsafe { std::slice::from_raw_parts_mut(start.as_ptr(), len) }
    }

    fn prefix_zone(&self) -> (NonNull<u8>, usize) {
        // SAFETY: the pool lives at least until this buffer is home.
        let len = unsafe { self.shared().as_ref() }.prefix();
        // SAFETY: a cell has `lead` bytes before the data, and the prefix is no
        // longer than that.
        (unsafe { self.data.sub(len) }, len)
    }
}

impl Deref for Buffer {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        // SAFETY: `len` bytes from `data` are mapped, were zeroed by the kernel
        // when they were, and belong to this value while it lives.
        unsafe { std::slice::from_raw_parts(self.data.as_ptr(), self.len as usize) }
    }
}

impl DerefMut for Buffer {
    #[inline]
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as above, and `self` is borrowed mutably.
        unsafe { std::slice::from_raw_parts_mut(self.data.as_ptr(), self.len as usize) }
    }
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl AsMut<[u8]> for Buffer {
    fn as_mut(&mut self) -> &mut [u8] {
        self
    }
}

impl fmt::Debug for Buffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Buffer")
            .field("data", &self.data)
            .field("len", &self.len)
            .finish()
    }
}

impl Drop for Buffer {
    #[inline(always)]
    fn drop(&mut self) {
        // The pool is found by way of the line, and only where this fails.
        if !rseq::push(self.line(), self.index) {
            Self::give(self.line, self.index);
        }
    }
}

impl Buffer {
    /// Gives back a buffer that this processor's cache did not take. (By value: a
    /// buffer whose address were passed on here would have to be in memory.)
    #[cold]
    #[inline(never)]
    fn give(line: NonNull<Line>, index: Index) {
        // SAFETY: the pool, of which the line is a part, lives at least until
        // this buffer is home.
        let line = unsafe { line.as_ref() };
        // SAFETY: the owner was set before the class was defined.
        let shared = unsafe { NonNull::new_unchecked(line.owner().cast::<Shared>()) };
        // SAFETY: as for the line.
        let pool = unsafe { shared.as_ref() };
        let given = match line.stream() {
            None => pool.give_slow(line.id(), index),
            Some(stream) => pool.give_slow_of(stream, index),
        };
        if given != Given::Home {
            // SAFETY: it was given just now.
            unsafe { Shared::heed(shared, given) };
        }
    }
}
