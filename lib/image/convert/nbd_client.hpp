/// A connection to an NBD server through libnbd: connecting, sizes, waiting with deadlines.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <openvhd/error.hpp>
#include <string>
#include <string_view>

#include "image/convert/nbd_library.hpp"
#include "io/readiness.hpp"

namespace openvhd {

/// True for nbd:, nbds:, nbd+unix: and nbds+unix: URIs.
bool is_nbd_uri(std::string_view text) noexcept;

/// What the server offers, checked: sizes that no server should have are refused.
struct NbdExport {
  std::uint64_t size = 0;           ///< Bytes.
  std::uint32_t minimum_block = 1;  ///< A power of two, at most 64 KiB; `size` is a multiple.
  std::uint64_t maximum_block = 0;  ///< Bytes per read or write, at least 4 minimum blocks.
  bool read_only = false;
  bool flush = false;
  bool zero = false;
  bool block_status = false;
};

/// A handle and its export. A server has 10 s for the handshake, and 120 s to show a sign of life
/// while something is asked of it: one that hangs fails what it was asked.
class NbdClient {
 public:
  static constexpr std::chrono::seconds kHandshake{10};
  static constexpr std::chrono::seconds kStall{120};

  /// Connects. Errors: not_found (no such socket, host or export), io, unsupported (block sizes).
  /// `why` gets what libnbd says, on one line.
  static Result<NbdClient> connect(const std::string& uri, std::string& why);

  const NbdExport& about() const noexcept { return export_; }
  const NbdLibrary& library() const noexcept { return *nbd_; }
  /// Null once dropped.
  nbd_handle* handle() const noexcept { return handle_.get(); }
  bool alive() const noexcept;
  Readiness readiness() const noexcept;

  /// Handles what has arrived, without waiting. False: nothing had.
  bool pump() noexcept;
  /// Waits until `*done`, a flag that a callback sets. Errors: io (the server hangs or is gone).
  Status wait_for(const bool& done) noexcept;
  /// Seconds without a sign of life have exceeded kStall.
  bool stalled() const noexcept;
  /// A sign of life is expected from now on.
  void expect() noexcept { last_sign_ = std::chrono::steady_clock::now(); }
  /// Closes the connection at once; callbacks of what was on its way do not run any more.
  void drop() noexcept { handle_.reset(); }
  /// Says good-bye to the server.
  void disconnect() noexcept;

 private:
  using Handle = std::unique_ptr<nbd_handle, decltype(&::nbd_close)>;
  NbdClient(const NbdLibrary& library, Handle handle) noexcept
      : nbd_{&library}, handle_{std::move(handle)} {
    expect();
  }
  Status learn() noexcept;
  Error failure(const char* what) const noexcept;

  const NbdLibrary* nbd_;
  Handle handle_;
  NbdExport export_;
  std::chrono::steady_clock::time_point last_sign_{};
};

/// The error of something that ended with `code`, an errno, or 0 where libnbd has none.
Error nbd_failure(int code, std::uint64_t at, const char* what) noexcept;

}  // namespace openvhd
