/* Who has the buffers that are out: calls that say where they are, and calls that do not. */

#define HP_TRACK_PLACES

#include "check.h"

/* The only buffer that is out of `pool` was taken by `line` of `file`. */
static void is_held(const hp_pool *pool, const char *file, uint32_t line, size_t size) {
    hp_outstanding held[2] = {{.size = sizeof *held}};
    size_t count = 7;
    memset(held, 1, sizeof held);
    held[0].size = sizeof *held;
    OK(hp_pool_outstanding(pool, held, 2, &count));
    CHECK(count == 1);
    CHECK(strcmp(held[0].file, file) == 0 && held[0].line == line);
    CHECK(held[0].buffer_size == size && held[0].class_size == 4096);
    CHECK(hp_pool_contains(pool, held[0].start));
    OK(hp_pool_free(pool, held[0].start, size));
    OK(hp_pool_outstanding(pool, NULL, 0, &count));
    CHECK(count == 0);
}

static hp_pool *tracked(bool track) {
    hp_builder *builder;
    hp_pool *pool;
    OK(hp_builder_new(&builder));
    OK(hp_builder_reserve(builder, 4096, 4096, 4));
    OK(hp_builder_track(builder, track));
    OK(hp_builder_build(builder, &pool));
    hp_builder_release(builder);
    return pool;
}

static void places(void) {
    hp_pool *pool = tracked(true);
    hp_token *token;
    hp_wait *wait;
    void *start, *starts[2];
    size_t count;
    hp_outstanding held[2] = {{.size = sizeof *held}};
    OK(hp_token_new(pool, &token));
    OK(hp_pool_allocate(pool, 1000, 512, &start)); is_held(pool, __FILE__, __LINE__, 1000);
    OK(hp_pool_allocate_timeout(pool, 1000, 512, 1, &start)); is_held(pool, __FILE__, __LINE__, 1000);
    OK(hp_pool_allocate_deadline(pool, 1000, 512, 1, &start)); is_held(pool, __FILE__, __LINE__, 1000);
    OK(hp_pool_allocate_cancellable(pool, 9, 512, 1, token, &start)); is_held(pool, __FILE__, __LINE__, 9);
    OK(hp_pool_allocate_many(pool, 1000, 512, 1, &start)); is_held(pool, __FILE__, __LINE__, 1000);
    OK(hp_wait_begin(pool, 1000, 512, &wait)); int line = __LINE__;
    OK(hp_wait_poll(wait, &start));
    hp_wait_end(wait);
    is_held(pool, __FILE__, line, 1000);
    /* Calls that say nothing of where they are. */
    hp_set_place(NULL, 0);
    OK((hp_pool_allocate)(pool, 1000, 512, &start));
    is_held(pool, "hp_pool_allocate", 0, 1000);
    OK((hp_pool_allocate_many)(pool, 1000, 512, 1, &start));
    is_held(pool, "hp_pool_allocate_many", 0, 1000);
    OK((hp_wait_begin)(pool, 1000, 512, &wait));
    OK(hp_wait_poll(wait, &start));
    hp_wait_end(wait);
    is_held(pool, "hp_wait_begin", 0, 1000);
    /* A name of one's own. */
    hp_set_place("the log writer", 0);
    OK((hp_pool_allocate_timeout)(pool, 1000, 512, 1, &start));
    is_held(pool, "the log writer", 0, 1000);
    /* There are more than there is room for. */
    OK(hp_pool_allocate_many(pool, 4096, 4096, 2, starts));
    memset(held, 0, sizeof held);
    held[0].size = sizeof *held;
    OK(hp_pool_outstanding(pool, held, 1, &count));
    CHECK(count == 2 && held[0].start != NULL && held[1].start == NULL);
    /* Bad arguments. */
    EXPECT(hp_pool_outstanding(pool, NULL, 1, &count), HP_VD_E_INVALID);
    CHECK(count == 0);
    EXPECT(hp_pool_outstanding(pool, held, 1, NULL), HP_VD_E_INVALID);
    EXPECT(hp_pool_outstanding(NULL, held, 1, &count), HP_VD_E_INVALID);
    EXPECT(hp_builder_track(NULL, true), HP_VD_E_INVALID);
    hp_token_release(token);
    hp_pool_release(pool);
}

static void untracked(void) {
    hp_pool *pool = tracked(false);
    void *start;
    size_t count = 7;
    OK(hp_pool_allocate(pool, 4096, 4096, &start));
    OK(hp_pool_outstanding(pool, NULL, 0, &count));
    CHECK(count == 0);
    hp_pool_release(pool);
}

static void of_a_set(void) {
    hp_builder *builder;
    hp_vdi *set;
    void *start;
    size_t count;
    hp_outstanding held[1] = {{.size = sizeof *held}};
    OK(hp_builder_new(&builder));
    OK(hp_builder_track(builder, true));
    OK(hp_vdi_new_with(builder, &set));
    hp_builder_release(builder);
    EXPECT(hp_vdi_outstanding(set, held, 1, &count), HP_VD_E_PROTOCOL);
    OK(hp_vdi_open(set, &client_wishes));
    OK(hp_vdi_begin_configuration(set, &server));
    OK(hp_vdi_request_buffers(set, SIZE, 0, 2));
    OK(hp_vdi_end_configuration(set));
    OK(hp_vdi_allocate_buffer(set, &start, SIZE, 0)); uint32_t line = __LINE__;
    OK(hp_vdi_outstanding(set, held, 1, &count));
    CHECK(count == 1 && held[0].start == start && held[0].line == line);
    OK(hp_vdi_free_buffer(set, start, SIZE));
    hp_set_place(NULL, 0);
    OK((hp_vdi_allocate_buffer_timeout)(set, &start, SIZE, 0, 1));
    OK(hp_vdi_outstanding(set, held, 1, &count));
    CHECK(count == 1 && strcmp(held[0].file, "hp_vdi_allocate_buffer_timeout") == 0);
    OK(hp_vdi_close(set));
    EXPECT(hp_vdi_outstanding(set, held, 1, &count), HP_VD_E_PROTOCOL);
    CHECK(count == 0);
    hp_vdi_release(set);
}

static void of_a_stream(void) {
    hp_pool *pool = tracked(true);
    const hp_share share = {4096, 4096, 1, 2};
    hp_stream *stream;
    hp_token *token;
    void *start;
    OK(hp_token_new(pool, &token));
    OK(hp_stream_new(pool, "one", &share, 1, &stream));
    OK(hp_stream_allocate_deadline(stream, 9, 512, 1, &start)); is_held(pool, __FILE__, __LINE__, 9);
    OK(hp_stream_allocate_many(stream, 9, 512, 1, &start)); is_held(pool, __FILE__, __LINE__, 9);
    OK(hp_stream_allocate_many_timeout(stream, 9, 512, 1, 1, &start)); is_held(pool, __FILE__, __LINE__, 9);
    OK(hp_stream_allocate_many_deadline(stream, 9, 512, 1, 1, &start)); is_held(pool, __FILE__, __LINE__, 9);
    OK(hp_stream_allocate_many_cancellable(stream, 9, 512, 1, 1, token, &start)); is_held(pool, __FILE__, __LINE__, 9);
    hp_stream_release(stream);
    hp_token_release(token);
    hp_pool_release(pool);
}

int main(void) {
    places();
    untracked();
    of_a_set();
    of_a_stream();
    return report();
}
