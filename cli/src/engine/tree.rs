//! The folder that a backup is restored to.
//!
//! Owns every call that makes or changes something there. Each is relative to an open folder that `beneath` opened below
//! the target, each file is one that this run made: so nothing outside of the target is written, whatever a catalogue
//! says and whatever somebody does there meanwhile. `restore` says when what is made.
//!
//! ```text
//!   folders ──▶ files, piece by piece, by all workers ──▶ empty files ──▶ links ──▶ the folders' attributes
//! ```

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Mutex, PoisonError};

use rustix::fs::{
    AtFlags, Mode, OFlags, RenameFlags, fstat, ftruncate, linkat, mkdirat, openat, renameat_with,
    symlinkat, unlinkat,
};
use rustix::io::Errno;

use super::attributes::{Giver, Withheld};
use super::beneath;
use super::format::catalogue::Catalogue;
use super::format::entry::{Entry, Kind};
use super::load::{Hand, Target};
use super::stop::{Stop, Why};
use super::write::room;

/// What is behind the name of a file that did not become whole.
pub const SUFFIX: &[u8] = b".incomplete";

/// Files that are kept open between two of their pieces.
const OPEN: usize = 128;

pub struct Tree<'r> {
    root: OwnedFd,
    catalogue: &'r Catalogue,
    stop: &'r Stop,
    begun: Mutex<Begun>,
}

/// The files that have some of their pieces.
#[derive(Default)]
struct Begun {
    files: HashMap<u32, Piecemeal>,
    /// Counts the uses, for the choice of what is closed.
    clock: u64,
    open: usize,
}

struct Piecemeal {
    /// Open, or closed for now.
    file: Option<Arc<File>>,
    /// Its device and inode: when it is opened again, it is that file or none.
    identity: (u64, u64),
    used: u64,
}

impl<'r> Tree<'r> {
    pub fn new(root: OwnedFd, catalogue: &'r Catalogue, stop: &'r Stop) -> Tree<'r> {
        Tree {
            root,
            catalogue,
            stop,
            begun: Mutex::default(),
        }
    }

    /// The files that have not all of their pieces: each is given the suffix, or removed. Gives what became of each.
    pub fn set_aside(&self) -> Vec<(u32, String)> {
        let mut hand = self.hand();
        let begun = std::mem::take(&mut *self.lock());
        let mut entries: Vec<u32> = begun.files.into_keys().collect();
        entries.sort_unstable();
        let aside = entries.into_iter().map(|entry| {
            let what = hand.set_aside(entry);
            (entry, what)
        });
        aside.collect()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Begun> {
        self.begun.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn entry(&self, entry: u32) -> &'r Entry {
        &self.catalogue.entries[entry as usize]
    }

    fn failed(&self, what: &str, error: impl Into<io::Error>) -> String {
        let error = error.into();
        if !room(&error).is_empty() {
            let why = format!("there is no room left in the target: {error}");
            self.stop.stop(Why::Failed(why));
        }
        format!("{what}: {error}")
    }
}

impl Target for Tree<'_> {
    type Hand<'t>
        = Maker<'t>
    where
        Self: 't;

    fn hand(&self) -> Maker<'_> {
        Maker {
            tree: self,
            giver: Giver::new(),
            parent: None,
            just: None,
        }
    }
}

/// What a thread makes things with.
pub struct Maker<'t> {
    tree: &'t Tree<'t>,
    giver: Giver,
    /// The folder that it worked in last: the next thing is often there, too.
    parent: Option<(Option<u32>, OwnedFd)>,
    /// A file that it wrote in one piece, and that is to be completed next.
    just: Option<(u32, File)>,
}

impl Maker<'_> {
    pub fn withheld(&self) -> Withheld {
        self.giver.withheld
    }

    /// The open folder that an entry is in, and its name there.
    fn place(&mut self, entry: u32) -> Result<(&OwnedFd, &'_ [u8]), String> {
        let this = self.tree.entry(entry);
        let known = self
            .parent
            .as_ref()
            .is_some_and(|known| known.0 == this.parent);
        if !known {
            self.parent = None;
            let path = this.parent.map(|parent| self.tree.catalogue.path(parent));
            let folder = beneath::folder(self.tree.root.as_fd(), &path.unwrap_or_default());
            let folder =
                folder.map_err(|error| self.tree.failed("its folder cannot be opened", error))?;
            self.parent = Some((this.parent, folder));
        }
        match &self.parent {
            Some((_, folder)) => Ok((folder, &this.name)),
            None => Err("its folder cannot be opened".to_owned()),
        }
    }

    /// Makes a folder that nobody else can look into yet.
    pub fn folder(&mut self, entry: u32) -> Result<(), String> {
        let tree = self.tree;
        let (folder, name) = self.place(entry)?;
        mkdirat(folder, name, Mode::RWXU).map_err(|error| tree.failed("cannot be made", error))
    }

    /// Gives a folder its attributes, after everything in it was made.
    pub fn folder_attributes(&mut self, entry: u32) -> Result<(), String> {
        let tree = self.tree;
        let (folder, name) = self.place(entry)?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        let opened = beneath::open(folder.as_fd(), name, flags, Mode::empty());
        let opened = opened.map_err(|error| tree.failed("cannot be opened", error))?;
        let this = tree.entry(entry);
        self.giver
            .give(opened.as_fd(), &this.attributes, &this.xattrs)
    }

    pub fn symlink(&mut self, entry: u32, target: &[u8]) -> Result<(), String> {
        let tree = self.tree;
        let this = tree.entry(entry);
        let (folder, name) = self.place(entry)?;
        symlinkat(target, folder, name).map_err(|error| tree.failed("cannot be made", error))?;
        // Nobody else's: the folder is not.
        let Some((_, folder)) = &self.parent else {
            return Ok(());
        };
        (self.giver).give_link(folder.as_fd(), &this.name, &this.attributes, &this.xattrs)
    }

    /// Makes another name of a file that was restored.
    pub fn link(&mut self, entry: u32, of: u32) -> Result<(), String> {
        let tree = self.tree;
        let original = tree.entry(of);
        let path = original.parent.map(|parent| tree.catalogue.path(parent));
        let from = beneath::folder(tree.root.as_fd(), &path.unwrap_or_default());
        let from = from
            .map_err(|error| tree.failed("the folder of its first name cannot be opened", error))?;
        let (folder, name) = self.place(entry)?;
        linkat(&from, &original.name[..], folder, name, AtFlags::empty())
            .map_err(|error| tree.failed("cannot be made", error))
    }

    /// Makes a file of which nothing is in blocks.
    pub fn empty_file(&mut self, entry: u32) -> Result<(), String> {
        let file = self.create(entry)?;
        self.complete(entry, &file)
    }

    fn create(&mut self, entry: u32) -> Result<File, String> {
        let tree = self.tree;
        let (folder, name) = self.place(entry)?;
        let flags =
            OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let made = openat(folder, name, flags, Mode::RUSR | Mode::WUSR);
        let made = made.map_err(|error| tree.failed("cannot be made", error))?;
        Ok(made.into())
    }

    /// Gives a file with all of its data its size and its attributes.
    fn complete(&mut self, entry: u32, file: &File) -> Result<(), String> {
        let this = self.tree.entry(entry);
        if let Kind::File { size, .. } = this.kind {
            ftruncate(file, size)
                .map_err(|error| self.tree.failed("cannot be given its size", error))?;
        }
        self.giver
            .give(file.as_fd(), &this.attributes, &this.xattrs)
    }

    /// The open file that gets a piece: made, opened again, or open.
    fn opened(&mut self, entry: u32) -> Result<Arc<File>, String> {
        let tree = self.tree;
        let mut begun = tree.lock();
        begun.clock += 1;
        let now = begun.clock;
        let known = begun.files.get_mut(&entry).map(|known| {
            known.used = now;
            (known.file.clone(), known.identity)
        });
        let (file, identity) = match known {
            Some((Some(file), _)) => return Ok(file),
            Some((None, identity)) => {
                let (folder, name) = self.place(entry)?;
                let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
                let again = openat(folder, name, flags, Mode::empty());
                let again = again.map_err(|error| tree.failed("cannot be opened again", error))?;
                if identity_of(&again) != Some(identity) {
                    return Err("was replaced while it was restored".to_owned());
                }
                (File::from(again), identity)
            }
            None => {
                let file = self.create(entry)?;
                let identity = identity_of(&file).ok_or("cannot be looked at")?;
                (file, identity)
            }
        };
        let file = Arc::new(file);
        let kept = Piecemeal {
            file: Some(Arc::clone(&file)),
            identity,
            used: now,
        };
        begun.files.insert(entry, kept);
        begun.open += 1;
        begun.close_one();
        Ok(file)
    }

    /// Gives a file that is not whole another name; where that is not possible, removes it.
    fn set_aside(&mut self, entry: u32) -> String {
        let Ok((folder, name)) = self.place(entry) else {
            return "is not whole".to_owned();
        };
        let aside = [name, SUFFIX].concat();
        match renameat_with(folder, name, folder, &aside[..], RenameFlags::NOREPLACE) {
            Ok(()) => format!("what there is of it is in `{}`", aside.escape_ascii()),
            // There is nothing, or what is no longer the file that was made here.
            Err(Errno::NOENT) => "is not there any more".to_owned(),
            Err(_) => match unlinkat(folder, name, AtFlags::empty()) {
                Ok(()) => "what there was of it is removed".to_owned(),
                Err(error) => format!("is not whole, and cannot be removed: {error}"),
            },
        }
    }
}

impl Begun {
    /// Closes the file that was not used for longest, if too many are open.
    fn close_one(&mut self) {
        if self.open <= OPEN {
            return;
        }
        // One that somebody writes is left open.
        let idle = |it: &&mut Piecemeal| {
            it.file
                .as_ref()
                .is_some_and(|file| Arc::strong_count(file) == 1)
        };
        if let Some(oldest) = self
            .files
            .values_mut()
            .filter(idle)
            .min_by_key(|it| it.used)
        {
            oldest.file = None;
            self.open -= 1;
        }
    }
}

fn identity_of(file: impl AsFd) -> Option<(u64, u64)> {
    let stat = fstat(file).ok()?;
    Some((stat.st_dev, stat.st_ino))
}

impl Hand for Maker<'_> {
    fn piece(&mut self, entry: u32, offset: u64, bytes: &[u8], only: bool) -> Result<(), String> {
        let tree = self.tree;
        if only {
            let file = self.create(entry)?;
            let written = file.write_all_at(bytes, offset);
            if let Err(error) = written {
                drop(file);
                let what = tree.failed("cannot be written", error);
                return Err(format!("{what}; {}", self.set_aside(entry)));
            }
            self.just = Some((entry, file));
            return Ok(());
        }
        let file = self.opened(entry)?;
        file.write_all_at(bytes, offset)
            .map_err(|error| tree.failed("cannot be written", error))
    }

    fn whole(&mut self, entry: u32) -> Result<(), String> {
        if let Some((_, file)) = self.just.take_if(|just| just.0 == entry) {
            return self.complete(entry, &file);
        }
        let file = self.opened(entry)?;
        let mut begun = self.tree.lock();
        if begun
            .files
            .remove(&entry)
            .is_some_and(|it| it.file.is_some())
        {
            begun.open -= 1;
        }
        drop(begun);
        self.complete(entry, &file)
    }
}
