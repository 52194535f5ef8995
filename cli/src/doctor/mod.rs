//! `hugepool doctor`: what this machine grants, and what the pool makes of it.
//!
//! Owns the order of the sections. Uses the library's [`Machine`] for what the kernel says, `trial` for what it does
//! when asked, `holders` for what others have of it and `advice` for what one can do; `text` and `json` are the two
//! forms. It changes nothing on the machine and always exits with success: a machine without huge pages is not an error.

mod advice;
mod holders;
mod json;
mod text;
mod trial;

use std::io::{self, Write};
use std::process::ExitCode;

use hugepool::{Machine, Stats};

use advice::Advice;
use holders::Holders;
use trial::Trial;

use crate::failure::Failure;

/// All that there is to say.
struct Findings {
    machine: Machine,
    advice: Vec<Advice>,
    holders: Holders,
    trials: Vec<Trial>,
    /// A pool as an engine builds it, or the builder's error.
    pool: Result<Stats, String>,
}

/// Probes, tries and prints.
pub fn run(as_json: bool) -> Result<ExitCode, Failure> {
    let machine = Machine::probe();
    let findings = Findings {
        advice: advice::all(&machine),
        machine,
        holders: Holders::look(),
        trials: trial::ladder(),
        pool: trial::default_pool(),
    };
    let report = if as_json {
        json::report(&findings)
    } else {
        text::report(&findings)
    };
    let mut out = io::stdout();
    out.write_all(report.as_bytes())?;
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}
