//! Streams: shares of a pool.
//!
//! Owns: their calls in C, for one buffer. Uses: `error`, `pool`, `token`, `wait`, the
//! library. Used by: C and C++ programs; `stream_many`.

use crate::error::{Failure, done, limit, object, put, release};
use crate::kind::{Buffer, Pool, Stream};
use crate::peers::text;
use crate::pool::{here, hp_pool};
use crate::token::hp_token;
use crate::wait::{hp_wait, instant, raw};
use ::pool::AllocError;
use ::pool::place::called;
use std::ffi::{CStr, c_char, c_void};
use std::ptr::null_mut;

/// A stream of a pool: what one backup takes its buffers by. Of each class that it has a
/// share of, a minimum is set aside for it, and it has no more than a maximum at once.
pub struct hp_stream {
    stream: Stream,
    pool: Pool,
}

/// What a stream may have of the class that serves `size` bytes at `alignment`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct hp_share {
    /// Bytes.
    pub size: usize,
    /// Bytes, a power of two.
    pub alignment: usize,
    /// Buffers that are set aside, and nobody else can take.
    pub minimum: usize,
    /// Buffers that it may have at once; 0: as many as there are.
    pub maximum: usize,
}

impl hp_stream {
    fn make(pool: &Pool, name: &str, shares: &[hp_share]) -> Result<Self, Failure> {
        let mut builder = pool.stream(name);
        for share in shares {
            builder = builder.minimum(share.size, share.alignment, share.minimum);
            if share.maximum > 0 {
                builder = builder.maximum(share.size, share.alignment, share.maximum);
            }
        }
        Ok(Self {
            stream: builder.build().map_err(Failure::Stream)?,
            pool: pool.clone(),
        })
    }

    /// Its pool, and itself, if they are of this process.
    pub fn parts(&self) -> Result<(&Pool, &Stream), Failure> {
        self.here().map(|here| (&here.pool, &here.stream))
    }

    fn here(&self) -> Result<&Self, Failure> {
        match self.pool.is_left_behind() {
            true => Err(Failure::Forked),
            false => Ok(self),
        }
    }
}

/// Makes a stream of `pool`, called `name` (1 to 64 bytes, ended by a zero byte), with
/// `count` shares, one a class. `*stream` is null if it fails: HP_VD_E_INVALID for a name or
/// shares that cannot be, HP_VD_E_MEMORY if the minima of all streams are more than there
/// is, or too many of the buffers are in use just now, HP_VD_E_BUSY if there are too many
/// streams; nothing is set aside then. It keeps the pool's memory. Allocates; never blocks.
///
/// # Safety
///
/// `pool` points to a pool, `name` to a string, `shares` to `count` of them, `stream` to a
/// place for a pointer, or they are null.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hp_stream_new(
    pool: *const hp_pool,
    name: *const c_char,
    shares: *const hp_share,
    count: usize,
    stream: *mut *mut hp_stream,
) -> u32 {
    // SAFETY: the caller says so.
    let (pool, clear) = unsafe { (object(pool, "pool"), put(stream, null_mut(), "stream")) };
    done(pool.and_then(here).and_then(|pool| {
        clear?;
        // SAFETY: the caller says so.
        let name = unsafe { text(name) }?;
        let shares = match count {
            0 => &[],
            // SAFETY: the caller says so.
            _ => unsafe {
                object(shares, "shares")?;
                std::slice::from_raw_parts(shares, count)
            },
        };
        let made = Box::new(hp_stream::make(&pool.0, name, shares)?);
        // SAFETY: the caller says so.
        unsafe { put(stream, Box::into_raw(made), "stream") }
    }))
}

/// Ends a stream, which no call uses any more: its own buffers go back to the pool, those
/// that are out when they are freed. Null is nothing.
///
/// # Safety
///
/// `stream` came from hp_stream_new, and is not used after this.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hp_stream_release(stream: *mut hp_stream) {
    // SAFETY: the caller says so.
    unsafe { release(stream) };
}

/// Makes a call that takes a buffer of a stream, and writes it, or null, to its place.
///
/// # Safety
///
/// `stream` points to a stream, `buffer` to a place for a pointer, or they are null.
unsafe fn taking(
    call: &'static CStr,
    stream: *const hp_stream,
    buffer: *mut *mut c_void,
    take: impl FnOnce(&Stream) -> Result<Result<Buffer, AllocError>, Failure>,
) -> u32 {
    // SAFETY: the caller says so.
    let (stream, clear) = unsafe { (object(stream, "stream"), put(buffer, null_mut(), "buffer")) };
    let start = stream.and_then(hp_stream::here).and_then(|stream| {
        clear?;
        let taken = called(call, || take(&stream.stream))?.map_err(Failure::Alloc)?;
        raw(&stream.pool, taken)
    });
    // SAFETY: the caller says so.
    done(start.and_then(|start| unsafe { put(buffer, start, "buffer") }))
}

/// Takes a buffer within the share of `stream`: as hp_pool_allocate, but HP_VD_E_MEMORY,
/// too, if the stream has as many as it may, and HP_VD_E_INVALID if it has no share of a
/// class that would do. It goes back by hp_pool_free or hp_stream_free, and counts against
/// the stream until then. Never blocks.
///
/// # Safety
///
/// `stream` points to a stream, `buffer` to a place for a pointer, or they are null.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hp_stream_allocate(
    stream: *const hp_stream,
    size: usize,
    alignment: usize,
    buffer: *mut *mut c_void,
) -> u32 {
    // SAFETY: the caller says so.
    unsafe {
        taking(c"hp_stream_allocate", stream, buffer, |stream| {
            Ok(stream.allocate(size, alignment))
        })
    }
}

/// As hp_stream_allocate, and waits up to `milliseconds` (0xffffffff: for ever), as
/// hp_pool_allocate_timeout does.
///
/// # Safety
///
/// As hp_stream_allocate.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hp_stream_allocate_timeout(
    stream: *const hp_stream,
    size: usize,
    alignment: usize,
    milliseconds: u32,
    buffer: *mut *mut c_void,
) -> u32 {
    // SAFETY: the caller says so.
    unsafe {
        taking(c"hp_stream_allocate_timeout", stream, buffer, |stream| {
            Ok(stream.allocate_timeout(size, alignment, limit(milliseconds)))
        })
    }
}

/// As hp_stream_allocate_timeout, and waits until `deadline`: nanoseconds on CLOCK_MONOTONIC
/// (UINT64_MAX: for ever). One in the past: a buffer that is free is taken, otherwise it is
/// HP_VD_E_TIMEOUT at once.
///
/// # Safety
///
/// As hp_stream_allocate.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hp_stream_allocate_deadline(
    stream: *const hp_stream,
    size: usize,
    alignment: usize,
    deadline: u64,
    buffer: *mut *mut c_void,
) -> u32 {
    // SAFETY: the caller says so.
    unsafe {
        taking(c"hp_stream_allocate_deadline", stream, buffer, |stream| {
            Ok(match instant(deadline) {
                Ok(deadline) => stream.allocate_deadline(size, alignment, deadline),
                Err(left) => stream.allocate_timeout(size, alignment, left),
            })
        })
    }
}

/// As hp_stream_allocate_timeout, and waits no longer than until hp_token_cancel ends the
/// waits of `token`, one of the stream's pool: see hp_pool_allocate_cancellable.
///
/// # Safety
///
/// As hp_stream_allocate; `token` points to a token, or is null.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hp_stream_allocate_cancellable(
    stream: *const hp_stream,
    size: usize,
    alignment: usize,
    milliseconds: u32,
    token: *const hp_token,
    buffer: *mut *mut c_void,
) -> u32 {
    // SAFETY: the caller says so.
    unsafe {
        taking(
            c"hp_stream_allocate_cancellable",
            stream,
            buffer,
            |stream| {
                let token = &object(token, "token")?.0;
                let limit = limit(milliseconds);
                Ok(stream.allocate_cancellable(size, alignment, limit, token))
            },
        )
    }
}

/// Begins a wait for a buffer of `stream`, and does not block: as hp_wait_begin, by whose
/// calls it goes on and ends. It counts as a use of the stream until hp_wait_end.
///
/// # Safety
///
/// `stream` points to a stream, `wait` to a place for a pointer, or they are null.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hp_stream_wait_begin(
    stream: *const hp_stream,
    size: usize,
    alignment: usize,
    wait: *mut *mut hp_wait,
) -> u32 {
    // SAFETY: the caller says so.
    let (stream, clear) = unsafe { (object(stream, "stream"), put(wait, null_mut(), "wait")) };
    done(stream.and_then(hp_stream::here).and_then(|stream| {
        clear?;
        let begin = || stream.stream.allocate_async(size, alignment);
        let future = called(c"hp_stream_wait_begin", begin);
        let begun = Box::new(hp_wait::begin(&stream.pool, future)?);
        // SAFETY: the caller says so.
        unsafe { put(wait, Box::into_raw(begun), "wait") }
    }))
}

/// Gives back a buffer of the stream's pool: as hp_pool_free, which may have been released.
///
/// # Safety
///
/// As hp_pool_free.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hp_stream_free(
    stream: *const hp_stream,
    buffer: *mut c_void,
    size: usize,
) -> u32 {
    // SAFETY: the caller says so.
    let stream = unsafe { object(stream, "stream") };
    done(stream.and_then(hp_stream::here).and_then(|stream| {
        // SAFETY: the caller says so.
        let freed = unsafe { stream.pool.free_raw(buffer.cast(), size) };
        freed.map_err(Failure::Free)
    }))
}

/// How many buffers the stream has of the class that serves `size` bytes at `alignment`,
/// with those that its calls wait for; 0 if it has no share of one.
///
/// # Safety
///
/// `stream` points to a stream, `count` to a place for a number, or they are null.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hp_stream_in_use(
    stream: *const hp_stream,
    size: usize,
    alignment: usize,
    count: *mut usize,
) -> u32 {
    // SAFETY: the caller says so.
    let (stream, clear) = unsafe { (object(stream, "stream"), put(count, 0, "count")) };
    done(stream.and_then(hp_stream::here).and_then(|stream| {
        clear?;
        let now = stream.stream.in_use(size, alignment);
        // SAFETY: the caller says so.
        unsafe { put(count, now, "count") }
    }))
}
