//! One measurement: a rival, a pattern, a number of workers and a length of time.
//!
//! Owns the window's start and stop, the worker's tools ([`Worker`]: take with a stamp, give with a check) and the
//! visit that strings warm-up, timed and latency windows together. The loops in `pattern` and `pipeline` use the
//! worker; `bench` sees rivals only as [`Contestant`]s, one virtual call a visit.

use std::hint::{self, black_box};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Barrier, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use super::crew::{Crew, Job};
use super::pattern::{self, Pattern};
use super::plan::Group;
use super::{clock, pipeline};
use crate::rival::{Hand, Rival, Seat};

/// How long a refused worker tries before it declares the rival stalled.
const PATIENCE: Duration = Duration::from_millis(200);

/// How long the windows of a visit last.
#[derive(Debug, Clone, Copy)]
pub struct Lengths {
    warm_up: Duration,
    timed: Duration,
    latency: Duration,
}

impl Lengths {
    /// Stretched where there are many more threads than processors, so that each runs for some slices.
    pub fn new(window: Duration, threads: usize) -> Lengths {
        let cpus = thread::available_parallelism().map_or(1, usize::from);
        let factor = (threads / (8 * cpus)).clamp(1, 16) as u32;
        let timed = window * factor;
        Lengths {
            warm_up: (timed / 8).max(Duration::from_millis(1)),
            timed,
            latency: (timed / 3).max(Duration::from_millis(1)),
        }
    }
}

/// A rival that a group can visit.
pub trait Contestant {
    /// Runs the three windows and counts what came home.
    fn visit(&self, crew: &Crew, group: &Group, lengths: Lengths) -> Visit;
}

/// What a visit found.
#[derive(Debug)]
pub struct Visit {
    /// Wall time of the timed window over its operations, if it completed any.
    pub ns_per_op: Option<f64>,
    /// Processor time of all workers over the operations.
    pub cpu_ns_per_op: Option<f64>,
    /// Operations of the timed window.
    pub ops: u64,
    /// Times of single takes.
    pub latencies: Histogram<u64>,
    /// What went wrong in any of the windows.
    pub wrongs: Wrongs,
    /// Buffers missing after everything was given back.
    pub lost: usize,
}

/// What can go wrong with a rival, counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Wrongs {
    /// Allocations refused although a buffer was free.
    pub refused: u64,
    /// Buffers whose stamp another holder had overwritten.
    pub doubled: u64,
    /// Buffers the rival would not take back.
    pub rejected: u64,
    /// Whether a refused worker ran out of patience.
    pub stalled: bool,
}

impl Wrongs {
    pub fn add(&mut self, other: Wrongs) {
        self.refused += other.refused;
        self.doubled += other.doubled;
        self.rejected += other.rejected;
        self.stalled |= other.stalled;
    }
}

/// What the clock says about one worker's part of a window.
#[derive(Debug, Clone, Copy)]
pub struct Clocked {
    ops: u64,
    cpu_ns: u64,
    begin: Instant,
    end: Instant,
}

/// What one worker reports of one window.
#[derive(Debug)]
pub struct Tally {
    clocked: Clocked,
    wrongs: Wrongs,
    latencies: Option<Histogram<u64>>,
}

/// A rival in the shape `bench` can hold many of.
pub struct Entry<R>(Arc<R>);

impl<R: Rival> Entry<R> {
    pub fn new(rival: R) -> Entry<R> {
        Entry(Arc::new(rival))
    }

    fn window<P: Probe>(&self, crew: &Crew, group: &Group, length: Duration) -> Vec<Tally> {
        let workers = group.threads;
        let window = Arc::new(Window::new(workers, length));
        let job: Job<Tally> = match group.pattern {
            Pattern::Pipeline => {
                pipeline::job::<R, P>(Arc::clone(&self.0), Arc::clone(&window), workers)
            }
            _ => pattern::job::<R, P>(Arc::clone(&self.0), Arc::clone(&window), group),
        };
        crew.run(workers, job)
    }
}

/// Takes all there is, once nobody holds anything, and gives it back: how many buffers are not there.
pub fn missing<R: Rival>(rival: &R) -> usize {
    let Some(capacity) = rival.capacity() else {
        return 0;
    };
    let mut hand = rival.hand(Seat {
        taker: 0,
        takers: 1,
    });
    let mut held = Vec::with_capacity(capacity);
    while held.len() < capacity {
        let Some(buffer) = hand.take() else { break };
        held.push(buffer);
    }
    let missing = capacity - held.len();
    // Last in, first out: a pool that remembers the order is left as it was found.
    while let Some(buffer) = held.pop() {
        hand.give(buffer);
    }
    missing
}

impl<R: Rival> Contestant for Entry<R> {
    fn visit(&self, crew: &Crew, group: &Group, lengths: Lengths) -> Visit {
        let mut wrongs = Wrongs::default();
        let mut ops = 0;
        let mut cpu_ns = 0;
        let mut wall_ns = 0;
        let mut latencies = clock::latencies();

        for tally in self.window::<Untimed>(crew, group, lengths.warm_up) {
            wrongs.add(tally.wrongs);
        }
        if !wrongs.stalled {
            let tallies = self.window::<Untimed>(crew, group, lengths.timed);
            let begin = tallies.iter().map(|tally| tally.clocked.begin).min();
            let end = tallies.iter().map(|tally| tally.clocked.end).max();
            if let (Some(begin), Some(end)) = (begin, end) {
                wall_ns = clock::nanoseconds(end - begin);
            }
            for tally in tallies {
                ops += tally.clocked.ops;
                cpu_ns += tally.clocked.cpu_ns;
                wrongs.add(tally.wrongs);
            }
        }
        if !wrongs.stalled {
            for tally in self.window::<Timed>(crew, group, lengths.latency) {
                wrongs.add(tally.wrongs);
                if let Some(own) = &tally.latencies {
                    // Same bounds, so the addition cannot fail.
                    let _ = latencies.add(own);
                }
            }
        }
        let per_op = |ns: u64| (ops > 0).then(|| ns as f64 / ops as f64);
        let lost = missing(&*self.0);
        self.0.settle();
        Visit {
            ns_per_op: per_op(wall_ns),
            cpu_ns_per_op: per_op(cpu_ns),
            ops,
            latencies,
            wrongs,
            lost,
        }
    }
}

/// The start and the end that the workers of one measurement share.
///
/// The workers watch the clock themselves: with many more of them than processors, a conductor that had to be
/// scheduled among them would come far too late.
pub struct Window {
    start: Barrier,
    length: Duration,
    /// When the first worker passed the barrier, and the window's length later.
    deadline: OnceLock<Instant>,
    /// A stalled rival ends the window at once.
    cut: AtomicBool,
}

impl Window {
    fn new(workers: usize, length: Duration) -> Window {
        Window {
            start: Barrier::new(workers),
            length,
            deadline: OnceLock::new(),
            cut: AtomicBool::new(false),
        }
    }

    /// Whether workers should go on at `now`. Before the start they may.
    fn is_open(&self, now: Instant) -> bool {
        // The flag only says when to stop; results come back through the crew's channel.
        !self.cut.load(Ordering::Relaxed) && self.deadline.get().is_none_or(|end| now < *end)
    }
}

/// Whether single takes are timed. Two types, so that the untimed loop has no trace of it.
pub trait Probe: Send + 'static {
    fn new() -> Self;
    fn around<T>(&mut self, take: impl FnOnce() -> T) -> T;
    fn finish(self) -> Option<Histogram<u64>>;
}

pub struct Untimed;

impl Probe for Untimed {
    fn new() -> Untimed {
        Untimed
    }

    #[inline(always)]
    fn around<T>(&mut self, take: impl FnOnce() -> T) -> T {
        take()
    }

    fn finish(self) -> Option<Histogram<u64>> {
        None
    }
}

pub struct Timed(Histogram<u64>);

impl Probe for Timed {
    fn new() -> Timed {
        Timed(clock::latencies())
    }

    #[inline(always)]
    fn around<T>(&mut self, take: impl FnOnce() -> T) -> T {
        let start = Instant::now();
        let taken = black_box(take());
        self.0
            .saturating_record(clock::nanoseconds(start.elapsed()));
        taken
    }

    fn finish(self) -> Option<Histogram<u64>> {
        Some(self.0)
    }
}

/// A buffer with the stamp its taker wrote at its start.
pub struct Item<T> {
    held: T,
    stamp: u64,
}

/// What a worker takes and gives with; keeps its tally.
pub struct Worker<'w, H, P> {
    hand: H,
    probe: P,
    window: &'w Window,
    stamp: u64,
    wrongs: Wrongs,
}

impl<'w, H: Hand, P: Probe> Worker<'w, H, P> {
    /// A worker before the start. `seat` makes its stamps differ from everybody else's.
    pub fn new(hand: H, window: &'w Window, seat: usize) -> Worker<'w, H, P> {
        Worker {
            hand,
            probe: P::new(),
            window,
            stamp: (seat as u64 + 1) << 40,
            wrongs: Wrongs::default(),
        }
    }

    /// Waits for the others, then runs `body` inside the clock. `body` returns the operations it completed.
    pub fn clocked(&mut self, body: impl FnOnce(&mut Self) -> u64) -> Clocked {
        self.window.start.wait();
        let begin = Instant::now();
        self.window
            .deadline
            .get_or_init(|| begin + self.window.length);
        let cpu_begin = clock::thread_cpu_ns();
        let ops = body(self);
        let cpu_ns = clock::thread_cpu_ns().saturating_sub(cpu_begin);
        Clocked {
            ops,
            cpu_ns,
            begin,
            end: Instant::now(),
        }
    }

    /// The worker's report, once it holds nothing any more.
    pub fn tally(self, clocked: Clocked) -> Tally {
        Tally {
            clocked,
            wrongs: self.wrongs,
            latencies: self.probe.finish(),
        }
    }

    /// Repeats `step` until the window closes or a step gives up. Looks at the clock after so many steps that it
    /// costs a small part of a percent, and after every step where one takes long.
    #[inline(always)]
    pub fn repeat(&mut self, mut step: impl FnMut(&mut Self) -> Option<u64>) -> u64 {
        const OFTEN: Duration = Duration::from_micros(8);
        const SELDOM: Duration = Duration::from_micros(32);
        let mut ops = 0;
        let mut steps = 1_u32;
        let mut last_look = Instant::now();
        loop {
            for _ in 0..steps {
                match step(self) {
                    Some(done) => ops += done,
                    None => return ops,
                }
            }
            let now = Instant::now();
            if !self.window.is_open(now) {
                return ops;
            }
            let passed = now - last_look;
            if passed < OFTEN {
                steps *= 2;
            } else if passed > SELDOM {
                steps = (steps / 2).max(1);
            }
            last_look = now;
        }
    }

    /// Takes a buffer and stamps it. A refusal is counted and then retried until the window closes or patience
    /// ends; only then does it come back empty-handed.
    #[inline(always)]
    pub fn take(&mut self) -> Option<Item<H::Held>> {
        let mut refusal = None;
        loop {
            if let Some(held) = self.try_take() {
                return Some(self.stamped(held));
            }
            // Only a number comes back from there: a handle that came back too would pass through memory on the
            // usual way as well.
            if !self.insist(&mut refusal) {
                return None;
            }
        }
    }

    /// Takes a buffer if there is one, without counting a refusal.
    #[inline(always)]
    pub fn take_once(&mut self) -> Option<Item<H::Held>> {
        let held = self.try_take()?;
        Some(self.stamped(held))
    }

    /// Counts allocations that should have been granted.
    pub fn refused(&mut self, count: u64) {
        self.wrongs.refused += count;
    }

    #[inline(always)]
    fn try_take(&mut self) -> Option<H::Held> {
        let hand = &mut self.hand;
        self.probe.around(|| hand.take())
    }

    #[inline(always)]
    fn stamped(&mut self, mut held: H::Held) -> Item<H::Held> {
        self.stamp += 1;
        let stamp = self.stamp;
        write_stamp(self.hand.bytes(&mut held), stamp);
        Item { held, stamp }
    }

    /// Fills the whole buffer, as a reader of a disk or a socket would.
    #[inline(always)]
    pub fn fill(&mut self, item: &mut Item<H::Held>) {
        let bytes = self.hand.bytes(&mut item.held);
        bytes.fill(black_box(item.stamp as u8));
        write_stamp(bytes, item.stamp);
    }

    /// Gives a buffer back after checking that it still carries its taker's stamp.
    #[inline(always)]
    pub fn give(&mut self, mut item: Item<H::Held>) {
        if read_stamp(self.hand.bytes(&mut item.held)) != item.stamp {
            self.wrongs.doubled += 1;
        }
        if !self.hand.give(item.held) {
            self.wrongs.rejected += 1;
        }
    }

    /// Whether to try again after a refusal, once some time has passed.
    #[cold]
    #[inline(never)]
    fn insist(&mut self, refusal: &mut Option<Refusal>) -> bool {
        let now = Instant::now();
        let refusal = refusal.get_or_insert_with(|| {
            self.wrongs.refused += 1;
            Refusal {
                since: now,
                pause: Pause::default(),
            }
        });
        if now - refusal.since >= PATIENCE {
            self.wrongs.stalled = true;
            self.window.cut.store(true, Ordering::Relaxed);
        }
        refusal.pause.wait();
        self.window.is_open(now)
    }
}

/// A refusal that a worker will not take for an answer.
#[derive(Debug)]
struct Refusal {
    since: Instant,
    pause: Pause,
}

/// Spins a little, then lets others run.
#[derive(Debug, Default)]
pub struct Pause(u32);

impl Pause {
    #[inline]
    pub fn wait(&mut self) {
        const SPINS: u32 = 64;
        if self.0 < SPINS {
            self.0 += 1;
            hint::spin_loop();
        } else {
            thread::yield_now();
        }
    }
}

#[inline(always)]
pub fn write_stamp(bytes: &mut [u8], stamp: u64) {
    if let Some(start) = bytes.first_chunk_mut() {
        *start = stamp.to_ne_bytes();
    }
    // From here on the compiler must assume that somebody else reads or writes the buffer.
    black_box(bytes.as_mut_ptr());
}

#[inline(always)]
pub fn read_stamp(bytes: &mut [u8]) -> u64 {
    bytes
        .first_chunk()
        .map_or(0, |start| u64::from_ne_bytes(*start))
}
