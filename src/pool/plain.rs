//! Who may write the buffers of a pool, said anew.
//!
//! Owns: the promise that nobody else does, and the way back. Uses: nothing. Used by:
//! callers.

use super::Pool;
use crate::buffer::Volatile;

impl Pool {
    /// The same pool, as one whose buffers another process may write: for code that is made
    /// for those.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let pool = hugepool::Pool::builder().reserve(4096, 4096, 1).prefault(false).build()?;
    /// let pool = pool.into_volatile();
    /// pool.allocate(4096, 4096)?.write_at(0, b"header")?;
    /// # Ok(()) }
    /// ```
    pub fn into_volatile(self) -> Pool<Volatile> {
        Pool::of(self.handle)
    }
}

impl Pool<Volatile> {
    /// The same pool, as one whose buffers nobody but this process writes. Other handles of
    /// it stay as they are.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let builder = hugepool::Pool::builder().reserve(4096, 4096, 1).prefault(false);
    /// let pool = builder.shared(hugepool::share::Access::Write).build_volatile()?;
    /// // SAFETY: our clients write no buffer but one that we have sent them, and we send no
    /// // buffer before we have dropped its `Buffer`.
    /// let pool = unsafe { pool.assume_plain() };
    /// pool.allocate(4096, 4096)?[0] = 1;
    /// # Ok(()) }
    /// ```
    ///
    /// # Safety
    ///
    /// That of [`Buffer::assume_plain`](crate::Buffer::assume_plain), for every buffer that comes by way of what is
    /// returned, or of its clones, classes and streams: as long as a reference to its bytes
    /// exists here, nobody else writes them.
    pub unsafe fn assume_plain(self) -> Pool {
        Pool::of(self.handle)
    }
}
