//! What is on its way to the kernel.
//!
//! Owns: the ring of the crate `io-uring`, and the order in which operations are handed over.
//! Uses: that crate. Used by: `ring`.
//!
//! The ring's own queue, which the kernel reads, takes nothing back. So operations wait in one
//! of ours until the kernel is entered, and go to the ring's just before: what nobody has
//! submitted can be forgotten.

use io_uring::{IoUring, Submitter, cqueue, squeue};
use std::collections::VecDeque;
use std::io;

/// A ring, and what is to be handed to it.
pub struct Queue {
    ring: IoUring,
    /// What the ring's own queue does not have yet, in order.
    queued: VecDeque<squeue::Entry>,
    /// What is in the ring's own queue, and not handed to the kernel yet: what its completion
    /// will be called, in order.
    handing: VecDeque<u64>,
    /// Whether what was in the ring's queue was given up: it must not be entered.
    is_shut: bool,
}

impl Queue {
    /// Of a ring for `depth` operations. No more are allocated for.
    pub fn new(ring: IoUring, depth: u32) -> Self {
        Self {
            ring,
            queued: VecDeque::with_capacity(depth as usize),
            handing: VecDeque::with_capacity(depth as usize),
            is_shut: false,
        }
    }

    /// Registers buffers.
    pub fn submitter(&self) -> Submitter<'_> {
        self.ring.submitter()
    }

    /// Adds an operation.
    ///
    /// # Safety
    ///
    /// Its memory and its file are there, and the memory nobody else's, until it is over: until
    /// `next` gives its completion, or `forget` or `shut` its name.
    pub unsafe fn push(&mut self, operation: squeue::Entry) {
        self.queued.push_back(operation);
    }

    /// The next completion, if there is one. Enters no kernel.
    pub fn next(&mut self) -> Option<cqueue::Entry> {
        self.ring.completion().next()
    }

    /// Hands everything to the kernel, and has it put completions that there was no room for
    /// where there is some now.
    pub fn submit(&mut self) -> io::Result<()> {
        let mut overflown = !self.is_shut && self.ring.submission().cq_overflow();
        while self.fill() > 0 || overflown {
            self.enter(0)?;
            // Once: there may be no room before some are taken.
            overflown = false;
        }
        Ok(())
    }

    /// Hands everything to the kernel, and returns when there is a completion, or for no
    /// reason.
    pub fn wait(&mut self) -> io::Result<()> {
        self.fill();
        while !self.queued.is_empty() {
            // What has no room yet may be what the wait is for.
            self.enter(0)?;
            self.fill();
        }
        self.enter(1)
    }

    /// Moves what is queued to the ring's own queue, as far as it has room. How many are there.
    fn fill(&mut self) -> usize {
        if self.is_shut {
            return 0;
        }
        let mut queue = self.ring.submission();
        while let Some(next) = self.queued.front() {
            // SAFETY: what whoever pushed it says.
            if unsafe { queue.push(next) }.is_err() {
                break;
            }
            self.handing.push_back(next.get_user_data());
            self.queued.pop_front();
        }
        queue.len()
    }

    /// Has the kernel take what is in the ring's queue, and waits for `wanted` completions.
    fn enter(&mut self, wanted: usize) -> io::Result<()> {
        if self.is_shut {
            return Err(io::ErrorKind::NotConnected.into());
        }
        let entered = self.ring.submit_and_wait(wanted);
        // It takes them in order.
        let left = self.ring.submission().len();
        while self.handing.len() > left {
            self.handing.pop_front();
        }
        match entered {
            Ok(_) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Gives up what is not in the ring's own queue yet: the names of that.
    pub fn forget(&mut self) -> impl Iterator<Item = u64> + use<> {
        let queued = std::mem::take(&mut self.queued);
        queued
            .into_iter()
            .map(|operation| operation.get_user_data())
    }

    /// Gives up all that the kernel has not taken: the names of that. It is not entered any
    /// more, so it will never look at the ring's queue.
    pub fn shut(&mut self) -> impl Iterator<Item = u64> + use<> {
        self.is_shut = true;
        let handing = std::mem::take(&mut self.handing);
        handing.into_iter().chain(self.forget())
    }

    /// Whether it was.
    pub fn is_shut(&self) -> bool {
        self.is_shut
    }
}
