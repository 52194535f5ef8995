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

use super::figure::Figure;
use super::held;
use super::plan::Group;
use super::random::Random;
use super::row::Row;
use crate::failure::Failure;
use crate::rival::{Absence, Arena, Name};

/// A rival that takes part.
pub struct Entered<C: ?Sized> {
    pub name: Name,
    pub rival: Box<C>,
    /// Bytes that the process holds more since it was made, those of the memory that it shares with others included;
    /// `None`: not known.
    held: Option<i64>,
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
    let mut shared: Vec<(Arena, Option<i64>)> = Vec::new();
    for name in group.rivals.iter().copied() {
        let padding = padding(random);
        at(name);
        let before = held::now();
        match make(name) {
            Ok(rival) => entered.push(Entered {
                name,
                rival,
                held: with_shared(&mut shared, name.arena(), grown(before)),
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

/// Bytes that the process holds more than before.
fn grown(before: Option<u64>) -> Option<i64> {
    let (before, after) = before.zip(held::now())?;
    Some(after as i64 - before as i64)
}

/// What making a rival took, with the memory that it shares with others: that was taken when the first of them was made.
fn with_shared(
    shared: &mut Vec<(Arena, Option<i64>)>,
    arena: Option<Arena>,
    grown: Option<i64>,
) -> Option<i64> {
    let Some(arena) = arena else { return grown };
    match shared.iter().find(|(known, _)| *known == arena) {
        Some((_, first)) => Some((*first)? + grown?),
        None => {
            shared.push((arena, grown));
            grown
        }
    }
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
        let before = held::now();
        let mut row = visit(&mut entered[index]);
        // It may have given back more than it took.
        if let Some((made, visited)) = entered[index].held.zip(grown(before)) {
            row.add(Figure::MemoryBytes, (made + visited).max(0) as f64);
        }
        rows.push((index, row));
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
    fn memory_that_rivals_share_counts_for_each_of_them() {
        let mut shared = Vec::new();
        let mut held = |arena, grown| with_shared(&mut shared, arena, grown);
        assert_eq!(held(Some(Arena::Pool), Some(1000)), Some(1000));
        assert_eq!(held(Some(Arena::Mapping), Some(500)), Some(500));
        assert_eq!(held(None, Some(7)), Some(7));
        assert_eq!(held(Some(Arena::Pool), Some(20)), Some(1020));
        assert_eq!(held(Some(Arena::Pool), Some(30)), Some(1030));
        assert_eq!(held(Some(Arena::Pool), None), None);
    }

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
