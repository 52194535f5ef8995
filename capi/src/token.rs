//! What ends some waits.
//!
//! Owns: tokens, and their calls in C. Uses: `call`, `heap`, `pool`, the library. Used by: C and
//! C++ programs, `wait`.

use crate::call::{Failure, done, object, put, release};
use crate::heap::{SMALL, leased, unrefused};
use crate::pool::hp_pool;
use ::pool::CancelToken;
use std::ptr::null_mut;

/// Ends some waits of a pool, while others go on. Any number of waits may be given the same
/// token, one after another or at the same time.
pub struct hp_token(pub(crate) CancelToken);

/// Makes a token for waits of `pool`; it ends with hp_token_release. `*token` is null if it
/// fails. It keeps the pool's memory until it is released. Allocates; never blocks.
///
/// # Safety
///
/// `pool` points to a pool, `token` to a place for a pointer, or they are null.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hp_token_new(pool: *const hp_pool, token: *mut *mut hp_token) -> u32 {
    // SAFETY: the caller says so.
    let (pool, clear) = unsafe { (object(pool, "pool"), put(token, null_mut(), "token")) };
    done(pool.and_then(|pool| {
        clear?;
        let made = leased(SMALL, || {
            Ok(Box::into_raw(Box::new(hp_token(pool.0.cancel_token()))))
        })?;
        // SAFETY: the caller says so.
        unsafe { put(token, made, "token") }
    }))
}

/// Ends every wait that was given this token with HP_E_CANCELLED, and every one that will be:
/// such a wait takes a buffer if one is free, and ends at once otherwise. A wait that has got
/// its buffer keeps it. There is no way back. Never blocks; allocates nothing.
///
/// # Safety
///
/// `token` points to a token, or is null.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hp_token_cancel(token: *const hp_token) -> u32 {
    // SAFETY: the caller says so.
    let token = unsafe { object(token, "token") };
    done(token.map(|token| token.0.cancel()))
}

/// Returns true if hp_token_cancel was called; false if not, or if `token` is null. Never
/// blocks.
///
/// # Safety
///
/// `token` points to a token, or is null.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hp_token_is_cancelled(token: *const hp_token) -> bool {
    // SAFETY: the caller says so.
    let token: Result<&hp_token, Failure> = unsafe { object(token, "token") };
    token.is_ok_and(|token| token.0.is_cancelled())
}

/// Releases a token. No wait may have it at that time, and it must not be used after this.
/// Null is nothing.
///
/// # Safety
///
/// `token` came from hp_token_new, and is not used after this.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hp_token_release(token: *mut hp_token) {
    // SAFETY: the caller says so.
    unrefused(|| unsafe { release(token) });
}
