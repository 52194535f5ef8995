//! `hugepool verify`: reads all of a backup back, and names what is damaged.
//!
//! Owns the order of the command. `load` reads; here nothing is done with the pieces.

use std::process::ExitCode;
use std::sync::Arc;

use super::buffers::Buffers;
use super::format::entry::Kind;
use super::load::{self, Hand, Load, Target};
use super::options::{CommonOptions, VerifyOptions};
use super::report;
use super::session::{Session, Use};
use super::stop::{INTERRUPTED, Why};
use super::walk::Problem;
use crate::failure::Failure;

/// Runs it. Exits with a failure when anything is damaged.
pub fn run(options: &VerifyOptions) -> Result<ExitCode, Failure> {
    let session = Session::open(&options.backup, &options.common)?;
    session.with_buffers(&Verify {
        common: &options.common,
    })
}

struct Verify<'o> {
    common: &'o CommonOptions,
}

/// Where pieces go that were good.
struct Nowhere;

impl Target for Nowhere {
    type Hand<'t> = Nowhere;

    fn hand(&self) -> Nowhere {
        Nowhere
    }
}

impl Hand for Nowhere {
    fn piece(&mut self, _: u32, _: u64, _: &[u8], _: bool) -> Result<(), String> {
        Ok(())
    }

    fn whole(&mut self, _: u32) -> Result<(), String> {
        Ok(())
    }
}

impl Use for Verify<'_> {
    fn run<B: Buffers + Send + 'static>(
        &self,
        session: &Session<'_>,
        buffers: &Arc<B>,
    ) -> Result<ExitCode, Failure> {
        let catalogue = &session.catalogue;
        let load = Load {
            around: session.around(&**buffers),
            volume: &session.volume,
            workers: self.common.readers(),
            buffers: session.count,
            rings: &session.rings(&**buffers)?,
        };
        let done = load
            .run(&Nowhere)
            .map_err(|error| Failure::run(error.to_string()))?;
        session.volume.finish();
        match session.stop.why() {
            Some(Why::Interrupted) => {
                report::notes(&["interrupted: nothing is known of the rest".to_owned()]);
                return Ok(ExitCode::from(INTERRUPTED));
            }
            Some(Why::Failed(what)) => return Err(Failure::run(what)),
            None => {}
        }
        let mut problems = Vec::new();
        let mut unread = Vec::new();
        for (entry, number) in catalogue.entries.iter().zip(0..) {
            let what = match entry.kind {
                Kind::File { data, .. } if done.left[number as usize] > 0 => {
                    load::in_words(done.left[number as usize], data)
                }
                Kind::Link { of } if done.left[of as usize] > 0 => {
                    "is another name of a damaged file".to_owned()
                }
                _ if entry.flaws.unread => {
                    let what = "could not be read when it was backed up".to_owned();
                    let path = catalogue.path(number);
                    unread.push(Problem { path, what });
                    continue;
                }
                _ => continue,
            };
            let path = catalogue.path(number);
            problems.push(Problem { path, what });
        }
        problems.sort_by(|a, b| a.path.cmp(&b.path));
        let found = problems.len() as u64 + done.damages.count;
        let summary = session.summary("verify", &**buffers, &done, found);
        if let Some(file) = &self.common.json {
            summary.save(file)?;
        }
        report::special(&unread);
        let damaged = report::damages(&done.damages);
        let failed = report::problems(&problems);
        summary.print()?;
        Ok(if damaged { ExitCode::FAILURE } else { failed })
    }
}
