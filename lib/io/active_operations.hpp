/// What may still touch a place in a file: operations on their way, and other threads' transfers.
#pragma once

#include <array>
#include <cstdint>
#include <limits>

#include "io/layer.hpp"
#include "io/readers.hpp"

namespace openvhd {

/// Serial numbers of a layer's operations, oldest first. Space that was freed when latest() was n
/// may be used again once oldest() is greater than n. The layer's owner's alone.
class ActiveOperations {
 public:
  static constexpr std::uint64_t kNone = std::numeric_limits<std::uint64_t>::max();

  /// From now on transfers of these readers count as operations too.
  void watch(Readers& readers) noexcept;

  void enter(OperationTicket& ticket) noexcept;
  void leave(OperationTicket& ticket) noexcept;

  /// The youngest serial that was given out.
  std::uint64_t latest() const noexcept { return serial_; }
  /// The serial of the oldest one on its way; kNone when there is none. Cheap, but not free:
  /// looks at each reader.
  std::uint64_t oldest() noexcept;
  std::size_t count() const noexcept { return count_; }

 private:
  OperationTicket* first_ = nullptr;
  OperationTicket* last_ = nullptr;
  std::size_t count_ = 0;
  std::uint64_t serial_ = 0;
  Readers* readers_ = nullptr;
  // The serials at the last moves of the readers' count, the oldest first.
  std::array<std::uint64_t, Readers::kMovesUntilOver> moves_{};
};

}  // namespace openvhd
