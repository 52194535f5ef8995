//! Pools that are published, and what comes to them.

use super::LONG;
use hugepool::share::{Access, Client, Name, Peers, ShareError};
use hugepool::{Pool, Volatile};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::SocketAddr;
use std::ptr::NonNull;

/// Bytes of a buffer.
pub const SIZE: usize = 64 << 10;
/// Bytes of the prefix zone.
pub const PREFIX: usize = 512;

/// A pool of `count` buffers, which others may write, with room to grow.
pub fn pool(count: usize) -> Pool<Volatile> {
    let builder = Pool::builder().reserve(SIZE, 4096, count);
    let builder = builder.prefix_zone(PREFIX).shared(Access::Write);
    builder.address_space(1 << 30).build_volatile().unwrap()
}

/// A name that no other test has.
pub fn name(of: &str) -> String {
    format!("test {of} {}", std::process::id())
}

/// A buffer of it.
pub fn allocate(pool: &Pool<Volatile>) -> NonNull<u8> {
    pool.allocate_raw(SIZE, 4096).unwrap()
}

/// Gives one back.
pub fn free(pool: &Pool<Volatile>, start: NonNull<u8>) {
    // SAFETY: allocated by `allocate`, and freed once.
    unsafe { pool.free_raw(start.as_ptr(), SIZE) }.unwrap();
}

/// Opens what is published by `name`, and drops it.
pub fn open(name: &str) -> Result<(), ShareError> {
    opened(name, &Peers::default()).map(drop)
}

/// What `Client::open` gives, however long that takes: a busy machine may need more than its 10 s.
pub fn opened<'a>(name: impl Into<Name<'a>>, peers: &Peers) -> Result<Client, ShareError> {
    let client = Client::new();
    client.open_in_secondary_timeout(name, peers, LONG)?;
    Ok(client)
}

/// What `Client::refresh` gives, however long that takes.
pub fn refresh(client: &Client) -> Result<usize, ShareError> {
    client.refresh_timeout(LONG)
}

/// A connection to the server of `name` that keeps to no rule.
pub fn connect(name: &str) -> OwnedFd {
    let name = format!("hugepool/{name}");
    let address = SocketAddr::from_abstract_name(name).unwrap();
    let path = address.as_abstract_name().unwrap();
    // SAFETY: plain calls; the address is as long as it says.
    unsafe {
        let socket = libc::socket(libc::AF_UNIX, libc::SOCK_SEQPACKET | libc::SOCK_CLOEXEC, 0);
        assert!(socket >= 0);
        let mut raw: libc::sockaddr_un = std::mem::zeroed();
        raw.sun_family = libc::AF_UNIX as u16;
        for (to, &from) in raw.sun_path[1..].iter_mut().zip(path) {
            *to = from as libc::c_char;
        }
        let len = (3 + path.len()) as u32;
        let connected = libc::connect(socket, (&raw const raw).cast(), len);
        assert_eq!(connected, 0);
        OwnedFd::from_raw_fd(socket)
    }
}

/// A question for the first segment of whichever pool there is.
const QUESTION: [u8; 20] = [1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

/// Asks, over a connection to a server; false if that is over.
pub fn ask(socket: &OwnedFd) -> bool {
    let question = QUESTION.as_ptr().cast();
    // SAFETY: the question is as long as it says.
    let sent = unsafe {
        let flags = libc::MSG_NOSIGNAL;
        libc::send(socket.as_raw_fd(), question, QUESTION.len(), flags)
    };
    sent == QUESTION.len() as isize
}

/// Receives up to `len` bytes of one message, and gives how many; 0 if the connection is
/// over.
pub fn receive(socket: &OwnedFd, len: usize, flags: i32) -> usize {
    let mut bytes = vec![0u8; len];
    // SAFETY: the bytes are there to be written.
    let received = unsafe { libc::recv(socket.as_raw_fd(), bytes.as_mut_ptr().cast(), len, flags) };
    received.max(0) as usize
}
