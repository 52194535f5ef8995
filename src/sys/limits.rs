//! Limits and constants the process was given: the page size, how much it may lock, how
//! large a file may be, and how many addresses there are.
//!
//! Owns the `sysconf`, `getauxval` and `getrlimit` calls; uses libc only. [`Machine`](crate::Machine) reads it.

use std::io;
use std::mem::MaybeUninit;

/// A soft and a hard limit in bytes; `None` is unlimited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Limit {
    pub(crate) soft: Option<u64>,
    pub(crate) hard: Option<u64>,
}

/// Bytes this process may lock in memory (`RLIMIT_MEMLOCK`).
pub(crate) fn memlock() -> io::Result<Limit> {
    read(libc::RLIMIT_MEMLOCK)
}

/// Bytes that a file may have to which this process gives a size (`RLIMIT_FSIZE`).
pub(crate) fn file_size() -> io::Result<Limit> {
    read(libc::RLIMIT_FSIZE)
}

/// Bytes of address space that this process may map in all: what there is, or its limit
/// (`RLIMIT_AS`) if that is less. `None` if the system does not say.
pub(crate) fn address_space() -> Option<usize> {
    // SAFETY: it has no precondition.
    let high = unsafe { libc::getauxval(libc::AT_RANDOM) };
    // The kernel puts that onto the first stack, which is at the end of what there is: 2^47
    // on x86-64 (with five levels of page tables, too, for who does not ask for more), and a
    // power of two elsewhere.
    let all = usize::try_from(high).ok()?.checked_next_power_of_two()?;
    let limit = read(libc::RLIMIT_AS).ok().and_then(|limit| limit.soft);
    let limit = limit.and_then(|limit| usize::try_from(limit).ok());
    (high != 0).then(|| limit.map_or(all, |limit| limit.min(all)))
}

fn read(which: libc::__rlimit_resource_t) -> io::Result<Limit> {
    let mut limit = MaybeUninit::<libc::rlimit>::uninit();
    // SAFETY: `limit` is writable and as large as the `rlimit` the call fills in.
    let outcome = unsafe { libc::getrlimit(which, limit.as_mut_ptr()) };
    if outcome != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call succeeded, so it filled in the whole structure.
    let limit = unsafe { limit.assume_init() };
    Ok(Limit {
        soft: finite(limit.rlim_cur),
        hard: finite(limit.rlim_max),
    })
}

/// Bytes of one base page, 4096 if the system does not say.
pub(crate) fn base_page() -> usize {
    // SAFETY: `sysconf` takes no pointer and has no precondition.
    let bytes = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    usize::try_from(bytes)
        .ok()
        .filter(|bytes| bytes.is_power_of_two())
        .unwrap_or(4096)
}

fn finite(limit: libc::rlim_t) -> Option<u64> {
    (limit != libc::RLIM_INFINITY).then_some(limit)
}
