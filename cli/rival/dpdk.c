/*
 * DPDK's mempool as a rival: fixed buffers, a ring of those that are free, and a cache in each thread.
 *
 *     gcc -O2 -shared -fPIC $(pkg-config --cflags libdpdk) -o libdpdk-rival.so dpdk.c \
 *         -lrte_mempool -lrte_ring -lrte_eal
 *     hugepool bench --rival dpdk=./libdpdk-rival.so
 *
 * The environment that DPDK runs in gets ordinary memory for its own tables (--no-huge --no-shconf) and no device. The
 * buffers lie in a mapping like the one of the benchmark's own simple pools: transparent huge pages, populated
 * beforehand. DPDK puts a header before each buffer, so that from one to the next it is the alignment further than the
 * size where the size is a multiple of it.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/mman.h>

#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_lcore.h>
#include <rte_mempool.h>
#include <rte_version.h>

#include "hugepool_rival.h"

/* What a mempool may be told: there is no device for which memory would have to be of one piece. */
#define FLAGS (RTE_MEMPOOL_F_NO_SPREAD | RTE_MEMPOOL_F_NO_IOVA_CONTIG)

static struct rte_mempool *pool;
static char *memory;
static size_t length;

/* Once in a process, and in the thread that opens. It is not to stay where DPDK puts it. */
static const char *begin(void)
{
    static int begun;
    static char why[128];
    int started;
    char cpu[16];
    char *arguments[] = {"hugepool", "--no-huge", "--no-shconf", "--no-pci", "--no-telemetry", "-m", "64",
                         "--log-level=lib.eal:error", "-l", cpu, NULL};
    cpu_set_t allowed;
    int first = 0;

    if (begun)
        return *why ? why : NULL;
    if (pthread_getaffinity_np(pthread_self(), sizeof allowed, &allowed) != 0)
        return "the processors of the thread are not known";
    while (first < CPU_SETSIZE - 1 && !CPU_ISSET(first, &allowed))
        first++;
    snprintf(cpu, sizeof cpu, "%d", first);
    started = rte_eal_init((int)(sizeof arguments / sizeof *arguments) - 1, arguments);
    if (started < 0)
        snprintf(why, sizeof why, "DPDK's environment does not start: %s", rte_strerror(rte_errno));
    pthread_setaffinity_np(pthread_self(), sizeof allowed, &allowed);
    begun = 1;
    return *why ? why : NULL;
}

/* Buffers that a thread's cache holds: a megabyte of them, but a few at least. */
static unsigned cached(size_t size)
{
    size_t buffers = (1 << 20) / size;

    return buffers < 4 ? 4 : buffers > 32 ? 32 : (unsigned)buffers;
}

static const char *given_up(int error)
{
    hp_rival_close();
    return rte_strerror(error);
}

const char *hp_rival_open(size_t size, size_t alignment, size_t buffers, size_t threads)
{
    struct rte_mempool_objsz parts;
    const char *why = begin();
    unsigned cache = cached(size);
    size_t all, lead, stride;
    char *first;
    int outcome;

    if (why)
        return why;
    if (alignment < RTE_MEMPOOL_ALIGN)
        alignment = RTE_MEMPOOL_ALIGN;
    /* What lies in another thread's cache, up to half as much again as it is to hold, is out of reach. */
    all = buffers + (threads + 1) * (cache + cache / 2);
    rte_mempool_calc_obj_size((uint32_t)size, FLAGS, &parts);
    stride = (parts.header_size + size + alignment - 1) & -alignment;
    lead = alignment - parts.header_size % alignment;
    if (all > UINT32_MAX || stride > UINT32_MAX)
        return "DPDK counts buffers and their bytes in 32 bits";

    length = all * stride + 2 * alignment;
    memory = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED)
        return "no memory";
    madvise(memory, length, MADV_HUGEPAGE);
#ifdef MADV_POPULATE_WRITE
    madvise(memory, (buffers * stride + 4095) & -4096UL, MADV_POPULATE_WRITE);
#endif
    first = (char *)(((uintptr_t)memory + alignment - 1) & -alignment) + lead;
    pool = rte_mempool_create_empty("rival", (unsigned)all, (unsigned)(stride - parts.header_size), cache, 0,
                                    SOCKET_ID_ANY, FLAGS);
    if (pool == NULL)
        return given_up(rte_errno);
    outcome = rte_mempool_set_ops_byname(pool, "ring_mp_mc", NULL);
    if (outcome == 0)
        outcome = rte_mempool_populate_iova(pool, first, RTE_BAD_IOVA, all * stride, NULL, NULL);
    if (outcome < (int)all)
        return given_up(outcome < 0 ? -outcome : ENOSPC);
    return NULL;
}

void hp_rival_close(void)
{
    rte_mempool_free(pool);
    munmap(memory, length);
}

/* A thread that DPDK does not know has no cache. It knows so many (RTE_MAX_LCORE); the others do without. */
void hp_rival_enter(void)
{
    if (rte_lcore_id() == LCORE_ID_ANY)
        rte_thread_register();
}

void hp_rival_leave(void)
{
    rte_mempool_cache_flush(NULL, pool);
    if (rte_lcore_id() != rte_get_main_lcore())
        rte_thread_unregister();
}

void *hp_rival_take(size_t size, size_t alignment)
{
    void *buffer;

    (void)size;
    (void)alignment;
    return rte_mempool_get(pool, &buffer) == 0 ? buffer : NULL;
}

void hp_rival_give(void *buffer, size_t size, size_t alignment)
{
    (void)size;
    (void)alignment;
    rte_mempool_put(pool, buffer);
}

const char *hp_rival_version(void)
{
    return rte_version();
}
