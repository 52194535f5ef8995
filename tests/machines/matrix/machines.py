"""The machines: what each is made of, and why it is there."""

from dataclasses import dataclass

GIB = 1024

# The suite that counts what processors share (crossings/): a build of its own.
CROSSINGS = "crossings"


@dataclass(frozen=True)
class Machine:
    name: str
    arch: str
    # A kernel of packages.list.
    kernel: str
    why: str
    cpus: int = 2
    # MiB.
    memory: int = 3 * GIB
    # Further arguments of the emulator.
    arguments: tuple = ()
    # Further words of the kernel's command line. `tests.NAME=VALUE` are for `init`.
    words: str = ""
    # Minutes after which a suite counts as hanging.
    minutes: int = 40
    # The suites that it is there for; none: all that are not of other machines alone.
    suites: tuple = ()

    def has(self, suite):
        """Whether it is to run a suite."""
        return suite in self.suites if self.suites else suite != CROSSINGS

    def shape(self):
        """What it says of itself at the head of its column."""
        cpus = "1 CPU" if self.cpus == 1 else f"{self.cpus} CPUs"
        return f"{cpus}, {self.memory // GIB} GiB; {self.why}"


# The pages are asked for in this order: those of 1 GiB before memory is in pieces.
PAGES = "hugepagesz=1G hugepages=2 hugepagesz=2M hugepages=24"

# Two nodes of two processors each.
NODES = (
    "-object", "memory-backend-ram,id=m0,size=3G",
    "-object", "memory-backend-ram,id=m1,size=3G",
    "-numa", "node,nodeid=0,cpus=0-1,memdev=m0",
    "-numa", "node,nodeid=1,cpus=2-3,memdev=m1",
)

MACHINES = [
    Machine("x86-5.10", "amd64", "5.10", "the oldest kernel with restartable caches"),
    Machine("x86-6.1", "amd64", "6.1", "one processor, little memory", cpus=1, memory=1 * GIB),
    Machine("x86-6.12", "amd64", "6.12", "two nodes, two pages of 1 GiB and 24 of 2 MiB",
            cpus=4, memory=6 * GIB, arguments=NODES, words=PAGES),
    Machine("x86-7.2", "amd64", "7.2", "the newest kernel"),
    Machine("x86-plug", "amd64", "6.12", "half of the processors go off and on line",
            cpus=16, memory=4 * GIB, words="tests.plug=8-15", minutes=120),
    Machine("x86-16", "amd64", "6.12", "16 processors, to count what they share",
            cpus=16, memory=4 * GIB, suites=(CROSSINGS,), minutes=120),
    Machine("x86-possible", "amd64", "6.12", "128 possible processors, of which 2 exist",
            arguments=("-smp", "2,maxcpus=128")),
    Machine("x86-group", "amd64", "6.12", "a control group with memory.max of 1 GiB",
            memory=4 * GIB, words="tests.group=1073741824"),
    Machine("arm-6.12", "arm64", "6.12", "no restartable caches"),
    Machine("arm-7.0", "arm64", "7.0", "a kernel whose rseq aborts nothing"),
    Machine("arm-7.2", "arm64", "7.2", "the newest kernel"),
]

# The part that `--short` runs: one machine, and what the rest stands on.
SHORT = "x86-6.1"
CORE = ["lib", "exact", "stress", "registration", "sections", "restart"]
