/* Where a pool's memory lies: what a program registers, and what it tells its transfers. */

#include "check.h"

static hp_pool *made_of(size_t count) {
    hp_builder *builder;
    hp_pool *pool;
    OK(hp_builder_new(&builder));
    OK(hp_builder_reserve(builder, 65536, 4096, count));
    OK(hp_builder_build(builder, &pool));
    hp_builder_release(builder);
    return pool;
}

/* Each buffer lies where it is said to, those that came by growth, too. */
static void lying(void) {
    hp_pool *pool = made_of(3);
    hp_region_info regions[3] = {{.size = sizeof *regions}};
    hp_location at = {.size = sizeof at};
    void *held[8];
    size_t count = 9, seen[2] = {0, 0};
    OK(hp_pool_request(pool, 65536, 4096, 5));
    OK(hp_pool_regions(pool, NULL, 0, &count));
    CHECK(count == 2);
    OK(hp_pool_regions(pool, regions, 3, &count));
    CHECK(count == 2 && regions[0].index == 0 && regions[1].index == 1);
    CHECK(regions[0].buffers == 3 && regions[1].buffers == 5);
    CHECK(regions[0].buffer_size == 65536 && regions[0].stride == 65536);
    CHECK(regions[0].size == sizeof *regions && regions[1].size == sizeof *regions);
    for (int i = 0; i < 8; i++) {
        OK(hp_pool_allocate(pool, 65536, 4096, &held[i]));
        OK(hp_pool_locate(pool, (char *)held[i] + 100, &at));
        hp_region_info *region = &regions[at.index];
        CHECK(region->generation == at.generation);
        CHECK((char *)region->start + at.offset == (char *)held[i] + 100);
        CHECK(at.offset < region->bytes);
        seen[at.index]++;
    }
    CHECK(seen[0] == 3 && seen[1] == 5);
    for (int i = 0; i < 8; i++)
        OK(hp_pool_free(pool, held[i], 65536));
    hp_region_release(regions[0].region);
    hp_region_release(regions[1].region);
    hp_pool_release(pool);
}

/* What is trimmed stays while it is held, and is another region after that. */
static void holding(void) {
    hp_pool *pool = made_of(1);
    hp_region_info regions[2] = {{.size = sizeof *regions}}, later[2] = {{.size = sizeof *later}};
    hp_trimmed trimmed = {.size = sizeof trimmed};
    hp_stats stats = {.size = sizeof stats};
    hp_location at = {.size = sizeof at};
    size_t count;
    OK(hp_pool_request(pool, 65536, 4096, 4));
    OK(hp_pool_regions(pool, regions, 2, &count));
    OK(hp_pool_trim(pool, &trimmed));
    CHECK(trimmed.segments == 1);
    OK(hp_pool_stats(pool, &stats));
    CHECK(stats.held_bytes == trimmed.bytes);
    EXPECT(hp_pool_locate(pool, regions[1].start, &at), HP_E_FOREIGN);
    CHECK(at.index == 0 && at.generation == 0 && at.offset == 0);
    OK(hp_pool_request(pool, 65536, 4096, 4));
    OK(hp_pool_regions(pool, later, 2, &count));
    CHECK(later[1].index == 1 && later[1].generation > regions[1].generation);
    CHECK(later[1].start != regions[1].start);
    /* The memory is there. */
    memset((void *)(uintptr_t)regions[1].start, 7, regions[1].bytes);
    hp_region_release(regions[1].region);
    hp_region_release(later[0].region);
    hp_region_release(later[1].region);
    hp_pool_release(pool);
    /* So it is when the pool has ended. */
    memset((void *)(uintptr_t)regions[0].start, 7, regions[0].bytes);
    hp_region_release(regions[0].region);
    hp_region_release(NULL);
}

static void bad_input(void) {
    hp_pool *pool = made_of(1);
    hp_region_info region = {.size = sizeof(size_t)};
    hp_location at = {.size = sizeof at};
    size_t count = 7;
    CHECK(hp_pool_regions(NULL, NULL, 0, &count) == HP_VD_E_INVALID && count == 0);
    CHECK(hp_pool_regions(pool, NULL, 1, &count) == HP_VD_E_INVALID && count == 0);
    CHECK(hp_pool_regions(pool, NULL, 0, NULL) == HP_VD_E_INVALID);
    /* No room for the hold. */
    CHECK(hp_pool_regions(pool, &region, 1, &count) == HP_VD_E_INVALID && count == 0);
    CHECK(hp_pool_locate(NULL, pool, &at) == HP_VD_E_INVALID);
    EXPECT(hp_pool_locate(pool, NULL, &at), HP_E_FOREIGN);
    CHECK(hp_pool_locate(pool, pool, NULL) == HP_VD_E_INVALID);
    hp_pool_release(pool);
}

/* A set's memory. */
static void of_a_set(void) {
    hp_vdi *set;
    size_t count = 7;
    hp_location at = {.size = sizeof at};
    OK(hp_vdi_new(&set));
    CHECK(hp_vdi_regions(set, NULL, 0, &count) == HP_VD_E_PROTOCOL && count == 0);
    CHECK(hp_vdi_locate(set, &count, &at) == HP_VD_E_PROTOCOL);
    hp_vdi_release(set);
}

int main(void) {
    lying();
    holding();
    bad_input();
    of_a_set();
    return report();
}
