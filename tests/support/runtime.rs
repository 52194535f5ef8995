//! Whether this machine lets a program use io_uring.

use super::skipped;
use std::fs::File;
use std::io;
use std::os::fd::{FromRawFd, OwnedFd};

/// What the kernel is told, and tells, of a new ring: `struct io_uring_params`.
#[repr(C, align(8))]
struct Params([u8; 120]);

/// Whether a ring of `entries` entries is to be had; says so if not. Memory of rings counts
/// as locked memory before Linux 5.12.
pub fn is_allowed(what: &str, entries: u32) -> bool {
    let mut params = Params([0; 120]);
    // SAFETY: the structure is writable and as large as the kernel's.
    let made = unsafe { libc::syscall(libc::SYS_io_uring_setup, entries, &raw mut params) };
    if made >= 0 {
        // SAFETY: a new descriptor, which nobody else has.
        drop(unsafe { OwnedFd::from_raw_fd(made as i32) });
        return true;
    }
    let error = io::Error::last_os_error();
    let refusals = [libc::ENOSYS, libc::EPERM, libc::EACCES, libc::ENOMEM];
    let refused = error.raw_os_error();
    assert!(
        refused.is_some_and(|number| refusals.contains(&number)),
        "{error}"
    );
    skipped(&format!("{what}: io_uring is not to be had: {error}"));
    false
}

/// An empty file in memory.
pub fn file() -> File {
    // SAFETY: the name is a string.
    let made = unsafe { libc::memfd_create(c"hugepool test".as_ptr(), libc::MFD_CLOEXEC) };
    assert!(made >= 0, "memfd_create: {}", io::Error::last_os_error());
    // SAFETY: a new descriptor, which nobody else has.
    unsafe { File::from_raw_fd(made) }
}
