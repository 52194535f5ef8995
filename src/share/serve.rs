//! The server's side of a publication.
//!
//! Owns: its thread's loop, and the clients that are connected. Uses: `name` for what is
//! said, `layout`, `error`, `sys`. Used by: `name`.
//!
//! ```text
//!   accepted ──▶ asker ──▶ closed                        it is done, or has read all
//!                  └────▶ departed ──▶ closed            cut off with an answer unread
//! ```
//!
//! One thread serves all clients, and never waits for one of them: a client that asks
//! again before it has read its answer, or sends what is no question, is cut off; of too
//! many at once, one of the user, and of the process, that has the most. An answer that is
//! not read keeps two descriptors on their way, which count against this process's user,
//! although the connection is over: each user may have so many of those, and is not
//! accepted beyond that.
//!
//! Whoever closes a socket waits for what is behind the descriptors that came over it and
//! were not received, as long as their sender likes. Since Linux 6.16 nobody can send any;
//! before, threads of their own close sockets, so many at a time, and while they are all
//! at it nobody is accepted.

use super::error::ShareError;
use super::layout::Export;
use super::name::{Peers, Word};
use crate::sync::{Arc, AtomicU32, Ordering};
use crate::sys::signal::quiet_thread;
use crate::sys::socket::{self, Peer};
use std::mem::ManuallyDrop;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

/// How many clients can be connected at once.
const MAX_ASKERS: usize = 64;
/// How many of a user may have been cut off with an answer unread.
const MAX_DEPARTED: usize = 16;
/// How many threads may be closing sockets.
const MAX_CLOSERS: u32 = 32;
/// How long those are left alone who cannot be accepted now.
const PAUSE: Duration = Duration::from_millis(10);

/// How clients' sockets are closed.
#[derive(Clone, Default)]
struct Closing {
    /// Nobody can send descriptors, so by the thread that serves all.
    here: bool,
    /// Threads that are closing one. Relaxed: a number, nothing more.
    elsewhere: Arc<AtomicU32>,
}

impl Closing {
    /// Whether no more threads may close sockets now.
    fn is_busy(&self) -> bool {
        self.elsewhere.load(Ordering::Relaxed) >= MAX_CLOSERS
    }

    /// Closes what was shut down.
    fn close(&self, socket: OwnedFd) {
        if self.here {
            return drop(socket);
        }
        // Not closed by the end of a closure that no thread ran: then it stays open.
        let socket = ManuallyDrop::new(socket);
        if self.is_busy() {
            return;
        }
        self.elsewhere.fetch_add(1, Ordering::Relaxed);
        let elsewhere = Arc::clone(&self.elsewhere);
        let closer = quiet_thread("hugepool-close", move || {
            drop(ManuallyDrop::into_inner(socket));
            elsewhere.fetch_sub(1, Ordering::Relaxed);
        });
        if closer.is_err() {
            self.elsewhere.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// A client that is connected, or was.
struct Asker {
    socket: OwnedFd,
    peer: Peer,
    /// Whether it was sent descriptors.
    answered: bool,
}

/// Which of `askers`, which are too many, is to go: the first of the process that has the
/// most, of the user that has.
fn one_too_many(askers: &[Asker]) -> usize {
    let weight = |asker: &Asker| {
        let Peer { user, process, .. } = asker.peer;
        let of_user = askers.iter().filter(|other| other.peer.user == user);
        // Those of namespaces that are not to be seen have the number 0.
        let of_process = askers.iter().filter(|other| other.peer.process == process);
        let processes = if process == 0 { 1 } else { of_process.count() };
        (of_user.count(), processes)
    };
    // The first of the heaviest.
    let heaviest = askers.iter().enumerate().rev();
    let found = heaviest.max_by_key(|(_, asker)| weight(asker));
    found.map_or(0, |(at, _)| at)
}

/// What the thread of a publication serves.
pub(super) struct Service<F> {
    listener: OwnedFd,
    /// At its end the service ends.
    stopped: OwnedFd,
    peers: Peers,
    /// Gives the first segment from a slot on.
    export: F,
    closing: Closing,
    askers: Vec<Asker>,
    departed: Vec<Asker>,
}

impl<F: Fn(u32) -> Result<Option<Export>, ShareError>> Service<F> {
    /// Lets clients connect to `listener`, which has a name.
    pub(super) fn new(
        listener: OwnedFd,
        stopped: OwnedFd,
        peers: Peers,
        export: F,
    ) -> Result<Self, ShareError> {
        // Before anybody can connect.
        let here = socket::refuse_descriptors(listener.as_fd()).is_ok();
        socket::listen(listener.as_fd()).map_err(ShareError::system("listen"))?;
        Ok(Self {
            listener,
            stopped,
            peers,
            export,
            closing: Closing {
                here,
                ..Closing::default()
            },
            askers: Vec::new(),
            departed: Vec::new(),
        })
    }

    /// Serves clients until the other end of `stopped` is closed.
    pub(super) fn run(mut self) {
        while self.turn() {}
        // A child of a fork may have the socket as well. Nobody connects after this, and
        // those who have are not left to whoever closes it.
        socket::shut_down(self.listener.as_fd());
        while let Ok(socket) = socket::accept(self.listener.as_fd()) {
            self.close(socket);
        }
        let (askers, departed) = (std::mem::take(&mut self.askers), &mut self.departed);
        let departed = std::mem::take(departed);
        for asker in askers.into_iter().chain(departed) {
            self.close(asker.socket);
        }
    }

    /// Waits until there is something to do, and does it. False at the end.
    fn turn(&mut self) -> bool {
        let accepts = !self.closing.is_busy();
        let mut sockets: Vec<BorrowedFd<'_>> = vec![self.stopped.as_fd()];
        sockets.extend(self.askers.iter().map(|asker| asker.socket.as_fd()));
        sockets.extend(accepts.then_some(self.listener.as_fd()));
        let limit = if accepts { None } else { Some(PAUSE) };
        let Ok(ready) = socket::wait(&sockets, limit) else {
            // No memory, or too many sockets: with fewer it may.
            std::mem::take(&mut self.askers)
                .into_iter()
                .for_each(|asker| self.cut_off(asker));
            std::thread::sleep(PAUSE);
            return !socket::is_ended(self.stopped.as_fd());
        };
        if ready[0] {
            return false;
        }
        self.forget_departed();
        // Those who are ready and not answered are cut off.
        let mut kept = Vec::with_capacity(self.askers.len());
        for (mut asker, &asks) in std::mem::take(&mut self.askers)
            .into_iter()
            .zip(&ready[1..])
        {
            match asks && self.answer(&mut asker).is_err() {
                true => self.cut_off(asker),
                false => kept.push(asker),
            }
        }
        self.askers = kept;
        if accepts && ready.last() == Some(&true) {
            match socket::accept(self.listener.as_fd()) {
                Ok(socket) => self.accept(socket),
                // No descriptor to be had: who asks is still there a little later.
                Err(_) => std::thread::sleep(PAUSE),
            }
        }
        true
    }

    /// Says to who has connected whether it may ask.
    fn accept(&mut self, socket: OwnedFd) {
        let Ok(peer) = self.welcome(socket.as_fd()) else {
            return self.close(socket);
        };
        self.askers.push(Asker {
            socket,
            peer,
            answered: false,
        });
        if self.askers.len() > MAX_ASKERS {
            let gone = self.askers.remove(one_too_many(&self.askers));
            self.cut_off(gone);
        }
    }

    fn welcome(&self, client: BorrowedFd<'_>) -> Result<Peer, ShareError> {
        let may = self.peers.check(client);
        let word = match &may {
            Ok(peer) => {
                let departed = self.departed.iter();
                let of_user = departed.filter(|other| other.peer.user == peer.user);
                if of_user.count() >= MAX_DEPARTED {
                    return Err(ShareError::HungUp);
                }
                Word::Welcome
            }
            Err(_) => Word::Refused,
        };
        socket::send(client, &word.bytes(), &[]).map_err(ShareError::system("sendmsg"))?;
        may
    }

    /// Ends a connection; what is not read of it is remembered.
    fn cut_off(&mut self, asker: Asker) {
        socket::shut_down(asker.socket.as_fd());
        self.departed.push(asker);
        self.forget_departed();
    }

    /// Forgets those who have read all, or have closed their end.
    fn forget_departed(&mut self) {
        let unread = |asker: &Asker| {
            asker.answered && socket::is_unread(asker.socket.as_fd()).unwrap_or(false)
        };
        let (kept, gone) = std::mem::take(&mut self.departed)
            .into_iter()
            .partition(unread);
        self.departed = kept;
        let gone: Vec<Asker> = gone;
        gone.into_iter().for_each(|asker| self.close(asker.socket));
    }

    /// Ends a connection, also where a child of a fork has it.
    fn close(&self, socket: OwnedFd) {
        socket::shut_down(socket.as_fd());
        self.closing.close(socket);
    }

    /// Answers one question. An error ends the connection.
    fn answer(&self, asker: &mut Asker) -> Result<(), ShareError> {
        let client = asker.socket.as_fd();
        let system = ShareError::system;
        // Descriptors that are on their way count against this process's user.
        if socket::is_unread(client).map_err(system("ioctl"))? {
            return Err(ShareError::HungUp);
        }
        // They are neither received nor closed here.
        if !self.closing.here && socket::has_descriptors(client).map_err(system("recvmsg"))? {
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
        let word = match (self.export)(u32::from_le_bytes(question)) {
            Ok(Some(export)) => {
                let descriptors = [export.memory.as_fd(), export.states.as_fd()];
                asker.answered = true;
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
}

#[cfg(test)]
mod tests {
    use super::super::name::{Server, name_bytes};
    use super::*;
    use crate::sys::socket::Deadline;
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
            answered: false,
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
        let (stop, stopped) = socket::pair().unwrap();
        let nothing = |_| Ok(None);
        let mut service = Service::new(listener, stopped, Peers::default(), nothing).unwrap();
        if anybody {
            service.closing.here = false;
            socket::allow_descriptors(service.listener.as_fd());
        } else if !service.closing.here {
            println!("skipped: descriptors cannot be refused here");
            return;
        }
        let server = std::thread::spawn(move || service.run());
        for _ in 0..3 {
            let within = Deadline::within(Duration::from_secs(10));
            let sender = socket::connect(&name_bytes(&name).unwrap(), within).unwrap();
            let stream = lingering();
            let sent = socket::send(sender.as_fd(), &[0; 4], &[stream.as_fd()]);
            assert_eq!(sent.is_ok(), anybody);
            match anybody {
                // The last one is the server's to close.
                true => drop(stream),
                false => std::mem::forget(stream),
            }
            let honest = Server::new(&name, &Peers::default()).unwrap();
            honest.segments(1, |_| Ok(())).unwrap();
        }
        socket::shut_down(stop.as_fd());
        server.join().unwrap();
    }

    /// Who has connected and is not accepted may have sent some as well.
    #[test]
    fn the_end_does_not_wait_for_what_was_sent_before_anybody_was_accepted() {
        let name = format!("not accepted {}", std::process::id());
        let listener = socket::bind(&name_bytes(&name).unwrap()).unwrap();
        let (stop, stopped) = socket::pair().unwrap();
        let nothing = |_| Ok(None);
        let mut service = Service::new(listener, stopped, Peers::default(), nothing).unwrap();
        service.closing.here = false;
        socket::allow_descriptors(service.listener.as_fd());
        let within = Deadline::within(Duration::from_secs(10));
        let sender = socket::connect(&name_bytes(&name).unwrap(), within).unwrap();
        let stream = lingering();
        socket::send(sender.as_fd(), &[0; 4], &[stream.as_fd()]).unwrap();
        drop((stream, sender));
        socket::shut_down(stop.as_fd());
        let server = std::thread::spawn(move || service.run());
        let until = std::time::Instant::now() + Duration::from_secs(30);
        while !server.is_finished() {
            assert!(std::time::Instant::now() < until, "it waits for the sender");
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    #[test]
    fn no_more_threads_close_sockets_than_may() {
        let closing = Closing::default();
        let held: Vec<_> = (0..MAX_CLOSERS + 5)
            .map(|_| socket::pair().unwrap())
            .collect();
        let busy = held.into_iter().any(|(one, other)| {
            // Closed, sooner or later: nothing lingers here.
            closing.close(one);
            drop(other);
            closing.elsewhere.load(Ordering::Relaxed) > MAX_CLOSERS
        });
        assert!(!busy);
        closing.elsewhere.store(2 * MAX_CLOSERS, Ordering::Relaxed);
        let (one, other) = socket::pair().unwrap();
        closing.close(one);
        assert!(
            closing.is_busy() && !socket::is_ended(other.as_fd()),
            "it stays open"
        );
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
