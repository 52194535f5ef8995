//! The options of `backup`, `restore`, `verify` and `list`.
//!
//! Owns them and their checks: each error names the value and what it may be. `args` has them parsed.

use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use clap::{Args, ValueEnum};

use super::buffers::{self, Origin};
use super::direct::Direct;
use super::format::block::HEADER;
use super::format::{STRIPES, TRANSFER, UNIT};
use super::place::Where;
use crate::failure::Failure;
use crate::units::{self, GIB, KIB, MIB};

/// Seconds of `--retry-for`: a request is signed once, and the signature lasts for so long.
const MOST_RETRY: u64 = 300;
/// Threads that read, or that write what was read, at the most.
const MOST_READERS: u64 = 1024;

#[derive(Debug, Args)]
#[command(after_help = BACKUP_HELP)]
pub struct BackupOptions {
    /// Files and folders to back up, and then the place to write the backup to: a new or an empty folder, or
    /// s3://BUCKET/PREFIX, gs://BUCKET/PREFIX, az://CONTAINER/PREFIX
    #[arg(required = true, num_args = 2.., value_names = ["SOURCE", "DEST"])]
    paths: Vec<PathBuf>,

    /// Files that the backup is written to at once
    #[arg(long, value_name = "N", default_value_t = 4,
          value_parser = clap::value_parser!(u32).range(*STRIPES.start() as i64..=*STRIPES.end() as i64))]
    pub stripes: u32,

    /// How blocks are compressed
    #[arg(long, value_enum, value_name = "HOW", default_value_t = Compress::None)]
    pub compress: Compress,

    /// Bytes that a block holds, such as 256K: a multiple of 4096
    #[arg(long, value_name = "BYTES", value_parser = transfer, default_value = "1M")]
    pub transfer_size: usize,

    #[command(flatten)]
    pub common: CommonOptions,
}

#[derive(Debug, Args)]
#[command(after_help = CODES)]
pub struct RestoreOptions {
    /// The folder that the backup is in, or the URL of its place in a store
    #[arg(value_name = "BACKUP")]
    pub backup: PathBuf,

    /// The folder to restore to: a new or an empty one
    #[arg(value_name = "TARGET")]
    pub target: PathBuf,

    #[command(flatten)]
    pub common: CommonOptions,
}

#[derive(Debug, Args)]
#[command(after_help = CODES)]
pub struct VerifyOptions {
    /// The folder that the backup is in, or the URL of its place in a store
    #[arg(value_name = "BACKUP")]
    pub backup: PathBuf,

    #[command(flatten)]
    pub common: CommonOptions,
}

#[derive(Debug, Args)]
pub struct ListOptions {
    /// The folder that the backup is in, or the URL of its place in a store
    #[arg(value_name = "BACKUP")]
    pub backup: PathBuf,

    #[command(flatten)]
    pub store: StoreOptions,

    /// Print one JSON object a line instead
    #[arg(long)]
    pub json: bool,
}

/// What everything that moves bytes has.
#[derive(Debug, Args)]
pub struct CommonOptions {
    /// Threads that work on files; others work on the stripes [default: one a processor, 2 to 16]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=MOST_READERS))]
    readers: Option<u64>,

    /// Bytes of all buffers together [default: enough that nobody waits for another's, 64M at least]
    #[arg(long, value_name = "BYTES", value_parser = memory)]
    memory: Option<usize>,

    /// Where buffers come from
    #[arg(long, value_enum, value_name = "WHERE", default_value_t = Origin::Pool)]
    pub buffers_from: Origin,

    /// Whether stripes go past the kernel's cache; auto: when they are written, where the file system does it; on: large
    /// files, too, where io_uring reads them
    #[arg(long, value_enum, value_name = "WHEN", default_value_t = Direct::Auto)]
    pub direct: Direct,

    /// How files and stripes are read and written
    #[arg(long, value_enum, value_name = "HOW", default_value_t = Io::Auto)]
    pub io: Io,

    #[command(flatten)]
    pub store: StoreOptions,

    /// Write the summary to this file, as one JSON object
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
}

/// What everything has that may speak to an object store.
#[derive(Debug, Args)]
pub struct StoreOptions {
    /// Seconds for which a request to an object store is made again when it fails
    #[arg(long, value_name = "SECONDS", default_value_t = 180,
          value_parser = clap::value_parser!(u64).range(0..=MOST_RETRY))]
    retry_for: u64,
}

impl StoreOptions {
    pub fn retry(&self) -> Duration {
        Duration::from_secs(self.retry_for)
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum Compress {
    None,
    Zstd,
}

/// How files and stripes are read and written.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum Io {
    /// By io_uring where that costs less: stripes past the cache, buffers of the pool, and a kernel that grants it
    Auto,
    /// Each read and write by a thread that waits for it
    Threads,
    /// By io_uring, with the pool's memory registered with the kernel
    Uring,
}

const CODES: &str = "Exit code 1: something is missing or damaged; each is named.\nExit code 2: an option is wrong.\nExit code 130: interrupted.";
const BACKUP_HELP: &str = "Exit code 1: some files could not be backed up as they are, each is named; or there is no backup.\nExit code 2: an option is wrong.\nExit code 130: interrupted; there is no backup.";

impl BackupOptions {
    /// The sources, and the destination.
    pub fn paths(&self) -> Result<(&[PathBuf], &PathBuf), Failure> {
        match self.paths.split_last() {
            Some((destination, sources)) if !sources.is_empty() => Ok((sources, destination)),
            _ => Err(Failure::input("give a SOURCE and a DEST".to_owned())),
        }
    }

    /// How many buffers there are: a reader that compresses has one of its own, and a stripe in an object store those
    /// that wait for a part.
    pub fn buffers(&self, place: Where<'_>) -> Result<usize, Failure> {
        let (readers, stripes) = (self.common.readers(), self.stripes as usize);
        let (own, held) = (self.own(), place.held(self.transfer_size));
        let mut why = match self.compress {
            Compress::None => "a backup".to_owned(),
            Compress::Zstd => format!("compression with {readers} readers"),
        };
        if held > 0 {
            why = format!("{why} to an object store, with {held} for each of {stripes} stripes,");
        }
        let least = own + stripes * held + 1;
        let ample = 2 * readers + own + 2 * stripes * (held + 1);
        self.common.count(self.transfer_size, least, ample, &why)
    }

    /// Buffers that readers have of their own.
    pub fn own(&self) -> usize {
        match self.compress {
            Compress::None => 0,
            Compress::Zstd => self.common.readers(),
        }
    }
}

impl CommonOptions {
    pub fn readers(&self) -> usize {
        let default =
            || thread::available_parallelism().map_or(2, |count| count.get().clamp(2, 16));
        self.readers.map_or_else(default, |count| count as usize)
    }

    /// Buffers of a restore or a verify.
    pub fn buffers(&self, transfer: usize, stripes: usize) -> Result<usize, Failure> {
        self.count(transfer, 1, 2 * (self.readers() + stripes), "this")
    }

    fn count(
        &self,
        transfer: usize,
        least: usize,
        ample: usize,
        why: &str,
    ) -> Result<usize, Failure> {
        let default = (ample * (HEADER + transfer)).clamp(64 * MIB, GIB);
        let memory = self.memory.unwrap_or(default);
        buffers::count(memory, transfer, least, why)
    }
}

fn memory(text: &str) -> Result<usize, String> {
    units::parse_between(text, 8 * KIB, 1024 * GIB)
}

fn transfer(text: &str) -> Result<usize, String> {
    let bytes = units::parse_between(text, *TRANSFER.start(), *TRANSFER.end())?;
    if bytes.is_multiple_of(UNIT) {
        Ok(bytes)
    } else {
        Err(format!("{bytes} bytes is no multiple of {UNIT}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_named_with_the_value() {
        assert_eq!(transfer("64K"), Ok(64 * KIB));
        assert!(transfer("5000").expect_err("no multiple").contains("5000"));
        assert!(
            transfer("65M")
                .expect_err("too large")
                .contains("65536 KiB")
        );
        assert!(memory("4K").expect_err("too little").contains("8 KiB"));
    }
}
