//! Mappings: reserve, commit, advise, populate.
//!
//! Owns: every `mmap`, `munmap`, `mprotect`, `madvise`, `mlock` and `mincore`. Uses: libc,
//! `numa`. Used by: `table`, `arena`.
//!
//! Private memory that may be written counts against the commit limit
//! (`vm.overcommit_memory=2`, which ignores `MAP_NORESERVE`) and `RLIMIT_DATA` whether it
//! was ever touched or not, and all of it is faulted in where `mlockall(MCL_FUTURE)` locks
//! what is mapped. Memory that may not be written does none of this. So what is only
//! reserved is mapped without access, and `open` gives it access when it comes into use.
//!
//! Bookkeeping that may be accessed has a NUMA policy of its own (`numa::settle`), so that the
//! kernel does not unmap it to see who uses it. What is mapped anew has lost it, and what may
//! not be accessed needs none: so a range is settled when it gets access. Buffers get theirs
//! from `arena`.
//!
//! Source of the contracts: mmap(2), mprotect(2), madvise(2), mlock(2), mincore(2),
//! getrlimit(2), and the kernel's page on overcommit accounting.

use super::limits::base_page;
use super::numa;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr::NonNull;

fn check(result: libc::c_int) -> io::Result<()> {
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

fn map(
    at: *mut libc::c_void,
    len: usize,
    protection: libc::c_int,
    flags: libc::c_int,
) -> io::Result<NonNull<u8>> {
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | flags;
    map_from(at, len, protection, flags, -1, 0)
}

fn map_from(
    at: *mut libc::c_void,
    len: usize,
    protection: libc::c_int,
    flags: libc::c_int,
    fd: libc::c_int,
    offset: usize,
) -> io::Result<NonNull<u8>> {
    let offset =
        libc::off_t::try_from(offset).map_err(|_| io::Error::from_raw_os_error(libc::EOVERFLOW))?;
    // SAFETY: with a null `at` a mapping disturbs no other one, and callers that pass an
    // address own the range they name.
    let base = unsafe { libc::mmap(at, len, protection, flags, fd, offset) };
    if base == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    NonNull::new(base.cast()).ok_or_else(|| io::Error::from(io::ErrorKind::OutOfMemory))
}

/// An address range that this process holds, unmapped when dropped.
///
/// Invariant: `base..base + len` was mapped by `Mapping` and belongs to it
/// alone.
pub struct Mapping {
    base: NonNull<u8>,
    len: usize,
}

// SAFETY: a mapping belongs to the process; the methods that change it are
// system calls, which any thread may make.
unsafe impl Send for Mapping {}
// SAFETY: as above.
unsafe impl Sync for Mapping {}

/// How a range of a reservation is backed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backing {
    /// Huge pages of 2^shift bytes from the hugetlb pool.
    HugeTlb(u32),
    /// Base pages that the kernel is asked to merge into huge ones.
    Transparent,
    /// Base pages that may be collapsed into huge ones, of which the kernel is told nothing
    /// before.
    Collapsed,
    /// Base pages, never merged.
    Base,
}

/// What the kernel is told of a range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Advice {
    /// Leave it out of core dumps.
    DontDump,
    /// Children of a fork do not inherit it.
    DontFork,
    /// Its contents are no longer needed: give the pages back.
    DontNeed,
    /// Merge its pages into huge ones.
    Huge,
    /// Never do.
    NoHuge,
    /// Fault in every page for writing.
    PopulateWrite,
    /// Put what is there into huge pages, now (Linux 6.1).
    Collapse,
}

/// `MADV_COLLAPSE`, which `libc` does not have for every C library.
const COLLAPSE: libc::c_int = 25;

impl Advice {
    fn number(self) -> libc::c_int {
        match self {
            Self::DontDump => libc::MADV_DONTDUMP,
            Self::DontFork => libc::MADV_DONTFORK,
            Self::DontNeed => libc::MADV_DONTNEED,
            Self::Huge => libc::MADV_HUGEPAGE,
            Self::NoHuge => libc::MADV_NOHUGEPAGE,
            Self::PopulateWrite => libc::MADV_POPULATE_WRITE,
            Self::Collapse => COLLAPSE,
        }
    }
}

/// True if `error` means that memory could not be had.
pub fn is_out_of_memory(error: &io::Error) -> bool {
    // What lacks is space, to who asks for that of a file.
    matches!(
        error.raw_os_error(),
        Some(libc::ENOMEM | libc::EFAULT | libc::ENOSPC)
    )
}

/// Whether a mapping at a fixed place that fails, for lack of huge pages, say, has unmapped
/// what was there, so that another thread's may come there before it is replaced: before
/// Linux 6.12.
fn leaves_holes() -> bool {
    // SAFETY: all zero is a name; the call writes strings that end with a zero byte.
    let release = unsafe {
        let mut name: libc::utsname = std::mem::zeroed();
        libc::uname(&mut name);
        name.release
    };
    let release: Vec<u8> = release.iter().map(|&byte| byte as u8).collect();
    is_before_6_12(&release)
}

/// Whether that is so of the kernel that calls itself `release`; yes if it cannot be told.
fn is_before_6_12(release: &[u8]) -> bool {
    let text = String::from_utf8_lossy(release);
    let mut numbers = text
        .split(|c: char| !c.is_ascii_digit())
        .map(str::parse::<u32>);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(major)), Some(Ok(minor))) => (major, minor) < (6, 12),
        _ => true,
    }
}

impl Mapping {
    /// Zeroed memory for bookkeeping, which costs memory only where touched.
    pub fn metadata(len: usize) -> io::Result<Self> {
        let len = len.max(1).next_multiple_of(base_page());
        let base = map(
            std::ptr::null_mut(),
            len,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_NORESERVE,
        )?;
        let mapping = Self { base, len };
        // A huge page would make "touched" mean 2 MiB. A kernel without
        // transparent huge pages refuses the advice, which is as good.
        let _ = mapping.advise(0, len, Advice::NoHuge);
        mapping.settle(0, len);
        Ok(mapping)
    }

    /// As `metadata`, but nobody may write it, nor read it unless it is `readable`, before
    /// it is opened.
    pub fn closed(len: usize, readable: bool) -> io::Result<Self> {
        let len = len.max(1).next_multiple_of(base_page());
        let access = if readable {
            libc::PROT_READ
        } else {
            libc::PROT_NONE
        };
        let base = map(std::ptr::null_mut(), len, access, libc::MAP_NORESERVE)?;
        let mapping = Self { base, len };
        // As above. What is opened inherits it.
        let _ = mapping.advise(0, len, Advice::NoHuge);
        if readable {
            mapping.settle(0, len);
        }
        Ok(mapping)
    }

    /// Lets everybody read and write a range of whole pages, wherever that was not so. What
    /// is there stays. Fails, with nothing changed, if the system has no memory for it.
    pub fn open(&self, offset: usize, len: usize) -> io::Result<()> {
        let access = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: the range belongs to this mapping, whose memory may always be written.
        check(unsafe { libc::mprotect(self.at(offset, len), len, access) })?;
        self.settle(offset, len);
        Ok(())
    }

    /// Has the kernel leave the pages of a range where they are: `numa::settle`.
    pub fn settle(&self, offset: usize, len: usize) {
        let start = self.at(offset, len).cast();
        if let Some(start) = NonNull::new(start) {
            numa::settle(start, len);
        }
    }

    /// Takes a range back that was opened, with what it holds.
    ///
    /// # Safety
    ///
    /// Nobody may hold a reference into the range, nor get one before it is opened again.
    pub unsafe fn close(&self, offset: usize, len: usize) -> io::Result<()> {
        // Not `mprotect`: what is mapped anew counts no more.
        // SAFETY: the caller says so.
        unsafe { self.decommit(offset, len) }
    }

    /// Zeroed memory that a child of a fork shares.
    pub fn shared(len: usize) -> io::Result<Self> {
        let access = libc::PROT_READ | libc::PROT_WRITE;
        let flags = libc::MAP_SHARED | libc::MAP_ANONYMOUS;
        // SAFETY: a new mapping, which disturbs no other one.
        let base = unsafe { libc::mmap(std::ptr::null_mut(), len, access, flags, -1, 0) };
        if base == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let base = NonNull::new(base.cast::<u8>());
        let base = base.ok_or_else(|| io::Error::from(io::ErrorKind::OutOfMemory))?;
        Ok(Self { base, len })
    }

    /// Makes a range zeroed memory that can be read. It counts against no limit.
    ///
    /// # Safety
    ///
    /// Nobody may hold a reference into the range.
    pub unsafe fn renew_metadata(&self, offset: usize, len: usize) -> io::Result<()> {
        let flags = libc::MAP_NORESERVE | libc::MAP_FIXED;
        map(self.at(offset, len), len, libc::PROT_READ, flags)?;
        let _ = self.advise(offset, len, Advice::NoHuge);
        self.settle(offset, len);
        Ok(())
    }

    /// Address space of `len` bytes at a multiple of `alignment`, without
    /// memory: every access faults until a part is committed.
    pub fn reserve(len: usize, alignment: usize) -> io::Result<Self> {
        let padded = len
            .checked_add(alignment)
            .ok_or_else(|| io::Error::from_raw_os_error(libc::ENOMEM))?;
        let start = map(
            std::ptr::null_mut(),
            padded,
            libc::PROT_NONE,
            libc::MAP_NORESERVE,
        )?;
        let lead = start.as_ptr().addr().next_multiple_of(alignment) - start.as_ptr().addr();
        // SAFETY: `lead < alignment`, so the address is within the mapping.
        let base = unsafe { start.add(lead) };
        let unmap = |from: NonNull<u8>, len: usize| {
            if len > 0 {
                // SAFETY: a part of the mapping made above that is not kept.
                unsafe { libc::munmap(from.as_ptr().cast(), len) };
            }
        };
        unmap(start, lead);
        // SAFETY: `lead + len <= padded`: one past the kept range at most.
        unmap(unsafe { base.add(len) }, alignment - lead);
        let mapping = Self { base, len };
        // So that it is one mapping with tables next to it that are closed. What is committed
        // does not inherit it.
        let _ = mapping.advise(0, len, Advice::NoHuge);
        Ok(mapping)
    }

    /// The first byte.
    #[inline]
    pub fn base(&self) -> NonNull<u8> {
        self.base
    }

    /// Bytes.
    pub fn len(&self) -> usize {
        self.len
    }

    fn at(&self, offset: usize, len: usize) -> *mut libc::c_void {
        assert!(offset <= self.len && len <= self.len - offset);
        // SAFETY: within the range, as just checked.
        unsafe { self.base.as_ptr().add(offset).cast() }
    }

    /// Replaces a range by fresh, zeroed, readable and writable memory.
    ///
    /// # Safety
    ///
    /// Nobody may hold a reference into the range.
    pub unsafe fn commit(&self, offset: usize, len: usize, backing: Backing) -> io::Result<()> {
        let flags = match backing {
            Backing::HugeTlb(shift) => libc::MAP_HUGETLB | ((shift as i32) << libc::MAP_HUGE_SHIFT),
            Backing::Transparent | Backing::Collapsed | Backing::Base => 0,
        };
        let access = libc::PROT_READ | libc::PROT_WRITE;
        if leaves_holes() {
            // First where it does no harm.
            drop(Self {
                base: map(std::ptr::null_mut(), len, access, flags)?,
                len,
            });
        }
        map(self.at(offset, len), len, access, flags | libc::MAP_FIXED)?;
        self.advise_backing(offset, len, backing)
    }

    /// Asks whether the system would promise `len` bytes of memory. They are not taken.
    pub fn would_commit(len: usize) -> io::Result<()> {
        let access = libc::PROT_READ | libc::PROT_WRITE;
        let base = map(std::ptr::null_mut(), len, access, 0)?;
        drop(Self { base, len });
        Ok(())
    }

    /// Tells the kernel whether to merge the pages of a range.
    pub fn advise_backing(&self, offset: usize, len: usize, backing: Backing) -> io::Result<()> {
        let merged = match backing {
            Backing::HugeTlb(_) | Backing::Collapsed => return Ok(()),
            Backing::Transparent => self.advise(offset, len, Advice::Huge),
            Backing::Base => self.advise(offset, len, Advice::NoHuge),
        };
        match merged {
            // A kernel built without transparent huge pages knows neither
            // advice. It will not merge, which is all that `Base` asks.
            Err(error)
                if backing == Backing::Base && error.raw_os_error() == Some(libc::EINVAL) =>
            {
                Ok(())
            }
            other => other,
        }
    }

    /// Replaces a range by what is behind `fd` from byte `from` on, shared; writable, too,
    /// if it says so.
    ///
    /// # Safety
    ///
    /// Nobody may hold a reference into the range, and what is behind `fd` keeps its
    /// size.
    pub unsafe fn commit_from(
        &self,
        offset: usize,
        len: usize,
        fd: BorrowedFd<'_>,
        from: usize,
        writable: bool,
    ) -> io::Result<()> {
        let write = if writable { libc::PROT_WRITE } else { 0 };
        let access = libc::PROT_READ | write;
        let flags = libc::MAP_SHARED | libc::MAP_FIXED;
        let at = self.at(offset, len);
        map_from(at, len, access, flags, fd.as_raw_fd(), from).map(drop)
    }

    /// Maps `len` bytes of what is behind `fd` at a multiple of `alignment`, shared; for
    /// writing, too, if `writable`. Core dumps leave it out.
    pub fn of(
        fd: BorrowedFd<'_>,
        len: usize,
        alignment: usize,
        writable: bool,
    ) -> io::Result<Self> {
        let write = if writable { libc::PROT_WRITE } else { 0 };
        let (access, flags) = (libc::PROT_READ | write, libc::MAP_SHARED);
        if leaves_holes() {
            // First where it does no harm. Pages that this takes from the hugetlb pool stay
            // taken.
            drop(Self {
                base: map_from(std::ptr::null_mut(), len, access, flags, fd.as_raw_fd(), 0)?,
                len,
            });
        }
        let mapping = Self::reserve(len, alignment)?;
        // SAFETY: nobody knows of it yet. The caller has looked at the seals.
        unsafe { mapping.commit_from(0, len, fd, 0, writable) }?;
        mapping.advise(0, len, Advice::DontDump)?;
        Ok(mapping)
    }

    /// Gives the memory of a range back and keeps its addresses.
    ///
    /// # Safety
    ///
    /// Nobody may hold a reference into the range.
    pub unsafe fn decommit(&self, offset: usize, len: usize) -> io::Result<()> {
        let flags = libc::MAP_NORESERVE | libc::MAP_FIXED;
        map(self.at(offset, len), len, libc::PROT_NONE, flags)?;
        // As in `reserve` and `closed`.
        let _ = self.advise(offset, len, Advice::NoHuge);
        Ok(())
    }

    /// `madvise` on a range.
    pub fn advise(&self, offset: usize, len: usize, advice: Advice) -> io::Result<()> {
        // SAFETY: the range belongs to this mapping. `DontNeed`
        // alone discards contents, and is passed only for a segment that nobody
        // refers to any more.
        check(unsafe { libc::madvise(self.at(offset, len), len, advice.number()) })
    }

    /// Whether the kernel knows how to collapse. What it says of no memory at all: nothing is
    /// changed.
    pub fn can_collapse() -> io::Result<()> {
        // SAFETY: of an empty range nothing is touched.
        check(unsafe { libc::madvise(std::ptr::null_mut(), 0, COLLAPSE) })
    }

    /// Faults in every page of a range of fresh memory for writing. Unlike an
    /// access, this reports a page that cannot be had.
    pub fn populate(&self, offset: usize, len: usize, page: usize) -> io::Result<()> {
        match self.advise(offset, len, Advice::PopulateWrite) {
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {
                // Before Linux 5.14: touch.
                self.touch_fresh(offset, len, page);
                Ok(())
            }
            other => other,
        }
    }

    /// Locks a range into memory.
    pub fn lock(&self, offset: usize, len: usize) -> io::Result<()> {
        // SAFETY: the range belongs to this mapping; locking changes no
        // contents.
        check(unsafe { libc::mlock(self.at(offset, len), len) })
    }

    /// Writes a zero into every page of a range of fresh memory.
    fn touch_fresh(&self, offset: usize, len: usize, page: usize) {
        let start = self.at(offset, len).cast::<u8>();
        for at in (0..len).step_by(page) {
            // SAFETY: inside the range, which was just mapped writable, is all
            // zero, and nobody else's yet. Volatile, so that it happens.
            unsafe { start.add(at).write_volatile(0) };
        }
    }

    /// Bytes of the first `len` that are in memory, from `mincore`.
    pub fn resident(&self, len: usize) -> io::Result<usize> {
        const PAGES_A_CALL: usize = 1 << 14;
        let page = base_page();
        let len = len.next_multiple_of(page).min(self.len);
        let mut present = [0_u8; PAGES_A_CALL];
        let mut pages = 0;
        for offset in (0..len).step_by(PAGES_A_CALL * page) {
            let bytes = (len - offset).min(PAGES_A_CALL * page);
            // SAFETY: the range belongs to this mapping, and `present` has a
            // byte for each of its pages.
            check(unsafe {
                libc::mincore(
                    self.at(offset, bytes),
                    bytes,
                    present.as_mut_ptr().cast::<libc::c_uchar>(),
                )
            })?;
            pages += present[..bytes / page]
                .iter()
                .filter(|&&byte| byte & 1 == 1)
                .count();
        }
        Ok(pages * page)
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the range belongs to this mapping, and whoever drops it has
        // no references into it left.
        unsafe { libc::munmap(self.base.as_ptr().cast(), self.len) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernels_that_leave_holes_are_told_by_their_release() {
        for (release, before) in [
            ("5.10.0-8-amd64", true),
            ("6.1.0", true),
            ("6.11.99", true),
            ("6.12", false),
            ("6.12-rc1", false),
            ("6.18.44-fc-v657", false),
            ("7.0.0", false),
            ("10.1", false),
            ("unknown", true),
            ("", true),
        ] {
            assert_eq!(is_before_6_12(release.as_bytes()), before, "{release}");
        }
    }
}
