//! The command line.
//!
//! Owns the options and their checks: each error names the value and what it may be. `main` parses them; the
//! commands get them checked.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

use crate::bench::{DryShape, Pattern, Request};
use crate::demo::{self, Inherited};
use crate::engine::{BackupOptions, ListOptions, RestoreOptions, VerifyOptions};
use crate::failure::Failure;
use crate::report::Outputs;
use crate::rival::{Name, names};
use crate::units::{self, GIB, KIB, MIB};

const SMALLEST: usize = 512;
const LARGEST: usize = 64 * MIB;

/// Measures the hugepool buffer pool, and says what a machine grants to it.
#[derive(Debug, Parser)]
#[command(name = "hugepool", version, arg_required_else_help = true)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Measure the pool and other allocators in one interleaved run
    Bench(Box<BenchOptions>),
    /// Back files and folders up into stripes
    Backup(Box<BackupOptions>),
    /// Restore a backup
    Restore(Box<RestoreOptions>),
    /// Read all of a backup back, and name what is damaged
    Verify(Box<VerifyOptions>),
    /// List what is in a backup
    List(ListOptions),
    /// Show what this machine grants and what the pool makes of it
    Doctor(DoctorOptions),
    /// Hand buffers of virtual device sets to client processes over shared memory, and check them
    VdiDemo(DemoOptions),
    /// A client of `vdi-demo`
    #[command(hide = true)]
    VdiClient(ClientOptions),
}

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

    /// Buffer sizes, such as 4K,64K,1M; exhausted runs with the first [default: 64K,1M; for engine
    /// 64K,1M,4M]
    #[arg(long, value_delimiter = ',', value_name = "LIST", value_parser = size)]
    sizes: Vec<usize>,

    /// Alignment of every buffer in bytes, a power of two
    #[arg(long, value_name = "BYTES", value_parser = alignment, default_value = "4096")]
    alignment: usize,

    /// Numbers of threads for threads, pipeline, burst and engine [default: 1,2,32,256 for threads,
    /// 2 for pipeline, 1 for burst, 8 for engine]
    #[arg(long, value_delimiter = ',', value_name = "LIST", value_parser = threads)]
    threads: Vec<usize>,

    /// Rounds; each visits every rival once, and the median of the rounds is reported
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1000))]
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

    /// Write one JSON object a line to this file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,

    /// Write the same columns as comma-separated values to this file
    #[arg(long, value_name = "FILE")]
    csv: Option<PathBuf>,

    /// Write one self-contained page with charts to this file
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct DoctorOptions {
    /// Print one JSON object instead of text
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Exit code 1: a checksum or a stamp was wrong, a buffer was lost, or a client failed.\nExit code 2: an option is wrong."
)]
pub struct DemoOptions {
    /// Virtual device sets
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=64))]
    sets: u16,

    /// Client processes of all sets together, shared out evenly
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=256))]
    clients: u16,

    /// Streams of all sets together, shared out evenly
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=1024))]
    streams: u16,

    /// Bytes of a buffer, such as 64K
    #[arg(long, value_name = "BYTES", value_parser = size, default_value = "64K")]
    size: usize,

    /// Buffers of each set; where there are fewer than the streams could use, they wait for each other
    #[arg(long, value_name = "N", default_value_t = 32, value_parser = clap::value_parser!(u32).range(1..=65536))]
    buffers: u32,

    /// How long to run
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=86_400))]
    seconds: u32,

    /// Run until there were so many hand-overs, instead of some seconds
    #[arg(long, value_name = "N", conflicts_with = "seconds", value_parser = clap::value_parser!(u64).range(1..=1 << 40))]
    hand_overs: Option<u64>,

    /// Kill a client every N milliseconds, each in its turn, and start another in its place
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=3_600_000))]
    kill_every: Option<u32>,

    /// Add a quarter of its buffers to each set every N milliseconds, 64 times at the most
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=3_600_000))]
    grow_every: Option<u32>,
}

#[derive(Debug, Args)]
pub struct ClientOptions {
    /// The name by which the set is published
    #[arg(long)]
    pub set: String,

    /// A stream's socket, by the descriptor that it is inherited as
    #[arg(long = "socket", value_parser = Inherited::parse)]
    pub sockets: Vec<Inherited>,
}

impl DemoOptions {
    /// What `vdi-demo` needs.
    pub fn request(&self) -> Result<demo::Request, Failure> {
        let millis = |every: Option<u32>| every.map(|every| Duration::from_millis(every.into()));
        let request = demo::Request {
            sets: self.sets.into(),
            clients: self.clients.into(),
            streams: self.streams.into(),
            size: self.size,
            buffers: self.buffers as usize,
            until: match self.hand_overs {
                Some(count) => demo::Until::HandOvers(count),
                None => demo::Until::Time(Duration::from_secs(self.seconds.into())),
            },
            kill_every: millis(self.kill_every),
            grow_every: millis(self.grow_every),
        };
        request.check().map_err(Failure::input)?;
        Ok(request)
    }
}

/// What `bench` needs.
#[derive(Debug)]
pub struct BenchArgs {
    pub request: Request,
    pub outputs: Outputs,
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
                rounds: options.rounds,
                rivals,
                seed: options.seed,
                window: Duration::from_millis(options.millis),
                memory: options.memory,
            },
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

fn size(text: &str) -> Result<usize, String> {
    bounded(text, SMALLEST, LARGEST)
}

fn memory(text: &str) -> Result<usize, String> {
    bounded(text, MIB, 1024 * GIB)
}

fn alignment(text: &str) -> Result<usize, String> {
    let bytes = bounded(text, 1, LARGEST)?;
    if bytes.is_power_of_two() {
        Ok(bytes)
    } else {
        Err(format!(
            "{bytes} is no power of two; an alignment is one, such as {}",
            4 * KIB
        ))
    }
}

fn bounded(text: &str, least: usize, most: usize) -> Result<usize, String> {
    let bytes = units::parse_bytes(text)?;
    if (least..=most).contains(&bytes) {
        Ok(bytes)
    } else {
        let [bytes, least, most] = units::together([bytes, least, most]);
        Err(format!("{bytes} is not between {least} and {most}"))
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
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn limits_are_named_with_the_value() {
        assert_eq!(size("64K"), Ok(64 * KIB));
        let error = size("511").expect_err("below the smallest");
        assert!(error == "511 B is not between 512 B and 67108864 B");
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
