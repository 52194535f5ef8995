//! What the numbers of the system's errors mean.
//!
//! Owns: their texts. Uses: libc. Used by: `error`.
//!
//! The C library's own texts (strerror(3)) may be translated: it locks and allocates for that.
//! These cost nothing, in a signal handler, too. Source: errno(3).

/// The name and the meaning of error `number`; `None` if it is none that the calls of this
/// library are known to fail with.
pub fn text(number: i32) -> Option<&'static str> {
    Some(match number {
        libc::EACCES => "EACCES, permission denied",
        libc::EADDRINUSE => "EADDRINUSE, address in use",
        libc::EAGAIN => "EAGAIN, resource temporarily unavailable",
        libc::EBADF => "EBADF, bad file descriptor",
        libc::EBUSY => "EBUSY, device or resource busy",
        libc::ECONNREFUSED => "ECONNREFUSED, connection refused",
        libc::ECONNRESET => "ECONNRESET, connection reset by peer",
        libc::EEXIST => "EEXIST, file exists",
        libc::EFAULT => "EFAULT, bad address",
        libc::EFBIG => "EFBIG, file too large",
        libc::EINTR => "EINTR, interrupted by a signal",
        libc::EINVAL => "EINVAL, invalid argument",
        libc::EIO => "EIO, input/output error",
        libc::EMFILE => "EMFILE, too many open descriptors in this process",
        libc::EMSGSIZE => "EMSGSIZE, message too long",
        libc::ENAMETOOLONG => "ENAMETOOLONG, name too long",
        libc::ENFILE => "ENFILE, too many open files in the system",
        libc::ENOBUFS => "ENOBUFS, no buffer space available",
        libc::ENODEV => "ENODEV, no such device",
        libc::ENOENT => "ENOENT, no such file or directory",
        libc::ENOMEM => "ENOMEM, not enough memory",
        libc::ENOSPC => "ENOSPC, no space left",
        libc::ENOSYS => "ENOSYS, not in this kernel",
        libc::ENOTCONN => "ENOTCONN, not connected",
        libc::ENOTSOCK => "ENOTSOCK, not a socket",
        libc::EOPNOTSUPP => "EOPNOTSUPP, not supported",
        libc::EOVERFLOW => "EOVERFLOW, value too large",
        libc::EPERM => "EPERM, not permitted",
        libc::EPIPE => "EPIPE, broken pipe",
        libc::ESRCH => "ESRCH, no such process",
        libc::ETIMEDOUT => "ETIMEDOUT, timed out",
        libc::ETOOMANYREFS => "ETOOMANYREFS, too many descriptors under way",
        _ => return None,
    })
}
