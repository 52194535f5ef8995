//! A client's mapping of a server's buffers.
//!
//! Owns: the mapped segments. Uses: `layout`, `handle`, `name`, `append`,
//! `sys`. Used by:
//! callers.

use super::error::ShareError;
use super::handle::{FIRST_SLOT, Handle};
use super::layout::{Export, Layout};
use super::name::{Peers, Server};
use crate::append::Append;
use crate::class::GRANULE;
use crate::record::State;
use crate::sys::limits::base_page;
use crate::sys::map::Mapping;
use crate::sys::memfd;
use std::fmt;
use std::os::fd::{AsFd, BorrowedFd};
use std::ptr::NonNull;

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
pub struct Client {
    /// The last one first. No two have a slot in common, and all are one pool's.
    segments: Append<Segment>,
    /// One, or none.
    server: Append<Server>,
}

struct Segment {
    layout: Layout,
    memory: Mapping,
    states: Mapping,
}

/// A buffer in a client's address space.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct View {
    /// Its first byte, aligned as in the server. Mapped as long as the client lives; the server may give the
    /// buffer to somebody else once it is freed.
    pub start: NonNull<u8>,
    /// How many bytes it was allocated for.
    pub size: usize,
    /// How many bytes right before it are the client's.
    pub prefix: usize,
    /// Whether it, and what is before it, may be written.
    pub writable: bool,
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
    #[must_use]
    pub fn new() -> Self {
        Self {
            segments: Append::default(),
            server: Append::default(),
        }
    }

    /// A client of the pool, or the set, that a server has published under `name`.
    ///
    /// # Errors
    ///
    /// As [`open_in_secondary`](Self::open_in_secondary).
    pub fn open(name: &str, peers: &Peers) -> Result<Self, ShareError> {
        let client = Self::new();
        client.open_in_secondary(name, peers)?;
        Ok(client)
    }

    /// OpenInSecondary: maps all buffers that a server has published under `name` by now.
    /// The server must be one of `peers`. Waits for its answers, 10 s for each at most.
    ///
    /// # Errors
    ///
    /// [`ShareError::Name`]; [`ShareError::NotPublished`] if nobody has that name;
    /// [`ShareError::AlreadyOpen`] if the client has opened something before;
    /// [`ShareError::NotConfigured`] if the set has no buffers yet, or was closed;
    /// [`ShareError::Aborted`] if it was aborted; [`ShareError::Peer`] if the server is
    /// none of `peers`, [`ShareError::Refused`] if this process is none of the server's;
    /// [`ShareError::TimedOut`], [`ShareError::HungUp`]; those of
    /// [`attach`](Self::attach) if it sends what is no segment.
    pub fn open_in_secondary(&self, name: &str, peers: &Peers) -> Result<(), ShareError> {
        if self.is_open() {
            return Err(ShareError::AlreadyOpen);
        }
        let server = Server::new(name, peers)?;
        let mut segments: Vec<Segment> = Vec::new();
        server.segments(FIRST_SLOT, |export| {
            let segment = Segment::map(export)?;
            if let Some(first) = segments.first() {
                of_one_pool(&segment.layout, &first.layout)?;
            }
            segments.push(segment);
            Ok(())
        })?;
        // One of several threads gets here. Nothing of what follows can fail but for another
        // thread that is as far.
        self.server.push(server, |_| Err(ShareError::AlreadyOpen))?;
        segments.into_iter().try_for_each(|segment| {
            let layout = segment.layout;
            self.add_or_have(segment, &layout).map(drop)
        })
    }

    fn is_open(&self) -> bool {
        self.server.iter().next().is_some() || self.segments.iter().next().is_some()
    }

    /// Maps what the server has added. Gives how many segments that is; 0 for a client
    /// that was not opened by name. Waits as [`open`](Self::open) does. Of several
    /// threads that do this at once, each gives what it added itself.
    ///
    /// # Errors
    ///
    /// As [`open_in_secondary`](Self::open_in_secondary); [`ShareError::NotOpen`];
    /// [`ShareError::OtherPool`] if the name is another pool's by now.
    pub fn refresh(&self) -> Result<usize, ShareError> {
        if !self.is_open() {
            return Err(ShareError::NotOpen);
        }
        let Some(server) = self.server.iter().next() else {
            return Ok(0);
        };
        let mut added = 0;
        // Who took higher slots may have been the first to get there: some of these may
        // be known.
        server.segments(self.first_unknown(), |export| {
            let layout = export.layout;
            if !self.has(&layout) && self.add_or_have(Segment::map(export)?, &layout)? {
                added += 1;
            }
            Ok(())
        })?;
        Ok(added)
    }

    /// Adds a segment; false if another thread was faster.
    fn add_or_have(&self, segment: Segment, layout: &Layout) -> Result<bool, ShareError> {
        match self.add(segment) {
            Ok(()) => Ok(true),
            Err(ShareError::Slots { .. }) if self.has(layout) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// The first slot that no segment has.
    fn first_unknown(&self) -> u32 {
        let begins = |slot: u32| {
            let mut known = self.segments.iter().map(|segment| segment.layout.slots());
            known.find(|slots| slots.start == slot)
        };
        std::iter::successors(begins(FIRST_SLOT), |slots| begins(slots.end))
            .last()
            .map_or(FIRST_SLOT, |slots| slots.end)
    }

    fn has(&self, layout: &Layout) -> bool {
        self.segments
            .iter()
            .any(|segment| segment.layout == *layout)
    }

    /// Maps a segment. Believes nothing that the descriptors do not bear out: the sizes
    /// must be those that the layout says, and sealed.
    ///
    /// # Errors
    ///
    /// [`ShareError::Size`], [`ShareError::NotSealed`], [`ShareError::OtherPool`],
    /// [`ShareError::Slots`] if the segment, or one that says it has its buffers, is there
    /// already; [`ShareError::System`].
    pub fn attach(&self, export: Export) -> Result<(), ShareError> {
        self.add(Segment::map(export)?)
    }

    fn add(&self, segment: Segment) -> Result<(), ShareError> {
        let layout = segment.layout;
        let new = layout.slots();
        self.segments.push(segment, |old| {
            of_one_pool(&layout, &old.layout)?;
            let slots = old.layout.slots();
            if slots.start < new.end && new.start < slots.end {
                return Err(ShareError::Slots {
                    first: new.start,
                    count: new.end - new.start,
                });
            }
            Ok(())
        })
    }

    /// MapBufferHandle: the buffer that `handle` names, in this process. Wait-free.
    ///
    /// # Errors
    ///
    /// [`ShareError::BadHandle`] if it names none, or one that was freed; or one that the
    /// server added since the last [`refresh`](Self::refresh). [`ShareError::NotOpen`].
    pub fn map(&self, handle: Handle) -> Result<View, ShareError> {
        let found = self.segments.iter().find_map(|segment| {
            let k = handle.slot().checked_sub(segment.layout.slots().start)? as usize;
            (k < segment.layout.count()).then(|| segment.view(k, handle))
        });
        (found.flatten()).ok_or_else(|| self.unless_open(ShareError::BadHandle { handle }))
    }

    /// GetBufferHandle: the handle of the buffer that starts at `start` in this process.
    /// Wait-free.
    ///
    /// # Errors
    ///
    /// [`ShareError::NoBuffer`] if no buffer that is out starts there.
    /// [`ShareError::NotOpen`].
    pub fn handle(&self, start: *const u8) -> Result<Handle, ShareError> {
        let address = start.addr();
        let found = self.segments.iter().find_map(|segment| {
            let base = segment.memory.base().addr().get();
            let k = segment.layout.at(address.checked_sub(base)?)?;
            Handle::of(segment.layout.slots().start + k as u32, segment.state(k))
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

impl Segment {
    /// Maps what `export` says.
    fn map(export: Export) -> Result<Self, ShareError> {
        let layout = export.layout;
        let states = layout.state_bytes();
        // As aligned as huge pages, and the buffers, must be.
        let huge = match layout.bytes().is_multiple_of(1 << 30) {
            true => 1 << 30,
            false => GRANULE,
        };
        let memory = map(
            export.memory.as_fd(),
            layout.bytes(),
            layout.alignment().max(huge),
            layout.is_writable(),
        )?;
        let page = base_page();
        let states = map(
            export.states.as_fd(),
            states.next_multiple_of(page),
            page,
            false,
        )?;
        Ok(Self {
            layout,
            memory,
            states,
        })
    }

    /// The state of buffer `k`, of which there is one.
    fn state(&self, k: usize) -> &State {
        assert!(k < self.layout.count());
        // SAFETY: the states of as many buffers as the layout has are mapped, aligned to
        // a page, and made of integer atomics.
        unsafe { self.states.base().cast::<State>().add(k).as_ref() }
    }

    /// Buffer `k`, if that is what `handle` names.
    fn view(&self, k: usize, handle: Handle) -> Option<View> {
        // Nobody is believed: the server may have written anything there.
        let size = handle.size(self.state(k))? as usize;
        if size > self.layout.size() {
            return None;
        }
        // SAFETY: as many cells as the layout has are within its bytes, all of which are
        // mapped.
        let start = unsafe { self.memory.base().add(self.layout.offset(k)) };
        Some(View {
            start,
            size,
            prefix: self.layout.prefix(),
            writable: self.layout.is_writable(),
        })
    }
}

/// Refuses a segment of another pool than one that is there.
fn of_one_pool(new: &Layout, old: &Layout) -> Result<(), ShareError> {
    let (given, needed) = (new.pool(), old.pool());
    match given == needed {
        true => Ok(()),
        false => Err(ShareError::OtherPool { given, needed }),
    }
}

/// Maps `needed` bytes, which must be all there is, and stay, at a multiple of
/// `alignment`.
fn map(
    fd: BorrowedFd<'_>,
    needed: usize,
    alignment: usize,
    writable: bool,
) -> Result<Mapping, ShareError> {
    // Sealed first: what is not could change after a look.
    if !memfd::is_size_sealed(fd) {
        return Err(ShareError::NotSealed);
    }
    let given = memfd::len(fd).map_err(ShareError::system("fstat"))?;
    if given != needed {
        return Err(ShareError::Size { given, needed });
    }
    Mapping::of(fd, needed, alignment, writable).map_err(ShareError::system("mmap"))
}

#[cfg(test)]
mod tests {
    use super::super::name::publish;
    use super::*;
    use crate::arena::Access;
    use crate::pool::Pool;

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
        let export = move |slot| sent[usize::from(slot > FIRST_SLOT)].export_from(slot);
        let _publication = publish(&name, Peers::default(), export).unwrap();
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
