/* A stand-in for Microsoft's header of this name, as far as both headers have names in
   common: structures, numbers and a class, none of them in a namespace; and what the
   Windows headers that it includes define. WORD32 is uint32_t on Linux, unsigned long on
   Windows. */

#ifndef __vdi_h__
#define __vdi_h__

#include <stdint.h>

#ifndef WORD32
#define WORD32 uint32_t
#endif

#define NOERROR 0
#define TRUE 1
#define FALSE 0
#define INFINITE 0xffffffff
#define SUCCEEDED(hr) (((HRESULT)(hr)) >= 0)
#define FAILED(hr) (((HRESULT)(hr)) < 0)

typedef int HRESULT;
typedef uint32_t DWORD;
typedef unsigned char BYTE;

struct VDConfig {
    WORD32 deviceCount;
    WORD32 features;
    WORD32 prefixZoneSize;
    WORD32 alignment;
    WORD32 softFileMarkBlockSize;
    WORD32 EOMWarningSize;
    WORD32 serverTimeOut;
    WORD32 blockSize;
    WORD32 maxIODepth;
    WORD32 maxTransferSize;
    WORD32 bufferAreaSize;
};

enum VDFeatures {
    VDF_LikePipe = 0,
    VDF_RandomAccess = 0x200,
    VDF_WriteMedia = 0x10000,
    VDF_ReadMedia = 0x20000,
    VDF_LatchStats = 0x80000000
};

enum VDCommands { VDC_Read = 1, VDC_Write = 2 };

class ClientVirtualDeviceSet {
  public:
    int Close() { return NOERROR; }
};

#endif
