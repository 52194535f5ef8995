//! Another process's memory, mapped after a look at it.
//!
//! Owns: the look. Uses: `error`, `sys`. Used by: both parts of the client.

use super::error::ShareError;
use crate::sys::limits::base_page;
use crate::sys::map::Mapping;
use crate::sys::memfd;
use std::os::fd::BorrowedFd;

/// Maps `needed` bytes, which must be all there is, and stay, at a multiple of
/// `alignment`.
pub(super) fn map(
    fd: BorrowedFd<'_>,
    needed: usize,
    alignment: usize,
    writable: bool,
) -> Result<Mapping, ShareError> {
    // Sealed first: what is not could change after a look. (And a look at what is no such
    // memory may take as long as its owner likes.)
    if !memfd::is_size_sealed(fd) {
        return Err(ShareError::NotSealed);
    }
    // What others could write, its pages could be taken from, and then an access may be a
    // fault.
    if !writable && !memfd::is_write_sealed(fd) {
        return Err(ShareError::NotSealed);
    }
    let given = memfd::len(fd).map_err(ShareError::system("fstat"))?;
    if given != needed {
        return Err(ShareError::Size { given, needed });
    }
    Mapping::of(fd, needed, alignment, writable).map_err(ShareError::system("mmap"))
}

/// Maps one page, to be read.
pub(super) fn map_page(fd: BorrowedFd<'_>) -> Result<Mapping, ShareError> {
    map(fd, base_page(), base_page(), false)
}
