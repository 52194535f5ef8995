//! Who took the buffers that are out, in a pool that tracks it.
//!
//! Owns: what is noted of each buffer, by index, and how it is read while it changes.
//! Uses: `sync`, `table`, `word`. Used by: `pool`, which notes and reads it.
//!
//! ```text
//!   owner:   takes the buffer ── fence ── file, line, stream, since ── hold (its own) ─┐
//!            gives it back  ◀── hold (home) ◀──────────────────────────────────────────┘
//!
//!   reader:  hold ── file, line, stream, since ── fence ── hold again: the same?
//! ```
//!
//! Only the owner of a buffer writes what is noted of it: after it has taken the buffer,
//! and before it gives the buffer back. The lists order one owner's stores before the
//! next one's. So there is one writer at a time, and none waits.
//!
//! # A reader never mixes two owners
//!
//! Each owner has a word of its own (`Hold`). A reader believes what it read if the word
//! was the same before and after. Why that is enough:
//!
//! - The first load (Acquire) reads what an owner stored last (Release), so the reader
//!   sees that owner's notes, or later ones.
//! - Say that it reads a note of a later owner. The one before had stored that the buffer
//!   is home, then the later one took it, passed a fence (Release), and wrote the note. The
//!   reader passes its fence (Acquire) after it read the note. So it sees the word *home*,
//!   or a later one, when it looks again: not the word that it saw first.
//!
//! Neither fence is an instruction on x86-64; on aarch64 each is a `dmb`. To take costs five stores and to give back
//! costs one, each to one cache line, which belongs to the buffer.

use crate::sync::{AtomicPtr, AtomicU32, AtomicU64, Ordering, fault, fence, touch};
use crate::table::{Table, Zeroed};
use crate::word::Hold;
use core::ffi::{CStr, c_char};
use core::ptr::{NonNull, null_mut};
use std::borrow::Cow;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::panic::Location;

/// How often a reader looks again at a buffer that changes hands meanwhile.
const LOOKS: u32 = if cfg!(hugepool_loom) { 2 } else { 16 };

/// A place in the program: a file and a line, or a caller's own name for it.
///
/// Displays as `file:line`. Two places are equal if file and line are.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let pool = hugepool::Pool::builder().reserve(4096, 4096, 1).prefault(false).track(true).build()?;
/// let (buffer, line) = (pool.allocate(4096, 4096)?, line!());
/// let place = pool.outstanding().buffers()[0].place;
/// assert_eq!((place.file(), place.line()), (file!().into(), line));
/// # Ok(()) }
/// ```
#[derive(Clone, Copy)]
pub struct Place {
    /// A string that ends with a zero byte and stays for good.
    file: NonNull<c_char>,
    /// 0: none.
    line: u32,
}

// SAFETY: what it points to is a string that nobody changes, for any thread to read.
unsafe impl Send for Place {}
// SAFETY: as above.
unsafe impl Sync for Place {}

impl Place {
    /// Line `line` of `file`; 0: the name alone says it.
    #[doc(hidden)]
    #[must_use]
    pub fn new(file: &'static CStr, line: u32) -> Self {
        // SAFETY: it is the address of a string.
        let file = unsafe { NonNull::new_unchecked(file.as_ptr().cast_mut()) };
        Self { file, line }
    }

    /// As `new`, for a caller in another language.
    ///
    /// # Safety
    ///
    /// `file` points to a string that ends with a zero byte and is neither changed nor
    /// freed as long as this, or what was noted of it, is in use.
    pub(crate) unsafe fn from_raw(file: NonNull<c_char>, line: u32) -> Self {
        Self { file, line }
    }

    /// The file, as the compiler was given it; or the name, if a caller gave one.
    #[must_use]
    pub fn file(&self) -> Cow<'static, str> {
        self.name().to_string_lossy()
    }

    /// The line in it, from 1 on; 0 for a name that has none.
    #[must_use]
    pub fn line(&self) -> u32 {
        self.line
    }

    /// As `file`, as it is.
    #[doc(hidden)]
    #[must_use]
    pub fn name(&self) -> &'static CStr {
        // SAFETY: it was made of such a string.
        unsafe { CStr::from_ptr(self.file.as_ptr()) }
    }
}

impl From<&'static Location<'static>> for Place {
    fn from(location: &'static Location<'static>) -> Self {
        Self::new(location.file_as_c_str(), location.line())
    }
}

impl PartialEq for Place {
    fn eq(&self, other: &Self) -> bool {
        self.line == other.line && (self.file == other.file || self.name() == other.name())
    }
}

impl Eq for Place {}

impl Hash for Place {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name().hash(state);
        self.line.hash(state);
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => f.pad(&self.file()),
            line => f.pad(&format!("{}:{line}", self.file())),
        }
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Place({self})")
    }
}

/// Who takes a buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Taker {
    /// Where.
    pub place: Place,
    /// The number of its stream; 0: none.
    pub stream: u32,
}

/// Who has a buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Holding {
    /// Who took it.
    pub by: Taker,
    /// Bytes that were asked for.
    pub size: usize,
    /// Whether it is out as a raw pointer.
    pub raw: bool,
    /// Since when, in nanoseconds of the coarse clock.
    pub since: u64,
}

/// What is noted of a buffer. A cache line: those who take neighbours would get in each
/// other's way.
#[repr(C, align(64))]
pub struct Track {
    /// A `Hold`. Written by the buffer's owner: Release when it has noted the rest, Relaxed
    /// when it gives the buffer back. Read with Acquire, and again with Relaxed after a
    /// fence: see the module.
    hold: AtomicU64,
    /// A `Place`. This and the rest: Relaxed, between the fences of the module.
    file: AtomicPtr<c_char>,
    line: AtomicU32,
    stream: AtomicU32,
    since: AtomicU64,
}

impl Default for Track {
    fn default() -> Self {
        Self {
            hold: AtomicU64::new(0),
            file: AtomicPtr::new(null_mut()),
            line: AtomicU32::new(0),
            stream: AtomicU32::new(0),
            since: AtomicU64::new(0),
        }
    }
}

// SAFETY: integer and pointer atomics alone; all-zero bytes are a buffer that was never
// out.
unsafe impl Zeroed for Track {}

impl Track {
    /// The caller, which has just taken the buffer for `holding.size` bytes (1 B to 1 GiB),
    /// is its owner.
    pub fn take(&self, holding: &Holding) {
        // Relaxed: the caller alone writes it, and acquired what the last owner did.
        let hold = Hold::from_word(self.hold.load(Ordering::Relaxed));
        // Release: who reads what is stored next finds the buffer home, or later.
        fault!(NoTrackFence, (), fence(Ordering::Release));
        let by = holding.by;
        self.file.store(by.place.file.as_ptr(), Ordering::Relaxed);
        self.line.store(by.place.line, Ordering::Relaxed);
        self.stream.store(by.stream, Ordering::Relaxed);
        self.since.store(holding.since, Ordering::Relaxed);
        let hold = hold.taken(holding.size, holding.raw);
        // Release: who reads this finds what was stored before.
        let order = fault!(TrackRelaxed, Ordering::Relaxed, Ordering::Release);
        self.hold.store(hold.word(), order);
    }

    /// The buffer's owner, the caller, is about to give it back.
    pub fn give(&self) {
        // Relaxed, both: whatever gives the buffer to the next owner is a Release.
        let hold = Hold::from_word(self.hold.load(Ordering::Relaxed));
        self.hold.store(hold.given().word(), Ordering::Relaxed);
    }

    /// The buffer's owner, the caller, has it as a raw pointer from now on, or no longer.
    pub fn set_raw(&self, raw: bool) {
        // Relaxed: as in `take`.
        let hold = Hold::from_word(self.hold.load(Ordering::Relaxed));
        // Release: as in `take`.
        self.hold
            .store(hold.with_raw(raw).word(), Ordering::Release);
    }

    /// Who has the buffer. `None`: at one moment within the call nobody had it, or its
    /// owner had not noted that yet; or it went from hand to hand all the while. Wait-free.
    pub fn read(&self) -> Option<Holding> {
        for _ in 0..LOOKS {
            // Acquire: pairs with the Release in `take`.
            let word = self.hold.load(Ordering::Acquire);
            let hold = Hold::from_word(word);
            if hold.size() == 0 {
                return None;
            }
            let file = self.file.load(Ordering::Relaxed);
            let line = self.line.load(Ordering::Relaxed);
            let stream = self.stream.load(Ordering::Relaxed);
            let since = self.since.load(Ordering::Relaxed);
            // Acquire: pairs with the fence of the next owner, if that wrote any of these.
            fence(Ordering::Acquire);
            let same = self.hold.load(Ordering::Relaxed) == word;
            if fault!(TrackOneLook, true, same) {
                let place = Place {
                    file: NonNull::new(file)?,
                    line,
                };
                return Some(Holding {
                    by: Taker { place, stream },
                    size: hold.size(),
                    raw: hold.is_raw(),
                    since,
                });
            }
        }
        None
    }

    /// Makes the memory of it present.
    pub fn touch(&self) {
        touch(&self.hold);
    }
}

/// What is noted of every buffer that the pool could ever have, by index.
pub type Tracks = Table<Track>;
