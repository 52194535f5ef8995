//! The free lists of one class, with their buffers.

use crate::Buffers;
use hugepool::model::{
    ClassId, Classes, CpuCaches, FreeLists, Geometry, Given, Index, Request, Several, Wait,
};
use std::ptr::null_mut;

/// More than the number of any buffer.
const INDICES: usize = 8;

/// Size and alignment of the class, in bytes.
const SIZE: usize = 512;

/// Buffers of one class in free lists over the caches `C`.
pub struct Shelf<C> {
    /// The lists.
    pub lists: FreeLists<C>,
    /// What is in them.
    pub buffers: Buffers,
    /// The class.
    pub class: ClassId,
}

impl<C: CpuCaches> Shelf<C> {
    /// `count` buffers in the depot under `caches`, each of which holds up to
    /// `capacity` and moves half of that at once.
    pub fn new(caches: C, capacity: u8, count: u32) -> Self {
        Self::of(caches, capacity, count, false)
    }

    /// As `new`; whoever waits is served in strict order.
    pub fn strict(caches: C, capacity: u8, count: u32) -> Self {
        Self::of(caches, capacity, count, true)
    }

    /// `count` buffers in the depot under `caches` of processors that nobody has come to: they
    /// have no room yet.
    pub fn unvisited(caches: C, count: u32) -> Self {
        Self::with(caches, count, false, |lists, class| {
            lists.begin_unvisited();
            lists.share_out(class, count as usize, SIZE);
        })
    }

    fn of(caches: C, capacity: u8, count: u32, strict: bool) -> Self {
        Self::with(caches, count, strict, |lists, class| {
            lists.fix_cache(class, capacity);
        })
    }

    fn with(
        caches: C,
        count: u32,
        strict: bool,
        begin: impl FnOnce(&mut FreeLists<C>, ClassId),
    ) -> Self {
        let class = ClassId::FIRST;
        let buffers = Buffers::new(count);
        let classes = Classes::new(0, null_mut()).unwrap();
        classes.define(class, &Geometry::new(SIZE, SIZE, 0).unwrap());
        let mut lists = FreeLists::new(caches, classes, INDICES, 0, strict).unwrap();
        begin(&mut lists, class);
        lists.prepare(std::iter::once((class, count as usize)));
        lists.stock(class, count as usize, |k| Index::from_raw(k as u32 + 1));
        Self {
            lists,
            buffers,
            class,
        }
    }

    /// Takes a buffer, by the whole ladder of a request.
    pub fn take(&self) -> Option<Index> {
        let (_, index) = self.lists.take(&[self.class]).ok()?;
        self.buffers.take(index);
        Some(index)
    }

    /// Takes `many` buffers or none.
    pub fn take_many(&self, many: usize) -> Option<Vec<Index>> {
        let taken = self.lists.take_many(&[self.class], many).ok()?;
        Some(self.took(taken.into()))
    }

    /// Buffers that the lists gave.
    fn took(&self, mut several: Several) -> Vec<Index> {
        let taken = std::iter::from_fn(|| self.lists.next_of(&mut several));
        let taken: Vec<Index> = taken.map(|(_, index)| index).collect();
        taken.iter().for_each(|&index| self.buffers.take(index));
        taken
    }

    /// Gives a buffer back.
    pub fn give(&self, index: Index) -> Given {
        self.buffers.give(index);
        let line = self.lists.classes().line(self.class);
        self.lists.give(line, index)
    }

    /// Stands in line for a buffer.
    ///
    /// # Panics
    ///
    /// If there is no place.
    pub fn stand(&self, task: bool) -> Wait {
        self.stand_for(1, task)
    }

    /// Stands in line for `count` buffers.
    ///
    /// # Panics
    ///
    /// If there is no place.
    pub fn stand_for(&self, count: usize, task: bool) -> Wait {
        let request = Request {
            size: SIZE,
            alignment: SIZE,
            reach: SIZE,
            count,
            ..Request::default()
        };
        let wait = self.lists.begin_wait(request, task);
        wait.expect("there is a place for everybody")
    }

    /// Looks through the lists for `wait`.
    pub fn look(&self, wait: &mut Wait) {
        self.lists
            .look(wait, &self.lists.classes().ladder(|_| true));
    }

    /// Opens the class if nobody waits for it.
    pub fn reopen(&self) {
        self.lists.reopen(self.class);
    }

    /// Waits for a buffer, which shuts the lists, and gives up, or gives back what it
    /// found.
    ///
    /// # Panics
    ///
    /// If the pool ends by that.
    pub fn wait_a_moment(&self) {
        let mut wait = self.stand(false);
        self.look(&mut wait);
        if let Some(index) = self.end(wait) {
            assert_eq!(self.give(index), Given::Home);
        }
    }

    /// Ends `wait`.
    pub fn end(&self, wait: Wait) -> Option<Index> {
        let (_, index) = self.lists.end_wait(wait)?;
        self.buffers.take(index);
        Some(index)
    }

    /// Ends `wait`, which is for several.
    pub fn end_for_several(&self, wait: Wait) -> Option<Vec<Index>> {
        let taken = self.lists.end_wait_for_several(wait)?;
        Some(self.took(taken))
    }

    /// Asserts, when all other threads have ended, that the lists count what
    /// they hold, and that each buffer is in a list or has a holder.
    pub fn audit(&self) {
        let counts = self.lists.counts(self.class);
        let held = self.buffers.held() as u64;
        assert_eq!(
            counts.depot + counts.cached + held,
            counts.capacity,
            "a buffer was lost"
        );
        let mut found = 0;
        while self.take().is_some() {
            found += 1;
        }
        assert_eq!(found, counts.depot + counts.cached, "a list miscounts");
    }
}
