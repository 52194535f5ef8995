/*
 * hugepool for C++: the two sides of a virtual device set, with the names and the order of
 * arguments of Microsoft's VDI reference. Header only; C++11; over hugepool.h.
 *
 * What differs from the reference, on purpose:
 *
 * - `Open` also takes what the client wishes. There, the client has said so by `Create`,
 *   which is not part of this library.
 * - `BeginConfiguration` takes its five numbers by name (`hp_vd_parameters`): the reference
 *   and the published header give two of them in different orders.
 * - The fields of `VDConfig` have C names (`device_count` for `deviceCount`).
 * - The set hands out no device objects: `OpenDevice` and `CloseDevice` count.
 * - `AllocateBufferWithin`, which waits, and handles on the server's side, are additions.
 *
 * Names are UTF-8. Results are HP_NOERROR or HP_VD_E_*, as a signed HRESULT: errors are
 * negative. `IsSharedBuffer` gives TRUE (1) or FALSE (0) in its place.
 *
 * An object may be moved while nobody uses it; its calls may be made by any thread.
 */

#ifndef HUGEPOOL_HPP
#define HUGEPOOL_HPP

#include "hugepool.h"

#include <atomic>
#include <cstdint>
#include <string>
#include <utility>

namespace hugepool {

using HRESULT = std::int32_t;
using DWORD = std::uint32_t;
using UINT32 = std::uint32_t;
using BYTE = unsigned char;
using LPVOID = void *;
using LPCSTR = const char *;
using VDConfig = hp_vd_config;

/* Whether a result is an error. Not for that of IsSharedBuffer. */
inline bool failed(HRESULT result) { return result < 0; }

/* What the calling thread's last failed call said. */
inline std::string last_error() {
    std::string text(hp_last_error(nullptr, 0) + 1, '\0');
    text.resize(hp_last_error(&text[0], text.size()));
    return text;
}

namespace detail {

inline HRESULT result(std::uint32_t code) { return static_cast<HRESULT>(code); }

/* The name by which a set of an instance (null: the default one) is published. */
inline std::string full_name(LPCSTR instance, LPCSTR name) {
    return instance != nullptr && *instance != '\0' ? std::string(instance) + '/' + name
                                                    : std::string(name);
}

} // namespace detail

/* The server's side: IServerVirtualDeviceSet2. */
class ServerVirtualDeviceSet {
  public:
    /* A set that is not open. */
    ServerVirtualDeviceSet() { hp_vdi_new(&set_); }

    /* One whose buffers are mapped as `builder` says. */
    explicit ServerVirtualDeviceSet(const hp_builder *builder) {
        hp_vdi_new_with(builder, &set_);
    }

    ServerVirtualDeviceSet(ServerVirtualDeviceSet &&other) noexcept { swap(other); }
    ServerVirtualDeviceSet &operator=(ServerVirtualDeviceSet &&other) noexcept {
        ServerVirtualDeviceSet gone(std::move(other));
        swap(gone);
        return *this;
    }
    ServerVirtualDeviceSet(const ServerVirtualDeviceSet &) = delete;
    ServerVirtualDeviceSet &operator=(const ServerVirtualDeviceSet &) = delete;

    ~ServerVirtualDeviceSet() {
        hp_publication_release(publication_);
        hp_vdi_release(set_);
    }

    /* Opens the set, and lets clients open it by these names; by none if `lpName` is null.
       `who` says whom: this process's own user if it is null. One call at a time. */
    HRESULT Open(LPCSTR lpInstanceName, LPCSTR lpName, const VDConfig &client,
                 const hp_peers *who = nullptr) {
        hp_publication *publication = nullptr;
        VDConfig known;
        /* One that has been opened is not published first. */
        if (hp_vdi_get_configuration(set_, &known) != HP_VD_E_PROTOCOL)
            return detail::result(hp_vdi_open(set_, &client));
        if (lpName != nullptr) {
            const std::string name = detail::full_name(lpInstanceName, lpName);
            const std::uint32_t code = hp_vdi_publish(set_, name.c_str(), who, &publication);
            if (code != HP_NOERROR)
                return detail::result(code);
        }
        const std::uint32_t code = hp_vdi_open(set_, &client);
        if (code == HP_NOERROR)
            publication = publication_.exchange(publication);
        hp_publication_release(publication);
        return detail::result(code);
    }

    HRESULT GetConfiguration(VDConfig *pCfg) {
        return detail::result(hp_vdi_get_configuration(set_, pCfg));
    }

    HRESULT BeginConfiguration(const hp_vd_parameters &parameters) {
        return detail::result(hp_vdi_begin_configuration(set_, &parameters));
    }

    HRESULT EndConfiguration() { return detail::result(hp_vdi_end_configuration(set_)); }

    HRESULT RequestBuffers(DWORD dwSize, DWORD dwAlignment, DWORD dwCount) {
        return detail::result(hp_vdi_request_buffers(set_, dwSize, dwAlignment, dwCount));
    }

    HRESULT QueryAvailableBuffers(DWORD dwSize, DWORD dwAlignment, DWORD *pCount) {
        return detail::result(
            hp_vdi_query_available_buffers(set_, dwSize, dwAlignment, pCount));
    }

    /* What is done with the device is the caller's. */
    HRESULT OpenDevice() { return detail::result(hp_vdi_open_device(set_)); }

    HRESULT CloseDevice() { return detail::result(hp_vdi_close_device(set_)); }

    HRESULT AllocateBuffer(LPVOID *ppBuffer, UINT32 dwSize, UINT32 dwAlignment) {
        return detail::result(hp_vdi_allocate_buffer(set_, ppBuffer, dwSize, dwAlignment));
    }

    /* As AllocateBuffer, and waits up to `dwMilliseconds` (0xffffffff: for ever). */
    HRESULT AllocateBufferWithin(LPVOID *ppBuffer, UINT32 dwSize, UINT32 dwAlignment,
                                 UINT32 dwMilliseconds) {
        return detail::result(hp_vdi_allocate_buffer_timeout(set_, ppBuffer, dwSize,
                                                             dwAlignment, dwMilliseconds));
    }

    HRESULT FreeBuffer(LPVOID pBuffer, UINT32 dwSize) {
        return detail::result(hp_vdi_free_buffer(set_, pBuffer, dwSize));
    }

    /* TRUE (1) or FALSE (0). */
    HRESULT IsSharedBuffer(const void *pBuffer) {
        return detail::result(hp_vdi_is_shared_buffer(set_, pBuffer));
    }

    HRESULT SignalAbort() { return detail::result(hp_vdi_signal_abort(set_)); }

    /* The name can be had again. */
    HRESULT Close() {
        const std::uint32_t code = hp_vdi_close(set_);
        if (code == HP_NOERROR)
            hp_publication_release(publication_.exchange(nullptr));
        return detail::result(code);
    }

    /* By which clients know a buffer that is out. */
    HRESULT GetBufferHandle(const void *pBuffer, DWORD *pBufferHandle) {
        return detail::result(hp_vdi_get_buffer_handle(set_, pBuffer, pBufferHandle));
    }

    /* The buffer that a client names. */
    HRESULT MapBufferHandle(DWORD dwBuffer, BYTE **ppBuffer) {
        hp_view view = {};
        const std::uint32_t code =
            hp_vdi_view(set_, dwBuffer, ppBuffer == nullptr ? nullptr : &view);
        if (ppBuffer != nullptr)
            *ppBuffer = static_cast<BYTE *>(view.start);
        return detail::result(code);
    }

    /* For the calls of hugepool.h. */
    hp_vdi *get() const { return set_; }

  private:
    void swap(ServerVirtualDeviceSet &other) {
        std::swap(set_, other.set_);
        publication_ = other.publication_.exchange(publication_);
    }

    hp_vdi *set_ = nullptr;
    std::atomic<hp_publication *> publication_{nullptr};
};

/* A client's side, as far as buffers go: IClientVirtualDeviceSet2. */
class ClientVirtualDeviceSet {
  public:
    ClientVirtualDeviceSet() { hp_client_new(&client_); }

    ClientVirtualDeviceSet(ClientVirtualDeviceSet &&other) noexcept {
        std::swap(client_, other.client_);
    }
    ClientVirtualDeviceSet &operator=(ClientVirtualDeviceSet &&other) noexcept {
        ClientVirtualDeviceSet gone(std::move(other));
        std::swap(client_, gone.client_);
        return *this;
    }
    ClientVirtualDeviceSet(const ClientVirtualDeviceSet &) = delete;
    ClientVirtualDeviceSet &operator=(const ClientVirtualDeviceSet &) = delete;

    ~ClientVirtualDeviceSet() { hp_client_release(client_); }

    /* `who` says who the server may be: this process's own user if it is null. */
    HRESULT OpenInSecondary(LPCSTR lpSetName, const hp_peers *who = nullptr) {
        return detail::result(hp_client_open_in_secondary(client_, lpSetName, who));
    }

    HRESULT OpenInSecondaryEx(LPCSTR lpInstanceName, LPCSTR lpSetName,
                              const hp_peers *who = nullptr) {
        if (lpSetName == nullptr)
            return OpenInSecondary(nullptr, who);
        return OpenInSecondary(detail::full_name(lpInstanceName, lpSetName).c_str(), who);
    }

    HRESULT GetBufferHandle(const BYTE *pBuffer, DWORD *pBufferHandle) {
        return detail::result(hp_client_get_buffer_handle(client_, pBuffer, pBufferHandle));
    }

    HRESULT MapBufferHandle(DWORD dwBuffer, BYTE **ppBuffer) {
        void *start = nullptr;
        const std::uint32_t code = hp_client_map_buffer_handle(
            client_, dwBuffer, ppBuffer == nullptr ? nullptr : &start);
        if (ppBuffer != nullptr)
            *ppBuffer = static_cast<BYTE *>(start);
        return detail::result(code);
    }

    /* Maps what the server has added. */
    HRESULT Refresh() { return detail::result(hp_client_refresh(client_)); }

    /* For the calls of hugepool.h. */
    hp_client *get() const { return client_; }

  private:
    hp_client *client_ = nullptr;
};

} // namespace hugepool

#endif /* HUGEPOOL_HPP */
