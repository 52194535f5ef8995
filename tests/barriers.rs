//! What a pool that runs dry costs other processors: `membarrier(2)` is called so often
//! in a time, not so often a buffer, whatever goes on. And a class of which some thread
//! could not stop the sections, or stopped itself while it did, is as any other
//! afterwards.

mod support;

use hugepool::{Buffer, Pool};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;
use support::calls::{Stop, Watch};
use support::filter::refuse;
use support::kind::Kind;
use support::process::alone;
use support::small::{SIZE, builder, take, until_cached};
use support::{LONG, on_cpu, pin, skipped, two_cpus};

const ROUNDS: usize = 100_000;

/// Runs `work` on two threads, on a processor each, and fails if they call `membarrier`
/// more than three hundred times a second, and some times beside that.
fn assert_few_barriers(what: &str, count: usize, work: impl Fn(&Pool, usize) + Sync) {
    const A_SECOND: f64 = 300.0;
    /// Steals that may follow each other at once, and threads that share a class at the
    /// same instant.
    const AT_ONCE: f64 = 32.0;
    let Some((here, there)) = two_cpus(what) else {
        return;
    };
    Kind::Restartable.run(|kind| {
        let pool = &kind.build(builder(count));
        let (work, since) = (&work, Instant::now());
        let counted = thread::scope(|scope| {
            let threads = [(0, here), (1, there)].map(|(number, cpu)| {
                scope.spawn(move || {
                    pin(cpu);
                    Watch::count(what, libc::SYS_membarrier, || work(pool, number)).0
                })
            });
            threads.map(|thread| thread.join().unwrap())
        });
        let seconds = since.elapsed().as_secs_f64();
        let [Some(one), Some(other)] = counted else {
            return;
        };
        let calls = (one + other) as f64;
        println!("{what}: {calls} calls in {seconds:.3} s");
        assert!(calls > 0.0, "nothing was stopped: this proves nothing");
        let most = A_SECOND * seconds + AT_ONCE;
        assert!(calls <= most, "{what}: {calls} calls in {seconds:.3} s");
    });
}

/// Two threads that take turns.
#[derive(Default)]
struct Turns {
    done: AtomicUsize,
    /// Somebody failed: nobody waits any more.
    broken: AtomicBool,
}

impl Turns {
    /// Runs `work` at each turn of `number`, `turns` in all.
    fn each(&self, number: usize, turns: usize, mut work: impl FnMut()) {
        /// Tells the other of a panic.
        struct Broken<'a>(&'a AtomicBool);
        impl Drop for Broken<'_> {
            fn drop(&mut self) {
                self.0.fetch_or(thread::panicking(), Ordering::Relaxed);
            }
        }
        let _broken = Broken(&self.broken);
        for turn in (number..turns).step_by(2) {
            let mut looks = 0;
            while self.done.load(Ordering::Acquire) != turn {
                assert!(!self.broken.load(Ordering::Relaxed), "the other failed");
                looks += 1;
                match looks % 1000 {
                    0 => thread::yield_now(),
                    _ => std::hint::spin_loop(),
                }
            }
            work();
            self.done.store(turn + 1, Ordering::Release);
        }
    }
}

#[test]
fn two_that_wait_for_one_buffer_stop_others_seldom() {
    assert_few_barriers("waits", 1, |pool, _| {
        for _ in 0..ROUNDS {
            let buffer = pool.allocate_timeout(SIZE, SIZE, LONG).unwrap();
            // Until the other stands in line, mostly.
            (0..100).for_each(|_| std::hint::spin_loop());
            drop(buffer);
        }
    });
}

#[test]
fn a_buffer_that_goes_to_and_fro_stops_others_seldom() {
    let turns = Turns::default();
    assert_few_barriers("one buffer", 1, |pool, number| {
        turns.each(number, 2 * ROUNDS, || drop(take(pool)));
    });
}

/// Each takes all that the other has given back.
#[test]
fn buffers_that_go_to_and_fro_stop_others_seldom() {
    const MANY: usize = 64;
    let turns = Turns::default();
    assert_few_barriers("64 buffers", MANY, |pool, number| {
        let mut held: Vec<Buffer> = Vec::with_capacity(MANY);
        turns.each(number, ROUNDS, || {
            held.extend((0..MANY).map(|_| take(pool)));
            held.clear();
        });
    });
}

#[test]
fn refusals_stop_others_seldom() {
    let turns = Turns::default();
    assert_few_barriers("refusals", 1, |pool, number| {
        // The first turn and the last are its holder's.
        let held = (number == 0).then(|| take(pool));
        turns.each(number, 1001, || {
            if held.is_none() {
                (0..ROUNDS / 500).for_each(|_| assert!(pool.allocate(SIZE, SIZE).is_err()));
            }
        });
    });
}

const STUCK: &str = "a_class_that_one_could_not_share_is_opened_by_others";

/// `membarrier` is refused to a thread that asks for the last buffer.
#[test]
fn a_class_that_one_could_not_share_is_opened_by_others() {
    alone(STUCK, &[], || {
        Kind::Restartable.run(|kind| {
            let pool = kind.build(builder(1));
            let held = take(&pool);
            thread::scope(|scope| {
                scope.spawn(|| {
                    if refuse(libc::SYS_membarrier, libc::EPERM).is_err() {
                        return skipped(&format!("{STUCK}: there are no filters here"));
                    }
                    assert!(pool.allocate(SIZE, SIZE).is_err());
                });
            });
            drop(held);
            until_cached(&pool, SIZE);
        });
    });
}

/// It stops before the kernel has ended the sections that are under way, until the class
/// is open again.
#[test]
fn who_stops_while_it_shares_a_class_leaves_none_of_its_lists_shut() {
    const COUNT: usize = 500;
    let what = "a thread that stops while it shares a class";
    Kind::Restartable.run(|kind| {
        let pool = kind.build(builder(COUNT));
        let stop = Stop {
            call: libc::SYS_membarrier,
            ..Stop::default()
        };
        let gone = AtomicBool::new(false);
        let all = pool.allocate_many(SIZE, SIZE, COUNT).unwrap();
        thread::scope(|scope| {
            let stopped = scope.spawn(|| {
                let watched = Watch::over(what, Some(&stop), |watch| {
                    watch.catch();
                    drop(pool.allocate(SIZE, SIZE));
                });
                gone.store(true, Ordering::Release);
                watched.is_some()
            });
            stop.wait(|| gone.load(Ordering::Acquire));
            // It keeps nobody from being refused, nor from what comes back.
            assert!(pool.allocate(SIZE, SIZE).is_err());
            drop(all);
            until_cached(&pool, SIZE);
            stop.release();
            assert!(stopped.join().unwrap() || gone.load(Ordering::Acquire));
        });
        until_cached(&pool, SIZE);
        let refills = || pool.stats().classes[0].refills;
        on_cpu(support::cpus()[0], || {
            let round = || drop(pool.allocate_many(SIZE, SIZE, COUNT).unwrap());
            round();
            let before = refills();
            round();
            assert!(refills() > before, "no batch came from the depot");
        });
    });
}
