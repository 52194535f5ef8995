//! The memory of a pool, for those who register it.
//!
//! Owns: regions, and where in which a buffer lies, in C. Uses: `builder` for the kinds of
//! pages, `call`, `heap`, `pool`, `sized`, `vdi`, the library. Used by: C and C++ programs.

use crate::builder::pages_code;
use crate::call::{Failure, done, object, put, release};
use crate::heap::unrefused;
use crate::kind::Pool;
use crate::pool::{hp_pool, leased_for};
use crate::sized::{HasSize, Place};
use crate::vdi::{hp_vdi, pool_of};
use ::pool::{FreeError, Region};
use std::ffi::c_void;
use std::ptr::null_mut;

/// A hold on a region of a pool's memory. As long as there is one, the memory stays mapped
/// where it is, also if hp_pool_trim takes its buffers out of the pool, or the pool ends.
pub struct hp_region(#[expect(dead_code, reason = "it is there to be dropped")] Region);

/// A region of a pool's memory, which holds buffers of one class.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct hp_region_info {
    /// Set by the caller to sizeof(hp_region_info) before the call; the call sets it to the
    /// number of bytes that it wrote, which is less if the library is older than the header.
    pub size: usize,
    /// The hold: to be given to hp_region_release once the memory is not registered any more.
    pub region: *mut hp_region,
    /// The first byte, at which a page begins.
    pub start: *const c_void,
    /// Bytes: as far as the buffers reach, in whole pages.
    pub bytes: usize,
    /// A small number that no other region has as long as this one is in the pool.
    pub index: u64,
    /// Tells regions apart that have had the same index, one after the other.
    pub generation: u64,
    /// How many buffers it holds.
    pub buffers: usize,
    /// Bytes that each of them can hold.
    pub buffer_size: usize,
    /// Bytes from one buffer to the next: where an interface takes less than the whole region
    /// at once, it is to be cut at multiples of this, counted from its start.
    pub stride: usize,
    /// The kind of pages: one of HP_PAGES_*.
    pub pages: u64,
}

/// Where a byte lies.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct hp_location {
    /// Set by the caller to sizeof(hp_location) before the call; the call sets it to the
    /// number of bytes that it wrote, which is less if the library is older than the header.
    pub size: usize,
    /// The region's index.
    pub index: u64,
    /// The region's generation.
    pub generation: u64,
    /// Bytes from the region's start.
    pub offset: usize,
}

// SAFETY: words alone, the first of which is the size; zero is null.
unsafe impl HasSize for hp_region_info {
    // A caller who has no room for the hold could not release it.
    const LEAST: usize = 2 * size_of::<usize>();

    fn size(&mut self) -> &mut usize {
        &mut self.size
    }
}

// SAFETY: words alone, the first of which is the size.
unsafe impl HasSize for hp_location {
    fn size(&mut self) -> &mut usize {
        &mut self.size
    }
}

/// Writes `room` of the regions of `pool` to `regions`, and how many there are to `count`.
///
/// # Safety
///
/// `regions` points to `room` places, `count` to a place for a number, or they are null.
unsafe fn list(
    pool: &Pool,
    regions: *mut hp_region_info,
    room: usize,
    count: *mut usize,
) -> Result<(), Failure> {
    let place = match room {
        0 => Place::none(),
        // SAFETY: the caller says so.
        _ => unsafe { Place::elements(regions, "regions") }?,
    };
    leased_for(pool, 0, || {
        let all = pool.regions();
        // SAFETY: the caller says so.
        unsafe { put(count, all.len(), "count") }?;
        for (at, region) in all.into_iter().take(room).enumerate() {
            let info = hp_region_info {
                size: 0,
                region: null_mut(),
                start: region.start().cast(),
                bytes: region.bytes(),
                index: region.id().index().into(),
                generation: region.id().generation(),
                buffers: region.buffers(),
                buffer_size: region.buffer_size(),
                stride: region.stride(),
                pages: pages_code(region.pages()).into(),
            };
            let region = Box::into_raw(Box::new(hp_region(region)));
            place.put_at(at, hp_region_info { region, ..info });
        }
        Ok(())
    })
}

/// Says where a pool's memory lies, for registration with a device or a kernel interface
/// (io_uring, RDMA): writes its regions to `regions`, an array of `room` elements, and to
/// `*count` how many there are, which may be more. The caller sets `regions[0].size` before.
/// With `room` 0 `regions` may be null. Each that is written is a hold on its memory, to be
/// given to hp_region_release. A region that hp_pool_request adds later is not among them:
/// hp_pool_locate then says an index and a generation that are not known. Allocates; never
/// blocks.
///
/// # Safety
///
/// `pool` points to a pool, `regions` to `room` places, `count` to a place for a number, or
/// they are null.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hp_pool_regions(
    pool: *const hp_pool,
    regions: *mut hp_region_info,
    room: usize,
    count: *mut usize,
) -> u32 {
    // SAFETY: the caller says so.
    let (pool, clear) = unsafe { (object(pool, "pool"), put(count, 0, "count")) };
    done(pool.and_then(|pool| {
        clear?;
        // SAFETY: the caller says so.
        unsafe { list(&pool.0, regions, room, count) }
    }))
}

/// As hp_pool_regions, for a set: HP_VD_E_PROTOCOL before its buffers are mapped and after
/// Close.
///
/// # Safety
///
/// `set` points to a set, `regions` to `room` places, `count` to a place for a number, or
/// they are null.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hp_vdi_regions(
    set: *const hp_vdi,
    regions: *mut hp_region_info,
    room: usize,
    count: *mut usize,
) -> u32 {
    // SAFETY: the caller says so.
    let (pool, clear) = unsafe { (pool_of(set), put(count, 0, "count")) };
    done(pool.and_then(|pool| {
        clear?;
        // SAFETY: the caller says so.
        unsafe { list(pool, regions, room, count) }
    }))
}

/// Lets go of a region, which must not be used after this. If it was trimmed, or its pool has
/// ended, and this was the last hold, its memory is unmapped. Null is nothing.
///
/// # Safety
///
/// `region` came from hp_pool_regions or hp_vdi_regions, and is not used after this.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hp_region_release(region: *mut hp_region) {
    // SAFETY: the caller says so.
    unrefused(|| unsafe { release(region) });
}

/// Writes where `address` lies in `pool` to `location`.
///
/// # Safety
///
/// `location` points to `location->size` bytes, or is null.
unsafe fn locate(
    pool: Result<&Pool, Failure>,
    address: *const c_void,
    location: *mut hp_location,
) -> Result<(), Failure> {
    // SAFETY: the caller says so.
    let place = unsafe { Place::at(location, "location") }?;
    let found = pool.and_then(|pool| {
        let foreign = FreeError::Foreign {
            address: address.addr(),
        };
        pool.locate(address.cast()).ok_or(Failure::Free(foreign))
    });
    place.put(match &found {
        Ok(at) => hp_location {
            size: 0,
            index: at.region.index().into(),
            generation: at.region.generation(),
            offset: at.offset,
        },
        Err(_) => hp_location {
            size: 0,
            index: 0,
            generation: 0,
            offset: 0,
        },
    });
    found.map(drop)
}

/// Says in which region of a pool the byte at `address` lies, and how far from its start:
/// what a transfer by way of a registration is told. HP_E_FOREIGN, with `*location` zero, if it
/// lies in no buffer. The caller sets `location->size` before. Never blocks; allocates nothing.
///
/// # Safety
///
/// `pool` points to a pool, `location` to `location->size` bytes, or they are null.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hp_pool_locate(
    pool: *const hp_pool,
    address: *const c_void,
    location: *mut hp_location,
) -> u32 {
    // SAFETY: the caller says so.
    unsafe {
        let pool = object(pool, "pool").map(|pool| &pool.0);
        done(locate(pool, address, location))
    }
}

/// As hp_pool_locate, for a set: HP_VD_E_PROTOCOL before its buffers are mapped and after
/// Close.
///
/// # Safety
///
/// `set` points to a set, `location` to `location->size` bytes, or they are null.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hp_vdi_locate(
    set: *const hp_vdi,
    address: *const c_void,
    location: *mut hp_location,
) -> u32 {
    // SAFETY: the caller says so.
    unsafe { done(locate(pool_of(set), address, location)) }
}
