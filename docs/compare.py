#!/usr/bin/env python3
"""Tries `hugepool compare`: does it find what is there, and nothing else?

    cargo build --release -p hugepool-cli
    python3 docs/compare.py [--trials N] [--rounds N] [--percent N] [--rival NAME]
                            [--patterns LIST] [--sizes LIST] [--threads LIST] [--rivals LIST]
                            [--millis N] [--program FILE] [--keep FOLDER | --kept FOLDER]

Each trial runs the benchmark three times: twice as it is, and once with a rival that does extra
work for PERCENT of the processor time of its operations (`bench --handicap`, an option for this
alone). The first two results are compared: no row must differ. The first and the third are
compared: a row of that rival must be slower than the limit of `compare` allows (exit code 1), and
no row of another rival may differ. Each of the three must be so in nine of ten trials; else the
exit code is 1.

A trial of the defaults takes one to two minutes on two processors.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile


def run(*command, codes=(0,)):
    """Runs a command that must end with one of the codes: which one."""
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode not in codes:
        sys.exit(f"{' '.join(command)}: {done.returncode}\n{done.stdout}{done.stderr}")
    return done.returncode


def bench(options, into, handicap=None):
    command = [options.program, "bench", "--json", into, "--rounds", str(options.rounds)]
    for name in ("patterns", "sizes", "threads", "rivals", "millis"):
        value = getattr(options, name)
        if value is not None:
            command += [f"--{name}", str(value)]
    if handicap:
        command += ["--handicap", handicap]
    run(*command)


def compare(options, before, after, into):
    """The exit code, and the rows that differ."""
    code = run(options.program, "compare", before, after, "--json", into, codes=(0, 1))
    with open(into, encoding="utf-8") as file:
        outcome = json.load(file)
    rows = outcome["rows"]
    if any(row["verdict"] == "too few rounds" for row in rows):
        sys.exit(f"too few rounds for {len(rows)} rows")
    return code, rows, [row for row in rows if row["verdict"] != "no difference"]


def shown(row):
    return (f"{row['pattern']}, threads {row['threads']}, {row['size']}, {row['rival']}: {row['verdict']}, "
            f"{row['ratio']:.3f} ({row['low']:.3f} to {row['high']:.3f})")


def trial(options, folder, number):
    """Whether the same was the same, whether the slower one was found, and no other."""
    paths = [os.path.join(folder, f"{number}-{name}.json") for name in ("first", "second", "slower", "same", "found")]
    first, second, slower, same, found = paths
    if not options.kept:
        bench(options, first)
        bench(options, second)
        bench(options, slower, f"{options.rival}:{options.percent}")
    _, rows, wrong = compare(options, first, second, same)
    for row in wrong:
        print(f"  the same: {shown(row)}")
    code, rows, differ = compare(options, first, slower, found)
    own = [row for row in rows if row["rival"] == options.rival]
    hit = [row for row in differ if row["rival"] == options.rival and row["verdict"] != "faster"]
    blamed = [row for row in differ if row["rival"] != options.rival]
    for row in blamed:
        print(f"  blamed: {shown(row)}")
    is_same, is_found = not wrong, code == 1 and bool(hit)
    ratios = ", ".join(f"{row['pattern']} {row['ratio']:.3f}" for row in own)
    print(f"trial {number}: {len(rows)} rows; the same: {'no difference' if is_same else 'WRONG'}; "
          f"{options.percent} % slower: {'found' if is_found else 'NOT FOUND'}, "
          f"in {len(hit)} of its {len(own)} rows ({ratios}); others: {len(blamed)} differ", flush=True)
    return is_same, is_found, not blamed


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--percent", type=int, default=10)
    parser.add_argument("--rival", default="hugepool")
    parser.add_argument("--patterns", default="same,ring,threads,pipeline,burst,fill")
    parser.add_argument("--sizes", default="64K")
    parser.add_argument("--threads", default="2")
    parser.add_argument("--rivals", help="default: all but the baselines of the patterns that wait, and store-io-buf, "
                        "which loses buffers", default="hugepool,hugepool-class,hugepool-raw,glibc,mmap,jemalloc,"
                        "mimalloc,rpmalloc,arrayqueue,mutex-vec,limit,hand-off,no-allocator")
    parser.add_argument("--millis", type=int)
    parser.add_argument("--program", default="target/release/hugepool")
    parser.add_argument("--keep", metavar="FOLDER", help="keep the results there")
    parser.add_argument("--kept", metavar="FOLDER", help="compare the results that were kept there once more")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.kept or options.keep or temporary
        os.makedirs(folder, exist_ok=True)
        ends = [trial(options, folder, number + 1) for number in range(options.trials)]
    what = ["no difference in any row of two runs of the same", f"{options.percent} % slower found",
            "no difference in any row of the others then"]
    counts = [sum(end) for end in zip(*ends)]
    for words, count in zip(what, counts):
        print(f"{words}: {count} of {options.trials}")
    if 10 * min(counts) < 9 * options.trials:
        sys.exit(1)


main()
