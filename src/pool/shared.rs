//! What a pool shares with other processes.
//!
//! Owns: the slots, which name buffers in handles, and the mapping of states that others
//! read. Uses: the pool's shared part. Used by: `share`, growth.

use super::{Pool, Shared};
use crate::arena::{Segment, States, os};
use crate::catalog::Holder;
use crate::class::Geometry;
use crate::error::BuildError;
use crate::record::State;
use crate::share::{
    Export, FIRST_SLOT, Give, Given, Handle, Layout, Peers, Publication, Question, ShareError,
    Slots, Standing, Status, View, layout_of, publish,
};
use crate::sync::{AtomicU32, Ordering};
use crate::sys::limits::base_page;
use crate::sys::memfd;
use crate::word::Index;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::io;
use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd};
use std::ptr::NonNull;

/// What a pool has that is shared with other processes.
pub struct Sharing {
    /// A number that no other pool of the machine has, but by accident: the standard
    /// library seeds its hashers by the system's random numbers.
    id: u64,
    /// The first slot that no buffer has had.
    next_slot: AtomicU32,
    slots: Slots,
    /// What clients see of the pool: open, until this is dropped.
    status: Status,
}

impl Sharing {
    /// For an arena of `granules`.
    pub(super) fn new(granules: usize) -> Result<Self, BuildError> {
        Ok(Self {
            id: RandomState::new().hash_one(std::process::id()).max(1),
            next_slot: AtomicU32::new(FIRST_SLOT),
            slots: Slots::new(granules).map_err(os("mmap"))?,
            status: Status::new().map_err(os("memfd_create"))?,
        })
    }

    /// Says to clients how the pool stands.
    pub(super) fn say(&self, standing: Standing) {
        self.status.say(standing);
    }

    /// Gives the buffers of a new segment, which nobody has, the slots from `first` on.
    pub(super) fn assign(&self, first: u32, buffers: impl Iterator<Item = Index>) {
        self.slots.assign(first, buffers);
    }

    /// Bytes of memory that this occupies.
    pub(super) fn resident(&self) -> io::Result<usize> {
        self.slots.resident()
    }

    /// Takes slots for `count` new buffers.
    pub(super) fn take_slots(&self, count: usize) -> Result<Range<u32>, BuildError> {
        let limit = (Handle::SLOTS - FIRST_SLOT) as usize;
        let more = u32::try_from(count).map_err(|_| BuildError::TooManySlots { limit })?;
        // Acquire: what was written for slots that are given back comes before what is
        // written for them now.
        let taken = self
            .next_slot
            .fetch_update(Ordering::Acquire, Ordering::Relaxed, |next| {
                next.checked_add(more).filter(|&end| end <= Handle::SLOTS)
            });
        let first = taken.map_err(|_| BuildError::TooManySlots { limit })?;
        Ok(first..first + more)
    }

    /// Gives back slots that no buffer has had, unless others were taken since.
    pub(super) fn give_slots_back(&self, slots: &Range<u32>) {
        let (end, start) = (slots.end, slots.start);
        let (given, kept) = (Ordering::Release, Ordering::Relaxed);
        // Release: see `take_slots`. If it fails they are lost.
        let _ = self.next_slot.compare_exchange(end, start, given, kept);
    }
}

impl Shared {
    /// Makes states of `count` new buffers that others can read.
    pub(super) fn share_states(
        &self,
        first: usize,
        geometry: &Geometry,
        count: usize,
        first_slot: u32,
    ) -> Result<States, BuildError> {
        let bytes = (count * size_of::<State>()).next_multiple_of(base_page());
        let fd = memfd::create(c"hugepool-states", bytes, memfd::Kind::Base);
        let fd = fd.map_err(os("memfd_create"))?;
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
        sealed.inspect_err(|_| self.displace_states(&placed))?;
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

    /// Takes back the states of a segment whose buffers are nobody's, if they were shared.
    /// It still has its granules.
    pub(super) fn unshare_states(&self, segment: &Segment) {
        if let Some((_, states)) = segment.shared() {
            self.displace_states(&states.placed);
        }
    }

    fn displace_states(&self, placed: &[(usize, usize)]) {
        for &(at, bytes) in placed {
            // SAFETY: nobody has the buffers. What cannot be replaced stays, which does
            // no harm.
            let _ = unsafe { self.states.displace(at, bytes) };
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

impl Pool {
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
                        entry.segment.bytes(),
                        states.first_slot,
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

    /// Gives the first segment from `slot` on, if this is the pool `pool`, or that is 0.
    pub(crate) fn give_segment(
        &self,
        slot: u32,
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
            let later = (all.iter()).filter(|export| export.layout.first_slot() >= slot);
            match later.min_by_key(|export| export.layout.first_slot()) {
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
    /// processes of this one's user. The name is that of an abstract socket,
    /// `hugepool/name`, of this network namespace. It is free again once the server has
    /// ended, however it did. Starts two threads, which keep the pool open. Of the program's
    /// descriptors a publication takes one, however many clients there are.
    ///
    /// # Errors
    ///
    /// [`ShareError::NotShared`]; [`ShareError::Forked`]; [`ShareError::Name`];
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
    pub fn publish(&self, name: &str, peers: Peers) -> Result<Publication, ShareError> {
        self.slots()?;
        let pool = self.clone();
        publish(name, peers, move |question, give| match question {
            Question::Segment { slot, pool: of } => pool.give_segment(slot, of, give),
            Question::Configuration | Question::Server => Err(ShareError::NoSet),
        })
    }

    /// The handle of a buffer that is out as the raw pointer `start`: a number that
    /// names it in every process that maps the pool, until it is freed. Wait-free.
    ///
    /// # Errors
    ///
    /// [`ShareError::NotShared`]; [`ShareError::Forked`]; [`ShareError::NoBuffer`] if no
    /// buffer that is out starts there.
    pub fn handle(&self, start: *const u8) -> Result<Handle, ShareError> {
        let address = start.addr();
        let (shared, slots) = self.slots()?;
        let classes = shared.catalog.classes();
        (shared.arena.buffer_at(classes, address))
            .and_then(|(_, index)| slots.handle(index, shared.state(index)))
            .ok_or(ShareError::NoBuffer { address })
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
        let (shared, slots) = self.slots()?;
        let found = slots.find(handle, |index| {
            let line = shared.arena.class_of(shared.catalog.classes(), index)?;
            Some((line.start(index), shared.state(index)))
        });
        let view = found.and_then(|(start, size)| {
            Some(View {
                start: NonNull::new(start)?,
                size: size as usize,
                prefix: shared.prefix(),
                writable: true,
            })
        });
        view.ok_or(ShareError::BadHandle { handle })
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
