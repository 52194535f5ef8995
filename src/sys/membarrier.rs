//! Which `membarrier(2)` commands this kernel supports.
//!
//! Owns the query command alone; uses libc. [`Machine`](crate::Machine) reads it.

use std::io;

/// The supported commands as the kernel's bit mask.
///
/// Fails with `ENOSYS` on kernels without the call, and with `EPERM` where a filter refuses it.
pub(crate) fn supported() -> io::Result<u32> {
    const QUERY: libc::c_int = 0;
    // SAFETY: the query command takes no pointer and changes nothing.
    let mask = unsafe { libc::syscall(libc::SYS_membarrier, QUERY, 0, 0) };
    if mask < 0 {
        return Err(io::Error::last_os_error());
    }
    u32::try_from(mask).map_err(io::Error::other)
}
