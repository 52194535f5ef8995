/*
 * hugepool for C++: the plain pool (hugepool_pool.hpp), and, here, the two sides of a virtual
 * device set, with the names of Microsoft's VDI reference: codes, structures, features,
 * commands and calls. Header only; C++11; over hugepool.h.
 *
 * What differs from the reference, on purpose (docs/vdi.md has all of it, and why):
 *
 * - `Open` also takes what the client wishes. There, the client has said so by `Create`,
 *   which is not part of this library.
 * - `BeginConfiguration` takes its five numbers by name (`hp_vd_parameters`): the reference
 *   and the published header give two of them in different orders.
 * - The set hands out no device objects: `OpenDevice` and `CloseDevice` count.
 * - `AllocateBufferWithin`, which waits, and handles on the server's side, are additions.
 *
 * Names are UTF-8. Results are those of hugepool_codes.hpp; `IsSharedBuffer` gives TRUE (1) or
 * FALSE (0) in their place.
 *
 * This header can be included before or behind Microsoft's vdi.h and vdierror.h. All it
 * declares is in the namespace hugepool, and is no macro. Where their macros are known, the
 * codes are theirs, of the same value; write those names without `hugepool::`, and
 * structures and classes, which both have, with it. `Open` and `GetConfiguration` also take
 * their VDConfig.
 *
 * An object may be moved while nobody uses it; its calls may be made by any thread.
 */

#ifndef HUGEPOOL_HPP
#define HUGEPOOL_HPP

#include "hugepool_codes.hpp"
#include "hugepool_pool.hpp"

#include <atomic>
#include <cstdint>
#include <utility>

namespace hugepool {

using VDConfig = hp_vd_config;

/* Features of a set. */
enum VDFeatures {
    VDF_Removable = HP_VDF_Removable,
    VDF_Rewind = HP_VDF_Rewind,
    VDF_Position = HP_VDF_Position,
    VDF_SkipBlocks = HP_VDF_SkipBlocks,
    VDF_ReversePosition = HP_VDF_ReversePosition,
    VDF_Discard = HP_VDF_Discard,
    VDF_FileMarks = HP_VDF_FileMarks,
    VDF_RandomAccess = HP_VDF_RandomAccess,
    VDF_SnapshotPrepare = HP_VDF_SnapshotPrepare,
    VDF_EnumFrozenFiles = HP_VDF_EnumFrozenFiles,
    VDF_VSSWriter = HP_VDF_VSSWriter,
    VDF_RequestComplete = HP_VDF_RequestComplete,
    VDF_WriteMedia = HP_VDF_WriteMedia,
    VDF_ReadMedia = HP_VDF_ReadMedia,
    VDF_CompleteEnabled = HP_VDF_CompleteEnabled,
    VDF_LatchStats = HP_VDF_LatchStats,
    VDF_LikePipe = HP_VDF_LikePipe,
    VDF_LikeTape = HP_VDF_LikeTape,
    VDF_LikeDisk = HP_VDF_LikeDisk
};

/* Commands. A set never sees one. */
enum VDCommands {
    VDC_Read = HP_VDC_Read,
    VDC_Write = HP_VDC_Write,
    VDC_ClearError = HP_VDC_ClearError,
    VDC_Rewind = HP_VDC_Rewind,
    VDC_WriteMark = HP_VDC_WriteMark,
    VDC_SkipMarks = HP_VDC_SkipMarks,
    VDC_SkipBlocks = HP_VDC_SkipBlocks,
    VDC_Load = HP_VDC_Load,
    VDC_GetPosition = HP_VDC_GetPosition,
    VDC_SetPosition = HP_VDC_SetPosition,
    VDC_Discard = HP_VDC_Discard,
    VDC_Flush = HP_VDC_Flush,
    VDC_Snapshot = HP_VDC_Snapshot,
    VDC_MountSnapshot = HP_VDC_MountSnapshot,
    VDC_PrepareToFreeze = HP_VDC_PrepareToFreeze,
    VDC_FileInfoBegin = HP_VDC_FileInfoBegin,
    VDC_FileInfoEnd = HP_VDC_FileInfoEnd,
    VDC_GetError = HP_VDC_GetError,
    VDC_Complete = HP_VDC_Complete
};

/* From where a command goes on. */
enum VDWhence {
    VDC_Beginning = HP_VDC_Beginning,
    VDC_Current = HP_VDC_Current,
    VDC_End = HP_VDC_End
};

namespace detail {

/* What a client wishes, of a structure that has the published fields. */
template <class Config> VDConfig wishes(const Config &config) {
    const auto word = [](unsigned long given) { return static_cast<UINT32>(given); };
    VDConfig wishes = {};
    wishes.deviceCount = word(config.deviceCount);
    wishes.features = word(config.features);
    wishes.prefixZoneSize = word(config.prefixZoneSize);
    wishes.alignment = word(config.alignment);
    wishes.softFileMarkBlockSize = word(config.softFileMarkBlockSize);
    wishes.EOMWarningSize = word(config.EOMWarningSize);
    wishes.serverTimeOut = word(config.serverTimeOut);
    return wishes;
}

/* Fills such a structure in. */
template <class Config> void fill(const VDConfig &known, Config *config) {
    config->deviceCount = known.deviceCount;
    config->features = known.features;
    config->prefixZoneSize = known.prefixZoneSize;
    config->alignment = known.alignment;
    config->softFileMarkBlockSize = known.softFileMarkBlockSize;
    config->EOMWarningSize = known.EOMWarningSize;
    config->serverTimeOut = known.serverTimeOut;
    config->blockSize = known.blockSize;
    config->maxIODepth = known.maxIODepth;
    config->maxTransferSize = known.maxTransferSize;
    config->bufferAreaSize = known.bufferAreaSize;
}

} // namespace detail

/* The server's side: IServerVirtualDeviceSet2. */
class ServerVirtualDeviceSet {
  public:
    /* A set that is not open. */
    ServerVirtualDeviceSet() {
        if (hp_vdi_new(&set_) != HP_NOERROR)
            set_ = nullptr; /* Its calls say so. */
    }

    /* One whose buffers are mapped as `builder` says. */
    explicit ServerVirtualDeviceSet(const hp_builder *builder) {
        if (hp_vdi_new_with(builder, &set_) != HP_NOERROR)
            set_ = nullptr;
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
    HP_MUST_USE HRESULT Open(LPCSTR lpInstanceName, LPCSTR lpName, const VDConfig &client,
                             const hp_peers *who = nullptr) {
        hp_publication *publication = nullptr;
        VDConfig known;
        /* One that has been opened is not published first. */
        if (hp_vdi_get_configuration(set_, &known) != HP_VD_E_PROTOCOL)
            return detail::result(hp_vdi_open(set_, &client));
        if (lpName != nullptr) {
            const std::uint32_t code =
                hp_vdi_publish(set_, lpInstanceName, lpName, who, &publication);
            if (code != HP_NOERROR)
                return detail::result(code);
        }
        const std::uint32_t code = hp_vdi_open(set_, &client);
        if (code == HP_NOERROR)
            publication = publication_.exchange(publication);
        hp_publication_release(publication);
        return detail::result(code);
    }

    /* As above, with the VDConfig of another header. */
    template <class Config>
    HP_MUST_USE HRESULT Open(LPCSTR lpInstanceName, LPCSTR lpName, const Config &client,
                             const hp_peers *who = nullptr) {
        const VDConfig wishes = detail::wishes(client);
        return Open(lpInstanceName, lpName, wishes, who);
    }

    HP_MUST_USE HRESULT GetConfiguration(VDConfig *pCfg) {
        return detail::result(hp_vdi_get_configuration(set_, pCfg));
    }

    /* As above, with the VDConfig of another header. */
    template <class Config> HP_MUST_USE HRESULT GetConfiguration(Config *pCfg) {
        VDConfig known;
        const HRESULT result = GetConfiguration(pCfg == nullptr ? nullptr : &known);
        if (SUCCEEDED(result))
            detail::fill(known, pCfg);
        return result;
    }

    HP_MUST_USE HRESULT BeginConfiguration(const hp_vd_parameters &parameters) {
        return detail::result(hp_vdi_begin_configuration(set_, &parameters));
    }

    HP_MUST_USE HRESULT EndConfiguration() {
        return detail::result(hp_vdi_end_configuration(set_));
    }

    HP_MUST_USE HRESULT RequestBuffers(DWORD dwSize, DWORD dwAlignment, DWORD dwCount) {
        return detail::result(hp_vdi_request_buffers(set_, dwSize, dwAlignment, dwCount));
    }

    HP_MUST_USE HRESULT QueryAvailableBuffers(DWORD dwSize, DWORD dwAlignment, DWORD *pCount) {
        return detail::result(
            hp_vdi_query_available_buffers(set_, dwSize, dwAlignment, pCount));
    }

    /* Opens the next device. What is done with it is the caller's. */
    HP_MUST_USE HRESULT OpenDevice() { return detail::result(hp_vdi_open_device(set_)); }

    HP_MUST_USE HRESULT CloseDevice() { return detail::result(hp_vdi_close_device(set_)); }

    HP_MUST_USE HRESULT AllocateBuffer(LPVOID *ppBuffer, UINT32 dwSize, UINT32 dwAlignment) {
        return detail::result(hp_vdi_allocate_buffer(set_, ppBuffer, dwSize, dwAlignment));
    }

    /* As AllocateBuffer, and waits up to `dwMilliseconds` (INFINITE: for ever). */
    HP_MUST_USE HRESULT AllocateBufferWithin(LPVOID *ppBuffer, UINT32 dwSize,
                                             UINT32 dwAlignment, UINT32 dwMilliseconds) {
        return detail::result(hp_vdi_allocate_buffer_timeout(set_, ppBuffer, dwSize,
                                                             dwAlignment, dwMilliseconds));
    }

    HP_MUST_USE HRESULT FreeBuffer(LPVOID pBuffer, UINT32 dwSize) {
        return detail::result(hp_vdi_free_buffer(set_, pBuffer, dwSize));
    }

    /* TRUE (1) from the start of a buffer that AllocateBuffer gave to the size that was
       asked for, and FALSE (0) anywhere else. */
    HP_MUST_USE HRESULT IsSharedBuffer(const void *pBuffer) {
        return detail::result(hp_vdi_is_shared_buffer(set_, pBuffer));
    }

    HRESULT SignalAbort() { return detail::result(hp_vdi_signal_abort(set_)); }

    /* Ends the set, whatever it returns; the name can be had again. VD_E_PROTOCOL if
       devices were open, or the set was not. */
    HRESULT Close() {
        const std::uint32_t code = hp_vdi_close(set_);
        /* Not in a child of a fork, which does not have the set. */
        if (code == HP_NOERROR || code == HP_VD_E_PROTOCOL)
            hp_publication_release(publication_.exchange(nullptr));
        return detail::result(code);
    }

    /* By which clients know a buffer that is out. */
    HP_MUST_USE HRESULT GetBufferHandle(const void *pBuffer, DWORD *pBufferHandle) {
        return detail::result(hp_vdi_get_buffer_handle(set_, pBuffer, pBufferHandle));
    }

    /* The buffer that a client names. */
    HP_MUST_USE HRESULT MapBufferHandle(DWORD dwBuffer, BYTE **ppBuffer) {
        hp_view view = {};
        view.size = sizeof view;
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
    ClientVirtualDeviceSet() {
        if (hp_client_new(&client_) != HP_NOERROR)
            client_ = nullptr;
    }

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
    HP_MUST_USE HRESULT OpenInSecondary(LPCSTR lpSetName, const hp_peers *who = nullptr) {
        return OpenInSecondaryEx(nullptr, lpSetName, who);
    }

    HP_MUST_USE HRESULT OpenInSecondaryEx(LPCSTR lpInstanceName, LPCSTR lpSetName,
                                          const hp_peers *who = nullptr) {
        return detail::result(
            hp_client_open_in_secondary(client_, lpInstanceName, lpSetName, who));
    }

    /* What the set that is open is configured with. Waits up to `dwTimeOut` milliseconds
       (INFINITE: for ever) for the server. */
    HP_MUST_USE HRESULT GetConfiguration(DWORD dwTimeOut, VDConfig *pCfg) {
        return detail::result(hp_client_get_configuration(client_, dwTimeOut, pCfg));
    }

    /* As above, with the VDConfig of another header. */
    template <class Config>
    HP_MUST_USE HRESULT GetConfiguration(DWORD dwTimeOut, Config *pCfg) {
        VDConfig known;
        const HRESULT result = GetConfiguration(dwTimeOut, pCfg == nullptr ? nullptr : &known);
        if (SUCCEEDED(result))
            detail::fill(known, pCfg);
        return result;
    }

    /* What the set of these names is configured with, once it is, whether it is open or not:
       when this returns it can be opened. */
    HP_MUST_USE static HRESULT GetConfigurationOf(LPCSTR lpInstanceName, LPCSTR lpSetName,
                                                  DWORD dwTimeOut, VDConfig *pCfg,
                                                  const hp_peers *who = nullptr) {
        return detail::result(
            hp_get_configuration_of(lpInstanceName, lpSetName, who, dwTimeOut, pCfg));
    }

    /* Unmaps the set. The object can open another one. Nobody else uses it meanwhile, nor a
       buffer of it after this. */
    HRESULT Close() { return detail::result(hp_client_close(client_)); }

    HP_MUST_USE HRESULT GetBufferHandle(const BYTE *pBuffer, DWORD *pBufferHandle) {
        return detail::result(hp_client_get_buffer_handle(client_, pBuffer, pBufferHandle));
    }

    HP_MUST_USE HRESULT MapBufferHandle(DWORD dwBuffer, BYTE **ppBuffer) {
        void *start = nullptr;
        const std::uint32_t code = hp_client_map_buffer_handle(
            client_, dwBuffer, ppBuffer == nullptr ? nullptr : &start);
        if (ppBuffer != nullptr)
            *ppBuffer = static_cast<BYTE *>(start);
        return detail::result(code);
    }

    /* Maps what the server has added. */
    HP_MUST_USE HRESULT Refresh() { return detail::result(hp_client_refresh(client_)); }

    /* For the calls of hugepool.h. */
    hp_client *get() const { return client_; }

  private:
    hp_client *client_ = nullptr;
};

} // namespace hugepool

#endif /* HUGEPOOL_HPP */
