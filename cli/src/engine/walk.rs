//! The walk: finds what there is to back up, and hands the files to the readers.
//!
//! Owns the entries while they grow, in the order in which a restore wants them: a folder before what is in it, a file
//! before its other names. Uses `beneath` and `attributes`. `backup` runs it in a thread of its own.
//!
//! It goes no faster than the readers: the channel to them holds a few items. It has one folder open, and those that
//! the items in the channel are in.

use std::collections::HashMap;
use std::fs::File;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use crossbeam_channel::Sender;
use rustix::fs::{
    AtFlags, FileType, Mode, OFlags, RawDir, SeekFrom, Stat, readlinkat, seek, statat,
};
use rustix::io::Errno;

use super::attributes::{Seen, Xattrs};
use super::beneath;
use super::format::MAX_DEPTH;
use super::format::catalogue::path;
use super::format::entry::{Attributes, Entry, Flaws, Kind};
use super::open::{open_direct, open_file};
use super::origin::Origin;
use super::pipe::{Item, Large, Outcome, Small};
use super::stop::Stop;
use crate::progress::Volume;

/// Something that went wrong with one file.
#[derive(Clone, Debug)]
pub struct Problem {
    pub path: Vec<u8>,
    pub what: String,
}

/// What the walk needs from the run.
pub struct Surroundings<'r> {
    pub stop: &'r Stop,
    pub volume: &'r Volume,
    /// The destination's device and inode, if it is a folder: it is left out.
    pub destination: Option<(u64, u64)>,
    pub transfer: usize,
    /// Large files are read so, where their file system does it.
    pub past_the_cache: bool,
}

/// What the walk found.
#[derive(Default)]
pub struct Found {
    pub entries: Vec<Entry>,
    /// What became of files that the walk saw to itself.
    pub outcomes: Vec<Outcome>,
    pub problems: Vec<Problem>,
    /// Devices, sockets and the like, which are not backed up.
    pub special: Vec<Problem>,
}

pub struct Walk<'r> {
    around: Surroundings<'r>,
    items: Sender<Item>,
    found: Found,
    /// The first name of each file that has several, by device and inode.
    links: HashMap<(u64, u64), u32>,
    xattrs: Xattrs,
    listing: Vec<MaybeUninit<u8>>,
    /// Small files that are handed over together, and how long they are.
    batch: Vec<Small>,
    batched: u64,
    /// How many folders they are in, besides one.
    folders: usize,
}

/// Small files that a reader is given at once, at the most: to hand over each would cost more than to read it.
const BATCH: usize = 32;
/// Folders that these are in, at the most: each is open until its files are.
const FOLDERS: usize = 4;

/// Transfers of one slice of a large file.
const SLICE: u64 = 16;

/// A folder that is to be looked into.
struct Pending {
    entry: u32,
    depth: usize,
}

impl<'r> Walk<'r> {
    pub fn new(around: Surroundings<'r>, items: Sender<Item>) -> Walk<'r> {
        Walk {
            around,
            items,
            found: Found::default(),
            links: HashMap::new(),
            xattrs: Xattrs::new(),
            listing: vec![MaybeUninit::uninit(); 64 << 10],
            batch: Vec::new(),
            batched: 0,
            folders: 0,
        }
    }

    /// Walks all of it, or until the run is stopped.
    pub fn run(mut self, origins: &[Origin]) -> Found {
        for origin in origins {
            self.origin(origin);
        }
        self.send_batch();
        self.found
    }

    /// Has some entries of an earlier walk read, which are other names of files that could not be read.
    pub fn again(mut self, origins: &[Origin], found: Found, entries: &[u32]) -> Found {
        self.found = found;
        for &entry in entries {
            if let Err(error) = self.entry_again(origins, entry) {
                self.unread(entry, gone(error));
            }
        }
        self.send_batch();
        self.found
    }

    fn entry_again(&mut self, origins: &[Origin], entry: u32) -> rustix::io::Result<()> {
        let path = path(&self.found.entries, entry);
        let top = path
            .iter()
            .position(|&byte| byte == b'/')
            .unwrap_or(path.len());
        let origin = origins.iter().find(|origin| *origin.name == path[..top]);
        let origin = origin.ok_or(Errno::NOENT)?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let open = |path: &Path| rustix::fs::open(path, flags, Mode::empty());
        let below = path.get(top + 1..).unwrap_or_default();
        let (folder, name) = match below.iter().rposition(|&byte| byte == b'/') {
            // A source that is a file.
            None if below.is_empty() => {
                let parent = origin.path.parent().ok_or(Errno::NOENT)?;
                let name = origin.path.file_name().ok_or(Errno::NOENT)?;
                (open(parent)?, name.as_bytes())
            }
            None => (open(&origin.path)?, below),
            Some(slash) => {
                let root = open(&origin.path)?;
                let folder = beneath::open(root.as_fd(), &below[..slash], flags, Mode::empty())?;
                (folder, &below[slash + 1..])
            }
        };
        let stat = statat(&folder, name, AtFlags::SYMLINK_NOFOLLOW)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(Errno::NOENT);
        }
        let seen = Seen::of(&stat);
        let this = &mut self.found.entries[entry as usize];
        this.attributes = Attributes::of(&stat);
        this.kind = Kind::File {
            size: seen.size,
            data: seen.size,
        };
        self.file(entry, &Arc::new(folder), name, seen);
        Ok(())
    }

    fn origin(&mut self, origin: &Origin) {
        let (folder, name) = match (origin.path.parent(), origin.path.file_name()) {
            (Some(parent), Some(name)) => (parent, name.as_bytes()),
            _ => (Path::new("/"), &b"."[..]),
        };
        let opened = File::open(folder).map(|folder| Arc::new(OwnedFd::from(folder)));
        let looked = opened.and_then(|folder| {
            let stat = statat(&folder, name, AtFlags::SYMLINK_NOFOLLOW)?;
            Ok((folder, stat))
        });
        let (folder, stat) = match looked {
            Ok(found) => found,
            Err(error) => return self.problem(origin.name.to_vec(), error.to_string()),
        };
        let Some(entry) = self.entry(None, &folder, name, &origin.name, &stat) else {
            return;
        };
        let root = match beneath::folder(folder.as_fd(), name) {
            // A file, which is all there is.
            Err(Errno::NOTDIR) => return,
            Err(error) => return self.unread(entry, format!("cannot be opened: {error}")),
            Ok(root) => root,
        };
        let top = self.found.entries[entry as usize].name.len();
        let mut pending = vec![Pending { entry, depth: 1 }];
        while let Some(next) = pending.pop() {
            if self.around.stop.is_stopped() {
                return;
            }
            let path = path(&self.found.entries, next.entry);
            let below = path.get(top + 1..).unwrap_or_default();
            self.folder(&root, below, &next, &mut pending);
        }
    }

    /// Looks into a folder, and puts those that are in it on the list, the first one last.
    fn folder(&mut self, root: &OwnedFd, below: &[u8], this: &Pending, pending: &mut Vec<Pending>) {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        let folder = match beneath::open(root.as_fd(), below, flags, Mode::empty()) {
            Ok(folder) => Arc::new(folder),
            Err(error) => return self.unread(this.entry, format!("cannot be opened: {error}")),
        };
        match self.xattrs.of(folder.as_fd()) {
            Ok(xattrs) => self.found.entries[this.entry as usize].xattrs = xattrs,
            Err(error) => self.entry_problem(this.entry, &format!("extended attributes: {error}")),
        }
        let names = match self.names(&folder) {
            Ok(names) => names,
            Err(error) => return self.unread(this.entry, format!("cannot be listed: {error}")),
        };
        let before = pending.len();
        for name in names {
            if self.around.stop.is_stopped() {
                return;
            }
            let stat = match statat(&folder, &name[..], AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) => stat,
                Err(error) => {
                    let path = self.path_of(this.entry, &name);
                    self.problem(path, gone(error));
                    continue;
                }
            };
            let is_folder = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
            if is_folder && this.depth == MAX_DEPTH {
                let path = self.path_of(this.entry, &name);
                self.problem(path, format!("is more than {MAX_DEPTH} folders deep"));
                continue;
            }
            let entry = self.entry(Some(this.entry), &folder, &name, &name, &stat);
            if let Some(entry) = entry.filter(|_| is_folder) {
                pending.push(Pending {
                    entry,
                    depth: this.depth + 1,
                });
            }
        }
        pending[before..].reverse();
    }

    /// The names in a folder, in order.
    fn names(&mut self, folder: &OwnedFd) -> rustix::io::Result<Vec<Box<[u8]>>> {
        let mut names: Vec<Box<[u8]>> = Vec::new();
        let mut listing = RawDir::new(folder, &mut self.listing);
        while let Some(entry) = listing.next() {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            if name != b"." && name != b".." {
                names.push(name.into());
            }
        }
        names.sort_unstable();
        Ok(names)
    }

    /// Adds what `name` in `folder` is, called `called`, and has its contents read. `None`: it is not backed up.
    fn entry(
        &mut self,
        parent: Option<u32>,
        folder: &Arc<OwnedFd>,
        name: &[u8],
        called: &[u8],
        stat: &Stat,
    ) -> Option<u32> {
        let number = self.found.entries.len() as u32;
        let path = |walk: &Walk<'_>| match parent {
            Some(parent) => walk.path_of(parent, called),
            None => called.to_vec(),
        };
        let mut xattrs = Vec::new();
        let seen = Seen::of(stat);
        let identity = (seen.device, seen.inode);
        let kind = match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory if Some(identity) == self.around.destination => {
                let path = path(self);
                let what = "is where the backup is written, and is left out".to_owned();
                self.found.special.push(Problem { path, what });
                return None;
            }
            FileType::Directory => Kind::Directory,
            FileType::Symlink => {
                let target = readlinkat(folder, name, Vec::new());
                let read = self.xattrs.of_link(folder.as_fd(), name);
                match target {
                    Ok(target) => {
                        match read {
                            Ok(read) => xattrs = read,
                            Err(error) => {
                                let path = path(self);
                                self.problem(path, format!("extended attributes: {error}"));
                            }
                        }
                        let target = target.into_bytes().into();
                        Kind::Symlink { target }
                    }
                    Err(error) => {
                        let path = path(self);
                        self.problem(path, gone(error));
                        return None;
                    }
                }
            }
            FileType::RegularFile => {
                if stat.st_nlink > 1
                    && let Some(&of) = self.links.get(&identity)
                {
                    Kind::Link { of }
                } else {
                    if stat.st_nlink > 1 {
                        self.links.insert(identity, number);
                    }
                    Kind::File {
                        size: seen.size,
                        data: seen.size,
                    }
                }
            }
            other => {
                let path = path(self);
                let what = format!("is {}, and is not backed up", in_words(other));
                self.found.special.push(Problem { path, what });
                return None;
            }
        };
        let is_file = matches!(kind, Kind::File { .. });
        self.found.entries.push(Entry {
            parent,
            name: called.into(),
            kind,
            flaws: Flaws::default(),
            attributes: Attributes::of(stat),
            xattrs,
        });
        if is_file {
            self.file(number, folder, name, seen);
        }
        Some(number)
    }

    /// Has a file read.
    fn file(&mut self, entry: u32, folder: &Arc<OwnedFd>, name: &[u8], seen: Seen) {
        self.around.volume.found(seen.size);
        if seen.size <= self.around.transfer as u64 {
            let last = self.batch.last();
            if last.is_some_and(|last| !Arc::ptr_eq(&last.folder, folder)) {
                self.folders += 1;
            }
            if self.folders == FOLDERS {
                self.send_batch();
            }
            self.batch.push(Small {
                entry,
                folder: Arc::clone(folder),
                name: name.into(),
                seen,
            });
            self.batched += seen.size;
            if self.batch.len() == BATCH || self.batched >= self.around.transfer as u64 {
                self.send_batch();
            }
            return;
        }
        let file = match open_file(folder, name) {
            Ok(file) => file,
            Err(why) => return self.unread(entry, why),
        };
        match self.xattrs.of(file.as_fd()) {
            Ok(xattrs) => self.found.entries[entry as usize].xattrs = xattrs,
            Err(error) => self.entry_problem(entry, &format!("extended attributes: {error}")),
        }
        let direct = if self.around.past_the_cache && !seen.sparse {
            open_direct(folder, name, &file)
        } else {
            None
        };
        let file = Arc::new(Large {
            entry,
            file,
            direct,
            seen,
            left: AtomicUsize::new(1),
            data: AtomicU64::new(0),
            failed: Mutex::new(None),
        });
        self.slices(&file);
        if let Some(outcome) = file.release() {
            self.found.outcomes.push(outcome);
        }
    }

    /// Cuts what there is of a large file into slices; holes are left out.
    fn slices(&mut self, file: &Arc<Large>) {
        let slice = SLICE * self.around.transfer as u64;
        let size = file.seen.size;
        let mut at = 0;
        while at < size && !self.around.stop.is_stopped() {
            if file.seen.sparse {
                match seek(&file.file, SeekFrom::Data(at)) {
                    Ok(data) if data < size => at = data.max(at),
                    // Holes up to the end.
                    Ok(_) | Err(Errno::NXIO) => return,
                    // A file system that knows no holes.
                    Err(_) => {}
                }
            }
            let to = size.min(at + slice);
            // Relaxed: the walk holds the file itself, so that nobody is the last meanwhile; the channel orders the rest.
            file.left.fetch_add(1, Ordering::Relaxed);
            let file = Arc::clone(file);
            self.send(Item::Slice { file, from: at, to });
            at = to;
        }
    }

    fn send_batch(&mut self) {
        (self.batched, self.folders) = (0, 0);
        let files = std::mem::replace(&mut self.batch, Vec::with_capacity(BATCH));
        if !files.is_empty() {
            self.send(Item::Files(files));
        }
    }

    fn send(&mut self, item: Item) {
        // The readers are gone when the run was stopped, and nobody asks any more.
        let _ = self.items.send(item);
    }

    fn path_of(&self, folder: u32, name: &[u8]) -> Vec<u8> {
        let mut path = path(&self.found.entries, folder);
        path.push(b'/');
        path.extend_from_slice(name);
        path
    }

    fn problem(&mut self, path: Vec<u8>, what: String) {
        self.found.problems.push(Problem { path, what });
    }

    fn entry_problem(&mut self, entry: u32, what: &str) {
        let path = path(&self.found.entries, entry);
        self.problem(path, what.to_owned());
    }

    /// What an entry holds could not be had.
    fn unread(&mut self, entry: u32, what: String) {
        let this = &mut self.found.entries[entry as usize];
        this.flaws.unread = true;
        if let Kind::File { data, .. } = &mut this.kind {
            *data = 0;
        }
        self.entry_problem(entry, &what);
    }
}

fn gone(error: Errno) -> String {
    match error {
        Errno::NOENT => "vanished before it was read".to_owned(),
        error => error.to_string(),
    }
}

fn in_words(kind: FileType) -> &'static str {
    match kind {
        FileType::Fifo => "a pipe",
        FileType::Socket => "a socket",
        FileType::CharacterDevice | FileType::BlockDevice => "a device",
        _ => "of no known kind",
    }
}
