/*
 * hugepool: a lock-free pool of aligned I/O buffers, and the buffer calls of SQL Server's
 * virtual device interface.
 *
 * Made from capi/src by `HUGEPOOL_UPDATE_HEADER=1 cargo test -p hugepool-capi --test header`.
 *
 * Threads. Every call may be made by any thread at any time, but where it says otherwise.
 *
 * Codes. A call that returns a code returns HP_NOERROR or one of HP_VD_E_* (where it says so,
 * HP_PENDING or one of HP_E_*). Unless it is HP_NOERROR nothing has changed, but places for
 * results, which are null or zero then, and where it says otherwise. hp_last_error says more.
 *
 * Warnings. HP_MUST_USE stands before calls whose result must not be ignored: the compiler warns
 * of a program that does. The others end something, whatever they say, or set a number in a
 * description, or do what can be done without. A program that defines HP_MUST_USE as nothing
 * before it includes this header is not warned.
 *
 * Pointers. A null pointer, or one that is not aligned, is HP_VD_E_INVALID wherever an object,
 * a structure, an array or a place for a result is expected; a call that only releases takes
 * null for nothing. What C cannot check is up to the program: a pointer must be to what its
 * type says and to as much of it, an object must be one that a call of this header gave, and
 * it must not be used after its *_release (a wait: after hp_wait_end), not by another thread
 * either.
 *
 * Structures that the library writes begin with their size in bytes. The program sets it before
 * each call; a call writes no more than that. So a program goes on working with a later
 * library, whose structures have more at their ends. A size that is too small to be any is
 * HP_VD_E_INVALID. (hp_vd_config is laid out as published.)
 *
 * Buffers. A buffer holds zeros when it is first taken, and after that whatever its last owner
 * left in it, unless the pool wipes (hp_builder_wipe). It stays at its address until it is freed.
 * It and its prefix zone, which ends where it begins, are one piece of memory: a header there and
 * the data go to a file by one write. All memory of a pool is mapped when the pool is built, or
 * grows.
 *
 * Memory. The calls that take and free buffers, also when they are refused or wait, and those
 * for handles and counters, never allocate memory, and lock nothing; signal handlers may make
 * those that do not wait. Any other call may allocate. If there is no memory for that it is
 * HP_VD_E_MEMORY; no call ends the process. 1024 such calls at a time can be under way; one
 * more is HP_VD_E_BUSY.
 *
 * Processes. In a child of a fork (also of _Fork, and of clone without CLONE_VM) a set, and a
 * pool whose buffers it did not inherit, are HP_VD_E_NOTOPEN; clients, builders and the numbers
 * of a pool are not for it to use.
 */

#ifndef HUGEPOOL_H
#define HUGEPOOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifndef HP_MUST_USE
#if defined(__cplusplus) && __cplusplus >= 201703L
#define HP_MUST_USE [[nodiscard]]
#elif defined(__cplusplus) && !defined(__clang__) && defined(__GNUC__) && __GNUC__ >= 7
/* Its own attribute is a part of the type, and templates warn that they leave it out. */
#define HP_MUST_USE [[nodiscard]]
#elif defined(__GNUC__)
#define HP_MUST_USE __attribute__((warn_unused_result))
#else
#define HP_MUST_USE
#endif
#endif

/*
 The version of this interface: a program that was built against another one must not
 use it.
 */
#define HP_ABI_VERSION 1

/*
 Kinds of pages, for hp_builder_pages: reserved pages of 1 GiB (hugetlb).
 */
#define HP_PAGES_HUGE_1G 0

/*
 Reserved pages of 2 MiB (hugetlb).
 */
#define HP_PAGES_HUGE_2M 1

/*
 Base pages that the kernel merges into huge pages (transparent huge pages).
 */
#define HP_PAGES_TRANSPARENT 2

/*
 Base pages, 4 KiB on x86-64.
 */
#define HP_PAGES_BASE 3

/*
 Base pages that the kernel is told to collapse into huge pages (MADV_COLLAPSE, Linux 6.1),
 tried before HP_PAGES_BASE. As long as nothing is said of them, HP_RUNG_NEVER for
 HP_PAGES_TRANSPARENT holds for them, too.
 */
#define HP_PAGES_COLLAPSED 4

/*
 What is asked of a kind of pages, for hp_builder_pages: these or larger ones, otherwise
 hp_builder_build fails.
 */
#define HP_RUNG_REQUIRE 0

/*
 They are tried, before smaller ones.
 */
#define HP_RUNG_PREFER 1

/*
 They are not used.
 */
#define HP_RUNG_NEVER 2

/*
 What other processes may do with the buffers, for hp_builder_shared: read them.
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
 Too many wait; or buffers are out.
 */
#define HP_VD_E_BUSY 0x8077000Fu

/*
 What was to be freed lies in no memory of the pool. (This and the next three, of
 hp_pool_free and the like, are the library's own: numbers with the bit by which Microsoft
 leaves codes to others.)
 */
#define HP_E_FOREIGN 0xA0770001u

/*
 It lies in the pool's memory, but no buffer starts there.
 */
#define HP_E_INTERIOR 0xA0770002u

/*
 It is a buffer that nobody has: it is free already, or was not taken yet.
 */
#define HP_E_NOT_ALLOCATED 0xA0770003u

/*
 It is a buffer that was taken for another size.
 */
#define HP_E_WRONG_SIZE 0xA0770004u

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
 Bytes of the layout in hp_export.
 */
#define HP_LAYOUT_BYTES 104

/*
 Bytes that a stream's name has in hp_outstanding, its zero bytes included.
 */
#define HP_STREAM_NAME 72

/*
 The description of a pool: what it has, and how its memory is mapped. Two threads must not
 use the same one at the same time.
 */
typedef struct hp_builder hp_builder;

/*
 A class of a pool: a size and an alignment that were looked up once. To take and to free
 by it is the fastest way.
 */
typedef struct hp_class hp_class;

/*
 A client: another process's set, or pool, mapped into this one.
 */
typedef struct hp_client hp_client;

/*
 A pool of aligned buffers.
 */
typedef struct hp_pool hp_pool;

/*
 A name by which clients open a set, or a pool, and the thread that answers them.
 */
typedef struct hp_publication hp_publication;

/*
 A hold on a region of a pool's memory. As long as there is one, the memory stays mapped
 where it is, also if hp_pool_trim takes its buffers out of the pool, or the pool ends.
 */
typedef struct hp_region hp_region;

/*
 A stream of a pool: what one backup takes its buffers by. Of each class that it has a
 share of, a minimum of buffers is set aside for it, and it has no more than a maximum at
 once.
 */
typedef struct hp_stream hp_stream;

/*
 Ends some waits of a pool, while others go on. Any number of waits may be given the same
 token, one after another or at the same time.
 */
typedef struct hp_token hp_token;

/*
 A virtual device set.
 */
typedef struct hp_vdi hp_vdi;

/*
 A wait for a buffer in an event loop, for which no thread sleeps.
 */
typedef struct hp_wait hp_wait;

/*
 Who may be at the other end of a connection, besides this process's own user. All zero:
 nobody else. A user or group that this process's user namespace does not have appears as
 65534, and is nobody's, unless it is in the same user namespace.
 */
typedef struct hp_peers {
  /*
   An array of user ids.
   */
  const uint32_t *users;
  /*
   How many those are, 65536 at most. With 0 `users` may be null.
   */
  size_t user_count;
  /*
   An array of group ids: their members may be, by supplementary membership, too.
   */
  const uint32_t *groups;
  /*
   How many those are, 65536 at most. With 0 `groups` may be null.
   */
  size_t group_count;
} hp_peers;

/*
 The configuration of a set (VDConfig), by the published names of its fields: the client
 fills in the first seven, the set the others. One that asks for what is not there is
 HP_VD_E_NOTSUPPORTED.
 */
typedef struct hp_vd_config {
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
   How long the client waits for the server, in ms; 0 without end. Passed on.
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
 A buffer, as it is mapped into this process.
 */
typedef struct hp_view {
  /*
   Set by the caller to sizeof(hp_view) before the call; the call sets it to the number
   of bytes that it wrote, which is less if the library is older than the header.
   */
  size_t size;
  /*
   The buffer's first byte.
   */
  void *start;
  /*
   The number of bytes that it was allocated for.
   */
  size_t buffer_size;
  /*
   The number of bytes right before it that are the client's.
   */
  size_t prefix;
  /*
   Not 0 if this process may write to the buffer and to what is before it.
   */
  uint64_t writable;
} hp_view;

/*
 What a pool has counted since it was built. Durations are in nanoseconds.
 */
typedef struct hp_counters {
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
   Those that ended because their time was up.
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
typedef struct hp_class_counters {
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
 What hp_pool_trim took out of a pool.
 */
typedef struct hp_trimmed {
  /*
   Set by the caller to sizeof(hp_trimmed) before the call; the call sets it to the
   number of bytes that it wrote, which is less if the library is older than the header.
   */
  size_t size;
  /*
   Segments: what one hp_pool_request adds is one segment.
   */
  uint64_t segments;
  /*
   Bytes of memory.
   */
  uint64_t bytes;
} hp_trimmed;

/*
 What a pool has and holds, as hp_pool_stats says.
 */
typedef struct hp_stats {
  /*
   Set by the caller to sizeof(hp_stats) before the call; the call sets it to the number
   of bytes that it wrote, which is less if the library is older than the header.
   */
  size_t size;
  /*
   Buffers of all classes.
   */
  uint64_t capacity;
  /*
   Buffers that are out: with callers.
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
   Requests that wait for a buffer now.
   */
  uint64_t waiting;
  /*
   Requests that were refused because no buffer that fits was free.
   */
  uint64_t failures;
  /*
   Bytes of memory that was trimmed, and that an hp_region still holds.
   */
  uint64_t held_bytes;
} hp_stats;

/*
 What a client needs to map some of the buffers. The descriptors go to it over a channel
 of the program's own (SCM_RIGHTS), and the layout as it is.
 */
typedef struct hp_export {
  /*
   Set by the caller in the first element of the array to sizeof(hp_export), for all of
   them; the call sets it in each to the number of bytes that it wrote, which is less if
   the library is older than the header.
   */
  size_t size;
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
 A region of a pool's memory, which holds buffers of one class.
 */
typedef struct hp_region_info {
  /*
   Set by the caller to sizeof(hp_region_info) before the call; the call sets it to the
   number of bytes that it wrote, which is less if the library is older than the header.
   */
  size_t size;
  /*
   The hold: to be given to hp_region_release once the memory is not registered any more.
   */
  struct hp_region *region;
  /*
   The first byte, at which a page begins.
   */
  const void *start;
  /*
   Bytes: as far as the buffers reach, in whole pages.
   */
  size_t bytes;
  /*
   A small number that no other region has as long as this one is in the pool.
   */
  uint64_t index;
  /*
   Tells regions apart that have had the same index, one after the other.
   */
  uint64_t generation;
  /*
   How many buffers it holds.
   */
  size_t buffers;
  /*
   Bytes that each of them can hold.
   */
  size_t buffer_size;
  /*
   Bytes from one buffer to the next: where an interface takes less than the whole region
   at once, it is to be cut at multiples of this, counted from its start.
   */
  size_t stride;
  /*
   The kind of pages: one of HP_PAGES_*.
   */
  uint64_t pages;
} hp_region_info;

/*
 Where a byte lies.
 */
typedef struct hp_location {
  /*
   Set by the caller to sizeof(hp_location) before the call; the call sets it to the
   number of bytes that it wrote, which is less if the library is older than the header.
   */
  size_t size;
  /*
   The region's index.
   */
  uint64_t index;
  /*
   The region's generation.
   */
  uint64_t generation;
  /*
   Bytes from the region's start.
   */
  size_t offset;
} hp_location;

/*
 What a stream may have of the class that serves requests for `size` bytes at `alignment`.
 */
typedef struct hp_share {
  /*
   Bytes.
   */
  size_t size;
  /*
   Bytes, a power of two.
   */
  size_t alignment;
  /*
   Buffers that are set aside: nobody else can take them. 0: none.
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
typedef struct hp_outstanding {
  /*
   Set by the caller in the first element of the array to sizeof(hp_outstanding), for all
   of them; the call sets it in each to the number of bytes that it wrote, which is less
   if the library is older than the header.
   */
  size_t size;
  /*
   The file that took it, as hp_set_place was told; otherwise the name of the call. Must
   not be freed.
   */
  const char *file;
  /*
   The line in it; 0: none.
   */
  uint64_t line;
  /*
   Its first byte.
   */
  void *start;
  /*
   The number of bytes that were asked for.
   */
  size_t buffer_size;
  /*
   The number of bytes that the buffers of its class have.
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
typedef struct hp_vd_parameters {
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
HP_MUST_USE uint32_t hp_abi_version(void);

/*
 Makes the description of a pool that has no buffers yet; it ends with hp_builder_release.
 Allocates.
 */
HP_MUST_USE uint32_t hp_builder_new(struct hp_builder **builder);

/*
 Releases a description, also of a pool that was built by it and goes on. It must not be
 used after this. Null is nothing.
 */
void hp_builder_release(struct hp_builder *builder);

/*
 Declares `count` buffers of `size` bytes whose addresses are multiples of `alignment`. May
 be called often, in any mix; equal sizes and alignments are one class. Limits: a size of 1
 byte to 1 GiB, an alignment that is a power of two up to 64 MiB (weaker ones are raised to
 512), a count of at least 1, and 128 classes in the life of a pool. hp_builder_build
 checks them. Allocates: HP_VD_E_MEMORY if there is no heap for it.
 */
HP_MUST_USE
uint32_t hp_builder_reserve(struct hp_builder *builder,
                            size_t size,
                            size_t alignment,
                            size_t count);

/*
 Keeps `bytes` (0 by default, at most 1 MiB) right before every buffer for the client's own
 use: at negative offsets from its address, which is aligned as declared.
 */
uint32_t hp_builder_prefix_zone(struct hp_builder *builder,
                                size_t bytes);

/*
 Reserves `bytes` of address space, at most 1 TiB: the most that the pool may ever grow to
 by hp_pool_request. It costs no memory. By default it is sixteen times what is declared and
 at least 8 GiB more than that, but what is more than declared is no more than a sixteenth of
 the addresses that the process has left.
 */
uint32_t hp_builder_address_space(struct hp_builder *builder,
                                  size_t bytes);

/*
 Says whether all memory is faulted in by hp_builder_build and hp_pool_request (by default
 it is), so that no later access faults a page. If it is not, it is all the same where the
 first access could end in a signal: huge pages in a control group that limits them, and
 shared buffers where vm.overcommit_memory is 2.
 */
uint32_t hp_builder_prefault(struct hp_builder *builder, bool prefault);

/*
 Says whether the memory is locked (by default it is not): then it is never paged out.
 Needs RLIMIT_MEMLOCK of that size, or CAP_IPC_LOCK.
 */
uint32_t hp_builder_lock(struct hp_builder *builder, bool lock);

/*
 Says whether core dumps contain the buffers (by default they do not).
 */
uint32_t hp_builder_dump(struct hp_builder *builder, bool dump);

/*
 Says whether a buffer is zeroed when it comes back (by default it is not): its prefix zone
 and all that it can hold, so that the next owner finds zeros. It takes as long as writing
 all of it, in the call that frees it. If clients may write the buffers (HP_ACCESS_WRITE)
 hp_builder_build, or hp_vdi_end_configuration, then fails with HP_VD_E_INVALID.
 */
uint32_t hp_builder_wipe(struct hp_builder *builder,
                         bool wipe);

/*
 Says whether children of a fork inherit the buffers (by default they do not, and buffers
 that are shared never do). Such a pool has reserved huge pages only if they are required:
 what is written after a fork needs another one, and if none is free, a child that touches
 what it has lost is sent SIGBUS.
 */
uint32_t hp_builder_fork(struct hp_builder *builder, bool fork);

/*
 Says whether to do without restartable sequences, rseq(2), even where there are any (by
 default they are used): for comparison.
 */
uint32_t hp_builder_portable_caches(struct hp_builder *builder, bool portable);

/*
 Lets a request that finds no free buffer of its class have one of a class up to `factor`
 times as large (4 by default; 0 or 1: of its own class alone).
 */
uint32_t hp_builder_climb(struct hp_builder *builder, size_t factor);

/*
 Sets how many bytes of free buffers the caches of one processor may hold, all classes
 together, besides two buffers of each class (64 MiB by default). A cache never holds more
 than 60 buffers of a class.
 */
uint32_t hp_builder_cpu_cache(struct hp_builder *builder, size_t bytes);

/*
 Takes the memory of the buffers from NUMA node `node` and from no other (by default each page
 comes from the node of the thread that touches it first). hp_builder_build then fails with
 HP_VD_E_INVALID if there is no such node, HP_VD_E_MEMORY if it has too little,
 HP_VD_E_SECURITY if a filter of system calls refuses mbind(2). Of this,
 hp_builder_prefer_node and hp_builder_interleave the last call counts.
 */
uint32_t hp_builder_node(struct hp_builder *builder,
                         uint32_t node);

/*
 Takes the memory of the buffers from NUMA node `node` as long as it has some free, and then
 from others. As hp_builder_node, but nothing fails for want of memory there.
 */
uint32_t hp_builder_prefer_node(struct hp_builder *builder,
                                uint32_t node);

/*
 Spreads the memory of the buffers over the `count` NUMA nodes at `nodes`, page by page. As
 hp_builder_node, but nothing fails for want of memory on one of them; hp_builder_build fails
 with HP_VD_E_INVALID if `count` is 0. HP_VD_E_INVALID at once if it is more than 65536.
 */
HP_MUST_USE
uint32_t hp_builder_interleave(struct hp_builder *builder,
                               const uint32_t *nodes,
                               size_t count);

/*
 Says what is asked of a kind of pages: one of HP_PAGES_* and one of HP_RUNG_*. By default
 each is HP_RUNG_PREFER, the larger ones first. HP_VD_E_INVALID for other numbers.
 */
HP_MUST_USE
uint32_t hp_builder_pages(struct hp_builder *builder,
                          uint32_t pages,
                          uint32_t rung);

/*
 Puts the buffers into memory that other processes can map (by default none can), and lets
 them do with it what `access` says: one of HP_ACCESS_*, HP_VD_E_INVALID for other numbers.
 A pool that is shared can have 1048575 buffers in its life.
 */
HP_MUST_USE
uint32_t hp_builder_shared(struct hp_builder *builder,
                           uint32_t access);

/*
 Maps the memory and builds the pool, which ends with hp_pool_release. The description stays
 as it is, and another pool may be built by it. Without a declaration the pool is empty and
 can grow. `*pool` is null if it fails: HP_VD_E_INVALID for a declaration that is out of its
 limits, HP_VD_E_MEMORY if there is too little memory, or not of the kind that is required;
 hp_last_error says which. Enters the kernel, and takes as long as it takes to zero the
 memory; allocates.
 */
HP_MUST_USE
uint32_t hp_builder_build(const struct hp_builder *builder,
                          struct hp_pool **pool);

/*
 Writes what the calling thread's last failed call said to `text`, `size` bytes at most,
 the zero byte at its end included: what does not fit is cut off. Returns the length of
 the whole text in bytes, without the zero byte. With `size` 0 `text` may be null. A call
 that succeeds changes nothing. Before the first failure, and if a signal handler calls
 this while the interrupted code is in the middle of a call that fails, the text is empty.
 A failure in a signal handler replaces the text of the thread that it interrupts; one that
 comes while another is noted, or read, is not noted itself. Never blocks; allocates
 nothing.
 */
size_t hp_last_error(char *text,
                     size_t size);

/*
 Returns the code of the failure that hp_last_error tells: that which the call returned, but
 where hp_vdi_free_buffer returned HP_VD_E_INVALID the one of HP_E_* that hp_pool_free has
 for it. HP_NOERROR where that text is empty. Never blocks; allocates nothing.
 */
HP_MUST_USE
uint32_t hp_last_code(void);

/*
 Looks up the smallest class of `pool` whose buffers have `size` bytes at `alignment`, and
 makes an object of it, which ends with hp_class_release. `*class_` is null if it fails:
 HP_VD_E_INVALID as for hp_pool_allocate. It keeps the pool's memory until it is released;
 one thread or many may use it. Allocates; never blocks.
 */
HP_MUST_USE
uint32_t hp_class_new(const struct hp_pool *pool,
                      size_t size,
                      size_t alignment,
                      struct hp_class **class_);

/*
 Releases what hp_class_new made; it must not be used after this. Buffers that are out
 stay so. Null is nothing.
 */
void hp_class_release(struct hp_class *class_);

/*
 Writes the size of the class's buffers to `*size`, and what their addresses are multiples
 of to `*alignment`, both in bytes: at least what hp_class_new was asked for. Never blocks.
 */
HP_MUST_USE
uint32_t hp_class_shape(const struct hp_class *class_,
                        size_t *size,
                        size_t *alignment);

/*
 Takes a buffer of the class: as hp_pool_allocate with the class's size and alignment,
 without the look-up. Never blocks.
 */
HP_MUST_USE uint32_t hp_class_allocate(const struct hp_class *class_, void **buffer);

/*
 As hp_class_allocate, and waits up to `milliseconds` (0xffffffff: without end) for a
 buffer if none is free: as hp_pool_allocate_timeout.
 */
HP_MUST_USE
uint32_t hp_class_allocate_timeout(const struct hp_class *class_,
                                   uint32_t milliseconds,
                                   void **buffer);

/*
 Takes back a buffer that a call of this class gave, or one that hp_pool_allocate gave for
 the class's size: as hp_pool_free with that size. Never blocks.
 */
HP_MUST_USE uint32_t hp_class_free(const struct hp_class *class_, void *buffer);

/*
 Writes to `*count` how many buffers of the class one caller could take now, larger ones
 that would do included. Never blocks.
 */
HP_MUST_USE uint32_t hp_class_available(const struct hp_class *class_, size_t *count);

/*
 Makes a client that has opened nothing; it ends with hp_client_release. `*client` is null
 if it fails. Allocates.
 */
HP_MUST_USE uint32_t hp_client_new(struct hp_client **client);

/*
 OpenInSecondary: maps the set, or the pool, that a server has published by `name` in
 `instance` (null or empty: the default one); both as for hp_vdi_publish. `who` says who the server may be: of this process's own user, by default. Waits for the
 server, 10 s at most. Needs Linux 5.9.

 HP_VD_E_PROTOCOL if nobody has that name, if the client has opened something already,
 or if the set has no buffers yet; HP_VD_E_ABORT if it was aborted, HP_VD_E_CLOSE if it
 was closed; HP_VD_E_SECURITY if one of the two does not want the other; HP_VD_E_TIMEOUT;
 HP_VD_E_BUSY if the server hung up.
 */
HP_MUST_USE
uint32_t hp_client_open_in_secondary(const struct hp_client *client,
                                     const char *instance,
                                     const char *name,
                                     const struct hp_peers *who);

/*
 As hp_client_open_in_secondary, and waits `milliseconds` (0xffffffff: without end) at most,
 whatever the server does: then HP_VD_E_TIMEOUT.
 */
HP_MUST_USE
uint32_t hp_client_open_in_secondary_timeout(const struct hp_client *client,
                                             const char *instance,
                                             const char *name,
                                             const struct hp_peers *who,
                                             uint32_t milliseconds);

/*
 Close: unmaps everything. The client can open something again. HP_VD_E_PROTOCOL if it has
 opened nothing.
 */
uint32_t hp_client_close(struct hp_client *client);

/*
 GetConfiguration: what the set that the client has opened by name is configured with.
 Waits for the server, `milliseconds` (0xffffffff: without end) at most.
 */
HP_MUST_USE
uint32_t hp_client_get_configuration(const struct hp_client *client,
                                     uint32_t milliseconds,
                                     struct hp_vd_config *config);

/*
 GetConfiguration of the set that a server has published by `name` in `instance` (null or
 empty: the default one), once it is configured, for a client that has opened nothing yet: HP_VD_E_TIMEOUT if that takes longer than
 `milliseconds` (0xffffffff: without end); HP_VD_E_PROTOCOL if nobody has that name; for the
 rest as hp_client_open_in_secondary.
 */
HP_MUST_USE
uint32_t hp_get_configuration_of(const char *instance,
                                 const char *name,
                                 const struct hp_peers *who,
                                 uint32_t milliseconds,
                                 struct hp_vd_config *config);

/*
 Maps what an hp_export says, which came over a channel of the program's own: its layout,
 of `bytes` bytes, and its descriptors, which stay the caller's and can be closed after
 this. Nothing is believed that the descriptors do not bear out.
 */
HP_MUST_USE
uint32_t hp_client_attach(const struct hp_client *client,
                          const uint8_t *layout,
                          size_t bytes,
                          int memory,
                          int states,
                          int status);

/*
 Ends a client and unmaps what it has opened: neither it nor a buffer of it may be used after
 this. Null is nothing.
 */
void hp_client_release(struct hp_client *client);

/*
 Maps what the server has added. Waits for it, 10 s at most.

 HP_VD_E_ABORT, HP_VD_E_CLOSE if the set was aborted, or closed; HP_VD_E_ABORT, too, if the
 server was killed; HP_VD_E_INVALID if the name is that of another set, or pool, by now:
 nothing of that is mapped.
 */
HP_MUST_USE
uint32_t hp_client_refresh(const struct hp_client *client);

/*
 As hp_client_refresh, and waits `milliseconds` (0xffffffff: without end) at most, whatever the
 server does: then HP_VD_E_TIMEOUT.
 */
HP_MUST_USE
uint32_t hp_client_refresh_timeout(const struct hp_client *client,
                                   uint32_t milliseconds);

/*
 GetBufferHandle: the handle of the buffer that starts at `buffer` in this process.
 */
HP_MUST_USE
uint32_t hp_client_get_buffer_handle(const struct hp_client *client,
                                     const void *buffer,
                                     uint32_t *handle);

/*
 MapBufferHandle: where the buffer that `handle` names is in this process. `*buffer` is
 null if it fails: HP_VD_E_INVALID for a handle that is stale or forged; HP_VD_E_ABORT or
 HP_VD_E_CLOSE once the set was aborted or closed, or the server was killed.
 */
HP_MUST_USE
uint32_t hp_client_map_buffer_handle(const struct hp_client *client,
                                     uint32_t handle,
                                     void **buffer);

/*
 As hp_client_map_buffer_handle; also says how large the buffer is. The caller sets
 `view->size` before; the rest of `*view` is zero if it fails.
 */
HP_MUST_USE
uint32_t hp_client_view(const struct hp_client *client,
                        uint32_t handle,
                        struct hp_view *view);

/*
 What the pool has counted: waits and how they ended, refusals, system calls. The caller
 sets `counters->size` before. No system call, no allocation, no look at a segment: may be
 polled. Writes nothing if it fails.
 */
HP_MUST_USE
uint32_t hp_pool_counters(const struct hp_pool *pool,
                          struct hp_counters *counters);

/*
 As hp_pool_counters, for a set: HP_VD_E_PROTOCOL before its buffers are mapped and after
 Close.
 */
HP_MUST_USE
uint32_t hp_vdi_counters(const struct hp_vdi *set,
                         struct hp_counters *counters);

/*
 What the pool has counted of one class, and how many of its buffers are where. Classes are
 numbered from 0 in the order in which they were declared; hp_counters says how many there
 are, which only grows. The caller sets `counters->size` before. HP_VD_E_INVALID if there is
 no such class. May be polled, as hp_pool_counters.
 */
HP_MUST_USE
uint32_t hp_pool_class_counters(const struct hp_pool *pool,
                                size_t number,
                                struct hp_class_counters *counters);

/*
 As hp_pool_class_counters, for a set: HP_VD_E_PROTOCOL as for hp_vdi_counters.
 */
HP_MUST_USE
uint32_t hp_vdi_class_counters(const struct hp_vdi *set,
                               size_t number,
                               struct hp_class_counters *counters);

/*
 Has the marks begin again: forgets the longest wait so far, and sets the high-water mark of
 each class to what is out now. Never blocks.
 */
uint32_t hp_pool_reset_marks(const struct hp_pool *pool);

/*
 As hp_pool_reset_marks, for a set: HP_VD_E_PROTOCOL as for hp_vdi_counters.
 */
uint32_t hp_vdi_reset_marks(const struct hp_vdi *set);

/*
 The handle by which clients know the buffer at `buffer`, which the set allocated: a
 number that names it in every process until it is freed. After that it is refused,
 until the buffer has come back as often as hp_vdi_handle_reuses says.
 */
HP_MUST_USE
uint32_t hp_vdi_get_buffer_handle(const struct hp_vdi *set,
                                  const void *buffer,
                                  uint32_t *handle);

/*
 As hp_vdi_get_buffer_handle, for a pool that is shared (hp_builder_shared).
 */
HP_MUST_USE
uint32_t hp_pool_get_buffer_handle(const struct hp_pool *pool,
                                   const void *buffer,
                                   uint32_t *handle);

/*
 MapBufferHandle for the server: the buffer that `handle` names, which a client may have
 sent. The caller sets `view->size` before; the rest of
 `*view` is zero if it fails: HP_VD_E_INVALID for a handle that is stale or
 forged.
 */
HP_MUST_USE
uint32_t hp_vdi_view(const struct hp_vdi *set,
                     uint32_t handle,
                     struct hp_view *view);

/*
 As hp_vdi_view, for a pool that is shared (hp_builder_shared).
 */
HP_MUST_USE
uint32_t hp_pool_view(const struct hp_pool *pool,
                      uint32_t handle,
                      struct hp_view *view);

/*
 As hp_vdi_get_buffer_handle, for programs that send handles over a channel of their own:
 44 of its 64 bits count how often the buffer came back, so it never names a later owner
 in practice. The calls for handles of 64 bits know these alone.
 */
HP_MUST_USE
uint32_t hp_vdi_get_buffer_handle64(const struct hp_vdi *set,
                                    const void *buffer,
                                    uint64_t *handle);

/*
 As hp_vdi_get_buffer_handle64, for a pool that is shared.
 */
HP_MUST_USE
uint32_t hp_pool_get_buffer_handle64(const struct hp_pool *pool,
                                     const void *buffer,
                                     uint64_t *handle);

/*
 As hp_client_get_buffer_handle, with 64 bits.
 */
HP_MUST_USE
uint32_t hp_client_get_buffer_handle64(const struct hp_client *client,
                                       const void *buffer,
                                       uint64_t *handle);

/*
 As hp_vdi_view, of a handle of 64 bits.
 */
HP_MUST_USE
uint32_t hp_vdi_view64(const struct hp_vdi *set,
                       uint64_t handle,
                       struct hp_view *view);

/*
 As hp_vdi_view64, for a pool that is shared.
 */
HP_MUST_USE
uint32_t hp_pool_view64(const struct hp_pool *pool,
                        uint64_t handle,
                        struct hp_view *view);

/*
 As hp_client_map_buffer_handle, of a handle of 64 bits.
 */
HP_MUST_USE
uint32_t hp_client_map_buffer_handle64(const struct hp_client *client,
                                       uint64_t handle,
                                       void **buffer);

/*
 As hp_client_view, of a handle of 64 bits.
 */
HP_MUST_USE
uint32_t hp_client_view64(const struct hp_client *client,
                          uint64_t handle,
                          struct hp_view *view);

/*
 After how many returns of its buffer a handle of 32 bits comes again: from the return of
 the buffer on it is refused, and once the buffer has come back `*reuses` times since the
 handle was made, the next owner's handle is the same number. That is 2^28 for a set
 that is configured with 7 buffers or fewer, and half of it each time there are twice as
 many (2^24 for up to 127, 2^18 for up to 8191), 2^11 at least. For buffers that
 RequestBuffers has added after EndConfiguration, beyond those, it is 2^11. The least of
 all buffers that the set has now. Handles of 64 bits have no such bound in practice: it
 is 2^44.
 */
HP_MUST_USE uint32_t hp_vdi_handle_reuses(const struct hp_vdi *set, uint64_t *reuses);

/*
 As hp_vdi_handle_reuses, for a pool that is shared. Memory that hp_pool_trim gives back
 and that comes again counts as one return of its buffers.
 */
HP_MUST_USE uint32_t hp_pool_handle_reuses(const struct hp_pool *pool, uint64_t *reuses);

/*
 Takes `count` buffers, or none, each as hp_pool_allocate, and writes them to `buffers`,
 an array of `count` pointers: all null if it fails. HP_VD_E_INVALID, too, if the pool has
 fewer that could do. Of two threads that compete for the same buffers neither keeps half
 of what both need. With `count` 0 `buffers` may be null. Never waits; allocates nothing.
 */
HP_MUST_USE
uint32_t hp_pool_allocate_many(const struct hp_pool *pool,
                               size_t size,
                               size_t alignment,
                               size_t count,
                               void **buffers);

/*
 As hp_pool_allocate_many, and waits up to `milliseconds` (0xffffffff: without end) if there
 are too few, in one place of the line: when it is its turn, the buffers that come back are
 kept for it until it has `count`. HP_VD_E_TIMEOUT if they do not come in time,
 HP_VD_E_ABORT after hp_pool_abort, HP_VD_E_BUSY if 65536 requests wait already. If it
 fails, all that was kept for it goes back.
 */
HP_MUST_USE
uint32_t hp_pool_allocate_many_timeout(const struct hp_pool *pool,
                                       size_t size,
                                       size_t alignment,
                                       size_t count,
                                       uint32_t milliseconds,
                                       void **buffers);

/*
 As hp_pool_allocate_many_timeout, and waits until `deadline`, in nanoseconds on
 CLOCK_MONOTONIC (UINT64_MAX: without end). If that is past, buffers that are free are
 taken, otherwise it is HP_VD_E_TIMEOUT at once.
 */
HP_MUST_USE
uint32_t hp_pool_allocate_many_deadline(const struct hp_pool *pool,
                                        size_t size,
                                        size_t alignment,
                                        size_t count,
                                        uint64_t deadline,
                                        void **buffers);

/*
 As hp_pool_allocate_many_timeout, and also ends when hp_token_cancel was called for
 `token`, one of this pool: with HP_E_CANCELLED. With a token that was cancelled before,
 buffers that are free are taken, otherwise it is HP_E_CANCELLED at once. HP_VD_E_INVALID
 if the token is that of another pool.
 */
HP_MUST_USE
uint32_t hp_pool_allocate_many_cancellable(const struct hp_pool *pool,
                                           size_t size,
                                           size_t alignment,
                                           size_t count,
                                           uint32_t milliseconds,
                                           const struct hp_token *token,
                                           void **buffers);

/*
 Ends a pool: its buffers that are out must not be used any more, and their memory goes
 back to the system. Tokens, streams, waits and publications of the pool keep the memory
 until they are released. `pool` must not be used after this. Null is nothing. Enters the
 kernel.
 */
void hp_pool_release(struct hp_pool *pool);

/*
 As hp_pool_release, unless buffers of the pool are out, or set aside for a stream: then it is
 HP_VD_E_BUSY, and nothing has changed. No other thread takes or frees one at that time. Null
 is nothing.
 */
HP_MUST_USE
uint32_t hp_pool_try_release(struct hp_pool *pool);

/*
 Takes a buffer of at least `size` bytes whose address is a multiple of `alignment`, a
 power of two (1 will do), and of 512. It is the caller's until hp_pool_free, on any
 thread. If no buffer of the smallest class that fits is free, it may be one of a larger
 class: see hp_builder_climb. `*buffer` is null if it fails: HP_VD_E_INVALID if `size` is
 0, `alignment` is no power of two, or no buffer of the pool could ever do; HP_VD_E_MEMORY
 if none that fits is free. Never blocks.
 */
HP_MUST_USE
uint32_t hp_pool_allocate(const struct hp_pool *pool,
                          size_t size,
                          size_t alignment,
                          void **buffer);

/*
 Takes back a buffer that was taken for `size` bytes, by whichever call and thread. After it
 succeeds the memory must not be used any more. Nothing changes if `buffer` lies in no memory
 of this pool, as null does (HP_E_FOREIGN), if no buffer starts there (HP_E_INTERIOR), if that
 is free (HP_E_NOT_ALLOCATED), or if it was taken for another size (HP_E_WRONG_SIZE). Two
 threads must not free the same buffer at the same time. Never blocks.
 */
HP_MUST_USE
uint32_t hp_pool_free(const struct hp_pool *pool,
                      void *buffer,
                      size_t size);

/*
 Writes to `*count` how many buffers of `size` bytes at `alignment` one caller could take
 now; 0 if the pool has none that would do. Never blocks.
 */
HP_MUST_USE
uint32_t hp_pool_available(const struct hp_pool *pool,
                           size_t size,
                           size_t alignment,
                           size_t *count);

/*
 Returns true if `address` lies in a buffer of the pool, free or taken; false if not, or if
 `pool` is null. Never blocks.
 */
HP_MUST_USE
bool hp_pool_contains(const struct hp_pool *pool,
                      const void *address);

/*
 Adds `count` buffers of `size` bytes at `alignment`, mapped now, as hp_builder_build maps
 them: limits and codes are those of hp_builder_reserve and hp_builder_build, and
 HP_VD_E_MEMORY, too, if the pool has too little address space left
 (hp_builder_address_space). Threads that wait for such buffers get them. Enters the
 kernel, and takes as long as it takes to zero the memory; allocates.
 */
HP_MUST_USE
uint32_t hp_pool_request(const struct hp_pool *pool,
                         size_t size,
                         size_t alignment,
                         size_t count);

/*
 Gives the memory back to the system that hp_pool_request added, one segment for each such
 call, as far as all buffers of the segment are free. What the pool was built with stays.
 What an hp_region holds goes when it is released.
 Writes to `*trimmed` how much that was, which may be nothing; `trimmed` may be null.
 The caller sets `trimmed->size` before. Enters the kernel; allocates.
 */
uint32_t hp_pool_trim(const struct hp_pool *pool, struct hp_trimmed *trimmed);

/*
 Ends every wait for a buffer of the pool, and every one to come, with HP_VD_E_ABORT.
 Requests that find a buffer free are served as before. There is no way back. Never
 blocks.
 */
uint32_t hp_pool_abort(const struct hp_pool *pool);

/*
 Returns true if hp_pool_abort was called; false if not, or if `pool` is null. Never
 blocks.
 */
HP_MUST_USE bool hp_pool_is_aborted(const struct hp_pool *pool);

/*
 Writes to `*stats` what the pool has and holds; the caller sets `stats->size` before.
 Reads files of the kernel and allocates, so it is not for the data path:
 hp_pool_counters is.
 */
HP_MUST_USE uint32_t hp_pool_stats(const struct hp_pool *pool, struct hp_stats *stats);

/*
 Lets clients open the set by `name` in `instance` (null or empty: the default one) until
 hp_publication_release. Both are UTF-8, ended by a zero byte, of any length, with any
 characters; no two are taken for each other. `name` is not empty. `who` says whose clients: with null those of this process's own
 user alone. Before the buffers are mapped clients get HP_VD_E_PROTOCOL, after Close
 HP_VD_E_CLOSE.
 `*publication` is null if it fails: HP_VD_E_OPEN if the name is taken, HP_VD_E_INVALID if
 it cannot be a name, HP_VD_E_UNEXPECTED if the system has no thread or descriptor for it.
 Starts two threads that block all signals, and takes one descriptor, however many clients
 there are. Needs Linux 5.9. Allocates.
 */
HP_MUST_USE
uint32_t hp_vdi_publish(const struct hp_vdi *set,
                        const char *instance,
                        const char *name,
                        const struct hp_peers *who,
                        struct hp_publication **publication);

/*
 As hp_vdi_publish, for a pool that is shared (hp_builder_shared); HP_VD_E_PROTOCOL for
 one that is not. It keeps the pool's memory.
 */
HP_MUST_USE
uint32_t hp_pool_publish(const struct hp_pool *pool,
                         const char *instance,
                         const char *name,
                         const struct hp_peers *who,
                         struct hp_publication **publication);

/*
 Ends a publication: nobody opens anything by its name any more; clients keep what they
 have mapped, and map nothing new. It must not be used after this. Waits for its threads to end. Null is nothing.
 */
void hp_publication_release(struct hp_publication *publication);

/*
 Writes what clients need to map the set's buffers to `exports`, an array of `room` elements,
 as many as it has room for, and to `*count` how many there are, which may be more. After
 hp_vdi_request_buffers there are more of them. The caller sets `exports[0].size` before,
 and closes the descriptors. With `room` 0 `exports` may be null. HP_VD_E_PROTOCOL before
 the buffers are mapped, HP_VD_E_CLOSE after Close. Allocates.
 */
HP_MUST_USE
uint32_t hp_vdi_exports(const struct hp_vdi *set,
                        struct hp_export *exports,
                        size_t room,
                        size_t *count);

/*
 As hp_vdi_exports, for a pool that is shared (hp_builder_shared).
 */
HP_MUST_USE
uint32_t hp_pool_exports(const struct hp_pool *pool,
                         struct hp_export *exports,
                         size_t room,
                         size_t *count);

/*
 Says where a pool's memory lies, for registration with a device or a kernel interface
 (io_uring, RDMA): writes its regions to `regions`, an array of `room` elements, and to
 `*count` how many there are, which may be more. The caller sets `regions[0].size` before.
 With `room` 0 `regions` may be null. Each that is written is a hold on its memory, to be
 given to hp_region_release. A region that hp_pool_request adds later is not among them:
 hp_pool_locate then says an index and a generation that are not known. Allocates; never
 blocks.
 */
HP_MUST_USE
uint32_t hp_pool_regions(const struct hp_pool *pool,
                         struct hp_region_info *regions,
                         size_t room,
                         size_t *count);

/*
 As hp_pool_regions, for a set: HP_VD_E_PROTOCOL before its buffers are mapped and after
 Close.
 */
HP_MUST_USE
uint32_t hp_vdi_regions(const struct hp_vdi *set,
                        struct hp_region_info *regions,
                        size_t room,
                        size_t *count);

/*
 Lets go of a region, which must not be used after this. If it was trimmed, or its pool has
 ended, and this was the last hold, its memory is unmapped. Null is nothing.
 */
void hp_region_release(struct hp_region *region);

/*
 Says in which region of a pool the byte at `address` lies, and how far from its start:
 what a transfer by way of a registration is told. HP_E_FOREIGN, with `*location` zero, if it
 lies in no buffer. The caller sets `location->size` before. Never blocks; allocates nothing.
 */
HP_MUST_USE
uint32_t hp_pool_locate(const struct hp_pool *pool,
                        const void *address,
                        struct hp_location *location);

/*
 As hp_pool_locate, for a set: HP_VD_E_PROTOCOL before its buffers are mapped and after
 Close.
 */
HP_MUST_USE
uint32_t hp_vdi_locate(const struct hp_vdi *set,
                       const void *address,
                       struct hp_location *location);

/*
 Makes a stream of `pool` with the name `name` (UTF-8, 1 to 64 bytes and a zero byte at
 the end) and the shares in the array `shares` of `count` elements, 1 to 128, one for a
 class; it ends with hp_stream_release. `*stream` is null if it fails, and nothing is set
 aside then: HP_VD_E_INVALID for a name or shares that cannot be, HP_VD_E_MEMORY if the
 minima of all streams are more than there is, or too many of the buffers are in use just
 now, HP_VD_E_BUSY if all streams of the pool together would have more than 4096 shares. It
 keeps the pool's memory. Allocates; never blocks.
 */
HP_MUST_USE
uint32_t hp_stream_new(const struct hp_pool *pool,
                       const char *name,
                       const struct hp_share *shares,
                       size_t count,
                       struct hp_stream **stream);

/*
 Ends a stream: what was set aside for it goes back to the pool, and its buffers that are
 out do so when they are freed. It must not be used after this. Null is nothing.
 */
void hp_stream_release(struct hp_stream *stream);

/*
 Takes a buffer within the shares of `stream`: as hp_pool_allocate, but of the smallest
 class that it has a share of and that fits, and no larger one. HP_VD_E_MEMORY, too, if the
 stream has as many as it may, and HP_VD_E_INVALID if it has no share of a class that would
 do. The buffer counts against the stream until hp_pool_free or hp_stream_free. Never
 blocks; allocates nothing.
 */
HP_MUST_USE
uint32_t hp_stream_allocate(const struct hp_stream *stream,
                            size_t size,
                            size_t alignment,
                            void **buffer);

/*
 As hp_stream_allocate, and waits up to `milliseconds` (0xffffffff: without end), as
 hp_pool_allocate_timeout does.
 */
HP_MUST_USE
uint32_t hp_stream_allocate_timeout(const struct hp_stream *stream,
                                    size_t size,
                                    size_t alignment,
                                    uint32_t milliseconds,
                                    void **buffer);

/*
 As hp_stream_allocate_timeout, and waits until `deadline`, in nanoseconds on
 CLOCK_MONOTONIC (UINT64_MAX: without end). If that is past, a buffer that is free is
 taken, otherwise it is HP_VD_E_TIMEOUT at once.
 */
HP_MUST_USE
uint32_t hp_stream_allocate_deadline(const struct hp_stream *stream,
                                     size_t size,
                                     size_t alignment,
                                     uint64_t deadline,
                                     void **buffer);

/*
 As hp_stream_allocate_timeout, and also ends when hp_token_cancel was called for `token`,
 one of the stream's pool: see hp_pool_allocate_cancellable.
 */
HP_MUST_USE
uint32_t hp_stream_allocate_cancellable(const struct hp_stream *stream,
                                        size_t size,
                                        size_t alignment,
                                        uint32_t milliseconds,
                                        const struct hp_token *token,
                                        void **buffer);

/*
 Begins a wait for a buffer of `stream`, and does not block: as hp_wait_begin; hp_wait_poll
 and the others go on with it. The stream must not be released before hp_wait_end.
 Allocates.
 */
HP_MUST_USE
uint32_t hp_stream_wait_begin(const struct hp_stream *stream,
                              size_t size,
                              size_t alignment,
                              struct hp_wait **wait);

/*
 Takes back a buffer of the stream's pool, whoever took it: as hp_pool_free, but also after
 hp_pool_release. Never blocks; allocates nothing.
 */
HP_MUST_USE
uint32_t hp_stream_free(const struct hp_stream *stream,
                        void *buffer,
                        size_t size);

/*
 Writes to `*count` how many buffers of the class that serves `size` bytes at `alignment`
 count against the stream now, those that its calls wait for included; 0 if it has no share
 of such a class. Never blocks.
 */
HP_MUST_USE
uint32_t hp_stream_in_use(const struct hp_stream *stream,
                          size_t size,
                          size_t alignment,
                          size_t *count);

/*
 Takes `count` buffers, or none, each as hp_stream_allocate, and writes them to `buffers`,
 an array of `count` pointers: all null if it fails. HP_VD_E_INVALID, too, if the stream
 can never have so many. With `count` 0 `buffers` may be null. Never waits; allocates
 nothing.
 */
HP_MUST_USE
uint32_t hp_stream_allocate_many(const struct hp_stream *stream,
                                 size_t size,
                                 size_t alignment,
                                 size_t count,
                                 void **buffers);

/*
 As hp_stream_allocate_many, and waits up to `milliseconds` (0xffffffff: without end) if
 there are too few, in one place of the line: when it is its turn, what the stream has and
 what comes back of it is kept for it until it has `count`. HP_VD_E_TIMEOUT if they do not
 come in time, HP_VD_E_ABORT after hp_pool_abort, HP_VD_E_BUSY if 65536 requests wait
 already. If it fails, all that was kept for it goes back.
 */
HP_MUST_USE
uint32_t hp_stream_allocate_many_timeout(const struct hp_stream *stream,
                                         size_t size,
                                         size_t alignment,
                                         size_t count,
                                         uint32_t milliseconds,
                                         void **buffers);

/*
 As hp_stream_allocate_many_timeout, and waits until `deadline`, in nanoseconds on
 CLOCK_MONOTONIC (UINT64_MAX: without end). If that is past, buffers that are free are
 taken, otherwise it is HP_VD_E_TIMEOUT at once.
 */
HP_MUST_USE
uint32_t hp_stream_allocate_many_deadline(const struct hp_stream *stream,
                                          size_t size,
                                          size_t alignment,
                                          size_t count,
                                          uint64_t deadline,
                                          void **buffers);

/*
 As hp_stream_allocate_many_timeout, and also ends when hp_token_cancel was called for
 `token`, one of the stream's pool: with HP_E_CANCELLED. With a token that was cancelled
 before, buffers that are free are taken, otherwise it is HP_E_CANCELLED at once.
 HP_VD_E_INVALID if the token is that of another pool.
 */
HP_MUST_USE
uint32_t hp_stream_allocate_many_cancellable(const struct hp_stream *stream,
                                             size_t size,
                                             size_t alignment,
                                             size_t count,
                                             uint32_t milliseconds,
                                             const struct hp_token *token,
                                             void **buffers);

/*
 Makes a token for waits of `pool`; it ends with hp_token_release. `*token` is null if it
 fails. It keeps the pool's memory until it is released. Allocates; never blocks.
 */
HP_MUST_USE uint32_t hp_token_new(const struct hp_pool *pool, struct hp_token **token);

/*
 Ends every wait that was given this token with HP_E_CANCELLED, and every one that will be:
 such a wait takes a buffer if one is free, and ends at once otherwise. A wait that has got
 its buffer keeps it. There is no way back. Never blocks; allocates nothing.
 */
uint32_t hp_token_cancel(const struct hp_token *token);

/*
 Returns true if hp_token_cancel was called; false if not, or if `token` is null. Never
 blocks.
 */
HP_MUST_USE bool hp_token_is_cancelled(const struct hp_token *token);

/*
 Releases a token. No wait may have it at that time, and it must not be used after this.
 Null is nothing.
 */
void hp_token_release(struct hp_token *token);

/*
 Says whether the pool notes who takes its buffers (by default it does not): see
 hp_pool_outstanding. That costs 64 bytes a buffer, and some tens of nanoseconds for each
 that is taken and freed.
 */
uint32_t hp_builder_track(struct hp_builder *builder, bool track);

/*
 Says that what the calling thread takes from now on, of any pool or set that tracks, is
 taken by line `line` of `file` (or by any other name, with line 0). The string must never
 be changed or freed while buffers are out, nor the code unloaded that it is part of: a
 literal will do. With null the name is that of the call that takes the buffer.
 HP_TRACK_PLACES makes this call before each that takes one. Never blocks.
 */
void hp_set_place(const char *file, uint32_t line);

/*
 Says who has the buffers that are out, if the pool tracks it (hp_builder_track): writes the
 oldest of them to `buffers`, an array of `room` elements, the oldest first, and to `*count`
 how many there are, which may be more. There are none if the pool does not track. The
 caller sets `buffers[0].size` before. With `room` 0 `buffers` may be null. `*count` is 0 if
 it fails. Looks at every buffer, and allocates: it is not for the data path.
 */
HP_MUST_USE
uint32_t hp_pool_outstanding(const struct hp_pool *pool,
                             struct hp_outstanding *buffers,
                             size_t room,
                             size_t *count);

/*
 As hp_pool_outstanding, for a set: HP_VD_E_PROTOCOL before its buffers are mapped and
 after Close.
 */
HP_MUST_USE
uint32_t hp_vdi_outstanding(const struct hp_vdi *set,
                            struct hp_outstanding *buffers,
                            size_t room,
                            size_t *count);

/*
 Makes a set that is not open, and whose buffers clients may read and write; it ends with
 hp_vdi_release. `*set` is null if it fails. Allocates.
 */
HP_MUST_USE uint32_t hp_vdi_new(struct hp_vdi **set);

/*
 As hp_vdi_new; the buffers are mapped as `builder` says (on which pages, whether clients can
 map them, and so on), with those that it declares. The description stays as it is. Its
 prefix zone is not used, for the set has one of its own.
 */
HP_MUST_USE
uint32_t hp_vdi_new_with(const struct hp_builder *builder,
                         struct hp_vdi **set);

/*
 Ends a set and gives its memory back, whatever its state: neither it nor its buffers may be
 used after this. Null is nothing.
 */
void hp_vdi_release(struct hp_vdi *set);

/*
 Open: takes note of what the client wishes.
 */
HP_MUST_USE
uint32_t hp_vdi_open(const struct hp_vdi *set,
                     const struct hp_vd_config *client);

/*
 GetConfiguration: what is known of the set by now.
 */
HP_MUST_USE
uint32_t hp_vdi_get_configuration(const struct hp_vdi *set,
                                  struct hp_vd_config *config);

/*
 BeginConfiguration: fixes what the server says.
 */
HP_MUST_USE
uint32_t hp_vdi_begin_configuration(const struct hp_vdi *set,
                                    const struct hp_vd_parameters *server);

/*
 RequestBuffers: declares `count` buffers of `size` bytes at `alignment` bytes (0:
 the set's). Summed while the set is configured; mapped at once after that.
 */
HP_MUST_USE
uint32_t hp_vdi_request_buffers(const struct hp_vdi *set,
                                uint32_t size,
                                uint32_t alignment,
                                uint32_t count);

/*
 EndConfiguration: maps what was declared. If it fails the set can be configured anew,
 and nothing is declared; HP_VD_E_MEMORY says that asking for less may help.
 */
HP_MUST_USE uint32_t hp_vdi_end_configuration(const struct hp_vdi *set);

/*
 OpenDevice: opens the next device; HP_VD_E_OPEN if all have been opened.
 */
HP_MUST_USE uint32_t hp_vdi_open_device(const struct hp_vdi *set);

/*
 CloseDevice: one device fewer is open; the last one ends the set. HP_VD_E_CLOSE once all
 are closed; HP_VD_E_ABORT, and nothing is done, after an abort.
 */
HP_MUST_USE uint32_t hp_vdi_close_device(const struct hp_vdi *set);

/*
 SignalAbort: ends every wait with HP_VD_E_ABORT. Calls that need the buffers are refused
 from now on, but hp_vdi_free_buffer and hp_vdi_close.
 */
uint32_t hp_vdi_signal_abort(const struct hp_vdi *set);

/*
 Close: ends the set, whatever it returns. What is outstanding counts as freed; the
 memory goes with hp_vdi_release. HP_VD_E_PROTOCOL if devices were open, with which it
 also does the work of hp_vdi_signal_abort, and for a set that is closed already.
 */
uint32_t hp_vdi_close(const struct hp_vdi *set);

/*
 QueryAvailableBuffers: how many buffers of `size` bytes at `alignment` bytes (0: the
 set's) one caller could allocate now.
 */
HP_MUST_USE
uint32_t hp_vdi_query_available_buffers(const struct hp_vdi *set,
                                        uint32_t size,
                                        uint32_t alignment,
                                        uint32_t *count);

/*
 AllocateBuffer: hands out a buffer of `size` bytes at `alignment` bytes (0: the set's).
 It is the caller's until hp_vdi_free_buffer. `*buffer` is null if it fails:
 HP_VD_E_INVALID if no declared buffer could ever do, HP_VD_E_MEMORY if none is free.
 */
HP_MUST_USE
uint32_t hp_vdi_allocate_buffer(const struct hp_vdi *set,
                                void **buffer,
                                uint32_t size,
                                uint32_t alignment);

/*
 As hp_vdi_allocate_buffer, and waits up to `milliseconds` (0xffffffff: without end) for a
 buffer if none is free: HP_VD_E_TIMEOUT if none comes in time, HP_VD_E_ABORT after
 hp_vdi_signal_abort, HP_VD_E_BUSY if 65536 requests wait already.
 */
HP_MUST_USE
uint32_t hp_vdi_allocate_buffer_timeout(const struct hp_vdi *set,
                                        void **buffer,
                                        uint32_t size,
                                        uint32_t alignment,
                                        uint32_t milliseconds);

/*
 FreeBuffer: takes back a buffer that was allocated for `size` bytes. What hp_pool_free tells
 apart is HP_VD_E_INVALID here, the published code; hp_last_code tells it apart.
 */
HP_MUST_USE
uint32_t hp_vdi_free_buffer(const struct hp_vdi *set,
                            void *buffer,
                            uint32_t size);

/*
 IsSharedBuffer: 1 if `address` is in a buffer that hp_vdi_allocate_buffer has made
 available, from its start to the size that was asked for, otherwise 0: for one that is
 free, too, and for the prefix zone. (Both are "success" codes.)
 */
HP_MUST_USE
uint32_t hp_vdi_is_shared_buffer(const struct hp_vdi *set,
                                 const void *address);

/*
 Writes to `*stats` what the set's buffers are and hold, as hp_pool_stats: HP_VD_E_PROTOCOL
 before they are mapped and after Close. The caller sets `stats->size` before. Reads files
 of the kernel and allocates, so it is not for the data path: hp_vdi_counters is.
 */
HP_MUST_USE
uint32_t hp_vdi_stats(const struct hp_vdi *set,
                      struct hp_stats *stats);

/*
 As hp_pool_allocate, and waits up to `milliseconds` (0xffffffff: without end) for a buffer
 if none is free: HP_VD_E_TIMEOUT if none comes in time, HP_VD_E_ABORT after
 hp_pool_abort, HP_VD_E_BUSY if 65536 requests wait already. Who waits has a turn: no
 request is passed over without end. Allocates nothing.
 */
HP_MUST_USE
uint32_t hp_pool_allocate_timeout(const struct hp_pool *pool,
                                  size_t size,
                                  size_t alignment,
                                  uint32_t milliseconds,
                                  void **buffer);

/*
 As hp_pool_allocate_timeout, and waits until `deadline`, in nanoseconds on CLOCK_MONOTONIC
 (UINT64_MAX: without end). If that is past, a buffer that is free is taken, otherwise it
 is HP_VD_E_TIMEOUT at once.
 */
HP_MUST_USE
uint32_t hp_pool_allocate_deadline(const struct hp_pool *pool,
                                   size_t size,
                                   size_t alignment,
                                   uint64_t deadline,
                                   void **buffer);

/*
 As hp_pool_allocate_timeout, and also ends when hp_token_cancel was called for `token`, one
 of this pool: with HP_E_CANCELLED. With a token that was cancelled before, a buffer that
 is free is taken, otherwise it is HP_E_CANCELLED at once. HP_VD_E_INVALID if the token is
 that of another pool.
 */
HP_MUST_USE
uint32_t hp_pool_allocate_cancellable(const struct hp_pool *pool,
                                      size_t size,
                                      size_t alignment,
                                      uint32_t milliseconds,
                                      const struct hp_token *token,
                                      void **buffer);

/*
 Begins a wait for a buffer of `size` bytes at `alignment`, and does not block:
 hp_wait_poll is next, at once or when the wait's descriptor is readable. The wait ends
 with hp_wait_end, and has its place and its turn among those who wait until then. `*wait`
 is null if it fails: as hp_pool_allocate_timeout, and HP_VD_E_UNEXPECTED if the system has
 no descriptor for it. It keeps the pool's memory; call hp_wait_end before hp_pool_release,
 after which a buffer that comes could not be freed. Allocates.
 */
HP_MUST_USE
uint32_t hp_wait_begin(const struct hp_pool *pool,
                       size_t size,
                       size_t alignment,
                       struct hp_wait **wait);

/*
 Writes the descriptor of a wait to `*descriptor`, for poll(2), epoll(7) and the like,
 level-triggered or edge-triggered: it is readable when hp_wait_poll should be called. It is
 one of eventfd(2), closed on exec and non-blocking. It belongs to the wait: the program must
 not read, write or close it, nor use it after hp_wait_end. -1 if it fails.
 */
HP_MUST_USE
uint32_t hp_wait_descriptor(const struct hp_wait *wait,
                            int32_t *descriptor);

/*
 Asks whether a buffer has come, and does not block. HP_NOERROR: `*buffer` is the caller's,
 as one of hp_pool_allocate, and the wait is over. HP_PENDING: `*buffer` is null; the
 descriptor is readable when it is time for the next poll. Any other code is one of
 hp_pool_allocate_timeout, and the wait is over; a poll after that is HP_VD_E_PROTOCOL. A
 null `buffer` is HP_VD_E_INVALID, two polls of one wait at the same time are HP_VD_E_BUSY,
 and a poll in a child of a fork is HP_VD_E_NOTOPEN; they change nothing. Allocates nothing.
 */
HP_MUST_USE
uint32_t hp_wait_poll(const struct hp_wait *wait,
                      void **buffer);

/*
 Ends a wait, whatever has become of it, and closes its descriptor (or, if a thread is
 raising it at that moment, the next call that begins or ends a wait does). A buffer that came and
 that hp_wait_poll has not given goes back, to the next who waits if there is one. No
 thread may poll the wait at that time, and it must not be used after this. Never blocks.
 Null is nothing; in a child of a fork, where the wait is the parent's, the call does
 nothing.
 */
void hp_wait_end(struct hp_wait *wait);

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
#define hp_class_allocate(...) (hp_set_place(__FILE__, __LINE__), hp_class_allocate(__VA_ARGS__))
#define hp_class_allocate_timeout(...) (hp_set_place(__FILE__, __LINE__), hp_class_allocate_timeout(__VA_ARGS__))
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
