//! Raw pointers in and out, fully checked: for callers that cannot hold a
//! `Buffer`.
//!
//! Owns: the state of raw allocations. Uses: the pool's shared part. Used by:
//! callers.
//!
//! A pointer that comes back is taken to its buffer by arithmetic alone, and the
//! buffer's record then says whether it is out and with which size. That is
//! written by the one thread that takes or returns the buffer; calls that do not
//! race each other on one buffer therefore find it exact.
//!
//! Whatever is wrong with it is found out by a slower look-up.

use super::Pool;
use crate::buffer::Buffer;
use crate::catalog::Taken;
use crate::error::{AllocError, FreeError};
use crate::sync::Ordering;
use std::ptr::NonNull;

impl Pool {
    /// Takes a buffer as a raw pointer; otherwise as
    /// [`allocate`](Self::allocate).
    ///
    /// The memory is the caller's until [`free_raw`](Self::free_raw), or until
    /// the pool ends: raw pointers do not keep it alive. Once the last handle is
    /// dropped they must not be used any more.
    ///
    /// # Errors
    ///
    /// As [`allocate`](Self::allocate).
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let pool = hugepool::Pool::builder().reserve(4096, 4096, 4).prefault(false).build()?;
    /// let start = pool.allocate_raw(4096, 4096)?;
    /// // SAFETY: allocated just now with this size, and freed once.
    /// unsafe { pool.free_raw(start.as_ptr(), 4096)? };
    /// # Ok(()) }
    /// ```
    #[inline(always)]
    pub fn allocate_raw(&self, size: usize, alignment: usize) -> Result<NonNull<u8>, AllocError> {
        if let Some(start) = self.allocate_raw_cached(size, alignment) {
            return Ok(start);
        }
        let taken = self.shared().catalog.take_slow(size, alignment)?;
        Ok(self.mark_raw(taken, size))
    }

    /// As `allocate_raw` from this processor's cache alone: `None` proves nothing. For
    /// callers in other languages, who make one call of what is left then.
    #[doc(hidden)]
    #[inline(always)]
    pub fn allocate_raw_cached(&self, size: usize, alignment: usize) -> Option<NonNull<u8>> {
        let taken = self.shared().catalog.take_cached(size, alignment)?;
        Some(self.mark_raw(taken, size))
    }

    #[inline(always)]
    fn mark_raw(&self, taken: Taken<'_>, size: usize) -> NonNull<u8> {
        // A class is at most 1 GiB, so the size fits.
        self.shared().state(taken.index).go_out(size as u32);
        taken.data()
    }

    /// Takes back a buffer that [`allocate_raw`](Self::allocate_raw) gave for
    /// `size` bytes. Lock-free; never blocks.
    ///
    /// # Errors
    ///
    /// Every misuse that can be told from the pointer and the size is found and
    /// changes nothing, unless it races another call for the same buffer: [`FreeError::Foreign`], [`FreeError::Interior`],
    /// [`FreeError::NotAllocated`], [`FreeError::WrongSize`].
    ///
    /// # Safety
    ///
    /// `start` must be the caller's own: if the buffer is out as a raw pointer
    /// with that size, then to the caller. (A pointer kept past its `free_raw` is
    /// refused while the buffer is free, but cannot be told from that of the
    /// next owner.) Two threads must not free one buffer at the same time. If it
    /// succeeds, the caller must not use the memory any more.
    #[inline(always)]
    pub unsafe fn free_raw(&self, start: *mut u8, size: usize) -> Result<(), FreeError> {
        // SAFETY: the caller says so.
        match unsafe { self.free_raw_if_right(start, size) } {
            true => Ok(()),
            false => Err(self.fault(start.addr(), size)),
        }
    }

    /// As `free_raw`: false if it is refused, and the caller does not need to know why.
    ///
    /// # Safety
    ///
    /// As for `free_raw`.
    #[doc(hidden)]
    #[inline(always)]
    pub unsafe fn free_raw_if_right(&self, start: *mut u8, size: usize) -> bool {
        let Some(taken) = self.unmark_raw(start, size) else {
            return false;
        };
        // Our handle keeps the pool open, so this is not its last buffer and no
        // other handle its last.
        let lists = self.shared().catalog.lists();
        let _home = lists.give(taken.line, taken.index);
        true
    }

    /// Makes a buffer's owner a raw pointer: as if it had come from
    /// [`allocate_raw`](Self::allocate_raw) with its `len()`. Gives the buffer
    /// back as it was if it belongs to another pool.
    pub fn into_raw(&self, buffer: Buffer) -> Result<NonNull<u8>, Buffer> {
        if buffer.shared() != self.handle.0 {
            return Err(buffer);
        }
        let len = buffer.len();
        Ok(self.mark_raw(buffer.forget(self.shared().catalog.classes()), len))
    }

    /// Makes a raw pointer a [`Buffer`] of `size` bytes.
    ///
    /// # Errors
    ///
    /// As [`free_raw`](Self::free_raw).
    ///
    /// # Safety
    ///
    /// As [`free_raw`](Self::free_raw): `start` must be the caller's own, and if
    /// it succeeds the pointer must not be used any more.
    pub unsafe fn from_raw(&self, start: *mut u8, size: usize) -> Result<Buffer, FreeError> {
        match self.unmark_raw(start, size) {
            Some(taken) => Ok(Buffer::new(taken, size)),
            None => Err(self.fault(start.addr(), size)),
        }
    }

    /// The buffer that is out as `start` with `size` bytes, and is no longer. `None`: there
    /// is none, and nothing has changed.
    #[inline(always)]
    fn unmark_raw(&self, start: *mut u8, size: usize) -> Option<Taken<'_>> {
        let shared = self.shared();
        let classes = shared.catalog.classes();
        if let Some((line, index)) = shared.arena.buffer_at(classes, start.addr()) {
            let state = shared.state(index);
            // Relaxed: the caller got the pointer from whoever wrote it, and says
            // that the buffer is its own. 0 says that it is not out, and is no
            // size.
            if state.size.load(Ordering::Relaxed) as usize == size && size != 0 {
                state.come_back();
                return Some(Taken { line, index });
            }
        }
        None
    }

    /// What is wrong with an address and a size that were given back.
    #[cold]
    #[inline(never)]
    fn fault(&self, address: usize, given: usize) -> FreeError {
        let shared = self.shared();
        let Some(place) = shared.arena.place(shared.catalog.classes(), address) else {
            return FreeError::Foreign { address };
        };
        let start = place.start;
        if start != address {
            return FreeError::Interior { address, start };
        }
        // Relaxed: as above.
        match shared.state(place.index).size.load(Ordering::Relaxed) as usize {
            0 => FreeError::NotAllocated { address },
            allocated => FreeError::WrongSize {
                address,
                given,
                allocated,
            },
        }
    }
}
