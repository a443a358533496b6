/// Requests for tests: with memory of their own, and an outcome.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <cstring>
#include <openvhd/queue.hpp>
#include <optional>
#include <vector>

namespace openvhd::test {

/// One request, its buffer in page-aligned memory, its outcome once it is done.
class TestRequest : public IoRequest {
 public:
  explicit TestRequest(std::size_t bytes) : memory_(bytes + kPage), piece_{aligned(), bytes} {
    done = [](IoRequest& request, Status status) noexcept {
      auto& self = static_cast<TestRequest&>(request);
      self.outcome.emplace(std::move(status));
      ++self.completions;
    };
    buffers = {&piece_, 1};
    length = bytes;
  }
  TestRequest(const TestRequest&) = delete;
  TestRequest& operator=(const TestRequest&) = delete;

  std::span<std::byte> bytes() {
    return {static_cast<std::byte*>(piece_.iov_base), piece_.iov_len};
  }
  void fill(std::uint8_t value) { std::memset(piece_.iov_base, value, piece_.iov_len); }
  bool holds(std::uint8_t value) {
    for (const std::byte byte : bytes())
      if (byte != std::byte{value}) return false;
    return true;
  }

  std::optional<Status> outcome;
  unsigned completions = 0;

 private:
  static constexpr std::size_t kPage = 4096;
  std::byte* aligned() {
    const auto address = reinterpret_cast<std::uintptr_t>(memory_.data());
    return memory_.data() + (kPage - address % kPage) % kPage;
  }
  std::vector<std::byte> memory_;
  iovec piece_;
};

/// Waits until a request is done; its status.
inline Status finish(Queue& queue, TestRequest& request) {
  while (!request.outcome && queue.wait() != 0) {
  }
  EXPECT_TRUE(request.outcome);
  return *request.outcome;
}

inline Status read_now(Queue& queue, std::uint64_t at, TestRequest& request) {
  request.at = {at};
  request.outcome.reset();
  if (const Status started = queue.read(request); !started) return started;
  return finish(queue, request);
}

inline Status write_now(Queue& queue, std::uint64_t at, std::uint8_t value, TestRequest& request) {
  request.at = {at};
  request.fill(value);
  request.outcome.reset();
  if (const Status started = queue.write(request); !started) return started;
  return finish(queue, request);
}

inline Status flush_now(Queue& queue) {
  TestRequest request{0};
  if (const Status started = queue.flush(request); !started) return started;
  return finish(queue, request);
}

}  // namespace openvhd::test
