//! A buffer's owner: a `Buffer` that becomes a raw pointer, and a raw pointer that becomes a
//! `Buffer`.
//!
//! Owns: the two calls, and why the first may be refused. Uses: `raw`, `buffer`. Used by:
//! callers.

use super::Pool;
use crate::buffer::{Buffer, Memory, Owned, Plain};
use crate::error::{FreeError, into_io};
use std::fmt;
use std::io::ErrorKind;
use std::ptr::NonNull;

/// Why a [`Buffer`] did not become a raw pointer ([`Pool::into_raw`]), and the buffer, as it
/// was.
#[non_exhaustive]
pub enum IntoRawError<M: Memory = Plain> {
    /// It belongs to another pool.
    OtherPool(Buffer<M>),
    /// Its [length](Buffer::len) is 0, and a raw pointer is given back with the number of its
    /// bytes, which is never 0.
    Empty(Buffer<M>),
}

impl<M: Memory> IntoRawError<M> {
    /// The buffer.
    pub fn into_buffer(self) -> Buffer<M> {
        match self {
            Self::OtherPool(buffer) | Self::Empty(buffer) => buffer,
        }
    }

    fn io_kind(&self) -> ErrorKind {
        ErrorKind::InvalidInput
    }
}

impl<M: Memory> fmt::Debug for IntoRawError<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (why, buffer) = match self {
            Self::OtherPool(buffer) => ("OtherPool", buffer),
            Self::Empty(buffer) => ("Empty", buffer),
        };
        f.debug_tuple(why).field(buffer).finish()
    }
}

impl<M: Memory> fmt::Display for IntoRawError<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OtherPool(_) => write!(f, "the buffer belongs to another pool"),
            Self::Empty(buffer) => write!(
                f,
                "a buffer of length 0: a raw pointer has 1 B at least, and this buffer room \
                 for {} B",
                buffer.capacity()
            ),
        }
    }
}

impl<M: Memory> std::error::Error for IntoRawError<M> {}

into_io!(IntoRawError<M>, M: Memory);

impl<M: Memory> Pool<M> {
    /// Makes a buffer's owner a raw pointer: as if it had come from
    /// [`allocate_raw`](Self::allocate_raw) for as many bytes as its [`len`](Buffer::len) is
    /// now. With that number it is given back ([`free_raw`](Self::free_raw)); who changed the
    /// length gives that one, and [`Class::free_raw`](super::Class::free_raw) takes it only if
    /// it is the class's. Wait-free.
    ///
    /// # Errors
    ///
    /// [`IntoRawError`] if the buffer belongs to another pool, or its length is 0. It has the
    /// buffer, as it was.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let pool = hugepool::Pool::builder().reserve(4096, 4096, 4).prefault(false).build()?;
    /// use hugepool::IntoRawError;
    ///
    /// let mut buffer = pool.allocate(4096, 4096)?;
    /// buffer.clear();
    /// let Err(IntoRawError::Empty(mut buffer)) = pool.into_raw(buffer) else {
    ///     panic!("no buffer of 0 bytes is out as a raw pointer")
    /// };
    /// buffer.set_len(1000)?;
    /// let start = pool.into_raw(buffer)?;
    /// // SAFETY: made just now of a buffer of that length, and freed once.
    /// unsafe { pool.free_raw(start.as_ptr(), 1000)? };
    /// # Ok(()) }
    /// ```
    pub fn into_raw(&self, buffer: Buffer<M>) -> Result<NonNull<u8>, IntoRawError<M>> {
        let buffer = buffer.into_owned();
        if buffer.shared() != self.handle.0 {
            return Err(IntoRawError::OtherPool(Buffer::of(buffer)));
        }
        let (shared, len, stream) = (self.shared(), buffer.len(), buffer.stream());
        if len == 0 {
            // In the buffer's record that would say that it is not out.
            return Err(IntoRawError::Empty(Buffer::of(buffer)));
        }
        let taken = buffer.forget(shared.catalog.classes());
        shared.note_raw(taken.index, true);
        Ok(match stream {
            None => shared.mark_raw(taken, len),
            Some(stream) => shared.mark_raw_of(stream, taken, len),
        })
    }

    /// Makes a raw pointer a [`Buffer`] of `size` bytes, the number with which it would be
    /// freed. Lock-free.
    ///
    /// # Errors
    ///
    /// As [`free_raw`](Self::free_raw).
    ///
    /// # Safety
    ///
    /// As [`free_raw`](Self::free_raw): `start` must be the caller's own, and if
    /// it succeeds the pointer must not be used any more.
    pub unsafe fn from_raw(&self, start: *mut u8, size: usize) -> Result<Buffer<M>, FreeError> {
        let shared = self.shared();
        let taken = shared.unmark_raw(start, size);
        match taken.or_else(|| shared.unmark_raw_of_stream(start, size)) {
            Some(taken) => {
                shared.note_raw(taken.index, false);
                Ok(Buffer::of(Owned::new(taken, size)))
            }
            None => Err(self.shared().fault(start.addr(), size)),
        }
    }
}
