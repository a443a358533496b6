/// Writes a range of a disk: into its leaf, where space is allocated as needed.
#pragma once

#include "image/ops/chain_op.hpp"

namespace openvhd {

/// A write to the leaf of a chain. Does no I/O, owns no thread, never allocates memory. The
/// buffers and the chain outlive it. When it fails, the sectors of the request hold old or new
/// data until they are written again; no_space changes nothing that was not already written.
class WriteOp final : public ChainOp {
 public:
  WriteOp(Chain& chain, VirtualOffset at, std::span<const iovec> from) noexcept;

  std::optional<IoCommand> next() noexcept override;

 private:
  struct Transfer {
    VirtualOffset virtual_at{};
    Extent placed{};
    std::uint64_t offset = 0;   // of the extent in the request
    std::uint64_t written = 0;  // of the extent
    BufferSlice slice;
  };

  void transferred(std::uint32_t slot, std::int32_t result) noexcept override;
  IoCommand command_for(std::uint32_t slot) noexcept;

  std::span<const iovec> from_;
  std::array<Transfer, kTransferSlots> transfers_;
};

}  // namespace openvhd
