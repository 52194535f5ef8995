/*
 * A reader and a writer that share a pool: the reader takes buffers, fills them and hands them
 * on; the writer writes each with a header before it, in one piece, and gives it back. The
 * reader waits while all buffers are on their way.
 *
 *   g++ -std=c++17 pool.cpp $(pkg-config --cflags --libs hugepool) -pthread
 */

#include <hugepool.hpp>

#include <unistd.h>

#include <condition_variable>
#include <cstdio>
#include <cstring>
#include <mutex>
#include <queue>
#include <thread>

using namespace hugepool;

static constexpr std::size_t size = 64 << 10;
static constexpr std::size_t blocks = 1000;

/* What stands before each block, in the buffer's prefix zone. */
struct Header {
    std::size_t number, length;
};

static std::mutex lock;
static std::condition_variable changed;
static std::queue<Buffer> filled;

static bool good(HRESULT result, const char *call) {
    if (FAILED(result))
        std::fprintf(stderr, "%s: %s\n", call, last_error().c_str());
    return !FAILED(result);
}

static void hand_on(Buffer buffer) {
    std::lock_guard<std::mutex> guard(lock);
    filled.push(std::move(buffer));
    changed.notify_one();
}

static void fill_all(const Pool &pool) {
    for (std::size_t number = 0; number < blocks; number++) {
        Buffer buffer;
        if (!good(pool.allocate_timeout(size, 4096, INFINITE, buffer), "allocate"))
            break;
        std::memset(buffer.data(), static_cast<int>(number), size);
        const Header header = {number, buffer.size()};
        std::memcpy(buffer.data() - sizeof header, &header, sizeof header);
        hand_on(std::move(buffer));
    }
    hand_on(Buffer());
}

static std::size_t write_all(int file) {
    for (std::size_t written = 0;;) {
        std::unique_lock<std::mutex> guard(lock);
        changed.wait(guard, [] { return !filled.empty(); });
        const Buffer buffer = std::move(filled.front());
        filled.pop();
        guard.unlock();
        const std::size_t bytes = sizeof(Header) + buffer.size();
        if (!buffer || write(file, buffer.data() - sizeof(Header), bytes) < 0)
            return written;
        written += bytes;
        if (lseek(file, 0, SEEK_SET) != 0)
            return 0;
    }
}

int main() {
    Pool pool;
    if (!good(Builder().reserve(size, 4096, 4).prefix_zone(sizeof(Header)).build(pool), "build"))
        return 1;
    std::FILE *file = std::tmpfile();
    if (file == nullptr)
        return 1;
    std::thread reader(fill_all, std::cref(pool));
    const std::size_t written = write_all(fileno(file));
    reader.join();
    std::fclose(file);

    std::size_t home = 0;
    if (!good(pool.available(size, 4096, home), "available"))
        return 1;
    std::printf("%zu blocks through %zu buffers, all home\n", written / (sizeof(Header) + size),
                home);
    return written == blocks * (sizeof(Header) + size) && home == 4 ? 0 : 1;
}
