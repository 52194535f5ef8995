//! Restartable caches where the C library does not register threads for them,
//! where somebody else does, and where the kernel refuses: exact everywhere, on
//! restartable caches wherever the kernel lets the library have them. Each test
//! runs in a process of its own.

mod support;

use hugepool::{AllocError, Buffer, Pool, WhyPortable};
use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering};
use support::area::{Area, SIGNATURE, of_the_c_library, pretend, take_from_the_c_library};
use support::filter::refuse;
use support::kind::Kind;
use support::process::{NO_REGISTRATION, alone, in_fork};
use support::storm::Storm;
use support::timer::{SIGNAL, Timer, handle};
use support::{Random, cpus, living_pools, on_cpu, pin, skipped, two_cpus};

const SIZE: usize = 4096;

fn pool(kind: Kind, count: usize) -> Pool {
    let builder = Pool::builder().reserve(SIZE, SIZE, count);
    kind.build(builder.prefault(false))
}

/// Takes all there is, and gives the refusal too.
fn take_all(pool: &Pool) -> (Vec<Buffer>, AllocError) {
    let mut taken = Vec::new();
    loop {
        match pool.allocate(SIZE, SIZE) {
            Ok(buffer) => taken.push(buffer),
            Err(refusal) => return (taken, refusal),
        }
    }
}

/// One thread on any processor takes exactly `count`, each once.
#[track_caller]
fn assert_exact(pool: &Pool, count: usize) {
    for cpu in cpus() {
        let (taken, refusal) = on_cpu(cpu, || take_all(pool));
        assert_eq!(taken.len(), count, "{refusal}");
        let starts: HashSet<usize> = taken.iter().map(|b| b.as_ptr().addr()).collect();
        assert_eq!(starts.len(), count, "one buffer was handed out twice");
        assert!(matches!(
            refusal,
            AllocError::Exhausted { carried: false, .. }
        ));
        // Given back where they were not taken.
        drop(taken);
    }
    assert_eq!(pool.available(SIZE, SIZE), count);
}

thread_local! {
    /// What each thread of this program has before it starts, on its stack: more than a small
    /// stack has room for.
    static LARGE: Cell<[u8; 256 << 10]> = const { Cell::new([0; 256 << 10]) };
}

#[test]
fn a_program_whose_threads_have_large_variables_has_restartable_caches() {
    let name = "a_program_whose_threads_have_large_variables_has_restartable_caches";
    alone(name, &[], || {
        LARGE.with(|large| std::hint::black_box(large.as_ptr()));
        Kind::Restartable.run(|kind| drop(pool(kind, 8)));
    });
}

/// Refuses a system call to this thread and those it starts. False, after saying
/// so, where there are no filters.
fn refused(name: &str, call: libc::c_long, error: libc::c_int) -> bool {
    let done = refuse(call, error);
    if let Err(why) = &done {
        skipped(&format!("{name}: no filter for system calls: {why}"));
    }
    done.is_ok()
}

/// Runs `body` where the C library registers no thread and the library must do it
/// itself.
#[track_caller]
fn unregistered(name: &str, body: impl FnOnce()) {
    alone(name, &[NO_REGISTRATION], || {
        if let Some(why) = Kind::Restartable.lacking() {
            skipped(&format!("{name}: {why}"));
        } else if of_the_c_library().is_some() {
            skipped(&format!("{name}: this C library cannot be kept from it"));
        } else {
            body();
        }
    });
}

#[test]
fn the_library_registers_threads_itself_and_all_storms_leave_each_buffer_in_one_hand() {
    let name = "the_library_registers_threads_itself_and_all_storms_leave_each_buffer_in_one_hand";
    unregistered(name, || {
        let threads = 8 * cpus().len().min(8);
        for (buffers, grows) in [(threads, false), (3 * threads, false), (5, true)] {
            Storm {
                threads,
                buffers,
                grows,
                signals: true,
                wander: true,
                ..Storm::new(Kind::Restartable)
            }
            .rage();
        }
    });
}

/// What a thread leaves behind, seen to when all else of the thread has gone.
struct Late {
    pool: Pool,
    buffers: Vec<Buffer>,
    key: libc::pthread_key_t,
    rounds: u32,
}

/// Threads at whose end the kernel had no area of theirs any more.
static GIVEN_UP: AtomicUsize = AtomicUsize::new(0);
/// Threads that have ended, as far as can be told, and hold nothing.
static ENDED: AtomicUsize = AtomicUsize::new(0);

/// Called by the C library at the end of a thread, after the thread-locals of Rust
/// were dropped, with those of other keys, and again if it asks for that.
extern "C" fn at_end(late: *mut libc::c_void) {
    let late: *mut Late = late.cast();
    // SAFETY: made by a box, and passed on to nobody but this.
    let it = unsafe { &mut *late };
    it.rounds += 1;
    if it.rounds < 3 {
        // SAFETY: the key is a key.
        unsafe { libc::pthread_setspecific(it.key, late.cast()) };
        return;
    }
    if Area::register(SIGNATURE).is_ok() {
        GIVEN_UP.fetch_add(1, Ordering::Relaxed);
    }
    // SAFETY: as above; this is the last time.
    let Late { pool, buffers, .. } = *unsafe { Box::from_raw(late) };
    // Without its registration it takes and gives as ever.
    drop(buffers);
    drop(pool.allocate(SIZE, SIZE).unwrap());
    drop(pool);
    ENDED.fetch_add(1, Ordering::Release);
}

#[test]
fn threads_that_come_and_go_give_their_registrations_back() {
    let name = "threads_that_come_and_go_give_their_registrations_back";
    unregistered(name, || {
        const ROUNDS: usize = 300;
        const AT_ONCE: usize = 4;
        let pool = pool(Kind::Restartable, 8 * AT_ONCE);
        let mut key = 0;
        // SAFETY: `key` is writable, and `at_end` is called with what is set below.
        let made = unsafe { libc::pthread_key_create(&mut key, Some(at_end)) };
        assert_eq!(made, 0);
        for round in 1..=ROUNDS {
            std::thread::scope(|scope| {
                for _ in 0..AT_ONCE {
                    scope.spawn(|| {
                        let late = Box::new(Late {
                            pool: pool.clone(),
                            buffers: pool.allocate_many(SIZE, SIZE, 4).unwrap(),
                            key,
                            rounds: 0,
                        });
                        // SAFETY: the key was made above.
                        let set =
                            unsafe { libc::pthread_setspecific(key, Box::into_raw(late).cast()) };
                        assert_eq!(set, 0);
                        for _ in 0..100 {
                            drop(pool.allocate(SIZE, SIZE).unwrap());
                        }
                    });
                }
            });
            // A scope waits for what its threads do, not for how they end, and until then
            // they hold their buffers.
            while ENDED.load(Ordering::Acquire) < round * AT_ONCE {
                std::thread::yield_now();
            }
        }
        assert_eq!(GIVEN_UP.load(Ordering::Relaxed), ROUNDS * AT_ONCE);
        assert_exact(&pool, 8 * AT_ONCE);
    });
}

#[test]
fn threads_that_are_registered_by_somebody_else_take_and_give_exactly() {
    let name = "threads_that_are_registered_by_somebody_else_take_and_give_exactly";
    unregistered(name, || {
        for count in [1, 7, 64, 500] {
            let pool = pool(Kind::Restartable, count);
            for signature in [SIGNATURE, 0x1234_5678] {
                std::thread::scope(|scope| {
                    let theirs = scope.spawn(|| {
                        let _area = Area::register(signature).expect("nobody has registered it");
                        let (taken, refusal) = take_all(&pool);
                        assert_eq!(taken.len(), count, "{refusal}");
                        drop(taken);
                        for _ in 0..2000 {
                            drop(pool.allocate(SIZE, SIZE).unwrap());
                        }
                        let (taken, refusal) = take_all(&pool);
                        assert_eq!(taken.len(), count, "{refusal}");
                        taken
                    });
                    let theirs = theirs.join().unwrap();
                    // Freed by threads of the one sort, taken by the other.
                    drop(theirs);
                });
                assert_exact(&pool, count);
            }
            // And both sorts at once.
            let shared = &pool;
            std::thread::scope(|scope| {
                for thread in 0..4.min(count) {
                    scope.spawn(move || {
                        let foreign = thread % 2 == 0;
                        let _area = foreign.then(|| Area::register(SIGNATURE).unwrap());
                        for _ in 0..5000 {
                            drop(shared.allocate(SIZE, SIZE).expect("one for each thread"));
                        }
                    });
                }
            });
            assert_exact(&pool, count);
        }
    });
}

#[test]
fn threads_that_lost_their_registration_take_and_give_exactly() {
    let name = "threads_that_lost_their_registration_take_and_give_exactly";
    alone(name, &[], || {
        if let Some(why) = Kind::Restartable.lacking() {
            return skipped(&format!("{name}: {why}"));
        }
        for count in [1, 7, 64, 500] {
            let pool = pool(Kind::Restartable, count);
            for foreign in [false, true] {
                let theirs = std::thread::spawn({
                    let pool = pool.clone();
                    move || {
                        // Before it uses the pool and after.
                        drop(take_all(&pool).0);
                        if !take_from_the_c_library() {
                            return None;
                        }
                        let _area = foreign.then(|| Area::register(SIGNATURE).unwrap());
                        let (taken, refusal) = take_all(&pool);
                        assert_eq!(taken.len(), count, "{refusal}");
                        drop(taken);
                        for _ in 0..2000 {
                            drop(pool.allocate(SIZE, SIZE).unwrap());
                        }
                        Some(take_all(&pool).0)
                    }
                });
                let Some(taken) = theirs.join().unwrap() else {
                    return skipped(&format!("{name}: there is none to take"));
                };
                assert_eq!(taken.len(), count);
                drop(taken);
                assert_exact(&pool, count);
            }
        }
    });
}

/// As a processor that was plugged in has, of which nobody knew.
#[test]
fn threads_on_a_processor_beyond_the_possible_ones_take_and_give_exactly() {
    let name = "threads_on_a_processor_beyond_the_possible_ones_take_and_give_exactly";
    alone(name, &[], || {
        if let Some(why) = Kind::Restartable.lacking() {
            return skipped(&format!("{name}: {why}"));
        }
        let pool = pool(Kind::Restartable, 64);
        let slots = pool.stats().cpus as u32;
        for cpu in [slots, slots + 1, 4095, i32::MAX as u32] {
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    let mut held = Vec::new();
                    for round in 0..20_000 {
                        if !pretend(cpu) {
                            return skipped(&format!("{name}: nobody wrote a number"));
                        }
                        match round / 64 % 2 {
                            0 => held.push(pool.allocate(SIZE, SIZE).expect("64 are free")),
                            _ => drop(held.pop()),
                        }
                    }
                });
            });
            assert_exact(&pool, 64);
        }
    });
}

#[test]
fn where_rseq_is_refused_caches_are_portable() {
    let name = "where_rseq_is_refused_caches_are_portable";
    alone(name, &[NO_REGISTRATION], || {
        if of_the_c_library().is_some() {
            return skipped(&format!("{name}: this C library cannot be kept from it"));
        }
        for error in [libc::ENOSYS, libc::EPERM] {
            if refused(name, libc::SYS_rseq, error) {
                portable_by_itself(WhyPortable::NotRegistered);
            }
        }
    });
}

#[test]
fn where_membarrier_is_refused_caches_are_portable() {
    let name = "where_membarrier_is_refused_caches_are_portable";
    alone(name, &[], || {
        for error in [libc::ENOSYS, libc::EPERM] {
            if refused(name, libc::SYS_membarrier, error) {
                portable_by_itself(WhyPortable::NoBarrier);
            }
        }
    });
}

/// Whether sequences are restarted cannot be tried then.
#[test]
fn where_no_thread_can_be_started_caches_are_portable_until_one_can() {
    let name = "where_no_thread_can_be_started_caches_are_portable_until_one_can";
    alone(name, &[], || {
        if let Some(why) = Kind::Restartable.lacking() {
            return skipped(&format!("{name}: {why}"));
        }
        std::thread::scope(|scope| {
            scope.spawn(|| {
                // Where `clone3` is not known the C library calls `clone`.
                if refused(name, libc::SYS_clone, libc::EAGAIN)
                    && refused(name, libc::SYS_clone3, libc::ENOSYS)
                {
                    let builder = Pool::builder().reserve(SIZE, SIZE, 100).prefault(false);
                    let stats = builder.build().unwrap().stats();
                    assert_eq!(stats.cache, Kind::Portable.name());
                    assert_eq!(stats.why_portable, Some(WhyPortable::NoThread));
                }
            });
        });
        assert_exact(&pool(Kind::Restartable, 100), 100);
    });
}

/// A child, too, has no more than it is given, and tries for itself what its parent did not.
#[test]
fn the_first_pool_of_a_child_has_restartable_caches_and_the_processors_stay_as_they_are() {
    let name =
        "the_first_pool_of_a_child_has_restartable_caches_and_the_processors_stay_as_they_are";
    alone(name, &[], || {
        if let Some(why) = Kind::Restartable.lacking() {
            return skipped(&format!("{name}: {why}"));
        }
        let before = cpus();
        let builds = || {
            drop(pool(Kind::Restartable, 8));
            i32::from(cpus() != before)
        };
        assert_eq!(in_fork(builds), 0);
        // One processor, which is this thread's choice.
        let last = before[before.len() - 1];
        let on_one = || {
            pin(last);
            drop(pool(Kind::Restartable, 8));
            i32::from(cpus() != [last])
        };
        assert_eq!(in_fork(on_one), 0);
        assert_eq!(builds(), 0);
        // And where the parent has tried it.
        assert_eq!(in_fork(builds), 0);
    });
}

extern "C" fn ignore(_: libc::c_int, _: *mut libc::siginfo_t, _: *mut libc::c_void) {}

#[test]
fn a_process_that_gets_signals_all_the_time_has_restartable_caches() {
    let name = "a_process_that_gets_signals_all_the_time_has_restartable_caches";
    alone(name, &[], || {
        if let Some(why) = Kind::Restartable.lacking() {
            return skipped(&format!("{name}: {why}"));
        }
        handle(SIGNAL, ignore);
        // Each child builds its first pool.
        for _ in 0..20 {
            let built = in_fork(|| {
                let (started, ends) = (Barrier::new(2), AtomicUsize::new(0));
                std::thread::scope(|scope| {
                    scope.spawn(|| {
                        started.wait();
                        while ends.load(Ordering::Relaxed) == 0 {
                            // SAFETY: the signal has a handler; any thread may get it.
                            unsafe { libc::kill(libc::getpid(), SIGNAL) };
                        }
                    });
                    started.wait();
                    drop(pool(Kind::Restartable, 8));
                    ends.store(1, Ordering::Relaxed);
                });
                0
            });
            assert_eq!(built, 0);
        }
    });
}

/// A pool whose kind nobody chose is portable, says why, and is exact.
fn portable_by_itself(why: WhyPortable) {
    let builder = Pool::builder().reserve(SIZE, SIZE, 100).prefault(false);
    let pool = builder.build().unwrap();
    assert_eq!(pool.stats().cache, Kind::Portable.name());
    assert_eq!(pool.stats().why_portable, Some(why));
    assert_exact(&pool, 100);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..5000 {
                    drop(pool.allocate(SIZE, SIZE).unwrap());
                }
            });
        }
    });
    assert_exact(&pool, 100);
}

const LATER: &str = "where_membarrier_is_refused_later_what_is_out_of_reach_is_not_lost";

/// Refuses `membarrier` to some threads of a pool that was built with it.
fn membarrier_refused_later(error: libc::c_int) {
    const COUNT: usize = 100;
    let Some((here, there)) = two_cpus("membarrier refused to a running pool") else {
        return;
    };
    let pools = living_pools();
    let pool = pool(Kind::Restartable, COUNT);
    // Some in the cache of `here`, the rest in the depot.
    on_cpu(here, || {
        drop(pool.allocate_many(SIZE, SIZE, COUNT).unwrap())
    });
    let cached = pool.stats().classes[0].cached;
    assert!(cached > 1, "too few stayed in a cache: this proves nothing");
    let (tried, tries) = (Barrier::new(2), 2);
    let without = || {
        if !refused(LATER, libc::SYS_membarrier, error) {
            return;
        }
        // Several at once: none keeps another from being refused.
        std::thread::scope(|scope| {
            let takers = (0..tries).map(|_| {
                scope.spawn(|| {
                    pin(there);
                    let (taken, refusal) = take_all(&pool);
                    // Neither gives back before both were refused.
                    tried.wait();
                    assert!(
                        matches!(refusal, AllocError::Exhausted { carried: true, .. }),
                        "what cannot be reached may be free: {refusal}"
                    );
                    taken.len()
                })
            });
            let takers: Vec<_> = takers.collect();
            let taken = takers.into_iter().map(|taker| taker.join().unwrap());
            assert_eq!(taken.sum::<usize>(), COUNT - cached);
        });
        let refusals = pool.counters().refusals;
        assert_eq!((refusals.carried, refusals.total()), (2, 2));
        on_cpu(there, || {
            for _ in 0..10_000 {
                drop(pool.allocate(SIZE, SIZE).unwrap());
            }
        });
        on_cpu(here, || {
            // What is in its own cache it takes without stopping anybody.
            let own = (0..cached).map(|_| pool.allocate(SIZE, SIZE).unwrap());
            own.collect::<Vec<Buffer>>()
        });
        // A trim that cannot look everywhere loses nothing either.
        pool.request(SIZE, SIZE, 10).unwrap();
        pool.trim();
        let capacity = pool.stats().classes[0].capacity;
        assert_eq!(pool.available(SIZE, SIZE), capacity);
    };
    std::thread::scope(|scope| {
        scope.spawn(without);
    });
    // A thread that may stop others finds everything.
    pool.trim();
    assert_exact(&pool, COUNT);
    // A pool that cannot be closed stays; its buffers may come home after that.
    std::thread::scope(|scope| {
        scope.spawn(|| {
            if refused(LATER, libc::SYS_membarrier, error) {
                let out = pool.allocate_many(SIZE, SIZE, 30).unwrap();
                drop(pool);
                assert!(out.iter().all(|buffer| buffer.len() == SIZE));
                drop(out);
                assert_eq!(living_pools(), pools + 1, "nobody knew that it could go");
            }
        });
    });
}

#[test]
fn where_membarrier_is_refused_later_what_is_out_of_reach_is_not_lost() {
    alone(LATER, &[], || {
        Kind::Restartable.run(|_| {
            for error in [libc::ENOSYS, libc::EPERM] {
                membarrier_refused_later(error);
            }
        });
    });
}

thread_local! {
    static POOL: Cell<*const Pool> = const { Cell::new(std::ptr::null()) };
    static SIGNALS: Cell<usize> = const { Cell::new(0) };
    /// What many a thread has: something to be dropped at its end.
    static OTHERS: [RefCell<Vec<u8>>; 1] = const { [RefCell::new(Vec::new())] };
}

extern "C" fn on_signal(_: libc::c_int, _: *mut libc::siginfo_t, _: *mut libc::c_void) {
    // SAFETY: the pool is named here only while it is there.
    if let Some(pool) = unsafe { POOL.get().as_ref() } {
        SIGNALS.set(SIGNALS.get() + 1);
        let _none_may_be_free = pool.allocate(SIZE, SIZE);
    }
}

/// A thread whose first use of the pool is in a signal handler, which came while
/// the thread was within the allocator or registering something of its own.
#[test]
fn a_threads_first_use_of_the_pool_may_be_in_a_signal_handler() {
    let name = "a_threads_first_use_of_the_pool_may_be_in_a_signal_handler";
    unregistered(name, || {
        let pool = pool(Kind::Restartable, 64);
        handle(SIGNAL, on_signal);
        let signals: usize = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4u64)
                .map(|at| {
                    let pool = &pool;
                    scope.spawn(move || {
                        (0..500)
                            .map(|k| first_used_in_a_handler(pool, at << 32 | k))
                            .sum()
                    })
                })
                .collect();
            threads
                .into_iter()
                .map(|t| -> usize { t.join().unwrap() })
                .sum()
        });
        println!("{signals} signals");
        assert_exact(&pool, 64);
    });
}

fn first_used_in_a_handler(pool: &Pool, seed: u64) -> usize {
    let mut random = Random::new(seed);
    std::thread::scope(|scope| {
        let thread = scope.spawn(move || {
            POOL.set(pool);
            let timer = Timer::new();
            timer.set(1 + random.below(60_000) as i64);
            for round in 0..400 {
                OTHERS.with(|others| *others[0].borrow_mut() = vec![0; 1 + random.below(5000)]);
                if SIGNALS.get() > 0 && round > 50 {
                    break;
                }
            }
            drop(timer);
            POOL.set(std::ptr::null());
            SIGNALS.get()
        });
        thread.join().unwrap()
    })
}
