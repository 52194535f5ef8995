//! Threads do not slow one another down, in what can be counted: from 1 to 256 threads a call
//! does no more locked operations, and has no more cache lines fetched from other processors, than
//! its share of a batch. Nothing here asks for time, so an emulated machine of 16 processors shows
//! it as well as another: `docs/scaling.md`.
//!
//! It needs the library on atomics that count, and so is a build and a package of its own:
//! `RUSTFLAGS="--cfg hugepool_counted" cargo test -p hugepool-crossings --target-dir target/counted`.
#![cfg(hugepool_counted)]
#![allow(
    clippy::disallowed_types,
    reason = "a lock of the test's own, between tests"
)]
#![allow(
    unexpected_cfgs,
    reason = "`support` has parts for features of the library"
)]

#[path = "../../tests/support/mod.rs"]
mod support;

use hugepool::counted::{AtomicU64, Counts, Ordering, call, fence, forget};
use hugepool::{Buffer, Class, Pool};
use std::collections::VecDeque;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Barrier, Mutex};
use std::thread;
use support::kind::{Kind, both_kinds};
use support::{cpus, measured, pin, two_cpus};

both_kinds! {
    a_ring_of_eight_stays_in_the_caches_however_many_threads,
    bursts_of_sixty_four_cost_their_share_of_a_batch_however_many_threads,
    a_pipeline_costs_its_share_of_a_batch_however_many_threads,
    a_pool_without_caches_to_speak_of_fetches_lines_in_every_call,
    a_ring_with_two_buffers_to_spare_on_each_processor_stays_there_too,
}

const THREADS: [usize; 9] = [1, 2, 4, 8, 16, 32, 64, 128, 256];
const SIZE: usize = 4096;
/// Calls of all threads together; each does `LEAST` at least.
const CALLS: usize = 1 << 15;
const LEAST: usize = 256;
/// After so many calls a thread lets the others of its processor run.
const TURN: usize = 32;

/// The table of lines is one.
static ALONE: Mutex<()> = Mutex::new(());

/// A thread's part of a pattern: a turn of some `TURN` calls, one after the other.
trait Part: Send {
    /// The most buffers that it holds, or has on their way.
    const HELD: usize;

    /// One for each of so many threads.
    fn parts(class: &Class, threads: usize) -> Vec<Self>
    where
        Self: Sized;

    fn turn(&mut self, processor: usize, counts: &mut Counts);
}

fn take(class: &Class, processor: usize, counts: &mut Counts) -> Buffer {
    call(processor, counts, || class.allocate()).expect("there are enough")
}

fn give(buffer: Buffer, processor: usize, counts: &mut Counts) {
    call(processor, counts, || drop(buffer));
}

/// Holds eight, and takes one for each that it gives back, the oldest.
struct Ring {
    class: Class,
    held: VecDeque<Buffer>,
}

impl Part for Ring {
    const HELD: usize = 9;

    fn parts(class: &Class, threads: usize) -> Vec<Self> {
        let part = || Self {
            class: class.clone(),
            held: VecDeque::new(),
        };
        (0..threads).map(|_| part()).collect()
    }

    fn turn(&mut self, processor: usize, counts: &mut Counts) {
        for _ in 0..TURN / 2 {
            self.held.push_back(take(&self.class, processor, counts));
            if self.held.len() == Self::HELD {
                let oldest = self.held.pop_front().expect("there are some");
                give(oldest, processor, counts);
            }
        }
    }
}

/// Takes many, and gives all back.
struct Burst {
    class: Class,
    held: Vec<Buffer>,
}

impl Part for Burst {
    const HELD: usize = 64;

    fn parts(class: &Class, threads: usize) -> Vec<Self> {
        let part = || Self {
            class: class.clone(),
            held: Vec::new(),
        };
        (0..threads).map(|_| part()).collect()
    }

    fn turn(&mut self, processor: usize, counts: &mut Counts) {
        // The others of the processor run while this one holds them all.
        if self.held.is_empty() {
            let taken = (0..Self::HELD).map(|_| take(&self.class, processor, counts));
            self.held.extend(taken);
        } else {
            let all = self.held.drain(..);
            all.for_each(|buffer| give(buffer, processor, counts));
        }
    }
}

/// Takes and sends, or receives and gives back. The two are on different processors, if there
/// are several. One alone is both.
struct Pipeline {
    class: Class,
    sender: Option<SyncSender<Buffer>>,
    receiver: Option<Receiver<Buffer>>,
}

impl Part for Pipeline {
    const HELD: usize = 2 * TURN;

    fn parts(class: &Class, threads: usize) -> Vec<Self> {
        let part = |sender, receiver| Self {
            class: class.clone(),
            sender,
            receiver,
        };
        let pairs = (0..threads.div_ceil(2)).flat_map(|_| {
            let (sender, receiver) = sync_channel(Self::HELD);
            match threads {
                1 => vec![part(Some(sender), Some(receiver))],
                _ => vec![part(Some(sender), None), part(None, Some(receiver))],
            }
        });
        pairs.collect()
    }

    fn turn(&mut self, processor: usize, counts: &mut Counts) {
        for _ in 0..TURN {
            if let Some(sender) = &self.sender {
                let buffer = take(&self.class, processor, counts);
                sender.send(buffer).expect("the other end is there");
            }
            if let Some(receiver) = &self.receiver {
                let buffer = receiver.recv().expect("the other end is there");
                give(buffer, processor, counts);
            }
        }
    }
}

/// What calls that no list but the cache of their processor needs do at most: locked operations,
/// and cache lines that they touch at all.
fn own(kind: Kind) -> (f64, f64) {
    match kind {
        // The class's line; the slot's first and the one of the entry; and for a class of any
        // library, where the kernel looks for sections.
        Kind::Restartable | Kind::Tracked => (0.0, 4.0),
        // The compare-and-swap; two lines of the slot in place of one, the buffer's link, the
        // count of forks, and whether the class is open.
        Kind::Portable => (1.0, 8.0),
    }
}

/// Calls of a processor between two moves of a batch between its cache and the depot, at least: a
/// cache of 60 takes in, or hands on, half of what it holds.
const BATCH: f64 = 30.0;
/// Locked operations of a move: of the depot's head, of the list of spare arrays, the announcement
/// of what is carried and its end, and the count of moves. Doubled, for those that are tried again
/// because another processor was at the same word.
const LOCKED: f64 = 2.0 * 5.0;
/// Cache lines of a move that another processor may have: the depot's head, the list of spare
/// arrays, two of the array, two of the one below, and what is noted of the class, two. Doubled
/// as above.
const FETCHED: f64 = 2.0 * 8.0;

/// And of portable caches, whose gives link each buffer to the one before: half of the calls write
/// a link, which the processor may have that gave the buffer back the last time.
fn fetched(kind: Kind) -> f64 {
    match kind {
        Kind::Restartable | Kind::Tracked => FETCHED,
        Kind::Portable => FETCHED + BATCH / 2.0,
    }
}

/// Lines of a move, the slot's own four and what is noted for the processor included.
const LINES: f64 = 16.0;

/// What a call did on average, with so many threads.
struct Row {
    threads: usize,
    locked: f64,
    lines: f64,
    fetched: f64,
}

/// Counts a pattern with so many threads in a pool that `build` makes of so many buffers: `spare`
/// for each processor more than the threads hold.
fn count<P: Part>(threads: usize, spare: usize, build: impl FnOnce(usize) -> Pool) -> Row {
    forget();
    let processors = cpus();
    let pool = build(threads * P::HELD + spare * processors.len());
    let class = pool.class(SIZE, SIZE).unwrap();
    let barrier = &Barrier::new(threads + 1);
    let turns = (CALLS / threads).max(LEAST) / TURN;
    let (sum, before, after) = thread::scope(|scope| {
        let parts = P::parts(&class, threads)
            .into_iter()
            .zip(processors.iter().cycle());
        let work = |(mut part, &processor): (P, &usize)| {
            scope.spawn(move || {
                pin(processor);
                let mut counts = Counts::default();
                for turn in 0..2 * turns {
                    // Until then caches get their sizes, and processors their lines.
                    if turn == turns {
                        barrier.wait();
                        barrier.wait();
                        counts = Counts::default();
                    }
                    part.turn(processor, &mut counts);
                    thread::yield_now();
                }
                barrier.wait();
                counts
            })
        };
        let workers: Vec<_> = parts.map(work).collect();
        barrier.wait();
        let before = pool.stats().classes[0].clone();
        barrier.wait();
        barrier.wait();
        let after = pool.stats().classes[0].clone();
        let mut sum = Counts::default();
        for worker in workers {
            sum.add(worker.join().expect("a worker panicked"));
        }
        (sum, before, after)
    });
    let per_call = |count: u64| count as f64 / sum.calls as f64;
    let row = Row {
        threads,
        locked: per_call(sum.locked),
        lines: per_call(sum.lines),
        fetched: per_call(sum.fetched),
    };
    measured(&format!(
        "| {threads} | {} | {:.2} | {:.3} | {:.2} | {:.3} | {:.4} | {:.4} | {:.5} |",
        sum.calls,
        per_call(sum.atomics),
        row.locked,
        row.lines,
        row.fetched,
        per_call(after.refills - before.refills),
        per_call(after.flushes - before.flushes),
        per_call(after.steals - before.steals),
    ));
    row
}

/// The head of the rows that follow.
fn head(kind: Kind, pattern: &str) {
    measured(&format!(
        "| {pattern}, {} caches, {} processors: threads | calls | atomic | locked | lines | fetched \
         | refills | flushes | steals |",
        kind.name(),
        cpus().len(),
    ));
}

/// Enough for every cache to be full, and the depot of use.
const AMPLE: usize = 256;

/// Counts a pattern for each number of threads, and looks whether all stay below what calls do of
/// their own, and their shares of `moves` batches in every `BATCH` calls.
#[track_caller]
fn stays<P: Part>(kind: Kind, pattern: &str, spare: usize, moves: f64) {
    let _alone = ALONE.lock().unwrap_or_else(|held| held.into_inner());
    head(kind, pattern);
    let build = |buffers| kind.build(Pool::builder().reserve(SIZE, SIZE, buffers).prefault(false));
    let (own_locked, own_lines) = own(kind);
    let share = |move_: f64| moves * move_ / BATCH;
    let mut wrong = Vec::new();
    for row in THREADS.map(|threads| count::<P>(threads, spare, build)) {
        let limits = [
            ("locked operations", row.locked, own_locked + share(LOCKED)),
            ("lines", row.lines, own_lines + share(LINES)),
            ("fetched lines", row.fetched, share(fetched(kind))),
        ];
        let above = limits.into_iter().filter(|(_, found, most)| found > most);
        wrong.extend(above.map(|(what, found, most)| {
            let threads = row.threads;
            format!("{threads} threads: {found:.3} {what} a call, at most {most:.3}")
        }));
    }
    assert!(wrong.is_empty(), "{pattern}: {}", wrong.join("; "));
}

/// What is left of a move where none is needed: a processor that several threads use holds a
/// little more or less now and then.
const SELDOM: f64 = 0.25;

fn a_ring_of_eight_stays_in_the_caches_however_many_threads(kind: Kind) {
    stays::<Ring>(kind, "ring of 8", AMPLE, SELDOM);
}

fn a_ring_with_two_buffers_to_spare_on_each_processor_stays_there_too(kind: Kind) {
    stays::<Ring>(kind, "ring of 8 with 2 to spare", 2, SELDOM);
}

fn bursts_of_sixty_four_cost_their_share_of_a_batch_however_many_threads(kind: Kind) {
    stays::<Burst>(kind, "bursts of 64", AMPLE, 1.0);
}

fn a_pipeline_costs_its_share_of_a_batch_however_many_threads(kind: Kind) {
    stays::<Pipeline>(kind, "pipeline", AMPLE, 1.0);
}

/// The same pattern in a pool whose caches hold next to nothing does what the above must not.
fn a_pool_without_caches_to_speak_of_fetches_lines_in_every_call(kind: Kind) {
    let Some(_) = two_cpus("a pool without caches") else {
        return;
    };
    let _alone = ALONE.lock().unwrap_or_else(|held| held.into_inner());
    head(kind, "pipeline, without caches");
    let build = |buffers| {
        let builder = Pool::builder().reserve(SIZE, SIZE, buffers).cpu_cache(0);
        kind.build(builder.prefault(false))
    };
    for threads in [2, 16] {
        let row = count::<Pipeline>(threads, AMPLE, build);
        assert!(row.locked > own(kind).0 + LOCKED / BATCH, "{}", row.locked);
        assert!(row.fetched > FETCHED / BATCH, "{}", row.fetched);
    }
}

#[test]
fn a_line_is_fetched_when_another_processor_has_it_and_only_then() {
    let _alone = ALONE.lock().unwrap_or_else(|held| held.into_inner());
    forget();
    #[repr(align(64))]
    struct Line(AtomicU64);
    let lines = [Line(AtomicU64::new(0)), Line(AtomicU64::new(0))];
    let relaxed = Ordering::Relaxed;
    let fetched = |processor, work: &dyn Fn()| {
        let mut counts = Counts::default();
        call(processor, &mut counts, work);
        counts.fetched
    };
    let load = |at: usize| move |lines: &[Line; 2]| _ = lines[at].0.load(relaxed);
    let store = |at: usize| move |lines: &[Line; 2]| lines[at].0.store(1, relaxed);
    // Nobody had it.
    assert_eq!(fetched(0, &|| store(0)(&lines)), 0);
    // Its own.
    assert_eq!(fetched(0, &|| load(0)(&lines)), 0);
    // Another's, once to be read, once more to be had alone, and then no more.
    assert_eq!(fetched(1, &|| load(0)(&lines)), 1);
    assert_eq!(fetched(1, &|| load(0)(&lines)), 0);
    assert_eq!(fetched(1, &|| store(0)(&lines)), 1);
    assert_eq!(fetched(1, &|| store(0)(&lines)), 0);
    // Taken away from the first.
    assert_eq!(fetched(0, &|| load(0)(&lines)), 1);
    // The other line is none of that.
    assert_eq!(fetched(1, &|| store(1)(&lines)), 0);
    assert_eq!(fetched(1, &|| store(1)(&lines)), 0);
}

#[test]
fn what_locks_is_counted_as_that_and_a_line_once_a_call() {
    let _alone = ALONE.lock().unwrap_or_else(|held| held.into_inner());
    let word = AtomicU64::new(0);
    let (relaxed, strict) = (Ordering::Relaxed, Ordering::SeqCst);
    let mut counts = Counts::default();
    call(0, &mut counts, || {
        word.store(word.load(relaxed), relaxed);
        word.fetch_add(1, relaxed);
        // One that succeeds, and one that does not.
        let _ = word.compare_exchange(1, 2, relaxed, relaxed);
        let _ = word.compare_exchange(1, 2, relaxed, relaxed);
        word.store(3, strict);
        fence(strict);
    });
    // Not in a call.
    word.swap(4, relaxed);
    let counted = (counts.calls, counts.atomics, counts.locked, counts.lines);
    assert_eq!(counted, (1, 7, 5, 1));
}
