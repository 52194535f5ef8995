"""Boots a machine and reads what it says."""

import itertools
import os
import re
import selectors
import subprocess
import time
from dataclasses import dataclass, field

EMULATOR = {
    "amd64": ["qemu-system-x86_64", "-cpu", "max"],
    # `max` has pointer signatures, which cost an emulator much.
    "arm64": ["qemu-system-aarch64", "-M", "virt,gic-version=3", "-cpu", "neoverse-n1"],
}
PROGRAMS = {
    "amd64": {"qemu-system-x86_64": "qemu-system-x86"},
    "arm64": {"qemu-system-aarch64": "qemu-system-arm"},
}
# The console, and for x86 that the clock is not tried: where the emulator is kept from a processor
# meanwhile, that is the end of the machine ("IO-APIC + timer doesn't work!").
CONSOLE = {"amd64": "console=ttyS0 no_timer_check", "arm64": "console=ttyAMA0"}
# Seconds within which a machine comes up, and a suite ends after its limit.
PATIENCE = 600
# Times that a machine is booted at most. A kernel changes its own code while processors run it:
# for a moment a breakpoint stands there. A processor of the emulator may come to it late, when
# the kernel knows nothing of it any more, and that is the end of the machine. No test can do
# that; the suites that have not ended are run by another boot.
BOOTS = 4
LATE = "Oops: int3"


@dataclass
class Suite:
    """How a suite ended."""
    name: str
    code: int
    seconds: int
    passed: int = 0
    failed: int = 0
    skipped: list = field(default_factory=list)
    # Names of the tests that failed, and the first lines of what they said.
    failures: list = field(default_factory=list)
    # What its tests counted and say without being asked.
    measured: list = field(default_factory=list)

    def good(self):
        return self.code == 0 and self.failed == 0 and self.passed > 0


@dataclass
class Outcome:
    """What became of a machine: why it did not run, or what its suites did."""
    machine: object
    kernel: str = ""
    suites: dict = field(default_factory=dict)
    skipped: str = ""
    fault: str = ""
    # The suites within which it was the emulator that ended it.
    late: list = field(default_factory=list)
    seconds: int = 0
    # The day, and the package that the kernel is of.
    date: str = ""
    package: str = ""

    def good(self):
        return not self.fault and all(suite.good() for suite in self.suites.values())


def command(machine, kernel, image, done):
    smp = [] if "-smp" in machine.arguments else ["-smp", str(machine.cpus)]
    words = (f"{CONSOLE[machine.arch]} panic=-1 quiet loglevel=3 "
             f"tests.seconds={machine.minutes * 60} tests.done={','.join(done)} {machine.words}")
    return ["nice", "-n", "10", *EMULATOR[machine.arch], "-accel", "tcg,thread=multi",
            *smp, "-m", f"{machine.memory}M", "-nographic", "-no-reboot", "-nic", "none",
            *machine.arguments, "-kernel", kernel, "-initrd", image, "-append", words]


def lines(process, log, patience):
    """The lines that the machine says; ends when it has ended, or says nothing for so long."""
    waiting = selectors.DefaultSelector()
    waiting.register(process.stdout, selectors.EVENT_READ)
    rest = b""
    while waiting.select(patience):
        data = os.read(process.stdout.fileno(), 1 << 16)
        if not data:
            return
        log.write(data)
        log.flush()
        *whole, rest = (rest + data.replace(b"\r", b"")).split(b"\n")
        for line in whole:
            yield line.decode(errors="replace")
    yield "machine: silent"


def is_said(line):
    """Whether it belongs to what a test says when it fails."""
    return bool(line) and not line.startswith(("note: ", "---- "))


class Reader:
    """Turns the lines into an outcome."""

    def __init__(self, outcome):
        self.outcome = outcome
        self.skipped, self.output, self.within, self.done = [], [], False, False
        self.measured = []
        self.running, self.late = None, False
        # What `look` says of each thread of the suite that is running, the last time.
        self.threads = []

    def read(self, line):
        begun = re.search(r"suite: (\w+) begins$", line)
        ended = re.search(r"suite: (\w+) (\d+) (-?\d+) ?(.*)$", line)
        if begun:
            self.running, self.skipped, self.output = begun.group(1), [], []
            self.measured, self.threads = [], []
        elif line.startswith("output: "):
            self.within = not line.endswith(" end")
        elif self.within:
            self.output.append(line)
        elif ended:
            self.end(*ended.groups())
        elif line.startswith("look: up "):
            self.threads = []
        elif line.startswith("thread: "):
            self.threads.append(line.removeprefix("thread: "))
        elif line.startswith("skipped: "):
            self.skipped.append(line.removeprefix("skipped: "))
        elif line.startswith("measured: "):
            self.measured.append(line.removeprefix("measured: "))
        elif line == "machine: done":
            self.done = True
        elif line == "machine: silent":
            self.outcome.fault = f"said nothing for too long, in {self.running}"
        elif line.startswith("machine: "):
            self.outcome.kernel = line.removeprefix("machine: ")
        elif LATE in line:
            self.late = True
        elif "Kernel panic" in line:
            self.outcome.fault = line.strip()

    def end(self, name, code, seconds, result):
        counts = re.search(r"(\d+) passed; (\d+) failed", result)
        suite = Suite(name, int(code), int(seconds), skipped=self.skipped,
                      measured=self.measured)
        if counts:
            suite.passed, suite.failed = map(int, counts.groups())
        if not suite.good():
            suite.failures = self.failures(suite)
        self.outcome.suites[name] = suite
        self.running = None

    def failures(self, suite):
        found, output = [], self.output
        for at, line in enumerate(output):
            named = re.match(r"thread '(.*)' .*panicked at (.*)", line)
            if named:
                said = " ".join(itertools.takewhile(is_said, output[at + 1:at + 5]))[:300]
                found.append(f"{named.group(1)}: {named.group(2)} {said}")
        if suite.code == 137:
            running = [line for line in output if line.startswith("test ")][-1:]
            found.append(f"killed: it did not end in time, or memory ran out {running}")
            if self.threads:
                found.append(f"its threads (the log has more): {'; '.join(self.threads[:30])}")
        return found or [f"ended with {suite.code}: {' '.join(output[-3:])[:300]}"]


def boot(machine, kernel, image, log_path, say):
    """Boots it and waits for its end."""
    outcome, since = Outcome(machine), time.monotonic()
    for attempt in range(BOOTS):
        reader = Reader(outcome)
        with open(log_path, "ab" if attempt else "wb") as log:
            run(command(machine, kernel, image, outcome.suites), log, reader, say)
        if not reader.late or reader.done or attempt + 1 == BOOTS:
            break
        outcome.late.append(reader.running or "the boot")
        outcome.fault = ""
    outcome.seconds = int(time.monotonic() - since)
    if not reader.done and not outcome.fault:
        outcome.fault = f"did not come to its end, in {reader.running}"
    return outcome


def run(emulator, log, reader, say):
    """Has one boot read."""
    machine, suites = reader.outcome.machine, reader.outcome.suites
    process = subprocess.Popen(emulator, stdin=subprocess.DEVNULL,
                               stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    try:
        for line in lines(process, log, machine.minutes * 60 + PATIENCE):
            known = len(suites)
            reader.read(line)
            if len(suites) > known:
                say(list(suites.values())[-1])
    finally:
        process.kill()
        process.wait()
