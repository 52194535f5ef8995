//! The server's side of a publication: who has connected, and what they are told.
//!
//! Owns: the loop of the thread that serves, and the clients that are connected. Uses:
//! `askers` for whose turn it is, `wire` for what is said, `peers`, `closing`, `error`, `sys`.
//! Used by: `publication`.
//!
//! ```text
//!   accepted ──▶ asker ──▶ closed                        it is done, or has read all
//!                  └────▶ departed ──▶ closed            cut off with an answer unread
//! ```
//!
//! One thread serves all clients, and never waits for one of them: a client that asks
//! again before it has read its answer, or sends what is no question, is cut off; of too
//! many at once, one of the user, and of the process, that has the most. An answer that is
//! not read keeps descriptors on their way, which count against this process's user,
//! although the connection is over: each user may have so many of those, and is not
//! accepted beyond that. Of one process fewer are on their way at once: who asks beside them
//! has his turn when they are read, or is cut off if they never will be (see `askers`).
//!
//! The thread has a table of descriptors of its own. So its clients' sockets are none of
//! those that the program may have; no child of a fork has them, nor the name; and the
//! name is free as soon as the thread has ended, however it did. What it answers comes from
//! another thread, over a channel: the descriptors of segments are in the program's table.

use super::askers::{Asker, Turn, all_unread, comes_after, one_too_many, overlooked, turn_of};
use super::closing::Closing;
use super::error::ShareError;
use super::peers::Peers;
use super::wire::{ANSWER, Answer, QUESTION, Question};
use crate::sys::peer::Peer;
use crate::sys::robust::Held;
use crate::sys::socket::{self, MAX_DESCRIPTORS};
use std::io;
use std::mem::ManuallyDrop;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

/// How many clients can be connected at once.
const MAX_ASKERS: usize = 64;
/// How many of a user may have been cut off with an answer unread.
const MAX_DEPARTED: usize = 16;
/// How many descriptors one answer needs at once.
const RESERVE: usize = MAX_DESCRIPTORS + 1;
/// How long those are left alone who cannot be accepted now.
const PAUSE: Duration = Duration::from_millis(10);

/// What the thread of a publication serves.
pub(super) struct Service {
    listener: OwnedFd,
    /// Where questions go, and answers come from. At its end the service ends.
    channel: OwnedFd,
    peers: Peers,
    /// The word by which clients see whether this thread lives; none where the kernel
    /// keeps no such list.
    held: Option<Held>,
    closing: Closing,
    askers: Vec<Asker>,
    departed: Vec<Asker>,
    /// Descriptors that are kept for what an answer needs, so that clients which do nothing
    /// cannot use up all.
    reserve: Vec<OwnedFd>,
}

/// The channel has ended.
struct Ended;

impl Service {
    /// Lets nobody send descriptors to `listener`, which does not listen yet, if that can be
    /// had, and then lets clients connect.
    pub(super) fn listen(listener: BorrowedFd<'_>) -> Result<Closing, ShareError> {
        let at_once = socket::refuse_descriptors(listener).is_ok();
        socket::listen(listener).map_err(ShareError::system("listen"))?;
        let mut closing = Closing::default();
        closing.at_once = at_once;
        Ok(closing)
    }

    /// Takes the name for `peers`, and lets them connect, by `listen`. The calling thread has
    /// a table of its own, with `channel` in it.
    pub(super) fn start(
        name: &[u8],
        channel: OwnedFd,
        peers: Peers,
        listen: fn(BorrowedFd<'_>) -> Result<Closing, ShareError>,
    ) -> Result<Self, ShareError> {
        let listener = socket::bind(name).map_err(|error| match error.kind() {
            io::ErrorKind::AddrInUse => ShareError::NameTaken,
            _ => ShareError::system("bind")(error),
        })?;
        // Without it clients do not see that the server was killed until they ask.
        let held = Held::by_this_thread().ok();
        let closing = listen(listener.as_fd())?;
        Ok(Self {
            listener,
            channel,
            peers,
            held,
            closing,
            askers: Vec::new(),
            departed: Vec::new(),
            reserve: Vec::new(),
        })
    }

    /// Serves clients until the channel ends. Then nobody has the name any more.
    pub(super) fn run(mut self) {
        while self.turn() {}
        // Given up first: who has the name next is another.
        drop(self.held.take());
        // Who has connected and was not accepted may have sent descriptors: they are closed
        // as everybody's.
        socket::shut_down(self.listener.as_fd());
        while let Ok(socket) = socket::accept(self.listener.as_fd()) {
            self.close(socket);
        }
        for asker in std::mem::take(&mut self.askers) {
            self.close(asker.socket);
        }
        for asker in std::mem::take(&mut self.departed) {
            self.close(asker.socket);
        }
        // The name is free once the listener is closed.
        self.closing.take(self.listener);
        self.closing.end();
        // The rest is closed by the end of this thread.
        let _ = ManuallyDrop::new(self.channel);
    }

    /// Waits until there is something to do, and does it. False at the end.
    fn turn(&mut self) -> bool {
        self.forget_departed();
        self.closing.run();
        self.fill_reserve();
        let accepts = !self.closing.is_busy();
        let unread = all_unread(&self.askers);
        let asking = 0..self.askers.len();
        let waits = |at: usize| turn_of(&self.askers, &self.departed, at, &unread) == Turn::Wait;
        let asking: Vec<usize> = asking.filter(|&at| !waits(at)).collect();
        let mut sockets: Vec<BorrowedFd<'_>> = vec![self.channel.as_fd()];
        sockets.extend(asking.iter().map(|&at| self.askers[at].socket.as_fd()));
        sockets.extend(accepts.then_some(self.listener.as_fd()));
        let in_time = accepts && !self.closing.has_some() && asking.len() == self.askers.len();
        let limit = if in_time { None } else { Some(PAUSE) };
        let Ok(ready) = socket::wait(&sockets, limit) else {
            // No memory, or too many sockets: with fewer it may.
            let askers = std::mem::take(&mut self.askers);
            askers.into_iter().for_each(|asker| self.cut_off(asker));
            std::thread::sleep(PAUSE);
            return !socket::is_ended(self.channel.as_fd());
        };
        if ready[0] {
            return false;
        }
        let overlooked = overlooked(&self.askers, &asking, &ready[1..=asking.len()]);
        // Those who are ready and not answered are cut off.
        let (mut gone, mut done) = (Vec::new(), Vec::new());
        let mut unread = all_unread(&self.askers);
        for (&at, _) in asking.iter().zip(&ready[1..]).filter(|ready| *ready.1) {
            // The next look finds both. (Who asks again before it has read is not kept.)
            if !unread[at] && comes_after(&self.askers, at, &overlooked) {
                continue;
            }
            let answered = match turn_of(&self.askers, &self.departed, at, &unread) {
                Turn::Wait => continue,
                Turn::Over => Ok(Err(ShareError::HungUp)),
                Turn::Answer => {
                    self.reserve.clear();
                    self.answer(self.askers[at].socket.as_fd())
                }
            };
            match answered {
                Ok(Ok(descriptors)) => {
                    self.askers[at].answered |= descriptors;
                    unread[at] |= descriptors;
                    done.push(at);
                }
                Ok(Err(_)) => gone.push(at),
                Err(Ended) => return false,
            }
        }
        // Those who were answered go to the end of the line.
        let mut last = Vec::new();
        for (at, asker) in std::mem::take(&mut self.askers).into_iter().enumerate() {
            match (gone.contains(&at), done.contains(&at)) {
                (true, _) => self.cut_off(asker),
                (_, true) => last.push(asker),
                _ => self.askers.push(asker),
            }
        }
        self.askers.append(&mut last);
        if accepts && ready.last() == Some(&true) {
            match socket::accept(self.listener.as_fd()) {
                Ok(socket) => self.accept(socket),
                // No descriptor to be had: one who is connected makes room, or else who asks
                // is still there a little later.
                Err(_) if !self.askers.is_empty() => self.make_room(),
                Err(_) => std::thread::sleep(PAUSE),
            }
        }
        true
    }

    /// Takes the descriptors that are kept: copies of one that is there, so that closing them
    /// ends nothing. One who is connected makes room if there are too few; more of them, if
    /// need be, in the next turns.
    fn fill_reserve(&mut self) {
        while self.reserve.len() < RESERVE {
            match self.channel.try_clone() {
                Ok(kept) => self.reserve.push(kept),
                Err(_) if !self.askers.is_empty() => return self.make_room(),
                Err(_) => return,
            }
        }
    }

    /// Says to who has connected whether it may ask.
    fn accept(&mut self, socket: OwnedFd) {
        self.reserve.clear();
        let welcome = self.welcome(socket.as_fd());
        let Ok(peer) = welcome else {
            return self.close(socket);
        };
        self.askers.push(Asker {
            socket,
            peer,
            answered: false,
        });
        if self.askers.len() > MAX_ASKERS {
            self.make_room();
        }
    }

    /// Cuts one off.
    fn make_room(&mut self) {
        let gone = self.askers.remove(one_too_many(&self.askers));
        self.cut_off(gone);
    }

    fn welcome(&self, client: BorrowedFd<'_>) -> Result<Peer, ShareError> {
        let may = self.peers.check(client);
        let answer = match &may {
            Ok(peer) => {
                let departed = self.departed.iter();
                let of_user = departed.filter(|other| other.peer.user == peer.user);
                if of_user.count() >= MAX_DEPARTED {
                    return Err(ShareError::HungUp);
                }
                Answer::Welcome
            }
            Err(_) => Answer::Refused,
        };
        socket::send(client, &answer.to_bytes(), &[]).map_err(ShareError::system("sendmsg"))?;
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
        let (kept, gone) = std::mem::take(&mut self.departed)
            .into_iter()
            .partition(Asker::is_unread);
        self.departed = kept;
        let gone: Vec<Asker> = gone;
        gone.into_iter().for_each(|asker| self.close(asker.socket));
    }

    /// Ends a connection.
    fn close(&mut self, socket: OwnedFd) {
        socket::shut_down(socket.as_fd());
        self.closing.take(socket);
    }

    /// Answers one question, and says whether descriptors went with it. The inner error ends
    /// the connection.
    fn answer(&self, client: BorrowedFd<'_>) -> Result<Result<bool, ShareError>, Ended> {
        let question = match self.question(client) {
            Ok(question) => question,
            Err(error) => return Ok(Err(error)),
        };
        if question == Question::Server {
            let word = self.held.as_ref().map(Held::descriptor);
            let sent = socket::send(client, &Answer::Server.to_bytes(), word.as_slice());
            let sent = sent.map(|()| word.is_some());
            return Ok(sent.map_err(ShareError::system("sendmsg")));
        }
        let channel = self.channel.as_fd();
        let asked = socket::send(channel, &question.to_bytes(), &[]);
        match asked.map_err(|error| (error.kind(), ShareError::system("sendmsg")(error))) {
            Ok(()) => {}
            Err((io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset, _)) => {
                return Err(Ended);
            }
            // No memory for it: nothing was asked.
            Err((_, error)) => return Ok(Err(error)),
        }
        let mut answer = [0; ANSWER];
        let (len, given) = match socket::receive(channel, &mut answer) {
            Ok((0, _)) => return Err(Ended),
            // There is no room for its descriptors, although some were kept.
            Err(error) if error.raw_os_error() == Some(libc::EMFILE) => {
                return Ok(Err(ShareError::system("recvmsg")(error)));
            }
            other => other.map_err(|_| Ended)?,
        };
        // They are this process's own.
        let given: Vec<OwnedFd> = given.into_iter().map(ManuallyDrop::into_inner).collect();
        let descriptors: Vec<BorrowedFd<'_>> = given.iter().map(AsFd::as_fd).collect();
        let sent = socket::send(client, &answer[..len], &descriptors);
        let sent = sent.map(|()| !descriptors.is_empty());
        Ok(sent.map_err(ShareError::system("sendmsg")))
    }

    /// What a client asks.
    fn question(&self, client: BorrowedFd<'_>) -> Result<Question, ShareError> {
        let system = ShareError::system;
        // Descriptors that are on their way count against this process's user.
        if socket::is_unread(client).map_err(system("ioctl"))? {
            return Err(ShareError::HungUp);
        }
        // They are neither received nor closed here.
        if !self.closing.at_once && socket::has_descriptors(client).map_err(system("recvmsg"))? {
            return Err(ShareError::Descriptors { given: 1 });
        }
        let mut bytes = [0; QUESTION];
        let (len, _) = socket::receive(client, &mut bytes).map_err(system("recvmsg"))?;
        Question::from_bytes(&bytes[..len]).ok_or(ShareError::Truncated {
            given: len,
            needed: QUESTION,
        })
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::ask::Server;
    use super::super::name::Name;
    use super::super::publication::{Give, Given, Publication, publish_by};
    use super::*;
    use crate::sys::files;
    use crate::sys::socket::Deadline;
    use std::io::Write;
    use std::net::{SocketAddr, TcpListener, TcpStream};
    use std::os::fd::AsRawFd;

    /// Within which who is kept by nobody is answered, also on a busy machine.
    pub const SOON: Duration = Duration::from_secs(600);
    /// How long the last close of what is `lingering` takes: longer.
    const LINGER: Duration = Duration::from_secs(3600);

    /// Where nobody ever reads what comes.
    pub fn unread() -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::mem::forget(listener);
        address
    }

    /// A connection to what is `unread` whose last close takes `LINGER`, unless who closes it
    /// is ending. So the caller has a table of its own and ends without closing it: the table
    /// that all share is copied by closers, of which one could be the last, too.
    pub fn lingering(unread: SocketAddr) -> ManuallyDrop<TcpStream> {
        let mut stream = TcpStream::connect(unread).unwrap();
        stream.set_nonblocking(true).unwrap();
        while stream.write(&[0; 1 << 16]).is_ok() {}
        stream.set_nonblocking(false).unwrap();
        let linger = libc::linger {
            l_onoff: 1,
            l_linger: LINGER.as_secs() as libc::c_int,
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
        ManuallyDrop::new(stream)
    }

    /// As before Linux 6.16.
    fn listen_to_anybody(listener: BorrowedFd<'_>) -> Result<Closing, ShareError> {
        let mut closing = Service::listen(listener)?;
        closing.at_once = false;
        socket::allow_descriptors(listener);
        Ok(closing)
    }

    /// A publication of nothing, where `anybody` may send descriptors, or nobody.
    fn published(name: &str, peers: Peers, anybody: bool) -> Publication {
        let listen = if anybody {
            listen_to_anybody
        } else {
            Service::listen
        };
        let nothing = |_, give: Give<'_>| {
            give(Given::NoMore);
            Ok(())
        };
        publish_by(name.into(), peers, listen, nothing).unwrap()
    }

    fn honest(name: &str) -> Result<(), ShareError> {
        let server = Server::new(name.into(), &Peers::default()).unwrap();
        server.talk(SOON, |connection| connection.segments(1, 0, |_| Ok(())))
    }

    /// Connects, sends a lingering descriptor if that can be done, and is gone.
    fn sender(name: &str, unread: SocketAddr) -> bool {
        let name = Name::from(name).bytes().unwrap();
        let sender = std::thread::spawn(move || {
            // The end of this thread does not linger, and the server's descriptor is the last
            // one, unless it is gone already.
            files::take_empty_table().unwrap();
            let within = Deadline::within(SOON);
            let sender = ManuallyDrop::new(socket::connect(&name, within).unwrap());
            let stream = lingering(unread);
            socket::send(sender.as_fd(), &[0; QUESTION], &[stream.as_fd()]).is_ok()
        });
        sender.join().unwrap()
    }

    fn honest_beside_senders_of_descriptors(name: &str, peers: Peers, anybody: bool) {
        let name = format!("{name} {}", std::process::id());
        let is_stranger = peers != Peers::default();
        let publication = published(&name, peers, anybody);
        let (mut all, unread) = (0, unread());
        for _ in 0..100 {
            let sent = sender(&name, unread);
            if sent && !anybody {
                println!("skipped: descriptors cannot be refused here");
                return;
            }
            // A stranger may have been turned away before.
            assert!(sent == anybody || is_stranger);
            all += usize::from(sent);
            let answered = honest(&name);
            match is_stranger {
                true => assert_eq!(answered, Err(ShareError::Refused)),
                false => assert_eq!(answered, Ok(())),
            }
        }
        println!("{all} of 100 could send a descriptor");
        drop(publication);
        // Nobody has the name any more.
        assert_eq!(honest(&name), Err(ShareError::NotPublished));
    }

    #[test]
    fn a_client_that_sends_descriptors_keeps_nobody_waiting() {
        honest_beside_senders_of_descriptors("sender", Peers::default(), false);
    }

    #[test]
    fn a_client_that_can_send_descriptors_keeps_nobody_waiting() {
        honest_beside_senders_of_descriptors("allowed sender", Peers::default(), true);
    }

    #[test]
    fn strangers_that_can_send_descriptors_keep_nobody_waiting() {
        honest_beside_senders_of_descriptors("stranger", Peers::nobody(), true);
    }

    /// Who has connected and is not accepted may have sent some as well.
    #[test]
    fn the_end_does_not_wait_for_what_was_sent_before_anybody_was_accepted() {
        let name = format!("not accepted {}", std::process::id());
        let publication = published(&name, Peers::default(), true);
        let unread = unread();
        for _ in 0..10 {
            sender(&name, unread);
        }
        // Each would take an hour.
        drop(publication);
        assert_eq!(honest(&name), Err(ShareError::NotPublished));
    }
}
