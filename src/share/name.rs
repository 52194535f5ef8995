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
//! has one thread for all clients, which never waits for one of them: a client that asks
//! again before it has read its answer, or sends what is no question, is cut off; of too
//! many at once, one of the user, and of the process, that has the most.

use super::error::ShareError;
use super::layout::{Export, Layout};
use crate::sys::fork;
use crate::sys::socket::{self, Deadline, Peer};
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
        let (stop, thread) = (self.stop.take(), self.thread.take());
        if fork::forks() != self.forks {
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
    let listener = socket::bind(&name_bytes(name)?).map_err(ShareError::system("bind"))?;
    let (stop, stopped) = socket::pair().map_err(ShareError::system("socketpair"))?;
    // Before anybody can connect.
    let closing = Closing {
        here: socket::refuse_descriptors(listener.as_fd()).is_ok(),
    };
    socket::listen(listener.as_fd()).map_err(ShareError::system("listen"))?;
    let thread = std::thread::Builder::new()
        .name("hugepool-share".to_owned())
        .spawn(move || {
            serve(&listener, &stopped, &peers, &export, closing);
            // A child of a fork may have the socket as well.
            socket::shut_down(listener.as_fd());
        })
        .map_err(ShareError::system("clone"))?;
    Ok(Publication {
        stop: Some(stop),
        thread: Some(thread),
        forks: fork::forks(),
    })
}

/// How clients' sockets are closed. Whoever closes one waits for what is behind the
/// descriptors that it was sent and has not received.
#[derive(Clone, Copy)]
struct Closing {
    /// Nobody can send any, so by the thread that serves all.
    here: bool,
}

impl Closing {
    /// Ends a connection, also where a child of a fork has it.
    fn close(self, client: OwnedFd) {
        socket::shut_down(client.as_fd());
        if !self.here {
            // If there is no thread to be had it is closed here.
            let _ = std::thread::Builder::new()
                .name("hugepool-close".to_owned())
                .spawn(move || drop(client));
        }
    }
}

/// A client that is connected.
struct Asker {
    socket: OwnedFd,
    peer: Peer,
}

/// Which of `askers`, which are too many, is to go: the first of the process that has the
/// most, of the user that has.
fn one_too_many(askers: &[Asker]) -> usize {
    let of = |key: fn(&Peer) -> i64, peer: Peer| {
        let same = askers.iter().filter(|other| key(&other.peer) == key(&peer));
        same.count()
    };
    let weight = |asker: &Asker| {
        let user = of(|peer| peer.user.into(), asker.peer);
        (user, of(|peer| peer.process.into(), asker.peer))
    };
    // The first of the heaviest.
    let heaviest = askers.iter().enumerate().rev();
    let found = heaviest.max_by_key(|(_, asker)| weight(asker));
    found.map_or(0, |(at, _)| at)
}

fn serve(
    listener: &OwnedFd,
    stopped: &OwnedFd,
    peers: &Peers,
    export: &impl Fn(u32) -> Result<Option<Export>, ShareError>,
    closing: Closing,
) {
    /// How often in a row the kernel may refuse to wait.
    const REFUSALS: u32 = 100;
    let mut askers: Vec<Asker> = Vec::new();
    let mut refusals = 0;
    while refusals < REFUSALS {
        let clients = askers.iter().map(|asker| &asker.socket);
        let sockets: Vec<BorrowedFd<'_>> = [stopped, listener]
            .into_iter()
            .chain(clients)
            .map(AsFd::as_fd)
            .collect();
        let Ok(ready) = socket::wait(&sockets) else {
            // No memory, or too many sockets: with fewer it may.
            refusals += 1;
            askers
                .drain(..)
                .for_each(|asker| closing.close(asker.socket));
            std::thread::sleep(PAUSE);
            continue;
        };
        refusals = 0;
        if ready[0] {
            break;
        }
        // Those who are ready and not answered are cut off.
        let mut asks = ready[2..].iter();
        let cut_off = askers.extract_if(.., |asker| {
            asks.next() == Some(&true) && answer(asker.socket.as_fd(), export, closing).is_err()
        });
        cut_off.for_each(|asker| closing.close(asker.socket));
        if ready[1] {
            match socket::accept(listener.as_fd()) {
                Ok(socket) => match welcome(socket.as_fd(), peers) {
                    Ok(peer) => {
                        askers.push(Asker { socket, peer });
                        if askers.len() > MAX_CLIENTS {
                            let gone = askers.remove(one_too_many(&askers));
                            closing.close(gone.socket);
                        }
                    }
                    Err(_) => closing.close(socket),
                },
                // No descriptor to be had: who asks is still there a little later.
                Err(_) => std::thread::sleep(PAUSE),
            }
        }
    }
    askers
        .drain(..)
        .for_each(|asker| closing.close(asker.socket));
}

/// Says to a new client whether it may ask; gives who it is.
fn welcome(client: BorrowedFd<'_>, peers: &Peers) -> Result<Peer, ShareError> {
    let may = peers.check(client);
    let word = if may.is_ok() {
        Word::Welcome
    } else {
        Word::Refused
    };
    socket::send(client, &word.bytes(), &[]).map_err(ShareError::system("sendmsg"))?;
    may
}

/// Answers one question. An error ends the connection.
fn answer(
    client: BorrowedFd<'_>,
    export: &impl Fn(u32) -> Result<Option<Export>, ShareError>,
    closing: Closing,
) -> Result<(), ShareError> {
    let system = ShareError::system;
    // Descriptors that are on their way count against this process's user.
    if socket::is_unread(client).map_err(system("ioctl"))? {
        return Err(ShareError::HungUp);
    }
    // They are neither received nor closed here.
    if !closing.here && socket::has_descriptors(client).map_err(system("recvmsg"))? {
        return Err(ShareError::Descriptors { given: 1 });
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::AsRawFd;

    fn asker(user: u32, process: i32) -> Asker {
        let group = 0;
        Asker {
            socket: socket::pair().unwrap().0,
            peer: Peer {
                process,
                user,
                group,
            },
        }
    }

    #[test]
    fn of_too_many_the_one_that_goes_is_of_who_has_most() {
        let which = |askers: &[(u32, i32)]| {
            let askers: Vec<_> = askers.iter().map(|&(user, pid)| asker(user, pid)).collect();
            one_too_many(&askers)
        };
        // The first, if all have one.
        assert_eq!(which(&[(0, 1), (0, 2), (0, 3)]), 0);
        assert_eq!(which(&[(0, 1), (0, 2), (0, 3), (0, 2)]), 1);
        // Users count before processes.
        assert_eq!(which(&[(0, 1), (0, 1), (7, 2), (7, 3), (7, 4)]), 2);
        assert_eq!(which(&[(0, 1), (7, 2), (7, 3), (7, 3)]), 2);
    }

    /// A connection whose last close takes a minute.
    fn lingering() -> TcpStream {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (reader, _) = listener.accept().unwrap();
        stream.set_nonblocking(true).unwrap();
        while stream.write(&[0; 1 << 16]).is_ok() {}
        // Nobody reads what is on its way.
        std::mem::forget((reader, listener));
        stream.set_nonblocking(false).unwrap();
        let linger = libc::linger {
            l_onoff: 1,
            l_linger: 60,
        };
        // SAFETY: the value is there, and as long as it says.
        let set = unsafe {
            libc::setsockopt(
                stream.as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_LINGER,
                (&raw const linger).cast(),
                size_of_val(&linger) as libc::socklen_t,
            )
        };
        assert_eq!(set, 0);
        stream
    }

    /// As before Linux 6.16, if `anybody` may send descriptors.
    fn honest_beside_a_sender_of_descriptors(name: &str, anybody: bool) {
        let name = format!("{name} {}", std::process::id());
        let listener = socket::bind(&name_bytes(&name).unwrap()).unwrap();
        let mut closing = Closing { here: false };
        if !anybody {
            if let Err(error) = socket::refuse_descriptors(listener.as_fd()) {
                println!("skipped: descriptors cannot be refused: {error}");
                return;
            }
            closing.here = true;
        }
        socket::listen(listener.as_fd()).unwrap();
        let (stop, stopped) = socket::pair().unwrap();
        let server = std::thread::spawn(move || {
            let nothing = |_| Ok(None);
            serve(&listener, &stopped, &Peers::default(), &nothing, closing);
        });
        for _ in 0..3 {
            let within = Deadline::within(LIMIT);
            let sender = socket::connect(&name_bytes(&name).unwrap(), within).unwrap();
            // Its question is not the first that is there.
            let stream = lingering();
            for descriptors in [&[][..], &[stream.as_fd()], &[]] {
                let sent = socket::send(sender.as_fd(), &[0; 4], descriptors);
                if !anybody && !descriptors.is_empty() {
                    assert!(sent.is_err(), "it was sent a descriptor");
                }
            }
            // The last one is the server's to close.
            if anybody {
                drop(stream);
            } else {
                std::mem::forget(stream);
            }
            let honest = Server::new(&name, &Peers::default()).unwrap();
            honest.segments(1, |_| Ok(())).unwrap();
        }
        socket::shut_down(stop.as_fd());
        server.join().unwrap();
    }

    #[test]
    fn a_client_that_sends_descriptors_keeps_nobody_waiting() {
        honest_beside_a_sender_of_descriptors("sender", false);
    }

    #[test]
    fn a_client_that_can_send_descriptors_keeps_nobody_waiting() {
        honest_beside_a_sender_of_descriptors("allowed sender", true);
    }
}
