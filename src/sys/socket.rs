//! Sockets of this machine: messages with descriptors.
//!
//! Owns: `socket`, `sendmsg`, `recvmsg`, `poll`. Uses: libc. Used by: `share`.
//!
//! Source: unix(7), cmsg(3), recvmsg(2), poll(2), and signal(7): calls on a socket with a
//! time limit are not restarted after a signal, so they are made again here. Sockets are of sequential packets: a
//! message arrives as a whole. Names are abstract: they are in no file system, and go
//! with the process that has them.

use std::io;
use std::mem::ManuallyDrop;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::time::{Duration, Instant};

/// The most descriptors in a message.
pub const MAX_DESCRIPTORS: usize = 3;

/// Room for them, aligned for its header.
#[repr(C, align(8))]
struct Ancillary([u8; 64]);

const fn space() -> usize {
    // SAFETY: arithmetic alone.
    unsafe { libc::CMSG_SPACE((MAX_DESCRIPTORS * size_of::<libc::c_int>()) as u32) as usize }
}

const _: () = assert!(space() <= size_of::<Ancillary>());

/// The longest name, in bytes.
pub const MAX_NAME: usize = 100;

/// The address of the abstract name `name`, and how many bytes of it count.
fn address(name: &[u8]) -> io::Result<(libc::sockaddr_un, libc::socklen_t)> {
    if name.is_empty() || name.len() > MAX_NAME {
        return Err(io::Error::from(io::ErrorKind::InvalidInput));
    }
    // SAFETY: all zero is an address.
    let mut address: libc::sockaddr_un = unsafe { std::mem::zeroed() };
    address.sun_family = libc::AF_UNIX as libc::sa_family_t;
    // The first byte stays 0.
    for (to, &from) in address.sun_path[1..].iter_mut().zip(name) {
        *to = from as libc::c_char;
    }
    let len = std::mem::offset_of!(libc::sockaddr_un, sun_path) + 1 + name.len();
    Ok((address, len as libc::socklen_t))
}

fn socket() -> io::Result<OwnedFd> {
    // SAFETY: takes numbers.
    let fd = unsafe { libc::socket(libc::AF_UNIX, libc::SOCK_SEQPACKET | libc::SOCK_CLOEXEC, 0) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: made just now, and nobody else's.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn check(result: libc::c_int) -> io::Result<()> {
    match result {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// A socket that is connected to nobody, and takes nothing.
pub fn unconnected() -> io::Result<OwnedFd> {
    socket()
}

/// A socket that has `name`, and can listen there.
pub fn bind(name: &[u8]) -> io::Result<OwnedFd> {
    let (address, len) = address(name)?;
    let socket = socket()?;
    // SAFETY: the address is as long as it says.
    check(unsafe { libc::bind(socket.as_raw_fd(), (&raw const address).cast(), len) })?;
    Ok(socket)
}

/// Lets others connect to a socket that has a name.
pub fn listen(socket: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: the socket is open.
    check(unsafe { libc::listen(socket.as_raw_fd(), 16) })
}

/// Ends a socket wherever it is still open: a child of a fork may have it as well. One
/// that listens refuses who connects from now on, and who has and was not accepted.
pub fn shut_down(socket: BorrowedFd<'_>) {
    // SAFETY: the socket is open. It fails only for what is no longer connected.
    unsafe { libc::shutdown(socket.as_raw_fd(), libc::SHUT_RDWR) };
}

/// When a call must be done.
#[derive(Clone, Copy)]
pub struct Deadline(Instant);

impl Deadline {
    /// `limit` from now.
    pub fn within(limit: Duration) -> Self {
        let now = Instant::now();
        // A time that no clock reaches is as good as a day.
        Self(
            now.checked_add(limit)
                .unwrap_or(now + Duration::from_secs(86_400)),
        )
    }

    /// How long that is from now.
    pub fn left(self) -> Duration {
        self.0.saturating_duration_since(Instant::now())
    }

    /// Sets how long calls on `socket` may take by `option`, the one that is named after
    /// the direction: what is left. `WouldBlock` if nothing is.
    fn set(self, socket: BorrowedFd<'_>, option: libc::c_int) -> io::Result<()> {
        let left = self.left();
        if left.is_zero() {
            return Err(io::Error::from(io::ErrorKind::WouldBlock));
        }
        let limit = libc::timeval {
            tv_sec: libc::time_t::try_from(left.as_secs()).unwrap_or(libc::time_t::MAX),
            // 0 would be for ever.
            tv_usec: libc::suseconds_t::from(left.subsec_micros()).max(1),
        };
        set_option(socket, option, &limit)
    }

    /// Makes `call`, which takes until then at most, again after each signal.
    fn call<T>(
        self,
        socket: BorrowedFd<'_>,
        option: libc::c_int,
        mut call: impl FnMut() -> io::Result<T>,
    ) -> io::Result<T> {
        loop {
            self.set(socket, option)?;
            match call() {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => return other,
            }
        }
    }
}

fn set_option<T>(socket: BorrowedFd<'_>, option: libc::c_int, value: &T) -> io::Result<()> {
    // SAFETY: the value is there, and as long as it says.
    check(unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            option,
            (&raw const *value).cast(),
            size_of::<T>() as libc::socklen_t,
        )
    })
}

/// A socket that is connected to who listens at `name`. `WouldBlock` if that takes longer
/// than until `deadline`.
#[cfg(test)]
pub fn connect(name: &[u8], deadline: Deadline) -> io::Result<OwnedFd> {
    use std::os::fd::AsFd;
    let socket = socket()?;
    connect_to(socket.as_fd(), name, deadline)?;
    Ok(socket)
}

/// As `connect`, a socket that is connected to nobody.
pub fn connect_to(socket: BorrowedFd<'_>, name: &[u8], deadline: Deadline) -> io::Result<()> {
    let (address, len) = address(name)?;
    deadline.call(socket, libc::SO_SNDTIMEO, || {
        // SAFETY: the address is as long as it says. After a signal nothing has been
        // begun: it is made again.
        check(unsafe { libc::connect(socket.as_raw_fd(), (&raw const address).cast(), len) })
    })
}

/// `send`, until `deadline` at most: then `WouldBlock`.
pub fn send_until(socket: BorrowedFd<'_>, bytes: &[u8], deadline: Deadline) -> io::Result<()> {
    deadline.call(socket, libc::SO_SNDTIMEO, || send(socket, bytes, &[]))
}

/// `receive`, until `deadline` at most: then `WouldBlock`.
pub fn receive_until(
    socket: BorrowedFd<'_>,
    bytes: &mut [u8],
    deadline: Deadline,
) -> io::Result<(usize, Vec<Strange>)> {
    deadline.call(socket, libc::SO_RCVTIMEO, || receive(socket, bytes))
}

/// `SO_PASSRIGHTS`, of Linux 6.16.
const SO_PASSRIGHTS: libc::c_int = 83;

/// Lets nobody send descriptors to whom a listening socket accepts: whoever closes the
/// last one waits for what is behind it, which may be as long as its sender likes. An
/// error before Linux 6.16.
pub fn refuse_descriptors(listener: BorrowedFd<'_>) -> io::Result<()> {
    let no: libc::c_int = 0;
    set_option(listener, SO_PASSRIGHTS, &no)
}

/// As before Linux 6.16.
#[cfg(test)]
pub fn allow_descriptors(listener: BorrowedFd<'_>) {
    let yes: libc::c_int = 1;
    let _ = set_option(listener, SO_PASSRIGHTS, &yes);
}

/// Whether descriptors come with the next message, which is there. It stays.
pub fn has_descriptors(socket: BorrowedFd<'_>) -> io::Result<bool> {
    // SAFETY: all zero is an empty header: room for nothing.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    let flags = libc::MSG_PEEK | libc::MSG_DONTWAIT | libc::MSG_CMSG_CLOEXEC;
    // SAFETY: nothing is written but the flags.
    match unsafe { libc::recvmsg(socket.as_raw_fd(), &mut message, flags) } {
        0.. => Ok(message.msg_flags & libc::MSG_CTRUNC != 0),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Whether the other end, which sends nothing, is closed.
pub fn is_ended(socket: BorrowedFd<'_>) -> bool {
    has_descriptors(socket).is_ok()
}

/// Whether the other end has not read all that was sent to it.
pub fn is_unread(socket: BorrowedFd<'_>) -> io::Result<bool> {
    let mut bytes: libc::c_int = 0;
    // SAFETY: the number is there to be written.
    check(unsafe { libc::ioctl(socket.as_raw_fd(), libc::TIOCOUTQ, &raw mut bytes) })?;
    Ok(bytes != 0)
}

/// The next who connects to a listening socket. Calls on the socket do not wait.
pub fn accept(listener: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    accept_with(listener, libc::SOCK_NONBLOCK)
}

/// As `accept`; calls on the socket wait.
#[cfg(test)]
pub fn accept_waiting(listener: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    accept_with(listener, 0)
}

fn accept_with(listener: BorrowedFd<'_>, flags: libc::c_int) -> io::Result<OwnedFd> {
    let null = std::ptr::null_mut();
    let flags = libc::SOCK_CLOEXEC | flags;
    // SAFETY: the address of the other end is not asked for.
    let fd = unsafe { libc::accept4(listener.as_raw_fd(), null, null.cast(), flags) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: made just now, and nobody else's.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Two sockets that are connected to each other.
pub fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    let mut both = [0; 2];
    let kind = libc::SOCK_SEQPACKET | libc::SOCK_CLOEXEC;
    // SAFETY: there is room for two.
    check(unsafe { libc::socketpair(libc::AF_UNIX, kind, 0, both.as_mut_ptr()) })?;
    // SAFETY: made just now, and nobody else's.
    Ok(both.map(|fd| unsafe { OwnedFd::from_raw_fd(fd) }).into())
}

/// Waits until one of `sockets` has something to read, or is closed at the other end, but
/// not longer than `limit`; says which.
pub fn wait(sockets: &[BorrowedFd<'_>], limit: Option<Duration>) -> io::Result<Vec<bool>> {
    let limit = limit.map_or(-1, |limit| limit.as_millis().try_into().unwrap_or(i32::MAX));
    let mut polled: Vec<libc::pollfd> = (sockets.iter())
        .map(|socket| libc::pollfd {
            fd: socket.as_raw_fd(),
            events: libc::POLLIN,
            revents: 0,
        })
        .collect();
    // SAFETY: as many as it says.
    while unsafe { libc::poll(polled.as_mut_ptr(), polled.len() as libc::nfds_t, limit) } < 0 {
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
    Ok(polled.iter().map(|polled| polled.revents != 0).collect())
}

/// Sends a message with `descriptors`, at most `MAX_DESCRIPTORS`, as a whole or not at
/// all. Never raises `SIGPIPE`.
pub fn send(
    socket: BorrowedFd<'_>,
    bytes: &[u8],
    descriptors: &[BorrowedFd<'_>],
) -> io::Result<()> {
    if descriptors.len() > MAX_DESCRIPTORS {
        return Err(io::Error::from(io::ErrorKind::InvalidInput));
    }
    let mut part = libc::iovec {
        iov_base: bytes.as_ptr().cast_mut().cast(),
        iov_len: bytes.len(),
    };
    let mut ancillary = Ancillary([0; 64]);
    // SAFETY: all zero is an empty header.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = &mut part;
    message.msg_iovlen = 1;
    if !descriptors.is_empty() {
        let data = size_of_val(descriptors) as u32;
        message.msg_control = ancillary.0.as_mut_ptr().cast();
        // SAFETY: arithmetic alone.
        message.msg_controllen = unsafe { libc::CMSG_SPACE(data) } as usize;
        // SAFETY: there is room for one header and the descriptors.
        unsafe {
            let header = libc::CMSG_FIRSTHDR(&message);
            (*header).cmsg_level = libc::SOL_SOCKET;
            (*header).cmsg_type = libc::SCM_RIGHTS;
            (*header).cmsg_len = libc::CMSG_LEN(data) as usize;
            let to = libc::CMSG_DATA(header).cast::<libc::c_int>();
            for (at, descriptor) in descriptors.iter().enumerate() {
                to.add(at).write_unaligned(descriptor.as_raw_fd());
            }
        }
    }
    let flags = libc::MSG_NOSIGNAL;
    // SAFETY: the message points to what is there until the call returns.
    let sent = unsafe { libc::sendmsg(socket.as_raw_fd(), &message, flags) };
    match usize::try_from(sent) {
        Ok(sent) if sent == bytes.len() => Ok(()),
        Ok(_) => Err(io::Error::from(io::ErrorKind::WriteZero)),
        Err(_) => Err(io::Error::last_os_error()),
    }
}

/// A descriptor of which nothing is known. It is not closed when this is dropped: that may
/// take as long as its sender likes. (See `files` for what closes it.)
pub type Strange = ManuallyDrop<OwnedFd>;

/// Receives a message of up to `bytes.len()` bytes, and the descriptors that came with
/// it, whatever they are. One with more of either is refused, with `EMSGSIZE`; `EMFILE` if
/// this process can have no more of them. 0 bytes: the other end is closed.
pub fn receive(socket: BorrowedFd<'_>, bytes: &mut [u8]) -> io::Result<(usize, Vec<Strange>)> {
    let mut part = libc::iovec {
        iov_base: bytes.as_mut_ptr().cast(),
        iov_len: bytes.len(),
    };
    let mut ancillary = Ancillary([0; 64]);
    // SAFETY: all zero is an empty header.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = &mut part;
    message.msg_iovlen = 1;
    message.msg_control = ancillary.0.as_mut_ptr().cast();
    message.msg_controllen = space();
    let flags = libc::MSG_CMSG_CLOEXEC;
    // SAFETY: the message points to what may be written until the call returns.
    let received = unsafe { libc::recvmsg(socket.as_raw_fd(), &mut message, flags) };
    let received = usize::try_from(received).map_err(|_| io::Error::last_os_error())?;
    let mut descriptors = Vec::new();
    // SAFETY: the kernel wrote the headers, and their lengths are within the room.
    unsafe {
        let mut header = libc::CMSG_FIRSTHDR(&message);
        while !header.is_null() {
            if ((*header).cmsg_level, (*header).cmsg_type) == (libc::SOL_SOCKET, libc::SCM_RIGHTS) {
                let data = (*header).cmsg_len as usize - libc::CMSG_LEN(0) as usize;
                let from = libc::CMSG_DATA(header).cast::<libc::c_int>();
                for at in 0..data / size_of::<libc::c_int>() {
                    // New ones, and nobody else's.
                    let descriptor = OwnedFd::from_raw_fd(from.add(at).read_unaligned());
                    descriptors.push(ManuallyDrop::new(descriptor));
                }
            }
            header = libc::CMSG_NXTHDR(&message, header);
        }
    }
    let truncated = |flag| message.msg_flags & flag != 0;
    if truncated(libc::MSG_CTRUNC) && descriptors.len() < MAX_DESCRIPTORS {
        return Err(io::Error::from_raw_os_error(libc::EMFILE));
    }
    if truncated(libc::MSG_TRUNC | libc::MSG_CTRUNC) {
        return Err(io::Error::from_raw_os_error(libc::EMSGSIZE));
    }
    Ok((received, descriptors))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::io::Read;
    use std::os::fd::AsFd;

    #[test]
    fn descriptors_travel_with_their_bytes() {
        let (one, other) = pair().unwrap();
        let files = [
            File::open("/proc/self/stat").unwrap(),
            File::open("/proc/version").unwrap(),
        ];
        let descriptors: Vec<_> = files.iter().map(AsFd::as_fd).collect();
        send(one.as_fd(), b"two", &descriptors).unwrap();
        send(one.as_fd(), b"none", &[]).unwrap();
        let mut bytes = [0; 3];
        let (len, mut received) = receive(other.as_fd(), &mut bytes).unwrap();
        assert_eq!((len, &bytes, received.len()), (3, b"two", 2));
        let mut text = String::new();
        let mut version = File::from(ManuallyDrop::into_inner(received.remove(1)));
        version.read_to_string(&mut text).unwrap();
        assert!(text.starts_with("Linux"));
        let mut bytes = [0; 8];
        let (len, received) = receive(other.as_fd(), &mut bytes).unwrap();
        assert_eq!((len, received.len()), (4, 0));
        drop(one);
        assert_eq!(receive(other.as_fd(), &mut bytes).unwrap().0, 0);
    }

    #[test]
    fn more_descriptors_than_there_is_room_for_are_refused() {
        let (one, _other) = pair().unwrap();
        let too_many = [one.as_fd(); MAX_DESCRIPTORS + 1];
        assert!(send(one.as_fd(), b"x", &too_many).is_err());
    }

    #[test]
    fn what_is_too_much_to_be_received_has_a_number() {
        let (one, other) = pair().unwrap();
        send(one.as_fd(), b"four", &[]).unwrap();
        let error = receive(other.as_fd(), &mut [0; 3]).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EMSGSIZE));
    }

    #[test]
    fn descriptors_are_seen_before_they_are_received() {
        let (one, other) = pair().unwrap();
        let nothing = has_descriptors(other.as_fd()).unwrap_err();
        assert_eq!(nothing.kind(), io::ErrorKind::WouldBlock);
        for descriptors in [&[][..], &[one.as_fd()]] {
            send(one.as_fd(), b"x", descriptors).unwrap();
            for _ in 0..2 {
                let seen = has_descriptors(other.as_fd()).unwrap();
                assert_eq!(seen, !descriptors.is_empty());
            }
            let (_, received) = receive(other.as_fd(), &mut [0; 1]).unwrap();
            assert_eq!(received.len(), descriptors.len());
        }
    }

    #[test]
    fn what_the_other_end_has_not_read_is_known() {
        let (one, other) = pair().unwrap();
        assert!(!is_unread(one.as_fd()).unwrap());
        send(one.as_fd(), b"x", &[]).unwrap();
        assert!(is_unread(one.as_fd()).unwrap());
        receive(other.as_fd(), &mut [0; 1]).unwrap();
        assert!(!is_unread(one.as_fd()).unwrap());
    }
}
