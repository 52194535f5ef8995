//! What a set gives its clients.
//!
//! Owns: the calls that let other processes have the buffers. Uses: `set`, `share`. Used
//! by: callers.

use super::set::Set;
use super::state::State;
use crate::pool::Pool;
use crate::share::{Export, Handle, Peers, Publication, ShareError, View, publish};
use crate::sync::Arc;

impl Set {
    /// What clients need to map the buffers there are now: [`Pool::exports`].
    ///
    /// # Errors
    ///
    /// As [`Pool::exports`]; [`ShareError::NotConfigured`] before the buffers are mapped
    /// and after Close, [`ShareError::Aborted`], [`ShareError::Forked`].
    pub fn exports(&self) -> Result<Vec<Export>, ShareError> {
        self.shared()?.exports()
    }

    /// Lets clients open the set by name, as [`Pool::publish`] does a pool, in any state:
    /// before the buffers are mapped, and after Close, they are told so. The publication
    /// does not keep the set.
    ///
    /// # Errors
    ///
    /// As [`Pool::publish`]; [`ShareError::Forked`].
    pub fn publish(self: &Arc<Self>, name: &str, peers: Peers) -> Result<Publication, ShareError> {
        if self.is_inherited() {
            return Err(ShareError::Forked);
        }
        if !self.builder.is_shared() {
            return Err(ShareError::NotShared);
        }
        let set = Arc::downgrade(self);
        publish(name, peers, move |slot| {
            let set = set.upgrade().ok_or(ShareError::NotConfigured)?;
            set.shared()?.export_from(slot)
        })
    }

    /// The handle by which clients know the buffer `start`: [`Pool::handle`].
    ///
    /// # Errors
    ///
    /// As [`Pool::handle`]; [`ShareError::NotConfigured`] before the buffers are mapped
    /// and after Close, [`ShareError::Forked`].
    pub fn handle(&self, start: *const u8) -> Result<Handle, ShareError> {
        self.named()?.handle(start)
    }

    /// The buffer that `handle` names, which a client may have sent: [`Pool::view`].
    ///
    /// # Errors
    ///
    /// As [`Pool::view`]; [`ShareError::NotConfigured`] before the buffers are mapped
    /// and after Close, [`ShareError::Forked`].
    pub fn view(&self, handle: Handle) -> Result<View, ShareError> {
        self.named()?.view(handle)
    }

    /// The pool, for handles: what is out can be named until the set is closed.
    fn named(&self) -> Result<&Pool, ShareError> {
        match self.shared() {
            Err(ShareError::Aborted) => self.pool().ok_or(ShareError::NotConfigured),
            other => other,
        }
    }

    /// The pool, for clients.
    fn shared(&self) -> Result<&Pool, ShareError> {
        if self.is_inherited() {
            return Err(ShareError::Forked);
        }
        let state = self.state();
        if state == State::Aborted {
            return Err(ShareError::Aborted);
        }
        self.pool().ok_or(ShareError::NotConfigured)
    }
}
