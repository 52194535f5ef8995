/* The C++ wrapper: what it says is what the C interface says, and objects end once. */

#include <hugepool.hpp>

#include <cstdio>
#include <cstring>
#include <type_traits>
#include <unistd.h>

using namespace hugepool;

static int failures;

#define CHECK(what)                                                                        \
    do {                                                                                   \
        if (!(what)) {                                                                     \
            std::printf("line %d: %s (%s)\n", __LINE__, #what, last_error().c_str());      \
            failures++;                                                                    \
        }                                                                                  \
    } while (0)

#define IS(call, code) CHECK((call) == static_cast<HRESULT>(code))
#define OK(call) IS(call, HP_NOERROR)

/* The names and arguments that vendors' code has. */
static_assert(
    std::is_same<HRESULT (ServerVirtualDeviceSet::*)(DWORD, DWORD, DWORD),
                 decltype(&ServerVirtualDeviceSet::RequestBuffers)>::value &&
        std::is_same<HRESULT (ServerVirtualDeviceSet::*)(DWORD, DWORD, DWORD *),
                     decltype(&ServerVirtualDeviceSet::QueryAvailableBuffers)>::value &&
        std::is_same<HRESULT (ServerVirtualDeviceSet::*)(LPVOID *, UINT32, UINT32),
                     decltype(&ServerVirtualDeviceSet::AllocateBuffer)>::value &&
        std::is_same<HRESULT (ServerVirtualDeviceSet::*)(LPVOID, UINT32),
                     decltype(&ServerVirtualDeviceSet::FreeBuffer)>::value &&
        std::is_same<HRESULT (ClientVirtualDeviceSet::*)(DWORD, BYTE **),
                     decltype(&ClientVirtualDeviceSet::MapBufferHandle)>::value &&
        std::is_same<HRESULT (ClientVirtualDeviceSet::*)(const BYTE *, DWORD *),
                     decltype(&ClientVirtualDeviceSet::GetBufferHandle)>::value,
    "those of the reference");
static_assert(!std::is_copy_constructible<ServerVirtualDeviceSet>::value &&
                  !std::is_copy_assignable<ClientVirtualDeviceSet>::value &&
                  std::is_nothrow_move_constructible<ServerVirtualDeviceSet>::value &&
                  std::is_nothrow_move_assignable<ClientVirtualDeviceSet>::value,
              "a set ends once");

static const UINT32 size = 65536;
static LPVOID const junk = &failures;

static void calls(const char *name) {
    ServerVirtualDeviceSet set;
    ClientVirtualDeviceSet client;
    VDConfig wishes = {}, config = {};
    hp_vd_parameters parameters = {};
    DWORD count = 0, handle = 0, same = 0;
    LPVOID first = junk, second = junk;
    BYTE *view = nullptr, *own = nullptr;
    wishes.deviceCount = 1;
    wishes.prefixZoneSize = 64;
    parameters.blockSize = 512;
    parameters.alignment = 4096;
    parameters.maxTransferSize = 1 << 20;

    IS(set.GetConfiguration(&config), HP_VD_E_PROTOCOL);
    CHECK(last_error().find("GetConfiguration") != std::string::npos);
    IS(client.OpenInSecondaryEx("instance", name), HP_VD_E_PROTOCOL);
    IS(client.OpenInSecondaryEx("instance", nullptr), HP_VD_E_INVALID);
    OK(set.Open("instance", name, wishes));
    IS(set.Open("instance", name, wishes), HP_VD_E_PROTOCOL);
    IS(set.Open("instance", "another", wishes), HP_VD_E_PROTOCOL);
    /* A set that has no name yet does not get one that is taken. */
    {
        ServerVirtualDeviceSet second_set;
        IS(second_set.Open("instance", name, wishes), HP_VD_E_OPEN);
        OK(second_set.Open(nullptr, nullptr, wishes));
        IS(second_set.Open("instance", name, wishes), HP_VD_E_PROTOCOL);
    }
    IS(client.OpenInSecondaryEx("instance", name), HP_VD_E_PROTOCOL);
    OK(set.BeginConfiguration(parameters));
    OK(set.GetConfiguration(&config));
    CHECK(config.blockSize == 512 && config.alignment == 4096);
    OK(set.RequestBuffers(size, 0, 2));
    OK(set.EndConfiguration());
    OK(set.QueryAvailableBuffers(size, 0, &count));
    CHECK(count == 2);
    OK(set.OpenDevice());
    OK(client.OpenInSecondaryEx("instance", name));
    OK(set.AllocateBuffer(&first, size, 0));
    OK(set.AllocateBufferWithin(&second, size, 4096, 0));
    IS(set.AllocateBufferWithin(&first, size, 0, 1), HP_VD_E_TIMEOUT);
    CHECK(first == nullptr);
    first = junk;
    IS(set.AllocateBuffer(&first, size, 0), HP_VD_E_MEMORY);
    CHECK(first == nullptr);
    CHECK(FAILED(set.AllocateBuffer(nullptr, size, 0)));
    CHECK(set.IsSharedBuffer(second) == TRUE && set.IsSharedBuffer(junk) == FALSE);
    OK(set.GetBufferHandle(second, &handle));
    OK(client.MapBufferHandle(handle, &view));
    std::memset(second, 9, size);
    CHECK(view[0] == 9 && view[size - 1] == 9);
    OK(client.GetBufferHandle(view, &same));
    CHECK(same == handle);
    OK(set.MapBufferHandle(same, &own));
    CHECK(own == second);
    IS(set.MapBufferHandle(same, nullptr), HP_VD_E_INVALID);
    IS(client.MapBufferHandle(handle, nullptr), HP_VD_E_INVALID);
    IS(set.FreeBuffer(second, size + 1), HP_VD_E_INVALID);
    OK(set.FreeBuffer(second, size));
    IS(client.MapBufferHandle(handle, &view), HP_VD_E_INVALID);
    IS(set.MapBufferHandle(handle, &own), HP_VD_E_INVALID);
    CHECK(view == nullptr && own == nullptr);
    CHECK(set.IsSharedBuffer(second) == FALSE);
    OK(client.Refresh());
    OK(set.CloseDevice());
    IS(set.CloseDevice(), HP_VD_E_CLOSE);
    IS(set.RequestBuffers(size, 0, 1), HP_VD_E_PROTOCOL);

    /* What is moved goes on, and what was moved from is refused. */
    ServerVirtualDeviceSet moved(std::move(set));
    ClientVirtualDeviceSet other;
    other = std::move(client);
    IS(set.Close(), HP_VD_E_INVALID);
    IS(client.Refresh(), HP_VD_E_INVALID);
    OK(other.Refresh());
    OK(moved.SignalAbort());
    IS(other.Refresh(), HP_VD_E_ABORT);
    OK(moved.Close());
    /* The name is free, though the object lives. */
    {
        ServerVirtualDeviceSet next;
        OK(next.Open("instance", name, wishes));
        OK(next.Close());
    }
    IS(moved.Close(), HP_VD_E_PROTOCOL);
    set = std::move(moved);
    IS(set.SignalAbort(), HP_VD_E_PROTOCOL);
    CHECK(set.get() != nullptr && other.get() != nullptr);
}

static void descriptions() {
    hp_builder *builder = nullptr;
    VDConfig wishes = {};
    wishes.deviceCount = 65;
    CHECK(hp_builder_new(&builder) == HP_NOERROR);
    hp_builder_prefault(builder, false);
    ServerVirtualDeviceSet set(builder);
    hp_builder_release(builder);
    IS(set.Open(nullptr, nullptr, wishes), HP_VD_E_NOTSUPPORTED);
    /* It is not shared, so it has no clients. */
    IS(set.Open(nullptr, "a name", wishes), HP_VD_E_PROTOCOL);
    wishes.deviceCount = 1;
    OK(set.Open(nullptr, nullptr, wishes));
    OK(set.Close());
    ServerVirtualDeviceSet none(nullptr);
    IS(none.Close(), HP_VD_E_INVALID);
}

int main() {
    char name[64];
    std::snprintf(name, sizeof name, "wrapper %d", static_cast<int>(getpid()));
    /* A name can be had again when its set has gone. */
    for (int i = 0; i < 2; i++)
        calls(name);
    descriptions();
    std::printf("%d failures\n", failures);
    return failures != 0;
}
