#!/usr/bin/env python3
"""Shows the engine at work: on a real tree, killed, and beside tar and cp.

    python3 docs/engine.py same   [--tree FOLDER] [--in FOLDER] [--disk FOLDER] [--store]
    python3 docs/engine.py killed [--tree FOLDER] [--in FOLDER]
    python3 docs/engine.py rates  [--tree FOLDER] [--in FOLDER] [--disk FOLDER] [--rounds N]

`same` backs a tree and a sparse file of 4 GiB up in many ways, restores each backup, and
compares all of it: bytes, kinds, modes, owners, times, extended attributes, hard links,
holes; `--store` has the tests' own object store do so as well. `killed` kills a backup at 20 random moments; each time it must be seen as incomplete,
or whole, and the next one must succeed. `rates` runs the ways to do the same work one after
the other, in rounds, and prints medians and the ratios within rounds.

TREE is the Rust toolchain in use, unless another one is named. A copy of it, with hard links
added, is made below `--in` (/dev/shm, memory), where the backups go, too. `--disk` is a folder
on a disk, for direct I/O (the target folder). What they make they remove.
"""

import argparse
import filecmp
import json
import os
import random
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time

PROGRAM = os.path.abspath("target/release/hugepool")
GIB = 1 << 30
MIB = 1 << 20
HEADER = 4096


def buffers(count, transfer=MIB):
    """--memory for so many buffers."""
    return str(count * (transfer + HEADER))


def output(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def run(*arguments, good=True):
    """Runs the program; what it printed."""
    done = subprocess.run([PROGRAM, *arguments], capture_output=True, text=True)
    if good and done.returncode != 0:
        sys.exit(f"{' '.join(arguments)}: {done.returncode}\n{done.stdout}{done.stderr}")
    return done


# The trees.

def make_tree(tree, into):
    """A copy of the tree with hard links: two more names for each tenth file."""
    subprocess.run(["cp", "-a", tree, into], check=True)
    links = 0
    for folder, _, files in os.walk(into):
        for name in files[::10]:
            path = os.path.join(folder, name)
            if os.path.islink(path):
                continue
            for further in ("linked", "linked-again"):
                os.link(path, f"{path}.{further}")
                links += 1
    return links


def make_sparse(path):
    """4 GiB, with data here and there, at the start and at the end."""
    with open(path, "wb") as file:
        file.truncate(4 * GIB)
        for at in [0, 4 * GIB - 5, *random.Random(1).sample(range(4 * GIB - MIB), 200)]:
            file.seek(at)
            file.write(os.urandom(min(random.Random(at).randrange(1, MIB), 4 * GIB - at)))
        file.truncate(4 * GIB)


def make_large(path, size):
    with open(path, "wb") as file:
        for _ in range(size // MIB):
            file.write(os.urandom(MIB))


# What differs.

def listing(root):
    found, inodes = {}, {}
    for folder, folders, files in os.walk(root):
        for name in [".", *folders, *files] if folder == root else [*folders, *files]:
            path = os.path.join(folder, name)
            stat = os.lstat(path)
            known = os.path.relpath(path, root)
            found[known] = stat
            if stat.st_nlink > 1 and not os.path.isdir(path):
                inodes.setdefault(stat.st_ino, []).append(known)
    return found, sorted(sorted(group) for group in inodes.values())


def differences(one, other):
    """All that is not the same in two trees, in words."""
    (here, links), (there, other_links) = listing(one), listing(other)
    different = [f"{path}: only in one" for path in here.keys() ^ there.keys()]
    if links != other_links:
        different.append("hard links")
    compared = set()
    for path in here.keys() & there.keys():
        a, b = here[path], there[path]
        for field in ("st_mode", "st_uid", "st_gid", "st_mtime_ns"):
            if getattr(a, field) != getattr(b, field):
                different.append(f"{path}: {field}")
        ours, theirs = os.path.join(one, path), os.path.join(other, path)
        if os.path.islink(ours):
            if os.readlink(ours) != os.readlink(theirs):
                different.append(f"{path}: target")
            continue
        for name in {*os.listxattr(ours), *os.listxattr(theirs)}:
            if os.getxattr(ours, name) != os.getxattr(theirs, name):
                different.append(f"{path}: {name}")
        if not os.path.isfile(ours) or a.st_ino in compared:
            continue
        compared.add(a.st_ino)
        if not filecmp.cmp(ours, theirs, shallow=False):
            different.append(f"{path}: bytes")
        if b.st_blocks > a.st_blocks * 1.1 + 64:
            different.append(f"{path}: {a.st_blocks} blocks became {b.st_blocks}")
    return different


# The commands.

def ways():
    """The options of a backup and of its restore, in words and as a list."""
    for readers in (1, 8, 64):
        for stripes in (1, 8, 64):
            yield ["--readers", str(readers)], ["--stripes", str(stripes)]
    yield ["--readers", "8", "--memory", buffers(2)], ["--stripes", "8"]
    yield ["--readers", "64", "--memory", buffers(2)], ["--stripes", "64"]
    yield ["--memory", buffers(16)], ["--compress", "zstd"]
    for origin in ("malloc", "mmap", "channel"):
        yield ["--buffers-from", origin], []


def check(source, place, common, of_backup):
    """One backup, verified, restored and compared."""
    backup, back = os.path.join(place, "backup"), os.path.join(place, "back")
    what = " ".join([*of_backup, *common])
    begun = time.time()
    run("backup", source, backup, *common, *of_backup)
    run("verify", backup, *common)
    run("restore", backup, back, *common)
    different = differences(source, os.path.join(back, os.path.basename(source)))
    shutil.rmtree(backup)
    shutil.rmtree(back)
    print(f"{what}: {'the same' if not different else different[:5]} ({time.time() - begun:.0f} s)", flush=True)
    return not different


def same(chosen, folder):
    source = os.path.join(folder, "source")
    links = make_tree(chosen.tree, source)
    make_sparse(os.path.join(source, "sparse"))
    count = int(output("sh", "-c", f"find {source} | wc -l"))
    print(f"{count} entries, {links} of them further names of files; a sparse file of 4 GiB")
    good = [check(source, folder, common, own) for common, own in ways()]
    disk = tempfile.mkdtemp(prefix="engine-", dir=chosen.disk)
    try:
        for io in ("threads", "uring"):
            for direct in ("on", "off", "auto"):
                good.append(check(source, disk, ["--io", io, "--direct", direct], []))
    finally:
        shutil.rmtree(disk)
    if chosen.store:
        command = ["cargo", "test", "-q", "-p", "hugepool-cli", "--features", "store-tests", "--test", "store",
                   "--", "--ignored", "--exact", "a_tree_of_ones_own_comes_back_to_the_last_bit"]
        done = subprocess.run(command, env={**os.environ, "HUGEPOOL_TEST_TREE": source}, capture_output=True, text=True)
        good.append(done.returncode == 0)
        print(f"an object store: {'the same' if good[-1] else done.stdout}", flush=True)
    print(f"{sum(good)} of {len(good)} the same")
    return all(good)


def killed(chosen, folder):
    source, backup = os.path.join(folder, "source"), os.path.join(folder, "backup")
    make_tree(chosen.tree, source)
    # How long one takes when what it reads is in memory.
    for _ in range(2):
        begun = time.time()
        run("backup", source, backup)
        whole = time.time() - begun
        shutil.rmtree(backup)
    counts = {"incomplete": 0, "nothing": 0, "whole": 0}
    for _ in range(20):
        child = subprocess.Popen([PROGRAM, "backup", source, backup],
                                 stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(random.random() * whole)
        child.send_signal(signal.SIGKILL)
        child.wait()
        seen = run("verify", backup, good=False)
        if seen.returncode == 0:
            counts["whole"] += 1
            shutil.rmtree(backup)
            continue
        if "incomplete" in seen.stderr:
            counts["incomplete"] += 1
        elif "holds no backup" in seen.stderr or not os.path.exists(backup):
            counts["nothing"] += 1
        else:
            sys.exit(f"killed, and then: {seen.stderr}")
        run("backup", source, backup)
        run("verify", backup)
        shutil.rmtree(backup)
    run("backup", source, backup)
    run("restore", backup, os.path.join(folder, "back"))
    different = differences(source, os.path.join(folder, "back", "source"))
    print(f"killed 20 times: {counts['incomplete']} seen as incomplete, {counts['nothing']} before anything was "
          f"written, {counts['whole']} whole; each one run again was whole, the last one "
          f"{'restored the same' if not different else different[:5]}")
    return not different


class Way:
    """One way to do the work: a name, its command, and whether it is the program's."""

    def __init__(self, name, command, into, size):
        self.name, self.command, self.into, self.size = name, command, into, size
        self.rates, self.costs, self.faults = [], [], []

    def go(self):
        for path in self.into:
            shutil.rmtree(path, ignore_errors=True)
            if os.path.exists(path):
                os.remove(path)
        begun, before = time.monotonic(), os.times()
        done = subprocess.run(self.command, capture_output=True, text=True)
        seconds, after = time.monotonic() - begun, os.times()
        if done.returncode != 0:
            sys.exit(f"{' '.join(self.command)}: {done.stderr}")
        cpu = after.children_user + after.children_system - before.children_user - before.children_system
        gib = self.size / GIB
        self.rates.append(gib / seconds)
        self.costs.append(cpu / gib)
        for path in self.into:
            if os.path.isdir(path):
                shutil.rmtree(path)
            elif os.path.exists(path):
                os.remove(path)


def compare(title, ways, rounds):
    """Runs the ways in rounds, in another order each time; prints medians, and ratios to the first."""
    print(f"\n{title}; {rounds} rounds\n")
    for _ in range(rounds):
        for way in random.sample(ways, len(ways)):
            way.go()
    print("| way | GiB/s | CPU s a GiB | rate, to the first | CPU, to the first |")
    print("| --- | --- | --- | --- | --- |")
    first = ways[0]
    for way in ways:
        rate, cost = statistics.median(way.rates), statistics.median(way.costs)
        rates = [mine / its for mine, its in zip(way.rates, first.rates)]
        costs = [mine / its for mine, its in zip(way.costs, first.costs)]
        span = lambda list: f"{statistics.median(list):.2f} ({min(list):.2f} to {max(list):.2f})"
        print(f"| {way.name} | {rate:.2f} | {cost:.2f} | {span(rates)} | {span(costs)} |", flush=True)


def backing(name, source, into, size, *options):
    # Through the cache where the file system has nothing else.
    return Way(name, [PROGRAM, "backup", source, into, *options], [into], size)


def tree_size(path):
    return sum(os.lstat(os.path.join(folder, name)).st_size
               for folder, _, files in os.walk(path) for name in files
               if not os.path.islink(os.path.join(folder, name)))


def rates(chosen, folder):
    """What the engine costs, in several ways, and beside others."""
    large = os.path.join(folder, "large")
    make_large(large, 2 * GIB)
    into, rounds = os.path.join(folder, "into"), chosen.rounds
    for size in ("1M", "4M"):
        transfer = ["--transfer-size", size, "--memory", "256M"]
        compare(f"A file of 2 GiB, memory to memory, blocks of {size}", [
            backing(origin, large, into, 2 * GIB, *transfer, "--buffers-from", origin)
            for origin in ("malloc", "pool", "mmap", "channel")], rounds)
    compare("The same file: what the kernel's copies cost alone, and the engine", [
        Way("dd bs=1M, one thread", ["dd", f"if={large}", f"of={into}", "bs=1M", "status=none"], [into], 2 * GIB),
        backing("pool, 16 buffers, one stripe, one reader", large, into, 2 * GIB, "--memory", buffers(16),
                "--stripes", "1", "--readers", "1"),
        backing("pool, 16 buffers", large, into, 2 * GIB, "--memory", buffers(16)),
    ], rounds)
    compare("The same, with 16 buffers and with 256", [
        backing("channel, 256 buffers", large, into, 2 * GIB, "--memory", buffers(256), "--buffers-from", "channel"),
        backing("pool, 256 buffers", large, into, 2 * GIB, "--memory", buffers(256)),
        backing("channel, 16 buffers", large, into, 2 * GIB, "--memory", buffers(16), "--buffers-from", "channel"),
        backing("pool, 16 buffers", large, into, 2 * GIB, "--memory", buffers(16)),
    ], rounds)
    os.remove(large)
    source = os.path.join(folder, "source")
    subprocess.run(["cp", "-a", chosen.tree, source], check=True)
    size = tree_size(source)
    compare(f"The toolchain, {size / GIB:.1f} GiB, memory to memory", [
        Way("cp -a", ["cp", "-a", source, into], [into], size),
        Way("tar cf", ["tar", "cf", into, "-C", folder, "source"], [into], size),
        backing("backup", source, into, size),
        backing("backup, one stripe, one reader", source, into, size, "--stripes", "1", "--readers", "1"),
    ], rounds)
    shutil.rmtree(source)
    disk = tempfile.mkdtemp(prefix="engine-", dir=chosen.disk)
    try:
        large, into = os.path.join(folder, "large"), os.path.join(disk, "into")
        make_large(large, GIB)
        for size in ("64K", "1M"):
            shape = ["--direct", "on", "--transfer-size", size, "--memory", "64M"]
            compare(f"A file of 1 GiB, memory to disk, past the cache, blocks of {size}", [
                backing("threads", large, into, GIB, "--io", "threads", *shape),
                backing("uring", large, into, GIB, "--io", "uring", *shape),
            ], rounds)
    finally:
        shutil.rmtree(disk)
    return True


def main():
    parser = argparse.ArgumentParser(
        prog="docs/engine.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["same", "killed", "rates"])
    parser.add_argument("--tree", default=output("rustc", "--print", "sysroot"))
    parser.add_argument("--in", dest="place", default="/dev/shm")
    parser.add_argument("--disk", default="target")
    parser.add_argument("--store", action="store_true")
    parser.add_argument("--rounds", type=int, default=7)
    chosen = parser.parse_args()
    subprocess.run(["cargo", "build", "--release", "--quiet", "-p", "hugepool-cli"], check=True)
    folder = tempfile.mkdtemp(prefix="engine-", dir=chosen.place)
    try:
        return {"same": same, "killed": killed, "rates": rates}[chosen.what](chosen, folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


sys.exit(0 if main() else 1)
