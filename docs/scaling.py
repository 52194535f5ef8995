"""Puts the rows that `tests/machines/run --write x86-16` kept into the tables of scaling.md.

    python3 docs/scaling.py

A table of the page is named by the line before it, and the section that it is in.
"""

import json
import os
import re

HERE = os.path.dirname(os.path.abspath(__file__))
PAGE = os.path.join(HERE, "scaling.md")
KEPT = os.path.join(HERE, "../tests/machines/last/x86-16.json")
HEAD = re.compile(r"\| (.*), (\w+) caches, \d+ processors: threads \|")
# What the page calls a pattern, where that differs from what the tests call it.
NAMES = {
    "Ring of 8, 2 buffers to spare for each processor": "ring of 8 with 2 to spare",
    "Pipeline, without caches (`cpu_cache(0)`), to compare with": "pipeline, without caches",
}


def kept():
    """The rows of each pattern and kind of caches."""
    with open(KEPT) as file:
        measured = json.load(file)["suites"]["crossings"]["measured"]
    tables, rows = {}, None
    for line in measured:
        head = HEAD.match(line)
        if head:
            rows = tables.setdefault(head.groups(), [])
        else:
            rows.append(line)
    return tables


def main():
    tables = kept()
    lines, out, kind, name = open(PAGE).read().split("\n"), [], None, None
    for line in lines:
        if line.startswith("## "):
            kind = line.split()[1].lower()
        if line.endswith(":"):
            name = line[:-1]
        if re.match(r"\| \d", line):
            continue
        out.append(line)
        if line.startswith("| ---:"):
            pattern = NAMES.get(name, name[0].lower() + name[1:])
            out += tables.pop((pattern, kind))
    if tables:
        raise SystemExit(f"no table on the page for {sorted(tables)}")
    with open(PAGE, "w") as file:
        file.write("\n".join(out))


if __name__ == "__main__":
    main()
