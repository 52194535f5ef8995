//! Several buffers at once.
//!
//! Owns: the calls in C, those that wait and the one that does not. Uses: `call`, `pool`,
//! `token`, `wait`, the library. Used by: C and C++ programs; `stream_many`.

use crate::call::{Failure, done, is_good, limit, object};
use crate::kind::Pool;
use crate::pool::{here, hp_pool};
use crate::token::hp_token;
use crate::wait::until;
use ::pool::AllocError;
use ::pool::place::{Lot, Until, called};
use std::ffi::{CStr, c_void};
use std::ptr::null_mut;

/// Makes a call that takes `count` buffers of a pool, from it or a stream of it, and writes
/// them, or as many nulls, to their places. Allocates nothing.
///
/// # Safety
///
/// `buffers` points to `count` places for pointers, or is null.
pub unsafe fn taking_of<T>(
    call: &'static CStr,
    source: Result<(&Pool, &T), Failure>,
    count: usize,
    buffers: *mut *mut c_void,
    take: impl FnOnce(&T) -> Result<Result<Lot, AllocError>, Failure>,
) -> u32 {
    let room = count == 0 || is_good(buffers);
    let clear = || {
        if room {
            // SAFETY: the caller says so.
            (0..count).for_each(|at| unsafe { buffers.add(at).write(null_mut()) });
        }
    };
    let taken = source.and_then(|(pool, from)| {
        if !room {
            return Err(Failure::Pointer("buffers"));
        }
        let taken = called(pool.tracks(), call, || take(from))?;
        taken.map(|taken| (pool, taken)).map_err(Failure::Alloc)
    });
    if taken.is_err() {
        clear();
    }
    done(taken.map(|(pool, mut taken)| {
        let taken = std::iter::from_fn(|| taken.next_buffer());
        for (at, buffer) in taken.enumerate().take(count) {
            // It is of this pool.
            let start = pool.into_raw(buffer);
            let start = start.map_or(null_mut(), |start| start.as_ptr().cast());
            // SAFETY: the caller says so: there are no more than `count`.
            unsafe { buffers.add(at).write(start) };
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
    (size, alignment, count): (usize, usize, usize),
    buffers: *mut *mut c_void,
    until: Result<Until<'_>, Failure>,
) -> u32 {
    // SAFETY: the caller says so.
    unsafe {
        let pool = object(pool, "pool").and_then(here);
        let source = pool.map(|pool| (&pool.0, &pool.0));
        taking_of(call, source, count, buffers, |pool| {
            Ok(pool.take_lot((size, alignment, count), until?))
        })
    }
}

/// Takes `count` buffers, or none, each as hp_pool_allocate, and writes them to `buffers`,
/// an array of `count` pointers: all null if it fails. HP_VD_E_INVALID, too, if the pool has
/// fewer that could do. Of two threads that compete for the same buffers neither keeps half
/// of what both need. With `count` 0 `buffers` may be null. Never waits; allocates nothing.
///
/// # Safety
///
/// `pool` points to a pool, `buffers` to `count` places for pointers, or they are null.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hp_pool_allocate_many(
    pool: *const hp_pool,
    size: usize,
    alignment: usize,
    count: usize,
    buffers: *mut *mut c_void,
) -> u32 {
    let (call, wanted) = (c"hp_pool_allocate_many", (size, alignment, count));
    // SAFETY: the caller says so.
    unsafe { taking(call, pool, wanted, buffers, Ok(Until::Now)) }
}

/// As hp_pool_allocate_many, and waits up to `milliseconds` (0xffffffff: without end) if there
/// are too few, in one place of the line: when it is its turn, the buffers that come back are
/// kept for it until it has `count`. HP_VD_E_TIMEOUT if they do not come in time,
/// HP_VD_E_ABORT after hp_pool_abort, HP_VD_E_BUSY if 65536 requests wait already. If it
/// fails, all that was kept for it goes back.
///
/// # Safety
///
/// As hp_pool_allocate_many.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hp_pool_allocate_many_timeout(
    pool: *const hp_pool,
    size: usize,
    alignment: usize,
    count: usize,
    milliseconds: u32,
    buffers: *mut *mut c_void,
) -> u32 {
    let (call, wanted) = (c"hp_pool_allocate_many_timeout", (size, alignment, count));
    let until = Ok(Until::Within(limit(milliseconds)));
    // SAFETY: the caller says so.
    unsafe { taking(call, pool, wanted, buffers, until) }
}

/// As hp_pool_allocate_many_timeout, and waits until `deadline`, in nanoseconds on
/// CLOCK_MONOTONIC (UINT64_MAX: without end). If that is past, buffers that are free are
/// taken, otherwise it is HP_VD_E_TIMEOUT at once.
///
/// # Safety
///
/// As hp_pool_allocate_many.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hp_pool_allocate_many_deadline(
    pool: *const hp_pool,
    size: usize,
    alignment: usize,
    count: usize,
    deadline: u64,
    buffers: *mut *mut c_void,
) -> u32 {
    let (call, wanted) = (c"hp_pool_allocate_many_deadline", (size, alignment, count));
    // SAFETY: the caller says so.
    unsafe { taking(call, pool, wanted, buffers, Ok(until(deadline))) }
}

/// As hp_pool_allocate_many_timeout, and also ends when hp_token_cancel was called for
/// `token`, one of this pool: with HP_E_CANCELLED. With a token that was cancelled before,
/// buffers that are free are taken, otherwise it is HP_E_CANCELLED at once. HP_VD_E_INVALID
/// if the token is that of another pool.
///
/// # Safety
///
/// As hp_pool_allocate_many; `token` points to a token, or is null.
#[must_use]
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
    let (call, wanted) = (
        c"hp_pool_allocate_many_cancellable",
        (size, alignment, count),
    );
    // SAFETY: the caller says so.
    unsafe {
        let token = object(token, "token");
        let until = token.map(|token| Until::Cancelled(limit(milliseconds), &token.0));
        taking(call, pool, wanted, buffers, until)
    }
}
