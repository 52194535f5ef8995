/*
 * A rival of one's own for `hugepool bench --rival NAME=FILE`.
 *
 * FILE is a shared object that has the first two functions; the others are for those who need them. Each round of the
 * benchmark is a process of its own, which loads the object once, with its symbols for itself alone (RTLD_LOCAL).
 *
 *     gcc -O2 -shared -fPIC -o libmine.so mine.c
 *
 * docs/rivals.md is the guide.
 */
#ifndef HUGEPOOL_RIVAL_H
#define HUGEPOOL_RIVAL_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

/*
 * A buffer of `size` bytes, aligned to `alignment`, a power of two. It is the caller's until it is given back. Any
 * number of threads call this at once. Null: there is none; that is a fault, unless more buffers are out than the object
 * was opened for.
 */
void *hp_rival_take(size_t size, size_t alignment);

/* Takes a buffer back, from any thread, with the size and the alignment that it was taken with. */
void hp_rival_give(void *buffer, size_t size, size_t alignment);

/*
 * Before the first buffer is taken, in one thread: from now until hp_rival_close all buffers are of this size and
 * alignment, `buffers` of them are out at once at the most, and there must be so many; `threads` threads take and give, and
 * one more that looks at them before and counts them after. Null: it is open. Otherwise the reason for which there are no
 * such buffers, in some words, without the size and the alignment; then it is not open.
 *
 * Without this function there is no bound, and any size is asked for.
 */
const char *hp_rival_open(size_t size, size_t alignment, size_t buffers, size_t threads);

/* After the last buffer was given back, in one thread. It may be opened again, in another way. */
void hp_rival_close(void);

/* In each thread before it takes or gives, and after it has done so for the time being. Neither is timed. */
void hp_rival_enter(void);
void hp_rival_leave(void);

/* What it is and of which version, for the head of a report, such as "tcmalloc 2.10". */
const char *hp_rival_version(void);

#ifdef __cplusplus
}
#endif
#endif
