//! The bytes of a buffer that another process may write.
//!
//! Owns: the copies, the addresses, and the promise that nobody else writes. Uses:
//! `volatile`, which says why the copies are sound. Used by: callers.

use super::{Buffer, Plain, Volatile};
use crate::error::RangeError;
use crate::volatile::Bytes;
use std::ptr::slice_from_raw_parts_mut;

impl Buffer<Volatile> {
    fn bytes(&self) -> Bytes {
        // SAFETY: the bytes are mapped as long as the buffer is out, and the words that they
        // end in lie in the same cell. The buffer gives no reference to them; who accesses
        // them by `as_ptr` in other ways says that nobody copies them meanwhile.
        unsafe { Bytes::new(self.owned.data(), self.len()) }
    }

    fn prefix_bytes(&self) -> Bytes {
        let (start, len) = self.owned.prefix();
        // SAFETY: as for the data.
        unsafe { Bytes::new(start, len) }
    }

    pub(super) fn spare_bytes(&self) -> Bytes {
        let (start, len) = self.owned.spare();
        // SAFETY: as for the data.
        unsafe { Bytes::new(start, len) }
    }

    /// Copies the bytes from `offset` on to `into`, as many as it has. What another process
    /// writes meanwhile is in the copy or not, or in part (words of eight bytes are not
    /// torn where it writes them whole); the copy does not change any more. Wait-free.
    ///
    /// Nothing orders the copy after what another process did before: its message that the
    /// buffer is ready does, if it is received before the copy.
    ///
    /// # Errors
    ///
    /// [`RangeError`] if these are not all within the buffer's [`len`](Self::len). Nothing
    /// is copied then.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let builder = hugepool::Pool::builder().reserve(4096, 4096, 1).prefault(false);
    /// # let pool = builder.shared(hugepool::share::Access::Write).build_volatile()?;
    /// use hugepool::RangeError;
    ///
    /// let buffer = pool.allocate(1000, 4096)?;
    /// let mut record = [0; 24];
    /// buffer.read_at(976, &mut record)?;
    /// let refused = buffer.read_at(977, &mut record).unwrap_err();
    /// assert_eq!((refused.offset, refused.length, refused.limit), (977, 24, 1000));
    /// # Ok(()) }
    /// ```
    pub fn read_at(&self, offset: usize, into: &mut [u8]) -> Result<(), RangeError> {
        self.bytes().read(offset, into)
    }

    /// Copies `from` to the bytes from `offset` on. Bytes beside these stay as they are,
    /// even if another process writes them meanwhile. Wait-free.
    ///
    /// # Errors
    ///
    /// As [`read_at`](Self::read_at).
    pub fn write_at(&mut self, offset: usize, from: &[u8]) -> Result<(), RangeError> {
        self.bytes().write(offset, from)
    }

    /// Sets all [`len`](Self::len) bytes to `byte`. Wait-free.
    pub fn fill(&mut self, byte: u8) {
        self.bytes().fill(byte);
    }

    /// As [`read_at`](Self::read_at), of the prefix zone: the bytes right before the data, as
    /// many as the [`Builder`](crate::Builder::prefix_zone) was asked to keep. `offset`
    /// counts from its first byte.
    ///
    /// # Errors
    ///
    /// [`RangeError`] if the bytes are not all within the zone.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let builder = hugepool::Pool::builder().reserve(4096, 4096, 1).prefault(false);
    /// # let builder = builder.shared(hugepool::share::Access::Write);
    /// let pool = builder.prefix_zone(512).build_volatile()?;
    /// let mut buffer = pool.allocate(4096, 4096)?;
    /// buffer.write_prefix_at(500, b"block header")?;
    /// let mut header = [0; 12];
    /// buffer.read_prefix_at(500, &mut header)?;
    /// assert_eq!(&header, b"block header");
    /// assert_eq!(buffer.prefix_ptr().len(), 512);
    /// # Ok(()) }
    /// ```
    pub fn read_prefix_at(&self, offset: usize, into: &mut [u8]) -> Result<(), RangeError> {
        self.prefix_bytes().read(offset, into)
    }

    /// As [`write_at`](Self::write_at), of the prefix zone.
    ///
    /// # Errors
    ///
    /// As [`read_prefix_at`](Self::read_prefix_at).
    pub fn write_prefix_at(&mut self, offset: usize, from: &[u8]) -> Result<(), RangeError> {
        self.prefix_bytes().write(offset, from)
    }

    /// Sets all bytes of the prefix zone to `byte`. Wait-free.
    pub fn fill_prefix(&mut self, byte: u8) {
        self.prefix_bytes().fill(byte);
    }

    /// The address of the first byte, for system calls and devices. While another process
    /// may write, no reference may be made of it, and no plain read is sound
    /// ([`std::ptr::read_volatile`] is for that). The copies of this buffer access whole
    /// words of eight bytes: nobody accesses bytes of the same word by the address
    /// meanwhile.
    #[must_use]
    pub fn as_ptr(&self) -> *mut u8 {
        self.owned.data().as_ptr()
    }

    /// The address of all [`len`](Self::len) bytes: see [`as_ptr`](Self::as_ptr).
    #[must_use]
    pub fn as_slice_ptr(&self) -> *mut [u8] {
        slice_from_raw_parts_mut(self.as_ptr(), self.len())
    }

    /// The address of the prefix zone: see [`as_ptr`](Self::as_ptr).
    #[must_use]
    pub fn prefix_ptr(&self) -> *mut [u8] {
        let (start, len) = self.owned.prefix();
        slice_from_raw_parts_mut(start.as_ptr(), len)
    }

    /// The address of the prefix zone and the data, [`len`](Self::len) bytes of that, as one
    /// range: see [`as_ptr`](Self::as_ptr).
    #[must_use]
    pub fn with_prefix_ptr(&self) -> *mut [u8] {
        let (start, len) = self.owned.with_prefix();
        slice_from_raw_parts_mut(start.as_ptr(), len)
    }

    /// The same buffer, as one that nobody but this process writes.
    /// [`into_volatile`](Buffer::into_volatile) ends that.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let builder = hugepool::Pool::builder().reserve(4096, 4096, 1).prefault(false);
    /// # let pool = builder.shared(hugepool::share::Access::Write).build_volatile()?;
    /// let buffer = pool.allocate(4096, 4096)?;
    /// // SAFETY: no client runs yet.
    /// let mut buffer = unsafe { buffer.assume_plain() };
    /// buffer[0] = 1;
    /// let buffer = buffer.into_volatile();
    /// # Ok(()) }
    /// ```
    ///
    /// # Safety
    ///
    /// As long as a reference to the bytes exists here (that of the prefix zone included),
    /// nobody else writes them: no other process that has the memory mapped, or its
    /// descriptor; nor this one through a [`Client`](crate::share::Client) or a descriptor
    /// of its own ([`Export`](crate::share::Export)).
    pub unsafe fn assume_plain(self) -> Buffer<Plain> {
        Buffer::of(self.owned)
    }
}
