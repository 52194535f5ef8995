//! The pools people write themselves: a queue of free buffers, or a vector of them in a mutex.
//!
//! Owns the rivals `arrayqueue` and `mutex-vec` over one [`Mapping`]; the arenas make them.

use std::sync::{Arc, Mutex, PoisonError};

use crossbeam_queue::ArrayQueue;

use super::block::Block;
use super::{Hand, Mapping, Rival, Seat};

/// A set of free indices that threads share.
pub trait FreeList: Send + Sync + 'static {
    fn pop(&self) -> Option<u32>;
    fn push(&self, index: u32) -> bool;
}

impl FreeList for ArrayQueue<u32> {
    #[inline(always)]
    fn pop(&self) -> Option<u32> {
        ArrayQueue::pop(self)
    }

    #[inline(always)]
    fn push(&self, index: u32) -> bool {
        ArrayQueue::push(self, index).is_ok()
    }
}

impl FreeList for Mutex<Vec<u32>> {
    #[inline(always)]
    fn pop(&self) -> Option<u32> {
        self.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }

    #[inline(always)]
    fn push(&self, index: u32) -> bool {
        self.lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(index);
        true
    }
}

/// Buffers of one mapping behind a shared free list.
pub struct Shared<F> {
    inner: Arc<Inner<F>>,
}

/// crossbeam's bounded queue, first in, first out.
pub type Queue = Shared<ArrayQueue<u32>>;
/// A vector in a mutex, last in, first out.
pub type Locked = Shared<Mutex<Vec<u32>>>;

struct Inner<F> {
    mapping: Arc<Mapping>,
    free: F,
}

impl Queue {
    pub fn new(mapping: Arc<Mapping>) -> Queue {
        let free = ArrayQueue::new(mapping.shape().buffers);
        Shared::filled(mapping, free)
    }
}

impl Locked {
    pub fn new(mapping: Arc<Mapping>) -> Locked {
        let free = Mutex::new(Vec::with_capacity(mapping.shape().buffers));
        Shared::filled(mapping, free)
    }
}

impl<F: FreeList> Shared<F> {
    /// Puts all buffers of the mapping into an empty list.
    pub fn filled(mapping: Arc<Mapping>, free: F) -> Shared<F> {
        for index in (0_u32..).take(mapping.shape().buffers) {
            free.push(index);
        }
        Shared {
            inner: Arc::new(Inner { mapping, free }),
        }
    }
}

impl<F: FreeList> Rival for Shared<F> {
    type Hand = SharedHand<F>;

    fn hand(&self, _: Seat) -> SharedHand<F> {
        SharedHand(Arc::clone(&self.inner))
    }

    fn capacity(&self) -> Option<usize> {
        Some(self.inner.mapping.shape().buffers)
    }
}

pub struct SharedHand<F>(Arc<Inner<F>>);

impl<F> SharedHand<F> {
    /// The list of free buffers.
    #[inline(always)]
    pub fn free(&self) -> &F {
        &self.0.free
    }

    /// The buffer whose index the list has just given.
    #[inline(always)]
    pub fn held(&self, index: u32) -> Held {
        // SAFETY: the free list gives an index to one taker at a time; a defect there shows as a wrong stamp.
        let block = unsafe { Block::new(self.0.mapping.start_of(index as usize)) };
        Held { block, index }
    }
}

/// A buffer and its place in the free list.
pub struct Held {
    block: Block,
    index: u32,
}

impl<F: FreeList> Hand for SharedHand<F> {
    type Held = Held;

    #[inline(always)]
    fn take(&mut self) -> Option<Held> {
        let index = self.0.free.pop()?;
        Some(self.held(index))
    }

    #[inline(always)]
    fn give(&mut self, held: Held) -> bool {
        self.0.free.push(held.index)
    }

    #[inline(always)]
    fn bytes<'h>(&self, held: &'h mut Held) -> &'h mut [u8] {
        // SAFETY: each buffer of the mapping is at least `size` bytes.
        unsafe { held.block.bytes(self.0.mapping.shape().size) }
    }
}
