//! A piece of a pool's memory, for those who register it.
//!
//! Owns: the hold on a segment. Uses: `arena`, `region`. Used by: callers, who have it from
//! `memory`.

use crate::arena::{Pages, Segment};
use crate::class::Geometry;
use crate::region::RegionId;
use crate::sync::Arc;
use std::fmt;
use std::panic::{RefUnwindSafe, UnwindSafe};

/// Memory of a pool that holds buffers of one class, for registration with a device or a
/// kernel interface.
///
/// **It holds the memory.** As long as a region, or a clone of it, is there, the memory stays
/// mapped where it is, also if [`trim`](crate::Pool::trim) takes its buffers out of the pool,
/// or the pool ends. So whoever registers memory keeps the region until it is deregistered.
/// Dropping the last one of a region that was trimmed enters the kernel, to unmap it: not in a
/// signal handler. One that is kept after the pool's end keeps the pool's address space, and
/// its tables.
///
/// In a child of a fork the memory is there if [`Builder::fork`](crate::Builder::fork) says
/// so, and never if the pool is shared.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let pool = hugepool::Pool::builder().reserve(4096, 4096, 4).prefault(false).build()?;
/// pool.request(1 << 20, 4096, 8)?;
/// let region = pool.regions().pop().unwrap();
/// assert_eq!((region.buffers(), region.bytes()), (8, 8 << 20));
/// // Where an interface takes 3 MiB at a time at most:
/// let pieces: Vec<usize> = region.pieces(3 << 20).map(|piece| piece.bytes).collect();
/// assert_eq!(pieces, [3 << 20, 3 << 20, 2 << 20]);
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Region {
    segment: Arc<Segment>,
    geometry: Geometry,
    id: RegionId,
}

/// A part of a [`Region`]: whole buffers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Piece {
    /// The first byte.
    pub start: *const u8,
    /// Bytes.
    pub bytes: usize,
    /// Bytes from the region's start.
    pub offset: usize,
}

// SAFETY: an address and numbers; whoever uses the address says why he may.
unsafe impl Send for Piece {}
// SAFETY: as above.
unsafe impl Sync for Piece {}

impl Region {
    pub(super) fn new(segment: Arc<Segment>, geometry: Geometry, id: RegionId) -> Self {
        Self {
            segment,
            geometry,
            id,
        }
    }

    /// What it is called in its pool.
    #[must_use]
    pub fn id(&self) -> RegionId {
        self.id
    }

    /// The first byte, at which a page begins.
    #[must_use]
    pub fn start(&self) -> *const u8 {
        self.segment.start().as_ptr()
    }

    /// Bytes: as far as the buffers reach, in whole pages.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.segment.bytes()
    }

    /// The kind of pages it was mapped with.
    #[must_use]
    pub fn pages(&self) -> Pages {
        self.segment.pages().unwrap_or(Pages::Base)
    }

    /// How many buffers it holds.
    #[must_use]
    pub fn buffers(&self) -> usize {
        use crate::catalog::Holder as _;
        self.segment.count()
    }

    /// Bytes that each of its buffers can hold.
    #[must_use]
    pub fn buffer_size(&self) -> usize {
        self.geometry.size()
    }

    /// Bytes from the start of one buffer's cell to that of the next. A cell is the prefix
    /// zone, at a multiple of the alignment, the data, and what is left to the next multiple;
    /// the first one begins where the region does.
    #[must_use]
    pub fn stride(&self) -> usize {
        self.geometry.stride()
    }

    /// Bytes of each of its [`pieces`](Self::pieces) but the last, which is shorter or as
    /// long. So a buffer's byte at `offset` is in piece `offset / piece_bytes(limit)`.
    #[must_use]
    pub fn piece_bytes(&self, limit: usize) -> usize {
        if self.bytes() <= limit {
            return self.bytes();
        }
        let stride = self.stride();
        (limit / stride).max(1) * stride
    }

    /// The region in pieces of whole buffers, of `limit` bytes at most, as few and as long as
    /// can be. Where one buffer's cell is longer than that, each piece is a cell. If it is cut
    /// at all, what is behind the last buffer is in no piece.
    pub fn pieces(&self, limit: usize) -> impl ExactSizeIterator<Item = Piece> + use<> {
        let (start, each) = (self.start(), self.piece_bytes(limit));
        let bytes = match each >= self.bytes() {
            true => self.bytes(),
            false => self.buffers() * self.stride(),
        };
        (0..bytes.div_ceil(each.max(1))).map(move |at| Piece {
            start: start.wrapping_add(at * each),
            bytes: each.min(bytes - at * each),
            offset: at * each,
        })
    }
}

// What it shares is changed by atomics alone, and whole wherever a panic interrupts it.
impl UnwindSafe for Region {}
impl RefUnwindSafe for Region {}

impl PartialEq for Region {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.segment, &other.segment)
    }
}

impl Eq for Region {}

impl fmt::Debug for Region {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Region")
            .field("id", &self.id)
            .field("start", &self.start())
            .field("bytes", &self.bytes())
            .field("pages", &self.pages())
            .field("buffers", &self.buffers())
            .field("buffer_size", &self.buffer_size())
            .finish()
    }
}
