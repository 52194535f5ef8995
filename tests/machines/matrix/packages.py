"""Debian's packages, through an apt with a state of its own in the cache."""

import os
import re
import shutil
import subprocess
from dataclasses import dataclass


class Missing(Exception):
    """Something that is needed cannot be had here; says what and why."""


@dataclass(frozen=True)
class Pin:
    name: str
    suite: str
    arch: str
    package: str
    version: str


def pins(path):
    """What is pinned: (name, architecture) to pin."""
    found = {}
    with open(path) as lines:
        for line in lines:
            words = line.split("#")[0].split()
            if words:
                pin = Pin(*words)
                found[pin.name, pin.arch] = pin
    return found


def mirror():
    """Where this system has Debian's packages from."""
    if not shutil.which("apt-get") or not shutil.which("dpkg-deb"):
        raise Missing("there is no apt here")
    listed = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(REPO_URI)|$(LABEL)|$(COMPONENT)"],
        capture_output=True, text=True)
    for line in listed.stdout.splitlines():
        uri, label, component = line.split("|")
        if (label, component) == ("Debian", "main"):
            return uri
    raise Missing("apt knows no mirror of Debian here")


class Apt:
    """One suite for one architecture."""

    def __init__(self, folder, suite, arch):
        self.suite, self.arch = suite, arch
        self.folder = os.path.join(folder, f"{suite}-{arch}")
        self.updated = False

    def run(self, *command, **more):
        own = {
            "Dir::State": self.folder,
            "Dir::State::Lists": f"{self.folder}/lists",
            "Dir::State::Status": f"{self.folder}/status",
            "Dir::Cache": f"{self.folder}/cache",
            "Dir::Etc::SourceList": f"{self.folder}/sources.list",
            "Dir::Etc::SourceParts": "/dev/null",
            "APT::Architecture": self.arch,
            "APT::Architectures": self.arch,
            "APT::Sandbox::User": "root" if os.geteuid() == 0 else "",
            "Acquire::Languages": "none",
        }
        options = [word for name, value in own.items() for word in ("-o", f"{name}={value}")]
        return subprocess.run(
            [*command[:1], *options, *command[1:]], capture_output=True, text=True, **more)

    def update(self):
        if self.updated:
            return
        for name in ("lists/partial", "cache/archives/partial"):
            os.makedirs(os.path.join(self.folder, name), exist_ok=True)
        open(os.path.join(self.folder, "status"), "w").close()
        with open(os.path.join(self.folder, "sources.list"), "w") as sources:
            print(f"deb [arch={self.arch}] {mirror()} {self.suite} main", file=sources)
        done = self.run("apt-get", "update", "-q", "--error-on=any")
        if done.returncode != 0:
            raise Missing(f"apt has no list of {self.suite}: {last_line(done.stderr)}")
        self.updated = True

    def download(self, what, folder):
        """The path of the package file; `None` if the mirror has no such version."""
        done = self.run("apt-get", "download", "-q", what, cwd=folder)
        files = [name for name in os.listdir(folder) if name.endswith(".deb")]
        return os.path.join(folder, files[0]) if done.returncode == 0 and files else None

    def present(self, pin):
        """The suite's present package of the same kind, and its version."""
        packages = [pin.package]
        if pin.package.startswith("linux-"):
            shown = self.run("apt-cache", "depends", f"linux-image-{self.arch}").stdout
            named = re.search(r"Depends: linux-image-(\d\S*)$", shown, re.M)
            if not named:
                raise Missing(f"{self.suite} has no kernel for {self.arch}")
            # From Linux 7 on the kernel itself is in a package that the image depends on.
            packages = [f"linux-{part}-{named.group(1)}" for part in ("binary", "image")]
        for package in packages:
            shown = self.run("apt-cache", "show", "--no-all-versions", package).stdout
            version = re.search(r"^Version: (\S+)$", shown, re.M)
            if version:
                return package, version.group(1)
        raise Missing(f"{self.suite} has no {packages[-1]}")


def last_line(text):
    lines = text.strip().splitlines()
    return lines[-1] if lines else "it says nothing"


class Cache:
    """The folder that holds what was fetched: one file of each package."""

    def __init__(self, folder, pinned):
        self.folder, self.pins = folder, pinned
        self.apts = {}

    def get(self, name, arch, inside):
        """The file of the package that matches `inside`; and the package's version."""
        pin = self.pins.get((name, arch))
        if not pin:
            raise Missing(f"packages.list has no {name} for {arch}")
        held = os.path.join(self.folder, "packages", f"{arch}-{name}")
        written = os.path.join(held, "version")
        file = os.path.join(held, "file")
        pinned = f"{pin.package}={pin.version}"
        if os.path.exists(written):
            with open(written) as lines:
                wanted, got = lines.read().split()
            if wanted == pinned:
                return file, got
        shutil.rmtree(held, ignore_errors=True)
        os.makedirs(held)
        got = self.fetch(pin, pinned, held, inside, file)
        with open(written, "w") as lines:
            print(pinned, got, file=lines)
        return file, got

    def fetch(self, pin, pinned, held, inside, file):
        key = (pin.suite, pin.arch)
        apt = self.apts.setdefault(key, Apt(os.path.join(self.folder, "apt"), *key))
        apt.update()
        got = pinned
        archive = apt.download(pinned, held)
        if archive is None:
            got = "=".join(apt.present(pin))
            print(f"{pinned} has gone from {pin.suite}: {got} instead", flush=True)
            archive = apt.download(got, held)
            if archive is None:
                raise Missing(f"apt cannot fetch {got}")
        unpacked = os.path.join(held, "unpacked")
        subprocess.run(["dpkg-deb", "-x", archive, unpacked], check=True)
        found = [
            os.path.join(at, name)
            for at, _, names in os.walk(unpacked) for name in names
            if re.fullmatch(inside, os.path.relpath(os.path.join(at, name), unpacked))
        ]
        if len(found) != 1:
            raise Missing(f"{got} holds {len(found)} files {inside}")
        os.rename(found[0], file)
        shutil.rmtree(unpacked)
        os.remove(archive)
        return got


def install(programs, allowed):
    """Has Debian's packages of these programs installed: program to package."""
    lacking = {name: package for name, package in programs.items() if not shutil.which(name)}
    if not lacking:
        return
    names = " ".join(sorted(set(lacking.values())))
    if not allowed:
        raise Missing(f"{names} is not installed here, and this run installs nothing")
    if os.geteuid() != 0:
        raise Missing(f"{names} is not installed here; root may install it")
    print(f"installing {names}", flush=True)
    subprocess.run(["apt-get", "update", "-q"], capture_output=True)
    done = subprocess.run(
        ["apt-get", "install", "-y", "-q", "--no-install-recommends", *names.split()],
        capture_output=True, text=True)
    if done.returncode != 0:
        raise Missing(f"{names} cannot be installed: {last_line(done.stderr)}")
