//! Threads that no signal of the program's is delivered to.
//!
//! Owns: `pthread_sigmask`. Uses: libc. Used by: `share`.
//!
//! Source: signal(7). A program that blocks signals to wait for them relies on every thread
//! to do so.

use std::io;
use std::mem::MaybeUninit;
use std::thread::{Builder, JoinHandle};

/// Starts a thread that blocks every signal.
pub fn quiet_thread(name: &str, run: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle<()>> {
    let (mut all, mut before) = (
        MaybeUninit::<libc::sigset_t>::uninit(),
        MaybeUninit::<libc::sigset_t>::uninit(),
    );
    // SAFETY: the first call makes the set that the second reads; that writes the other. A
    // thread inherits what the one that starts it has.
    unsafe {
        libc::sigfillset(all.as_mut_ptr());
        libc::pthread_sigmask(libc::SIG_SETMASK, all.as_ptr(), before.as_mut_ptr());
    }
    let thread = Builder::new().name(name.to_owned()).spawn(run);
    // SAFETY: written by the call above, which fails only for numbers that are none.
    unsafe {
        libc::pthread_sigmask(libc::SIG_SETMASK, before.as_ptr(), std::ptr::null_mut());
    }
    thread
}
