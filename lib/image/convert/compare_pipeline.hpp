/// Finds the first byte in which two endpoints differ.
#pragma once

#include <array>
#include <cstdint>
#include <openvhd/error.hpp>
#include <openvhd/progress.hpp>
#include <openvhd/types.hpp>
#include <optional>
#include <span>
#include <vector>

#include "image/convert/buffers.hpp"
#include "image/convert/endpoint.hpp"

namespace openvhd {

/// Reads both sides side by side, chunk after chunk, several at once. What both know to be zero
/// is not read; what one of them knows to be zero is read on the other side only. The shorter
/// side goes on with zeros.
class ComparePipeline {
 public:
  ComparePipeline(Endpoint& a, Endpoint& b, std::uint32_t depth, Progress* progress);

  /// The first difference, or none. Errors: of the endpoints, cancelled.
  Result<std::optional<VirtualOffset>> run();

  /// Whose error run() returned: the first side's, or else the second's (or nobody's).
  bool first_side_failed() const noexcept { return failed_side_ == std::size_t{0}; }

 private:
  struct Side {
    Endpoint* endpoint = nullptr;
    std::uint64_t known_end = 0;  // up to here the map says the following
    bool known_zero = false;
  };
  struct Half {
    Transfer transfer;
    std::span<std::byte> buffer;
    bool zero = false;
    bool waiting = false;
    std::size_t head = 0;  // bytes read before the first that is compared
  };
  struct Slot {
    bool busy = false;
    std::uint64_t at = 0;
    std::size_t length = 0;
    std::array<Half, 2> halves;
  };

  Status prepare();
  Status learn(Side& side) noexcept;
  bool fill() noexcept;
  bool begin(Slot& slot) noexcept;
  void read(Half& half, Endpoint& endpoint, const Slot& slot) noexcept;
  bool reap(std::size_t side) noexcept;
  void judge(Slot& slot) noexcept;
  void differ(std::uint64_t at) noexcept;
  void report() noexcept;
  void wait() noexcept;

  std::array<Side, 2> sides_;
  std::size_t chunk_;
  std::size_t slack_;
  std::uint64_t total_;
  std::uint32_t depth_;
  Progress* progress_;
  AlignedBuffer memory_;
  std::vector<Slot> slots_;
  std::uint64_t position_ = 0;
  std::uint64_t done_ = 0;
  std::uint32_t busy_ = 0;
  std::optional<std::uint64_t> first_;
  std::optional<Error> failure_;
  std::optional<std::size_t> failed_side_;  // where failure_ is from, if from a side
};

}  // namespace openvhd
