//! Buffers of several sizes, from a rival for each.
//!
//! Owns [`Mixed`], which takes from one of its rivals after the other, as it is told; each is of one size, and gets back
//! what it gave. `bench` makes it for the pattern `mixed`, and says in which order sizes are taken.

use super::{Hand, Rival, Seat};

/// Which size a taker takes next: indices of sizes, over and over. Made from the taker's number and the number of sizes;
/// their number is a power of two.
pub type Draws = fn(usize, usize) -> Box<[usize]>;

/// One rival for each size.
pub struct Mixed<R> {
    rivals: Box<[R]>,
    draws: Draws,
}

impl<R> Mixed<R> {
    /// Of one rival or more.
    pub fn new(rivals: Vec<R>, draws: Draws) -> Mixed<R> {
        Mixed {
            rivals: rivals.into(),
            draws,
        }
    }
}

impl<R: Rival> Rival for Mixed<R> {
    type Hand = MixedHand<R::Hand>;

    fn hand(&self, seat: Seat) -> Self::Hand {
        MixedHand {
            hands: self.rivals.iter().map(|rival| rival.hand(seat)).collect(),
            draws: (self.draws)(seat.taker, self.rivals.len()),
            next: 0,
        }
    }

    fn capacity(&self) -> Option<usize> {
        self.rivals.iter().map(Rival::capacity).sum()
    }

    /// Each size is counted by itself: takes in the order of the draws find one size used up before another.
    fn missing(&self) -> usize {
        self.rivals.iter().map(Rival::missing).sum()
    }

    fn settle(&self) {
        self.rivals.iter().for_each(Rival::settle);
    }
}

pub struct MixedHand<H> {
    hands: Box<[H]>,
    draws: Box<[usize]>,
    next: usize,
}

/// A buffer, and which of the sizes it has.
pub struct Held<T> {
    held: T,
    size: usize,
}

impl<H: Hand> Hand for MixedHand<H> {
    type Held = Held<H::Held>;

    #[inline(always)]
    fn take(&mut self) -> Option<Self::Held> {
        let size = self.draws[self.next & (self.draws.len() - 1)];
        self.next = self.next.wrapping_add(1);
        let held = self.hands[size].take()?;
        Some(Held { held, size })
    }

    #[inline(always)]
    fn give(&mut self, held: Self::Held) -> bool {
        self.hands[held.size].give(held.held)
    }

    #[inline(always)]
    fn bytes<'h>(&self, held: &'h mut Self::Held) -> &'h mut [u8] {
        self.hands[held.size].bytes(&mut held.held)
    }
}
