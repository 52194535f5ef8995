/*
 * hugepool for C++: a buffer that is owned. Included by hugepool_pool.hpp, which says what
 * holds for all these objects; C++11, std::span from C++20 on.
 */

#ifndef HUGEPOOL_BUFFER_HPP
#define HUGEPOOL_BUFFER_HPP

#include "hugepool_codes.hpp"

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <utility>

#if __cplusplus >= 202002L
#include <span>
#endif

namespace hugepool {

namespace detail {

struct Free {
    void operator()(void **array) const noexcept { std::free(array); }
};

} // namespace detail

/*
 * A buffer that was taken, or none. Its address stays when the object is moved. It has as many
 * bytes as it was taken for, of which the first size() are filled: all of them at first. The
 * prefix zone, as long as hp_builder_prefix_zone said, lies right before data(): the two are
 * one piece of memory, and can be written to a file at once.
 */
class Buffer {
  public:
    Buffer() noexcept = default;
    /* Owns what a call of hugepool.h took of that pool for `size` bytes. */
    Buffer(hp_pool *pool, void *start, std::size_t size) noexcept
        : pool_(pool), data_(static_cast<BYTE *>(start)), size_(size), capacity_(size) {}
    Buffer(Buffer &&other) noexcept
        : pool_(other.pool_), data_(other.data_), size_(other.size_),
          capacity_(other.capacity_) {
        other.forget();
    }
    Buffer &operator=(Buffer &&other) noexcept {
        Buffer gone(std::move(other));
        swap(gone);
        return *this;
    }
    Buffer(const Buffer &) = delete;
    Buffer &operator=(const Buffer &) = delete;
    ~Buffer() {
        if (data_ != nullptr)
            detail::ignore(hp_pool_free(pool_, data_, capacity_));
    }

    /* Whether there is a buffer. */
    explicit operator bool() const noexcept { return data_ != nullptr; }

    BYTE *data() noexcept { return data_; }
    const BYTE *data() const noexcept { return data_; }
    /* Bytes that are filled. */
    std::size_t size() const noexcept { return size_; }
    bool empty() const noexcept { return size_ == 0; }
    /* Bytes that it was taken for. */
    std::size_t capacity() const noexcept { return capacity_; }
    /* Says how many bytes are filled. False, and nothing changes, if it has not so many. */
    HP_MUST_USE bool set_size(std::size_t size) noexcept {
        if (size > capacity_)
            return false;
        size_ = size;
        return true;
    }
    /* Where the bytes begin that are not filled, and how many those are. */
    BYTE *spare() noexcept { return data_ + size_; }
    std::size_t spare_size() const noexcept { return capacity_ - size_; }

    BYTE &operator[](std::size_t at) noexcept { return data_[at]; }
    const BYTE &operator[](std::size_t at) const noexcept { return data_[at]; }
    BYTE *begin() noexcept { return data_; }
    BYTE *end() noexcept { return data_ + size_; }
    const BYTE *begin() const noexcept { return data_; }
    const BYTE *end() const noexcept { return data_ + size_; }
#if __cplusplus >= 202002L
    std::span<BYTE> span() noexcept { return {data_, size_}; }
    std::span<const BYTE> span() const noexcept { return {data_, size_}; }
    std::span<BYTE> spare_span() noexcept { return {spare(), spare_size()}; }
#endif

    /* Gives it up: capacity() bytes that are to be freed by hp_pool_free. */
    HP_MUST_USE void *release() noexcept {
        void *start = data_;
        forget();
        return start;
    }
    /* Gives it back, and says how that ended: as hp_pool_free; VD_E_INVALID if there is none.
       There is none after this, whatever it says. */
    HP_MUST_USE HRESULT free() noexcept {
        hp_pool *const pool = pool_;
        const std::size_t bytes = capacity_;
        return detail::result(hp_pool_free(pool, release(), bytes));
    }
    /* Gives it back, if there is one. */
    void reset() noexcept {
        if (data_ != nullptr)
            detail::ignore(free());
    }

    void swap(Buffer &other) noexcept {
        std::swap(pool_, other.pool_);
        std::swap(data_, other.data_);
        std::swap(size_, other.size_);
        std::swap(capacity_, other.capacity_);
    }

  private:
    friend class Class;
    friend class Pool;
    friend class Stream;
    friend class Wait;

    /* Gives back what there is, and owns what `call` takes: `size` bytes of `pool`. */
    template <class Call>
    HRESULT take(hp_pool *pool, std::size_t size, const Call &call) noexcept {
        reset();
        void *start = nullptr;
        const std::uint32_t code = call(&start);
        if (code == HP_NOERROR)
            own(pool, start, size);
        return detail::result(code);
    }

    /* The same for each of `count` of them in the array `buffers`, in one call. */
    template <class Call>
    static HRESULT take_many(hp_pool *pool, std::size_t size, Buffer *buffers, std::size_t count,
                             const Call &call) noexcept {
        void *few[32];
        std::unique_ptr<void *, detail::Free> many;
        void **starts = buffers == nullptr ? nullptr : few;
        for (std::size_t at = 0; starts != nullptr && at < count; at++)
            buffers[at].reset();
        if (starts != nullptr && count > sizeof few / sizeof *few) {
            many.reset(static_cast<void **>(std::calloc(count, sizeof *starts)));
            starts = many.get();
            if (starts == nullptr)
                return detail::result(HP_VD_E_MEMORY);
        }
        const std::uint32_t code = call(starts);
        for (std::size_t at = 0; code == HP_NOERROR && at < count; at++)
            buffers[at].own(pool, starts[at], size);
        return detail::result(code);
    }

    /* Of one that there is none of. */
    void own(hp_pool *pool, void *start, std::size_t size) noexcept {
        pool_ = pool;
        data_ = static_cast<BYTE *>(start);
        size_ = capacity_ = size;
    }

    void forget() noexcept {
        pool_ = nullptr;
        data_ = nullptr;
        size_ = capacity_ = 0;
    }

    hp_pool *pool_ = nullptr;
    BYTE *data_ = nullptr;
    std::size_t size_ = 0;
    std::size_t capacity_ = 0;
};

} // namespace hugepool

#endif /* HUGEPOOL_BUFFER_HPP */
