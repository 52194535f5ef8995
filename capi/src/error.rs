//! Codes, and what is said about them.
//!
//! Owns: the last error of each thread. Uses: the library's errors. Used by: every call.

use ::pool::share::ShareError;
use ::pool::vdi::{self, Error};
use ::pool::{AllocError, BuildError, FreeError, OsError, StreamError};
use std::cell::RefCell;
use std::ffi::c_char;
use std::fmt::{self, Display};
use std::time::Duration;

/// The call was carried out.
pub const HP_NOERROR: u32 = 0;
/// Not an error: a wait goes on.
pub const HP_PENDING: u32 = 1;
/// A token ended the wait. (The code that Windows has for what its user cancelled.)
pub const HP_E_CANCELLED: u32 = 0x8007_04c7;
/// The set is not open in this process.
pub const HP_VD_E_NOTOPEN: u32 = 0x8077_0002;
/// Time is up.
pub const HP_VD_E_TIMEOUT: u32 = 0x8077_0003;
/// The set, or the pool, was aborted.
pub const HP_VD_E_ABORT: u32 = 0x8077_0004;
/// The caller may not.
pub const HP_VD_E_SECURITY: u32 = 0x8077_0005;
/// An argument is wrong.
pub const HP_VD_E_INVALID: u32 = 0x8077_0006;
/// There is no such instance.
pub const HP_VD_E_INSTANCE_NAME: u32 = 0x8077_0007;
/// The client's configuration asks for what is not there.
pub const HP_VD_E_NOTSUPPORTED: u32 = 0x8077_0009;
/// There is no memory, or no buffer free: asking for less, or later, may help. (Who lacks
/// rights is told HP_VD_E_SECURITY, who lacks descriptors HP_VD_E_UNEXPECTED.)
pub const HP_VD_E_MEMORY: u32 = 0x8077_000a;
/// Something failed that should not.
pub const HP_VD_E_UNEXPECTED: u32 = 0x8077_000b;
/// The set is in the wrong state for the call.
pub const HP_VD_E_PROTOCOL: u32 = 0x8077_000c;
/// It is open, or all have been opened.
pub const HP_VD_E_OPEN: u32 = 0x8077_000d;
/// It is closed.
pub const HP_VD_E_CLOSE: u32 = 0x8077_000e;
/// Too many wait.
pub const HP_VD_E_BUSY: u32 = 0x8077_000f;

const _: () = {
    assert!(HP_NOERROR == vdi::NOERROR);
    assert!(HP_VD_E_NOTOPEN == vdi::VD_E_NOTOPEN);
    assert!(HP_VD_E_TIMEOUT == vdi::VD_E_TIMEOUT);
    assert!(HP_VD_E_ABORT == vdi::VD_E_ABORT);
    assert!(HP_VD_E_SECURITY == vdi::VD_E_SECURITY);
    assert!(HP_VD_E_INVALID == vdi::VD_E_INVALID);
    assert!(HP_VD_E_INSTANCE_NAME == vdi::VD_E_INSTANCE_NAME);
    assert!(HP_VD_E_NOTSUPPORTED == vdi::VD_E_NOTSUPPORTED);
    assert!(HP_VD_E_MEMORY == vdi::VD_E_MEMORY);
    assert!(HP_VD_E_UNEXPECTED == vdi::VD_E_UNEXPECTED);
    assert!(HP_VD_E_PROTOCOL == vdi::VD_E_PROTOCOL);
    assert!(HP_VD_E_OPEN == vdi::VD_E_OPEN);
    assert!(HP_VD_E_CLOSE == vdi::VD_E_CLOSE);
    assert!(HP_VD_E_BUSY == vdi::VD_E_BUSY);
};

/// Why a call failed.
pub enum Failure {
    /// A pointer is null or not aligned.
    Pointer(&'static str),
    /// The pool refused.
    Alloc(AllocError),
    /// The pool could not be built, or grow.
    Build(BuildError),
    /// The pool did not take a buffer back.
    Free(FreeError),
    /// The stream was not made.
    Stream(StreamError),
    /// The set refused.
    Set(Error),
    /// Something between processes failed.
    Share(ShareError),
    /// This is a child of a fork that does not have the buffers.
    Forked,
    /// A string is not UTF-8.
    Text(&'static str),
    /// A number stands for nothing.
    Number {
        name: &'static str,
        given: u32,
        /// Those below this stand for something.
        limit: u32,
    },
    /// A structure of the caller's is too small to be one.
    Small {
        name: &'static str,
        given: usize,
        /// Bytes at least.
        least: usize,
    },
    /// A descriptor is none.
    Descriptor { name: &'static str, given: i32 },
    /// A wait has ended.
    Over,
    /// Another thread polls the wait.
    Polled,
    /// The system refused.
    System(OsError),
}

impl Failure {
    fn code(&self) -> u32 {
        match self {
            Self::Pointer(_) => HP_VD_E_INVALID,
            Self::Alloc(AllocError::Aborted) => HP_VD_E_ABORT,
            Self::Alloc(AllocError::Cancelled) => HP_E_CANCELLED,
            Self::Alloc(error) => Error::Alloc(*error).code(),
            Self::Build(error) => Error::Build(error.clone()).code(),
            Self::Free(error) => Error::Free(*error).code(),
            Self::Stream(error) => match error {
                StreamError::Overcommitted { .. } | StreamError::InUse { .. } => HP_VD_E_MEMORY,
                StreamError::TooManyShares { .. } => HP_VD_E_BUSY,
                _ => HP_VD_E_INVALID,
            },
            Self::Set(error) => error.code(),
            Self::Text(_) | Self::Number { .. } | Self::Small { .. } | Self::Descriptor { .. } => {
                HP_VD_E_INVALID
            }
            Self::Share(error) => error.code(),
            Self::Forked => HP_VD_E_NOTOPEN,
            Self::Over => HP_VD_E_PROTOCOL,
            Self::Polled => HP_VD_E_BUSY,
            Self::System(_) => HP_VD_E_UNEXPECTED,
        }
    }
}

impl Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pointer(name) => write!(f, "{name} is null or not aligned"),
            Self::Alloc(error) => error.fmt(f),
            Self::Build(error) => error.fmt(f),
            Self::Free(error) => error.fmt(f),
            Self::Stream(error) => error.fmt(f),
            Self::Set(error) => error.fmt(f),
            Self::Share(error) => error.fmt(f),
            Self::Forked => ShareError::Forked.fmt(f),
            Self::Text(name) => write!(f, "{name} is not UTF-8"),
            Self::Number { name, given, limit } => {
                write!(f, "{name} {given}: must be below {limit}")
            }
            Self::Small { name, given, least } => {
                write!(f, "{name}->size is {given}: at least {least}")
            }
            Self::Descriptor { name, given } => write!(f, "{name}: {given} is no descriptor"),
            Self::Over => write!(f, "the wait has ended"),
            Self::Polled => write!(f, "another thread polls the wait"),
            Self::System(error) => error.fmt(f),
        }
    }
}

thread_local! {
    static LAST: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Keeps what went wrong for `hp_last_error`, and gives its code.
#[cold]
pub fn failed(failure: &Failure) -> u32 {
    // A thread that is ending keeps nothing.
    let _ = LAST.try_with(|last| {
        if let Ok(mut last) = last.try_borrow_mut() {
            *last = failure.to_string();
        }
    });
    failure.code()
}

/// The code of a call that gives nothing else.
pub fn done(result: Result<(), Failure>) -> u32 {
    match result {
        Ok(()) => HP_NOERROR,
        Err(failure) => failed(&failure),
    }
}

/// Writes what the calling thread's last failed call said to `text`, `size` bytes at most
/// and ended by a zero byte. Gives how many bytes it has without that: what did not fit is
/// cut off. With `size` 0 `text` may be null.
///
/// # Safety
///
/// `text` is `size` bytes that may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hp_last_error(text: *mut c_char, size: usize) -> usize {
    LAST.try_with(|last| {
        let Ok(last) = last.try_borrow() else {
            return 0;
        };
        if !text.is_null() && size > 0 {
            let len = last.len().min(size - 1);
            // SAFETY: the caller says so; the two do not overlap.
            unsafe {
                text.cast::<u8>()
                    .copy_from_nonoverlapping(last.as_ptr(), len);
                text.add(len).write(0);
            }
        }
        last.len()
    })
    .unwrap_or(0)
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
