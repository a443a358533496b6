/// Memory that other threads may still be looking at, though it has been taken out of their sight.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <utility>

#include "io/readers.hpp"

namespace openvhd::vhd {

/// Keeps what it is given until every look-up from before has ended. Waits for none. The owner's.
template <class T>
class Limbo {
 public:
  /// With more, a cache had rather exceed its budget than take more out of sight: a reader that
  /// the host's scheduler keeps away is not waited for.
  static constexpr std::size_t kMost = 64;

  void share(Readers& readers) noexcept { readers_ = &readers; }
  bool is_full() const noexcept { return waiting_.size() >= kMost; }

  /// Nobody who looks from now on finds it.
  void put(std::unique_ptr<T> gone) {
    if (readers_ != nullptr) waiting_.push_back({std::move(gone), readers_->retire()});
  }
  void reclaim() noexcept {
    while (!waiting_.empty() && readers_->passed(waiting_.front().retired)) waiting_.pop_front();
  }

 private:
  struct Waiting {
    std::unique_ptr<T> gone;
    std::uint64_t retired = 0;
  };

  Readers* readers_ = nullptr;  // null: nobody looks
  std::deque<Waiting> waiting_;
};

}  // namespace openvhd::vhd
