//! What concerns everybody who waits: an abort, and a change of what there is.
//!
//! Owns: the way through the whole line. Uses: the line. Used by: `pool`, `catalog`.

use super::Line;
use crate::class::ClassId;
use crate::sync::{Ordering, fault, fence};
use crate::word::Standing;

impl Line {
    /// Ends every wait, and every one to come.
    pub fn abort(&self) {
        self.aborted.store(1, Ordering::Release);
        // SeqCst: see the module.
        fence(Ordering::SeqCst);
        for (id, standing) in self.standing(0) {
            self.end(id, standing);
        }
    }

    /// Ends the wait at place `id`.
    fn end(&self, id: u32, mut standing: Standing) {
        loop {
            if let Standing::Entitled { task, .. } = standing {
                // It has a claim, which it gives up itself, for it looks now, and finds
                // that it is to end.
                drop(self.wake(id, task));
                return;
            }
            let (ticket, task, called) = match standing {
                Standing::Waiting { ticket, task } => (ticket, task, None),
                Standing::Called {
                    ticket,
                    task,
                    class,
                } => (ticket, task, ClassId::new(class.into())),
                _ => return,
            };
            if self.place(id).advance(standing, Standing::Aborted) {
                if let Some(class) = called {
                    // Nobody is left whom it might be called to instead.
                    self.service(class).note_settled(task);
                }
                drop(self.wake(id, task));
                return;
            }
            // It may have been called, or have gone to sleep again; another wait there
            // will see the abort on its own.
            standing = self.place(id).standing();
            if standing.ticket() != Some(ticket) {
                return;
            }
        }
    }

    /// Makes everybody who waits look again at what could serve them, which the
    /// caller has changed.
    pub fn rouse(&self) {
        // SeqCst: see the module.
        fence(Ordering::SeqCst);
        for (id, standing) in self.standing(0) {
            if let Standing::Waiting { task, .. }
            | Standing::Called { task, .. }
            | Standing::Entitled { task, .. } = standing
            {
                fault!(NoRouse, (), drop(self.wake(id, task)));
            }
        }
    }
}
