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
        offset_of(index, self.stride, self.lead)
    }

    /// Granules from the start of one chunk to the start of the next.
    pub fn chunk_granules(&self) -> usize {
        self.stride / (GRANULE / Index::PER_CHUNK as usize)
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

/// Offset in the arena of the data start of buffer `index` of a class with this
/// stride and lead.
#[inline(always)]
pub fn offset_of(index: Index, stride: usize, lead: usize) -> usize {
    index.block() as usize * GRANULE + index.position() as usize * stride + lead
}

/// Division by a stride, by multiplication. Exact for every offset and stride
/// the arena can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reciprocal(u64);

impl Reciprocal {
    /// The reciprocal of `stride`, a multiple of 512 above zero.
    ///
    /// In units of 512 bytes the stride d is below 2²³; an offset counts in
    /// halves of a unit, n, below 2³³. With m = ⌊2⁶³ / d⌋ + 1, m·d = 2⁶³ + e with
    /// 0 < e ≤ d, so n·m / 2⁶⁴ = n/2d + n·e/(d·2⁶⁴), and the error is below
    /// 2³³/2⁶⁴ < 1/2d: the floor is ⌊n/2d⌋.
    pub fn of(stride: usize) -> Self {
        let d = (stride / MIN_ALIGNMENT).max(1) as u64;
        Self((1 << 63) / d + 1)
    }

    /// A reciprocal as it was stored.
    pub fn from_raw(raw: u64) -> Self {
        Self(raw)
    }

    /// The word to store.
    pub fn raw(self) -> u64 {
        self.0
    }

    /// `⌊offset / stride⌋`.
    #[inline(always)]
    pub fn divide(self, offset: usize) -> usize {
        let n = (offset / (MIN_ALIGNMENT / 2)) as u64;
        ((u128::from(n) * u128::from(self.0)) >> 64) as usize
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
        fn division_by_reciprocal_is_exact(
            stride in 1usize..=(1 << 23), offset in 0usize..(1 << 41),
        ) {
            let stride = stride * 512;
            let divided = Reciprocal::of(stride).divide(offset);
            prop_assert_eq!(divided, offset / 512 / (stride / 512));
        }
    }

    #[test]
    fn division_by_reciprocal_is_exact_at_the_edges_of_every_quotient() {
        for d in (1..5000usize).chain([1 << 20, (1 << 20) + 1, (1 << 22) - 1, 1 << 22]) {
            let reciprocal = Reciprocal::of(d * 512);
            for q in [1usize, 2, 3, 4095, 4096, 0xffff_ffff / d] {
                let edge = q * d * 512;
                assert_eq!(reciprocal.divide(edge), q);
                assert_eq!(reciprocal.divide(edge - 512), q - 1);
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
