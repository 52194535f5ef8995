/* The contract of the VDI calls, through the C interface. */

#include "check.h"

#include <pthread.h>
#include <stddef.h>
#include <sched.h>
#include <sys/wait.h>

/* Calls, and what they give in each state, as docs/vdi.md has it: P protocol, A abort, C
   close, '.' carried out, E protocol, and carried out all the same. */
static const char *rows[] = {
    "Open .PPPPPP",       "GetConfiguration P.....A", "BeginConfiguration P.PPPPA",
    "Request PP...PA",    "Query PP...PP",            "EndConfiguration PP.PPPA",
    "OpenDevice PPP..PA", "CloseDevice PPPP.CA",      "Allocate PPP..PA",
    "Free PPP....",       "SignalAbort P......",      "Close P...E..",
};

static uint32_t code_of(char cell) {
    return cell == 'P' || cell == 'E' ? HP_VD_E_PROTOCOL
           : cell == 'A'              ? HP_VD_E_ABORT
           : cell == 'C'              ? HP_VD_E_CLOSE
                                      : HP_NOERROR;
}

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
            expect(state, rows[call], make(call, set, buffer), code_of(cells[state]));
            /* What says E has ended the set. */
            if (cells[state] == 'E')
                EXPECT(hp_vdi_free_buffer(set, buffer, SIZE), HP_VD_E_PROTOCOL);
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
    CHECK(hp_vdi_is_shared_buffer(set, (char *)first + SIZE - 1) == 1);
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
    /* It is no longer available. */
    CHECK(hp_vdi_is_shared_buffer(set, first) == 0);
    CHECK(hp_vdi_is_shared_buffer(set, (char *)first + 100) == 0);
    CHECK(hp_vdi_is_shared_buffer(set, second) == 1);
    /* Of one that was asked for in part, the rest is not. */
    OK(hp_vdi_allocate_buffer(set, &third, SIZE / 2, 0));
    CHECK(hp_vdi_is_shared_buffer(set, (char *)third + SIZE / 2 - 1) == 1);
    CHECK(hp_vdi_is_shared_buffer(set, (char *)third + SIZE / 2) == 0);
    OK(hp_vdi_free_buffer(set, third, SIZE / 2));
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
    config.deviceCount = 65;
    EXPECT(hp_vdi_open(set, &config), HP_VD_E_NOTSUPPORTED);
    /* What did not fit is cut off, and its length is given. */
    CHECK(hp_last_error(text, sizeof text) > sizeof text && strlen(text) == sizeof text - 1);
    CHECK(hp_last_error(NULL, 0) > sizeof text);
    OK(hp_vdi_open(set, &client_wishes));
    EXPECT(hp_vdi_get_configuration(set, NULL), HP_VD_E_INVALID);
    parameters.blockSize = 100;
    EXPECT(hp_vdi_begin_configuration(set, &parameters), HP_VD_E_INVALID);
    OK(hp_vdi_begin_configuration(set, &server));
    /* With the prefix zone it has more bytes than 32 bits can say. */
    EXPECT(hp_vdi_request_buffers(set, UINT32_MAX, 0, 1), HP_VD_E_INVALID);
    EXPECT(hp_vdi_query_available_buffers(set, SIZE, 0, NULL), HP_VD_E_INVALID);
    hp_vdi_release(set);
}

/* The codes are the interface's. */
_Static_assert(HP_NOERROR == 0 && HP_VD_E_NOTOPEN == 0x80770002u &&
                   HP_VD_E_TIMEOUT == 0x80770003u && HP_VD_E_ABORT == 0x80770004u &&
                   HP_VD_E_SECURITY == 0x80770005u && HP_VD_E_INVALID == 0x80770006u &&
                   HP_VD_E_INSTANCE_NAME == 0x80770007u && HP_VD_E_NOTSUPPORTED == 0x80770009u &&
                   HP_VD_E_MEMORY == 0x8077000au && HP_VD_E_UNEXPECTED == 0x8077000bu &&
                   HP_VD_E_PROTOCOL == 0x8077000cu && HP_VD_E_OPEN == 0x8077000du &&
                   HP_VD_E_CLOSE == 0x8077000eu && HP_VD_E_BUSY == 0x8077000fu,
               "HRESULTs");

/* And so are the numbers of features and commands. */
_Static_assert(HP_VDF_Removable == 1 && HP_VDF_Rewind == 2 && HP_VDF_Position == 0x10 &&
                   HP_VDF_SkipBlocks == 0x20 && HP_VDF_ReversePosition == 0x40 &&
                   HP_VDF_Discard == 0x80 && HP_VDF_FileMarks == 0x100 &&
                   HP_VDF_RandomAccess == 0x200 && HP_VDF_SnapshotPrepare == 0x400 &&
                   HP_VDF_WriteMedia == 0x10000 && HP_VDF_ReadMedia == 0x20000 &&
                   HP_VDF_LatchStats == 0x80000000u && HP_VDF_LikePipe == 0 &&
                   HP_VDF_LikeTape == 0x173 && HP_VDF_LikeDisk == 0x200 &&
                   HP_VDC_Read == 1 && HP_VDC_Write == 2 && HP_VDC_Complete == 19 &&
                   HP_VDC_Beginning == 0 && HP_VDC_End == 2,
               "published");

/* VDConfig is eleven words, in the reference's order. */
#define WORD(field, at) _Static_assert(offsetof(hp_vd_config, field) == 4 * (at), #field)
WORD(deviceCount, 0);
WORD(features, 1);
WORD(prefixZoneSize, 2);
WORD(alignment, 3);
WORD(softFileMarkBlockSize, 4);
WORD(EOMWarningSize, 5);
WORD(serverTimeOut, 6);
WORD(blockSize, 7);
WORD(maxIODepth, 8);
WORD(maxTransferSize, 9);
WORD(bufferAreaSize, 10);
_Static_assert(sizeof(hp_vd_config) == 44, "and no more");

/* Open with these wishes gives `code`, and BeginConfiguration after that. */
static void limit(int line, hp_vd_config wishes, hp_vd_parameters parameters, uint32_t opened,
                  uint32_t begun) {
    hp_vdi *set;
    OK(hp_vdi_new(&set));
    expect(line, "hp_vdi_open", hp_vdi_open(set, &wishes), opened);
    if (opened == HP_NOERROR)
        expect(line, "hp_vdi_begin_configuration", hp_vdi_begin_configuration(set, &parameters),
               begun);
    hp_vdi_release(set);
}

/* What can be configured, at both ends of each range, and what it comes to. */
static void limits(void) {
    const uint32_t invalid = HP_VD_E_INVALID, absent = HP_VD_E_NOTSUPPORTED;
    const struct { uint32_t given, code; } devices[] = {
        {0, absent}, {1, 0}, {64, 0}, {65, absent}, {UINT32_MAX, absent}};
    const struct { uint32_t given, wished, offered; } features[] = {
        {0, 0, 0},
        {HP_VDF_LikeTape | HP_VDF_Discard, 0, 0},
        {HP_VDF_LikeDisk | HP_VDF_LatchStats | HP_VDF_ReadMedia | HP_VDF_WriteMedia, 0, 0},
        {4, absent, invalid},
        {HP_VDF_LikeDisk | 0x40000000, absent, invalid},
        {UINT32_MAX, absent, invalid}};
    const struct { uint32_t given, code; } blocks[] = {
        {0, invalid}, {256, invalid}, {512, 0}, {513, invalid}, {65536, 0}, {131072, invalid}};
    /* With blocks of 4096. */
    const struct { uint32_t given, code; } alignments[] = {
        {0, 0}, {512, invalid}, {4096, 0}, {4097, invalid}, {65536, 0}, {131072, invalid}};
    const struct { uint32_t given, code; } transfers[] = {
        {0, invalid}, {4096, invalid}, {65536, 0}, {65537, invalid}, {20u << 20, 0}};
    const struct { uint32_t given, code; } zones[] = {
        {0, 0}, {1, 0}, {1u << 20, 0}, {(1u << 20) + 1, absent}, {UINT32_MAX, absent}};
#define EACH(cases, ...)                                                                       \
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {                                \
        hp_vd_config wishes = client_wishes;                                                   \
        hp_vd_parameters parameters = server;                                                  \
        __VA_ARGS__;                                                                           \
    }
    EACH(devices, wishes.deviceCount = devices[i].given;
         limit(__LINE__, wishes, parameters, devices[i].code, 0))
    EACH(features, wishes.features = features[i].given;
         limit(__LINE__, wishes, parameters, features[i].wished, 0))
    EACH(features, parameters.features = features[i].given;
         limit(__LINE__, wishes, parameters, 0, features[i].offered))
    const struct { uint32_t given, code; } wished[] = {
        {0, 0}, {1, 0}, {3, absent}, {65536, 0}, {131072, absent}};
    EACH(wished, wishes.alignment = wished[i].given;
         limit(__LINE__, wishes, parameters, wished[i].code, 0))
    EACH(zones, wishes.prefixZoneSize = zones[i].given;
         limit(__LINE__, wishes, parameters, zones[i].code, 0))
    EACH(blocks, parameters.blockSize = blocks[i].given;
         limit(__LINE__, wishes, parameters, 0, blocks[i].code))
    EACH(alignments, parameters.alignment = alignments[i].given;
         limit(__LINE__, wishes, parameters, 0, alignments[i].code))
    EACH(transfers, parameters.maxTransferSize = transfers[i].given;
         limit(__LINE__, wishes, parameters, 0, transfers[i].code))
#undef EACH

    hp_vdi *set;
    void *start;
    const hp_vd_config wishes = {.deviceCount = 64,
                                 .features = HP_VDF_LikeTape,
                                 .prefixZoneSize = 100,
                                 .alignment = 8192,
                                 .softFileMarkBlockSize = 11,
                                 .EOMWarningSize = 12,
                                 .serverTimeOut = 13,
                                 .blockSize = 14,
                                 .maxIODepth = 15,
                                 .maxTransferSize = 16,
                                 .bufferAreaSize = 17};
    hp_vd_config config;
    OK(hp_vdi_new(&set));
    OK(hp_vdi_open(set, &wishes));
    OK(hp_vdi_get_configuration(set, &config));
    CHECK(config.features == 0x173 && config.blockSize == 0 && config.bufferAreaSize == 0);
    hp_vd_parameters parameters = server;
    parameters.features = HP_VDF_LikeTape | HP_VDF_ReadMedia;
    OK(hp_vdi_begin_configuration(set, &parameters));
    OK(hp_vdi_request_buffers(set, SIZE, 0, 1));
    OK(hp_vdi_request_buffers(set, SIZE, 0, 2));
    /* Large ones, and one that is more strictly aligned than the set. */
    OK(hp_vdi_request_buffers(set, 20u << 20, 0, 1));
    OK(hp_vdi_request_buffers(set, 4u << 20, 65536, 1));
    OK(hp_vdi_end_configuration(set));
    OK(hp_vdi_get_configuration(set, &config));
    CHECK(config.deviceCount == 64 && config.features == 0x20173 && config.prefixZoneSize == 100 &&
          config.softFileMarkBlockSize == 11 && config.EOMWarningSize == 12 &&
          config.serverTimeOut == 13);
    /* The client wants a stricter alignment than the server, and has it. */
    CHECK(config.blockSize == 4096 && config.alignment == 8192 && config.maxIODepth == 4 &&
          config.maxTransferSize == 1u << 20 && config.bufferAreaSize >= 3 * SIZE);
    /* Requests were summed. The data is what is aligned, right behind the prefix zone. */
    for (int i = 0; i < 3; i++) {
        OK(hp_vdi_allocate_buffer(set, &start, SIZE, 0));
        CHECK((uintptr_t)start % 8192 == 0);
        memset((char *)start - 100, 0x77, 100 + SIZE);
    }
    EXPECT(hp_vdi_allocate_buffer(set, &start, SIZE, 0), HP_VD_E_MEMORY);
    OK(hp_vdi_allocate_buffer(set, &start, 4u << 20, 65536));
    CHECK((uintptr_t)start % 65536 == 0);
    OK(hp_vdi_allocate_buffer(set, &start, 20u << 20, 0));
    memset(start, 1, 20u << 20);
    /* No more devices than were wished for. Buffers are the set's, not a device's. */
    for (int i = 0; i < 64; i++)
        OK(hp_vdi_open_device(set));
    EXPECT(hp_vdi_open_device(set), HP_VD_E_OPEN);
    OK(hp_vdi_close_device(set));
    /* Each is opened once. */
    EXPECT(hp_vdi_open_device(set), HP_VD_E_OPEN);
    OK(hp_vdi_free_buffer(set, start, 20u << 20));
    OK(hp_vdi_allocate_buffer(set, &start, 20u << 20, 0));
    hp_vdi_release(set);
}

/* What AllocateBuffer does not give is null, in every state. */
static void nulls(void) {
    for (int state = 0; state < STATES; state++) {
        void *held, *start = &held;
        hp_vdi *set = set_in(state, &held);
        if (held != NULL)
            OK(hp_vdi_free_buffer(set, held, SIZE));
        uint32_t code = hp_vdi_allocate_buffer(set, &start, SIZE, 0);
        CHECK((code == HP_NOERROR) == (start != NULL));
        start = &held;
        code = hp_vdi_allocate_buffer_timeout(set, &start, SIZE, 0, 0);
        CHECK((code == HP_NOERROR) == (start != NULL));
        start = &held;
        EXPECT(hp_vdi_allocate_buffer((hp_vdi *)((char *)set + 1), &start, SIZE, 0),
               HP_VD_E_INVALID);
        CHECK(start == NULL);
        hp_vdi_release(set);
    }
}

/* What is not the set's own is not taken back, and changes nothing. */
static void foreign(void) {
    void *own, *other, *second;
    uint32_t count;
    hp_vdi *set = set_in(INITIALIZING, &own), *stranger = set_in(INITIALIZING, &other);
    const struct { void *start; uint32_t size, reason; } wrong[] = {
        {other, SIZE, HP_E_FOREIGN},
        {(void *)UINTPTR_MAX, SIZE, HP_E_FOREIGN},
        {(char *)own - 1, SIZE, HP_E_INTERIOR},
        {(char *)own - 512, SIZE, HP_E_INTERIOR},
        {(char *)own + 4096, SIZE, HP_E_INTERIOR},
        {own, UINT32_MAX, HP_E_WRONG_SIZE},
        {own, SIZE + 512, HP_E_WRONG_SIZE}};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        /* The code is the published one; another call says more. */
        EXPECT(hp_vdi_free_buffer(set, wrong[i].start, wrong[i].size), HP_VD_E_INVALID);
        EXPECT(hp_last_code(), wrong[i].reason);
        OK(hp_vdi_query_available_buffers(set, SIZE, 0, &count));
        CHECK(count == 1);
    }
    /* The prefix zone is the client's: the server does not know of it. */
    CHECK(hp_vdi_is_shared_buffer(set, (char *)own - 1) == 0);
    CHECK(hp_vdi_is_shared_buffer(set, (char *)own - 512) == 0);
    CHECK(hp_vdi_is_shared_buffer(set, other) == 0);
    OK(hp_vdi_allocate_buffer(set, &second, SIZE, 0));
    CHECK(labs((long)((char *)second - (char *)own)) >= (long)SIZE + 512);
    OK(hp_vdi_free_buffer(set, own, SIZE));
    EXPECT(hp_vdi_free_buffer(set, own, SIZE), HP_VD_E_INVALID);
    EXPECT(hp_last_code(), HP_E_NOT_ALLOCATED);
    EXPECT(hp_vdi_close_device(set), HP_VD_E_PROTOCOL);
    EXPECT(hp_last_code(), HP_VD_E_PROTOCOL);
    hp_vdi_release(set);
    hp_vdi_release(stranger);
}

/* What cannot be declared, before the buffers are mapped and after. */
static void requests(void) {
    for (int state = CONFIGURABLE; state <= ACTIVE; state++) {
        void *start;
        uint32_t count;
        hp_vdi *set = set_in(state, &start);
        EXPECT(hp_vdi_request_buffers(set, 0, 0, 1), HP_VD_E_INVALID);
        EXPECT(hp_vdi_request_buffers(set, SIZE, 0, 0), HP_VD_E_INVALID);
        EXPECT(hp_vdi_request_buffers(set, SIZE, 3, 1), HP_VD_E_INVALID);
        EXPECT(hp_vdi_request_buffers(set, SIZE, 1u << 31, 1), HP_VD_E_INVALID);
        /* With the prefix zone these have more bytes than 32 bits can say, or just as many. */
        EXPECT(hp_vdi_request_buffers(set, UINT32_MAX, 0, 1), HP_VD_E_INVALID);
        EXPECT(hp_vdi_request_buffers(set, UINT32_MAX - 511, 0, 1), HP_VD_E_INVALID);
        EXPECT(hp_vdi_request_buffers(set, UINT32_MAX - 512, 0, 1), HP_VD_E_INVALID);
        OK(hp_vdi_query_available_buffers(set, UINT32_MAX, 0, &count));
        CHECK(count == 0);
        if (state > CONFIGURABLE) {
            EXPECT(hp_vdi_request_buffers(set, 1u << 30, 0, 4096), HP_VD_E_MEMORY);
            OK(hp_vdi_query_available_buffers(set, SIZE, 0, &count));
            CHECK(count == 1);
        }
        hp_vdi_release(set);
    }
}

/* After Close every call is refused, from whatever state it came. */
static void closed(void) {
    for (int state = CONNECTED; state < STATES; state++) {
        void *buffer;
        hp_view view = {.size = sizeof view};
        hp_vdi *set = set_in(state, &buffer);
        /* Whatever it says, it ends the set. */
        EXPECT(hp_vdi_close(set), state == ACTIVE ? HP_VD_E_PROTOCOL : HP_NOERROR);
        for (int call = 0; call < (int)(sizeof rows / sizeof *rows); call++)
            expect(state, rows[call], make(call, set, buffer), HP_VD_E_PROTOCOL);
        /* How it ended is not forgotten. */
        EXPECT(hp_vdi_view(set, 1, &view),
               state == ACTIVE || state == ABORTED ? HP_VD_E_ABORT : HP_VD_E_CLOSE);
        CHECK(hp_vdi_is_shared_buffer(set, buffer) == 0);
        hp_vdi_release(set);
    }
}

/* A null pointer wherever there is one. */
static void nothing(void) {
    void *start;
    uint32_t number;
    size_t size;
    hp_vd_config config;
    hp_stats stats = {.size = sizeof stats};
    hp_vdi *set = set_in(CONNECTED, &start);
    EXPECT(hp_vdi_begin_configuration(set, NULL), HP_VD_E_INVALID);
    EXPECT(hp_vdi_begin_configuration(NULL, &server), HP_VD_E_INVALID);
    EXPECT(hp_vdi_get_configuration(NULL, &config), HP_VD_E_INVALID);
    EXPECT(hp_vdi_request_buffers(NULL, SIZE, 0, 1), HP_VD_E_INVALID);
    EXPECT(hp_vdi_query_available_buffers(NULL, SIZE, 0, &number), HP_VD_E_INVALID);
    EXPECT(hp_vdi_end_configuration(NULL), HP_VD_E_INVALID);
    EXPECT(hp_vdi_open_device(NULL), HP_VD_E_INVALID);
    EXPECT(hp_vdi_close_device(NULL), HP_VD_E_INVALID);
    EXPECT(hp_vdi_signal_abort(NULL), HP_VD_E_INVALID);
    EXPECT(hp_vdi_stats(NULL, &stats), HP_VD_E_INVALID);
    EXPECT(hp_vdi_exports(NULL, NULL, 0, &size), HP_VD_E_INVALID);
    CHECK(hp_vdi_is_shared_buffer(NULL, &set) == 0);
    hp_vdi_release(set);
    set = set_in(INITIALIZING, &start);
    EXPECT(hp_vdi_stats(set, NULL), HP_VD_E_INVALID);
    hp_vdi_release(set);
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
    if (pthread_setaffinity_np(pthread_self(), sizeof processors, &processors) != 0)
        printf("skipped: processor %d is not here\n", freeing->processor);
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
    hp_stats stats = {.size = sizeof stats};
    while (stats.waiting == 0)
        OK(hp_vdi_stats(set, &stats));
}

/* SignalAbort and Close end every wait, a Close with devices open, too. */
static void waits(void) {
    for (int closes = 0; closes < 3; closes++) {
        void *first, *second, *code;
        pthread_t thread;
        hp_vdi *set = set_in(closes == 2 ? ACTIVE : INITIALIZING, &first);
        OK(hp_vdi_allocate_buffer(set, &second, SIZE, 0));
        CHECK(pthread_create(&thread, NULL, wait_for_one, set) == 0);
        until_waiting(set);
        EXPECT(closes ? hp_vdi_close(set) : hp_vdi_signal_abort(set),
               closes == 2 ? HP_VD_E_PROTOCOL : HP_NOERROR);
        pthread_join(thread, &code);
        EXPECT((uint32_t)(uintptr_t)code, HP_VD_E_ABORT);
        hp_vdi_release(set);
    }
}

/* The set is not a child's; nothing it does there changes it. */
static void forked(int way) {
    void *start, *other;
    uint32_t count, handle;
    hp_vdi *set = set_in(INITIALIZING, &start);
    OK(hp_vdi_get_buffer_handle(set, start, &handle));
    pid_t child = make_child(way);
    if (child < 0) {
        hp_vdi_release(set);
        return;
    }
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
        EXPECT(hp_vdi_open(set, &client_wishes), HP_VD_E_NOTOPEN);
        EXPECT(hp_vdi_begin_configuration(set, &server), HP_VD_E_NOTOPEN);
        EXPECT(hp_vdi_end_configuration(set), HP_VD_E_NOTOPEN);
        EXPECT(hp_vdi_close_device(set), HP_VD_E_NOTOPEN);
        size_t size;
        hp_stats stats = {.size = sizeof stats};
        EXPECT(hp_vdi_exports(set, NULL, 0, &size), HP_VD_E_NOTOPEN);
        EXPECT(hp_vdi_stats(set, &stats), HP_VD_E_NOTOPEN);
        hp_counters counters = {.size = sizeof counters};
        EXPECT(hp_vdi_counters(set, &counters), HP_VD_E_NOTOPEN);
        EXPECT(hp_vdi_reset_marks(set), HP_VD_E_NOTOPEN);
        EXPECT(hp_vdi_open_device(set), HP_VD_E_NOTOPEN);
        hp_view view = {.size = sizeof view};
        EXPECT(hp_vdi_get_buffer_handle(set, start, &count), HP_VD_E_NOTOPEN);
        EXPECT(hp_vdi_view(set, handle, &view), HP_VD_E_NOTOPEN);
        EXPECT(hp_vdi_publish(set, NULL, "child", NULL, &publication), HP_VD_E_NOTOPEN);
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
    hp_stats stats = {.size = sizeof stats};
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

int main(void) {
    states();
    buffers();
    memory();
    arguments();
    limits();
    nulls();
    foreign();
    requests();
    closed();
    nothing();
    refusals();
    caches();
    waits();
    for (int way = FORK; way < WAYS; way++)
        forked(way);
    misaligned();
    return report();
}
