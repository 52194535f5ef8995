"""The table of what came out."""

# What is written by hand in docs/machines.md begins with this line, after the tables.
BY_HAND = "## What newer kernels changed"


def cell(outcome, name):
    if outcome.skipped:
        return "–"
    suite = outcome.suites.get(name)
    if suite is None:
        return "not run" if outcome.machine.has(name) else "–"
    text = f"{suite.passed}"
    if not suite.good():
        text = f"**{suite.failed or 'ended'} failed**, {text}"
    if suite.skipped:
        text += f", {len(suite.skipped)} skipped"
    return text


def rows(outcomes):
    names = []
    for outcome in outcomes:
        names += [name for name in outcome.suites if name not in names]
    yield ["suite", *(outcome.machine.name for outcome in outcomes)]
    for name in sorted(names):
        yield [name, *(cell(outcome, name) for outcome in outcomes)]


def markdown(table):
    head, *rest = table
    yield "| " + " | ".join(head) + " |"
    yield "|" + " --- |" * len(head)
    for row in rest:
        yield "| " + " | ".join(row) + " |"


def plain(words):
    """What a program said, as text of a page that knows HTML."""
    return words.replace("&", "&amp;").replace("<", "&lt;")


def notes(outcomes):
    """What was skipped where, and what failed."""
    reasons = {}
    for outcome in outcomes:
        if outcome.skipped:
            yield f"- {outcome.machine.name}: skipped: {outcome.skipped}"
        if outcome.fault:
            yield f"- {outcome.machine.name}: **failed**: {outcome.fault}"
        for suite in outcome.late:
            yield (f"- {outcome.machine.name}: booted again in {suite}: a processor of the emulator came to a "
                   "breakpoint of the kernel's that was there no more")
        for suite in outcome.suites.values():
            for why in suite.failures:
                yield f"- {outcome.machine.name}, `{suite.name}`: **failed**: {plain(why)}"
            for why in suite.skipped:
                key = f"`{suite.name}`: {plain(why)}"
                reasons.setdefault(key, []).append(outcome.machine.name)
    if reasons:
        yield ""
        yield "What the tests say they skipped, and where:"
        yield ""
    for why, where in sorted(reasons.items()):
        yield f"- {why} ({', '.join(where)})"


def page(outcomes):
    """The whole, as docs/machines.md has it."""
    yield "# The tests on other machines"
    yield ""
    yield "What `tests/machines/run --write` wrote: the last run of each machine. They are"
    yield "emulated by QEMU (TCG), so what is timed on them means nothing. A cell says how many"
    yield "tests passed, and how many things they say they skipped there; the reasons are below"
    yield "the table."
    yield ""
    yield "| machine | what it is | Linux | package | run on | minutes |"
    yield "| --- | --- | --- | --- | --- | --- |"
    for outcome in outcomes:
        cells = [outcome.machine.name, outcome.machine.shape()]
        cells += [outcome.kernel or "–", outcome.package or "–", outcome.date or "–"]
        yield "| " + " | ".join(cells) + f" | {round(outcome.seconds / 60)} |"
    yield ""
    several = [outcome for outcome in outcomes if not outcome.machine.suites]
    yield from markdown(list(rows(several)))
    yield ""
    for outcome in outcomes:
        for name in outcome.machine.suites:
            yield f"- {outcome.machine.name} runs `{name}` alone; its cell: {cell(outcome, name)}"
    yield from notes(outcomes)


def by_hand(text):
    """The part of a page, `text`, that no run writes; nothing if it has none."""
    _, heading, rest = f"\n{text}".partition(f"\n{BY_HAND}\n")
    return heading + rest
