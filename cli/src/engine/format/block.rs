//! A block's header: 4096 bytes right before the block's payload.
//!
//! Owns their layout, and every check that needs no other block. The backup's readers and writers make headers;
//! `scan` reads them. `docs/engine.md` has the layout byte by byte.
//!
//! ```text
//!   0        24     32        40     48   52      56       60   64      80     128                       4092
//!   magic id  kind…  stripe…  offset raw  stored segments sum  totals  zeroes  segments of 24 bytes each  sum
//! ```
//!
//! A segment says of which file, from which place in it, the next bytes of the payload are. So a block says by itself
//! where its bytes belong, and no list of blocks is kept anywhere.

use std::fmt;

use super::bytes::{Cursor, Front, Put};
use super::{Id, TRANSFER, UNIT, VERSION, padded};

/// Bytes of a header.
pub const HEADER: usize = 4096;
/// Segments that a block has room for.
pub const SEGMENTS: usize = (SUM_AT - TABLE_AT) / SEGMENT;

const MAGIC: &[u8; 8] = b"HPBLOCK\x01";
const TABLE_AT: usize = 128;
const SEGMENT: usize = 24;
const SUM_AT: usize = HEADER - 4;

/// What a block is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// It holds pieces of files.
    Data,
    /// The last one of its stripe: there were so many blocks, with so many bytes, before it.
    End { blocks: u64, bytes: u64 },
}

/// How a payload is stored.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Packing {
    Plain,
    Zstd,
}

/// A piece of a file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Segment {
    /// The file's number in the catalogue.
    pub entry: u64,
    /// Where in the file.
    pub offset: u64,
    pub length: u32,
}

/// What a header says, but for its segments.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Header {
    pub backup: Id,
    pub kind: Kind,
    pub packing: Packing,
    pub stripe: u32,
    /// The block's number in its stripe.
    pub sequence: u64,
    /// Where the header is in its stripe.
    pub offset: u64,
    /// Bytes of all segments together.
    pub raw: u32,
    /// Bytes of the payload as it is stored, without padding.
    pub stored: u32,
    pub segments: u32,
    /// CRC-32 of the payload as it is stored, with its padding.
    pub sum: u32,
}

/// Why bytes are no header, or not the one that belongs there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum HeaderError {
    /// It ends before 4096 bytes.
    Short {
        found: usize,
    },
    /// The first bytes are others.
    Magic,
    /// The header's checksum is another.
    Sum {
        stated: u32,
        found: u32,
    },
    Version {
        found: u16,
    },
    Kind {
        found: u8,
    },
    Packing {
        found: u8,
    },
    /// It is that of another backup's block.
    Backup {
        found: Id,
    },
    Stripe {
        found: u32,
        expected: u32,
    },
    Offset {
        found: u64,
        expected: u64,
    },
    /// Lengths that cannot be those of one block.
    Lengths {
        raw: u32,
        stored: u32,
    },
    Segments {
        found: u32,
    },
    /// The segments are shorter or longer than the payload.
    Sizes {
        segments: u64,
        raw: u32,
    },
}

impl fmt::Display for HeaderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Short { found } => write!(f, "{found} bytes are too few for a header"),
            Self::Magic => f.write_str("no block begins here"),
            Self::Sum { stated, found } => write!(
                f,
                "the header's checksum is {found:08x}, and it says {stated:08x}"
            ),
            Self::Version { found } => write!(
                f,
                "the format's version is {found}, and this program reads {VERSION}"
            ),
            Self::Kind { found } => write!(f, "no block is of kind {found}"),
            Self::Packing { found } => write!(f, "no block is compressed by method {found}"),
            Self::Backup { found } => write!(f, "it is a block of the backup {found}"),
            Self::Stripe { found, expected } => {
                write!(f, "it is a block of stripe {found}, not of {expected}")
            }
            Self::Offset { found, expected } => {
                write!(f, "it is the block of offset {found}, not of {expected}")
            }
            Self::Lengths { raw, stored } => write!(
                f,
                "a block cannot hold {raw} bytes in {stored}: at most {} in no more",
                TRANSFER.end()
            ),
            Self::Segments { found } => {
                write!(f, "{found} segments are more than {SEGMENTS}, or none")
            }
            Self::Sizes { segments, raw } => {
                write!(f, "the segments have {segments} bytes, the payload {raw}")
            }
        }
    }
}

impl Header {
    /// Bytes from the header's start to the next block's.
    pub fn span(&self) -> u64 {
        (HEADER + padded(self.stored as usize)) as u64
    }

    /// Completes the header in the 4096 bytes of `into`, whose segments are there already ([`put_segment`]).
    pub fn seal(&self, into: &mut [u8]) {
        let mut front = Front(&mut into[..TABLE_AT]);
        front.put(MAGIC);
        front.put(&self.backup.0);
        let (kind, blocks, bytes) = match self.kind {
            Kind::Data => (1, 0, 0),
            Kind::End { blocks, bytes } => (2, blocks, bytes),
        };
        front.put_u8(kind);
        front.put_u8(match self.packing {
            Packing::Plain => 0,
            Packing::Zstd => 1,
        });
        front.put_u16(VERSION);
        front.put_u32(self.stripe);
        front.put_u64(self.sequence);
        front.put_u64(self.offset);
        front.put_u32(self.raw);
        front.put_u32(self.stored);
        front.put_u32(self.segments);
        front.put_u32(self.sum);
        front.put_u64(blocks);
        front.put_u64(bytes);
        front.0.fill(0);
        into[TABLE_AT + SEGMENT * self.segments as usize..SUM_AT].fill(0);
        let sum = crc32fast::hash(&into[..SUM_AT]);
        into[SUM_AT..HEADER].copy_from_slice(&sum.to_le_bytes());
    }

    /// Reads the header of the block at `offset` of the stripe `stripe` of `backup`. What it gives can be used without
    /// a further look: lengths are within bounds, and the segments make up the payload.
    pub fn read(bytes: &[u8], backup: Id, stripe: u32, offset: u64) -> Result<Header, HeaderError> {
        let header = Header::read_any(bytes)?;
        if header.backup != backup {
            return Err(HeaderError::Backup {
                found: header.backup,
            });
        }
        if header.stripe != stripe {
            return Err(HeaderError::Stripe {
                found: header.stripe,
                expected: stripe,
            });
        }
        if header.offset != offset {
            return Err(HeaderError::Offset {
                found: header.offset,
                expected: offset,
            });
        }
        Ok(header)
    }

    /// As [`read`](Self::read), of whatever backup and from wherever it is.
    pub fn read_any(bytes: &[u8]) -> Result<Header, HeaderError> {
        let short = HeaderError::Short { found: bytes.len() };
        let bytes = bytes.get(..HEADER).ok_or(short)?;
        let mut front = Cursor::new(bytes);
        if front.take(MAGIC.len()) != Some(MAGIC) {
            return Err(HeaderError::Magic);
        }
        let stated = Cursor::new(&bytes[SUM_AT..]).u32().ok_or(short)?;
        let found = crc32fast::hash(&bytes[..SUM_AT]);
        if stated != found {
            return Err(HeaderError::Sum { stated, found });
        }
        let header = Fields::read(&mut front).ok_or(short)?;
        let header = header.check()?;
        let segments: u64 = header.table(bytes).map(|it| u64::from(it.length)).sum();
        let empty = header.table(bytes).any(|segment| segment.length == 0);
        if segments != u64::from(header.raw) || empty {
            return Err(HeaderError::Sizes {
                segments,
                raw: header.raw,
            });
        }
        Ok(header)
    }

    /// The segments of the header that was read from `bytes`.
    pub fn table<'a>(&self, bytes: &'a [u8]) -> impl Iterator<Item = Segment> + 'a {
        let mut table = Cursor::new(&bytes[TABLE_AT..SUM_AT]);
        (0..self.segments).map_while(move |_| {
            Some(Segment {
                entry: table.u64()?,
                offset: table.u64()?,
                length: u32::try_from(table.u64()?).unwrap_or(u32::MAX),
            })
        })
    }
}

/// Writes the segment numbered `index` into a header that is not sealed yet.
pub fn put_segment(header: &mut [u8], index: usize, segment: &Segment) {
    let at = TABLE_AT + SEGMENT * index;
    let mut place = Front(&mut header[at..at + SEGMENT]);
    place.put_u64(segment.entry);
    place.put_u64(segment.offset);
    place.put_u64(segment.length.into());
}

/// Whether a block may begin with these bytes: a look that costs nothing.
pub fn begins(bytes: &[u8]) -> bool {
    bytes.starts_with(MAGIC)
}

/// The numbers of a header as they stand there.
struct Fields {
    backup: [u8; 16],
    kind: u8,
    packing: u8,
    version: u16,
    header: Header,
    blocks: u64,
    bytes: u64,
}

impl Fields {
    fn read(front: &mut Cursor<'_>) -> Option<Fields> {
        let backup = front.take(16)?.try_into().ok()?;
        let (kind, packing, version) = (front.u8()?, front.u8()?, front.u16()?);
        let header = Header {
            backup: Id(backup),
            kind: Kind::Data,
            packing: Packing::Plain,
            stripe: front.u32()?,
            sequence: front.u64()?,
            offset: front.u64()?,
            raw: front.u32()?,
            stored: front.u32()?,
            segments: front.u32()?,
            sum: front.u32()?,
        };
        Some(Fields {
            backup,
            kind,
            packing,
            version,
            header,
            blocks: front.u64()?,
            bytes: front.u64()?,
        })
    }

    fn check(self) -> Result<Header, HeaderError> {
        let Fields {
            backup,
            kind,
            packing,
            version,
            header,
            blocks,
            bytes,
        } = self;
        if version != VERSION {
            return Err(HeaderError::Version { found: version });
        }
        let Header {
            raw,
            stored,
            segments,
            ..
        } = header;
        let kind = match kind {
            1 => Kind::Data,
            2 => Kind::End { blocks, bytes },
            found => return Err(HeaderError::Kind { found }),
        };
        let packing = match packing {
            0 => Packing::Plain,
            1 => Packing::Zstd,
            found => return Err(HeaderError::Packing { found }),
        };
        let data = kind == Kind::Data;
        let whole = match packing {
            Packing::Plain => stored == raw,
            Packing::Zstd => stored < raw && stored > 0,
        };
        if raw as usize > *TRANSFER.end() || !whole || data != (raw > 0) {
            return Err(HeaderError::Lengths { raw, stored });
        }
        if segments as usize > SEGMENTS || data != (segments > 0) {
            return Err(HeaderError::Segments { found: segments });
        }
        Ok(Header {
            backup: Id(backup),
            kind,
            packing,
            ..header
        })
    }
}

const _: () = assert!(HEADER == UNIT && TABLE_AT + SEGMENTS * SEGMENT <= SUM_AT);
