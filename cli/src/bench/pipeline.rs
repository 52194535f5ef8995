//! The pipeline: some threads only take, the others only give.
//!
//! Owns the hand-over, a bounded ring from each producer to its own consumer, the same for every rival. A backup
//! engine works like this all day: one thread reads into a buffer, another writes it out and gives it back. Buffers
//! are handed over eight at a time, because one by one the ring's own cache misses would hide the allocators; what
//! is left of that cost shows in the baseline `hand-off`.
//!
//! ```text
//! producer 0: take, stamp  8 x --[ring of 56]--> consumer 0: check, give
//! producer 1: take, stamp  8 x --[ring of 56]--> consumer 1: check, give
//! ```

use std::sync::{Arc, Mutex, PoisonError};

use rtrb::chunks::ChunkError;
use rtrb::{Consumer, Producer, RingBuffer};

use super::crew::Job;
use super::window::Window;
use super::worker::{Item, Pause, Probe, Tally, Worker};
use crate::rival::{Hand, Rival, Seat};

/// Buffers each pair of threads can have out: the ring's (the consumer's are among them until it has given them all
/// back) and those the producer has gathered.
pub const PER_PAIR: usize = 64;
const BATCH: usize = 8;
const RING: usize = PER_PAIR - BATCH;

enum End<T> {
    Producer(Producer<Item<T>>),
    Consumer(Consumer<Item<T>>),
}

/// What the workers of a window run: even seats produce, odd seats consume.
pub fn job<R: Rival, P: Probe>(rival: Arc<R>, window: Arc<Window>, workers: usize) -> Job<Tally> {
    let pairs = workers / 2;
    let mut ends: Vec<Mutex<Option<End<_>>>> = Vec::with_capacity(workers);
    for _ in 0..pairs {
        let (producer, consumer) = RingBuffer::new(RING);
        ends.push(Mutex::new(Some(End::Producer(producer))));
        ends.push(Mutex::new(Some(End::Consumer(consumer))));
    }
    Arc::new(move |seat| {
        let hand = rival.hand(Seat {
            taker: seat / 2,
            takers: pairs,
        });
        let worker: Worker<'_, R::Hand, P> = Worker::new(hand, &window, seat);
        let end = ends[seat]
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        match end {
            Some(End::Producer(ring)) => produce(worker, ring),
            Some(End::Consumer(ring)) => consume(worker, ring),
            None => idle(worker),
        }
    })
}

/// Takes and passes on until the window closes; its end of the ring closes with it. Counts no operation: the
/// consumer does.
fn produce<H: Hand, P: Probe>(
    mut worker: Worker<'_, H, P>,
    mut ring: Producer<Item<H::Held>>,
) -> Tally {
    let clocked = worker.clocked(move |worker| {
        let mut gathered = Vec::with_capacity(BATCH);
        worker.repeat(|worker| {
            gathered.push(worker.take()?);
            if gathered.len() == BATCH {
                hand_over(&mut ring, &mut gathered);
            }
            Some(0)
        });
        hand_over(&mut ring, &mut gathered);
        0
    });
    worker.tally(clocked)
}

/// Moves all that was gathered into the ring; waits while it is full.
#[inline]
fn hand_over<T>(ring: &mut Producer<T>, gathered: &mut Vec<T>) {
    let mut pause = Pause::default();
    loop {
        match ring.write_chunk_uninit(gathered.len()) {
            Ok(chunk) => {
                chunk.fill_from_iter(gathered.drain(..));
                return;
            }
            Err(ChunkError::TooFewSlots(_)) => pause.wait(),
        }
    }
}

/// Gives back what arrives until the producer is gone and the ring empty.
fn consume<H: Hand, P: Probe>(
    mut worker: Worker<'_, H, P>,
    mut ring: Consumer<Item<H::Held>>,
) -> Tally {
    let clocked = worker.clocked(|worker| {
        let mut ops = 0;
        let mut pause = Pause::default();
        let mut last_look = false;
        let mut debt = worker.debt();
        loop {
            let arrived = ring.slots().min(BATCH);
            match ring.read_chunk(arrived) {
                Ok(chunk) if arrived > 0 => {
                    for item in chunk {
                        worker.give(item);
                    }
                    ops += arrived as u64;
                    if let Some(debt) = &mut debt {
                        debt.pay_in_time();
                    }
                    pause = Pause::default();
                }
                // What is empty after the producer was seen to be gone stays empty.
                _ if last_look => return ops,
                _ => {
                    last_look = ring.is_abandoned();
                    pause.wait();
                }
            }
        }
    });
    worker.tally(clocked)
}

/// For a seat without a ring, which no group has; it must still be at the start.
fn idle<H: Hand, P: Probe>(mut worker: Worker<'_, H, P>) -> Tally {
    let clocked = worker.clocked(|_| 0);
    worker.tally(clocked)
}
