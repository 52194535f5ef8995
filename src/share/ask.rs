//! A client's side of a name: what it asks its server.
//!
//! Owns: a connection, and the thread that has it. Uses: `wire`, `peers`, `name`, `layout`, `error`, `sys`. Used by: the client.
//!
//! A server may be hostile: what it sends may take as long to close as it likes (see
//! `sys::files`), or to be looked at. So a thread that has a table of descriptors of its
//! own connects, asks, and maps what comes; nothing that comes is in the program's table,
//! and the end of the thread closes it. Who has the thread ask waits for its result, and
//! not longer than it said: what comes later is dropped.

use super::error::ShareError;
use super::layout::{Export, Layout};
use super::mapped::map_page;
use super::name::Name;
use super::peers::Peers;
use super::places::PLACES;
use super::wire::{ANSWER, Answer, CONFIGURATION, Question};
use crate::sync::{Arc, AtomicPtr, Ordering};
use crate::sys::bell::Bell;
use crate::sys::files;
use crate::sys::memfd;
use crate::sys::robust::Watched;
use crate::sys::signal::quiet_thread;
use crate::sys::socket::{self, Deadline, Strange};
use std::io;
use std::mem::ManuallyDrop;
use std::os::fd::{AsFd, OwnedFd};
use std::ptr;
use std::time::{Duration, Instant};

/// How long a client waits for its server, unless it says so.
pub(super) const LIMIT: Duration = Duration::from_secs(10);
/// How long a client waits before it asks again whether the set is configured.
const AGAIN: Duration = Duration::from_millis(10);

/// Whom a client asks.
#[derive(Clone)]
pub(super) struct Server {
    name: Vec<u8>,
    peers: Peers,
}

/// What one thread gives another, once.
struct Handoff<T>(AtomicPtr<T>);

impl<T> Handoff<T> {
    fn put(&self, value: T) {
        // Release: who takes the pointer sees what it points to.
        let before = self
            .0
            .swap(Box::into_raw(Box::new(value)), Ordering::Release);
        debug_assert!(before.is_null(), "it is given once");
    }

    fn take(&self) -> Option<T> {
        // Acquire: see `put`.
        let value = self.0.swap(ptr::null_mut(), Ordering::Acquire);
        // SAFETY: a pointer that is not null came from a box, and who has swapped it out
        // has it alone.
        (!value.is_null()).then(|| *unsafe { Box::from_raw(value) })
    }
}

impl<T> Drop for Handoff<T> {
    fn drop(&mut self) {
        drop(self.take());
    }
}

impl Server {
    pub(super) fn new(name: Name<'_>, peers: &Peers) -> Result<Self, ShareError> {
        Ok(Self {
            name: name.bytes()?,
            peers: peers.clone(),
        })
    }

    /// What `talk` gives, which a thread with a table of its own does with a connection. Not
    /// later than `limit` from now: then [`ShareError::TimedOut`].
    pub(super) fn talk<T: Send + 'static>(
        &self,
        limit: Duration,
        talk: impl FnOnce(&Connection) -> Result<T, ShareError> + Send + 'static,
    ) -> Result<T, ShareError> {
        let deadline = Deadline::within(limit);
        let place = PLACES.take(deadline).ok_or_else(|| timed_out(limit))?;
        // And who waits for it.
        let result = Arc::new((Handoff(AtomicPtr::default()), Bell::default()));
        let (its, server) = (Arc::clone(&result), self.clone());
        let asker = quiet_thread("hugepool-ask", move || {
            place.occupy();
            let (name, peers) = (&server.name, &server.peers);
            let talked = Connection::new(name, peers, limit, deadline)
                .and_then(|connection| talk(&connection));
            its.0.put(talked);
            its.1.ring();
        });
        drop(asker.map_err(ShareError::system("clone"))?);
        loop {
            // Before the look at what it rings for.
            let rings = result.1.rings();
            if let Some(result) = result.0.take() {
                return result;
            }
            let left = deadline.left();
            if left.is_zero() {
                return Err(timed_out(limit));
            }
            result.1.sleep(rings, Instant::now().checked_add(left));
        }
    }

    /// What the set is configured with. If it is not yet: waits.
    pub(super) fn configuration(
        &self,
        limit: Duration,
    ) -> Result<[u32; CONFIGURATION], ShareError> {
        self.talk(limit, |connection| connection.configuration())
    }
}

fn timed_out(limit: Duration) -> ShareError {
    ShareError::TimedOut {
        limit: limit.as_millis().try_into().unwrap_or(u64::MAX),
    }
}

/// A client's side of a connection, in a thread with a table of its own. Nothing of it is
/// closed but by the end of the thread.
pub(super) struct Connection {
    socket: ManuallyDrop<OwnedFd>,
    limit: Duration,
    deadline: Deadline,
}

impl Connection {
    /// Connects to the server of `name`, which must be one of `peers`.
    fn new(
        name: &[u8],
        peers: &Peers,
        limit: Duration,
        deadline: Deadline,
    ) -> Result<Self, ShareError> {
        files::take_empty_table().map_err(ShareError::system("close_range"))?;
        let socket = socket::unconnected().map_err(ShareError::system("socket"))?;
        let connection = Self {
            socket: ManuallyDrop::new(socket),
            limit,
            deadline,
        };
        let socket = connection.socket.as_fd();
        socket::connect_to(socket, name, deadline).map_err(|error| match error.kind() {
            io::ErrorKind::ConnectionRefused => ShareError::NotPublished,
            _ => connection.refused("connect")(error),
        })?;
        peers.check(socket)?;
        match connection.receive()? {
            (Answer::Welcome, _) => Ok(connection),
            _ => Err(ShareError::Forged { what: "greeting" }),
        }
    }

    /// The word by which to see whether the server was killed, if it has one.
    pub(super) fn word(&self) -> Result<Option<Watched>, ShareError> {
        match self.ask(Question::Server)? {
            (Answer::Server, descriptors) => descriptors.first().map(word).transpose(),
            _ => Err(ShareError::Forged { what: "answer" }),
        }
    }

    /// What a call ended with.
    fn refused(&self, call: &'static str) -> impl FnOnce(io::Error) -> ShareError {
        let limit = self.limit;
        move |error| match error.kind() {
            io::ErrorKind::WouldBlock => timed_out(limit),
            io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset => ShareError::HungUp,
            _ => ShareError::system(call)(error),
        }
    }

    fn receive(&self) -> Result<(Answer, Vec<Strange>), ShareError> {
        let mut bytes = [0; ANSWER];
        let (len, descriptors) =
            socket::receive_until(self.socket.as_fd(), &mut bytes, self.deadline)
                .map_err(self.refused("recvmsg"))?;
        match len {
            0 => Err(ShareError::HungUp),
            _ => {
                // Whom a refusal is for knows which pool that is.
                let answer = Answer::from_bytes(&bytes[..len])?.checked(0)?;
                Ok((answer, descriptors))
            }
        }
    }

    fn ask(&self, question: Question) -> Result<(Answer, Vec<Strange>), ShareError> {
        socket::send_until(self.socket.as_fd(), &question.to_bytes(), self.deadline)
            .map_err(self.refused("sendmsg"))?;
        self.receive()
    }

    /// Gives every segment from `number` on, of the pool `pool`, or if that is 0 of whichever
    /// there is, to `take`, in their order.
    pub(super) fn segments(
        &self,
        mut number: u64,
        pool: u64,
        mut take: impl FnMut(Export) -> Result<(), ShareError>,
    ) -> Result<(), ShareError> {
        loop {
            let asked = self.ask(Question::Segment { number, pool });
            let (layout, descriptors) = match asked.map_err(|error| meant(error, pool))? {
                (Answer::Segment(layout), descriptors) => (layout, descriptors),
                (Answer::NoMore, _) => return Ok(()),
                _ => return Err(ShareError::Forged { what: "answer" }),
            };
            let given = layout.number();
            let next = given.checked_add(1).filter(|_| given >= number);
            number = next.ok_or(ShareError::Forged { what: "number" })?;
            take(export(layout, descriptors)?)?;
        }
    }

    /// See `Server::configuration`.
    fn configuration(&self) -> Result<[u32; CONFIGURATION], ShareError> {
        loop {
            match self.ask(Question::Configuration) {
                Ok((Answer::Configuration(words), _)) => return Ok(words),
                Ok(_) => return Err(ShareError::Forged { what: "answer" }),
                Err(ShareError::NotConfigured) => match self.deadline.left() {
                    Duration::ZERO => return Err(timed_out(self.limit)),
                    left => std::thread::sleep(left.min(AGAIN)),
                },
                Err(error) => return Err(error),
            }
        }
    }
}

/// With the pool that was asked for.
fn meant(error: ShareError, needed: u64) -> ShareError {
    match error {
        ShareError::OtherPool { given, .. } => ShareError::OtherPool { given, needed },
        error => error,
    }
}

/// A segment as it came.
fn export(layout: Layout, descriptors: Vec<Strange>) -> Result<Export, ShareError> {
    let given = descriptors.len();
    let [memory, states, status] = <[Strange; 3]>::try_from(descriptors)
        .map_err(|_| ShareError::Descriptors { given })?
        .map(|descriptor| {
            // What is no such memory is not closed here.
            match memfd::is_size_sealed(descriptor.as_fd()) {
                true => Ok(ManuallyDrop::into_inner(descriptor)),
                false => Err(ShareError::NotSealed),
            }
        });
    Ok(Export {
        layout,
        memory: memory?,
        states: states?,
        status: status?,
    })
}

/// The word behind a descriptor.
fn word(descriptor: &Strange) -> Result<Watched, ShareError> {
    let page = map_page(descriptor.as_fd())?;
    Watched::new(page).ok_or(ShareError::Forged { what: "answer" })
}

#[cfg(test)]
mod tests {
    use super::super::serve::tests::{SOON, lingering, unread};
    use super::super::wire::QUESTION;
    use super::*;
    use std::os::fd::AsRawFd;
    use std::thread;

    /// What a server says to its one client, with how many descriptors.
    type Said = (Answer, usize);

    /// A server that greets with `greeting` and answers with `answers`, each with descriptors
    /// whose last close takes an hour, and then says nothing more. Ends when its client does.
    fn hostile(name: &str, greeting: Said, answers: &[Said]) -> thread::JoinHandle<()> {
        let listener = socket::bind(&Name::from(name).bytes().unwrap()).unwrap();
        socket::listen(listener.as_fd()).unwrap();
        let (answers, unread) = (answers.to_vec(), unread());
        thread::spawn(move || {
            let client = socket::accept_waiting(listener.as_fd()).unwrap();
            let number = client.as_raw_fd();
            let say = |(answer, count): Said| {
                // The last ones are the client's to close, or of this thread, which ends.
                let sayer = thread::spawn(move || {
                    let client = ManuallyDrop::new(files::take_table_with(number).unwrap());
                    let streams: Vec<_> = (0..count).map(|_| lingering(unread)).collect();
                    let descriptors: Vec<_> = streams.iter().map(|stream| stream.as_fd()).collect();
                    socket::send(client.as_fd(), &answer.to_bytes(), &descriptors).is_ok()
                });
                sayer.join().unwrap()
            };
            let mut question = [0; QUESTION];
            let mut asked = || socket::receive(client.as_fd(), &mut question);
            if say(greeting) {
                let mut answers = answers.into_iter();
                while asked().is_ok_and(|(len, _)| len > 0) {
                    answers.next().map(say);
                }
            }
        })
    }

    fn opened(name: &str, limit: Duration) -> Result<(), ShareError> {
        let server = Server::new(name.into(), &Peers::default())?;
        server.talk(limit, |connection| {
            connection.word()?;
            connection.segments(1, 0, |_| Ok(()))?;
            connection.configuration().map(drop)
        })
    }

    #[test]
    fn a_server_that_sends_what_takes_long_to_close_keeps_no_client_waiting() {
        let cases: [(Said, &[Said], ShareError); 4] = [
            (
                (Answer::Welcome, 1),
                &[(Answer::Server, 1)],
                ShareError::NotSealed,
            ),
            ((Answer::Refused, 3), &[], ShareError::Refused),
            (
                (Answer::Welcome, 2),
                &[
                    (Answer::Server, 0),
                    (Answer::NoMore, 3),
                    (Answer::NoMore, 3),
                ],
                ShareError::Forged { what: "answer" },
            ),
            (
                (Answer::Welcome, 0),
                &[
                    (Answer::Server, 0),
                    (Answer::NoMore, 2),
                    (Answer::Aborted, 2),
                ],
                ShareError::Aborted,
            ),
        ];
        for (at, (greeting, answers, error)) in cases.into_iter().enumerate() {
            let name = format!("hostile {at} {}", std::process::id());
            // A client that waited for its descriptors would be out of time.
            let server = hostile(&name, greeting, answers);
            assert_eq!(opened(&name, SOON), Err(error));
            server.join().unwrap();
        }
    }

    #[test]
    fn a_client_waits_no_longer_than_it_said_whatever_the_server_does() {
        let limit = Duration::from_millis(200);
        let timed_out = ShareError::TimedOut { limit: 200 };
        let cases: [(Said, &[Said]); 3] = [
            ((Answer::Welcome, 0), &[]),
            ((Answer::Welcome, 0), &[(Answer::Server, 0)]),
            // Not configured, for ever.
            (
                (Answer::Welcome, 0),
                &[
                    (Answer::Server, 0),
                    (Answer::NoMore, 0),
                    (Answer::NotConfigured, 0),
                ],
            ),
        ];
        for (at, (greeting, answers)) in cases.into_iter().enumerate() {
            // A name each: a thread of another test may hold the last one's socket while it
            // takes a table of its own.
            let name = format!("silent {at} {}", std::process::id());
            let server = hostile(&name, greeting, answers);
            assert_eq!(opened(&name, limit), Err(timed_out));
            // On a busy machine it may be out of time before it has connected, and the server
            // waits for a client.
            let socket = socket::unconnected().unwrap();
            let path = Name::from(name.as_str()).bytes().unwrap();
            let late = socket::connect_to(socket.as_fd(), &path, Deadline::within(SOON));
            drop((socket, late));
            server.join().unwrap();
        }
    }
}
