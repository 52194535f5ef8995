//! What of a range is in memory, asked for that range alone.
//!
//! Owns: `PAGEMAP_SCAN`, and the question whether a range is locked. Uses: libc, `backed`
//! for what is asked. Used by: `backed`.
//!
//! Source: the kernel's `Documentation/admin-guide/mm/pagemap.rst`, under "PAGEMAP_SCAN"
//! (Linux 6.7); msync(2), under EBUSY.

use super::backed::{Backed, Mapped};
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;

/// A page is in memory, is the shared page of zeroes, is part of a huge one.
const PRESENT: u64 = 1 << 3;
const ZERO: u64 = 1 << 5;
const HUGE: u64 = 1 << 6;

/// The kernel's `struct page_region`: neighbours of one kind.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Region {
    start: u64,
    end: u64,
    categories: u64,
}

/// The kernel's `struct pm_scan_arg`.
#[repr(C)]
#[derive(Default)]
struct Scan {
    size: u64,
    flags: u64,
    start: u64,
    end: u64,
    walk_end: u64,
    vec: u64,
    vec_len: u64,
    max_pages: u64,
    category_inverted: u64,
    category_mask: u64,
    category_anyof_mask: u64,
    return_mask: u64,
}

/// `_IOWR('f', 16, struct pm_scan_arg)`.
const PAGEMAP_SCAN: u64 = 3 << 30 | (size_of::<Scan>() as u64) << 16 | (b'f' as u64) << 8 | 16;

/// What the kernel answers at a time.
const REGIONS: usize = 128;

/// What backs each of `ranges`. Fails where the kernel knows no such question, or `/proc` is
/// not there; or if some of it is locked, of which nothing says how much.
pub fn backed(ranges: &[Mapped]) -> io::Result<Vec<Backed>> {
    // The calling thread's: the first thread, which `/proc/self` is, may have ended, and has no
    // memory then (a case that kernels did not all foresee).
    let pages = File::open("/proc/thread-self/pagemap")?;
    if ranges.iter().any(is_locked) {
        return Err(io::Error::from(io::ErrorKind::Unsupported));
    }
    ranges.iter().map(|range| scan(&pages, range)).collect()
}

fn scan(pages: &File, range: &Mapped) -> io::Result<Backed> {
    let mut found = Backed {
        page_size: range.page_size,
        ..Backed::default()
    };
    let mut regions = [Region::default(); REGIONS];
    let (mut start, end) = (range.start as u64, (range.start + range.bytes) as u64);
    while start < end {
        let mut asked = Scan {
            size: size_of::<Scan>() as u64,
            start,
            end,
            vec: regions.as_mut_ptr().expose_provenance() as u64,
            vec_len: REGIONS as u64,
            // In memory, and not the page of zeroes.
            category_inverted: ZERO,
            category_mask: PRESENT | ZERO,
            return_mask: HUGE,
            ..Scan::default()
        };
        // SAFETY: the request is as long as it says, and so are the regions, which nobody
        // refers to. Nothing is changed: no flag asks for that.
        let given = unsafe { libc::ioctl(pages.as_raw_fd(), PAGEMAP_SCAN, &raw mut asked) };
        let Ok(given) = usize::try_from(given) else {
            return Err(io::Error::last_os_error());
        };
        for region in regions.iter().take(given) {
            let bytes = region.end.saturating_sub(region.start) as usize;
            found.resident += bytes;
            if region.categories & HUGE != 0 {
                found.huge += bytes;
            }
        }
        if asked.walk_end <= start {
            // It would go on for ever.
            return Err(io::Error::from(io::ErrorKind::InvalidData));
        }
        start = asked.walk_end;
    }
    Ok(found)
}

/// Whether any of the range is locked into memory, hugetlb apart, which is never swapped.
fn is_locked(range: &Mapped) -> bool {
    let start = std::ptr::with_exposed_provenance_mut(range.start);
    // SAFETY: without `MS_SYNC` and `MS_ASYNC` the call changes nothing.
    let refused = unsafe { libc::msync(start, range.bytes, libc::MS_INVALIDATE) } != 0;
    refused && io::Error::last_os_error().raw_os_error() == Some(libc::EBUSY)
}
