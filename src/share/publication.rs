//! Pools that clients open by name: the name's life.
//!
//! Owns: publications, and the two threads of each. Uses: `name`, `serve` for what one of
//! them does, `wire`, `peers`, `layout`, `error`, `sys`. Used by: `pool`, `vdi`, callers.
//!
//! ```text
//!   client ◀──socket──▶ serving thread ◀──channel──▶ answering thread ──▶ pool
//!                       (a table of its own)          (the program's table)
//! ```
//!
//! The channel is a pair of sockets. The serving thread takes its end with it into its own
//! table; the other is the program's only descriptor of a publication. When it is shut down
//! both threads end.

use super::closing::Closing;
use super::error::ShareError;
use super::layout::Layout;
use super::name::Name;
use super::peers::Peers;
use super::serve::Service;
use super::wire::{Answer, CONFIGURATION, QUESTION, Question};
use crate::append::Append;
use crate::sync::Arc;
use crate::sys::bell::Bell;
use crate::sys::files;
use crate::sys::fork::{self, Origin};
use crate::sys::signal::{Thread, quiet_thread};
use crate::sys::socket;
use std::fmt;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

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

/// A name by which clients open a pool, until it is dropped: from then on those that have
/// opened it map nothing new, unless they find the same pool there again
/// ([`Client::refresh`](super::Client::refresh)). A child of a fork may drop it, which does
/// nothing.
#[must_use = "a publication that is dropped ends: the name is free again at once"]
pub struct Publication {
    channel: Arc<OwnedFd>,
    threads: Option<[Thread; 2]>,
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
fn end(channel: &OwnedFd, threads: impl IntoIterator<Item = Thread>) {
    socket::shut_down(channel.as_fd());
    threads.into_iter().for_each(Thread::join);
}

/// Lets `peers` have, under `name`, what `answer` gives for their questions.
pub(crate) fn publish(
    name: Name<'_>,
    peers: Peers,
    answer: impl Fn(Question, Give<'_>) -> Result<(), ShareError> + Send + 'static,
) -> Result<Publication, ShareError> {
    publish_by(name, peers, Service::listen, answer)
}

/// As `publish`, with what makes a socket that has the name listen.
pub(super) fn publish_by(
    name: Name<'_>,
    peers: Peers,
    listen: fn(BorrowedFd<'_>) -> Result<Closing, ShareError>,
    answer: impl Fn(Question, Give<'_>) -> Result<(), ShareError> + Send + 'static,
) -> Result<Publication, ShareError> {
    fork::watch().map_err(ShareError::system("pthread_atfork"))?;
    let name = name.bytes()?;
    let (channel, theirs) = socket::pair().map_err(ShareError::system("socketpair"))?;
    let serving = serve(name, peers, theirs, listen)?;
    let channel = Arc::new(channel);
    let own = Arc::clone(&channel);
    let answering = quiet_thread("hugepool-answer", move || {
        answers(&own, answer);
        // However it ended: nobody is served without it.
        socket::shut_down(own.as_fd());
    });
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

/// Starts the thread that serves `peers` under `name`, and takes `channel` into its own table.
fn serve(
    name: Vec<u8>,
    peers: Peers,
    channel: OwnedFd,
    listen: fn(BorrowedFd<'_>) -> Result<Closing, ShareError>,
) -> Result<Thread, ShareError> {
    // One value: that it serves, or why it does not; and who waits for that.
    let started = Arc::new((Append::default(), Bell::default()));
    let its = Arc::clone(&started);
    // In the program's table until the thread has said that it has a copy, or has ended.
    let number = channel.as_raw_fd();
    let serving = quiet_thread("hugepool-share", move || {
        let tell = |result: Result<(), ShareError>| {
            // Nobody else says anything.
            let _ = its.0.push(result, |_| Ok::<(), ()>(()));
            its.1.ring();
        };
        let own = files::take_table_with(number);
        let service = own.map_err(ShareError::system("close_range"));
        let service = service.and_then(|channel| Service::start(&name, channel, peers, listen));
        match service {
            Ok(service) => {
                tell(Ok(()));
                service.run();
            }
            Err(error) => tell(Err(error)),
        }
    })
    .map_err(ShareError::system("clone"))?;
    let result = loop {
        // Both before the look at what they are about.
        let (rings, has_ended) = (started.1.rings(), Arc::strong_count(&started) == 1);
        if let Some(result) = started.0.iter().next() {
            break *result;
        }
        if has_ended {
            break Err(ShareError::HungUp);
        }
        let soon = Instant::now() + Duration::from_millis(10);
        started.1.sleep(rings, Some(soon));
    };
    drop(channel);
    match result {
        Ok(()) => Ok(serving),
        Err(error) => {
            // It says so and ends.
            serving.join();
            Err(error)
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
