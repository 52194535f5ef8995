//! Where the buffers of a run come from.
//!
//! Owns the two traits that the pipeline is made over, and the choice; a source a file: `pool`, `fresh` (malloc and
//! mmap) and `channel`. `backup`, `restore` and `verify` build one, and everything else takes from it. All have the
//! same bound: so many buffers, and who asks for more waits until one comes back. So what differs between two runs is
//! where a buffer comes from, and nothing else.

mod channel;
mod fresh;
mod pool;
mod tokens;

use std::fmt;

use clap::ValueEnum;
use hugepool::{Buffer, Pool};

pub use channel::Preallocated;
pub use fresh::{Malloc, Mmap};
pub use pool::Pooled;

use super::format::UNIT;
use super::format::block::HEADER;
use crate::failure::Failure;
use crate::units;

/// A source of buffers.
pub trait Buffers: Sync {
    type Space: Space;

    /// Takes one, and waits until there is one. An error: the run was stopped.
    fn take(&self) -> Result<Self::Space, Stopped>;

    /// Takes one if that needs no wait, for what can be done without it.
    fn spare(&self) -> Option<Self::Space> {
        None
    }

    /// The pool that all are of, if they are: its memory can be registered with the kernel.
    fn pool(&self) -> Option<&Pool> {
        None
    }

    /// Ends every wait that is under way, and every one to come.
    fn abort(&self);

    /// The most buffers that were out at once, as far as the source can tell.
    fn high_water(&self) -> u64;

    /// What the buffers are on, in words.
    fn pages(&self) -> String;
}

/// A buffer: room for a block's header, and for its payload right behind it in memory. Both begin at a multiple of
/// 4096. It is given back when dropped.
pub trait Space: Send + Sized + 'static {
    /// The pool's buffer that it is; `None`: it is none, and is given back.
    fn into_buffer(self) -> Option<Buffer> {
        None
    }

    /// The same the other way round.
    fn from_buffer(buffer: Buffer) -> Option<Self> {
        drop(buffer);
        None
    }

    /// The header, and the payload behind it.
    fn whole(&self) -> &[u8];
    fn whole_mut(&mut self) -> &mut [u8];

    fn header(&self) -> &[u8] {
        &self.whole()[..HEADER]
    }

    fn data(&self) -> &[u8] {
        &self.whole()[HEADER..]
    }

    fn header_mut(&mut self) -> &mut [u8] {
        &mut self.whole_mut()[..HEADER]
    }

    fn data_mut(&mut self) -> &mut [u8] {
        &mut self.whole_mut()[HEADER..]
    }
}

/// The run was stopped while somebody waited for a buffer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stopped;

/// Which source a run uses.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum Origin {
    /// The hugepool
    Pool,
    /// Allocated for each block, and freed after it
    Malloc,
    /// Mapped for each block, and unmapped after it
    Mmap,
    /// Allocated beforehand, and passed around in a bounded channel
    Channel,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Origin::Pool => "pool",
            Origin::Malloc => "malloc",
            Origin::Mmap => "mmap",
            Origin::Channel => "channel",
        })
    }
}

/// How many buffers of `transfer` bytes fit into `memory`; an error where those are fewer than `least`.
pub fn count(memory: usize, transfer: usize, least: usize, why: &str) -> Result<usize, Failure> {
    let each = HEADER + transfer;
    let count = memory / each;
    if count < least {
        let [space, header] = units::together([transfer, HEADER]);
        return Err(Failure::input(format!(
            "--memory {} is {count} buffers of {space} and a header of {header}: {why} needs {least}, which is --memory {}",
            units::short(memory),
            units::short((least * each).next_multiple_of(UNIT)),
        )));
    }
    Ok(count)
}
