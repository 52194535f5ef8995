/* A pool that wipes: the next owner finds zeros, however the buffer came back. */

#include "check.h"

enum { PREFIX = 64, BYTES = 4096 };

static hp_builder *described(bool portable, bool wipe) {
    hp_builder *builder;
    OK(hp_builder_new(&builder));
    OK(hp_builder_prefault(builder, false));
    OK(hp_builder_portable_caches(builder, portable));
    OK(hp_builder_wipe(builder, wipe));
    return builder;
}

/* A pool of one buffer. */
static hp_pool *one(bool portable, bool wipe) {
    hp_builder *builder = described(portable, wipe);
    hp_pool *pool = NULL;
    OK(hp_builder_reserve(builder, BYTES, 4096, 1));
    OK(hp_builder_prefix_zone(builder, PREFIX));
    OK(hp_builder_build(builder, &pool));
    hp_builder_release(builder);
    return pool;
}

/* Whether the zone and the buffer hold nothing but `byte`; after that they hold 0xa5. */
static bool held(void *start, unsigned char byte) {
    unsigned char *all = (unsigned char *)start - PREFIX;
    bool only = true;
    for (int at = 0; at < PREFIX + BYTES; at++)
        only &= all[at] == byte;
    memset(all, 0xa5, PREFIX + BYTES);
    return only;
}

static void each_way(bool portable, bool wipe) {
    const unsigned char left = wipe ? 0 : 0xa5;
    const hp_share share = {BYTES, 4096, 1, 1};
    hp_pool *pool = one(portable, wipe);
    hp_class *class;
    hp_stream *stream;
    hp_wait *wait;
    void *start;
    OK(hp_pool_allocate(pool, 100, 4096, &start));
    CHECK(held(start, 0));
    EXPECT(hp_pool_free(pool, start, 101), HP_E_WRONG_SIZE);
    CHECK(held(start, 0xa5));
    OK(hp_pool_free(pool, start, 100));
    OK(hp_class_new(pool, BYTES, 4096, &class));
    OK(hp_class_allocate(class, &start));
    CHECK(held(start, left));
    OK(hp_class_free(class, start));
    hp_class_release(class);
    OK(hp_pool_allocate_many(pool, BYTES, 4096, 1, &start));
    CHECK(held(start, left));
    OK(hp_pool_free(pool, start, BYTES));
    OK(hp_wait_begin(pool, BYTES, 4096, &wait));
    OK(hp_wait_poll(wait, &start));
    hp_wait_end(wait);
    CHECK(held(start, left));
    OK(hp_pool_free(pool, start, BYTES));
    OK(hp_stream_new(pool, "one", &share, 1, &stream));
    OK(hp_stream_allocate(stream, 1, 1, &start));
    CHECK(held(start, left));
    OK(hp_stream_free(stream, start, 1));
    OK(hp_stream_allocate(stream, 1, 1, &start));
    CHECK(held(start, left));
    /* Its stream ends first. */
    hp_stream_release(stream);
    OK(hp_pool_free(pool, start, 1));
    OK(hp_pool_allocate(pool, BYTES, 4096, &start));
    CHECK(held(start, left));
    OK(hp_pool_free(pool, start, BYTES));
    hp_pool_release(pool);
}

/* A set whose buffers no client has; or, `shared`, one whose clients may write them. */
static void of_a_set(bool shared) {
    const hp_vd_config wishes = {.deviceCount = 1, .prefixZoneSize = PREFIX};
    hp_builder *builder = described(false, true);
    hp_vdi *set;
    void *start;
    if (shared)
        OK(hp_builder_shared(builder, HP_ACCESS_WRITE));
    OK(hp_vdi_new_with(builder, &set));
    hp_builder_release(builder);
    OK(hp_vdi_open(set, &wishes));
    OK(hp_vdi_begin_configuration(set, &server));
    OK(hp_vdi_request_buffers(set, BYTES, 0, 1));
    if (shared) {
        EXPECT(hp_vdi_end_configuration(set), HP_VD_E_INVALID);
    } else {
        OK(hp_vdi_end_configuration(set));
        for (int round = 0; round < 2; round++) {
            OK(hp_vdi_allocate_buffer(set, &start, BYTES, 0));
            CHECK(held(start, 0));
            OK(hp_vdi_free_buffer(set, start, BYTES));
        }
    }
    hp_vdi_release(set);
}

static void bad_input(void) {
    hp_builder *builder = described(false, true);
    hp_pool *pool = (hp_pool *)&builder;
    OK(hp_builder_reserve(builder, BYTES, 4096, 1));
    OK(hp_builder_shared(builder, HP_ACCESS_WRITE));
    EXPECT(hp_builder_build(builder, &pool), HP_VD_E_INVALID);
    CHECK(pool == NULL);
    hp_builder_release(builder);
    EXPECT(hp_builder_wipe(NULL, true), HP_VD_E_INVALID);
}

int main(void) {
    for (int portable = 0; portable < 2; portable++) {
        each_way(portable, true);
        each_way(portable, false);
    }
    of_a_set(false);
    of_a_set(true);
    bad_input();
    return report();
}
