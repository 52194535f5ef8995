//! Futures that are polled by hand.

use super::small::SIZE;
use hugepool::{AllocError, Allocate, Buffer, Pool};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Wake, Waker};

/// Counts how often it was woken.
#[derive(Default)]
pub struct Wakes(AtomicU64);

impl Wakes {
    /// How often that was.
    pub fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// A future with a waker of its own.
pub struct Task {
    pub future: Pin<Box<Allocate>>,
    pub wakes: Arc<Wakes>,
}

impl Task {
    /// Not polled yet.
    pub fn new(pool: &Pool, size: usize) -> Self {
        Self::of(pool.allocate_async(size, SIZE))
    }

    /// Not polled yet.
    pub fn of(future: Allocate) -> Self {
        Self {
            future: Box::pin(future),
            wakes: Arc::default(),
        }
    }

    /// Polled once: it has its place in the line.
    #[track_caller]
    pub fn waiting(pool: &Pool) -> Self {
        let mut task = Self::new(pool, SIZE);
        assert!(task.poll().is_pending(), "nothing was free");
        task
    }

    pub fn poll(&mut self) -> Poll<Result<Buffer, AllocError>> {
        let waker = Waker::from(Arc::clone(&self.wakes));
        self.future.as_mut().poll(&mut Context::from_waker(&waker))
    }

    /// How often it was woken.
    pub fn wakes(&self) -> u64 {
        self.wakes.count()
    }

    /// What it came to.
    #[track_caller]
    pub fn result(&mut self) -> Result<Buffer, AllocError> {
        match self.poll() {
            Poll::Ready(result) => result,
            Poll::Pending => panic!("it still waits"),
        }
    }
}
