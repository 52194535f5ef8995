//! What a server gives its clients.
//!
//! Owns: publications and exports in C. Uses: `call`, `heap`, `peers`, `pool`, `sized`, `vdi`,
//! the library. Used
//! by: C and C++ programs.

use crate::call::{Failure, done, object, put, release};
use crate::heap::{SMALL, leased, unrefused};
use crate::peers::{heap_of, hp_peers, name_of, peers};
use crate::pool::{hp_pool, leased_for};
use crate::sized::{HasSize, Place};
use crate::vdi::{hp_vdi, leased_for_set, set_of, shared_set};
use ::pool::share::{Export, Layout, Publication};
use std::ffi::{c_char, c_int};
use std::os::fd::IntoRawFd;
use std::ptr::null_mut;

/// Bytes of the layout in hp_export.
pub const HP_LAYOUT_BYTES: usize = 104;

const _: () = assert!(HP_LAYOUT_BYTES == Layout::BYTES);

/// A name by which clients open a set, or a pool, and the thread that answers them.
pub struct hp_publication {
    /// Ends the name when it is dropped.
    _publication: Publication,
}

/// What a client needs to map some of the buffers. The descriptors go to it over a channel
/// of the program's own (SCM_RIGHTS), and the layout as it is.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct hp_export {
    /// Set by the caller in the first element of the array to sizeof(hp_export), for all of
    /// them; the call sets it in each to the number of bytes that it wrote, which is less if
    /// the library is older than the header.
    pub size: usize,
    /// Where the buffers lie.
    pub layout: [u8; HP_LAYOUT_BYTES],
    /// A descriptor of their memory.
    pub memory: c_int,
    /// A descriptor of their states.
    pub states: c_int,
    /// A descriptor by which the client sees whether the set, or the pool, is still there.
    pub status: c_int,
}

// SAFETY: whole words: the layout is a multiple of one, and the descriptors, with
// what fills up the last, are another.
unsafe impl HasSize for hp_export {
    // Nobody could close a descriptor that was not written.
    const LEAST: usize = size_of::<Self>();

    fn size(&mut self) -> &mut usize {
        &mut self.size
    }
}

const _: () = assert!(size_of::<hp_export>() == size_of::<usize>() + HP_LAYOUT_BYTES + 16);

/// Bytes of heap for a publication.
const PUBLICATION: usize = 4 * SMALL;

/// Lets clients open the set by `name` in `instance` (null or empty: the default one) until
/// hp_publication_release. Both are UTF-8, ended by a zero byte, of any length, with any
/// characters; no two are taken for each other. `name` is not empty. `who` says whose clients: with null those of this process's own
/// user alone. Before the buffers are mapped clients get HP_VD_E_PROTOCOL, after Close
/// HP_VD_E_CLOSE.
/// `*publication` is null if it fails: HP_VD_E_OPEN if the name is taken, HP_VD_E_INVALID if
/// it cannot be a name, HP_VD_E_UNEXPECTED if the system has no thread or descriptor for it.
/// Starts two threads that block all signals, and takes one descriptor, however many clients
/// there are. Needs Linux 5.9. Allocates.
///
/// # Safety
///
/// `set` points to a set, `instance` and `name` to strings, `who` to what its type says, `publication`
/// to a place for a pointer, or they are null.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hp_vdi_publish(
    set: *const hp_vdi,
    instance: *const c_char,
    name: *const c_char,
    who: *const hp_peers,
    publication: *mut *mut hp_publication,
) -> u32 {
    let publish = || {
        // SAFETY: the caller says so.
        unsafe { put(publication, null_mut(), "publication") }?;
        // SAFETY: the caller says so.
        let (set, (name, spelled), more) =
            unsafe { (shared_set(set)?, name_of(instance, name)?, heap_of(who)) };
        leased(PUBLICATION + more + spelled, || {
            // SAFETY: the caller says so.
            let peers = unsafe { peers(who) }?;
            let published = set.publish(name, peers).map_err(Failure::Share)?;
            // SAFETY: the caller says so.
            unsafe { give(publication, published) }
        })
    };
    done(publish())
}

/// As hp_vdi_publish, for a pool that is shared (hp_builder_shared); HP_VD_E_PROTOCOL for
/// one that is not. It keeps the pool's memory.
///
/// # Safety
///
/// As hp_vdi_publish.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hp_pool_publish(
    pool: *const hp_pool,
    instance: *const c_char,
    name: *const c_char,
    who: *const hp_peers,
    publication: *mut *mut hp_publication,
) -> u32 {
    let publish = || {
        // SAFETY: the caller says so.
        unsafe { put(publication, null_mut(), "publication") }?;
        // SAFETY: the caller says so.
        let (pool, (name, spelled), more) = unsafe {
            (
                object(pool, "pool")?,
                name_of(instance, name)?,
                heap_of(who),
            )
        };
        leased(PUBLICATION + more + spelled, || {
            // SAFETY: the caller says so.
            let peers = unsafe { peers(who) }?;
            let published = pool.0.publish(name, peers).map_err(Failure::Share)?;
            // SAFETY: the caller says so.
            unsafe { give(publication, published) }
        })
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

/// Ends a publication: nobody opens anything by its name any more; clients keep what they
/// have mapped, and map nothing new. It must not be used after this. Waits for its threads to end. Null is nothing.
///
/// # Safety
///
/// `publication` came from hp_vdi_publish or hp_pool_publish, and is not used after this.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hp_publication_release(publication: *mut hp_publication) {
    // SAFETY: the caller says so.
    unrefused(|| unsafe { release(publication) });
}

/// Writes what clients need to map the set's buffers to `exports`, an array of `room` elements,
/// as many as it has room for, and to `*count` how many there are, which may be more. After
/// hp_vdi_request_buffers there are more of them. The caller sets `exports[0].size` before,
/// and closes the descriptors. With `room` 0 `exports` may be null. HP_VD_E_PROTOCOL before
/// the buffers are mapped, HP_VD_E_CLOSE after Close. Allocates.
///
/// # Safety
///
/// `set` points to a set, `exports` to `room` places, `count` to a place for a number, or
/// they are null (`exports` if `room` is 0).
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hp_vdi_exports(
    set: *const hp_vdi,
    exports: *mut hp_export,
    room: usize,
    count: *mut usize,
) -> u32 {
    // SAFETY: the caller says so.
    let set = unsafe { set_of(set) };
    done(set.and_then(|set| {
        leased_for_set(set, 0, || {
            let all = set.exports().map_err(Failure::Share)?;
            // SAFETY: the caller says so.
            unsafe { write(all, exports, room, count) }
        })
    }))
}

/// As hp_vdi_exports, for a pool that is shared (hp_builder_shared).
///
/// # Safety
///
/// As hp_vdi_exports.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hp_pool_exports(
    pool: *const hp_pool,
    exports: *mut hp_export,
    room: usize,
    count: *mut usize,
) -> u32 {
    // SAFETY: the caller says so.
    let pool = unsafe { object(pool, "pool") };
    done(pool.and_then(|pool| {
        leased_for(&pool.0, 0, || {
            let all = pool.0.exports().map_err(Failure::Share)?;
            // SAFETY: the caller says so.
            unsafe { write(all, exports, room, count) }
        })
    }))
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
    let place = match room {
        0 => None,
        // SAFETY: the caller says so.
        _ => Some(unsafe { Place::elements(exports, "exports") }?),
    };
    // SAFETY: the caller says so.
    unsafe { put(count, all.len(), "count") }?;
    let Some(place) = place else { return Ok(()) };
    for (at, export) in all.into_iter().take(room).enumerate() {
        let export = hp_export {
            size: 0,
            layout: export.layout.to_bytes(),
            memory: export.memory.into_raw_fd(),
            states: export.states.into_raw_fd(),
            status: export.status.into_raw_fd(),
        };
        place.put_at(at, export);
    }
    Ok(())
}
