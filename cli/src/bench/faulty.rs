//! A small pool that waits, with one switchable defect, for the tests of `exhausted` and `engine`.
//!
//! Owns the pool, which also tells how many buffers were out at the most. It counts two wakes and three barriers for
//! each give.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use crate::rival::{Awaits, Hand, Rival, Seat, SystemCalls, Waits};

type Buffer = Box<[u8]>;

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Defect {
    None,
    /// Drops buffers that come home, until one is left.
    Loses,
    /// Drops every buffer that comes home.
    LosesAll,
    /// Does not serve those who wait when a buffer comes home.
    Deaf,
    /// Will not take buffers back, but keeps them.
    Rejects,
    /// Hands the same memory to two takers.
    Doubles,
}

struct Inner {
    defect: Defect,
    free: Vec<Buffer>,
    left: usize,
    out: usize,
    most_out: usize,
    gives: u64,
    /// What the doubling pool writes over, as a second holder would.
    second_holder: u8,
}

#[derive(Clone)]
pub struct Wrong {
    inner: Arc<(Mutex<Inner>, Condvar)>,
    buffers: usize,
}

impl Wrong {
    pub fn new(defect: Defect, buffers: usize, size: usize) -> Wrong {
        let inner = Inner {
            defect,
            free: (0..buffers).map(|_| vec![0; size].into()).collect(),
            left: buffers,
            out: 0,
            most_out: 0,
            gives: 0,
            second_holder: 0,
        };
        Wrong {
            inner: Arc::new((Mutex::new(inner), Condvar::new())),
            buffers,
        }
    }

    /// How many buffers were out at once at the most.
    pub fn most_out(&self) -> usize {
        self.lock().most_out
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn pop(&mut self) -> Option<Buffer> {
        let buffer = self.free.pop()?;
        self.out += 1;
        self.most_out = self.most_out.max(self.out);
        Some(buffer)
    }
}

impl Rival for Wrong {
    type Hand = Wrong;

    fn hand(&self, _: Seat) -> Wrong {
        self.clone()
    }

    fn capacity(&self) -> Option<usize> {
        Some(self.buffers)
    }

    fn system_calls(&self) -> Option<SystemCalls> {
        let gives = self.lock().gives;
        Some(SystemCalls {
            sleeps: 0,
            wakes: 2 * gives,
            barriers: 3 * gives,
        })
    }
}

impl Hand for Wrong {
    type Held = Buffer;

    fn take(&mut self) -> Option<Buffer> {
        // To count what came home: nobody is under way.
        self.lock().free.pop()
    }

    fn give(&mut self, held: Buffer) -> bool {
        let mut inner = self.lock();
        inner.gives += 1;
        inner.out = inner.out.saturating_sub(1);
        let drops = match inner.defect {
            Defect::Loses => inner.left > 1,
            Defect::LosesAll => true,
            _ => false,
        };
        if drops {
            inner.left -= 1;
        } else {
            inner.free.push(held);
        }
        self.inner.1.notify_one();
        inner.defect != Defect::Rejects
    }

    fn bytes<'h>(&self, held: &'h mut Buffer) -> &'h mut [u8] {
        let mut inner = self.lock();
        if inner.defect == Defect::Doubles {
            inner.second_holder = inner.second_holder.wrapping_add(1);
            held[7] = inner.second_holder;
        }
        &mut held[..]
    }
}

impl Waits for Wrong {
    fn wait(&mut self, limit: Duration) -> Option<Buffer> {
        let inner = self.lock();
        if inner.defect == Defect::Deaf && inner.free.is_empty() {
            drop(inner);
            thread::sleep(limit);
            return None;
        }
        let (mut inner, _) = self
            .inner
            .1
            .wait_timeout_while(inner, limit, |inner| inner.free.is_empty())
            .unwrap_or_else(PoisonError::into_inner);
        inner.pop()
    }
}

impl Awaits for Wrong {
    async fn wait(&mut self) -> Option<Buffer> {
        if let Some(buffer) = self.lock().pop() {
            return Some(buffer);
        }
        loop {
            tokio::task::yield_now().await;
            let mut inner = self.lock();
            if inner.defect != Defect::Deaf
                && let Some(buffer) = inner.pop()
            {
                return Some(buffer);
            }
        }
    }
}
