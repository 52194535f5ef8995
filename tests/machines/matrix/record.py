"""What is kept of a machine's last run, so that a machine can be run by itself and the page is
of all."""

import json
import os
from dataclasses import asdict

from boot import Outcome, Suite


def path(folder, machine):
    return os.path.join(folder, f"{machine.name}.json")


def keep(folder, outcome):
    fields = asdict(outcome)
    del fields["machine"]
    os.makedirs(folder, exist_ok=True)
    with open(path(folder, outcome.machine), "w") as file:
        json.dump(fields, file, indent=1)
        file.write("\n")


def kept(folder, machine):
    """The last outcome; one that says so if there is none."""
    try:
        with open(path(folder, machine)) as file:
            fields = json.load(file)
    except FileNotFoundError:
        return Outcome(machine, skipped="not run")
    suites = {name: Suite(**suite) for name, suite in fields.pop("suites").items()}
    return Outcome(machine, suites=suites, **fields)
