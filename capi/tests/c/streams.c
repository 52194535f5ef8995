/* Streams, through the C interface: what is guaranteed, what is allowed, and waiting. */

#include "check.h"

#include <poll.h>
#include <pthread.h>
#include <sched.h>

#define FOR_EVER 0xffffffffu

static size_t in_use(hp_stream *stream) {
    size_t count;
    OK(hp_stream_in_use(stream, 4096, 4096, &count));
    return count;
}

static hp_stream *stream_of(hp_pool *pool, size_t minimum, size_t maximum) {
    const hp_share share = {4096, 4096, minimum, maximum};
    hp_stream *stream = NULL;
    OK(hp_stream_new(pool, "one", &share, 1, &stream));
    return stream;
}

static void shares(bool portable) {
    hp_pool *pool = pool_of(6, portable);
    hp_stream *stream = stream_of(pool, 2, 3);
    void *own[3], *others[4], *none = &none;
    CHECK(available(pool) == 4);
    OK(hp_pool_allocate_many(pool, 4096, 4096, 4, others));
    OK(hp_stream_allocate(stream, 4096, 4096, &own[0]));
    OK(hp_stream_allocate_timeout(stream, 4096, 4096, FOR_EVER, &own[1]));
    EXPECT(hp_stream_allocate(stream, 4096, 4096, &none), HP_VD_E_MEMORY);
    CHECK(none == NULL && in_use(stream) == 2);
    OK(hp_pool_free(pool, others[0], 4096));
    OK(hp_stream_allocate(stream, 4096, 4096, &own[2]));
    OK(hp_pool_free(pool, others[1], 4096));
    EXPECT(hp_stream_allocate(stream, 4096, 4096, &none), HP_VD_E_MEMORY);
    EXPECT(hp_stream_allocate_timeout(stream, 4096, 4096, 1, &none), HP_VD_E_TIMEOUT);
    EXPECT(hp_stream_allocate(stream, 4097, 4096, &none), HP_VD_E_INVALID);
    EXPECT(hp_stream_allocate(NULL, 4096, 4096, &none), HP_VD_E_INVALID);
    EXPECT(hp_stream_allocate(stream, 4096, 4096, NULL), HP_VD_E_INVALID);
    EXPECT(hp_stream_free(stream, own[0], 4095), HP_E_WRONG_SIZE);
    OK(hp_stream_free(stream, own[0], 4096));
    OK(hp_pool_free(pool, own[1], 4096));
    EXPECT(hp_pool_free(pool, own[1], 4096), HP_E_NOT_ALLOCATED);
    CHECK(in_use(stream) == 1);
    /* The pool's memory is there as long as its stream. */
    OK(hp_pool_free(pool, others[2], 4096));
    OK(hp_pool_free(pool, others[3], 4096));
    hp_pool_release(pool);
    memset(own[2], 1, 4096);
    OK(hp_stream_free(stream, own[2], 4096));
    hp_stream_release(stream);
    hp_stream_release(NULL);
}

static void bad_input(void) {
    hp_pool *pool = pool_of(4, true);
    hp_stream *stream = (hp_stream *)&pool;
    const hp_share good = {4096, 4096, 1, 1}, much = {4096, 4096, 5, 0}, odd = {4096, 3, 1, 1},
                   reversed = {4096, 4096, 2, 1}, twice[] = {good, good};
    char name[66];
    memset(name, 'x', 65);
    name[65] = 0;
    EXPECT(hp_stream_new(NULL, "one", &good, 1, &stream), HP_VD_E_INVALID);
    EXPECT(hp_stream_new(pool, NULL, &good, 1, &stream), HP_VD_E_INVALID);
    CHECK(stream == NULL);
    EXPECT(hp_stream_new(pool, "", &good, 1, &stream), HP_VD_E_INVALID);
    EXPECT(hp_stream_new(pool, name, &good, 1, &stream), HP_VD_E_INVALID);
    EXPECT(hp_stream_new(pool, "\xff", &good, 1, &stream), HP_VD_E_INVALID);
    EXPECT(hp_stream_new(pool, "one", NULL, 1, &stream), HP_VD_E_INVALID);
    EXPECT(hp_stream_new(pool, "one", NULL, 0, &stream), HP_VD_E_INVALID);
    EXPECT(hp_stream_new(pool, "one", &good, 1, NULL), HP_VD_E_INVALID);
    EXPECT(hp_stream_new(pool, "one", &odd, 1, &stream), HP_VD_E_INVALID);
    EXPECT(hp_stream_new(pool, "one", &reversed, 1, &stream), HP_VD_E_INVALID);
    EXPECT(hp_stream_new(pool, "one", twice, 2, &stream), HP_VD_E_INVALID);
    EXPECT(hp_stream_new(pool, "one", &much, 1, &stream), HP_VD_E_MEMORY);
    CHECK(stream == NULL && available(pool) == 4);
    void *held;
    OK(hp_pool_allocate(pool, 4096, 4096, &held));
    const hp_share all = {4096, 4096, 4, 4};
    EXPECT(hp_stream_new(pool, "one", &all, 1, &stream), HP_VD_E_MEMORY);
    OK(hp_pool_free(pool, held, 4096));
    OK(hp_stream_new(pool, "one", &all, 1, &stream));
    hp_stream_release(stream);
    CHECK(available(pool) == 4);
    hp_pool_release(pool);
}

struct waiter {
    hp_stream *stream;
    const hp_token *token;
    uint32_t code;
    void *buffer;
};

static void *waits(void *argument) {
    struct waiter *self = argument;
    self->code = hp_stream_allocate_cancellable(self->stream, 4096, 4096, FOR_EVER, self->token,
                                                &self->buffer);
    return NULL;
}

static void waiting(bool portable) {
    hp_pool *pool = pool_of(2, portable);
    hp_stream *stream = stream_of(pool, 1, 1);
    hp_token *token;
    void *held;
    OK(hp_token_new(pool, &token));
    for (int cancelled = 0; cancelled < 2; cancelled++) {
        OK(hp_stream_allocate(stream, 4096, 4096, &held));
        struct waiter waiter = {stream, token, 0, &waiter};
        pthread_t thread;
        hp_stats stats = {.size = sizeof stats};
        CHECK(pthread_create(&thread, NULL, waits, &waiter) == 0);
        do {
            sched_yield();
            OK(hp_pool_stats(pool, &stats));
        } while (stats.waiting != 1);
        if (cancelled)
            OK(hp_token_cancel(token));
        else
            OK(hp_stream_free(stream, held, 4096));
        CHECK(pthread_join(thread, NULL) == 0);
        EXPECT(waiter.code, cancelled ? HP_E_CANCELLED : HP_NOERROR);
        CHECK((waiter.buffer == NULL) == cancelled);
        OK(hp_stream_free(stream, cancelled ? held : waiter.buffer, 4096));
    }
    hp_token_release(token);
    /* In an event loop. */
    hp_wait *wait;
    int descriptor;
    void *buffer = &buffer;
    OK(hp_stream_allocate(stream, 4096, 4096, &held));
    OK(hp_stream_wait_begin(stream, 4096, 4096, &wait));
    OK(hp_wait_descriptor(wait, &descriptor));
    EXPECT(hp_wait_poll(wait, &buffer), HP_PENDING);
    CHECK(buffer == NULL);
    OK(hp_pool_free(pool, held, 4096));
    struct pollfd one = {.fd = descriptor, .events = POLLIN};
    CHECK(poll(&one, 1, -1) == 1);
    OK(hp_wait_poll(wait, &buffer));
    OK(hp_pool_free(pool, buffer, 4096));
    hp_wait_end(wait);
    EXPECT(hp_stream_wait_begin(stream, 4097, 4096, &wait), HP_VD_E_INVALID);
    hp_stream_release(stream);
    CHECK(available(pool) == 2);
    hp_pool_release(pool);
}

struct several {
    hp_stream *stream;
    const hp_token *token;
    uint32_t code;
    void *buffers[3];
};

static void *waits_for_three(void *argument) {
    struct several *self = argument;
    self->code = hp_stream_allocate_many_cancellable(self->stream, 4096, 4096, 3, FOR_EVER,
                                                     self->token, self->buffers);
    return NULL;
}

/* All or none, of its own and of the pool's. */
static void several(bool portable) {
    hp_pool *pool = pool_of(6, portable);
    hp_stream *stream = stream_of(pool, 1, 3);
    hp_token *token;
    void *held[3], *buffers[3];
    OK(hp_token_new(pool, &token));
    OK(hp_stream_allocate_many(stream, 4096, 4096, 3, held));
    CHECK(in_use(stream) == 3 && held[0] != held[1] && held[1] != held[2]);
    for (int deadline = 0; deadline < 2; deadline++) {
        memset(buffers, 1, sizeof buffers);
        EXPECT(deadline ? hp_stream_allocate_many_deadline(stream, 4096, 4096, 2, 1, buffers)
                        : hp_stream_allocate_many_timeout(stream, 4096, 4096, 2, 1, buffers),
               HP_VD_E_TIMEOUT);
        CHECK(buffers[0] == NULL && buffers[1] == NULL && buffers[2] != NULL);
    }
    EXPECT(hp_stream_allocate_deadline(stream, 4096, 4096, 1, &buffers[0]), HP_VD_E_TIMEOUT);
    EXPECT(hp_stream_allocate_many(stream, 4096, 4096, 1, buffers), HP_VD_E_MEMORY);
    for (int cancelled = 0; cancelled < 2; cancelled++) {
        struct several waiter = {.stream = stream, .token = token, .buffers = {&waiter}};
        pthread_t thread;
        hp_stats stats = {.size = sizeof stats};
        CHECK(pthread_create(&thread, NULL, waits_for_three, &waiter) == 0);
        do {
            sched_yield();
            OK(hp_pool_stats(pool, &stats));
        } while (stats.waiting != 1);
        OK(hp_stream_free(stream, held[0], 4096));
        OK(hp_stream_free(stream, held[1], 4096));
        if (cancelled)
            OK(hp_token_cancel(token));
        else
            OK(hp_stream_free(stream, held[2], 4096));
        CHECK(pthread_join(thread, NULL) == 0);
        EXPECT(waiter.code, cancelled ? HP_E_CANCELLED : HP_NOERROR);
        CHECK((waiter.buffers[0] == NULL) == cancelled);
        if (cancelled)
            OK(hp_stream_free(stream, held[2], 4096));
        else
            memcpy(held, waiter.buffers, sizeof held);
    }
    CHECK(in_use(stream) == 0);
    /* For ever, with what is free; and never. */
    OK(hp_stream_allocate_many_timeout(stream, 4096, 4096, 3, FOR_EVER, held));
    for (int at = 0; at < 3; at++)
        OK(hp_pool_free(pool, held[at], 4096));
    OK(hp_stream_allocate_many_deadline(stream, 4096, 4096, 1, UINT64_MAX, held));
    OK(hp_pool_free(pool, held[0], 4096));
    OK(hp_stream_allocate_deadline(stream, 4096, 4096, UINT64_MAX, held));
    OK(hp_pool_free(pool, held[0], 4096));
    OK(hp_stream_allocate_many_timeout(stream, 4096, 4096, 0, FOR_EVER, NULL));
    void *four[4];
    EXPECT(hp_stream_allocate_many_timeout(stream, 4096, 4096, 4, FOR_EVER, four),
           HP_VD_E_INVALID);
    EXPECT(hp_stream_allocate_many(stream, 4096, 4096, 2, NULL), HP_VD_E_INVALID);
    EXPECT(hp_stream_allocate_many(NULL, 4096, 4096, 2, buffers), HP_VD_E_INVALID);
    EXPECT(hp_stream_allocate_many_cancellable(stream, 4096, 4096, 2, 1, NULL, buffers),
           HP_VD_E_INVALID);
    hp_token_release(token);
    hp_stream_release(stream);
    CHECK(available(pool) == 6);
    hp_pool_release(pool);
}

int main(void) {
    for (int portable = 0; portable < 2; portable++) {
        shares(portable);
        waiting(portable);
        several(portable);
    }
    bad_input();
    return report();
}
