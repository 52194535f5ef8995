//! The waking of somebody who waits.
//!
//! Owns: the moment at which he is woken. Uses: `sync`, the place he stands at. Used by: the
//! line, and `lists`, which says when.

use super::Place;
#[cfg(hugepool_loom)]
use crate::sync::announces_nothing;
use crate::sync::{fault, shield};

/// Somebody to be woken, and woken when this is dropped. A task is woken by somebody
/// else's code, which may use the pool: nothing may be announced then.
#[must_use = "dropping it runs somebody else's code"]
pub struct Wake<'a> {
    pub(super) place: &'a Place,
    pub(super) task: bool,
}

impl Drop for Wake<'_> {
    fn drop(&mut self) {
        // loom's report unwinds through here; a second panic would abort.
        if cfg!(hugepool_loom) && std::thread::panicking() || fault!(NoWake, true, false) {
            return;
        }
        if !self.task {
            self.place.bell.ring();
            return;
        }
        #[cfg(hugepool_loom)]
        assert!(
            announces_nothing(),
            "a waker is run by a thread that announces something"
        );
        // Whoever stands there by now, if that is somebody else, looks in vain.
        if let Some(waker) = self.place.waker.take() {
            shield(move || waker.wake());
        }
    }
}
