//! The plain pool.
//!
//! Owns: its calls in C. Uses: `error`, the library. Used by: C and C++ programs.

use crate::error::{Failure, HP_NOERROR, done, is_good, object, put, release};
use crate::kind::Pool;
use ::pool::place::called;
use std::ffi::c_void;
use std::ptr::null_mut;

/// A pool of aligned buffers.
pub struct hp_pool(pub(crate) Pool);

/// What a pool has and holds.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct hp_stats {
    /// Buffers of all classes.
    pub capacity: u64,
    /// Buffers that are out.
    pub in_use: u64,
    /// Bytes of memory that the buffers are mapped to.
    pub mapped_bytes: u64,
    /// Bytes of that which are on huge pages.
    pub huge_bytes: u64,
    /// Bytes of memory that the bookkeeping occupies.
    pub metadata_bytes: u64,
    /// Requests that wait for a buffer.
    pub waiting: u64,
    /// Requests that were refused for lack of a free buffer.
    pub failures: u64,
}

impl hp_stats {
    pub(crate) fn of(pool: &Pool) -> Self {
        let now = pool.stats();
        let (classes, segments) = (&now.classes, &now.segments);
        Self {
            capacity: now.capacity() as u64,
            in_use: classes.iter().map(|class| class.in_use as u64).sum(),
            mapped_bytes: segments.iter().map(|segment| segment.bytes as u64).sum(),
            huge_bytes: (segments.iter())
                .map(|segment| segment.huge_bytes as u64)
                .sum(),
            metadata_bytes: now.metadata_bytes as u64,
            waiting: now.waiting,
            failures: classes.iter().map(|class| class.failures).sum(),
        }
    }
}

/// Gives a pool back. Buffers that are out must not be used any more. Null is nothing.
///
/// # Safety
///
/// `pool` came from hp_builder_build, and is not used after this.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hp_pool_release(pool: *mut hp_pool) {
    // SAFETY: the caller says so.
    unsafe { release(pool) };
}

/// The pool, unless this is a child of a fork that does not have its buffers.
pub fn here(pool: &hp_pool) -> Result<&hp_pool, Failure> {
    match pool.0.is_left_behind() {
        true => Err(Failure::Forked),
        false => Ok(pool),
    }
}

/// Takes a buffer of `size` bytes whose address is a multiple of `alignment`. `*buffer` is
/// null if it fails: HP_VD_E_INVALID if no buffer of the pool could ever do,
/// HP_VD_E_MEMORY if none is free.
///
/// # Safety
///
/// `pool` points to a pool, `buffer` to a place for a pointer, or they are null.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hp_pool_allocate(
    pool: *const hp_pool,
    size: usize,
    alignment: usize,
    buffer: *mut *mut c_void,
) -> u32 {
    if is_good(pool) && is_good(buffer) {
        // SAFETY: the caller says so.
        let pool = unsafe { &*pool };
        if !pool.0.is_left_behind()
            && let Some(start) = pool.0.allocate_raw_cached(size, alignment)
        {
            // SAFETY: as above.
            unsafe { buffer.write(start.as_ptr().cast()) };
            return HP_NOERROR;
        }
    }
    // SAFETY: the caller says so.
    unsafe { allocate_slow(pool, size, alignment, buffer) }
}

/// The whole of hp_pool_allocate, for when the cache does not have what is asked for.
///
/// # Safety
///
/// As hp_pool_allocate.
#[cold]
#[inline(never)]
unsafe extern "C" fn allocate_slow(
    pool: *const hp_pool,
    size: usize,
    alignment: usize,
    buffer: *mut *mut c_void,
) -> u32 {
    // SAFETY: the caller says so.
    let (pool, clear) = unsafe { (object(pool, "pool"), put(buffer, null_mut(), "buffer")) };
    let start = pool.and_then(here).and_then(|pool| {
        clear?;
        let start = called(c"hp_pool_allocate", || pool.0.allocate_raw(size, alignment));
        start.map_err(Failure::Alloc)
    });
    // SAFETY: the caller says so.
    done(start.and_then(|start| unsafe { put(buffer, start.as_ptr().cast(), "buffer") }))
}

/// Takes back a buffer that was allocated for `size` bytes.
///
/// # Safety
///
/// `pool` points to a pool, or is null. A buffer that is taken back is not used any more,
/// and no two threads give back the same one at a time.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hp_pool_free(
    pool: *const hp_pool,
    buffer: *mut c_void,
    size: usize,
) -> u32 {
    if is_good(pool) {
        // SAFETY: the caller says so.
        let pool = unsafe { &*pool };
        // SAFETY: as above.
        if !pool.0.is_left_behind() && unsafe { pool.0.free_raw_if_right(buffer.cast(), size) } {
            return HP_NOERROR;
        }
    }
    // SAFETY: the caller says so.
    unsafe { free_slow(pool, buffer, size) }
}

/// The whole of hp_pool_free, for when it is refused.
///
/// # Safety
///
/// As hp_pool_free.
#[cold]
#[inline(never)]
unsafe extern "C" fn free_slow(pool: *const hp_pool, buffer: *mut c_void, size: usize) -> u32 {
    // SAFETY: the caller says so.
    done(
        unsafe { object(pool, "pool") }
            .and_then(here)
            .and_then(|pool| {
                // SAFETY: as above.
                unsafe { pool.0.free_raw(buffer.cast(), size) }.map_err(Failure::Free)
            }),
    )
}

/// How many buffers of `size` bytes at `alignment` bytes one caller could take now.
///
/// # Safety
///
/// `pool` points to a pool, `count` to a place for a number, or they are null.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hp_pool_available(
    pool: *const hp_pool,
    size: usize,
    alignment: usize,
    count: *mut usize,
) -> u32 {
    // SAFETY: the caller says so.
    let pool = unsafe { object(pool, "pool") };
    // SAFETY: the caller says so.
    done(pool.and_then(|pool| unsafe { put(count, pool.0.available(size, alignment), "count") }))
}

/// Whether `address` lies in a buffer of the pool, free or taken.
///
/// # Safety
///
/// `pool` points to a pool, or is null.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hp_pool_contains(pool: *const hp_pool, address: *const c_void) -> bool {
    // SAFETY: the caller says so.
    let pool = unsafe { object(pool, "pool") };
    pool.is_ok_and(|pool| pool.0.contains(address.cast()))
}

/// Adds `count` buffers of `size` bytes at `alignment` bytes, mapped now.
///
/// # Safety
///
/// `pool` points to a pool, or is null.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hp_pool_request(
    pool: *const hp_pool,
    size: usize,
    alignment: usize,
    count: usize,
) -> u32 {
    // SAFETY: the caller says so.
    let pool = unsafe { object(pool, "pool") };
    done(pool.and_then(|pool| {
        let grown = pool.0.request(size, alignment, count);
        grown.map_err(Failure::Build)
    }))
}

/// Gives back the memory that was added by hp_pool_request and whose buffers are all home.
///
/// # Safety
///
/// `pool` points to a pool, or is null.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hp_pool_trim(pool: *const hp_pool) -> u32 {
    // SAFETY: the caller says so.
    let pool = unsafe { object(pool, "pool") };
    done(pool.map(|pool| {
        let _trimmed = pool.0.trim();
    }))
}

/// Ends every wait, and every one to come, with HP_VD_E_ABORT. Requests that find a buffer
/// free are served as before. There is no way back.
///
/// # Safety
///
/// `pool` points to a pool, or is null.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hp_pool_abort(pool: *const hp_pool) -> u32 {
    // SAFETY: the caller says so.
    let pool = unsafe { object(pool, "pool") };
    done(pool.map(|pool| pool.0.abort()))
}

/// Whether hp_pool_abort was called. Never blocks.
///
/// # Safety
///
/// `pool` points to a pool, or is null.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hp_pool_is_aborted(pool: *const hp_pool) -> bool {
    // SAFETY: the caller says so.
    let pool = unsafe { object(pool, "pool") };
    pool.is_ok_and(|pool| pool.0.is_aborted())
}

/// What the pool has and holds. Reads the kernel's view; not for the data path.
///
/// # Safety
///
/// `pool` points to a pool, `stats` to a place for the numbers, or they are null.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hp_pool_stats(pool: *const hp_pool, stats: *mut hp_stats) -> u32 {
    // SAFETY: the caller says so.
    let pool = unsafe { object(pool, "pool") };
    done(pool.and_then(|pool| {
        let numbers = hp_stats::of(&pool.0);
        // SAFETY: the caller says so.
        unsafe { put(stats, numbers, "stats") }
    }))
}
