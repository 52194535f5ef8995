//! Threads with a table of descriptors of their own.
//!
//! Owns: `close_range` and `unshare` of tables. Uses: libc. Used by: `share`.
//!
//! Source: close_range(2), clone(2) under CLONE_FILES, socket(7) under SO_LINGER. The threads
//! of a process have one table of descriptors, unless one of them takes a table of its own.
//! Then what it opens is in its table alone: it counts against no other limit, no child of a
//! fork has it, and it goes when the thread ends.
//!
//! A thread that ends closes what is in its table without lingering: a socket with
//! `SO_LINGER`, which may have come over another socket, keeps whoever closes the last
//! descriptor of it waiting as long as its sender likes, but not a thread that is ending.
//! By then the thread has been joined: `pthread_join` returns before the table is closed.

use std::io;
use std::os::fd::IntoRawFd;

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

/// Gives the calling thread an empty table of its own. Nothing of what was in the old one is
/// copied or closed. The numbers of the standard streams are taken by sockets that lead
/// nowhere: what is written there by mistake is refused.
///
/// Fails before Linux 5.9 (`ENOSYS`).
pub fn take_empty_table() -> io::Result<()> {
    unshare(0, libc::c_uint::MAX)?;
    for _ in 0..3 {
        let nowhere = super::socket::unconnected()?;
        // It stays as long as the table.
        let _ = nowhere.into_raw_fd();
    }
    Ok(())
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
    use std::os::fd::{AsFd, AsRawFd};

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
