/// A disk in memory behind a SCSI unit: requests complete when a test says so.
#pragma once

#include <algorithm>
#include <cstring>
#include <optional>
#include <utility>
#include <vector>

#include "scsi_request.hpp"

namespace openvhd::scsi::test {

class MemoryBackend : public ScsiBackend {
 public:
  explicit MemoryBackend(std::size_t size) : bytes(size) {}

  Status start(Kind kind, IoRequest& request) noexcept override {
    if (refusal) return *refusal;
    waiting.emplace_back(kind, &request);
    return Ok{};
  }
  /// Completes what is under way, and what that starts.
  void run() {
    while (!waiting.empty()) {
      const auto list = std::exchange(waiting, {});
      for (const auto& [kind, request] : list) request->done(*request, execute(kind, *request));
    }
  }

  std::vector<std::byte> bytes;
  std::vector<std::pair<Kind, IoRequest*>> waiting;
  std::optional<Error> refusal;  ///< Nothing starts.
  std::optional<Error> failure;  ///< What starts fails.
  unsigned flushes = 0, durable = 0, zeroes = 0, trims = 0, transfers = 0;
  const void* last_buffer = nullptr;

 private:
  Status execute(Kind kind, IoRequest& request) {
    if (failure) return *failure;
    if (kind == Kind::flush) ++flushes;
    if (kind == Kind::flush) return Ok{};
    if (request.durable) ++durable;
    if (kind == Kind::zero || kind == Kind::trim) {
      ++(kind == Kind::zero ? zeroes : trims);
      if (!fits(request.at.value, request.length))
        return Error{.code = Errc::out_of_range, .what = "test"};
      std::fill_n(bytes.begin() + static_cast<std::ptrdiff_t>(request.at.value), request.length,
                  std::byte{0});
      return Ok{};
    }
    ++transfers;
    auto at = request.at.value;
    for (const auto& piece : request.buffers) {
      if (!fits(at, piece.iov_len)) return Error{.code = Errc::out_of_range, .what = "test"};
      if (piece.iov_len == 0) continue;
      if (kind == Kind::read)
        std::memcpy(piece.iov_base, bytes.data() + at, piece.iov_len);
      else
        std::memcpy(bytes.data() + at, piece.iov_base, piece.iov_len);
      at += piece.iov_len;
      last_buffer = piece.iov_base;
    }
    return Ok{};
  }
  bool fits(std::uint64_t at, std::uint64_t length) const {
    return at <= bytes.size() && length <= bytes.size() - at;
  }
};

}  // namespace openvhd::scsi::test
