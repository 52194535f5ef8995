//! The thread of a service.
//!
//! Owns: its work, from a request to the reply. Uses: `ring`, the mailbox of `service`. Used
//! by: `service`.

use super::flights::Flight;
use super::ring::{Ring, is_transient};
use super::service::{Request, Shared, Standing, Ticket};
use crate::buffer::Memory;
use crate::sync::Arc;
use crate::sys::files::thread_number;
use std::collections::VecDeque;
use std::io;
use std::os::fd::AsFd;
use std::time::Duration;

/// The thread.
pub struct Worker<F: AsFd + Send + 'static, M: Memory> {
    ring: Ring<Ticket<F, M>, M>,
    shared: Arc<Shared<F, M>>,
    /// What the ring has no room for, in order.
    backlog: VecDeque<Request<F, M>>,
    is_cancelled: bool,
}

/// How often a ring that cannot be entered is looked at.
const PAUSE: Duration = Duration::from_millis(1);

impl<F: AsFd + Send + 'static, M: Memory> Worker<F, M> {
    pub fn new(ring: Ring<Ticket<F, M>, M>, shared: Arc<Shared<F, M>>) -> Self {
        Self {
            ring,
            shared,
            backlog: VecDeque::new(),
            is_cancelled: false,
        }
    }

    /// Until the service ends.
    pub fn run(mut self) {
        let shared = Arc::clone(&self.shared);
        shared.mailbox().thread = Some(thread_number());
        loop {
            if !self.ring.watches() {
                // First: who rings after this wakes the thread again.
                shared.bell.clear();
            }
            let standing = self.collect();
            self.refresh();
            if standing == Standing::Cancelling && !self.is_cancelled {
                self.cancel();
            }
            let begun = self.begin();
            let completed = self.complete();
            if standing != Standing::Open && self.is_idle() {
                return;
            }
            // What has completed has made room, and may have been all.
            if completed || begun == Begun::Rejected || !self.may_sleep() {
                continue;
            }
            self.ring.watch(shared.bell.as_fd());
            if let Err(error) = self.ring.wait_any()
                && !is_transient(&error)
            {
                return self.fail(&error);
            }
        }
    }

    fn is_idle(&self) -> bool {
        self.backlog.is_empty() && self.ring.in_flight() == 0
    }

    /// Takes what there is in the mailbox.
    fn collect(&mut self) -> Standing {
        let mut mailbox = self.shared.mailbox();
        mailbox.asleep = false;
        mailbox.report = *self.ring.report();
        self.backlog.append(&mut mailbox.requests);
        mailbox.standing
    }

    /// Does what was asked for by `Service::refresh`.
    fn refresh(&mut self) {
        let mailbox = self.shared.mailbox();
        let wanted = mailbox.wanted;
        if mailbox.refreshed == wanted {
            return;
        }
        drop(mailbox);
        let report = *self.ring.refresh();
        let mut mailbox = self.shared.mailbox();
        mailbox.report = report;
        mailbox.refreshed = wanted;
        drop(mailbox);
        self.shared.is_refreshed.notify_all();
    }

    /// Whether there is nothing to do until something completes or somebody rings.
    fn may_sleep(&self) -> bool {
        let has_room = self.backlog.is_empty();
        let mut mailbox = self.shared.mailbox();
        mailbox.asleep = has_room;
        !has_room || mailbox.requests.is_empty()
    }

    /// Begins what the ring has room for.
    fn begin(&mut self) -> Begun {
        let mut all = Begun::Taken;
        while self.ring.in_flight() < self.ring.depth() as usize
            && let Some(request) = self.backlog.pop_front()
        {
            let flight = Flight {
                token: 0,
                buffer: request.buffer,
                file: request.ticket,
            };
            let Request {
                direction,
                extent,
                offset,
                fd,
                ..
            } = request;
            let begun = self.ring.begin(direction, extent, flight, fd, offset);
            if let Err((why, flight)) = begun {
                all = Begun::Rejected;
                reply(flight, why.into());
            }
        }
        all
    }

    /// Tells whose operations are over; true if some were.
    fn complete(&mut self) -> bool {
        let mut some = false;
        while let Some(over) = self.ring.try_complete() {
            over.file.end(over.result, over.buffer.into_owned());
            some = true;
        }
        some
    }

    /// Ends what is under way, and what is not yet.
    fn cancel(&mut self) {
        self.is_cancelled = true;
        self.refuse_backlog(libc::ECANCELED);
        self.ring.cancel();
    }

    fn refuse_backlog(&mut self, number: i32) {
        for request in self.backlog.drain(..) {
            let error = io::Error::from_raw_os_error(number);
            request.ticket.end(Err(error), request.buffer);
        }
    }

    /// The kernel does not let the thread enter the ring. What it was not handed fails; what
    /// it was completes by itself, or is never heard of again when the service is dropped.
    fn fail(mut self, error: &io::Error) {
        let number = error.raw_os_error().unwrap_or(libc::EIO);
        self.ring
            .give_up(|flight| reply(flight, io::Error::from_raw_os_error(number)));
        loop {
            let standing = self.collect();
            self.refresh();
            self.refuse_backlog(number);
            self.complete();
            let ends = match standing {
                Standing::Open => false,
                Standing::Finishing => self.is_idle(),
                Standing::Cancelling => true,
            };
            if ends {
                return;
            }
            std::thread::sleep(PAUSE);
        }
    }
}

/// What became of what was begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Begun {
    Taken,
    /// Some of it was refused, and is over.
    Rejected,
}

/// An operation was not done.
fn reply<F, M: Memory>(flight: Flight<Ticket<F, M>>, error: io::Error) {
    flight.file.end(Err(error), flight.buffer);
}
