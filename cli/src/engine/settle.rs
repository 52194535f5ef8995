//! What the readers learned, brought into the entries.
//!
//! Owns how an outcome becomes an entry's flaws and a problem that is reported, and what becomes of the other names of a
//! file that could not be read by its first. `backup` does this between two rounds of reading.

use super::format::catalogue::path;
use super::format::entry::{Entry, Kind};
use super::pipe::Outcome;
use super::read::Read;
use super::walk::{Found, Problem};

/// Takes the outcomes of the walk and of the readers.
pub fn settle(found: &mut Found, reads: &mut [Read]) {
    let Found {
        entries,
        outcomes,
        problems,
        ..
    } = found;
    let from_readers = reads.iter_mut().flat_map(|read| read.outcomes.drain(..));
    for outcome in outcomes.drain(..).chain(from_readers) {
        let Outcome {
            entry,
            data,
            xattrs,
            changed,
            unread,
            lacks,
        } = outcome;
        let this = &mut entries[entry as usize];
        this.flaws.unread |= unread.is_some();
        this.flaws.changed |= unread.is_none() && changed.is_some();
        if !xattrs.is_empty() {
            this.xattrs = xattrs;
        }
        if let Kind::File { data: place, .. } = &mut this.kind {
            *place = data;
        }
        // Of what cannot be read, that it changed as well is no news.
        for what in [unread.or(changed), lacks].into_iter().flatten() {
            let path = path(entries, entry);
            problems.push(Problem { path, what });
        }
    }
}

/// Makes the next name of each file that could not be read a file of its own, which the names after it are links to.
/// Gives these.
pub fn promote(entries: &mut [Entry]) -> Vec<u32> {
    let mut promoted = Vec::new();
    // Which file is now behind another one's names; both are in the order of entries.
    let mut instead: Vec<(u32, u32)> = Vec::new();
    for number in 0..entries.len() as u32 {
        let Kind::Link { of } = entries[number as usize].kind else {
            continue;
        };
        if !entries[of as usize].flaws.unread {
            continue;
        }
        let known = instead.iter().find(|it| it.0 == of).map(|it| it.1);
        entries[number as usize].kind = match known {
            Some(of) => Kind::Link { of },
            None => {
                instead.push((of, number));
                promoted.push(number);
                // What there is of it the walk will see.
                Kind::File { size: 0, data: 0 }
            }
        };
    }
    promoted
}

/// Names of files that could not be read by any: after an interruption alone.
pub fn links_to_unread(entries: &[Entry]) -> impl Iterator<Item = Problem> + '_ {
    entries.iter().zip(0..).filter_map(|(entry, number)| {
        let Kind::Link { of } = entry.kind else {
            return None;
        };
        entries[of as usize].flaws.unread.then(|| Problem {
            path: path(entries, number),
            what: "is another name of a file that could not be read".to_owned(),
        })
    })
}
