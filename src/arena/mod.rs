//! The address range of a pool, and the segments of memory in it.
//!
//! Owns: the reservation, which granule belongs to which segment, and what
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

mod ladder;
mod segment;

pub use crate::pages::Pages;
pub use ladder::Memory;
pub use segment::Segment;

use crate::class::{ClassId, Classes, GRANULE, Geometry, Line, MAX_ALIGNMENT, Reciprocal};
use crate::error::{BuildError, OsError};
use crate::sync::{Arc, AtomicPtr, AtomicU16, AtomicU32, AtomicU64, Ordering};
use crate::sys::map::Mapping;
use crate::table::{Table, Zeroed};
use crate::word::Index;
use std::io;
use std::mem::ManuallyDrop;
use std::ptr::NonNull;

/// The most address space a pool can have for segments, in bytes. The granules
/// that belong to none come on top.
pub const MAX_ADDRESS_SPACE: usize = 1 << 40;

/// How many segments a pool can have at once.
pub const MAX_SEGMENTS: usize = 4095;

/// The number of a segment that never is: the granule behind each segment.
const GUARD: u16 = 1;

/// A segment as an address look-up finds it.
///
/// Claimed by one thread through `class`. The rest is written by that thread
/// before it stores `count` and `line` with Release, and those go back to zero
/// and null before the claim does. A look-up that reads a count above zero, or a
/// line, with Acquire sees the rest.
#[derive(Default)]
#[repr(C, align(64))]
struct Span {
    /// The line of its class, null while it has none.
    line: AtomicPtr<Line>,
    /// The data start of its first buffer, an address.
    origin: AtomicU64,
    /// The `Reciprocal` of its stride.
    reciprocal: AtomicU64,
    /// The index of its first buffer, raw.
    index: AtomicU32,
    /// Added to that at the end of each chunk, beside 1.
    jump: AtomicU32,
    /// The class number plus one; 0 unclaimed; `u32::MAX` claimed, no class yet.
    class: AtomicU32,
    first: AtomicU32,
    count: AtomicU32,
}

// SAFETY: integer atomics alone; all-zero bytes are an unclaimed span.
unsafe impl Zeroed for Span {}

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
    process: u32,
    /// The segment's number for each granule, 0 if it is free, `GUARD` behind a
    /// segment. Claimed by compare-and-swap from 0 (AcqRel: the claimer sees
    /// that the memory was given back), released by a store of 0 (Release).
    granules: Table<AtomicU16>,
    spans: Table<Span>,
}

impl Arena {
    /// Reserves `len` bytes of address space, a multiple of the granule.
    pub fn reserve(len: usize) -> io::Result<Self> {
        const GIB: usize = 1 << 30;
        let alignment = if len >= GIB { GIB } else { MAX_ALIGNMENT };
        Ok(Self {
            memory: ManuallyDrop::new(Mapping::reserve(len, alignment)?),
            process: std::process::id(),
            granules: Table::new(len / GRANULE)?,
            spans: Table::new(MAX_SEGMENTS + 2)?,
        })
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
    fn is_inherited(&self) -> bool {
        std::process::id() != self.process
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
        memory: &Memory,
    ) -> Result<Segment, BuildError> {
        let overflow = BuildError::Overflow {
            size: geometry.size(),
            count,
        };
        let bytes = geometry.bytes(count).ok_or(overflow)?;
        let plan = memory.plan(bytes, geometry);
        if plan.bytes >= self.len() {
            return Err(BuildError::AddressSpace {
                needed: plan.bytes,
                limit: self.len(),
            });
        }
        let id = self.claim_span().ok_or(BuildError::TooManySegments {
            limit: MAX_SEGMENTS,
        })?;
        let first = self
            .claim_granules(id, plan.bytes / GRANULE, plan.granule_alignment)
            .inspect_err(|_| self.spans.get(usize::from(id)).release())?;
        // From here on dropping the segment gives everything back.
        let mut segment = Segment::new(Arc::clone(self), id, first, plan.bytes, count);
        segment.back(memory)?;
        Ok(segment)
    }

    fn claim_span(&self) -> Option<u16> {
        (GUARD + 1..=GUARD + MAX_SEGMENTS as u16).find(|&id| {
            self.spans
                .get(usize::from(id))
                .class
                // Acquire: what the last owner did comes before what we do.
                .compare_exchange(0, u32::MAX, Ordering::Acquire, Ordering::Relaxed)
                .is_ok()
        })
    }

    /// Claims `count` free granules in a row and one behind them as a guard.
    /// First fit. Lock-free: a claim that fails has met another thread's, and is
    /// then tried from the front again, since that thread may yield to us.
    fn claim_granules(&self, id: u16, count: usize, alignment: usize) -> Result<usize, BuildError> {
        let needed = count + 1;
        let end = self.granule_count();
        let mut first = alignment.max(1);
        let mut met = false;
        while needed <= end.saturating_sub(first) {
            // Relaxed: a hint; the claim below is what counts.
            let taken = (first..first + needed)
                .rev()
                .find(|&at| self.granules.get(at).load(Ordering::Relaxed) != 0);
            let Some(at) = taken else {
                match self.try_claim(id, first, count) {
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

    /// Claims granules `first..first + count` for segment `id` and the next as a
    /// guard, or none; `Err` names the one that was taken.
    fn try_claim(&self, id: u16, first: usize, count: usize) -> Result<(), usize> {
        for at in first..=first + count {
            let owner = if at == first + count { GUARD } else { id };
            // AcqRel: see `granules`.
            let claimed = self.granules.get(at).compare_exchange(
                0,
                owner,
                Ordering::AcqRel,
                Ordering::Relaxed,
            );
            if claimed.is_err() {
                self.release_granules(first, at - first);
                return Err(at);
            }
        }
        Ok(())
    }

    fn release_granules(&self, first: usize, count: usize) {
        for at in first..first + count {
            // Release: see `granules`.
            self.granules.get(at).store(0, Ordering::Release);
        }
    }

    /// The only buffer that can start at `address`. It need not start there: the
    /// caller compares (`Line::start`). `None` if there is none. Lock-free.
    #[inline(always)]
    pub fn candidate(&self, address: usize) -> Option<(NonNull<Line>, Index)> {
        let granule = address.wrapping_sub(self.base().as_ptr().addr()) / GRANULE;
        if granule >= self.granules.len() {
            return None;
        }
        // Acquire: pairs with the claim.
        let id = self.granules.get(granule).load(Ordering::Acquire);
        // SAFETY: granules name segments up to `GUARD + MAX_SEGMENTS`.
        let span = unsafe { self.spans.get_unchecked(usize::from(id)) };
        // Acquire: see `Span`; Relaxed: the same.
        let line = NonNull::new(span.line.load(Ordering::Acquire))?;
        let offset = address.wrapping_sub(span.origin.load(Ordering::Relaxed) as usize);
        let reciprocal = Reciprocal::from_raw(span.reciprocal.load(Ordering::Relaxed));
        let k = reciprocal.divide(offset);
        if k >= span.count.load(Ordering::Relaxed) as usize {
            return None;
        }
        let mut index = span.index.load(Ordering::Relaxed).wrapping_add(k as u32);
        // A branch: most segments have one chunk, and the multiplication would be
        // in the way of every address.
        if k >= Index::PER_CHUNK as usize {
            let chunks = (k >> Index::POSITION_BITS) as u32;
            let jumps = chunks.wrapping_mul(span.jump.load(Ordering::Relaxed));
            index = index.wrapping_add(jumps);
        }
        Some((line, Index::from_raw(index)?))
    }

    /// Where `address` lies; `None` if it is in no cell of a buffer. Lock-free.
    pub fn place(&self, classes: &Classes, address: usize) -> Option<Place> {
        let base = self.base().as_ptr().addr();
        let offset = address.checked_sub(base)?;
        if offset >= self.len() {
            return None;
        }
        // Acquire: pairs with the claim.
        let id = self.granules.get(offset / GRANULE).load(Ordering::Acquire);
        if id == 0 || id == GUARD {
            return None;
        }
        let span = self.spans.get(usize::from(id));
        // Acquire: see `Span`.
        let count = span.count.load(Ordering::Acquire) as usize;
        let first = span.first.load(Ordering::Relaxed) as usize;
        let class = span.class.load(Ordering::Relaxed) as usize;
        let class = ClassId::new(class.checked_sub(1)?)?;
        let within = offset.checked_sub(first * GRANULE)?;
        let line = classes.line(class);
        let index = line.buffer_at(first, count, within)?;
        Some(Place {
            index,
            start: line.start(index).addr(),
        })
    }

    /// Bytes of memory that the arena's tables occupy, read from the kernel.
    pub fn resident(&self) -> io::Result<usize> {
        Ok(self.granules.resident(usize::MAX)? + self.spans.resident(usize::MAX)?)
    }
}

impl Span {
    fn release(&self) {
        // Release: see the type; pairs with the claim.
        self.class.store(0, Ordering::Release);
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
pub fn layout_bytes(requests: &[(Geometry, usize)], memory: &Memory) -> Option<usize> {
    let mut granules = 1usize;
    for (geometry, count) in requests {
        let plan = memory.plan(geometry.bytes(*count)?, geometry);
        granules = granules
            .checked_next_multiple_of(plan.granule_alignment)?
            .checked_add(plan.bytes / GRANULE + 1)?;
    }
    granules.checked_mul(GRANULE)
}

pub(crate) fn os(call: &'static str) -> impl FnOnce(io::Error) -> BuildError {
    move |error| BuildError::System(OsError::new(call, &error))
}
