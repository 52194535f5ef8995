/* The library, opened by `dlopen` while the program runs: threads that are refused, and that
   have never called it before, leave the allocator alone. It is given as the first argument. */

#include "check.h"

#include <pthread.h>

extern void *__libc_malloc(size_t);
extern void *__libc_calloc(size_t, size_t);
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

void *aligned_alloc(size_t alignment, size_t size) {
    calls++;
    return __libc_memalign(alignment, size);
}

static uint32_t (*new)(hp_builder **);
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
    EXPECT(third, HP_VD_E_INVALID);
    CHECK(length == strlen(text) && strstr(text, "2 of 2") != NULL);
    return NULL;
}

int main(int count, char **arguments) {
    hp_builder *builder;
    hp_pool *pool;
    void *both[2];
    pthread_t thread;
    void *library = dlopen(count > 1 ? arguments[1] : "libhugepool.so", RTLD_NOW);
    if (library == NULL) {
        printf("%s\n", dlerror());
        return 1;
    }
    *(void **)&new = dlsym(library, "hp_builder_new");
    *(void **)&reserve = dlsym(library, "hp_builder_reserve");
    *(void **)&build = dlsym(library, "hp_builder_build");
    *(void **)&allocate = dlsym(library, "hp_pool_allocate");
    *(void **)&many = dlsym(library, "hp_pool_allocate_many");
    *(void **)&give = dlsym(library, "hp_pool_free");
    *(void **)&last = dlsym(library, "hp_last_error");
    OK(new(&builder));
    OK(reserve(builder, 4096, 4096, 2));
    OK(build(builder, &pool));
    OK(many(pool, 4096, 4096, 2, both));
    for (int i = 0; i < 3; i++) {
        CHECK(pthread_create(&thread, NULL, refused, pool) == 0);
        pthread_join(thread, NULL);
    }
    return report();
}
