#!/usr/bin/env bash
# MADV_COLLAPSE of a memfd gives huge pages although shmem_enabled says "never"; but if the
# switch of the one size says so, it is refused, up to Linux 7.1.
#
# Expected: madvise(2) says that MADV_COLLAPSE is independent of the settings under
# /sys/kernel/mm/transparent_hugepage. So neither of the two "never" should matter, nor "deny".
# (Or, from the words, both "never" should forbid it.)
#
# Seen with Debian's linux-binary-7.1.13+deb13-amd64 7.1.13-1~bpo13+1 under QEMU:
#     7.1.13+deb13-amd64: shmem_enabled never, hugepages-2048kB/shmem_enabled inherit: 0, 2048 kB huge
#     7.1.13+deb13-amd64: shmem_enabled never, hugepages-2048kB/shmem_enabled never: EINVAL, 0 kB huge
#     7.1.13+deb13-amd64: shmem_enabled always, hugepages-2048kB/shmem_enabled never: EINVAL, 0 kB huge
#     7.1.13+deb13-amd64: shmem_enabled deny, hugepages-2048kB/shmem_enabled inherit: EINVAL, 0 kB huge
# and with linux-binary-7.2.12+deb13-amd64 7.2.12-1~bpo13+1 the same, but for
#     7.2.12+deb13-amd64: shmem_enabled never, hugepages-2048kB/shmem_enabled never: 0, 2048 kB huge
#     7.2.12+deb13-amd64: shmem_enabled always, hugepages-2048kB/shmem_enabled never: 0, 2048 kB huge
#
# Needs apt with a Debian mirror, qemu-system-x86_64, gcc with its static libc, python3;
# 350 MB in the temporary folder; some minutes. Ends with 0 if it is so, 1 if it is otherwise,
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

cat >init.c <<'C'
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

#define SWITCHES "/sys/kernel/mm/transparent_hugepage/"
#define MADV_COLLAPSE 25
#define HUGE (2UL << 20)

static void set(const char *name, const char *word)
{
    int file = open(name, O_WRONLY);
    if (write(file, word, strlen(word)) < 0)
        perror(name);
    close(file);
}

/* What /proc/self/smaps says of the mapping at `at`, in kB. */
static long huge(uintptr_t at)
{
    char line[256];
    int within = 0;
    long kib = -1;
    FILE *file = fopen("/proc/self/smaps", "r");
    while (fgets(line, sizeof line, file)) {
        uintptr_t start, end;
        if (sscanf(line, "%lx-%lx ", &start, &end) == 2)
            within = start <= at && at < end;
        else if (within)
            sscanf(line, "ShmemPmdMapped: %ld", &kib);
    }
    fclose(file);
    return kib;
}

static void try(const char *kernel, const char *all, const char *one)
{
    int failed, file = memfd_create("memory", 0);
    char *room = mmap(NULL, 2 * HUGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    char *at = (char *)(((uintptr_t)room + HUGE - 1) & ~(HUGE - 1));
    ftruncate(file, HUGE);
    mmap(at, HUGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, file, 0);
    /* In small pages. */
    set(SWITCHES "shmem_enabled", "never");
    set(SWITCHES "hugepages-2048kB/shmem_enabled", "never");
    memset(at, 1, HUGE);
    set(SWITCHES "shmem_enabled", all);
    set(SWITCHES "hugepages-2048kB/shmem_enabled", one);
    failed = madvise(at, HUGE, MADV_COLLAPSE);
    printf("said %s: shmem_enabled %s, hugepages-2048kB/shmem_enabled %s: %s, %ld kB huge\n",
           kernel, all, one, failed ? strerrorname_np(errno) : "0", huge((uintptr_t)at));
    munmap(room, 2 * HUGE);
    close(file);
}

int main(void)
{
    struct utsname name;
    mkdir("/proc", 0755);
    mkdir("/sys", 0755);
    mount("proc", "/proc", "proc", 0, NULL);
    mount("sys", "/sys", "sysfs", 0, NULL);
    uname(&name);
    try(name.release, "never", "inherit");
    try(name.release, "never", "never");
    try(name.release, "always", "never");
    try(name.release, "deny", "inherit");
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

# What the program says on a kernel.
on() {
    own_apt download "$1=$2" >apt.log 2>&1
    rm -rf package
    dpkg-deb -x "$1"_*.deb package
    rm "$1"_*.deb
    timeout 500 qemu-system-x86_64 -cpu max -accel tcg -m 1024 -nographic -no-reboot -nic none \
        -kernel "$(find package -name 'vmlinuz*' -type f)" -initrd initramfs \
        -append "console=ttyS0 panic=-1 quiet loglevel=0" </dev/null >said.log 2>&1
    tr -d '\r' <said.log | sed -n 's/.*said //p' | tee said
    # Else the machine did not come to its end.
    [ "$(wc -l <said)" = 4 ]
    cut -d: -f3 said >came
    cmp -s came expected || { echo "it is otherwise now" >&2; exit 1; }
}
printf ' %s\n' '0, 2048 kB huge' 'EINVAL, 0 kB huge' 'EINVAL, 0 kB huge' 'EINVAL, 0 kB huge' >expected
on linux-binary-7.1.13+deb13-amd64 '7.1.13-1~bpo13+1'
printf ' %s\n' '0, 2048 kB huge' '0, 2048 kB huge' '0, 2048 kB huge' 'EINVAL, 0 kB huge' >expected
on linux-binary-7.2.12+deb13-amd64 '7.2.12-1~bpo13+1'
echo "it is so"
