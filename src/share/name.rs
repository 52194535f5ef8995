//! Pools that clients open by name.
//!
//! Owns: the server's thread, and what the two say to each other. Uses: `layout`,
//! `client`, `sys`. Used by: callers.
//!
//! ```text
//!   client                          server
//!   a slot                    ────▶
//!                             ◀──── the first segment from that slot on: its layout and
//!                                   two descriptors; or that there is none
//! ```
//!
//! Both look who is at the other end (`SO_PEERCRED`) before they say anything. The server
//! has one thread for all clients, which never waits for one of them: a client that does
//! not read its answer, sends what is no question, or is one too many, is cut off.

use super::error::ShareError;
use super::layout::{Export, Layout};
use crate::sys::socket::{self, Peer};
use std::fmt;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::thread::JoinHandle;
use std::time::Duration;

/// How many clients can be connected at once.
const MAX_CLIENTS: usize = 64;
/// How long the server leaves those alone whom it could not accept.
const PAUSE: Duration = Duration::from_millis(10);

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

/// A name by which clients open a pool, until it is dropped.
pub struct Publication {
    /// Closed to end the thread.
    stop: Option<OwnedFd>,
    thread: Option<JoinHandle<()>>,
}

impl fmt::Debug for Publication {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Publication").finish_non_exhaustive()
    }
}

impl Drop for Publication {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
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
    let listener = socket::listen(&name_bytes(name)?).map_err(ShareError::system("bind"))?;
    let (stop, stopped) = socket::pair().map_err(ShareError::system("socketpair"))?;
    let thread = std::thread::Builder::new()
        .name("hugepool-share".to_owned())
        .spawn(move || serve(&listener, &stopped, &peers, &export))
        .map_err(ShareError::system("clone"))?;
    Ok(Publication {
        stop: Some(stop),
        thread: Some(thread),
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
                    if clients.len() < MAX_CLIENTS && peers.check(client.as_fd()).is_ok() {
                        clients.push(client);
                    }
                }
                // No descriptor to be had: who asks is still there a little later.
                Err(_) => std::thread::sleep(PAUSE),
            }
        }
    }
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
    match export(u32::from_le_bytes(question))? {
        Some(export) => {
            let descriptors = [export.memory.as_fd(), export.states.as_fd()];
            socket::send(client, &export.layout.to_bytes(), &descriptors)
        }
        None => socket::send(client, &question, &[]),
    }
    .map_err(system("sendmsg"))
}

/// A client's side of a connection.
pub(super) struct Connection(OwnedFd);

impl Connection {
    pub(super) fn open(name: &str, peers: &Peers) -> Result<Self, ShareError> {
        let socket = socket::connect(&name_bytes(name)?).map_err(ShareError::system("connect"))?;
        peers.check(socket.as_fd())?;
        Ok(Self(socket))
    }

    /// The first segment from `slot` on.
    pub(super) fn ask(&self, slot: u32) -> Result<Option<Export>, ShareError> {
        let system = ShareError::system;
        let socket = self.0.as_fd();
        socket::send(socket, &slot.to_le_bytes(), &[]).map_err(system("sendmsg"))?;
        let mut bytes = [0; Layout::BYTES];
        let (len, descriptors) = socket::receive(socket, &mut bytes).map_err(system("recvmsg"))?;
        if len == size_of::<u32>() {
            return Ok(None);
        }
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
