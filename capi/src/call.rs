//! What every call does: looks at its arguments, and says how it ended.
//!
//! Owns: the checks of pointers, and the text of the last failure. Uses: `error`,
//! `thread`. Used by: every call.

use crate::thread;
use std::ffi::c_char;
use std::fmt::{self, Write};
use std::time::Duration;

pub use crate::error::{Failure, HP_NOERROR, HP_PENDING};

/// Keeps what went wrong for `hp_last_error`, and gives its code. Allocates nothing.
#[cold]
pub fn failed(failure: &Failure) -> u32 {
    thread::own().last.keep(*failure);
    failure.code()
}

/// The code of a call that gives nothing else.
pub fn done(result: Result<(), Failure>) -> u32 {
    match result {
        Ok(()) => HP_NOERROR,
        Err(failure) => failed(&failure),
    }
}

/// A text that is written where a caller wants it, as far as there is room, and counted.
struct Text {
    place: *mut u8,
    /// Bytes that there are for it, without the zero byte at its end.
    room: usize,
    /// Bytes that it has.
    len: usize,
}

impl fmt::Write for Text {
    fn write_str(&mut self, more: &str) -> fmt::Result {
        let fits = more.len().min(self.room.saturating_sub(self.len));
        if fits > 0 {
            // SAFETY: `room` bytes may be written from `place` on (`hp_last_error`), and
            // `len + fits` is no more; the two do not overlap.
            unsafe {
                let to = self.place.add(self.len);
                to.copy_from_nonoverlapping(more.as_ptr(), fits);
            }
        }
        self.len += more.len();
        Ok(())
    }
}

/// Writes what the calling thread's last failed call said to `text`, `size` bytes at most,
/// the zero byte at its end included: what does not fit is cut off. Returns the length of
/// the whole text in bytes, without the zero byte. With `size` 0 `text` may be null. A call
/// that succeeds changes nothing. Before the first failure, and if a signal handler calls
/// this while the interrupted code is in the middle of a call that fails, the text is empty.
/// A failure in a signal handler replaces the text of the thread that it interrupts; one that
/// comes while another is noted, or read, is not noted itself. Never blocks; allocates
/// nothing.
///
/// # Safety
///
/// `text` is `size` bytes that may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hp_last_error(text: *mut c_char, size: usize) -> usize {
    let is_room = !text.is_null() && size > 0;
    let mut written = Text {
        place: text.cast(),
        room: if is_room { size - 1 } else { 0 },
        len: 0,
    };
    if let Some(failure) = thread::own().last.get() {
        // It never fails.
        let _ = write!(written, "{failure}");
    }
    if is_room {
        // SAFETY: the caller says so; no more than `size - 1` bytes are before it.
        unsafe { text.add(written.len.min(written.room)).write(0) };
    }
    written.len
}

/// Returns the code of the failure that hp_last_error tells: that which the call returned, but
/// where hp_vdi_free_buffer returned HP_VD_E_INVALID the one of HP_E_* that hp_pool_free has
/// for it. HP_NOERROR where that text is empty. Never blocks; allocates nothing.
#[must_use]
#[unsafe(no_mangle)]
pub extern "C" fn hp_last_code() -> u32 {
    (thread::own().last.get()).map_or(HP_NOERROR, |failure| failure.reason())
}

/// A reference to what `pointer` points to.
///
/// # Safety
///
/// Not null and aligned, it points to a `T` that lives for `'a` and is not written
/// meanwhile.
pub unsafe fn object<'a, T>(pointer: *const T, name: &'static str) -> Result<&'a T, Failure> {
    if pointer.is_null() || !pointer.is_aligned() {
        return Err(Failure::Pointer(name));
    }
    // SAFETY: the caller says so.
    Ok(unsafe { &*pointer })
}

/// Whether there is an object at `pointer`, as far as can be told.
#[inline(always)]
pub fn is_good<T>(pointer: *const T) -> bool {
    !pointer.is_null() && pointer.is_aligned()
}

/// Where a result goes.
///
/// # Safety
///
/// Not null and aligned, a `T` may be written there.
pub unsafe fn put<T>(place: *mut T, value: T, name: &'static str) -> Result<(), Failure> {
    if place.is_null() || !place.is_aligned() {
        return Err(Failure::Pointer(name));
    }
    // SAFETY: the caller says so.
    unsafe { place.write(value) };
    Ok(())
}

/// The object behind `pointer`, which nobody uses any more; none for null.
///
/// # Safety
///
/// It came from a box, and is released once.
pub unsafe fn release<T>(pointer: *mut T) {
    if !pointer.is_null() && pointer.is_aligned() {
        // SAFETY: the caller says so.
        drop(unsafe { Box::from_raw(pointer) });
    }
}

/// A time limit that is given in milliseconds.
pub fn limit(milliseconds: u32) -> Duration {
    match milliseconds {
        u32::MAX => Duration::MAX,
        limit => Duration::from_millis(limit.into()),
    }
}
