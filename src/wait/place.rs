//! A place in the line, and what is said of it.
//!
//! Owns: its layout, and how a wait stands and ends. Uses: `sync`, `sys`, `table`, `word`,
//! `class`. Used by: the line.

use super::waker::WakerCell;
use crate::class::{ClassId, Line as Class};
use crate::sync::{AtomicU32, AtomicU64, Ordering};
use crate::sys::bell::Bell;
use crate::table::Zeroed;
use crate::word::{Index, Standing};

/// What somebody waits for: buffers of any classes that serve the request and are
/// no larger than `reach`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Request {
    /// Bytes.
    pub size: usize,
    /// Bytes, a power of two.
    pub alignment: usize,
    /// The largest buffer it may have, in bytes. Of a stream, which has buffers of one
    /// class: the number of that class, counted from 1; 0 while it waits for its stream
    /// alone.
    pub reach: usize,
    /// The number of its stream's quota, counted from 1; 0: it is of no stream.
    pub stream: u32,
    /// How many; all at once if they are several.
    pub count: usize,
    /// Of a stream: how many of its own it has of these.
    pub own: usize,
}

impl Request {
    /// Whether a buffer of `class` will do.
    pub fn accepts(&self, class: &Class) -> bool {
        match self.stream {
            0 => {
                (self.size..=self.reach).contains(&class.size())
                    && self.alignment <= class.alignment()
            }
            _ => self.reach == class.id().index() + 1,
        }
    }

    /// Whether it is for several buffers.
    pub fn is_for_several(&self) -> bool {
        self.count > 1
    }

    /// How many it lacks.
    pub fn missing(&self) -> usize {
        self.count.saturating_sub(self.own)
    }
}

/// A place in the line: one cache line.
#[derive(Default)]
#[repr(C, align(64))]
pub struct Place {
    /// A `Standing`. See the module for who changes it. `stand` and `hand_over`
    /// release; everybody acquires.
    pub(super) standing: AtomicU64,
    /// A `Request`. Written by the place's owner: before it waits, and published
    /// by `standing`; or, the reach and what it has, while it waits, and published by the
    /// fence or the change of a list that follows. Release and Acquire all the same: a
    /// thread that reads what a later owner wrote then sees that `standing` has
    /// changed since (`takers`).
    size: AtomicU64,
    /// The number of its stream's quota, how many, and the binary logarithm of the alignment:
    /// {stream: 24, count: 32, logarithm: 8}.
    shape: AtomicU64,
    /// The reach; of a stream, what it has of its own besides: {own: 32, reach: 32}, so that
    /// both are read as they were at one moment.
    reach: AtomicU64,
    /// How a thread is woken.
    pub(super) bell: Bell,
    /// Who may end this wait alone; 0: nobody. See `cancel`.
    pub(super) mark: AtomicU32,
    /// How a task is woken.
    pub(super) waker: WakerCell,
}

// SAFETY: integer and pointer atomics alone; all-zero bytes are a vacant place.
unsafe impl Zeroed for Place {}

/// More bits than the logarithm of an alignment has.
const SHAPE: u32 = 8;
const STREAM: u32 = 40;
const OWN: u32 = 32;

impl Place {
    pub(super) fn request(&self) -> Request {
        let read = |field: &AtomicU64| field.load(Ordering::Acquire) as usize;
        let (size, shape) = (read(&self.size), read(&self.shape) as u64);
        let stream = (shape >> STREAM) as u32;
        let (mut reach, mut own) = (read(&self.reach), 0);
        if stream != 0 {
            (reach, own) = (reach as u32 as usize, reach >> OWN);
        }
        Request {
            size,
            alignment: 1_usize.wrapping_shl(shape as u32 % (1 << SHAPE)),
            reach,
            stream,
            count: (shape >> SHAPE) as u32 as usize,
            own,
        }
    }

    pub(super) fn ask_for(&self, request: Request) {
        let write = |field: &AtomicU64, value| field.store(value as u64, Ordering::Release);
        let logarithm = request.alignment.trailing_zeros() as usize;
        write(&self.size, request.size);
        // There are fewer buffers in any pool, and fewer quotas.
        let count = u32::try_from(request.count).unwrap_or(u32::MAX);
        let shape = u64::from(request.stream) << STREAM | u64::from(count) << SHAPE;
        write(&self.shape, shape as usize | logarithm);
        let own = match request.stream {
            0 => 0,
            _ => request.own << OWN,
        };
        write(&self.reach, own | request.reach);
    }

    pub(super) fn standing(&self) -> Standing {
        Standing::from_word(self.standing.load(Ordering::Acquire))
    }

    /// Moves on from `old` if that still stands there.
    pub(super) fn advance(&self, old: Standing, new: Standing) -> bool {
        // AcqRel: see `standing`.
        self.standing
            .compare_exchange(old.word(), new.word(), Ordering::AcqRel, Ordering::Relaxed)
            .is_ok()
    }
}

/// A place that somebody holds. Whoever has it must `leave`.
#[derive(Debug)]
#[must_use = "a place that nobody leaves is lost, and what it is given with it"]
pub struct Seat {
    pub(super) id: u32,
    pub(super) ticket: u64,
    pub(super) task: bool,
    pub(super) request: Request,
}

impl Seat {
    /// What is waited for.
    pub fn request(&self) -> Request {
        self.request
    }

    /// Smaller came earlier.
    pub fn ticket(&self) -> u64 {
        self.ticket
    }

    /// Whether by a task.
    pub fn is_task(&self) -> bool {
        self.task
    }

    pub(super) fn waiting(&self) -> Standing {
        let (ticket, task) = (self.ticket, self.task);
        Standing::Waiting { ticket, task }
    }
}

/// How a wait stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Turn {
    /// It goes on.
    Waiting,
    /// It goes on; a buffer of this class was free.
    Called(ClassId),
    /// It goes on; its stream has one free, or a claim, or has given it a claim.
    CalledByStream,
    /// It is over, with this buffer.
    Given(ClassId, Index),
    /// It is over, without one.
    Aborted,
}

/// How a wait ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Left {
    /// The buffer that came, which is the caller's now.
    pub given: Option<(ClassId, Index)>,
    /// Whether that is one of its stream's own.
    pub own: bool,
    /// By whom it was called, for what it may not have taken: the caller sees to the
    /// others who wait for that.
    pub called: Option<By>,
}

/// Who called somebody.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum By {
    /// A class, for a free buffer.
    Class(ClassId),
    /// His stream, for a free buffer of its own or a claim.
    Stream,
    /// His stream, which gave him a claim.
    Entitled,
}

impl By {
    pub(super) fn of(standing: Standing) -> Option<Self> {
        match standing {
            Standing::Called {
                class: Standing::STREAM,
                ..
            } => Some(Self::Stream),
            Standing::Called { class, .. } => ClassId::new(class.into()).map(Self::Class),
            Standing::Entitled { .. } => Some(Self::Entitled),
            _ => None,
        }
    }
}
