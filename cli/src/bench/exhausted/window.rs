//! One measurement of a pool that runs dry: its beginning, its closing, and what each worker counts meanwhile.
//!
//! Owns the [`Window`] that the workers share, the [`Account`] that each worker keeps, and the [`Visit`] that sums
//! them up. Uses the clock and the rivals' hands; `threads` and `tasks` run their workers with it, `outcome` gathers
//! the visits.
//!
//! ```text
//!   lead-in   begin          window           closing     end
//! ---------------|-------------------------------|----------
//!  first asks    |   ask ... have, hold, give    |
//!                |               ask ............|... have, hold, give
//! ```
//!
//! A window begins when everybody who takes has asked once. With many more threads than processors it takes the
//! scheduler a while to let each of them run, and until then the pool does not run dry.
//!
//! Who waits at the closing waits on. Nobody asks again then, and whoever holds a buffer gives it back, so each of
//! them has its buffer soon, at every rival and without being disturbed. Such a take counts for the waits and for the
//! processor time of a take; it does not count for the takes a second or the shares.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use crate::bench::clock;
use crate::bench::window::Wrongs;
use crate::bench::worker::{read_stamp, write_stamp};
use crate::rival::{Hand, SystemCalls};

/// How long one measurement lasts.
#[derive(Debug, Clone, Copy)]
pub struct Lengths {
    /// From the beginning to the closing.
    pub window: Duration,
    /// How long a wait may outlast the window before its rival counts as stalled.
    pub patience: Duration,
}

impl Lengths {
    /// The limit of a single wait.
    pub fn limit(self) -> Duration {
        self.window.saturating_add(self.patience)
    }
}

/// The beginning and the closing that the workers of one measurement share.
#[derive(Debug)]
pub struct Window {
    lengths: Lengths,
    takers: usize,
    /// Those who take and have asked.
    asked: AtomicUsize,
    /// Set by the last of them.
    span: OnceLock<Span>,
    /// A stalled rival closes the window at once.
    cut: AtomicBool,
}

/// When a window began, and when it closes.
#[derive(Debug, Clone, Copy)]
struct Span {
    begin: Instant,
    closing: Instant,
}

impl Window {
    /// A window for so many workers that take.
    pub fn new(lengths: Lengths, takers: usize) -> Window {
        Window {
            lengths,
            takers,
            asked: AtomicUsize::new(0),
            span: OnceLock::new(),
            cut: AtomicBool::new(false),
        }
    }

    /// Counts a worker that asks for the first time; the last one begins the window.
    fn first_ask(&self, now: Instant) {
        // The span is published by its own lock.
        if self.asked.fetch_add(1, Ordering::Relaxed) + 1 == self.takers {
            self.span.get_or_init(|| Span {
                begin: now,
                closing: now + self.lengths.window,
            });
        }
    }

    /// The limit of a single wait.
    pub fn limit(&self) -> Duration {
        self.lengths.limit()
    }

    /// Closes early.
    pub fn cut(&self) {
        self.cut.store(true, Ordering::Relaxed);
    }

    fn is_cut(&self) -> bool {
        // The flag only says when to stop; results come back another way.
        self.cut.load(Ordering::Relaxed)
    }
}

/// A buffer with the stamp that its taker wrote at its start.
pub struct Item<T> {
    held: T,
    stamp: u64,
}

/// What one worker counts.
///
/// Its processor time counts from the first moment after the beginning at which it holds nothing and waits for
/// nothing, and so do the takes that it is divided by.
#[derive(Debug)]
pub struct Account {
    stamp: u64,
    has_asked: bool,
    /// The window, once this worker has seen that it began.
    span: Option<Span>,
    /// The worker's processor time at that moment.
    cpu_begin: u64,
    /// Takes from that moment on.
    counted: u64,
    /// Takes that ended between the beginning and the closing.
    takes: u64,
    /// All takes, those of the lead-in too.
    all: u64,
    /// Of the takes that ended after the beginning.
    waits: Histogram<u64>,
    wrongs: Wrongs,
}

impl Account {
    /// Nothing yet. `seat` makes the worker's stamps differ from everybody else's.
    pub fn new(seat: usize) -> Account {
        let mut waits = clock::latencies();
        // Writes to all of it, so that no page of it is missing later.
        waits.reset();
        Account {
            stamp: (seat as u64 + 1) << 40,
            has_asked: false,
            span: None,
            cpu_begin: 0,
            counted: 0,
            takes: 0,
            all: 0,
            waits,
            wrongs: Wrongs::default(),
        }
    }

    /// The worker is about to ask for a buffer: since when it waits; `None` if the window is closed.
    #[inline]
    pub fn ask(&mut self, window: &Window) -> Option<Instant> {
        let now = Instant::now();
        if !self.has_asked {
            self.has_asked = true;
            window.first_ask(now);
        }
        self.look(window);
        let is_open = self.span.is_none_or(|span| now < span.closing);
        (is_open && !window.is_cut()).then_some(now)
    }

    /// The worker holds nothing and waits for nothing: if the window has begun, its processor time counts from now.
    #[inline]
    pub fn look(&mut self, window: &Window) {
        if self.span.is_none()
            && let Some(span) = window.span.get()
        {
            self.span = Some(*span);
            self.cpu_begin = clock::thread_cpu_ns();
        }
    }

    /// Stamps a buffer that was asked for at `asked`, and counts the take.
    #[inline]
    pub fn had<H: Hand>(
        &mut self,
        window: &Window,
        hand: &H,
        mut held: H::Held,
        asked: Instant,
    ) -> Item<H::Held> {
        let now = Instant::now();
        self.all += 1;
        self.counted += u64::from(self.span.is_some());
        let span = self.span.as_ref().or_else(|| window.span.get());
        if let Some(span) = span.filter(|span| span.begin <= now) {
            self.waits
                .saturating_record(clock::nanoseconds(now - asked));
            self.takes += u64::from(now < span.closing);
        }
        self.stamp += 1;
        write_stamp(hand.bytes(&mut held), self.stamp);
        Item {
            held,
            stamp: self.stamp,
        }
    }

    /// Gives a buffer back after checking that it still carries its taker's stamp.
    #[inline]
    pub fn give<H: Hand>(&mut self, hand: &mut H, mut item: Item<H::Held>) {
        if read_stamp(hand.bytes(&mut item.held)) != item.stamp {
            self.wrongs.doubled += 1;
        }
        if !hand.give(item.held) {
            self.wrongs.rejected += 1;
        }
    }

    /// Counts a wait that ended with nothing; the rival does not go on after that.
    #[cold]
    pub fn had_nothing(&mut self, window: &Window) {
        self.wrongs.refused += 1;
        self.wrongs.stalled = true;
        window.cut();
    }

    /// What the worker reports, once it holds nothing any more.
    pub fn tally(self) -> Tally {
        let cpu_end = clock::thread_cpu_ns();
        Tally {
            takes: self.has_asked.then_some(self.takes),
            counted: self.counted,
            // Who never saw the window begin did nothing in it.
            cpu_ns: self
                .span
                .map_or(0, |_| cpu_end.saturating_sub(self.cpu_begin)),
            all: self.all,
            waits: self.waits,
            wrongs: self.wrongs,
        }
    }
}

/// What one worker reports.
#[derive(Debug)]
pub struct Tally {
    /// Takes that ended between the beginning and the closing; `None` from a worker that only gives.
    takes: Option<u64>,
    /// Processor time, where the worker is a thread of its own, and the takes of that time.
    cpu_ns: u64,
    counted: u64,
    /// All takes, those of the lead-in too.
    all: u64,
    waits: Histogram<u64>,
    wrongs: Wrongs,
}

/// What one measurement found.
#[derive(Debug)]
pub struct Visit {
    /// Takes that ended between the beginning and the closing.
    pub takes: u64,
    /// The same in a second, as the length of the window says.
    pub takes_per_s: f64,
    /// Processor time of all workers over their takes, those after the closing included.
    pub cpu_ns_per_take: Option<f64>,
    /// The takes of the worker that had the fewest, over the mean of all that take.
    pub least_share: Option<f64>,
    /// All takes, those of the lead-in too.
    pub all: u64,
    /// Nanoseconds from asking to having, of all takes that ended after the beginning.
    pub waits: Histogram<u64>,
    /// System calls that the rival made meanwhile, if it counts them.
    pub calls: Option<SystemCalls>,
    pub wrongs: Wrongs,
    /// Buffers missing after everything was given back.
    pub lost: usize,
}

impl Visit {
    /// Sums up. `cpu_ns` is the processor time of all takes, where the workers cannot tell their own.
    pub fn new(lengths: Lengths, tallies: Vec<Tally>, cpu_ns: Option<u64>) -> Visit {
        let mut wrongs = Wrongs::default();
        let mut waits = clock::latencies();
        let (mut workers_ns, mut counted, mut all) = (0, 0, 0);
        for tally in &tallies {
            wrongs.add(tally.wrongs);
            workers_ns += tally.cpu_ns;
            counted += tally.counted;
            all += tally.all;
            // Same bounds, so the addition cannot fail.
            let _ = waits.add(&tally.waits);
        }
        let shares: Vec<u64> = tallies.iter().filter_map(|tally| tally.takes).collect();
        let takes: u64 = shares.iter().sum();
        let over = |total: u64, count: u64| (count > 0).then(|| total as f64 / count as f64);
        let mean = over(takes, shares.len() as u64).filter(|mean| *mean > 0.0);
        let least = shares.into_iter().min();
        Visit {
            takes,
            takes_per_s: takes as f64 / lengths.window.as_secs_f64(),
            cpu_ns_per_take: match cpu_ns {
                Some(cpu_ns) => over(cpu_ns, all),
                None => over(workers_ns, counted),
            },
            all,
            least_share: least.zip(mean).map(|(least, mean)| least as f64 / mean),
            waits,
            calls: None,
            wrongs,
            lost: 0,
        }
    }
}
