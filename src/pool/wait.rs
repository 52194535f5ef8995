//! Requests that wait for a buffer.
//!
//! Owns: how a thread sleeps until a buffer is handed over. Uses: the pool's
//! shared part. Used by: callers, `task`.
//!
//! ```text
//!   try ──▶ stand in line, shut the lists, look through them ──▶ sleep ─┐
//!                  ▲                                             ▲      │ woken
//!                  │ there are new classes                       └──────┤
//!                  └────────────────────────────────────────────────────┤
//!             buffer, time is up, aborted ◀─────────────────────────────┘
//! ```

use super::{Class, Handle, Pool};
use crate::buffer::Buffer;
use crate::error::AllocError;
use crate::lists::Wait;
use crate::wait::{MAX_WAITERS, Turn};
use std::time::{Duration, Instant};

/// How often a waiter looks that cannot be sure to be woken (`Wait::is_sure`).
const UNSURE: Duration = Duration::from_millis(1);

/// Someone who waits. Dropped before the end, it leaves the line, and what it was
/// given goes to the next.
pub struct Waiter {
    handle: Handle,
    size: usize,
    alignment: usize,
    /// Its turn in the line, from its first wait on.
    ticket: u64,
    task: bool,
    /// The wait under way, and how often everybody had been roused before.
    wait: Option<(Wait, u64)>,
}

/// What a waiter is to do next.
pub enum Next {
    /// Take this.
    Buffer(Buffer),
    /// Sleep.
    Sleep,
}

impl Waiter {
    /// Someone for whom nothing has been tried yet; a `task` is polled, a thread
    /// sleeps.
    pub fn new(handle: Handle, size: usize, alignment: usize, task: bool) -> Self {
        let ticket = handle.shared().catalog.lists().line().ticket();
        Self {
            handle,
            size,
            alignment,
            ticket,
            task,
            wait: None,
        }
    }

    /// Gets on as far as is possible without sleeping.
    pub fn advance(&mut self) -> Result<Next, AllocError> {
        let handle = self.handle.clone();
        let lists = handle.shared().catalog.lists();
        let line = lists.line();
        loop {
            let Some((wait, roused)) = &self.wait else {
                if let Some(buffer) = self.begin()? {
                    return Ok(Next::Buffer(buffer));
                }
                continue;
            };
            match line.turn(wait.seat()) {
                Turn::Waiting if line.is_aborted() => {}
                Turn::Waiting if line.roused() != *roused => {}
                Turn::Waiting => return Ok(Next::Sleep),
                Turn::Given(..) | Turn::Aborted => {}
            }
            if let Some(buffer) = self.end() {
                return Ok(Next::Buffer(buffer));
            }
            if line.is_aborted() {
                return Err(AllocError::Aborted);
            }
            // There are new classes: begin anew, with the same ticket.
        }
    }

    /// Stands in line and looks through the lists, unless there is a buffer now.
    fn begin(&mut self) -> Result<Option<Buffer>, AllocError> {
        let catalog = &self.handle.shared().catalog;
        let lists = catalog.lists();
        // Before the ladder: see `Line::roused`.
        let roused = lists.line().roused();
        if let Some(taken) = catalog.try_take(self.size, self.alignment)? {
            return Ok(Some(Buffer::new(taken, self.size)));
        }
        let ladder = catalog.ladder(self.size, self.alignment)?;
        let wait = lists
            .begin_wait(ladder, self.ticket, self.task)
            .ok_or(AllocError::TooManyWaiters { limit: MAX_WAITERS })?;
        let (wait, _) = self.wait.insert((wait, roused));
        lists.look(wait);
        Ok(None)
    }

    /// Leaves the line, with what came meanwhile.
    fn end(&mut self) -> Option<Buffer> {
        let (wait, _) = self.wait.take()?;
        let catalog = &self.handle.shared().catalog;
        let given = catalog.lists().end_wait(wait)?;
        Some(Buffer::new(catalog.taken(given), self.size))
    }

    /// Sleeps until something happens or `deadline` has passed. Then true if it
    /// has. `advance` said that there is nothing to do.
    fn sleep(&self, deadline: Option<Instant>) -> bool {
        let Some((wait, roused)) = &self.wait else {
            return false;
        };
        let lists = self.handle.shared().catalog.lists();
        let line = lists.line();
        let bell = line.bell(wait.seat());
        // Before the last look at what it rings for.
        let rings = bell.rings();
        if line.turn(wait.seat()) != Turn::Waiting || line.is_aborted() || line.roused() != *roused
        {
            return false;
        }
        if deadline.is_some_and(|deadline| deadline <= Instant::now()) {
            return true;
        }
        let mut until = deadline;
        if !wait.is_sure() {
            lists.look(wait);
            let soon = Instant::now() + UNSURE;
            until = Some(deadline.map_or(soon, |deadline| deadline.min(soon)));
        }
        bell.sleep(rings, until);
        false
    }

    /// Waits until `deadline`, for ever without one.
    fn block(mut self, deadline: Option<Instant>, limit: Duration) -> Result<Buffer, AllocError> {
        loop {
            match self.advance()? {
                Next::Buffer(buffer) => return Ok(buffer),
                Next::Sleep => {}
            }
            if self.sleep(deadline) {
                // One may have come in the last moment.
                return self.end().ok_or(AllocError::TimedOut {
                    size: self.size,
                    alignment: self.alignment,
                    limit,
                });
            }
        }
    }
}

#[cfg(feature = "event-listener")]
impl Waiter {
    /// The number of its place in the line.
    pub fn place(&self) -> Option<u32> {
        self.wait.as_ref().map(|(wait, _)| wait.seat().place())
    }

    /// Listens for what happens in the line.
    pub fn listen(&self) -> Option<event_listener::EventListener> {
        let (wait, _) = self.wait.as_ref()?;
        let lists = self.handle.shared().catalog.lists();
        lists.line().listen(wait.seat())
    }

    /// Whether it will be woken.
    pub fn is_sure(&self) -> bool {
        self.wait.as_ref().is_none_or(|(wait, _)| wait.is_sure())
    }

    /// Looks through the lists again.
    pub fn look(&self) {
        if let Some((wait, _)) = &self.wait {
            self.handle.shared().catalog.lists().look(wait);
        }
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        // A buffer that came meanwhile is dropped, and goes to the next in line.
        drop(self.end());
    }
}

impl Handle {
    fn allocate_deadline(
        &self,
        size: usize,
        alignment: usize,
        deadline: Option<Instant>,
        limit: Duration,
    ) -> Result<Buffer, AllocError> {
        if let Some(taken) = self.shared().catalog.take_cached(size, alignment) {
            return Ok(Buffer::new(taken, size));
        }
        Waiter::new(self.clone(), size, alignment, false).block(deadline, limit)
    }

    fn allocate_timeout(
        &self,
        size: usize,
        alignment: usize,
        limit: Duration,
    ) -> Result<Buffer, AllocError> {
        // A limit that is too far away to be named is none.
        let deadline = Instant::now().checked_add(limit);
        self.allocate_deadline(size, alignment, deadline, limit)
    }
}

impl Pool {
    /// Takes a buffer as [`allocate`](Self::allocate) does, and waits up to
    /// `limit` for one to come back if none is free. A limit too long for the
    /// clock is for ever.
    ///
    /// First come, first served, among those whom the same buffer could serve: a
    /// buffer that comes back, on any thread, is handed to the first in line, and
    /// no request that comes later can take it. The line costs nothing while
    /// nobody waits; while somebody does, frees of the classes in question go
    /// past the caches. The calling thread sleeps (`futex`); other threads'
    /// allocations and frees never wait for it.
    ///
    /// # Errors
    ///
    /// Those of [`allocate`](Self::allocate) that waiting cannot cure, at once;
    /// [`AllocError::TimedOut`], at once if `limit` is zero and none is free;
    /// [`AllocError::Aborted`] after [`abort`](Self::abort);
    /// [`AllocError::TooManyWaiters`] if 65536 wait already.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use hugepool::AllocError;
    /// use std::time::Duration;
    ///
    /// # let pool = hugepool::Pool::builder().reserve(4096, 4096, 1).prefault(false).build()?;
    /// let buffer = pool.allocate_timeout(4096, 4096, Duration::from_secs(1))?;
    /// let refused = pool.allocate_timeout(4096, 4096, Duration::from_millis(1));
    /// assert!(matches!(refused, Err(AllocError::TimedOut { .. })));
    /// let waiter = {
    ///     let pool = pool.clone();
    ///     std::thread::spawn(move || pool.allocate_timeout(4096, 4096, Duration::MAX))
    /// };
    /// drop(buffer); // goes to the waiter
    /// assert!(waiter.join().unwrap().is_ok());
    /// # Ok(()) }
    /// ```
    pub fn allocate_timeout(
        &self,
        size: usize,
        alignment: usize,
        limit: Duration,
    ) -> Result<Buffer, AllocError> {
        self.handle.allocate_timeout(size, alignment, limit)
    }

    /// As [`allocate_timeout`](Self::allocate_timeout), waiting until `deadline`.
    /// One in the past: a buffer that is free is taken, otherwise the call fails
    /// at once.
    ///
    /// # Errors
    ///
    /// As [`allocate_timeout`](Self::allocate_timeout).
    pub fn allocate_deadline(
        &self,
        size: usize,
        alignment: usize,
        deadline: Instant,
    ) -> Result<Buffer, AllocError> {
        let limit = deadline.saturating_duration_since(Instant::now());
        self.handle
            .allocate_deadline(size, alignment, Some(deadline), limit)
    }

    /// Ends every wait that is under way, and every one to come, with
    /// [`AllocError::Aborted`]. Requests that find a buffer free are served as
    /// before. There is no way back. Lock-free.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use hugepool::AllocError;
    /// use std::time::Duration;
    ///
    /// # let pool = hugepool::Pool::builder().reserve(4096, 4096, 1).prefault(false).build()?;
    /// let buffer = pool.allocate(4096, 4096)?;
    /// pool.abort();
    /// let refused = pool.allocate_timeout(4096, 4096, Duration::MAX);
    /// assert_eq!(refused.unwrap_err(), AllocError::Aborted);
    /// # Ok(()) }
    /// ```
    pub fn abort(&self) {
        self.handle.shared().catalog.lists().line().abort();
    }
}

impl Class {
    /// Takes a buffer as [`allocate`](Self::allocate) does, and waits up to
    /// `limit` for one: see [`Pool::allocate_timeout`].
    ///
    /// # Errors
    ///
    /// As [`Pool::allocate_timeout`].
    pub fn allocate_timeout(&self, limit: Duration) -> Result<Buffer, AllocError> {
        self.handle
            .allocate_timeout(self.size, self.alignment, limit)
    }
}
