//! The pools people write themselves for those who wait: a condition variable, a channel, a semaphore.
//!
//! Owns the lists of free buffers behind the rivals `mutex-condvar`, `channel` and `semaphore`. Uses [`Shared`], which
//! puts a mapping behind a list; the arenas make them.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender};
use crossbeam_queue::ArrayQueue;
use tokio::sync::Semaphore;

use super::shared::{FreeList, Held, Shared, SharedHand};
use super::{Awaits, Mapping, Waits};

/// A list at which threads wait.
pub trait Line: FreeList {
    /// Takes an index; sleeps up to `limit` until there is one.
    fn pop_within(&self, limit: Duration) -> Option<u32>;
}

impl<L: Line> Waits for SharedHand<L> {
    #[inline]
    fn wait(&mut self, limit: Duration) -> Option<Held> {
        let index = self.free().pop_within(limit)?;
        Some(self.held(index))
    }
}

/// A vector in a mutex, last in, first out, and a condition variable.
pub struct Monitor {
    free: Mutex<Vec<u32>>,
    filled: Condvar,
}

/// The rival `mutex-condvar`.
pub fn condvar(mapping: Arc<Mapping>) -> Shared<Monitor> {
    let free = Mutex::new(Vec::with_capacity(mapping.shape().buffers));
    let filled = Condvar::new();
    Shared::filled(mapping, Monitor { free, filled })
}

impl FreeList for Monitor {
    #[inline]
    fn pop(&self) -> Option<u32> {
        FreeList::pop(&self.free)
    }

    #[inline]
    fn push(&self, index: u32) -> bool {
        let pushed = FreeList::push(&self.free, index);
        // After the lock was given back, so that whoever wakes up does not find it taken.
        self.filled.notify_one();
        pushed
    }
}

impl Line for Monitor {
    #[inline]
    fn pop_within(&self, limit: Duration) -> Option<u32> {
        let free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut free, _) = self
            .filled
            .wait_timeout_while(free, limit, |free| free.is_empty())
            .unwrap_or_else(PoisonError::into_inner);
        free.pop()
    }
}

/// crossbeam's bounded channel, first in, first out.
pub struct Channel {
    sender: Sender<u32>,
    receiver: Receiver<u32>,
}

/// The rival `channel`.
pub fn channel(mapping: Arc<Mapping>) -> Shared<Channel> {
    let (sender, receiver) = crossbeam_channel::bounded(mapping.shape().buffers);
    Shared::filled(mapping, Channel { sender, receiver })
}

impl FreeList for Channel {
    #[inline]
    fn pop(&self) -> Option<u32> {
        self.receiver.try_recv().ok()
    }

    #[inline]
    fn push(&self, index: u32) -> bool {
        self.sender.try_send(index).is_ok()
    }
}

impl Line for Channel {
    #[inline]
    fn pop_within(&self, limit: Duration) -> Option<u32> {
        self.receiver.recv_timeout(limit).ok()
    }
}

/// crossbeam's bounded queue with a permit of tokio's semaphore for each buffer in it.
pub struct Permits {
    permits: Semaphore,
    free: ArrayQueue<u32>,
}

/// The rival `semaphore`.
pub fn semaphore(mapping: Arc<Mapping>) -> Shared<Permits> {
    let free = ArrayQueue::new(mapping.shape().buffers);
    let permits = Semaphore::new(0);
    Shared::filled(mapping, Permits { permits, free })
}

impl FreeList for Permits {
    #[inline]
    fn pop(&self) -> Option<u32> {
        self.permits.try_acquire().ok()?.forget();
        self.free.pop()
    }

    #[inline]
    fn push(&self, index: u32) -> bool {
        let pushed = self.free.push(index).is_ok();
        self.permits.add_permits(1);
        pushed
    }
}

impl Awaits for SharedHand<Permits> {
    #[inline]
    async fn wait(&mut self) -> Option<Held> {
        self.free().permits.acquire().await.ok()?.forget();
        // Each permit was added after its buffer was put into the queue.
        let index = self.free().free.pop()?;
        Some(self.held(index))
    }
}
