//! One mapping cut into buffers, for the simple pools and the baselines.
//!
//! Owns the memory and hands out the buffers' starts. The library maps it as it maps the memory of a pool, so that a
//! difference in time is the pool's doing and not the pages'; the pool itself is gone before the mapping is used. The
//! `shared` and `preset` rivals use it.

use std::ptr::NonNull;

use ::hugepool::{Pages, Region, Stats};

use super::Shape;
use super::hugepool::{self as pool, Caches};
use super::pages::Kinds;

/// Buffers side by side in one private mapping.
pub struct Mapping {
    shape: Shape,
    /// Bytes from one buffer to the next.
    stride: usize,
    /// The first buffer.
    first: NonNull<u8>,
    /// What the library said of the memory when it was mapped.
    stats: Stats,
    /// Keeps the memory.
    _region: Region,
}

// SAFETY: the mapping is plain memory; `Mapping` itself only computes addresses in it.
unsafe impl Send for Mapping {}
// SAFETY: as above; who may touch which buffer is for the rivals to keep.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Maps and populates it, on these kinds of pages or on what the machine grants. The error gives what was asked for
    /// and the system's reason.
    pub fn new(shape: Shape, pages: Option<&Kinds>) -> Result<Mapping, String> {
        let pool = pool::build(&[shape], Caches::Usual, pages)?;
        let stats = pool.stats();
        let mut regions = pool.regions();
        let (Some(region), None) = (regions.pop(), regions.pop()) else {
            return Err("its memory is not in one piece".to_owned());
        };
        let Some(first) = NonNull::new(region.start().cast_mut()) else {
            return Err("the kernel mapped address 0".to_owned());
        };
        if region.buffers() < shape.buffers {
            return Err(format!(
                "its memory has room for {} buffers of {}",
                region.buffers(),
                shape.buffers
            ));
        }
        Ok(Mapping {
            shape,
            stride: region.stride(),
            first,
            stats,
            _region: region,
        })
    }

    /// Such memory as every machine grants, for what is not measured: on transparent huge pages as far as these are to be
    /// had, and none of the reserved ones, which are for the pools.
    pub fn ordinary(shape: Shape) -> Result<Mapping, String> {
        let pages = Kinds::of(vec![Pages::Transparent, Pages::Base]);
        Mapping::new(shape, pages.as_ref())
    }

    /// How the buffers are cut.
    pub fn shape(&self) -> Shape {
        self.shape
    }

    /// What the library said of the memory when it was mapped.
    pub fn stats(&self) -> &Stats {
        &self.stats
    }

    /// The start of buffer `index`.
    #[inline(always)]
    pub fn start_of(&self, index: usize) -> NonNull<u8> {
        assert!(index < self.shape.buffers);
        // SAFETY: the region holds at least `buffers` strides from `first` on, and `index` is below that.
        unsafe { self.first.add(index * self.stride) }
    }
}
