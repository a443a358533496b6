/// Order by weight: start-time fair queueing (Goyal, Vin, Cheng: SIGCOMM 1996).
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "qos/heap.hpp"

namespace openvhd::detail {

__extension__ using VirtualTime = unsigned __int128;

/// One that has a share. Its tag is when, in the virtual time of its level, it is served next.
struct Share {
  VirtualTime tag = 0;
  std::uint32_t place = kNotInHeap;
  std::uint32_t weight = 100;
};

/// Those of one level that have something to be served. Between two that stay, services by weight
/// differ by one request of each at most; whoever comes back has saved nothing up. 2^64 operations
/// of a weight of 1 are far from the end of virtual time.
class Shares {
 public:
  void reserve(std::size_t most) { heap_.reserve(most); }
  bool empty() const noexcept { return heap_.empty(); }
  Share* next() const noexcept { return heap_.top(); }
  void join(Share& share) noexcept {
    share.tag = std::max(share.tag, now_);
    heap_.push(share);
  }
  void leave(Share& share) noexcept {
    if (heap_.holds(share)) heap_.remove(share);
  }
  /// One of those that wait is served so many operations.
  void serve(Share& share, std::uint64_t operations) noexcept {
    now_ = std::max(now_, share.tag);
    share.tag += VirtualTime{operations} * kScale / share.weight;
    heap_.moved(share);
  }

 private:
  static constexpr std::uint64_t kScale = std::uint64_t{1} << 32;

  Heap<Share, &Share::tag, &Share::place> heap_;
  VirtualTime now_ = 0;
};

}  // namespace openvhd::detail
