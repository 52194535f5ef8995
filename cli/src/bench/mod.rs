//! The measuring itself.
//!
//! Owns a group's measurement in one round. Uses `arenas` for the rivals and `mixed` for those of several sizes, `rounds`
//! for their order, `crew` for the worker threads and `cpus` for where they sit, `pattern` and `pipeline` for the timed
//! loops, `window` for one measurement, `held` for the memory that a rival holds, `row` and `figure` for what came of it.
//! `exhausted` and `engine` have loops and windows of their own, because their takes wait. `run` draws a [`Plan`], has its
//! groups measured once a round, each round in a process of its own, and hands the gathered rows to `report`.
//!
//! ```text
//! request -> plan -> groups: one pattern, size and number of threads
//!   round 1..n, each a process: every group, with new rivals
//!     every rival once, in a seeded order
//!       visit: warm-up window, timed window, latency window, count of what came home
//!   -> rows: each figure by rounds
//! ```

mod arenas;
mod clock;
mod cpus;
mod crew;
mod debt;
mod engine;
mod exhausted;
#[cfg(test)]
mod faulty;
mod figure;
mod held;
mod mixed;
mod pattern;
mod pipeline;
mod plan;
#[cfg(test)]
mod plan_tests;
mod random;
mod request;
mod rounds;
mod row;
mod seats;
mod sides;
mod standing;
mod usage;
mod window;
mod worker;
#[cfg(test)]
mod wrongs;

pub use clock::{TimerCost, latencies, processors};
pub use cpus::{List, confine, place};
pub use crew::Crew;
pub use exhausted::DryShape;
pub use figure::{Clock, Figure, Figures};
pub use held::prepare;
pub use pattern::Pattern;
pub use plan::{Group, Plan, draw, draw_within};
pub use random::Random;
pub use request::{Handicap, Request};
pub use row::Row;
pub use sides::Sides;
pub use standing::Standing;
pub use window::Wrongs;

use crate::failure::Failure;
use crate::rival::hugepool::{self as pool, Caches};
use crate::rival::{Name, Shape};
use crate::units::KIB;
use arenas::Arenas;
use rounds::Entered;
use window::{Contestant, Lengths};

/// One group's rows, and what their readers should know.
#[derive(Debug, Default)]
pub struct Measured {
    /// One for each rival.
    pub rows: Vec<Row>,
    /// What differs from the usual.
    pub notes: Vec<String>,
}

/// Tries whether a small pool is granted the kinds of pages that were asked for. What a large one is not granted shows only
/// when it is measured.
pub fn try_pages(request: &Request) -> Result<(), Failure> {
    let Some(pages) = &request.pages else {
        return Ok(());
    };
    let small = Shape {
        size: 64 * KIB,
        alignment: 4 * KIB,
        buffers: 32,
    };
    pool::build(&[small], Caches::Usual, Some(pages))
        .map(drop)
        .map_err(|error| Failure::input(format!("--pages {pages}: {error}")))
}

impl Measured {
    /// Puts the rows in the order of the group's rivals.
    pub fn sort(&mut self, group: &Group) {
        let place = |row: &Row| group.rivals.iter().position(|name| *name == row.rival);
        self.rows.sort_by_key(place);
    }
}

/// Measures one group in one round; `at` hears of each rival before its code runs. Fails only if this pool itself cannot
/// be built: a rival that cannot take part has a row that says so.
pub fn measure(
    request: &Request,
    group: &Group,
    crew: &Crew,
    random: &mut Random,
    at: &mut dyn FnMut(Name),
) -> Result<Measured, Failure> {
    if let Some(shape) = group.dry {
        return exhausted::measure(request, group, shape, crew, random, at);
    }
    if group.pattern == Pattern::Engine {
        return engine::measure(request, group, crew, random, at);
    }
    let mut arenas = Arenas::new(group, request.pages.clone());
    let (entered, absent) = rounds::enter(group, random, at, |name| match group.pattern {
        Pattern::Mixed => mixed::enter(&mut arenas, name),
        _ => arenas.enter(name),
    })?;
    arenas.granted()?;
    let rows = rounds::visit(
        random,
        entered,
        at,
        |Entered { name, rival, .. }: &mut Entered<dyn Contestant>| {
            let lengths = Lengths::new(request.window, group.threads)
                .warmed_up(request.warm_up)
                .handicapped(request.handicap_of(*name));
            rival.visit(crew, group, lengths).row(*name, group)
        },
    );
    Ok(Measured {
        rows: arenas.stand(rows).into_iter().chain(absent).collect(),
        notes: group.notes.clone(),
    })
}
