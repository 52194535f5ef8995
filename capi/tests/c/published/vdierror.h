/* A stand-in for Microsoft's header of this name: it has the published names of the codes
   as macros, as that has them. */

#ifndef VDIERROR_H_
#define VDIERROR_H_

#define MAKE_HRESULT(sev, fac, code) \
    ((int)(((unsigned)(sev) << 31) | ((unsigned)(fac) << 16) | (unsigned)(code)))
#define VD_ERROR(code) MAKE_HRESULT(1, 0x77, code)

#define VD_E_NOTOPEN VD_ERROR(2)
#define VD_E_TIMEOUT VD_ERROR(3)
#define VD_E_ABORT VD_ERROR(4)
#define VD_E_SECURITY VD_ERROR(5)
#define VD_E_INVALID VD_ERROR(6)
#define VD_E_INSTANCE_NAME VD_ERROR(7)
#define VD_E_NOTSUPPORTED VD_ERROR(9)
#define VD_E_MEMORY VD_ERROR(10)
#define VD_E_UNEXPECTED VD_ERROR(11)
#define VD_E_PROTOCOL VD_ERROR(12)
#define VD_E_OPEN VD_ERROR(13)
#define VD_E_CLOSE VD_ERROR(14)
#define VD_E_BUSY VD_ERROR(15)

#endif
