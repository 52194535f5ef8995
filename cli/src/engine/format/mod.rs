//! What a backup looks like in its place: blocks in stripes, and a catalogue.
//!
//! Owns the numbers that both sides agree on. `block` and `catalogue` have the bytes; `docs/engine.md` has them in
//! words. The backup writes them; restore, verify and list read them, and believe nothing of them.

pub mod block;
pub mod bytes;
pub mod catalogue;
pub mod entry;

use std::fmt;
use std::ops::RangeInclusive;

/// The format that this program writes, and the only one that it reads.
pub const VERSION: u16 = 1;
/// Every block begins at a multiple of this in its stripe, and is padded to one: what direct I/O wants.
pub const UNIT: usize = 4096;
/// Bytes that a transfer may have, in multiples of [`UNIT`].
pub const TRANSFER: RangeInclusive<usize> = UNIT..=64 << 20;
/// Stripes that a backup may have.
pub const STRIPES: RangeInclusive<usize> = 1..=1024;
/// How many folders deep an entry may be.
pub const MAX_DEPTH: usize = 4096;

/// `bytes`, and what is missing to a multiple of [`UNIT`].
pub fn padded(bytes: usize) -> usize {
    bytes.next_multiple_of(UNIT)
}

/// What tells the blocks of one backup from those of every other: 128 random bits.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Id(pub [u8; 16]);

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}
