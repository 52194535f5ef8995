//! The rounds of a group, whatever its pattern.
//!
//! Owns who takes part, and the order of the visits: in each round every rival once, in a new seeded order. `bench`,
//! `exhausted` and `engine` say what a visit is.

use super::random::Random;
use crate::failure::Failure;
use crate::rival::Name;

/// A rival that takes part.
pub struct Entered<C: ?Sized, T> {
    pub name: Name,
    pub rival: Box<C>,
    pub tallies: T,
}

/// What came of a rival's visits.
pub trait Tallied: Default {
    /// It made no progress: it is not visited any more.
    fn stalled(&self) -> bool;
}

/// Has `make` make the rivals. Fails only if this pool itself cannot be made: of another one a note says why it is left
/// out.
pub fn enter<C: ?Sized, T: Tallied>(
    names: &[Name],
    notes: &mut Vec<String>,
    mut make: impl FnMut(Name) -> Result<Box<C>, String>,
) -> Result<Vec<Entered<C, T>>, Failure> {
    let mut entered = Vec::with_capacity(names.len());
    for name in names.iter().copied() {
        match make(name) {
            Ok(rival) => entered.push(Entered {
                name,
                rival,
                tallies: T::default(),
            }),
            Err(error) if name.is_hugepool() => {
                return Err(Failure::run(format!("{name}: {error}")));
            }
            Err(error) => notes.push(format!("{name} left out: {error}")),
        }
    }
    Ok(entered)
}

/// Has each of them visited once a round, and calls `step` after each.
pub fn visit<C: ?Sized, T: Tallied>(
    rounds: u32,
    random: &mut Random,
    entered: &mut [Entered<C, T>],
    mut visit: impl FnMut(&mut Entered<C, T>),
    mut step: impl FnMut(),
) {
    let mut order: Vec<usize> = (0..entered.len()).collect();
    for _ in 0..rounds {
        random.shuffle(&mut order);
        for index in order.iter().copied() {
            let one = &mut entered[index];
            if !one.tallies.stalled() {
                visit(one);
            }
            step();
        }
    }
}
