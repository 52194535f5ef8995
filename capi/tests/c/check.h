/* What the programs share: calls that are checked, and pools and sets to
   make them on. */

#pragma once

#define _GNU_SOURCE
#include <hugepool.h>

#include <dlfcn.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define SIZE 65536u

static int failures;

static inline void expect(int line, const char *what, uint32_t code, uint32_t expected) {
    if (code != expected) {
        char text[256] = "";
        hp_last_error(text, sizeof text);
        printf("line %d: %s gave %#x, not %#x (%s)\n", line, what, code, expected, text);
        failures++;
    }
}

#define EXPECT(call, code) expect(__LINE__, #call, (call), (code))
#define OK(call) EXPECT(call, HP_NOERROR)
#define CHECK(what) expect(__LINE__, #what, (what) ? 0u : 1u, 0u)

static const hp_vd_config client_wishes = {.deviceCount = 2, .prefixZoneSize = 512};
static const hp_vd_parameters server = {
    .blockSize = 4096, .alignment = 0, .maxTransferSize = 1u << 20};

/* The states, in the order of the contract's columns. */
enum { ABSENT, CONNECTED, CONFIGURABLE, INITIALIZING, ACTIVE, ENDED, ABORTED, STATES };

/* A set in one of them, with a buffer that is out where there are any. */
static inline __attribute__((unused)) hp_vdi *set_in(int state, void **buffer) {
    hp_vdi *set = NULL;
    *buffer = NULL;
    OK(hp_vdi_new(&set));
    if (state == ABSENT)
        return set;
    OK(hp_vdi_open(set, &client_wishes));
    if (state != CONNECTED) {
        OK(hp_vdi_begin_configuration(set, &server));
        OK(hp_vdi_request_buffers(set, SIZE, 0, 2));
    }
    if (state > CONFIGURABLE) {
        OK(hp_vdi_end_configuration(set));
        OK(hp_vdi_allocate_buffer(set, buffer, SIZE, 0));
    }
    if (state > INITIALIZING)
        OK(hp_vdi_open_device(set));
    if (state == ENDED)
        OK(hp_vdi_close_device(set));
    if (state == ABORTED)
        OK(hp_vdi_signal_abort(set));
    return set;
}

/* A pool of `count` buffers of 4 KiB. */
static inline hp_pool *pool_of(size_t count, bool portable) {
    hp_builder *builder;
    hp_pool *pool;
    OK(hp_builder_new(&builder));
    OK(hp_builder_reserve(builder, 4096, 4096, count));
    OK(hp_builder_prefault(builder, false));
    OK(hp_builder_portable_caches(builder, portable));
    OK(hp_builder_build(builder, &pool));
    hp_builder_release(builder);
    return pool;
}

/* How many of these are free. */
static inline size_t available(hp_pool *pool) {
    size_t count;
    OK(hp_pool_available(pool, 4096, 4096, &count));
    return count;
}

/* Ways to make a child that has a copy of the memory: by the C library, which calls what was
   registered for it; by the C library, which does not; and without it. -1: there is no such
   way here. */
enum { FORK, PLAIN_FORK, CLONE, WAYS };

static inline pid_t make_child(int way) {
    fflush(stdout);
    if (way == FORK)
        return fork();
    if (way == CLONE)
        return (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
    pid_t (*plain)(void) = NULL;
    *(void **)&plain = dlsym(RTLD_DEFAULT, "_Fork");
    if (plain == NULL)
        printf("skipped: this C library has no _Fork\n");
    return plain == NULL ? -1 : plain();
}

/* Prints how many checks failed; gives the exit code. */
static inline int report(void) {
    printf("%d failures\n", failures);
    return failures != 0;
}
