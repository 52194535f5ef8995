/* Counts what a process allocates and maps, where this is loaded before it (LD_PRELOAD), and
 * writes both numbers to the file that HUGEPOOL_COUNTS names when it ends. The functions are
 * those of the system; glibc's own other names of them are left out, as Rust uses none. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

extern void *__libc_malloc(size_t);
extern void *__libc_calloc(size_t, size_t);
extern void *__libc_realloc(void *, size_t);
extern void *__libc_memalign(size_t, size_t);

static atomic_ulong allocations, mappings;

void *malloc(size_t bytes)
{
    allocations++;
    return __libc_malloc(bytes);
}

void *calloc(size_t count, size_t bytes)
{
    allocations++;
    return __libc_calloc(count, bytes);
}

void *realloc(void *old, size_t bytes)
{
    allocations++;
    return __libc_realloc(old, bytes);
}

int posix_memalign(void **start, size_t alignment, size_t bytes)
{
    allocations++;
    *start = __libc_memalign(alignment, bytes);
    return *start ? 0 : 12;
}

void *mmap(void *start, size_t bytes, int protection, int flags, int file, off_t offset)
{
    static void *(*next)(void *, size_t, int, int, int, off_t);

    mappings++;
    if (!next)
        next = (void *(*)(void *, size_t, int, int, int, off_t))dlsym(RTLD_NEXT, "mmap");
    return next(start, bytes, protection, flags, file, offset);
}

__attribute__((destructor)) static void tell(void)
{
    const char *path = getenv("HUGEPOOL_COUNTS");
    unsigned long counted = allocations, mapped = mappings;
    FILE *file = path ? fopen(path, "w") : NULL;

    if (!file)
        return;
    fprintf(file, "%lu %lu\n", counted, mapped);
    fclose(file);
}
