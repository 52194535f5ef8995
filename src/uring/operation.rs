//! An operation: which bytes of which buffer, and what became of it.
//!
//! Owns: [`Completion`], and what the kernel is told of an operation. Uses: the crate
//! `io-uring`, `buffer`. Used by: `ring`, `service`, callers.

use crate::buffer::{Buffer, Memory, Owned, Plain};
use crate::error::RangeError;
use crate::sync::Arc;
use io_uring::{opcode, squeue, types};
use std::fmt;
use std::fs::File;
use std::io;
use std::ops::{Bound, RangeBounds};
use std::os::fd::RawFd;

/// An operation that is over: what became of it, and all that was its.
#[non_exhaustive]
pub struct Completion<F = Arc<File>, M: Memory = Plain> {
    /// The caller's name for the operation.
    pub token: u64,
    /// How many bytes were read or written: as for `read(2)` and `write(2)` these may be fewer
    /// than was asked for, and 0 at the end of a file. Or why not: `ECANCELED` if it was
    /// cancelled.
    pub result: io::Result<usize>,
    /// The buffer. Its length is what it was.
    pub buffer: Buffer<M>,
    /// The file.
    pub file: F,
}

impl<F, M: Memory> fmt::Debug for Completion<F, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Completion")
            .field("token", &self.token)
            .field("result", &self.result)
            .field("buffer", &self.buffer)
            .finish_non_exhaustive()
    }
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    Read,
    Write,
}

/// Which bytes of a buffer's cell an operation is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// Bytes from the data's start: in the prefix zone if negative.
    start: isize,
    /// Bytes.
    len: usize,
}

impl Extent {
    /// The bytes of `range` of a buffer, counted from the start of its prefix zone if
    /// `with_prefix` says so.
    pub fn of(
        buffer: &Owned,
        with_prefix: bool,
        range: &impl RangeBounds<usize>,
    ) -> Result<Self, RangeError> {
        let before = if with_prefix { buffer.prefix().1 } else { 0 };
        let start = match range.start_bound() {
            Bound::Included(&at) => at,
            Bound::Excluded(&at) => at.saturating_add(1),
            Bound::Unbounded => 0,
        };
        let end = match range.end_bound() {
            Bound::Included(&at) => at.saturating_add(1),
            Bound::Excluded(&at) => at,
            Bound::Unbounded => before + buffer.len(),
        };
        let limit = before + buffer.capacity();
        match end.checked_sub(start) {
            Some(len) if end <= limit => Ok(Self {
                // A cell is shorter than 2^62 bytes.
                start: start as isize - before as isize,
                len,
            }),
            length => Err(RangeError {
                offset: start,
                length: length.unwrap_or(0),
                limit: limit.min(end),
            }),
        }
    }

    /// The operation of file `fd` on these bytes of `buffer`, which they were made for, in
    /// entry `entry` of the ring's table if it is in one.
    pub fn operation(
        self,
        direction: Direction,
        fd: RawFd,
        buffer: &Owned,
        offset: u64,
        entry: Option<u16>,
    ) -> squeue::Entry {
        let fd = types::Fd(fd);
        let start = buffer.data().as_ptr().wrapping_offset(self.start);
        // A cell is shorter than 2^32 bytes: the data are 1 GiB at most, and the prefix zone
        // and the alignment are no longer.
        let len = self.len as u32;
        let entry = entry.filter(|_| len > 0);
        match (direction, entry) {
            (Direction::Read, Some(entry)) => opcode::ReadFixed::new(fd, start, len, entry)
                .offset(offset)
                .build(),
            (Direction::Read, None) => opcode::Read::new(fd, start, len).offset(offset).build(),
            (Direction::Write, Some(entry)) => opcode::WriteFixed::new(fd, start, len, entry)
                .offset(offset)
                .build(),
            (Direction::Write, None) => opcode::Write::new(fd, start, len).offset(offset).build(),
        }
    }
}
