"""The models and tests that may kill a mutation."""

import concurrent.futures
import json
import os
import subprocess
import time
from dataclasses import dataclass, field

from tree import FOLDER, TREE

TESTS = [
    "exact", "restart", "sections", "stress", "adapt", "lifetime", "barriers", "waiting",
    "waiting_async", "waiting_many", "waiting_cancel", "waiting_changes", "waiting_lists",
    "streams", "streams_many", "streams_rules", "capacity", "vdi_states", "simulation",
]
FEATURES = "async,bytes,compio,io-uring,metrics,tokio-uring"
LOOM = "--cfg hugepool_loom --cfg crossbeam_loom"


@dataclass
class Program:
    """A model, or a whole test program."""
    name: str
    command: list
    seconds: float = 0
    passes: set = field(default_factory=set)

    def run(self, number=0, limit=None, passed=None):
        """What it ended with, 0 if it went through; None if it did not end."""
        variables = os.environ | {"HUGEPOOL_MUTANT": str(number)}
        if passed:
            variables["HUGEPOOL_MUTANTS_PASSED"] = passed
        began = time.monotonic()
        process = subprocess.Popen(
            self.command, env=variables, cwd=TREE, start_new_session=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            ended = process.wait(timeout=limit)
        except subprocess.TimeoutExpired:
            ended = None
        finally:
            # Also what it started.
            try:
                os.killpg(process.pid, 9)
            except ProcessLookupError:
                pass
            process.wait()
        self.seconds = self.seconds or time.monotonic() - began
        return ended


def built(flags, *arguments):
    """The test programs that cargo built: their names and files."""
    out = subprocess.run(
        ["cargo", "test", "--no-run", "--locked", "--message-format", "json-render-diagnostics",
         "--target-dir", os.path.abspath(os.path.join(FOLDER, "build", flags and "loom" or "native")),
         *arguments],
        cwd=TREE, check=True, stdout=subprocess.PIPE, text=True,
        env=os.environ | {"RUSTFLAGS": f"{flags} --cap-lints allow"}).stdout
    messages = (json.loads(line) for line in out.splitlines() if line.startswith("{"))
    return {message["target"]["name"]: message["executable"]
            for message in messages if message.get("executable")}


class Programs:
    def __init__(self, models_alone, jobs):
        models = built(LOOM, "--release", "-p", "hugepool-loom-tests", "--test", "models")["models"]
        listed = subprocess.run([models, "--list", "--format", "terse"], check=True,
                                capture_output=True, text=True).stdout.splitlines()
        names = [line.removesuffix(": test") for line in listed if line.endswith(": test")]
        self.all = [Program(f"model {name}", [models, "--exact", name]) for name in names]
        if not models_alone:
            tests = built("", "-p", "hugepool", "--features", FEATURES, "--lib",
                          *(word for name in TESTS for word in ("--test", name)))
            self.all += [Program(f"test {name}", [file]) for name, file in tests.items()]
        with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
            list(pool.map(self.measure, self.all))
        # Models first: one that fails shows a schedule.
        self.all.sort(key=lambda one: (one.name.startswith("test"), one.seconds))

    def measure(self, program):
        """How long it takes, and what it passes."""
        passed = os.path.abspath(os.path.join(FOLDER, "passed", program.name.replace("::", "-")))
        os.makedirs(os.path.dirname(passed), exist_ok=True)
        if os.path.exists(passed):
            os.remove(passed)
        if program.run(passed=passed, limit=1800) != 0:
            raise SystemExit(f"{program.name} fails without any mutation")
        if os.path.exists(passed):
            with open(passed) as file:
                program.passes = {int(word) for word in file.read().split()}

    def kill(self, number):
        """Who kills it, how long that took, and how many were tried."""
        began, count = time.monotonic(), 0
        for program in self.all:
            if number in program.passes:
                count += 1
                ended = program.run(number, limit=30 + 10 * program.seconds)
                if ended != 0:
                    how = ", which did not end" if ended is None else ""
                    return program.name + how, time.monotonic() - began, count
        return None, time.monotonic() - began, count
