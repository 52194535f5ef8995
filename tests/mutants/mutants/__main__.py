"""Breaks the core of the library, one mutation at a time, and looks what notices.

    tests/mutants/run [--models] [--only WORD] [--jobs N] [--list]

A mutation is a weaker ordering of an atomic access, for every one in the core (`mutations.py`),
or a line of core.toml. All are built into one copy of the sources, each behind a switch that a
variable sets when a program starts (`tree.py`). What each model and each test program passes is
noted once; a mutation is then tried with those that pass it, the quickest first: models, and
then, if none fails, the library's tests (not with `--models`).

Prints for each mutation what killed it, or that it survived; a line of core.toml may argue why
one changes nothing. Ends with 1 if one survives without an argument, or one that is argued is
killed. `--only` runs those whose name contains a word, `--list` prints their names. What came out
is in target/mutants/results.json.
"""

import argparse
import concurrent.futures
import json
import os
import sys
import time

from mutations import every
from programs import Programs
from tree import FOLDER, make

RESULTS = os.path.join(FOLDER, "results.json")


def arguments():
    parser = argparse.ArgumentParser(
        prog="tests/mutants/run", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", action="store_true")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--only", default="")
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    return parser.parse_args()


def judged(mutation, killer):
    """What to print, and whether it is as it should be."""
    if killer and mutation.argued:
        return f"KILLED by {killer}, although: {mutation.argued}", False
    if killer:
        return f"killed by {killer}", True
    if mutation.argued:
        return f"argued: {mutation.argued}", True
    return "SURVIVED", False


def main():
    chosen = arguments()
    mutations = every()
    picked = [one for one in mutations if chosen.only in one.name]
    if chosen.list:
        print("\n".join(one.name for one in picked))
        return 0
    make(mutations)
    began = time.monotonic()
    programs = Programs(models_alone=chosen.models, jobs=chosen.jobs)
    print(f"{len(picked)} mutations; {len(programs.all)} models and tests: "
          f"{time.monotonic() - began:.0f} s to build and to time them", flush=True)
    results, wrong = {}, 0
    with concurrent.futures.ThreadPoolExecutor(chosen.jobs) as pool:
        tried = {pool.submit(programs.kill, one.number): one for one in picked}
        for future in concurrent.futures.as_completed(tried):
            mutation, (killer, seconds, count) = tried[future], future.result()
            text, right = judged(mutation, killer)
            wrong += not right
            print(f"{mutation.name}: {text} ({count} tried, {seconds:.0f} s)", flush=True)
            results[mutation.name] = {"killer": killer, "tried": count, "argued": mutation.argued}
    with open(RESULTS, "w") as file:
        json.dump(results, file, indent=1, sort_keys=True)
    killed = sum(1 for one in results.values() if one["killer"])
    argued = sum(1 for one in results.values() if one["argued"] and not one["killer"])
    print(f"{killed} of {len(results)} killed, {argued} argued, {wrong} not as they should be; "
          f"{time.monotonic() - began:.0f} s")
    return 1 if wrong else 0


sys.exit(main())
