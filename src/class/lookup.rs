//! From a request to its class: one table look-up.
//!
//! Owns: the table of requests and the constants of every class. Uses: `sync`,
//! `table`, `geometry`, `ladder`. Used by: `catalog`, on every allocation.
//!
//! A row an alignment (512 B … 64 MiB), a column a *bin* of sizes: eight bins a
//! doubling, 512 B … 1 GiB. An entry names the smallest class that serves at
//! least the smallest request of its bin; the request is then compared with the
//! class's size, and only if two classes end in one bin can the comparison
//! fail, which sends the request to the exact, slower search.
//!
//! The table is a hint that may lag behind for as long as a growth is
//! publishing. The constants of the classes are the truth, and every request
//! that the table turns away is looked up there.

use super::geometry::{
    Geometry, MAX_ALIGNMENT, MAX_SIZE, MIN_ALIGNMENT, Reciprocal, nth, offset_of,
};
use super::ladder::{Ladder, Rung};
use super::{ClassId, MAX_CLASSES};
use crate::sync::{AtomicU8, AtomicU64, AtomicUsize, Ordering};
use crate::table::{Table, Zeroed};
use crate::word::Index;
use std::io;

const FIRST_ROW: u32 = MIN_ALIGNMENT.trailing_zeros();
const ROWS: usize = (MAX_ALIGNMENT.trailing_zeros() - FIRST_ROW + 1) as usize;
const BINS: usize = bin(MAX_SIZE) + 1;

/// The bin of requests of `size` bytes, `1..=MAX_SIZE`. Bins end at multiples
/// of an eighth of a power of two; requests up to 512 B share the first.
#[inline]
const fn bin(size: usize) -> usize {
    let last = size - 1;
    let last = if last < 511 { 511 } else { last };
    let doubling = usize::BITS - 1 - last.leading_zeros();
    ((doubling as usize - 8) << 3 | (last >> (doubling - 3)) & 7) - 7
}

/// The smallest request of bin `at`.
const fn bin_start(at: usize) -> usize {
    if at == 0 {
        return 1;
    }
    let at = at + 7;
    let (doubling, eighth) = (at / 8 + 8, at % 8);
    ((8 + eighth) << (doubling - 3)) + 1
}

/// The constants of a class, as the hot path reads them.
///
/// Written, always with the same values, by every thread that publishes the
/// class, before `defined` counts it, the look-up table names it (Release both)
/// or the first of its buffers is in a free list; read after an Acquire of one
/// of these. So `Relaxed` is enough here.
#[derive(Default)]
#[repr(C, align(64))]
struct Constants {
    size: AtomicU64,
    alignment: AtomicU64,
    lead: AtomicU64,
    stride: AtomicU64,
    reciprocal: AtomicU64,
}

// SAFETY: integer atomics alone; all-zero bytes are a class of size 0, which
// serves no request.
unsafe impl Zeroed for Constants {}

/// The look-up table and the classes it names.
pub struct Classes {
    /// Class number plus one, zero for none. Written by `publish` with Release,
    /// read with Acquire: whoever finds a class finds its constants.
    entries: Table<AtomicU8>,
    constants: Table<Constants>,
    /// No class at or above this number is defined; some below may not yet be
    /// (their size is 0). Raised by `define` with Release, read with Acquire.
    defined: AtomicUsize,
    prefix: usize,
}

impl Classes {
    /// No classes; all that come will have a prefix zone of `prefix` bytes.
    pub fn new(prefix: usize) -> io::Result<Self> {
        Ok(Self {
            entries: Table::new(ROWS * BINS)?,
            constants: Table::new(MAX_CLASSES)?,
            defined: AtomicUsize::new(0),
            prefix,
        })
    }

    /// The class that serves `size` bytes at `alignment`, or `None` if the
    /// values are out of range, nothing fits, or the exact search must decide.
    #[inline]
    pub fn find(&self, size: usize, alignment: usize) -> Option<ClassId> {
        if size.wrapping_sub(1) >= MAX_SIZE || !alignment.is_power_of_two() {
            return None;
        }
        let row = alignment.trailing_zeros().max(FIRST_ROW) - FIRST_ROW;
        if row as usize >= ROWS {
            return None;
        }
        // Acquire: pairs with the Release in `publish`.
        let entry = self
            .entries
            .get(row as usize * BINS + bin(size))
            .load(Ordering::Acquire);
        let id = ClassId::new(usize::from(entry).checked_sub(1)?)?;
        // Relaxed: see `Constants`.
        let fits = size <= self.constants.get(id.index()).size.load(Ordering::Relaxed) as usize;
        fits.then_some(id)
    }

    /// Bytes that a buffer of class `id` can hold.
    pub fn size_of(&self, id: ClassId) -> usize {
        // Relaxed: see `Constants`.
        self.constants.get(id.index()).size.load(Ordering::Relaxed) as usize
    }

    /// Bytes from one buffer of class `id` to the next.
    pub fn stride_of(&self, id: ClassId) -> usize {
        // Relaxed: see `Constants`.
        self.constants
            .get(id.index())
            .stride
            .load(Ordering::Relaxed) as usize
    }

    /// The buffer of class `id` in whose cell lies the byte `offset` of a
    /// segment that starts at granule `first` and has `count` buffers; `None` if
    /// it is behind the last one.
    #[inline]
    pub fn buffer_at(
        &self,
        id: ClassId,
        first: usize,
        count: usize,
        offset: usize,
    ) -> Option<Index> {
        let at = self.constants.get(id.index());
        // Relaxed: see `Constants`.
        let reciprocal = Reciprocal::from_raw(at.reciprocal.load(Ordering::Relaxed));
        let k = reciprocal.divide(offset);
        if k >= count {
            return None;
        }
        nth(first, k, at.stride.load(Ordering::Relaxed) as usize)
    }

    /// Offset in the arena of the data start of buffer `index` of class `id`.
    #[inline]
    pub fn offset_of(&self, id: ClassId, index: Index) -> usize {
        let at = self.constants.get(id.index());
        // Relaxed: see `Constants`.
        let stride = at.stride.load(Ordering::Relaxed) as usize;
        let lead = at.lead.load(Ordering::Relaxed) as usize;
        offset_of(index, stride, lead)
    }

    /// Writes the constants of class `id`. Every caller writes the same.
    pub fn define(&self, id: ClassId, geometry: &Geometry) {
        let at = self.constants.get(id.index());
        // Relaxed: see `Constants`.
        at.alignment
            .store(geometry.alignment() as u64, Ordering::Relaxed);
        at.lead.store(geometry.lead() as u64, Ordering::Relaxed);
        at.stride.store(geometry.stride() as u64, Ordering::Relaxed);
        let reciprocal = Reciprocal::of(geometry.stride()).raw();
        at.reciprocal.store(reciprocal, Ordering::Relaxed);
        at.size.store(geometry.size() as u64, Ordering::Relaxed);
        // Release: see `defined`.
        self.defined.fetch_max(id.index() + 1, Ordering::Release);
    }

    /// Every class that `keep` keeps, as a ladder. Lock-free; allocates nothing.
    pub fn ladder(&self, mut keep: impl FnMut(&Rung) -> bool) -> Ladder {
        let mut ladder = Ladder::default();
        // Acquire: see `defined`.
        for at in 0..self.defined.load(Ordering::Acquire) {
            let Some(id) = ClassId::new(at) else { break };
            let constants = self.constants.get(at);
            // Relaxed: see `Constants`.
            let rung = Rung {
                size: constants.size.load(Ordering::Relaxed) as usize,
                alignment: constants.alignment.load(Ordering::Relaxed) as usize,
                class: id,
            };
            if rung.size > 0 && keep(&rung) {
                ladder.insert(rung);
            }
        }
        ladder
    }

    /// How many bytes are kept for the client before each buffer.
    #[inline]
    pub fn prefix(&self) -> usize {
        self.prefix
    }

    /// Rewrites the look-up table for the classes on `ladder`.
    pub fn publish(&self, ladder: &Ladder) {
        for row in 0..ROWS {
            let alignment = MIN_ALIGNMENT << row;
            for at in 0..BINS {
                let entry = ladder
                    .first(bin_start(at), alignment)
                    .map_or(0, |rung| rung.class.index() as u8 + 1);
                let word = self.entries.get(row * BINS + at);
                // Relaxed load: only spares the store. Release: see `entries`.
                if word.load(Ordering::Relaxed) != entry {
                    word.store(entry, Ordering::Release);
                }
            }
        }
    }

    /// Bytes of memory the tables occupy.
    pub fn resident(&self) -> io::Result<usize> {
        Ok(self.entries.resident(usize::MAX)? + self.constants.resident(usize::MAX)?)
    }
}

#[cfg(all(test, not(hugepool_loom)))]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn bins_are_contiguous_and_cover_every_size() {
        assert_eq!(bin(1), 0);
        assert_eq!(bin(512), 0);
        assert_eq!(bin(513), 1);
        for at in 1..BINS {
            assert_eq!(bin(bin_start(at)), at);
            assert_eq!(bin(bin_start(at) - 1), at - 1);
        }
        assert_eq!(bin(MAX_SIZE), BINS - 1);
    }

    fn define(table: &Classes, sizes: &[(usize, u32)]) -> Ladder {
        for (at, &(size, shift)) in sizes.iter().enumerate() {
            let geometry = Geometry::new(size, 1 << shift, 0).unwrap();
            table.define(ClassId::new(at).unwrap(), &geometry);
        }
        let ladder = table.ladder(|_| true);
        table.publish(&ladder);
        ladder
    }

    proptest! {
        #[test]
        fn the_table_agrees_with_the_exact_search(
            classes in proptest::collection::vec((1usize..1 << 20, 0u32..=26), 0..20),
            requests in proptest::collection::vec((1usize..1 << 20, 0u32..=26), 100),
        ) {
            let table = Classes::new(0).unwrap();
            let ladder = define(&table, &classes);
            for (size, shift) in requests.into_iter().chain(classes.iter().copied()) {
                let exact = ladder.first(size, 1 << shift);
                match table.find(size, 1 << shift) {
                    Some(found) => prop_assert_eq!(Some(found), exact.map(|rung| rung.class)),
                    // The table may leave a request to the exact search only
                    // where a smaller class ends in the same bin.
                    None => if exact.is_some() {
                        let crowded = classes.iter().any(|&(other, _)| {
                            other < size && other >= bin_start(bin(size))
                        });
                        prop_assert!(crowded, "{size} at 2^{shift} was not found");
                    },
                }
            }
        }
    }

    #[test]
    fn requests_out_of_range_find_nothing() {
        let table = Classes::new(0).unwrap();
        define(&table, &[(4096, 12)]);
        assert_eq!(table.find(4096, 4096), ClassId::new(0));
        assert_eq!(table.find(4096, 1), ClassId::new(0));
        for (size, alignment) in [
            (0, 512),
            (4097, 512),
            (MAX_SIZE, 512),
            (MAX_SIZE + 1, 512),
            (usize::MAX, 512),
            (512, 0),
            (512, 3),
            (512, 8192),
            (512, 1 << 40),
            (512, 1 << 63),
        ] {
            assert_eq!(table.find(size, alignment), None, "{size} at {alignment}");
        }
    }
}
