//! Several buffers of a stream at once, for those who wait.
//!
//! Owns: the collecting within a stream. Uses: `streams`, `collect`, which collects the
//! pool's, `wait`. Used by: `waiting`, when such a one looks or leaves; the other files of
//! `streams`, which leave to who collects what is his.
//!
//! ```text
//!              his turn               claims for the rest                all has come
//!   in line ──────────────▶ collects ──────────────────────▶ in the pool ────────────▶ leaves
//!                           takes each of the                 line, for the rest;
//!                           stream's own that comes           fewer with each own one
//!                           into his hand                     that comes
//! ```
//!
//! Somebody who waits for several buffers of a stream is not called. When it is his turn
//! (`wait`), the stream's word names him: he *collects*, and the word is a bar to the others
//! of the stream. What it has of its own is his then; and the claims are, until he has as
//! many as he needs besides. He takes these at once, and waits for so many of the pool's as
//! anybody does who waits for several. Whenever another one of its own comes, he waits for
//! one of the pool's less, and gives up the claim. One at a time collects in a stream.
//!
//! His turn may come by a claim, which who has one already does not want; so those who wait
//! for one, and came before him, go before him for what comes of the stream's own. They are
//! finitely many.
//!
//! Nobody waits in a circle: who collects in a stream may wait for the pool, and no one who
//! collects the pool's waits for a stream.
//!
//! # The bar
//!
//! A request of the stream reads the word before it takes one of the stream's own, or a
//! claim. One that read it before somebody began to collect may still take something after
//! that: one thing each. Where it finds that somebody collects, it is refused, or waits; what
//! is barred counts as taken. The word outlives the collection by a moment, as that of
//! `collect` does: it bars nobody unless that one still stands there.
//!
//! In strict order the claims are barred, too, while somebody is the first who lacks one, and
//! cannot collect yet, because somebody else does.
//!
//! # Nobody sleeps beside what is his
//!
//! Who collects shuts both words of the quota, takes what is there, says how many he lacks,
//! asks for the claims, and sleeps. Who gives one of the stream's own, or a claim, and
//! finds the words shut, attends: he changes the words, then reads who collects, and how
//! many he lacks, and wakes him if there is something for him. If that change came before
//! the collector's, the collector found what was given; if after, the other one acquires what
//! the collector said of himself. Whoever had one of the stream's own in his hand meanwhile,
//! for one who came before the collector, looks again: the collection may have ended.
//!
//! Others of the stream who wait, and were barred, are attended to when the bar is lifted: as
//! to claims, once the collector has his and says so; altogether, when the collection ends.
//! That is said first, and then the words of the quota are changed. A waiter stands, shuts
//! these, and then reads the bar. If that is after the change he finds it lifted; if before,
//! whoever attends finds him.
//!
//! # Fewer of the pool's
//!
//! Who collects has the count that he publishes lowered, and then changes the chain on which
//! the pool's are kept for him. A giver reads the chain, and then the count, and puts its
//! buffer onto that very chain. If it read the chain before that change, its compare-and-swap
//! fails; if after, it reads the new count. So either a giver finds that his is the last one,
//! or the collector finds by the chain that there are enough. A claim is given up only while
//! the chain is open: whoever closed it may have counted with the old one, and brings as many.
//!
//! # In a child of a fork
//!
//! What a collector has of the stream's own he keeps on a second chain of his place, which
//! nobody else touches. Whoever finds in a child that the word names somebody of the parent
//! puts back what is on it, and clears the word, as `collect` does with the pool's; before it
//! looks what there is. A task that the child polls stands anew, with nothing. What somebody
//! had been given when his process forked is in his hands: it is that of a task which the
//! child polls, even if the stream has as many as it may have by then, and a thread's is gone.

use super::super::FreeLists;
use super::super::linked::Several;
use super::super::search::Announced;
use super::super::waiting::{Owed, Wait};
use crate::cache::CpuCaches;
use crate::sync::fault;
use crate::wait::{Lacking, Lessened, Request, Turn, Wake};
use crate::word::Collector;

/// Who collects in a stream.
#[derive(Clone, Copy)]
pub(super) struct Bar {
    pub(super) who: Collector,
    /// Those with a smaller one came before him.
    pub(super) ticket: u64,
    task: bool,
    request: Request,
}

impl Bar {
    /// Whether the claims are his, too.
    pub(super) fn bars_claims(&self) -> bool {
        self.request.reach == 0
    }

    /// Whether he could use what is there.
    fn may_use(&self, free: u32, claims: u32) -> bool {
        free > 0 || self.bars_claims() && claims as usize >= self.request.missing()
    }
}

impl<C: CpuCaches> FreeLists<C> {
    /// Who collects in the stream of quota `number`.
    #[inline]
    pub(super) fn bar(&self, number: u32) -> Option<Bar> {
        let who = self.quotas.get(number).collects().get()?;
        self.bar_of(number, who)
    }

    #[cold]
    fn bar_of(&self, number: u32, mut who: Collector) -> Option<Bar> {
        let word = self.quotas.get(number).collects();
        loop {
            if let Some((request, ticket, task)) = self.line.collects_of(who) {
                let bar = Bar {
                    who,
                    ticket,
                    task,
                    request,
                };
                return fault!(NoBar, None, Some(bar));
            }
            if self.line.is_inherited(who) {
                self.disinherit_of(number, who);
            }
            word.end(who);
            who = word.get()?;
        }
    }

    /// Puts back what a thread or task of the parent of this process has of the stream's own.
    /// The caller looks afterwards what there is.
    fn disinherit_of(&self, number: u32, who: Collector) {
        let top = self.line.close_inherited_own(who);
        self.linked(top)
            .for_each(|(_, index)| self.put_own(number, index));
    }

    /// Whether a request of the stream of quota `number` may not have a claim: they are for
    /// who collects; or, in strict order, for one who is to collect.
    pub(super) fn are_claims_barred(&self, number: u32) -> bool {
        let those = self.quotas.get(number).those(number);
        self.bar(number).is_some_and(|bar| bar.bars_claims())
            || self.line.is_strict()
                && (self.line).is_wanted_of(those, Lacking::Claim)
                && !(self.line).is_wanted_now_of(those, Lacking::Claim)
    }

    /// What others of the stream may have of `free` and `claims`. Gives who is to be woken
    /// because some of it is his. `Err`: those who came before who collects had some of it;
    /// the caller looks again.
    pub(super) fn barred(
        &self,
        number: u32,
        free: &mut u32,
        claims: &mut u32,
    ) -> Result<Option<Wake<'_>>, ()> {
        let Some(bar) = self.bar(number) else {
            return Ok(None);
        };
        if *free > 0 && self.serve_elders(number, bar.ticket) {
            return Err(());
        }
        let service = self.quotas.get(number).service();
        let wakes = bar.may_use(*free, *claims);
        *free = 0;
        if bar.bars_claims() {
            *claims = 0;
        }
        Ok(wakes.then(|| self.line.ring(bar.who, bar.task, service)))
    }

    /// Hands what there is of the stream's own to those who came before `ticket`, that of who
    /// collects. True: something was in the caller's hand, and others who looked meanwhile
    /// have not seen it.
    fn serve_elders(&self, number: u32, ticket: u64) -> bool {
        let quota = self.quotas.get(number);
        let mut had = false;
        while self.line.has_elder(quota.those(number), ticket)
            && let Ok(index) = quota.own().pop(&self.tables.records)
        {
            had = true;
            match self.hand_own(number, index) {
                Some(wake) => drop(wake),
                None => {
                    self.put_own(number, index);
                    break;
                }
            }
        }
        had
    }

    /// As `look_of`, for somebody who waits for several.
    pub(in crate::lists) fn look_for_several_of(&self, wait: &mut Wait) {
        let number = wait.seat.request().stream;
        let quota = self.quotas.get(number);
        let mut owed = Owed::default();
        self.see_to_the_inheritance(&mut owed);
        if self.line.has_inherited(&wait.seat) {
            self.disinherit(self.line.collector_at(&wait.seat), &mut owed);
            self.forget_parents(wait);
        }
        self.settle(owed);
        if self.line.turn(&wait.seat) != Turn::Waiting {
            return;
        }
        quota.shut(&self.tables.records);
        wait.sure = true;
        let own = self.line.collector_at(&wait.seat);
        if quota.collects().get() != Some(own) {
            // It may be his turn.
            self.attend_to_stream(number);
        }
        if quota.collects().get() == Some(own) && self.lacks_the_pools(wait) {
            self.wait_for_several(wait, &[quota.class()]);
        }
    }

    /// Takes what there is of the stream's own for `wait`, which collects. True: the rest is
    /// to come from the pool, and it has the claims.
    fn lacks_the_pools(&self, wait: &mut Wait) -> bool {
        let request = wait.seat.request();
        let quota = self.quotas.get(request.stream);
        self.serve_elders(request.stream, wait.seat.ticket());
        while wait.kept < request.count
            && let Ok(index) = quota.own().pop(&self.tables.records)
        {
            (self.line).keep_own(&wait.seat, &self.tables.records, index);
            wait.kept += 1;
        }
        if wait.is_over() {
            return false;
        }
        let own = wait.kept;
        if wait.claims > 0 {
            if own > request.own {
                self.lessen(wait);
            }
            return !wait.is_over();
        }
        // Before it asks for the claims: see the module.
        fault!(ClaimFirst, (), self.line.note_own(&mut wait.seat, own));
        // There are no more buffers than indices.
        let missing = (request.count - own) as u32;
        let claimed = missing <= quota.limit() && quota.claim(missing);
        fault!(ClaimFirst, self.line.note_own(&mut wait.seat, own), ());
        if !claimed {
            return false;
        }
        wait.claims = missing;
        quota.note_waiting(missing as i32);
        (self.line).reach(&mut wait.seat, quota.class().index() + 1);
        // What it leaves of them is no longer barred.
        fault!(LeftUnseen, (), self.attend_to_stream(request.stream));
        true
    }

    /// `wait` has more of the stream's own than before: it waits for fewer of the pool's.
    fn lessen(&self, wait: &mut Wait) {
        let (records, class) = (&self.tables.records, self.classes().ids());
        let mut owed = Owed::default();
        let announced = Announced::begin(self, class);
        match self.line.lessen(&mut wait.seat, wait.kept, records) {
            Lessened::Coming => return,
            Lessened::Waits => {}
            Lessened::Came(top) => {
                let missing = wait.seat.request().missing();
                let mut kept = self.in_hand(Some(top));
                while kept.len() > missing
                    && let Some((class, index)) = kept.pop(records)
                {
                    self.put_loose(class, index, &mut owed);
                }
                wait.several = Some(kept);
            }
        }
        drop(announced);
        self.settle(owed);
        self.give_up_claims(wait, wait.seat.request().missing() as u32);
    }

    /// Gives up the claims of `wait` beyond `keep`.
    fn give_up_claims(&self, wait: &mut Wait, keep: u32) {
        let number = wait.seat.request().stream;
        let surplus = wait.claims.saturating_sub(keep);
        wait.claims -= surplus;
        if surplus > 0 {
            (self.quotas.get(number)).note_waiting(-(surplus as i32));
            self.unclaim(number, surplus);
        }
    }

    /// In a child of a fork: `wait` is that of a task of its parent, and stands anew. The
    /// claims that it had are its parent's, and `Quota` gives them up; the stream's own are
    /// put back.
    pub(super) fn forget_parents(&self, wait: &mut Wait) {
        self.disinherit_of(
            wait.seat.request().stream,
            self.line.collector_at(&wait.seat),
        );
        (wait.claims, wait.kept) = (0, 0);
        self.line.note_own(&mut wait.seat, 0);
        self.line.reach(&mut wait.seat, 0);
        self.line.stand_anew(&mut wait.seat);
    }

    /// As `end_wait_for_several`, for a wait of a stream.
    pub(in crate::lists) fn end_wait_for_several_of(&self, mut wait: Wait) -> Option<Several> {
        let request = wait.seat.request();
        let records = &self.tables.records;
        let (number, count) = (request.stream, request.count);
        let quota = self.quotas.get(number);
        let class = quota.class();
        let own = self.line.collector_at(&wait.seat);
        let inherited = self.line.has_inherited(&wait.seat);
        let mut owed = Owed::default();
        let kept = self.line.close_own(&wait.seat);
        let mut hand = self.in_hand(kept);
        self.close_collection(&wait, &mut owed);
        let left = self.line.leave(wait.seat);
        self.end_collection(own, &mut owed);
        quota.collects().end(own);
        let given = left.given.map(|(_, top)| top);
        // Whoever announces nothing by now holds no more than he keeps, or puts back here.
        let announced = Announced::begin(self, self.classes().ids());
        let mut extra = self.in_hand(given);
        let mut found = wait.several.take().unwrap_or_default();
        if given.is_none() {
            std::mem::swap(&mut extra, &mut found);
        }
        while let Some((_, index)) = found.pop(records) {
            // Once is enough.
            self.put_loose(class, index, &mut owed);
        }
        let enough = hand.len() + extra.len() >= count;
        let (keep_own, keep_extra) = match enough {
            true => (count.saturating_sub(extra.len()), extra.len().min(count)),
            false => (0, 0),
        };
        while hand.len() > keep_own
            && let Some((_, index)) = hand.pop(records)
        {
            self.put_own(number, index);
        }
        while extra.len() > keep_extra
            && let Some((_, index)) = extra.pop(records)
        {
            self.put_loose(class, index, &mut owed);
        }
        drop(announced);
        self.owe_all(request, &mut owed);
        self.settle(owed);
        let used = extra.len() as u32;
        if inherited {
            // As in `end_wait_of`.
            (0..used).for_each(|_| quota.claim_anyway());
        } else {
            quota.note_waiting(-(wait.claims as i32));
            let surplus = wait.claims.saturating_sub(used);
            if surplus > 0 {
                self.unclaim(number, surplus);
            }
        }
        fault!(UnbarUnseen, (), self.attend_to_stream(number));
        if request.reach > 0 {
            self.linger(class);
        }
        enough.then_some(Several {
            quota: number,
            own: hand,
            rest: extra,
        })
    }
}
