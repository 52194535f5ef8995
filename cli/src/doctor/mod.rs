//! `hugepool doctor`: what this machine grants, and what the pool makes of it.
//!
//! Owns the order of the sections. Uses the library's [`Machine`] for what the kernel says and `trial` for what it
//! does when asked; `text` and `json` are the two forms. It changes nothing on the machine and always exits with
//! success: a machine without huge pages is not an error.

mod json;
mod text;
mod trial;

use std::io::{self, Write};
use std::process::ExitCode;

use hugepool::Machine;

use crate::failure::Failure;

/// Probes, tries and prints.
pub fn run(as_json: bool) -> Result<ExitCode, Failure> {
    let machine = Machine::probe();
    let trials = trial::ladder();
    let pool = trial::default_pool();
    let report = if as_json {
        json::report(&machine, &trials, &pool)
    } else {
        text::report(&machine, &trials, &pool)
    };
    let mut out = io::stdout();
    out.write_all(report.as_bytes())?;
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}
