//! The client processes.
//!
//! Owns them from their start to their end, and the sockets between them and the streams. Uses `client` for how sockets
//! are passed on. The command runs it in a thread of its own, the only one that starts processes: none gets sockets
//! that are another's.

use std::io;
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Sender;
use std::thread;
use std::time::{Duration, Instant};

use super::Request;
use super::client::Inherited;
use crate::failure::Failure;

/// How often the clients are looked at.
const LOOK: Duration = Duration::from_millis(2);
/// How long a client that has nothing left to do may take to end.
const PATIENCE: Duration = Duration::from_secs(10);

/// The clients of all sets.
pub struct Crowd<'a> {
    request: &'a Request,
    names: &'a [String],
    /// By stream: where its next socket goes.
    plugs: Vec<Sender<UnixStream>>,
    clients: Vec<Option<Child>>,
    ends: Ends,
}

/// How the clients ended.
#[derive(Debug, Default)]
pub struct Ends(Vec<SetEnds>);

/// How the clients of one set ended.
#[derive(Debug, Default, Clone)]
pub struct SetEnds {
    /// How many were started.
    pub started: u64,
    /// How many were killed on purpose.
    pub killed: u64,
    /// What others ended with that did not end well.
    pub failed: Vec<String>,
}

impl Ends {
    pub fn of_set(&self, set: usize) -> SetEnds {
        self.0.get(set).cloned().unwrap_or_default()
    }
}

impl<'a> Crowd<'a> {
    pub fn new(
        request: &'a Request,
        names: &'a [String],
        plugs: Vec<Sender<UnixStream>>,
    ) -> Crowd<'a> {
        Crowd {
            request,
            names,
            plugs,
            clients: (0..request.clients).map(|_| None).collect(),
            ends: Ends(vec![SetEnds::default(); request.sets]),
        }
    }

    /// Starts the clients, kills some if that is asked for, and waits for all when `done`. If it fails, the streams
    /// find that nobody serves them.
    pub fn run(mut self, done: &AtomicBool) -> Result<Ends, Failure> {
        let tended = self.tend(done);
        // No stream waits for another socket.
        self.plugs.clear();
        let ended = self.end(if tended.is_ok() {
            PATIENCE
        } else {
            Duration::ZERO
        });
        let failed = |error: io::Error| Failure::run(format!("cannot run the clients: {error}"));
        tended.and(ended).map_err(failed)?;
        Ok(self.ends)
    }

    fn tend(&mut self, done: &AtomicBool) -> io::Result<()> {
        for client in 0..self.clients.len() {
            self.start(client)?;
        }
        let mut next_kill = self.request.kill_every.map(|every| Instant::now() + every);
        let mut victim = 0;
        while !done.load(Ordering::Relaxed) {
            thread::sleep(LOOK);
            for client in 0..self.clients.len() {
                self.look(client)?;
            }
            if let (Some(time), Some(every)) = (next_kill, self.request.kill_every)
                && Instant::now() >= time
            {
                self.replace(victim)?;
                victim = (victim + 1) % self.clients.len();
                next_kill = Some(Instant::now() + every);
            }
        }
        Ok(())
    }

    fn set_of(&self, client: usize) -> usize {
        client % self.request.sets
    }

    /// The streams that a client serves: all of its set, shared out among the clients of that.
    fn streams(&self, client: usize) -> impl Iterator<Item = usize> + use<> {
        let Request {
            sets,
            clients,
            streams,
            ..
        } = *self.request;
        let (set, nth) = (client % sets, client / sets);
        let peers = (set..clients).step_by(sets).count();
        (set..streams).step_by(sets).skip(nth).step_by(peers)
    }

    fn start(&mut self, client: usize) -> io::Result<()> {
        let set = self.set_of(client);
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["vdi-client", "--set", &self.names[set]]);
        // Its own ends are closed here when it has them.
        let mut theirs = Vec::new();
        let mut ours = Vec::new();
        for stream in self.streams(client) {
            let (our, their) = UnixStream::pair()?;
            command
                .arg("--socket")
                .arg(Inherited::pass_on(&their)?.to_string());
            theirs.push(their);
            ours.push((stream, our));
        }
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn()?;
        drop(theirs);
        self.clients[client] = Some(child);
        self.ends.0[set].started += 1;
        for (stream, our) in ours {
            // A stream that has ended wants none.
            let _ = self.plugs[stream].send(our);
        }
        Ok(())
    }

    /// Notes that a client has ended, if so. It was not killed: if it did not end well, it is not replaced, and its
    /// streams end.
    fn look(&mut self, client: usize) -> io::Result<()> {
        let Some(child) = &mut self.clients[client] else {
            return Ok(());
        };
        if let Some(status) = child.try_wait()? {
            self.clients[client] = None;
            self.note(client, status);
        }
        Ok(())
    }

    fn note(&mut self, client: usize, status: ExitStatus) {
        if !status.success() {
            for stream in self.streams(client) {
                // A plug that leads nowhere: its stream finds that there will be no other socket.
                self.plugs[stream] = std::sync::mpsc::channel().0;
            }
            let set = self.set_of(client);
            self.ends.0[set]
                .failed
                .push(format!("client {client} ended: {status}"));
        }
    }

    /// Kills a client in the middle of whatever it does, and starts another.
    fn replace(&mut self, client: usize) -> io::Result<()> {
        self.look(client)?;
        let Some(mut child) = self.clients[client].take() else {
            return Ok(());
        };
        child.kill()?;
        let status = child.wait()?;
        if status.code().is_some() {
            // It ended by itself before the signal came.
            self.note(client, status);
            return Ok(());
        }
        let set = self.set_of(client);
        self.ends.0[set].killed += 1;
        self.start(client)
    }

    /// Waits for all clients, and kills those that do not end in time.
    fn end(&mut self, patience: Duration) -> io::Result<()> {
        let until = Instant::now() + patience;
        for client in 0..self.clients.len() {
            loop {
                self.look(client)?;
                let Some(child) = &mut self.clients[client] else {
                    break;
                };
                if Instant::now() >= until {
                    child.kill()?;
                    child.wait()?;
                    self.clients[client] = None;
                    let set = self.set_of(client);
                    self.ends.0[set]
                        .failed
                        .push(format!("client {client} did not end"));
                    break;
                }
                thread::sleep(LOOK);
            }
        }
        Ok(())
    }
}
