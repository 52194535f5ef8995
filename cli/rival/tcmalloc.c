/*
 * tcmalloc as a rival: that of gperftools, which Debian has as libgoogle-perftools-dev.
 *
 *     gcc -O2 -shared -fPIC -o libtcmalloc-rival.so tcmalloc.c -ltcmalloc_minimal
 *     hugepool bench --rival tcmalloc=./libtcmalloc-rival.so
 *
 * Its functions are called by names of their own. Its malloc is for this object alone: the program's stays what it is.
 */
#include <gperftools/tcmalloc.h>

#include "hugepool_rival.h"

void *hp_rival_take(size_t size, size_t alignment)
{
    void *buffer;

    if (alignment < sizeof(void *))
        alignment = sizeof(void *);
    return tc_posix_memalign(&buffer, alignment, size) == 0 ? buffer : NULL;
}

void hp_rival_give(void *buffer, size_t size, size_t alignment)
{
    (void)size;
    (void)alignment;
    tc_free(buffer);
}

const char *hp_rival_version(void)
{
    return tc_version(NULL, NULL, NULL);
}
