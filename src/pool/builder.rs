//! The description of a pool, and its construction.
//!
//! Owns: defaults and the checking of what was asked for. Uses: `arena`,
//! `catalog`. Used by: callers.

use super::front::Front;
use super::shared::Sharing;
use super::track::OnLeak;
use super::{Handle, Pool, Shared};
use crate::arena::{Access, MemoryPolicy, Placement, layout_bytes};
use crate::buffer::Volatile;
use crate::catalog::Catalog;
use crate::class::{GRANULE, Geometry, MAX_ALIGNMENT, MAX_SIZE};
use crate::error::BuildError;
use crate::outstanding::Outstanding;
use crate::pages::{Pages, Rung};
use crate::record::{Record, State};
use crate::sync::Arc;
use crate::track::Track;
use std::mem::ManuallyDrop;

/// What the caches of a processor may hold by default, in bytes.
const CACHE_BYTES: usize = 64 << 20;

/// The largest prefix zone, in bytes.
const MAX_PREFIX: usize = 1 << 20;

/// The description of a [`Pool`].
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use hugepool::{Pages, Pool, Rung};
///
/// let pool = Pool::builder()
///     .reserve(64 << 10, 4096, 64) // 64 buffers of 64 KiB at 4096
///     .reserve(1 << 20, 4096, 8) // 8 of 1 MiB
///     .prefix_zone(512) // 512 bytes right before each
///     .pages(Pages::Huge1G, Rung::Never)
///     .build()?;
/// assert_eq!(pool.available(1 << 20, 4096), 8);
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
#[must_use = "no pool is built before `build`"]
pub struct Builder {
    pub(super) requests: Vec<(usize, usize, usize)>,
    pub(super) prefix: usize,
    pub(super) address_space: Option<usize>,
    climb: usize,
    memory: MemoryPolicy,
    pub(super) portable: bool,
    raw_pointers: bool,
    pub(super) cache_bytes: usize,
    pub(super) strict_order: bool,
    pub(super) track: bool,
    pub(super) wipe: bool,
    on_leak: Option<OnLeak>,
}

impl Default for Builder {
    fn default() -> Self {
        Self {
            requests: Vec::new(),
            prefix: 0,
            address_space: None,
            climb: 4,
            memory: MemoryPolicy::default(),
            portable: false,
            raw_pointers: false,
            cache_bytes: CACHE_BYTES,
            strict_order: false,
            track: false,
            wipe: false,
            on_leak: None,
        }
    }
}

/// Whether there can be such a prefix zone.
pub(crate) fn check_prefix(prefix: usize) -> Result<(), BuildError> {
    let limit = MAX_PREFIX;
    if prefix > limit {
        return Err(BuildError::PrefixTooLarge { prefix, limit });
    }
    Ok(())
}

/// The layout of a class, or what is wrong with the request for it.
pub(crate) fn geometry(
    size: usize,
    alignment: usize,
    prefix: usize,
    count: usize,
) -> Result<Geometry, BuildError> {
    if size == 0 {
        return Err(BuildError::ZeroSize);
    }
    if size > MAX_SIZE {
        let limit = MAX_SIZE;
        return Err(BuildError::SizeTooLarge { size, limit });
    }
    if !alignment.is_power_of_two() {
        return Err(BuildError::BadAlignment { alignment });
    }
    if count == 0 {
        return Err(BuildError::ZeroCount { size, alignment });
    }
    let limit = MAX_ALIGNMENT;
    // The last thing that can be wrong.
    Geometry::new(size, alignment, prefix).ok_or(BuildError::AlignmentTooLarge { alignment, limit })
}

impl Builder {
    /// Declares `count` buffers of `size` bytes whose addresses are multiples of
    /// `alignment`. May be called many times, in any mix; equal sizes and
    /// alignments are one class.
    ///
    /// Sizes are 1 B to 1 GiB, alignments powers of two up to 64 MiB. Every
    /// buffer is aligned to 512 at least. A pool can have 128 different classes
    /// over its life.
    ///
    /// Each call, and each [`request`](Pool::request), makes a segment, which costs:
    ///
    /// - address space: whole multiples of 2 MiB, and 2 MiB behind it;
    /// - memory: on base pages what the buffers reach, in whole pages. On transparent or
    ///   collapsed huge pages the last one is whole if the buffers fill half of it or more;
    ///   otherwise the rest is on base pages, and so is all of a segment of less than 1 MiB.
    ///   On pages of the hugetlb pool, or if one of those is required, whole ones of 2 MiB or
    ///   1 GiB:
    ///   few small buffers that are not to take one exclude them ([`pages`](Self::pages));
    /// - bookkeeping: about 110 bytes a buffer that count against the limits of the process
    ///   (`RLIMIT_DATA`, and the commit limit of `vm.overcommit_memory=2`), of which 64 are
    ///   in memory only when raw pointers are used; and some pages for a new class.
    pub fn reserve(mut self, size: usize, alignment: usize, count: usize) -> Self {
        self.requests.push((size, alignment, count));
        self
    }

    /// Keeps `bytes` right before every buffer's data for the client's own use
    /// (default 0, at most 1 MiB). The data start is what is aligned.
    pub fn prefix_zone(mut self, bytes: usize) -> Self {
        self.prefix = bytes;
        self
    }

    /// Reserves `bytes` of address space: the most that the pool may ever grow
    /// to by [`Pool::request`], up to 1 TiB. It costs no memory, and counts against no limit
    /// but that on addresses (`RLIMIT_AS`), to which bookkeeping adds a quarter, or a third in a
    /// pool that [tracks](Self::track).
    ///
    /// By default it is sixteen times what is declared and at least 8 GiB more than that, but
    /// what is more than declared is no more than a sixteenth of the addresses that the process
    /// has left. [`Stats::address_space`](crate::Stats::address_space) says how much it is.
    /// [`Pool::request`] beyond that is refused: [`BuildError::AddressSpace`].
    pub fn address_space(mut self, bytes: usize) -> Self {
        self.address_space = Some(bytes);
        self
    }

    /// Lets a request whose class is empty take a buffer of a class up to
    /// `factor` times its size (default 4; 0 or 1: no larger class).
    pub fn climb(mut self, factor: usize) -> Self {
        self.climb = factor;
        self
    }

    /// Lets the caches of one processor hold up to `bytes` of free buffers, all
    /// classes together (default 64 MiB), besides two of each class. Within that
    /// they grow for the classes that miss, at the cost of idle ones. A cache
    /// never holds more than 60 buffers of a class. For a second after a thread
    /// took a buffer out of another processor's cache, or waited, the class's caches
    /// grow to half of a processor's share of its buffers at most.
    pub fn cpu_cache(mut self, bytes: usize) -> Self {
        self.cache_bytes = bytes;
        self
    }

    /// Uses caches that work by compare-and-swap even where restartable sequences
    /// would do (default false): for tests, and to compare the two.
    /// [`Stats::cache`](crate::Stats::cache) says which kind a pool has.
    pub fn portable_caches(mut self, portable: bool) -> Self {
        self.portable = portable;
        self
    }

    /// Puts the buffers into memory that other processes can map (default: nobody can),
    /// to read them or to write them, too: see [`share`](crate::share). Their size is
    /// sealed, and writing unless it is allowed. A pool whose buffers others may write is built
    /// by [`build_volatile`](Self::build_volatile). The bookkeeping stays out of reach.
    /// Children of a fork do not inherit them, whatever [`fork`](Self::fork) says, and
    /// must not make raw calls. A pool can have 1,048,575 such buffers in its life: the
    /// numbers of those that were trimmed are not used again.
    pub fn shared(mut self, access: Access) -> Self {
        self.memory.shared = Some(access);
        self
    }

    /// Whether those who wait are served strictly in the order in which they came (default
    /// false).
    ///
    /// By default a buffer that comes back may be taken by whoever asks for it first, and
    /// one thread that waits is woken for it. (If a task is next in turn, the buffer is
    /// handed to it instead.) So that nobody is passed over for ever, every half millisecond
    /// (sooner in a crowd: see [`allocate_timeout`](Pool::allocate_timeout)) the next buffer
    /// that comes back is handed to one of those who wait, each in turn.
    ///
    /// In strict order every buffer is handed to the first in line, and a request that
    /// comes later takes none while somebody waits. That is fairer from one buffer to the
    /// next, and several times slower in a pool that is always empty: each buffer waits
    /// until its new owner runs. (One at a time of those who wait for several collects. Who
    /// cannot, because somebody else does for another class, or did before it came to the
    /// line of the pool from that of its stream, may be overtaken meanwhile.)
    pub fn strict_order(mut self, strict: bool) -> Self {
        self.strict_order = strict;
        self
    }

    /// Whether raw pointers will be asked for (default false): the bookkeeping that
    /// they need, 64 bytes a buffer, is touched while building and growing, so that
    /// no [`allocate_raw`](crate::Pool::allocate_raw) faults a page. Without it the
    /// first one for each 64 buffers does.
    pub fn raw_pointers(mut self, raw_pointers: bool) -> Self {
        self.raw_pointers = raw_pointers;
        self
    }

    /// Whether the pool notes who takes its buffers (default false): the place in the
    /// program (the call of a function of this library, or of a caller's own that is
    /// `#[track_caller]`), the size, and when. [`Pool::outstanding`] says what is out, and
    /// [`on_leak`](Self::on_leak) what never came back.
    ///
    /// If it does, each take costs some plain stores and a look at a coarse clock, and
    /// takes and gives leave the shortest path (`cargo bench --bench latency -- tracked`
    /// says what that costs on a machine). They take no locks and no locked instructions,
    /// and caches work as before. It needs 64 bytes a buffer, which are touched while
    /// building and growing. If it does not, it costs nothing.
    ///
    /// Code that takes buffers, a plug-in's, say, must not be unloaded while some that it
    /// took are out: its names lie in it.
    ///
    /// A wait that timed out can say who has what it waited for:
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use hugepool::{AllocError, Pool};
    /// use std::time::Duration;
    ///
    /// let pool = Pool::builder()
    ///     .reserve(1 << 20, 4096, 2)
    ///     .track(true)
    /// #   .prefault(false)
    ///     .build()?;
    /// let (kept, line) = (pool.allocate_many(1 << 20, 4096, 2)?, line!());
    /// let refused = pool.allocate_timeout(1 << 20, 4096, Duration::from_millis(1));
    /// if let Err(error @ AllocError::TimedOut { .. }) = refused {
    ///     let holders = pool.outstanding_for(1 << 20, 4096);
    ///     eprintln!("{error}; {holders}");
    ///     assert_eq!((holders.by_place()[0].count, holders.by_place()[0].place.line()), (2, line));
    /// }
    /// # Ok(()) }
    /// ```
    pub fn track(mut self, track: bool) -> Self {
        self.track = track;
        self
    }

    /// Whether a buffer is zeroed when it comes home (default false): its prefix zone and all
    /// that it can hold, so that the next owner reads zeroes, whoever had it before and
    /// however it came back. Whoever gives it back zeroes it, before it can be taken again.
    ///
    /// That is as long as writing all of it, and brings it into the processor's cache; with
    /// [`prefault(false)`](Self::prefault) it faults in what nobody had touched. Takes and
    /// gives leave the shortest path (`cargo bench --bench wipe` says what all that costs on a
    /// machine). A pool that does not wipe pays nothing.
    ///
    /// What is out as a raw pointer when the last handle goes is not zeroed. Nor can a pool
    /// promise zeroes whose buffers other processes write
    /// ([`Access::Write`]): that is
    /// [`BuildError::WipeSharedForWriting`].
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let pool = hugepool::Pool::builder()
    ///     .reserve(4096, 4096, 1)
    ///     .wipe(true)
    /// #   .prefault(false)
    ///     .build()?;
    /// pool.allocate(4096, 4096)?.fill(7);
    /// assert!(pool.allocate(4096, 4096)?.iter().all(|&byte| byte == 0));
    /// # Ok(()) }
    /// ```
    pub fn wipe(mut self, wipe: bool) -> Self {
        self.wipe = wipe;
        self
    }

    /// Has `report` called when the last handle of the pool is dropped while buffers are
    /// out as raw pointers (or those of a device set are), which nobody can give back any
    /// more: with these, and who took them (default: nothing is called). Buffers that are
    /// out as a [`Buffer`](crate::Buffer) come home later, and are no leak.
    ///
    /// It is never called of a pool that does not [`track`](Self::track), nor in a child of
    /// a fork, where they are the parent's. It runs on the thread that drops the last
    /// handle, or on one that is just then giving back a buffer that somebody waits for. A
    /// panic in it is reported and ends there.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use std::sync::mpsc::channel;
    ///
    /// let (sender, reports) = channel();
    /// let pool = hugepool::Pool::builder()
    ///     .reserve(4096, 4096, 4)
    ///     .track(true)
    ///     .on_leak(move |leaked| _ = sender.send(leaked.to_string()))
    /// #   .prefault(false)
    ///     .build()?;
    /// pool.allocate_raw(4096, 4096)?;
    /// drop(pool);
    /// assert!(reports.recv()?.starts_with("1 buffer out, 4 KiB"));
    /// # Ok(()) }
    /// ```
    pub fn on_leak(mut self, report: impl Fn(&Outstanding) + Send + Sync + 'static) -> Self {
        self.on_leak = Some(OnLeak(Arc::new(report)));
        self
    }

    /// Says whether a kind of page may be used (default: prefer each, best
    /// first). `Require` means that nothing below it will do. As long as nothing is said of
    /// [`Pages::Collapsed`], [`Rung::Never`] for [`Pages::Transparent`] holds for it, too: who
    /// wants no transparent huge pages gets none.
    ///
    /// Collapsing needs memory that is there, so it is not tried without
    /// [`prefault`](Self::prefault); required, it is refused then
    /// ([`BuildError::RequireNeedsPrefault`]). Contract: madvise(2), `MADV_COLLAPSE`.
    ///
    /// ```
    /// use hugepool::{Pages, Pool, Rung};
    ///
    /// // Base pages alone.
    /// let pool = Pool::builder()
    ///     .pages(Pages::Huge1G, Rung::Never)
    ///     .pages(Pages::Huge2M, Rung::Never)
    ///     .pages(Pages::Transparent, Rung::Never)
    ///     .reserve(1 << 20, 4096, 2)
    ///     .build()?;
    /// let segment = &pool.stats().segments[0];
    /// assert_eq!((segment.pages, segment.huge_bytes), (Pages::Base, 0));
    /// # Ok::<(), hugepool::BuildError>(())
    /// ```
    pub fn pages(mut self, pages: Pages, rung: Rung) -> Self {
        self.memory.ladder.set(pages, rung);
        self
    }

    /// Whether to fault in all memory while building and growing (default
    /// true), so that no later access faults a page. Before that it is looked whether there is
    /// as much ([`BuildError::OutOfMemory`], [`BuildError::GroupLimit`]).
    ///
    /// False leaves it to the first access, but for memory whose first access could be refused
    /// by a signal, which is had at once all the same: pages from the hugetlb pool in a control
    /// group that limits them, or from some nodes alone, and a shared pool's where the system
    /// promises no more than it has (`vm.overcommit_memory` is 2).
    pub fn prefault(mut self, prefault: bool) -> Self {
        self.memory.prefault = prefault;
        self
    }

    /// Whether to lock all memory with `mlock` (default false). Needs
    /// `RLIMIT_MEMLOCK` of that size or `CAP_IPC_LOCK`.
    pub fn lock(mut self, lock: bool) -> Self {
        self.memory.lock = lock;
        self
    }

    /// Whether core dumps contain the buffers (default false).
    pub fn dump(mut self, dump: bool) -> Self {
        self.memory.dump = dump;
        self
    }

    /// Whether children of a `fork` inherit the buffers (default false). By
    /// default there is no memory at a buffer's address in a child, and the
    /// child's own next mapping may be put there: a child must not touch
    /// buffers. It may drop them and the pool, which unmaps nothing there.
    ///
    /// A pool that children inherit leaves out pages from the hugetlb pool, unless they are
    /// required ([`pages`](Self::pages)): whoever writes to one after a fork needs another for
    /// the copy. If none is free, the parent gets the child's, and the child is sent `SIGBUS`
    /// when it touches that page next; so it is when it writes itself. Who requires them should
    /// have as many free as the pool has for every child, or children that only exec.
    pub fn fork(mut self, fork: bool) -> Self {
        self.memory.fork = fork;
        self
    }

    /// Takes the memory of the buffers from NUMA node `node` and from no other: build a pool for
    /// each of several nodes. Of `node`, [`prefer_node`](Self::prefer_node) and
    /// [`interleave`](Self::interleave) the last call counts.
    ///
    /// By default each page comes from the node of the thread that touches it first (with
    /// [`prefault`](Self::prefault) the one that builds), or from where the policy of the thread
    /// that builds says (`numactl(8)`, `set_mempolicy(2)`). Bookkeeping does in any case. Neither
    /// is watched or moved by the kernel's automatic balancing. (Source: mbind(2).)
    ///
    /// Building and growing are refused with [`BuildError::NodeMemory`] if the node has too
    /// little, [`BuildError::Node`] if it does not exist or the system refuses,
    /// [`BuildError::NodeTooLarge`] from 1024 on. What is bound and not faulted in
    /// (`prefault(false)`) may meet a node that is full later on, and then the kernel ends a
    /// process; but pages from the hugetlb pool are then faulted in all the same.
    ///
    /// ```
    /// use hugepool::{BuildError, Pool};
    ///
    /// let refused = Pool::builder().reserve(4096, 4096, 4).node(1024).build();
    /// let (node, limit) = (1024, 1023);
    /// assert_eq!(refused.unwrap_err(), BuildError::NodeTooLarge { node, limit });
    /// ```
    pub fn node(mut self, node: u32) -> Self {
        self.memory.placement = Placement::Bind(node);
        self
    }

    /// Takes the memory of the buffers from NUMA node `node` as long as it has some free, and
    /// then from the nodes next to it. Fails as [`node`](Self::node), but not for want of memory
    /// there: [`SegmentStats::node`](crate::SegmentStats::node) says where a segment begins.
    pub fn prefer_node(mut self, node: u32) -> Self {
        self.memory.placement = Placement::Prefer(node);
        self
    }

    /// Spreads the memory of the buffers over `nodes`, page by page, each a huge one where there
    /// are such: for buffers that threads on all of them use. A node that has none left is passed
    /// over. Fails as [`node`](Self::node), but not for want of memory on one of them, and
    /// with [`BuildError::NoNodes`] if `nodes` is empty. (Source: mbind(2).)
    ///
    /// ```no_run
    /// # fn main() -> Result<(), hugepool::BuildError> {
    /// let builder = hugepool::Pool::builder().reserve(1 << 20, 4096, 64);
    /// let pool = builder.interleave(&[0, 1]).build()?;
    /// # Ok(()) }
    /// ```
    pub fn interleave(mut self, nodes: &[u32]) -> Self {
        self.memory.placement = Placement::over(nodes);
        self
    }

    /// How often buffers were declared.
    pub(crate) fn declared(&self) -> usize {
        self.requests.len()
    }

    /// Bytes of bookkeeping a buffer that are touched while building and growing.
    fn bookkeeping(&self) -> usize {
        let states = self.raw_pointers || self.is_shared();
        size_of::<Record>()
            + usize::from(states) * size_of::<State>()
            + usize::from(self.track) * size_of::<Track>()
    }

    /// Whether other processes can map the pool.
    pub(crate) fn is_shared(&self) -> bool {
        self.memory.shared.is_some()
    }

    /// Maps the memory and builds the pool. Enters the kernel; with
    /// [`prefault`](Self::prefault) it takes as long as zeroing all memory.
    ///
    /// The first pool of a process tries whether restartable sequences work, in a thread that has
    /// ended when this returns (a second at most): see [`WhyPortable`](crate::WhyPortable).
    ///
    /// A pool without any `reserve` is empty and can grow.
    ///
    /// # Errors
    ///
    /// One [`BuildError`] for each thing that can be wrong. Nothing stays
    /// mapped then. [`BuildError::SharedForWriting`] if other processes may write the
    /// buffers: [`build_volatile`](Self::build_volatile) builds such a pool.
    ///
    /// ```
    /// use hugepool::share::Access;
    /// use hugepool::{BuildError, Pool};
    ///
    /// let builder = Pool::builder().reserve(4096, 4096, 4).shared(Access::Write);
    /// assert_eq!(builder.build().unwrap_err(), BuildError::SharedForWriting);
    /// ```
    pub fn build(&self) -> Result<Pool, BuildError> {
        if self.memory.shared == Some(Access::Write) {
            return Err(BuildError::SharedForWriting);
        }
        Ok(Pool::of(self.build_handle()?))
    }

    /// As [`build`](Self::build), whoever may write the buffers: they are
    /// [`Buffer<Volatile>`](crate::Buffer), whose bytes are copied in and out.
    ///
    /// # Errors
    ///
    /// As [`build`](Self::build), except that any builder will do.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use hugepool::share::Access;
    /// use hugepool::{Pool, Volatile};
    ///
    /// let builder = Pool::builder().reserve(4096, 4096, 4).shared(Access::Write);
    /// let pool: Pool<Volatile> = builder.build_volatile()?;
    /// pool.allocate(4096, 4096)?.write_at(0, b"header")?;
    /// # Ok(()) }
    /// ```
    pub fn build_volatile(&self) -> Result<Pool<Volatile>, BuildError> {
        Ok(Pool::of(self.build_handle()?))
    }

    /// As `build`, without a look at who may write.
    fn build_handle(&self) -> Result<Handle, BuildError> {
        check_prefix(self.prefix)?;
        if self.wipe && self.memory.shared == Some(Access::Write) {
            return Err(BuildError::WipeSharedForWriting);
        }
        self.memory.placement.check()?;
        for required in [Pages::Transparent, Pages::Collapsed] {
            if self.memory.ladder.get(required) == Rung::Require && !self.memory.prefault {
                return Err(BuildError::RequireNeedsPrefault { required });
            }
        }
        let mut requests = Vec::with_capacity(self.requests.len());
        let mut needed = GRANULE;
        let mut declared = 0usize;
        for &(size, alignment, count) in &self.requests {
            let geometry = geometry(size, alignment, self.prefix, count)?;
            requests.push((geometry, count));
            needed = layout_bytes(&requests, &self.memory)
                .ok_or(BuildError::Overflow { size, count })?;
            declared = declared.saturating_add(geometry.bytes(count).unwrap_or(usize::MAX));
        }
        let reserved = self.reserve_address_space(needed, declared)?;
        let sharing = match self.is_shared() {
            true => Some(Sharing::new(
                requests.iter().map(|request| request.1).sum(),
            )?),
            false => None,
        };
        let finder = reserved.lists.classes().finder();
        let (map, states) = (reserved.arena.map(), reserved.states.base());
        let handle = Handle::new(Shared {
            // SAFETY: what owns the tables is put beside it.
            front: unsafe { Front::new(finder, map, states) },
            catalog: Catalog::new(reserved.lists, self.climb),
            arena: reserved.arena,
            states: ManuallyDrop::new(reserved.states),
            raw_pointers: self.raw_pointers,
            tracks: reserved.tracks,
            wipe: self.wipe,
            on_leak: self.on_leak.clone(),
            sharing,
            memory: MemoryPolicy {
                bookkeeping: self.bookkeeping(),
                ..self.memory.clone()
            },
        });
        for (geometry, count) in &requests {
            handle.shared().grow(geometry, *count, false)?;
        }
        Ok(handle)
    }
}
