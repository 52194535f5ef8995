//! Reading and writing by io_uring, with the pool's memory registered.
//!
//! Owns whether it is done so, and the rings: one for each thread that has some, made before the threads are. `write`
//! writes stripes, `ahead` reads stripes and large files. `backup` and `session` make rings here; who has none reads and
//! writes by calls that wait.

mod ahead;
mod write;

use std::io;
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use hugepool::Pool;
use hugepool::uring::{Completion, Registry, RingError, WhyUnregistered};

pub use ahead::{Ahead, Fetched, MOST as READS, Span};
pub use write::write;

use super::buffers::{Buffers, Origin};
use super::options::{CommonOptions, Io};
use super::place::Where;
use super::report;
use crate::failure::Failure;

type Ring = hugepool::uring::Ring;

/// Operations that a ring has at once. More keep no disk busier, and it is more than most runs have buffers.
const DEPTH: u32 = 64;

/// Threads that write stripes by a ring through the cache, at the most: each write is a copy.
const WRITERS: usize = 4;

/// How many threads write so many stripes by a ring: past the cache one, which has many writes under way.
pub fn writers(stripes: usize, direct: bool) -> usize {
    if direct { 1 } else { stripes.min(WRITERS) }
}

/// Refuses what cannot be, whatever the kernel says.
pub fn check(options: &CommonOptions, place: Where<'_>) -> Result<(), Failure> {
    if let (Io::Uring, Where::Store(url)) = (options.io, place) {
        return Err(Failure::input(format!(
            "--io uring: {url} is an object store, and has no files for io_uring"
        )));
    }
    match (options.io, options.buffers_from) {
        (Io::Auto | Io::Threads, _) | (Io::Uring, Origin::Pool) => Ok(()),
        (Io::Uring, from) => Err(Failure::input(format!(
            "--io uring needs --buffers-from pool, whose memory is registered with the kernel, and this is --buffers-from {from}"
        ))),
    }
}

/// Rings that no thread has yet. Without any, threads wait for each read and write.
pub struct Rings(Mutex<Vec<Ring>>);

impl Rings {
    pub fn none() -> Rings {
        Rings(Mutex::new(Vec::new()))
    }

    /// As many as are wanted, or none: where threads are to do it, or where that was left open and either `better` says
    /// no or the kernel does.
    pub fn make<B: Buffers>(
        options: &CommonOptions,
        buffers: &B,
        better: bool,
        count: usize,
    ) -> Result<Rings, Failure> {
        let pool = match (options.io, buffers.pool()) {
            (Io::Threads, _) | (_, None) => return Ok(Rings::none()),
            (Io::Auto, _) if !better => return Ok(Rings::none()),
            (Io::Auto | Io::Uring, Some(pool)) => pool,
        };
        match all(pool, count) {
            Ok(rings) => Ok(Rings(Mutex::new(rings))),
            Err(_) if options.io == Io::Auto => Ok(Rings::none()),
            Err(error) => Err(Failure::run(format!(
                "no io_uring (--io uring): {error}; --io threads does without"
            ))),
        }
    }

    /// One of them, if there is one left.
    pub fn take(&self) -> Option<Ring> {
        let mut rings = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        rings.pop()
    }

    /// What reads and writes, in a word.
    pub fn name(&self) -> &'static str {
        if self.is_empty() { "threads" } else { "uring" }
    }

    pub fn is_empty(&self) -> bool {
        let rings = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        rings.is_empty()
    }
}

/// Makes rings, and says once if not all memory is registered with each, or if there are fewer.
fn all(pool: &Pool, count: usize) -> Result<Vec<Ring>, RingError> {
    let mut rings: Vec<Ring> = Vec::new();
    let mut why = None;
    while rings.len() < count {
        // All rings of a user share the limit. One without a table does not wait for what nobody gives back.
        let spent = matches!(
            why,
            Some(WhyUnregistered::Memory { .. } | WhyUnregistered::NoTable { .. })
        );
        let made = match (rings.is_empty(), spent) {
            (true, _) => first(pool),
            (false, false) => Ring::new(pool, DEPTH),
            (false, true) => Ring::with_registry(Registry::with_entries(pool, 0), DEPTH),
        };
        let ring = match made {
            Ok(ring) => ring,
            Err(error) if rings.is_empty() => return Err(error),
            Err(error) => {
                let there = rings.len();
                report::notes(&[format!(
                    "io_uring: {there} of {count} rings: {error}; threads do the rest"
                )]);
                break;
            }
        };
        if why.is_none() {
            why = ring.report().why;
            if why.is_some() {
                report::notes(&[format!(
                    "io_uring: {}; what is not is read and written all the same",
                    ring.report()
                )]);
            }
        }
        rings.push(ring);
    }
    // The first one has the most memory registered, and is taken first.
    rings.reverse();
    Ok(rings)
}

/// The first ring. Those of a process that has just ended have their share of the limit for some tenths of a second
/// more.
fn first(pool: &Pool) -> Result<Ring, RingError> {
    const TRIES: usize = 50;
    for _ in 0..TRIES {
        match Ring::new(pool, DEPTH) {
            Err(RingError::Os(error)) if error.number == libc::ENOMEM => {
                thread::sleep(Duration::from_millis(20));
            }
            other => return other,
        }
    }
    Ring::new(pool, DEPTH)
}

/// Submits what was begun, and gives the next operation that is over; `None`: there are none. What the kernel refuses
/// for now it is asked for again.
fn wait(ring: &mut Ring) -> io::Result<Option<Completion>> {
    loop {
        match ring.wait() {
            Err(error) if is_transient(&error) => thread::sleep(Duration::from_millis(1)),
            other => return other,
        }
    }
}

/// Whether what failed may do when it is tried again.
fn is_transient(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::EINTR | libc::EAGAIN | libc::EBUSY)
    )
}
