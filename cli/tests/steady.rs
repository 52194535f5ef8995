//! What a backup costs does not grow with the bytes that it moves: page faults, mappings, memory from the heap.

mod common;
mod trees;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use common::{Directory, Json, parse_json};
use trees::running::large;
use trees::{PROGRAM, ended};

const MIB: usize = 1 << 20;

/// The counter that is loaded before the program; `None`, after saying so, where there is no compiler.
fn counter(directory: &Directory) -> Option<PathBuf> {
    let object = PathBuf::from(directory.path("count.so"));
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/c/count.c");
    let built = Command::new("gcc")
        .args(["-O2", "-Wall", "-Werror", "-shared", "-fPIC", "-o"])
        .args([&object, &source])
        .output();
    match built {
        Ok(output) => {
            assert_eq!(ended(output), (0, String::new(), String::new()));
            Some(object)
        }
        Err(error) => {
            println!("skipped: counting allocations: gcc: {error}");
            None
        }
    }
}

/// What a run of the program needed.
#[derive(Debug, Clone, Copy)]
struct Cost {
    allocations: u64,
    mappings: u64,
    faults: u64,
}

fn cost(directory: &Directory, counter: &Path, args: &[&str]) -> Cost {
    let (counts, json) = (directory.path("counts"), directory.path("json"));
    let output = Command::new(PROGRAM)
        .args(args)
        .args(["--json", &json])
        .env("LD_PRELOAD", counter)
        .env("HUGEPOOL_COUNTS", &counts)
        .output()
        .expect("the program starts");
    let (code, out, err) = ended(output);
    assert_eq!(code, 0, "{out}{err}");
    let text = fs::read_to_string(counts).expect("counted");
    let mut numbers = text
        .split_whitespace()
        .map(|word| word.parse().expect(word));
    let Json::Object(fields) = parse_json(&fs::read_to_string(json).expect("written")) else {
        panic!("no object");
    };
    let faults = fields.iter().find(|(key, _)| key == "minor_faults");
    let Some((_, Json::Number(faults))) = faults else {
        panic!("no faults");
    };
    Cost {
        allocations: numbers.next().expect("allocations"),
        mappings: numbers.next().expect("mappings"),
        faults: *faults as u64,
    }
}

/// Sixteen times the bytes, in blocks of 64 KiB: if each block cost one of anything, that would be 1920 more. (And so it
/// is seen to be where buffers are allocated, or mapped, for each.)
#[test]
fn nothing_is_allocated_mapped_or_faulted_for_a_block() {
    const MORE: u64 = 1920;
    let directory = Directory::new("steady");
    let Some(counter) = counter(&directory) else {
        return;
    };
    let costs = |megabytes: usize, origin: &str| {
        let source = directory.path(&format!("source{megabytes}"));
        let (to, back) = (directory.path("backup"), directory.path("back"));
        large(source.as_ref(), megabytes * MIB);
        let shape = ["--readers", "3", "--memory", "2M", "--buffers-from", origin];
        let mut args = vec!["backup", &source, &to, "--transfer-size", "64K"];
        args.extend(shape);
        let backup = cost(&directory, &counter, &args);
        let mut args = vec!["verify", to.as_str()];
        args.extend(shape);
        let verify = cost(&directory, &counter, &args);
        let mut args = vec!["restore", &to, &back];
        args.extend(shape);
        let restore = cost(&directory, &counter, &args);
        for folder in [&to, &back] {
            fs::remove_dir_all(folder).expect("removed");
        }
        [("backup", backup), ("verify", verify), ("restore", restore)]
    };
    for (command, cost) in costs(128, "malloc") {
        println!("{command}: {cost:?} for 128 MiB, each block allocated");
        assert!(cost.allocations > MORE, "{command}");
    }
    for (command, cost) in costs(128, "mmap") {
        println!("{command}: {cost:?} for 128 MiB, each block mapped");
        assert!(cost.mappings > MORE && cost.faults > MORE, "{command}");
    }
    for ((command, few), (_, many)) in costs(8, "pool").into_iter().zip(costs(128, "pool")) {
        println!("{command}: {few:?} for 8 MiB, {many:?} for 128");
        for (what, few, many) in [
            ("allocations", few.allocations, many.allocations),
            ("mappings", few.mappings, many.mappings),
            ("faults", few.faults, many.faults),
        ] {
            // Threads begin and wait otherwise from run to run; none of it is for a block.
            assert!(
                many < few + MORE / 4,
                "{command}: {few} {what} for 8 MiB, {many} for 128"
            );
        }
    }
}
