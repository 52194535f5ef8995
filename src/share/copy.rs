//! A client's copies into and out of a server's buffers.
//!
//! Owns: their calls. Uses: `client`, which finds the buffer, `volatile`, which says why
//! such copies are sound. Used by: callers.
//!
//! ```text
//!   find the buffer ──▶ check the range ──▶ copy ──▶ is it still the same buffer's? ──▶ done
//! ```
//!
//! A buffer that is freed may be somebody else's a moment later. So a copy is followed by
//! a second look at the handle, as the reader of a seqlock looks at the sequence again.

use super::client::Client;
use super::error::ShareError;
use super::handle::Handle;
use super::segment::View;
use crate::error::RangeError;
use crate::sync::{Ordering, fence};
use crate::volatile::Bytes;

impl View {
    /// The data, and then the prefix zone.
    ///
    /// # Safety
    ///
    /// It came from a client, and is used no longer than that is borrowed.
    unsafe fn bytes(&self) -> [Bytes; 2] {
        // SAFETY: the zone lies in the same mapping, right before the data.
        let prefix = unsafe { self.start.sub(self.prefix) };
        // SAFETY: the client has all of the segment's memory mapped, which is whole pages,
        // and unmaps none while it is borrowed. It is written only if it may be. Nobody
        // makes a reference to it; who accesses it by the view's pointer says that nobody
        // copies meanwhile.
        unsafe {
            [
                Bytes::new(self.start, self.size),
                Bytes::new(prefix, self.prefix),
            ]
        }
    }
}

impl Client {
    /// Copies the bytes from `offset` on of the buffer that `handle` names to `into`, as many
    /// as it has. What others write meanwhile is in the copy or not, or in part; the copy
    /// does not change any more, and has no byte of a later owner of the buffer. Wait-free.
    ///
    /// # Errors
    ///
    /// Those of [`map`](Self::map); [`ShareError::BadHandle`] also if the buffer was freed
    /// before all was copied: what is in `into` is worthless then. [`ShareError::Range`] if
    /// the bytes are not all within the [size](View::size) that the buffer was allocated
    /// for; nothing is copied then.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use hugepool::share::{Access, Client, ShareError};
    /// # let builder = hugepool::Pool::builder().reserve(4096, 4096, 4);
    /// let pool = builder.shared(Access::Write).build_volatile()?;
    /// let start = pool.allocate_raw(4096, 4096)?;
    /// let handle = pool.handle(start.as_ptr())?;
    ///
    /// let client = Client::new();
    /// for export in pool.exports()? {
    ///     client.attach(export)?;
    /// }
    /// client.write(handle, 4000, b"of the client")?;
    /// let mut copy = [0; 13];
    /// client.read(handle, 4000, &mut copy)?;
    /// assert_eq!(&copy, b"of the client");
    /// let refused = client.read(handle, 4084, &mut copy);
    /// assert!(matches!(refused, Err(ShareError::Range(range)) if range.limit == 4096));
    /// # // SAFETY: allocated above, and freed once.
    /// # unsafe { pool.free_raw(start.as_ptr(), 4096)? };
    /// # Ok(()) }
    /// ```
    pub fn read(&self, handle: Handle, offset: usize, into: &mut [u8]) -> Result<(), ShareError> {
        self.copy_out(handle, |[data, _]| data.read(offset, into))
    }

    /// As [`read`](Self::read), of the buffer's [prefix zone](View::prefix). `offset` counts
    /// from its first byte.
    ///
    /// # Errors
    ///
    /// As [`read`](Self::read).
    pub fn read_prefix(
        &self,
        handle: Handle,
        offset: usize,
        into: &mut [u8],
    ) -> Result<(), ShareError> {
        self.copy_out(handle, |[_, prefix]| prefix.read(offset, into))
    }

    /// Copies `from` to the bytes from `offset` on of the buffer that `handle` names. Bytes
    /// beside these stay as they are, even if others write them meanwhile; those that two
    /// write at once are a mixture. Wait-free.
    ///
    /// # Errors
    ///
    /// Those of [`map`](Self::map); [`ShareError::BadHandle`] also if the buffer was freed
    /// before all was copied: a part may have gone to its next owner then.
    /// [`ShareError::ReadOnly`] if the pool is shared for reading only;
    /// [`ShareError::Range`] as for [`read`](Self::read). Nothing is copied then.
    pub fn write(&self, handle: Handle, offset: usize, from: &[u8]) -> Result<(), ShareError> {
        self.copy_in(handle, |[data, _]| data.write(offset, from))
    }

    /// As [`write`](Self::write), to the buffer's [prefix zone](View::prefix). `offset`
    /// counts from its first byte.
    ///
    /// # Errors
    ///
    /// As [`write`](Self::write).
    pub fn write_prefix(
        &self,
        handle: Handle,
        offset: usize,
        from: &[u8],
    ) -> Result<(), ShareError> {
        self.copy_in(handle, |[_, prefix]| prefix.write(offset, from))
    }

    fn copy_out(
        &self,
        handle: Handle,
        copy: impl FnOnce([Bytes; 2]) -> Result<(), RangeError>,
    ) -> Result<(), ShareError> {
        let view = self.map(handle)?;
        // SAFETY: it is this client's, which is borrowed until the copy is over.
        copy(unsafe { view.bytes() }).map_err(ShareError::Range)?;
        // The loads of the copy come before those of the second look. If one of them found
        // what a later owner wrote, then that owner had taken the buffer, after it was
        // freed, and this look finds that it was.
        fence(Ordering::Acquire);
        self.map(handle).map(drop)
    }

    fn copy_in(
        &self,
        handle: Handle,
        copy: impl FnOnce([Bytes; 2]) -> Result<(), RangeError>,
    ) -> Result<(), ShareError> {
        let view = self.map(handle)?;
        if !view.writable {
            return Err(ShareError::ReadOnly);
        }
        // SAFETY: as above; it may be written.
        copy(unsafe { view.bytes() }).map_err(ShareError::Range)?;
        // Sequentially consistent: all that was stored is there before the second look. If
        // that finds the buffer as it was, nobody else had it when the last byte went there.
        fence(Ordering::SeqCst);
        self.map(handle).map(drop)
    }
}
