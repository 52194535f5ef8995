//! Baselines: buffers that were dealt out before the clock started.
//!
//! Owns `limit` (an unchecked stack of buffers in thread-local storage), `hand-off` (the pipeline's own cost) and
//! `no-allocator` (the pool's memory filled in the pool's own order) and `no-pool` (nobody waits for a buffer). They show what the harness and the memory
//! cost by themselves; none of them could serve a program. The arenas make them.

use std::cell::{Cell, UnsafeCell};
use std::hint::black_box;
use std::marker::PhantomData;
use std::ptr::NonNull;
use std::sync::Arc;
use std::time::Duration;

use ::hugepool::{Buffer, Pool};

use super::block::Block;
use super::{Awaits, Hand, Mapping, Rival, Seat, Shape, Waits};

/// What `limit` keeps in a thread at most; the rings of the patterns need no more.
const STACK: usize = 64;

struct Stack {
    count: Cell<usize>,
    starts: UnsafeCell<[NonNull<u8>; STACK]>,
}

thread_local! {
    static FREE: Stack = const {
        Stack {
            count: Cell::new(0),
            starts: UnsafeCell::new([NonNull::dangling(); STACK]),
        }
    };
}

/// The floor of taking and giving: a stack that belongs to one thread. Nobody else can reach what lies in it.
pub struct Limit {
    mapping: Arc<Mapping>,
}

impl Limit {
    pub fn new(mapping: Arc<Mapping>) -> Limit {
        Limit { mapping }
    }
}

impl Rival for Limit {
    type Hand = LimitHand;

    fn hand(&self, _: Seat) -> LimitHand {
        let count = self.mapping.shape().buffers.min(STACK);
        FREE.with(|stack| {
            for index in 0..count {
                // SAFETY: the stack is this thread's own, `index` is below its length, and no reference to it is
                // ever kept.
                unsafe { (*stack.starts.get())[index] = self.mapping.start_of(index) };
            }
            stack.count.set(count);
        });
        LimitHand {
            mapping: Arc::clone(&self.mapping),
            this_thread: PhantomData,
        }
    }

    fn capacity(&self) -> Option<usize> {
        None
    }
}

/// Takes from the stack of the thread it was made on, and therefore stays there.
pub struct LimitHand {
    mapping: Arc<Mapping>,
    this_thread: PhantomData<*const ()>,
}

impl Hand for LimitHand {
    type Held = Block;

    #[inline(always)]
    fn take(&mut self) -> Option<Block> {
        FREE.with(|stack| {
            let count = black_box(&stack.count).get().checked_sub(1)?;
            stack.count.set(count);
            // SAFETY: the stack is this thread's own, and what lies at or above the new count was pushed by `hand` or
            // `give` and is popped once, so the block is the only one for its buffer.
            Some(unsafe { Block::new((*stack.starts.get())[count]) })
        })
    }

    #[inline(always)]
    fn give(&mut self, held: Block) -> bool {
        FREE.with(|stack| {
            let count = black_box(&stack.count).get();
            // SAFETY: the stack is this thread's own; the index is checked.
            unsafe { (&mut (*stack.starts.get()))[count] = held.into_start() };
            stack.count.set(count + 1);
        });
        true
    }

    #[inline(always)]
    fn bytes<'h>(&self, held: &'h mut Block) -> &'h mut [u8] {
        // SAFETY: each buffer of the mapping is at least `size` bytes.
        unsafe { held.bytes(self.mapping.shape().size) }
    }
}

/// Passes the same buffers on in turn; giving does nothing. Right only where a hand-over bounds how many are out,
/// as the pipeline's rings do.
pub struct HandOff {
    mapping: Arc<Mapping>,
}

impl HandOff {
    pub fn new(mapping: Arc<Mapping>) -> HandOff {
        HandOff { mapping }
    }
}

impl Rival for HandOff {
    type Hand = HandOffHand;

    fn hand(&self, seat: Seat) -> HandOffHand {
        let share = (self.mapping.shape().buffers / seat.takers).max(1);
        HandOffHand {
            mapping: Arc::clone(&self.mapping),
            first: share * seat.taker,
            share,
            next: 0,
        }
    }

    fn capacity(&self) -> Option<usize> {
        None
    }
}

pub struct HandOffHand {
    mapping: Arc<Mapping>,
    first: usize,
    share: usize,
    next: usize,
}

impl Hand for HandOffHand {
    type Held = Block;

    #[inline(always)]
    fn take(&mut self) -> Option<Block> {
        let start = self.mapping.start_of(self.first + self.next);
        self.next += 1;
        if self.next == self.share {
            self.next = 0;
        }
        // SAFETY: a producer's share is as many buffers as can be out at once between it and its consumer, so the
        // one that comes up again has been given back; the stamps prove it in each run.
        Some(unsafe { Block::new(start) })
    }

    #[inline(always)]
    fn give(&mut self, _: Block) -> bool {
        true
    }

    #[inline(always)]
    fn bytes<'h>(&self, held: &'h mut Block) -> &'h mut [u8] {
        // SAFETY: each buffer of the mapping is at least `size` bytes.
        unsafe { held.bytes(self.mapping.shape().size) }
    }
}

/// How many takes are watched to learn the pool's order.
const REHEARSAL: usize = 16;

/// Replays the buffers that the pool hands out to a taker that gives back at once, without the pool.
pub struct NoAllocator {
    pool: Pool,
    shape: Shape,
}

impl NoAllocator {
    pub fn new(pool: Pool, shape: Shape) -> NoAllocator {
        NoAllocator { pool, shape }
    }
}

impl Rival for NoAllocator {
    type Hand = NoAllocatorHand;

    fn hand(&self, _: Seat) -> NoAllocatorHand {
        let take = || {
            self.pool
                .allocate(self.shape.size, self.shape.alignment)
                .ok()
        };
        let mut starts: Vec<usize> = Vec::with_capacity(REHEARSAL);
        while let Some(buffer) = take() {
            starts.push(buffer.as_ptr().addr());
            if starts.len() == REHEARSAL {
                break;
            }
        }
        // While the hand exists it holds what it replays, so the pool cannot give it to anybody else.
        let mut owned: Vec<Buffer> = Vec::new();
        while !starts
            .iter()
            .all(|start| owned.iter().any(|buffer| buffer.as_ptr().addr() == *start))
        {
            let Some(buffer) = take() else { break };
            owned.push(buffer);
        }
        let order = starts
            .iter()
            .filter_map(|start| {
                let buffer = owned
                    .iter_mut()
                    .find(|buffer| buffer.as_ptr().addr() == *start)?;
                NonNull::new(buffer.as_mut_ptr())
            })
            .collect();
        NoAllocatorHand {
            owned,
            order,
            next: 0,
            size: self.shape.size,
        }
    }

    fn capacity(&self) -> Option<usize> {
        None
    }
}

pub struct NoAllocatorHand {
    owned: Vec<Buffer>,
    order: Vec<NonNull<u8>>,
    next: usize,
    size: usize,
}

impl Hand for NoAllocatorHand {
    type Held = Block;

    #[inline(always)]
    fn take(&mut self) -> Option<Block> {
        let start = *self.order.get(self.next)?;
        self.next += 1;
        if self.next == self.order.len() {
            self.next = 0;
        }
        // SAFETY: the buffer is one of `owned`, which the hand keeps and never touches; `fill` gives each block back
        // before it takes the next.
        Some(unsafe { Block::new(start) })
    }

    #[inline(always)]
    fn give(&mut self, _: Block) -> bool {
        true
    }

    #[inline(always)]
    fn bytes<'h>(&self, held: &'h mut Block) -> &'h mut [u8] {
        // SAFETY: every buffer in `owned` has at least `size` bytes.
        unsafe { held.bytes(self.size) }
    }
}

impl Drop for NoAllocatorHand {
    /// Gives back in the reverse order of taking, so that the pool's order is as it was.
    fn drop(&mut self) {
        while self.owned.pop().is_some() {}
    }
}

/// What `exhausted` does without a pool: a buffer of eight bytes is there whenever somebody asks for one.
#[derive(Clone, Copy)]
pub struct NoPool;

impl Rival for NoPool {
    type Hand = NoPool;

    fn hand(&self, _: Seat) -> NoPool {
        NoPool
    }

    fn capacity(&self) -> Option<usize> {
        None
    }
}

impl Hand for NoPool {
    type Held = [u8; 8];

    #[inline(always)]
    fn take(&mut self) -> Option<Self::Held> {
        Some([0; 8])
    }

    #[inline(always)]
    fn give(&mut self, _: Self::Held) -> bool {
        true
    }

    #[inline(always)]
    fn bytes<'h>(&self, held: &'h mut Self::Held) -> &'h mut [u8] {
        held
    }
}

impl Waits for NoPool {
    #[inline(always)]
    fn wait(&mut self, _: Duration) -> Option<Self::Held> {
        self.take()
    }
}

impl Awaits for NoPool {
    #[inline(always)]
    async fn wait(&mut self) -> Option<Self::Held> {
        self.take()
    }
}
