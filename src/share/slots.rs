//! Which buffer has which slot.
//!
//! Owns: which slots are free, and two tables by slot. Uses: `handle`, `ranges`, `record`,
//! `table`, `word`. Used by: `pool`, which makes handles and believes those that come back.
//!
//! ```text
//!              take                  assign                        retire
//!   free slot ──────▶ of a new      ───────▶ slot ──▶ buffer       ───────▶ free slot, whose
//!                     segment                lease {generation, slot}       next generation
//!                                            in the buffer's state          is noted
//! ```
//!
//! A segment takes a row of slots while it grows, and gives it back when it was trimmed, or
//! could not be added. What names a buffer is its slot and its slot's generation, the
//! *lease*, which is one word in its state: so it does not matter which buffer has the slot,
//! as long as no lease comes again.
//!
//! - A lease ends when its owner returns the buffer, which adds 1 to the generation. When a
//!   segment is trimmed its buffers are home for good. Then each slot's generation, and 1
//!   more, is noted, the slots are given back (Release), and whoever takes them (Acquire)
//!   goes on from there.
//! - The 1 more: somebody who makes a handle of a buffer that is not his own may have read
//!   the lease while the buffer was free, and then, in the same place, the size of a buffer
//!   of the segment that came next there. That handle is of a lease which nobody has had,
//!   nor ever will.
//! - Whoever believes a handle finds the buffer by the slot (Relaxed: the buffer's owner got
//!   it after the table was written, and the handle is his), and the lease in the state says
//!   whether it is that. If it is an old table's buffer, or the state of another that has
//!   come in its place, the lease is another.

use super::handle::{FIRST_SLOT, Naming, Split};
use super::ranges::Ranges;
use crate::record::State;
use crate::sync::{AtomicU32, AtomicU64, Ordering, fault};
use crate::table::Table;
use crate::word::{Index, Lease};
use std::io;
use std::ops::Range;

/// The slots of a pool's buffers.
pub struct Slots {
    split: Split,
    free: Ranges,
    /// The buffer that has a slot, or had it last; 0 for none. Written by whoever has taken
    /// the slot, before anybody has the buffer. Relaxed: see the module. Any slot may be asked
    /// for, so all can be read; those that were ever taken are open.
    buffers: Table<AtomicU32>,
    /// The generation that the next buffer of a slot begins with. Written before the slot
    /// is given back, read after it was taken. Relaxed: that orders them. As far open.
    generations: Table<AtomicU64>,
}

impl Slots {
    /// How many slots there are.
    pub const COUNT: usize = (Lease::SLOTS - FIRST_SLOT) as usize;

    /// For a pool that splits its handles as `split` says.
    pub fn new(split: Split) -> io::Result<Self> {
        Ok(Self {
            split,
            free: Ranges::new(FIRST_SLOT..Lease::SLOTS),
            buffers: Table::readable(Lease::SLOTS as usize)?,
            generations: Table::closed(Lease::SLOTS as usize)?,
        })
    }

    /// How the pool splits its handles.
    pub fn split(&self) -> Split {
        self.split
    }

    /// Takes slots for `count` new buffers. `None`: there is no such row. Lock-free.
    pub fn take(&self, count: usize) -> Option<Range<u32>> {
        self.free.take(u32::try_from(count).ok()?)
    }

    /// Has memory ready for what is noted of `slots`, which the caller has taken. Fails, with
    /// nothing changed, if the system has none.
    #[cfg_attr(hugepool_loom, allow(dead_code))]
    pub fn open(&self, slots: &Range<u32>) -> io::Result<()> {
        self.buffers.open_to(slots.end as usize)?;
        self.generations.open_to(slots.end as usize)
    }

    /// Gives back slots that no buffer has been given since they were taken.
    pub fn give_back(&self, slots: &Range<u32>) {
        self.free.give_back(slots);
    }

    /// Gives `slots`, which the caller has taken, to `buffers`, which nobody has, each with
    /// its state.
    pub fn assign<'a>(&self, slots: Range<u32>, buffers: impl Iterator<Item = (Index, &'a State)>) {
        for (slot, (index, state)) in slots.zip(buffers) {
            let generation = self.generations.get(slot as usize);
            let generation = generation.load(Ordering::Relaxed);
            // Relaxed: who takes the buffer sees it, and whoever sees that it is out.
            let lease = Lease::new(slot, generation).word();
            state.lease.store(lease, Ordering::Relaxed);
            let buffer = self.buffers.get(slot as usize);
            buffer.store(index.raw(), Ordering::Relaxed);
        }
    }

    /// Gives back `slots`, those of buffers that were trimmed, or could not be added, and
    /// have `states`.
    pub fn retire<'a>(&self, slots: Range<u32>, states: impl Iterator<Item = &'a State>) {
        if fault!(SlotsBackEarly, true, false) {
            self.give_back(&slots);
        }
        for (slot, state) in slots.clone().zip(states) {
            let generation = fault!(
                GenerationRestarted,
                0,
                state.lease().generation() + fault!(GenerationKept, 0, 1)
            );
            let noted = self.generations.get(slot as usize);
            noted.store(generation, Ordering::Relaxed);
        }
        if fault!(SlotsBackEarly, false, true) {
            self.give_back(&slots);
        }
    }

    /// The handle of the buffer that has `state`. `None` if it is not out.
    pub fn handle<H: Naming>(&self, state: &State) -> Option<H> {
        H::made_of(state, self.split)
    }

    /// What `place` says of the buffer that `handle` names, besides its state, and how many
    /// bytes it is out with. `None` if the handle is stale, or forged.
    ///
    /// `place` is asked twice: whether there is such a buffer, and then, after its state has
    /// said that it is out (Acquire), which that is; and the state says so once more.
    pub fn find<'a, H: Naming, T>(
        &self,
        handle: H,
        place: impl Fn(Index) -> Option<(T, &'a State)>,
    ) -> Option<(T, u32)> {
        let slot = handle.slot(self.split)?;
        let buffer = self.buffers.get(slot as usize);
        let index = Index::from_raw(buffer.load(Ordering::Relaxed))?;
        let (_, state) = place(index)?;
        let size = handle.size(state, self.split)?;
        let (found, state) = place(index)?;
        // It was out all the while, so that was its place.
        (handle.size(state, self.split) == Some(size)).then_some((found, size))
    }

    /// Bytes of memory that the tables occupy, read from the kernel.
    pub fn resident(&self) -> io::Result<usize> {
        Ok(self.buffers.resident(usize::MAX)? + self.generations.resident(usize::MAX)?)
    }
}
