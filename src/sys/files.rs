//! Threads with a table of descriptors of their own.
//!
//! Owns: `close_range`, and which threads there are. Uses: libc. Used by: `share`, `uring`.
//!
//! Source: close_range(2), clone(2) under CLONE_FILES, socket(7) under SO_LINGER. The threads
//! of a process have one table of descriptors, unless one of them takes a table of its own.
//! Then what it opens is in its table alone: it counts against no other limit, no child of a
//! fork has it, and it goes when the thread ends.
//!
//! A new table begins as a copy of the old one, or of its first part, and what is not wanted
//! of that is closed in the copy. So for some microseconds what the program closes meanwhile
//! is open still; and file systems whose files are *flushed* at each close (FUSE, NFS) flush.
//!
//! A thread that ends closes what is in its table without lingering: a socket with
//! `SO_LINGER`, which may have come over another socket, keeps whoever closes the last
//! descriptor of it waiting as long as its sender likes, but not a thread that is ending.
//! (A file of a FUSE file system can keep even that: its owner decides.) By then the thread
//! has been joined: `pthread_join` returns before the table is closed.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

/// From which number on there can be no descriptor.
const BEYOND: libc::c_uint = i32::MAX as libc::c_uint;

/// Gives the calling thread a table of its own, less the descriptors `first` to `last`.
fn unshare(first: libc::c_uint, last: libc::c_uint) -> io::Result<()> {
    let flags = libc::CLOSE_RANGE_UNSHARE;
    // SAFETY: takes numbers. The other threads keep their table.
    match unsafe { libc::syscall(libc::SYS_close_range, first, last, flags) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Gives the calling thread an empty table of its own. The numbers of the standard streams
/// are taken by sockets that lead nowhere: what is written there by mistake is refused.
///
/// Fails before Linux 5.9 (`ENOSYS`).
pub fn take_empty_table() -> io::Result<()> {
    unshare(0, libc::c_uint::MAX)?;
    fill_streams()
}

fn fill_streams() -> io::Result<()> {
    loop {
        let nowhere = super::socket::unconnected()?;
        // It stays as long as the table.
        match nowhere.as_raw_fd() {
            0..=2 => std::mem::forget(nowhere),
            // They are taken.
            _ => return Ok(()),
        }
    }
}

/// As `take_empty_table`, but the descriptor `number`, which is open until this returns, is
/// in the new table, too, as what is given.
pub fn take_table_with(number: RawFd) -> io::Result<OwnedFd> {
    unshare(number as libc::c_uint + 1, libc::c_uint::MAX)?;
    close_others(&[number]);
    // SAFETY: the copy in this thread's table, which is nobody else's.
    let kept = unsafe { OwnedFd::from_raw_fd(number) };
    // Not in the place of a stream.
    let kept = match number {
        0..=2 => {
            fill_streams()?;
            kept.try_clone()?
        }
        _ => kept,
    };
    fill_streams()?;
    Ok(kept)
}

/// Closes everything in the calling thread's table, which must be its own, but `kept`.
pub fn close_others(kept: &[RawFd]) {
    let mut kept: Vec<_> = kept.iter().map(|&number| number as libc::c_uint).collect();
    kept.sort_unstable();
    let mut first = 0;
    let close = |first: libc::c_uint, end: libc::c_uint| {
        if first < end {
            // SAFETY: takes numbers. The caller says that the table is its own.
            unsafe { libc::syscall(libc::SYS_close_range, first, end - 1, 0) };
        }
    };
    for number in kept {
        close(first, number);
        first = number + 1;
    }
    close(first, libc::c_uint::MAX);
}

/// Gives the calling thread a copy of its table.
pub fn copy_table() -> io::Result<()> {
    unshare(BEYOND, BEYOND)
}

/// The calling thread's number.
pub fn thread_number() -> i32 {
    // SAFETY: gives a number.
    unsafe { libc::gettid() }
}

/// Whether a thread of this process has that number: one that is closing what is in its
/// table has it still.
pub fn is_thread(number: i32) -> bool {
    // SAFETY: gives a number; and signal 0 is sent to nobody.
    unsafe { libc::syscall(libc::SYS_tgkill, libc::getpid(), number, 0) == 0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::os::fd::AsFd;

    fn in_a_thread<T: Send>(run: impl FnOnce() -> T + Send) -> T {
        std::thread::scope(|scope| scope.spawn(run).join().unwrap())
    }

    #[test]
    fn what_a_thread_opens_in_its_own_table_nobody_else_has() {
        let mine = File::open("/proc/self/stat").unwrap();
        let number = mine.as_raw_fd();
        in_a_thread(|| {
            take_empty_table().unwrap();
            for nowhere in 0..3 {
                // SAFETY: the byte is there to be read.
                let written = unsafe { libc::write(nowhere, [0u8; 1].as_ptr().cast(), 1) };
                assert_eq!(written, -1, "{nowhere} leads somewhere");
            }
            // The number is free here.
            let theirs = File::open("/proc/self/stat").unwrap();
            assert!(theirs.as_raw_fd() <= number);
            drop(theirs);
        });
        assert!(mine.metadata().is_ok(), "it was closed for all");
    }

    #[test]
    fn a_table_has_what_was_kept_and_nothing_else() {
        let (one, other) = super::super::socket::pair().unwrap();
        let kept = in_a_thread(|| {
            let own = take_table_with(one.as_raw_fd()).unwrap();
            super::super::socket::send(own.as_fd(), b"x", &[]).unwrap();
            own.as_raw_fd() > 2 && other.try_clone().is_err()
        });
        assert!(kept);
        let (len, _) = super::super::socket::receive(other.as_fd(), &mut [0; 4]).unwrap();
        assert_eq!(len, 1);
    }

    #[test]
    fn a_copy_keeps_open_what_others_close() {
        let (one, other) = super::super::socket::pair().unwrap();
        let copied = in_a_thread(|| copy_table().is_ok());
        assert!(copied);
        // That thread has ended, and its copy is gone sooner or later.
        drop(one);
        let closed = super::super::socket::wait(&[other.as_fd()], None).unwrap();
        assert_eq!(closed, [true]);
    }
}
