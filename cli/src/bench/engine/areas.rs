//! What an engine reads from and writes to.
//!
//! Owns the source, which all readers share, and a lane of the destination for each writer. Uses the mappings of
//! `rival`; the pipeline's workers copy from and to them.

use std::fs;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::bench::plan::Group;
use crate::rival::{Mapping, Shape};
use crate::units::{self, MIB};

/// Bytes that an area has at least, if there is the memory.
const LEAST: usize = 64 * MIB;
/// An area is so many times as large as the largest cache.
const CACHES: usize = 4;

/// Blocks of each of the two areas where both may use `memory` bytes, the same number for each writer; and what is to
/// be said of them. `None` if there is no room for one a writer.
pub fn blocks(memory: usize, stride: usize, writers: usize) -> Option<(usize, Option<String>)> {
    let cache = largest_cache();
    let wanted = (CACHES * cache.unwrap_or(0)).max(LEAST);
    let most = memory / 2 / stride;
    let blocks = wanted.div_ceil(stride).next_multiple_of(writers).min(most) / writers * writers;
    if blocks == 0 {
        return None;
    }
    let area = blocks * stride;
    let note = (area < wanted).then(|| {
        let [area, wanted] = units::together([area, wanted]);
        format!("areas of {area} instead of {wanted}, to stay within the memory: caches may hold more of them")
    });
    Some((blocks, note))
}

/// Bytes of the first processor's largest cache, where the kernel tells.
fn largest_cache() -> Option<usize> {
    let caches = fs::read_dir("/sys/devices/system/cpu/cpu0/cache").ok()?;
    caches
        .filter_map(|cache| {
            let size = fs::read_to_string(cache.ok()?.path().join("size")).ok()?;
            units::parse_bytes(&size).ok()
        })
        .max()
}

/// Source and destination of one group.
pub struct Areas {
    source: Mapping,
    lanes: Vec<Mutex<Lane>>,
}

impl Areas {
    /// Maps and faults in both. Each block of the source is filled with a byte of its own.
    pub fn new(group: &Group) -> Result<Areas, String> {
        let (_, writers) = group.readers_and_writers();
        let of = |buffers| Shape {
            buffers,
            ..group.shape
        };
        let source = Mapping::ordinary(of(group.area))?;
        for block in 0..group.area {
            let start = source.start_of(block).as_ptr();
            // SAFETY: each block of the mapping is `size` bytes, and nobody else knows of the mapping yet.
            unsafe { start.write_bytes(filling(block), group.shape.size) };
        }
        let lane = || {
            Ok(Mutex::new(Lane {
                mapping: Mapping::ordinary(of(group.area / writers))?,
                next: 0,
            }))
        };
        let lanes: Result<Vec<_>, String> = (0..writers).map(|_| lane()).collect();
        Ok(Areas {
            source,
            lanes: lanes?,
        })
    }

    /// Bytes of each.
    pub fn bytes(&self) -> usize {
        self.source.shape().stride() * self.source.shape().buffers
    }

    /// Blocks of the source.
    pub fn blocks(&self) -> usize {
        self.source.shape().buffers
    }

    /// Fills a buffer with a block of the source.
    #[inline]
    pub fn read(&self, block: usize, into: &mut [u8]) {
        let bytes = into.len().min(self.source.shape().size);
        let from = self.source.start_of(block).as_ptr();
        // SAFETY: both are at least that long. The block was filled before anybody could read it, and nobody writes
        // there any more, so it does not overlap what `into` borrows.
        unsafe { from.copy_to_nonoverlapping(into.as_mut_ptr(), bytes) };
    }

    /// The part of the destination that a writer has for itself, for as long as the guard lives.
    pub fn lane(&self, writer: usize) -> MutexGuard<'_, Lane> {
        // A lane is right after every step of a write.
        self.lanes[writer]
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a block of the source is filled with.
fn filling(block: usize) -> u8 {
    // Not zero, which is what a fresh mapping has.
    (block % 255) as u8 + 1
}

/// A writer's part of the destination.
pub struct Lane {
    mapping: Mapping,
    next: usize,
}

impl Lane {
    /// Copies a buffer to the next block; the first follows the last.
    #[inline]
    pub fn write(&mut self, from: &[u8]) {
        let bytes = from.len().min(self.mapping.shape().size);
        let to = self.mapping.start_of(self.next).as_ptr();
        // SAFETY: both are at least that long. The block lies in this lane's own mapping, which is reached through
        // this exclusive borrow only, so it does not overlap what `from` borrows.
        unsafe { to.copy_from_nonoverlapping(from.as_ptr(), bytes) };
        self.next = (self.next + 1) % self.mapping.shape().buffers;
    }

    /// The last block that was written, if it was not the first one's turn.
    #[cfg(test)]
    pub fn last(&mut self) -> &[u8] {
        let buffers = self.mapping.shape().buffers;
        let start = self.mapping.start_of((self.next + buffers - 1) % buffers);
        // SAFETY: each block is `size` bytes and populated or zero, and the lane is borrowed.
        unsafe { std::slice::from_raw_parts(start.as_ptr(), self.mapping.shape().size) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::{GIB, KIB};

    #[test]
    fn areas_are_larger_than_the_caches_and_shared_out_evenly() {
        let stride = 64 * KIB;
        let (blocks, note) = blocks(64 * GIB, stride, 3).expect("there is room");
        assert_eq!(note, None);
        assert_eq!(blocks % 3, 0);
        assert!(blocks * stride >= LEAST.max(CACHES * largest_cache().unwrap_or(0)));
    }

    #[test]
    fn areas_shrink_to_their_memory_and_say_so_until_there_is_no_room() {
        let stride = 4 * MIB;
        let (fitting, note) = blocks(64 * MIB, stride, 3).expect("there is room");
        assert_eq!(fitting, 6);
        let note = note.expect("it is less than caches ask for");
        assert!(note.contains("24 MiB"), "{note}");
        assert_eq!(blocks(23 * MIB, stride, 3), None);
    }
}
