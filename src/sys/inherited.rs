//! Descriptors that children of a fork do not keep.
//!
//! Owns: the list of them, and what the C library runs around a fork. Uses: libc, `sync`,
//! `fork` for who is a child of whom. Used by: `uring`.
//!
//! Source: pthread_atfork(3). A descriptor that is closed by `exec` is open in a child that
//! does not call it. For most that does not matter. A ring of io_uring is one for which it
//! does: as long as any process has it open, the memory that is registered with it stays
//! taken, that of a parent which was killed included.
//!
//! ```text
//!   parent:  a thread has a seat, makes a ring, writes the descriptor there
//!            │ fork:  `prepare` notes the parent's number
//!   child:   └──▶ `close` goes through the seats with that number, closes and empties them
//! ```
//!
//! What is made without the C library's `fork` (`_Fork`, `clone`) closes nothing; nor has a
//! descriptor a seat for the instants between the call that makes it and the store that notes
//! it, and between the store that empties the seat and the call that closes it. (The other
//! order would close in a child what another thread got under that number meanwhile.) A child
//! that another thread makes in such an instant keeps it until it ends or calls `exec`.

use super::fork;
use crate::sync::{AtomicU32, AtomicU64, Ordering};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};

/// How many there can be at once in a process.
pub const SEATS: usize = 1024;

/// For each the number of the process that it is of, one more than `fork::forks` says, in the
/// upper half, and one more than the descriptor in the lower half; 0 there: none yet. A seat
/// with the number of another process is free, and so is 0.
///
/// Relaxed throughout. A child reads what its parent had when it was made; a store that the
/// fork does not come after, by whatever the threads do to order them, it may miss: see the
/// module. Two threads that want one seat are told apart by `compare_exchange`, and nothing
/// else is published by it.
static LIST: [AtomicU64; SEATS] = [const { AtomicU64::new(0) }; SEATS];

/// The number of the process that forks. Relaxed: the thread that stores it is the one that
/// the child has; others that fork at once store the same.
static PARENT: AtomicU32 = AtomicU32::new(0);

/// 1 once the C library was told. Relaxed: who finds it has nothing else to see.
static TOLD: AtomicU32 = AtomicU32::new(0);

/// The number of this process, as in the list.
fn own() -> u32 {
    fork::forks() + 1
}

/// Whose seat it is, and the descriptor.
fn parts(seat: u64) -> (u32, Option<RawFd>) {
    let (process, fd) = ((seat >> 32) as u32, seat as u32);
    (process, fd.checked_sub(1).map(|fd| fd as RawFd))
}

extern "C" fn prepare() {
    PARENT.store(own(), Ordering::Relaxed);
}

/// In a child, whose only thread this is. Does what a signal handler may.
extern "C" fn close() {
    let parent = PARENT.load(Ordering::Relaxed);
    for seat in &LIST {
        let (process, fd) = parts(seat.load(Ordering::Relaxed));
        let Some(fd) = fd.filter(|_| process == parent) else {
            continue;
        };
        // First: a second call, if the C library was told twice, closes nothing.
        seat.store(0, Ordering::Relaxed);
        // SAFETY: the child's copy of a descriptor of its parent, whose owner there does not
        // touch it here (`uring` asks `fork` before each use).
        unsafe { libc::close(fd) };
    }
}

/// Has the C library call the two. Of two threads at once both may do so.
fn tell() -> io::Result<()> {
    if TOLD.load(Ordering::Relaxed) == 1 {
        return Ok(());
    }
    // SAFETY: the handlers are there as long as the program, or the shared object, whose
    // handlers go with it; they do what handlers may.
    match unsafe { libc::pthread_atfork(Some(prepare), None, Some(close)) } {
        0 => TOLD.store(1, Ordering::Relaxed),
        error => return Err(io::Error::from_raw_os_error(error)),
    }
    Ok(())
}

/// A place for a descriptor in the list. It is given up by `leave`, before the descriptor is
/// closed; one that is just dropped keeps it.
#[derive(Debug)]
pub struct Seat(usize);

impl Seat {
    /// A place with nothing in it; `None` if there are none left.
    pub fn take() -> io::Result<Option<Self>> {
        fork::watch()?;
        tell()?;
        let own = own();
        let free = |seat: &AtomicU64| {
            let before = seat.load(Ordering::Relaxed);
            parts(before).0 != own
                && (seat.compare_exchange(
                    before,
                    u64::from(own) << 32,
                    Ordering::Relaxed,
                    Ordering::Relaxed,
                ))
                .is_ok()
        };
        Ok(LIST.iter().position(free).map(Self))
    }

    /// Notes the descriptor that has this place.
    pub fn set(&self, fd: BorrowedFd<'_>) {
        // It is not negative.
        let fd = fd.as_raw_fd() as u32 + 1;
        let seat = u64::from(own()) << 32 | u64::from(fd);
        LIST[self.0].store(seat, Ordering::Relaxed);
    }

    /// Gives the place up: the descriptor is about to be closed. Not to be called in a child
    /// of the process that took it, where it may be another's.
    pub fn leave(&self) {
        LIST[self.0].store(0, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::os::fd::AsFd;

    #[test]
    fn a_seat_says_whose_it_is_and_what_is_in_it() {
        assert_eq!(parts(0), (0, None));
        assert_eq!(parts(7 << 32), (7, None));
        assert_eq!(parts(7 << 32 | 1), (7, Some(0)));
        assert_eq!(parts(u64::MAX), (u32::MAX, Some(-2)));
    }

    /// Gives what `work` gave in a child.
    fn in_fork(work: impl FnOnce() -> bool) -> bool {
        // SAFETY: the child does what it may, and ends by `_exit`.
        let child = unsafe { libc::fork() };
        assert!(child >= 0, "fork");
        if child == 0 {
            let code = i32::from(!work());
            // SAFETY: ends the child without running anything of the parent's.
            unsafe { libc::_exit(code) };
        }
        let mut status = 0;
        // SAFETY: waits for the child made above.
        unsafe { libc::waitpid(child, &mut status, 0) };
        libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0
    }

    /// Whether the number is open.
    fn is_open(fd: RawFd) -> bool {
        // SAFETY: takes numbers.
        unsafe { libc::fcntl(fd, libc::F_GETFD) >= 0 }
    }

    #[test]
    fn a_child_has_no_descriptor_that_has_a_seat_and_all_others() {
        let (listed, other) = (
            File::open("/dev/null").unwrap(),
            File::open("/dev/null").unwrap(),
        );
        let seat = Seat::take().unwrap().unwrap();
        seat.set(listed.as_fd());
        let (listed_fd, other_fd) = (listed.as_raw_fd(), other.as_raw_fd());
        assert!(in_fork(|| !is_open(listed_fd) && is_open(other_fd)));
        assert!(is_open(listed_fd));
        // What the child opens under that number its own children have, and those of whoever
        // is made without the C library.
        assert!(in_fork(|| {
            // SAFETY: takes numbers; neither is anybody's here.
            let same = unsafe { libc::dup2(other_fd, listed_fd) };
            same == listed_fd && in_fork(|| is_open(listed_fd))
        }));
        seat.leave();
        assert!(in_fork(|| is_open(listed_fd)));
    }

    #[test]
    fn seats_of_another_process_are_free() {
        let seat = Seat::take().unwrap().unwrap();
        let at = seat.0;
        // The child has none of its parent's, and as many as anybody.
        assert!(in_fork(|| {
            let all: Vec<_> = (0..SEATS).map_while(|_| Seat::take().unwrap()).collect();
            all.len() == SEATS && Seat::take().unwrap().is_none()
        }));
        assert_eq!(parts(LIST[at].load(Ordering::Relaxed)), (own(), None));
        seat.leave();
    }
}
