//! Buffers for those who wait.
//!
//! Owns: the order in which a waiter stands in line and looks through the lists, and
//! the serving of the line by those who give. Uses: the lists, `wait`. Used by:
//! `catalog`, which knows what could serve a request; `pool`, which sleeps in between.
//!
//! # Who wakes whom
//!
//! ```text
//!   waiter                                    giver
//!   ──────                                    ─────
//!   stands in line                            the loose list is not shut:
//!   shares the classes that could serve it      puts the buffer there, and is done
//!   looks through their lists a while         it is shut, and enough have been called:
//!   shuts their loose lists                     puts the buffer there, and is done
//!   looks through all their lists             it is shut:
//!   sleeps                                      visits the pool, puts the buffer there,
//!   is called: looks; finds one and leaves,     and calls one more; or, every so often,
//!     or is no longer called, and starts over   hands it to the one whose turn it is,
//!                                               as it does whenever that is a task
//! ```
//!
//! While somebody waits, his classes are shared (`regime`), and their loose lists are
//! *shut*: the bit says that a giver must look at the line. Buffers lie in the list all
//! the same, and whoever comes may take them. A giver calls one waiter for each buffer
//! that is free, and no more than that; nor more threads at once than there are
//! processors, for more could not run. It needs a handle for that (a *visit*), since
//! the pool may end once its buffer is home. If enough have been called, the giver
//! needs none: the compare-and-swap that puts its buffer there is its last touch.
//!
//! # Nobody sleeps beside a free buffer
//!
//! If a buffer is in a loose list, and somebody waits for it who has not been called,
//! then somebody has been called who has not looked yet, or a thread is about to
//! *attend*: to look at list and line, and to call whom it should. For each way to get
//! there:
//!
//! - A waiter stands, shuts the list, and then looks. A giver whose buffer comes after
//!   the shutting finds the bit; one whose buffer came before is found by the look.
//! - A giver reads the list's word, then how many have been called, finds that enough,
//!   and then puts its buffer onto that very word. Whoever has been called and now
//!   looks, or leaves, is first counted as called no longer, and then changes the
//!   list's word (shuts it, or touches it), and then looks, or attends. If that change
//!   came before the giver read the word, the giver counted without him; if between,
//!   the giver's compare-and-swap fails; if after, he finds the giver's buffer. Several
//!   may have given so while he counted: if he leaves with a buffer, he attends.
//! - A giver that calls somebody puts its buffer into the list first, and then attends.
//!   So does everybody else who puts something into a shut list.
//! - Whoever attends touches the list, compares what is free with who is called, and
//!   calls, until that fits. If nobody is left to be called it opens the list, unless
//!   its word has changed since it looked at the line.
//!
//! # Nobody is passed over for ever
//!
//! Buffers may go to those who come later. But every `TURN` (half a millisecond; less in a
//! crowd of more than 64, so that a turn of each takes 32 ms, down to an eighth of one), the
//! next buffer that comes back to a shut list is handed to whoever's turn it is: one of
//! the next four, if enough have been called. Turns go round (`wait`). So a waiter
//! with n others in the line is handed a buffer by the (n + 1)th of these at the latest.
//!
//! A task whose turn is next is handed every buffer that comes back. To call it would
//! cost as much, for either way its waker is run; and while a thread that was called may
//! have to wait for a processor, with the buffer in its hands, a task that was handed one
//! waits where it waited before, in its executor.
//!
//! Somebody who waits for several is not called: his collection begins (`collect`). While he
//! collects, whoever attends moves what is free onto his chain, and calls nobody for it.
//!
//! In a line of strict order every buffer that comes back is handed to who came first,
//! and a request that finds one while somebody waits hands it on.

use super::FreeLists;
use super::linked::Linked;
use super::streams::{Ended, Found};
use crate::cache::CpuCaches;
use crate::class::{ClassId, Ladder};
use crate::sync::fault;
use crate::wait::{By, Line, Request, Seat, Turn, Wake};
use crate::word::Index;

/// A wait for a buffer. Whoever has it must end it.
#[must_use = "a wait that nobody ends keeps its place in the line"]
pub struct Wait {
    pub(super) seat: Seat,
    /// What it found.
    pub(super) found: Option<(ClassId, Index)>,
    /// False if some free may still be on its way into a list unseen.
    pub(super) sure: bool,
    /// Of a wait for a stream: claims that it has, and whether what it found is one of the
    /// stream's own.
    pub(super) claims: u32,
    pub(super) own: bool,
    /// Of a wait for several: what it found.
    pub(super) several: Option<Linked>,
    /// Of a wait for several of a stream: how many of the stream's own it has.
    pub(super) kept: usize,
}

impl Wait {
    /// The place in the line.
    pub fn seat(&self) -> &Seat {
        &self.seat
    }

    /// Whether it need not go on: what it waits for was found.
    pub fn is_over(&self) -> bool {
        self.found.is_some() || self.several.is_some() || self.kept >= self.seat.request().count
    }

    /// Whether whoever puts a buffer into a list will see that this waits. False: the
    /// kernel refused to say that all pushes have ended that began before the class
    /// was shared, so that the waiter must look again from time to time.
    pub fn is_sure(&self) -> bool {
        self.sure
    }

    pub(super) fn set_sure(&mut self, sure: bool) {
        self.sure = sure;
    }

    pub(super) fn seat_mut(&mut self) -> &mut Seat {
        &mut self.seat
    }
}

/// The classes that a thread has put buffers of into shut lists, a bit each: it must
/// attend to them once it announces nothing more.
#[derive(Clone, Copy, Default)]
pub struct Owed(u128);

impl Owed {
    fn add(&mut self, class: ClassId) {
        self.0 |= 1 << class.index();
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
            found: None,
            sure: true,
            claims: 0,
            own: false,
            several: None,
            kept: 0,
        })
    }

    /// Waits for buffers of up to `reach` bytes, too, from now on. The caller
    /// `look`s next.
    pub fn reach(&self, wait: &mut Wait, reach: usize) {
        self.line.reach(&mut wait.seat, reach);
    }

    /// Looks through the classes on `ladder`, those that could serve who waits, and
    /// sees to it that the waiter is called for what comes later.
    pub fn look(&self, wait: &mut Wait, ladder: &Ladder) {
        let request = wait.seat.request();
        match (request.stream != 0, request.is_for_several()) {
            (false, false) => {}
            (false, true) => return self.look_for_several(wait, ladder),
            (true, false) => return self.look_of(wait),
            (true, true) => return self.look_for_several_of(wait),
        }
        let classes = ladder.classes();
        let mut owed = Owed::default();
        self.see_to_the_inheritance(&mut owed);
        if self.line.has_inherited(&wait.seat) {
            self.line.stand_anew(&mut wait.seat);
        }
        match self.line.turn(&wait.seat) {
            Turn::Given(..) | Turn::Aborted => return,
            Turn::Called(class) => {
                wait.found = self.find(classes, &mut owed);
                if wait.found.is_none() {
                    self.line.service(class).note_in_vain();
                }
            }
            Turn::Waiting | Turn::CalledByStream => {}
        }
        if wait.found.is_none() {
            let called = self.line.uncall(&wait.seat);
            wait.sure = true;
            self.look_through(wait, classes, &mut owed);
            self.owe_call(wait, called, &mut owed);
        }
        self.settle(owed);
    }

    /// Who was `called` by a class, and is no longer, has looked, and leaves with a buffer:
    /// there may be more that came while he counted.
    pub(super) fn owe_call(&self, wait: &Wait, called: Option<By>, owed: &mut Owed) {
        let leaves = wait.found.is_some() || self.line.turn(&wait.seat) != Turn::Waiting;
        if let Some(By::Class(class)) = called
            && fault!(ForgetCall, false, leaves)
        {
            owed.add(class);
        }
    }

    /// Shows that `wait` waits for buffers of `classes`, and looks through their lists.
    pub(super) fn look_through(&self, wait: &mut Wait, classes: &[ClassId], owed: &mut Owed) {
        let (records, lists) = (&self.tables.records, self.loose_lists);
        for &class in classes {
            wait.sure &= self.share(class, owed);
            fault!(NoArm, 0, self.loose(class).shut(records, lists));
        }
        wait.found = self.find_in_turn(classes, &wait.seat, owed);
    }

    /// Looks through `classes` for somebody who waits at `seat`. In a line of strict
    /// order what is found goes to the first in it, until that is the caller.
    fn find_in_turn(
        &self,
        classes: &[ClassId],
        seat: &Seat,
        owed: &mut Owed,
    ) -> Option<(ClassId, Index)> {
        while self.line.turn(seat) == Turn::Waiting {
            let (class, index) = self.find(classes, owed)?;
            if !self.line.is_strict() {
                return Some((class, index));
            }
            self.pass_on(class, index, owed);
        }
        None
    }

    /// In a line of strict order: hands a buffer that the caller found to the first who
    /// waits, or puts it back.
    fn pass_on(&self, class: ClassId, index: Index, owed: &mut Owed) {
        match self.serve(class, index, true, owed) {
            Ok(wake) => drop(wake),
            Err(index) => self.put_loose(class, index, owed),
        }
    }

    /// Ends a wait; gives the buffer that came meanwhile, if one did, and the line that it
    /// knows.
    pub fn end_wait(&self, wait: Wait) -> Option<Found<'_>> {
        let request = wait.seat.request();
        let ended = Ended {
            request,
            task: wait.seat.is_task(),
            claims: wait.claims,
            inherited: self.line.has_inherited(&wait.seat),
            found: wait.found.map(|(_, index)| (wait.own, index)),
        };
        let left = self.line.leave(wait.seat);
        if request.stream != 0 {
            return self.end_wait_of(ended, left);
        }
        let mut owed = Owed::default();
        if let (Some(_), Some((class, index))) = (left.given, wait.found) {
            // One is enough.
            self.put_loose(class, index, &mut owed);
        }
        if let Some(By::Class(class)) = left.called {
            fault!(LeaveCalled, (), owed.add(class));
        }
        self.settle(owed);
        for class in self.classes().ids() {
            let line = self.classes().line(class);
            if request.accepts(line) {
                self.linger(class);
            }
        }
        let (class, index) = left.given.or(wait.found)?;
        Some((self.classes().line(class), index))
    }

    /// Attends to every class that is owed that. The caller announces nothing, and holds
    /// a handle.
    pub(super) fn settle(&self, mut owed: Owed) {
        while owed.0 != 0 {
            let class = ClassId::new(owed.0.trailing_zeros() as usize);
            // What comes to be owed meanwhile is added.
            owed.0 &= owed.0 - 1;
            if let Some(class) = class {
                fault!(NoServe, (), self.attend(class, &mut owed));
            }
        }
    }

    /// Calls those who wait for `class`, as many as there are buffers in its loose list,
    /// or moves them to whoever collects, or opens the list if nobody waits. The caller
    /// announces nothing, and holds a handle.
    fn attend(&self, class: ClassId, owed: &mut Owed) {
        let (loose, records) = (self.loose(class), &self.tables.records);
        let line = self.classes().line(class);
        loop {
            let seen = loose.touch(records, self.loose_lists);
            if !seen.shut || seen.free == 0 {
                return;
            }
            if self.line.is_strict() {
                // To the next in turn.
                if self.move_one(class, |index| self.serve(class, index, true, owed)) {
                    continue;
                }
                loose.unshut(self.loose_lists, || !self.line.is_wanted(line));
                // The buffer was in our hand: who came meanwhile has looked in vain.
                if fault!(HandOnce, true, !self.line.is_wanted_now(line)) {
                    self.wake_passed_over(class, seen.free);
                    return;
                }
                continue;
            }
            if self.collect_one(class, owed) {
                continue;
            }
            let called = self.line.service(class).called();
            if called.all() >= seen.free || called.threads() >= self.callers() {
                return;
            }
            if !self.call_next(class, owed) {
                self.wake_passed_over(class, seen.free);
                break;
            }
        }
        // SeqCst is not needed: see the module for the two cases.
        loose.unshut(self.loose_lists, || {
            fault!(UnshutAnyway, true, !self.line.is_wanted(line))
        });
    }

    /// Puts a buffer that the caller holds where requests find it, and says so in `owed`
    /// if somebody may wait for it. The caller holds a handle.
    pub(super) fn put_loose(&self, class: ClassId, index: Index, owed: &mut Owed) {
        if self.own_loose(class).force(&self.tables.records, index) {
            owed.add(class);
        }
    }

    /// Attends to `class`, whatever is in its lists.
    pub(super) fn owe(class: ClassId, owed: &mut Owed) {
        owed.add(class);
    }

    /// In a line of strict order: whether a buffer of `class` that the caller found went
    /// to somebody who waits. The caller announces nothing.
    pub(super) fn goes_to_the_line(&self, class: ClassId, index: Index) -> bool {
        let mut owed = Owed::default();
        let went = self.for_the_line(class, index, &mut owed).is_ok();
        self.settle(owed);
        went
    }

    /// As above; gives who is to be woken, or the buffer.
    pub(super) fn for_the_line(
        &self,
        class: ClassId,
        index: Index,
        owed: &mut Owed,
    ) -> Result<Option<Wake<'_>>, Index> {
        if !self.line.is_strict() {
            return Err(index);
        }
        fault!(
            NoPrecedence,
            Err(index),
            self.serve(class, index, true, owed)
        )
    }
}
