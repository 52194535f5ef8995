//! Several buffers of a stream at once.
//!
//! Owns: the calls in C, those that wait and the one that does not. Uses: `error`, `many`,
//! `stream`, `token`, `wait`, the library. Used by: C and C++ programs.

use crate::error::{Failure, limit, object};
use crate::kind::{Buffer, Stream};
use crate::many::taking_of;
use crate::stream::hp_stream;
use crate::token::hp_token;
use crate::wait::instant;
use ::pool::AllocError;
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
    count: usize,
    buffers: *mut *mut c_void,
    take: impl FnOnce(&Stream) -> Result<Result<Vec<Buffer>, AllocError>, Failure>,
) -> u32 {
    // SAFETY: the caller says so.
    unsafe {
        let source = object(stream, "stream").and_then(hp_stream::parts);
        taking_of(call, source, count, buffers, take)
    }
}

/// Takes `count` buffers, or none, each as hp_stream_allocate, and writes them to `buffers`,
/// which has `count` places: all null if it fails. HP_VD_E_INVALID, too, if the stream can
/// never have so many. With `count` 0 `buffers` may be null. Never waits; allocates memory.
///
/// # Safety
///
/// `stream` points to a stream, `buffers` to `count` places for pointers, or they are null.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hp_stream_allocate_many(
    stream: *const hp_stream,
    size: usize,
    alignment: usize,
    count: usize,
    buffers: *mut *mut c_void,
) -> u32 {
    // SAFETY: the caller says so.
    unsafe {
        taking(
            c"hp_stream_allocate_many",
            stream,
            count,
            buffers,
            |stream| Ok(stream.allocate_many(size, alignment, count)),
        )
    }
}

/// As hp_stream_allocate_many, and waits up to `milliseconds` (0xffffffff: for ever) if there are
/// too few, in one place of the line: when it is its turn, what the stream has and what comes
/// back of it is kept for it until it has `count`. Then HP_VD_E_TIMEOUT, or HP_VD_E_ABORT
/// after hp_pool_abort; HP_VD_E_BUSY if 65536 wait already. If it gives up, all goes back.
///
/// # Safety
///
/// As hp_stream_allocate_many.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hp_stream_allocate_many_timeout(
    stream: *const hp_stream,
    size: usize,
    alignment: usize,
    count: usize,
    milliseconds: u32,
    buffers: *mut *mut c_void,
) -> u32 {
    // SAFETY: the caller says so.
    unsafe {
        taking(
            c"hp_stream_allocate_many_timeout",
            stream,
            count,
            buffers,
            |stream| Ok(stream.allocate_many_timeout(size, alignment, count, limit(milliseconds))),
        )
    }
}

/// As hp_stream_allocate_many_timeout, and waits until `deadline`: nanoseconds on
/// CLOCK_MONOTONIC (UINT64_MAX: for ever). One in the past: buffers that are free are taken,
/// otherwise it is HP_VD_E_TIMEOUT at once.
///
/// # Safety
///
/// As hp_stream_allocate_many.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hp_stream_allocate_many_deadline(
    stream: *const hp_stream,
    size: usize,
    alignment: usize,
    count: usize,
    deadline: u64,
    buffers: *mut *mut c_void,
) -> u32 {
    // SAFETY: the caller says so.
    unsafe {
        taking(
            c"hp_stream_allocate_many_deadline",
            stream,
            count,
            buffers,
            |stream| {
                Ok(match instant(deadline) {
                    Ok(deadline) => stream.allocate_many_deadline(size, alignment, count, deadline),
                    Err(left) => stream.allocate_many_timeout(size, alignment, count, left),
                })
            },
        )
    }
}

/// As hp_stream_allocate_many_timeout, and waits no longer than until hp_token_cancel ends the
/// waits of `token`, one of the stream's pool: then HP_E_CANCELLED. With one that was cancelled
/// before, buffers that are free are taken, otherwise it is HP_E_CANCELLED at once.
/// HP_VD_E_INVALID if the token is that of another pool.
///
/// # Safety
///
/// As hp_stream_allocate_many; `token` points to a token, or is null.
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
    // SAFETY: the caller says so.
    unsafe {
        taking(
            c"hp_stream_allocate_many_cancellable",
            stream,
            count,
            buffers,
            |stream| {
                let token = &object(token, "token")?.0;
                let limit = limit(milliseconds);
                Ok(stream.allocate_many_cancellable(size, alignment, count, limit, token))
            },
        )
    }
}
