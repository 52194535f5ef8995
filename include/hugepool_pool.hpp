/*
 * hugepool for C++: the plain pool. Its objects own what they stand for and end it when they
 * end: a Buffer goes back to its pool, a Stream gives back its share. They can be moved, which
 * throws nothing, and not copied. Included by hugepool.hpp; C++11, std::span from C++20 on.
 *
 * Results. The calls are those of hugepool.h, which says what they do, with their codes as
 * HRESULT (hugepool_codes.hpp). Nothing throws. An object that stands for nothing, because it
 * is new or was moved from, is VD_E_INVALID. A place for an object ends what is in it before
 * the call is made, and is empty if the call fails.
 *
 * Lifetimes. A pool ends with its Pool, or with the last Class, Stream or Wait of it if that
 * is later. If Buffers of it are out then it does not end at all: they can be used, and go
 * back, but its memory is the system's again only when the process ends. A Wait ends before
 * its Stream, and a Token after the waits that have it.
 *
 * Threads. Calls that are const may be made by any thread at any time, and a Buffer may end on
 * any; otherwise one thread at a time uses an object.
 */

#ifndef HUGEPOOL_POOL_HPP
#define HUGEPOOL_POOL_HPP

#include "hugepool_buffer.hpp"
#include "hugepool_codes.hpp"
#include "hugepool_owned.hpp"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <initializer_list>

namespace hugepool {

namespace detail {

/* A time of the clock that the library has: this one, on Linux. */
inline std::uint64_t nanoseconds(std::chrono::steady_clock::time_point time) noexcept {
    const auto since = time.time_since_epoch();
    const auto count = std::chrono::duration_cast<std::chrono::nanoseconds>(since).count();
    return count < 0 ? 0 : static_cast<std::uint64_t>(count);
}

} // namespace detail

/* A moment to wait until; `max()`: without end. */
using Deadline = std::chrono::steady_clock::time_point;

/* A size and an alignment that were looked up once: Pool::find_class. */
class Class {
  public:
    HP_MUST_USE HRESULT allocate(Buffer &buffer) const noexcept {
        return buffer.take(class_.pool(), size_,
                           [&](void **start) { return hp_class_allocate(get(), start); });
    }
    HP_MUST_USE HRESULT allocate_timeout(DWORD milliseconds, Buffer &buffer) const noexcept {
        return buffer.take(class_.pool(), size_, [&](void **start) {
            return hp_class_allocate_timeout(get(), milliseconds, start);
        });
    }
    HP_MUST_USE HRESULT available(std::size_t &count) const noexcept {
        return detail::result(hp_class_available(get(), &count));
    }
    /* Bytes of its buffers, and what their addresses are multiples of. */
    std::size_t size() const noexcept { return size_; }
    std::size_t alignment() const noexcept { return alignment_; }
    hp_class *get() const noexcept { return class_.get(); }

  private:
    friend class Pool;
    detail::Part<hp_class> class_;
    std::size_t size_ = 0;
    std::size_t alignment_ = 0;
};

/* Ends some waits of a pool: Pool::make_token. */
class Token {
  public:
    HRESULT cancel() const noexcept { return detail::result(hp_token_cancel(get())); }
    HP_MUST_USE bool is_cancelled() const noexcept { return hp_token_is_cancelled(get()); }
    hp_token *get() const noexcept { return token_.get(); }

  private:
    friend class Pool;
    detail::Owned<hp_token> token_;
};

/* A name by which clients open a pool that is shared: Pool::publish. */
class Publication {
  public:
    hp_publication *get() const noexcept { return publication_.get(); }

  private:
    friend class Pool;
    detail::Owned<hp_publication> publication_;
};

/* A wait in an event loop: Pool::begin_wait, Stream::begin_wait. */
class Wait {
  public:
    HP_MUST_USE HRESULT descriptor(std::int32_t &descriptor) const noexcept {
        return detail::result(hp_wait_descriptor(get(), &descriptor));
    }
    /* PENDING, and no buffer, as long as none has come. */
    HP_MUST_USE HRESULT poll(Buffer &buffer) const noexcept {
        return buffer.take(wait_.pool(), size_,
                           [&](void **start) { return hp_wait_poll(get(), start); });
    }
    hp_wait *get() const noexcept { return wait_.get(); }

  private:
    friend class Pool;
    friend class Stream;
    detail::Part<hp_wait> wait_;
    std::size_t size_ = 0;
};

/* A share of a pool: Pool::make_stream. */
class Stream {
  public:
    HP_MUST_USE HRESULT allocate(std::size_t size, std::size_t alignment,
                                 Buffer &buffer) const noexcept {
        return buffer.take(stream_.pool(), size, [&](void **start) {
            return hp_stream_allocate(get(), size, alignment, start);
        });
    }
    HP_MUST_USE HRESULT allocate_timeout(std::size_t size, std::size_t alignment,
                                         DWORD milliseconds, Buffer &buffer) const noexcept {
        return buffer.take(stream_.pool(), size, [&](void **start) {
            return hp_stream_allocate_timeout(get(), size, alignment, milliseconds, start);
        });
    }
    HP_MUST_USE HRESULT allocate_deadline(std::size_t size, std::size_t alignment,
                                          Deadline deadline, Buffer &buffer) const noexcept {
        return buffer.take(stream_.pool(), size, [&](void **start) {
            return hp_stream_allocate_deadline(get(), size, alignment,
                                               detail::nanoseconds(deadline), start);
        });
    }
    HP_MUST_USE HRESULT allocate_cancellable(std::size_t size, std::size_t alignment,
                                             DWORD milliseconds, const Token &token,
                                             Buffer &buffer) const noexcept {
        return buffer.take(stream_.pool(), size, [&](void **start) {
            return hp_stream_allocate_cancellable(get(), size, alignment, milliseconds,
                                                  token.get(), start);
        });
    }
    /* `count` of them, or none, into the array `buffers`. VD_E_MEMORY, too, if there is no heap
       for the call, which needs some for more than 32. */
    HP_MUST_USE HRESULT allocate_many(std::size_t size, std::size_t alignment, Buffer *buffers,
                                      std::size_t count) const noexcept {
        return Buffer::take_many(stream_.pool(), size, buffers, count, [&](void **starts) {
            return hp_stream_allocate_many(get(), size, alignment, count, starts);
        });
    }
    HP_MUST_USE HRESULT allocate_many_timeout(std::size_t size, std::size_t alignment,
                                              DWORD milliseconds, Buffer *buffers,
                                              std::size_t count) const noexcept {
        return Buffer::take_many(stream_.pool(), size, buffers, count, [&](void **starts) {
            return hp_stream_allocate_many_timeout(get(), size, alignment, count, milliseconds,
                                                   starts);
        });
    }
    HP_MUST_USE HRESULT allocate_many_deadline(std::size_t size, std::size_t alignment,
                                               Deadline deadline, Buffer *buffers,
                                               std::size_t count) const noexcept {
        return Buffer::take_many(stream_.pool(), size, buffers, count, [&](void **starts) {
            return hp_stream_allocate_many_deadline(get(), size, alignment, count,
                                                   detail::nanoseconds(deadline), starts);
        });
    }
    HP_MUST_USE HRESULT allocate_many_cancellable(std::size_t size, std::size_t alignment,
                                                  DWORD milliseconds, const Token &token,
                                                  Buffer *buffers,
                                                  std::size_t count) const noexcept {
        return Buffer::take_many(stream_.pool(), size, buffers, count, [&](void **starts) {
            return hp_stream_allocate_many_cancellable(get(), size, alignment, count,
                                                      milliseconds, token.get(), starts);
        });
    }
    HP_MUST_USE HRESULT begin_wait(std::size_t size, std::size_t alignment,
                                   Wait &wait) const noexcept {
        wait.size_ = size;
        return wait.wait_.put(stream_.keeper(), [&](hp_wait **begun) {
            return hp_stream_wait_begin(get(), size, alignment, begun);
        });
    }
    HP_MUST_USE HRESULT in_use(std::size_t size, std::size_t alignment,
                               std::size_t &count) const noexcept {
        return detail::result(hp_stream_in_use(get(), size, alignment, &count));
    }
    hp_stream *get() const noexcept { return stream_.get(); }

  private:
    friend class Pool;
    detail::Part<hp_stream> stream_;
};

/* A pool of aligned buffers: Builder::build. */
class Pool {
  public:
    Pool() noexcept = default;
    Pool(Pool &&) noexcept = default;
    Pool &operator=(Pool &&) noexcept = default;

    /* Owns from now on what hp_builder_build gave. VD_E_MEMORY if there is no heap for that: it
       is the caller's then. */
    HP_MUST_USE HRESULT adopt(hp_pool *pool) noexcept {
        return detail::result(pool == nullptr    ? HP_VD_E_INVALID
                              : pool_.keep(pool) ? HP_NOERROR
                                                 : HP_VD_E_MEMORY);
    }

    HP_MUST_USE HRESULT allocate(std::size_t size, std::size_t alignment,
                                 Buffer &buffer) const noexcept {
        return buffer.take(get(), size, [&](void **start) {
            return hp_pool_allocate(get(), size, alignment, start);
        });
    }
    HP_MUST_USE HRESULT allocate_timeout(std::size_t size, std::size_t alignment,
                                         DWORD milliseconds, Buffer &buffer) const noexcept {
        return buffer.take(get(), size, [&](void **start) {
            return hp_pool_allocate_timeout(get(), size, alignment, milliseconds, start);
        });
    }
    HP_MUST_USE HRESULT allocate_deadline(std::size_t size, std::size_t alignment,
                                          Deadline deadline, Buffer &buffer) const noexcept {
        return buffer.take(get(), size, [&](void **start) {
            return hp_pool_allocate_deadline(get(), size, alignment,
                                             detail::nanoseconds(deadline), start);
        });
    }
    HP_MUST_USE HRESULT allocate_cancellable(std::size_t size, std::size_t alignment,
                                             DWORD milliseconds, const Token &token,
                                             Buffer &buffer) const noexcept {
        return buffer.take(get(), size, [&](void **start) {
            return hp_pool_allocate_cancellable(get(), size, alignment, milliseconds,
                                                token.get(), start);
        });
    }
    /* `count` of them, or none, into the array `buffers`: see Stream::allocate_many. */
    HP_MUST_USE HRESULT allocate_many(std::size_t size, std::size_t alignment, Buffer *buffers,
                                      std::size_t count) const noexcept {
        return Buffer::take_many(get(), size, buffers, count, [&](void **starts) {
            return hp_pool_allocate_many(get(), size, alignment, count, starts);
        });
    }
    HP_MUST_USE HRESULT allocate_many_timeout(std::size_t size, std::size_t alignment,
                                              DWORD milliseconds, Buffer *buffers,
                                              std::size_t count) const noexcept {
        return Buffer::take_many(get(), size, buffers, count, [&](void **starts) {
            return hp_pool_allocate_many_timeout(get(), size, alignment, count, milliseconds,
                                                 starts);
        });
    }
    HP_MUST_USE HRESULT allocate_many_deadline(std::size_t size, std::size_t alignment,
                                               Deadline deadline, Buffer *buffers,
                                               std::size_t count) const noexcept {
        return Buffer::take_many(get(), size, buffers, count, [&](void **starts) {
            return hp_pool_allocate_many_deadline(get(), size, alignment, count,
                                                   detail::nanoseconds(deadline), starts);
        });
    }
    HP_MUST_USE HRESULT allocate_many_cancellable(std::size_t size, std::size_t alignment,
                                                  DWORD milliseconds, const Token &token,
                                                  Buffer *buffers,
                                                  std::size_t count) const noexcept {
        return Buffer::take_many(get(), size, buffers, count, [&](void **starts) {
            return hp_pool_allocate_many_cancellable(get(), size, alignment, count,
                                                      milliseconds, token.get(), starts);
        });
    }

    HP_MUST_USE HRESULT find_class(std::size_t size, std::size_t alignment,
                                   Class &found) const noexcept {
        found.size_ = found.alignment_ = 0;
        const HRESULT result = found.class_.put(pool_, [&](hp_class **made) {
            return hp_class_new(get(), size, alignment, made);
        });
        if (found.get() == nullptr)
            return result;
        return detail::result(hp_class_shape(found.get(), &found.size_, &found.alignment_));
    }
    HP_MUST_USE HRESULT make_stream(LPCSTR name, const hp_share *shares, std::size_t count,
                                    Stream &stream) const noexcept {
        return stream.stream_.put(pool_, [&](hp_stream **made) {
            return hp_stream_new(get(), name, shares, count, made);
        });
    }
    HP_MUST_USE HRESULT make_stream(LPCSTR name, std::initializer_list<hp_share> shares,
                                    Stream &stream) const noexcept {
        return make_stream(name, shares.begin(), shares.size(), stream);
    }
    HP_MUST_USE HRESULT make_token(Token &token) const noexcept {
        return detail::put(token.token_,
                           [&](hp_token **made) { return hp_token_new(get(), made); });
    }
    HP_MUST_USE HRESULT begin_wait(std::size_t size, std::size_t alignment,
                                   Wait &wait) const noexcept {
        wait.size_ = size;
        return wait.wait_.put(pool_, [&](hp_wait **begun) {
            return hp_wait_begin(get(), size, alignment, begun);
        });
    }
    HP_MUST_USE HRESULT publish(LPCSTR instance, LPCSTR name, const hp_peers *who,
                                Publication &publication) const noexcept {
        return detail::put(publication.publication_, [&](hp_publication **made) {
            return hp_pool_publish(get(), instance, name, who, made);
        });
    }

    HP_MUST_USE HRESULT available(std::size_t size, std::size_t alignment,
                                  std::size_t &count) const noexcept {
        return detail::result(hp_pool_available(get(), size, alignment, &count));
    }
    HP_MUST_USE bool contains(const void *address) const noexcept {
        return hp_pool_contains(get(), address);
    }
    HP_MUST_USE HRESULT request(std::size_t size, std::size_t alignment,
                                std::size_t count) const noexcept {
        return detail::result(hp_pool_request(get(), size, alignment, count));
    }
    HRESULT trim() const noexcept { return detail::result(hp_pool_trim(get(), nullptr)); }
    HRESULT trim(hp_trimmed &trimmed) const noexcept {
        trimmed.size = sizeof trimmed;
        return detail::result(hp_pool_trim(get(), &trimmed));
    }
    HRESULT abort() const noexcept { return detail::result(hp_pool_abort(get())); }
    HP_MUST_USE bool is_aborted() const noexcept { return hp_pool_is_aborted(get()); }
    HP_MUST_USE HRESULT stats(hp_stats &stats) const noexcept {
        stats.size = sizeof stats;
        return detail::result(hp_pool_stats(get(), &stats));
    }
    HP_MUST_USE HRESULT counters(hp_counters &counters) const noexcept {
        counters.size = sizeof counters;
        return detail::result(hp_pool_counters(get(), &counters));
    }

    /* For the calls of hugepool.h. */
    hp_pool *get() const noexcept { return pool_.get(); }

  private:
    detail::Keeper pool_;
};

/*
 * The description of a pool. Its calls can follow one another; build says what went wrong
 * first, in any of them.
 *
 *     Pool pool;
 *     HRESULT built = Builder().reserve(64 << 10, 4096, 256).prefix_zone(512).build(pool);
 */
class Builder {
  public:
    Builder() noexcept : first_(detail::put(builder_, hp_builder_new)) {}

    Builder &reserve(std::size_t size, std::size_t alignment, std::size_t count) noexcept {
        return set([&] { return hp_builder_reserve(get(), size, alignment, count); });
    }
    Builder &prefix_zone(std::size_t bytes) noexcept {
        return set([&] { return hp_builder_prefix_zone(get(), bytes); });
    }
    Builder &address_space(std::size_t bytes) noexcept {
        return set([&] { return hp_builder_address_space(get(), bytes); });
    }
    Builder &prefault(bool prefault) noexcept {
        return set([&] { return hp_builder_prefault(get(), prefault); });
    }
    Builder &lock(bool lock) noexcept {
        return set([&] { return hp_builder_lock(get(), lock); });
    }
    Builder &dump(bool dump) noexcept {
        return set([&] { return hp_builder_dump(get(), dump); });
    }
    Builder &fork(bool fork) noexcept {
        return set([&] { return hp_builder_fork(get(), fork); });
    }
    Builder &track(bool track) noexcept {
        return set([&] { return hp_builder_track(get(), track); });
    }
    Builder &portable_caches(bool portable) noexcept {
        return set([&] { return hp_builder_portable_caches(get(), portable); });
    }
    Builder &climb(std::size_t factor) noexcept {
        return set([&] { return hp_builder_climb(get(), factor); });
    }
    Builder &cpu_cache(std::size_t bytes) noexcept {
        return set([&] { return hp_builder_cpu_cache(get(), bytes); });
    }
    Builder &node(std::uint32_t node) noexcept {
        return set([&] { return hp_builder_node(get(), node); });
    }
    Builder &prefer_node(std::uint32_t node) noexcept {
        return set([&] { return hp_builder_prefer_node(get(), node); });
    }
    Builder &interleave(const std::uint32_t *nodes, std::size_t count) noexcept {
        return set([&] { return hp_builder_interleave(get(), nodes, count); });
    }
    Builder &pages(std::uint32_t pages, std::uint32_t rung) noexcept {
        return set([&] { return hp_builder_pages(get(), pages, rung); });
    }
    Builder &shared(std::uint32_t access) noexcept {
        return set([&] { return hp_builder_shared(get(), access); });
    }

    HP_MUST_USE HRESULT build(Pool &pool) const noexcept {
        pool = Pool();
        if (FAILED(first_))
            return first_;
        hp_pool *built = nullptr;
        const std::uint32_t code = hp_builder_build(get(), &built);
        if (code != HP_NOERROR)
            return detail::result(code);
        const HRESULT result = pool.adopt(built);
        if (FAILED(result))
            hp_pool_release(built);
        return result;
    }

    /* For the calls of hugepool.h. */
    hp_builder *get() const noexcept { return builder_.get(); }

  private:
    template <class Set> Builder &set(Set set) noexcept {
        if (!FAILED(first_))
            first_ = detail::result(set());
        return *this;
    }

    detail::Owned<hp_builder> builder_;
    HRESULT first_;
};

} // namespace hugepool

#endif /* HUGEPOOL_POOL_HPP */
