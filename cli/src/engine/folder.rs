//! A folder that holds a backup.
//!
//! Owns the names in it, the lock that keeps a second backup out, and the reading and writing of its files; whether
//! that goes past the kernel's cache is `direct`'s. `backup` writes one, the other commands read it.
//!
//! ```text
//!   DEST/stripe-0000 …      blocks, the last of which says that it is the last
//!   DEST/catalogue.part     while the catalogue is written
//!   DEST/catalogue          once everything is on the disk: with it the backup is whole
//! ```

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{AtFlags, FlockOperation, Mode, OFlags, flock, openat, renameat, unlinkat};
use rustix::io::{Errno, pread, pwrite, retry_on_intr};

use super::buffers::Space;
use super::direct::{self, Direct};
use super::format::UNIT;
use super::format::block::HEADER;
use super::format::padded;
use super::stop::Stop;
use super::store::{Place, Shelf, Sink, Source};
use crate::failure::Failure;

const CATALOGUE: &str = "catalogue";
const PART: &str = "catalogue.part";

fn stripe_name(stripe: u32) -> String {
    format!("stripe-{stripe:04}")
}

/// Whether a backup puts files of that name there.
fn is_ours(name: &str) -> bool {
    let number = name.strip_prefix("stripe-");
    name == PART || number.is_some_and(|number| number.len() >= 4 && number.parse::<u32>().is_ok())
}

/// A folder that a backup is written to, locked.
pub struct Destination {
    folder: File,
    path: PathBuf,
    direct: bool,
    /// It was not there before.
    made: bool,
    /// What the user should know of it.
    pub notes: Vec<String>,
}

impl Destination {
    /// Makes the folder, or takes one that is empty or has what a backup left that did not come to its end.
    pub fn open(path: &Path, direct: Direct) -> Result<Destination, Failure> {
        let failed = |what: &str, error: io::Error| {
            Failure::run(format!("{}: {what}: {error}", path.display()))
        };
        let made = match fs::create_dir(path) {
            Ok(()) => true,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => false,
            Err(error) => return Err(failed("cannot be made", error)),
        };
        let folder = File::open(path).map_err(|error| failed("cannot be opened", error))?;
        let mut notes = Vec::new();
        match flock(&folder, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => {
                return Err(Failure::run(format!(
                    "{}: another backup is being written there",
                    path.display()
                )));
            }
            Err(error) => notes.push(format!(
                "{}: cannot be locked ({error}): see that no other backup is written there",
                path.display()
            )),
        }
        let mut left = Vec::new();
        for entry in fs::read_dir(path).map_err(|error| failed("cannot be read", error))? {
            let name = entry
                .map_err(|error| failed("cannot be read", error))?
                .file_name();
            match name.to_str() {
                Some(CATALOGUE) => {
                    return Err(Failure::run(format!(
                        "{}: holds a backup already; give an empty folder, or a new one",
                        path.display()
                    )));
                }
                Some(name) if is_ours(name) => left.push(name.to_owned()),
                _ => {
                    return Err(Failure::run(format!(
                        "{}: holds `{}`, which is no part of a backup; give an empty folder, or a new one",
                        path.display(),
                        name.display()
                    )));
                }
            }
        }
        for name in &left {
            fs::remove_file(path.join(name)).map_err(|error| failed(name, error))?;
        }
        if !left.is_empty() {
            notes.push(format!(
                "{}: held an incomplete backup, which was removed",
                path.display()
            ));
        }
        let direct = direct::for_writing(&folder, direct, &mut notes).map_err(|error| {
            if made {
                // It is as it was.
                let _ = fs::remove_dir(path);
            }
            Failure::run(format!("{}: {error}", path.display()))
        })?;
        Ok(Destination {
            folder,
            path: path.to_owned(),
            direct,
            made,
            notes,
        })
    }

    /// The folder's device and inode.
    pub fn identity(&self) -> io::Result<(u64, u64)> {
        let stat = rustix::fs::fstat(&self.folder)?;
        Ok((stat.st_dev, stat.st_ino))
    }

    pub fn is_direct(&self) -> bool {
        self.direct
    }

    /// Whether io_uring writes there by itself, past the cache: a file system in memory calls it that, and copies.
    pub fn is_for_rings(&self) -> bool {
        const TMPFS: u64 = 0x0102_1994;
        let system = rustix::fs::fstatfs(&self.folder);
        self.direct && !system.is_ok_and(|system| system.f_type as u64 == TMPFS)
    }
}

impl Place for Destination {
    type Sink<S: Space> = StripeFile;

    fn create<S: Space>(&self, stripe: u32) -> io::Result<StripeFile> {
        let mut flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        if self.direct {
            flags |= OFlags::DIRECT;
        }
        let mode = Mode::RUSR | Mode::WUSR;
        let file = openat(&self.folder, stripe_name(stripe), flags, mode)?;
        Ok(StripeFile {
            file: Arc::new(file.into()),
            end: 0,
        })
    }

    fn commit(&self, catalogue: &[u8]) -> io::Result<()> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let mode = Mode::RUSR | Mode::WUSR;
        let mut file: File = openat(&self.folder, PART, flags, mode)?.into();
        file.write_all(catalogue)?;
        file.sync_all()?;
        // The stripes' names are on the disk before the catalogue's is.
        self.folder.sync_all()?;
        renameat(&self.folder, PART, &self.folder, CATALOGUE)?;
        self.folder.sync_all()
    }

    fn discard(&self) -> io::Result<()> {
        // First, so that it is never there without stripes. Only a commit that failed leaves one.
        match unlinkat(&self.folder, CATALOGUE, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(error) => return Err(error.into()),
        }
        for entry in fs::read_dir(&self.path)? {
            let name = entry?.file_name();
            if name.to_str().is_some_and(is_ours) {
                unlinkat(&self.folder, name.as_os_str(), AtFlags::empty())?;
            }
        }
        if self.made {
            fs::remove_dir(&self.path)?;
        }
        Ok(())
    }
}

/// A stripe that is written.
pub struct StripeFile {
    file: Arc<File>,
    end: u64,
}

impl<S: Space> Sink<S> for StripeFile {
    fn append(&mut self, space: S, payload: usize) -> io::Result<()> {
        let mut rest = &space.whole()[..HEADER + padded(payload)];
        while !rest.is_empty() {
            match retry_on_intr(|| pwrite(&*self.file, rest, self.end))? {
                0 => return Err(io::ErrorKind::WriteZero.into()),
                count => {
                    rest = &rest[count..];
                    self.end += count as u64;
                }
            }
        }
        Ok(())
    }

    fn file(&self) -> Option<&Arc<File>> {
        Some(&self.file)
    }

    fn finish(self) -> io::Result<()> {
        self.file.sync_all()
    }

    fn abort(self) {}
}

/// A folder that a backup is read from.
pub struct Backup {
    folder: File,
    path: PathBuf,
    direct: Direct,
}

impl Backup {
    pub fn open(path: &Path, direct: Direct) -> Result<Backup, Failure> {
        let failed = |error: io::Error| Failure::run(format!("{}: {error}", path.display()));
        let folder = File::open(path).map_err(failed)?;
        if !folder.metadata().map_err(failed)?.is_dir() {
            return Err(Failure::run(format!("{}: is no folder", path.display())));
        }
        Ok(Backup {
            folder,
            path: path.to_owned(),
            direct,
        })
    }

    /// Why there is no catalogue, in words.
    pub fn incomplete(&self) -> String {
        let path = self.path.display();
        let any = fs::read_dir(&self.path).is_ok_and(|mut entries| {
            entries.any(|entry| entry.is_ok_and(|it| it.file_name().to_str().is_some_and(is_ours)))
        });
        if !any {
            return format!("{path}: holds no backup");
        }
        match flock(&self.folder, FlockOperation::NonBlockingLockShared) {
            Err(Errno::WOULDBLOCK) => {
                format!("{path}: the backup is incomplete: it is being written")
            }
            _ => format!(
                "{path}: the backup is incomplete: it was ended before its catalogue was written; run it again"
            ),
        }
    }
}

impl Shelf for Backup {
    type Source = StripeSource;

    fn catalogue(&self) -> io::Result<Vec<u8>> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let mut file: File = openat(&self.folder, CATALOGUE, flags, Mode::empty())?.into();
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    fn open(&self, stripe: u32) -> io::Result<StripeSource> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let open = |flags| openat(&self.folder, stripe_name(stripe), flags, Mode::empty());
        let file: File = match self.direct {
            Direct::On => open(flags | OFlags::DIRECT)?,
            // Past the cache the kernel would not read ahead.
            Direct::Auto | Direct::Off => open(flags)?,
        }
        .into();
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Err(io::Error::other("is no file"));
        }
        Ok(StripeSource {
            file: Arc::new(file),
            length: metadata.len(),
        })
    }
}

pub struct StripeSource {
    file: Arc<File>,
    length: u64,
}

impl Source for StripeSource {
    fn length(&self) -> u64 {
        self.length
    }

    fn file(&self) -> Option<&Arc<File>> {
        Some(&self.file)
    }

    fn read<S: Space>(
        &self,
        offset: u64,
        space: &mut S,
        from: usize,
        to: usize,
        stop: &Stop,
    ) -> io::Result<usize> {
        let into = &mut space.whole_mut()[..to];
        let mut done = from;
        while done < to && !stop.is_stopped() {
            let at = offset + done as u64;
            let count = retry_on_intr(|| pread(&*self.file, &mut into[done..], at))?;
            done += count;
            // Past the cache, what is no multiple is the end; to go on from there would be an error.
            if count == 0 || !count.is_multiple_of(UNIT) && self.is_end(offset + done as u64) {
                break;
            }
        }
        Ok(done - from)
    }
}

impl StripeSource {
    fn is_end(&self, at: u64) -> bool {
        at >= self.length
    }
}
