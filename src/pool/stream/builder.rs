//! The making of a stream.
//!
//! Owns: what it is asked for, and the setting aside of its own buffers. Uses: the pool's
//! shared part. Used by: callers.

use super::{Inner, Share, Stream, StreamError};
use crate::buffer::{Memory, Plain};
use crate::class::{ClassId, Rung};
use crate::lists::{Limits, MAX_NAME, Several};
use crate::pool::{Handle, Pool};
use crate::sync::Arc;
use std::fmt;
use std::marker::PhantomData;

/// Describes a stream: [`Pool::stream`].
#[must_use = "no stream is made before `build`"]
pub struct StreamBuilder<M: Memory = Plain> {
    handle: Handle,
    name: String,
    asked: Vec<Asked>,
    memory: PhantomData<fn() -> M>,
}

impl<M: Memory> Clone for StreamBuilder<M> {
    fn clone(&self) -> Self {
        Self {
            handle: self.handle.clone(),
            name: self.name.clone(),
            asked: self.asked.clone(),
            memory: PhantomData,
        }
    }
}

impl<M: Memory> fmt::Debug for StreamBuilder<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamBuilder")
            .field("handle", &self.handle)
            .field("name", &self.name)
            .field("asked", &self.asked)
            .finish()
    }
}

/// A minimum or a maximum that was asked for.
#[derive(Clone, Copy, Debug)]
struct Asked {
    size: usize,
    alignment: usize,
    minimum: bool,
    amount: Amount,
}

#[derive(Clone, Copy, Debug)]
enum Amount {
    Buffers(usize),
    Bytes(usize),
}

/// What was asked for of one class.
struct Wanted {
    rung: Rung,
    minimum: Option<usize>,
    maximum: Option<usize>,
}

impl<M: Memory> Pool<M> {
    /// Starts the description of a stream: a handle that allocates within a share of the
    /// pool, of which a minimum is guaranteed, and which has a maximum. `name` has 1 to 64
    /// bytes; it need not be the only one of its kind.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let pool = hugepool::Pool::builder().reserve(4096, 4096, 8).prefault(false).build()?;
    /// let tape = pool
    ///     .stream("tape 1")
    ///     .minimum(4096, 4096, 2) // size, alignment, count
    ///     .maximum(4096, 4096, 6)
    ///     .build()?;
    /// // Others take all that is left, and still:
    /// let others: Vec<_> = std::iter::from_fn(|| pool.allocate(4096, 4096).ok()).collect();
    /// assert_eq!(others.len(), 6);
    /// let own = [tape.allocate(4096, 4096)?, tape.allocate(4096, 4096)?];
    /// # Ok(()) }
    /// ```
    pub fn stream(&self, name: impl Into<String>) -> StreamBuilder<M> {
        StreamBuilder {
            handle: self.handle.clone(),
            name: name.into(),
            asked: Vec::new(),
            memory: PhantomData,
        }
    }
}

impl<M: Memory> StreamBuilder<M> {
    fn ask(mut self, minimum: bool, size: usize, alignment: usize, amount: Amount) -> Self {
        self.asked.push(Asked {
            size,
            alignment,
            minimum,
            amount,
        });
        self
    }

    /// Guarantees `count` buffers of the class that serves `size` bytes at `alignment`
    /// (bytes): they are set aside, and nobody else can take them. Without it nothing is
    /// guaranteed.
    pub fn minimum(self, size: usize, alignment: usize, count: usize) -> Self {
        self.ask(true, size, alignment, Amount::Buffers(count))
    }

    /// As [`minimum`](Self::minimum), of so many buffers as hold `bytes` bytes.
    pub fn minimum_bytes(self, size: usize, alignment: usize, bytes: usize) -> Self {
        self.ask(true, size, alignment, Amount::Bytes(bytes))
    }

    /// Lets the stream have no more than `count` buffers of that class at once. Without it
    /// it may have all.
    pub fn maximum(self, size: usize, alignment: usize, count: usize) -> Self {
        self.ask(false, size, alignment, Amount::Buffers(count))
    }

    /// As [`maximum`](Self::maximum), with so many buffers as have no more than `bytes`
    /// bytes.
    pub fn maximum_bytes(self, size: usize, alignment: usize, bytes: usize) -> Self {
        self.ask(false, size, alignment, Amount::Bytes(bytes))
    }

    /// Makes the stream, and sets its minima aside. Allocates; takes no lock; does not
    /// wait.
    ///
    /// # Errors
    ///
    /// [`StreamError`] says which, and the numbers. [`StreamError::Overcommitted`] if the
    /// minima of all streams would be more than there is; [`StreamError::InUse`] if they
    /// would not, but too many buffers are taken just now: a program makes its streams
    /// before it takes buffers, or tries again.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let pool = hugepool::Pool::builder().reserve(4096, 4096, 8).prefault(false).build()?;
    /// use hugepool::StreamError;
    ///
    /// let first = pool.stream("first").minimum(4096, 4096, 5).build()?;
    /// let second = pool.stream("second").minimum(4096, 4096, 4).build();
    /// assert!(matches!(
    ///     second.unwrap_err(),
    ///     StreamError::Overcommitted { promised: 5, capacity: 8, .. }
    /// ));
    /// # Ok(()) }
    /// ```
    pub fn build(self) -> Result<Stream<M>, StreamError> {
        let bytes = self.name.len();
        if bytes == 0 {
            return Err(StreamError::NoName);
        }
        if bytes > MAX_NAME {
            let limit = MAX_NAME;
            return Err(StreamError::NameTooLong { bytes, limit });
        }
        let wanted = self.wanted()?;
        if wanted.is_empty() {
            return Err(StreamError::NoShare);
        }
        // Whatever fails from here on, the drop of `inner` gives back what there is.
        let mut inner = Inner {
            shares: Vec::with_capacity(wanted.len()),
            name: self.name.into_boxed_str(),
            handle: self.handle,
        };
        for want in wanted {
            let share = Share::make(&inner.handle, &inner.name, &want)?;
            inner.shares.push(share);
        }
        Ok(Stream {
            inner: Arc::new(inner),
            memory: PhantomData,
        })
    }

    /// What was asked for, by class, smallest first.
    fn wanted(&self) -> Result<Vec<Wanted>, StreamError> {
        let catalog = &self.handle.shared().catalog;
        let mut wanted: Vec<Wanted> = Vec::new();
        for asked in &self.asked {
            let (size, alignment) = (asked.size, asked.alignment);
            let ladder = catalog
                .ladder(size, alignment)
                .map_err(StreamError::Class)?;
            // A ladder always has a first rung.
            let Some(rung) = ladder.iter().next() else {
                continue;
            };
            let at = match wanted.iter().position(|want| want.rung == rung) {
                Some(at) => at,
                None => {
                    wanted.push(Wanted {
                        rung,
                        minimum: None,
                        maximum: None,
                    });
                    wanted.len() - 1
                }
            };
            let (limit, count) = match (asked.minimum, asked.amount) {
                (true, Amount::Buffers(count)) => (&mut wanted[at].minimum, count),
                (true, Amount::Bytes(bytes)) => {
                    (&mut wanted[at].minimum, bytes.div_ceil(rung.size))
                }
                (false, Amount::Buffers(count)) => (&mut wanted[at].maximum, count),
                (false, Amount::Bytes(bytes)) => (&mut wanted[at].maximum, bytes / rung.size),
            };
            if limit.replace(count).is_some() {
                let (size, alignment) = (rung.size, rung.alignment);
                return Err(StreamError::Twice { size, alignment });
            }
        }
        wanted.sort_by_key(|want| (want.rung.size, want.rung.alignment));
        for want in &wanted {
            want.check()?;
        }
        Ok(wanted)
    }
}

impl Wanted {
    fn check(&self) -> Result<(), StreamError> {
        let (size, alignment) = (self.rung.size, self.rung.alignment);
        let minimum = self.minimum.unwrap_or(0);
        let maximum = self.maximum.unwrap_or(usize::MAX);
        if maximum == 0 {
            return Err(StreamError::ZeroMaximum { size, alignment });
        }
        if minimum > maximum {
            return Err(StreamError::MinimumAboveMaximum {
                size,
                minimum,
                maximum,
            });
        }
        Ok(())
    }
}

impl Share {
    /// Makes a share, and sets its minimum aside.
    fn make(handle: &Handle, name: &str, want: &Wanted) -> Result<Self, StreamError> {
        let lists = handle.shared().catalog.lists();
        let Rung {
            size,
            alignment,
            class,
        } = want.rung;
        let minimum = want.minimum.unwrap_or(0);
        let overcommitted = |promised: u64| StreamError::Overcommitted {
            size,
            minimum,
            promised: promised as usize,
            capacity: lists.capacity(class) as usize,
        };
        lists
            .promise(class, minimum as u64)
            .map_err(overcommitted)?;
        let refused = |error| {
            lists.unpromise(class, minimum as u64);
            error
        };
        let mut own = Self::set_aside(handle, class, minimum).map_err(|()| {
            let free = lists.free(class) as usize;
            refused(StreamError::InUse {
                size,
                minimum,
                free,
            })
        })?;
        let limits = Limits {
            class,
            // It fits: there are no more buffers than indices.
            minimum: minimum as u32,
            maximum: want.maximum.map_or(u32::MAX, |maximum| {
                u32::try_from(maximum).unwrap_or(u32::MAX)
            }),
        };
        let mut own = std::iter::from_fn(|| lists.next_of(&mut own));
        let Some(number) = lists.begin_quota(limits, name) else {
            // We hold a handle.
            own.for_each(|(line, index)| _ = lists.give(line, index));
            let limit = lists.quota_limit();
            return Err(refused(StreamError::TooManyShares { limit }));
        };
        lists.endow(number, own.by_ref().map(|(_, index)| index));
        lists.note_aside(class, minimum as u64, true);
        // Those who wait for more than there are left learn that.
        lists.line().rouse();
        Ok(Self {
            number,
            size,
            alignment,
            class,
            minimum,
            maximum: want.maximum,
        })
    }

    /// Takes `count` buffers of `class`.
    fn set_aside(handle: &Handle, class: ClassId, count: usize) -> Result<Several, ()> {
        if count == 0 {
            return Ok(Several::default());
        }
        let taken = handle.shared().catalog.lists().take_many(&[class], count);
        taken.map(Several::from).map_err(|_exhausted| ())
    }
}
