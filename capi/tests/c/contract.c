/* The contract of the VDI calls, through the C interface. */

#include "hugepool.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SIZE 65536u

static int failures;

static void expect(int line, const char *what, uint32_t code, uint32_t expected) {
    if (code != expected) {
        char text[256] = "";
        hp_last_error(text, sizeof text);
        printf("line %d: %s gave %#x, not %#x (%s)\n", line, what, code, expected, text);
        failures++;
    }
}

#define EXPECT(call, code) expect(__LINE__, #call, (call), (code))
#define OK(call) EXPECT(call, HP_NOERROR)
#define CHECK(what) expect(__LINE__, #what, (what) ? 0u : 1u, 0u)

static const hp_vd_config client = {.device_count = 2, .prefix_zone_size = 512};
static const hp_vd_parameters server = {
    .block_size = 4096, .alignment = 0, .max_transfer_size = 1u << 20};

/* The states, in the order of the contract's columns. */
enum { ABSENT, CONNECTED, CONFIGURABLE, INITIALIZING, ACTIVE, ENDED, ABORTED, STATES };

static hp_vdi *set_in(int state, void **buffer) {
    hp_vdi *set = NULL;
    *buffer = NULL;
    OK(hp_vdi_new(&set));
    if (state == ABSENT)
        return set;
    OK(hp_vdi_open(set, &client));
    if (state != CONNECTED) {
        OK(hp_vdi_begin_configuration(set, &server));
        OK(hp_vdi_request_buffers(set, SIZE, 0, 2));
    }
    if (state > CONFIGURABLE) {
        OK(hp_vdi_end_configuration(set));
        OK(hp_vdi_allocate_buffer(set, buffer, SIZE, 0));
    }
    if (state > INITIALIZING)
        OK(hp_vdi_open_device(set));
    if (state == ENDED)
        OK(hp_vdi_close_device(set));
    if (state == ABORTED)
        OK(hp_vdi_signal_abort(set));
    return set;
}

/* Calls, and what they give in each state: P protocol, A abort, '.' carried out. */
static const char *rows[] = {
    "Open .PPPPPP",       "GetConfiguration P.....A", "BeginConfiguration P.PPPPP",
    "Request PP...PP",    "Query PP...PP",            "EndConfiguration PP.PPPP",
    "OpenDevice PPP..PA", "CloseDevice PPPP.P.",      "Allocate PPP..PA",
    "Free PPP....",       "SignalAbort P......",      "Close P......",
};

static uint32_t make(int call, hp_vdi *set, void *buffer) {
    hp_vd_config config;
    uint32_t count;
    void *other;
    switch (call) {
    case 0: return hp_vdi_open(set, &client);
    case 1: return hp_vdi_get_configuration(set, &config);
    case 2: return hp_vdi_begin_configuration(set, &server);
    case 3: return hp_vdi_request_buffers(set, SIZE, 0, 1);
    case 4: return hp_vdi_query_available_buffers(set, SIZE, 0, &count);
    case 5: return hp_vdi_end_configuration(set);
    case 6: return hp_vdi_open_device(set);
    case 7: return hp_vdi_close_device(set);
    case 8: return hp_vdi_allocate_buffer(set, &other, SIZE, 0);
    case 9: return hp_vdi_free_buffer(set, buffer, SIZE);
    case 10: return hp_vdi_signal_abort(set);
    default: return hp_vdi_close(set);
    }
}

static void states(void) {
    for (int call = 0; call < (int)(sizeof rows / sizeof *rows); call++) {
        const char *cells = strchr(rows[call], ' ') + 1;
        CHECK(strlen(cells) == STATES);
        for (int state = 0; state < STATES; state++) {
            void *buffer;
            hp_vdi *set = set_in(state, &buffer);
            uint32_t expected = cells[state] == 'P'   ? HP_VD_E_PROTOCOL
                                : cells[state] == 'A' ? HP_VD_E_ABORT
                                                      : HP_NOERROR;
            expect(state, rows[call], make(call, set, buffer), expected);
            hp_vdi_release(set);
        }
    }
}

static void buffers(void) {
    void *first, *second, *third = &first;
    uint32_t count;
    hp_vdi *set = set_in(INITIALIZING, &first);
    CHECK((uintptr_t)first % 4096 == 0);
    memset((char *)first - 512, 0x5a, 512 + SIZE);
    OK(hp_vdi_allocate_buffer(set, &second, SIZE, 4096));
    CHECK(first != second);
    EXPECT(hp_vdi_allocate_buffer(set, &third, SIZE, 0), HP_VD_E_MEMORY);
    CHECK(third == NULL);
    third = &first;
    EXPECT(hp_vdi_allocate_buffer_timeout(set, &third, SIZE, 0, 1), HP_VD_E_TIMEOUT);
    CHECK(third == NULL);
    /* What no declared buffer could ever serve. */
    EXPECT(hp_vdi_allocate_buffer(set, &third, 0, 0), HP_VD_E_INVALID);
    EXPECT(hp_vdi_allocate_buffer(set, &third, SIZE, 3), HP_VD_E_INVALID);
    EXPECT(hp_vdi_allocate_buffer(set, &third, SIZE + 1, 0), HP_VD_E_INVALID);
    EXPECT(hp_vdi_allocate_buffer(set, &third, SIZE, 1u << 20), HP_VD_E_INVALID);
    EXPECT(hp_vdi_allocate_buffer(set, NULL, SIZE, 0), HP_VD_E_INVALID);
    /* IsSharedBuffer has TRUE and FALSE in the code's place. */
    CHECK(hp_vdi_is_shared_buffer(set, first) == 1);
    CHECK(hp_vdi_is_shared_buffer(set, (char *)first + 100) == 1);
    CHECK(hp_vdi_is_shared_buffer(set, &count) == 0);
    CHECK(hp_vdi_is_shared_buffer(set, NULL) == 0);
    /* FreeBuffer wants what AllocateBuffer gave. */
    EXPECT(hp_vdi_free_buffer(set, NULL, SIZE), HP_VD_E_INVALID);
    EXPECT(hp_vdi_free_buffer(set, &count, SIZE), HP_VD_E_INVALID);
    EXPECT(hp_vdi_free_buffer(set, (char *)first + 1, SIZE), HP_VD_E_INVALID);
    EXPECT(hp_vdi_free_buffer(set, first, SIZE - 1), HP_VD_E_INVALID);
    EXPECT(hp_vdi_free_buffer(set, first, 0), HP_VD_E_INVALID);
    OK(hp_vdi_free_buffer(set, first, SIZE));
    EXPECT(hp_vdi_free_buffer(set, first, SIZE), HP_VD_E_INVALID);
    OK(hp_vdi_query_available_buffers(set, SIZE, 0, &count));
    CHECK(count == 1);
    /* Growth is there at once. */
    OK(hp_vdi_request_buffers(set, SIZE, 0, 3));
    OK(hp_vdi_query_available_buffers(set, SIZE, 0, &count));
    CHECK(count == 4);
    OK(hp_vdi_close(set));
    EXPECT(hp_vdi_close(set), HP_VD_E_PROTOCOL);
    EXPECT(hp_vdi_allocate_buffer(set, &third, SIZE, 0), HP_VD_E_PROTOCOL);
    hp_vdi_release(set);
}

static void memory(void) {
    void *buffer;
    uint32_t count = 7;
    hp_vdi *set = set_in(CONFIGURABLE, &buffer);
    OK(hp_vdi_request_buffers(set, 1u << 30, 0, 4096));
    EXPECT(hp_vdi_end_configuration(set), HP_VD_E_MEMORY);
    /* Still configurable, with nothing declared. */
    OK(hp_vdi_query_available_buffers(set, SIZE, 0, &count));
    CHECK(count == 0);
    OK(hp_vdi_request_buffers(set, SIZE, 0, 1));
    OK(hp_vdi_end_configuration(set));
    OK(hp_vdi_query_available_buffers(set, SIZE, 0, &count));
    CHECK(count == 1);
    hp_vdi_release(set);
}

static void arguments(void) {
    void *buffer;
    char text[8];
    hp_vd_config config = client;
    hp_vd_parameters parameters = server;
    hp_vdi *set = NULL;
    EXPECT(hp_vdi_new(NULL), HP_VD_E_INVALID);
    EXPECT(hp_vdi_open(NULL, &client), HP_VD_E_INVALID);
    EXPECT(hp_vdi_allocate_buffer(NULL, &buffer, SIZE, 0), HP_VD_E_INVALID);
    CHECK(buffer == NULL);
    EXPECT(hp_vdi_free_buffer(NULL, &buffer, SIZE), HP_VD_E_INVALID);
    EXPECT(hp_vdi_close(NULL), HP_VD_E_INVALID);
    hp_vdi_release(NULL);
    OK(hp_vdi_new(&set));
    EXPECT(hp_vdi_open(set, NULL), HP_VD_E_INVALID);
    EXPECT(hp_vdi_open(set, (const hp_vd_config *)((const char *)&client + 1)), HP_VD_E_INVALID);
    config.device_count = 65;
    EXPECT(hp_vdi_open(set, &config), HP_VD_E_INVALID);
    /* What did not fit is cut off, and its length is given. */
    CHECK(hp_last_error(text, sizeof text) > sizeof text && strlen(text) == sizeof text - 1);
    CHECK(hp_last_error(NULL, 0) > sizeof text);
    OK(hp_vdi_open(set, &client));
    EXPECT(hp_vdi_get_configuration(set, NULL), HP_VD_E_INVALID);
    parameters.block_size = 100;
    EXPECT(hp_vdi_begin_configuration(set, &parameters), HP_VD_E_INVALID);
    OK(hp_vdi_begin_configuration(set, &server));
    /* With the prefix zone it has more bytes than 32 bits can say. */
    EXPECT(hp_vdi_request_buffers(set, UINT32_MAX, 0, 1), HP_VD_E_INVALID);
    EXPECT(hp_vdi_query_available_buffers(set, SIZE, 0, NULL), HP_VD_E_INVALID);
    hp_vdi_release(set);
}

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

/* The client's calls; its process may well be the server's. */
static void clients(void) {
    char name[64];
    void *start, *view, *again;
    uint32_t handle, same;
    hp_publication *publication, *none;
    hp_client *client;
    hp_vdi *set = set_in(CONFIGURABLE, &start);
    snprintf(name, sizeof name, "contract %p", (void *)&set);
    /* Nothing is mapped yet. */
    EXPECT(hp_vdi_publish(set, name, NULL, 0, &publication), HP_VD_E_PROTOCOL);
    CHECK(publication == NULL);
    EXPECT(hp_client_open(name, NULL, 0, &client), HP_VD_E_NOTOPEN);
    CHECK(client == NULL);
    OK(hp_vdi_end_configuration(set));
    OK(hp_vdi_publish(set, name, NULL, 0, &publication));
    OK(hp_client_open(name, NULL, 0, &client));
    OK(hp_vdi_allocate_buffer(set, &start, SIZE, 0));
    memset(start, 0x77, SIZE);
    OK(hp_vdi_get_buffer_handle(set, start, &handle));
    OK(hp_client_map_buffer_handle(client, handle, &view));
    CHECK(view != start && memcmp(view, start, SIZE) == 0);
    OK(hp_client_get_buffer_handle(client, view, &same));
    CHECK(same == handle);
    EXPECT(hp_client_get_buffer_handle(client, (char *)view + 1, &same), HP_VD_E_INVALID);
    EXPECT(hp_client_get_buffer_handle(client, start, &same), HP_VD_E_INVALID);
    /* The prefix zone is the client's. */
    memset((char *)view - 512, 0x11, 512);
    CHECK(((unsigned char *)start)[-1] == 0x11);
    /* Stale, and forged. */
    OK(hp_vdi_free_buffer(set, start, SIZE));
    EXPECT(hp_client_map_buffer_handle(client, handle, &again), HP_VD_E_INVALID);
    CHECK(again == NULL);
    OK(hp_vdi_allocate_buffer(set, &again, SIZE, 0));
    EXPECT(hp_client_map_buffer_handle(client, handle, &view), HP_VD_E_INVALID);
    EXPECT(hp_client_map_buffer_handle(client, 0, &view), HP_VD_E_INVALID);
    EXPECT(hp_client_map_buffer_handle(client, UINT32_MAX, &view), HP_VD_E_INVALID);
    /* What is added is there when it is asked for. */
    OK(hp_vdi_request_buffers(set, 4 * SIZE, 0, 1));
    OK(hp_vdi_allocate_buffer(set, &start, 4 * SIZE, 0));
    OK(hp_vdi_get_buffer_handle(set, start, &handle));
    EXPECT(hp_client_map_buffer_handle(client, handle, &view), HP_VD_E_INVALID);
    OK(hp_client_refresh(client));
    OK(hp_client_map_buffer_handle(client, handle, &view));
    /* Arguments. */
    EXPECT(hp_vdi_publish(set, NULL, NULL, 0, &none), HP_VD_E_INVALID);
    EXPECT(hp_vdi_publish(set, "", NULL, 0, &none), HP_VD_E_INVALID);
    EXPECT(hp_vdi_publish(set, "x", NULL, 1, &none), HP_VD_E_INVALID);
    EXPECT(hp_vdi_publish(set, "\xff", NULL, 0, &none), HP_VD_E_INVALID);
    EXPECT(hp_vdi_publish(set, "x", NULL, 0, NULL), HP_VD_E_INVALID);
    EXPECT(hp_vdi_get_buffer_handle(set, start, NULL), HP_VD_E_INVALID);
    EXPECT(hp_client_map_buffer_handle(NULL, handle, &view), HP_VD_E_INVALID);
    EXPECT(hp_client_map_buffer_handle(client, handle, NULL), HP_VD_E_INVALID);
    hp_client_release(client);
    hp_publication_release(publication);
    hp_publication_release(NULL);
    hp_client_release(NULL);
    OK(hp_vdi_close(set));
    hp_vdi_release(set);
}

int main(void) {
    CHECK(sizeof(hp_vd_config) == 44);
    states();
    buffers();
    memory();
    arguments();
    clients();
    plain_pool();
    printf("%d failures\n", failures);
    return failures != 0;
}
