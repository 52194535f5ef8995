//! A ring whose operations own their buffers.
//!
//! Owns: [`Ring`]: what is begun, what is under way, and its end. Uses: the crate `io-uring`,
//! `queue`, `registry`, `flights`, `operation`, `sys::inherited`. Used by: `service`, callers.
//!
//! ```text
//!   begin ─▶ queued ──submit──▶ in the ring's queue ──kernel──▶ under way ──▶ completion
//!            │                                                     │
//!            └── a ring that is dropped forgets it                 └── is cancelled, waited for
//! ```
//!
//! A buffer is in a flight's place from the beginning to the completion. The ring has the
//! place, so nothing gives the buffer back before the kernel has said that it is done with it.

use super::error::{RingError, WhyRejected};
use super::flights::{Flight, Flights};
use super::operation::{Completion, Direction, Extent};
use super::queue::Queue;
use super::registry::{Found, Registry};
use super::report::Report;
use crate::buffer::{Buffer, Memory, Owned, Plain};
use crate::error::OsError;
use crate::pool::Pool;
use crate::sync::Arc;
use crate::sys::fork::Origin;
use crate::sys::inherited::{SEATS, Seat};
use io_uring::{IoUring, opcode, types};
use std::fmt;
use std::fs::File;
use std::io;
use std::marker::PhantomData;
use std::mem::ManuallyDrop;
use std::ops::RangeBounds;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};

/// The most operations that the kernel has room for in one ring.
const MAX_DEPTH: u32 = 32768;

/// What completions are called that are no flight's.
const CANCEL: u64 = u64::MAX;
const WATCH: u64 = u64::MAX - 1;

/// A ring of io_uring for a pool's buffers: reads and writes that own their buffer until they
/// have completed.
///
/// Buffers that are [registered](Registry) are read and written by fixed operations, all
/// others, also those of other pools, by plain ones. The ring follows the pool's growth by
/// itself. After a [`trim`](Pool::trim), [`refresh`](Self::refresh) lets the memory go.
///
/// An operation also owns its file `F`, so that no descriptor is closed, and its number another
/// file's, before the kernel has the file. Most have an `Arc<File>`; any type that lends a
/// descriptor will do.
///
/// A thread that ends takes its operations with it: the kernel may cancel what the thread had
/// submitted and what has not completed (`ECANCELED`).
///
/// # Dropping it
///
/// Operations that were not [submitted](Self::submit) are forgotten (unless a call that should
/// submit them failed: they may be). Those that are under way
/// are cancelled and waited for: a read of a file or disk mostly runs to its end, one of a pipe
/// or socket ends at once. If the kernel does not let the ring wait for what it has, ring,
/// buffers and memory are leaked, for it may still write there.
///
/// # Children of a fork
///
/// do not have the ring: its memory is not inherited, and its descriptor is closed in them
/// (up to [`MAX_RINGS`](super::MAX_RINGS) in a process). So the pool's huge pages are free when
/// the parent is, whatever children live. (A child that another thread makes while this one is
/// within [`new`](Self::new) or the drop may still get the descriptor; nor does a child
/// that is not made by the C library's `fork` lose it before it calls `exec`.) In a child every
/// call refuses, and a drop touches neither descriptor nor mapping.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let pool = hugepool::Pool::builder().reserve(4096, 4096, 4).prefault(false).build()?;
/// # let path = std::env::temp_dir().join(format!("hugepool-ring-{}", std::process::id()));
/// use hugepool::uring::Ring;
/// use std::sync::Arc;
///
/// let Ok(mut ring) = Ring::new(&pool, 64) else {
///     return Ok(()); // no io_uring here
/// };
/// println!("{}", ring.report());
///
/// let file = Arc::new(std::fs::File::create_new(&path)?);
/// # std::fs::remove_file(&path)?;
/// let mut buffer = pool.allocate(4096, 4096)?;
/// buffer.fill(7);
/// ring.write(file, buffer, .., 0, 1)?; // all of it, to byte 0, by the name of 1
/// let done = ring.wait()?.unwrap();
/// assert_eq!((done.token, done.result?), (1, 4096));
/// # Ok(()) }
/// ```
pub struct Ring<F: AsFd + 'static = Arc<File>, M: Memory = Plain> {
    // These three are leaked where the kernel might still use them.
    queue: ManuallyDrop<Queue>,
    flights: ManuallyDrop<Flights<F>>,
    registry: ManuallyDrop<Registry<M>>,
    /// Empty in a child: see `sys::inherited`.
    seat: Seat,
    origin: Origin,
    depth: u32,
    /// Whether the kernel was asked to tell when somebody rings, and has not yet.
    watches: bool,
    memory: PhantomData<fn() -> M>,
}

impl<F: AsFd + 'static, M: Memory> fmt::Debug for Ring<F, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ring")
            .field("depth", &self.depth)
            .field("in_flight", &self.in_flight())
            .field("registry", &self.registry)
            .finish_non_exhaustive()
    }
}

fn os(call: &'static str) -> impl Fn(io::Error) -> RingError {
    move |error| RingError::Os(OsError::new(call, &error))
}

/// What a child of the ring's process is told.
fn forked() -> io::Error {
    WhyRejected::Forked.into()
}

/// The ring, if its kernel has the operations `Read` and `Write`. They came with Linux 5.6, as
/// the feature did that is asked for; before that each would fail with `EINVAL`.
fn able(ring: IoUring) -> io::Result<IoUring> {
    match ring.params().is_feature_rw_cur_pos() {
        true => Ok(ring),
        false => Err(io::Error::from_raw_os_error(libc::ENOSYS)),
    }
}

impl<F: AsFd + 'static, M: Memory> Ring<F, M> {
    /// A ring for up to `depth` operations at once, with as much of the pool's memory
    /// registered as the kernel allows: [`report`](Self::report) says how much. It counts as a
    /// handle of the pool.
    ///
    /// Enters the kernel, which faults in what it registers. May wait for a second if the
    /// kernel has no memory for some: see [`Registry`].
    ///
    /// # Errors
    ///
    /// [`RingError`] if there is none to be had. That memory is not registered is no error.
    pub fn new(pool: &Pool<M>, depth: u32) -> Result<Self, RingError> {
        Self::with_registry(Registry::new(pool), depth)
    }

    /// As [`new`](Self::new), with a table of buffers of another size. What `registry` knows
    /// of another ring it forgets.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new).
    pub fn with_registry(mut registry: Registry<M>, depth: u32) -> Result<Self, RingError> {
        let limit = MAX_DEPTH;
        if depth == 0 || depth > limit {
            return Err(RingError::Depth { depth, limit });
        }
        let seat = Seat::take().map_err(os("pthread_atfork"))?;
        let seat = seat.ok_or(RingError::TooManyRings { limit: SEATS })?;
        let made = IoUring::builder().dontfork().build(depth);
        let ring = made.and_then(able).map_err(|error| {
            seat.leave();
            os("io_uring_setup")(error)
        })?;
        // SAFETY: the ring has its descriptor open as long as this is borrowed.
        seat.set(unsafe { BorrowedFd::borrow_raw(ring.as_raw_fd()) });
        registry.restart();
        registry.refresh(&ring.submitter());
        Ok(Self {
            queue: ManuallyDrop::new(Queue::new(ring, depth)),
            flights: ManuallyDrop::new(Flights::new(depth)),
            registry: ManuallyDrop::new(registry),
            seat,
            origin: Origin::here(),
            depth,
            watches: false,
            memory: PhantomData,
        })
    }

    /// How many operations there can be at once.
    #[must_use]
    pub fn depth(&self) -> u32 {
        self.depth
    }

    /// How many operations were begun whose completion was not taken.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.flights.len()
    }

    /// How much of the pool's memory is registered, and why the rest is not.
    #[must_use]
    pub fn report(&self) -> &Report {
        self.registry.report()
    }

    /// The registry.
    #[must_use]
    pub fn registry(&self) -> &Registry<M> {
        &self.registry
    }

    /// Registers what the pool has and the ring does not, also what was refused before, and
    /// lets go of what was trimmed, so that its memory goes. See [`Registry::refresh`]; in a
    /// child of a fork nothing happens.
    pub fn refresh(&mut self) -> &Report {
        self.registry.refresh(&self.queue.submitter())
    }

    /// Reads into the bytes `range` of a buffer, from byte `offset` of `file` on. The end that
    /// `range` does not say is the buffer's length; it may go on to its capacity. Files that
    /// have no offsets, as pipes, are given 0.
    ///
    /// Never blocks, except once where the buffer is in memory that the pool got since: that
    /// is registered. Handed to the kernel by [`submit`](Self::submit) or
    /// [`wait`](Self::wait).
    ///
    /// # Errors
    ///
    /// [`Rejected`](super::Rejected), with everything in it: the ring is full, the range not in
    /// the buffer, the offset beyond what a file can have, or this is a child of the ring's
    /// process.
    pub fn read(
        &mut self,
        file: F,
        buffer: Buffer<M>,
        range: impl RangeBounds<usize>,
        offset: u64,
        token: u64,
    ) -> Result<(), super::Rejected<F, M>> {
        self.operate(Direction::Read, false, file, buffer, range, offset, token)
    }

    /// As [`read`](Self::read), into prefix zone and data in one: `range` counts from the first
    /// byte of the zone, as it does for [`write_with_prefix`](Self::write_with_prefix).
    ///
    /// # Errors
    ///
    /// As [`read`](Self::read).
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let builder = hugepool::Pool::builder().reserve(4096, 4096, 1).prefault(false);
    /// let pool = builder.prefix_zone(8).build()?;
    /// let Ok(mut ring) = hugepool::uring::Ring::new(&pool, 8) else {
    ///     return Ok(()); // no io_uring here
    /// };
    /// let zeroes = std::sync::Arc::new(std::fs::File::open("/dev/zero")?);
    /// let mut buffer = pool.allocate(4096, 4096)?;
    /// buffer.prefix_mut().copy_from_slice(b"a header");
    /// ring.read_with_prefix(zeroes, buffer, .., 0, 1)?;
    /// let done = ring.wait()?.unwrap();
    /// assert_eq!(done.result?, 8 + 4096);
    /// assert_eq!(done.buffer.prefix(), [0; 8]);
    /// # Ok(()) }
    /// ```
    pub fn read_with_prefix(
        &mut self,
        file: F,
        buffer: Buffer<M>,
        range: impl RangeBounds<usize>,
        offset: u64,
        token: u64,
    ) -> Result<(), super::Rejected<F, M>> {
        self.operate(Direction::Read, true, file, buffer, range, offset, token)
    }

    /// Writes the bytes `range` of a buffer to byte `offset` of `file` and on: as
    /// [`read`](Self::read).
    ///
    /// # Errors
    ///
    /// As [`read`](Self::read).
    pub fn write(
        &mut self,
        file: F,
        buffer: Buffer<M>,
        range: impl RangeBounds<usize>,
        offset: u64,
        token: u64,
    ) -> Result<(), super::Rejected<F, M>> {
        self.operate(Direction::Write, false, file, buffer, range, offset, token)
    }

    /// As [`write`](Self::write), of prefix zone and data in one: `range` counts from the
    /// first byte of the zone, so `..` is the zone and the buffer's length.
    ///
    /// # Errors
    ///
    /// As [`read`](Self::read).
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let path = std::env::temp_dir().join(format!("hugepool-prefix-{}", std::process::id()));
    /// # let builder = hugepool::Pool::builder().reserve(4096, 4096, 1).prefault(false);
    /// let pool = builder.prefix_zone(8).build()?;
    /// let Ok(mut ring) = hugepool::uring::Ring::new(&pool, 8) else {
    ///     return Ok(()); // no io_uring here
    /// };
    /// let file = std::sync::Arc::new(std::fs::File::create_new(&path)?);
    /// let mut buffer = pool.allocate(4096, 4096)?;
    /// buffer.prefix_mut().copy_from_slice(b"a header");
    /// ring.write_with_prefix(file, buffer, .., 0, 1)?;
    /// assert_eq!(ring.wait()?.unwrap().result?, 8 + 4096);
    /// # let written = std::fs::read(&path)?;
    /// # std::fs::remove_file(&path)?;
    /// assert_eq!(&written[..9], b"a header\0");
    /// # Ok(()) }
    /// ```
    pub fn write_with_prefix(
        &mut self,
        file: F,
        buffer: Buffer<M>,
        range: impl RangeBounds<usize>,
        offset: u64,
        token: u64,
    ) -> Result<(), super::Rejected<F, M>> {
        self.operate(Direction::Write, true, file, buffer, range, offset, token)
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "those of `read`, and which of the four"
    )]
    fn operate(
        &mut self,
        direction: Direction,
        with_prefix: bool,
        file: F,
        buffer: Buffer<M>,
        range: impl RangeBounds<usize>,
        offset: u64,
        token: u64,
    ) -> Result<(), super::Rejected<F, M>> {
        let flight = Flight {
            token,
            buffer: buffer.into_owned(),
            file,
        };
        let extent = Extent::of(&flight.buffer, with_prefix, &range);
        let begun = match extent {
            Ok(extent) => {
                let fd = flight.file.as_fd().as_raw_fd();
                self.begin(direction, extent, flight, fd, offset)
            }
            Err(error) => Err((WhyRejected::Range(error), flight)),
        };
        begun.map_err(|(why, flight)| super::Rejected {
            why,
            file: flight.file,
            buffer: Buffer::of(flight.buffer),
            token,
        })
    }

    /// Queues an operation. `extent` is one of the flight's buffer, and `fd` what its file
    /// lent.
    pub(super) fn begin(
        &mut self,
        direction: Direction,
        extent: Extent,
        flight: Flight<F>,
        fd: RawFd,
        offset: u64,
    ) -> Result<(), (WhyRejected, Flight<F>)> {
        if self.origin.is_forked() {
            return Err((WhyRejected::Forked, flight));
        }
        let limit = i64::MAX as u64;
        if offset > limit {
            return Err((WhyRejected::Offset { offset, limit }, flight));
        }
        let entry = self.entry(&flight.buffer);
        let operation = extent.operation(direction, fd, &flight.buffer, offset, entry);
        let depth = self.depth;
        let place =
            (self.flights.begin(flight)).map_err(|flight| (WhyRejected::Full { depth }, flight))?;
        // SAFETY: the flight has buffer and file until the operation is over, and the bytes are
        // there and nobody else's.
        unsafe { self.queue.push(operation.user_data(place.into())) };
        Ok(())
    }

    /// The entry that a buffer is in, which is looked up anew if the pool has grown.
    fn entry(&mut self, buffer: &Owned) -> Option<u16> {
        let mut found = self.registry.find(buffer);
        if found == Found::Unknown {
            self.registry.follow(&self.queue.submitter());
            found = self.registry.find(buffer);
        }
        match found {
            Found::Entry(entry) => Some(entry),
            Found::Unregistered | Found::Unknown => None,
        }
    }

    /// Hands everything that was begun to the kernel. What can be done at once, as a read of
    /// what is in memory, may be done within.
    ///
    /// # Errors
    ///
    /// What `io_uring_enter(2)` fails with, as `EAGAIN` where it has no memory for now. Nothing
    /// is lost: what was not handed over is by the next call.
    pub fn submit(&mut self) -> io::Result<()> {
        if self.origin.is_forked() {
            return Err(forked());
        }
        self.queue.submit()
    }

    /// The next operation that is over, if there is one. Enters no kernel, never blocks, and
    /// does not submit.
    pub fn try_complete(&mut self) -> Option<Completion<F, M>> {
        if self.origin.is_forked() {
            return None;
        }
        loop {
            let over = self.queue.next()?;
            match over.user_data() {
                CANCEL => {}
                WATCH => self.watches = false,
                place => {
                    // The kernel is done with it: it says so once for each operation.
                    let Some(flight) = self.flights.end(place) else {
                        continue;
                    };
                    return Some(Completion {
                        token: flight.token,
                        result: match over.result() {
                            error @ ..0 => Err(io::Error::from_raw_os_error(-error)),
                            bytes => Ok(bytes as usize),
                        },
                        buffer: Buffer::of(flight.buffer),
                        file: flight.file,
                    });
                }
            }
        }
    }

    /// Submits what was begun, and gives the next operation that is over, if need be after a
    /// wait; `None` if there are none. They complete in any order.
    ///
    /// # Errors
    ///
    /// As [`submit`](Self::submit). Nothing is lost.
    pub fn wait(&mut self) -> io::Result<Option<Completion<F, M>>> {
        loop {
            let over = self.try_complete();
            if over.is_some() {
                self.hand_over();
                return Ok(over);
            }
            if self.origin.is_forked() {
                return Err(forked());
            }
            if self.in_flight() == 0 {
                return Ok(None);
            }
            self.wait_any()?;
        }
    }

    /// Submits, where there is a completion to be had whatever becomes of it: an error is the
    /// next call's.
    fn hand_over(&mut self) {
        let _ = self.submit();
    }

    /// Asks the kernel to end what is under way. Each operation still has its completion:
    /// `ECANCELED`, or what became of it if it was too far.
    ///
    /// Handed over by [`submit`](Self::submit) or [`wait`](Self::wait).
    pub fn cancel(&mut self) {
        for place in self.flights.taken() {
            let cancel = opcode::AsyncCancel::new(place.into()).build();
            // SAFETY: it has no memory and no file.
            unsafe { self.queue.push(cancel.user_data(CANCEL)) };
        }
    }

    /// Has the next wait end when `bell` is readable. It stays open as long as the ring.
    pub(super) fn watch(&mut self, bell: BorrowedFd<'_>) {
        if !self.watches {
            let poll = opcode::PollAdd::new(types::Fd(bell.as_raw_fd()), libc::POLLIN as u32);
            // SAFETY: it has no memory, and the caller keeps the bell as long as the ring.
            unsafe { self.queue.push(poll.build().user_data(WATCH)) };
            self.watches = true;
        }
    }

    /// Whether nobody has rung since.
    pub(super) fn watches(&self) -> bool {
        self.watches
    }

    /// Submits what was begun, and returns when there is a completion, or somebody rang.
    pub(super) fn wait_any(&mut self) -> io::Result<()> {
        self.queue.wait()
    }

    /// Gives up all that the kernel was not handed: it does not let this process enter the
    /// ring any more.
    pub(super) fn give_up(&mut self, mut each: impl FnMut(Flight<F>)) {
        for operation in self.queue.shut() {
            if let Some(flight) = self.flights.end(operation) {
                each(flight);
            }
        }
    }

    /// Cancels what is under way and waits for it; false if that cannot be had. The files of
    /// what is over, and of what was not handed over, come to `files`.
    fn drain(&mut self, files: &mut Vec<F>) -> bool {
        if self.queue.is_shut() {
            return self.in_flight() == 0;
        }
        let forgotten = self.queue.forget();
        files.extend(forgotten.filter_map(|at| Some(self.flights.end(at)?.file)));
        self.cancel();
        while self.in_flight() > 0 {
            if let Some(over) = self.try_complete() {
                files.push(over.file);
            } else if let Err(error) = self.wait_any()
                && !is_transient(&error)
            {
                self.give_up(|flight| files.push(flight.file));
                return self.in_flight() == 0;
            }
        }
        true
    }
}

/// Whether the kernel may do later what it refused; waits a little if so.
pub fn is_transient(error: &io::Error) -> bool {
    let is = matches!(
        error.raw_os_error(),
        Some(libc::EAGAIN | libc::EBUSY | libc::ENOMEM)
    );
    if is {
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    is
}

impl<F: AsFd + 'static, M: Memory> Drop for Ring<F, M> {
    fn drop(&mut self) {
        let is_own = !self.origin.is_inherited();
        // Dropped when all else is done: somebody else's code, which may panic.
        let mut files = Vec::new();
        if is_own {
            if !self.drain(&mut files) {
                return;
            }
            // The kernel closes a ring some time after its last descriptor. Until then it would
            // have the pages, and a share of the limit. (Where reserved huge pages were unmapped
            // while a ring had them, whoever mapped some next was seen to be killed on 6.18.)
            // If it refuses, that is what becomes of them.
            let _ = self.registry.release(&self.queue.submitter());
            // Before the descriptor is closed.
            self.seat.leave();
            // SAFETY: not used any more. (A child has neither the mappings nor the descriptor,
            // and what is there may be its own.)
            unsafe { ManuallyDrop::drop(&mut self.queue) };
        }
        // SAFETY: not used any more. The kernel has nothing of the flights, for none are under
        // way; in a child it never had. The ring, which the registry is for, is closed.
        unsafe {
            ManuallyDrop::drop(&mut self.registry);
            ManuallyDrop::drop(&mut self.flights);
        }
    }
}
