//! The memory of a pool: what it is, and how it grows and shrinks.
//!
//! Owns: the calls. Uses: the pool's shared part, `region`. Used by: callers.

use super::{Pool, Region};
use crate::arena::Segment;
use crate::buffer::Memory;
use crate::catalog::Entry;
use crate::error::BuildError;
use crate::region::Location;
use crate::sync::Arc;

/// What trimming took out of a pool. Its memory is given back to the system with the last
/// [`Region`] of it ([`Stats::held_bytes`](crate::Stats::held_bytes) says what is not yet).
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
    /// Takes no lock, but enters the kernel. The memory is gone when this
    /// returns, unless
    ///
    /// - somebody has a [`Region`] of it: the memory, and its addresses, go with the last of
    ///   these. So memory that is registered with a device or the kernel stays what it was
    ///   registered as;
    /// - a client has it mapped: then it goes with the client;
    /// - another thread is just then inside a call that reads the
    ///   directory ([`stats`](Self::stats), [`regions`](Self::regions),
    ///   [`request`](Self::request), `trim`): then it goes with one of the next
    ///   such calls.
    ///
    /// While it looks it holds the free buffers of the segments in
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
                entry.segment.withdraw();
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

    /// The pool's memory: one region a segment, for registration with a device or a kernel
    /// interface.
    ///
    /// They are in the order of their indices, some of which may be missing where regions were
    /// trimmed. A region that [`request`](Self::request) adds meanwhile may be missing, too:
    /// ask again when a buffer lies in one ([`locate`](Self::locate), [`Buffer::location`])
    /// that was not there. And ask again after [`trim`](Self::trim), and drop what is not there
    /// any more: memory and addresses are not given back before. Takes no lock.
    ///
    /// [`Buffer::location`]: crate::Buffer::location
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let pool = hugepool::Pool::builder().reserve(4096, 4096, 4).prefault(false).build()?;
    /// let regions = pool.regions();
    /// let buffer = pool.allocate(4096, 4096)?;
    /// let at = buffer.location();
    /// let region = regions.iter().find(|region| region.id() == at.region).unwrap();
    /// assert_eq!(region.start().wrapping_add(at.offset), buffer.as_ptr());
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn regions(&self) -> Vec<Region> {
        let mut regions: Vec<Region> = self.shared().catalog.read(|directory| {
            let segments = directory.segments.iter();
            let region = |entry: &Entry<Segment>| {
                let geometry = directory.classes[entry.class.index()];
                Region::new(Arc::clone(&entry.segment), geometry, entry.id)
            };
            segments.map(region).collect()
        });
        regions.sort_by_key(Region::id);
        regions
    }

    /// Where the byte at `address` lies; `None` if it is in no buffer's cell: the prefix
    /// zone, the data, and what is left to the next one. Wait-free.
    ///
    /// Of use for raw pointers; a [`Buffer`](crate::Buffer) knows its
    /// [`location`](crate::Buffer::location). If nobody has the buffer, it may be trimmed
    /// meanwhile, and the answer is then of no use.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let pool = hugepool::Pool::builder().reserve(4096, 4096, 4).prefault(false).build()?;
    /// let buffer = pool.allocate(4096, 4096)?;
    /// let at = pool.locate(&buffer[100]).unwrap();
    /// assert_eq!(at.offset, buffer.location().offset + 100);
    /// assert_eq!(pool.locate(&0), None);
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn locate(&self, address: *const u8) -> Option<Location> {
        let (shared, address) = (self.shared(), address.addr());
        let place = shared.arena.place(shared.catalog.classes(), address)?;
        Some(shared.arena.locate(place.index, address))
    }
}
