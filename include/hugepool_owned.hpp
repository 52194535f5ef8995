/*
 * hugepool for C++: when the objects of hugepool.h end that those of hugepool_pool.hpp own.
 * Included by that; C++11.
 */

#ifndef HUGEPOOL_OWNED_HPP
#define HUGEPOOL_OWNED_HPP

#include "hugepool_codes.hpp"

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <utility>

namespace hugepool {

namespace detail {

/* Ends an object of hugepool.h. */
struct End {
    void operator()(hp_builder *object) const noexcept { hp_builder_release(object); }
    void operator()(hp_class *object) const noexcept { hp_class_release(object); }
    void operator()(hp_stream *object) const noexcept { hp_stream_release(object); }
    void operator()(hp_token *object) const noexcept { hp_token_release(object); }
    void operator()(hp_publication *object) const noexcept { hp_publication_release(object); }
    void operator()(hp_wait *object) const noexcept { hp_wait_end(object); }
};

template <class Object> using Owned = std::unique_ptr<Object, End>;

/* Ends what `place` has, and puts there what `make` makes. */
template <class Object, class Make> HRESULT put(Owned<Object> &place, Make make) noexcept {
    place.reset();
    Object *made = nullptr;
    const std::uint32_t code = make(&made);
    place.reset(made);
    return result(code);
}

/* One of those that a pool stays for. */
class Keeper {
  public:
    Keeper() noexcept = default;
    Keeper(const Keeper &other) noexcept : pool_(other.pool_), keepers_(other.keepers_) {
        if (keepers_ != nullptr)
            keepers_->fetch_add(1, std::memory_order_relaxed);
    }
    Keeper(Keeper &&other) noexcept { swap(other); }
    Keeper &operator=(Keeper other) noexcept {
        swap(other);
        return *this;
    }
    ~Keeper() {
        /* Acquire and release: what the others did to it comes before its end. */
        if (keepers_ != nullptr && keepers_->fetch_sub(1, std::memory_order_acq_rel) == 1) {
            delete keepers_;
            /* Refused if Buffers are out, which will go back to it. */
            detail::ignore(hp_pool_try_release(pool_));
        }
    }

    /* Has it keep `pool`, and nobody else yet. False: there is no heap for that. */
    bool keep(hp_pool *pool) noexcept {
        *this = Keeper();
        keepers_ = pool == nullptr ? nullptr : new (std::nothrow) std::atomic<std::size_t>(1);
        pool_ = keepers_ == nullptr ? nullptr : pool;
        return pool_ == pool;
    }
    hp_pool *get() const noexcept { return pool_; }

  private:
    void swap(Keeper &other) noexcept {
        std::swap(pool_, other.pool_);
        std::swap(keepers_, other.keepers_);
    }

    hp_pool *pool_ = nullptr;
    std::atomic<std::size_t> *keepers_ = nullptr;
};

/* An object that is made from a pool, and ends before it. */
template <class Object> class Part {
  public:
    Part() noexcept = default;
    Part(Part &&) noexcept = default;
    Part &operator=(Part &&other) noexcept {
        object_ = std::move(other.object_);
        pool_ = std::move(other.pool_);
        return *this;
    }

    template <class Make> HRESULT put(const Keeper &pool, Make make) noexcept {
        const HRESULT result = detail::put(object_, make);
        pool_ = object_ == nullptr ? Keeper() : pool;
        return result;
    }
    Object *get() const noexcept { return object_.get(); }
    hp_pool *pool() const noexcept { return pool_.get(); }
    const Keeper &keeper() const noexcept { return pool_; }

  private:
    Keeper pool_;
    Owned<Object> object_;
};

} // namespace detail

} // namespace hugepool

#endif /* HUGEPOOL_OWNED_HPP */
