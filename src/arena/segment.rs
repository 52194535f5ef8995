//! A segment: whole granules of memory that hold the buffers of one class.
//!
//! Owns: the memory from the claim of its granules until it is dropped. Uses:
//! the arena's tables, `ladder`. Used by: the directory, which keeps it until no
//! reader can see it any more.

use super::ladder::Memory;
use super::{Arena, GRANULE};
use crate::catalog::Holder;
use crate::class::{ClassId, Geometry, Line, Reciprocal};
use crate::error::BuildError;
use crate::pages::Pages;
use crate::sync::{Arc, Ordering};
use crate::sys::map::Advice;
use crate::word::Index;
use std::ptr::NonNull;

/// Memory for the buffers of one class. Gives its memory and its addresses back
/// when dropped.
pub struct Segment {
    arena: Arc<Arena>,
    id: u16,
    first: usize,
    bytes: usize,
    count: usize,
    pages: Option<Pages>,
}

impl Segment {
    /// Takes over granules that were claimed for segment `id`.
    pub(super) fn new(
        arena: Arc<Arena>,
        id: u16,
        first: usize,
        bytes: usize,
        count: usize,
    ) -> Self {
        Self {
            arena,
            id,
            first,
            bytes,
            count,
            pages: None,
        }
    }

    /// Obtains the memory.
    pub(super) fn back(&mut self, memory: &Memory) -> Result<(), BuildError> {
        let pages = memory.back(&self.arena.memory, self.offset(), self.bytes)?;
        self.pages = Some(pages);
        Ok(())
    }

    fn offset(&self) -> usize {
        self.first * GRANULE
    }

    /// The first byte.
    pub fn start(&self) -> NonNull<u8> {
        self.arena.at(self.offset())
    }

    /// Bytes of memory.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The kind of pages that the segment was mapped with.
    pub fn pages(&self) -> Option<Pages> {
        self.pages
    }
}

impl Holder for Segment {
    fn first(&self) -> usize {
        self.first
    }

    fn count(&self) -> usize {
        self.count
    }

    fn assign(&self, class: ClassId, line: &Line, geometry: &Geometry) {
        let span = self.arena.spans.get(usize::from(self.id));
        let origin = self.start().addr().get() + geometry.lead();
        let first = geometry.nth(self.first, 0).map_or(0, Index::raw);
        let reciprocal = Reciprocal::of(geometry.stride()).raw();
        // Relaxed: published by `line`.
        span.origin.store(origin as u64, Ordering::Relaxed);
        span.reciprocal.store(reciprocal, Ordering::Relaxed);
        span.index.store(first, Ordering::Relaxed);
        span.jump.store(geometry.jump(), Ordering::Relaxed);
        // Relaxed: published by `count`. Both numbers fit: an arena has at most
        // 2²⁰ granules, and a segment fewer than 2³² buffers.
        span.class
            .store(class.index() as u32 + 1, Ordering::Relaxed);
        span.first.store(self.first as u32, Ordering::Relaxed);
        span.count.store(self.count as u32, Ordering::Release);
        let line = std::ptr::from_ref(line).cast_mut();
        span.line.store(line, Ordering::Release);
    }
}

impl Drop for Segment {
    fn drop(&mut self) {
        let span = self.arena.spans.get(usize::from(self.id));
        // First no look-up finds buffers here, then the addresses are given
        // back, then the number.
        // Release: what was done with the buffers comes before.
        span.line.store(std::ptr::null_mut(), Ordering::Release);
        span.count.store(0, Ordering::Release);
        if self.arena.is_inherited() {
            return;
        }
        if self.pages.is_some() {
            // SAFETY: all buffers of the segment are out of circulation, and no
            // directory that names it can be read any more.
            let given = unsafe { self.arena.memory.decommit(self.offset(), self.bytes) };
            if given.is_err() {
                // The system has no room for the mapping that would replace it.
                // Its pages can still be given back; the granules stay claimed
                // until the arena goes. If even that is refused, so do they.
                let _ = (self.arena.memory).advise(self.offset(), self.bytes, Advice::DontNeed);
                return;
            }
        }
        self.arena
            .release_granules(self.first, self.bytes / GRANULE + 1);
        span.release();
    }
}
