//! Who may be at the other end, and strings.
//!
//! Owns: their checks. Uses: `call`, the library. Used by: `publish`, `client`.

use crate::call::{Failure, is_good, object};
use ::pool::share::{Name, Peers};
use std::ffi::{CStr, c_char};

/// Who may be at the other end of a connection, besides this process's own user. All zero:
/// nobody else. A user or group that this process's user namespace does not have appears as
/// 65534, and is nobody's, unless it is in the same user namespace.
#[repr(C)]
pub struct hp_peers {
    /// An array of user ids.
    pub users: *const u32,
    /// How many those are, 65536 at most. With 0 `users` may be null.
    pub user_count: usize,
    /// An array of group ids: their members may be, by supplementary membership, too.
    pub groups: *const u32,
    /// How many those are, 65536 at most. With 0 `groups` may be null.
    pub group_count: usize,
}

/// What `who` says; this process's own user if it is null.
///
/// # Safety
///
/// `who` points to what its type says, or is null.
pub unsafe fn peers(who: *const hp_peers) -> Result<Peers, Failure> {
    if who.is_null() {
        return Ok(Peers::default());
    }
    // SAFETY: the caller says so.
    let who = unsafe { object(who, "who") }?;
    // SAFETY: the caller says so.
    let users = unsafe { numbers(who.users, who.user_count, "users") }?;
    // SAFETY: the caller says so.
    let groups = unsafe { numbers(who.groups, who.group_count, "groups") }?;
    let peers = (users.iter()).fold(Peers::default(), |peers, &user| peers.user(user));
    Ok((groups.iter()).fold(peers, |peers, &group| peers.group(group)))
}

/// Bytes of heap that it takes to note whom `who` names: lists that grow to twice what they
/// hold.
///
/// # Safety
///
/// As for `peers`.
pub unsafe fn heap_of(who: *const hp_peers) -> usize {
    if !is_good(who) {
        return 0;
    }
    // SAFETY: the caller says so.
    let who = unsafe { &*who };
    4 * size_of::<u32>() * (who.user_count.min(MOST) + who.group_count.min(MOST))
}

/// The most users, groups, or other numbers of a list.
const MOST: usize = 1 << 16;

/// The numbers of a list of the caller's, which `name` is.
///
/// # Safety
///
/// `start` points to `count` numbers, or is null.
pub unsafe fn numbers<'a>(
    start: *const u32,
    count: usize,
    name: &'static str,
) -> Result<&'a [u32], Failure> {
    if count == 0 {
        return Ok(&[]);
    }
    if count > MOST {
        let (given, limit) = (u32::try_from(count).unwrap_or(u32::MAX), MOST as u32 + 1);
        return Err(Failure::Number { name, given, limit });
    }
    // SAFETY: the caller says so.
    unsafe { object(start, name) }?;
    // SAFETY: the caller says so.
    Ok(unsafe { std::slice::from_raw_parts(start, count) })
}

/// The name of a set, or a pool, in an instance; and how much heap its spelling needs.
///
/// # Safety
///
/// Both are strings that end with a zero byte, or null.
pub unsafe fn name_of<'a>(
    instance: *const c_char,
    name: *const c_char,
) -> Result<(Name<'a>, usize), Failure> {
    let instance = match instance.is_null() {
        true => "",
        // SAFETY: the caller says so.
        false => unsafe { text(instance) }?,
    };
    // SAFETY: the caller says so.
    let name = unsafe { text(name) }?;
    // Each byte is three at most, and there may be a copy.
    let heap = (instance.len().saturating_add(name.len())).saturating_mul(8);
    Ok((Name::of_instance(instance, name), heap))
}

/// A name.
///
/// # Safety
///
/// `name` is a string that ends with a zero byte, or null.
pub unsafe fn text<'a>(name: *const c_char) -> Result<&'a str, Failure> {
    if name.is_null() {
        return Err(Failure::Pointer("name"));
    }
    // SAFETY: the caller says so.
    let name = unsafe { CStr::from_ptr(name) };
    name.to_str().map_err(|_| Failure::Text("name"))
}
