//! The allocators that are measured, behind one face.
//!
//! Owns what a rival is ([`Rival`], [`Hand`]) and the names ([`Name`]); each module below wraps one kind of
//! allocator. `bench` makes them and runs its patterns over the traits, compiled once for each rival, so that nothing
//! inside a timed loop is a virtual call.

mod absence;
pub mod array;
mod block;
mod examine;
pub mod general;
pub mod hugepool;
pub mod loaded;
pub mod mapped;
mod mapping;
pub mod mixed;
mod name;
pub mod pages;
pub mod preset;
pub mod rpmalloc;
pub mod shared;
pub mod store;
pub mod waiting;
pub mod zero;

use std::future::Future;
use std::time::Duration;

pub use absence::Absence;
pub use mapping::Mapping;
pub use name::{Arena, Name, names};

/// An allocator under test, shared by all workers.
pub trait Rival: Send + Sync + 'static {
    /// What one worker takes and gives with.
    type Hand: Hand;

    /// Makes the hand of one worker, on that worker's thread and outside the clock.
    fn hand(&self, seat: Seat) -> Self::Hand;

    /// How many buffers can be held at once; `None` for a general allocator, which has no such number.
    fn capacity(&self) -> Option<usize>;

    /// Takes all there is, once nobody holds anything, and gives it back: how many buffers are not there.
    fn missing(&self) -> usize {
        let Some(capacity) = self.capacity() else {
            return 0;
        };
        let mut hand = self.hand(Seat {
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

    /// Gets over the count of what came home, which took all there was: between visits, and outside the clock.
    fn settle(&self) {}

    /// The system calls that it made so far for those who wait; `None` if it does not count them.
    fn system_calls(&self) -> Option<SystemCalls> {
        None
    }
}

/// One worker's way to a rival.
pub trait Hand {
    /// A buffer in hand. It can be handed over to another worker.
    type Held: Send + 'static;

    /// Takes a buffer; `None` is a refusal.
    fn take(&mut self) -> Option<Self::Held>;

    /// Gives a buffer back; false when the rival rejects it.
    fn give(&mut self, held: Self::Held) -> bool;

    /// The whole buffer.
    fn bytes<'h>(&self, held: &'h mut Self::Held) -> &'h mut [u8];
}

/// A hand at which a thread waits for a buffer.
pub trait Waits: Hand {
    /// Takes a buffer; sleeps up to `limit` until there is one.
    fn wait(&mut self, limit: Duration) -> Option<Self::Held>;
}

/// A hand at which a task waits for a buffer.
pub trait Awaits: Hand + Send + 'static {
    /// Takes a buffer once there is one.
    fn wait(&mut self) -> impl Future<Output = Option<Self::Held>> + Send;
}

/// System calls that a rival made for those who wait, by kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SystemCalls {
    /// Threads put to sleep.
    pub sleeps: u64,
    /// Threads woken.
    pub wakes: u64,
    /// Barriers on other processors (`membarrier`).
    pub barriers: u64,
}

impl SystemCalls {
    /// What was made from one count to a later one.
    pub fn between(
        earlier: Option<SystemCalls>,
        later: Option<SystemCalls>,
    ) -> Option<SystemCalls> {
        let (earlier, later) = earlier.zip(later)?;
        Some(SystemCalls {
            sleeps: later.sleeps.saturating_sub(earlier.sleeps),
            wakes: later.wakes.saturating_sub(earlier.wakes),
            barriers: later.barriers.saturating_sub(earlier.barriers),
        })
    }
}

/// Which worker a hand is for.
#[derive(Debug, Clone, Copy)]
pub struct Seat {
    /// The number of this worker among those that take.
    pub taker: usize,
    /// How many workers take.
    pub takers: usize,
}

/// What every rival of one group is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Shape {
    /// Bytes of a buffer.
    pub size: usize,
    /// Alignment of a buffer in bytes, a power of two.
    pub alignment: usize,
    /// Buffers in a pool.
    pub buffers: usize,
}

impl Shape {
    /// Bytes from one buffer to the next in an array of them.
    pub fn stride(self) -> usize {
        self.size.next_multiple_of(self.alignment)
    }
}
