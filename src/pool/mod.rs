//! The pool: handles, growth, raw pointers.
//!
//! Owns: the part that all handles and buffers of a pool share, and how long it
//! lives. Uses: `catalog`, `arena`, `track`, `stats`. Used by: callers, `buffer`.
//!
//! # How long a pool lives
//!
//! Handles (`Pool`, `Class`, `CancelToken`) are counted; buffers are not. The drop of the last
//! handle closes every free list, which counts the buffers that are home, and
//! from then on a buffer that comes home finds its list closed and counts
//! itself (`home`). Whoever brings the last one tears the pool down: the last
//! handle if nothing was out, otherwise the last buffer. Buffers that are out
//! as raw pointers cannot come home without a handle, so they are not waited
//! for.

mod builder;
mod cancel;
mod class;
mod diverted;
mod front;
mod growth;
mod many;
mod memory;
mod owner;
mod plain;
mod raw;
mod region;
mod reserve;
mod shared;
mod stream;
#[cfg(feature = "async")]
mod task;
#[cfg(feature = "async")]
mod task_many;
mod track;
mod wait;

pub use builder::Builder;
pub(crate) use builder::{check_prefix, geometry};
pub use cancel::CancelToken;
pub use class::Class;
pub use many::{Lot, Until};
pub use memory::Trimmed;
pub use owner::IntoRawError;
pub use region::{Piece, Region};
pub use stream::{Stream, StreamBuilder, StreamError};
#[cfg(feature = "async")]
pub use task::Allocate;
#[cfg(feature = "async")]
pub use task_many::AllocateMany;
pub use track::{called, set_place};

use crate::arena::{Arena, MemoryPolicy, Segment};
use crate::buffer::{Buffer, Memory, Owned, Plain};
use crate::cache::Kind;
use crate::catalog::{Catalog, Holder};
use crate::counters::{ClassCounters, Counters};
use crate::error::AllocError;
use crate::lists::Given;
use crate::record::{State, States};
use crate::share::Slots;
use crate::stats::Stats;
use crate::sync::Arc;
use crate::track::Tracks;
use crate::word::Index;
use front::Front;
use shared::Sharing;
use std::fmt;
use std::io;
use std::marker::PhantomData;
use std::mem::ManuallyDrop;
use std::panic::{Location, RefUnwindSafe};
use std::ptr::NonNull;
use track::OnLeak;

/// What the handles and buffers of one pool share.
#[repr(C)]
pub(crate) struct Shared {
    front: Front,
    catalog: Catalog<Segment, Kind>,
    arena: Arc<Arena>,
    /// As long as the lists' records, and open as they are. Not unmapped in a child of a
    /// fork, which does not inherit what was placed there.
    states: ManuallyDrop<States>,
    /// Whether to touch the states of new buffers.
    raw_pointers: bool,
    /// As the states; `None`: nobody asks who has what.
    tracks: Option<Tracks>,
    /// Whether what comes home is zeroed.
    wipe: bool,
    on_leak: Option<OnLeak>,
    /// What it has for clients, if it is shared with any.
    sharing: Option<Sharing>,
    memory: MemoryPolicy,
}

impl Shared {
    /// Bytes of the prefix zone.
    pub(crate) fn prefix(&self) -> usize {
        self.catalog.classes().prefix()
    }

    /// The pool's catalog.
    pub(crate) fn catalog(&self) -> &Catalog<Segment, Kind> {
        &self.catalog
    }

    /// The pool's arena.
    pub(crate) fn arena(&self) -> &Arena {
        &self.arena
    }

    /// What is known of a buffer of this pool as a raw pointer.
    #[inline(always)]
    pub(crate) fn state(&self, index: Index) -> &State {
        self.front.state(index)
    }

    /// Bytes of memory that the states of buffers below index `indices` occupy, what is
    /// noted of who has them, and what the pool shares.
    pub(crate) fn states_resident(&self, indices: usize) -> io::Result<usize> {
        let sharing = self.sharing.as_ref().map(Sharing::slots);
        let sharing = sharing.map_or(Ok(0), Slots::resident)?;
        let tracks = self.tracks.as_ref();
        let tracks = tracks.map_or(Ok(0), |tracks| tracks.resident(indices))?;
        Ok(self.states.resident(indices)? + tracks + sharing)
    }

    /// Counts the buffers that are out as raw pointers, none of which will come home: the
    /// last handle is gone. Handles of them are stale from now on.
    fn abandon_raw(&self) -> u64 {
        if self.sharing.is_some() && self.arena.is_inherited() {
            // A child of a fork does not have the states. Nor does it unmap anything.
            return 0;
        }
        self.catalog.read(|directory| {
            let mut out = 0;
            for entry in &directory.segments {
                let geometry = &directory.classes[entry.class.index()];
                for k in 0..entry.segment.count() {
                    let Some(index) = geometry.nth(entry.segment.first(), k) else {
                        break;
                    };
                    let state = self.state(index);
                    // The last handle's drop ordered every raw call, each made through
                    // a handle, before this.
                    if state.bytes() != 0 {
                        state.come_back_of();
                        out += 1;
                    }
                }
            }
            out
        })
    }

    /// See `Pool::is_left_behind`.
    #[inline(always)]
    fn is_left_behind(&self) -> bool {
        self.arena.is_forked() && !(self.memory.fork && self.sharing.is_none())
    }

    /// Does what the lists answered the caller to do.
    ///
    /// # Safety
    ///
    /// The lists of this pool gave `given`, to the caller, just now.
    #[cold]
    #[inline(never)]
    pub(crate) unsafe fn heed(shared: NonNull<Self>, mut given: Given) {
        if given == Given::Close {
            // SAFETY: the caller gave up the last handle, and the pool is torn
            // down by nobody before the lists below are settled.
            let shared = unsafe { shared.as_ref() };
            // Before it is forgotten which.
            shared.report_leak();
            let raw_out = shared.abandon_raw();
            let classes = shared.catalog.class_ids();
            given = shared.catalog.lists().close(&classes, raw_out);
        }
        if given == Given::Last {
            // SAFETY: it came from a box (`Handle::new`), and the lists said
            // that nobody else knows of it.
            drop(unsafe { Box::from_raw(shared.as_ptr()) });
        }
    }
}

// Every change of the lists takes effect by one store or compare-and-swap, and a thread may
// stop for ever between any two of these. So whoever goes on after a panic finds what any
// other thread would find: each buffer in one place, and nothing half done. With that every
// handle of a pool may be held across a panic.
impl RefUnwindSafe for Shared {}

impl Drop for Shared {
    fn drop(&mut self) {
        if !self.arena.is_inherited() {
            // SAFETY: dropped here and not used any more.
            unsafe { ManuallyDrop::drop(&mut self.states) };
        }
    }
}

/// A counted reference to a pool: what a `Pool` and a `Class` are made of.
struct Handle(NonNull<Shared>);

// SAFETY: a handle gives `&Shared`, which is `Sync`; whichever thread drops the
// last one may tear the pool down, which is `Send`.
unsafe impl Send for Handle {}
// SAFETY: as above.
unsafe impl Sync for Handle {}

impl Handle {
    fn new(shared: Shared) -> Self {
        let shared = NonNull::from(Box::leak(Box::new(shared)));
        let handle = Self(shared);
        let classes = handle.shared().catalog.classes();
        classes.set_owner(shared.as_ptr().cast());
        handle
    }

    #[inline(always)]
    fn shared(&self) -> &Shared {
        // SAFETY: the pool lives at least as long as this handle.
        unsafe { self.0.as_ref() }
    }
}

impl Clone for Handle {
    fn clone(&self) -> Self {
        self.shared().catalog.lists().home().enter();
        Self(self.0)
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        let given = self.shared().catalog.lists().leave();
        if given != Given::Home {
            // SAFETY: it was given just now.
            unsafe { Shared::heed(self.0, given) };
        }
    }
}

/// A pool of aligned buffers. A handle: clones share the pool.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let pool = hugepool::Pool::builder()
///     .reserve(64 << 10, 4096, 16) // size, alignment, count
///     .build()?;
/// let mut buffer = pool.allocate(64 << 10, 4096)?;
/// buffer[0] = 1;
/// assert_eq!(pool.available(64 << 10, 4096), 15);
/// drop(buffer);
/// assert_eq!(pool.available(64 << 10, 4096), 16);
/// # Ok(()) }
/// ```
///
/// `M` says whether another process may write the buffers: see
/// [`Buffer`]. [`Builder::build_volatile`] makes a `Pool<Volatile>`.
#[must_use = "a pool whose last handle is dropped ends, its raw buffers included"]
pub struct Pool<M: Memory = Plain> {
    handle: Handle,
    memory: PhantomData<fn() -> M>,
}

impl<M: Memory> Clone for Pool<M> {
    fn clone(&self) -> Self {
        Self::of(self.handle.clone())
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Pointer::fmt(&self.0, f)
    }
}

impl<M: Memory> fmt::Debug for Pool<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool")
            .field("shared", &self.handle)
            .finish()
    }
}

impl Pool {
    /// Starts the description of a pool.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// The number of this process among those that it comes from.
    #[doc(hidden)]
    #[must_use]
    pub fn process_number() -> u32 {
        crate::sys::fork::forks()
    }
}

impl<M: Memory> Pool<M> {
    /// A handle, of one whose memory is such.
    fn of(handle: Handle) -> Self {
        Self {
            handle,
            memory: PhantomData,
        }
    }

    #[inline]
    fn shared(&self) -> &Shared {
        self.handle.shared()
    }

    /// Whether the buffer is one of this pool's.
    #[cfg(feature = "io-uring")]
    pub(crate) fn owns(&self, buffer: &Owned) -> bool {
        buffer.shared() == self.handle.0
    }

    /// Takes a buffer of `size` bytes whose address is a multiple of
    /// `alignment` (bytes, a power of two).
    ///
    /// The smallest class that fits serves it; if that is empty, classes up to
    /// [`climb`](Builder::climb) times the size do. Lock-free; never blocks. A
    /// request that finds every list empty while another thread carries a batch
    /// between two of them yields the processor to it, for at most 5 ms.
    ///
    /// # Errors
    ///
    /// [`AllocError::ZeroSize`], [`AllocError::BadAlignment`];
    /// [`AllocError::NoClass`] if no class could ever serve it;
    /// [`AllocError::Exhausted`] if at one moment within the call no buffer that
    /// fits was free anywhere (or, if it says `carried`, none but what another
    /// thread was carrying all the while).
    #[inline(always)]
    #[track_caller]
    pub fn allocate(&self, size: usize, alignment: usize) -> Result<Buffer<M>, AllocError> {
        let shared = self.shared();
        // Not `take`: its `Result` would pass through memory.
        let taken = match shared.front.take(size, alignment) {
            Some(taken) => taken,
            None => shared.take_slow(size, alignment, Location::caller(), false)?,
        };
        Ok(Buffer::of(Owned::new(taken, size)))
    }

    /// The class that serves `size` bytes at `alignment`, resolved once: the
    /// fastest way to allocate.
    ///
    /// # Errors
    ///
    /// As [`allocate`](Self::allocate), except that it does not matter whether a
    /// buffer is free.
    pub fn class(&self, size: usize, alignment: usize) -> Result<Class<M>, AllocError> {
        Class::resolve(self.handle.clone(), size, alignment)
    }

    /// How many buffers of `size` bytes at `alignment` one caller could take
    /// now, wherever they are, with those of larger classes that the request
    /// may climb to. 0 if no class could ever serve it.
    ///
    /// Exact while no other thread takes or gives back, an estimate otherwise.
    /// Lock-free.
    #[must_use]
    pub fn available(&self, size: usize, alignment: usize) -> usize {
        self.shared().catalog.available(size, alignment)
    }

    /// True if `address` lies in a buffer of this pool, free or taken: in its
    /// data, its prefix zone or the padding that belongs to it. Lock-free.
    #[must_use]
    pub fn contains(&self, address: *const u8) -> bool {
        let shared = self.shared();
        shared
            .arena
            .place(shared.catalog.classes(), address.addr())
            .is_some()
    }

    /// Whether this is a child of a fork that does not have the buffers.
    #[doc(hidden)]
    #[inline(always)]
    #[must_use]
    pub fn is_left_behind(&self) -> bool {
        self.shared().is_left_behind()
    }

    /// Whether it notes who takes its buffers.
    #[doc(hidden)]
    #[must_use]
    pub fn tracks(&self) -> bool {
        self.shared().tracks.is_some()
    }

    /// How many segments it has now.
    #[doc(hidden)]
    #[must_use]
    pub fn segment_count(&self) -> usize {
        let catalog = &self.shared().catalog;
        catalog.read(|directory| directory.segments.len())
    }

    /// What the pool has counted: waits and how they ended, refusals, system calls. Enters
    /// no kernel, allocates nothing, looks at no segment: some loads for each class,
    /// processor, and waiter. Lock-free.
    /// [`class_counters`](Self::class_counters) has the buffers.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let pool = hugepool::Pool::builder().reserve(4096, 4096, 1).prefault(false).build()?;
    /// let buffer = pool.allocate(4096, 4096)?;
    /// let limit = std::time::Duration::from_millis(1);
    /// assert!(pool.allocate_timeout(4096, 4096, limit).is_err());
    /// let counters = pool.counters();
    /// assert_eq!((counters.waits, counters.timed_out), (1, 1));
    /// assert!(counters.longest_wait >= limit);
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn counters(&self) -> Counters {
        Counters::of(self.shared().catalog.lists())
    }

    /// What the pool has counted of each class, in the order in which they were declared,
    /// and how many buffers are where. Each is read when the iterator comes to it. Enters
    /// no kernel, allocates nothing, looks at no segment: some loads for each class and
    /// processor. Lock-free.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let pool = hugepool::Pool::builder().reserve(4096, 4096, 16).prefault(false).build()?;
    /// let buffers = pool.allocate_many(4096, 4096, 10)?;
    /// for class in pool.class_counters() {
    ///     assert_eq!((class.size, class.capacity), (4096, 16));
    ///     assert_eq!((class.in_use, class.free), (10, 6));
    ///     assert!(class.high_water >= 10);
    /// }
    /// # Ok(()) }
    /// ```
    pub fn class_counters(&self) -> impl Iterator<Item = ClassCounters> + '_ {
        ClassCounters::all(self.shared().catalog.lists())
    }

    /// Has the marks begin again: forgets the [longest wait](Counters::longest_wait) so
    /// far, and sets the [high-water mark](ClassCounters::high_water) of each class, which
    /// is that of [`stats`](Self::stats), too, to what is out now. What another thread
    /// takes meanwhile may count as taken before. Lock-free; never blocks.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let pool = hugepool::Pool::builder().reserve(4096, 4096, 512).prefault(false).build()?;
    /// drop(pool.allocate_many(4096, 4096, 512)?);
    /// let mark = |pool: &hugepool::Pool| pool.class_counters().map(|class| class.high_water).max();
    /// assert_eq!(mark(&pool), Some(512));
    /// pool.reset_marks();
    /// assert!(mark(&pool) < Some(512));
    /// # Ok(()) }
    /// ```
    pub fn reset_marks(&self) {
        let lists = self.shared().catalog.lists();
        lists.line().reset_longest();
        for class in lists.classes().ids() {
            lists.reset_mark(class);
        }
    }

    /// What the pool has, holds and has done. Reads the kernel's view of every
    /// segment; allocates; not for the data path.
    #[must_use]
    pub fn stats(&self) -> Stats {
        Stats::of(self.shared())
    }
}
