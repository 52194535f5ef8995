//! The way home for a buffer of a stream, and the serving of those who wait for one.
//!
//! Owns: what is done with it, and with the claim to it. Uses: `quota`, the lists, `wait`.
//! Used by: `streams`, which has the protocol; `buffer`.

use super::super::{FreeLists, Given};
use crate::cache::CpuCaches;
use crate::chain::Chain;
use crate::class::{ClassId, OfStream};
use crate::sync::{Ordering, fault, fence};
use crate::wait::{HandOf, Lacking, Wake};
use crate::word::Index;

impl<C: CpuCaches> FreeLists<C> {
    /// Gives up claims that the caller has, who has a handle of the stream and announces
    /// nothing.
    pub(super) fn unclaim(&self, number: u32, count: u32) {
        let quota = self.quotas.get(number);
        let passed = count == 1 && quota.extra().is_shut() && self.pass_claim(number).is_some();
        if !passed && quota.release(count).is_shut() {
            fault!(NoServeOfStream, (), self.attend_to_stream(number));
        }
    }

    /// Gives a claim, which the caller has, to the next in turn, if it is time for that.
    /// `None`: it is still the caller's.
    fn pass_claim(&self, number: u32) -> Option<Wake<'_>> {
        let quota = self.quotas.get(number);
        if !self.line.is_strict() && !self.line.is_due(quota.service())
            || self.are_claims_barred(number)
        {
            return None;
        }
        match self.line.entitle(quota.those(number))? {
            HandOf::Served(wake, _) => {
                quota.note_waiting(1);
                Some(wake)
            }
            HandOf::Collects => None,
        }
    }

    /// Gives back a buffer, which the caller holds, of the quota that `stream` names. As
    /// `give`.
    #[cold]
    pub fn give_of(&self, stream: OfStream, index: Index) -> Given {
        match stream.own {
            true => self.give_own(stream.quota, index),
            false => self.give_extra(stream.quota, index),
        }
    }

    pub(super) fn give_own(&self, number: u32, index: Index) -> Given {
        let own = self.quotas.get(number).own();
        let mut head = own.head();
        while !fault!(IgnoreShutOfStream, false, head.is_shut()) {
            // See the module for why nobody misses it.
            match own.push_onto(&self.tables.records, index, head) {
                Ok(()) => return Given::Home,
                Err(now) => head = now,
            }
        }
        self.give_own_seen(number, index)
    }

    /// Gives back one of its own buffers to a stream of which somebody waits, or that has
    /// ended.
    #[cold]
    fn give_own_seen(&self, number: u32, index: Index) -> Given {
        let quota = self.quotas.get(number);
        if !self.home.visit() {
            // Acquire: the last handle was given up after that of the stream, which had
            // closed it. So the change below finds it closed.
            fence(Ordering::Acquire);
            return self.give_closed(number, index);
        }
        let due = self.line.is_strict()
            || self.line.is_due(quota.service())
            || self.line.is_task_next_of(quota.those(number))
            || self.bar(number).is_some();
        let handed = match due && !quota.extra().is_closed() {
            true => self.hand_own(number, index),
            false => None,
        };
        match handed {
            Some(wake) => drop(wake),
            None => self.put_own(number, index),
        }
        fault!(NoServeOfStream, (), self.attend_to_stream(number));
        self.leave()
    }

    /// Hands one of its own buffers, which the caller holds, to the next in turn; if somebody
    /// collects, of those who came before him. The caller has a handle, and attends to the
    /// stream afterwards.
    pub(super) fn hand_own(&self, number: u32, index: Index) -> Option<Wake<'_>> {
        let quota = self.quotas.get(number);
        let (those, class) = (quota.those(number), quota.class());
        let handed = match self.bar(number) {
            None => self.line.hand_over_own(those, class, index),
            Some(bar) => fault!(
                NoElders,
                None,
                (self.line).hand_own_to_elder(those, bar.ticket, class, index)
            ),
        };
        let HandOf::Served(wake, claim) = handed? else {
            return None;
        };
        if claim {
            quota.note_waiting(-1);
            self.release_closed(number);
        }
        Some(wake)
    }

    /// Puts one of its own buffers, which the caller holds, where requests of its stream
    /// find it. The caller holds a handle of the pool, and attends to the stream if it was
    /// shut.
    pub(super) fn put_own(&self, number: u32, index: Index) {
        let own = self.quotas.get(number).own();
        loop {
            let head = own.head();
            if head.is_shut() && self.quotas.get(number).extra().is_closed() {
                // The caller holds a handle.
                let _home = self.give_closed(number, index);
                return;
            }
            // If it is closed by now, the head has changed.
            if own.push_onto(&self.tables.records, index, head).is_ok() {
                return;
            }
        }
    }

    /// Gives back a buffer of a stream that has ended.
    fn give_closed(&self, number: u32, index: Index) -> Given {
        let class = self.quotas.get(number).class();
        self.release_closed(number);
        self.give(self.classes().line(class), index)
    }

    /// Gives up the claim to a buffer, which the caller still holds.
    fn release_closed(&self, number: u32) -> bool {
        let now = self.quotas.get(number).release(1);
        if now.is_closed() && fault!(VacateEarly, true, now.count() == 0) {
            self.quotas.vacate(number);
        }
        now.is_shut() && !now.is_closed()
    }

    /// Gives back one of the pool's buffers, and the claim to it.
    fn give_extra(&self, number: u32, index: Index) -> Given {
        let quota = self.quotas.get(number);
        let (extra, class) = (quota.extra(), quota.class());
        if extra.is_shut() && !extra.is_closed() && self.home.visit() {
            return self.give_extra_seen(number, class, index);
        }
        let shut = self.release_closed(number);
        if fault!(IgnoreShutOfStream, false, shut) {
            // Somebody has come to wait. (The stream may have ended since, and another
            // may have its number; to attend to that does no harm.)
            self.attend_to_stream(number);
        }
        self.give(self.classes().line(class), index)
    }

    /// Gives back one of the pool's buffers, and the claim to it, to a stream of which
    /// somebody waits. The caller has a handle, which this gives up.
    #[cold]
    fn give_extra_seen(&self, number: u32, class: ClassId, index: Index) -> Given {
        let wake = self.pass_claim(number);
        if wake.is_none() {
            self.release_closed(number);
        }
        // We hold a handle.
        let _home = self.give(self.classes().line(class), index);
        drop(wake);
        fault!(NoServeOfStream, (), self.attend_to_stream(number));
        self.leave()
    }

    /// Ends the stream of quota `number`, whose last handle the caller gives up. Nobody
    /// waits for it, and the caller holds a handle of the pool until this has returned.
    pub fn close_quota(&self, number: u32) {
        let quota = self.quotas.get(number);
        // One more claim, ours, so that nobody puts the number back meanwhile.
        quota.close();
        quota.own().shut(&self.tables.records);
        while let Ok(index) = quota.own().pop(&self.tables.records) {
            let _home = self.give_closed(number, index);
        }
        self.release_closed(number);
    }

    /// Calls those who wait for the stream of quota `number`, as many as there are buffers
    /// of its own and claims, or wakes who collects, or says that nobody waits. The caller
    /// announces nothing, and holds a handle, or a buffer.
    pub(super) fn attend_to_stream(&self, number: u32) {
        let quota = self.quotas.get(number);
        let those = quota.those(number);
        // In a child of a fork: what its parent's threads have is put back first.
        quota.give_up_parents();
        let _ = self.bar(number);
        loop {
            let (own, extra) = (quota.own().touch(), quota.touch());
            let (mut free, mut claims) = (0, 0);
            if own.is_shut() {
                free = Chain::depth(own, &self.tables.records);
            }
            if extra.is_shut() && !extra.is_closed() {
                claims = quota.limit().saturating_sub(extra.count());
            }
            match self.barred(number, &mut free, &mut claims) {
                Ok(wake) => drop(wake),
                Err(()) => continue,
            }
            let there_are = free.saturating_add(claims);
            if there_are == 0 {
                return;
            }
            let lacking = match free > 0 {
                true => Lacking::Anything,
                false => Lacking::Claim,
            };
            if self.line.is_strict() {
                if self.hand_on_of(number, lacking) {
                    continue;
                }
                self.unshut_quota(number);
                // It was in our hand: who came meanwhile has looked in vain.
                if !self.line.is_wanted_now_of(those, lacking) {
                    return;
                }
                continue;
            }
            let called = those.service.called();
            if called.all() >= there_are || called.threads() >= self.callers() {
                return;
            }
            match self.line.call_of(those, lacking) {
                Some(HandOf::Served(wake, _)) => drop(wake),
                // What there is, is his.
                Some(HandOf::Collects) => {}
                None => break,
            }
        }
        self.unshut_quota(number);
    }

    /// Says that nobody waits, if that is so.
    fn unshut_quota(&self, number: u32) {
        let quota = self.quotas.get(number);
        let idle = |lacking| {
            let wanted = self.line.is_wanted_of(quota.those(number), lacking);
            fault!(UnshutAnyway, true, !wanted)
        };
        // One that has ended is shut for ever.
        let ended = || fault!(ReopenEnded, false, quota.extra().is_closed());
        quota.own().unshut(|| !ended() && idle(Lacking::Anything));
        quota.unshut_claims(|| idle(Lacking::Claim));
    }

    /// In a line of strict order: hands one of the stream's own, or a claim, to the first
    /// who waits for it. False: there is nobody.
    fn hand_on_of(&self, number: u32, what: Lacking) -> bool {
        let quota = self.quotas.get(number);
        // Nothing is taken that a request might miss meanwhile.
        if !self.line.is_wanted_now_of(quota.those(number), what) {
            return false;
        }
        if what == Lacking::Claim {
            // If there is none any more, there is nothing to hand on.
            if !quota.claim(1) {
                return true;
            }
            let entitled = self.entitle(number);
            if !entitled {
                self.release_closed(number);
            }
            return entitled;
        }
        let Ok(index) = quota.own().pop(&self.tables.records) else {
            return true;
        };
        let wake = self.hand_own(number, index);
        if wake.is_none() {
            self.put_own(number, index);
        }
        wake.is_some() || self.bar(number).is_some()
    }
}
