//! An event for every place in the line that a task ever stood at.
//!
//! Owns: the events. Uses: `sync`, event-listener. Used by: the line.
//!
//! They come into being by the group, when a task first stands at a place of the
//! group, and stay as long as the line: a thread that rings late rings for the
//! next to stand there, who then merely looks up.

use super::MAX_WAITERS;
use crate::sync::{AtomicPtr, Ordering};
use event_listener::{Event, EventListener};
use std::ptr::null_mut;

const GROUP: usize = 256;
const GROUPS: usize = MAX_WAITERS / GROUP + 1;

type Group = [Event; GROUP];

/// The events of all places.
pub struct Events {
    /// Null until somebody needs the group; then it never changes. Installed by
    /// compare-and-swap with Release, read with Acquire.
    groups: Box<[AtomicPtr<Group>; GROUPS]>,
}

impl Default for Events {
    fn default() -> Self {
        Self {
            groups: Box::new(std::array::from_fn(|_| AtomicPtr::new(null_mut()))),
        }
    }
}

impl Events {
    fn find(&self, id: u32) -> Option<&Event> {
        let group = self.groups.get(id as usize / GROUP)?;
        // SAFETY: not null, it is a leaked box that stays until the drop.
        let group = unsafe { group.load(Ordering::Acquire).as_ref() }?;
        group.get(id as usize % GROUP)
    }

    fn make(&self, id: u32) {
        let Some(slot) = self.groups.get(id as usize / GROUP) else {
            return;
        };
        let group: Group = std::array::from_fn(|_| Event::new());
        let made = Box::into_raw(Box::new(group));
        let installed =
            slot.compare_exchange(null_mut(), made, Ordering::Release, Ordering::Relaxed);
        if installed.is_err() {
            // SAFETY: made above, and nobody else has seen it.
            drop(unsafe { Box::from_raw(made) });
        }
    }

    /// Listens to the event of place `id`.
    pub fn listen(&self, id: u32) -> Option<EventListener> {
        if self.find(id).is_none() {
            self.make(id);
        }
        self.find(id).map(Event::listen)
    }

    /// Wakes the task that listens at place `id`, if any.
    pub fn ring(&self, id: u32) {
        if let Some(event) = self.find(id) {
            event.notify(usize::MAX);
        }
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        for group in &mut *self.groups {
            let group = *group.get_mut();
            if !group.is_null() {
                // SAFETY: a leaked box, and nobody else uses the line any more.
                drop(unsafe { Box::from_raw(group) });
            }
        }
    }
}
