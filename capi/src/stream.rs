//! Streams: shares of a pool.
//!
//! Owns: their calls in C, for one buffer. Uses: `call`, `heap`, `pool`, `token`, `wait`, the
//! library. Used by: C and C++ programs; `stream_many`.

use crate::call::{Failure, done, limit, object, put, release};
use crate::heap::{SMALL, leased, unrefused};
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
/// share of, a minimum of buffers is set aside for it, and it has no more than a maximum at
/// once.
pub struct hp_stream {
    stream: Stream,
    pool: Pool,
}

/// What a stream may have of the class that serves requests for `size` bytes at `alignment`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct hp_share {
    /// Bytes.
    pub size: usize,
    /// Bytes, a power of two.
    pub alignment: usize,
    /// Buffers that are set aside: nobody else can take them. 0: none.
    pub minimum: usize,
    /// Buffers that it may have at once; 0: as many as there are.
    pub maximum: usize,
}

/// The most shares: one for each class that a pool can have.
const MOST: usize = 128;

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

    /// Whether it is of this process.
    fn here(&self) -> Result<&Self, Failure> {
        match self.pool.is_left_behind() {
            true => Err(Failure::Forked),
            false => Ok(self),
        }
    }
}

/// Makes a stream of `pool` with the name `name` (UTF-8, 1 to 64 bytes and a zero byte at
/// the end) and the shares in the array `shares` of `count` elements, 1 to 128, one for a
/// class; it ends with hp_stream_release. `*stream` is null if it fails, and nothing is set
/// aside then: HP_VD_E_INVALID for a name or shares that cannot be, HP_VD_E_MEMORY if the
/// minima of all streams are more than there is, or too many of the buffers are in use just
/// now, HP_VD_E_BUSY if all streams of the pool together would have more than 4096 shares. It
/// keeps the pool's memory. Allocates; never blocks.
///
/// # Safety
///
/// `pool` points to a pool, `name` to a string, `shares` to `count` of them, `stream` to a
/// place for a pointer, or they are null.
#[must_use]
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
        if count > MOST {
            return Err(Failure::Number {
                name: "count",
                given: u32::try_from(count).unwrap_or(u32::MAX),
                limit: MOST as u32 + 1,
            });
        }
        let shares = match count {
            0 => &[],
            // SAFETY: the caller says so.
            _ => unsafe {
                object(shares, "shares")?;
                std::slice::from_raw_parts(shares, count)
            },
        };
        let made = leased(2 * SMALL, || {
            let made = hp_stream::make(&pool.0, name, shares)?;
            Ok(Box::into_raw(Box::new(made)))
        })?;
        // SAFETY: the caller says so.
        unsafe { put(stream, made, "stream") }
    }))
}

/// Ends a stream: what was set aside for it goes back to the pool, and its buffers that are
/// out do so when they are freed. It must not be used after this. Null is nothing.
///
/// # Safety
///
/// `stream` came from hp_stream_new, and is not used after this.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hp_stream_release(stream: *mut hp_stream) {
    // SAFETY: the caller says so.
    unrefused(|| unsafe { release(stream) });
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
        let taken =
            called(stream.pool.tracks(), call, || take(&stream.stream))?.map_err(Failure::Alloc)?;
        raw(&stream.pool, taken)
    });
    // SAFETY: the caller says so.
    done(start.and_then(|start| unsafe { put(buffer, start, "buffer") }))
}

/// Takes a buffer within the shares of `stream`: as hp_pool_allocate, but of the smallest
/// class that it has a share of and that fits, and no larger one. HP_VD_E_MEMORY, too, if the
/// stream has as many as it may, and HP_VD_E_INVALID if it has no share of a class that would
/// do. The buffer counts against the stream until hp_pool_free or hp_stream_free. Never
/// blocks; allocates nothing.
///
/// # Safety
///
/// `stream` points to a stream, `buffer` to a place for a pointer, or they are null.
#[must_use]
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

/// As hp_stream_allocate, and waits up to `milliseconds` (0xffffffff: without end), as
/// hp_pool_allocate_timeout does.
///
/// # Safety
///
/// As hp_stream_allocate.
#[must_use]
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

/// As hp_stream_allocate_timeout, and waits until `deadline`, in nanoseconds on
/// CLOCK_MONOTONIC (UINT64_MAX: without end). If that is past, a buffer that is free is
/// taken, otherwise it is HP_VD_E_TIMEOUT at once.
///
/// # Safety
///
/// As hp_stream_allocate.
#[must_use]
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

/// As hp_stream_allocate_timeout, and also ends when hp_token_cancel was called for `token`,
/// one of the stream's pool: see hp_pool_allocate_cancellable.
///
/// # Safety
///
/// As hp_stream_allocate; `token` points to a token, or is null.
#[must_use]
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

/// Begins a wait for a buffer of `stream`, and does not block: as hp_wait_begin; hp_wait_poll
/// and the others go on with it. The stream must not be released before hp_wait_end.
/// Allocates.
///
/// # Safety
///
/// `stream` points to a stream, `wait` to a place for a pointer, or they are null.
#[must_use]
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
        let begun = leased(SMALL, || {
            let begin = || stream.stream.allocate_async(size, alignment);
            let tracks = stream.pool.tracks();
            let future = called(tracks, c"hp_stream_wait_begin", begin);
            Ok(Box::into_raw(Box::new(hp_wait::begin(
                &stream.pool,
                future,
            )?)))
        })?;
        // SAFETY: the caller says so.
        unsafe { put(wait, begun, "wait") }
    }))
}

/// Takes back a buffer of the stream's pool, whoever took it: as hp_pool_free, but also after
/// hp_pool_release. Never blocks; allocates nothing.
///
/// # Safety
///
/// As hp_pool_free.
#[must_use]
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

/// Writes to `*count` how many buffers of the class that serves `size` bytes at `alignment`
/// count against the stream now, those that its calls wait for included; 0 if it has no share
/// of such a class. Never blocks.
///
/// # Safety
///
/// `stream` points to a stream, `count` to a place for a number, or they are null.
#[must_use]
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
