//! A crowd of tasks in one thread, which are polled only when they were woken: of the pool and
//! of streams, for one buffer and for several, that give up, while buffers come back in any
//! order, classes grow and are trimmed, and streams end. Whatever happens, nobody sleeps
//! beside what it could have, nobody has what another one has, no stream has more than it may,
//! and in the end all is home.
//!
//! Each seed is a history. `HUGEPOOL_SEEDS=from..to cargo test --release --features async
//! --test simulation` runs others.
#![cfg(feature = "async")]

mod support;

use hugepool::{AllocError, Allocate, AllocateMany, Buffer, Pool, Stream};
use std::ops::Range;
use std::task::Poll;
use support::Random;
use support::small::SIZE;
use support::task::Task;

/// Those that a run without a wish looks at.
const SEEDS: Range<u64> = 0..7000;
const LARGE: usize = 2 * SIZE;

enum Future {
    One(Task<Allocate>),
    Several(Task<AllocateMany>),
}

/// A task that waits.
struct Waiter {
    future: Future,
    /// The place of its stream; `None`: it is of the pool.
    stream: Option<usize>,
    size: usize,
    count: usize,
    /// How often it had been woken when it was polled last.
    seen: u64,
}

impl Waiter {
    fn is_woken(&self) -> bool {
        let wakes = match &self.future {
            Future::One(task) => task.wakes(),
            Future::Several(task) => task.wakes(),
        };
        wakes > self.seen
    }

    fn poll(&mut self) -> Poll<Result<Vec<Buffer>, AllocError>> {
        match &mut self.future {
            Future::One(task) => {
                self.seen = task.wakes();
                task.poll().map(|taken| taken.map(|buffer| vec![buffer]))
            }
            Future::Several(task) => {
                self.seen = task.wakes();
                task.poll()
            }
        }
    }
}

/// A stream, and what it may have.
struct Share {
    stream: Stream,
    maximum: usize,
    /// Tells it from those that had its place before.
    number: u64,
}

/// Somebody has a buffer.
struct Held {
    buffer: Buffer,
    /// That of its stream.
    number: Option<u64>,
}

struct Simulation {
    random: Random,
    pool: Pool,
    strict: bool,
    /// Whether buffers are there that were not at first, or are no more.
    changes: bool,
    shares: Vec<Option<Share>>,
    shares_so_far: u64,
    waiters: Vec<Waiter>,
    held: Vec<Held>,
}

impl Simulation {
    fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let strict = seed.is_multiple_of(2);
        let (small, large) = (6 + random.below(6), 2 + random.below(2));
        let pool = Pool::builder()
            .reserve(SIZE, SIZE, small)
            .reserve(LARGE, SIZE, large)
            .address_space(1 << 30)
            .prefault(false)
            .strict_order(strict)
            .portable_caches(seed % 4 < 2);
        let mut simulation = Self {
            changes: random.below(3) == 0,
            random,
            pool: pool.build().unwrap(),
            strict,
            shares: Vec::new(),
            shares_so_far: 0,
            waiters: Vec::new(),
            held: Vec::new(),
        };
        for _ in 0..2 {
            let share = simulation.share();
            simulation.shares.push(share);
        }
        simulation
    }

    fn chance(&mut self, percent: usize) -> bool {
        self.random.below(100) < percent
    }

    /// Any stream, if there is room for what it is to have.
    fn share(&mut self) -> Option<Share> {
        let minimum = self.random.below(4);
        let maximum = (minimum + self.random.below(5)).max(1);
        let stream = self.pool.stream("one").minimum(SIZE, SIZE, minimum);
        let stream = stream.maximum(SIZE, SIZE, maximum).build().ok()?;
        self.shares_so_far += 1;
        Some(Share {
            stream,
            maximum,
            number: self.shares_so_far,
        })
    }

    /// Any stream that there is.
    fn any_share(&mut self) -> Option<usize> {
        let at = self.random.below(self.shares.len());
        self.shares[at].is_some().then_some(at)
    }

    fn keep(&mut self, taken: Vec<Buffer>, stream: Option<usize>) {
        let share = stream.and_then(|at| self.shares[at].as_ref());
        let number = share.map(|share| share.number);
        let held = taken.into_iter().map(|buffer| Held { buffer, number });
        self.held.extend(held);
    }

    /// Somebody comes who waits.
    fn begin(&mut self) {
        let stream = match self.chance(65) {
            true => self.any_share(),
            false => None,
        };
        let several = self.chance(55);
        let (future, size, count);
        if let Some(share) = stream.and_then(|at| self.shares[at].as_ref()) {
            size = SIZE;
            count = match several {
                true => 1 + self.random.below(share.maximum),
                false => 1,
            };
            future = match count {
                1 => Future::One(Task::of(share.stream.allocate_async(size, SIZE))),
                _ => Future::Several(Task::of(
                    share.stream.allocate_many_async(size, SIZE, count),
                )),
            };
        } else {
            size = if self.chance(50) { LARGE } else { SIZE };
            count = if several { 2 + self.random.below(3) } else { 1 };
            future = match count {
                1 => Future::One(Task::of(self.pool.allocate_async(size, SIZE))),
                _ => Future::Several(Task::of(self.pool.allocate_many_async(size, SIZE, count))),
            };
        }
        self.waiters.push(Waiter {
            future,
            stream,
            size,
            count,
            seen: 0,
        });
        self.poll(self.waiters.len() - 1);
    }

    /// Polls the waiter at `at`; whether it waits no more.
    fn poll(&mut self, at: usize) -> bool {
        let Poll::Ready(result) = self.waiters[at].poll() else {
            return false;
        };
        let waiter = self.waiters.swap_remove(at);
        match result {
            Ok(taken) => {
                assert_eq!(taken.len(), waiter.count);
                self.keep(taken, waiter.stream);
            }
            // Another stream, or a trim, left too few.
            Err(AllocError::NeverEnough { .. }) => {}
            Err(AllocError::NoShare { .. } | AllocError::NoClass { .. }) if self.changes => {}
            Err(other) => panic!("{other}"),
        }
        true
    }

    /// Polls one of those that were woken. False: there is none.
    fn poll_woken(&mut self) -> bool {
        let all = 0..self.waiters.len();
        let woken: Vec<usize> = all.filter(|&at| self.waiters[at].is_woken()).collect();
        if woken.is_empty() {
            return false;
        }
        let at = woken[self.random.below(woken.len())];
        self.poll(at);
        true
    }

    fn poll_all_woken(&mut self) {
        // Far more than there is to do.
        for _ in 0..10_000 {
            if !self.poll_woken() {
                return;
            }
        }
        panic!("somebody is woken over and over");
    }

    /// All who were woken have looked: nobody else could have anything.
    fn nobody_sleeps_beside_what_it_could_have(&mut self) {
        self.poll_all_woken();
        let at = self.random.below(self.waiters.len().max(1));
        if at < self.waiters.len() {
            assert!(!self.poll(at), "it was not woken, and there it is");
        }
        self.poll_all_woken();
        if self.waiters.is_empty() || self.strict {
            // In strict order a request finds what is there, and leaves it to the first.
            return;
        }
        let all = self.waiters.iter();
        let wishes: Vec<_> = all.map(|of| (of.stream, of.size, of.count)).collect();
        for (stream, size, count) in wishes {
            let share = stream.and_then(|at| self.shares[at].as_ref());
            let taken = match share {
                Some(share) => share.stream.allocate_many(size, SIZE, count),
                None => self.pool.allocate_many(size, SIZE, count),
            };
            assert!(
                taken.is_err(),
                "who comes now has the {count} of {size} bytes that another one waits for"
            );
        }
        self.poll_all_woken();
    }

    /// Somebody asks who does not wait.
    fn ask(&mut self) {
        let Some(at) = self.any_share() else { return };
        let count = 1 + self.random.below(3);
        let share = self.shares[at].as_ref().expect("there is one");
        if let Ok(taken) = share.stream.allocate_many(SIZE, SIZE, count) {
            self.keep(taken, Some(at));
        }
    }

    fn give(&mut self) {
        if !self.held.is_empty() {
            let at = self.random.below(self.held.len());
            self.held.swap_remove(at);
        }
    }

    fn give_up(&mut self) {
        if !self.waiters.is_empty() {
            let at = self.random.below(self.waiters.len());
            self.waiters.swap_remove(at);
        }
    }

    /// A stream ends for which nobody waits, and another one begins.
    fn end_a_stream(&mut self) {
        let at = self.random.below(self.shares.len());
        if self.waiters.iter().all(|waiter| waiter.stream != Some(at)) {
            self.shares[at] = None;
            self.shares[at] = self.share();
        }
    }

    fn change_classes(&mut self) {
        if self.chance(50) {
            let _trimmed = self.pool.trim();
        } else {
            let size = if self.chance(60) { SIZE } else { LARGE };
            let count = 1 + self.random.below(4);
            self.pool.request(size, SIZE, count).unwrap();
        }
    }

    fn check(&self) {
        let held = self.held.iter();
        let mut starts: Vec<_> = held.map(|held| held.buffer.as_ptr()).collect();
        starts.sort_unstable();
        starts.dedup();
        assert_eq!(starts.len(), self.held.len(), "two have the same buffer");
        for share in self.shares.iter().flatten() {
            let held = self.held.iter();
            let has = held.filter(|held| held.number == Some(share.number));
            let (has, counts) = (has.count(), share.stream.in_use(SIZE, SIZE));
            assert!(
                (has..=share.maximum).contains(&counts),
                "a stream has {has}, counts {counts}, and may have {}",
                share.maximum
            );
        }
    }

    fn step(&mut self) {
        match self.random.below(100) {
            0..30 => self.begin(),
            30..60 => self.give(),
            60..72 => self.give_up(),
            72..92 => _ = self.poll_woken(),
            92..95 => self.ask(),
            95 => self.end_a_stream(),
            96 if self.changes => self.change_classes(),
            // A turn is due.
            97 => std::thread::sleep(std::time::Duration::from_micros(550)),
            _ => self.nobody_sleeps_beside_what_it_could_have(),
        }
        self.check();
    }

    /// Everything comes back: everybody is served.
    fn end(mut self) {
        while !self.held.is_empty() || !self.waiters.is_empty() {
            self.poll_all_woken();
            self.check();
            if self.held.is_empty() {
                let left = self.waiters.len();
                assert_eq!(left, 0, "all is home, and somebody still waits");
            }
            self.give();
        }
        for share in self.shares.drain(..).flatten() {
            assert_eq!(share.stream.in_use(SIZE, SIZE), 0);
        }
        let stats = self.pool.stats();
        let out: usize = stats.classes.iter().map(|class| class.in_use).sum();
        assert_eq!((stats.waiting, out), (0, 0));
    }
}

/// What `HUGEPOOL_SEEDS` says: `from..to`.
fn seeds() -> Range<u64> {
    let Ok(text) = std::env::var("HUGEPOOL_SEEDS") else {
        return SEEDS;
    };
    let (from, to) = text.split_once("..").expect("HUGEPOOL_SEEDS=from..to");
    from.parse().expect("a number")..to.parse().expect("a number")
}

#[test]
fn nobody_sleeps_beside_what_it_could_have_and_nothing_is_lost() {
    for seed in seeds() {
        let run = || {
            let mut simulation = Simulation::new(seed);
            for _ in 0..simulation.random.below(400) {
                simulation.step();
            }
            simulation.end();
        };
        // The report of a panic does not say which it was.
        if let Err(panic) = std::panic::catch_unwind(run) {
            eprintln!("seed {seed}");
            std::panic::resume_unwind(panic);
        }
    }
}
