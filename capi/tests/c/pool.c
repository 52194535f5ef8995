/* The plain pool, through the C interface. */

#include "check.h"

#include <sys/mman.h>
#include <sys/wait.h>

static void plain_pool(void) {
    hp_builder *builder = NULL;
    hp_pool *pool = NULL;
    hp_stats stats;
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
    EXPECT(hp_pool_free(pool, first, 4096), HP_VD_E_INVALID);
    OK(hp_pool_free(pool, first, 4000));
    OK(hp_pool_request(pool, 4096, 4096, 3));
    OK(hp_pool_available(pool, 4096, 4096, &count));
    CHECK(count == 4);
    OK(hp_pool_trim(pool));
    OK(hp_pool_stats(pool, &stats));
    CHECK(stats.capacity == 2 && stats.in_use == 1 && stats.mapped_bytes == 2u << 20);
    OK(hp_pool_abort(pool));
    OK(hp_pool_allocate(pool, 4096, 4096, &first));
    EXPECT(hp_pool_allocate_timeout(pool, 4096, 4096, 1, &second), HP_VD_E_ABORT);
    hp_pool_release(pool);
    EXPECT(hp_pool_allocate(NULL, 4096, 4096, &first), HP_VD_E_INVALID);
    hp_pool_release(NULL);
}

/* A pool is not a child's, unless it inherits the buffers; nor is it published there. */
static void forked(void) {
    for (int inherits = 0; inherits < 2; inherits++)
        for (int is_shared = 0; is_shared < 2; is_shared++) {
            hp_builder *builder;
            hp_pool *pool;
            void *start, *other = &other;
            size_t count;
            OK(hp_builder_new(&builder));
            OK(hp_builder_reserve(builder, 4096, 4096, 4));
            OK(hp_builder_fork(builder, inherits));
            if (is_shared)
                OK(hp_builder_shared(builder, HP_ACCESS_WRITE));
            OK(hp_builder_build(builder, &pool));
            hp_builder_release(builder);
            OK(hp_pool_allocate(pool, 4096, 4096, &start));
            fflush(stdout);
            pid_t child = fork();
            if (child == 0) {
                hp_publication *none;
                const uint32_t code = inherits && !is_shared ? HP_NOERROR : HP_VD_E_NOTOPEN;
                failures = 0;
                EXPECT(hp_pool_allocate(pool, 4096, 4096, &other), code);
                CHECK((other == NULL) == (code != HP_NOERROR));
                EXPECT(hp_pool_allocate_timeout(pool, 4096, 4096, 1, &other), code);
                EXPECT(hp_pool_free(pool, start, 4096), code);
                if (is_shared) {
                    EXPECT(hp_pool_publish(pool, "child", NULL, &none), HP_VD_E_NOTOPEN);
                    EXPECT(hp_pool_exports(pool, NULL, 0, &count), HP_VD_E_NOTOPEN);
                    EXPECT(hp_pool_request(pool, 4096, 4096, 1), HP_VD_E_NOTOPEN);
                }
                hp_pool_release(pool);
                fflush(stdout);
                _exit(failures != 0);
            }
            int status = 1;
            CHECK(waitpid(child, &status, 0) == child && status == 0);
            OK(hp_pool_free(pool, start, 4096));
            OK(hp_pool_available(pool, 4096, 4096, &count));
            CHECK(count == 4);
            hp_pool_release(pool);
        }
}

/* A null or misaligned pointer wherever there is one. */
static void nothing(void) {
    hp_builder *builder;
    hp_pool *pool;
    void *start, *places[2] = {NULL, NULL};
    size_t count;
    hp_stats stats;
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
        EXPECT(hp_pool_trim(wrong[i]), HP_VD_E_INVALID);
        EXPECT(hp_pool_abort(wrong[i]), HP_VD_E_INVALID);
        EXPECT(hp_pool_stats(wrong[i], &stats), HP_VD_E_INVALID);
        CHECK(!hp_pool_contains(wrong[i], &start));
    }
    EXPECT(hp_pool_allocate(pool, 4096, 4096, (void **)((char *)places + 1)), HP_VD_E_INVALID);
    EXPECT(hp_pool_stats(pool, (hp_stats *)((char *)places + 1)), HP_VD_E_INVALID);
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
    hp_client *client;
    hp_publication *publication;
    hp_export export;
    hp_view view;
    hp_stats stats;
    void *start;
    uint32_t handle;
    size_t count;
    char name[64];
    snprintf(name, sizeof name, "pool %d", (int)getpid());
    OK(hp_builder_new(&builder));
    EXPECT(hp_builder_shared(builder, 2), HP_VD_E_INVALID);
    EXPECT(hp_builder_pages(builder, 4, HP_RUNG_NEVER), HP_VD_E_INVALID);
    EXPECT(hp_builder_pages(builder, HP_PAGES_BASE, 3), HP_VD_E_INVALID);
    OK(hp_builder_pages(builder, HP_PAGES_HUGE_1G, HP_RUNG_NEVER));
    OK(hp_builder_pages(builder, HP_PAGES_HUGE_2M, HP_RUNG_NEVER));
    OK(hp_builder_pages(builder, HP_PAGES_TRANSPARENT, HP_RUNG_PREFER));
    OK(hp_builder_climb(builder, 0));
    OK(hp_builder_cpu_cache(builder, 1u << 20));
    OK(hp_builder_lock(builder, false));
    OK(hp_builder_dump(builder, true));
    OK(hp_builder_fork(builder, false));
    OK(hp_builder_portable_caches(builder, true));
    OK(hp_builder_reserve(builder, 4096, 4096, 2));
    OK(hp_builder_build(builder, &plain));
    EXPECT(hp_pool_publish(plain, name, NULL, &publication), HP_VD_E_PROTOCOL);
    EXPECT(hp_pool_exports(plain, NULL, 0, &count), HP_VD_E_PROTOCOL);
    hp_pool_release(plain);
    OK(hp_builder_shared(builder, HP_ACCESS_READ));
    OK(hp_builder_build(builder, &pool));
    OK(hp_pool_publish(pool, name, NULL, &publication));
    OK(hp_client_new(&client));
    OK(hp_client_open_in_secondary(client, name, NULL));
    OK(hp_pool_allocate(pool, 4000, 4096, &start));
    OK(hp_pool_get_buffer_handle(pool, start, &handle));
    OK(hp_client_view(client, handle, &view));
    CHECK(view.size == 4000 && view.prefix == 0 && !view.writable);
    OK(hp_pool_view(pool, handle, &view));
    CHECK(view.start == start && view.size == 4000 && view.writable);
    hp_client_release(client);
    OK(hp_client_new(&client));
    OK(hp_pool_exports(pool, &export, 1, &count));
    CHECK(count == 1);
    OK(hp_client_attach(client, export.layout, HP_LAYOUT_BYTES, export.memory, export.states));
    OK(hp_client_view(client, handle, &view));
    /* What may not be written cannot be. */
    CHECK(mmap(NULL, 4096, PROT_WRITE, MAP_SHARED, export.memory, 0) == MAP_FAILED);
    CHECK(mmap(NULL, 4096, PROT_WRITE, MAP_SHARED, export.states, 0) == MAP_FAILED);
    close(export.memory);
    close(export.states);
    hp_client_release(client);
    hp_publication_release(publication);
    hp_pool_release(pool);
    /* A node that this machine does not have. */
    OK(hp_builder_node(builder, 1023));
    EXPECT(hp_builder_build(builder, &pool), HP_VD_E_MEMORY);
    EXPECT(hp_vdi_new_with(NULL, &set), HP_VD_E_INVALID);
    CHECK(set == NULL);
    OK(hp_vdi_new_with(builder, &set));
    EXPECT(hp_vdi_stats(set, &stats), HP_VD_E_PROTOCOL);
    OK(hp_vdi_open(set, &client_wishes));
    OK(hp_vdi_begin_configuration(set, &server));
    EXPECT(hp_vdi_end_configuration(set), HP_VD_E_MEMORY);
    hp_builder_release(builder);
    hp_vdi_release(set);
}

int main(void) {
    plain_pool();
    forked();
    nothing();
    shared_pool();
    return report();
}
