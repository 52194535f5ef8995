//! Everything that is written: the table as the run goes, and the files at its end.
//!
//! Owns the opening of the files (before anything is measured, so that a wrong path costs no run) and the run's
//! setting. Each form of output is a module of its own. Uses the rows of `bench`; `run` drives it.

mod axis;
mod dots;
mod dry;
mod engine;
mod html;
mod kind;
mod lines;
#[cfg(test)]
mod made;
mod measure;
pub mod origin;
mod outcomes;
mod own;
mod pictures;
mod ratio;
mod scaling;
mod summary;
mod table;
mod verdict;
mod words;

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use hugepool::Machine;

use crate::bench::{self, Group, List, Measured, Pattern, Plan, Request, Row, TimerCost};
use crate::failure::Failure;
use crate::rival::Name;
use crate::units;

pub use origin::Origin;
pub use table::align;

/// Files to write beside the table.
#[derive(Debug, Default)]
pub struct Outputs {
    pub json: Option<PathBuf>,
    pub csv: Option<PathBuf>,
    pub html: Option<PathBuf>,
}

/// What a run was made on and how, for the head of every report.
#[derive(Debug)]
pub struct Setting {
    /// Pairs of a word and what it is.
    pub facts: Vec<(&'static str, String)>,
    /// Combinations that were not run, with reasons.
    pub skipped: Vec<String>,
    /// The same for programs.
    pub origin: Origin,
}

impl Setting {
    /// Of a run whose workers are on `cpus`, if these were asked for.
    pub fn new(request: &Request, cpus: Option<&List>, plan: &Plan, timer: TimerCost) -> Setting {
        let machine = Machine::probe();
        let known = |value: &Option<String>| value.clone().unwrap_or_else(|| "unknown".to_owned());
        let rivals = request.rivals.iter().copied();
        let versions: Vec<String> = rivals.filter_map(Name::version).collect();
        let online = machine
            .online_cpus
            .map_or_else(|| "unknown number of".to_owned(), |count| count.to_string());
        let mut facts = vec![
            (
                "machine",
                format!(
                    "{}, {online} CPUs online, {} to be used, NUMA nodes: {}, Linux {}",
                    known(&machine.cpu_model),
                    bench::processors(),
                    machine.nodes.len().max(1),
                    known(&machine.kernel)
                ),
            ),
            (
                "huge pages",
                format!(
                    "{}; transparent: {}",
                    reserved(&machine),
                    known(&machine.transparent.enabled)
                ),
            ),
            ("hugepool", env!("RIVAL_HUGEPOOL").to_owned()),
        ];
        if let Some(pages) = &request.pages {
            let of = "of hugepool and of the rivals whose memory is mapped by this program";
            facts.push(("pages", format!("{pages}: the best that is granted, {of}")));
        }
        if let Some(cpus) = cpus {
            let nodes = request.nodes.as_ref();
            let nodes = nodes.map_or_else(String::new, |nodes| format!(", those of node {nodes}"));
            facts.push((
                "pinned",
                format!(
                    "worker i to the i-th of the CPUs {cpus}{nodes}, in turn; nothing of the benchmark runs on others"
                ),
            ));
        }
        if !versions.is_empty() {
            facts.push(("rivals", versions.join(", ")));
        }
        facts.push((
            "timer",
            format!(
                "an empty timed loop takes {} ns in the median, {} ns at p99.99; the latencies include it",
                timer.median_ns, timer.p9999_ns
            ),
        ));
        facts.push((
            "method",
            format!(
                "rounds: {}, each a process of its own that visits every rival once, in an order of seed {}; per visit \
                 a warm-up{}, {} ms timed in batches, then single takes timed; medians of the rounds; longer windows from \
                 {} threads on and in exhausted and engine",
                request.rounds,
                request.seed,
                request.warm_up.map_or_else(String::new, |time| format!(" of {} ms", time.as_millis())),
                request.window.as_millis(),
                16 * bench::processors()
            ),
        ));
        if plan.groups.iter().any(|group| group.is_usual()) {
            let ratio = ratio::explained(request.rounds as usize);
            let columns = format!(
                "ns/op: wall time over the operations of all threads; cpu/op: their processor time over the same; \
                 {ratio}; p50 to max: ns of a single take; refused: although a buffer was free; lost: missing at the \
                 end; MiB: memory held when all was given back"
            );
            facts.push(("columns", columns));
        }
        if plan.groups.iter().any(|group| group.dry.is_some()) {
            facts.push(("exhausted", dry::EXPLAINED.to_owned()));
        }
        if plan
            .groups
            .iter()
            .any(|group| group.pattern == Pattern::Engine)
        {
            facts.push(("engine", engine::EXPLAINED.to_owned()));
        }
        Setting {
            facts,
            skipped: plan.skipped.clone(),
            origin: Origin::new(request, &machine),
        }
    }
}

/// The machine's reserved huge pages in a few words.
fn reserved(machine: &Machine) -> String {
    if machine.huge_pages.is_empty() {
        return "no reserved sizes".to_owned();
    }
    let sizes: Vec<String> = machine
        .huge_pages
        .iter()
        .map(|size| {
            format!(
                "{} of {} {} pages free",
                size.free,
                size.total,
                units::bytes(size.bytes)
            )
        })
        .collect();
    sizes.join(", ")
}

/// The outputs of one run.
pub struct Report {
    json: Option<Output>,
    csv: Option<Output>,
    html: Option<Output>,
}

struct Output {
    file: BufWriter<File>,
    path: String,
}

impl Output {
    fn open(path: Option<&Path>) -> Result<Option<Output>, Failure> {
        let Some(path) = path else { return Ok(None) };
        let file = File::create(path).map_err(|error| {
            Failure::input(format!("cannot create {}: {error}", path.display()))
        })?;
        Ok(Some(Output {
            file: BufWriter::new(file),
            path: path.display().to_string(),
        }))
    }

    fn write(&mut self, text: &str) -> Result<(), Failure> {
        self.file
            .write_all(text.as_bytes())
            .and_then(|()| self.file.flush())
            .map_err(|error| Failure::run(format!("cannot write {}: {error}", self.path)))
    }
}

impl Report {
    /// Creates the files.
    pub fn open(outputs: &Outputs) -> Result<Report, Failure> {
        Ok(Report {
            json: Output::open(outputs.json.as_deref())?,
            csv: Output::open(outputs.csv.as_deref())?,
            html: Output::open(outputs.html.as_deref())?,
        })
    }

    /// Prints what the run is made on.
    pub fn head(&self, setting: &Setting) -> Result<(), Failure> {
        Ok(io::stdout().write_all(table::head(setting).as_bytes())?)
    }

    /// Prints one group's table.
    pub fn group(&self, group: &Group, measured: &Measured) -> Result<(), Failure> {
        let mut out = io::stdout();
        out.write_all(table::group(group, measured).as_bytes())?;
        Ok(out.flush()?)
    }

    /// Writes the files.
    pub fn close(&mut self, setting: &Setting, rows: &[Row]) -> Result<(), Failure> {
        if let Some(json) = &mut self.json {
            let document = lines::json(&setting.origin, rows)
                .map_err(|error| Failure::run(format!("cannot write {}: {error}", json.path)))?;
            json.write(&document)?;
        }
        if let Some(csv) = &mut self.csv {
            csv.write(&lines::csv(rows))?;
        }
        if let Some(html) = &mut self.html {
            html.write(&html::page(setting, rows))?;
        }
        Ok(())
    }
}
