//! Several buffers at once for those who wait.
//!
//! Owns: the collecting, from its beginning to its end, and the proofs. Uses: the lists,
//! `wait`, which has the word that names who collects, and the chains. Used by: the other
//! files of `lists`, wherever a buffer comes to a shut list or somebody waits.
//!
//! # A collection
//!
//! ```text
//!   giver, or whoever attends           who collects              the next buffers
//!   ─────────────────────────           ────────────              ────────────────
//!   finds that it is the turn of        sleeps                    come to a shut list, whose
//!     one who waits for several                                     giver finds that somebody
//!   writes his name into the word                                   collects: puts them onto his
//!   attends to every class that he                                  chain
//!     accepts: moves what is in its                               the last one closes the chain,
//!     loose list onto his chain         has them all, and leaves    hands all over, clears the
//!                                                                   word, wakes him, and attends
//! ```
//!
//! Somebody who waits for several buffers has one place in the line. Turns go round as they
//! do without him. When it is his turn he *collects*: every buffer of a class that he accepts
//! which comes back to a shut list is kept for him, until he has as many as he asked for. The
//! turn moves on then. Others who would collect are passed over meanwhile. So two of them
//! never each sit on half of what both need. Those who wait for one buffer are called for
//! what he does not accept; their turns for what he does come behind his.
//!
//! His turn may go by because somebody else collects buffers of another class. If such
//! collections follow each other, there could be one under way at each of his turns. So the
//! oldest of those who missed theirs is remembered, in a word beside the one that names the
//! collector; and when a collection begins at the turn of somebody who came later, it is his.
//! The turn stays then whose it was.
//!
//! All is kept on one chain, of all classes, so its length says how many there are: whoever
//! brings the last takes all by the compare-and-swap that would have added his own. He is the
//! only one who wakes the collector, and does so once.
//!
//! What is kept counts as taken: it is held by who waits. If he gives up, he, or whoever
//! holds it then, puts it back, which he announces as long as he holds it (`Carry`).
//!
//! # No buffer goes past who collects, and none is stranded
//!
//! - A giver reads the word of a list that is shut, then the word of the collector, finds
//!   nobody, and puts its buffer onto that very list. Whoever begins a collection writes the
//!   collector's word first, then changes the word of every list that is collected from
//!   (`attend` touches it), and then looks what is there. If that change came before the giver
//!   read the list's word, the giver found the collector; if between, the giver's
//!   compare-and-swap fails; if after, the buffer is found, and moved onto the chain.
//! - Whoever puts something into a shut list for another reason attends to it afterwards, and
//!   finds the collector in the same way.
//! - A giver reads the chain, then who stands at the place, and puts its buffer onto that very
//!   chain. If he has left since, the chain has been closed, and the compare-and-swap fails.
//!
//! # Nobody who waits for several sleeps beside what he could have
//!
//! Before he sleeps he moves what is free, wherever it is, into the loose lists, which he has
//! shut, and attends to them. Whoever attends to a list in which buffers are free calls those
//! who wait, in turn, as long as fewer have been called than buffers are free (`waiting`); if
//! one of them waits for several, his collection begins by that. Unless somebody else
//! collects: then, whoever ends that collection clears the word, and attends to every class.
//! If he clears it before somebody who passes the waiter over reads it, then that one does not
//! pass him over. If after, he then changes the words of the lists; whoever put a buffer there
//! did so either before, and he finds it, or after, and then acquires that change, and finds
//! that nobody collects when he attends to it. And a collection may never end, if the collector
//! waits for what one of those holds whom it passes over. So whoever attends, and finds as many
//! free as such a one waits for, wakes him, and he takes them all, or none, as a request does
//! that does not wait.
//!
//! Whoever is woken so, and leaves with what he needs or without it, attends to all that he
//! accepted: there may be enough for the next one.
//!
//! In a line of strict order the same is done for whoever came first. Only one of those who
//! would collect, and is passed over because somebody else does who began before he could (with
//! another class; or while he waited for his stream), is overtaken by those behind him.
//!
//! # In a child of a fork
//!
//! The collector of the parent waits in the parent. The child finds by the stamp in his name
//! that he does not exist, puts back what is kept for him, and clears the word. A task that
//! waited for several in the parent, and is polled in the child, stands there anew.
//!
//! # What this does not do
//!
//! - A thread that brings the last buffer, and stops for ever between taking all and handing
//!   them over, takes them with it, as it does whatever it has in its hands; whoever waits for
//!   them waits until he gives up. Nobody else does.
//! - A request for several that does not wait (`take_many`) never collects, but keeps its own
//!   word for who is first. What is kept for a collector is neither free nor announced, which
//!   a proof that too few are free relies on, and a collection has to be ended by somebody
//!   even if its owner is gone; a request that is refused within milliseconds needs neither.

use super::FreeLists;
use super::ledger::Carry;
use super::linked::{Linked, Several};
use super::search::Announced;
use super::waiting::{Owed, Wait};
use crate::cache::CpuCaches;
use crate::class::{ClassId, Ladder};
use crate::loose::Popped;
use crate::sync::fault;
use crate::wait::{Hand, Kept, Request, Turn, Wake};
use crate::word::{Collector, Index};

impl<C: CpuCaches> FreeLists<C> {
    /// Serves whoever's turn it is with a buffer that the caller holds; unless it is `due`,
    /// only a task. Gives who is to be woken once the caller announces nothing, if anybody;
    /// or the buffer, if there is nobody. The caller holds a handle.
    pub(super) fn serve(
        &self,
        class: ClassId,
        index: Index,
        due: bool,
        owed: &mut Owed,
    ) -> Result<Option<Wake<'_>>, Index> {
        let line = self.classes().line(class);
        loop {
            // (Whoever finds that a collection is over ends it.)
            if self.collector_of(class, owed).is_some() && !self.line.is_strict() {
                match self.offer(class, index, owed) {
                    Err(_) => {}
                    kept => return kept,
                }
            }
            let hand = match due {
                true => self.line.hand_over(line, index),
                false => self.line.hand_to_task(line, index),
            };
            match hand {
                Some(Hand::Served(wake)) => return Ok(Some(wake)),
                Some(Hand::Collects(collector)) => {
                    self.begun(collector, owed);
                    match self.keep_for(collector, class, index, owed) {
                        Err(_) => {}
                        kept => return kept,
                    }
                }
                None => return Err(index),
            }
        }
    }

    /// Keeps a buffer that the caller holds for whoever collects such, and otherwise gives it
    /// back. As `serve`.
    fn offer(
        &self,
        class: ClassId,
        index: Index,
        owed: &mut Owed,
    ) -> Result<Option<Wake<'_>>, Index> {
        while let Some(collector) = self.collector_of(class, owed) {
            match self.keep_for(collector, class, index, owed) {
                Err(_) => {}
                kept => return kept,
            }
        }
        Err(index)
    }

    /// As `offer`, for `collector`.
    fn keep_for(
        &self,
        collector: Collector,
        class: ClassId,
        index: Index,
        owed: &mut Owed,
    ) -> Result<Option<Wake<'_>>, Index> {
        let (line, records) = (self.classes().line(class), &self.tables.records);
        let mut announced = None;
        let mut announce = || {
            announced.get_or_insert_with(|| Announced::begin(self, self.classes().ids()));
        };
        match (self.line).keep(collector, line, records, index, &mut announce) {
            Kept::Some => Ok(None),
            Kept::All(whole) => {
                let wake = self.line.hand_whole(&whole, line);
                if wake.is_none() {
                    self.put_back(whole.top, owed);
                }
                drop(announced);
                self.end_collection(collector, owed);
                Ok(wake)
            }
            Kept::Unfit => Err(index),
            Kept::Over => {
                self.end_collection(collector, owed);
                Err(index)
            }
        }
    }

    /// Who collects, if that is somebody of this process.
    fn collector(&self, owed: &mut Owed) -> Option<Collector> {
        let collector = self.line.collector()?;
        if !self.line.is_inherited(collector) {
            return Some(collector);
        }
        self.disinherit(collector, owed);
        self.line.collector()
    }

    /// Puts back what is kept for a thread or task of the parent of this process.
    #[cold]
    pub(super) fn disinherit(&self, collector: Collector, owed: &mut Owed) {
        let announced = Announced::begin(self, self.classes().ids());
        if let Some(top) = self.line.close_inherited_chain(collector) {
            self.put_back(top, owed);
        }
        drop(announced);
        self.end_collection(collector, owed);
    }

    /// Puts back what is kept for `wait`. From then on nobody brings the last one.
    pub(super) fn close_collection(&self, wait: &Wait, owed: &mut Owed) {
        let announced = Announced::begin(self, self.classes().ids());
        if let Some(top) = self.line.close_chain(wait.seat()) {
            self.put_back(top, owed);
        }
        drop(announced);
    }

    /// Whoever ended a wait for `request`, which is for several, had been woken, it may be,
    /// for what others wait for as well: see `wake_passed_over`.
    pub(super) fn owe_all(&self, request: Request, owed: &mut Owed) {
        for class in self.classes().ids() {
            if request.accepts(self.classes().line(class)) {
                fault!(LeavePassedOver, (), Self::owe(class, owed));
            }
        }
    }

    /// In a child of a fork: sees to it that nobody of its parent's collects.
    pub(super) fn see_to_the_inheritance(&self, owed: &mut Owed) {
        let _ = self.collector(owed);
    }

    /// Who collects buffers of `class`.
    fn collector_of(&self, class: ClassId, owed: &mut Owed) -> Option<Collector> {
        let line = self.classes().line(class);
        loop {
            let collector = self.collector(owed)?;
            match self.line.is_collected(collector, line) {
                Some(collects) => return collects.then_some(collector),
                None => self.end_collection(collector, owed),
            }
        }
    }

    /// Puts back `top`, and those that it is linked to, all of which the caller holds.
    fn put_back(&self, top: Index, owed: &mut Owed) {
        for (class, index) in self.linked(Some(top)) {
            self.put_loose(class, index, owed);
        }
    }

    /// `top`, and those that it is linked to, all of which the caller holds.
    pub(super) fn linked(&self, top: Option<Index>) -> impl Iterator<Item = (ClassId, Index)> {
        let mut next = top;
        std::iter::from_fn(move || {
            let index = next?;
            let record = self.tables.records.get(index.raw() as usize);
            // Before the caller puts it where its link is written anew.
            next = record.next();
            Some((
                ClassId::new(record.class().into()).unwrap_or(ClassId::FIRST),
                index,
            ))
        })
    }

    /// The same, in hand.
    pub(super) fn in_hand(&self, top: Option<Index>) -> Linked {
        let mut hand = Linked::default();
        for (class, index) in self.linked(top) {
            hand.push(&self.tables.records, class, index);
        }
        hand
    }

    /// `collector` collects from now on.
    fn begun(&self, collector: Collector, owed: &mut Owed) {
        for class in self.classes().ids() {
            let line = self.classes().line(class);
            if self.line.is_collected(collector, line).unwrap_or(true) {
                Self::owe(class, owed);
            }
        }
    }

    /// `collector` collects no more.
    pub(super) fn end_collection(&self, collector: Collector, owed: &mut Owed) {
        if self.line.end_to_collect(collector) {
            for class in self.classes().ids() {
                fault!(EndUnseen, (), Self::owe(class, owed));
            }
        }
    }

    /// Calls the next in turn for a buffer of `class`, or begins to collect for him. False:
    /// there is nobody.
    pub(super) fn call_next(&self, class: ClassId, owed: &mut Owed) -> bool {
        match self.line.call(self.classes().line(class)) {
            Some(Hand::Served(wake)) => drop(wake),
            Some(Hand::Collects(collector)) => self.begun(collector, owed),
            None => return false,
        }
        true
    }

    /// Moves a buffer of the loose list of `class` to whoever collects such. False: nobody
    /// does. The caller announces nothing.
    pub(super) fn collect_one(&self, class: ClassId, owed: &mut Owed) -> bool {
        let Some(collector) = self.collector_of(class, owed) else {
            return false;
        };
        self.move_one(class, |index| self.keep_for(collector, class, index, owed));
        true
    }

    /// Takes a buffer out of the loose list of `class`, and has it served; puts it back if
    /// that fails, and gives false then. The caller announces nothing.
    pub(super) fn move_one<'a>(
        &'a self,
        class: ClassId,
        serve: impl FnOnce(Index) -> Result<Option<Wake<'a>>, Index>,
    ) -> bool {
        let (loose, records) = (self.loose(class), &self.tables.records);
        let (cpu, lists) = (self.here(), self.loose_lists);
        let carry = Carry::begin(self.ledger(cpu, class));
        let index = match loose.pop(records, cpu, lists, &mut || {}) {
            Popped::Own(index, _) | Popped::Moved(index, _) => index,
            Popped::Empty(_) => return true,
        };
        let left = loose.left_below(records, index);
        match serve(index) {
            Ok(wake) => {
                self.note_left(class, left);
                drop(carry);
                drop(wake);
                true
            }
            Err(index) => {
                loose.own(cpu, lists).force(records, index);
                false
            }
        }
    }

    /// As `look`, for somebody who waits for several.
    pub(super) fn look_for_several(&self, wait: &mut Wait, ladder: &Ladder) {
        if self.line.turn(wait.seat()) != Turn::Waiting {
            return;
        }
        let mut owed = Owed::default();
        self.see_to_the_inheritance(&mut owed);
        if self.line.has_inherited(wait.seat()) {
            self.disinherit(self.line.collector_at(wait.seat()), &mut owed);
            self.line.stand_anew(wait.seat_mut());
        }
        self.settle(owed);
        self.wait_for_several(wait, ladder.classes());
    }

    /// Shows that `wait` waits for several of `classes`, and moves what is free of them to
    /// where it is collected.
    pub(super) fn wait_for_several(&self, wait: &mut Wait, classes: &[ClassId]) {
        let mut owed = Owed::default();
        let mut sure = true;
        for &class in classes {
            sure &= self.share(class, &mut owed);
            (self.loose(class)).shut(&self.tables.records, self.loose_lists);
            self.bring_together(class, &mut owed);
            Self::owe(class, &mut owed);
        }
        wait.set_sure(sure);
        self.settle(owed);
        let others = (self.line.collector())
            .is_some_and(|other| other != self.line.collector_at(wait.seat()));
        if others && self.line.turn(wait.seat()) == Turn::Waiting {
            // Whoever it is may wait for what the caller holds: all that is free is taken, if
            // it is enough.
            let missing = wait.seat().request().missing();
            wait.several = self.try_take_many(classes, missing);
        }
    }

    /// Wakes one of those who wait for several and were passed over, because somebody else
    /// collects, if so many of `class` are `free` as he waits for: he takes them himself.
    pub(super) fn wake_passed_over(&self, class: ClassId, free: u32) {
        drop(self.line.passed_over(self.classes().line(class), free));
    }

    /// Takes `many` buffers of the classes on `ladder`, or none, for a caller that will wait.
    /// `None` proves nothing. In a line of strict order what is found goes to the first in it.
    pub fn try_take_many(&self, ladder: &[ClassId], many: usize) -> Option<Linked> {
        let mut owed = Owed::default();
        let mut held = Linked::default();
        let mut woken = None;
        let announced = Announced::begin(self, ladder.iter().copied());
        while held.len() < many
            && let Some((class, index)) = self.find(ladder, &mut owed)
        {
            match self.for_the_line(class, index, &mut owed) {
                Ok(wake) => {
                    woken = wake;
                    break;
                }
                Err(index) => held.push(&self.tables.records, class, index),
            }
        }
        let taken = match held.len() == many {
            true => Some(held),
            false => {
                self.put_down_all(ladder, held, &mut owed);
                None
            }
        };
        drop(announced);
        // Somebody else's code comes last.
        drop(woken);
        self.settle(owed);
        taken.inspect(|held| self.note_climbs(ladder, held))
    }

    /// Moves what is free of `class`, which is shared, into its loose list.
    fn bring_together(&self, class: ClassId, owed: &mut Owed) {
        let batches = &self.tables.batches;
        let _carry = Carry::begin(self.own_ledger(class));
        for pile in [self.depot(class), self.aside(class)] {
            while let Ok((batch, _)) = pile.pop_batch(batches) {
                self.unpack(class, batch, owed);
            }
        }
        self.drain(class, owed);
    }

    /// Ends a wait for several, and gives them if they have come. What was kept, and are too
    /// few, goes back.
    pub fn end_wait_for_several(&self, wait: Wait) -> Option<Several> {
        let records = &self.tables.records;
        let request = wait.seat().request();
        if !request.is_for_several() {
            let (line, index) = self.end_wait(wait)?;
            let quota = request.stream;
            let mut several = Several {
                quota,
                ..Several::default()
            };
            let hand = match line.stream() {
                Some(of) if of.own => &mut several.own,
                _ => &mut several.rest,
            };
            hand.push(records, line.id(), index);
            return Some(several);
        }
        if request.stream != 0 {
            return self.end_wait_for_several_of(wait);
        }
        let mut wait = wait;
        let mut found = wait.several.take();
        let collector = self.line.collector_at(wait.seat());
        let mut owed = Owed::default();
        self.close_collection(&wait, &mut owed);
        let given = self.end_wait(wait);
        self.end_collection(collector, &mut owed);
        if given.is_some()
            && let Some(found) = &mut found
        {
            // Once is enough.
            let _announced = Announced::begin(self, self.classes().ids());
            while let Some((class, index)) = found.pop(records) {
                self.put_loose(class, index, &mut owed);
            }
        }
        self.owe_all(request, &mut owed);
        self.settle(owed);
        let all = match given {
            Some((_, top)) => self.in_hand(Some(top)),
            None => found?,
        };
        Some(all.into())
    }
}
