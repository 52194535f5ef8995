//! The page ladder: which pages back a segment, and how they are obtained.
//!
//! Owns: the order of attempts and what makes one fail. Uses: `sys`, `fault`, `placement`,
//! `refusal`. Used by: `segment`.
//!
//! Each rung that is not `Never` is tried in turn: ask whether there is so much, map, place,
//! advise, fault in, lock, and where the outcome shows only afterwards, read it back. A rung
//! that is not granted gives everything back and the next one is tried, unless it was
//! required. A refusal that no smaller page would mend (not enough memory, a
//! lock limit, a NUMA node) ends the attempt.
//!
//! Memory is mapped as far as the buffers reach, rounded up to a page of the kind that is
//! tried. Transparent huge pages come where the mapping has room for a whole one, so the
//! mapping decides: its last granule is whole if the buffers fill half of it or more, and
//! otherwise ends where they do, on base pages. A segment that fills less than half of a
//! granule is not tried on them, unless nothing else will do.
//!
//! Collapsed pages are transparent huge pages that the pool demands when it faults memory in,
//! where the kernel merges nothing by itself. A caller who forbids transparent pages wants
//! none of either kind: collapsed ones are forbidden with them until something is said of
//! collapsed ones. If nothing of the first `UNASKED` bytes of a segment can be collapsed, the
//! rest is not tried.
//!
//! Four kinds of memory are mapped and then end whoever touches them; none is mapped here:
//!
//! - More than there is: so all that is faulted in is asked for first.
//! - Pages from the hugetlb pool in a control group that limits them, which counts them when
//!   they are touched: so they are asked for, and faulted in at once.
//! - Pages from the hugetlb pool that must come from one node: a mapping is promised what all
//!   nodes have. So the node is asked, and they are faulted in at once.
//! - Memory with a descriptor where the system promises no more than it has
//!   (`vm.overcommit_memory` is 2): it promises that of private memory when it is mapped, and
//!   that of a file's pages one by one. So those are taken at once.

use super::fault;
use super::os;
use super::placement::Placement;
use super::refusal::{Failure, Reason, check, file_too_large, out_of_memory, together};
use crate::class::{GRANULE, Geometry};
use crate::error::{BuildError, OsError};
use crate::pages::{Pages, Rung};
use crate::sys::backed::{Backed as PagesOf, Mapped, backed};
use crate::sys::map::{Advice, Backing, Mapping, is_out_of_memory};
use crate::sys::quota::Kind;
use crate::sys::{limits, memfd, memory, node, transparent};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

const GIB: usize = 1 << 30;

/// How much is faulted in before somebody asks again whether there is enough for the rest:
/// limits are lowered meanwhile, and others take memory, too.
const UNASKED: usize = 256 << 20;

/// Which pages may be used: what was said of each kind.
#[derive(Clone, Copy, Debug, Default)]
pub struct PageLadder([Option<Rung>; Pages::ALL.len()]);

impl PageLadder {
    /// Whether `pages` may be used.
    pub fn get(&self, pages: Pages) -> Rung {
        match (self.0[pages as usize], pages) {
            (Some(said), _) => said,
            (None, Pages::Collapsed) if self.get(Pages::Transparent) == Rung::Never => Rung::Never,
            (None, _) => Rung::Prefer,
        }
    }

    /// Sets whether `pages` may be used.
    pub fn set(&mut self, pages: Pages, rung: Rung) {
        self.0[pages as usize] = Some(rung);
    }
}

/// How the memory of segments is to be obtained.
#[derive(Clone, Debug)]
pub struct MemoryPolicy {
    /// Which pages may be used.
    pub ladder: PageLadder,
    /// Whether to fault everything in at once.
    pub prefault: bool,
    /// Whether to lock it into memory.
    pub lock: bool,
    /// Whether core dumps contain it.
    pub dump: bool,
    /// Whether children of a fork inherit it.
    pub fork: bool,
    /// The NUMA nodes it comes from.
    pub placement: Placement,
    /// What other processes may do with it, if it is to be shared with any.
    pub shared: Option<Access>,
    /// Bytes of bookkeeping that are touched for each buffer.
    pub bookkeeping: usize,
}

/// What other processes may do with a pool's buffers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Access {
    /// Read them.
    Read,
    /// Read and write them.
    Write,
}

impl Default for MemoryPolicy {
    fn default() -> Self {
        Self {
            ladder: PageLadder::default(),
            prefault: true,
            lock: false,
            dump: false,
            fork: false,
            placement: Placement::default(),
            shared: None,
            bookkeeping: 0,
        }
    }
}

/// How much address space a segment takes, and where it may begin.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Bytes, a whole number of granules.
    pub bytes: usize,
    /// Granules its start is a multiple of.
    pub granule_alignment: usize,
}

impl MemoryPolicy {
    /// The address space for a segment whose buffers take `cells` bytes; `None` if that
    /// overflows. It is made fit for 1 GiB pages if they are required, or if the system has
    /// some free and rounding up wastes no more than an eighth.
    pub fn plan(&self, cells: usize, geometry: &Geometry) -> Option<Plan> {
        let bytes = cells.checked_next_multiple_of(GRANULE)?;
        let mut plan = Plan {
            bytes,
            granule_alignment: geometry.granule_alignment(),
        };
        let gigantic = match self.ladder.get(Pages::Huge1G) {
            Rung::Never => false,
            Rung::Require => true,
            Rung::Prefer => !self.is_inherited() && bytes >= GIB && free_gigantic_pages() > 0,
        };
        if gigantic && let Some(rounded) = bytes.checked_next_multiple_of(GIB) {
            let tolerable = rounded - bytes <= bytes / 8;
            if tolerable || self.ladder.get(Pages::Huge1G) == Rung::Require {
                plan.bytes = rounded;
                plan.granule_alignment = plan.granule_alignment.max(GIB / GRANULE);
            }
        }
        Some(plan)
    }

    /// How many of the `bytes` of a segment, of which its buffers take the first `cells`, are
    /// to have memory if it is on `pages`; 0 if these are not for so little.
    fn reach(&self, pages: Pages, cells: usize, bytes: usize) -> usize {
        let whole = cells.next_multiple_of(GRANULE);
        let reach = cells.next_multiple_of(limits::base_page());
        let only =
            self.ladder.get(pages) == Rung::Require || self.ladder.get(Pages::Base) == Rung::Never;
        match pages {
            Pages::Huge1G => bytes,
            Pages::Huge2M => whole,
            Pages::Base => reach,
            Pages::Transparent | Pages::Collapsed if only || whole - cells <= GRANULE / 2 => whole,
            Pages::Transparent | Pages::Collapsed if reach < GRANULE => 0,
            Pages::Transparent | Pages::Collapsed => reach,
        }
    }

    /// Whether children of a fork inherit the memory. Not if it is shared: two processes would
    /// hand out the same buffers.
    fn is_inherited(&self) -> bool {
        self.fork && self.shared.is_none()
    }

    /// Backs a range of `bytes` bytes of `arena` that nobody refers to, as far as its `count`
    /// buffers reach, which take the first `cells` of them. If it fails, the range has no
    /// memory.
    pub(super) fn back(
        &self,
        arena: &Mapping,
        offset: usize,
        bytes: usize,
        cells: usize,
        count: usize,
    ) -> Result<Backed, BuildError> {
        // What was said of the last kind of pages of which anything was said.
        let mut said = None;
        for pages in Pages::ALL {
            let rung = self.ladder.get(pages);
            let fits = match pages {
                Pages::Huge1G => (offset | bytes).is_multiple_of(GIB),
                Pages::Collapsed => self.prefault,
                _ => true,
            };
            let reach = self.reach(pages, cells, bytes);
            // To copy what a process writes after a fork takes another huge page, and if there
            // is none, the child loses its own: its next touch is its end.
            let safe = !self.is_inherited() || !is_hugetlb(pages) || rung == Rung::Require;
            if rung == Rung::Never || !fits || !safe || reach == 0 {
                continue;
            }
            match self.attempt(arena, offset, bytes, reach, count, pages) {
                Ok(descriptor) => {
                    return Ok(Backed {
                        pages,
                        bytes: reach,
                        descriptor,
                    });
                }
                Err(failure) => {
                    // SAFETY: the caller says that nobody refers to the range.
                    unsafe { arena.decommit(offset, bytes) }.map_err(os("mmap"))?;
                    match failure {
                        Failure::Final(error) => return Err(error),
                        Failure::NotGranted { granted, reason } if rung == Rung::Require => {
                            let known = reason.as_ref().and_then(|reason| reason.last(reach));
                            return Err(known.unwrap_or(BuildError::PagesNotGranted {
                                required: pages,
                                bytes: reach,
                                granted,
                                reason: reason.and_then(Reason::system),
                            }));
                        }
                        Failure::NotGranted {
                            reason: Some(Reason::System(reason)),
                            ..
                        } if pages == Pages::Base => return Err(BuildError::System(reason)),
                        Failure::NotGranted { reason, .. } => said = reason.or(said),
                    }
                }
            }
        }
        // Not `bytes`, which may be rounded up to a kind of pages that was not had.
        let needed = cells.next_multiple_of(GRANULE);
        let known = said.as_ref().and_then(|said| said.last(needed));
        Err(known.unwrap_or(BuildError::NoPages {
            bytes: needed,
            reason: said.and_then(Reason::system),
        }))
    }

    /// Backs the first `bytes` of a range of `room`.
    fn attempt(
        &self,
        arena: &Mapping,
        offset: usize,
        room: usize,
        bytes: usize,
        count: usize,
        pages: Pages,
    ) -> Result<Option<OwnedFd>, Failure> {
        let (backing, page) = match pages {
            Pages::Huge1G => (Backing::HugeTlb(30), GIB),
            Pages::Huge2M => (Backing::HugeTlb(21), GRANULE),
            Pages::Transparent => (Backing::Transparent, limits::base_page()),
            Pages::Collapsed => (Backing::Collapsed, limits::base_page()),
            Pages::Base => (Backing::Base, limits::base_page()),
        };
        let hugetlb = is_hugetlb(pages);
        if pages == Pages::Transparent && !transparent::merges(self.shared.is_some()) {
            return Err(Failure::NotGranted {
                granted: 0,
                reason: None,
            });
        }
        let collapsed = match pages {
            Pages::Collapsed => Some(self.collapsible(arena, offset, bytes)?),
            _ => None,
        };
        let strict = self.shared.is_some() && !hugetlb && memory::is_strict();
        let limited = match pages {
            Pages::Huge1G => memory::check_huge(bytes, Kind::Huge1G).map_err(Failure::group)?,
            Pages::Huge2M => memory::check_huge(bytes, Kind::Huge2M).map_err(Failure::group)?,
            Pages::Transparent | Pages::Collapsed | Pages::Base => false,
        };
        let nodes = self.placement.only();
        let nodes = nodes.as_ref();
        if hugetlb
            && let Some(nodes) = nodes
            && let Some(free) = together(nodes, |node| node::free_huge(node, page))
            && free < bytes
        {
            return Err(Failure::nodes(nodes, free));
        }
        let prefault = self.prefault || limited || (hugetlb && nodes.is_some());
        if !hugetlb && (prefault || self.lock || strict) {
            let tables = count.saturating_mul(self.bookkeeping);
            check(bytes, bytes, tables, nodes)?;
        }
        let refused = |call| {
            move |error: io::Error| {
                if !hugetlb && is_out_of_memory(&error) {
                    return Failure::Final(out_of_memory(bytes));
                }
                Failure::system(OsError::new(call, &error))
            }
        };
        let descriptor = match self.shared {
            None => {
                // SAFETY: the caller says that nobody refers to the range.
                unsafe { arena.commit(offset, bytes, backing) }.map_err(refused("mmap"))?;
                None
            }
            Some(access) => {
                let kind = match backing {
                    Backing::HugeTlb(shift) => memfd::Kind::HugeTlb(shift),
                    Backing::Transparent | Backing::Collapsed | Backing::Base => memfd::Kind::Base,
                };
                let fd =
                    memfd::create(c"hugepool", room, kind).map_err(
                        |error| match file_too_large(room, &error) {
                            Some(error) => Failure::Final(error),
                            None => refused("memfd_create")(error),
                        },
                    )?;
                if hugetlb {
                    memfd::reserve(fd.as_fd()).map_err(refused("mmap"))?;
                }
                // SAFETY: as above; the size is sealed before anybody else has it.
                unsafe { arena.commit_from(offset, bytes, fd.as_fd(), 0, true) }
                    .map_err(refused("mmap"))?;
                memfd::seal(fd.as_fd(), access == Access::Read).map_err(refused("fcntl"))?;
                (arena.advise_backing(offset, bytes, backing)).map_err(refused("madvise"))?;
                Some(fd)
            }
        };
        // SAFETY: the range is inside the mapping.
        let start = unsafe { arena.base().add(offset) };
        self.placement.place(start, bytes).map_err(Failure::Final)?;
        if self.placement == Placement::Own && descriptor.is_none() && !hugetlb {
            arena.settle(offset, bytes);
        }
        if let Some(fd) = &descriptor
            && strict
        {
            let merged = matches!(pages, Pages::Transparent | Pages::Collapsed) && prefault;
            promise(fd.as_fd(), bytes, merged).map_err(refused("fallocate"))?;
        }
        let inherited = self.is_inherited();
        let kept = [(self.dump, Advice::DontDump), (inherited, Advice::DontFork)];
        for (kept, advice) in kept {
            if !kept {
                arena
                    .advise(offset, bytes, advice)
                    .map_err(|error| Failure::Final(os("madvise")(error)))?;
            }
        }
        if prefault {
            let unit = collapsed.unwrap_or(page);
            let required = self.ladder.get(pages) == Rung::Require;
            let (mut done, mut some) = (0, false);
            // Where the process has all locked that it maps, it was faulted in then.
            let mut there = None;
            let is_there = || resident(start.as_ptr().addr(), bytes, page) == Some(bytes);
            while done < bytes {
                let rest = bytes - done;
                if done > 0 && !hugetlb && !*there.get_or_insert_with(is_there) {
                    check(bytes, rest, 0, nodes)?;
                }
                let at = offset + done;
                let part = fault::piece(arena, at, rest, UNASKED.max(unit), unit);
                let populating = "madvise(MADV_POPULATE_WRITE)";
                if let Some(huge) = collapsed {
                    let range = fault::whole(arena, at, part, huge);
                    let turns = self.placement.turns();
                    fault::touch(arena, range.clone(), huge, page, turns)
                        .map_err(refused(populating))?;
                    if let Err(error) = fault::collapse(arena, range, huge)
                        && (required || !some)
                    {
                        // Before the rest is faulted in for nothing. What is not there yet is
                        // on no huge page.
                        let error = OsError::new("madvise(MADV_COLLAPSE)", &error);
                        let granted = granted(start.as_ptr().addr(), bytes, page);
                        self.enough(pages, bytes, granted.or(Some(0)), Some(error))?;
                        some = true;
                    }
                }
                fault::populate(arena, at, part, page).map_err(refused(populating))?;
                done += part;
            }
        }
        if self.lock {
            arena.lock(offset, bytes).map_err(|error| {
                let limit = limits::memlock().ok().and_then(|limit| limit.soft);
                Failure::Final(BuildError::Lock {
                    bytes,
                    limit: limit.and_then(|bytes| usize::try_from(bytes).ok()),
                    reason: OsError::new("mlock", &error),
                })
            })?;
        }
        if matches!(pages, Pages::Transparent | Pages::Collapsed) && self.prefault {
            let granted = granted(start.as_ptr().addr(), bytes, page);
            self.enough(pages, bytes, granted, None)?;
        }
        Ok(descriptor)
    }

    /// Bytes of the huge pages into which the `bytes` from `offset` on can be collapsed. Not if
    /// the kernel cannot, nor if there is no whole one; with base pages of more than 4 KiB they
    /// are larger than a granule.
    fn collapsible(&self, arena: &Mapping, offset: usize, bytes: usize) -> Result<usize, Failure> {
        Mapping::can_collapse()
            .map_err(|error| Failure::system(OsError::new("madvise(MADV_COLLAPSE)", &error)))?;
        let start = arena.base().addr().get() + offset;
        let huge = transparent::size().filter(|&huge| {
            if self.shared.is_some() && !start.is_multiple_of(huge) {
                // A file's pages are whole where its bytes are; it begins here.
                return false;
            }
            let whole = fault::whole(arena, offset, bytes, huge).len();
            let required = self.ladder.get(Pages::Collapsed) == Rung::Require;
            whole >= if required { bytes } else { huge }
        });
        huge.ok_or(Failure::NotGranted {
            granted: 0,
            reason: None,
        })
    }

    /// Whether so much was `granted` of the `bytes` that were asked for as `pages` that it will
    /// do. A segment without a single huge page is one of base pages, whatever was asked for.
    /// If the kernel does not say, it is believed to have done what it was asked, unless it
    /// must.
    fn enough(
        &self,
        pages: Pages,
        bytes: usize,
        granted: Option<usize>,
        reason: Option<OsError>,
    ) -> Result<(), Failure> {
        let required = self.ladder.get(pages) == Rung::Require;
        let enough = match granted {
            Some(granted) if required => granted >= bytes,
            Some(granted) => granted > 0,
            None => !required,
        };
        match enough {
            true => Ok(()),
            false => Err(Failure::NotGranted {
                granted: granted.unwrap_or(0),
                reason: reason.map(Reason::System),
            }),
        }
    }
}

fn is_hugetlb(pages: Pages) -> bool {
    matches!(pages, Pages::Huge1G | Pages::Huge2M)
}

/// What a segment was backed with.
pub(super) struct Backed {
    /// The kind of pages.
    pub(super) pages: Pages,
    /// Bytes that have memory.
    pub(super) bytes: usize,
    /// Behind which it is, if it is shared. Its size is that of the segment.
    pub(super) descriptor: Option<OwnedFd>,
}

/// Has a system that promises no more than it has promise `bytes` behind `fd`. If they are
/// to be `merged`, which only a fault does, it is asked whether it would.
fn promise(fd: BorrowedFd<'_>, bytes: usize, merged: bool) -> io::Result<()> {
    if merged {
        return Mapping::would_commit(bytes);
    }
    memfd::populate(fd, bytes)
}

/// Bytes of the range on huge pages; `None` if the kernel does not say.
fn granted(start: usize, bytes: usize, page_size: usize) -> Option<usize> {
    Some(looked_up(start, bytes, page_size)?.huge)
}

/// Bytes of the range that are in memory; `None` if the kernel does not say.
fn resident(start: usize, bytes: usize, page_size: usize) -> Option<usize> {
    Some(looked_up(start, bytes, page_size)?.resident)
}

fn looked_up(start: usize, bytes: usize, page_size: usize) -> Option<PagesOf> {
    let range = Mapped {
        start,
        bytes,
        page_size,
    };
    backed(&[range]).ok()?.into_iter().next()
}

fn free_gigantic_pages() -> usize {
    std::fs::read_to_string("/sys/kernel/mm/hugepages/hugepages-1048576kB/free_hugepages")
        .ok()
        .and_then(|text| text.trim().parse().ok())
        .unwrap_or(0)
}
