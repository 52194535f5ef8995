//! A counter that a thread can be woken by which waits in the kernel for something else.
//!
//! Owns: the `eventfd` calls. Uses: libc. Used by: `uring`.
//!
//! Source: eventfd(2). It is closed by `exec`; children of a fork have it.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// Readable once it was rung, until it is cleared.
#[derive(Debug)]
pub struct EventFd(OwnedFd);

impl EventFd {
    /// One that was not rung.
    pub fn new() -> io::Result<Self> {
        // SAFETY: takes numbers.
        let made = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
        if made < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the kernel gave it just now, and nobody else has it.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(made) }))
    }

    /// Makes it readable. (It refuses when it was rung 2^64 - 2 times, and is readable then.)
    pub fn ring(&self) {
        let one = 1u64.to_ne_bytes();
        // SAFETY: the eight bytes are there to be read.
        unsafe { libc::write(self.0.as_raw_fd(), one.as_ptr().cast(), one.len()) };
    }

    /// Makes it unreadable. (It refuses where it was not rung, and is unreadable then.)
    pub fn clear(&self) {
        let mut count = [0u8; 8];
        // SAFETY: the eight bytes are there to be written.
        unsafe { libc::read(self.0.as_raw_fd(), count.as_mut_ptr().cast(), count.len()) };
    }
}

impl AsFd for EventFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
