//! Who takes the buffers of a pool, and who has them.
//!
//! Owns: the noting of a take and of a give, the tag of a thread, and the gathering of what
//! is out. Uses: `track`, `outstanding`, the pool's shared part. Used by: callers; `diverted`
//! and every call that waits.

use super::{Class, Pool, Shared};
use crate::buffer::Memory;
use crate::catalog::{Holder, Taken};
use crate::class::ClassId;
use crate::outstanding::{Held, Outstanding, StreamName};
use crate::sync::{Arc, shield};
use crate::sys::clock;
use crate::sys::own::per_thread;
use crate::track::{Holding, Place, Taker};
use crate::word::Index;
use std::cell::Cell;
use std::ffi::{CStr, c_char};
use std::fmt;
use std::panic::{Location, RefUnwindSafe, UnwindSafe};
use std::ptr::NonNull;
use std::time::Duration;

per_thread! {
    /// What this thread says of its takes, in the place of where they are in the code. All
    /// zero bytes are `None`: a place has a pointer that is not null.
    fn said() -> Cell<Option<Place>>, symbol "hugepool_place", first Cell::new(None),
    bytes [".zero 16"]
}

const _: () = assert!(size_of::<Cell<Option<Place>>>() == 16);

fn place<'a>() -> &'a Cell<Option<Place>> {
    // SAFETY: it is there as long as the thread, which alone knows of it. (The result is no
    // other thread's: a `Cell` is not `Sync`.)
    unsafe { &*said() }
}

/// Has what the calling thread takes from now on noted as taken by line `line` of `file`;
/// `None`: by where it is in the code. For callers in other languages.
///
/// # Safety
///
/// `file` points to a string that ends with a zero byte, and is never changed or freed.
#[doc(hidden)]
pub unsafe fn set_place(file: Option<NonNull<c_char>>, line: u32) {
    // SAFETY: the caller says so.
    place().set(file.map(|file| unsafe { Place::from_raw(file, line) }));
}

/// Makes a call for a caller in another language, which knows it by the name `call`: that
/// is noted of what it takes, if the thread says nothing else, and the pool `tracks`.
#[doc(hidden)]
pub fn called<R>(tracks: bool, call: &'static CStr, take: impl FnOnce() -> R) -> R {
    if !tracks {
        return take();
    }
    let before = place().get();
    place().set(before.or(Some(Place::new(call, 0))));
    let taken = take();
    place().set(before);
    taken
}

/// Who the caller is, if it is at `location` in the code.
pub(super) fn taker(location: &'static Location<'static>) -> Taker {
    Taker {
        place: place().get().unwrap_or_else(|| location.into()),
        stream: 0,
    }
}

/// What is called when a pool ends with raw buffers out.
#[derive(Clone)]
pub(super) struct OnLeak(pub(super) Arc<dyn Fn(&Outstanding) + Send + Sync>);

// A panic in it ends where it is called.
impl UnwindSafe for OnLeak {}
impl RefUnwindSafe for OnLeak {}

impl fmt::Debug for OnLeak {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OnLeak")
    }
}

impl Shared {
    /// Who takes a buffer in the caller's name; `None`: nobody asks.
    #[track_caller]
    pub(super) fn taker(&self) -> Option<Taker> {
        // Out here: a closure's caller is another.
        let location = Location::caller();
        self.tracks.as_ref().map(|_| taker(location))
    }

    /// Notes who took a buffer for `size` bytes.
    pub(super) fn noted<'a>(
        &self,
        taken: Taken<'a>,
        size: usize,
        by: Option<Taker>,
        raw: bool,
    ) -> Taken<'a> {
        if let (Some(tracks), Some(by)) = (&self.tracks, by) {
            let holding = Holding {
                by,
                size,
                raw,
                since: clock::coarse(),
            };
            tracks.get(taken.index.raw() as usize).take(&holding);
        }
        taken
    }

    /// Notes that nobody has a buffer any more. It is the caller's until it is home.
    pub(super) fn note_given(&self, index: Index) {
        if let Some(tracks) = &self.tracks {
            tracks.get(index.raw() as usize).give();
        }
    }

    /// Notes that a buffer's owner has it as a raw pointer, or no longer.
    pub(super) fn note_raw(&self, index: Index, raw: bool) {
        if let Some(tracks) = &self.tracks {
            tracks.get(index.raw() as usize).set_raw(raw);
        }
    }

    /// Tells whom the builder said that raw buffers are out that will never come home. The
    /// caller gave up the last handle.
    pub(super) fn report_leak(&self) {
        let Some(OnLeak(report)) = &self.on_leak else {
            return;
        };
        if self.tracks.is_none() || self.arena.is_inherited() {
            // In a child of a fork they are the parent's.
            return;
        }
        let raw = self.outstanding(|_, holding| holding.raw);
        if !raw.buffers().is_empty() {
            shield(|| report(&raw));
        }
    }

    /// What is out, of that what `keep` keeps.
    fn outstanding(&self, keep: impl Fn(ClassId, &Holding) -> bool) -> Outstanding {
        if self.tracks.is_none() {
            return Outstanding::untracked();
        }
        let mut found = Vec::new();
        self.each_outstanding(keep, |held| found.push(held));
        Outstanding::new(found)
    }

    /// Tells `each` of what is out, of that what `keep` keeps, in any order.
    fn each_outstanding(
        &self,
        keep: impl Fn(ClassId, &Holding) -> bool,
        mut each: impl FnMut(Held),
    ) {
        let Some(tracks) = &self.tracks else { return };
        // Whoever takes one after this has had it for no time.
        let now = clock::coarse();
        self.catalog.read(|directory| {
            for entry in &directory.segments {
                let geometry = &directory.classes[entry.class.index()];
                let line = self.catalog.classes().line(entry.class);
                let first = entry.segment.first();
                let indices = (0..entry.segment.count()).map_while(|k| geometry.nth(first, k));
                for index in indices {
                    let holding = tracks.get(index.raw() as usize).read();
                    let Some(holding) = holding.filter(|holding| keep(entry.class, holding)) else {
                        continue;
                    };
                    each(Held {
                        place: holding.by.place,
                        stream: self.stream_name(holding.by.stream),
                        address: line.start(index).addr(),
                        size: holding.size,
                        class_size: geometry.size(),
                        class_alignment: geometry.alignment(),
                        raw: holding.raw,
                        age: Duration::from_nanos(now.saturating_sub(holding.since)),
                    });
                }
            }
        });
    }

    /// The name of stream `number`; `None` for 0. A number is nobody else's while a buffer
    /// that counts against it is out.
    fn stream_name(&self, number: u32) -> Option<StreamName> {
        (number > 0).then(|| StreamName::new(self.catalog.lists().stream_name(number)))
    }

    /// As `outstanding`, of the buffers that could serve a request.
    fn outstanding_for(&self, size: usize, alignment: usize) -> Outstanding {
        // Nobody has a buffer that could serve a request that none ever could.
        let ladder = self.catalog.ladder(size, alignment).unwrap_or_default();
        self.outstanding(|class, _| ladder.classes().contains(&class))
    }
}

impl<M: Memory> Pool<M> {
    /// Who has the buffers that are out, if the pool [tracks](crate::Builder::track) it:
    /// the place in the program that took each, for how many bytes, and how long ago, the
    /// oldest first.
    ///
    /// What is taken or given back meanwhile may be in it or not, and so may a buffer that
    /// was handed to somebody who waits and has not run since. What is in it is true: no
    /// entry mixes two owners. In a child of a fork it has what was out when the child was
    /// made, too.
    ///
    /// Looks at every buffer of the pool, and allocates; not for the data path. Takes no
    /// lock; those who take and give do not wait for it.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let pool = hugepool::Pool::builder()
    ///     .reserve(64 << 10, 4096, 16)
    ///     .track(true)
    ///     .build()?;
    /// let (buffer, line) = (pool.allocate(60_000, 4096)?, line!());
    /// let outstanding = pool.outstanding();
    /// let held = outstanding.buffers()[0];
    /// assert_eq!((held.place.line(), held.size, held.class_size), (line, 60_000, 64 << 10));
    /// println!("{outstanding}"); // a table
    /// drop(buffer);
    /// assert!(pool.outstanding().buffers().is_empty());
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn outstanding(&self) -> Outstanding {
        self.shared().outstanding(|_, _| true)
    }

    /// As [`outstanding`](Self::outstanding), in any order and without the list: tells `each`
    /// of each. For callers in other languages.
    #[doc(hidden)]
    pub fn each_outstanding(&self, each: impl FnMut(Held)) {
        self.shared().each_outstanding(|_, _| true, each);
    }

    /// As [`outstanding`](Self::outstanding), of those buffers alone that could serve a
    /// request for `size` bytes at `alignment`: who has what a wait waits for. Empty if no
    /// class could ever serve it.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let builder = hugepool::Pool::builder().prefault(false).track(true);
    /// # let pool = builder.reserve(4096, 4096, 4).reserve(1 << 20, 4096, 1).build()?;
    /// let (small, large) = (pool.allocate(4096, 4096)?, pool.allocate(1 << 20, 4096)?);
    /// assert_eq!(pool.outstanding_for(1 << 20, 4096).buffers().len(), 1);
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn outstanding_for(&self, size: usize, alignment: usize) -> Outstanding {
        self.shared().outstanding_for(size, alignment)
    }
}

impl<M: Memory> Class<M> {
    /// As [`Pool::outstanding_for`], of the buffers that could serve a request for one of
    /// this class.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let pool = hugepool::Pool::builder().reserve(4096, 4096, 1).prefault(false).track(true).build()?;
    /// let class = pool.class(4096, 4096)?;
    /// let buffer = class.allocate()?;
    /// assert_eq!(class.outstanding().buffers().len(), 1);
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn outstanding(&self) -> Outstanding {
        self.shared().outstanding_for(self.size, self.alignment)
    }
}
