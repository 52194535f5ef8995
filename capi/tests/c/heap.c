/* The heap: what the data path has of it, and what happens if it is out.

   The program's allocator is one that counts, calls a signal handler in the middle, and
   refuses what it is told to. */

#include "check.h"

#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/time.h>
#include <time.h>

extern void *__libc_malloc(size_t);
extern void *__libc_calloc(size_t, size_t);
extern void *__libc_realloc(void *, size_t);
extern void *__libc_memalign(size_t, size_t);
extern void __libc_free(void *);

/* What is in the heap now. */
static atomic_long live;
/* Calls of the allocator by this thread. */
static __thread long calls;
/* The calls of this thread that are refused: from the `first` on, `count` of them. */
static __thread long first, count;
/* Whether those of all other threads are. */
static atomic_int others;
static __thread int is_main;

static bool refuses(void) {
    calls++;
    if (!is_main)
        return atomic_load(&others);
    return first > 0 && --first == 0 && (first = 1, count-- > 0);
}

static void *counted_in(void *start) {
    if (start != NULL)
        live++;
    else
        errno = ENOMEM;
    return start;
}

void *malloc(size_t size) {
    return counted_in(refuses() ? NULL : __libc_malloc(size));
}

void *calloc(size_t number, size_t size) {
    return counted_in(refuses() ? NULL : __libc_calloc(number, size));
}

void *realloc(void *start, size_t size) {
    if (refuses()) {
        errno = ENOMEM;
        return NULL;
    }
    void *moved = __libc_realloc(start, size);
    if (start == NULL && moved != NULL)
        live++;
    return moved;
}

void *aligned_alloc(size_t alignment, size_t size) {
    return counted_in(refuses() ? NULL : __libc_memalign(alignment, size));
}

int posix_memalign(void **place, size_t alignment, size_t size) {
    void *start = counted_in(refuses() ? NULL : __libc_memalign(alignment, size));
    if (start == NULL)
        return ENOMEM;
    *place = start;
    return 0;
}

void free(void *start) {
    calls++;
    if (start != NULL)
        live--;
    __libc_free(start);
}

/* Makes `call`, which must leave the allocator alone, and expects `code`. */
#define QUIET(call, code)                                                                      \
    do {                                                                                       \
        long before = calls;                                                                   \
        uint32_t said = (call);                                                                \
        long after = calls;                                                                    \
        if (before != after)                                                                   \
            printf("line %d: %s: %ld calls of the allocator\n", __LINE__, #call, after - before), \
                failures++;                                                                    \
        expect(__LINE__, #call, said, (code));                                                 \
    } while (0)

enum { BUFFERS = 40 };

static hp_pool *small_pool(hp_builder *builder, size_t buffers) {
    hp_pool *pool = NULL;
    OK(hp_builder_reserve(builder, 4096, 4096, buffers));
    OK(hp_builder_prefault(builder, false));
    OK(hp_builder_shared(builder, HP_ACCESS_WRITE));
    OK(hp_builder_build(builder, &pool));
    return pool;
}

/* No call of the data path allocates, refused or not. */
static void data_path(bool portable) {
    void *start, *other, *many[BUFFERS], *spare[BUFFERS + 1];
    size_t number;
    int32_t descriptor;
    uint32_t handle;
    uint64_t long_handle;
    char text[200];
    hp_builder *builder;
    hp_token *token, *foreign;
    hp_stream *stream;
    hp_class *class;
    hp_wait *wait;
    hp_client *client;
    hp_publication *publication;
    hp_view view = {.size = sizeof view};
    hp_counters counters = {.size = sizeof counters};
    hp_class_counters class_counters = {.size = sizeof class_counters};
    hp_location place = {.size = sizeof place};
    const hp_share share = {4096, 4096, 2, 4};
    OK(hp_builder_new(&builder));
    OK(hp_builder_portable_caches(builder, portable));
    hp_pool *pool = small_pool(builder, BUFFERS), *second = small_pool(builder, 1);
    hp_builder_release(builder);
    OK(hp_token_new(pool, &token));
    OK(hp_token_new(second, &foreign));
    OK(hp_stream_new(pool, "stream", &share, 1, &stream));
    OK(hp_class_new(pool, 4096, 4096, &class));
    snprintf(text, sizeof text, "heap %d", (int)getpid());
    OK(hp_pool_publish(pool, NULL, text, NULL, &publication));
    OK(hp_client_new(&client));
    OK(hp_client_open_in_secondary(client, NULL, text, NULL));

    QUIET(hp_pool_allocate(pool, 4096, 4096, &start), HP_NOERROR);
    QUIET(hp_pool_try_release(pool), HP_VD_E_BUSY);
    QUIET(hp_pool_locate(pool, start, &place), HP_NOERROR);
    QUIET(hp_pool_locate(pool, &place, &place), HP_E_FOREIGN);
    QUIET(hp_pool_get_buffer_handle(pool, start, &handle), HP_NOERROR);
    QUIET(hp_pool_view(pool, handle, &view), HP_NOERROR);
    QUIET(hp_pool_get_buffer_handle64(pool, start, &long_handle), HP_NOERROR);
    QUIET(hp_pool_view64(pool, long_handle, &view), HP_NOERROR);
    QUIET(hp_pool_view64(pool, 0, &view), HP_VD_E_INVALID);
    QUIET(hp_client_view(client, handle, &view), HP_NOERROR);
    QUIET(hp_client_get_buffer_handle64(client, view.start, &long_handle), HP_NOERROR);
    QUIET(hp_client_view64(client, long_handle, &view), HP_NOERROR);
    QUIET(hp_client_map_buffer_handle64(client, long_handle, &other), HP_NOERROR);
    QUIET(hp_client_map_buffer_handle64(client, 0, &other), HP_VD_E_INVALID);
    QUIET(hp_client_get_buffer_handle(client, view.start, &handle), HP_NOERROR);
    QUIET(hp_client_get_buffer_handle(client, &start, &handle), HP_VD_E_INVALID);
    QUIET(hp_client_map_buffer_handle(client, handle, &other), HP_NOERROR);
    QUIET(hp_pool_free(pool, start, 4095), HP_E_WRONG_SIZE);
    QUIET(hp_pool_free(pool, (char *)start + 1, 4096), HP_E_INTERIOR);
    QUIET(hp_pool_free(pool, &start, 4096), HP_E_FOREIGN);
    QUIET(hp_pool_free(pool, start, 4096), HP_NOERROR);
    QUIET(hp_pool_free(pool, start, 4096), HP_E_NOT_ALLOCATED);
    QUIET(hp_last_code(), HP_E_NOT_ALLOCATED);
    QUIET(hp_pool_get_buffer_handle(pool, start, &handle), HP_VD_E_INVALID);
    QUIET(hp_pool_view(pool, handle, &view), HP_VD_E_INVALID);
    QUIET(hp_client_view(client, handle, &view), HP_VD_E_INVALID);
    QUIET(hp_client_map_buffer_handle(client, 0, &other), HP_VD_E_INVALID);
    QUIET(hp_pool_allocate(pool, 0, 4096, &start), HP_VD_E_INVALID);
    QUIET(hp_pool_allocate(pool, 4096, 3, &start), HP_VD_E_INVALID);
    QUIET(hp_pool_allocate(pool, 8192, 4096, &start), HP_VD_E_INVALID);
    QUIET(hp_pool_allocate(NULL, 4096, 4096, &start), HP_VD_E_INVALID);
    QUIET(hp_pool_allocate(pool, 4096, 4096, NULL), HP_VD_E_INVALID);
    QUIET(hp_class_allocate(class, &start), HP_NOERROR);
    QUIET(hp_class_free(class, start), HP_NOERROR);
    QUIET(hp_class_free(class, start), HP_E_NOT_ALLOCATED);
    QUIET(hp_class_allocate_timeout(class, 0, &start), HP_NOERROR);
    QUIET(hp_class_free(class, start), HP_NOERROR);
    QUIET(hp_class_available(class, &number), HP_NOERROR);
    QUIET(hp_class_shape(class, &number, &number), HP_NOERROR);
    QUIET(hp_stream_allocate(stream, 4096, 4096, &start), HP_NOERROR);
    QUIET(hp_stream_free(stream, start, 4096), HP_NOERROR);
    QUIET(hp_stream_free(stream, start, 4096), HP_E_NOT_ALLOCATED);
    QUIET(hp_stream_allocate(stream, 8192, 4096, &start), HP_VD_E_INVALID);
    for (int many_of = 3; many_of <= 4; many_of++) {
        QUIET(hp_stream_allocate_many(stream, 4096, 4096, many_of, many), HP_NOERROR);
        QUIET(hp_stream_allocate_many(stream, 4096, 4096, 2, spare), HP_VD_E_MEMORY);
        QUIET(hp_stream_allocate_many_timeout(stream, 4096, 4096, 3, 2, spare), HP_VD_E_TIMEOUT);
        QUIET(hp_stream_allocate_many_deadline(stream, 4096, 4096, 2, 1, spare), HP_VD_E_TIMEOUT);
        for (int i = 0; i < many_of; i++)
            QUIET(hp_stream_free(stream, many[i], 4096), HP_NOERROR);
    }
    QUIET(hp_stream_allocate_many(stream, 4096, 4096, 5, many), HP_VD_E_INVALID);
    QUIET(hp_stream_allocate_many_cancellable(stream, 4096, 4096, 3, 1, foreign, spare), HP_VD_E_INVALID);
    QUIET(hp_stream_allocate_timeout(stream, 4096, 4096, 1, &start), HP_NOERROR);
    QUIET(hp_stream_free(stream, start, 4096), HP_NOERROR);
    QUIET(hp_stream_allocate_deadline(stream, 4096, 4096, 1, &start), HP_NOERROR);
    QUIET(hp_stream_free(stream, start, 4096), HP_NOERROR);
    QUIET(hp_stream_allocate_cancellable(stream, 4096, 4096, 1, token, &start), HP_NOERROR);
    QUIET(hp_stream_free(stream, start, 4096), HP_NOERROR);
    QUIET(hp_stream_in_use(stream, 4096, 4096, &number), HP_NOERROR);
    /* Two are set aside for the stream. */
    QUIET(hp_pool_allocate_many(pool, 4096, 4096, BUFFERS - 2, many), HP_NOERROR);
    QUIET(hp_pool_allocate_many(pool, 4096, 4096, BUFFERS + 1, spare), HP_VD_E_INVALID);
    QUIET(hp_pool_allocate(pool, 4096, 4096, &start), HP_VD_E_MEMORY);
    QUIET(hp_class_allocate(class, &start), HP_VD_E_MEMORY);
    QUIET(hp_pool_allocate_timeout(pool, 4096, 4096, 2, &start), HP_VD_E_TIMEOUT);
    QUIET(hp_pool_allocate_deadline(pool, 4096, 4096, 1, &start), HP_VD_E_TIMEOUT);
    QUIET(hp_class_allocate_timeout(class, 2, &start), HP_VD_E_TIMEOUT);
    QUIET(hp_pool_allocate_many(pool, 4096, 4096, 2, spare), HP_VD_E_MEMORY);
    QUIET(hp_pool_allocate_many_timeout(pool, 4096, 4096, 2, 2, spare), HP_VD_E_TIMEOUT);
    QUIET(hp_pool_allocate_many_deadline(pool, 4096, 4096, 2, 1, spare), HP_VD_E_TIMEOUT);
    QUIET(hp_pool_allocate_cancellable(pool, 4096, 4096, 1, foreign, &start), HP_VD_E_INVALID);
    OK(hp_wait_begin(pool, 4096, 4096, &wait));
    QUIET(hp_wait_descriptor(wait, &descriptor), HP_NOERROR);
    QUIET(hp_wait_poll(wait, &start), HP_PENDING);
    QUIET(hp_wait_poll(wait, NULL), HP_VD_E_INVALID);
    QUIET(hp_pool_free(pool, many[0], 4096), HP_NOERROR);
    QUIET(hp_wait_poll(wait, &many[0]), HP_NOERROR);
    QUIET(hp_wait_poll(wait, &start), HP_VD_E_PROTOCOL);
    hp_wait_end(wait);
    for (int i = 0; i < BUFFERS - 2; i++)
        QUIET(hp_pool_free(pool, many[i], 4096), HP_NOERROR);
    QUIET(hp_pool_counters(pool, &counters), HP_NOERROR);
    QUIET(hp_pool_class_counters(pool, 0, &class_counters), HP_NOERROR);
    QUIET(hp_pool_class_counters(pool, 9, &class_counters), HP_VD_E_INVALID);
    QUIET(hp_pool_reset_marks(pool), HP_NOERROR);
    QUIET(hp_pool_available(pool, 4096, 4096, &number), HP_NOERROR);
    CHECK(number == BUFFERS - 2);
    CHECK(hp_pool_contains(pool, many[0]));
    QUIET(hp_token_cancel(token), HP_NOERROR);
    QUIET(!hp_token_is_cancelled(token), 0);
    QUIET(hp_pool_allocate_cancellable(pool, 4096, 4096, 1, token, &start), HP_NOERROR);
    QUIET(hp_pool_free(pool, start, 4096), HP_NOERROR);
    QUIET(hp_pool_allocate_many_cancellable(pool, 4096, 4096, 2, 1, token, many), HP_NOERROR);
    QUIET(hp_pool_free(pool, many[0], 4096), HP_NOERROR);
    QUIET(hp_pool_free(pool, many[1], 4096), HP_NOERROR);
    QUIET(hp_pool_abort(pool), HP_NOERROR);
    QUIET(!hp_pool_is_aborted(pool), 0);
    long before = calls;
    CHECK(hp_last_error(text, sizeof text) > 0);
    CHECK(calls == before);
    hp_class_release(class);
    hp_stream_release(stream);
    hp_token_release(token);
    hp_token_release(foreign);
    hp_client_release(client);
    hp_publication_release(publication);
    hp_pool_release(pool);
    hp_pool_release(second);

    hp_vdi *set = set_in(INITIALIZING, &start);
    QUIET(hp_vdi_get_buffer_handle(set, start, &handle), HP_NOERROR);
    QUIET(hp_vdi_view(set, handle, &view), HP_NOERROR);
    QUIET(hp_vdi_get_buffer_handle64(set, start, &long_handle), HP_NOERROR);
    QUIET(hp_vdi_view64(set, long_handle, &view), HP_NOERROR);
    QUIET(hp_vdi_view(set, handle + 1, &view), HP_VD_E_INVALID);
    QUIET(hp_vdi_allocate_buffer(set, &other, SIZE, 0), HP_NOERROR);
    QUIET(hp_vdi_allocate_buffer(set, &many[0], SIZE, 0), HP_VD_E_MEMORY);
    QUIET(hp_vdi_allocate_buffer(set, &many[0], 0, 0), HP_VD_E_INVALID);
    QUIET(hp_vdi_allocate_buffer_timeout(set, &many[0], SIZE, 0, 2), HP_VD_E_TIMEOUT);
    QUIET(hp_vdi_locate(set, other, &place), HP_NOERROR);
    QUIET(hp_vdi_free_buffer(set, other, SIZE), HP_NOERROR);
    QUIET(hp_vdi_free_buffer(set, other, SIZE), HP_VD_E_INVALID);
    QUIET(hp_vdi_query_available_buffers(set, SIZE, 0, &handle), HP_NOERROR);
    QUIET(hp_vdi_counters(set, &counters), HP_NOERROR);
    QUIET(hp_vdi_class_counters(set, 0, &class_counters), HP_NOERROR);
    QUIET(hp_vdi_reset_marks(set), HP_NOERROR);
    CHECK(hp_vdi_is_shared_buffer(set, start) == 1);
    QUIET(hp_vdi_signal_abort(set), HP_NOERROR);
    QUIET(hp_vdi_allocate_buffer(set, &many[0], SIZE, 0), HP_VD_E_ABORT);
    hp_vdi_release(set);
}

/* A thread that has not called the library before: its first refusal does not allocate. (The
   library is one that was linked, or opened by `dlopen`, in which case the first touch of a
   variable of a thread would.) */
static void *first_refusal(void *pool) {
    void *start;
    char text[100];
    long before = calls;
    uint32_t code = hp_pool_allocate(pool, 4096, 4096, &start);
    size_t length = hp_last_error(text, sizeof text);
    CHECK(calls == before);
    EXPECT(code, HP_VD_E_MEMORY);
    CHECK(length > 10 && length == strlen(text));
    return NULL;
}

static void first_refusals(void) {
    void *start;
    pthread_t thread;
    hp_pool *pool = pool_of(1, false);
    OK(hp_pool_allocate(pool, 4096, 4096, &start));
    CHECK(pthread_create(&thread, NULL, first_refusal, pool) == 0);
    pthread_join(thread, NULL);
    hp_pool_release(pool);
}

/* Signal handlers that are refused, at any instruction of a thread that is. */
static hp_pool *dry;
static volatile sig_atomic_t handled, torn;
static const char *const EXPECTED[2] = {"4 KiB at alignment 4096: class", "4 KiB at alignment 8192: the"};

static bool is_whole(const char *text) {
    return *text == '\0' || strncmp(text, EXPECTED[0], strlen(EXPECTED[0])) == 0 ||
           strncmp(text, EXPECTED[1], strlen(EXPECTED[1])) == 0;
}

static void handler(int signal) {
    void *start;
    char text[160];
    (void)signal;
    long before = calls;
    if (hp_pool_allocate(dry, 4096, 4096, &start) != HP_VD_E_MEMORY)
        torn++;
    hp_last_error(text, sizeof text);
    torn += !is_whole(text) || calls != before;
    handled++;
}

static void signals(void) {
    void *start;
    char text[160];
    dry = pool_of(1, false);
    OK(hp_pool_allocate(dry, 4096, 4096, &start));
    struct sigaction action = {.sa_handler = handler, .sa_flags = SA_RESTART};
    CHECK(sigaction(SIGPROF, &action, NULL) == 0);
    struct itimerval often = {{0, 50}, {0, 50}}, never = {{0, 0}, {0, 0}};
    CHECK(setitimer(ITIMER_PROF, &often, NULL) == 0);
    for (int i = 0; handled < 30 || i < 20000; i++) {
        EXPECT(hp_pool_allocate(dry, 4096, 8192, &start), HP_VD_E_INVALID);
        hp_last_error(text, sizeof text);
        torn += !is_whole(text);
    }
    CHECK(setitimer(ITIMER_PROF, &never, NULL) == 0);
    CHECK(torn == 0);
    hp_pool_release(dry);
}

/* What readers of a list of segments leave for the next reader to free. */
enum { DEFERRED = 4 };
/* What the C library keeps with the stacks of threads that have ended, for the next ones. */
enum { CACHED = 8 };

/* Makes `call` with the `nth` call of the allocator refused, and with all from the `nth` on,
   for each `nth` there is (later on for some of them), and `undo` after each time that it succeeds. It is a code whatever
   happens, and leaves nothing behind if it fails. */
#define SWEEP(call, undo)                                                                      \
    do {                                                                                       \
        for (int all = 0; all < 2; all++)                                                      \
            for (long nth = 1;; nth += nth < 60 ? 1 : nth / 9) {                               \
                long before = live;                                                            \
                first = nth, count = all ? 1000000000 : 1;                                     \
                long allowed = count;                                                          \
                uint32_t code = (call);                                                        \
                bool refused = count != allowed;                                               \
                first = 0;                                                                     \
                if (code == HP_NOERROR) {                                                      \
                    undo;                                                                      \
                    if (!refused)                                                              \
                        break;                                                                 \
                } else {                                                                       \
                    /* What the system says of a thread that it has no memory for. */          \
                    if (code != HP_VD_E_UNEXPECTED)                                            \
                        expect(__LINE__, #call, code, HP_VD_E_MEMORY);                         \
                    if (live > before + DEFERRED)                                              \
                        printf("line %d: %s left %ld, refused the %ldth\n", __LINE__, #call,    \
                               live - before, nth),                                            \
                            failures++;                                                        \
                    if (!refused)                                                              \
                        break;                                                                 \
                }                                                                              \
            }                                                                                  \
    } while (0)

static uint32_t listed(size_t declared, hp_builder **builder) {
    uint32_t code = hp_builder_new(builder);
    for (size_t i = 0; code == HP_NOERROR && i < declared; i++)
        code = hp_builder_reserve(*builder, 512 * (1 + i), 512, 1);
    return code;
}

/* Every call that allocates, with and without heap. */
static void exhausted(void) {
    hp_builder *builder, *other;
    hp_pool *pool, *another;
    hp_token *token;
    hp_stream *stream;
    hp_class *class;
    hp_wait *wait;
    hp_client *client, *attached;
    hp_publication *publication, *second;
    hp_vdi *set, *with;
    hp_stats stats = {.size = sizeof stats};
    hp_trimmed trimmed = {.size = sizeof trimmed};
    hp_export exports[8] = {{.size = sizeof *exports}};
    hp_outstanding held[8] = {{.size = sizeof *held}};
    hp_region_info regions[16] = {{.size = sizeof *regions}};
    const hp_share shares[2] = {{4096, 4096, 1, 2}, {8192, 4096, 1, 2}};
    uint32_t users[100] = {0};
    const hp_peers who = {users, 100, users, 100};
    void *start;
    size_t number;
    char name[64];
    long beginning = live;
    SWEEP(hp_builder_new(&builder), hp_builder_release(builder));
    OK(hp_builder_new(&builder));
    for (int i = 0; i < 20; i++)
        SWEEP(hp_builder_reserve(builder, 512, 512, 1), (void)0);
    hp_builder_release(builder);
    /* As many classes as there can be, with no more heap than the call has for a start; and
       few. */
    OK(listed(128, &builder));
    OK(hp_builder_prefault(builder, false));
    first = 2, count = 1000000000;
    OK(hp_builder_build(builder, &pool));
    EXPECT(hp_pool_request(pool, 512, 512, 1), HP_VD_E_MEMORY);
    first = 0;
    SWEEP(hp_pool_stats(pool, &stats), CHECK(stats.capacity >= 128));
    SWEEP(hp_pool_request(pool, 512, 512, 1), (void)0);
    SWEEP(hp_pool_trim(pool, &trimmed), {
        trimmed.size = sizeof trimmed;
        OK(hp_pool_request(pool, 512, 512, 1));
    });
    first = 1, count = 1000000000;
    hp_pool_release(pool);
    first = 0;
    hp_builder_release(builder);
    OK(hp_builder_new(&builder));
    OK(hp_builder_shared(builder, HP_ACCESS_WRITE));
    OK(hp_builder_track(builder, true));
    OK(hp_builder_reserve(builder, 4096, 4096, 4));
    OK(hp_builder_reserve(builder, 8192, 4096, 4));
    SWEEP(hp_builder_build(builder, &pool), hp_pool_release(pool));
    OK(hp_builder_build(builder, &pool));
    OK(hp_pool_allocate(pool, 4096, 4096, &start));
    SWEEP(hp_pool_request(pool, 4096, 4096, 2), (void)0);
    uint64_t reuses;
    SWEEP(hp_pool_handle_reuses(pool, &reuses), (void)0);
    SWEEP(hp_pool_stats(pool, &stats), CHECK(stats.capacity > 8));
    SWEEP(hp_pool_exports(pool, exports, 8, &number), {
        for (size_t i = 0; i < number && i < 8; i++) {
            close(exports[i].memory);
            close(exports[i].states);
            close(exports[i].status);
        }
        exports[0].size = sizeof *exports;
    });
    SWEEP(hp_pool_regions(pool, regions, 16, &number), {
        for (size_t i = 0; i < number && i < 16; i++)
            hp_region_release(regions[i].region);
        regions[0].size = sizeof *regions;
    });
    SWEEP(hp_pool_outstanding(pool, held, 8, &number), {
        CHECK(number == 1 && held[0].start == start);
        held[0].size = sizeof *held;
    });
    SWEEP(hp_pool_trim(pool, &trimmed), {
        trimmed.size = sizeof trimmed;
        OK(hp_pool_request(pool, 4096, 4096, 2));
        OK(hp_pool_request(pool, 12288, 4096, 2));
    });
    SWEEP(hp_token_new(pool, &token), hp_token_release(token));
    SWEEP(hp_stream_new(pool, "stream", shares, 2, &stream), hp_stream_release(stream));
    SWEEP(hp_class_new(pool, 4096, 4096, &class), hp_class_release(class));
    SWEEP(hp_wait_begin(pool, 4096, 4096, &wait), hp_wait_end(wait));
    OK(hp_stream_new(pool, "stream", shares, 2, &stream));
    SWEEP(hp_stream_wait_begin(stream, 4096, 4096, &wait), hp_wait_end(wait));
    hp_stream_release(stream);
    snprintf(name, sizeof name, "exhausted %d", (int)getpid());
    SWEEP(hp_pool_publish(pool, NULL, name, &who, &publication), hp_publication_release(publication));
    OK(hp_pool_publish(pool, NULL, name, NULL, &publication));
    SWEEP(hp_client_new(&client), hp_client_release(client));
    /* The server's thread has no heap, either. */
    for (int without = 0; without < 2; without++) {
        others = without;
        OK(hp_client_new(&client));
        SWEEP(hp_client_open_in_secondary(client, NULL, name, &who), {
            OK(hp_client_refresh(client));
            hp_client_release(client);
            OK(hp_client_new(&client));
        });
        SWEEP(hp_client_open_in_secondary_timeout(client, NULL, name, NULL, 20000),
              OK(hp_client_close(client)));
        OK(hp_client_open_in_secondary(client, NULL, name, NULL));
        OK(hp_pool_request(pool, 4096, 4096, 1));
        SWEEP(hp_client_refresh(client), OK(hp_pool_request(pool, 4096, 4096, 1)));
        SWEEP(hp_client_refresh_timeout(client, 20000), (void)0);
        hp_client_release(client);
        others = 0;
    }
    OK(hp_pool_exports(pool, exports, 1, &number));
    OK(hp_client_new(&attached));
    SWEEP(hp_client_attach(attached, exports[0].layout, HP_LAYOUT_BYTES, exports[0].memory,
                           exports[0].states, exports[0].status),
          {
              hp_client_release(attached);
              OK(hp_client_new(&attached));
          });
    hp_client_release(attached);
    close(exports[0].memory);
    close(exports[0].states);
    close(exports[0].status);
    hp_publication_release(publication);
    OK(hp_pool_free(pool, start, 4096));
    hp_pool_release(pool);

    SWEEP(hp_vdi_new(&set), hp_vdi_release(set));
    SWEEP(hp_vdi_new_with(builder, &with), hp_vdi_release(with));
    OK(hp_vdi_new_with(builder, &with));
    SWEEP(hp_vdi_open(with, &client_wishes), {
        hp_vdi_release(with);
        OK(hp_vdi_new_with(builder, &with));
    });
    OK(hp_vdi_open(with, &client_wishes));
    SWEEP(hp_vdi_begin_configuration(with, &server), {
        hp_vdi_release(with);
        OK(hp_vdi_new_with(builder, &with));
        OK(hp_vdi_open(with, &client_wishes));
    });
    OK(hp_vdi_begin_configuration(with, &server));
    for (int i = 0; i < 20; i++)
        SWEEP(hp_vdi_request_buffers(with, SIZE, 0, 1), (void)0);
    SWEEP(hp_vdi_end_configuration(with), {
        hp_vdi_release(with);
        OK(hp_vdi_new_with(builder, &with));
        OK(hp_vdi_open(with, &client_wishes));
        OK(hp_vdi_begin_configuration(with, &server));
        OK(hp_vdi_request_buffers(with, SIZE, 0, 2));
    });
    OK(hp_vdi_end_configuration(with));
    hp_vd_config config;
    SWEEP(hp_vdi_get_configuration(with, &config), CHECK(config.blockSize == 4096));
    SWEEP(hp_vdi_request_buffers(with, SIZE, 0, 1), (void)0);
    SWEEP(hp_vdi_stats(with, &stats), (void)0);
    SWEEP(hp_vdi_handle_reuses(with, &reuses), (void)0);
    SWEEP(hp_vdi_exports(with, exports, 0, &number), (void)0);
    SWEEP(hp_vdi_regions(with, regions, 0, &number), (void)0);
    SWEEP(hp_vdi_outstanding(with, NULL, 0, &number), CHECK(number == 0));
    snprintf(name, sizeof name, "exhausted set %d", (int)getpid());
    SWEEP(hp_vdi_publish(with, NULL, name, NULL, &second), hp_publication_release(second));
    OK(hp_vdi_publish(with, NULL, name, NULL, &second));
    SWEEP(hp_get_configuration_of(NULL, name, &who, 20000, &config), CHECK(config.blockSize == 4096));
    OK(hp_client_new(&client));
    OK(hp_client_open_in_secondary(client, NULL, name, NULL));
    SWEEP(hp_client_get_configuration(client, 20000, &config), (void)0);
    hp_client_release(client);
    hp_publication_release(second);
    SWEEP(hp_vdi_open_device(with), OK(hp_vdi_close_device(with)); hp_vdi_release(with);
          with = set_in(INITIALIZING, &start));
    OK(hp_vdi_open_device(with));
    SWEEP(hp_vdi_close_device(with), hp_vdi_release(with); with = set_in(ACTIVE, &start));
    SWEEP(hp_vdi_signal_abort(with), (void)0);
    hp_vdi_release(with);
    with = set_in(INITIALIZING, &start);
    SWEEP(hp_vdi_close(with), hp_vdi_release(with); with = set_in(INITIALIZING, &start));
    hp_vdi_release(with);

    /* What cannot be refused is done without heap, too. */
    OK(hp_builder_build(builder, &another));
    OK(hp_token_new(another, &token));
    OK(hp_class_new(another, 4096, 4096, &class));
    OK(hp_stream_new(another, "stream", shares, 2, &stream));
    OK(hp_wait_begin(another, 4096, 4096, &wait));
    OK(hp_pool_publish(another, NULL, name, NULL, &publication));
    OK(hp_client_new(&client));
    OK(hp_client_open_in_secondary(client, NULL, name, NULL));
    OK(hp_vdi_new(&set));
    OK(hp_builder_new(&other));
    others = 1;
    first = 1, count = 1000000000;
    hp_builder_release(other);
    hp_vdi_release(set);
    hp_client_release(client);
    hp_publication_release(publication);
    hp_wait_end(wait);
    hp_stream_release(stream);
    hp_class_release(class);
    hp_token_release(token);
    uint32_t ended = hp_pool_try_release(another);
    first = 0;
    OK(ended);
    others = 0;
    hp_builder_release(builder);
    /* Threads that close sockets may not have ended. */
    for (int i = 0; live > beginning + CACHED && i < 2000; i++)
        nanosleep(&(struct timespec){0, 1000000}, NULL);
    if (live > beginning + CACHED)
        printf("%ld are left\n", live - beginning), failures++;
}

int main(void) {
    /* What the C library keeps for good. */
    free(malloc(1));
    printf("%s", "");
    fflush(stdout);
    data_path(false);
    data_path(true);
    first_refusals();
    signals();
    is_main = 1;
    exhausted();
    is_main = 0;
    return report();
}
