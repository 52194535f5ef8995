//! Reads a stripe from its start to its end, block by block.
//!
//! Owns the way through it: what a header says is checked before it is believed, and after a damaged one the next whole
//! block is searched for, so that damage costs what it hits and no more. `load` has some threads that each run one after
//! the other, and workers, which check the payloads.

use std::io;
use std::time::{Duration, Instant};

use crossbeam_channel::Sender;

use super::buffers::{Buffers, Space, Stopped};
use super::format::block::{HEADER, Header, HeaderError, Kind, begins};
use super::format::catalogue::{Catalogue, Totals};
use super::format::{UNIT, padded};
use super::rings::{Ahead, Fetched, Span};
use super::stop::Stop;
use super::store::{Shelf, Source};

/// A block whose header is right, and whose payload nobody has looked at.
pub struct Loaded<S> {
    pub space: S,
    pub header: Header,
}

/// Something that is wrong with a stripe.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Damage {
    pub stripe: u32,
    /// Where in the stripe; `None`: all of it.
    pub offset: Option<u64>,
    pub what: String,
}

/// What is wrong, as far as it is worth a list: so that the list does not grow with a stripe that is all wrong.
#[derive(Default)]
pub struct Damages {
    pub list: Vec<Damage>,
    /// How many there were.
    pub count: u64,
}

impl Damages {
    const LISTED: usize = 100;

    pub fn add(&mut self, damage: Damage) {
        self.count += 1;
        if self.list.len() < Self::LISTED {
            self.list.push(damage);
        }
    }

    pub fn extend(&mut self, other: Damages) {
        self.count += other.count;
        self.list.extend(other.list);
    }
}

/// What came of a stripe.
#[derive(Default)]
pub struct Scanned {
    pub damages: Damages,
    pub bytes: u64,
    /// How long it waited for buffers.
    pub for_buffers: Duration,
}

impl Scanned {
    pub fn add(&mut self, other: Scanned) {
        self.damages.extend(other.damages);
        self.bytes += other.bytes;
        self.for_buffers += other.for_buffers;
    }
}

/// What a scan needs from the run.
pub struct Surroundings<'r, B: Buffers, P> {
    pub stop: &'r Stop,
    pub buffers: &'r B,
    pub shelf: &'r P,
    pub catalogue: &'r Catalogue,
}

/// Reads the stripe numbered `stripe`, and sends its blocks. With `ahead` it is read by io_uring, if it is a file.
pub fn scan<B: Buffers, P: Shelf>(
    around: &Surroundings<'_, B, P>,
    stripe: u32,
    blocks: &Sender<Loaded<B::Space>>,
    ahead: Option<&mut Ahead>,
) -> Scanned {
    let source = match around.shelf.open(stripe) {
        Ok(source) => source,
        Err(error) => {
            let what = match error.kind() {
                io::ErrorKind::NotFound => "is missing".to_owned(),
                _ => format!("cannot be opened: {error}"),
            };
            let mut scanned = Scanned::default();
            scanned.damages.add(Damage {
                stripe,
                offset: None,
                what,
            });
            return scanned;
        }
    };
    let mut scan = Scan {
        around,
        stripe,
        source,
        ahead,
        at: 0,
        sequence: 0,
        guess: around.catalogue.transfer,
        lost: false,
        scanned: Scanned::default(),
    };
    // The error would be that the run was stopped.
    let _ = scan.begin().and_then(|()| scan.run(blocks));
    scan.scanned
}

struct Scan<'r, B: Buffers, P: Shelf> {
    around: &'r Surroundings<'r, B, P>,
    stripe: u32,
    source: P::Source,
    ahead: Option<&'r mut Ahead>,
    /// Where the next block is.
    at: u64,
    /// What its number should be.
    sequence: u64,
    /// How many bytes of payload it probably has: as many as the one before.
    guess: usize,
    /// The last block was damaged, which was said; the next whole one is searched for.
    lost: bool,
    scanned: Scanned,
}

/// What was found where a block should begin.
enum Next {
    Block(Header),
    /// After it there is nothing more.
    Last,
    /// There is none: go on with the next one.
    None,
}

impl<B: Buffers, P: Shelf> Scan<'_, B, P> {
    fn begin(&mut self) -> Result<(), Stopped> {
        match &mut self.ahead {
            Some(ahead) => ahead.restart(self.around.stop, 1),
            None => Ok(()),
        }
    }

    fn run(&mut self, blocks: &Sender<Loaded<B::Space>>) -> Result<(), Stopped> {
        loop {
            if self.around.stop.is_stopped() {
                return Err(Stopped);
            }
            let Fetched { mut space, count } = self.fetch()?;
            match self.next(&mut space, count) {
                Next::Block(header) => {
                    let loaded = Loaded { space, header };
                    blocks.send(loaded).map_err(|_| Stopped)?;
                }
                Next::None => {}
                Next::Last => return Ok(()),
            }
        }
    }

    /// Reads what is probably the next block into a buffer.
    fn fetch(&mut self) -> Result<Fetched<B::Space>, Stopped> {
        let (to, stop, buffers) = (HEADER + self.guess, self.around.stop, self.around.buffers);
        let begun = Instant::now();
        if let Some(ahead) = &mut self.ahead
            && let Some(file) = self.source.file()
        {
            let span = Span {
                offset: self.at,
                from: 0,
                to,
                end: self.source.length().next_multiple_of(UNIT as u64),
            };
            let fetched = ahead.fetch(buffers, stop, file, span)?;
            self.scanned.for_buffers += std::mem::take(&mut ahead.waited);
            return Ok(fetched);
        }
        let mut space = buffers.take()?;
        self.scanned.for_buffers += begun.elapsed();
        let count = self.source.read(self.at, &mut space, 0, to, stop);
        Ok(Fetched { space, count })
    }

    fn next(&mut self, space: &mut B::Space, read: io::Result<usize>) -> Next {
        if self.around.stop.is_stopped() {
            // There may be less than the stripe has.
            return Next::Last;
        }
        let count = match read {
            Ok(count) => count,
            Err(error) => {
                self.damage(format!("cannot be read: {error}"));
                // On, past what is probably one bad place.
                self.lost = true;
                self.at += (HEADER + self.guess) as u64;
                return self.unless_over();
            }
        };
        if count == 0 {
            return self.over();
        }
        let backup = self.around.catalogue.backup;
        let header = &space.header()[..HEADER.min(count)];
        let read = Header::read(header, backup, self.stripe, self.at);
        let read = read.and_then(|header| {
            if header.raw as usize > self.around.catalogue.transfer {
                let Header { raw, stored, .. } = header;
                return Err(HeaderError::Lengths { raw, stored });
            }
            Ok(header)
        });
        match read {
            Err(error) => {
                if !self.lost {
                    self.damage(error.to_string());
                }
                self.search(space, count);
                self.unless_over()
            }
            Ok(header) => self.block(space, header, count),
        }
    }

    /// There is a header, with `count` bytes from its start on.
    fn block(&mut self, space: &mut B::Space, header: Header, count: usize) -> Next {
        // What was damaged may have been blocks, and was reported; what is missing otherwise was not.
        if header.sequence < self.sequence || (header.sequence > self.sequence && !self.lost) {
            let (found, expected) = (header.sequence, self.sequence);
            self.damage(format!(
                "is block {found} of its stripe, and should be {expected}"
            ));
        }
        self.lost = false;
        self.sequence = header.sequence + 1;
        if let Kind::End { blocks, bytes } = header.kind {
            return self.end(Totals { blocks, bytes }, header.offset);
        }
        let payload = padded(header.stored as usize);
        let mut have = count - HEADER;
        if have < payload && have == self.guess {
            let (to, stop) = (HEADER + payload, self.around.stop);
            match self.source.read(self.at, space, count, to, stop) {
                Ok(more) => have += more,
                Err(error) => self.damage(format!("cannot be read: {error}")),
            }
        }
        if have < payload {
            self.damage(format!("has {have} bytes, and should have {payload}"));
            self.at += header.span();
            self.lost = true;
            return self.unless_over();
        }
        self.at += header.span();
        self.guess = payload;
        self.scanned.bytes += header.span();
        Next::Block(header)
    }

    fn end(&mut self, said: Totals, at: u64) -> Next {
        let known = self.around.catalogue.stripes[self.stripe as usize];
        let here = Totals {
            blocks: self.sequence - 1,
            bytes: at,
        };
        if said != known || here != known {
            self.damage(format!(
                "ends after {} blocks and {} bytes, and the catalogue says {} and {}",
                here.blocks, here.bytes, known.blocks, known.bytes
            ));
        }
        self.at = at + HEADER as u64;
        let surplus = self.source.length().saturating_sub(self.at);
        if surplus > 0 {
            self.damage(format!("goes on for {surplus} bytes after its last block"));
        }
        Next::Last
    }

    /// Goes on to where the next block may begin: there are `count` bytes from here on.
    fn search(&mut self, space: &B::Space, count: usize) {
        self.lost = true;
        let have = count.saturating_sub(HEADER);
        let data = &space.data()[..have];
        let found = (0..have).step_by(UNIT).find(|&at| begins(&data[at..]));
        // Where there is none, the next read begins behind all that was looked at.
        self.at += (HEADER + found.unwrap_or(have.next_multiple_of(UNIT))) as u64;
    }

    /// On, if there is something to go on with.
    fn unless_over(&mut self) -> Next {
        if self.at < self.source.length() {
            Next::None
        } else {
            self.over()
        }
    }

    /// The stripe has nothing more, and its last block was not there.
    fn over(&mut self) -> Next {
        let known = self.around.catalogue.stripes[self.stripe as usize];
        self.damage(format!(
            "its last block is missing: {} blocks and {} bytes should be before it",
            known.blocks, known.bytes
        ));
        Next::Last
    }

    fn damage(&mut self, what: String) {
        self.scanned.damages.add(Damage {
            stripe: self.stripe,
            offset: Some(self.at),
            what,
        });
    }
}
