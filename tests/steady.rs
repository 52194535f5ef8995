//! P1 and P7, memory comes first: once a thread is warm, taking and giving back
//! map no memory, fault no page and allocate nothing, in whichever way; nor do
//! refusals, steals and climbs, nor looks at what is counted. What needs no steal makes no system call.

mod support;

use hugepool::{Buffer, Class, Pool};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use support::calls::Watch;
use support::kind::{Kind, both_kinds};
use support::process::{NO_REGISTRATION, alone};
use support::small::until_cached;
use support::{faults, heap, maps, on_cpu, pin, stay_off_passing, two_cpus};

both_kinds! {
    a_million_taken_and_given_back_fault_no_page_and_map_nothing,
    batches_to_and_from_the_depot_fault_no_page_and_allocate_nothing,
    the_first_buffers_of_a_new_pool_fault_no_page_either,
    a_refusal_allocates_nothing,
    a_climb_allocates_nothing,
    a_steal_allocates_nothing,
    the_same_buffer_a_million_times_makes_no_system_call,
    a_ring_of_eight_a_million_times_makes_no_system_call,
    bursts_of_two_hundred_a_million_times_make_no_system_call,
    a_pipeline_of_two_threads_makes_no_system_call_in_its_second_million,
    polling_the_counters_makes_no_system_call_and_allocates_nothing,
}

#[cfg(feature = "async")]
mod tasks {
    use super::support::kind::both_kinds;
    use super::waking_a_task_allocates_and_frees_nothing;

    both_kinds! { waking_a_task_allocates_and_frees_nothing }
}

#[global_allocator]
static ALLOCATOR: heap::Counting = heap::Counting;

/// Before the first thread: what this program itself has, its stacks and its heap, is not to be
/// unmapped by a kernel that balances NUMA nodes to see who uses it. (That a pool is not, by
/// itself, is for `numa` to show.) A thread inherits that, and so do pools: set_mempolicy(2).
extern "C" fn leave_alone() {
    const MPOL_LOCAL: libc::c_int = 4;
    // SAFETY: takes numbers. A kernel without NUMA refuses it, and balances nothing.
    unsafe { libc::syscall(libc::SYS_set_mempolicy, MPOL_LOCAL, 0, 0) };
}

// SAFETY: the loader calls what this section holds, and such a function takes what it passes.
#[used]
#[unsafe(link_section = ".init_array")]
static BEFORE_MAIN: extern "C" fn() = leave_alone;

/// Heap calls and page faults of this thread while `work` runs.
fn cost(work: impl FnOnce()) -> (usize, i64) {
    let called = heap::calls();
    let faulted = faults();
    work();
    (heap::calls() - called, faults() - faulted)
}

/// The same of work that is done again and again: the heap calls of all runs, and the
/// page faults of the best one. A kernel that takes back pages which have not been used for
/// a while (code that runs for the first time on another processor, say) makes one of them
/// fault now and then; work that faults by itself does so every time.
fn cost_of_each(mut work: impl FnMut()) -> (usize, i64) {
    let runs = [(); 3].map(|()| cost(&mut work));
    let heap = runs.iter().map(|run| run.0).sum();
    (heap, runs.iter().map(|run| run.1).min().unwrap_or(0))
}

const SIZE: usize = 4096;

/// Some of its buffers go out as raw pointers for the first time late, if there are many
/// processors: the cache of each keeps its own.
fn pool(kind: Kind, count: usize) -> Pool {
    let builder = Pool::builder().reserve(SIZE, SIZE, count);
    kind.build(builder.raw_pointers(true))
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

fn a_million_taken_and_given_back_fault_no_page_and_map_nothing(kind: Kind) {
    let pool = pool(kind, 256);
    let class = pool.class(SIZE, SIZE).unwrap();
    let work = |times: usize| {
        for _ in 0..times {
            raii(&pool);
            raw(&pool);
            by_class(&class);
        }
    };
    work(1000);
    assert_eq!(cost_of_each(|| work(350_000)), (0, 0));
    assert!(maps_unchanged(|| work(20_000)));
}

fn batches_to_and_from_the_depot_fault_no_page_and_allocate_nothing(kind: Kind) {
    let pool = pool(kind, 1000);
    let mut held: Vec<Buffer> = Vec::with_capacity(1000);
    let mut round = || {
        for _ in 0..600 {
            held.push(pool.allocate(SIZE, SIZE).unwrap());
        }
        held.clear();
    };
    round();
    let before = pool.stats().classes[0].clone();
    let cost = cost_of_each(|| (0..200).for_each(|_| round()));
    assert_eq!(cost, (0, 0));
    let after = pool.stats().classes[0].clone();
    assert!(after.refills > before.refills && after.flushes > before.flushes);
}

fn the_first_buffers_of_a_new_pool_fault_no_page_either(kind: Kind) {
    // Warm the code with one pool, then take from another for the first time.
    let (warm, cold) = (pool(kind, 256), pool(kind, 256));
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

/// The waker is the caller's, and this one does nothing.
#[cfg(feature = "async")]
fn waking_a_task_allocates_and_frees_nothing(kind: Kind) {
    use std::future::Future;
    use std::task::{Context, Waker};

    let pool = pool(kind, 1);
    let mut context = Context::from_waker(Waker::noop());
    for _ in 0..3 {
        let buffer = pool.allocate(SIZE, SIZE).unwrap();
        let mut next = Box::pin(pool.allocate_async(SIZE, SIZE));
        assert!(next.as_mut().poll(&mut context).is_pending());
        assert_eq!(cost(|| drop(buffer)).0, 0, "heap calls in a free");
        assert!(next.as_mut().poll(&mut context).is_ready());
    }
}

fn a_refusal_allocates_nothing(kind: Kind) {
    let pool = pool(kind, 3);
    let held = pool.allocate_many(SIZE, SIZE, 3).unwrap();
    let refuse = || {
        assert!(pool.allocate(SIZE, SIZE).unwrap_err().is_exhausted());
        assert!(pool.allocate_raw(SIZE, SIZE).is_err());
        assert!(pool.allocate(1 << 30, 1).is_err());
    };
    refuse();
    let cost = cost_of_each(|| (0..5000).for_each(|_| refuse()));
    assert_eq!(cost, (0, 0));
    drop(held);
    assert_eq!(pool.available(SIZE, SIZE), 3);
}

fn a_climb_allocates_nothing(kind: Kind) {
    let builder = Pool::builder()
        .reserve(SIZE, SIZE, 1)
        .reserve(2 * SIZE, SIZE, 1);
    let pool = kind.build(builder.reserve(4 * SIZE, SIZE, 1));
    let climb = || {
        let three = [(); 3].map(|()| pool.allocate(SIZE, SIZE).unwrap());
        assert!(pool.allocate(SIZE, SIZE).is_err());
        drop(three);
    };
    climb();
    let cost = cost_of_each(|| (0..2000).for_each(|_| climb()));
    assert_eq!(cost, (0, 0));
    assert!(pool.stats().classes[0].climbs >= 4000);
}

fn a_steal_allocates_nothing(kind: Kind) {
    let Some((here, there)) = two_cpus("the cost of a steal") else {
        return;
    };
    let pool = pool(kind, 64);
    let mut held: Vec<Buffer> = Vec::with_capacity(64);
    let steals = || pool.stats().classes[0].steals;
    for round in 0..3 {
        on_cpu(here, || {
            // So many steals in so short a time put caches out of use for a while.
            until_cached(&pool, SIZE);
            drop(pool.allocate_many(SIZE, SIZE, 64).unwrap());
        });
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
        assert_eq!(heap, 0);
        // The first round may load code.
        assert!(round == 0 || faulted == 0, "{faulted} page faults");
    }
    // Not in each round, perhaps: what is left of a cache when no more steals are allowed goes to
    // the list that all share.
    assert!(steals() > 0, "nothing was stolen: this proves nothing");
}

/// Operations before those that count, and as many that do.
const MILLION: usize = 1_000_000;

/// Does `work`, which is one buffer taken and one given back, a million times and
/// then a million times more, and fails if the second million made a system call,
/// faulted a page or allocated.
fn assert_no_call(what: &str, mut work: impl FnMut()) {
    stay_off_passing();
    // By the same code both times, so that its pages are there.
    let mut million = |watch: Option<&Watch<'_>>| {
        for _ in 0..MILLION {
            watch.inspect(|watch| watch.catch());
            work();
        }
        // Counting faults is a system call.
        watch.inspect(|watch| watch.end());
    };
    let mut twice = |watch: Option<&Watch<'_>>| {
        cost(|| million(watch));
        watch.inspect(|watch| watch.forget());
        cost(|| million(watch))
    };
    let mut spent = (0, 0);
    match Watch::over(what, None, |watch| spent = twice(Some(watch))) {
        Some((0, _)) => {}
        Some((calls, first)) => panic!("{what}: {calls} system calls, first number {first}"),
        None => spent = twice(None),
    }
    assert_eq!(spent, (0, 0), "{what}: allocations and page faults");
}

/// Without the C library's registration, the library's own, or the kernel's word
/// for which processor this is.
#[test]
fn where_the_library_registers_threads_itself_there_is_no_system_call_either() {
    let name = "where_the_library_registers_threads_itself_there_is_no_system_call_either";
    alone(name, &[NO_REGISTRATION], || {
        for kind in Kind::ALL {
            kind.run(|kind| {
                the_same_buffer_a_million_times_makes_no_system_call(kind);
                bursts_of_two_hundred_a_million_times_make_no_system_call(kind);
                a_pipeline_of_two_threads_makes_no_system_call_in_its_second_million(kind);
            });
        }
    });
}

/// A way to take a buffer and give it back, and its name.
type Way<'p> = (&'static str, Box<dyn FnMut() + 'p>);

/// Each of the three ways to take and give.
fn ways(pool: &Pool) -> [Way<'_>; 3] {
    let class = pool.class(SIZE, SIZE).unwrap();
    [
        ("by class", Box::new(move || by_class(&class))),
        ("by size", Box::new(|| raii(pool))),
        ("raw", Box::new(|| raw(pool))),
    ]
}

fn the_same_buffer_a_million_times_makes_no_system_call(kind: Kind) {
    let pool = pool(kind, 256);
    for (way, work) in ways(&pool) {
        assert_no_call(&format!("one buffer {way}"), work);
    }
}

fn a_ring_of_eight_a_million_times_makes_no_system_call(kind: Kind) {
    let pool = pool(kind, 256);
    let mut ring = VecDeque::with_capacity(9);
    ring.extend((0..8).map(|_| pool.allocate(SIZE, SIZE).unwrap()));
    assert_no_call("a ring of 8", || {
        ring.push_back(pool.allocate(SIZE, SIZE).unwrap());
        drop(ring.pop_front());
    });
}

fn polling_the_counters_makes_no_system_call_and_allocates_nothing(kind: Kind) {
    let pool = pool(kind, 64);
    let mut at = 0;
    assert_no_call("polling", || {
        let _buffer = pool.allocate(SIZE, SIZE).unwrap();
        at += 1;
        if at % 100 == 0 {
            assert_eq!(pool.counters().refusals.total(), 0);
            let in_use = pool.class_counters().map(|class| class.in_use);
            assert_eq!(in_use.sum::<u64>(), 1);
            pool.reset_marks();
        }
    });
}

fn bursts_of_two_hundred_a_million_times_make_no_system_call(kind: Kind) {
    // More than a cache keeps: batches go to the depot and come back.
    let pool = pool(kind, 2000);
    let mut held: Vec<Buffer> = Vec::with_capacity(200);
    let before = pool.stats().classes[0].clone();
    let mut rises = true;
    // As many taken as given; so this is half a million of each.
    assert_no_call("bursts of 200", || {
        if rises {
            held.push(pool.allocate(SIZE, SIZE).unwrap());
        } else {
            held.pop();
        }
        rises = if rises {
            held.len() < 200
        } else {
            held.is_empty()
        };
    });
    let after = pool.stats().classes[0].clone();
    assert!(after.refills > before.refills && after.flushes > before.flushes);
    assert_eq!(after.steals, before.steals);
}

/// Addresses on their way from one thread to another, which waits by looking.
struct Pipe {
    slots: [AtomicUsize; 64],
    /// Somebody failed: nobody waits any more.
    broken: AtomicBool,
}

impl Pipe {
    /// Waits until the slot of item `at` is empty (or is not), and changes it to
    /// `to`; gives what was there.
    fn pass(&self, at: usize, full: bool, to: usize) -> usize {
        let slot = &self.slots[at % self.slots.len()];
        loop {
            // Acquire and Release: what one thread did with the buffer comes
            // before what the other does.
            let there = slot.load(Ordering::Acquire);
            if (there != 0) == full {
                slot.store(to, Ordering::Release);
                return there;
            }
            assert!(!self.broken.load(Ordering::Relaxed), "the other end failed");
            std::hint::spin_loop();
        }
    }
}

fn a_pipeline_of_two_threads_makes_no_system_call_in_its_second_million(kind: Kind) {
    let what = "a pipeline";
    let Some((here, there)) = two_cpus(what) else {
        return;
    };
    let pool = pool(kind, 2000);
    let pipe = Pipe {
        slots: [const { AtomicUsize::new(0) }; 64],
        broken: AtomicBool::new(false),
    };
    let end = |cpu: usize, work: &dyn Fn(usize)| {
        /// Tells the other end of a panic.
        struct Broken<'a>(&'a AtomicBool);
        impl Drop for Broken<'_> {
            fn drop(&mut self) {
                self.0.store(std::thread::panicking(), Ordering::Relaxed);
            }
        }
        let _broken = Broken(&pipe.broken);
        pin(cpu);
        let mut at = 0;
        assert_no_call(what, || {
            work(at);
            at += 1;
        });
    };
    std::thread::scope(|scope| {
        scope.spawn(|| {
            end(here, &|at| {
                let start = pool.allocate_raw(SIZE, SIZE).unwrap();
                pipe.pass(at, false, start.as_ptr().expose_provenance());
            });
        });
        scope.spawn(|| {
            end(there, &|at| {
                let start = std::ptr::with_exposed_provenance_mut(pipe.pass(at, true, 0));
                // SAFETY: taken at the other end with this size, and given here
                // alone.
                unsafe { pool.free_raw(start, SIZE) }.unwrap();
            });
        });
    });
    let class = &pool.stats().classes[0];
    assert!(class.refills > 1000 && class.flushes > 1000, "{class:?}");
    assert_eq!(pool.available(SIZE, SIZE), 2000);
}
