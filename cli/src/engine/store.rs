//! Where a backup is: stripes that are written and read, and a catalogue.
//!
//! Owns the traits, and what a place is told of a run. `folder` is a place on this machine, `object` one in an object
//! store. The pipeline knows no other thing of a place.

use std::fs::File;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use super::buffers::Space;
use super::direct::Direct;
use super::stop::Stop;

/// What a place needs to know of a run that writes to it.
#[cfg_attr(
    not(feature = "object-store"),
    allow(dead_code, reason = "a folder needs little of it")
)]
pub struct Writing {
    pub direct: Direct,
    /// How long a store may fail.
    pub retry: Duration,
    pub transfer: usize,
    pub stripes: usize,
    /// Buffers for everything but what readers have of their own.
    pub buffers: usize,
    pub stop: Arc<Stop>,
}

/// A place that a backup is written to.
pub trait Place: Sync {
    /// A stripe that is written.
    type Sink<S: Space>: Sink<S>;

    /// Begins the stripe numbered `stripe`.
    fn create<S: Space>(&self, stripe: u32) -> io::Result<Self::Sink<S>>;

    /// Makes the backup whole, in one step: before it there is no catalogue, after it there is this one. Every stripe
    /// was finished before.
    fn commit(&self, catalogue: &[u8]) -> io::Result<()>;

    /// Removes what was written.
    fn discard(&self) -> io::Result<()>;
}

/// A stripe that is written, from its start to its end, by one thread: by `append` alone, or its file by io_uring.
pub trait Sink<S: Space>: Send {
    /// Writes the block in `space`, with so many bytes of payload, at the stripe's end; and frees it, now or when it
    /// has been written. An error may be that of an earlier block.
    fn append(&mut self, space: S, payload: usize) -> io::Result<()>;

    /// The file that the stripe is, with nothing before it: io_uring can write it. `None`: only `append` can.
    fn file(&self) -> Option<&Arc<File>> {
        None
    }

    /// Has everything on the disk.
    fn finish(self) -> io::Result<()>;

    /// Gives the stripe up. What is left of it is of no use.
    fn abort(self);
}

/// A place that a backup is read from.
pub trait Shelf: Sync {
    type Source: Source;

    /// The catalogue's bytes.
    fn catalogue(&self) -> io::Result<Vec<u8>>;

    fn open(&self, stripe: u32) -> io::Result<Self::Source>;
}

/// A stripe that is read, by one thread.
pub trait Source: Send {
    /// Bytes that the stripe has.
    fn length(&self) -> u64;

    /// The file that the stripe is, with nothing before it: io_uring can read it. `None`: only `read` can.
    fn file(&self) -> Option<&Arc<File>> {
        None
    }

    /// Reads the block that begins at `offset`, a multiple of 4096, into `space`, header and payload: its bytes from the
    /// place `from` to the place `to`, both multiples of 4096. Gives how many there were: fewer only at the stripe's end,
    /// or when the run is stopped.
    fn read<S: Space>(
        &self,
        offset: u64,
        space: &mut S,
        from: usize,
        to: usize,
        stop: &Stop,
    ) -> io::Result<usize>;
}
