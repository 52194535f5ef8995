"""The file system that a machine has: busybox, the test programs, what they are linked to."""

import gzip
import json
import os
import re
import shutil
import subprocess
import sys

from machines import CROSSINGS
from packages import Missing, install

# What has no subject on another machine, or needs the source or cargo there.
NOT_THERE = {"models", "structure"}

TARGET = {"amd64": None, "arm64": "aarch64-unknown-linux-gnu"}
# Where the C library of the test programs lies, if it is not this system's own.
LIBRARIES = {"amd64": None, "arm64": "/usr/aarch64-linux-gnu/lib"}


def build_command(arch, only):
    """For this machine's own architecture as the README says it, so that nothing is built
    twice; else what the library has. Of these the suites in `only`, if it names some. What
    counts is built by itself."""
    if CROSSINGS in only:
        command = ["cargo", "test", "--locked", "-p", "hugepool-crossings", "--target-dir",
                   "target/counted", "--no-run", "--message-format=json-render-diagnostics"]
        return command + (["--target", TARGET[arch]] if TARGET[arch] else [])
    command = ["cargo", "test", "--locked", "--features",
               "async,bytes,compio,io-uring,metrics,tokio-uring", "--no-run",
               "--message-format=json-render-diagnostics"]
    if TARGET[arch]:
        command += ["-p", "hugepool", "--target", TARGET[arch]]
    if only:
        # Of the same packages as all are, or they would be built anew.
        for name in only:
            command += ["--lib"] if name == "lib" else ["--test", name]
        command += ["--example", "plugin"]
    elif TARGET[arch]:
        command += ["--lib", "--tests", "--examples"]
    return command


def ready(arch, may_install):
    """Has what cross-building needs."""
    target = TARGET[arch]
    if not target:
        return
    install({"aarch64-linux-gnu-gcc": "gcc-aarch64-linux-gnu libc6-dev-arm64-cross"},
            may_install)
    installed = subprocess.run(["rustc", "--print", "target-libdir", "--target", target],
                               capture_output=True, text=True).stdout.strip()
    if not os.path.isdir(installed):
        added = subprocess.run(["rustup", "target", "add", target], capture_output=True,
                               text=True) if shutil.which("rustup") else None
        if not added or added.returncode != 0:
            raise Missing(f"Rust's standard library for {target} is not installed here")


def build(arch, only):
    """Builds the tests, or those in `only`: a suite's name to its program, and what `plugin`
    loads."""
    environment = dict(os.environ)
    environment["CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER"] = "aarch64-linux-gnu-gcc"
    if CROSSINGS in only:
        environment["RUSTFLAGS"] = "--cfg hugepool_counted"
    built = subprocess.run(build_command(arch, only), stdout=subprocess.PIPE,
                           text=True, env=environment)
    if built.returncode != 0:
        sys.exit("the tests were not built")
    suites, objects = {}, []
    for line in built.stdout.splitlines():
        artifact = json.loads(line)
        if artifact.get("reason") != "compiler-artifact":
            continue
        target = artifact["target"]
        ours = "crossings" if CROSSINGS in only else "."
        if os.path.dirname(artifact["manifest_path"]) != os.path.abspath(ours):
            continue
        if "cdylib" in target["crate_types"]:
            objects += [name for name in artifact["filenames"] if name.endswith(".so")]
        elif "example" not in target["kind"] and artifact.get("executable") \
                and artifact["profile"]["test"]:
            name = "lib" if "lib" in target["kind"] else target["name"]
            suites[name] = artifact["executable"]
    return {name: path for name, path in suites.items() if name not in NOT_THERE}, objects


def needed(program, arch):
    """What it is linked to: its path in the machine, and its path here."""
    folder = LIBRARIES[arch]
    if not folder:
        listed = subprocess.run(["ldd", program], capture_output=True, text=True).stdout
        return {path: path for path in re.findall(r"/\S+", listed)}
    names = os.listdir(folder)
    return {f"/lib/{name}": os.path.join(folder, name) for name in names
            if re.fullmatch(r"(ld-linux-aarch64|libc|libm|libdl|libpthread|librt|libgcc_s)"
                            r"\.so\.\d+", name)}


class Archive:
    """An archive of the kind that the kernel unpacks (cpio, "newc")."""

    def __init__(self, path):
        self.file, self.number, self.folders = open(path, "wb"), 0, set()

    def put(self, name, mode, data=b""):
        self.number += 1
        fields = [self.number, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name) + 1, 0]
        head = b"070701" + b"".join(b"%08x" % field for field in fields)
        head += name.encode() + b"\0"
        self.file.write(head + b"\0" * (-len(head) % 4))
        self.file.write(data + b"\0" * (-len(data) % 4))

    def folder(self, name):
        if name and name not in self.folders:
            self.folder(os.path.dirname(name))
            self.folders.add(name)
            self.put(name, 0o040755)

    def add(self, name, data):
        name = name.lstrip("/")
        self.folder(os.path.dirname(name))
        self.put(name, 0o100755, data)

    def end(self):
        self.put("TRAILER!!!", 0)
        self.file.close()


def read(path):
    with open(path, "rb") as file:
        return file.read()


def stripped(path, arch, scratch):
    strip = "strip" if LIBRARIES[arch] is None else "aarch64-linux-gnu-strip"
    done = subprocess.run([strip, "--strip-debug", "-o", scratch, path], capture_output=True)
    if done.returncode != 0:
        return read(path)
    data = read(scratch)
    os.remove(scratch)
    return data


def make(path, arch, busybox, suites, objects):
    """Writes the archive. Each test program lies in it packed, and is unpacked when it is
    its turn: so they take little of a small machine's memory."""
    archive = Archive(path)
    for folder in ("proc", "sys", "dev", "tmp", "tests/deps"):
        archive.folder(folder)
    archive.add("bin/busybox", read(busybox))
    for script in ("init", "look"):
        archive.add(script, read(os.path.join(os.path.dirname(__file__), script)))
    links = {}
    for name, program in sorted(suites.items()):
        links.update(needed(program, arch))
        data = stripped(program, arch, path + ".stripped")
        archive.add(f"tests/packed/{name}.gz", gzip.compress(data, 1))
    for path_here in objects:
        links.update(needed(path_here, arch))
        data = stripped(path_here, arch, path + ".stripped")
        archive.add(f"tests/examples/{os.path.basename(path_here)}", data)
    for inside, outside in sorted(links.items()):
        archive.add(inside, read(outside))
    archive.end()
