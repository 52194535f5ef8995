//! What restore and verify have in common: a backup that is read.
//!
//! Owns its opening, the choice of buffers, and the figures. `restore` and `verify` say what is done with it.

use std::io;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::buffers::{Buffers, Malloc, Mmap, Origin, Pooled, Preallocated};
use super::crew;
use super::direct::Direct;
use super::format::catalogue::Catalogue;
use super::format::entry::Kind;
use super::load::{self, Done};
use super::options::CommonOptions;
use super::place::{Backup, Where};
use super::rings::{self, Rings};
use super::scan;
use super::stop::{Stop, Why};
use super::store::Shelf;
use super::summary::{Side, Summary};
use super::usage::Usage;
use crate::failure::Failure;
use crate::progress::Volume;

/// A backup that is read.
pub struct Session<'s> {
    pub catalogue: Catalogue,
    pub stop: Arc<Stop>,
    pub volume: Volume,
    /// Buffers there are.
    pub count: usize,
    shelf: Backup,
    common: &'s CommonOptions,
    begun: Instant,
    before: Usage,
}

/// What is done with a backup, whatever the buffers are.
pub trait Use {
    fn run<B: Buffers + Send + 'static>(
        &self,
        session: &Session<'_>,
        buffers: &Arc<B>,
    ) -> Result<ExitCode, Failure>;
}

/// Opens a backup, and reads its catalogue.
pub fn open(
    place: Where<'_>,
    direct: Direct,
    retry: Duration,
) -> Result<(Backup, Catalogue), Failure> {
    let shelf = Backup::open(place, direct, retry)?;
    let bytes = shelf.catalogue().map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => Failure::run(shelf.incomplete()),
        _ => Failure::run(format!("{place}: its catalogue: {error}")),
    })?;
    let catalogue = Catalogue::from_bytes(&bytes)
        .map_err(|error| Failure::run(format!("{place}: the catalogue is damaged: {error}")))?;
    Ok((shelf, catalogue))
}

impl<'s> Session<'s> {
    pub fn open(path: &Path, common: &'s CommonOptions) -> Result<Session<'s>, Failure> {
        let place = Where::of(path)?;
        rings::check(common, place)?;
        let (shelf, catalogue) = open(place, common.direct, common.store.retry())?;
        let count = common.buffers(catalogue.transfer, catalogue.stripes.len())?;
        let stop = Stop::on_signals()?;
        crew::allow_many_files();
        let bytes = catalogue.entries.iter().map(|entry| match entry.kind {
            Kind::File { data, .. } if !entry.flaws.unread => data,
            _ => 0,
        });
        // For the bar alone: a catalogue may say what it wants.
        let bytes = bytes.fold(0, u64::saturating_add);
        Ok(Session {
            catalogue,
            stop,
            volume: Volume::new(bytes),
            count,
            shelf,
            common,
            begun: Instant::now(),
            before: Usage::now(),
        })
    }

    /// Makes the buffers, and does it.
    pub fn with_buffers(&self, what: &impl Use) -> Result<ExitCode, Failure> {
        let (transfer, count) = (self.catalogue.transfer, self.count);
        match self.common.buffers_from {
            Origin::Pool => self.with(what, Pooled::new(transfer, count)?),
            Origin::Malloc => self.with(what, Malloc::new(transfer, count)),
            Origin::Mmap => self.with(what, Mmap::new(transfer, count)),
            Origin::Channel => self.with(what, Preallocated::new(transfer, count)?),
        }
    }

    fn with<B: Buffers + Send + 'static>(
        &self,
        what: &impl Use,
        buffers: B,
    ) -> Result<ExitCode, Failure> {
        let buffers = Arc::new(buffers);
        let alarm = Arc::clone(&buffers);
        self.stop.sound(move || alarm.abort());
        what.run(self, &buffers)
    }

    pub fn around<'r, B: Buffers>(&'r self, buffers: &'r B) -> scan::Surroundings<'r, B, Backup> {
        scan::Surroundings {
            stop: &self.stop,
            buffers,
            shelf: &self.shelf,
            catalogue: &self.catalogue,
        }
    }

    /// The rings that the stripes are read by. Read through the cache they cost more than the calls do.
    pub fn rings<B: Buffers>(&self, buffers: &B) -> Result<Rings, Failure> {
        let better = self.common.direct == Direct::On;
        let count = load::threads(self.catalogue.stripes.len());
        Rings::make(self.common, buffers, better, count)
    }

    pub fn summary<B: Buffers, H>(
        &self,
        command: &'static str,
        buffers: &B,
        done: &Done<H>,
        problems: u64,
    ) -> Summary {
        let stripes = self.catalogue.stripes.len();
        Summary {
            command,
            outcome: match self.stop.why() {
                None if problems == 0 => "complete".to_owned(),
                None => "complete, but for what is listed".to_owned(),
                Some(Why::Interrupted) => "interrupted".to_owned(),
                Some(Why::Failed(_)) => "failed".to_owned(),
            },
            elapsed: self.begun.elapsed(),
            bytes: done.bytes,
            stored: done.stored,
            entries: self.catalogue.entries.len() as u64,
            problems,
            transfer: self.catalogue.transfer,
            buffers: self.count,
            origin: self.common.buffers_from.to_string(),
            pages: buffers.pages(),
            high_water: buffers.high_water(),
            stripes,
            place: self.shelf.kind(),
            direct: self.common.direct == Direct::On,
            by: done.by,
            usage: Usage::now().since(self.before),
            front: Side {
                threads: load::threads(stripes),
                waited: done.for_buffers,
            },
            back: Side {
                threads: self.common.readers(),
                waited: done.for_blocks,
            },
            for_items: Default::default(),
            syncing: Default::default(),
        }
    }
}
