//! Where the workers of `bench` sit: on the processors of a list, or of nodes. What this machine cannot show is skipped, and
//! said. No test asks how long anything took.

mod common;

use std::io;
use std::path::Path;

use common::{Json, measured, refused};

/// The processors that the calling thread may run on.
fn allowed() -> Vec<usize> {
    let mut mask = [0_u64; 128];
    // SAFETY: the call writes no more than the size that it is given, which is that of the mask.
    let outcome = unsafe { libc::sched_getaffinity(0, size_of_val(&mask), (&raw mut mask).cast()) };
    assert_eq!(outcome, 0, "{}", io::Error::last_os_error());
    let has = |cpu: &usize| mask[cpu / 64] & (1 << (cpu % 64)) != 0;
    (0..64 * mask.len()).filter(has).collect()
}

/// Has the calling thread, and the programs that it starts, run on one processor alone.
fn stay_on(cpu: usize) {
    let mut mask = [0_u64; 128];
    mask[cpu / 64] |= 1 << (cpu % 64);
    // SAFETY: the call reads no more than the size that it is given, which is that of the mask.
    let outcome =
        unsafe { libc::sched_setaffinity(0, size_of_val(&mask), (&raw const mask).cast()) };
    assert_eq!(outcome, 0, "{}", io::Error::last_os_error());
}

#[test]
fn a_run_on_one_processor_counts_one_and_says_which() {
    let cpu = allowed()[0].to_string();
    let (run, document) = measured(
        "pinned",
        &[
            "--patterns",
            "same,pipeline",
            "--sizes",
            "4K",
            "--pipelines",
            "1:1",
            "--rivals",
            "hugepool,glibc",
            "--cpus",
            &cpu,
        ],
    );
    assert!(run.stdout.contains("pinned"), "{}", run.stdout);
    assert!(run.stdout.contains("1 to be used"), "{}", run.stdout);
    assert_eq!(document.field("options").field("cpus").text(), cpu);
    assert_eq!(document.field("options").field("nodes"), &Json::Null);
    assert_eq!(
        document.field("machine").field("allowed_cpus").number(),
        1.0
    );
    for row in document.field("rows").values() {
        // Two threads outnumber it.
        let clock = match row.field("pattern").text() {
            "pipeline" => "cpu",
            _ => "wall",
        };
        assert_eq!(row.field("clock").text(), clock, "{row:?}");
    }
}

#[test]
fn waits_and_engines_run_on_the_processors_of_a_list() {
    let cpus: Vec<String> = allowed()
        .iter()
        .take(2)
        .rev()
        .map(usize::to_string)
        .collect();
    let (_, document) = measured(
        "pinned-waits",
        &[
            "--patterns",
            "exhausted,engine",
            "--shapes",
            "17-on-16,pipeline-1-1",
            "--sizes",
            "64K",
            "--threads",
            "2",
            "--memory",
            "64M",
            "--rivals",
            "hugepool,hugepool-tasks,hugepool-portable",
            "--cpus",
            &cpus.join(","),
            "--warm-up",
            "1",
        ],
    );
    let options = document.field("options");
    assert_eq!(options.field("warm_up_millis").number(), 1.0);
    assert_eq!(document.field("rows").values().len(), 3 + 3 + 1);
}

#[test]
fn lists_of_processors_that_cannot_be_are_refused_with_those_that_can() {
    for (list, words) in [
        ("", &["--cpus"][..]),
        ("two", &["`two`", "0-3,8"]),
        ("3-1", &["3-1", "ends before it begins"]),
        ("0,8192", &["8192", "8191"]),
    ] {
        refused(&["--cpus", list], words);
    }
    let allowed = allowed();
    if allowed.contains(&8191) {
        println!("skipped: this machine has every processor there can be");
    } else {
        refused(
            &["--cpus", "8191"],
            &[
                "--cpus 8191",
                "CPU 8191",
                "allowed are",
                &allowed[0].to_string(),
            ],
        );
    }
    refused(&["--cpus", "0", "--nodes", "0"], &["--cpus", "--nodes"]);
    // In a thread of its own, whose restriction the program inherits.
    let &[first, second, ..] = allowed.as_slice() else {
        println!("skipped: a processor that is not allowed: there is only one");
        return;
    };
    let restricted = std::thread::spawn(move || {
        stay_on(first);
        let both = format!("{first},{second}");
        let why = format!("CPU {second} is not allowed to this process; allowed are {first}");
        refused(&["--cpus", &both], &[&why]);
    });
    restricted.join().expect("it is refused with the reason");
}

#[test]
fn a_node_stands_for_its_processors() {
    let cpu = allowed()[0];
    let nodes = Path::new("/sys/devices/system/node");
    let has = |node: &usize| {
        let name = format!("/sys/devices/system/cpu/cpu{cpu}/node{node}");
        !nodes.exists() || Path::new(&name).exists()
    };
    let node = (0..1024).find(has).expect("a processor is on a node");
    let typed = node.to_string();
    let (run, document) = measured(
        "nodes",
        &[
            "--patterns",
            "same",
            "--sizes",
            "4K",
            "--rivals",
            "hugepool",
            "--nodes",
            &typed,
        ],
    );
    assert!(
        run.stdout.contains(&format!("those of node {node}")),
        "{}",
        run.stdout
    );
    assert!(run.stdout.contains("NUMA nodes: "), "{}", run.stdout);
    let options = document.field("options");
    assert_eq!(options.field("nodes").text(), typed);
    assert_eq!(options.field("cpus"), &Json::Null);
    let used = document.field("machine").field("allowed_cpus").number();
    assert!(used >= 1.0 && used <= allowed().len() as f64, "{used}");
    if nodes.join("node1023").exists() {
        println!("skipped: a node that does not exist: there are all");
    } else {
        refused(
            &["--nodes", "1023"],
            &["--nodes 1023", "no node 1023; this machine has"],
        );
    }
    refused(&["--nodes", "1024"], &["1024", "1023"]);
    refused(&["--nodes", "zero"], &["`zero`"]);
}
