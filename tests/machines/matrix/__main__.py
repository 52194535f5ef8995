"""Boots emulated machines and runs the library's tests on them.

    tests/machines/run [--write] [--suites NAME,...] [--words WORDS] [MACHINE...]
    tests/machines/run --short
    tests/machines/run --list

Without names, on all machines, one after the other; hours. `--write` keeps what came out in
tests/machines/last, and writes docs/machines.md: the last run of each machine, this one or one
before; what that page has by hand, from "What newer kernels changed" on, stays. `--words` adds to the kernel's command line
(`numa_balancing=disable`, say) and keeps nothing of the run. `--short` runs the suites of the
core on the quickest machine, in some minutes, and installs nothing. What a machine needs and
cannot have is said, and the machine skipped. Ends with 1 if a test failed, or a machine did
not come to its end.

Kernels and busybox are Debian's, of the versions in tests/machines/packages.list, and lie
in target/machines, as do the machines' logs.
"""

import argparse
import dataclasses
import datetime
import os
import sys

from boot import PROGRAMS, Outcome, boot
from image import build, make, ready
from machines import CORE, MACHINES, SHORT
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
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--suites", default="", metavar="NAME,...")
    parser.add_argument("--words", default="")
    parser.add_argument("machines", nargs="*", metavar="MACHINE")
    chosen = parser.parse_args()
    if chosen.short and (chosen.machines or chosen.write or chosen.suites):
        parser.error("--short has a machine and suites of its own, and writes nothing")
    if chosen.write and chosen.words:
        parser.error("--write is of the machines as they are")
    known = [machine.name for machine in MACHINES]
    for name in chosen.machines:
        if name not in known:
            parser.error(f"no machine {name}: there are {', '.join(known)}")
    return chosen


class Images:
    """The archive of each architecture, made once."""

    def __init__(self, cache, only, may_install):
        self.cache, self.only, self.may_install = cache, only, may_install
        self.made = {}

    def get(self, arch):
        if arch not in self.made:
            ready(arch, self.may_install)
            busybox, _ = self.cache.get("busybox", arch, BUSYBOX)
            suites, objects = build(arch, self.only)
            unknown = set(self.only) - set(suites)
            if unknown:
                sys.exit(f"no suite {', '.join(sorted(unknown))}")
            if self.only:
                suites = {name: suites[name] for name in self.only}
            path = os.path.join(FOLDER, f"initramfs-{arch}")
            make(path, arch, busybox, suites, objects)
            self.made[arch] = path
        return self.made[arch]


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
        image = images.get(machine.arch)
    except Missing as why:
        print(f"  skipped: {why}", flush=True)
        return Outcome(machine, skipped=str(why))
    outcome = boot(machine, kernel, image, os.path.join(FOLDER, f"{machine.name}.log"), say)
    outcome.date, outcome.package = datetime.date.today().isoformat(), package
    if outcome.fault:
        print(f"  FAILED {outcome.fault}", flush=True)
    return outcome


def main():
    chosen = arguments()
    if chosen.list:
        for machine in MACHINES:
            print(f"{machine.name:14} Linux {machine.kernel:5} {machine.shape()}")
        return 0
    only = chosen.suites.split(",") if chosen.suites else CORE if chosen.short else []
    names = [SHORT] if chosen.short else chosen.machines
    os.makedirs(FOLDER, exist_ok=True)
    cache = Cache(FOLDER, pins("tests/machines/packages.list"))
    images = Images(cache, only, may_install=not chosen.short)
    outcomes = []
    for machine in MACHINES:
        if names and machine.name not in names:
            continue
        words = f"{machine.words} {chosen.words}".strip()
        outcomes.append(run(dataclasses.replace(machine, words=words), cache, images))
        if not outcomes[-1].skipped and chosen.write:
            keep(LAST, outcomes[-1])
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
