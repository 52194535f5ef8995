//! Stripes into files: reads every block of a backup, checks it, and hands its pieces on.
//!
//! Owns the threads of a restore and of a verify, and the account of every file: how many of its bytes are still to
//! come. What is left in the end says which files are damaged, whatever it was that was damaged. Uses `scan`; `restore`
//! and `verify` use it, each with a target of its own.

use std::io;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded};

use super::buffers::{Buffers, Space};
use super::crew;
use super::format::block::{Header, Packing, Segment};
use super::format::catalogue::Catalogue;
use super::format::entry::Kind;
use super::format::padded;
use super::rings::{Ahead, Rings};
use super::scan::{self, Damage, Damages, Loaded, Scanned};
use super::stop::Stop;
use super::store::Shelf;
use super::walk::Problem;
use crate::progress::Volume;

/// Where the pieces of files go.
pub trait Target: Sync {
    type Hand<'t>: Hand
    where
        Self: 't;

    /// What one thread works with.
    fn hand(&self) -> Self::Hand<'_>;
}

/// A thread's way to the target. An error is that of the file: it will not be whole.
pub trait Hand: Send {
    /// A piece of a file; `only`: there is no other.
    fn piece(&mut self, entry: u32, offset: u64, bytes: &[u8], only: bool) -> Result<(), String>;

    /// Every piece of the file was there.
    fn whole(&mut self, entry: u32) -> Result<(), String>;
}

/// What is read, and by how many.
pub struct Load<'l, B: Buffers, P> {
    pub around: scan::Surroundings<'l, B, P>,
    pub volume: &'l Volume,
    pub workers: usize,
    pub buffers: usize,
    pub rings: &'l Rings,
}

/// What came of it.
pub struct Done<H> {
    pub damages: Damages,
    pub problems: Vec<Problem>,
    /// Bytes of each entry that did not come.
    pub left: Vec<u64>,
    pub hands: Vec<H>,
    /// Bytes of files that came.
    pub bytes: u64,
    /// Bytes of stripes.
    pub stored: u64,
    pub for_buffers: Duration,
    pub for_blocks: Duration,
    /// What read the stripes.
    pub by: &'static str,
}

/// In place of the bytes that are still to come: the file is damaged in a way that no bytes mend.
const SPOILT: u64 = u64::MAX;

struct Worker<'l, H> {
    stop: &'l Stop,
    catalogue: &'l Catalogue,
    volume: &'l Volume,
    left: &'l [AtomicU64],
    hand: H,
    /// Where compressed payloads go.
    scratch: Vec<u8>,
    zstd: zstd::bulk::Decompressor<'static>,
    done: Worked,
}

#[derive(Default)]
struct Worked {
    damages: Damages,
    problems: Vec<Problem>,
    bytes: u64,
    for_blocks: Duration,
}

/// What a thread leaves: nothing, if it did not come to its end.
struct Left<H>(Option<(H, Worked)>);

impl<H> Default for Left<H> {
    fn default() -> Left<H> {
        Left(None)
    }
}

/// Threads that read stripes at the most. More would wait for the same disk, and a stripe is as good as another.
const MOST: usize = 16;

/// How many threads read so many stripes.
pub fn threads(stripes: usize) -> usize {
    stripes.min(MOST)
}

impl<'l, B: Buffers, P: Shelf> Load<'l, B, P> {
    /// Reads it all, or until the run is stopped. An error: a thread has no memory for what it needs.
    pub fn run<'t, T: Target>(&'l self, target: &'t T) -> io::Result<Done<T::Hand<'t>>> {
        let scan::Surroundings {
            stop, catalogue, ..
        } = self.around;
        let left: Vec<AtomicU64> = catalogue
            .entries
            .iter()
            .map(|entry| match entry.kind {
                Kind::File { data, .. } if !entry.flaws.unread => AtomicU64::new(data),
                _ => AtomicU64::new(0),
            })
            .collect();
        // It holds what there are buffers for.
        let (send, receive) = bounded::<Loaded<B::Space>>(self.buffers);
        let mut workers = Vec::new();
        for _ in 0..self.workers {
            workers.push(Worker {
                stop,
                catalogue,
                volume: self.volume,
                left: &left,
                hand: target.hand(),
                scratch: Vec::new(),
                zstd: zstd::bulk::Decompressor::new()?,
                done: Worked::default(),
            });
        }
        let by = self.rings.name();
        // The stripe that nobody reads yet.
        let next = AtomicU32::new(0);
        let (scans, works) = thread::scope(|scope| {
            let workers: Vec<_> = workers
                .into_iter()
                .map(|worker| {
                    let receive = receive.clone();
                    crew::start(scope, stop, "worker", move || worker.run(&receive))
                })
                .collect();
            // The scans' sending ends with the last worker, the workers' receiving with the last scan.
            drop(receive);
            let next = &next;
            let scans: Vec<_> = (0..threads(catalogue.stripes.len()))
                .map(|_| {
                    let send = send.clone();
                    crew::start(scope, stop, "stripes", move || self.stripes(next, &send))
                })
                .collect();
            drop(send);
            let scans: Vec<Scanned> = scans.into_iter().map(crew::join).collect();
            let works: Vec<Left<_>> = workers.into_iter().map(crew::join).collect();
            (scans, works)
        });
        let mut all = Scanned::default();
        scans.into_iter().for_each(|scanned| all.add(scanned));
        let mut done = Done {
            damages: all.damages,
            problems: Vec::new(),
            left: left.into_iter().map(AtomicU64::into_inner).collect(),
            hands: Vec::new(),
            bytes: 0,
            stored: all.bytes,
            for_buffers: all.for_buffers,
            for_blocks: Duration::ZERO,
            by,
        };
        for (hand, worked) in works.into_iter().filter_map(|left| left.0) {
            done.damages.extend(worked.damages);
            done.problems.extend(worked.problems);
            done.bytes += worked.bytes;
            done.for_blocks += worked.for_blocks;
            done.hands.push(hand);
        }
        let damages = &mut done.damages.list;
        damages.sort_by_key(|damage| (damage.stripe, damage.offset));
        Ok(done)
    }

    /// Reads stripes, one after the other, until none is left that nobody reads.
    fn stripes(&self, next: &AtomicU32, blocks: &Sender<Loaded<B::Space>>) -> Scanned {
        let mut scanned = Scanned::default();
        let count = self.around.catalogue.stripes.len() as u32;
        let mut ahead = self.rings.take().map(Ahead::new);
        while !self.around.stop.is_stopped() {
            // Relaxed: each number is given once, and nothing else depends on it.
            let stripe = next.fetch_add(1, Ordering::Relaxed);
            if stripe >= count {
                break;
            }
            scanned.add(scan::scan(&self.around, stripe, blocks, ahead.as_mut()));
        }
        scanned
    }
}

impl<H: Hand> Worker<'_, H> {
    fn run<S: Space>(mut self, blocks: &Receiver<Loaded<S>>) -> Left<H> {
        loop {
            let loaded = blocks.try_recv().or_else(|_| {
                let begun = Instant::now();
                let loaded = blocks.recv();
                self.done.for_blocks += begun.elapsed();
                loaded
            });
            let Ok(Loaded { space, header }) = loaded else {
                return Left(Some((self.hand, self.done)));
            };
            // Of a run that was stopped the rest is freed.
            if !self.stop.is_stopped()
                && let Err(what) = self.block(&space, &header)
            {
                self.done.damages.add(Damage {
                    stripe: header.stripe,
                    offset: Some(header.offset),
                    what,
                });
            }
        }
    }

    fn block<S: Space>(&mut self, space: &S, header: &Header) -> Result<(), String> {
        let stored = header.stored as usize;
        let padded = &space.data()[..padded(stored)];
        let sum = crc32fast::hash(padded);
        if sum != header.sum {
            return Err(format!(
                "the block's checksum is {sum:08x}, and its header says {:08x}",
                header.sum
            ));
        }
        let raw = header.raw as usize;
        let mut scratch = std::mem::take(&mut self.scratch);
        let payload = match header.packing {
            Packing::Plain => Ok(&padded[..raw]),
            Packing::Zstd => {
                scratch.resize(self.catalogue.transfer, 0);
                let into = &mut scratch[..raw];
                match self.zstd.decompress_to_buffer(&padded[..stored], into) {
                    Ok(count) if count == raw => Ok(&scratch[..raw]),
                    Ok(count) => Err(format!("unpacks to {count} bytes, and should to {raw}")),
                    Err(error) => Err(format!("cannot be unpacked: {error}")),
                }
            }
        };
        let result = payload.and_then(|payload| self.pieces(header, space.header(), payload));
        self.scratch = scratch;
        result
    }

    fn pieces(&mut self, header: &Header, table: &[u8], payload: &[u8]) -> Result<(), String> {
        let mut rest = payload;
        let mut result = Ok(());
        for segment in header.table(table) {
            let length = (segment.length as usize).min(rest.len());
            let (bytes, after) = rest.split_at(length);
            rest = after;
            // The others of the block may be good.
            let done = self.piece(&segment, bytes);
            result = result.and(done);
        }
        result
    }

    /// Checks where a piece belongs, and puts it there.
    fn piece(&mut self, segment: &Segment, bytes: &[u8]) -> Result<(), String> {
        let &Segment { entry, offset, .. } = segment;
        let (number, length) = (entry as usize, bytes.len() as u64);
        let Some(file) = self.catalogue.entries.get(number) else {
            return Err(format!("has a piece of entry {entry}, which there is not"));
        };
        let Kind::File { size, data } = file.kind else {
            return Err(format!("has a piece of entry {entry}, which is no file"));
        };
        if file.flaws.unread {
            return Ok(());
        }
        let left = &self.left[number];
        let entry = entry as u32;
        let end = offset.checked_add(length);
        if end.is_none_or(|end| end > size) {
            self.spoil(entry, UNFIT.to_owned());
            return Err(format!(
                "has bytes {offset} to {} of entry {entry}, which has {size}",
                offset.saturating_add(length)
            ));
        }
        let surplus =
            || format!("has more of entry {entry} than the {data} bytes that the catalogue says");
        let now = left.load(Ordering::Relaxed);
        if now == SPOILT {
            return Ok(());
        }
        if now < length {
            self.spoil(entry, UNFIT.to_owned());
            return Err(surplus());
        }
        if let Err(what) = self.hand.piece(entry, offset, bytes, length == data) {
            self.spoil(entry, what);
            return Ok(());
        }
        self.volume.done(length);
        self.done.bytes += length;
        // AcqRel: who takes the last of it finds the pieces of the others in the file.
        let taken = left.fetch_update(Ordering::AcqRel, Ordering::Relaxed, |now| {
            (now != SPOILT).then(|| now.saturating_sub(length))
        });
        match taken {
            Ok(before) if before == length => {
                if let Err(what) = self.hand.whole(entry) {
                    let path = self.catalogue.path(entry);
                    self.done.problems.push(Problem { path, what });
                }
            }
            // Another worker had more of it at the same time.
            Ok(before) if before < length => {
                self.spoil(entry, UNFIT.to_owned());
                return Err(surplus());
            }
            _ => {}
        }
        Ok(())
    }

    /// Nothing more comes of this file. Says so once.
    fn spoil(&mut self, entry: u32, what: String) {
        let before = self.left[entry as usize].swap(SPOILT, Ordering::Relaxed);
        if before != SPOILT {
            let path = self.catalogue.path(entry);
            self.done.problems.push(Problem { path, what });
        }
    }
}

/// What is said of a file of which there are more bytes than there should be, or others.
const UNFIT: &str = "its blocks do not fit together";

/// What is known of a file whose bytes did not all come, in words.
pub fn in_words(left: u64, data: u64) -> String {
    if left == SPOILT {
        UNFIT.to_owned()
    } else {
        format!("{left} of its {data} bytes are damaged or missing")
    }
}

/// Whether a file is damaged so that something was said of it already.
pub fn is_spoilt(left: u64) -> bool {
    left == SPOILT
}
