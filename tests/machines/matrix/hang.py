"""A suite that hangs on purpose, and what must be left of it."""

import os

# Seconds after which it counts as hanging.
LIMIT = 40
SCRIPTS = {
    # Two processes: one waits in a socket.
    "hang": """#!/bin/sh
nc -l -p 4321 &
echo "test that_never_ends ... "
sleep 100000
""",
    # What comes after it finds nothing of it.
    "then": """#!/bin/sh
pidof nc && exit 1
echo "test result: ok. 1 passed; 0 failed"
""",
}


def write(folder):
    """Writes the scripts: a suite's name to its program."""
    suites = {}
    for name, script in SCRIPTS.items():
        suites[name] = os.path.join(folder, f"suite-{name}")
        with open(suites[name], "w") as file:
            file.write(script)
    return suites


def faults(outcome, log):
    """What is not as it must be."""
    hung, then = outcome.suites.get("hang"), outcome.suites.get("then")
    if outcome.fault or not hung or not then:
        yield f"the machine did not come to its end: {outcome.fault}"
        return
    said = " ".join(hung.failures)
    for what in ["did not end in time", "test that_never_ends", "/", " nc S in ", " sleep S in "]:
        if what not in said:
            yield f"the failure has no {what!r}: {said}"
    with open(log, errors="replace") as file:
        text = file.read()
    for what in ["open 3: socket:[", "system call ", "inet_csk_accept"]:
        if text.count(what) < 2:
            yield f"the log has no {what!r}, or once only"
    if not then.good():
        yield f"the next suite ended with {then.code}: {then.failures}"
