//! What the numbers of the system's errors mean.
//!
//! Owns: their texts. Uses: libc. Used by: `error`.
//!
//! The C library may translate them (strerror(3)), and locks and allocates for that. These can
//! be had in a signal handler, too. Source: errno(3).

/// What error `number` means, in the words of the C library; `None` if it is none that the
/// calls of this library are known to fail with.
pub fn text(number: i32) -> Option<&'static str> {
    Some(match number {
        libc::EACCES => "Permission denied",
        libc::EADDRINUSE => "Address already in use",
        libc::EAGAIN => "Resource temporarily unavailable",
        libc::EBADF => "Bad file descriptor",
        libc::EBUSY => "Device or resource busy",
        libc::ECONNREFUSED => "Connection refused",
        libc::ECONNRESET => "Connection reset by peer",
        libc::EEXIST => "File exists",
        libc::EFAULT => "Bad address",
        libc::EFBIG => "File too large",
        libc::EINTR => "Interrupted system call",
        libc::EINVAL => "Invalid argument",
        libc::EIO => "Input/output error",
        libc::EMFILE => "Too many open files",
        libc::EMSGSIZE => "Message too long",
        libc::ENAMETOOLONG => "File name too long",
        libc::ENFILE => "Too many open files in system",
        libc::ENOBUFS => "No buffer space available",
        libc::ENODEV => "No such device",
        libc::ENOENT => "No such file or directory",
        libc::ENOMEM => "Cannot allocate memory",
        libc::ENOSPC => "No space left on device",
        libc::ENOSYS => "Function not implemented",
        libc::ENOTCONN => "Transport endpoint is not connected",
        libc::ENOTSOCK => "Socket operation on non-socket",
        libc::EOPNOTSUPP => "Operation not supported",
        libc::EOVERFLOW => "Value too large for defined data type",
        libc::EPERM => "Operation not permitted",
        libc::EPIPE => "Broken pipe",
        libc::ESRCH => "No such process",
        libc::ETIMEDOUT => "Connection timed out",
        libc::ETOOMANYREFS => "Too many references: cannot splice",
        _ => return None,
    })
}
