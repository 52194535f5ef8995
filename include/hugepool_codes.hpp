/*
 * hugepool for C++: results, which are NOERROR or VD_E_*, E_*, as a signed HRESULT: errors are
 * negative. They are constants, for `case` and for `==`. Included by hugepool.hpp; C++11.
 *
 * Where Microsoft's vdierror.h came first, the codes are its macros, of the same value.
 */

#ifndef HUGEPOOL_CODES_HPP
#define HUGEPOOL_CODES_HPP

#include "hugepool.h"

#include <cstdint>
#include <string>

namespace hugepool {

using HRESULT = std::int32_t;
using DWORD = std::uint32_t;
using UINT32 = std::uint32_t;
using BYTE = unsigned char;
using LPVOID = void *;
using LPCSTR = const char *;

namespace detail {

constexpr HRESULT result(std::uint32_t code) { return static_cast<HRESULT>(code); }

/* For what nobody asks for. */
template <class Result> void ignore(Result) noexcept {}

} // namespace detail

/* The codes. Where a header that came first has a name as a macro, that macro is it. */
#ifndef NOERROR
constexpr HRESULT NOERROR = detail::result(HP_NOERROR);
#endif
#ifndef VD_E_ABORT
constexpr HRESULT VD_E_NOTOPEN = detail::result(HP_VD_E_NOTOPEN);
constexpr HRESULT VD_E_TIMEOUT = detail::result(HP_VD_E_TIMEOUT);
constexpr HRESULT VD_E_ABORT = detail::result(HP_VD_E_ABORT);
constexpr HRESULT VD_E_SECURITY = detail::result(HP_VD_E_SECURITY);
constexpr HRESULT VD_E_INVALID = detail::result(HP_VD_E_INVALID);
constexpr HRESULT VD_E_INSTANCE_NAME = detail::result(HP_VD_E_INSTANCE_NAME);
constexpr HRESULT VD_E_NOTSUPPORTED = detail::result(HP_VD_E_NOTSUPPORTED);
constexpr HRESULT VD_E_MEMORY = detail::result(HP_VD_E_MEMORY);
constexpr HRESULT VD_E_UNEXPECTED = detail::result(HP_VD_E_UNEXPECTED);
constexpr HRESULT VD_E_PROTOCOL = detail::result(HP_VD_E_PROTOCOL);
constexpr HRESULT VD_E_OPEN = detail::result(HP_VD_E_OPEN);
constexpr HRESULT VD_E_CLOSE = detail::result(HP_VD_E_CLOSE);
constexpr HRESULT VD_E_BUSY = detail::result(HP_VD_E_BUSY);
#endif
/* Codes that the interface has none for. Why a buffer was not taken back: */
constexpr HRESULT E_FOREIGN = detail::result(HP_E_FOREIGN);
constexpr HRESULT E_INTERIOR = detail::result(HP_E_INTERIOR);
constexpr HRESULT E_NOT_ALLOCATED = detail::result(HP_E_NOT_ALLOCATED);
constexpr HRESULT E_WRONG_SIZE = detail::result(HP_E_WRONG_SIZE);
/* That a token ended a wait, and that a wait goes on, which is no error. */
constexpr HRESULT E_CANCELLED = detail::result(HP_E_CANCELLED);
constexpr HRESULT PENDING = detail::result(HP_PENDING);
/* What IsSharedBuffer gives. */
#ifndef TRUE
constexpr HRESULT TRUE = 1;
#endif
#ifndef FALSE
constexpr HRESULT FALSE = 0;
#endif
/* A limit of time that is none, in milliseconds. */
#ifndef INFINITE
constexpr DWORD INFINITE = 0xffffffff;
#endif
/* Whether a result is one, or an error. Not for that of IsSharedBuffer. */
#ifndef SUCCEEDED
constexpr bool SUCCEEDED(HRESULT result) { return result >= 0; }
#endif
#ifndef FAILED
constexpr bool FAILED(HRESULT result) { return result < 0; }
#endif

/* What the calling thread's last failed call said. */
inline std::string last_error() {
    std::string text(hp_last_error(nullptr, 0) + 1, '\0');
    text.resize(hp_last_error(&text[0], text.size()));
    return text;
}

/* Its code: see hp_last_code. */
HP_MUST_USE inline HRESULT last_code() noexcept { return detail::result(hp_last_code()); }

} // namespace hugepool

#endif /* HUGEPOOL_CODES_HPP */
