//! How much of a buffer is filled.
//!
//! Owns: the length and its changes, the part beyond it, and the writing into that. Uses:
//! `owned`. Used by: callers.
//!
//! ```text
//!   ├─ prefix zone ─┼──────── len ────────┼──── spare ────┤
//!                   data                               capacity
//! ```
//!
//! Every byte up to the capacity is memory that was zeroed once and belongs to the buffer,
//! so any length up to that is one that safe code may set: what it uncovers is zero, or what
//! was left there.

use super::{Buffer, Memory, Volatile};
use crate::error::RangeError;
use std::io;
use std::ptr::slice_from_raw_parts_mut;

impl<M: Memory> Buffer<M> {
    /// Bytes that are filled: those that were asked for when the buffer was taken, until
    /// [`set_len`](Self::set_len) or another call says otherwise.
    #[inline(always)]
    #[must_use]
    pub fn len(&self) -> usize {
        self.owned.len()
    }

    /// Whether [`len`](Self::len) is 0, as after [`clear`](Self::clear).
    #[inline]
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes that the buffer's class can hold: the most that [`len`](Self::len) can be.
    #[inline]
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.owned.capacity()
    }

    /// Says that the first `len` bytes are filled, [`capacity`](Self::capacity) at most. The
    /// bytes do not change: those that come in are zero, or what this owner or an earlier one
    /// left there. Wait-free.
    ///
    /// # Errors
    ///
    /// [`RangeError`] if the buffer holds fewer. Its length stays as it was.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let pool = hugepool::Pool::builder().reserve(65536, 4096, 4).prefault(false).build()?;
    /// use std::io::Read;
    ///
    /// let mut source = &b"a block"[..];
    /// let mut buffer = pool.allocate(64 << 10, 4096)?;
    /// let filled = source.read(&mut buffer)?;
    /// buffer.set_len(filled)?;
    /// assert_eq!(&buffer[..], b"a block");
    /// let refused = buffer.set_len(65537).unwrap_err();
    /// assert_eq!((refused.length, refused.limit), (65537, 65536));
    /// # Ok(()) }
    /// ```
    #[inline]
    pub fn set_len(&mut self, len: usize) -> Result<(), RangeError> {
        self.owned.set_len(len)
    }

    /// Says that no more than the first `len` bytes are filled. If there are not so many,
    /// nothing changes. Wait-free.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let pool = hugepool::Pool::builder().reserve(4096, 4096, 4).prefault(false).build()?;
    /// let mut buffer = pool.allocate(1000, 4096)?;
    /// buffer.truncate(2000);
    /// assert_eq!(buffer.len(), 1000);
    /// buffer.truncate(24);
    /// assert_eq!(buffer.len(), 24);
    /// # Ok(()) }
    /// ```
    #[inline]
    pub fn truncate(&mut self, len: usize) {
        if len < self.len() {
            // It is less than what it has, so it fits.
            let _ = self.owned.set_len(len);
        }
    }

    /// Says that no byte is filled. Wait-free.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let pool = hugepool::Pool::builder().reserve(4096, 4096, 4).prefault(false).build()?;
    /// use std::io::Write;
    ///
    /// let mut buffer = pool.allocate(4096, 4096)?;
    /// buffer.clear();
    /// write!(buffer, "block {}", 7)?;
    /// assert_eq!(&buffer[..], b"block 7");
    /// # Ok(()) }
    /// ```
    #[inline]
    pub fn clear(&mut self) {
        self.truncate(0);
    }
}

impl Buffer {
    /// The bytes from [`len`](Self::len) to [`capacity`](Self::capacity): zero, or what this
    /// owner or an earlier one left there.
    #[doc(alias = "spare_capacity_mut")]
    #[must_use]
    pub fn spare(&self) -> &[u8] {
        let (start, len) = self.owned.spare();
        // SAFETY: bytes of the buffer, as those of `deref` are.
        unsafe { std::slice::from_raw_parts(start.as_ptr(), len) }
    }

    /// The same, writable. What is written there is filled once
    /// [`set_len`](Self::set_len) says so.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let pool = hugepool::Pool::builder().reserve(4096, 4096, 4).prefault(false).build()?;
    /// use std::io::Read;
    ///
    /// let mut source = &b"and the rest"[..];
    /// let mut buffer = pool.allocate(4096, 4096)?;
    /// buffer.clear();
    /// loop {
    ///     let more = source.read(buffer.spare_mut())?;
    ///     if more == 0 {
    ///         break;
    ///     }
    ///     buffer.set_len(buffer.len() + more)?;
    /// }
    /// assert_eq!(&buffer[..], b"and the rest");
    /// # Ok(()) }
    /// ```
    #[doc(alias = "spare_capacity_mut")]
    #[must_use]
    pub fn spare_mut(&mut self) -> &mut [u8] {
        let (start, len) = self.owned.spare();
        // SAFETY: as above, and `self` is borrowed mutably.
        unsafe { std::slice::from_raw_parts_mut(start.as_ptr(), len) }
    }
}

impl Buffer<Volatile> {
    /// The address of the bytes from [`len`](Self::len) to [`capacity`](Self::capacity): see
    /// [`as_ptr`](Self::as_ptr). What a system call has put there is filled once
    /// [`set_len`](Self::set_len) says so.
    #[must_use]
    pub fn spare_ptr(&self) -> *mut [u8] {
        let (start, len) = self.owned.spare();
        slice_from_raw_parts_mut(start.as_ptr(), len)
    }
}

/// Appends at [`len`](Buffer::len), as far as the [`capacity`](Buffer::capacity) goes: what
/// does not fit is not written, as for `&mut [u8]`. `write` says how much was, and
/// `write_all` fails with [`WriteZero`](io::ErrorKind::WriteZero) once the buffer is full.
/// Never blocks.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let pool = hugepool::Pool::builder().reserve(4096, 4096, 4).prefault(false).build()?;
/// use std::io::{ErrorKind, Write};
///
/// let mut buffer = pool.allocate(4090, 4096)?;
/// assert_eq!(buffer.write(b"0123456789")?, 6);
/// assert_eq!((buffer.len(), &buffer[4090..]), (4096, &b"012345"[..]));
/// assert_eq!(buffer.write_all(b"6").unwrap_err().kind(), ErrorKind::WriteZero);
/// # Ok(()) }
/// ```
impl io::Write for Buffer {
    #[inline]
    fn write(&mut self, from: &[u8]) -> io::Result<usize> {
        let spare = self.spare_mut();
        let more = spare.len().min(from.len());
        spare[..more].copy_from_slice(&from[..more]);
        self.set_len(self.len() + more)?;
        Ok(more)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// As for a plain buffer: copies, as [`write_at`](Buffer::write_at) does.
impl io::Write for Buffer<Volatile> {
    fn write(&mut self, from: &[u8]) -> io::Result<usize> {
        let spare = self.spare_bytes();
        let more = spare.len().min(from.len());
        spare.write(0, &from[..more])?;
        self.set_len(self.len() + more)?;
        Ok(more)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
