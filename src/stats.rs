//! What a pool has, holds and has done.
//!
//! Owns: the gathering and printing of statistics. Uses: `pool`'s shared part,
//! `sys::backed`, `sys::numa`. Used by: callers.

use crate::cache::CpuCaches;
use crate::catalog::Holder;
use crate::class::{ClassId, GRANULE};
use crate::error::Bytes;
use crate::pages::Pages;
use crate::pool::Shared;
use crate::rseq::WhyPortable;
use crate::sys::backed::{Backed, Mapped, backed};
use crate::sys::{limits, numa};
use crate::word::Index;
use std::fmt;

/// One class of a pool. Counts are exact while no other thread takes or gives
/// back, and read one after another otherwise.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClassStats {
    /// Bytes of each buffer.
    pub size: usize,
    /// What each buffer's address is a multiple of, in bytes.
    pub alignment: usize,
    /// Bytes from one buffer to the next.
    pub stride: usize,
    /// Buffers there are.
    pub capacity: usize,
    /// Buffers that callers hold.
    pub in_use: usize,
    /// Free buffers in processors' caches.
    pub cached: usize,
    /// How many the processors' caches may hold; moves with use.
    pub cache_capacity: usize,
    /// The most buffers that were out at once since
    /// [`reset_marks`](crate::Pool::reset_marks):
    /// [`ClassCounters::high_water`](crate::ClassCounters::high_water).
    pub high_water: usize,
    /// Times a processor's cache was filled with a batch.
    pub refills: u64,
    /// Times a full cache gave a batch to the depot.
    pub flushes: u64,
    /// Buffers taken from another processor's cache.
    pub steals: u64,
    /// Requests for this class that a larger class served.
    pub climbs: u64,
    /// Requests for this class that were refused for lack of a free buffer, at once or
    /// after a wait.
    pub failures: u64,
}

/// One segment of a pool, as the kernel backs it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SegmentStats {
    /// The first address.
    pub address: usize,
    /// Bytes: as far as its buffers reach, in whole pages. See
    /// [`Builder::reserve`](crate::Builder::reserve).
    pub bytes: usize,
    /// Buffers in it.
    pub buffers: usize,
    /// Size of those, in bytes.
    pub class_size: usize,
    /// Alignment of those, in bytes.
    pub class_alignment: usize,
    /// The kind of pages it was mapped with.
    pub pages: Pages,
    /// The page size that the kernel reports for its mapping, in bytes. For
    /// transparent and collapsed huge pages this is the base page; see `huge_bytes`.
    pub page_size: usize,
    /// Bytes that are on huge pages now.
    pub huge_bytes: usize,
    /// Bytes that are in memory now.
    pub resident_bytes: usize,
    /// Whether all of it is locked into memory.
    pub locked: bool,
    /// The NUMA node of its first page, if that is in memory and the kernel
    /// says. Further pages may be on others: of buffers that are
    /// [interleaved](crate::Builder::interleave) they are.
    pub node: Option<u32>,
    /// Whether it was added after the pool was built.
    pub grown: bool,
}

/// What a pool has, holds and has done: [`Pool::stats`](crate::Pool::stats).
/// Displays as a table.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// The classes, in the order in which they were declared.
    pub classes: Vec<ClassStats>,
    /// The segments, in the order in which they were mapped.
    pub segments: Vec<SegmentStats>,
    /// Requests that wait for a buffer.
    pub waiting: u64,
    /// Bytes of memory that the bookkeeping occupies, read from the kernel. At most 24 KiB, 64
    /// a buffer and 64 KiB for each processor that was there when the pool grew, or that it was
    /// used on since (128 KiB where there is one), and on top of that
    /// - 64 for each buffer that was out as a raw pointer, in whole pages, or for all
    ///   of them ([`Builder::raw_pointers`](crate::Builder::raw_pointers));
    /// - 64 for every 2 MiB of memory, which counts where buffers are larger than that;
    /// - 8 KiB for each segment where there are many, since its records, and what is kept for
    ///   every 2 MiB of it, begin in the midst of a page;
    /// - 64 for each buffer, in a pool that [tracks](crate::Builder::track) who takes them;
    /// - 640 for each class, for what its processors share while it runs dry;
    /// - 64 for each of the most that ever waited at once.
    pub metadata_bytes: usize,
    /// Bytes of memory that was trimmed, and that has not gone, because somebody has a
    /// [`Region`](crate::Region) of it. It has its addresses as well.
    pub held_bytes: usize,
    /// Bytes of address space that the pool may grow to.
    pub address_space: usize,
    /// Processors that there may be, each of which can have caches.
    pub cpus: usize,
    /// Those of them that the pool was used on, past its fastest path: buffers are shared out
    /// among their caches, and whoever looks for one looks through these.
    pub cpus_in_use: usize,
    /// The kind of per-CPU cache in use: `restartable` or `portable`.
    pub cache: &'static str,
    /// Why it is `portable`; `None` if it is not.
    pub why_portable: Option<WhyPortable>,
}

impl Stats {
    pub(crate) fn of(shared: &Shared) -> Self {
        let catalog = shared.catalog();
        let lists = catalog.lists();
        let (classes, segments, used, directory_bytes) = catalog.read(|directory| {
            let classes: Vec<ClassStats> = directory
                .classes
                .iter()
                .enumerate()
                .filter_map(|(at, geometry)| {
                    let id = ClassId::new(at)?;
                    let counts = lists.counts(id);
                    let free = counts.depot + counts.cached;
                    Some(ClassStats {
                        size: geometry.size(),
                        alignment: geometry.alignment(),
                        stride: geometry.stride(),
                        capacity: counts.capacity as usize,
                        in_use: counts.capacity.saturating_sub(free) as usize,
                        cached: counts.cached as usize,
                        cache_capacity: counts.cache_capacity as usize,
                        high_water: counts.high_water as usize,
                        refills: counts.refills,
                        flushes: counts.flushes,
                        steals: counts.steals,
                        climbs: counts.climbs,
                        failures: counts.failures,
                    })
                })
                .collect();
            let ranges: Vec<Mapped> = directory
                .segments
                .iter()
                .map(|entry| Mapped {
                    start: entry.segment.start().addr().get(),
                    bytes: entry.segment.bytes(),
                    page_size: page_size(entry.segment.pages().unwrap_or(Pages::Base)),
                })
                .collect();
            let backed = backed(&ranges).unwrap_or_default();
            let segments: Vec<SegmentStats> = directory
                .segments
                .iter()
                .enumerate()
                .map(|(at, entry)| {
                    let segment = &entry.segment;
                    let geometry = &directory.classes[entry.class.index()];
                    let pages = segment.pages().unwrap_or(Pages::Base);
                    // Without /proc, what the mapping itself proves.
                    let backed = backed
                        .get(at)
                        .copied()
                        .unwrap_or_else(|| by_mapping(pages, segment.bytes()));
                    SegmentStats {
                        address: segment.start().addr().get(),
                        bytes: segment.bytes(),
                        buffers: segment.count(),
                        class_size: geometry.size(),
                        class_alignment: geometry.alignment(),
                        pages,
                        page_size: backed.page_size,
                        huge_bytes: backed.huge,
                        resident_bytes: backed.resident,
                        locked: backed.locked >= segment.bytes(),
                        // Asking for the node of a page would fault it in.
                        node: (backed.resident >= segment.bytes())
                            .then(|| numa::node_of(segment.start()))
                            .flatten(),
                        grown: entry.grown,
                    }
                })
                .collect();
            let directory_bytes = size_of_val(directory.classes.as_slice())
                + directory.segments.len()
                    * (size_of::<crate::catalog::Entry<crate::arena::Segment>>()
                        + size_of::<crate::arena::Segment>());
            let used = directory.segments.iter().map(|entry| {
                let segment = &entry.segment;
                segment.first() + segment.room() / GRANULE
            });
            (classes, segments, used.max().unwrap_or(0), directory_bytes)
        });
        let indices = used << Index::POSITION_BITS;
        let tables = [
            lists.resident(indices),
            catalog.classes().resident(),
            shared.arena().resident(),
            shared.states_resident(indices),
        ];
        let resident: usize = tables.into_iter().map(|bytes| bytes.unwrap_or(0)).sum();
        Self {
            classes,
            segments,
            waiting: lists.line().waiters(),
            metadata_bytes: resident + directory_bytes + size_of::<Shared>(),
            held_bytes: shared.arena().held(),
            address_space: shared.arena().len(),
            cpus: lists.caches().cpus(),
            cpus_in_use: lists.cpus_in_use(),
            cache: lists.caches().name(),
            why_portable: lists.caches().why_portable(),
        }
    }

    /// Buffers of all classes.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.classes.iter().map(|class| class.capacity).sum()
    }
}

/// The page size of a mapping of `pages`, in bytes.
fn page_size(pages: Pages) -> usize {
    match pages {
        Pages::Huge1G => 1 << 30,
        Pages::Huge2M => 2 << 20,
        Pages::Transparent | Pages::Collapsed | Pages::Base => limits::base_page(),
    }
}

/// What can be said of a segment when the kernel says nothing: hugetlb pages are reserved by
/// the mapping itself; nothing is known of others.
fn by_mapping(pages: Pages, bytes: usize) -> Backed {
    let is_hugetlb = matches!(pages, Pages::Huge1G | Pages::Huge2M);
    Backed {
        page_size: page_size(pages),
        huge: if is_hugetlb { bytes } else { 0 },
        ..Backed::default()
    }
}

impl fmt::Display for Stats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{:<16} {:>9} {:>9} {:>9} {:>10} {:>9} {:>9} {:>9} {:>9} {:>9}",
            "class",
            "capacity",
            "in use",
            "cached",
            "high water",
            "refills",
            "flushes",
            "steals",
            "climbs",
            "failures"
        )?;
        for class in &self.classes {
            writeln!(
                f,
                "{:<16} {:>9} {:>9} {:>9} {:>10} {:>9} {:>9} {:>9} {:>9} {:>9}",
                format!("{}/{}", Bytes::exact(class.size), class.alignment),
                class.capacity,
                class.in_use,
                class.cached,
                class.high_water,
                class.refills,
                class.flushes,
                class.steals,
                class.climbs,
                class.failures
            )?;
        }
        writeln!(
            f,
            "{:<16} {:>9} {:>9} {:<16} {:>9} {:>10} {:>9} {:>6} {:>5}",
            "segment",
            "bytes",
            "buffers",
            " pages",
            "page size",
            "on huge",
            "resident",
            "locked",
            "node"
        )?;
        for segment in &self.segments {
            writeln!(
                f,
                "{:<16} {:>9} {:>9}  {:<15} {:>9} {:>10} {:>9} {:>6} {:>5}",
                format!("{:#x}", segment.address),
                Bytes::exact(segment.bytes).to_string(),
                segment.buffers,
                segment.pages,
                Bytes::exact(segment.page_size).to_string(),
                Bytes::exact(segment.huge_bytes).to_string(),
                Bytes::exact(segment.resident_bytes).to_string(),
                if segment.locked { "yes" } else { "no" },
                segment.node.map_or("?".to_owned(), |node| node.to_string()),
            )?;
        }
        let buffers = self.capacity();
        write!(
            f,
            "metadata {} B for {buffers} buffers and {} CPUs; address space {}; {} caches",
            self.metadata_bytes,
            self.cpus,
            Bytes::exact(self.address_space),
            self.cache,
        )?;
        if let Some(why) = self.why_portable {
            write!(f, " ({why})")?;
        }
        write!(f, "; {} waiting", self.waiting)
    }
}

#[cfg(all(test, any(target_arch = "x86_64", target_arch = "aarch64")))]
mod tests {
    use crate::rseq::{WhyPortable, plant};
    use crate::{Builder, Pool};

    fn builder() -> Builder {
        let builder = Pool::builder().reserve(4096, 4096, 8);
        builder.address_space(64 << 20).prefault(false)
    }

    #[test]
    fn a_pool_of_a_kernel_that_failed_the_trial_has_portable_caches_and_says_why() {
        let failed = [
            WhyPortable::NotRestarted,
            WhyPortable::NoThread,
            WhyPortable::NoTime,
        ];
        for why in failed {
            for track in [false, true] {
                let pool = plant(Err(why), || builder().track(track).build().unwrap());
                let stats = pool.stats();
                // Unless the kernel refused before it could be tried.
                let why = match stats.why_portable {
                    Some(refused @ (WhyPortable::NoBarrier | WhyPortable::NotRegistered)) => {
                        println!("skipped: {refused}");
                        refused
                    }
                    _ => why,
                };
                assert_eq!((stats.cache, stats.why_portable), ("portable", Some(why)));
                let words = format!("; portable caches ({why}); ");
                assert!(stats.to_string().contains(&words), "{stats}");
                let all = pool.allocate_many(4096, 4096, 8).unwrap();
                assert!(pool.allocate(4096, 4096).is_err());
                drop(all);
                assert_eq!(pool.available(4096, 4096), 8);
            }
        }
    }

    #[test]
    fn a_pool_whose_caches_were_chosen_says_so_and_tries_nothing() {
        let build = || builder().portable_caches(true).build().unwrap();
        let stats = plant(Err(WhyPortable::NotRestarted), build).stats();
        assert_eq!(stats.why_portable, Some(WhyPortable::Chosen));
    }

    #[test]
    fn a_pool_with_restartable_caches_has_no_reason_for_others() {
        let stats = builder().build().unwrap().stats();
        assert_eq!(stats.cache == "portable", stats.why_portable.is_some());
        assert!(stats.why_portable.is_some() || !stats.to_string().contains("caches ("));
    }
}
