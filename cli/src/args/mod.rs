//! The command line.
//!
//! Owns the options and their checks: each error names the value and what it may be; those of the benchmark are in
//! `bench`. `main` parses them; the commands get them checked.

mod bench;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

use crate::demo::{self, Inherited};
use crate::engine::{BackupOptions, ListOptions, RestoreOptions, VerifyOptions};
use crate::failure::Failure;
use crate::units::{self, MIB};
use bench::BenchOptions;

pub use bench::{BenchArgs, Part, Round};

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
    /// Compare two results of `bench`
    Compare(CompareOptions),
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
#[command(
    after_help = "Exit code 1: something is slower by more than the limit.\nExit code 2: an option or a file is wrong."
)]
pub struct CompareOptions {
    /// What `bench --json` wrote before
    #[arg(value_name = "A")]
    pub before: PathBuf,

    /// What it wrote after
    #[arg(value_name = "B")]
    pub after: PathBuf,

    /// Percent that a rival may be slower; more than that, with certainty, is a failure
    #[arg(long, value_name = "PERCENT", value_parser = percent, default_value = "2")]
    pub limit: f64,

    /// Write one JSON object to this file
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
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

fn size(text: &str) -> Result<usize, String> {
    units::parse_between(text, SMALLEST, LARGEST)
}

fn percent(text: &str) -> Result<f64, String> {
    const MOST: f64 = 1000.0;
    let percent: f64 = text
        .parse()
        .map_err(|_| format!("`{text}` is no number of percent: write 0 to {MOST}"))?;
    if (0.0..=MOST).contains(&percent) {
        Ok(percent)
    } else {
        Err(format!("{text} percent is not between 0 and {MOST}"))
    }
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
        assert_eq!(size("64K"), Ok(64 << 10));
        let error = size("511").expect_err("below the smallest");
        assert_eq!(error, "511 B is not between 512 B and 67108864 B");
        assert_eq!(percent("2.5"), Ok(2.5));
        for wrong in ["-1", "1001", "NaN", "inf", "few"] {
            assert!(percent(wrong).expect_err(wrong).contains(wrong));
        }
    }
}
