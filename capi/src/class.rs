//! Classes, resolved once.
//!
//! Owns: their calls in C. Uses: `call`, `heap`, `pool`, `wait`, the library. Used by: C and
//! C++ programs.

use crate::call::{Failure, HP_NOERROR, done, is_good, limit, object, put, release};
use crate::heap::{SMALL, leased, unrefused};
use crate::kind::Pool;
use crate::pool::{here, hp_pool};
use ::pool::Volatile;
use ::pool::place::called;
use std::ffi::c_void;
use std::ptr::null_mut;

/// A class of a pool: a size and an alignment that were looked up once. To take and to free
/// by it is the fastest way.
pub struct hp_class {
    class: ::pool::Class<Volatile>,
    pool: Pool,
}

impl hp_class {
    fn here(&self) -> Result<&Self, Failure> {
        match self.class.is_left_behind() {
            true => Err(Failure::Forked),
            false => Ok(self),
        }
    }
}

/// Looks up the smallest class of `pool` whose buffers have `size` bytes at `alignment`, and
/// makes an object of it, which ends with hp_class_release. `*class_` is null if it fails:
/// HP_VD_E_INVALID as for hp_pool_allocate. It keeps the pool's memory until it is released;
/// one thread or many may use it. Allocates; never blocks.
///
/// # Safety
///
/// `pool` points to a pool, `class_` to a place for a pointer, or they are null.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hp_class_new(
    pool: *const hp_pool,
    size: usize,
    alignment: usize,
    class_: *mut *mut hp_class,
) -> u32 {
    // SAFETY: the caller says so.
    let (pool, clear) = unsafe { (object(pool, "pool"), put(class_, null_mut(), "class_")) };
    done(pool.and_then(here).and_then(|pool| {
        clear?;
        let made = leased(SMALL, || {
            let class = pool.0.class(size, alignment).map_err(Failure::Alloc)?;
            let pool = pool.0.clone();
            Ok(Box::into_raw(Box::new(hp_class { class, pool })))
        })?;
        // SAFETY: the caller says so.
        unsafe { put(class_, made, "class_") }
    }))
}

/// Releases what hp_class_new made; it must not be used after this. Buffers that are out
/// stay so. Null is nothing.
///
/// # Safety
///
/// `class_` came from hp_class_new, and is not used after this.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hp_class_release(class_: *mut hp_class) {
    // SAFETY: the caller says so.
    unrefused(|| unsafe { release(class_) });
}

/// Writes the size of the class's buffers to `*size`, and what their addresses are multiples
/// of to `*alignment`, both in bytes: at least what hp_class_new was asked for. Never blocks.
///
/// # Safety
///
/// `class_` points to a class, the others to places for numbers, or they are null.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hp_class_shape(
    class_: *const hp_class,
    size: *mut usize,
    alignment: *mut usize,
) -> u32 {
    // SAFETY: the caller says so.
    unsafe {
        let (sized, aligned) = (put(size, 0, "size"), put(alignment, 0, "alignment"));
        done(object(class_, "class_").and_then(|class| {
            sized.and(aligned)?;
            put(size, class.class.size(), "size")?;
            put(alignment, class.class.alignment(), "alignment")
        }))
    }
}

/// Takes a buffer of the class: as hp_pool_allocate with the class's size and alignment,
/// without the look-up. Never blocks.
///
/// # Safety
///
/// `class_` points to a class, `buffer` to a place for a pointer, or they are null.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hp_class_allocate(
    class_: *const hp_class,
    buffer: *mut *mut c_void,
) -> u32 {
    if is_good(class_) && is_good(buffer) {
        // SAFETY: the caller says so.
        let class = unsafe { &(*class_).class };
        if !class.is_left_behind()
            && let Some(start) = class.allocate_raw_cached()
        {
            // SAFETY: as above.
            unsafe { buffer.write(start.as_ptr().cast()) };
            return HP_NOERROR;
        }
    }
    // SAFETY: the caller says so.
    unsafe { allocate_slow(class_, buffer) }
}

/// The whole of hp_class_allocate, for when the cache does not have what is asked for.
///
/// # Safety
///
/// As hp_class_allocate.
#[cold]
#[inline(never)]
unsafe extern "C" fn allocate_slow(class_: *const hp_class, buffer: *mut *mut c_void) -> u32 {
    // SAFETY: the caller says so.
    let (class, clear) = unsafe { (object(class_, "class_"), put(buffer, null_mut(), "buffer")) };
    let start = class.and_then(hp_class::here).and_then(|class| {
        clear?;
        let take = || class.class.allocate_raw();
        let start = called(class.pool.tracks(), c"hp_class_allocate", take);
        start.map_err(Failure::Alloc)
    });
    // SAFETY: the caller says so.
    done(start.and_then(|start| unsafe { put(buffer, start.as_ptr().cast(), "buffer") }))
}

/// As hp_class_allocate, and waits up to `milliseconds` (0xffffffff: without end) for a
/// buffer if none is free: as hp_pool_allocate_timeout.
///
/// # Safety
///
/// As hp_class_allocate.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hp_class_allocate_timeout(
    class_: *const hp_class,
    milliseconds: u32,
    buffer: *mut *mut c_void,
) -> u32 {
    // SAFETY: the caller says so.
    let (class, clear) = unsafe { (object(class_, "class_"), put(buffer, null_mut(), "buffer")) };
    let start = class.and_then(hp_class::here).and_then(|class| {
        clear?;
        let take = || class.class.allocate_timeout(limit(milliseconds));
        let taken = called(class.pool.tracks(), c"hp_class_allocate_timeout", take);
        crate::wait::raw(&class.pool, taken.map_err(Failure::Alloc)?)
    });
    // SAFETY: the caller says so.
    done(start.and_then(|start| unsafe { put(buffer, start, "buffer") }))
}

/// Takes back a buffer that a call of this class gave, or one that hp_pool_allocate gave for
/// the class's size: as hp_pool_free with that size. Never blocks.
///
/// # Safety
///
/// As hp_pool_free.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hp_class_free(class_: *const hp_class, buffer: *mut c_void) -> u32 {
    if is_good(class_) {
        // SAFETY: the caller says so.
        let class = unsafe { &(*class_).class };
        // SAFETY: as above.
        if !class.is_left_behind() && unsafe { class.free_raw_cached(buffer.cast()) } {
            return HP_NOERROR;
        }
    }
    // SAFETY: the caller says so.
    unsafe { free_slow(class_, buffer) }
}

/// The whole of hp_class_free, for when it is refused.
///
/// # Safety
///
/// As hp_class_free.
#[cold]
#[inline(never)]
unsafe extern "C" fn free_slow(class_: *const hp_class, buffer: *mut c_void) -> u32 {
    // SAFETY: the caller says so.
    let class = unsafe { object(class_, "class_") };
    done(class.and_then(hp_class::here).and_then(|class| {
        // SAFETY: the caller says so.
        unsafe { class.class.free_raw(buffer.cast()) }.map_err(Failure::Free)
    }))
}

/// Writes to `*count` how many buffers of the class one caller could take now, larger ones
/// that would do included. Never blocks.
///
/// # Safety
///
/// `class_` points to a class, `count` to a place for a number, or they are null.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hp_class_available(class_: *const hp_class, count: *mut usize) -> u32 {
    // SAFETY: the caller says so.
    let (class, clear) = unsafe { (object(class_, "class_"), put(count, 0, "count")) };
    done(class.and_then(hp_class::here).and_then(|class| {
        clear?;
        // SAFETY: the caller says so.
        unsafe { put(count, class.class.available(), "count") }
    }))
}
