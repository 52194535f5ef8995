//! How a server closes its clients' sockets.
//!
//! Owns: the sockets that are to be closed, and the threads that close them. Uses: `sys`.
//! Used by: `serve`.
//!
//! Whoever closes a socket waits for what is behind the descriptors that came over it and
//! were not received, as long as their sender likes (`SO_LINGER`). Since Linux 6.16 nobody
//! can send any to a server that does not want them. Before, they are left to a thread that
//! has a copy of the server's table of descriptors, and ends: a thread that is ending does
//! not linger (see `sys::files`).
//!
//! ```text
//!   server                      closer
//!   starts it           ────▶   copies the table
//!   closes its own      ◀────   says so
//!   says so             ────▶   ends: its copies were the last ones
//! ```

use crate::sync::{Arc, AtomicU32, Ordering};
use crate::sys::bell::Bell;
use crate::sys::files;
use crate::sys::signal::quiet_thread;
use std::mem::ManuallyDrop;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::time::{Duration, Instant};

/// How many closers may be ending. (What keeps one is a file of a FUSE file system whose owner
/// keeps it, for which a stranger must be allowed to mount one. The server accepts nobody
/// while so many are kept.)
const MAX_CLOSERS: usize = 32;
/// How long the end waits for its closer: how long the kernel takes, and a little more.
const PATIENCE: Duration = Duration::from_secs(1);

/// How a closer stands.
const STARTED: u32 = 0;
/// It has a copy of the table.
const COPIED: u32 = 1;
/// It may have none.
const REFUSED: u32 = 2;
/// The others have closed theirs.
const LAST: u32 = 3;

/// The sockets that are to be closed.
#[derive(Default)]
pub(super) struct Closing {
    /// Nobody can send descriptors: closing takes no time.
    pub(super) at_once: bool,
    waiting: Vec<ManuallyDrop<OwnedFd>>,
    /// Numbers of those who were ending when last looked at.
    closers: Vec<i32>,
}

impl Closing {
    /// Takes over a socket that was shut down.
    pub(super) fn take(&mut self, socket: OwnedFd) {
        match self.at_once {
            true => drop(socket),
            false => self.waiting.push(ManuallyDrop::new(socket)),
        }
    }

    /// Whether there is something to close.
    pub(super) fn has_some(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Whether no more of them should be taken over.
    pub(super) fn is_busy(&mut self) -> bool {
        self.is_closing() && self.closers.len() >= MAX_CLOSERS
    }

    /// Has what was taken over closed. What cannot be closed now is kept for the next time.
    pub(super) fn run(&mut self) {
        if self.has_some()
            && !self.is_busy()
            && let Some(closer) = close(&mut self.waiting)
        {
            self.closers.push(closer);
        }
    }

    /// Has all of it closed, and waits for that, unless something keeps the closer.
    pub(super) fn end(mut self) {
        // If it cannot be had, the end of this thread closes them.
        self.closers.clear();
        self.run();
        let since = Instant::now();
        while self.is_closing() && since.elapsed() < PATIENCE {
            std::thread::sleep(Duration::from_micros(100));
        }
    }

    fn is_closing(&mut self) -> bool {
        self.closers.retain(|&closer| files::is_thread(closer));
        !self.closers.is_empty()
    }
}

/// Closes `sockets`, in a thread of its own; the thread's number. `None`: they are as they
/// were.
fn close(sockets: &mut Vec<ManuallyDrop<OwnedFd>>) -> Option<i32> {
    let both = Arc::new(Both::default());
    let its = Arc::clone(&both);
    let numbers: Vec<RawFd> = sockets.iter().map(|socket| socket.as_raw_fd()).collect();
    let closer = quiet_thread("hugepool-close", move || {
        // Relaxed: the step orders it.
        (its.number).store(files::thread_number() as u32, Ordering::Relaxed);
        let copied = match files::copy_table() {
            Ok(()) => {
                // Nothing else is kept open by this.
                files::close_others(&numbers);
                COPIED
            }
            Err(_) => REFUSED,
        };
        its.go_to(copied);
        if copied == COPIED {
            its.after(COPIED);
        }
    });
    closer.ok()?;
    let copied = both.after(STARTED) == COPIED;
    if copied {
        sockets
            .drain(..)
            .for_each(|socket| drop(ManuallyDrop::into_inner(socket)));
        both.go_to(LAST);
    }
    copied.then(|| both.number.load(Ordering::Relaxed) as i32)
}

/// What a closer and the server say to each other.
#[derive(Default)]
struct Both {
    /// Release and Acquire: who sees a step sees what the other did before. So the closer's
    /// copies are made before the server's sockets are closed, and go after that.
    step: AtomicU32,
    /// The closer's number. Relaxed: the step orders it.
    number: AtomicU32,
    /// Rings at each step.
    bell: Bell,
}

impl Both {
    fn go_to(&self, step: u32) {
        self.step.store(step, Ordering::Release);
        self.bell.ring();
    }

    /// Waits for the step behind `step`; which that is.
    fn after(&self, step: u32) -> u32 {
        loop {
            // Before the look at what it rings for.
            let rings = self.bell.rings();
            match self.step.load(Ordering::Acquire) {
                now if now == step => self.bell.sleep(rings, None),
                next => return next,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::socket;
    use std::os::fd::AsFd;

    #[test]
    fn what_is_taken_over_is_closed() {
        let mut closing = Closing::default();
        let (mine, theirs): (Vec<_>, Vec<_>) = (0..5).map(|_| socket::pair().unwrap()).unzip();
        mine.into_iter().for_each(|socket| closing.take(socket));
        assert!(closing.has_some());
        closing.run();
        assert!(!closing.has_some());
        for end in &theirs {
            // Sooner or later.
            assert_eq!(socket::wait(&[end.as_fd()], None).unwrap(), [true]);
            assert!(socket::is_ended(end.as_fd()));
        }
    }

    #[test]
    fn no_more_threads_close_sockets_than_may_and_what_is_left_is_kept() {
        let mut closing = Closing {
            // This thread does not end meanwhile.
            closers: vec![files::thread_number(); MAX_CLOSERS],
            ..Closing::default()
        };
        let (mine, theirs) = socket::pair().unwrap();
        closing.take(mine);
        closing.run();
        assert!(closing.is_busy() && closing.has_some());
        assert!(!socket::is_ended(theirs.as_fd()), "it was closed by nobody");
        closing.closers.pop();
        closing.run();
        assert_eq!(socket::wait(&[theirs.as_fd()], None).unwrap(), [true]);
    }
}
