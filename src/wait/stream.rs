//! Those who wait for their own stream.
//!
//! Owns: whose turn it is among them. Uses: the line. Used by: `lists::streams`, which
//! says when somebody is to be called, served or entitled.
//!
//! ```text
//!            ┌───────────── uncall ──────────────┐
//!            ▼        entitle                    │
//!   waiting, called ──────────▶ entitled ────────┤
//!            │  hand_over_own                    │
//!            └──────────▶ own {buffer} ───▶ vacant ◀─── leave
//! ```
//!
//! Somebody who waits for a buffer of a stream stands in the one line. While his reach
//! is 0 no class serves him; he waits for his stream alone: for one of its own buffers,
//! or for a *claim* to one of the pool's. To *entitle* him gives him the claim. Once he
//! has one, he has a reach, and waits for the class, too.
//!
//! Somebody who waits for several of a stream is neither called nor given one at a time: at
//! his turn he *collects*, which a word of the quota says (`lists::streams::collect`).

use super::collector::Collects;
use super::service::Service;
use super::{Line, Request, Wake};
use crate::class::ClassId;
use crate::sync::fault;
use crate::word::{Collector, Index, Standing};

/// Whom a stream can call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Lacking {
    /// Anybody who waits for it.
    Anything,
    /// Those who have no claim yet.
    Claim,
}

/// Among whom the next in turn is sought.
#[derive(Clone, Copy)]
enum Whom {
    /// All.
    Anybody,
    /// Those who wait for one, and have a smaller ticket than that.
    Elders(u64),
}

/// Those who wait for a stream.
#[derive(Clone, Copy)]
pub struct Those<'a> {
    /// The number of its quota.
    pub stream: u32,
    /// How they are being served.
    pub service: &'a Service,
    /// The word that names who of them collects.
    pub collects: &'a Collects,
}

/// Whose turn it was of those who wait for a stream.
pub enum HandOf<'a> {
    /// That of this one, who is served. True: he had been given a claim, which is the
    /// caller's now.
    Served(Wake<'a>, bool),
    /// That of one who collects from now on: what the caller has, he still has.
    Collects,
}

impl Line {
    /// The next behind `hand` of those who lack that, whose request `fits`, and who may be
    /// `eligible`, and whether he waits for several; `ready` as for `next_behind`.
    fn next_of(
        &self,
        those: Those<'_>,
        hand: u32,
        ready: bool,
        lacking: Lacking,
        eligible: impl Fn(Standing) -> bool,
    ) -> Option<(u32, Standing, bool)> {
        let ready = ready.then_some(those.collects);
        let fits = |request: &Request| {
            request.stream == those.stream && (lacking == Lacking::Anything || request.reach == 0)
        };
        self.next_behind(hand, ready, fits, eligible)
    }

    /// Whether anybody waits who lacks that and has not been called.
    pub fn is_wanted_of(&self, those: Those<'_>, lacking: Lacking) -> bool {
        self.next_of(
            those,
            those.service.hand(),
            false,
            lacking,
            Standing::sleeps,
        )
        .is_some()
    }

    /// As above, and could be served now: it may be that somebody else collects first.
    pub fn is_wanted_now_of(&self, those: Those<'_>, lacking: Lacking) -> bool {
        self.next_now_of(those, lacking, Standing::sleeps).is_some()
    }

    /// The next in turn who lacks that, may be `eligible`, and can be served now, and whether
    /// he waits for several. Whoever may not collect now, since somebody else does, is passed
    /// over; but in strict order nobody goes before him.
    fn next_now_of(
        &self,
        those: Those<'_>,
        lacking: Lacking,
        eligible: impl Fn(Standing) -> bool,
    ) -> Option<(u32, Standing, bool)> {
        let hand = those.service.hand();
        let next = self.next_of(those, hand, !self.strict, lacking, eligible)?;
        let (id, standing, several) = next;
        let waits = several && !self.may_collect(those.collects, id, standing);
        (!waits).then_some(next)
    }

    /// Calls somebody who lacks that, waits for one, and has not been called, each in turn.
    /// That is no turn: see `Line::call`. If it is the turn of somebody who waits for several,
    /// he collects from now on. `None`: there is nobody. Lock-free.
    pub fn call_of(&self, those: Those<'_>, lacking: Lacking) -> Option<HandOf<'_>> {
        let service = those.service;
        loop {
            let next = self.next_of(those, service.hand(), true, lacking, Self::has_turns_of);
            if let Some((id, Standing::Waiting { ticket, .. }, true)) = next {
                if self.collect_of(those, id, ticket) {
                    return Some(HandOf::Collects);
                }
                continue;
            }
            let fits = |request: &Request| {
                request.stream == those.stream
                    && !request.is_for_several()
                    && (lacking == Lacking::Anything || request.reach == 0)
            };
            let from = service.last_called();
            let (id, standing, _) = self.next_behind(from, None, fits, Standing::sleeps)?;
            let Standing::Waiting { ticket, task } = standing else {
                return None;
            };
            let called = Standing::Called {
                ticket,
                task,
                class: Standing::STREAM,
            };
            if self.place(id).advance(standing, called) {
                service.note_called(task);
                service.move_calls_to(id);
                return Some(HandOf::Served(self.wake_of(id, task, service), false));
            }
        }
    }

    /// Who has turns at a stream: who has been called for the pool's buffer is left to that.
    fn has_turns_of(standing: Standing) -> bool {
        match standing {
            Standing::Waiting { .. } => true,
            Standing::Called { class, .. } => class == Standing::STREAM,
            _ => false,
        }
    }

    /// The wait of `ticket` at place `id` collects from now on. False: another one does.
    fn collect_of(&self, those: Those<'_>, id: u32, ticket: u64) -> bool {
        self.begin_to_collect(those.collects, those.service, id, ticket)
            .is_some()
    }

    /// What `collector`, whom the word of a stream names, waits for, his ticket, and whether
    /// he is a task. `None`: he collects no more, or is a thread or task of the parent.
    pub fn collects_of(&self, collector: Collector) -> Option<(Request, u64, bool)> {
        if self.is_inherited(collector) {
            return None;
        }
        match self.collects(collector)? {
            (request, Standing::Waiting { ticket, task }) => Some((request, ticket, task)),
            _ => None,
        }
    }

    /// Wakes `collector`, of a stream, so that he looks.
    pub fn ring(&self, collector: Collector, task: bool, service: &Service) -> Wake<'_> {
        self.wake_of(collector.place(), task, service)
    }

    /// Whether the next in turn is a task that waits for one and has not been called.
    pub fn is_task_next_of(&self, those: Those<'_>) -> bool {
        let hand = those.service.hand();
        let next = self.next_of(those, hand, true, Lacking::Anything, Standing::sleeps);
        matches!(next, Some((_, Standing::Waiting { task: true, .. }, false)))
    }

    /// Gives `index`, one of its own buffers of `class`, which the caller holds, to the
    /// next in turn. `None`: there is nobody. Lock-free.
    pub fn hand_over_own(
        &self,
        those: Those<'_>,
        class: ClassId,
        index: Index,
    ) -> Option<HandOf<'_>> {
        let class = class.index() as u8;
        let own = |_, _| Standing::Own { class, index };
        let handed = self.advance_next(those, Whom::Anybody, Lacking::Anything, own)?;
        if let HandOf::Served(..) = handed {
            those.service.note_hand_over();
        }
        Some(handed)
    }

    /// As above, to one who waits for one and has a smaller ticket than `ticket`.
    pub fn hand_own_to_elder(
        &self,
        those: Those<'_>,
        ticket: u64,
        class: ClassId,
        index: Index,
    ) -> Option<HandOf<'_>> {
        let class = class.index() as u8;
        let own = |_, _| Standing::Own { class, index };
        let elders = Whom::Elders(ticket);
        let handed = self.advance_next(those, elders, Lacking::Anything, own)?;
        those.service.note_hand_over();
        Some(handed)
    }

    /// Gives the next in turn of those who have none a claim, which the caller has. `None`:
    /// there is nobody. Lock-free.
    pub fn entitle(&self, those: Those<'_>) -> Option<HandOf<'_>> {
        let entitled = |ticket, task| Standing::Entitled { ticket, task };
        self.advance_next(those, Whom::Anybody, Lacking::Claim, entitled)
    }

    /// Whether who stands so may be given what he lacks.
    fn may_have(&self, standing: Standing, lacking: Lacking) -> bool {
        match standing {
            Standing::Entitled { .. } => self.strict && lacking == Lacking::Anything,
            _ => Self::has_turns_of(standing),
        }
    }

    /// The next of those who wait for one and have a smaller ticket than `ticket`.
    fn next_elder(&self, those: Those<'_>, ticket: u64) -> Option<(u32, Standing, bool)> {
        let fits = |request: &Request| request.stream == those.stream && !request.is_for_several();
        let elder = |standing: Standing| {
            let older = |own| own < ticket;
            self.may_have(standing, Lacking::Anything) && standing.ticket().is_some_and(older)
        };
        self.next_behind(those.service.hand(), None, fits, elder)
    }

    /// Whether there is one.
    pub fn has_elder(&self, those: Those<'_>, ticket: u64) -> bool {
        fault!(NoElders, false, self.next_elder(those, ticket).is_some())
    }

    /// Moves the next in turn of those who wait, or were called by their stream, on. In
    /// strict order one who was given a claim, and has not looked yet, is still the first
    /// for a buffer.
    fn advance_next(
        &self,
        those: Those<'_>,
        whom: Whom,
        lacking: Lacking,
        next: impl Fn(u64, bool) -> Standing,
    ) -> Option<HandOf<'_>> {
        let service = those.service;
        let eligible = |standing| self.may_have(standing, lacking);
        if let Whom::Anybody = whom
            && those.collects.get().is_some()
            && let Some((id, standing, true)) =
                self.next_of(those, service.hand(), false, lacking, eligible)
            && !self.may_collect(those.collects, id, standing)
        {
            self.note_missed(those.collects, |request| request.stream == those.stream);
        }
        loop {
            let (id, standing, several) = match whom {
                Whom::Anybody => self.next_now_of(those, lacking, eligible)?,
                Whom::Elders(ticket) => self.next_elder(those, ticket)?,
            };
            if several && let Standing::Waiting { ticket, .. } = standing {
                if self.collect_of(those, id, ticket) {
                    return Some(HandOf::Collects);
                }
                continue;
            }
            let (Standing::Waiting { ticket, task }
            | Standing::Called { ticket, task, .. }
            | Standing::Entitled { ticket, task }) = standing
            else {
                return None;
            };
            if self.place(id).advance(standing, next(ticket, task)) {
                if matches!(standing, Standing::Called { .. }) {
                    service.note_settled(task);
                }
                let entitled = matches!(standing, Standing::Entitled { .. });
                // Whoever goes before who collects has that turn, and leaves the others theirs.
                if let Whom::Anybody = whom {
                    service.move_to(id);
                }
                return Some(HandOf::Served(self.wake_of(id, task, service), entitled));
            }
        }
    }

    /// Wakes `id`, whom the caller has moved on.
    fn wake_of(&self, id: u32, task: bool, service: &Service) -> Wake<'_> {
        if !task {
            service.note_wake();
        }
        self.wake(id, task)
    }
}
