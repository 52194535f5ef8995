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

use super::service::Service;
use super::{Line, Request, Wake};
use crate::class::ClassId;
use crate::word::{Index, Standing};

/// Whom a stream can call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Lacking {
    /// Anybody who waits for it.
    Anything,
    /// Those who have no claim yet.
    Claim,
}

impl Line {
    /// The next behind `hand` of those of `stream` who lack that and may be `eligible`.
    fn next_of(
        &self,
        stream: u32,
        hand: u32,
        lacking: Lacking,
        eligible: impl Fn(Standing) -> bool,
    ) -> Option<(u32, Standing)> {
        let fits = |request: &Request| {
            request.stream == stream && (lacking == Lacking::Anything || request.reach == 0)
        };
        let (id, standing, _) = self.next_behind(hand, false, fits, eligible)?;
        Some((id, standing))
    }

    /// Whether anybody of `stream` waits who lacks that and has not been called.
    pub fn is_wanted_of(&self, stream: u32, service: &Service, lacking: Lacking) -> bool {
        self.next_of(stream, service.hand(), lacking, Standing::sleeps)
            .is_some()
    }

    /// Calls somebody of `stream` who lacks that and has not been called, each in turn. That is
    /// no turn: see `Line::call`. `None`: there is nobody. Lock-free.
    pub fn call_of(&self, stream: u32, service: &Service, lacking: Lacking) -> Option<Wake<'_>> {
        loop {
            let hand = service.last_called();
            let (id, standing) = self.next_of(stream, hand, lacking, Standing::sleeps)?;
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
                return Some(self.wake_of(id, task, service));
            }
        }
    }

    /// Whether the next in turn of those of `stream` is a task that has not been called.
    pub fn is_task_next_of(&self, stream: u32, service: &Service) -> bool {
        let next = self.next_of(stream, service.hand(), Lacking::Anything, Standing::sleeps);
        matches!(next, Some((_, Standing::Waiting { task: true, .. })))
    }

    /// Gives `index`, one of its own buffers of `class`, which the caller holds, to the
    /// next in turn of those of `stream`. True: he had been given a claim, which is the
    /// caller's now. `None`: there is nobody. Lock-free.
    pub fn hand_over_own(
        &self,
        stream: u32,
        service: &Service,
        class: ClassId,
        index: Index,
    ) -> Option<(Wake<'_>, bool)> {
        let class = class.index() as u8;
        let own = |_, _| Standing::Own { class, index };
        let handed = self.advance_next(stream, service, Lacking::Anything, own)?;
        service.note_hand_over();
        Some(handed)
    }

    /// Gives the next in turn of those of `stream` who have none a claim, which the caller
    /// has. `None`: there is nobody. Lock-free.
    pub fn entitle(&self, stream: u32, service: &Service) -> Option<Wake<'_>> {
        let entitled = |ticket, task| Standing::Entitled { ticket, task };
        let (wake, _) = self.advance_next(stream, service, Lacking::Claim, entitled)?;
        Some(wake)
    }

    /// Moves the next in turn of those of `stream` who wait, or were called by it, on. In
    /// strict order one who was given a claim, and has not looked yet, is still the first
    /// for a buffer. Gives whether he had a claim.
    fn advance_next(
        &self,
        stream: u32,
        service: &Service,
        lacking: Lacking,
        next: impl Fn(u64, bool) -> Standing,
    ) -> Option<(Wake<'_>, bool)> {
        // Who has been called for the pool's buffer is left to that.
        let eligible = |standing| match standing {
            Standing::Waiting { .. } => true,
            Standing::Called { class, .. } => class == Standing::STREAM,
            Standing::Entitled { .. } => self.strict && lacking == Lacking::Anything,
            _ => false,
        };
        loop {
            let (id, standing) = self.next_of(stream, service.hand(), lacking, eligible)?;
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
                service.move_to(id);
                return Some((self.wake_of(id, task, service), entitled));
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
