/* The contract of the VDI calls, through the C interface. */

#define _GNU_SOURCE
#include <hugepool.h>

#include <limits.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

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

static const hp_vd_config client_wishes = {.device_count = 2, .prefix_zone_size = 512};
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
    OK(hp_vdi_open(set, &client_wishes));
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
    case 0: return hp_vdi_open(set, &client_wishes);
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
    hp_vd_config config = client_wishes;
    hp_vd_parameters parameters = server;
    hp_vdi *set = NULL;
    EXPECT(hp_vdi_new(NULL), HP_VD_E_INVALID);
    EXPECT(hp_vdi_open(NULL, &client_wishes), HP_VD_E_INVALID);
    EXPECT(hp_vdi_allocate_buffer(NULL, &buffer, SIZE, 0), HP_VD_E_INVALID);
    CHECK(buffer == NULL);
    EXPECT(hp_vdi_free_buffer(NULL, &buffer, SIZE), HP_VD_E_INVALID);
    EXPECT(hp_vdi_close(NULL), HP_VD_E_INVALID);
    hp_vdi_release(NULL);
    OK(hp_vdi_new(&set));
    EXPECT(hp_vdi_open(set, NULL), HP_VD_E_INVALID);
    EXPECT(hp_vdi_open(set, (const hp_vd_config *)((const char *)&client_wishes + 1)), HP_VD_E_INVALID);
    config.device_count = 65;
    EXPECT(hp_vdi_open(set, &config), HP_VD_E_INVALID);
    /* What did not fit is cut off, and its length is given. */
    CHECK(hp_last_error(text, sizeof text) > sizeof text && strlen(text) == sizeof text - 1);
    CHECK(hp_last_error(NULL, 0) > sizeof text);
    OK(hp_vdi_open(set, &client_wishes));
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

/* Where the text is silent: how a buffer that cannot be had is refused. */
static void refusals(void) {
    void *held, *start;
    hp_vdi *set = set_in(INITIALIZING, &held);
    struct { uint32_t size, alignment, code; } cases[] = {
        {0, 0, HP_VD_E_INVALID},           {SIZE, 3, HP_VD_E_INVALID},
        {SIZE, 0x80000001u, HP_VD_E_INVALID}, {SIZE + 1, 0, HP_VD_E_INVALID},
        {UINT32_MAX, 0, HP_VD_E_INVALID},  {SIZE, 1u << 20, HP_VD_E_INVALID},
        {SIZE, 0, HP_VD_E_MEMORY},         {1, 1, HP_VD_E_MEMORY},
    };
    /* Alignment 0 is the set's: that of its blocks. */
    OK(hp_vdi_allocate_buffer(set, &start, 100, 0));
    CHECK((uintptr_t)start % 4096 == 0);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        void *buffer = &set;
        EXPECT(hp_vdi_allocate_buffer(set, &buffer, cases[i].size, cases[i].alignment),
               cases[i].code);
        CHECK(buffer == NULL);
    }
    /* Once such buffers are declared they could be had. */
    OK(hp_vdi_request_buffers(set, 2 * SIZE, 1u << 20, 1));
    OK(hp_vdi_allocate_buffer(set, &start, SIZE + 1, 1u << 20));
    CHECK((uintptr_t)start % (1u << 20) == 0);
    EXPECT(hp_vdi_allocate_buffer(set, &start, SIZE + 1, 0), HP_VD_E_MEMORY);
    EXPECT(hp_vdi_allocate_buffer(set, &start, SIZE, 1u << 20), HP_VD_E_MEMORY);
    hp_vdi_release(set);
}

struct freeing { hp_vdi *set; void *buffers[2]; int processor; };

static void *free_there(void *argument) {
    struct freeing *freeing = argument;
    cpu_set_t processors;
    CPU_ZERO(&processors);
    CPU_SET(freeing->processor, &processors);
    /* Where there is no such processor it is the same one. */
    pthread_setaffinity_np(pthread_self(), sizeof processors, &processors);
    for (int i = 0; i < 2; i++)
        OK(hp_vdi_free_buffer(freeing->set, freeing->buffers[i], SIZE));
    return NULL;
}

/* What sits in other processors' caches counts, and can be had. */
static void caches(void) {
    struct freeing freeing[2] = {{.processor = 0}, {.processor = 1}};
    void *start;
    uint32_t count = 0;
    hp_vdi *set = set_in(CONFIGURABLE, &start);
    OK(hp_vdi_request_buffers(set, SIZE, 0, 2));
    OK(hp_vdi_end_configuration(set));
    for (int i = 0; i < 4; i++)
        OK(hp_vdi_allocate_buffer(set, &freeing[i / 2].buffers[i % 2], SIZE, 0));
    EXPECT(hp_vdi_allocate_buffer(set, &start, SIZE, 0), HP_VD_E_MEMORY);
    for (int i = 0; i < 2; i++) {
        pthread_t thread;
        freeing[i].set = set;
        CHECK(pthread_create(&thread, NULL, free_there, &freeing[i]) == 0);
        pthread_join(thread, NULL);
    }
    OK(hp_vdi_query_available_buffers(set, SIZE, 0, &count));
    CHECK(count == 4);
    for (int i = 0; i < 4; i++)
        OK(hp_vdi_allocate_buffer(set, &start, SIZE, 0));
    EXPECT(hp_vdi_allocate_buffer(set, &start, SIZE, 0), HP_VD_E_MEMORY);
    hp_vdi_release(set);
}

static void *wait_for_one(void *set) {
    void *start = &start;
    uint32_t code = hp_vdi_allocate_buffer_timeout(set, &start, SIZE, 0, UINT32_MAX);
    CHECK(start == NULL);
    return (void *)(uintptr_t)code;
}

static void until_waiting(hp_vdi *set) {
    hp_stats stats = {0};
    while (stats.waiting == 0)
        OK(hp_vdi_stats(set, &stats));
}

/* SignalAbort and Close end every wait. */
static void waits(void) {
    for (int closes = 0; closes < 2; closes++) {
        void *first, *second, *code;
        pthread_t thread;
        hp_vdi *set = set_in(INITIALIZING, &first);
        OK(hp_vdi_allocate_buffer(set, &second, SIZE, 0));
        CHECK(pthread_create(&thread, NULL, wait_for_one, set) == 0);
        until_waiting(set);
        OK(closes ? hp_vdi_close(set) : hp_vdi_signal_abort(set));
        pthread_join(thread, &code);
        EXPECT((uint32_t)(uintptr_t)code, HP_VD_E_ABORT);
        hp_vdi_release(set);
    }
}

/* The set is not a child's; nothing it does there changes it. */
static void forked(void) {
    void *start, *other;
    uint32_t count, handle;
    hp_vdi *set = set_in(INITIALIZING, &start);
    OK(hp_vdi_get_buffer_handle(set, start, &handle));
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        hp_publication *publication;
        hp_vd_config config;
        failures = 0;
        EXPECT(hp_vdi_allocate_buffer(set, &other, SIZE, 0), HP_VD_E_NOTOPEN);
        CHECK(other == NULL);
        EXPECT(hp_vdi_allocate_buffer_timeout(set, &other, SIZE, 0, 1), HP_VD_E_NOTOPEN);
        EXPECT(hp_vdi_free_buffer(set, start, SIZE), HP_VD_E_NOTOPEN);
        EXPECT(hp_vdi_query_available_buffers(set, SIZE, 0, &count), HP_VD_E_NOTOPEN);
        EXPECT(hp_vdi_request_buffers(set, SIZE, 0, 1), HP_VD_E_NOTOPEN);
        EXPECT(hp_vdi_get_configuration(set, &config), HP_VD_E_NOTOPEN);
        EXPECT(hp_vdi_open_device(set), HP_VD_E_NOTOPEN);
        hp_view view;
        EXPECT(hp_vdi_get_buffer_handle(set, start, &count), HP_VD_E_NOTOPEN);
        EXPECT(hp_vdi_view(set, handle, &view), HP_VD_E_NOTOPEN);
        EXPECT(hp_vdi_publish(set, "child", NULL, &publication), HP_VD_E_NOTOPEN);
        EXPECT(hp_vdi_signal_abort(set), HP_VD_E_NOTOPEN);
        EXPECT(hp_vdi_close(set), HP_VD_E_NOTOPEN);
        CHECK(hp_vdi_is_shared_buffer(set, start) == 0);
        hp_vdi_release(set);
        fflush(stdout);
        _exit(failures != 0);
    }
    int status = 1;
    CHECK(waitpid(child, &status, 0) == child && status == 0);
    OK(hp_vdi_query_available_buffers(set, SIZE, 0, &count));
    CHECK(count == 1);
    OK(hp_vdi_free_buffer(set, start, SIZE));
    OK(hp_vdi_close(set));
    hp_vdi_release(set);
}

/* A pointer that is not aligned is refused, wherever one is expected. */
static void misaligned(void) {
    void *places[2] = {NULL, NULL}, *start;
    char *place = (char *)places + 1;
    hp_vdi *set = set_in(INITIALIZING, &start);
    hp_vdi *crooked = (hp_vdi *)((char *)set + 1);
    hp_stats stats;
    EXPECT(hp_vdi_new((hp_vdi **)place), HP_VD_E_INVALID);
    EXPECT(hp_builder_new((hp_builder **)place), HP_VD_E_INVALID);
    EXPECT(hp_client_new((hp_client **)place), HP_VD_E_INVALID);
    EXPECT(hp_vdi_allocate_buffer(set, (void **)place, SIZE, 0), HP_VD_E_INVALID);
    EXPECT(hp_vdi_allocate_buffer_timeout(set, (void **)place, SIZE, 0, 0), HP_VD_E_INVALID);
    EXPECT(hp_vdi_allocate_buffer(crooked, &places[0], SIZE, 0), HP_VD_E_INVALID);
    EXPECT(hp_vdi_free_buffer(crooked, start, SIZE), HP_VD_E_INVALID);
    EXPECT(hp_vdi_query_available_buffers(set, SIZE, 0, (uint32_t *)place), HP_VD_E_INVALID);
    EXPECT(hp_vdi_get_configuration(set, (hp_vd_config *)place), HP_VD_E_INVALID);
    EXPECT(hp_vdi_get_buffer_handle(set, start, (uint32_t *)place), HP_VD_E_INVALID);
    EXPECT(hp_vdi_close(crooked), HP_VD_E_INVALID);
    EXPECT(hp_vdi_stats(crooked, &stats), HP_VD_E_INVALID);
    CHECK(hp_vdi_is_shared_buffer(crooked, start) == 0);
    hp_vdi_release(crooked);
    CHECK(places[0] == NULL && places[1] == NULL);
    OK(hp_vdi_free_buffer(set, start, SIZE));
    hp_vdi_release(set);
}

/* The client's calls; its process may well be the server's. */
static void clients(void) {
    char name[64];
    void *start, *view, *again;
    uint32_t handle, same;
    hp_view seen;
    hp_publication *publication, *none;
    hp_client *client, *other;
    const uint32_t users[] = {65534}, groups[] = {65534};
    const hp_peers who = {users, 1, groups, 1}, wrong = {NULL, 1, NULL, 0};
    hp_vdi *set = set_in(CONFIGURABLE, &start);
    snprintf(name, sizeof name, "contract %d", (int)getpid());
    OK(hp_client_new(&client));
    /* It is not open. */
    EXPECT(hp_client_get_buffer_handle(client, name, &same), HP_VD_E_PROTOCOL);
    EXPECT(hp_client_map_buffer_handle(client, 1, &view), HP_VD_E_PROTOCOL);
    CHECK(view == NULL);
    EXPECT(hp_client_refresh(client), HP_VD_E_PROTOCOL);
    /* OpenInSecondary: nobody has the name; the set is not ready. */
    EXPECT(hp_client_open_in_secondary(client, name, NULL), HP_VD_E_PROTOCOL);
    OK(hp_vdi_publish(set, name, &who, &publication));
    EXPECT(hp_client_open_in_secondary(client, name, NULL), HP_VD_E_PROTOCOL);
    EXPECT(hp_vdi_get_buffer_handle(set, name, &same), HP_VD_E_PROTOCOL);
    OK(hp_vdi_end_configuration(set));
    OK(hp_client_open_in_secondary(client, name, &who));
    EXPECT(hp_client_open_in_secondary(client, name, NULL), HP_VD_E_PROTOCOL);
    OK(hp_vdi_allocate_buffer(set, &start, SIZE, 0));
    memset(start, 0x77, SIZE);
    OK(hp_vdi_get_buffer_handle(set, start, &handle));
    OK(hp_client_map_buffer_handle(client, handle, &view));
    CHECK(view != start && memcmp(view, start, SIZE) == 0);
    OK(hp_client_view(client, handle, &seen));
    CHECK(seen.start == view && seen.size == SIZE && seen.prefix == 512 && seen.writable);
    OK(hp_client_get_buffer_handle(client, view, &same));
    CHECK(same == handle);
    OK(hp_vdi_view(set, same, &seen));
    CHECK(seen.start == start && seen.size == SIZE && seen.prefix == 512 && seen.writable);
    EXPECT(hp_client_get_buffer_handle(client, (char *)view + 1, &same), HP_VD_E_INVALID);
    EXPECT(hp_client_get_buffer_handle(client, start, &same), HP_VD_E_INVALID);
    EXPECT(hp_client_get_buffer_handle(client, NULL, &same), HP_VD_E_INVALID);
    EXPECT(hp_vdi_get_buffer_handle(set, (char *)start + 1, &same), HP_VD_E_INVALID);
    /* The prefix zone is the client's. */
    memset((char *)view - 512, 0x11, 512);
    CHECK(((unsigned char *)start)[-1] == 0x11);
    /* Stale, and forged. */
    OK(hp_vdi_free_buffer(set, start, SIZE));
    EXPECT(hp_client_map_buffer_handle(client, handle, &again), HP_VD_E_INVALID);
    CHECK(again == NULL);
    EXPECT(hp_vdi_get_buffer_handle(set, start, &same), HP_VD_E_INVALID);
    EXPECT(hp_vdi_view(set, handle, &seen), HP_VD_E_INVALID);
    CHECK(seen.start == NULL && seen.size == 0 && seen.prefix == 0 && !seen.writable);
    OK(hp_vdi_allocate_buffer(set, &again, SIZE, 0));
    EXPECT(hp_vdi_view(set, handle, &seen), HP_VD_E_INVALID);
    EXPECT(hp_vdi_view(set, 0, &seen), HP_VD_E_INVALID);
    EXPECT(hp_vdi_view(set, UINT32_MAX, &seen), HP_VD_E_INVALID);
    EXPECT(hp_vdi_view(set, handle, NULL), HP_VD_E_INVALID);
    EXPECT(hp_vdi_view(NULL, handle, &seen), HP_VD_E_INVALID);
    EXPECT(hp_client_map_buffer_handle(client, handle, &view), HP_VD_E_INVALID);
    EXPECT(hp_client_map_buffer_handle(client, 0, &view), HP_VD_E_INVALID);
    EXPECT(hp_client_map_buffer_handle(client, UINT32_MAX, &view), HP_VD_E_INVALID);
    EXPECT(hp_client_view(client, handle, &seen), HP_VD_E_INVALID);
    CHECK(seen.start == NULL && seen.size == 0);
    /* What is added is there when it is asked for. */
    OK(hp_vdi_request_buffers(set, 4 * SIZE, 0, 1));
    OK(hp_vdi_allocate_buffer(set, &start, 4 * SIZE, 0));
    OK(hp_vdi_get_buffer_handle(set, start, &handle));
    EXPECT(hp_client_map_buffer_handle(client, handle, &view), HP_VD_E_INVALID);
    OK(hp_client_refresh(client));
    OK(hp_client_map_buffer_handle(client, handle, &view));
    /* Arguments. */
    EXPECT(hp_vdi_publish(set, NULL, NULL, &none), HP_VD_E_INVALID);
    CHECK(none == NULL);
    EXPECT(hp_vdi_publish(set, "", NULL, &none), HP_VD_E_INVALID);
    EXPECT(hp_vdi_publish(set, "x", &wrong, &none), HP_VD_E_INVALID);
    EXPECT(hp_vdi_publish(set, "\xff", NULL, &none), HP_VD_E_INVALID);
    EXPECT(hp_vdi_publish(set, "x", NULL, NULL), HP_VD_E_INVALID);
    EXPECT(hp_vdi_publish(NULL, "x", NULL, &none), HP_VD_E_INVALID);
    EXPECT(hp_vdi_get_buffer_handle(set, start, NULL), HP_VD_E_INVALID);
    EXPECT(hp_client_map_buffer_handle(NULL, handle, &view), HP_VD_E_INVALID);
    EXPECT(hp_client_map_buffer_handle(client, handle, NULL), HP_VD_E_INVALID);
    EXPECT(hp_client_open_in_secondary(client, NULL, NULL), HP_VD_E_INVALID);
    EXPECT(hp_client_new(NULL), HP_VD_E_INVALID);
    /* The set is aborted, and then closed. */
    OK(hp_client_new(&other));
    OK(hp_vdi_signal_abort(set));
    EXPECT(hp_client_open_in_secondary(other, name, NULL), HP_VD_E_ABORT);
    OK(hp_vdi_close(set));
    EXPECT(hp_client_open_in_secondary(other, name, NULL), HP_VD_E_PROTOCOL);
    hp_client_release(other);
    hp_client_release(client);
    hp_vdi_release(set);
    hp_publication_release(publication);
    hp_publication_release(NULL);
    hp_client_release(NULL);
}

/* Descriptors and layouts over a channel of one's own, and those that are wrong. */
static void exports(void) {
    hp_export export[3];
    void *start, *view;
    uint32_t handle;
    size_t count = 7;
    hp_client *client;
    hp_vdi *set = set_in(CONFIGURABLE, &start);
    EXPECT(hp_vdi_exports(set, export, 3, &count), HP_VD_E_PROTOCOL);
    CHECK(count == 7);
    OK(hp_vdi_end_configuration(set));
    OK(hp_vdi_request_buffers(set, 100, 0, 1));
    OK(hp_vdi_exports(set, NULL, 0, &count));
    CHECK(count == 2);
    OK(hp_vdi_exports(set, export, 3, &count));
    CHECK(count == 2);
    EXPECT(hp_vdi_exports(set, NULL, 1, &count), HP_VD_E_INVALID);
    EXPECT(hp_vdi_exports(set, export, 0, NULL), HP_VD_E_INVALID);
    OK(hp_client_new(&client));
    const uint8_t *layout = export[0].layout;
    int memory = export[0].memory, states = export[0].states;
    /* Truncated, too long, none, of another version, forged. */
    EXPECT(hp_client_attach(client, layout, HP_LAYOUT_BYTES - 1, memory, states),
           HP_VD_E_INVALID);
    EXPECT(hp_client_attach(client, layout, 0, memory, states), HP_VD_E_INVALID);
    EXPECT(hp_client_attach(client, NULL, HP_LAYOUT_BYTES, memory, states), HP_VD_E_INVALID);
    for (int word = 0; word < HP_LAYOUT_BYTES / 8; word++) {
        uint8_t forged[HP_LAYOUT_BYTES];
        memcpy(forged, layout, sizeof forged);
        memset(forged + 8 * word, 0xff, 8);
        /* Which pool's it is can be any number. */
        if (word != 1)
            EXPECT(hp_client_attach(client, forged, sizeof forged, memory, states),
                   HP_VD_E_INVALID);
    }
    /* Descriptors that are none, exchanged, or another segment's. */
    int closed = dup(memory), pipes[2];
    close(closed);
    CHECK(pipe(pipes) == 0);
    int wrong[] = {-1, INT_MIN, INT_MAX, closed, pipes[0], states, export[1].states};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        EXPECT(hp_client_attach(client, layout, HP_LAYOUT_BYTES, wrong[i], states),
               HP_VD_E_INVALID);
    EXPECT(hp_client_attach(client, layout, HP_LAYOUT_BYTES, memory, pipes[0]),
           HP_VD_E_INVALID);
    EXPECT(hp_client_map_buffer_handle(client, 1, &view), HP_VD_E_PROTOCOL);
    for (size_t i = 0; i < count; i++) {
        OK(hp_client_attach(client, export[i].layout, HP_LAYOUT_BYTES, export[i].memory,
                            export[i].states));
        EXPECT(hp_client_attach(client, export[i].layout, HP_LAYOUT_BYTES,
                                export[i].memory, export[i].states),
               HP_VD_E_INVALID);
        close(export[i].memory);
        close(export[i].states);
    }
    OK(hp_vdi_allocate_buffer(set, &start, SIZE, 0));
    memset(start, 0x5c, SIZE);
    OK(hp_vdi_get_buffer_handle(set, start, &handle));
    OK(hp_client_map_buffer_handle(client, handle, &view));
    CHECK(memcmp(view, start, SIZE) == 0);
    hp_client_release(client);
    hp_vdi_release(set);
    close(pipes[0]);
    close(pipes[1]);
}

/* A client process that writes everywhere, until it is killed or stopped. */
static int write_everywhere(const char *name, const char *handles) {
    hp_client *client;
    uint32_t handle;
    int read;
    alarm(60);
    OK(hp_client_new(&client));
    OK(hp_client_open_in_secondary(client, name, NULL));
    for (int round = 0; failures == 0; round++) {
        const char *rest = handles;
        static void *views[64];
        int count = 0;
        for (; round == 0 && sscanf(rest, "%u,%n", &handle, &read) == 1; rest += read, count++)
            OK(hp_client_map_buffer_handle(client, handle, &views[count]));
        for (int i = 0; i < 64 && views[i] != NULL; i++)
            memset((char *)views[i] - 512, 0xff, 512 + SIZE);
        if (round == 0 && write(1, "ready\n", 6) != 6)
            return 1;
    }
    return 1;
}

static void rude_clients(void) {
    enum { COUNT = 16 };
    const int signals[] = {SIGKILL, SIGSTOP};
    for (int i = 0; i < 2; i++) {
        char name[64], handles[COUNT * 12] = "", ready[8];
        void *held[COUNT], *start;
        int pipes[2], status;
        hp_publication *publication;
        hp_vdi *set = set_in(CONFIGURABLE, &start);
        OK(hp_vdi_request_buffers(set, SIZE, 0, COUNT - 2));
        OK(hp_vdi_end_configuration(set));
        snprintf(name, sizeof name, "rude %d %d", (int)getpid(), i);
        OK(hp_vdi_publish(set, name, NULL, &publication));
        for (int k = 0; k < COUNT; k++) {
            uint32_t handle = 0;
            OK(hp_vdi_allocate_buffer(set, &held[k], SIZE, 0));
            OK(hp_vdi_get_buffer_handle(set, held[k], &handle));
            sprintf(handles + strlen(handles), "%u,", handle);
        }
        CHECK(pipe(pipes) == 0);
        fflush(stdout);
        pid_t child = fork();
        if (child == 0) {
            dup2(pipes[1], 1);
            close(pipes[0]);
            close(pipes[1]);
            execl("/proc/self/exe", "client", name, handles, NULL);
            _exit(1);
        }
        close(pipes[1]);
        CHECK(read(pipes[0], ready, sizeof ready) == 6);
        for (int k = 0; k < COUNT; k++)
            OK(hp_vdi_free_buffer(set, held[k], SIZE));
        for (int turn = 0; turn < 100; turn++) {
            if (turn == 50)
                CHECK(kill(child, signals[i]) == 0);
            for (int k = 0; k < COUNT; k++) {
                OK(hp_vdi_allocate_buffer(set, &held[k], SIZE, 0));
                for (int j = 0; j < k; j++)
                    CHECK(held[j] != held[k]);
            }
            EXPECT(hp_vdi_allocate_buffer(set, &start, SIZE, 0), HP_VD_E_MEMORY);
            for (int k = 0; k < COUNT; k++)
                OK(hp_vdi_free_buffer(set, held[k], SIZE));
        }
        OK(hp_vdi_close(set));
        hp_publication_release(publication);
        hp_vdi_release(set);
        CHECK(kill(child, SIGKILL) == 0);
        CHECK(waitpid(child, &status, 0) == child);
        CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
        close(pipes[0]);
    }
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

int main(int argc, char **argv) {
    if (argc == 3)
        return write_everywhere(argv[1], argv[2]);
    CHECK(sizeof(hp_vd_config) == 44);
    states();
    buffers();
    memory();
    arguments();
    refusals();
    caches();
    waits();
    forked();
    misaligned();
    clients();
    exports();
    rude_clients();
    plain_pool();
    shared_pool();
    printf("%d failures\n", failures);
    return failures != 0;
}
