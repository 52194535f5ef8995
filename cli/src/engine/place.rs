//! Which kind of place a backup is in: a folder, or an object store.
//!
//! Owns the reading of what the user wrote, and an enum over the kinds, so that the commands know one type. Uses
//! `folder`, `object` and `scheme`; `options`, `backup` and `session` use it.

use std::fmt;
use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::buffers::Space;
use super::direct::Direct;
use super::scheme::{self, Scheme};
use super::stop::Stop;
use super::store::{Place, Shelf, Sink, Source, Writing};
use super::{folder, object};
use crate::failure::Failure;

/// What the user wrote, by its kind.
#[derive(Clone, Copy, Debug)]
pub enum Where<'p> {
    Folder(&'p Path),
    /// A URL that can be used.
    Store(&'p str),
}

impl fmt::Display for Where<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Where::Folder(path) => path.display().fmt(f),
            Where::Store(url) => f.write_str(url),
        }
    }
}

impl<'p> Where<'p> {
    /// A folder whose name is that of a URL is `./s3:`.
    pub fn of(path: &'p Path) -> Result<Where<'p>, Failure> {
        let shown = path.display();
        let Some(name) = scheme::of_url(path.as_os_str().as_encoded_bytes()) else {
            return Ok(Where::Folder(path));
        };
        if Scheme::of(name).is_none() {
            let known = Scheme::ALL.map(|scheme| format!("{}://", scheme.name()));
            return Err(Failure::input(format!(
                "{shown}: begins with none of {}; write ./{shown} for a folder of that name",
                known.join(", ")
            )));
        }
        let Some(url) = path.to_str() else {
            return Err(Failure::input(format!("{shown}: is no UTF-8")));
        };
        object::check(url)?;
        Ok(Where::Store(url))
    }

    /// Buffers of a stripe that are not free before more of them are full, at the most.
    pub fn held(self, transfer: usize) -> usize {
        match self {
            Where::Folder(_) => 0,
            Where::Store(_) => object::held(transfer),
        }
    }

    /// Refuses what only a folder can do.
    fn may(url: &str, direct: Direct) -> Result<(), Failure> {
        if direct == Direct::On {
            return Err(Failure::input(format!(
                "--direct on: {url} is an object store, and has no cache of the kernel's to go past"
            )));
        }
        Ok(())
    }
}

/// Where a backup is written to.
pub enum Destination {
    Folder(folder::Destination),
    Store(object::Destination),
}

impl Destination {
    pub fn open(place: Where<'_>, writing: &Writing) -> Result<Destination, Failure> {
        match place {
            Where::Folder(path) => {
                folder::Destination::open(path, writing.direct).map(Destination::Folder)
            }
            Where::Store(url) => {
                Where::may(url, writing.direct)?;
                object::Destination::open(url, writing).map(Destination::Store)
            }
        }
    }

    /// The folder's device and inode; `None`: it is none.
    pub fn identity(&self) -> io::Result<Option<(u64, u64)>> {
        match self {
            Destination::Folder(folder) => folder.identity().map(Some),
            Destination::Store(_) => Ok(None),
        }
    }

    /// What the user should know of it.
    pub fn notes(&self) -> &[String] {
        match self {
            Destination::Folder(folder) => &folder.notes,
            Destination::Store(store) => store.notes(),
        }
    }

    pub fn is_direct(&self) -> bool {
        match self {
            Destination::Folder(folder) => folder.is_direct(),
            Destination::Store(_) => false,
        }
    }

    /// Whether io_uring writes stripes there with less work than threads.
    pub fn is_for_rings(&self) -> bool {
        match self {
            Destination::Folder(folder) => folder.is_for_rings(),
            Destination::Store(_) => false,
        }
    }

    pub fn kind(&self) -> &'static str {
        match self {
            Destination::Folder(_) => FOLDER,
            Destination::Store(_) => STORE,
        }
    }
}

/// The kinds, as the summary has them.
pub const FOLDER: &str = "folder";
pub const STORE: &str = "object-store";

impl Place for Destination {
    type Sink<S: Space> = AnySink<S>;

    fn create<S: Space>(&self, stripe: u32) -> io::Result<AnySink<S>> {
        match self {
            Destination::Folder(folder) => folder.create::<S>(stripe).map(AnySink::Folder),
            Destination::Store(store) => store.create(stripe).map(AnySink::Store),
        }
    }

    fn commit(&self, catalogue: &[u8]) -> io::Result<()> {
        match self {
            Destination::Folder(folder) => folder.commit(catalogue),
            Destination::Store(store) => store.commit(catalogue),
        }
    }

    fn discard(&self) -> io::Result<()> {
        match self {
            Destination::Folder(folder) => folder.discard(),
            Destination::Store(store) => store.discard(),
        }
    }
}

pub enum AnySink<S: Space> {
    Folder(folder::StripeFile),
    Store(object::Stripe<S>),
}

impl<S: Space> Sink<S> for AnySink<S> {
    fn append(&mut self, space: S, payload: usize) -> io::Result<()> {
        match self {
            AnySink::Folder(file) => file.append(space, payload),
            AnySink::Store(stripe) => stripe.append(space, payload),
        }
    }

    fn file(&self) -> Option<&Arc<File>> {
        match self {
            AnySink::Folder(file) => Sink::<S>::file(file),
            AnySink::Store(_) => None,
        }
    }

    fn finish(self) -> io::Result<()> {
        match self {
            AnySink::Folder(file) => Sink::<S>::finish(file),
            AnySink::Store(stripe) => stripe.finish(),
        }
    }

    fn abort(self) {
        match self {
            AnySink::Folder(file) => Sink::<S>::abort(file),
            AnySink::Store(stripe) => stripe.abort(),
        }
    }
}

/// Where a backup is read from.
pub enum Backup {
    Folder(folder::Backup),
    Store(object::Backup),
}

impl Backup {
    pub fn open(place: Where<'_>, direct: Direct, retry: Duration) -> Result<Backup, Failure> {
        match place {
            Where::Folder(path) => folder::Backup::open(path, direct).map(Backup::Folder),
            Where::Store(url) => {
                Where::may(url, direct)?;
                object::Backup::open(url, retry).map(Backup::Store)
            }
        }
    }

    /// Why there is no catalogue, in words.
    pub fn incomplete(&self) -> String {
        match self {
            Backup::Folder(folder) => folder.incomplete(),
            Backup::Store(store) => store.incomplete(),
        }
    }

    pub fn kind(&self) -> &'static str {
        match self {
            Backup::Folder(_) => FOLDER,
            Backup::Store(_) => STORE,
        }
    }
}

impl Shelf for Backup {
    type Source = AnySource;

    fn catalogue(&self) -> io::Result<Vec<u8>> {
        match self {
            Backup::Folder(folder) => folder.catalogue(),
            Backup::Store(store) => store.catalogue(),
        }
    }

    fn open(&self, stripe: u32) -> io::Result<AnySource> {
        match self {
            Backup::Folder(folder) => Shelf::open(folder, stripe).map(AnySource::Folder),
            Backup::Store(store) => Shelf::open(store, stripe).map(AnySource::Store),
        }
    }
}

pub enum AnySource {
    Folder(folder::StripeSource),
    Store(object::StripeSource),
}

impl Source for AnySource {
    fn length(&self) -> u64 {
        match self {
            AnySource::Folder(file) => file.length(),
            AnySource::Store(objects) => objects.length(),
        }
    }

    fn file(&self) -> Option<&Arc<File>> {
        match self {
            AnySource::Folder(file) => file.file(),
            AnySource::Store(_) => None,
        }
    }

    fn read<S: Space>(
        &self,
        offset: u64,
        space: &mut S,
        from: usize,
        to: usize,
        stop: &Stop,
    ) -> io::Result<usize> {
        match self {
            AnySource::Folder(file) => file.read(offset, space, from, to, stop),
            AnySource::Store(objects) => objects.read(offset, space, from, to, stop),
        }
    }
}
