#!/usr/bin/env bash
# fallocate(2) of a file in tmpfs takes nothing if it ends with ENOSPC; of a memfd with
# MFD_HUGETLB it keeps every huge page that there was.
#
# Expected: memfd_create(2) says of MFD_HUGETLB that the file is made in hugetlbfs instead of
# tmpfs. In tmpfs a fallocate that ends with ENOSPC gives back what it had taken. So one that
# asks for more huge pages than there are should leave them to others, as mmap does, which
# refuses at once.
#
# Seen with Debian's linux-binary-7.2.12+deb13-amd64 7.2.12-1~bpo13+1 under QEMU, with 8 huge
# pages of 2 MiB, in 1 GiB of memory:
#     24 MiB in a tmpfs of 16: ENOSPC, holds 0 MiB
#     24 MiB of huge pages in a memfd: ENOSPC, holds 16 MiB, 0 huge pages are free
#     a mapping of one huge page: ENOMEM
#     after ftruncate to 0: 8 huge pages are free
# So who fills such a file by fallocate, and is refused, has to cut it, or close it, before
# anybody else gets a huge page, itself included; or map it first.
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
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <unistd.h>

#define MIB (1L << 20)

static long free_pages(void)
{
    char line[128];
    long pages = -1;
    FILE *file = fopen("/proc/meminfo", "r");
    while (file && fgets(line, sizeof line, file))
        sscanf(line, "HugePages_Free: %ld", &pages);
    if (file)
        fclose(file);
    return pages;
}

static const char *outcome(int failed) { return failed ? strerrorname_np(errno) : "0"; }

/* Asks for 24 MiB, and says what came of it and what the file has then. */
static void fill(const char *name, int file)
{
    struct stat now;
    ftruncate(file, 24 * MIB);
    printf("said 24 MiB %s: %s", name, outcome(fallocate(file, 0, 0, 24 * MIB)));
    fstat(file, &now);
    printf(", holds %ld MiB", (long)now.st_blocks * 512 / MIB);
}

int main(void)
{
    int file;
    void *other;
    mkdir("/proc", 0755);
    mkdir("/tmp", 0755);
    mount("proc", "/proc", "proc", 0, NULL);
    mount("tmp", "/tmp", "tmpfs", 0, "size=16m");
    fill("in a tmpfs of 16", open("/tmp/file", O_RDWR | O_CREAT, 0600));
    printf("\n");
    file = memfd_create("huge", MFD_HUGETLB);
    fill("of huge pages in a memfd", file);
    printf(", %ld huge pages are free\n", free_pages());
    other = mmap(NULL, 2 * MIB, PROT_READ | PROT_WRITE,
                 MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB, -1, 0);
    printf("said a mapping of one huge page: %s\n", outcome(other == MAP_FAILED));
    ftruncate(file, 0);
    printf("said after ftruncate to 0: %ld huge pages are free\n", free_pages());
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

timeout 500 qemu-system-x86_64 -cpu max -accel tcg -m 1024 -nographic -no-reboot -nic none \
    -kernel "$(find package -name 'vmlinuz*' -type f)" -initrd initramfs \
    -append "console=ttyS0 panic=-1 quiet loglevel=0 hugepages=8" </dev/null >said.log 2>&1
tr -d '\r' <said.log | sed -n 's/.*said //p' | tee said
# Else the machine did not come to its end.
[ "$(wc -l <said)" = 4 ]
cat >expected <<'S'
24 MiB in a tmpfs of 16: ENOSPC, holds 0 MiB
24 MiB of huge pages in a memfd: ENOSPC, holds 16 MiB, 0 huge pages are free
a mapping of one huge page: ENOMEM
after ftruncate to 0: 8 huge pages are free
S
cmp -s said expected || { echo "it is otherwise now" >&2; exit 1; }
echo "it is so"
