//! Which buffer has which slot.
//!
//! Owns: two tables, one by chunk and one by slot. Uses: `handle`, `record`, `table`,
//! `word`. Used by: `pool`, which makes handles and believes those that come back.
//!
//! ```text
//!   chunk ──▶ slot of its first buffer, 0 for none     slot ──▶ buffer, 0 for none
//! ```
//!
//! Both are written while a segment grows, before anybody can have its buffers. A slot is
//! one buffer's for good, but the buffers of a chunk that was trimmed come again, with new
//! states and other slots. So whoever believes a handle looks, after it has read the
//! state, which slot the buffer has: if that was the state of a later segment's buffer,
//! which was out (Release, Acquire: see `State`), then that segment's slots are seen, and
//! the handle's is none of them.

use super::handle::Handle;
use crate::record::State;
use crate::sync::{AtomicU32, Ordering, fault};
use crate::table::Table;
use crate::word::Index;
use std::io;

/// The slots of a pool's buffers.
pub struct Slots {
    /// The slot of each chunk's first buffer. Relaxed, as the next: the states order them,
    /// see the module.
    of_chunk: Table<AtomicU32>,
    buffers: Table<AtomicU32>,
}

impl Slots {
    /// Room for the chunks that begin at granules below `granules`.
    pub fn new(granules: usize) -> io::Result<Self> {
        Ok(Self {
            of_chunk: Table::new(granules)?,
            buffers: Table::new(Handle::SLOTS as usize)?,
        })
    }

    /// Gives `buffers`, which nobody has, the slots from `first` on. They are a segment's,
    /// in their order.
    pub fn assign(&self, first: u32, buffers: impl Iterator<Item = Index>) {
        for (slot, index) in (first..Handle::SLOTS).zip(buffers) {
            if index.position() == 0 {
                let of_chunk = self.of_chunk.get(index.block() as usize);
                of_chunk.store(slot, Ordering::Relaxed);
            }
            let buffer = self.buffers.get(slot as usize);
            buffer.store(index.raw(), Ordering::Relaxed);
        }
    }

    fn slot(&self, index: Index) -> Option<u32> {
        let of_chunk = self.of_chunk.get(index.block() as usize);
        let first = of_chunk.load(Ordering::Relaxed);
        (first != 0).then_some(first + index.position())
    }

    /// The handle of the buffer `index`, which has `state`. `None` if it is not out.
    pub fn handle(&self, index: Index, state: &State) -> Option<Handle> {
        // Who has the buffer keeps its segment from being trimmed. For anybody else the slot
        // may be the one it had before: such a handle is one of a slot that nobody has.
        Handle::of(self.slot(index)?, state)
    }

    /// What `place` says of the buffer that `handle` names, besides its state, and how many
    /// bytes it is out with. `None` if the handle is stale, or forged.
    ///
    /// What `place` reads of the buffer's segment, with Acquire, is that of the segment
    /// whose slots they are: a later one's is written after its slots.
    pub fn find<'a, T>(
        &self,
        handle: Handle,
        place: impl FnOnce(Index) -> Option<(T, &'a State)>,
    ) -> Option<(T, u32)> {
        let slot = handle.slot();
        let buffer = self.buffers.get(slot as usize);
        let index = Index::from_raw(buffer.load(Ordering::Relaxed))?;
        let (found, state) = place(index)?;
        let (size, has) = fault!(
            SlotLookedFirst,
            {
                let has = self.slot(index);
                (handle.size(state)?, has)
            },
            (handle.size(state)?, self.slot(index))
        );
        (has == Some(slot)).then_some((found, size))
    }

    /// Bytes of memory that the tables occupy, read from the kernel.
    pub fn resident(&self) -> io::Result<usize> {
        Ok(self.of_chunk.resident(usize::MAX)? + self.buffers.resident(usize::MAX)?)
    }
}
