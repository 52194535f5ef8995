//! What processors that do not exist cost a pool: `cargo bench --bench processors`.
//!
//! Each row is a process of its own that is told how many processors there may be, by a mount
//! that hides the kernel's word (that needs root). It builds a pool of 256 buffers in each of
//! some classes, has all of the largest class out, and asks for one more. All rows are run in
//! turn, some rounds long; medians.

use hugepool::{Buffer, Pool};
use std::ffi::CString;
use std::hint::black_box;
use std::process::Command;
use std::time::Instant;

/// Told to a process that measures.
const POSSIBLE: &str = "HUGEPOOL_BENCH_POSSIBLE";
const CLASSES: &str = "HUGEPOOL_BENCH_CLASSES";
const COUNT: usize = 256;
const ROWS: [(&str, usize); 7] = [
    ("", 1),
    ("0-1", 1),
    ("0-127", 1),
    ("0-511", 1),
    ("0-8191", 1),
    ("0-1", 128),
    ("0-8191", 128),
];

/// Has this process read `text` where the kernel says which processors there may be.
fn say(text: &str) -> bool {
    let file = std::env::temp_dir().join(format!("hugepool-possible-{}", std::process::id()));
    std::fs::write(&file, text).expect("a temporary file");
    let from = CString::new(file.to_str().expect("a path")).expect("a path");
    let (none, private) = (std::ptr::null(), libc::MS_REC | libc::MS_PRIVATE);
    let at = c"/sys/devices/system/cpu/possible";
    // SAFETY: the strings end with a zero byte; the rest are numbers and null.
    let said = unsafe {
        libc::unshare(libc::CLONE_NEWNS) == 0
            && libc::mount(none, c"/".as_ptr(), none, private, none.cast()) == 0
            && libc::mount(from.as_ptr(), at.as_ptr(), none, libc::MS_BIND, none.cast()) == 0
    };
    let _ = std::fs::remove_file(&file);
    said
}

/// Nanoseconds that `work` takes once, of `times`.
fn each(times: u32, mut work: impl FnMut()) -> f64 {
    let begin = Instant::now();
    (0..times).for_each(|_| work());
    begin.elapsed().as_nanos() as f64 / f64::from(times)
}

/// Prints what a process measures: possible processors, build, refusal, `available`, bytes.
fn measure(possible: &str, classes: usize, times: u32) {
    if !possible.is_empty() && !say(possible) {
        return;
    }
    // Sizes of which each is asked for by the class of its own.
    let size = |class: usize| 512 * (class + 1);
    let build = || {
        let builder = Pool::builder().prefault(false).address_space(1 << 34);
        let builder = (0..classes).fold(builder, |builder, class| {
            builder.reserve(size(class), 512, COUNT)
        });
        builder.build().expect("there is memory")
    };
    // The first pool of a process tries restartable sequences.
    drop(build());
    let mut pool = None;
    let built = each(1, || pool = Some(build()));
    let pool = pool.expect("it was built");
    let largest = size(classes - 1);
    let mut held: Vec<Buffer> = Vec::new();
    while let Ok(buffer) = pool.allocate(largest, 512) {
        held.push(buffer);
    }
    assert_eq!(held.len(), COUNT);
    let refusal = each(times, || assert!(pool.allocate(largest, 512).is_err()));
    let available = each(times, || _ = black_box(pool.available(largest, 512)));
    let stats = pool.stats();
    let (cpus, bytes) = (stats.cpus, stats.metadata_bytes);
    println!("{cpus} {built} {refusal} {available} {bytes}");
}

fn main() {
    if let (Ok(possible), Ok(classes)) = (std::env::var(POSSIBLE), std::env::var(CLASSES)) {
        let times = std::env::args().nth(1).and_then(|times| times.parse().ok());
        return measure(&possible, classes.parse().unwrap_or(1), times.unwrap_or(1));
    }
    let is_test = std::env::args().any(|argument| argument == "--test");
    let (rounds, times) = if is_test { (1, "10") } else { (9, "20000") };
    let program = std::env::current_exe().expect("this program has a path");
    let mut figures = ROWS.map(|_| Vec::new());
    for _ in 0..rounds {
        for ((possible, classes), figures) in ROWS.iter().zip(&mut figures) {
            let output = Command::new(&program)
                .arg(times)
                .env(POSSIBLE, possible)
                .env(CLASSES, classes.to_string())
                .output()
                .expect("this program runs");
            assert!(output.status.success(), "{output:?}");
            let text = String::from_utf8_lossy(&output.stdout);
            let row: Option<Vec<f64>> = text
                .split_whitespace()
                .map(|word| word.parse().ok())
                .collect();
            figures.extend(row.filter(|row| row.len() == 5));
        }
    }
    println!("possible CPUs  classes   build us  refusal ns  available ns  bookkeeping KiB");
    for ((possible, classes), mut rows) in ROWS.iter().zip(figures) {
        if rows.is_empty() {
            println!("{possible:<14} skipped: to hide the kernel's word needs root");
            continue;
        }
        let mut median = |column: usize| {
            rows.sort_by(|a, b| a[column].total_cmp(&b[column]));
            rows[rows.len() / 2][column]
        };
        let says = if possible.is_empty() {
            " (its own)"
        } else {
            ""
        };
        println!(
            "{:<14} {classes:>7} {:>10.0} {:>11.0} {:>13.0} {:>16.0}",
            format!("{}{says}", median(0)),
            median(1) / 1e3,
            median(2),
            median(3),
            median(4) / 1024.0
        );
    }
}
