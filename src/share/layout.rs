//! Where the buffers of a segment lie in its memory.
//!
//! Owns: the record that one process gives another, and its checks. Uses: `class`,
//! `handle`, `error`. Used by: callers, `pool`, the client.

use super::error::ShareError;
use super::handle::Split;
use crate::arena::Access;
use crate::class::{GRANULE, Geometry, MAX_ALIGNMENT, MAX_SIZE};
use crate::word::Lease;
use std::os::fd::OwnedFd;

/// What a process needs to map a segment.
#[derive(Debug)]
pub struct Export {
    /// Where its buffers lie.
    pub layout: Layout,
    /// The buffers' memory.
    pub memory: OwnedFd,
    /// The buffers' states.
    pub states: OwnedFd,
    /// Whether the pool is still there: the same for all segments of a pool.
    pub status: OwnedFd,
}

/// Where the buffers of a segment lie. Goes from one process to another as
/// [`to_bytes`](Self::to_bytes).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Which pool's. Slots are that pool's own.
    pool: u64,
    /// Which of the pool's segments: a later one has a greater number, and may have slots
    /// again that this one had.
    number: u64,
    split: Split,
    first_slot: u32,
    count: u32,
    size: u64,
    alignment: u64,
    /// Bytes from one buffer to the next.
    stride: u64,
    /// Bytes from the start of the memory to the first buffer's data.
    lead: u64,
    prefix: u64,
    bytes: u64,
    writable: bool,
}

/// What a segment is among those of its pool.
pub(crate) struct Place {
    pub number: u64,
    pub split: Split,
    pub first_slot: u32,
}

/// The layout of a segment of `bytes` bytes with `count` buffers of `geometry`.
pub(crate) fn layout_of(
    pool: u64,
    geometry: &Geometry,
    prefix: usize,
    count: usize,
    bytes: usize,
    place: Place,
    access: Access,
) -> Layout {
    Layout {
        pool,
        number: place.number,
        split: place.split,
        first_slot: place.first_slot,
        count: count as u32,
        size: geometry.size() as u64,
        alignment: geometry.alignment() as u64,
        stride: geometry.stride() as u64,
        lead: geometry.lead() as u64,
        prefix: prefix as u64,
        bytes: bytes as u64,
        writable: access == Access::Write,
    }
}

impl Layout {
    /// What a layout of this version begins with.
    const MAGIC: u64 = u64::from_le_bytes(*b"hugepl\x00\x02");
    const WORDS: usize = 13;
    /// Bytes of a layout.
    pub const BYTES: usize = Self::WORDS * 8;

    /// The bytes that go to another process of the same machine: thirteen little-endian
    /// words of 64 bits.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; Self::BYTES] {
        let words = [
            Self::MAGIC,
            self.pool,
            self.first_slot.into(),
            self.count.into(),
            self.size,
            self.alignment,
            self.stride,
            self.lead,
            self.prefix,
            self.bytes,
            self.writable.into(),
            self.number,
            self.split.bits().into(),
        ];
        let mut bytes = [0; Self::BYTES];
        for (to, word) in bytes.chunks_exact_mut(8).zip(words) {
            to.copy_from_slice(&word.to_le_bytes());
        }
        bytes
    }

    /// The layout that another process sent as bytes, checked.
    ///
    /// # Errors
    ///
    /// [`ShareError::Truncated`], [`ShareError::Version`], [`ShareError::Forged`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, ShareError> {
        if bytes.len() != Self::BYTES {
            return Err(ShareError::Truncated {
                given: bytes.len(),
                needed: Self::BYTES,
            });
        }
        let mut words = [0; Self::WORDS];
        for (word, from) in words.iter_mut().zip(bytes.chunks_exact(8)) {
            let mut eight = [0; 8];
            eight.copy_from_slice(from);
            *word = u64::from_le_bytes(eight);
        }
        let [
            magic,
            pool,
            first_slot,
            count,
            size,
            alignment,
            stride,
            lead,
            prefix,
            bytes,
            writable,
            number,
            split,
        ] = words;
        if magic != Self::MAGIC {
            return Err(ShareError::Version {
                given: magic,
                needed: Self::MAGIC,
            });
        }
        let forged = |what| ShareError::Forged { what };
        let layout = Self {
            pool,
            number,
            split: Split::from_bits(split).ok_or(forged("handles"))?,
            first_slot: u32::try_from(first_slot).map_err(|_| forged("first slot"))?,
            count: u32::try_from(count).map_err(|_| forged("number of buffers"))?,
            size,
            alignment,
            stride,
            lead,
            prefix,
            bytes,
            writable: match writable {
                0 => false,
                1 => true,
                _ => return Err(forged("access")),
            },
        };
        layout.check()?;
        Ok(layout)
    }

    /// Whether it could be that of a segment.
    fn check(&self) -> Result<(), ShareError> {
        let forged = |what| Err(ShareError::Forged { what });
        let end = self.first_slot.checked_add(self.count);
        if self.first_slot == 0 || end.is_none_or(|end| end > Lease::SLOTS) {
            return forged("slots");
        }
        if self.count == 0 {
            return forged("number of buffers");
        }
        if self.size == 0 || self.size > MAX_SIZE as u64 {
            return forged("size");
        }
        if !self.alignment.is_power_of_two() || self.alignment > MAX_ALIGNMENT as u64 {
            return forged("alignment");
        }
        let fits = |value: u64| value.is_multiple_of(self.alignment);
        if !fits(self.lead) || self.prefix > self.lead {
            return forged("prefix zone");
        }
        let cell = self.size.checked_add(self.lead);
        if !fits(self.stride) || cell.is_none_or(|cell| cell > self.stride) {
            return forged("stride");
        }
        let cells = self.stride.checked_mul(self.count.into());
        let whole = self.bytes.is_multiple_of(GRANULE as u64);
        if cells.is_none_or(|cells| cells > self.bytes)
            || !whole
            || isize::try_from(self.bytes).is_err()
        {
            return forged("bytes");
        }
        Ok(())
    }

    /// How many buffers there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.count as usize
    }

    /// Bytes that each can hold.
    #[must_use]
    pub fn size(&self) -> usize {
        self.size as usize
    }

    /// What each is aligned to, in bytes.
    #[must_use]
    pub fn alignment(&self) -> usize {
        self.alignment as usize
    }

    /// Bytes right before each that are the client's.
    #[must_use]
    pub fn prefix(&self) -> usize {
        self.prefix as usize
    }

    /// Bytes of memory.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes as usize
    }

    /// Whether the memory may be written.
    #[must_use]
    pub fn is_writable(&self) -> bool {
        self.writable
    }

    /// A number that no other pool has, but by accident.
    pub(crate) fn pool(&self) -> u64 {
        self.pool
    }

    /// Which of the pool's segments: later ones have greater numbers.
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    /// How the pool splits its handles.
    pub(super) fn split(&self) -> Split {
        self.split
    }

    /// Bytes of the states.
    pub(super) fn state_bytes(&self) -> usize {
        self.count() * size_of::<crate::record::State>()
    }

    /// The slots of its buffers.
    pub(super) fn slots(&self) -> std::ops::Range<u32> {
        self.first_slot..self.first_slot + self.count
    }

    /// Whether it is `other`, or came after it and has slots that `other` had.
    pub(super) fn replaces(&self, other: &Self) -> bool {
        let (own, others) = (self.slots(), other.slots());
        let common = own.start < others.end && others.start < own.end;
        common && self.number >= other.number
    }

    /// Where the data of buffer `k` begins.
    pub(super) fn offset(&self, k: usize) -> usize {
        k * self.stride as usize + self.lead as usize
    }

    /// The buffer whose data begins at `offset`.
    pub(super) fn at(&self, offset: usize) -> Option<usize> {
        let before = offset.checked_sub(self.lead as usize)?;
        let k = before / self.stride as usize;
        (before.is_multiple_of(self.stride as usize) && k < self.count()).then_some(k)
    }
}
