/* Waiting for a buffer, through the C interface: with a time limit, with a token that ends
   the wait, and in an event loop. */

#include "check.h"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>

#define FOR_EVER 0xffffffffu

static void until_waiting(hp_pool *pool, uint64_t count) {
    hp_stats stats = {.size = sizeof stats};
    do {
        sched_yield();
        OK(hp_pool_stats(pool, &stats));
    } while (stats.waiting != count);
}

static uint64_t now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

/* Whether a descriptor is readable within `milliseconds` (-1: for ever). */
static bool readable(int descriptor, int milliseconds) {
    struct pollfd one = {.fd = descriptor, .events = POLLIN};
    return poll(&one, 1, milliseconds) == 1 && one.revents == POLLIN;
}

static void deadlines(bool portable) {
    hp_pool *pool = pool_of(1, portable);
    void *buffer, *none = &none;
    OK(hp_pool_allocate_deadline(pool, 4096, 4096, 0, &buffer));
    EXPECT(hp_pool_allocate_deadline(pool, 4096, 4096, 0, &none), HP_VD_E_TIMEOUT);
    CHECK(none == NULL);
    const uint64_t deadline = now() + 2000000;
    EXPECT(hp_pool_allocate_deadline(pool, 4096, 4096, deadline, &none), HP_VD_E_TIMEOUT);
    CHECK(now() >= deadline);
    EXPECT(hp_pool_allocate_deadline(pool, 4097, 4096, deadline, &none), HP_VD_E_INVALID);
    OK(hp_pool_free(pool, buffer, 4096));
    OK(hp_pool_allocate_deadline(pool, 4096, 4096, UINT64_MAX, &buffer));
    CHECK(!hp_pool_is_aborted(pool));
    OK(hp_pool_abort(pool));
    CHECK(hp_pool_is_aborted(pool));
    EXPECT(hp_pool_allocate_deadline(pool, 4096, 4096, UINT64_MAX, &none), HP_VD_E_ABORT);
    hp_pool_release(pool);
}

static void many(bool portable) {
    hp_pool *pool = pool_of(3, portable);
    void *buffers[4] = {&pool, &pool, &pool, &pool};
    OK(hp_pool_allocate_many(pool, 4096, 4096, 2, buffers));
    CHECK(buffers[0] != buffers[1] && buffers[2] == &pool);
    CHECK(hp_pool_contains(pool, buffers[0]) && hp_pool_contains(pool, buffers[1]));
    EXPECT(hp_pool_allocate_many(pool, 4096, 4096, 2, buffers + 2), HP_VD_E_MEMORY);
    CHECK(buffers[2] == NULL && buffers[3] == NULL && available(pool) == 1);
    buffers[2] = &pool;
    EXPECT(hp_pool_allocate_many(pool, 4097, 4096, 1, buffers + 2), HP_VD_E_INVALID);
    CHECK(buffers[2] == NULL);
    OK(hp_pool_free(pool, buffers[0], 4096));
    OK(hp_pool_free(pool, buffers[1], 4096));
    /* More than there are. */
    EXPECT(hp_pool_allocate_many(pool, 4096, 4096, 4, buffers), HP_VD_E_INVALID);
    CHECK(buffers[0] == NULL && buffers[3] == NULL && available(pool) == 3);
    OK(hp_pool_allocate_many(pool, 4096, 4096, 0, NULL));
    hp_pool_release(pool);
}

/* Several at once, or none, for those who wait. */
static void many_that_wait(bool portable) {
    hp_pool *pool = pool_of(3, portable);
    hp_token *token;
    void *first[2], *buffers[3] = {&pool, &pool, &pool};
    OK(hp_token_new(pool, &token));
    OK(hp_pool_allocate_many_timeout(pool, 4096, 4096, 2, 0xffffffff, first));
    CHECK(first[0] != first[1] && available(pool) == 1);
    EXPECT(hp_pool_allocate_many_timeout(pool, 4096, 4096, 2, 1, buffers), HP_VD_E_TIMEOUT);
    CHECK(buffers[0] == NULL && buffers[1] == NULL && buffers[2] == &pool);
    EXPECT(hp_pool_allocate_many_deadline(pool, 4096, 4096, 2, now() + 1000000, buffers),
           HP_VD_E_TIMEOUT);
    EXPECT(hp_pool_allocate_many_deadline(pool, 4096, 4096, 2, 0, buffers), HP_VD_E_TIMEOUT);
    EXPECT(hp_pool_allocate_many_timeout(pool, 4096, 4096, 4, 0xffffffff, NULL),
           HP_VD_E_INVALID);
    CHECK(available(pool) == 1);
    OK(hp_pool_free(pool, first[0], 4096));
    OK(hp_pool_allocate_many_deadline(pool, 4096, 4096, 2, UINT64_MAX, buffers));
    OK(hp_pool_free(pool, first[1], 4096));
    EXPECT(hp_pool_allocate_many_cancellable(pool, 4096, 4096, 2, 1, token, buffers + 1),
           HP_VD_E_TIMEOUT);
    OK(hp_token_cancel(token));
    EXPECT(hp_pool_allocate_many_cancellable(pool, 4096, 4096, 2, 0xffffffff, token, first),
           HP_E_CANCELLED);
    OK(hp_pool_allocate_many_cancellable(pool, 4096, 4096, 1, 0xffffffff, token, first));
    EXPECT(hp_pool_allocate_many_cancellable(pool, 4096, 4096, 1, 1, NULL, first + 1),
           HP_VD_E_INVALID);
    OK(hp_pool_abort(pool));
    EXPECT(hp_pool_allocate_many_timeout(pool, 4096, 4096, 2, 0xffffffff, first),
           HP_VD_E_ABORT);
    CHECK(first[0] == NULL && first[1] == NULL);
    OK(hp_pool_allocate_many_timeout(pool, 4096, 4096, 0, 0, NULL));
    hp_token_release(token);
    hp_pool_release(pool);
}

/* A thread that waits. */
struct waiter {
    pthread_t thread;
    hp_pool *pool;
    const hp_token *token;
    uint32_t code;
    void *buffer;
};

static void *waits(void *argument) {
    struct waiter *self = argument;
    self->code = self->token == NULL
                     ? hp_pool_allocate_timeout(self->pool, 4096, 4096, FOR_EVER, &self->buffer)
                     : hp_pool_allocate_cancellable(self->pool, 4096, 4096, FOR_EVER,
                                                    self->token, &self->buffer);
    return NULL;
}

static void start(struct waiter *waiter, hp_pool *pool, const hp_token *token) {
    *waiter = (struct waiter){.pool = pool, .token = token, .buffer = &waiter};
    CHECK(pthread_create(&waiter->thread, NULL, waits, waiter) == 0);
}

static void join(struct waiter *waiter) { CHECK(pthread_join(waiter->thread, NULL) == 0); }

static void tokens(bool portable) {
    hp_pool *pool = pool_of(1, portable), *another = pool_of(1, portable);
    hp_token *token, *other, *foreign;
    struct waiter first, second, third;
    void *buffer, *none = &none;
    OK(hp_token_new(pool, &token));
    OK(hp_token_new(pool, &other));
    OK(hp_token_new(another, &foreign));
    OK(hp_pool_allocate_cancellable(pool, 4096, 4096, FOR_EVER, token, &buffer));
    EXPECT(hp_pool_allocate_cancellable(pool, 4096, 4096, 1, token, &none), HP_VD_E_TIMEOUT);
    CHECK(none == NULL);
    start(&first, pool, token);
    start(&second, pool, token);
    start(&third, pool, other);
    until_waiting(pool, 3);
    CHECK(!hp_token_is_cancelled(token));
    OK(hp_token_cancel(token));
    OK(hp_token_cancel(token));
    join(&first);
    join(&second);
    CHECK(hp_token_is_cancelled(token) && !hp_token_is_cancelled(other));
    CHECK(first.code == HP_E_CANCELLED && first.buffer == NULL);
    CHECK(second.code == HP_E_CANCELLED && second.buffer == NULL);
    OK(hp_pool_free(pool, buffer, 4096));
    join(&third);
    CHECK(third.code == HP_NOERROR);
    EXPECT(hp_pool_allocate_cancellable(pool, 4096, 4096, FOR_EVER, token, &none),
           HP_E_CANCELLED);
    CHECK(none == NULL);
    OK(hp_pool_free(pool, third.buffer, 4096));
    /* What is free is taken all the same; but by a token of its own pool. */
    EXPECT(hp_pool_allocate_cancellable(pool, 4096, 4096, 1, foreign, &none),
           HP_VD_E_INVALID);
    CHECK(none == NULL && available(pool) == 1);
    OK(hp_pool_allocate_cancellable(pool, 4096, 4096, FOR_EVER, token, &buffer));
    OK(hp_pool_free(pool, buffer, 4096));
    /* It keeps its pool. */
    hp_pool_release(pool);
    OK(hp_token_cancel(other));
    hp_token_release(token);
    hp_token_release(other);
    hp_token_release(foreign);
    hp_token_release(NULL);
    hp_pool_release(another);
}

static void *frees(void *argument) {
    struct waiter *self = argument;
    self->code = hp_pool_free(self->pool, self->buffer, 4096);
    return NULL;
}

static void events(bool portable) {
    hp_pool *pool = pool_of(1, portable);
    hp_wait *wait, *next;
    struct waiter giver = {.pool = pool};
    void *buffer = &wait, *none = &none;
    int descriptor, other;
    /* What is free comes at once. */
    OK(hp_wait_begin(pool, 4000, 512, &wait));
    OK(hp_wait_descriptor(wait, &descriptor));
    CHECK(fcntl(descriptor, F_GETFD) & FD_CLOEXEC);
    CHECK(fcntl(descriptor, F_GETFL) & O_NONBLOCK);
    CHECK(readable(descriptor, 0) && available(pool) == 0);
    /* Nothing is lost by a poll that could not give it. */
    EXPECT(hp_wait_poll(wait, NULL), HP_VD_E_INVALID);
    EXPECT(hp_wait_poll(wait, (void **)((char *)&buffer + 1)), HP_VD_E_INVALID);
    OK(hp_wait_poll(wait, &buffer));
    CHECK(hp_pool_contains(pool, buffer));
    EXPECT(hp_wait_poll(wait, &none), HP_VD_E_PROTOCOL);
    CHECK(none == NULL);
    hp_wait_end(wait);
    CHECK(fcntl(descriptor, F_GETFD) == -1);
    /* Or is given back by the end. */
    OK(hp_pool_free(pool, buffer, 4000));
    OK(hp_wait_begin(pool, 4096, 4096, &wait));
    hp_wait_end(wait);
    CHECK(available(pool) == 1);
    /* What is not free is waited for, and comes from another thread. */
    OK(hp_pool_allocate(pool, 4096, 4096, &giver.buffer));
    OK(hp_wait_begin(pool, 4096, 4096, &wait));
    OK(hp_wait_descriptor(wait, &descriptor));
    EXPECT(hp_wait_poll(wait, &none), HP_PENDING);
    CHECK(none == NULL && !readable(descriptor, 0));
    CHECK(pthread_create(&giver.thread, NULL, frees, &giver) == 0);
    CHECK(readable(descriptor, -1));
    join(&giver);
    CHECK(giver.code == HP_NOERROR);
    OK(hp_wait_poll(wait, &buffer));
    hp_wait_end(wait);
    /* A wait that ends leaves what came to the next. */
    OK(hp_wait_begin(pool, 4096, 4096, &wait));
    OK(hp_wait_begin(pool, 4096, 4096, &next));
    OK(hp_wait_descriptor(wait, &descriptor));
    OK(hp_wait_descriptor(next, &other));
    OK(hp_pool_free(pool, buffer, 4096));
    hp_wait_end(wait);
    CHECK(readable(other, -1));
    OK(hp_wait_poll(next, &buffer));
    hp_wait_end(next);
    /* An abort is news. */
    OK(hp_wait_begin(pool, 4096, 4096, &wait));
    OK(hp_wait_descriptor(wait, &descriptor));
    OK(hp_pool_abort(pool));
    CHECK(readable(descriptor, 0));
    EXPECT(hp_wait_poll(wait, &none), HP_VD_E_ABORT);
    EXPECT(hp_wait_poll(wait, &none), HP_VD_E_PROTOCOL);
    hp_wait_end(wait);
    EXPECT(hp_wait_begin(pool, 4096, 4096, &wait), HP_VD_E_ABORT);
    CHECK(wait == NULL);
    EXPECT(hp_wait_begin(pool, 4097, 4096, &wait), HP_VD_E_INVALID);
    EXPECT(hp_wait_begin(pool, 4096, 3, &wait), HP_VD_E_INVALID);
    CHECK(wait == NULL);
    hp_pool_release(pool);
}

/* A wait outlives its pool's handle. */
static void released(bool portable) {
    hp_pool *pool = pool_of(1, portable);
    hp_wait *wait;
    void *buffer, *none;
    OK(hp_pool_allocate(pool, 4096, 4096, &buffer));
    OK(hp_wait_begin(pool, 4096, 4096, &wait));
    hp_pool_release(pool);
    EXPECT(hp_wait_poll(wait, &none), HP_PENDING);
    hp_wait_end(wait);
}

enum { WAITS = 64 };

/* Many waits and few buffers, in one loop that is told of each change once. */
static void loop(bool portable) {
    hp_pool *pool = pool_of(3, portable);
    hp_wait *waiting[WAITS];
    void *buffers[3];
    const int events = epoll_create1(EPOLL_CLOEXEC);
    OK(hp_pool_allocate_many(pool, 4096, 4096, 3, buffers));
    for (uint32_t i = 0; i < WAITS; i++) {
        int descriptor;
        struct epoll_event one = {.events = EPOLLIN | EPOLLET, .data.u32 = i};
        OK(hp_wait_begin(pool, 4096, 4096, &waiting[i]));
        OK(hp_wait_descriptor(waiting[i], &descriptor));
        CHECK(epoll_ctl(events, EPOLL_CTL_ADD, descriptor, &one) == 0);
    }
    for (int i = 0; i < 3; i++)
        OK(hp_pool_free(pool, buffers[i], 4096));
    for (int served = 0; served < WAITS;) {
        struct epoll_event some[8];
        const int count = epoll_wait(events, some, 8, -1);
        CHECK(count > 0);
        for (int i = 0; i < count; i++) {
            hp_wait **wait = &waiting[some[i].data.u32];
            void *buffer;
            const uint32_t code = hp_wait_poll(*wait, &buffer);
            if (code == HP_PENDING)
                continue;
            expect(__LINE__, "hp_wait_poll", code, HP_NOERROR);
            hp_wait_end(*wait);
            OK(hp_pool_free(pool, buffer, 4096));
            served++;
        }
    }
    close(events);
    CHECK(available(pool) == 3);
    hp_pool_release(pool);
}

enum { ROUNDS = 2000 };

/* Takes buffers, by waits that it ends half-way now and then. */
static void *storm(void *argument) {
    struct waiter *self = argument;
    unsigned seed = self->code;
    for (int round = 0; round < ROUNDS; round++) {
        hp_wait *wait;
        void *buffer = NULL;
        int descriptor;
        uint32_t code = hp_wait_begin(self->pool, 4096, 4096, &wait);
        if (code == HP_NOERROR)
            code = hp_wait_descriptor(wait, &descriptor);
        while (code == HP_NOERROR && rand_r(&seed) % 4 != 0) {
            code = hp_wait_poll(wait, &buffer);
            if (code != HP_PENDING)
                break;
            code = readable(descriptor, -1) ? HP_NOERROR : HP_VD_E_UNEXPECTED;
        }
        hp_wait_end(wait);
        if (code == HP_NOERROR && buffer != NULL)
            code = hp_pool_free(self->pool, buffer, 4096);
        if (code != HP_NOERROR) {
            self->code = code;
            return NULL;
        }
    }
    self->code = HP_NOERROR;
    return NULL;
}

static void storms(bool portable) {
    hp_pool *pool = pool_of(2, portable);
    struct waiter threads[4];
    hp_stats stats = {.size = sizeof stats};
    for (uint32_t i = 0; i < 4; i++) {
        threads[i] = (struct waiter){.pool = pool, .code = i};
        CHECK(pthread_create(&threads[i].thread, NULL, storm, &threads[i]) == 0);
    }
    for (int i = 0; i < 4; i++) {
        join(&threads[i]);
        CHECK(threads[i].code == HP_NOERROR);
    }
    OK(hp_pool_stats(pool, &stats));
    CHECK(stats.waiting == 0 && stats.in_use == 0 && available(pool) == 2);
    hp_pool_release(pool);
}

/* Two threads that poll one wait. */
struct poller {
    pthread_t thread;
    hp_wait *wait;
    int taken, wrong;
};

static void *polls(void *argument) {
    struct poller *self = argument;
    uint32_t code;
    do {
        void *buffer;
        code = hp_wait_poll(self->wait, &buffer);
        if (code == HP_NOERROR)
            self->taken++;
        else if (buffer != NULL)
            self->wrong++;
    } while (code == HP_PENDING || code == HP_VD_E_BUSY);
    self->wrong += code != HP_NOERROR && code != HP_VD_E_PROTOCOL;
    return NULL;
}

static void two_pollers(bool portable) {
    hp_pool *pool = pool_of(1, portable);
    for (int round = 0; round < 200; round++) {
        struct poller pollers[2];
        void *buffer;
        hp_wait *wait;
        OK(hp_pool_allocate(pool, 4096, 4096, &buffer));
        OK(hp_wait_begin(pool, 4096, 4096, &wait));
        for (int i = 0; i < 2; i++) {
            pollers[i] = (struct poller){.wait = wait};
            CHECK(pthread_create(&pollers[i].thread, NULL, polls, &pollers[i]) == 0);
        }
        OK(hp_pool_free(pool, buffer, 4096));
        for (int i = 0; i < 2; i++)
            CHECK(pthread_join(pollers[i].thread, NULL) == 0);
        CHECK(pollers[0].taken + pollers[1].taken == 1);
        CHECK(pollers[0].wrong + pollers[1].wrong == 0);
        hp_wait_end(wait);
        OK(hp_pool_free(pool, buffer, 4096));
    }
    hp_pool_release(pool);
}

/* A wait is the process's that began it. */
static void forked(bool portable) {
    hp_pool *pool = pool_of(1, portable);
    hp_wait *wait;
    void *buffer, *none = &none;
    int descriptor, status = 1;
    OK(hp_pool_allocate(pool, 4096, 4096, &buffer));
    OK(hp_wait_begin(pool, 4096, 4096, &wait));
    OK(hp_wait_descriptor(wait, &descriptor));
    OK(hp_pool_free(pool, buffer, 4096));
    fflush(stdout);
    const pid_t child = fork();
    if (child == 0) {
        hp_wait *other = wait;
        failures = 0;
        EXPECT(hp_wait_poll(wait, &none), HP_VD_E_NOTOPEN);
        CHECK(none == NULL);
        EXPECT(hp_wait_begin(pool, 4096, 4096, &other), HP_VD_E_NOTOPEN);
        CHECK(other == NULL);
        EXPECT(hp_pool_allocate_deadline(pool, 4096, 4096, 0, &none), HP_VD_E_NOTOPEN);
        EXPECT(hp_pool_allocate_many(pool, 4096, 4096, 1, &none), HP_VD_E_NOTOPEN);
        hp_wait_end(wait);
        fflush(stdout);
        _exit(failures != 0);
    }
    CHECK(waitpid(child, &status, 0) == child && status == 0);
    /* The child has taken nothing from it, nor what makes it readable. */
    CHECK(readable(descriptor, 0));
    OK(hp_wait_poll(wait, &buffer));
    hp_wait_end(wait);
    hp_pool_release(pool);
}

/* As forked(), where the child has its parent's number: each is the first of a namespace. */
static void same_number(void) {
    int status = 1;
    fflush(stdout);
    const pid_t first = fork();
    if (first == 0) {
        failures = 0;
        if (unshare(CLONE_NEWPID) != 0) {
            printf("skipped: this process may make no namespace of processes\n");
            fflush(stdout);
            _exit(0);
        }
        const pid_t parent = fork();
        if (parent == 0) {
            hp_pool *pool = pool_of(1, false);
            hp_wait *wait;
            void *buffer, *none = &none;
            OK(hp_pool_allocate(pool, 4096, 4096, &buffer));
            OK(hp_wait_begin(pool, 4096, 4096, &wait));
            CHECK(getpid() == 1 && unshare(CLONE_NEWPID) == 0);
            fflush(stdout);
            const pid_t child = fork();
            if (child == 0) {
                failures = 0;
                CHECK(getpid() == 1);
                EXPECT(hp_wait_poll(wait, &none), HP_VD_E_NOTOPEN);
                CHECK(none == NULL);
                EXPECT(hp_pool_allocate(pool, 4096, 4096, &none), HP_VD_E_NOTOPEN);
                hp_wait_end(wait);
                fflush(stdout);
                _exit(failures != 0);
            }
            CHECK(waitpid(child, &status, 0) == child && status == 0);
            OK(hp_pool_free(pool, buffer, 4096));
            OK(hp_wait_poll(wait, &buffer));
            hp_wait_end(wait);
            fflush(stdout);
            _exit(failures != 0);
        }
        CHECK(waitpid(parent, &status, 0) == parent && status == 0);
        fflush(stdout);
        _exit(failures != 0);
    }
    CHECK(waitpid(first, &status, 0) == first && status == 0);
}

/* No descriptor is left. */
static void no_descriptor(bool portable) {
    hp_pool *pool = pool_of(1, portable);
    struct rlimit limit, none;
    hp_wait *wait = (hp_wait *)&limit;
    char text[128];
    CHECK(getrlimit(RLIMIT_NOFILE, &limit) == 0);
    none = limit;
    none.rlim_cur = 0;
    CHECK(setrlimit(RLIMIT_NOFILE, &none) == 0);
    EXPECT(hp_wait_begin(pool, 4096, 4096, &wait), HP_VD_E_UNEXPECTED);
    CHECK(setrlimit(RLIMIT_NOFILE, &limit) == 0);
    hp_last_error(text, sizeof text);
    CHECK(strstr(text, "eventfd") != NULL);
    CHECK(wait == NULL && available(pool) == 1);
    hp_pool_release(pool);
}

/* A null or misaligned pointer wherever there is one. */
static void nothing(void) {
    hp_pool *pool = pool_of(1, false);
    hp_token *token, *none = NULL;
    hp_wait *wait, *no_wait;
    void *buffer;
    int descriptor;
    OK(hp_token_new(pool, &token));
    OK(hp_wait_begin(pool, 4096, 4096, &wait));
    for (int i = 0; i < 2; i++) {
        hp_pool *wrong = i == 0 ? NULL : (hp_pool *)((char *)pool + 1);
        hp_token *bad = i == 0 ? NULL : (hp_token *)((char *)token + 1);
        hp_wait *odd = i == 0 ? NULL : (hp_wait *)((char *)wait + 1);
        void **place = i == 0 ? NULL : (void **)((char *)&buffer + 1);
        buffer = &buffer;
        EXPECT(hp_pool_allocate_deadline(wrong, 4096, 4096, 0, &buffer), HP_VD_E_INVALID);
        CHECK(buffer == NULL);
        EXPECT(hp_pool_allocate_deadline(pool, 4096, 4096, 0, place), HP_VD_E_INVALID);
        buffer = &buffer;
        EXPECT(hp_pool_allocate_many(wrong, 4096, 4096, 1, &buffer), HP_VD_E_INVALID);
        CHECK(buffer == NULL);
        EXPECT(hp_pool_allocate_many(pool, 4096, 4096, 1, place), HP_VD_E_INVALID);
        buffer = &buffer;
        EXPECT(hp_pool_allocate_cancellable(wrong, 4096, 4096, 1, token, &buffer),
               HP_VD_E_INVALID);
        CHECK(buffer == NULL);
        EXPECT(hp_pool_allocate_cancellable(pool, 4096, 4096, 1, bad, &buffer),
               HP_VD_E_INVALID);
        EXPECT(hp_pool_allocate_cancellable(pool, 4096, 4096, 1, token, place),
               HP_VD_E_INVALID);
        CHECK(!hp_pool_is_aborted(wrong));
        none = token;
        EXPECT(hp_token_new(wrong, &none), HP_VD_E_INVALID);
        CHECK(none == NULL);
        EXPECT(hp_token_new(pool, (hp_token **)place), HP_VD_E_INVALID);
        EXPECT(hp_token_cancel(bad), HP_VD_E_INVALID);
        CHECK(!hp_token_is_cancelled(bad));
        no_wait = wait;
        EXPECT(hp_wait_begin(wrong, 4096, 4096, &no_wait), HP_VD_E_INVALID);
        CHECK(no_wait == NULL);
        EXPECT(hp_wait_begin(pool, 4096, 4096, (hp_wait **)place), HP_VD_E_INVALID);
        descriptor = 0;
        EXPECT(hp_wait_descriptor(odd, &descriptor), HP_VD_E_INVALID);
        CHECK(descriptor == -1);
        EXPECT(hp_wait_descriptor(wait, (int32_t *)place), HP_VD_E_INVALID);
        buffer = &buffer;
        EXPECT(hp_wait_poll(odd, &buffer), HP_VD_E_INVALID);
        CHECK(buffer == NULL);
        EXPECT(hp_wait_poll(wait, place), HP_VD_E_INVALID);
    }
    hp_wait_end(NULL);
    hp_wait_end(wait);
    CHECK(available(pool) == 1);
    hp_token_release(token);
    hp_pool_release(pool);
}

int main(void) {
    nothing();
    same_number();
    for (int portable = 0; portable < 2; portable++) {
        deadlines(portable);
        many(portable);
        many_that_wait(portable);
        tokens(portable);
        events(portable);
        released(portable);
        loop(portable);
        storms(portable);
        two_pollers(portable);
        forked(portable);
        no_descriptor(portable);
    }
    return report();
}
