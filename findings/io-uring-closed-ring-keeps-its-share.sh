#!/usr/bin/env bash
# A ring of io_uring that was closed still has its share of RLIMIT_MEMLOCK.
#
# Expected: close(2) of the last descriptor of a ring gives back what was registered with it,
# as munlock(2) gives back what was locked: so a program that closes a ring, and registers the
# same memory with the next one, is within its limit if it was before.
#
# Seen with Debian's linux-binary-7.2.12+deb13-amd64 7.2.12-1~bpo13+1 under QEMU, as a user
# without CAP_IPC_LOCK and with a limit of 8 MiB, in most of 20 tries:
#     mlock of 6 MiB, munlock, mlock of other 6 MiB: 0
#     6 MiB for a ring, close, 6 MiB for another: ENOMEM, and later granted
#     6 MiB for a ring, unregister and close, 6 MiB for another: at once
# A worker of the kernel takes a closed ring apart, some time later, and only that gives the
# share back. So ENOMEM may mean "not yet": unregister before a ring is closed, which is at
# once, and ask again before a refusal is believed: the limit is shared with every process of
# the user, which may have just closed one, too.
#
# Needs apt with a Debian mirror, qemu-system-x86_64, gcc with its static libc, python3;
# 200 MB in the temporary folder; some minutes. Ends with 0 if it is so, 1 if it is otherwise,
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
echo "deb [arch=amd64] $mirror trixie-backports main" >apt/sources.list
own_apt() {
    apt-get -q -o Dir::State="$here/apt" -o Dir::State::Lists="$here/apt/lists" \
        -o Dir::State::Status="$here/apt/status" -o Dir::Cache="$here/apt/cache" \
        -o Dir::Etc::SourceList="$here/apt/sources.list" -o Dir::Etc::SourceParts=/dev/null \
        -o APT::Architecture=amd64 -o APT::Architectures=amd64 -o Acquire::Languages=none \
        -o APT::Sandbox::User= "$@"
}
own_apt update >apt.log 2>&1
own_apt download linux-binary-7.2.12+deb13-amd64='7.2.12-1~bpo13+1' >apt.log 2>&1
dpkg-deb -x linux-binary-*.deb package

cat >init.c <<'C'
#define _GNU_SOURCE
#include <errno.h>
#include <linux/io_uring.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/reboot.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#define MIB (1L << 20)
#define TRIES 20

static struct iovec memory = {.iov_len = 6 * MIB};

static int ring(void)
{
    struct io_uring_params params = {0};
    return syscall(SYS_io_uring_setup, 8, &params);
}

static int take(int ring)
{
    return syscall(SYS_io_uring_register, ring, IORING_REGISTER_BUFFERS, &memory, 1) ? errno : 0;
}

/* Asks until it is granted; whether that was at once, and -1 if it never was. */
static int at_once(int ring)
{
    int first = take(ring), last = first;
    for (int tries = 0; last == ENOMEM && tries < 10000; tries++) {
        usleep(1000);
        last = take(ring);
    }
    return last ? -1 : first == 0;
}

/* In a process of a user without rights. */
static void child(void (*work)(void))
{
    pid_t pid = fork();
    if (pid == 0) {
        struct rlimit limit = {8 * MIB, 8 * MIB};
        setrlimit(RLIMIT_MEMLOCK, &limit);
        if (setresgid(65534, 65534, 65534) || setresuid(65534, 65534, 65534))
            _exit(1);
        memory.iov_base = mmap(NULL, memory.iov_len, PROT_READ | PROT_WRITE,
                               MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
        work();
        fflush(stdout);
        _exit(0);
    }
    waitpid(pid, NULL, 0);
}

static void locks(void)
{
    char *other = mmap(NULL, memory.iov_len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    int first = mlock(memory.iov_base, memory.iov_len);
    munlock(memory.iov_base, memory.iov_len);
    printf("said mlock of 6 MiB, munlock, mlock of other 6 MiB: %s\n",
           first || mlock(other, memory.iov_len) ? "refused" : "0");
}

/* A ring takes 6 MiB and goes, and the next one asks for as much, TRIES times. */
static void rings(const char *how, int unregisters)
{
    int granted = 0, refused = 0;
    for (int tries = 0; tries < TRIES; tries++) {
        int first = ring(), second = ring();
        if (at_once(first) >= 0) {
            if (unregisters)
                syscall(SYS_io_uring_register, first, IORING_UNREGISTER_BUFFERS, NULL, 0);
            close(first);
            int got = at_once(second);
            granted += got == 1;
            refused += got == 0;
        }
        syscall(SYS_io_uring_register, second, IORING_UNREGISTER_BUFFERS, NULL, 0);
        close(second);
    }
    /* Now and then the worker comes in between. */
    printf("said 6 MiB for a ring, %s, 6 MiB for another: %s\n", how,
           granted == TRIES ? "at once" : refused > TRIES / 2 ? "ENOMEM, and later granted" : "otherwise");
}

static void closes(void)
{
    rings("close", 0);
    rings("unregister and close", 1);
}

int main(void)
{
    child(locks);
    child(closes);
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

timeout 500 qemu-system-x86_64 -cpu max -accel tcg -m 1024 -nographic -no-reboot -nic none \
    -kernel "$(find package -name 'vmlinuz*' -type f)" -initrd initramfs \
    -append "console=ttyS0 panic=-1 quiet loglevel=0" </dev/null >said.log 2>&1
tr -d '\r' <said.log | sed -n 's/.*said //p' | tee said
# Else the machine did not come to its end.
[ "$(wc -l <said)" = 3 ]
cat >expected <<'S'
mlock of 6 MiB, munlock, mlock of other 6 MiB: 0
6 MiB for a ring, close, 6 MiB for another: ENOMEM, and later granted
6 MiB for a ring, unregister and close, 6 MiB for another: at once
S
cmp -s said expected || { echo "it is otherwise now" >&2; exit 1; }
echo "it is so"
