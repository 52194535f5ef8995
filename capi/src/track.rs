//! Who has the buffers that are out.
//!
//! Owns: its calls in C, and the place in the program that a thread says it is at. Uses:
//! `error`, `pool`, `vdi`, the library. Used by: C and C++ programs.

use crate::builder::{change, hp_builder};
use crate::error::{Failure, done, is_good, object, put};
use crate::kind::Pool;
use crate::pool::{here, hp_pool};
use crate::vdi::{hp_vdi, pool_of};
use std::ffi::{c_char, c_void};
use std::ptr::NonNull;

/// A buffer that is out of a pool that tracks, and who took it.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct hp_outstanding {
    /// The file that took it, as hp_set_place was told; otherwise the name of the call. Not
    /// to be freed.
    pub file: *const c_char,
    /// The line in it; 0: none.
    pub line: u32,
    /// Its first byte.
    pub start: *mut c_void,
    /// How many bytes were asked for.
    pub size: usize,
    /// How many bytes its class holds.
    pub class_size: usize,
    /// For how long it is out, in nanoseconds, by a clock that moves on every 1 to 10 ms.
    pub age: u64,
    /// The name of the stream that it counts against, ended by a zero byte; empty: none.
    pub stream: [c_char; HP_STREAM_NAME],
}

/// Bytes of a stream's name, with the zero byte that ends it.
pub const HP_STREAM_NAME: usize = 65;

/// Whether the pool notes who takes its buffers (not, by default): see
/// hp_pool_outstanding. It then costs 64 bytes a buffer, and some tens of nanoseconds for
/// a buffer that is taken and given back; otherwise nothing.
///
/// # Safety
///
/// `builder` points to a description, or is null.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hp_builder_track(builder: *mut hp_builder, track: bool) -> u32 {
    // SAFETY: the caller says so.
    unsafe { change(builder, |builder| builder.track(track)) }
}

/// Says that what the calling thread takes from now on, of any pool or set, is taken by
/// line `line` of `file` (or by any name, with line 0), for those that track. Null: it is
/// taken by the call that takes it. HP_TRACK_PLACES does this before each call. Never
/// blocks.
///
/// # Safety
///
/// `file` is a string that is never changed or freed, a literal, say, or null. Code that it
/// is part of is not unloaded while buffers are out.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hp_set_place(file: *const c_char, line: u32) {
    // SAFETY: the caller says so.
    unsafe { ::pool::place::set_place(NonNull::new(file.cast_mut()), line) };
}

/// Writes the first `room` buffers that are out of `pool` to `buffers`, and how many there
/// are to `count`.
///
/// # Safety
///
/// `buffers` points to `room` places, `count` to a place for a number, or they are null.
unsafe fn list(
    pool: &Pool,
    buffers: *mut hp_outstanding,
    room: usize,
    count: *mut usize,
) -> Result<(), Failure> {
    if room > 0 && !is_good(buffers) {
        return Err(Failure::Pointer("buffers"));
    }
    let outstanding = pool.outstanding();
    for (at, held) in outstanding.buffers().iter().take(room).enumerate() {
        let mut stream = [0; HP_STREAM_NAME];
        let name = held
            .stream
            .map_or([].into(), |name| name.as_bytes().to_vec());
        for (to, from) in stream
            .iter_mut()
            .zip(&name[..name.len().min(HP_STREAM_NAME - 1)])
        {
            *to = *from as c_char;
        }
        let written = hp_outstanding {
            file: held.place.name().as_ptr(),
            line: held.place.line(),
            start: std::ptr::with_exposed_provenance_mut(held.address),
            size: held.size,
            class_size: held.class_size,
            age: u64::try_from(held.age.as_nanos()).unwrap_or(u64::MAX),
            stream,
        };
        // SAFETY: the caller says so: there are no more than `room`.
        unsafe { buffers.add(at).write(written) };
    }
    // SAFETY: the caller says so.
    unsafe { put(count, outstanding.buffers().len(), "count") }
}

/// Who has the buffers that are out, if the pool tracks it (hp_builder_track): writes the
/// oldest `room` of them to `buffers`, the oldest first, and to `*count` how many there are,
/// which may be more. None if the pool does not track. With `room` 0 `buffers` may be null.
/// Before hp_pool_release it tells what was never given back. Looks at every buffer, and
/// allocates memory; not for the data path. `*count` is 0 if it fails.
///
/// # Safety
///
/// `pool` points to a pool, `buffers` to `room` places, `count` to a place for a number, or
/// they are null.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hp_pool_outstanding(
    pool: *const hp_pool,
    buffers: *mut hp_outstanding,
    room: usize,
    count: *mut usize,
) -> u32 {
    // SAFETY: the caller says so.
    let (pool, clear) = unsafe { (object(pool, "pool"), put(count, 0, "count")) };
    done(pool.and_then(here).and_then(|pool| {
        clear?;
        // SAFETY: the caller says so.
        unsafe { list(&pool.0, buffers, room, count) }
    }))
}

/// As hp_pool_outstanding, for a set: HP_VD_E_PROTOCOL before its buffers are mapped and
/// after Close.
///
/// # Safety
///
/// `set` points to a set, `buffers` to `room` places, `count` to a place for a number, or
/// they are null.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hp_vdi_outstanding(
    set: *const hp_vdi,
    buffers: *mut hp_outstanding,
    room: usize,
    count: *mut usize,
) -> u32 {
    // SAFETY: the caller says so.
    let (pool, clear) = unsafe { (pool_of(set), put(count, 0, "count")) };
    done(pool.and_then(|pool| {
        clear?;
        // SAFETY: the caller says so.
        unsafe { list(pool, buffers, room, count) }
    }))
}
