//! The `hugepool` program: `bench` measures the pool beside other allocators, `compare` two of its results, `doctor` says what a machine grants,
//! `vdi-demo` hands buffers of virtual device sets to other processes; `backup`, `restore`, `verify` and `list` are a
//! backup engine.
//!
//! Owns the exit code and the printing of errors. The modules, each using only those after it: `run`, `compare`,
//! `doctor`, `demo` and `engine` (the commands), `args`, `report`, `bench`, `rival`; and, below all, `statistics`,
//! `progress`, `failure`, `units`.

mod args;
mod bench;
mod compare;
mod demo;
mod doctor;
mod engine;
mod failure;
mod progress;
mod report;
mod rival;
mod run;
mod statistics;
mod units;

use std::io::{self, Write};
use std::process::ExitCode;

use clap::Parser;

use args::{BenchArgs, Cli, Command};

fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Bench(options) => BenchArgs::try_from(options).and_then(|args| run::run(&args)),
        Command::Compare(options) => compare::run(&options),
        Command::Backup(options) => engine::backup(&options),
        Command::Restore(options) => engine::restore(&options),
        Command::Verify(options) => engine::verify(&options),
        Command::List(options) => engine::list(&options),
        Command::Doctor(options) => doctor::run(options.json),
        Command::VdiDemo(options) => options.request().and_then(|request| demo::run(&request)),
        Command::VdiClient(options) => demo::run_client(&options.set, &options.sockets),
    };
    match outcome {
        Ok(code) => code,
        Err(failure) => {
            if let Some(message) = failure.message() {
                // Where stderr is closed, the exit code has to say it alone.
                let _ = writeln!(io::stderr(), "error: {message}");
            }
            failure.code()
        }
    }
}
