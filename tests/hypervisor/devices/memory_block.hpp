/// A disk in memory whose requests complete at once, or when a test says so.
#pragma once

#include <cstring>
#include <vector>

#include "devices/block.hpp"

namespace openvhd::vmm::test {

class MemoryBlock : public Block {
 public:
  explicit MemoryBlock(std::size_t bytes, bool writable = true) : bytes_(bytes) {
    shape_ = {.bytes = bytes, .physical_sector = 4096, .writable = writable, .serial = "S1"};
  }
  const BlockShape& shape() const noexcept override { return shape_; }
  void submit(BlockRequest& request) noexcept override {
    requests.push_back(&request);
    if (!held) release();
  }
  /// Completes what was held back.
  void release() {
    auto list = std::exchange(requests, {});
    for (auto* request : list) request->done(*request, execute(*request));
  }
  std::vector<std::byte>& bytes() { return bytes_; }

  bool held = false;
  bool broken = false;
  unsigned flushes = 0;
  unsigned durable_writes = 0;
  std::vector<BlockRequest*> requests;

 private:
  Status execute(BlockRequest& request) {
    if (broken) return Error{.code = Errc::io, .sys_errno = 5, .what = "test"};
    if (request.kind == BlockRequest::Kind::flush) {
      ++flushes;
      return Ok{};
    }
    auto at = request.at.value;
    for (const auto& piece : request.buffers) {
      if (at > bytes_.size() || piece.iov_len > bytes_.size() - at)
        return Error{.code = Errc::out_of_range, .what = "test"};
      if (request.kind == BlockRequest::Kind::read)
        std::memcpy(piece.iov_base, bytes_.data() + at, piece.iov_len);
      else
        std::memcpy(bytes_.data() + at, piece.iov_base, piece.iov_len);
      at += piece.iov_len;
    }
    if (request.durable) ++durable_writes;
    return Ok{};
  }

  BlockShape shape_;
  std::vector<std::byte> bytes_;
};

}  // namespace openvhd::vmm::test
