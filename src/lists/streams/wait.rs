//! Waiting for a buffer of a stream.
//!
//! Owns: the order in which somebody who waits for a stream looks. Uses: `streams`,
//! `waiting`, `watch`. Used by: `catalog`; `pool`, which sleeps in between. The protocol,
//! and its proof, are in `streams`.

use super::super::FreeLists;
use super::super::waiting::{Owed, Wait};
use super::Found;
use crate::cache::CpuCaches;
use crate::class::ClassId;
use crate::sync::fault;
use crate::wait::{By, Left, Request, Turn};
use crate::word::Index;

impl<C: CpuCaches> FreeLists<C> {
    /// Begins a wait for `count` buffers of `size` bytes at `alignment` of quota `number`.
    /// `None` if too many wait already. The caller holds a handle of the stream until it has
    /// ended the wait, and `look`s next.
    pub fn begin_wait_of(
        &self,
        number: u32,
        (size, alignment, count): (usize, usize, usize),
        task: bool,
    ) -> Option<Wait> {
        let request = Request {
            size,
            alignment,
            stream: number,
            count,
            ..Request::default()
        };
        self.begin_wait(request, task)
    }

    /// As `watch`, for quota `number`.
    pub fn watch_of(&self, number: u32) -> Option<Found<'_>> {
        let quota = self.quotas.get(number);
        let class = [quota.class()];
        if self.line.is_strict() {
            return None;
        }
        if self.may_claim(quota) {
            self.prepare_to_wait(&class);
        }
        let (cpu, lists) = (self.caches.current(), self.loose_lists);
        let crowded = self.line.is_crowded(self.callers() + 1);
        quota.eagerness().watch(crowded, || {
            if self.bar(number).is_some() {
                return None;
            }
            if let Ok(index) = quota.own().pop(&self.tables.records) {
                return Some((quota.line(true), index));
            }
            if self.loose(class[0]).is_empty(cpu, lists)
                || !self.may_claim(quota)
                || !quota.claim(1)
            {
                return None;
            }
            let index = self.take_shared(class[0]);
            if index.is_none() {
                self.unclaim(number, 1);
            }
            index.map(|index| (quota.line(false), index))
        })
    }

    /// As `look`, for somebody who waits for a stream.
    pub(in crate::lists) fn look_of(&self, wait: &mut Wait) {
        let number = wait.seat.request().stream;
        let quota = self.quotas.get(number);
        let class = quota.class();
        let mut owed = Owed::default();
        self.see_to_the_inheritance(&mut owed);
        if self.line.has_inherited(&wait.seat) {
            self.forget_parents(wait);
        }
        match self.line.turn(&wait.seat) {
            Turn::Given(..) | Turn::Aborted => return,
            Turn::Called(_) => {
                wait.found = self.find(&[class], &mut owed);
                if wait.found.is_none() {
                    self.line.service(class).note_in_vain();
                }
            }
            Turn::CalledByStream | Turn::Waiting => {}
        }
        let mut called = None;
        if wait.found.is_none() {
            called = self.settle_call(wait);
            quota.shut(&self.tables.records);
            wait.sure = true;
            self.look_through_stream(wait, class, &mut owed);
            self.owe_call(wait, called, &mut owed);
        }
        self.settle(owed);
        let surplus = wait.claims.saturating_sub(1);
        wait.claims -= surplus;
        if called == Some(By::Stream) {
            if wait.found.is_none() {
                quota.service().note_in_vain();
            }
            // Somebody else may need what it could not use, or did not.
            fault!(ForgetCall, (), self.attend_to_stream(number));
        }
        if surplus > 0 {
            quota.note_waiting(-(surplus as i32));
            self.unclaim(number, surplus);
        }
    }

    /// Who waits is no longer called.
    fn settle_call(&self, wait: &mut Wait) -> Option<By> {
        let called = self.line.uncall(&wait.seat);
        match called {
            Some(By::Stream) => {
                let quota = self.quotas.get(wait.seat.request().stream);
                quota.service().note_settled(wait.seat.is_task());
            }
            Some(By::Entitled) => wait.claims += 1,
            _ => {}
        }
        called
    }

    /// Looks for one of the stream's own; for a claim; and then through the pool.
    fn look_through_stream(&self, wait: &mut Wait, class: ClassId, owed: &mut Owed) {
        let number = wait.seat.request().stream;
        let quota = self.quotas.get(number);
        let goes_on = |wait: &Wait| self.line.turn(&wait.seat) == Turn::Waiting;
        // In a line of strict order what it finds may be handed to itself.
        if goes_on(wait)
            && let Some(index) = self.pop_own(number)
        {
            wait.found = Some((class, index));
            wait.own = true;
            return;
        }
        while wait.claims == 0 && goes_on(wait) && !self.are_claims_barred(number) && quota.claim(1)
        {
            if !self.line.is_strict() || !self.entitle(number) {
                wait.claims = 1;
                quota.note_waiting(1);
            } else {
                self.settle_call(wait);
            }
        }
        if wait.claims == 0 {
            return;
        }
        if wait.seat.request().reach == 0 {
            self.line.reach(&mut wait.seat, class.index() + 1);
        }
        self.look_through(wait, &[class], owed);
    }

    /// As `end_wait`, for somebody who waited for a stream, and `left`.
    pub(in crate::lists) fn end_wait_of(&self, ended: Ended, left: Left) -> Option<Found<'_>> {
        let number = ended.request.stream;
        let quota = self.quotas.get(number);
        let class = quota.class();
        let mut owed = Owed::default();
        let mut claims = ended.claims;
        let mut attend = false;
        match left.called {
            Some(By::Class(class)) => fault!(LeaveCalled, (), Self::owe(class, &mut owed)),
            Some(By::Stream) => {
                quota.service().note_settled(ended.task);
                attend = true;
            }
            Some(By::Entitled) => claims += 1,
            None => {}
        }
        let given = left.given.map(|(_, index)| (left.own, index));
        if let (Some(_), Some((own, index))) = (given, ended.found) {
            // One is enough.
            match own {
                true => {
                    self.put_own(number, index);
                    attend = true;
                }
                false => self.put_loose(class, index, &mut owed),
            }
        }
        let found = given.or(ended.found);
        self.settle(owed);
        let used = u32::from(matches!(found, Some((false, _))));
        if ended.inherited {
            // As in `look_of`.
            (0..used).for_each(|_| quota.claim_anyway());
        } else {
            quota.note_waiting(-(claims as i32));
            let surplus = fault!(KeepClaim, 0, claims.saturating_sub(used));
            if surplus > 0 {
                self.unclaim(number, surplus);
            }
        }
        if attend {
            fault!(LeaveCalled, (), self.attend_to_stream(number));
        }
        if ended.request.reach > 0 {
            self.linger(class);
        }
        found.map(|(own, index)| (quota.line(own), index))
    }
}

/// A wait for a stream that ends.
pub struct Ended {
    pub request: Request,
    pub task: bool,
    /// Claims that it had.
    pub claims: u32,
    /// Whether in a parent of this process.
    pub inherited: bool,
    /// What it found: whether that is one of the stream's own.
    pub found: Option<(bool, Index)>,
}
