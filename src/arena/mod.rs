//! The address range of a pool, and the segments of memory in it.
//!
//! Owns: the reservation, what each granule belongs to, and what
//! backs each segment. Uses: `sys`, `table`, `class` (where buffers lie in a
//! segment). Used by: `pool`.
//!
//! ```text
//!   reserved, no memory:  everything the pool may ever grow to
//!   ┌────────┬──────────────┬───────┬───────────┬───────┬─────────────────
//!   │unused  │ segment 1    │ guard │ segment 2 │ guard │ not yet used …
//!   └────────┴──────────────┴───────┴───────────┴───────┴─────────────────
//!   granule 0  buffers of one class,  2 MiB without memory: a stream that
//!              whole granules         overruns its last buffer faults there
//! ```
//!
//! Granule 0 stays unused so that no buffer has the number zero.

mod fault;
mod granule;
mod ladder;
mod map;
mod placement;
mod refusal;
mod segment;

pub use crate::pages::Pages;
pub use ladder::{Access, MemoryPolicy};
pub use map::{Guess, Map};
pub use placement::Placement;
pub use refusal::file_too_large;
pub use segment::{Segment, States};

use crate::class::{Classes, GRANULE, Geometry, Line, MAX_ALIGNMENT};
use crate::error::{BuildError, OsError};
use crate::region::Location;
use crate::sync::{Arc, AtomicUsize, Ordering};
use crate::sys::fork::{self, Origin};
use crate::sys::map::Mapping;
use crate::table::Table;
use crate::word::{Chunk, Index};
use granule::Granule;
use std::io;
use std::mem::ManuallyDrop;
use std::ops::Range;
use std::ptr::NonNull;

/// The most address space a pool can have for segments, in bytes. The granules
/// that belong to none come on top.
pub const MAX_ADDRESS_SPACE: usize = 1 << 40;

/// Where an address lies.
#[derive(Clone, Copy)]
pub struct Place {
    /// The buffer in whose cell it lies.
    pub index: Index,
    /// The buffer's data start.
    pub start: usize,
}

/// The address range of one pool.
pub struct Arena {
    memory: ManuallyDrop<Mapping>,
    /// The process that reserved the range. A child of a fork inherits the
    /// tables but not the segments: where those were its range has holes, which
    /// its next mapping may fill. So nothing is unmapped there.
    origin: Origin,
    /// Any address may be looked up, so all can be read. Those that were ever claimed are
    /// open.
    granules: Table<Granule>,
    /// Bytes of memory whose buffers were withdrawn, and that somebody still holds. Relaxed:
    /// a count.
    held: AtomicUsize,
}

impl Arena {
    /// Reserves `len` bytes of address space, a multiple of the granule.
    pub fn reserve(len: usize) -> io::Result<Self> {
        const GIB: usize = 1 << 30;
        let alignment = if len >= GIB { GIB } else { MAX_ALIGNMENT };
        fork::watch()?;
        let memory = Mapping::reserve(len, alignment)?;
        let granules = Table::<Granule>::readable(len / GRANULE)?;
        let arena = Self {
            memory: ManuallyDrop::new(memory),
            origin: Origin::here(),
            granules,
            held: AtomicUsize::new(0),
        };
        // The first ones will be claimed.
        arena.granules.open_to(1)?;
        Ok(arena)
    }

    /// The first address of the range.
    #[inline]
    pub fn base(&self) -> NonNull<u8> {
        self.memory.base()
    }

    /// Bytes of address space.
    pub fn len(&self) -> usize {
        self.memory.len()
    }

    /// True in a child of the process that reserved the range.
    pub fn is_inherited(&self) -> bool {
        self.origin.is_inherited()
    }

    /// As `is_inherited`, for a child that `fork` made. Enters no kernel.
    #[inline(always)]
    pub fn is_forked(&self) -> bool {
        self.origin.is_forked()
    }

    fn granule_count(&self) -> usize {
        self.len() / GRANULE
    }

    /// The address at `offset`, which must be within the range.
    #[inline]
    pub fn at(&self, offset: usize) -> NonNull<u8> {
        debug_assert!(offset < self.len());
        // SAFETY: offsets come from `Geometry::offset_of` of buffers that the
        // pool has, which lie inside the reservation.
        unsafe { self.base().add(offset) }
    }

    /// Claims address space and memory for `count` buffers of `geometry`. The
    /// buffers are nobody's until the segment is admitted to a catalog. Takes
    /// everything back if it fails.
    pub fn segment(
        self: &Arc<Self>,
        geometry: &Geometry,
        count: usize,
        memory: &MemoryPolicy,
    ) -> Result<Segment, BuildError> {
        let overflow = BuildError::Overflow {
            size: geometry.size(),
            count,
        };
        let cells = geometry.cells(count).ok_or(overflow)?;
        let plan = memory.plan(cells, geometry).ok_or(overflow)?;
        if plan.bytes >= self.len() {
            return Err(BuildError::AddressSpace {
                needed: plan.bytes,
                limit: self.len(),
            });
        }
        let first = self.claim(plan.bytes / GRANULE, plan.granule_alignment)?;
        // From here on dropping the segment gives everything back.
        let mut segment = Segment::new(Arc::clone(self), first, plan.bytes, count);
        segment.back(memory, cells)?;
        Ok(segment)
    }

    /// Claims `count` free granules in a row and one behind them as a guard.
    /// First fit. Lock-free: a claim that fails has met another thread's, and is
    /// then tried from the front again, since that thread may yield to us.
    fn claim(&self, count: usize, alignment: usize) -> Result<usize, BuildError> {
        let needed = count + 1;
        let end = self.granule_count();
        let mut first = alignment.max(1);
        let mut met = false;
        while needed <= end.saturating_sub(first) {
            // A hint; the claim below is what counts.
            let mut granules = (first..first + needed).rev();
            let taken = granules.find(|&at| !self.granules.get(at).is_free());
            let Some(at) = taken else {
                let opened = self.granules.open_to(first + needed);
                opened.map_err(BuildError::no_memory_for(needed * size_of::<Granule>()))?;
                match self.try_claim(first, count) {
                    Ok(()) => return Ok(first),
                    Err(_) => met = true,
                }
                // Look again at the same place.
                continue;
            };
            first = (at + 1).next_multiple_of(alignment);
            if needed > end.saturating_sub(first) && std::mem::take(&mut met) {
                first = alignment.max(1);
            }
        }
        Err(BuildError::AddressSpace {
            needed: needed * GRANULE,
            limit: self.len(),
        })
    }

    /// Claims granules `first..first + count` and the next as a guard, or none;
    /// `Err` names the one that was taken. They are open.
    fn try_claim(&self, first: usize, count: usize) -> Result<(), usize> {
        for at in first..=first + count {
            if !self.granules.get(at).claim() {
                self.set(first..at, Chunk::FREE);
                return Err(at);
            }
        }
        Ok(())
    }

    /// Says of `granules`, which the caller claimed, what they belong to.
    fn set(&self, granules: Range<usize>, chunk: Chunk) {
        granules.for_each(|at| self.granules.get(at).set(chunk));
    }

    /// What a look-up by address reads.
    pub fn map(&self) -> Map {
        let base = self.base().addr().get();
        Map::new(base, self.len(), self.granules.base())
    }

    /// The buffer that starts at `address`; `None` if there is none. Wait-free.
    #[inline]
    pub fn buffer_at(&self, classes: &Classes, address: usize) -> Option<Index> {
        // SAFETY: the arena is here.
        let Guess { index, .. } = unsafe { self.map().guess(address) }?;
        // From what never changes, lest the granule changed hands meanwhile.
        let line = self.class_of(classes, index)?;
        (line.start(index).addr() == address).then_some(index)
    }

    /// The class of buffer `index`; `None` if there is no such buffer. Lock-free.
    pub fn class_of<'a>(&self, classes: &'a Classes, index: Index) -> Option<&'a Line> {
        let block = index.block() as usize;
        if block >= self.granules.len() {
            return None;
        }
        let chunk = self.granules.get(block).chunk();
        let there = chunk.block() == block && (index.position() as usize) < chunk.count();
        there.then(|| classes.named(chunk.class()))
    }

    /// Where `address` lies; `None` if it is in no cell of a buffer. Lock-free.
    pub fn place(&self, classes: &Classes, address: usize) -> Option<Place> {
        let offset = address.checked_sub(self.base().as_ptr().addr())?;
        if offset >= self.len() {
            return None;
        }
        let chunk = self.granules.get(offset / GRANULE).chunk();
        let line = classes.named(chunk.class());
        let within = offset.checked_sub(chunk.block() * GRANULE)?;
        let position = within / line.stride().max(1);
        if position >= chunk.count() {
            return None;
        }
        let index = chunk.nth(position)?;
        Some(Place {
            index,
            start: line.start(index).addr(),
        })
    }

    /// Where in which segment `address` lies, which belongs to the cell of buffer `index`.
    /// The caller has the buffer. Wait-free.
    pub fn locate(&self, index: Index, address: usize) -> Location {
        let granule = self.granules.get(index.block() as usize);
        let (region, first) = granule.membership.get();
        let start = self.base().as_ptr().addr() + first * GRANULE;
        Location {
            region,
            offset: address - start,
        }
    }

    /// Bytes of memory whose buffers were withdrawn, and that somebody still holds.
    pub fn held(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }

    /// Bytes of memory that the arena's table occupies, read from the kernel.
    pub fn resident(&self) -> io::Result<usize> {
        self.granules.resident(usize::MAX)
    }
}

impl Drop for Arena {
    fn drop(&mut self) {
        if !self.is_inherited() {
            // SAFETY: dropped here and not used any more.
            unsafe { ManuallyDrop::drop(&mut self.memory) };
        }
    }
}

/// The bytes of address space that segments for `requests` take, laid out one
/// behind the other; `None` if they overflow.
pub fn layout_bytes(requests: &[(Geometry, usize)], memory: &MemoryPolicy) -> Option<usize> {
    let mut granules = 1usize;
    for (geometry, count) in requests {
        let plan = memory.plan(geometry.cells(*count)?, geometry)?;
        granules = granules
            .checked_next_multiple_of(plan.granule_alignment)?
            .checked_add(plan.bytes / GRANULE + 1)?;
    }
    granules.checked_mul(GRANULE)
}

pub(crate) fn os(call: &'static str) -> impl FnOnce(io::Error) -> BuildError {
    move |error| BuildError::System(OsError::new(call, &error))
}
