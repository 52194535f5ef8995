/* What clients are given and may do, through the C interface. */

#include "check.h"

#include <limits.h>
#include <signal.h>
#include <sys/wait.h>

/* Handles of 64 bits, and the bound of those of 32 bits: of a set whose buffers, fewer than
 * eight, the client has mapped. */
static void handles64(hp_vdi *set, const hp_client *client) {
    void *start, *view;
    uint32_t short_handle;
    uint64_t handle, same, reuses;
    hp_view seen = {.size = sizeof seen};
    OK(hp_vdi_handle_reuses(set, &reuses));
    CHECK(reuses == UINT64_C(1) << 28);
    OK(hp_vdi_allocate_buffer(set, &start, SIZE, 0));
    OK(hp_vdi_get_buffer_handle64(set, start, &handle));
    OK(hp_client_map_buffer_handle64(client, handle, &view));
    OK(hp_vdi_get_buffer_handle(set, start, &short_handle));
    OK(hp_client_view(client, short_handle, &seen));
    CHECK(seen.start == view && seen.buffer_size == SIZE);
    OK(hp_client_view64(client, handle, &seen));
    CHECK(seen.start == view && seen.buffer_size == SIZE && seen.prefix == 512);
    OK(hp_client_get_buffer_handle64(client, view, &same));
    CHECK(same == handle);
    OK(hp_vdi_view64(set, handle, &seen));
    CHECK(seen.start == start && seen.buffer_size == SIZE);
    OK(hp_vdi_free_buffer(set, start, SIZE));
    /* Stale, and forged. */
    EXPECT(hp_client_map_buffer_handle64(client, handle, &view), HP_VD_E_INVALID);
    CHECK(view == NULL);
    EXPECT(hp_client_view64(client, 0, &seen), HP_VD_E_INVALID);
    CHECK(seen.start == NULL && seen.buffer_size == 0);
    EXPECT(hp_vdi_view64(set, handle, &seen), HP_VD_E_INVALID);
    EXPECT(hp_vdi_view64(set, UINT64_MAX, &seen), HP_VD_E_INVALID);
    EXPECT(hp_vdi_get_buffer_handle64(set, start, &same), HP_VD_E_INVALID);
    /* Arguments. */
    EXPECT(hp_vdi_get_buffer_handle64(NULL, start, &same), HP_VD_E_INVALID);
    EXPECT(hp_vdi_get_buffer_handle64(set, start, NULL), HP_VD_E_INVALID);
    EXPECT(hp_client_get_buffer_handle64(NULL, start, &same), HP_VD_E_INVALID);
    EXPECT(hp_client_get_buffer_handle64(client, start, NULL), HP_VD_E_INVALID);
    EXPECT(hp_client_map_buffer_handle64(NULL, handle, &view), HP_VD_E_INVALID);
    EXPECT(hp_client_map_buffer_handle64(client, handle, NULL), HP_VD_E_INVALID);
    EXPECT(hp_client_view64(NULL, handle, &seen), HP_VD_E_INVALID);
    EXPECT(hp_client_view64(client, handle, NULL), HP_VD_E_INVALID);
    EXPECT(hp_vdi_view64(NULL, handle, &seen), HP_VD_E_INVALID);
    EXPECT(hp_vdi_view64(set, handle, NULL), HP_VD_E_INVALID);
    EXPECT(hp_vdi_handle_reuses(NULL, &reuses), HP_VD_E_INVALID);
    EXPECT(hp_vdi_handle_reuses(set, NULL), HP_VD_E_INVALID);
}

/* The client's calls; its process may well be the server's. */
static void clients(void) {
    char name[64];
    void *start, *view, *again;
    uint32_t handle, same;
    hp_view seen = {.size = sizeof seen};
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
    EXPECT(hp_client_open_in_secondary(client, NULL, name, NULL), HP_VD_E_PROTOCOL);
    OK(hp_vdi_publish(set, NULL, name, &who, &publication));
    EXPECT(hp_client_open_in_secondary(client, NULL, name, NULL), HP_VD_E_PROTOCOL);
    EXPECT(hp_vdi_get_buffer_handle(set, name, &same), HP_VD_E_PROTOCOL);
    OK(hp_vdi_end_configuration(set));
    OK(hp_client_open_in_secondary(client, NULL, name, &who));
    EXPECT(hp_client_open_in_secondary(client, NULL, name, NULL), HP_VD_E_PROTOCOL);
    OK(hp_vdi_allocate_buffer(set, &start, SIZE, 0));
    memset(start, 0x77, SIZE);
    OK(hp_vdi_get_buffer_handle(set, start, &handle));
    OK(hp_client_map_buffer_handle(client, handle, &view));
    CHECK(view != start && memcmp(view, start, SIZE) == 0);
    OK(hp_client_view(client, handle, &seen));
    CHECK(seen.start == view && seen.buffer_size == SIZE && seen.prefix == 512 && seen.writable);
    OK(hp_client_get_buffer_handle(client, view, &same));
    CHECK(same == handle);
    OK(hp_vdi_view(set, same, &seen));
    CHECK(seen.start == start && seen.buffer_size == SIZE && seen.prefix == 512 && seen.writable);
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
    EXPECT(hp_client_get_buffer_handle(client, view, &same), HP_VD_E_INVALID);
    EXPECT(hp_vdi_get_buffer_handle(set, start, &same), HP_VD_E_INVALID);
    EXPECT(hp_vdi_view(set, handle, &seen), HP_VD_E_INVALID);
    CHECK(seen.start == NULL && seen.buffer_size == 0 && seen.prefix == 0 && !seen.writable);
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
    CHECK(seen.start == NULL && seen.buffer_size == 0);
    /* What is added is there when it is asked for. */
    OK(hp_vdi_request_buffers(set, 4 * SIZE, 0, 1));
    OK(hp_vdi_allocate_buffer(set, &start, 4 * SIZE, 0));
    OK(hp_vdi_get_buffer_handle(set, start, &handle));
    EXPECT(hp_client_map_buffer_handle(client, handle, &view), HP_VD_E_INVALID);
    OK(hp_client_refresh(client));
    OK(hp_client_map_buffer_handle(client, handle, &view));
    /* Arguments. */
    EXPECT(hp_vdi_publish(set, NULL, NULL, NULL, &none), HP_VD_E_INVALID);
    CHECK(none == NULL);
    EXPECT(hp_vdi_publish(set, NULL, "", NULL, &none), HP_VD_E_INVALID);
    EXPECT(hp_vdi_publish(set, NULL, "x", &wrong, &none), HP_VD_E_INVALID);
    EXPECT(hp_vdi_publish(set, NULL, "\xff", NULL, &none), HP_VD_E_INVALID);
    EXPECT(hp_vdi_publish(set, NULL, "x", NULL, NULL), HP_VD_E_INVALID);
    EXPECT(hp_vdi_publish(NULL, NULL, "x", NULL, &none), HP_VD_E_INVALID);
    EXPECT(hp_vdi_get_buffer_handle(set, start, NULL), HP_VD_E_INVALID);
    EXPECT(hp_client_map_buffer_handle(NULL, handle, &view), HP_VD_E_INVALID);
    EXPECT(hp_client_map_buffer_handle(client, handle, NULL), HP_VD_E_INVALID);
    EXPECT(hp_client_open_in_secondary(client, NULL, NULL, NULL), HP_VD_E_INVALID);
    const hp_peers many = {users, SIZE_MAX / 2, NULL, 0};
    EXPECT(hp_vdi_publish(set, NULL, "x", &many, &none), HP_VD_E_INVALID);
    EXPECT(hp_client_refresh(NULL), HP_VD_E_INVALID);
    EXPECT(hp_client_get_buffer_handle(NULL, start, &same), HP_VD_E_INVALID);
    EXPECT(hp_client_get_buffer_handle(client, start, NULL), HP_VD_E_INVALID);
    handles64(set, client);
    EXPECT(hp_client_new(NULL), HP_VD_E_INVALID);
    /* The set is aborted, and then closed. */
    OK(hp_client_new(&other));
    OK(hp_vdi_signal_abort(set));
    EXPECT(hp_client_open_in_secondary(other, NULL, name, NULL), HP_VD_E_ABORT);
    OK(hp_vdi_close(set));
    /* Who is late is told why. */
    EXPECT(hp_client_open_in_secondary(other, NULL, name, NULL), HP_VD_E_ABORT);
    EXPECT(hp_vdi_publish(set, NULL, name, NULL, &none), HP_VD_E_OPEN);
    CHECK(none == NULL);
    hp_client_release(other);
    EXPECT(hp_client_map_buffer_handle(client, handle, &view), HP_VD_E_ABORT);
    CHECK(view == NULL);
    hp_vdi_release(set);
    EXPECT(hp_client_map_buffer_handle(client, handle, &view), HP_VD_E_ABORT);
    CHECK(view == NULL);
    hp_client_release(client);
    hp_publication_release(publication);
    hp_publication_release(NULL);
    hp_client_release(NULL);
}

/* Descriptors and layouts over a channel of one's own, and those that are wrong. */
static void exports(void) {
    hp_export export[3] = {{.size = sizeof *export}};
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
    int memory = export[0].memory, states = export[0].states, status = export[0].status;
    /* Truncated, too long, none, of another version, forged. */
    EXPECT(hp_client_attach(client, layout, HP_LAYOUT_BYTES - 1, memory, states, status),
           HP_VD_E_INVALID);
    EXPECT(hp_client_attach(client, layout, 0, memory, states, status), HP_VD_E_INVALID);
    EXPECT(hp_client_attach(client, layout, SIZE_MAX, memory, states, status),
           HP_VD_E_INVALID);
    EXPECT(hp_client_attach(client, NULL, HP_LAYOUT_BYTES, memory, states, status),
           HP_VD_E_INVALID);
    for (int word = 0; word < HP_LAYOUT_BYTES / 8; word++) {
        uint8_t forged[HP_LAYOUT_BYTES];
        memcpy(forged, layout, sizeof forged);
        memset(forged + 8 * word, 0xff, 8);
        /* Which pool's it is can be any number, and which of the pool's segments. */
        if (word != 1 && word != 11)
            EXPECT(hp_client_attach(client, forged, sizeof forged, memory, states, status),
                   HP_VD_E_INVALID);
    }
    /* Descriptors that are none, exchanged, or another segment's. */
    int closed = dup(memory), pipes[2];
    close(closed);
    CHECK(pipe(pipes) == 0);
    int wrong[] = {-1, INT_MIN, INT_MAX, closed, pipes[0], states, export[1].states};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        EXPECT(hp_client_attach(client, layout, HP_LAYOUT_BYTES, wrong[i], states, status),
               HP_VD_E_INVALID);
    EXPECT(hp_client_attach(client, layout, HP_LAYOUT_BYTES, memory, pipes[0], status),
           HP_VD_E_INVALID);
    EXPECT(hp_client_attach(client, layout, HP_LAYOUT_BYTES, memory, states, pipes[0]),
           HP_VD_E_INVALID);
    EXPECT(hp_client_map_buffer_handle(client, 1, &view), HP_VD_E_PROTOCOL);
    for (size_t i = 0; i < count; i++) {
        OK(hp_client_attach(client, export[i].layout, HP_LAYOUT_BYTES, export[i].memory,
                            export[i].states, export[i].status));
        EXPECT(hp_client_attach(client, export[i].layout, HP_LAYOUT_BYTES,
                                export[i].memory, export[i].states, export[i].status),
               HP_VD_E_INVALID);
        close(export[i].memory);
        close(export[i].states);
        close(export[i].status);
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
    /* If it is forgotten. */
    alarm(3600);
    OK(hp_client_new(&client));
    OK(hp_client_open_in_secondary(client, NULL, name, NULL));
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
        OK(hp_vdi_publish(set, NULL, name, NULL, &publication));
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

int main(int argc, char **argv) {
    if (argc == 3)
        return write_everywhere(argv[1], argv[2]);
    clients();
    exports();
    rude_clients();
    return report();
}
