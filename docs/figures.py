#!/usr/bin/env python3
"""Prints the tables of README.md and docs/figures.md from a result of the benchmark.

    cargo run --release -- bench --cpus 0-1 --sizes 64K --patterns same,ring,threads,pipeline,burst,fill --json FILE
    python3 docs/figures.py FILE [--short]

A cell is the median of the rounds in nanoseconds, and in brackets the quartiles. `--short` is README's table.
"""

import json
import sys

NAMES = {
    "hugepool-class": "**hugepool**, by class",
    "hugepool": "**hugepool**, by size",
    "hugepool-raw": "**hugepool**, raw checked pointers",
    "hugepool-portable": "**hugepool**, portable caches, by class",
    "rpmalloc": "rpmalloc",
    "mimalloc": "mimalloc",
    "jemalloc": "jemalloc",
    "glibc": "glibc `posix_memalign`",
    "arrayqueue": "crossbeam `ArrayQueue` of buffers",
    "channel": "crossbeam bounded channel of buffers",
    "mutex-vec": "`Mutex<Vec>` of buffers",
    "zeropool": "zeropool",
    "store-io-buf": "store-io-buf",
    "limit": "an unchecked array in one thread (the floor)",
    "hand-off": "the hand-over alone",
    "no-allocator": "the filling alone",
}
SHORT = ["hugepool-class", "hugepool", "rpmalloc", "mimalloc", "glibc", "arrayqueue", "limit"]
COLUMNS = [
    ("same buffer", ("same", None, 1), "ns_per_op"),
    ("ring of 8", ("ring", None, 1), "ns_per_op"),
    ("256 threads, CPU time", ("threads", None, 256), "cpu_ns_per_op"),
    ("one thread takes, another gives", ("pipeline", "1:1", 2), "ns_per_op"),
    ("four take, four give, CPU time", ("pipeline", "4:4", 8), "cpu_ns_per_op"),
    ("take all, give all", ("burst", None, 1), "ns_per_op"),
    ("take, fill, give", ("fill", None, 1), "ns_per_op"),
]


def number(value):
    return f"{value:.1f}" if value < 100 else f"{value:,.0f}"


def cell(row, figure):
    if row is None:
        return "–"
    if row["lost"] or row["refused"]:
        return "lost buffers" if row["lost"] else "refused buffers"
    if figure not in row["spread"]:
        return "–"
    _, lower, median, upper, _ = row["spread"][figure]
    return f"{number(median)} ({number(lower)}–{number(upper)})"


def main():
    short = "--short" in sys.argv
    with open(next(word for word in sys.argv[1:] if not word.startswith("--")), encoding="utf-8") as file:
        rows = json.load(file)["rows"]
    found = {(row["rival"], row["pattern"], row["shape"], row["threads"]): row for row in rows}
    columns = COLUMNS[:4] if short else COLUMNS
    print("| | " + " | ".join(name for name, _, _ in columns) + " |")
    print("| --- |" + " --- |" * len(columns))
    for rival in SHORT if short else NAMES:
        cells = [cell(found.get((rival, *group)), figure) for _, group, figure in columns]
        print(f"| {NAMES[rival]} | " + " | ".join(cells) + " |")


main()
