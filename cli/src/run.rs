//! `hugepool bench`: measures the pool and its rivals in one interleaved run.
//!
//! Owns the order of the command: plan, files, head, groups, files, verdict. Uses `bench` to measure and `report` to
//! write.

use std::io::{self, Write};
use std::process::ExitCode;

use crate::args::BenchArgs;
use crate::bench::{self, Crew, Random, Row, TimerCost};
use crate::failure::Failure;
use crate::progress::Progress;
use crate::report::{Report, Setting};

/// Runs it all. Exits with a failure when the pool itself refused, lost or doubled a buffer.
pub fn run(args: &BenchArgs) -> Result<ExitCode, Failure> {
    let BenchArgs { request, outputs } = args;
    let plan = bench::draw(request)?;
    let mut report = Report::open(outputs)?;
    let setting = Setting::new(request, &plan, TimerCost::measure());
    report.head(&setting)?;

    let crew = Crew::hire(plan.workers()).map_err(|error| {
        Failure::run(format!("cannot start {} threads: {error}", plan.workers()))
    })?;
    let progress = Progress::new(plan.visits(request.rounds));
    let mut random = Random::new(request.seed);
    let mut rows = Vec::new();
    for (index, group) in plan.groups.iter().enumerate() {
        progress.group(&format!("{}/{} {group}", index + 1, plan.groups.len()));
        let measured = bench::measure(request, group, &crew, &mut random, || progress.step())?;
        progress.quietly(|| report.group(group, &measured))?;
        rows.extend(measured.rows);
    }
    progress.finish();
    report.close(&setting, &rows)?;
    Ok(verdict(&rows))
}

/// Says on stderr what went wrong; for this pool, loudly and with an exit code.
fn verdict(rows: &[Row]) -> ExitCode {
    let mut code = ExitCode::SUCCESS;
    for row in rows {
        let Some(fault) = row.fault() else { continue };
        let word = if row.rival.is_hugepool() {
            code = ExitCode::FAILURE;
            "FAILED"
        } else {
            "note"
        };
        // Where stderr is closed, the exit code has to say it alone.
        let _ = writeln!(
            io::stderr(),
            "{word}: {}, pattern {}, {} bytes: {fault}",
            row.rival,
            row.title(),
            row.size
        );
    }
    code
}
