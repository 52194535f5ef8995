#!/usr/bin/env python3
"""Turns what `hugepool bench --patterns exhausted` printed into the tables of dry.md.

    cargo run --release -- bench --patterns exhausted | python3 docs/dry.py
"""

import re
import sys

THREADS = ["hugepool", "mutex-condvar", "channel"]
TASKS = ["hugepool-tasks", "semaphore"]


def shapes(lines):
    """Each shape's name, and its rows: a rival's name to its columns."""
    found, names = [], []
    for line in lines:
        head = re.match(r"exhausted (\S+): ", line)
        words = line.split()
        if head:
            found.append((head.group(1), {}))
        elif line.startswith("  rival "):
            names = [name.strip() for name in re.split(r"\s{2,}", line.strip())]
        elif found and len(words) == len(names) and words[0] != "rival":
            found[-1][1][words[0]] = dict(zip(names, words))
    return found


def cell(row):
    """Takes a second, cost beyond the work, longest wait, least share."""
    takes = f"{round(float(row['takes/s'])):,}"
    rest = [row["beyond us"], row["longest ms"], row["least share"]]
    return " / ".join([takes, *rest])


def table(found, rivals, titles):
    print("| shape | " + " | ".join(titles) + " |")
    print("| --- |" + " --- |" * len(titles))
    for shape, rows in found:
        cells = [cell(rows[rival]) for rival in rivals if rival in rows]
        if len(cells) < len(rivals):
            continue
        if rivals is THREADS:
            cells.append(f"{round(float(rows['no-pool']['takes/s'])):,}")
        print("| " + " | ".join([shape, *cells]) + " |")
    print()


def main():
    found = shapes(sys.stdin)
    if not found:
        sys.exit("no shape of the pattern exhausted was found")
    table(found, THREADS, ["hugepool", "mutex and condvar", "channel of buffers", "the shape allows"])
    table(found, TASKS, ["hugepool", "semaphore and queue"])


main()
