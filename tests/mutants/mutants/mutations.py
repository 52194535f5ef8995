"""The mutations: every ordering made weaker, and what core.toml lists."""

import glob
import os
import re
import tomllib
from dataclasses import dataclass

LISTED = "tests/mutants/core.toml"
CORE = [
    "src/word/*.rs", "src/depot.rs", "src/chain.rs", "src/loose.rs", "src/batch.rs",
    "src/cache/*.rs", "src/rseq/mod.rs", "src/lists/*.rs", "src/lists/streams/*.rs",
    "src/wait/*.rs", "src/home.rs", "src/catalog/*.rs", "src/snapshot.rs", "src/append.rs",
    "src/outstanding.rs", "src/share/slots.rs", "src/vdi/stage.rs",
]
ORDERING = re.compile(r"Ordering::(Acquire|Release|AcqRel|SeqCst)\b")
FENCE = re.compile(r"\bfence\(Ordering::SeqCst\)")
FUNCTION = re.compile(r"\bfn (\w+)")
# What each is weakened to.
WEAKER = {
    "Acquire": ["Relaxed"],
    "Release": ["Relaxed"],
    "AcqRel": ["Acquire", "Release"],
    # (Of a load or a store one of the two would panic.)
    "SeqCst": ["Relaxed"],
}


@dataclass
class Mutation:
    """Bytes `start..end` of a file that become `other`."""
    name: str
    file: str
    start: int
    end: int
    other: str
    argued: str
    number: int = 0


def code(text):
    """Up to where a file's tests begin."""
    at = text.find("#[cfg(all(test")
    return text if at < 0 else text[:at]


def orderings(file, text, argued):
    """Of every access: its file, its function, the how manieth of that kind in it."""
    function, seen, at = "", {}, 0
    for line in code(text).splitlines(keepends=True):
        found = FUNCTION.search(line)
        bare = line.split("//")[0]
        function = found.group(1) if found and found.start() < len(bare) else function
        places = [(found.span(), "()", "fence") for found in FENCE.finditer(bare)]
        inside = [span for span, _, _ in places]
        for found in ORDERING.finditer(bare):
            if any(start <= found.start() < end for start, end in inside):
                continue
            kind = found.group(1)
            places += [(found.span(), f"Ordering::{weaker}", f"{kind}→{weaker}")
                       for weaker in WEAKER[kind]]
        for (start, end), other, kind in sorted(places):
            nth = seen[function, kind] = seen.get((function, kind), 0) + 1
            name = f"{file}::{function} {kind} {nth}"
            yield Mutation(name, file, at + start, at + end, other, argued.pop(name, ""))
        at += len(line)


def listed(entry, text):
    """A line of the list. Its text is to be in the file once, or once in `within`."""
    file, within = entry["file"], entry.get("within", entry["text"])
    for where, what in [(text, within), (within, entry["text"])]:
        if where.count(what) != 1:
            raise SystemExit(f"{LISTED}: {where.count(what)} times in {file}: {what}")
    start = text.index(within) + within.index(entry["text"])
    end = start + len(entry["text"])
    name = f"{file}: {entry['name']}"
    return Mutation(name, file, start, end, entry["other"], entry.get("argued", ""))


def every():
    """All of them, numbered from 1."""
    with open(LISTED, "rb") as file:
        table = tomllib.load(file)
    argued = {entry["name"]: entry["why"] for entry in table.get("ordering", [])}
    mutations = []
    for file in sorted({name for pattern in CORE for name in glob.glob(pattern)}):
        with open(file) as source:
            text = source.read()
        own = list(orderings(file, text, argued))
        own += [listed(entry, text) for entry in table.get("mutant", []) if entry["file"] == file]
        mutations += own
    if argued:
        raise SystemExit(f"{LISTED}: no such ordering: {sorted(argued)}")
    unknown = {entry["file"] for entry in table.get("mutant", [])} - {one.file for one in mutations}
    if unknown:
        raise SystemExit(f"{LISTED}: not of the core: {sorted(unknown)}")
    for number, mutation in enumerate(mutations, 1):
        mutation.number = number
    return mutations
