//! The pattern `exhausted`: a pool that runs dry, where every buffer passes from one who gives to one who waits.
//!
//! Owns the measurement of a group of this pattern. Uses `shape` for who takes and gives, `threads` and `tasks` for the
//! loops, `work` for the holding, `window` for one measurement and `outcome` for what came of it. `bench` measures
//! groups of this pattern with it; `Arenas` makes the contestants.
//!
//! All takes wait. The rivals are pools at which threads wait, and pools at which tasks wait; beside each kind runs a
//! baseline without a pool, with no more workers than there are buffers. It tells how much processor time the shape
//! itself takes and what the processors allow.

mod outcome;
mod shape;
mod tasks;
mod threads;
mod window;
mod work;
#[cfg(test)]
mod wrongs;

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};

use super::Measured;
use super::arenas::Arenas;
use super::clock;
use super::cpus;
use super::crew::Crew;
use super::plan::Group;
use super::random::Random;
use super::request::Request;
use super::rounds::{self, Entered};
use crate::failure::Failure;
use crate::rival::Name;
use window::{Lengths, Visit};

pub use shape::DryShape;
pub use tasks::Tasks;
pub use threads::Threads;

/// How long a wait may outlast its window before its rival counts as stalled.
const PATIENCE: Duration = Duration::from_secs(10);

/// What all rivals run on.
pub struct Stage<'s> {
    crew: &'s Crew,
    runtime: Runtime,
}

impl Stage<'_> {
    /// Starts a runtime with as many workers as there are processors, pinned as the crew is. They sleep while threads
    /// are measured.
    fn new(crew: &Crew) -> io::Result<Stage<'_>> {
        let mut builder = Builder::new_multi_thread();
        builder
            .worker_threads(clock::processors())
            .thread_name("task-worker")
            .enable_time();
        if let Some(pinned) = crew.cpus().cloned() {
            let started = AtomicUsize::new(0);
            builder.on_thread_start(move || {
                let seat = started.fetch_add(1, Ordering::Relaxed);
                // Where it is refused, as it was not to the crew, the thread runs on any of these processors.
                let _ = cpus::pin(pinned.of_seat(seat));
            });
        }
        let runtime = builder.build()?;
        Ok(Stage { crew, runtime })
    }
}

/// A rival that a group of this pattern can visit.
pub trait Contestant {
    /// Measures one window and counts what came home.
    fn visit(&self, stage: &Stage<'_>, shape: DryShape, lengths: Lengths) -> Visit;
}

/// Measures one group; `at` hears of each rival before its code runs. Fails only if this pool itself cannot be built: a
/// rival that cannot take part has a row that says so.
pub fn measure(
    request: &Request,
    group: &Group,
    shape: DryShape,
    crew: &Crew,
    random: &mut Random,
    at: &mut dyn FnMut(Name),
) -> Result<Measured, Failure> {
    let stage = Stage::new(crew)
        .map_err(|error| Failure::run(format!("cannot start tokio's runtime: {error}")))?;
    let mut arenas = Arenas::new(group, request.pages.clone());
    let (entered, absent): (Vec<Entered<dyn Contestant>>, _) =
        rounds::enter(group, random, at, |name| arenas.enter_exhausted(name))?;
    arenas.granted()?;
    let lengths = Lengths {
        window: request.window * shape.windows,
        patience: PATIENCE,
    };
    let shape_for = |name: Name| {
        if name.is_without_a_pool() {
            shape.without_a_pool()
        } else {
            shape
        }
    };
    // Tasks take turns in microseconds, so half of the time is enough for them.
    let lengths_for = |name: Name| Lengths {
        window: if name.is_for_tasks() {
            lengths.window / 2
        } else {
            lengths.window
        },
        ..lengths
    };
    // The first visits of all find cold lists and cold memory.
    let mut warm_ups = Vec::with_capacity(entered.len());
    for Entered { name, rival, .. } in &entered {
        at(*name);
        let lengths = lengths_for(*name);
        let warm_up = Lengths {
            window: request.warm_up.unwrap_or(lengths.window / 4),
            ..lengths
        };
        if !warm_up.window.is_zero() {
            let visit = rival.visit(&stage, shape_for(*name), warm_up);
            warm_ups.push((*name, visit));
        }
    }
    let mut rows = rounds::visit(random, entered, at, |Entered { name, rival, .. }| {
        let visit = rival.visit(&stage, shape_for(*name), lengths_for(*name));
        outcome::row(*name, group, visit)
    });
    for (name, warm_up) in warm_ups {
        for row in rows.iter_mut().filter(|row| row.rival == name) {
            row.blame(warm_up.wrongs, warm_up.lost);
        }
    }
    outcome::compare(&mut rows);
    Ok(Measured {
        rows: arenas.stand(rows).into_iter().chain(absent).collect(),
        notes: group.notes.clone(),
    })
}
