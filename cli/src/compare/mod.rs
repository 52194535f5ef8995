//! `hugepool compare`: what changed from one result of `bench` to another.
//!
//! Owns the order of the command, its warnings and its exit code. Uses `read` for the files, `differences` for what else
//! they do not have in common, `judge` for the comparison (its documentation has the method) and `print` for both forms of
//! what comes of it.

mod differences;
mod judge;
mod print;
mod read;
#[cfg(test)]
mod tests;

use std::fs;
use std::io::{self, Write};
use std::process::ExitCode;

use crate::args::CompareOptions;
use crate::failure::Failure;

/// Compares two files. Exits with 1 if a rival is slower than the limit allows.
pub fn run(options: &CompareOptions) -> Result<ExitCode, Failure> {
    let (before, after) = (read::read(&options.before)?, read::read(&options.after)?);
    let warnings = differences::differences(&before, &after);
    let outcome = judge::compare(&before, &after);
    let paths = [&options.before, &options.after].map(|path| path.display().to_string());
    if outcome.rows.is_empty() {
        return Err(Failure::input(format!(
            "{} and {} have no row in common that was measured in both",
            paths[0], paths[1]
        )));
    }
    for warning in &warnings {
        // Where stderr is closed, there is nobody to be warned.
        let _ = writeln!(io::stderr(), "warning: {warning}");
    }
    let files = [(paths[0].as_str(), &before), (paths[1].as_str(), &after)];
    if let Some(path) = &options.json {
        let failed = |error: &dyn std::fmt::Display| {
            Failure::input(format!("cannot write {}: {error}", path.display()))
        };
        let document = print::json(files, &outcome, &warnings, options.limit);
        fs::write(path, document.map_err(|error| failed(&error))?)
            .map_err(|error| failed(&error))?;
    }
    io::stdout().write_all(print::table(files, &outcome, options.limit).as_bytes())?;
    Ok(match print::too_slow(&outcome, options.limit) {
        0 => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    })
}
