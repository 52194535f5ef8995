//! A client process: maps the set by name, and reads what its streams are handed.
//!
//! Owns the client's side of every stream, and how the sockets come to it. Uses the library's client, `message` and
//! `work`. `crowd` starts it, as the hidden command `vdi-client`.

use std::io::{self, BufReader, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use std::thread;

use hugepool::share::{Client, Handle, Peers, ShareError, View};

use super::message::{BYTES, Message};
use super::work::{PREFIX, checksum};
use crate::failure::Failure;

/// A socket's descriptor that this process was started with.
#[derive(Debug, Clone, Copy)]
pub struct Inherited(RawFd);

impl Inherited {
    /// Reads a descriptor's number; those that every process has are none.
    pub fn parse(text: &str) -> Result<Inherited, String> {
        match text.parse() {
            Ok(fd @ 3..=RawFd::MAX) => Ok(Inherited(fd)),
            _ => Err(format!("`{text}` is no descriptor that a server passes on")),
        }
    }

    /// Makes the next processes that are started inherit `socket`; gives its number there.
    pub fn pass_on(socket: &UnixStream) -> io::Result<RawFd> {
        let fd = socket.as_raw_fd();
        // SAFETY: the descriptor is open, and the flags are of its number in this process alone.
        match unsafe { libc::fcntl(fd, libc::F_SETFD, 0) } {
            0 => Ok(fd),
            _ => Err(io::Error::last_os_error()),
        }
    }

    /// The socket; an error if it is not open.
    fn take(self) -> io::Result<UnixStream> {
        // SAFETY: changes a flag of a descriptor, or fails. Children of this process do not get it.
        if unsafe { libc::fcntl(self.0, libc::F_SETFD, libc::FD_CLOEXEC) } != 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: open, as was just seen, and passed on to this process for nobody else.
        Ok(UnixStream::from(unsafe { OwnedFd::from_raw_fd(self.0) }))
    }
}

/// Serves its streams until the server closes them.
pub fn run(name: &str, sockets: &[Inherited]) -> Result<ExitCode, Failure> {
    let failed = |what: &str, error: &dyn std::fmt::Display| {
        Failure::run(format!("client of `{name}`: {what}: {error}"))
    };
    let sockets = sockets
        .iter()
        .map(|socket| socket.take())
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| failed("a socket", &error))?;
    let client =
        Client::open(name, &Peers::default()).map_err(|error| failed("OpenInSecondary", &error))?;
    let ended = thread::scope(|scope| {
        let streams: Vec<_> = sockets
            .into_iter()
            .map(|socket| scope.spawn(|| serve(&client, socket)))
            .collect();
        streams.into_iter().try_for_each(|stream| {
            let ended = stream.join();
            ended.unwrap_or_else(|_| Err(io::Error::other("a thread panicked")))
        })
    });
    ended.map_err(|error| failed("a stream", &error))?;
    Ok(ExitCode::SUCCESS)
}

/// Reads, checks and stamps what one stream is handed.
fn serve(client: &Client, socket: UnixStream) -> io::Result<()> {
    let mut writer = &socket;
    let mut reader = BufReader::with_capacity(64 * BYTES, &socket);
    let (mut messages, mut answers, mut copy) = (Vec::new(), Vec::new(), Vec::new());
    loop {
        Message::read_all(&mut reader, &mut messages)?;
        if messages.is_empty() {
            return Ok(());
        }
        answers.clear();
        for message in &messages {
            let handle = Handle::from_raw(message.handle);
            let view = map(client, handle).map_err(io::Error::other)?;
            if !view.writable || view.prefix < PREFIX as usize {
                return Err(io::Error::other("there is no prefix zone to write"));
            }
            // What is checked is a copy: the server may write the buffer at any time.
            copy.resize(view.size, 0);
            let read = client.read(handle, 0, &mut copy);
            read.map_err(io::Error::other)?;
            let sum = checksum(&copy);
            let at = view.prefix - PREFIX as usize;
            let stamped = client.write_prefix(handle, at, &message.job().stamp(sum));
            stamped.map_err(io::Error::other)?;
            answers.extend(message.answer(sum).to_bytes());
        }
        writer.write_all(&answers)?;
    }
}

/// MapBufferHandle; a buffer that is not known may be one that the server has added.
fn map(client: &Client, handle: Handle) -> Result<View, ShareError> {
    match client.map(handle) {
        Err(ShareError::BadHandle { .. }) => {
            client.refresh()?;
            client.map(handle)
        }
        known => known,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_descriptor_of_a_socket_is_named() {
        for wrong in ["", "x", "0", "2", "-1", "2147483648"] {
            let error = Inherited::parse(wrong).expect_err(wrong);
            assert!(error.contains(&format!("`{wrong}`")), "{error}");
        }
        let closed = Inherited::parse("1000000").expect("it could be one");
        assert!(closed.take().is_err());
    }
}
