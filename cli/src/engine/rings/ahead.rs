//! Reading ahead past the kernel's cache: several reads of a file under way, each into a buffer of its own.
//!
//! Owns a ring, and the buffers that are read into. A thread that reads a stripe, or a slice of a large file, has one.
//! It waits for a buffer only while it holds none, and reads ahead into those that are free at once: so any number of
//! threads get on with one buffer.
//!
//! ```text
//!   asked for ──▶ | read | under way | under way | ── the next one here, if a buffer is free
//!                   └─▶ given to who asked
//! ```
//!
//! It is guessed that the next read is as long as this one and right behind it. Where the guess is wrong nothing is
//! read ahead for a while: blocks that are compressed have a length each.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hugepool::Buffer;
use hugepool::uring::Completion;

use super::Ring;
use crate::engine::buffers::{Buffers, Space, Stopped};
use crate::engine::format::UNIT;
use crate::engine::stop::{Stop, Why};

/// Reads under way at the most.
pub const MOST: usize = 8;

/// Which bytes are read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Span {
    /// Where they are in the file.
    pub offset: u64,
    /// Where they go: from which byte of the buffer on, counted from its header's first, and to which.
    pub from: usize,
    pub to: usize,
    /// Where in the file there is nothing more to read: a multiple of 4096.
    pub end: u64,
}

impl Span {
    /// Up to the end, and no further.
    fn clipped(self) -> Span {
        let room = self.end.saturating_sub(self.offset);
        let length = (self.to - self.from) as u64;
        let length = if room == 0 { length } else { length.min(room) };
        Span {
            to: self.from + length as usize,
            ..self
        }
    }

    /// As many bytes behind it.
    fn next(self) -> Option<Span> {
        let offset = self.offset + (self.to - self.from) as u64;
        let next = Span { offset, ..self };
        (offset < self.end).then(|| next.clipped())
    }
}

/// What was read: how many bytes, fewer than was asked for at the file's end alone; and where they are.
pub struct Fetched<S> {
    pub space: S,
    pub count: io::Result<usize>,
}

struct Piece {
    span: Span,
    /// Bytes that are there.
    have: usize,
    /// `None`: it is under way.
    done: Option<(io::Result<()>, Buffer)>,
}

/// A thread's reads, of one file at a time.
pub struct Ahead {
    ring: Ring,
    /// In the order of the file. The first one is called `first` in the ring, the next one has the next number.
    pieces: VecDeque<Piece>,
    first: u64,
    /// What was asked for last.
    last: Option<Span>,
    /// How many are read ahead now.
    ahead: usize,
    /// How long it waited for buffers.
    pub waited: Duration,
}

impl Ahead {
    pub fn new(ring: Ring) -> Ahead {
        Ahead {
            ring,
            pieces: VecDeque::new(),
            first: 0,
            last: None,
            ahead: 0,
            waited: Duration::ZERO,
        }
    }

    /// To be called before another file is read, with the number of reads that are surely right to read ahead in it.
    pub fn restart(&mut self, stop: &Stop, ahead: usize) -> Result<(), Stopped> {
        self.last = None;
        self.ahead = ahead.min(MOST - 1);
        self.forget(stop)
    }

    /// Reads what `span` says of `file`, and begins to read what probably comes next. An error: the run was stopped.
    pub fn fetch<B: Buffers>(
        &mut self,
        buffers: &B,
        stop: &Stop,
        file: &Arc<File>,
        span: Span,
    ) -> Result<Fetched<B::Space>, Stopped> {
        let span = span.clipped();
        if let Some(last) = self.last {
            if last.next() == Some(span) {
                self.ahead = (2 * self.ahead).clamp(1, MOST - 1);
            } else {
                self.ahead = 0;
                self.forget(stop)?;
            }
        }
        self.last = Some(span);
        if self.pieces.is_empty() {
            // None is held: a wait keeps nobody else waiting.
            let begun = Instant::now();
            let space = buffers.take()?;
            self.waited += begun.elapsed();
            // Rings are made for buffers of the pool alone.
            let buffer = space.into_buffer().ok_or(Stopped)?;
            self.begin(file, span, buffer);
        }
        while self.pieces.len() <= self.ahead {
            let next = self.pieces.back().and_then(|piece| piece.span.next());
            let Some(next) = next else { break };
            let Some(buffer) = buffers.spare().and_then(Space::into_buffer) else {
                break;
            };
            self.begin(file, next, buffer);
        }
        let (count, buffer) = self.take_first(stop, file)?;
        let space = B::Space::from_buffer(buffer).ok_or(Stopped)?;
        Ok(Fetched { space, count })
    }

    fn begin(&mut self, file: &Arc<File>, span: Span, buffer: Buffer) {
        let token = self.first + self.pieces.len() as u64;
        self.pieces.push_back(Piece {
            span,
            have: 0,
            done: None,
        });
        self.read(file, token, buffer);
    }

    /// Begins to read what a piece lacks.
    fn read(&mut self, file: &Arc<File>, token: u64, buffer: Buffer) {
        let at = token.wrapping_sub(self.first) as usize;
        let Some(piece) = self.pieces.get_mut(at) else {
            return;
        };
        let Span {
            offset, from, to, ..
        } = piece.span;
        let range = from + piece.have..to;
        let offset = offset + piece.have as u64;
        let begun = self
            .ring
            .read_with_prefix(Arc::clone(file), buffer, range, offset, token);
        if let Err(rejected) = begun {
            piece.done = Some((Err(rejected.why.into()), rejected.buffer));
        }
    }

    fn over(&mut self, file: &Arc<File>, done: Completion) {
        let at = done.token.wrapping_sub(self.first) as usize;
        let Some(piece) = self.pieces.get_mut(at) else {
            return;
        };
        let Span {
            offset,
            from,
            to,
            end,
        } = piece.span;
        let result = match done.result {
            Ok(count) => {
                piece.have += count;
                let at = offset + piece.have as u64;
                // Past the cache, what is no multiple is the end; to go on from there would be an error.
                let at_end = at.next_multiple_of(UNIT as u64) >= end;
                let over = count == 0 || !count.is_multiple_of(UNIT) && at_end;
                (over || piece.have == to - from).then_some(Ok(()))
            }
            Err(error) if super::is_transient(&error) => None,
            Err(error) => Some(Err(error)),
        };
        match result {
            Some(result) => piece.done = Some((result, done.buffer)),
            None => self.read(file, done.token, done.buffer),
        }
    }

    /// The first of the reads, when it is over.
    fn take_first(
        &mut self,
        stop: &Stop,
        file: &Arc<File>,
    ) -> Result<(io::Result<usize>, Buffer), Stopped> {
        loop {
            if let Some(piece) = self.pieces.front_mut()
                && let Some((result, buffer)) = piece.done.take()
            {
                let have = piece.have;
                self.pieces.pop_front();
                self.first += 1;
                return Ok((result.map(|()| have), buffer));
            }
            // Where none is under way, there is none to wait for: that cannot be.
            let done = wait(&mut self.ring, stop)?.ok_or(Stopped)?;
            self.over(file, done);
            while let Some(done) = self.ring.try_complete() {
                self.over(file, done);
            }
        }
    }

    /// Lets go of what was read ahead in vain, when it is over.
    fn forget(&mut self, stop: &Stop) -> Result<(), Stopped> {
        self.first += self.pieces.len() as u64;
        self.pieces.clear();
        while wait(&mut self.ring, stop)?.is_some() {}
        Ok(())
    }
}

/// As `wait` of the module above. A ring that is not to be had any more stops the run; its buffers go with it.
fn wait(ring: &mut Ring, stop: &Stop) -> Result<Option<Completion>, Stopped> {
    super::wait(ring).map_err(|error| {
        stop.stop(Why::Failed(format!("io_uring: {error}")));
        Stopped
    })
}
