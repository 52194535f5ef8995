//! Several buffers at once.
//!
//! Owns: the calls in C, those that wait and the one that does not. Uses: `error`, `pool`,
//! `token`, `wait`, the library. Used by: C and C++ programs; `stream_many`.

use crate::error::{Failure, done, is_good, limit, object};
use crate::kind::{Buffer, Pool};
use crate::pool::{here, hp_pool};
use crate::token::hp_token;
use crate::wait::instant;
use ::pool::AllocError;
use ::pool::place::called;
use std::ffi::{CStr, c_void};
use std::ptr::null_mut;

/// Makes a call that takes `count` buffers of a pool, from it or a stream of it, and writes
/// them, or as many nulls, to their places.
///
/// # Safety
///
/// `buffers` points to `count` places for pointers, or is null.
pub unsafe fn taking_of<T>(
    call: &'static CStr,
    source: Result<(&Pool, &T), Failure>,
    count: usize,
    buffers: *mut *mut c_void,
    take: impl FnOnce(&T) -> Result<Result<Vec<Buffer>, AllocError>, Failure>,
) -> u32 {
    let room = count == 0 || is_good(buffers);
    if room {
        // SAFETY: the caller says so.
        (0..count).for_each(|at| unsafe { buffers.add(at).write(null_mut()) });
    }
    let taken = source.and_then(|(pool, from)| {
        if !room {
            return Err(Failure::Pointer("buffers"));
        }
        let taken = called(call, || take(from))?;
        taken.map(|taken| (pool, taken)).map_err(Failure::Alloc)
    });
    done(taken.map(|(pool, taken)| {
        for (at, buffer) in taken.into_iter().enumerate() {
            // It is of this pool.
            if let Ok(start) = pool.into_raw(buffer) {
                // SAFETY: the caller says so: there are no more than `count`.
                unsafe { buffers.add(at).write(start.as_ptr().cast()) };
            }
        }
    }))
}

/// As above, from a pool.
///
/// # Safety
///
/// `pool` points to a pool, `buffers` to `count` places for pointers, or they are null.
unsafe fn taking(
    call: &'static CStr,
    pool: *const hp_pool,
    count: usize,
    buffers: *mut *mut c_void,
    take: impl FnOnce(&Pool) -> Result<Result<Vec<Buffer>, AllocError>, Failure>,
) -> u32 {
    // SAFETY: the caller says so.
    unsafe {
        let pool = object(pool, "pool").and_then(here);
        let source = pool.map(|pool| (&pool.0, &pool.0));
        taking_of(call, source, count, buffers, take)
    }
}

/// Takes `count` buffers, or none, each as hp_pool_allocate, and writes them to `buffers`,
/// which has `count` places: all null if it fails. HP_VD_E_INVALID, too, if the pool has
/// fewer that could do. Two threads at once cannot each keep half of what both need. With
/// `count` 0 `buffers` may be null. Never waits; allocates memory.
///
/// # Safety
///
/// `pool` points to a pool, `buffers` to `count` places for pointers, or they are null.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hp_pool_allocate_many(
    pool: *const hp_pool,
    size: usize,
    alignment: usize,
    count: usize,
    buffers: *mut *mut c_void,
) -> u32 {
    // SAFETY: the caller says so.
    unsafe {
        taking(c"hp_pool_allocate_many", pool, count, buffers, |pool| {
            Ok(pool.allocate_many(size, alignment, count))
        })
    }
}

/// As hp_pool_allocate_many, and waits up to `milliseconds` (0xffffffff: for ever) if there are
/// too few, in one place of the line: when it is its turn, the buffers that come back are
/// kept for it until it has `count`. Then HP_VD_E_TIMEOUT, or HP_VD_E_ABORT after
/// hp_pool_abort; HP_VD_E_BUSY if 65536 wait already. If it gives up, all goes back.
///
/// # Safety
///
/// As hp_pool_allocate_many.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hp_pool_allocate_many_timeout(
    pool: *const hp_pool,
    size: usize,
    alignment: usize,
    count: usize,
    milliseconds: u32,
    buffers: *mut *mut c_void,
) -> u32 {
    // SAFETY: the caller says so.
    unsafe {
        taking(
            c"hp_pool_allocate_many_timeout",
            pool,
            count,
            buffers,
            |pool| Ok(pool.allocate_many_timeout(size, alignment, count, limit(milliseconds))),
        )
    }
}

/// As hp_pool_allocate_many_timeout, and waits until `deadline`: nanoseconds on
/// CLOCK_MONOTONIC (UINT64_MAX: for ever). One in the past: buffers that are free are taken,
/// otherwise it is HP_VD_E_TIMEOUT at once.
///
/// # Safety
///
/// As hp_pool_allocate_many.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hp_pool_allocate_many_deadline(
    pool: *const hp_pool,
    size: usize,
    alignment: usize,
    count: usize,
    deadline: u64,
    buffers: *mut *mut c_void,
) -> u32 {
    // SAFETY: the caller says so.
    unsafe {
        taking(
            c"hp_pool_allocate_many_deadline",
            pool,
            count,
            buffers,
            |pool| {
                Ok(match instant(deadline) {
                    Ok(deadline) => pool.allocate_many_deadline(size, alignment, count, deadline),
                    Err(left) => pool.allocate_many_timeout(size, alignment, count, left),
                })
            },
        )
    }
}

/// As hp_pool_allocate_many_timeout, and waits no longer than until hp_token_cancel ends the
/// waits of `token`, one of this pool: then HP_E_CANCELLED. With one that was cancelled
/// before, buffers that are free are taken, otherwise it is HP_E_CANCELLED at once.
/// HP_VD_E_INVALID if the token is that of another pool.
///
/// # Safety
///
/// As hp_pool_allocate_many; `token` points to a token, or is null.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hp_pool_allocate_many_cancellable(
    pool: *const hp_pool,
    size: usize,
    alignment: usize,
    count: usize,
    milliseconds: u32,
    token: *const hp_token,
    buffers: *mut *mut c_void,
) -> u32 {
    // SAFETY: the caller says so.
    unsafe {
        taking(
            c"hp_pool_allocate_many_cancellable",
            pool,
            count,
            buffers,
            |pool| {
                let token = &object(token, "token")?.0;
                let limit = limit(milliseconds);
                Ok(pool.allocate_many_cancellable(size, alignment, count, limit, token))
            },
        )
    }
}
