//! Several buffers of a stream at once.
//!
//! Owns: the calls in C, those that wait and the one that does not. Uses: `call`, `many`,
//! `stream`, `token`, `wait`, the library. Used by: C and C++ programs.

use crate::call::{Failure, limit, object};
use crate::many::taking_of;
use crate::stream::hp_stream;
use crate::token::hp_token;
use crate::wait::until;
use ::pool::place::Until;
use std::ffi::{CStr, c_void};

/// Makes a call that takes `count` buffers of a stream, and writes them, or as many nulls, to
/// their places.
///
/// # Safety
///
/// `stream` points to a stream, `buffers` to `count` places for pointers, or they are null.
unsafe fn taking(
    call: &'static CStr,
    stream: *const hp_stream,
    (size, alignment, count): (usize, usize, usize),
    buffers: *mut *mut c_void,
    until: Result<Until<'_>, Failure>,
) -> u32 {
    // SAFETY: the caller says so.
    unsafe {
        let source = object(stream, "stream").and_then(hp_stream::parts);
        taking_of(call, source, count, buffers, |stream| {
            Ok(stream.take_lot((size, alignment, count), until?))
        })
    }
}

/// Takes `count` buffers, or none, each as hp_stream_allocate, and writes them to `buffers`,
/// an array of `count` pointers: all null if it fails. HP_VD_E_INVALID, too, if the stream
/// can never have so many. With `count` 0 `buffers` may be null. Never waits; allocates
/// nothing.
///
/// # Safety
///
/// `stream` points to a stream, `buffers` to `count` places for pointers, or they are null.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hp_stream_allocate_many(
    stream: *const hp_stream,
    size: usize,
    alignment: usize,
    count: usize,
    buffers: *mut *mut c_void,
) -> u32 {
    let (call, wanted) = (c"hp_stream_allocate_many", (size, alignment, count));
    // SAFETY: the caller says so.
    unsafe { taking(call, stream, wanted, buffers, Ok(Until::Now)) }
}

/// As hp_stream_allocate_many, and waits up to `milliseconds` (0xffffffff: without end) if
/// there are too few, in one place of the line: when it is its turn, what the stream has and
/// what comes back of it is kept for it until it has `count`. HP_VD_E_TIMEOUT if they do not
/// come in time, HP_VD_E_ABORT after hp_pool_abort, HP_VD_E_BUSY if 65536 requests wait
/// already. If it fails, all that was kept for it goes back.
///
/// # Safety
///
/// As hp_stream_allocate_many.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hp_stream_allocate_many_timeout(
    stream: *const hp_stream,
    size: usize,
    alignment: usize,
    count: usize,
    milliseconds: u32,
    buffers: *mut *mut c_void,
) -> u32 {
    let (call, wanted) = (c"hp_stream_allocate_many_timeout", (size, alignment, count));
    let until = Ok(Until::Within(limit(milliseconds)));
    // SAFETY: the caller says so.
    unsafe { taking(call, stream, wanted, buffers, until) }
}

/// As hp_stream_allocate_many_timeout, and waits until `deadline`, in nanoseconds on
/// CLOCK_MONOTONIC (UINT64_MAX: without end). If that is past, buffers that are free are
/// taken, otherwise it is HP_VD_E_TIMEOUT at once.
///
/// # Safety
///
/// As hp_stream_allocate_many.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hp_stream_allocate_many_deadline(
    stream: *const hp_stream,
    size: usize,
    alignment: usize,
    count: usize,
    deadline: u64,
    buffers: *mut *mut c_void,
) -> u32 {
    let (call, wanted) = (
        c"hp_stream_allocate_many_deadline",
        (size, alignment, count),
    );
    // SAFETY: the caller says so.
    unsafe { taking(call, stream, wanted, buffers, Ok(until(deadline))) }
}

/// As hp_stream_allocate_many_timeout, and also ends when hp_token_cancel was called for
/// `token`, one of the stream's pool: with HP_E_CANCELLED. With a token that was cancelled
/// before, buffers that are free are taken, otherwise it is HP_E_CANCELLED at once.
/// HP_VD_E_INVALID if the token is that of another pool.
///
/// # Safety
///
/// As hp_stream_allocate_many; `token` points to a token, or is null.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hp_stream_allocate_many_cancellable(
    stream: *const hp_stream,
    size: usize,
    alignment: usize,
    count: usize,
    milliseconds: u32,
    token: *const hp_token,
    buffers: *mut *mut c_void,
) -> u32 {
    let (call, wanted) = (
        c"hp_stream_allocate_many_cancellable",
        (size, alignment, count),
    );
    // SAFETY: the caller says so.
    unsafe {
        let token = object(token, "token");
        let until = token.map(|token| Until::Cancelled(limit(milliseconds), &token.0));
        taking(call, stream, wanted, buffers, until)
    }
}
