//! What an event loop can wait for.
//!
//! Owns: the system's calls for that, and events that somebody may still raise. Uses: libc,
//! `call`. Used by: `wait`.
//!
//! Source: eventfd(2).
//!
//! # Who frees one
//!
//! A thread that gives a buffer back raises the event of who waits for it, and may be in the
//! middle of that when the wait ends. It must not be the one who frees the event: its call
//! allocates and frees nothing. So a wait that ends while others have its event leaves its
//! own part in a list, and the next wait that begins or ends frees what nobody has any more.
//!
//! ```text
//!   retired ──▶ node ──▶ node ──▶ null        pushed by one compare-and-swap; taken as a
//!                                             whole by a swap, so there is no ABA
//! ```

use crate::call::Failure;
use ::pool::OsError;
use std::io::Error;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::ptr::null_mut;
use std::sync::Arc;
use std::sync::atomic::{AtomicPtr, Ordering};
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

/// An event whose wait has ended.
struct Retired {
    event: Arc<Event>,
    next: *mut Retired,
}

/// The last one. Release and Acquire: who takes the list sees what it points to.
static RETIRED: AtomicPtr<Retired> = AtomicPtr::new(null_mut());

/// Keeps `event`, the caller's, whose wait has ended, if somebody else has it.
pub fn retire(event: &Arc<Event>) {
    // Nobody can get it any more: if nobody has it now, nobody will.
    if Arc::strong_count(event) > 1 {
        push(Box::into_raw(Box::new(Retired {
            event: Arc::clone(event),
            next: null_mut(),
        })));
    }
}

fn push(node: *mut Retired) {
    let mut next = RETIRED.load(Ordering::Relaxed);
    loop {
        // SAFETY: the node is the caller's alone until it is in the list.
        unsafe { (*node).next = next };
        let (in_list, failed) = (Ordering::Release, Ordering::Relaxed);
        match RETIRED.compare_exchange(next, node, in_list, failed) {
            Ok(_) => return,
            Err(now) => next = now,
        }
    }
}

/// Frees those that nobody has any more.
pub fn free_retired() {
    let mut node = RETIRED.swap(null_mut(), Ordering::Acquire);
    while !node.is_null() {
        // SAFETY: it came from a box, and who has swapped the list out has it alone.
        let (next, others) = unsafe { ((*node).next, Arc::strong_count(&(*node).event) > 1) };
        match others {
            true => push(node),
            // SAFETY: as above.
            false => drop(unsafe { Box::from_raw(node) }),
        }
        node = next;
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
