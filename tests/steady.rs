//! P1 and P7, memory comes first: once a thread is warm, taking and giving back
//! map no memory, fault no page and allocate nothing, in whichever way; nor do
//! refusals, steals and climbs.

mod support;

use hugepool::{Buffer, Class, Pool};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use support::{faults, maps, on_cpu, two_cpus};

/// Counts what each thread allocates.
struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

fn count() {
    // A thread that is ending may allocate without being counted.
    let _ = ALLOCATIONS.try_with(|count| count.set(count.get() + 1));
}

// SAFETY: every call is passed on to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, start: *mut u8, layout: Layout) {
        count();
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(start, layout) }
    }

    unsafe fn realloc(&self, start: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: the caller's promise.
        unsafe { System.realloc(start, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Heap calls and page faults of this thread while `work` runs.
fn cost(work: impl FnOnce()) -> (usize, i64) {
    let heap = ALLOCATIONS.get();
    let faulted = faults();
    work();
    (ALLOCATIONS.get() - heap, faults() - faulted)
}

const SIZE: usize = 4096;

fn pool(count: usize) -> Pool {
    Pool::builder().reserve(SIZE, SIZE, count).build().unwrap()
}

fn raii(pool: &Pool) {
    drop(pool.allocate(SIZE, SIZE).unwrap());
}

fn raw(pool: &Pool) {
    let start = pool.allocate_raw(SIZE, SIZE).unwrap();
    // SAFETY: taken just now with this size.
    unsafe { pool.free_raw(start.as_ptr(), SIZE) }.unwrap();
}

fn by_class(class: &Class) {
    drop(class.allocate().unwrap());
}

/// Waits until no other thread of this test program changes the mappings, then
/// runs `work` and says whether they are what they were.
fn maps_unchanged(work: impl Fn()) -> bool {
    // The harness's other threads may map a stack meanwhile.
    (0..20).any(|_| {
        let before = maps();
        work();
        let settled = maps();
        before == settled
    })
}

#[test]
fn a_million_taken_and_given_back_fault_no_page_and_map_nothing() {
    let pool = pool(256);
    let class = pool.class(SIZE, SIZE).unwrap();
    let work = |times: usize| {
        for _ in 0..times {
            raii(&pool);
            raw(&pool);
            by_class(&class);
        }
    };
    work(1000);
    assert_eq!(cost(|| work(350_000)), (0, 0));
    assert!(maps_unchanged(|| work(20_000)));
}

#[test]
fn batches_to_and_from_the_depot_fault_no_page_and_allocate_nothing() {
    let pool = pool(1000);
    let mut held: Vec<Buffer> = Vec::with_capacity(1000);
    let mut round = || {
        for _ in 0..600 {
            held.push(pool.allocate(SIZE, SIZE).unwrap());
        }
        held.clear();
    };
    round();
    let before = pool.stats().classes[0].clone();
    assert_eq!(cost(|| (0..200).for_each(|_| round())), (0, 0));
    let after = pool.stats().classes[0].clone();
    assert!(after.refills > before.refills && after.flushes > before.flushes);
}

#[test]
fn the_first_buffers_of_a_new_pool_fault_no_page_either() {
    // Warm the code with one pool, then take from another for the first time.
    let (warm, cold) = (pool(256), pool(256));
    let mut held: Vec<Buffer> = Vec::with_capacity(256);
    let mut all = |pool: &Pool| {
        for _ in 0..256 {
            let mut buffer = pool.allocate(SIZE, SIZE).unwrap();
            buffer[0] = 1;
            held.push(buffer);
        }
        held.clear();
    };
    all(&warm);
    assert_eq!(cost(|| all(&cold)), (0, 0));
}

#[test]
fn a_refusal_allocates_nothing() {
    let pool = pool(3);
    let held = pool.allocate_many(SIZE, SIZE, 3).unwrap();
    let refuse = || {
        assert!(pool.allocate(SIZE, SIZE).unwrap_err().is_exhausted());
        assert!(pool.allocate_raw(SIZE, SIZE).is_err());
        assert!(pool.allocate(1 << 30, 1).is_err());
    };
    refuse();
    assert_eq!(cost(|| (0..5000).for_each(|_| refuse())), (0, 0));
    drop(held);
    assert_eq!(pool.available(SIZE, SIZE), 3);
}

#[test]
fn a_climb_allocates_nothing() {
    let pool = Pool::builder()
        .reserve(SIZE, SIZE, 1)
        .reserve(2 * SIZE, SIZE, 1)
        .reserve(4 * SIZE, SIZE, 1)
        .build()
        .unwrap();
    let climb = || {
        let three = [(); 3].map(|()| pool.allocate(SIZE, SIZE).unwrap());
        assert!(pool.allocate(SIZE, SIZE).is_err());
        drop(three);
    };
    climb();
    assert_eq!(cost(|| (0..2000).for_each(|_| climb())), (0, 0));
    assert!(pool.stats().classes[0].climbs >= 4000);
}

#[test]
fn a_steal_allocates_nothing() {
    let Some((here, there)) = two_cpus("the cost of a steal") else {
        return;
    };
    let pool = pool(64);
    let mut held: Vec<Buffer> = Vec::with_capacity(64);
    let steals = || pool.stats().classes[0].steals;
    for round in 0..3 {
        let before = steals();
        on_cpu(here, || drop(pool.allocate_many(SIZE, SIZE, 64).unwrap()));
        let (heap, faulted) = on_cpu(there, || {
            // Code and stack of this thread.
            let first = pool.allocate(SIZE, SIZE).unwrap();
            std::mem::drop(first);
            let cost = cost(|| {
                for _ in 0..64 {
                    held.push(pool.allocate(SIZE, SIZE).unwrap());
                }
            });
            held.clear();
            cost
        });
        assert!(steals() > before, "nothing was stolen: this proves nothing");
        assert_eq!(heap, 0);
        // The first round may load code.
        assert!(round == 0 || faulted == 0, "{faulted} page faults");
    }
}
