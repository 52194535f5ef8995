#!/usr/bin/env bash
# A restartable sequence is aborted although nothing happened to its thread in it.
#
# Expected: a sequence is aborted if, while it is under way, its thread is preempted, moved to
# another processor, gets a signal, or a membarrier(2) is made for it. So a thread that has all
# signals blocked, and that was not switched from its processor according to getrusage(2), was
# aborted by a membarrier.
#
# Seen with Debian's linux-image-6.12.117+deb13-amd64 6.12.117-1 and
# linux-binary-7.2.12+deb13-amd64 7.2.12-1~bpo13+1 under QEMU. A thread spins in a sequence while
# the kernel has something to do for it on its way out (here a timer of its processor time
# expires, whose signal is blocked; a look at the nodes of its memory is another such thing).
# Of the sequences in which the thread was not switched:
#     6.12 after a sleep: aborted
#     6.12 after an aborted sequence: not aborted
#     7.2 after a sleep: not aborted
# The older kernel notes a switch for the thread, and forgets it only when that is in a sequence
# as it leaves the kernel: a switch from before the sequence aborts it. So an abort proves a
# cause within the sequence only if the one before it was aborted, too, and the thread was not
# switched since.
#
# Needs apt with a Debian mirror, qemu-system-x86_64, gcc with its static libc, python3;
# 700 MB in the temporary folder; some minutes. Ends with 0 if it is so, 1 if it is otherwise,
# 2 if it could not be tried.
set -Eeuo pipefail
here=$(mktemp -d)
trap 'rm -rf "$here"' EXIT
trap 'echo "could not be tried" >&2; exit 2' ERR
cd "$here"

for tool in apt-get dpkg-deb python3 qemu-system-x86_64 gcc; do
    command -v "$tool" >/dev/null || { echo "there is no $tool here" >&2; exit 2; }
done

mirror=$(apt-get indextargets --format '$(REPO_URI) $(LABEL)' | awk '$2 == "Debian" && !seen { print $1; seen = 1 }')
mkdir -p apt/lists/partial apt/cache/archives/partial
: >apt/status
for suite in trixie trixie-backports; do
    echo "deb [arch=amd64] $mirror $suite main"
done >apt/sources.list
own_apt() {
    apt-get -q -o Dir::State="$here/apt" -o Dir::State::Lists="$here/apt/lists" \
        -o Dir::State::Status="$here/apt/status" -o Dir::Cache="$here/apt/cache" \
        -o Dir::Etc::SourceList="$here/apt/sources.list" -o Dir::Etc::SourceParts=/dev/null \
        -o APT::Architecture=amd64 -o APT::Architectures=amd64 -o Acquire::Languages=none \
        -o APT::Sandbox::User= "$@"
}
own_apt update >apt.log 2>&1
own_apt download linux-image-6.12.117+deb13-amd64='6.12.117-1' \
    linux-binary-7.2.12+deb13-amd64='7.2.12-1~bpo13+1' >apt.log 2>&1
dpkg-deb -x linux-image-*.deb 6.12
dpkg-deb -x linux-binary-*.deb 7.2

cat >init.c <<'C'
#define _GNU_SOURCE
#include <linux/rseq.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/reboot.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#define ROUNDS 100

extern const ptrdiff_t __rseq_offset;

static timer_t timer;
static sigset_t expired;
static unsigned turns = 1000;

/* Spins in a sequence for so many turns; whether it was aborted. */
static int spin(unsigned turns)
{
    struct rseq *area = (void *)((char *)__builtin_thread_pointer() + __rseq_offset);
    int aborted = 0;
    __asm__ volatile(
        ".pushsection .data\n"
        ".balign 32\n"
        "3: .long 0, 0\n"
        ".quad 1f, 2f - 1f, 4f\n"
        ".popsection\n"
        "leaq 3b(%%rip), %%rax\n"
        "movq %%rax, %[sequence]\n"
        "1: pause\n"
        "decl %[turns]\n"
        "jnz 1b\n"
        "2: jmp 6f\n"
        ".long 0x53053053\n"
        "4: movl $1, %[aborted]\n"
        "6:\n"
        : [aborted] "+m"(aborted), [turns] "+r"(turns), [sequence] "=m"(area->rseq_cs)
        :
        : "rax", "memory", "cc");
    return aborted;
}

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec + time.tv_nsec / 1e9;
}

/* A sequence of some 50 ms, in the midst of which the timer expires. */
static int sequence(void)
{
    struct itimerspec soon = {.it_value = {.tv_nsec = 10000000}};
    timer_settime(timer, 0, &soon, NULL);
    int aborted = spin(turns);
    /* An abort was at the expiry. */
    sigtimedwait(&expired, NULL, &(struct timespec){0});
    return aborted;
}

static long switches(void)
{
    struct rusage usage;
    getrusage(RUSAGE_THREAD, &usage);
    return usage.ru_nvcsw + usage.ru_nivcsw;
}

static void say(const char *how, const int *count)
{
    int most = count[1] > 9 * count[0] ? 1 : count[0] > 9 * count[1] ? 0 : -1;
    printf("said %s: %s\n", how,
           count[0] + count[1] < ROUNDS / 10 || most < 0 ? "otherwise" : most ? "aborted" : "not aborted");
}

int main(void)
{
    sigset_t all;
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, NULL);
    sigemptyset(&expired);
    sigaddset(&expired, SIGUSR1);
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1};
    timer_create(CLOCK_THREAD_CPUTIME_ID, &event, &timer);
    for (double took = 0; took < 0.05; turns *= 2) {
        double begun = now();
        for (unsigned left = turns; left; left--)
            __builtin_ia32_pause();
        took = now() - begun;
    }
    int sleep[2] = {0}, again[2] = {0};
    for (int round = 0; round < ROUNDS; round++) {
        usleep(1000);
        long before = switches();
        int first = sequence();
        if (switches() != before)
            continue;
        sleep[first]++;
        int second = sequence();
        if (first && switches() == before)
            again[second]++;
    }
    say("after a sleep", sleep);
    if (sleep[1] > sleep[0])
        say("after an aborted sequence", again);
    fflush(stdout);
    return reboot(RB_POWER_OFF);
}
C
gcc -O1 -static -o init init.c
python3 - <<'P'
data = open("init", "rb").read()
with open("initramfs", "wb") as file:
    for name, mode, data in [(b"init", 0o100755, data), (b"TRAILER!!!", 0, b"")]:
        fields = [1, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name) + 1, 0]
        head = b"070701" + b"".join(b"%08x" % field for field in fields) + name + b"\0"
        for part in (head, data):
            file.write(part + b"\0" * (-len(part) % 4))
P

for kernel in 6.12 7.2; do
    timeout 500 qemu-system-x86_64 -cpu max -accel tcg,thread=multi -smp 2 -m 1024 -nographic \
        -no-reboot -nic none -kernel "$(find "$kernel" -name 'vmlinuz*' -type f)" -initrd initramfs \
        -append "console=ttyS0 panic=-1 quiet loglevel=0" </dev/null >said.log 2>&1
    tr -d '\r' <said.log | sed -n "s/.*said /$kernel /p"
done | tee said
# Else a machine did not come to its end.
[ "$(wc -l <said)" = 3 ]
cat >expected <<'S'
6.12 after a sleep: aborted
6.12 after an aborted sequence: not aborted
7.2 after a sleep: not aborted
S
cmp -s said expected || { echo "it is otherwise now" >&2; exit 1; }
echo "it is so"
