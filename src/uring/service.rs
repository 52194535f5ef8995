//! A thread with a ring, which serves futures.
//!
//! Owns: [`Service`], [`Handle`], and the mailbox between them and the thread. Uses: `worker`
//! for the thread, `ring`, `transfer`, `sys::eventfd`. Used by: callers, `worker`.
//!
//! ```text
//!   handles ──▶ mailbox ──▶ backlog ──▶ ring ──▶ kernel ──▶ reply ──▶ transfer is woken
//!     └── bell: the thread sleeps in the ring, and a poll of the bell is under way there
//! ```
//!
//! The mailbox has a lock, and so has each reply. Taking and giving back a buffer has nothing
//! to do with either: whoever comes here enters the kernel, and the thread holds a lock for a
//! few instructions and runs nobody's code meanwhile. A queue without locks would save nothing
//! that a system call does not cost.
#![allow(clippy::disallowed_types, reason = "see above")]

use super::error::{RingError, WhyRejected};
use super::operation::{Direction, Extent};
use super::report::Report;
use super::ring::Ring;
use super::transfer::{Reply, Transfer};
use super::worker::Worker;
use crate::buffer::{Buffer, Memory, Owned, Plain};
use crate::error::OsError;
use crate::pool::Pool;
use crate::sync::{Arc, shield};
use crate::sys::eventfd::EventFd;
use crate::sys::files::thread_number;
use crate::sys::fork::Mark;
use crate::sys::signal::{Thread, quiet_thread};
use std::collections::VecDeque;
use std::fmt;
use std::fs::File;
use std::io;
use std::ops::RangeBounds;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// Something to be done, and who is told.
pub struct Request<F, M: Memory> {
    pub direction: Direction,
    pub extent: Extent,
    pub buffer: Owned,
    pub offset: u64,
    /// What the ticket's file lent to whoever asked, in whose thread that code runs: the
    /// service's would end by a panic.
    pub fd: RawFd,
    pub ticket: Ticket<F, M>,
}

/// What the ring has as an operation's file.
pub struct Ticket<F, M: Memory> {
    pub file: F,
    pub reply: Arc<Reply<M>>,
}

impl<F, M: Memory> Ticket<F, M> {
    /// The operation is over. The file is given up before anybody hears of it, and a panic of
    /// its code is caught.
    pub fn end(self, result: io::Result<usize>, buffer: Owned) {
        let Self { file, reply } = self;
        shield(move || drop(file));
        reply.put(result, Buffer::of(buffer));
    }
}

impl<F: AsFd, M: Memory> AsFd for Ticket<F, M> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

/// What is to become of the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It takes requests.
    Open,
    /// It does what it has, and ends.
    Finishing,
    /// It cancels what it has, and ends.
    Cancelling,
}

pub struct Mailbox<F, M: Memory> {
    pub requests: VecDeque<Request<F, M>>,
    pub standing: Standing,
    /// The number of the thread, once it runs.
    pub thread: Option<i32>,
    /// Whether the thread sleeps, or is about to, and is to be woken for a request.
    pub asleep: bool,
    pub report: Report,
    /// How often somebody asked for a `refresh`, and how many of these are done.
    pub wanted: u64,
    pub refreshed: u64,
}

/// What the thread and the handles share.
pub struct Shared<F, M: Memory> {
    pub mailbox: Mutex<Mailbox<F, M>>,
    /// Told when `refreshed` grows.
    pub is_refreshed: Condvar,
    pub bell: EventFd,
    /// The process that has the thread. In a child another thread of the parent may have had
    /// the lock when it was made.
    pub mark: Mark,
}

impl<F, M: Memory> Shared<F, M> {
    pub fn mailbox(&self) -> MutexGuard<'_, Mailbox<F, M>> {
        // Nothing that is done under it panics.
        self.mailbox.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives the request back, and says why, if the service does not take any.
    fn send(&self, request: Request<F, M>) -> Result<(), (WhyRejected, Request<F, M>)> {
        if self.mark.is_forked() {
            return Err((WhyRejected::Forked, request));
        }
        let mut mailbox = self.mailbox();
        if mailbox.standing != Standing::Open {
            drop(mailbox);
            return Err((WhyRejected::Ended, request));
        }
        mailbox.requests.push_back(request);
        let wake = std::mem::take(&mut mailbox.asleep);
        drop(mailbox);
        if wake {
            self.bell.ring();
        }
        Ok(())
    }

    /// Has the service end, unless it does already. Whether the caller is its own thread,
    /// which does so when it comes back from the caller's code.
    fn end(&self, standing: Standing) -> bool {
        let mut mailbox = self.mailbox();
        mailbox.standing = standing;
        let is_own = mailbox.thread == Some(thread_number());
        drop(mailbox);
        self.bell.ring();
        is_own
    }
}

/// A thread that reads and writes a pool's buffers by io_uring, for futures: its
/// [`handle`](Self::handle) begins them.
///
/// Its ring has the pool's memory registered as a [`Ring`] has, and is kept from children as
/// that is. In a child of a fork there is no service: what is asked of it is refused.
///
/// Dropped, it cancels what is under way and waits for that; every [`Transfer`] is ready then
/// (unless a filter of system calls has come to forbid the ring: what the kernel has is leaked).
/// [`finish`](Self::finish) lets it run to its end.
///
/// The thread blocks signals, for a program that waits for them, and has a stack of 1 MiB. It
/// calls wakers, and drops the file `F` of what is over. A panic of either is caught. If one of
/// them drops the service itself, or finishes it, that does not wait: the thread ends
/// afterwards.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let pool = hugepool::Pool::builder().reserve(4096, 4096, 4).prefault(false).build()?;
/// # use std::{future::Future, pin::pin, sync::Arc, task::{Context, Poll, Wake, Waker}, thread};
/// # struct Unpark(thread::Thread);
/// # impl Wake for Unpark { fn wake(self: Arc<Self>) { self.0.unpark() } }
/// # fn block_on<T>(future: impl Future<Output = T>) -> T {
/// #     let waker = Waker::from(Arc::new(Unpark(thread::current())));
/// #     let mut future = pin!(future);
/// #     loop {
/// #         match future.as_mut().poll(&mut Context::from_waker(&waker)) {
/// #             Poll::Ready(done) => return done,
/// #             Poll::Pending => thread::park(),
/// #         }
/// #     }
/// # }
/// use hugepool::uring::Service;
///
/// let Ok(service) = Service::new(&pool, 64) else {
///     return Ok(()); // no io_uring here
/// };
/// let handle = service.handle();
/// let zeroes = Arc::new(std::fs::File::open("/dev/zero")?);
/// // In a task, on any executor:
/// let task = async move {
///     let mut buffer = pool.allocate(4096, 4096)?;
///     buffer.fill(7);
///     let (bytes, buffer) = handle.read(zeroes, buffer, .., 0).await;
///     assert_eq!((bytes?, buffer[0]), (4096, 0));
///     Ok::<(), Box<dyn std::error::Error>>(())
/// };
/// block_on(task)?;
/// service.finish();
/// # Ok(()) }
/// ```
pub struct Service<F: AsFd + Send + 'static = Arc<File>, M: Memory = Plain> {
    shared: Arc<Shared<F, M>>,
    thread: Option<Thread>,
}

impl<F: AsFd + Send + 'static, M: Memory> Service<F, M> {
    /// Starts the thread, with a ring for `depth` operations at once. Any number may be asked
    /// for: the others wait, in order. It counts as a handle of the pool.
    ///
    /// Enters the kernel, as [`Ring::new`].
    ///
    /// # Errors
    ///
    /// As [`Ring::new`], and if there can be no thread.
    pub fn new(pool: &Pool<M>, depth: u32) -> Result<Self, RingError> {
        let os = |call| move |error: io::Error| RingError::Os(OsError::new(call, &error));
        let ring = Ring::new(pool, depth)?;
        let shared = Arc::new(Shared {
            mailbox: Mutex::new(Mailbox {
                requests: VecDeque::new(),
                standing: Standing::Open,
                thread: None,
                asleep: false,
                report: *ring.report(),
                wanted: 0,
                refreshed: 0,
            }),
            is_refreshed: Condvar::new(),
            bell: EventFd::new().map_err(os("eventfd"))?,
            mark: Mark::here(),
        });
        let worker = Worker::new(ring, Arc::clone(&shared));
        let thread = quiet_thread("hugepool-uring", || worker.run());
        let thread = thread.map_err(os("pthread_create"))?;
        Ok(Self {
            shared,
            thread: Some(thread),
        })
    }

    /// Begins operations. It does not keep the service: when that ends, what is asked for is
    /// refused.
    #[must_use]
    pub fn handle(&self) -> Handle<F, M> {
        Handle {
            shared: Arc::clone(&self.shared),
        }
    }

    /// How much of the pool's memory is registered, and why the rest is not, as the thread saw
    /// it last; [`refresh`](Self::refresh) has it look. In a child of a fork nothing is.
    #[must_use]
    pub fn report(&self) -> Report {
        if self.shared.mark.is_forked() {
            return Report::default();
        }
        self.shared.mailbox().report
    }

    /// Has the thread register what the pool has and its ring does not, also what was refused
    /// before, and let go of what was [trimmed](Pool::trim), so that its memory goes: see
    /// [`Ring::refresh`].
    ///
    /// Blocks until it has, which may take a second, in which it does nothing else. The
    /// service's own thread, in a waker or the drop of a file, does so when it comes back from
    /// there. In a child of a fork nothing happens.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let builder = hugepool::Pool::builder().reserve(4096, 4096, 1).prefault(false);
    /// let pool = builder.build()?;
    /// let Ok(service) = hugepool::uring::Service::<std::fs::File>::new(&pool, 8) else {
    ///     return Ok(()); // no io_uring here
    /// };
    /// pool.request(4096, 4096, 64)?;
    /// println!("{}", service.refresh()); // how much is registered now, and why not all is
    /// # Ok(()) }
    /// ```
    pub fn refresh(&self) -> Report {
        if self.shared.mark.is_forked() {
            return Report::default();
        }
        let mut mailbox = self.shared.mailbox();
        mailbox.wanted += 1;
        let own = mailbox.wanted;
        drop(mailbox);
        self.shared.bell.ring();
        let mut mailbox = self.shared.mailbox();
        // It does not end before the service does.
        while mailbox.refreshed < own && mailbox.thread != Some(thread_number()) {
            let woken = self.shared.is_refreshed.wait(mailbox);
            mailbox = woken.unwrap_or_else(PoisonError::into_inner);
        }
        mailbox.report
    }

    /// Lets everything that was asked for run to its end, and ends. Blocks until then, unless
    /// the service's own thread calls it: see [`Service`]. What is asked for meanwhile is
    /// refused.
    pub fn finish(mut self) {
        self.end(Standing::Finishing);
    }

    fn end(&mut self, standing: Standing) {
        let Some(thread) = self.thread.take() else {
            return;
        };
        if self.shared.mark.is_forked() {
            // There is no such thread here.
            std::mem::forget(thread);
            return;
        }
        if !self.shared.end(standing) {
            thread.join();
        }
    }
}

impl<F: AsFd + Send + 'static, M: Memory> Drop for Service<F, M> {
    fn drop(&mut self) {
        self.end(Standing::Cancelling);
    }
}

impl<F: AsFd + Send + 'static, M: Memory> fmt::Debug for Service<F, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Service").finish_non_exhaustive()
    }
}

/// Begins reads and writes of a [`Service`], from any thread. Clones are handles of the same.
pub struct Handle<F: AsFd + Send + 'static = Arc<File>, M: Memory = Plain> {
    shared: Arc<Shared<F, M>>,
}

impl<F: AsFd + Send + 'static, M: Memory> Clone for Handle<F, M> {
    fn clone(&self) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
        }
    }
}

impl<F: AsFd + Send + 'static, M: Memory> fmt::Debug for Handle<F, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle").finish_non_exhaustive()
    }
}

impl<F: AsFd + Send + 'static, M: Memory> Handle<F, M> {
    /// Reads into the bytes `range` of a buffer, from byte `offset` of `file` on, as
    /// [`Ring::read`].
    ///
    /// Begun at once; never waits for the operation. Enters the kernel if the thread sleeps. The
    /// file is asked for its descriptor in the caller's thread.
    ///
    /// # Errors
    ///
    /// All are in what the future gives, the buffer with them: those of `read(2)`;
    /// [`WhyRejected`] in an [`io::Error`] if the range is not in the buffer, the offset beyond
    /// what a file can have, the service has ended, or this is a child of a fork; `ECANCELED`
    /// if the service ended meanwhile.
    pub fn read(
        &self,
        file: F,
        buffer: Buffer<M>,
        range: impl RangeBounds<usize>,
        offset: u64,
    ) -> Transfer<M> {
        self.begin(Direction::Read, false, file, buffer, range, offset)
    }

    /// Writes the bytes `range` of a buffer to byte `offset` of `file` and on, as
    /// [`Ring::write`].
    ///
    /// # Errors
    ///
    /// As [`read`](Self::read), and those of `write(2)`.
    pub fn write(
        &self,
        file: F,
        buffer: Buffer<M>,
        range: impl RangeBounds<usize>,
        offset: u64,
    ) -> Transfer<M> {
        self.begin(Direction::Write, false, file, buffer, range, offset)
    }

    /// As [`write`](Self::write), of prefix zone and data in one, as
    /// [`Ring::write_with_prefix`].
    ///
    /// # Errors
    ///
    /// As [`write`](Self::write).
    pub fn write_with_prefix(
        &self,
        file: F,
        buffer: Buffer<M>,
        range: impl RangeBounds<usize>,
        offset: u64,
    ) -> Transfer<M> {
        self.begin(Direction::Write, true, file, buffer, range, offset)
    }

    fn begin(
        &self,
        direction: Direction,
        with_prefix: bool,
        file: F,
        buffer: Buffer<M>,
        range: impl RangeBounds<usize>,
        offset: u64,
    ) -> Transfer<M> {
        let (reply, fd) = (Reply::new(), file.as_fd().as_raw_fd());
        let buffer = buffer.into_owned();
        let rejected = match Extent::of(&buffer, with_prefix, &range) {
            Ok(extent) => {
                let ticket = Ticket {
                    file,
                    reply: Arc::clone(&reply),
                };
                let request = Request {
                    direction,
                    extent,
                    buffer,
                    offset,
                    fd,
                    ticket,
                };
                let sent = self.shared.send(request).err();
                sent.map(|(why, request)| (why, request.buffer))
            }
            Err(error) => Some((WhyRejected::Range(error), buffer)),
        };
        if let Some((why, buffer)) = rejected {
            reply.put(Err(why.into()), Buffer::of(buffer));
        }
        Transfer::new(reply)
    }
}
