//! How mapped memory comes to be there: faulted in, and collapsed into huge pages.
//!
//! Owns: the threads for that, and in which order a collapse goes. Uses: `sys`, `class` (what a
//! granule is). Used by: `ladder`.
//!
//! `MADV_COLLAPSE` (Linux 6.1) puts what is in a range into huge pages, whatever the
//! administrator's switches say; of shared memory `deny` refuses it, and of any
//! `PR_SET_THP_DISABLE`. It fills in what is not there of a huge page, but refuses one of which
//! nothing is. So first one base page of each is touched, then all are collapsed, and what was
//! not collapsed is faulted in last:
//!
//! ```text
//!   touched     ▪......... ▪......... ▪......... .....     ▪ a base page
//!   collapsed   ▐████████▌ ▐████████▌ ▪......... .....     no room for the third
//!   faulted in  ▐████████▌ ▐████████▌ ▪▪▪▪▪▪▪▪▪▪ ▪▪▪▪▪
//! ```
//!
//! A huge page is taken while the base page that it replaces is still there. So a range never
//! has more than its bytes, and one base page more for each thread that collapses. Where
//! `mlockall(MCL_FUTURE)` has faulted in all of the range when it was mapped, it has a huge
//! page more for each thread.
//!
//! A huge page comes from the node of what it replaces, and so from that which the range is
//! bound to.
//!
//! Source: madvise(2), and the kernel's `Documentation/admin-guide/mm/transhuge.rst`.

use crate::class::GRANULE;
use crate::sys::map::{Advice, Mapping};
use crate::sys::signal::{SIDES, side_by_side};
use std::io;
use std::ops::Range;

/// Faulting in less than this is not worth a second thread.
const PARALLEL_FROM: usize = 256 << 20;

/// How often the kernel is asked in all, if it says that memory is in use just now.
const TRIES: usize = 4;

/// Faults in a range, with several threads if it is large. Allocates nothing.
pub fn populate(arena: &Mapping, offset: usize, bytes: usize, page: usize) -> io::Result<()> {
    in_parts(offset, bytes, page, &|offset, bytes| {
        arena.populate(offset, bytes, page)
    })
}

/// Where the whole huge pages of `huge` bytes are in `bytes` from `offset` on, as offsets; an
/// empty range within these if there is none.
pub fn whole(arena: &Mapping, offset: usize, bytes: usize, huge: usize) -> Range<usize> {
    let base = arena.base().addr().get();
    let start = (base + offset).next_multiple_of(huge);
    let end = (base + offset + bytes) / huge * huge;
    if end <= start {
        return offset..offset;
    }
    start - base..end - base
}

/// How many of the `rest` bytes from `offset` on are faulted in before somebody asks again:
/// about `most`, and up to where a page of `unit` bytes ends.
pub fn piece(arena: &Mapping, offset: usize, rest: usize, most: usize, unit: usize) -> usize {
    let start = arena.base().addr().get() + offset;
    let end = (start + most) / unit * unit;
    rest.min(end - start)
}

/// Touches a base page, of `page` bytes, of each huge page of a range of whole ones, which is
/// fresh memory. The range may be spread over `nodes` in turn, base page by base page: then
/// huge pages that follow each other are touched where they come from one after the other.
pub fn touch(
    arena: &Mapping,
    range: Range<usize>,
    huge: usize,
    page: usize,
    nodes: usize,
) -> io::Result<()> {
    let pages = huge / page;
    for (at, offset) in range.step_by(huge).enumerate() {
        arena.populate(offset + in_turn(at, pages, nodes) * page, page, page)?;
    }
    Ok(())
}

/// Which base page of huge page `at`, of so many `pages`, comes from node `at`, modulo `nodes`,
/// if base pages come from these in turn: the one whose number is `at` more than a multiple of
/// `nodes`.
fn in_turn(at: usize, pages: usize, nodes: usize) -> usize {
    (at + at * (nodes - pages % nodes)) % nodes % pages
}

/// Collapses a range of whole huge pages that were touched, with several threads if it is
/// large. Fails if some of them were not collapsed; others may have been. Allocates nothing.
pub fn collapse(arena: &Mapping, range: Range<usize>, huge: usize) -> io::Result<()> {
    if range.is_empty() {
        return Ok(());
    }
    in_parts(range.start, range.len(), huge, &|offset, bytes| {
        // Again, that takes no time for those that were collapsed.
        persistently(|| arena.advise(offset, bytes, Advice::Collapse))
    })
}

/// Makes `call` until it says something else than that memory is in use just now, or `TRIES`
/// times.
fn persistently(mut call: impl FnMut() -> io::Result<()>) -> io::Result<()> {
    let mut tries = 1;
    loop {
        match call() {
            Err(error) if error.raw_os_error() == Some(libc::EAGAIN) && tries < TRIES => {
                tries += 1;
            }
            other => return other,
        }
    }
}

/// Calls `work` with the offset and the bytes of a range, or in several threads with those of
/// its parts, each of whole pages of `page` bytes but for the last. The first error counts.
fn in_parts(
    offset: usize,
    bytes: usize,
    page: usize,
    work: &(impl Fn(usize, usize) -> io::Result<()> + Sync),
) -> io::Result<()> {
    if bytes < PARALLEL_FROM {
        return work(offset, bytes);
    }
    let threads =
        std::thread::available_parallelism().map_or(1, |threads| threads.get().min(SIDES));
    if threads == 1 {
        return work(offset, bytes);
    }
    let unit = page.max(GRANULE);
    let part = bytes.div_ceil(threads).next_multiple_of(unit);
    let mut parts: [_; SIDES] = std::array::from_fn(|at| {
        let start = (at * part).min(bytes);
        (offset + start, part.min(bytes - start), Ok(()))
    });
    let parts = &mut parts[..bytes.div_ceil(part)];
    side_by_side(parts, &|(offset, bytes, result): &mut (usize, usize, _)| {
        *result = work(*offset, *bytes);
    });
    let mut result = Ok(());
    for (_, _, outcome) in parts {
        result = result.and(std::mem::replace(outcome, Ok(())));
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1 << 20;

    #[test]
    fn huge_pages_are_touched_where_they_come_from_one_node_after_the_other() {
        for pages in [512, 2048, 8192] {
            for nodes in 1..=16 {
                for at in 0..1000 {
                    let within = in_turn(at, pages, nodes);
                    assert!(within < pages);
                    assert_eq!(
                        (at * pages + within) % nodes,
                        at % nodes,
                        "{pages}, {nodes}"
                    );
                }
            }
        }
    }

    #[test]
    fn memory_that_is_in_use_just_now_is_asked_for_again_and_not_for_ever() {
        for (busy, number, asked) in [
            (0, libc::ENOMEM, 1),
            (2, libc::ENOMEM, 3),
            (TRIES, libc::ENOMEM, TRIES),
        ] {
            let mut calls = 0;
            let error = persistently(|| {
                calls += 1;
                let number = if calls > busy { number } else { libc::EAGAIN };
                Err(io::Error::from_raw_os_error(number))
            });
            let last = if busy < TRIES { number } else { libc::EAGAIN };
            assert_eq!(error.unwrap_err().raw_os_error(), Some(last));
            assert_eq!(calls, asked);
        }
        assert!(persistently(|| Ok(())).is_ok());
    }

    #[test]
    fn pieces_end_where_huge_pages_do() {
        let arena = Mapping::reserve(1024 * MIB, 512 * MIB).unwrap();
        for (offset, rest, most, unit, bytes) in [
            (2, 900, 256, 32, 254),
            (256, 700, 256, 32, 256),
            (2, 900, 512, 512, 510),
            (512, 100, 512, 512, 100),
            (2, 100, 256, 2, 100),
        ] {
            let piece = piece(&arena, offset * MIB, rest * MIB, most * MIB, unit * MIB);
            assert_eq!(piece, bytes * MIB, "{rest} from {offset}, {unit}");
        }
    }

    #[test]
    fn huge_pages_that_are_not_whole_in_a_range_are_left_out() {
        let arena = Mapping::reserve(128 * MIB, 64 * MIB).unwrap();
        for (offset, bytes, huge, whole) in [
            (2, 8, 2, 2..10),
            (2, 7, 2, 2..8),
            (0, 1, 2, 0..0),
            // With base pages of 16 KiB, a huge one has 32 MiB.
            (2, 62, 32, 32..64),
            (0, 64, 32, 0..64),
            (0, 72, 32, 0..64),
            (2, 61, 32, 2..2),
            (34, 16, 32, 34..34),
            (124, 4, 32, 124..124),
        ] {
            let found = super::whole(&arena, offset * MIB, bytes * MIB, huge * MIB);
            let expected = whole.start * MIB..whole.end * MIB;
            assert_eq!(found, expected, "{bytes} from {offset}, {huge}");
        }
    }
}
