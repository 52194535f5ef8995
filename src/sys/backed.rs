//! What the kernel really backed a range with.
//!
//! Owns: what is asked, and whom. Uses: `pagemap`, `smaps`. Used by: `arena`, for the page
//! size that was obtained, and `stats`.

use super::{pagemap, smaps};
use std::io;

/// A range of whole mappings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mapped {
    /// Its first address.
    pub start: usize,
    /// Bytes.
    pub bytes: usize,
    /// The page size that it was mapped with.
    pub page_size: usize,
}

/// What backs a range.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Backed {
    /// The page size of the range's mappings, in bytes: the smallest if they
    /// differ, 0 if nothing is mapped there.
    pub page_size: usize,
    /// Bytes on huge pages: hugetlb, or transparent ones.
    pub huge: usize,
    /// Bytes in memory.
    pub resident: usize,
    /// Bytes locked into memory.
    pub locked: usize,
}

/// Reads what backs each of `ranges`. Asks for these alone where the kernel lets one (Linux
/// 6.7); otherwise reads through all mappings of the process.
pub fn backed(ranges: &[Mapped]) -> io::Result<Vec<Backed>> {
    if let Ok(found) = pagemap::backed(ranges) {
        return Ok(found);
    }
    let ranges: Vec<_> = ranges.iter().map(|at| (at.start, at.bytes)).collect();
    smaps::backed(&ranges)
}

#[cfg(test)]
mod tests {
    use super::super::limits::base_page;
    use super::super::map::{Backing, Mapping};
    use super::*;

    const MIB: usize = 1 << 20;

    /// Both ways, of ranges of every kind, whole and in part in memory.
    #[test]
    fn the_kernel_says_the_same_either_way() {
        let page = base_page();
        let arena = Mapping::reserve(64 * MIB, 2 * MIB).unwrap();
        let mut ranges = Vec::new();
        let mut commit = |at: usize, backing, page_size: usize| {
            // SAFETY: nobody refers to the range.
            let committed = unsafe { arena.commit(at * MIB, 4 * MIB, backing) };
            let (start, bytes) = (arena.base().addr().get() + at * MIB, 4 * MIB);
            committed.inspect(|()| {
                ranges.push(Mapped {
                    start,
                    bytes,
                    page_size,
                });
            })
        };
        commit(0, Backing::Base, page).unwrap();
        commit(8, Backing::Base, page).unwrap();
        commit(16, Backing::Base, page).unwrap();
        commit(24, Backing::Base, page).unwrap();
        let transparent = commit(32, Backing::Transparent, page);
        let hugetlb = commit(40, Backing::HugeTlb(21), 2 * MIB);
        // None of the first; all of the second; every other page of the third.
        arena.populate(8 * MIB, 4 * MIB, page).unwrap();
        for at in (16 * MIB..20 * MIB).step_by(2 * page) {
            arena.populate(at, page, page).unwrap();
        }
        // Read, and so zero pages, which take no memory.
        for at in (16 * MIB + page..20 * MIB).step_by(2 * page) {
            // SAFETY: committed above.
            unsafe { arena.base().add(at).read_volatile() };
        }
        match transparent {
            Ok(()) => arena.populate(32 * MIB, 4 * MIB, page).unwrap(),
            Err(error) => println!("skipped: transparent huge pages: {error}"),
        }
        match hugetlb.and_then(|()| arena.populate(40 * MIB, 2 * MIB, 2 * MIB)) {
            Ok(()) => {}
            Err(error) => println!("skipped: 2 MiB pages: {error}"),
        }
        let pairs: Vec<_> = ranges.iter().map(|at| (at.start, at.bytes)).collect();
        let read = smaps::backed(&pairs).unwrap();
        assert_eq!(
            [read[0].resident, read[1].resident, read[2].resident],
            [0, 4 * MIB, 2 * MIB]
        );
        match pagemap::backed(&ranges) {
            Ok(asked) => assert_eq!(asked, read),
            Err(error) => println!("skipped: PAGEMAP_SCAN: {error}"),
        }
        assert_eq!(backed(&ranges).unwrap(), read);
        // Of what is locked in part, as much.
        match arena.lock(24 * MIB, MIB) {
            Ok(()) => {
                let read = smaps::backed(&pairs).unwrap();
                assert_eq!((read[3].locked, read[3].resident), (MIB, MIB));
                assert_eq!(backed(&ranges).unwrap(), read);
            }
            Err(error) => println!("skipped: locked memory: {error}"),
        }
    }
}
