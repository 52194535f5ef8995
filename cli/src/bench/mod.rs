//! The measuring itself.
//!
//! Owns a group's measurement. Uses `arenas` for the rivals, `rounds` for their order, `crew` for the worker threads,
//! `pattern` and `pipeline` for the timed loops, `window` for one measurement and `row` for what came of it.
//! `exhausted` and `engine` have loops and windows of their own, because their takes wait. `run` draws a [`Plan`],
//! measures its groups one after the other and hands the rows to `report`.
//!
//! ```text
//! request -> plan -> groups: one pattern, size and number of threads
//!                      round 1..n: every rival once, in a new seeded order
//!                        visit: warm-up window, timed window, latency window, count of what came home
//!                      -> rows: the median over the rounds
//! ```

mod arenas;
mod clock;
mod crew;
mod engine;
mod exhausted;
#[cfg(test)]
mod faulty;
mod pattern;
mod pipeline;
mod plan;
mod random;
mod rounds;
mod row;
mod seats;
mod window;
#[cfg(test)]
mod wrongs;

pub use clock::TimerCost;
pub use crew::Crew;
pub use engine::Flow;
pub use exhausted::{CallsPerTake, DryShape};
pub use pattern::Pattern;
pub use plan::{Group, Plan, Request, draw};
pub use random::Random;
pub use row::Row;

use crate::failure::Failure;
use arenas::Arenas;
use rounds::Entered;
use row::Tallies;
use window::{Contestant, Lengths};

/// One group's rows, and what their readers should know.
#[derive(Debug)]
pub struct Measured {
    /// One for each rival that took part, in the order of the names.
    pub rows: Vec<Row>,
    /// Which pages the pool stood on, and who was left out.
    pub notes: Vec<String>,
}

/// Measures one group; calls `step` after each visit. Fails only if this pool itself cannot be built: a rival that
/// cannot take part is left out with a note.
pub fn measure(
    request: &Request,
    group: &Group,
    crew: &Crew,
    random: &mut Random,
    step: impl FnMut(),
) -> Result<Measured, Failure> {
    if let Some(shape) = group.dry {
        return exhausted::measure(request, group, shape, crew, random, step);
    }
    if group.pattern == Pattern::Engine {
        return engine::measure(request, group, crew, random, step);
    }
    let mut notes = group.notes.clone();
    let mut arenas = Arenas::new(group.shape);
    let mut entered: Vec<Entered<dyn Contestant, Tallies>> =
        rounds::enter(&group.rivals, &mut notes, |name| arenas.enter(name))?;
    notes.extend(arenas.pages());
    let lengths = Lengths::new(request.window, group.threads);
    rounds::visit(
        request.rounds,
        random,
        &mut entered,
        |one| one.tallies.add(one.rival.visit(crew, group, lengths)),
        step,
    );
    let rows = entered
        .into_iter()
        .map(|Entered { name, tallies, .. }| Row::new(name, group, tallies))
        .collect();
    Ok(Measured { rows, notes })
}
