//! Buffers for those who wait.
//!
//! Owns: the order in which a waiter stands in line, shuts the lists and looks
//! through them, and the serving of the line by others. Uses: the lists, `wait`.
//! Used by: `pool`, which sleeps in between.
//!
//! While somebody waits for a class its lists are shut: every free is diverted
//! and hands its buffer to the first in line. Requests that do not wait look
//! through the lists as ever, but what they find while others wait they hand to
//! the line, too, so that nobody overtakes.

use super::FreeLists;
use crate::cache::CpuCaches;
use crate::class::{ClassId, Ladder};
use crate::sync::{Patience, fault};
use crate::wait::{Line, Seat, Turn};
use crate::word::Index;

/// A wait for a buffer of some classes. Whoever has it must end it.
#[must_use = "a wait that nobody ends keeps its classes shut"]
pub struct Wait {
    seat: Seat,
    ladder: Ladder,
    /// False if some free may still be on its way into a list unseen.
    sure: bool,
}

impl Wait {
    /// The place in the line.
    pub fn seat(&self) -> &Seat {
        &self.seat
    }

    /// Whether every buffer that comes home will be handed over. False: the
    /// kernel refused to say that all pushes have ended that began before the
    /// lists were shut, so that the waiter must look again from time to time.
    pub fn is_sure(&self) -> bool {
        self.sure
    }
}

impl<C: CpuCaches> FreeLists<C> {
    /// The line of those who wait.
    pub fn line(&self) -> &Line {
        &self.line
    }

    /// Begins a wait for a buffer of the classes on `ladder`. `None` if too many
    /// wait already. The caller holds a handle until it has ended the wait.
    pub fn begin_wait(&self, ladder: Ladder, ticket: u64, task: bool) -> Option<Wait> {
        let seat = self.line.stand(ladder.classes(), ticket, task)?;
        let mut sure = true;
        for &class in ladder.classes() {
            sure &= self.shut(class);
        }
        Some(Wait { seat, ladder, sure })
    }

    /// Looks through the lists for a waiter. Whatever is there goes to the first
    /// in line.
    pub fn look(&self, wait: &Wait) {
        while self.line.turn(&wait.seat) == Turn::Waiting {
            match self.search(wait.ladder.classes(), 0, Patience::none()) {
                Ok((class, index)) => self.put_back(class, index),
                Err(_) => return,
            }
        }
    }

    /// Ends a wait; gives the buffer that came meanwhile, if one did.
    pub fn end_wait(&self, wait: Wait) -> Option<(ClassId, Index)> {
        let classes = wait.ladder.classes();
        let given = self.line.leave(wait.seat, classes);
        for &class in classes {
            self.unshut(class);
        }
        given
    }

    /// Diverts every free of `class`. False if some may not be.
    pub fn shut(&self, class: ClassId) -> bool {
        let stopped = self.caches.shut(&self.tables, class).is_some();
        self.loose(class).shut(&self.tables.records);
        self.depot(class).shut(&self.tables.batches);
        stopped
    }

    /// Ends that unless somebody waits.
    pub fn unshut(&self, class: ClassId) {
        let idle = || fault!(UnshutAnyway, true, !self.line.is_wanted(class));
        self.caches.unshut(&self.tables, class, &idle);
        self.loose(class).unshut(idle);
        self.depot(class).unshut(idle);
    }

    /// Hands a buffer of `class` that the caller holds to the first in line, or
    /// puts it where requests find it. The caller holds a handle.
    pub(super) fn put_back(&self, class: ClassId, index: Index) {
        if !self.line.hand_over(class, index) {
            self.loose(class).force(&self.tables.records, index);
            self.serve(class);
        }
    }

    /// Whether a buffer of `class` that the caller found went to somebody who
    /// waits.
    pub(super) fn goes_to_the_line(&self, class: ClassId, index: Index) -> bool {
        self.line.is_wanted(class) && self.line.hand_over(class, index)
    }

    /// Hands over what the caller put into shut lists. The caller holds a
    /// handle.
    pub(super) fn serve(&self, class: ClassId) {
        while fault!(NoServe, false, self.line.has_taker(class)) {
            let Some(index) = self.take_shared(class) else {
                return;
            };
            if !self.line.hand_over(class, index) {
                self.loose(class).force(&self.tables.records, index);
            }
        }
    }

    /// Takes a buffer from the lists that all processors share.
    fn take_shared(&self, class: ClassId) -> Option<Index> {
        let batches = &self.tables.batches;
        let loose = self.loose(class).pop(&self.tables.records).ok();
        loose
            .or_else(|| Some(self.depot(class).pop_one(batches).ok()?.0))
            .or_else(|| Some(self.aside(class).pop_one(batches).ok()?.0))
    }
}
