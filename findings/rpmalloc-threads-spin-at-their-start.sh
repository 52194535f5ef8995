#!/usr/bin/env bash
# A program that links rpmalloc, and starts many threads, burns seconds of processor time.
#
# Expected: an allocator that a program links, and calls nowhere, costs nothing; and to start
# 500 threads that sleep takes some milliseconds of processor time.
#
# Seen with the crate rpmalloc 0.2.2 (rpmalloc-sys 0.2.3+b097fd0), Linux 6.18, x86-64, on two
# processors: with one line in it that could call the allocator, and does not, such a program
# takes 4 to 33 s of processor time (in four runs), the same without that line 0.02 s.
# The C library's `pthread_create` is replaced by one of the allocator's own, which is linked
# with everything else of it. Each new thread initializes the allocator's state for it first,
# behind a lock that is waited for by spinning: with more threads than processors, whoever has
# the lock is not running while all others spin. So a benchmark that has rpmalloc among its
# rivals starts its threads one after the other, or measures that. A program that calls rpmalloc by
# its own names can have it without that part: rpmalloc-sys has it in the feature `preload`, which
# the crate rpmalloc asks for.
#
# Needs cargo, gcc and the crates' registry; 100 MB in the temporary folder; a minute or two.
# Ends with 0 if it is so, 1 if it is otherwise, 2 if it could not be tried.
set -Eeuo pipefail
here=$(mktemp -d)
trap 'rm -rf "$here"' EXIT
trap 'echo "could not be tried" >&2; exit 2' ERR
cd "$here"

for tool in cargo gcc; do
    command -v "$tool" >/dev/null || { echo "there is no $tool here" >&2; exit 2; }
done
[ "$(nproc)" -gt 1 ] || { echo "there is one processor only" >&2; exit 2; }

mkdir src
cat >Cargo.toml <<'T'
[package]
name = "starts"
version = "0.0.0"
edition = "2021"

[features]
linked = []

[dependencies]
rpmalloc = "=0.2.2"
rpmalloc-sys = "=0.2.3"
T
cat >src/main.rs <<'R'
use std::thread;
use std::time::Duration;

fn main() {
    #[cfg(feature = "linked")]
    if std::env::args().len() > 1 {
        use std::alloc::{GlobalAlloc, Layout};
        unsafe { rpmalloc::RpMalloc.alloc(Layout::new::<u64>()) };
    }
    // In batches, so that their memory is not what counts.
    for _ in 0..2 {
        let sleepers = (0..500).map(|_| thread::spawn(|| thread::sleep(Duration::from_millis(200))));
        for sleeper in sleepers.collect::<Vec<_>>() {
            sleeper.join().unwrap();
        }
    }
}
R
TIMEFORMAT=%U
spent() {
    cargo build --release --quiet "$@"
    { time target/release/starts; } 2>&1
}
without=$(spent)
with=$(spent --features linked)
echo "user time of 2 times 500 threads: $without s, and with rpmalloc linked $with s"
awk -v with="$with" -v without="$without" 'BEGIN { exit !(with > 1 && with > 10 * without) }' ||
    { echo "it is otherwise now" >&2; exit 1; }
echo "it is so"
