//! Pools that clients open by name.
//!
//! Owns: the server's thread, and what the two say to each other. Uses: `layout`,
//! `error`, `sys`. Used by: callers, the client.
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
//! stays connected while it asks, and waits a limited time for each answer. The server
//! has one thread for all clients, which never waits for one of them: a client that does
//! not read its answer, or sends what is no question, is cut off; of too many at once, the
//! one that connected first.

use super::error::ShareError;
use super::layout::{Export, Layout};
use crate::sys::fork;
use crate::sys::socket::{self, Peer};
use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::thread::JoinHandle;
use std::time::Duration;

/// How many clients can be connected at once.
const MAX_CLIENTS: usize = 64;
/// How long the server leaves those alone whom it could not accept.
const PAUSE: Duration = Duration::from_millis(10);
/// How long a client waits for an answer.
const LIMIT: Duration = Duration::from_secs(10);

/// What the server says where it sends no segment.
#[derive(Clone, Copy)]
#[repr(u32)]
enum Word {
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
    fn bytes(self) -> [u8; 4] {
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

    fn check(&self, socket: BorrowedFd<'_>) -> Result<Peer, ShareError> {
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
    /// `forks()` when it was made.
    forks: u32,
}

impl fmt::Debug for Publication {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Publication").finish_non_exhaustive()
    }
}

impl Drop for Publication {
    fn drop(&mut self) {
        drop(self.stop.take());
        let thread = self.thread.take();
        if fork::forks() != self.forks {
            // The thread is the parent's.
            std::mem::forget(thread);
        } else if let Some(thread) = thread {
            // A thread that panicked has ended as well.
            let _ = thread.join();
        }
    }
}

/// The bytes of a name.
fn name_bytes(name: &str) -> Result<Vec<u8>, ShareError> {
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
    let listener = socket::listen(&name_bytes(name)?).map_err(ShareError::system("bind"))?;
    let (stop, stopped) = socket::pair().map_err(ShareError::system("socketpair"))?;
    let thread = std::thread::Builder::new()
        .name("hugepool-share".to_owned())
        .spawn(move || {
            serve(&listener, &stopped, &peers, &export);
            // A child of a fork may have the socket as well.
            socket::stop_listening(listener.as_fd());
        })
        .map_err(ShareError::system("clone"))?;
    Ok(Publication {
        stop: Some(stop),
        thread: Some(thread),
        forks: fork::forks(),
    })
}

fn serve(
    listener: &OwnedFd,
    stopped: &OwnedFd,
    peers: &Peers,
    export: &impl Fn(u32) -> Result<Option<Export>, ShareError>,
) {
    let mut clients: Vec<OwnedFd> = Vec::new();
    loop {
        let sockets: Vec<BorrowedFd<'_>> = [stopped, listener]
            .into_iter()
            .chain(&clients)
            .map(AsFd::as_fd)
            .collect();
        let Ok(ready) = socket::wait(&sockets) else {
            return;
        };
        if ready[0] {
            return;
        }
        // Those who are ready and not answered are cut off.
        let mut at = 0;
        clients.retain(|client| {
            let asks = ready[2 + at];
            at += 1;
            !asks || answer(client.as_fd(), export).is_ok()
        });
        if ready[1] {
            match socket::accept(listener.as_fd()) {
                Ok(client) => {
                    if welcome(client.as_fd(), peers).is_ok() {
                        if clients.len() == MAX_CLIENTS {
                            clients.remove(0);
                        }
                        clients.push(client);
                    }
                }
                // No descriptor to be had: who asks is still there a little later.
                Err(_) => std::thread::sleep(PAUSE),
            }
        }
    }
}

/// Says to a new client whether it may ask.
fn welcome(client: BorrowedFd<'_>, peers: &Peers) -> Result<(), ShareError> {
    let may = peers.check(client);
    let word = if may.is_ok() {
        Word::Welcome
    } else {
        Word::Refused
    };
    socket::send(client, &word.bytes(), &[]).map_err(ShareError::system("sendmsg"))?;
    may.map(drop)
}

/// Answers one question. An error ends the connection.
fn answer(
    client: BorrowedFd<'_>,
    export: &impl Fn(u32) -> Result<Option<Export>, ShareError>,
) -> Result<(), ShareError> {
    let system = ShareError::system;
    let mut question = [0; 4];
    let (len, _) = socket::receive(client, &mut question).map_err(system("recvmsg"))?;
    if len != question.len() {
        return Err(ShareError::Truncated {
            given: len,
            needed: question.len(),
        });
    }
    let word = match export(u32::from_le_bytes(question)) {
        Ok(Some(export)) => {
            let descriptors = [export.memory.as_fd(), export.states.as_fd()];
            let sent = socket::send(client, &export.layout.to_bytes(), &descriptors);
            return sent.map_err(system("sendmsg"));
        }
        Ok(None) => Word::NoMore,
        Err(ShareError::NotConfigured) => Word::NotConfigured,
        Err(ShareError::Aborted) => Word::Aborted,
        Err(other) => return Err(other),
    };
    socket::send(client, &word.bytes(), &[]).map_err(system("sendmsg"))
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

    /// Every segment from `slot` on, in their order.
    pub(super) fn segments(&self, mut slot: u32) -> Result<Vec<Export>, ShareError> {
        let connection = self.connect()?;
        let mut found = Vec::new();
        while let Some(export) = connection.ask(slot)? {
            let slots = export.layout.slots();
            if slots.start < slot {
                return Err(ShareError::Forged { what: "slots" });
            }
            slot = slots.end;
            found.push(export);
        }
        Ok(found)
    }

    fn connect(&self) -> Result<Connection, ShareError> {
        let socket = socket::connect(&self.name, LIMIT).map_err(|error| match error.kind() {
            io::ErrorKind::ConnectionRefused => ShareError::NotPublished,
            _ => refused("connect")(error),
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
            socket::receive(self.0.as_fd(), bytes).map_err(refused("recvmsg"))?;
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
        socket::send(socket, &slot.to_le_bytes(), &[]).map_err(refused("sendmsg"))?;
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
