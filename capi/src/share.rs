//! A set's clients.
//!
//! Owns: their calls in C. Uses: `error`, `vdi`, the library. Used by: C and C++ programs.

use crate::error::{Failure, done, object, put, release};
use crate::vdi::hp_vdi;
use ::pool::share::{Client, Handle, Peers, Publication};
use std::ffi::{CStr, c_char, c_void};
use std::ptr::null_mut;

/// A client: another process's set, mapped into this one.
pub struct hp_client(Client);

/// A name by which clients open a set.
pub struct hp_publication {
    /// Ends the name when it is dropped.
    _publication: Publication,
}

/// Who may be at the other end, besides this process's own user.
///
/// # Safety
///
/// `users` points to as many numbers as `count` says, or that is 0.
unsafe fn peers(users: *const u32, count: usize) -> Result<Peers, Failure> {
    if count == 0 {
        return Ok(Peers::default());
    }
    // SAFETY: the caller says so.
    unsafe { object(users, "users") }?;
    // SAFETY: the caller says so.
    let users = unsafe { std::slice::from_raw_parts(users, count) };
    Ok((users.iter()).fold(Peers::default(), |peers, &user| peers.user(user)))
}

/// A name.
///
/// # Safety
///
/// `name` is a string that ends with a zero byte, or null.
unsafe fn text<'a>(name: *const c_char) -> Result<&'a str, Failure> {
    if name.is_null() {
        return Err(Failure::Pointer("name"));
    }
    // SAFETY: the caller says so.
    let name = unsafe { CStr::from_ptr(name) };
    name.to_str().map_err(|_| Failure::Text("name"))
}

/// Lets processes of this one's user, and of the `count` users at `users`, open the set by
/// `name` until hp_publication_release. The buffers must be mapped. `*publication` is null
/// if it fails.
///
/// # Safety
///
/// `set` points to a set, `name` to a string, `publication` to a place for a pointer, or
/// they are null; `users` points to `count` numbers.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hp_vdi_publish(
    set: *const hp_vdi,
    name: *const c_char,
    users: *const u32,
    count: usize,
    publication: *mut *mut hp_publication,
) -> u32 {
    let publish = || {
        // SAFETY: the caller says so.
        unsafe { put(publication, null_mut(), "publication") }?;
        // SAFETY: the caller says so.
        let (set, name) = unsafe { (object(set, "set")?, text(name)?) };
        // SAFETY: the caller says so.
        let peers = unsafe { peers(users, count) }?;
        let published = set.set().publish(name, peers).map_err(Failure::Share)?;
        let published = Box::into_raw(Box::new(hp_publication {
            _publication: published,
        }));
        // SAFETY: the caller says so.
        unsafe { put(publication, published, "publication") }
    };
    done(publish())
}

/// Ends a name. Clients keep what they have mapped. Null is nothing.
///
/// # Safety
///
/// `publication` came from hp_vdi_publish, and is not used after this.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hp_publication_release(publication: *mut hp_publication) {
    // SAFETY: the caller says so.
    unsafe { release(publication) };
}

/// The handle by which clients know the buffer at `buffer`, which the set allocated: a
/// number that names it in every process until it is freed.
///
/// # Safety
///
/// `set` points to a set, `handle` to a place for a number, or they are null.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hp_vdi_get_buffer_handle(
    set: *const hp_vdi,
    buffer: *const c_void,
    handle: *mut u32,
) -> u32 {
    // SAFETY: the caller says so.
    let set = unsafe { object(set, "set") };
    let known = set.and_then(|set| set.set().handle(buffer.cast()).map_err(Failure::Share));
    // SAFETY: the caller says so.
    done(known.and_then(|known| unsafe { put(handle, known.raw(), "handle") }))
}

/// Opens the set that a server has published by `name`. The server must be of this
/// process's user, or one of the `count` at `users`. `*client` is null if it fails.
///
/// # Safety
///
/// `name` points to a string, `client` to a place for a pointer, or they are null; `users`
/// points to `count` numbers.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hp_client_open(
    name: *const c_char,
    users: *const u32,
    count: usize,
    client: *mut *mut hp_client,
) -> u32 {
    let open = || {
        // SAFETY: the caller says so.
        unsafe { put(client, null_mut(), "client") }?;
        // SAFETY: the caller says so.
        let (name, peers) = unsafe { (text(name)?, peers(users, count)?) };
        let opened = Client::open(name, &peers).map_err(Failure::Share)?;
        let opened = Box::into_raw(Box::new(hp_client(opened)));
        // SAFETY: the caller says so.
        unsafe { put(client, opened, "client") }
    };
    done(open())
}

/// Unmaps a set. Null is nothing.
///
/// # Safety
///
/// `client` came from hp_client_open, and neither it nor a buffer of it is used after
/// this.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hp_client_release(client: *mut hp_client) {
    // SAFETY: the caller says so.
    unsafe { release(client) };
}

/// Maps what the server has added. One thread at a time.
///
/// # Safety
///
/// `client` points to a client, or is null.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hp_client_refresh(client: *const hp_client) -> u32 {
    // SAFETY: the caller says so.
    let client = unsafe { object(client, "client") };
    done(client.and_then(|client| client.0.refresh().map(drop).map_err(Failure::Share)))
}

/// GetBufferHandle: the handle of the buffer that starts at `buffer` in this process.
///
/// # Safety
///
/// `client` points to a client, `handle` to a place for a number, or they are null.
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
/// null if it fails: HP_VD_E_INVALID for a handle that is stale or forged.
///
/// # Safety
///
/// `client` points to a client, `buffer` to a place for a pointer, or they are null.
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
