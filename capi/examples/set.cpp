/*
 * A virtual device set and a client in another process: the server fills a buffer and says
 * its handle, the client reads it in place and writes into the prefix zone.
 *
 *   g++ set.cpp $(pkg-config --cflags --libs hugepool)
 */

#include <hugepool.hpp>

#include <cstdio>
#include <cstring>
#include <numeric>
#include <string>
#include <sys/wait.h>
#include <unistd.h>

using namespace hugepool;

static const UINT32 size = 1 << 20;
static const UINT32 prefix = 512;

static bool good(HRESULT result, const char *call) {
    if (FAILED(result))
        std::fprintf(stderr, "%s: %#x, %s\n", call, static_cast<unsigned>(result),
                     last_error().c_str());
    return !FAILED(result);
}

static int client(const char *name, DWORD handle) {
    ClientVirtualDeviceSet set;
    BYTE *buffer;
    if (!good(set.OpenInSecondary(name), "OpenInSecondary") ||
        !good(set.MapBufferHandle(handle, &buffer), "MapBufferHandle"))
        return 1;
    const std::uint64_t sum = std::accumulate(buffer, buffer + size, std::uint64_t(0));
    std::memcpy(buffer - prefix, &sum, sizeof sum);
    return 0;
}

int main(int argc, char **argv) {
    if (argc == 3)
        return client(argv[1], static_cast<DWORD>(std::stoul(argv[2])));

    const std::string name = "example of a set " + std::to_string(getpid());
    VDConfig wishes = {};
    wishes.deviceCount = 1;
    wishes.prefixZoneSize = prefix;
    hp_vd_parameters parameters = {};
    parameters.blockSize = 4096;
    parameters.maxTransferSize = size;

    ServerVirtualDeviceSet set;
    void *buffer;
    DWORD handle;
    if (!good(set.Open(nullptr, name.c_str(), wishes), "Open") ||
        !good(set.BeginConfiguration(parameters), "BeginConfiguration") ||
        !good(set.RequestBuffers(size, 0, 8), "RequestBuffers") ||
        !good(set.EndConfiguration(), "EndConfiguration") ||
        !good(set.AllocateBuffer(&buffer, size, 0), "AllocateBuffer") ||
        !good(set.GetBufferHandle(buffer, &handle), "GetBufferHandle"))
        return 1;
    std::memset(buffer, 7, size);

    const pid_t child = fork();
    if (child == 0) {
        execl("/proc/self/exe", argv[0], name.c_str(), std::to_string(handle).c_str(), nullptr);
        _exit(1);
    }
    int status = 0;
    if (waitpid(child, &status, 0) != child || status != 0)
        return 1;

    std::uint64_t sum;
    std::memcpy(&sum, static_cast<BYTE *>(buffer) - prefix, sizeof sum);
    std::printf("the client counted %llu\n", static_cast<unsigned long long>(sum));
    if (!good(set.FreeBuffer(buffer, size), "FreeBuffer") || !good(set.Close(), "Close"))
        return 1;
    return sum == 7ull * size ? 0 : 1;
}
