//! The catalogue: every entry of a backup, and how long its stripes are.
//!
//! Owns its bytes, and the checks that nothing in it can lead a restore astray. The backup writes one, last of all;
//! restore, verify and list read it. `docs/engine.md` has the layout byte by byte.
//!
//! An entry names its folder by number, and that number is smaller than its own. So there are no paths to be checked:
//! an entry cannot be absolute, climb out, or be below a file, if each name is one name and each parent a folder.

use std::fmt;

use super::bytes::{Cursor, Put};
use super::entry::{Entry, Kind, MAX_NAME, MAX_TARGET, MAX_VALUE, SHORTEST, Unreadable};
use super::{Id, MAX_DEPTH, STRIPES, TRANSFER, UNIT, VERSION};

const MAGIC: &[u8; 8] = b"HPCATLG\x01";
/// Bytes of its own before the stripes: magic, version, id, time, transfer size, and the two counts.
const FRONT: usize = 8 + 4 + 16 + 8 + 4 + 4 + 8;

/// What a stripe holds before its last block.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Totals {
    pub blocks: u64,
    pub bytes: u64,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Catalogue {
    pub backup: Id,
    /// When the backup began: seconds since 1970.
    pub created: u64,
    /// The most bytes that a block of it holds.
    pub transfer: usize,
    pub stripes: Vec<Totals>,
    pub entries: Vec<Entry>,
}

/// Why bytes are no catalogue that can be used. `entry` is an entry's number.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum CatalogueError {
    Magic,
    Version {
        found: u16,
    },
    Sum {
        stated: u32,
        found: u32,
    },
    /// It ends before what it says it holds.
    Cut {
        at: usize,
    },
    /// There is more than it says it holds.
    Surplus {
        bytes: usize,
    },
    Transfer {
        found: u32,
    },
    Stripes {
        found: u32,
    },
    Entries {
        found: u64,
        bytes: usize,
    },
    Kind {
        entry: u32,
        found: u8,
    },
    Flags {
        entry: u32,
        found: u8,
    },
    Name {
        entry: u32,
        name: Box<[u8]>,
        why: BadName,
    },
    /// Two entries of one folder have one name.
    Twice {
        entry: u32,
        other: u32,
    },
    /// The parent is no folder that was listed before.
    Parent {
        entry: u32,
        parent: u32,
    },
    Depth {
        entry: u32,
    },
    Mode {
        entry: u32,
        mode: u32,
    },
    Nanoseconds {
        entry: u32,
        found: u32,
    },
    /// More bytes in blocks than the file has, or more than a file can have.
    Size {
        entry: u32,
        size: u64,
        data: u64,
    },
    Target {
        entry: u32,
        length: usize,
    },
    /// A hard link to what is no file that was listed before.
    Link {
        entry: u32,
        of: u32,
    },
    Xattr {
        entry: u32,
        name: usize,
        value: usize,
    },
}

/// What is wrong with a name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BadName {
    Empty,
    Long,
    /// It is `.` or `..`.
    Dots,
    Slash,
    Nul,
}

impl BadName {
    fn of(name: &[u8]) -> Option<BadName> {
        if name.is_empty() {
            Some(BadName::Empty)
        } else if name.len() > MAX_NAME {
            Some(BadName::Long)
        } else if name == b"." || name == b".." {
            Some(BadName::Dots)
        } else if name.contains(&b'/') {
            Some(BadName::Slash)
        } else if name.contains(&0) {
            Some(BadName::Nul)
        } else {
            None
        }
    }
}

impl fmt::Display for BadName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "is empty",
            Self::Long => "is longer than 255 bytes",
            Self::Dots => "leads out of its folder",
            Self::Slash => "has a slash in it",
            Self::Nul => "has a byte of zero in it",
        })
    }
}

impl fmt::Display for CatalogueError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Magic => f.write_str("it does not begin as a catalogue does"),
            Self::Version { found } => write!(
                f,
                "the format's version is {found}, and this program reads {VERSION}"
            ),
            Self::Sum { stated, found } => {
                write!(f, "its checksum is {found:08x}, and it says {stated:08x}")
            }
            Self::Cut { at } => write!(f, "it ends at byte {at}, in the middle of something"),
            Self::Surplus { bytes } => write!(f, "{bytes} bytes follow its last entry"),
            Self::Transfer { found } => write!(
                f,
                "a transfer size of {found} bytes is no multiple of {UNIT} from {} to {}",
                TRANSFER.start(),
                TRANSFER.end()
            ),
            Self::Stripes { found } => write!(
                f,
                "{found} stripes is not between {} and {}",
                STRIPES.start(),
                STRIPES.end()
            ),
            Self::Entries { found, bytes } => {
                write!(f, "{found} entries cannot be in {bytes} bytes")
            }
            Self::Kind { entry, found } => write!(f, "entry {entry} is of no known kind: {found}"),
            Self::Flags { entry, found } => write!(f, "entry {entry} has unknown flags: {found}"),
            Self::Name { entry, name, why } => {
                let name = name.escape_ascii();
                write!(f, "entry {entry}: the name `{name}` {why}")
            }
            Self::Twice { entry, other } => {
                write!(f, "entry {entry} has the name and the folder of {other}")
            }
            Self::Parent { entry, parent } => write!(
                f,
                "entry {entry} is in {parent}, which is no folder listed before it"
            ),
            Self::Depth { entry } => {
                write!(f, "entry {entry} is more than {MAX_DEPTH} folders deep")
            }
            Self::Mode { entry, mode } => write!(f, "entry {entry} has no mode: {mode:o}"),
            Self::Nanoseconds { entry, found } => {
                write!(
                    f,
                    "entry {entry}: {found} nanoseconds are a second and more"
                )
            }
            Self::Size { entry, size, data } => write!(
                f,
                "entry {entry} cannot be a file of {size} bytes with {data} in blocks"
            ),
            Self::Target { entry, length } => write!(
                f,
                "entry {entry}: {length} bytes are no target of a symbolic link, or have a zero among them"
            ),
            Self::Link { entry, of } => write!(
                f,
                "entry {entry} is a hard link to {of}, which is no file listed before it"
            ),
            Self::Xattr { entry, name, value } => write!(
                f,
                "entry {entry}: no extended attribute has a name of {name} bytes and a value of {value}"
            ),
        }
    }
}

impl Catalogue {
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        out.put(MAGIC);
        out.put_u16(VERSION);
        out.put_u16(0);
        out.put(&self.backup.0);
        out.put_u64(self.created);
        out.put_u32(self.transfer as u32);
        out.put_u32(self.stripes.len() as u32);
        out.put_u64(self.entries.len() as u64);
        for stripe in &self.stripes {
            out.put_u64(stripe.blocks);
            out.put_u64(stripe.bytes);
        }
        for entry in &self.entries {
            entry.write(&mut out);
        }
        let sum = crc32fast::hash(&out);
        out.put_u32(sum);
        out
    }

    /// Reads a catalogue. Each number in it is within bounds, each index is one of an entry; nothing else needs a look
    /// later. It takes memory in proportion to `bytes`, whatever they say.
    pub fn from_bytes(bytes: &[u8]) -> Result<Catalogue, CatalogueError> {
        let cut = |left: usize| CatalogueError::Cut {
            at: bytes.len() - left,
        };
        let (body, sum) = bytes.split_last_chunk::<4>().ok_or(cut(0))?;
        let mut from = Cursor::new(body);
        if from.take(MAGIC.len()) != Some(MAGIC) {
            return Err(CatalogueError::Magic);
        }
        let (stated, found) = (u32::from_le_bytes(*sum), crc32fast::hash(body));
        if stated != found {
            return Err(CatalogueError::Sum { stated, found });
        }
        if body.len() < FRONT {
            return Err(cut(0));
        }
        let missing = || cut(0);
        let version = from.u16().ok_or_else(missing)?;
        if version != VERSION {
            return Err(CatalogueError::Version { found: version });
        }
        from.u16().ok_or_else(missing)?;
        let backup = from.take(16).and_then(|id| id.try_into().ok());
        let backup = Id(backup.ok_or_else(missing)?);
        let created = from.u64().ok_or_else(missing)?;
        let transfer = transfer(from.u32().ok_or_else(missing)?)?;
        let stripes = from.u32().ok_or_else(missing)?;
        let entries = from.u64().ok_or_else(missing)?;
        if !STRIPES.contains(&(stripes as usize)) {
            return Err(CatalogueError::Stripes { found: stripes });
        }
        let mut totals = Vec::new();
        for _ in 0..stripes {
            let blocks = from.u64().ok_or_else(missing)?;
            let bytes = from.u64().ok_or_else(missing)?;
            totals.push(Totals { blocks, bytes });
        }
        let left = from.left();
        let count = u32::try_from(entries)
            .ok()
            .filter(|&count| count < u32::MAX && count as usize <= left / SHORTEST);
        let count = count.ok_or(CatalogueError::Entries {
            found: entries,
            bytes: left,
        })?;
        let mut list = Vec::with_capacity(count as usize);
        let mut depths = Vec::with_capacity(count as usize);
        for number in 0..count {
            let entry = Entry::read(&mut from).map_err(|error| match error {
                Unreadable::Cut => cut(from.left() + 4),
                Unreadable::Kind(found) => CatalogueError::Kind {
                    entry: number,
                    found,
                },
                Unreadable::Flags(found) => CatalogueError::Flags {
                    entry: number,
                    found,
                },
            })?;
            depths.push(check(number, &entry, &list, &depths)?);
            list.push(entry);
        }
        if from.left() > 0 {
            return Err(CatalogueError::Surplus { bytes: from.left() });
        }
        twice(&list)?;
        Ok(Catalogue {
            backup,
            created,
            transfer,
            stripes: totals,
            entries: list,
        })
    }

    /// The path of an entry from the top, without a slash before it.
    pub fn path(&self, entry: u32) -> Vec<u8> {
        path(&self.entries, entry)
    }
}

/// As [`Catalogue::path`], of entries that are in none yet.
pub fn path(entries: &[Entry], entry: u32) -> Vec<u8> {
    let up = |at: &u32| entries[*at as usize].parent;
    let mut line: Vec<u32> = std::iter::successors(Some(entry), up).collect();
    line.reverse();
    let names: Vec<&[u8]> = line.iter().map(|&at| &*entries[at as usize].name).collect();
    names.join(&b'/')
}

fn transfer(found: u32) -> Result<usize, CatalogueError> {
    let transfer = found as usize;
    if TRANSFER.contains(&transfer) && transfer.is_multiple_of(UNIT) {
        Ok(transfer)
    } else {
        Err(CatalogueError::Transfer { found })
    }
}

/// Checks the entry with that `number` against those before it, and gives how deep it is.
fn check(
    number: u32,
    entry: &Entry,
    before: &[Entry],
    depths: &[u16],
) -> Result<u16, CatalogueError> {
    if let Some(why) = BadName::of(&entry.name) {
        return Err(CatalogueError::Name {
            entry: number,
            name: entry.name.clone(),
            why,
        });
    }
    let depth = match entry.parent {
        None => 1,
        Some(parent) => {
            let folder = before.get(parent as usize);
            if !folder.is_some_and(|folder| folder.kind == Kind::Directory) {
                return Err(CatalogueError::Parent {
                    entry: number,
                    parent,
                });
            }
            depths[parent as usize] + 1
        }
    };
    if usize::from(depth) > MAX_DEPTH {
        return Err(CatalogueError::Depth { entry: number });
    }
    let mode = entry.attributes.mode;
    if mode > 0o7777 {
        return Err(CatalogueError::Mode {
            entry: number,
            mode,
        });
    }
    let nanoseconds = entry.attributes.modified.nanoseconds;
    if nanoseconds >= 1_000_000_000 {
        return Err(CatalogueError::Nanoseconds {
            entry: number,
            found: nanoseconds,
        });
    }
    for xattr in &entry.xattrs {
        let (name, value) = (&xattr.name, xattr.value.len());
        if name.is_empty() || name.len() > MAX_NAME || name.contains(&0) || value > MAX_VALUE {
            return Err(CatalogueError::Xattr {
                entry: number,
                name: name.len(),
                value,
            });
        }
    }
    match &entry.kind {
        Kind::Directory => {}
        &Kind::File { size, data } => {
            if data > size || i64::try_from(size).is_err() {
                return Err(CatalogueError::Size {
                    entry: number,
                    size,
                    data,
                });
            }
        }
        Kind::Symlink { target } => {
            if target.is_empty() || target.len() > MAX_TARGET || target.contains(&0) {
                return Err(CatalogueError::Target {
                    entry: number,
                    length: target.len(),
                });
            }
        }
        &Kind::Link { of } => {
            let file = before.get(of as usize);
            if !file.is_some_and(|file| matches!(file.kind, Kind::File { .. })) {
                return Err(CatalogueError::Link { entry: number, of });
            }
        }
    }
    Ok(depth)
}

/// Refuses two entries of one name in one folder.
fn twice(entries: &[Entry]) -> Result<(), CatalogueError> {
    let place = |number: u32| {
        let entry = &entries[number as usize];
        (entry.parent, &entry.name)
    };
    let mut sorted: Vec<u32> = (0..entries.len() as u32).collect();
    sorted.sort_by(|&a, &b| place(a).cmp(&place(b)));
    match sorted.windows(2).find(|two| place(two[0]) == place(two[1])) {
        None => Ok(()),
        Some(two) => Err(CatalogueError::Twice {
            entry: two[1],
            other: two[0],
        }),
    }
}
