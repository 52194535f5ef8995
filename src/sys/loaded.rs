//! That the code of this library stays where it is.
//!
//! Owns: the look-up of the shared object that the code belongs to. Uses: libc. Used by:
//! `rseq`, `sys::signal`.
//!
//! Source: dladdr(3), dlopen(3). A program may unload a shared object that contains the
//! library when it has dropped all that it had of it. Some of it may be in use for longer:
//!
//! - A thread that took or gave back a buffer, of whatever pool, has named a critical section
//!   to the kernel, which looks at the section's descriptor whenever it has stopped the thread
//!   (rseq(2)), and ends the process if there is none.
//! - A thread of the library's own may still be on its way out.
//! - The C library calls a function of it at the end of threads (`sys::rseq`).
//!
//! (What the C library calls in children of a fork, `sys::fork`, it forgets by itself.)

use crate::sync::{AtomicU32, Ordering};
use std::ffi::c_void;
use std::mem::MaybeUninit;

/// 1 once that has been seen to. Relaxed: who finds it has nothing else to see.
static STAYS: AtomicU32 = AtomicU32::new(0);

/// Keeps the shared object that this code belongs to loaded for good, if it belongs to one.
/// If that is refused, for want of memory, the next call tries again.
pub fn stay() {
    if STAYS.load(Ordering::Relaxed) == 1 {
        return;
    }
    // SAFETY: reads a number that the program was started with.
    let entry = unsafe { libc::getauxval(libc::AT_ENTRY) } as *const c_void;
    let code = stay as *const () as *const c_void;
    let stays = match (object_of(code), object_of(entry)) {
        // No shared object, or the program itself, which are never unloaded.
        (None, _) => true,
        (Some(own), Some(program)) if own.dli_fbase == program.dli_fbase => true,
        (Some(own), _) => {
            let flags = libc::RTLD_LAZY | libc::RTLD_NOLOAD | libc::RTLD_NODELETE;
            // SAFETY: the name is the loader's own; nothing is loaded, so no initializer runs.
            !unsafe { libc::dlopen(own.dli_fname, flags) }.is_null()
        }
    };
    STAYS.store(stays.into(), Ordering::Relaxed);
}

/// The object that is loaded at `address`, if it has a name.
fn object_of(address: *const c_void) -> Option<libc::Dl_info> {
    let mut info = MaybeUninit::<libc::Dl_info>::zeroed();
    // SAFETY: the call looks the address up and fills `info` in; all-zero bytes are a value of
    // it too.
    let (found, info) = unsafe { (libc::dladdr(address, info.as_mut_ptr()), info.assume_init()) };
    (found != 0 && !info.dli_fname.is_null()).then_some(info)
}
