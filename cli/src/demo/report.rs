//! What the command prints.
//!
//! Owns the wording and the verdict. Uses the tallies of the other modules. The command prints it.

use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Duration;

use super::crowd::SetEnds;
use super::server::{ALIGNMENT, Remains, Tally, VirtualSet};
use super::work::PREFIX;
use super::{Request, Until};
use crate::failure::Failure;
use crate::report::align;
use crate::units::{self, GIB};

/// What became of a set.
pub struct Row {
    remains: Remains,
    tally: Tally,
    ends: SetEnds,
    growths: u64,
}

impl Row {
    pub fn new(
        remains: Remains,
        mut tally: Tally,
        ends: SetEnds,
        growths: Result<u64, String>,
    ) -> Row {
        let growths = growths.unwrap_or_else(|fault| {
            tally.faults.push(fault);
            0
        });
        Row {
            remains,
            tally,
            ends,
            growths,
        }
    }

    /// What should not have happened.
    fn faults(&self) -> Vec<String> {
        let mut faults = self.tally.faults.clone();
        faults.extend(self.ends.failed.iter().cloned());
        faults.extend(self.remains.fault.clone());
        for (count, what) in [
            (self.tally.wrong, "with a wrong checksum or stamp"),
            (self.remains.lost as u64, "that did not come home"),
        ] {
            if count > 0 {
                faults.push(format!("{count} buffers {what}"));
            }
        }
        faults
    }
}

/// Says what is about to run.
pub fn head(request: &Request, sets: &[VirtualSet]) -> Result<(), Failure> {
    let Request {
        sets: count,
        clients,
        streams,
        size,
        buffers,
        ..
    } = *request;
    let mut out = io::stdout();
    writeln!(
        out,
        "sets     {count}, each with {buffers} buffers of {} at {ALIGNMENT} and a prefix zone of {PREFIX} B",
        units::bytes(size)
    )?;
    writeln!(out, "clients  {clients} processes with {streams} streams")?;
    let until = match request.until {
        Until::Time(time) => format!("for {} s", units::digits(time.as_secs_f64())),
        Until::HandOvers(count) => format!("until {count} hand-overs"),
    };
    let every = |what: &str, every: Option<Duration>| {
        every.map_or_else(String::new, |every| {
            format!(", {what} every {} ms", every.as_millis())
        })
    };
    writeln!(
        out,
        "run      {until}{}{}",
        every("a client killed", request.kill_every),
        every("each set grown", request.grow_every)
    )?;
    if let Some(set) = sets.first() {
        writeln!(out, "pages    {}", set.pages())?;
    }
    out.flush()?;
    Ok(())
}

/// Prints the rows, and what went wrong.
pub fn finish(rows: &[Row], elapsed: Duration) -> Result<ExitCode, Failure> {
    let names = [
        "set",
        "hand-overs",
        "GiB/s",
        "µs each",
        "wrong",
        "lost",
        "of buffers",
        "grown",
        "clients",
        "killed",
        "taken back",
    ];
    let mut lines = vec![names.map(str::to_owned).to_vec()];
    for (set, row) in rows.iter().enumerate() {
        let Row {
            remains,
            tally,
            ends,
            growths,
        } = row;
        let each = elapsed.as_secs_f64() * 1e6 / tally.hand_overs as f64;
        let rate = tally.bytes as f64 / GIB as f64 / elapsed.as_secs_f64();
        lines.push(vec![
            set.to_string(),
            tally.hand_overs.to_string(),
            units::digits(rate),
            if tally.hand_overs > 0 {
                units::digits(each)
            } else {
                "-".to_owned()
            },
            tally.wrong.to_string(),
            remains.lost.to_string(),
            remains.buffers.to_string(),
            growths.to_string(),
            ends.started.to_string(),
            ends.killed.to_string(),
            tally.taken_back.to_string(),
        ]);
    }
    let mut out = io::stdout();
    let (bytes, hand_overs) = rows.iter().fold((0, 0), |(bytes, hand_overs), row| {
        (bytes + row.tally.bytes, hand_overs + row.tally.hand_overs)
    });
    write!(out, "\n{}", align(&lines))?;
    writeln!(
        out,
        "\n{hand_overs} hand-overs, {} in {} s: {} GiB/s filled here, read and checked there",
        units::bytes64(bytes),
        units::digits(elapsed.as_secs_f64()),
        units::digits(bytes as f64 / GIB as f64 / elapsed.as_secs_f64())
    )?;
    let faults: Vec<(usize, String)> = rows
        .iter()
        .enumerate()
        .flat_map(|(set, row)| row.faults().into_iter().map(move |fault| (set, fault)))
        .collect();
    if faults.is_empty() {
        writeln!(
            out,
            "every checksum and stamp was right, every buffer came home, every set closed"
        )?;
        out.flush()?;
        return Ok(ExitCode::SUCCESS);
    }
    out.flush()?;
    for (set, fault) in faults {
        // Where stderr is closed, the exit code has to say it alone.
        let _ = writeln!(io::stderr(), "FAILED: set {set}: {fault}");
    }
    Ok(ExitCode::FAILURE)
}
