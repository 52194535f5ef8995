//! Futures that are polled by hand.

use super::small::SIZE;
use hugepool::{AllocError, Allocate, Pool};
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
pub struct Task<F = Allocate> {
    pub future: Pin<Box<F>>,
    pub wakes: Arc<Wakes>,
}

impl Task {
    /// Not polled yet.
    pub fn new(pool: &Pool, size: usize) -> Self {
        Self::of(pool.allocate_async(size, SIZE))
    }

    /// Polled once: it has its place in the line.
    #[track_caller]
    pub fn waiting(pool: &Pool) -> Self {
        Self::begun(pool.allocate_async(SIZE, SIZE))
    }
}

impl<T, F: Future<Output = Result<T, AllocError>>> Task<F> {
    /// Not polled yet.
    pub fn of(future: F) -> Self {
        Self {
            future: Box::pin(future),
            wakes: Arc::default(),
        }
    }

    /// Polled once: it has its place in the line.
    #[track_caller]
    pub fn begun(future: F) -> Self {
        let mut task = Self::of(future);
        assert!(task.poll().is_pending(), "what it waits for was free");
        task
    }

    pub fn poll(&mut self) -> Poll<F::Output> {
        let waker = Waker::from(Arc::clone(&self.wakes));
        self.future.as_mut().poll(&mut Context::from_waker(&waker))
    }

    /// How often it was woken.
    pub fn wakes(&self) -> u64 {
        self.wakes.count()
    }

    /// What it came to.
    #[track_caller]
    pub fn result(&mut self) -> F::Output {
        match self.poll() {
            Poll::Ready(result) => result,
            Poll::Pending => panic!("it still waits"),
        }
    }
}
