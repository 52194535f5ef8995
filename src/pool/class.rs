//! A class of a pool, resolved once.
//!
//! Owns: the shortest way to a buffer of one size and alignment. Uses: the
//! pool's shared part. Used by: callers.

use super::{Handle, Shared};
use crate::buffer::Buffer;
use crate::catalog::Taken;
use crate::class::ClassId;
use crate::error::AllocError;

/// A size and alignment of a [`Pool`](crate::Pool), resolved to its class: the
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
#[derive(Clone, Debug)]
pub struct Class {
    handle: Handle,
    id: ClassId,
    size: usize,
    alignment: usize,
}

impl Class {
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
        Ok(Self {
            handle,
            id: rung.class,
            size: rung.size,
            alignment: rung.alignment,
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

    #[inline]
    fn shared(&self) -> &Shared {
        self.handle.shared()
    }

    /// Takes a buffer of [`size`](Self::size) bytes. As
    /// [`Pool::allocate`](crate::Pool::allocate), climbing included.
    ///
    /// # Errors
    ///
    /// [`AllocError::Exhausted`] if at one moment within the call no buffer that
    /// fits was free anywhere; [`AllocError::NoClass`] if the class was trimmed
    /// away and no other fits.
    #[inline(always)]
    pub fn allocate(&self) -> Result<Buffer, AllocError> {
        let catalog = &self.shared().catalog;
        let taken = match catalog.lists().take_cached(self.id) {
            Some(index) => Taken {
                class: self.id,
                index,
            },
            None => catalog.take_slow(self.size, self.alignment)?,
        };
        Ok(Buffer::new(self.handle.0, taken, self.size))
    }

    /// How many buffers one caller could take now; see
    /// [`Pool::available`](crate::Pool::available).
    #[must_use]
    pub fn available(&self) -> usize {
        let catalog = &self.shared().catalog;
        catalog.available(self.size, self.alignment)
    }
}
