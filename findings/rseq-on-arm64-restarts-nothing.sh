#!/usr/bin/env bash
# Linux 7.0 on arm64 registers restartable sequences, says that membarrier restarts them,
# and restarts none.
#
# Expected: rseq(2) returns 0, so a thread that is preempted within its critical section
# comes back at the abort handler, and does not go on. And after
# membarrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED_RSEQ), which returns 0, no other thread of the
# process is still within a section that it had begun before: membarrier(2). A kernel that
# cannot do it would have refused one of the calls.
#
# Seen with Debian's linux-binary-7.0.13+deb13-arm64 7.0.13-1~bpo13+1 under QEMU:
#     7.0.13+deb13-arm64: rseq 0, membarrier for one processor 0: goes on
#     7.0.13+deb13-arm64: rseq 0, membarrier for all 0: goes on
#     7.0.13+deb13-arm64: rseq 0, preempted by another thread: goes on
# The same program on linux-binary-7.2.12+deb13-arm64 7.2.12-1~bpo13+1 has "aborted" thrice.
# So nothing that the calls return says whether sequences work: that has to be tried.
#
# Needs apt with a Debian mirror, qemu-system-aarch64, aarch64-linux-gnu-gcc with its libc,
# python3; 350 MB in the temporary folder; some minutes. Ends with 0 if it is so, 1 if it is
# otherwise, 2 if it could not be tried.
set -Eeuo pipefail
here=$(mktemp -d)
trap 'rm -rf "$here"' EXIT
trap 'echo "could not be tried" >&2; exit 2' ERR
cd "$here"

for tool in apt-get dpkg-deb python3 qemu-system-aarch64 aarch64-linux-gnu-gcc; do
    command -v "$tool" >/dev/null || { echo "there is no $tool here" >&2; exit 2; }
done

mirror=$(apt-get indextargets --format '$(REPO_URI) $(LABEL)' | awk '$2 == "Debian" && !seen { print $1; seen = 1 }')
mkdir -p apt/lists/partial apt/cache/archives/partial
: >apt/status
echo "deb [arch=arm64] $mirror trixie-backports main" >apt/sources.list
own_apt() {
    apt-get -q -o Dir::State="$here/apt" -o Dir::State::Lists="$here/apt/lists" \
        -o Dir::State::Status="$here/apt/status" -o Dir::Cache="$here/apt/cache" \
        -o Dir::Etc::SourceList="$here/apt/sources.list" -o Dir::Etc::SourceParts=/dev/null \
        -o APT::Architecture=arm64 -o APT::Architectures=arm64 -o Acquire::Languages=none \
        -o APT::Sandbox::User= "$@"
}
own_apt update >apt.log 2>&1

cat >init.c <<'C'
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/reboot.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

#define SIGNATURE 0xd428bc00
enum { RSEQ = 1 << 7, REGISTER_RSEQ = 1 << 8, ONE_CPU = 1 };
enum how { ONE, ALL, PREEMPTED };

static uint32_t area[8] __attribute__((aligned(32)));
static volatile uint32_t ready, inside, told;
static long registered;
static int end;

static void keep_on(int cpu)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    sched_setaffinity(0, sizeof set, &set);
}

/* Spins in a section until it is told, for so many rounds at most. 0: it was aborted; 1: it
   was told; 2: it was not. */
static int section(void)
{
    uint64_t rounds = 1000000000;
    int result;
    asm volatile(
        ".pushsection .sections, \"aw\"\n"
        ".balign 32\n"
        "3: .long 0, 0\n"
        ".quad 1f, 2f - 1f, 4f\n"
        ".popsection\n"
        "adrp x9, 3b\n"
        "add x9, x9, :lo12:3b\n"
        "str x9, [%[area], 8]\n"
        "1: mov w9, 1\n"
        "str w9, [%[inside]]\n"
        "6: mov %w[result], 1\n"
        "ldar w9, [%[told]]\n"
        "cbnz w9, 2f\n"
        "mov %w[result], 2\n"
        "subs %[rounds], %[rounds], 1\n"
        "b.ne 6b\n"
        "2: b 5f\n"
        ".inst 0xd428bc00\n"
        "4: mov %w[result], 0\n"
        "5:\n"
        : [result] "=&r"(result), [rounds] "+r"(rounds)
        : [area] "r"(area), [inside] "r"(&inside), [told] "r"(&told)
        : "x9", "memory", "cc");
    return result;
}

static void *other(void *cpu)
{
    keep_on(*(int *)cpu);
    memset(area, 0, sizeof area);
    registered = syscall(SYS_rseq, area, sizeof area, 0, SIGNATURE) ? errno : 0;
    ready = 1;
    end = registered ? 2 : section();
    syscall(SYS_rseq, area, sizeof area, 1, SIGNATURE);
    return NULL;
}

static void try(enum how how, const char *kernel)
{
    const char *ends[] = { "aborted", "goes on", "was not told" };
    int cpu = how == PREEMPTED ? 0 : 1;
    long done = 0;
    pthread_t thread;

    ready = inside = told = 0;
    keep_on(0);
    pthread_create(&thread, NULL, other, &cpu);
    while (!ready || (!registered && !inside))
        usleep(1000);
    if (how != PREEMPTED)
        done = syscall(SYS_membarrier, RSEQ, how == ONE ? ONE_CPU : 0, cpu) ? errno : 0;
    told = 1;
    pthread_join(thread, NULL);
    printf("said %s: rseq %ld, ", kernel, registered);
    if (how == PREEMPTED)
        printf("preempted by another thread: %s\n", ends[end]);
    else
        printf("membarrier for %s %ld: %s\n", how == ONE ? "one processor" : "all", done, ends[end]);
}

int main(int count, char **words)
{
    struct utsname name;
    /* The C library is kept from registering an area: a thread can have one only. */
    if (!getenv("GLIBC_TUNABLES")) {
        setenv("GLIBC_TUNABLES", "glibc.pthread.rseq=0", 1);
        return execv("/init", words);
    }
    uname(&name);
    syscall(SYS_membarrier, REGISTER_RSEQ, 0, 0);
    for (int how = ONE; how <= PREEMPTED; how++)
        try(how, name.release);
    fflush(stdout);
    return reboot(RB_POWER_OFF);
}
C
aarch64-linux-gnu-gcc -O1 -static -o init init.c -lpthread
python3 - <<'P'
data = open("init", "rb").read()
with open("initramfs", "wb") as file:
    for name, mode, data in [(b"init", 0o100755, data), (b"TRAILER!!!", 0, b"")]:
        fields = [1, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name) + 1, 0]
        head = b"070701" + b"".join(b"%08x" % field for field in fields) + name + b"\0"
        for part in (head, data):
            file.write(part + b"\0" * (-len(part) % 4))
P

# What the program says on a kernel.
on() {
    own_apt download "$1=$2" >apt.log 2>&1
    rm -rf package
    dpkg-deb -x "$1"_*.deb package
    rm "$1"_*.deb
    timeout 500 qemu-system-aarch64 -M virt,gic-version=3 -cpu neoverse-n1 -accel tcg,thread=multi \
        -smp 2 -m 1024 -nographic -no-reboot -nic none \
        -kernel "$(find package -name 'vmlinuz*' -type f)" -initrd initramfs \
        -append "console=ttyAMA0 panic=-1 quiet loglevel=0" </dev/null >said.log 2>&1
    tr -d '\r' <said.log | sed -n 's/.*said //p' | tee said
    # Else the machine did not come to its end.
    [ "$(wc -l <said)" = 3 ]
}
# Whether it said that of each of its three tries.
all() {
    [ "$(grep -c "$1" said || true)" = 3 ] || { echo "it is otherwise now" >&2; exit 1; }
}
on linux-binary-7.2.12+deb13-arm64 '7.2.12-1~bpo13+1'
all 'rseq 0, .*: aborted$'
on linux-binary-7.0.13+deb13-arm64 '7.0.13-1~bpo13+1'
all 'rseq 0, \(membarrier .* 0\|preempted .*\): goes on$'
echo "it is so"
