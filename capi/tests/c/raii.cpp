/* The plain pool in C++: what is owned ends once, and the calls say what those of C say. */

#include <hugepool.hpp>

#include <poll.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstdio>
#include <cstring>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

using namespace hugepool;

static int failures;

#define CHECK(what)                                                                        \
    do {                                                                                   \
        if (!(what)) {                                                                     \
            std::printf("line %d: %s (%s)\n", __LINE__, #what, last_error().c_str());      \
            failures++;                                                                    \
        }                                                                                  \
    } while (0)

#define IS(call, code) CHECK((call) == (code))
#define OK(call) IS(call, NOERROR)

template <class Object> constexpr bool is_owner() {
    return std::is_nothrow_default_constructible<Object>::value &&
           std::is_nothrow_move_constructible<Object>::value &&
           std::is_nothrow_move_assignable<Object>::value &&
           std::is_nothrow_destructible<Object>::value &&
           !std::is_copy_constructible<Object>::value && !std::is_copy_assignable<Object>::value;
}
static_assert(is_owner<Builder>() && is_owner<Pool>() && is_owner<Buffer>() &&
                  is_owner<Class>() && is_owner<Stream>() && is_owner<Token>() &&
                  is_owner<Wait>() && is_owner<Publication>(),
              "they are moved, which throws nothing, and not copied");

static const std::size_t size = 4096;

static Pool pool_of(std::size_t count) {
    Pool pool;
    OK(Builder().reserve(size, 4096, count).prefix_zone(64).prefault(false).build(pool));
    return pool;
}

static std::size_t available(const Pool &pool) {
    std::size_t count = 0;
    OK(pool.available(size, 4096, count));
    return count;
}

/* Whether there is memory at an address. */
static bool is_mapped(BYTE *start) {
    return msync(start, size, MS_ASYNC) == 0;
}

/* Memory stays as long as there is an object that may need it, and no longer, or for ever. */
static void lifetimes() {
    Buffer buffer, late;
    BYTE *start;
    {
        Pool pool = pool_of(1);
        OK(pool.allocate(size, 4096, buffer));
        start = buffer.data();
        buffer.reset();
        CHECK(is_mapped(start));
    }
    CHECK(!is_mapped(start));
    Class found;
    Stream stream;
    Wait wait;
    {
        Pool pool = pool_of(3);
        OK(pool.find_class(size, 4096, found));
        OK(pool.make_stream("stream", {{size, 4096, 1, 1}}, stream));
        OK(pool.begin_wait(size, 4096, wait));
        Class failed;
        OK(pool.find_class(size, 4096, failed));
        IS(pool.find_class(size, 3, failed), VD_E_INVALID);
    }
    OK(found.allocate(buffer));
    start = buffer.data();
    OK(wait.poll(late));
    OK(stream.allocate(size, 4096, late));
    late.reset();
    found = Class();
    wait = Wait();
    CHECK(is_mapped(start));
    buffer.reset();
    stream = Stream();
    CHECK(!is_mapped(start));
    /* A buffer that outlives them all. */
    {
        Pool pool = pool_of(2);
        OK(pool.allocate(size, 4096, late));
    }
    std::memset(late.data() - 64, 1, size + 64);
    start = late.data();
    OK(late.free());
    CHECK(is_mapped(start));
}

/* However an object ends, its buffer is home once. */
static void buffers_come_home() {
    Pool pool = pool_of(4);
    {
        Buffer first, second;
        OK(pool.allocate(size, 4096, first));
        OK(pool.allocate(100, 512, second));
        CHECK(available(pool) == 2);
        BYTE *const start = first.data();
        Buffer moved(std::move(first));
        CHECK(moved.data() == start && !first && first.data() == nullptr && first.size() == 0);
        first = std::move(moved);
        CHECK(first.data() == start && available(pool) == 2);
        Buffer &same = first;
        first = std::move(same);
        CHECK(first && first.data() == start && available(pool) == 2);
        second = std::move(first);
        CHECK(second.data() == start && available(pool) == 3);
        first.swap(second);
        CHECK(first.data() == start && !second);
    }
    CHECK(available(pool) == 4);
    {
        std::vector<Buffer> several;
        for (int i = 0; i < 4; i++) {
            Buffer next;
            OK(pool.allocate(size, 4096, next));
            several.push_back(std::move(next));
        }
        CHECK(available(pool) == 0);
        std::thread([&several] { several.clear(); }).join();
        CHECK(available(pool) == 4);
    }
    /* Whatever holds it, its pool may move. */
    Buffer held;
    OK(pool.allocate(size, 4096, held));
    Pool other(std::move(pool));
    IS(pool.allocate(size, 4096, held), static_cast<HRESULT>(HP_VD_E_INVALID));
    CHECK(!held && available(other) == 4);
    OK(other.allocate(size, 4096, held));
    pool = std::move(other);
    held.reset();
    held.reset();
    CHECK(available(pool) == 4 && other.get() == nullptr);
}

/* A place gives back what it held before it waits for the next, and is empty after a refusal. */
static void places() {
    Pool pool = pool_of(1);
    Buffer buffer, none;
    for (int i = 0; i < 3; i++)
        OK(pool.allocate(size, 4096, buffer));
    if (failures == 0)
        OK(pool.allocate_timeout(size, 4096, INFINITE, buffer));
    IS(pool.allocate(size, 4096, none), VD_E_MEMORY);
    IS(pool.allocate_timeout(size, 4096, 1, none), VD_E_TIMEOUT);
    IS(pool.allocate_deadline(size, 4096, std::chrono::steady_clock::now(), none), VD_E_TIMEOUT);
    IS(pool.allocate_deadline(size, 4096, Deadline::min(), none), VD_E_TIMEOUT);
    CHECK(!none);
    IS(pool.allocate(0, 4096, buffer), VD_E_INVALID);
    CHECK(!buffer && buffer.data() == nullptr && buffer.capacity() == 0);
    OK(pool.allocate_deadline(size, 4096, Deadline::max(), buffer));
    CHECK(buffer && last_code() == VD_E_INVALID);
    IS(pool.allocate(size + 1, 4096, buffer), VD_E_INVALID);
    CHECK(available(pool) == 1);
}

/* The memory is that which was asked for, and how much of it is filled is kept. */
static void memory() {
    Pool pool = pool_of(1);
    Buffer buffer;
    OK(pool.allocate(1000, 512, buffer));
    CHECK(buffer.size() == 1000 && buffer.capacity() == 1000 && buffer.spare_size() == 0);
    CHECK(pool.contains(buffer.data()) && !pool.contains(&buffer));
    CHECK(!buffer.set_size(1001) && buffer.size() == 1000);
    CHECK(buffer.set_size(0) && buffer.empty() && buffer.spare() == buffer.data());
    std::memcpy(buffer.spare(), "abc", 3);
    CHECK(buffer.set_size(3) && buffer.spare() == buffer.data() + 3 && buffer.spare_size() == 997);
    unsigned sum = 0;
    for (BYTE byte : buffer)
        sum += byte;
    const Buffer &seen = buffer;
    CHECK(sum == 'a' + 'b' + 'c' && seen[2] == 'c' && seen.end() - seen.begin() == 3);
    /* With what is before it, it is one piece. */
    std::memset(buffer.data() - 64, 7, 64 + buffer.capacity());
    CHECK(buffer[0] == 7);
#if __cplusplus >= 202002L
    std::span<BYTE> filled = buffer.span(), spare = buffer.spare_span();
    std::span<const BYTE> same = seen.span();
    CHECK(filled.data() == buffer.data() && filled.size() == 3 && same.size() == 3);
    CHECK(spare.data() == filled.data() + 3 && spare.size() == 997);
#endif
    Buffer moved(std::move(buffer));
    CHECK(moved.size() == 3 && moved.capacity() == 1000 && buffer.capacity() == 0);
    buffer = std::move(moved);
    CHECK(buffer.size() == 3 && buffer.capacity() == 1000 && moved.capacity() == 0);
    /* It goes back with what it was taken for, not with what is filled. */
    OK(buffer.free());
    IS(buffer.free(), VD_E_INVALID);
    CHECK(available(pool) == 1);
}

/* What C has taken can be owned, and what is owned given to C. */
static void raw() {
    Pool pool = pool_of(1);
    void *start = nullptr;
    OK(detail::result(hp_pool_allocate(pool.get(), 1000, 512, &start)));
    Buffer buffer(pool.get(), start, 1000);
    CHECK(buffer.data() == start && buffer.size() == 1000);
    CHECK(buffer.release() == start && !buffer && available(pool) == 0);
    OK(detail::result(hp_pool_free(pool.get(), start, 1000)));
    hp_builder *builder = nullptr;
    hp_pool *made = nullptr;
    OK(detail::result(hp_builder_new(&builder)));
    OK(detail::result(hp_builder_build(builder, &made)));
    hp_builder_release(builder);
    Pool owner;
    IS(owner.adopt(nullptr), VD_E_INVALID);
    OK(owner.adopt(made));
    CHECK(owner.get() == made);
    /* The codes tell mistakes apart. */
    IS(Buffer(pool.get(), start, 1000).free(), E_NOT_ALLOCATED);
    IS(Buffer(pool.get(), &start, 1000).free(), E_FOREIGN);
    IS(Buffer(pool.get(), static_cast<char *>(start) + 1, 1000).free(), E_INTERIOR);
    OK(pool.allocate(1000, 512, buffer));
    IS(Buffer(pool.get(), buffer.data(), 999).free(), E_WRONG_SIZE);
    CHECK(last_code() == E_WRONG_SIZE && FAILED(E_WRONG_SIZE) && available(pool) == 0);
}

/* A buffer may outlive the object that it was taken by. */
static void classes_and_streams() {
    Pool pool = pool_of(4);
    Buffer of_class, of_stream, none;
    {
        Class small, moved;
        OK(pool.find_class(1000, 512, small));
        CHECK(small.size() == size && small.alignment() == 4096);
        moved = std::move(small);
        OK(moved.allocate(of_class));
        CHECK(of_class.size() == size);
        OK(moved.allocate_timeout(1, none));
        std::size_t count = 0;
        OK(moved.available(count));
        CHECK(count == 2);
        IS(small.allocate(none), VD_E_INVALID);
        IS(pool.find_class(size + 1, 4096, moved), VD_E_INVALID);
        CHECK(moved.get() == nullptr && moved.size() == 0);
    }
    {
        Stream stream, moved;
        OK(pool.make_stream("stream", {{size, 4096, 2, 2}}, stream));
        moved = std::move(stream);
        CHECK(available(pool) == 1);
        OK(moved.allocate(size, 4096, of_stream));
        OK(moved.allocate_timeout(size, 4096, 1, none));
        std::size_t count = 0;
        OK(moved.in_use(size, 4096, count));
        CHECK(count == 2);
        Buffer third;
        IS(moved.allocate(size, 4096, third), VD_E_MEMORY);
        IS(moved.allocate_deadline(size, 4096, Deadline::min(), third), VD_E_TIMEOUT);
        none.reset();
        Buffer two[2];
        IS(moved.allocate_many(size, 4096, two, 2), VD_E_MEMORY);
        IS(moved.allocate_many_timeout(size, 4096, 1, two, 2), VD_E_TIMEOUT);
        IS(moved.allocate_many_deadline(size, 4096, Deadline::min(), two, 2), VD_E_TIMEOUT);
        IS(stream.allocate(size, 4096, third), VD_E_INVALID);
        IS(pool.make_stream("", {{size, 4096, 1, 1}}, stream), VD_E_INVALID);
    }
    /* Its share is free again. */
    CHECK(available(pool) == 2);
    std::memset(of_stream.data(), 1, of_stream.size());
    of_stream.reset();
    of_class.reset();
    CHECK(available(pool) == 4);
}

static void waiting() {
    Pool pool = pool_of(1);
    Buffer buffer, next;
    Token token;
    OK(pool.make_token(token));
    OK(pool.allocate_cancellable(size, 4096, INFINITE, token, buffer));
    CHECK(!token.is_cancelled());
    token.cancel();
    CHECK(token.is_cancelled());
    IS(pool.allocate_cancellable(size, 4096, INFINITE, token, next), E_CANCELLED);
    IS(pool.allocate_many_cancellable(size, 4096, INFINITE, token, &next, 1), E_CANCELLED);
    Stream stream;
    OK(pool.make_stream("stream", {{size, 4096, 0, 0}}, stream));
    IS(stream.allocate_cancellable(size, 4096, INFINITE, token, next), E_CANCELLED);
    IS(stream.allocate_many_cancellable(size, 4096, INFINITE, token, &next, 1), E_CANCELLED);
    for (int by_stream = 0; by_stream < 2; by_stream++) {
        Wait wait, moved;
        std::int32_t descriptor = -1;
        OK(by_stream ? stream.begin_wait(1000, 512, wait) : pool.begin_wait(1000, 512, wait));
        moved = std::move(wait);
        OK(moved.descriptor(descriptor));
        IS(moved.poll(next), PENDING);
        CHECK(!next && SUCCEEDED(PENDING));
        buffer.reset();
        pollfd one = {descriptor, POLLIN, 0};
        CHECK(poll(&one, 1, -1) == 1);
        OK(moved.poll(next));
        CHECK(next && next.capacity() == 1000);
        IS(wait.poll(buffer), VD_E_INVALID);
        buffer = std::move(next);
    }
    buffer.reset();
    /* One that ends with its buffer gives it back. */
    Wait wait;
    OK(pool.begin_wait(size, 4096, wait));
    wait = Wait();
    CHECK(available(pool) == 1);
    OK(pool.allocate(size, 4096, buffer));
    pool.abort();
    CHECK(pool.is_aborted());
    IS(pool.allocate_timeout(size, 4096, INFINITE, next), VD_E_ABORT);
}

/* All or none; more than fit where no heap is needed. */
static void many() {
    Pool pool = pool_of(100);
    std::vector<Buffer> buffers(101);
    for (std::size_t count : {1u, 32u, 33u, 100u}) {
        OK(pool.allocate_many(size, 4096, buffers.data(), count));
        CHECK(available(pool) == 100 - count && buffers[count - 1].size() == size);
        Buffer more[2];
        if (count > 98)
            IS(pool.allocate_many(size, 4096, more, 2), VD_E_MEMORY);
        for (Buffer &buffer : buffers)
            buffer.reset();
    }
    /* What the array holds goes back first. */
    for (int i = 0; i < 2; i++)
        OK(pool.allocate_many(size, 4096, buffers.data(), 60));
    CHECK(available(pool) == 40);
    if (failures == 0)
        OK(pool.allocate_many_timeout(size, 4096, INFINITE, buffers.data(), 60));
    OK(pool.allocate_many_deadline(size, 4096, Deadline::max(), buffers.data(), 1));
    IS(pool.allocate_many(size, 4096, buffers.data(), 101), VD_E_INVALID);
    for (Buffer &buffer : buffers)
        CHECK(!buffer);
    OK(pool.allocate_many(size, 4096, nullptr, 0));
    IS(pool.allocate_many(size, 4096, nullptr, 1), VD_E_INVALID);
    /* No array has so many elements. */
    IS(pool.allocate_many(size, 4096, nullptr, SIZE_MAX), VD_E_INVALID);
    CHECK(available(pool) == 100);
}

/* The first thing that is wrong with a description is what building says. */
static void descriptions() {
    Pool pool = pool_of(1);
    const std::uint32_t node = 0;
    hp_stats stats;
    hp_counters counters;
    hp_trimmed gone;
    IS(Builder().pages(99, HP_RUNG_NEVER).interleave(nullptr, 1).build(pool), VD_E_INVALID);
    CHECK(last_error().find("99") != std::string::npos && pool.get() == nullptr);
    IS(Builder().reserve(size, 3, 1).build(pool), VD_E_INVALID);
    Builder builder, moved;
    OK(builder.reserve(size, 4096, 2).address_space(1 << 30).lock(false).dump(true).fork(false)
           .track(true).portable_caches(true).climb(1).cpu_cache(0).prefault(false)
           .pages(HP_PAGES_HUGE_2M, HP_RUNG_NEVER).shared(HP_ACCESS_WRITE).build(pool));
    OK(pool.stats(stats));
    CHECK(stats.size == sizeof stats && stats.capacity == 2);
    OK(pool.request(size, 4096, 3));
    OK(pool.counters(counters));
    CHECK(counters.classes == 1);
    OK(pool.trim(gone));
    CHECK(gone.segments == 1);
    OK(pool.trim());
    /* Its node may refuse, but it was said. */
    (void)builder.node(0).prefer_node(0).interleave(&node, 1);
    moved = std::move(builder);
    IS(builder.build(pool), VD_E_INVALID);
    CHECK(pool.get() == nullptr && moved.get() != nullptr);
    ServerVirtualDeviceSet set(moved.get());
    CHECK(set.get() != nullptr);
}

static void published() {
    char name[64];
    std::snprintf(name, sizeof name, "raii %d", static_cast<int>(getpid()));
    Pool pool;
    ClientVirtualDeviceSet client;
    OK(Builder().reserve(size, 4096, 1).shared(HP_ACCESS_WRITE).build(pool));
    {
        Publication publication, second;
        OK(pool.publish(nullptr, name, nullptr, publication));
        IS(pool.publish(nullptr, name, nullptr, second), VD_E_OPEN);
        OK(client.OpenInSecondary(name));
    }
    /* The name ends with the object. */
    ClientVirtualDeviceSet late;
    IS(late.OpenInSecondary(name), VD_E_PROTOCOL);
}

/* Objects that stand for nothing. */
static void nothing() {
    Pool pool;
    Buffer buffer;
    Class found;
    Stream stream;
    Token token;
    Wait wait;
    hp_stats stats;
    std::size_t count = 1;
    std::int32_t descriptor = 0;
    IS(pool.allocate(size, 4096, buffer), VD_E_INVALID);
    IS(pool.allocate_many(size, 4096, &buffer, 1), VD_E_INVALID);
    IS(pool.find_class(size, 4096, found), VD_E_INVALID);
    IS(pool.make_stream("stream", nullptr, 0, stream), VD_E_INVALID);
    IS(pool.make_token(token), VD_E_INVALID);
    IS(pool.begin_wait(size, 4096, wait), VD_E_INVALID);
    IS(pool.request(size, 4096, 1), VD_E_INVALID);
    IS(pool.stats(stats), VD_E_INVALID);
    IS(pool.trim(), VD_E_INVALID);
    IS(pool.abort(), VD_E_INVALID);
    CHECK(!pool.contains(&pool) && !pool.is_aborted() && !token.is_cancelled());
    IS(found.allocate(buffer), VD_E_INVALID);
    IS(found.available(count), VD_E_INVALID);
    IS(stream.allocate(size, 4096, buffer), VD_E_INVALID);
    IS(token.cancel(), VD_E_INVALID);
    IS(wait.poll(buffer), VD_E_INVALID);
    IS(wait.descriptor(descriptor), VD_E_INVALID);
    IS(buffer.free(), VD_E_INVALID);
    CHECK(!buffer && buffer.begin() == buffer.end() && buffer.spare_size() == 0 &&
          buffer.set_size(0) && buffer.release() == nullptr);
    buffer = Buffer(std::move(buffer));
}

int main() {
    /* What comes later waits for ever if what comes first is broken. */
    for (void (*part)() : {memory, lifetimes, buffers_come_home, places, many, raw,
                           classes_and_streams, waiting, descriptions, published, nothing})
        if (failures == 0)
            part();
    std::printf("%d failures\n", failures);
    return failures != 0;
}
