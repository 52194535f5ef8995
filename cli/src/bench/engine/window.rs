//! One measurement of an engine: its beginning, its closing, and what each worker counts meanwhile.
//!
//! Owns the [`Window`] that the workers share, the [`Account`] that each worker keeps, and the [`Visit`] that sums
//! them up. Uses `usage`; the pipeline runs its workers with it, `outcome` gathers the visits.
//!
//! ```text
//!   start    lead-in     begin          window            closing     end
//! ----|--------------------|--------------------------------|----------|
//!     |  caches and lists  |   blocks written, of all       |  what is |
//!     |  become what they  |   each worker from its first   |  queued  |
//!     |  stay              |   block's end to its last's    |          |
//! ```
//!
//! A window closes when its time is over and so many blocks were written that each side has something to count.
//! A worker's own figures are those from the end of one of its blocks to the end of another, over the blocks in
//! between: so it does not matter that workers do not begin or end together.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Barrier, OnceLock};
use std::time::{Duration, Instant};

use crate::bench::usage::Usage;
use crate::bench::window::Wrongs;
use crate::rival::SystemCalls;

/// How long one measurement lasts.
#[derive(Debug, Clone, Copy)]
pub struct Lengths {
    /// From the start to the beginning.
    pub lead_in: Duration,
    /// From the beginning to the closing, at least.
    pub window: Duration,
    /// How long a wait may outlast all of it before its rival counts as stalled.
    pub patience: Duration,
}

/// The beginning and the closing that the workers of one measurement share.
#[derive(Debug)]
pub struct Window {
    lengths: Lengths,
    /// Blocks to be written before it closes.
    least: u64,
    start: Barrier,
    begin: OnceLock<Instant>,
    /// Blocks whose writing ended after the beginning.
    written: AtomicU64,
    closing: OnceLock<Closing>,
    /// A stalled rival closes the window at once.
    cut: AtomicBool,
}

/// How a window ended.
#[derive(Debug, Clone, Copy)]
struct Closing {
    blocks: u64,
    /// Since the beginning.
    passed: Duration,
}

impl Window {
    /// A window for so many workers, of whose blocks so many are under way at most.
    pub fn new(lengths: Lengths, workers: usize, under_way: usize) -> Window {
        Window {
            lengths,
            // Of the blocks written, so many can have been read before the beginning. One more than there are workers
            // on a side, and one of them has two ends of blocks to count between.
            least: (under_way + workers + 1) as u64,
            start: Barrier::new(workers),
            begin: OnceLock::new(),
            written: AtomicU64::new(0),
            closing: OnceLock::new(),
            cut: AtomicBool::new(false),
        }
    }

    /// Waits for the other workers.
    pub fn start(&self) {
        self.start.wait();
        self.begin
            .get_or_init(|| Instant::now() + self.lengths.lead_in);
    }

    /// The limit of a single wait.
    pub fn limit(&self) -> Duration {
        let Lengths {
            lead_in,
            window,
            patience,
        } = self.lengths;
        lead_in + window + patience
    }

    /// Whether readers go on.
    #[inline]
    pub fn is_open(&self) -> bool {
        // Relaxed: the flag only says when to stop; results come back another way.
        self.closing.get().is_none() && !self.cut.load(Ordering::Relaxed)
    }

    /// Closes early.
    fn cut(&self) {
        self.cut.store(true, Ordering::Relaxed);
    }

    /// How long ago the window began, if it did.
    #[inline]
    fn since_begin(&self, now: Instant) -> Option<Duration> {
        now.checked_duration_since(*self.begin.get()?)
    }

    /// Counts a block whose writing has ended, and closes the window in time.
    #[inline]
    fn count(&self, passed: Duration) {
        // Relaxed: the number alone is used, and the closing is published by its own lock.
        let blocks = self.written.fetch_add(1, Ordering::Relaxed) + 1;
        if passed >= self.lengths.window && blocks >= self.least {
            self.closing.get_or_init(|| Closing { blocks, passed });
        }
    }
}

/// On which side of the queue a worker is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    Reader,
    Writer,
}

/// What one worker counts.
#[derive(Debug)]
pub struct Account {
    side: Side,
    /// At the end of the first block after the beginning.
    from: Option<Usage>,
    /// At the end of the last block that counts.
    to: Option<Usage>,
    /// Blocks in between.
    blocks: u64,
    /// All blocks, those before the beginning and after the closing too.
    all: u64,
    pub wrongs: Wrongs,
}

impl Account {
    pub fn new(side: Side) -> Account {
        Account {
            side,
            from: None,
            to: None,
            blocks: 0,
            all: 0,
            wrongs: Wrongs::default(),
        }
    }

    /// The worker has passed a block on, or given it back.
    #[inline]
    pub fn done(&mut self, window: &Window) {
        self.all += 1;
        let Some(passed) = window.since_begin(Instant::now()) else {
            return;
        };
        if self.from.is_none() {
            self.from = Some(Usage::now());
        } else if self.to.is_none() {
            self.blocks += 1;
            if !window.is_open() {
                self.to = Some(Usage::now());
            }
        }
        if self.side == Side::Writer {
            window.count(passed);
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
        let to = self.to.unwrap_or_else(Usage::now);
        Tally {
            side: self.side,
            usage: self.from.map_or_else(Usage::default, |from| to - from),
            blocks: self.blocks,
            all: self.all,
            wrongs: self.wrongs,
        }
    }
}

/// What one worker reports.
#[derive(Debug)]
pub struct Tally {
    side: Side,
    usage: Usage,
    /// The blocks that `usage` was for.
    blocks: u64,
    all: u64,
    wrongs: Wrongs,
}

/// What was used for one block.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct PerBlock {
    pub cpu_ns: f64,
    pub faults: f64,
    pub sleeps: f64,
}

/// What one measurement found.
#[derive(Debug)]
pub struct Visit {
    /// Blocks written between the beginning and the closing.
    pub blocks: u64,
    /// The same in a second; `None` if the window did not close by itself.
    pub blocks_per_s: Option<f64>,
    /// What it takes to read a block and to write it; `None` if a side has nothing to count.
    pub used: Option<PerBlock>,
    /// Membarriers for a block, of all blocks, if the rival counts them.
    pub barriers: Option<f64>,
    pub wrongs: Wrongs,
    /// Buffers missing after everything was given back.
    pub lost: usize,
}

impl Visit {
    /// Sums up. `calls` are those that the rival made meanwhile.
    pub fn new(window: &Window, tallies: &[Tally], calls: Option<SystemCalls>) -> Visit {
        let mut wrongs = Wrongs::default();
        for tally in tallies {
            wrongs.add(tally.wrongs);
        }
        let of = |side| tallies.iter().filter(move |tally| tally.side == side);
        let used = |side| {
            let mut usage = Usage::default();
            of(side).for_each(|tally| usage += tally.usage);
            let blocks: u64 = of(side).map(|tally| tally.blocks).sum();
            let each = |total: u64| total as f64 / blocks as f64;
            (blocks > 0).then(|| PerBlock {
                cpu_ns: each(usage.cpu_ns),
                faults: each(usage.faults),
                sleeps: each(usage.sleeps),
            })
        };
        let all: u64 = of(Side::Writer).map(|tally| tally.all).sum();
        let closing = window.closing.get();
        Visit {
            blocks: closing.map_or(0, |closing| closing.blocks),
            blocks_per_s: closing
                .map(|closing| closing.blocks as f64 / closing.passed.as_secs_f64()),
            used: used(Side::Reader)
                .zip(used(Side::Writer))
                .map(|(reading, writing)| PerBlock {
                    cpu_ns: reading.cpu_ns + writing.cpu_ns,
                    faults: reading.faults + writing.faults,
                    sleeps: reading.sleeps + writing.sleeps,
                }),
            barriers: calls
                .filter(|_| all > 0)
                .map(|calls| calls.barriers as f64 / all as f64),
            wrongs,
            lost: 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(lead_in: Duration) -> Window {
        let lengths = Lengths {
            lead_in,
            window: Duration::ZERO,
            patience: Duration::ZERO,
        };
        Window::new(lengths, 1, 1)
    }

    #[test]
    fn blocks_count_from_the_end_of_the_first_to_the_first_end_after_the_closing() {
        let window = window(Duration::ZERO);
        window.start();
        let mut account = Account::new(Side::Writer);
        for block in 1..=6 {
            assert_eq!(window.is_open(), block <= 3, "three blocks close it");
            account.done(&window);
        }
        let tally = account.tally();
        assert_eq!((tally.blocks, tally.all), (3, 6));
        assert_eq!(Visit::new(&window, &[tally], None).blocks, 3);
    }

    #[test]
    fn before_the_beginning_no_block_counts() {
        let window = window(Duration::from_secs(3600));
        window.start();
        let mut account = Account::new(Side::Writer);
        for _ in 0..6 {
            account.done(&window);
        }
        let tally = account.tally();
        assert_eq!((tally.blocks, tally.all), (0, 6));
        assert_eq!(tally.usage, Usage::default());
        assert!(window.is_open());
    }

    #[test]
    fn a_block_costs_what_its_reading_and_its_writing_cost() {
        let window = window(Duration::ZERO);
        let tally = |side, cpu_ns, faults, blocks| Tally {
            side,
            usage: Usage {
                cpu_ns,
                faults,
                sleeps: 2 * faults,
            },
            blocks,
            all: 2 * blocks,
            wrongs: Wrongs::default(),
        };
        let tallies = [
            tally(Side::Reader, 100, 1, 4),
            tally(Side::Writer, 30, 0, 2),
            tally(Side::Writer, 60, 0, 1),
        ];
        let calls = SystemCalls {
            barriers: 3,
            ..SystemCalls::default()
        };
        let visit = Visit::new(&window, &tallies, Some(calls));
        let used = PerBlock {
            cpu_ns: 25.0 + 30.0,
            faults: 0.25,
            sleeps: 0.5,
        };
        assert_eq!(visit.used, Some(used));
        assert_eq!(visit.barriers, Some(0.5), "of all blocks written");
        assert_eq!(visit.blocks_per_s, None, "it did not close");
        let one_side = Visit::new(&window, &tallies[1..], None);
        assert_eq!((one_side.used, one_side.barriers), (None, None));
    }
}
