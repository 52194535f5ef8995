//! `hugepool bench`: measures the pool and its rivals, each round in a process of its own.
//!
//! Owns the order of the command: plan, files, trials, head, rounds, tables, files, verdict. `child` is the process of a
//! round, which uses `bench` to measure, and `wire` the way from there; `failed` keeps who was put out of the run; `report`
//! writes.
//!
//! What a process is given once (where its memory lies, which pages, how its code and stacks are aligned) stays with it,
//! and moves a rival's figures by some percent for as long as it runs. So does what else the machine does in a certain
//! minute. Rounds within one process do not show this, and an interval made of them is too narrow for another run. So a
//! round is a process that measures all groups once: a group's rounds have nothing in common but the machine, and are
//! spread over the whole run.
//!
//! It also keeps the run alive: the code of a rival may end its process. That rival is put out of the run, and the round is
//! run again without it. A rival of the user's own is tried in a process of its own before the first round.

mod child;
mod failed;
mod wire;

use std::io::{self, Write};
use std::process::ExitCode;

use crate::args::{BenchArgs, Part, Round};
use crate::bench::{self, Group, List, Measured, Plan, Request, Row, TimerCost};
use crate::failure::Failure;
use crate::progress::Progress;
use crate::report::{Report, Setting};
use crate::rival::Name;
use child::{End, Process};
use failed::Failed;

/// Runs it all. Exits with a failure when the pool itself or a rival of the user's own refused, lost or doubled a buffer,
/// or any rival ended its process.
pub fn run(args: &BenchArgs) -> Result<ExitCode, Failure> {
    let BenchArgs {
        request,
        outputs,
        part,
    } = args;
    let cpus = confined(request)?;
    if let Some(part) = part {
        return child::run(request, part, cpus);
    }
    bench::try_pages(request)?;
    let plan = bench::draw(request)?;
    let mut report = Report::open(outputs)?;
    let mut failed = Failed::default();
    trials(request, &plan, &mut failed)?;
    let setting = Setting::new(request, cpus.as_ref(), &plan, TimerCost::measure());
    report.head(&setting)?;

    let progress = Progress::new(plan.visits(request.rounds));
    let mut gathered = rounds(request, &plan, &progress, &mut failed)?;
    progress.finish();
    failed.mark(&plan, &mut gathered, request.rounds);
    let mut rows = Vec::new();
    for (group, measured) in plan.groups.iter().zip(gathered) {
        report.group(group, &measured)?;
        rows.extend(measured.rows);
    }
    report.close(&setting, &rows)?;
    let verdict = verdict(&rows, &failed.names());
    Ok(failed.code().unwrap_or(verdict))
}

/// Tries the rivals of the user's own, each in a process of its own. It is an error if there is no other rival and all of
/// them fail.
fn trials(request: &Request, plan: &Plan, failed: &mut Failed) -> Result<(), Failure> {
    for rival in request.rivals.iter().copied() {
        let Name::Loaded(object) = rival else {
            continue;
        };
        match Process::start(request, plan.memory, &Part::Trial(rival))?.trial(rival) {
            Ok(version) => version.into_iter().for_each(|it| object.set_version(it)),
            Err(unfit) => failed.add(rival, unfit.reason, unfit.is_input),
        }
    }
    failed.must_leave(&request.rivals)
}

/// Confines this process, and those that it starts, to the processors that were asked for: so the number of these is
/// that of the processors that may be used, wherever somebody asks for it.
fn confined(request: &Request) -> Result<Option<List>, Failure> {
    let cpus =
        bench::place(request.cpus.as_ref(), request.nodes.as_ref()).map_err(Failure::input)?;
    if let Some(cpus) = &cpus {
        bench::confine(cpus).map_err(|error| {
            Failure::input(format!(
                "the system does not let this process run on CPUs {cpus}: {error}"
            ))
        })?;
    }
    Ok(cpus)
}

/// Measures the rounds one after the other: what each group comes to.
fn rounds(
    request: &Request,
    plan: &Plan,
    progress: &Progress,
    failed: &mut Failed,
) -> Result<Vec<Measured>, Failure> {
    let mut gathered: Vec<Measured> = Vec::new();
    gathered.resize_with(plan.groups.len(), Measured::default);
    for number in 0..request.rounds {
        let measured = loop {
            let round = Round {
                number,
                stalled: stalled(&gathered),
                failed: failed.names(),
            };
            match whole(request, plan, progress, round, failed) {
                Ok(measured) => break measured,
                Err(End::Failure(failure)) => return Err(failure),
                Err(End::Rival(rival, how)) => {
                    failed.add(rival, how, false);
                    failed.must_leave(&request.rivals)?;
                }
            }
        };
        let groups = plan.groups.iter().zip(&mut gathered);
        for ((group, gathered), measured) in groups.zip(measured) {
            gather(group, gathered, number, measured);
        }
    }
    Ok(gathered)
}

/// Measures one round: every group, or none if a rival ended the process.
fn whole(
    request: &Request,
    plan: &Plan,
    progress: &Progress,
    round: Round,
    failed: &mut Failed,
) -> Result<Vec<Measured>, End> {
    let number = round.number;
    let mut done = 0;
    let mut process =
        Process::start(request, plan.memory, &Part::Round(round)).map_err(End::Failure)?;
    let mut measured = Vec::with_capacity(plan.groups.len());
    for (index, group) in plan.groups.iter().enumerate() {
        progress.group(&format!(
            "round {}/{}, {}/{} {group}",
            number + 1,
            request.rounds,
            index + 1,
            plan.groups.len()
        ));
        match process.next(group) {
            Ok(group) => measured.push(group),
            Err(end) => {
                progress.back(done);
                return Err(end);
            }
        }
        let visits = group.rivals.len() as u64;
        progress.steps(visits);
        done += visits;
    }
    if let Some(how) = process.finish() {
        failed.end(number, &how);
    }
    Ok(measured)
}

/// Who made no progress, by the numbers of the groups.
fn stalled(gathered: &[Measured]) -> Vec<(usize, crate::rival::Name)> {
    let groups = gathered.iter().enumerate();
    groups
        .flat_map(|(index, group)| {
            let stalled = group.rows.iter().filter(|row| row.wrongs.stalled);
            stalled.map(move |row| (index, row.rival))
        })
        .collect()
}

/// Adds a round to those before it. A rival that takes no part in a round keeps its place there.
fn gather(group: &Group, gathered: &mut Measured, rounds_before: u32, round: Measured) {
    for note in round.notes {
        if !gathered.notes.contains(&note) {
            gathered.notes.push(note);
        }
    }
    let mut parts = round.rows;
    for row in &mut gathered.rows {
        match parts.iter().position(|part| part.rival == row.rival) {
            Some(at) => row.gather(parts.swap_remove(at)),
            None => row.miss(),
        }
    }
    for part in parts {
        let mut row = Row::empty(part.rival, group);
        for _ in 0..rounds_before {
            row.miss();
        }
        row.gather(part);
        gathered.rows.push(row);
    }
    gathered.sort(group);
}

/// Says on stderr what went wrong; for this pool and the rivals of the user's own, loudly and with an exit code. What put a
/// rival out of the run was said when it happened.
fn verdict(rows: &[Row], out: &[Name]) -> ExitCode {
    let mut code = ExitCode::SUCCESS;
    for row in rows.iter().filter(|row| !out.contains(&row.rival)) {
        let Some(fault) = row.fault() else { continue };
        let is_own = row.rival.is_hugepool() || matches!(row.rival, Name::Loaded(_));
        let word = if is_own {
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::bench::{Figure, Pattern};
    use crate::rival::Shape;

    #[test]
    fn a_rival_that_misses_a_round_keeps_its_place() {
        let group = Group {
            pattern: Pattern::Same,
            threads: 1,
            shape: Shape {
                size: 4096,
                alignment: 512,
                buffers: 64,
            },
            depth: 8,
            area: 0,
            rivals: vec![Name::Hugepool, Name::Glibc, Name::Mimalloc],
            dry: None,
            sides: None,
            notes: Vec::new(),
        };
        let round = |rivals: &[(Name, f64)]| Measured {
            rows: rivals
                .iter()
                .map(|(name, ns)| Row::new(*name, &group, BTreeMap::from([(Figure::NsPerOp, *ns)])))
                .collect(),
            notes: vec!["the same in each".to_owned()],
        };
        let mut gathered = Measured::default();
        let rounds = [
            round(&[(Name::Hugepool, 1.0), (Name::Mimalloc, 10.0)]),
            round(&[(Name::Hugepool, 2.0), (Name::Glibc, 20.0)]),
            round(&[
                (Name::Hugepool, 3.0),
                (Name::Mimalloc, 30.0),
                (Name::Glibc, 31.0),
            ]),
        ];
        for (number, round) in (0..).zip(rounds) {
            gather(&group, &mut gathered, number, round);
        }
        let values: Vec<(Name, Vec<Option<f64>>)> = gathered
            .rows
            .iter()
            .map(|row| (row.rival, row.figures.of(Figure::NsPerOp).collect()))
            .collect();
        assert_eq!(
            values,
            [
                (Name::Hugepool, vec![Some(1.0), Some(2.0), Some(3.0)]),
                (Name::Glibc, vec![None, Some(20.0), Some(31.0)]),
                (Name::Mimalloc, vec![Some(10.0), None, Some(30.0)]),
            ]
        );
        assert_eq!(gathered.notes.len(), 1);
        assert!(stalled(std::slice::from_ref(&gathered)).is_empty());
        gathered.rows[2].wrongs.stalled = true;
        assert_eq!(
            stalled(&[Measured::default(), gathered]),
            [(1, Name::Mimalloc)]
        );
    }
}
