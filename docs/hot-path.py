"""Follows the hot path of the functions of `examples/hot_path.rs`.

    hot-path.py PROGRAM COMPILER PAGE (write | check) FUNCTION=LIMIT ...

reads the program with objdump, readelf, nm and addr2line. `write` puts the counts
and the listings into the page, between its markers; `check` compares the counts
with the page's. Either fails if a hot path has a locked instruction, a call or a
division, or more instructions than the limit.

The hot path is what runs when the processor's cache serves the call. It is found
without running anything: inside a restartable sequence it is the straight line
from the first instruction to the commit (the kernel's own descriptor of the
sequence says where these are); elsewhere it is the way to the function's
return that calls nothing. If there are several such ways the worst counts; if there
is none, the one with the fewest calls does, with its calls.
"""

import re
import subprocess
import sys

# What an instruction outside the restartable sequence is for: by the innermost
# function of the library that it was inlined from and that is named here.
AREA = "where this thread's area for restartable sequences is"
CLASS = "the request's class: a row by alignment, a bin by size, one look-up, one comparison"
PURPOSES = [
    (r"(own_)?offset$", AREA),
    (r"(start|offset_of|data)$", "the index becomes an address: origin + index * 512 + position * (stride - 512)"),
    (r"(state|starts_at|go_out|is_out_at|come_back|mark_raw)$", "the buffer's state: that it is out, where, with which size; or no longer"),
    (r"(guess|within|line_place|index_at|divide|count|chunk|nth_unchecked)$", "the granule of the address: which buffer can start there, and of which class"),
    (r"(line_of|expect)$", "the line of that class, which in a pool of one class is expected"),
    (r"(find|bin|entry_of)$", CLASS),
    (r"(shared|line)$", "the pool and the class's line"),
]
GIVEN = "what the caller gave"
FOUND = "if there was no buffer, the slow path"
RESULT = "the result"
KEPT = "registers that the slow path needs are kept"
RESTORED = "the registers are restored"
DESCRIPTOR = "the descriptor of the sequence, for the kernel: from here to the commit an interruption diverts"

SIGNATURE = 0x53053053


def run(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


class Program:
    def __init__(self, path):
        self.path = path
        self.instructions = {}
        self.after = {}
        self.symbols = {}
        self.addresses = {}
        self.relative = {}
        for line in run("nm", "-C", "--defined-only", path).splitlines():
            address, _, name = line.split(" ", 2)
            self.symbols.setdefault(int(address, 16), name)
            self.addresses.setdefault(name, int(address, 16))
        for line in run("readelf", "-rW", path).splitlines():
            found = re.match(r"([0-9a-f]+)\s+[0-9a-f]+ R_X86_64_RELATIVE\s+([0-9a-f]+)", line)
            if found:
                self.relative[int(found[1], 16)] = int(found[2], 16)
        before = None
        text = run("objdump", "-d", "-w", "-M", "intel", "--no-show-raw-insn", "-j", ".text", path)
        for line in text.splitlines():
            found = re.match(r"\s*([0-9a-f]+):\s+(\S.*?)\s*$", line)
            if not found:
                continue
            address = int(found[1], 16)
            self.instructions[address] = found[2]
            if before is not None:
                self.after[before] = address
            before = address
        self.sections = {}
        for line in run("readelf", "-SW", path).splitlines():
            found = re.match(r"\s*\[\s*\d+\] (\S+)\s+\S+\s+([0-9a-f]+) ([0-9a-f]+) ([0-9a-f]+)", line)
            if found:
                self.sections[found[1]] = tuple(int(found[at], 16) for at in (2, 3, 4))
        with open(path, "rb") as file:
            self.bytes = file.read()

    def word(self, section, address, size=8):
        """A number in the program's memory once it is loaded."""
        if address in self.relative:
            return self.relative[address]
        start, offset, length = self.sections[section]
        assert start <= address <= start + length - size, f"{address:#x} is not in {section}"
        at = offset + address - start
        return int.from_bytes(self.bytes[at : at + size], "little")

    def sequence(self, descriptor):
        """First instruction and end of the sequence that `descriptor` describes."""
        assert descriptor % 32 == 0, "a descriptor is not aligned"
        assert self.word("__rseq_cs", descriptor) == 0, "a descriptor has a version or flags"
        start, length, abort = (self.word("__rseq_cs", descriptor + 8 * k) for k in (1, 2, 3))
        assert self.word(".text", abort - 4, 4) == SIGNATURE, "no signature before an abort handler"
        assert not start <= abort < start + length, "an abort handler lies in its sequence"
        return start, start + length

    def name_at(self, address):
        """What is at an address, in two words at most."""
        name = self.symbols.get(address)
        if name is None:
            return None
        name = re.sub(r"::h[0-9a-f]{16}$", "", name)
        while re.search(r"<[^<>]*>", name):
            name = re.sub(r"<[^<>]*>", "", name)
        return [part for part in name.split("::") if part][-1]

    def callee(self, instruction):
        """The name of what a call or a jump out of a function goes to."""
        found = re.search(r"#\s*([0-9a-f]+)", instruction)
        if found:
            return self.name_at(self.relative.get(int(found[1], 16), 0)) or "elsewhere"
        found = re.match(r"\S+\s+([0-9a-f]+)\b", instruction)
        return (found and self.name_at(int(found[1], 16))) or "elsewhere"

    def frames(self, addresses):
        """For each address the functions it was inlined from, innermost first."""
        lines = run("addr2line", "-a", "-i", "-f", "-C", "-e", self.path, *map(hex, addresses))
        frames = []
        for line in lines.splitlines():
            if line.startswith("0x"):
                frames.append([])
                names = True
            elif names:
                frames[-1].append(re.sub(r"<.*", "", line))
                names = False
            else:
                names = True
        return frames


def target(instruction):
    """Where a direct jump goes; None for others."""
    found = re.match(r"j\w+\s+([0-9a-f]+)\b", instruction)
    return int(found[1], 16) if found else None


def is_locked(instruction):
    """Whether it locks the bus or waits for the stores before it."""
    word = instruction.split()[0]
    return word in ("lock", "mfence", "sfence", "lfence", "cpuid") or (word == "xchg" and "[" in instruction)


def is_division(instruction):
    return bool(re.match(r"(i?div|v?div[sp][sd])\s", instruction))


def is_call(instruction):
    return instruction.split()[0] in ("call", "syscall", "int3", "int", "ud2")


class Function:
    def __init__(self, program, name):
        self.program = program
        self.name = name
        self.entry = program.addresses[name]
        self.end = min(at for at in program.symbols if at > self.entry)
        self.sequences = {}
        self.path = self.follow()

    def inside(self, address):
        return self.entry <= address < self.end

    def opened_by(self, address):
        """The sequence that begins behind the instruction at `address`, if one does."""
        if not re.match(r"mov\s+QWORD PTR fs:\[\w+\+0x8\],", self.program.instructions[address]):
            return None
        before = max(at for at in self.program.instructions if at < address)
        descriptor = re.match(r"lea\s+\w+,\[rip\+.*#\s*([0-9a-f]+)", self.program.instructions[before])
        assert descriptor, f"{self.name}: no descriptor before the store of it"
        bounds = self.program.sequence(int(descriptor[1], 16))
        assert bounds[0] == self.program.after[address], f"{self.name}: a gap before a sequence"
        return bounds

    def follow(self):
        """The path: its addresses."""
        best = []
        self.walk(self.entry, [], 0, None, best)
        assert best, f"{self.name}: no way to its return"
        fewest = min(calls for calls, _ in best)
        paths = [path for calls, path in best if calls == fewest]
        if len(paths) > 1:
            note = f"{self.name}: {len(paths)} ways to its return with {fewest} calls; the worst counts"
            print(note, file=sys.stderr)

        def badness(path):
            texts = [self.program.instructions[at] for at in path]
            return sum(is_locked(text) + is_division(text) for text in texts), len(texts)

        return max(paths, key=badness)

    def walk(self, at, path, calls, sequence, best):
        program = self.program
        while True:
            if at in path:
                return
            path = [*path, at]
            text = program.instructions[at]
            word = text.split()[0]
            opened = self.opened_by(at)
            if opened:
                sequence = opened
                self.sequences[opened] = True
            within = sequence and sequence[0] <= at < sequence[1]
            following = program.after.get(at)
            if word == "ret":
                best.append((calls, path))
                return
            if word == "ud2":
                return
            if is_call(text):
                calls += 1
            if word.startswith("j"):
                to = target(text)
                if to is None or (word == "jmp" and not self.inside(to)):
                    # A call in the place of a return.
                    best.append((calls + 1, path))
                    return
                if word == "jmp":
                    at = to
                    continue
                # A sequence that is diverted is not the hot path.
                if not within and self.inside(to):
                    self.walk(to, path, calls, sequence, best)
            at = following

    def label(self, at, sequence):
        """What a jump that is not taken leads to."""
        if sequence and sequence[0] <= at < sequence[1]:
            return "diverted"
        program = self.program
        step = target(program.instructions[at])
        for _ in range(100):
            text = program.instructions[step]
            word = text.split()[0]
            if word == "call" or (word == "jmp" and target(text) is None):
                return program.callee(text)
            if word == "jmp" and not self.inside(target(text)):
                return program.callee(text)
            if word == "ret":
                break
            step = target(text) if word == "jmp" else program.after[step]
        return "elsewhere"

    def shown(self, at, following, sequence):
        """An instruction without addresses."""
        program = self.program
        text = program.instructions[at]
        found = re.search(r"\[rip\+0x[0-9a-f]+\](.*?)\s*#\s*([0-9a-f]+).*", text)
        if found:
            address = int(found[2], 16)
            start, _, length = program.sections["__rseq_cs"]
            if start <= address < start + length:
                name = "descriptor"
            elif address in program.relative:
                name = "address of " + (program.name_at(program.relative[address]) or "?")
            else:
                name = program.name_at(address) or "?"
            text = text[: found.start()] + f"[{name}]" + found[1]
        if text.startswith("j"):
            word = text.split()[0]
            to = target(text)
            if to is not None and to == following:
                text = f"{word} on" if word == "jmp" else f"{word} on (taken)"
            else:
                text = f"{word} {self.label(at, sequence)}"
        word, _, rest = text.partition(" ")
        return f"{word:<7} {re.sub(r',(?! )', ', ', rest.strip())}".rstrip()

    def groups(self):
        """The path in groups: pairs of a purpose and its instructions."""
        frames = self.program.frames(self.path)
        taken = [s for s in self.sequences if s[0] in self.path]
        assert len(taken) == 1, f"{self.name}: {len(taken)} sequences on its hot path"
        sequence = taken[0]
        begin = self.path.index(sequence[0])
        steps = self.sequence_steps([at for at in self.path if sequence[0] <= at < sequence[1]])
        # The instructions that tell the kernel of the sequence.
        for at in self.path[begin - 2 : begin]:
            steps[at] = DESCRIPTOR
        purposes = [steps.get(at) or self.purpose(k, frames[k], begin) for k, at in enumerate(self.path)]
        self.fill(purposes, begin)
        groups = []
        for k, at in enumerate(self.path):
            following = self.path[k + 1] if k + 1 < len(self.path) else None
            if not groups or groups[-1][0] != purposes[k]:
                groups.append((purposes[k], []))
            groups[-1][1].append(self.shown(at, following, sequence))
        inside = sum(sequence[0] <= at < sequence[1] for at in self.path)
        frame = sum(purpose in (KEPT, RESTORED) for purpose in purposes)
        return groups, inside, frame

    def purpose(self, k, frames, begin):
        text = self.program.instructions[self.path[k]]
        if re.match(r"(push|sub\s+rsp,)", text):
            return KEPT
        if re.match(r"(pop|add\s+rsp,|ret)", text):
            return RESTORED
        before = self.program.instructions[self.path[k - 1]]
        if k > begin and (text.startswith("test") or (text.startswith("j") and before.startswith("test"))):
            return FOUND
        for frame in frames:
            for pattern, purpose in PURPOSES:
                if re.match(pattern, frame):
                    return purpose
        if k < begin and any(re.match(r"(pop|push)$", frame) for frame in frames):
            return AREA
        if k < begin and any(frame == "take_cached" for frame in frames):
            return CLASS
        return None

    @staticmethod
    def fill(purposes, begin):
        """An instruction without a purpose has that of those before it, and behind
        the sequence that of those after it."""
        for k in range(begin):
            if purposes[k] is None:
                before = purposes[k - 1] if k > 0 else KEPT
                purposes[k] = GIVEN if before in (KEPT, GIVEN) else before
        for k in reversed(range(begin, len(purposes))):
            if purposes[k] is None:
                after = purposes[k + 1]
                purposes[k] = RESULT if after in (RESTORED, RESULT) else after

    def sequence_steps(self, addresses):
        """The purposes of the instructions of a sequence."""
        takes = self.name.startswith("allocate")
        purposes = [
            "this processor's number, which must be below the class's limit",
            "this processor's slot of the class",
            "the slot's gate and level: diverted if a thief is there, or the slot is "
            + ("empty" if takes else "full"),
            "the index on top" if takes else "the index goes on top",
            "the commit: one store of the level, one change later and one buffer "
            + ("fewer" if takes else "more"),
        ]
        step = 0
        steps = {}
        for at in addresses:
            text = self.program.instructions[at]
            if step == 0 and text.startswith("shl"):
                step = 1
            elif step == 1 and re.match(r"movzx\s+\w+,BYTE PTR \[", text):
                step = 2
            elif step == 2 and re.match(r"movzx\s+\w+,\w+$", text):
                step = 3
            elif step == 3 and text.startswith("add"):
                step = 4
            steps[at] = purposes[step]
        last = self.program.instructions[addresses[-1]]
        assert step == 4 and re.match(r"mov\s+QWORD PTR \[\w+(\+0x0)?\],\w+$", last), (
            f"{self.name}: its sequence does not end with a store of the level: {last}"
        )
        return steps

    def counts(self, inside, frame):
        texts = [self.program.instructions[at] for at in self.path]
        words = [text.split()[0] for text in texts]
        jumps = [k for k, word in enumerate(words) if word.startswith("j")]
        taken = [k for k in jumps if self.path[k + 1 : k + 2] != [self.program.after[self.path[k]]]]
        return {
            "instructions": len(texts),
            "in the sequence": inside,
            "in the frame": frame,
            "jumps": len(jumps),
            "jumps taken": len(taken),
            "locked": sum(map(is_locked, texts)),
            "calls": sum(map(is_call, texts)) + (words[-1] != "ret"),
            "divisions": sum(map(is_division, texts)),
        }


BEGIN = "<!-- generated by docs/hot-path.sh from here -->"
END = "<!-- to here -->"


def table(measured):
    """The counts, as the page has them."""
    heads = list(next(iter(measured.values()))["counts"])
    lines = ["| function | " + " | ".join(heads) + " |", "| --- |" + " ---: |" * len(heads)]
    for name, function in measured.items():
        numbers = " | ".join(str(number) for number in function["counts"].values())
        lines.append(f"| `{name}` | {numbers} |")
    return lines


def listing(name, groups):
    lines = ["", f"## `{name}`", "", "```asm"]
    for k, (purpose, instructions) in enumerate(groups):
        lines += [""] * (k > 0) + [f"        ; {purpose}"]
        lines += [f"        {instruction}" for instruction in instructions]
    return [*lines, "```"]


def generated(compiler, measured):
    lines = [BEGIN, "", f"Compiled by {compiler}.", "", *table(measured)]
    for name, function in measured.items():
        lines += listing(name, function["groups"])
    return "\n".join([*lines, "", END])


def main():
    path, compiler, page, task, *limits = sys.argv[1:]
    limits = {name: int(limit) for name, limit in (pair.split("=") for pair in limits)}
    program = Program(path)
    measured = {}
    for name in limits:
        function = Function(program, name)
        groups, inside, frame = function.groups()
        measured[name] = {"counts": function.counts(inside, frame), "groups": groups}
    print("\n".join(table(measured)))

    wrong = []
    for name, limit in limits.items():
        counts = measured[name]["counts"]
        for what in ("locked", "calls", "divisions"):
            if counts[what] > 0:
                wrong.append(f"{name}: {what} on the hot path: {counts[what]}")
        if counts["instructions"] > limit:
            wrong.append(f"{name}: {counts['instructions']} instructions, the limit is {limit}")

    with open(page, encoding="utf-8") as file:
        text = file.read()
    before, _, rest = text.partition(BEGIN)
    old, _, after = rest.partition(END)
    if task == "check":
        rows = [line for line in old.splitlines() if line.startswith("|")]
        if rows != table(measured):
            wrong.append(f"{page} has other counts:\n" + "\n".join(rows))
            if f"Compiled by {compiler}." not in old:
                wrong.append(f"but it is of another compiler than {compiler}")
    elif not wrong:
        with open(page, "w", encoding="utf-8") as file:
            file.write(before + generated(compiler, measured) + after)
    if wrong:
        sys.exit("\n".join(wrong))


try:
    main()
except AssertionError as error:
    sys.exit(f"hot-path.py: {error}")
