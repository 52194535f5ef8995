//! What goes from one side of the pipeline to the other.
//!
//! Owns the channels between the walk and the readers, and between the readers and the stripes' writers, and the choice
//! of a stripe. A channel to a writer never makes a reader wait: it has room for every buffer there is.
//!
//! ```text
//!   walk ──items──▶ readers ──filled buffers──▶ writers, a stripe or several each
//!                      ▲                           │
//!                      └────── free buffers ───────┘
//! ```

use std::fs::File;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crossbeam_channel::{Receiver, Sender, bounded};

use super::attributes::Seen;
use super::format::block::Packing;
use super::format::entry::Xattr;

/// A piece of work for a reader.
pub enum Item {
    /// Some that fit into a buffer.
    Files(Vec<Small>),
    /// A part of a file that does not.
    Slice {
        file: Arc<Large>,
        from: u64,
        to: u64,
    },
}

/// A file that fits into a buffer.
pub struct Small {
    pub entry: u32,
    pub folder: Arc<OwnedFd>,
    pub name: Box<[u8]>,
    pub seen: Seen,
}

/// A file that several readers may be at.
pub struct Large {
    pub entry: u32,
    pub file: File,
    /// The same, past the kernel's cache.
    pub direct: Option<Arc<File>>,
    pub seen: Seen,
    /// Who still has to do with it: the walk, and each slice. The last one says how it was.
    pub left: AtomicUsize,
    /// Bytes of it that are in blocks.
    pub data: AtomicU64,
    pub failed: Mutex<Option<String>>,
}

/// How the reading of a file ended.
pub struct Outcome {
    pub entry: u32,
    /// Bytes of it that are in blocks.
    pub data: u64,
    pub xattrs: Vec<Xattr>,
    /// It changed while it was read.
    pub changed: Option<String>,
    /// It could not be read to its end.
    pub unread: Option<String>,
    /// All of it was read, but not what else there is of it.
    pub lacks: Option<String>,
}

impl Outcome {
    /// Whether it says nothing but what the walk assumes of a file of `size` bytes.
    pub fn is_as_expected(&self, size: u64) -> bool {
        let fine = self.changed.is_none() && self.unread.is_none() && self.lacks.is_none();
        fine && self.data == size && self.xattrs.is_empty()
    }
}

impl Large {
    /// Says that the caller has nothing more to do with it. The last one is given what became of the file.
    pub fn release(&self) -> Option<Outcome> {
        // AcqRel: what the others added to `data` and `failed` before they released is seen by the last.
        if self.left.fetch_sub(1, Ordering::AcqRel) > 1 {
            return None;
        }
        Some(Outcome {
            entry: self.entry,
            data: self.data.load(Ordering::Relaxed),
            xattrs: Vec::new(),
            changed: self.seen.differs(&self.file),
            unread: self
                .failed
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .take(),
            lacks: None,
        })
    }

    pub fn fail(&self, why: String) {
        let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        failed.get_or_insert(why);
    }
}

/// A buffer with a payload, ready but for its place in a stripe.
pub struct Filled<S> {
    pub space: S,
    pub packing: Packing,
    pub raw: u32,
    pub stored: u32,
    pub sum: u32,
    /// How many of them stand in the header.
    pub segments: u32,
}

/// A block for the stripe that is at this place among those of a writer.
pub type Addressed<S> = (usize, Filled<S>);

/// The way to the writers.
pub struct Stripes<S> {
    lanes: Vec<Lane<S>>,
    /// Where the next search for a stripe begins, so that none is preferred.
    next: AtomicUsize,
}

struct Lane<S> {
    /// To the writer of this stripe, who may have others.
    sender: Sender<Addressed<S>>,
    at: usize,
    load: Arc<Load>,
}

/// What a stripe has to do, and what it was given. For the choice of one: a stale value makes a choice a little worse,
/// and nothing else depends on it.
#[derive(Default)]
pub struct Load {
    blocks: AtomicUsize,
    bytes: AtomicU64,
}

impl Load {
    /// A block was written.
    pub fn done(&self) {
        self.blocks.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A writer's end.
pub struct Outlet<S> {
    pub receiver: Receiver<Addressed<S>>,
    /// Its stripes: their numbers, and what they have to do.
    pub stripes: Vec<(u32, Arc<Load>)>,
}

impl<S> Stripes<S> {
    /// The ways to so many stripes, which `writers` threads share.
    pub fn new(count: usize, writers: usize, buffers: usize) -> (Stripes<S>, Vec<Outlet<S>>) {
        let mut senders = Vec::new();
        let mut outlets = Vec::new();
        for _ in 0..writers.clamp(1, count.max(1)) {
            let (sender, receiver) = bounded(buffers);
            senders.push(sender);
            outlets.push(Outlet {
                receiver,
                stripes: Vec::new(),
            });
        }
        let mut lanes = Vec::new();
        for stripe in 0..count {
            let writer = stripe % senders.len();
            let load = Arc::new(Load::default());
            let at = outlets[writer].stripes.len();
            outlets[writer]
                .stripes
                .push((stripe as u32, Arc::clone(&load)));
            let sender = senders[writer].clone();
            lanes.push(Lane { sender, at, load });
        }
        let next = AtomicUsize::new(0);
        (Stripes { lanes, next }, outlets)
    }

    /// Hands a buffer to the stripe with the fewest blocks before it, and among these to the one that has had the
    /// fewest bytes. False: its writer has gone, and the buffer is free.
    pub fn send(&self, filled: Filled<S>) -> bool {
        let count = self.lanes.len();
        let first = self.next.fetch_add(1, Ordering::Relaxed) % count;
        let load = |lane: &Lane<S>| {
            let blocks = lane.load.blocks.load(Ordering::Relaxed);
            (blocks, lane.load.bytes.load(Ordering::Relaxed))
        };
        let lanes = (first..first + count).map(|at| &self.lanes[at % count]);
        let Some(lane) = lanes.min_by_key(|lane| load(lane)) else {
            return false;
        };
        lane.load.blocks.fetch_add(1, Ordering::Relaxed);
        lane.load
            .bytes
            .fetch_add(filled.stored.into(), Ordering::Relaxed);
        lane.sender.send((lane.at, filled)).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(stored: u32) -> Filled<()> {
        Filled {
            space: (),
            packing: Packing::Plain,
            raw: stored,
            stored,
            sum: 0,
            segments: 1,
        }
    }

    #[test]
    fn each_stripe_has_one_writer_and_all_get_the_same_number_of_blocks() {
        for (count, writers) in [(1, 1), (1, 8), (7, 3), (1024, 16)] {
            let (stripes, outlets) = Stripes::new(count, writers, 2 * count);
            assert_eq!(outlets.len(), writers.min(count));
            for _ in 0..2 * count {
                assert!(stripes.send(filled(4096)));
            }
            let mut blocks = vec![0; count];
            for outlet in &outlets {
                for (at, _) in outlet.receiver.try_iter() {
                    blocks[outlet.stripes[at].0 as usize] += 1;
                }
            }
            assert_eq!(blocks, vec![2; count]);
        }
    }
}
