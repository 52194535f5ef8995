//! Restartable sequences: what the C library registered, and `rseq(2)`.
//!
//! Owns: the system call, the look-up of the C library's symbols, and a call at the end of threads. Uses: libc.
//! Used by: `rseq`, `machine`.
//!
//! The symbols are looked up at run time, because glibc before 2.35 and musl have
//! none of them and a program linked to them by name would not start there.

use crate::sync::{AtomicU32, Ordering};
use std::ffi::{CStr, c_void};
use std::io;

/// What the C library says about its registration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Registration {
    /// Bytes from the thread pointer to the area.
    pub offset: isize,
    /// Bytes of the area in use; 0 when the registration was switched off or failed.
    pub size: u32,
}

/// What the C library says about its registration; `None` proves that it has no support for it, not that the
/// kernel has none.
pub fn registration() -> Option<Registration> {
    let offset = symbol(c"__rseq_offset")?.cast::<isize>();
    let size = symbol(c"__rseq_size")?.cast::<u32>();
    // SAFETY: the C library defines `__rseq_offset` as a constant `ptrdiff_t` and `__rseq_size` as a constant
    // `unsigned int`, both written once before the program's first instruction.
    let (offset, size) = unsafe { (*offset, *size) };
    Some(Registration { offset, size })
}

fn symbol(name: &CStr) -> Option<*const c_void> {
    // SAFETY: `name` is a terminated string, and the default handle searches what is loaded already.
    let address = unsafe { libc::dlsym(libc::RTLD_DEFAULT, name.as_ptr()) };
    (!address.is_null()).then_some(address.cast_const())
}

/// Gives the kernel `area` of `bytes` bytes for the calling thread, or takes it back.
///
/// # Safety
///
/// The area is aligned to 32 bytes and stays the thread's, for the kernel to write to, until it is taken back.
#[cfg_attr(
    not(any(target_arch = "x86_64", target_arch = "aarch64")),
    allow(dead_code)
)]
pub unsafe fn register(
    area: *mut c_void,
    bytes: u32,
    signature: u32,
    undo: bool,
) -> io::Result<()> {
    const UNREGISTER: libc::c_int = 1;
    let flags = if undo { UNREGISTER } else { 0 };
    // SAFETY: the caller's.
    let result = unsafe { libc::syscall(libc::SYS_rseq, area, bytes, flags, signature) };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// A call at the end of threads, for which a thread can ask in a signal handler. (A thread-local's destructor could
/// not be registered there: that allocates.)
#[cfg_attr(
    not(any(target_arch = "x86_64", target_arch = "aarch64")),
    allow(dead_code)
)]
pub struct ThreadEnds {
    /// The key of the C library's thread-specific data, plus one; 0 before there is one. Written once, by
    /// compare-and-swap with Release, and read with Acquire.
    key: AtomicU32,
}

#[cfg_attr(
    not(any(target_arch = "x86_64", target_arch = "aarch64")),
    allow(dead_code)
)]
impl ThreadEnds {
    /// Keys below this are kept in the thread's own block, by every C library; glibc allocates for others.
    const DIRECT: libc::pthread_key_t = 32;

    /// Nobody is called yet.
    pub const fn new() -> Self {
        Self {
            key: AtomicU32::new(0),
        }
    }

    /// Has `call` called at the end of every thread that asks for it.
    pub fn prepare(&self, call: extern "C" fn(*mut c_void)) {
        if self.key.load(Ordering::Acquire) != 0 {
            return;
        }
        let mut key = 0;
        // SAFETY: `key` is writable; the function stays as long as the program, or as the shared object, which is
        // never unloaded (`loaded::stay`).
        if unsafe { libc::pthread_key_create(&mut key, Some(call)) } != 0 {
            return;
        }
        let made = key < Self::DIRECT
            && self
                .key
                .compare_exchange(0, key + 1, Ordering::Release, Ordering::Relaxed)
                .is_ok();
        if !made {
            // SAFETY: made above, and nobody else knows of it.
            unsafe { libc::pthread_key_delete(key) };
        }
    }

    /// Asks for the call at the end of this thread. Without a key there will be none, which glibc's threads can do
    /// without: their memory stays until the kernel has let go of them.
    pub fn announce(&self) {
        if let Some(key) = self.key.load(Ordering::Acquire).checked_sub(1) {
            // SAFETY: the key was made; the value is not null, or the function would not be called, and not used.
            unsafe { libc::pthread_setspecific(key, std::ptr::from_ref(self).cast()) };
        }
    }
}
