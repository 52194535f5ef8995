//! Handles of 64 bits, and how long those of 32 bits last.
//!
//! Owns: these calls in C. Uses: `call`, `handle` for what a handle names, `client`, `heap`,
//! `pool`, `vdi`, the library. Used by: C and C++ programs.

use crate::call::{Failure, done, object, put};
use crate::client::hp_client;
use crate::handle::{hp_view, put_view};
use crate::heap::{SMALL, leased};
use crate::pool::hp_pool;
use crate::vdi::{hp_vdi, set_of};
use ::pool::share::{Handle64, ShareError};
use std::ffi::c_void;
use std::ptr::null_mut;

/// Writes a handle to `place`.
///
/// # Safety
///
/// `place` is a place for a number, or null.
unsafe fn put_handle(
    place: *mut u64,
    made: Result<Result<Handle64, ShareError>, Failure>,
) -> Result<(), Failure> {
    let made = made?.map_err(Failure::Share)?;
    // SAFETY: the caller says so.
    unsafe { put(place, made.raw(), "handle") }
}

/// As hp_vdi_get_buffer_handle, for programs that send handles over a channel of their own:
/// 44 of its 64 bits count how often the buffer came back, so it never names a later owner
/// in practice. The calls for handles of 64 bits know these alone.
///
/// # Safety
///
/// `set` points to a set, `handle` to a place for a number, or they are null.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hp_vdi_get_buffer_handle64(
    set: *const hp_vdi,
    buffer: *const c_void,
    handle: *mut u64,
) -> u32 {
    // SAFETY: the caller says so.
    let set = unsafe { set_of(set) };
    let made = set.map(|set| set.handle64(buffer.cast()));
    // SAFETY: the caller says so.
    done(unsafe { put_handle(handle, made) })
}

/// As hp_vdi_get_buffer_handle64, for a pool that is shared.
///
/// # Safety
///
/// `pool` points to a pool, `handle` to a place for a number, or they are null.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hp_pool_get_buffer_handle64(
    pool: *const hp_pool,
    buffer: *const c_void,
    handle: *mut u64,
) -> u32 {
    // SAFETY: the caller says so.
    let pool = unsafe { object(pool, "pool") };
    let made = pool.map(|pool| pool.0.handle64(buffer.cast()));
    // SAFETY: the caller says so.
    done(unsafe { put_handle(handle, made) })
}

/// As hp_client_get_buffer_handle, with 64 bits.
///
/// # Safety
///
/// `client` points to a client, `handle` to a place for a number, or they are null.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hp_client_get_buffer_handle64(
    client: *const hp_client,
    buffer: *const c_void,
    handle: *mut u64,
) -> u32 {
    // SAFETY: the caller says so.
    let client = unsafe { object(client, "client") };
    let made = client.map(|client| client.0.handle64(buffer.cast()));
    // SAFETY: the caller says so.
    done(unsafe { put_handle(handle, made) })
}

/// As hp_vdi_view, of a handle of 64 bits.
///
/// # Safety
///
/// `set` points to a set, `view` to a place for the result, or they are null.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hp_vdi_view64(set: *const hp_vdi, handle: u64, view: *mut hp_view) -> u32 {
    // SAFETY: the caller says so.
    let set = unsafe { set_of(set) };
    let found = set.and_then(|set| {
        let found = set.view64(Handle64::from_raw(handle));
        found.map_err(Failure::Share)
    });
    // SAFETY: the caller says so.
    done(unsafe { put_view(view, found) })
}

/// As hp_vdi_view64, for a pool that is shared.
///
/// # Safety
///
/// `pool` points to a pool, `view` to a place for the result, or they are null.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hp_pool_view64(
    pool: *const hp_pool,
    handle: u64,
    view: *mut hp_view,
) -> u32 {
    // SAFETY: the caller says so.
    let pool = unsafe { object(pool, "pool") };
    let found = pool.and_then(|pool| {
        let found = pool.0.view64(Handle64::from_raw(handle));
        found.map_err(Failure::Share)
    });
    // SAFETY: the caller says so.
    done(unsafe { put_view(view, found) })
}

/// As hp_client_map_buffer_handle, of a handle of 64 bits.
///
/// # Safety
///
/// `client` points to a client, `buffer` to a place for a pointer, or they are null.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hp_client_map_buffer_handle64(
    client: *const hp_client,
    handle: u64,
    buffer: *mut *mut c_void,
) -> u32 {
    let map = || {
        // SAFETY: the caller says so.
        unsafe { put(buffer, null_mut(), "buffer") }?;
        // SAFETY: the caller says so.
        let client = unsafe { object(client, "client") }?;
        let view = client
            .0
            .map64(Handle64::from_raw(handle))
            .map_err(Failure::Share)?;
        // SAFETY: the caller says so.
        unsafe { put(buffer, view.start.as_ptr().cast(), "buffer") }
    };
    done(map())
}

/// As hp_client_view, of a handle of 64 bits.
///
/// # Safety
///
/// `client` points to a client, `view` to a place for the result, or they are null.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hp_client_view64(
    client: *const hp_client,
    handle: u64,
    view: *mut hp_view,
) -> u32 {
    // SAFETY: the caller says so.
    let client = unsafe { object(client, "client") };
    let mapped = client.and_then(|client| {
        let mapped = client.0.map64(Handle64::from_raw(handle));
        mapped.map_err(Failure::Share)
    });
    // SAFETY: the caller says so.
    done(unsafe { put_view(view, mapped) })
}

/// After how many returns of its buffer a handle of 32 bits comes again: from the return of
/// the buffer on it is refused, and once the buffer has come back `*reuses` times since the
/// handle was made, the next owner's handle is the same number. That is 2^28 for a set
/// that is configured with 7 buffers or fewer, and half of it each time there are twice as
/// many (2^24 for up to 127, 2^18 for up to 8191), 2^11 at least. For buffers that
/// RequestBuffers has added after EndConfiguration, beyond those, it is 2^11. The least of
/// all buffers that the set has now. Handles of 64 bits have no such bound in practice: it
/// is 2^44.
///
/// # Safety
///
/// `set` points to a set, `reuses` to a place for a number, or they are null.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hp_vdi_handle_reuses(set: *const hp_vdi, reuses: *mut u64) -> u32 {
    // SAFETY: the caller says so.
    let set = unsafe { set_of(set) };
    let known = set.and_then(|set| leased(SMALL, || set.handle_reuses().map_err(Failure::Share)));
    // SAFETY: the caller says so.
    done(known.and_then(|known| unsafe { put(reuses, known, "reuses") }))
}

/// As hp_vdi_handle_reuses, for a pool that is shared. Memory that hp_pool_trim gives back
/// and that comes again counts as one return of its buffers.
///
/// # Safety
///
/// `pool` points to a pool, `reuses` to a place for a number, or they are null.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hp_pool_handle_reuses(pool: *const hp_pool, reuses: *mut u64) -> u32 {
    // SAFETY: the caller says so.
    let pool = unsafe { object(pool, "pool") };
    let known = pool.and_then(|pool| {
        let known = || pool.0.handle_reuses().map_err(Failure::Share);
        leased(SMALL, known)
    });
    // SAFETY: the caller says so.
    done(known.and_then(|known| unsafe { put(reuses, known, "reuses") }))
}
