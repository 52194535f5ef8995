/* The C++ header beside Microsoft's: VENDOR_FIRST says which comes first. */

#ifdef VENDOR_FIRST
#include "published/vdi.h"
#include "published/vdierror.h"
#include <hugepool.hpp>
#else
#include <hugepool.hpp>
#include "published/vdi.h"
#include "published/vdierror.h"
#endif

#include <cstdio>

static int failures;

#define CHECK(what)                                                                        \
    do {                                                                                   \
        if (!(what)) {                                                                     \
            std::printf("line %d: %s\n", __LINE__, #what);                                 \
            failures++;                                                                    \
        }                                                                                  \
    } while (0)

/* Whichever names they are, they are the same numbers. */
static_assert(VD_E_ABORT == static_cast<HRESULT>(HP_VD_E_ABORT) &&
                  VD_E_BUSY == static_cast<HRESULT>(HP_VD_E_BUSY) && NOERROR == HP_NOERROR &&
                  static_cast<int>(hugepool::VDF_ReadMedia) == static_cast<int>(VDF_ReadMedia) &&
                  static_cast<unsigned>(hugepool::VDF_LatchStats) ==
                      static_cast<unsigned>(VDF_LatchStats) &&
                  static_cast<int>(hugepool::VDC_Write) == static_cast<int>(VDC_Write),
              "published");

static const char *text(HRESULT result) {
    switch (result) {
    case NOERROR: return "carried out";
    case VD_E_ABORT: return "aborted";
    case VD_E_PROTOCOL: return "the wrong state";
    case VD_E_NOTSUPPORTED: return "not supported";
    default: return "something else";
    }
}

int main() {
    ClientVirtualDeviceSet vendors;
    CHECK(SUCCEEDED(vendors.Close()));

    /* The set takes the vendor's structure as it is. */
    VDConfig config = {};
    config.deviceCount = 65;
    config.features = VDF_RandomAccess;
    hugepool::ServerVirtualDeviceSet set;
    CHECK(set.Open(nullptr, nullptr, config) == VD_E_NOTSUPPORTED);
    config.deviceCount = 2;
    CHECK(set.Open(nullptr, nullptr, config) == NOERROR);
    VDConfig known = {};
    CHECK(set.GetConfiguration(&known) == NOERROR);
    CHECK(known.deviceCount == 2 && known.features == VDF_RandomAccess && known.maxIODepth == 4);
    CHECK(set.GetConfiguration(static_cast<VDConfig *>(nullptr)) == VD_E_INVALID);
    CHECK(set.IsSharedBuffer(&set) == FALSE);
    CHECK(set.SignalAbort() == NOERROR);
    CHECK(FAILED(set.GetConfiguration(&known)));
    std::printf("%s\n", text(set.GetConfiguration(&known)));
    CHECK(set.Close() == NOERROR);
    hugepool::ClientVirtualDeviceSet client;
    CHECK(client.get() != nullptr);
    std::printf("%d failures\n", failures);
    return failures != 0;
}
