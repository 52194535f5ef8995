//! Pools that clients open by name: the name's life.
//!
//! Owns: names, publications, and the two threads of each. Uses: `serve` for what one of
//! them does, `wire`, `peers`, `layout`, `error`, `sys`. Used by: `pool`, `vdi`, callers.
//!
//! ```text
//!   client ◀──socket──▶ serving thread ◀──channel──▶ answering thread ──▶ pool
//!                       (a table of its own)          (the program's table)
//! ```
//!
//! The channel is a connection that the program makes to an address which the kernel chose,
//! and which the serving thread takes from nobody but this process. It is the program's
//! only descriptor of a publication. When it is shut down both threads end.

use super::closing::Closing;
use super::error::ShareError;
use super::layout::Layout;
use super::peers::Peers;
use super::serve::Service;
use super::wire::{Answer, CONFIGURATION, QUESTION, Question};
use crate::append::Append;
use crate::sync::Arc;
use crate::sys::files;
use crate::sys::fork::{self, Origin};
use crate::sys::peer::Peer;
use crate::sys::robust::Held;
use crate::sys::signal::quiet_thread;
use crate::sys::socket::{self, Deadline};
use std::fmt;
use std::io;
use std::mem::ManuallyDrop;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// How long the two threads wait for each other at the start.
const LIMIT: Duration = Duration::from_secs(10);

/// What a source gives for a question.
pub(crate) enum Given<'a> {
    /// A segment: its memory, its states, its pool's status.
    Segment(&'a Layout, [BorrowedFd<'a>; 3]),
    /// There is no segment from that number on.
    NoMore,
    /// What the set is configured with.
    Configuration([u32; CONFIGURATION]),
}

/// Takes what is given.
pub(crate) type Give<'a> = &'a mut dyn FnMut(Given<'_>);

/// A name by which clients open a pool, until it is dropped. A child of a fork may drop
/// it, which does nothing.
pub struct Publication {
    channel: Arc<OwnedFd>,
    threads: Option<[JoinHandle<()>; 2]>,
    origin: Origin,
}

impl fmt::Debug for Publication {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Publication").finish_non_exhaustive()
    }
}

impl Drop for Publication {
    fn drop(&mut self) {
        let Some(threads) = self.threads.take() else {
            return;
        };
        if self.origin.is_inherited() {
            // The threads are the parent's.
            return std::mem::forget(threads);
        }
        end(&self.channel, threads);
    }
}

/// Ends what is at the two ends of `channel`.
fn end(channel: &OwnedFd, threads: impl IntoIterator<Item = JoinHandle<()>>) {
    socket::shut_down(channel.as_fd());
    for thread in threads {
        // A thread that panicked has ended as well.
        let _ = thread.join();
    }
}

/// The bytes of a name.
pub(super) fn name_bytes(name: &str) -> Result<Vec<u8>, ShareError> {
    let bytes = format!("hugepool/{name}").into_bytes();
    let limit = socket::MAX_NAME - "hugepool/".len();
    if name.is_empty() || name.len() > limit {
        return Err(ShareError::Name {
            given: name.len(),
            limit,
        });
    }
    Ok(bytes)
}

/// Lets `peers` have, under `name`, what `answer` gives for their questions.
pub(crate) fn publish(
    name: &str,
    peers: Peers,
    answer: impl Fn(Question, Give<'_>) -> Result<(), ShareError> + Send + 'static,
) -> Result<Publication, ShareError> {
    publish_by(name, peers, Service::listen, answer)
}

/// As `publish`, with what makes a socket that has the name listen.
pub(super) fn publish_by(
    name: &str,
    peers: Peers,
    listen: fn(BorrowedFd<'_>) -> Result<Closing, ShareError>,
    answer: impl Fn(Question, Give<'_>) -> Result<(), ShareError> + Send + 'static,
) -> Result<Publication, ShareError> {
    fork::watch().map_err(ShareError::system("pthread_atfork"))?;
    let name = name_bytes(name)?;
    let channel = socket::unconnected().map_err(ShareError::system("socket"))?;
    let (serving, private) = serve(name, peers, listen)?;
    let connected = socket::connect_to(channel.as_fd(), &private, Deadline::within(LIMIT));
    let connected = connected.and_then(|()| match is_own(channel.as_fd()) {
        true => Ok(Arc::new(channel)),
        false => Err(io::Error::from(io::ErrorKind::PermissionDenied)),
    });
    // If it is not, the serving thread ends when it has waited long enough.
    let channel = connected.map_err(ShareError::system("connect"))?;
    let own = Arc::clone(&channel);
    let answering = quiet_thread("hugepool-answer", move || answers(&own, answer));
    match answering {
        Ok(answering) => Ok(Publication {
            channel,
            threads: Some([serving, answering]),
            origin: Origin::here(),
        }),
        Err(error) => {
            end(&channel, [serving]);
            Err(ShareError::system("clone")(error))
        }
    }
}

/// Whether the other end is this process.
fn is_own(socket: BorrowedFd<'_>) -> bool {
    Peer::of(socket).is_ok_and(|peer| u32::try_from(peer.process) == Ok(std::process::id()))
}

/// Starts the thread that serves `peers` under `name`; where it waits for its channel.
fn serve(
    name: Vec<u8>,
    peers: Peers,
    listen: fn(BorrowedFd<'_>) -> Result<Closing, ShareError>,
) -> Result<(JoinHandle<()>, Vec<u8>), ShareError> {
    // One value: where it waits, or why it does not.
    let started = Arc::new(Append::default());
    let (its, publisher) = (Arc::clone(&started), thread::current());
    let serving = quiet_thread("hugepool-share", move || {
        let tell = |result: Result<Vec<u8>, ShareError>| {
            // Nobody else says anything.
            let _ = its.push(result, |_| Ok::<(), ()>(()));
            publisher.unpark();
        };
        match Start::new(&name, listen) {
            Ok((start, address)) => {
                tell(Ok(address));
                start.serve(peers);
            }
            Err(error) => tell(Err(error)),
        }
    })
    .map_err(ShareError::system("clone"))?;
    let result = loop {
        if let Some(result) = started.iter().next() {
            break result.clone();
        }
        if serving.is_finished() {
            break Err(ShareError::HungUp);
        }
        thread::park_timeout(Duration::from_millis(10));
    };
    match result {
        Ok(private) => Ok((serving, private)),
        Err(error) => {
            // It says so and ends.
            let _ = serving.join();
            Err(error)
        }
    }
}

/// What a serving thread has before it has its channel. Its sockets are not closed but by
/// the end of the thread, which does not linger: strangers may have connected.
struct Start {
    listener: ManuallyDrop<OwnedFd>,
    /// Where the channel is to be connected to.
    private: ManuallyDrop<OwnedFd>,
    closing: Closing,
    held: Option<Held>,
}

impl Start {
    /// Gives the calling thread a table of its own, and takes the name there. Also gives the
    /// address to which the channel is to be connected.
    fn new(
        name: &[u8],
        listen: fn(BorrowedFd<'_>) -> Result<Closing, ShareError>,
    ) -> Result<(Self, Vec<u8>), ShareError> {
        files::take_empty_table().map_err(ShareError::system("close_range"))?;
        let listener = socket::bind(name).map_err(|error| match error.kind() {
            io::ErrorKind::AddrInUse => ShareError::NameTaken,
            _ => ShareError::system("bind")(error),
        })?;
        let listener = ManuallyDrop::new(listener);
        let (private, address) = socket::listen_anywhere().map_err(ShareError::system("bind"))?;
        let start = Self {
            closing: listen(listener.as_fd())?,
            listener,
            private: ManuallyDrop::new(private),
            // Without it clients do not see that the server was killed until they ask.
            held: Held::by_this_thread().ok(),
        };
        Ok((start, address))
    }

    /// Serves `peers` once this process has connected its end of the channel.
    fn serve(mut self, peers: Peers) {
        let channel = self.channel();
        socket::shut_down(self.private.as_fd());
        match channel {
            Some(channel) => {
                let listener = ManuallyDrop::into_inner(self.listener);
                Service::new(listener, channel, peers, self.held, self.closing).run();
            }
            None => socket::shut_down(self.listener.as_fd()),
        }
    }

    fn channel(&mut self) -> Option<OwnedFd> {
        let deadline = Deadline::within(LIMIT);
        loop {
            let ready = socket::wait(&[self.private.as_fd()], Some(deadline.left())).ok()?;
            if ready != [true] {
                return None;
            }
            let other = socket::accept_waiting(self.private.as_fd()).ok()?;
            if is_own(other.as_fd()) {
                return Some(other);
            }
            socket::shut_down(other.as_fd());
            self.closing.take(other);
        }
    }
}

/// Answers what comes over `channel` until it ends.
fn answers(channel: &OwnedFd, answer: impl Fn(Question, Give<'_>) -> Result<(), ShareError>) {
    let mut bytes = [0; QUESTION];
    while let Ok((len, _)) = socket::receive(channel.as_fd(), &mut bytes) {
        let Some(question) = Question::from_bytes(&bytes[..len]) else {
            return;
        };
        let say = |answer: Answer, descriptors: &[BorrowedFd<'_>]| {
            socket::send(channel.as_fd(), &answer.to_bytes(), descriptors).is_ok()
        };
        let mut said = false;
        let given = answer(question, &mut |given| {
            said = match given {
                Given::Segment(layout, descriptors) => say(Answer::Segment(*layout), &descriptors),
                Given::NoMore => say(Answer::NoMore, &[]),
                Given::Configuration(words) => say(Answer::Configuration(words), &[]),
            }
        });
        // Or its descriptors could not be sent.
        let instead = given
            .err()
            .map_or(Answer::Failed, |error| Answer::of(&error));
        if !said && !say(instead, &[]) {
            return;
        }
    }
}
