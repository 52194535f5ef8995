/* A program that has the published names of codes, structures, features, commands and
   calls, as those that were written for the interface have them. */

#include <hugepool.hpp>

#include <cstdio>
#include <cstring>
#include <string>
#include <unistd.h>

using namespace hugepool;

static int failures;

/* A code has one name, and a name is a constant. */
static const char *name_of(HRESULT hr) {
    switch (hr) {
    case NOERROR: return "NOERROR";
    case VD_E_NOTOPEN: return "VD_E_NOTOPEN";
    case VD_E_TIMEOUT: return "VD_E_TIMEOUT";
    case VD_E_ABORT: return "VD_E_ABORT";
    case VD_E_SECURITY: return "VD_E_SECURITY";
    case VD_E_INVALID: return "VD_E_INVALID";
    case VD_E_INSTANCE_NAME: return "VD_E_INSTANCE_NAME";
    case VD_E_NOTSUPPORTED: return "VD_E_NOTSUPPORTED";
    case VD_E_MEMORY: return "VD_E_MEMORY";
    case VD_E_UNEXPECTED: return "VD_E_UNEXPECTED";
    case VD_E_PROTOCOL: return "VD_E_PROTOCOL";
    case VD_E_OPEN: return "VD_E_OPEN";
    case VD_E_CLOSE: return "VD_E_CLOSE";
    case VD_E_BUSY: return "VD_E_BUSY";
    default: return "another";
    }
}

static const char *name_of(VDCommands command) {
    switch (command) {
    case VDC_Read: return "VDC_Read";
    case VDC_Write: return "VDC_Write";
    case VDC_ClearError: return "VDC_ClearError";
    case VDC_Rewind: return "VDC_Rewind";
    case VDC_WriteMark: return "VDC_WriteMark";
    case VDC_SkipMarks: return "VDC_SkipMarks";
    case VDC_SkipBlocks: return "VDC_SkipBlocks";
    case VDC_Load: return "VDC_Load";
    case VDC_GetPosition: return "VDC_GetPosition";
    case VDC_SetPosition: return "VDC_SetPosition";
    case VDC_Discard: return "VDC_Discard";
    case VDC_Flush: return "VDC_Flush";
    case VDC_Snapshot: return "VDC_Snapshot";
    case VDC_MountSnapshot: return "VDC_MountSnapshot";
    case VDC_PrepareToFreeze: return "VDC_PrepareToFreeze";
    case VDC_FileInfoBegin: return "VDC_FileInfoBegin";
    case VDC_FileInfoEnd: return "VDC_FileInfoEnd";
    case VDC_GetError: return "VDC_GetError";
    case VDC_Complete: return "VDC_Complete";
    }
    return "another";
}

static void expect(int line, HRESULT hr, HRESULT expected) {
    if (hr != expected) {
        std::printf("line %d: %s, not %s (%s)\n", line, name_of(hr), name_of(expected),
                    last_error().c_str());
        failures++;
    }
}

#define IS(call, code) expect(__LINE__, (call), (code))

static_assert(VDF_LikeTape == (VDF_FileMarks | VDF_Removable | VDF_Rewind | VDF_Position |
                               VDF_SkipBlocks | VDF_ReversePosition) &&
                  VDF_LikeDisk == VDF_RandomAccess && VDF_LikePipe == 0 &&
                  VDF_Discard == 0x80 && VDF_SnapshotPrepare == 0x400 &&
                  VDF_EnumFrozenFiles == 0x800 && VDF_VSSWriter == 0x1000 &&
                  VDF_RequestComplete == 0x2000 && VDF_WriteMedia == 0x10000 &&
                  VDF_ReadMedia == 0x20000 && VDF_CompleteEnabled == 0x40000 &&
                  VDF_LatchStats == 0x80000000u && VDC_Beginning == 0 && VDC_Current == 1 &&
                  VDC_End == 2,
              "published");

/* The calls of the server's side, from the first to the last. */
static void backup(const char *instance, const char *name) {
    const UINT32 size = 65536;
    VDConfig config = {}, known = {};
    config.deviceCount = 2;
    config.features = VDF_LikePipe;
    config.features |= VDF_Discard;
    config.prefixZoneSize = 512;
    config.alignment = 4096;
    config.softFileMarkBlockSize = 0;
    config.EOMWarningSize = 0;
    config.serverTimeOut = 60 * 1000;

    ServerVirtualDeviceSet vds;
    ClientVirtualDeviceSet client;
    IS(vds.GetConfiguration(&config), VD_E_PROTOCOL);
    IS(vds.Open(instance, name, config), NOERROR);
    IS(client.OpenInSecondaryEx(instance, name), VD_E_PROTOCOL);
    IS(client.GetConfiguration(0, &known), VD_E_PROTOCOL);
    IS(client.GetConfigurationOf(instance, name, 1, &known), VD_E_TIMEOUT);
    IS(client.Close(), VD_E_PROTOCOL);
    IS(vds.GetConfiguration(&config), NOERROR);
    if (config.deviceCount != 2 || config.maxIODepth != 4 || config.bufferAreaSize != 0)
        failures++;

    hp_vd_parameters parameters = {};
    parameters.features = config.features | VDF_WriteMedia;
    parameters.alignment = config.alignment;
    parameters.blockSize = 512;
    parameters.maxTransferSize = size;
    IS(vds.BeginConfiguration(parameters), NOERROR);
    IS(vds.RequestBuffers(size, 0, 2), NOERROR);
    IS(vds.EndConfiguration(), NOERROR);
    IS(vds.GetConfiguration(&config), NOERROR);
    if (config.blockSize != 512 || config.maxTransferSize != size || config.bufferAreaSize == 0)
        failures++;

    while (vds.OpenDevice() == NOERROR)
        config.deviceCount--;
    IS(vds.OpenDevice(), VD_E_OPEN);
    if (config.deviceCount != 0)
        failures++;
    LPVOID buffer, other, none;
    DWORD count, handle;
    BYTE *view;
    IS(vds.AllocateBuffer(&buffer, size, 0), NOERROR);
    IS(vds.AllocateBuffer(&other, size, 4096), NOERROR);
    IS(vds.AllocateBuffer(&none, size, 0), VD_E_MEMORY);
    IS(vds.AllocateBuffer(&none, size, 3), VD_E_INVALID);
    IS(vds.QueryAvailableBuffers(size, 0, &count), NOERROR);
    IS(vds.IsSharedBuffer(buffer), TRUE);
    IS(vds.IsSharedBuffer(&buffer), FALSE);
    IS(client.GetConfigurationOf(instance, name, INFINITE, &known), NOERROR);
    IS(client.OpenInSecondaryEx(instance, name), NOERROR);
    IS(client.OpenInSecondaryEx(instance, name), VD_E_PROTOCOL);
    /* It can close, and open again. */
    IS(client.Close(), NOERROR);
    IS(client.OpenInSecondaryEx(instance, name), NOERROR);
    IS(client.GetConfiguration(INFINITE, &known), NOERROR);
    if (known.deviceCount != 2 || known.prefixZoneSize != 512 || known.blockSize != 512 ||
        known.maxTransferSize != size || known.bufferAreaSize != config.bufferAreaSize)
        failures++;
    IS(vds.GetBufferHandle(buffer, &handle), NOERROR);
    IS(client.MapBufferHandle(handle, &view), NOERROR);
    std::memset(buffer, 7, size);
    if (view[size - 1] != 7)
        failures++;
    IS(client.GetBufferHandle(view, &count), NOERROR);
    IS(vds.FreeBuffer(buffer, size), NOERROR);
    IS(vds.FreeBuffer(buffer, size), VD_E_INVALID);
    IS(vds.IsSharedBuffer(buffer), FALSE);
    IS(vds.CloseDevice(), NOERROR);
    IS(vds.CloseDevice(), NOERROR);
    IS(vds.CloseDevice(), VD_E_CLOSE);
    IS(vds.GetBufferHandle(other, &handle), NOERROR);
    IS(client.MapBufferHandle(handle, &view), NOERROR);
    /* What is out is freed by Close. */
    IS(vds.Close(), NOERROR);
    IS(client.MapBufferHandle(handle, &view), VD_E_CLOSE);
    IS(client.Close(), NOERROR);
}

/* And how it ends otherwise. */
static void ends(const char *name) {
    VDConfig config = {};
    hp_vd_parameters parameters = {};
    BYTE *view;
    parameters.blockSize = 4096;
    parameters.maxTransferSize = 65536;
    for (int aborts = 0; aborts < 2; aborts++) {
        ServerVirtualDeviceSet vds;
        IS(vds.Open(nullptr, name, config), VD_E_NOTSUPPORTED);
        config.deviceCount = 1;
        IS(vds.Open(nullptr, name, config), NOERROR);
        config.deviceCount = 0;
        IS(vds.BeginConfiguration(parameters), NOERROR);
        IS(vds.RequestBuffers(65536, 0, 1), NOERROR);
        IS(vds.EndConfiguration(), NOERROR);
        IS(vds.OpenDevice(), NOERROR);
        ClientVirtualDeviceSet client;
        IS(client.OpenInSecondary(name), NOERROR);
        if (aborts != 0) {
            IS(vds.SignalAbort(), NOERROR);
            IS(vds.BeginConfiguration(parameters), VD_E_ABORT);
            IS(vds.RequestBuffers(65536, 0, 1), VD_E_ABORT);
            IS(vds.EndConfiguration(), VD_E_ABORT);
            IS(vds.CloseDevice(), VD_E_ABORT);
            IS(client.MapBufferHandle(1, &view), VD_E_ABORT);
            IS(vds.Close(), NOERROR);
        } else {
            IS(vds.Close(), VD_E_PROTOCOL);
        }
        /* The client learns that it did not end well, however late it looks. */
        IS(client.MapBufferHandle(1, &view), VD_E_ABORT);
        IS(client.GetConfiguration(INFINITE, &config), VD_E_ABORT);
        /* It has ended, and its name can be had again. */
        IS(vds.CloseDevice(), VD_E_PROTOCOL);
        IS(vds.Close(), VD_E_PROTOCOL);
    }
}

int main() {
    const std::string name = "published " + std::to_string(getpid());
    if (std::string(name_of(VDC_Complete)) != "VDC_Complete" || SUCCEEDED(VD_E_ABORT) ||
        FAILED(NOERROR) || INFINITE != 0xffffffff)
        failures++;
    backup("instance", name.c_str());
    backup(nullptr, name.c_str());
    ends(name.c_str());
    std::printf("%d failures\n", failures);
    return failures != 0;
}
