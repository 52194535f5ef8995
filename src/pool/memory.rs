//! The memory of a pool: what it is, and how it grows and shrinks.
//!
//! Owns: the calls. Uses: the pool's shared part. Used by: callers.

use super::Pool;
use crate::arena::Pages;
use crate::buffer::Memory;
use crate::error::BuildError;

/// Memory of a pool, for registration with a device or a kernel interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Region {
    /// The first byte.
    pub start: *const u8,
    /// Bytes: as far as the buffers reach, in whole pages.
    pub bytes: usize,
    /// The kind of pages it was mapped with.
    pub pages: Pages,
}

/// What trimming gave back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Trimmed {
    /// Segments.
    pub segments: usize,
    /// Bytes.
    pub bytes: usize,
}
impl<M: Memory> Pool<M> {
    /// Adds `count` buffers of `size` bytes at `alignment`, mapped now.
    ///
    /// The one call that maps memory after the pool is built. It takes no lock,
    /// but enters the kernel, and returns when the new buffers can be taken.
    /// Other threads go on allocating meanwhile.
    ///
    /// # Errors
    ///
    /// As [`Builder::build`](crate::Builder::build). Nothing has changed then.
    /// [`BuildError::AddressSpace`] if the pool has no more room, of which
    /// [`Builder::address_space`](crate::Builder::address_space) says how much there is;
    /// [`BuildError::OutOfMemory`], too, if the system has no memory for the bookkeeping of
    /// the new buffers. [`Builder::reserve`](crate::Builder::reserve) says what they cost.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let pool = hugepool::Pool::builder().reserve(4096, 4096, 4).prefault(false).build()?;
    /// pool.request(4096, 4096, 12)?;
    /// assert_eq!(pool.available(4096, 4096), 16);
    /// assert_eq!(pool.trim().segments, 1);
    /// assert_eq!(pool.available(4096, 4096), 4);
    /// # Ok(()) }
    /// ```
    pub fn request(&self, size: usize, alignment: usize, count: usize) -> Result<(), BuildError> {
        let geometry = super::geometry(size, alignment, self.shared().prefix(), count)?;
        self.shared().grow(&geometry, count, true)
    }

    /// Gives the memory of every segment back that was added by
    /// [`request`](Self::request) and whose buffers are all home. Segments that
    /// the pool was built with stay. Two trims at once may each find a part of
    /// what is home, and then give nothing back; nor does a child of a fork whose parent's
    /// pool is shared.
    ///
    /// A region that was registered with a device or the kernel must be
    /// deregistered before its segment may be trimmed: the registration would
    /// keep the old pages, and a later `request` may use the addresses again.
    ///
    /// Takes no lock, but enters the kernel. The memory is gone when this
    /// returns, unless a client has it mapped (then it goes with the client), or another thread is just then inside a call that reads the
    /// directory ([`stats`](Self::stats), [`regions`](Self::regions),
    /// [`request`](Self::request), `trim`); then it goes with one of the next
    /// such calls. While it looks it holds the free buffers of the segments in
    /// question; requests that find no others wait for it as they do for a batch
    /// on its way. If one of them comes to serve a task that waits, the task is
    /// woken when it has looked at the class.
    pub fn trim(&self) -> Trimmed {
        let catalog = &self.shared().catalog;
        if self.is_shared() && self.shared().arena.is_inherited() {
            // A child of a fork has neither the memory nor the states, and where they
            // were may be its own.
            return Trimmed::default();
        }
        let gone = catalog.trim();
        catalog.read(|directory| {
            for entry in &gone {
                let geometry = &directory.classes[entry.class.index()];
                self.shared().unshare(geometry, &entry.segment, false);
            }
        });
        let trimmed = Trimmed {
            segments: gone.len(),
            bytes: gone.iter().map(|entry| entry.segment.bytes()).sum(),
        };
        drop(gone);
        catalog.reclaim();
        trimmed
    }

    /// The pool's memory: one region a segment.
    ///
    /// A region stays mapped until the pool ends, or until [`trim`](Self::trim)
    /// takes it if it came by [`request`](Self::request).
    #[must_use]
    pub fn regions(&self) -> Vec<Region> {
        self.shared().catalog.read(|directory| {
            directory
                .segments
                .iter()
                .map(|entry| Region {
                    start: entry.segment.start().as_ptr(),
                    bytes: entry.segment.bytes(),
                    pages: entry.segment.pages().unwrap_or(Pages::Base),
                })
                .collect()
        })
    }
}
