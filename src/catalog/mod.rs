//! What a pool has: its classes, its segments, and the way from a request to a
//! buffer.
//!
//! Owns: the directory, and the order in which growth and trimming become
//! visible. Uses: `class`, `lists`, `snapshot`, `region`. Used by: `pool`, `buffer`.
//!
//! # Growing and shrinking
//!
//! ```text
//!   admit:  0. memory for batches            (all that can fail, but for the number
//!                                             of classes)
//!           1. directory names the segment   (and the class, if it is new)
//!           2. the class's constants          a request can be measured
//!           3. the look-up table              a request can find the class
//!           4. buffers into the depot         a request can take one
//!
//!   trim:   1. every buffer of the segment out of the lists
//!           2. directory forgets the segment  (its memory goes when the last
//!                                             reader of an old directory goes)
//! ```
//!
//! So a buffer that anybody holds has its class defined and its segment in the
//! directory. Several threads may grow and trim at once: each step is one
//! compare-and-swap, or writes what every other thread would write there.
//!
//! Requests never read the directory. What they read (look-up table, constants,
//! lists) is laid out for the largest pool before the first request and is only
//! ever added to.

mod request;

use crate::cache::CpuCaches;
use crate::class::{ClassId, Classes, Geometry, Ladder, Line, MAX_CLASSES};
use crate::error::BuildError;
use crate::lists::FreeLists;
use crate::region::RegionId;
use crate::snapshot::Snapshot;
use crate::sync::{Arc, Ordering, fault, fence};
use crate::word::Index;
#[cfg(not(hugepool_loom))]
use core::ptr::NonNull;

/// Memory that holds the buffers of one class.
pub trait Holder: Send + Sync {
    /// The granule at which the memory begins.
    fn first(&self) -> usize;
    /// How many buffers it holds.
    fn count(&self) -> usize;
    /// Told once which class its buffers belong to, and what it is called: when the class
    /// can be found, and before any of them is handed out.
    fn assign(&self, class: ClassId, geometry: &Geometry, id: RegionId);
}

/// A segment in the directory.
pub struct Entry<S> {
    /// The memory.
    pub segment: Arc<S>,
    /// The class whose buffers it holds.
    pub class: ClassId,
    /// Whether it was added after the pool was built, so that trimming may take
    /// it away.
    pub grown: bool,
    /// Its name. Its generation is the version of the directory that named it first: no
    /// other segment has that, and those that come later have greater ones.
    pub id: RegionId,
}

impl<S> Clone for Entry<S> {
    fn clone(&self) -> Self {
        Self {
            segment: Arc::clone(&self.segment),
            ..*self
        }
    }
}

/// Everything a pool has, at one moment.
pub struct Directory<S> {
    /// Grows with every change.
    version: u64,
    /// Every class the pool ever had, by its number.
    pub classes: Vec<Geometry>,
    /// The segments.
    pub segments: Vec<Entry<S>>,
}

impl<S> Directory<S> {
    fn has_segment(&self, class: ClassId) -> bool {
        self.segments.iter().any(|entry| entry.class == class)
    }

    fn ladder(&self, classes: &Classes) -> Ladder {
        classes.ladder(|rung| self.has_segment(rung.class))
    }

    fn class_of(&self, geometry: &Geometry) -> Option<ClassId> {
        let at = self.classes.iter().position(|other| other == geometry)?;
        ClassId::new(at)
    }
}

/// A buffer that was taken for a request.
#[derive(Clone, Copy)]
pub struct Taken<'a> {
    /// Its class.
    pub line: &'a Line,
    /// Its number.
    pub index: Index,
}

impl Taken<'_> {
    /// Its data start.
    #[cfg(not(hugepool_loom))]
    #[inline(always)]
    pub fn data(&self) -> NonNull<u8> {
        let start = self.line.start(self.index);
        debug_assert!(!start.is_null());
        // SAFETY: it lies in the arena, which does not begin at address 0.
        unsafe { NonNull::new_unchecked(start) }
    }
}

/// The classes, lists and directory of a pool.
pub struct Catalog<S, C> {
    lists: FreeLists<C>,
    directory: Snapshot<Directory<S>>,
    climb: usize,
}

impl<S: Holder, C: CpuCaches> Catalog<S, C> {
    /// An empty catalog. A request may climb to classes `climb` times its size.
    pub fn new(lists: FreeLists<C>, climb: usize) -> Self {
        Self {
            lists,
            directory: Snapshot::new(Directory {
                version: 0,
                classes: Vec::new(),
                segments: Vec::new(),
            }),
            climb,
        }
    }

    /// The classes.
    #[inline]
    pub fn classes(&self) -> &Classes {
        self.lists.classes()
    }

    /// The free lists.
    #[inline]
    pub fn lists(&self) -> &FreeLists<C> {
        &self.lists
    }

    /// Calls `read` with the directory, which stays whole until it returns.
    pub fn read<R>(&self, read: impl FnOnce(&Directory<S>) -> R) -> R {
        self.directory.read(read)
    }

    /// Makes the buffers of `segment` available as a class of `geometry`. See
    /// the module for the order. What is kept by their numbers is open. Fails, with nothing
    /// changed, if there are too many classes, or no memory for batches.
    pub fn admit(
        &self,
        geometry: &Geometry,
        segment: Arc<S>,
        grown: bool,
    ) -> Result<ClassId, BuildError> {
        let nth = |k| geometry.nth(segment.first(), k);
        if fault!(StockFirst, true, false) {
            self.lists.stock(ClassId::FIRST, segment.count(), nth);
        }
        let known = self.read(|directory| {
            let known = directory.class_of(geometry);
            let limit = MAX_CLASSES;
            match known.is_none() && directory.classes.len() >= limit {
                true => Err(BuildError::TooManyClasses { limit }),
                false => Ok(known),
            }
        })?;
        let (count, stride) = (segment.count(), geometry.stride());
        let opened = (self.lists).open_batches(&self.class_ids(), known, count, stride);
        // Some 13 bytes a buffer.
        opened.map_err(BuildError::no_memory_for(16 * count))?;
        let (class, id) = self.directory.replace(|directory| {
            let mut classes = directory.classes.clone();
            let class = match directory.class_of(geometry) {
                Some(class) => class,
                None => {
                    let limit = MAX_CLASSES;
                    let class =
                        ClassId::new(classes.len()).ok_or(BuildError::TooManyClasses { limit })?;
                    classes.push(*geometry);
                    class
                }
            };
            let mut segments = directory.segments.clone();
            let taken = segments.iter().map(|entry| entry.id);
            let id = RegionId::free(taken, directory.version + 1);
            segments.push(Entry {
                segment: Arc::clone(&segment),
                class,
                grown,
                id,
            });
            let next = Directory {
                version: directory.version + 1,
                classes,
                segments,
            };
            Ok((next, (class, id)))
        })?;
        self.publish();
        segment.assign(class, geometry, id);
        self.share_out(class, segment.count());
        let classes = self.class_ids();
        self.lists.prepare(classes.iter().map(|&other| {
            let more = if other == class { segment.count() } else { 0 };
            (other, self.lists.capacity(other) as usize + more)
        }));
        if fault!(StockFirst, false, true) {
            self.lists.populate(class);
            self.lists.stock(class, segment.count(), nth);
        }
        Ok(class)
    }

    /// Sets what a processor's cache of `class` may hold, for the buffers the
    /// class has and `more`.
    fn share_out(&self, class: ClassId, more: usize) {
        let buffers = self.lists.capacity(class) as usize + more;
        self.lists
            .share_out(class, buffers, self.classes().line(class).stride());
    }

    /// Makes the look-up table agree with the directory. A slower thread may
    /// overwrite our entries with those of an older directory, but then it
    /// finds, as we do below, that the directory has moved on, and starts over.
    fn publish(&self) {
        // SeqCst: see below.
        fence(Ordering::SeqCst);
        let write = |directory: &Directory<S>| {
            for (at, geometry) in directory.classes.iter().enumerate() {
                if let Some(id) = ClassId::new(at) {
                    self.classes().define(id, geometry);
                }
            }
            self.classes().publish(&directory.ladder(self.classes()));
            directory.version
        };
        let mut written = self.read(write);
        loop {
            // SeqCst: our entries before our look at the version. The thread
            // that publishes a newer version stores that before its own entries,
            // with the same fence between: either we see its version here, or
            // its entries come after ours.
            fence(Ordering::SeqCst);
            let settled = self.read(|directory| directory.version) == written;
            if fault!(PublishOnce, true, settled) {
                return;
            }
            written = self.read(write);
        }
    }

    /// Takes away every segment that was added after the pool was built and
    /// whose buffers are all home. Gives what it took; the memory goes back when
    /// these and the directories that name them are dropped (`reclaim`).
    pub fn trim(&self) -> Vec<Entry<S>> {
        let (geometries, grown) = self.read(|directory| {
            let grown: Vec<Entry<S>> = directory
                .segments
                .iter()
                .filter(|entry| entry.grown)
                .cloned()
                .collect();
            (directory.classes.clone(), grown)
        });
        let mut gone = Vec::new();
        for (at, geometry) in geometries.iter().enumerate() {
            let Some(id) = ClassId::new(at) else { break };
            let mut spans: Vec<(usize, usize, usize)> = grown
                .iter()
                .filter(|entry| entry.class == id)
                .map(|entry| {
                    let (first, count) = (entry.segment.first(), entry.segment.count());
                    let last = geometry.nth(first, count - 1).map_or(first, |index| {
                        // The block of the last chunk.
                        index.block() as usize
                    });
                    (first, last, count)
                })
                .collect();
            if spans.is_empty() {
                continue;
            }
            spans.sort_unstable();
            let span_of = |index: Index| {
                let block = index.block() as usize;
                let at = spans.partition_point(|&(first, _, _)| first <= block);
                let span = spans.get(at.checked_sub(1)?)?;
                (block <= span.1).then_some(*span)
            };
            // Nothing can be complete if fewer are free than the smallest has.
            let smallest = spans.iter().map(|span| span.2).min().unwrap_or(0);
            if (self.lists.free(id) as usize) < smallest {
                continue;
            }
            gone.extend(self.lists.retire(
                id,
                |index| span_of(index).map(|(first, _, _)| first),
                |first| {
                    let at = spans.partition_point(|span| span.0 < first);
                    spans.get(at).map_or(0, |span| span.2)
                },
            ));
        }
        if gone.is_empty() {
            return Vec::new();
        }
        let forget = |directory: &Directory<S>| -> Result<_, std::convert::Infallible> {
            let (taken, segments): (Vec<_>, Vec<_>) = directory
                .segments
                .iter()
                .cloned()
                .partition(|entry| gone.contains(&entry.segment.first()));
            let next = Directory {
                version: directory.version + 1,
                classes: directory.classes.clone(),
                segments,
            };
            Ok((next, taken))
        };
        let Ok(taken) = self.directory.replace(forget);
        self.publish();
        // Those who wait for a class that is gone wait for nothing, or for another.
        self.lists.line().rouse();
        for entry in &taken {
            self.share_out(entry.class, 0);
        }
        taken
    }

    /// Drops retired directories that nobody can read any more.
    pub fn reclaim(&self) {
        self.directory.reclaim();
    }

    /// Every class.
    pub fn class_ids(&self) -> Vec<ClassId> {
        self.classes()
            .ladder(|_| true)
            .iter()
            .map(|rung| rung.class)
            .collect()
    }
}
