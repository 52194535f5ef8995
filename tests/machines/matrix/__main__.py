"""Boots emulated machines and runs the library's tests on them.

    tests/machines/run [--write] [--suites NAME,...] [--words WORDS] [MACHINE...]
    tests/machines/run --short
    tests/machines/run --hang
    tests/machines/run --list

Without names, on all machines, one after the other; hours. `--write` keeps what came out in
tests/machines/last, and writes docs/machines.md: the last run of each machine, this one or one
before; what that page has by hand, from "What newer kernels changed" on, stays. `--words` adds to the kernel's command line
(`numa_balancing=disable`, say) and keeps nothing of the run. `--short` runs the suites of the
core on the quickest machine, in some minutes, and installs nothing. What a machine needs and
cannot have is said, and the machine skipped. Ends with 1 if a test failed, or a machine did
not come to its end.

A suite that takes longer than half of its time is looked at, and again shortly before it is
killed: what each of its threads does (system call, kernel stack, time used) and has open is in
the machine's log. `--hang` shows that, with a suite that hangs on purpose, in a minute.

Kernels and busybox are Debian's, of the versions in tests/machines/packages.list, and lie
in target/machines, as do the machines' logs.
"""

import argparse
import dataclasses
import datetime
import os
import sys

import hang
from boot import PROGRAMS, Outcome, boot
from image import build, make, ready
from machines import CORE, CROSSINGS, MACHINES, SHORT
from packages import Cache, Missing, install, pins
from record import keep, kept
from table import by_hand, markdown, notes, page, rows

FOLDER = os.path.abspath("target/machines")
KERNEL = r"boot/vmlinuz-.*|usr/lib/modules/.*/vmlinuz"
BUSYBOX = r"(usr/)?bin/busybox"
PAGE = "docs/machines.md"
LAST = "tests/machines/last"


def arguments():
    parser = argparse.ArgumentParser(
        prog="tests/machines/run", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--short", action="store_true")
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--hang", action="store_true")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--suites", default="", metavar="NAME,...")
    parser.add_argument("--words", default="")
    parser.add_argument("machines", nargs="*", metavar="MACHINE")
    chosen = parser.parse_args()
    if CROSSINGS in chosen.suites.split(",") and chosen.suites != CROSSINGS:
        parser.error(f"{CROSSINGS} is a build of its own: name it alone")
    alone = [option for option in ("short", "hang") if getattr(chosen, option)]
    if len(alone) > 1 or alone and (chosen.machines or chosen.write or chosen.suites):
        parser.error(f"--{alone[0]} has a machine and suites of its own, and writes nothing")
    if chosen.write and chosen.words:
        parser.error("--write is of the machines as they are")
    known = [machine.name for machine in MACHINES]
    for name in chosen.machines:
        if name not in known:
            parser.error(f"no machine {name}: there are {', '.join(known)}")
    return chosen


class Images:
    """The archives, by architecture and suites, each made once."""

    def __init__(self, cache, only, may_install, hangs):
        self.cache, self.only, self.may_install, self.hangs = cache, only, may_install, hangs
        self.made = {}

    def programs(self, arch, only):
        """The suites, and what they load."""
        if self.hangs:
            return hang.write(FOLDER), []
        return build(arch, only)

    def get(self, machine):
        arch, only = machine.arch, self.only or list(machine.suites)
        key = "-".join([arch, *machine.suites])
        if key not in self.made:
            ready(arch, self.may_install)
            busybox, _ = self.cache.get("busybox", arch, BUSYBOX)
            suites, objects = self.programs(arch, only)
            unknown = set(only) - set(suites)
            if unknown:
                sys.exit(f"no suite {', '.join(sorted(unknown))}")
            if only:
                suites = {name: suites[name] for name in only}
            path = os.path.join(FOLDER, f"initramfs-{key}")
            make(path, arch, busybox, suites, objects)
            self.made[key] = path
        return self.made[key]


def run(machine, cache, images):
    def say(suite):
        skipped = f", {len(suite.skipped)} skipped" if suite.skipped else ""
        print(f"  {suite.name}: {suite.passed} passed, {suite.failed} failed{skipped}, "
              f"{suite.seconds} s", flush=True)
        for why in suite.failures:
            print(f"    FAILED {why}", flush=True)
        for what in suite.measured:
            print(f"    measured: {what}", flush=True)

    print(f"{machine.name}: {machine.shape()}", flush=True)
    try:
        install(PROGRAMS[machine.arch], images.may_install)
        kernel, package = cache.get(machine.kernel, machine.arch, KERNEL)
        image = images.get(machine)
    except Missing as why:
        print(f"  skipped: {why}", flush=True)
        return Outcome(machine, skipped=str(why))
    outcome = boot(machine, kernel, image, os.path.join(FOLDER, f"{machine.name}.log"), say)
    outcome.date, outcome.package = datetime.date.today().isoformat(), package
    if outcome.fault:
        print(f"  FAILED {outcome.fault}", flush=True)
    return outcome


def said(outcomes):
    """Whether enough is said of a suite that hangs: the exit status."""
    found = []
    for outcome in outcomes:
        log = os.path.join(FOLDER, f"{outcome.machine.name}.log")
        found += [outcome.skipped] if outcome.skipped else hang.faults(outcome, log)
    for fault in found:
        print(f"FAILED {fault}")
    return 1 if found else 0


def main():
    chosen = arguments()
    if chosen.list:
        for machine in MACHINES:
            print(f"{machine.name:14} Linux {machine.kernel:5} {machine.shape()}")
        return 0
    only = chosen.suites.split(",") if chosen.suites else CORE if chosen.short else []
    own = chosen.short or chosen.hang
    names = [SHORT] if own else chosen.machines
    os.makedirs(FOLDER, exist_ok=True)
    cache = Cache(FOLDER, pins("tests/machines/packages.list"))
    images = Images(cache, only, may_install=not own, hangs=chosen.hang)
    more = f"{chosen.words} tests.seconds={hang.LIMIT}" if chosen.hang else chosen.words
    outcomes = []
    for machine in MACHINES:
        if names and machine.name not in names:
            continue
        if not names and only and machine.suites and not set(only) <= set(machine.suites):
            continue
        words = f"{machine.words} {more}".strip()
        outcomes.append(run(dataclasses.replace(machine, words=words), cache, images))
        if not outcomes[-1].skipped and chosen.write:
            keep(LAST, outcomes[-1])
    if chosen.hang:
        return said(outcomes)
    print()
    print("\n".join(markdown(list(rows(outcomes)))))
    print("\n".join(notes(outcomes)))
    if chosen.write:
        all_kept = [kept(LAST, machine) for machine in MACHINES]
        with open(PAGE) as file:
            stays = by_hand(file.read())
        with open(PAGE, "w") as file:
            file.writelines(line + "\n" for line in page(all_kept))
            file.write(stays)
    return 0 if all(outcome.good() for outcome in outcomes) else 1


sys.exit(main())
