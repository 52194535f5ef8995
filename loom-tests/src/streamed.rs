//! A stream of a shelf.

use crate::{Kind, Shelf};
use hugepool::model::{CpuCaches, Denied, Given, Index, Limits, OfStream, Turn, Wait, run_on};
use std::sync::Arc;

/// A shelf with a stream.
pub struct Streamed<C> {
    /// The shelf.
    pub shelf: Shelf<C>,
    /// That of the stream's quota.
    pub number: u32,
}

/// What a stream took.
#[derive(Clone, Copy)]
pub struct Taken {
    stream: OfStream,
    index: Index,
}

impl<C: Kind> Streamed<C> {
    /// `count` buffers, of which a stream has so many of its own, and so many at most.
    #[must_use]
    pub fn new(count: u32, minimum: u32, maximum: u32, strict: bool) -> Arc<Self> {
        run_on(0);
        let caches = C::make(C::pick(1, 2));
        let shelf = match strict {
            true => Shelf::strict(caches, 2, count),
            false => Shelf::new(caches, 2, count),
        };
        let number = begin_stream(&shelf, minimum, maximum);
        Arc::new(Self { shelf, number })
    }
}

/// Makes a stream.
///
/// # Panics
///
/// If there is no number for it, or its own are not free.
pub fn begin_stream<C: CpuCaches>(shelf: &Shelf<C>, minimum: u32, maximum: u32) -> u32 {
    let limits = Limits {
        class: shelf.class,
        minimum,
        maximum,
    };
    let number = shelf
        .lists
        .begin_quota(limits, "")
        .expect("there is a number");
    let own = (0..minimum).map(|_| {
        let (_, index) = shelf.lists.take(&[shelf.class]).expect("there are enough");
        index
    });
    shelf
        .lists
        .endow(number, own.collect::<Vec<_>>().into_iter());
    number
}

impl<C: CpuCaches> Streamed<C> {
    /// Takes one.
    ///
    /// # Errors
    ///
    /// Why there is none.
    ///
    /// # Panics
    ///
    /// If what it took is of no stream.
    pub fn take(&self) -> Result<Taken, Denied> {
        let (line, index) = self.shelf.lists.take_of(self.number)?;
        self.shelf.buffers.take(index);
        let stream = line.stream().expect("it knows its stream");
        Ok(Taken { stream, index })
    }

    /// Gives one back.
    ///
    /// # Panics
    ///
    /// If the pool ends by that.
    pub fn give(&self, taken: Taken) {
        self.shelf.buffers.give(taken.index);
        let given = self.shelf.lists.give_of(taken.stream, taken.index);
        assert_eq!(given, Given::Home);
    }

    /// Stands in line for one.
    pub fn stand(&self) -> Wait {
        self.stand_for(1)
    }

    /// Stands in line for so many.
    ///
    /// # Panics
    ///
    /// If there is no place.
    pub fn stand_for(&self, count: usize) -> Wait {
        let (lists, size) = (&self.shelf.lists, 512);
        let wait = lists.begin_wait_of(self.number, (size, size, count), false);
        wait.expect("there is a place")
    }

    /// Ends a wait for one.
    pub fn end(&self, wait: Wait) -> Option<Taken> {
        self.end_for_several(wait)?.pop()
    }

    /// Ends a wait.
    ///
    /// # Panics
    ///
    /// If what came is of no stream.
    pub fn end_for_several(&self, wait: Wait) -> Option<Vec<Taken>> {
        let lists = &self.shelf.lists;
        let mut several = lists.end_wait_for_several(wait)?;
        let found = std::iter::from_fn(|| lists.next_of(&mut several));
        let taken = found.map(|(line, index)| {
            self.shelf.buffers.take(index);
            let stream = line.stream().expect("it knows its stream");
            Taken { stream, index }
        });
        Some(taken.collect())
    }

    /// What a thread does that waits for ever.
    ///
    /// # Panics
    ///
    /// If nothing comes by it.
    pub fn served(&self) -> Taken {
        self.served_for(1).pop().expect("it is one")
    }

    /// As above, for so many.
    ///
    /// # Panics
    ///
    /// As above.
    pub fn served_for(&self, count: usize) -> Vec<Taken> {
        let line = self.shelf.lists.line();
        let mut wait = self.stand_for(count);
        loop {
            let bell = line.bell(wait.seat());
            let rings = bell.rings();
            self.shelf.look(&mut wait);
            if wait.is_over() || matches!(line.turn(wait.seat()), Turn::Given(..)) {
                return self.end_for_several(wait).expect("it came");
            }
            bell.sleep(rings, None);
        }
    }

    /// Ends the stream, and asserts that nothing was lost.
    ///
    /// # Panics
    ///
    /// If something was.
    pub fn audit(&self) {
        assert_eq!(
            self.shelf.lists.held(self.number),
            0,
            "something still counts"
        );
        self.shelf.lists.close_quota(self.number);
        self.shelf.audit();
    }
}
