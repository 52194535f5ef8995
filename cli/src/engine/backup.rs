//! `hugepool backup`: files into stripes.
//!
//! Owns the order of the command: sources, destination, buffers, threads, catalogue, verdict. The threads are those of
//! `walk`, `read` and `write`; what they hand each other is in `pipe`.

use std::process::ExitCode;
use std::sync::Arc;
use std::thread;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use crossbeam_channel::bounded;

use super::buffers::{Buffers, Malloc, Mmap, Origin, Pooled, Preallocated};
use super::crew;
use super::direct::Direct;
use super::format::Id;
use super::format::catalogue::{Catalogue, Totals};
use super::options::{BackupOptions, Compress};
use super::origin;
use super::pipe::Stripes;
use super::place::{Destination, Where};
use super::read::{self, Read, Reader};
use super::report;
use super::rings::{self, Ahead, Rings};
use super::settle::{links_to_unread, promote, settle};
use super::stop::{INTERRUPTED, Stop, Why};
use super::store::{Place, Writing};
use super::summary::{Side, Summary};
use super::usage::Usage;
use super::walk::{self, Found, Problem, Walk};
use super::write::{self, Written, room};
use crate::failure::Failure;
use crate::progress::Volume;

/// Runs it. Exits with a failure when a file could not be backed up as it is.
pub fn run(options: &BackupOptions) -> Result<ExitCode, Failure> {
    let (sources, destination) = options.paths()?;
    let to = Where::of(destination)?;
    let origins = origin::Origin::all(sources)?;
    let count = options.buffers(to)?;
    rings::check(&options.common, to)?;
    let stop = Stop::on_signals()?;
    crew::allow_many_files();
    let writing = Writing {
        direct: options.common.direct,
        retry: options.common.store.retry(),
        transfer: options.transfer_size,
        stripes: options.stripes as usize,
        buffers: count - options.own(),
        stop: Arc::clone(&stop),
    };
    let place = match Destination::open(to, &writing) {
        Err(_) if stop.why() == Some(Why::Interrupted) => {
            report::notes(&["interrupted: there is no backup".to_owned()]);
            return Ok(ExitCode::from(INTERRUPTED));
        }
        opened => opened?,
    };
    let identity = place
        .identity()
        .map_err(|error| Failure::run(format!("{}: {error}", destination.display())))?;
    for origin in &origins {
        use std::os::unix::fs::MetadataExt;
        let same = origin.path.metadata();
        if same.is_ok_and(|source| Some((source.dev(), source.ino())) == identity) {
            return Err(Failure::input(format!(
                "{}: a backup cannot be written into what it is of",
                destination.display()
            )));
        }
    }
    report::notes(place.notes());
    let job = Job {
        options,
        origins: &origins,
        place: &place,
        identity,
        count,
        stop: &stop,
    };
    let transfer = options.transfer_size;
    match options.common.buffers_from {
        Origin::Pool => job.run(Pooled::new(transfer, count)),
        Origin::Malloc => job.run(Ok(Malloc::new(transfer, count))),
        Origin::Mmap => job.run(Ok(Mmap::new(transfer, count))),
        Origin::Channel => job.run(Preallocated::new(transfer, count)),
    }
}

/// What is in each stripe, in order.
fn totals(written: &[Written]) -> Vec<Totals> {
    let mut all: Vec<_> = written.iter().flat_map(|it| it.totals.clone()).collect();
    all.sort_by_key(|&(stripe, _)| stripe);
    all.into_iter().map(|(_, totals)| totals).collect()
}

/// What does not depend on where buffers come from.
struct Job<'j> {
    options: &'j BackupOptions,
    origins: &'j [origin::Origin],
    place: &'j Destination,
    identity: Option<(u64, u64)>,
    count: usize,
    stop: &'j Arc<Stop>,
}

/// What the threads did.
struct Done {
    found: Found,
    reads: Vec<Read>,
    written: Vec<Written>,
}

/// How a backup ended.
struct Ended {
    summary: Summary,
    problems: Vec<Problem>,
    special: Vec<Problem>,
    /// Why there is none; `None`: it is there.
    why: Option<Why>,
}

impl Job<'_> {
    fn run<B: Buffers + Send + 'static>(
        &self,
        buffers: Result<B, Failure>,
    ) -> Result<ExitCode, Failure> {
        let result = buffers.and_then(|buffers| self.back_up(buffers));
        let mut removed = true;
        if !result.as_ref().is_ok_and(|ended| ended.why.is_none()) {
            // What cannot be removed is seen as incomplete.
            if let Err(error) = self.place.discard() {
                removed = false;
                let what = "what was written cannot all be removed, and is incomplete";
                report::notes(&[format!("{what}: {error}")]);
            }
        }
        let Ended {
            summary,
            problems,
            special,
            why,
        } = result?;
        report::special(&special);
        let verdict = report::problems(&problems);
        if let Some(file) = &self.options.common.json {
            summary.save(file)?;
        }
        match why {
            None => {
                summary.print()?;
                Ok(verdict)
            }
            Some(Why::Failed(what)) => Err(Failure::run(format!("there is no backup: {what}"))),
            Some(Why::Interrupted) => {
                let what = match removed {
                    true => ", and what was written of it is removed",
                    false => "",
                };
                report::notes(&[format!("interrupted: the backup is incomplete{what}")]);
                Ok(ExitCode::from(INTERRUPTED))
            }
        }
    }

    /// Does it all, but for what is said of it.
    fn back_up<B: Buffers + Send + 'static>(&self, buffers: B) -> Result<Ended, Failure> {
        let buffers = Arc::new(buffers);
        let alarm = Arc::clone(&buffers);
        self.stop.sound(move || alarm.abort());

        let created = SystemTime::now().duration_since(UNIX_EPOCH);
        let mut id = Id::default();
        rustix::rand::getrandom(&mut id.0[..], rustix::rand::GetRandomFlags::empty())
            .map_err(|error| Failure::run(format!("no random numbers: {error}")))?;
        let (begun, before) = (Instant::now(), Usage::now());
        let volume = Volume::new(0);
        let rings = self.rings(&*buffers)?;
        let by = rings.name();
        let mut done = self.pipeline(&*buffers, &rings, id, &volume)?;
        volume.say("catalogue");
        let mut problems = std::mem::take(&mut done.found.problems);
        problems.sort_by(|a, b| a.path.cmp(&b.path));
        let catalogue = Catalogue {
            backup: id,
            created: created.map_or(0, |time| time.as_secs()),
            transfer: self.options.transfer_size,
            stripes: totals(&done.written),
            entries: std::mem::take(&mut done.found.entries),
        };
        let why = self.commit(&catalogue);
        volume.finish();
        let summary = Summary {
            outcome: match &why {
                None if problems.is_empty() => "complete".to_owned(),
                None => "complete, but for what is listed".to_owned(),
                Some(Why::Interrupted) => "interrupted".to_owned(),
                Some(Why::Failed(_)) => "failed".to_owned(),
            },
            entries: catalogue.entries.len() as u64,
            problems: problems.len() as u64,
            elapsed: begun.elapsed(),
            usage: Usage::now().since(before),
            by,
            ..self.summary(&*buffers, &done)
        };
        Ok(Ended {
            summary,
            problems,
            special: done.found.special,
            why,
        })
    }

    /// Makes the backup whole, unless the run was stopped; why it is not. An interruption that comes later is too late.
    fn commit(&self, catalogue: &Catalogue) -> Option<Why> {
        if let Some(why) = self.stop.why() {
            return Some(why);
        }
        let done = self.place.commit(&catalogue.to_bytes());
        let error = done.err()?;
        Some(Why::Failed(format!(
            "the catalogue cannot be written{}: {error}",
            room(&error)
        )))
    }

    /// The rings that stripes are written by. Through the cache a write is a copy, which io_uring does no better.
    fn rings<B: Buffers>(&self, buffers: &B) -> Result<Rings, Failure> {
        let mut count = rings::writers(self.options.stripes as usize, self.place.is_direct());
        if self.past_the_cache() {
            count += self.options.common.readers();
        }
        Rings::make(
            &self.options.common,
            buffers,
            self.place.is_for_rings(),
            count,
        )
    }

    /// Whether large files are read past the cache, if there are rings to read ahead by.
    fn past_the_cache(&self) -> bool {
        let BackupOptions {
            common, compress, ..
        } = self.options;
        common.direct == Direct::On && *compress == Compress::None
    }

    /// Starts every thread, and waits for them: the readers end when the walk has, the writers when the readers have.
    fn pipeline<B: Buffers>(
        &self,
        buffers: &B,
        rings: &Rings,
        backup: Id,
        volume: &Volume,
    ) -> Result<Done, Failure> {
        let stop: &Stop = self.stop;
        let count = self.options.stripes as usize;
        let writers = if rings.is_empty() {
            write::threads(count)
        } else {
            rings::writers(count, self.place.is_direct())
        };
        let past_the_cache = self.past_the_cache() && !rings.is_empty();
        let (stripes, outlets) = Stripes::new(count, writers, self.count);
        // Before the readers': those can do without.
        let of_writers: Vec<_> = outlets.iter().map(|_| rings.take()).collect();
        let writing = write::Surroundings {
            stop,
            buffers,
            place: self.place,
            backup,
        };
        let reading = Arc::new(read::Surroundings {
            stop,
            volume,
            buffers,
            transfer: self.options.transfer_size,
            stripes,
            past_the_cache,
        });
        let mut crew = self.readers(&reading, self.options.common.readers())?;
        if reading.past_the_cache {
            crew.iter_mut()
                .for_each(|reader| reader.ahead = rings.take().map(Ahead::new));
        }
        let (writing, outlets) = (&writing, &outlets);
        thread::scope(|scope| {
            let writers: Vec<_> = outlets
                .iter()
                .zip(of_writers)
                .map(|(outlet, ring)| {
                    crew::start(scope, stop, "writer", move || match ring {
                        Some(ring) => rings::write(writing, outlet, ring),
                        None => write::write(writing, outlet),
                    })
                })
                .collect();
            let read = self.files(&reading, crew);
            // The writers' receiving ends with the last way to them.
            drop(reading);
            volume.say("everything onto the disk");
            let written = writers.into_iter().map(crew::join).collect();
            let (found, reads) = read?;
            Ok(Done {
                found,
                reads,
                written,
            })
        })
    }

    /// So many readers; those that compress have a buffer each.
    fn readers<'r, B: Buffers>(
        &self,
        reading: &Arc<read::Surroundings<'r, B>>,
        count: usize,
    ) -> Result<Vec<Reader<'r, B>>, Failure> {
        let one = |_| {
            let own = match self.options.compress {
                Compress::None => None,
                // Without one, the run was stopped.
                Compress::Zstd => reading.buffers.take().ok(),
            };
            Reader::new(reading, own).map_err(|error| Failure::run(format!("zstd: {error}")))
        };
        (0..count).map(one).collect()
    }

    /// Has every file read; and those that could not be read by one name by the next, for as long as there are any.
    fn files<'r, B: Buffers>(
        &self,
        reading: &Arc<read::Surroundings<'r, B>>,
        crew: Vec<Reader<'r, B>>,
    ) -> Result<(Found, Vec<Read>), Failure> {
        let origins = self.origins;
        let (mut found, mut reads) = self.round(reading, crew, |walk| walk.run(origins));
        settle(&mut found, &mut reads);
        loop {
            let again = promote(&mut found.entries);
            if again.is_empty() || self.stop.is_stopped() {
                break;
            }
            let crew = self.readers(reading, 1)?;
            let (more, mut of_more) =
                self.round(reading, crew, |walk| walk.again(origins, found, &again));
            found = more;
            settle(&mut found, &mut of_more);
            reads.extend(of_more);
        }
        found.problems.extend(links_to_unread(&found.entries));
        Ok((found, reads))
    }

    /// Has one walk and some readers do what they do.
    fn round<'r, B: Buffers>(
        &self,
        reading: &read::Surroundings<'r, B>,
        crew: Vec<Reader<'r, B>>,
        walk: impl FnOnce(Walk<'_>) -> Found + Send,
    ) -> (Found, Vec<Read>) {
        let stop: &Stop = self.stop;
        let (send, items) = bounded(2 * crew.len());
        let around = walk::Surroundings {
            stop,
            volume: reading.volume,
            destination: self.identity,
            transfer: self.options.transfer_size,
            past_the_cache: reading.past_the_cache,
        };
        thread::scope(|scope| {
            let walk = crew::start(scope, stop, "walk", move || walk(Walk::new(around, send)));
            let readers: Vec<_> = crew
                .into_iter()
                .map(|reader| {
                    let items = items.clone();
                    crew::start(scope, stop, "reader", move || reader.run(&items))
                })
                .collect();
            // The walk's sending ends with the last reader.
            drop(items);
            let reads = readers.into_iter().map(crew::join).collect();
            (crew::join(walk), reads)
        })
    }

    fn summary<B: Buffers>(&self, buffers: &B, done: &Done) -> Summary {
        let reads = &done.reads;
        let written = &done.written;
        Summary {
            command: "backup",
            outcome: String::new(),
            elapsed: Default::default(),
            bytes: reads.iter().map(|read| read.bytes).sum(),
            stored: totals(written).iter().map(|stripe| stripe.bytes).sum(),
            entries: 0,
            problems: 0,
            transfer: self.options.transfer_size,
            buffers: self.count,
            origin: self.options.common.buffers_from.to_string(),
            pages: buffers.pages(),
            high_water: buffers.high_water(),
            stripes: self.options.stripes as usize,
            place: self.place.kind(),
            direct: self.place.is_direct(),
            by: "",
            usage: Usage::default(),
            front: Side {
                threads: reads.len(),
                waited: reads.iter().map(|read| read.for_buffers).sum(),
            },
            back: Side {
                threads: written.len(),
                waited: written.iter().map(|writer| writer.for_blocks).sum(),
            },
            for_items: reads.iter().map(|read| read.for_items).sum(),
            syncing: written
                .iter()
                .map(|writer| writer.syncing)
                .max()
                .unwrap_or_default(),
        }
    }
}
