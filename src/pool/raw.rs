//! Raw pointers in and out, fully checked: for callers that cannot hold a
//! `Buffer`.
//!
//! Owns: the state of raw allocations. Uses: the pool's shared part. Used by:
//! callers; `owner`, by which a `Buffer` becomes one and the other way round.
//!
//! A pointer that comes back is taken to its buffer by arithmetic alone, which is a guess
//! (`arena::Map`). The buffer's state then says whether it is out, where it starts, and with
//! which size it went out. That is written by the one thread that takes or returns the buffer;
//! calls that do not race each other on one buffer therefore find it exact. If it agrees with
//! the pointer and the size, the guess was right.
//!
//! Whatever is wrong with it is found out by a slower look-up.

use super::{Class, Pool, Shared};
use crate::buffer::{Memory, Owned};
use crate::catalog::Taken;
use crate::class::OfStream;
use crate::error::{AllocError, FreeError};
use crate::rseq;
use crate::sync::Ordering;
use std::panic::Location;
use std::ptr::NonNull;

impl<M: Memory> Pool<M> {
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
    #[track_caller]
    pub fn allocate_raw(&self, size: usize, alignment: usize) -> Result<NonNull<u8>, AllocError> {
        let shared = self.shared();
        if let Some(taken) = shared.front.take(size, alignment) {
            return Ok(shared.mark_raw(taken, size));
        }
        let taken = shared.take_slow(size, alignment, Location::caller(), true)?;
        Ok(shared.mark_raw(taken, size))
    }

    /// As `allocate_raw` from this processor's cache alone: `None` proves nothing. For
    /// callers in other languages, who make one call of what is left then: this makes none, so
    /// they have no registers to keep. (Where each thread has an area of its own for
    /// restartable sequences, to find it is a call.)
    #[doc(hidden)]
    #[inline(always)]
    pub fn allocate_raw_cached(&self, size: usize, alignment: usize) -> Option<NonNull<u8>> {
        let shared = self.shared();
        let area = shared.front.area();
        if area == 0 {
            return None;
        }
        let taken = shared.front.take_by(area, size, alignment)?;
        Some(shared.mark_raw(taken, size))
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
        // SAFETY: the caller says so; this is a handle.
        unsafe { self.shared().free_raw(start, size) }
    }

    /// As `free_raw`. False: it is refused, or left to `free_raw`, and nothing has changed. As
    /// `allocate_raw_cached`, it makes no call behind which it has anything left to do.
    ///
    /// # Safety
    ///
    /// As for `free_raw`.
    #[doc(hidden)]
    #[inline(always)]
    pub unsafe fn free_raw_cached(&self, start: *mut u8, size: usize) -> bool {
        // SAFETY: the caller says so; this is a handle.
        unsafe { self.shared().free_raw_cached(start, size) }
    }

    /// Whether `address` is in the data of a buffer that is out as a raw pointer: from its
    /// start to the size that was asked for. Wait-free.
    pub(crate) fn is_out(&self, address: *const u8) -> bool {
        let (shared, address) = (self.shared(), address.addr());
        let classes = shared.catalog.classes();
        let at = || {
            let place = shared.arena.place(classes, address)?;
            Some((place.index, place.start))
        };
        at().is_some_and(|(index, start)| {
            // Two loads, of which the second is of a buffer that the first did not find
            // out: if it has come back in between, it was not out then.
            let bytes = shared.state(index).bytes() as usize;
            let within = (address.checked_sub(start)).is_some_and(|within| within < bytes);
            // If its memory was another segment's by then, so is what is there now: whoever
            // sees that a buffer is out (Acquire) sees where it lies.
            within && at() == Some((index, start))
        })
    }
}

impl<M: Memory> Class<M> {
    /// Takes a buffer of [`size`](Self::size) bytes as a raw pointer; otherwise as
    /// [`allocate`](Self::allocate). It goes back by [`free_raw`](Self::free_raw), or by
    /// [`Pool::free_raw`] with that size: see [`Pool::allocate_raw`].
    ///
    /// # Errors
    ///
    /// As [`allocate`](Self::allocate).
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let pool = hugepool::Pool::builder().reserve(4096, 4096, 4).prefault(false).build()?;
    /// let class = pool.class(4096, 4096)?;
    /// let start = class.allocate_raw()?;
    /// // SAFETY: allocated just now by this class, and freed once.
    /// unsafe { class.free_raw(start.as_ptr())? };
    /// # Ok(()) }
    /// ```
    #[inline(always)]
    #[track_caller]
    pub fn allocate_raw(&self) -> Result<NonNull<u8>, AllocError> {
        let (line, shared) = (self.line(), self.shared());
        let taken = match shared.catalog.lists().take_cached(line) {
            Some(index) => Taken { line, index },
            None => shared.take_slow(self.size, self.alignment, Location::caller(), true)?,
        };
        Ok(shared.mark_raw(taken, self.size))
    }

    /// As `allocate_raw` from this processor's cache alone: see
    /// [`Pool::allocate_raw_cached`].
    #[doc(hidden)]
    #[inline(always)]
    pub fn allocate_raw_cached(&self) -> Option<NonNull<u8>> {
        let (line, shared) = (self.line(), self.shared());
        let area = shared.front.area();
        if area == 0 {
            return None;
        }
        let index = rseq::pop_by(area, line)?;
        Some(shared.mark_raw(Taken { line, index }, self.size))
    }

    /// As [`Pool::free_raw_cached`].
    ///
    /// # Safety
    ///
    /// As for `free_raw`.
    #[doc(hidden)]
    #[inline(always)]
    pub unsafe fn free_raw_cached(&self, start: *mut u8) -> bool {
        // SAFETY: the caller says so; this is a handle.
        unsafe { self.shared().free_raw_cached(start, self.size) }
    }

    /// Takes back a buffer that [`allocate_raw`](Self::allocate_raw) gave, or that
    /// [`Pool::allocate_raw`] gave for this class's [`size`](Self::size). Lock-free; never
    /// blocks.
    ///
    /// # Errors
    ///
    /// As [`Pool::free_raw`]; nothing has changed then.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let pool = hugepool::Pool::builder().reserve(4096, 4096, 4).prefault(false).build()?;
    /// use hugepool::FreeError;
    ///
    /// let class = pool.class(4096, 4096)?;
    /// let start = class.allocate_raw()?.as_ptr();
    /// // SAFETY: allocated just now; refused the second time, which changes nothing.
    /// let (freed, again) = unsafe { (class.free_raw(start), class.free_raw(start)) };
    /// assert!(freed.is_ok());
    /// assert!(matches!(again, Err(FreeError::NotAllocated { .. })));
    /// # Ok(()) }
    /// ```
    ///
    /// # Safety
    ///
    /// As [`Pool::free_raw`].
    #[inline(always)]
    pub unsafe fn free_raw(&self, start: *mut u8) -> Result<(), FreeError> {
        // SAFETY: the caller says so; this is a handle.
        unsafe { self.shared().free_raw(start, self.size) }
    }
}

/// What a buffer's record says of it as a raw pointer.
impl Shared {
    #[inline(always)]
    pub(super) fn mark_raw(&self, taken: Taken<'_>, size: usize) -> NonNull<u8> {
        let (start, state) = (taken.data(), self.state(taken.index));
        state.starts_at(self.front.within(start.addr().get()));
        // A class is at most 1 GiB, so the size fits.
        state.go_out(size as u32);
        start
    }

    /// Takes back a buffer that is out as `start` with `size` bytes.
    ///
    /// # Safety
    ///
    /// As for `Pool::free_raw`. The caller has a handle.
    #[inline(always)]
    unsafe fn free_raw(&self, start: *mut u8, size: usize) -> Result<(), FreeError> {
        match self.free_raw_if_right(start, size) {
            true => Ok(()),
            false => Err(self.fault(start.addr(), size)),
        }
    }

    /// As above. False: it is refused.
    #[inline(always)]
    fn free_raw_if_right(&self, start: *mut u8, size: usize) -> bool {
        let Some(taken) = self.unmark_raw(start, size) else {
            return self.free_raw_of_stream(start, size);
        };
        self.take_back(self.front.area(), taken);
        true
    }

    /// See `Pool::free_raw_cached`.
    ///
    /// # Safety
    ///
    /// As above.
    #[inline(always)]
    unsafe fn free_raw_cached(&self, start: *mut u8, size: usize) -> bool {
        let area = self.front.area();
        if area == 0 {
            return false;
        }
        let taken = self.unmark_raw(start, size);
        taken.map(|taken| self.take_back(area, taken)).is_some()
    }

    /// Puts a buffer that was out into a list.
    #[inline(always)]
    fn take_back(&self, area: isize, taken: Taken<'_>) {
        if !self.front.give_by(area, taken) {
            // The caller's handle keeps the pool open, so this is not its last buffer and
            // no other handle its last.
            let _home = self.give_slow(taken.line.id(), taken.index);
        }
    }

    /// The buffer that is out as `start` with `size` bytes, and is no longer. `None`: there
    /// is none, and nothing has changed.
    #[inline(always)]
    pub(super) fn unmark_raw(&self, start: *mut u8, size: usize) -> Option<Taken<'_>> {
        let guess = self.front.guess(start.addr())?;
        let state = self.state(guess.index);
        // The caller got the pointer from whoever wrote the state, and says that the buffer is
        // its own.
        if !state.is_out_at(guess.offset, size) {
            return None;
        }
        state.come_back();
        let line = self.front.line_of(&guess);
        let index = guess.index;
        Some(Taken { line, index })
    }

    /// As `mark_raw`, for a buffer that counts against a stream.
    pub(super) fn mark_raw_of(
        &self,
        stream: OfStream,
        taken: Taken<'_>,
        size: usize,
    ) -> NonNull<u8> {
        let state = self.state(taken.index);
        // A class is at most 1 GiB, so the size fits.
        state.go_out_of(stream.quota << 1 | u32::from(stream.own), size as u32);
        taken.data()
    }

    /// As `unmark_raw`, for a buffer that counts against a stream.
    #[cold]
    pub(super) fn unmark_raw_of_stream(&self, start: *mut u8, size: usize) -> Option<Taken<'_>> {
        let classes = self.catalog.classes();
        let index = self.arena.buffer_at(classes, start.addr())?;
        let state = self.state(index);
        // Relaxed: the caller got the pointer from whoever wrote it, and says that the buffer is
        // its own. 0 says that it is not out, and is no size.
        if state.size_of_stream.load(Ordering::Relaxed) as usize != size || size == 0 {
            return None;
        }
        let word = state.stream.load(Ordering::Relaxed);
        state.come_back_of();
        let stream = OfStream {
            quota: word >> 1,
            own: word & 1 != 0,
        };
        let line = self.catalog.lists().line_of(stream);
        Some(Taken { line, index })
    }

    /// As `free_raw`, for a buffer that counts against a stream. False: it is refused.
    #[cold]
    #[inline(never)]
    fn free_raw_of_stream(&self, start: *mut u8, size: usize) -> bool {
        let Some(taken) = self.unmark_raw_of_stream(start, size) else {
            return false;
        };
        drop(Owned::new(taken, size));
        true
    }

    /// What is wrong with an address and a size that were given back.
    #[cold]
    #[inline(never)]
    pub(super) fn fault(&self, address: usize, given: usize) -> FreeError {
        let Some(place) = self.arena.place(self.catalog.classes(), address) else {
            return FreeError::Foreign { address };
        };
        let start = place.start;
        if start != address {
            return FreeError::Interior { address, start };
        }
        match self.state(place.index).bytes() as usize {
            0 => FreeError::NotAllocated { address },
            allocated => FreeError::WrongSize {
                address,
                given,
                allocated,
            },
        }
    }
}
