//! What the hot path reads of a class: one cache line, named by every buffer.
//!
//! Owns: the layout of the line. Uses: `sync`, `table`, `word`, `geometry`. Used
//! by: `lookup`, which keeps a table of them; `lists`, which has those of streams; `rseq`, whose assembly reads the
//! first two words; `pool` and `buffer`.
//!
//! A line is written in two ways. Its constants are written, always with the
//! same values, by every thread that publishes the class, before anybody can
//! find it: before `defined` counts it, the look-up table or a granule of the arena
//! names it (Release all) or the first of its buffers is in a free list; they are read
//! after an Acquire of one of these, so `Relaxed` is enough. The other two words, `slots`
//! and `limit`, belong to `rseq`.
//!
//! A stream has lines of its own (`lists::quota`), by which its buffers know that they
//! count against it. Their limit is 0 for ever.

use super::ClassId;
use super::geometry::{Geometry, UNIT, offset_of};
use crate::sync::{AtomicPtr, AtomicU64, Ordering};
use crate::table::Zeroed;
use crate::word::Index;
use core::ptr::null_mut;

/// The constants of a class, and where its per-CPU slots are.
#[repr(C, align(64))]
pub struct Line {
    /// The slot of processor 0, null if the caches are not restartable.
    pub slots: AtomicPtr<()>,
    /// Which processors' slots are in use, a `Limit`.
    pub limit: AtomicU64,
    /// The first byte of the arena, and the lead.
    origin: AtomicPtr<u8>,
    /// Bytes from one buffer to the next, less `UNIT`.
    step: AtomicU64,
    /// Bytes a buffer can hold; 0 serves no request.
    size: AtomicU64,
    /// Who made the pool.
    owner: AtomicPtr<()>,
    /// The class's number, and `STREAM`.
    id: AtomicU64,
    alignment: AtomicU64,
}

/// Where a line of a stream says which: `{stream: 32, own: 1, class: 31}`.
const STREAM: u32 = 32;
/// Says that the line's buffers are the stream's own.
const OWN: u64 = 1 << 31;

/// Of which stream a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OfStream {
    /// The number of its quota, counted from 1.
    pub quota: u32,
    /// Whether its buffers are the stream's own; or else, the pool's.
    pub own: bool,
}

impl Default for Line {
    fn default() -> Self {
        Self {
            slots: AtomicPtr::new(null_mut()),
            limit: AtomicU64::new(0),
            origin: AtomicPtr::new(null_mut()),
            step: AtomicU64::new(0),
            size: AtomicU64::new(0),
            owner: AtomicPtr::new(null_mut()),
            id: AtomicU64::new(0),
            alignment: AtomicU64::new(0),
        }
    }
}

// SAFETY: integer and pointer atomics alone; all-zero bytes are a class that
// serves no request, without slots.
unsafe impl Zeroed for Line {}

// Relaxed throughout: see the module.
impl Line {
    /// Writes the constants of class `id` of `geometry`. The arena begins at
    /// `base`, the pool's maker is `owner`.
    pub fn define(&self, id: ClassId, geometry: &Geometry, base: *mut u8, owner: *mut ()) {
        let origin = base.wrapping_add(geometry.lead());
        self.origin.store(origin, Ordering::Relaxed);
        let step = geometry.stride() - UNIT;
        self.step.store(step as u64, Ordering::Relaxed);
        self.owner.store(owner, Ordering::Relaxed);
        self.id.store(id.index() as u64, Ordering::Relaxed);
        self.alignment
            .store(geometry.alignment() as u64, Ordering::Relaxed);
        self.size.store(geometry.size() as u64, Ordering::Relaxed);
    }

    /// Writes the constants of a line of a stream, for buffers of the class of `line`. It
    /// has no slots: whatever is to be done with one of its buffers goes past the caches.
    pub fn define_for(&self, line: &Self, stream: OfStream) {
        let copy = |from: &AtomicU64, to: &AtomicU64| {
            to.store(from.load(Ordering::Relaxed), Ordering::Relaxed);
        };
        self.origin
            .store(line.origin.load(Ordering::Relaxed), Ordering::Relaxed);
        self.owner
            .store(line.owner.load(Ordering::Relaxed), Ordering::Relaxed);
        copy(&line.step, &self.step);
        copy(&line.size, &self.size);
        copy(&line.alignment, &self.alignment);
        let own = if stream.own { OWN } else { 0 };
        let id = u64::from(stream.quota) << STREAM | own | line.id().index() as u64;
        self.id.store(id, Ordering::Relaxed);
    }

    /// The stream whose line this is. `None`: it is a class's own.
    #[inline]
    pub fn stream(&self) -> Option<OfStream> {
        let id = self.id.load(Ordering::Relaxed);
        let quota = (id >> STREAM) as u32;
        let own = id & OWN != 0;
        (quota > 0).then_some(OfStream { quota, own })
    }

    /// The class.
    #[inline]
    pub fn id(&self) -> ClassId {
        let id = (self.id.load(Ordering::Relaxed) & (OWN - 1)) as usize;
        ClassId::new(id).unwrap_or(ClassId::FIRST)
    }

    /// Bytes a buffer can hold.
    #[inline]
    pub fn size(&self) -> usize {
        self.size.load(Ordering::Relaxed) as usize
    }

    /// What every buffer's address is a multiple of, in bytes.
    pub fn alignment(&self) -> usize {
        self.alignment.load(Ordering::Relaxed) as usize
    }

    /// Bytes from one buffer to the next.
    #[inline]
    pub fn stride(&self) -> usize {
        self.step.load(Ordering::Relaxed) as usize + UNIT
    }

    /// Who made the pool.
    #[inline]
    pub fn owner(&self) -> *mut () {
        self.owner.load(Ordering::Relaxed)
    }

    /// The data start of buffer `index`.
    #[inline(always)]
    pub fn start(&self, index: Index) -> *mut u8 {
        let origin = self.origin.load(Ordering::Relaxed);
        let step = self.step.load(Ordering::Relaxed) as usize;
        origin.wrapping_add(offset_of(index, step, 0))
    }
}
