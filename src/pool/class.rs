//! A class of a pool, resolved once.
//!
//! Owns: the shortest way to a buffer of one size and alignment. Uses: the
//! pool's shared part. Used by: callers.

use super::{Handle, Pool, Shared};
use crate::buffer::{Buffer, Memory, Owned, Plain};
use crate::catalog::Taken;
use crate::class::Line;
use crate::error::AllocError;
use std::fmt;
use std::marker::PhantomData;
use std::panic::Location;
use std::ptr::NonNull;

/// A size and alignment of a [`Pool`], resolved to its class: the
/// fastest way to allocate. Counts as a handle of the pool.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let pool = hugepool::Pool::builder().reserve(65536, 4096, 4).prefault(false).build()?;
/// let class = pool.class(64 << 10, 4096)?;
/// let buffer = class.allocate()?;
/// assert_eq!(buffer.len(), class.size());
/// # Ok(()) }
/// ```
pub struct Class<M: Memory = Plain> {
    pub(super) handle: Handle,
    line: NonNull<Line>,
    pub(super) size: usize,
    pub(super) alignment: usize,
    memory: PhantomData<fn() -> M>,
}

// SAFETY: a class is a handle and the address of a part of the pool that is made
// for any thread.
unsafe impl<M: Memory> Send for Class<M> {}
// SAFETY: as above.
unsafe impl<M: Memory> Sync for Class<M> {}

impl<M: Memory> Clone for Class<M> {
    fn clone(&self) -> Self {
        Self {
            handle: self.handle.clone(),
            ..*self
        }
    }
}

impl<M: Memory> fmt::Debug for Class<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Class")
            .field("handle", &self.handle)
            .field("line", &self.line)
            .field("size", &self.size)
            .field("alignment", &self.alignment)
            .finish()
    }
}

impl<M: Memory> Class<M> {
    pub(super) fn resolve(
        handle: Handle,
        size: usize,
        alignment: usize,
    ) -> Result<Self, AllocError> {
        let ladder = handle.shared().catalog.ladder(size, alignment)?;
        // A ladder always has a first rung.
        let rung = ladder.first(size, alignment).ok_or(AllocError::NoClass {
            size,
            alignment,
            largest: 0,
        })?;
        let line = NonNull::from(handle.shared().catalog.classes().line(rung.class));
        Ok(Self {
            handle,
            line,
            size: rung.size,
            alignment: rung.alignment,
            memory: PhantomData,
        })
    }

    /// Bytes of each buffer, at least what was asked for.
    #[must_use]
    pub fn size(&self) -> usize {
        self.size
    }

    /// What every buffer's address is a multiple of, in bytes.
    #[must_use]
    pub fn alignment(&self) -> usize {
        self.alignment
    }

    /// Another handle of the pool, for what is not the matter of one class. Never blocks.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let pool = hugepool::Pool::builder().reserve(4096, 4096, 4).prefault(false).build()?;
    /// let class = pool.class(4096, 4096)?;
    /// assert_eq!(class.pool().stats().capacity(), 4);
    /// # Ok(()) }
    /// ```
    pub fn pool(&self) -> Pool<M> {
        Pool::of(self.handle.clone())
    }

    /// See [`Pool::is_left_behind`].
    #[doc(hidden)]
    #[inline(always)]
    #[must_use]
    pub fn is_left_behind(&self) -> bool {
        self.shared().is_left_behind()
    }

    #[inline]
    pub(super) fn shared(&self) -> &Shared {
        self.handle.shared()
    }

    #[inline(always)]
    pub(super) fn line(&self) -> &Line {
        // SAFETY: the pool, of which the line is a part, lives as long as the
        // handle.
        unsafe { self.line.as_ref() }
    }

    /// Takes a buffer of [`size`](Self::size) bytes. As
    /// [`Pool::allocate`], climbing included.
    ///
    /// # Errors
    ///
    /// [`AllocError::Exhausted`] if at one moment within the call no buffer that
    /// fits was free anywhere; [`AllocError::NoClass`] if the class was trimmed
    /// away and no other fits.
    #[inline(always)]
    #[track_caller]
    pub fn allocate(&self) -> Result<Buffer<M>, AllocError> {
        let (line, shared) = (self.line(), self.shared());
        let taken = match shared.catalog.lists().take_cached(line) {
            Some(index) => Taken { line, index },
            None => shared.take_slow(self.size, self.alignment, Location::caller(), false)?,
        };
        Ok(Buffer::of(Owned::new(taken, self.size)))
    }

    /// How many buffers one caller could take now; see
    /// [`Pool::available`](crate::Pool::available).
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let pool = hugepool::Pool::builder().reserve(4096, 4096, 4).prefault(false).build()?;
    /// let class = pool.class(4096, 4096)?;
    /// let buffer = class.allocate()?;
    /// assert_eq!(class.available(), 3);
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn available(&self) -> usize {
        let catalog = &self.shared().catalog;
        catalog.available(self.size, self.alignment)
    }
}
