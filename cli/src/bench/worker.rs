//! What a worker has in a window.
//!
//! Owns the worker's tools ([`Worker`]: take with a stamp, give with a check), the timing of single takes ([`Probe`]) and
//! what a worker reports. Uses the window it works in; the loops in `pattern` and `pipeline` use the worker.

use std::hint::{self, black_box};
use std::thread;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use super::clock;
use super::debt::Debt;
use super::usage::Usage;
use super::window::{Window, Wrongs};
use crate::rival::Hand;

/// How long a refused worker tries before it declares the rival stalled.
const PATIENCE: Duration = Duration::from_millis(200);

/// What the clock says about one worker's part of a window.
#[derive(Debug, Clone, Copy)]
pub struct Clocked {
    pub ops: u64,
    pub cpu_ns: u64,
    pub sleeps: u64,
    pub begin: Instant,
    pub end: Instant,
}

/// What one worker reports of one window.
#[derive(Debug)]
pub struct Tally {
    pub clocked: Clocked,
    pub wrongs: Wrongs,
    pub latencies: Option<Histogram<u64>>,
}

/// Whether single takes are timed. Two types, so that the untimed loop has no trace of it.
pub trait Probe: Send + 'static {
    /// Whether buffers are looked at between the takes, which is outside of the clock.
    const LOOKS: bool;
    fn new() -> Self;
    fn around<T>(&mut self, take: impl FnOnce() -> T) -> T;
    fn finish(self) -> Option<Histogram<u64>>;
}

pub struct Untimed;

impl Probe for Untimed {
    const LOOKS: bool = false;

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
    const LOOKS: bool = true;

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
    pub held: T,
    pub stamp: u64,
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

    /// The work that it does besides, if its rival is handicapped.
    pub fn debt(&self) -> Option<Debt<'w>> {
        let percent = self.window.handicap();
        (percent > 0).then(|| Debt::new(percent, self.window.payers()))
    }

    /// Waits for the others, then runs `body` inside the clock. `body` returns the operations it completed.
    pub fn clocked(&mut self, body: impl FnOnce(&mut Self) -> u64) -> Clocked {
        let begin = self.window.begin();
        let before = Usage::now();
        let ops = body(self);
        let used = Usage::now() - before;
        Clocked {
            ops,
            cpu_ns: used.cpu_ns,
            sleeps: used.sleeps,
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
        let mut debt = self.debt();
        loop {
            for _ in 0..steps {
                match step(self) {
                    Some(done) => ops += done,
                    None => return ops,
                }
            }
            let mut now = Instant::now();
            if !self.window.is_open(now) {
                return ops;
            }
            let passed = now - last_look;
            if let Some(debt) = &mut debt {
                debt.pay_in_time();
                now = Instant::now();
            }
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
        let bytes = self.hand.bytes(&mut held);
        if P::LOOKS
            && !bytes
                .as_ptr()
                .addr()
                .is_multiple_of(self.window.alignment())
        {
            self.wrongs.misaligned += 1;
        }
        write_stamp(bytes, stamp);
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
            self.window.cut();
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
