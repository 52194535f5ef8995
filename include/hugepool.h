/*
 * hugepool: a lock-free pool of aligned I/O buffers, and the buffer calls of SQL Server's
 * virtual device interface.
 *
 * Made from capi/src by `HUGEPOOL_UPDATE_HEADER=1 cargo test -p hugepool-capi --test header`.
 *
 * Every call may be made by any thread at any time, but where it says otherwise. A call
 * that returns a code returns HP_NOERROR or one of HP_VD_E_* (where it says so, HP_PENDING
 * or HP_E_CANCELLED); unless it is HP_NOERROR nothing has changed, but places for results,
 * which are null or zero then, and where it says otherwise. hp_last_error says more. A null
 * pointer, or one that is not aligned, is HP_VD_E_INVALID wherever an object or a place for
 * a result is expected.
 *
 * In a child of a fork a set, and a pool whose buffers it did not inherit, are
 * HP_VD_E_NOTOPEN; clients, builders and the numbers of a pool are not for it to use. What C
 * cannot check: an object must not be used after its *_release (a wait: after hp_wait_end),
 * and must be one that a call of this header gave; two threads must not free one buffer at
 * a time.
 */

#ifndef HUGEPOOL_H
#define HUGEPOOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 The version of this interface: a program that was built against another one must not
 use it.
 */
#define HP_ABI_VERSION 1

/*
 Kinds of pages, for hp_builder_pages: reserved ones of 1 GiB.
 */
#define HP_PAGES_HUGE_1G 0

/*
 Reserved ones of 2 MiB.
 */
#define HP_PAGES_HUGE_2M 1

/*
 Base pages that the kernel merges into huge ones.
 */
#define HP_PAGES_TRANSPARENT 2

/*
 Base pages.
 */
#define HP_PAGES_BASE 3

/*
 What is asked of a kind of pages, for hp_builder_pages: nothing less will do.
 */
#define HP_RUNG_REQUIRE 0

/*
 They are tried before lesser ones.
 */
#define HP_RUNG_PREFER 1

/*
 They are left out.
 */
#define HP_RUNG_NEVER 2

/*
 What other processes may do with buffers, for hp_builder_shared: read them.
 */
#define HP_ACCESS_READ 0

/*
 Read and write them.
 */
#define HP_ACCESS_WRITE 1

/*
 Powers of two that hp_counters sorts waits by.
 */
#define HP_WAIT_BINS 40

/*
 The call was carried out.
 */
#define HP_NOERROR 0

/*
 Not an error: a wait goes on.
 */
#define HP_PENDING 1

/*
 A token ended the wait. (The code that Windows has for what its user cancelled.)
 */
#define HP_E_CANCELLED 0x800704C7u

/*
 The set is not open in this process.
 */
#define HP_VD_E_NOTOPEN 0x80770002u

/*
 Time is up.
 */
#define HP_VD_E_TIMEOUT 0x80770003u

/*
 The set, or the pool, was aborted.
 */
#define HP_VD_E_ABORT 0x80770004u

/*
 The caller may not.
 */
#define HP_VD_E_SECURITY 0x80770005u

/*
 An argument is wrong.
 */
#define HP_VD_E_INVALID 0x80770006u

/*
 There is no such instance.
 */
#define HP_VD_E_INSTANCE_NAME 0x80770007u

/*
 The client's configuration asks for what is not there.
 */
#define HP_VD_E_NOTSUPPORTED 0x80770009u

/*
 There is no memory, or no buffer free: asking for less, or later, may help. (Who lacks
 rights is told HP_VD_E_SECURITY, who lacks descriptors HP_VD_E_UNEXPECTED.)
 */
#define HP_VD_E_MEMORY 0x8077000Au

/*
 Something failed that should not.
 */
#define HP_VD_E_UNEXPECTED 0x8077000Bu

/*
 The set is in the wrong state for the call.
 */
#define HP_VD_E_PROTOCOL 0x8077000Cu

/*
 It is open, or all have been opened.
 */
#define HP_VD_E_OPEN 0x8077000Du

/*
 It is closed.
 */
#define HP_VD_E_CLOSE 0x8077000Eu

/*
 Too many wait.
 */
#define HP_VD_E_BUSY 0x8077000Fu

/*
 Features of a set (hp_vd_config's `features`), by their published names and numbers.
 */
#define HP_VDF_Removable 0x00000001u

#define HP_VDF_Rewind 0x00000002u

#define HP_VDF_Position 0x00000010u

#define HP_VDF_SkipBlocks 0x00000020u

#define HP_VDF_ReversePosition 0x00000040u

#define HP_VDF_Discard 0x00000080u

#define HP_VDF_FileMarks 0x00000100u

#define HP_VDF_RandomAccess 0x00000200u

#define HP_VDF_SnapshotPrepare 0x00000400u

#define HP_VDF_EnumFrozenFiles 0x00000800u

#define HP_VDF_VSSWriter 0x00001000u

#define HP_VDF_RequestComplete 0x00002000u

#define HP_VDF_WriteMedia 0x00010000u

#define HP_VDF_ReadMedia 0x00020000u

#define HP_VDF_CompleteEnabled 0x00040000u

#define HP_VDF_LatchStats 0x80000000u

#define HP_VDF_LikePipe 0x00000000u

#define HP_VDF_LikeTape 0x00000173u

#define HP_VDF_LikeDisk 0x00000200u

/*
 Commands, by their published names and numbers. A set never sees one.
 */
#define HP_VDC_Read 1

#define HP_VDC_Write 2

#define HP_VDC_ClearError 3

#define HP_VDC_Rewind 4

#define HP_VDC_WriteMark 5

#define HP_VDC_SkipMarks 6

#define HP_VDC_SkipBlocks 7

#define HP_VDC_Load 8

#define HP_VDC_GetPosition 9

#define HP_VDC_SetPosition 10

#define HP_VDC_Discard 11

#define HP_VDC_Flush 12

#define HP_VDC_Snapshot 13

#define HP_VDC_MountSnapshot 14

#define HP_VDC_PrepareToFreeze 15

#define HP_VDC_FileInfoBegin 16

#define HP_VDC_FileInfoEnd 17

#define HP_VDC_GetError 18

#define HP_VDC_Complete 19

/*
 From where a command goes on, by their published names and numbers.
 */
#define HP_VDC_Beginning 0

#define HP_VDC_Current 1

#define HP_VDC_End 2

/*
 Bytes of a layout.
 */
#define HP_LAYOUT_BYTES 104

/*
 Bytes of a stream's name, with the zero byte that ends it.
 */
#define HP_STREAM_NAME 65

/*
 The description of a pool. Not for several threads at once.
 */
typedef struct hp_builder hp_builder;

/*
 A client: another process's set, or pool, mapped into this one.
 */
typedef struct hp_client hp_client;

/*
 A pool of aligned buffers.
 */
typedef struct hp_pool hp_pool;

/*
 A name by which clients open a set, or a pool.
 */
typedef struct hp_publication hp_publication;

/*
 A stream of a pool: what one backup takes its buffers by. Of each class that it has a
 share of, a minimum is set aside for it, and it has no more than a maximum at once.
 */
typedef struct hp_stream hp_stream;

/*
 Ends waits of a pool, while others go on. Any number of waits may have one, one after
 another or at once.
 */
typedef struct hp_token hp_token;

/*
 A virtual device set.
 */
typedef struct hp_vdi hp_vdi;

/*
 A wait that nobody sleeps for: of an event loop.
 */
typedef struct hp_wait hp_wait;

/*
 Who may be at the other end, besides this process's own user. A user or group that this
 process's user namespace does not have appears as 65534, and is nobody's, unless it is in
 the same user namespace.
 */
typedef struct {
  /*
   Users.
   */
  const uint32_t *users;
  /*
   How many.
   */
  size_t user_count;
  /*
   Groups, whose members may be, by supplementary membership, too.
   */
  const uint32_t *groups;
  /*
   How many.
   */
  size_t group_count;
} hp_peers;

/*
 The configuration of a set (VDConfig), by the published names of its fields: the client
 fills in the first seven, the set the others. One that asks for what is not there is
 HP_VD_E_NOTSUPPORTED.
 */
typedef struct {
  /*
   Devices of the set, 1 to 64.
   */
  uint32_t deviceCount;
  /*
   Features that are asked for, and then those that there are: HP_VDF_*. Passed on.
   */
  uint32_t features;
  /*
   Bytes that the client keeps right before each buffer, 1 MiB at most.
   */
  uint32_t prefixZoneSize;
  /*
   What the client wants buffers aligned to, a power of two up to 65536 bytes; 0: no
   wish.
   */
  uint32_t alignment;
  /*
   Bytes between soft file marks; passed on.
   */
  uint32_t softFileMarkBlockSize;
  /*
   Bytes before the end of the medium at which the client warns; passed on.
   */
  uint32_t EOMWarningSize;
  /*
   How long the client waits for the server, in ms; 0 for ever. Passed on.
   */
  uint32_t serverTimeOut;
  /*
   The server's block size, in bytes.
   */
  uint32_t blockSize;
  /*
   How many requests a device may have: 4.
   */
  uint32_t maxIODepth;
  /*
   The largest transfer, in bytes.
   */
  uint32_t maxTransferSize;
  /*
   Bytes of all buffers' memory; 0xffffffff if they are more.
   */
  uint32_t bufferAreaSize;
} hp_vd_config;

/*
 A buffer, in this process.
 */
typedef struct {
  /*
   Its first byte.
   */
  void *start;
  /*
   How many bytes it was allocated for.
   */
  size_t size;
  /*
   How many bytes right before it are the client's.
   */
  size_t prefix;
  /*
   Whether it, and what is before it, may be written.
   */
  bool writable;
} hp_view;

/*
 What a pool has counted since it was built. Durations are in nanoseconds.
 */
typedef struct {
  /*
   Set by the caller to sizeof(hp_counters); by the call to how many bytes it wrote,
   which are fewer if the library is older than the header.
   */
  size_t size;
  /*
   Classes there are: see hp_pool_class_counters.
   */
  uint64_t classes;
  /*
   Threads and tasks that stand in line now.
   */
  uint64_t waiting;
  /*
   Waits that stood in line.
   */
  uint64_t waits;
  /*
   Those of them that ended with a buffer.
   */
  uint64_t served;
  /*
   Those whose time was up.
   */
  uint64_t timed_out;
  /*
   Those that hp_pool_abort ended.
   */
  uint64_t aborted;
  /*
   Those that a token ended, or hp_wait_end.
   */
  uint64_t cancelled;
  /*
   Those that ended because no class could serve them any more.
   */
  uint64_t failed;
  /*
   How long the waits that have ended took together.
   */
  uint64_t waited;
  /*
   How long the longest of them took, since hp_pool_reset_marks.
   */
  uint64_t longest_wait;
  /*
   How many of them took at least 2^n and less than 2^(n+1), n being the index; the first
   also counts those that took less, the last those that took more.
   */
  uint64_t wait_histogram[HP_WAIT_BINS];
  /*
   Waiters that were woken because a buffer was free.
   */
  uint64_t calls;
  /*
   Those of them that found the buffer gone, and waited on.
   */
  uint64_t passed_over;
  /*
   Buffers that were handed to the waiter whose turn it was.
   */
  uint64_t hand_overs;
  /*
   System calls that put a thread to sleep.
   */
  uint64_t sleeps;
  /*
   System calls that woke a thread.
   */
  uint64_t wakes;
  /*
   System calls that kept other processors from their caches.
   */
  uint64_t barriers;
  /*
   Requests that were refused because no buffer that fits was free.
   */
  uint64_t refused_exhausted;
  /*
   As above, and another thread was carrying some all the while.
   */
  uint64_t refused_carried;
  /*
   Because none came home in time, whether they stood in line or had no time to.
   */
  uint64_t refused_timed_out;
  /*
   Because of hp_pool_abort.
   */
  uint64_t refused_aborted;
  /*
   Because of their token.
   */
  uint64_t refused_cancelled;
  /*
   Because no class could ever serve them.
   */
  uint64_t refused_no_class;
  /*
   Because they were for more buffers than there are.
   */
  uint64_t refused_never_enough;
  /*
   Because there was no place left in the line.
   */
  uint64_t refused_too_many_waiters;
  /*
   A size of zero, an alignment that is no power of two, or another pool's token. (A
   call with a null pointer is none of a pool's requests.)
   */
  uint64_t refused_bad_input;
  /*
   Because their stream had as many buffers as it may.
   */
  uint64_t refused_at_maximum;
} hp_counters;

/*
 What a pool has counted of one class. The first numbers, of buffers, are of now.
 */
typedef struct {
  /*
   Set by the caller to sizeof(hp_class_counters); by the call to how many bytes it wrote,
   which are fewer if the library is older than the header.
   */
  size_t size;
  /*
   Bytes of each buffer.
   */
  size_t buffer_size;
  /*
   What each buffer's address is a multiple of, in bytes.
   */
  size_t alignment;
  /*
   Buffers there are.
   */
  uint64_t capacity;
  /*
   Buffers that callers hold.
   */
  uint64_t in_use;
  /*
   Buffers that are free.
   */
  uint64_t free;
  /*
   Free ones that are in processors' caches.
   */
  uint64_t cached;
  /*
   The most buffers that were out at once since hp_pool_reset_marks: with callers or in
   processors' caches.
   */
  uint64_t high_water;
  /*
   Requests for this class that were refused for lack of a free buffer, at once or after
   a wait.
   */
  uint64_t refused;
  /*
   Requests for this class that a larger one served.
   */
  uint64_t climbs;
  /*
   Times a processor's cache was filled with a batch.
   */
  uint64_t refills;
  /*
   Times a full cache gave back a batch.
   */
  uint64_t flushes;
  /*
   Buffers taken from another processor's cache.
   */
  uint64_t steals;
  /*
   Waiters that were woken because a buffer of this class was free.
   */
  uint64_t calls;
  /*
   Those of them that found the buffer gone.
   */
  uint64_t passed_over;
  /*
   Buffers of this class that were handed to the waiter whose turn it was.
   */
  uint64_t hand_overs;
  /*
   System calls that kept other processors from their caches.
   */
  uint64_t barriers;
} hp_class_counters;

/*
 What a pool has and holds.
 */
typedef struct {
  /*
   Buffers of all classes.
   */
  uint64_t capacity;
  /*
   Buffers that are out.
   */
  uint64_t in_use;
  /*
   Bytes of memory that the buffers are mapped to.
   */
  uint64_t mapped_bytes;
  /*
   Bytes of that which are on huge pages.
   */
  uint64_t huge_bytes;
  /*
   Bytes of memory that the bookkeeping occupies.
   */
  uint64_t metadata_bytes;
  /*
   Requests that wait for a buffer.
   */
  uint64_t waiting;
  /*
   Requests that were refused for lack of a free buffer.
   */
  uint64_t failures;
} hp_stats;

/*
 What a client needs to map some of the buffers. The descriptors go to it over a channel
 of the program's own (SCM_RIGHTS), and the layout as it is.
 */
typedef struct {
  /*
   Where the buffers lie.
   */
  uint8_t layout[HP_LAYOUT_BYTES];
  /*
   A descriptor of their memory.
   */
  int memory;
  /*
   A descriptor of their states.
   */
  int states;
  /*
   A descriptor by which the client sees whether the set, or the pool, is still there.
   */
  int status;
} hp_export;

/*
 What a stream may have of the class that serves `size` bytes at `alignment`.
 */
typedef struct {
  /*
   Bytes.
   */
  size_t size;
  /*
   Bytes, a power of two.
   */
  size_t alignment;
  /*
   Buffers that are set aside, and nobody else can take.
   */
  size_t minimum;
  /*
   Buffers that it may have at once; 0: as many as there are.
   */
  size_t maximum;
} hp_share;

/*
 A buffer that is out of a pool that tracks, and who took it.
 */
typedef struct {
  /*
   The file that took it, as hp_set_place was told; otherwise the name of the call. Not
   to be freed.
   */
  const char *file;
  /*
   The line in it; 0: none.
   */
  uint32_t line;
  /*
   Its first byte.
   */
  void *start;
  /*
   How many bytes were asked for.
   */
  size_t size;
  /*
   How many bytes its class holds.
   */
  size_t class_size;
  /*
   For how long it is out, in nanoseconds, by a clock that moves on every 1 to 10 ms.
   */
  uint64_t age;
  /*
   The name of the stream that it counts against, ended by a zero byte; empty: none.
   */
  char stream[HP_STREAM_NAME];
} hp_outstanding;

/*
 What the server fixes for the life of a set. Fill it in by name: the reference and the
 published header give two of them in different orders.
 */
typedef struct {
  /*
   Features that there are: HP_VDF_*. Passed on.
   */
  uint32_t features;
  /*
   A power of two, 512 to 65536 bytes.
   */
  uint32_t blockSize;
  /*
   0 for the block size, or a power of two from there to 65536 bytes.
   */
  uint32_t alignment;
  /*
   A multiple of 65536 bytes.
   */
  uint32_t maxTransferSize;
  /*
   How long the server waits for the client, in ms; passed on.
   */
  uint32_t timeOut;
} hp_vd_parameters;

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

/*
 Gives HP_ABI_VERSION of the library that is in use.
 */
uint32_t hp_abi_version(void);

/*
 Begins the description of a pool. It ends with hp_builder_build or hp_builder_release.

 # Safety

 `builder` is a place for a pointer, or null.
 */
uint32_t hp_builder_new(hp_builder **builder);

/*
 Drops a description. Null is nothing.

 # Safety

 `builder` came from hp_builder_new, and is not used after this.
 */
void hp_builder_release(hp_builder *builder);

/*
 Declares `count` buffers of `size` bytes at `alignment` bytes. Whether they can be is
 found out by hp_builder_build.

 # Safety

 `builder` points to a description, or is null.
 */
uint32_t hp_builder_reserve(hp_builder *builder,
                            size_t size,
                            size_t alignment,
                            size_t count);

/*
 Keeps `bytes` right before every buffer for the client.

 # Safety

 `builder` points to a description, or is null.
 */
uint32_t hp_builder_prefix_zone(hp_builder *builder, size_t bytes);

/*
 Reserves `bytes` of address space: the most that the pool may ever grow to.

 # Safety

 `builder` points to a description, or is null.
 */
uint32_t hp_builder_address_space(hp_builder *builder, size_t bytes);

/*
 Whether to fault in all memory while building (it is by default).

 # Safety

 `builder` points to a description, or is null.
 */
uint32_t hp_builder_prefault(hp_builder *builder, bool prefault);

/*
 Whether to lock the memory (not, by default): it is never paged out.

 # Safety

 `builder` points to a description, or is null.
 */
uint32_t hp_builder_lock(hp_builder *builder, bool lock);

/*
 Whether core dumps contain the buffers (not, by default).

 # Safety

 `builder` points to a description, or is null.
 */
uint32_t hp_builder_dump(hp_builder *builder, bool dump);

/*
 Whether children of a fork inherit the buffers (not, by default; never if they are
 shared).

 # Safety

 `builder` points to a description, or is null.
 */
uint32_t hp_builder_fork(hp_builder *builder, bool fork);

/*
 Whether to do without restartable sequences (not, by default): for comparison.

 # Safety

 `builder` points to a description, or is null.
 */
uint32_t hp_builder_portable_caches(hp_builder *builder, bool portable);

/*
 Lets a request that finds no free buffer of its class have one of up to `factor` times
 the size (4 by default; 0: of its own class alone).

 # Safety

 `builder` points to a description, or is null.
 */
uint32_t hp_builder_climb(hp_builder *builder, size_t factor);

/*
 How many bytes of buffers a processor may keep to itself.

 # Safety

 `builder` points to a description, or is null.
 */
uint32_t hp_builder_cpu_cache(hp_builder *builder, size_t bytes);

/*
 Takes all memory from NUMA node `node`.

 # Safety

 `builder` points to a description, or is null.
 */
uint32_t hp_builder_node(hp_builder *builder, uint32_t node);

/*
 What is asked of a kind of pages: one of HP_PAGES_* and one of HP_RUNG_*. Each is
 preferred by default, the larger ones first.

 # Safety

 `builder` points to a description, or is null.
 */
uint32_t hp_builder_pages(hp_builder *builder, uint32_t pages, uint32_t rung);

/*
 Lets other processes map the buffers, and do with them what `access` says: one of
 HP_ACCESS_*.

 # Safety

 `builder` points to a description, or is null.
 */
uint32_t hp_builder_shared(hp_builder *builder, uint32_t access);

/*
 Maps the memory and builds the pool. The description stays. `*pool` is null if it
 fails.

 # Safety

 `builder` points to a description, `pool` to a place for a pointer, or they are null.
 */
uint32_t hp_builder_build(const hp_builder *builder, hp_pool **pool);

/*
 Makes a client that has opened nothing. Release it with hp_client_release.

 # Safety

 `client` is a place for a pointer, or null.
 */
uint32_t hp_client_new(hp_client **client);

/*
 OpenInSecondary: maps the set, or the pool, that a server has published by `name`.
 `who` says who the server may be: of this process's own user, by default. Waits for the
 server, 10 s at most. Needs Linux 5.9.

 HP_VD_E_PROTOCOL if nobody has that name, if the client has opened something already,
 or if the set has no buffers yet; HP_VD_E_ABORT if it was aborted, HP_VD_E_CLOSE if it
 was closed; HP_VD_E_SECURITY if one of the two does not want the other; HP_VD_E_TIMEOUT;
 HP_VD_E_BUSY if the server hung up.

 # Safety

 `client` points to a client, `name` to a string, `who` to what its type says, or they
 are null.
 */
uint32_t hp_client_open_in_secondary(const hp_client *client,
                                     const char *name,
                                     const hp_peers *who);

/*
 As hp_client_open_in_secondary, and waits `milliseconds` (0xffffffff: for ever) at most,
 whatever the server does: then HP_VD_E_TIMEOUT.

 # Safety

 As hp_client_open_in_secondary.
 */
uint32_t hp_client_open_in_secondary_timeout(const hp_client *client,
                                             const char *name,
                                             const hp_peers *who,
                                             uint32_t milliseconds);

/*
 Close: unmaps everything. The client can open something again. HP_VD_E_PROTOCOL if it has
 opened nothing.

 # Safety

 `client` points to a client, or is null. Nobody else uses it, or a buffer of it, meanwhile,
 nor a buffer of it after this.
 */
uint32_t hp_client_close(hp_client *client);

/*
 GetConfiguration: what the set that the client has opened by name is configured with.
 Waits for the server, `milliseconds` (0xffffffff: for ever) at most.

 # Safety

 `client` points to a client, `config` to a place for the configuration, or they are null.
 */
uint32_t hp_client_get_configuration(const hp_client *client,
                                     uint32_t milliseconds,
                                     hp_vd_config *config);

/*
 GetConfiguration of the set that a server has published by `name`, once it is configured,
 for a client that has opened nothing yet: HP_VD_E_TIMEOUT if that takes longer than
 `milliseconds` (0xffffffff: for ever); HP_VD_E_PROTOCOL if nobody has that name; for the
 rest as hp_client_open_in_secondary.

 # Safety

 `name` points to a string, `who` to what its type says, `config` to a place for the
 configuration, or they are null.
 */
uint32_t hp_get_configuration_of(const char *name,
                                 const hp_peers *who,
                                 uint32_t milliseconds,
                                 hp_vd_config *config);

/*
 Maps what an hp_export says, which came over a channel of the program's own: its layout,
 of `bytes` bytes, and its descriptors, which stay the caller's and can be closed after
 this. Nothing is believed that the descriptors do not bear out.

 # Safety

 `client` points to a client, `layout` to `bytes` bytes, or they are null.
 */
uint32_t hp_client_attach(const hp_client *client,
                          const uint8_t *layout,
                          size_t bytes,
                          int memory,
                          int states,
                          int status);

/*
 Unmaps a set. Null is nothing.

 # Safety

 `client` came from hp_client_new, and neither it nor a buffer of it is used after
 this.
 */
void hp_client_release(hp_client *client);

/*
 Maps what the server has added. Waits for it, 10 s at most.

 HP_VD_E_ABORT, HP_VD_E_CLOSE if the set was aborted, or closed; HP_VD_E_ABORT, too, if the
 server was killed; HP_VD_E_INVALID if the name is that of another set, or pool, by now:
 nothing of that is mapped.

 # Safety

 `client` points to a client, or is null.
 */
uint32_t hp_client_refresh(const hp_client *client);

/*
 As hp_client_refresh, and waits `milliseconds` (0xffffffff: for ever) at most, whatever the
 server does: then HP_VD_E_TIMEOUT.

 # Safety

 As hp_client_refresh.
 */
uint32_t hp_client_refresh_timeout(const hp_client *client,
                                   uint32_t milliseconds);

/*
 GetBufferHandle: the handle of the buffer that starts at `buffer` in this process.

 # Safety

 `client` points to a client, `handle` to a place for a number, or they are null.
 */
uint32_t hp_client_get_buffer_handle(const hp_client *client,
                                     const void *buffer,
                                     uint32_t *handle);

/*
 MapBufferHandle: where the buffer that `handle` names is in this process. `*buffer` is
 null if it fails: HP_VD_E_INVALID for a handle that is stale or forged; HP_VD_E_ABORT or
 HP_VD_E_CLOSE once the set was aborted or closed, or the server was killed.

 # Safety

 `client` points to a client, `buffer` to a place for a pointer, or they are null.
 */
uint32_t hp_client_map_buffer_handle(const hp_client *client,
                                     uint32_t handle,
                                     void **buffer);

/*
 As hp_client_map_buffer_handle; also says how large the buffer is. `*view` is all zero
 if it fails.

 # Safety

 `client` points to a client, `view` to a place for the result, or they are null.
 */
uint32_t hp_client_view(const hp_client *client, uint32_t handle, hp_view *view);

/*
 What the pool has counted: waits and how they ended, refusals, system calls. The caller
 sets `counters->size` before. No system call, no allocation, no look at a segment: may be
 polled. Writes nothing if it fails.

 # Safety

 `pool` points to a pool, `counters` to `counters->size` bytes, or they are null.
 */
uint32_t hp_pool_counters(const hp_pool *pool, hp_counters *counters);

/*
 As hp_pool_counters, for a set: HP_VD_E_PROTOCOL before its buffers are mapped and after
 Close.

 # Safety

 `set` points to a set, `counters` to `counters->size` bytes, or they are null.
 */
uint32_t hp_vdi_counters(const hp_vdi *set, hp_counters *counters);

/*
 What the pool has counted of one class, and how many of its buffers are where. Classes are
 numbered from 0 in the order in which they were declared; hp_counters says how many there
 are, which only grows. The caller sets `counters->size` before. HP_VD_E_INVALID if there is
 no such class. May be polled, as hp_pool_counters.

 # Safety

 `pool` points to a pool, `counters` to `counters->size` bytes, or they are null.
 */
uint32_t hp_pool_class_counters(const hp_pool *pool,
                                size_t number,
                                hp_class_counters *counters);

/*
 As hp_pool_class_counters, for a set: HP_VD_E_PROTOCOL as for hp_vdi_counters.

 # Safety

 `set` points to a set, `counters` to `counters->size` bytes, or they are null.
 */
uint32_t hp_vdi_class_counters(const hp_vdi *set,
                               size_t number,
                               hp_class_counters *counters);

/*
 Has the marks begin again: forgets the longest wait so far, and sets the high-water mark of
 each class to what is out now. Never blocks.

 # Safety

 `pool` points to a pool, or is null.
 */
uint32_t hp_pool_reset_marks(const hp_pool *pool);

/*
 As hp_pool_reset_marks, for a set: HP_VD_E_PROTOCOL as for hp_vdi_counters.

 # Safety

 `set` points to a set, or is null.
 */
uint32_t hp_vdi_reset_marks(const hp_vdi *set);

/*
 Writes what the calling thread's last failed call said to `text`, `size` bytes at most
 and ended by a zero byte. Gives how many bytes it has without that: what did not fit is
 cut off. With `size` 0 `text` may be null.

 # Safety

 `text` is `size` bytes that may be written.
 */
size_t hp_last_error(char *text, size_t size);

/*
 The handle by which clients know the buffer at `buffer`, which the set allocated: a
 number that names it in every process until it is freed. After that it is refused,
 until the buffer has come back as often as hp_vdi_handle_reuses says.

 # Safety

 `set` points to a set, `handle` to a place for a number, or they are null.
 */
uint32_t hp_vdi_get_buffer_handle(const hp_vdi *set,
                                  const void *buffer,
                                  uint32_t *handle);

/*
 As hp_vdi_get_buffer_handle, for a pool that is shared.

 # Safety

 `pool` points to a pool, `handle` to a place for a number, or they are null.
 */
uint32_t hp_pool_get_buffer_handle(const hp_pool *pool,
                                   const void *buffer,
                                   uint32_t *handle);

/*
 MapBufferHandle for the server: the buffer that `handle` names, which a client may have
 sent. `*view` is all zero if it fails: HP_VD_E_INVALID for a handle that is stale or
 forged.

 # Safety

 `set` points to a set, `view` to a place for the result, or they are null.
 */
uint32_t hp_vdi_view(const hp_vdi *set, uint32_t handle, hp_view *view);

/*
 As hp_vdi_view, for a pool that is shared.

 # Safety

 `pool` points to a pool, `view` to a place for the result, or they are null.
 */
uint32_t hp_pool_view(const hp_pool *pool, uint32_t handle, hp_view *view);

/*
 As hp_vdi_get_buffer_handle, for programs that send handles over a channel of their own:
 44 of its 64 bits count how often the buffer came back, so it never names a later owner
 in practice. The calls for handles of 64 bits know these alone.

 # Safety

 `set` points to a set, `handle` to a place for a number, or they are null.
 */
uint32_t hp_vdi_get_buffer_handle64(const hp_vdi *set,
                                    const void *buffer,
                                    uint64_t *handle);

/*
 As hp_vdi_get_buffer_handle64, for a pool that is shared.

 # Safety

 `pool` points to a pool, `handle` to a place for a number, or they are null.
 */
uint32_t hp_pool_get_buffer_handle64(const hp_pool *pool,
                                     const void *buffer,
                                     uint64_t *handle);

/*
 As hp_client_get_buffer_handle, with 64 bits.

 # Safety

 `client` points to a client, `handle` to a place for a number, or they are null.
 */
uint32_t hp_client_get_buffer_handle64(const hp_client *client,
                                       const void *buffer,
                                       uint64_t *handle);

/*
 As hp_vdi_view, of a handle of 64 bits.

 # Safety

 `set` points to a set, `view` to a place for the result, or they are null.
 */
uint32_t hp_vdi_view64(const hp_vdi *set, uint64_t handle, hp_view *view);

/*
 As hp_vdi_view64, for a pool that is shared.

 # Safety

 `pool` points to a pool, `view` to a place for the result, or they are null.
 */
uint32_t hp_pool_view64(const hp_pool *pool, uint64_t handle, hp_view *view);

/*
 As hp_client_map_buffer_handle, of a handle of 64 bits.

 # Safety

 `client` points to a client, `buffer` to a place for a pointer, or they are null.
 */
uint32_t hp_client_map_buffer_handle64(const hp_client *client,
                                       uint64_t handle,
                                       void **buffer);

/*
 As hp_client_view, of a handle of 64 bits.

 # Safety

 `client` points to a client, `view` to a place for the result, or they are null.
 */
uint32_t hp_client_view64(const hp_client *client, uint64_t handle, hp_view *view);

/*
 After how many returns of its buffer a handle of 32 bits comes again: from the return of
 the buffer on it is refused, and once the buffer has come back `*reuses` times since the
 handle was made, the next owner's handle is the same number. That is 2^28 for a set
 that is configured with 7 buffers or fewer, and half of it each time there are twice as
 many (2^24 for up to 127, 2^18 for up to 8191), 2^11 at least. For buffers that
 RequestBuffers has added after EndConfiguration, beyond those, it is 2^11. The least of
 all buffers that the set has now. Handles of 64 bits have no such bound in practice: it
 is 2^44.

 # Safety

 `set` points to a set, `reuses` to a place for a number, or they are null.
 */
uint32_t hp_vdi_handle_reuses(const hp_vdi *set, uint64_t *reuses);

/*
 As hp_vdi_handle_reuses, for a pool that is shared. Memory that hp_pool_trim gives back
 and that comes again counts as one return of its buffers.

 # Safety

 `pool` points to a pool, `reuses` to a place for a number, or they are null.
 */
uint32_t hp_pool_handle_reuses(const hp_pool *pool, uint64_t *reuses);

/*
 Takes `count` buffers, or none, each as hp_pool_allocate, and writes them to `buffers`,
 which has `count` places: all null if it fails. HP_VD_E_INVALID, too, if the pool has
 fewer that could do. Two threads at once cannot each keep half of what both need. With
 `count` 0 `buffers` may be null. Never waits; allocates memory.

 # Safety

 `pool` points to a pool, `buffers` to `count` places for pointers, or they are null.
 */
uint32_t hp_pool_allocate_many(const hp_pool *pool,
                               size_t size,
                               size_t alignment,
                               size_t count,
                               void **buffers);

/*
 As hp_pool_allocate_many, and waits up to `milliseconds` (0xffffffff: for ever) if there are
 too few, in one place of the line: when it is its turn, the buffers that come back are
 kept for it until it has `count`. Then HP_VD_E_TIMEOUT, or HP_VD_E_ABORT after
 hp_pool_abort; HP_VD_E_BUSY if 65536 wait already. If it gives up, all goes back.

 # Safety

 As hp_pool_allocate_many.
 */
uint32_t hp_pool_allocate_many_timeout(const hp_pool *pool,
                                       size_t size,
                                       size_t alignment,
                                       size_t count,
                                       uint32_t milliseconds,
                                       void **buffers);

/*
 As hp_pool_allocate_many_timeout, and waits until `deadline`: nanoseconds on
 CLOCK_MONOTONIC (UINT64_MAX: for ever). One in the past: buffers that are free are taken,
 otherwise it is HP_VD_E_TIMEOUT at once.

 # Safety

 As hp_pool_allocate_many.
 */
uint32_t hp_pool_allocate_many_deadline(const hp_pool *pool,
                                        size_t size,
                                        size_t alignment,
                                        size_t count,
                                        uint64_t deadline,
                                        void **buffers);

/*
 As hp_pool_allocate_many_timeout, and waits no longer than until hp_token_cancel ends the
 waits of `token`, one of this pool: then HP_E_CANCELLED. With one that was cancelled
 before, buffers that are free are taken, otherwise it is HP_E_CANCELLED at once.
 HP_VD_E_INVALID if the token is that of another pool.

 # Safety

 As hp_pool_allocate_many; `token` points to a token, or is null.
 */
uint32_t hp_pool_allocate_many_cancellable(const hp_pool *pool,
                                           size_t size,
                                           size_t alignment,
                                           size_t count,
                                           uint32_t milliseconds,
                                           const hp_token *token,
                                           void **buffers);

/*
 Gives a pool back. Buffers that are out must not be used any more. Null is nothing.

 # Safety

 `pool` came from hp_builder_build, and is not used after this.
 */
void hp_pool_release(hp_pool *pool);

/*
 Takes a buffer of `size` bytes whose address is a multiple of `alignment`. `*buffer` is
 null if it fails: HP_VD_E_INVALID if no buffer of the pool could ever do,
 HP_VD_E_MEMORY if none is free.

 # Safety

 `pool` points to a pool, `buffer` to a place for a pointer, or they are null.
 */
uint32_t hp_pool_allocate(const hp_pool *pool,
                          size_t size,
                          size_t alignment,
                          void **buffer);

/*
 Takes back a buffer that was allocated for `size` bytes.

 # Safety

 `pool` points to a pool, or is null. A buffer that is taken back is not used any more,
 and no two threads give back the same one at a time.
 */
uint32_t hp_pool_free(const hp_pool *pool, void *buffer, size_t size);

/*
 How many buffers of `size` bytes at `alignment` bytes one caller could take now.

 # Safety

 `pool` points to a pool, `count` to a place for a number, or they are null.
 */
uint32_t hp_pool_available(const hp_pool *pool,
                           size_t size,
                           size_t alignment,
                           size_t *count);

/*
 Whether `address` lies in a buffer of the pool, free or taken.

 # Safety

 `pool` points to a pool, or is null.
 */
bool hp_pool_contains(const hp_pool *pool, const void *address);

/*
 Adds `count` buffers of `size` bytes at `alignment` bytes, mapped now.

 # Safety

 `pool` points to a pool, or is null.
 */
uint32_t hp_pool_request(const hp_pool *pool,
                         size_t size,
                         size_t alignment,
                         size_t count);

/*
 Gives back the memory that was added by hp_pool_request and whose buffers are all home.

 # Safety

 `pool` points to a pool, or is null.
 */
uint32_t hp_pool_trim(const hp_pool *pool);

/*
 Ends every wait, and every one to come, with HP_VD_E_ABORT. Requests that find a buffer
 free are served as before. There is no way back.

 # Safety

 `pool` points to a pool, or is null.
 */
uint32_t hp_pool_abort(const hp_pool *pool);

/*
 Whether hp_pool_abort was called. Never blocks.

 # Safety

 `pool` points to a pool, or is null.
 */
bool hp_pool_is_aborted(const hp_pool *pool);

/*
 What the pool has and holds. Reads the kernel's view; not for the data path.

 # Safety

 `pool` points to a pool, `stats` to a place for the numbers, or they are null.
 */
uint32_t hp_pool_stats(const hp_pool *pool, hp_stats *stats);

/*
 Lets clients open the set by `name` until hp_publication_release; `who` says whom: this
 process's own user, by default. Before the buffers are mapped they are told
 HP_VD_E_PROTOCOL, after Close HP_VD_E_CLOSE. `*publication` is null if it fails:
 HP_VD_E_OPEN if the name is taken. Starts two threads, and takes one descriptor, however
 many clients there are. Needs Linux 5.9.

 # Safety

 `set` points to a set, `name` to a string, `who` to what its type says, `publication`
 to a place for a pointer, or they are null.
 */
uint32_t hp_vdi_publish(const hp_vdi *set,
                        const char *name,
                        const hp_peers *who,
                        hp_publication **publication);

/*
 As hp_vdi_publish, for a pool that is shared. The publication keeps the pool.

 # Safety

 As hp_vdi_publish.
 */
uint32_t hp_pool_publish(const hp_pool *pool,
                         const char *name,
                         const hp_peers *who,
                         hp_publication **publication);

/*
 Ends a name. Clients that have opened it keep what they have mapped, and map nothing new.
 Null is nothing.

 # Safety

 `publication` came from hp_vdi_publish or hp_pool_publish, and is not used after this.
 */
void hp_publication_release(hp_publication *publication);

/*
 Exports of the set's buffers, for a channel of the program's own: writes as many as
 there is `room` for, and to `*count` how many there are. After hp_vdi_request_buffers
 there are more. The descriptors are the caller's to close.

 # Safety

 `set` points to a set, `exports` to `room` places, `count` to a place for a number, or
 they are null (`exports` if `room` is 0).
 */
uint32_t hp_vdi_exports(const hp_vdi *set,
                        hp_export *exports,
                        size_t room,
                        size_t *count);

/*
 As hp_vdi_exports, for a pool that is shared.

 # Safety

 As hp_vdi_exports.
 */
uint32_t hp_pool_exports(const hp_pool *pool,
                         hp_export *exports,
                         size_t room,
                         size_t *count);

/*
 Makes a stream of `pool`, called `name` (1 to 64 bytes, ended by a zero byte), with
 `count` shares, one a class. `*stream` is null if it fails: HP_VD_E_INVALID for a name or
 shares that cannot be, HP_VD_E_MEMORY if the minima of all streams are more than there
 is, or too many of the buffers are in use just now, HP_VD_E_BUSY if there are too many
 streams; nothing is set aside then. It keeps the pool's memory. Allocates; never blocks.

 # Safety

 `pool` points to a pool, `name` to a string, `shares` to `count` of them, `stream` to a
 place for a pointer, or they are null.
 */
uint32_t hp_stream_new(const hp_pool *pool,
                       const char *name,
                       const hp_share *shares,
                       size_t count,
                       hp_stream **stream);

/*
 Ends a stream, which no call uses any more: its own buffers go back to the pool, those
 that are out when they are freed. Null is nothing.

 # Safety

 `stream` came from hp_stream_new, and is not used after this.
 */
void hp_stream_release(hp_stream *stream);

/*
 Takes a buffer within the share of `stream`: as hp_pool_allocate, but HP_VD_E_MEMORY,
 too, if the stream has as many as it may, and HP_VD_E_INVALID if it has no share of a
 class that would do. It goes back by hp_pool_free or hp_stream_free, and counts against
 the stream until then. Never blocks.

 # Safety

 `stream` points to a stream, `buffer` to a place for a pointer, or they are null.
 */
uint32_t hp_stream_allocate(const hp_stream *stream,
                            size_t size,
                            size_t alignment,
                            void **buffer);

/*
 As hp_stream_allocate, and waits up to `milliseconds` (0xffffffff: for ever), as
 hp_pool_allocate_timeout does.

 # Safety

 As hp_stream_allocate.
 */
uint32_t hp_stream_allocate_timeout(const hp_stream *stream,
                                    size_t size,
                                    size_t alignment,
                                    uint32_t milliseconds,
                                    void **buffer);

/*
 As hp_stream_allocate_timeout, and waits until `deadline`: nanoseconds on CLOCK_MONOTONIC
 (UINT64_MAX: for ever). One in the past: a buffer that is free is taken, otherwise it is
 HP_VD_E_TIMEOUT at once.

 # Safety

 As hp_stream_allocate.
 */
uint32_t hp_stream_allocate_deadline(const hp_stream *stream,
                                     size_t size,
                                     size_t alignment,
                                     uint64_t deadline,
                                     void **buffer);

/*
 As hp_stream_allocate_timeout, and waits no longer than until hp_token_cancel ends the
 waits of `token`, one of the stream's pool: see hp_pool_allocate_cancellable.

 # Safety

 As hp_stream_allocate; `token` points to a token, or is null.
 */
uint32_t hp_stream_allocate_cancellable(const hp_stream *stream,
                                        size_t size,
                                        size_t alignment,
                                        uint32_t milliseconds,
                                        const hp_token *token,
                                        void **buffer);

/*
 Begins a wait for a buffer of `stream`, and does not block: as hp_wait_begin, by whose
 calls it goes on and ends. It counts as a use of the stream until hp_wait_end.

 # Safety

 `stream` points to a stream, `wait` to a place for a pointer, or they are null.
 */
uint32_t hp_stream_wait_begin(const hp_stream *stream,
                              size_t size,
                              size_t alignment,
                              hp_wait **wait);

/*
 Gives back a buffer of the stream's pool: as hp_pool_free, which may have been released.

 # Safety

 As hp_pool_free.
 */
uint32_t hp_stream_free(const hp_stream *stream, void *buffer, size_t size);

/*
 How many buffers the stream has of the class that serves `size` bytes at `alignment`,
 with those that its calls wait for; 0 if it has no share of one.

 # Safety

 `stream` points to a stream, `count` to a place for a number, or they are null.
 */
uint32_t hp_stream_in_use(const hp_stream *stream,
                          size_t size,
                          size_t alignment,
                          size_t *count);

/*
 Takes `count` buffers, or none, each as hp_stream_allocate, and writes them to `buffers`,
 which has `count` places: all null if it fails. HP_VD_E_INVALID, too, if the stream can
 never have so many. With `count` 0 `buffers` may be null. Never waits; allocates memory.

 # Safety

 `stream` points to a stream, `buffers` to `count` places for pointers, or they are null.
 */
uint32_t hp_stream_allocate_many(const hp_stream *stream,
                                 size_t size,
                                 size_t alignment,
                                 size_t count,
                                 void **buffers);

/*
 As hp_stream_allocate_many, and waits up to `milliseconds` (0xffffffff: for ever) if there are
 too few, in one place of the line: when it is its turn, what the stream has and what comes
 back of it is kept for it until it has `count`. Then HP_VD_E_TIMEOUT, or HP_VD_E_ABORT
 after hp_pool_abort; HP_VD_E_BUSY if 65536 wait already. If it gives up, all goes back.

 # Safety

 As hp_stream_allocate_many.
 */
uint32_t hp_stream_allocate_many_timeout(const hp_stream *stream,
                                         size_t size,
                                         size_t alignment,
                                         size_t count,
                                         uint32_t milliseconds,
                                         void **buffers);

/*
 As hp_stream_allocate_many_timeout, and waits until `deadline`: nanoseconds on
 CLOCK_MONOTONIC (UINT64_MAX: for ever). One in the past: buffers that are free are taken,
 otherwise it is HP_VD_E_TIMEOUT at once.

 # Safety

 As hp_stream_allocate_many.
 */
uint32_t hp_stream_allocate_many_deadline(const hp_stream *stream,
                                          size_t size,
                                          size_t alignment,
                                          size_t count,
                                          uint64_t deadline,
                                          void **buffers);

/*
 As hp_stream_allocate_many_timeout, and waits no longer than until hp_token_cancel ends the
 waits of `token`, one of the stream's pool: then HP_E_CANCELLED. With one that was cancelled
 before, buffers that are free are taken, otherwise it is HP_E_CANCELLED at once.
 HP_VD_E_INVALID if the token is that of another pool.

 # Safety

 As hp_stream_allocate_many; `token` points to a token, or is null.
 */
uint32_t hp_stream_allocate_many_cancellable(const hp_stream *stream,
                                             size_t size,
                                             size_t alignment,
                                             size_t count,
                                             uint32_t milliseconds,
                                             const hp_token *token,
                                             void **buffers);

/*
 Makes a token for waits of `pool`, which keeps the pool's memory until it is released.

 # Safety

 `pool` points to a pool, `token` to a place for a pointer, or they are null.
 */
uint32_t hp_token_new(const hp_pool *pool, hp_token **token);

/*
 Ends every wait that has this token, and every one that will, with HP_E_CANCELLED,
 whenever it comes: before the wait, that takes a buffer if one is free, and ends at once
 otherwise; who has been given a buffer keeps it. There is no way back. Never blocks;
 allocates nothing.

 # Safety

 `token` points to a token, or is null.
 */
uint32_t hp_token_cancel(const hp_token *token);

/*
 Whether hp_token_cancel was called. Never blocks.

 # Safety

 `token` points to a token, or is null.
 */
bool hp_token_is_cancelled(const hp_token *token);

/*
 Drops a token, which no wait has any more. Null is nothing.

 # Safety

 `token` came from hp_token_new, and is not used after this.
 */
void hp_token_release(hp_token *token);

/*
 Whether the pool notes who takes its buffers (not, by default): see
 hp_pool_outstanding. It then costs 64 bytes a buffer, and some tens of nanoseconds for
 a buffer that is taken and given back; otherwise nothing.

 # Safety

 `builder` points to a description, or is null.
 */
uint32_t hp_builder_track(hp_builder *builder, bool track);

/*
 Says that what the calling thread takes from now on, of any pool or set, is taken by
 line `line` of `file` (or by any name, with line 0), for those that track. Null: it is
 taken by the call that takes it. HP_TRACK_PLACES does this before each call. Never
 blocks.

 # Safety

 `file` is a string that is never changed or freed, a literal, say, or null. Code that it
 is part of is not unloaded while buffers are out.
 */
void hp_set_place(const char *file, uint32_t line);

/*
 Who has the buffers that are out, if the pool tracks it (hp_builder_track): writes the
 oldest `room` of them to `buffers`, the oldest first, and to `*count` how many there are,
 which may be more. None if the pool does not track. With `room` 0 `buffers` may be null.
 Before hp_pool_release it tells what was never given back. Looks at every buffer, and
 allocates memory; not for the data path. `*count` is 0 if it fails.

 # Safety

 `pool` points to a pool, `buffers` to `room` places, `count` to a place for a number, or
 they are null.
 */
uint32_t hp_pool_outstanding(const hp_pool *pool,
                             hp_outstanding *buffers,
                             size_t room,
                             size_t *count);

/*
 As hp_pool_outstanding, for a set: HP_VD_E_PROTOCOL before its buffers are mapped and
 after Close.

 # Safety

 `set` points to a set, `buffers` to `room` places, `count` to a place for a number, or
 they are null.
 */
uint32_t hp_vdi_outstanding(const hp_vdi *set,
                            hp_outstanding *buffers,
                            size_t room,
                            size_t *count);

/*
 Makes a set that is not open, and whose buffers clients may read and write. Release it
 with hp_vdi_release.

 # Safety

 `set` is a place for a pointer, or null.
 */
uint32_t hp_vdi_new(hp_vdi **set);

/*
 As hp_vdi_new; the buffers are mapped as `builder` says, which stays as it is: on which
 pages, whether clients can map them, and so on. The prefix zone and the alignment are
 the set's. `*set` is null if it fails.

 # Safety

 `builder` points to a description, `set` to a place for a pointer, or they are null.
 */
uint32_t hp_vdi_new_with(const hp_builder *builder, hp_vdi **set);

/*
 Ends a set and gives its memory back, whatever its state: nobody may use it, or its
 buffers, any more. Null is nothing.

 # Safety

 `set` came from hp_vdi_new, and is not used after this.
 */
void hp_vdi_release(hp_vdi *set);

/*
 Open: takes note of what the client wishes.

 # Safety

 Both point to what their types say, or are null.
 */
uint32_t hp_vdi_open(const hp_vdi *set, const hp_vd_config *client);

/*
 GetConfiguration: what is known of the set by now.

 # Safety

 `set` points to a set, `config` to a place for the configuration, or they are null.
 */
uint32_t hp_vdi_get_configuration(const hp_vdi *set, hp_vd_config *config);

/*
 BeginConfiguration: fixes what the server says.

 # Safety

 Both point to what their types say, or are null.
 */
uint32_t hp_vdi_begin_configuration(const hp_vdi *set, const hp_vd_parameters *server);

/*
 RequestBuffers: declares `count` buffers of `size` bytes at `alignment` bytes (0:
 the set's). Summed while the set is configured; mapped at once after that.

 # Safety

 `set` points to a set, or is null.
 */
uint32_t hp_vdi_request_buffers(const hp_vdi *set,
                                uint32_t size,
                                uint32_t alignment,
                                uint32_t count);

/*
 EndConfiguration: maps what was declared. If it fails the set can be configured anew,
 and nothing is declared; HP_VD_E_MEMORY says that asking for less may help.

 # Safety

 `set` points to a set, or is null.
 */
uint32_t hp_vdi_end_configuration(const hp_vdi *set);

/*
 OpenDevice: opens the next device; HP_VD_E_OPEN if all have been opened.

 # Safety

 `set` points to a set, or is null.
 */
uint32_t hp_vdi_open_device(const hp_vdi *set);

/*
 CloseDevice: one device fewer is open; the last one ends the set. HP_VD_E_CLOSE once all
 are closed; HP_VD_E_ABORT, and nothing is done, after an abort.

 # Safety

 `set` points to a set, or is null.
 */
uint32_t hp_vdi_close_device(const hp_vdi *set);

/*
 SignalAbort: ends every wait with HP_VD_E_ABORT. Calls that need the buffers are refused
 from now on, but hp_vdi_free_buffer and hp_vdi_close.

 # Safety

 `set` points to a set, or is null.
 */
uint32_t hp_vdi_signal_abort(const hp_vdi *set);

/*
 Close: ends the set, whatever it returns. What is outstanding counts as freed; the
 memory goes with hp_vdi_release. HP_VD_E_PROTOCOL if devices were open, with which it
 also does the work of hp_vdi_signal_abort, and for a set that is closed already.

 # Safety

 `set` points to a set, or is null.
 */
uint32_t hp_vdi_close(const hp_vdi *set);

/*
 QueryAvailableBuffers: how many buffers of `size` bytes at `alignment` bytes (0: the
 set's) one caller could allocate now.

 # Safety

 `set` points to a set, `count` to a place for a number, or they are null.
 */
uint32_t hp_vdi_query_available_buffers(const hp_vdi *set,
                                        uint32_t size,
                                        uint32_t alignment,
                                        uint32_t *count);

/*
 AllocateBuffer: hands out a buffer of `size` bytes at `alignment` bytes (0: the set's).
 It is the caller's until hp_vdi_free_buffer. `*buffer` is null if it fails:
 HP_VD_E_INVALID if no declared buffer could ever do, HP_VD_E_MEMORY if none is free.

 # Safety

 `set` points to a set, `buffer` to a place for a pointer, or they are null.
 */
uint32_t hp_vdi_allocate_buffer(const hp_vdi *set,
                                void **buffer,
                                uint32_t size,
                                uint32_t alignment);

/*
 As hp_vdi_allocate_buffer, and waits up to `milliseconds` (0xffffffff: for ever) for a
 buffer if none is free: then HP_VD_E_TIMEOUT.

 # Safety

 As hp_vdi_allocate_buffer.
 */
uint32_t hp_vdi_allocate_buffer_timeout(const hp_vdi *set,
                                        void **buffer,
                                        uint32_t size,
                                        uint32_t alignment,
                                        uint32_t milliseconds);

/*
 FreeBuffer: takes back a buffer that was allocated for `size` bytes.

 # Safety

 `set` points to a set, or is null. A buffer that is taken back is not used any more,
 and no two threads give back the same one at a time.
 */
uint32_t hp_vdi_free_buffer(const hp_vdi *set, void *buffer, uint32_t size);

/*
 IsSharedBuffer: 1 if `address` is in a buffer that hp_vdi_allocate_buffer has made
 available, from its start to the size that was asked for, otherwise 0: for one that is
 free, too, and for the prefix zone. (Both are "success" codes.)

 # Safety

 `set` points to a set, or is null.
 */
uint32_t hp_vdi_is_shared_buffer(const hp_vdi *set, const void *address);

/*
 What the set's buffers are and hold: HP_VD_E_PROTOCOL before they are mapped and after
 Close. Reads the kernel's view; not for the data path.

 # Safety

 `set` points to a set, `stats` to a place for the numbers, or they are null.
 */
uint32_t hp_vdi_stats(const hp_vdi *set, hp_stats *stats);

/*
 As hp_pool_allocate, and waits up to `milliseconds` (0xffffffff: for ever) for a buffer
 if none is free: then HP_VD_E_TIMEOUT, or HP_VD_E_ABORT after hp_pool_abort.
 HP_VD_E_BUSY if 65536 wait already.

 # Safety

 As hp_pool_allocate.
 */
uint32_t hp_pool_allocate_timeout(const hp_pool *pool,
                                  size_t size,
                                  size_t alignment,
                                  uint32_t milliseconds,
                                  void **buffer);

/*
 As hp_pool_allocate_timeout, and waits until `deadline`: nanoseconds on CLOCK_MONOTONIC
 (UINT64_MAX: for ever). One in the past: a buffer that is free is taken, otherwise it
 is HP_VD_E_TIMEOUT at once.

 # Safety

 As hp_pool_allocate.
 */
uint32_t hp_pool_allocate_deadline(const hp_pool *pool,
                                   size_t size,
                                   size_t alignment,
                                   uint64_t deadline,
                                   void **buffer);

/*
 As hp_pool_allocate_timeout, and waits no longer than until hp_token_cancel ends the
 waits of `token`, one of this pool: then HP_E_CANCELLED. With one that was cancelled
 before, a buffer that is free is taken, otherwise it is HP_E_CANCELLED at once.
 HP_VD_E_INVALID if the token is that of another pool.

 # Safety

 As hp_pool_allocate; `token` points to a token, or is null.
 */
uint32_t hp_pool_allocate_cancellable(const hp_pool *pool,
                                      size_t size,
                                      size_t alignment,
                                      uint32_t milliseconds,
                                      const hp_token *token,
                                      void **buffer);

/*
 Begins a wait for a buffer of `size` bytes at `alignment`, and does not block: a poll
 is next, at once or when its descriptor is readable. It ends with hp_wait_end, and
 counts as one that waits for a buffer, with its turn, until then. `*wait` is null if
 it fails: as hp_pool_allocate_timeout, and HP_VD_E_UNEXPECTED if the system has no
 descriptor for it. It keeps the pool's memory; end it before hp_pool_release, after
 which nothing that it gives could be freed.

 # Safety

 `pool` points to a pool, `wait` to a place for a pointer, or they are null.
 */
uint32_t hp_wait_begin(const hp_pool *pool,
                       size_t size,
                       size_t alignment,
                       hp_wait **wait);

/*
 The descriptor of a wait, for poll(2), epoll(7) and the like, level-triggered or
 edge-triggered: readable when the wait may have got on, and hp_wait_poll is to be
 called. It is one of eventfd(2), closed on exec and non-blocking. It is the wait's: the
 caller neither reads, writes nor closes it, and forgets it before hp_wait_end. -1 if it
 fails.

 # Safety

 `wait` points to a wait, `descriptor` to a place for a number, or they are null.
 */
uint32_t hp_wait_descriptor(const hp_wait *wait, int32_t *descriptor);

/*
 Gets on with a wait, and does not block. HP_NOERROR: `*buffer` is the caller's, as one
 of hp_pool_allocate. HP_PENDING: `*buffer` is null, and the descriptor is not readable
 until it is time for another poll. Any other code is that of hp_pool_allocate_timeout, and
 the wait is over; once it is, it is HP_VD_E_PROTOCOL. A null `buffer` is
 HP_VD_E_INVALID, and two polls at once HP_VD_E_BUSY; both change nothing.
 HP_VD_E_NOTOPEN in a child of a fork.

 # Safety

 `wait` points to a wait, `buffer` to a place for a pointer, or they are null.
 */
uint32_t hp_wait_poll(const hp_wait *wait,
                      void **buffer);

/*
 Ends a wait, whatever has become of it, and closes its descriptor. A buffer that came
 and was not given by hp_wait_poll goes back, to who waits next if anybody does. Never
 blocks. Null is nothing; nor is it anything in a child of a fork, where the wait is the
 parent's.

 # Safety

 `wait` came from hp_wait_begin, nobody polls it, and it is not used after this.
 */
void hp_wait_end(hp_wait *wait);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* HUGEPOOL_H */

/*
 * In C, a program that defines HP_TRACK_PLACES before it includes this header says with
 * each call that takes a buffer where in the program it is: see hp_pool_outstanding. What
 * its threads take by other calls, a library's, say, counts as taken there, too, until they
 * say otherwise. In C++, or where a wrapper of one's own makes the calls: hp_set_place.
 */
#if defined(HP_TRACK_PLACES) && !defined(__cplusplus) && !defined(HP_PLACES_ARE_TRACKED)
#define HP_PLACES_ARE_TRACKED
#define hp_pool_allocate(...) (hp_set_place(__FILE__, __LINE__), hp_pool_allocate(__VA_ARGS__))
#define hp_pool_allocate_many(...) (hp_set_place(__FILE__, __LINE__), hp_pool_allocate_many(__VA_ARGS__))
#define hp_pool_allocate_timeout(...) (hp_set_place(__FILE__, __LINE__), hp_pool_allocate_timeout(__VA_ARGS__))
#define hp_pool_allocate_deadline(...) (hp_set_place(__FILE__, __LINE__), hp_pool_allocate_deadline(__VA_ARGS__))
#define hp_pool_allocate_cancellable(...) (hp_set_place(__FILE__, __LINE__), hp_pool_allocate_cancellable(__VA_ARGS__))
#define hp_wait_begin(...) (hp_set_place(__FILE__, __LINE__), hp_wait_begin(__VA_ARGS__))
#define hp_pool_allocate_many_timeout(...) (hp_set_place(__FILE__, __LINE__), hp_pool_allocate_many_timeout(__VA_ARGS__))
#define hp_pool_allocate_many_deadline(...) (hp_set_place(__FILE__, __LINE__), hp_pool_allocate_many_deadline(__VA_ARGS__))
#define hp_pool_allocate_many_cancellable(...) (hp_set_place(__FILE__, __LINE__), hp_pool_allocate_many_cancellable(__VA_ARGS__))
#define hp_stream_allocate(...) (hp_set_place(__FILE__, __LINE__), hp_stream_allocate(__VA_ARGS__))
#define hp_stream_allocate_timeout(...) (hp_set_place(__FILE__, __LINE__), hp_stream_allocate_timeout(__VA_ARGS__))
#define hp_stream_allocate_cancellable(...) (hp_set_place(__FILE__, __LINE__), hp_stream_allocate_cancellable(__VA_ARGS__))
#define hp_stream_allocate_deadline(...) (hp_set_place(__FILE__, __LINE__), hp_stream_allocate_deadline(__VA_ARGS__))
#define hp_stream_allocate_many(...) (hp_set_place(__FILE__, __LINE__), hp_stream_allocate_many(__VA_ARGS__))
#define hp_stream_allocate_many_timeout(...) (hp_set_place(__FILE__, __LINE__), hp_stream_allocate_many_timeout(__VA_ARGS__))
#define hp_stream_allocate_many_deadline(...) (hp_set_place(__FILE__, __LINE__), hp_stream_allocate_many_deadline(__VA_ARGS__))
#define hp_stream_allocate_many_cancellable(...) (hp_set_place(__FILE__, __LINE__), hp_stream_allocate_many_cancellable(__VA_ARGS__))
#define hp_stream_wait_begin(...) (hp_set_place(__FILE__, __LINE__), hp_stream_wait_begin(__VA_ARGS__))
#define hp_vdi_allocate_buffer(...) (hp_set_place(__FILE__, __LINE__), hp_vdi_allocate_buffer(__VA_ARGS__))
#define hp_vdi_allocate_buffer_timeout(...) (hp_set_place(__FILE__, __LINE__), hp_vdi_allocate_buffer_timeout(__VA_ARGS__))
#endif
