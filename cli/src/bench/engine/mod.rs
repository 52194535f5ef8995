//! The pattern `engine`: a backup from memory to memory.
//!
//! Owns the measurement of a group of this pattern, and what bounds the blocks under way. Uses `shape` for how large one is,
//! `areas` for what is read and written, `pipeline` for the loops, `window` for one measurement
//! and `outcome` for what came of it. `bench` measures groups of this pattern with it; `Arenas` makes the contestants.
//!
//! ```text
//!   source area ──copy──▶ buffer ──[queue]──▶ copy ──▶ destination area
//!              readers                    writers, who give the buffer back
//! ```
//!
//! A reader's copy stands for `read(2)`, a writer's for `write(2)`: where the file system keeps files in memory, both
//! are copies that the kernel makes. (A writer that took a checksum instead would touch each byte once less than an
//! engine does, and so make much of what the buffers cost.) Neither area fits in the processor's caches.
//!
//! All rivals have the same bound on the blocks under way: those that readers fill, those in the queue and those that
//! writers empty.

mod areas;
mod outcome;
mod pipeline;
mod shape;
mod window;
#[cfg(test)]
mod wrongs;

use std::sync::Arc;
use std::time::Duration;

use super::Measured;
use super::arenas::Arenas;
use super::crew::Crew;
use super::plan::Group;
use super::random::Random;
use super::request::Request;
use super::rounds::{self, Entered};
use crate::failure::Failure;
use crate::rival::Name;
use crate::units;
use areas::Areas;
use window::{Lengths, Visit};

pub use pipeline::Pipeline;
pub use shape::{AMPLE, SIZES, THREADS, group};

/// Windows of the usual length that one of this pattern lasts: a block of 4 MiB takes milliseconds.
const WINDOWS: u32 = 8;
/// How long a wait may outlast its window before its rival counts as stalled.
const PATIENCE: Duration = Duration::from_secs(10);

/// What makes a reader wait when as many blocks are under way as may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bound {
    /// There are only so many buffers; the queue has room for all.
    Buffers,
    /// The queue is full: it has room for the blocks that no worker holds.
    Queue,
}

/// A rival that a group of this pattern can visit.
pub trait Contestant {
    /// Measures one window and counts what came home.
    fn visit(&self, crew: &Crew, group: &Group, areas: &Arc<Areas>, lengths: Lengths) -> Visit;
}

/// Measures one group; `at` hears of each rival before its code runs. Fails only if this pool itself or the areas cannot
/// be had: a rival that cannot take part has a row that says so.
pub fn measure(
    request: &Request,
    group: &Group,
    crew: &Crew,
    random: &mut Random,
    at: &mut dyn FnMut(Name),
) -> Result<Measured, Failure> {
    let mut notes = group.notes.clone();
    let areas = Areas::new(group)
        .map_err(|error| Failure::run(format!("nothing to read from or write to: {error}")))?;
    notes.push(format!(
        "{} to read, {} to write",
        units::bytes(areas.bytes()),
        units::bytes(areas.bytes())
    ));
    let areas = Arc::new(areas);
    let mut arenas = Arenas::new(group, request.pages.clone());
    let (entered, absent) = rounds::enter(group, random, at, |name| arenas.enter_engine(name))?;
    arenas.granted()?;
    let window = request.window * WINDOWS;
    let lengths = Lengths {
        lead_in: request.warm_up.unwrap_or(window / 4),
        window,
        patience: PATIENCE,
    };
    let rows = rounds::visit(
        random,
        entered,
        at,
        |Entered { name, rival, .. }: &mut Entered<dyn Contestant>| {
            outcome::row(*name, group, &rival.visit(crew, group, &areas, lengths))
        },
    );
    Ok(Measured {
        rows: arenas.stand(rows).into_iter().chain(absent).collect(),
        notes,
    })
}
