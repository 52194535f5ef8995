//! Memory with a descriptor, for other processes to map.
//!
//! Owns: `memfd_create`, seals, and the size of what is behind a descriptor. Uses: libc.
//! Used by: `arena`, `share`.
//!
//! Source: memfd_create(2), fcntl(2) under "File Sealing". A size that is sealed cannot
//! be changed by anybody: a process that maps it is never sent `SIGBUS` because another
//! cut it short. With `FUTURE_WRITE` sealed nobody can map it for writing any more, nor
//! write to it; mappings that were made before stay.

use std::ffi::CStr;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// Which pages are behind a descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Those of shared memory.
    Base,
    /// Huge pages of 2^shift bytes from the hugetlb pool.
    HugeTlb(u32),
}

/// Memory of `len` bytes, all zero and not there until it is touched. `EFBIG` if it is more
/// than `RLIMIT_FSIZE` allows, and no signal.
pub fn create(name: &CStr, len: usize, kind: Kind) -> io::Result<OwnedFd> {
    let huge = match kind {
        Kind::Base => 0,
        Kind::HugeTlb(shift) => libc::MFD_HUGETLB | shift << libc::MFD_HUGE_SHIFT,
    };
    let flags = libc::MFD_CLOEXEC | libc::MFD_ALLOW_SEALING | huge;
    // SAFETY: the name is a string that the call reads.
    let create = |flags| unsafe { libc::memfd_create(name.as_ptr(), flags) };
    // Before Linux 6.3 nobody knows of executable ones.
    let mut fd = create(flags | libc::MFD_NOEXEC_SEAL);
    if fd < 0 && io::Error::last_os_error().raw_os_error() == Some(libc::EINVAL) {
        fd = create(flags);
    }
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: it was made just now, and is nobody else's.
    let fd = unsafe { OwnedFd::from_raw_fd(fd) };
    let len = libc::off_t::try_from(len).map_err(|_| io::Error::from_raw_os_error(libc::EFBIG))?;
    let set = || {
        // SAFETY: the descriptor is open.
        match unsafe { libc::ftruncate(fd.as_raw_fd(), len) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    };
    without_signal(libc::SIGXFSZ, set)?;
    Ok(fd)
}

/// Makes `call`, and takes back the `signal` that the kernel sends the calling thread if it
/// refuses it: by default that ends the process. (For a size beyond `RLIMIT_FSIZE` it is
/// `SIGXFSZ`, besides `EFBIG`: getrlimit(2).)
fn without_signal<R>(signal: libc::c_int, call: impl FnOnce() -> io::Result<R>) -> io::Result<R> {
    let (mut own, mut before, mut pending) = (
        MaybeUninit::<libc::sigset_t>::uninit(),
        MaybeUninit::<libc::sigset_t>::uninit(),
        MaybeUninit::<libc::sigset_t>::uninit(),
    );
    // SAFETY: the sets are made by the first two calls, or written by those that they are
    // passed to, before they are read.
    let was_pending = unsafe {
        libc::sigemptyset(own.as_mut_ptr());
        libc::sigaddset(own.as_mut_ptr(), signal);
        libc::pthread_sigmask(libc::SIG_BLOCK, own.as_ptr(), before.as_mut_ptr());
        libc::sigpending(pending.as_mut_ptr());
        libc::sigismember(pending.as_ptr(), signal) == 1
    };
    let result = call();
    if result.is_err() && !was_pending {
        // It is pending, if it was sent, or one that somebody else sent.
        let now = libc::timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        // SAFETY: as above; what is taken is not asked for.
        unsafe { libc::sigtimedwait(own.as_ptr(), std::ptr::null_mut(), &raw const now) };
    }
    // SAFETY: as above.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, before.as_ptr(), std::ptr::null_mut()) };
    result
}

const SIZE_SEALS: libc::c_int = libc::F_SEAL_SHRINK | libc::F_SEAL_GROW;

/// Fixes the size for good, and if `read_only` that nobody maps it for writing from now
/// on.
pub fn seal(fd: BorrowedFd<'_>, read_only: bool) -> io::Result<()> {
    let write = if read_only {
        libc::F_SEAL_FUTURE_WRITE
    } else {
        0
    };
    let seals = SIZE_SEALS | write | libc::F_SEAL_SEAL;
    // SAFETY: the descriptor is open.
    if unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_ADD_SEALS, seals) } != 0 {
        return Err(io::Error::last_os_error());
    }
    if read_only && is_writable(fd)? {
        return Err(io::Error::from_raw_os_error(libc::EOPNOTSUPP));
    }
    Ok(())
}

/// Whether it can be mapped for writing. (Before Linux 5.13 that of the hugetlb pool can,
/// whatever was sealed.)
fn is_writable(fd: BorrowedFd<'_>) -> io::Result<bool> {
    match try_map(fd) {
        Ok(()) => Ok(true),
        Err(error) if error.raw_os_error() == Some(libc::EPERM) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Takes the pages from the hugetlb pool that mappings will need, or fails as `mmap` does.
/// They stay taken until nobody has the memory. (So a mapping at a fixed place does not
/// fail: see `Mapping::commit`.)
pub fn reserve(fd: BorrowedFd<'_>) -> io::Result<()> {
    try_map(fd)
}

/// Maps all of it for writing, anywhere, and unmaps it again.
fn try_map(fd: BorrowedFd<'_>) -> io::Result<()> {
    let access = libc::PROT_READ | libc::PROT_WRITE;
    let (null, len) = (std::ptr::null_mut(), len(fd)?);
    // SAFETY: a new mapping, of which nothing is used.
    let at = unsafe { libc::mmap(null, len, access, libc::MAP_SHARED, fd.as_raw_fd(), 0) };
    if at == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: made just now.
    unsafe { libc::munmap(at, len) };
    Ok(())
}

/// Gives every page its memory. Later on, where none is left, an access would be a fault.
pub fn populate(fd: BorrowedFd<'_>, len: usize) -> io::Result<()> {
    let len = libc::off_t::try_from(len).map_err(|_| io::Error::from_raw_os_error(libc::EFBIG))?;
    loop {
        // SAFETY: the descriptor is open.
        match unsafe { libc::fallocate(fd.as_raw_fd(), 0, 0, len) } {
            0 => return Ok(()),
            _ => match io::Error::last_os_error() {
                error if error.kind() == io::ErrorKind::Interrupted => {}
                error => return Err(error),
            },
        }
    }
}

/// Whether the size can no longer change. False for what is no such memory.
pub fn is_size_sealed(fd: BorrowedFd<'_>) -> bool {
    // SAFETY: the descriptor is open.
    let seals = unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_GET_SEALS) };
    seals >= 0 && seals & SIZE_SEALS == SIZE_SEALS
}

/// Whether nobody can write to it any more, nor take its pages, but who has mapped it for
/// writing before.
pub fn is_write_sealed(fd: BorrowedFd<'_>) -> bool {
    // SAFETY: the descriptor is open.
    let seals = unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_GET_SEALS) };
    seals >= 0 && seals & (libc::F_SEAL_WRITE | libc::F_SEAL_FUTURE_WRITE) != 0
}

/// Bytes behind a descriptor.
pub fn len(fd: BorrowedFd<'_>) -> io::Result<usize> {
    let mut stat = std::mem::MaybeUninit::<libc::stat>::uninit();
    // SAFETY: the descriptor is open, and the structure is there to be written.
    if unsafe { libc::fstat(fd.as_raw_fd(), stat.as_mut_ptr()) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: written just now.
    let stat = unsafe { stat.assume_init() };
    usize::try_from(stat.st_size).map_err(|_| io::Error::from_raw_os_error(libc::EOVERFLOW))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::io::Write;
    use std::os::fd::AsFd;

    #[test]
    fn what_is_sealed_keeps_its_size_and_may_be_closed_to_writers() {
        for read_only in [false, true] {
            let fd = create(c"test", 8192, Kind::Base).unwrap();
            assert!(!is_size_sealed(fd.as_fd()));
            seal(fd.as_fd(), read_only).unwrap();
            assert!(is_size_sealed(fd.as_fd()));
            assert_eq!(len(fd.as_fd()).unwrap(), 8192);
            let mut file = File::from(fd);
            assert!(file.set_len(4096).is_err() && file.set_len(16384).is_err());
            assert_eq!(file.write(b"x").is_err(), read_only);
            assert_eq!(is_writable(file.as_fd()).unwrap(), !read_only);
            assert_eq!(is_write_sealed(file.as_fd()), read_only);
            assert!(seal(file.as_fd(), false).is_err(), "sealed for good");
        }
    }

    #[test]
    fn what_is_populated_has_its_memory() {
        use std::os::unix::fs::MetadataExt;
        let fd = create(c"test", 1 << 20, Kind::Base).unwrap();
        populate(fd.as_fd(), 1 << 20).unwrap();
        let file = File::from(fd);
        assert_eq!(file.metadata().unwrap().blocks() * 512, 1 << 20);
    }

    #[test]
    fn pages_that_the_hugetlb_pool_does_not_have_are_not_reserved() {
        // More than any machine has.
        match create(c"test", 1 << 45, Kind::HugeTlb(21)) {
            Ok(fd) => assert!(reserve(fd.as_fd()).is_err()),
            Err(error) => println!("skipped: no huge pages: {error}"),
        }
        let base = create(c"test", 4096, Kind::Base).unwrap();
        reserve(base.as_fd()).unwrap();
    }

    #[test]
    fn an_ordinary_file_is_not_sealed() {
        let file = File::open("/proc/self/exe").unwrap();
        assert!(!is_size_sealed(file.as_fd()));
    }
}
