//! Pools that clients open by name.
//!
//! Owns: names, what the two sides say to each other, and the client's side. Uses: `serve`
//! for the server's, `layout`, `error`, `sys`. Used by: callers, the client.
//!
//! ```text
//!   client                          server
//!                             ◀──── whether it may ask
//!   a slot                    ────▶
//!                             ◀──── the first segment from that slot on: its layout and
//!                                   two descriptors; or a word that says why there is none
//! ```
//!
//! Both look who is at the other end (`SO_PEERCRED`) before they say anything. A client
//! stays connected while it asks, and waits a limited time for each answer.

use super::error::ShareError;
use super::layout::{Export, Layout};
use super::serve::Service;
use crate::sys::fork::{self, Origin};
use crate::sys::signal::quiet_thread;
use crate::sys::socket::{self, Deadline, Peer};
use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::thread::JoinHandle;
use std::time::Duration;

/// How long a client waits for an answer.
const LIMIT: Duration = Duration::from_secs(10);

/// What the server says where it sends no segment.
#[derive(Clone, Copy)]
#[repr(u32)]
pub(super) enum Word {
    /// Ask.
    Welcome = 1,
    /// There is no segment from that slot on.
    NoMore = 2,
    /// [`ShareError::Refused`].
    Refused = 3,
    /// [`ShareError::NotConfigured`].
    NotConfigured = 4,
    /// [`ShareError::Aborted`].
    Aborted = 5,
}

impl Word {
    pub(super) fn bytes(self) -> [u8; 4] {
        (self as u32).to_le_bytes()
    }
}

/// Who may be at the other end. By default, this process's own user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peers {
    users: Vec<u32>,
    groups: Vec<u32>,
}

impl Default for Peers {
    fn default() -> Self {
        Self {
            users: vec![socket::own_user()],
            groups: Vec::new(),
        }
    }
}

impl Peers {
    /// Also this user.
    #[must_use]
    pub fn user(mut self, user: u32) -> Self {
        self.users.push(user);
        self
    }

    /// Also whose group (not one of several supplementary ones) this is.
    #[must_use]
    pub fn group(mut self, group: u32) -> Self {
        self.groups.push(group);
        self
    }

    pub(super) fn check(&self, socket: BorrowedFd<'_>) -> Result<Peer, ShareError> {
        let peer = socket::peer(socket).map_err(ShareError::system("getsockopt"))?;
        let Peer { user, group, .. } = peer;
        match self.users.contains(&user) || self.groups.contains(&group) {
            true => Ok(peer),
            false => Err(ShareError::Peer { user, group }),
        }
    }
}

/// A name by which clients open a pool, until it is dropped. A child of a fork may drop
/// it, which does nothing.
pub struct Publication {
    /// Closed to end the thread.
    stop: Option<OwnedFd>,
    thread: Option<JoinHandle<()>>,
    origin: Origin,
}

impl fmt::Debug for Publication {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Publication").finish_non_exhaustive()
    }
}

impl Drop for Publication {
    fn drop(&mut self) {
        let (stop, thread) = (self.stop.take(), self.thread.take());
        if self.origin.is_inherited() {
            // The thread is the parent's.
            std::mem::forget(thread);
            return;
        }
        // A child of a fork may have it as well.
        if let Some(stop) = stop {
            socket::shut_down(stop.as_fd());
        }
        if let Some(thread) = thread {
            // A thread that panicked has ended as well.
            let _ = thread.join();
        }
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

/// Lets `peers` have, under `name`, what `export` gives: the first segment from a slot on.
pub(crate) fn publish(
    name: &str,
    peers: Peers,
    export: impl Fn(u32) -> Result<Option<Export>, ShareError> + Send + 'static,
) -> Result<Publication, ShareError> {
    fork::watch().map_err(ShareError::system("pthread_atfork"))?;
    let listener = socket::bind(&name_bytes(name)?).map_err(|error| match error.kind() {
        io::ErrorKind::AddrInUse => ShareError::NameTaken,
        _ => ShareError::system("bind")(error),
    })?;
    let (stop, stopped) = socket::pair().map_err(ShareError::system("socketpair"))?;
    let service = Service::new(listener, stopped, peers, export)?;
    let thread = quiet_thread("hugepool-share", move || service.run())
        .map_err(ShareError::system("clone"))?;
    Ok(Publication {
        stop: Some(stop),
        thread: Some(thread),
        origin: Origin::here(),
    })
}

/// Whom a client asks.
pub(super) struct Server {
    name: Vec<u8>,
    peers: Peers,
}

impl Server {
    pub(super) fn new(name: &str, peers: &Peers) -> Result<Self, ShareError> {
        Ok(Self {
            name: name_bytes(name)?,
            peers: peers.clone(),
        })
    }

    /// Gives every segment from `slot` on to `take`, in their order.
    pub(super) fn segments(
        &self,
        mut slot: u32,
        mut take: impl FnMut(Export) -> Result<(), ShareError>,
    ) -> Result<(), ShareError> {
        let connection = self.connect()?;
        while let Some(export) = connection.ask(slot)? {
            let slots = export.layout.slots();
            if slots.start < slot {
                return Err(ShareError::Forged { what: "slots" });
            }
            slot = slots.end;
            take(export)?;
        }
        Ok(())
    }

    fn connect(&self) -> Result<Connection, ShareError> {
        let socket = socket::connect(&self.name, Deadline::within(LIMIT)).map_err(|error| {
            match error.kind() {
                io::ErrorKind::ConnectionRefused => ShareError::NotPublished,
                _ => refused("connect")(error),
            }
        })?;
        self.peers.check(socket.as_fd())?;
        let connection = Connection(socket);
        match connection.receive(&mut [0; size_of::<u32>()])? {
            Answer::Word(word) if word == Word::Welcome as u32 => Ok(connection),
            _ => Err(ShareError::Forged { what: "greeting" }),
        }
    }
}

/// What a call on a client's socket ended with.
fn refused(call: &'static str) -> impl FnOnce(io::Error) -> ShareError {
    move |error| match error.kind() {
        io::ErrorKind::WouldBlock => ShareError::TimedOut {
            limit: LIMIT.as_millis() as u64,
        },
        io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset => ShareError::HungUp,
        _ => ShareError::system(call)(error),
    }
}

/// A client's side of a connection.
struct Connection(OwnedFd);

/// What the server said.
enum Answer {
    Word(u32),
    /// So many bytes, with descriptors.
    Segment(usize, Vec<OwnedFd>),
}

impl Connection {
    fn receive(&self, bytes: &mut [u8]) -> Result<Answer, ShareError> {
        let (len, descriptors) =
            socket::receive_until(self.0.as_fd(), bytes, Deadline::within(LIMIT))
                .map_err(refused("recvmsg"))?;
        match <[u8; 4]>::try_from(&bytes[..len]) {
            Ok(word) => match u32::from_le_bytes(word) {
                word if word == Word::Refused as u32 => Err(ShareError::Refused),
                word if word == Word::NotConfigured as u32 => Err(ShareError::NotConfigured),
                word if word == Word::Aborted as u32 => Err(ShareError::Aborted),
                word => Ok(Answer::Word(word)),
            },
            Err(_) if len == 0 => Err(ShareError::HungUp),
            Err(_) => Ok(Answer::Segment(len, descriptors)),
        }
    }

    /// The first segment from `slot` on.
    fn ask(&self, slot: u32) -> Result<Option<Export>, ShareError> {
        let socket = self.0.as_fd();
        socket::send_until(socket, &slot.to_le_bytes(), Deadline::within(LIMIT))
            .map_err(refused("sendmsg"))?;
        let mut bytes = [0; Layout::BYTES];
        let (len, descriptors) = match self.receive(&mut bytes)? {
            Answer::Word(word) if word == Word::NoMore as u32 => return Ok(None),
            Answer::Word(_) => return Err(ShareError::Forged { what: "answer" }),
            Answer::Segment(len, descriptors) => (len, descriptors),
        };
        let layout = Layout::from_bytes(&bytes[..len])?;
        let given = descriptors.len();
        let [memory, states] =
            <[OwnedFd; 2]>::try_from(descriptors).map_err(|_| ShareError::Descriptors { given })?;
        Ok(Some(Export {
            layout,
            memory,
            states,
        }))
    }
}
