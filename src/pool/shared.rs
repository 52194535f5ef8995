//! What a pool shares with other processes.
//!
//! Owns: the slots, which name buffers in handles, and the mapping of states that others
//! read. Uses: the pool's shared part. Used by: `share`, growth.

use super::{Pool, Shared};
use crate::arena::{Segment, States, file_too_large, os};
use crate::buffer::Memory;
use crate::catalog::Holder;
use crate::class::Geometry;
use crate::error::BuildError;
use crate::record::State;
use crate::share::{
    Export, FIRST_SLOT, Give, Given, Handle, Handle64, Layout, Name, Naming, Peers, Place,
    Publication, Question, ShareError, Slots, Split, Standing, Status, View, layout_of, publish,
};
use crate::sync::Arc;
use crate::sys::limits::base_page;
use crate::sys::{memfd, random};
use crate::word::Index;
use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd};
use std::ptr::NonNull;

/// What a pool has that is shared with other processes.
pub struct Sharing {
    /// A number that no other pool of the machine has, but by accident.
    id: u64,
    slots: Slots,
    /// What clients see of the pool: open, until this is dropped.
    status: Status,
}

impl Sharing {
    /// For a pool that is built with `count` buffers.
    pub(super) fn new(count: usize) -> Result<Self, BuildError> {
        Ok(Self {
            id: random::number().map_err(os("getrandom"))?.max(1),
            slots: Slots::new(Split::of(count)).map_err(os("mmap"))?,
            status: Status::new().map_err(os("memfd_create"))?,
        })
    }

    /// Says to clients how the pool stands.
    pub(super) fn say(&self, standing: Standing) {
        self.status.say(standing);
    }

    /// Which buffer has which slot.
    pub(super) fn slots(&self) -> &Slots {
        &self.slots
    }

    /// Takes slots for `count` new buffers.
    pub(super) fn take_slots(&self, count: usize) -> Result<Range<u32>, BuildError> {
        let limit = Slots::COUNT;
        let slots = (self.slots.take(count)).ok_or(BuildError::TooManySlots { limit })?;
        let opened = self.slots.open(&slots);
        opened.map_err(|error| {
            self.slots.give_back(&slots);
            // 12 bytes a slot.
            BuildError::no_memory_for(12 * count)(error)
        })?;
        Ok(slots)
    }
}

impl Shared {
    /// Makes states of the buffers of a new `segment` that others can read.
    pub(super) fn share_states(
        &self,
        segment: &Segment,
        geometry: &Geometry,
        first_slot: u32,
    ) -> Result<States, BuildError> {
        let (first, count) = (segment.first(), segment.count());
        let bytes = (count * size_of::<State>()).next_multiple_of(base_page());
        let fd = memfd::create(c"hugepool-states", bytes, memfd::Kind::Base);
        let fd = fd.map_err(|error| {
            file_too_large(bytes, &error).unwrap_or_else(|| os("memfd_create")(error))
        })?;
        memfd::populate(fd.as_fd(), bytes).map_err(|error| match error.raw_os_error() {
            Some(libc::ENOMEM | libc::ENOSPC) => BuildError::OutOfMemory {
                needed: bytes,
                available: None,
            },
            _ => os("fallocate")(error),
        })?;
        let mut placed = Vec::new();
        let shared = self.place_states(first, geometry, count, bytes, fd.as_fd(), &mut placed);
        let sealed = shared.and_then(|()| memfd::seal(fd.as_fd(), true).map_err(os("fcntl")));
        sealed.inspect_err(|_| self.displace_states(&placed, segment.is_fresh()))?;
        Ok(States {
            descriptor: fd,
            first_slot,
            placed,
        })
    }

    /// Puts what is behind `fd` in the place of the states of `count` buffers, and notes
    /// where.
    fn place_states(
        &self,
        first: usize,
        geometry: &Geometry,
        count: usize,
        bytes: usize,
        fd: BorrowedFd<'_>,
        placed: &mut Vec<(usize, usize)>,
    ) -> Result<(), BuildError> {
        // A chunk's states are next to each other in both places.
        let per_chunk = Index::PER_CHUNK as usize;
        for before in (0..count).step_by(per_chunk) {
            let Some(index) = geometry.nth(first, before) else {
                break;
            };
            let from = before * size_of::<State>();
            let bytes = (bytes - from).min(per_chunk * size_of::<State>());
            let at = index.raw() as usize;
            placed.push((at, bytes));
            // SAFETY: nobody has the buffers yet. The size is sealed, and the writing of
            // others, before anybody has the descriptor. A chunk's first index is a
            // multiple of 4096, and its states whole pages.
            unsafe { self.states.place(at, bytes, fd, from) }.map_err(os("mmap"))?;
        }
        Ok(())
    }

    /// The buffers of `segment`, with their states.
    pub(super) fn buffers_of<'a>(
        &'a self,
        geometry: &'a Geometry,
        segment: &Segment,
    ) -> impl Iterator<Item = (Index, &'a State)> + use<'a> {
        let (first, count) = (segment.first(), segment.count());
        let indices = (0..count).map_while(move |k| geometry.nth(first, k));
        indices.map(|index| (index, self.state(index)))
    }

    /// Takes back the states and the slots of a segment of `geometry` whose buffers are
    /// nobody's, for good, if they were shared. It still has its granules. `unseen`: nobody
    /// was ever given an index that is in their pages.
    pub(super) fn unshare(&self, geometry: &Geometry, segment: &Segment, unseen: bool) {
        if let Some(((_, states), sharing)) = segment.shared().zip(self.sharing.as_ref()) {
            let slots = states.first_slot..states.first_slot + segment.count() as u32;
            let own = self.buffers_of(geometry, segment).map(|(_, state)| state);
            sharing.slots.retire(slots, own);
            self.displace_states(&states.placed, unseen);
        }
    }

    /// Takes back the states of buffers that nobody has. Unless they are `unseen`, somebody
    /// may still look at them, and zeroed ones come in their place.
    fn displace_states(&self, placed: &[(usize, usize)], unseen: bool) {
        for &(at, bytes) in placed {
            // SAFETY: nobody has the buffers. What cannot be replaced stays, which does
            // no harm.
            unsafe {
                match unseen {
                    true => self.states.close(&(at..at + bytes / size_of::<State>())),
                    false => _ = self.states.displace(at, bytes),
                }
            }
        }
    }
}

/// An export whose descriptors are the segment's.
struct Exported<'a> {
    layout: Layout,
    memory: BorrowedFd<'a>,
    states: BorrowedFd<'a>,
    status: BorrowedFd<'a>,
}

impl Exported<'_> {
    fn duplicate(&self) -> Result<Export, ShareError> {
        let duplicate = |fd: BorrowedFd<'_>| fd.try_clone_to_owned().map_err(ShareError::dup);
        Ok(Export {
            layout: self.layout,
            memory: duplicate(self.memory)?,
            states: duplicate(self.states)?,
            status: duplicate(self.status)?,
        })
    }
}

impl<M: Memory> Pool<M> {
    /// What other processes need to map the buffers of a pool that was built with
    /// [`shared`](crate::Builder::shared): one export a segment. After
    /// [`request`](Self::request) there are more. Descriptors are duplicated, and the
    /// caller's.
    ///
    /// # Errors
    ///
    /// [`ShareError::NotShared`]; [`ShareError::Forked`]; [`ShareError::System`] if there
    /// are too many descriptors.
    pub fn exports(&self) -> Result<Vec<Export>, ShareError> {
        self.export(|all| all.iter().map(Exported::duplicate).collect())
    }

    /// Gives what `take` makes of all that can be exported.
    fn export<R>(
        &self,
        take: impl FnOnce(&[Exported<'_>]) -> Result<R, ShareError>,
    ) -> Result<R, ShareError> {
        let shared = self.shared();
        let both = shared.memory.shared.zip(shared.sharing.as_ref());
        let (access, sharing) = both.ok_or(ShareError::NotShared)?;
        if shared.arena.is_forked() {
            return Err(ShareError::Forked);
        }
        shared.catalog.read(|directory| {
            let segments = directory.segments.iter();
            let all: Vec<_> = segments
                .filter_map(|entry| {
                    let (memory, states) = entry.segment.shared()?;
                    let geometry = &directory.classes[entry.class.index()];
                    let layout = layout_of(
                        sharing.id,
                        geometry,
                        shared.prefix(),
                        entry.segment.count(),
                        entry.segment.room(),
                        Place {
                            number: entry.id.generation(),
                            first_slot: states.first_slot,
                            split: sharing.slots.split(),
                        },
                        access,
                    );
                    Some(Exported {
                        layout,
                        memory,
                        states: states.descriptor.as_fd(),
                        status: sharing.status.descriptor(),
                    })
                })
                .collect();
            take(&all)
        })
    }

    /// Gives the first segment whose number is `number` or greater, if this is the pool
    /// `pool`, or that is 0.
    pub(crate) fn give_segment(
        &self,
        number: u64,
        pool: u64,
        give: Give<'_>,
    ) -> Result<(), ShareError> {
        let given = self.sharing_id();
        if pool != 0 && pool != given {
            return Err(ShareError::OtherPool {
                given,
                needed: pool,
            });
        }
        self.export(|all| {
            let later = (all.iter()).filter(|export| export.layout.number() >= number);
            match later.min_by_key(|export| export.layout.number()) {
                Some(first) => {
                    let descriptors = [first.memory, first.states, first.status];
                    give(Given::Segment(&first.layout, descriptors));
                }
                None => give(Given::NoMore),
            }
            Ok(())
        })
    }

    /// The number by which clients know it; 0 if it is not shared.
    pub(crate) fn sharing_id(&self) -> u64 {
        let sharing = self.shared().sharing.as_ref();
        sharing.map_or(0, |sharing| sharing.id)
    }

    /// Says to clients how the pool stands.
    pub(crate) fn say(&self, standing: Standing) {
        if let Some(sharing) = &self.shared().sharing {
            sharing.say(standing);
        }
    }

    /// Whether other processes can map it.
    pub(crate) fn is_shared(&self) -> bool {
        self.shared().memory.shared.is_some()
    }

    /// Lets clients open the pool by `name`, until what is returned is dropped:
    /// [`Client::open`](crate::share::Client::open). `peers` says who may; by default
    /// processes of this one's user. The name, of any length and any characters, is that of an
    /// abstract socket of this network namespace: `hugepool/name`, or what is spelled for it. It is free again once the server has
    /// ended, however it did. Starts two threads, which keep the pool open. Of the program's
    /// descriptors a publication takes one, however many clients there are.
    ///
    /// # Errors
    ///
    /// [`ShareError::NotShared`]; [`ShareError::Forked`]; [`ShareError::NoName`];
    /// [`ShareError::NameTaken`]; [`ShareError::System`], before Linux 5.9, too.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use hugepool::share::{Access, Client, Peers};
    ///
    /// let pool = hugepool::Pool::builder().reserve(4096, 4096, 4).shared(Access::Read).build()?;
    /// # let name = format!("example of publish {}", std::process::id());
    /// let publication = pool.publish(&name, Peers::default())?;
    /// // In another process:
    /// let client = Client::open(&name, &Peers::default())?;
    /// # let start = pool.allocate_raw(4096, 4096)?;
    /// # assert!(client.map(pool.handle(start.as_ptr())?).is_ok());
    /// # Ok(()) }
    /// ```
    pub fn publish<'a>(
        &self,
        name: impl Into<Name<'a>>,
        peers: Peers,
    ) -> Result<Publication, ShareError> {
        self.slots()?;
        let pool = self.clone();
        publish(name.into(), peers, move |question, give| match question {
            Question::Segment { number, pool: of } => pool.give_segment(number, of, give),
            Question::Configuration | Question::Server => Err(ShareError::NoSet),
        })
    }

    /// The handle of a buffer that is out as the raw pointer `start`: a number that
    /// names it in every process that maps the pool, until it is freed; see [`Handle`] for
    /// how long nothing else has that number. Wait-free.
    ///
    /// # Errors
    ///
    /// [`ShareError::NotShared`]; [`ShareError::Forked`]; [`ShareError::NoBuffer`] if no
    /// buffer that is out starts there.
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
        let address = start.addr();
        let (shared, slots) = self.slots()?;
        let classes = shared.catalog.classes();
        let at = || shared.arena.buffer_at(classes, address);
        let made = at().and_then(|index| {
            let made = slots.handle(shared.state(index))?;
            // If its memory was another segment's by then, so is what is there now: whoever
            // sees that a buffer is out (Acquire) sees where it lies.
            (at() == Some(index)).then_some(made)
        });
        made.ok_or(ShareError::NoBuffer { address })
    }

    /// The buffer that `handle` names, which a client may have sent: in this process.
    /// Wait-free.
    ///
    /// # Errors
    ///
    /// [`ShareError::NotShared`]; [`ShareError::Forked`]; [`ShareError::BadHandle`] if it
    /// names none, or one that was freed.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use hugepool::share::{Access, Handle};
    /// # let builder = hugepool::Pool::builder().reserve(4096, 4096, 4);
    /// # let pool = builder.shared(Access::Read).build()?;
    /// let start = pool.allocate_raw(4096, 4096)?;
    /// let handle = pool.handle(start.as_ptr())?;
    /// let view = pool.view(Handle::from_raw(handle.raw()))?;
    /// assert_eq!((view.start, view.size), (start, 4096));
    /// // SAFETY: allocated above with that size, and freed once.
    /// unsafe { pool.free_raw(view.start.as_ptr(), view.size)? };
    /// assert!(pool.view(handle).is_err());
    /// # Ok(()) }
    /// ```
    pub fn view(&self, handle: Handle) -> Result<View, ShareError> {
        (self.named(handle)?).ok_or(ShareError::BadHandle { handle })
    }

    /// As [`view`](Self::view), of a handle with 64 bits.
    ///
    /// # Errors
    ///
    /// As [`view`](Self::view), with [`ShareError::BadHandle64`].
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use hugepool::share::{Access, Handle64};
    /// # let builder = hugepool::Pool::builder().reserve(4096, 4096, 4);
    /// # let pool = builder.shared(Access::Read).build()?;
    /// let start = pool.allocate_raw(4096, 4096)?;
    /// let handle = pool.handle64(start.as_ptr())?;
    /// assert_eq!(pool.view64(Handle64::from_raw(handle.raw()))?.start, start);
    /// // SAFETY: allocated above with that size, and freed once.
    /// unsafe { pool.free_raw(start.as_ptr(), 4096)? };
    /// assert!(pool.view64(handle).is_err());
    /// # Ok(()) }
    /// ```
    pub fn view64(&self, handle: Handle64) -> Result<View, ShareError> {
        (self.named(handle)?).ok_or(ShareError::BadHandle64 { handle })
    }

    #[inline]
    fn named<H: Naming>(&self, handle: H) -> Result<Option<View>, ShareError> {
        let (shared, slots) = self.slots()?;
        let found = slots.find(handle, |index| {
            let line = shared.arena.class_of(shared.catalog.classes(), index)?;
            Some((line.start(index), shared.state(index)))
        });
        Ok(found.and_then(|(start, size)| {
            Some(View {
                start: NonNull::new(start)?,
                size: size as usize,
                prefix: shared.prefix(),
                writable: true,
            })
        }))
    }

    /// How many returns of a buffer a [`Handle`] of it outlives at most: that of an owner
    /// names nothing from his return on, until the buffer has come back so often since the
    /// handle was made; the next owner then has the same handle. A power of two, and the
    /// least of all buffers that there are now: 2<sup>28</sup> if the pool was built with 7
    /// or fewer, half of that each time there are twice as many; 2048 once
    /// [`request`](Self::request) has added buffers beyond the next power of two. Memory
    /// that goes by [`trim`](Self::trim), and comes again, counts as one return of its
    /// buffers. Looks at every segment; lock-free.
    ///
    /// # Errors
    ///
    /// [`ShareError::NotShared`].
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use hugepool::share::Access;
    /// let builder = hugepool::Pool::builder().reserve(4096, 4096, 100);
    /// let pool = builder.shared(Access::Read).build()?;
    /// assert_eq!(pool.handle_reuses()?, 1 << 24);
    /// pool.request(4096, 4096, 100)?;
    /// assert_eq!(pool.handle_reuses()?, 2048);
    /// # Ok(()) }
    /// ```
    pub fn handle_reuses(&self) -> Result<u64, ShareError> {
        let shared = self.shared();
        let sharing = shared.sharing.as_ref().ok_or(ShareError::NotShared)?;
        let last = shared.catalog.read(|directory| {
            let segments = directory.segments.iter().map(|entry| &entry.segment);
            let last = |segment: &Arc<Segment>| {
                let (_, states) = segment.shared()?;
                Some(states.first_slot + segment.count() as u32 - 1)
            };
            segments.filter_map(last).max()
        });
        let split = sharing.slots.split();
        Ok(split.generations(last.unwrap_or(FIRST_SLOT)))
    }

    /// What handles are made and believed by.
    fn slots(&self) -> Result<(&Shared, &Slots), ShareError> {
        let shared = self.shared();
        let sharing = shared.sharing.as_ref().ok_or(ShareError::NotShared)?;
        // A child of a fork does not have the states.
        match shared.arena.is_forked() {
            true => Err(ShareError::Forked),
            false => Ok((shared, &sharing.slots)),
        }
    }
}
