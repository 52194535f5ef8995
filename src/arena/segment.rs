//! A segment: whole granules of memory that hold the buffers of one class.
//!
//! Owns: the memory from the claim of its granules until it is dropped. Uses:
//! the arena's tables, `ladder`. Used by: the directory, which keeps it until no
//! reader can see it any more.

use super::ladder::MemoryPolicy;
use super::{Arena, GRANULE};
use crate::catalog::Holder;
use crate::class::{ClassId, Geometry};
use crate::error::BuildError;
use crate::pages::Pages;
use crate::region::RegionId;
use crate::sync::{Arc, AtomicU32, Ordering};
use crate::sys::map::Advice;
use crate::word::{Chunk, Index};
use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::ptr::NonNull;

/// Memory for the buffers of one class. Gives its memory and its addresses back
/// when dropped.
pub struct Segment {
    arena: Arc<Arena>,
    first: usize,
    /// Bytes of its granules.
    room: usize,
    /// Bytes of them that have memory.
    bytes: usize,
    /// Nobody ever had buffers of these granules, or of those next to them.
    fresh: bool,
    count: usize,
    pages: Option<Pages>,
    /// Behind which its memory is, if other processes may map it.
    descriptor: Option<OwnedFd>,
    states: Option<States>,
    /// 1: its buffers are nobody's for good. Relaxed: whoever drops it comes after all others.
    withdrawn: AtomicU32,
}

/// The states of a segment's buffers, for other processes to read.
pub struct States {
    /// Behind which they are, 64 bytes a buffer, in their order.
    pub descriptor: OwnedFd,
    /// The slot of the first buffer; the others follow.
    pub first_slot: u32,
    /// Where they are in the table of states: first element, bytes.
    pub placed: Vec<(usize, usize)>,
}

impl Segment {
    /// Takes over granules that were claimed, and the guard behind them.
    pub(super) fn new(arena: Arc<Arena>, first: usize, room: usize, count: usize) -> Self {
        // While these are claimed the one before is free, or a guard.
        let mut around = first - 1..=first + room / GRANULE;
        let fresh = !around.any(|at| arena.granules.get(at).was_used());
        Self {
            arena,
            first,
            room,
            bytes: 0,
            fresh,
            count,
            pages: None,
            descriptor: None,
            states: None,
            withdrawn: AtomicU32::new(0),
        }
    }

    /// Obtains the memory, for buffers that take `cells` bytes.
    pub(super) fn back(&mut self, memory: &MemoryPolicy, cells: usize) -> Result<(), BuildError> {
        let arena = &self.arena.memory;
        let backed = memory.back(arena, self.offset(), self.room, cells, self.count)?;
        self.pages = Some(backed.pages);
        self.bytes = backed.bytes;
        self.descriptor = backed.descriptor;
        Ok(())
    }

    /// Whether nobody ever had an index that its buffers have, or that is in a page of a
    /// table with theirs: nor has anybody as long as it is not admitted.
    pub fn is_fresh(&self) -> bool {
        self.fresh
    }

    /// Says where the states of its buffers are.
    pub fn publish(&mut self, states: States) {
        self.states = Some(states);
    }

    /// Lets no look-up find buffers here any more, which are nobody's for good. Called once.
    pub fn withdraw(&self) {
        self.arena.set(self.granules(), Chunk::CLAIMED);
        self.arena.held.fetch_add(self.bytes, Ordering::Relaxed);
        self.withdrawn.store(1, Ordering::Relaxed);
    }

    /// What other processes map, if they may: the memory, and the states.
    pub fn shared(&self) -> Option<(BorrowedFd<'_>, &States)> {
        Some((self.descriptor.as_ref()?.as_fd(), self.states.as_ref()?))
    }

    /// Those that are its memory.
    fn granules(&self) -> Range<usize> {
        self.first..self.first + self.room / GRANULE
    }

    fn offset(&self) -> usize {
        self.first * GRANULE
    }

    /// The first byte.
    pub fn start(&self) -> NonNull<u8> {
        self.arena.at(self.offset())
    }

    /// Bytes of memory: as far as its buffers reach, in whole pages.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Bytes of its granules, and of what its descriptor is of.
    pub fn room(&self) -> usize {
        self.room
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

    fn assign(&self, class: ClassId, geometry: &Geometry, id: RegionId) {
        let per_chunk = Index::PER_CHUNK as usize;
        for (at, granule) in self.granules().enumerate() {
            let before = at / geometry.chunk_granules() * per_chunk;
            let Some(first) = geometry.nth(self.first, before) else {
                // A chunk that begins at a later granule than there are.
                break;
            };
            let count = self.count.saturating_sub(before).min(per_chunk);
            if first.block() as usize == granule {
                let granule = self.arena.granules.get(granule);
                granule.membership.set(id, self.first);
            }
            let granule = self.arena.granules.get(granule);
            let base = self.arena.base().addr().get();
            granule.assign(base, (class, geometry), first, count);
        }
    }
}

impl Drop for Segment {
    fn drop(&mut self) {
        // First no look-up finds buffers here, then the addresses are given back.
        match self.withdrawn.load(Ordering::Relaxed) {
            1 => _ = self.arena.held.fetch_sub(self.bytes, Ordering::Relaxed),
            _ => self.arena.set(self.granules(), Chunk::CLAIMED),
        }
        if self.arena.is_inherited() {
            return;
        }
        if self.pages.is_some() {
            // SAFETY: all buffers of the segment are out of circulation, and no
            // directory that names it can be read any more.
            let given = unsafe { self.arena.memory.decommit(self.offset(), self.room) };
            if given.is_err() {
                // The system has no room for the mapping that would replace it.
                // Its pages can still be given back; the granules stay claimed
                // until the arena goes. If even that is refused, so do they.
                let _ = (self.arena.memory).advise(self.offset(), self.bytes, Advice::DontNeed);
                return;
            }
        }
        // The guard as well.
        let claimed = self.granules();
        self.arena.set(claimed.start..claimed.end + 1, Chunk::FREE);
    }
}
