//! A writer of stripes that has many writes under way, by a ring.
//!
//! Owns the writes: which bytes of which stripe each is, and what is left of it. A thread runs it for several stripes.
//! It hands the kernel whatever is at hand by one call, and waits by the same call for one of them to be over; it sleeps
//! on its channel only when nothing is under way. `write` has what the stripes are.
//!
//! ```text
//!   channel ──▶ header ──▶ begun ──submit──▶ under way ──▶ over: the buffer is free
//!                            ▲                  │
//!                            └── what is left ──┘
//! ```

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::TryRecvError;
use hugepool::Buffer;
use hugepool::uring::Completion;
use rustix::fs::{FallocateFlags, OFlags, fallocate, fcntl_getfl};
use rustix::process::{Resource, getrlimit};

use super::Ring;
use crate::engine::buffers::{Buffers, Space};
use crate::engine::format::block::HEADER;
use crate::engine::format::padded;
use crate::engine::pipe::{Filled, Outlet};
use crate::engine::store::{Place, Sink};
use crate::engine::write::{Ended, Lane, Surroundings, Written, failed, receive, room};

/// An error, and the stripe whose it is.
type Failed = (u32, io::Error);

/// What is left to write of a block.
#[derive(Clone, Copy)]
struct Piece {
    lane: usize,
    /// Where in the stripe.
    offset: u64,
    /// Which bytes, counted from the header's first.
    from: usize,
    to: usize,
}

/// How far a stripe is.
struct State {
    file: Arc<File>,
    /// Writes of it in the ring.
    under_way: usize,
    /// Blocks whose write cannot be begun yet.
    waiting: VecDeque<(Piece, Buffer)>,
    /// Up to where the file has room already.
    reserved: u64,
    /// It was asked for in vain.
    refused: bool,
}

impl State {
    /// Takes room ahead, where a block would make a stripe longer that is large already: within the file's length many
    /// writes are under way at once, and the kernel needs no threads for them. Where there is no room, nothing is taken.
    fn reserve(&mut self, offset: u64, end: u64) {
        if end <= self.reserved.max(LARGE) || self.refused {
            return;
        }
        let ahead = AHEAD.max(2 * (end - offset));
        match fallocate(&*self.file, FallocateFlags::empty(), offset, ahead) {
            Ok(()) => self.reserved = offset + ahead,
            Err(_) => self.refused = true,
        }
    }

    /// Gives back what is behind `end`.
    fn cut(&mut self, end: u64) -> io::Result<()> {
        if std::mem::take(&mut self.reserved) > end {
            self.file.set_len(end)?;
        }
        Ok(())
    }
}

/// How long a stripe is that has room taken ahead for it, and how much at a time, or two blocks where that is more.
const LARGE: u64 = 16 << 20;
const AHEAD: u64 = 32 << 20;

/// Whether room is taken ahead: past the cache, for through it the kernel copies a write at a time whatever the length;
/// and not where files have a limit, at which the kernel would end the program.
fn may_reserve(file: &File) -> bool {
    let direct = fcntl_getfl(file).is_ok_and(|flags| flags.contains(OFlags::DIRECT));
    direct && getrlimit(Resource::Fsize).current.is_none()
}

/// Writes its stripes until the readers are done. An error stops the run; buffers that come later are freed.
pub fn write<B: Buffers, P: Place>(
    around: &Surroundings<'_, B, P>,
    outlet: &Outlet<B::Space>,
    ring: Ring,
) -> Written {
    let mut writer = Writer {
        around,
        outlet,
        ring,
        lanes: Vec::new(),
        states: Vec::new(),
        crowded: false,
        reserves: false,
        full: false,
        pieces: Vec::new(),
        free: Vec::new(),
        for_blocks: Duration::ZERO,
        syncing: Duration::ZERO,
    };
    let result = writer.run();
    let Writer {
        ring,
        lanes,
        for_blocks,
        syncing,
        ..
    } = writer;
    // What is under way is waited for, and its buffers are free.
    drop(ring);
    let totals = lanes.iter().map(Lane::totals).collect();
    match result {
        Ok(Ended::Whole) => {}
        Ok(Ended::Stopped) => lanes.into_iter().for_each(Lane::abort),
        Err((stripe, error)) => {
            failed(around.stop, stripe, &error);
            lanes.into_iter().for_each(Lane::abort);
        }
    }
    // The readers learn of the stop between two blocks.
    for filled in &outlet.receiver {
        drop(filled);
    }
    Written {
        totals,
        for_blocks,
        syncing,
    }
}

struct Writer<'w, B: Buffers, P: Place> {
    around: &'w Surroundings<'w, B, P>,
    outlet: &'w Outlet<B::Space>,
    ring: Ring,
    lanes: Vec<Lane<'w, P::Sink<B::Space>>>,
    /// How far each of them is, in the same order.
    states: Vec<State>,
    /// Some have writes that the ring had no room for.
    crowded: bool,
    /// Room is taken ahead; and there was none for a write.
    reserves: bool,
    full: bool,
    /// What is under way, by its name in the ring; and the names that are free.
    pieces: Vec<Piece>,
    free: Vec<u64>,
    for_blocks: Duration,
    syncing: Duration,
}

impl<B: Buffers, P: Place> Writer<'_, B, P> {
    fn run(&mut self) -> Result<Ended, Failed> {
        Lane::all::<B, P>(self.around.place, self.outlet, &mut self.lanes)?;
        for lane in &self.lanes {
            let Some(file) = lane.sink().and_then(|sink| sink.file()) else {
                let error = "is in a place that io_uring does not write to";
                return Err((lane.stripe, io::Error::other(error)));
            };
            self.reserves |= may_reserve(file);
            self.states.push(State {
                file: Arc::clone(file),
                under_way: 0,
                waiting: VecDeque::new(),
                reserved: 0,
                refused: false,
            });
        }
        if let Ended::Stopped = self.blocks()? {
            return Ok(Ended::Stopped);
        }
        let begun = Instant::now();
        for at in 0..self.lanes.len() {
            // Every other buffer is home, or on its way: nothing is under way here.
            let Ok(mut space) = self.around.buffers.take() else {
                return Ok(Ended::Stopped);
            };
            self.lanes[at].seal_end(self.around.backup, &mut space);
            let offset = self.lanes[at].totals().1.bytes;
            self.begin(at, offset, space, 0)?;
            self.drain()?;
        }
        for (lane, state) in self.lanes.iter_mut().zip(&mut self.states) {
            let end = lane.totals().1.bytes + HEADER as u64;
            state.cut(end).map_err(|error| (lane.stripe, error))?;
            lane.finish()?;
        }
        self.syncing += begun.elapsed();
        Ok(Ended::Whole)
    }

    /// Writes the blocks that come, until there will be none any more.
    fn blocks(&mut self) -> Result<Ended, Failed> {
        loop {
            let mut open = true;
            loop {
                match self.outlet.receiver.try_recv() {
                    Ok((at, filled)) => self.block(at, filled)?,
                    Err(TryRecvError::Empty) => break,
                    Err(TryRecvError::Disconnected) => {
                        open = false;
                        break;
                    }
                }
            }
            if self.around.stop.is_stopped() {
                return Ok(Ended::Stopped);
            }
            if self.reap()? {
                continue;
            }
            if !open {
                return Ok(Ended::Whole);
            }
            if let Some((at, filled)) = receive(self.outlet, &mut self.for_blocks) {
                self.block(at, filled)?;
            }
        }
    }

    fn block(&mut self, at: usize, filled: Filled<B::Space>) -> Result<(), Failed> {
        let offset = self.lanes[at].totals().1.bytes;
        let (space, payload) = self.lanes[at].seal(self.around.backup, filled);
        self.begin(at, offset, space, payload)
    }

    fn begin(
        &mut self,
        lane: usize,
        offset: u64,
        space: B::Space,
        payload: usize,
    ) -> Result<(), Failed> {
        let Some(buffer) = space.into_buffer() else {
            let error = io::Error::other("a buffer is not of the pool");
            return Err((self.lanes[lane].stripe, error));
        };
        let piece = Piece {
            lane,
            offset,
            from: 0,
            to: HEADER + padded(payload),
        };
        self.states[lane].waiting.push_back((piece, buffer));
        self.advance(lane)
    }

    /// Begins the writes of a stripe that may be under way at once: one, if it makes the file longer, for the kernel has
    /// the others wait for it, each in a thread of its own.
    fn advance(&mut self, lane: usize) -> Result<(), Failed> {
        while !self.full {
            let state = &mut self.states[lane];
            let Some((piece, _)) = state.waiting.front() else {
                return Ok(());
            };
            let end = piece.offset + (piece.to - piece.from) as u64;
            if state.under_way > 0 && end > state.reserved {
                return Ok(());
            }
            if self.ring.in_flight() == self.ring.depth() as usize {
                self.crowded = true;
                return Ok(());
            }
            if self.reserves {
                state.reserve(piece.offset, end);
            }
            let Some((piece, buffer)) = state.waiting.pop_front() else {
                return Ok(());
            };
            state.under_way += 1;
            self.submit(piece, buffer)?;
        }
        Ok(())
    }

    fn submit(&mut self, piece: Piece, buffer: Buffer) -> Result<(), Failed> {
        let token = self.free.pop().unwrap_or_else(|| {
            self.pieces.push(piece);
            self.pieces.len() as u64 - 1
        });
        self.pieces[token as usize] = piece;
        let file = Arc::clone(&self.states[piece.lane].file);
        let range = piece.from..piece.to;
        self.ring
            .write_with_prefix(file, buffer, range, piece.offset, token)
            .map_err(|rejected| (self.lanes[piece.lane].stripe, rejected.why.into()))
    }

    fn next(&mut self) -> Result<Option<Completion>, Failed> {
        super::wait(&mut self.ring).map_err(|error| {
            let error = io::Error::new(error.kind(), format!("io_uring: {error}"));
            (self.outlet.stripes[0].0, error)
        })
    }

    /// Hands the kernel what was begun, waits for a write, and takes all that are over. False: there are none.
    fn reap(&mut self) -> Result<bool, Failed> {
        let Some(first) = self.next()? else {
            return Ok(false);
        };
        self.over(first)?;
        while let Some(done) = self.ring.try_complete() {
            self.over(done)?;
        }
        if self.full {
            self.give_back()?;
        }
        if std::mem::take(&mut self.crowded) {
            self.advance_all()?;
        }
        Ok(true)
    }

    fn advance_all(&mut self) -> Result<(), Failed> {
        (0..self.lanes.len()).try_for_each(|lane| self.advance(lane))
    }

    /// Gives room back that was taken ahead, for one stripe may lack what another one has in vain; and goes on without.
    fn give_back(&mut self) -> Result<(), Failed> {
        while let Some(done) = self.next()? {
            self.over(done)?;
        }
        for (lane, state) in self.lanes.iter().zip(&mut self.states) {
            let first = state.waiting.iter().map(|(piece, _)| piece.offset).min();
            let end = first.unwrap_or(lane.totals().1.bytes);
            state.cut(end).map_err(|error| (lane.stripe, error))?;
        }
        (self.reserves, self.full) = (false, false);
        self.advance_all()
    }

    /// Waits until nothing is under way.
    fn drain(&mut self) -> Result<(), Failed> {
        while self.reap()? {}
        Ok(())
    }

    fn over(&mut self, done: Completion) -> Result<(), Failed> {
        let mut piece = self.pieces[done.token as usize];
        self.free.push(done.token);
        let stripe = self.lanes[piece.lane].stripe;
        match done.result {
            Ok(0) => return Err((stripe, io::ErrorKind::WriteZero.into())),
            Ok(count) => {
                piece.from += count;
                piece.offset += count as u64;
            }
            Err(error) if super::is_transient(&error) => {}
            Err(error) => {
                let state = &mut self.states[piece.lane];
                if room(&error).is_empty() || !self.reserves {
                    return Err((stripe, error));
                }
                state.under_way -= 1;
                state.waiting.push_front((piece, done.buffer));
                self.full = true;
                return Ok(());
            }
        }
        if piece.from < piece.to {
            return self.submit(piece, done.buffer);
        }
        self.lanes[piece.lane].done();
        self.states[piece.lane].under_way -= 1;
        self.advance(piece.lane)
    }
}
