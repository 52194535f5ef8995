//! An entry of the catalogue: a file, folder or link, with what is known of it.
//!
//! Owns the value and its bytes. `catalogue` has the list and checks how entries fit together; `walk` makes entries,
//! `restore` and `list` use them.

use super::bytes::{Cursor, Put};

/// The longest name of one folder's entry, in bytes: the kernel's limit.
pub const MAX_NAME: usize = 255;
/// The longest target of a symbolic link, in bytes: the kernel's limit.
pub const MAX_TARGET: usize = 4095;
/// The longest value of an extended attribute, in bytes: the kernel's limit.
pub const MAX_VALUE: usize = 64 << 10;
/// Bytes of the shortest entry there can be.
pub const SHORTEST: usize = 45;

/// A moment: seconds since 1970, and nanoseconds into the second.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Time {
    pub seconds: i64,
    pub nanoseconds: u32,
}

/// What every kind of entry has.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Attributes {
    /// Permissions, with the bits for setuid, setgid and sticky.
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    pub modified: Time,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Kind {
    Directory,
    /// `data` bytes of it are in blocks; the others are holes.
    File {
        size: u64,
        data: u64,
    },
    Symlink {
        target: Box<[u8]>,
    },
    /// Another name of the file with that number.
    Link {
        of: u32,
    },
}

/// What went wrong when the entry was backed up.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Flaws {
    /// The file changed while it was read: its parts may be of different moments.
    pub changed: bool,
    /// What it holds could not be read: a file is not restored, a folder lacks what could not be seen.
    pub unread: bool,
}

/// An extended attribute.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Xattr {
    pub name: Box<[u8]>,
    pub value: Box<[u8]>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// The number of the folder that it is in; `None`: the top.
    pub parent: Option<u32>,
    /// One name, without a slash.
    pub name: Box<[u8]>,
    pub kind: Kind,
    pub flaws: Flaws,
    pub attributes: Attributes,
    pub xattrs: Vec<Xattr>,
}

/// What stands for no parent.
const TOP: u32 = u32::MAX;

impl Entry {
    pub fn write(&self, out: &mut Vec<u8>) {
        out.put_u8(match self.kind {
            Kind::Directory => 1,
            Kind::File { .. } => 2,
            Kind::Symlink { .. } => 3,
            Kind::Link { .. } => 4,
        });
        out.put_u8(u8::from(self.flaws.changed) | u8::from(self.flaws.unread) << 1);
        out.put_u16(self.name.len() as u16);
        out.put(&self.name);
        out.put_u32(self.parent.unwrap_or(TOP));
        out.put_u32(self.attributes.mode);
        out.put_u32(self.attributes.uid);
        out.put_u32(self.attributes.gid);
        out.put_u64(self.attributes.modified.seconds.cast_unsigned());
        out.put_u32(self.attributes.modified.nanoseconds);
        out.put_u32(self.xattrs.len() as u32);
        for xattr in &self.xattrs {
            out.put_u16(xattr.name.len() as u16);
            out.put(&xattr.name);
            out.put_u32(xattr.value.len() as u32);
            out.put(&xattr.value);
        }
        match &self.kind {
            Kind::Directory => out.put_u64(0),
            Kind::File { size, data } => {
                out.put_u64(*size);
                out.put_u64(*data);
            }
            Kind::Symlink { target } => {
                out.put_u64(target.len() as u64);
                out.put(target);
            }
            Kind::Link { of } => out.put_u64((*of).into()),
        }
    }

    /// Reads an entry; what it says is checked by the catalogue. It takes no more memory than there are bytes to read.
    pub fn read(from: &mut Cursor<'_>) -> Result<Entry, Unreadable> {
        let cut = Unreadable::Cut;
        let kind = from.u8().ok_or(cut)?;
        let flags = from.u8().ok_or(cut)?;
        if flags > 3 {
            return Err(Unreadable::Flags(flags));
        }
        let length = from.u16().ok_or(cut)?;
        let name = from.take(length.into()).ok_or(cut)?.into();
        let parent = from.u32().ok_or(cut)?;
        let attributes = Attributes {
            mode: from.u32().ok_or(cut)?,
            uid: from.u32().ok_or(cut)?,
            gid: from.u32().ok_or(cut)?,
            modified: Time {
                seconds: from.u64().ok_or(cut)?.cast_signed(),
                nanoseconds: from.u32().ok_or(cut)?,
            },
        };
        // Grows with what is there, not with what is said to be.
        let mut xattrs = Vec::new();
        for _ in 0..from.u32().ok_or(cut)? {
            let length = from.u16().ok_or(cut)?;
            let name = from.take(length.into()).ok_or(cut)?.into();
            let length = from.u32().ok_or(cut)?;
            let value = from.take(length as usize).ok_or(cut)?.into();
            xattrs.push(Xattr { name, value });
        }
        let number = from.u64().ok_or(cut)?;
        let kind = match kind {
            1 => Kind::Directory,
            2 => Kind::File {
                size: number,
                data: from.u64().ok_or(cut)?,
            },
            3 => {
                let length = usize::try_from(number).map_err(|_| cut)?;
                let target = from.take(length).ok_or(cut)?.into();
                Kind::Symlink { target }
            }
            4 => Kind::Link {
                of: u32::try_from(number).unwrap_or(u32::MAX),
            },
            other => return Err(Unreadable::Kind(other)),
        };
        Ok(Entry {
            parent: (parent != TOP).then_some(parent),
            name,
            kind,
            flaws: Flaws {
                changed: flags & 1 != 0,
                unread: flags & 2 != 0,
            },
            attributes,
            xattrs,
        })
    }
}

/// Why bytes are no entry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unreadable {
    /// They end in its middle.
    Cut,
    Kind(u8),
    Flags(u8),
}
