/*
 * A rival of one's own: the C library's aligned_alloc.
 *
 *     gcc -O2 -shared -fPIC -o libmine.so example.c
 *     hugepool bench --rival mine=./libmine.so
 */
#include <stdlib.h>

#include "hugepool_rival.h"

void *hp_rival_take(size_t size, size_t alignment)
{
    /* aligned_alloc wants a size that is a multiple of the alignment. */
    return aligned_alloc(alignment, (size + alignment - 1) & -alignment);
}

void hp_rival_give(void *buffer, size_t size, size_t alignment)
{
    (void)size;
    (void)alignment;
    free(buffer);
}
