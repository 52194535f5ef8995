//! How large an engine is.
//!
//! Owns its sizes, the number of blocks under way, and what of the memory is for buffers and what for the areas. Uses
//! the areas; the plan makes its groups with it.

use std::collections::HashSet;

use super::areas::blocks;
use crate::bench::pattern::Pattern;
use crate::bench::plan::Group;
use crate::bench::request::Request;
use crate::rival::{Arena, Name, Shape};
use crate::units::{self, KIB, MIB};

/// Sizes of a block when the user asks for none.
pub const SIZES: [usize; 3] = [64 * KIB, MIB, 4 * MIB];
/// Threads when the user asks for none.
pub const THREADS: usize = 8;
/// The ample pool has so many times the buffers that can be under way.
pub const AMPLE: usize = 2;

/// Blocks under way at most: a pool of 16, or two for each worker.
fn under_way(workers: usize) -> usize {
    (2 * workers).max(16)
}

/// An engine with as many readers as writers. What its buffers leave of the memory is for its areas.
pub fn group(
    request: &Request,
    rivals: Vec<Name>,
    (size, threads): (usize, usize),
    memory: usize,
) -> Result<Group, String> {
    if !threads.is_multiple_of(2) {
        return Err("an engine needs an even number of threads".to_owned());
    }
    let shape = Shape {
        size,
        alignment: request.alignment,
        buffers: under_way(threads),
    };
    // General allocators run one at a time, and have as many buffers out as an arena has.
    let arenas: HashSet<Option<Arena>> = rivals.iter().map(|rival| rival.arena()).collect();
    let times = |arena: &Option<Arena>| match arena {
        Some(Arena::AmplePool) => AMPLE,
        _ => 1,
    };
    let buffers = shape.buffers * arenas.iter().map(times).sum::<usize>();
    let stride = shape.stride();
    let writers = threads / 2;
    let left = buffers
        .checked_mul(stride)
        .and_then(|bytes| memory.checked_sub(bytes));
    let Some((area, note)) = left.and_then(|left| blocks(left, stride, writers)) else {
        let needed = buffers + 2 * writers;
        let [all, memory] = units::together([stride.saturating_mul(needed), memory]);
        return Err(format!(
            "it needs {buffers} buffers and as many blocks again as there are threads, {all} in all, and may use {memory}"
        ));
    };
    Ok(Group {
        pattern: Pattern::Engine,
        threads,
        shape,
        depth: 1,
        area,
        rivals,
        dry: None,
        sides: None,
        notes: note.into_iter().collect(),
    })
}
