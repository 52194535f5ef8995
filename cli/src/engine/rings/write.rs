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

use std::fs::File;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::TryRecvError;
use hugepool::Buffer;
use hugepool::uring::Completion;

use super::Ring;
use crate::engine::buffers::{Buffers, Space};
use crate::engine::format::block::HEADER;
use crate::engine::format::padded;
use crate::engine::pipe::{Filled, Outlet};
use crate::engine::store::{Place, Sink};
use crate::engine::write::{Ended, Lane, Surroundings, Written, failed, receive};

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
        files: Vec::new(),
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
    /// The file of each.
    files: Vec<Arc<File>>,
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
            self.files.push(Arc::clone(file));
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
        for lane in &mut self.lanes {
            lane.finish()?;
        }
        self.syncing += begun.elapsed();
        Ok(Ended::Whole)
    }

    /// Writes the blocks that come, until there will be none any more.
    fn blocks(&mut self) -> Result<Ended, Failed> {
        loop {
            let mut open = true;
            while self.ring.in_flight() < self.ring.depth() as usize {
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
        self.submit(piece, buffer)
    }

    fn submit(&mut self, piece: Piece, buffer: Buffer) -> Result<(), Failed> {
        let token = self.free.pop().unwrap_or_else(|| {
            self.pieces.push(piece);
            self.pieces.len() as u64 - 1
        });
        self.pieces[token as usize] = piece;
        let file = Arc::clone(&self.files[piece.lane]);
        let range = piece.from..piece.to;
        self.ring
            .write_with_prefix(file, buffer, range, piece.offset, token)
            .map_err(|rejected| (self.lanes[piece.lane].stripe, rejected.why.into()))
    }

    /// Hands the kernel what was begun, waits for a write, and takes all that are over. False: there are none.
    fn reap(&mut self) -> Result<bool, Failed> {
        let first = super::wait(&mut self.ring).map_err(|error| {
            let error = io::Error::new(error.kind(), format!("io_uring: {error}"));
            (self.lanes[0].stripe, error)
        })?;
        let Some(first) = first else {
            return Ok(false);
        };
        self.over(first)?;
        while let Some(done) = self.ring.try_complete() {
            self.over(done)?;
        }
        Ok(true)
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
            Err(error) => return Err((stripe, error)),
        }
        if piece.from < piece.to {
            return self.submit(piece, done.buffer);
        }
        self.lanes[piece.lane].done();
        Ok(())
    }
}
