//! How a pool grows.
//!
//! Owns: the order in which memory, tables and lists get ready for new buffers, and what is
//! undone if one of them does not. Uses: the pool's shared part. Used by: `builder`,
//! `memory`.
//!
//! ```text
//!   claim granules, back them          their indices are the caller's: nobody has one
//!   share the states, if others read   ┐ records, states, tracks of these indices are open
//!   open the tables                    ┘ before anybody can have one
//!   admit                              from here on others have them
//! ```
//!
//! The tables by index are opened chunk by chunk, and so no more of them counts against the
//! limits of the process than is used. Two chunks are apart by as much as their buffers take
//! address space, so each is a mapping of its own; a segment of very many is opened in larger
//! pieces, with what lies between its chunks.

use super::Shared;
use crate::arena::Segment;
use crate::catalog::Holder;
use crate::class::Geometry;
use crate::error::BuildError;
use crate::record::{Record, State};
use crate::sync::{Arc, Ordering};
use crate::track::Track;
use crate::word::Index;
use std::ops::Range;

/// In how many pieces a table is opened for one segment at most: the process may have 65,530
/// mappings, unless `vm.max_map_count` was changed. 16,777,216 buffers are so many chunks.
const PIECES: usize = 4096;

/// The indices of a segment's buffers, in pieces that hold some chunks each.
fn pieces(geometry: &Geometry, first: usize, count: usize) -> impl Iterator<Item = Range<usize>> {
    let (geometry, per_chunk) = (*geometry, Index::PER_CHUNK as usize);
    let chunks = count.div_ceil(per_chunk);
    let apart = geometry.chunk_granules() > 1;
    let together = if apart {
        chunks.div_ceil(PIECES)
    } else {
        chunks
    };
    let pieces = (0..chunks).step_by(together.max(1));
    pieces.filter_map(move |chunk| {
        let last = chunks.min(chunk + together) - 1;
        let start = geometry.nth(first, chunk * per_chunk)?;
        let end = geometry.nth(first, (count - 1).min(last * per_chunk + per_chunk - 1))?;
        Some(start.raw() as usize..end.raw() as usize + 1)
    })
}

impl Shared {
    /// Adds `count` buffers of `geometry`.
    pub(super) fn grow(
        &self,
        geometry: &Geometry,
        count: usize,
        grown: bool,
    ) -> Result<(), BuildError> {
        let Some(sharing) = &self.sharing else {
            let segment = self.arena.segment(geometry, count, &self.memory)?;
            return self.admit(geometry, &Arc::new(segment), grown);
        };
        if self.arena.is_inherited() {
            return Err(BuildError::Forked);
        }
        let slots = sharing.take_slots(count)?;
        let segment = self
            .shared_segment(geometry, count, slots.start)
            .inspect_err(|_| sharing.slots().give_back(&slots))?;
        (sharing.slots()).assign(slots, self.buffers_of(geometry, &segment));
        let segment = Arc::new(segment);
        // While the segment has its granules, nobody else's states are there.
        self.admit(geometry, &segment, grown)
            .inspect_err(|_| self.unshare(geometry, &segment, segment.is_fresh()))
    }

    /// Memory for new buffers, and their states, that other processes can map.
    fn shared_segment(
        &self,
        geometry: &Geometry,
        count: usize,
        first_slot: u32,
    ) -> Result<Segment, BuildError> {
        let mut segment = self.arena.segment(geometry, count, &self.memory)?;
        let states = self.share_states(&segment, geometry, first_slot)?;
        segment.publish(states);
        Ok(segment)
    }

    /// Makes the buffers of a new segment available. Fails with nothing changed.
    fn admit(
        &self,
        geometry: &Geometry,
        segment: &Arc<Segment>,
        grown: bool,
    ) -> Result<(), BuildError> {
        self.open_tables(geometry, segment)
            .and_then(|()| {
                self.touch_tables(geometry, segment);
                self.catalog.admit(geometry, Arc::clone(segment), grown)
            })
            .inspect_err(|_| self.close_tables(geometry, segment))?;
        // Of two that come at once, the later one's look has both.
        loop {
            let classes = self.catalog.class_ids();
            self.front.has(&classes);
            if self.catalog.class_ids() == classes {
                return Ok(());
            }
        }
    }

    /// Opens what is kept of the buffers of a new segment by their indices.
    fn open_tables(&self, geometry: &Geometry, segment: &Segment) -> Result<(), BuildError> {
        let count = segment.count();
        let mut pieces = pieces(geometry, segment.first(), count);
        let opened = pieces.try_for_each(|piece| {
            self.catalog.lists().records().open(&piece)?;
            if self.sharing.is_none() {
                self.states.open(&piece)?;
            }
            let tracks = self.tracks.as_ref();
            tracks.map_or(Ok(()), |tracks| tracks.open(&piece))
        });
        let tracked = self.tracks.as_ref().map_or(0, |_| size_of::<Track>());
        let each = size_of::<Record>() + size_of::<State>() + tracked;
        opened.map_err(BuildError::no_memory_for(count * each))
    }

    /// Takes back what was opened for a segment that was not admitted, unless somebody may
    /// look at it who was given an index of an earlier one.
    fn close_tables(&self, geometry: &Geometry, segment: &Segment) {
        if !segment.is_fresh() {
            return;
        }
        for piece in pieces(geometry, segment.first(), segment.count()) {
            // SAFETY: a fresh segment that was not admitted: nobody has been given an index
            // of its pages.
            unsafe {
                self.catalog.lists().records().close(&piece);
                if self.sharing.is_none() {
                    self.states.close(&piece);
                }
                if let Some(tracks) = &self.tracks {
                    tracks.close(&piece);
                }
            }
        }
    }

    /// Has present what later calls are not to fault in.
    fn touch_tables(&self, geometry: &Geometry, segment: &Segment) {
        let indices = || {
            let buffers = 0..segment.count();
            buffers.filter_map(|k| geometry.nth(segment.first(), k))
        };
        if self.raw_pointers {
            // Relaxed: nobody has them yet. It is 0 already.
            indices().for_each(|index| self.state(index).size.store(0, Ordering::Relaxed));
        }
        if let Some(tracks) = &self.tracks {
            indices().for_each(|index| tracks.get(index.raw() as usize).touch());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pool::Pool;

    /// Somebody may still be looking up a buffer that was trimmed.
    #[test]
    fn a_growth_that_fails_takes_no_table_from_under_an_earlier_ones_indices() {
        let builder = Pool::builder().prefault(false).address_space(1 << 30);
        let pool = builder.build().unwrap();
        let shared = pool.shared();
        let geometry = Geometry::new(4096, 4096, 0).unwrap();
        let segment = || {
            shared
                .arena
                .segment(&geometry, 100, &shared.memory)
                .unwrap()
        };
        let record = |index: usize| shared.catalog.lists().records().get(index);
        // As fails before anybody has one.
        let first = segment();
        assert!(first.is_fresh());
        shared.open_tables(&geometry, &first).unwrap();
        shared.close_tables(&geometry, &first);
        let index = geometry.nth(first.first(), 99).unwrap().raw() as usize;
        drop(first);
        pool.request(4096, 4096, 100).unwrap();
        assert_eq!(pool.trim().segments, 1);
        // As fails where those were.
        let second = segment();
        assert_eq!(
            geometry.nth(second.first(), 99).unwrap().raw() as usize,
            index
        );
        assert!(!second.is_fresh());
        shared.open_tables(&geometry, &second).unwrap();
        shared.close_tables(&geometry, &second);
        // Or this is the end of the process.
        let record = std::ptr::from_ref(record(index)).cast::<u8>();
        // SAFETY: within the table, and of integers.
        unsafe { record.read_volatile() };
    }

    #[test]
    fn the_pieces_hold_every_index_and_no_more_than_so_many() {
        for (size, count) in [
            (512, 1),
            (512, 10_000),
            (4096, 4096),
            (4096, 4097),
            (65536, 50_000),
            (1024, 5_000_000),
        ] {
            let geometry = Geometry::new(size, 512, 0).unwrap();
            let pieces: Vec<_> = pieces(&geometry, 7, count).collect();
            assert!(pieces.len() <= PIECES && pieces.is_sorted_by(|a, b| a.end <= b.start));
            for k in (0..count).step_by(509).chain([count - 1]) {
                let index = geometry.nth(7, k).unwrap().raw() as usize;
                assert!(
                    pieces.iter().any(|piece| piece.contains(&index)),
                    "{size} {k}"
                );
            }
            let held: usize = pieces.iter().map(Range::len).sum();
            assert!(held == count || pieces.len() > PIECES / 2, "{size} {count}");
        }
    }
}
