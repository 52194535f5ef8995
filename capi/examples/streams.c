/*
 * Backup streams that share a pool: each takes a buffer, fills it, and gives it back, and
 * waits while all are out.
 *
 *   gcc streams.c $(pkg-config --cflags --libs hugepool) -pthread
 */

#include <hugepool.h>

#include <pthread.h>
#include <stdio.h>
#include <string.h>

#define SIZE ((size_t)64 << 10)
#define STREAMS 8
#define BLOCKS 1000

static hp_pool *pool;

static uint32_t check(uint32_t code, const char *call) {
    if (code != HP_NOERROR) {
        char text[256];
        hp_last_error(text, sizeof text);
        fprintf(stderr, "%s: %#x, %s\n", call, code, text);
    }
    return code;
}

static void *stream(void *written) {
    for (int block = 0; block < BLOCKS; block++) {
        void *buffer;
        /* At 4096, as direct I/O wants it. Waits up to a second. */
        if (check(hp_pool_allocate_timeout(pool, SIZE, 4096, 1000, &buffer), "allocate"))
            break;
        memset(buffer, block, SIZE);
        if (check(hp_pool_free(pool, buffer, SIZE), "free"))
            break;
        *(size_t *)written += SIZE;
    }
    return NULL;
}

int main(void) {
    hp_builder *builder;
    if (hp_abi_version() != HP_ABI_VERSION)
        return 1;
    /* Fewer buffers than streams. What is wrong with a description is said by build. */
    if (check(hp_builder_new(&builder), "builder") ||
        check(hp_builder_reserve(builder, SIZE, 4096, STREAMS / 2), "reserve"))
        return 1;
    uint32_t built = hp_builder_build(builder, &pool);
    hp_builder_release(builder);
    if (check(built, "build"))
        return 1;

    pthread_t threads[STREAMS];
    size_t written[STREAMS] = {0}, bytes = 0;
    for (int i = 0; i < STREAMS; i++)
        pthread_create(&threads[i], NULL, stream, &written[i]);
    for (int i = 0; i < STREAMS; i++) {
        pthread_join(threads[i], NULL);
        bytes += written[i];
    }

    hp_stats stats = {.size = sizeof stats};
    if (check(hp_pool_stats(pool, &stats), "stats"))
        return 1;
    printf("%zu MiB through %llu buffers, %llu still out\n", bytes >> 20,
           (unsigned long long)stats.capacity, (unsigned long long)stats.in_use);
    hp_pool_release(pool);
    return bytes == STREAMS * BLOCKS * SIZE && stats.in_use == 0 ? 0 : 1;
}
