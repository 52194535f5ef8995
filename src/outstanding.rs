//! What is out of a pool, and who has it.
//!
//! Owns: the report, its order, its groups and its printing. Uses: `track`, `error`, `lists`, for how long a name is. Used
//! by: `pool`, which fills it; callers.

use crate::error::Bytes;
use crate::lists::MAX_NAME;
use crate::track::Place;
use std::collections::HashMap;
use std::fmt;
use std::ops::Deref;
use std::time::Duration;

/// A buffer that is out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Held {
    /// The place in the program that took it. Of a wait: where the wait began, and of a
    /// future where the future was made.
    pub place: Place,
    /// The stream that took it, and that it counts against.
    pub stream: Option<StreamName>,
    /// Its first byte.
    pub address: usize,
    /// Bytes that were asked for.
    pub size: usize,
    /// Bytes that its class holds: at least `size`.
    pub class_size: usize,
    /// What every buffer of its class is aligned to, in bytes.
    pub class_alignment: usize,
    /// Whether it is out as a raw pointer; otherwise as a [`Buffer`](crate::Buffer).
    pub raw: bool,
    /// For how long, by a clock that moves on every 1 to 10 ms.
    pub age: Duration,
}

/// The name of a [`Stream`](crate::Stream): derefs to it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct StreamName {
    bytes: [u8; MAX_NAME],
    len: u8,
}

impl StreamName {
    /// The first `len` of `bytes`, as far as they are a string.
    pub(crate) fn new((bytes, len): ([u8; MAX_NAME], usize)) -> Self {
        let len = match str::from_utf8(&bytes[..len]) {
            Ok(name) => name.len(),
            Err(error) => error.valid_up_to(),
        };
        Self {
            bytes,
            len: len as u8,
        }
    }
}

impl Deref for StreamName {
    type Target = str;

    fn deref(&self) -> &str {
        // It was made of a string.
        str::from_utf8(&self.bytes[..usize::from(self.len)]).unwrap_or_default()
    }
}

impl fmt::Display for StreamName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self)
    }
}

impl fmt::Debug for StreamName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}

/// The buffers that one place in the program took and that are out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct HeldByPlace {
    /// The place.
    pub place: Place,
    /// How many there are.
    pub count: usize,
    /// Bytes that their classes hold, all together.
    pub bytes: usize,
    /// For how long the oldest of them is out.
    pub oldest: Duration,
}

/// What is out of a pool, and who has it: [`Pool::outstanding`](crate::Pool::outstanding).
///
/// Displays as a table of places; with `{:#}`, of buffers, too.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outstanding {
    tracked: bool,
    /// Oldest first.
    buffers: Vec<Held>,
}

impl Outstanding {
    /// Of a pool that does not track its buffers.
    pub(crate) fn untracked() -> Self {
        Self::default()
    }

    /// `buffers` are out.
    pub(crate) fn new(mut buffers: Vec<Held>) -> Self {
        buffers.sort_by_key(|held| std::cmp::Reverse(held.age));
        Self {
            tracked: true,
            buffers,
        }
    }

    /// Whether the pool tracks its buffers ([`Builder::track`](crate::Builder::track)). If
    /// it does not, nothing is known of what is out, and this is empty.
    #[must_use]
    pub fn is_tracked(&self) -> bool {
        self.tracked
    }

    /// The buffers that are out, the oldest first.
    #[must_use]
    pub fn buffers(&self) -> &[Held] {
        &self.buffers
    }

    /// Who has them: one entry for each place that took some, the one with the oldest
    /// buffer first.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let pool = hugepool::Pool::builder().reserve(4096, 4096, 8).prefault(false).track(true).build()?;
    /// let batch = pool.allocate_many(4096, 4096, 3)?;
    /// let single = pool.allocate(4096, 4096)?;
    /// let counts: Vec<_> = pool.outstanding().by_place().iter().map(|of| of.count).collect();
    /// assert!(counts == [3, 1] || counts == [1, 3]); // the clock is coarse
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn by_place(&self) -> Vec<HeldByPlace> {
        let mut at = HashMap::new();
        let mut groups: Vec<HeldByPlace> = Vec::new();
        for held in &self.buffers {
            let next = groups.len();
            let at = *at.entry(held.place).or_insert(next);
            if at == next {
                groups.push(HeldByPlace {
                    place: held.place,
                    count: 0,
                    bytes: 0,
                    oldest: held.age,
                });
            }
            if let Some(group) = groups.get_mut(at) {
                group.count += 1;
                group.bytes += held.class_size;
            }
        }
        groups
    }
}

impl fmt::Display for Outstanding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.tracked {
            return write!(
                f,
                "not known: the pool does not track who takes its buffers"
            );
        }
        let bytes: usize = self.buffers.iter().map(|held| held.class_size).sum();
        let out = match self.buffers.len() {
            1 => "1 buffer out".to_owned(),
            count => format!("{count} buffers out"),
        };
        write!(f, "{out}, {}", Bytes::exact(bytes))?;
        if self.buffers.is_empty() {
            return Ok(());
        }
        let row = |f: &mut fmt::Formatter<'_>, count: &str, bytes: &str, oldest: &str| {
            write!(f, "\n{count:>9} {bytes:>12} {oldest:>10}  ")
        };
        row(f, "buffers", "bytes", "oldest")?;
        write!(f, "place")?;
        for group in self.by_place() {
            let (count, bytes) = (
                group.count.to_string(),
                Bytes::exact(group.bytes).to_string(),
            );
            row(f, &count, &bytes, &format!("{:.1?}", group.oldest))?;
            write!(f, "{}", group.place)?;
        }
        if !f.alternate() {
            return Ok(());
        }
        for held in &self.buffers {
            write!(
                f,
                "\n{:#x}: {} of {}/{}, {}for {:.1?}, by {}",
                held.address,
                Bytes::exact(held.size),
                Bytes::exact(held.class_size),
                held.class_alignment,
                if held.raw { "raw, " } else { "" },
                held.age,
                held.place
            )?;
            if let Some(stream) = held.stream {
                write!(f, ", of stream {stream}")?;
            }
        }
        Ok(())
    }
}
