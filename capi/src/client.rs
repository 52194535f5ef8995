//! A set's client.
//!
//! Owns: its calls in C. Uses: `call`, `handle`, `heap`, `peers`, `vdi`, the library. Used by:
//! C and C++ programs.

use crate::call::{Failure, done, limit, object, put, release};
use crate::handle::{hp_view, put_view};
use crate::heap::{SMALL, leased, unrefused};
use crate::peers::{heap_of, hp_peers, name_of, peers};
use crate::vdi::{hp_vd_config, put_config};
use ::pool::share::{Client, Export, Handle, Layout, ShareError};
use std::ffi::{c_char, c_int, c_void};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::ptr::null_mut;

/// A client: another process's set, or pool, mapped into this one.
pub struct hp_client(pub Client);

/// Bytes of heap that a client needs to map what it is offered: an entry for each segment, in
/// lists that grow to twice what they hold. A pool has 1 TiB of address space, and a segment
/// 2 MiB of it at least.
const SEGMENTS: usize = 16 << 20;

/// Makes a client that has opened nothing; it ends with hp_client_release. `*client` is null
/// if it fails. Allocates.
///
/// # Safety
///
/// `client` is a place for a pointer, or null.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hp_client_new(client: *mut *mut hp_client) -> u32 {
    // SAFETY: the caller says so.
    done(unsafe { put(client, null_mut(), "client") }.and_then(|()| {
        let made = leased(SMALL, || {
            Ok(Box::into_raw(Box::new(hp_client(Client::new()))))
        })?;
        // SAFETY: as above.
        unsafe { put(client, made, "client") }
    }))
}

/// OpenInSecondary: maps the set, or the pool, that a server has published by `name` in
/// `instance` (null or empty: the default one); both as for hp_vdi_publish. `who` says who the server may be: of this process's own user, by default. Waits for the
/// server, 10 s at most. Needs Linux 5.9.
///
/// HP_VD_E_PROTOCOL if nobody has that name, if the client has opened something already,
/// or if the set has no buffers yet; HP_VD_E_ABORT if it was aborted, HP_VD_E_CLOSE if it
/// was closed; HP_VD_E_SECURITY if one of the two does not want the other; HP_VD_E_TIMEOUT;
/// HP_VD_E_BUSY if the server hung up.
///
/// # Safety
///
/// `client` points to a client, `instance` and `name` to strings, `who` to what its type says, or they
/// are null.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hp_client_open_in_secondary(
    client: *const hp_client,
    instance: *const c_char,
    name: *const c_char,
    who: *const hp_peers,
) -> u32 {
    // SAFETY: as there.
    unsafe { hp_client_open_in_secondary_timeout(client, instance, name, who, 10_000) }
}

/// As hp_client_open_in_secondary, and waits `milliseconds` (0xffffffff: without end) at most,
/// whatever the server does: then HP_VD_E_TIMEOUT.
///
/// # Safety
///
/// As hp_client_open_in_secondary.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hp_client_open_in_secondary_timeout(
    client: *const hp_client,
    instance: *const c_char,
    name: *const c_char,
    who: *const hp_peers,
    milliseconds: u32,
) -> u32 {
    let open = || {
        // SAFETY: the caller says so.
        let (client, (name, spelled), more) = unsafe {
            (
                object(client, "client")?,
                name_of(instance, name)?,
                heap_of(who),
            )
        };
        leased(SEGMENTS + 2 * more + spelled, || {
            // SAFETY: the caller says so.
            let peers = unsafe { peers(who) }?;
            let opened = (client.0).open_in_secondary_timeout(name, &peers, limit(milliseconds));
            opened.map_err(Failure::Share)
        })
    };
    done(open())
}

/// Close: unmaps everything. The client can open something again. HP_VD_E_PROTOCOL if it has
/// opened nothing.
///
/// # Safety
///
/// `client` points to a client, or is null. Nobody else uses it, or a buffer of it, meanwhile,
/// nor a buffer of it after this.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hp_client_close(client: *mut hp_client) -> u32 {
    let close = || {
        // SAFETY: the caller says so.
        unsafe { object(client, "client") }?;
        // SAFETY: as above, and nobody else uses it.
        let client = unsafe { &mut *client };
        unrefused(|| client.0.close().map_err(Failure::Share))
    };
    done(close())
}

/// GetConfiguration: what the set that the client has opened by name is configured with.
/// Waits for the server, `milliseconds` (0xffffffff: without end) at most.
///
/// # Safety
///
/// `client` points to a client, `config` to a place for the configuration, or they are null.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hp_client_get_configuration(
    client: *const hp_client,
    milliseconds: u32,
    config: *mut hp_vd_config,
) -> u32 {
    // SAFETY: the caller says so.
    let client = unsafe { object(client, "client") };
    done(client.and_then(|client| {
        let known = leased(4 * SMALL, || {
            let known = client.0.configuration(limit(milliseconds));
            known.map_err(Failure::Share)
        })?;
        // SAFETY: the caller says so.
        unsafe { put_config(config, &known) }
    }))
}

/// GetConfiguration of the set that a server has published by `name` in `instance` (null or
/// empty: the default one), once it is configured, for a client that has opened nothing yet: HP_VD_E_TIMEOUT if that takes longer than
/// `milliseconds` (0xffffffff: without end); HP_VD_E_PROTOCOL if nobody has that name; for the
/// rest as hp_client_open_in_secondary.
///
/// # Safety
///
/// `instance` and `name` point to strings, `who` to what its type says, `config` to a place for the
/// configuration, or they are null.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hp_get_configuration_of(
    instance: *const c_char,
    name: *const c_char,
    who: *const hp_peers,
    milliseconds: u32,
    config: *mut hp_vd_config,
) -> u32 {
    let ask = || {
        // SAFETY: the caller says so.
        let ((name, spelled), more) = unsafe { (name_of(instance, name)?, heap_of(who)) };
        let known = leased(4 * SMALL + 2 * more + spelled, || {
            // SAFETY: the caller says so.
            let peers = unsafe { peers(who) }?;
            let known = Client::configuration_of(name, &peers, limit(milliseconds));
            known.map_err(Failure::Share)
        })?;
        // SAFETY: the caller says so.
        unsafe { put_config(config, &known) }
    };
    done(ask())
}

/// Maps what an hp_export says, which came over a channel of the program's own: its layout,
/// of `bytes` bytes, and its descriptors, which stay the caller's and can be closed after
/// this. Nothing is believed that the descriptors do not bear out.
///
/// # Safety
///
/// `client` points to a client, `layout` to `bytes` bytes, or they are null.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hp_client_attach(
    client: *const hp_client,
    layout: *const u8,
    bytes: usize,
    memory: c_int,
    states: c_int,
    status: c_int,
) -> u32 {
    let attach = || {
        // SAFETY: the caller says so.
        let client = unsafe { object(client, "client") }?;
        if layout.is_null() {
            return Err(Failure::Pointer("layout"));
        }
        if bytes != Layout::BYTES {
            return Err(Failure::Share(ShareError::Truncated {
                given: bytes,
                needed: Layout::BYTES,
            }));
        }
        // SAFETY: the caller says so.
        let layout = unsafe { std::slice::from_raw_parts(layout, bytes) };
        let export = Export {
            layout: Layout::from_bytes(layout).map_err(Failure::Share)?,
            memory: duplicate(memory, "memory")?,
            states: duplicate(states, "states")?,
            status: duplicate(status, "status")?,
        };
        leased(SMALL, || client.0.attach(export).map_err(Failure::Share))
    };
    done(attach())
}

/// A descriptor of our own.
fn duplicate(given: c_int, name: &'static str) -> Result<OwnedFd, Failure> {
    let wrong = Failure::Descriptor { name, given };
    if given < 0 {
        return Err(wrong);
    }
    // SAFETY: not -1, and used for a call that refuses what is not open.
    let borrowed = unsafe { BorrowedFd::borrow_raw(given) };
    borrowed.try_clone_to_owned().map_err(|_| wrong)
}

/// Ends a client and unmaps what it has opened: neither it nor a buffer of it may be used after
/// this. Null is nothing.
///
/// # Safety
///
/// `client` came from hp_client_new, and neither it nor a buffer of it is used after
/// this.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hp_client_release(client: *mut hp_client) {
    // SAFETY: the caller says so.
    unrefused(|| unsafe { release(client) });
}

/// Maps what the server has added. Waits for it, 10 s at most.
///
/// HP_VD_E_ABORT, HP_VD_E_CLOSE if the set was aborted, or closed; HP_VD_E_ABORT, too, if the
/// server was killed; HP_VD_E_INVALID if the name is that of another set, or pool, by now:
/// nothing of that is mapped.
///
/// # Safety
///
/// `client` points to a client, or is null.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hp_client_refresh(client: *const hp_client) -> u32 {
    // SAFETY: the caller says so.
    let client = unsafe { object(client, "client") };
    done(client.and_then(|client| {
        leased(SEGMENTS, || {
            client.0.refresh().map(drop).map_err(Failure::Share)
        })
    }))
}

/// As hp_client_refresh, and waits `milliseconds` (0xffffffff: without end) at most, whatever the
/// server does: then HP_VD_E_TIMEOUT.
///
/// # Safety
///
/// As hp_client_refresh.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hp_client_refresh_timeout(
    client: *const hp_client,
    milliseconds: u32,
) -> u32 {
    // SAFETY: the caller says so.
    let client = unsafe { object(client, "client") };
    done(client.and_then(|client| {
        leased(SEGMENTS, || {
            let added = client.0.refresh_timeout(limit(milliseconds));
            added.map(drop).map_err(Failure::Share)
        })
    }))
}

/// GetBufferHandle: the handle of the buffer that starts at `buffer` in this process.
///
/// # Safety
///
/// `client` points to a client, `handle` to a place for a number, or they are null.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hp_client_get_buffer_handle(
    client: *const hp_client,
    buffer: *const c_void,
    handle: *mut u32,
) -> u32 {
    // SAFETY: the caller says so.
    let client = unsafe { object(client, "client") };
    let known = client.and_then(|client| client.0.handle(buffer.cast()).map_err(Failure::Share));
    // SAFETY: the caller says so.
    done(known.and_then(|known| unsafe { put(handle, known.raw(), "handle") }))
}

/// MapBufferHandle: where the buffer that `handle` names is in this process. `*buffer` is
/// null if it fails: HP_VD_E_INVALID for a handle that is stale or forged; HP_VD_E_ABORT or
/// HP_VD_E_CLOSE once the set was aborted or closed, or the server was killed.
///
/// # Safety
///
/// `client` points to a client, `buffer` to a place for a pointer, or they are null.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hp_client_map_buffer_handle(
    client: *const hp_client,
    handle: u32,
    buffer: *mut *mut c_void,
) -> u32 {
    let map = || {
        // SAFETY: the caller says so.
        unsafe { put(buffer, null_mut(), "buffer") }?;
        // SAFETY: the caller says so.
        let client = unsafe { object(client, "client") }?;
        let view = client
            .0
            .map(Handle::from_raw(handle))
            .map_err(Failure::Share)?;
        // SAFETY: the caller says so.
        unsafe { put(buffer, view.start.as_ptr().cast(), "buffer") }
    };
    done(map())
}

/// As hp_client_map_buffer_handle; also says how large the buffer is. The caller sets
/// `view->size` before; the rest of `*view` is zero if it fails.
///
/// # Safety
///
/// `client` points to a client, `view` to a place for the result, or they are null.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hp_client_view(
    client: *const hp_client,
    handle: u32,
    view: *mut hp_view,
) -> u32 {
    // SAFETY: the caller says so.
    let client = unsafe { object(client, "client") };
    let mapped = client.and_then(|client| {
        let mapped = client.0.map(Handle::from_raw(handle));
        mapped.map_err(Failure::Share)
    });
    // SAFETY: the caller says so.
    done(unsafe { put_view(view, mapped) })
}
