//! The server's side: a virtual device set, its growth, and its streams.
//!
//! Owns the set, and each buffer from its allocation to its free. Uses the library's set, `message` and `work`. The
//! command runs each stream in a thread of its own.

use std::io::{self, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Receiver;
use std::thread;
use std::time::{Duration, Instant};

use hugepool::Pool;
use hugepool::share::{Access, Handle, Peers, Publication};
use hugepool::vdi::{self, Config, Parameters, Set};

use super::message::{BYTES, Message};
use super::work::{Job, PREFIX, put};
use super::{Quota, Request};
use crate::failure::Failure;
use crate::units::{KIB, MIB};

/// Buffers that a stream has with its client at the most: the interface's `maxIODepth`.
pub const DEPTH: usize = 4;
/// The most streams of a set: the most devices that it can have.
pub const MAX_STREAMS: usize = 64;
/// Bytes that every buffer is aligned to.
pub const ALIGNMENT: u32 = 4096;

/// How often a set may grow.
const GROWTHS: u64 = 64;
/// How long a stream waits for a buffer, and for its client, before it gives up.
const PATIENCE: Duration = Duration::from_secs(30);

/// A set that is published, with its streams' devices open.
pub struct VirtualSet {
    set: Arc<Set>,
    publication: Publication,
    size: u32,
    /// By how many buffers it grows.
    quarter: u32,
}

/// What is left of a set that was closed.
#[derive(Debug, Default, Clone)]
pub struct Remains {
    /// Buffers at the end.
    pub buffers: usize,
    /// Those that could not be allocated although nobody had them.
    pub lost: usize,
    /// Why it could not be closed.
    pub fault: Option<String>,
}

impl VirtualSet {
    /// Opens a set for `streams` streams, by `name`, and maps its buffers.
    pub fn open(request: &Request, streams: usize, name: &str) -> Result<VirtualSet, Failure> {
        let size = request.size as u32;
        let buffers = request.buffers as u32;
        let quarter = (buffers / 4).max(1);
        let opened = || {
            let builder = Pool::builder().shared(Access::Write);
            // Room for growth, each time with the ends that do not fill a huge page.
            let cell = request.size + (ALIGNMENT + PREFIX) as usize;
            let growths = GROWTHS as usize * (quarter as usize * cell + 8 * MIB);
            let bytes = request.buffers * cell + 8 * MIB + growths;
            let set = Arc::new(Set::with_builder(builder.address_space(bytes)));
            set.open(&Config {
                device_count: streams as u32,
                prefix_zone_size: PREFIX,
                ..Config::default()
            })?;
            set.begin_configuration(&Parameters {
                features: 0,
                block_size: ALIGNMENT,
                alignment: 0,
                max_transfer_size: size.next_multiple_of(64 * KIB as u32),
                time_out: 0,
            })?;
            set.request_buffers(size, 0, buffers)?;
            set.end_configuration()?;
            (0..streams).try_for_each(|_| set.open_device())?;
            Ok(set)
        };
        let set = opened().map_err(|error: vdi::Error| failed(name, &error))?;
        let publication = set.publish(name, Peers::default());
        Ok(VirtualSet {
            set,
            publication: publication.map_err(|error| failed(name, &error))?,
            size,
            quarter,
        })
    }

    /// The pages that the set's buffers are on, in words.
    pub fn pages(&self) -> String {
        let stats = self.set.pool().map(Pool::stats);
        let kinds = stats.iter().flat_map(|stats| &stats.segments);
        kinds
            .map(|segment| segment.pages.to_string())
            .next()
            .unwrap_or_default()
    }

    /// Adds buffers now and then, until `done`. Gives how often.
    pub fn grow(&self, every: Option<Duration>, done: &AtomicBool) -> Result<u64, String> {
        let Some(every) = every else { return Ok(0) };
        let mut next = Instant::now() + every;
        let mut growths = 0;
        while growths < GROWTHS && !done.load(Ordering::Relaxed) {
            if Instant::now() >= next {
                let grown = self.set.request_buffers(self.size, 0, self.quarter);
                grown.map_err(|error| format!("RequestBuffers: {error}"))?;
                growths += 1;
                next += every;
            }
            thread::sleep(Duration::from_millis(1));
        }
        Ok(growths)
    }

    /// Serves the stream numbered `stream` until its quota is done, over one socket after the other.
    pub fn serve(&self, stream: u32, quota: &Quota, sockets: &Receiver<UnixStream>) -> Tally {
        let mut stream = Stream {
            set: &self.set,
            size: self.size,
            stream,
            begun: 0,
            pattern: vec![0; self.size as usize],
            out: Vec::with_capacity(DEPTH),
            tally: Tally::default(),
        };
        while quota.allows(stream.begun) {
            let Ok(socket) = sockets.recv() else {
                stream
                    .tally
                    .faults
                    .push(format!("stream {}: nobody serves it", stream.stream));
                break;
            };
            let served = stream.serve(quota, &socket);
            match served {
                Ok(()) => {}
                // A process that was killed has nothing mapped when its sockets are closed.
                Err(Broken::HungUp) => stream.take_back(),
                // What the client still has is lost: it may yet write there.
                Err(Broken::Fault(fault)) => {
                    stream
                        .tally
                        .faults
                        .push(format!("stream {}: {fault}", stream.stream));
                    break;
                }
            }
        }
        stream.tally
    }

    /// Closes the set, whose streams have ended.
    pub fn close(self) -> Remains {
        let buffers = self.set.pool().map_or(0, |pool| pool.stats().capacity());
        let ended = self.set.query_available_buffers(self.size, 0);
        let fault = ended.as_ref().err().map(ToString::to_string);
        // Each stream has a device.
        let devices = self.set.configuration().map_or(0, |set| set.device_count);
        let closed = (0..devices)
            .try_for_each(|_| self.set.close_device())
            .and_then(|()| self.set.close());
        let fault = fault.or_else(|| closed.err().map(|error| error.to_string()));
        drop(self.publication);
        Remains {
            buffers,
            lost: buffers - ended.unwrap_or(0).min(buffers),
            fault,
        }
    }
}

fn failed(name: &str, error: &dyn std::fmt::Display) -> Failure {
    Failure::run(format!("set `{name}`: {error}"))
}

/// What became of a stream, or of all of a set.
#[derive(Debug, Default, Clone)]
pub struct Tally {
    /// Buffers that came back with the right checksum and stamp.
    pub hand_overs: u64,
    /// Bytes of those.
    pub bytes: u64,
    /// Buffers that a client had when it was killed.
    pub taken_back: u64,
    /// Buffers that came back with a wrong checksum, or a wrong stamp.
    pub wrong: u64,
    /// What should not have happened.
    pub faults: Vec<String>,
}

impl Tally {
    pub fn panicked() -> Tally {
        Tally {
            faults: vec!["a stream's thread panicked".to_owned()],
            ..Tally::default()
        }
    }

    pub fn add(&mut self, other: &Tally) {
        self.hand_overs += other.hand_overs;
        self.bytes += other.bytes;
        self.taken_back += other.taken_back;
        self.wrong += other.wrong;
        self.faults.extend_from_slice(&other.faults);
    }
}

/// Why a socket is of no use any more.
enum Broken {
    /// The client has gone.
    HungUp,
    Fault(String),
}

impl Broken {
    /// After a call on a socket.
    fn of(error: &io::Error) -> Broken {
        match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
                Broken::Fault(format!("no answer within {} s", PATIENCE.as_secs()))
            }
            _ => Broken::HungUp,
        }
    }

    fn fault(call: &str, error: impl std::fmt::Display) -> Broken {
        Broken::Fault(format!("{call}: {error}"))
    }
}

/// A buffer that the client has.
struct Out {
    start: NonNull<u8>,
    handle: Handle,
    job: Job,
    sum: u32,
}

/// One stream.
struct Stream<'a> {
    set: &'a Set,
    size: u32,
    stream: u32,
    /// Hand-overs that were begun.
    begun: u64,
    /// What the next buffer is filled with.
    pattern: Vec<u8>,
    out: Vec<Out>,
    tally: Tally,
}

impl Stream<'_> {
    /// Hands buffers over until the quota is done, and all are back.
    fn serve(&mut self, quota: &Quota, socket: &UnixStream) -> Result<(), Broken> {
        let timed = socket.set_read_timeout(Some(PATIENCE));
        timed.map_err(|error| Broken::fault("a socket", error))?;
        let mut writer = socket;
        let mut reader = BufReader::with_capacity(DEPTH * BYTES, socket);
        let (mut messages, mut answers) = (Vec::new(), Vec::new());
        loop {
            messages.clear();
            while self.out.len() < DEPTH && quota.allows(self.begun) {
                let Some(message) = self.hand_over()? else {
                    break;
                };
                messages.extend(message.to_bytes());
            }
            writer
                .write_all(&messages)
                .map_err(|error| Broken::of(&error))?;
            if self.out.is_empty() {
                return Ok(());
            }
            Message::read_all(&mut reader, &mut answers).map_err(|error| Broken::of(&error))?;
            if answers.is_empty() {
                return Err(Broken::HungUp);
            }
            for answer in &answers {
                self.come_back(*answer)?;
            }
        }
    }

    /// Takes a buffer and fills it. Waits for one only if the client has none: otherwise `None` if there is none.
    fn hand_over(&mut self) -> Result<Option<Message>, Broken> {
        let taken = if self.out.is_empty() {
            self.set.allocate_buffer_timeout(self.size, 0, PATIENCE)
        } else {
            match self.set.allocate_buffer(self.size, 0) {
                Err(error) if error.code() == vdi::VD_E_MEMORY => return Ok(None),
                other => other,
            }
        };
        let start = taken.map_err(|error| Broken::fault("AllocateBuffer", error))?;
        let job = Job {
            stream: self.stream,
            number: self.begun,
        };
        let sum = job.fill(&mut self.pattern);
        // SAFETY: allocated just now with this size.
        unsafe { put(start, &self.pattern) };
        let handle = match self.set.handle(start.as_ptr()) {
            Ok(handle) => handle,
            Err(error) => {
                self.free(start);
                return Err(Broken::fault("GetBufferHandle", error));
            }
        };
        self.begun += 1;
        self.out.push(Out {
            start,
            handle,
            job,
            sum,
        });
        Ok(Some(Message::hand_over(handle.raw(), job)))
    }

    /// Checks what the client says, and gives the buffer back. The client is believed nothing: a handle that is not of
    /// a buffer that it has is its end.
    fn come_back(&mut self, answer: Message) -> Result<(), Broken> {
        let handle = Handle::from_raw(answer.handle);
        let view = self
            .set
            .view(handle)
            .map_err(|error| Broken::fault("MapBufferHandle", error))?;
        let out = self
            .out
            .iter()
            .position(|out| out.handle == handle && out.job.number == answer.number);
        let Some(at) = out else {
            return Err(Broken::Fault(format!(
                "handle {handle} is not one that the client has"
            )));
        };
        let Out {
            start, job, sum, ..
        } = self.out.swap_remove(at);
        // SAFETY: the prefix zone of a buffer that is ours again.
        let stamped = unsafe { job.take_stamp(start, sum) };
        let known = view.start == start && view.size == self.size as usize;
        if stamped && known && answer.word == sum {
            self.tally.hand_overs += 1;
            self.tally.bytes += u64::from(self.size);
        } else {
            self.tally.wrong += 1;
        }
        self.free(start);
        Ok(())
    }

    /// Takes back what a client had that has gone.
    fn take_back(&mut self) {
        while let Some(out) = self.out.pop() {
            self.free(out.start);
            self.tally.taken_back += 1;
        }
    }

    fn free(&mut self, start: NonNull<u8>) {
        // SAFETY: each buffer is freed once, when it is no longer `out`.
        if let Err(error) = unsafe { self.set.free_buffer(start.as_ptr(), self.size) } {
            self.tally.faults.push(format!("FreeBuffer: {error}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::super::Until;
    use super::*;

    const BUFFERS: usize = 8;

    /// Serves 100 hand-overs of one stream to clients that do what `client` does with each message: `None` hangs up.
    fn served(
        name: &str,
        clients: usize,
        client: impl Fn(&VirtualSet, Message) -> Option<Message> + Sync,
    ) -> (Tally, Remains) {
        let request = Request {
            sets: 1,
            clients: 1,
            streams: 1,
            size: 4096,
            buffers: BUFFERS,
            until: Until::HandOvers(100),
            kill_every: None,
            grow_every: None,
        };
        let name = format!("test of vdi-demo: {name} {}", std::process::id());
        let Ok(set) = VirtualSet::open(&request, 1, &name) else {
            panic!("the set does not open")
        };
        let (plug, sockets) = mpsc::channel();
        let tally = thread::scope(|scope| {
            for _ in 0..clients {
                let (our, their) = UnixStream::pair().expect("there are sockets");
                plug.send(our).expect("the stream is there");
                let (set, client) = (&set, &client);
                scope.spawn(move || {
                    let mut reader = BufReader::new(&their);
                    while let Ok(Some(message)) = Message::read(&mut reader) {
                        let Some(answer) = client(set, message) else {
                            return;
                        };
                        let _ = (&their).write_all(&answer.to_bytes());
                    }
                });
            }
            drop(plug);
            set.serve(0, &Quota::of(&request, 0), &sockets)
        });
        (tally, set.close())
    }

    /// What a client does, in this process.
    fn good(set: &VirtualSet, message: Message) -> Message {
        let view = set
            .set
            .view(Handle::from_raw(message.handle))
            .expect("it is out");
        // SAFETY: the buffer is the client's until it answers.
        let sum = super::super::work::checksum(unsafe {
            std::slice::from_raw_parts(view.start.as_ptr(), view.size)
        });
        // SAFETY: as above, with its prefix zone.
        unsafe { message.job().write_stamp(view.start, sum) };
        message.answer(sum)
    }

    #[test]
    fn good_answers_are_counted_and_every_buffer_comes_home() {
        let (tally, remains) = served("good", 1, |set, message| Some(good(set, message)));
        assert_eq!(
            (tally.hand_overs, tally.bytes, tally.wrong),
            (100, 409_600, 0)
        );
        assert_eq!(tally.faults, [""; 0]);
        assert_eq!(
            (remains.buffers, remains.lost, remains.fault),
            (BUFFERS, 0, None)
        );
    }

    #[test]
    fn a_wrong_checksum_and_a_wrong_stamp_are_counted() {
        let (tally, remains) = served("wrong sum", 1, |set, message| {
            let right = good(set, message);
            Some(right.answer(right.word ^ 1))
        });
        assert_eq!((tally.hand_overs, tally.wrong, remains.lost), (0, 100, 0));
        // Right, but not stamped.
        let (tally, remains) = served("no stamp", 1, |set, message| {
            let right = good(set, message);
            let view = set
                .set
                .view(Handle::from_raw(message.handle))
                .expect("it is out");
            // SAFETY: as above.
            unsafe { message.job().take_stamp(view.start, right.word) };
            Some(right)
        });
        assert_eq!((tally.hand_overs, tally.wrong, remains.lost), (0, 100, 0));
    }

    #[test]
    fn a_client_that_hangs_up_costs_no_buffer_and_the_next_goes_on() {
        let (tally, remains) = served("hangs up", 2, |set, message| {
            (message.number != 10).then(|| good(set, message))
        });
        assert_eq!((tally.hand_overs + tally.taken_back, tally.wrong), (100, 0));
        assert!(
            (1..=DEPTH as u64).contains(&tally.taken_back),
            "{}",
            tally.taken_back
        );
        assert_eq!(remains.lost, 0);
    }

    #[test]
    fn when_no_client_is_left_the_stream_says_so() {
        let (tally, remains) = served("alone", 1, |_, _| None);
        assert_eq!(tally.faults, ["stream 0: nobody serves it"]);
        assert_eq!((tally.hand_overs, remains.lost), (0, 0));
    }

    #[test]
    fn a_handle_that_the_client_does_not_have_ends_the_stream() {
        for forged in [0, u32::MAX, 1 << 20] {
            let (tally, remains) = served("forged", 1, |_, message| {
                Some(Message {
                    handle: message.handle ^ forged ^ 1 << 31,
                    ..message
                })
            });
            assert_eq!(tally.faults.len(), 1, "{:?}", tally.faults);
            assert!(
                tally.faults[0].contains("MapBufferHandle: handle 0x"),
                "{}",
                tally.faults[0]
            );
            // What it had is not given to others: it may write there.
            assert_eq!((tally.hand_overs, remains.lost), (0, DEPTH));
        }
    }
}
