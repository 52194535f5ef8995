/* A wait that ends while another thread, in the middle of giving a buffer back, is raising
   its event: that thread frees nothing. */

#include "check.h"

#include <pthread.h>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

extern void __libc_free(void *);

static __thread long frees;
static int descriptor = -1;
static volatile int raising, ended;
static hp_wait *wait_;

void free(void *start) {
    frees += start != NULL;
    __libc_free(start);
}

/* The library's calls come here: the thread that raises the event is kept there until the
   wait has ended. */
ssize_t write(int where, const void *bytes, size_t count) {
    if (where == descriptor && !ended) {
        raising = 1;
        while (!ended)
            sched_yield();
    }
    return syscall(SYS_write, where, bytes, count);
}

static void *end(void *nothing) {
    while (!raising)
        sched_yield();
    hp_wait_end(wait_);
    ended = 1;
    return nothing;
}

int main(void) {
    hp_builder *builder;
    hp_pool *pool;
    void *buffer;
    pthread_t ender;
    OK(hp_builder_new(&builder));
    OK(hp_builder_reserve(builder, 4096, 4096, 1));
    OK(hp_builder_build(builder, &pool));
    for (int round = 0; round < 100; round++) {
        OK(hp_pool_allocate(pool, 4096, 4096, &buffer));
        OK(hp_wait_begin(pool, 4096, 4096, &wait_));
        raising = ended = 0;
        OK(hp_wait_descriptor(wait_, &descriptor));
        CHECK(pthread_create(&ender, NULL, end, NULL) == 0);
        long before = frees;
        uint32_t given = hp_pool_free(pool, buffer, 4096);
        CHECK(frees == before);
        OK(given);
        CHECK(ended);
        descriptor = -1;
        pthread_join(ender, NULL);
    }
    hp_pool_release(pool);
    hp_builder_release(builder);
    return report();
}
