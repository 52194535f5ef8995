//! A buffer that several have, to read.
//!
//! Owns: the count of those who have it, and the ways to and from [`Bytes`]. Uses: `sync`,
//! the crate `bytes`. Used by: callers, with the feature `bytes`.
//!
//! ```text
//!              freeze                  Bytes::from, a clone each time
//!   Buffer ──────────────▶ Frozen ──────────────────────────────────▶ Bytes, and its
//!          ◀──────────────        ◀────────────────────────────────── clones and slices
//!      try_thaw, if nobody else has it        when the last is dropped
//! ```
//!
//! What is given to `Bytes` cannot be had back from it, whoever is the only one to have it.
//! So who wants the buffer back keeps a `Frozen`, whose count is our own.

use super::Buffer;
use crate::sync::Arc;
use bytes::Bytes;
use std::borrow::Borrow;
use std::fmt;
use std::ops::Deref;

/// A [`Buffer`] whose bytes do not change any more, made by [`Buffer::freeze`]. Clones are the
/// same buffer, which goes back to its pool when the last of them is dropped, and the last
/// [`Bytes`] that was made of one. Needs the feature `bytes`.
///
/// Cloning it counts, by one locked instruction; nothing is copied.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let pool = hugepool::Pool::builder().reserve(4096, 4096, 4).prefault(false).build()?;
/// use bytes::Bytes;
///
/// let mut buffer = pool.allocate(4096, 4096)?;
/// buffer[..5].copy_from_slice(b"block");
/// let block = buffer.freeze();
/// let upload = Bytes::from(block.clone()); // to be sent, and sent again
/// assert_eq!(upload[..5], block[..5]);
///
/// let block = block.try_thaw().unwrap_err(); // the upload still has it
/// drop(upload);
/// let mut buffer = block.try_thaw().expect("nobody else has it");
/// buffer[0] = b'B';
/// # Ok(()) }
/// ```
///
/// # When `Bytes` lets go of a buffer
///
/// The buffer is out as long as there is a `Bytes` of it, or of a part of it, and one that is
/// empty may be one. What was *advanced* to its end, as by who writes it out piece by piece,
/// still has the buffer until it is dropped. What was *cleared*
/// ([`Bytes::clear`], or truncated to nothing) has let go of it. So a program that keeps
/// handles in a queue after they were sent clears or drops each as soon as it is done.
#[derive(Clone)]
#[must_use = "a buffer whose last owner is dropped goes back to its pool"]
pub struct Frozen {
    buffer: Arc<Buffer>,
}

impl Frozen {
    /// The buffer, if nobody else has it: neither a clone nor any [`Bytes`] that was made of
    /// one. Lock-free.
    ///
    /// # Errors
    ///
    /// The same, if somebody has.
    pub fn try_thaw(self) -> Result<Buffer, Self> {
        Arc::try_unwrap(self.buffer).map_err(|buffer| Self { buffer })
    }
}

impl Buffer {
    /// The same buffer, for any number of owners who read it: [`Frozen`]. Its
    /// [`len`](Self::len) bytes are not copied; allocates some words for the count. Needs the
    /// feature `bytes`.
    ///
    /// What another process may write cannot be frozen:
    ///
    /// ```compile_fail,E0599
    /// # use hugepool::{Buffer, Frozen, Volatile};
    /// fn freeze(buffer: Buffer<Volatile>) -> Frozen { buffer.freeze() }
    /// ```
    pub fn freeze(self) -> Frozen {
        Frozen {
            buffer: Arc::new(self),
        }
    }
}

impl From<Buffer> for Frozen {
    fn from(buffer: Buffer) -> Self {
        buffer.freeze()
    }
}

/// Its [`len`](Buffer::len) bytes, without a copy. The buffer goes back to its pool when the
/// last clone, or slice, of what is made here is dropped or cleared; until then nobody can
/// have it back: [`Frozen`] can. Allocates some words. Needs the feature `bytes`.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let pool = hugepool::Pool::builder().reserve(4096, 4096, 1).prefault(false).build()?;
/// let mut buffer = pool.allocate(4096, 4096)?;
/// buffer.truncate(100);
/// let bytes = bytes::Bytes::from(buffer);
/// let part = bytes.slice(90..);
/// drop(bytes);
/// assert_eq!((part.len(), pool.available(4096, 4096)), (10, 0));
/// drop(part);
/// assert_eq!(pool.available(4096, 4096), 1);
/// # Ok(()) }
/// ```
impl From<Buffer> for Bytes {
    fn from(buffer: Buffer) -> Self {
        // It asks for the slice once, and the bytes stay where they are.
        Self::from_owner(buffer)
    }
}

/// As of a [`Buffer`]: the clone that is given stays until the `Bytes` has gone.
impl From<Frozen> for Bytes {
    fn from(frozen: Frozen) -> Self {
        Self::from_owner(frozen)
    }
}

impl Deref for Frozen {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        &self.buffer
    }
}

impl AsRef<[u8]> for Frozen {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl Borrow<[u8]> for Frozen {
    fn borrow(&self) -> &[u8] {
        self
    }
}

impl fmt::Debug for Frozen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Frozen").field(&self.buffer).finish()
    }
}
