//! The plain pool.
//!
//! Owns: its calls in C. Uses: `call`, `heap`, `sized`, the library. Used by: C and C++
//! programs, the other files of this interface.

use crate::call::{Failure, HP_NOERROR, done, is_good, object, put, release};
use crate::heap::{SMALL, leased, unrefused};
use crate::kind::Pool;
use crate::sized::{HasSize, Place};
use ::pool::place::called;
use std::ffi::c_void;
use std::ptr::null_mut;

/// A pool of aligned buffers.
pub struct hp_pool(pub(crate) Pool);

/// What a pool has and holds, as hp_pool_stats says.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct hp_stats {
    /// Set by the caller to sizeof(hp_stats) before the call; the call sets it to the number
    /// of bytes that it wrote, which is less if the library is older than the header.
    pub size: usize,
    /// Buffers of all classes.
    pub capacity: u64,
    /// Buffers that are out: with callers.
    pub in_use: u64,
    /// Bytes of memory that the buffers are mapped to.
    pub mapped_bytes: u64,
    /// Bytes of that which are on huge pages.
    pub huge_bytes: u64,
    /// Bytes of memory that the bookkeeping occupies.
    pub metadata_bytes: u64,
    /// Requests that wait for a buffer now.
    pub waiting: u64,
    /// Requests that were refused because no buffer that fits was free.
    pub failures: u64,
    /// Bytes of memory that was trimmed, and that an hp_region still holds.
    pub held_bytes: u64,
}

/// What hp_pool_trim took out of a pool.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct hp_trimmed {
    /// Set by the caller to sizeof(hp_trimmed) before the call; the call sets it to the
    /// number of bytes that it wrote, which is less if the library is older than the header.
    pub size: usize,
    /// Segments: what one hp_pool_request adds is one segment.
    pub segments: u64,
    /// Bytes of memory.
    pub bytes: u64,
}

// SAFETY: words alone, the first of which is the size.
unsafe impl HasSize for hp_stats {
    fn size(&mut self) -> &mut usize {
        &mut self.size
    }
}

// SAFETY: as above.
unsafe impl HasSize for hp_trimmed {
    fn size(&mut self) -> &mut usize {
        &mut self.size
    }
}

impl hp_stats {
    pub(crate) fn of(pool: &Pool) -> Self {
        let now = pool.stats();
        let (classes, segments) = (&now.classes, &now.segments);
        Self {
            size: 0,
            capacity: now.capacity() as u64,
            in_use: classes.iter().map(|class| class.in_use as u64).sum(),
            mapped_bytes: segments.iter().map(|segment| segment.bytes as u64).sum(),
            huge_bytes: (segments.iter())
                .map(|segment| segment.huge_bytes as u64)
                .sum(),
            metadata_bytes: now.metadata_bytes as u64,
            waiting: now.waiting,
            failures: classes.iter().map(|class| class.failures).sum(),
            held_bytes: now.held_bytes as u64,
        }
    }
}

/// Makes `call`, which reads the list of the pool's segments, or makes a new one, and asks
/// for `more` heap besides.
pub fn leased_for<R>(
    pool: &Pool,
    more: usize,
    call: impl FnOnce() -> Result<R, Failure>,
) -> Result<R, Failure> {
    /// For a segment: its entry in two lists, and what is said of it in others that grow to
    /// twice what they hold.
    const SEGMENT: usize = 1 << 10;
    let segments = leased(SMALL, || Ok(pool.segment_count()))?;
    // Some may be added meanwhile.
    leased(8 * SMALL + (segments + 64) * SEGMENT + more, call)
}

/// Ends a pool: its buffers that are out must not be used any more, and their memory goes
/// back to the system. Tokens, streams, waits and publications of the pool keep the memory
/// until they are released. `pool` must not be used after this. Null is nothing. Enters the
/// kernel.
///
/// # Safety
///
/// `pool` came from hp_builder_build, and is not used after this.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hp_pool_release(pool: *mut hp_pool) {
    // SAFETY: the caller says so.
    unrefused(|| unsafe { release(pool) });
}

/// As hp_pool_release, unless buffers of the pool are out, or set aside for a stream: then it is
/// HP_VD_E_BUSY, and nothing has changed. No other thread takes or frees one at that time. Null
/// is nothing.
///
/// # Safety
///
/// As hp_pool_release, if it succeeds.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hp_pool_try_release(pool: *mut hp_pool) -> u32 {
    if pool.is_null() {
        return HP_NOERROR;
    }
    // SAFETY: the caller says so.
    let idle = unsafe { object(pool, "pool") }
        .and_then(here)
        .and_then(
            |pool| match pool.0.class_counters().map(|class| class.in_use).sum() {
                0 => Ok(()),
                buffers => Err(Failure::Out { buffers }),
            },
        );
    // SAFETY: as above.
    done(idle.map(|()| unrefused(|| unsafe { release(pool) })))
}

/// The pool, unless this is a child of a fork that does not have its buffers.
pub fn here(pool: &hp_pool) -> Result<&hp_pool, Failure> {
    match pool.0.is_left_behind() {
        true => Err(Failure::Forked),
        false => Ok(pool),
    }
}

/// Takes a buffer of at least `size` bytes whose address is a multiple of `alignment`, a
/// power of two (1 will do), and of 512. It is the caller's until hp_pool_free, on any
/// thread. If no buffer of the smallest class that fits is free, it may be one of a larger
/// class: see hp_builder_climb. `*buffer` is null if it fails: HP_VD_E_INVALID if `size` is
/// 0, `alignment` is no power of two, or no buffer of the pool could ever do; HP_VD_E_MEMORY
/// if none that fits is free. Never blocks.
///
/// # Safety
///
/// `pool` points to a pool, `buffer` to a place for a pointer, or they are null.
#[must_use]
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
        let take = || pool.0.allocate_raw(size, alignment);
        let start = called(pool.0.tracks(), c"hp_pool_allocate", take);
        start.map_err(Failure::Alloc)
    });
    // SAFETY: the caller says so.
    done(start.and_then(|start| unsafe { put(buffer, start.as_ptr().cast(), "buffer") }))
}

/// Takes back a buffer that was taken for `size` bytes, by whichever call and thread. After it
/// succeeds the memory must not be used any more. Nothing changes if `buffer` lies in no memory
/// of this pool, as null does (HP_E_FOREIGN), if no buffer starts there (HP_E_INTERIOR), if that
/// is free (HP_E_NOT_ALLOCATED), or if it was taken for another size (HP_E_WRONG_SIZE). Two
/// threads must not free the same buffer at the same time. Never blocks.
///
/// # Safety
///
/// `pool` points to a pool, or is null. A buffer that is taken back is not used any more,
/// and no two threads give back the same one at a time.
#[must_use]
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
        if !pool.0.is_left_behind() && unsafe { pool.0.free_raw_cached(buffer.cast(), size) } {
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

/// Writes to `*count` how many buffers of `size` bytes at `alignment` one caller could take
/// now; 0 if the pool has none that would do. Never blocks.
///
/// # Safety
///
/// `pool` points to a pool, `count` to a place for a number, or they are null.
#[must_use]
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

/// Returns true if `address` lies in a buffer of the pool, free or taken; false if not, or if
/// `pool` is null. Never blocks.
///
/// # Safety
///
/// `pool` points to a pool, or is null.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hp_pool_contains(pool: *const hp_pool, address: *const c_void) -> bool {
    // SAFETY: the caller says so.
    let pool = unsafe { object(pool, "pool") };
    pool.is_ok_and(|pool| pool.0.contains(address.cast()))
}

/// Adds `count` buffers of `size` bytes at `alignment`, mapped now, as hp_builder_build maps
/// them: limits and codes are those of hp_builder_reserve and hp_builder_build, and
/// HP_VD_E_MEMORY, too, if the pool has too little address space left
/// (hp_builder_address_space). Threads that wait for such buffers get them. Enters the
/// kernel, and takes as long as it takes to zero the memory; allocates.
///
/// # Safety
///
/// `pool` points to a pool, or is null.
#[must_use]
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
        leased_for(&pool.0, 0, || {
            let grown = pool.0.request(size, alignment, count);
            grown.map_err(Failure::Build)
        })
    }))
}

/// Gives the memory back to the system that hp_pool_request added, one segment for each such
/// call, as far as all buffers of the segment are free. What the pool was built with stays.
/// What an hp_region holds goes when it is released.
/// Writes to `*trimmed` how much that was, which may be nothing; `trimmed` may be null.
/// The caller sets `trimmed->size` before. Enters the kernel; allocates.
///
/// # Safety
///
/// `pool` points to a pool, `trimmed` to `trimmed->size` bytes, or they are null.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hp_pool_trim(pool: *const hp_pool, trimmed: *mut hp_trimmed) -> u32 {
    // SAFETY: the caller says so.
    let pool = unsafe { object(pool, "pool") };
    let place = match trimmed.is_null() {
        true => Ok(None),
        // SAFETY: the caller says so.
        false => unsafe { Place::at(trimmed, "trimmed") }.map(Some),
    };
    done(pool.and_then(|pool| {
        let place = place?;
        // The free buffers of each segment are gathered in a list that grows to twice what
        // it holds, and is moved when it grows.
        let buffers: u64 = pool.0.class_counters().map(|class| class.capacity).sum();
        let gone = leased_for(&pool.0, 16 * buffers as usize, || Ok(pool.0.trim()))?;
        if let Some(place) = place {
            place.put(hp_trimmed {
                size: 0,
                segments: gone.segments as u64,
                bytes: gone.bytes as u64,
            });
        }
        Ok(())
    }))
}

/// Ends every wait for a buffer of the pool, and every one to come, with HP_VD_E_ABORT.
/// Requests that find a buffer free are served as before. There is no way back. Never
/// blocks.
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

/// Returns true if hp_pool_abort was called; false if not, or if `pool` is null. Never
/// blocks.
///
/// # Safety
///
/// `pool` points to a pool, or is null.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hp_pool_is_aborted(pool: *const hp_pool) -> bool {
    // SAFETY: the caller says so.
    let pool = unsafe { object(pool, "pool") };
    pool.is_ok_and(|pool| pool.0.is_aborted())
}

/// Writes to `*stats` what the pool has and holds; the caller sets `stats->size` before.
/// Reads files of the kernel and allocates, so it is not for the data path:
/// hp_pool_counters is.
///
/// # Safety
///
/// `pool` points to a pool, `stats` to `stats->size` bytes, or they are null.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hp_pool_stats(pool: *const hp_pool, stats: *mut hp_stats) -> u32 {
    // SAFETY: the caller says so.
    let (pool, place) = unsafe { (object(pool, "pool"), Place::at(stats, "stats")) };
    done(pool.and_then(|pool| {
        let place = place?;
        place.put(leased_for(&pool.0, 0, || Ok(hp_stats::of(&pool.0)))?);
        Ok(())
    }))
}
