//! Whether a pool is still there for its clients: a word that they look at before each call.
//!
//! Owns: the page with the word, the server's side and the client's. Uses: `error`, `sys`.
//! Used by: `pool`, `vdi`, the client.
//!
//! ```text
//!   open ──▶ aborted
//!     └────▶ closed
//! ```
//!
//! The server writes the word once, and clients can map its page to read it. What was
//! aborted stays so when it is closed, as the server soon does: to a client that looks
//! late, a backup that failed must not seem to have ended well. A server that is killed
//! writes nothing: see `sys::robust` for that.
//!
//! Relaxed throughout: the word says nothing about other memory. A client that has been
//! told, by a message or by another client, of something that came after a change sees the
//! change, since the message itself orders the two.

use super::error::ShareError;
use crate::sync::{AtomicU32, Ordering};
use crate::sys::fork::Origin;
use crate::sys::limits::base_page;
use crate::sys::map::Mapping;
use crate::sys::memfd;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// How a pool stands that is no longer open (0).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u32)]
pub(crate) enum Standing {
    Aborted = 1,
    Closed = 2,
}

fn word(page: &Mapping) -> &AtomicU32 {
    // SAFETY: the page is mapped as long as `page`, and the word is its first.
    unsafe { page.base().cast().as_ref() }
}

/// The server's side.
pub(crate) struct Status {
    descriptor: OwnedFd,
    page: Mapping,
    origin: Origin,
}

impl Status {
    /// Of a pool that is open.
    pub(crate) fn new() -> io::Result<Self> {
        let len = base_page();
        let descriptor = memfd::create(c"hugepool-status", len, memfd::Kind::Base)?;
        memfd::populate(descriptor.as_fd(), len)?;
        let page = Mapping::of(descriptor.as_fd(), len, len, true)?;
        memfd::seal(descriptor.as_fd(), true)?;
        Ok(Self {
            descriptor,
            page,
            origin: Origin::here(),
        })
    }

    /// Says so to all clients. In a child of a fork, whose pool it is not: nothing.
    pub(crate) fn say(&self, standing: Standing) {
        if !self.origin.is_inherited() {
            let (first, other) = (Ordering::Relaxed, Ordering::Relaxed);
            // It fails if it was said already how the pool stands.
            let _ = word(&self.page).compare_exchange(0, standing as u32, first, other);
        }
    }

    /// What clients map.
    pub(crate) fn descriptor(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

impl Drop for Status {
    fn drop(&mut self) {
        self.say(Standing::Closed);
    }
}

/// The client's side.
pub(super) struct Seen(Mapping);

impl Seen {
    /// The word in `page`, a mapping of one page or more of the server's memory.
    pub(super) fn new(page: Mapping) -> Self {
        Self(page)
    }

    /// An error unless the pool is open.
    #[inline]
    pub(super) fn check(&self) -> Result<(), ShareError> {
        match word(&self.0).load(Ordering::Relaxed) {
            0 => Ok(()),
            1 => Err(ShareError::Aborted),
            // Whatever else a server writes there.
            _ => Err(ShareError::Closed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pool_that_is_dropped_is_closed() {
        let status = Status::new().unwrap();
        let len = base_page();
        let seen = Seen::new(Mapping::of(status.descriptor(), len, len, false).unwrap());
        drop(status);
        assert_eq!(seen.check(), Err(ShareError::Closed));
    }

    #[test]
    fn how_a_pool_has_ended_is_said_once() {
        let status = Status::new().unwrap();
        let len = base_page();
        let seen = Seen::new(Mapping::of(status.descriptor(), len, len, false).unwrap());
        assert_eq!(seen.check(), Ok(()));
        status.say(Standing::Aborted);
        status.say(Standing::Closed);
        assert_eq!(seen.check(), Err(ShareError::Aborted));
        drop(status);
        assert_eq!(seen.check(), Err(ShareError::Aborted));
        let status = Status::new().unwrap();
        let seen = Seen::new(Mapping::of(status.descriptor(), len, len, false).unwrap());
        status.say(Standing::Closed);
        status.say(Standing::Aborted);
        assert_eq!(seen.check(), Err(ShareError::Closed));
    }
}
