//! What an event loop can wait for.
//!
//! Owns: the system's calls for that. Uses: libc, `call`. Used by: `wait`.
//!
//! Source: eventfd(2).

use crate::call::Failure;
use ::pool::OsError;
use std::io::Error;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::sync::Arc;
use std::task::Wake;

/// A descriptor that is readable once it was raised, until it is lowered.
pub struct Event(OwnedFd);

impl Event {
    /// One that is not raised.
    pub fn new() -> Result<Self, Failure> {
        // SAFETY: takes numbers only.
        let made = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
        if made < 0 {
            let number = Error::last_os_error().raw_os_error().unwrap_or(0);
            let call = "eventfd";
            return Err(Failure::System(OsError { call, number }));
        }
        // SAFETY: it is open, and nobody else's.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(made) }))
    }

    /// Its number.
    pub fn number(&self) -> i32 {
        self.0.as_raw_fd()
    }

    /// Makes it readable. Never blocks.
    pub fn raise(&self) {
        let one = 1_u64.to_ne_bytes();
        // Refused if the count is as high as it can be: it is readable then.
        // SAFETY: the bytes can be read.
        unsafe { libc::write(self.number(), one.as_ptr().cast(), one.len()) };
    }

    /// Makes it unreadable, until it is raised again.
    pub fn lower(&self) {
        let mut count = [0_u8; 8];
        // Refused if it was not readable.
        // SAFETY: the bytes can be written.
        unsafe { libc::read(self.number(), count.as_mut_ptr().cast(), count.len()) };
    }
}

impl Wake for Event {
    fn wake(self: Arc<Self>) {
        self.raise();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.raise();
    }
}
