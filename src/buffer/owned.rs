//! The ownership of a buffer, whoever may write its bytes.
//!
//! Owns: the giving back. Uses: `pool`'s shared part, `rseq`. Used by: `buffer`, and the
//! parts of `pool` that do not ask who writes.

use crate::catalog::Taken;
use crate::class::{Classes, Line, OfStream};
use crate::error::RangeError;
use crate::lists::Given;
use crate::pool::Shared;
use crate::region::Location;
use crate::rseq;
use crate::word::{Index, Out};
use std::ptr::NonNull;

/// A buffer that was taken, and is given back when dropped. It gives no reference to the
/// bytes: `Buffer<Plain>` does.
///
/// Two words. Where the data begin is computed when somebody asks (`data`): what hands buffers
/// from one thread to another moves a third less, and that is most of what it costs.
pub struct Owned {
    /// Its class. Part of the pool.
    line: NonNull<Line>,
    /// Its number; and the bytes that are filled: those that it was taken for, until its owner
    /// says otherwise.
    out: Out,
}

// SAFETY: the buffer's bytes belong to this value alone, and what `line` points
// to is made for use from any thread.
unsafe impl Send for Owned {}
// SAFETY: `&Owned` gives addresses and numbers only.
unsafe impl Sync for Owned {}

impl Owned {
    /// The owner of a buffer that was taken for `len` bytes.
    #[inline(always)]
    pub fn new(taken: Taken<'_>, len: usize) -> Self {
        Self {
            line: NonNull::from(taken.line),
            // Classes are at most 1 GiB.
            out: Out::new(taken.index, len as u32),
        }
    }

    #[inline(always)]
    fn line(&self) -> &Line {
        // SAFETY: the pool lives at least until this buffer is home.
        unsafe { self.line.as_ref() }
    }

    /// Gives up ownership without giving the buffer back. Its pool has `classes`.
    pub fn forget(self, classes: &Classes) -> Taken<'_> {
        let buffer = std::mem::ManuallyDrop::new(self);
        Taken {
            line: classes.line(buffer.line().id()),
            index: buffer.out.index(),
        }
    }

    /// The stream that it counts against.
    pub fn stream(&self) -> Option<OfStream> {
        self.line().stream()
    }

    /// The pool it belongs to.
    pub fn shared(&self) -> NonNull<Shared> {
        let owner = self.line().owner().cast();
        // SAFETY: the owner was set before the class was defined.
        unsafe { NonNull::new_unchecked(owner) }
    }

    /// The first of `capacity` bytes. All are mapped, were zeroed by the kernel when they
    /// were, and belong to this value while it lives. They begin at a multiple of 512, and
    /// the cell goes on to another one.
    #[inline(always)]
    pub fn data(&self) -> NonNull<u8> {
        let (line, index) = (self.line(), self.out.index());
        Taken { line, index }.data()
    }

    /// How many of them are filled.
    #[inline(always)]
    pub fn len(&self) -> usize {
        self.out.len() as usize
    }

    /// Where its data begin.
    pub fn location(&self) -> Location {
        // SAFETY: the pool lives at least until this buffer is home.
        let arena = unsafe { self.shared().as_ref() }.arena();
        arena.locate(self.out.index(), self.data().addr().get())
    }

    /// Says how many are. Fails, with nothing changed, if there are not so many.
    #[inline]
    pub fn set_len(&mut self, len: usize) -> Result<(), RangeError> {
        let limit = self.capacity();
        if len > limit {
            return Err(RangeError {
                offset: 0,
                length: len,
                limit,
            });
        }
        // As above: classes are at most 1 GiB.
        self.out = Out::new(self.out.index(), len as u32);
        Ok(())
    }

    /// Bytes that its class can hold.
    #[inline]
    pub fn capacity(&self) -> usize {
        self.line().size()
    }

    /// The first byte that is not filled, and how many there are.
    pub fn spare(&self) -> (NonNull<u8>, usize) {
        let len = self.len();
        // SAFETY: it is no more than `capacity`.
        (unsafe { self.data().add(len) }, self.capacity() - len)
    }

    /// The first byte of the prefix zone, and how many it has. They are as those of the
    /// data, right before these, in the same cell, which begins at a multiple of 512.
    ///
    /// Zone and data are one range: `data` is made of the arena's base (`Line::start`), so
    /// its provenance is the whole arena, and that of what is given here is, too.
    pub fn prefix(&self) -> (NonNull<u8>, usize) {
        // SAFETY: the pool lives at least until this buffer is home.
        let len = unsafe { self.shared().as_ref() }.prefix();
        // SAFETY: a cell has `lead` bytes before the data, and the prefix is no
        // longer than that.
        (unsafe { self.data().sub(len) }, len)
    }

    /// The first byte of the prefix zone, and how many that and what is filled of the data
    /// have: one range (see `prefix`).
    pub fn with_prefix(&self) -> (NonNull<u8>, usize) {
        let (start, len) = self.prefix();
        (start, len + self.len())
    }
}

impl Drop for Owned {
    #[inline(always)]
    fn drop(&mut self) {
        // The pool is found by way of the line, and only where this fails.
        if !rseq::push(self.line(), self.out.index()) {
            Self::give(self.line, self.out.index());
        }
    }
}

impl Owned {
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
            Some(stream) => pool.give_slow_of(stream, line.id(), index),
        };
        if given != Given::Home {
            // SAFETY: it was given just now.
            unsafe { Shared::heed(shared, given) };
        }
    }
}
