//! A reader: reads files into buffers, and hands these to the stripes.
//!
//! Owns the packing of small files into one block, the cutting of large ones, compression and checksums. It holds one
//! buffer at a time, and while it waits for one it holds none: so any number of readers get on with any number of
//! buffers. `backup` runs each in a thread of its own.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crossbeam_channel::Receiver;
use rustix::fs::{SeekFrom, seek};
use rustix::io::Errno;

use super::attributes::{Seen, Xattrs};
use super::buffers::{Buffers, Space, Stopped};
use super::format::block::{HEADER, Packing, SEGMENTS, Segment, put_segment};
use super::format::{UNIT, padded};
use super::open::open_file;
use super::pipe::{Filled, Item, Large, Outcome, Small, Stripes};
use super::rings::{Ahead, Fetched, READS, Span};
use super::stop::Stop;
use crate::progress::Volume;

/// How much zstd tries: its own default.
const LEVEL: i32 = 3;

/// What a reader did.
#[derive(Default)]
pub struct Read {
    pub outcomes: Vec<Outcome>,
    /// Bytes of files in the blocks that it handed over.
    pub bytes: u64,
    /// How long it waited for buffers, and for something to do.
    pub for_buffers: Duration,
    pub for_items: Duration,
}

/// What a reader needs from the run.
pub struct Surroundings<'r, B: Buffers> {
    pub stop: &'r Stop,
    pub volume: &'r Volume,
    pub buffers: &'r B,
    pub transfer: usize,
    pub stripes: Stripes<B::Space>,
    /// Large files are read so, by readers that read ahead.
    pub past_the_cache: bool,
}

pub struct Reader<'r, B: Buffers> {
    around: Arc<Surroundings<'r, B>>,
    /// Where files are read to when blocks are compressed: that goes from here into a buffer.
    scratch: Option<Scratch<B::Space>>,
    /// The block that is being filled.
    block: Option<Block<B::Space>>,
    xattrs: Xattrs,
    read: Read,
    /// What reads slices past the kernel's cache. It holds no buffer between two slices.
    pub ahead: Option<Ahead>,
}

struct Scratch<S> {
    space: Option<S>,
    zstd: zstd::bulk::Compressor<'static>,
}

struct Block<S> {
    space: S,
    filled: usize,
    segments: usize,
}

impl<S: Space> Block<S> {
    fn room(&self) -> usize {
        self.space.data().len() - self.filled
    }

    /// Notes that the next `length` bytes are there.
    fn add(&mut self, entry: u32, offset: u64, length: usize) {
        let segment = Segment {
            entry: entry.into(),
            offset,
            length: length as u32,
        };
        put_segment(self.space.header_mut(), self.segments, &segment);
        self.segments += 1;
        self.filled += length;
    }
}

/// Why a file was not read to its end.
enum Failed {
    Stopped,
    File(String),
}

impl From<Stopped> for Failed {
    fn from(_: Stopped) -> Failed {
        Failed::Stopped
    }
}

impl<'r, B: Buffers> Reader<'r, B> {
    /// One that compresses has a buffer of its own for that.
    pub fn new(
        around: &Arc<Surroundings<'r, B>>,
        scratch: Option<B::Space>,
    ) -> io::Result<Reader<'r, B>> {
        let scratch = match scratch {
            None => None,
            Some(space) => Some(Scratch {
                space: Some(space),
                zstd: zstd::bulk::Compressor::new(LEVEL)?,
            }),
        };
        Ok(Reader {
            around: Arc::clone(around),
            scratch,
            block: None,
            xattrs: Xattrs::new(),
            read: Read::default(),
            ahead: None,
        })
    }

    /// Works until there is nothing more to do, or the run is stopped.
    pub fn run(mut self, items: &Receiver<Item>) -> Read {
        loop {
            let item = items.try_recv().or_else(|_| {
                let begun = Instant::now();
                let item = items.recv();
                self.read.for_items += begun.elapsed();
                item
            });
            let Ok(item) = item else { break };
            if self.around.stop.is_stopped() {
                return self.read;
            }
            let done = match item {
                Item::Files(files) => files.iter().try_for_each(|file| self.small(file)),
                Item::Slice { file, from, to } => self.slice(&file, from, to),
            };
            if done.is_err() {
                return self.read;
            }
        }
        // The error would be that the run was stopped.
        let _ = self.flush();
        self.read
    }

    fn small(&mut self, file: &Small) -> Result<(), Stopped> {
        let Small {
            entry,
            folder,
            name,
            seen,
        } = file;
        let entry = *entry;
        let mut outcome = Outcome {
            entry,
            data: 0,
            xattrs: Vec::new(),
            changed: None,
            unread: None,
            lacks: None,
        };
        match open_file(folder, name) {
            Err(why) => outcome.unread = Some(why),
            Ok(file) => {
                match self.xattrs.of(file.as_fd()) {
                    Ok(xattrs) => outcome.xattrs = xattrs,
                    Err(error) => outcome.lacks = Some(format!("extended attributes: {error}")),
                }
                match self.contents(entry, &file, seen) {
                    Ok(data) => outcome.data = data,
                    Err(Failed::Stopped) => return Err(Stopped),
                    Err(Failed::File(why)) => outcome.unread = Some(why),
                }
                outcome.changed = seen.differs(&file);
            }
        }
        if !outcome.is_as_expected(seen.size) {
            self.read.outcomes.push(outcome);
        }
        Ok(())
    }

    /// Reads a small file into the block; where that fails, nothing of it is there.
    fn contents(&mut self, entry: u32, file: &File, seen: &Seen) -> Result<u64, Failed> {
        if seen.size == 0 {
            return Ok(0);
        }
        let fits =
            |block: &Block<B::Space>| block.room() as u64 >= seen.size && block.segments < SEGMENTS;
        if self.block.as_ref().is_some_and(|block| !fits(block)) {
            self.flush()?;
        }
        self.block()?;
        let before = self
            .block
            .as_ref()
            .map(|block| (block.filled, block.segments));
        let read = self.range(entry, file, (0, seen.size), seen.sparse, 0);
        if read.is_err()
            && let (Some(block), Some((filled, segments))) = (&mut self.block, before)
        {
            // What other blocks have of it, nobody will use.
            block.filled = filled.min(block.filled);
            block.segments = segments.min(block.segments);
        }
        read
    }

    fn slice(&mut self, file: &Large, from: u64, to: u64) -> Result<(), Stopped> {
        // Full blocks, from the first on.
        self.flush()?;
        let read = match (self.ahead.take(), &file.direct) {
            (Some(mut ahead), Some(direct)) => {
                let read = self.past_the_cache(&mut ahead, file, direct, (from, to));
                self.read.for_buffers += std::mem::take(&mut ahead.waited);
                self.ahead = Some(ahead);
                read
            }
            (ahead, _) => {
                self.ahead = ahead;
                self.range(file.entry, &file.file, (from, to), file.seen.sparse, 0)
            }
        };
        match read {
            Ok(data) => {
                // Relaxed: `release` orders it before the last one's look.
                file.data.fetch_add(data, Ordering::Relaxed);
            }
            Err(Failed::Stopped) => return Err(Stopped),
            Err(Failed::File(why)) => file.fail(why),
        }
        if let Some(outcome) = file.release()
            && !outcome.is_as_expected(file.seen.size)
        {
            self.read.outcomes.push(outcome);
        }
        Ok(())
    }

    /// Reads a range of a file past the kernel's cache, block by block; where that does not work, through the cache.
    fn past_the_cache(
        &mut self,
        ahead: &mut Ahead,
        file: &Large,
        direct: &Arc<File>,
        (from, to): (u64, u64),
    ) -> Result<u64, Failed> {
        let around = Arc::clone(&self.around);
        let stop = around.stop;
        ahead.restart(stop, READS)?;
        let mut at = from;
        let result = loop {
            if stop.is_stopped() {
                return Err(Failed::Stopped);
            }
            if at >= to {
                break Ok(());
            }
            let span = Span {
                offset: at,
                from: HEADER,
                to: HEADER + around.transfer,
                end: to.next_multiple_of(UNIT as u64),
            };
            let Fetched { space, count } = ahead.fetch(around.buffers, stop, direct, span)?;
            let count = match count {
                // It may have grown.
                Ok(count) => (count as u64).min(to - at) as usize,
                Err(error) => break Err(error),
            };
            if count == 0 {
                // It ends earlier than it did: `Seen::differs` will say so.
                break Ok(());
            }
            let mut block = Block {
                space,
                filled: 0,
                segments: 0,
            };
            block.add(file.entry, at, count);
            self.block = Some(block);
            around.volume.done(count as u64);
            self.flush()?;
            at += count as u64;
            if !count.is_multiple_of(UNIT) {
                break Ok(());
            }
        };
        // What was read ahead in vain is free before there is a wait for a buffer.
        ahead.restart(stop, 0)?;
        match result {
            Ok(()) => Ok(at - from),
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {
                self.range(file.entry, &file.file, (at, to), false, at - from)
            }
            Err(error) => Err(Failed::File(format!(
                "cannot be read at byte {at}: {error}"
            ))),
        }
    }

    /// Reads what there is of a file in a range, without its holes. Gives the bytes that were there.
    fn range(
        &mut self,
        entry: u32,
        file: &File,
        (from, to): (u64, u64),
        sparse: bool,
        mut data: u64,
    ) -> Result<u64, Failed> {
        let mut at = from;
        while at < to {
            let mut end = to;
            if sparse {
                match seek(file, SeekFrom::Data(at)) {
                    Ok(start) if start < to => at = start.max(at),
                    Ok(_) | Err(Errno::NXIO) => return Ok(data),
                    // A file system that knows no holes.
                    Err(_) => {}
                }
                end = seek(file, SeekFrom::Hole(at)).map_or(to, |hole| hole.clamp(at + 1, to));
            }
            while at < end {
                let count = self.piece(entry, file, at, end - at)?;
                if count == 0 {
                    // It ends earlier than it did: `Seen::differs` will say so.
                    return Ok(data);
                }
                at += count as u64;
                data += count as u64;
            }
        }
        Ok(data)
    }

    /// Reads up to `most` bytes from `offset` on into the block, as much as it has room for. 0: the file's end.
    fn piece(&mut self, entry: u32, file: &File, offset: u64, most: u64) -> Result<usize, Failed> {
        let full = |block: &Block<B::Space>| block.room() == 0 || block.segments == SEGMENTS;
        if self.block.as_ref().is_some_and(full) {
            self.flush()?;
        }
        let stop = self.around.stop;
        let block = self.block()?;
        let most = block
            .room()
            .min(usize::try_from(most).unwrap_or(usize::MAX));
        let filled = block.filled;
        let into = &mut block.space.data_mut()[filled..filled + most];
        let mut count = 0;
        while count < most {
            if stop.is_stopped() {
                return Err(Failed::Stopped);
            }
            match file.read_at(&mut into[count..], offset + count as u64) {
                Ok(0) => break,
                Ok(more) => count += more,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    let at = offset + count as u64;
                    return Err(Failed::File(format!(
                        "cannot be read at byte {at}: {error}"
                    )));
                }
            }
        }
        if count > 0 {
            block.add(entry, offset, count);
            self.around.volume.done(count as u64);
        }
        Ok(count)
    }

    /// The block that is being filled, or a new one.
    fn block(&mut self) -> Result<&mut Block<B::Space>, Stopped> {
        if self.block.is_none() {
            let own = self
                .scratch
                .as_mut()
                .and_then(|scratch| scratch.space.take());
            let space = match own {
                Some(space) => space,
                None => self.take()?,
            };
            self.block = Some(Block {
                space,
                filled: 0,
                segments: 0,
            });
        }
        self.block.as_mut().ok_or(Stopped)
    }

    fn take(&mut self) -> Result<B::Space, Stopped> {
        let begun = Instant::now();
        let space = self.around.buffers.take();
        self.read.for_buffers += begun.elapsed();
        space
    }

    /// Hands the block to a stripe.
    fn flush(&mut self) -> Result<(), Stopped> {
        let Some(block) = self.block.take() else {
            return Ok(());
        };
        let Block {
            space,
            filled,
            segments,
        } = block;
        let (mut space, packing, stored) = if self.scratch.is_none() {
            (space, Packing::Plain, filled)
        } else if filled == 0 {
            self.keep(space);
            return Ok(());
        } else {
            self.compress(space, filled)?
        };
        if filled == 0 {
            return Ok(());
        }
        let whole = padded(stored);
        let data = &mut space.data_mut()[..whole];
        data[stored..].fill(0);
        let sum = crc32fast::hash(data);
        self.read.bytes += filled as u64;
        let filled = Filled {
            space,
            packing,
            raw: filled as u32,
            stored: stored as u32,
            sum,
            segments: segments as u32,
        };
        if self.around.stripes.send(filled) {
            Ok(())
        } else {
            Err(Stopped)
        }
    }

    /// Compresses `filled` bytes into a buffer, or copies them there where that makes them no less.
    fn compress(
        &mut self,
        from: B::Space,
        filled: usize,
    ) -> Result<(B::Space, Packing, usize), Stopped> {
        let mut space = self.take()?;
        space.header_mut()[..HEADER].copy_from_slice(&from.header()[..HEADER]);
        let (raw, into) = (&from.data()[..filled], space.data_mut());
        let zstd = self.scratch.as_mut().map(|scratch| &mut scratch.zstd);
        // It fails where the result has no room: that is where it would be no less.
        let less = zstd.and_then(|zstd| zstd.compress_to_buffer(raw, &mut into[..filled - 1]).ok());
        let (packing, stored) = match less {
            Some(stored) => (Packing::Zstd, stored),
            None => {
                into[..filled].copy_from_slice(raw);
                (Packing::Plain, filled)
            }
        };
        self.keep(from);
        Ok((space, packing, stored))
    }

    /// Takes the reader's own buffer back.
    fn keep(&mut self, space: B::Space) {
        if let Some(scratch) = &mut self.scratch {
            scratch.space = Some(space);
        }
    }
}
