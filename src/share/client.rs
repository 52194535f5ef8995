//! A client's mapping of a server's buffers.
//!
//! Owns: the mapped segments. Uses: `layout`, `handle`, `sys`, `snapshot`. Used by:
//! callers.

use super::error::ShareError;
use super::handle::Handle;
use super::layout::{Export, Layout};
use super::name::{Connection, Peers};
use crate::class::GRANULE;
use crate::record::State;
use crate::snapshot::Snapshot;
use crate::sync::Arc;
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
    segments: Snapshot<Vec<Arc<Segment>>>,
    server: Option<Connection>,
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
        let segments = self.segments.read(Vec::len);
        f.debug_struct("Client")
            .field("segments", &segments)
            .finish()
    }
}

impl Client {
    /// A client without buffers.
    #[must_use]
    pub fn new() -> Self {
        Self {
            segments: Snapshot::new(Vec::new()),
            server: None,
        }
    }

    /// A client of the pool that a server has published under `name`, with all the
    /// buffers that are there by now. Waits for the server's answers.
    ///
    /// # Errors
    ///
    /// [`ShareError::Name`]; [`ShareError::Peer`] if the server is none of `peers`;
    /// [`ShareError::System`] if there is nobody by that name, or it hangs up, as it does
    /// on clients that it does not want; those of [`attach`](Self::attach) if it sends
    /// what is no segment.
    pub fn open(name: &str, peers: &Peers) -> Result<Self, ShareError> {
        let client = Self {
            server: Some(Connection::open(name, peers)?),
            ..Self::new()
        };
        client.refresh()?;
        Ok(client)
    }

    /// Maps what the server has added. Gives how many segments that is; 0 for a client
    /// that was not opened by name. One thread at a time.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub fn refresh(&self) -> Result<usize, ShareError> {
        let Some(server) = &self.server else {
            return Ok(0);
        };
        let (mut slot, mut added) = (0, 0);
        while let Some(export) = server.ask(slot)? {
            let slots = export.layout.slots();
            if slots.start < slot {
                return Err(ShareError::Forged { what: "slots" });
            }
            slot = slots.end;
            let known = |segments: &Vec<Arc<Segment>>| {
                let same = |segment: &Arc<Segment>| segment.layout == export.layout;
                segments.iter().any(same)
            };
            if !self.segments.read(known) {
                self.attach(export)?;
                added += 1;
            }
        }
        Ok(added)
    }

    /// Maps a segment. Believes nothing that the descriptors do not bear out: the sizes
    /// must be those that the layout says, and sealed.
    ///
    /// # Errors
    ///
    /// [`ShareError::Size`], [`ShareError::NotSealed`], [`ShareError::Slots`],
    /// [`ShareError::System`].
    pub fn attach(&self, export: Export) -> Result<(), ShareError> {
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
        let segment = Arc::new(Segment {
            layout,
            memory,
            states,
        });
        self.segments.replace(|segments| {
            let (new, overlaps) = (layout.slots(), |old: &Arc<Segment>| {
                let old = old.layout.slots();
                old.start < layout.slots().end && layout.slots().start < old.end
            });
            if segments.iter().any(overlaps) {
                return Err(ShareError::Slots {
                    first: new.start,
                    count: new.end - new.start,
                });
            }
            let mut segments = segments.clone();
            segments.push(Arc::clone(&segment));
            Ok((segments, ()))
        })
    }

    /// MapBufferHandle: the buffer that `handle` names, in this process. Lock-free.
    ///
    /// # Errors
    ///
    /// [`ShareError::BadHandle`] if it names none, or one that was freed.
    pub fn map(&self, handle: Handle) -> Result<View, ShareError> {
        let found = self.segments.read(|segments| {
            segments.iter().find_map(|segment| {
                let k = handle.slot().checked_sub(segment.layout.slots().start)? as usize;
                (k < segment.layout.count()).then(|| segment.view(k, handle))
            })
        });
        (found.flatten()).ok_or(ShareError::BadHandle { handle })
    }

    /// GetBufferHandle: the handle of the buffer that starts at `start` in this process.
    /// Lock-free.
    ///
    /// # Errors
    ///
    /// [`ShareError::NoBuffer`] if no buffer that is out starts there.
    pub fn handle(&self, start: *const u8) -> Result<Handle, ShareError> {
        let address = start.addr();
        let found = self.segments.read(|segments| {
            segments.iter().find_map(|segment| {
                let base = segment.memory.base().addr().get();
                let k = segment.layout.at(address.checked_sub(base)?)?;
                Handle::of(segment.layout.slots().start + k as u32, segment.state(k))
            })
        });
        found.ok_or(ShareError::NoBuffer { address })
    }
}

impl Segment {
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
