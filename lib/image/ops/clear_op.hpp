/// Makes a range of a disk read as zeros: by metadata where blocks are whole, by the host
/// elsewhere.
#pragma once

#include "image/ops/chain_op.hpp"

namespace openvhd {

/// WRITE ZEROES or UNMAP on the leaf of a chain. Does no I/O, owns no thread, never allocates.
class ClearOp final : public ChainOp {
 public:
  ClearOp(Chain& chain, VirtualOffset at, std::uint64_t length, ClearKind kind) noexcept;

  std::optional<IoCommand> next() noexcept override;

 private:
  struct Transfer {
    VirtualOffset virtual_at{};
    Extent cleared{};
  };

  void transferred(std::uint32_t slot, std::int32_t result) noexcept override;

  ClearKind kind_;
  std::array<Transfer, kTransferSlots> transfers_;
};

}  // namespace openvhd
