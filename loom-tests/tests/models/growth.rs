//! Growing and trimming a pool that is in use: the catalog.
//!
//! Proves: whoever takes a buffer finds its segment and its class, with every
//! constant, in the directory and the tables; two threads that grow at once both
//! succeed; a buffer that somebody holds is never in a segment that was trimmed,
//! and none is lost; while a trim holds the free buffers of a class, requests
//! wait for it; a segment's memory outlives every reader of a directory that
//! names it.
//!
//! The twins: growth that hands out buffers before the directory names them, or
//! that leaves the look-up table to a slower thread with an older directory; a
//! trim that takes segments of which a buffer is out, or does not announce what
//! it holds; a replaced directory that is destroyed at once.

use hugepool::model::{
    Catalog, ClassId, Classes, CpuCaches, Fault, FreeLists, Geometry, Holder, Index, Line,
    Portable, RegionId,
};
use hugepool_loom_tests::{Kind, Model, spawn, tests};
use loom::cell::UnsafeCell;
use loom::sync::atomic::{AtomicUsize, Ordering};
use std::ptr::null_mut;
use std::sync::Arc;

tests![
    what_can_be_taken_is_in_the_directory,
    two_threads_can_grow_at_once,
    a_buffer_that_is_out_is_in_no_trimmed_segment,
    a_request_waits_for_a_trim,
    a_segment_outlives_every_reader_of_its_directory,
];

/// The sizes of the two classes that a model can have, in bytes; both aligned to
/// `ALIGNMENT`.
pub(super) const SIZES: [usize; 2] = [512, 576];
pub(super) const ALIGNMENT: usize = 512;
/// Larger than the block of any segment here.
const BLOCKS: usize = 4;
const NO_CLASS: usize = usize::MAX;

/// A segment's place without its memory.
pub(super) struct Stub {
    first: usize,
    count: usize,
    class: AtomicUsize,
    memory: UnsafeCell<()>,
}

// SAFETY: loom runs one thread at a time, and reports accesses to `memory` that
// are not ordered; there is nothing in it to be torn.
unsafe impl Sync for Stub {}

impl Stub {
    pub(super) fn new(first: usize, count: usize) -> Arc<Self> {
        Arc::new(Self {
            first,
            count,
            class: AtomicUsize::new(NO_CLASS),
            memory: UnsafeCell::new(()),
        })
    }

    /// Somebody looks at the memory.
    fn touch(&self) {
        self.memory.with(|_| ());
    }
}

impl Holder for Stub {
    fn first(&self) -> usize {
        self.first
    }

    fn count(&self) -> usize {
        self.count
    }

    fn assign(&self, class: ClassId, _geometry: &Geometry, _id: RegionId) {
        self.class.store(class.index(), Ordering::Relaxed);
    }
}

impl Drop for Stub {
    fn drop(&mut self) {
        // loom's report unwinds through here; a second panic would abort.
        if !std::thread::panicking() {
            self.memory.with_mut(|_| ());
        }
    }
}

pub(super) type Pool<C> = Catalog<Stub, C>;

/// A catalog of one processor. Requests may climb to twice their size if
/// `climb`; who waits is served in order if `strict`.
pub(super) fn empty<C: Kind>(climb: bool, strict: bool) -> Arc<Pool<C>> {
    let classes = Classes::new(0, null_mut()).unwrap();
    let lists = FreeLists::new(
        C::make(1),
        classes,
        BLOCKS << Index::POSITION_BITS,
        0,
        strict,
    );
    let pool = Catalog::new(lists.unwrap(), if climb { 2 } else { 1 });
    // Two threads may be the first to read or write an entry of the look-up
    // table, which loom wants made before both.
    let classes = pool.classes();
    classes.publish(&classes.ladder(|_| true));
    Arc::new(pool)
}

/// A catalog with a segment of one buffer that stays if `stocked`.
fn pool(stocked: bool) -> Arc<Pool<Portable>> {
    let pool = empty(false, false);
    if stocked {
        admit(&pool, SIZES[0], Stub::new(1, 1), false);
    }
    pool
}

pub(super) fn admit<C: Kind>(pool: &Pool<C>, size: usize, segment: Arc<Stub>, grown: bool) {
    let geometry = Geometry::new(size, ALIGNMENT, 0).unwrap();
    let admitted = pool.admit(&geometry, Arc::clone(&segment), grown);
    let class = admitted.unwrap().index();
    assert_eq!(segment.class.load(Ordering::Relaxed), class);
}

/// Takes a buffer for `size` bytes by a request, and looks it up.
fn take(pool: &Pool<Portable>, size: usize) -> Option<Index> {
    let taken = pool.take(size, ALIGNMENT).ok()?;
    look_up(pool, size, taken.line.id(), taken.index);
    Some(taken.index)
}

/// Asserts that the directory and the tables know a buffer that was taken for
/// `size` bytes.
fn look_up(pool: &Pool<Portable>, size: usize, class: ClassId, index: Index) {
    let geometry = Geometry::new(size, ALIGNMENT, 0).unwrap();
    pool.read(|directory| {
        let entry = directory
            .segments
            .iter()
            .find(|entry| entry.segment.first == index.block() as usize)
            .expect("a buffer's segment is in the directory");
        assert_eq!(entry.class, class, "the segment is another class's");
        let assigned = entry.segment.class.load(Ordering::Relaxed);
        assert_eq!(assigned, class.index(), "the segment was not told");
        assert_eq!(directory.classes[class.index()], geometry);
    });
    let line = pool.classes().line(class);
    assert_eq!(line.size(), size, "the class is another size's");
    let start = line.start(Index::new(index.block(), 0).unwrap()).addr();
    assert_eq!(
        line.start(index).addr() - start,
        index.position() as usize * geometry.stride()
    );
    let capacity = pool.lists().caches().capacity(0, class);
    assert!(capacity > 0, "a class came without its caches");
}

/// One thread adds a segment to a class of which every buffer is taken, while
/// another looks for one as a request does first: own cache, depot, other
/// caches. (What a request does next is to look again.) Once it has a buffer,
/// the directory must name it in whatever way the schedule goes on, so no other
/// ways are explored.
pub fn what_can_be_taken_is_in_the_directory() -> Model {
    Model::new(2..=3, &[Fault::StockFirst], || {
        let pool = pool(true);
        take(&pool, SIZES[0]).unwrap();
        let taker = Arc::clone(&pool);
        let thread = spawn(move || {
            let class = ClassId::FIRST;
            let taken = taker.lists().take_from_class(class);
            taken.inspect(|&index| {
                loom::stop_exploring();
                look_up(&taker, SIZES[0], class, index);
            })
        });
        admit(&pool, SIZES[0], Stub::new(2, 1), true);
        let early = thread.join().unwrap();
        let late = take(&pool, SIZES[0]);
        assert!(early.is_some() != late.is_some(), "one buffer, taken once");
    })
}

/// Two threads each add a class of their own. What is explored is where the
/// whole of the second interrupts the first; that the second interrupts it
/// piecemeal takes too long.
pub fn two_threads_can_grow_at_once() -> Model {
    Model::new(1..=1, &[Fault::PublishOnce], || {
        let pool = pool(false);
        let grower = Arc::clone(&pool);
        let thread = spawn(move || {
            loom::stop_exploring();
            admit(&grower, SIZES[0], Stub::new(1, 1), true);
        });
        admit(&pool, SIZES[1], Stub::new(2, 1), true);
        thread.join().unwrap();
        for size in SIZES {
            let found = pool.classes().find(size, ALIGNMENT);
            let found = found.map(Line::size);
            assert_eq!(found, Some(size), "the look-up table is behind");
            assert!(take(&pool, size).is_some(), "a segment was lost");
        }
    })
}

/// One thread trims while another takes a buffer for good.
pub fn a_buffer_that_is_out_is_in_no_trimmed_segment() -> Model {
    Model::new(1..=2, &[Fault::TrimPartial], || {
        let pool = pool(true);
        admit(&pool, SIZES[0], Stub::new(2, 2), true);
        let trimmer = Arc::clone(&pool);
        let thread = spawn(move || trimmer.trim());
        let kept = pool.lists().take_from_class(ClassId::FIRST);
        let gone = thread.join().unwrap();
        let holds = |index: Index| {
            let first = index.block() as usize;
            gone.iter().any(|entry| entry.segment.first == first)
        };
        assert!(!kept.is_some_and(holds), "it was in use");
        let left: usize = 3 - gone.iter().map(|entry| entry.segment.count).sum::<usize>();
        let free = pool.available(SIZES[0], ALIGNMENT);
        assert_eq!(
            free + usize::from(kept.is_some()),
            left,
            "a buffer was lost"
        );
    })
}

/// A request beside a trim that for an instant holds all there is. (As for
/// every carried batch, a request waits for as long as its patience lasts; see
/// `exactness`.)
pub fn a_request_waits_for_a_trim() -> Model {
    Model::new(2..=2, &[Fault::NoAnnounce], || {
        let pool = pool(true);
        admit(&pool, SIZES[0], Stub::new(2, 1), true);
        let trimmer = Arc::clone(&pool);
        let thread = spawn(move || drop(trimmer.trim()));
        let taken = pool.lists().take(&[ClassId::FIRST]);
        taken.expect("a buffer was free, or held by a trim");
        thread.join().unwrap();
    })
}

/// A reader of the directory beside a trim that drops what it took and cleans
/// up.
pub fn a_segment_outlives_every_reader_of_its_directory() -> Model {
    Model::new(1..=1, &[Fault::NoRetire], || {
        let pool = pool(false);
        admit(&pool, SIZES[0], Stub::new(1, 1), true);
        let trimmer = Arc::clone(&pool);
        let thread = spawn(move || assert_eq!(trimmer.trim().len(), 1));
        pool.read(|directory| {
            directory
                .segments
                .iter()
                .for_each(|entry| entry.segment.touch());
        });
        thread.join().unwrap();
    })
}
