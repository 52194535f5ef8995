//! What is known of a granule of the arena.
//!
//! Owns: its layout, and who writes it when. Uses: `class`, `region`, `word`. Used by: the arena,
//! its segments, `map`.
//!
//! ```text
//!   free ──claim──▶ claimed ──assign──▶ of a chunk ──set──▶ claimed ──set──▶ free
//! ```
//!
//! Only the claim is a race; what follows is its winner's to write.

use super::GRANULE;
use crate::class::{ClassId, Classes, Geometry, Reciprocal};
use crate::region::Membership;
use crate::sync::{AtomicU64, Ordering};
use crate::table::Zeroed;
use crate::word::{Chunk, Index};

/// A granule: one cache line, in which all is that a look-up needs which comes with an
/// address, lest it wait for one load after the other.
#[derive(Default)]
#[repr(C, align(64))]
pub struct Granule {
    /// A `Chunk`, and `USED`. Claimed by compare-and-swap from `FREE` (AcqRel: the claimer
    /// sees that the memory was given back). The claimer alone changes it after that,
    /// and stores `FREE` at the end (Release). Read with Acquire: whoever finds a chunk finds
    /// the class and the buffers that it names.
    chunk: AtomicU64,
    /// Where the data of its chunk's first buffer starts. This and the next one are written
    /// before `chunk`, and never cleared. Relaxed: whoever was given one of its buffers was so
    /// after they were written, and finds them; others may find those of another chunk (`map`).
    start: AtomicU64,
    /// The `Reciprocal` of its buffers' stride.
    reciprocal: AtomicU64,
    /// To which segment its chunk belongs, if it is the first one of that.
    pub(super) membership: Membership,
}

/// In a granule's word: it once belonged to a chunk, whose buffers somebody may still look
/// up. Set by the claimer, and never cleared.
const USED: u64 = 1 << 49;
const _: () = assert!(USED & Chunk::CLAIMED.word() == 0);

// SAFETY: integer atomics alone; all-zero bytes are a free granule.
unsafe impl Zeroed for Granule {}

impl Granule {
    /// The chunk it belongs to.
    #[inline(always)]
    pub fn chunk(&self) -> Chunk {
        Chunk::from_word(self.chunk.load(Ordering::Acquire))
    }

    /// Says what it belongs to, or that it is free. The caller claimed it.
    pub fn set(&self, chunk: Chunk) {
        // Relaxed: the caller alone changes it.
        let used = self.chunk.load(Ordering::Relaxed) & USED;
        let used = used | if chunk.count() > 0 { USED } else { 0 };
        self.chunk.store(chunk.word() | used, Ordering::Release);
    }

    /// Says that it belongs to a chunk of `count` buffers of `class`, the first of which is
    /// `first`, in the arena that begins at `base`. The caller claimed it.
    pub fn assign(
        &self,
        base: usize,
        (class, geometry): (ClassId, &Geometry),
        first: Index,
        count: usize,
    ) {
        // Relaxed: see the fields.
        let start = base + first.block() as usize * GRANULE + geometry.lead();
        self.start.store(start as u64, Ordering::Relaxed);
        let reciprocal = Reciprocal::of(geometry.stride()).raw();
        self.reciprocal.store(reciprocal, Ordering::Relaxed);
        self.set(Chunk::new(class.entry(), first, count));
    }

    /// The only buffer that can start at `address`, which is in this granule, and where the line
    /// of its class is (`Finder::line_at`); `None` if none can. It is one that a chunk of this
    /// granule has, or had: both are of one word.
    #[inline(always)]
    pub fn buffer_at(&self, address: usize) -> Option<(Index, u32)> {
        // Relaxed: see the fields.
        let start = self.start.load(Ordering::Relaxed) as usize;
        let reciprocal = Reciprocal::from_raw(self.reciprocal.load(Ordering::Relaxed));
        let chunk = self.chunk();
        let position = reciprocal.divide(address.wrapping_sub(start));
        if position >= chunk.count() {
            return None;
        }
        // SAFETY: just seen.
        let index = unsafe { chunk.nth_unchecked(position) };
        Some((index, Classes::place_of_entry(chunk.class())))
    }

    /// Whether it ever belonged to a chunk, for who claimed it.
    pub fn was_used(&self) -> bool {
        // Relaxed: set by whoever claimed it before; the claim acquired that.
        self.chunk.load(Ordering::Relaxed) & USED != 0
    }

    /// Whether nobody has it. A hint.
    pub fn is_free(&self) -> bool {
        // Relaxed: a hint.
        self.chunk.load(Ordering::Relaxed) & !USED == Chunk::FREE.word()
    }

    /// Makes it the caller's, if it is free.
    pub fn claim(&self) -> bool {
        let used = self.chunk.load(Ordering::Relaxed) & USED;
        // AcqRel: see the field.
        let claimed = self.chunk.compare_exchange(
            Chunk::FREE.word() | used,
            Chunk::CLAIMED.word() | used,
            Ordering::AcqRel,
            Ordering::Relaxed,
        );
        claimed.is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::class::MAX_ALIGNMENT;
    use proptest::prelude::*;

    /// Some class's, with its prefix zone.
    fn geometry() -> impl Strategy<Value = Geometry> {
        let sizes = (0..=30u32, any::<usize>()).prop_map(|(bits, at)| 1 + at % (1 << bits));
        let alignments = (0..=MAX_ALIGNMENT.trailing_zeros()).prop_map(|bits| 1 << bits);
        (sizes, alignments, prop_oneof![Just(0usize), 1..=8192usize])
            .prop_map(|(size, alignment, prefix)| Geometry::new(size, alignment, prefix).unwrap())
    }

    fn of_chunk(geometry: &Geometry, base: usize, first: Index, count: usize) -> Granule {
        let granule = Granule::default();
        assert!(granule.claim());
        granule.assign(base, (ClassId::FIRST, geometry), first, count);
        granule
    }

    proptest! {
        #[test]
        fn where_a_buffer_starts_leads_to_it(
            geometry in geometry(), block in 1u32..1 << 16, count in 1usize..=4096,
        ) {
            let (base, first) = (7 << 30, Index::new(block, 0).unwrap());
            let granule = of_chunk(&geometry, base, first, count);
            for position in [0, count / 2, count - 1] {
                let index = geometry.nth(block as usize, position).unwrap();
                let start = base + geometry.offset_of(index);
                let line = Classes::place_of(ClassId::FIRST);
                prop_assert_eq!(granule.buffer_at(start), Some((index, line)));
            }
        }

        #[test]
        fn no_address_leads_to_a_buffer_that_the_chunk_does_not_have(
            geometry in geometry(), count in 1usize..=4096, address: usize,
        ) {
            let first = Index::new(5, 0).unwrap();
            let granule = of_chunk(&geometry, 7 << 30, first, count);
            if let Some((index, _)) = granule.buffer_at(address) {
                let position = index.position() as usize;
                prop_assert!(index.block() == 5 && position < count, "{index:?}");
            }
        }
    }

    #[test]
    fn a_granule_that_was_given_back_leads_nowhere() {
        let geometry = Geometry::new(65536, 4096, 0).unwrap();
        let granule = of_chunk(&geometry, 7 << 30, Index::new(5, 0).unwrap(), 9);
        let start = (7 << 30) + 5 * GRANULE;
        assert!(granule.buffer_at(start).is_some());
        for chunk in [Chunk::CLAIMED, Chunk::FREE] {
            granule.set(chunk);
            assert_eq!(granule.buffer_at(start), None);
        }
        assert!(granule.is_free() && granule.was_used());
    }
}
