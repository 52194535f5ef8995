//! The pipeline: some threads only take, the others only give.
//!
//! Owns the hand-over, bounded rings from producers to consumers, the same for every rival; `sides` says which lie
//! between whom. A backup engine works like this all day: one thread reads into a buffer, another writes it out and gives
//! it back. Buffers are handed over eight at a time, because one by one the ring's own cache misses would hide the
//! allocators; what is left of that cost shows in the baseline `hand-off`. A producer of several rings fills them in turn,
//! and waits where the next one is full; a consumer of several empties them in turn.
//!
//! ```text
//! producer 0: take, stamp  8 x --[ring of 56]--> consumer 0: check, give
//! producer 1: take, stamp  8 x --[ring of 56]--> consumer 1: check, give
//! ```

use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use rtrb::chunks::ChunkError;
use rtrb::{Consumer, Producer, RingBuffer};

use super::crew::Job;
use super::sides::{Role, Sides};
use super::window::Window;
use super::worker::{Item, Pause, Probe, Tally, Worker};
use crate::rival::{Hand, Rival, Seat};

/// Buffers that can be out for each ring: those in it (the consumer's are among them until it has given them all back)
/// and those that its producer has gathered.
pub const PER_RING: usize = 64;
const BATCH: usize = 8;
const RING: usize = PER_RING - BATCH;

/// A worker's ends of its rings.
enum Ends<T> {
    Producer(Vec<Producer<Item<T>>>),
    Consumer(Vec<Consumer<Item<T>>>),
}

/// What the workers of a window run.
pub fn job<R: Rival, P: Probe>(rival: Arc<R>, window: Arc<Window>, sides: Sides) -> Job<Tally> {
    let mut producers: Vec<Vec<Producer<_>>> = (0..sides.takers).map(|_| Vec::new()).collect();
    let mut consumers: Vec<Vec<Consumer<_>>> = (0..sides.givers).map(|_| Vec::new()).collect();
    for ring in 0..sides.rings() {
        let (producer, consumer) = RingBuffer::new(RING);
        let (from, to) = sides.ends(ring);
        producers[from].push(producer);
        consumers[to].push(consumer);
    }
    let ends = |seat| match sides.role(seat) {
        Role::Producer(taker) => Ends::Producer(std::mem::take(&mut producers[taker])),
        Role::Consumer(giver) => Ends::Consumer(std::mem::take(&mut consumers[giver])),
    };
    let seats: Vec<Mutex<Option<Ends<_>>>> = (0..sides.threads())
        .map(ends)
        .map(|ends| Mutex::new(Some(ends)))
        .collect();
    Arc::new(move |seat| {
        let (Role::Producer(number) | Role::Consumer(number)) = sides.role(seat);
        let hand = rival.hand(Seat {
            taker: number % sides.takers,
            takers: sides.takers,
        });
        let worker: Worker<'_, R::Hand, P> = Worker::new(hand, &window, seat);
        let ends = seats[seat]
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        match ends {
            Some(Ends::Producer(rings)) => produce(worker, rings),
            Some(Ends::Consumer(rings)) => consume(worker, rings),
            None => idle(worker),
        }
    })
}

/// Takes and passes on until the window closes; its ends of the rings close with it. Counts no operation: the
/// consumers do.
fn produce<H: Hand, P: Probe>(
    mut worker: Worker<'_, H, P>,
    mut rings: Vec<Producer<Item<H::Held>>>,
) -> Tally {
    let clocked = worker.clocked(move |worker| {
        // Buffers and stamps apart, until they are handed over. As one value the two would be put into memory in parts
        // and read back at once; for that a processor waits until the stamp, a line that another one had, is written.
        let mut gathered = Vec::with_capacity(BATCH);
        let mut stamps = 0..0;
        let last = rings.len() - 1;
        let mut next = 0;
        worker.repeat(|worker| {
            let Item { held, stamp } = worker.take()?;
            if gathered.is_empty() {
                stamps.start = stamp;
            }
            stamps.end = stamp + 1;
            gathered.push(held);
            if gathered.len() == BATCH {
                hand_over(&mut rings[next], &mut gathered, stamps.clone());
                next = if next == last { 0 } else { next + 1 };
            }
            Some(0)
        });
        hand_over(&mut rings[next], &mut gathered, stamps);
        0
    });
    worker.tally(clocked)
}

/// Moves all that was gathered into the ring, with the stamps, which follow each other; waits while it is full.
#[inline]
fn hand_over<T>(ring: &mut Producer<Item<T>>, gathered: &mut Vec<T>, stamps: Range<u64>) {
    let mut pause = Pause::default();
    loop {
        match ring.write_chunk_uninit(gathered.len()) {
            Ok(chunk) => {
                let items = gathered.drain(..).zip(stamps);
                chunk.fill_from_iter(items.map(|(held, stamp)| Item { held, stamp }));
                return;
            }
            Err(ChunkError::TooFewSlots(_)) => pause.wait(),
        }
    }
}

/// Gives back what arrives, a batch from each ring in turn, until the producers are gone and the rings empty.
fn consume<H: Hand, P: Probe>(
    mut worker: Worker<'_, H, P>,
    mut rings: Vec<Consumer<Item<H::Held>>>,
) -> Tally {
    let clocked = worker.clocked(|worker| {
        let mut ops = 0;
        let mut pause = Pause::default();
        let mut last_look = false;
        let mut debt = worker.debt();
        loop {
            let mut had = 0;
            for ring in &mut rings {
                let arrived = ring.slots().min(BATCH);
                if arrived > 0
                    && let Ok(chunk) = ring.read_chunk(arrived)
                {
                    for item in chunk {
                        worker.give(item);
                    }
                    had += arrived;
                }
            }
            if had > 0 {
                ops += had as u64;
                if let Some(debt) = &mut debt {
                    debt.pay_in_time();
                }
                pause = Pause::default();
            } else if last_look {
                // What is empty after the producers were seen to be gone stays empty.
                return ops;
            } else {
                last_look = rings.iter().all(Consumer::is_abandoned);
                pause.wait();
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
