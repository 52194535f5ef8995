//! Where the buffers of a class lie. Pure arithmetic.
//!
//! Owns: size, alignment, lead and stride of a class; index ↔ offset. Uses:
//! `word::Index`. Used by: `arena`, `pool`, `buffer`.
//!
//! ```text
//!   segment = chunks of 4096 buffers (the last may have fewer)
//!
//!   chunk, starts at a granule and at a multiple of the alignment
//!   ├── lead ──┬──── size ────┬ pad ┤├── lead ──┬──── size ────┬ pad ┤ …
//!              ▲                                ▲
//!              data start, aligned              data start, aligned
//!   ├────────── stride ─────────────┤
//! ```
//!
//! 4096 strides, each a multiple of 512 bytes, are a whole number of 2 MiB
//! granules. So the index {granule of the chunk: 20, position: 12} turns into
//! an address without any table:
//! `granule × 2 MiB + position × stride + lead`.

use crate::word::Index;

/// The unit in which address space is given to segments: the size of the
/// smallest huge page, in bytes.
pub const GRANULE: usize = 2 << 20;

/// The largest class, in bytes: 1 GiB. (Models have fewer words to visit.)
pub const MAX_SIZE: usize = if cfg!(hugepool_loom) { 576 } else { 1 << 30 };

/// The strictest alignment of a class, in bytes: 64 MiB.
pub const MAX_ALIGNMENT: usize = if cfg!(hugepool_loom) { 512 } else { 64 << 20 };

/// The alignment that every buffer has at least, in bytes: a disk sector.
pub const MIN_ALIGNMENT: usize = 512;

/// The layout of a class's buffers.
///
/// Invariant: `alignment` is a power of two in `MIN_ALIGNMENT..=MAX_ALIGNMENT`,
/// `lead` and `stride` are multiples of it, `lead + size <= stride`, `size` is
/// in `1..=MAX_SIZE`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geometry {
    size: usize,
    alignment: usize,
    lead: usize,
    stride: usize,
}

impl Geometry {
    /// The layout of buffers of `size` bytes at `alignment`, each behind a
    /// prefix zone of `prefix` bytes. `None` if a value is out of range.
    pub fn new(size: usize, alignment: usize, prefix: usize) -> Option<Self> {
        if size == 0
            || size > MAX_SIZE
            || !alignment.is_power_of_two()
            || alignment > MAX_ALIGNMENT
            || prefix > MAX_SIZE
        {
            return None;
        }
        let alignment = alignment.max(MIN_ALIGNMENT);
        let lead = prefix.next_multiple_of(alignment);
        Some(Self {
            size,
            alignment,
            lead,
            stride: size.next_multiple_of(alignment) + lead,
        })
    }

    /// Bytes a buffer can hold.
    #[inline]
    pub fn size(&self) -> usize {
        self.size
    }

    /// What every data start is a multiple of.
    #[inline]
    pub fn alignment(&self) -> usize {
        self.alignment
    }

    /// Bytes from the start of a buffer's cell to its data; the prefix zone is
    /// at their end.
    #[inline]
    pub fn lead(&self) -> usize {
        self.lead
    }

    /// Bytes from one data start to the next.
    #[inline]
    pub fn stride(&self) -> usize {
        self.stride
    }

    /// Bytes that the cells of `count` buffers take; `None` if that overflows.
    pub fn cells(&self, count: usize) -> Option<usize> {
        self.stride.checked_mul(count)
    }

    /// As `cells`, in whole granules.
    pub fn bytes(&self, count: usize) -> Option<usize> {
        self.cells(count)?.checked_next_multiple_of(GRANULE)
    }

    /// The granule alignment of a segment's start.
    pub fn granule_alignment(&self) -> usize {
        (self.alignment / GRANULE).max(1)
    }

    /// Offset in the arena of the data start of buffer `index`.
    #[cfg(test)]
    pub fn offset_of(&self, index: Index) -> usize {
        offset_of(index, self.stride - UNIT, self.lead)
    }

    /// Granules from the start of one chunk to the start of the next.
    pub fn chunk_granules(&self) -> usize {
        self.stride / UNIT
    }

    /// The `k`-th buffer of a segment that starts at granule `first`. `None` if
    /// that index does not exist.
    pub fn nth(&self, first: usize, k: usize) -> Option<Index> {
        let per_chunk = Index::PER_CHUNK as usize;
        let block = first + k / per_chunk * self.chunk_granules();
        if block > Index::MAX_BLOCK as usize {
            return None;
        }
        Index::new(block as u32, (k % per_chunk) as u32)
    }
}

/// Bytes for which an index grows by one: what it counts without its class.
pub const UNIT: usize = GRANULE / Index::PER_CHUNK as usize;

/// Offset in the arena of the data start of buffer `index` of a class with this
/// lead, whose stride is `step` more than `UNIT`: the index, which is
/// `granule × 4096 + position`, in units, and what its position takes beyond these.
#[inline(always)]
pub fn offset_of(index: Index, step: usize, lead: usize) -> usize {
    index.raw() as usize * UNIT + index.position() as usize * step + lead
}

/// Division by a stride, by multiplication: exact for what is a multiple of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reciprocal(u64);

impl Reciprocal {
    /// The reciprocal of `stride`, which is a multiple of 512 above zero, and below 2³².
    ///
    /// With m = ⌈2⁶⁴ / d⌉, m·d = 2⁶⁴ + e and 0 ≤ e < d. A multiple n = q·d of the stride d gives
    /// n·m = q·2⁶⁴ + q·e. A chunk has at most 4096 buffers, so q·e is below 2¹²·2³², and the
    /// upper word is q.
    pub fn of(stride: usize) -> Self {
        Self(u64::MAX / stride.max(MIN_ALIGNMENT) as u64 + 1)
    }

    /// A reciprocal as it was stored.
    pub fn from_raw(raw: u64) -> Self {
        Self(raw)
    }

    /// The word to store.
    pub fn raw(self) -> u64 {
        self.0
    }

    /// `offset / stride`, if that is a whole number below 4096; else any number.
    #[inline(always)]
    pub fn divide(self, offset: usize) -> usize {
        ((offset as u128 * u128::from(self.0)) >> 64) as usize
    }
}

#[cfg(all(test, not(hugepool_loom)))]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn geometry() -> impl Strategy<Value = Geometry> {
        (1..=MAX_SIZE, 0..=26u32, 0..=8192usize).prop_map(|(size, shift, prefix)| {
            Geometry::new(size >> (shift / 2), 1 << shift, prefix)
                .or_else(|| Geometry::new(1, 1 << shift, prefix))
                .unwrap()
        })
    }

    proptest! {
        #[test]
        fn every_data_start_is_aligned_and_no_two_cells_overlap(
            geometry in geometry(), first in 1usize..100_000, k in 0usize..20_000,
        ) {
            let first = first.next_multiple_of(geometry.granule_alignment());
            let (Some(a), Some(b)) = (geometry.nth(first, k), geometry.nth(first, k + 1)) else {
                return Ok(());
            };
            let (at, next) = (geometry.offset_of(a), geometry.offset_of(b));
            prop_assert_eq!(at % geometry.alignment(), 0);
            prop_assert_eq!(next - at, geometry.stride());
            prop_assert!(geometry.lead() + geometry.size() <= geometry.stride());
            prop_assert_eq!(at, first * GRANULE + k * geometry.stride() + geometry.lead());
        }

        #[test]
        fn a_chunk_is_a_whole_number_of_granules(geometry in geometry()) {
            prop_assert_eq!(
                geometry.chunk_granules() * GRANULE,
                geometry.stride() * Index::PER_CHUNK as usize
            );
        }

        #[test]
        fn division_by_reciprocal_is_exact_for_every_buffer_of_a_chunk(
            geometry in geometry(), position in 0..Index::PER_CHUNK as usize,
        ) {
            let stride = geometry.stride();
            prop_assert_eq!(Reciprocal::of(stride).divide(position * stride), position);
        }
    }

    #[test]
    fn division_by_reciprocal_is_exact_for_the_largest_strides() {
        let most = Geometry::new(MAX_SIZE, MAX_ALIGNMENT, MAX_SIZE).unwrap();
        for stride in (0..5000).map(|less| most.stride() - less * MIN_ALIGNMENT) {
            for position in [0, 1, 2, 3, 4094, 4095] {
                let divided = Reciprocal::of(stride).divide(position * stride);
                assert_eq!(divided, position, "{stride}");
            }
        }
    }

    #[test]
    fn values_out_of_range_have_no_geometry() {
        assert_eq!(Geometry::new(0, 512, 0), None);
        assert_eq!(Geometry::new(MAX_SIZE + 1, 512, 0), None);
        assert_eq!(Geometry::new(512, 0, 0), None);
        assert_eq!(Geometry::new(512, 513, 0), None);
        assert_eq!(Geometry::new(512, MAX_ALIGNMENT * 2, 0), None);
        assert_eq!(Geometry::new(512, 512, usize::MAX), None);
    }
}
