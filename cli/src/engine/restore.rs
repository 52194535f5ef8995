//! `hugepool restore`: stripes into files.
//!
//! Owns the order of the command: catalogue, target, folders, files, links, the folders' attributes, verdict. `load`
//! runs the threads, `tree` makes what is made.

use std::fs::{self, File};
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use super::attributes::Withheld;
use super::buffers::Buffers;
use super::format::catalogue::Catalogue;
use super::format::entry::Kind;
use super::load::{self, Load, Target};
use super::options::{CommonOptions, RestoreOptions};
use super::report;
use super::session::{Session, Use};
use super::stop::{INTERRUPTED, Stop, Why};
use super::tree::{Maker, Tree};
use super::walk::Problem;
use crate::failure::Failure;

/// Runs it. Exits with a failure when something is not as it was.
pub fn run(options: &RestoreOptions) -> Result<ExitCode, Failure> {
    let session = Session::open(&options.backup, &options.common)?;
    let root = target(&options.target)?;
    session.with_buffers(&Restore {
        root,
        common: &options.common,
    })
}

/// Makes the target, or takes one that is empty.
fn target(path: &Path) -> Result<OwnedFd, Failure> {
    let failed = |error: io::Error| Failure::run(format!("{}: {error}", path.display()));
    match fs::create_dir(path) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            if fs::read_dir(path).map_err(failed)?.next().is_some() {
                return Err(Failure::run(format!(
                    "{}: is not empty; give an empty folder, or a new one",
                    path.display()
                )));
            }
        }
        Err(error) => return Err(failed(error)),
    }
    Ok(File::open(path).map_err(failed)?.into())
}

struct Restore<'o> {
    root: OwnedFd,
    common: &'o CommonOptions,
}

impl Use for Restore<'_> {
    fn run<B: Buffers + Send + 'static>(
        &self,
        session: &Session<'_>,
        buffers: &Arc<B>,
    ) -> Result<ExitCode, Failure> {
        let catalogue = &session.catalogue;
        let stop: &Stop = &session.stop;
        let root = self
            .root
            .try_clone()
            .map_err(|error| Failure::run(error.to_string()))?;
        let tree = Tree::new(root, catalogue, stop);
        let mut work = Work {
            catalogue,
            stop,
            hand: tree.hand(),
            problems: Vec::new(),
        };
        work.each(|hand, entry, kind| match kind {
            Kind::Directory => hand.folder(entry),
            _ => Ok(()),
        });
        let load = Load {
            around: session.around(&**buffers),
            volume: &session.volume,
            workers: self.common.readers(),
            buffers: session.count,
            rings: &session.rings(&**buffers)?,
        };
        let done = load
            .run(&tree)
            .map_err(|error| Failure::run(error.to_string()))?;
        work.problems.extend(done.problems.iter().cloned());
        let aside = tree.set_aside();
        work.files(&done.left, aside);
        work.rest(&done.left);

        let mut withheld = work.hand.withheld();
        done.hands
            .iter()
            .for_each(|hand| withheld.add(hand.withheld()));
        let Work { mut problems, .. } = work;
        problems.sort_by(|a, b| a.path.cmp(&b.path));
        session.volume.finish();
        let found = problems.len() as u64 + done.damages.count;
        let summary = session.summary("restore", &**buffers, &done, found);
        if let Some(file) = &self.common.json {
            summary.save(file)?;
        }
        say(withheld);
        let damaged = report::damages(&done.damages);
        let failed = report::problems(&problems);
        match stop.why() {
            Some(Why::Interrupted) => {
                report::notes(&["interrupted: the restore is incomplete".to_owned()]);
                return Ok(ExitCode::from(INTERRUPTED));
            }
            Some(Why::Failed(what)) => {
                return Err(Failure::run(format!("the restore is incomplete: {what}")));
            }
            None => {}
        }
        summary.print()?;
        Ok(if damaged { ExitCode::FAILURE } else { failed })
    }
}

/// Says once what only root can give back.
fn say(withheld: Withheld) {
    let mut notes = Vec::new();
    if withheld.owners > 0 {
        notes.push(format!(
            "{} entries belong to who runs this, not to their owners: only root can give them back (setuid and setgid are left off)",
            withheld.owners
        ));
    }
    if withheld.xattrs > 0 {
        notes.push(format!(
            "{} extended attributes are left out: only root can set them",
            withheld.xattrs
        ));
    }
    report::notes(&notes);
}

/// What the command does besides the pieces of files.
struct Work<'w> {
    catalogue: &'w Catalogue,
    stop: &'w Stop,
    hand: Maker<'w>,
    problems: Vec<Problem>,
}

impl Work<'_> {
    /// Does something for each entry, in order. What goes wrong is noted.
    fn each(&mut self, mut what: impl FnMut(&mut Maker<'_>, u32, &Kind) -> Result<(), String>) {
        for (entry, number) in self.catalogue.entries.iter().zip(0..) {
            if self.stop.is_stopped() {
                return;
            }
            if let Err(what) = what(&mut self.hand, number, &entry.kind) {
                let path = self.catalogue.path(number);
                self.problems.push(Problem { path, what });
            }
        }
    }

    /// The files without a piece; and those that miss some are named.
    fn files(&mut self, left: &[u64], aside: Vec<(u32, String)>) {
        let mut aside = aside.into_iter().peekable();
        let catalogue = self.catalogue;
        self.each(|hand, entry, kind| {
            let put = aside.next_if(|it| it.0 == entry).map(|it| it.1);
            let &Kind::File { data, .. } = kind else {
                return Ok(());
            };
            let left = left[entry as usize];
            if catalogue.entries[entry as usize].flaws.unread {
                return Err(
                    "could not be read when it was backed up, and is not restored".to_owned(),
                );
            }
            match (left, put) {
                (0, None) if data == 0 => hand.empty_file(entry),
                (0, None) => Ok(()),
                // What went wrong was said already.
                (left, None) if load::is_spoilt(left) => Ok(()),
                (left, None) => Err(load::in_words(left, data)),
                (left, Some(put)) => Err(format!("{}; {put}", load::in_words(left, data))),
            }
        });
        // After an interruption, the others.
        for (entry, put) in aside {
            let path = self.catalogue.path(entry);
            self.problems.push(Problem { path, what: put });
        }
    }

    /// Links, and then what is to be done to folders when all is in them.
    fn rest(&mut self, left: &[u64]) {
        let catalogue = self.catalogue;
        self.each(|hand, entry, kind| match kind {
            Kind::Symlink { target } => hand.symlink(entry, target),
            _ => Ok(()),
        });
        self.each(|hand, entry, kind| match *kind {
            Kind::Link { of } => {
                let first = &catalogue.entries[of as usize];
                if left[of as usize] > 0 || first.flaws.unread {
                    return Err("is another name of a file that is not restored".to_owned());
                }
                hand.link(entry, of)
            }
            _ => Ok(()),
        });
        // Those that are in others before these, whose rights may keep us out.
        for number in (0..catalogue.entries.len() as u32).rev() {
            let entry = &catalogue.entries[number as usize];
            if entry.kind == Kind::Directory
                && !self.stop.is_stopped()
                && let Err(what) = self.hand.folder_attributes(number)
            {
                let path = catalogue.path(number);
                self.problems.push(Problem { path, what });
            }
        }
        let unread = |entry: &&super::format::entry::Entry| {
            entry.kind == Kind::Directory && entry.flaws.unread
        };
        for (entry, number) in catalogue.entries.iter().zip(0..) {
            if unread(&entry) {
                self.problems.push(Problem {
                    path: catalogue.path(number),
                    what:
                        "could not be looked into when it was backed up: what was in it is missing"
                            .to_owned(),
                });
            }
        }
    }
}
