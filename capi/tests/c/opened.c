/* The library, opened by `dlopen` while the program runs: threads that are refused, and that
   have never called it before, leave the allocator alone, those included that are older than
   the library, and than others that were opened before it. It is the first argument, and the
   others follow. */

#include "check.h"

#include <pthread.h>

extern void *__libc_malloc(size_t);
extern void *__libc_calloc(size_t, size_t);
extern void *__libc_realloc(void *, size_t);
extern void *__libc_memalign(size_t, size_t);

static __thread long calls;

void *malloc(size_t size) {
    calls++;
    return __libc_malloc(size);
}

void *calloc(size_t number, size_t size) {
    calls++;
    return __libc_calloc(number, size);
}

void *realloc(void *start, size_t size) {
    calls++;
    return __libc_realloc(start, size);
}

void *aligned_alloc(size_t alignment, size_t size) {
    calls++;
    return __libc_memalign(alignment, size);
}

static uint32_t (*new)(hp_builder **);
static uint32_t (*track)(hp_builder *, bool);
static uint32_t (*portable)(hp_builder *, bool);
static uint32_t (*reserve)(hp_builder *, size_t, size_t, size_t);
static uint32_t (*build)(const hp_builder *, hp_pool **);
static uint32_t (*allocate)(const hp_pool *, size_t, size_t, void **);
static uint32_t (*many)(const hp_pool *, size_t, size_t, size_t, void **);
static uint32_t (*give)(const hp_pool *, void *, size_t);
static size_t (*last)(char *, size_t);

/* hp_last_error is not linked: `expect` in check.h calls this. */
size_t hp_last_error(char *text, size_t size) {
    return last(text, size);
}

static void *refused(void *pool) {
    char text[200];
    void *start, *both[2];
    long before = calls;
    uint32_t first = allocate(pool, 4096, 4096, &start);
    size_t length = last(text, sizeof text);
    uint32_t second = many(pool, 4096, 4096, 2, both), third = give(pool, &start, 4096);
    CHECK(calls == before);
    EXPECT(first, HP_VD_E_MEMORY);
    EXPECT(second, HP_VD_E_MEMORY);
    EXPECT(third, HP_E_FOREIGN);
    CHECK(length == strlen(text) && strstr(text, "2 of 2") != NULL);
    return NULL;
}

/* Takes a buffer and gives it back, in a pool that has one. */
static void served(void *pool) {
    void *start;
    long before = calls;
    uint32_t taken = allocate(pool, 4096, 4096, &start), given = give(pool, start, 4096);
    CHECK(calls == before);
    OK(taken);
    OK(given);
}

static pthread_barrier_t ready;
static hp_pool *dry, *tracked, *tracked_dry, *swapping;

/* In a thread that has called nothing before. */
static void *first_served(void *pool) {
    served(pool);
    return NULL;
}

static void *older(void *nothing) {
    /* It is there, and then the library is. */
    pthread_barrier_wait(&ready);
    pthread_barrier_wait(&ready);
    served(swapping);
    served(tracked);
    refused(dry);
    refused(tracked_dry);
    return nothing;
}

static hp_pool *made(bool tracks, bool swaps, bool dry) {
    hp_builder *builder;
    hp_pool *pool;
    void *both[2];
    OK(new(&builder));
    OK(reserve(builder, 4096, 4096, 2));
    OK(track(builder, tracks));
    OK(portable(builder, swaps));
    OK(build(builder, &pool));
    if (dry)
        OK(many(pool, 4096, 4096, 2, both));
    return pool;
}

int main(int count, char **arguments) {
    pthread_t thread, first;
    pthread_barrier_init(&ready, NULL, 2);
    CHECK(pthread_create(&first, NULL, older, NULL) == 0);
    pthread_barrier_wait(&ready);
    for (int i = 2; i < count; i++)
        CHECK(dlopen(arguments[i], RTLD_NOW) != NULL);
    void *library = dlopen(count > 1 ? arguments[1] : "libhugepool.so", RTLD_NOW);
    if (library == NULL) {
        printf("%s\n", dlerror());
        return 1;
    }
    *(void **)&new = dlsym(library, "hp_builder_new");
    *(void **)&reserve = dlsym(library, "hp_builder_reserve");
    *(void **)&track = dlsym(library, "hp_builder_track");
    *(void **)&portable = dlsym(library, "hp_builder_portable_caches");
    *(void **)&build = dlsym(library, "hp_builder_build");
    *(void **)&allocate = dlsym(library, "hp_pool_allocate");
    *(void **)&many = dlsym(library, "hp_pool_allocate_many");
    *(void **)&give = dlsym(library, "hp_pool_free");
    *(void **)&last = dlsym(library, "hp_last_error");
    dry = made(false, false, true);
    tracked = made(true, false, false);
    tracked_dry = made(true, false, true);
    swapping = made(false, true, false);
    for (int i = 0; i < 3; i++) {
        CHECK(pthread_create(&thread, NULL, refused, dry) == 0);
        pthread_join(thread, NULL);
        CHECK(pthread_create(&thread, NULL, first_served, swapping) == 0);
        pthread_join(thread, NULL);
    }
    pthread_barrier_wait(&ready);
    pthread_join(first, NULL);
    return report();
}
