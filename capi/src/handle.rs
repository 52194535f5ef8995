//! Handles.
//!
//! Owns: what a handle names, and a server's calls for them in C. Uses: `call`, `pool`,
//! `sized`, `vdi`, the library. Used by: C and C++ programs, `client`.

use crate::call::{Failure, done, object, put};
use crate::pool::hp_pool;
use crate::sized::{HasSize, Place};
use crate::vdi::{hp_vdi, set_of};
use ::pool::share::{Handle, View};
use std::ffi::c_void;
use std::ptr::null_mut;

/// A buffer, as it is mapped into this process.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct hp_view {
    /// Set by the caller to sizeof(hp_view) before the call; the call sets it to the number
    /// of bytes that it wrote, which is less if the library is older than the header.
    pub size: usize,
    /// The buffer's first byte.
    pub start: *mut c_void,
    /// The number of bytes that it was allocated for.
    pub buffer_size: usize,
    /// The number of bytes right before it that are the client's.
    pub prefix: usize,
    /// Not 0 if this process may write to the buffer and to what is before it.
    pub writable: u64,
}

// SAFETY: words alone, the first of which is the size.
unsafe impl HasSize for hp_view {
    fn size(&mut self) -> &mut usize {
        &mut self.size
    }
}

/// Writes what a handle names to `place`: zero and null if nothing.
///
/// # Safety
///
/// `place` points to `place->size` bytes, or is null.
pub unsafe fn put_view(place: *mut hp_view, found: Result<View, Failure>) -> Result<(), Failure> {
    // SAFETY: the caller says so.
    let place = unsafe { Place::at(place, "view") };
    let written = match &found {
        Ok(view) => hp_view {
            size: 0,
            start: view.start.as_ptr().cast(),
            buffer_size: view.size,
            prefix: view.prefix,
            writable: view.writable.into(),
        },
        Err(_) => hp_view {
            size: 0,
            start: null_mut(),
            buffer_size: 0,
            prefix: 0,
            writable: 0,
        },
    };
    let put = place.map(|place| place.put(written));
    found.and(put)
}

/// The handle by which clients know the buffer at `buffer`, which the set allocated: a
/// number that names it in every process until it is freed. After that it is refused,
/// until the buffer has come back as often as hp_vdi_handle_reuses says.
///
/// # Safety
///
/// `set` points to a set, `handle` to a place for a number, or they are null.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hp_vdi_get_buffer_handle(
    set: *const hp_vdi,
    buffer: *const c_void,
    handle: *mut u32,
) -> u32 {
    // SAFETY: the caller says so.
    let set = unsafe { set_of(set) };
    let known = set.and_then(|set| set.handle(buffer.cast()).map_err(Failure::Share));
    // SAFETY: the caller says so.
    done(known.and_then(|known| unsafe { put(handle, known.raw(), "handle") }))
}

/// As hp_vdi_get_buffer_handle, for a pool that is shared (hp_builder_shared).
///
/// # Safety
///
/// `pool` points to a pool, `handle` to a place for a number, or they are null.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hp_pool_get_buffer_handle(
    pool: *const hp_pool,
    buffer: *const c_void,
    handle: *mut u32,
) -> u32 {
    // SAFETY: the caller says so.
    let pool = unsafe { object(pool, "pool") };
    let known = pool.and_then(|pool| pool.0.handle(buffer.cast()).map_err(Failure::Share));
    // SAFETY: the caller says so.
    done(known.and_then(|known| unsafe { put(handle, known.raw(), "handle") }))
}

/// MapBufferHandle for the server: the buffer that `handle` names, which a client may have
/// sent. The caller sets `view->size` before; the rest of
/// `*view` is zero if it fails: HP_VD_E_INVALID for a handle that is stale or
/// forged.
///
/// # Safety
///
/// `set` points to a set, `view` to a place for the result, or they are null.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hp_vdi_view(set: *const hp_vdi, handle: u32, view: *mut hp_view) -> u32 {
    // SAFETY: the caller says so.
    let set = unsafe { set_of(set) };
    let found = set.and_then(|set| {
        let found = set.view(Handle::from_raw(handle));
        found.map_err(Failure::Share)
    });
    // SAFETY: the caller says so.
    done(unsafe { put_view(view, found) })
}

/// As hp_vdi_view, for a pool that is shared (hp_builder_shared).
///
/// # Safety
///
/// `pool` points to a pool, `view` to a place for the result, or they are null.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hp_pool_view(
    pool: *const hp_pool,
    handle: u32,
    view: *mut hp_view,
) -> u32 {
    // SAFETY: the caller says so.
    let pool = unsafe { object(pool, "pool") };
    let found = pool.and_then(|pool| {
        let found = pool.0.view(Handle::from_raw(handle));
        found.map_err(Failure::Share)
    });
    // SAFETY: the caller says so.
    done(unsafe { put_view(view, found) })
}
