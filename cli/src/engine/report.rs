//! What a run says of single files.
//!
//! Owns their printing to stderr. `backup`, `restore` and `verify` print by it.

use std::io::{self, Write};
use std::process::ExitCode;

use super::name::shown;
use super::scan::{Damage, Damages};
use super::walk::Problem;

/// Says what is good to know. Where stderr is closed, the exit code has to say it alone.
pub fn notes(notes: &[String]) {
    for note in notes {
        let _ = writeln!(io::stderr(), "note: {note}");
    }
}

/// Names what was left out.
pub fn special(special: &[Problem]) {
    for Problem { path, what } in special {
        let _ = writeln!(io::stderr(), "note: {}: {what}", shown(path));
    }
}

/// Names what went wrong, and gives the exit code for it.
pub fn problems(problems: &[Problem]) -> ExitCode {
    let mut err = io::stderr().lock();
    for Problem { path, what } in problems {
        let _ = writeln!(err, "FAILED: {}: {what}", shown(path));
    }
    if problems.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// Names what is wrong with stripes; whether there is anything.
pub fn damages(damages: &Damages) -> bool {
    let mut err = io::stderr().lock();
    for damage in &damages.list {
        let Damage {
            stripe,
            offset,
            what,
        } = damage;
        let place = offset.map_or(String::new(), |offset| format!(", at byte {offset}"));
        let _ = writeln!(err, "FAILED: stripe {stripe}{place}: {what}");
    }
    let more = damages.count - damages.list.len() as u64;
    if more > 0 {
        let _ = writeln!(err, "FAILED: stripes: {more} more");
    }
    damages.count > 0
}
