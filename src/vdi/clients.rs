//! What a set gives its clients.
//!
//! Owns: the calls that let other processes have the buffers, and a client's for what the
//! set is configured with. Uses: `set`, `config`, `share`. Used by: callers.

use super::config::Config;
use super::set::Set;
use crate::buffer::Volatile;
use crate::pool::Pool;
use crate::share::{
    CONFIGURATION, Client, Export, Give, Given, Handle, Handle64, Name, Peers, Publication,
    Question, ShareError, View, publish,
};
use crate::sync::Arc;
use std::time::Duration;

impl Set {
    /// What clients need to map the buffers there are now: [`Pool::exports`].
    ///
    /// # Errors
    ///
    /// As [`Pool::exports`]; [`ShareError::NotConfigured`] before the buffers are mapped,
    /// [`ShareError::Aborted`], [`ShareError::Closed`], [`ShareError::Forked`].
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
    pub fn publish<'a>(
        self: &Arc<Self>,
        name: impl Into<Name<'a>>,
        peers: Peers,
    ) -> Result<Publication, ShareError> {
        if self.is_inherited() {
            return Err(ShareError::Forked);
        }
        if !self.builder.is_shared() {
            return Err(ShareError::NotShared);
        }
        let set = Arc::downgrade(self);
        publish(name.into(), peers, move |question, give| {
            let set = set.upgrade().ok_or(ShareError::Closed)?;
            match question {
                Question::Segment { number, pool } => set.give_segment(number, pool, give),
                Question::Configuration => {
                    give(Given::Configuration(set.configured()?));
                    Ok(())
                }
                // The serving thread answers that.
                Question::Server => Err(ShareError::NoSet),
            }
        })
    }

    /// The first segment whose number is `number` or greater, for a client that has those of
    /// `pool`, or of none (0).
    fn give_segment(&self, number: u64, pool: u64, give: Give<'_>) -> Result<(), ShareError> {
        // Whose it is comes first: how another set stands is not what such a client asks.
        let given = self.area_pool().map_or(0, Pool::sharing_id);
        if pool != 0 && pool != given {
            return Err(ShareError::OtherPool {
                given,
                needed: pool,
            });
        }
        self.shared()?.give_segment(number, pool, give)
    }

    /// What the set is configured with, once it is.
    fn configured(&self) -> Result<[u32; CONFIGURATION], ShareError> {
        self.shared()?;
        let config = self.configuration();
        Ok(config.map_err(|_| ShareError::NotConfigured)?.words())
    }

    /// The handle by which clients know the buffer `start`: [`Pool::handle`].
    ///
    /// # Errors
    ///
    /// As [`Pool::handle`]; [`ShareError::NotConfigured`] before the buffers are mapped,
    /// [`ShareError::Closed`], [`ShareError::Forked`].
    pub fn handle(&self, start: *const u8) -> Result<Handle, ShareError> {
        self.named()?.handle(start)
    }

    /// The buffer that `handle` names, which a client may have sent: [`Pool::view`].
    ///
    /// # Errors
    ///
    /// As [`Pool::view`]; [`ShareError::NotConfigured`] before the buffers are mapped,
    /// [`ShareError::Closed`], [`ShareError::Forked`].
    pub fn view(&self, handle: Handle) -> Result<View, ShareError> {
        self.named()?.view(handle)
    }

    /// As [`handle`](Self::handle), with 64 bits: [`Pool::handle64`].
    ///
    /// # Errors
    ///
    /// As [`handle`](Self::handle).
    pub fn handle64(&self, start: *const u8) -> Result<Handle64, ShareError> {
        self.named()?.handle64(start)
    }

    /// As [`view`](Self::view), of a handle with 64 bits: [`Pool::view64`].
    ///
    /// # Errors
    ///
    /// As [`view`](Self::view).
    pub fn view64(&self, handle: Handle64) -> Result<View, ShareError> {
        self.named()?.view64(handle)
    }

    /// After how many returns of a buffer a handle of 32 bits comes again:
    /// [`Pool::handle_reuses`].
    ///
    /// # Errors
    ///
    /// As [`handle`](Self::handle).
    pub fn handle_reuses(&self) -> Result<u64, ShareError> {
        self.named()?.handle_reuses()
    }

    /// The pool, for handles: what is out can be named until the set is closed.
    fn named(&self) -> Result<&Pool<Volatile>, ShareError> {
        match self.shared() {
            Err(ShareError::Aborted) => self.pool().ok_or(ShareError::Aborted),
            other => other,
        }
    }

    /// The pool, for clients.
    fn shared(&self) -> Result<&Pool<Volatile>, ShareError> {
        if self.is_inherited() {
            return Err(ShareError::Forked);
        }
        if self.was_aborted() {
            return Err(ShareError::Aborted);
        }
        match self.pool() {
            Some(pool) => Ok(pool),
            None if self.is_closed() => Err(ShareError::Closed),
            None => Err(ShareError::NotConfigured),
        }
    }
}

impl Client {
    /// GetConfiguration: what the set that this client has opened by name is configured
    /// with. Waits for the server, `limit` at most, whatever it does.
    ///
    /// # Errors
    ///
    /// As [`refresh`](Self::refresh); [`ShareError::NotOpen`], also for a client that was
    /// not opened by name; [`ShareError::NoSet`] if it has opened a pool.
    pub fn configuration(&self, limit: Duration) -> Result<Config, ShareError> {
        self.ask_configuration(limit).map(Config::from_words)
    }

    /// GetConfiguration: what the set of that name is configured with, once it is: the
    /// server must have published it, and ends its configuration within `limit`. A client can
    /// open it then.
    ///
    /// # Errors
    ///
    /// As [`open_in_secondary`](Self::open_in_secondary); [`ShareError::TimedOut`] if it was
    /// not configured by then; [`ShareError::NoSet`] if the name is a pool's.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use hugepool::vdi::{Config, Parameters, Set};
    /// # use hugepool::share::{Client, Peers};
    /// # use std::time::Duration;
    /// # let set = std::sync::Arc::new(Set::new());
    /// # let name = format!("example of configuration {}", std::process::id());
    /// # let publication = set.publish(&name, Peers::default())?;
    /// # set.open(&Config { device_count: 2, ..Config::default() })?;
    /// # set.begin_configuration(&Parameters {
    /// #     features: 0, block_size: 4096, alignment: 0, max_transfer_size: 1 << 16, time_out: 0,
    /// # })?;
    /// # set.request_buffers(4096, 0, 1)?;
    /// # set.end_configuration()?;
    /// // In the client's process:
    /// let peers = Peers::default();
    /// let config = Client::configuration_of(&name, &peers, Duration::from_secs(60))?;
    /// let client = Client::open(&name, &peers)?;
    /// assert_eq!((config.device_count, config.block_size), (2, 4096));
    /// # Ok(()) }
    /// ```
    pub fn configuration_of<'a>(
        name: impl Into<Name<'a>>,
        peers: &Peers,
        limit: Duration,
    ) -> Result<Config, ShareError> {
        Self::ask_configuration_of(name.into(), peers, limit).map(Config::from_words)
    }
}
