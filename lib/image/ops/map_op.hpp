/// Finds who holds a range, without reading it.
#pragma once

#include <openvhd/disk.hpp>

#include "image/ops/chain_op.hpp"

namespace openvhd {

/// Resolves the first bytes of a range through a chain: one answer.
class MapOp final : public ChainOp {
 public:
  MapOp(Chain& chain, VirtualOffset at, std::uint64_t length) noexcept
      : ChainOp{chain, at, length}, limit_{length} {}

  std::optional<IoCommand> next() noexcept override;
  /// Valid once finished with Ok, on a range that was not empty.
  const MapEntry& entry() const noexcept { return entry_; }

 private:
  void transferred(std::uint32_t, std::int32_t) noexcept override {}
  void answer(MapEntry::Kind kind, std::uint64_t length, FileOffset host) noexcept;
  void descend(const Extent& extent) noexcept;

  std::uint32_t layer_ = 0;
  std::uint64_t limit_;
  MapEntry entry_;
};

}  // namespace openvhd
