//! The options of the benchmark.
//!
//! Owns them, what `run` gets of them, and the arguments of the process that measures one round.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use hugepool::Pages;

use super::{LARGEST, size};
use crate::bench::{DryShape, Handicap, List, Pattern, Request, Sides};
use crate::failure::Failure;
use crate::report::Outputs;
use crate::rival::pages::{self, Kinds};
use crate::rival::{Name, names};
use crate::units::{self, GIB, KIB, MIB};

#[derive(Debug, Args)]
#[command(after_help = after_help())]
pub struct BenchOptions {
    /// Patterns, separated by commas
    #[arg(long, value_delimiter = ',', value_name = "LIST", value_parser = Pattern::parse,
          default_values_t = Pattern::ALL)]
    patterns: Vec<Pattern>,

    /// Shapes of the pattern exhausted, separated by commas
    #[arg(long, value_delimiter = ',', value_name = "LIST", value_parser = DryShape::parse,
          default_values_t = DryShape::ALL)]
    shapes: Vec<DryShape>,

    /// Buffer sizes, such as 4K,64K,1M; exhausted runs with the first, mixed with powers of two up to the
    /// largest [default: 64K,1M; for engine
    /// 64K,1M,4M]
    #[arg(long, value_delimiter = ',', value_name = "LIST", value_parser = size)]
    sizes: Vec<usize>,

    /// Alignment of every buffer in bytes, a power of two
    #[arg(long, value_name = "BYTES", value_parser = alignment, default_value = "4096")]
    alignment: usize,

    /// Numbers of threads for threads, pipeline (half of them take, half give), burst, mixed and engine
    /// [default: 1,2,32,256 for threads, 1 for burst and mixed, 8 for engine]
    #[arg(long, value_delimiter = ',', value_name = "LIST", value_parser = threads)]
    threads: Vec<usize>,

    /// Pipelines: threads that take and threads that give, such as 4:1 [default: as --threads says, or
    /// 1:1,4:4]
    #[arg(long, value_delimiter = ',', value_name = "LIST", value_parser = Sides::parse)]
    pipelines: Vec<Sides>,

    /// Rounds; each is a process that visits every rival once, and the median of the rounds is reported
    #[arg(long, value_name = "N", default_value_t = 9, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: u32,

    /// Rivals, separated by commas [default: all]
    #[arg(long, value_delimiter = ',', value_name = "LIST")]
    rivals: Vec<String>,

    /// A rival of one's own, beside the others: a shared object with two C functions; more than once for more of them
    #[arg(long, value_name = "NAME=FILE")]
    rival: Vec<String>,

    /// Fixes the order of the rivals in each round
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,

    /// Milliseconds of one timed window; those of exhausted last 3 to 48 times as long, for
    /// tasks half of that, and those of engine 8 times
    #[arg(long, value_name = "N", default_value_t = 15, value_parser = clap::value_parser!(u64).range(1..=60_000))]
    millis: u64,

    /// Bytes of buffers that one group may use; larger groups get fewer buffers or are skipped
    #[arg(long, value_name = "BYTES", value_parser = memory, default_value = "1280M")]
    memory: usize,

    /// Kinds of pages, separated by commas, for hugepool and for the rivals whose memory is mapped by this
    /// program: the best of them that is granted: huge-1g, huge-2m, transparent, collapsed, base
    /// [default: what the machine grants]
    #[arg(long, value_delimiter = ',', value_name = "LIST", value_parser = pages::parse)]
    pages: Vec<Pages>,

    /// Milliseconds of the warm-up before a timed window; 0: none [default: an eighth of it, a quarter in exhausted
    /// and engine]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(0..=60_000))]
    warm_up: Option<u64>,

    /// Processors, such as 0-3,8: worker i is pinned to the i-th of them, in turn, and nothing of the
    /// benchmark runs on others
    #[arg(long, value_name = "LIST", value_parser = List::of_cpus)]
    cpus: Option<List>,

    /// NUMA nodes, such as 0,1: as --cpus with the processors of these
    #[arg(long, value_name = "LIST", value_parser = List::of_nodes, conflicts_with = "cpus")]
    nodes: Option<List>,

    /// Write one JSON object, which `compare` reads, to this file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,

    /// Write the same columns as comma-separated values to this file
    #[arg(long, value_name = "FILE")]
    csv: Option<PathBuf>,

    /// Write one self-contained page with charts to this file
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,

    /// Has a rival do extra work for so many percent of the processor time of its operations, in all patterns but
    /// exhausted and engine: for trials of the benchmark itself
    #[arg(long, hide = true, value_name = "RIVAL:PERCENT", value_parser = Handicap::parse)]
    handicap: Option<Handicap>,

    /// Measures this round only, and prints it for the process that asked for it
    #[arg(long, hide = true, value_name = "N")]
    round: Option<u32>,

    /// A rival that made no progress in an earlier round, and its group
    #[arg(long, hide = true, value_name = "GROUP:RIVAL", requires = "round")]
    stalled: Vec<String>,

    /// A rival that failed
    #[arg(long, hide = true, value_name = "RIVAL", requires = "round")]
    failed: Vec<String>,

    /// Loads this rival of one's own only, and asks it for its buffers, for the process that asked for it
    #[arg(long, hide = true, value_name = "RIVAL", conflicts_with = "round")]
    trial: Option<String>,
}

/// What `bench` needs.
#[derive(Debug)]
pub struct BenchArgs {
    pub request: Request,
    pub outputs: Outputs,
    /// For a process that does a part of it.
    pub part: Option<Part>,
}

/// What a process of its own does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// It measures one round.
    Round(Round),
    /// It loads a rival of the user's own, and asks it for its buffers.
    Trial(Name),
}

/// One round, for a process of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Round {
    pub number: u32,
    /// By the numbers of their groups: who is not visited any more.
    pub stalled: Vec<(usize, Name)>,
    /// Who is not visited any more in any group.
    pub failed: Vec<Name>,
}

impl Part {
    /// The arguments of the process that does it. It draws the same plan if `memory` is what that was drawn within.
    pub fn args(&self, request: &Request, memory: usize) -> Vec<String> {
        // Not one is to be forgotten.
        let Request {
            patterns,
            shapes,
            sizes,
            alignment,
            threads,
            pipelines,
            rounds,
            rivals,
            seed,
            window,
            memory: _,
            pages,
            warm_up,
            cpus,
            nodes,
            handicap,
        } = request;
        let mut args = vec!["bench".to_owned()];
        let mut option = |name: &str, value: String| args.extend([format!("--{name}"), value]);
        option("patterns", list(patterns));
        if !shapes.is_empty() {
            option("shapes", list(shapes));
        }
        if !sizes.is_empty() {
            option("sizes", list(sizes));
        }
        option("alignment", alignment.to_string());
        if !threads.is_empty() {
            option("threads", list(threads));
        }
        if !pipelines.is_empty() {
            option("pipelines", list(pipelines));
        }
        option("rounds", rounds.to_string());
        option("rivals", list(rivals));
        for rival in rivals {
            if let Name::Loaded(object) = rival {
                option("rival", format!("{rival}={}", object.file().display()));
            }
        }
        option("seed", seed.to_string());
        option("millis", window.as_millis().to_string());
        option("memory", memory.to_string());
        if let Some(pages) = pages {
            option("pages", pages.to_string());
        }
        if let Some(warm_up) = warm_up {
            option("warm-up", warm_up.as_millis().to_string());
        }
        if let Some(cpus) = cpus {
            option("cpus", cpus.to_string());
        }
        if let Some(nodes) = nodes {
            option("nodes", nodes.to_string());
        }
        if let Some(handicap) = handicap {
            option("handicap", handicap.to_string());
        }
        match self {
            Part::Round(round) => {
                option("round", round.number.to_string());
                for (group, rival) in &round.stalled {
                    option("stalled", format!("{group}:{rival}"));
                }
                for rival in &round.failed {
                    option("failed", rival.to_string());
                }
            }
            Part::Trial(rival) => option("trial", rival.to_string()),
        }
        args
    }
}

/// As a list of an option is typed.
fn list<T: ToString>(values: &[T]) -> String {
    let values: Vec<String> = values.iter().map(T::to_string).collect();
    values.join(",")
}

impl TryFrom<Box<BenchOptions>> for BenchArgs {
    type Error = Failure;

    /// Looks names of rivals up, once it is known which the user has.
    fn try_from(options: Box<BenchOptions>) -> Result<BenchArgs, Failure> {
        let options = *options;
        let wrong = |option: &str, what: String| Failure::input(format!("--{option}: {what}"));
        let own = Name::load(&options.rival).map_err(|what| wrong("rival", what))?;
        let is_own = |text: &str| own.iter().copied().find(|name| name.as_str() == text);
        let name = |text: &str| is_own(text).map_or_else(|| Name::parse(text), Ok);
        let names = |option: &str, texts: &[String]| {
            let names: Result<Vec<Name>, String> = texts.iter().map(|text| name(text)).collect();
            names.map_err(|what| wrong(option, what))
        };
        let asked = names("rivals", &options.rivals)?;
        // The report's order, whatever the order typed; the run shuffles them anyway.
        let rivals = Name::built()
            .filter(|name| asked.is_empty() || asked.contains(name))
            .chain(own.iter().copied())
            .collect();
        let stalled: Result<Vec<(usize, Name)>, String> = options
            .stalled
            .iter()
            .map(|text| stalled(text, name))
            .collect();
        let part = match (options.round, &options.trial) {
            (Some(number), _) => Some(Part::Round(Round {
                number,
                stalled: stalled.map_err(|what| wrong("stalled", what))?,
                failed: names("failed", &options.failed)?,
            })),
            (None, Some(rival)) => {
                let rival = name(rival).map_err(|what| wrong("trial", what))?;
                Some(Part::Trial(rival))
            }
            (None, None) => None,
        };
        Ok(BenchArgs {
            request: Request {
                patterns: once_each(options.patterns),
                shapes: once_each(options.shapes),
                sizes: once_each(options.sizes),
                alignment: options.alignment,
                threads: once_each(options.threads),
                pipelines: once_each(options.pipelines),
                rounds: options.rounds,
                rivals,
                seed: options.seed,
                window: Duration::from_millis(options.millis),
                memory: options.memory,
                pages: Kinds::of(options.pages),
                warm_up: options.warm_up.map(Duration::from_millis),
                cpus: options.cpus,
                nodes: options.nodes,
                handicap: options.handicap,
            },
            part,
            outputs: Outputs {
                json: options.json,
                csv: options.csv,
                html: options.html,
            },
        })
    }
}

/// Drops repetitions, keeps the order.
fn once_each<T: PartialEq>(values: Vec<T>) -> Vec<T> {
    let mut kept = Vec::with_capacity(values.len());
    for value in values {
        if !kept.contains(&value) {
            kept.push(value);
        }
    }
    kept
}

fn memory(text: &str) -> Result<usize, String> {
    units::parse_between(text, MIB, 1024 * GIB)
}

fn alignment(text: &str) -> Result<usize, String> {
    let bytes = units::parse_between(text, 1, LARGEST)?;
    if bytes.is_power_of_two() {
        Ok(bytes)
    } else {
        Err(format!(
            "{bytes} is no power of two; an alignment is one, such as {}",
            4 * KIB
        ))
    }
}

fn threads(text: &str) -> Result<usize, String> {
    const MOST: usize = 1024;
    let count: usize = text
        .parse()
        .map_err(|_| format!("`{text}` is no number of threads: write 1 to {MOST}"))?;
    if (1..=MOST).contains(&count) {
        Ok(count)
    } else {
        Err(format!("{count} threads is not between 1 and {MOST}"))
    }
}

fn stalled(
    text: &str,
    name: impl Fn(&str) -> Result<Name, String>,
) -> Result<(usize, Name), String> {
    let wrong = || format!("`{text}` is no rival of a group: write GROUP:RIVAL");
    let (group, rival) = text.split_once(':').ok_or_else(wrong)?;
    Ok((group.parse().map_err(|_| wrong())?, name(rival)?))
}

fn after_help() -> String {
    let shapes: Vec<String> = DryShape::ALL
        .into_iter()
        .map(|shape| format!("  {:<18}{}", shape.name, shape.explained()))
        .collect();
    format!(
        "Patterns: {}\nRivals:   {}\nShapes of exhausted:\n{}\n\nOne operation is one take and one give. Exit code 1: the pool, or a rival of one's own, refused, lost or doubled a buffer, or a rival's process ended.\nExit code 2: an option is wrong, or a rival of one's own cannot be loaded.",
        names(Pattern::ALL),
        names(Name::built()),
        shapes.join("\n")
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::{Cli, Command};
    use clap::Parser;

    fn parsed(args: &[String]) -> BenchArgs {
        let program = ["hugepool".to_owned()];
        let cli = Cli::try_parse_from(program.iter().chain(args)).expect("it is right");
        let Command::Bench(options) = cli.command else {
            panic!("it is another command");
        };
        BenchArgs::try_from(options).expect("the names are right")
    }

    #[test]
    fn the_process_of_a_round_gets_the_request_as_it_is() {
        let program = std::env::current_exe().expect("it has a file");
        let own = format!("my={}", program.display());
        let typed: [&[&str]; 3] = [
            &["bench"],
            &["bench", "--nodes", "1,0"],
            &[
                "bench",
                "--patterns",
                "threads,exhausted",
                "--shapes",
                "64-on-8",
                "--sizes",
                "4K,1M",
                "--alignment",
                "512",
                "--threads",
                "3,5",
                "--pipelines",
                "4:1,1:4",
                "--rounds",
                "7",
                "--rivals",
                "hugepool,glibc,channel",
                "--rival",
                &own,
                "--seed",
                "77",
                "--millis",
                "4",
                "--memory",
                "512M",
                "--pages",
                "base,huge-2m",
                "--warm-up",
                "0",
                "--cpus",
                "8,0-3",
                "--handicap",
                "glibc:10",
            ],
        ];
        let round = Round {
            number: 4,
            stalled: vec![(2, Name::Glibc), (10, Name::StoreIoBuf)],
            failed: vec![Name::Mimalloc],
        };
        for args in typed {
            let args: Vec<String> = args.iter().map(|arg| (*arg).to_owned()).collect();
            let mut request = parsed(&args).request;
            let part = Part::Round(round.clone());
            let passed_on = parsed(&part.args(&request, 300 * MIB));
            request.memory = 300 * MIB;
            assert_eq!(passed_on.request, request);
            assert_eq!(passed_on.part, Some(part));
            let part = Part::Trial(Name::Glibc);
            let passed_on = parsed(&part.args(&request, 300 * MIB));
            assert_eq!((passed_on.request, passed_on.part), (request, Some(part)));
        }
    }

    #[test]
    fn limits_are_named_with_the_value() {
        assert!(
            alignment("3000")
                .expect_err("no power of two")
                .contains("3000")
        );
        assert!(alignment("0").is_err());
        assert!(threads("0").expect_err("none").contains('0'));
        assert!(threads("1025").expect_err("too many").contains("1024"));
        assert!(threads("two").expect_err("no number").contains("two"));
    }

    #[test]
    fn repetitions_are_dropped() {
        assert_eq!(once_each(vec![2, 1, 2, 1, 3]), [2, 1, 3]);
    }
}
