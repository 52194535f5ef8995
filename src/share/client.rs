//! A client's mapping of a server's buffers.
//!
//! Owns: its segments, and what is known of their server. Uses: `ask` for what a server
//! says, `segment`, `layout`, `handle`, `status`, `append`, `sys`. Used by: callers.

use super::ask::{LIMIT, Server};
use super::error::ShareError;
use super::handle::{Handle, Handle64, Naming};
use super::layout::{Export, Layout};
use super::name::Name;
use super::peers::Peers;
use super::segment::{MAX_SEGMENTS, New, Segment, View, new_segments, of_one_pool, splits_alike};
use super::status::Seen;
use super::wire::CONFIGURATION;
use crate::append::Append;
use crate::sync::{AtomicU64, Ordering};
use crate::sys::robust::Watched;
use std::fmt;
use std::time::Duration;

/// A server's buffers, as another process sees them.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use hugepool::share::{Access, Client, Export, Handle, Layout};
///
/// // The server. Descriptors and numbers go to the client over a channel of the
/// // program's own.
/// let pool = hugepool::Pool::builder().reserve(4096, 4096, 4).shared(Access::Read).build()?;
/// let start = pool.allocate_raw(4096, 4096)?;
/// // SAFETY: allocated just now with this size.
/// unsafe { start.as_ptr().write_bytes(7, 4096) };
/// let number = pool.handle(start.as_ptr())?.raw();
///
/// // The client.
/// let client = Client::new();
/// for export in pool.exports()? {
///     let layout = Layout::from_bytes(&export.layout.to_bytes())?;
///     client.attach(Export { layout, ..export })?;
/// }
/// let view = client.map(Handle::from_raw(number))?;
/// assert_eq!(view.size, 4096);
/// // SAFETY: mapped as long as `client` lives, and nobody writes it now.
/// assert_eq!(unsafe { view.start.as_ptr().read() }, 7);
///
/// // SAFETY: allocated above, and freed once.
/// unsafe { pool.free_raw(start.as_ptr(), 4096)? };
/// assert!(client.map(Handle::from_raw(number)).is_err()); // stale
/// # Ok(()) }
/// ```
#[must_use = "a client that is dropped unmaps what it has opened"]
pub struct Client {
    /// The last one first. All are one pool's, which splits its handles in one way. Of two
    /// that have a slot in common the last one has the greater number: the server has
    /// trimmed the other, whose slots are the later one's now.
    segments: Append<Segment>,
    /// Every segment that the server had with a number below this was added, or trimmed
    /// before it could be. Written after they were added (Release), read before the server
    /// is asked (Acquire): who does not ask for a segment sees it.
    asked: AtomicU64,
    /// One, or none.
    server: Append<Server>,
    /// Whether the pool is still there: one, once there are segments.
    status: Append<Seen>,
    /// The words of those who served the name, the last one first: whether they were
    /// killed.
    words: Append<Watched>,
}

impl Default for Client {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let segments = self.segments.iter().count();
        f.debug_struct("Client")
            .field("segments", &segments)
            .finish()
    }
}

impl Client {
    /// A client that has opened nothing.
    pub fn new() -> Self {
        Self {
            segments: Append::default(),
            asked: AtomicU64::new(0),
            server: Append::default(),
            status: Append::default(),
            words: Append::default(),
        }
    }

    /// A client of the pool, or the set, that a server has published under `name`.
    ///
    /// # Errors
    ///
    /// As [`open_in_secondary`](Self::open_in_secondary).
    pub fn open<'a>(name: impl Into<Name<'a>>, peers: &Peers) -> Result<Self, ShareError> {
        let client = Self::new();
        client.open_in_secondary(name, peers)?;
        Ok(client)
    }

    /// OpenInSecondary: maps all buffers that a server has published under `name` by now.
    /// The server must be one of `peers`. Waits for it, 10 s at most.
    ///
    /// Starts a thread, which asks the server and ends: what a server sends is in no table of
    /// descriptors but that thread's, and can keep nobody else waiting.
    ///
    /// # Errors
    ///
    /// [`ShareError::NoName`]; [`ShareError::NotPublished`] if nobody has that name;
    /// [`ShareError::AlreadyOpen`] if the client has opened something before;
    /// [`ShareError::NotConfigured`] if the set has no buffers yet;
    /// [`ShareError::Aborted`] if it was aborted, [`ShareError::Closed`] if it was closed;
    /// [`ShareError::Peer`], [`ShareError::Unmapped`] if the server is
    /// none of `peers`, [`ShareError::Refused`] if this process is none of the server's;
    /// [`ShareError::TimedOut`], [`ShareError::HungUp`]; those of
    /// [`attach`](Self::attach) if it sends what is no segment; [`ShareError::System`],
    /// before Linux 5.9, too.
    pub fn open_in_secondary<'a>(
        &self,
        name: impl Into<Name<'a>>,
        peers: &Peers,
    ) -> Result<(), ShareError> {
        self.open_in_secondary_timeout(name, peers, LIMIT)
    }

    /// As [`open_in_secondary`](Self::open_in_secondary), and waits `limit` at most, whatever
    /// the server does.
    ///
    /// # Errors
    ///
    /// As [`open_in_secondary`](Self::open_in_secondary).
    pub fn open_in_secondary_timeout<'a>(
        &self,
        name: impl Into<Name<'a>>,
        peers: &Peers,
        limit: Duration,
    ) -> Result<(), ShareError> {
        if self.is_open() {
            return Err(ShareError::AlreadyOpen);
        }
        let server = Server::new(name.into(), peers)?;
        let (word, segments) = server.talk(limit, |connection| {
            let word = connection.word()?;
            Ok((word, new_segments(connection, 0, 0, MAX_SEGMENTS)?))
        })?;
        // One of several threads gets here. Nothing of what follows can fail but for another
        // thread that is as far.
        self.server.push(server, |_| Err(ShareError::AlreadyOpen))?;
        self.watch(word);
        (segments.into_iter()).try_for_each(|new| self.add_or_have(new).map(drop))
    }

    fn is_open(&self) -> bool {
        self.server.iter().next().is_some() || self.segments.iter().next().is_some()
    }

    /// Heeds the word of who serves the name, unless one that is held is known.
    fn watch(&self, word: Option<Watched>) {
        if let Some(word) = word {
            let _ = self.words.push(word, |known| match known.is_given_up() {
                true => Ok(()),
                false => Err(()),
            });
        }
    }

    /// Maps what the server has added. Gives how many segments that is; 0 for a client
    /// that was not opened by name. Waits as [`open`](Self::open) does. Of several
    /// threads that do this at once, each gives what it added itself.
    ///
    /// # Errors
    ///
    /// As [`open_in_secondary`](Self::open_in_secondary); [`ShareError::NotOpen`];
    /// [`ShareError::OtherPool`] if the name is another pool's by now, or that of a set that
    /// has none; [`ShareError::ServerDied`] if it is nobody's, and who had it was killed.
    pub fn refresh(&self) -> Result<usize, ShareError> {
        self.refresh_timeout(LIMIT)
    }

    /// As [`refresh`](Self::refresh), and waits `limit` at most, whatever the server does.
    ///
    /// # Errors
    ///
    /// As [`refresh`](Self::refresh).
    pub fn refresh_timeout(&self, limit: Duration) -> Result<usize, ShareError> {
        if !self.is_open() {
            return Err(ShareError::NotOpen);
        }
        let Some(server) = self.server.iter().next() else {
            return self.check().map(|()| 0);
        };
        let first = self.segments.iter().next();
        let (number, pool) = (
            self.first_unknown(),
            first.map_or(0, |segment| segment.layout.pool()),
        );
        let room = MAX_SEGMENTS.saturating_sub(self.segments.iter().count());
        let asked = server.talk(limit, move |connection| {
            let word = connection.word()?;
            Ok((word, new_segments(connection, number, pool, room)?))
        });
        let (word, segments) = asked.map_err(|error| match error {
            // A set without buffers, at a name that had some.
            ShareError::NotConfigured if pool != 0 => ShareError::OtherPool {
                given: 0,
                needed: pool,
            },
            // The server, or its set, is not there any more, and how it ended says more.
            ShareError::NotPublished | ShareError::Closed => self.check().err().unwrap_or(error),
            other => other,
        })?;
        self.watch(word);
        let mut added = 0;
        // Another thread may have asked as well: some of these may be known.
        for new in segments {
            added += usize::from(self.add_or_have(new)?);
        }
        self.check()?;
        Ok(added)
    }

    /// What the set that it has opened by name is configured with.
    pub(crate) fn ask_configuration(
        &self,
        limit: Duration,
    ) -> Result<[u32; CONFIGURATION], ShareError> {
        let server = self.server.iter().next();
        let asked = server.ok_or(ShareError::NotOpen)?.configuration(limit);
        self.check()?;
        asked
    }

    /// What the set of that name is configured with, once it is.
    pub(crate) fn ask_configuration_of(
        name: Name<'_>,
        peers: &Peers,
        limit: Duration,
    ) -> Result<[u32; CONFIGURATION], ShareError> {
        Server::new(name, peers)?.configuration(limit)
    }

    /// Whether the pool is still there, as far as its server, or the kernel, has said.
    /// Wait-free: two plain loads.
    #[inline]
    pub(super) fn check(&self) -> Result<(), ShareError> {
        if let Some(status) = self.status.iter().next() {
            status.check()?;
        }
        match self.words.iter().next() {
            Some(word) if word.has_died() => Err(ShareError::ServerDied),
            // Whoever has the name by now is to be asked.
            Some(word) if word.is_given_up() => Err(ShareError::NotPublished),
            _ => Ok(()),
        }
    }

    /// Close: unmaps everything. The client can open something again.
    ///
    /// # Errors
    ///
    /// [`ShareError::NotOpen`].
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use hugepool::share::{Access, Client, Peers};
    /// # let builder = hugepool::Pool::builder().reserve(4096, 4096, 4).shared(Access::Read);
    /// # let pool = builder.build()?;
    /// # let name = format!("example of close {}", std::process::id());
    /// # let publication = pool.publish(&name, Peers::default())?;
    /// let mut client = Client::open(&name, &Peers::default())?;
    /// client.close()?;
    /// client.open_in_secondary(&name, &Peers::default())?;
    /// # Ok(()) }
    /// ```
    pub fn close(&mut self) -> Result<(), ShareError> {
        if !self.is_open() {
            return Err(ShareError::NotOpen);
        }
        *self = Self::new();
        Ok(())
    }

    /// Adds a segment that the server sent after those with lower numbers; false if it is
    /// there already: another thread was faster.
    fn add_or_have(&self, new: New) -> Result<bool, ShareError> {
        let layout = new.0.layout;
        let added = !self.has(&layout)
            && match self.add(new) {
                Ok(()) => true,
                Err(ShareError::Slots { .. }) if self.has(&layout) => false,
                Err(error) => return Err(error),
            };
        // Release: see the field.
        let next = layout.number().saturating_add(1);
        self.asked.fetch_max(next, Ordering::Release);
        Ok(added)
    }

    /// The number from which on segments may be unknown.
    fn first_unknown(&self) -> u64 {
        // Acquire: see the field.
        self.asked.load(Ordering::Acquire)
    }

    /// Whether a segment is there, or a later one that has its slots.
    fn has(&self, layout: &Layout) -> bool {
        let mut known = self.segments.iter();
        known.any(|segment| segment.layout.replaces(layout))
    }

    /// Maps a segment. Believes nothing that the descriptors do not bear out: the sizes
    /// must be those that the layout says, and sealed.
    ///
    /// # Errors
    ///
    /// [`ShareError::Size`], [`ShareError::NotSealed`], [`ShareError::OtherPool`],
    /// [`ShareError::Slots`] if the segment, or a later one that has its slots, is there
    /// already; [`ShareError::System`]. Segments that the server has trimmed stay mapped
    /// until the client is dropped; of handles, the latest segment's counts.
    pub fn attach(&self, export: Export) -> Result<(), ShareError> {
        self.add(Segment::map(export)?)
    }

    fn add(&self, (segment, status): New) -> Result<(), ShareError> {
        let layout = segment.layout;
        self.segments.push(segment, |old| {
            of_one_pool(&layout, &old.layout)?;
            splits_alike(&layout, &old.layout)?;
            match old.layout.replaces(&layout) {
                true => Err(ShareError::Slots {
                    first: layout.slots().start,
                    count: layout.count() as u32,
                }),
                false => Ok(()),
            }
        })?;
        // All segments are one pool's: the first one's says it for all.
        let _ = self.status.push(status, |_| Err(()));
        Ok(())
    }

    /// MapBufferHandle: the buffer that `handle` names, in this process. Wait-free.
    ///
    /// # Errors
    ///
    /// [`ShareError::BadHandle`] if it names none, or one that was freed; or one that the
    /// server added since the last [`refresh`](Self::refresh). [`ShareError::NotOpen`].
    /// [`ShareError::Aborted`], [`ShareError::Closed`], [`ShareError::ServerDied`] if that is
    /// how the server's set, or pool, has ended; [`ShareError::NotPublished`] if the server
    /// has given up the name, until [`refresh`](Self::refresh) finds it there again. Views
    /// from before stay mapped.
    pub fn map(&self, handle: Handle) -> Result<View, ShareError> {
        self.check()?;
        let found = self.named(handle);
        found.ok_or_else(|| self.unless_open(ShareError::BadHandle { handle }))
    }

    /// As [`map`](Self::map), of a handle with 64 bits.
    ///
    /// # Errors
    ///
    /// As [`map`](Self::map), with [`ShareError::BadHandle64`].
    pub fn map64(&self, handle: Handle64) -> Result<View, ShareError> {
        self.check()?;
        let found = self.named(handle);
        found.ok_or_else(|| self.unless_open(ShareError::BadHandle64 { handle }))
    }

    #[inline]
    fn named<H: Naming>(&self, handle: H) -> Option<View> {
        let split = self.segments.iter().next()?.layout.split();
        let slot = handle.slot(split)?;
        let found = self.segments.iter().find_map(|segment| {
            let k = slot.checked_sub(segment.layout.slots().start)? as usize;
            (k < segment.layout.count()).then(|| segment.view(k, handle))
        });
        // Of those that have the slot, the last one alone: see the field.
        found.flatten()
    }

    /// GetBufferHandle: the handle of the buffer that starts at `start` in this process.
    /// Wait-free.
    ///
    /// # Errors
    ///
    /// [`ShareError::NoBuffer`] if no buffer that is out starts there.
    /// [`ShareError::NotOpen`]; as [`map`](Self::map) if the server's has ended.
    pub fn handle(&self, start: *const u8) -> Result<Handle, ShareError> {
        self.name(start)
    }

    /// As [`handle`](Self::handle), with 64 bits, most of them generation.
    ///
    /// # Errors
    ///
    /// As [`handle`](Self::handle).
    pub fn handle64(&self, start: *const u8) -> Result<Handle64, ShareError> {
        self.name(start)
    }

    #[inline]
    fn name<H: Naming>(&self, start: *const u8) -> Result<H, ShareError> {
        self.check()?;
        let address = start.addr();
        let found = self.segments.iter().find_map(|segment| {
            let base = segment.memory.base().addr().get();
            let k = segment.layout.at(address.checked_sub(base)?)?;
            H::made_of(segment.state(k), segment.layout.split())
        });
        found.ok_or_else(|| self.unless_open(ShareError::NoBuffer { address }))
    }

    #[cold]
    fn unless_open(&self, error: ShareError) -> ShareError {
        match self.is_open() {
            true => error,
            false => ShareError::NotOpen,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::publication::{Given, publish};
    use super::super::wire::Question;
    use super::*;
    use crate::arena::Access;
    use crate::pool::Pool;

    #[test]
    fn no_more_segments_are_mapped_than_there_is_room_for() {
        let builder = Pool::builder().reserve(4096, 4096, 1);
        let pool = builder.shared(Access::Read).build().unwrap();
        for _ in 0..3 {
            pool.request(4096, 4096, 1).unwrap();
        }
        let name = format!("room {}", std::process::id());
        let _publication = pool.publish(&name, Peers::default()).unwrap();
        let server = Server::new((&name).into(), &Peers::default()).unwrap();
        let mapped = |room| {
            let asked = server.talk(LIMIT, move |connection| {
                Ok(new_segments(connection, 0, 0, room)?.len())
            });
            asked.map_err(|error| error.to_string())
        };
        let limit = MAX_SEGMENTS;
        let refused = ShareError::TooManySegments { limit }.to_string();
        assert_eq!([mapped(3), mapped(4)], [Err(refused), Ok(4)]);
    }

    #[test]
    fn a_server_of_two_pools_opens_nothing() {
        let pools = [2, 1].map(|count| {
            let builder = Pool::builder().reserve(4096, 4096, count);
            builder.shared(Access::Read).build().unwrap()
        });
        // One of one pool, and then, with slots behind it, one of another.
        pools[1].request(4096, 4096, 1).unwrap();
        pools[1].request(4096, 4096, 1).unwrap();
        let name = format!("two pools {}", std::process::id());
        let sent = pools.clone();
        let _publication = publish((&name).into(), Peers::default(), move |question, give| {
            let Question::Segment { number, pool } = question else {
                return Err(ShareError::NoSet);
            };
            let given: &mut dyn FnMut(Given<'_>) = give;
            sent[usize::from(number > 1)].give_segment(number, pool, given)
        })
        .unwrap();
        let client = Client::new();
        let refused = client.open_in_secondary(&name, &Peers::default());
        let other = matches!(refused, Err(ShareError::OtherPool { .. }));
        assert!(other, "{refused:?}");
        assert_eq!(client.refresh(), Err(ShareError::NotOpen));
        for export in pools[0].exports().unwrap() {
            client.attach(export).unwrap();
        }
    }
}
