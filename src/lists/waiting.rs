//! Buffers for those who wait.
//!
//! Owns: the order in which a waiter stands in line, shuts the lists and looks
//! through them, and the serving of the line by others. Uses: the lists, `wait`.
//! Used by: `catalog`, which knows what could serve a request; `pool`, which
//! sleeps in between.
//!
//! While somebody waits for a class its lists are shut: every free is diverted
//! and hands its buffer to the first in line. Requests that do not wait look
//! through the lists as ever, but what they find while others wait they hand to
//! the line, too, so that nobody overtakes.
//!
//! Whoever takes the last waiter of a class off the line, or meets a shut list
//! of a class that nobody waits for, opens the lists.

use super::FreeLists;
use super::ledger::Carry;
use super::search::{Others, Seeker};
use crate::cache::CpuCaches;
use crate::class::{ClassId, Ladder};
use crate::sync::{Ordering, Patience, fault, fence};
use crate::wait::{Line, Request, Seat, Turn, Wakes};
use crate::word::Index;

/// A wait for a buffer. Whoever has it must end it.
#[must_use = "a wait that nobody ends keeps its place in the line"]
pub struct Wait {
    seat: Seat,
    /// The classes that were shut for it and looked through, a bit each.
    looked: u128,
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

    /// Begins a wait: takes a place in the line. `None` if too many wait already.
    /// The caller holds a handle until it has ended the wait, and `look`s next.
    pub fn begin_wait(&self, request: Request, task: bool) -> Option<Wait> {
        Some(Wait {
            seat: self.line.stand(request, task)?,
            looked: 0,
            sure: true,
        })
    }

    /// Waits for buffers of up to `reach` bytes, too, from now on. The caller
    /// `look`s next.
    pub fn reach(&self, wait: &mut Wait, reach: usize) {
        self.line.reach(&mut wait.seat, reach);
    }

    /// Looks through the classes on `ladder`, those that could serve who waits,
    /// unless it has done so and nothing can have escaped it since; if `again`, all
    /// the same. Whatever is there goes to the first in line.
    pub fn look(&self, wait: &mut Wait, ladder: &Ladder, again: bool) {
        let classes = ladder.classes();
        if wait.looked != ladder.set() || !wait.sure {
            wait.sure = self.shut(classes);
            wait.looked = ladder.set();
        } else if !again || classes.iter().all(|&class| self.free(class) == 0) {
            // Those who look again do not announce it for nothing: that would be in
            // the way of everybody's proof.
            return;
        }
        while self.line.turn(&wait.seat) == Turn::Waiting {
            // What is found may be meant for somebody else.
            let mut seeker = Seeker::announced(self, classes);
            match self.search(classes, &mut seeker, &mut Patience::none()) {
                Ok((class, index)) => self.put_back(class, index, seeker.wakes()),
                Err(Others::Waiting) => {}
                Err(Others::Idle | Others::Carrying) => return,
            }
        }
    }

    /// Ends a wait; gives the buffer that came meanwhile, if one did.
    pub fn end_wait(&self, wait: Wait) -> Option<(ClassId, Index)> {
        let request = wait.seat.request();
        let given = self.line.leave(wait.seat);
        // SeqCst: see `put_in_use`.
        fault!(NoSlotFence, (), fence(Ordering::SeqCst));
        // Growth may have shut classes for it that it never looked at.
        for class in self.classes().ids() {
            let line = self.classes().line(class);
            if request.accepts(line.size(), line.alignment()) {
                self.unshut(class);
            }
        }
        given
    }

    /// Diverts every free of `classes`. False if some may not be.
    pub fn shut(&self, classes: &[ClassId]) -> bool {
        let stopped = self.caches.shut(&self.tables, classes).is_some();
        for &class in classes {
            self.shut_shared(class);
        }
        stopped
    }

    /// Shuts the lists that all processors share, and gives how many buffers were
    /// in them.
    pub(super) fn shut_shared(&self, class: ClassId) -> u64 {
        let (records, batches) = (&self.tables.records, &self.tables.batches);
        self.loose(class).shut(records)
            + self.depot(class).shut(batches)
            + self.aside(class).shut(batches)
    }

    /// Whether anybody waits whom `class` could serve.
    pub(super) fn is_wanted(&self, class: ClassId) -> bool {
        self.line.is_wanted(self.classes().line(class))
    }

    /// Opens the lists of `class` unless somebody waits.
    pub fn unshut(&self, class: ClassId) {
        // Each list asks again; this spares those who wait being counted so often.
        if fault!(UnshutAnyway, false, self.is_wanted(class)) {
            return;
        }
        let idle = || fault!(UnshutAnyway, true, !self.is_wanted(class));
        self.caches.unshut(&self.tables, class, &idle);
        self.loose(class).unshut(idle);
        self.depot(class).unshut(idle);
        self.aside(class).unshut(idle);
    }

    /// False: nobody waits, and `index` is still the caller's.
    fn hand_over(&self, class: ClassId, index: Index, wakes: &mut Wakes<'_>) -> bool {
        let line = self.classes().line(class);
        self.line.hand_over(line, index, wakes)
    }

    /// Hands a buffer of `class` that the caller holds to the first in line, or
    /// puts it where requests find it. The caller holds a handle, and has
    /// announced the buffer if nobody asked it for one.
    pub(super) fn put_back(&self, class: ClassId, index: Index, wakes: &mut Wakes<'_>) {
        if !self.hand_over(class, index, wakes) {
            self.loose(class).force(&self.tables.records, index);
            self.serve(class, wakes);
        }
    }

    /// Whether a buffer of `class` that the caller found went to somebody who
    /// waits.
    pub(super) fn goes_to_the_line(
        &self,
        class: ClassId,
        index: Index,
        wakes: &mut Wakes<'_>,
    ) -> bool {
        fault!(NoPrecedence, false, self.hand_over(class, index, wakes))
    }

    /// Hands over what the caller put into shut lists. The caller holds a
    /// handle.
    pub(super) fn serve(&self, class: ClassId, wakes: &mut Wakes<'_>) {
        while fault!(NoServe, false, self.is_wanted(class)) {
            let _carry = Carry::begin(self.own_ledger(class));
            let Some(index) = self.take_shared(class) else {
                return;
            };
            if !self.hand_over(class, index, wakes) {
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
