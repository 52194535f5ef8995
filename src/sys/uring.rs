//! The table of fixed buffers of an io_uring.
//!
//! Owns: the calls that change it. Uses: the crate `io-uring`, libc. Used by: `uring`.
//!
//! Source: io_uring_register(2) under IORING_REGISTER_BUFFERS2 (sparse from Linux 5.19 on) and
//! IORING_REGISTER_BUFFERS_UPDATE. The kernel pins the pages of what it registers: they stay
//! what they are until it lets go, whatever becomes of their addresses.

use io_uring::Submitter;
use std::io;

/// Makes a table of `entries` empty entries.
pub fn make_table(ring: &Submitter<'_>, entries: u16) -> io::Result<()> {
    ring.register_buffers_sparse(entries.into())
}

/// Lets go of all entries, and of the table.
pub fn drop_table(ring: &Submitter<'_>) -> io::Result<()> {
    ring.unregister_buffers()
}

/// Puts memory into an entry.
///
/// # Safety
///
/// The memory is mapped for reading and writing, and stays so until the entry is cleared or
/// the table dropped, or the ring closed; or nobody uses the entry from then on.
pub unsafe fn put(
    ring: &Submitter<'_>,
    entry: u16,
    start: *const u8,
    bytes: usize,
) -> io::Result<()> {
    let memory = libc::iovec {
        iov_base: start.cast_mut().cast(),
        iov_len: bytes,
    };
    // SAFETY: the caller says that the memory is there. One entry at a time: the kernel says
    // how many of several it did, and the crate does not pass that on.
    unsafe { ring.register_buffers_update(entry.into(), &[memory], None) }
}

/// Makes an entry empty. The memory is let go when no operation uses it any more.
pub fn clear(ring: &Submitter<'_>, entry: u16) -> io::Result<()> {
    // SAFETY: no memory, which is what an entry is empty by.
    unsafe { put(ring, entry, std::ptr::null(), 0) }
}
