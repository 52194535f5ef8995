//! What a ring has of the operations that are under way.
//!
//! Owns: their buffers and files, a place each. Uses: `buffer`. Used by: `ring`.

use crate::buffer::Owned;

/// An operation that was begun and has not completed. The kernel may use its buffer, and the
/// ring the number of its file's descriptor.
pub struct Flight<F> {
    pub token: u64,
    pub buffer: Owned,
    pub file: F,
}

/// A place for each operation that a ring can have. The place's number is what the kernel
/// says when the operation has completed.
pub struct Flights<F> {
    places: Vec<Option<Flight<F>>>,
    free: Vec<u32>,
}

impl<F> Flights<F> {
    /// `depth` places. Nothing is allocated after that.
    pub fn new(depth: u32) -> Self {
        Self {
            places: (0..depth).map(|_| None).collect(),
            free: (0..depth).rev().collect(),
        }
    }

    /// A place that is free, which the next `begin` takes.
    pub fn next(&self) -> Option<u32> {
        self.free.last().copied()
    }

    /// How many are taken.
    pub fn len(&self) -> usize {
        self.places.len() - self.free.len()
    }

    /// Takes the place that `next` gave. Gives the flight back if there is none.
    pub fn begin(&mut self, flight: Flight<F>) -> Result<u32, Flight<F>> {
        let place = self.next();
        match place.and_then(|at| Some((at, self.places.get_mut(at as usize)?))) {
            Some((at, place)) => {
                self.free.pop();
                *place = Some(flight);
                Ok(at)
            }
            None => Err(flight),
        }
    }

    /// Gives up the place `at`; `None` if nothing is there.
    pub fn end(&mut self, at: u64) -> Option<Flight<F>> {
        let place = self.places.get_mut(usize::try_from(at).ok()?)?;
        let flight = place.take()?;
        // It is one of the places, of which there are fewer than 2^32.
        self.free.push(at as u32);
        Some(flight)
    }

    /// The places that are taken.
    pub fn taken(&self) -> impl Iterator<Item = u32> + '_ {
        let places = (0..).zip(&self.places);
        places.filter_map(|(at, place)| place.as_ref().map(|_| at))
    }
}
