//! `hugepool vdi-demo`: a server process and client processes that hand buffers over in shared memory.
//!
//! Owns the order of the command: sets, clients, streams, clean-up, verdict. The modules, each using only those after
//! it: `server` (a set and its streams), `crowd` (the client processes), `client` (what each of them does), `message`
//! (what goes over the sockets), `work` (what is written into buffers, and the stamp before them); `report` prints.
//!
//! ```text
//!   server process                                client processes
//!   set ── stream: takes a buffer, fills it ── handle ──▶ maps it, reads it in place,
//!                  checks answer and stamp,  ◀─ checksum ── stamps the prefix zone
//!                  gives the buffer back
//! ```
//!
//! The buffers go over in memory that both have mapped; the sockets carry 16 bytes a hand-over each way. A client that
//! is killed leaves its streams' sockets closed: the server takes their buffers back, and another client goes on.

mod client;
mod crowd;
mod message;
mod report;
mod server;
mod work;

use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use crate::failure::Failure;
use crate::units::{self, GIB};
pub use client::{Inherited, run as run_client};
use crowd::Crowd;
use report::Row;
use server::{Tally, VirtualSet};

/// What the command is asked for. The numbers of clients and streams are those of all sets together.
#[derive(Debug, Clone, Copy)]
pub struct Request {
    pub sets: usize,
    pub clients: usize,
    pub streams: usize,
    /// Bytes of a buffer.
    pub size: usize,
    /// Buffers of each set.
    pub buffers: usize,
    pub until: Until,
    /// How often a client is killed.
    pub kill_every: Option<Duration>,
    /// How often each set grows by a quarter.
    pub grow_every: Option<Duration>,
}

impl Request {
    /// The error names what does not go together.
    pub fn check(&self) -> Result<(), String> {
        let Request {
            sets,
            clients,
            streams,
            size,
            buffers,
            ..
        } = *self;
        if clients < sets {
            return Err(format!(
                "{clients} clients are too few for {sets} sets: each needs one"
            ));
        }
        if streams < clients {
            return Err(format!(
                "{streams} streams are too few for {clients} clients: each needs one"
            ));
        }
        let most = server::MAX_STREAMS;
        if streams.div_ceil(sets) > most {
            return Err(format!(
                "{streams} streams are too many for {sets} sets: each has {most} at the most"
            ));
        }
        let bytes = size * buffers * sets;
        if bytes > MAX_BYTES {
            let [bytes, most] = units::together([bytes, MAX_BYTES]);
            return Err(format!("{bytes} of buffers is more than {most}"));
        }
        Ok(())
    }
}

/// Bytes of all buffers at the most.
const MAX_BYTES: usize = 32 * GIB;

/// When a run ends.
#[derive(Debug, Clone, Copy)]
pub enum Until {
    Time(Duration),
    /// After so many hand-overs of all streams together.
    HandOvers(u64),
}

/// When a stream stops taking new buffers.
struct Quota {
    /// Hand-overs of this stream.
    hand_overs: u64,
    end: Option<Instant>,
}

impl Quota {
    fn of(request: &Request, stream: usize) -> Quota {
        match request.until {
            Until::Time(time) => Quota {
                hand_overs: u64::MAX,
                end: Some(Instant::now() + time),
            },
            Until::HandOvers(all) => {
                let streams = request.streams as u64;
                let more = u64::from((stream as u64) < all % streams);
                Quota {
                    hand_overs: all / streams + more,
                    end: None,
                }
            }
        }
    }

    fn allows(&self, begun: u64) -> bool {
        begun < self.hand_overs && self.end.is_none_or(|end| Instant::now() < end)
    }
}

/// Runs it all. Exits with a failure when a checksum or a stamp was wrong, or a buffer did not come home.
pub fn run(request: &Request) -> Result<ExitCode, Failure> {
    let names: Vec<String> = (0..request.sets)
        .map(|set| format!("vdi-demo {} {set}", std::process::id()))
        .collect();
    let sets = names
        .iter()
        .enumerate()
        .map(|(set, name)| VirtualSet::open(request, streams_of(request, set), name))
        .collect::<Result<Vec<_>, _>>()?;
    report::head(request, &sets)?;

    let begun = Instant::now();
    let done = AtomicBool::new(false);
    let (tallies, growths, crowd) = thread::scope(|scope| {
        let (mut plugs, mut sockets) = (Vec::new(), Vec::new());
        for _ in 0..request.streams {
            let (plug, socket) = mpsc::channel();
            plugs.push(plug);
            sockets.push(socket);
        }
        let growers: Vec<_> = sets
            .iter()
            .map(|set| scope.spawn(|| set.grow(request.grow_every, &done)))
            .collect();
        let streams: Vec<_> = sockets
            .into_iter()
            .enumerate()
            .map(|(stream, socket)| {
                let set = &sets[stream % request.sets];
                let quota = Quota::of(request, stream);
                scope.spawn(move || set.serve(stream as u32, &quota, &socket))
            })
            .collect();
        let crowd = scope.spawn(|| Crowd::new(request, &names, plugs).run(&done));
        let tallies: Vec<Tally> = streams
            .into_iter()
            .map(|stream| stream.join().unwrap_or_else(|_| Tally::panicked()))
            .collect();
        done.store(true, Ordering::Relaxed);
        let panicked = || "a thread of the program panicked".to_owned();
        let growths = growers
            .into_iter()
            .map(|grower| grower.join().unwrap_or_else(|_| Err(panicked())));
        let growths: Vec<_> = growths.collect();
        let crowd = crowd
            .join()
            .unwrap_or_else(|_| Err(Failure::run(panicked())));
        (tallies, growths, crowd)
    });
    let elapsed = begun.elapsed();
    let crowd = crowd?;

    let rows: Vec<Row> = (sets.into_iter().zip(growths).enumerate())
        .map(|(set, (area, growths))| {
            let mut sum = Tally::default();
            (tallies.iter().skip(set).step_by(request.sets)).for_each(|tally| sum.add(tally));
            Row::new(area.close(), sum, crowd.of_set(set), growths)
        })
        .collect();
    report::finish(&rows, elapsed)
}

/// How many streams the set numbered `set` has: those that are numbered so modulo the number of sets.
fn streams_of(request: &Request, set: usize) -> usize {
    (set..request.streams).step_by(request.sets).count()
}
