//! A round of a group, whatever its pattern.
//!
//! Owns who takes part, and the order of the visits: every rival once, in a seeded order. `bench`, `exhausted` and
//! `engine` say what a visit is.
//!
//! Whoever calls the code of a rival, to make it, to visit it or to take it down, says so beforehand: if the process ends
//! meanwhile, it is known whose doing that was.
//!
//! Where a rival's own tables lie on the heap, against cache lines and against each other, can make a quarter of its time.
//! It follows from all that was allocated before: it is the same in every round, and another one as soon as a program has
//! one argument more. So that a run does not measure one such place, each rival is made behind some bytes that nobody
//! uses, another number of them in each round.

use super::plan::Group;
use super::random::Random;
use super::row::Row;
use crate::failure::Failure;
use crate::rival::{Absence, Name};

/// A rival that takes part.
pub struct Entered<C: ?Sized> {
    pub name: Name,
    pub rival: Box<C>,
    /// What it was made behind.
    _padding: Vec<u8>,
}

/// Has `make` make the rivals; `at` hears of each beforehand. Fails only if this pool itself cannot be made: another one
/// has a row that says why it takes no part.
pub fn enter<C: ?Sized>(
    group: &Group,
    random: &mut Random,
    at: &mut dyn FnMut(Name),
    mut make: impl FnMut(Name) -> Result<Box<C>, Absence>,
) -> Result<(Vec<Entered<C>>, Vec<Row>), Failure> {
    let mut entered = Vec::with_capacity(group.rivals.len());
    let mut absent = Vec::new();
    for name in group.rivals.iter().copied() {
        let padding = padding(random);
        at(name);
        match make(name) {
            Ok(rival) => entered.push(Entered {
                name,
                rival,
                _padding: padding,
            }),
            Err(Absence::Refuses(reason) | Absence::Failed(reason)) if name.is_hugepool() => {
                return Err(Failure::run(format!("{name}: {reason}")));
            }
            Err(absence) => absent.push(Row {
                absence: Some(absence),
                ..Row::empty(name, group)
            }),
        }
    }
    Ok((entered, absent))
}

/// Up to a page, in the steps in which the heap places things.
fn padding(random: &mut Random) -> Vec<u8> {
    const STEP: usize = 16;
    Vec::with_capacity(STEP * (1 + random.below(4096 / STEP)))
}

/// Has each of them visited once, then takes all down; `at` hears of each beforehand. The rows are in the order of
/// `entered`.
pub fn visit<C: ?Sized>(
    random: &mut Random,
    mut entered: Vec<Entered<C>>,
    at: &mut dyn FnMut(Name),
    mut visit: impl FnMut(&mut Entered<C>) -> Row,
) -> Vec<Row> {
    let mut order: Vec<usize> = (0..entered.len()).collect();
    random.shuffle(&mut order);
    let mut rows: Vec<(usize, Row)> = Vec::with_capacity(order.len());
    for index in order {
        at(entered[index].name);
        rows.push((index, visit(&mut entered[index])));
    }
    for entered in entered {
        at(entered.name);
        drop(entered);
    }
    rows.sort_by_key(|(index, _)| *index);
    rows.into_iter().map(|(_, row)| row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rival_is_made_behind_another_number_of_bytes_in_each_round() {
        let bytes = |round| padding(&mut Random::of_round(1, round)).capacity();
        let mut found: Vec<usize> = (0..100).map(bytes).collect();
        assert!(found.iter().all(|bytes| (16..=4096).contains(bytes)));
        // Whole steps; where a line or a page begins is another place each time.
        assert!(found.iter().all(|bytes| bytes.is_multiple_of(16)));
        found.sort_unstable();
        found.dedup();
        assert!(found.len() > 50, "{found:?}");
    }
}
