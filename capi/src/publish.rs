//! What a server gives its clients.
//!
//! Owns: publications and exports in C. Uses: `error`, `pool`, `vdi`, the library. Used
//! by: C and C++ programs.

use crate::error::{Failure, done, object, put, release};
use crate::peers::{hp_peers, peers, text};
use crate::pool::hp_pool;
use crate::vdi::{hp_vdi, set_of, shared_set};
use ::pool::share::{Export, Layout, Publication};
use std::ffi::{c_char, c_int};
use std::os::fd::IntoRawFd;
use std::ptr::null_mut;

/// Bytes of a layout.
pub const HP_LAYOUT_BYTES: usize = 104;

const _: () = assert!(HP_LAYOUT_BYTES == Layout::BYTES);

/// A name by which clients open a set, or a pool.
pub struct hp_publication {
    /// Ends the name when it is dropped.
    _publication: Publication,
}

/// What a client needs to map some of the buffers. The descriptors go to it over a channel
/// of the program's own (SCM_RIGHTS), and the layout as it is.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct hp_export {
    /// Where the buffers lie.
    pub layout: [u8; HP_LAYOUT_BYTES],
    /// A descriptor of their memory.
    pub memory: c_int,
    /// A descriptor of their states.
    pub states: c_int,
    /// A descriptor by which the client sees whether the set, or the pool, is still there.
    pub status: c_int,
}

/// Lets clients open the set by `name` until hp_publication_release; `who` says whom: this
/// process's own user, by default. Before the buffers are mapped they are told
/// HP_VD_E_PROTOCOL, after Close HP_VD_E_CLOSE. `*publication` is null if it fails:
/// HP_VD_E_OPEN if the name is taken. Starts two threads, and takes one descriptor, however
/// many clients there are. Needs Linux 5.9.
///
/// # Safety
///
/// `set` points to a set, `name` to a string, `who` to what its type says, `publication`
/// to a place for a pointer, or they are null.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hp_vdi_publish(
    set: *const hp_vdi,
    name: *const c_char,
    who: *const hp_peers,
    publication: *mut *mut hp_publication,
) -> u32 {
    let publish = || {
        // SAFETY: the caller says so.
        unsafe { put(publication, null_mut(), "publication") }?;
        // SAFETY: the caller says so.
        let (set, name, peers) = unsafe { (shared_set(set)?, text(name)?, peers(who)?) };
        let published = set.publish(name, peers).map_err(Failure::Share)?;
        // SAFETY: the caller says so.
        unsafe { give(publication, published) }
    };
    done(publish())
}

/// As hp_vdi_publish, for a pool that is shared. The publication keeps the pool.
///
/// # Safety
///
/// As hp_vdi_publish.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hp_pool_publish(
    pool: *const hp_pool,
    name: *const c_char,
    who: *const hp_peers,
    publication: *mut *mut hp_publication,
) -> u32 {
    let publish = || {
        // SAFETY: the caller says so.
        unsafe { put(publication, null_mut(), "publication") }?;
        // SAFETY: the caller says so.
        let (pool, name, peers) = unsafe { (object(pool, "pool")?, text(name)?, peers(who)?) };
        let published = pool.0.publish(name, peers).map_err(Failure::Share)?;
        // SAFETY: the caller says so.
        unsafe { give(publication, published) }
    };
    done(publish())
}

/// # Safety
///
/// `place` is a place for a pointer.
unsafe fn give(place: *mut *mut hp_publication, published: Publication) -> Result<(), Failure> {
    let published = Box::into_raw(Box::new(hp_publication {
        _publication: published,
    }));
    // SAFETY: the caller says so.
    unsafe { put(place, published, "publication") }
}

/// Ends a name. Clients that have opened it keep what they have mapped, and map nothing new.
/// Null is nothing.
///
/// # Safety
///
/// `publication` came from hp_vdi_publish or hp_pool_publish, and is not used after this.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hp_publication_release(publication: *mut hp_publication) {
    // SAFETY: the caller says so.
    unsafe { release(publication) };
}

/// Exports of the set's buffers, for a channel of the program's own: writes as many as
/// there is `room` for, and to `*count` how many there are. After hp_vdi_request_buffers
/// there are more. The descriptors are the caller's to close.
///
/// # Safety
///
/// `set` points to a set, `exports` to `room` places, `count` to a place for a number, or
/// they are null (`exports` if `room` is 0).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hp_vdi_exports(
    set: *const hp_vdi,
    exports: *mut hp_export,
    room: usize,
    count: *mut usize,
) -> u32 {
    // SAFETY: the caller says so.
    let set = unsafe { set_of(set) };
    let all = set.and_then(|set| set.exports().map_err(Failure::Share));
    // SAFETY: the caller says so.
    done(all.and_then(|all| unsafe { write(all, exports, room, count) }))
}

/// As hp_vdi_exports, for a pool that is shared.
///
/// # Safety
///
/// As hp_vdi_exports.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hp_pool_exports(
    pool: *const hp_pool,
    exports: *mut hp_export,
    room: usize,
    count: *mut usize,
) -> u32 {
    // SAFETY: the caller says so.
    let pool = unsafe { object(pool, "pool") };
    let all = pool.and_then(|pool| pool.0.exports().map_err(Failure::Share));
    // SAFETY: the caller says so.
    done(all.and_then(|all| unsafe { write(all, exports, room, count) }))
}

/// # Safety
///
/// `exports` points to `room` places, `count` to one, or they are null.
unsafe fn write(
    all: Vec<Export>,
    exports: *mut hp_export,
    room: usize,
    count: *mut usize,
) -> Result<(), Failure> {
    if room > 0 && (exports.is_null() || !exports.is_aligned()) {
        return Err(Failure::Pointer("exports"));
    }
    // SAFETY: the caller says so.
    unsafe { put(count, all.len(), "count") }?;
    for (at, export) in all.into_iter().take(room).enumerate() {
        let export = hp_export {
            layout: export.layout.to_bytes(),
            memory: export.memory.into_raw_fd(),
            states: export.states.into_raw_fd(),
            status: export.status.into_raw_fd(),
        };
        // SAFETY: below `room`; the caller says so.
        unsafe { exports.add(at).write(export) };
    }
    Ok(())
}
