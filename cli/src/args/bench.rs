//! The options of the benchmark.
//!
//! Owns them, what `run` gets of them, and the arguments of the process that measures one round.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use hugepool::Pages;

use super::{LARGEST, size};
use crate::bench::{DryShape, Handicap, List, Pattern, Request, Sides};
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
    #[arg(long, value_delimiter = ',', value_name = "LIST", value_parser = Name::parse)]
    rivals: Vec<Name>,

    /// Fixes the order of the rivals in each round
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,

    /// Milliseconds of one timed window; those of exhausted last 3 to 48 times as long, for
    /// tasks half of that, and those of engine 8 times
    #[arg(long, value_name = "N", default_value_t = 15, value_parser = clap::value_parser!(u64).range(1..=60_000))]
    millis: u64,

    /// Bytes of buffers that one group may use; larger groups get fewer buffers or are skipped
    #[arg(long, value_name = "BYTES", value_parser = memory, default_value = "1G")]
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
    #[arg(long, hide = true, value_name = "GROUP:RIVAL", value_parser = stalled, requires = "round")]
    stalled: Vec<(usize, Name)>,
}

/// What `bench` needs.
#[derive(Debug)]
pub struct BenchArgs {
    pub request: Request,
    pub outputs: Outputs,
    /// For a process that measures one round.
    pub round: Option<Round>,
}

/// One round, for a process of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Round {
    pub number: u32,
    /// By the numbers of their groups: who is not visited any more.
    pub stalled: Vec<(usize, Name)>,
}

impl Round {
    /// The arguments of the process that measures it. It draws the same plan if `memory` is what that was drawn within.
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
        option("round", self.number.to_string());
        for (group, rival) in &self.stalled {
            option("stalled", format!("{group}:{rival}"));
        }
        args
    }
}

/// As a list of an option is typed.
fn list<T: ToString>(values: &[T]) -> String {
    let values: Vec<String> = values.iter().map(T::to_string).collect();
    values.join(",")
}

impl From<Box<BenchOptions>> for BenchArgs {
    fn from(options: Box<BenchOptions>) -> BenchArgs {
        let options = *options;
        let rivals = if options.rivals.is_empty() {
            Name::built().collect()
        } else {
            // The report's order, whatever the order typed; the run shuffles them anyway.
            Name::ALL
                .into_iter()
                .filter(|name| options.rivals.contains(name))
                .collect()
        };
        BenchArgs {
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
            round: options.round.map(|number| Round {
                number,
                stalled: options.stalled,
            }),
            outputs: Outputs {
                json: options.json,
                csv: options.csv,
                html: options.html,
            },
        }
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

fn stalled(text: &str) -> Result<(usize, Name), String> {
    let wrong = || format!("`{text}` is no rival of a group: write GROUP:RIVAL");
    let (group, rival) = text.split_once(':').ok_or_else(wrong)?;
    Ok((group.parse().map_err(|_| wrong())?, Name::parse(rival)?))
}

fn after_help() -> String {
    let shapes: Vec<String> = DryShape::ALL
        .into_iter()
        .map(|shape| format!("  {:<18}{}", shape.name, shape.explained()))
        .collect();
    format!(
        "Patterns: {}\nRivals:   {}\nShapes of exhausted:\n{}\n\nOne operation is one take and one give. Exit code 1: the pool refused, lost or doubled a buffer.\nExit code 2: an option is wrong.",
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
        BenchArgs::from(options)
    }

    #[test]
    fn the_process_of_a_round_gets_the_request_as_it_is() {
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
        };
        for args in typed {
            let args: Vec<String> = args.iter().map(|arg| (*arg).to_owned()).collect();
            let mut request = parsed(&args).request;
            let passed_on = parsed(&round.args(&request, 300 * MIB));
            request.memory = 300 * MIB;
            assert_eq!(passed_on.request, request);
            assert_eq!(passed_on.round.as_ref(), Some(&round));
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
