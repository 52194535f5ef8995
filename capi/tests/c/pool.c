/* The plain pool, through the C interface. */

#include "check.h"

#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>

static void plain_pool(void) {
    hp_builder *builder = NULL;
    hp_pool *pool = NULL;
    hp_stats stats = {.size = sizeof stats};
    void *first, *second;
    size_t count;
    CHECK(hp_abi_version() == HP_ABI_VERSION);
    OK(hp_builder_new(&builder));
    OK(hp_builder_reserve(builder, 4096, 4096, 2));
    OK(hp_builder_prefix_zone(builder, 64));
    OK(hp_builder_address_space(builder, (size_t)1 << 30));
    OK(hp_builder_prefault(builder, false));
    OK(hp_builder_build(builder, &pool));
    EXPECT(hp_builder_reserve(builder, 0, 4096, 1), HP_NOERROR);
    EXPECT(hp_builder_build(builder, (hp_pool **)&first), HP_VD_E_INVALID);
    CHECK(first == NULL);
    hp_builder_release(builder);
    OK(hp_pool_allocate(pool, 4000, 512, &first));
    OK(hp_pool_allocate_timeout(pool, 4096, 4096, 1, &second));
    CHECK(hp_pool_contains(pool, first) && !hp_pool_contains(pool, &first));
    EXPECT(hp_pool_allocate_timeout(pool, 4096, 4096, 1, &second), HP_VD_E_TIMEOUT);
    CHECK(second == NULL);
    EXPECT(hp_pool_free(pool, first, 4096), HP_E_WRONG_SIZE);
    OK(hp_pool_free(pool, first, 4000));
    OK(hp_pool_request(pool, 4096, 4096, 3));
    OK(hp_pool_available(pool, 4096, 4096, &count));
    CHECK(count == 4);
    OK(hp_pool_trim(pool, NULL));
    OK(hp_pool_stats(pool, &stats));
    CHECK(stats.capacity == 2 && stats.in_use == 1);
    /* As far as the buffers and their prefix zones reach, or a huge page. */
    CHECK(stats.mapped_bytes >= 2 * 4096 && stats.mapped_bytes <= 2u << 20);
    OK(hp_pool_abort(pool));
    OK(hp_pool_allocate(pool, 4096, 4096, &first));
    EXPECT(hp_pool_allocate_timeout(pool, 4096, 4096, 1, &second), HP_VD_E_ABORT);
    hp_pool_release(pool);
    EXPECT(hp_pool_allocate(NULL, 4096, 4096, &first), HP_VD_E_INVALID);
    hp_pool_release(NULL);
}

/* A pool is not a child's, unless it inherits the buffers; nor is it published there. */
static void forked(int way) {
    for (int inherits = 0; inherits < 2; inherits++)
        for (int is_shared = 0; is_shared < 2; is_shared++) {
            hp_builder *builder;
            hp_pool *pool;
            void *start, *other = &other;
            size_t count;
            OK(hp_builder_new(&builder));
            OK(hp_builder_reserve(builder, 4096, 4096, 8));
            OK(hp_builder_fork(builder, inherits));
            if (is_shared)
                OK(hp_builder_shared(builder, HP_ACCESS_WRITE));
            OK(hp_builder_build(builder, &pool));
            hp_builder_release(builder);
            OK(hp_pool_allocate(pool, 4096, 4096, &start));
            hp_class *class;
            OK(hp_class_new(pool, 4096, 4096, &class));
            pid_t child = make_child(way);
            if (child < 0) {
                hp_class_release(class);
                hp_pool_release(pool);
                continue;
            }
            if (child == 0) {
                hp_publication *none;
                const uint32_t code = inherits && !is_shared ? HP_NOERROR : HP_VD_E_NOTOPEN;
                failures = 0;
                EXPECT(hp_pool_allocate(pool, 4096, 4096, &other), code);
                CHECK((other == NULL) == (code != HP_NOERROR));
                EXPECT(hp_pool_allocate_timeout(pool, 4096, 4096, 1, &other), code);
                EXPECT(hp_class_allocate(class, &other), code);
                CHECK((other == NULL) == (code != HP_NOERROR));
                EXPECT(hp_class_allocate_timeout(class, 1, &other), code);
                EXPECT(hp_pool_free(pool, start, 4096), code);
                EXPECT(hp_class_free(class, start), code ? code : HP_E_NOT_ALLOCATED);
                if (is_shared) {
                    EXPECT(hp_pool_publish(pool, NULL, "child", NULL, &none), HP_VD_E_NOTOPEN);
                    EXPECT(hp_pool_exports(pool, NULL, 0, &count), HP_VD_E_NOTOPEN);
                    EXPECT(hp_pool_request(pool, 4096, 4096, 1), HP_VD_E_NOTOPEN);
                }
                hp_class_release(class);
                hp_pool_release(pool);
                /* Its own are its own, and not a child's of it. */
                hp_pool *own = pool_of(2, false);
                OK(hp_pool_allocate(own, 4096, 4096, &other));
                pid_t grandchild = make_child(way);
                if (grandchild == 0) {
                    EXPECT(hp_pool_free(own, other, 4096), HP_VD_E_NOTOPEN);
                    _exit(failures != 0);
                }
                int ended = 1;
                CHECK(waitpid(grandchild, &ended, 0) == grandchild && ended == 0);
                OK(hp_pool_free(own, other, 4096));
                hp_pool_release(own);
                fflush(stdout);
                _exit(failures != 0);
            }
            int status = 1;
            CHECK(waitpid(child, &status, 0) == child && status == 0);
            OK(hp_pool_free(pool, start, 4096));
            hp_class_release(class);
            OK(hp_pool_available(pool, 4096, 4096, &count));
            CHECK(count == 8);
            hp_pool_release(pool);
        }
}

/* A class that was looked up once. */
static void classes(void) {
    hp_builder *builder;
    hp_pool *pool;
    hp_class *small, *large;
    hp_trimmed gone = {.size = sizeof gone};
    void *start, *other;
    size_t size = 1, alignment = 1, count;
    OK(hp_builder_new(&builder));
    OK(hp_builder_reserve(builder, 4096, 4096, 2));
    OK(hp_builder_reserve(builder, 16384, 4096, 1));
    OK(hp_builder_build(builder, &pool));
    hp_builder_release(builder);
    EXPECT(hp_class_new(pool, 16385, 4096, &small), HP_VD_E_INVALID);
    CHECK(small == NULL);
    EXPECT(hp_class_new(pool, 1, 3, &small), HP_VD_E_INVALID);
    EXPECT(hp_class_new(NULL, 1, 1, &small), HP_VD_E_INVALID);
    EXPECT(hp_class_new(pool, 1, 1, NULL), HP_VD_E_INVALID);
    OK(hp_class_new(pool, 1000, 512, &small));
    OK(hp_class_new(pool, 16384, 4096, &large));
    OK(hp_class_shape(small, &size, &alignment));
    CHECK(size == 4096 && alignment == 4096);
    EXPECT(hp_class_shape(small, &size, NULL), HP_VD_E_INVALID);
    EXPECT(hp_class_shape(NULL, &size, &alignment), HP_VD_E_INVALID);
    CHECK(size == 0 && alignment == 0);
    OK(hp_class_available(small, &count));
    CHECK(count == 3);
    EXPECT(hp_class_available(NULL, &count), HP_VD_E_INVALID);
    CHECK(count == 0);
    OK(hp_class_allocate(small, &start));
    OK(hp_class_allocate_timeout(small, 0, &other));
    /* Each goes back either way, for the size of the class. */
    EXPECT(hp_pool_free(pool, start, 1000), HP_E_WRONG_SIZE);
    OK(hp_pool_free(pool, start, 4096));
    EXPECT(hp_class_free(small, start), HP_E_NOT_ALLOCATED);
    EXPECT(hp_class_free(large, other), HP_E_WRONG_SIZE);
    OK(hp_class_free(small, other));
    OK(hp_pool_allocate(pool, 4096, 1, &start));
    OK(hp_class_free(small, start));
    OK(hp_class_allocate(large, &other));
    start = &start;
    EXPECT(hp_class_allocate(large, &start), HP_VD_E_MEMORY);
    CHECK(start == NULL);
    EXPECT(hp_class_allocate_timeout(large, 1, &start), HP_VD_E_TIMEOUT);
    EXPECT(hp_class_allocate(NULL, &start), HP_VD_E_INVALID);
    EXPECT(hp_class_allocate(large, NULL), HP_VD_E_INVALID);
    EXPECT(hp_class_allocate_timeout(NULL, 1, &start), HP_VD_E_INVALID);
    EXPECT(hp_class_free(NULL, other), HP_VD_E_INVALID);
    OK(hp_class_free(large, other));
    /* What trimming gives back. */
    OK(hp_pool_trim(pool, &gone));
    CHECK(gone.size == sizeof gone && gone.segments == 0 && gone.bytes == 0);
    OK(hp_pool_request(pool, 4096, 4096, 5));
    OK(hp_pool_request(pool, 4096, 4096, 5));
    OK(hp_pool_trim(pool, &gone));
    /* As far as the buffers reach: five pages each, or a huge page. */
    CHECK(gone.segments == 2);
    CHECK(gone.bytes == 2 * 5 * 4096 || gone.bytes == 4u << 20);
    gone.size = 1;
    EXPECT(hp_pool_trim(pool, &gone), HP_VD_E_INVALID);
    hp_class_release(small);
    hp_pool_release(pool);
    /* It keeps the memory. */
    OK(hp_class_allocate(large, &start));
    memset(start, 1, 16384);
    OK(hp_class_free(large, start));
    hp_class_release(large);
    hp_class_release(NULL);
}

/* Each way of giving back what is wrong has a code of its own, by whichever call, and changes
   nothing. */
static void misuse(void) {
    hp_builder *builder;
    hp_pool *pool, *stranger = pool_of(1, false);
    hp_class *class;
    hp_stream *stream;
    const hp_share share = {4096, 4096, 0, 3};
    void *held, *of_stream, *freed, *foreign, *grown;
    size_t count;
    OK(hp_builder_new(&builder));
    OK(hp_builder_reserve(builder, 4096, 4096, 3));
    OK(hp_builder_prefix_zone(builder, 64));
    OK(hp_builder_build(builder, &pool));
    hp_builder_release(builder);
    OK(hp_class_new(pool, 4096, 4096, &class));
    OK(hp_stream_new(pool, "stream", &share, 1, &stream));
    OK(hp_pool_allocate(pool, 4096, 4096, &held));
    OK(hp_stream_allocate(stream, 4096, 4096, &of_stream));
    OK(hp_pool_allocate(pool, 4096, 4096, &freed));
    OK(hp_pool_free(pool, freed, 4096));
    OK(hp_pool_allocate(stranger, 4096, 4096, &foreign));
    /* Memory that was the pool's. */
    OK(hp_pool_request(pool, 8192, 4096, 1));
    OK(hp_pool_allocate(pool, 8192, 4096, &grown));
    OK(hp_pool_free(pool, grown, 8192));
    OK(hp_pool_trim(pool, NULL));
    const struct {
        void *buffer;
        size_t size;
        uint32_t code;
    } wrong[] = {
        {NULL, 4096, HP_E_FOREIGN},
        {&held, 4096, HP_E_FOREIGN},
        {(void *)UINTPTR_MAX, 4096, HP_E_FOREIGN},
        {foreign, 4096, HP_E_FOREIGN},
        {grown, 4096, HP_E_FOREIGN},
        {(char *)held + 1, 4096, HP_E_INTERIOR},
        {(char *)held + 4095, 4096, HP_E_INTERIOR},
        {(char *)held - 64, 4096, HP_E_INTERIOR},
        {(char *)freed + 512, 4096, HP_E_INTERIOR},
        {freed, 4096, HP_E_NOT_ALLOCATED},
        {freed, 0, HP_E_NOT_ALLOCATED},
        {held, 4095, HP_E_WRONG_SIZE},
        {held, 0, HP_E_WRONG_SIZE},
        {held, SIZE_MAX, HP_E_WRONG_SIZE},
        {of_stream, 4097, HP_E_WRONG_SIZE},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        EXPECT(hp_pool_free(pool, wrong[i].buffer, wrong[i].size), wrong[i].code);
        EXPECT(hp_last_code(), wrong[i].code);
        EXPECT(hp_stream_free(stream, wrong[i].buffer, wrong[i].size), wrong[i].code);
        if (wrong[i].size == 4096)
            EXPECT(hp_class_free(class, wrong[i].buffer), wrong[i].code);
        CHECK(available(pool) == 1);
    }
    OK(hp_pool_free(pool, held, 4096));
    EXPECT(hp_stream_free(stream, held, 4096), HP_E_NOT_ALLOCATED);
    OK(hp_pool_free(pool, of_stream, 4096));
    EXPECT(hp_class_free(class, of_stream), HP_E_NOT_ALLOCATED);
    OK(hp_pool_allocate(pool, 4000, 4096, &held));
    EXPECT(hp_class_free(class, held), HP_E_WRONG_SIZE);
    OK(hp_pool_free(pool, held, 4000));
    OK(hp_stream_in_use(stream, 4096, 4096, &count));
    CHECK(count == 0 && available(pool) == 3);
    hp_stream_release(stream);
    hp_class_release(class);
    hp_pool_release(pool);
    OK(hp_pool_free(stranger, foreign, 4096));
    hp_pool_release(stranger);
}

/* A pool that buffers are out of is not released by mistake. */
static void released_when_idle(bool portable) {
    hp_pool *pool = pool_of(3, portable);
    hp_stream *stream;
    const hp_share share = {4096, 4096, 1, 1};
    void *held, *of_stream;
    char text[100];
    OK(hp_pool_try_release(NULL));
    EXPECT(hp_pool_try_release((hp_pool *)((char *)pool + 1)), HP_VD_E_INVALID);
    OK(hp_pool_allocate(pool, 4096, 4096, &held));
    OK(hp_stream_new(pool, "stream", &share, 1, &stream));
    OK(hp_stream_allocate(stream, 4096, 4096, &of_stream));
    EXPECT(hp_pool_try_release(pool), HP_VD_E_BUSY);
    hp_last_error(text, sizeof text);
    CHECK(strstr(text, "2 buffers"));
    OK(hp_pool_free(pool, held, 4096));
    EXPECT(hp_pool_try_release(pool), HP_VD_E_BUSY);
    OK(hp_pool_free(pool, of_stream, 4096));
    EXPECT(hp_pool_try_release(pool), HP_VD_E_BUSY);
    hp_stream_release(stream);
    CHECK(available(pool) == 3);
    pid_t child = make_child(FORK);
    if (child == 0) {
        failures = 0;
        EXPECT(hp_pool_try_release(pool), HP_VD_E_NOTOPEN);
        _exit(failures != 0);
    }
    int status = 1;
    CHECK(waitpid(child, &status, 0) == child && status == 0);
    OK(hp_pool_try_release(pool));
}

/* Shared memory is a file: one that would be too large is a code, not a signal. */
static void larger_than_a_file(void) {
    pid_t child = make_child(FORK);
    if (child == 0) {
        hp_builder *builder;
        hp_pool *pool;
        char text[200];
        struct rlimit limit = {4u << 20, 4u << 20};
        failures = 0;
        CHECK(setrlimit(RLIMIT_FSIZE, &limit) == 0);
        OK(hp_builder_new(&builder));
        OK(hp_builder_shared(builder, HP_ACCESS_WRITE));
        OK(hp_builder_reserve(builder, 65536, 4096, 16));
        OK(hp_builder_build(builder, &pool));
        EXPECT(hp_pool_request(pool, 65536, 4096, 128), HP_VD_E_MEMORY);
        hp_last_error(text, sizeof text);
        CHECK(strstr(text, "RLIMIT_FSIZE") && strstr(text, "is 4 MiB") && strstr(text, "8 MiB of"));
        OK(hp_pool_request(pool, 65536, 4096, 16));
        hp_pool_release(pool);
        hp_builder_release(builder);
        _exit(failures != 0);
    }
    int status = 1;
    CHECK(waitpid(child, &status, 0) == child && status == 0);
}

/* A structure of a program that was compiled with a shorter one, or a longer one, and one that
   is none. */
static void sized(void) {
    struct {
        hp_stats stats;
        uint64_t after;
    } longer = {.after = 7};
    hp_pool *pool = pool_of(2, false);
    memset(&longer.stats, 0x55, sizeof longer.stats);
    for (size_t size = 0; size < 8; size++) {
        longer.stats.size = size;
        EXPECT(hp_pool_stats(pool, &longer.stats), HP_VD_E_INVALID);
        CHECK(longer.stats.size == size);
    }
    longer.stats.size = 2 * sizeof(uint64_t) + 3;
    OK(hp_pool_stats(pool, &longer.stats));
    CHECK(longer.stats.size == 16 && longer.stats.capacity == 2);
    CHECK(longer.stats.in_use == 0x5555555555555555 && longer.after == 7);
    longer.stats.size = sizeof longer;
    OK(hp_pool_stats(pool, &longer.stats));
    CHECK(longer.stats.size == sizeof longer.stats && longer.stats.in_use == 0);
    CHECK(longer.after == 7);
    /* Tags. */
    const struct hp_stats *same = &longer.stats;
    const struct hp_vd_config *config = NULL;
    const struct hp_peers *peers = NULL;
    struct hp_trimmed trimmed = {.size = sizeof trimmed};
    CHECK(same->capacity == 2 && config == NULL && peers == NULL && trimmed.size == 24);
    hp_pool_release(pool);
}

/* Each count is of what happened. */
static void counted(void) {
    hp_builder *builder;
    hp_pool *pool;
    hp_token *token;
    hp_counters now = {.size = sizeof now};
    hp_class_counters class = {.size = sizeof class};
    void *held[3], *none[4];
    uint64_t ended = 0;
    OK(hp_builder_new(&builder));
    OK(hp_builder_reserve(builder, 4096, 4096, 2));
    OK(hp_builder_reserve(builder, 8192, 512, 1));
    OK(hp_builder_prefault(builder, false));
    OK(hp_builder_build(builder, &pool));
    hp_builder_release(builder);
    for (int i = 0; i < 3; i++)
        OK(hp_pool_allocate(pool, 4000, 512, &held[i]));
    EXPECT(hp_pool_allocate(pool, 4096, 4096, none), HP_VD_E_MEMORY);
    for (int i = 0; i < 2; i++)
        EXPECT(hp_pool_allocate_timeout(pool, 4096, 4096, 500, none), HP_VD_E_TIMEOUT);
    EXPECT(hp_pool_allocate_timeout(pool, 4096, 4096, 0, none), HP_VD_E_TIMEOUT);
    EXPECT(hp_pool_allocate_many(pool, 4096, 512, 4, none), HP_VD_E_INVALID);
    EXPECT(hp_pool_allocate(pool, 1u << 30, 1, none), HP_VD_E_INVALID);
    EXPECT(hp_pool_allocate(pool, 0, 1, none), HP_VD_E_INVALID);
    EXPECT(hp_pool_allocate(pool, 1, 3, none), HP_VD_E_INVALID);
    OK(hp_token_new(pool, &token));
    OK(hp_token_cancel(token));
    EXPECT(hp_pool_allocate_cancellable(pool, 1, 1, 1000, token, none), HP_E_CANCELLED);
    hp_token_release(token);
    OK(hp_pool_counters(pool, &now));
    CHECK(now.size == sizeof now && now.classes == 2 && now.waiting == 0);
    CHECK(now.waits == 2 && now.timed_out == 2 && now.served == 0 && now.failed == 0);
    CHECK(now.aborted == 0 && now.cancelled == 0);
    for (int i = 0; i < HP_WAIT_BINS; i++)
        ended += now.wait_histogram[i];
    CHECK(ended == 2 && now.longest_wait >= 1000000 && now.waited >= 2000000);
    CHECK(now.sleeps >= 2 && now.hand_overs == 0);
    CHECK(now.refused_exhausted == 1 && now.refused_carried == 0);
    CHECK(now.refused_timed_out == 3 && now.refused_never_enough == 1);
    CHECK(now.refused_no_class == 1 && now.refused_bad_input == 2);
    CHECK(now.refused_cancelled == 1 && now.refused_aborted == 0);
    CHECK(now.refused_too_many_waiters == 0);
    OK(hp_pool_class_counters(pool, 0, &class));
    CHECK(class.size == sizeof class && class.buffer_size == 4096 && class.alignment == 4096);
    CHECK(class.capacity == 2 && class.in_use == 2 && class.free == 0 && class.cached == 0);
    CHECK(class.high_water == 2 && class.climbs == 1 && class.refused >= 4);
    OK(hp_pool_class_counters(pool, 1, &class));
    CHECK(class.buffer_size == 8192 && class.alignment == 512 && class.in_use == 1);
    EXPECT(hp_pool_class_counters(pool, 2, &class), HP_VD_E_INVALID);
    EXPECT(hp_pool_class_counters(pool, SIZE_MAX, &class), HP_VD_E_INVALID);
    CHECK(class.buffer_size == 8192);
    for (int i = 0; i < 3; i++)
        OK(hp_pool_free(pool, held[i], 4000));
    OK(hp_pool_reset_marks(pool));
    OK(hp_pool_abort(pool));
    for (int i = 0; i < 3; i++)
        OK(hp_pool_allocate(pool, 4000, 512, &held[i]));
    EXPECT(hp_pool_allocate_timeout(pool, 4096, 4096, 1000, none), HP_VD_E_ABORT);
    OK(hp_pool_counters(pool, &now));
    CHECK(now.longest_wait == 0 && now.waited >= 2000000 && now.refused_aborted == 1);
    hp_pool_release(pool);
}

/* A program's structures may be shorter than the library's, or longer. */
static void grown_structures(void) {
    hp_builder *builder;
    hp_pool *pool;
    struct {
        hp_counters counters;
        uint64_t more[2];
    } longer;
    struct {
        hp_class_counters counters;
        uint64_t more[2];
    } longer_class;
    OK(hp_builder_new(&builder));
    OK(hp_builder_reserve(builder, 4096, 4096, 2));
    OK(hp_builder_prefault(builder, false));
    OK(hp_builder_build(builder, &pool));
    hp_builder_release(builder);
    memset(&longer, 0x55, sizeof longer);
    memset(&longer_class, 0x55, sizeof longer_class);
    longer.counters.size = sizeof longer;
    longer_class.counters.size = SIZE_MAX;
    OK(hp_pool_counters(pool, &longer.counters));
    OK(hp_pool_class_counters(pool, 0, &longer_class.counters));
    CHECK(longer.counters.size == sizeof(hp_counters) && longer.more[0] >> 56 == 0x55);
    CHECK(longer_class.counters.size == sizeof(hp_class_counters));
    CHECK(longer_class.more[0] >> 56 == 0x55 && longer_class.counters.barriers == 0);
    /* One that ends with `classes`; then one that is cut within it. */
    for (size_t size = 16; size < 24; size += 7) {
        memset(&longer, 0x55, sizeof longer);
        longer.counters.size = size;
        OK(hp_pool_counters(pool, &longer.counters));
        CHECK(longer.counters.size == 16 && longer.counters.classes == 1);
        CHECK(longer.counters.waiting >> 56 == 0x55);
    }
    for (size_t size = 0; size < 8; size++) {
        longer.counters.size = longer_class.counters.size = size;
        EXPECT(hp_pool_counters(pool, &longer.counters), HP_VD_E_INVALID);
        EXPECT(hp_pool_class_counters(pool, 0, &longer_class.counters), HP_VD_E_INVALID);
        CHECK(longer.counters.size == size && longer.counters.classes == 1);
    }
    hp_pool_release(pool);
}

/* A null or misaligned pointer wherever there is one. */
static void nothing(void) {
    hp_builder *builder;
    hp_pool *pool;
    void *start, *places[2] = {NULL, NULL};
    size_t count;
    hp_stats stats = {.size = sizeof stats};
    hp_counters counters = {.size = sizeof counters};
    hp_class_counters class = {.size = sizeof class};
    OK(hp_builder_new(&builder));
    OK(hp_builder_build(builder, &pool));
    hp_pool *wrong[] = {NULL, (hp_pool *)((char *)pool + 1)};
    for (int i = 0; i < 2; i++) {
        start = &start;
        EXPECT(hp_pool_allocate(wrong[i], 4096, 4096, &start), HP_VD_E_INVALID);
        CHECK(start == NULL);
        EXPECT(hp_pool_allocate_timeout(wrong[i], 4096, 4096, 1, &start), HP_VD_E_INVALID);
        EXPECT(hp_pool_free(wrong[i], &start, 4096), HP_VD_E_INVALID);
        EXPECT(hp_pool_available(wrong[i], 4096, 4096, &count), HP_VD_E_INVALID);
        EXPECT(hp_pool_request(wrong[i], 4096, 4096, 1), HP_VD_E_INVALID);
        EXPECT(hp_pool_trim(wrong[i], NULL), HP_VD_E_INVALID);
        EXPECT(hp_pool_abort(wrong[i]), HP_VD_E_INVALID);
        EXPECT(hp_pool_stats(wrong[i], &stats), HP_VD_E_INVALID);
        EXPECT(hp_pool_counters(wrong[i], &counters), HP_VD_E_INVALID);
        EXPECT(hp_pool_class_counters(wrong[i], 0, &class), HP_VD_E_INVALID);
        EXPECT(hp_pool_reset_marks(wrong[i]), HP_VD_E_INVALID);
        CHECK(!hp_pool_contains(wrong[i], &start));
    }
    EXPECT(hp_pool_allocate(pool, 4096, 4096, (void **)((char *)places + 1)), HP_VD_E_INVALID);
    EXPECT(hp_pool_stats(pool, (hp_stats *)((char *)places + 1)), HP_VD_E_INVALID);
    EXPECT(hp_pool_counters(pool, NULL), HP_VD_E_INVALID);
    EXPECT(hp_pool_counters(pool, (hp_counters *)((char *)places + 1)), HP_VD_E_INVALID);
    EXPECT(hp_pool_class_counters(pool, 0, NULL), HP_VD_E_INVALID);
    CHECK(places[0] == NULL && places[1] == NULL);
    EXPECT(hp_builder_new(NULL), HP_VD_E_INVALID);
    EXPECT(hp_builder_reserve(NULL, 1, 1, 1), HP_VD_E_INVALID);
    EXPECT(hp_builder_reserve((hp_builder *)((char *)builder + 1), 1, 1, 1), HP_VD_E_INVALID);
    hp_pool_release(pool);
    EXPECT(hp_builder_build(NULL, &pool), HP_VD_E_INVALID);
    CHECK(pool == NULL);
    EXPECT(hp_builder_build(builder, NULL), HP_VD_E_INVALID);
    hp_builder_release(builder);
}

/* A plain pool that is shared, and a set over a description. */
static void shared_pool(void) {
    hp_builder *builder;
    hp_pool *pool, *plain;
    hp_vdi *set;
    const uint32_t nodes[2] = {0, 1023};
    hp_client *client;
    hp_publication *publication;
    hp_export export = {.size = sizeof export};
    hp_view view = {.size = sizeof view};
    hp_stats stats = {.size = sizeof stats};
    void *start;
    uint32_t handle;
    size_t count;
    char name[64];
    snprintf(name, sizeof name, "pool %d", (int)getpid());
    OK(hp_builder_new(&builder));
    EXPECT(hp_builder_shared(builder, 2), HP_VD_E_INVALID);
    EXPECT(hp_builder_pages(builder, 5, HP_RUNG_NEVER), HP_VD_E_INVALID);
    EXPECT(hp_builder_pages(builder, HP_PAGES_BASE, 3), HP_VD_E_INVALID);
    OK(hp_builder_pages(builder, HP_PAGES_HUGE_1G, HP_RUNG_NEVER));
    OK(hp_builder_pages(builder, HP_PAGES_HUGE_2M, HP_RUNG_NEVER));
    OK(hp_builder_pages(builder, HP_PAGES_TRANSPARENT, HP_RUNG_PREFER));
    OK(hp_builder_pages(builder, HP_PAGES_COLLAPSED, HP_RUNG_PREFER));
    OK(hp_builder_climb(builder, 0));
    OK(hp_builder_cpu_cache(builder, 1u << 20));
    OK(hp_builder_lock(builder, false));
    OK(hp_builder_dump(builder, true));
    OK(hp_builder_fork(builder, false));
    OK(hp_builder_portable_caches(builder, true));
    OK(hp_builder_reserve(builder, 4096, 4096, 2));
    OK(hp_builder_build(builder, &plain));
    EXPECT(hp_pool_publish(plain, NULL, name, NULL, &publication), HP_VD_E_PROTOCOL);
    EXPECT(hp_pool_exports(plain, NULL, 0, &count), HP_VD_E_PROTOCOL);
    hp_pool_release(plain);
    OK(hp_builder_shared(builder, HP_ACCESS_READ));
    OK(hp_builder_build(builder, &pool));
    OK(hp_pool_publish(pool, NULL, name, NULL, &publication));
    OK(hp_client_new(&client));
    OK(hp_client_open_in_secondary(client, NULL, name, NULL));
    OK(hp_pool_allocate(pool, 4000, 4096, &start));
    OK(hp_pool_get_buffer_handle(pool, start, &handle));
    OK(hp_client_view(client, handle, &view));
    CHECK(view.buffer_size == 4000 && view.prefix == 0 && !view.writable);
    OK(hp_pool_view(pool, handle, &view));
    CHECK(view.start == start && view.buffer_size == 4000 && view.writable);
    uint64_t handle64, reuses;
    OK(hp_pool_get_buffer_handle64(pool, start, &handle64));
    OK(hp_client_view64(client, handle64, &view));
    CHECK(view.buffer_size == 4000 && !view.writable);
    OK(hp_pool_view64(pool, handle64, &view));
    CHECK(view.start == start && view.buffer_size == 4000 && view.writable);
    EXPECT(hp_pool_view64(pool, handle64 + 1, &view), HP_VD_E_INVALID);
    EXPECT(hp_pool_get_buffer_handle64(pool, NULL, &handle64), HP_VD_E_INVALID);
    EXPECT(hp_pool_get_buffer_handle64(NULL, start, &handle64), HP_VD_E_INVALID);
    EXPECT(hp_pool_view64(NULL, handle64, &view), HP_VD_E_INVALID);
    OK(hp_pool_handle_reuses(pool, &reuses));
    CHECK(reuses >= 2048);
    EXPECT(hp_pool_handle_reuses(NULL, &reuses), HP_VD_E_INVALID);
    EXPECT(hp_pool_handle_reuses(pool, NULL), HP_VD_E_INVALID);
    hp_client_release(client);
    OK(hp_client_new(&client));
    OK(hp_pool_exports(pool, &export, 1, &count));
    CHECK(count == 1);
    OK(hp_client_attach(client, export.layout, HP_LAYOUT_BYTES, export.memory, export.states,
                        export.status));
    OK(hp_client_view(client, handle, &view));
    /* What may not be written cannot be. */
    CHECK(mmap(NULL, 4096, PROT_WRITE, MAP_SHARED, export.memory, 0) == MAP_FAILED);
    CHECK(mmap(NULL, 4096, PROT_WRITE, MAP_SHARED, export.states, 0) == MAP_FAILED);
    close(export.memory);
    close(export.states);
    close(export.status);
    hp_client_release(client);
    hp_publication_release(publication);
    hp_pool_release(pool);
    /* A node that this machine does not have. */
    OK(hp_builder_node(builder, 1023));
    EXPECT(hp_builder_build(builder, &pool), HP_VD_E_INVALID);
    OK(hp_builder_prefer_node(builder, 1024));
    EXPECT(hp_builder_build(builder, &pool), HP_VD_E_INVALID);
    OK(hp_builder_interleave(builder, NULL, 0));
    EXPECT(hp_builder_build(builder, &pool), HP_VD_E_INVALID);
    EXPECT(hp_builder_interleave(builder, NULL, 1), HP_VD_E_INVALID);
    EXPECT(hp_builder_interleave(builder, nodes, 65537), HP_VD_E_INVALID);
    OK(hp_builder_interleave(builder, nodes, 2));
    EXPECT(hp_builder_build(builder, &pool), HP_VD_E_INVALID);
    /* What was asked for last counts. */
    OK(hp_builder_node(builder, 1023));
    EXPECT(hp_vdi_new_with(NULL, &set), HP_VD_E_INVALID);
    CHECK(set == NULL);
    OK(hp_vdi_new_with(builder, &set));
    EXPECT(hp_vdi_stats(set, &stats), HP_VD_E_PROTOCOL);
    OK(hp_vdi_open(set, &client_wishes));
    OK(hp_vdi_begin_configuration(set, &server));
    EXPECT(hp_vdi_end_configuration(set), HP_VD_E_INVALID);
    hp_builder_release(builder);
    hp_vdi_release(set);
}

/* A set counts as its pool does, while it has one. */
static void counters_of_a_set(void) {
    hp_counters now = {.size = sizeof now};
    hp_class_counters class = {.size = sizeof class};
    void *start, *other;
    hp_vdi *set = set_in(CONFIGURABLE, &start);
    EXPECT(hp_vdi_counters(set, &now), HP_VD_E_PROTOCOL);
    EXPECT(hp_vdi_class_counters(set, 0, &class), HP_VD_E_PROTOCOL);
    EXPECT(hp_vdi_reset_marks(set), HP_VD_E_PROTOCOL);
    hp_vdi_release(set);
    set = set_in(INITIALIZING, &start);
    OK(hp_vdi_allocate_buffer(set, &other, SIZE, 0));
    EXPECT(hp_vdi_allocate_buffer_timeout(set, &start, SIZE, 0, 1), HP_VD_E_TIMEOUT);
    OK(hp_vdi_counters(set, &now));
    CHECK(now.size == sizeof now && now.classes == 1 && now.timed_out == 1);
    OK(hp_vdi_class_counters(set, 0, &class));
    CHECK(class.capacity == 2 && class.in_use == 2 && class.high_water == 2);
    CHECK(class.buffer_size >= SIZE);
    OK(hp_vdi_free_buffer(set, other, SIZE));
    OK(hp_vdi_reset_marks(set));
    OK(hp_vdi_class_counters(set, 0, &class));
    CHECK(class.in_use == 1 && class.high_water == 1);
    EXPECT(hp_vdi_class_counters(set, 1, &class), HP_VD_E_INVALID);
    EXPECT(hp_vdi_counters(set, NULL), HP_VD_E_INVALID);
    EXPECT(hp_vdi_class_counters(set, 0, NULL), HP_VD_E_INVALID);
    now.size = 7;
    EXPECT(hp_vdi_counters(set, &now), HP_VD_E_INVALID);
    CHECK(now.size == 7);
    EXPECT(hp_vdi_counters(NULL, &now), HP_VD_E_INVALID);
    EXPECT(hp_vdi_class_counters(NULL, 0, &class), HP_VD_E_INVALID);
    EXPECT(hp_vdi_reset_marks(NULL), HP_VD_E_INVALID);
    OK(hp_vdi_close(set));
    now.size = sizeof now;
    EXPECT(hp_vdi_counters(set, &now), HP_VD_E_PROTOCOL);
    hp_vdi_release(set);
}

int main(void) {
    counters_of_a_set();
    plain_pool();
    counted();
    grown_structures();
    for (int way = FORK; way < WAYS; way++)
        forked(way);
    classes();
    misuse();
    released_when_idle(false);
    released_when_idle(true);
    larger_than_a_file();
    sized();
    nothing();
    shared_pool();
    return report();
}
