//! The patterns of taking and giving, and the timed loops of all but those that have modules of their own.
//!
//! Owns [`Pattern`] and its loops, each compiled once for each rival. Uses the worker's take and give; the windows
//! run the jobs made here.
//!
//! | pattern | what one worker does | what it shows |
//! | --- | --- | --- |
//! | `same` | take, give back | the shortest path |
//! | `ring` | holds up to 8: take one, give the oldest | several buffers in flight |
//! | `threads` | `ring`, by each thread; the pool has 8 buffers a thread and no more | contention, stranding |
//! | `pipeline` | some threads take, the others give | buffers that come home elsewhere |
//! | `burst` | drains its share of the pool, then gives all back | exhaustion |
//! | `fill` | take, write the whole buffer, give back | whether the buffer is warm |
//! | `mixed` | `ring`, with buffers of several sizes | classes beside each other |
//! | `exhausted` | waits for a buffer, holds it, gives back | handing over to who waits |
//! | `engine` | half of the threads copy blocks into buffers, the other half out of them | what the pool is worth |

use std::fmt;
use std::sync::Arc;

use super::crew::Job;
use super::plan::Group;
use super::window::Window;
use super::worker::{Item, Probe, Tally, Worker};
use crate::rival::{Hand, Rival, Seat, names};

/// Buffers a ring holds at most.
pub const RING: usize = 8;

/// A way of taking and giving.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Pattern {
    Same,
    Ring,
    Threads,
    Pipeline,
    Burst,
    Fill,
    Mixed,
    Exhausted,
    Engine,
}

impl Pattern {
    /// All of them, in the order of a report.
    pub const ALL: [Pattern; 9] = [
        Pattern::Same,
        Pattern::Ring,
        Pattern::Threads,
        Pattern::Pipeline,
        Pattern::Burst,
        Pattern::Fill,
        Pattern::Mixed,
        Pattern::Exhausted,
        Pattern::Engine,
    ];

    /// The name as it is typed and printed.
    pub fn as_str(self) -> &'static str {
        match self {
            Pattern::Same => "same",
            Pattern::Ring => "ring",
            Pattern::Threads => "threads",
            Pattern::Pipeline => "pipeline",
            Pattern::Burst => "burst",
            Pattern::Fill => "fill",
            Pattern::Mixed => "mixed",
            Pattern::Exhausted => "exhausted",
            Pattern::Engine => "engine",
        }
    }

    /// What it does, in a sentence.
    pub fn explained(self) -> &'static str {
        match self {
            Pattern::Same => "One thread takes a buffer and gives it back.",
            Pattern::Ring => {
                "One thread holds a ring of buffers: it takes one and gives the oldest back."
            }
            Pattern::Threads => {
                "Each thread holds a ring of its own, and the pool has exactly as many buffers as they hold together."
            }
            Pattern::Pipeline => {
                "Some threads only take, the others only give; bounded rings hand the buffers over."
            }
            Pattern::Burst => {
                "Each thread drains its share of the pool, then gives all of it back."
            }
            Pattern::Fill => "One thread takes a buffer, writes all of it and gives it back.",
            Pattern::Mixed => {
                "Each thread holds a ring of buffers whose sizes are drawn from the powers of two from 4 KiB up to the largest size, each as often as another."
            }
            Pattern::Exhausted => {
                "There are fewer buffers than threads or tasks that want one: each waits for a buffer, holds it and gives it back."
            }
            Pattern::Engine => {
                "A backup from memory to memory: half of the threads copy blocks of a source into buffers, the others copy them to a destination and give them back."
            }
        }
    }

    /// Reads a name a user typed.
    pub fn parse(text: &str) -> Result<Pattern, String> {
        Pattern::ALL
            .into_iter()
            .find(|pattern| pattern.as_str() == text)
            .ok_or_else(|| {
                format!(
                    "there is no pattern `{text}`; there are: {}",
                    names(Pattern::ALL)
                )
            })
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// What the workers of a window run, for every pattern but the pipeline, `exhausted` and `engine`, whose loops are elsewhere.
pub fn job<R: Rival, P: Probe>(rival: Arc<R>, window: Arc<Window>, group: &Group) -> Job<Tally> {
    let pattern = group.pattern;
    let takers = group.threads;
    let depth = group.depth;
    let share = group.shape.buffers / takers;
    Arc::new(move |seat| {
        let hand = rival.hand(Seat {
            taker: seat,
            takers,
        });
        let worker: Worker<'_, R::Hand, P> = Worker::new(hand, &window, seat);
        match pattern {
            Pattern::Fill => fill(worker),
            Pattern::Burst => burst(worker, share),
            Pattern::Ring | Pattern::Threads | Pattern::Mixed => ring(worker, depth),
            Pattern::Same | Pattern::Pipeline | Pattern::Exhausted | Pattern::Engine => {
                same(worker)
            }
        }
    })
}

fn same<H: Hand, P: Probe>(mut worker: Worker<'_, H, P>) -> Tally {
    let clocked = worker.clocked(|worker| {
        worker.repeat(|worker| {
            let item = worker.take()?;
            worker.give(item);
            Some(1)
        })
    });
    worker.tally(clocked)
}

fn ring<H: Hand, P: Probe>(mut worker: Worker<'_, H, P>, depth: usize) -> Tally {
    let mut slots: [Option<Item<H::Held>>; RING] = [const { None }; RING];
    for slot in &mut slots[..depth] {
        *slot = worker.take();
    }
    let last = depth - 1;
    let mut next = 0;
    let clocked = worker.clocked(|worker| {
        // All rings were full at the start: in `threads` the pool was empty then. From here on one slot is free
        // between steps, so that the worker never holds more than `depth`, not even for a moment.
        if let Some(oldest) = slots[next].take() {
            worker.give(oldest);
        }
        worker.repeat(|worker| {
            let slot = &mut slots[next];
            let item = worker.take()?;
            // SAFETY: the slot is empty, so nothing is lost that would have to be dropped. An assignment would look
            // whether it is, and copy the item there from a place of its own; that is not what is measured. (For the
            // same reason the slot is found first: were a panic possible here, the item would need such a place.)
            unsafe { std::ptr::write(slot, Some(item)) };
            next = if next == last { 0 } else { next + 1 };
            if let Some(oldest) = slots[next].take() {
                worker.give(oldest);
            }
            Some(1)
        })
    });
    for item in slots.into_iter().flatten() {
        worker.give(item);
    }
    worker.tally(clocked)
}

fn burst<H: Hand, P: Probe>(mut worker: Worker<'_, H, P>, share: usize) -> Tally {
    // Buffers without their stamps, which follow each other: see `pipeline`.
    let mut all = Vec::with_capacity(share);
    let clocked = worker.clocked(|worker| {
        worker.repeat(|worker| {
            let mut last = 0;
            while all.len() < share {
                let Some(Item { held, stamp }) = worker.take_once() else {
                    worker.refused((share - all.len()) as u64);
                    break;
                };
                last = stamp;
                all.push(held);
            }
            let taken = all.len() as u64;
            let first = (last + 1).saturating_sub(taken);
            for (held, stamp) in all.drain(..).zip(first..) {
                worker.give(Item { held, stamp });
            }
            Some(taken)
        })
    });
    worker.tally(clocked)
}

fn fill<H: Hand, P: Probe>(mut worker: Worker<'_, H, P>) -> Tally {
    let clocked = worker.clocked(|worker| {
        worker.repeat(|worker| {
            let mut item = worker.take()?;
            worker.fill(&mut item);
            worker.give(item);
            Some(1)
        })
    });
    worker.tally(clocked)
}
